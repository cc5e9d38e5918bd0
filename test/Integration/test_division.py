# ===- test_division.py - Quotients and remainders on vectors ----------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Div and Mod where vectors have forms of their own: exact for all numbers."""

import sys

import numpy as np
import pytest
from onnx import helper
from ssmtest import build, compiler, runtime
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402

SIZES = [0, 1, 15, 16, 17, 33, 1000]
CPUS = ["native", "x86-64-v2", "x86-64-v3"]


def load(dtype, op, cpu="native", **attributes):
    g = Builder()
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x, y = g.input("x", ["n"], kind), g.input("y", ["n"], kind)
    g.output(g.add(op, x, y, **attributes), ["n"], kind, name="z")
    return runtime.Module(compiler.compile_model(g.model(), [f"--cpu={cpu}"])).session()


def bits(rng, dtype, n):
    """Any bits, so all exponents; and some of the ends."""
    size = np.dtype(dtype).itemsize
    x = rng.integers(0, 256, n * size, dtype=np.uint8).view(dtype)
    if dtype == f32:
        ends = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38, 1, -1, 2**24]
    else:
        info = np.iinfo(dtype)
        ends = [info.min, info.max, info.min + 1, info.max - 1, 0, 1, 2, 3]
    ends = rng.choice(np.array(ends, dtype), n)
    return np.where(rng.random(n) < 0.2, ends, x)


@pytest.mark.parametrize("cpu", CPUS)
def test_fmod(cpu):
    session, rng = load(f32, "Mod", cpu, fmod=1), generator(f"fmod {cpu}")
    for n in SIZES:
        for spread in (False, True):
            x = bits(rng, f32, n) if spread else rng.standard_normal(n, f32) * 1000
            y = bits(rng, f32, n) if spread else rng.standard_normal(n, f32)
            with np.errstate(all="ignore"):
                want = np.fmod(x, y)
            got = session.run({"x": x, "y": y})["z"]
            np.testing.assert_array_equal(got, want)
            known = ~np.isnan(want)
            np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(want[known]))


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32,
                                   np.int64, np.uint64], ids=lambda t: np.dtype(t).name)
def test_integers(dtype, cpu):
    rng = generator(f"divisions {np.dtype(dtype)} {cpu}")
    for op, attributes in (("Div", {}), ("Mod", {}), ("Mod", {"fmod": 1})):
        session = load(dtype, op, cpu, **attributes)
        for n in SIZES:
            x, y = bits(rng, dtype, n), bits(rng, dtype, n)
            y[rng.random(n) < 0.3] = 3
            y[y == 0] = 1
            # Python's numbers do not overflow; -2^31 / -1 wraps.
            def one(a, b):
                quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
                return quotient if op == "Div" else a - b * quotient if attributes else a % b
            want = np.array([one(int(a), int(b)) for a, b in zip(x, y)], object)
            size = 8 * np.dtype(dtype).itemsize
            want = np.array([int(w) % 2**size for w in want], np.uint64).astype(f"u{size // 8}")
            np.testing.assert_array_equal(session.run({"x": x, "y": y})["z"], want.view(dtype))
            if n:
                y[n // 2] = 0
                with pytest.raises(runtime.RuntimeFailure, match="division by zero"):
                    session.run({"x": x, "y": y})
