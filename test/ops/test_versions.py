# ===- test_versions.py - Operators over the opsets 7 to 28 ----------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Every operator in each form it had: one case for each version of its schema
that an opset from 7 to the newest selects."""

import numpy as np
import onnx
import pytest
from ssmtest.case import (Case, boolean, f32, i64, ints, over, rand, run_case, scalar)
from ssmtest.model import NEWEST_OPSET, element_type, tensor_proto

OLDEST_OPSET = 7
ANY = (OLDEST_OPSET, NEWEST_OPSET)
X = [rand(f32, 3, 5), rand(f32, 0, 5)]
PAIR = [[rand(f32, 3, 5), rand(f32, 5)], [rand(f32, 1, 1), rand(f32, 1)]]
BOOLS = [[rand(boolean, 3, 5), rand(boolean, 5)]]


def sets(*extra):
    return [[x, *extra] for x in X]


# Operator -> forms: (first opset, last opset, sets, attributes, constant inputs).
FORMS = {
    **{op: [(*ANY, PAIR, {}, ())] for op in ("Add", "Sub", "Mul", "Div", "Max", "Min",
                                             "Greater", "Less")},
    "Equal": [(*ANY, [[rand(i64, 3, 5, low=0, high=3), rand(i64, 5, low=0, high=3)]], {}, ())],
    **{op: [(*ANY, sets(), {}, ())] for op in (
        "Abs", "Neg", "Exp", "Floor", "Ceil", "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign",
        "Elu", "LeakyRelu", "Selu", "HardSigmoid", "Sin", "Cos", "Identity", "Shape", "Size")},
    **{op: [(*ANY, [[rand(f32, 3, 5, low=0.1)]], {}, ())] for op in ("Sqrt", "Log", "Reciprocal")},
    **{op: [(*ANY, BOOLS, {}, ())] for op in ("And", "Or", "Xor")},
    **{op: [(OLDEST_OPSET, 12 if op == "ReduceSum" else 17, [[rand(f32, 3, 5, low=0.2)]],
             {"axes": [-1] if op == "ReduceSum" else [1], "keepdims": 1}, ()),
            (13 if op == "ReduceSum" else 18, NEWEST_OPSET,
             [[rand(f32, 3, 5, low=0.2), ints(-1)]], {"keepdims": 0}, (1,))]
       for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
                  "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")},
    **{op: [(9, NEWEST_OPSET, sets(), {}, ())] for op in ("Erf", "Sign")},
    **{op: [(12, NEWEST_OPSET, PAIR, {}, ())] for op in ("GreaterOrEqual", "LessOrEqual")},
    "Pow": [(*ANY, [[rand(f32, 3, 5, low=0.3), rand(f32, 5)]], {}, ())],
    "Not": [(*ANY, [[rand(boolean, 3, 5)]], {}, ())],
    "Where": [(9, NEWEST_OPSET, [[rand(boolean, 3, 5), rand(f32, 5), rand(f32, 1)]], {}, ())],
    "IsNaN": [(9, NEWEST_OPSET, sets(), {}, ())],
    "Mod": [(10, NEWEST_OPSET, [[rand(i64, 3, 5), rand(i64, 5, low=1)]], {}, ())],
    "Round": [(11, NEWEST_OPSET, sets(), {}, ())],
    "Gelu": [(20, NEWEST_OPSET, sets(), {}, ())],
    "Clip": [(OLDEST_OPSET, 10, sets(), {"min": -1.0, "max": 0.5}, ()),
             (11, NEWEST_OPSET, sets(scalar(-1, f32), scalar(0.5, f32)), {}, ())],
    "Cast": [(*ANY, sets(), {"to": element_type(i64)}, ())],
    "Concat": [(*ANY, [[rand(f32, 3, 5), rand(f32, 3, 2)]], {"axis": 1}, ())],
    "Transpose": [(*ANY, sets(), {"perm": [1, 0]}, ())],
    "Reshape": [(*ANY, sets(ints(-1, 1, 5)), {}, (1,))],
    "Flatten": [(*ANY, sets(), {"axis": 1}, ())],
    "Expand": [(8, NEWEST_OPSET, sets(ints(2, 1, 1)), {}, (1,))],
    "Tile": [(*ANY, sets(ints(2, 1)), {}, (1,))],
    "Squeeze": [(OLDEST_OPSET, 12, [[rand(f32, 3, 1)]], {"axes": [1]}, ()),
                (13, NEWEST_OPSET, [[rand(f32, 3, 1), ints(1)]], {}, (1,))],
    "Unsqueeze": [(OLDEST_OPSET, 12, sets(), {"axes": [0, 2]}, ()),
                  (13, NEWEST_OPSET, sets(ints(0, 2)), {}, (1,))],
    "Slice": [(OLDEST_OPSET, 9, sets(), {"starts": [1], "ends": [-1], "axes": [1]}, ()),
              (10, NEWEST_OPSET, sets(ints(1), ints(-1), ints(1)), {}, (1, 2, 3))],
    "Split": [(OLDEST_OPSET, 12, sets(), {"axis": 1, "split": [2, 3]}, ()),
              (13, NEWEST_OPSET, sets(ints(2, 3)), {"axis": 1}, (1,))],
    "Pad": [(OLDEST_OPSET, 10, sets(), {"pads": [0, 1, 2, 0], "value": 1.5}, ()),
            (11, NEWEST_OPSET, sets(ints(0, 1, 2, 0), scalar(1.5, f32)), {}, (1,))],
    "Gather": [(*ANY, [[rand(f32, 3, 5), rand(i64, 4, low=0, high=3)]], {}, ())],
    "GatherElements": [(11, NEWEST_OPSET, [[rand(f32, 3, 5), rand(i64, 2, 5, low=0, high=3)]], {},
                        ())],
    "GatherND": [(11, NEWEST_OPSET, [[rand(f32, 3, 5), np.array([[1, 2], [0, 4]])]], {}, ())],
    "ScatterElements": [(11, NEWEST_OPSET,
                         [[rand(f32, 3, 5), np.array([[0, 1, 2, 0, 1]]), rand(f32, 1, 5)]], {},
                         ())],
    "ScatterND": [(11, NEWEST_OPSET, [[rand(f32, 3, 5), np.array([[1], [0]]), rand(f32, 2, 5)]],
                   {}, ())],
    "OneHot": [(9, NEWEST_OPSET, [[rand(i64, 4, low=0, high=3), scalar(3), ints(0, 1, dtype=f32)]],
                {}, (1,))],
    "NonZero": [(9, NEWEST_OPSET, [[rand(boolean, 3, 5)]], {}, ())],
    "ConstantOfShape": [(9, NEWEST_OPSET, [[ints(2, 3)]],
                         {"value": tensor_proto("", ints(7))}, ())],
    "Trilu": [(14, NEWEST_OPSET, sets(), {"upper": 0}, ())],
    "Range": [(11, NEWEST_OPSET, [[scalar(1), scalar(8), scalar(3)]], {}, ())],
    "CumSum": [(11, NEWEST_OPSET, sets(scalar(1)), {}, (1,))],
    "Softmax": [(*ANY, sets(), {"axis": 1}, ())], "LogSoftmax": [(*ANY, sets(), {"axis": 1}, ())],
    "ArgMax": [(*ANY, [[rand(f32, 3, 5)]], {"axis": 1}, ())],
    "ArgMin": [(*ANY, [[rand(f32, 3, 5)]], {"axis": 0, "keepdims": 0}, ())],
    "TopK": [(OLDEST_OPSET, 9, [[rand(f32, 3, 5, distinct=True)]], {"k": 2}, ()),
             (10, NEWEST_OPSET, [[rand(f32, 3, 5, distinct=True), ints(2)]], {}, (1,))],
    "MatMul": [(*ANY, [[rand(f32, 3, 5), rand(f32, 5, 4)]], {}, ())],
    "Gemm": [(*ANY, [[rand(f32, 3, 5), rand(f32, 4, 5), rand(f32, 4)]], {"transB": 1}, ())],
    "Einsum": [(12, NEWEST_OPSET, [[rand(f32, 3, 5), rand(f32, 5, 4)]],
                {"equation": "ij,jk->ik"}, ())],
    "Conv": [(*ANY, [[rand(f32, 2, 4, 9), rand(f32, 4, 1, 3), rand(f32, 4)]],
              {"group": 4, "pads": [2, 0]}, ())],
    "BatchNormalization": [(*ANY, [[rand(f32, 2, 3, 5)] + [rand(f32, 3)] * 3 +
                                   [rand(f32, 3, low=0.5)]], {}, ())],
    "InstanceNormalization": [(*ANY, [[rand(f32, 2, 3, 5), rand(f32, 3), rand(f32, 3)]], {}, ())],
    "LayerNormalization": [(17, NEWEST_OPSET, [[rand(f32, 3, 5), rand(f32, 5), rand(f32, 5)]], {},
                            ())],
    "Dropout": [(*ANY, sets(), {}, ())],
}


def version_at(op, opset):
    return onnx.defs.get_schema(op, opset, "").since_version


def cases():
    for op, forms in FORMS.items():
        for first, last, inputs, attributes, constant in forms:
            seen = set()
            for opset in range(first, last + 1):
                version = version_at(op, opset)
                if version in seen and opset != last:
                    continue
                seen.add(version)
                yield Case(op, inputs, attributes, opset, constant=constant,
                           outputs=2 if op in ("TopK", "Split") else 1, variants=("dynamic",),
                           note=f"schema-{version}")


@over(list(cases()))
def test_version(case, variant, reference_only):
    run_case(case, variant, reference_only)


@pytest.mark.parametrize("opset", [6, 29, 0, -1])
def test_unknown_opset(opset, reference_only):
    from ssmtest import compiler, model

    if reference_only:
        pytest.skip("needs the compiler")
    proto, _ = model.single_node("Add", [np.ones(3, f32), np.ones(3, f32)], [f32], opset=opset)
    with pytest.raises(compiler.CompileError, match=f"opset version is {opset}") as failure:
        compiler.compile_model(proto)
    assert failure.value.returncode == 1
