# ===- test_nested_loops.py - A carry handed from loop to loop -------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Every kind of loop or branch inside every other, where the inner one starts with
the outer one's carry and what it leaves is the next carry, with nothing in between;
with and without outputs that are stacked. Against ONNX Runtime."""

import sys

import numpy as np
import pytest
from ssmtest import build, compare, compiler, reference, runtime
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
from builder import BOOL, INT64, Builder  # noqa: E402

KINDS = ["scan", "loop", "while", "if"]
SIZES = [(3, 5), (0, 2), (1, 1), (11, 3)]


def step(b, carry, x):
    return b.add("Add", b.add("Mul", carry, b.constant(np.array(0.5, f32))), x)


def inner(g, kind, carry, x, trips):
    """Adds to the builder a loop or branch over `carry` [d] with `x` [d]; returns
    what it leaves."""
    b = Builder(g.prefix + "inner_")
    if kind == "scan":
        c, e = b.input("inner_c", ["d"]), b.input("inner_e", [])
        b.output(b.add("Add", b.add("Mul", c, e), x), ["d"])
        return g.add("Scan", carry, x, num_scan_inputs=1, body=b.graph("inner"))
    if kind == "if":
        other = Builder(g.prefix + "other_")
        b.output(step(b, carry, x), ["d"])
        other.output(other.add("Neg", carry), ["d"])
        condition = g.add("Greater", g.add("ReduceSum", x, keepdims=0), g.constant(np.array(0, f32)))
        return g.add("If", condition, then_branch=b.graph("then"), else_branch=other.graph("else"))
    b.input("inner_i", [], INT64)
    go = b.input("inner_go", [], BOOL)
    c = b.input("inner_c", ["d"])
    new = step(b, c, x)
    if kind == "while":
        go = b.add("Less", b.add("ReduceMax", new, keepdims=0), b.constant(np.array(2, f32)))
    b.output(b.add("Identity", go), [], BOOL)
    b.output(new, ["d"])
    return g.add("Loop", trips, "", carry, body=b.graph("inner"))


def model(outer_kind, inner_kind, stacked):
    g = Builder()
    trips = g.input("trips", [], INT64)
    first, x = g.input("first", ["d"]), g.input("x", ["n", "d"])
    b = Builder("outer_")
    if outer_kind == "scan":
        carry, row = b.input("outer_c", ["d"]), b.input("outer_x", ["d"])
    elif outer_kind == "if":
        carry, row = first, b.add("ReduceSum", x, b.constant(np.array([0])), keepdims=0)
    else:
        turn = b.input("outer_i", [], INT64)
        go = b.input("outer_go", [], BOOL)
        carry = b.input("outer_c", ["d"])
        row = b.add("Gather", x, turn, axis=0)
    left = inner(b, inner_kind, carry, row, trips)
    if outer_kind in ("loop", "while"):
        if outer_kind == "while":
            go = b.add("Less", b.add("ReduceMax", left, keepdims=0),
                       b.constant(np.array(3, f32)))
        b.output(b.add("Identity", go), [], BOOL)
    b.output(b.add("Identity", left), ["d"])
    stacked = stacked and outer_kind != "if"
    if stacked:
        b.output(b.add("Mul", left, row), ["d"])
    count = 2 if stacked else 1
    if outer_kind == "scan":
        outs = g.add("Scan", first, x, count=count, num_scan_inputs=1, body=b.graph("outer"))
    elif outer_kind == "if":
        other = Builder("else_")
        other.output(other.add("Neg", first), ["d"])
        outs = g.add("If", g.add("Less", trips, g.constant(np.array(10))),
                     then_branch=b.graph("then"), else_branch=other.graph("else"))
    else:
        length = g.add("Squeeze", g.add("Shape", x, start=0, end=1))
        outs = g.add("Loop", length, "", first, count=count, body=b.graph("outer"))
    outs = [outs] if isinstance(outs, str) else outs
    g.output(outs[0], ["d"], name="last")
    if stacked:
        g.output(outs[1], ["k", "d"], name="stack")
    return g.model()


@pytest.mark.parametrize("stacked", [False, True], ids=["", "stacked"])
@pytest.mark.parametrize("inner_kind", KINDS)
@pytest.mark.parametrize("outer_kind", KINDS)
def test_carry_through(outer_kind, inner_kind, stacked, reference_only):
    proto = model(outer_kind, inner_kind, stacked)
    rng = generator(f"nested#{outer_kind}-{inner_kind}-{stacked}")
    for trips, length in SIZES:
        inputs = {"trips": np.array(trips), "first": rng.standard_normal(4, f32),
                  "x": rng.standard_normal((length, 4), f32)}
        wanted = reference.run_model(proto, inputs)
        if reference_only:
            continue
        for level in ("-O0", "-O3"):
            results = runtime.Module(compiler.compile_model(proto, [level])).session().run(inputs)
            for name, want in wanted.items():
                compare.check_close(name, results[name], want, np.dtype(f32), 1e-5)


@pytest.mark.parametrize("rows", [1, 5])
def test_top_k_in_a_loop(rows, reference_only):
    """On a GPU the loop is one block, which sorts row by row."""
    if reference_only:
        pytest.skip("needs the compiler")
    g, b = Builder(), Builder("inner_")
    trips, x = g.input("trips", [], INT64), g.input("x", [rows, "n"])
    b.input("inner_i", [], INT64)
    go, c = b.input("inner_go", [], BOOL), b.input("inner_c", [rows, "n"])
    best, places = b.add("TopK", c, b.constant(np.array([3])), count=2)
    last = b.add("Slice", best, *(b.constant(np.array([n])) for n in (2, 3, 1)))
    b.output(b.add("Identity", go), [], BOOL)
    b.output(b.add("Sub", last, c), [rows, "n"])
    b.output(places, [rows, 3], INT64)
    y, stack = g.add("Loop", trips, "", x, count=2, body=b.graph("inner"))
    g.output(y, [rows, "n"], name="y")
    g.output(stack, ["k", rows, 3], INT64, name="stack")
    session = runtime.Module(compiler.compile_model(g.model(), [])).session()
    rng = generator(f"top k in a loop {rows}")
    for count, size in ((0, 7), (3, 3), (4, 1200)):
        x = rng.integers(-50, 50, (rows, size)).astype(f32)
        got = session.run({"trips": np.array(count), "x": x})
        wanted = []
        for _ in range(count):
            wanted.append(np.argsort(-x, axis=1, kind="stable")[:, :3])
            x = np.take_along_axis(x, wanted[-1][:, 2:], 1) - x
        np.testing.assert_array_equal(got["stack"].reshape(-1, 3), np.array(wanted).reshape(-1, 3))
        np.testing.assert_array_equal(got["y"], x)
