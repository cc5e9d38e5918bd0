# ===- sweep_kernels.py - Kernels whose sizes are swept ----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Models of one kernel each, with one size open or fixed, for sweep.py."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test" / "harness"), str(ROOT / "test" / "models")]
import mamba  # noqa: E402
from builder import Builder  # noqa: E402

f32, f16, bf16 = np.float32, np.float16, ml_dtypes.bfloat16
FIXED = 128
LANES = 16  # of the widest vector; 16-bit types are computed in 32 bits


@dataclass
class Kernel:
    make: Callable    # a size, or a name for an open one -> model
    inputs: Callable  # size -> {name: array}
    fixed: bool = False
    lanes: int = 1    # elements that the swept axis is padded to
    line: int = 0     # elements of a cache line, where the swept axis is a matrix's last one
    least: int = 0    # the smallest size that the operator takes

    def sizes(self, upto):
        if not self.fixed:
            return list(range(self.least, upto + 1))
        # Each takes a compilation: small ones, and those around whole vectors.
        return [size for size in range(self.least, upto + 1)
                if size <= 40 or size % LANES in (0, 1, LANES - 1)]

    def padded(self, size):
        return -(-size // self.lanes) * self.lanes

    def lines(self, size):
        """Cache lines that the vectors of 16 rows of that length are read from, one by one."""
        total = 0
        for row in range(0, 16 * size, size):
            for first in range(row, row + size, LANES):
                last = min(first + LANES, row + size) - 1
                total += last // self.line - first // self.line + 1
        return total


PAGE = 4096
place = 0  # in a page, where arrays begin


def ones(shape, dtype=f32, value=1):
    """An array that begins at `place` of a page: otherwise its place, which the allocator
    chooses by its size, counts."""
    count = int(np.prod(shape))
    room = np.empty(count * np.dtype(dtype).itemsize + PAGE, np.uint8)
    begin = (place - room.ctypes.data) % PAGE
    array = room[begin:begin + count * np.dtype(dtype).itemsize].view(dtype).reshape(shape)
    array[...] = value
    return array


def product(axis, m=FIXED, k=FIXED, n=FIXED, batch=(), weight=False, transposed=False,
            dtype=f32, fixed=False):
    """A product of matrices with one size swept; the right side is an argument or a
    weight."""
    sizes = {"m": m, "k": k, "n": n}
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def dims(size):
        m, k, n = {**sizes, axis: size}.values()
        return [*batch, m, k], [*batch, *([n, k] if transposed else [k, n])], [*batch, m, n]

    def make(size):
        left, right, out = dims(size)
        g = Builder()
        x = g.input("x", left, kind)
        w = g.weight(np.ones(right, dtype)) if weight else g.input("w", right, kind)
        y = g.add("Gemm", x, w, transB=1) if transposed else g.add("MatMul", x, w)
        g.output(y, out, kind, name="y")
        return g.model()

    def inputs(size):
        left, right, _ = dims(size)
        return {"x": ones(left, dtype), **({} if weight else {"w": ones(right, dtype)})}
    is_row = not weight and axis == ("k" if transposed else "n")
    return Kernel(make, inputs, fixed, LANES if axis == "n" else 1,
                  64 // np.dtype(dtype).itemsize if is_row else 0)


def products():
    """By name: each size in turn."""
    forms = {"": {}, "1 row ": {"m": 1, "k": 512, "n": 512}, "8 rows ": {"m": 8},
             "transposed ": {"transposed": True},
             "transposed 1 row ": {"transposed": True, "m": 1, "k": 512, "n": 512},
             "transposed 8 rows ": {"transposed": True, "m": 8},
             "f16 ": {"dtype": f16}, "bf16 ": {"dtype": bf16},
             "batch ": {"batch": [16], "m": 32, "k": 32, "n": 32},
             "batch 1 row ": {"batch": [12], "m": 1, "k": 64, "n": 64}}
    found = {f"matmul {form}{axis}": product(axis, **sizes) for form, sizes in forms.items()
             for axis in ("kn" if "m" in sizes and sizes["m"] in (1, 8) else "mkn")}
    for form, sizes in forms.items():
        if "batch" in sizes:
            continue
        if "m" not in sizes:
            found[f"matmul weight {form}m"] = product("m", weight=True, **sizes)
        if "transposed" not in sizes: # the same once it is packed
            for axis in "kn":
                found[f"matmul weight {form}{axis} fixed"] = \
                    product(axis, weight=True, fixed=True, **sizes)
    found["matmul n fixed"] = product("n", fixed=True)
    found["matmul transposed m fixed"] = product("m", transposed=True, fixed=True)
    return found


def on_rows(make_nodes, shape=lambda size: [FIXED, size], dtype=f32, lanes=LANES, line=16):
    """A kernel of one input; `make_nodes` gives the output from a builder and the input."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def make(size):
        g = Builder()
        g.output(make_nodes(g, g.input("x", shape(size), kind)), [None] * len(shape(1)), kind,
                 name="y")
        return g.model()
    return Kernel(make, lambda size: {"x": ones(shape(size), dtype)}, lanes=lanes,
                  line=line * 4 // np.dtype(dtype).itemsize)


def op(name, *inputs, **attributes):
    return lambda g, x: g.add(name, x, *[g.ints(i) for i in inputs], **attributes)


def normalization(centred):
    def nodes(g, x):
        if centred:
            x = g.add("Sub", x, g.add("ReduceMean", x, g.ints(-1)))
        mean = g.add("ReduceMean", g.add("Mul", x, x), g.ints(-1))
        eps = g.weight(np.array(1e-5, f32))
        return g.add("Div", x, g.add("Sqrt", g.add("Add", mean, eps)))
    return on_rows(nodes)


def tall(size):
    return [size, FIXED]


ROWS = {
    "softmax": on_rows(op("Softmax", axis=-1)),
    "softmax bf16": on_rows(op("Softmax", axis=-1), dtype=bf16),
    "softmax rows": on_rows(op("Softmax", axis=-1), tall, lanes=1, line=0),
    "softmax of columns": on_rows(op("Softmax", axis=0)),
    "sigmoid": on_rows(op("Sigmoid")),
    "sigmoid f16": on_rows(op("Sigmoid"), dtype=f16),
    "elu": on_rows(op("Elu")),
    "sin": on_rows(op("Sin")),
    "layernorm": normalization(centred=True),
    "rmsnorm": normalization(centred=False),
    "sum of rows": on_rows(op("ReduceSum", -1, keepdims=1)),
    "sum of columns": on_rows(op("ReduceSum", 0, keepdims=1)),
    "maximum of columns, rows": on_rows(op("ReduceMax", 0, keepdims=1), tall, lanes=1, line=0),
    "transpose": on_rows(op("Transpose", perm=[1, 0])),
    "transpose heads": on_rows(op("Transpose", perm=[0, 2, 1, 3]),
                               lambda size: [4, LANES, LANES, size]),
}


def gather():
    def make(size):
        g = Builder()
        x, ids = g.input("x", ["n", size]), g.input("ids", [FIXED], TensorProto.INT64)
        g.output(g.add("Gather", x, ids), [FIXED, size], name="y")
        return g.model()
    return Kernel(make, lambda size: {"x": ones((64, size)), "ids": np.arange(FIXED) % 64},
                  lanes=LANES, line=16)


def convolution(axis, channels_last):
    """A causal depthwise convolution of 4 steps, 64 channels or steps where not swept."""
    def make(size):
        steps, channels = (size, 64) if axis == "steps" else (64, size)
        g = Builder()
        x = g.input("x", [1, steps, channels] if channels_last else [1, channels, steps])
        if channels_last:
            x = g.add("Transpose", x, perm=[0, 2, 1])
        y = g.add("Conv", x, g.weight(np.ones((channels, 1, 4), f32)), group=channels,
                  pads=[3, 0])
        if channels_last:
            y = g.add("Transpose", y, perm=[0, 2, 1])
        g.output(y, [None] * 3, name="y")
        return g.model()

    def inputs(size):
        shape = (size, 64) if (axis == "steps") == channels_last else (64, size)
        return {"x": ones((1, *shape))}
    dense = (axis == "steps") != channels_last
    return Kernel(make, inputs, fixed=axis != "steps", lanes=LANES if dense else 1,
                  line=16 if dense else 0, least=0 if axis == "steps" else 1)


def scan(axis):
    """A Mamba-1 scan of 16 states, 64 steps or channels where not swept."""
    def sizes(size):
        return (size, 64) if axis == "steps" else (64, size)

    def make(size):
        steps, channels = sizes(size)
        g = Builder()
        state = g.input("state", [1, channels, 16])
        names = [g.input(n, [steps, 1, channels]) for n in ("dt", "u")]
        names += [g.input(n, [steps, 1, 16]) for n in ("b", "c")]
        a, skip = g.input("a", [channels, 16]), g.input("skip", [channels])
        last, y = g.add("Scan", state, *names, count=2, num_scan_inputs=4,
                        body=mamba.scan_step(a, skip))
        g.output(y, [steps, 1, channels], name="y")
        g.output(last, [1, channels, 16], name="last")
        return g.model()

    def inputs(size):
        steps, channels = sizes(size)
        return {"state": ones((1, channels, 16), value=0),
                "dt": ones((steps, 1, channels), value=0.1), "u": ones((steps, 1, channels)),
                "b": ones((steps, 1, 16)), "c": ones((steps, 1, 16)),
                "a": ones((channels, 16), value=-1), "skip": ones(channels)}
    return Kernel(make, inputs, lanes=LANES if axis == "channels" else 1)


def linear_attention(axis):
    """One gated head of 32 steps, of 32 keys and values where not swept."""
    def sizes(size):
        return (size, 32) if axis == "keys" else (32, size)

    def make(size):
        keys, values = sizes(size)
        g = Builder()
        inputs = [g.input(n, [1, 32, d]) for n, d in (("q", keys), ("k", keys), ("v", values))]
        inputs += [g.input("state", [1, 1, keys, values]), g.input("decay", [1, 32, 1])]
        y, _ = g.add("LinearAttention", *inputs, count=2, q_num_heads=1, kv_num_heads=1,
                     update_rule="gated", scale=1.0)
        g.output(y, [None] * 3, name="y")
        return helper.make_model(g.graph("m"), ir_version=10,
                                 opset_imports=[helper.make_opsetid("", 27)])

    def inputs(size):
        keys, values = sizes(size)
        return {"q": ones((1, 32, keys)), "k": ones((1, 32, keys)), "v": ones((1, 32, values)),
                "state": ones((1, 1, keys, values), value=0),
                "decay": ones((1, 32, 1), value=-0.5)}
    return Kernel(make, inputs, fixed=True, lanes=LANES if axis == "values" else 1, least=1)


KERNELS = {**products(), **ROWS, "gather of rows": gather(),
           "convolution steps": convolution("steps", channels_last=False),
           "convolution steps, channels last": convolution("steps", channels_last=True),
           "convolution channels, channels last fixed": convolution("channels", channels_last=True),
           "scan channels": scan("channels"), "scan steps": scan("steps"),
           "linear attention keys fixed": linear_attention("keys"),
           "linear attention values fixed": linear_attention("values")}
