# ===- model.py - One-operator models in their variants --------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Builds models of one node:

  dynamic   every dimension of every input symbolic, each under a name of its own
  static    the dimensions of the inputs given
  constant  inputs as initializers: the module has none left
"""

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper

VARIANTS = ("dynamic", "static", "constant")
NEWEST_OPSET = 28
# IR versions that brought what a model of some opset may need.
IR_VERSION = 11

ELEMENT_TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float64): TensorProto.DOUBLE,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(ml_dtypes.bfloat16): TensorProto.BFLOAT16,
    np.dtype(np.int8): TensorProto.INT8, np.dtype(np.int16): TensorProto.INT16,
    np.dtype(np.int32): TensorProto.INT32, np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.uint16): TensorProto.UINT16,
    np.dtype(np.uint32): TensorProto.UINT32, np.dtype(np.uint64): TensorProto.UINT64,
    np.dtype(np.bool_): TensorProto.BOOL,
    np.dtype(ml_dtypes.float8_e4m3fn): TensorProto.FLOAT8E4M3FN,
    np.dtype(ml_dtypes.float8_e5m2): TensorProto.FLOAT8E5M2,
}


# Inputs whose length is the rank of a result, or the number of its outputs. No
# variant makes it symbolic: ranks are known when a model is compiled.
RANK_OPERANDS = {
    "ConstantOfShape": (0,), "Reshape": (1,), "Expand": (1,), "Tile": (1,), "Unsqueeze": (1,),
    "Squeeze": (1,), "Pad": (1, 3), "Slice": (1, 2, 3, 4), "Split": (1,), "TopK": (1,),
    "Resize": (1, 2, 3), "CenterCropPad": (1,), "AffineGrid": (1,), "Col2Im": (1, 2),
}
# Inputs of which that holds for the last axis; in LinearAttention it tells a
# decay for every key from one for every head.
RANK_AXES = {"GatherND": (1,), "ScatterND": (1,), "LinearAttention": (0, 1, 2, 4, 5)}


def fixed_axes(op, index, rank):
    """The axes of input `index` that stay as they are in every variant."""
    if index in RANK_OPERANDS.get(op, (1,) if op.startswith("Reduce") else ()):
        return range(rank)
    return range(rank - 1, rank) if index in RANK_AXES.get(op, ()) else ()


def element_type(dtype):
    return ELEMENT_TYPES[np.dtype(dtype)]


def tensor_proto(name, array):
    """A TensorProto with raw data, also of bfloat16."""
    array = np.asarray(array)
    proto = TensorProto(name=name, data_type=element_type(array.dtype), dims=array.shape)
    proto.raw_data = np.ascontiguousarray(array).tobytes()
    return proto


def input_name(index):
    return f"in{index}"


def output_name(index):
    return f"out{index}"


def make_model(nodes, inputs, outputs, initializers=(), opset=NEWEST_OPSET, domains=(), name="g"):
    """inputs: (name, dtype, dims); outputs: (name, dtype) or (name, dtype, dims);
    initializers: (name, array); domains: (domain, version) beside the default."""
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info(n, element_type(t), dims) for n, t, dims in inputs],
        [helper.make_tensor_value_info(o[0], element_type(o[1]), o[2] if len(o) > 2 else None)
         for o in outputs],
        [tensor_proto(n, a) for n, a in initializers])
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(*d) for d in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION,
                             producer_name="ssmtest")


def single_node(op, inputs, output_types, attributes=None, opset=NEWEST_OPSET, domain="",
                variant="static", constant=()):
    """inputs: arrays, or None for one left out; `constant`: positions that are
    initializers whatever the variant; output_types: dtypes, None for one left
    out. -> (model, names of the inputs that remain by position)."""
    remain, values, weights, names = {}, [], [], []
    for index, array in enumerate(inputs):
        if array is None:
            names.append("")
            continue
        name = input_name(index)
        names.append(name)
        if variant == "constant" or index in constant:
            weights.append((name, array))
            continue
        remain[index] = name
        fixed = range(array.ndim) if variant == "static" else fixed_axes(op, index, array.ndim)
        dims = [size if axis in fixed else f"{name}_{axis}"
                for axis, size in enumerate(array.shape)]
        values.append((name, array.dtype, dims))
    while names and not names[-1]:
        names.pop()
    outputs = [(output_name(i), t) for i, t in enumerate(output_types) if t is not None]
    node = helper.make_node(
        op, names, [output_name(i) if t is not None else "" for i, t in enumerate(output_types)],
        name=f"the_{op}", domain=domain, **(attributes or {}))
    domains = [(domain, 1)] if domain else []
    return make_model([node], values, outputs, weights, opset, domains), remain


def with_symbolic_inputs(model):
    """A copy of any model with every input dimension symbolic under a name of
    its own, and nothing said of the shapes of other values. What tells a rank
    keeps its length."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        dims = value.type.tensor_type.shape.dim
        kept = {axis for node in copy.graph.node for index, name in enumerate(node.input)
                if name == value.name for axis in fixed_axes(node.op_type, index, len(dims))}
        for axis, dim in enumerate(dims):
            if axis not in kept:
                dim.Clear()
                dim.dim_param = f"{value.name}_{axis}"
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    return copy


def with_sizes(model, sizes):
    """A copy of any model with fixed sizes for some of its names; those within other
    graphs and between nodes too."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)

    def fix(graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param in sizes:
                    dim.dim_value = sizes[dim.dim_param]
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    fix(attribute.g)
    fix(copy.graph)
    return copy
