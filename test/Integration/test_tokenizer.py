# ===- test_tokenizer.py - Text by a tokenizer.json --------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""ssm-run generate with a tokenizer.json: text in and out beside the package tokenizers,
streamed whole characters, ends of texts, and what is wrong with files and packages."""

import functools
import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import tokenizers
from onnx import TensorProto
from ssmtest import build, compiler
from ssmtest.case import f32, generator
from ssmtest.generate import likeliest, run
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

sys.path.insert(0, str(build.MODELS))
from builder import INT64, Builder  # noqa: E402
from llama import llama  # noqa: E402

TEXT = ["In the beginning God created the heaven and the earth. And the earth was without form, "
        "and void; naïve élan, 日本語のテスト, 😀 done."]
WRITTEN = " the heaven — naïve  日本語, 😀😀 and\nthe end"


def byte_level():
    """As GPT-2 and its kin: BPE over bytes."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(TEXT, trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return made


def byte_fallback():
    """As Llama 2: spaces are a letter, what is no token is spelled in bytes."""
    words = ["▁", "a", "n", "d", "t", "h", "e", "▁a", "▁t", "nd", "▁and", "he", "▁the"]
    vocabulary = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    merges = [("▁", "a"), ("▁", "t"), ("n", "d"), ("▁a", "nd"), ("h", "e"), ("▁t", "he")]
    made = tokenizers.Tokenizer(models.BPE(
        vocab={word: number for number, word in enumerate(vocabulary)}, merges=merges,
        unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"),
                                            normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                      decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    made.post_processor = processors.TemplateProcessing(single="<s> $A",
                                                        special_tokens=[("<s>", 1)])
    return made


def unigram():
    """As T5: the likeliest pieces."""
    made = tokenizers.Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.train_from_iterator(TEXT + [WRITTEN], trainers.UnigramTrainer(
        vocab_size=100, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False))
    return made


KINDS = {"byte level": byte_level, "byte fallback": byte_fallback, "unigram": unigram}


@functools.lru_cache(maxsize=None)
def tokenizer(kind="byte level"):
    return KINDS[kind]()


def place(folder, module, made, **files):
    """Puts a module (and its weights) into a folder with a tokenizer.json and other
    files, NAME={...} -> path of the module."""
    for file in module.parent.iterdir():
        if file.name.startswith("module."):
            shutil.copy(file, folder)
    made.save(str(folder / "tokenizer.json"))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder / "module.so"


def dictated(ids, vocabulary):
    """A module whose likeliest ids are these, whatever it is told."""
    g = Builder()
    given = g.input("ids", [1, "length"], INT64)
    past = g.input("past_count", [1])
    g.output(g.add("Add", past, g.weight(np.array([1], f32))), [1], name="present_count")
    turn = g.add("Gather", g.weight(np.array([*ids, *[0] * 4])), g.add("Cast", past, to=INT64))
    row = g.add("Cast", g.add("Equal", turn, g.weight(np.arange(vocabulary))),
                to=TensorProto.FLOAT)
    zero = g.add("Mul", g.add("Cast", given, to=TensorProto.FLOAT), g.weight(f32(0)))
    g.output(g.add("Add", g.add("Unsqueeze", zero, g.ints(-1)), row), [1, "length", vocabulary],
             name="logits")
    return compiler.compile_model(g.model())


def continuation(made, prompt, ids):
    """The text of ids behind a prompt."""
    return made.decode(prompt + ids)[len(made.decode(prompt)):]


@functools.lru_cache(maxsize=None)
def small_llama():
    model = llama(seed=5, layers=1, vocabulary=tokenizer().get_vocab_size())
    return model.SerializeToString(), compiler.compile_model(model)


@pytest.mark.parametrize("prompt", ["And the heaven", "naïve 日本 😀"])
def test_likeliest_text(tmp_path, prompt):
    """Text in, text out: a Llama with byte-level BPE beside a loop over ONNX Runtime."""
    made = tokenizer()
    model, module = small_llama()
    module = place(tmp_path, module, made)
    ids = made.encode(prompt).ids
    written = likeliest(model, ids, 40, stops=[0])
    assert len(set(written)) > 5
    out, told = run(module, "--prompt", prompt, "--temperature", 0, "--max-new", 40)
    assert out.decode() == continuation(made, ids, written) + "\n"
    assert f"prompt: {len(ids)} tokens" in told
    # From another folder and under another name, by the working directory.
    shutil.move(tmp_path / "tokenizer.json", tmp_path / "other.json")
    assert run(module, "--prompt", prompt, "--temperature", 0, "--max-new", 40, "--tokenizer",
               tmp_path / "other.json")[0] == out


@pytest.mark.parametrize("kind", KINDS)
def test_streams_whole_characters(tmp_path, kind):
    """What arrives at a time is text; spaces and characters of several tokens are kept."""
    made = tokenizer(kind)
    prompt = made.encode("and the").ids
    ids = made.encode("and the" + WRITTEN * 20).ids[len(prompt):]
    assert continuation(made, prompt, ids) == WRITTEN * 20
    module = place(tmp_path, dictated(ids, made.get_vocab_size()), made)
    # A message for each write, however late it is read.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pieces = []
    with ours:
        with theirs:
            process = subprocess.Popen(
                [str(build.tool("ssm-run")), "generate", str(module), "--prompt", "and the",
                 "--temperature", "0", "--max-new", str(len(ids))], stdout=theirs,
                stderr=subprocess.DEVNULL, env={**os.environ, "SSM_PYTHON": sys.executable})
        while piece := ours.recv(1 << 20):
            pieces.append(piece.decode())
    assert process.wait() == 0
    assert "".join(pieces) == WRITTEN * 20 + "\n"
    assert len(pieces) > 2, "it came at once"


@pytest.mark.parametrize("kind", KINDS)
def test_any_ids(tmp_path, kind):
    """Ids in no order: bytes that are no characters are shown as such, nothing is lost."""
    made = tokenizer(kind)
    size = made.get_vocab_size()
    # Of bytes as tokens, those that are characters alone are left out: see below.
    usable = [number for number in range(size)
              if number not in made.get_added_tokens_decoder() and
              not (kind == "byte fallback" and number < 3 + 0x80)]
    ids = [int(number) for number in generator(f"any ids {kind}").choice(usable, 300)]
    module = place(tmp_path, dictated(ids, size), made)
    text = run(module, "--prompt", "and", "--temperature", 0, "--max-new", len(ids))[0].decode()
    if kind != "byte fallback":
        assert text == continuation(made, made.encode("and").ids, ids) + "\n"
        return
    # Bytes in a row are characters all or none, for the package; what was written stays.
    words = [made.id_to_token(number) for number in ids]
    assert "".join(c for c in text if ord(c) < 0x80) == \
        "".join(word for word in words if word[0] != "<").replace("▁", " ") + "\n"


def test_held_back_at_the_end(tmp_path):
    """Half a character is shown as none."""
    made = tokenizer()
    ids = made.encode("é").ids[:1] if len(made.encode("é").ids) > 1 else made.encode("—").ids[:1]
    module = place(tmp_path, dictated(ids, made.get_vocab_size()), made)
    assert run(module, "--prompt", "a", "--temperature", 0, "--max-new", 1)[0].decode() == \
        "\ufffd\n"


@pytest.mark.parametrize("files", [
    {"config": {"eos_token_id": 259}}, {"generation_config": {"eos_token_id": [4, 259]}},
    {"tokenizer_config": {"eos_token": "TOKEN"}},
    {"tokenizer_config": {"eos_token": {"content": "TOKEN", "special": True}}}, {}], ids=str)
def test_ends(tmp_path, files):
    """The end of a text, as each file beside the tokenizer tells, or by its name."""
    made = tokenizer()
    end = 259 if files else made.token_to_id("<|endoftext|>")
    text = json.dumps(files).replace("TOKEN", json.dumps(made.id_to_token(259))[1:-1])
    module = place(tmp_path, dictated([*made.encode(" the").ids, end, *made.encode("x").ids], 320),
                   made, **json.loads(text))
    out, told = run(module, "--prompt", "In", "--temperature", 0, "--max-new", 5)
    assert out == b" the\n"
    assert f"new:    {len(made.encode(' the').ids)} tokens" in told


def test_special_ids(tmp_path):
    """Those that begin a text are given, those between are not shown; a text that goes on
    gets none."""
    made = tokenizer("byte fallback")
    size = made.get_vocab_size()
    ids = made.encode("and the").ids
    assert ids[0] == 1
    module = place(tmp_path, dictated([ids[1], 1, ids[2]], size), made)
    states = tmp_path / "states.safetensors"
    out, told = run(module, "--prompt", "and the", "--temperature", 0, "--max-new", 3,
                    "--save-states", states)
    assert out == b" and the\n" and f"prompt: {len(ids)} tokens" in told
    _, told = run(module, "--prompt", "and the", "--max-new", 0, "--load-states", states)
    assert f"prompt: {len(ids) - 1} tokens" in told
    _, told = run(module, "--prompt", "", "--max-new", 0)
    assert "prompt: 1 tokens" in told


def test_bytes_all_the_same(tmp_path):
    """A tokenizer.json beside a model of bytes: refused if it cannot be the model's."""
    module = place(tmp_path, dictated(list(b"xyz"), 256), tokenizer())
    _, error = run(module, "--prompt", "a", fails=True)
    assert "tokenizer.json' has 320 ids, the model only 256" in error
    assert run(module, "--prompt", "a", "--max-new", 3, "--temperature", 0, "--tokenizer",
               "bytes")[0] == b"xyz\n"
    assert run(module, "--ids", "--prompt", "1", "--max-new", 3, "--temperature",
               0)[0] == b"120 121 122\n"


def test_more_ids_than_the_tokenizer(tmp_path):
    """Padding is told of, and must not be written."""
    ids = tokenizer().encode(" the").ids
    module = place(tmp_path, dictated([*ids, 333], 384), tokenizer())
    out, told = run(module, "--prompt", "a", "--temperature", 0, "--max-new", len(ids))
    assert out == b" the\n" and "the model has 384 ids, '" in told
    done = subprocess.run([str(build.tool("ssm-run")), "generate", str(module), "--prompt", "a",
                           "--temperature", "0", "--python", sys.executable], capture_output=True)
    assert done.returncode == 1 and b"wrote the id 333, which tokenizer.json lacks" in done.stderr


def test_broken_files(tmp_path):
    made = tokenizer()
    module = place(tmp_path, dictated([5], 320), made)

    def message(*arguments):
        return run(module, "--prompt", "a", *arguments, fails=True)[1]
    file = tmp_path / "tokenizer.json"
    whole = file.read_text()
    for text in [whole[:-20], "", "[]", "{}", whole.replace('"BPE"', '"XYZ"'), "\0"]:
        file.write_text(text)
        assert f"cannot read '{file}': " in message()
    assert f"cannot read '{tmp_path / 'none.json'}': " in \
        message("--tokenizer", tmp_path / "none.json")
    file.write_text(whole)
    for text in ["{", "[1]", "\0"]:
        (tmp_path / "generation_config.json").write_text(text)
        assert f"cannot read '{tmp_path / 'generation_config.json'}': " in message()
    (tmp_path / "generation_config.json").unlink()
    (tmp_path / "prompt").write_bytes(b"a\xff")
    _, error = run(module, "--prompt-file", tmp_path / "prompt", fails=True)
    assert "prompt is not text in UTF-8" in error


def test_nothing_to_read_it(tmp_path):
    """No Python, one without the package, and one that ends at once."""
    module = place(tmp_path, dictated([5], 320), tokenizer())

    def message(python):
        return run(module, "--prompt", "a", "--python", python, fails=True)[1]
    assert f"cannot run '{tmp_path / 'none'}'" in message(tmp_path / "none")
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    assert "lacks the package tokenizers" in message(bare)
    assert "SSM_PYTHON" in message(bare)
    assert "'/bin/true', which reads" in message("/bin/true")
    # The file is looked for first.
    _, error = run(module, "--prompt", "a", "--python", bare, "--tokenizer", tmp_path / "no.json",
                   fails=True)
    assert f"cannot read '{tmp_path / 'no.json'}': No such file" in error
    # Ids need none.
    run(module, "--ids", "--prompt", "1", "--max-new", 1, "--python", tmp_path / "none")


def test_python_of_the_build(tmp_path):
    """Taken by a program in the build's folder, without a word."""
    module = place(tmp_path, dictated([5], 320), tokenizer())
    environment = {key: value for key, value in os.environ.items() if key != "SSM_PYTHON"}
    program = build.tool("ssm-run")
    if not (program.parent.parent / "venv").exists():
        pytest.skip("no environment in the build's folder")
    folder = tmp_path / "empty"
    folder.mkdir()
    for path, works in ((program, True), (shutil.copy(program, tmp_path), False)):
        done = subprocess.run([str(path), "generate", str(module), "--prompt", "a", "--max-new",
                               "1"], capture_output=True, text=True,
                              env={**environment, "PATH": str(folder),
                                   "LD_LIBRARY_PATH": str(build.RUNTIME.parent)})
        assert (done.returncode == 0) == works, done.stderr


def test_fork_begins_again(tmp_path):
    """Each text of a fork is decoded by itself, with what an end left behind."""
    snowman = tokenizer().encode("☃").ids
    module = place(tmp_path, dictated([*snowman[:-1]], 320), tokenizer())
    out, _ = run(module, "--prompt", "a", "--max-new", 1, "--fork", 2, "--temperature", 0)
    first, second = out.split(b"--- seed ")[1:]
    assert first[1:] == second[1:] != b""


def test_modules_come_from_nowhere_else(tmp_path):
    """A file in the working directory is not taken for the package."""
    module = place(tmp_path, dictated([5], 320), tokenizer())
    (tmp_path / "tokenizers.py").write_text("raise SystemExit('taken')")
    done = subprocess.run([str(build.tool("ssm-run")), "generate", str(module), "--prompt", "a",
                           "--max-new", "1", "--python", sys.executable], capture_output=True,
                          cwd=tmp_path)
    assert done.returncode == 0, done.stderr
