# ===- test_real_models.py - Trained and exported models, unchanged --------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""typeseg's trained Mamba, HuggingFace's Mamba-2 as torch.onnx writes it, and a
Mamba from torch's scan operator, against ONNX Runtime."""

import fcntl

import numpy as np
import pytest
from ssmtest import build, compare, compiler, reference, runtime
from ssmtest.case import f32, generator

import typeseg

# Whole models, relative to the largest magnitude of the outputs.
BOUND = 1e-4


def compare_with_ort(path, inputs, threads=1):
    wanted = reference.run_model(path, inputs)
    session = runtime.Module(compiler.compile_model(path)).session(threads=threads)
    results = session.run(inputs)
    assert results.keys() == wanted.keys()
    for name, want in wanted.items():
        compare.check_close(name, results[name], want, want.dtype, BOUND)
    return session, results


@pytest.fixture(scope="session")
def typeseg_model():
    """The model's path; one process fetches it for all."""
    folder = build.DOWNLOADS
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "fetching", "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            return typeseg.fetch(build.DOWNLOADS)[0]
        except OSError as error:
            pytest.skip(f"typeseg cannot be fetched: {error}")


@pytest.mark.parametrize("length", [1, 7, 512, 2048])
def test_typeseg(typeseg_model, length, reference_only):
    ids = generator(f"typeseg#{length}").integers(0, 130, length)
    if reference_only:
        assert reference.run_model(typeseg_model, {"ids": ids})["logits"].shape == (length, 35)
        return
    compare_with_ort(typeseg_model, {"ids": ids})


def test_typeseg_of_nothing(typeseg_model, reference_only):
    if reference_only:
        pytest.skip("needs the compiler")
    session = runtime.Module(compiler.compile_model(typeseg_model)).session()
    assert session.run({"ids": np.zeros(0, np.int64)})["logits"].shape == (0, 35)


def test_typeseg_threads(typeseg_model, reference_only):
    if reference_only:
        pytest.skip("needs the compiler")
    ids = generator("typeseg_threads").integers(0, 130, 300)
    for threads in (1, 2, 8):
        session, first = compare_with_ort(typeseg_model, {"ids": ids}, threads)
        np.testing.assert_array_equal(session.run({"ids": ids})["logits"], first["logits"])


@pytest.mark.parametrize("wrong", [130, -131, 2**40])
def test_typeseg_id_out_of_range(typeseg_model, wrong, reference_only):
    """An error that names the node, and a session that goes on."""
    if reference_only:
        pytest.skip("needs the compiler")
    session = runtime.Module(compiler.compile_model(typeseg_model)).session()
    ids = np.array([5, 6, 7, 8])
    before = session.run({"ids": ids})["logits"]
    with pytest.raises(runtime.RuntimeFailure) as failure:
        session.run({"ids": np.array([5, wrong, 7])})
    assert failure.value.status == "check failed" and "Gather" in str(failure.value)
    np.testing.assert_array_equal(session.run({"ids": ids})["logits"], before)


@pytest.mark.parametrize("batch,length", [(1, 1), (1, 24), (2, 7), (3, 16), (2, 33)])
def test_huggingface_mamba2(batch, length, reference_only):
    path = build.MODELS / "hf_mamba2_tiny.onnx"
    ids = generator(f"mamba2#{batch}x{length}").integers(0, 128, (batch, length))
    if reference_only:
        reference.run_model(path, {"input_ids": ids})
        return
    compare_with_ort(path, {"input_ids": ids})


@pytest.mark.parametrize("batch,length", [(2, 11), (1, 1), (3, 64), (1, 129)])
def test_torch_scan(batch, length, reference_only):
    path = build.MODELS / "torch_scan_mamba.onnx"
    rng = generator(f"torch_scan#{batch}x{length}")
    inputs = {"hidden": rng.standard_normal((batch, length, 32), f32),
              "past_ssm": rng.standard_normal((batch, 64, 8), f32)}
    if reference_only:
        reference.run_model(path, inputs)
        return
    compare_with_ort(path, inputs)
