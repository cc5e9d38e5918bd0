# ===- test_include_directions.py - Who may include whom ------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Checks that includes follow the one direction of the rooms:

  MLIR <- lib/Support <- dialects <- {lib/Analysis <- lib/Emit, lib/Target, lib/Import}
       <- passes/* <- passes/Pipelines <- lib/Compiler <- tools <- test

and what is said of runtime, lib/Package and MLIR's InitAll headers. Each rule
is shown to find a violation planted in a tree made for it.
"""

import posixpath
import re
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {".h", ".hpp", ".c", ".cc", ".cpp", ".td"}
TOP = ("include", "lib", "dialects", "passes", "runtime", "tools", "test", "examples")
INCLUDE = re.compile(r'^\s*#?\s*include\s*([<"])([^">]+)[">]', re.MULTILINE)

BASE = {"lib/Support"}
DIALECTS = BASE | {"dialects"}
# Package turns a finished module into files: it stands beside the passes and
# knows none of them.
FACTS = DIALECTS | {"lib/Analysis", "lib/Emit", "lib/Target", "lib/Import"}
PIPELINES = FACTS | {"passes/*"}
COMPILER = PIPELINES | {"passes/Pipelines", "lib/Package", "include/ssm"}
ALLOWED = {
    "include/ssmrt": set(),
    "include/ssm": set(),
    "runtime": {"include/ssmrt"},
    "lib/Support": set(),
    "dialects": BASE,
    "lib/Analysis": DIALECTS,
    "lib/Emit": DIALECTS | {"lib/Analysis"},
    "lib/Target": DIALECTS,
    "lib/Import": DIALECTS | {"lib/Analysis", "lib/Target"},
    "lib/Package": DIALECTS | {"lib/Analysis", "lib/Target", "include/ssmrt"},
    "passes/*": FACTS,
    "passes/Pipelines": PIPELINES,
    "lib/Compiler": COMPILER,
    "tools": COMPILER | {"lib/Compiler", "include/ssmrt"},
    "examples": {"include/ssmrt", "include/ssm"},
    "examples/pass": FACTS,  # a pass, as those of passes/*
}
# Headers that are read by one room of the compiler only.
ABI = "include/ssmrt/module_abi.h"
ABI_READERS = ("lib/Package", "runtime", "include/ssmrt", "test", "tools/ssm-run")


def room_of(path):
    """'passes/Memory/X.cpp' -> 'passes/Memory'; None outside of all rooms."""
    parts = path.split("/")
    if path.startswith("examples/pass/"):
        return "examples/pass"
    if parts[0] in ("lib", "passes", "include") and len(parts) > 2:
        return "/".join(parts[:2])
    return parts[0] if parts[0] in TOP and len(parts) > 1 else None


def rule_of(room):
    """The name by which a room stands in the table."""
    if room.startswith("passes/") and room != "passes/Pipelines":
        return "passes/*"
    return room


def resolve(root, source, name):
    """The file of this repository that an include names, or None."""
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(source), name))
    if (root / beside).is_file():
        return beside
    if name.split("/")[0] in TOP:
        return posixpath.normpath(name)
    if name.split("/")[0] in ("ssm", "ssmrt"):
        return "include/" + posixpath.normpath(name)
    return None


def check_one(source, target):
    """Why `source` may not include the file `target`, or None."""
    here, there = room_of(source), room_of(target)
    if target == ABI and not source.startswith(tuple(f"{r}/" for r in ABI_READERS)):
        return "module_abi.h is for lib/Package and the runtime"
    if here == there or here is None or there is None or here == "test":
        return None
    if here not in ALLOWED and rule_of(here) not in ALLOWED:
        return f"{here} is no room known to this test"
    if rule_of(there) not in ALLOWED[rule_of(here)]:
        return f"{here} must not see {there}"
    return None


def violations(root):
    """-> sorted list of 'file: include: why'."""
    found, init_all = [], []
    paths = (path for top in TOP for path in (root / top).rglob("*"))
    for path in sorted(path for path in paths if path.suffix in SOURCES):
        source = path.relative_to(root).as_posix()
        for _, name in INCLUDE.findall(path.read_text(encoding="utf-8")):
            if re.match(r"mlir/InitAll\w*\.h$", name):
                init_all.append(source)
            if re.match(r"(mlir|llvm|mlir-c|llvm-c)/", name):
                if room_of(source) in ("runtime", "include/ssmrt", "include/ssm", "examples"):
                    found.append(f"{source}: {name}: {room_of(source)} is free of LLVM")
                continue
            target = resolve(root, source, name)
            why = target and check_one(source, target)
            if why:
                found.append(f"{source}: {name}: {why}")
    if len(set(init_all)) > 1:
        found += [f"{s}: InitAll headers belong in one file" for s in sorted(set(init_all))]
    return sorted(found)


PLANTED = [
    ("lib/Support/A.cpp", '#include "dialects/SSM/SSMOps.h"'),
    ("dialects/SSM/A.cpp", '#include "lib/Analysis/ShapeFacts.h"'),
    ("dialects/SSM/A.td", 'include "passes/Memory/Passes.td"'),
    ("lib/Analysis/A.h", '#include "lib/Import/OperatorTable.h"'),
    ("lib/Import/A.cpp", '#include "passes/Graph/Passes.h"'),
    ("passes/Memory/A.cpp", '#include "passes/CPU/Passes.h"'),
    ("passes/Memory/A.cpp", '  #  include "../CPU/Passes.h"'),
    ("passes/Memory/A.cpp", '#include "passes/Pipelines/Pipelines.h"'),
    ("passes/CPU/A.cpp", '#include "include/ssmrt/module_abi.h"'),
    ("lib/Compiler/A.cpp", "#include <ssmrt/module_abi.h>"),
    ("lib/Compiler/A.cpp", '#include "runtime/Module.h"'),
    ("passes/Pipelines/A.cpp", '#include "lib/Compiler/Driver.h"'),
    ("lib/Package/A.cpp", '#include "passes/CPU/Passes.h"'),
    ("lib/NewRoom/A.cpp", '#include "lib/Support/Version.h"'),
    ("lib/Compiler/A.cpp", '#include "tools/ssm-opt/Registration.h"'),
    ("tools/ssm-run/A.cpp", '#include "test/unit/Helper.h"'),
    ("runtime/A.cpp", '#include "lib/Package/Hash.h"'),
    ("runtime/A.cpp", '#include "llvm/ADT/StringRef.h"'),
    ("include/ssmrt/a.h", '#include "ssm/Compiler.h"'),
    ("examples/a.cpp", '#include "llvm/ADT/StringRef.h"'),
    ("examples/pass/A.cpp", '#include "passes/CPU/Passes.h"'),
]
FINE = [
    ("passes/Memory/A.cpp", '#include "lib/Import/OperatorTable.h"'),
    ("passes/Pipelines/A.cpp", '#include "passes/CPU/Passes.h"'),
    ("runtime/A.cpp", '#include "ssmrt/module_abi.h"'),
    ("lib/Package/A.cpp", '#include "include/ssmrt/module_abi.h"'),
    ("tools/ssm-opt/A.cpp", '#include "mlir/InitAllDialects.h"'),
    ("test/unit/A.cpp", '#include "passes/CPU/Passes.h"'),
]


class IncludeDirections(unittest.TestCase):
    def in_tree(self, files):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name in ("passes/CPU/Passes.h", "passes/Memory/Other.h"):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text("")
            for name, text in files:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text + "\n")
            return violations(root)

    def test_repository(self):
        self.assertEqual(violations(ROOT), [])

    def test_planted_violations_are_found(self):
        for source, line in PLANTED:
            with self.subTest(source=source, line=line):
                self.assertEqual(len(self.in_tree([(source, line)])), 1)

    def test_allowed_includes_pass(self):
        self.assertEqual(self.in_tree(FINE), [])

    def test_init_all_in_two_files(self):
        line = '#include "mlir/InitAllPasses.h"'
        planted = [("tools/ssm-opt/A.cpp", line), ("lib/Compiler/B.cpp", line)]
        self.assertEqual(len(self.in_tree(planted)), 2)


if __name__ == "__main__":
    unittest.main()
