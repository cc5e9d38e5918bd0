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
from ssmtest.model import with_sizes

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


def test_draws_of_many(tmp_path):
    """Of a vocabulary that is not sorted as a whole, with equal chances at the cut."""
    rng = generator("draws of many")
    logits = np.round(rng.standard_normal(3000), 1)
    count = 400
    order = np.lexsort((np.arange(len(logits)), -logits))
    chances = np.exp(logits[order] - logits.max())
    sums = np.cumsum(chances) / chances.sum()
    module = compiler.compile_model(chances_model(logits))

    def drawn(*flags):
        out, _ = run(module, "--ids", "--prompt", "1", "--max-new", count, "--seed",
                     int(rng.integers(1 << 40)), *flags)
        return {int(word) for word in out.split()}
    for top_k in (1, 2, 41, 700):
        assert drawn("--top-k", top_k, "--temperature", 100) <= set(order[:top_k].tolist())
    assert len(drawn("--top-k", 41, "--temperature", 100)) == 41
    # 64 are sorted first, then four times as many.
    for top_p in (0.01, 0.2, 0.5, 0.95):
        kept = order[:int(np.searchsorted(sums, top_p + 1e-9)) + 1]
        found = drawn("--top-p", top_p)
        assert found <= set(kept.tolist())
        assert len(found) > 0.2 * min(count, len(kept))
    for top_k, top_p in ((300, 0.5), (64, 0.9)):
        some = np.cumsum(chances[:top_k]) / chances[:top_k].sum()
        kept = order[:int(np.searchsorted(some, top_p + 1e-9)) + 1]
        assert drawn("--top-k", top_k, "--top-p", top_p) <= set(kept.tolist())


def test_fork():
    """Several texts from one prompt are what each seed gives alone."""
    for model, options in ((language_model(), []),
                           (compiler.compile_model(chances_model(np.zeros(256), states=False)),
                            ["--tokenizer", "bytes"])):
        def text(*more, model=model, options=options):
            return run(model, "--prompt", PROMPT, "--max-new", 20, *options, *more)
        forked, told = text("--fork", 3, "--seed", 7)
        assert forked == b"".join(b"--- seed %d\n" % seed + text("--seed", seed)[0]
                                  for seed in (7, 8, 9))
        assert "prompt: 16 tokens" in told and "new:    60 tokens" in told


def test_fork_of_two_entries(tmp_path):
    module = tmp_path / "two.so"
    done = compiler.run_compiler(["--entry", f"prefill={MODEL}", "--entry", f"decode={MODEL}", "-o",
                                  module])
    assert done.returncode == 0, done.stderr
    options = ["--prompt", PROMPT, "--max-new", 20, "--fork", 2]
    assert run(module, *options)[0] == run(language_model(), *options)[0]


def test_one_id_at_once(tmp_path):
    """An export of the step alone reads a prompt one by one; a fixed batch has equal rows."""
    path = tmp_path / "step.onnx"
    for sizes in ({"length": 1}, {"batch": 1, "length": 1}, {"batch": 2}):
        onnx.save(with_sizes(onnx.load(MODEL), sizes), path)
        out, told = run(compiler.compile_model(path), "--prompt", PROMPT, "--temperature", 0,
                        "--max-new", 30)
        assert out == peer_text(PROMPT, 30) + b"\n", sizes
        assert ("batch of 2" in told) == (sizes.get("batch") == 2)


def test_profile():
    module = compiler.compile_model(MODEL, ["--profile"])
    out, told = run(module, "--prompt", PROMPT, "--temperature", 0, "--max-new", 5, "--profile")
    assert out == peer_text(PROMPT, 5) + b"\n"
    prompt, steps = told.split("The prompt:")[1].split("The steps, a mean:")
    for table in (prompt, steps):
        assert "\nkernel_rmsnorm " in table and "\na run " in table and "GFLOP/s" in table
    if build.DEVICE != "cuda":  # A GPU's events need nothing in the module.
        assert "compile it with --profile" in run(language_model(), "--prompt", "a", "--profile",
                                                  fails=True)[1]


def test_states_of_another_model(tmp_path):
    """The same sizes, one weight changed: neither its states nor its weights are taken."""
    model = onnx.load(MODEL)
    weight = next(w for w in model.graph.initializer if np.prod(w.dims) > 1000)
    value = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array((value * 1.3).astype(value.dtype), weight.name))
    onnx.save(model, tmp_path / "other.onnx")
    other = compiler.compile_model(tmp_path / "other.onnx")
    states = tmp_path / "states"
    run(other, "--prompt", PROMPT, "--max-new", 1, "--save-states", states)
    options = ["--prompt", "a", "--max-new", 1]
    _, error = run(language_model(), *options, "--load-states", states, fails=True)
    assert "has states of another model" in error
    run(language_model(), *options, "--load-states", states, "--foreign-states")
    _, error = run(language_model(), *options, "--weights",
                   other.with_name("module.weights.safetensors"), fails=True)
    assert "does not belong to module" in error
    # Compiled in another way it is the same model.
    for flags in (["-O0"], ["--cpu=x86-64-v2,x86-64-v3"], ["--embed-weights"]):
        run(compiler.compile_model(tmp_path / "other.onnx", flags), *options, "--load-states",
            states)


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
    for flag, value in (("--temperature", "nan"), ("--top-p", "nan"), ("--seed", -1),
                        ("--seed", 1 << 64), ("--seed", "1.5"), ("--fork", 0)):
        assert flag in message(lm, "--prompt", "a", flag, value)
    assert "--stop-id 256 is outside" in message(lm, "--prompt", "a", "--stop-id", 256)
    assert "--save-states" in message(lm, "--prompt", "a", "--fork", 2, "--save-states", "b")
    assert "--prompt" in message(lm, "--prompt", "a", "--prompt", "b")
    before = lm.read_bytes()
    for path in (lm, lm.with_name("module.weights.safetensors")):
        assert "would overwrite" in message(lm, "--prompt", "a", "--save-states", path)
    assert lm.read_bytes() == before
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(build.tool("ssm-run")), "generate", str(lm), "--prompt", "a"],
                              stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "cannot write to the standard output" in done.stderr
    few = compiler.compile_model(chances_model(LOGITS))
    assert "has 7 ids" in message(few, "--prompt", "a")
    fixed = compiler.compile_model(chances_model(np.zeros(256), length=4))
    assert "takes 4 ids at once" in message(fixed, "--prompt", "abcd")
    g = Builder()
    g.output(g.add("Neg", g.input("x", ["n", 4])), ["n", 4], name="y")
    path = tmp_path / "plain.onnx"
    onnx.save(g.model(), str(path))
    assert "expected ids alone" in message(compiler.compile_model(path), "--prompt", "a")
