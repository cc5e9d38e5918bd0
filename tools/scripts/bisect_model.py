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
       ssm-compile MODEL.onnx --bisect REF.safetensors|O0 [--bisect-inputs IN.safetensors] ...

Right is what the reference file holds under the names of the model's values; for
others, and without the file, what -O0 without added passes computes. Inputs may be in
the reference too. All values of the graph become outputs, and are compared in the order
of the nodes; where a Scan or Loop is wrong, the values of its body as well, from the
first step on ('RESULT/VALUE', RESULT the node's first output). The stage: that from
which on optimising, or an added pass, makes the value wrong (--optimize-through).
Exit code: 0 nothing differs, 1 something does, 2 it could not be told.

Of an If, and of what is nested in a body, it sees the results.
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
from safetensors.numpy import save_file

BIN = Path(__file__).resolve().parents[2] / "build" / "bin"
# What open sizes are, if that fits the model: no multiple of any tile.
SIZE = 7
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


def scale_of(expected):
    """Its largest magnitude, which differences are told in terms of."""
    values = np.abs(expected.astype(np.float64))
    finite = values[np.isfinite(values)]
    return finite.max() if finite.size and finite.max() > 0 else 1.0


def difference(got, expected, tolerance, scale):
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
    worst = np.unravel_index(apart.argmax(), apart.shape)
    if apart[worst] <= limit * scale:
        return None
    return (f"differs by {apart[worst] / scale:.2g} of the largest magnitude, at "
            f"{[int(i) for i in worst]}: {got[worst]}, expected {expected[worst]}")


def body_of(node):
    return next(attribute.g for attribute in node.attribute if attribute.name == "body")


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
        given = {tensor.name for tensor in self.model.graph.initializer}
        self.inputs = [value.name for value in self.model.graph.input if value.name not in given]
        # Values of bodies that were asked for, by the name of the output they become:
        # the node's first output, the node within, the value's name there.
        self.inner = {}

    def producer(self, value):
        return next((node for node in self.nodes if value in node.output), None)

    def body_values(self, node):
        """Names for the values of a loop's body, in the order of its nodes."""
        if node.op_type not in ("Scan", "Loop"):
            return []
        names = []
        result = next(name for name in node.output if name)
        for inner in body_of(node).node:
            for value in inner.output if inner.op_type != "Constant" else ():
                if value:
                    names.append(f"{result}/{value}")
                    self.inner[names[-1]] = (result, inner, value)
        return names

    def add_inner(self, model, name):
        """Makes the value of each step, one after the other, an output of the loop."""
        result, _, value = self.inner[name]
        node = next(node for node in model.graph.node if result in node.output)
        body_of(node).output.append(onnx.ValueInfoProto(name=value))
        node.output.append(name)
        for attribute in node.attribute:
            if attribute.name in ("scan_output_axes", "scan_output_directions"):
                attribute.ints.append(0)

    def save(self, path, names):
        """The outputs, and these values."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for name in dict.fromkeys(names):
            if name in self.inner:
                self.add_inner(model, name)
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
        self.inputs, self.sizes = options.inputs, list(options.dim)
        if options.reference:
            self.take_reference()

    def take_reference(self):
        """Says what can be compared; takes inputs that are in the file."""
        values = [*self.graph.values,
                  *(name for node in self.graph.nodes for name in self.graph.body_values(node))]
        known = sum(name in self.reference for name in values)
        if not known:
            raise Failure(f"no name in '{self.options.reference}' is one of a value of the model")
        print(f"reference: {known} of {len(values)} values")
        if self.inputs or not self.graph.inputs:
            return
        missing = [name for name in self.graph.inputs if name not in self.reference]
        if missing:
            raise Failure(f"the reference was computed from inputs: give them by --inputs, or in "
                          f"the file; it lacks '{missing[0]}'")
        self.inputs = self.folder / "in.safetensors"
        save_file({name: self.reference[name] for name in self.graph.inputs}, self.inputs)

    def choose_inputs(self):
        """Says what the model is run on -> the outputs that are right."""
        source = "in the reference" if self.options.reference else f"random, seed {self.options.seed}"
        if self.options.inputs:
            source = self.options.inputs
        elif not self.inputs and not self.sizes:
            self.sizes = [f"{size}={SIZE}" for size in self.open_sizes()]
        try:
            outputs = self.right([])
        except Failure:
            if self.inputs or self.options.dim or not self.sizes:
                raise
            # Not all of these sizes are free.
            self.sizes = []
            outputs = self.right([])
        told = [f"inputs: {source}"]
        if not self.inputs:
            told.append(f"sizes {', '.join(self.sizes)}" if self.sizes
                        else "open sizes 1" if self.open_sizes() else "all sizes fixed")
            told.append("whole numbers 0 and 1" if not self.options.int_range
                        else f"whole numbers {', '.join(self.options.int_range)}, others 0 and 1")
        print("; ".join(told), flush=True)
        return outputs

    def open_sizes(self):
        """As --dim names them."""
        names = []
        for value in self.graph.model.graph.input:
            if value.name in self.graph.inputs:
                for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                    if not dim.HasField("dim_value"):
                        names.append(dim.dim_param or f"{value.name}:{axis}")
        return list(dict.fromkeys(names))

    def run(self, names, options, added):
        """The model with these values as outputs too -> all of them by name."""
        model, module, out = (self.folder / name for name in ("m.onnx", "m.so", "out.safetensors"))
        self.graph.save(model, names)
        call(self.options.bin / "ssm-compile", model, "-o", module, "--weights-dir", self.graph.folder,
             *options, *(f"--add-pass={text}" for text in added))
        given = ["--inputs", self.inputs] if self.inputs else ["--seed", self.options.seed]
        if not self.inputs:
            given += [word for text in self.sizes for word in ("--dim", text)]
            given += [word for text in self.options.int_range for word in ("--int-range", text)]
        call(self.options.bin / "ssm-run", module, "--outputs", out, *given)
        return load(out)

    def right(self, names):
        return {**self.run(names, [*self.common, "-O0"], []), **self.reference}

    def full(self, names):
        return self.run(names, self.common, self.added)

    def wrong(self, values, expected, names):
        """The first of these values that differs, and how; or None."""
        for name in names:
            if name in values and name in expected:
                how = difference(values[name], expected[name], self.options.tolerance,
                                 scale_of(expected[name]))
                if how:
                    return name, how
        return None

    # The node.

    def first_wrong(self):
        """(value, how, values kept as outputs, expected values), or None."""
        # What fails here is not for lack of a value that can be an output.
        outputs = self.choose_inputs()
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

    def first_wrong_step(self, got, expected):
        """(step, how), or None."""
        if got.shape != expected.shape:
            return 0, difference(got, expected, None, 1)
        scale = scale_of(expected)
        for step, pair in enumerate(zip(got, expected)):
            how = difference(*map(np.asarray, pair), self.options.tolerance, scale)
            if how:
                return step, how
        return None

    def first_wrong_inside(self, node):
        """The same of the values of a loop's body: the first of the first step that is
        wrong, for later steps begin with what earlier ones left."""
        names = self.graph.body_values(node)
        if not names:
            return None
        try:
            expected, values = self.right(names), self.full(names)
        except Failure as failure:
            print(f"  the values of its body cannot be outputs: {failure}")
            return None
        found = [(*wrong, number) for number, name in enumerate(names)
                 if (wrong := self.first_wrong_step(values[name], expected[name]))]
        if not found:
            print("  with the values of its body as outputs nothing in it differs")
            return None
        step, how, number = min(found, key=lambda wrong: (wrong[0], wrong[2]))
        name = names[number]
        _, inner, value = self.graph.inner[name]
        print(f"  in its body, step {step}: '{inner.name}' ({inner.op_type}), value '{value}'\n"
              f"    {how}")
        return name, names, expected

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
        value, kept, expected = self.first_wrong_inside(node) or (value, kept, expected)
        self.report_stage(value, kept, expected)
        return 1


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bisect_model.py",
                                     description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("model")
    parser.add_argument("--reference", help="safetensors file of values that are right")
    parser.add_argument("--inputs", help="safetensors file; else those in the reference, or "
                                         "random ones")
    parser.add_argument("--seed", default="1", help="of random inputs")
    parser.add_argument("--dim", action="append", default=[],
                        help=f"NAME=SIZE, as ssm-run has it ({SIZE} if that fits, else 1)")
    parser.add_argument("--int-range", action="append", default=[],
                        help="NAME=LO:HI, as ssm-run has it (0:1)")
    parser.add_argument("--bin", type=Path, default=BIN, help="folder of the tools")
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
