#!/usr/bin/env python3
# ===- new.py - Skeletons of passes, operations and operators --------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Writes what a new pass, operation of the ssm dialect or ONNX operator consists of,
from templates/, and enters it where it has to be known. It builds, and its tests
pass; they are to be filled in with it.

usage: new.py pass ROOM NAME           a pass in passes/ROOM
       new.py op NAME                  an operation of dialects/SSM
       new.py operator NAME [--domain D] [--since N]
                                       an entry of the operator table
NAME is in CamelCase: FuseSwish, TopK.
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = Path(__file__).resolve().parent / "templates"
WIDTH = 80


def words(name):
    """'FuseSwish' -> ['fuse', 'swish']; 'LSTMCell' -> ['lstm', 'cell']."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)]


def banner(match):
    """The first line of a file, as wide as all of them."""
    title, kind = match.group(1), match.group(2)
    start, end = ("# ===- ", "===#") if ".py" in title else ("//===- ", "===//")
    end = f"-*- {kind} -*-{end}" if kind else end
    return f"{start}{title} ".ljust(WIDTH - len(end), "-") + end


def fill(template, names):
    text = (TEMPLATES / f"{template}.in").read_text(encoding="utf-8")
    for key, value in names.items():
        text = text.replace(f"@{key}@", value)
    return re.sub(r"^@Banner:(.*)@(\w*)$", banner, text, flags=re.MULTILINE)


def refuse_known(pattern, files, what):
    """Ends if one of these files has it already."""
    for path in sorted(path for glob in files for path in ROOT.glob(glob)):
        if re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE):
            sys.exit(f"new.py: {path.relative_to(ROOT)} has {what}")


class Change:
    """Files to write, all or none."""

    def __init__(self):
        self.files = {}

    def create(self, path, text):
        if (ROOT / path).exists():
            sys.exit(f"new.py: {path} is already there")
        self.files[path] = text

    def edit(self, path, function):
        before = self.files.get(path) or (ROOT / path).read_text(encoding="utf-8")
        after = function(before)
        if after == before:
            sys.exit(f"new.py: found no place for it in {path}")
        self.files[path] = after

    def insert_sorted(self, path, pattern, line):
        """Puts a line among those that match, in order."""
        def insert(text):
            lines = text.splitlines(keepends=True)
            found = [i for i, other in enumerate(lines) if re.fullmatch(pattern, other.strip("\n"))]
            # Only the first run of such lines.
            run = [i for n, i in enumerate(found) if i == found[0] + n]
            if run:
                lines.insert(next((i for i in run if lines[i] > line), run[-1] + 1), line)
            return "".join(lines)
        self.edit(path, insert)

    def write(self):
        for path, text in self.files.items():
            print(f"{'changed' if (ROOT / path).exists() else 'new'}: {path}")
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(text, encoding="utf-8")


def new_pass(change, options, names):
    room, name = options.room, options.name
    folder = f"passes/{room}"
    rooms = sorted(path.parent.name for path in ROOT.glob("passes/*/Passes.td"))
    if room not in rooms:
        sys.exit(f"new.py: passes/{room} is no room, expected one of {', '.join(rooms)}")
    kebab = "-".join(words(name))
    argument = ("onnx-" if room == "Graph" else "ssm-") + kebab
    if kebab.startswith("stage-"):
        sys.exit(f"new.py: {argument} would be the name of a stage")
    names.update(Room=room, argument=argument)
    change.create(f"{folder}/{name}.cpp", fill("pass.cpp", names))
    # Whatever the room: passes share one registry and one namespace.
    refuse_known(rf'"{argument}"|^def {name}\b', ["passes/*/Passes.td", "tools/**/*.cpp"],
                 f"a pass {name} or {argument}")
    change.create(f"test/Passes/{room}/{kebab}.mlir", fill("pass.mlir", names))
    change.insert_sorted(f"{folder}/CMakeLists.txt", r"  \w+\.cpp", f"  {name}.cpp\n")
    change.edit(f"{folder}/Passes.td", lambda text: re.sub(
        r"^#endif(?![\s\S]*^#endif)", lambda m: fill("pass.td", names) + m.group(), text,
        flags=re.MULTILINE))
    return [f"its place in passes/Pipelines/Pipelines.cpp, and a line in {folder}/README.md"]


def new_op(change, options, names):
    name, folder = options.name, "dialects/SSM"
    kebab = "-".join(words(name))
    change.create(f"{folder}/{name}Ops.td", fill("op.td", names))
    refuse_known(rf'\bSSM_{name}Op\b|\bSSM_Op<"{names["snake_name"]}"', [f"{folder}/*.td"],
                 f"an operation {name}Op or ssm.{names['snake_name']}")
    change.create(f"{folder}/{name}Ops.cpp", fill("op.cpp", names))
    change.create(f"test/Dialect/SSM/{kebab}.mlir", fill("op.mlir", names))
    change.create(f"test/Dialect/SSM/{kebab}-invalid.mlir", fill("op-invalid.mlir", names))
    change.insert_sorted(f"{folder}/CMakeLists.txt", r"  \w+\.cpp", f"  {name}Ops.cpp\n")
    change.insert_sorted(f"{folder}/SSMOps.td", r'include "dialects/SSM/\w+\.td"',
                         f'include "dialects/SSM/{name}Ops.td"\n')
    return ["a pass that lowers it (until then the tensor stage refuses it), the interfaces it "
            "needs, and a line in dialects/SSM/README.md"]


def new_operator(change, options, names):
    name = options.name
    refuse_known(rf'"{name}"', ["lib/Import/Operators/*.cpp"],
                 f"an operator {name}; another version of it is a row there")
    names.update(domain=options.domain, since=str(options.since),
                 opset="18" if options.domain else str(max(options.since, 18)))
    function = f"register{name}Operators"
    change.create(f"lib/Import/Operators/{name}.cpp", fill("operator.cpp", names))
    change.create(f"test/ops/test_{names['snake_name']}.py", fill("operator.py", names))
    change.edit("lib/Import/Operators/Families.h", lambda text: text.replace(
        "\n} // namespace ssm::onnx",
        f"\nvoid {function}(OperatorTable &table); // {name}\n}} // namespace ssm::onnx"))
    change.edit("lib/Import/OperatorTable.cpp", lambda text: text.replace(
        "\n    return made;", f"\n    {function}(made);\n    return made;"))
    return ["what it computes, in the lowering and as the formula of its test"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0],
                                     prog="new.py")
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind, function in (("pass", new_pass), ("op", new_op), ("operator", new_operator)):
        sub = kinds.add_parser(kind)
        sub.set_defaults(function=function)
        if kind == "pass":
            sub.add_argument("room", metavar="ROOM", help="a folder of passes/")
        sub.add_argument("name", metavar="NAME", help="in CamelCase")
        if kind == "operator":
            sub.add_argument("--domain", default="", help="of ONNX's own if not given")
            sub.add_argument("--since", type=int, default=1, help="first opset version")
    options = parser.parse_args()
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", options.name):
        sys.exit(f"new.py: '{options.name}' is no name in CamelCase")
    names = {"Name": options.name, "NAME": options.name.upper(),
             "snake_name": "_".join(words(options.name))}
    change = Change()
    remaining = options.function(change, options, names)
    change.write()
    for text in remaining:
        print(f"left to do: {text}")


if __name__ == "__main__":
    main()
