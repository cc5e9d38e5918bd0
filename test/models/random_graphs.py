# ===- random_graphs.py - Small graphs of random operators -----------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Graphs of 5 to 12 random operators over tensors with open and fixed sizes:
elementwise, broadcasts, reductions, norms, products, convolutions, scans and what
moves elements. The same seed gives the same graph.

usage: random_graphs.py SEED OUT.onnx
"""

import sys

import numpy as np
import onnx
from builder import OPSET, Builder

SIZES = [1, 2, 3, 5, 8, 16, 17]
SYMBOLS = ["s", "t"]
LIMIT = 2**63 - 1


class RandomGraph:
    """`model`: the graph; `make_inputs(rng, sizes)` gives inputs for sizes of the
    symbols. A value is (name, shape), a shape a tuple of sizes and symbols; values
    are kept near 1, so that errors stay comparable."""

    opset = OPSET

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.g = Builder()
        self.values, self.inputs, self.used = [], {}, set()
        # With few sizes, axes of different meaning are of equal size.
        self.sizes = SIZES if self.chance(0.5) else [int(d) for d in self.rng.choice(SIZES, 2)]
        for _ in range(self.rng.integers(1, 4)):
            self.new_input(self.random_shape())
        steps = self.operators()
        target, made = self.rng.integers(5, 13), 0
        while made < target:
            value = self.pick()
            result = steps[self.rng.integers(len(steps))](*value)
            if result is None:
                continue
            made += 1
            self.values.append(result)
        self.finish()
        self.model = self.g.model(self.opset)

    def operators(self):
        return [getattr(self, name) for name in dir(self) if name.startswith("op_")]

    def finish(self):
        """What nobody used becomes an output, and so do a few others."""
        names = set(self.inputs)
        for name, shape in self.values:
            wanted = name not in self.used or self.chance(0.15)
            if wanted and name not in names:
                names.add(name)
                self.g.output(name, [None if isinstance(d, tuple) else d for d in shape])

    def make_inputs(self, rng, sizes):
        return {name: rng.standard_normal([sizes.get(d, d) for d in shape], np.float32)
                for name, shape in self.inputs.items()}

    # What the operators below are made with.

    def chance(self, p):
        return self.rng.random() < p

    def choose(self, items):
        return items[self.rng.integers(len(items))]

    def random_shape(self, rank=None):
        rank = self.rng.integers(1, 5) if rank is None else rank
        shape = []
        for _ in range(rank):
            free = [s for s in SYMBOLS if s not in shape]
            shape.append(self.choose(free) if free and self.chance(0.45) else self.choose(self.sizes))
        return tuple(shape)

    def new_input(self, shape):
        name = self.g.input(f"x{len(self.inputs)}", list(shape))
        self.inputs[name] = shape
        self.values.append((name, shape))
        return name

    def pick(self):
        recent = self.values[-4:] if self.chance(0.7) else self.values
        value = self.choose(recent)
        self.used.add(value[0])
        return value

    def weight(self, *shape):
        scale = 1 / np.sqrt(max(1, shape[0] if len(shape) > 1 else 1))
        return self.g.weight((self.rng.standard_normal(shape) * scale).astype(np.float32))

    def add(self, op, *inputs, **attributes):
        return self.g.add(op, *inputs, **attributes)

    def axis_of(self, shape):
        return int(self.rng.integers(len(shape))) if shape else None

    def other(self, name, shape):
        """Something that `shape` broadcasts with, and does not grow by."""
        same = [v for v in self.values if v[1] == shape]
        if self.chance(0.5) and len(same) > 1:
            value = self.choose(same)
            self.used.add(value[0])
            return value[0]
        kind = self.rng.integers(4)
        if kind == 0 and shape:
            axis = self.axis_of(shape)
            return self.add("ReduceMean", name, self.g.ints(axis), keepdims=1)
        if kind == 1:
            dims = [1 if isinstance(d, (str, tuple)) or self.chance(0.4) else d for d in shape]
            return self.weight(*dims[self.rng.integers(len(dims) + 1):])
        if kind == 2 and len(self.inputs) < 5 and not any(isinstance(d, tuple) for d in shape):
            dims = tuple(1 if self.chance(0.3) else d for d in shape)
            made = self.new_input(dims[self.rng.integers(len(dims) + 1):])
            self.used.add(made)
            return made
        return self.weight()

    # Operators: (name, shape) -> (name, shape), or None where they do not fit.

    def op_unary(self, x, shape):
        return self.add(self.choose(["Tanh", "Sigmoid", "Neg", "Abs", "Relu", "Softplus", "Erf",
                                     "Identity"]), x), shape

    def op_silu(self, x, shape):
        return self.add("Mul", x, self.add("Sigmoid", x)), shape

    def op_gelu(self, x, shape):
        return self.add("Gelu", x, approximate=self.choose(["none", "tanh"])), shape

    def op_exp(self, x, shape):
        return self.add("Exp", self.add("Tanh", x)), shape

    def op_root(self, x, shape):
        return self.add("Sqrt", self.add("Abs", x)), shape

    def op_binary(self, x, shape):
        pair = [x, self.other(x, shape)]
        if self.chance(0.5):
            pair.reverse()
        return self.add(self.choose(["Add", "Mul", "Sub", "Max", "Min"]), *pair), shape

    op_binary2 = op_binary

    def op_divide(self, x, shape):
        below = self.add("Add", self.add("Abs", self.other(x, shape)), self.g.weight(np.float32(1)))
        return self.add("Div", x, below), shape

    def op_where(self, x, shape):
        y = self.other(x, shape)
        return self.add("Where", self.add(self.choose(["Less", "GreaterOrEqual"]), x, y), x, y), \
            shape

    def op_reduce(self, x, shape):
        if not shape:
            return None
        axes = [i for i in range(len(shape)) if self.chance(0.5)] or [self.axis_of(shape)]
        keep = int(self.chance(0.5))
        op = self.choose(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"])
        if op in ("ReduceMax", "ReduceMin") or self.chance(0.3):
            # No maximum of nothing: sizes may be 0.
            op = "ReduceMean" if any(isinstance(shape[a], (str, tuple)) for a in axes) else op
        result = self.add(op, x, self.g.ints(*axes), keepdims=keep)
        left = tuple(1 if i in axes else d for i, d in enumerate(shape)
                     if keep or i not in axes)
        return (self.add("Tanh", result) if op == "ReduceSum" else result), left

    def op_softmax(self, x, shape):
        return (self.add("Softmax", x, axis=self.axis_of(shape)), shape) if shape else None

    def op_norm(self, x, shape):
        if not shape or isinstance(shape[-1], (str, tuple)):
            return None
        scale, bias = self.weight(shape[-1]), self.weight(shape[-1])
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-2), shape

    def op_rms(self, x, shape):
        if not shape:
            return None
        mean = self.add("ReduceMean", self.add("Mul", x, x), self.g.ints(-1), keepdims=1)
        root = self.add("Sqrt", self.add("Add", mean, self.g.weight(np.float32(0.01))))
        return self.add("Div", x, root), shape

    def op_matmul(self, x, shape):
        if not shape or isinstance(shape[-1], (str, tuple)):
            return None
        width = self.choose(self.sizes)
        y = self.add("MatMul", x, self.weight(shape[-1], width))
        if self.chance(0.4):
            y = self.add("Add", y, self.weight(width))
        return y, shape[:-1] + (width,)

    op_matmul2 = op_matmul

    def op_gram(self, x, shape):
        if len(shape) < 2:
            return None
        perm = list(range(len(shape) - 2)) + [len(shape) - 1, len(shape) - 2]
        y = self.add("MatMul", x, self.add("Transpose", self.add("Tanh", x), perm=perm))
        return self.add("Tanh", y), shape[:-1] + (shape[-2],)

    def op_transpose(self, x, shape):
        if len(shape) < 2:
            return None
        perm = [int(p) for p in self.rng.permutation(len(shape))]
        return self.add("Transpose", x, perm=perm), tuple(shape[p] for p in perm)

    op_transpose2 = op_transpose

    def op_symmetric(self, x, shape):
        """Plus itself with two axes of one size exchanged."""
        pairs = [(i, j) for i in range(len(shape)) for j in range(i) if shape[i] == shape[j]]
        if not pairs:
            return None
        i, j = self.choose(pairs)
        perm = list(range(len(shape)))
        perm[i], perm[j] = perm[j], perm[i]
        return self.add(self.choose(["Add", "Mul", "Sub"]), x,
                        self.add("Transpose", x, perm=perm)), shape

    def op_outer(self, x, shape):
        """Each element with each along the last axis."""
        if not shape or len(shape) > 3:
            return None
        y = self.add("Sub", self.add("Unsqueeze", x, self.g.ints(-1)),
                     self.add("Unsqueeze", self.add("Tanh", x), self.g.ints(-2)))
        return y, shape + shape[-1:]

    def op_expand(self, x, shape):
        if len(shape) > 3:
            return None
        size = self.choose(self.sizes)
        return self.add("Expand", x, self.g.ints(size, *[1] * len(shape))), (size, *shape)

    def op_weighted(self, x, shape):
        """Two tensors of one shape, multiplied over the first of their axes."""
        if len(shape) != 2:
            return None
        y = self.add("MatMul", self.add("Transpose", x, perm=[1, 0]), self.add("Sin", self.add("Tanh", x)))
        return self.add("Tanh", y), (shape[1], shape[1])

    def op_flip(self, x, shape):
        if not shape:
            return None
        axis = self.axis_of(shape)
        return self.add("Slice", x, self.g.ints(-1), self.g.ints(-LIMIT), self.g.ints(axis),
                        self.g.ints(-1)), shape

    def op_slice(self, x, shape):
        fixed = [i for i, d in enumerate(shape) if isinstance(d, int) and d > 1]
        if not fixed:
            return None
        axis = int(self.choose(fixed))
        size = shape[axis]
        lo = int(self.rng.integers(size))
        hi = int(self.rng.integers(lo + 1, size + 1))
        step = int(self.rng.integers(1, 3))
        result = self.add("Slice", x, self.g.ints(lo), self.g.ints(hi), self.g.ints(axis),
                          self.g.ints(step))
        return result, shape[:axis] + (-(-(hi - lo) // step),) + shape[axis + 1:]

    def op_halves(self, x, shape):
        even = [i for i, d in enumerate(shape) if isinstance(d, int) and d % 2 == 0 and d]
        if not even:
            return None
        axis = int(self.choose(even))
        a, b = self.add("Split", x, axis=axis, num_outputs=2, count=2)
        return self.add("Mul", a, self.add("Sigmoid", b)), \
            shape[:axis] + (shape[axis] // 2,) + shape[axis + 1:]

    def op_concat(self, x, shape):
        fixed = [i for i, d in enumerate(shape) if isinstance(d, int)]
        if not fixed:
            return None
        axis = int(self.choose(fixed))
        if shape[axis] > 40:
            return None
        parts = [x, self.add("Tanh", x) if self.chance(0.5) else x]
        if not any(isinstance(d, (str, tuple)) for d in shape):
            size = self.choose(self.sizes)
            parts[1] = self.weight(*shape[:axis], size, *shape[axis + 1:])
        else:
            size = shape[axis]
        if self.chance(0.5):
            parts.reverse()
        return self.add("Concat", *parts, axis=axis), \
            shape[:axis] + (shape[axis] + size,) + shape[axis + 1:]

    def op_pad(self, x, shape):
        if not shape:
            return None
        axis = self.axis_of(shape)
        if not isinstance(shape[axis], int):
            return None
        before, after = (int(n) for n in self.rng.integers(0, 3, 2))
        pads = [0] * 2 * len(shape)
        pads[axis], pads[axis + len(shape)] = before, after
        return self.add("Pad", x, self.g.ints(*pads)), \
            shape[:axis] + (shape[axis] + before + after,) + shape[axis + 1:]

    def op_unsqueeze(self, x, shape):
        if len(shape) > 3:
            return None
        axis = int(self.rng.integers(len(shape) + 1))
        return self.add("Unsqueeze", x, self.g.ints(axis)), shape[:axis] + (1,) + shape[axis:]

    def op_squeeze(self, x, shape):
        ones = [i for i, d in enumerate(shape) if d == 1]
        if not ones:
            return None
        axis = int(self.choose(ones))
        return self.add("Squeeze", x, self.g.ints(axis)), shape[:axis] + shape[axis + 1:]

    def op_merge(self, x, shape):
        """Two neighbouring axes become one."""
        if len(shape) < 2:
            return None
        axis = int(self.rng.integers(len(shape) - 1))
        a, b = shape[axis:axis + 2]
        if not (isinstance(a, int) and isinstance(b, int)):
            return None
        dims = [0] * axis + [a * b]
        rest = shape[axis + 2:]
        if any(not isinstance(d, int) for d in rest):
            return None
        return self.add("Reshape", x, self.g.ints(*dims, *rest)), \
            shape[:axis] + (a * b,) + rest

    def op_split_axis(self, x, shape):
        """An axis of 8 or 16 becomes two."""
        if not shape or len(shape) > 3 or shape[-1] not in (8, 16):
            return None
        return self.add("Reshape", x, self.g.ints(*[0] * (len(shape) - 1), 2, -1)), \
            shape[:-1] + (2, shape[-1] // 2)

    def op_gather(self, x, shape):
        fixed = [i for i, d in enumerate(shape) if isinstance(d, int)]
        if not fixed:
            return None
        axis = int(self.choose(fixed))
        picked = self.rng.integers(0, shape[axis], self.rng.integers(1, 6))
        return self.add("Gather", x, self.g.ints(*picked), axis=axis), \
            shape[:axis] + (len(picked),) + shape[axis + 1:]

    def op_cumsum(self, x, shape):
        if not shape:
            return None
        axis = self.axis_of(shape)
        flags = {"exclusive": int(self.chance(0.3)), "reverse": int(self.chance(0.3))}
        y = self.add("CumSum", x, self.g.weight(np.array(axis)), **flags)
        return self.add("Tanh", y), shape

    def op_conv(self, x, shape):
        """A depthwise convolution that sees the past alone, or not."""
        if len(shape) != 3 or not isinstance(shape[1], int):
            return None
        taps = int(self.rng.integers(1, 5))
        left = self.choose([taps - 1, taps - 1, taps // 2])
        return self.add("Conv", x, self.weight(shape[1], 1, taps), self.weight(shape[1]),
                        group=shape[1], pads=[left, taps - 1 - left]), shape

    def op_scan(self, x, shape):
        """A recurrence along an axis; its state has the others."""
        if len(shape) < 2:
            return None
        axis = self.axis_of(shape)
        rest = shape[:axis] + shape[axis + 1:]
        body = Builder(f"step{len(self.values)}_")
        dims = [None if isinstance(d, tuple) else d for d in rest]
        h, v = body.input(body.name("h"), dims), body.input(body.name("v"), dims)
        kept = body.add("Mul", h, body.add("Sigmoid", v) if self.chance(0.5) else
                        body.weight(np.float32(0.7)))
        if self.chance(0.25):
            kept = body.add("Tanh", kept)
        fed = body.add("Tanh", body.add("Mul", v, v) if self.chance(0.2) else v)
        new = body.add("Add", kept, fed)
        seen = new
        if self.chance(0.3):
            seen = body.add("ReduceMean", new, body.ints(-1), keepdims=1)
            seen = body.add("Sub", new, seen)
        elif self.chance(0.3):
            seen = body.add("Mul", new, v)
        body.output(body.add("Identity", new), dims)
        body.output(body.add("Identity", seen), dims)
        start = self.add("Sub", *[self.add("ReduceSum", x, self.g.ints(axis), keepdims=0)] * 2) \
            if self.chance(0.5) else \
            self.add("Tanh", self.add("ReduceSum", x, self.g.ints(axis), keepdims=0))
        backward = int(self.chance(0.3))
        last, y = self.add("Scan", start, x, count=2, num_scan_inputs=1, scan_input_axes=[axis],
                           scan_output_axes=[axis], scan_input_directions=[backward],
                           scan_output_directions=[backward if self.chance(0.8) else 1 - backward],
                           body=body.graph("step"))
        if self.chance(0.3):
            self.g.output(last, dims)
        return y, shape

    op_scan2 = op_scan

    def op_scan_pair(self, x, shape):
        """Two carries, of which one takes what the other gives; a product or a norm of
        the state inside of the step; a second sequence."""
        if len(shape) < 2:
            return None
        axis = self.axis_of(shape)
        rest = shape[:axis] + shape[axis + 1:]
        body = Builder(f"pair{len(self.values)}_")
        dims = [None if isinstance(d, tuple) else d for d in rest]
        p, q, v, u = (body.input(body.name(n), dims) for n in "pqvu")
        kept = body.add("Mul", p, body.weight(np.float32(0.6)))
        kind = self.rng.integers(4)
        if kind == 0 and isinstance(rest[-1], int):
            w = self.rng.standard_normal((rest[-1], rest[-1])).astype(np.float32)
            kept = body.add("MatMul", kept, body.weight(w / max(1, rest[-1])))
        elif kind == 1:
            total = body.add("ReduceSum", body.add("Mul", p, body.add("Tanh", v)), body.ints(-1),
                             keepdims=1)
            kept = body.add("Sub", kept, body.add("Tanh", total))
        new_p = body.add("Add", kept, body.add("Tanh", v))
        other = new_p if self.chance(0.5) else p
        new_q = body.add("Sub", body.add("Mul", q, body.add("Sigmoid", u)), other)
        y = body.add("Add", self.choose([p, new_p]), body.add("Mul", self.choose([q, new_q]), v))
        for value in (new_p, new_q, y):
            body.output(body.add("Identity", value), dims)
        start = self.add("ReduceMean", self.add("Sin", self.add("Tanh", x)), self.g.ints(axis), keepdims=0) \
            if isinstance(shape[axis], int) else \
            self.add("Tanh", self.add("ReduceSum", x, self.g.ints(axis), keepdims=0))
        zero = self.add("Mul", start, self.g.weight(np.float32(0)))
        ways = [int(self.chance(0.3)) for _ in range(3)]
        _, last, y = self.add(
            "Scan", start, zero, x, self.add("Sin", self.add("Tanh", x)), count=3, num_scan_inputs=2,
            scan_input_axes=[axis] * 2, scan_output_axes=[axis], scan_input_directions=ways[:2],
            scan_output_directions=ways[2:], body=body.graph("step"))
        if self.chance(0.3):
            self.g.output(last, dims)
        return self.add("Tanh", y), shape

    op_scan_pair2 = op_scan_pair


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    onnx.save(RandomGraph(int(sys.argv[1])).model, sys.argv[2])
