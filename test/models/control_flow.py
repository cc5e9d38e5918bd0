# ===- control_flow.py - If, Loop and Scan within each other ---------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Models of nested control flow with captured values.

usage: control_flow.py NAME OUT.onnx
"""

import sys

import numpy as np
import onnx
from builder import BOOL, FLOAT, INT64, Builder


def scalar(value, dtype=np.int64):
    return np.array(value, dtype)


def branch(prefix, make, dims=None, dtype=FLOAT):
    """A graph without inputs that gives make(builder)."""
    g = Builder(prefix)
    g.output(g.add("Identity", make(g)), dims, dtype)
    return g.graph(prefix + "branch")


def if_captured():
    """x [n, m], flag -> x * scale or a reshaped sum: branches of other sizes,
    which read values of the graph around them."""
    g = Builder()
    x, flag = g.input("x", ["n", "m"]), g.input("flag", [], BOOL)
    scale = g.add("Add", x, g.weight(scalar(1.5, np.float32)))
    y = g.add("If", flag,
              then_branch=branch("then_", lambda b: b.add("Mul", x, scale)),
              else_branch=branch("else_", lambda b: b.add(
                  "ReduceSum", scale, b.constant(np.array([1])), keepdims=1)))
    g.output(y, ["n", "k"], name="y")
    return g.model()


def loop_growing():
    """x [m], trips, keep -> sum [m], rows [k, m], marks [k]: a loop that stops
    at its count or when its condition fails, and stacks what each turn gives."""
    g = Builder()
    x, trips = g.input("x", ["m"]), g.input("trips", [], INT64)
    limit = g.input("limit", [])
    body = Builder("turn_")
    turn = body.input("turn_number", [], INT64)
    body.input("turn_go", [], BOOL)
    carried = body.input("turn_sum", ["m"])
    new = body.add("Add", carried, x)
    go = body.add("Less", body.add("ReduceMax", new, keepdims=0), limit)
    body.output(body.add("Identity", go), [], BOOL)
    body.output(new, ["m"])
    body.output(body.add("Mul", new, x), ["m"])
    body.output(body.add("Mul", turn, turn), [], INT64)
    total, rows, marks = g.add("Loop", trips, g.weight(scalar(True, np.bool_)), x, count=3,
                               body=body.graph("turn"))
    g.output(total, ["m"], name="sum")
    g.output(rows, ["k", "m"], name="rows")
    g.output(marks, ["k"], INT64, name="marks")
    return g.model()


def loop_while():
    """x [] -> how often it can be halved before it is below 1: no trip count."""
    g = Builder()
    x = g.input("x", [])
    one = g.weight(scalar(1, np.float32), "one")
    body = Builder("turn_")
    body.input("turn_number", [], INT64)
    body.input("turn_go", [], BOOL)
    value = body.input("turn_value", [])
    count = body.input("turn_count", [], INT64)
    half = body.add("Mul", value, body.constant(scalar(0.5, np.float32)))
    body.output(body.add("GreaterOrEqual", half, one), [], BOOL)
    body.output(half, [])
    body.output(body.add("Add", count, body.constant(scalar(1))), [], INT64)
    value, count = g.add("Loop", "", g.add("GreaterOrEqual", x, one), x, g.weight(scalar(0)),
                         count=2, body=body.graph("turn"))
    g.output(value, [], name="value")
    g.output(count, [], INT64, name="count")
    return g.model()


def scan_axes():
    """x [m, t, 3], z [t, m] -> a Scan over inner axes with two states, two outputs
    stacked along other axes, one input and one output backwards."""
    g = Builder()
    x, z = g.input("x", ["m", "t", 3]), g.input("z", ["t", "m"])
    start = g.input("start", ["m", 3])
    body = Builder("step_")
    h, count = body.input("step_h", ["m", 3]), body.input("step_count", [], INT64)
    xt, zt = body.input("step_x", ["m", 3]), body.input("step_z", ["m"])
    half = body.constant(scalar(0.5, np.float32))
    wide = body.add("Unsqueeze", zt, body.constant(np.array([1])))
    new = body.add("Add", body.add("Mul", h, half), body.add("Mul", xt, wide))
    body.output(new, ["m", 3])
    body.output(body.add("Add", count, body.constant(scalar(1))), [], INT64)
    body.output(body.add("Sub", new, start), ["m", 3])
    body.output(body.add("ReduceSum", new, body.constant(np.array([1])), keepdims=0), ["m"])
    last, steps, differences, sums = g.add(
        "Scan", start, g.weight(scalar(0)), x, z, count=4, num_scan_inputs=2,
        scan_input_axes=[1, 0], scan_input_directions=[0, 1], scan_output_axes=[2, -1],
        scan_output_directions=[1, 0], body=body.graph("step"))
    g.output(last, ["m", 3], name="last")
    g.output(steps, [], INT64, name="steps")
    g.output(differences, ["m", 3, "t"], name="differences")
    g.output(sums, ["m", "t"], name="sums")
    return g.model()


def nested():
    """x [t, m], turns, flag -> a Loop around a Scan around an If; each inner graph
    reads values of all graphs around it."""
    g = Builder()
    x, turns = g.input("x", ["t", "m"]), g.input("turns", [], INT64)
    flag = g.input("flag", [], BOOL)
    shift = g.add("ReduceMean", x, g.ints(0), keepdims=0)
    loop = Builder("turn_")
    number = loop.input("turn_number", [], INT64)
    go = loop.input("turn_go", [], BOOL)
    carried = loop.input("turn_h", ["m"])
    turn_scale = loop.add("Cast", loop.add("Add", number, loop.constant(scalar(1))), to=FLOAT)
    step = Builder("step_")
    h, xt = step.input("step_h", ["m"]), step.input("step_x", ["m"])
    chosen = step.add(
        "If", flag,
        then_branch=branch("then_", lambda b: b.add("Add", xt, b.add("Mul", shift, turn_scale)),
                           ["m"]),
        else_branch=branch("else_", lambda b: b.add("Sub", h, carried), ["m"]))
    new = step.add("Add", step.add("Mul", h, step.constant(scalar(0.5, np.float32))), chosen)
    step.output(new, ["m"])
    step.output(step.add("Mul", new, shift), ["m"])
    last, ys = loop.add("Scan", carried, x, count=2, num_scan_inputs=1, body=step.graph("step"))
    loop.output(loop.add("Identity", go), [], BOOL)
    loop.output(loop.add("Tanh", last), ["m"])
    loop.output(ys, ["t", "m"])
    final, all_ys = g.add("Loop", turns, "", shift, count=2, body=loop.graph("turn"))
    g.output(final, ["m"], name="final")
    g.output(all_ys, ["turns", "t", "m"], name="all")
    return g.model()


def loop_widening():
    """x [1, m], trips -> a carried value that grows: [1 + trips, m]."""
    g = Builder()
    x, trips = g.input("x", [1, "m"]), g.input("trips", [], INT64)
    body = Builder("turn_")
    body.input("turn_number", [], INT64)
    go = body.input("turn_go", [], BOOL)
    rows = body.input("turn_rows", ["rows", "m"])
    last = body.add("Slice", rows, body.constant(np.array([-1])),
                    body.constant(np.array([2**63 - 1])), body.constant(np.array([0])))
    body.output(body.add("Identity", go), [], BOOL)
    body.output(body.add("Concat", rows, body.add("Add", last, x), axis=0), ["more", "m"])
    g.output(g.add("Loop", trips, "", x, body=body.graph("turn")), ["all", "m"], name="rows")
    return g.model()


MODELS = {f.__name__: f for f in (if_captured, loop_growing, loop_while, loop_widening, nested,
                                  scan_axes)}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in MODELS:
        sys.exit(__doc__ + "\nNAME: " + ", ".join(MODELS))
    onnx.save(MODELS[sys.argv[1]](), sys.argv[2])
