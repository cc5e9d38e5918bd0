# ===- builder.py - Writes ONNX graphs with little ado ---------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A graph under construction: nodes are added by calling `add`, constants and
weights by value; `graph` and `model` give the protos."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
OPSET = 20


class Builder:
    """Names made here begin with `prefix`, so nested graphs do not shadow."""

    def __init__(self, prefix=""):
        self.prefix = prefix
        self.nodes, self.inputs, self.outputs, self.weights = [], [], [], []
        self.count = 0

    def name(self, hint):
        self.count += 1
        return f"{self.prefix}{hint}_{self.count}"

    def input(self, name, dims, dtype=FLOAT):
        """Declares an input; dims None: of unknown rank. Returns its name."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def output(self, value, dims=None, dtype=FLOAT, name=None):
        """Declares `value` an output, under `name` if another is wanted."""
        if name is not None:
            value = self.add("Identity", value, out=name)
        self.outputs.append(helper.make_tensor_value_info(value, dtype, dims))

    def weight(self, array, hint="w"):
        name = self.name(hint)
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ints(self, *values):
        """A 1-D int64 initializer."""
        return self.weight(np.array(values, np.int64), "ints")

    def constant(self, array):
        """The same as a Constant node."""
        return self.add("Constant", value=numpy_helper.from_array(np.asarray(array), ""))

    def add(self, op, *inputs, out=None, count=1, domain="", **attributes):
        """Adds a node; returns the name of its output, or a list of `count`."""
        outs = [out] if isinstance(out, str) else out
        outs = outs or [self.name(op) for _ in range(count)]
        self.nodes.append(helper.make_node(op, list(inputs), outs,
                                           name=self.name(f"node_{op}"), domain=domain,
                                           **attributes))
        return outs[0] if len(outs) == 1 else outs

    def graph(self, name="graph"):
        return helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.weights)

    def model(self, opset=OPSET):
        proto = helper.make_model(self.graph("main"), producer_name="ssm-mlir tests",
                                  opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
        onnx.checker.check_model(proto)
        return proto
