# ===- test_readout.py - States that are read outside of their Scan ---------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Scans that give the state of every step, and what is then computed from all of them:
against NumPy in double precision; that it is one kernel, and what memory it takes."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import helper
from ssmtest import build, compare, compiler, runtime
from ssmtest.case import bf16, f16, f32, generator

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402

# By letters, as in an Einsum: the state; what it decays by; the two whose product is added;
# what reads it, and what comes out. b and t, batch and time, are in front of all.
FORMS = {
    "mamba1": dict(state="dn", keep="dn", fed=("d", "n"), c="n", y="d"),
    "channel": dict(state="dn", keep="d", fed=("d", "n"), c="n", y="d"),
    "mamba2": dict(state="hpn", keep="h", fed=("hp", "n"), c="n", y="hp"),
    "gated": dict(state="hkv", keep="hk", fed=("hk", "hv"), c="hk", y="hv"),
}
SIZES = dict(n=16, h=3, p=5, k=16, v=7)


def put(g, value, dims, onto):
    """`value`, of axes b t and dims, with axes of size 1 for what else `onto` has."""
    axes = [2 + i for i, dim in enumerate(onto) if dim not in dims]
    return g.add("Unsqueeze", value, g.ints(*axes)) if axes else value


def read_sum(g, hs, c, form):
    state = form["state"]
    return g.add("ReduceSum", g.add("Mul", hs, put(g, c, form["c"], state)),
                 g.ints(2 + state.index(form["c"][-1])), keepdims=0)


def read_matmul(g, hs, c, form):
    """The state's last two axes, or them turned, times a column."""
    if form["c"][-1] != form["state"][-1]:
        hs = g.add("Transpose", hs, perm=[0, 1, 2, 4, 3])
    c = put(g, c, form["c"], form["state"][:-2] + form["c"][-1])
    return g.add("Squeeze", g.add("MatMul", hs, g.add("Unsqueeze", c, g.ints(-1))), g.ints(-1))


def read_row(g, hs, c, form):
    """A row times the state's last two axes, or them turned."""
    rank = len(form["state"])
    if form["c"][-1] == form["state"][-1]:
        hs = g.add("Transpose", hs, perm=[*range(rank), rank + 1, rank])
    c = put(g, c, form["c"], form["state"][:-2] + form["c"][-1])
    return g.add("Squeeze", g.add("MatMul", g.add("Unsqueeze", c, g.ints(-2)), hs), g.ints(-2))


def read_einsum(g, hs, c, form):
    return g.add("Einsum", hs, c,
                 equation=f"bt{form['state']},bt{form['c']}->bt{form['y']}")


READS = {"sum": read_sum, "matmul": read_matmul, "row": read_row, "einsum": read_einsum}


def make(name, read, dtype=f32, outside=False, gate=True, every=False, backward=False):
    """outside: decay and what is fed are computed in front of the Scan, for all steps;
    every: the states are an output too."""
    form = FORMS[name]
    state = form["state"]
    g, body = Builder(), Builder("step_")
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def dims(letters, *front):
        return [*front, *(SIZES.get(letter, letter) for letter in letters)]
    start = g.input("h", dims(state, "b"), kind)
    names = {"keep": form["keep"], "x": form["fed"][0], "w": form["fed"][1], "c": form["c"],
             "z": form["y"]}
    given = {n: g.input(n, dims(d, "b", "t"), kind) for n, d in names.items()}

    def parts(b, keep, x, w, place):
        decay = place(b.add("Exp", keep), names["keep"])
        return decay, b.add("Mul", place(x, names["x"]), place(w, names["w"]))
    h = body.input("step_h", dims(state, "b"), kind)
    if outside:
        given_parts = parts(g, given["keep"], given["x"], given["w"],
                            lambda v, d: put(g, v, d, state))
        sequences = [g.add("Expand", v, g.add("Shape", given_parts[1])) for v in given_parts]
        decay, fed = (body.input(f"step_{n}", dims(state, "b"), kind) for n in ("decay", "fed"))
    else:
        def place(value, letters):
            axes = np.array([1 + i for i, dim in enumerate(state) if dim not in letters])
            return body.add("Unsqueeze", value, body.constant(axes)) if axes.size else value
        sequences = [given[n] for n in ("keep", "x", "w")]
        decay, fed = parts(body, *(body.input(f"step_{n}", dims(names[n], "b"), kind)
                                   for n in ("keep", "x", "w")), place)
    new = body.add("Add", body.add("Mul", decay, h), fed)
    body.output(body.add("Identity", new), dims(state, "b"), kind)
    body.output(body.add("Identity", new), dims(state, "b"), kind)
    way = int(backward)
    last, hs = g.add("Scan", start, *sequences, count=2, num_scan_inputs=len(sequences),
                     scan_input_axes=[1] * len(sequences), scan_output_axes=[1],
                     scan_input_directions=[way] * len(sequences), scan_output_directions=[way],
                     body=body.graph("step"))
    y = READS[read](g, hs, given["c"], form)
    if gate:
        y = g.add("Mul", g.add("Add", y, given["z"]), g.add("Sigmoid", given["z"]))
    g.output(y, dims(form["y"], "b", "t"), kind, name="y")
    g.output(last, dims(state, "b"), kind, name="last")
    if every:
        g.output(hs, dims(state, "b", "t"), kind, name="hs")
    return g.model()


def draw(name, rng, b, t, d, dtype):
    form, sizes = FORMS[name], dict(SIZES, d=d)

    def some(letters, *front, low=-1.0):
        shape = [*front, *(sizes[letter] for letter in letters)]
        return rng.uniform(low, low + (2 if low == -1 else 1), shape).astype(dtype)
    state = form["state"]
    return {"h": some(state, b), "keep": some(form["keep"], b, t, low=-1.5),
            "x": some(form["fed"][0], b, t), "w": some(form["fed"][1], b, t),
            "c": some(form["c"], b, t), "z": some(form["y"], b, t)}


def reference(name, given, gate=True, backward=False):
    form = FORMS[name]
    state = form["state"]
    wide = {n: a.astype(np.float64) for n, a in given.items()}
    steps = range(wide["x"].shape[1])
    h, hs = wide["h"], np.zeros((len(wide["h"]), len(steps), *wide["h"].shape[1:]))
    for t in reversed(steps) if backward else steps:
        keep = np.einsum(f"b{form['keep']},b{state}->b{state}", np.exp(wide["keep"][:, t]),
                         np.ones_like(h))
        h = keep * h + np.einsum(f"b{form['fed'][0]},b{form['fed'][1]}->b{state}",
                                 wide["x"][:, t], wide["w"][:, t])
        hs[:, t] = h
    def read(hs, c, z):
        y = np.einsum(f"bt{state},bt{form['c']}->bt{form['y']}", hs, c)
        return (y + z) / (1 + np.exp(-wide["z"])) if gate else y
    return {"y": read(hs, wide["c"], wide["z"]), "last": h, "hs": hs,
            "most": read(abs(hs), abs(wide["c"]), abs(wide["z"]))}


def kernels(model, tmp_path):
    """The kernels that the stage fuse leaves, and scans that are none, a line each."""
    onnx.save(model, str(tmp_path / "m.onnx"))
    done = compiler.run_compiler([tmp_path / "m.onnx", "--emit=fuse", "-o", tmp_path / "m.mlir"])
    assert done.returncode == 0, done.stderr
    return [line for line in (tmp_path / "m.mlir").read_text().splitlines()
            if "ssm.kernel" in line or "ssm.scan" in line]


def check(session, name, given, dtype, **options):
    got = session.run(given)
    wanted = reference(name, given, **options)
    for key, want in wanted.items():
        if key in got:
            # A sum of few elements can be small beside what is summed up.
            largest = abs(want).max(initial=0)
            lost = wanted["most"].max() / largest if key == "y" and largest > 0 else 1
            compare.check_close(f"{key} of {given['x'].shape}", got[key], want, np.dtype(dtype),
                                2 * compare.BOUNDS[np.dtype(dtype)] * max(1, lost))


CASES = [(name, read) for name in FORMS for read in READS]


@pytest.mark.parametrize("outside", [False, True], ids=["", "outside"])
@pytest.mark.parametrize("name,read", CASES)
def test_one_kernel(name, read, outside, tmp_path):
    model = make(name, read, outside=outside)
    # A decay of a head is computed once for it, before.
    *before, scan = kernels(model, tmp_path)
    assert len(before) <= outside and " time " in scan and "ssm.kernel" in scan
    session = runtime.Module(compiler.compile_model(model)).session()
    rng = generator(f"readout {name} {read} {outside}")
    for b, t, d in [(2, 9, 17), (1, 33, 16), (1, 1, 1), (3, 17, 40), (2, 0, 5), (0, 4, 3),
                    (1, 8, 0)]:
        check(session, name, draw(name, rng, b, t, d, f32), f32)


@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("dtype", [f16, bf16], ids=["f16", "bf16"])
@pytest.mark.parametrize("name,read", [("mamba1", "sum"), ("mamba2", "matmul"), ("gated", "row")])
def test_half(name, read, dtype, level):
    session = runtime.Module(compiler.compile_model(make(name, read, dtype), [level])).session()
    rng = generator(f"readout {name} {dtype} {level}")
    for b, t, d in [(2, 9, 17), (1, 33, 16), (1, 1, 1), (1, 0, 3)]:
        check(session, name, draw(name, rng, b, t, d, dtype), dtype)


@pytest.mark.parametrize("name,read", [("mamba1", "sum"), ("gated", "einsum")])
def test_against_time(name, read, tmp_path):
    model = make(name, read, backward=True)
    assert len(kernels(model, tmp_path)) == 1
    session = runtime.Module(compiler.compile_model(model)).session()
    rng = generator(f"readout backward {name}")
    for b, t, d in [(2, 9, 17), (1, 33, 16), (1, 1, 1)]:
        check(session, name, draw(name, rng, b, t, d, f32), f32, backward=True)


def test_states_are_an_output_too(tmp_path):
    model = make("mamba1", "sum", every=True)
    assert len(kernels(model, tmp_path)) == 1
    session = runtime.Module(compiler.compile_model(model)).session()
    rng = generator("readout every")
    for b, t, d in [(2, 9, 17), (1, 33, 16), (1, 1, 1), (1, 0, 2)]:
        check(session, "mamba1", draw("mamba1", rng, b, t, d, f32), f32)


@pytest.mark.parametrize("read", READS)
def test_no_states_of_all_steps_in_memory(read):
    module = compiler.compile_model(make("channel", read, outside=True))
    length, channels = 1000, 320
    text = subprocess.run([str(build.tool("ssm-run")), str(module), "--describe", "--json",
                           "--dim", "b=1", "--dim", f"t={length}", "--dim", f"d={channels}"],
                          check=True, capture_output=True, text=True).stdout
    row, = json.loads(text)["entries"][0]["memory"]
    assert row["arena_bytes"] <= 3 * 4 * channels * SIZES["n"]


def reduced(how, g):
    """What is not fused: sums over the channels, over time, and what goes on with a sum."""
    x = g.input("x", ["b", "t", 24])
    body = Builder("step_")
    h, v = body.input("step_h", ["b", 24]), body.input("step_x", ["b", 24])
    new = body.add("Add", body.add("Mul", h, body.weight(f32(0.5))), v)
    for _ in range(2):
        body.output(body.add("Identity", new), ["b", 24])
    start = g.input("h", ["b", 24])
    last, hs = g.add("Scan", start, x, count=2, num_scan_inputs=1, scan_input_axes=[1],
                     scan_output_axes=[1], body=body.graph("step"))
    if how == "norm":
        mean = g.add("ReduceMean", g.add("Mul", hs, hs), g.ints(-1), keepdims=1)
        hs = g.add("Div", hs, g.add("Sqrt", g.add("Add", mean, g.weight(f32(0.1)))))
    elif how == "broadcast":
        hs = g.add("Add", g.add("Unsqueeze", hs, g.ints(-1)), g.weight(np.arange(8, dtype=f32)))
    else:
        hs = g.add("ReduceSum", hs, g.ints({"channels": -1, "time": 1}[how]), keepdims=0)
    g.output(hs, [None] * {"norm": 3, "broadcast": 4}.get(how, 2), name="y")
    g.output(last, ["b", 24], name="last")
    return g.model()


@pytest.mark.parametrize("how", ["channels", "time", "norm", "broadcast"])
def test_what_stays_outside(how, tmp_path):
    model = reduced(how, Builder())
    assert len(kernels(model, tmp_path)) == 2
    session = runtime.Module(compiler.compile_model(model)).session()
    rng = generator(f"readout {how}")
    for b, t in [(2, 9), (1, 33), (1, 1), (17, 2)]:
        given = {"x": rng.uniform(-1, 1, (b, t, 24)).astype(f32),
                 "h": rng.uniform(-1, 1, (b, 24)).astype(f32)}
        h, hs = given["h"].astype(np.float64), []
        for step in range(t):
            h = h * 0.5 + given["x"][:, step]
            hs.append(h)
        hs = np.stack(hs, 1)
        want = {"channels": lambda: hs.sum(-1), "time": lambda: hs.sum(1),
                "norm": lambda: hs / np.sqrt((hs**2).mean(-1, keepdims=True) + 0.1),
                "broadcast": lambda: hs[..., None] + np.arange(8)}[how]()
        got = session.run(given)
        compare.check_close("y", got["y"], want, np.dtype(f32))
        compare.check_close("last", got["last"], h, np.dtype(f32))
