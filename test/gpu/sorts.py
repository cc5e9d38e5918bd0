#!/usr/bin/env python3
# ===- sorts.py - Sorted rows on a GPU -------------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""TopK on a GPU, up to whole rows: indices against a stable sort by NumPy, time beside torch.

usage: sorts.py build FOLDER [--chip sm_90a] [--only NAME,..]  compiles the modules
       sorts.py run FOLDER [--time] [--only NAME,..]           runs them where the GPU is; with
                                                               SSM_BUILD_DIR where libssmrt is
Time is measured in torch's memory, of many calls in a row.
"""

import os
import sys
from pathlib import Path

import ml_dtypes
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test" / "harness"), str(Path(__file__).resolve().parent)]
import command  # noqa: E402
from memory import Runner, median, time_queue, to_torch  # noqa: E402
from ssmtest import runtime  # noqa: E402

# Name: element type, axis, whether the largest are asked for.
MODELS = {
    "f32": ("float32", 1, True), "f32_least": ("float32", 1, False),
    "f32_columns": ("float32", 0, True), "f16": ("float16", 1, True),
    "bf16_least": ("bfloat16", 1, False), "f64": ("float64", 1, False),
    "i8_least": ("int8", 1, False), "u8": ("uint8", 1, True), "i32": ("int32", 1, True),
    "i64_least": ("int64", 1, False),
}
# Rows, elements, how many are asked for.
SIZES = [(9, 1, 1), (300, 8, 3), (4, 33, 33), (3, 128, 128), (4, 129, 60), (2, 257, 9),
         (5, 1000, 1000), (3, 1024, 1024), (0, 5000, 3), (3, 0, 0), (2, 5000, 0), (3, 1025, 1025), (2, 2048, 1500), (3, 2049, 2049),
         (5, 4095, 4095), (2, 4096, 50), (2, 4097, 4097), (3, 9001, 1025), (2, 9001, 4096),
         (2, 9001, 9001), (1, 9001, 7), (1, 30011, 4096), (1, 30011, 30011), (2, 20000, 5000),
         (1, 1 << 17, 1), (2, 131072, 131072), (1, 600007, 600007), (3, 200000, 2048)]
TIMED = [(1, 50280, 4096), (64, 50280, 4096), (1, 50280, 50280), (64, 50280, 50280),
         (4096, 4096, 4096), (4096, 4096, 50), (1, 1 << 20, 1 << 20), (1, 1 << 20, 50),
         (1, 1 << 24, 1 << 24), (1, 50280, 50), (64, 50280, 50), (4096, 1000, 1000)]


def build(folder, chip, only):
    import onnx
    from onnx import helper
    from ssmtest import compiler

    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in only:
        dtype, axis, largest = MODELS[name]
        dt = getattr(onnx.TensorProto, {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype,
                                                                                   dtype.upper()))
        out = ["N", "K"] if axis else ["K", "M"]
        graph = helper.make_graph(
            [helper.make_node("TopK", ["x", "k"], ["v", "i"], axis=axis, largest=int(largest))],
            name, [helper.make_tensor_value_info("x", dt, ["N", "M"]),
                   helper.make_tensor_value_info("k", onnx.TensorProto.INT64, [1])],
            [helper.make_tensor_value_info("v", dt, out),
             helper.make_tensor_value_info("i", onnx.TensorProto.INT64, out)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=11)
        onnx.save(model, folder / f"{name}.onnx")
        done = compiler.run_compiler([folder / f"{name}.onnx", f"--target=cuda:{chip}",
                                      "--spill-budget=0", "-o", folder / f"{name}.so"])
        if done.returncode:
            failed += 1
            print(f"{name}: {done.stderr}", flush=True)
    return failed > 0


def make_input(random, name, rows, size, few):
    """`few`: of few values, with NaN, infinities and both zeros if there are such."""
    dtype, axis, _ = MODELS[name]
    dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        low, high = (max(info.min, -3), 3) if few else (info.min, info.max)
        x = random.integers(low, high, (rows, size), dtype, endpoint=True)
    else:
        x = random.standard_normal((rows, size)).astype(np.float32)
        if few:
            special = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -1.5], np.float32)
            x = np.where(random.random(x.shape) < 0.5, random.choice(special, x.shape), np.round(x))
        x = x.astype(dtype)
    return np.ascontiguousarray(x if axis else x.T)


def reference(name, x, k):
    """-> indices: NaN is the greatest, equal ones by their place."""
    _, axis, largest = MODELS[name]
    rows = x if axis else x.T
    wide = rows.astype(np.float64) if rows.dtype.kind not in "iu" else rows
    # Ranks are integers that can be negated.
    ranks = np.stack([np.unique(row, return_inverse=True)[1] for row in wide]) if rows.size else \
        np.zeros(rows.shape, np.int64)
    order = np.argsort(-ranks if largest else ranks, axis=1, kind="stable")[:, :k]
    return order if axis else order.T


def check(session, name, sizes, random, few):
    """-> what is wrong, or nothing."""
    rows, size, k = sizes
    x = make_input(random, name, rows, size, few)
    got = session.run({"x": x, "k": np.array([k], np.int64)})
    expected = reference(name, x, k)
    if got["i"].shape != expected.shape:
        return f"shape {got['i'].shape}, expected {expected.shape}"
    if not np.array_equal(got["i"], expected):
        wrong = np.argwhere(got["i"] != expected)
        return f"{len(wrong)} indices differ, first at {wrong[0]}"
    values = np.take_along_axis(x, expected, MODELS[name][1])
    same = got["v"].view(f"u{x.itemsize}") == values.view(f"u{x.itemsize}")
    return None if same.all() else "values differ"


def run(folder, timed, only, most):
    seed = int(os.environ.get("SSM_TEST_SEED", int.from_bytes(os.urandom(4), "little")))
    random = np.random.default_rng(seed)
    passed = failed = 0
    for name in only:
        session = runtime.Module(folder / f"{name}.so", "cuda").session()
        for number, sizes in enumerate(SIZES):
            if most and sizes[0] * sizes[1] > most:
                continue
            try:
                wrong = check(session, name, sizes, random, few=(number + len(name)) % 2)
            except Exception as error:  # told, and counted
                wrong = f"{type(error).__name__}: {error}"[:300]
            passed, failed = passed + (not wrong), failed + bool(wrong)
            if wrong:
                print(f"FAILED {name} {sizes}: {wrong}", flush=True)
    print(f"{passed} passed, {failed} failed (seed {seed})", flush=True)
    if timed:
        import torch

        time_models(torch, folder, only)
    return failed > 0


def time_models(torch, folder, only):
    for name in only:
        if not MODELS[name][1] or MODELS[name][0].startswith("u"):
            continue
        stream = torch.cuda.Stream()
        for sizes in TIMED if name == "f32" else [(1, 1 << 20, 1 << 20), (64, 50280, 50280)]:
            rows, size, k = sizes
            random = np.random.default_rng()
            inputs = to_torch(torch, {"x": make_input(random, name, rows, size, few=False)})
            inputs["k"] = torch.tensor([k])
            plain, queued = Runner(folder / f"{name}.so"), Runner(folder / f"{name}.so", stream)
            times = []
            for _ in range(6):
                plain.run(inputs)
                times.append(sum(seconds for _, seconds in plain.times))
            given = queued.bind(inputs)
            took = time_queue(torch, stream, lambda turn: queued.queue(given))
            x, largest = inputs["x"], MODELS[name][2]
            peers = {"topk": lambda turn: torch.topk(x, k, largest=largest)}
            if k == size:
                peers["sort"] = lambda turn: torch.sort(x, stable=True, descending=largest)
            others = {peer: time_queue(torch, stream, call) for peer, call in peers.items()}
            names = {}
            for kernel, seconds in plain.times:
                names[kernel] = names.get(kernel, 0) + seconds
            told = ", ".join(f"{kernel.removeprefix('kernel_')} {seconds * 1e6:.0f}"
                             for kernel, seconds in names.items())
            print(f"{name} {sizes}: {took * 1e6:.1f} us queued, {median(times) * 1e6:.1f} in "
                  "kernels; torch "
                  + ", ".join(f"{peer} {seconds * 1e6:.1f}" for peer, seconds in others.items())
                  + f"  ({told})", flush=True)
            del plain, queued, inputs
            torch.cuda.empty_cache()


if __name__ == "__main__":
    command.main(__doc__, MODELS, build, run, "no more elements than this")
