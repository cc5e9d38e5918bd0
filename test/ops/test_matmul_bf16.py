# ===- test_matmul_bf16.py - Products of bf16 matrices ---------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Products of bf16 against float64: where the processor adds up two at a time, and in f32
elsewhere. Sums are of f32 in both: what is lost beyond the rounding of the result is less
than 1e-6 for each element of the depth, relative to the sum of magnitudes."""

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ssmtest import machine, runtime
from ssmtest.case import generator
from ssmtest.compiler import compile_model
from ssmtest.model import NEWEST_OPSET

bf16 = np.dtype(ml_dtypes.bfloat16)
KIND = TensorProto.BFLOAT16
SMALLEST = 2.0 ** -126  # that is normal
OPTIONS = ["-O0", "-O3", "-O3 --cpu=v3", "-O3 --cpu=znver4"]


def is_here(options):
    return "znver4" not in options or {"avx512_bf16", "sse4a"} <= machine.flags()


def build(node, sizes, weights=None):
    """A model of one node with inputs of these sizes."""
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info(name, KIND, dims)
                      for name, dims in sizes.items()],
        [helper.make_tensor_value_info("y", KIND, None)],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", NEWEST_OPSET)],
                             ir_version=10)


def compiled(model, options):
    if not is_here(options):
        pytest.skip("this machine is no znver4")
    return runtime.Module(compile_model(model, options.split()))


def draw(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32).astype(bf16)


def check(got, a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    want, most = a @ b, np.abs(a) @ np.abs(b)
    depth = a.shape[-1]
    assert got.shape == want.shape and got.dtype == bf16
    # Half of the last place, and what sums of f32 lose; denormals may be 0.
    allowed = np.abs(want) * 2.0 ** -8 + most * depth * 2.0 ** -23 + (depth + 1) * SMALLEST * \
        max(1, np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    assert (np.abs(got.astype(np.float64) - want) <= allowed).all()


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("depth,width", [(0, 5), (1, 1), (1, 40), (2, 16), (7, 33), (64, 32), (65, 31),
                                         (2049, 20), (4100, 3)])
def test_weight(options, depth, width):
    """Packed in pairs along the depth, which may be odd."""
    rng = generator(f"bf16 weight {depth} {width}")
    w = draw(rng, depth, width)
    module = compiled(build(helper.make_node("MatMul", ["x", "w"], ["y"]), {"x": [None, depth]},
                            {"w": w}), options)
    for rows in [0, 1, 2, 5, 12, 13, 40, 150]:
        x = draw(rng, rows, depth)
        check(module.session().run({"x": x})["y"], x, w)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("right", [0, 1])
def test_open_sizes(options, left, right):
    """Two inputs, each as it is or transposed: pairs are put together in registers."""
    rng = generator(f"bf16 open {left} {right}")
    node = helper.make_node("Gemm", ["a", "b"], ["y"], transA=left, transB=right)
    module = compiled(build(node, {"a": ["p", "q"], "b": ["r", "s"]}), options)
    for rows, depth, width in [(3, 5, 7), (1, 64, 33), (40, 33, 50), (13, 2051, 17), (5, 0, 3),
                               (0, 3, 4), (30, 64, 64)]:
        a, b = draw(rng, rows, depth), draw(rng, depth, width)
        given = {"a": np.ascontiguousarray(a.T) if left else a,
                 "b": np.ascontiguousarray(b.T) if right else b}
        check(module.session(threads=2).run(given)["y"], a, b)


@pytest.mark.parametrize("options", OPTIONS)
def test_batches(options):
    rng = generator("bf16 batches")
    module = compiled(build(helper.make_node("MatMul", ["a", "b"], ["y"]),
                            {"a": ["n", "p", "q"], "b": ["n", "q", "r"]}), options)
    for batch, rows, depth, width in [(2, 3, 5, 7), (3, 17, 32, 40), (1, 1, 1, 1)]:
        a, b = draw(rng, batch, rows, depth), draw(rng, batch, depth, width)
        check(module.session().run({"a": a, "b": b})["y"], a, b)


@pytest.mark.parametrize("options", OPTIONS)
def test_rare_numbers(options):
    """Infinities and NaNs are where they belong; a denormal counts as it is, or as 0."""
    rng = generator("bf16 rare")
    w = np.abs(draw(rng, 9, 20)) + bf16.type(0.5)
    module = compiled(build(helper.make_node("MatMul", ["x", "w"], ["y"]), {"x": [None, 9]},
                            {"w": w}), options)
    x = draw(rng, 15, 9)
    x[1, 3], x[2, 8], x[3, 0] = np.inf, -np.inf, np.nan
    x[4, 2], x[4, 5] = np.inf, -np.inf
    got = module.session().run({"x": x})["y"].astype(np.float64)
    assert (got[1] == np.inf).all() and (got[2] == -np.inf).all()
    assert np.isnan(got[3]).all() and np.isnan(got[4]).all()
    assert np.isfinite(got[5:]).all()
    x = (draw(rng, 15, 9).astype(np.float64) * SMALLEST / 4).astype(bf16)
    check(module.session().run({"x": x})["y"], x, w)
