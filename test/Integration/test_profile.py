# ===- test_profile.py - Time by kernel ------------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""ssm-run --profile and --trace: every kernel that --describe lists, no time lost, bytes
and operations by the sizes of the call, and the roofline beside them."""

import json
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from ssmtest import build, compiler
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402

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
            re.findall(r"^(kernel_\w+) +(\d+) +([0-9.]+) +[0-9.]+ %", told, re.M)}
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


def product():
    g = Builder()
    x = g.input("x", ["n", 40])
    w, b = (g.weight(np.random.default_rng(5).standard_normal(shape).astype(f32))
            for shape in ((40, 50), (50,)))
    g.output(g.add("Add", g.add("MatMul", x, w), b), ["n", 50], name="y")
    return g.model()


def softmax():
    g = Builder()
    g.output(g.add("Softmax", g.input("x", ["n", 21]), axis=1), ["n", 21], name="y")
    return g.model()


def gather():
    """Rows of a table; at many rows the table counts once."""
    g = Builder()
    table = g.weight(np.random.default_rng(6).standard_normal((64, 12)).astype(f32))
    index = g.input("x", ["n"], onnx.TensorProto.INT64)
    g.output(g.add("Gather", table, index), ["n", 12], name="y")
    return g.model()


# What a run at n moves and computes. A softmax: a maximum, a difference, an exponential, a
# sum and a quotient for each element.
WORK = {"matmul": (product, lambda n: 4 * (40 * n + 2050 + 50 * n), lambda n: n * 50 * 81),
        "softmax": (softmax, lambda n: 2 * 4 * 21 * n, lambda n: 5 * 21 * n),
        "gather": (gather, lambda n: 8 * n + min(n, 64) * 48 + 48 * n, lambda n: 0)}


def trace_of(module, tmp_path, *arguments):
    trace = tmp_path / "trace.json"
    told = run(module, *arguments, "--profile", "--trace", trace)
    return told, json.loads(trace.read_text())["traceEvents"]


@pytest.mark.parametrize("name", WORK)
def test_counts(name, tmp_path):
    make, wanted_bytes, wanted_flops = WORK[name]
    module = compiler.compile_model(make(), ["--profile"])
    for n in (0, 1, 7, 200, int(generator(f"profile {name}").integers(201, 999))):
        _, events = trace_of(module, tmp_path, "--dim", f"n={n}", "--threads", 1)
        counted = [event["args"] for event in events if name in event["name"]]
        assert len(counted) == 1, events
        # The packed weight of the product is wider by its padding.
        extra = 4 * 40 * 64 if name == "matmul" else 0
        # Without rows nothing is done, and weights are not read.
        wanted = wanted_bytes(n) if n else 0
        assert 0 <= counted[0]["bytes"] - wanted <= extra
        assert counted[0]["flops"] == wanted_flops(n)


def test_roofline(tmp_path):
    """The rates are what the trace says, and no kernel of matrices is above the roof."""
    module = compiler.compile_model(MODEL, ["--profile"])
    told, events = trace_of(module, tmp_path, "--dim", "batch=1", "--dim", "length=128",
                            "--threads", 1, "--repeat", 5)
    peak = float(re.search(r"^roofline of 1 thread: ([0-9.]+) GFLOP/s in f32, [0-9.]+ GB/s",
                           told, re.M)[1])
    rows = re.findall(r"^(kernel_\w+) .* % +(\d+) +(\d+) +([0-9.]+) +([0-9.]+) +([0-9.]+) %$", told,
                      re.M)
    assert len(rows) > 10 and peak > 1
    for name, moved, done, gflops, gbytes, share in rows:
        mine = [event for event in events if event["name"] == name]
        for count, key in ((moved, "bytes"), (done, "flops")):
            assert 5 * int(count) == sum(event["args"][key] for event in mine)
        least = sum(event["args"]["of_roofline"] * event["dur"] for event in mine)
        assert abs(100 * least / sum(event["dur"] for event in mine) - float(share)) < 0.1
        seconds = 1e-6 * sum(event["dur"] for event in mine)
        for rate, key in ((gflops, "flops"), (gbytes, "bytes")):
            wanted = 1e-9 * sum(event["args"][key] for event in mine) / seconds
            assert abs(float(rate) - wanted) <= 0.06 + 1e-3 * wanted
        # The clock of a shared machine is not the same throughout.
        if "matmul" in name:
            assert 1e2 * float(gflops) / peak - 0.2 <= float(share) < 150


def test_plain_loops(tmp_path):
    """Without optimisation there are other operations, and they count too."""
    module = compiler.compile_model(product(), ["--profile", "-O0"])
    _, events = trace_of(module, tmp_path, "--dim", "n=7")
    assert sum(event.get("args", {"flops": 0})["flops"] for event in events) == 7 * 50 * 81
