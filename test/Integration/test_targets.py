# ===- test_targets.py - The same models for several processors ------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A Mamba block, norms and a product for vectors of 128, 256 and 512 bits; and that
what is made for 128 bits compiles for AArch64 with NEON."""

import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from ssmtest import build, compare, compiler, reference, runtime
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
import mamba  # noqa: E402
from builder import Builder  # noqa: E402

CPUS = ["v2", "v3", "v4"]


def norms():
    """softmax along the rows and along the columns, then a norm."""
    g = Builder()
    x = g.input("x", ["n", "m", 24])
    rng = np.random.default_rng(3)
    scale, bias = (g.weight(rng.standard_normal(24).astype(f32)) for _ in range(2))
    y = g.add("Add", g.add("Softmax", x, axis=1), g.add("Softmax", x, axis=2))
    g.output(g.add("LayerNormalization", y, scale, bias), ["n", "m", 24], name="y")
    return g.model()


def product():
    g = Builder()
    x = g.input("x", ["n", "m", 40])
    w = g.weight(np.random.default_rng(4).standard_normal((40, 50)).astype(f32) / 6)
    y = g.add("MatMul", x, w)
    g.output(g.add("Mul", y, g.add("Sigmoid", y)), ["n", "m", 50], name="y")
    return g.model()


MODELS = {
    "block": (mamba.block, mamba.block_inputs),
    "norms": (norms, lambda rng, n, m: {"x": rng.standard_normal((n, m, 24), f32)}),
    "product": (product, lambda rng, n, m: {"x": rng.standard_normal((n, m, 40), f32)}),
}


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("name", MODELS)
def test_values(name, cpu):
    make, draw = MODELS[name]
    proto = make()
    try:
        session = runtime.Module(compiler.compile_model(proto, [f"--cpu={cpu}"])).session()
    except runtime.RuntimeFailure as failure:
        pytest.skip(f"not for this machine: {failure}")
    rng = generator(f"targets {name} {cpu}")
    for sizes in ((1, 1), (2, 7), (3, 33), (1, 100)):
        inputs = draw(rng, *sizes)
        got = session.run(inputs)
        for key, want in reference.run_model(proto, inputs).items():
            compare.check_close(f"{key} of {sizes}", got[key], want, np.dtype(f32))


def find_llc():
    """LLVM's static compiler, of the version that the compiler is built with."""
    cache = (build.BUILD / "CMakeCache.txt").read_text()
    found = re.search(r"^LLVM_DIR:\w+=(.*)/lib/cmake/llvm$", cache, re.MULTILINE)
    beside = found and f"{found.group(1)}/bin/llc"
    return shutil.which(beside) if beside else None


@pytest.mark.parametrize("name", MODELS)
def test_neon(name, tmp_path):
    """Nothing of what is made for 128 bits is for x86 alone."""
    llc = find_llc()
    if llc is None:
        pytest.skip("no llc beside LLVM")
    path, code = tmp_path / "model.onnx", tmp_path / "model.ll"
    onnx.save(MODELS[name][0](), str(path))
    done = compiler.run_compiler([path, "--cpu=v2", "--emit=llvm", "-o", code])
    assert done.returncode == 0, done.stderr
    text = code.read_text()
    assert "llvm.x86" not in text
    text = re.sub(r'^target (triple|datalayout) = .*$', "", text, flags=re.MULTILINE)
    text = re.sub(r'"(target-cpu|target-features|tune-cpu)"="[^"]*"', "", text)
    code.write_text(text)
    done = subprocess.run(
        [llc, "-O2", "-mtriple=aarch64-linux-gnu", "-mattr=+neon", str(code), "-o",
         str(tmp_path / "model.s")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    assembly = (tmp_path / "model.s").read_text()
    assert re.search(r"\bf(mla|mul)\s+v\d+\.4s", assembly)
