# ===- test_float8.py - Casts and products of 8-bit floats ------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Cast from and to e4m3fn and e5m2, every byte and every place where rounding turns, against
ml_dtypes; products of what was cast."""
import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from ssmtest import build, model, runtime
from ssmtest.case import bf16, f16, f32, f64, generator
from ssmtest.compiler import compile_model

FORMATS = {"e4m3": ml_dtypes.float8_e4m3fn, "e5m2": ml_dtypes.float8_e5m2}
FLOATS = {"f32": f32, "f16": f16, "bf16": bf16, "f64": f64}
OPTIONS = ["-O0", "-O3"]


def cast(source, target, options, **attributes):
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=model.element_type(target), **attributes)]
    made = model.make_model(nodes, [("x", source, ["n"])], [("y", target)], opset=21)
    return runtime.Module(compile_model(made, options.split())).session()


def same(got, want):
    """NaNs may have any bits; signs of zeros count."""
    assert got.dtype == want.dtype
    with np.errstate(invalid="ignore"):
        a, b = got.astype(np.float64), want.astype(np.float64)
    np.testing.assert_array_equal(a, b)
    there = ~np.isnan(b)
    np.testing.assert_array_equal(np.signbit(a)[there], np.signbit(b)[there])


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("kind", FORMATS)
def test_from(kind, target, options):
    x = np.arange(256, dtype=np.uint8).view(FORMATS[kind])
    same(cast(x.dtype, FLOATS[target], options).run({"x": x})["y"], x.astype(FLOATS[target]))


def turning_points(kind, source):
    """All numbers, all that lie half-way, and their neighbours in f32; some at random; the rest."""
    numbers = np.arange(128, dtype=np.uint8).view(FORMATS[kind]).astype(f32)
    numbers = np.unique(numbers[np.isfinite(numbers)])
    above = np.append(numbers, 2 * numbers[-1] - numbers[-2])
    points = np.concatenate([above, (above[1:] + above[:-1]) / 2])
    near = [np.nextafter(points, f32(to)) for to in (-np.inf, np.inf)]
    rng = generator(f"float8 {kind}")
    rest = np.array([np.inf, np.nan, 1e-30, 1e-42, 3e38, 70000, 1e5], f32)
    scaled = rng.standard_normal(1001).astype(f32) * np.exp2(rng.integers(-20, 17, 1001)).astype(f32)
    values = np.concatenate([points, *near, rest, scaled])
    with np.errstate(over="ignore"):
        return np.concatenate([values, -values]).astype(source)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("saturate", [0, 1])
@pytest.mark.parametrize("source", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("kind", FORMATS)
def test_to(kind, source, saturate, options):
    format_ = FORMATS[kind]
    x = turning_points(kind, FLOATS[source])
    got = cast(FLOATS[source], format_, options, saturate=saturate).run({"x": x})["y"]
    wide = x.astype(f32)
    if saturate:
        wide = np.clip(wide, ml_dtypes.finfo(format_).min, ml_dtypes.finfo(format_).max)
    same(got, wide.astype(format_))


def product(kinds, through, turned, weight=None):
    """MatMul of two casts, then a scale and a bias in f32."""
    a, b = (model.element_type(FORMATS[kind]) for kind in kinds)
    to = model.element_type(FLOATS[through])
    nodes = [helper.make_node("Cast", ["a"], ["p"], to=to), helper.make_node("Cast", ["b"], ["q"], to=to)]
    right = "q"
    if turned:
        nodes.append(helper.make_node("Transpose", ["q"], ["t"], perm=[1, 0]))
        right = "t"
    nodes += [helper.make_node("MatMul", ["p", right], ["r"]),
              helper.make_node("Cast", ["r"], ["w"], to=TensorProto.FLOAT),
              helper.make_node("Mul", ["w", "scale"], ["s"]), helper.make_node("Add", ["s", "bias"], ["y"])]
    given = {"a": (a, ["m", "k"]), "b": (b, ["n", "k"] if turned else ["k", "n"]),
             "scale": (TensorProto.FLOAT, []), "bias": (TensorProto.FLOAT, ["n"])}
    initializers = []
    if weight is not None:
        del given["b"]
        initializers.append(model.tensor_proto("b", weight))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(n, t, d) for n, (t, d) in given.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def draw(rng, kind, *shape):
    return rng.standard_normal(shape).astype(f32).astype(FORMATS[kind])


@pytest.mark.parametrize("through", ["f32", "bf16", "f16"])
@pytest.mark.parametrize("kinds", ["e4m3 e4m3", "e4m3 e5m2", "e5m2 e5m2"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("is_weight", [False, True])
def test_product(through, kinds, turned, is_weight):
    kinds = kinds.split()
    rng = generator(f"float8 product {through} {kinds} {turned}")
    sizes = [(5, 48, 33), (1, 48, 33), (70, 48, 33)] if is_weight else [
        (7, 5, 9), (1, 1, 1), (3, 0, 4), (0, 3, 4), (65, 144, 72), (130, 96, 136), (33, 272, 16)]
    b = draw(rng, kinds[1], *((33, 48) if turned else (48, 33)))
    session = runtime.Module(compile_model(product(kinds, through, turned, b if is_weight else None))
                             ).session()
    for m, k, n in sizes:
        a = draw(rng, kinds[0], m, k)
        if not is_weight:
            b = draw(rng, kinds[1], *((n, k) if turned else (k, n)))
        given = {"a": a, "scale": np.array(0.37, f32), "bias": rng.standard_normal(n).astype(f32)}
        if not is_weight:
            given["b"] = b
        got = session.run(given)["y"]
        right = b.astype(f64).T if turned else b.astype(f64)
        want, most = a.astype(f64) @ right, np.abs(a.astype(f64)) @ np.abs(right)
        # The product's own type rounds it, f32 sums lose some, and so does the end.
        rounding = {"f32": 2.0 ** -24, "f16": 2.0 ** -11, "bf16": 2.0 ** -8}[through]
        # Tensor cores keep about 14 bits of what they add up.
        adding = 2.0 ** -11 if build.DEVICE == "cuda" else 2.0 ** -23 * max(k, 1)
        allowed = 0.37 * (np.abs(want) * rounding + most * adding) + 1e-6
        gap = np.abs(got - (want * f64(f32(0.37)) + given["bias"]))
        assert got.shape == (m, n) and (gap <= allowed).all(), (m, k, n, gap.max(initial=0))
