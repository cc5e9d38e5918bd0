# ===- test_kernels_window.py - Convolutions read images where they lie ----===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Convolutions of any kernel, stride, dilation and padding, whose channels do not mix
or of few features, against NumPy in double precision."""

import dataclasses
import sys

import numpy as np
import onnx
import pytest
from onnx import helper
from ssmtest import build, compare, compiler, runtime
from ssmtest.case import bf16, f16, f32, generator

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402


@dataclasses.dataclass
class Conv:
    """channels, features a channel (or of a group), and by spatial axis the rest."""

    channels: int
    features: int
    kernel: tuple
    strides: tuple = None
    dilations: tuple = None
    pads: tuple = None  # begins, ends
    inner: int = 1      # channels of a group
    dtype: type = f32

    def __post_init__(self):
        ones = (1,) * len(self.kernel)
        self.strides = self.strides or ones
        self.dilations = self.dilations or ones
        self.pads = self.pads or (0,) * (2 * len(self.kernel))
        self.group = self.channels // self.inner

    def weights(self, rng):
        return (rng.uniform(-1, 1, (self.group * self.features, self.inner, *self.kernel))
                .astype(self.dtype),
                rng.uniform(-1, 1, self.group * self.features).astype(self.dtype))

    def sizes(self, image):
        """Of the outputs, by spatial axis."""
        rank = len(self.kernel)
        return [(n + self.pads[i] + self.pads[rank + i]
                 - (self.kernel[i] - 1) * self.dilations[i] - 1) // self.strides[i] + 1
                for i, n in enumerate(image)]

    def run(self, x, weight, bias, residual=None):
        rank = len(self.kernel)
        x, weight = x.astype(np.float64), weight.astype(np.float64)
        out = self.sizes(x.shape[2:])
        x = np.pad(x, [(0, 0), (0, 0), *zip(self.pads[:rank], self.pads[rank:])])
        batch = len(x)
        x = x.reshape(batch, self.group, self.inner, *x.shape[2:])
        weight = weight.reshape(self.group, self.features, self.inner, *self.kernel)
        y = np.zeros((batch, self.group, self.features, *out))
        for tap in np.ndindex(*self.kernel):
            part = x[(..., *[slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in
                             zip(tap, self.dilations, out, self.strides)])]
            y += np.einsum("bgi...,gfi->bgf...", part, weight[(..., *tap)])
        y = y.reshape(batch, self.group * self.features, *out)
        y += bias.astype(np.float64).reshape(-1, *[1] * rank)
        return y if residual is None else np.maximum(y + residual, 0)

    def model(self, weights, image=None, residual=False):
        """image: the spatial sizes if the file fixes them."""
        g, rank = Builder(), len(self.kernel)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        dims = list(image) if image else [f"size_{i}" for i in range(rank)]
        x = g.input("x", ["batch", self.channels, *dims], kind)
        weight, bias = weights
        y = g.add("Conv", x, g.weight(weight), g.weight(bias), group=self.group,
                  strides=self.strides, dilations=self.dilations, pads=self.pads)
        out = self.sizes(image) if image else [f"out_{i}" for i in range(rank)]
        shape = ["batch", self.group * self.features, *out]
        if residual:
            y = g.add("Relu", g.add("Add", y, g.input("residual", shape, kind)))
        g.output(y, shape, kind, name="y")
        return g.model()


def tile_stage(model, tmp_path, *options):
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path))
    done = compiler.run_compiler([path, "--emit=tile", "-o", tmp_path / "tile.mlir", *options])
    assert done.returncode == 0, done.stderr
    return (tmp_path / "tile.mlir").read_text()


def check(module, conv, weights, rng, batch, image, residual=False):
    given = {"x": rng.uniform(-1, 1, (batch, conv.channels, *image)).astype(conv.dtype)}
    if residual:
        shape = (batch, conv.group * conv.features, *conv.sizes(image))
        given["residual"] = rng.uniform(-1, 1, shape).astype(conv.dtype)
    want = conv.run(given["x"], *weights, given["residual"].astype(np.float64) if residual
                    else None)
    got = module.session(threads=int(rng.integers(1, 3))).run(given)["y"]
    # Relative to 1 where all is smaller: what cancels is as exact as what it is the difference of.
    largest = np.abs(want).max(initial=0)
    bound = compare.BOUNDS[np.dtype(conv.dtype)] * max(1, 1 / largest if largest > 0 else 1)
    compare.check_close("y", got, want, np.dtype(conv.dtype), bound)


# name -> (convolution, sizes of images)
IMAGES = [(1, 1), (7, 7), (3, 33), (16, 16), (20, 70), (70, 18), (5, 130)]
FIXED = {
    "3x3": Conv(5, 1, (3, 3), pads=(1, 1, 1, 1)),
    "3x3 stride 2": Conv(5, 1, (3, 3), (2, 2), pads=(1, 1, 1, 1)),
    "5x5 dilated": Conv(3, 1, (5, 5), None, (2, 3), (4, 6, 4, 6)),
    "7x7": Conv(2, 1, (7, 7), pads=(3, 3, 3, 3)),
    "1x7": Conv(4, 1, (1, 7), pads=(0, 3, 0, 3)),
    "7x1": Conv(4, 1, (7, 1), pads=(3, 0, 3, 0)),
    "1x1 padded": Conv(4, 1, (1, 1), (2, 2), pads=(1, 1, 1, 1)),
    "stride 3, 4": Conv(3, 1, (4, 5), (3, 4), pads=(2, 1, 0, 3)),
    "one side": Conv(3, 1, (3, 3), pads=(0, 2, 2, 0)),
    "all padding": Conv(2, 1, (2, 2), (2, 2), pads=(5, 5, 5, 5)),
    "multiplier": Conv(3, 4, (3, 3), pads=(1, 1, 1, 1)),
    "groups": Conv(6, 2, (3, 3), (1, 2), pads=(1, 1, 1, 1), inner=3),
    "no padding": Conv(4, 1, (1, 1), (2, 2)),
    "f16": Conv(3, 1, (3, 3), (1, 2), pads=(1, 1, 1, 1), dtype=f16),
    "bf16": Conv(3, 1, (3, 3), pads=(1, 1, 1, 1), dtype=bf16),
}


WAYS = [(name, []) for name in FIXED] + [
    (name, [f"--cpu=x86-64-{version}"]) for version in ("v2", "v3")
    for name in ("3x3 stride 2", "5x5 dilated", "stride 3, 4", "groups", "f16", "bf16")]


@pytest.mark.parametrize("name,options", WAYS, ids=lambda part: part if isinstance(part, str)
                         else " ".join(part) or "native")
def test_images(name, options, tmp_path):
    conv = FIXED[name]
    rng = generator(f"window {name} {options}")
    weights = conv.weights(rng)
    model = conv.model(weights, residual=True)
    # The window has a form of its own, and the padded copy is gone. One element is no window, and
    # an image whose channels are cut into groups is another one.
    text = tile_stage(model, tmp_path, *options)
    assert ("<window" in text) == (conv.kernel != (1, 1))
    if conv.inner == 1 and conv.kernel != (1, 1):
        assert "insert_slice" not in text and "linalg.fill" not in text
        assert (" padded " in text) == any(conv.pads)
    module = runtime.Module(compiler.compile_model(model, options))
    for image in IMAGES:
        if min(conv.sizes(image)) > 0:
            check(module, conv, weights, rng, int(rng.integers(0, 4)), image, residual=True)


def draw(rng):
    """A random convolution and images that it takes."""
    rank = int(rng.choice([1, 2, 2, 2, 3]))
    inner = int(rng.choice([1, 1, 1, 2, 3]))
    kernel = tuple(int(k) for k in rng.integers(1, 8 if rank < 3 else 4, rank))
    conv = Conv(inner * int(rng.integers(1, 5)), int(rng.integers(1, 4)), kernel,
                tuple(int(s) for s in rng.choice([1, 1, 2, 3, 4, 5], rank)),
                tuple(int(d) for d in rng.choice([1, 1, 2, 3], rank)),
                tuple(int(p) for p in rng.choice([0, 1, 2, 3, 9], 2 * rank)), inner,
                rng.choice([f32, f32, f32, f16, bf16]))
    images = []
    while len(images) < 3:
        image = tuple(int(n) for n in rng.integers(1, (300, 40, 12)[rank - 1] + 1, rank))
        if min(conv.sizes(image)) > 0:
            images.append(image)
    return conv, images


@pytest.mark.parametrize("number", range(24))
def test_random(number):
    rng = generator(f"window random {number}")
    conv, images = draw(rng)
    weights, residual = conv.weights(rng), bool(rng.integers(2))
    options = [[], ["--cpu=x86-64-v3"], ["--cpu=x86-64-v2"]][rng.integers(3)]
    module = runtime.Module(compiler.compile_model(conv.model(weights, residual=residual), options))
    for image in images:
        check(module, conv, weights, rng, 2, image, residual)
    fixed = conv.model(weights, images[0], residual)
    module = runtime.Module(compiler.compile_model(fixed, options))
    check(module, conv, weights, rng, 2, images[0], residual)


def test_plain_loops():
    """A padded kernel that no form takes is loops that mean the same."""
    conv = Conv(3, 1, (3, 3), (2, 1), pads=(1, 1, 1, 1))
    rng = generator("window loops")
    weights = conv.weights(rng)
    module = runtime.Module(compiler.compile_model(conv.model(weights),
                                                   ["--optimize-through=tile"]))
    check(module, conv, weights, rng, 2, (9, 20))
