# ===- test_contrib_sequence.py - com.microsoft operators of sequences -----===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What ONNX Runtime adds to the standard, against its own kernels, with sizes that are
fixed and with each of them unknown."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper
from ssmtest import compare, compiler, reference, runtime
from ssmtest.case import f32, generator


def linear_attention(rule, queries, states, keys, by_key=False, past=True, **attributes):
    """keys: heads of the key; by_key: a decay for each key dimension."""
    k, v = 3, 2
    gated, delta = rule.startswith("gated"), rule.endswith("delta")
    shapes = [(2, 5, queries * k), (2, 5, keys * k), (2, 5, states * v),
              (2, states, k, v) if past else None,
              (2, 5, states * (k if by_key else 1)) if gated else None,
              (2, 5, states) if delta else None]
    return ("LinearAttention", shapes, dict(attributes, q_num_heads=queries,
                                            kv_num_heads=states, update_rule=rule), (0, 1))


CASES = {
    **{f"linear_attention/{rule}/{heads}": linear_attention(rule, *heads)
       for rule in ("linear", "gated", "delta", "gated_delta")
       for heads in ((2, 2, 2), (4, 2, 2), (2, 4, 4), (4, 1, 1))},
    # Keys with fewer heads than the state: told by their size alone.
    **{f"linear_attention/fixed/{heads}": linear_attention("gated_delta", *heads)
       for heads in ((2, 4, 2), (4, 2, 1), (2, 6, 3))},
    "linear_attention/by_key": linear_attention("gated", 4, 2, 2, by_key=True, past=False,
                                                scale=0.7),
    **{f"causal_conv/dilation{d}": (
        "CausalConvWithState", [(2, 4, 6), (4, 1, 3), (4,), (2, 4, 2 * d)],
        {"activation": "silu", "dilation": d}, (0, 1)) for d in (1, 3)},
    "causal_conv/short": ("CausalConvWithState", [(2, 4, 1), (4, 1, 4), None, (2, 4, 3)], {},
                          (0, 1)),
    "causal_conv/channels_last": (
        "CausalConvWithState", [(2, 6, 4), (4, 1, 3), (4,), (2, 2, 4)],
        {"activation": "silu", "channels_last": 1}, (0, 1)),
    "skip_norm/all": ("SkipLayerNormalization", [(2, 3, 8), (2, 3, 8), (8,), (8,), (8,)],
                      {"epsilon": 1e-5}, (0, 3)),
    "skip_norm/broadcast": ("SkipLayerNormalization", [(2, 3, 8), (3, 8), (8,)],
                            {"epsilon": 1e-5}, (0, 3)),
    "skip_simplified_norm": ("SkipSimplifiedLayerNormalization",
                             [(2, 3, 8), (2, 3, 8), (8,), (8,)], {"epsilon": 1e-5}, (0, 3)),
    "rotary/fixed/packed": ("RotaryEmbedding", [(2, 5, 24), np.array([[0, 1, 2, 3, 4],
                                                                      [3, 4, 5, 6, 7]]),
                                                (10, 4), (10, 4)], {}, (0,)),
    "rotary/offset": ("RotaryEmbedding", [(2, 3, 5, 8), np.array([2]), (10, 4), (10, 4)],
                      {"interleaved": 1}, (0,)),
    "rotary/partial": ("RotaryEmbedding", [(2, 5, 24), np.array([2]), (10, 2), (10, 2)],
                       {"num_heads": 3, "rotary_embedding_dim": 4}, (0,)),
}


def prepared(name, dynamic):
    op, shapes, attributes, wanted = CASES[name]
    rng = generator(name)
    inputs, names, values = {}, [], []
    for i, shape in enumerate(shapes):
        if shape is None:
            names.append("")
            continue
        if isinstance(shape, np.ndarray):
            array = shape
        elif op == "LinearAttention" and i in (4, 5):
            # Decays below 0, betas in [0, 1): other ones let the state explode.
            array = rng.uniform(-1, 0, shape).astype(f32) + f32(i == 5)
        else:
            array = rng.uniform(-1, 1, shape).astype(f32)
        names.append(f"in{i}")
        inputs[names[-1]] = array
        dims = [f"in{i}_{axis}" for axis in range(array.ndim)] if dynamic else array.shape
        values.append(helper.make_tensor_value_info(
            names[-1], T.INT64 if array.dtype == np.int64 else T.FLOAT, dims))
    outputs = [f"out{i}" if i in wanted else "" for i in range(max(wanted) + 1)]
    graph = helper.make_graph(
        [helper.make_node(op, names, outputs, domain="com.microsoft", **attributes)], "g", values,
        [helper.make_tensor_value_info(o, T.FLOAT, None) for o in outputs if o])
    proto = helper.make_model(graph, ir_version=10, opset_imports=[
        helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)])
    return proto, inputs


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("name", CASES)
def test_contrib(name, dynamic, reference_only):
    if dynamic and "/fixed/" in name:
        pytest.skip("the form is told by sizes")
    proto, inputs = prepared(name, dynamic)
    wanted = reference.run_model(proto, inputs)
    if reference_only:
        return
    results = runtime.Module(compiler.compile_model(proto)).session().run(inputs)
    for key, want in wanted.items():
        compare.check_close(key, results[key], want, want.dtype)


def test_positions_are_checked(reference_only):
    if reference_only:
        pytest.skip("needs the compiler")
    proto, inputs = prepared("rotary/offset", True)
    session = runtime.Module(compiler.compile_model(proto)).session()
    # Positions 8 to 12: a GPU names any of the wrong ones.
    with pytest.raises(runtime.RuntimeFailure, match="position 1[012] is out of range for size 10"):
        session.run(dict(inputs, in1=np.array([8])))
    session.run(inputs)


@pytest.mark.parametrize("attribute,value,message", [
    ("update_rule", "exotic", "attribute 'update_rule' is 'exotic'"),
    ("kv_num_heads", 3, "attribute 'q_num_heads' is 4"),
    ("state_window", 2, "windows of states are not supported")])
def test_refused(attribute, value, message, reference_only):
    if reference_only:
        pytest.skip("needs the compiler")
    proto, _ = prepared("linear_attention/gated_delta/(4, 2, 2)", True)
    node = proto.graph.node[0]
    kept = [a for a in node.attribute if a.name != attribute]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(attribute, value)])
    with pytest.raises(compiler.CompileError, match=message):
        compiler.compile_model(proto)
