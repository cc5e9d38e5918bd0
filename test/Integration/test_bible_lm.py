# ===- test_bible_lm.py - The bundled language model -----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The trained byte-level Mamba: as many bits per byte of the held-out text as ONNX
Runtime and as its training recorded; and its exporter against NumPy."""

import functools
import json
import math
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from ssmtest import build, compare, compiler, reference, runtime
from ssmtest.case import f32, generator

FOLDER = build.MODELS / "bible_lm"
MODEL = FOLDER / "bible_lm.onnx"
# Large enough to be worth running at once, and of no round size.
PIECE = 4099


@functools.lru_cache(maxsize=None)
def held_out():
    return np.frombuffer((FOLDER / "heldout.txt").read_bytes(), np.uint8).astype(np.int64)


@functools.lru_cache(maxsize=None)
def record():
    return json.loads((FOLDER / "bible_lm.json").read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=None)
def peer():
    return onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])


@functools.lru_cache(maxsize=None)
def module():
    return runtime.Module(compiler.compile_model(MODEL))


def begin(batch=1):
    """The states before the first byte, by name."""
    return {i.name: np.zeros([batch, *i.shape[1:]], f32)
            for i in peer().get_inputs() if i.name != "ids"}


def run_peer(inputs):
    names = [output.name for output in peer().get_outputs()]
    return dict(zip(names, peer().run(names, inputs)))


def sum_bits(logits, targets):
    """[L, 256], [L] -> bits that telling the targets takes."""
    logits = logits.astype(np.float64)
    largest = logits.max(-1)
    log_sum = largest + np.log(np.exp(logits - largest[:, None]).sum(-1))
    return (log_sum - logits[np.arange(len(targets)), targets]).sum() / math.log(2)


def bits_per_byte(run, data, piece):
    """The mean over all bytes but the first, each after all before it; `piece` bytes
    at a time. run: inputs -> results."""
    states, total = begin(), 0.0
    for start in range(0, len(data) - 1, piece):
        ids = data[start:start + piece + 1]
        results = run({"ids": ids[None, :-1], **states})
        states = {name: results[name.replace("past", "present")] for name in states}
        total += sum_bits(results["logits"][0], ids[1:])
    return total / (len(data) - 1)


@functools.lru_cache(maxsize=None)
def peer_bits():
    return bits_per_byte(run_peer, held_out(), PIECE)


# ===----------------------------------------------------------------------===#
# The trained model
# ===----------------------------------------------------------------------===#


def test_recorded():
    """What was measured when it was trained is what ONNX Runtime finds."""
    assert abs(peer_bits() - record()["held_out_bits_per_byte"]) < 5e-4


@pytest.mark.parametrize("threads,piece", [(1, PIECE), (2, PIECE), (1, 1 << 20)],
                         ids=["pieces", "pieces_2_threads", "at_once"])
def test_bits_per_byte(threads, piece, reference_only):
    if reference_only:
        pytest.skip("needs the compiler")
    session = module().session(threads=threads)
    found = bits_per_byte(session.run, held_out(), piece)
    assert abs(found - peer_bits()) < 5e-5
    assert abs(found - record()["held_out_bits_per_byte"]) < 5e-4


def test_size():
    assert MODEL.stat().st_size < 8 << 20
    assert record()["parameters"] <= 1_900_000


def test_states(reference_only):
    if reference_only:
        pytest.skip("needs the compiler")
    names = list(begin())
    assert len(names) == 2 * record()["shape"]["layers"]
    assert sorted(s[:3] for s in module().states()) == sorted(
        (name, name.replace("past", "present"), "fixed") for name in names)


def test_a_prompt_is_its_steps(reference_only):
    """One session, which carries the states: a prompt, then single bytes. Two texts
    beside each other stay apart."""
    if reference_only:
        pytest.skip("needs the compiler")
    at = generator("bible_lm").integers(0, len(held_out()) - 100, 2)
    ids = np.stack([held_out()[i:i + 90] for i in at])
    whole = run_peer({"ids": ids, **begin(2)})
    session, parts = module().session(carry_states=True), []
    for low, high in [(0, 61)] + [(i, i + 1) for i in range(61, 90)]:
        results = session.run({"ids": ids[:, low:high]})
        parts.append(results["logits"])
    results["logits"] = np.concatenate(parts, 1)
    for name, want in whole.items():
        compare.check_close(name, results[name], want, f32, 1e-4)


# ===----------------------------------------------------------------------===#
# The exporter
# ===----------------------------------------------------------------------===#

SHAPE = {"layers": 2, "width": 24, "inner": 40, "state": 6, "rank": 3, "kernel": 4}


def random_tensors(rng, layers, width, inner, state, rank, kernel):
    """Weights under the names and in the shapes that torch gives them."""
    def normal(*shape):
        return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(f32)
    tensors = {"embedding": normal(256, width), "norm": 1 + normal(width)}
    for index in range(layers):
        tensors |= {f"layers.{index}.{name}": array for name, array in {
            "norm": 1 + normal(width), "in_proj.weight": normal(2 * inner, width),
            "conv": normal(inner, kernel), "conv_bias": normal(inner),
            "x_proj.weight": normal(rank + 2 * state, inner),
            "dt_proj.weight": normal(inner, rank), "dt_proj.bias": normal(inner) - 1,
            "a_log": normal(inner, state), "skip": normal(inner),
            "out_proj.weight": normal(width, inner)}.items()}
    return tensors


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": array.shape,
                        "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text
                     + b"".join(array.tobytes() for array in tensors.values()))


def run_numpy(tensors, ids, layers, rank, state, inner, kernel, **_):
    """The model in float64, from zero states: ids [L] -> logits [L, 256]."""
    def norm(x, scale):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * scale

    def silu(x):
        return x / (1 + np.exp(-x))
    tensors = {name: array.astype(np.float64) for name, array in tensors.items()}
    hidden = tensors["embedding"][ids]
    for index in range(layers):
        w = {name.split(".", 2)[2]: array for name, array in tensors.items()
             if name.startswith(f"layers.{index}.")}
        x, gate = np.split(norm(hidden, w["norm"]) @ w["in_proj.weight"].T, 2, axis=-1)
        padded = np.concatenate([np.zeros((kernel - 1, inner)), x])
        x = silu(w["conv_bias"] + sum(padded[k:k + len(ids)] * w["conv"][:, k]
                                      for k in range(kernel)))
        dt, b, c = np.split(x @ w["x_proj.weight"].T, [rank, rank + state], axis=-1)
        dt = np.log1p(np.exp(dt @ w["dt_proj.weight"].T + w["dt_proj.bias"]))
        h, y = np.zeros((inner, state)), np.empty_like(x)
        for t in range(len(ids)):
            h = np.exp(-dt[t, :, None] * np.exp(w["a_log"])) * h + np.outer(dt[t] * x[t], b[t])
            y[t] = h @ c[t] + w["skip"] * x[t]
        hidden = hidden + (y * silu(gate)) @ w["out_proj.weight"].T
    return norm(hidden, tensors["norm"]) @ tensors["embedding"].T


def test_export(tmp_path, reference_only):
    rng = generator("bible_lm_export")
    tensors = random_tensors(rng, **SHAPE)
    write_safetensors(tmp_path / "weights.safetensors", tensors)
    path = tmp_path / "model.onnx"
    subprocess.run([sys.executable, str(FOLDER / "export.py"),
                    str(tmp_path / "weights.safetensors"), str(path)], check=True)
    ids = rng.integers(0, 256, (2, 19))
    inputs = {"ids": ids}
    for index in range(SHAPE["layers"]):
        inputs[f"past_conv_{index}"] = np.zeros((2, SHAPE["inner"], SHAPE["kernel"] - 1), f32)
        inputs[f"past_ssm_{index}"] = np.zeros((2, SHAPE["inner"], SHAPE["state"]), f32)
    want = np.stack([run_numpy(tensors, row, **SHAPE) for row in ids])
    compare.check_close("ONNX Runtime", reference.run_model(path, inputs)["logits"], want, f32)
    if reference_only:
        return
    session = runtime.Module(compiler.compile_model(path)).session()
    compare.check_close("compiled", session.run(inputs)["logits"], want, f32)
