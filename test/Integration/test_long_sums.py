# ===- test_long_sums.py - Few long sums on many threads ---------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Sums of everything, of few long rows, of few long columns, and what is computed with them
again: in pieces, whose number depends on sizes alone, so that results do not depend on threads."""

import sys

import numpy as np
import pytest
from onnx import helper
from ssmtest import build, compare, compiler, runtime
from ssmtest.case import bf16, f16, f32, generator

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402

# (rows, columns): long and short ones, few and more, on both sides of where pieces begin.
SIZES = [(1, 400_003), (3, 150_001), (15, 50_003), (17, 30_011), (1, 1), (1, 17), (2, 64), (5, 131),
         (300, 257), (400_003, 1), (150_001, 3), (30_011, 17), (20_000, 48), (3001, 4), (1, 20_000)]


def reduce(op, axes, wide, **attributes):
    def make(g, x):
        return g.add(op, x, *([g.ints(*axes)] if axes else []), **attributes)
    return make, wide


def softmax(axis):
    def wide(x):
        e = np.exp(x - x.max(axis, keepdims=True))
        return e / e.sum(axis, keepdims=True)
    return (lambda g, x: g.add("Softmax", x, axis=axis)), wide


def norm(axis):
    def make(g, x):
        mean = g.add("ReduceMean", x, g.ints(axis), keepdims=1)
        off = g.add("Sub", x, mean)
        var = g.add("ReduceMean", g.add("Mul", off, off), g.ints(axis), keepdims=1)
        scale = g.add("Sqrt", g.add("Add", var, g.weight(np.array(0.5, g.dtype))))
        return g.add("Div", off, scale)

    def wide(x):
        off = x - x.mean(axis, keepdims=True)
        return off / np.sqrt((off * off).mean(axis, keepdims=True) + 0.5)
    return make, wide


GRAPHS = {
    "sum": reduce("ReduceSum", (), np.sum, keepdims=0),
    "max of rows": reduce("ReduceMax", (1,), lambda x: x.max(1), keepdims=0),
    "mean of rows": reduce("ReduceMean", (1,), lambda x: x.mean(1), keepdims=0),
    "sum of columns": reduce("ReduceSum", (0,), lambda x: x.sum(0), keepdims=0),
    "min of columns": reduce("ReduceMin", (0,), lambda x: x.min(0), keepdims=0),
    "softmax of rows": softmax(1), "softmax of columns": softmax(0),
    "norm of rows": norm(1), "norm of columns": norm(0)}


class Pieces:
    """Runs pieces in disorder and keeps the largest number that a loop had."""

    def __init__(self):
        self.most = 0

    def __call__(self, n, grain, run):
        self.most = max(self.most, -(-n // grain))
        for low in reversed(range(0, n, grain)):
            if status := run(low, min(low + grain, n)):
                return status
        return 0


def compile_graph(name, dtype):
    make, wide = GRAPHS[name]
    g = Builder()
    g.dtype = dtype
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    rank = np.ndim(wide(np.ones((2, 2))))
    g.output(make(g, g.input("x", ["n", "m"], element)), [None] * rank, element, name="y")
    return runtime.Module(compiler.compile_model(g.model()))


@pytest.mark.parametrize("dtype", [f32, f16, bf16], ids=["f32", "f16", "bf16"])
@pytest.mark.parametrize("name", GRAPHS)
def test_values(name, dtype):
    wide = GRAPHS[name][1]
    module = compile_graph(name, dtype)
    rng = generator(f"long sums {name}")
    sizes = [SIZES[i] for i in rng.permutation(len(SIZES))[:6]] if build.IS_EMULATED else SIZES
    for size in sizes:
        x = rng.uniform(-1, 1, size).astype(dtype)
        got = module.session().run({"x": x})["y"]
        want = np.asarray(wide(x.astype(np.float64)))
        if "sum" in name or "mean" in name:  # near 0 by chance: its rounding is that of what was added up
            got64, scale = got.astype(np.float64), np.sqrt(x.size / max(want.size, 1))
            scale = 1 / scale if "mean" in name else scale
            compare.check_close(f"{name} of {size}", (got64 / scale + 4).astype(dtype),
                                want / scale + 4, np.dtype(dtype))
        else:
            compare.check_close(f"{name} of {size}", got, want, np.dtype(dtype))
        if build.DEVICE or build.IS_EMULATED:
            continue
        for threads in (2, 3):
            again = module.session(threads=threads).run({"x": x})["y"]
            assert np.array_equal(again, got), (size, threads)


@pytest.mark.skipif(build.IS_EMULATED or bool(build.DEVICE),
                    reason="loops of a processor, counted through the C interface")
@pytest.mark.parametrize("name", GRAPHS)
def test_pieces(name):
    module = compile_graph(name, f32)
    for size in [(2_000_003, 1), (1_000_000, 2)]:
        x = np.ones(size if "columns" in name else size[::-1], f32)
        pieces = Pieces()
        module.session(parallel_for=pieces).run({"x": x})
        assert pieces.most >= 5, size
