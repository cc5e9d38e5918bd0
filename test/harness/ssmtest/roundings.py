# ===- roundings.py - How far roundings of each operation lead -------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Running error analysis: values in float64, each with a bound of its distance to what comes
out where every operation rounds its result to a narrow type (N. Higham, Accuracy and Stability
of Numerical Algorithms, 2002, section 3.3)."""

import ml_dtypes
import numpy as np


class Roundings:
    """Takes the place of a Builder: `add` computes a node instead of adding it. A value is a pair
    (value, bound of its error) of arrays."""

    # Roundings inside of a function: of the exponential, of a sum, of a quotient or logarithm.
    INSIDE = 4

    def __init__(self, dtype):
        info = ml_dtypes.finfo(dtype)
        self.unit, self.least = float(info.eps) / 2, float(info.smallest_subnormal)

    def constant(self, array):
        return np.asarray(array)

    def rounded(self, value, error, roundings=1):
        error = np.broadcast_to(error, np.shape(value))
        return value, error + roundings * (self.unit * (np.abs(value) + error) + self.least)

    def add(self, op, *inputs, **attributes):
        return getattr(self, f"op_{op.lower()}")(*inputs, **attributes)

    def op_unsqueeze(self, x, axes):
        return tuple(np.expand_dims(part, tuple(axes.tolist())) for part in x)

    def op_castlike(self, x, _):
        return np.float64(x), np.zeros(())

    def op_add(self, x, y):
        return self.rounded(x[0] + y[0], x[1] + y[1])

    def op_mul(self, x, y):
        error = np.abs(x[0]) * y[1] + np.abs(y[0]) * x[1] + x[1] * y[1]
        return self.rounded(x[0] * y[0], error)

    def op_reducesum(self, x, axes, keepdims):
        """Summed up in f32, whose roundings are small beside that of the result."""
        assert not keepdims
        return self.rounded(*(part.sum(tuple(axes.tolist())) for part in x))

    def op_exp(self, x):
        value = np.exp(x[0])
        return self.rounded(value, value * np.expm1(x[1]), self.INSIDE)

    def op_log(self, x):
        assert (x[0] > x[1]).all()
        return self.rounded(np.log(x[0]), -np.log1p(-x[1] / x[0]), self.INSIDE)

    def op_softplus(self, x):
        """Its slope is at most 1."""
        return self.rounded(np.logaddexp(0, x[0]), x[1], self.INSIDE)

    def op_sigmoid(self, x):
        """Its slope is at most 1/4."""
        return self.rounded(1 / (1 + np.exp(-x[0])), x[1] / 4, self.INSIDE)

    def op_greater(self, x, y):
        """-> 1, 0, or between them where roundings decide."""
        off, error = x[0] - y[0], x[1] + y[1]
        return np.where(np.abs(off) <= error, 0.5, off > 0)

    def op_where(self, condition, x, y):
        either = np.maximum(x[1], y[1] + np.abs(x[0] - y[0]))
        return (np.where(condition > 0, x[0], y[0]),
                np.where(condition == 0.5, either, np.where(condition > 0, x[1], y[1])))
