# ===- test_layout.py - Operators that move elements -----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
import numpy as np
import pytest
from ssmtest.case import (Case, boolean, bf16, f16, f32, f64, i8, i32, i64, ints, over, rand,
                          run_case, scalar, u8)
from ssmtest.model import tensor_proto

MIN, MAX = -(2**63), 2**63 - 1


def same_operand(op, shapes, *operands, constant=None, dtypes=(f32,), **options):
    """One case with the operands as initializers, one with them as inputs."""
    rest = [np.asarray(o) if o is not None else None for o in operands]
    positions = tuple(i + 1 for i, o in enumerate(rest) if o is not None)
    note = options.pop("note", "")
    cases = []
    for dtype in dtypes:
        sets = [[rand(dtype, *s), *rest] for s in shapes]
        kinds = (True, False) if constant is None else (constant,)
        for fixed in kinds:
            # The values of operands are not part of a case's name.
            values = ";".join("-" if o is None else str(o.tolist()) for o in rest)
            cases.append(Case(op, sets, constant=positions if fixed else (),
                              note=f"{note}{values}{'' if fixed else '-run-time'}",
                              optional=not fixed and op in ("Squeeze", "Unsqueeze"), **options))
    return cases


RESHAPES = [
    *same_operand("Reshape", [(4, 6), (2, 12), (0, 6)], ints(-1, 3), dtypes=(f32, i64, f16, u8)),
    *same_operand("Reshape", [(4, 6), (7, 6), (1, 6)], ints(0, 2, -1)),
    *same_operand("Reshape", [(4, 6)], ints(2, 3, 4)),
    *same_operand("Reshape", [(1,)], np.zeros(0, np.int64), note="to-scalar"),
    *same_operand("Reshape", [()], ints(1, 1, 1), note="from-scalar"),
    *same_operand("Reshape", [(0, 4), (0, 9)], ints(3, 0), attributes={"allowzero": 1}),
    *same_operand("Reshape", [(3, 5, 2)], ints(0, 0, 2, 1), attributes={"allowzero": 0}),
    *[Case("Flatten", [[rand(f32, *s)] for s in ((2, 3, 4, 5), (1, 1, 0, 5), (3, 1, 1, 7))],
           {"axis": axis}) for axis in (0, 1, 2, 4, -1)],
    *same_operand("Unsqueeze", [(3, 4), (0, 1)], ints(0)),
    *same_operand("Unsqueeze", [(3, 4), (0, 1)], ints(-1, 1), dtypes=(f32, boolean)),
    *same_operand("Unsqueeze", [()], ints(0), dtypes=(i64,)),
    *same_operand("Squeeze", [(1, 4, 1), (1, 0, 1)], ints(0, -1)),
    *same_operand("Squeeze", [(3, 1, 4)], ints(1), dtypes=(i64, bf16)),
    Case("Squeeze", [[rand(f32, 1, 3, 1)]], variants=("static", "constant"), note="all"),
    Case("Unsqueeze", [[rand(f32, 3, 4)]], {"axes": [0, 3]}, opset=11),
    Case("Squeeze", [[rand(f32, 1, 4, 1)]], {"axes": [0]}, opset=11),
    *same_operand("Expand", [(3, 1), (1, 1), (0, 1)], ints(2, 1, 6), dtypes=(f32, boolean, i64)),
    *same_operand("Expand", [(1, 5), (1, 1)], ints(3, 1)),
    *same_operand("Expand", [(1, 5)], ints(0, 5)),
    *same_operand("Expand", [()], ints(2, 3)),
    *same_operand("Tile", [(2, 3), (0, 3), (1, 1)], ints(2, 3), dtypes=(f32, i32)),
    *same_operand("Tile", [(2, 3)], ints(0, 1)),
]
TRANSPOSES = [
    *[Case("Transpose", [[rand(t, 3, 5)], [rand(t, 1, 0)], [rand(t, 33, 17)]])
      for t in (f32, f64, f16, bf16, i8, i64, boolean)],
    *[Case("Transpose", [[rand(f32, *s)] for s in shapes], {"perm": perm}) for perm, shapes in (
        ([1, 0], [(3, 5), (0, 7)]), ([0, 2, 1], [(2, 3, 5), (1, 1, 9)]),
        ([0, 2, 1, 3], [(2, 3, 5, 7), (1, 9, 1, 4)]), ([0, 1, 3, 2], [(2, 3, 5, 7)]),
        ([3, 1, 2, 0], [(2, 3, 5, 7), (1, 0, 1, 4)]), ([0, 2, 3, 1], [(2, 3, 5, 7)]),
        ([4, 2, 0, 1, 3], [(2, 3, 5, 1, 7)]), ([0, 5, 1, 4, 2, 3], [(2, 3, 1, 2, 3, 2)]),
        ([0], [(5,), (0,)]))],
]
CONCATS = [
    *[Case("Concat", [[rand(t, 2, 3, 4), rand(t, 2, 3, 4)], [rand(t, 1, 3, 5), rand(t, 1, 3, 5)]],
           {"axis": axis}) for t in (f32, i64, boolean, f16) for axis in (0, -1)],
    Case("Concat", [[rand(f32, 2, 3), rand(f32, 2, 0), rand(f32, 2, 5)],
                    [rand(f32, 1, 0), rand(f32, 1, 1), rand(f32, 1, 0)]], {"axis": 1}),
    Case("Concat", [[rand(f32, 2, 3, 4), rand(f32, 2, 5, 4)]], {"axis": -2}),
    Case("Concat", [[rand(f32, 4)]], {"axis": 0}, note="one"),
    Case("Concat", [[rand(i64, 1) for _ in range(7)]], {"axis": 0}, note="seven"),
    *[Case("Split", [[rand(f32, 2, 6, 4)], [rand(f32, 1, 6, 8)]], {"axis": axis, "num_outputs": 2},
           outputs=2) for axis in (1, -1, 2)],
    Case("Split", [[rand(f32, 7, 3)], [rand(f32, 5, 0)]], {"num_outputs": 3}, outputs=3),
    *same_operand("Split", [(7, 3), (7, 0)], ints(2, 0, 5), outputs=3),
    *same_operand("Split", [(2, 9)], ints(4, 5), outputs=2, attributes={"axis": -1},
                  dtypes=(f32, i64)),
    Case("Split", [[rand(f32, 2, 9)]], {"axis": 1, "split": [4, 5]}, opset=11, outputs=2),
    Case("Split", [[rand(f32, 2, 8)]], {"axis": 1}, opset=13, outputs=2, note="equal"),
]
SLICES = [
    *same_operand("Slice", [(10, 5), (3, 5), (0, 5)], ints(1), ints(7), ints(0), ints(2)),
    *same_operand("Slice", [(10, 5), (1, 1)], ints(0, 1), ints(3, MAX), ints(0, 1)),
    *same_operand("Slice", [(10, 5), (3, 2)], ints(-3), ints(-1), ints(1)),
    *same_operand("Slice", [(10, 5), (1, 5), (0, 5)], ints(-1), ints(MIN), ints(0), ints(-1),
                  note="flip"),
    *same_operand("Slice", [(10, 5), (1, 5), (0, 5)], ints(-1, 1), ints(-2**31, 2**31 - 1),
                  ints(0, 1), ints(-1, 2), note="ends-of-32-bits"),
    *same_operand("Slice", [(10, 5)], ints(20), ints(MIN), ints(0), ints(-3)),
    *same_operand("Slice", [(10, 5), (2, 2)], ints(4), ints(2), ints(0), note="empty"),
    *same_operand("Slice", [(4, 5)], ints(1, 2), ints(3, 4), note="no-axes"),
    *same_operand("Slice", [(4, 5, 6)], ints(1, 0), ints(100, -2), ints(-1, 0), ints(2, 1),
                  dtypes=(i64, boolean, f16)),
    *same_operand("Slice", [(9, 5)], ints(1, dtype=i32), ints(7, dtype=i32), ints(0, dtype=i32)),
    *same_operand("Slice", [(9, 5)], ints(1), ints(7), None, ints(1), note="axes-left-out"),
    Case("Slice", [[rand(f32, 9, 5)]], {"starts": [1], "ends": [-1], "axes": [0]}, opset=9),
]
PADS = [
    *same_operand("Pad", [(3, 4), (0, 4), (1, 1)], ints(1, 0, 2, 3), scalar(1.5, f32)),
    *same_operand("Pad", [(3, 4), (5, 9)], ints(-1, 0, 0, -2), note="crop"),
    *same_operand("Pad", [(3, 4)], ints(2, -1, -1, 1)),
    *same_operand("Pad", [(3, 4)], ints(1, 1), None, ints(-1), opset=18),
    *same_operand("Pad", [(3, 4)], ints(1, 0, 2, 3), scalar(7), dtypes=(i64,)),
    *same_operand("Pad", [(3, 4)], ints(0, 0, 0, 0)),
    *same_operand("Pad", [(5, 4), (4, 7)], ints(1, 2, 3, 0), attributes={"mode": "reflect"}),
    *same_operand("Pad", [(5, 4), (1, 1)], ints(1, 2, 3, 0), attributes={"mode": "edge"}),
    Case("Pad", [[rand(f32, 3, 4)]], {"pads": [0, 1, 2, 0], "value": 2.5}, opset=10),
]


def trilu(arrays, attributes):
    k = int(arrays[1]) if len(arrays) > 1 else 0
    return [np.triu(arrays[0], k) if attributes.get("upper", 1) else np.tril(arrays[0], k)]


TRILUS = [
    *[Case("Trilu", [[rand(t, 2, 5, 7)], [rand(t, 1, 3, 0)], [rand(t, 3, 1, 1)]], {"upper": upper},
           reference=trilu) for upper in (0, 1) for t in (f32, i64, boolean, bf16)],
    *[c for k in (-2, 1, 9) for upper in (0, 1)
      for c in same_operand("Trilu", [(5, 7), (1, 3)], scalar(k), attributes={"upper": upper},
                            reference=trilu)],
]
SHAPES = [
    *[Case("Shape", [[rand(f32, 3, 0, 5)], [rand(f32, 1, 4, 1)]], attributes)
      for attributes in ({}, {"start": 0, "end": 1}, {"start": 1, "end": 2}, {"start": -1},
                         {"start": 0, "end": -1}, {"end": 9}, {"start": 2, "end": 1})],
    Case("Shape", [[rand(boolean)]], note="scalar"),
    Case("Size", [[rand(f32, 3, 5)], [rand(f32, 0, 5)]]), Case("Size", [[rand(f32)]]),
    *[Case("ConstantOfShape", [[ints(3, 4)], [ints(0, 4)], [ints(1, 1)]],
           {"value": tensor_proto("", np.array([v], t))}, note=np.dtype(t).name,
           variants=("dynamic", "constant"), outputs=(t,),
           reference=lambda a, _, v=v, t=t: [np.full(a[0], v, np.float64 if t is bf16 else t)])
      for v, t in ((1, i64), (-np.inf, f32), (True, boolean), (2.5, f16), (1.5, bf16), (7, u8))],
    Case("ConstantOfShape", [[ints(3, 4)]], note="no-value", variants=("dynamic", "constant")),
    Case("ConstantOfShape", [[np.zeros(0, np.int64)]], note="scalar", variants=("constant",)),
    *[Case("Range", [[scalar(a, t), scalar(b, t), scalar(c, t)] for a, b, c in limits],
           note="several") for t, limits in (
        (i64, [(2, 13, 3), (0, 0, 1), (5, -7, -2), (3, 4, 9), (0, 7, -1)]),
        (i32, [(0, 5, 1), (9, 1, -3)]), (f32, [(0.5, 4, 0.75), (1, 0, 1)]), (f64, [(0, 1, 0.1)]))],
    *[Case("Identity", [[rand(t, 3, 0)], [rand(t, 1, 1)]]) for t in (f32, boolean, i64)],
    *[Case("EyeLike", [[rand(f32, 3, 5)], [rand(f32, 0, 1)]], {"k": k}) for k in (0, 1, -2)],
    *[Case("DepthToSpace", [[rand(f32, 2, 8, 3, 5)]], {"blocksize": 2, "mode": m})
      for m in ("DCR", "CRD")],
    Case("SpaceToDepth", [[rand(f32, 2, 3, 4, 6)]], {"blocksize": 2}),
]


@over(RESHAPES)
def test_reshape(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(TRANSPOSES)
def test_transpose(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(CONCATS)
def test_concat_and_split(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(SLICES)
def test_slice(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(PADS)
def test_pad(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(TRILUS)
def test_trilu(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(SHAPES)
def test_shape(case, variant, reference_only):
    run_case(case, variant, reference_only)


CONSTANTS = [("value", np.arange(6, dtype=f32).reshape(2, 3)), ("value", np.array(3)),
             ("value", np.zeros((0, 2), f16)), ("value", np.array([True, False])),
             ("value", np.arange(3, dtype=f32).astype(bf16)), ("value_int", 7),
             ("value_ints", [-1, 5]), ("value_float", 2.5), ("value_floats", [0.5, -1.0])]


@pytest.mark.parametrize("key,value", CONSTANTS, ids=lambda v: str(v).replace("\n", ""))
def test_constant(key, value, reference_only):
    from ssmtest import compiler, model, runtime

    array = value if key == "value" else np.array(
        value, f32 if "float" in key else i64)
    given = tensor_proto("c", array) if key == "value" else value
    proto, _ = model.single_node("Constant", [], [array.dtype], {key: given}, opset=13)
    if reference_only:
        return
    result = runtime.Module(compiler.compile_model(proto)).session().run({})["out0"]
    assert result.dtype == array.dtype and result.shape == array.shape
    np.testing.assert_array_equal(result, array)
