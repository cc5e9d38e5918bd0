# ===- expand_half.py - Conversions of f16 against NumPy -------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Compares ssm-expand-half with NumPy, on vectors and without F16C.

usage: expand_half.py SCRATCH
"""
import ctypes
import os
import random
import subprocess
import sys

import numpy as np

FUNCTION = """
func.func @{name}(%in: memref<?x{source}>, %out: memref<?x{result}>) attributes {{llvm.emit_c_interface}} {{
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %size = memref.dim %in, %c0 : memref<?x{source}>
  scf.for %at = %c0 to %size step %c16 {{
    %x = vector.load %in[%at] : memref<?x{source}>, vector<16x{source}>
    %v = arith.{op} %x : vector<16x{source}> to vector<16x{result}>
    vector.store %v, %out[%at] : memref<?x{result}>, vector<16x{result}>
  }}
  return
}}
"""
PASSES = [
    "-ssm-expand-half=f16=true", "-convert-scf-to-cf", "-convert-vector-to-llvm",
    "-finalize-memref-to-llvm", "-convert-func-to-llvm", "-convert-arith-to-llvm",
    "-convert-cf-to-llvm", "-convert-index-to-llvm", "-reconcile-unrealized-casts"]


class Memref(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("data", ctypes.c_void_p), ("offset", ctypes.c_int64),
                ("size", ctypes.c_int64), ("stride", ctypes.c_int64)]

    def __init__(self, array):
        super().__init__(array.ctypes.data, array.ctypes.data, 0, array.size, 1)


def run(command, data=None):
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


def build(scratch):
    with open(scratch + ".mlir", "w") as file:
        for name, op, source, result in (("widen", "extf", "f16", "f32"),
                                         ("half", "truncf", "f32", "f16"),
                                         ("brain", "truncf", "f32", "bf16")):
            file.write(FUNCTION.format(name=name, op=op, source=source, result=result))
    ir = run(["mlir-translate", "--mlir-to-llvmir"], run(["ssm-opt", scratch + ".mlir"] + PASSES))
    ir = run(["opt", "-O3", "-mtriple=x86_64-unknown-linux-gnu", "-mcpu=x86-64-v2", "-S"], ir)
    run(["llc", "-O3", "-mcpu=x86-64-v2", "-relocation-model=pic", "-filetype=obj", "-o",
         scratch + ".o"], ir)
    # No call is left to link.
    run(["ld.lld", "-shared", "--no-undefined", scratch + ".o", "-o", scratch + ".so"])
    return ctypes.CDLL(scratch + ".so")


def convert(library, name, x, result):
    y = np.empty(x.shape, result)
    getattr(library, "_mlir_ciface_" + name)(ctypes.byref(Memref(x)), ctypes.byref(Memref(y)))
    return y


def to_brain(x):
    """The bits of bf16, to nearest, ties to even; not for NaN."""
    bits = x.view(np.uint32).astype(np.uint64)
    low, high = bits >> 16, (bits >> 16) + 1
    rest = bits & 0xffff
    up = (rest > 0x8000) | ((rest == 0x8000) & (low & 1 == 1))
    return np.where(up, high, low).astype(np.uint16)


def check(name, good):
    if not np.all(good):
        sys.exit(f"{name}: {np.sum(~good)} of {good.size} differ")


def main(scratch):
    library = build(os.path.abspath(scratch))
    np.seterr(all="ignore")
    halves = np.arange(2**16).astype(np.uint16)
    wide, expected = convert(library, "widen", halves, np.float32), halves.view(np.float16)
    check("f16 to f32", (wide.view(np.uint32) == expected.astype(np.float32).view(np.uint32)) |
          (np.isnan(wide) & np.isnan(expected)))

    seed = int(os.environ.get("SSM_TEST_SEED", random.randrange(509)))
    print("seed", seed)
    # Also every f16 and the numbers halfway between, and their neighbours.
    near = expected[:0x7c00].astype(np.float32)
    ties = ((near[1:] + near[:-1]) / 2).view(np.uint32)
    bits = np.concatenate([np.arange(seed % 509, 2**32, 509, dtype=np.uint64).astype(np.uint32),
                           near.view(np.uint32), ties, ties + 1, ties - 1,
                           np.arange(2**16, dtype=np.uint32) << 16 | 0x8000,
                           np.array([65519.996, 65520, 65504], np.float32).view(np.uint32)])
    x = np.concatenate([bits, np.zeros(-bits.size % 16, np.uint32)]).view(np.float32)
    got = convert(library, "half", x, np.uint16)
    check("f32 to f16", (got == x.astype(np.float16).view(np.uint16)) |
          (np.isnan(got.view(np.float16)) & np.isnan(x)))
    got = convert(library, "brain", x, np.uint16)
    is_nan = (got & 0x7fff) > 0x7f80
    check("f32 to bf16", np.where(np.isnan(x), is_nan, got == to_brain(x)))


if __name__ == "__main__":
    main(sys.argv[1])
