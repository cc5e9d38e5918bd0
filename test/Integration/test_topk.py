# ===- test_topk.py - The first of rows, however many -----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""TopK with a fixed number of places, in lists or heaps, of rows of any length."""

import sys

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper
from ssmtest import build, compiler, runtime
from ssmtest.case import generator

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402

PLACES = [1, 2, 3, 8, 15, 16, 17, 33, 64, 65]
TYPES = [np.float32, np.float16, np.float64, np.int8, np.uint8, np.int64, np.uint32]


def model(dtype, places, axis, largest):
    g = Builder()
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x = g.input("x", ["rows", "columns"], kind)
    values, indices = g.add("TopK", x, g.ints(places), count=2, axis=axis, largest=largest)
    g.output(values, [None, None], kind, name="values")
    g.output(indices, [None, None], TensorProto.INT64, name="indices")
    return g.model(opset=24)


def draw(rng, dtype, shape):
    """Few values, so that many are equal; infinities and NaN."""
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        some = rng.integers(0, 9, shape).astype(dtype)
        ends = rng.choice(np.array([info.min, info.max], dtype), shape)
        return np.where(rng.random(shape) < 0.1, ends, some)
    x = np.where(rng.random(shape) < 0.5, rng.integers(-4, 4, shape), rng.standard_normal(shape))
    special = rng.choice([np.inf, -np.inf, np.nan, -0.0, 0.0], shape)
    return np.where(rng.random(shape) < 0.1, special, x).astype(dtype)


def wanted(x, places, axis, largest):
    """Indices: equal elements by index, NaN the greatest."""
    ranks = np.unique(x.astype(np.float64) if x.dtype.kind not in "iu" else x,
                      return_inverse=True)[1].reshape(x.shape)
    order = np.argsort(-ranks if largest else ranks, axis, kind="stable")
    return np.take(order, range(places), axis)


@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("dtype", [*TYPES, ml_dtypes.bfloat16], ids=lambda t: np.dtype(t).name)
def test_rows(dtype, places, level):
    rng = generator(f"topk {np.dtype(dtype)} {places} {level}")
    for axis, largest in ((1, 1), (1, 0), (0, 1)):
        session = runtime.Module(
            compiler.compile_model(model(dtype, places, axis, largest), [level])).session()
        for length in (places, places + 1, places + 15, places + 16, places + 49, 300):
            for rows in (0, 1, 3):
                x = draw(rng, dtype, (rows, length) if axis == 1 else (length, rows))
                got = session.run({"x": x})
                want = wanted(x, places, axis, largest)
                np.testing.assert_array_equal(got["indices"], want, f"{axis} {largest} {x.shape}")
                np.testing.assert_array_equal(
                    got["values"].astype(np.float64),
                    np.take_along_axis(x, want, axis).astype(np.float64))


@pytest.mark.parametrize("cpu", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("places", [5, 40])
def test_targets(cpu, places):
    rng = generator(f"topk {cpu} {places}")
    path = compiler.compile_model(model(np.float32, places, 1, 1), [f"--cpu={cpu}"])
    try:
        session = runtime.Module(path).session()
    except runtime.RuntimeFailure as error:
        pytest.skip(str(error))
    x = draw(rng, np.float32, (3, 200))
    np.testing.assert_array_equal(session.run({"x": x})["indices"], wanted(x, places, 1, 1))
