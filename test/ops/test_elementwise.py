# ===- test_elementwise.py - Arithmetic, logic, activations, Cast ----------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
import numpy as np
import pytest
from ssmtest.case import (Case, FLOATS, INTEGERS, bf16, boolean, f16, f32, f64, i8, i16, i32,
                          i64, ints, over, rand, run_case, scalar, u8, u32, u64)
from ssmtest.model import element_type

SHAPES = [(3, 5), (1, 1), (0, 5), (7, 0), (33, 17)]
# Pairs that broadcast each other in every way, at sizes 0, 1 and odd ones.
PAIRS = [((3, 1, 5), (4, 1)), ((1, 1, 1), (1, 1)), ((2, 7, 3), (7, 3)), ((1, 4, 0), (1, 1)),
         ((0, 1, 5), (3, 1)), ((5, 3, 1), (1, 9))]


def unary(op, dtypes=FLOATS, low=None, high=None, **options):
    return [Case(op, [[rand(t, *s, low=low, high=high)] for s in SHAPES], **options)
            for t in dtypes]


def binary(op, dtypes, low=None, high=None, **options):
    return [Case(op, [[rand(t, *a, low=low, high=high), rand(t, *b, low=low, high=high)]
                      for a, b in PAIRS], **options) for t in dtypes]


def away_from_zero(arrays):
    """Replaces zeros of the last input: division by zero is left to the machine
    for integers."""
    last = arrays[-1].copy()
    last[last == 0] = 3
    return [*arrays[:-1], last]


NUMBERS = FLOATS + INTEGERS
SIGNED = FLOATS + (i8, i16, i32, i64)

ARITHMETIC = [
    *binary("Add", NUMBERS), *binary("Sub", NUMBERS), *binary("Mul", NUMBERS),
    *binary("Div", FLOATS, low=0.5, high=3), *binary("Div", INTEGERS, prepare=away_from_zero),
    *binary("Add", (f32,), opset=7), *binary("Mul", (f32, i64), opset=13),
    *binary("Mod", INTEGERS, prepare=away_from_zero),
    *binary("Mod", (f32, f16, bf16, i64), attributes={"fmod": 1}, prepare=away_from_zero),
    *binary("Pow", (f32, f64, f16, bf16), low=0.3, high=2.5),
    Case("Pow", [[rand(f32, 5, 3), scalar(2.0, f32)], [rand(f32, 0, 3), scalar(2.0, f32)]],
         note="square", constant=(1,)),
    Case("Pow", [[rand(f32, 5, 3), scalar(3, i64)]], note="mixed"),
    Case("Pow", [[rand(i64, 5, 3, low=-4, high=5), rand(i64, 3, low=0, high=5)]], note="ints"),
    Case("Pow", [[rand(f32, 9), ints(0, 1, -1, 2, -2, 3, 7, 10, -3, dtype=f32)]],
         note="negative-base", prepare=lambda a: [np.round(a[0]) + np.float32(0.5), a[1]]),
    *unary("Neg", SIGNED), *unary("Abs", NUMBERS), *unary("Sign", NUMBERS),
]
MATH = [
    *unary("Sqrt", low=0, high=9), *unary("Reciprocal", low=0.2, high=4), *unary("Exp", low=-6),
    *unary("Log", low=0.01, high=30), *unary("Sin", low=-30, high=30),
    *unary("Cos", low=-30, high=30), *unary("Tanh", low=-6, high=6), *unary("Erf"),
    *unary("Sigmoid", low=-9, high=9), *unary("Softplus", low=-6, high=30),
    *unary("Relu"), *unary("Floor", low=-9, high=9), *unary("Ceil", low=-9, high=9),
    *unary("Round", low=-9, high=9),
    *unary("Gelu", opset=20),
    # ONNX Runtime has the constants in single precision, also for doubles.
    *unary("Gelu", opset=20, attributes={"approximate": "tanh"}, reference=lambda a, _: [
        0.5 * a[0] * (1 + np.tanh(np.sqrt(2 / np.pi) * (a[0] + 0.044715 * a[0]**3)))]),
    *unary("LeakyRelu"), *unary("LeakyRelu", (f32,), attributes={"alpha": 0.3}),
    *unary("Elu", (f32,)), *unary("Elu", (f32,), attributes={"alpha": 0.7}),
    *unary("HardSigmoid", (f32,), low=-5, high=5), *unary("HardSwish", (f32,), low=-5, high=5),
    *unary("Softsign", (f32,)), *unary("Selu", (f32,)), *unary("Mish", (f32,)),
    *unary("Identity", NUMBERS + (boolean,)), *unary("Relu", (i32,), opset=14),
    Case("Exp", [[ints(-np.inf, 0, 88, -104, 89, np.inf, np.nan, dtype=f32)]], note="edges"),
    Case("Sigmoid", [[ints(-np.inf, -100, 0, 100, np.inf, np.nan, dtype=f32)]], note="edges"),
    Case("Softplus", [[ints(-np.inf, -100, 0, 100, 1e4, dtype=f32)]], note="edges",
         reference=lambda a, _: [np.logaddexp(0, a[0])]),
    Case("Sin", [[rand(f32, 65, low=-60000, high=60000)]], note="large"),
    Case("Cos", [[rand(f32, 65, low=-60000, high=60000)]], note="large"),
]
LOGIC = [
    *binary("Equal", NUMBERS + (boolean,), low=0, high=3, opset=19),
    *binary("Greater", NUMBERS, low=0, high=3), *binary("Less", NUMBERS, low=0, high=3),
    *binary("LessOrEqual", (f32, f16, i64, i32, u8, u64), low=0, high=3),
    *binary("GreaterOrEqual", (f32, bf16, i64, i8, u32), low=0, high=3),
    *binary("And", (boolean,)), *binary("Or", (boolean,)), *binary("Xor", (boolean,)),
    *unary("Not", (boolean,)),
    *[Case("IsNaN", [[ints(1, np.nan, -np.inf, 0, np.inf, dtype=t)]], note="edges")
      for t in FLOATS],
    Case("Less", [[ints(np.nan, 1, -np.inf, dtype=f32), ints(1, np.nan, np.inf, dtype=f32)]],
         note="nan"),
    *[Case("Where", [[rand(boolean, *c), rand(t, *x), rand(t, *y)] for c, x, y in (
        ((3, 1, 5), (4, 1), (1,)), ((1, 1, 1), (1, 1), (1,)), ((2, 4, 1), (4, 3), (3,)),
        ((1, 4, 0), (1, 1), (1,)), ((0, 1, 1), (4, 3), (3,)))], opset=16)
      for t in (f32, f64, f16, bf16, i64, i32, u8, boolean)],
    Case("Where", [[rand(boolean, 4, 3), rand(f32, 4, 3), scalar(-np.inf, f32)]], note="inf",
         constant=(2,)),
]
MINMAX = [
    *binary("Max", NUMBERS), *binary("Min", NUMBERS),
    Case("Max", [[rand(f32, 3, 5)], [rand(f32, 0, 1)]], note="one"),
    Case("Max", [[rand(f32, 3, 1), rand(f32, 5), rand(f32, 1, 5), scalar(0.3, f32)]], note="four"),
    Case("Min", [[rand(i64, 3, 1), rand(i64, 5), scalar(2)]], note="three"),
    Case("Max", [[ints(np.nan, 1, -np.inf, dtype=f32), ints(1, np.nan, 3, dtype=f32)]],
         note="nan"),
    *[Case("Clip", [[rand(t, 5, 3), scalar(1, t), scalar(7, t)],
                    [rand(t, 0, 3), scalar(1, t), scalar(7, t)]])
      for t in (f32, f64, f16, i32, i64, i8, u8, u64)],
    Case("Clip", [[rand(bf16, 5, 3), scalar(-1, bf16), scalar(1, bf16)]],
         reference=lambda a, _: [np.clip(a[0], a[1], a[2])]),
    Case("Clip", [[rand(f32, 5, 3), None, scalar(0.5, f32)]], note="no-min"),
    Case("Clip", [[rand(f32, 5, 3), scalar(0.5, f32)]], note="no-max"),
    Case("Clip", [[rand(f32, 5, 3)]], note="neither"),
    Case("Clip", [[rand(f32, 5, 3), scalar(1, f32), scalar(-1, f32)]], note="crossed"),
    Case("Clip", [[rand(f32, 5, 3)]], opset=7, attributes={"min": -0.5, "max": 0.25}),
]


def cast_reference(arrays, attributes, source, target):
    """Rounds to nearest even between floats; to integers towards zero."""
    value = arrays[0]
    if np.dtype(target) == np.bool_:
        return [value != 0]
    if np.dtype(target).kind in "iu" and np.dtype(source).kind not in "iub":
        value = np.trunc(value)
    return [value.astype(target)]


def casts():
    for source in NUMBERS + (boolean,):
        for target in NUMBERS + (boolean,):
            # Values that every type but bool can hold, with fractions in floats.
            low, high = (0, 100) if np.dtype(target).kind in "uV" else (-90, 90)
            low = max(low, 0) if np.dtype(source).kind == "u" else low
            yield Case("Cast", [[rand(source, *s, low=low, high=high)]
                                for s in ((7, 3), (0, 3), (1, 1))],
                       {"to": element_type(target)}, outputs=(target,),
                       reference=lambda a, at, s=source, t=target: cast_reference(a, at, s, t),
                       variants=("dynamic", "constant"))


CASTS = [
    *casts(),
    # Integers wrap around.
    Case("Cast", [[ints(-1, 300, 2**31 + 5, -(2**40) - 3)]], {"to": element_type(i32)},
         outputs=(i32,), reference=lambda a, _: [a[0].astype(i32)], note="wrap"),
    Case("Cast", [[ints(-1, 300, 255, 256)]], {"to": element_type(u8)}, outputs=(u8,),
         reference=lambda a, _: [a[0].astype(u8)], note="wrap"),
    Case("Cast", [[ints(65519, 65520, 1e-8, 6e-8, -70000, np.inf, np.nan, dtype=f32)]],
         {"to": element_type(f16)}, outputs=(f16,), note="edges",
         reference=lambda a, _: [a[0].astype(f32).astype(f16)]),
    Case("CastLike", [[rand(f32, 3, 5), rand(f16, 1)], [rand(f32, 0, 5), rand(f16, 1)]],
         outputs=(f16,), reference=lambda a, _: [a[0].astype(f16)]),
    Case("CastLike", [[rand(f32, 3, 5, low=-9, high=9), rand(i64, 1)]], outputs=(i64,),
         reference=lambda a, _: [np.trunc(a[0]).astype(i64)]),
]
BITWISE = [
    *binary("BitwiseAnd", (i32, u8)), *binary("BitwiseOr", (i64,)), *binary("BitwiseXor", (u32,)),
    *unary("BitwiseNot", (i32, u8)),
]


@over(ARITHMETIC)
def test_arithmetic(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(MATH)
def test_math(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(LOGIC)
def test_logic(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(MINMAX)
def test_minmax(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(CASTS)
def test_cast(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(BITWISE)
def test_bitwise(case, variant, reference_only):
    run_case(case, variant, reference_only)


@pytest.mark.parametrize("op", ["Div", "Mod"])
def test_integer_division_by_zero(op, reference_only):
    """An error or some number, never a crash (x86 traps on it)."""
    from ssmtest import compiler, model, runtime

    if reference_only:
        pytest.skip("needs the compiler")
    arrays = [np.array([1, -(2**63), 5]), np.array([0, -1, 0])]
    proto, _ = model.single_node(op, arrays, [i64], variant="dynamic", opset=18)
    session = runtime.Module(compiler.compile_model(proto)).session()
    for inputs in (arrays, [arrays[0], np.array([-1, -1, -1])]):
        try:
            assert session.run({"in0": inputs[0], "in1": inputs[1]})["out0"].shape == (3,)
        except runtime.RuntimeFailure as error:
            assert f"the_{op}" in str(error)
