# ===- scales.py - A model that scales twice -------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""y = (x * 2) * 3, for any number of rows.

usage: scales.py OUT.onnx
"""

import sys

from onnx import TensorProto, helper, save


def factor(name, value):
    """A constant, not a weight: a number that passes can see."""
    tensor = helper.make_tensor(name, TensorProto.FLOAT, [], [value])
    return helper.make_node("Constant", [], [name], value=tensor)


nodes = [factor("two", 2.0), helper.make_node("Mul", ["x", "two"], ["twice"], name="double"),
         factor("three", 3.0), helper.make_node("Mul", ["twice", "three"], ["y"], name="triple")]
graph = helper.make_graph(nodes, "scales",
                          [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
                          [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9),
     sys.argv[1])
