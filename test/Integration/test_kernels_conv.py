# ===- test_kernels_conv.py - Causal convolutions in every spelling --------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Depthwise convolutions against NumPy in double precision: causal ones in all the
ways that exporters write them, which become recurrences, and others, which do not."""

import sys

import numpy as np
import onnx
import pytest
from onnx import helper
from ssmtest import build, compare, compiler, runtime
from ssmtest.case import bf16, f16, f32, generator

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402

LEVELS = ["-O0", "-O3"]
END = 2**63 - 1
SIZES = [(1, 1), (2, 7), (3, 2), (1, 65), (2, 0), (0, 3), (1, 8), (1, 33)]


class Spelling:
    """build(g, x, past, taps, conv) -> (y, window or None); conv(value, **attributes)
    adds the Conv with its weights."""

    def __init__(self, build_, past=False, layout="BDL", raised=True, shift=0, step=1):
        self.build, self.past, self.layout = build_, past, layout
        self.raised, self.shift, self.step = raised, shift, step


def one_sided(g, x, _, taps, conv):
    return conv(x, pads=[taps - 1, 0]), None


def two_sided(g, x, _, taps, conv):
    """As torch writes it: padded at both ends, then the end cut off."""
    y = conv(x, pads=[taps - 1, taps - 1])
    if taps == 1:
        return y, None
    return g.add("Slice", y, g.ints(0), g.ints(1 - taps), g.ints(2)), None


def cut_to_length(g, x, _, taps, conv):
    """The same, cut to the length that the input has."""
    y = conv(x, pads=[taps - 1, taps - 1])
    length = g.add("Shape", x, start=2, end=3)
    return g.add("Slice", y, g.ints(0), length, g.ints(2)), None


def padded(g, x, _, taps, conv):
    return conv(g.add("Pad", x, g.ints(0, 0, taps - 1, 0, 0, 0))), None


def concat(g, x, past, taps, conv):
    whole = g.add("Concat", past, x, axis=2)
    return conv(whole), None


def concat_window(g, x, past, taps, conv):
    whole = g.add("Concat", past, x, axis=2)
    if taps == 1:
        return conv(whole), past
    return conv(whole), g.add("Slice", whole, g.ints(1 - taps), g.ints(END), g.ints(2))


def zeros_concat(g, x, _, taps, conv):
    batch = g.add("Shape", x, start=0, end=2)
    zeros = g.add("ConstantOfShape", g.add("Concat", batch, g.ints(taps - 1), axis=0))
    return conv(g.add("Concat", zeros, x, axis=2)), None


def transposed(g, x, _, taps, conv):
    y = conv(g.add("Transpose", x, perm=[0, 2, 1]), pads=[taps - 1, taps - 1])
    if taps > 1:
        y = g.add("Slice", y, g.ints(0), g.ints(1 - taps), g.ints(2))
    return g.add("Transpose", y, perm=[0, 2, 1]), None


def centred(g, x, _, taps, conv):
    return conv(x, pads=[taps // 2, taps - 1 - taps // 2]), None


def looking_ahead(g, x, _, taps, conv):
    return conv(x, pads=[0, taps - 1]), None


def dilated(g, x, _, taps, conv):
    return conv(x, pads=[3 * (taps - 1), 0], dilations=[3]), None


SPELLINGS = {
    "one-sided": Spelling(one_sided), "two-sided": Spelling(two_sided),
    "cut-to-length": Spelling(cut_to_length), "padded": Spelling(padded),
    "concat": Spelling(concat, True), "concat-window": Spelling(concat_window, True),
    "zeros-concat": Spelling(zeros_concat), "transposed": Spelling(transposed, layout="BLD"),
    "centred": Spelling(centred, raised=False, shift="centre"),
    "looking-ahead": Spelling(looking_ahead, raised=False, shift="all"),
    "dilated": Spelling(dilated, raised=False, step=3),
}


class Model:
    """A convolution of `channels` channels with `taps` taps in one spelling. turned:
    the model's own sequences have channels last, the convolution's are turned."""

    def __init__(self, spelling, taps, channels, rng, bias=True, silu=False, dtype=f32,
                 turned=False):
        self.spelling, self.taps, self.channels = SPELLINGS[spelling], taps, channels
        self.layout = "BLD" if turned else self.spelling.layout
        turn = turned and self.spelling.layout == "BDL"
        self.silu, self.dtype = silu, dtype
        self.weight = rng.uniform(-1, 1, (channels, 1, taps)).astype(dtype)
        self.bias = rng.uniform(-1, 1, channels).astype(dtype) if bias else None
        g = Builder()
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        names = {"B": "batch", "D": channels, "L": "length"}
        dims = [names[d] for d in self.layout]
        x = g.input("x", dims, kind)
        past = g.input("past", ["batch", channels, taps - 1], kind) if self.spelling.past else None
        constants = [g.weight(self.weight)] + ([g.weight(self.bias)] if bias else [])

        def conv(value, **attributes):
            return g.add("Conv", value, *constants, group=channels, **attributes)
        if turn:
            x = g.add("Transpose", x, perm=[0, 2, 1])
        y, window = self.spelling.build(g, x, past, taps, conv)
        if silu:
            y = g.add("Mul", y, g.add("Sigmoid", y))
        if turn:
            y = g.add("Transpose", y, perm=[0, 2, 1])
        g.output(y, dims, kind, name="y")
        if window:
            g.output(window, ["batch", channels, taps - 1], kind, name="window")
        self.proto = g.model()

    def draw(self, rng, batch, length):
        sizes = {"B": batch, "D": self.channels, "L": length}
        given = {"x": rng.uniform(-1, 1, [sizes[d] for d in self.layout])
                      .astype(self.dtype)}
        if self.spelling.past:
            given["past"] = rng.uniform(-1, 1, (batch, self.channels, self.taps - 1)) \
                .astype(self.dtype)
        return given

    def run(self, given):
        x = given["x"].astype(np.float64)
        if self.layout == "BLD":
            x = x.transpose(0, 2, 1)
        step = self.spelling.step
        ahead = {0: 0, "centre": self.taps - 1 - self.taps // 2, "all": self.taps - 1}
        ahead = ahead[self.spelling.shift]
        past = given["past"].astype(np.float64) if self.spelling.past else \
            np.zeros((x.shape[0], self.channels, (self.taps - 1) * step - ahead))
        whole = np.concatenate([past, x, np.zeros((*x.shape[:2], ahead))], 2)
        y, weight = np.zeros(x.shape), self.weight.astype(np.float64)
        for tap in range(self.taps):
            y += whole[:, :, tap * step:tap * step + x.shape[2]] * weight[:, 0, tap, None]
        if self.bias is not None:
            y += self.bias.astype(np.float64)[:, None]
        if self.silu:
            y = y / (1 + np.exp(-y))
        window = whole[:, :, whole.shape[2] - self.taps + 1:]
        return {"y": y.transpose(0, 2, 1) if self.layout == "BLD" else y,
                "window": window}

    def check(self, session, rng, bound=None):
        for batch, length in SIZES:
            given = self.draw(rng, batch, length)
            got, want = session.run(given), self.run(given)
            for name, value in got.items():
                compare.check_close(f"{name} of {batch} x {length}", value, want[name],
                                    np.dtype(self.dtype), bound)


def load(model, level="-O3"):
    return runtime.Module(compiler.compile_model(model.proto, [level])).session()


def count_recurrences(model, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(model.proto, str(path))
    done = compiler.run_compiler([path, "--emit=tile", "-o", tmp_path / "tile.mlir"])
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "tile.mlir").read_text().splitlines()
    return sum("ssm.kernel" in line and " time " in line for line in lines)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_raised(spelling, tmp_path):
    """Where channels are innermost; else sums over a window are faster."""
    turned = Model(spelling, 4, 24, generator(spelling), silu=True, turned=True)
    assert count_recurrences(turned, tmp_path) == int(SPELLINGS[spelling].raised)
    if SPELLINGS[spelling].layout == "BDL":
        model = Model(spelling, 4, 24, generator(spelling), silu=True)
        assert count_recurrences(model, tmp_path) == 0


@pytest.mark.parametrize("spelling", ["one-sided", "concat-window", "centred", "dilated"])
def test_sequence_is_not_turned(spelling, tmp_path):
    """A sequence with channels innermost is padded and read as it is: no kernel has an
    out with time innermost."""
    model = Model(spelling, 9, 24, generator(spelling), silu=True, turned=True)
    path = tmp_path / "model.onnx"
    onnx.save(model.proto, str(path))
    done = compiler.run_compiler([path, "--emit=tile", "-o", tmp_path / "tile.mlir"])
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "tile.mlir").read_text()
    made = [line.split("->")[-1] for line in text.splitlines() if line.strip().startswith("} ->")]
    assert any("tensor<?x?x24xf32>" in types for types in made)
    assert not any("tensor<?x24x?xf32>" in types for types in made)


@pytest.mark.parametrize("turned", [False, True], ids=["as-is", "turned"])
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5, 8, 9, 16])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_values(spelling, taps, turned):
    rng = generator(f"conv {spelling} {taps} {turned}")
    model = Model(spelling, taps, [1, 3, 16, 17, 40][taps % 5], rng, bias=taps % 2 == 0,
                  silu=taps % 3 == 0, turned=turned)
    model.check(load(model), rng)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_values_without_optimisation(spelling):
    rng = generator(f"conv {spelling} O0")
    model = Model(spelling, 4, 17, rng, silu=True)
    model.check(load(model, "-O0"), rng)


@pytest.mark.parametrize("options", ["-O3", "--cpu=v3", "--cpu=v2"])
@pytest.mark.parametrize("dtype", [f32, f16, bf16], ids=["f32", "f16", "bf16"])
@pytest.mark.parametrize("spelling", ["one-sided", "concat-window", "transposed"])
def test_types(spelling, dtype, options):
    rng = generator(f"conv {spelling} {np.dtype(dtype)}")
    for turned in (False, True):
        model = Model(spelling, 4, 17, rng, silu=True, dtype=dtype, turned=turned)
        model.check(load(model, options), rng)
