# ===- test_new.py - The skeletons that new.py writes -----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""tools/scripts/new.py in a copy of the repository. What it leaves is built, as plugins
of the tools there are, and its tests run."""

import functools
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


@functools.cache
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


def generate(tree, room):
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
        call(f"{llvm()}/bin/mlir-tblgen", *flags, source, "-I", tree, "-I", f"{llvm()}/include", "-o",
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


def build_library(tree, like, text):
    """A plugin of what is new; all else is in the program that loads it."""
    (tree / "plugin.cpp").write_text(text, encoding="utf-8")
    # What a header declares of others may be asked for by functions nobody calls.
    call(*compiler(tree, like), "-O0", "-ffunction-sections", "-shared",
         "-Wl,--gc-sections,-z,lazy", "-fuse-ld=lld", f"-L{llvm()}/lib", "-lMLIR", "-lLLVM", "-o",
         tree / "plugin.so", tree / "plugin.cpp")
    return tree / "plugin.so"


PASS_PLUGIN = """
#include "passes/Fusion/JoinPairs.cpp"
#include "mlir/Tools/Plugins/PassPlugin.h"
extern "C" PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "new", "1", [] { ssm::registerJoinPairs(); }};
}
"""


def test_pass(tree):
    out = new(tree, "pass", "Fusion", "JoinPairs")
    assert "passes/Pipelines/Pipelines.cpp" in out
    entered(tree, "passes/Fusion/CMakeLists.txt", "  JoinPairs.cpp")
    generate(tree, "passes/Fusion")
    plugin = build_library(tree, "passes/Fusion/FuseKernels.cpp", PASS_PLUGIN)
    test = tree / "test/Passes/Fusion/join-pairs.mlir"
    assert "-ssm-join-pairs" in test.read_text()
    call("bash", "-o", "pipefail", "-c",
         f"{build.tool('ssm-opt')} {test} --load-pass-plugin={plugin} "
         "--pass-pipeline='builtin.module(func.func(ssm-join-pairs))' "
         f"| {llvm()}/bin/FileCheck {test}")


def run_lit(tree, test, option):
    """The RUN lines of a test, by an ssm-opt that has this option."""
    (tree / "bin").mkdir(exist_ok=True)
    write_program(tree / "bin" / "ssm-opt", f'exec {build.tool("ssm-opt")} {option} "$@"')
    lines = re.findall(r"^// RUN: (.*)$", test.read_text(encoding="utf-8"), re.MULTILINE)
    assert lines
    for line in lines:
        call("bash", "-o", "pipefail", "-c", line.replace("%s", str(test)),
             env={**os.environ, "PATH": f"{tree / 'bin'}:{llvm()}/bin:{os.environ['PATH']}"})


def write_program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


# The new operation alone; the dialect's others are those of the program.
OP_PLUGIN = """
#include "dialects/SSM/TopValuesOps.cpp"
#define GET_OP_CLASSES
#include "dialects/SSM/TopValues.cpp.inc"
#include "mlir/Tools/Plugins/DialectPlugin.h"
struct Extension : DialectExtensionBase {
  Extension() : DialectExtensionBase({"ssm"}) {}
  void apply(MLIRContext *, MutableArrayRef<Dialect *> dialects) const override {
    RegisteredOperationName::insert<TopValuesOp>(*dialects.front());
  }
  std::unique_ptr<DialectExtensionBase> clone() const override {
    return std::make_unique<Extension>();
  }
};
static char id;
extern "C" DialectPluginLibraryInfo mlirGetDialectPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "new", "1", [](DialectRegistry *registry) {
            registry->addExtension(TypeID::getFromOpaquePointer(&id),
                                   std::make_unique<Extension>());
          }};
}
"""


def test_op(tree):
    """Its tests run, with what it consists of as a plugin."""
    new(tree, "op", "TopValues")
    entered(tree, "dialects/SSM/CMakeLists.txt", "  TopValuesOps.cpp")
    entered(tree, "dialects/SSM/SSMOps.td", 'include "dialects/SSM/TopValuesOps.td"')
    generated = generate(tree, "dialects/SSM")
    call(f"{llvm()}/bin/mlir-tblgen", "-gen-op-defs", "-op-include-regex=^ssm.top_values$",
         tree / "dialects/SSM/SSMOps.td", "-I", tree, "-I", f"{llvm()}/include", "-o",
         generated / "dialects/SSM/TopValues.cpp.inc")
    plugin = build_library(tree, "dialects/SSM/ScanOps.cpp", OP_PLUGIN)
    for name in ("top-values", "top-values-invalid"):
        run_lit(tree, tree / f"test/Dialect/SSM/{name}.mlir", f"--load-dialect-plugin={plugin}")


OPERATOR_PLUGIN = """
#include "lib/Import/OperatorTable.h"
#include "lib/Import/Operators/LogSigmoid.cpp"
#include "mlir/Tools/Plugins/PassPlugin.h"
extern "C" PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "new", "1", [] {
            // Nobody looks things up yet.
            registerLogSigmoidOperators(const_cast<OperatorTable &>(OperatorTable::get()));
          }};
}
"""


def test_operator(tree):
    """Its test runs, with a compiler that loads it as a plugin."""
    new(tree, "operator", "LogSigmoid", "--domain", "com.example")
    assert "registerLogSigmoidOperators(made);" in \
        (tree / "lib/Import/OperatorTable.cpp").read_text()
    command = compiler(tree, "lib/Import/OperatorTable.cpp")
    call(*command, "-fsyntax-only", tree / "lib/Import/OperatorTable.cpp")
    plugin = build_library(tree, "lib/Import/OperatorTable.cpp", OPERATOR_PLUGIN)
    (tree / "build" / "bin").mkdir(parents=True)
    (tree / "build" / "lib").symlink_to(build.BUILD / "lib")
    write_program(tree / "build" / "bin" / "ssm-compile",
                  f'exec {build.tool("ssm-compile")} --load-pass-plugin={plugin} "$@"')
    told = call(sys.executable, "-m", "pytest", "-c", "test/pytest.ini",
                "test/ops/test_log_sigmoid.py", cwd=tree,
                env={**os.environ, "SSM_BUILD_DIR": str(tree / "build")})
    assert re.search(r"^12 passed", told, re.MULTILINE), told


def test_refusals(tree):
    assert refused(tree, "pass", "Foo", "Bar").startswith(
        "new.py: passes/Foo is no room, expected one of CPU, Fusion")
    assert refused(tree, "pass", "Fusion", "FuseKernels") == \
        "new.py: passes/Fusion/FuseKernels.cpp is already there"
    assert refused(tree, "pass", "CPU", "FuseKernels") == \
        "new.py: passes/Fusion/Passes.td has a pass FuseKernels or ssm-fuse-kernels"
    assert refused(tree, "pass", "CPU", "MathToLibm") == \
        "new.py: passes/CPU/Passes.td has a pass MathToLibm or ssm-math-to-libm"
    assert refused(tree, "pass", "CPU", "StageFuse") == \
        "new.py: ssm-stage-fuse would be the name of a stage"
    assert refused(tree, "op", "topValues") == "new.py: 'topValues' is no name in CamelCase"
    for name, file in (("Weight", "ModuleOps"), ("LoadWeight", "ModuleOps"), ("Fault", "DeviceOps"),
                       ("Reduce", "KernelOps"), ("Yield", "ScanOps")):
        assert refused(tree, "op", name).startswith(
            f"new.py: dialects/SSM/{file}.td has an operation {name}Op or ssm."), name
    assert "ElementwiseActivations.cpp has an operator Swish" in refused(tree, "operator", "Swish")
    # Nothing was written.
    assert (tree / "passes/Fusion/CMakeLists.txt").read_text() == \
        (build.ROOT / "passes/Fusion/CMakeLists.txt").read_text()
