# ===- test_references.py - The references against ONNX's own cases --------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The NumPy references of sequence operators reproduce the outputs that come
with ONNX's node tests: so they can be trusted where those tests do not reach."""

import functools
import warnings

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from ssmtest import compare
from ssmtest import references_sequence as ref

REFERENCES = {
    "Attention": ref.attention,
    "CausalConvWithState": ref.causal_conv_with_state,
    "LayerNormalization": ref.layer_normalization,
    "LinearAttention": ref.linear_attention,
    "RMSNormalization": ref.rms_normalization,
    "RotaryEmbedding": ref.rotary_embedding,
}


@functools.lru_cache(maxsize=None)
def node_cases():
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    return [c for c in cases if len(c.model.graph.node) == 1]


def to_array(value):
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else \
        np.asarray(value)


@pytest.mark.parametrize("op", REFERENCES)
def test_reference(op):
    count = 0
    for case in node_cases():
        node = case.model.graph.node[0]
        if node.op_type != op:
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        given, wanted = case.data_sets[0]
        arrays = iter(to_array(v) for v in given)
        arrays = [next(arrays) if name else None for name in node.input]
        arrays = [a.astype(np.float64) if a is not None and compare.is_float(a.dtype) else a
                  for a in arrays]
        results = [r for r, name in zip(REFERENCES[op](arrays, attributes), node.output) if name]
        for result, want in zip(results, wanted):
            want = to_array(want)
            assert result.shape == want.shape, case.name
            bound = {4: 2e-6, 2: 1e-2}[want.dtype.itemsize]
            error = compare.relative_error(result.astype(want.dtype), want)
            assert error < bound, f"{case.name}: {error}"
        count += 1
    assert count > 5
