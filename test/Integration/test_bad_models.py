# ===- test_bad_models.py - Files that cannot be compiled -----------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What ssm-compile says of files that it cannot take: one clear message, exit code
1, nothing written, the message last on stderr. And what compiled modules say of
sizes that they cannot take."""

import random
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from ssmtest import build, compiler, reference, runtime
from ssmtest.case import f32, generator, seed

sys.path.insert(0, str(build.MODELS))
import control_flow  # noqa: E402
from builder import Builder  # noqa: E402

HF = build.MODELS / "hf_mamba2_tiny.onnx"


def save(model, path):
    onnx.save(model, path)
    return path


def run(*arguments):
    return compiler.run_compiler(arguments)


def refuse(path, tmp_path, *words, options=()):
    """Compiling fails as it should; the last line has all the words."""
    before = sorted(p.name for p in tmp_path.iterdir())
    done = run(path, "-o", tmp_path / "out.so", *options)
    assert done.returncode == 1, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before, "something was written"
    last = done.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in last, last
    return done.stderr


def one_node(op, *shapes, dtype=TensorProto.FLOAT, domain="", opset=20, **attributes):
    inputs = [helper.make_tensor_value_info(f"x{i}", dtype, shape)
              for i, shape in enumerate(shapes)]
    node = helper.make_node(op, [i.name for i in inputs], ["y"], name="the_node", domain=domain,
                            **attributes)
    graph = helper.make_graph([node], "g", inputs,
                              [helper.make_tensor_value_info("y", dtype, None)])
    opsets = [helper.make_opsetid("", opset)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def test_same_bytes_twice(tmp_path):
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        assert run(HF, "-o", folder / "m.so").returncode == 0
    for file in ("m.so", "m.weights.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_missing_file(tmp_path):
    refuse(tmp_path / "none.onnx", tmp_path, "none.onnx")


def test_not_onnx(tmp_path):
    path = tmp_path / "noise.onnx"
    path.write_bytes(bytes(range(1, 256)) * 4)
    refuse(path, tmp_path, "noise.onnx")


def test_truncated(tmp_path):
    data = HF.read_bytes()
    path = tmp_path / "cut.onnx"
    for fraction in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(data[:int(len(data) * fraction)])
        refuse(path, tmp_path)


@pytest.mark.parametrize("opset", [6, 29, 1000])
def test_unknown_opset(tmp_path, opset):
    model = one_node("Exp", ["n"], opset=opset)
    refuse(save(model, tmp_path / "m.onnx"), tmp_path, str(opset), "28")


def test_shape_contradiction(tmp_path):
    model = one_node("Add", [3], [4])
    refuse(save(model, tmp_path / "m.onnx"), tmp_path, "the_node", "Add", "3", "4")


def test_type_contradiction(tmp_path):
    model = one_node("Exp", ["n"], dtype=TensorProto.INT64)
    refuse(save(model, tmp_path / "m.onnx"), tmp_path, "the_node", "Exp")


def test_missing_external_data(tmp_path):
    model = onnx.load(HF)
    folder = tmp_path / "in"
    folder.mkdir()
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.data",
              size_threshold=256)
    (folder / "m.data").unlink()
    refuse(folder / "m.onnx", tmp_path, "m.data")


def test_external_data(tmp_path):
    model = onnx.load(HF)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data",
              size_threshold=256)
    assert run(tmp_path / "m.onnx", "-o", tmp_path / "m.so").returncode == 0
    ids = generator("external").integers(0, 128, (1, 9))
    got = runtime.Module(tmp_path / "m.so").session().run({"input_ids": ids})["logits"]
    wanted = reference.run_model(HF, {"input_ids": ids})["logits"]
    assert np.max(np.abs(got - wanted)) < 1e-4 * np.max(np.abs(wanted))


def test_flipped_bits_never_crash(tmp_path):
    """Each either compiles or is refused with a message."""
    rng = random.Random(seed())
    small = control_flow.if_captured().SerializeToString()
    path = tmp_path / "m.onnx"
    for _ in range(60):
        data = bytearray(small)
        for _ in range(rng.choice([1, 1, 2, 8])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        done = run("--check", path)
        assert done.returncode in (0, 1), done.stderr
        done = run(path, "--emit=buffer", "-o", tmp_path / "m.mlir")
        assert done.returncode in (0, 1), done.stderr
        assert done.returncode == 0 or done.stderr.strip()


def test_fixed_size_is_checked_at_run_time(tmp_path):
    module = runtime.Module(compiler.compile_model(one_node("Exp", [2, 3])))
    with pytest.raises(runtime.RuntimeFailure) as failure:
        module.session().run({"x0": np.zeros((2, 4), f32)})
    assert "x0" in str(failure.value) and "3" in str(failure.value) and "4" in str(failure.value)


def test_two_names_for_one_size():
    g = Builder()
    a, b = g.input("a", ["n", 4]), g.input("b", ["m", 4])
    g.output(g.add("Add", a, b), ["k", 4], name="y")
    session = runtime.Module(compiler.compile_model(g.model())).session()
    rng = generator("two_names")
    for n, m in ((3, 3), (1, 5), (5, 1), (0, 1), (0, 0)):
        x, y = rng.standard_normal((n, 4), f32), rng.standard_normal((m, 4), f32)
        np.testing.assert_array_equal(session.run({"a": x, "b": y})["y"], x + y)
    with pytest.raises(runtime.RuntimeFailure) as failure:
        session.run({"a": np.zeros((2, 4), f32), "b": np.zeros((3, 4), f32)})
    assert "Add" in str(failure.value) and "2" in str(failure.value) and "3" in str(failure.value)


def test_module_needs_only_the_c_library(tmp_path):
    assert run(HF, "-o", tmp_path / "m.so", "--cpu=x86-64-v2").returncode == 0
    names = subprocess.run(["nm", "-D", "--undefined-only", tmp_path / "m.so"], check=True,
                           capture_output=True, text=True).stdout.split()[1::2]
    assert set(names) <= {"memcpy", "memmove", "memset"} | {n for n in names if n.endswith("f")}
