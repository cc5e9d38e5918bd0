# ===- test_time_last.py - Recurrences on channels-first sequences -----------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Sequences with time as the last axis are turned inside of the recurrence: against NumPy in
double precision, and that no copy of them is made."""

import json
import subprocess
import sys

import numpy as np
import pytest
from ssmtest import build, compare, compiler, runtime
from ssmtest.case import bf16, f16, f32, generator

sys.path.insert(0, str(build.MODELS))
import recurrences as r  # noqa: E402

# Of each: what slow work stands before and behind the steps, where states lie, few channels.
KINDS = {"selective16": r.selective(16), "selective5": r.selective(5),
         "selective64": r.selective(64),
         "total": r.total(), "nonlinear": r.nonlinear(), "crossed": r.crossed()}
SIZES = [(1, 33, 16), (2, 32, 17), (1, 16, 40), (3, 1, 5), (1, 100, 19), (2, 0, 3), (0, 4, 4),
         (1, 17, 1), (1, 64, 0)]
BOUNDS = {f32: 1e-5, f16: 2e-3, bf16: 1.5e-2}


def check(session, kind, rng, batch, length, channels, dtype=f32, **ways):
    given = KINDS[kind].draw(rng, dict(B=batch, D=channels), length, 2, dtype)
    got = session.run(given)
    for name, want in KINDS[kind].run(given, 2, **ways).items():
        compare.check_close(f"{name} of {batch, length, channels}", got[name], want,
                            np.dtype(dtype), BOUNDS[dtype])


@pytest.mark.parametrize("dtype", [f32, f16, bf16], ids=["f32", "f16", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_values(kind, dtype):
    session = runtime.Module(compiler.compile_model(KINDS[kind].model(2, dtype))).session()
    rng = generator(f"time last {kind} {dtype}")
    for sizes in SIZES if dtype is f32 else SIZES[:5]:
        check(session, kind, rng, *sizes, dtype)


@pytest.mark.parametrize("kind", ["selective16", "total"])
@pytest.mark.parametrize("which", ["all", "inputs", "outs"])
def test_against_time(kind, which):
    recurrence = KINDS[kind]
    ways = dict(backward=list(recurrence.inputs) if which != "outs" else [],
                outs_backward=list(recurrence.outs) if which != "inputs" else [])
    session = runtime.Module(compiler.compile_model(recurrence.model(2, **ways))).session()
    rng = generator(f"time last {kind} {which}")
    for sizes in SIZES[:6]:
        check(session, kind, rng, *sizes, **ways)


@pytest.mark.parametrize("dtype", [f32, f16, bf16], ids=["f32", "f16", "bf16"])
@pytest.mark.parametrize("keys,values,gated", [(64, 64, True), (16, 32, False), (7, 33, True)])
def test_sums_ahead(keys, values, gated, dtype):
    """Each step of a delta rule sums up for the next one, whose inputs are turned too."""
    recurrence = r.delta(keys, values, gated)
    session = runtime.Module(compiler.compile_model(recurrence.model(2, dtype))).session()
    rng = generator(f"time last delta {keys} {values} {dtype}")
    for length in (0, 1, 15, 16, 33, 100):
        given = recurrence.draw(rng, dict(B=2), length, 2, dtype)
        got = session.run(given)
        for name, want in recurrence.run(given, 2).items():
            compare.check_close(f"{name} of {length}", got[name], want, np.dtype(dtype),
                                BOUNDS[dtype])


@pytest.mark.parametrize("cpu", ["v2", "v3", "v4"])
def test_targets(cpu):
    model = KINDS["selective16"].model(2)
    try:
        module = runtime.Module(compiler.compile_model(model, [f"--cpu={cpu}"]))
    except runtime.RuntimeFailure as failure:
        pytest.skip(str(failure))
    for threads in (1, 3):
        session = module.session(threads=threads)
        for sizes in SIZES[:5]:
            check(session, "selective16", generator(f"time last {cpu}"), *sizes)


def test_no_copy_of_a_sequence():
    module = compiler.compile_model(KINDS["selective16"].model(2))
    length, channels = 1000, 320
    text = subprocess.run([str(build.tool("ssm-run")), str(module), "--describe", "--json",
                           *(f"--dim={d}" for d in ("batch=1", f"length={length}",
                                                    f"channels={channels}"))],
                          check=True, capture_output=True, text=True).stdout
    row, = json.loads(text)["entries"][0]["memory"]
    # The states and the factor that is no weight, with their axes turned.
    assert row["arena_bytes"] <= 4 * channels * 16 * 4
