# ===- test_barriers.py - No barrier that the data does not need -------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The end of a parallel loop is a barrier. Counts them by a caller's own parallel_for, which the
runtime asks only for loops of more than one piece."""

import sys

import numpy as np
import pytest
from ssmtest import build, compare, compiler, runtime
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
import mamba  # noqa: E402
import recurrences  # noqa: E402

pytestmark = pytest.mark.skipif(build.IS_EMULATED or bool(build.DEVICE),
                                reason="loops of a processor, counted through the C interface")


class Loops:
    """Runs parallel loops piece by piece, the last one first, and counts them."""

    def __init__(self):
        self.count = 0

    def __call__(self, n, grain, run):
        self.count += 1
        for low in reversed(range(0, n, grain)):
            status = run(low, min(low + grain, n))
            if status:
                return status
        return 0


def run(module, given):
    """-> parallel loops; the results are those of the runtime's own."""
    loops = Loops()
    got = module.session(parallel_for=loops).run(given)
    for name, want in module.session().run(given).items():
        compare.check_close(name, got[name], want, np.dtype(f32), 1e-6)
    return loops.count


@pytest.fixture(scope="module")
def block():
    return runtime.Module(compiler.compile_model(
        mamba.block(width=768, inner=1536, state=16, rank=48)))


def inputs(batch, length, width=768, inner=1536, state=16, kernel=4):
    rng = generator(f"barriers {batch} {length}")
    return {"hidden": rng.standard_normal((batch, length, width), f32),
            "past_conv": rng.standard_normal((batch, inner, kernel - 1), f32),
            "past_ssm": rng.standard_normal((batch, inner, state), f32)}


@pytest.mark.parametrize("length", [64, 200])
def test_block(block, length):
    """Six: the projection in, whose columns a convolution's channels are; the convolution, all of
    whose channels the next product sums up; that one, and the steps' own, likewise; the scan; the
    projection out. Norms, gates, activations and the state's other layout have none."""
    assert run(block, inputs(1, length)) == 6


def test_one_step(block):
    """Only the two large products are worth other threads."""
    assert run(block, inputs(1, 1)) == 2


@pytest.mark.parametrize("batch,length", [(1, 1), (2, 3), (1, 16)])
def test_small_block(batch, length):
    """Nothing is worth them."""
    module = runtime.Module(compiler.compile_model(mamba.block()))
    given = mamba.block_inputs(generator(f"small {batch} {length}"), batch, length)
    assert run(module, given) == 0


@pytest.mark.parametrize("kind,sizes", [
    (recurrences.distribution(64), dict(B=6, H=7)), (recurrences.normalised(), dict(B=9, D=300)),
    (recurrences.delta(16, 16, True), dict(B=50)), (recurrences.selective(16), dict(B=3, D=500))])
def test_recurrence(kind, sizes):
    """One for all steps."""
    module = runtime.Module(compiler.compile_model(kind.model()))
    given = kind.draw(generator(f"barriers {sizes}"), sizes, 300, 1)
    assert run(module, given) == 1
