# ===- test_pass_authors.py - Tools for those who write passes -------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The tutorial in examples/pass, as its README has it; the plugin it makes in ssm-opt and
in a stage; ssm-reduce; ssm-lsp-server. Passes that fail are in test_reproducers.py."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from ssmtest import build, compiler, runtime
from ssmtest.case import f32, generator


TUTORIAL = build.ROOT / "examples" / "pass"
# A block of code, and what stands behind ``` in front of it.
BLOCK = re.compile(r"^```(\w+)( fails)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The repository as far as the tutorial needs it: its commands write into it."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("dialects", "examples", "include", "lib", "passes", "tools"):
        shutil.copytree(build.ROOT / name, folder / name)
    (folder / "build").mkdir()
    for path in build.BUILD.iterdir():
        # Not what a reader has left there.
        if path.name in ("bin", "dialects", "lib", "passes", "venv"):
            (folder / "build" / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def tutorial(tree):
    """Goes through it -> the folder, with what its commands made."""
    printed = None
    code = (TUTORIAL / "FuseScales.cpp").read_text(encoding="utf-8")
    for kind, fails, text in BLOCK.findall((TUTORIAL / "README.md").read_text(encoding="utf-8")):
        if kind == "cpp":
            assert text in code
        elif kind == "sh":
            printed = ""
            for command in text.splitlines():
                done = subprocess.run(["bash", "-c", command], cwd=tree, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True, check=False)
                assert (done.returncode != 0) == bool(fails), f"{command}\n{done.stdout}"
                printed += done.stdout
        else:
            assert kind in ("mlir", "text")
            # Of output, whole lines; a message may stand behind the place it is about.
            assert (text if kind == "mlir" else text.rstrip("\n")) in printed, printed
    return tree


@pytest.fixture
def plugin(tutorial):
    return tutorial / "build" / "pass" / "pass.so"


@pytest.fixture
def model(tutorial):
    return tutorial / "build" / "scales.onnx"


def opt(*arguments, text=None, fails=False):
    done = subprocess.run([str(build.tool("ssm-opt")), *map(str, arguments)], input=text,
                          capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


SMALL = (TUTORIAL / "small.mlir").read_text(encoding="utf-8")


def test_plugin_in_opt(plugin):
    text = opt(f"--load-pass-plugin={plugin}",
               "--pass-pipeline=builtin.module(func.func(my-fuse-scales))", text=SMALL)
    assert text.count("arith.mulf") == 1 and "6.000000e+00" in text
    assert opt(text=SMALL).count("arith.mulf") == 2


def test_plugin_in_a_stage(plugin, model, tmp_path):
    added = [f"--load-pass-plugin={plugin}", "--add-pass=fuse=my-fuse-scales"]
    plain = compiler.run_compiler([model, "--emit=fuse"])
    fused = compiler.run_compiler([model, "--emit=fuse", *added])
    assert plain.stdout.count("arith.mulf") == 2 and fused.stdout.count("arith.mulf") == 1
    done = compiler.run_compiler([model, *added, "-o", tmp_path / "scales.so"])
    assert done.returncode == 0, done.stderr
    x = generator("scales").standard_normal((5, 8)).astype(f32)
    np.testing.assert_allclose(runtime.Module(tmp_path / "scales.so").session().run({"x": x})["y"],
                               x * 6, rtol=1e-6)


def test_plugin_in_this_folder(plugin, model):
    """Without a '/', which the loader would look for elsewhere."""
    done = compiler.run_compiler([model, "--emit=fuse", "--load-pass-plugin=pass.so",
                                  "--add-pass=fuse=my-fuse-scales"], cwd=plugin.parent)
    assert done.returncode == 0 and done.stdout.count("arith.mulf") == 1, done.stderr


def test_refused(plugin, model, tmp_path):
    def message(*arguments):
        done = compiler.run_compiler([model, "-o", tmp_path / "out.so", *arguments])
        assert done.returncode != 0 and not (tmp_path / "out.so").exists()
        return done.stderr
    assert "unknown stage 'fusion', expected one of import, graph" in \
        message("--add-pass=fusion=cse")
    assert "no pass is named 'my-fuse-scales'" in \
        message("--add-pass=fuse=my-fuse-scales")
    assert "--add-pass" in message("--add-pass=fuse")
    assert "--load-pass-plugin" in message("--load-pass-plugin=/nowhere/pass.so")


def test_reduce(tmp_path):
    """What does not matter for the fault goes."""
    source = tmp_path / "in.mlir"
    source.write_text(SMALL + SMALL.replace("@scales", "@other").replace("arith.mulf %0", "arith.divf %0"))
    script = tmp_path / "test.sh"
    script.write_text("#!/bin/sh\n"
                      # 1: the fault is there.
                      "grep -q arith.divf $1 && exit 1\nexit 0\n")
    script.chmod(0o755)
    done = subprocess.run([str(build.tool("ssm-reduce")), str(source), "-o",
                           str(tmp_path / "out.mlir"),
                           f"--reduction-tree=traversal-mode=0 test={script}"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out.mlir").read_text()
    assert "arith.divf" in text and "@scales" not in text
    # Within the function as well, and what is left is valid.
    assert "arith.mulf" not in text
    opt(tmp_path / "out.mlir")
    # Without a test nothing can be told.
    done = subprocess.run([str(build.tool("ssm-reduce")), str(source)], capture_output=True,
                          text=True)
    assert done.returncode == 1 and done.stdout == "" and "no test given" in done.stderr


def test_language_server():
    """It begins, says what it can do, and knows our operations."""
    def message(method, number=None, **params):
        text = json.dumps({"jsonrpc": "2.0", "method": method, "params": params,
                           **({"id": number} if number is not None else {})})
        return f"Content-Length: {len(text)}\r\n\r\n{text}"
    broken = SMALL.replace("loops 1", "loops 7")
    uri = "test:///small.mlir"
    asked = (message("initialize", 0, processId=1, capabilities={}, rootUri=None)
             + message("textDocument/didOpen", textDocument={
                 "uri": uri, "languageId": "mlir", "version": 1, "text": broken})
             + message("shutdown", 1) + message("exit"))
    done = subprocess.run([str(build.tool("ssm-lsp-server"))], input=asked, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert '"capabilities"' in done.stdout
    assert "expected 7 loops" in done.stdout
