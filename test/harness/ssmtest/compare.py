# ===- compare.py - Shapes, types and values against a reference -----------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Compares arrays: shape first, then type, then values."""

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# Largest difference for one operator or layer, relative to the largest finite
# magnitude of the reference.
BOUNDS = {
    np.dtype(np.float64): 1e-10,
    np.dtype(np.float32): 1e-5,
    np.dtype(np.float16): 2e-3,
    BFLOAT16: 1.5e-2,
    # Casts alone give them, which are exact.
    np.dtype(ml_dtypes.float8_e4m3fn): 0,
    np.dtype(ml_dtypes.float8_e5m2): 0,
}


def is_float(dtype):
    return np.dtype(dtype) in BOUNDS


def relative_error(got, want):
    """Largest difference over finite values, relative to want's largest
    magnitude; inf if NaNs or infinities are not where they are in `want`."""
    got, want = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True):
        return np.inf
    if not finite.any():
        return 0.0
    with np.errstate(invalid="ignore"):
        difference = np.abs(got[finite] - want[finite]).max()
    if not np.isfinite(difference):
        return np.inf
    largest = np.abs(want[finite]).max()
    return float(difference / largest) if largest > 0 else float(difference)


def check_close(name, got, want, dtype, bound=None):
    """Asserts that `got` equals `want` (in the precision of the reference) as a
    tensor of type `dtype`. bound: overrides the one of the type."""
    assert tuple(got.shape) == tuple(want.shape), \
        f"{name}: shape {tuple(got.shape)}, expected {tuple(want.shape)}"
    assert got.dtype == np.dtype(dtype), f"{name}: type {got.dtype}, expected {np.dtype(dtype)}"
    if got.size == 0:
        return
    if not is_float(dtype):
        same = got == want
        if not same.all():
            at = tuple(int(i) for i in np.argwhere(~same)[0])
            raise AssertionError(f"{name}: {(~same).sum()} of {got.size} values differ, first at "
                                 f"{at}: {got[at]}, expected {want[at]}")
        return
    # What the reference has outside of the type's range is infinite in it.
    with np.errstate(over="ignore"):
        rounded = want.astype(dtype)
    want = np.where(np.isfinite(rounded.astype(np.float64)), want.astype(np.float64),
                    rounded.astype(np.float64))
    bound = BOUNDS[np.dtype(dtype)] if bound is None else bound
    # Near zero a type has steps of a fixed size, however small the reference.
    step = float(ml_dtypes.finfo(dtype).smallest_subnormal)
    largest = np.abs(want[np.isfinite(want)]).max(initial=0)
    error = relative_error(got, want)
    if not error <= bound + (step / largest if largest > 0 else 0):
        with np.errstate(invalid="ignore"):
            off = np.abs(got.astype(np.float64) - want)
        off = np.where(np.isnan(got.astype(np.float64)) != np.isnan(want), np.inf, off)
        at = tuple(int(i) for i in np.unravel_index(np.nanargmax(off) if not np.isnan(off).all()
                                                    else 0, off.shape))
        raise AssertionError(f"{name}: error {error:.3g} above {bound:.3g}; worst at {at}: "
                             f"{got[at]}, expected {want[at]}")
