# ===- test_layout_rare.py - Rare forms of layout and indexing operators ----===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""References are written here in NumPy: ONNX Runtime lacks some of these forms."""

import numpy as np
import pytest
from ssmtest import compiler, model, runtime
from ssmtest.case import (Case, bf16, boolean, f16, f32, f64, generator, i32, i64, ints, over,
                          rand, run_case, scalar, seed, u8, u32)

MIN, MAX = -(2**63), 2**63 - 1


def tensor_scatter(arrays, attributes):
    out, update = arrays[0].copy(), arrays[1]
    axis = attributes.get("axis", -2) % out.ndim
    size, steps = out.shape[axis], update.shape[axis]
    starts = arrays[2] if len(arrays) > 2 else np.zeros(out.shape[0], np.int64)
    for batch in range(out.shape[0]):
        for t in range(steps):
            at = int(starts[batch]) + t
            at = at % size if attributes.get("mode") == "circular" else at
            np.moveaxis(out[batch], axis - 1, 0)[at] = np.moveaxis(update[batch], axis - 1, 0)[t]
    return [out]


def compress(arrays, attributes):
    x, chosen = arrays
    if "axis" not in attributes:
        x = x.reshape(-1)
    axis = attributes.get("axis", 0)
    where = np.nonzero(chosen[:x.shape[axis]])[0]
    return [np.take(x, where, axis)]


def reverse_sequence(arrays, attributes):
    out = arrays[0].copy()
    time, batch = attributes.get("time_axis", 0), attributes.get("batch_axis", 1)
    view, source = (np.moveaxis(a, (batch, time), (0, 1)) for a in (out, arrays[0]))
    for row, length in enumerate(arrays[1]):
        view[row, :length] = source[row, :length][::-1]
    return [out]


def center(arrays, attributes):
    x, wanted = arrays
    axes = attributes.get("axes", range(x.ndim))
    for axis, size in zip(axes, wanted):
        have = x.shape[axis]
        if size <= have:
            x = np.take(x, range((have - size) // 2, (have - size) // 2 + size), axis)
        else:
            widths = [(0, 0)] * x.ndim
            widths[axis] = ((size - have) // 2, size - have - (size - have) // 2)
            x = np.pad(x, widths)
    return [x]


def pad(arrays, attributes):
    x, amounts = arrays[0], arrays[1].tolist()
    begins, ends = amounts[:x.ndim], amounts[x.ndim:]
    x = x[tuple(slice(max(-b, 0), n - max(-e, 0)) for b, e, n in zip(begins, ends, x.shape))]
    widths = [(max(b, 0), max(e, 0)) for b, e in zip(begins, ends)]
    return [np.pad(x, widths, mode=attributes.get("mode", "constant"))]


def space_to_depth(arrays, attributes):
    x, block = arrays[0], attributes["blocksize"]
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // block, block, w // block, block)
    order = (0, 3, 5, 1, 2, 4) if attributes.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return [x.transpose(order).reshape(n, c * block * block, h // block, w // block)]


def one_hot(arrays, attributes):
    indices, depth, (off, on) = arrays[0], int(np.reshape(arrays[1], ())), arrays[2]
    axis = attributes.get("axis", -1)
    whole = np.trunc(indices).astype(np.int64)
    if indices.dtype.kind != "u":
        whole = np.where(whole < 0, whole + depth, whole)
    hot = np.expand_dims(whole, axis)
    places = np.arange(depth).reshape([-1 if a == axis % hot.ndim else 1
                                       for a in range(hot.ndim)])
    return [np.where(hot == places, on, off)]


def batch_indices(high):
    """Replaces the write indices by random ones below `high`."""
    def prepare(arrays):
        rng = np.random.default_rng(seed() + arrays[0].size)
        return [*arrays[:2], rng.integers(0, high, arrays[0].shape[0])]
    return prepare


CASES = [
    *[Case("TensorScatter", [[rand(t, 2, 3, 7, 5), rand(t, 2, 3, 4, 5), ints(0, 3)],
                             [rand(t, 2, 1, 9, 1), rand(t, 2, 1, 4, 1), ints(5, 0)],
                             [rand(t, 2, 3, 4, 0), rand(t, 2, 3, 0, 0), ints(4, 1)]],
           opset=24, reference=tensor_scatter) for t in (f32, bf16, f16, i64)],
    Case("TensorScatter", [[rand(f32, 3, 7, 5), rand(f32, 3, 7, 2)],
                           [rand(f32, 1, 2, 4), rand(f32, 1, 2, 4)],
                           [rand(f32, 1, 2, 4), rand(f32, 1, 2, 0)]],
         {"axis": -1}, 24, reference=tensor_scatter, note="no-indices"),
    Case("TensorScatter", [[rand(f32, 3, 7, 5), rand(f32, 3, 6, 5), ints(6, 0, 10**12)],
                           [rand(f32, 3, 1, 5), rand(f32, 3, 1, 5), ints(0, 1, 2)],
                           [rand(f32, 3, 0, 5), rand(f32, 3, 0, 5), ints(0, 1, 2)]],
         {"axis": 1, "mode": "circular"}, 24, reference=tensor_scatter),
    *[Case("Compress", [[rand(t, 4, 5, 3), rand(boolean, 5)], [rand(t, 2, 9, 0), rand(boolean, 4)],
                        [rand(t, 1, 1, 1), rand(boolean, 7)], [rand(t, 1, 3, 1), rand(boolean, 0)]],
           {"axis": 1}, 11, reference=compress) for t in (f32, i64, bf16, boolean)],
    Case("Compress", [[rand(f32, 4, 5), rand(boolean, 17)], [rand(f32, 0, 5), rand(boolean, 3)]],
         opset=11, reference=compress, note="flat"),
    Case("ReverseSequence", [[rand(f32, 7, 3, 2), ints(7, 0, 4)], [rand(f32, 1, 3, 1),
                                                                 ints(1, 1, 0)]],
         opset=10, reference=reverse_sequence),
    Case("ReverseSequence", [[rand(i64, 3, 6), ints(2, 6, 1)], [rand(i64, 3, 2), ints(2, 0, 1)]],
         {"batch_axis": 0, "time_axis": 1}, 10, reference=reverse_sequence),
    Case("CenterCropPad", [[rand(f32, 7, 4, 3), ints(4, 7, 3)], [rand(f32, 4, 7, 8), ints(1, 0, 9)],
                           [rand(f32, 1, 1, 0), ints(2, 5, 1)]], reference=center),
    Case("CenterCropPad", [[rand(f32, 7, 4, 3), ints(2, 6)], [rand(f32, 3, 4, 6), ints(2, 6)]],
         {"axes": [2, 0]}, constant=(1,), reference=center, note="axes"),
    *[Case("Pad", [[rand(t, 4, 5), ints(*amounts)] for amounts in (
        (1, 2, 3, 0), (0, 0, 0, 0), (9, 11, 4, 13), (-1, 2, 3, -2), (-2, -3, 0, 1))],
        {"mode": mode}, 19, reference=pad) for mode in ("reflect", "edge", "wrap", "constant")
      for t in (f32, u8)],
    Case("Pad", [[rand(f32, 1, 3), ints(2, 0, 3, 1)]], {"mode": "reflect"}, 19, reference=pad,
         note="size-one"),
    *[Case("SpaceToDepth", [[rand(f32, 2, 3, 6, 9)], [rand(f32, 0, 1, 3, 3)]],
           {"blocksize": 3, "mode": m}, 28, reference=space_to_depth) for m in ("DCR", "CRD")],
    Case("OneHot", [[rand(u32, 3, 4, high=9), ints(6), ints(2, 5)]], opset=11, reference=one_hot,
         note="unsigned"),
    Case("OneHot", [[rand(f32, 5, low=-7, high=9), scalar(6, f32), rand(f64, 2)],
                    [rand(f32, 0), scalar(0, f32), rand(f64, 2)]],
         {"axis": 0}, 11, reference=one_hot, note="floats"),
    Case("Range", [[scalar(a, f16), scalar(b, f16), scalar(c, f16)] for a, b, c in (
        (0, 4, 0.5), (2, -3, -0.75), (1, 1, 2))], opset=27, outputs=(f16,),
        reference=lambda a, _: [np.arange(*(float(v) for v in a), dtype=np.float64)]),
    Case("Unsqueeze", [[rand(f32, 3, 4), ints(0, -1)], [rand(f32, 0, 1), ints(3, 1)],
                       [rand(f32, 2, 1), ints(1, 2)]], note="run-time-axes",
         variants=("dynamic",)),
    Case("Squeeze", [[rand(f32, 1, 4, 1, 1), ints(0, -1)], [rand(f32, 1, 1, 0, 1), ints(3, 1)],
                     [rand(f32, 2, 1, 3, 1), ints(1, -1)]], note="run-time-axes",
         variants=("dynamic",)),
    Case("Slice", [[rand(f32, 6, 9, 4), ints(*s), ints(*e), ints(*a), ints(*p)]
                   for s, e, a, p in (((1, 0), (5, -1), (0, 1), (2, 3)),
                                      ((-1, 7), (MIN, 2), (2, 1), (-1, -2)),
                                      ((MAX, 0), (MIN, MAX), (-1, 0), (MIN + 1, MAX)),
                                      ((3, 3), (3, 2), (0, -2), (1, 1)))],
         note="run-time-steps", variants=("dynamic",)),
    Case("Reshape", [[rand(f32, 4, 6), ints(*s)] for s in ((0, -1), (8, 3), (-1, 2), (-1, 24))],
         note="run-time-zeros", variants=("dynamic",)),
    Case("Reshape", [[rand(f32, 0, 6), ints(*s)] for s in ((0, 5), (7, 0), (0, 0))],
         {"allowzero": 1}, note="run-time-empty", variants=("dynamic",)),
]


@over(CASES)
def test_rare(case, variant, reference_only):
    run_case(case, variant, reference_only)


def single(op, inputs, outputs, attributes=None, opset=18, constant=()):
    """A session of one node with symbolic sizes."""
    proto, remain = model.single_node(op, inputs, outputs, attributes, opset, "", "dynamic",
                                      constant)
    session = runtime.Module(compiler.compile_model(proto)).session()
    return lambda arrays: session.run({name: arrays[i] for i, name in remain.items()})


def test_slice_of_any_bounds(reference_only):
    """Random starts and ends, far ones too; the same as arrays in Python."""
    if reference_only:
        pytest.skip("needs the compiler")
    rng = generator("slice bounds")
    for step in (1, 2, 5, -1, -3):
        axes, steps = ints(1), ints(step)
        run = single("Slice", [np.zeros((2, 3), f32), ints(0), ints(0), axes, steps], [f32],
                     constant=(3, 4))
        for _ in range(200):
            x = rng.standard_normal((2, rng.integers(0, 7))).astype(f32)
            start, end = (int(rng.choice([MIN, MIN + 1, MAX, *range(-9, 10)])) for _ in range(2))
            n = x.shape[1]
            # ONNX clamps a start before the axis to its first element for all steps.
            first = 0 if step < 0 and n and start < -n else start
            want = x[:, slice(first, end, step)]
            got = run([x, ints(start), ints(end), axes, steps])["out0"]
            np.testing.assert_array_equal(got, want, f"[{start}:{end}:{step}] of {x.shape}")


@pytest.mark.parametrize("dtype", [f32, f64, f16])
def test_top_k_of_nan(dtype, reference_only):
    """NaN is greater than every number; infinities keep their order."""
    if reference_only:
        pytest.skip("needs the compiler")
    rng = generator(f"top k {np.dtype(dtype).name}")
    for largest in (0, 1):
        run = single("TopK", [np.zeros((3, 4), dtype), ints(3)], [dtype, i64],
                     {"largest": largest}, 11)
        for n in (1, 2, 7, 64, 65):
            x = rng.choice([np.nan, np.inf, -np.inf, 0, -0.0, 1, 2.5], (4, n)).astype(dtype)
            k = int(rng.integers(0, n + 1))
            # NumPy sorts NaN last, as greatest; ties keep the lower index first.
            rank = np.where(np.isnan(x), np.inf, 0) if largest else x
            order = np.lexsort((np.broadcast_to(np.arange(n), x.shape),
                                -np.nan_to_num(x, nan=0, posinf=1e4, neginf=-1e4), -rank)
                               if largest else
                               (np.broadcast_to(np.arange(n), x.shape),
                                np.nan_to_num(x, nan=2e4, posinf=1e4, neginf=-1e4)))
            got = run([x, ints(k)])
            np.testing.assert_array_equal(got["out1"], order[:, :k])
            np.testing.assert_array_equal(got["out0"], np.take_along_axis(x, order[:, :k], 1))


def test_top_k_sorts_a_long_row(reference_only):
    if reference_only:
        pytest.skip("needs the compiler")
    x = generator("long row").integers(0, 64, (1, 20001))
    got = single("TopK", [x, ints(1)], [i64, i64], {"largest": 0}, 11)([x, ints(x.size)])
    np.testing.assert_array_equal(got["out1"][0], np.argsort(x[0], kind="stable"))


@pytest.mark.parametrize("op,function", [("ArgMax", np.argmax), ("ArgMin", np.argmin)])
def test_extreme_index_of_nan(op, function, reference_only):
    if reference_only:
        pytest.skip("needs the compiler")
    rng = generator(op)
    run = single(op, [np.zeros((3, 4), f32)], [i64], {"axis": 1, "keepdims": 0}, 13)
    last = single(op, [np.zeros((3, 4), f32)], [i64],
                  {"axis": 1, "keepdims": 0, "select_last_index": 1}, 13)
    for n in (1, 3, 17):
        x = rng.choice([np.nan, np.inf, -np.inf, 0, 1], (5, n)).astype(f32)
        np.testing.assert_array_equal(run([x])["out0"], function(x, 1))
        np.testing.assert_array_equal(last([x])["out0"], n - 1 - function(x[:, ::-1], 1))


WRONG = [
    ("TensorScatter", [np.zeros((2, 4, 3), f32), np.ones((2, 2, 3), f32), ints(0, 2)], 2,
     ints(0, 3), 24),
    ("TensorScatter", [np.zeros((2, 4, 3), f32), np.ones((2, 2, 3), f32), ints(0, 2)], 2,
     ints(-1, 2), 24),
    ("TensorScatter", [np.zeros((2, 4, 3), f32), np.ones((2, 2, 3), f32), ints(0, 0)], 1,
     np.ones((2, 5, 3), f32), 24),
    ("ReverseSequence", [np.zeros((4, 2), f32), ints(1, 4)], 1, ints(1, 5), 10),
    ("ReverseSequence", [np.zeros((4, 2), f32), ints(1, 4)], 1, ints(1, -1), 10),
    ("Unsqueeze", [np.zeros((4, 2), f32), ints(0, 1)], 1, ints(0, 4), 18),
    ("Unsqueeze", [np.zeros((4, 2), f32), ints(0, 1)], 1, ints(0, -4), 18),
    ("Squeeze", [np.zeros((1, 4, 1), f32), ints(0, 2)], 1, ints(0, 1), 18),
    ("Squeeze", [np.zeros((1, 4, 1), f32), ints(0, 2)], 1, ints(0, -3), 18),
    ("ArgMax", [np.zeros((4, 2), f32)], 0, np.zeros((0, 2), f32), 13),
    ("SpaceToDepth", [np.zeros((1, 1, 4, 4), f32)], 0, np.zeros((1, 1, 4, 3), f32), 13),
    ("Tile", [np.zeros((4, 2), f32), ints(1, 1)], 1, ints(2**40, 2**40), 13),
    ("Expand", [np.zeros((1, 1), f32), ints(1, 1)], 1, ints(2**40, 2**40), 13),
    ("Reshape", [np.zeros((4, 0), f32), ints(0, 0)], 1, ints(-1, 0), 13),
    ("CenterCropPad", [np.zeros((4, 2), f32), ints(1, 1)], 1, ints(-1, 1), 18),
]


@pytest.mark.parametrize("op,inputs,position,wrong,opset", WRONG,
                         ids=[f"{w[0]}-{i}" for i, w in enumerate(WRONG)])
def test_wrong_data_is_an_error(op, inputs, position, wrong, opset, reference_only):
    """The call fails and names the node; the session stays usable."""
    if reference_only:
        pytest.skip("needs the compiler")
    attributes = {"SpaceToDepth": {"blocksize": 2}}.get(op)
    run = single(op, inputs, [i64 if op == "ArgMax" else f32], attributes, opset)
    before = run(inputs)
    with pytest.raises(runtime.RuntimeFailure) as failure:
        run([wrong if i == position else a for i, a in enumerate(inputs)])
    assert f"the_{op}" in str(failure.value)
    np.testing.assert_array_equal(run(inputs)["out0"], before["out0"])


REFUSED = [
    ("Concat", [np.zeros((2, 3), f32), np.zeros((2, 4), f32)], {"axis": 0}, "3 and 4"),
    ("Transpose", [np.zeros((2, 3), f32)], {"perm": [0, 0]}, "permutation"),
    ("Transpose", [np.zeros((2, 3), f32)], {"perm": [0, 2]}, "permutation"),
    ("Gather", [np.zeros((2, 3), f32), ints(2)], {}, "out of range"),
    ("Gather", [np.zeros((), f32), ints(0)], {}, "out of range"),
    ("Reshape", [np.zeros((2, 3), f32), ints(4, -1)], {}, "do not divide"),
    ("Reshape", [np.zeros((2, 3), f32), ints(7)], {}, "elements"),
    ("Reshape", [np.zeros((2, 3), f32), ints(0, 0, 0)], {}, "does not have"),
    ("Slice", [np.zeros((2, 3), f32), ints(0), ints(1), ints(0), ints(0)], {}, "step"),
    ("Slice", [np.zeros((2, 3), f32), ints(0), ints(1), ints(2)], {}, "out of range"),
    ("Slice", [np.zeros((2, 3), f32), ints(0, 0), ints(1, 1), ints(1, -1)], {}, "twice"),
    ("Split", [np.zeros((2, 3), f32), ints(2, 2)], {}, "same size"),
    ("Pad", [np.zeros((2, 3), f32), ints(0, 0, 0)], {}, "expected two"),
    ("Pad", [np.zeros((2, 3), f32), ints(0, -2, 0, -2)], {}, "leave a size"),
    ("Pad", [np.zeros((2, 3), f32), ints(0, 0, 0, 0)], {"mode": "mirror"}, "mode"),
    ("TopK", [np.zeros((2, 3), f32), ints(4)], {}, "at most"),
    ("ScatterND", [np.zeros((2, 3), f32), np.zeros((1, 3), i64), np.zeros(1, f32)], {}, "1 to 2"),
    ("ScatterElements", [np.zeros((2, 3), f32), np.zeros((1, 3), i64), np.zeros((1, 2), f32)], {},
     "same size"),
    ("ScatterElements", [np.zeros((2, 3), f32), np.zeros((1, 3), i64), np.zeros((1, 3), f64)], {},
     "expected the same"),
    ("Squeeze", [np.zeros((2, 1), f32), ints(0)], {}, "expected 1"),
    ("Expand", [np.zeros((2, 3), f32), ints(2)], {}, "does not broadcast"),
    ("Tile", [np.zeros((2, 3), f32), ints(2)], {}, "expected one for each"),
    ("OneHot", [ints(1), scalar(3), ints(1, 2, 3)], {}, "the number of values"),
    ("Range", [scalar(0), scalar(3), scalar(0)], {}, "delta is 0"),
    ("ConstantOfShape", [ints(2, -1)], {}, "expected a size"),
    ("Flatten", [np.zeros((2, 3), f32)], {"axis": 3}, "out of range"),
    ("DepthToSpace", [np.zeros((1, 3, 2, 2), f32)], {"blocksize": 2}, "multiple"),
    ("DepthToSpace", [np.zeros((1, 4, 2, 2), f32)], {"blocksize": 0}, "blocksize"),
    ("CumSum", [np.zeros((2, 3), f32), scalar(2)], {}, "out of range"),
    ("NonZero", [np.zeros(3, f32), np.zeros(3, f32)], {}, "inputs"),
]


@pytest.mark.parametrize("op,inputs,attributes,says", REFUSED,
                         ids=[f"{r[0]}-{i}" for i, r in enumerate(REFUSED)])
def test_wrong_models_are_refused(op, inputs, attributes, says, reference_only):
    """The compiler's message names the node and what was expected."""
    if reference_only:
        pytest.skip("needs the compiler")
    outputs = {"TopK": [f32, i64], "Split": [f32, f32], "Range": [i64],
               "NonZero": [i64]}.get(op, [f32])
    proto, _ = model.single_node(op, inputs, outputs, attributes, 18, "", "constant"
                                 if op != "NonZero" else "static")
    with pytest.raises(compiler.CompileError) as failure:
        compiler.compile_model(proto)
    assert f"the_{op}" in str(failure.value) and says in str(failure.value)


def test_sizes_stay_provable(tmp_path, reference_only):
    """x[1:], x[:-1] and a padded x cut back have sizes that need no check."""
    from onnx import helper

    if reference_only:
        pytest.skip("needs the compiler")
    nodes = [helper.make_node("Slice", ["x", "one", "far"], ["tail"], name="tail"),
             helper.make_node("Slice", ["x", "zero", "last"], ["head"], name="head"),
             helper.make_node("Sub", ["tail", "head"], ["difference"], name="sub"),
             helper.make_node("Pad", ["difference", "pads"], ["padded"], name="pad"),
             helper.make_node("Shape", ["difference"], ["shape"], name="shape"),
             helper.make_node("Slice", ["padded", "zero", "shape"], ["cut"], name="cut"),
             helper.make_node("Add", ["cut", "difference"], ["y"], name="add")]
    proto = model.make_model(
        nodes, [("x", f32, ["n"])], [("y", f32)],
        [("zero", ints(0)), ("one", ints(1)), ("far", ints(MAX)), ("last", ints(-1)),
         ("pads", ints(0, 3))])
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    done = compiler.run_compiler([path, "--emit=tensor"])
    text = done.stdout
    assert done.returncode == 0, done.stderr
    assert "linalg.generic" in text and "ssm.check" not in text
