# ===- test_scan_bodies.py - Steps that once went wrong ---------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Bodies of scans that a compiler once crashed on, or lost digits in."""

import sys

import numpy as np
import pytest
from ssmtest import build, compare, compiler, runtime
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
import step_numbers  # noqa: E402
from builder import Builder  # noqa: E402

LEVELS = ["-O0", "-O3"]


def load(model, level):
    return runtime.Module(compiler.compile_model(model, [level])).session()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("channels", [8, "D"], ids=["fixed", "open"])
@pytest.mark.parametrize("keep", [0, 1])
def test_sum_that_keeps_its_axis(keep, channels, level):
    body, g = Builder("step_"), Builder()
    h = body.input("h", [channels, 16])
    x, c = body.input("x", [channels]), body.input("c", [16])
    new = body.add("Add", h, body.add("Unsqueeze", x, body.constant(np.array([1]))))
    y = body.add("ReduceSum", body.add("Mul", new, c), body.constant(np.array([1])), keepdims=keep)
    body.output(new, [channels, 16])
    body.output(y, [channels, 1][:1 + keep])
    names = g.input("h0", [channels, 16]), g.input("xs", ["L", channels]), g.input("cs", ["L", 16])
    last, ys = g.add("Scan", *names, count=2, num_scan_inputs=2, body=body.graph("step"))
    g.output(last, [channels, 16], name="last")
    g.output(ys, ["L", channels, 1][:2 + keep], name="y")
    session, rng = load(g.model(), level), generator("scan bodies")
    for length in (0, 1, 9):
        inputs = {"h0": rng.standard_normal((8, 16), f32), "xs": rng.standard_normal((length, 8), f32),
                  "cs": rng.standard_normal((length, 16), f32)}
        got = session.run(inputs)
        wide = {name: value.astype(np.float64) for name, value in inputs.items()}
        states = wide["h0"] + np.cumsum(wide["xs"], axis=0)[:, :, None]
        y = (states * wide["cs"][:, None, :]).sum(-1, keepdims=bool(keep))
        compare.check_close("y", got["y"], y, np.dtype(f32), 1e-5)
        compare.check_close("last", got["last"], states[-1] if length else wide["h0"],
                            np.dtype(f32), 1e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_slow_decays_over_many_steps(level):
    """Decays just below 1: an error of one sign in each would add up."""
    body, g = Builder("step_"), Builder()
    h, a, u = (body.input(n, [16]) for n in ("h", "a", "u"))
    new = body.add("Add", body.add("Mul", h, body.add("Exp", a)), u)
    body.output(new, [16])
    body.output(body.add("Identity", new), [16])
    names = g.input("h0", [16]), g.input("as", ["L", 16]), g.input("us", ["L", 16])
    last, ys = g.add("Scan", *names, count=2, num_scan_inputs=2, body=body.graph("step"))
    g.output(last, [16], name="last")
    g.output(ys, ["L", 16], name="y")
    rng, length = generator("slow decays"), 16384
    inputs = {"h0": rng.standard_normal(16, f32),
              "as": -rng.uniform(1e-5, 1.6e-2, (length, 16)).astype(f32),
              "us": rng.standard_normal((length, 16), f32)}
    state, wanted = inputs["h0"].astype(np.float64), []
    for decay, drive in zip(np.exp(inputs["as"].astype(np.float64)), inputs["us"]):
        state = decay * state + drive
        wanted.append(state)
    got = load(g.model(), level).run(inputs)
    compare.check_close("y", got["y"], np.array(wanted), np.dtype(f32), 1e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_write_where_the_step_tells(level):
    """An index that the step finds, with the axis that it was found along."""
    body, g = Builder("step_"), Builder()
    h, x = body.input("h", ["B", 24]), body.input("x", ["B", 24])
    at = body.add("ArgMax", x, axis=1, keepdims=1)
    most = body.add("ReduceMax", x, body.constant(np.array([1])))
    new = body.add("ScatterElements", h, at, most, axis=1)
    body.output(new, ["B", 24])
    body.output(body.add("Identity", new), ["B", 24])
    names = g.input("h0", ["B", 24]), g.input("xs", ["L", "B", 24])
    last, ys = g.add("Scan", *names, count=2, num_scan_inputs=1, body=body.graph("step"))
    g.output(last, ["B", 24], name="last")
    g.output(ys, ["L", "B", 24], name="y")
    session, rng = load(g.model(), level), generator("writes of steps")
    for length, batch in ((0, 2), (1, 1), (17, 6), (5, 0)):
        h, xs = rng.standard_normal((batch, 24), f32), rng.standard_normal((length, batch, 24), f32)
        got, wanted = session.run({"h0": h, "xs": xs}), []
        for x in xs:
            h = h.copy()
            h[np.arange(batch), x.argmax(1)] = x.max(1)
            wanted.append(h)
        np.testing.assert_array_equal(got["last"], h)
        np.testing.assert_array_equal(got["y"], np.array(wanted).reshape(length, batch, 24))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("reduction", ["none", "add"])
def test_rows_written_where_inputs_tell(reduction, level):
    session = load(step_numbers.written(reduction), level)
    rng = generator("rows of a table")
    for rows, columns, length in ((5, 7, 9), (1, 1, 3), (3, 600, 4), (4, 8, 1), (4, 8, 0), (9, 0, 2)):
        table = rng.standard_normal((rows, columns), f32)
        xs = rng.standard_normal((length, columns), f32)
        places = rng.integers(-rows, rows, (length, 2))
        got = session.run({"table": table, "xs": xs, "places": places})
        last, ys = step_numbers.wanted_written(table, xs, places, reduction)
        compare.check_close("last", got["last"], last, np.dtype(f32), 1e-5)
        compare.check_close("ys", got["ys"], ys, np.dtype(f32), 1e-5)
    places[-1, 1] = rows
    with pytest.raises(runtime.RuntimeFailure, match=f"component 0 {rows} is out of range for size {rows}"):
        session.run({"table": table, "xs": xs, "places": places})


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", ["gathered", "sliced"])
def test_rows_read_where_steps_count(form, level):
    session = load(getattr(step_numbers, form)(), level)
    rng = generator("rows by count")
    for rows, columns, length, start in ((12, 7, 9, 2), (1, 1, 1, 0), (5, 700, 5, 0), (3, 4, 0, 1)):
        table = rng.standard_normal((rows, columns), f32)
        xs = rng.standard_normal((length, columns), f32)
        got = session.run({"table": table, "xs": xs, "start": np.array([start])})
        last, ys = step_numbers.wanted_counted(table, xs, start)
        compare.check_close("last", got["last"], last, np.dtype(f32), 1e-5)
        compare.check_close("ys", got["ys"], ys, np.dtype(f32), 1e-5)
    told = "index 3 is out of range" if form == "gathered" else "axis 0 has size 0, expected 1"
    with pytest.raises(runtime.RuntimeFailure, match=told):
        session.run({"table": table, "xs": rng.standard_normal((4, 4), f32),
                     "start": np.array([1])})
