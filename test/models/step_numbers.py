# ===- step_numbers.py - Scans that read and write where a number tells ----===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Scans over a table [K, D] of which each step reads or writes rows, at places that it is given
or counts itself: what caches of keys and values are. Each takes inputs table [K, D], xs [L, D] and
places [L, 2] or start [1]; the outputs are last [K, D] and ys [L, D]."""

import numpy as np
from builder import INT64, Builder


def _scan(body, table, row, places, count):
    g = Builder()
    carries = [g.input("table", ["K", "D"])]
    if count is not None:
        carries.append(g.input("start", [1], INT64))
    inputs = [g.input("xs", ["L", "D"])]
    if places is not None:
        inputs.append(g.input("places", ["L", 2], INT64))
    body.output(table, ["K", "D"])
    if count is not None:
        body.output(count, [1], INT64)
    body.output(row, ["D"])
    last, *_, ys = g.add("Scan", *carries, *inputs, count=len(carries) + 1,
                         num_scan_inputs=len(inputs), body=body.graph("step"))
    g.output(last, ["K", "D"], name="last")
    g.output(ys, ["L", "D"], name="ys")
    return g.model()


def _body():
    body = Builder("step_")
    return body, body.input("t", ["K", "D"])


def written(reduction="none"):
    """Two rows of the table are written, or added to, at places that are given."""
    body, t = _body()
    x, at = body.input("x", ["D"]), body.input("at", [2], INT64)
    updates = body.add("Concat", *(body.add("Unsqueeze", v, body.constant(np.array([0])))
                                   for v in (x, body.add("Neg", x))), axis=0)
    new = body.add("ScatterND", t, body.add("Unsqueeze", at, body.constant(np.array([1]))),
                   updates, **({} if reduction == "none" else {"reduction": reduction}))
    total = body.add("ReduceSum", new, body.constant(np.array([0])), keepdims=0)
    return _scan(body, new, total, at, None)


def _counted(read):
    body, t = _body()
    n, x = body.input("n", [1], INT64), body.input("x", ["D"])
    one, zero = body.constant(np.array([1])), body.constant(np.array([0]))
    row = body.add("Squeeze", read(body, t, n, body.add("Add", n, one), zero), zero)
    return _scan(body, body.add("Add", t, x), body.add("Add", x, row), None, body.add("Add", n, one))


def gathered():
    """A row of the table is read at a number that steps count."""
    return _counted(lambda body, t, n, end, zero: body.add("Gather", t, n, axis=0))


def sliced():
    """The same as a slice, whose size a compiler can't tell."""
    return _counted(lambda body, t, n, end, zero: body.add("Slice", t, n, end, zero))


def wanted_written(table, xs, places, reduction="none"):
    table, ys = table.astype(np.float64), []
    for x, at in zip(xs.astype(np.float64), places):
        table = table.copy()
        for place, value in zip(at, (x, -x)):
            table[place] = value if reduction == "none" else table[place] + value
        ys.append(table.sum(0))
    return table, np.array(ys).reshape(xs.shape)


def wanted_counted(table, xs, start):
    table, ys = table.astype(np.float64), []
    for n, x in enumerate(xs.astype(np.float64)):
        ys.append(x + table[start + n])
        table = table + x
    return table, np.array(ys).reshape(xs.shape)
