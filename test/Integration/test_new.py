# ===- test_new.py - The skeletons that new.py writes -----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""tools/scripts/new.py in a copy of the repository. What it leaves is built as far as
seconds allow: a pass as a plugin, which runs its test; of the rest the tables are
generated, the sources checked by the compiler, and the operator's references made."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from ssmtest import build


@pytest.fixture
def tree(tmp_path):
    ignore = shutil.ignore_patterns("models", "Regression", "__pycache__")
    for name in ("dialects", "include", "lib", "passes", "test", "tools"):
        shutil.copytree(build.ROOT / name, tmp_path / name, ignore=ignore)
    return tmp_path


@pytest.fixture(scope="module")
def llvm():
    """The folder of LLVM and MLIR: bin, include, lib."""
    cache = (build.BUILD / "CMakeCache.txt").read_text(encoding="utf-8")
    return re.search(r"^MLIR_DIR:\w+=(.*)/lib/cmake/mlir$", cache, re.MULTILINE).group(1)


def call(*command, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **options)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}"
    return done.stdout


def new(tree, *arguments):
    return call(sys.executable, tree / "tools" / "scripts" / "new.py", *arguments)


def refused(tree, *arguments):
    done = subprocess.run([sys.executable, str(tree / "tools" / "scripts" / "new.py"), *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return done.stderr.strip()


def generate(tree, room, llvm):
    """Runs the tables of a room's CMakeLists.txt -> the folder they lie under."""
    source = None
    for kind, rest in re.findall(r"^(set\(LLVM_TARGET_DEFINITIONS|ssm_tablegen\() *(.*)\)$",
                                 (tree / room / "CMakeLists.txt").read_text(), re.MULTILINE):
        if kind.startswith("set"):
            source = tree / room / rest
            continue
        output, *flags = rest.split()
        folder = tree / "generated" / room
        folder.mkdir(parents=True, exist_ok=True)
        call(f"{llvm}/bin/mlir-tblgen", *flags, source, "-I", tree, "-I", f"{llvm}/include", "-o",
             folder / output)
    return tree / "generated"


def compiler(tree, like):
    """The command that compiled the file `like`, without input and output, for the
    copy and what was generated in it."""
    commands = json.loads((build.BUILD / "compile_commands.json").read_text())
    command = next(c["command"] for c in commands if c["file"] == str(build.ROOT / like))
    words = [f"-I{tree}" if word == f"-I{build.ROOT}" else word for word in shlex.split(command)]
    words.insert(words.index(f"-I{tree}"), f"-I{tree}/generated")
    return words[:words.index("-o")]


def entered(tree, path, line):
    """The file has the line once, behind a smaller one."""
    lines = (tree / path).read_text().splitlines()
    at = lines.index(line)
    assert lines.count(line) == 1 and lines[at - 1] < line, lines[at - 1:at + 2]


def test_pass(tree, llvm):
    out = new(tree, "pass", "Fusion", "JoinPairs")
    assert "passes/Pipelines/Pipelines.cpp" in out
    entered(tree, "passes/Fusion/CMakeLists.txt", "  JoinPairs.cpp")
    generate(tree, "passes/Fusion", llvm)
    (tree / "plugin.cpp").write_text("""
#include "passes/Fusion/JoinPairs.cpp"
#include "mlir/Tools/Plugins/PassPlugin.h"
extern "C" PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "new", "1", [] { ssm::registerJoinPairs(); }};
}
""")
    # The room's other passes are declared only.
    call(*compiler(tree, "passes/Fusion/FuseKernels.cpp"), "-O0", "-ffunction-sections", "-shared",
         "-Wl,--gc-sections,-z,lazy", "-fuse-ld=lld", f"-L{llvm}/lib", "-lMLIR", "-lLLVM", "-o",
         tree / "plugin.so", tree / "plugin.cpp")
    test = tree / "test/Passes/Fusion/join-pairs.mlir"
    assert "-ssm-join-pairs" in test.read_text()
    call("bash", "-o", "pipefail", "-c",
         f"{build.tool('ssm-opt')} {test} --load-pass-plugin={tree}/plugin.so "
         "--pass-pipeline='builtin.module(func.func(ssm-join-pairs))' "
         f"| {llvm}/bin/FileCheck {test}")


def test_op(tree, llvm):
    new(tree, "op", "TopValues")
    entered(tree, "dialects/SSM/CMakeLists.txt", "  TopValuesOps.cpp")
    entered(tree, "dialects/SSM/SSMOps.td", 'include "dialects/SSM/TopValuesOps.td"')
    generated = generate(tree, "dialects/SSM", llvm)
    assert '"ssm.top_values"' in (generated / "dialects/SSM/SSMOps.h.inc").read_text()
    call(*compiler(tree, "dialects/SSM/ScanOps.cpp"), "-fsyntax-only",
         tree / "dialects/SSM/TopValuesOps.cpp")
    for name in ("top-values", "top-values-invalid"):
        assert "ssm.top_values" in (tree / f"test/Dialect/SSM/{name}.mlir").read_text()


def test_operator(tree):
    new(tree, "operator", "LogSigmoid", "--domain", "com.example")
    command = compiler(tree, "lib/Import/OperatorTable.cpp")
    for path in ("Operators/LogSigmoid.cpp", "OperatorTable.cpp"):
        call(*command, "-fsyntax-only", tree / "lib/Import" / path)
    assert "registerLogSigmoidOperators(made);" in \
        (tree / "lib/Import/OperatorTable.cpp").read_text()
    # As far as it goes without a compiler that knows the operator.
    call(sys.executable, "-m", "pytest", "-c", "test/pytest.ini", "test/ops/test_log_sigmoid.py",
         "--reference-only", cwd=tree, env={**os.environ, "SSM_BUILD_DIR": str(build.BUILD)})


def test_refusals(tree):
    assert refused(tree, "pass", "Foo", "Bar").startswith(
        "new.py: passes/Foo is no room, expected one of CPU, Fusion")
    assert refused(tree, "pass", "Fusion", "FuseKernels") == \
        "new.py: passes/Fusion/FuseKernels.cpp is already there"
    assert refused(tree, "op", "topValues") == "new.py: 'topValues' is no name in CamelCase"
    assert "ElementwiseActivations.cpp has an operator Swish" in refused(tree, "operator", "Swish")
    # Nothing was written.
    assert (tree / "passes/Fusion/CMakeLists.txt").read_text() == \
        (build.ROOT / "passes/Fusion/CMakeLists.txt").read_text()
