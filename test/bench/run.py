# ===- run.py - Speed beside ONNX Runtime and the machine's limits ----------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Times compiled modules and ONNX Runtime on the same models, turn by turn in one
process, and the limits of the machine in the same run.

usage: build/venv/bin/python test/bench/run.py [--threads N]... [NAME]...

Each row: best times of both, their ratio (above 1: ours is faster), the time that
the limit allows, and our share of it. Limits count floating point operations at
the measured multiply-add rate, or weight bytes at the measured read rate; they are
for one thread. Trust ratios to about 15 % on a machine with other work.
"""

import argparse
import ctypes
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test" / "harness"), str(ROOT / "test" / "models"),
                str(ROOT / "tools" / "scripts")]
import mamba  # noqa: E402
import typeseg  # noqa: E402
from builder import Builder  # noqa: E402
from ssmtest import build, compiler, runtime  # noqa: E402

f32 = np.float32
SECONDS = 2.0  # at least that long for each row and side
D, N, WIDTH, RANK = 1536, 16, 768, 48


class Limits:
    def __init__(self):
        library = build.BUILD / "test" / "bench-limits.so"
        subprocess.run(["clang-22", "-O2", "-march=native", "-ffp-contract=fast", "-mprefer-vector-width=512", "-shared", "-fPIC",
                        str(Path(__file__).with_name("limits.c")), "-o", str(library)], check=True)
        lib = ctypes.CDLL(str(library))
        lib.limit_fma_gflops.restype = ctypes.c_double
        lib.limit_read_gbs.restype = ctypes.c_double
        lib.limit_read_gbs.argtypes = [ctypes.c_void_p, ctypes.c_int64]
        self.gflops = lib.limit_fma_gflops()
        block = np.ones(16 << 20, np.uint8).view(f32)
        self.read_gbs = lib.limit_read_gbs(block.ctypes.data, block.nbytes)


def matmul(size=768):
    g = Builder()
    x = g.input("x", [size, size])
    w = np.random.default_rng(1).standard_normal((size, size)).astype(f32)
    g.output(g.add("MatMul", x, g.weight(w)), [size, size], name="y")
    return g.model()


def scan(length):
    """The recurrence of a Mamba-1 block alone, everything in the Scan's body."""
    g = Builder()
    state = g.input("state", ["batch", D, N])
    names = [g.input(n, ["length", "batch", D]) for n in ("dt", "u")]
    names += [g.input(n, ["length", "batch", N]) for n in ("b", "c")]
    a = g.weight(-np.tile(np.arange(1, N + 1, dtype=f32), (D, 1)))
    last, y = g.add("Scan", state, *names, count=2, num_scan_inputs=4,
                    body=mamba.scan_step(a, g.weight(np.ones(D, f32))))
    g.output(y, ["length", "batch", D], name="y")
    g.output(last, ["batch", D, N], name="last")
    return g.model()


def scan_inputs(rng, length):
    return {"state": np.zeros((1, D, N), f32),
            "dt": rng.uniform(0.001, 0.1, (length, 1, D)).astype(f32),
            "u": rng.standard_normal((length, 1, D), f32),
            "b": rng.standard_normal((length, 1, N), f32),
            "c": rng.standard_normal((length, 1, N), f32)}


def block_inputs(rng, length):
    return {"hidden": rng.standard_normal((1, length, WIDTH), f32),
            "past_conv": np.zeros((1, D, 3), f32), "past_ssm": np.zeros((1, D, N), f32)}


def block_flops(length):
    return 2 * length * (WIDTH * 2 * D + D * (RANK + 2 * N) + RANK * D + D * WIDTH)


def workloads():
    """name -> (model or path, inputs, floating point operations, weight bytes)."""
    rng = np.random.default_rng(2)
    block = mamba.block(width=WIDTH, inner=D, state=N, rank=RANK, kernel=4)
    block_bytes = 4 * (block_flops(1) // 2)
    # A state update is about 12 vector operations, as 6 multiply-adds.
    yield "scan L=1024", scan(1024), scan_inputs(rng, 1024), 12 * 1024 * D * N, 0
    yield "block L=1", block, block_inputs(rng, 1), 0, block_bytes
    yield "block L=1024", block, block_inputs(rng, 1024), \
        block_flops(1024) + 12 * 1024 * D * N, 0
    yield "matmul 768", matmul(), {"x": rng.standard_normal((768, 768), f32)}, 2 * 768**3, 0
    try:
        path = typeseg.fetch(build.DOWNLOADS)[0]
    except OSError as error:
        print(f"typeseg is left out: {error}")
        return
    # 2.8 MFLOP of matrices and 49k exponentials a token.
    yield "typeseg T=512", path, {"ids": rng.integers(0, 130, 512)}, \
        512 * (2.8e6 + 12 * 49152), 0


def peer_session(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def best_times(ours, peer):
    """Turn by turn, so that both meet the same neighbours. Seconds."""
    best = [float("inf"), float("inf")]
    start = time.perf_counter()
    while time.perf_counter() - start < 2 * SECONDS:
        for side, call in enumerate((ours, peer)):
            begin = time.perf_counter()
            call()
            best[side] = min(best[side], time.perf_counter() - begin)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, action="append")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    limits = Limits()
    print(f"limits of one thread: {limits.gflops:.0f} GFLOP/s, {limits.read_gbs:.0f} GB/s from L3")
    print(f"{'':16}{'threads':>8}{'ours ms':>10}{'ORT ms':>10}{'ratio':>8}{'limit ms':>10}{'share':>8}")
    for name, model, inputs, flops, weight_bytes in workloads():
        if arguments.names and not any(word in name for word in arguments.names):
            continue
        module_path = compiler.compile_model(model)
        begin = time.perf_counter()
        module = runtime.Module(module_path)
        load = time.perf_counter() - begin
        limit = max(flops / limits.gflops, weight_bytes / limits.read_gbs) * 1e-9
        for threads in arguments.threads or [1, 2]:
            session = module.session(threads=threads)
            peer = peer_session(model, threads)
            bound = session.bind(inputs)
            ours, theirs = best_times(bound, lambda: peer.run(None, inputs))
            print(f"{name:16}{threads:8}{ours * 1e3:10.3f}{theirs * 1e3:10.3f}{theirs / ours:8.2f}"
                  f"{limit * 1e3:10.3f}{limit / ours:8.0%}", flush=True)
        print(f"{'':16}module loaded in {load * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
