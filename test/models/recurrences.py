# ===- recurrences.py - Recurrences of many kinds as ONNX Scans ------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Steps of recurrences, each twice: as nodes of a scan's body and in NumPy. Dims
are B (batch), D (channels), H (heads), S (states), which stay open, and numbers."""

import dataclasses
from typing import Callable

import numpy as np
from builder import Builder
from onnx import helper

NAMES = {"B": "batch", "D": "channels", "H": "heads", "S": "states"}


@dataclasses.dataclass
class Recurrence:
    """carries, inputs, fixed, outs: names to dims without time; `fixed` do not
    depend on the step. build(g, **values) -> (new carries, outs) as names of values
    in a Builder `g`; step(**arrays) -> the same in NumPy."""

    carries: dict
    inputs: dict
    outs: dict
    build: Callable
    step: Callable
    fixed: dict = dataclasses.field(default_factory=dict)
    ranges: dict = dataclasses.field(default_factory=dict)

    def draw(self, rng, sizes, length, axes, dtype=np.float32):
        """Inputs of the model: carries, fixed and sequences with time at `axes`."""
        def tensor(name, dims):
            shape = [sizes.get(d, d) for d in dims]
            low, high = self.ranges.get(name, (-1, 1))
            return rng.uniform(low, high, shape).astype(dtype)
        result = {n: tensor(n, d) for n, d in {**self.carries, **self.fixed}.items()}
        for name, dims in self.inputs.items():
            at = min(axes, len(dims))
            result[name] = tensor(name, dims[:at] + (length,) + dims[at:])
        return result

    def run(self, given, axes, backward=(), outs_backward=()):
        """The reference in float64; the names in `backward` are read, and the outs
        in `outs_backward` written, from the last step to the first."""
        wide = {n: a.astype(np.float64) for n, a in given.items()}
        carries = {n: wide[n] for n in self.carries}
        sequences = {}
        for name, dims in self.inputs.items():
            moved = np.moveaxis(wide[name], min(axes, len(dims)), 0)
            sequences[name] = moved[::-1] if name in backward else moved
        length = len(next(iter(sequences.values())))
        steps = {n: [] for n in self.outs}
        for t in range(length):
            news, outs = self.step(**carries, **{n: wide[n] for n in self.fixed},
                                   **{n: s[t] for n, s in sequences.items()})
            carries = dict(zip(carries, news))
            for name, out in zip(steps, outs):
                steps[name].append(out)
        sizes = {}
        for name, dims in {**self.carries, **self.fixed}.items():
            sizes.update(zip(dims, given[name].shape))
        for name, dims in self.inputs.items():
            sizes.update(zip(dims, sequences[name].shape[1:]))
        result = {f"last_{n}": c for n, c in carries.items()}
        for name, dims in self.outs.items():
            shape = (length, *[sizes.get(d, d) for d in dims])
            every = np.stack(steps[name]) if length else np.zeros(shape)
            if name in outs_backward:
                every = every[::-1]
            result[name] = np.moveaxis(every, 0, min(axes, len(dims)))
        return result

    def model(self, axes=1, dtype=np.float32, backward=(), outs_backward=(), flips=None,
              zero=False, length="length"):
        """A model of one Scan. flips: backward by Slices of that start and end around
        it, not by its directions; zero: the carries start at zero, made inside of the
        model; length: a number if the file fixes it."""
        g, body = Builder(), Builder("step_")
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

        def named(dims):
            return [NAMES.get(d, d) for d in dims]

        def timed(dims):
            at = min(axes, len(dims))
            return named(dims[:at]) + [length] + named(dims[at:])
        outer = {n: g.input(n, named(d), kind) for n, d in {**self.carries, **self.fixed}.items()}
        for name, dims in self.inputs.items():
            outer[name] = g.input(name, timed(dims), kind)

        def flip(value, dims):
            at = g.ints(min(axes, len(dims)))
            return g.add("Slice", value, g.ints(flips[0]), g.ints(flips[1]), at, g.ints(-1))
        inner = {n: body.input(f"step_{n}", named(d), kind)
                 for n, d in {**self.carries, **self.inputs}.items()}
        news, outs = self.build(body, **inner, **{n: outer[n] for n in self.fixed})
        for value, dims in zip([*news, *outs], [*self.carries.values(), *self.outs.values()]):
            body.output(body.add("Identity", value), named(dims), kind)
        starts = [outer[n] for n in self.carries]
        if zero:
            starts = [g.add("Expand", g.weight(np.zeros((), dtype)), g.add("Shape", s))
                      for s in starts]
        sequences = [flip(outer[n], d) if flips and n in backward else outer[n]
                     for n, d in self.inputs.items()]
        results = g.add(
            "Scan", *starts, *sequences, count=len(starts) + len(self.outs),
            num_scan_inputs=len(sequences), body=body.graph("step"),
            scan_input_axes=[min(axes, len(d)) for d in self.inputs.values()],
            scan_output_axes=[min(axes, len(d)) for d in self.outs.values()],
            scan_input_directions=[int(n in backward and not flips) for n in self.inputs],
            scan_output_directions=[int(n in outs_backward and not flips) for n in self.outs])
        results = [results] if isinstance(results, str) else results
        for (name, dims), value in zip(self.carries.items(), results):
            g.output(value, named(dims), kind, name=f"last_{name}")
        for (name, dims), value in zip(self.outs.items(), results[len(starts):]):
            if flips and name in outs_backward:
                value = flip(value, dims)
            g.output(value, timed(dims), kind, name=name)
        return g.model()


def unsqueeze(g, value, *axes):
    return g.add("Unsqueeze", value, g.constant(np.array(axes)))


def reduce_sum(g, value, axis):
    return g.add("ReduceSum", value, g.constant(np.array([axis])), keepdims=0)


def diagonal(state):
    """Mamba-1: h [B, D, N]."""
    def build(g, h, a, dt, u, b, c):
        decay = g.add("Exp", g.add("Mul", unsqueeze(g, dt, -1), a))
        drive = g.add("Mul", unsqueeze(g, g.add("Mul", dt, u), -1), unsqueeze(g, b, 1))
        new = g.add("Add", g.add("Mul", decay, h), drive)
        return [new], [reduce_sum(g, g.add("Mul", new, unsqueeze(g, c, 1)), -1)]

    def step(h, a, dt, u, b, c):
        new = np.exp(dt[..., None] * a) * h + (dt * u)[..., None] * b[:, None]
        return [new], [np.einsum("bdn,bn->bd", new, c)]
    return Recurrence({"h": ("B", "D", state)},
                      {"dt": ("B", "D"), "u": ("B", "D"), "b": ("B", state), "c": ("B", state)},
                      {"y": ("B", "D")}, build, step, {"a": ("D", state)},
                      {"dt": (0, 0.5), "a": (-3, -0.1)})


def softplus(g, x):
    return g.add("Softplus", x)


def guarded_softplus(g, x):
    """As torch writes it: x itself where exp(x) could overflow."""
    plain = g.add("Log", g.add("Add", g.add("Exp", x), g.add("CastLike", g.constant(np.float32(1)), x)))
    limit = g.add("CastLike", g.constant(np.float32(20)), x)
    return g.add("Where", g.add("Greater", x, limit), x, plain)


def selective(state, softplus=softplus):
    """Mamba-1's scan with what is around it: softplus of the step, skip and gate."""
    def build(g, h, a, bias, skip, dt, u, z, b, c):
        dt = softplus(g, g.add("Add", dt, bias))
        decay = g.add("Exp", g.add("Mul", unsqueeze(g, dt, -1), a))
        drive = g.add("Mul", unsqueeze(g, g.add("Mul", dt, u), -1), unsqueeze(g, b, 1))
        new = g.add("Add", g.add("Mul", decay, h), drive)
        y = reduce_sum(g, g.add("Mul", new, unsqueeze(g, c, 1)), -1)
        y = g.add("Add", y, g.add("Mul", u, skip))
        return [new], [g.add("Mul", y, g.add("Mul", z, g.add("Sigmoid", z)))]

    def step(h, a, bias, skip, dt, u, z, b, c):
        dt = np.logaddexp(0, dt + bias)
        new = np.exp(dt[..., None] * a) * h + (dt * u)[..., None] * b[:, None]
        y = np.einsum("bdn,bn->bd", new, c) + u * skip
        return [new], [y * z / (1 + np.exp(-z))]
    return Recurrence({"h": ("B", "D", state)},
                      {"dt": ("B", "D"), "u": ("B", "D"), "z": ("B", "D"), "b": ("B", state),
                       "c": ("B", state)},
                      {"y": ("B", "D")}, build, step,
                      {"a": ("D", state), "bias": ("D",), "skip": ("D",)},
                      {"bias": (-4, -1), "a": (-3, -0.1)})


def per_head(width, state):
    """Mamba-2: one decay for a head; h [B, H, P, N]."""
    def build(g, h, a, dt, x, b, c):
        decay = unsqueeze(g, g.add("Exp", g.add("Mul", dt, a)), -2, -1)
        fed = g.add("Mul", unsqueeze(g, g.add("Mul", unsqueeze(g, dt, -1), x), -1),
                    unsqueeze(g, b, 1, 2))
        new = g.add("Add", g.add("Mul", h, decay), fed)
        return [new], [reduce_sum(g, g.add("Mul", new, unsqueeze(g, c, 1, 2)), -1)]

    def step(h, a, dt, x, b, c):
        new = h * np.exp(dt * a)[..., None, None] + \
            (dt[..., None] * x)[..., None] * b[:, None, None]
        return [new], [np.einsum("bhpn,bn->bhp", new, c)]
    return Recurrence({"h": ("B", "H", width, state)},
                      {"dt": ("B", "H"), "x": ("B", "H", width), "b": ("B", state),
                       "c": ("B", state)},
                      {"y": ("B", "H", width)}, build, step, {"a": ("H",)},
                      {"dt": (0, 0.5), "a": (-3, -0.1)})


def delta(keys, width, gated, largest=None):
    """The delta rule: h [B, K, V] forgets along k what it puts there. largest: the
    largest size of an open K that will be drawn."""
    def build(g, h, k, v, q, beta, decay):
        if gated:
            h = g.add("Mul", h, unsqueeze(g, decay, -2, -1))
        seen = reduce_sum(g, g.add("Mul", h, unsqueeze(g, k, -1)), 1)
        change = g.add("Mul", unsqueeze(g, beta, -1), g.add("Sub", v, seen))
        new = g.add("Add", h, g.add("Mul", unsqueeze(g, k, -1), unsqueeze(g, change, 1)))
        return [new], [reduce_sum(g, g.add("Mul", new, unsqueeze(g, q, -1)), 1)]

    def step(h, k, v, q, beta, decay):
        if gated:
            h = h * decay[:, None, None]
        change = beta[:, None] * (v - np.einsum("bkv,bk->bv", h, k))
        new = h + k[:, :, None] * change[:, None]
        return [new], [np.einsum("bkv,bk->bv", new, q)]
    size = 1 / np.sqrt(largest or keys)
    return Recurrence({"h": ("B", keys, width)},
                      {"k": ("B", keys), "v": ("B", width), "q": ("B", keys), "beta": ("B",),
                       "decay": ("B",)},
                      {"y": ("B", width)}, build, step,
                      ranges={"k": (-size, size), "q": (-size, size), "beta": (0, 1),
                              "decay": (0.5, 1)})


def scaled():
    """A state times exp of the input, which may be of any sign."""
    def build(g, h, x):
        new = g.add("Mul", h, g.add("Exp", x))
        return [new], [new]

    def step(h, x):
        new = h * np.exp(x)
        return [new], [new]
    return Recurrence({"h": ("B", "D")}, {"x": ("B", "D")}, {"y": ("B", "D")}, build, step)


def guarded(state):
    """The same with steps that torch's softplus leaves as they are: some beyond 20, some
    whose exp no f16 holds."""
    recurrence = selective(state, guarded_softplus)
    return dataclasses.replace(recurrence, ranges={"dt": (-4, 24), "bias": (-1, 1), "a": (-0.5, -0.01)})


def total():
    def build(g, h, x):
        new = g.add("Add", h, x)
        return [new], [new]
    return Recurrence({"h": ("B", "D")}, {"x": ("B", "D")}, {"y": ("B", "D")}, build,
                      lambda h, x: ([h + x], [h + x]))


def largest():
    """A running maximum."""
    def build(g, h, x):
        new = g.add("Max", h, x)
        return [new], [new]
    return Recurrence({"h": ("B", "D")}, {"x": ("B", "D")}, {"y": ("B", "D")}, build,
                      lambda h, x: ([np.maximum(h, x)], [np.maximum(h, x)]))


def nonlinear():
    """A state that goes through tanh; the outs see it before and after."""
    def build(g, h, x):
        new = g.add("Tanh", g.add("Add", g.add("Mul", h, x), x))
        return [new], [new, g.add("Sub", new, h)]

    def step(h, x):
        new = np.tanh(h * x + x)
        return [new], [new, new - h]
    return Recurrence({"h": ("B", "D")}, {"x": ("B", "D")}, {"y": ("B", "D"), "z": ("B", "D")},
                      build, step)


def states():
    """The whole state is an out at every step."""
    def build(g, h, x, w):
        new = g.add("Add", g.add("Mul", h, w), unsqueeze(g, x, -1))
        return [new], [new]

    def step(h, x, w):
        new = h * w + x[..., None]
        return [new], [new]
    return Recurrence({"h": ("B", "D", 5)}, {"x": ("B", "D")}, {"y": ("B", "D", 5)}, build, step,
                      {"w": ("D", 5)}, {"w": (0, 1)})


def stabilised():
    """Carries of different shapes: a maximum for each batch, sums scaled by it."""
    def build(g, m, n, s, i, f, v):
        new_m = g.add("Max", g.add("Add", f, m), i)
        keep = g.add("Exp", g.add("Sub", g.add("Add", f, m), new_m))
        take = g.add("Exp", g.add("Sub", i, new_m))
        new_n = g.add("Add", g.add("Mul", keep, n), take)
        new_s = g.add("Add", g.add("Mul", unsqueeze(g, keep, -1), s),
                      g.add("Mul", unsqueeze(g, take, -1), v))
        return [new_m, new_n, new_s], [g.add("Div", new_s, unsqueeze(g, new_n, -1))]

    def step(m, n, s, i, f, v):
        new_m = np.maximum(f + m, i)
        keep, take = np.exp(f + m - new_m), np.exp(i - new_m)
        new_n, new_s = keep * n + take, keep[:, None] * s + take[:, None] * v
        return [new_m, new_n, new_s], [new_s / new_n[:, None]]
    return Recurrence({"m": ("B",), "n": ("B",), "s": ("B", "D")},
                      {"i": ("B",), "f": ("B",), "v": ("B", "D")}, {"y": ("B", "D")}, build, step,
                      ranges={"n": (0.5, 1), "f": (-1, 0)})


def chained():
    """The second carry takes the new value of the first."""
    def build(g, p, q, x, w):
        new_p = g.add("Add", g.add("Mul", p, w), x)
        new_q = g.add("Sub", g.add("Mul", q, w), new_p)
        return [new_p, new_q], [g.add("Mul", new_p, new_q)]

    def step(p, q, x, w):
        new_p = p * w + x
        new_q = q * w - new_p
        return [new_p, new_q], [new_p * new_q]
    return Recurrence({"p": ("B", "D"), "q": ("B", "D")}, {"x": ("B", "D")}, {"y": ("B", "D")},
                      build, step, {"w": ("D",)}, {"w": (0, 0.9)})


def crossed():
    """Each carry takes the old value of the other, as in a rotation."""
    def build(g, p, q, c, s):
        new_p = g.add("Sub", g.add("Mul", c, p), g.add("Mul", s, q))
        new_q = g.add("Add", g.add("Mul", s, p), g.add("Mul", c, q))
        return [new_p, new_q], [g.add("Sub", new_p, q)]

    def step(p, q, c, s):
        new_p, new_q = c * p - s * q, s * p + c * q
        return [new_p, new_q], [new_p - q]
    return Recurrence({"p": ("B", "D"), "q": ("B", "D")}, {"c": ("B", "D"), "s": ("B", "D")},
                      {"y": ("B", "D")}, build, step,
                      ranges={"c": (-0.7, 0.7), "s": (-0.7, 0.7)})


def swapped():
    """The carries change places, and nothing else happens to one of them."""
    def build(g, p, q, x):
        return [q, g.add("Add", p, x)], [g.add("Identity", p)]
    return Recurrence({"p": ("B", "D"), "q": ("B", "D")}, {"x": ("B", "D")}, {"y": ("B", "D")},
                      build, lambda p, q, x: ([q, p + x], [p]))


def delayed(shape=("B", "D")):
    """The out is the old state; the new one is the input alone."""
    def build(g, h, x):
        return [g.add("Identity", x)], [g.add("Add", h, x)]
    return Recurrence({"h": shape}, {"x": shape}, {"y": shape}, build,
                      lambda h, x: ([x], [h + x]))


def window(shape=("B", "D")):
    """Carries that are what the input was one, two and three steps ago, as in a convolution,
    and one that takes two of them: nothing older counts."""
    def build(g, p, q, r, s, x, w):
        near = g.add("Add", g.add("Mul", w, p), q)
        y = g.add("Sub", g.add("Add", g.add("Mul", x, w), near), g.add("Mul", r, s))
        return [g.add("Identity", x), g.add("Identity", p), g.add("Mul", q, w), near], [y]

    def step(p, q, r, s, x, w):
        near = w * p + q
        return [x, p, q * w, near], [x * w + near - r * s]
    return Recurrence({n: shape for n in "pqrs"}, {"x": shape}, {"y": shape}, build, step,
                      {"w": shape[-1:]})


def delay_line(taps, shape=("B", "D")):
    """The last inputs as carries, the oldest first: a convolution of so many taps."""
    names = [f"p{n}" for n in range(taps - 1)]

    def build(g, x, w, bias, **past):
        elements = [*past.values(), x]
        y = bias
        for n, element in enumerate(elements):
            tap = g.add("Gather", w, g.constant(np.array(n)), axis=1)
            y = g.add("Add", y, g.add("Mul", element, tap))
        news = [g.add("Identity", element) for element in elements[1:]]
        return news, [g.add("Mul", y, g.add("Sigmoid", y))]

    def step(x, w, bias, **past):
        elements = [*past.values(), x]
        y = bias + sum(element * w[:, n] for n, element in enumerate(elements))
        return elements[1:], [y / (1 + np.exp(-y))]
    return Recurrence({n: shape for n in names}, {"x": shape}, {"y": shape}, build, step,
                      {"w": (shape[-1], taps), "bias": shape[-1:]})


def centred():
    """A step that needs a sum over its whole state."""
    def build(g, h, x):
        mean = g.add("ReduceMean", h, g.constant(np.array([-1])), keepdims=1)
        new = g.add("Add", g.add("Mul", g.add("Sub", h, mean), x), x)
        return [new], [new]

    def step(h, x):
        mean = h.mean(-1, keepdims=True) if h.shape[-1] else h
        new = (h - mean) * x + x
        return [new], [new]
    return Recurrence({"h": ("B", "D")}, {"x": ("B", "D")}, {"y": ("B", "D")}, build, step)


def normalised():
    """A norm of the new state, as an out and as the carry."""
    def build(g, h, x):
        raw = g.add("Add", h, x)
        square = g.add("ReduceMean", g.add("Mul", raw, raw), g.constant(np.array([-1])), keepdims=1)
        new = g.add("Div", raw, g.add("Sqrt", g.add("Add", square, g.constant(np.float32(0.5)))))
        return [new], [g.add("Mul", new, x)]

    def step(h, x):
        raw = h + x
        square = (raw**2).mean(-1, keepdims=True) if raw.size else raw[..., :1]
        new = raw / np.sqrt(square + 0.5)
        return [new], [new * x]
    return Recurrence({"h": ("B", "D")}, {"x": ("B", "D")}, {"y": ("B", "D")}, build, step)


def distribution(width):
    """Logarithms of a distribution h [B, H, P] that each step scales to a sum of 1, and of all the
    factors so far."""
    def build(g, h, n, x):
        raw = g.add("Add", h, x)
        total = g.add("ReduceLogSumExp", raw, g.constant(np.array([-1])), keepdims=1)
        new = g.add("Sub", raw, total)
        factors = g.add("Add", n, g.add("Squeeze", total, g.constant(np.array([-1]))))
        return [new, factors], [g.add("Exp", new), factors]

    def step(h, n, x):
        raw = h + x
        total = np.log(np.exp(raw).sum(-1))
        new = raw - total[..., None]
        return [new, n + total], [np.exp(new), n + total]
    return Recurrence({"h": ("B", "H", width), "n": ("B", "H")}, {"x": ("B", "H", width)},
                      {"y": ("B", "H", width), "factors": ("B", "H")}, build, step)


def frames(rows, columns):
    """Images of largest element 1: a step needs the largest over two axes."""
    def build(g, h, x):
        raw = g.add("Add", g.add("Abs", h), g.add("Exp", x))
        largest = g.add("ReduceMax", raw, g.constant(np.array([-2, -1])), keepdims=1)
        new = g.add("Div", raw, largest)
        return [new], [g.add("Mul", new, x)]

    def step(h, x):
        raw = np.abs(h) + np.exp(x)
        new = raw / raw.max((-2, -1), keepdims=True)
        return [new], [new * x]
    dims = ("B", rows, columns)
    return Recurrence({"h": dims}, {"x": dims}, {"y": dims}, build, step)


def dense():
    """An Elman network: the state times a full matrix."""
    def build(g, h, x, w):
        new = g.add("Tanh", g.add("Add", g.add("MatMul", h, w), x))
        return [new], [new]

    def step(h, x, w):
        new = np.tanh(h @ w + x)
        return [new], [new]
    return Recurrence({"h": ("B", 9)}, {"x": ("B", 9)}, {"y": ("B", 9)}, build, step, {"w": (9, 9)},
                      {"w": (-0.5, 0.5)})


def segmented(spelling, state=16, taps=3, softplus=softplus):
    """Mamba-1's scan of several sequences in a row, with a convolution in front of it if there are
    taps: no state reaches over a boundary, not even what is not a number. Where a flag is set
    `where` selects 0 as the state, `decay` as its factor, `product` multiplies by 1 - flag, `ids`
    selects where the id is not the last step's."""
    past = [f"p{n}" for n in range(taps - 1)]

    def build(g, h, a, dt, u, z, b, c, mark, last=None, bias=None, weights=None, **window):
        one = g.add("CastLike", g.constant(np.float32(1)), mark)
        zero = g.add("Sub", one, one)
        if spelling == "ids":
            mark = g.add("Round", mark)
            starts = g.add("Not", g.add("Equal", mark, last))
        else:
            starts = g.add("Greater", mark, zero)
        flag = g.add("CastLike", starts, one)

        def kept(value, *axes):
            if spelling == "product":
                return g.add("Mul", value, unsqueeze(g, g.add("Sub", one, flag), *axes))
            return g.add("Where", unsqueeze(g, starts, *axes), zero, value)
        x, elements = u, []
        if taps:
            elements = [kept(value, -1) for value in window.values()] + [u]
            x = bias
            for n, element in enumerate(elements):
                tap = g.add("Gather", weights, g.constant(np.array(n)), axis=1)
                x = g.add("Add", x, g.add("Mul", element, tap))
            x = g.add("Mul", x, g.add("Sigmoid", x))
        dt = softplus(g, dt)
        decay = g.add("Exp", g.add("Mul", unsqueeze(g, dt, -1), a))
        if spelling == "decay":
            decay = kept(decay, -1, -2)
        else:
            h = kept(h, -1, -2)
        drive = g.add("Mul", unsqueeze(g, g.add("Mul", dt, x), -1), unsqueeze(g, b, 1))
        new = g.add("Add", g.add("Mul", decay, h), drive)
        y = reduce_sum(g, g.add("Mul", new, unsqueeze(g, c, 1)), -1)
        y = g.add("Mul", y, g.add("Mul", z, g.add("Sigmoid", z)))
        news = [new, *[g.add("Identity", element) for element in elements[1:]]]
        return news + ([g.add("Identity", mark)] if spelling == "ids" else []), [y]

    def step(h, a, dt, u, z, b, c, mark, last=None, bias=None, weights=None, **window):
        mark = np.round(mark) if spelling == "ids" else mark
        starts = mark != last if spelling == "ids" else mark > 0
        x, elements = u, []
        if taps:
            elements = [np.where(starts[:, None], 0, value) for value in window.values()] + [u]
            x = bias + sum(element * weights[:, n] for n, element in enumerate(elements))
            x = x / (1 + np.exp(-x))
        dt = np.logaddexp(0, dt)
        h = np.where(starts[:, None, None], 0, h)
        new = np.exp(dt[..., None] * a) * h + (dt * x)[..., None] * b[:, None]
        y = np.einsum("bdn,bn->bd", new, c)
        return [new, *elements[1:], *([mark] if spelling == "ids" else [])], \
            [y * z / (1 + np.exp(-z))]
    carries = {"h": ("B", "D", state), **{name: ("B", "D") for name in past}}
    if spelling == "ids":
        carries["last"] = ("B",)
    return Recurrence(carries,
                      {"dt": ("B", "D"), "u": ("B", "D"), "z": ("B", "D"), "b": ("B", state),
                       "c": ("B", state), "mark": ("B",)},
                      {"y": ("B", "D")}, build, step,
                      {"a": ("D", state), **({"bias": ("D",), "weights": ("D", taps)} if taps else {})},
                      {"dt": (-4, 0), "a": (-3, -0.1),
                       "mark": (0, 2) if spelling == "ids" else (-9, 1)})
