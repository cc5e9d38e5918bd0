# ===- test_sync_faults.py - Kernels without one of their barriers ----------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Each barrier, fence and wait of kernels is left out, one at a time: ssm-verify-sync must say so."""

import re
import subprocess
import sys

import onnx
import pytest
from ssmtest import build, compiler
from test_gpu_forms import F16, F32, FORMS, I64, MATRIX, node, product

sys.path.insert(0, str(build.MODELS))
import recurrences  # noqa: E402

SYNC = re.compile(r"^\s*(gpu\.barrier|nvvm\.barrier|nvvm\.fence\.|nvvm\.mbarrier\.(init|arrive)|"
                  r"nvvm\.mbarrier\.try_wait|nvvm\.wgmma\.(fence|commit|wait)|nvvm\.cluster\.|"
                  r"nvvm\.cp\.async\.(commit|wait)|nvvm\.griddepcontrol\s+wait)")


MODELS = {
    **{name: make for name, (make, _) in FORMS.items()},
    "softmax": lambda: node("Softmax", [MATRIX], [MATRIX]),
    "sum": lambda: node("ReduceSum", [MATRIX], [(F32, [1, 1])]),
    "columns' sum": lambda: node("ReduceSum", [MATRIX], [(F32, [1, "m"])], [0]),
    "sort": lambda: node("TopK", [MATRIX], [(F32, ["n", 5000]), (I64, ["n", 5000])], [5000]),
    "f32 product": lambda: product(F32),
    "f16 product": lambda: product(F16),
    "scan": lambda: recurrences.selective(16).model(),
    "transpose": lambda: node("Transpose", [MATRIX], [(F32, ["m", "n"])], perm=[1, 0]),
    "nd writes": lambda: node("ScatterND", [MATRIX, (I64, ["k", 1]), (F32, ["k", "m"])], [MATRIX],
                              reduction="add"),
    "norm": lambda: node("LayerNormalization", [MATRIX, (F32, ["m"])], [MATRIX]),
    "nonlinear": lambda: recurrences.nonlinear().model(),
    "delta": lambda: recurrences.delta(4, 8, True).model(),
    "stabilised": lambda: recurrences.stabilised().model(),
}


def kernels_of(lines):
    """Names, and the lines of each kernel."""
    begin = None
    for at, line in enumerate(lines):
        if found := re.match(r"    gpu\.func @(\w+)\(", line):
            name, begin = found[1], at
        if begin is not None and line == "    }":
            yield name, begin, at + 1
            begin = None


def leave_out(text):
    """The module with a copy of each kernel for each of its barriers, which is missing there, and
    of its launches; what is missing; and the first and last line of each copy."""
    lines = text.split("\n")
    missing, copies, numbers = [], {}, {}
    for name, begin, end in kernels_of(lines):
        for at in range(begin, end):
            if SYNC.match(lines[at]):
                number = len(missing)
                first = lines[begin].replace(f"@{name}(", f"@{name}__{number}(")
                copies.setdefault(end, []).append(
                    (number, [first] + lines[begin + 1:at] + lines[at + 1:end]))
                missing.append((name, at + 1, lines[at].strip()))
                numbers.setdefault(name, []).append(number)
    result, places = [], []
    for at, line in enumerate(lines):
        for number, copy in copies.get(at, []):
            places.append((len(result) + 1, len(result) + len(copy), number))
            result += copy
        result.append(line)
        if found := re.search(r"ssm\.launch .*@device::@(\w+) ", line):
            result += [line.replace(f"::@{found[1]} ", f"::@{found[1]}__{number} ")
                       for number in numbers.get(found[1], [])]
    return "\n".join(result), missing, places


def unnoticed(model, chip, tmp_path):
    """What was left out, and what of it no error tells of. Kernels with all of it have no error."""
    onnx.save(model, tmp_path / "m.onnx")
    done = compiler.run_compiler([tmp_path / "m.onnx", f"--target=cuda:{chip}", "--emit=vector",
                                  "-o", tmp_path / "m.mlir"])
    assert done.returncode == 0, done.stderr
    text, missing, places = leave_out((tmp_path / "m.mlir").read_text())
    done = subprocess.run([str(build.tool("ssm-opt")), "-ssm-verify-sync", "-o", "/dev/null"],
                          input=text, capture_output=True, text=True, check=False)
    seen, other = set(), []
    for line in map(int, re.findall(r"<stdin>:(\d+):\d+: error", done.stderr)):
        found = [number for begin, end, number in places if begin <= line <= end]
        seen.update(found)
        if not found:
            other.append(line)
    assert not other, done.stderr[:2000]
    return missing, [m for number, m in enumerate(missing) if number not in seen]


@pytest.mark.parametrize("chip", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("name", MODELS)
def test_missing(name, chip, tmp_path):
    missing, left = unnoticed(MODELS[name](), chip, tmp_path)
    assert not left, "\n".join(map(str, left))
