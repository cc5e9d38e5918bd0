# ===- test_ssm_compile.py - The command line of the compiler --------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""ssm-compile from outside: what it writes, what it says, what it refuses."""

import os
import re
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from ssmtest import build, case, compiler

STAGES = ["import", "graph", "tensor", "raise", "quantize", "fuse", "tile", "buffer",
          "vector", "target"]
F32, I64 = TensorProto.FLOAT, TensorProto.INT64


def compile(*arguments, fails=False):
    """(stdout, stderr); with `fails` the line of the error instead."""
    done = subprocess.run([str(build.tool("ssm-compile")), *map(str, arguments)],
                          capture_output=True, text=True)
    if not fails:
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: "), done.stderr
    return last[len("error: "):]


def run(module, inputs, *arguments):
    save_file(inputs, module.parent / "in")
    done = subprocess.run([str(build.tool("ssm-run")), str(module), "--inputs",
                           str(module.parent / "in"), "--outputs", str(module.parent / "out"),
                           *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return load_file(module.parent / "out")


def save(path, nodes, inputs, outputs, weights=None, **options):
    """Inputs and outputs are (name, type, dims)."""
    initializers = [numpy_helper.from_array(value, name)
                    for name, value in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info(*i) for i in inputs],
                              [helper.make_tensor_value_info(*o) for o in outputs], initializers)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("test", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, path, **options)
    return path


@pytest.fixture
def rng():
    return np.random.default_rng(case.seed())


@pytest.fixture
def linear(tmp_path, rng):
    """y = x W^T + b: `w` is used transposed only, so that it becomes another."""
    weights = {"w": rng.standard_normal((24, 16)).astype(np.float32),
               "b": rng.standard_normal(260).astype(np.float32)}
    path = save(tmp_path / "linear.onnx",
                [helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
                 helper.make_node("MatMul", ["x", "wt"], ["m"]),
                 helper.make_node("ReduceSum", ["b"], ["s"], keepdims=0),
                 helper.make_node("Add", ["m", "s"], ["y"])],
                [("x", F32, ["n", 16])], [("y", F32, ["n", 24])], weights)
    return path, weights


def expected(weights, x):
    wide = {name: value.astype(np.float64) for name, value in weights.items()}
    return x.astype(np.float64) @ wide["w"].T + wide["b"].sum()


def assert_close(value, reference):
    assert value.shape == reference.shape
    assert np.abs(value - reference).max(initial=0) <= 1e-5 * np.abs(reference).max(initial=1)


# ===--- What it writes ----------------------------------------------------===#


def test_computes_what_weights_alone_give(tmp_path, rng, linear):
    path, weights = linear
    compile(path, "-o", tmp_path / "m.so")
    for n in (0, 1, 7):
        x = rng.standard_normal((n, 16)).astype(np.float32)
        assert_close(run(tmp_path / "m.so", {"x": x})["y"], expected(weights, x))
    # What the product reads took the place of the one in the file: transposed, in one
    # strip of 16 x 24 with room for whole vectors.
    stored = load_file(tmp_path / "m.weights.safetensors")
    shapes = [value.shape for name, value in stored.items() if not name.startswith("__padding__")]
    assert any(len(shape) == 3 and shape[1] == 16 and shape[0] * shape[2] >= 24
               for shape in shapes)
    assert (24, 16) not in shapes


def test_weights_file(tmp_path, rng):
    """Names, types and bytes as in the model, at aligned offsets, for any reader."""
    weights = {"table": rng.integers(0, 256, (13, 101), np.uint8),
               "mask": rng.integers(0, 2, (1031,)).astype(bool),
               "long": rng.integers(-2**60, 2**60, (131,), np.int64),
               "half/é": rng.standard_normal((7, 99)).astype(np.float16)}
    nodes = [helper.make_node("Gather", [name, "i"], [f"out{i}"], axis=0)
             for i, name in enumerate(weights)]
    outputs = [(f"out{i}", helper.np_dtype_to_tensor_dtype(value.dtype),
                ["k", *value.shape[1:]]) for i, value in enumerate(weights.values())]
    path = save(tmp_path / "m.onnx", nodes, [("i", I64, ["k"])], outputs, weights)
    compile(path, "-o", tmp_path / "m.so")
    raw = (tmp_path / "m.weights.safetensors").read_bytes()
    base = 8 + int.from_bytes(raw[:8], "little")
    assert base % 64 == 0
    with safe_open(tmp_path / "m.weights.safetensors", "np") as stored:
        for name, value in weights.items():
            assert stored.get_tensor(name).dtype == value.dtype
            np.testing.assert_array_equal(stored.get_tensor(name), value)
            assert (raw.index(value.tobytes()) - base) % 64 == 0
    indices = np.array([0, 6, 1, 6], np.int64)
    results = run(tmp_path / "m.so", {"i": indices})
    for i, value in enumerate(weights.values()):
        np.testing.assert_array_equal(results[f"out{i}"], value[indices])


@pytest.mark.parametrize("options", [[], ["--embed-weights"], ["-O0"], ["--cpu=x86-64-v2"],
                                     ["--emit=obj"], ["--emit=llvm"]])
def test_deterministic(tmp_path, linear, options):
    """Neither the folder nor the time are in what is written."""
    path, _ = linear
    contents = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.onnx").write_bytes(path.read_bytes())
        compile(folder / "model.onnx", "-o", folder / "m.so", *options)
        contents.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert contents[0] == contents[1]
    assert str(tmp_path).encode() not in contents[0]["m.so"]


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-O3"])
@pytest.mark.parametrize("cpu", ["native", "x86-64-v2", "v3"])
def test_levels_and_processors(tmp_path, rng, linear, level, cpu):
    path, weights = linear
    compile(path, "-o", tmp_path / "m.so", level, "--cpu", cpu, "--verify-each")
    x = rng.standard_normal((5, 16)).astype(np.float32)
    assert_close(run(tmp_path / "m.so", {"x": x})["y"], expected(weights, x))


def test_embedded_weights(tmp_path, rng, linear):
    path, weights = linear
    (tmp_path / "out").mkdir()
    module = tmp_path / "out" / "m.so"
    compile(path, "-o", module, "--embed-weights")
    assert os.listdir(tmp_path / "out") == ["m.so"]
    x = rng.standard_normal((3, 16)).astype(np.float32)
    assert_close(run(module, {"x": x})["y"], expected(weights, x))


def test_entries_share_weights(tmp_path, rng):
    big = rng.standard_normal((64, 64)).astype(np.float32)
    for name, dims in (("prefill", ["n", 64]), ("decode", [1, 64])):
        save(tmp_path / f"{name}.onnx", [helper.make_node("MatMul", ["x", f"w_{name}"], ["y"])],
             [("x", F32, dims)], [("y", F32, dims)], {f"w_{name}": big})
    module = tmp_path / "m.so"
    compile("--entry", f"prefill={tmp_path}/prefill.onnx",
            f"--entry=decode={tmp_path}/decode.onnx", "-o", module)
    assert (tmp_path / "m.weights.safetensors").stat().st_size < big.nbytes + 1024
    for name, n in (("prefill", 9), ("decode", 1)):
        x = rng.standard_normal((n, 64)).astype(np.float32)
        assert_close(run(module, {"x": x}, "--entry", name)["y"],
                     x.astype(np.float64) @ big.astype(np.float64))


def test_large_weights_stay_on_disk(tmp_path, rng):
    """Four weights of 64 MiB, one of them stored transposed: a few of these at a
    time may be in memory, not all, and never the whole file."""
    side = 4096
    weights = {f"w{i}": rng.standard_normal((side, side), np.float32) for i in range(4)}
    nodes = [helper.make_node("Transpose", ["w0"], ["t0"], perm=[1, 0])]
    value = "x"
    for i in range(4):
        nodes.append(helper.make_node("MatMul", [value, f"w{i}" if i else "t0"], [f"y{i}"]))
        value = f"y{i}"
    save(tmp_path / "m.onnx", nodes, [("x", F32, [1, side])], [("y3", F32, [1, side])], weights,
         save_as_external_data=True, location="m.data")
    # A process counts what its parent had in memory: so one that has little starts it.
    measure = ("import os, subprocess, sys\n"
               "process = subprocess.Popen(sys.argv[1:])\n"
               "_, status, usage = os.wait4(process.pid, 0)\n"
               "print(status, usage.ru_maxrss)")
    done = subprocess.run([sys.executable, "-c", measure, str(build.tool("ssm-compile")),
                           str(tmp_path / "m.onnx"), "-o", str(tmp_path / "m.so")],
                          capture_output=True, text=True, check=True)
    status, kibibytes = map(int, done.stdout.split())
    assert status == 0, done.stderr
    assert kibibytes < 320 * 1024


# ===--- Stages ------------------------------------------------------------===#


@pytest.mark.parametrize("stage", STAGES)
def test_stages_print_what_ssm_opt_reads(tmp_path, linear, stage):
    text, _ = compile(linear[0], f"--emit={stage}")
    done = subprocess.run([str(build.tool("ssm-opt")), "-"], input=text, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr


def test_code_forms(tmp_path, linear):
    assert "define internal" in compile(linear[0], "--emit=llvm")[0]
    assert ".globl\tssm_module" in compile(linear[0], "--emit", "asm")[0]
    compile(linear[0], "--emit=obj", "-o", tmp_path / "m.o")
    assert (tmp_path / "m.o").read_bytes().startswith(b"\x7fELF")


def test_save_temps(tmp_path, linear):
    (tmp_path / "out").mkdir()
    compile(linear[0], "-o", tmp_path / "out" / "m.so", "--save-temps")
    names = set(os.listdir(tmp_path / "out"))
    assert {f"m.{stage}.mlir" for stage in STAGES} <= names
    assert {"m.so", "m.weights.safetensors", "m.ll"} <= names


def test_print_timings(tmp_path, linear):
    _, errors = compile(linear[0], "-o", tmp_path / "m.so", "--print-timings")
    names = [line.split(" s  ")[1] for line in errors.splitlines()]
    assert names[0] == "read" and names[-1] == "total" and "tensor" in names


# ===--- What it tells of a model ------------------------------------------===#


@pytest.fixture
def stateful(tmp_path, rng):
    """A fixed state, one that grows, and sizes that the export fixed."""
    return save(tmp_path / "stateful.onnx",
                [helper.make_node("Concat", ["past_key_values.0.key", "k"], ["present.0.key"],
                                  axis=2),
                 helper.make_node("Add", ["past_conv.0", "w"], ["present_conv.0"]),
                 helper.make_node("Identity", ["ids"], ["out"])],
                [("ids", I64, [1, 24]), ("k", F32, ["b", 2, "n", 8]),
                 ("past_key_values.0.key", F32, ["b", 2, "past", 8]),
                 ("past_conv.0", F32, ["b", 16, 3])],
                [("out", I64, [1, 24]), ("present.0.key", F32, ["b", 2, "total", 8]),
                 ("present_conv.0", F32, ["b", 16, 3])],
                {"w": rng.standard_normal((16, 3)).astype(np.float32)})


def test_check(stateful):
    process = subprocess.Popen([str(build.tool("ssm-compile")), "--check", str(stateful)],
                               stdout=subprocess.PIPE, text=True)
    report = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert usage.ru_utime + usage.ru_stime < 1
    for line in ["entry main", "  opset: ai.onnx 18", "    ids: int64[1, 24]",
                 "    past_conv.0: float[b, 16, 3]",
                 "    past_key_values.0.key -> present.0.key, grows along axis 2",
                 "    past_conv.0 -> present_conv.0, fixed",
                 "  parameters: 48 in 1 tensors, 192 bytes", "  nodes: 3"]:
        assert line in report.splitlines(), report
    assert ("input 'ids' has the fixed size 24 along axis 1; to leave it open, export with "
            "dynamic_shapes={\"ids\": {1: \"length\"}}") in report
    # What belongs to the model is no fixed size.
    assert "input 'past_conv.0' has" not in report


def test_check_tells_all_unsupported_operators(tmp_path):
    nodes = [helper.make_node("Bogus", ["x"], ["a"], name="first"),
             helper.make_node("Bogus", ["a"], ["b"], name="second"),
             helper.make_node("Other", ["b"], ["y"], name="third", domain="test")]
    path = save(tmp_path / "m.onnx", nodes, [("x", F32, ["n"])], [("y", F32, ["n"])])
    done = subprocess.run([str(build.tool("ssm-compile")), "--check", str(path)],
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert "    2 x Bogus (opset 18), first: 'first'\n" in done.stdout
    assert "    1 x test::Other (opset 1), first: 'third'\n" in done.stdout
    assert "    x: float[n]\n" in done.stdout
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: ") and "Bogus" in error and "Other" in error
    # Compiling says the same.
    assert "error: " + compile(path, "-o", tmp_path / "m.so", fails=True) == error


def test_check_knows_the_types_of_modules(tmp_path):
    """As compiling does."""
    kind = TensorProto.FLOAT8E5M2FNUZ
    path = save(tmp_path / "m.onnx", [helper.make_node("Identity", ["x"], ["y"], name="same")],
                [("x", kind, ["n"])], [("y", kind, ["n"])])
    for arguments in (["--check", path], [path, "-o", tmp_path / "m.so"]):
        assert compile(*arguments, fails=True) == \
            "input 0 has element type 'f8E5M2FNUZ', which modules do not take"


def test_fixed_sizes_are_a_remark(tmp_path, stateful):
    _, errors = compile(stateful, "-o", tmp_path / "m.so", "--remarks=shape")
    assert "remark: input 'ids' has the fixed size 1 along axis 0" in errors
    assert compile(stateful, "-o", tmp_path / "m.so")[1] == ""


def test_remarks_name_nodes(tmp_path):
    path = save(tmp_path / "m.onnx",
                [helper.make_node("Neg", ["x"], ["n"], name="turned"),
                 helper.make_node("Exp", ["n"], ["y"], name="grown")],
                [("x", F32, ["n"])], [("y", F32, ["n"])])
    _, errors = compile(path, "-o", tmp_path / "m.so", "--remarks=fuse")
    remarks = [line for line in errors.splitlines() if "remark: " in line]
    assert remarks and all("remark: node '" in line for line in remarks), errors
    assert "'turned'" in errors or "'grown'" in errors


@pytest.mark.parametrize("names", [
    ("past_key_values.3.value", "present.3.value"), ("past_conv.0", "present_conv.0"),
    ("past_ssm", "present_ssm"), ("past_states.1.ssm_state", "present.1.ssm_state"),
    ("past_key_values.2.recurrent_state", "present.2.recurrent_state"),
    ("conv_state_0", "new_conv_state_0"), ("past_state", "present_state"),
    ("input.past_key_values.layers.1.keys", "output.past_key_values.layers.1.keys"),
    ("input.cache_params.conv", "output.cache_params.conv"),
])
@pytest.mark.parametrize("named", [True, False])
def test_state_names(tmp_path, names, named):
    """With `named` as they are; else by --state, under names that tell nothing."""
    given, returned = names if named else ("in", "out")
    path = save(tmp_path / "m.onnx", [helper.make_node("Neg", [given], [returned])],
                [(given, F32, ["b", 4])], [(returned, F32, ["b", 4])])
    if named:
        assert f"{given} -> {returned}, fixed" in compile("--check", path)[0]
    else:
        assert "states" not in compile("--check", path)[0]
        assert "in -> out, fixed" in compile("--check", path, "--state", "in=out")[0]


def test_named_like_a_state_but_none(tmp_path):
    path = save(tmp_path / "m.onnx", [helper.make_node("Transpose", ["past_x"], ["present_x"])],
                [("past_x", F32, ["a", "b"])], [("present_x", F32, ["b", "a"])])
    report, errors = compile("--check", path)
    assert "states" not in report
    assert errors.startswith("warning: 'past_x' and 'present_x' are named like a state")


# ===--- What it refuses ---------------------------------------------------===#


@pytest.mark.parametrize("arguments,message", [
    ([], "no output given, expected -o FILE"),
    (["-o", "{out}", "--cpu=z80"], "unknown CPU 'z80', expected one of native, "),
    (["-o", "{out}", "--emit=nothing"], "unknown stage 'nothing', expected one of import, "),
    (["-o", "{out}", "--target=tpu"], "unknown target 'tpu', expected cpu"),
    (["-o", "{out}", "--linker=no-such-linker"], "cannot find the linker 'no-such-linker'"),
    (["-o", "{out}", "-O4"], "unknown level '-O4', expected -O0 to -O3"),
    (["-o", "{out}", "--stat", "a=b"], "unknown option '--stat', did you mean '--state'?"),
    (["-o", "{out}", "--wrong"], "unknown option '--wrong'"),
    (["-o", "{out}", "--state", "a"], "--state a: expected two names with '=' between"),
    (["-o", "{out}", "--state", "a=b"], "--state a=b names no input and output of one entry"),
    (["-o", "{out}", "--state", "x=y"], "--state x=y is no state of entry 'main': "),
    (["-o", "{out}", "--max-weights=9"], "--max-weights"),
    (["-o", "{out}", "--remarks=("], "--remarks=(: parentheses"),
    (["-o", "{out}", "--remarks=fus$"],
     "--remarks=fus$: matches none of shape, raise, fuse, vector, placement"),
    (["-o", "{out}", "other.onnx"], "two models without a name, "),
    (["-o", "{out}", "--entry", "a.b={model}"], "'a.b' cannot name an entry"),
    (["-o", "{out}", "--entry", "main={model}"], "two entries are named 'main'"),
    (["-o", "{folder}/no/m.so"], "cannot write '"),
    (["-o", "{folder}"], "cannot write '"),
    (["-o", "{model}"], "the output '"),
    (["-o"], "option -o needs a value"),
    (["-o", "{out}", "--cpu=x86-64-v2", "--cpu=x86-64-v3"], "--cpu is given twice; several have ','"),
    (["-o", "{out}", "--target", "cpu", "--target=cpu"], "--target is given twice"),
])
def test_refuses(tmp_path, linear, arguments, message):
    folder = tmp_path / "folder"
    folder.mkdir()
    model = linear[0].rename(folder / "model.onnx")
    before = model.read_bytes()
    places = {"out": folder / "m.so", "folder": folder, "model": model}
    error = compile(model, *[a.format(**places) for a in arguments], fails=True)
    assert message in error
    assert os.listdir(folder) == ["model.onnx"]
    assert model.read_bytes() == before


@pytest.mark.parametrize("arguments", [
    ["-o", "{folder}/m.so"],                       # m.weights.safetensors
    ["-o", "{folder}/m.weights.safetensors"],
    ["-o", "{folder}/n.so", "--reproducer={folder}/m.weights.safetensors"],
    ["-o", "{folder}/m.weights.safetensors", "--emit=graph"],
    ["-o", "{folder}/link.o", "--embed-weights", "--emit=static"],
])
def test_keeps_the_files_of_external_data(tmp_path, rng, arguments):
    model = save(tmp_path / "m.onnx", [helper.make_node("Mul", ["x", "w"], ["y"])],
                 [("x", F32, [512])], [("y", F32, [512])],
                 {"w": rng.random(512, np.float32)}, save_as_external_data=True,
                 location="m.weights.safetensors", size_threshold=0)
    (tmp_path / "link.h").symlink_to("m.weights.safetensors")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    error = compile(model, *[a.format(folder=tmp_path) for a in arguments], fails=True)
    assert "is a file with the model's weights" in error or "did not write" in error
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_killed_compilations(tmp_path, rng):
    """Whenever it is killed, there is a module with its own weights, or one that is refused
    with those of another; what was left goes with the next compilation."""
    models = []
    for name in "ab":
        weight = rng.standard_normal((300, 700)).astype(np.float32)
        models.append((save(tmp_path / f"{name}.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])],
                            [("x", F32, [1, 300])], [("y", F32, [1, 700])], {"w": weight}), weight))
    out = tmp_path / "out"
    out.mkdir()
    module = out / "m.so"
    x = rng.standard_normal((1, 300)).astype(np.float32)
    save_file({"x": x}, tmp_path / "in")
    begin = time.monotonic()
    compile(models[0][0], "-o", module)
    took = time.monotonic() - begin
    foreign = (out / "m.weights.safetensors").read_bytes()
    left = refused = 0
    killed = set()
    for turn in range(40):
        process = subprocess.Popen([str(build.tool("ssm-compile")), str(models[turn % 2][0]), "-o",
                                    str(module)])
        if turn % 2:
            time.sleep(took * rng.uniform(0.2, 1.1))
        else:
            # At the moment when a file has got its name.
            files = [out / "m.so", out / "m.weights.safetensors"]
            before = [file.stat().st_ino for file in files]
            while process.poll() is None and before == [file.stat().st_ino for file in files]:
                pass
        process.kill()
        process.wait()
        # One that was killed early has not tidied up yet.
        killed.add(str(process.pid))
        names = {file.name for file in out.iterdir()} - {"m.so", "m.weights.safetensors"}
        left += bool(names)
        assert all(re.fullmatch(rf"m\.(so|weights\.safetensors)\.({'|'.join(killed)})-[0-9a-f]{{8}}\.tmp.*",
                                name) for name in names), names
        done = subprocess.run([str(build.tool("ssm-run")), str(module), "--inputs", tmp_path / "in",
                               "--outputs", tmp_path / "y"], capture_output=True, text=True)
        if done.returncode:
            refused += 1
            assert "does not belong to module" in done.stderr
            continue
        y = load_file(tmp_path / "y")["y"]
        assert any(np.abs(y - x @ weight).max() < 1e-3 for _, weight in models)
    assert left > 0
    # Another process that is at work is left in peace, and what is not ours too.
    kept = {f"m.so.{os.getpid()}-0123abcd.tmp", "m.so.1-x.tmp", "m.so.tmp", "n.so.999999-01234567.tmp"}
    for name in kept:
        (out / name).touch()
    compile(models[1][0], "-o", module)
    assert set(os.listdir(out)) == {"m.so", "m.weights.safetensors", *kept}
    # Weights of the other model, of the same names, sizes and places.
    (out / "m.weights.safetensors").write_bytes(foreign)
    done = subprocess.run([str(build.tool("ssm-run")), str(module), "--inputs", tmp_path / "in"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "does not belong to module" in done.stderr


def test_headers_replace_nothing_else(tmp_path, linear):
    path, _ = linear
    error = compile(path, "--emit=static", "-o", tmp_path / "st.h", fails=True)
    assert "would be the header" in error
    (tmp_path / "keep.h").write_text("int kept;\n")
    error = compile(path, "--emit=static", "-o", tmp_path / "keep.o", fails=True)
    assert "keep.h" in error and "did not write" in error
    assert sorted(os.listdir(tmp_path)) == ["keep.h", "linear.onnx"]
    assert (tmp_path / "keep.h").read_text() == "int kept;\n"
    # One of its own is replaced.
    compile(path, "--emit=static", "-o", tmp_path / "st.o")
    compile(path, "--emit=static", "-O0", "-o", tmp_path / "st.o")


def test_a_failure_keeps_what_was_there(tmp_path, linear):
    path, _ = linear
    compile(path, "-o", tmp_path / "m.so")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    path.write_bytes(path.read_bytes()[:-40])
    compile(path, "-o", tmp_path / "m.so", fails=True)
    before["linear.onnx"] = path.read_bytes()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_help_is_short():
    text, _ = compile("--help")
    assert len(text.splitlines()) < 40
    # None of LLVM's own options.
    assert "--debug" not in text
    assert compile("--version")[0].startswith("ssm-mlir 0.")


def test_a_device_is_not_replaced(tmp_path):
    """A named pipe stands for it: a file would be renamed over either."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = compiler.run_compiler([build.MODELS / "bible_lm" / "bible_lm.onnx", "-o", pipe])
    assert done.returncode == 1 and "it is there, and no file" in done.stderr
    assert pipe.is_fifo() and [path.name for path in tmp_path.iterdir()] == ["pipe"]
