# ===- spellings.py - Recurrences whose steps are spelled in other ways ----===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Steps of `recurrences.py` as other exporters write them: products of matrices in place of
sums, packed inputs that the step takes apart, groups that it repeats to heads."""

import dataclasses

import numpy as np
import recurrences as r


def ints(g, *values):
    return g.constant(np.array(values))


def squeeze(g, value, *axes):
    return g.add("Squeeze", value, ints(g, *axes))


def with_batch(recurrence, batch):
    """The same with a batch that the file fixes."""
    def fix(values):
        return {n: tuple(batch if d == "B" else d for d in dims) for n, dims in values.items()}
    return dataclasses.replace(recurrence, carries=fix(recurrence.carries),
                               inputs=fix(recurrence.inputs), outs=fix(recurrence.outs))


def matmul_read(g, new, c):
    return squeeze(g, g.add("MatMul", new, r.unsqueeze(g, c, -1)), -1)


def matmul_read_reshaped(g, new, c):
    return g.add("Reshape", g.add("MatMul", new, r.unsqueeze(g, c, -1)), ints(g, 0, -1))


def matmul_read_first(g, new, c):
    turned = g.add("Transpose", new, perm=[0, 2, 1])
    return squeeze(g, g.add("MatMul", r.unsqueeze(g, c, 1), turned), 1)


def einsum_read(g, new, c):
    return g.add("Einsum", new, c, equation="bdn,bn->bd")


def mul_drive(g, u, b):
    return g.add("Mul", r.unsqueeze(g, u, -1), r.unsqueeze(g, b, 1))


def matmul_drive(g, u, b):
    return g.add("MatMul", r.unsqueeze(g, u, 2), r.unsqueeze(g, b, 1))


def diagonal(state, drive=mul_drive, read=matmul_read):
    def build(g, h, a, dt, u, b, c):
        decay = g.add("Exp", g.add("Mul", r.unsqueeze(g, dt, -1), a))
        new = g.add("Add", g.add("Mul", decay, h), drive(g, g.add("Mul", dt, u), b))
        return [new], [read(g, new, c)]
    return dataclasses.replace(r.diagonal(state), build=build)


def per_head(width, state, outer, read):
    """outer, read: whether the outer product, and y, are products of matrices."""
    def build(g, h, a, dt, x, b, c):
        decay = r.unsqueeze(g, g.add("Exp", g.add("Mul", dt, a)), -2, -1)
        fed = r.unsqueeze(g, g.add("Mul", r.unsqueeze(g, dt, -1), x), -1)
        fed = g.add("MatMul" if outer else "Mul", fed, r.unsqueeze(g, b, 1, 2))
        new = g.add("Add", g.add("Mul", h, decay), fed)
        if read:
            return [new], [squeeze(g, g.add("MatMul", new, r.unsqueeze(g, c, 1, 3)), -1)]
        return [new], [r.reduce_sum(g, g.add("Mul", new, r.unsqueeze(g, c, 1, 2)), -1)]
    return dataclasses.replace(r.per_head(width, state), build=build)


def delta(keys, width, outer):
    def build(g, h, k, v, q, beta, decay):
        h = g.add("Mul", h, r.unsqueeze(g, decay, -2, -1))
        seen = g.add("MatMul", r.unsqueeze(g, k, -2), h)
        change = g.add("Mul", r.unsqueeze(g, beta, -2, -1),
                       g.add("Sub", r.unsqueeze(g, v, -2), seen))
        new = g.add("Add", h, g.add("MatMul" if outer else "Mul", r.unsqueeze(g, k, -1), change))
        return [new], [squeeze(g, g.add("MatMul", r.unsqueeze(g, q, -2), new), -2)]
    return dataclasses.replace(r.delta(keys, width, True), build=build)


def grouped(heads, groups, width, state, repeat):
    """Mamba-2 with B and C for groups of heads, which the step repeats."""
    def build(g, h, a, dt, x, b, c):
        decay = r.unsqueeze(g, g.add("Exp", g.add("Mul", dt, a)), -2, -1)
        fed = g.add("Mul", r.unsqueeze(g, g.add("Mul", r.unsqueeze(g, dt, -1), x), -1),
                    r.unsqueeze(g, repeat(g, b, heads // groups), 2))
        new = g.add("Add", g.add("Mul", h, decay), fed)
        read = g.add("Mul", new, r.unsqueeze(g, repeat(g, c, heads // groups), 2))
        return [new], [r.reduce_sum(g, read, -1)]

    def step(h, a, dt, x, b, c):
        b, c = (np.repeat(v, heads // groups, axis=1) for v in (b, c))
        new = h * np.exp(dt * a)[..., None, None] + \
            (dt[..., None] * x)[..., None] * b[:, :, None]
        return [new], [np.einsum("bhpn,bhn->bhp", new, c)]
    base = r.per_head(width, state)
    return dataclasses.replace(
        base, carries={"h": ("B", heads, width, state)}, build=build, step=step,
        inputs={"dt": ("B", heads), "x": ("B", heads, width), "b": ("B", groups, state),
                "c": ("B", groups, state)},
        outs={"y": ("B", heads, width)}, fixed={"a": (heads,)})


def repeat_expand(g, value, times):
    wide = g.add("Expand", r.unsqueeze(g, value, 2), ints(g, 1, 1, times, 1))
    return g.add("Reshape", wide, ints(g, 0, -1, 5))


def repeat_tile(g, value, times):
    wide = g.add("Tile", r.unsqueeze(g, value, 2), ints(g, 1, 1, times, 1))
    return g.add("Reshape", wide, ints(g, 0, -1, 5))


def repeat_gather(g, value, times):
    return g.add("Gather", value, ints(g, *np.repeat(np.arange(2), times)), axis=1)


def tile_groups(heads, groups, width, state):
    """Head h reads group h modulo their number."""
    def repeat(g, value, times):
        return g.add("Tile", value, ints(g, 1, times, 1))
    base = grouped(heads, groups, width, state, repeat)

    def step(h, a, dt, x, b, c):
        b, c = (np.tile(v, (1, heads // groups, 1)) for v in (b, c))
        new = h * np.exp(dt * a)[..., None, None] + \
            (dt[..., None] * x)[..., None] * b[:, :, None]
        return [new], [np.einsum("bhpn,bhn->bhp", new, c)]
    return dataclasses.replace(base, step=step)


def packed(channels, state, take, outer_softplus=False):
    """One input that the step takes apart; outer_softplus: after a function of all of it."""
    sizes = (channels, channels, state, state)

    def build(g, h, a, v):
        if outer_softplus:
            v = g.add("Softplus", v)
        dt, u, b, c = take(g, v, sizes)
        decay = g.add("Exp", g.add("Mul", r.unsqueeze(g, dt, -1), a))
        new = g.add("Add", g.add("Mul", decay, h), mul_drive(g, g.add("Mul", dt, u), b))
        return [new], [r.reduce_sum(g, g.add("Mul", new, r.unsqueeze(g, c, 1)), -1)]

    def step(h, a, v):
        if outer_softplus:
            v = np.log1p(np.exp(v))
        dt, u, b, c = np.split(v, np.cumsum(sizes[:-1]), axis=1)
        return r.diagonal(state).step(h, a, dt, u, b, c)
    return r.Recurrence({"h": ("B", channels, state)}, {"v": ("B", sum(sizes))},
                        {"y": ("B", channels)}, build, step, {"a": (channels, state)},
                        {"v": (0, 0.5), "a": (-3, -0.1)})


def take_split(g, value, sizes):
    return g.add("Split", value, ints(g, *sizes), axis=1, count=len(sizes))


def take_slices(g, value, sizes):
    ends = np.cumsum(sizes)
    return [g.add("Slice", value, ints(g, end - size), ints(g, end), ints(g, 1))
            for size, end in zip(sizes, ends)]


def interleaved(channels):
    """Even and odd elements of an input are a factor and a term."""
    def build(g, h, v):
        factor, term = (g.add("Slice", v, ints(g, at), ints(g, 2 * channels), ints(g, 1),
                              ints(g, 2)) for at in (0, 1))
        new = g.add("Add", g.add("Mul", h, factor), term)
        return [new], [new]

    def step(h, v):
        new = h * v[:, ::2] + v[:, 1::2]
        return [new], [new]
    return r.Recurrence({"h": ("B", channels)}, {"v": ("B", 2 * channels)},
                        {"y": ("B", channels)}, build, step)


def flat_heads(heads, width, state):
    """x comes and y goes as one axis of heads and their channels."""
    base = r.per_head(width, state)

    def build(g, h, a, dt, x, b, c):
        new, out = base.build(g, h, a, dt, g.add("Reshape", x, ints(g, 0, heads, width)), b, c)
        return new, [g.add("Reshape", out[0], ints(g, 0, heads * width))]

    def step(h, a, dt, x, b, c):
        new, out = base.step(h, a, dt, x.reshape(-1, heads, width), b, c)
        return new, [out[0].reshape(-1, heads * width)]
    return dataclasses.replace(
        base, carries={"h": ("B", heads, width, state)}, build=build, step=step,
        inputs={**base.inputs, "dt": ("B", heads), "x": ("B", heads * width)},
        outs={"y": ("B", heads * width)}, fixed={"a": (heads,)})


def split_output(rows, columns):
    """An out whose axis is split in the step."""
    def build(g, h, x):
        new = g.add("Add", h, x)
        return [new], [g.add("Reshape", new, ints(g, -1, rows, columns))]

    def step(h, x):
        return [h + x], [(h + x).reshape(-1, rows, columns)]
    return r.Recurrence({"h": ("B", rows * columns)}, {"x": ("B", rows * columns)},
                        {"y": ("B", rows, columns)}, build, step)


def window(taps, put_together, keep, read):
    """A causal convolution whose last inputs are a carry of `keep` elements: y reads
    put_together(h, x), of which the last are the next carry."""
    def build(g, h, x, w):
        whole = put_together(g, h, x)
        last = g.add("Slice", whole, ints(g, -keep), ints(g, 2**63 - 1), ints(g, 2))
        return [whole if keep == taps else last], [read(g, whole, w)]

    def step(h, x, w):
        whole = np.concatenate([h, x[..., None]], axis=-1)[..., -taps:]
        return [whole[..., taps - keep:]], [(whole * w).sum(-1)]
    return r.Recurrence({"h": ("B", "D", keep)}, {"x": ("B", "D")}, {"y": ("B", "D")}, build, step,
                        {"w": ("D", taps)})


def append(g, h, x):
    return g.add("Concat", h, r.unsqueeze(g, x, -1), axis=-1)


def drop_and_append(g, h, x):
    return append(g, g.add("Slice", h, ints(g, 1), ints(g, 2**63 - 1), ints(g, 2)), x)


def sum_read(g, whole, w):
    return r.reduce_sum(g, g.add("Mul", whole, w), -1)


def einsum_taps(g, whole, w):
    return g.add("Einsum", whole, w, equation="bdk,dk->bd")


def window_first(taps):
    """The window's axis is in front of the channels; a bias, and SiLU."""
    def build(g, h, x, w, bias):
        whole = g.add("Concat", h, r.unsqueeze(g, x, 1), axis=1)
        y = g.add("Add", r.reduce_sum(g, g.add("Mul", whole, w), 1), bias)
        new = g.add("Slice", whole, ints(g, 1), ints(g, taps), ints(g, 1))
        return [new], [g.add("Mul", y, g.add("Sigmoid", y))]

    def step(h, x, w, bias):
        whole = np.concatenate([h, x[:, None]], axis=1)
        y = (whole * w).sum(1) + bias
        return [whole[:, 1:]], [y / (1 + np.exp(-y))]
    return r.Recurrence({"h": ("B", taps - 1, "D")}, {"x": ("B", "D")}, {"y": ("B", "D")}, build,
                        step, {"w": (taps, "D"), "bias": ("D",)})


def mamba_step(taps, state):
    """A step of a Mamba layer: the recurrence behind the convolution."""
    def build(g, window, h, x, dt, b, c, w, a):
        whole = append(g, window, x)
        u = sum_read(g, whole, w)
        u = g.add("Mul", u, g.add("Sigmoid", u))
        decay = g.add("Exp", g.add("Mul", r.unsqueeze(g, dt, -1), a))
        new = g.add("Add", g.add("Mul", decay, h), mul_drive(g, g.add("Mul", dt, u), b))
        last = g.add("Slice", whole, ints(g, 1), ints(g, taps), ints(g, -1))
        return [last, new], [r.reduce_sum(g, g.add("Mul", new, r.unsqueeze(g, c, 1)), -1)]

    def step(window, h, x, dt, b, c, w, a):
        whole = np.concatenate([window, x[..., None]], axis=-1)
        u = (whole * w).sum(-1)
        news, outs = r.diagonal(state).step(h, a, dt, u / (1 + np.exp(-u)), b, c)
        return [whole[..., 1:], *news], outs
    return r.Recurrence({"window": ("B", "D", taps - 1), "h": ("B", "D", state)},
                        {"x": ("B", "D"), "dt": ("B", "D"), "b": ("B", state), "c": ("B", state)},
                        {"y": ("B", "D")}, build, step, {"w": ("D", taps), "a": ("D", state)},
                        {"dt": (0, 0.5), "a": (-3, -0.1)})


def rotated(half):
    """A state that turns: the rotary embedding's rotate_half of a carry."""
    def build(g, h, x, cos, sin):
        first = g.add("Slice", h, ints(g, 0), ints(g, half), ints(g, 1))
        second = g.add("Slice", h, ints(g, half), ints(g, 2 * half), ints(g, 1))
        turned = g.add("Concat", g.add("Neg", second), first, axis=1)
        new = g.add("Add", g.add("Add", g.add("Mul", h, cos), g.add("Mul", turned, sin)), x)
        return [new], [r.reduce_sum(g, g.add("Mul", new, x), -1)]

    def step(h, x, cos, sin):
        turned = np.concatenate([-h[:, half:], h[:, :half]], axis=1)
        new = h * cos + turned * sin + x
        return [new], [(new * x).sum(-1)]
    return r.Recurrence({"h": ("B", 2 * half)}, {n: ("B", 2 * half) for n in ("x", "cos", "sin")},
                        {"y": ("B",)}, build, step, ranges={"cos": (-0.7, 0.7), "sin": (-0.7, 0.7)})


def joined_outs(width):
    """An out that is put together from the state before, the state, and an input."""
    def build(g, h, x):
        new = g.add("Add", g.add("Mul", h, x), x)
        return [new], [g.add("Concat", h, new, x, axis=1)]

    def step(h, x):
        return [h * x + x], [np.concatenate([h, h * x + x, x], axis=1)]
    return r.Recurrence({"h": ("B", width)}, {"x": ("B", width)}, {"y": ("B", 3 * width)}, build,
                        step)


def joined_inputs(width):
    """What goes into the state is put together from two inputs."""
    def build(g, h, x, z):
        both = g.add("Concat", g.add("Tanh", x), z, axis=1)
        new = g.add("Add", g.add("Mul", h, both), both)
        return [new], [new]

    def step(h, x, z):
        both = np.concatenate([np.tanh(x), z], axis=1)
        return [h * both + both], [h * both + both]
    return r.Recurrence({"h": ("B", 2 * width + 1)}, {"x": ("B", width), "z": ("B", width + 1)},
                        {"y": ("B", 2 * width + 1)}, build, step)


SPELLINGS = {
    "matmul": diagonal(16),
    "matmul-batch1": with_batch(diagonal(16), 1),
    "matmul-batch3": with_batch(diagonal(5), 3),
    "matmul-reshape": diagonal(5, read=matmul_read_reshaped),
    "matmul-first": diagonal(16, read=matmul_read_first),
    "matmul-first-batch3": with_batch(diagonal(16, read=matmul_read_first), 3),
    "outer": diagonal(16, matmul_drive, einsum_read),
    "outer-matmul": diagonal(5, matmul_drive),
    "outer-batch1": with_batch(diagonal(5, matmul_drive), 1),
    "heads-outer": per_head(7, 3, True, False),
    "heads-matmul": per_head(4, 16, False, True),
    "heads-both": per_head(16, 17, True, True),
    "delta-matmul": delta(8, 16, False),
    "delta-outer": delta(7, 33, True),
    "groups-expand": grouped(4, 2, 8, 5, repeat_expand),
    "groups-tile": grouped(6, 2, 3, 5, repeat_tile),
    "groups-gather": grouped(6, 2, 8, 5, repeat_gather),
    "groups-tiled": tile_groups(6, 2, 16, 5),
    "packed-split": packed(17, 5, take_split),
    "packed-slices": packed(16, 8, take_slices),
    "packed-softplus": packed(9, 4, take_split, True),
    "interleaved": interleaved(17),
    "flat-heads": flat_heads(3, 8, 5),
    "split-output": split_output(3, 7),
    "window": window(4, append, 3, sum_read),
    "window-2": window(2, append, 1, sum_read),
    "window-einsum": window(3, append, 2, einsum_taps),
    "window-whole": window(4, drop_and_append, 4, sum_read),
    "window-first": window_first(4),
    "mamba-step": mamba_step(4, 16),
    "rotated": rotated(9),
    "joined-outs": joined_outs(5),
    "joined-inputs": joined_inputs(8),
}
