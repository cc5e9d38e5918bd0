# ===- test_gathers.py - Reads by index inside of kernels ------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Gathers among the operators that they are fused with, at sizes around those of
vectors."""
import numpy as np
import pytest
from onnx import helper
from ssmtest import compare, compiler, model, runtime
from ssmtest.case import bf16, f16, f32, generator, i32, i64

WIDTHS = (1, 3, 16, 17, 40, 100)
LENGTHS = ((2, 7), (1, 1), (3, 0), (1, 33), (0, 2))


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], name=f"the_{output}", **attributes)


def load(nodes, inputs, outputs, weights=(), level=3):
    return runtime.Module(compiler.compile_model(
        model.make_model(nodes, inputs, outputs, weights), (f"-O{level}",))).session()


def embedding(table, positions, index, width, level=3):
    """A token's row and its position's, normalised."""
    return load([node("Gather", ["table", "ids"], "rows"),
                 node("Gather", ["places", "at"], "more"),
                 node("Add", ["rows", "more"], "sum"),
                 node("LayerNormalization", ["sum", "scale", "bias"], "y", axis=-1),
                 node("Add", ["sum", "y"], "z")],
                [("ids", index, ["B", "L"]), ("at", index, ["B", "L"])],
                [("y", table.dtype), ("z", table.dtype)],
                [("table", table), ("places", positions),
                 ("scale", np.linspace(0.5, 1.5, width).astype(table.dtype)),
                 ("bias", np.linspace(-1, 1, width).astype(table.dtype))], level)


@pytest.mark.parametrize("level", (0, 3))
@pytest.mark.parametrize("dtype,index", [(f32, i64), (f16, i64), (f16, i32), (bf16, i64)])
@pytest.mark.parametrize("width", WIDTHS)
def test_embedding(width, dtype, index, level, reference_only):
    if reference_only:
        pytest.skip("needs the compiler")
    rng = generator(f"embedding#{width}{np.dtype(dtype)}")
    # Sums that halves hold exactly: a narrow row of nearly equal ones would magnify their rounding.
    most = 63 if dtype is bf16 else 255
    table, places = ((rng.integers(-most, most + 1, (n, width)) / (most // 2 + 1)).astype(dtype)
                     for n in (11, 5))
    session = embedding(table, places, index, width, level)
    for shape in LENGTHS:
        ids = rng.integers(-11, 11, shape).astype(index)
        at = rng.integers(-5, 5, shape).astype(index)
        got = session.run({"ids": ids, "at": at})
        x = table[ids].astype(np.float64) + places[at]
        scale = np.linspace(0.5, 1.5, width).astype(dtype).astype(np.float64)
        bias = np.linspace(-1, 1, width).astype(dtype).astype(np.float64)
        centred = x - x.mean(-1, keepdims=True)
        y = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + bias
        compare.check_close("y", got["y"], y, dtype)
        compare.check_close("z", got["z"], x + y, dtype)
    for wrong in (11, -12, 2**31 - 1):
        with pytest.raises(runtime.RuntimeFailure,
                           match=f"the_rows.*index {wrong} is out of range for size 11"):
            session.run({"ids": np.array([[0, wrong]], index), "at": np.zeros((1, 2), index)})
    session.run({"ids": np.zeros((1, 2), index), "at": np.zeros((1, 2), index)})


@pytest.mark.parametrize("axis", (0, 1))
@pytest.mark.parametrize("width", WIDTHS)
def test_elements(width, axis, reference_only):
    """Elements that lie apart, of what is computed before and changed after."""
    if reference_only:
        pytest.skip("needs the compiler")
    session = load([node("Exp", ["x"], "e"),
                    node("GatherElements", ["e", "ids"], "g", axis=axis),
                    node("Softmax", ["g"], "s", axis=-1),
                    node("Neg", ["e"], "n"),
                    node("Mul", ["s", "n"], "y")],
                   [("x", f32, ["A", "B"]), ("ids", i64, ["A", "B"])],
                   [("y", f32), ("e", f32)])
    rng = generator(f"elements#{width}{axis}")
    for shape in ((5, width), (width, 2), (1, width), (0, width)):
        x = rng.uniform(-2, 2, shape).astype(f32)
        ids = rng.integers(-shape[axis], max(shape[axis], 1), shape) if 0 not in shape else \
            np.zeros(shape, i64)
        e = np.exp(x.astype(np.float64))
        g = np.exp(np.take_along_axis(e, ids, axis))
        got = session.run({"x": x, "ids": ids})
        compare.check_close("e", got["e"], e, f32)
        compare.check_close("y", got["y"], -e * g / g.sum(-1, keepdims=True), f32)


@pytest.mark.parametrize("width", WIDTHS)
def test_reversed(width, reference_only):
    """Read from the end, along and across lanes."""
    if reference_only:
        pytest.skip("needs the compiler")
    def ends(axis):
        return [(f"from{axis}", np.array([-1])), (f"to{axis}", np.array([-2**62])),
                (f"axis{axis}", np.array([axis]))]
    weights = [*ends(0), *ends(1), ("step", np.array([-1]))]
    session = load([node("Neg", ["x"], "n"),
                    *[node("Slice", ["n", f"from{a}", f"to{a}", f"axis{a}", "step"], f"r{a}")
                      for a in (0, 1)],
                    node("Sub", ["r0", "r1"], "d"), node("Add", ["d", "n"], "y")],
                   [("x", f32, ["A", "B"])], [("y", f32)], weights)
    rng = generator(f"reversed#{width}")
    for shape in ((5, width), (width, 3), (0, width)):
        x = rng.uniform(-2, 2, shape).astype(f32)
        compare.check_close("y", session.run({"x": x})["y"], x[:, ::-1] - x[::-1] - x, f32)


@pytest.mark.parametrize("mode", ("edge", "reflect", "wrap"))
@pytest.mark.parametrize("width", WIDTHS)
def test_padded(width, mode, reference_only):
    if reference_only:
        pytest.skip("needs the compiler")
    session = load([node("Pad", ["x", "pads"], "p", mode=mode), node("Exp", ["p"], "y")],
                   [("x", f32, ["A", "B"])], [("y", f32)], [("pads", np.array([1, 2, 0, 3]))])
    rng = generator(f"padded#{width}{mode}")
    for shape in ((5, width), (width, 3), (1, 1)):
        x = rng.uniform(-2, 2, shape)
        want = np.exp(np.pad(x.astype(f32).astype(np.float64), ((1, 0), (2, 3)), mode))
        compare.check_close("y", session.run({"x": x.astype(f32)})["y"], want, f32)


@pytest.mark.parametrize("width", WIDTHS)
def test_product(width, reference_only):
    """A product of matrices, one of gathered rows, spelled as a sum of products."""
    if reference_only:
        pytest.skip("needs the compiler")
    rng = generator(f"product#{width}")
    table = rng.uniform(-2, 2, (11, width)).astype(f32)
    session = load([node("Unsqueeze", ["x", "last"], "left"),
                    node("Gather", ["table", "ids"], "rows"),
                    node("Mul", ["left", "rows"], "products"),
                    node("ReduceSum", ["products", "middle"], "y", keepdims=0)],
                   [("x", f32, ["A", "K"]), ("ids", i64, ["K"])], [("y", f32)],
                   [("table", table), ("last", np.array([-1])), ("middle", np.array([1]))])
    for rows, depth in ((1, 5), (13, 7), (30, 40), (3, 0), (0, 3)):
        x = rng.uniform(-2, 2, (rows, depth)).astype(f32)
        ids = rng.integers(-11, 11, depth)
        want = x.astype(np.float64) @ table[ids].astype(np.float64)
        compare.check_close("y", session.run({"x": x, "ids": ids})["y"], want, f32)


# What uses indices [K] into the rows of x [N, M], and what it gives for indices that are fine.
USES = {
    "rows": ([node("Gather", ["x", "i"], "y", axis=0)], lambda x, i: x[i]),
    "columns": ([node("Transpose", ["x"], "t"), node("Gather", ["t", "i"], "y", axis=1)],
                lambda x, i: x.T[:, i]),
    "changed": ([node("Gather", ["x", "i"], "g", axis=0), node("Exp", ["g"], "y")],
                lambda x, i: np.exp(x[i].astype(np.float64))),
    "summed": ([node("Gather", ["x", "i"], "g", axis=0),
                node("ReduceSum", ["g", "last"], "y", keepdims=0)],
               lambda x, i: x[i].astype(np.float64).sum(1)),
    "summed_over": ([node("Gather", ["x", "i"], "g", axis=0),
                     node("ReduceSum", ["g", "first"], "y", keepdims=0)],
                    lambda x, i: x[i].astype(np.float64).sum(0)),
    "twice": ([node("Gather", ["x", "i"], "g", axis=0), node("Neg", ["x"], "n"),
               node("Gather", ["n", "i"], "h", axis=0), node("Concat", ["g", "h"], "y", axis=1)],
              lambda x, i: np.concatenate([x[i], -x[i]], 1)),
    "again": ([node("Gather", ["x", "i"], "g", axis=0), node("Sub", ["i", "i"], "z"),
               node("Gather", ["g", "z"], "y", axis=0)], lambda x, i: x[i][i - i]),
    "elements": ([node("Unsqueeze", ["i", "last"], "u"),
                  node("Expand", ["u", "two"], "e"),
                  node("GatherElements", ["x", "e"], "y", axis=0)], lambda x, i: x[i][:, :2]),
    "tuples": ([node("Unsqueeze", ["i", "last"], "u"), node("GatherND", ["x", "u"], "y")],
               lambda x, i: x[i]),
    "pairs": ([node("Unsqueeze", ["i", "last"], "u"), node("Sub", ["u", "u"], "z"),
               node("Concat", ["u", "z"], "p", axis=1), node("GatherND", ["x", "p"], "y")],
              lambda x, i: x[i, 0]),
    "scattered": ([node("Unsqueeze", ["i", "last"], "u"), node("Gather", ["x", "i"], "g", axis=0),
                   node("ScatterND", ["x", "u", "g"], "s"), node("Neg", ["s"], "y")],
                  lambda x, i: -x),
}


@pytest.mark.parametrize("index", (i64, i32))
@pytest.mark.parametrize("use", USES)
def test_wrong_indices(use, index, reference_only):
    """Indices at both ends of what is allowed and beyond, alone and among many, none, and any of
    an empty axis; and the session after an error."""
    if reference_only:
        pytest.skip("needs the compiler")
    nodes, want = USES[use]
    session = load(nodes, [("x", f32, ["N", "M"]), ("i", index, ["K"])], [("y", f32)],
                   [("last", np.array([1])), ("first", np.array([0])), ("two", np.array([1, 2]))])
    rng = generator(f"wrong#{use}{np.dtype(index)}")

    def check(x, i):
        compare.check_close("y", session.run({"x": x, "i": i})["y"], want(x, i), f32)

    for rows, width, count in ((7, 3, 5), (1, 4, 1), (33, 64, 700), (5, 2, 0)):
        x = rng.uniform(-2, 2, (rows, width)).astype(f32)
        check(x, rng.integers(-rows, rows, count).astype(index))
        for wrong in (rows, -rows - 1, 2**31 - 1, -2**31):
            for at in {0, count - 1} if count else ():
                i = rng.integers(-rows, rows, count).astype(index)
                i[at] = wrong
                with pytest.raises(runtime.RuntimeFailure, match=f"the_.*index.* {wrong} is out of "
                                                                 f"range for size {rows}"):
                    session.run({"x": x, "i": i})
    x = np.zeros((0, 3), f32)
    check(x, np.zeros(0, index))
    with pytest.raises(runtime.RuntimeFailure, match="index.* 0 is out of range for size 0"):
        session.run({"x": x, "i": np.zeros(2, index)})
    check(np.ones((2, 3), f32), np.array([-1, 0], index))


@pytest.mark.parametrize("dtype", (f32, f16))
@pytest.mark.parametrize("shared", (False, True))
def test_picked(shared, dtype, reference_only):
    """Many elements of short rows, by indices of each row or of all: a form of its own on a GPU."""
    if reference_only:
        pytest.skip("needs the compiler")
    op = ("Gather" if shared else "GatherElements")
    session = load([node(op, ["x", "i"], "g", axis=1), node("Add", ["g", "bias"], "y")],
                   [("x", dtype, ["N", "M"]), ("i", i64, ["K"] if shared else ["N", "K"]),
                    ("bias", dtype, ["K"])], [("y", dtype)])
    rng = generator(f"picked#{shared}{np.dtype(dtype)}")
    for rows, width, count in ((300, 4104, 3601), (1024, 1029, 1029), (512, 1, 2050), (3, 5, 4)):
        x = rng.uniform(-2, 2, (rows, width)).astype(dtype)
        bias = rng.uniform(-2, 2, count).astype(dtype)
        i = rng.integers(-width, width, count if shared else (rows, count))
        want = x[:, i] if shared else np.take_along_axis(x, i, 1)
        got = session.run({"x": x, "i": i, "bias": bias})["y"]
        compare.check_close("y", got, want.astype(np.float64) + bias, dtype)
        i[(-1,) if shared else (-1, -1)] = width
        with pytest.raises(runtime.RuntimeFailure, match=f"index {width} is out of range"):
            session.run({"x": x, "i": i, "bias": bias})
