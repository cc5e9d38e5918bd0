# ===- test_profile.py - Time by kernel ------------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""ssm-run --profile and --trace: every kernel that --describe lists, and no time lost."""

import json
import re
import subprocess

from ssmtest import build, compiler

MODEL = build.MODELS / "bible_lm" / "bible_lm.onnx"


def run(module, *arguments, fails=False):
    done = subprocess.run([str(build.tool("ssm-run")), str(module), *map(str, arguments)],
                          capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


def test_profile(tmp_path):
    module, trace = compiler.compile_model(MODEL, ["--profile"]), tmp_path / "trace.json"
    listed = set(re.findall(r"^ +(kernel_\w+)$", run(module, "--describe"), re.M))
    told = run(module, "--dim", "batch=1", "--dim", "length=33", "--repeat", 3, "--profile",
               "--trace", trace)
    rows = {name: (int(calls), float(ms)) for name, calls, ms in
            re.findall(r"^(kernel_\w+) +(\d+) +([0-9.]+) +[0-9.]+ %$", told, re.M)}
    assert set(rows) == listed and len(listed) > 10
    # Seven layers.
    assert rows["kernel_scan16_silu_exp"][0] == 7 and rows["kernel_rmsnorm"][0] == 8
    whole = float(re.search(r"^a run +([0-9.]+)", told, re.M)[1])
    between = float(re.search(r"^between kernels +([0-9.]+)", told, re.M)[1])
    assert abs(sum(ms for _, ms in rows.values()) + between - whole) < 0.01 + 0.01 * whole
    events = json.loads(trace.read_text())["traceEvents"]
    assert len(events) == 3 * sum(calls for calls, _ in rows.values())
    assert {event["name"] for event in events} == listed
    assert all(a["ts"] + a["dur"] <= b["ts"] + 1 for a, b in zip(events, events[1:]))


def test_needs_a_module_that_tells():
    message = run(compiler.compile_model(MODEL), "--dim", "batch=1", "--dim", "length=3",
                  "--profile", fails=True)
    assert "compile it with --profile" in message
