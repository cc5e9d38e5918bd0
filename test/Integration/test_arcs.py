# ===- test_arcs.py - Arc functions over all floats ---------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""atan, asin and acos of vectors: the error that ssm-expand-arcs states."""

import sys

import numpy as np
import pytest
from ssmtest import build, compiler, runtime
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402

STEP = 1021
ULPS = 3.0


@pytest.mark.parametrize("cpu", ["native", "x86-64-v2"])
@pytest.mark.parametrize("op,reference", [("Atan", np.arctan), ("Asin", np.arcsin),
                                          ("Acos", np.arccos)])
def test_error(op, reference, cpu):
    g = Builder()
    g.output(g.add(op, g.input("x", ["n"])), ["n"], name="y")
    session = runtime.Module(compiler.compile_model(g.model(), [f"--cpu={cpu}"])).session()
    rng = generator(f"{op} {cpu}")
    every = np.arange(rng.integers(STEP), 2**32, STEP).astype(np.uint32).view(f32)
    some = np.concatenate([rng.uniform(-1, 1, 10**6), [0.0, -0.0, 1, -1, 0.5, -0.5, np.inf, -np.inf]])
    for x in (every, some.astype(f32)):
        with np.errstate(all="ignore"):
            want = reference(x.astype(np.float64))
        got = session.run({"x": x})["y"]
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        known = ~np.isnan(want)
        unit = np.spacing(np.abs(want[known]).astype(f32)).astype(np.float64)
        off = np.abs(got[known].astype(np.float64) - want[known]) / unit
        print(f"{op}: {off.max(initial=0):.2f} ulp at {x[known][off.argmax()]}")
        assert off.max(initial=0) <= ULPS
        np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(want[known].astype(f32)))
