# ===- matmul.py - Products of matrices on a GPU ---------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Products of matrices on a GPU: values against float64, time beside torch.

usage: matmul.py build FOLDER [--chip sm_90a] [--only NAME,..]  compiles the models
       matmul.py run FOLDER [--time] [--only NAME,..]        runs them where the GPU is; with
                                                             SSM_BUILD_DIR where libssmrt is
Sizes are odd, 0, 1, aligned and not. `--time`: in torch's memory and on its stream.
"""

import ctypes
import os
import pathlib
import sys
import time

import ml_dtypes
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test" / "harness")]
import command  # noqa: E402
from ssmtest import runtime  # noqa: E402

# Name: element type, dims of A and B as stored, whether each is transposed, parts around the product.
MODELS = {
    "f16_nn_all": ("float16", ["M", "K"], ["K", "N"], False, False, {"bias", "silu", "residual"}),
    "bf16_nt_bias": ("bfloat16", ["B", "M", "K"], ["N", "K"], False, True, {"bias"}),
    "bf16_tt_batch": ("bfloat16", ["B", "K", "M"], ["B", "N", "K"], True, True, set()),
    "f16_tn_batch": ("float16", ["B", "K", "M"], ["B", "K", "N"], True, False, {"residual"}),
    "bf16_nt_batch": ("bfloat16", ["B", "M", "K"], ["B", "N", "K"], False, True, {"residual"}),
    "f16_nn_batch": ("float16", ["B", "M", "K"], ["B", "K", "N"], False, False, {"bias"}),
    "f16_heads": ("float16", ["B", "H", "M", "K"], ["B", "H", "N", "K"], False, True, set()),
    "bf16_nt_columns": ("bfloat16", ["B", "M", "K2"], ["N", "K"], False, True, {"columns"}),
    "bf16_nt_few": ("bfloat16", ["M", "K"], [72, "K"], False, True, set()),
    "bf16_nt": ("bfloat16", ["M", "K"], ["N", "K"], False, True, set()),
    "bf16_nn": ("bfloat16", ["M", "K"], ["K", "N"], False, False, set()),
    "bf16_nt_gate": ("bfloat16", ["M", "K"], ["N", "K"], False, True, {"bias", "gate"}),
    # An epilogue in f32 with more inputs than registers are for ahead.
    "bf16_nn_long": ("bfloat16", ["M", "K"], ["K", "N"], False, False,
                     {"whole", "bias", "tanh", "gate", "residual"}),
    "f16_prologue": ("float16", ["M", "K"], ["K", "N"], False, False, {"prologue", "bias"}),
    "f32_tn_batch": ("float", ["B", "K", "M"], ["B", "K", "N"], True, False, set()),
    "f32_nt_all": ("float", ["M", "K"], ["N", "K"], False, True, {"bias", "silu", "residual"}),
    "f32_nn": ("float", ["M", "K"], ["K", "N"], False, False, set()),
    "i32_nn": ("int32", ["M", "K"], ["K", "N"], False, False, set()),
    # Bytes, exact: a zero point for each row of A, one for B, then a scale for each column and a bias.
    "i8_nn": ("int8", ["M", "K"], ["K", "N"], False, False, set()),
    "i8_nt": ("int8", ["M", "K"], ["N", "K"], False, True, set()),
    "u8_nn_all": ("uint8", ["B", "M", "K"], ["K", "N"], False, False, {"zeros", "scale"}),
    "u8_nt_scale": ("uint8", ["M", "K"], ["N", "K"], False, True, {"scale"}),
    "i8_tt_batch": ("int8", ["B", "K", "M"], ["B", "N", "K"], True, True, {"zeros"}),
    "u8_tn_batch": ("uint8", ["B", "K", "M"], ["B", "K", "N"], True, False, set()),
    # 8-bit floats, cast to f16 or bf16 for a product in f32, which is scaled.
    "e4m3_nt": ("float8_e4m3fn", ["M", "K"], ["N", "K"], False, True, {"cast", "scale"}),
    "e5m2_nt_batch": ("float8_e5m2", ["B", "M", "K"], ["B", "N", "K"], False, True, {"cast"}),
    "e4m3_nn": ("float8_e4m3fn", ["M", "K"], ["K", "N"], False, False, {"cast"}),
    "e4m3_nt_short": ("float8_e4m3fn", ["M", "K"], ["N", "K"], False, True, {"cast", "short"}),
    # On tensor cores (OPTIONS).
    "tf32_nn": ("float", ["M", "K"], ["K", "N"], False, False, set()),
    "tf32_nt": ("float", ["M", "K"], ["N", "K"], False, True, set()),
    "tf32_nt_all": ("float", ["M", "K"], ["N", "K"], False, True, {"bias", "silu", "residual"}),
    "tf32_tt_batch": ("float", ["B", "K", "M"], ["B", "N", "K"], True, True, set()),
    "tf32x3_nn": ("float", ["M", "K"], ["K", "N"], False, False, set()),
    "tf32x3_nt": ("float", ["M", "K"], ["N", "K"], False, True, {"bias"}),
    "tf32x3_tn_batch": ("float", ["B", "K", "M"], ["B", "K", "N"], True, False, set()),
}
# B, M, N, K
SIZES = [
    (2, 1, 1, 1), (3, 7, 5, 3), (1, 64, 64, 32), (2, 65, 72, 40), (1, 127, 129, 131),
    (2, 130, 136, 1000), (2, 1, 4104, 520), (1, 300, 77, 0), (2, 0, 40, 16), (1, 5, 1000, 2056),
    (3, 1032, 1160, 264), (1, 1500, 1400, 97), (2, 24, 8, 8), (1, 4096, 1, 72), (1, 8, 4104, 64),
    (1, 16, 136, 1096), (1, 40, 72, 1504), (2, 13, 72, 1026), (1, 64, 72, 1024), (3, 1, 520, 264),
    (5, 200, 328, 136), (1, 1000, 2568, 648), (1, 2056, 5000, 200), (3, 328, 8, 1), (2, 136, 256, 0),
    (2, 136, 200, 144), (1, 300, 264, 272), (70, 9, 72, 40), (33, 9, 72, 776), (2, 100, 200, 1104),
    (33, 70, 72, 776), (1, 130, 8, 2056), (1, 130, 8, 4104),
]
# Names, and torch's product beside each.
PEERS = {
    "bf16_nt": "matmul", "bf16_nn": "matmul", "f16_nn_all": "matmul", "f32_nn": "f32",
    "tf32_nn": "tf32", "tf32_nt": "tf32", "tf32x3_nn": "f32", "tf32x3_nt": "f32", "i8_nt": "int",
    "i8_nn": "int", "u8_nt_scale": "int", "e4m3_nt_short": "float8",
}
FEW_ROWS = [(16, 5120, 2560), (64, 5120, 2560)]
TIMED = [(4096, 10496, 2560), (4096, 10576, 2560), (2048, 2048, 2048), (8192, 8192, 8192),
         (4096, 2560, 5120)]
HEADS = 3
BOUNDS = {"float16": 2e-3, "bfloat16": 1.2e-2, "float": 1e-5, "int32": 0}
# Of f32 on tensor cores, relative to the sum of magnitudes: both factors are cut off to 11 bits (2^-10
# each), or to 22 (2^-21); sums of f32 lose some more.
TF32_BOUNDS = {"tf32_": 2 ** -9, "tf32x3_": 2 ** -19}
OPTIONS = {"tf32_": ["--f32-products=tf32"], "tf32x3_": ["--f32-products=tf32x3"]}
DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float": np.float32,
          "int32": np.int32, "int8": np.int8, "uint8": np.uint8,
          "float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2}
# What ONNX calls them, and where both factors are cast to.
NAMES = {"float8_e4m3fn": "FLOAT8E4M3FN", "float8_e5m2": "FLOAT8E5M2"}
# Relative to the sum of magnitudes: tensor cores add up 128 products of 8-bit floats to 14 bits.
FLOAT8_BOUND = 2 ** -12


def option(table, name, otherwise):
    """What a table of beginnings of names has for one."""
    return next((value for start, value in table.items() if name.startswith(start)), otherwise)


def build(folder, chip, only):
    import onnx
    from onnx import helper
    from ssmtest import compiler

    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in only:
        dtype, a, b, turn_a, turn_b, parts = MODELS[name]
        dt = getattr(onnx.TensorProto, NAMES.get(dtype, dtype.upper()))
        is_byte = dtype in ("int8", "uint8")
        kind_b = onnx.TensorProto.INT8 if is_byte else dt
        nodes, rank = [], len(a)

        def node(op, inputs, **attributes):
            out = f"v{len(nodes)}"
            nodes.append(helper.make_node(op, inputs, [out], **attributes))
            return out

        def swap(value, dims):
            order = list(range(len(dims)))
            order[-1], order[-2] = order[-2], order[-1]
            return node("Transpose", [value], perm=order)

        inputs = [("A", a), ("B", b)]
        left, right = "A", "B"
        if "prologue" in parts:
            inputs.append(("G", a))
            left = node("Mul", [node("Sigmoid", ["G"]), left])
        if "columns" in parts:
            ends = [node("Constant", [], value_ints=[number]) for number in (8, -16, -1)]
            left = node("Slice", [left, *ends])
        if turn_a:
            left = swap(left, a)
        if turn_b:
            right = swap(right, b)
        if is_byte:
            y = "MatMulInteger", [left, right]
            if "zeros" in parts:
                inputs += [("Z", a[:-2] + ["M", "One"]), ("zero", [])]
                y = y[0], y[1] + ["Z", "zero"]
            y = node(*y)
        else:
            if "cast" in parts:
                to = onnx.TensorProto.BFLOAT16 if "short" in parts else onnx.TensorProto.FLOAT
                left, right = (node("Cast", [x], to=to) for x in (left, right))
            y = node("MatMul", [left, right])
        if "scale" in parts:
            inputs += [("scale", ["N"]), ("bias", ["N"])]
            y = node("Mul", [node("Cast", [y], to=onnx.TensorProto.FLOAT), "scale"])
        if "whole" in parts:
            y = node("Cast", [y], to=onnx.TensorProto.FLOAT)
        if "bias" in parts or "scale" in parts:
            if "bias" in parts:
                inputs.append(("bias", ["N"]))
            y = node("Add", [y, "bias"])
        if "tanh" in parts:
            y = node("Tanh", [y])
        if "silu" in parts:
            y = node("Mul", [y, node("Sigmoid", [y])])
        out = a[:-2] + ["M", b[-2 if turn_b else -1]]
        if "gate" in parts:
            inputs.append(("gate", out))
            y = node("Mul", [y, node("Sigmoid", ["gate"])])
        if "residual" in parts:
            inputs.append(("R", out))
            y = node("Add", [y, "R"])
        nodes.append(helper.make_node("Identity", [y], ["Y"]))
        floats = {"scale", "bias"} if "scale" in parts else set()
        if "whole" in parts:
            floats = {"bias", "gate", "R"}
        types = {"B": kind_b, "zero": kind_b, **dict.fromkeys(floats, onnx.TensorProto.FLOAT)}
        out_type = dt
        if "short" in parts:
            out_type = onnx.TensorProto.BFLOAT16
        elif is_byte or parts & {"cast", "whole"}:
            out_type = onnx.TensorProto.INT32 if is_byte and "scale" not in parts else \
                onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            nodes, name,
            [helper.make_tensor_value_info(n, types.get(n, dt), [1 if d == "One" else d for d in dims])
             for n, dims in inputs], [helper.make_tensor_value_info("Y", out_type, out)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
        path = folder / f"{name}.onnx"
        onnx.save(model, path)
        done = compiler.run_compiler([path, f"--target=cuda:{chip}", "--cpu=x86-64-v3",
                                      *option(OPTIONS, name, []), "-o", path.with_suffix(".so")])
        if done.returncode:
            failed += 1
            print(f"{name}: {done.stderr}", flush=True)
    return failed


def sizes_of(dims, sizes):
    return [dict(zip("BMNK", sizes), H=HEADS, K2=sizes[3] + 24, One=1).get(d, d) for d in dims]


def make_inputs(random, model, sizes):
    dtype, a, b, _, _, parts = model

    def draw(dims, scale=1.0):
        shape = sizes_of(dims, sizes)
        if dtype == "int32":
            return random.integers(-1000, 1000, shape, np.int32)
        if "int8" in dtype:
            return random.integers(*((0, 256) if dtype == "uint8" else (-128, 128)), shape,
                                   DTYPES[dtype])
        return (random.standard_normal(shape, np.float32) * scale).astype(DTYPES[dtype])

    # The least 8-bit floats are not small.
    inputs = {"A": draw(a), "B": draw(b, 1 if "cast" in parts else max(sizes[3], 1) ** -0.5)}
    out = a[:-2] + ["M", "N"]
    if "prologue" in parts:
        inputs["G"] = draw(a)
    if "scale" in parts:
        for each in ("scale", "bias"):
            inputs[each] = random.standard_normal(sizes[2], np.float32)
    if "int8" in dtype:
        inputs["B"] = random.integers(-128, 128, sizes_of(b, sizes), np.int8)
        if "zeros" in parts:
            inputs["Z"], inputs["zero"] = draw(a[:-2] + ["M", "One"]), np.int8(-77).reshape(())
    elif "bias" in parts:
        inputs["bias"] = draw(["N"])
    if "gate" in parts:
        inputs["gate"] = draw(out)
    if "residual" in parts:
        inputs["R"] = draw(out)
    if "whole" in parts:
        inputs |= {name: inputs[name].astype(np.float32) for name in ("bias", "gate", "R")}
    return inputs


def reference(model, inputs):
    parts = model[5]
    x = {name: value.astype(np.float64) for name, value in inputs.items()}

    def sigmoid(value):
        return 1 / (1 + np.exp(-value))

    a, b = x["A"], x["B"]
    if "prologue" in parts:
        kind = inputs["A"].dtype
        gate = sigmoid(x["G"]).astype(kind).astype(np.float64)
        a = (gate * a).astype(kind).astype(np.float64)
    if "columns" in parts:
        a = a[..., 8:-16]
    a, b = (x.swapaxes(-1, -2) if turned else x for x, turned in ((a, model[3]), (b, model[4])))
    if "zeros" in parts:
        a, b = a - x["Z"], b - x["zero"]
    y = a @ b
    if "scale" in parts:
        y = y * x["scale"]
    if "whole" in parts:
        y = y.astype(inputs["A"].dtype).astype(np.float64)
    if "bias" in parts or "scale" in parts:
        y = y + x["bias"]
    if "tanh" in parts:
        y = np.tanh(y)
    if "silu" in parts:
        y = y * sigmoid(y)
    if "gate" in parts:
        y = y * sigmoid(x["gate"])
    return y + x["R"] if "residual" in parts else y


def check(session, name, sizes, random):
    """-> what is wrong, or nothing."""
    model = MODELS[name]
    inputs = make_inputs(random, model, sizes)
    got, expected = session.run(inputs)["Y"], reference(model, inputs)
    if got.shape != expected.shape:
        return f"shape {got.shape}, expected {expected.shape}"
    gap = np.abs(got.astype(np.float64) - expected)
    bound = BOUNDS.get(model[0], 0 if got.dtype == np.int32 else 1e-5)
    if (tf32 := option(TF32_BOUNDS, name, None)) or "cast" in model[5]:
        # An epilogue's slopes are below 1.1.
        largest = reference(model, {n: np.abs(v) for n, v in inputs.items()})
        bound = 1.1 * (tf32 or FLOAT8_BOUND)
        if "short" in model[5]:
            gap = np.maximum(gap - 2 ** -8 * np.abs(expected), 0)
        gap = gap / (2 ** -10 + largest)
    else:
        gap = gap / (1 + np.abs(expected))
    error = gap.max(initial=0)
    return None if error <= bound else f"error {error}"


def run(folder, timed, only, most):
    random = np.random.default_rng(int(os.environ.get("SSM_TEST_SEED", 0)) or None)
    failed = passed = 0
    for name in only:
        session = runtime.Module(folder / f"{name}.so", "cuda").session()
        for sizes in SIZES:
            if most and np.prod(sizes) > most:
                continue
            try:
                wrong = check(session, name, sizes, random)
            except runtime.RuntimeFailure as problem:
                wrong = str(problem)[:300]
            passed, failed = passed + (not wrong), failed + bool(wrong)
            if wrong:
                print(f"FAILED {name} {sizes}: {wrong}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    if timed:
        time_models(folder, only)
    return failed


# ===--- Time ----------------------------------------------------------------===#


class Tensor(ctypes.Structure):
    """DLTensor, on the GPU."""
    _fields_ = [("data", ctypes.c_void_p), ("device", ctypes.c_int32 * 2), ("ndim", ctypes.c_int32),
                ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.c_void_p),
                ("offset", ctypes.c_uint64)]

    CODES = {"torch.float16": (2, 16), "torch.bfloat16": (4, 16), "torch.float32": (2, 32),
             "torch.int32": (0, 32), "torch.int8": (0, 8), "torch.uint8": (1, 8),
             "torch.float8_e4m3fn": (10, 8)}

    def __init__(self, tensor):
        dims = (ctypes.c_int64 * max(tensor.dim(), 1))(*tensor.shape)
        super().__init__(tensor.data_ptr(), (2, 0), tensor.dim(), *self.CODES[str(tensor.dtype)], 1,
                         ctypes.cast(dims, ctypes.POINTER(ctypes.c_int64)), None, 0)
        self.alive = tensor, dims


class Input(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("tensor", ctypes.POINTER(Tensor))]


class Buffer(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t),
                ("device", ctypes.c_int32 * 2)]


class Session:
    """A module on torch's stream."""

    def __init__(self, path, stream):
        self.library, options = runtime.library(), ctypes.c_void_p()
        library = self.library
        module, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        self.check(library.ssmrt_load_options_create(ctypes.byref(options)))
        self.check(library.ssmrt_load_options_set_device(options, b"cuda"))
        self.check(library.ssmrt_module_load(str(path).encode(), options, ctypes.byref(module)))
        self.check(library.ssmrt_session_options_create(ctypes.byref(options)))
        self.check(library.ssmrt_session_options_set_stream(options, ctypes.c_void_p(stream)))
        self.check(library.ssmrt_session_options_set_graphs(options, 0))
        self.check(library.ssmrt_session_create(module, None, options, ctypes.byref(self.session)))

    def check(self, status):
        if status:
            self.library.ssmrt_last_message.restype = ctypes.c_char_p
            raise RuntimeError(self.library.ssmrt_last_message().decode())

    def bind(self, inputs, out):
        """A function that queues a run."""
        tensors = [Tensor(value) for value in inputs.values()]
        given = (Input * len(tensors))(*[(name.encode(), ctypes.pointer(tensor))
                                         for name, tensor in zip(inputs, tensors)])
        buffer = Buffer(b"Y", out.data_ptr(), out.numel() * out.element_size(), (2, 0))
        alive = tensors, out

        def call(_alive=alive):
            self.check(self.library.ssmrt_session_run_async(
                self.session, ctypes.cast(given, ctypes.POINTER(runtime.Input)), len(given),
                ctypes.cast(ctypes.byref(buffer), ctypes.POINTER(runtime.Buffer)), 1))
        return call


def burst(torch, call, seconds):
    """The mean time of a call, back to back for so long."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    count = max(3, int(seconds / (start.elapsed_time(end) * 1e-3)))
    start.record()
    for _ in range(count):
        call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / count


def time_models(folder, only):
    import torch

    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    stream = torch.cuda.Stream()
    torch.cuda.set_stream(stream)
    for name in only:
        if name in PEERS:
            time_model(torch, name, Session(folder / f"{name}.so", stream.cuda_stream))


def time_model(torch, name, session):
    """Ours and torch's turn by turn: rested, each burst of 20 ms after a pause, and hot."""
    model, peer = MODELS[name], PEERS[name]
    is_f32 = peer in ("f32", "tf32")
    torch.backends.cuda.matmul.allow_tf32 = peer == "tf32"
    for m, n, k in TIMED + FEW_ROWS * is_f32:
        inputs = {}
        for given, value in make_inputs(np.random.default_rng(), model, (1, m, n, k)).items():
            bits = torch.from_numpy(value.view(f"int{8 * value.itemsize}")).cuda()
            inputs[given] = bits.view(getattr(torch, value.dtype.name))
        kind = {"int": torch.int32, "float8": torch.bfloat16}.get(peer, inputs["A"].dtype)
        out = torch.empty((m, n), device="cuda",
                          dtype=torch.float32 if "scale" in model[5] else kind)
        ours, theirs = session.bind(inputs, out), torch.empty((m, n), dtype=kind, device="cuda")
        a = inputs["A"].transpose(-1, -2) if model[3] else inputs["A"]
        b = inputs["B"].transpose(-1, -2) if model[4] else inputs["B"]
        one = torch.ones((), device="cuda")
        calls = [ours, lambda: torch.matmul(a, b, out=theirs)]
        if peer == "int":
            a = a.view(torch.int8)  # torch has no other
            calls[1] = lambda: torch._int_mm(a, b, out=theirs)
        elif peer == "float8":
            calls[1] = lambda: torch._scaled_mm(a, b, one, one, out_dtype=kind, use_fast_accum=False)
        if {"bias", "silu", "residual"} <= model[5]:
            # The same whole, by torch's compiler.
            def whole(a, b, bias, residual):
                y = torch.matmul(a, b) + bias
                return y * torch.sigmoid(y) + residual
            compiled = torch.compile(whole, dynamic=False)
            calls.append(lambda: compiled(a, b, inputs["bias"], inputs["R"]))
            calls[-1]()
        text = f"{name} {m} x {n} x {k}:"
        for state, pause, rounds in (("rested", 0.4, 3), ("hot", 0, 8)):
            times = [[] for _ in calls]
            for _ in range(rounds):
                for which, call in enumerate(calls):
                    time.sleep(pause)
                    times[which].append(burst(torch, call, 0.02))
            mine, other, *same = (sorted(each)[len(each) // 2] for each in times)
            rate = 2e-9 * m * n * k
            text += (f" {state} {mine * 1e3:.1f} us {rate / mine:.0f} TFLOP/s, torch"
                     f" {other * 1e3:.1f} us {rate / other:.0f}, ratio {other / mine:.3f};")
            if same:
                text += f" with what follows {same[0] * 1e3:.1f} us, {same[0] / mine:.3f};"
        print(text, flush=True)


if __name__ == "__main__":
    command.main(__doc__, MODELS, build, run, "no products of more multiplications")
