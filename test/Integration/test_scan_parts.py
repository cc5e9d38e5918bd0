# ===- test_scan_parts.py - Steps that cut tensors and put them together ----===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Steps made of slices and Concat, some drawn at random, against NumPy in float64: whatever the
parts, the compiler takes them as they are or leaves the step whole."""

import sys

import numpy as np
import pytest
from ssmtest import build, compare, compiler, runtime
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402

RANDOM = 24


class Step:
    """A step on tensors [B, width], as a graph and in NumPy."""

    def __init__(self):
        self.body, self.width, self.run = Builder("step_"), {}, []

    def input(self, name, width):
        self.width[name] = width
        return self.body.input(name, ["B", width])

    def add(self, op, *names, width, numpy, **attributes):
        out = self.body.add(op, *names, **attributes)
        self.width[out] = width
        self.run.append((out, numpy))
        return out

    def slice(self, name, low, high):
        ints = self.body.ints
        return self.add("Slice", name, ints(low), ints(high), ints(1), width=high - low,
                        numpy=lambda v: v[name][:, low:high])

    def concat(self, *names):
        return self.add("Concat", *names, axis=1, width=sum(self.width[n] for n in names),
                        numpy=lambda v: np.concatenate([v[n] for n in names], axis=1))

    def binary(self, op, a, b):
        how = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[op]
        return self.add(op, a, b, width=self.width[a], numpy=lambda v: how(v[a], v[b]))

    def tanh(self, name):
        return self.add("Tanh", name, width=self.width[name], numpy=lambda v: np.tanh(v[name]))

    def total(self, name):
        return self.add("ReduceSum", name, self.body.ints(1), keepdims=1, width=1,
                        numpy=lambda v: v[name].sum(1, keepdims=True))

    def scaled(self, name, factor):
        by = self.body.weight(np.array(factor, f32))
        return self.add("Mul", name, by, width=self.width[name],
                        numpy=lambda v: v[name] * np.float64(f32(factor)))


def check(step, states, inputs, news, outs, level, rng):
    """The scan over the step; states and inputs by name, what they become, what comes out."""
    for name in [*news, *outs]:
        step.body.output(step.body.add("Identity", name), ["B", step.width[name]])
    g = Builder()
    names = [g.input(f"{s}_0", ["B", step.width[s]]) for s in states]
    names += [g.input(f"{x}_t", ["L", "B", step.width[x]]) for x in inputs]
    results = g.add("Scan", *names, count=len(news) + len(outs), num_scan_inputs=len(inputs),
                    body=step.body.graph("step"))
    results = [results] if isinstance(results, str) else results
    for i, name in enumerate([*news, *outs]):
        dims = ["B", step.width[name]]
        g.output(results[i], dims if i < len(news) else ["L", *dims], name=f"out{i}")
    session = runtime.Module(compiler.compile_model(g.model(), [level])).session()
    for length, batch in ((1, 3), (6, 2), (0, 1), (5, 0)):
        given = {f"{s}_0": rng.standard_normal((batch, step.width[s]), f32) for s in states}
        given |= {f"{x}_t": rng.standard_normal((length, batch, step.width[x]), f32)
                  for x in inputs}
        now = [given[f"{s}_0"].astype(np.float64) for s in states]
        taken = [[] for _ in outs]
        for t in range(length):
            values = dict(zip(states, now))
            values |= {x: given[f"{x}_t"][t].astype(np.float64) for x in inputs}
            for name, how in step.run:
                values[name] = how(values)
            now = [values[n] for n in news]
            for rows, n in zip(taken, outs):
                rows.append(values[n])
        wanted = now + [np.array(rows) if rows else np.zeros((0, batch, step.width[n]))
                        for rows, n in zip(taken, outs)]
        got = session.run(given)
        for i, value in enumerate(wanted):
            assert got[f"out{i}"].shape == value.shape
            compare.check_close(f"out{i}", got[f"out{i}"], value, np.dtype(f32), 1e-4)


def newest_first(width):
    """The window of a convolution whose last input comes first."""
    step = Step()
    s, x = step.input("s", width - 1), step.input("x", 1)
    whole = step.concat(x, s)
    return step, ["s"], ["x"], [step.slice(whole, 0, width - 1)], [step.total(whole)]


def turned(width, by):
    """A state whose elements change places."""
    step = Step()
    s, x = step.input("s", width), step.input("x", width)
    new = step.binary("Add", step.concat(step.slice(s, by, width), step.slice(s, 0, by)), x)
    return step, ["s"], ["x"], [step.scaled(new, 0.7)], [new]


def single_and_others():
    """A state of one element beside an input of several."""
    step = Step()
    s, x = step.input("s", 1), step.input("x", 4)
    whole = step.concat(s, x)
    new = step.tanh(step.binary("Add", step.slice(whole, 3, 4), step.slice(x, 0, 1)))
    return step, ["s"], ["x"], [new], [whole, new]


def the_same_twice():
    step = Step()
    s, x = step.input("s", 4), step.input("x", 2)
    one = step.total(x)
    new = step.scaled(step.concat(step.slice(s, 1, 3), one, one), 0.5)
    return step, ["s"], ["x"], [new], [step.binary("Mul", new, s)]


def one_value_for_two():
    """Two states that become the same."""
    step = Step()
    s, r, x = step.input("s", 7), step.input("r", 7), step.input("x", 7)
    new = step.scaled(s, 0.8)
    return step, ["s", "r"], ["x"], [new, new], [step.binary("Add", s, x)]


def apart():
    """Two recurrences with channels of their own in one step, of which one needs no state."""
    step = Step()
    names = [step.input(f"s{i}", width) for i, width in enumerate((3, 3, 8))]
    x = step.input("x", 8)
    once = step.scaled(step.tanh(step.slice(x, 2, 5)), 1.5)
    twice = step.tanh(once)
    return (step, names, ["x"], [once, twice, step.scaled(step.tanh(names[2]), 0.5)], [twice, x])


STEPS = {"newest-first-3": lambda: newest_first(3), "newest-first-5": lambda: newest_first(5),
         "turned": lambda: turned(5, 2), "turned-pair": lambda: turned(2, 1),
         "single-and-others": single_and_others, "the-same-twice": the_same_twice,
         "one-value-for-two": one_value_for_two, "apart": apart}


@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("name", STEPS)
def test_steps(name, level):
    check(*STEPS[name](), level, generator(f"steps {name} {level}"))


def draw(rng):
    step = Step()
    states = [step.input(f"s{i}", int(rng.choice([1, 2, 3, 4, 8]))) for i in range(rng.integers(1, 4))]
    inputs = [step.input(f"x{i}", int(rng.choice([1, 1, 2, 4, 8]))) for i in range(rng.integers(1, 3))]

    def pick():
        return str(rng.choice(list(step.width)))

    def fit(name, width):
        """A part of it, or it with others."""
        if step.width[name] > width:
            low = int(rng.integers(step.width[name] - width + 1))
            return step.slice(name, low, low + width)
        parts = [name]
        while (left := width - sum(step.width[n] for n in parts)) > 0:
            other = pick()
            parts.append(fit(other, left) if step.width[other] > left else other)
        return name if len(parts) == 1 else step.concat(*rng.permutation(parts))
    for _ in range(rng.integers(1, 6)):
        name, kind = pick(), rng.choice(["concat", "binary", "tanh", "total", "scaled"])
        if kind == "concat":
            fit(name, step.width[name] + int(rng.integers(1, 5)))
        elif kind == "binary":
            step.binary(str(rng.choice(["Add", "Sub", "Mul"])), name, fit(pick(), step.width[name]))
        elif kind == "scaled":
            step.scaled(name, 0.6)
        else:
            getattr(step, str(kind))(name)
    news = [step.tanh(fit(pick(), step.width[s])) if rng.integers(2) else
            step.scaled(step.tanh(fit(pick(), step.width[s])), 0.8) for s in states]
    outs = [pick() for _ in range(rng.integers(1, 3))]
    return step, states, inputs, news, outs


@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("number", range(RANDOM))
def test_random_steps(number, level):
    check(*draw(generator(f"random step {number}")), level, generator(f"random {number} {level}"))
