# ===- test_layers.py - Equal layers are compiled once ---------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Models of many equal layers: right whatever is merged, and compiled in the time and
to the code size of few layers."""

import resource
import struct
import sys

import numpy as np
import onnxruntime
import pytest
from ssmtest import build, compare, compiler, runtime
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
import mamba  # noqa: E402
from builder import Builder  # noqa: E402


def check(model, name, options=(), bound=1e-4):
    """Compares with ONNX Runtime, on several sizes by one module."""
    session = runtime.Module(compiler.compile_model(model, options)).session()
    peer = onnxruntime.InferenceSession(model.SerializeToString(),
                                        providers=["CPUExecutionProvider"])
    rng = generator(name)
    for batch, length in ((1, 1), (3, 2), (2, 7), (1, 33)):
        sizes = {"batch": batch, "length": length}
        inputs = {i.name: rng.standard_normal([sizes.get(d, d) for d in i.shape], f32)
                  for i in peer.get_inputs()}
        got = session.run(inputs)
        for output, wanted in zip(peer.get_outputs(), peer.run(None, inputs)):
            compare.check_close(f"{output.name} of {name}, {sizes}", got[output.name], wanted,
                                np.dtype(f32), bound)


def count_calls(tmp_path, model):
    """Calls of repeated functions after the tensor stage, and those functions."""
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    done = compiler.run_compiler([path, "--emit=tensor"])
    assert done.returncode == 0, done.stderr
    return done.stdout.count(" call @repeated"), done.stdout.count("func.func private @repeated")


@pytest.mark.parametrize("states", [True, False])
@pytest.mark.parametrize("layers", [1, 2, 3, 6])
def test_few_layers(layers, states, tmp_path):
    model = mamba.stack(layers, states)
    check(model, f"layers#{layers}#{states}")
    calls = layers if layers > 1 else 0
    assert count_calls(tmp_path, model) == (calls, min(calls, 1))


@pytest.mark.parametrize("states", [True, False])
def test_64_layers(states):
    check(mamba.stack(64, states), f"layers#64#{states}", bound=1e-3)


def test_plain_equals_outlined():
    check(mamba.stack(3), "layers#plain", ["-O0"])


def test_shared_weights(tmp_path):
    model = mamba.stack(5, shared=True)
    check(model, "layers#shared")
    # What follows from the weights stands in the first layer alone.
    assert count_calls(tmp_path, model) == (4, 1)


@pytest.mark.parametrize("odd", [0, 2, 5])
def test_odd_layer_is_not_merged(odd, tmp_path):
    model = mamba.stack(6, odd=odd)
    check(model, f"layers#odd#{odd}")
    # An operator between the others: what stands before it or after it may still be
    # equal, but the layer itself is not called.
    assert count_calls(tmp_path, model) == (5, 1)


def test_two_runs_of_equal_layers(tmp_path):
    model = mamba.stack(7, odd=3)
    check(model, "layers#runs")
    assert count_calls(tmp_path, model) == (6, 1)


def chain(count):
    g = Builder()
    rng = np.random.default_rng(3)
    value = g.input("x", ["rows", 24])
    for _ in range(count):
        w = g.weight((rng.standard_normal((24, 24)) / 5).astype(f32))
        value = g.add("Softplus", g.add("MatMul", value, w))
    g.output(value, ["rows", 24], name="y")
    return g.model()


def test_chain_is_right():
    model = chain(40)
    session = runtime.Module(compiler.compile_model(model)).session()
    x = generator("chain").standard_normal((5, 24), f32)
    peer = onnxruntime.InferenceSession(model.SerializeToString(),
                                        providers=["CPUExecutionProvider"])
    compare.check_close("y", session.run({"x": x})["y"], peer.run(None, {"x": x})[0],
                        np.dtype(f32), 1e-4)


def unrolled(steps, channels=24, axis=1, spare=False):
    """A recurrence whose steps stand one behind the other, as exporters that trace a loop write
    them: its outs are put side by side in the end. spare: some outs are used elsewhere too."""
    g = Builder()
    h, x = g.input("h", ["batch", channels]), g.input("x", ["batch", steps, channels])
    w, outs = g.weight(np.linspace(-1, 1, channels, dtype=f32)), []
    for step in range(steps):
        now = g.add("Gather", x, g.weight(np.array(step)), axis=1)
        h = g.add("Add", g.add("Mul", g.add("Sigmoid", g.add("Mul", now, w)), h), now)
        outs.append(g.add("Unsqueeze", g.add("Tanh", h), g.ints(axis)))
    if spare:
        outs[3] = outs[2]
        g.output(outs[5], [None] * 3, name="one")
        outs[7] = g.add("Concat", x, x, axis=1) if axis == 1 else outs[7]
    g.output(g.add("Concat", *outs, axis=axis), [None] * 3, name="y")
    g.output(h, ["batch", channels], name="last")
    return g.model()


@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("steps,axis,spare", [(15, 1, False), (16, 1, False), (40, 1, True),
                                              (23, 0, True), (33, 2, False)])
def test_unrolled_loop(steps, axis, spare, level):
    model = unrolled(steps, 5, axis, spare)
    session = runtime.Module(compiler.compile_model(model, [level])).session()
    peer = onnxruntime.InferenceSession(model.SerializeToString(),
                                        providers=["CPUExecutionProvider"])
    rng = generator(f"unrolled#{steps}#{axis}#{spare}#{level}")
    for batch in (1, 3, 0):
        inputs = {"h": rng.standard_normal((batch, 5), f32),
                  "x": rng.standard_normal((batch, steps, 5), f32)}
        got = session.run(inputs)
        for output, wanted in zip(peer.get_outputs(), peer.run(None, inputs)):
            compare.check_close(output.name, got[output.name], wanted, np.dtype(f32), 1e-5)


# ===----------------------------------------------------------------------===#
# Time and size
# ===----------------------------------------------------------------------===#

class Compiled:
    """Compiles a model several times: the least processor time, for other work on
    the machine disturbs that little, and the module."""

    def __init__(self, model, folder, name):
        self.source, self.module = folder / f"{name}.onnx", folder / f"{name}.so"
        self.source.write_bytes(model.SerializeToString())
        self.seconds = float("inf")

    def compile(self):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = compiler.run_compiler([self.source, "-o", self.module])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr
        self.seconds = min(self.seconds, after.ru_utime + after.ru_stime -
                           before.ru_utime - before.ru_stime)

    def section_bytes(self, wanted):
        """The size of an ELF section."""
        data = self.module.read_bytes()
        offset, = struct.unpack_from("<Q", data, 0x28)
        entry, count, names = struct.unpack_from("<HHH", data, 0x3A)
        headers = [struct.unpack_from("<IIQQQQ", data, offset + i * entry) for i in range(count)]
        for name, _, _, _, _, size in headers:
            start = headers[names][4] + name
            if data[start:data.index(b"\0", start)] == wanted:
                return size
        raise AssertionError(f"no section {wanted}")


def compile_in_turns(folder, **models):
    made = {name: Compiled(model, folder, name) for name, model in models.items()}
    for _ in range(3):
        for item in made.values():
            item.compile()
    return made


@pytest.mark.parametrize("states", [True, False])
def test_64_layers_cost_little_more_than_4(states, tmp_path):
    made = compile_in_turns(tmp_path, few=mamba.stack(4, states), many=mamba.stack(64, states))
    few, many = made["few"], made["many"]
    time = many.seconds / few.seconds
    code = many.section_bytes(b".text") / few.section_bytes(b".text")
    data = many.section_bytes(b".rodata") / few.section_bytes(b".rodata")
    print(f"64 layers / 4 layers: time {many.seconds:.2f} s / {few.seconds:.2f} s = {time:.2f}, "
          f"code {code:.2f}, constants {data:.2f}")
    assert time < 2
    assert code < 1.2


def test_chain_grows_linearly(tmp_path):
    made = compile_in_turns(tmp_path, few=chain(50), many=chain(500))
    few, many = made["few"].seconds, made["many"].seconds
    print(f"500 products / 50: {many:.2f} s / {few:.2f} s")
    assert many < 10 * few


def test_unrolled_loop_grows_linearly(tmp_path):
    made = compile_in_turns(tmp_path, few=unrolled(32), many=unrolled(256))
    few, many = made["few"].seconds, made["many"].seconds
    print(f"256 steps / 32: {many:.2f} s / {few:.2f} s")
    assert many < 12 * few


def test_a_block_takes_less_than_three_seconds(tmp_path):
    model = mamba.block(width=768, inner=1536, state=16, rank=48)
    seconds = compile_in_turns(tmp_path, block=model)["block"].seconds
    print(f"block: {seconds:.2f} s")
    assert seconds < 3


def test_exported_layers_are_one_function(tmp_path):
    """An exporter's layers check sizes and make masks, each for itself: that is done
    once, before them, and they are equal."""
    path = tmp_path / "tensor.mlir"
    done = compiler.run_compiler([build.MODELS / "hf_mamba2_tiny.onnx", "--emit=tensor", "-o", path])
    assert done.returncode == 0, done.stderr
    text = path.read_text()
    assert text.count("call @repeated(") == 2
    body = text[text.index("func.func private @repeated"):]
    assert "ssm.check" not in body
