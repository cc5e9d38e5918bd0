# ===- test_indexing.py - Gather, Scatter and what finds indices -----------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
import numpy as np
import pytest
from ssmtest import compiler, model, runtime
from ssmtest.case import (Case, boolean, bf16, f16, f32, f64, i8, i32, i64, ints, over, rand,
                          run_case, scalar, u8)


def index(size, *shape, dtype=i64):
    """Indices into an axis of `size`, negative ones among them."""
    return rand(dtype, *shape, low=-size, high=size)


GATHERS = [
    *[Case("Gather", [[rand(t, 5, 3, 7), index(5, 2, 4)], [rand(t, 1, 3, 0), index(1, 1, 9)],
                      [rand(t, 4, 1, 1), index(4, 0, 3)]])
      for t in (f32, f16, bf16, i64, boolean, f64, u8)],
    *[Case("Gather", [[rand(f32, 5, 4, 7), index(4, 2, 3)], [rand(f32, 4, 5, 4), index(4, 1, 1)]],
           {"axis": axis}) for axis in (1, 2, -1)],
    Case("Gather", [[rand(f32, 5, 3), scalar(2)], [rand(f32, 3, 1), scalar(-1)]],
         note="scalar"),
    Case("Gather", [[rand(f32, 2, 3, 4, 5), scalar(1)]], {"axis": 3}, note="scalar"),
    Case("Gather", [[rand(i64, 4), index(4, 3, dtype=i32)]], note="shape-like"),
    *[Case("Gather", [[rand(f32, 3, 6, 5), ints(*indices)]], {"axis": 1}, note=note)
      for note, indices in [("even", (1, 3, 5)), ("repeats", (0, 0, 0, -1, -1, -1)),
                            ("rounds", (2, 3, 2, 3, 2, 3)), ("both", (0, 0, 2, 2, 0, 0, 2, 2)),
                            ("one", (4, 4, 4)), ("backwards", (3, 2, 1)), ("uneven", (0, 1, 3)),
                            ("cut", (0, 0, 1, 1, 2)), ("half-round", (0, 1, 2, 0, 1))]],
    *[Case("GatherElements", [[rand(t, 4, 5, 6), index(4, 4, 5, 6)],
                              [rand(t, 9, 7, 8), index(7, 3, 5, 6)], [rand(t, 4, 4, 4),
                                                                    index(4, 0, 2, 1)]],
           {"axis": axis}) for axis in (0, 1, -1) for t in (f32, i64)],
    Case("GatherElements", [[rand(f16, 4, 5), index(4, 2, 5, dtype=i32)]]),
]


def gather_nd_sets(dtype, data, batch, depth, counts):
    """Index tensors whose last axis addresses data[batch:batch+depth]."""
    sets = []
    for count in counts:
        rng = np.random.default_rng(count)
        lead = data[:batch] + (count, 2)
        columns = [rng.integers(-s, s, lead) for s in data[batch:batch + depth]]
        sets.append([rand(dtype, *data), np.stack(columns, -1).astype(np.int64)])
    return sets


GATHER_NDS = [
    *[Case("GatherND", gather_nd_sets(t, (5, 4, 3), 0, 2, (3, 0, 1))) for t in (f32, i64, boolean,
                                                                             bf16)],
    Case("GatherND", gather_nd_sets(f32, (5, 4, 3), 0, 1, (3,)), note="rows"),
    Case("GatherND", gather_nd_sets(f32, (5, 4, 3), 0, 3, (3,)), note="elements"),
    Case("GatherND", gather_nd_sets(f32, (5, 4, 3), 1, 1, (3, 0)), {"batch_dims": 1}),
    Case("GatherND", gather_nd_sets(f32, (5, 4, 3, 2), 2, 1, (3,)), {"batch_dims": 2}),
]


def scatter_elements(arrays, attributes):
    out, indices, updates = arrays[0].copy(), arrays[1], arrays[2]
    axis = attributes.get("axis", 0)
    for at in np.ndindex(indices.shape):
        to = list(at)
        to[axis] = indices[at]
        to = tuple(to)
        out[to] = combine(attributes.get("reduction", "none"), out[to], updates[at])
    return [out]


def combine(reduction, old, new):
    return {"none": lambda: new, "add": lambda: old + new, "mul": lambda: old * new,
            "max": lambda: max(old, new), "min": lambda: min(old, new)}[reduction]()


def scatter_nd(arrays, attributes):
    out, indices, updates = arrays[0].copy(), arrays[1], arrays[2]
    for at in np.ndindex(indices.shape[:-1]):
        to = tuple(indices[at])
        if attributes.get("reduction", "none") == "none":
            out[to] = updates[at]
        else:
            f = {"add": np.add, "mul": np.multiply, "max": np.maximum,
                 "min": np.minimum}[attributes["reduction"]]
            out[to] = f(out[to], updates[at])
    return [out]


def unique_rows(arrays, axis=0):
    """Replaces indices along `axis` by ones without repetition: what a scatter
    without reduction leaves at a repeated index is not defined."""
    data, indices, updates = arrays
    indices = np.argsort(np.random.default_rng(indices.size).random(indices.shape), axis=axis)
    indices = indices.astype(arrays[1].dtype)
    return [data, indices - data.shape[axis] * (indices % 2), updates]


SCATTERS = [
    *[Case("ScatterElements",
           [[rand(t, 6, 5, 7), index(5, 3, 5, 4), rand(t, 3, 5, 4)],
            [rand(t, 4, 4, 4), index(4, 0, 2, 1), rand(t, 0, 2, 1)],
            [rand(t, 1, 1, 1), index(1, 1, 1, 1), rand(t, 1, 1, 1)]], {"axis": axis},
           prepare=lambda a, axis=axis: unique_rows(a, axis), reference=scatter_elements)
      for axis in (0, 1, -1) for t in (f32, i64)],
    *[Case("ScatterElements", [[rand(t, 6, 5), index(5, 4, 5), rand(t, 4, 5)]],
           {"axis": 0, "reduction": r}, reference=scatter_elements)
      for r in ("add", "mul", "max", "min") for t in (f32, i64, f16, i32)],
    Case("ScatterElements", [[rand(boolean, 6, 5), index(6, 4, 5), rand(boolean, 4, 5)]],
         prepare=unique_rows, reference=scatter_elements),
    Case("ScatterElements", [[rand(bf16, 6, 5), index(5, 4, 5, dtype=i32), rand(bf16, 4, 5)]],
         {"axis": 1, "reduction": "add"}, reference=scatter_elements),
    Case("ScatterElements", [[rand(f32, 2, 3, 4, 5), index(5, 2, 3, 4, 1), rand(f32, 2, 3, 4, 1)]],
         {"axis": 3}, reference=scatter_elements, note="one-column"),
    *[Case("ScatterND", [[rand(t, 6, 5, 7), ints(4, -6, 2).reshape(3, 1), rand(t, 3, 5, 7)],
                         [rand(t, 6, 0, 1), ints(1).reshape(1, 1), rand(t, 1, 0, 1)],
                         [rand(t, 6, 2, 3), np.zeros((0, 1), np.int64), rand(t, 0, 2, 3)]],
           reference=scatter_nd, note="rows") for t in (f32, f16, bf16, i64, boolean)],
    Case("ScatterND", [[rand(f32, 6, 5), np.array([[[1, 2], [3, -4]]]), rand(f32, 1, 2)]],
         reference=scatter_nd, note="elements"),
    *[Case("ScatterND", [[rand(t, 6, 5), np.array([[1], [1], [5], [-1]]), rand(t, 4, 5)]],
           {"reduction": r}, reference=scatter_nd)
      for r in ("add", "mul", "max", "min") for t in (f32, i64)],
]
FINDERS = [
    *[Case("NonZero", [[rand(t, 4, 5, low=0, high=2)], [rand(t, 0, 3)], [np.zeros((3, 3), t)],
                       [np.ones((1, 1), t)]], variants=("dynamic", "static"))
      for t in (boolean, i64, f32)],
    Case("NonZero", [[rand(boolean, 9)]], variants=("dynamic",), note="vector"),
    *[Case("OneHot", [[index(6, 3, 4), scalar(6), ints(2, 5, dtype=f32)],
                      [index(6, 0, 1), scalar(6), ints(0, 1, dtype=f32)]], {"axis": axis},
           constant=(1,)) for axis in (-1, 0, 1)],
    Case("OneHot", [[ints(0, 7, -7, 2), scalar(6), ints(0, 1)]], note="out-of-range"),
]


@over(GATHERS)
def test_gather(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(GATHER_NDS)
def test_gather_nd(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(SCATTERS)
def test_scatter(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(FINDERS)
def test_finders(case, variant, reference_only):
    run_case(case, variant, reference_only)


X = np.zeros((4, 5), f32)
# (operator, inputs that are right, position and value of a wrong one, attributes)
WRONG = [
    ("Gather", [X, ints(0, 3)], 1, ints(0, 4), {}),
    ("Gather", [X, ints(0, 3)], 1, ints(-5, 0), {}),
    ("Gather", [X, ints(0, 3)], 1, ints(2**62, 0), {"axis": 1}),
    ("GatherElements", [X, np.zeros((2, 5), i64)], 1, np.full((2, 5), 4), {}),
    ("GatherElements", [X, np.zeros((2, 5), i64)], 1, np.zeros((2, 6), i64), {}),
    ("GatherND", [X, np.array([[1, 2]])], 1, np.array([[1, 5]]), {}),
    ("GatherND", [X, np.array([[1, 2]])], 1, np.array([[-5, 0]]), {}),
    ("ScatterElements", [X, np.zeros((1, 5), i64), np.ones((1, 5), f32)], 1, np.full((1, 5), 4),
     {}),
    ("ScatterND", [X, np.array([[1]]), np.ones((1, 5), f32)], 1, np.array([[4]]), {}),
    ("ScatterND", [X, np.array([[1]]), np.ones((1, 5), f32)], 2, np.ones((1, 4), f32), {}),
    ("Reshape", [X, ints(5, 4)], 1, ints(3, 7), {}),
    ("Reshape", [X, ints(5, 4)], 1, ints(-1, 7), {}),
    ("Reshape", [X, ints(5, 4)], 1, ints(-1, -1), {}),
    ("Reshape", [X, ints(5, 4)], 1, ints(-2, 4), {}),
    ("Reshape", [X, ints(5, 4)], 1, ints(2**33, 2**33), {}),
    ("Expand", [X, ints(3, 4, 5)], 1, ints(3, 4, 2), {}),
    ("Expand", [X, ints(3, 4, 5)], 1, ints(-1, 4, 5), {}),
    ("Tile", [X, ints(1, 2)], 1, ints(1, -2), {}),
    ("Pad", [X, ints(0, 0, 1, 1)], 1, ints(0, 0, -9, 1), {}),
    ("Slice", [X, ints(0), ints(2), ints(0), ints(1)], 4, ints(0), {}),
    ("Range", [scalar(0), scalar(4), scalar(1)], 2, scalar(0), {}),
    ("ConstantOfShape", [ints(2, 3)], 0, ints(2, -3), {}),
    ("ConstantOfShape", [ints(2, 3)], 0, ints(2**40, 2**40), {}),
    ("Add", [X, np.zeros((4, 5), f32)], 1, np.zeros((3, 5), f32), {}),
    ("MatMul", [X, np.zeros((5, 2), f32)], 1, np.zeros((4, 2), f32), {}),
    ("Concat", [X, np.zeros((2, 5), f32)], 1, np.zeros((2, 6), f32), {"axis": 0}),
    ("Where", [X > 0, X, X], 1, np.zeros((4, 2), f32), {}),
    ("TopK", [X, ints(3)], 1, ints(6), {}),
    ("TopK", [X, ints(3)], 1, ints(-1), {}),
    ("Split", [X, ints(1, 3)], 1, ints(2, 3), {}),
    ("Squeeze", [np.zeros((1, 4), f32), ints(0)], 0, np.zeros((2, 4), f32), {}),
    ("CumSum", [X, scalar(1)], 1, scalar(2), {}),
]


@pytest.mark.parametrize("op,inputs,position,wrong,attributes", WRONG,
                         ids=[f"{w[0]}-{i}" for i, w in enumerate(WRONG)])
def test_wrong_data_is_an_error(op, inputs, position, wrong, attributes, reference_only):
    """The call fails, names the node, and the session stays usable."""
    if reference_only:
        pytest.skip("needs the compiler")
    outputs = {"TopK": [f32, i64], "Split": [f32, f32]}.get(op)
    outputs = outputs or [i64 if op == "Range" else f32]
    proto, remain = model.single_node(op, inputs, outputs, attributes, 18, "", "dynamic",
                                      (3,) if op == "Slice" else ())
    session = runtime.Module(compiler.compile_model(proto)).session()
    right = {name: inputs[i] for i, name in remain.items()}
    before = session.run(right)
    with pytest.raises(runtime.RuntimeFailure) as failure:
        session.run({**right, remain[position]: wrong})
    assert f"the_{op}" in str(failure.value)
    after = session.run(right)
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name])
