# ===- test_ssm_run.py - The command line of the runtime ------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""ssm-run on the hand-written module of the runtime's unit tests (see
test/unit/runtime/TestModule.c for what its entries compute)."""

import json
import re
import subprocess

import numpy as np
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import load_file, save_file
from ssmtest import build, case, compiler

MODULE = build.BUILD / "test" / "unit" / "runtime" / "generated" / "TestModule.so"
WEIGHT = np.array([0.5, -1.25, 3.0, 100.0], np.float32)


def run(*arguments, fails=False):
    """Standard output; with `fails` the one line of the error instead."""
    done = subprocess.run([str(build.tool("ssm-run")), str(MODULE), *map(str, arguments)],
                          capture_output=True, text=True)
    if not fails:
        assert done.returncode == 0, done.stderr
        return done.stdout
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.startswith("ssm-run: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture
def rng():
    return np.random.default_rng(case.seed())


def main_inputs(rng, batch=2, seq=5):
    return {name: rng.standard_normal((batch, seq, 4)).astype(np.float32) for name in "xy"}


@pytest.mark.parametrize("batch,seq", [(1, 1), (3, 7), (0, 4)])
def test_safetensors(tmp_path, rng, batch, seq):
    inputs = main_inputs(rng, batch, seq)
    save_file(inputs, tmp_path / "in.bin")  # recognised by content, not by name
    run("--inputs", tmp_path / "in.bin", "--outputs", tmp_path / "out")
    outputs = load_file(tmp_path / "out")
    assert list(outputs) == ["z"]
    np.testing.assert_array_equal(outputs["z"], 2 * inputs["x"] + inputs["y"] + WEIGHT)


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, rng, order):
    inputs = main_inputs(rng)
    for name, value in inputs.items():
        np.save(tmp_path / f"{name}=.npy", np.asarray(value, order=order))
    run("--input", f"x={tmp_path}/x=.npy", "--input", f"y={tmp_path}/y=.npy",
        "--output-dir", tmp_path / "out")
    z = np.load(tmp_path / "out" / "z.npy")
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, 2 * inputs["x"] + inputs["y"] + WEIGHT)


def test_types_and_true_shapes(tmp_path):
    save_file({"ids": np.array([3, 1, 4, 1], np.int64),
               "flags": np.array([True, False, True, True])}, tmp_path / "in")
    run("--entry", "pick", "--inputs", tmp_path / "in", "--outputs", tmp_path / "out")
    values = load_file(tmp_path / "out")["values"]
    assert values.dtype == np.int64
    assert values.tolist() == [30, 40, 10]


def test_random_inputs(tmp_path):
    def z(*extra):
        run("--dim", "batch=2", "--dim", "seq=3", "--outputs", tmp_path / "out", *extra)
        return load_file(tmp_path / "out")["z"]

    assert z().shape == (2, 3, 4)
    np.testing.assert_array_equal(z("--seed", 5), z("--seed", 5))
    assert not np.array_equal(z("--seed", 5), z("--seed", 6))
    np.testing.assert_array_equal(z("--threads", 1), z("--threads", 8))
    text = run("--entry", "pick", "--dim", "n=1000", "--int-range", "ids=7:7", "--outputs",
               tmp_path / "out")
    assert text == ""
    assert set(load_file(tmp_path / "out")["values"].tolist()) == {70}


def test_random_scalar(tmp_path):
    """Nothing but inputs of rank 0: there is no size to give."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    module = compiler.compile_model(model)
    told = subprocess.run([str(build.tool("ssm-run")), str(module), "--outputs",
                           str(tmp_path / "y.safetensors")], capture_output=True, text=True,
                          check=False)
    assert told.returncode == 0, told.stderr
    assert load_file(tmp_path / "y.safetensors")["y"].shape == ()


def test_repeat():
    line = run("--dim", "batch=2", "--dim", "seq=3", "--repeat", 4).splitlines()[-1]
    match = re.fullmatch(r"min (\d+\.\d{4}) ms, median (\d+\.\d{4}) ms, max (\d+\.\d{4}) ms", line)
    assert match, line
    low, median, high = map(float, match.groups())
    assert low <= median <= high


def test_states(tmp_path, rng):
    xs = rng.standard_normal((3, 2, 4)).astype(np.float32)
    h, total = np.zeros((2, 4)), np.zeros((2, 4))
    for i, x in enumerate(xs):
        np.save(tmp_path / "x.npy", x)
        load = ["--load-states", tmp_path / "states"] if i else ["--carry-states"]
        run("--entry", "step", "--input", f"x={tmp_path}/x.npy", "--save-states",
            tmp_path / "states", "--outputs", tmp_path / "out", "--repeat", i, *load)
        h, total = h + x, total + x
        np.testing.assert_allclose(load_file(tmp_path / "out")["y"], h + total, atol=1e-5)
        states = load_file(tmp_path / "states")
        assert states["kv"].shape == (2, i + 1, 4)
        np.testing.assert_allclose(states["h"], h, atol=1e-6)
    # Without the flag they are inputs like others, and with it they begin from them.
    save_file({"x": xs[0], "h": states["h"], "kv": states["kv"]}, tmp_path / "in")
    for flags in [], ["--carry-states"]:
        run("--entry", "step", "--inputs", tmp_path / "in", "--outputs", tmp_path / "out", *flags)
        assert load_file(tmp_path / "out")["new_kv"].shape == (2, 4, 4)


def test_steps_and_steps_back(tmp_path, rng):
    """--then goes on with the states that are carried, --roll-back takes a run back."""
    xs = rng.standard_normal((3, 2, 4)).astype(np.float32)
    files = []
    for i, x in enumerate(xs):
        files.append(tmp_path / f"x{i}")
        save_file({"x": x}, files[-1])
    states, out = tmp_path / "states", tmp_path / "out"

    def h_after(*arguments):
        run("--entry", "step", "--inputs", files[0], *arguments, "--outputs", out,
            "--save-states", states)
        return load_file(states)["h"], load_file(states)["kv"].shape[1]

    def expect(result, *steps):
        np.testing.assert_allclose(result[0], sum(xs[i] for i in steps), atol=1e-5)
        assert result[1] == len(steps)
    expect(h_after("--then", files[1], "--then", files[2]), 0, 1, 2)
    expect(h_after("--then", files[1], "--roll-back", "--then", files[2]), 0, 2)
    np.testing.assert_allclose(load_file(out)["y"], xs[0] + xs[2] + xs[0] + xs[2], atol=1e-5)
    expect(h_after("--then", files[1], "--roll-back"), 0)
    # Once, and only what was run.
    kept = states.read_bytes()
    error = run("--entry", "step", "--inputs", files[0], "--then", files[1], "--roll-back",
                "--roll-back", "--save-states", states, fails=True)
    assert "no step to take back" in error and states.read_bytes() == kept
    assert "excludes" in run("--then", files[1], "--repeat", 2, fails=True)
    assert "excludes" in run("--json", "--profile", fails=True)
    save_file({"x": xs[1], "h": xs[1]}, files[1])
    assert "'h' is among the inputs" in run("--entry", "step", "--inputs", files[0], "--then",
                                            files[1], fails=True)
    assert "'h' is among the inputs, but --load-states" in run(
        "--entry", "step", "--inputs", files[1], "--load-states", states, fails=True)


def test_states_of_another_model(tmp_path):
    states = tmp_path / "states"
    run("--entry", "step", "--dim", "batch=1", "--save-states", states)
    other = ["--entry", "step", "--dim", "batch=1", "--load-states", states]

    def load(*arguments):
        return subprocess.run([str(build.tool("ssm-run")),
                               str(MODULE.with_name("TestModuleOtherModel.so")), *map(str, other),
                               *arguments], capture_output=True, text=True)
    refused = load()
    assert refused.returncode == 1 and "has states of another model" in refused.stderr
    assert load("--foreign-states").returncode == 0


def test_overwrites_nothing_that_it_reads(tmp_path, rng):
    for name in ("TestModule.so", "TestModule.weights.safetensors"):
        (tmp_path / name).write_bytes(MODULE.with_name(name).read_bytes())
    inputs = tmp_path / "inputs"
    save_file(main_inputs(rng), inputs)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "sum.npy").symlink_to(tmp_path / "TestModule.so")
    (tmp_path / "folder" / "y.npy").hardlink_to(tmp_path / "TestModule.so")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def refused(*arguments):
        done = subprocess.run([str(build.tool("ssm-run")), str(tmp_path / "TestModule.so"),
                               *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 1 and " would overwrite " in done.stderr, done
        assert {path: path.read_bytes() for path in before} == before
    weights = tmp_path / "TestModule.weights.safetensors"
    refused("--inputs", inputs, "--outputs", weights)
    refused("--inputs", inputs, "--outputs", tmp_path / "folder" / ".." / "TestModule.so")
    refused("--inputs", inputs, "--outputs", inputs)
    refused("--entry", "step", "--dim", "batch=1", "--save-states", weights)
    refused("--entry", "step", "--dim", "batch=1", "--output-dir", tmp_path / "folder")
    refused("--entry", "step", "--dim", "batch=1", "--outputs", tmp_path / "o", "--save-states",
            tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_output_that_cannot_be_written():
    for arguments in (["--describe"], ["--describe", "--json"], ["--dim", "batch=1", "--dim", "seq=1"],
                      ["--verify"], ["--dim", "batch=1", "--dim", "seq=1", "--repeat", "1"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([str(build.tool("ssm-run")), str(MODULE), *arguments],
                                  stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1
        assert "cannot write to the standard output" in done.stderr, arguments


def test_describe():
    text = run("--describe", "--dim", "seq=100")
    for part in ("x: float32 [batch, seq, 4]", "h -> new_h, fixed", "kv -> new_kv, append along axis 1",
                 "batch=16, seq=100: 51200 (arena 25600, states 0, outputs 25600)", "producer: by hand", "w: float32 [4]"):
        assert part in text
    module = json.loads(run("--describe", "--json", "--entry", "step"))
    assert [entry["name"] for entry in module["entries"]] == ["step"]
    assert module["entries"][0]["inputs"][2] == {"name": "kv", "type": "float32",
                                                 "shape": ["batch", "past", 4]}
    assert module["weights"][0]["bytes"] == 16
    # States twice, kv after a step; y is the only other output.
    assert module["entries"][0]["memory"][1] == {
        "sizes": {"batch": 16, "past": 16}, "arena_bytes": 0,
        "state_bytes": 2 * 16 * 4 * (1 + 17) * 4, "output_bytes": 16 * 4 * 4,
        "total_bytes": 2 * 16 * 4 * (1 + 17) * 4 + 16 * 4 * 4}


def test_verify(tmp_path):
    assert run("--verify") == "weights are whole: 1 tensors, 16 bytes\n"
    assert json.loads(run("--verify", "--describe", "--json"))["weight_bytes"] == 16
    weights = bytearray(MODULE.with_name("TestModule.weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "w").write_bytes(weights)
    assert "damaged" in run("--verify", "--weights", tmp_path / "w", fails=True)


@pytest.mark.parametrize("arguments,part", [
    (["--entry", "nope"], "there is no entry 'nope'; there are: main, step, pick, faulty"),
    (["--inputs", "/no/such/file"], "/no/such/file"),
    (["--inputs", MODULE], "is not a safetensors file"),
    (["--input", "q=x.npy"], "there is no input 'q'; there are: x, y"),
    (["--input", "x=/no/such.npy"], "cannot read '/no/such.npy'"),
    (["--input", f"x={MODULE}"], "is not a .npy file"),
    (["--dim", "batch"], "expected NAME=VALUE"),
    (["--dim", "batch=-1"], "not negative"),
    (["--dim", "batch=x"], "'x' is not a whole number"),
    (["--dim", "other=1"], "there are: batch, seq"),
    (["--dim", "batch=1000000000000", "--dim", "seq=100"], "too large"),
    (["--int-range", "x=0:1"], "float32, not an integer"),
    (["--entry", "pick", "--dim", "n=4", "--int-range", "ids=50:60"], "Gather_7 (Gather): index"),
    (["--entry", "step", "--carry-states", "--load-states", MODULE, "--dim", "batch=1"],
     "is not a safetensors file"),
    (["--weights", "/no/such/weights"], "/no/such/weights"),
    (["--threads", "-1"], "--threads"),
    (["--seed", "-1"], "--seed"),
    (["--seed", "18446744073709551616"], "--seed"),
    (["--dim", "batch=1", "--trace", "/no/such/trace"], "compile it with --profile"),
    (["--inputs", "/no/such/file", "--profile"], "compile it with --profile"),
    (["--unknown"], "--unknown"),
])
def test_errors(tmp_path, arguments, part):
    out = tmp_path / "out"
    assert part in run(*arguments, "--outputs", out, fails=True).splitlines()[-1]
    assert not out.exists()


def test_error_writes_nothing(tmp_path):
    message = run("--dim", "batch=1", "--dim", "seq=1", "--outputs", "/no/such/folder/out", fails=True)
    assert "/no/such/folder/out" in message
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 4), np.float64))
    message = run("--input", f"x={tmp_path}/x.npy", "--output-dir", tmp_path / "out", fails=True)
    assert "element type is float64, expected float32" in message
    assert not (tmp_path / "out").exists()


def test_damaged_module(tmp_path):
    damaged = bytearray(MODULE.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    path = tmp_path / "m.so"
    path.write_bytes(damaged)
    done = subprocess.run([str(build.tool("ssm-run")), str(path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"module '{path}' is damaged" in done.stderr
