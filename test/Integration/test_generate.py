# ===- test_generate.py - ssm-run generate ---------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What the bundled language model writes, beside a loop over ONNX Runtime; the draws of
a model with fixed chances; two entries, states on disk, and what is refused."""

import functools
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from ssmtest import build, compiler
from ssmtest.case import f32, generator
from ssmtest.generate import likeliest, run

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402

MODEL = build.MODELS / "bible_lm" / "bible_lm.onnx"
PROMPT = "In the beginning"


@functools.lru_cache(maxsize=None)
def language_model():
    return compiler.compile_model(MODEL)


def peer_text(prompt, count):
    """The likeliest bytes, by ONNX Runtime."""
    return bytes(likeliest(MODEL.read_bytes(), prompt.encode(), count))


def test_likeliest_text():
    out, told = run(language_model(), "--prompt", PROMPT, "--temperature", 0, "--max-new", 250)
    assert out == peer_text(PROMPT, 250) + b"\n"
    assert "prompt: 16 tokens" in told and "new:    250 tokens" in told
    assert told.count("tokens/s") == 2


def test_seeds():
    def text(seed, *more):
        return run(language_model(), "--prompt", PROMPT, "--seed", seed, "--max-new", 60, *more)[0]
    assert text(1) == text(1) == text(1, "--threads", 1)
    assert len({text(seed) for seed in range(4)}) == 4
    assert text(5, "--top-k", 1) == text(6, "--top-p", 0)


def test_prompt_file(tmp_path):
    file = tmp_path / "prompt.txt"
    file.write_text(PROMPT)
    assert run(language_model(), "--prompt-file", file, "--temperature", 0, "--max-new", 20)[0] == \
        run(language_model(), "--prompt", PROMPT, "--temperature", 0, "--max-new", 20)[0]
    assert run(language_model(), "--prompt", PROMPT, "--max-new", 0)[0] == b"\n"


def test_states_on_disk(tmp_path):
    """Half a text, its states, and the other half in another process."""
    states = tmp_path / "states.safetensors"
    options = ["--temperature", 0]
    whole = run(language_model(), "--prompt", PROMPT, "--max-new", 41, *options)[0]
    first = run(language_model(), "--prompt", PROMPT, "--max-new", 20, "--save-states", states,
                *options)[0][:-1]
    # The last byte was run too: the next one goes on from it, and comes first.
    rest = run(language_model(), "--prompt", whole[20:21].decode(), "--max-new", 20,
               "--load-states", states, *options)[0]
    assert first + whole[20:21] + rest == whole
    kept = states.read_bytes()
    states.write_bytes(kept[:-5])
    _, error = run(language_model(), "--prompt", "a", "--load-states", states, fails=True)
    assert "states.safetensors" in error


def test_prefill_and_decode(tmp_path):
    """Two entries that share weights and states."""
    module = tmp_path / "two.so"
    done = compiler.run_compiler(["--entry", f"prefill={MODEL}", "--entry", f"decode={MODEL}", "-o",
                                  module])
    assert done.returncode == 0, done.stderr
    assert run(module, "--prompt", PROMPT, "--temperature", 0, "--max-new", 50)[0] == \
        run(language_model(), "--prompt", PROMPT, "--temperature", 0, "--max-new", 50)[0]
    weights = tmp_path / "two.weights.safetensors"
    assert weights.stat().st_size < 1.1 * MODEL.stat().st_size


def chances_model(logits, states=True, length="length", ids_type=TensorProto.INT64):
    """A model whose logits are always the same."""
    g = Builder()
    ids = g.input("ids", [1, length], ids_type)
    zeros = g.add("Mul", g.add("Cast", ids, to=TensorProto.FLOAT), g.weight(np.float32(0)))
    row = g.weight(np.asarray(logits, f32))
    g.output(g.add("Add", g.add("Unsqueeze", zeros, g.ints(-1)), row), [1, length, len(logits)],
             name="logits")
    if states:
        past = g.input("past_count", [1, 1])
        g.output(g.add("Add", past, g.weight(np.float32(1))), [1, 1], name="present_count")
    return g.model()


LOGITS = np.array([0.3, -1.0, 1.7, 0.9, -2.5, 1.1, -40.0])


def expected(temperature=1.0, top_p=1.0, top_k=0):
    chances = np.exp(LOGITS / temperature)
    chances /= chances.sum()
    order = np.argsort(-chances)
    kept = len(order) if top_k == 0 else top_k
    rest = chances[order[:kept]] / chances[order[:kept]].sum()
    kept = min(kept, int(np.searchsorted(np.cumsum(rest), top_p - 1e-12)) + 1)
    result = np.zeros(len(order))
    result[order[:kept]] = chances[order[:kept]] / chances[order[:kept]].sum()
    return result


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"temperature": 2}, {"top_p": 0.8},
                                     {"top_k": 2}, {"temperature": 3, "top_p": 0.6, "top_k": 4}],
                         ids=str)
def test_draws(options):
    """Frequencies of many draws, within five standard deviations of the chances."""
    module = compiler.compile_model(chances_model(LOGITS))
    count, seed = 4000, int(generator(f"draws {options}").integers(1 << 40))
    flags = [word for name, value in options.items()
             for word in (f"--{name.replace('_', '-')}", value)]
    out, _ = run(module, "--ids", "--prompt", "1 2", "--max-new", count, "--seed", seed, *flags)
    drawn = np.bincount([int(word) for word in out.split()], minlength=len(LOGITS)) / count
    chances = expected(**options)
    assert drawn[chances == 0].sum() == 0
    assert (np.abs(drawn - chances) <= 5 * np.sqrt(chances * (1 - chances) / count)).all(), \
        (drawn, chances, seed)


def test_without_states():
    module = compiler.compile_model(chances_model(LOGITS, states=False, ids_type=TensorProto.INT32))
    assert run(module, "--ids", "--prompt", "3", "--max-new", 3, "--temperature", 0)[0] == b"2 2 2\n"
    assert run(module, "--ids", "--prompt", "3", "--max-new", 3, "--temperature", 0,
               "--stop-id", 2)[0] == b"\n"


@pytest.mark.parametrize("byte,shown", [(ord("a"), b"aaa"), (0xC3, "\uFFFD\uFFFD\uFFFD".encode()),
                                        (0xFF, "\uFFFD\uFFFD\uFFFD".encode())])
def test_writes_whole_characters(byte, shown):
    logits = np.zeros(256)
    logits[byte] = 50
    module = compiler.compile_model(chances_model(logits))
    out, _ = run(module, "--prompt", "x", "--max-new", 3, "--temperature", 0)
    assert out == shown + b"\n"


def test_nothing_to_choose_by():
    module = compiler.compile_model(chances_model(np.full(256, np.nan)))
    out, error = subprocess.Popen(
        [str(build.tool("ssm-run")), "generate", str(module), "--prompt", "x"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE).communicate()
    assert out == b"" and b"no number" in error


def test_refused(tmp_path):
    def message(*arguments):
        return run(*arguments, fails=True)[1]
    lm = language_model()
    assert "prompt is empty" in message(lm)
    for path in (tmp_path / "none.txt", tmp_path):
        assert f"cannot read '{path}'" in message(lm, "--prompt-file", path)
    assert "--prompt excludes" in message(lm, "--prompt", "a", "--prompt-file", "b")
    assert "--temperature" in message(lm, "--prompt", "a", "--temperature", -1)
    assert "--top-p" in message(lm, "--prompt", "a", "--top-p", 1.5)
    assert "'ids2'" in message(lm, "--entry", "ids2", "--prompt", "a")
    assert "outside of the vocabulary, which has 256" in message(lm, "--ids", "--prompt", "1 256")
    assert "an id of the prompt" in message(lm, "--ids", "--prompt", "1 b")
    few = compiler.compile_model(chances_model(LOGITS))
    assert "has 7 ids" in message(few, "--prompt", "a")
    fixed = compiler.compile_model(chances_model(np.zeros(256), length=4))
    assert "takes 4 ids at once" in message(fixed, "--prompt", "abcd")
    g = Builder()
    g.output(g.add("Neg", g.input("x", ["n", 4])), ["n", 4], name="y")
    path = tmp_path / "plain.onnx"
    onnx.save(g.model(), str(path))
    assert "expected ids alone" in message(compiler.compile_model(path), "--prompt", "a")
