# ===- test_step_layers.py - Steps of whole layers, weights as inputs -------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The Mamba-1 layer of test/bench/gpu in small, all of whose weights are inputs, against NumPy in
float64: norm, products of few rows, convolution, step of the state, one behind the other. On a GPU
kernels read what is an input of the run before those in front of them are done."""

import sys

import numpy as np
import pytest
from ssmtest import build, compiler, runtime
from ssmtest.case import bf16, f32, generator

sys.path.insert(0, str(build.ROOT / "test" / "bench" / "gpu"))
import models  # noqa: E402

# What bf16 between the kernels may do, of the largest value.
BOUND = 3e-2
STATES, TAPS = 16, 4
# Width, inner width, rank; batches and lengths. The first has long sums for few columns, the second
# odd sizes and up to 65 rows, the third rows that a block normalises.
LAYERS = {
    "long": (64, 1352, 40, [(1, 1), (3, 1), (8, 1), (2, 3)]),
    "odd": (72, 136, 24, [(1, 1), (5, 1), (13, 1), (16, 1), (40, 1), (65, 1), (0, 1), (2, 7)]),
    "wide": (1048, 40, 8, [(1, 1), (3, 1), (0, 1), (5, 2)]),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(x, length):
    """{name: float64} -> output, new_conv, new_ssm."""
    hidden = x["hidden"]
    inner, rank = x["dt_proj"].shape
    norm = hidden / np.sqrt((hidden**2).mean(-1, keepdims=True) + 1e-5) * x["norm"]
    u, z = np.split(norm @ x["in_proj"].T, 2, -1)
    padded = np.concatenate([x["past_conv"], u.transpose(0, 2, 1)], 2)
    u = sum(padded[..., i:i + length] * x["conv"][:, 0, i, None] for i in range(TAPS))
    u = (u + x["conv_bias"][:, None]).transpose(0, 2, 1)
    u = u * sigmoid(u)
    dt, b, c = np.split(u @ x["x_proj"].T, [rank, rank + STATES], -1)
    dt = np.logaddexp(0, dt @ x["dt_proj"].T + x["dt_bias"])
    state, ys = x["past_ssm"], []
    for t in range(length):
        state = np.exp(dt[:, t, :, None] * x["a"]) * state + \
            (dt[:, t] * u[:, t])[..., None] * b[:, t, None]
        ys.append((state * c[:, t, None]).sum(-1))
    y = (np.stack(ys, 1) + u * x["skip"]) * z * sigmoid(z)
    return y @ x["out_proj"].T + hidden, padded[..., length:], state


def draw(rng, width, inner, rank, batch, length):
    def normal(*shape, scale=1.0, dtype=bf16):
        return (rng.standard_normal(shape) * scale).astype(dtype)
    return {
        "hidden": normal(batch, length, width), "in_proj": normal(2 * inner, width, scale=width**-0.5),
        "x_proj": normal(rank + 2 * STATES, inner, scale=inner**-0.5),
        "dt_proj": normal(inner, rank, scale=rank**-0.5),
        "out_proj": normal(width, inner, scale=inner**-0.5),
        "conv": normal(inner, 1, TAPS, scale=0.5), "conv_bias": normal(inner),
        "past_conv": normal(batch, inner, TAPS - 1), "norm": 1 + normal(width, scale=0.1, dtype=f32),
        "dt_bias": normal(inner, scale=0.5, dtype=f32) - 2,
        "a": -rng.uniform(1, 16, (inner, STATES)).astype(f32), "skip": normal(inner, dtype=f32),
        "past_ssm": normal(batch, inner, STATES, dtype=f32)}


@pytest.mark.parametrize("name", LAYERS)
def test_step_layer(name):
    width, inner, rank, sizes = LAYERS[name]
    model = models.layer1(width, inner, STATES, rank, TAPS).model(models.OPSET)
    session = runtime.Module(compiler.compile_model(model)).session()
    rng = generator(f"step layer {name}")
    for batch, length in sizes:
        inputs = draw(rng, width, inner, rank, batch, length)
        wanted = reference({k: v.astype(np.float64) for k, v in inputs.items()}, length)
        for _ in range(2):  # the second run may be a recording
            got = session.run(inputs)
            for output, want in zip(("output", "new_conv", "new_ssm"), wanted):
                value = got[output].astype(np.float64)
                assert value.shape == want.shape, (output, batch, length)
                if want.size:
                    gap = np.abs(value - want).max() / np.abs(want).max()
                    assert gap <= BOUND, (output, batch, length, gap)
