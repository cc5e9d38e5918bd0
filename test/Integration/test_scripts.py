# ===- test_scripts.py - Counting tests, and the demonstration -------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
import re
import subprocess
import sys

import demo
import gpu
import numpy as np
import pytest
import run_tests
import typeseg
from ssmtest import build, compiler

JUNIT = """<testsuites><testsuite>
<testcase name="a"/> <testcase name="b" status="run"/>
<testcase name="c"><failure/></testcase> <testcase name="d"><error/></testcase>
<testcase name="e"><skipped/></testcase> <testcase name="f" status="notrun"/>
<testcase name="g" status="fail"/>
</testsuite></testsuites>"""


def counted(counts):
    return counts.passed, counts.failed, counts.skipped


def test_count(tmp_path):
    (tmp_path / "a.xml").write_text(JUNIT)
    assert counted(run_tests.count_junit(tmp_path / "a.xml")) == (2, 3, 2)
    (tmp_path / "b.xml").write_text(JUNIT[:100])
    assert run_tests.count_junit(tmp_path / "b.xml") is None
    assert run_tests.count_junit(tmp_path / "none.xml") is None


@pytest.mark.parametrize("counts,code,failed", [
    (None, 1, 1),                          # died before it wrote a report
    (None, 0, 1),                          # found nothing to run
    (run_tests.Counts(5, 0, 0), 0, 0),
    (run_tests.Counts(5, 0, 0), 139, 1),   # crashed after its last test
    (run_tests.Counts(5, 2, 0), 1, 2),
    (run_tests.Counts(0, 0, 3), 0, 0),
])
def test_a_suite_cannot_fail_unseen(counts, code, failed):
    assert run_tests.settled(counts, code).failed == failed


def test_summary_line():
    assert str(run_tests.Counts(3, 1)) == "3 passed, 1 failed"
    assert str(run_tests.Counts(3, 0, 2)) == "3 passed, 0 failed, 2 skipped"


def test_encode():
    ids = typeseg.encode("aZ ~\t\r\n\x01\x7fé")
    assert ids.dtype == np.int64
    assert ids.tolist() == [97, 90, 32, 126, 9, 13, 10, 128, 128, 128, 128]


def test_runs_cover_the_text():
    text = "aaaa bbbé\ncc"
    classes = [0] * 5 + [1] * 6 + [2] * 2
    logits = np.full((len(text.encode()), 3), -5.0, np.float32)
    logits[np.arange(len(classes)), classes] = 5.0
    found = typeseg.runs(text, logits)
    assert "".join(part for part, _, _ in found) == text
    # The two bytes of the last class are too few for a run of their own.
    assert [label for _, label, _ in found] == [0, 1]


# A driver of one GPU, or of none.
DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return FAILS; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int index) { *device = 7; return index; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "A GPU", size); return device != 7; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? CAPABILITY / 10 : CAPABILITY % 10;
  return device != 7;
}
"""


@pytest.mark.parametrize("fails,count,capability,wanted", [
    (0, 1, 90, gpu.Gpu("A GPU", "sm_90a")), (0, 2, 75, gpu.Gpu("A GPU", "sm_75")),
    (0, 1, 125, gpu.Gpu("A GPU", "sm_121")), (0, 1, 70, "A GPU is older than sm_75"),
    (0, 0, 90, "the driver finds none"), (100, 1, 90, "the driver finds none"),
])
def test_find_gpu(tmp_path, fails, count, capability, wanted):
    library = tmp_path / "libcuda.so"
    subprocess.run(["cc", "-shared", "-fPIC", f"-DFAILS={fails}", f"-DCOUNT={count}",
                    f"-DCAPABILITY={capability}", "-xc", "-", "-o", library], input=DRIVER,
                   text=True, check=True)
    assert gpu.find(str(library)) == wanted


def test_without_a_driver(tmp_path):
    assert gpu.find(str(tmp_path / "none.so")) == "no driver"


@pytest.mark.parametrize("arguments,code,words", [
    (["--help"], 0, "usage: tools/scripts/demo [FILE]"),
    (["--fast"], 2, "demo: unknown option '--fast'; usage: "),
    (["a", "b"], 2, "demo: usage: "),
    (["/nonexistent"], 2, "demo: cannot read '/nonexistent'\n"),
    (["/tmp"], 2, "demo: cannot read '/tmp'\n"),
    (["/dev/null"], 2, "demo: cannot read '/dev/null'\n"),
    ([sys.executable], 2, f"demo: '{sys.executable}' is no text in UTF-8\n"),
])
def test_demo_refuses(arguments, code, words):
    """In one line, before it installs anything."""
    done = subprocess.run([str(build.ROOT / "tools" / "scripts" / "demo"), *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10,
                          check=False)
    assert done.returncode == code and done.stdout.startswith(words), done.stdout
    assert done.stdout.count("\n") == 1


@pytest.fixture
def demo_on_cpu(monkeypatch):
    monkeypatch.setattr(demo, "BIN", build.BUILD / "bin")
    monkeypatch.setattr(gpu, "find", lambda: "no driver")


def test_demo_of_the_language_model(demo_on_cpu, capfd):
    assert demo.demo_language_model(compiler.compile_model(demo.LANGUAGE_MODEL))
    told = capfd.readouterr().out
    assert "for there is no NVIDIA GPU here: no driver." in told
    for name in ("ssm-mlir", "ONNX Runtime"):
        assert float(re.search(rf"^  {name} +([0-9]+) tokens/s$", told, re.MULTILINE)[1]) > 0
    assert "All write the same." in told
    # Twice a text that goes on from the prompt: 400 bytes drawn, 200 likeliest ones.
    first, second = told.split(demo.PROMPT + " ")[-2:]
    assert len(first.encode()) > 400 and len(second.encode()) > 200


def test_demo_goes_on_without_the_gpu(monkeypatch, capfd):
    """One that is there and cannot run the module; why is told in a line."""
    monkeypatch.setattr(demo, "BIN", build.BUILD / "bin")
    monkeypatch.setattr(gpu, "find", lambda: gpu.Gpu("Some GPU", "sm_90a"))
    monkeypatch.setenv("SSMRT_CUDA_DRIVER", "/nowhere/libcuda.so")
    assert demo.demo_language_model(compiler.compile_model(demo.LANGUAGE_MODEL))
    told = capfd.readouterr().out
    assert re.search(r"\n  Without the GPU, which cannot run it: .*no CUDA driver: .*nowhere.*\n", told)
    assert "ssm-mlir, GPU" not in told and "All write the same." in told


def test_demo_sees_another_text(demo_on_cpu, capfd, monkeypatch):
    monkeypatch.setattr(demo, "write_with_onnxruntime", lambda prompt, count: (b"x" * count, 1.0))
    assert not demo.demo_language_model(compiler.compile_model(demo.LANGUAGE_MODEL))
    assert "They write different texts!" in capfd.readouterr().out


def test_chips_are_the_compilers():
    source = (build.ROOT / "lib" / "Target" / "GpuTarget.cpp").read_text(encoding="utf-8")
    assert all(f'"{chip}"' in source for chip in gpu.KNOWN.values())
