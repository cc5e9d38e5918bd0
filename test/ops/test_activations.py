# ===- test_activations.py - Trigonometry, activations, fused ones ---------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Functions of one number that test_elementwise.py leaves out, by formula."""

import math

import numpy as np
from ssmtest.case import (Case, FLOATS, bf16, f16, f32, f64, i32, i64, ints, over, rand, run_case,
                          u8, u32)

SHAPES = [(3, 5), (1, 1), (0, 5), (33, 17)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x) if x.size else x


def gelu(x):
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def tanh_gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def formula(op, function, dtypes=FLOATS, low=None, high=None, **options):
    """function: (first input, attributes) -> result, in float64."""
    return [Case(op, [[rand(t, *s, low=low, high=high)] for s in SHAPES],
                 reference=lambda a, attributes: [function(a[0], attributes)], **options)
            for t in dtypes]


TRIGONOMETRY = [
    *formula("Tan", lambda x, _: np.tan(x), low=-1.4, high=1.4),
    *formula("Asin", lambda x, _: np.arcsin(x), low=-1, high=1),
    *formula("Acos", lambda x, _: np.arccos(x), low=-1, high=1),
    *formula("Atan", lambda x, _: np.arctan(x), low=-9, high=9),
    *formula("Sinh", lambda x, _: np.sinh(x), low=-4, high=4),
    *formula("Cosh", lambda x, _: np.cosh(x), low=-4, high=4),
    *formula("Asinh", lambda x, _: np.arcsinh(x), low=-9, high=9),
    *formula("Acosh", lambda x, _: np.arccosh(x), low=1, high=9),
    *formula("Atanh", lambda x, _: np.arctanh(x), low=-0.9, high=0.9),
]


def celu(x, attributes):
    alpha = attributes.get("alpha", 1.0)
    return np.maximum(0, x) + np.minimum(0, alpha * np.expm1(x / alpha))


def shrink(x, attributes):
    bias, lambd = attributes.get("bias", 0.0), attributes.get("lambd", 0.5)
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0))


def swish(x, attributes):
    return x * sigmoid(attributes.get("alpha", 1.0) * x)


ACTIVATIONS = [
    *formula("Celu", celu, opset=28), *formula("Celu", celu, (f32,), attributes={"alpha": 0.5}),
    *formula("ThresholdedRelu", lambda x, at: np.where(x > at.get("alpha", 1.0), x, 0)),
    *formula("ThresholdedRelu", lambda x, at: np.where(x > at["alpha"], x, 0), (f32,),
             attributes={"alpha": 0.25}),
    *formula("Shrink", shrink), *formula("Shrink", shrink, (f32, f64),
                                         attributes={"bias": 0.5, "lambd": 1.25}),
    *formula("Shrink", lambda x, at: np.trunc(shrink(x, at)).astype(x.dtype), (i32, i64),
             attributes={"bias": 1.5, "lambd": 3.0}),
    *formula("Swish", swish, opset=24),
    *formula("Swish", swish, (f32, f16), opset=24, attributes={"alpha": 1.75}),
    *formula("Mish", lambda x, _: x * np.tanh(softplus(x)), (f64, f16, bf16), low=-20, high=9),
    *formula("HardSigmoid", lambda x, at: np.clip(at["alpha"] * x + at["beta"], 0, 1), (f64, f16),
             attributes={"alpha": 0.25, "beta": 0.625}),
    *formula("Selu", lambda x, at: at["gamma"] * np.where(x > 0, x, at["alpha"] * np.expm1(x)),
             (f64, bf16), attributes={"alpha": 1.5, "gamma": 0.75}),
    *formula("Softsign", lambda x, _: x / (1 + np.abs(x)), (f64, f16, bf16)),
    Case("Relu", [[ints(np.nan, -1, 2, -np.inf, np.inf, dtype=f32)]], note="edges",
         reference=lambda a, _: [np.maximum(a[0], 0)]),
    Case("Elu", [[ints(-np.inf, -1e-6, 0, 5, np.inf, dtype=f32)]], note="edges",
         reference=lambda a, _: [np.where(a[0] < 0, np.expm1(a[0]), a[0])]),
    *[Case("PRelu", [[rand(t, 3, 4, 5), rand(t, *s)] for s in ((4, 1),)]
           + [[rand(t, 1, 2, 0), rand(t, 1, 1)], [rand(t, 1, 1, 1), rand(t, 1, 1)]],
           reference=lambda a, _: [np.where(a[0] < 0, a[0] * a[1], a[0])])
      for t in (f32, f64, f16, bf16, i32, i64, u32)],
    *[Case("SwiGLU", [[rand(t, *s), rand(t, *s)] for s in SHAPES], attributes, 28,
           reference=lambda a, at: [swish(a[0], at) * a[1]])
      for t in FLOATS for attributes in ({}, {"alpha": 1.75})],
]

CONTRIB = [
    *formula("QuickGelu", lambda x, at: x * sigmoid(at.get("alpha", 1.702) * x), (f32, f16),
             domain="com.microsoft", outputs=None),
    *formula("Gelu", lambda x, _: gelu(x), (f32,), domain="com.microsoft", outputs=None),
    *formula("FastGelu", lambda x, _: tanh_gelu(x), (f32, bf16), domain="com.microsoft",
             outputs=None),
    *[Case(op, [[rand(t, 3, 5), rand(t, 5)], [rand(t, 0, 1), rand(t, 1)],
                [rand(t, 2, 33), rand(t, 33)]], domain="com.microsoft", outputs=None,
           reference=lambda a, _, f=f: [f(a[0] + a[1])], note="bias")
      for op, f in (("FastGelu", tanh_gelu), ("BiasGelu", gelu)) for t in (f32, f64, f16)],
]
# These operators give the type of their first input; ONNX's inference does not know
# them.
for case in CONTRIB:
    case.outputs = (case.sets[0][0].dtype,)

EXACT = [
    *formula("Abs", lambda x, _: np.abs(x), (u8,)),
    Case("Abs", [[ints(-2**31, 2**31 - 1, -5, dtype=i32)]], note="edges",
         reference=lambda a, _: [np.abs(a[0])]),
    Case("Sign", [[ints(-np.inf, -0.5, 0, 3, np.inf, dtype=f32)]], note="edges",
         reference=lambda a, _: [np.sign(a[0])]),
    *[Case("Sum", [[rand(t, 3, 1), rand(t, 5), rand(t, 1, 5)], [rand(t, 1, 1), rand(t, 0),
                                                                rand(t, 1, 0)]],
           reference=lambda a, _: [a[0] + a[1] + a[2]]) for t in FLOATS],
    *[Case("Mean", [[rand(t, 3, 1), rand(t, 5), rand(t, 1, 5)], [rand(t, 0, 1), rand(t, 1),
                                                                 rand(t, 1, 1)]],
           reference=lambda a, _: [(a[0] + a[1] + a[2]) / 3]) for t in FLOATS],
    Case("Sum", [[rand(f32, 3, 5)]], note="one", reference=lambda a, _: [a[0]]),
]


@over(TRIGONOMETRY)
def test_trigonometry(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(ACTIVATIONS)
def test_activations(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(CONTRIB)
def test_contrib(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(EXACT)
def test_exact(case, variant, reference_only):
    run_case(case, variant, reference_only)
