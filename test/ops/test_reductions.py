# ===- test_reductions.py - Reductions, cumulative sums, softmax, selection ===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
import numpy as np
from ssmtest.case import (Case, FLOATS, INTEGERS, bf16, f16, f32, f64, i8, i32, i64, ints, over,
                          rand, run_case, scalar, u8, u64)

SETS = [(3, 5, 7), (1, 1, 1), (2, 9, 33), (4, 1, 3)]
# Zero sizes along what is kept and along what is reduced (then: the neutral
# element).
EMPTY = [(0, 5, 7), (3, 0, 7)]
AXES_AS_INPUT = 18


def with_nans(inputs):
    """One NaN at any place in every other row, infinities of both signs in every third."""
    x = inputs[0].copy()
    rng = np.random.default_rng(list(x.tobytes()[:16]))
    for row in range(len(x)):
        where = rng.permutation(x.shape[1])
        if row % 3 == 0:
            x[row, where[:2]] = (-np.inf, np.inf)
        if row % 2 == 0:
            x[row, where[-1]] = np.nan
    return [x, *inputs[1:]]


def reduce_cases(op, dtypes, low=None, high=None, empty=True, opset=AXES_AS_INPUT, **options):
    """Axes as an initializer, in every combination that differs."""
    shapes = SETS + (EMPTY if empty else EMPTY[:1])
    cases = []
    for dtype in dtypes:
        data = [rand(dtype, *s, low=low, high=high) for s in shapes]
        for axes, attributes in (([-1], {"keepdims": 1}), ([1], {"keepdims": 0})):
            cases.append(Case(op, [[d, ints(*axes)] for d in data], attributes, opset,
                              constant=(1,), note=f"axes{axes}", **options))
    # A single sum must not vanish: the bound is relative to it.
    if low is None and op in ("ReduceSum", "ReduceMean"):
        low, high = 0.25, 2
    data = [rand(dtypes[0], *s, low=low, high=high) for s in SETS]
    for axes, attributes in (([0, 2], {"keepdims": 0}), ([1, 0, -1], {"keepdims": 1}),
                             ([0, 1, 2], {"keepdims": 0})):
        cases.append(Case(op, [[d, ints(*axes)] for d in data], attributes, opset, constant=(1,),
                          note=f"axes{axes}", **options))
    cases += [
        Case(op, [[d] for d in data], {"keepdims": 1}, opset, note="all", **options),
        Case(op, [[d] for d in data], {"keepdims": 0}, opset, note="all", **options),
        Case(op, [[d, np.zeros(0, np.int64)] for d in data], {"noop_with_empty_axes": 1}, opset,
             constant=(1,), note="noop", **options),
        # Axes known at run time only: their number and keepdims tell the rank.
        Case(op, [[d, ints(1)] for d in data], {"keepdims": 1}, opset, note="run-time",
             variants=("static",), optional=True, **options),
    ]
    return cases


def with_attribute(op, opset):
    """The older form: axes as an attribute."""
    data = [[rand(f32, *s, low=0.1)] for s in SETS]
    return [Case(op, data, {"axes": [-1], "keepdims": 1}, opset),
            Case(op, data, {"axes": [0, 1], "keepdims": 0}, opset), Case(op, data, {}, opset)]


def reduce_numpy(function):
    def run(arrays, attributes):
        axes = tuple(arrays[1].tolist()) if len(arrays) > 1 and arrays[1].size else None
        if axes is None and attributes.get("noop_with_empty_axes"):
            return [arrays[0]]
        return [np.asarray(function(arrays[0], axis=axes,
                                    keepdims=bool(attributes.get("keepdims", 1))))]
    return run


REDUCTIONS = [
    *reduce_cases("ReduceSum", FLOATS + (i32, i64), opset=13), *reduce_cases("ReduceMean", FLOATS,
                                                                            empty=False),
    *reduce_cases("ReduceMax", FLOATS + (i64, i32, i8, u8), empty=False, opset=18),
    *reduce_cases("ReduceMin", (f32, i64, f16), empty=False),
    *reduce_cases("ReduceProd", (f32, f64), low=0.5, high=1.5),
    *reduce_cases("ReduceL2", (f32, f16)), *reduce_cases("ReduceL1", (f32,)),
    *reduce_cases("ReduceSumSquare", (f32,)), *reduce_cases("ReduceLogSumExp", (f32,), empty=False),
    *reduce_cases("ReduceLogSum", (f32,), low=0.5, high=3, empty=False),
    *with_attribute("ReduceMean", 13), *with_attribute("ReduceMax", 12),
    *with_attribute("ReduceSum", 11), *with_attribute("ReduceL2", 13),
    Case("ReduceSum", [[rand(f32, 100003, low=0, high=1), ints(0)]], {"keepdims": 0}, 13,
         constant=(1,), note="long"),
    Case("ReduceMax", [[ints(1, np.nan, 3, dtype=f32).reshape(1, 3), ints(1)]], opset=18,
         constant=(1,), note="nan", reference=reduce_numpy(np.max)),
    *[Case(f"Reduce{name}", [[rand(t, 40, n), ints(1)] for n in (2, 15, 16, 17, 47, 64, 150)],
           opset=18, constant=(1,), note="nans", reference=reduce_numpy(of), prepare=with_nans)
      for name, of in (("Max", np.max), ("Min", np.min)) for t in (f32, f16, bf16)],
    *[Case(op, [[rand(t, *s, distinct=True)] for s in SETS],
           {"axis": axis, "keepdims": keep, "select_last_index": 0}, outputs=(i64,))
      for op in ("ArgMax", "ArgMin") for axis, keep in ((-1, 1), (0, 0), (1, 1))
      for t in (f32, i32)],
    Case("ArgMax", [[rand(i32, 5, 9, low=0, high=3)]], {"axis": 1, "select_last_index": 1},
         note="ties"),
    Case("ArgMax", [[rand(i32, 5, 9, low=0, high=3)]], {"axis": 1, "select_last_index": 0},
         note="ties"),
]


def cumulate(function, neutral):
    def run(arrays, attributes):
        x, axis = arrays[0], int(arrays[1])
        if attributes.get("reverse"):
            x = np.flip(x, axis)
        if attributes.get("exclusive") and x.shape[axis]:
            x = np.concatenate([np.full_like(np.take(x, [0], axis), neutral),
                                np.delete(x, -1, axis)], axis)
        out = function(x, axis=axis, dtype=x.dtype)
        return [np.flip(out, axis) if attributes.get("reverse") else out]
    return run


CUMULATIVE = [
    *[Case("CumSum", [[rand(t, *s), scalar(axis)] for s in SETS + EMPTY],
           {"exclusive": exclusive, "reverse": reverse}, 14, constant=(1,), note=f"axis{axis}",
           reference=cumulate(np.cumsum, 0))
      for t, axis in ((f32, 0), (f32, -1), (f64, 1), (f16, 1), (bf16, 2), (i64, 1), (i32, -1))
      for exclusive in (0, 1) for reverse in (0, 1)],
    Case("CumSum", [[rand(f32, 3, 5), scalar(a)] for a in (0, 1, -1, -2)], opset=14,
         variants=("dynamic",), note="run-time-axis"),
    Case("CumSum", [[rand(i64, 17), scalar(0, i32)]], opset=11, note="i32-axis"),
    *[Case("CumProd", [[rand(f32, *s, low=0.5, high=1.5), scalar(1)] for s in SETS],
           {"exclusive": e, "reverse": r}, 26, constant=(1,), reference=cumulate(np.cumprod, 1))
      for e in (0, 1) for r in (0, 1)],
]


def softmax(arrays, attributes):
    axis = attributes.get("axis", -1)
    shifted = np.exp(arrays[0] - arrays[0].max(axis=axis, keepdims=True, initial=-np.inf))
    return [shifted / shifted.sum(axis=axis, keepdims=True)]


SOFTMAXES = [
    *[Case("Softmax", [[rand(t, *s, low=-9, high=9)] for s in SETS + [(0, 5, 7), (3, 5, 0)]],
           {"axis": axis}, 13, reference=softmax)
      for t in FLOATS for axis in (-1, 1)],
    Case("Softmax", [[rand(f32, *s)] for s in SETS], {"axis": 0}, 13),
    Case("Softmax", [[rand(f32, 3, 5, 7)]], {"axis": 1}, 11, note="flattens"),
    Case("Softmax", [[ints(-np.inf, 0, 1000, 999, dtype=f32).reshape(1, 4)]], opset=13,
         note="edges"),
    *[Case("LogSoftmax", [[rand(t, *s, low=-9, high=9)] for s in SETS], {"axis": axis}, 13)
      for t in (f32, f16) for axis in (-1, 1)],
]


def top_k(arrays, attributes):
    """The lower index first among equals, as the standard says."""
    data, k = arrays[0], int(arrays[1].item())
    axis = attributes.get("axis", -1)
    keys = -data.astype(np.float64) if attributes.get("largest", 1) else data.astype(np.float64)
    order = np.take(np.argsort(keys, axis=axis, kind="stable"), np.arange(k), axis)
    return [np.take_along_axis(data, order, axis), order.astype(np.int64)]


SELECTIONS = [
    *[Case("TopK", [[rand(t, 3, 9), ints(4)], [rand(t, 1, 4), ints(4)], [rand(t, 0, 5), ints(4)]],
           {"largest": largest, "axis": -1, "sorted": 1}, 11, outputs=(t, i64), constant=(1,),
           reference=top_k) for t in (f32, f64, i64, i32) for largest in (0, 1)],
    *[Case("TopK", [[rand(t, 5, 7, low=0, high=3), ints(6)]], {"largest": largest, "sorted": 1},
           11, outputs=(t, i64), reference=top_k, note="ties")
      for t in (i64, i32) for largest in (0, 1)],
    Case("TopK", [[rand(f32, 5, 7), ints(k)] for k in (3, 7, 1, 0)], {"axis": 0 - 1}, 11,
         outputs=(f32, i64), reference=top_k, variants=("dynamic",), note="run-time-k"),
    *[Case("TopK", [[rand(t, 2, n, low=-40, high=40), ints(k)]
                    for n, k in ((200, 7), (1024, 1024), (1500, 20), (2100, 1100), (1300, 1300))],
           {"largest": largest}, 11, outputs=(t, i64), reference=top_k, variants=("dynamic",),
           note="long-rows") for t, largest in ((f32, 1), (i32, 0), (i64, 1))],
    Case("TopK", [[rand(f32, 5, 3, 2), ints(2)], [rand(f32, 2, 1, 0), ints(2)]], {"axis": 0}, 11,
         outputs=(f32, i64), reference=top_k, constant=(1,)),
    *[Case("TopK", [[rand(t, 3, 64, distinct=True), ints(8)]], opset=11, outputs=(t, i64),
           constant=(1,), reference=top_k, note="one-of-many") for t in (f16, bf16)],
    Case("TopK", [[rand(f32, 3, 9), ints(4)]], opset=11, outputs=(None, i64), constant=(1,),
         reference=top_k, note="indices-only"),
]


@over(REDUCTIONS)
def test_reduction(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(CUMULATIVE)
def test_cumulative(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(SOFTMAXES)
def test_softmax(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(SELECTIONS)
def test_top_k(case, variant, reference_only):
    run_case(case, variant, reference_only)
