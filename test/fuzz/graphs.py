# ===- graphs.py - Many random graphs against ONNX Runtime -----------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Compiles random graphs (test/models/random_graphs.py, with --wide wide_graphs.py) and
compares them with a reference, at sizes that differ from graph to graph.

usage: build/venv/bin/python test/fuzz/graphs.py [--wide] [--first N] [--count N]
                                                 [--keep FOLDER]

The reference is ONNX Runtime. A graph counts as wrong if the module differs from it by
more than the bound, unless -O0 too, or the graph in float64 with inputs one unit in the
last place of f32 apart, differs by an eighth of that: some graphs lose as much in any order
of computing them, as the root of a sum that cancels.

With --wide it is the graph in float64, and each graph is compiled in a way of its own:
for a processor, at a level. What it may lose is a bound for its type, and four times
what is lost by ONNX Runtime in f32, or where the type is narrower by rounding what each
node computes to it. Graphs that lose ten times the bound so tell nothing.

Prints each graph that is wrong, or fails to compile or run, and keeps its model; the
exit code is 1 if there is one.
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
import wide_graphs  # noqa: E402
from ssmtest import compare, compiler, exact, machine, reference, runtime  # noqa: E402

BOUND = 1e-4
# Of a narrower type: twice that of a layer.
NARROW = {dtype: 2 * compare.BOUNDS[dtype] for dtype in (np.dtype(np.float16), compare.BFLOAT16)}
SYMBOL_SIZES = [1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 33, 40, 64, 100]
SECONDS = 120


def differs(got, wanted, allowed=BOUND, dtype=np.float32):
    """What is wrong, or None. `allowed`: for all, or by name. Differences of values near 1
    are as exact as those."""
    for name, want in wanted.items():
        largest = np.abs(want).max(initial=0)
        bound = allowed[name] if isinstance(allowed, dict) else allowed
        bound *= max(1, 1 / largest) if largest > 0 else 1
        try:
            compare.check_close(name, got[name], want, np.dtype(dtype), bound)
        except AssertionError as error:
            return str(error)
    return None


def amplifies(graph, inputs):
    """Whether inputs as good as equal give results that are not."""
    def evaluate(nudge):
        wide = {name: value.astype(np.float64) * (1 + nudge * np.sign(np.sin(np.arange(
            value.size).reshape(value.shape) + len(name)))) if value.dtype == np.float32 else value
            for name, value in inputs.items()}
        return exact.run_model(exact.retype(graph.model, np.float64), wide)
    there = evaluate(0)
    return any(differs(evaluate(nudge), there, BOUND / 8) for nudge in (2**-23, -2**-23))


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
            sensitive = differs(plain.session().run(inputs), wanted, BOUND / 8) is not None or \
                amplifies(graph, inputs)
            return f"{why} at {sizes}", sensitive
    return None, False


def losses(graph, inputs, wanted):
    """What each result loses in the graph's type: {name: relative error}."""
    wide = exact.retype(graph.model, np.float32)
    if graph.dtype != np.float32:
        wide = exact.round_results(wide, graph.dtype)
    found = {}
    for name, got in reference.run_model(wide, {k: v.astype(np.float32) for k, v in
                                                inputs.items()}).items():
        want = wanted[name]
        off = np.abs(got - want).max(initial=0)
        found[name] = float(off / max(1, np.abs(want).max(initial=0)))
    return found


def check_wide(number):
    """The same of a graph of many types and operators. One for a processor that this
    machine does not equal is right."""
    graph = wide_graphs.WideGraph(number)
    if not machine.runs(graph.cpu):
        return None, False
    module = runtime.Module(compiler.compile_model(graph.model, graph.options()))
    rng = np.random.default_rng(number)
    bound = NARROW.get(graph.dtype, BOUND)
    only_sensitive = False
    for threads in (1, 2):
        sizes = {s: int(rng.choice(SYMBOL_SIZES)) for s in random_graphs.SYMBOLS}
        inputs = graph.make_inputs(rng, sizes)
        wanted = exact.run_model(graph.model, inputs)
        lost = losses(graph, inputs, wanted)
        got = module.session(threads=threads).run(inputs)
        if not max(lost.values()) <= 10 * bound:
            only_sensitive = True
            continue
        why = differs(got, wanted, {name: bound + 4 * loss for name, loss in lost.items()},
                      graph.dtype)
        if why:
            return f"{why} at {sizes}, {graph.dtype} {' '.join(graph.options())}", False
    return ("it loses much" if only_sensitive else None), only_sensitive


def stop(*_):
    raise TimeoutError(f"took more than {SECONDS} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--first", type=int, default=10000)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, stop)
    judge, make = (check_wide, wide_graphs.WideGraph) if arguments.wide else \
        (check, random_graphs.RandomGraph)
    wrong = sensitive = 0
    for number in range(arguments.first, arguments.first + arguments.count):
        signal.alarm(SECONDS)
        try:
            why, only_sensitive = judge(number)
        except Exception as error:  # of any kind: that is what is looked for
            why, only_sensitive = f"{type(error).__name__}: {str(error)[:300]}", False
        signal.alarm(0)
        sensitive += bool(only_sensitive)
        if why and not only_sensitive:
            wrong += 1
            arguments.keep.mkdir(parents=True, exist_ok=True)
            onnx.save(make(number).model, str(arguments.keep / f"graph{number}.onnx"))
            print(f"graph {number}: {why}", flush=True)
        if (number - arguments.first + 1) % 500 == 0:
            print(f"{number - arguments.first + 1} graphs, {wrong} wrong, {sensitive} that "
                  "lose much in any way", flush=True)
    print(f"{arguments.count} graphs: {wrong} wrong, {sensitive} that lose much in any way")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
