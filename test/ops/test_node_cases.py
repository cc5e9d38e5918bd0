# ===- test_node_cases.py - ONNX's own node tests --------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Runs the node tests that come with the onnx package, as they are and with every
input dimension symbolic.

A case is left out if it has values that are not plain tensors of a known type,
or operators that the compiler says it does not support. What fails among the
rest stands in node_tests_expected.txt, with the reason: a listed case that
passes is a failure, as is an unlisted one that does not.

SSM_TEST_EVERY=4 takes every fourth case, by name.
"""

import functools
import os
import re
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from ssmtest import compare, compiler, model, runtime

EXPECTED = Path(__file__).with_name("node_tests_expected.txt")
TYPES = {number: dtype for dtype, number in model.ELEMENT_TYPES.items()}
# Out of scope by rule, not by name: random results cannot be compared.
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
          "RandomUniformLike"}
OLDEST_OPSET = 7
EVERY = int(os.environ.get("SSM_TEST_EVERY", "1"))
# The tolerance of ONNX's own runner, where it is wider than ours.
ONNX_RTOL = 1e-3


@functools.lru_cache(maxsize=None)
def node_cases():
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: case for case in load_model_tests(kind="node")}


@functools.lru_cache(maxsize=None)
def expected_failures():
    """-> {'name variant': reason}."""
    listed = {}
    for number, line in enumerate(EXPECTED.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            match = re.fullmatch(r"(\S+) (static|dynamic): (.+)", line)
            assert match, f"{EXPECTED.name}:{number}: expected 'NAME VARIANT: reason'"
            listed[f"{match[1]} {match[2]}"] = match[3]
    return listed


def out_of_scope(case):
    """Why a case is not asked of a compiler for inference on plain tensors, or
    None."""
    for value in [*case.model.graph.input, *case.model.graph.output]:
        if value.type.WhichOneof("value") != "tensor_type":
            return "not a tensor"
        if value.type.tensor_type.elem_type not in TYPES:
            return f"element type {value.type.tensor_type.elem_type}"
    opset = next((o.version for o in case.model.opset_import if o.domain in ("", "ai.onnx")),
                 OLDEST_OPSET)
    if opset < OLDEST_OPSET:
        return f"opset {opset}"
    for node in case.model.graph.node:
        if node.op_type in RANDOM:
            return "random"
        if any(a.name == "training_mode" and a.i for a in node.attribute):
            return "training"
    # Dropout has it as an input.
    return "training" if case.name.startswith("test_training_") else None


def to_array(value, number):
    """Data of a case -> array of the element type `number`."""
    array = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else \
        np.asarray(value)
    return array if array.dtype == TYPES[number] else array.astype(TYPES[number])


def names_and_types(values):
    return [(v.name, v.type.tensor_type.elem_type) for v in values]


def run(case, variant):
    """Compiles, runs and compares; raises what goes wrong."""
    proto = case.model if variant == "static" else model.with_symbolic_inputs(case.model)
    session = runtime.Module(compiler.compile_model(proto)).session()
    for given, wanted in case.data_sets:
        inputs = {name: to_array(value, number)
                  for (name, number), value in zip(names_and_types(case.model.graph.input), given)}
        results = session.run(inputs)
        for (name, number), value in zip(names_and_types(case.model.graph.output), wanted):
            want, bound = to_array(value, number), None
            if compare.is_float(want.dtype):
                # The expected outputs were computed in the type itself.
                bound = max(2 * compare.BOUNDS[want.dtype], min(case.rtol, ONNX_RTOL))
            compare.check_close(name, results[name], want, want.dtype, bound)


def names():
    """Cases in scope; the others are not even counted as skipped."""
    return sorted(name for name, case in node_cases().items() if not out_of_scope(case))


@pytest.mark.parametrize("variant", ["static", "dynamic"])
@pytest.mark.parametrize("name", names()[::EVERY])
def test_node(name, variant, reference_only):
    case = node_cases()[name]
    listed = expected_failures().get(f"{name} {variant}")
    if reference_only:
        return
    try:
        run(case, variant)
    except compiler.CompileError as error:
        if error.unsupported:
            assert listed is None, f"is listed, but not supported: {error.reason}"
            # Without the node's name, so that pytest counts equal reasons together.
            pytest.skip("refused: " + re.sub(r" \(opset.*?\)", "", error.reason))
        failure = error
    except (AssertionError, runtime.RuntimeFailure) as error:
        failure = error
    else:
        assert listed is None, "is listed as failing, but passes: take it off the list"
        return
    if listed is None:
        raise failure
    if isinstance(failure, compiler.CompileError):
        assert failure.returncode == 1, f"must be refused in good order: {failure}"


def test_list_has_no_strangers():
    strangers = {entry.split()[0] for entry in expected_failures()} - set(names())
    assert not strangers
