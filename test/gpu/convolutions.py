#!/usr/bin/env python3
# ===- convolutions.py - Convolutions on a GPU -----------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Convolutions on a GPU: values against float64, time beside torch (cuDNN, channels first).

usage: convolutions.py build FOLDER [--chip sm_90a] [--only NAME,..]  compiles the models
       convolutions.py run FOLDER [--time] [--only NAME,..]        runs them where the GPU is; with
                                                                   SSM_BUILD_DIR where libssmrt is
Sizes are odd, 0, 1, aligned and not.
"""

import os
import pathlib
import sys

import ml_dtypes
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test" / "harness"), str(ROOT / "test" / "gpu")]
import command  # noqa: E402
from ssmtest import runtime  # noqa: E402


def conv(kind, weights, sizes, timed=(), parts=(), fixed=None, **attributes):
    """`weights`: [out channels, channels of a group, taps..]; `sizes`: of [batch, spatial axes..];
    `fixed`: spatial sizes that the model fixes."""
    return kind, weights, sizes, timed, parts, fixed, attributes


PLANE = [(1, 1, 1), (2, 7, 9), (3, 8, 16), (1, 28, 28), (0, 5, 5), (2, 0, 8), (5, 13, 8)]
LINE = [(1, 1), (2, 40), (3, 77), (1, 130), (2, 0)]
MODELS = {
    "bf16_3x3": conv("bfloat16", [64, 64, 3, 3], PLANE, [(64, 56, 56), (8, 28, 28)],
                     {"bias", "relu"}, pads=[1] * 4),
    "bf16_3x3_deep": conv("bfloat16", [256, 256, 3, 3], [(1, 7, 7)], [(8, 28, 28), (1, 7, 7)],
                          pads=[1] * 4),
    "bf16_7x7": conv("bfloat16", [64, 3, 7, 7], [(1, 12, 13), (2, 32, 32), (1, 2, 1)],
                     [(1, 224, 224), (32, 224, 224)], {"bias"}, pads=[3] * 4, strides=[2, 2]),
    "bf16_1x1": conv("bfloat16", [64, 256, 1, 1], [(2, 8, 8), (1, 7, 7)],
                     [(64, 56, 56), (8, 28, 28), (8, 14, 14)], {"bias"}),
    "bf16_1x1_stride": conv("bfloat16", [40, 24, 1, 1], PLANE[1:4], [(8, 56, 56)],
                            strides=[2, 2]),
    "bf16_line3": conv("bfloat16", [256, 256, 3], [(1, 9), (2, 64)], [(8, 4096)], pads=[1, 1]),
    "bf16_line31": conv("bfloat16", [64, 64, 31], LINE, [(8, 4096)], pads=[15, 15]),
    "f16_line5": conv("float16", [48, 20, 5], LINE[:4], [], {"residual"}, pads=[4, 3],
                      dilations=[2]),
    "f16_groups": conv("float16", [64, 16, 3, 3], PLANE, [(8, 56, 56)], {"residual"},
                       pads=[1] * 4, group=4),
    "f16_valid": conv("float16", [33, 10, 2, 3], [(1, 2, 3), (2, 9, 10)], dilations=[2, 1],
                      strides=[1, 3]),
    "f16_cast": conv("float16", [24, 16, 3, 3], PLANE[:4], [], {"cast"}, pads=[1] * 4),
    "f16_cube": conv("float16", [16, 9, 3, 3, 3], [(1, 4, 5, 6), (2, 1, 3, 8)],
                     pads=[1] * 6, strides=[1, 2, 1]),
    "f16_same": conv("float16", [16, 8, 4, 3], PLANE[1:4], auto_pad="SAME_LOWER"),
    "f16_wide_pads": conv("float16", [16, 8, 2, 2], [(1, 1, 1), (2, 3, 5), (1, 0, 3)],
                          pads=[3, 2, 3, 2]),
    "f32_3x3": conv("float", [64, 20, 3, 3], PLANE, [(64, 56, 56)], {"bias", "relu"},
                    pads=[1, 0, 1, 2]),
    "f32_line7": conv("float", [40, 24, 7], LINE, [(8, 4096)], pads=[3, 3], strides=[2]),
    "f32_groups": conv("float", [32, 6, 3, 3], PLANE, [], {"residual"}, pads=[1] * 4, group=2),
    "bf16_channels": conv("bfloat16", [64, 1, 3, 3], PLANE, [(64, 56, 56), (64, 112, 112)],
                          pads=[1] * 4, group=64),
    "f32_channels_stride": conv("float", [24, 1, 3, 5], PLANE, [(64, 112, 112)], {"bias"},
                                pads=[1, 2, 1, 2], strides=[2, 2], group=24),
    "f16_channels_dilated": conv("float16", [24, 1, 3, 3], PLANE, [(64, 56, 56)], {"bias", "relu"},
                                 pads=[2] * 4, dilations=[2, 2], group=24),
    "bf16_channels_fixed": conv("bfloat16", [64, 1, 5, 5], [(1,), (3,)], [(128,)], {"bias"},
                                fixed=(48, 56), pads=[2] * 4, group=64),
    "bf16_line_channels": conv("bfloat16", [40, 1, 7], LINE, [(64, 16384)], pads=[3, 3],
                               group=40),
    "f32_line_channels31": conv("float", [40, 1, 31], LINE, [(64, 8192)], pads=[15, 15],
                                group=40),
}
BOUNDS = {"float16": 2e-3, "bfloat16": 1.2e-2, "float": 1e-5}
DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float": np.float32}


def build(folder, chip, only):
    import onnx
    from onnx import helper
    from ssmtest import compiler

    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in only:
        kind, weights, _, _, parts, fixed, attributes = MODELS[name]
        dt = getattr(onnx.TensorProto, kind.upper())
        axes = list(fixed or "HWD"[:len(weights) - 2])
        channels = weights[1] * attributes.get("group", 1)
        nodes = []

        def node(op, inputs, **attributes):
            nodes.append(helper.make_node(op, inputs, [f"v{len(nodes)}"], **attributes))
            return nodes[-1].output[0]

        source = onnx.TensorProto.FLOAT if "cast" in parts else dt
        inputs = [("x", source, ["N", channels, *axes]), ("w", dt, weights)]
        x = node("Cast", ["x"], to=dt) if "cast" in parts else "x"
        if "bias" in parts:
            inputs.append(("b", dt, weights[:1]))
        y = node("Conv", [x, "w"] + ["b"] * ("bias" in parts), **attributes)
        if "relu" in parts:
            y = node("Relu", [y])
        out = ["N", weights[0], *[f"out{axis}" for axis in axes]]
        if "residual" in parts:
            inputs.append(("r", dt, out))
            y = node("Add", [y, "r"])
        nodes.append(helper.make_node("Identity", [y], ["Y"]))
        graph = helper.make_graph(
            nodes, name, [helper.make_tensor_value_info(*each) for each in inputs],
            [helper.make_tensor_value_info("Y", dt, out)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)],
                                  ir_version=10)
        path = folder / f"{name}.onnx"
        onnx.save(model, path)
        done = compiler.run_compiler([path, f"--target=cuda:{chip}", "--cpu=x86-64-v3", "-o",
                                      path.with_suffix(".so")])
        if done.returncode:
            failed += 1
            print(f"{name}: {done.stderr}", flush=True)
    return failed


def geometry(model, sizes):
    """-> spatial sizes, strides, dilations, pads in front and behind, sizes of the out."""
    _, weights, _, _, _, fixed, attributes = model
    space = tuple(fixed or sizes[1:])
    rank = len(space)
    strides = attributes.get("strides", [1] * rank)
    dilations = attributes.get("dilations", [1] * rank)
    spans = [(taps - 1) * dilation + 1 for taps, dilation in zip(weights[2:], dilations)]
    pads = attributes.get("pads", [0] * 2 * rank)
    before, behind = list(pads[:rank]), list(pads[rank:])
    if attributes.get("auto_pad") == "SAME_LOWER":
        for axis in range(rank):
            out = -(-space[axis] // strides[axis])
            total = max((out - 1) * strides[axis] + spans[axis] - space[axis], 0)
            before[axis], behind[axis] = total - total // 2, total // 2
    out = [max((size + b + e - span) // stride + 1, 0)
           for size, b, e, span, stride in zip(space, before, behind, spans, strides)]
    return space, strides, dilations, before, behind, out


def make_inputs(random, model, sizes):
    kind, weights, _, _, parts, _, attributes = model
    space, *_, out = geometry(model, sizes)

    def draw(*shape, scale=1.0):
        return (random.standard_normal(shape, np.float32) * scale).astype(DTYPES[kind])

    inputs = {"x": draw(sizes[0], weights[1] * attributes.get("group", 1), *space),
              "w": draw(*weights, scale=np.prod(weights[1:]) ** -0.5)}
    if "cast" in parts:
        inputs["x"] = inputs["x"].astype(np.float32)
    if "bias" in parts:
        inputs["b"] = draw(weights[0])
    if "residual" in parts:
        inputs["r"] = draw(sizes[0], weights[0], *out)
    return inputs


def reference(model, sizes, inputs):
    _, weights, _, _, parts, _, attributes = model
    _, strides, dilations, before, behind, out = geometry(model, sizes)
    group = attributes.get("group", 1)
    x, w = inputs["x"].astype(np.float64), inputs["w"].astype(np.float64)
    x = np.pad(x, [(0, 0), (0, 0), *zip(before, behind)])
    x = x.reshape(x.shape[0], group, weights[1], *x.shape[2:])
    w = w.reshape(group, weights[0] // group, *weights[1:])
    y = np.zeros((x.shape[0], group, weights[0] // group, *out))
    for tap in np.ndindex(*weights[2:]):
        part = x[(slice(None),) * 3 + tuple(
            slice(at * d, at * d + (n - 1) * s + 1 if n else at * d, s)
            for at, d, n, s in zip(tap, dilations, out, strides))]
        y += np.einsum("ngc...,goc->ngo...", part, w[(...,) + tap])
    y = y.reshape(x.shape[0], weights[0], *out)
    if "bias" in parts:
        y += inputs["b"].astype(np.float64).reshape(-1, *[1] * len(out))
    if "relu" in parts:
        y = np.maximum(y, 0)
    return y + inputs["r"].astype(np.float64) if "residual" in parts else y


def check(session, model, sizes, random):
    """-> what is wrong, or nothing."""
    inputs = make_inputs(random, model, sizes)
    got, expected = session.run(inputs)["Y"], reference(model, sizes, inputs)
    if got.shape != expected.shape:
        return f"shape {got.shape}, expected {expected.shape}"
    gap = np.abs(got.astype(np.float64) - expected) / (1 + np.abs(expected))
    error = gap.max(initial=0)
    return None if error <= BOUNDS[model[0]] else f"error {error}"


def run(folder, timed, only, most):
    random = np.random.default_rng(int(os.environ.get("SSM_TEST_SEED", 0)) or None)
    failed = passed = 0
    for name in only:
        model = MODELS[name]
        session = runtime.Module(folder / f"{name}.so", "cuda").session()
        for sizes in [*model[2], *(model[3] if timed else ())]:
            work = np.prod(geometry(model, sizes)[-1]) * sizes[0] * np.prod(model[1])
            if work > (most or 2e8):
                continue
            try:
                wrong = check(session, model, sizes, random)
            except runtime.RuntimeFailure as problem:
                wrong = str(problem)[:300]
            passed, failed = passed + (not wrong), failed + bool(wrong)
            if wrong:
                print(f"FAILED {name} {sizes}: {wrong}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    if timed:
        time_models(folder, only)
    return failed


def time_models(folder, only):
    """Ours and torch's turn by turn; bytes are those of input, weights and out."""
    import torch
    from matmul import burst
    from memory import Runner

    torch.backends.cudnn.benchmark = True
    stream = torch.cuda.Stream()
    torch.cuda.set_stream(stream)
    source = torch.empty(1 << 29, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy = 2e-6 * source.numel() / burst(torch, lambda: target.copy_(source), 0.02)
    print(f"copy of 2^29 bytes: {copy:.0f} GB/s", flush=True)
    del source, target
    for name in only:
        model = MODELS[name]
        kind, weights, _, timed, parts, _, attributes = model
        session = Runner(folder / f"{name}.so", stream) if timed else None
        for sizes in timed:
            _, strides, dilations, before, behind, out = geometry(model, sizes)
            inputs = {given: torch.from_numpy(
                value.view(np.int16 if value.itemsize == 2 else np.int32)).cuda().view(
                    getattr(torch, {"float": "float32"}.get(kind, kind)))
                for given, value in make_inputs(np.random.default_rng(), model, sizes).items()}
            result = torch.empty((sizes[0], weights[0], *out), dtype=inputs["x"].dtype,
                                 device="cuda")
            function = getattr(torch.nn.functional, f"conv{len(out)}d")
            given = session.bind(inputs)

            def ours():
                session.queue(given)

            def theirs():
                function(inputs["x"], inputs["w"], inputs.get("b"), strides, before, dilations,
                         attributes.get("group", 1))

            times = [[], []]
            for _ in range(3):
                for which, call in enumerate((ours, theirs)):
                    times[which].append(burst(torch, call, 0.01))
            mine, other = (sorted(each)[1] for each in times)
            size = sum(v.numel() * v.element_size() for v in [*inputs.values(), result])
            work = 2e-9 * np.prod(out) * sizes[0] * np.prod(weights)
            print(f"{name} {sizes}: {mine * 1e3:.1f} us, {work / mine:.1f} TFLOP/s,"
                  f" {1e-6 * size / mine / copy:.2f} of copy; torch {other * 1e3:.1f} us,"
                  f" ratio {other / mine:.2f}", flush=True)
            del inputs, result, given
            torch.cuda.empty_cache()


if __name__ == "__main__":
    command.main(__doc__, MODELS, build, run, "no convolutions of more multiplications")
