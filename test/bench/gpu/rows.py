# ===- rows.py - What is timed on a GPU ------------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The rows of the table: a model, its inputs, peers, and the least work it can be done with."""

import dataclasses
from typing import Callable

import peers
import torch


@dataclasses.dataclass
class Row:
    name: str
    model: str
    inputs: Callable  # -> {name: tensor}, in the order of `peer`'s parameters
    peer: Callable  # None: it would take too long
    outputs: list  # names, in the order in which `peer` gives them
    moved: float = 0  # bytes that must be read and written
    flops: float = 0  # on tensor cores
    exps: float = 0   # and other functions of the special function units
    loop: bool = False  # the peer is a loop over time
    target: float = 0   # ms
    like: dict = None   # output -> input of its shape; None: as the peer's

    def results(self, inputs):
        """-> {output: a tensor of its shape and type}"""
        if self.like:
            return {name: inputs[source] for name, source in self.like.items()}
        return dict(zip(self.outputs, self.peer(**inputs)))


ALL = []


def bf16(*shape, scale=1.0):
    return (torch.randn(shape, device="cuda") * scale).bfloat16()


def f32(*shape, scale=1.0, shift=0.0):
    return torch.randn(shape, device="cuda") * scale + shift


def decays(*shape):
    """A of a recurrence: between -16 and -1."""
    return -torch.rand(shape, device="cuda") * 15 - 1


def product(m, n, k, target=0.0):
    ALL.append(Row(f"matmul {m}x{n}x{k}", "matmul",
                   lambda: {"x": bf16(m, k), "w": bf16(n, k, scale=k ** -0.5)}, peers.matmul, ["y"],
                   moved=2 * (m * k + n * k + m * n), flops=2 * m * n * k, target=target))


def product_of(kind, m, n, k):
    """Of other types than bf16; tensor cores multiply bytes twice as fast."""
    def tensor(*shape):
        if kind == "int8":
            return torch.randint(-128, 128, shape, dtype=torch.int8, device="cuda")
        return f32(*shape, scale=k ** -0.25).to(
            torch.float16 if kind == "f16" else torch.float8_e4m3fn)
    size = 2 if kind == "f16" else 1
    peer = {"f16": peers.matmul, "int8": peers.matmul_int8, "fp8": peers.matmul_fp8}[kind]
    ALL.append(Row(f"matmul {m}x{n}x{k}, {kind}", f"matmul_{kind}",
                   lambda: {"x": tensor(m, k), "w": tensor(n, k)}, peer, ["y"],
                   moved=size * (m * k + n * k) + (4 if kind == "int8" else 2) * m * n,
                   flops=size * m * n * k))


def scan_inputs(b, d, length, n):
    return {"u": bf16(b, length, d), "dt": bf16(b, length, d), "z": bf16(b, length, d),
            "b": bf16(b, length, n), "c": bf16(b, length, n), "a": decays(d, n), "skip": f32(d),
            "bias": f32(d, scale=0.5, shift=-4.0), "state": f32(b, d, n)}


def scan(b, d, length, n, target, with_peer, is_first=False):
    points = b * d * length

    def inputs():
        given = scan_inputs(b, d, length, n)
        return given | {name: given[name].mT.contiguous() for name in ("u", "dt", "z") if is_first}
    ALL.append(Row(f"scan {b}x{d}x{length}, {n} states" + ", time innermost" * is_first,
                   f"scan{d}" + "_first" * is_first, inputs, peers.scan if with_peer else None,
                   ["y", "new_state"], moved=8 * points, exps=points * (n + 4), loop=True,
                   target=target, like={"y": "u", "new_state": "state"}))


def conv(b, d, length, target):
    ALL.append(Row(f"conv {b}x{d}x{length}", f"conv{d}", lambda: {
        "x": bf16(b, d, length), "weight": bf16(d, 1, 4, scale=0.5), "bias": bf16(d)},
        peers.conv, ["y"], moved=4 * b * d * length, target=target))


def plane(b, d, side, group=1):
    points = b * d * side * side
    ALL.append(Row(f"conv 3x3, {b}x{d}x{side}x{side}" + (", single channels" if group > 1 else ""),
                   f"plane{d}" + ("_channels" if group > 1 else ""), lambda: {
        "x": bf16(b, d, side, side), "weight": bf16(d, d // group, 3, 3, scale=0.1),
        "bias": bf16(d)}, peers.plane, ["y"], moved=4 * points,
        flops=18 * points * d if group == 1 else 0))


def update1(b, target):
    d, n = 5120, 16
    ALL.append(Row(f"Mamba-1 state, batch {b}", f"scan{d}", lambda: scan_inputs(b, d, 1, n),
                   peers.scan, ["y", "new_state"],
                   moved=8 * b * d * n + 4 * d * n + 8 * b * d, target=target))


def update2(b, target):
    h, p, n = 80, 64, 128
    ALL.append(Row(f"Mamba-2 state, batch {b}", "update2", lambda: {
        "x": bf16(b, 1, h, p), "dt": bf16(b, 1, h), "b": bf16(b, 1, n), "c": bf16(b, 1, n),
        "a": decays(h), "skip": f32(h, 1), "bias": f32(h, scale=0.5, shift=-4.0),
        "state": f32(b, h, p, n)}, peers.update2, ["y", "new_state"],
        moved=8 * b * h * p * n, target=target))


def delta(b, target):
    h, n = 32, 128
    ALL.append(Row(f"gated delta rule state, batch {b}", "delta", lambda: {
        **{name: bf16(b, 1, h, n, scale=n ** -0.5) for name in ("q", "k", "v")},
        "gate": -torch.rand((b, 1, h), device="cuda"), "beta": torch.rand((b, 1, h), device="cuda"),
        "state": f32(b, h, n, n)}, peers.delta, ["y", "new_state"],
        moved=8 * b * h * n * n, target=target))


def layer1(b, length, target):
    width, inner, n, rank = 2560, 5120, 16, 160
    weights = 2 * (3 * width * inner + inner * (2 * rank + 2 * n))
    points = b * length * inner

    def inputs():
        return {
            "hidden": bf16(b, length, width), "in_proj": bf16(2 * inner, width, scale=width ** -0.5),
            "x_proj": bf16(rank + 2 * n, inner, scale=inner ** -0.5),
            "dt_proj": bf16(inner, rank, scale=rank ** -0.5),
            "out_proj": bf16(width, inner, scale=inner ** -0.5),
            "conv": bf16(inner, 1, 4, scale=0.5), "conv_bias": bf16(inner),
            "past_conv": bf16(b, inner, 3), "norm": 1 + f32(width, scale=0.1),
            "dt_bias": f32(inner, scale=0.5, shift=-4.0), "a": decays(inner, n),
            "skip": f32(inner), "past_ssm": f32(b, inner, n)}
    ALL.append(Row(f"Mamba-1 2.8 B layer, {b}x{length}", "layer1", inputs, peers.layer1,
                   ["output", "new_conv", "new_ssm"], moved=weights + 4 * b * length * width +
                   8 * b * inner * n + 12 * b * inner, flops=weights * b * length,
                   exps=points * (n + 6) if length > 1 else 0, loop=length > 1, target=target))


def layer2(b, length, target):
    width, inner, n, heads = 2560, 5120, 128, 80
    mixed = inner + 2 * n
    weights = 2 * width * (2 * inner + mixed + heads)

    def inputs():
        return {
            "hidden": bf16(b, length, width),
            "in_proj": bf16(inner + mixed + heads, width, scale=width ** -0.5),
            "out_proj": bf16(width, inner, scale=inner ** -0.5),
            "conv": bf16(mixed, 1, 4, scale=0.5), "conv_bias": bf16(mixed),
            "past_conv": bf16(b, mixed, 3), "norm": 1 + f32(width, scale=0.1),
            "gate_norm": 1 + f32(inner, scale=0.1), "dt_bias": f32(heads, scale=0.5, shift=-4.0),
            "a": decays(heads), "skip": f32(heads, 1), "past_ssm": f32(b, heads, 64, n)}
    # 4 * n * inner a step: the chunked form's least products.
    ALL.append(Row(f"Mamba-2 2.7 B layer, {b}x{length}", "layer2", inputs, peers.layer2,
                   ["output", "new_conv", "new_ssm"], moved=weights + 4 * b * length * width +
                   8 * b * inner * n + 12 * b * mixed,
                   flops=(weights + 4 * n * inner) * b * length, target=target))


product(8192, 8192, 8192)
product(4096, 10496, 2560, 0.281)
product(4096, 10576, 2560)
product(4096, 2560, 5120)
product(2048, 2048, 2048)
for rows in (1, 16, 64):
    product(rows, 10576, 2560, 0.0197 if rows == 1 else 0)
    product(rows, 2560, 5120)
product(1, 8192, 8192, 0.0488)
product(1, 28672, 4096)
for kind in ("f16", "int8", "fp8"):
    product_of(kind, 8192, 8192, 8192)
    product_of(kind, 4096, 10496, 2560)
ALL.append(Row("SiLU of 268 M", "elementwise", lambda: {"x": bf16(1 << 28)}, peers.elementwise,
               ["y"], moved=4 << 28))
scan(8, 2048, 2048, 16, 0.20, True)
scan(1, 4096, 8192, 16, 0.24, False)
scan(1, 4096, 8192, 16, 0.24, False, is_first=True)
scan(1, 5120, 65536, 16, 2.2, False)
scan(64, 2048, 512, 16, 0.46, True)
scan(1, 5120, 4096, 16, 0.16, False)
conv(8, 4096, 2048, 0.094)
conv(1, 8192, 32768, 0.37)
conv(1, 5376, 4096, 0)
plane(64, 64, 56)
plane(8, 256, 28)
plane(64, 64, 112, group=64)
for batch, wanted in ((1, 0.0018), (8, 0), (64, 0.0158), (256, 0.062)):
    update1(batch, wanted)
for batch, wanted in ((1, 0), (8, 0), (64, 0.118), (256, 0.475)):
    update2(batch, wanted)
for batch, wanted in ((1, 0), (16, 0), (64, 0.095), (256, 0.38)):
    delta(batch, wanted)
layer1(1, 4096, 0.66)
layer2(1, 4096, 0.55)
for batch, wanted in ((1, 0.034), (16, 0.038), (64, 0.051), (256, 0.105)):
    layer1(batch, 1, wanted)
for batch, wanted in ((1, 0.034), (16, 0.062), (64, 0.152), (256, 0.52)):
    layer2(batch, 1, wanted)
