# ===- sweep.py - Cost per element over sizes 1 to 300 ----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Looks for cliffs: sizes whose cost per element is much above their neighbour's.

usage: build/venv/bin/python test/bench/sweep.py [--upto N] [--loss PERCENT] [NAME]...

Each kernel is compiled once with an open size and run at every size, on one thread.
Printed are neighbours between which the time per element grows by more than the loss;
these are measured again, in turns and longer, before they count.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test" / "harness"), str(ROOT / "test" / "models")]
import mamba  # noqa: E402
from builder import Builder  # noqa: E402
from ssmtest import compiler, runtime  # noqa: E402

f32 = np.float32
FIXED = 128


def product(axis):
    """A product of matrices with one open size; the weight is an argument."""
    def make():
        m, k, n = (d if d == axis else FIXED for d in "mkn")
        g = Builder()
        x, w = g.input("x", [m, k]), g.input("w", [k, n])
        g.output(g.add("MatMul", x, w), [m, n], name="y")
        return g.model()

    def inputs(size):
        m, k, n = (size if d == axis else FIXED for d in "mkn")
        return {"x": np.ones((m, k), f32), "w": np.ones((k, n), f32)}
    return make, inputs


def rows(op, **attributes):
    def make():
        g = Builder()
        x = g.input("x", [FIXED, "size"])
        g.output(g.add(op, x, **attributes), [FIXED, "size"], name="y")
        return g.model()
    return make, lambda size: {"x": np.ones((FIXED, size), f32)}


def channels():
    """A Mamba-1 scan of 64 steps with an open number of channels."""
    def make():
        g = Builder()
        state = g.input("state", [1, "inner", 16])
        names = [g.input(n, [64, 1, "inner"]) for n in ("dt", "u")]
        names += [g.input(n, [64, 1, 16]) for n in ("b", "c")]
        a, skip = g.input("a", ["inner", 16]), g.input("skip", ["inner"])
        last, y = g.add("Scan", state, *names, count=2, num_scan_inputs=4,
                        body=mamba.scan_step(a, skip))
        g.output(y, [64, 1, "inner"], name="y")
        g.output(last, [1, "inner", 16], name="last")
        return g.model()

    def inputs(size):
        return {"state": np.zeros((1, size, 16), f32), "dt": np.full((64, 1, size), 0.1, f32),
                "u": np.ones((64, 1, size), f32), "b": np.ones((64, 1, 16), f32),
                "c": np.ones((64, 1, 16), f32), "a": np.full((size, 16), -1, f32),
                "skip": np.ones(size, f32)}
    return make, inputs


KERNELS = {"matmul m": product("m"), "matmul k": product("k"), "matmul n": product("n"),
           "softmax": rows("Softmax", axis=-1), "sigmoid": rows("Sigmoid"),
           "scan channels": channels()}


def best(calls, seconds):
    """The least time of each call, in turns."""
    times = [float("inf")] * len(calls)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for i, call in enumerate(calls):
            begin = time.perf_counter()
            call()
            times[i] = min(times[i], time.perf_counter() - begin)
    return times


def losses(session, inputs, upto, allowed):
    """Neighbours (size, before, after) whose time per element grows too much. What a
    call costs whatever the size is taken off: a call of size 1 has little else."""
    def bind(size):
        return session.bind(inputs(size))
    overhead = best([bind(1)], 0.05)[0] * 0.9
    times = [best([bind(size)], 0.01)[0] for size in range(1, upto + 1)]

    def cost(seconds, size):
        return max(seconds - overhead, 1e-9) / size
    for size in range(2, upto + 1):
        if cost(times[size - 1], size) <= (1 + allowed) * cost(times[size - 2], size - 1) or \
                times[size - 2] < 2 * overhead:
            continue
        before, after = best([bind(size - 1), bind(size)], 0.3)
        if cost(after, size) > (1 + allowed) * cost(before, size - 1):
            yield size, cost(before, size - 1), cost(after, size)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upto", type=int, default=300)
    parser.add_argument("--loss", type=float, default=15)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    for name, (make, inputs) in KERNELS.items():
        if arguments.names and not any(word in name for word in arguments.names):
            continue
        session = runtime.Module(compiler.compile_model(make())).session()
        found = 0
        for size, before, after in losses(session, inputs, arguments.upto, arguments.loss / 100):
            found += 1
            print(f"{name:16} {size - 1:4} -> {size:4}: {before * 1e9:9.2f} -> {after * 1e9:9.2f} "
                  f"ns an element, {after / before - 1:+.0%}", flush=True)
        print(f"{name:16} {found} of {arguments.upto - 1} neighbours lose more than "
              f"{arguments.loss:.0f} %", flush=True)


if __name__ == "__main__":
    main()
