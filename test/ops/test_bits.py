# ===- test_bits.py - Shifts, bit patterns, special values, edges ----------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Operators whose results are exact to the bit, at the edges of their types."""

import numpy as np
from ssmtest.case import (Case, FLOATS, INTEGERS, bf16, boolean, f16, f32, f64, i8, i16, i32, i64,
                          ints, over, rand, run_case, scalar, u8, u16, u32, u64)
from ssmtest.model import element_type


def shifted(arrays, attributes):
    """BitShift-28: amounts out of range leave the sign alone."""
    x, y = np.broadcast_arrays(*arrays)
    width = x.dtype.itemsize * 8
    result = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        value, amount = int(x[at]), int(y[at])
        if not 0 <= amount < width:
            result[at] = -1 if attributes["direction"] == "RIGHT" and value < 0 else 0
        elif attributes["direction"] == "RIGHT":
            result[at] = value >> amount
        else:
            bits = (value << amount) & (2**width - 1)
            result[at] = np.array(bits, f"u{width // 8}").view(x.dtype)
    return [result]


BIT_SHIFTS = [
    Case("BitShift", [[rand(t, 3, 7, low=0 if np.dtype(t).kind == "u" else -100, high=100),
                       rand(t, 7, low=0, high=np.dtype(t).itemsize * 8 + 3)],
                      [rand(t, 0, 1), rand(t, 1)], [rand(t, 1, 1), rand(t, 1)]],
         {"direction": direction}, 28, reference=shifted)
    for t in INTEGERS for direction in ("LEFT", "RIGHT")
] + [
    Case("BitShift", [[ints(-5, -5, -5, 7, 1, dtype=i32), ints(31, 32, -1, 64, 31, dtype=i32)]],
         {"direction": direction}, 28, reference=shifted, note="edges")
    for direction in ("LEFT", "RIGHT")
]

BITWISE = [
    Case(op, [[rand(t, 3, 1, 5, high=120), rand(t, 4, 1, high=120)],
              [rand(t, 1, 1, 0), rand(t, 1, 1)]], reference=lambda a, _, f=f: [f(*a)])
    for op, f in (("BitwiseAnd", np.bitwise_and), ("BitwiseOr", np.bitwise_or),
                  ("BitwiseXor", np.bitwise_xor)) for t in (i8, u8, i16, u16, i64, u64)
]

PATTERNS = [(f32, i32), (f32, u32), (i32, f32), (f64, u64), (i64, f64), (f16, i16), (bf16, u16),
            (f16, bf16), (u16, f16), (i8, u8), (u64, i64), (boolean, u8), (boolean, i8)]
BIT_CASTS = [
    Case("BitCast", [[rand(a, 3, 5)], [rand(a, 1, 1)], [rand(a, 0, 3)]],
         {"to": element_type(b)}, 26, outputs=(b,),
         # The reference sees f16 and bf16 widened: narrow them again, which is exact.
         reference=lambda x, _, a=a, b=b: [x[0].astype(a).view(b)])
    for a, b in PATTERNS
]

SPECIAL = [
    *[Case("IsInf", [[ints(1, np.nan, -np.inf, 0, np.inf, dtype=t)]],
           {"detect_negative": negative, "detect_positive": positive}, 20,
           reference=lambda a, at: [(np.isneginf(a[0]) & bool(at["detect_negative"])) |
                                    (np.isposinf(a[0]) & bool(at["detect_positive"]))])
      for t in FLOATS for negative in (0, 1) for positive in (0, 1)],
    *[Case("Where", [[ints(1, 0, 1, dtype=boolean), ints(np.nan, 1, -np.inf, dtype=t),
                      ints(1, np.inf, np.nan, dtype=t)]], note="special",
           reference=lambda a, _: [np.where(*a)]) for t in FLOATS],
    Case("Clip", [[ints(np.nan, -np.inf, np.inf, 3, dtype=f32), scalar(-1, f32)]], note="special",
         reference=lambda a, _: [np.maximum(a[0], a[1])]),
    Case("Clip", [[rand(f32, 5, 3), rand(f32, 1, low=0, high=1)]], note="bound of one",
         reference=lambda a, _: [np.maximum(a[0], a[1])]),
    Case("Mod", [[ints(-7, 7, -7, 7, -2**63, dtype=i64), ints(3, -3, -3, 3, -1, dtype=i64)]],
         note="signs", reference=lambda a, _: [np.array([2, -2, -1, 1, 0])]),
    Case("Mod", [[ints(-7, 7, -7, 7, -2**63, dtype=i64), ints(3, -3, -3, 3, -1, dtype=i64)]],
         {"fmod": 1}, note="signs", reference=lambda a, _: [np.array([-1, 1, -1, 1, 0])]),
    *[Case("Mod", [[rand(t, 5, 7, low=-9, high=9), rand(t, 7, low=1, high=3)]], opset=28,
           note="float", reference=lambda a, _: [np.mod(*a)]) for t in (f32, f64)],
    Case("Mod", [[ints(5.5, -5.5, 0, np.inf, 3, 2, -2, dtype=f32),
                  ints(-2, 2, -3, 2, 0, -np.inf, np.inf, dtype=f32)]], opset=28, note="edges",
         reference=lambda a, _: [np.array([-0.5, 0.5, -0., np.nan, np.nan, -np.inf, np.inf])]),
    Case("Div", [[ints(-7, 7, -2**63, 5, dtype=i64), ints(2, -2, -1, 7, dtype=i64)]], note="signs",
         reference=lambda a, _: [np.array([-3, -3, -2**63, 0])]),
    Case("Pow", [[ints(2, -2, 3, -1, 7, 1, 2, 0, dtype=i64), ints(62, 63, -1, -3, 0, -9, 64, 0)]],
         note="edges", reference=lambda a, _: [np.array([2**62, -2**63, 0, -1, 1, 1, 0, 1])]),
    Case("Pow", [[ints(2, 9, 5, dtype=i32), ints(3, 0.5, -1, dtype=f32)]], note="real exponent",
         reference=lambda a, _: [np.array([8, 3, 0])]),
    Case("Pow", [[ints(2, 9, 5, dtype=f32), ints(3, 0.5, -1, dtype=f64)]], note="wide exponent",
         reference=lambda a, _: [np.array([8, 3, 0.2])]),
    Case("Cast", [[ints(-1e30, 1e30, -np.inf, np.inf, 2.9, -2.9, dtype=f32)]],
         {"to": element_type(i32)}, outputs=(i32,), note="saturates",
         reference=lambda a, _: [np.array([-2**31, 2147483520, -2**31, 2147483520, 2, -2])],
         bound=0),
    # Small integer tensors are tracked as shape arithmetic.
    *[Case("Cast", [[ints(200, 7, 2**(np.dtype(t).itemsize * 8) - 1, dtype=t)]],
           {"to": element_type(i64)}, outputs=(i64,), note="small",
           reference=lambda a, _: [a[0].astype(i64)]) for t in (u8, u16, u32, u64)],
    *[Case("Cast", [[ints(-1, 200, 3, dtype=i64)]], {"to": element_type(t)}, outputs=(t,),
           note="small", reference=lambda a, _, t=t: [a[0].astype(t)])
      for t in INTEGERS + (boolean,)],
    *[Case(op, [[ints(-3, 5, 0), ints(2)], [ints(9, -9, 1), ints(-4)]], note="small",
           reference=lambda a, _, f=f: [f(*a)])
      for op, f in (("Max", np.maximum), ("Min", np.minimum), ("Less", np.less),
                    ("GreaterOrEqual", np.greater_equal), ("Equal", np.equal))],
    Case("Sub", [[ints(3, 200, dtype=u8), ints(5, 100, dtype=u8)]], note="small",
         reference=lambda a, _: [a[0] - a[1]]),
    *[Case("Dropout", [[rand(t, 3, 5)], [rand(t, 0, 5)], [rand(t, 1, 1)]], outputs=(t, boolean),
           reference=lambda a, _: [a[0], np.ones(a[0].shape, np.bool_)]) for t in FLOATS],
    Case("Dropout", [[rand(f32, 3, 5), scalar(0.5, f32), scalar(False, boolean)]], outputs=(f32,),
         reference=lambda a, _: [a[0]]),
    Case("Dropout", [[rand(f32, 3, 5)]], {"ratio": 0.5}, 7, outputs=(f32, f32),
         reference=lambda a, _: [a[0], np.ones(a[0].shape)]),
]


@over(BIT_SHIFTS)
def test_bit_shift(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(BITWISE)
def test_bitwise(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(BIT_CASTS)
def test_bit_cast(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(SPECIAL)
def test_special(case, variant, reference_only):
    run_case(case, variant, reference_only)
