# ===- test_fusion.py - What is computed together --------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Graphs whose operators are fused, with and without optimisation, against ONNX's
reference evaluator in double precision: results used twice, results that are outputs
too, norms around products, masks, broadcasts, axes of every kind; sizes 0, 1 and odd."""

import re
import subprocess
import sys
import warnings

import numpy as np
import onnx.reference
import pytest
from onnx import helper
from ssmtest import build, compare, compiler, reference, runtime
from ssmtest.case import bf16, f16, f32, generator
from ssmtest.model import with_sizes

sys.path.insert(0, str(build.MODELS))
import mamba  # noqa: E402
import recurrences  # noqa: E402
from builder import Builder  # noqa: E402

INF = np.inf


class Graph(Builder):
    """A graph in one element type, whose weights are those of `stored` type."""

    def __init__(self, seed, kind, stored):
        super().__init__()
        self.rng, self.kind, self.stored = np.random.default_rng(seed), kind, stored
        self.element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))

    def x(self, name, *dims):
        return self.input(name, list(dims), self.element)

    def w(self, *shape):
        size = np.sqrt(shape[0]) if len(shape) > 1 else 1
        values = self.rng.uniform(-1, 1, shape) / size
        return self.weight(values.astype(self.stored).astype(self.kind))

    def c(self, value):
        return self.weight(np.array(value, np.float64).astype(self.stored).astype(self.kind))

    def out(self, value, name, rank=3):
        self.output(value, [None] * rank, self.element, name=name)

    def silu(self, x):
        return self.add("Mul", x, self.add("Sigmoid", x))

    def rms(self, x, width):
        mean = self.add("ReduceMean", self.add("Mul", x, x), self.ints(-1), keepdims=1)
        root = self.add("Sqrt", self.add("Add", mean, self.c(0.01)))
        return self.add("Mul", self.add("Div", x, root), self.w(width))

    def layer_norm(self, x, width):
        return self.add("LayerNormalization", x, self.w(width), self.w(width), epsilon=0.01)


def residual(g):
    """norm, product, bias, activation, product, residual, norm; the sum is used twice."""
    x = g.x("x", "n", "m", 24)
    y = g.add("Add", g.add("MatMul", g.rms(x, 24), g.w(24, 40)), g.w(40))
    y = g.add("MatMul", g.add("Gelu", y), g.w(40, 24))
    total = g.add("Add", x, y)
    g.out(g.layer_norm(total, 24), "y")
    g.out(total, "total")


def gated(g):
    """Halves of one product, one a gate of the other; an odd width."""
    x = g.x("x", "n", "m", 10)
    a, b = g.add("Split", g.add("MatMul", x, g.w(10, 34)), axis=-1, num_outputs=2, count=2)
    y = g.add("MatMul", g.add("Mul", g.silu(a), b), g.w(17, 10))
    g.out(g.add("Add", y, x), "y")


def softmax(axis):
    def make(g):
        x = g.x("x", "n", 5, "m")
        scores = g.add("Mul", g.add("Add", x, g.w(5, 1)), g.c(2.5))
        y = g.add("Softmax", scores, axis=axis)
        g.out(g.add("Mul", y, x), "y")
        g.out(g.add("Log", g.add("Add", y, g.c(0.1))), "z")
    return make


def attention(how):
    """Spelled out, with rows whose mask leaves nothing: those are NaN, as the
    standard's softmax has it."""
    def make(g):
        q, k, v = (g.x(name, "b", 2, size, 9) for name, size in (("q", "n"), ("k", "m"),
                                                                 ("v", "m")))
        mask = g.x("mask", "b", 1, "n", "m")
        scores = g.add("Mul", g.add("MatMul", q, g.add("Transpose", k, perm=[0, 1, 3, 2])),
                       g.c(0.25))
        if how == "add":
            scores = g.add("Add", scores, mask)
        else:
            scores = g.add("Where", g.add("Less", mask, g.c(-1000.0)), g.c(-INF), scores)
        p = g.add("Softmax", scores, axis=-1)
        if how == "guarded":
            p = g.add("Where", g.add("IsNaN", p), g.c(0.0), p)
        y = g.add("Transpose", g.add("MatMul", p, v), perm=[0, 2, 1, 3])
        g.out(g.add("MatMul", g.add("Reshape", y, g.ints(0, 0, 18)), g.w(18, 7)), "y")
    return make


def gelu_erf(g):
    x = g.x("x", "n", "m")
    y = g.add("Add", g.add("Erf", g.add("Div", x, g.c(1.4140625))), g.c(1.0))
    g.out(g.add("Mul", g.add("Mul", x, y), g.c(0.5)), "y", 2)


def diamond(g):
    x = g.x("x", "n", "m")
    e = g.add("Exp", x)
    y = g.add("Mul", g.add("Add", e, g.c(1.0)), g.add("Tanh", e))
    s = g.add("ReduceSum", y, g.ints(-1), keepdims=1)
    g.out(g.add("Div", y, g.add("Add", g.add("Abs", s), g.c(1.0))), "y", 2)
    g.out(e, "e", 2)
    g.out(s, "s", 2)


def heads(g):
    """Reshapes and transposes between norm and product."""
    x = g.x("x", "n", "m", 24)
    y = g.add("Reshape", g.add("MatMul", x, g.w(24, 24)), g.ints(0, 0, 3, 8))
    y = g.rms(y, 8)
    turned = g.add("Transpose", y, perm=[0, 2, 1, 3])
    scores = g.add("MatMul", turned, g.add("Transpose", y, perm=[0, 2, 3, 1]))
    g.out(g.add("Reshape", g.add("Add", y, g.w(3, 1)), g.ints(0, 0, 24)), "y")
    g.out(g.add("Tanh", scores), "scores", 4)


def broadcasts(g):
    x, row, column = g.x("x", "n", 6, "m"), g.x("row", 1, 1, "m"), g.x("column", "n", 1, 1)
    y = g.add("Add", g.add("Mul", x, row), column)
    y = g.add("Add", g.add("Sub", y, g.w(6, 1)), g.add("Mul", row, column))
    mean = g.add("ReduceMean", x, g.ints(1), keepdims=1)
    y = g.add("Mul", y, g.add("Sigmoid", mean))
    g.out(g.add("Add", y, g.add("Mul", g.w(1), g.add("ReduceSum", column, keepdims=0))), "y")


def both_means(g):
    """Means of rows and of columns of the same values."""
    x = g.x("x", "n", "m")
    e = g.add("Exp", x)
    a = g.add("ReduceSum", e, g.ints(0), keepdims=1)
    b = g.add("ReduceSum", e, g.ints(1), keepdims=1)
    y = g.add("Div", g.add("Div", e, g.add("Add", a, g.c(1.0))), g.add("Add", b, g.c(1.0)))
    g.out(y, "y", 2)


def logsumexp(g):
    x = g.x("x", "n", 4, "m")
    scaled = g.add("Mul", x, g.w(4, 1))
    s = g.add("ReduceSum", g.add("Exp", scaled), g.ints(2), keepdims=0)
    g.out(g.add("Softplus", s), "y", 2)
    g.out(g.add("ReduceMax", g.add("Sub", scaled, g.add("Unsqueeze", s, g.ints(-1))), g.ints(1),
                keepdims=0), "z", 2)


def dead(g):
    """Outputs that nobody reads, and a chain that ends in nothing."""
    x = g.x("x", "n", "m", 9)
    y, _, _ = g.add("LayerNormalization", x, g.w(9), epsilon=0.01, count=3)
    a, _, b = g.add("Split", y, g.ints(2, 5, 2), axis=-1, count=3)
    g.add("MatMul", g.add("Exp", y), g.w(9, 4))
    g.out(g.add("Mul", a, b), "y")


def two_norms(g):
    """A norm of a concatenation of a norm and what it came from."""
    x = g.x("x", "n", "m", 7)
    y = g.add("Concat", g.rms(x, 7), x, axis=-1)
    g.out(g.layer_norm(y, 14), "y")


def transposed_products(g):
    """Both sides turned, the sum turned back, and used with itself."""
    x, w = g.x("x", "n", 6, "m"), g.x("w", "n", "m", 5)
    a = g.add("MatMul", g.add("Transpose", w, perm=[0, 2, 1]),
              g.add("Transpose", x, perm=[0, 2, 1]))
    b = g.add("Tanh", g.add("Transpose", a, perm=[0, 2, 1]))
    g.out(g.add("Add", b, g.add("ReduceMax", b, g.ints(1), keepdims=1)), "y")


def statistics(g):
    """Reductions of the same values, some with work behind them that the others wait for."""
    x = g.x("x", "n", 6, "m")
    for axes in ((2,), (0, 1), (0, 2)):
        sums = g.add("ReduceSum", x, g.ints(*axes), keepdims=1)
        largest = g.add("ReduceMax", g.add("Tanh", x), g.ints(*axes), keepdims=1)
        squares = g.add("ReduceSumSquare", x, g.ints(*axes), keepdims=1)
        magnitudes = g.add("ReduceL1", g.add("Add", x, g.add("Sigmoid", sums)), g.ints(*axes),
                           keepdims=1)
        for name, value in zip("slqm", (sums, largest, squares, magnitudes)):
            g.out(value, f"{name}{len(axes)}{axes[0]}{axes[-1]}")


def rotary(g):
    """Halves that change places, one with the other sign."""
    x, cos, sin = g.x("x", "n", 4, "m", 10), g.x("cos", "m", 10), g.x("sin", "m", 10)
    low = g.add("Slice", x, g.ints(0), g.ints(5), g.ints(-1))
    high = g.add("Slice", x, g.ints(5), g.ints(10), g.ints(-1))
    turned = g.add("Concat", g.add("Neg", high), low, axis=-1)
    g.out(g.add("Add", g.add("Mul", x, cos), g.add("Mul", turned, sin)), "y", 4)


def token_shift(g):
    """Each position mixed with the one before, as a Slice of a Concat."""
    x, first = g.x("x", "n", "m", 6), g.x("first", "n", 1, 6)
    before = g.add("Slice", g.add("Concat", first, x, axis=1), g.ints(0), g.ints(-1), g.ints(1))
    y = g.add("Add", x, g.add("Mul", g.add("Sub", before, x), g.w(6)))
    g.out(g.silu(y), "y")


def slices_of_pieces(g):
    """From inside of the first piece to inside of the last, and from behind the first."""
    a, b, c = g.x("a", "n", "m", 6), g.x("b", "n", 5, 6), g.x("c", "n", "m", 6)
    for name, start, end in (("y", 1, -2), ("z", 2, 2 ** 40), ("u", 0, 3)):
        whole = g.add("Concat", a, b, c, axis=1)
        part = g.add("Slice", whole, g.ints(start), g.ints(end), g.ints(1))
        g.out(g.add("Mul", g.add("Tanh", part), g.w(6)), name)


def pad_and_mix(g):
    x = g.x("x", "n", "m", 6)
    y = g.add("Pad", x, g.ints(0, 2, 0, 0, 1, 0), g.c(0.5))
    g.out(g.add("Add", g.add("Tanh", y), g.w(6)), "y")


def joined_products(g):
    x = g.x("x", "n", "m", 6)
    y = g.add("Concat", g.add("MatMul", x, g.w(6, 5)), g.add("MatMul", x, g.w(6, 19)), axis=-1)
    g.out(g.add("Mul", g.add("Gelu", y), g.w(24)), "y")


def joined_rows(g):
    x, y, u = g.x("x", "n", "m", 7), g.x("y", "n", 2, 7), g.x("u", "n", "m", 7)
    g.out(g.add("Softmax", g.add("Concat", x, g.add("Neg", y), u, axis=1), axis=-1), "z")


def grouped_norm(g):
    """A gated norm of groups of channels: reshapes on both sides of it."""
    x, z = g.x("x", "n", "m", 24), g.x("z", "n", "m", 24)
    groups = g.add("Reshape", g.add("Mul", x, g.silu(z)), g.ints(0, 0, 3, 8))
    y = g.add("Reshape", g.rms(groups, 8), g.ints(0, 0, 24))
    g.out(g.add("Add", g.add("Mul", y, g.w(24)), x), "y")


def middle_norm(g):
    """By hand, over an axis that is not the last one."""
    x = g.x("x", "n", 6, "m")
    off = g.add("Sub", x, g.add("ReduceMean", x, g.ints(1), keepdims=1))
    var = g.add("ReduceMean", g.add("Mul", off, off), g.ints(1), keepdims=1)
    g.out(g.add("Div", off, g.add("Sqrt", g.add("Add", var, g.c(0.01)))), "y")


def few_columns(g):
    """Sums down three columns side by side, of fixed number."""
    x = g.x("x", "n", "m", 3)
    g.out(g.add("Softmax", x, axis=1), "y")
    g.out(g.add("ReduceMax", g.add("Tanh", x), g.ints(1), keepdims=1), "largest")
    off = g.add("Sub", x, g.add("ReduceMean", x, g.ints(1), keepdims=1))
    g.out(g.add("Mul", off, g.w(3)), "off")


def joined_axes(g):
    """Elementwise work on both sides of a Reshape that joins open sizes, and one that splits."""
    x = g.x("x", "n", "m", 4, 6)
    y = g.add("Tanh", g.add("Reshape", g.add("Exp", g.add("Neg", x)), g.ints(-1, 24)))
    g.out(g.add("Mul", y, g.w(24)), "y", 2)
    rows = g.add("Reshape", g.add("Sigmoid", x), g.ints(0, 0, 24))
    g.out(g.add("Softmax", g.add("Reshape", rows, g.ints(0, 0, 8, 3)), axis=-1), "z", 4)


def sums_of_repeats(g):
    """Sums of the same values, repeated as often as others are long."""
    x, z, c = g.x("x", "n", 4), g.x("z", "m", 4), g.x("c", 4)
    for name, op, like in (("y", "ReduceSum", x), ("w", "ReduceMax", z)):
        g.out(g.add(op, g.add("Expand", c, g.add("Shape", like)), g.ints(1), keepdims=0), name, 1)


def sums_beside_pads(g):
    """What surrounds a piece is sums of one number, of several sizes."""
    x = g.x("x", "n", 5, "m")
    y = g.add("Pad", x, g.ints(0, 0, 3, 0, 0, 2), g.c(0.5))
    g.out(g.add("Softmax", y, axis=1), "y")
    for number, op in enumerate(("ReduceSum", "ReduceMax", "ReduceMean")):
        rows = g.add("Pad", x, g.ints(3, 0, 0, 0, 0, 0), g.c(0.5))
        g.out(g.add(op, rows, g.ints(1, 2), keepdims=0), f"s{number}", 1)


def other_sizes(g):
    """Joined axes are split into as many others, of other sizes."""
    x = g.x("x", "n", "m", 8)
    flat = g.add("Tanh", g.add("Reshape", x, g.ints(-1, 8)))
    n, m = (g.add("Slice", g.add("Shape", x), g.ints(i), g.ints(i + 1)) for i in (0, 1))
    for name, sizes in (("y", (m, n)), ("z", (n, m))):
        split = g.add("Reshape", flat, g.add("Concat", *sizes, g.ints(8), axis=0), allowzero=1)
        g.out(g.add("ReduceSum", split, g.ints(0), keepdims=0), name, 2)
        g.out(g.add("Softmax", split, axis=1), f"{name}s")


def twice_through_a_reshape(g):
    """Joined axes, read along other loops by the same kernel."""
    x = g.x("x", "n", 4, "m")
    flat = g.add("Reshape", g.add("Mul", x, x), g.ints(-1, 4))
    g.out(g.add("Mul", flat, g.add("ReduceL2", flat, keepdims=1)), "y", 2)
    g.out(g.add("Sub", g.add("Unsqueeze", flat, g.ints(0)), g.add("Unsqueeze", flat, g.ints(1))),
          "pairs")


GRAPHS = {"sums-of-repeats": sums_of_repeats, "sums-beside-pads": sums_beside_pads,
          "other-sizes": other_sizes, "twice-through-a-reshape": twice_through_a_reshape,
          "grouped-norm": grouped_norm, "middle-norm": middle_norm, "few-columns": few_columns,
          "joined-axes": joined_axes,
          "rotary": rotary, "token-shift": token_shift, "slices-of-pieces": slices_of_pieces,
          "pad-and-mix": pad_and_mix, "joined-products": joined_products,
          "joined-rows": joined_rows, "residual": residual, "gated": gated, **{f"softmax{a}": softmax(a) for a in (0, 1, 2)},
          **{f"attention-{how}": attention(how) for how in ("add", "where", "guarded")},
          "gelu-erf": gelu_erf, "diamond": diamond, "heads": heads, "broadcasts": broadcasts,
          "both-means": both_means, "logsumexp": logsumexp, "dead": dead, "two-norms": two_norms,
          "transposed-products": transposed_products, "statistics": statistics}
SIZES = [dict(b=2, n=3, m=5), dict(b=1, n=1, m=1), dict(b=1, n=17, m=33), dict(b=3, n=1, m=16),
         dict(b=1, n=40, m=9), dict(b=0, n=4, m=2), dict(b=1, n=0, m=3)]
# Operators one after the other, each within the bound of one.
OPERATORS = 3


def make(name, kind, stored):
    g = Graph(11, kind, stored)
    GRAPHS[name](g)
    return g, g.model()


def draw(g, rng, sizes, dtype):
    given = {}
    for info in g.inputs:
        shape = [d.dim_value if d.HasField("dim_value") else sizes[d.dim_param]
                 for d in info.type.tensor_type.shape.dim]
        given[info.name] = rng.uniform(-2, 2, shape).astype(dtype)
    if "mask" in given:
        mask = given["mask"]
        mask[rng.random(mask.shape) < 0.4] = -INF
        mask[:, :, ::3] = -INF
    return given


def evaluate(proto, given):
    wide = {n: a.astype(np.float64) for n, a in given.items()}
    names = [o.name for o in proto.graph.output]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(zip(names, onnx.reference.ReferenceEvaluator(proto).run(None, wide)))


@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("dtype", [f32, f16, bf16], ids=["f32", "f16", "bf16"])
@pytest.mark.parametrize("name", GRAPHS)
def test_graph(name, dtype, level):
    rng = generator(f"fusion {name}")
    graph, proto = make(name, dtype, dtype)
    _, wide = make(name, np.float64, dtype)
    session = runtime.Module(compiler.compile_model(proto, [level])).session()
    for sizes in SIZES if dtype is f32 else SIZES[:3]:
        given = draw(graph, rng, sizes, dtype)
        got = session.run(given)
        for key, want in evaluate(wide, given).items():
            compare.check_close(f"{key} of {sizes}", got[key], want, np.dtype(dtype),
                                OPERATORS * compare.BOUNDS[np.dtype(dtype)])


@pytest.mark.parametrize("name", ["sums-of-repeats", "sums-beside-pads", "other-sizes",
                                  "twice-through-a-reshape", "slices-of-pieces", "joined-axes"])
def test_graph_of_fixed_sizes(name):
    graph, proto = make(name, f32, f32)
    _, wide = make(name, np.float64, f32)
    for sizes in (dict(n=2, m=3), dict(n=5, m=1)):
        module = runtime.Module(compiler.compile_model(with_sizes(proto, sizes)))
        given = draw(graph, generator(f"fixed {name}"), sizes, f32)
        got = module.session().run(given)
        for key, want in evaluate(wide, given).items():
            compare.check_close(f"{key} of {sizes}", got[key], want, np.dtype(f32),
                                OPERATORS * compare.BOUNDS[np.dtype(f32)])


def test_differences_of_equal_products():
    """Nothing is left of them: a product that was rounded is not subtracted from one that was
    not."""
    g = Graph(5, f32, f32)
    x, w, u = (g.x(name, "n", 1) for name in "xwu")
    product = g.add("Mul", x, w)
    g.out(g.add("Sub", product, g.add("Mul", u, w)), "difference", 2)
    g.out(g.add("Sub", product, g.add("ReduceMax", product, g.ints(1), keepdims=1)), "largest", 2)
    mean = g.add("ReduceMean", x, g.ints(1), keepdims=1)
    squares = g.add("ReduceMean", g.add("Mul", x, x), g.ints(1), keepdims=1)
    g.out(g.add("Sqrt", g.add("Sub", squares, g.add("Mul", mean, mean))), "deviation", 2)
    rng = generator("differences")
    x, w = rng.uniform(-2, 2, (2, 300, 1)).astype(f32)
    session = runtime.Module(compiler.compile_model(g.model())).session()
    for name, value in session.run({"x": x, "w": w, "u": x}).items():
        assert not value.any(), name


def test_reductions_of_the_same_values_are_one_kernel():
    g = Graph(3, f32, f32)
    x = g.x("x", "n", "m")
    for op in ("ReduceMax", "ReduceMin", "ReduceSum"):
        g.out(g.add(op, x, g.ints(1), keepdims=0), op, 1)
    assert len(list_kernels(compiler.compile_model(g.model()))) == 1


@pytest.mark.parametrize("name", ["rotary", "token-shift", "pad-and-mix", "joined-products",
                                  "joined-rows"])
def test_pieces_are_not_copied(name):
    """What a Concat or a Pad puts together is read where it lies."""
    kernels = list_kernels(compiler.compile_model(make(name, f32, f32)[1]))
    assert kernels and not [k for k in kernels if "copy" in k or "fill" in k], kernels


@pytest.mark.parametrize("name", ["grouped-norm", "middle-norm"])
def test_norms_are_one_kernel(name):
    assert len(list_kernels(compiler.compile_model(make(name, f32, f32)[1]))) == 1


def test_token_shift_by_negative_pad():
    g = Graph(5, f32, f32)
    x = g.x("x", "n", "m", 6)
    before, scale = g.add("Pad", x, g.ints(0, 1, 0, 0, -1, 0)), g.w(6)
    g.out(g.add("Add", x, g.add("Mul", g.add("Sub", before, x), scale)), "y")
    module = compiler.compile_model(g.model())
    assert all("fill" not in k and "copy" not in k for k in list_kernels(module))
    session, rng = runtime.Module(module).session(), generator("negative pad")
    scale = onnx.numpy_helper.to_array(g.weights[-1]).astype(np.float64)
    for size in [(2, 5, 6), (1, 1, 6), (3, 2, 6), (2, 0, 6), (0, 3, 6)]:
        x = rng.uniform(-2, 2, size).astype(f32)
        before = np.concatenate([np.zeros_like(x[:, :1]), x[:, :-1]], 1)[:, :size[1]]
        want = x + (before.astype(np.float64) - x) * scale
        compare.check_close(f"{size}", session.run({"x": x})["y"], want, np.dtype(f32))


@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("half", [f16, bf16], ids=["f16", "bf16"])
def test_casts_round(half, level):
    """To a half and back, as models simulate it: rounded, and infinite where it is too large; also
    where operators that round nothing stand between, and where it is a state that is rounded."""
    g = Graph(5, f32, f32)
    x, to = g.x("x", "n", "m"), helper.np_dtype_to_tensor_dtype(np.dtype(half))
    y = g.add("Cast", g.add("Mul", x, x), to=to)
    g.out(g.add("Mul", g.add("Cast", y, to=g.element), g.w(1)), "y", 2)
    z = g.add("Relu", g.add("Neg", g.add("Cast", g.add("Mul", x, g.c(0.3)), to=to)))
    g.out(g.add("Mul", g.add("Cast", z, to=g.element), g.c(2)), "z", 2)
    body = Graph(5, f32, f32)
    body.prefix = "body_"
    state, step = body.input("h", ["m"], to), body.input("a", ["m"], g.element)
    total = body.add("Add", body.add("Cast", state, to=g.element), step)
    body.output(body.add("Cast", total, to=to), ["m"], to, name="next")
    g.output(g.add("Scan", g.add("Cast", g.add("ReduceMean", x, g.ints(0), keepdims=0), to=to),
                   g.add("Abs", g.add("Mul", x, g.c(1e-4))), num_scan_inputs=1, body=body.graph()), ["m"], to, name="last")
    session = runtime.Module(compiler.compile_model(g.model(), [level])).session()
    scale = onnx.numpy_helper.to_array(g.weights[0])
    x = generator("casts").uniform(-300, 300, (37, 19)).astype(f32)
    got = session.run({"x": x})
    with np.errstate(over="ignore"):
        assert np.array_equal(got["y"], (x * x).astype(half).astype(f32) * scale)
    assert np.array_equal(got["z"], np.maximum(-(x * f32(0.3)).astype(half).astype(f32), 0) * 2)
    last = x.astype(np.float64).mean(0).astype(half)
    for row in np.abs(x * f32(1e-4)):
        last = (last.astype(f32) + row).astype(half)
    # The mean itself may be rounded otherwise.
    step = np.spacing(np.abs(last.astype(f32)).max().astype(f16)) * (8 if half is bf16 else 1)
    assert np.abs(got["last"].astype(f32) - last.astype(f32)).max() <= step


def list_kernels(module):
    told = subprocess.run([str(build.tool("ssm-run")), str(module), "--describe"], check=True,
                          capture_output=True, text=True).stdout
    return re.findall(r"^ +(kernel_\w+)$", told, re.M)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 17])
def test_block_of_fixed_sizes(batch, length):
    """A step's only position is no loop, and yet all is fused that is with open sizes."""
    given = mamba.block_inputs(generator(f"fixed {batch} {length}"), batch, length)
    fixed = with_sizes(mamba.block(), dict(batch=batch, length=length))
    module = compiler.compile_model(fixed)
    assert list_kernels(module) == list_kernels(compiler.compile_model(mamba.block()))
    got = runtime.Module(module).session().run(given)
    for name, want in reference.run_model(fixed, given).items():
        compare.check_close(name, got[name], want, np.dtype(f32))


@pytest.mark.parametrize("dtype", [f32, f16, bf16], ids=["f32", "f16", "bf16"])
@pytest.mark.parametrize("backward", [False, True])
def test_one_step_with_all_around_it(backward, dtype):
    recurrence = recurrences.selective(16)
    names = dict(backward=list(recurrence.inputs), outs_backward=["y"]) if backward else {}
    model = recurrence.model(dtype=dtype, length=1, **names)
    module = compiler.compile_model(model)
    session, rng = runtime.Module(module).session(), generator(f"one step {backward}")
    for batch, channels in [(2, 17), (1, 16), (3, 1), (0, 4)]:
        given = recurrence.draw(rng, dict(B=batch, D=channels), 1, 1, dtype)
        for name, want in recurrence.run(given, 1).items():
            compare.check_close(name, session.run(given)[name], want, np.dtype(dtype))
