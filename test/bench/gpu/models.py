# ===- models.py - The models that are timed on a GPU ----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""ONNX graphs in bf16 with recurrences in f32. Weights are inputs, so that a pack of
modules is small and both sides read the same memory; matrices lie as [out, in]."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models"))
from builder import Builder  # noqa: E402

BF16, F32 = TensorProto.BFLOAT16, TensorProto.FLOAT
OPSET = 23


class Graph(Builder):
    """A Builder that knows the few things all models here need."""

    def tensors(self, **dims):
        """Declares bf16 inputs by name. -> their names."""
        return [self.input(name, list(d), BF16) for name, d in dims.items()]

    def floats(self, **dims):
        return [self.input(name, list(d), F32) for name, d in dims.items()]

    def wide(self, value):
        return self.add("Cast", value, to=F32)

    def narrow(self, value):
        return self.add("Cast", value, to=BF16)

    def linear(self, value, weight):
        """weight [out, in], as torch has it."""
        return self.add("MatMul", value, self.add("Transpose", weight, perm=[1, 0]))

    def silu(self, value):
        return self.add("Mul", value, self.add("Sigmoid", value))

    def split(self, value, *sizes):
        return self.add("Split", value, self.ints(*sizes), axis=-1, count=len(sizes))

    def rms_norm(self, value, scale):
        """value in f32 -> f32."""
        mean = self.add("ReduceMean", self.add("Mul", value, value), self.ints(-1))
        root = self.add("Sqrt", self.add("Add", mean, self.weight(np.array([1e-5], np.float32))))
        return self.add("Mul", self.add("Div", value, root), scale)

    def convolve(self, x, past, weight, bias, width):
        """x [B, L, D], past [B, D, width - 1] -> SiLU of the causal convolution, new past."""
        padded = self.add("Concat", past, self.add("Transpose", x, perm=[0, 2, 1]), axis=2)
        y = self.add("Conv", padded, weight, bias, group=self.groups(weight))
        new = self.add("Slice", padded, self.ints(1 - width), self.ints(2**63 - 1), self.ints(2))
        return self.silu(self.add("Transpose", y, perm=[0, 2, 1])), new

    def groups(self, name):
        value = next(v for v in self.inputs if v.name == name)
        return value.type.tensor_type.shape.dim[0].dim_value


def selective_step(a):
    """h [B, D, N]; dt, u [B, D]; b, c [B, N] of a step, all f32 -> h, y [B, D]."""
    g = Builder("step_")
    h = g.input("step_h", ["B", "D", "N"])
    dt, u = (g.input(f"step_{n}", ["B", "D"]) for n in ("dt", "u"))
    b, c = (g.input(f"step_{n}", ["B", "N"]) for n in ("b", "c"))
    last, middle = g.constant(np.array([-1])), g.constant(np.array([1]))
    decay = g.add("Exp", g.add("Mul", g.add("Unsqueeze", dt, last), a))
    drive = g.add("Mul", g.add("Unsqueeze", g.add("Mul", dt, u), last), g.add("Unsqueeze", b, middle))
    new = g.add("Add", g.add("Mul", decay, h), drive)
    y = g.add("ReduceSum", g.add("Mul", new, g.add("Unsqueeze", c, middle)), last, keepdims=0)
    g.output(g.add("Identity", new), ["B", "D", "N"])
    g.output(y, ["B", "D"])
    return g.graph("step")


def selective(g, state, u, dt, b, c, a, skip):
    """All in f32, time at axis 1. -> new state, y."""
    new, y = g.add("Scan", state, dt, u, b, c, count=2, num_scan_inputs=4,
                   scan_input_axes=[1] * 4, scan_output_axes=[1], body=selective_step(a))
    return new, g.add("Add", y, g.add("Mul", u, skip))


def scan(channels, is_first=False, states=16):
    """Mamba-1's selective scan: softplus of dt, D and the gate with it. `is_first`: channels in
    front of time in memory."""
    g = Graph()
    dims = ("B", channels, "L") if is_first else ("B", "L", channels)
    turned = (lambda v: g.add("Transpose", v, perm=[0, 2, 1])) if is_first else lambda v: v
    u, dt, z = map(turned, g.tensors(**{n: dims for n in ("u", "dt", "z")}))
    b, c = g.tensors(**{n: ("B", "L", states) for n in ("b", "c")})
    a, skip, bias = g.floats(a=(channels, states), skip=(channels,), bias=(channels,))
    state, = g.floats(state=("B", channels, states))
    step = g.add("Softplus", g.add("Add", g.wide(dt), bias))
    new, y = selective(g, state, g.wide(u), step, g.wide(b), g.wide(c), a, skip)
    g.output(turned(g.narrow(g.add("Mul", y, g.silu(g.wide(z))))), dims, BF16, "y")
    g.output(new, ["B", channels, states], name="new_state")
    return g


def conv(channels):
    """Causal convolution of width 4 with SiLU, channels first."""
    g = Graph()
    x, weight, bias = g.tensors(x=("B", channels, "L"), weight=(channels, 1, 4), bias=(channels,))
    y = g.add("Conv", x, weight, bias, group=channels, pads=[3, 0])
    g.output(g.silu(y), ["B", channels, "L"], BF16, "y")
    return g


def plane(channels, group=1):
    """Convolution of 3 x 3 with bias and ReLU, channels first."""
    g = Graph()
    x, weight, bias = g.tensors(x=("B", channels, "H", "W"),
                                weight=(channels, channels // group, 3, 3), bias=(channels,))
    y = g.add("Relu", g.add("Conv", x, weight, bias, group=group, pads=[1] * 4))
    g.output(y, ["B", channels, "H", "W"], BF16, "y")
    return g


def matmul(kind="BFLOAT16"):
    """x [M, K], w [N, K] of one type; of f16 and bf16 as they are, of bytes to i32, of 8-bit floats
    to bf16."""
    g, dtype = Graph(), TensorProto.DataType.Value(kind)
    x, w = g.input("x", ["M", "K"], dtype), g.input("w", ["N", "K"], dtype)
    if kind == "INT8":
        y, dtype = g.add("MatMulInteger", x, g.add("Transpose", w, perm=[1, 0])), TensorProto.INT32
    elif kind == "FLOAT8E4M3FN":
        y, dtype = g.linear(g.narrow(x), g.narrow(w)), BF16
    else:
        y = g.linear(x, w)
    g.output(y, ["M", "N"], dtype, "y")
    return g


def elementwise():
    g = Graph()
    x, = g.tensors(x=("M",))
    g.output(g.silu(x), ["M"], BF16, "y")
    return g


def mamba2_step():
    """h [B, H, P, N]; dt [B, H], decay [B, H], x [B, H, P]; b, c [B, N] -> h, y [B, H, P]."""
    g = Builder("step_")
    h = g.input("step_h", ["B", "H", "P", "N"])
    decay, dt = (g.input(f"step_{n}", ["B", "H"]) for n in ("decay", "dt"))
    x = g.input("step_x", ["B", "H", "P"])
    b, c = (g.input(f"step_{n}", ["B", "N"]) for n in ("b", "c"))
    two, one, last = (g.constant(np.array(v)) for v in ([2, 3], [1, 2], [-1]))
    drive = g.add("Mul", g.add("Unsqueeze", g.add("Mul", g.add("Unsqueeze", dt, last), x), last),
                  g.add("Unsqueeze", b, one))
    new = g.add("Add", g.add("Mul", g.add("Unsqueeze", decay, two), h), drive)
    y = g.add("ReduceSum", g.add("Mul", new, g.add("Unsqueeze", c, one)), last, keepdims=0)
    g.output(g.add("Identity", new), ["B", "H", "P", "N"])
    g.output(y, ["B", "H", "P"])
    return g.graph("step")


def heads(g, state, dt, x, b, c, a):
    """dt [B, L, H], x [B, L, H, P], b, c [B, L, N], a [H] -> new state, y [B, L, H, P]."""
    decay = g.add("Exp", g.add("Mul", dt, a))
    return g.add("Scan", state, decay, dt, x, b, c, count=2, num_scan_inputs=5,
                 scan_input_axes=[1] * 5, scan_output_axes=[1], body=mamba2_step())


def update2(count=80, width=64, states=128):
    """A step of Mamba-2's state: decode."""
    g = Graph()
    x, dt = g.tensors(x=("B", 1, count, width), dt=("B", 1, count))
    b, c = g.tensors(**{n: ("B", 1, states) for n in ("b", "c")})
    a, skip, bias = g.floats(a=(count,), skip=(count, 1), bias=(count,))
    state, = g.floats(state=("B", count, width, states))
    step = g.add("Softplus", g.add("Add", g.wide(dt), bias))
    x = g.wide(x)
    new, y = heads(g, state, step, x, g.wide(b), g.wide(c), a)
    g.output(g.narrow(g.add("Add", y, g.add("Mul", x, skip))), ["B", 1, count, width], BF16, "y")
    g.output(new, ["B", count, width, states], name="new_state")
    return g


def delta_step():
    """h [B, H, K, V]; decay, beta [B, H], q, k [B, H, K], v [B, H, V] -> h, y [B, H, V]."""
    g = Builder("step_")
    h = g.input("step_h", ["B", "H", "K", "V"])
    decay, beta = (g.input(f"step_{n}", ["B", "H"]) for n in ("decay", "beta"))
    q, k = (g.input(f"step_{n}", ["B", "H", "K"]) for n in ("q", "k"))
    v = g.input("step_v", ["B", "H", "V"])
    two, row, last = (g.constant(np.array(at)) for at in ([2, 3], [-2], [-1]))

    def seen(state, by):
        return g.add("ReduceSum", g.add("Mul", state, g.add("Unsqueeze", by, last)), row, keepdims=0)
    kept = g.add("Mul", g.add("Unsqueeze", decay, two), h)
    error = g.add("Mul", g.add("Unsqueeze", beta, last), g.add("Sub", v, seen(kept, k)))
    new = g.add("Add", kept, g.add("Mul", g.add("Unsqueeze", k, last), g.add("Unsqueeze", error, row)))
    g.output(g.add("Identity", new), ["B", "H", "K", "V"])
    g.output(seen(new, q), ["B", "H", "V"])
    return g.graph("step")


def delta(count=32, width=128):
    """A step of the gated delta rule: decode."""
    g = Graph()
    q, k, v = g.tensors(**{n: ("B", 1, count, width) for n in ("q", "k", "v")})
    gate, beta = g.floats(gate=("B", 1, count), beta=("B", 1, count))
    state, = g.floats(state=("B", count, width, width))
    new, y = g.add("Scan", state, g.add("Exp", gate), beta, *map(g.wide, (q, k, v)), count=2,
                   num_scan_inputs=5, scan_input_axes=[1] * 5, scan_output_axes=[1],
                   body=delta_step())
    g.output(g.narrow(y), ["B", 1, count, width], BF16, "y")
    g.output(new, ["B", count, width, width], name="new_state")
    return g


def layer1(width=2560, inner=5120, states=16, rank=160, taps=4):
    """Mamba-1 2.8 B: norm, mixer, residual."""
    g = Graph()
    hidden, in_proj, x_proj, dt_proj, out_proj = g.tensors(
        hidden=("B", "L", width), in_proj=(2 * inner, width), x_proj=(rank + 2 * states, inner),
        dt_proj=(inner, rank), out_proj=(width, inner))
    taps_in, taps_bias, past = g.tensors(conv=(inner, 1, taps), conv_bias=(inner,),
                                         past_conv=("B", inner, taps - 1))
    norm, bias, a, skip, state = g.floats(norm=(width,), dt_bias=(inner,), a=(inner, states),
                                          skip=(inner,), past_ssm=("B", inner, states))
    x, z = g.split(g.linear(g.narrow(g.rms_norm(g.wide(hidden), norm)), in_proj), inner, inner)
    x, new_conv = g.convolve(x, past, taps_in, taps_bias, taps)
    dt, b, c = g.split(g.linear(x, x_proj), rank, states, states)
    step = g.add("Softplus", g.add("Add", g.wide(g.linear(dt, dt_proj)), bias))
    new, y = selective(g, state, g.wide(x), step, g.wide(b), g.wide(c), a, skip)
    y = g.narrow(g.add("Mul", y, g.silu(g.wide(z))))
    g.output(g.add("Add", g.linear(y, out_proj), hidden), ["B", "L", width], BF16, "output")
    g.output(new_conv, ["B", inner, taps - 1], BF16, "new_conv")
    g.output(new, ["B", inner, states], name="new_ssm")
    return g


def layer2(width=2560, inner=5120, states=128, count=80, taps=4):
    """Mamba-2 2.7 B: norm, mixer, residual; one group."""
    g = Graph()
    mixed = inner + 2 * states
    hidden, in_proj, out_proj = g.tensors(
        hidden=("B", "L", width), in_proj=(inner + mixed + count, width), out_proj=(width, inner))
    taps_in, taps_bias, past = g.tensors(conv=(mixed, 1, taps), conv_bias=(mixed,),
                                         past_conv=("B", mixed, taps - 1))
    norm, gate_norm, bias, a, skip, state = g.floats(
        norm=(width,), gate_norm=(inner,), dt_bias=(count,), a=(count,), skip=(count, 1),
        past_ssm=("B", count, inner // count, states))
    z, x, dt = g.split(g.linear(g.narrow(g.rms_norm(g.wide(hidden), norm)), in_proj),
                       inner, mixed, count)
    x, new_conv = g.convolve(x, past, taps_in, taps_bias, taps)
    x, b, c = g.split(x, inner, states, states)
    step = g.add("Softplus", g.add("Add", g.wide(dt), bias))
    x = g.wide(g.add("Reshape", x, g.ints(0, 0, count, inner // count)))
    new, y = heads(g, state, step, x, g.wide(b), g.wide(c), a)
    y = g.add("Reshape", g.add("Add", y, g.add("Mul", x, skip)), g.ints(0, 0, inner))
    y = g.narrow(g.rms_norm(g.add("Mul", y, g.silu(g.wide(z))), gate_norm))
    g.output(g.add("Add", g.linear(y, out_proj), hidden), ["B", "L", width], BF16, "output")
    g.output(new_conv, ["B", mixed, taps - 1], BF16, "new_conv")
    g.output(new, ["B", count, inner // count, states], name="new_ssm")
    return g


@dataclasses.dataclass
class Source:
    """How to make a model, by what arguments."""
    make: object
    arguments: tuple = ()


SOURCES = {
    "matmul": Source(matmul),
    **{f"matmul_{n}": Source(matmul, (kind,)) for n, kind in (
        ("f16", "FLOAT16"), ("int8", "INT8"), ("fp8", "FLOAT8E4M3FN"))},
    "elementwise": Source(elementwise),
    **{f"scan{n}": Source(scan, (n,)) for n in (2048, 4096, 5120)},
    "scan4096_first": Source(scan, (4096, True)),
    **{f"conv{n}": Source(conv, (n,)) for n in (4096, 5376, 8192)},
    "plane64": Source(plane, (64,)), "plane256": Source(plane, (256,)),
    "plane64_channels": Source(plane, (64, 64)),
    "update2": Source(update2), "delta": Source(delta),
    "layer1": Source(layer1), "layer2": Source(layer2),
}
