# ===- test_matmul_shapes.py - Products of matrices of many shapes ---------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Products against NumPy in double precision: the right side a weight, which is
packed, or an input; all numbers of rows around a tile's; ragged columns, with and
without lanes along the depth; depths around those that are taken in chunks; what
follows the product fused into it."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ssmtest import runtime
from ssmtest.case import generator
from ssmtest.compiler import compile_model
from ssmtest.model import NEWEST_OPSET

f32, f16 = np.float32, np.float16


def element(dtype):
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def build(nodes, inputs, weights, dtype):
    """A model of inputs with open sizes. `inputs`: names to ranks."""
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(name, element(dtype),
                                       [f"{name}{i}" if size is None else size
                                        for i, size in enumerate(shape)])
         for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", element(dtype), None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", NEWEST_OPSET)],
                             ir_version=10)


def run(module, **inputs):
    return module.session().run(inputs)["y"]


def check(got, want, depth, dtype):
    # Halves are summed up in f32 and rounded once.
    bound = 1e-6 * max(1, np.sqrt(depth)) if dtype is f32 else 1e-3
    assert got.shape == want.shape
    scale = max(1.0, np.abs(want).max(initial=0))
    assert np.abs(got.astype(np.float64) - want).max(initial=0) <= bound * scale


LEVELS = ["-O0", "-O3"]
TARGETS = ["-O0", "-O3", "-O3 --cpu=v2", "-O3 --cpu=v3"]


@pytest.mark.parametrize("options", TARGETS)
@pytest.mark.parametrize("dtype", [f32, f16])
@pytest.mark.parametrize("depth,width", [(1, 8), (7, 33), (64, 31), (3, 100), (70, 64)])
def test_weight(options, dtype, depth, width):
    rng = generator(f"weight {depth} {width} {dtype}")
    w = rng.standard_normal((depth, width)).astype(dtype)
    model = build([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [None, depth]}, {"w": w},
                  dtype)
    module = runtime.Module(compile_model(model, options.split()))
    for rows in [0, 1, 2, 3, 5, 6, 7, 11, 12, 13, 24, 25, 40, 200]:
        x = rng.standard_normal((rows, depth)).astype(dtype)
        check(run(module, x=x), x.astype(np.float64) @ w.astype(np.float64), depth, dtype)


@pytest.mark.parametrize("options", TARGETS)
@pytest.mark.parametrize("dtype", [f32, f16])
@pytest.mark.parametrize("depth,width", [(64, 1), (70, 2), (129, 5), (300, 7), (64, 12), (200, 23),
                                         (129, 39), (2100, 19)])
def test_ragged_columns(options, dtype, depth, width):
    """Columns past whole vectors, few rows and many."""
    rng = generator(f"ragged {depth} {width} {dtype}")
    w = rng.standard_normal((depth, width)).astype(dtype)
    model = build([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [None, depth]}, {"w": w},
                  dtype)
    module = runtime.Module(compile_model(model, options.split()))
    for rows in [0, 1, 13, 64, 250]:
        x = rng.standard_normal((rows, depth)).astype(dtype)
        check(run(module, x=x), x.astype(np.float64) @ w.astype(np.float64), depth, dtype)


@pytest.mark.parametrize("options", LEVELS)
@pytest.mark.parametrize("transposed", [0, 1])
def test_open_columns(options, transposed):
    """Every width with one module, rows and depth such that both ways are taken."""
    rng = generator(f"open {transposed}")
    model = build([helper.make_node("Gemm", ["a", "b"], ["y"], transB=transposed)],
                  {"a": [None, None], "b": [None, None]}, {}, f32)
    module = runtime.Module(compile_model(model, options.split()))
    for width in range(70):
        for rows, depth in [(100, 90), (20, 33), (60, 2060) if width % 16 == 3 else (1, 5)]:
            a = rng.standard_normal((rows, depth)).astype(f32)
            b = rng.standard_normal((depth, width)).astype(f32)
            given = np.ascontiguousarray(b.T) if transposed else b
            check(run(module, a=a, b=given), a.astype(np.float64) @ b, depth, f32)


@pytest.mark.parametrize("options", TARGETS)
@pytest.mark.parametrize("dtype", [f32, f16])
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5, 8, 15, 31])
def test_few_rows(options, dtype, rows):
    """Times an input that is dense along the depth, with what follows."""
    rng = generator(f"few {rows} {dtype}")
    nodes = [helper.make_node("Transpose", ["b"], ["t"], perm=[0, 2, 1]),
             helper.make_node("MatMul", ["a", "t"], ["p"]),
             helper.make_node("Mul", ["p", "scale"], ["s"]),
             helper.make_node("Add", ["s", "mask"], ["y"])]
    scale = np.array(0.5, dtype)
    model = build(nodes, {"a": [None, rows, None], "b": [None, None, None], "mask": [None]},
                  {"scale": scale}, dtype)
    module = runtime.Module(compile_model(model, options.split()))
    for batch, depth, width in [(0, 3, 4), (1, 0, 5), (2, 1, 1), (3, 15, 3), (1, 16, 33), (2, 64, 40),
                                (1, 20, 31), (2, 100, 63), (1, 2053, 37)]:
        a = rng.standard_normal((batch, rows, depth)).astype(dtype)
        b = rng.standard_normal((batch, width, depth)).astype(dtype)
        mask = rng.standard_normal(width).astype(dtype)
        want = a.astype(np.float64) @ b.astype(np.float64).swapaxes(1, 2) * 0.5 + mask
        check(run(module, a=a, b=b, mask=mask), want, depth, dtype)


@pytest.mark.parametrize("options", LEVELS)
@pytest.mark.parametrize("rows", [3, 100])
def test_computed_sides(options, rows):
    """What lanes past the depth's end would compute is no number: 0 times 1 / 0."""
    rng = generator(f"computed {rows}")
    nodes = [helper.make_node("Reciprocal", ["b"], ["r"]),
             helper.make_node("Sqrt", ["a"], ["l"]),
             helper.make_node("Gemm", ["l", "r"], ["y"], transB=1)]
    model = build(nodes, {"a": [rows, None], "b": [None, None]}, {}, f32)
    module = runtime.Module(compile_model(model, options.split()))
    for depth, width in [(5, 3), (70, 21), (131, 7)]:
        a = rng.uniform(0, 2, (rows, depth)).astype(f32)
        b = rng.uniform(0.5, 2, (width, depth)).astype(f32)
        check(run(module, a=a, b=b), np.sqrt(a.astype(np.float64)) @ (1 / b.astype(np.float64)).T,
              depth, f32)


@pytest.mark.parametrize("options", TARGETS)
@pytest.mark.parametrize("dtype", [np.int32, np.float64])
@pytest.mark.parametrize("rows", [3, 100])
def test_other_types(options, dtype, rows):
    """Whole numbers are exact, doubles have half the lanes."""
    rng = generator(f"types {rows} {dtype}")
    nodes = [helper.make_node("Transpose", ["b"], ["t"], perm=[1, 0]),
             helper.make_node("MatMul", ["a", "t"], ["y"])]
    model = build(nodes, {"a": [rows, None], "b": [None, None]}, {}, dtype)
    module = runtime.Module(compile_model(model, options.split()))
    for depth, width in [(0, 2), (1, 1), (17, 5), (130, 19), (2050, 7)]:
        a, b = (rng.integers(-1000, 1000, (n, depth)).astype(dtype) for n in (rows, width))
        assert np.array_equal(run(module, a=a, b=b), a @ b.T)


@pytest.mark.parametrize("options", LEVELS)
@pytest.mark.parametrize("transposed", [0, 1])
def test_inputs(options, transposed):
    model = build([helper.make_node("Gemm", ["a", "b"], ["y"], transB=transposed)],
                  {"a": [None, None], "b": [None, None]}, {}, f32)
    module = runtime.Module(compile_model(model, options.split()))
    rng = generator(f"inputs {transposed}")
    for _ in range(40):
        rows, depth, width = rng.integers(0, 71, 3)
        a = rng.standard_normal((rows, depth)).astype(f32)
        b = rng.standard_normal((depth, width)).astype(f32)
        given = np.ascontiguousarray(b.T) if transposed else b
        check(run(module, a=a, b=given), a.astype(np.float64) @ b, depth, f32)


@pytest.mark.parametrize("options", LEVELS)
def test_depth(options):
    """Around and above the depth of a chunk, with many tiles of rows."""
    model = build([helper.make_node("MatMul", ["a", "b"], ["y"])],
                  {"a": [None, None], "b": [None, None]}, {}, f32)
    module = runtime.Module(compile_model(model, options.split()))
    rng = generator("depth")
    for rows, depth, width in [(30, 2048, 40), (30, 2049, 40), (1, 4097, 33), (210, 5000, 20)]:
        a = rng.standard_normal((rows, depth)).astype(f32)
        b = rng.standard_normal((depth, width)).astype(f32)
        check(run(module, a=a, b=b), a.astype(np.float64) @ b, depth, f32)


@pytest.mark.parametrize("options", LEVELS)
def test_batches(options):
    rng = generator("batches")
    w = rng.standard_normal((24, 40)).astype(f32)
    shared = runtime.Module(compile_model(
        build([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [None, None, 24]}, {"w": w},
              f32), options.split()))
    own = runtime.Module(compile_model(
        build([helper.make_node("MatMul", ["a", "b"], ["y"])],
              {"a": [None, None, None], "b": [None, None, None]}, {}, f32), options.split()))
    for batch, rows in [(0, 3), (1, 1), (2, 13), (5, 1), (3, 40)]:
        x = rng.standard_normal((batch, rows, 24)).astype(f32)
        check(run(shared, x=x), x.astype(np.float64) @ w, 24, f32)
        b = rng.standard_normal((batch, 24, 19)).astype(f32)
        check(run(own, a=x, b=b), x.astype(np.float64) @ b, 24, f32)


@pytest.mark.parametrize("options", LEVELS)
@pytest.mark.parametrize("width", [40, 64])
def test_epilogue(options, width):
    """Bias, activation, gate and residual."""
    rng = generator(f"epilogue {width}")
    w = rng.standard_normal((30, width)).astype(f32) / 5
    bias = rng.standard_normal(width).astype(f32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]),
             helper.make_node("Add", ["p", "bias"], ["q"]),
             helper.make_node("Sigmoid", ["q"], ["s"]),
             helper.make_node("Mul", ["q", "s"], ["t"]),
             helper.make_node("Mul", ["t", "gate"], ["u"]),
             helper.make_node("Add", ["u", "rest"], ["y"])]
    model = build(nodes, {"x": [None, 30], "gate": [None, width], "rest": [None, width]},
                  {"w": w, "bias": bias}, f32)
    module = runtime.Module(compile_model(model, options.split()))
    for rows in [0, 1, 12, 13, 50]:
        x, gate, rest = (rng.standard_normal((rows, n)).astype(f32) for n in (30, width, width))
        q = x.astype(np.float64) @ w + bias
        check(run(module, x=x, gate=gate, rest=rest), q / (1 + np.exp(-q)) * gate + rest, 30, f32)


def test_threads():
    """Any number of threads gives the same bits."""
    rng = generator("threads")
    w = rng.standard_normal((300, 500)).astype(f32)
    model = build([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [None, 300]}, {"w": w}, f32)
    module = runtime.Module(compile_model(model, ["-O3"]))
    for rows in [1, 13, 400]: # 500 columns are 31 vectors and 4 columns
        x = rng.standard_normal((rows, 300)).astype(f32)
        one, many = (module.session(threads=n).run({"x": x})["y"] for n in (1, 3))
        check(one, x.astype(np.float64) @ w, 300, f32)
        assert one.tobytes() == many.tobytes()


WIDTHS = [1, 2, 3, 4, 5, 7, 15, 17, 28, 29, 30, 31, 33, 45, 62, 63, 65, 100]


@pytest.mark.parametrize("options", ["-O3", "-O3 --cpu=v2", "-O3 --cpu=v3"])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 9, 31])
def test_few_rows_of_columns(options, rows):
    """Both sides dense along the depth, and so few rows that no column is turned: what
    is summed up for the last columns of a row must not touch the next row."""
    rng = generator(f"columns {options} {rows}")
    model = build([helper.make_node("Gemm", ["a", "b"], ["y"], transB=1)],
                  {"a": [rows, None], "b": [None, None]}, {}, f32)
    module = runtime.Module(compile_model(model, options.split()))
    for width in WIDTHS:
        for depth in (1, 4, 16, 37, 2100):
            a, b = (rng.standard_normal((n, depth)).astype(f32) for n in (rows, width))
            check(run(module, a=a, b=b), a.astype(np.float64) @ b.T.astype(np.float64), depth, f32)


@pytest.mark.parametrize("options", ["-O3", "-O3 --cpu=v2", "-O3 --cpu=v3"])
@pytest.mark.parametrize("width", [1, 2, 3, 5, 9, 17, 18, 31, 33, 34, 35, 66, 67])
def test_fixed_columns_along_the_depth(options, width):
    """The same where the width is fixed: what is left of the last strip of columns is in no
    other strip."""
    rng = generator(f"fixed {options} {width}")
    for batch, rows, depth in ((1, 1, 8), (2, 2, 3), (6, 4, 8), (2, 7, 21)):
        model = build([helper.make_node("Transpose", ["b"], ["t"], perm=[0, 2, 1]),
                       helper.make_node("MatMul", ["a", "t"], ["y"])],
                      {"a": [batch, rows, depth], "b": [batch, width, depth]}, {}, f32)
        a, b = (rng.standard_normal((batch, n, depth)).astype(f32) for n in (rows, width))
        check(run(runtime.Module(compile_model(model, options.split())), a=a, b=b),
              a.astype(np.float64) @ b.transpose(0, 2, 1).astype(np.float64), depth, f32)


@pytest.mark.parametrize("options", ["-O3", "-O3 --cpu=v2", "-O3 --cpu=v3"])
def test_ragged_columns_of_many_rows(options):
    """Columns behind the last whole vector that are worth turning, of open and fixed
    width."""
    rng = generator(f"ragged {options}")
    for fixed in (None, 20):
        model = build([helper.make_node("MatMul", ["a", "b"], ["y"])],
                      {"a": [None, None], "b": [None, fixed]}, {}, f32)
        module = runtime.Module(compile_model(model, options.split()))
        for width in [fixed] if fixed else WIDTHS:
            for rows, depth in ((150, 128), (37, 300), (13, 2100), (200, 33)):
                a = rng.standard_normal((rows, depth)).astype(f32)
                b = rng.standard_normal((depth, width)).astype(f32)
                check(run(module, a=a, b=b), a.astype(np.float64) @ b.astype(np.float64), depth,
                      f32)


@pytest.mark.parametrize("options", TARGETS)
@pytest.mark.parametrize("dtype", [f32, f16])
@pytest.mark.parametrize("rows", [1, None])
def test_row_by_ragged_rows(options, dtype, rows):
    """A row times an input, which is read as one piece of memory where its rows are ragged,
    with what comes before and after; a part of wider rows is no such piece."""
    rng = generator(f"row {options} {dtype} {rows}")
    nodes = [helper.make_node("Sigmoid", ["a"], ["s"]),
             helper.make_node("Slice", ["b", "first", "end", "last"], ["c"]),
             helper.make_node("MatMul", ["s", "c"], ["p"]),
             helper.make_node("Add", ["p", "bias"], ["y"])]
    model = build(nodes, {"a": [None, rows, None], "b": [None, None, None], "bias": [None]},
                  {"first": np.array([0]), "last": np.array([2]), "end": np.array([400])}, dtype)
    module = runtime.Module(compile_model(model, options.split()))
    for batch, depth, width in [(0, 64, 33), (1, 0, 33), (1, 64, 0), (1, 63, 65), (2, 64, 31),
                                (1, 65, 32), (1, 64, 33), (3, 79, 47), (1, 300, 48), (2, 128, 63),
                                (1, 256, 64), (1, 257, 65), (1, 71, 100), (2, 95, 129), (1, 80, 192),
                                (1, 333, 200), (1, 100, 399), (1, 100, 400), (2, 70, 401),
                                (1, 2000, 131), (1, 1000, 300)]:
        a = rng.standard_normal((batch, 1, depth)).astype(dtype)
        b = rng.standard_normal((batch, depth, width)).astype(dtype)
        bias = rng.standard_normal(min(width, 400)).astype(dtype)
        want = 1 / (1 + np.exp(-a.astype(np.float64))) @ b[..., :400].astype(np.float64) + bias
        check(run(module, a=a, b=b, bias=bias), want, depth, dtype)


@pytest.mark.parametrize("options", LEVELS)
@pytest.mark.parametrize("op", ["MatMul", "Einsum"])
def test_batches_of_two_names(options, op):
    """Equal, or one of them 1: only the run can tell."""
    rng = generator(f"batches {options} {op}")
    attributes = {"equation": "...ij,...jk->...ik"} if op == "Einsum" else {}
    nodes = [helper.make_node("Sigmoid", ["a"], ["s"]),
             helper.make_node("Slice", ["b", "first", "end", "last"], ["part"]),
             helper.make_node(op, ["s", "b"], ["p"], **attributes),
             helper.make_node(op, ["s", "part"], ["q"], **attributes),
             helper.make_node("Concat", ["p", "q"], ["y"], axis=3)]
    model = build(nodes, {"a": [None] * 4, "b": [None] * 4},
                  {"first": np.array([0]), "last": np.array([3]), "end": np.array([9])}, f32)
    module = runtime.Module(compile_model(model, options.split()))
    for left, right in (((3, 2), (3, 2)), ((1, 2), (3, 2)), ((3, 2), (1, 2)), ((3, 1), (3, 2)),
                        ((3, 2), (1, 1)), ((1, 2), (3, 1)), ((1, 1), (1, 1)), ((0, 2), (1, 2))):
        a = rng.standard_normal((*left, 7, 33)).astype(f32)
        b = rng.standard_normal((*right, 33, 17)).astype(f32)
        want = (1 / (1 + np.exp(-a.astype(np.float64)))) @ b.astype(np.float64)
        check(run(module, a=a, b=b), np.concatenate([want, want[..., :9]], axis=-1), 33, f32)
    with pytest.raises(runtime.RuntimeFailure, match="broadcast"):
        run(module, a=np.zeros((3, 2, 7, 33), f32), b=np.zeros((2, 2, 33, 17), f32))
