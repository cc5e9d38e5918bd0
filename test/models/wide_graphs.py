# ===- wide_graphs.py - Random graphs of more operators and types ----------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Graphs as those of random_graphs.py with convolutions of every form, Einsum, Gemm,
GatherElements, RMSNormalization, slices backward, and scans whose sequences lie along
different axes; in f32, f16 or bf16, each to be compiled in a way of its own.

usage: wide_graphs.py SEED OUT.onnx
"""

import sys
from math import prod
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import random_graphs
from builder import Builder
from random_graphs import LIMIT

sys.path.append(str(Path(__file__).resolve().parents[1] / "harness"))
from ssmtest import exact  # noqa: E402

TYPES = [np.float32, np.float32, np.float16, ml_dtypes.bfloat16]
CPUS = ["native", "native", "x86-64-v2", "x86-64-v3", "x86-64-v4"]
LEVELS = ["-O0", "-O1", "-O2", "-O3", "-O3", "-O3"]
# What a tensor may have, so that a graph takes moments.
MOST = 1 << 18


def is_open(size):
    """Known at run time alone; a tuple tells how it comes about."""
    return isinstance(size, (str, tuple))


def most(shape):
    """The elements of a tensor, if open sizes are as large as they get."""
    return prod(100 if is_open(size) else size for size in shape)


class WideGraph(random_graphs.RandomGraph):
    """`plain`: the graph in f32; `model`: in its own type, `dtype`; `cpu` and `level`: how
    it is to be compiled."""

    opset = 23  # of RMSNormalization

    def __init__(self, seed):
        super().__init__(seed)
        self.dtype = np.dtype(self.choose(TYPES))
        self.cpu, self.level = self.choose(CPUS), self.choose(LEVELS)
        self.plain = self.model
        self.model = exact.retype(self.plain, self.dtype)

    def operators(self):
        own = [getattr(self, name) for name in vars(WideGraph) if name.startswith("op_")]
        return super().operators() + 3 * own

    def options(self):
        return [f"--cpu={self.cpu}", self.level]

    def make_inputs(self, rng, sizes):
        return {name: value.astype(self.dtype)
                for name, value in super().make_inputs(rng, sizes).items()}

    def near_one(self, name, shape):
        return self.add("Tanh", name), shape

    def op_conv_any(self, x, shape):
        """Any stride, dilation, groups and padding, over one axis or two."""
        if len(shape) not in (3, 4) or is_open(shape[1]) or most(shape) > MOST // 4:
            return None
        space = shape[2:]
        group = int(self.choose([d for d in range(1, shape[1] + 1) if shape[1] % d == 0]))
        out = group * int(self.rng.integers(1, 4))
        taps, strides, dilations = (
            [int(self.rng.integers(1, top)) for _ in space] for top in (4, 4, 3))
        spans = [(t - 1) * d + 1 for t, d in zip(taps, dilations)]
        attributes = {"group": group}
        if strides != [1] * len(space) or self.chance(0.5):
            attributes["strides"] = strides
        if dilations != [1] * len(space) or self.chance(0.5):
            attributes["dilations"] = dilations
        if self.chance(0.5):
            attributes["kernel_shape"] = taps
        kind = self.rng.integers(4)
        if kind == 0 and dilations == [1] * len(space):
            attributes["auto_pad"] = self.choose(["SAME_UPPER", "SAME_LOWER"])
            sizes = [("same", d, s) if is_open(d) else -(-d // s) for d, s in zip(space, strides)]
        else:
            # Some result whatever the size.
            before, after = [], []
            for size, span in zip(space, spans):
                need = span - 1 if is_open(size) else max(0, span - size)
                total = max(need, int(self.rng.integers(0, 4)))
                before.append(int(self.rng.integers(total + 1)))
                after.append(total - before[-1])
            if any(before + after) or kind == 1:
                attributes["pads"] = before + after
            elif kind == 2:
                attributes["auto_pad"] = "VALID"
            sizes = [("conv", d, b + a - span, s) if is_open(d) else (d + b + a - span) // s + 1
                     for d, b, a, span, s in zip(space, before, after, spans, strides)]
        bias = [self.weight(out)] if self.chance(0.6) else []
        w = self.weight(out, shape[1] // group, *taps)
        return self.add("Conv", x, w, *bias, **attributes), (shape[0], out, *sizes)

    def op_einsum(self, x, shape):
        if not 1 <= len(shape) <= 3 or most(shape) > MOST:
            return None
        letters = "bij"[-len(shape):]
        size = dict(zip(letters, shape))
        width = self.choose(self.sizes)
        forms = ["move", "sum", "scale"]
        if not is_open(shape[-1]):
            forms += ["weight", "weight", "dots"]
        if len(shape) > 1 and most(shape) * 100 <= MOST * 4:
            forms += ["self", "outer"]
        if len(shape) == 3 and not is_open(shape[0]) and not is_open(shape[2]):
            forms += ["heads"]
        form = self.choose(forms)
        if form == "move":
            order = "".join(self.rng.permutation(list(letters)))
            return self.add("Einsum", x, equation=f"{letters}->{order}"), \
                tuple(size[c] for c in order)
        if form == "sum":
            kept = [c for c in letters if self.chance(0.5)]
            y = self.add("Einsum", x, equation=f"{letters}->{''.join(kept)}")
            return self.near_one(y, tuple(size[c] for c in kept))
        if form == "scale":
            w = self.weight() if is_open(shape[0]) else self.weight(shape[0])
            term = "" if is_open(shape[0]) else letters[0]
            return self.add("Einsum", x, w, equation=f"{letters},{term}->{letters}"), shape
        if form == "weight":
            dots = self.chance(0.3)
            left, out = ("...j", "...k") if dots else (letters, letters[:-1] + "k")
            implicit = not dots and len(shape) == 2 and self.chance(0.5)
            y = self.add("Einsum", x, self.weight(shape[-1], width),
                         equation=f"{left}, jk" + ("" if implicit else f" -> {out}"))
            return y, shape[:-1] + (width,)
        if form == "dots":
            return self.add("Einsum", x, self.weight(shape[-1]),
                            equation=f"{letters},j->{letters[:-1]}"), shape[:-1]
        other = self.add("Sin", self.add("Tanh", x))
        if form == "self":
            right = letters.replace("i", "k")
            y = self.add("Einsum", x, other, equation=f"{letters},{right}->{letters[:-2]}ik")
            return self.near_one(y, shape[:-1] + (shape[-2],))
        if form == "outer":
            y = self.add("Einsum", x, other,
                         equation=f"{letters},{letters.replace('j', 'k')}->{letters[:-2]}ikj")
            return y, shape[:-1] + (shape[-1], shape[-1])
        y = self.add("Einsum", x, self.weight(shape[0], shape[2], width), equation="bij,bjk->ibk")
        return y, (shape[1], shape[0], width)

    def op_gemm(self, x, shape):
        if len(shape) != 2:
            return None
        left, right = int(self.chance(0.5)), int(self.chance(0.5))
        rows, depth = shape[left], shape[1 - left]
        if is_open(depth):
            return None
        width = self.choose(self.sizes)
        attributes = {name: value for name, value in
                      {"transA": left, "transB": right, "alpha": 0.7, "beta": -1.3}.items()
                      if value in (0, 1) and value or self.chance(0.6)}
        w = self.weight(*((width, depth) if right else (depth, width)))
        added = [[], [()], [(width,)], [(1,)], [(1, width)], [(1, 1)]]
        if not is_open(rows):
            added += [[(rows, 1)], [(rows, width)]]
        bias = [self.weight(*dims) for dims in self.choose(added)]
        return self.add("Gemm", x, w, *bias, **attributes), (rows, width)

    def op_gather_elements(self, x, shape):
        if not shape or any(map(is_open, shape)):
            return None
        axis = self.axis_of(shape)
        size = self.choose(self.sizes)
        dims = shape[:axis] + (size,) + shape[axis + 1:]
        if prod(dims) > MOST:
            return None
        at = self.rng.integers(-shape[axis], shape[axis], dims)
        return self.add("GatherElements", x, self.g.weight(at), axis=axis), dims

    def op_rms_norm(self, x, shape):
        axis = self.axis_of(shape)
        if axis is None or any(map(is_open, shape[axis:])):
            return None
        return self.add("RMSNormalization", x, self.weight(*shape[axis:]),
                        axis=self.choose([axis, axis - len(shape)]), epsilon=1e-2), shape

    def op_backward(self, x, shape):
        """One or two axes from their end to the beginning, some left out."""
        if not shape:
            return None
        count = min(len(shape), int(self.rng.integers(1, 3)))
        axes = [int(a) for a in self.rng.permutation(len(shape))[:count]]
        starts, ends, steps, dims = [], [], [], list(shape)
        for axis in axes:
            size, step = shape[axis], -int(self.rng.integers(1, 4))
            steps.append(step)
            if is_open(size):
                starts.append(self.choose([-1, LIMIT]))
                ends.append(-LIMIT)
                if step != -1:
                    dims[axis] = ("each", size, step)
                continue
            first = int(self.rng.integers(size))
            last = int(self.rng.integers(-1, first))
            starts.append(first - size if self.chance(0.3) else first)
            # -1 would be the last element.
            ends.append(-size - 1 if last < 0 else last)
            dims[axis] = -(-(first - last) // -step)
        axes = [axis - len(shape) if self.chance(0.3) else axis for axis in axes]
        return self.add("Slice", x, *[self.g.ints(*part) for part in (starts, ends, axes, steps)]), \
            tuple(dims)

    def op_scan_axes(self, x, shape):
        """Sequences and results of a scan, each along an axis and in a direction of its
        own."""
        if not 2 <= len(shape) <= 3 or most(shape) > MOST:
            return None
        axis = self.axis_of(shape)
        rest = shape[:axis] + shape[axis + 1:]
        body = Builder(f"axes{len(self.values)}_")
        dims = [None if isinstance(d, tuple) else d for d in rest]
        h, v, u = (body.input(body.name(n), dims) for n in "hvu")
        new = body.add("Add", body.add("Mul", h, body.add("Sigmoid", u)), body.add("Tanh", v))
        if not is_open(rest[-1]) and self.chance(0.3):
            w = self.rng.standard_normal((rest[-1], rest[-1])).astype(np.float32)
            new = body.add("Tanh", body.add("MatMul", new, body.weight(w / rest[-1])))
        second = body.add("Sub", body.add("Mul", new, u), v)
        for value in (new, new, second):
            body.output(body.add("Identity", value), dims)

        def placed(at):
            return shape[:0] + rest[:at] + (shape[axis],) + rest[at:]
        other, out, extra = (int(self.rng.integers(len(shape))) for _ in range(3))
        perm = [i for i in range(len(shape)) if i != axis]
        perm.insert(other, axis)
        moved = self.add("Transpose", self.add("Sin", x), perm=perm)
        start = self.add("Tanh", self.add("ReduceSum", x, self.g.ints(axis), keepdims=0))
        negative = len(shape) * int(self.chance(0.3))
        _, y, z = self.add(
            "Scan", start, x, moved, count=3, num_scan_inputs=2,
            scan_input_axes=[axis - negative, other], scan_output_axes=[out - negative, extra],
            scan_input_directions=[int(self.chance(0.4)) for _ in range(2)],
            scan_output_directions=[int(self.chance(0.4)) for _ in range(2)],
            body=body.graph("step"))
        if self.chance(0.5):
            self.values.append((self.add("Tanh", y), placed(out)))
            return self.near_one(z, placed(extra))
        self.values.append((z, placed(extra)))
        return self.near_one(y, placed(out))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    onnx.save(WideGraph(int(sys.argv[1])).model, sys.argv[2])
