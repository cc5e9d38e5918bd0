# ===- test_rows.py - Sizes around those of vectors ------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Elementwise operators, reductions and transposes of one module at sizes around
multiples of a vector: whole vectors, masked ends, empty loops."""
import numpy as np
import pytest
from ssmtest.case import Case, bf16, boolean, f16, f32, i8, i32, i64, ints, over, rand, run_case

SIZES = (1, 2, 3, 15, 16, 17, 31, 63, 64, 65, 100, 257)
DYNAMIC = ("dynamic",)


def special(axis):
    """NaN and infinities in lines of their own along `axis`."""
    def prepare(arrays):
        x = np.moveaxis(arrays[0], axis, -1)
        for row, values in enumerate([[np.nan], [np.inf], [-np.inf], [np.inf, np.nan]]):
            if row < x.shape[0] and x.shape[-1] > len(values):
                x[row, ..., -len(values):] = np.array(values, x.dtype)
        return arrays
    return prepare


def rows(op, attributes=None, dtype=f32, low=0.1, **options):
    """[5, n] and [n, 5]: lanes along the row and across rows."""
    sets = [[rand(dtype, *s, low=low)] for n in (*SIZES, 0) for s in ((5, n), (n, 5))]
    return Case(op, sets, attributes or {}, variants=DYNAMIC, **options)


def reduced(op, axes, dtype=f32, keepdims=0, **options):
    sets = [[rand(dtype, *s, low=1), ints(*axes)] for n in SIZES for s in ((4, n, 3), (n, 2, 33))]
    return Case(op, sets, {"keepdims": keepdims}, constant=(1,), variants=DYNAMIC,
                note=f"axes{axes}", **options)


def softmax(x, axis):
    with np.errstate(invalid="ignore"):
        e = np.exp(x - x.max(axis, keepdims=True))
        return e / e.sum(axis, keepdims=True)


CASES = [
    *[rows(op, dtype=t) for t in (f32, f16, bf16) for op in ("Exp", "Sqrt", "Neg")],
    *[rows("Softmax", {"axis": axis}, dtype=t, note="rows") for axis in (0, 1)
      for t in (f32, f16, bf16)],
    *[reduced(op, axes) for op in ("ReduceSum", "ReduceMax", "ReduceMean", "ReduceProd")
      for axes in ([0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2]) if op != "ReduceProd"
      or axes == [1]],
    *[reduced("ReduceSum", axes, dtype=t) for t in (f16, i32, i64) for axes in ([0], [2])],
    *[Case("Transpose", [[rand(t, n, 2, m)] for n, m in zip(SIZES, reversed(SIZES))],
           {"perm": perm}, variants=DYNAMIC, note="sizes")
      for t in (f32, f16, i8, i64) for perm in ([2, 1, 0], [2, 0, 1], [1, 0, 2])],
    Case("Where", [[rand(boolean, 3, n), rand(f32, 3, n), rand(f32, 1, n)] for n in SIZES],
         variants=DYNAMIC, note="sizes"),
    *[Case("Cast", [[rand(a, 3, n)] for n in SIZES], {"to": to}, outputs=(b,), variants=DYNAMIC,
           note="sizes", reference=lambda arrays, attributes: [arrays[0]])
      for a, b, to in ((f32, f16, 10), (f16, f32, 1), (i64, f32, 1), (f32, bf16, 16),
                       (i8, i64, 7))],
    *[Case("Softmax", [[rand(f32, 6, n)] for n in SIZES[1:]], {"axis": 1}, prepare=special(1),
           reference=lambda arrays, attributes: [softmax(arrays[0], 1)], variants=DYNAMIC,
           note="special")],
    Case("ReduceMax", [[rand(f32, 6, n), ints(1)] for n in SIZES[1:]], {"keepdims": 0},
         constant=(1,), prepare=special(1), variants=DYNAMIC, note="special",
         reference=lambda arrays, attributes: [arrays[0].max(1)]),
]


@pytest.mark.parametrize("cpu", ["v2", "v3"])
@over(CASES)
def test_narrower_vectors(case, variant, cpu, reference_only):
    if reference_only:
        pytest.skip("the same reference")
    case.check(variant, [f"--cpu={cpu}"])


@over(CASES)
def test_rows(case, variant, reference_only):
    run_case(case, variant, reference_only)
