# ===- test_bisect.py - Planted faults are found ----------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""tools/scripts/bisect_model.py on a model that a pass of the test plugin makes wrong."""

import os
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save
from safetensors.numpy import save_file

from ssmtest import build
from ssmtest.plugin import harmful_passes

SCRIPT = build.ROOT / "tools" / "scripts" / "bisect_model.py"


@pytest.fixture(scope="module")
def load():
    return harmful_passes()


@pytest.fixture
def model(tmp_path):
    """out = relu(exp(tanh(x w) - b)), and the values of its nodes in float64."""
    rng = np.random.default_rng(int(os.environ["SSM_TEST_SEED"]))
    w, b = rng.standard_normal((8, 16)) / 3, rng.uniform(1, 2, 16)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
             helper.make_node("Tanh", ["h"], ["t"], name="bend"),
             helper.make_node("Sub", ["t", "b"], ["s"], name="shift"),
             helper.make_node("Exp", ["s"], ["e"], name="grow"),
             helper.make_node("Relu", ["e"], ["out"], name="cut")]
    weights = [numpy_helper.from_array(value.astype(np.float32), name)
               for name, value in (("w", w), ("b", b))]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 16])], weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8),
         tmp_path / "m.onnx")
    x = rng.standard_normal((5, 8))
    save_file({"x": x.astype(np.float32)}, tmp_path / "in.safetensors")
    values = {"h": x @ w, "t": np.tanh(x @ w), "s": np.tanh(x @ w) - b}
    values["e"] = values["out"] = np.exp(values["s"])
    return {name: value.astype(np.float32) for name, value in values.items()}


def bisect(folder, *arguments):
    """-> (exit code, what it printed)."""
    done = subprocess.run([sys.executable, str(SCRIPT), "m.onnx", "--inputs", "in.safetensors",
                           *arguments], cwd=folder, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("reference", [False, True])
def test_nothing_differs(tmp_path, model, reference):
    save_file(model, tmp_path / "ref.safetensors")
    assert bisect(tmp_path, *(["--reference", "ref.safetensors"] if reference else [])) == \
        (0, "no value differs\n")


@pytest.mark.parametrize("stage,told", [
    ("tensor", "tensor"), ("raise", "raise"), ("quantize", "quantize"), ("fuse", "fuse"),
    # What tile leaves is only taken by the vector stage of the same level.
    ("tile", "vector, or tile or buffer, which cannot be told from it")])
def test_planted_in_a_stage(load, tmp_path, model, stage, told):
    code, out = bisect(tmp_path, "--", load, f"--add-pass={stage}=test-swap-sub")
    lines = out.splitlines()
    assert code == 1
    assert lines[0] == "node: 'shift' (Sub), value 's'", out
    assert lines[1].startswith("  differs by "), out
    assert lines[2:] == ["  compared with -O0", f"stage: {told}",
                         "pass: test-swap-sub; without it the value is right"], out


def test_the_right_one_of_several_passes(load, tmp_path, model):
    save_file(model, tmp_path / "ref.safetensors")
    code, out = bisect(tmp_path, "--reference", "ref.safetensors", "--", load,
                       "--add-pass=raise=cse", "--add-pass", "fuse=cse",
                       "--add-pass=fuse=test-swap-sub")
    assert code == 1
    assert "node: 'shift' (Sub)" in out and "compared with the reference" in out
    assert out.endswith("stage: fuse\npass: test-swap-sub; without it the value is right\n"), out


def test_hidden_where_all_values_are_kept(load, tmp_path, model):
    """Goes back from the output instead, as far as the fault shows."""
    code, out = bisect(tmp_path, "--", load, "--add-pass=fuse=test-swap-fused-sub")
    assert code == 1
    assert "with all values as outputs nothing differs; going back from 'out'" in out
    assert "(Relu), value 'out'" in out or "(Exp), value 'e'" in out, out
    assert "stage: fuse\npass: test-swap-fused-sub" in out


def test_wrong_before_any_optimisation(tmp_path, model):
    """A reference that -O0 contradicts: the first such value, and no stage is blamed."""
    model["t"] = model["t"] + 1
    save_file(model, tmp_path / "ref.safetensors")
    code, out = bisect(tmp_path, "--reference", "ref.safetensors")
    assert code == 1
    assert "node: 'bend' (Tanh), value 't'" in out
    assert "stage: wrong at -O0 too" in out


def test_what_cannot_be_told(tmp_path, model):
    for arguments, message in ((["--reference", "none"], "cannot read 'none'"),
                               (["--", "--emit=fus"], "unknown stage 'fus'"),
                               (["--", "--add-pass=fus=cse"], "expected STAGE=PASS"),
                               (["--inputs", "none"], "none")):
        code, out = bisect(tmp_path, *arguments)
        assert code == 2 and out.startswith("bisect_model.py: ") and message in out, out
