# ===- test_gpu_host_code.py - What host code of modules asks of a GPU ------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Compiled modules on the driver of the runtime's tests, which writes down each launch and
computes nothing: which kernels run, in which order, on which grid."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from ssmtest import build, compiler

sys.path.insert(0, str(build.MODELS))
import mamba  # noqa: E402
import step_numbers  # noqa: E402
from builder import Builder  # noqa: E402

DRIVER = build.BUILD / "lib" / "libFakeCuda.so"


@dataclasses.dataclass
class Launch:
    kernel: str
    grid: tuple
    threads: int
    dynamic_shared: int


@pytest.fixture
def launches(tmp_path):
    """-> a function: launches of `model` at sizes, run `repeat` + 1 times."""
    modules = {}

    def run(name, make, repeat=0, **sizes):
        if name not in modules:
            modules[name] = compiler.compile_model(make(), ["--target=cuda:sm_90a"])
        record = tmp_path / f"record{len(list(tmp_path.iterdir()))}"
        done = subprocess.run(
            [str(build.tool("ssm-run")), str(modules[name]), "--device", "cuda",
             *(f"--dim={dim}={size}" for dim, size in sizes.items()),
             *(["--repeat", str(repeat)] if repeat else [])],
            capture_output=True, text=True, check=False,
            env=os.environ | {"SSMRT_CUDA_DRIVER": str(DRIVER),
                              "SSM_FAKE_CUDA_RECORD": str(record)})
        assert done.returncode == 0, done.stderr
        words = [line.split() for line in record.read_text().splitlines()]
        return [Launch(w[0], tuple(map(int, w[1:4])), int(w[4]), int(w[5])) for w in words]
    return run


def elementwise():
    g = Builder()
    x = g.input("x", ["M", "N"])
    g.output(g.add("Tanh", g.add("Mul", x, g.weight(np.float32(3)))), ["M", "N"], name="y")
    return g.model()


@pytest.mark.parametrize("rows,columns", [(1, 1), (3, 5), (64, 64), (1000, 1024), (1, 1 << 20)])
def test_elementwise(launches, rows, columns):
    """A thread for each four elements, in as few blocks as that takes."""
    launch, = launches("elementwise", elementwise, M=rows, N=columns)
    blocks = -(-rows * columns // (4 * launch.threads))
    assert launch.grid == (blocks, 1, 1)
    assert launch.dynamic_shared == 0


def test_nothing_is_launched_for_nothing(launches):
    assert launches("elementwise", elementwise, M=0, N=7) == []


def product(dtype):
    def make():
        g = Builder()
        a = g.input("a", ["M", "K"], dtype)
        b = g.input("b", ["K", "N"], dtype)
        g.output(g.add("MatMul", a, b), ["M", "N"], dtype, name="y")
        return g.model()
    return make


@pytest.mark.parametrize("dtype", [1, 10], ids=["f32", "f16"])
def test_products_by_size(launches, dtype):
    """Large ones take other tiles than small ones, and in f16 rows that do not begin at 16
    bytes another kernel; tiles cover the out."""
    name, make = f"product{dtype}", product(dtype)
    large, = launches(name, make, M=4096, N=4096, K=512)
    small, = launches(name, make, M=100, N=64, K=512)
    odd, = launches(name, make, M=100, N=65, K=511)
    assert large.kernel != small.kernel
    assert (odd.kernel == small.kernel) == (dtype == 1)
    for launch in (large, small, odd):
        assert np.prod(launch.grid) > 0 and launch.threads % 32 == 0
    assert launches(name, make, M=0, N=65, K=8) == []


@pytest.mark.parametrize("dtype", [1, 10], ids=["f32", "f16"])
def test_few_rows_share_the_depth(launches, dtype):
    """Where tiles are few for a GPU, blocks for parts of the depth, and a kernel that adds them up,
    or the blocks of a cluster, that do so themselves; where they are many or the depth is short,
    neither."""
    name, make = f"product{dtype}", product(dtype)
    parts, *sums = launches(name, make, M=40, N=128, K=4096)
    assert parts.grid[0] == 2
    if dtype == 1:
        assert [launch.kernel for launch in sums] == [parts.kernel + "_sums"]
        assert sums[0].grid[0] == 2 and parts.grid[1] > 8 == sums[0].grid[1]
    else:
        assert sums == [] and parts.grid[1] == 8
    for sizes in (dict(N=40000, K=4096), dict(N=128, K=64)):
        launch, = launches(name, make, M=40, **sizes)
        assert launch.kernel == parts.kernel and launch.grid == (-(-sizes["N"] // 64), 1, 1)


def test_layer(launches):
    """Every run launches each kernel of a Mamba block in the order of its operators, whether
    one by one or as a graph; scans have one launch for all steps."""
    once = launches("block", mamba.block, batch=2, length=50)
    names = [launch.kernel for launch in once]
    at = [next(i for i, name in enumerate(names) if part in name)
          for part in ("matmul_32x128", "conv4", "scan8")]
    assert at == sorted(at)
    assert names[-1].startswith("kernel_matmul_64x32")
    assert sum("scan8" in name for name in names) == 1
    often = launches("block", mamba.block, repeat=5, batch=2, length=50)
    assert len(often) % len(once) == 0 and len(often) > 5 * len(once)
    for i, launch in enumerate(often):
        assert launch == once[i % len(once)]


@pytest.mark.parametrize("form", ["written", "gathered", "sliced"])
def test_no_launch_for_each_step(launches, form):
    """Where a step's number tells, checks of it are in the kernel of all steps."""
    make = getattr(step_numbers, form)
    few, many = (launches(form, make, K=8, D=8, L=length) for length in (1, 7))
    assert len(few) <= 3 and [launch.kernel for launch in few] == [launch.kernel for launch in many]


def test_scan_grid(launches):
    """One launch for all steps: one by lanes of its own, few by lanes, whatever their number, many
    by blocks that each take a part of the time."""
    def scan(length, batch=3):
        launch, = [launch for launch in launches("block", mamba.block, batch=batch, length=length)
                   if "scan8" in launch.kernel]
        return launch
    assert scan(2) == scan(3) and scan(2).grid[0] * scan(2).threads >= 3 * 64
    assert scan(1).kernel == scan(2).kernel + "_step"
    assert scan(50).kernel == scan(701).kernel != scan(2).kernel
    assert scan(50).grid[0] <= scan(701).grid[0]


def test_window_grid(launches):
    """The convolution's time is cut into pieces of 64 steps."""
    for length, pieces in ((1, 1), (64, 1), (65, 2), (700, 11)):
        launch = next(launch for launch in launches("block", mamba.block, batch=1, length=length)
                      if "conv4" in launch.kernel)
        assert launch.grid == (1, pieces, 1)
