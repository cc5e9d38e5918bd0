# ===- test_damaged_files.py - Weights and states that are not whole --------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Of compiled modules, from outside; test/unit/runtime has all bytes of small files, and
processes that are killed."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from ssmtest import build, case, compiler

sys.path.insert(0, str(build.MODELS))
import mamba  # noqa: E402

LANGUAGE_MODEL = build.MODELS / "bible_lm" / "bible_lm.onnx"


def ssm_run(*arguments):
    return subprocess.run([str(build.tool("ssm-run")), *map(str, arguments)],
                          capture_output=True, text=True, check=False)


def refused(done, *words):
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.startswith("ssm-run: ") and done.stderr.count("\n") == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.fixture
def rng():
    return np.random.default_rng(case.seed())


@pytest.fixture(scope="module")
def block():
    """-> the module, and its weights file."""
    module = compiler.compile_model(mamba.block())
    return module, module.with_name("module.weights.safetensors")


def padding_of(whole):
    """Where bytes only fill up, which no kernel reads -> array of bool."""
    base = 8 + int.from_bytes(whole[:8], "little")
    filled = np.zeros(len(whole), bool)
    for name, tensor in json.loads(whole[8:base]).items():
        if name.startswith("__padding__"):
            begin, end = tensor["data_offsets"]
            filled[base + begin:base + end] = True
    return filled


def test_flipped_bytes_of_weights(block, tmp_path, rng):
    """Of the header when the module is loaded, of weights when all are looked at."""
    module, weights = block
    whole = weights.read_bytes()
    assert "weights are whole" in ssm_run(module, "--verify", "--weights", weights).stdout
    base = 8 + int.from_bytes(whole[:8], "little")
    read = np.flatnonzero(~padding_of(whole))
    for at in [0, 8, base - 1, base, *rng.choice(read, 60)]:
        damaged = bytearray(whole)
        damaged[at] ^= int(rng.integers(1, 256))
        (tmp_path / "w").write_bytes(damaged)
        done = ssm_run(module, "--verify", "--weights", tmp_path / "w")
        refused(done, str(tmp_path / "w"), "has hash" if at < base else "is damaged")


def test_truncated_weights(block, tmp_path, rng):
    module, weights = block
    whole = weights.read_bytes()
    for length in [0, 7, 8, len(whole) - 1, *rng.integers(0, len(whole), 20)]:
        (tmp_path / "w").write_bytes(whole[:length])
        refused(ssm_run(module, "--describe", "--weights", tmp_path / "w"),
                f"has {length} bytes", f"expects {len(whole)}")


@pytest.fixture(scope="module")
def language_model():
    return compiler.compile_model(LANGUAGE_MODEL)


def generate(module, *arguments):
    return ssm_run("generate", module, "--max-new", 3, "--prompt", "And", *arguments)


def test_damaged_states(language_model, tmp_path, rng):
    """All of what a state can hold is a number, so the hash alone tells."""
    assert generate(language_model, "--save-states", tmp_path / "states").returncode == 0
    whole = (tmp_path / "states").read_bytes()
    assert generate(language_model, "--load-states", tmp_path / "states").returncode == 0
    base = 8 + int.from_bytes(whole[:8], "little")
    for at in rng.integers(base, len(whole), 20):
        damaged = bytearray(whole)
        damaged[at] ^= int(rng.integers(1, 256))
        (tmp_path / "s").write_bytes(damaged)
        refused(generate(language_model, "--load-states", tmp_path / "s"),
                str(tmp_path / "s"), "is damaged")
    for length in rng.integers(0, len(whole), 20):
        (tmp_path / "s").write_bytes(whole[:length])
        refused(generate(language_model, "--load-states", tmp_path / "s"), str(tmp_path / "s"))


FULL_DISK = """
mount -t tmpfs -o size=300k none "$1" || exit 77
cp "$2" "$1/states"
"$3" generate "$4" --prompt Lord --max-new 3 --save-states "$1/states" >"$1.out"
echo "$?" >"$1.code"
ls "$1" >"$1.list"
cmp "$1/states" "$2"
"""


def test_full_disk(language_model, tmp_path):
    """The old states stay, and nothing else does."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    assert generate(language_model, "--save-states", tmp_path / "old").returncode == 0
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FULL_DISK,
                           "sh", disk, tmp_path / "old", build.tool("ssm-run"), language_model],
                          capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare: " in done.stderr:
        pytest.skip("may not mount here: " + done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cannot write" in done.stderr and "No space left on device" in done.stderr
    assert (tmp_path / "disk.code").read_text() == "1\n"
    assert (tmp_path / "disk.list").read_text() == "states\n"


# Writes down what is synced and renamed, and fails as a broken disk does if told to.
WATCHER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
int fsync(int file) {
  fputs("fsync\\n", stderr);
  if (getenv("BROKEN")) { errno = EIO; return -1; }
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}
int rename(const char *from, const char *to) {
  fputs("rename\\n", stderr);
  return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}
"""


def test_states_are_on_the_disk_before_their_name(language_model, tmp_path, monkeypatch):
    library = tmp_path / "watcher.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-xc", "-", "-o", library], input=WATCHER, text=True,
                   check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    done = generate(language_model, "--save-states", tmp_path / "states")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line in ("fsync", "rename")] == \
        ["fsync", "rename"]
    whole = (tmp_path / "states").read_bytes()
    monkeypatch.setenv("BROKEN", "1")
    done = generate(language_model, "--save-states", tmp_path / "states")
    assert done.returncode == 1 and "cannot write" in done.stderr
    assert [path.name for path in tmp_path.glob("states*")] == ["states"]
    assert (tmp_path / "states").read_bytes() == whole
