# ===- test_roofline.py - What ssm-run measures of the machine -------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The rates under `ssm-run --profile` beside those that NumPy reaches, and the shares that
come of them. Bounds are wide, for the machine may be busy with other things: they catch a
rate that is none, or of another unit."""

import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from ssmtest import build, compiler
from ssmtest.case import f32

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402

# Elements of a sum of two arrays that no cache holds, and the side of a product.
COUNT, SIDE = 8 << 20, 768


def best(function, repeats=20):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def profile(proto, dims):
    """-> (GFLOP/s and GB/s measured, and those and the share of the one kernel)."""
    told = subprocess.run([str(build.tool("ssm-run")),
                           str(compiler.compile_model(proto, ["--profile"])), "--profile",
                           "--threads", "1", "--repeat", "5",
                           *(word for text in dims for word in ("--dim", text))],
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    limits = re.search(r"^roofline of 1 thread: ([0-9.]+) GFLOP/s in f32, ([0-9.]+) GB/s", told,
                       re.MULTILINE)
    row, = re.findall(r"^kernel_\w+ .* ([0-9.]+) +([0-9.]+) +([0-9.]+) %$", told, re.MULTILINE)
    return [float(value) for value in (*limits.groups(), *row)]


@pytest.fixture(scope="module")
def added():
    g = Builder()
    x, y = (g.input(name, ["n"]) for name in "xy")
    g.output(g.add("Add", x, y), ["n"], name="z")
    return profile(g.model(), [f"n={COUNT}"])


@pytest.fixture(scope="module")
def multiplied():
    g = Builder()
    x, y = (g.input(name, [SIDE, SIDE]) for name in "xy")
    g.output(g.add("MatMul", x, y), [SIDE, SIDE], name="z")
    return profile(g.model(), [])


def test_memory_is_as_fast_as_numpy_finds_it(added):
    x, y, z = np.ones((3, COUNT), f32)
    numpy = 1e-9 * 3 * x.nbytes / best(lambda: np.add(x, y, out=z))
    assert numpy / 20 < added[1] < 20 * numpy


def test_arithmetic_is_as_fast_as_numpy_finds_it(multiplied):
    """NumPy may use more than one core."""
    x, y = np.ones((2, SIDE, SIDE), f32)
    numpy = 1e-9 * 2 * SIDE**3 / best(lambda: x @ y)
    assert numpy / (20 * os.cpu_count()) < multiplied[0] < 20 * numpy


def test_shares(added, multiplied):
    """What has the traffic of memory is bound by it, a product by arithmetic."""
    _, memory, _, rate, share = added
    # The block that is measured for it is not the one whose rate is told.
    assert 0.05 < share / (100 * rate / memory) < 20
    peak, _, rate, _, share = multiplied
    assert abs(share - 100 * rate / peak) < 1 + 0.05 * share
