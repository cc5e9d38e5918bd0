# ===- test_integer_products.py - MatMulInteger, ConvInteger ----------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Products of bytes, exact in i32: all bytes occur, sums of up to 1.4e8.
The reference is NumPy in int64; ONNX Runtime, which has no zero points of rows, agrees with it where it can."""
import numpy as np
import pytest
from ssmtest import reference
from ssmtest.case import Case, i8, i32, over, rand, run_case, u8

ALL = {u8: {"low": 0, "high": 256}, i8: {"low": -128, "high": 128}}


def whole(dtype, *shape):
    """Any byte."""
    return rand(dtype, *shape, **ALL[dtype])


def centred(array, zero, axis):
    array = array.astype(np.int64)
    if zero is None:
        return array
    zero = zero.astype(np.int64)
    if zero.ndim == 1 and zero.size != 1:
        zero = np.expand_dims(zero, -1) if axis == 0 else zero
    return array - zero


def matmul_integer(arrays, _attributes):
    a, b, a_zero, b_zero = [*arrays, None, None][:4]
    if a.ndim == 1 and a_zero is not None:
        a_zero = a_zero.reshape(a_zero.size)
    if b.ndim == 1 and b_zero is not None:
        b_zero = b_zero.reshape(b_zero.size)
    product = centred(a, a_zero, 0) @ centred(b, b_zero, 1)
    return [np.asarray(product).astype(np.int32)]


KINDS = [(u8, i8), (u8, u8), (i8, i8), (i8, u8)]
SHAPES = [(7, 5, 9), (1, 1, 1), (0, 3, 4), (3, 0, 4), (65, 33, 47), (3, 2100, 5), (2, 64, 33)]
CASES = [
    *[Case("MatMulInteger", [[whole(a, m, k), whole(b, k, n)] for m, k, n in SHAPES], opset=10)
      for a, b in KINDS],
    *[Case("MatMulInteger", [[whole(a, m, k), whole(b, k, n), whole(a), whole(b)]
                             for m, k, n in SHAPES], opset=10, note="zeros") for a, b in KINDS],
]
NUMPY_CASES = [
    Case("MatMulInteger", [[whole(u8, m, k), whole(i8, k, n), whole(u8, m), whole(i8, n)]
                           for m, k, n in SHAPES], opset=10, note="each"),
    Case("MatMulInteger", [[whole(u8, m, k), whole(i8, k, n), whole(u8), whole(i8, n)]
                           for m, k, n in ((7, 31, 9), (1, 31, 9), (40, 31, 9))], opset=10,
         constant=(1, 3), note="weight"),
    Case("MatMulInteger", [[whole(i8, m, k), whole(u8, k, n), None, whole(u8, 1)]
                           for m, k, n in SHAPES], opset=10, note="right"),
    Case("MatMulInteger", [[whole(u8, 2, 3, 5), whole(i8, 2, 5, 4), whole(u8, 2, 3, 1),
                            whole(i8, 2, 1, 4)],
                           [whole(u8, 3, 1, 7), whole(i8, 3, 7, 1), whole(u8, 3, 1, 1),
                            whole(i8, 3, 1, 1)]], opset=10, note="batches"),
    Case("MatMulInteger", [[whole(u8, 2, 3, 5), whole(i8, 5, 4), whole(u8, 3), whole(i8, 4)]],
         opset=10, note="shared"),
    Case("MatMulInteger", [[whole(u8, 5), whole(i8, 2, 5, 4), whole(u8, 1), whole(i8, 2, 1, 4)]],
         opset=10, note="vector", outputs=(i32,)),
    Case("MatMulInteger", [[whole(u8, 2, 3, 5), whole(i8, 5), whole(u8, 2, 3, 1), whole(i8)]],
         opset=10, note="vector-right", outputs=(i32,)),
    Case("MatMulInteger", [[whole(u8, 5), whole(i8, 5), whole(u8), whole(i8)]],
         opset=10, note="scalar", outputs=(i32,)),
    Case("MatMulInteger", [[whole(u8, 5, 6), whole(i8, 6, 3), np.zeros((), u8), np.zeros(3, i8)]],
         opset=10, note="no-zeros", constant=(2, 3)),
]
for each in CASES + NUMPY_CASES:
    each.reference = matmul_integer


def conv_integer(arrays, attributes):
    x, w, x_zero, w_zero = [*arrays, None, None][:4]
    x = centred(x, x_zero, 1)
    w = w.astype(np.int64)
    if w_zero is not None:
        w_zero = w_zero.astype(np.int64)
        w = w - w_zero.reshape([-1] + [1] * (w.ndim - 1))
    rank = x.ndim - 2
    pads = attributes.get("pads", [0] * 2 * rank)
    strides = attributes.get("strides", [1] * rank)
    dilations = attributes.get("dilations", [1] * rank)
    x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:])])
    groups, inner = attributes.get("group", 1), w.shape[1]
    out = [(size - (k - 1) * d - 1) // s + 1
           for size, k, s, d in zip(x.shape[2:], w.shape[2:], strides, dilations)]
    y = np.zeros([x.shape[0], w.shape[0], *out], np.int64)
    for o in range(w.shape[0]):
        first = o // (w.shape[0] // groups) * inner
        for tap in np.ndindex(*w.shape[2:]):
            part = x[(slice(None), slice(first, first + inner), *[
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(tap, dilations, out, strides)])]
            y[:, o] += np.einsum("bc...,c->b...", part, w[(o, slice(None), *tap)])
    return [y.astype(np.int32)]


CONVS = [
    *[Case("ConvInteger", [[whole(a, 2, 3, 9, 7), whole(b, 4, 3, 3, 3)]], {"pads": [1, 1, 1, 1]}, 10,
           reference=conv_integer) for a, b in KINDS[:2]],
    *[Case("ConvInteger", [[whole(u8, *shape), whole(i8, 4, 3, 3, 2), whole(u8), zero]
                           for shape in ((2, 3, 9, 7), (1, 3, 5, 3), (0, 3, 6, 6))],
           {"pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]}, 10, note=note,
           reference=conv_integer)
      for note, zero in (("zero", whole(i8)), ("each", whole(i8, 4)))],
    Case("ConvInteger", [[whole(u8, 2, 6, 9), whole(u8, 6, 1, 4), whole(u8, 1), whole(u8, 1)]],
         {"group": 6, "pads": [3, 0]}, 10, note="depthwise", reference=conv_integer),
    Case("ConvInteger", [[whole(u8, 2, 6, 9), whole(i8, 8, 3, 2), whole(u8)]], {"group": 2}, 10,
         note="groups", reference=conv_integer, constant=(1,)),
]


@over(CASES + NUMPY_CASES + CONVS)
def test_integer_products(case, variant, reference_only):
    run_case(case, variant, reference_only)


@pytest.mark.parametrize("case", [c for c in CASES if np.dtype(c.sets[0][0].dtype) == u8],
                         ids=lambda c: c.name())
def test_reference(case):
    """As ONNX Runtime has it."""
    for index in range(len(case.sets)):
        arrays = case.make_inputs(index)
        if arrays[0].shape[-1] == 0:
            continue  # ONNX Runtime leaves these unwritten
        theirs = reference.run_node(case.op, arrays, [np.int32], {}, case.opset, "")
        np.testing.assert_array_equal(matmul_integer(arrays, {})[0], theirs[0])
