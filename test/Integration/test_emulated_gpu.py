# ===- test_emulated_gpu.py - Values of GPU kernels without a GPU -----------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Kernels of test/gpu on an emulated GPU (test/gpu/emulator) against NumPy in float64, and faults
in kernels, which it has to tell."""

import os
import re
import subprocess
import sys

import pytest
from ssmtest import build, planted

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402

# Script, chip, models, options of its runs. What is here takes a minute on two cores; all of
# a script takes five.
KERNELS = {
    "products_f16": ("matmul", "sm_80", "f16_nn_all,f16_tn_batch,f16_prologue", "--most=6000000"),
    "products_bf16": ("matmul", "sm_80", "bf16_nt_bias,bf16_tt_batch,bf16_nt_columns",
                      "--most=6000000"),
    "products": ("matmul", "sm_80", "f32_nt_all,f32_tn_batch,i32_nn", "--most=6000000"),
    "products_wgmma": ("matmul", "sm_90a", "bf16_tt_batch,bf16_nn_long", "--most=20000000"),
    "products_stream": ("matmul", "sm_90a", "bf16_nt_batch,f16_nn_batch,bf16_nt_columns,bf16_nt_few",
                        "--most=45000000"),
    "products_bytes": ("matmul", "sm_80", "i8_nn,u8_nn_all,u8_nt_scale,i8_tt_batch,u8_tn_batch",
                       "--most=6000000"),
    "products_8bit_wgmma": ("matmul", "sm_90a", "i8_nt,u8_nt_scale,e4m3_nt,e5m2_nt_batch",
                            "--most=22000000"),
    "products_tf32": ("matmul", "sm_80", "tf32_nn,tf32_tt_batch,tf32x3_nt,tf32x3_tn_batch,e4m3_nn",
                      "--most=6000000"),
    "products_tf32_wgmma": ("matmul", "sm_90a", "tf32_nt_all", "--most=22000000"),
    "convolutions": ("convolutions", "sm_80",
                     "bf16_3x3,bf16_line31,f16_line5,f16_groups,f16_cast,f16_wide_pads,f32_line7,"
                     "f32_groups", "--most=5000000"),
    "channels": ("convolutions", "sm_90a",
                 "bf16_channels,f32_channels_stride,f16_channels_dilated,bf16_line_channels,"
                 "f32_line_channels31", "--most=5000000"),
    "convolutions_old": ("convolutions", "sm_75", "f16_line5,f32_line7", "--most=2000000"),
    "rows": ("memory", "sm_80", "softmax_bf16,layernorm_f32,rmsnorm_bf16,rows_f16,largest_f32",
             "--most=200000"),
    "columns": ("memory", "sm_80", "columns_f32,columns_bf16,all_f32,all_f16", "--most=200000"),
    "down": ("memory", "sm_80", "softmax_down_f32,softmax_down_bf16,norm_down_f32", "--most=200000"),
    "turns": ("memory", "sm_80", "turn_f32,turn_bf16,turn_i8,turn_add_f32,reverse_f16,swap_f64",
              "--most=200000"),
    "down_clusters": ("memory", "sm_90a", "softmax_down_f32,softmax_down_bf16,norm_down_f32",
                      "--most=200000"),
    "sorts": ("sorts", "sm_80", "f32,i8_least,f64,bf16_least,f32_columns", "--most=20000"),
    "scatters": ("moves", "sm_80", "scatter_elements,scatter_add,scatter_again,scatter_rows,add_rows,"
                 "add_few,largest_rows", "--most=20000"),
    "moves": ("moves", "sm_80", "cumsum,cumsum_columns,cumsum_backward_f16,cumsum_backward_i64,"
              "argmax,gather_nd,split,nonzero,compress", "--most=20000"),
    "told_sums": ("moves", "sm_90a", "cumsum_one,cumsum_columns,cumsum_middle_i64,add_few,nonzero",
                  "--most=2300000"),
    "vector_rows": ("moves", "sm_80", "embedding,expand", "--most=4300000"),
    "picks": ("moves", "sm_80", "gather_inner,gather_elements", "--most=4300000"),
    "single_rows": ("memory", "sm_90a", "softmax_bf16,layernorm_f32", "--most=400000"),
    "segments": ("recurrences", "sm_80", "segments_where0,segments_decay0,segments_where3,"
                 "segments_ids0,segments_ids3,segments_ids_half_backward,segments_ids_bfloat16,"
                 "segments_first_where,segments_first_ids,segments_bfloat16", "--every=9"),
    "parts": ("memory", "sm_80", "pad_f16,cut_f16", "--most=3000000"),
    "few_rows": ("memory", "sm_90a", "gemv_bf16_nt,gemv_bf16_nn,gemv_f32_nt,gemv_f32_nn",
                 "--most=8000000"),
    "scans": ("recurrences", "sm_80",
              "diagonal5,per_head4x128,gated_delta2x3,open_diagonal,largest,nonlinear,total,"
              "time_first,half_backward,float64", "--every=9"),
    "steps": ("recurrences", "sm_90a",
              "diagonal16,per_head4x128,selective8_bfloat16,backward,from_zero", "--every=4"),
    "steps_across": ("recurrences", "sm_90a", "gated_delta64x33,half_backward,open_gated_delta",
                     "--every=4"),
    "windows": ("recurrences", "sm_80",
                "window,window_backward,window16,centred,delayed,swapped", "--every=9"),
    "windows_step": ("recurrences", "sm_90a", "window,window_backward,centred,swapped", "--every=6"),
    "windows_along_time": ("recurrences", "sm_80",
                           "along_time_window_half_backward,along_time_delayed_float64,"
                           "along_time_taps5,along_time_taps16,along_time_taps16_backward",
                           "--every=5"),
    "bodies": ("recurrences", "sm_80", "stabilised,states,chained,crossed,dense,mixed7",
               "--every=9"),
    "selective": ("recurrences", "sm_80",
                  "selective16_float16,selective33_bfloat16,channels_first,"
                  "channels_first_half_backward", "--every=7"),
    # Chips that nobody has run: their code adds two numbers at once, and short ones to f32.
    "later_rows": ("memory", "sm_120", "softmax_bf16,layernorm_f32,softmax_down_bf16",
                   "--most=200000"),
    "later_products": ("matmul", "sm_100", "f16_nn_all,bf16_nt_bias", "--most=6000000"),
    "later_scans": ("recurrences", "sm_120", "selective16_float16,selective33_bfloat16,window",
                    "--every=9"),
    "later_moves": ("moves", "sm_110", "cumsum,scatter_add,argmax,heads", "--most=20000"),
    "selective_wide": ("recurrences", "sm_90a", "selective_backward,selective16_bfloat16",
                       "--every=9"),
    # Strips of states that two passes of threads store, at places by any number.
    "selective_states": ("recurrences", "sm_90a", "selective160,channels_first256", "--every=13"),
    "selective_states_old": ("recurrences", "sm_80", "selective255_bfloat16,channels_first160",
                             "--every=13"),
}


def environment(chip):
    return {**os.environ, "SSM_TEST_DEVICE": f"emulated:{chip}", "SSM_TEST_TARGET": ""}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels(name, tmp_path):
    script, chip, only, options = KERNELS[name]
    make = ["pack" if script == "recurrences" else "build", f"--chip={chip}"]
    for words in (make, ["run", options]):
        done = subprocess.run(
            [sys.executable, str(build.ROOT / "test" / "gpu" / f"{script}.py"), words[0],
             str(tmp_path), "--only", only, *words[1:]],
            env=environment(chip), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed, 0 failed", done.stdout)
    assert passed and int(passed[1]) > 2 * len(only.split(",")), done.stdout


# Tests of operators whose modules were wrong on a GPU alone: constants that a branch yields,
# results that need no kernel, outs of eight axes, products without depth. And a chain of kernels that
# begin before those in front of them are done, and checks in loops that one block runs.
OPERATORS = {
    "ops/test_control_flow_forms.py": "test_if_of_other_sizes",
    "ops/test_layout.py": "Shape and scalar or Identity and 3x0",
    "ops/test_node_cases.py": "test_tile-dynamic",
    "ops/test_contractions.py": "test_gemm and dynamic",
    "ops/test_step_layers.py": "test_step_layer",
    "ops/test_matmul_bf16.py": "test_weight and 0-5",
    "Integration/test_scan_bodies.py": "test_rows and O3",
    "Integration/test_decoder.py": "test_states_grow",
}


@pytest.mark.parametrize("file", OPERATORS)
def test_operators(file):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "test/pytest.ini", f"test/{file}", "-k",
         OPERATORS[file]], cwd=build.ROOT, env=environment("sm_90a"), capture_output=True,
        text=True, check=False)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr


# What is done to the PTX of a softmax of rows, and what is told: which side of a shuffle finds
# the missing lane first, the order of threads decides.
FAULTS = {
    "barrier_of_some": (*planted.BARRIER_OF_SOME, "wait for others"),
    "missing_lane": (r"(shfl\.sync\.bfly\.b32.*), -1;", r"\1, 1;", "not in its own mask|a lane that takes no part"),
    "outside": (*planted.OUTSIDE, "outside of the device's"),
    "misaligned": (r"(st\.global\.\S+ \t\[%rd\d+)\]", r"\1+1]", "not a multiple"),
    "shared_outside": (r"(st\.shared\.\S+ \t\[%rd?\d+)\]", r"\1+100000]", "outside of shared"),
    "unknown": (r"\tret;", "\tvote.sync.maybe.pred %p1, %p1, -1;\n\tret;", "no rule of rules.py"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_told(name, tmp_path):
    *fault, told = FAULTS[name]
    module = tmp_path / "module.so"
    done = planted.compile_planted(module, "cuda:sm_80", fault, build.GPU_EMULATOR / "ptxas")
    if done.returncode == 0:
        done = subprocess.run(
            [build.tool("ssm-run"), module, "--device", "cuda", "--dim=M=3", "--dim=N=5000"],
            capture_output=True, text=True, check=False,
            env={**os.environ, "SSMRT_CUDA_DRIVER": str(build.BUILD / "lib" / "libFakeCuda.so"),
                 "SSM_FAKE_CUDA_CHIP": "sm_80"})
    assert done.returncode == 1
    assert re.search(told, done.stderr), done.stderr


TURNED_WEIGHT = """
import os, sys
import numpy as np, onnx
from builder import Builder
from onnx import TensorProto
from ssmtest import compiler, runtime

chip, folder = sys.argv[1:]
random = np.random.default_rng()
g = Builder()
x = g.input("x", ["M", 200])
weight = random.standard_normal((200, 136), np.float32)
g.output(g.add("MatMul", x, g.weight(weight)), ["M", 136], name="y")
onnx.save(g.model(), f"{folder}/m.onnx")
done = compiler.run_compiler([f"{folder}/m.onnx", f"--target=cuda:{chip}", "--f32-products=tf32",
                              "-o", f"{folder}/m.so"])
assert done.returncode == 0, done.stderr
session = runtime.Module(f"{folder}/m.so", "cuda").session()
for rows in (0, 1, 7, 33, 300):
    x = random.standard_normal((rows, 200), np.float32)
    wide, w = x.astype(np.float64), weight.astype(np.float64)
    error = np.abs(session.run({"x": x})["y"] - wide @ w)
    assert np.all(error <= 2.0**-9 * (np.abs(wide) @ np.abs(w))), (rows, error.max())
"""


@pytest.mark.parametrize("chip", ["sm_80", "sm_90a"])
def test_turned_weight(chip, tmp_path):
    """An f32 weight that lies across the depth is turned for tensor cores."""
    paths = os.pathsep.join([str(build.ROOT / "test" / "harness"), str(build.MODELS)])
    done = subprocess.run([sys.executable, "-c", TURNED_WEIGHT, chip, str(tmp_path)],
                          env={**environment(chip), "PYTHONPATH": paths}, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = subprocess.run([build.tool("ssm-run"), str(tmp_path / "m.so"), "--device", "none",
                           "--describe"], capture_output=True, text=True, check=True).stdout
    assert ("_128x64" in told) == (chip == "sm_90a"), told


def test_profile_counts(tmp_path):
    """What a module that was compiled to tell of its kernels tells of those on a GPU."""
    import onnx

    g = Builder()
    a, b, v = g.input("a", ["M", "K"]), g.input("b", ["K", "N"]), g.input("v", ["N"])
    g.output(g.add("MatMul", a, b), ["M", "N"], name="y")
    g.output(g.add("Exp", g.add("Mul", v, v)), ["N"], name="z")
    onnx.save(g.model(), tmp_path / "m.onnx")
    subprocess.run([build.tool("ssm-compile"), tmp_path / "m.onnx", "--target=cuda:sm_80",
                    f"--ptxas={build.GPU_EMULATOR / 'ptxas'}", "--profile", "-o",
                    tmp_path / "m.so"], check=True)
    told = subprocess.run(
        [build.tool("ssm-run"), tmp_path / "m.so", "--device", "cuda", "--dim=M=65", "--dim=K=40",
         "--dim=N=33", "--profile"], capture_output=True, text=True, check=True,
        env={**os.environ, "SSMRT_CUDA_DRIVER": str(build.BUILD / "lib" / "libFakeCuda.so"),
             "SSM_FAKE_CUDA_CHIP": "sm_80"})
    assert not told.stderr, told.stderr
    rows = {line.split()[0]: line.split() for line in told.stdout.splitlines()
            if line.startswith("kernel_")}
    counts = sorted((int(row[5]), int(row[6])) for row in rows.values())
    m, k, n = 65, 40, 33
    assert counts == sorted([(4 * (m * k + k * n + m * n), 2 * m * k * n), (4 * 2 * n, 2 * n)]), told
    assert all(row[-1] == "%" for row in rows.values()), told


WEIGHTS_ALONE = """
import ctypes, os, sys
import numpy as np, onnx
from builder import Builder
from ssmtest import compiler, runtime

random = np.random.default_rng()
g = Builder()
x = g.input("x", ["M", 512])
weights = [random.standard_normal((512, 512), np.float32) for _ in range(2)]
bias = random.standard_normal(512, np.float32)
y = g.add("Add", g.add("MatMul", x, g.weight(weights[0])), g.weight(bias))
g.output(g.add("MatMul", y, g.weight(weights[1])), ["M", 512], name="y")
onnx.save(g.model(), f"{sys.argv[1]}/m.onnx")
driver = ctypes.CDLL(os.environ["SSMRT_CUDA_DRIVER"])
context = ctypes.c_void_p()
assert driver.cuInit(0) == 0
assert driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
assert driver.cuCtxPushCurrent_v2(context) == 0


def free():
    left, total = ctypes.c_size_t(), ctypes.c_size_t()
    assert driver.cuMemGetInfo_v2(ctypes.byref(left), ctypes.byref(total)) == 0
    return left.value


keep = []
for target in ("cuda:sm_80", "cpu,cuda:sm_80"):
    path = f"{sys.argv[1]}/{target[:3]}.so"
    done = compiler.run_compiler([f"{sys.argv[1]}/m.onnx", f"--target={target}", "-o", path])
    assert done.returncode == 0, done.stderr
    if not keep:
        keep.append(runtime.Module(path, "cuda"))
    before = free()
    keep.append(runtime.Module(path, "cuda"))
    took = before - free()
    assert 2 * 512 * 512 * 4 <= took < 2 * 512 * 512 * 4 + 100_000, (target, took)
    value = random.standard_normal((3, 512), np.float32)
    wide = (value.astype(np.float64) @ weights[0] + bias) @ weights[1]
    np.testing.assert_allclose(keep[-1].session().run({"x": value})["y"], wide, rtol=1e-3, atol=1e-2)
"""


def test_weights_of_one_version(tmp_path):
    """What only the CPU's version has made of its weights is not on the device."""
    paths = os.pathsep.join([str(build.ROOT / "test" / "harness"), str(build.MODELS)])
    done = subprocess.run([sys.executable, "-c", WEIGHTS_ALONE, str(tmp_path)],
                          env={**environment("sm_80"), "PYTHONPATH": paths}, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
