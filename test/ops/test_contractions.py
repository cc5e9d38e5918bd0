# ===- test_contractions.py - MatMul, Gemm, Einsum, Conv -------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
import numpy as np
from ssmtest.case import (Case, FLOATS, bf16, f16, f32, f64, i32, i64, over, rand, run_case)

MATMULS = [
    *[Case("MatMul", [[rand(t, 7, 5), rand(t, 5, 9)], [rand(t, 1, 1), rand(t, 1, 1)],
                      [rand(t, 0, 3), rand(t, 3, 4)], [rand(t, 3, 0), rand(t, 0, 4)],
                      [rand(t, 65, 33), rand(t, 33, 47)]], opset=13)
      for t in FLOATS + (i32, i64)],
    # Single sums must not vanish: the bound is relative to them.
    *[Case("MatMul", [[rand(f32, *a, low=0.2), rand(f32, *b, low=0.2)]], opset=13) for a, b in (
        ((5,), (5,)), ((5,), (5, 3)), ((3, 5), (5,)), ((2, 3, 5), (5,)), ((5,), (2, 5, 3)))],
    Case("MatMul", [[rand(f32, 2, 3, 5), rand(f32, 5, 7)], [rand(f32, 0, 1, 5), rand(f32, 5, 1)]],
         opset=13),
    Case("MatMul", [[rand(f32, 2, 1, 3, 5), rand(f32, 4, 5, 7)],
                    [rand(f32, 1, 4, 1, 2), rand(f32, 4, 2, 1)],
                    [rand(f32, 3, 0, 2, 2), rand(f32, 1, 2, 2)]], opset=13, note="batches"),
    Case("MatMul", [[rand(f32, 2, 3, 5, 4), rand(f32, 2, 3, 4, 7)]], opset=13, note="heads"),
    Case("MatMul", [[rand(f32, 33, 31), rand(f32, 31, 17)], [rand(f32, 1, 31), rand(f32, 31, 17)]],
         opset=13, constant=(1,), note="weight"),
    # Depths whose turned rows begin at 16 bytes, or do not; many rows, a vector, a weight for each batch.
    *[Case("MatMul", [[rand(t, *rows, k, low=0.2), rand(t, *batch, k, n, low=0.2)]], opset=13,
           constant=(1,), note=f"weight-{k}-{n}")
      for t in (f16, bf16) for rows, batch, k, n in (
          ((33,), (), 40, 24), ((1,), (), 64, 17), ((), (), 24, 40), ((2, 3), (), 31, 16), ((2, 130), (2,), 48, 72))],
]


def gemm_cases():
    for trans_a in (0, 1):
        for trans_b in (0, 1):
            def sets(dtype, c, a=trans_a, b=trans_b):
                return [[rand(dtype, *((k, m) if a else (m, k))),
                         rand(dtype, *((n, k) if b else (k, n))), c(m, n)]
                        for m, k, n in ((7, 5, 9), (1, 1, 1), (0, 3, 4), (3, 0, 4))]
            attributes = {"alpha": 1.0, "beta": 1.0, "transA": trans_a, "transB": trans_b}
            yield Case("Gemm", sets(f32, lambda m, n: rand(f32, n)), attributes, 13)
            yield Case("Gemm", sets(f32, lambda m, n: rand(f32, m, 1)),
                       {**attributes, "alpha": 0.5, "beta": -2.0}, 13)
    for dtype in (f64, f16, bf16, i32):
        yield Case("Gemm", [[rand(dtype, 7, 5), rand(dtype, 9, 5), rand(dtype, 9)]],
                   {"transB": 1}, 13, note="type",
                   reference=lambda a, _: [a[0] @ a[1].T + a[2]])
    yield Case("Gemm", [[rand(f32, 7, 5), rand(f32, 5, 9)]], opset=13, note="no-c")
    yield Case("Gemm", [[rand(f32, 7, 5), rand(f32, 5, 9), rand(f32)]], opset=13, note="scalar-c")


GEMMS = list(gemm_cases())

# Equation -> shapes of the operands.
EINSUMS = [
    ("bdn,bn->bd", [(2, 5, 3), (2, 3)]),
    ("bclhn,bcshn->bclsh", [(2, 3, 5, 2, 4), (2, 3, 7, 2, 4)]),
    ("bclsh,bcshp->bclhp", [(2, 3, 5, 7, 2), (2, 3, 7, 2, 4)]),
    ("bclhn,bclhp->bchpn", [(2, 3, 5, 2, 4), (2, 3, 5, 2, 7)]),
    ("bzch,bzhpn->bchpn", [(2, 3, 5, 2), (2, 3, 2, 4, 7)]),
    ("bclhn,bchpn->bclhp", [(2, 3, 5, 2, 4), (2, 3, 2, 7, 4)]),
    ("ij,jk->ik", [(5, 3), (3, 7)]), ("ij,kj", [(5, 3), (7, 3)]), ("i,j->ij", [(5,), (3,)]),
    ("ij->ji", [(5, 3)]), ("ij->i", [(5, 3)]), ("ij->", [(5, 3)]), ("ii->i", [(4, 4)]),
    ("ii", [(4, 4)]), ("i,i->", [(5,), (5,)]), ("bij,bjk->bik", [(2, 3, 5), (2, 5, 4)]),
    ("...ij,...jk->...ik", [(2, 3, 5), (2, 5, 4)]), ("...i->...", [(2, 3, 5)]),
    ("ij,j,jk->ik", [(5, 3), (3,), (3, 4)]), (" b h i d , b h j d -> b h i j ",
                                              [(2, 3, 5, 4), (2, 3, 7, 4)]),
    ("ab,cd->abcd", [(2, 3), (4, 5)]), ("abc,abc->abc", [(2, 3, 4), (2, 3, 4)]),
    ("...hd,...hd->...h", [(2, 3, 5), (2, 3, 5)]),
]


def einsum(arrays, attributes):
    return [np.asarray(np.einsum(attributes["equation"].replace(" ", ""), *arrays))]


def scaled(shapes, change):
    """The same shapes with all sizes changed alike."""
    return [tuple(change(size) for size in shape) for shape in shapes]


EINSUM_CASES = [
    *[Case("Einsum", [[rand(f32, *s, low=0.2) for s in scaled(shapes, change)]
                      for change in (lambda n: n, lambda n: 2 * n + 1, lambda n: 1)],
           {"equation": equation}, 12, reference=einsum) for equation, shapes in EINSUMS],
    *[Case("Einsum", [[rand(t, 2, 3, 5), rand(t, 2, 5, 4)]], {"equation": "bij,bjk->bik"}, 12,
           reference=einsum, note="type") for t in (f64, f16, bf16, i64)],
    Case("Einsum", [[rand(f32, 2, 0, 5), rand(f32, 2, 5, 4)], [rand(f32, 2, 3, 0), rand(f32, 2, 0,
                                                                                       4)]],
         {"equation": "bij,bjk->bik"}, 12, reference=einsum, note="empty"),
    Case("Einsum", [[rand(f32, 2, 3, 5), rand(f32, 1, 5, 4)]],
         {"equation": "...ij,...jk->...ik"}, 12, reference=einsum, note="broadcast"),
]


def conv_sets(dtype, shapes, weight, bias=True):
    out = weight[0]
    return [[rand(dtype, *s), rand(dtype, *weight)] + ([rand(dtype, out)] if bias else [])
            for s in shapes]


def conv1d(arrays, attributes):
    """One spatial axis, any group, in float64."""
    x, weight = arrays[0], arrays[1]
    before, after = attributes.get("pads", [0, 0])
    x = np.pad(x, ((0, 0), (0, 0), (before, after)))
    groups, (out_channels, inner, width) = attributes.get("group", 1), weight.shape
    length = x.shape[2] - width + 1
    y = np.zeros((x.shape[0], out_channels, length))
    for o in range(out_channels):
        first = o // (out_channels // groups) * inner
        for k in range(width):
            y[:, o] += np.einsum("bil,i->bl", x[:, first:first + inner, k:k + length],
                                 weight[o, :, k])
    return [y + (arrays[2].reshape(1, -1, 1) if len(arrays) > 2 else 0)]


DEPTHWISE = {"group": 6, "kernel_shape": [4], "strides": [1], "dilations": [1],
             "auto_pad": "NOTSET"}
CONVS = [
    *[Case("Conv", conv_sets(t, [(2, 6, 9), (1, 6, 1), (0, 6, 3), (3, 6, 33)], (6, 1, 4)),
           {**DEPTHWISE, "pads": [3, 3]}, 11, constant=(1, 2), reference=conv1d)
      for t in (f32, f64, f16, bf16)],
    Case("Conv", conv_sets(f32, [(2, 6, 9), (1, 6, 4)], (6, 1, 4)), {**DEPTHWISE, "pads": [0, 0]},
         11),
    Case("Conv", conv_sets(f32, [(2, 6, 9), (1, 6, 2)], (6, 1, 4), bias=False),
         {**DEPTHWISE, "pads": [1, 2]}, 11),
    Case("Conv", conv_sets(f32, [(2, 6, 9), (1, 6, 2)], (6, 1, 3)),
         {"group": 6, "kernel_shape": [3], "pads": [2, 0]}, 11),
    Case("Conv", conv_sets(f32, [(2, 6, 9)], (8, 3, 2)), {"group": 2, "pads": [1, 0]}, 11),
    Case("Conv", conv_sets(f32, [(2, 6, 9), (1, 6, 3)], (5, 6, 3)), {"pads": [1, 1]}, 11),
    Case("Conv", conv_sets(f32, [(2, 6, 9)], (5, 6, 1)), {}, 11, note="pointwise"),
    Case("Conv", conv_sets(f32, [(2, 3, 9, 7), (1, 3, 3, 3)], (4, 3, 3, 3)),
         {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}, 11),
    Case("Conv", conv_sets(f32, [(2, 3, 9, 7)], (4, 3, 3, 2)),
         {"strides": [2, 3], "dilations": [2, 1], "pads": [0, 1, 2, 0]}, 11),
    Case("Conv", conv_sets(f32, [(2, 4, 9, 7)], (4, 1, 3, 3)),
         {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}, 11),
    Case("Conv", conv_sets(f32, [(2, 4, 9, 7)], (4, 1, 3, 3)),
         {"group": 4, "auto_pad": "SAME_LOWER"}, 11),
    Case("Conv", conv_sets(f32, [(2, 4, 9, 7)], (4, 4, 3, 3)), {"auto_pad": "VALID"}, 11),
    Case("Conv", conv_sets(f32, [(1, 2, 5, 4, 6)], (3, 2, 2, 3, 2)), {"pads": [1] * 6}, 11,
         note="3d"),
    # One window, which ends before the padded sequence.
    *[Case("Conv", conv_sets(f32, [(2, 6, 2), (1, 6, 9)], weight, bias),
           {"pads": [2, 0], "strides": [2], "group": 6 // weight[1]}, 11, constant=(1, 2)[:1 + bias],
           note=f"one-window-{weight[1]}-{bias}")
      for weight in ((5, 6, 3), (6, 1, 3)) for bias in (True, False)],
]


@over(MATMULS)
def test_matmul(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(GEMMS)
def test_gemm(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(EINSUM_CASES)
def test_einsum(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(CONVS)
def test_conv(case, variant, reference_only):
    run_case(case, variant, reference_only)
