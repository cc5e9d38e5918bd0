# ===- limits.py - What this machine can do, on several threads ------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Measures limits.c on threads at once. Rates of several threads are the sum of what
each reaches while the others run."""

import ctypes
import functools
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from ssmtest import build


@functools.lru_cache(maxsize=None)
def library():
    path = build.BUILD / "test" / "bench-limits.so"
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["clang-22", "-O2", "-march=native", "-ffp-contract=fast",
                    "-mprefer-vector-width=512", "-shared", "-fPIC",
                    str(Path(__file__).with_name("limits.c")), "-o", str(path)], check=True)
    lib = ctypes.CDLL(str(path))
    lib.limit_fma_gflops.restype = ctypes.c_double
    lib.limit_bf16_gflops.restype = ctypes.c_double
    lib.limit_read_gbs.restype = ctypes.c_double
    lib.limit_read_gbs.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    return lib


def at_once(functions):
    """Their results, each called on a thread of its own (ctypes lets go of Python's
    lock)."""
    with ThreadPoolExecutor(len(functions)) as pool:
        return [f.result() for f in [pool.submit(function) for function in functions]]


class Limits:
    """The rates of `threads` threads."""

    def __init__(self, threads):
        self.threads = threads
        self.gflops = sum(at_once([library().limit_fma_gflops] * threads))
        bf16 = sum(at_once([library().limit_bf16_gflops] * threads))
        self.bf16_gflops = max(bf16, self.gflops)
        self.rates, self.blocks = {}, {}

    def read_gbs(self, total_bytes):
        """The rate at which that many bytes, just read, are read again: from the
        cache that holds them, or from memory."""
        size = 1 << max(16, int(total_bytes - 1).bit_length())  # few sizes are measured
        if size not in self.blocks:
            self.blocks[size] = np.ones(size // 4, np.float32)
        start, part = self.blocks[size].ctypes.data, size // self.threads
        rate = sum(at_once([functools.partial(library().limit_read_gbs, start + i * part, part)
                            for i in range(self.threads)]))
        # Measured each time, the best counts: memory is shared with other work.
        self.rates[size] = max(rate, self.rates.get(size, 0))
        return self.rates[size]

    def seconds(self, flops, moved_bytes, bf16=False):
        """The least time for a workload of so much arithmetic and traffic."""
        times = [flops / (self.bf16_gflops if bf16 else self.gflops) * 1e-9]
        if moved_bytes:
            times.append(moved_bytes / self.read_gbs(moved_bytes) * 1e-9)
        return max(times)
