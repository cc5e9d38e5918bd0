# ===- test_gpu_forms.py - Instructions of each form of kernels -------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Machine code of the forms that test_gpu_targets.py does not have: nothing in local memory, and
16 bytes at a time where rows allow that."""

import re
import sys

import pytest
from onnx import TensorProto, helper
from ssmtest import build
from test_gpu_targets import compile_to, describe, disassemble, find_nvdisasm, needs_ptxas

sys.path.insert(0, str(build.MODELS))
import recurrences  # noqa: E402

F32, F16, I64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


def node(op, inputs, outs, numbers=None, **attributes):
    """A model of one node. inputs, outs: (type, dims); numbers: int64 inputs behind the first."""
    def values(letter, kinds):
        return [helper.make_tensor_value_info(f"{letter}{i}", kind, dims)
                for i, (kind, dims) in enumerate(kinds)]
    given, made = values("x", inputs), values("y", outs)
    names, weights = [value.name for value in given], []
    if numbers is not None:
        weights.append(helper.make_tensor("n", I64, [len(numbers)] if isinstance(numbers, list) else
                                          [], numbers if isinstance(numbers, list) else [numbers]))
        names.insert(1, "n")
    nodes = [helper.make_node(op, names, [value.name for value in made], **attributes)]
    return helper.make_model(helper.make_graph(nodes, "g", given, made, weights),
                             opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


MATRIX, POINTS = (F32, ["n", "m"]), (I64, ["n", "k"])
# A model, the ends of its kernels' names, and how many reads and writes of 16 bytes those have at
# least.
FORMS = {
    "columns": (lambda: node("Softmax", [(F32, ["b", "n", "m"])], [(F32, ["b", "n", "m"])], axis=1),
                {"_tall": (0, 0), "_narrow": (0, 0), "_broad": (0, 0)}),
    "single channels": (lambda: node("Conv", [(F16, ["n", 8, "h", "w"]), (F16, [8, 1, 3, 3])],
                                     [(F16, ["n", 8, "a", "c"])], group=8), {"_wide": (6, 4)}),
    "convolution": (lambda: node("Conv", [(F16, ["n", 8, "h", "w"]), (F16, [16, 8, 3, 3])],
                                 [(F16, ["n", 16, "a", "c"])]),
                    {"_64x256": (0, 1), "_split": (0, 8), "_split_sums": (8, 1),
                     "_interleaved": (4, 4)}),
    "picks": (lambda: node("GatherElements", [MATRIX, POINTS], [(F32, ["n", "k"])], axis=1),
              {"_picked": (8, 0), "_pieces": (0, 0)}),
    "rows by index": (lambda: node("Gather", [(F16, ["v", 1024]), (I64, ["k"])],
                                   [(F16, ["k", 1024])], axis=0), {"_vectors": (4, 4)}),
    "running sum": (lambda: node("CumSum", [MATRIX], [MATRIX], 1),
                    {"_prefix": (0, 0), "_prefixes": (0, 0), "_prefixes_clear": (0, 0)}),
    "running sum down": (lambda: node("CumSum", [MATRIX], [MATRIX], 0),
                         {"_columns": (0, 0), "_few_columns": (0, 0)}),
    "few of many": (lambda: node("TopK", [MATRIX], [(F32, ["n", 8]), (I64, ["n", 8])], [8]),
                    {"_short": (0, 0), "_row": (0, 0), "_block": (0, 0), "_place": (0, 0)}),
    "writes": (lambda: node("ScatterElements", [MATRIX, POINTS, (F32, ["n", "k"])], [MATRIX],
                            axis=1), {"_claim": (0, 0), "_latest": (0, 0), "_copy": (1, 1)}),
    "sums of writes": (lambda: node("ScatterElements", [MATRIX, POINTS, (F32, ["n", "k"])],
                                    [MATRIX], axis=1, reduction="add"),
                       {"_place": (0, 0), "_combine": (0, 0), "_copy": (1, 1)}),
    "counts": (lambda: node("NonZero", [MATRIX], [(I64, [2, "k"])]),
               {"_count": (0, 0), "_count_sums": (0, 0), "_row": (4, 0), "_long": (8, 0)}),
    "heads": (lambda: node("Transpose", [(F16, ["b", "l", 8, 64])], [(F16, ["b", 8, "l", 64])],
                           perm=[0, 2, 1, 3]), {"_transpose": (1, 1), "_pieces": (0, 0)}),
    "channels": (lambda: node("Transpose", [(F32, ["b", 3, "h", "w"])],
                              [(F32, ["b", "h", "w", 3])], perm=[0, 2, 3, 1]),
                 {"_interleaved": (4, 4)}),
    "window": (lambda: recurrences.window().model(axes=2), {"_runs": (1, 1), "_peeled": (1, 1)}),
}


@needs_ptxas
@pytest.mark.skipif(not find_nvdisasm(), reason="needs nvdisasm (nvidia-cuda-nvdisasm)")
@pytest.mark.parametrize("chip", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("form", FORMS)
def test_instructions(form, chip, tmp_path):
    make, expected = FORMS[form]
    done = compile_to(tmp_path, f"--target=cuda:{chip}", model=make())
    assert done.returncode == 0, done.stderr
    code = disassemble(tmp_path / "m.so", tmp_path)
    assert not re.search(r"\b(LDL|STL)\b", code)
    kernels = dict(part.split(":", 1) for part in re.split(r"^\.text\.", code, flags=re.M)[1:])
    for end, (reads, writes) in expected.items():
        found = [text for name, text in kernels.items() if name.endswith(end)]
        assert found, (end, list(kernels))
        assert any(len(re.findall(r"\bLDG\.E\.128\b", text)) >= reads and
                   len(re.findall(r"\bSTG\.E\.128\b", text)) >= writes for text in found), end


def product(kind):
    return node("MatMul", [(kind, ["n", "k"]), (kind, ["k", "m"])], [(kind, ["n", "m"])])


@needs_ptxas
@pytest.mark.parametrize("chip,kilobytes", [("sm_75", 64), ("sm_86", 99), ("sm_120", 99)])
@pytest.mark.parametrize("make", [lambda: product(F16), lambda: product(F32),
                                  lambda: recurrences.selective(16).model(),
                                  FORMS["convolution"][0], FORMS["few of many"][0]],
                         ids=["f16 product", "f32 product", "scan", "convolution", "few of many"])
def test_shared_memory(make, chip, kilobytes, tmp_path):
    """What a block can have: CUDA's programming guide, compute capabilities."""
    done = compile_to(tmp_path, f"--target=cuda:{chip}", model=make())
    assert done.returncode == 0, done.stderr
    kernels = describe(tmp_path / "m.so", "--device", "none")["device_kernels"]
    assert all(kernel["shared_bytes"] <= kilobytes * 1024 for kernel in kernels), kernels
