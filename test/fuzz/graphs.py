# ===- graphs.py - Many random graphs against ONNX Runtime -----------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Compiles random graphs (test/models/random_graphs.py) and compares them with ONNX
Runtime, at sizes that differ from graph to graph.

usage: build/venv/bin/python test/fuzz/graphs.py [--first N] [--count N] [--keep FOLDER]

A graph counts as wrong if the module differs from ONNX Runtime by more than the bound
and -O0 by less than an eighth of that: some graphs lose as much in any order of
computing them. Prints each graph that is wrong, or fails to compile or run, and keeps
its model; the exit code is 1 if there is one.
"""

import argparse
import signal
import sys
from pathlib import Path

import numpy as np
import onnx

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test" / "harness"), str(ROOT / "test" / "models")]
import random_graphs  # noqa: E402
from ssmtest import compare, compiler, reference, runtime  # noqa: E402

BOUND = 1e-4
SYMBOL_SIZES = [1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 33, 40, 64, 100]
SECONDS = 120


def differs(got, wanted, allowed=BOUND):
    """What is wrong, or None. Differences of values near 1 are as exact as those."""
    for name, want in wanted.items():
        largest = np.abs(want).max(initial=0)
        bound = allowed * max(1, 1 / largest) if largest > 0 else allowed
        try:
            compare.check_close(name, got[name], want, np.dtype(np.float32), bound)
        except AssertionError as error:
            return str(error)
    return None


def check(number):
    """-> (what is wrong or None, whether the graph is only sensitive)."""
    graph = random_graphs.RandomGraph(number)
    module = runtime.Module(compiler.compile_model(graph.model))
    rng = np.random.default_rng(number)
    for threads in (1, 2):
        sizes = {s: int(rng.choice(SYMBOL_SIZES)) for s in random_graphs.SYMBOLS}
        inputs = graph.make_inputs(rng, sizes)
        wanted = reference.run_model(graph.model, inputs)
        why = differs(module.session(threads=threads).run(inputs), wanted)
        if why:
            plain = runtime.Module(compiler.compile_model(graph.model, ["-O0"]))
            sensitive = differs(plain.session().run(inputs), wanted, BOUND / 8) is not None
            return f"{why} at {sizes}", sensitive
    return None, False


def stop(*_):
    raise TimeoutError(f"took more than {SECONDS} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=10000)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, stop)
    wrong = sensitive = 0
    for number in range(arguments.first, arguments.first + arguments.count):
        signal.alarm(SECONDS)
        try:
            why, only_sensitive = check(number)
        except Exception as error:  # of any kind: that is what is looked for
            why, only_sensitive = f"{type(error).__name__}: {str(error)[:300]}", False
        signal.alarm(0)
        sensitive += bool(only_sensitive)
        if why and not only_sensitive:
            wrong += 1
            arguments.keep.mkdir(parents=True, exist_ok=True)
            onnx.save(random_graphs.RandomGraph(number).model,
                      str(arguments.keep / f"graph{number}.onnx"))
            print(f"graph {number}: {why}", flush=True)
        if (number - arguments.first + 1) % 500 == 0:
            print(f"{number - arguments.first + 1} graphs, {wrong} wrong, {sensitive} that -O0 "
                  "loses too", flush=True)
    print(f"{arguments.count} graphs: {wrong} wrong, {sensitive} that -O0 loses too")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
