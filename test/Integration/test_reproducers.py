# ===- test_reproducers.py - Passes that fail, and added ones ---------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What fails in a stage leaves a file that ssm-opt runs again; what --add-pass takes."""

import os
import platform
import re
import shlex
import subprocess

import numpy as np
import pytest
from onnx import TensorProto, helper

from ssmtest import build
from ssmtest.compiler import run_compiler
from ssmtest.plugin import harmful_passes
from ssmtest.runtime import Module

STAGES = ["import", "graph", "tensor", "raise", "quantize", "fuse", "tile", "buffer", "vector",
          "target"]
MODEL = build.MODELS / "torch_scan_mamba.onnx"
SHOWN = "; '{0}' shows it: ssm-opt --run-reproducer {0}\n"


@pytest.fixture(scope="module")
def load():
    return harmful_passes()


def compile_(folder, *arguments):
    return run_compiler(arguments, cwd=folder)


def opt(*arguments):
    return subprocess.run([str(build.tool("ssm-opt")), *map(str, arguments)], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def save(path, *nodes, inputs):
    graph = helper.make_graph(
        list(nodes), "g", [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
                           for name, dims in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)],
                                       ir_version=8).SerializeToString())


def test_changes_what_is_computed(load, tmp_path):
    """At every level; the module tells that it did."""
    save(tmp_path / "m.onnx", helper.make_node("Sub", ["a", "b"], ["y"]),
         inputs={"a": ["n"], "b": ["n"]})
    rng = np.random.default_rng(int(os.environ["SSM_TEST_SEED"]))
    a, b = rng.standard_normal((2, 37)).astype(np.float32)
    for level in (0, 3):
        done = compile_(tmp_path, "m.onnx", "-o", f"{level}.so", f"-O{level}", load,
                        "--add-pass=tensor=test-swap-sub")
        assert done.returncode == 0, done.stderr
        y = Module(tmp_path / f"{level}.so").session().run({"a": a, "b": b})["y"]
        np.testing.assert_array_equal(y, b - a)
        told = subprocess.run([str(build.tool("ssm-run")), str(tmp_path / f"{level}.so"),
                               "--describe"], stdout=subprocess.PIPE, text=True, check=True).stdout
        assert "--add-pass=tensor=test-swap-sub" in told


def test_passes_of_our_own(tmp_path):
    """Upstream's too, with options; a stage as a pipeline."""
    done = compile_(tmp_path, MODEL, "--emit=tensor", "--add-pass=tensor=cse",
                    "--add-pass=tensor=canonicalize{max-iterations=2 top-down=false}",
                    "--add-pass=tensor=ssm-stage-raise")
    assert done.returncode == 0, done.stderr
    assert "ssm.kernel" in done.stdout


@pytest.mark.parametrize("option,message", [
    ("--add-pass=fuse=test-none", "--add-pass fuse=test-none: no pass is named 'test-none'"),
    ("--add-pass=fuse=cse{a=1}", "--add-pass fuse=cse{a=1}: <Pass-Options-Parser>: no such option a"),
    ("--add-pass=fuse=cse{", "--add-pass fuse=cse{: expected '}' at the end of the options"),
    (f"--load-pass-plugin={build.RUNTIME}", "--load-pass-plugin: Plugin entry point not found"),
    ("--optimize-through=fusion", "--optimize-through: unknown stage 'fusion', expected one of import"),
])
def test_bad_arguments(load, tmp_path, option, message):
    done = compile_(tmp_path, MODEL, "-o", "m.so", load, option)
    assert done.returncode == 1
    assert done.stderr.startswith("error: " + message), done.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("stage", STAGES)
def test_reproducer_of_a_stage(load, tmp_path, stage):
    """The file is the stage: run again it fails alike, and without the pass it gives
    what the stage gives."""
    done = compile_(tmp_path, MODEL, "-o", "m.so", load, f"--add-pass={stage}=test-fail")
    assert done.returncode == 1
    assert done.stderr == f"error: pass 'test-fail' of stage '{stage}' failed" + \
        SHOWN.format("m.so.repro.mlir")
    assert [path.name for path in tmp_path.iterdir()] == ["m.so.repro.mlir"]
    path = tmp_path / "m.so.repro.mlir"
    again = opt("--run-reproducer", load, path)
    assert again.returncode == 1 and "error" not in again.stderr, again.stderr
    text = path.read_text()
    assert text.count("test-fail,") == 1
    path.write_text(text.replace("test-fail,", ""))
    good = opt("--run-reproducer", load, path)
    assert good.returncode == 0, good.stderr
    emitted = compile_(tmp_path, MODEL, f"--emit={stage}").stdout
    if stage == "graph":
        # The driver's own work behind it.
        emitted = re.sub(r" attributes \{onnx.states = .*\}\]\}", "", emitted)
    assert good.stdout.strip() == emitted.strip()


def test_the_error_of_a_pass_stays(load, tmp_path):
    done = compile_(tmp_path, MODEL, "-o", "m.so", load, "--add-pass=fuse=test-fail-loudly")
    assert done.stderr == "error: is not to my liking" + SHOWN.format("m.so.repro.mlir")


def test_reproducer_of_a_crash(load, tmp_path):
    done = compile_(tmp_path, MODEL, "-o", "m.so", load, "--add-pass=tile=test-crash")
    assert done.returncode == 1
    assert done.stderr == "error: pass 'test-crash' of stage 'tile' crashed" + \
        SHOWN.format("m.so.repro.mlir")
    again = opt("--run-reproducer", load, tmp_path / "m.so.repro.mlir")
    assert again.returncode < 0 and "Stack dump" in again.stderr


def test_reproducer_of_a_crash_in_a_thread(load, tmp_path):
    """Functions are compiled in parallel; the process may then end by the signal."""
    done = compile_(tmp_path, "--entry", f"main={MODEL}", "--entry", f"other={MODEL}", "-o", "m.so",
                    load, "--add-pass=fuse=test-crash")
    assert done.returncode != 0
    assert "error: pass 'test-crash' of stage 'fuse' crashed; " in done.stderr
    assert opt("--run-reproducer", load, tmp_path / "m.so.repro.mlir").returncode < 0


def test_reproducer_of_an_invalid_module(load, tmp_path):
    """Its place can be told; text on a terminal has no file beside it."""
    for arguments, name in ((["--emit=fuse"], "ssm-compile.repro.mlir"),
                            (["-o", "m.so", "--reproducer=r.mlir"], "r.mlir")):
        done = compile_(tmp_path, MODEL, *arguments, load, "--add-pass=fuse=test-break")
        assert done.returncode == 1
        assert "'func.return' op has 0 operands" in done.stderr
        assert done.stderr.endswith(SHOWN.format(name))
        again = opt("--run-reproducer", load, tmp_path / name)
        assert "'func.return' op has 0 operands" in again.stderr


def test_reproducer_that_cannot_be_written(load, tmp_path):
    done = compile_(tmp_path, MODEL, "-o", "m.so", load, "--add-pass=fuse=test-fail",
                    "--reproducer=none/r.mlir")
    assert done.stderr == "error: pass 'test-fail' of stage 'fuse' failed; 'none/r.mlir' cannot " \
                          "be written: No such file or directory\n"


def behind_the_passes(folder, *arguments, model=MODEL):
    """What fails there -> the error, and the words of the command that shows it again."""
    done = compile_(folder, model, *arguments)
    assert done.returncode == 1 and done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    error, command = re.fullmatch(r"error: (.*); '.*' shows? it: (.*)\n", done.stderr).groups()
    assert not (folder / "m.so").exists()
    return error, shlex.split(command)


def again(folder, command):
    """Runs a tool of LLVM."""
    words = [f"/usr/lib/llvm-22/bin/{command[0]}", *command[1:]]
    done = subprocess.run(words, cwd=folder, check=False, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0
    return done.stderr


def test_no_translation_to_llvm(load, tmp_path):
    error, command = behind_the_passes(tmp_path, "-o", "m.so", load,
                                       "--add-pass=target=test-no-translation")
    assert "cannot be translated to LLVM IR: " in error and "arith" in error
    assert command == ["mlir-translate", "--mlir-to-llvmir", "m.so.repro.llvm.mlir"]
    assert "arith.constant" in again(tmp_path, command)


def test_code_that_llvm_cannot_emit(load, tmp_path):
    for arguments, file in ((["-o", "m.so"], "m.so.repro.bc"),
                            (["--emit=obj", "-o", "m.s", "--reproducer=r.mlir"], "r.bc"),
                            (["-o", "m.so", "--reproducer=r"], "r.bc")):
        error, command = behind_the_passes(tmp_path, *arguments, load,
                                           "--add-pass=target=test-bad-assembly")
        assert "LLVM's code generation: " in error and "no_such_instruction" in error
        assert command[0] == "llc" and file in command
        assert "no_such_instruction" in again(tmp_path, command)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instruction is of aarch64")
def test_code_at_which_llvm_crashes(load, tmp_path):
    done = compile_(tmp_path, MODEL, "-o", "m.so", load, "--add-pass=target=test-other-machine")
    assert done.returncode != 0
    assert "error: LLVM's code generation crashed; 'm.so.repro.bc' shows it: llc -O3 " in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.so.repro.bc"]
    assert "Cannot select" in again(tmp_path, ["llc", "-relocation-model=pic", "m.so.repro.bc", "-o",
                                               "/dev/null"])


def test_linker_that_fails(tmp_path):
    """Also of the code that computes weights; its input is all there."""
    plain = tmp_path / "plain.onnx"
    save(plain, helper.make_node("Tanh", ["a"], ["y"]), inputs={"a": ["n"]})
    liar = tmp_path / "ld"
    liar.write_text("#!/bin/sh\necho not today >&2\nexit 7\n")
    liar.chmod(0o755)
    for model, form in ((MODEL, "-o"), (plain, "-o"), (plain, "--emit=static")):
        for linker, reason in (("/bin/false", "it ended with status 1 and said nothing"),
                               (liar, "not today")):
            arguments = [form, "m.so"] if form == "-o" else [form, "-o", "m.so"]
            error, command = behind_the_passes(tmp_path, *arguments, f"--linker={linker}",
                                               model=model)
            assert error == f"the linker '{linker}' failed: {reason}"
            assert command[0] == str(linker)
            linked = subprocess.run(["ld.lld-22", *command[1:]], cwd=tmp_path, check=False,
                                    capture_output=True, text=True)
            assert linked.returncode == 0, linked.stderr
            for file in tmp_path.glob("m.so.repro*"):
                file.unlink()


def test_ptxas_that_fails(tmp_path):
    ptxas = tmp_path / "failing"
    ptxas.write_text('#!/bin/sh\n[ "$1" = --help ]\n')
    ptxas.chmod(0o755)
    error, command = behind_the_passes(tmp_path, "-o", "m.so", "--target=cuda:sm_90a",
                                       f"--ptxas={ptxas}")
    assert error == f"'{ptxas}' failed: it ended with status 1 and said nothing"
    assert command == [str(ptxas), "-O3", "-v", "-arch=sm_90a", "m.so.repro.ptx", "-o",
                       "/dev/null"]
    assert ".visible .entry" in (tmp_path / "m.so.repro.ptx").read_text()


def test_reproducers_go_with_a_success(load, tmp_path):
    """All that a failure beside that output left; what was left elsewhere, and other files stay."""
    kinds = ["mlir", "llvm.mlir", "bc", "ptx", "0.o", "1.o"]
    kept = ["r.mlir", "r.bc", "ssm-compile.repro.mlir", "n.so.repro.mlir", "m.so.repro.txt"]
    for name in [*(f"m.so.repro.{kind}" for kind in kinds), *kept]:
        (tmp_path / name).touch()
    assert compile_(tmp_path, MODEL, "-o", "m.so", load, "--add-pass=fuse=test-fail").returncode == 1
    assert all((tmp_path / f"m.so.repro.{kind}").exists() for kind in kinds)
    for arguments in (["-o", "m.so", "--reproducer=r.mlir"], ["--emit=graph"], ["-o", "m.so"]):
        assert (tmp_path / "m.so.repro.ptx").exists()
        done = compile_(tmp_path, MODEL, *arguments)
        assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["m.so", "m.weights.safetensors", *kept])


def test_no_reproducer_of_a_bad_model(tmp_path):
    """That is an error of the model, found by a pass all the same."""
    save(tmp_path / "bad.onnx", helper.make_node("MatMul", ["a", "b"], ["y"], name="product"),
         inputs={"a": [2, 3], "b": [4, 5]})
    done = compile_(tmp_path, "bad.onnx", "-o", "m.so")
    assert done.returncode == 1
    assert "product" in done.stderr and "reproducer" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.onnx"]
