"""Measures the error of ssm-expand-math against NumPy in double precision.

usage: expand_math.py SCRATCH

Every 509th bit pattern from a random start is tried, NaN and infinities
included; the largest error in units in the last place must stay below what the
pass states.
"""
import ctypes
import math
import os
import random
import subprocess
import sys

import numpy as np

BOUNDS = {"exp": 1.0, "log": 1.0, "log1p": 1.5, "tanh": 1.5, "erf": 2.5}
STEP = 509

FUNCTION = """
func.func @f_{name}(%x: memref<?xf32>, %y: memref<?xf32>) attributes {{llvm.emit_c_interface}} {{
  linalg.generic {{indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
                  iterator_types = ["parallel"]}}
      ins(%x : memref<?xf32>) outs(%y : memref<?xf32>) {{
  ^bb0(%in: f32, %out: f32):
    %v = math.{name} %in : f32
    linalg.yield %v : f32
  }}
  return
}}
"""
PASSES = [
    "-ssm-expand-math", "-convert-linalg-to-loops", "-convert-scf-to-cf", "-convert-math-to-llvm",
    "-expand-strided-metadata", "-finalize-memref-to-llvm", "-convert-func-to-llvm",
    "-convert-arith-to-llvm", "-convert-cf-to-llvm", "-convert-index-to-llvm",
    "-reconcile-unrealized-casts"]


class Memref(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("data", ctypes.c_void_p), ("offset", ctypes.c_int64),
                ("size", ctypes.c_int64), ("stride", ctypes.c_int64)]

    def __init__(self, array):
        super().__init__(array.ctypes.data, array.ctypes.data, 0, array.size, 1)


def build(scratch):
    source, library = scratch + ".mlir", scratch + ".so"
    with open(source, "w") as file:
        file.write("".join(FUNCTION.format(name=name) for name in BOUNDS))
    lowered = subprocess.run(["ssm-opt", source] + PASSES, check=True, capture_output=True).stdout
    ir = subprocess.run(["mlir-translate", "--mlir-to-llvmir"], input=lowered, check=True,
                        capture_output=True).stdout
    ir = subprocess.run(["opt", "-O2", "-mcpu=native", "-S"], input=ir, check=True,
                        capture_output=True).stdout
    subprocess.run(["llc", "-O2", "-mcpu=native", "-relocation-model=pic", "-filetype=obj", "-o",
                    scratch + ".o"], input=ir, check=True)
    subprocess.run(["ld.lld", "-shared", scratch + ".o", "-o", library], check=True)
    return ctypes.CDLL(library)


def reference(name, x):
    if name == "erf":
        return np.array([math.erf(v) for v in x.astype(np.float64)])
    return getattr(np, name)(x.astype(np.float64))


def main(scratch):
    library = build(os.path.abspath(scratch))
    seed = int(os.environ.get("SSM_TEST_SEED", random.randrange(STEP)))
    print("seed", seed)
    np.seterr(all="ignore")
    failed = False
    for name, bound in BOUNDS.items():
        step = STEP * 16 if name == "erf" else STEP
        bits = np.arange(seed % step, 2**32, step, dtype=np.uint64).astype(np.uint32)
        x = np.concatenate([bits.view(np.float32),
                            np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan], np.float32)])
        y = np.empty_like(x)
        getattr(library, "_mlir_ciface_f_" + name)(ctypes.byref(Memref(x)), ctypes.byref(Memref(y)))
        exact = reference(name, x)
        rounded = exact.astype(np.float32)
        special = ~np.isfinite(rounded)
        wrong = np.sum(~((rounded[special] == y[special]) |
                         (np.isnan(rounded[special]) & np.isnan(y[special]))))
        wrong += np.sum(~np.isfinite(y[~special]))
        ulp = np.spacing(np.abs(rounded[~special])).astype(np.float64)
        error = np.max(np.abs(y[~special] - exact[~special]) / ulp)
        print(f"{name}: {error:.2f} ulp over {x.size} inputs, {wrong} wrong special values")
        failed |= bool(error > bound or wrong)
    sys.exit(failed)


if __name__ == "__main__":
    main(sys.argv[1])
