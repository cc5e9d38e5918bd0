# ===- test_recurrence.py - States, pieces, steps, growth --------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A Mamba block that carries its states: the same outputs whether a sequence is
given at once, in pieces or step by step; and no step that costs more for a longer
sequence."""

import sys
import time

import numpy as np
import pytest
from ssmtest import build, compare, compiler, reference, runtime
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
import mamba  # noqa: E402
import recurrences  # noqa: E402

BOUND = 1e-5
WIDTH, INNER, STATE, KERNEL = 32, 64, 8, 4
LEVELS = ["-O0", "-O3"]


@pytest.fixture(scope="module")
def model():
    return mamba.block()


def load(model, level):
    return runtime.Module(compiler.compile_model(model, [level]))


def first_states(rng, batch):
    return {"past_conv": rng.standard_normal((batch, INNER, KERNEL - 1), f32),
            "past_ssm": rng.standard_normal((batch, INNER, STATE), f32)}


def close(name, got, want):
    compare.check_close(name, got, want, np.dtype(f32), BOUND)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("batch,length", [(1, 1), (2, 7), (3, 33), (1, 130)])
def test_block_against_ort(model, level, batch, length):
    rng = generator(f"block#{batch}x{length}")
    inputs = {"hidden": rng.standard_normal((batch, length, WIDTH), f32),
              **first_states(rng, batch)}
    wanted = reference.run_model(model, inputs)
    results = load(model, level).session().run(inputs)
    for name, want in wanted.items():
        close(name, results[name], want)


@pytest.mark.parametrize("batch,length", [(0, 5), (2, 0), (0, 0)])
def test_block_of_nothing(model, batch, length):
    rng = generator(f"nothing#{batch}x{length}")
    inputs = {"hidden": rng.standard_normal((batch, length, WIDTH), f32),
              **first_states(rng, batch)}
    results = load(model, "-O3").session().run(inputs)
    assert results["output"].shape == (batch, length, WIDTH)
    # Without a step the states stay.
    np.testing.assert_array_equal(results["present_ssm"], inputs["past_ssm"])
    np.testing.assert_array_equal(results["present_conv"], inputs["past_conv"])


@pytest.mark.parametrize("pieces", [[1] * 12, [5, 7], [1, 4, 0, 7], [11, 1]])
def test_pieces_equal_the_whole(model, pieces):
    """States handed on as ordinary outputs and inputs."""
    rng = generator(f"pieces#{pieces}")
    hidden = rng.standard_normal((2, sum(pieces), WIDTH), f32)
    states = first_states(rng, 2)
    session = load(model, "-O3").session()
    whole = session.run({"hidden": hidden, **states})
    outputs, start = [], 0
    for piece in pieces:
        result = session.run({"hidden": hidden[:, start:start + piece], **states})
        outputs.append(result["output"])
        states = {"past_conv": result["present_conv"], "past_ssm": result["present_ssm"]}
        start += piece
    close("output", np.concatenate(outputs, axis=1), whole["output"])
    close("present_ssm", states["past_ssm"], whole["present_ssm"])
    close("present_conv", states["past_conv"], whole["present_conv"])


def test_carried_steps_equal_the_whole(model):
    """States kept by the session, zero at first."""
    rng = generator("carried")
    hidden = rng.standard_normal((3, 9, WIDTH), f32)
    zeros = {name: np.zeros_like(value) for name, value in first_states(rng, 3).items()}
    module = load(model, "-O3")
    assert sorted(state[:3] for state in module.states()) == [
        ("past_conv", "present_conv", "fixed"), ("past_ssm", "present_ssm", "fixed")]
    whole = module.session().run({"hidden": hidden, **zeros})
    session = module.session(carry_states=True)
    steps = [session.run({"hidden": hidden[:, t:t + 1]})["output"] for t in range(9)]
    close("output", np.concatenate(steps, axis=1), whole["output"])


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_threads(model, threads):
    rng = generator("threads")
    inputs = {"hidden": rng.standard_normal((2, 65, WIDTH), f32), **first_states(rng, 2)}
    wanted = reference.run_model(model, inputs)
    session = load(model, "-O3").session(threads=threads)
    first = session.run(inputs)
    close("output", first["output"], wanted["output"])
    np.testing.assert_array_equal(session.run(inputs)["output"], first["output"])


@pytest.mark.parametrize("level", LEVELS)
def test_a_step_costs_the_same_at_any_length(model, level):
    """A copy of the growing output in each step would make it cost in proportion
    to the length: 64 times more. 16 are allowed, for memory that no longer fits
    caches and for a busy machine."""
    rng = generator("growth")
    session = load(model, level).session()
    states = first_states(rng, 1)

    def seconds_a_step(length):
        hidden = rng.standard_normal((1, length, WIDTH), f32)
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            session.run({"hidden": hidden, **states})
            best = min(best, time.perf_counter() - start)
        return best / length
    assert seconds_a_step(64000) < 16 * seconds_a_step(1000)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("length", [1, 2, 19, 64])
def test_bidirectional(level, length):
    """Backward by directions, and by flips around a forward scan."""
    model = mamba.bidirectional()
    rng = generator(f"bidirectional#{length}")
    inputs = {"hidden": rng.standard_normal((2, length, 24), f32)}
    wanted = reference.run_model(model, inputs)
    results = load(model, level).session().run(inputs)
    for name, want in wanted.items():
        close(name, results[name], want)


def run_in_runs(scan, given, runs):
    """The reference of very many steps. What carries become in a run of steps is linear in what
    they were (one factor for each), so all runs are taken side by side."""
    cut = dict(given)
    for name in scan.inputs:
        cut[name] = given[name].reshape(runs, -1, *given[name].shape[2:])
    first = given["h"].astype(np.float64)
    ends = [scan.run({**cut, "h": np.full((runs, *first.shape[1:]), start)}, 1)["last_h"]
            for start in (0.0, 1.0)]
    begins = [first[0]]
    for added, both in zip(*ends):
        begins.append((both - added) * begins[-1] + added)
    wanted = scan.run({**cut, "h": np.stack(begins[:-1])}, 1)
    return {"last_h": begins[-1][None], "y": wanted["y"].reshape(1, -1, *wanted["y"].shape[2:])}


@pytest.mark.skipif(build.IS_EMULATED or build.IS_GPU_EMULATED, reason="too many steps to emulate")
def test_a_million_steps():
    scan = recurrences.selective(8)
    given = scan.draw(generator("million"), {"B": 1, "D": 4}, 1_000_000, 1)
    results = load(scan.model(), "-O3").session().run(given)
    for name, want in run_in_runs(scan, given, 1000).items():
        close(f"{name} of 1,000,000 steps", results[name], want)
