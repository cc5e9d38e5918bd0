# ===- test_random_graphs.py - Random graphs against ONNX Runtime ----------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Small random graphs against ONNX Runtime, those of more operators and types against
float64; of sizes 0, where that may crash, against the module without optimisation. The
graphs are the same in every run: some others lose more than the bound in any order of
computing them."""

import sys

import numpy as np
import onnx
import pytest
from ssmtest import build, compare, compiler, reference, runtime
from ssmtest.case import f32

sys.path[:0] = [str(build.MODELS), str(build.ROOT / "test" / "fuzz")]
import graphs  # noqa: E402
import random_graphs  # noqa: E402

# Whole small models.
BOUND = 1e-4
SIZES = [dict(s=3, t=5), dict(s=1, t=17), dict(s=33, t=2), dict(s=40, t=100), dict(s=7, t=1)]
NONE = dict(s=0, t=4)


def check(got, wanted):
    for name, want in wanted.items():
        # What is left of differences of values near 1 is as exact as those.
        largest = np.abs(want).max(initial=0)
        bound = BOUND * max(1, 1 / largest) if largest > 0 else BOUND
        compare.check_close(name, got[name], want, np.dtype(f32), bound)


# The last two once kept two kernels moving in front of each other for ever.
@pytest.mark.parametrize("number", [*range(40), 5053, 5114])
def test_graph(number, tmp_path):
    graph = random_graphs.RandomGraph(number)
    try:
        module = runtime.Module(compiler.compile_model(graph.model))
        for i, sizes in enumerate(SIZES):
            inputs = graph.make_inputs(np.random.default_rng([number, i]), sizes)
            check(module.session(threads=1 + i % 2).run(inputs),
                  reference.run_model(graph.model, inputs))
        if number % 4 == 0:
            inputs = graph.make_inputs(np.random.default_rng(number), NONE)
            plain = runtime.Module(compiler.compile_model(graph.model, ["-O0"]))
            check(module.session().run(inputs), plain.session().run(inputs))
    except Exception:
        onnx.save(graph.model, str(tmp_path / "model.onnx"))
        print(f"graph {number}: test/models/random_graphs.py {number} OUT.onnx, or "
              f"{tmp_path}/model.onnx")
        raise


# What more of them found: one row of several, transposed and padded.
@pytest.mark.parametrize("number", [100461])
def test_found(number):
    check_all([number], graphs.check_wide)


# 300 more, each at sizes of its own (test/fuzz/graphs.py runs as many as one likes).
@pytest.mark.parametrize("first", range(1000, 1100, 10))
def test_many(first):
    check_all(range(first, first + 10), graphs.check)


@pytest.mark.parametrize("first", range(1000, 1200, 10))
def test_many_wide(first):
    check_all(range(first, first + 10), graphs.check_wide)


def check_all(numbers, judge):
    wrong = {}
    for number in numbers:
        why, only_sensitive = judge(number)
        if why and not only_sensitive:
            wrong[number] = why
    assert not wrong
