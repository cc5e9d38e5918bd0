# ===- exact.py - Whole graphs in other types, and in double precision -----===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A graph of f32 in another type of floats, rounded to it node by node, and evaluated in
float64 by ONNX's own evaluator in Python."""

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from . import compare

# Whose results are no floats.
LOGICAL = {"Less", "GreaterOrEqual"}


def graphs_of(graph):
    """The graph and those inside of its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from graphs_of(attribute.g)


def tensors_of(graph):
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t


def retype(proto, dtype):
    """The same graph with all floats of another type; weights are rounded to it."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    floats = {helper.np_dtype_to_tensor_dtype(known) for known in compare.BOUNDS}
    made = ModelProto()
    made.CopyFrom(proto)
    for graph in graphs_of(made.graph):
        for tensor in tensors_of(graph):
            if tensor.data_type in floats:
                array = numpy_helper.to_array(tensor).astype(np.float64).astype(dtype)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        for value in [*graph.input, *graph.output, *graph.value_info]:
            if value.type.tensor_type.elem_type in floats:
                value.type.tensor_type.elem_type = kind
    return made


def round_results(proto, dtype):
    """A graph of f32 whose nodes each round what they compute to a narrower type."""
    made = ModelProto()
    made.CopyFrom(proto)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    for graph in graphs_of(made.graph):
        nodes = []
        for node in graph.node:
            nodes.append(node)
            if node.op_type in LOGICAL:
                continue
            for i, name in enumerate(node.output):
                node.output[i] = f"{name} exact"
                nodes.append(helper.make_node("Cast", [f"{name} exact"], [f"{name} narrow"],
                                              to=kind))
                nodes.append(helper.make_node("Cast", [f"{name} narrow"], [name],
                                              to=TensorProto.FLOAT))
        copies = [type(node)() for node in nodes]
        for copy, node in zip(copies, nodes):
            copy.CopyFrom(node)
        del graph.node[:]
        graph.node.extend(copies)
    return made


class Scan(OpRun):
    """ONNX's evaluator knows neither axes nor directions."""

    op_domain = ""

    def need_context(self):
        return True

    def _run(self, *values, context=None, body=None, num_scan_inputs=None, scan_input_axes=None,
             scan_input_directions=None, scan_output_axes=None, scan_output_directions=None,
             attributes=None, bindings=None):
        count = len(values) - num_scan_inputs
        carries, sequences = list(values[:count]), []
        for i, value in enumerate(values[count:]):
            value = np.moveaxis(value, (scan_input_axes or [0] * num_scan_inputs)[i], 0)
            backward = (scan_input_directions or [0] * num_scan_inputs)[i]
            sequences.append(value[::-1] if backward else value)
        results = []
        for step in zip(*sequences):
            given = dict(context or {})
            given.update(zip(self.body.input_names, [*carries, *step]))
            made = self._run_body(given)
            carries = made[:count]
            results.append(made[count:])
        outs = []
        for i in range(len(self.body.output_names) - count):
            parts = [made[i] for made in results]
            if scan_output_directions and scan_output_directions[i]:
                parts.reverse()
            outs.append(np.stack(parts, (scan_output_axes or [0] * (i + 1))[i]))
        return (*carries, *outs)


class GatherElements(OpRun):
    """ONNX's evaluator takes axes of 64 elements at most."""

    op_domain = ""

    def _run(self, data, indices, axis=None):
        return (np.take_along_axis(data, indices, axis or 0),)


def run_model(proto, inputs):
    """ModelProto, {name: array} -> {name: array}, computed in float64."""
    evaluator = ReferenceEvaluator(retype(proto, np.float64), new_ops=[Scan, GatherElements])
    wide = {name: value.astype(np.float64) if compare.is_float(value.dtype) else value
            for name, value in inputs.items()}
    return dict(zip(evaluator.output_names, evaluator.run(None, wide)))
