# ===- test_contraction_forms.py - Rare forms of contractions --------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What test_contractions.py leaves out: transposed batches, diagonals, broadcast
indices, empty convolutions, groups, and sizes that must be refused."""

import numpy as np
import pytest
from ssmtest.case import (Case, bf16, f16, f32, f64, i8, i32, i64, over, rand, run_case, u8, u32)


def fused_matmul(arrays, attributes):
    sides = []
    for array, letter in zip(arrays, "AB"):
        if attributes.get("transBatch" + letter, 0):
            array = np.moveaxis(array, 0, -2)
        if attributes.get("trans" + letter, 0) and array.ndim > 1:
            array = np.swapaxes(array, -1, -2)
        sides.append(array)
    return [np.asarray(attributes.get("alpha", 1.0) * (sides[0] @ sides[1]))]


def operand_shape(batch, rows, columns, trans, trans_batch):
    shape = (columns, rows) if trans else (rows, columns)
    return (shape[0], *batch, shape[1]) if trans_batch else (*batch, *shape)


FUSED = [
    Case("FusedMatMul",
         [[rand(t, *operand_shape(batch, m, k, trans_a, batch_a)),
           rand(t, *operand_shape(batch, k, n, trans_b, batch_b))]
          for batch, m, k, n in (((2, 3), 5, 4, 7), ((1, 1), 1, 1, 1), ((3, 0), 2, 2, 2))],
         {"transA": trans_a, "transB": trans_b, "transBatchA": batch_a, "transBatchB": batch_b,
          "alpha": alpha}, domain="com.microsoft", outputs=(t,), reference=fused_matmul)
    for trans_a in (0, 1) for trans_b in (0, 1) for batch_a, batch_b in ((0, 0), (1, 0), (0, 1))
    for t, alpha in ((f32, 1.0), (f32, 0.25))
] + [
    Case("FusedMatMul", [[rand(t, 7, 5), rand(t, 9, 5)], [rand(t, 0, 5), rand(t, 9, 5)]],
         {"transB": 1, "alpha": -0.5}, domain="com.microsoft", outputs=(t,),
         reference=fused_matmul) for t in (f64, f16, bf16)
]

MATMULS = [
    # One module, every way in which a batch axis may turn out to broadcast.
    Case("MatMul", [[rand(f32, 2, 3, 5), rand(f32, 2, 5, 4)], [rand(f32, 1, 3, 5), rand(f32, 2, 5, 4)],
                    [rand(f32, 2, 3, 5), rand(f32, 1, 5, 4)], [rand(f32, 1, 3, 5), rand(f32, 0, 5, 4)]],
         opset=13, note="runtime-broadcast"),
    *[Case("MatMul", [[rand(t, 3, 5), rand(t, 5, 2)]], opset=13, note="int",
           reference=lambda a, _: [a[0] @ a[1]]) for t in (i8, u8, u32)],
]
GEMMS = [
    Case("Gemm", [[rand(t, 7, 5), rand(t, 5, 9), rand(t, 7, 9)]], {"alpha": 0.5, "beta": 3.0}, 7,
         reference=lambda a, _: [0.5 * (a[0] @ a[1]) + 3 * a[2]]) for t in (f32, f16, bf16)
] + [
    Case("Gemm", [[rand(i32, 7, 5), rand(i32, 5, 9), rand(i32, 1, 9)]],
         {"alpha": -2.0, "beta": 3.0}, 11, reference=lambda a, _: [3 * a[2] - 2 * (a[0] @ a[1])]),
    Case("Gemm", [[rand(f32, 7, 5), rand(f32, 5, 9), rand(f32, 9)]], {"beta": 0.0}, 11,
         reference=lambda a, _: [a[0] @ a[1]]),
]


def einsum(arrays, attributes):
    return [np.asarray(np.einsum(attributes["equation"].replace(" ", ""), *arrays))]


EINSUMS = [
    Case("Einsum", [[rand(f32, *s) for s in shapes] for shapes in sets], {"equation": equation}, 12,
         outputs=(f32,), reference=einsum)
    for equation, sets in [
        ("bii->bi", [[(2, 3, 3)], [(0, 5, 5)], [(7, 1, 1)]]),
        ("iij->j", [[(3, 3, 4)], [(1, 1, 0)]]),
        ("iji", [[(3, 4, 3)]]),
        ("...ii->...i", [[(2, 5, 3, 3)]]),
        ("ii,ij->j", [[(3, 3), (3, 4)]]),
        ("Ab,bA->", [[(3, 4), (4, 3)]]),
        ("aB,Ba", [[(3, 4), (4, 3)]]),
        ("bA,aB", [[(2, 3), (4, 5)]]),
        ("i...,i...", [[(3, 4, 5), (3, 4, 5)], [(3, 1, 5), (3, 4, 1)], [(1, 1, 1), (1, 1, 1)]]),
        ("...ij,jk->...ik", [[(2, 7, 3, 5), (5, 4)], [(1, 0, 3, 5), (5, 4)]]),
        ("...i,...i->...", [[(2, 7, 5), (7, 5)], [(4, 1, 3), (6, 3)]]),
        ("...,...->...", [[(3, 5), (5,)], [(1, 1), (1,)]]),
        (",i->i", [[(), (5,)]]),
        (",", [[(), ()]]),
        ("ij,ij,ij->ij", [[(3, 5)] * 3]),
        ("ab,bc,cd,de->ae", [[(2, 3), (3, 4), (4, 5), (5, 6)], [(1, 1), (1, 3), (3, 0), (0, 2)]]),
        ("abc,cd,e->ad", [[(2, 3, 4), (4, 5), (6,)]]),
        ("ijk->kij", [[(2, 3, 4)], [(0, 3, 1)]]),
        ("ijk->j", [[(2, 3, 4)], [(0, 3, 1)]]),
    ]
] + [
    # A size known to be 1 broadcasts along its index.
    Case("Einsum", [[rand(f32, 3, 1), rand(f32, 5, 4)]], {"equation": "ij,jk->ik"}, 12,
         reference=lambda a, _: [a[0] @ a[1].sum(0, keepdims=True)], variants=("static", "constant"),
         note="index of 1"),
    *[Case("Einsum", [[rand(t, 3, 3, 5)]], {"equation": "iij->j"}, 12, reference=einsum,
           note="type") for t in (f64, f16, bf16, i64, u8)],
    *[Case("Einsum", [[rand(t, 3, 5), rand(t, 5, 4), rand(t, 4)]], {"equation": "ij,jk,k->i"}, 12,
           reference=einsum, note="type") for t in (f64, f16, bf16, i32)],
]


def conv(arrays, attributes):
    """Any number of spatial axes, by definition, in float64."""
    x, weight = arrays[0], arrays[1]
    count = x.ndim - 2
    strides = attributes.get("strides", [1] * count)
    dilations = attributes.get("dilations", [1] * count)
    groups, kernel = attributes.get("group", 1), weight.shape[2:]
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    pads = list(attributes.get("pads", [0] * 2 * count))
    auto = attributes.get("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        for axis in range(count):
            size = x.shape[2 + axis]
            total = max((-(-size // strides[axis]) - 1) * strides[axis] + spans[axis] - size, 0)
            small, large = total // 2, total - total // 2
            pads[axis], pads[count + axis] = (small, large) if auto == "SAME_UPPER" else (large,
                                                                                          small)
    x = np.pad(x, [(0, 0), (0, 0)] + list(zip(pads[:count], pads[count:])))
    sizes = [(n - s) // d + 1 for n, s, d in zip(x.shape[2:], spans, strides)]
    if auto.startswith("SAME"):
        sizes = [-(-(n) // d) for n, d in zip(arrays[0].shape[2:], strides)]
    y = np.zeros((x.shape[0], weight.shape[0], *sizes))
    inner, outer = weight.shape[1], weight.shape[0] // groups
    for group in range(groups):
        part = x[:, group * inner:(group + 1) * inner]
        for tap in np.ndindex(*kernel):
            taps = tuple(slice(t * d, t * d + (n - 1) * s + 1 if n else t * d, s)
                         for t, d, n, s in zip(tap, dilations, sizes, strides))
            y[:, group * outer:(group + 1) * outer] += np.einsum(
                "bi...,oi->bo...", part[(slice(None), slice(None), *taps)],
                weight[(slice(group * outer, (group + 1) * outer), slice(None), *tap)])
    if len(arrays) > 2:
        y += arrays[2].reshape(-1, *[1] * count)
    return [y]


def conv_case(dtype, shapes, weight, bias=True, note="", **attributes):
    sets = [[rand(dtype, *s), rand(dtype, *weight)] + ([rand(dtype, weight[0])] if bias else [])
            for s in shapes]
    return Case("Conv", sets, attributes, 22, reference=conv, note=note)


CONVS = [
    # Length 0 with the pads of a causal convolution, static too.
    conv_case(f32, [(2, 6, 0), (2, 6, 1)], (6, 1, 4), group=6, pads=[3, 3]),
    conv_case(f32, [(2, 6, 0), (2, 6, 1)], (6, 1, 4), group=6, pads=[2, 1], bias=False),
    conv_case(f32, [(2, 6, 0)], (6, 6, 3), pads=[1, 1], note="no output"),
    conv_case(f32, [(0, 6, 5)], (6, 1, 4), group=6, pads=[3, 0], note="no batch"),
    conv_case(f32, [(2, 6, 9), (1, 6, 5), (1, 6, 4)], (4, 6, 3), strides=[3], dilations=[2],
              note="strided"),
    # As many rows as are worth spreading windows for.
    conv_case(f32, [(2, 3, 37), (1, 3, 4), (0, 3, 9)], (20, 3, 4), strides=[4], note="patches"),
    *[conv_case(t, [(2, 3, 12, 20), (1, 3, 4, 7)], (33, 3, 4, 4), strides=[4, 4], note="patches")
      for t in (f32, f16)],
    conv_case(f32, [(2, 5, 9, 35), (1, 5, 3, 3)], (18, 5, 3, 3), strides=[2, 2],
              pads=[1, 1, 1, 1]),
    conv_case(f32, [(2, 36, 11)], (36, 18, 3), group=2, strides=[2], note="groups"),
    conv_case(f32, [(2, 6, 9), (1, 6, 2)], (9, 2, 3), group=3, pads=[1, 1]),
    conv_case(f32, [(2, 4, 9), (1, 4, 2)], (8, 1, 3), group=4, pads=[1, 1], note="multiplier"),
    *[conv_case(f32, [(1, 2, 9, 7), (2, 2, 1, 1), (1, 2, 4, 8)], (3, 2, 3, 2), auto_pad=auto,
                strides=[2, 3], dilations=[1, 2]) for auto in ("SAME_UPPER", "SAME_LOWER")],
    *[conv_case(t, [(2, 4, 5, 6)], (6, 2, 2, 3), group=2, strides=[2, 1]) for t in (f64, f16,
                                                                                  bf16)],
    conv_case(f32, [(1, 2, 5, 4, 6), (1, 2, 2, 3, 2)], (3, 2, 2, 3, 2), strides=[2, 1, 2]),
    conv_case(f32, [(1, 4, 3, 3, 3)], (4, 1, 2, 2, 2), group=4, pads=[1, 0, 1, 0, 1, 0]),
]


@over(FUSED)
def test_fused_matmul(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(MATMULS + GEMMS)
def test_matmul(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(EINSUMS)
def test_einsum(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(CONVS)
def test_conv(case, variant, reference_only):
    run_case(case, variant, reference_only)


# What must be refused: operator, shapes, attributes, words of the message.
REFUSED = [
    ("MatMul", [(3, 5), (4, 2)], {}, "inner sizes"),
    ("MatMul", [(2, 3, 5), (3, 5, 2)], {}, "broadcast"),
    ("Gemm", [(3, 5), (5, 2), (3, 3)], {}, "sizes of input 2"),
    ("Einsum", [(3, 4), (5, 2)], {"equation": "ij,jk->ik"}, "the sizes 4 and 5"),
    ("Einsum", [(3, 4)], {"equation": "ijk->k"}, "rank 2"),
    ("Einsum", [(3, 4)], {"equation": "ij->il"}, "result index 'l'"),
    ("Einsum", [(3, 4)], {"equation": "ii->i"}, "diagonal"),
    ("Einsum", [(3, 4)], {"equation": "i1->i"}, "expected letters"),
    ("Einsum", [(3, 4)], {"equation": "ij,jk->ik"}, "2 terms for 1 input"),
    ("Conv", [(1, 3, 9), (4, 2, 3)], {}, "channels"),
    ("Conv", [(1, 3, 9), (4, 3, 3)], {"kernel_shape": [4]}, "kernel_shape"),
    ("Conv", [(1, 3, 2), (4, 3, 4)], {}, "spatial axis 0"),
    ("Conv", [(1, 4, 9), (3, 2, 3)], {"group": 2}, "multiple of group"),
    ("Conv", [(1, 3, 9), (4, 3, 3)], {"strides": [0]}, "strides"),
    ("Conv", [(1, 3, 9), (4, 3, 3)], {"pads": [1]}, "pads"),
]


@pytest.mark.parametrize("op,shapes,attributes,words", REFUSED)
def test_refused(op, shapes, attributes, words, reference_only):
    """Contradictions are errors that name the node, when all sizes are known."""
    from ssmtest import compiler, model

    if reference_only:
        pytest.skip("needs the compiler")
    arrays = [np.zeros(shape, f32) for shape in shapes]
    proto, _ = model.single_node(op, arrays, [f32], attributes, 22, variant="static")
    with pytest.raises(compiler.CompileError) as caught:
        compiler.compile_model(proto)
    assert f"the_{op}" in caught.value.stderr and words in caught.value.stderr


@pytest.mark.parametrize("op,shapes,attributes", [
    (op, shapes, attributes) for op, shapes, attributes, words in REFUSED
    if words in ("inner sizes", "broadcast", "sizes of input 2", "the sizes 4 and 5", "diagonal",
                 "channels", "kernel_shape", "spatial axis 0", "multiple of group")])
def test_refused_at_run_time(op, shapes, attributes, reference_only):
    """The same when only the run tells the sizes."""
    from ssmtest import compiler, model, runtime

    if reference_only:
        pytest.skip("needs the compiler")
    arrays = [np.zeros(shape, f32) for shape in shapes]
    proto, remain = model.single_node(op, arrays, [f32], attributes, 22, variant="dynamic")
    session = runtime.Module(compiler.compile_model(proto)).session()
    with pytest.raises(runtime.RuntimeFailure) as caught:
        session.run({name: arrays[i] for i, name in remain.items()})
    assert f"the_{op}" in str(caught.value)
