# ===- test_bisect.py - Planted faults are found ----------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""tools/scripts/bisect_model.py, and ssm-compile --bisect, on models that a pass of the
test plugin makes wrong."""

import os
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save
from safetensors import safe_open
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


def run(folder, *words):
    """-> (exit code, what it printed)."""
    done = subprocess.run([str(word) for word in words], cwd=folder, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False,
                          env={**os.environ, "SSM_PYTHON": sys.executable})
    return done.returncode, done.stdout


def script(folder, *arguments):
    return run(folder, sys.executable, SCRIPT, "m.onnx", f"--bin={build.BUILD}/bin", *arguments)


def bisect(folder, *arguments):
    return script(folder, "--inputs", "in.safetensors", *arguments)


def compiler(folder, *arguments):
    return run(folder, build.tool("ssm-compile"), "m.onnx", *arguments)


@pytest.mark.parametrize("reference", [False, True])
def test_nothing_differs(tmp_path, model, reference):
    save_file(model, tmp_path / "ref.safetensors")
    told = "inputs: in.safetensors\nno value differs\n"
    assert bisect(tmp_path, *(["--reference", "ref.safetensors"] if reference else [])) == \
        (0, "reference: 5 of 5 values\n" + told if reference else told)


@pytest.mark.parametrize("stage", ["tensor", "raise", "fuse", "tile", "buffer"])
def test_planted_in_a_stage(load, tmp_path, model, stage):
    code, out = bisect(tmp_path, "--", load, f"--add-pass={stage}=test-swap-sub")
    lines = out.splitlines()
    assert code == 1
    assert lines[1] == "node: 'shift' (Sub), value 's'", out
    assert lines[2].startswith("  differs by "), out
    assert lines[3:] == ["  compared with -O0", f"stage: {stage}",
                         "pass: test-swap-sub; without it the value is right"], out


def test_planted_in_vector(load, tmp_path, model):
    """By the compiler's own option. The pass changes elementary functions too."""
    code, out = compiler(tmp_path, "--bisect=O0", "--bisect-inputs", "in.safetensors", load,
                         "--add-pass", "vector=test-swap-sub")
    assert code == 1
    assert "node: 'bend' (Tanh), value 't'" in out
    assert out.endswith("stage: vector\npass: test-swap-sub; without it the value is right\n"), out


@pytest.fixture
def scan(tmp_path):
    """h = 0.5 h - x and y = tanh(h) for each x."""
    body = helper.make_graph(
        [helper.make_node("Mul", ["h", "half"], ["d"], name="decay"),
         helper.make_node("Sub", ["d", "x"], ["n"], name="step"),
         helper.make_node("Tanh", ["n"], ["y"], name="bend")], "body",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [6]) for name in "hx"],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [6]) for name in "ny"],
        [numpy_helper.from_array(np.float32(0.5), "half")])
    graph = helper.make_graph(
        [helper.make_node("Scan", ["h0", "xs"], ["h1", "ys"], name="loop", body=body,
                          num_scan_inputs=1, scan_output_directions=[1])], "g",
        [helper.make_tensor_value_info("h0", TensorProto.FLOAT, [6]),
         helper.make_tensor_value_info("xs", TensorProto.FLOAT, ["steps", 6])],
        [helper.make_tensor_value_info("h1", TensorProto.FLOAT, [6]),
         helper.make_tensor_value_info("ys", TensorProto.FLOAT, ["steps", 6])])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8),
         tmp_path / "m.onnx")


def test_in_the_body_of_a_scan(load, tmp_path, scan):
    """The node of the first wrong step, not the one that takes its result in the next."""
    code, out = compiler(tmp_path, "--bisect", "O0", load, "--add-pass=tensor=test-swap-sub")
    assert code == 1
    assert out.startswith("inputs: random, seed 1; sizes steps=7; whole numbers 0 and 1\n"
                          "node: 'loop' (Scan), value 'h1'\n"), out
    assert "  in its body, step 0: 'step' (Sub), value 'n'\n    differs by " in out
    assert out.endswith("stage: tensor\npass: test-swap-sub; without it the value is right\n"), out


def test_reference_for_a_body(tmp_path, scan):
    """The values of its steps, one after the other; here the third is another."""
    x = np.random.default_rng(int(os.environ["SSM_TEST_SEED"])).uniform(1, 2, (4, 6))
    h, steps = np.zeros(6), []
    for row in x:
        steps.append(0.5 * h - row)
        h = steps[-1]
    steps = np.array(steps, np.float32)
    steps[2] += 1
    save_file({"h0": np.zeros(6, np.float32), "xs": x.astype(np.float32), "h1/n": steps,
               "h1": np.ones(6, np.float32)}, tmp_path / "ref.safetensors")
    code, out = compiler(tmp_path, "--bisect=ref.safetensors")
    assert code == 1
    assert out.startswith("reference: 2 of 5 values\ninputs: in the reference\n"), out
    assert "  in its body, step 2: 'step' (Sub), value 'n'\n" in out
    assert out.endswith("or the reference\n"), out


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
    with safe_open(tmp_path / "in.safetensors", "np") as file:
        model["x"] = file.get_tensor("x")
    save_file(model, tmp_path / "ref.safetensors")
    code, out = compiler(tmp_path, "--bisect=ref.safetensors")
    assert code == 1
    assert out.startswith("reference: 5 of 5 values\ninputs: in the reference\n")
    assert "node: 'bend' (Tanh), value 't'" in out
    assert "stage: wrong at -O0 too" in out


def test_what_cannot_be_told(tmp_path, model):
    for arguments, message in ((["--reference", "none"], "cannot read 'none'"),
                               (["--", "--emit=fus"], "unknown stage 'fus'"),
                               (["--", "--add-pass=fus=cse"], "expected STAGE=PASS"),
                               (["--inputs", "none"], "none")):
        code, out = bisect(tmp_path, *arguments)
        assert code == 2 and out.startswith("bisect_model.py: ") and message in out, out
    save_file({"/other/name": model["t"]}, tmp_path / "other.safetensors")
    assert bisect(tmp_path, "--reference", "other.safetensors") == (
        2, "bisect_model.py: no name in 'other.safetensors' is one of a value of the model\n")
    save_file({"t": model["t"]}, tmp_path / "t.safetensors")
    code, out = script(tmp_path, "--reference", "t.safetensors")
    assert code == 2 and "reference: 1 of 5 values\n" in out and "it lacks 'x'" in out


@pytest.mark.parametrize("arguments,message", [
    (["--bisect=O0", "-o", "m.so"], "--bisect takes one model and keeps nothing: leave out -o"),
    (["--bisect=O0", "m.onnx"], "--bisect: expected one model"),
    (["--bisect-inputs=x"], "--bisect-inputs needs --bisect"),
    (["--bisect"], "option --bisect needs a value"),
])
def test_options_of_the_compiler(tmp_path, model, arguments, message):
    code, out = compiler(tmp_path, *arguments)
    assert code == 1 and out.startswith("error: " + message), out
