# ===- test_pass_authors.py - Tools for those who write passes -------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""examples/pass from its README: a plugin in ssm-opt and in a stage; ssm-reduce;
ssm-lsp-server. Passes that fail are in test_reproducers.py."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from ssmtest import build, compiler, runtime
from ssmtest.case import f32, generator
from ssmtest.plugin import build_plugin

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    return build_plugin(tmp_path_factory.mktemp("plugin"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    g = Builder()
    x = g.input("x", ["n", 8])
    # Constants, not weights: numbers that a pass can see.
    y = g.add("Mul", g.add("Mul", x, g.constant(f32(2))), g.constant(f32(3)))
    g.output(y, ["n", 8], name="y")
    path = tmp_path_factory.mktemp("model") / "scales.onnx"
    onnx.save(g.model(), str(path))
    return path


def opt(*arguments, text=None, fails=False):
    done = subprocess.run([str(build.tool("ssm-opt")), *map(str, arguments)], input=text,
                          capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


SMALL = """
func.func @f(%x: tensor<4xf32>, %e: tensor<4xf32>) -> tensor<4xf32> {
  %a = arith.constant 2.0 : f32
  %b = arith.constant 3.0 : f32
  %y = ssm.kernel loops 1 ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>)
      maps [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>] {
    ^bb0(%v: f32):
      %0 = arith.mulf %v, %a : f32
      %1 = arith.mulf %0, %b : f32
      ssm.yield %1 : f32
  } -> tensor<4xf32>
  return %y : tensor<4xf32>
}
"""


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
    source.write_text(SMALL + SMALL.replace("@f", "@g").replace("arith.mulf %0", "arith.divf %0"))
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
    assert "arith.divf" in text and "@f" not in text
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
