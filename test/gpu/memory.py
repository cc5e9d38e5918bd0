#!/usr/bin/env python3
# ===- memory.py - Kernels bound by memory on a GPU ------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Sums, norms, transposes, copies of parts and products of few rows on a GPU: values against float64, time
beside a copy of the same bytes by torch.

usage: memory.py build FOLDER [--chip sm_90a] [--only NAME,..]  compiles the modules
       memory.py run FOLDER [--time] [--only NAME,..]           runs them where the GPU is; with
                                                                SSM_BUILD_DIR where libssmrt is
Time is measured in torch's memory.
"""

import ctypes
import os
import sys
from pathlib import Path

import ml_dtypes
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test" / "harness")]
import command  # noqa: E402
from ssmtest import runtime  # noqa: E402

# Name: element type, dims of the input, kind.
MODELS = {
    "softmax_f32": ("float32", "NM", "softmax"), "softmax_bf16": ("bfloat16", "NM", "softmax"),
    "layernorm_f32": ("float32", "NM", "layernorm"), "rmsnorm_bf16": ("bfloat16", "NM", "rmsnorm"),
    "rows_f32": ("float32", "NM", "rows"), "rows_f16": ("float16", "NM", "rows"),
    "largest_f32": ("float32", "NM", "largest"),
    "columns_f32": ("float32", "NM", "columns"), "columns_bf16": ("bfloat16", "NM", "columns"),
    "all_f32": ("float32", "NM", "all"), "all_f16": ("float16", "NM", "all"),
    "softmax_down_f32": ("float32", "NM", "softmax_down"),
    "softmax_down_bf16": ("bfloat16", "NM", "softmax_down"),
    "norm_down_f32": ("float32", "CNM", "norm_down"),
    "turn_f32": ("float32", "NM", "turn"), "turn_bf16": ("bfloat16", "NM", "turn"),
    "turn_i8": ("int8", "NM", "turn"), "turn_add_f32": ("float32", "NM", "turn_add"),
    "reverse_f16": ("float16", "NMC", "turn"), "swap_f64": ("float64", "CNM", "swap"),
    "pad_f16": ("float16", "CNM", "pad"), "cut_f16": ("float16", "CNM", "cut"),
    "gemv_bf16_nt": ("bfloat16", "MK", "gemv_nt"), "gemv_bf16_nn": ("bfloat16", "MK", "gemv_nn"),
    "gemv_f32_nt": ("float32", "MK", "gemv_nt"), "gemv_f32_nn": ("float32", "MK", "gemv_nn"),
}
SIZES = [(0, 5), (5, 0), (1, 1), (3, 7), (1, 4096), (7, 128), (33, 1000), (300, 4104), (5, 16384),
         (3, 20000), (2, 32768), (2, 40001), (1, 70000), (1000, 64), (4097, 24), (20000, 3),
         (1, 1000003), (1000, 1000), (129, 16), (70000, 8), (65, 2056),
         (700, 521), (24000, 17), (272, 336)]
# M, K, N
PRODUCTS = [(1, 2560, 10576), (1, 8, 8), (2, 64, 24), (3, 1000, 1000), (8, 2056, 520), (7, 40, 4104),
            (4, 4096, 16), (9, 512, 512), (1, 0, 16), (0, 64, 64), (5, 8200, 248)]
TIMED = {"gemv": [(m, k, n) for k, n in ((2560, 10576), (5120, 2560), (8192, 8192)) for m in (1, 8, 64)],
         "down": [(256, 8192), (1024, 65536), (16384, 4096)]}
BOUNDS = {"float16": 4e-3, "bfloat16": 2e-2, "float32": 2e-5, "float64": 1e-12, "int8": 0}


def build(folder, chip, only):
    import onnx
    from onnx import helper
    from ssmtest import compiler

    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in only:
        dtype, dims, kind = MODELS[name]
        dt = getattr(onnx.TensorProto, {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype,
                                                                                   dtype.upper()))
        inputs, nodes = [("x", list(dims))], []

        def node(op, given, **attributes):
            out = f"v{len(nodes)}"
            nodes.append(helper.make_node(op, given, [out], **attributes))
            return out

        def axes(*numbers):
            return node("Constant", [], value_ints=list(numbers))
        out = list(dims)
        if kind == "softmax":
            y = node("Softmax", ["x"], axis=-1)
        elif kind == "softmax_down":
            y = node("Softmax", ["x"], axis=0)
        elif kind == "norm_down":
            off = node("Sub", ["x", node("ReduceMean", ["x", axes(1)], keepdims=1)])
            squares = node("ReduceMean", [node("Mul", [off, off]), axes(1)], keepdims=1)
            small = node("Constant", [], value_float=1e-2)
            y = node("Div", [off, node("Sqrt", [node("Add", [squares, small])])])
        elif kind == "layernorm":
            inputs += [("scale", ["M"]), ("bias", ["M"])]
            y = node("LayerNormalization", ["x", "scale", "bias"], axis=-1)
        elif kind == "rmsnorm":
            inputs += [("scale", ["M"])]
            y = node("RMSNormalization", ["x", "scale"], axis=-1)
        elif kind in ("rows", "columns", "largest"):
            axis = 0 if kind == "columns" else 1
            op = "ReduceMax" if kind == "largest" else "ReduceSum"
            y, out = node(op, ["x", axes(axis)], keepdims=0), [dims[1 - axis]]
        elif kind == "all":
            y, out = node("ReduceSum", ["x"], keepdims=0), []
        elif kind == "turn":
            y, out = node("Transpose", ["x"]), out[::-1]
        elif kind == "turn_add":
            inputs += [("z", ["M", "N"])]
            y, out = node("Add", [node("Transpose", ["x"], perm=[1, 0]), "z"]), ["M", "N"]
        elif kind == "swap":
            y, out = node("Transpose", ["x"], perm=[0, 2, 1]), ["C", "M", "N"]
        elif kind == "pad":
            y, out = node("Pad", ["x", axes(0, 1, 2, 0, 1, 1)]), ["C", "N2", "M2"]
        elif kind == "cut":
            ends = [axes(1, 1), axes(-1, -2), axes(1, 2)]
            y, out = node("Slice", ["x", *ends]), ["C", "N2", "M2"]
        else:
            turned = kind == "gemv_nt"
            inputs += [("w", ["N", "K"] if turned else ["K", "N"])]
            w = node("Transpose", ["w"], perm=[1, 0]) if turned else "w"
            y, out = node("MatMul", ["x", w]), ["M", "N"]
        nodes.append(helper.make_node("Identity", [y], ["y"]))
        graph = helper.make_graph(
            nodes, name, [helper.make_tensor_value_info(n, dt, d) for n, d in inputs],
            [helper.make_tensor_value_info("y", dt, out)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
        onnx.save(model, folder / f"{name}.onnx")
        done = compiler.run_compiler([folder / f"{name}.onnx", f"--target=cuda:{chip}",
                                      "--spill-budget=0", "-o", folder / f"{name}.so"])
        if done.returncode:
            failed += 1
            print(f"{name}: {done.stderr}", flush=True)
    return failed > 0


def dtype_of(name):
    return ml_dtypes.bfloat16 if MODELS[name][0] == "bfloat16" else np.dtype(MODELS[name][0])


def make_inputs(random, name, sizes):
    _, dims, kind = MODELS[name]
    dtype = dtype_of(name)

    def draw(shape, scale=1.0):
        if dtype == np.int8:
            return random.integers(-100, 100, shape, np.int8)
        return (random.standard_normal(shape, np.float32) * scale).astype(dtype)
    if kind.startswith("gemv"):
        m, k, n = sizes
        return {"x": draw((m, k)),
                "w": draw((n, k) if kind == "gemv_nt" else (k, n), max(k, 1) ** -0.5)}
    all_sizes = dict(zip("NMC", (*sizes, 3)))
    inputs = {"x": draw([all_sizes[d] for d in dims])}
    if kind in ("layernorm", "rmsnorm"):
        inputs["scale"] = draw((sizes[1],))
    if kind == "layernorm":
        inputs["bias"] = draw((sizes[1],))
    if kind == "turn_add":
        inputs["z"] = draw(sizes[::-1])
    return inputs


def reference(name, inputs):
    """-> values in float64, and what their error is measured by."""
    kind = MODELS[name][2]
    given = {n: v if v.dtype == np.int8 else v.astype(np.float64) for n, v in inputs.items()}
    x = given["x"]
    if kind == "softmax":
        y = np.exp(x - x.max(-1, keepdims=True, initial=-np.inf))
        return y / y.sum(-1, keepdims=True), None
    if kind == "softmax_down":
        y = np.exp(x - x.max(0, keepdims=True, initial=-np.inf))
        return y / y.sum(0, keepdims=True), None
    if kind == "norm_down":
        centred = x - x.sum(1, keepdims=True) / max(x.shape[1], 1)
        squares = np.square(centred).sum(1, keepdims=True) / max(x.shape[1], 1)
        return centred / np.sqrt(squares + 1e-2), None
    if kind in ("layernorm", "rmsnorm"):
        if not x.size:
            return x, None
        centred = x - x.mean(-1, keepdims=True) if kind == "layernorm" else x
        y = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5) * given["scale"]
        return y + given.get("bias", 0), None
    if kind == "rows":
        return x.sum(1), np.abs(x).sum(1)
    if kind == "columns":
        return x.sum(0), np.abs(x).sum(0)
    if kind == "all":
        return x.sum(), np.abs(x).sum()
    if kind == "largest":
        return x.max(1), None
    if kind == "turn":
        return x.transpose(), None
    if kind == "turn_add":
        return x.T + given["z"], None
    if kind == "swap":
        return x.swapaxes(1, 2), None
    if kind == "pad":
        return np.pad(x, [(0, 0), (1, 1), (2, 1)]), None
    if kind == "cut":
        return x[:, 1:-1, 1:-2], None
    w = given["w"].T if kind == "gemv_nt" else given["w"]
    return x @ w, np.abs(x) @ np.abs(w)


def check(session, name, sizes, random):
    """-> what is wrong, or nothing."""
    inputs = make_inputs(random, name, sizes)
    expected, scale = reference(name, inputs)
    got = session.run(inputs)["y"]
    if got.shape != expected.shape:
        return f"shape {got.shape}, expected {expected.shape}"
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    # Sums by what was added, all else by its own size.
    gap = np.abs(got - expected) / (np.abs(expected) + (1 if scale is None
                                                        else np.maximum(scale, 1)))
    error = np.where(got == expected, 0, gap).max(initial=0)
    return None if error <= BOUNDS[MODELS[name][0]] else f"error {error}"


def run(folder, timed, only, most):
    seed = int(os.environ.get("SSM_TEST_SEED", int.from_bytes(os.urandom(4), "little")))
    random = np.random.default_rng(seed)
    passed = failed = 0
    for name in only:
        try:
            session = runtime.Module(folder / f"{name}.so", "cuda").session()
        except Exception as error:  # told, and counted
            print(f"FAILED {name}: {error}")
            failed += 1
            continue
        for sizes in PRODUCTS if MODELS[name][2].startswith("gemv") else SIZES:
            if most and np.prod(sizes) > most:
                continue
            if MODELS[name][2] == "largest" and sizes[1] == 0:
                continue  # NumPy has no largest of nothing
            try:
                wrong = check(session, name, sizes, random)
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


# ===--- Time ----------------------------------------------------------------===#


class Runner:
    """A module on the GPU, with tensors of torch."""

    HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)

    def __init__(self, path, stream=None):
        """With a stream of torch: runs are queued there, and kernels not timed."""
        self.lib = runtime.library()
        self.times, self.session = [], ctypes.c_void_p()
        self.module = runtime.Module(path, "cuda")
        options = ctypes.c_void_p()
        runtime.check(self.lib.ssmrt_session_options_create(ctypes.byref(options)))
        if stream is None:
            self.hook = self.HOOK(self._told)
            runtime.check(self.lib.ssmrt_session_options_set_kernel_hook(options, self.hook, None))
        else:
            pointer = ctypes.c_void_p(stream.cuda_stream)
            runtime.check(self.lib.ssmrt_session_options_set_stream(options, pointer))
            runtime.check(self.lib.ssmrt_session_options_set_graphs(options, 0))
        runtime.check(self.lib.ssmrt_session_create(self.module._handle, None, options,
                                                    ctypes.byref(self.session)))
        self.lib.ssmrt_session_options_destroy(options)

    def __del__(self):
        if self.session:
            self.lib.ssmrt_session_destroy(self.session)

    def _told(self, _, run):
        name, seconds = ctypes.c_char_p.from_address(run), ctypes.c_double.from_address(run + 16)
        self.times.append((name.value.decode(), seconds.value))

    def bind(self, inputs):
        """-> what the C API takes for them."""
        codes = {"float16": (2, 16), "bfloat16": (4, 16), "float32": (2, 32), "float64": (2, 64),
                 "int8": (0, 8), "int32": (0, 32), "int64": (0, 64), "uint8": (1, 8),
                 "bool": (6, 8)}
        given, alive = (runtime.Input * len(inputs))(), []
        for slot, (name, value) in zip(given, inputs.items()):
            shape = (ctypes.c_int64 * max(value.ndim, 1))(*value.shape)
            code, bits = codes[str(value.dtype).split(".")[1]]
            tensor = runtime.DLTensor(value.data_ptr(), 2 if value.is_cuda else 1, 0, value.ndim,
                                      runtime.DLDataType(code, bits, 1),
                                      ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64)), None, 0)
            alive += [shape, tensor]
            slot.name, slot.tensor = name.encode(), ctypes.pointer(tensor)
        given.alive = alive
        return given

    def queue(self, given):
        runtime.check(self.lib.ssmrt_session_run_async(self.session, given, len(given), None, 0))

    def run(self, inputs):
        self.times = []
        given = self.bind(inputs)
        runtime.check(self.lib.ssmrt_session_run(self.session, given, len(inputs), None, 0))


def to_torch(torch, inputs):
    """Arrays -> tensors of the GPU, of NumPy's types and bfloat16."""
    result = {}
    for name, value in inputs.items():
        kind = getattr(torch, str(value.dtype))
        same = value.view(np.int16) if value.dtype == ml_dtypes.bfloat16 else value
        result[name] = torch.from_numpy(same).cuda().view(kind)
    return result


def median(values):
    return sorted(values)[len(values) // 2]


def copy_rate(torch, size):
    """Bytes a second, read and written, of a copy that reads and writes `size` together."""
    source = torch.empty(max(size // 2, 1), dtype=torch.uint8, device="cuda")
    target, times = torch.empty_like(source), []
    for _ in range(12):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        target.copy_(source)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) * 1e-3)
    return size / median(times)


def time_queue(torch, stream, call):
    """Seconds of a call, of many in a row: shorter ones than a launch takes are not told apart."""
    times = []
    with torch.cuda.stream(stream):
        for _ in range(7):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            call(0)
            start.record(stream)
            for turn in range(60):
                call(turn)
            end.record(stream)
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end) * 1e-3 / 60)
    return median(times)


def time_models(torch, folder, only):
    rate = copy_rate(torch, 1 << 30)
    print(f"copy of 2^29 bytes: {rate / 1e12:.3f} TB/s", flush=True)
    for name in only:
        kind = MODELS[name][2]
        width = {"float64": 8, "float32": 4, "int8": 1}.get(MODELS[name][0], 2)
        rows = (1 << 26) * 4 // width // 4096
        shapes = TIMED["gemv"] if kind.startswith("gemv") else TIMED["down"] if "down" in kind else [
            (rows // 3 if "C" in MODELS[name][1] else rows, 4096)]
        for sizes in shapes:
            runner = Runner(folder / f"{name}.so")
            # Others than the last are not in the cache.
            many = 6 if kind.startswith("gemv") else 1
            random = np.random.default_rng()
            inputs = [to_torch(torch, make_inputs(random, name, sizes)) for _ in range(many)]
            times = []
            for turn in range(18):
                runner.run(inputs[turn % many])
                times.append(sum(seconds for _, seconds in runner.times))
            size = sum(v.numel() for v in inputs[0].values()) * width
            size += {"rows": 0, "largest": 0, "columns": 0, "all": 0}.get(
                kind, inputs[0]["x"].numel() if not kind.startswith("gemv") else 0) * width
            took, peer = median(times[2:]), ""
            if kind.startswith("gemv"):
                stream = torch.cuda.Stream()
                queued = Runner(folder / f"{name}.so", stream)
                given = [queued.bind(values) for values in inputs]
                took = time_queue(torch, stream, lambda turn: queued.queue(given[turn % many]))
                pairs = [(v["x"], v["w"].t() if kind == "gemv_nt" else v["w"]) for v in inputs]
                other = time_queue(torch, stream, lambda turn: torch.matmul(*pairs[turn % many]))
                peer = f", torch.matmul {other * 1e6:.1f} us"
                del queued, given, pairs
            names = "+".join(kernel.removeprefix("kernel_") for kernel, _ in runner.times)
            print(f"{name} {sizes}: {took * 1e6:.1f} us, {size / took / 1e12:.3f} TB/s, "
                  f"{size / took / rate:.2f} of copy{peer}  ({names})", flush=True)
            del runner, inputs
            torch.cuda.empty_cache()


if __name__ == "__main__":
    command.main(__doc__, MODELS, build, run, "no larger sizes than this, all multiplied")
