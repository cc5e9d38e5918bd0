# ===- test_few_columns.py - Sums down columns of which there are few --------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Reductions down one to seventeen columns, of fixed or open number, beside what there is once a
column and once a row: on CPUs a vector takes several rows of them."""

import platform
import sys

import numpy as np
import pytest
from onnx import helper
from ssmtest import build, compare, compiler, runtime
from ssmtest.case import bf16, f16, f32, generator

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402

COLUMNS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17]
ROWS = [0, 1, 2, 5, 15, 16, 17, 40, 129]


def softmax(g, x, scale, row):
    return [g.add("Softmax", x, axis=1)]


def softmax_in_float64(x, scale, row):
    e = np.exp(x - x.max(1, keepdims=True))
    return [e / e.sum(1, keepdims=True)]


def norm(g, x, scale, row):
    """Both statistics are results too."""
    mean = g.add("ReduceMean", x, g.ints(1), keepdims=1)
    off = g.add("Sub", x, mean)
    var = g.add("ReduceMean", g.add("Mul", off, off), g.ints(1), keepdims=1)
    root = g.add("Sqrt", g.add("Add", var, g.weight(np.array(0.5, g.dtype))))
    return [g.add("Mul", g.add("Div", off, root), scale), mean, var]


def norm_in_float64(x, scale, row):
    mean, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
    return [(x - mean) / np.sqrt(var + 0.5) * scale, mean, var]


def extremes(g, x, scale, row):
    """An out of all loops that a reduction computes, one that is read again, and what has one
    element a column."""
    y = g.add("Exp", g.add("Mul", x, scale))
    largest = g.add("ReduceMax", y, g.ints(1), keepdims=1)
    return [y, g.add("Sub", y, largest), g.add("ReduceMin", x, g.ints(1), keepdims=0)]


def extremes_in_float64(x, scale, row):
    y = np.exp(x * scale)
    return [y, y - y.max(1, keepdims=True), x.min(1)]


def weighted(g, x, scale, row):
    """One weight a row."""
    y = g.add("Mul", x, row)
    return [g.add("ReduceSum", g.add("Mul", y, y), g.ints(1), keepdims=0), y]


def weighted_in_float64(x, scale, row):
    y = x * row
    return [(y * y).sum(1), y]


GRAPHS = {"softmax": (softmax, softmax_in_float64), "norm": (norm, norm_in_float64),
          "extremes": (extremes, extremes_in_float64), "weighted": (weighted, weighted_in_float64)}
# Without rows these have no value.
EMPTY = {"softmax", "weighted"}


def compile_graph(name, dtype, columns, options=()):
    g = Builder()
    g.dtype = dtype
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    outs = GRAPHS[name][0](g, g.input("x", ["b", "n", columns], element),
                           g.input("scale", [columns], element),
                           g.input("row", ["b", "n", 1], element))
    ones = np.ones((1, 1, 1))
    for i, (out, wide) in enumerate(zip(outs, GRAPHS[name][1](ones, ones[0, 0], ones))):
        g.output(out, [None] * wide.ndim, element, name=f"y{i}")
    return runtime.Module(compiler.compile_model(g.model(), options))


def check(module, name, dtype, columns, rows):
    rng = generator(f"few columns {name} {columns} {rows}")
    for batch in (0, 1, 3):
        given = {"x": rng.uniform(-1, 1, (batch, rows, columns)).astype(dtype),
                 "scale": rng.uniform(0.5, 1, columns).astype(dtype),
                 "row": rng.uniform(0.5, 1, (batch, rows, 1)).astype(dtype)}
        if rows == 0 and name not in EMPTY:
            continue
        got = module.session().run(given)
        wide = [given[key].astype(np.float64) for key in ("x", "scale", "row")]
        bound = 3 * compare.BOUNDS[np.dtype(dtype)]
        for i, want in enumerate(GRAPHS[name][1](*wide) if rows else []):
            # Means are near 0 by chance, and differences of what is near.
            compare.check_close(f"y{i} of {given['x'].shape}", got[f"y{i}"].astype(f32) + f32(2),
                                want + 2, np.dtype(f32), bound)


@pytest.mark.parametrize("dtype", [f32, f16, bf16], ids=["f32", "f16", "bf16"])
@pytest.mark.parametrize("name", GRAPHS)
def test_open_number(name, dtype):
    module = compile_graph(name, dtype, "m")
    sizes = [(c, r) for c in [0, *COLUMNS] for r in ROWS]
    if build.IS_EMULATED:
        sizes = [sizes[i] for i in generator(f"open {name}").permutation(len(sizes))[:8]]
    for columns, rows in sizes:
        check(module, name, dtype, columns, rows)


@pytest.mark.parametrize("dtype", [f32, bf16], ids=["f32", "bf16"])
@pytest.mark.parametrize("columns", COLUMNS)
def test_fixed_number(columns, dtype):
    name = list(GRAPHS)[generator(f"fixed {columns} {np.dtype(dtype)}").integers(len(GRAPHS))]
    module = compile_graph(name, dtype, columns)
    for rows in ROWS[:3] if build.IS_EMULATED else ROWS:
        check(module, name, dtype, columns, rows)


@pytest.mark.skipif(platform.machine() != "x86_64" or build.IS_EMULATED or bool(build.DEVICE),
                    reason="vectors of x86-64 of other widths")
@pytest.mark.parametrize("cpu", ["x86-64-v2", "x86-64-v3"])
@pytest.mark.parametrize("name", GRAPHS)
def test_narrow_vectors(name, cpu):
    module = compile_graph(name, f32, "m", [f"--cpu={cpu}"])
    for columns in (1, 2, 3, 4, 5, 7, 8, 9):
        for rows in ROWS:
            check(module, name, f32, columns, rows)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8, np.uint8],
                         ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("columns", ["m", 3, 8])
def test_integers(columns, dtype):
    g = Builder()
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x = g.input("x", ["n", columns], element)
    g.output(g.add("ReduceMax", x, g.ints(0), keepdims=0), [columns], element, name="largest")
    if np.dtype(dtype).itemsize >= 4:
        g.output(g.add("ReduceSum", x, g.ints(0), keepdims=0), [columns], element, name="sum")
    module = runtime.Module(compiler.compile_model(g.model()))
    rng = generator(f"few columns {columns} {np.dtype(dtype)}")
    for rows in (1, 2, 7, 33, 200):
        given = rng.integers(0, 100, (rows, 3 if columns == "m" else columns)).astype(dtype)
        got = module.session().run({"x": given})
        assert np.array_equal(got["largest"], given.max(0))
        if "sum" in got:
            assert np.array_equal(got["sum"], given.sum(0, dtype=dtype))
