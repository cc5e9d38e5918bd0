# ===- test_optimize_through.py - Optimised stages, then plain ones ---------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Each stage can be the last that optimises: bisection is built on that. What follows as at
-O0 gives what an optimised stage left its plain meaning."""

import sys

import numpy as np
import pytest
from ssmtest import build, compare, compiler, reference, runtime
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
import mamba  # noqa: E402
import random_graphs  # noqa: E402

STAGES = ["tensor", "raise", "fuse", "tile", "buffer"]
BOUND = 1e-4


def check(stage, proto, inputs):
    module = runtime.Module(compiler.compile_model(proto, [f"--optimize-through={stage}"]))
    got = module.session(threads=2).run(inputs)
    for name, want in reference.run_model(proto, inputs).items():
        compare.check_close(name, got[name], want, np.dtype(f32), BOUND)


@pytest.mark.parametrize("stage", STAGES)
def test_block(stage):
    """Products with packed weights, a recurrence and a convolution."""
    check(stage, mamba.block(), mamba.block_inputs(generator(f"through {stage}"), 2, 19))


@pytest.mark.parametrize("stage", STAGES[2:])
@pytest.mark.parametrize("number", [1, 4])
def test_random_graph(stage, number):
    graph = random_graphs.RandomGraph(number)
    check(stage, graph.model, graph.make_inputs(np.random.default_rng(number), dict(s=5, t=33)))
