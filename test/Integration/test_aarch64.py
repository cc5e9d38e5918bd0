# ===- test_aarch64.py - Modules for another architecture -------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""--target=cpu:aarch64-linux-gnu, run under qemu-user with a runtime that was built for
it; that ONNX's node tests run there too is a suite of its own (run_tests.py aarch64)."""

import platform
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from ssmtest import build, compare, compiler, emulator, reference, static
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
import mamba  # noqa: E402

TARGET = "aarch64-linux-gnu"
OPTION = f"--target=cpu:{TARGET}"
MODEL = build.MODELS / "bible_lm" / "bible_lm.onnx"
MISSING = [package for program, package in ((f"{TARGET}-g++", f"g++-{TARGET}"),
                                            ("qemu-aarch64", "qemu-user"))
           if shutil.which(program) is None]
needs_machine = pytest.mark.skipif(bool(MISSING),
                                   reason=f"needs Debian's packages {' '.join(MISSING)}")


@pytest.fixture(scope="module")
def runtime_folder(tmp_path_factory):
    """The runtime and ssm-run, cross-built and installed."""
    folder = tmp_path_factory.mktemp("aarch64")
    for words in (["cmake", "-S", build.ROOT / "runtime", "-B", folder / "build", "-DSSMRT_TOOL=ON",
                   f"-DCMAKE_TOOLCHAIN_FILE={build.ROOT}/cmake/{TARGET}.cmake",
                   "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"],
                  ["cmake", "--build", folder / "build", "-j2"],
                  ["cmake", "--install", folder / "build", "--prefix", folder / "prefix"]):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def qemu(*options):
    return [emulator.find_qemu("aarch64"), *options, "-L", f"/usr/{TARGET}"]


@pytest.fixture
def open_module(runtime_folder):
    """-> a function of a module's path and qemu's options."""
    return lambda path, *options: emulator.Module(
        path, [*qemu(*options), str(runtime_folder / "build" / "bin" / "ssm-run")])


@needs_machine
@pytest.mark.parametrize("options", [[], ["-O0"], ["--embed-weights"], ["--cpu=neoverse-n1"],
                                     ["--cpu=generic,neoverse-n1"]], ids=" ".join)
def test_values(options, open_module):
    proto = mamba.block()
    module = open_module(compiler.compile_model(proto, [OPTION, *options]))
    assert "weights are whole" in module.call("--verify")
    rng = generator(f"aarch64 {options}")
    for threads, sizes in enumerate(((1, 1), (2, 7), (3, 33)), 1):
        inputs = mamba.block_inputs(rng, *sizes)
        got = module.session(threads=threads).run(inputs)
        for key, want in reference.run_model(proto, inputs).items():
            compare.check_close(f"{key} of {sizes}", got[key], want, np.dtype(f32))


@needs_machine
def test_writes_the_same(open_module):
    """The language model, as this machine writes."""
    arguments = ["--prompt", "And God said", "--max-new", 24, "--temperature", 0]
    there = open_module(compiler.compile_model(MODEL, [OPTION]))
    here = compiler.compile_model(MODEL)
    told = subprocess.run([str(word) for word in [*there.command, "generate", there.path,
                                                  *arguments]],
                          capture_output=True, text=True, check=True).stdout
    wanted = subprocess.run([str(word) for word in [build.tool("ssm-run"), "generate", here,
                                                    *arguments]],
                            capture_output=True, text=True, check=True).stdout
    assert told == wanted and len(told) >= 24


@needs_machine
def test_picks_by_what_the_processor_has(open_module):
    """A Cortex-A57 is of the first architecture, neoverse-n1 has half precision and more."""
    path = compiler.compile_model(mamba.block(), [OPTION, "--cpu=generic,neoverse-n1"])
    assert open_module(path, "-cpu", "cortex-a57").describe()["cpu"] == "generic"
    assert open_module(path, "-cpu", "neoverse-n1").describe()["cpu"] == "neoverse-n1"
    only = compiler.compile_model(mamba.block(), [OPTION, "--cpu=neoverse-n1"])
    with pytest.raises(emulator.EmulatedFailure) as failure:
        open_module(only, "-cpu", "cortex-a57").describe()
    assert "needs CPU features that this machine lacks: dotprod, fullfp16" in failure.value.message


@needs_machine
def test_static(runtime_folder, tmp_path):
    """Linked into a program against the installed runtime of that architecture."""
    onnx.save(mamba.block(), tmp_path / "m.onnx")
    done = compiler.run_compiler([tmp_path / "m.onnx", OPTION, "--emit=static", "--embed-weights",
                                  "-o", tmp_path / "m.o"])
    assert done.returncode == 0, done.stderr
    prefix = runtime_folder / "prefix"
    program = static.link(tmp_path, "target", prefix / "include", prefix / "lib" / "libssmrt.a",
                          [f"{TARGET}-gcc", "-static"])
    done = subprocess.run([*qemu(), str(program)], capture_output=True, text=True,
                          check=False)
    assert done.stdout == "aarch64-unknown-linux-gnu"


@pytest.mark.skipif(platform.machine() == "aarch64", reason="this machine runs it")
def test_other_machine_refuses():
    """Before the dynamic loader, which would say that there is no such file."""
    path = compiler.compile_model(mamba.block(), [OPTION])
    done = subprocess.run([str(build.tool("ssm-run")), str(path), "--describe"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"module '{path}' has code for AArch64, this machine is" in done.stderr


@pytest.mark.parametrize("arguments, words", [
    (["--target=gpu"], "unknown target 'gpu', expected cpu (this machine), cpu:x86_64-linux-gnu"),
    (["--target=cpu:riscv64-linux-gnu"], "unknown target 'cpu:riscv64-linux-gnu', expected cpu"),
    (["--target=cpu:aarch64-linux-musl"], "unknown target 'cpu:aarch64-linux-musl'"),
    ([OPTION, "--cpu=x86-64-v3"], "unknown CPU 'x86-64-v3', expected one of "),
])
def test_refused(arguments, words, tmp_path):
    onnx.save(mamba.block(), tmp_path / "m.onnx")
    done = compiler.run_compiler([tmp_path / "m.onnx", *arguments, "-o", tmp_path / "m.so"])
    assert done.returncode == 1 and words in done.stderr
    assert not (tmp_path / "m.so").exists()


def test_native_is_this_machine(tmp_path):
    """Which is no processor of the other architecture; and its own target is no other."""
    machine = {"x86_64": "x86_64-linux-gnu", "aarch64": TARGET}[platform.machine()]
    other = TARGET if machine != TARGET else "x86_64-linux-gnu"
    onnx.save(mamba.block(), tmp_path / "m.onnx")
    for target, fits in ((machine, True), (other, False)):
        done = compiler.run_compiler([tmp_path / "m.onnx", f"--target=cpu:{target}",
                                      "--cpu=native", "-o", tmp_path / "m.so"])
        assert (done.returncode == 0) == fits, done.stderr
        if not fits:
            assert "unknown CPU 'native'" in done.stderr
