#!/usr/bin/env python3
# ===- bisect_model.py - Where a compiled model goes wrong ------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Names the first node of a model whose value is wrong, and the stage that makes it so.

usage: bisect_model.py MODEL.onnx [--reference REF.safetensors] [--inputs IN.safetensors]
                       [--dim NAME=SIZE]... [-- OPTIONS OF ssm-compile]

Right is what the reference file holds under the names of the model's values; for
others, and without the file, what -O0 without added passes computes. All values of
the graph become outputs, and are compared in the order of the nodes. The stage: that
from which on optimising, or an added pass, makes the value wrong (--optimize-through).
Exit code: 0 nothing differs, 1 something does, 2 it could not be told.

Sees nodes of the main graph: of a Scan, Loop or If its results.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from safetensors import SafetensorError, safe_open

BIN = Path(__file__).resolve().parents[2] / "build" / "bin"
# Largest difference, in terms of the largest magnitude of what is right.
TOLERANCES = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-4,
              np.dtype(np.float16): 1e-2, np.dtype(ml_dtypes.bfloat16): 5e-2}
# With `llvm`, which comes after all of them.
STAGES = ["import", "graph", "tensor", "raise", "quantize", "fuse", "tile", "buffer", "vector",
          "target", "llvm"]
# Those where -O0 does something else.
OPTIMIZED = ["tensor", "raise", "fuse", "tile", "buffer", "vector", "llvm"]


class Failure(Exception):
    """A command failed; its last words."""


def call(*command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Failure(f"{shlex.join(map(str, command))}\n{last}")


def load(path):
    try:
        with safe_open(path, "np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise Failure(f"cannot read '{path}': {error}") from error


def difference(got, expected, tolerance):
    """What is wrong with a value, or None."""
    if got.shape != expected.shape:
        return f"has the shape {list(got.shape)}, expected {list(expected.shape)}"
    if got.size == 0:
        return None
    limit = tolerance if tolerance is not None else TOLERANCES.get(got.dtype, 0)
    a, b = got.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b))
    apart = np.where(np.isnan(apart), np.inf, apart)
    finite = np.abs(b[np.isfinite(b)])
    scale = finite.max() if finite.size and finite.max() > 0 else 1.0
    worst = np.unravel_index(apart.argmax(), apart.shape)
    if apart[worst] <= limit * scale:
        return None
    return (f"differs by {apart[worst] / scale:.2g} of the largest magnitude, at "
            f"{[int(i) for i in worst]}: {got[worst]}, expected {expected[worst]}")


class Graph:
    """The nodes of a model in order, and the model with other outputs."""

    def __init__(self, path):
        try:
            self.model = onnx.load(path, load_external_data=False)
        except Exception as error:
            raise Failure(f"cannot read '{path}': {error}") from error
        self.folder = Path(path).resolve().parent
        self.nodes = [node for node in self.model.graph.node if node.op_type != "Constant"]
        self.outputs = [output.name for output in self.model.graph.output]
        self.values = [name for node in self.nodes for name in node.output if name]

    def producer(self, value):
        return next((node for node in self.nodes if value in node.output), None)

    def save(self, path, names):
        """The outputs, and these values."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for name in dict.fromkeys(names):
            if name not in self.outputs:
                model.graph.output.append(onnx.ValueInfoProto(name=name))
        onnx.save(model, path)


class Bisection:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.graph = Graph(options.model)
        self.common, self.added = [], []
        words = iter(options.compile)
        for word in words:
            if word == "--add-pass" or word.startswith("--add-pass="):
                text = next(words, "") if word == "--add-pass" else word.split("=", 1)[1]
                if text.split("=")[0] not in STAGES:
                    raise Failure(f"--add-pass {text}: expected STAGE=PASS")
                self.added.append(text)
            else:
                self.common.append(word)
        self.reference = load(options.reference) if options.reference else {}

    def run(self, names, options, added):
        """The model with these values as outputs too -> all of them by name."""
        model, module, out = (self.folder / name for name in ("m.onnx", "m.so", "out.safetensors"))
        self.graph.save(model, names)
        call(BIN / "ssm-compile", model, "-o", module, "--weights-dir", self.graph.folder,
             *options, *(f"--add-pass={text}" for text in added))
        given = ["--inputs", self.options.inputs] if self.options.inputs else \
            ["--seed", self.options.seed]
        for name in ("dim", "int_range"):
            for text in getattr(self.options, name):
                given += [f"--{name.replace('_', '-')}", text]
        call(BIN / "ssm-run", module, "--outputs", out, *given)
        return load(out)

    def right(self, names):
        return {**self.run(names, [*self.common, "-O0"], []), **self.reference}

    def full(self, names):
        return self.run(names, self.common, self.added)

    def wrong(self, values, expected, names):
        """The first of these values that differs, and how; or None."""
        for name in names:
            if name in values and name in expected:
                how = difference(values[name], expected[name], self.options.tolerance)
                if how:
                    return name, how
        return None

    # The node.

    def first_wrong(self):
        """(value, how, values kept as outputs, expected values), or None."""
        # What fails here is not for lack of a value that can be an output.
        outputs = self.right([])
        every = self.graph.values
        try:
            expected = self.right(every)
            found = self.wrong(self.full(every), expected, every)
            if found:
                return *found, every, expected
            why = "with all values as outputs nothing differs"
        except Failure as failure:
            why = f"not all values can be outputs ({failure})"
        found = self.wrong(self.full([]), outputs, self.graph.outputs)
        if not found:
            return None
        print(f"{why}; going back from '{found[0]}'")
        return self.walk_back(*found, outputs)

    def walk_back(self, value, how, expected):
        """From a wrong output towards the inputs, as long as an input of the node is
        wrong."""
        kept = []
        while True:
            inputs = [name for name in self.graph.producer(value).input
                      if name and self.graph.producer(name)]
            try:
                right = self.right(inputs)
                found = self.wrong(self.full(inputs), right, inputs)
            except Failure as failure:
                print(f"the inputs of '{value}' cannot be outputs: {failure}")
                found = None
            if not found:
                return value, how, kept, expected
            (value, how), kept, expected = found, inputs, right

    # The stage.

    def report_stage(self, value, kept, expected):
        def agrees(options, added):
            return not self.wrong(self.run(kept, options, added), expected, [value])

        if not agrees([*self.common, "-O0"], []):
            print("stage: wrong at -O0 too: import, graph, the operator's lowering in tensor, or the "
                  "reference")
            return
        skipped = []
        for number, stage in enumerate(STAGES):
            added = [text for text in self.added if STAGES.index(text.split("=")[0]) <= number]
            if stage not in OPTIMIZED and not any(text.startswith(f"{stage}=") for text in added):
                continue
            options = [*self.common, *([] if stage == "llvm" else [f"--optimize-through={stage}"])]
            try:
                if agrees(options, added):
                    skipped = []
                    continue
            except Failure:
                # Stages that only work with the next.
                skipped.append(stage)
                continue
            print(f"stage: {stage}" + (f", or {' or '.join(skipped)}, which cannot be told from it"
                                       if skipped else ""))
            self.report_pass(options, added, [*skipped, stage], agrees)
            return
        print("stage: not found" + (f": {' and '.join(skipped)} cannot be run alone"
                                    if skipped else ""))

    def report_pass(self, options, added, stages, agrees):
        for text in added:
            stage, name = text.split("=", 1)
            if stage not in stages:
                continue
            try:
                if agrees(options, [other for other in added if other != text]):
                    print(f"pass: {name}; without it the value is right")
            except Failure:
                print(f"pass: {name}? without it nothing compiles")

    def report(self):
        found = self.first_wrong()
        if not found:
            print("no value differs")
            return 0
        value, how, kept, expected = found
        node = self.graph.producer(value)
        print(f"node: '{node.name}' ({node.op_type}), value '{value}'\n  {how}")
        print("  compared with " + ("the reference" if value in self.reference else "-O0"))
        self.report_stage(value, kept, expected)
        return 1


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bisect_model.py",
                                     description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("model")
    parser.add_argument("--reference", help="safetensors file of values that are right")
    parser.add_argument("--inputs", help="safetensors file; else random ones")
    parser.add_argument("--seed", default="1", help="of random inputs")
    parser.add_argument("--dim", action="append", default=[], help="NAME=SIZE, as ssm-run has it")
    parser.add_argument("--int-range", action="append", default=[], help="as ssm-run has it")
    parser.add_argument("--tolerance", type=float,
                        help="relative to the largest magnitude (by type: f32 1e-4, f16 1e-2)")
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:split])
    options.compile = arguments[split + 1:]
    return options


def main():
    options = parse(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="ssm-bisect-") as folder:
        try:
            return Bisection(options, Path(folder)).report()
        except Failure as failure:
            print(f"bisect_model.py: {failure}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
