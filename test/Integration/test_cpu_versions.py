# ===- test_cpu_versions.py - One module for several processors -------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""--cpu=x86-64-v2,x86-64-v3,x86-64-v4: which version is taken, on this machine and, under
qemu-user, on older ones; that each computes what it should; what the weights cost."""

import platform
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from ssmtest import build, compare, compiler, emulator, machine, reference, static
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
import mamba  # noqa: E402
from builder import Builder  # noqa: E402

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="versions of x86-64")
# In no order: the compiler knows which is best.
ALL = "--cpu=x86-64-v3,v2,x86-64-v4"
# qemu's names, and what they can run.
OLDER = {"Nehalem": "x86-64-v2", "Haswell": "x86-64-v3"}
needs_qemu = pytest.mark.skipif(emulator.find_qemu("x86_64") is None,
                                reason="needs Debian's package qemu-user")


def here(path):
    return emulator.Module(path, [str(build.tool("ssm-run"))])


def on(cpu, path):
    return emulator.Module(path, emulator.command_for_cpu(cpu))


def check(module, proto, name):
    rng = generator(f"versions {name}")
    for sizes in ((1, 1), (2, 7), (3, 33)):
        inputs = mamba.block_inputs(rng, *sizes)
        got = module.session().run(inputs)
        for key, want in reference.run_model(proto, inputs).items():
            compare.check_close(f"{key} of {sizes}", got[key], want, np.dtype(f32))


def test_this_machine():
    proto = mamba.block()
    module = here(compiler.compile_model(proto, [ALL]))
    told = module.describe()
    assert told["cpu"] == machine.level()
    assert f"--cpu={','.join(machine.LEVELS)}" in told["options"]
    assert "weights are whole" in module.call("--verify")
    check(module, proto, "here")


@needs_qemu
@pytest.mark.parametrize("cpu", OLDER)
@pytest.mark.parametrize("options", [[], ["--embed-weights"], ["-O0"]], ids=" ".join)
def test_older_machine(cpu, options):
    proto = mamba.block()
    module = on(cpu, compiler.compile_model(proto, [ALL, *options]))
    assert module.describe()["cpu"] == OLDER[cpu]
    assert "weights are whole" in module.call("--verify")
    check(module, proto, f"{cpu} {options}")


@needs_qemu
def test_same_as_alone():
    """A version computes to the bit what a module for its processor alone does."""
    proto, rng = mamba.block(), generator("versions alone")
    several = compiler.compile_model(proto, [ALL])
    inputs = mamba.block_inputs(rng, 2, 19)
    for cpu, level in OLDER.items():
        alone = compiler.compile_model(proto, [f"--cpu={level}"])
        one, other = (on(cpu, path).session().run(inputs) for path in (several, alone))
        for name, value in one.items():
            assert np.array_equal(value, other[name]), (cpu, name)


@needs_qemu
def test_no_version_fits():
    module = on("core2duo", compiler.compile_model(mamba.block(), [ALL]))
    with pytest.raises(emulator.EmulatedFailure) as failure:
        module.describe()
    message = failure.value.message
    assert "needs CPU features that this machine lacks, for x86-64-v4: avx, " in message
    assert message.endswith("; for x86-64-v2: popcnt, sse4.1, sse4.2")


def lookup():
    """A large table, read by rows, and a small product."""
    g = Builder()
    rng = np.random.default_rng(11)
    ids = g.input("ids", ["n"], 7)
    table = g.weight(rng.standard_normal((4096, 32)).astype(f32))
    w = g.weight(rng.standard_normal((32, 40)).astype(f32))
    g.output(g.add("MatMul", g.add("Gather", table, ids), w), ["n", 40], name="y")
    return g.model()


def weights_of(path):
    return path.with_name("module.weights.safetensors").stat().st_size


def test_weights_are_shared():
    """What has the same layout on all processors is stored once; matrices are packed for
    each."""
    several = compiler.compile_model(lookup(), [ALL])
    alone = [compiler.compile_model(lookup(), [f"--cpu={level}"]) for level in machine.LEVELS]
    table = 4096 * 32 * 4
    assert table < weights_of(several) < 1.1 * max(map(weights_of, alone))
    for path in [several, *alone]:
        assert len(here(path).describe()["weights"]) == 2
    rng = generator("versions lookup")
    for count in (0, 1, 5):
        inputs = {"ids": rng.integers(0, 4096, count)}
        want = reference.run_model(lookup(), inputs)["y"]
        for module in [here(several), *(on(cpu, several) for cpu in OLDER
                                        if emulator.find_qemu("x86_64"))]:
            compare.check_close(f"{count} rows", module.session().run(inputs)["y"], want,
                                np.dtype(f32))


def test_size_is_told(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(lookup(), path)
    done = compiler.run_compiler([path, ALL, "-o", tmp_path / "m.so"])
    told = re.search(r"remark: weights of 3 versions: (\d+) bytes; of x86-64-v4 alone: (\d+)",
                     done.stderr)
    assert done.returncode == 0 and told, done.stderr
    size = (tmp_path / "m.weights.safetensors").stat().st_size
    assert int(told[2]) < int(told[1]) <= size < int(told[1]) + 4096


@needs_qemu
def test_static(tmp_path):
    """A program with all versions linked into it, of which nothing else is seen."""
    onnx.save(lookup(), tmp_path / "m.onnx")
    done = compiler.run_compiler([tmp_path / "m.onnx", ALL, "--emit=static", "--embed-weights",
                                  "-o", tmp_path / "m.o"])
    assert done.returncode == 0, done.stderr
    symbols = subprocess.run(["nm", "--defined-only", "--extern-only", tmp_path / "m.o"],
                             capture_output=True, text=True, check=True).stdout.split()
    assert symbols[2::3] == ["m_module"]
    program = static.link(tmp_path, "cpu", build.ROOT / "include",
                          build.BUILD / "lib" / "libssmrt.a")
    for cpu, level in OLDER.items():
        words = [emulator.find_qemu("x86_64"), "-cpu", cpu, program]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.stdout == level


@pytest.mark.parametrize("arguments, words", [
    (["--cpu=v2,x86-64-v2"], "--cpu: 'x86-64-v2' is given twice"),
    (["--cpu=v2,"], "expected names of CPUs with ',' between"),
    (["--cpu="], "expected names of CPUs with ',' between"),
    (["--cpu=v2,z80"], "unknown CPU 'z80', expected one of native, "),
    (["--cpu=v2,v3", "--emit=llvm"], "--emit=llvm shows one version of the code, expected one"),
])
def test_refused(arguments, words, tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(lookup(), path)
    done = compiler.run_compiler([path, *arguments, "-o", tmp_path / "m.so"])
    assert done.returncode == 1 and words in done.stderr
    assert not (tmp_path / "m.so").exists()


def test_temporaries_of_each(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(lookup(), path)
    done = compiler.run_compiler([path, ALL, "--save-temps", "-o", tmp_path / "m.so"])
    assert done.returncode == 0, done.stderr
    # What does not look at the processor is there once.
    assert (tmp_path / "m.raise.mlir").exists() and not (tmp_path / "m.fuse.mlir").exists()
    for level in machine.LEVELS:
        for extension in ("fuse.mlir", "tile.mlir", "target.mlir", "weights.target.mlir", "ll"):
            assert (tmp_path / f"m.{level}.{extension}").exists(), extension


def test_same_bytes(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(mamba.block(), path)
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        done = compiler.run_compiler([path, ALL, "-o", tmp_path / name / "m.so"])
        assert done.returncode == 0, done.stderr
        made.append([(tmp_path / name / file).read_bytes()
                     for file in ("m.so", "m.weights.safetensors")])
    assert made[0] == made[1]
