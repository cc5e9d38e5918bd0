# ===- mamba.py - Mamba-1 as one Scan --------------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Mamba-1 blocks whose recurrence is ONNX's Scan, with random weights.

usage: mamba.py block|bidirectional|stack OUT.onnx
"""

import sys

import numpy as np
import onnx
from builder import Builder


def scan_step(a, skip):
    """The body of the scan: h [B, D, N]; dt, u [B, D]; b, c [B, N] of one step ->
    h, y [B, D]. `a` [D, N] and `skip` [D] come from the graph around it."""
    g = Builder("step_")
    h = g.input("step_h", ["batch", "inner", "state"])
    dt, u = (g.input(f"step_{n}", ["batch", "inner"]) for n in ("dt", "u"))
    b, c = (g.input(f"step_{n}", ["batch", "state"]) for n in ("b", "c"))
    last, middle = g.constant(np.array([-1])), g.constant(np.array([1]))
    dt_wide = g.add("Unsqueeze", dt, last)
    decayed = g.add("Mul", g.add("Exp", g.add("Mul", dt_wide, a)), h)
    drive = g.add("Unsqueeze", g.add("Mul", dt, u), last)
    new = g.add("Add", decayed, g.add("Mul", drive, g.add("Unsqueeze", b, middle)))
    read = g.add("ReduceSum", g.add("Mul", new, g.add("Unsqueeze", c, middle)), last, keepdims=0)
    g.output(g.add("Identity", new), ["batch", "inner", "state"])
    g.output(g.add("Add", read, g.add("Mul", u, skip)), ["batch", "inner"])
    return g.graph("step")


def random_weights(rng, width, inner, state, rank, kernel):
    """The weights of a Layer by name; matrices are [in, out]."""
    def random(*shape):
        return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
    weights = {
        "norm": rng.uniform(0.5, 1.5, width).astype(np.float32),
        "in_proj": random(width, 2 * inner),
        "conv": random(kernel, 1, inner).transpose(2, 1, 0).copy(),
        "conv_bias": random(inner),
        "x_proj": random(inner, rank + 2 * state),
        "dt_proj": random(rank, inner),
        "dt_bias": rng.uniform(-4, -1, inner).astype(np.float32),
    }
    a_log = np.log(np.tile(np.arange(1, state + 1, dtype=np.float32), (inner, 1)))
    weights["a_log"] = a_log + rng.uniform(-0.1, 0.1, a_log.shape).astype(np.float32)
    weights["skip"] = random(inner)
    weights["out_proj"] = random(inner, width)
    return weights


def rms_norm(g, hidden, scale):
    """RMSNorm over the last axis, as older opsets write it."""
    mean = g.add("ReduceMean", g.add("Mul", hidden, hidden), g.ints(-1))
    epsilon = g.weight(np.array([1e-5], np.float32))
    return g.add("Mul", g.add("Div", hidden, g.add("Sqrt", g.add("Add", mean, epsilon))), scale)


class Layer:
    """The weights of one layer, and its parts as nodes of a graph."""

    def __init__(self, g, weights):
        """weights: as random_weights makes them."""
        self.g = g
        self.rank = weights["dt_proj"].shape[0]
        self.inner, self.state = weights["a_log"].shape
        self.kernel = weights["conv"].shape[2]
        names = {name: g.weight(array, name) for name, array in weights.items()}
        self.norm_scale = names["norm"]
        self.in_proj, self.out_proj = names["in_proj"], names["out_proj"]
        self.conv, self.conv_bias = names["conv"], names["conv_bias"]
        self.x_proj, self.dt_proj, self.dt_bias = (
            names[n] for n in ("x_proj", "dt_proj", "dt_bias"))
        self.a = g.add("Neg", g.add("Exp", names["a_log"]))
        self.skip = names["skip"]

    def silu(self, x):
        return self.g.add("Mul", x, self.g.add("Sigmoid", x))

    def norm(self, hidden):
        return rms_norm(self.g, hidden, self.norm_scale)

    def project_in(self, hidden):
        """[B, L, width] -> x, gate [B, L, inner]."""
        return self.g.add("Split", self.g.add("MatMul", hidden, self.in_proj), axis=-1,
                          num_outputs=2, count=2)

    def convolve(self, x, past):
        """x [B, L, inner], past [B, inner, kernel - 1] -> silu(conv), new past."""
        g = self.g
        padded = g.add("Concat", past, g.add("Transpose", x, perm=[0, 2, 1]), axis=2)
        y = g.add("Conv", padded, self.conv, self.conv_bias, group=self.inner)
        new = g.add("Slice", padded, g.ints(1 - self.kernel), g.ints(2**63 - 1), g.ints(2))
        return self.silu(g.add("Transpose", y, perm=[0, 2, 1])), new

    def scan(self, x, state, reverse=0):
        """x [B, L, inner], state [B, inner, N] -> new state, y [B, L, inner]."""
        g = self.g
        sizes = g.ints(self.rank, self.state, self.state)
        dt, b, c = g.add("Split", g.add("MatMul", x, self.x_proj), sizes, axis=-1, count=3)
        dt = g.add("Softplus", g.add("Add", g.add("MatMul", dt, self.dt_proj), self.dt_bias))
        return g.add("Scan", state, dt, x, b, c, count=2, num_scan_inputs=4,
                     scan_input_axes=[1] * 4, scan_output_axes=[1],
                     scan_input_directions=[reverse] * 4, scan_output_directions=[reverse],
                     body=scan_step(self.a, self.skip))

    def project_out(self, y, gate):
        return self.g.add("MatMul", self.g.add("Mul", y, self.silu(gate)), self.out_proj)


def block(width=32, inner=64, state=8, rank=4, kernel=4, seed=7):
    """hidden [batch, length, width], past_conv, past_ssm -> output, present_conv,
    present_ssm: a layer that carries its states."""
    g = Builder()
    hidden = g.input("hidden", ["batch", "length", width])
    past_conv = g.input("past_conv", ["batch", inner, kernel - 1])
    past_ssm = g.input("past_ssm", ["batch", inner, state])
    layer = Layer(g, random_weights(np.random.default_rng(seed), width, inner, state, rank,
                                    kernel))
    x, gate = layer.project_in(hidden)
    x, new_conv = layer.convolve(x, past_conv)
    new_ssm, y = layer.scan(x, past_ssm)
    g.output(layer.project_out(y, gate), ["batch", "length", width], name="output")
    g.output(new_conv, ["batch", inner, kernel - 1], name="present_conv")
    g.output(new_ssm, ["batch", inner, state], name="present_ssm")
    return g.model()


def block_inputs(rng, batch, length, width=32, inner=64, state=8, kernel=4):
    """Random inputs of `block`, its states among them."""
    shapes = {"hidden": (length, width), "past_conv": (inner, kernel - 1),
              "past_ssm": (inner, state)}
    return {name: rng.standard_normal((batch, *shape), np.float32)
            for name, shape in shapes.items()}


def stack(layers=4, states=True, width=32, inner=48, state=8, rank=4, kernel=4, seed=9,
          shared=False, odd=None):
    """hidden [batch, length, width] -> output, through `layers` equal layers, each
    after an RMSNorm and beside a residual. With `states`, layer i takes and gives
    conv_state_i and ssm_state_i; else they begin with zeros. With `shared` all have
    the same weights. Layer `odd` differs from the others in one operator."""
    g = Builder()
    hidden = g.input("hidden", ["batch", "length", width])
    sizes = {"conv": [inner, kernel - 1], "ssm": [inner, state]}
    batch = g.add("Shape", hidden, start=0, end=1)

    def begin(kind, index):
        if states:
            return g.input(f"{kind}_state_{index}", ["batch", *sizes[kind]])
        return g.add("Expand", g.weight(np.zeros((1, 1, 1), np.float32)),
                     g.add("Concat", batch, g.ints(*sizes[kind]), axis=0))
    news, rng = {}, np.random.default_rng(seed)
    for index in range(layers):
        if index == 0 or not shared:
            layer = Layer(g, random_weights(rng, width, inner, state, rank, kernel))
        x, gate = layer.project_in(layer.norm(hidden))
        x, news["conv", index] = layer.convolve(x, begin("conv", index))
        news["ssm", index], y = layer.scan(x, begin("ssm", index))
        if index == odd:
            y = g.add("Tanh", y)
        hidden = g.add("Add", hidden, layer.project_out(y, gate))
    g.output(hidden, ["batch", "length", width], name="output")
    for (kind, index), value in news.items() if states else ():
        g.output(value, ["batch", *sizes[kind]], name=f"new_{kind}_state_{index}")
    return g.model()


def bidirectional(width=24, inner=40, state=5, rank=3, kernel=3, seed=8):
    """hidden [batch, length, width] -> output: one scan forward, one backward by
    its directions, and `flipped`: the backward one by Slice with step -1, as
    torch writes it. `output` and `flipped` are equal up to rounding."""
    g = Builder()
    hidden = g.input("hidden", ["batch", "length", width])
    layer = Layer(g, random_weights(np.random.default_rng(seed), width, inner, state, rank,
                                    kernel))
    x, gate = layer.project_in(hidden)
    batch = g.add("Shape", hidden, start=0, end=1)
    zeros = g.add("Expand", g.weight(np.zeros((1, 1, 1), np.float32)),
                  g.add("Concat", batch, g.ints(inner, state), axis=0))

    def flip(value):
        return g.add("Slice", value, g.ints(-1), g.ints(-(2**63)), g.ints(1), g.ints(-1))
    _, forward = layer.scan(x, zeros)
    _, backward = layer.scan(x, zeros, reverse=1)
    _, flipped = layer.scan(flip(x), zeros)
    g.output(layer.project_out(g.add("Add", forward, backward), gate),
             ["batch", "length", width], name="output")
    g.output(layer.project_out(g.add("Add", forward, flip(flipped)), gate),
             ["batch", "length", width], name="flipped")
    return g.model()


MODELS = {"block": block, "bidirectional": bidirectional, "stack": stack}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in MODELS:
        sys.exit(__doc__)
    onnx.save(MODELS[sys.argv[1]](), sys.argv[2])
