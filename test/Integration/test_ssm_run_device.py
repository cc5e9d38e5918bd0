# ===- test_ssm_run_device.py - ssm-run on devices ------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""ssm-run --device on a module written by hand (test/unit/runtime/DeviceModule.c), with
the driver of the runtime's tests, or none."""

import json
import os
import subprocess

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ssmtest import build, case

MODULES = build.BUILD / "test" / "unit" / "runtime" / "generated"
DRIVER = build.BUILD / "lib" / "libFakeCuda.so"
WEIGHT = np.array([0.5, -1.25, 3.0, 100.0], np.float32)


def run(*arguments, module="DeviceModule.so", driver=DRIVER, fails=False):
    """Standard output; with `fails` the one line of the error instead."""
    done = subprocess.run([str(build.tool("ssm-run")), str(MODULES / module),
                           *map(str, arguments)], capture_output=True, text=True,
                          env=os.environ | {"SSMRT_CUDA_DRIVER": str(driver)})
    if not fails:
        assert done.returncode == 0, done.stderr
        return done.stdout
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.startswith("ssm-run: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("arguments", [[], ["--device", "cuda"], ["--device", "cuda:1"],
                                       ["--device", "cuda", "--repeat", "5"]])
def test_run(tmp_path, arguments):
    rng = np.random.default_rng(case.seed())
    inputs = {name: rng.standard_normal((3, 7, 4)).astype(np.float32) for name in "xy"}
    save_file(inputs, tmp_path / "in")
    run("--inputs", tmp_path / "in", "--outputs", tmp_path / "out", *arguments)
    expected = 2 * inputs["x"] + inputs["y"] + WEIGHT
    np.testing.assert_array_equal(load_file(tmp_path / "out")["z"], expected)


def test_states(tmp_path):
    rng = np.random.default_rng(case.seed())
    x = rng.standard_normal((2, 4)).astype(np.float32)
    save_file({"x": x}, tmp_path / "in")
    for step in range(3):
        load = ["--load-states", tmp_path / "states"] if step else ["--carry-states"]
        run("--entry", "step", "--inputs", tmp_path / "in", "--outputs", tmp_path / "out",
            "--save-states", tmp_path / "states", *load)
    states = load_file(tmp_path / "states")
    np.testing.assert_array_equal(states["kv"], np.stack([x, x, x], 1))
    np.testing.assert_array_equal(load_file(tmp_path / "out")["new_h"], x + x + x)


@pytest.mark.parametrize("arguments,parts", [
    (["--device", "cuda:7"], ["cuda:7", "2 found"]),
    (["--device", "gpu"], ["'gpu'", "'cuda:N'"]),
    (["--device", "cpu"], ["no version for CPUs"]),
])
def test_refused(arguments, parts):
    message = run(*arguments, fails=True)
    assert all(part in message for part in parts), message


def test_refused_for_want_of_a_driver():
    for arguments in [], ["--device", "cuda"], ["--device", "cuda", "--describe"]:
        assert "no CUDA driver" in run(*arguments, driver="libnone.so", fails=True)
    assert "no version for device 'cuda'" in run("--device", "cuda", module="TestModule.so",
                                                 fails=True)


def test_describe():
    description = json.loads(run("--describe", "--json", driver="libnone.so"))
    assert description["device"] == "none"
    kernel, = [each for each in description["device_kernels"] if each["name"] == "tiles"]
    assert kernel == {"name": "tiles", "chip": "sm_90", "registers": 22,
                      "shared_bytes": 100 << 10, "spill_bytes": 4}
    assert json.loads(run("--describe", "--json"))["device"] == "cuda:0"
    text = run("--describe", driver="libnone.so")
    assert "kernels for sm_90:\n" in text and "tiles: 22 registers, 102400 bytes shared" in text
    assert json.loads(run("--json", module="TestModule.so"))["device_kernels"] == []


def test_profile(tmp_path):
    text = run("--profile", "--trace", tmp_path / "trace", "--repeat", "3", "--dim", "batch=2",
               "--dim", "seq=9")
    line, = [line.split() for line in text.splitlines() if line.startswith("twice+add")]
    # Two kernels of a millisecond each, 12 bytes and 3 operations for each of 72 elements.
    assert line[1:3] == ["1", "2.0000"]
    assert "roofline of cuda:0 (Fake GPU, sm_90, 4 multiprocessors)" in text
    events = json.loads((tmp_path / "trace").read_text())["traceEvents"]
    assert [event["name"] for event in events] == ["twice+add"] * 3
    assert all(abs(event["dur"] - 2000) < 1 for event in events)
    args = events[0]["args"]
    assert 0 < args.pop("of_roofline") < 1e-3 and args == {"bytes": 864, "flops": 216}
