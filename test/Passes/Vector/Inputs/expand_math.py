# ===- expand_math.py - Elementary functions against NumPy -----------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Measures ssm-expand-math against NumPy in double precision.

usage: expand_math.py SCRATCH [time | STEP]

Every STEP-th bit pattern (2039th) from a random start is tried, NaN and infinities
included; the largest error in units in the last place must stay below
what the pass states. The code is also linked without libm: it must not call it.

With "time": nanoseconds for each element and instructions for each vector, on
4096 elements in the first-level cache.
"""
import ctypes
import math
import os
import random
import re
import subprocess
import sys
import time

import numpy as np

EXP_NEGATIVE_ABS = """%a = math.absf %x : T
    %n = arith.negf %a : T
    %e = math.exp %n : T
"""
ONE_PLUS_EXP = """%one = arith.constant C1 : T
    %n = arith.negf %x : T
    %e = math.exp %n : T
    %s = arith.addf %e, %one : T
"""
# Name: body, reference in double, bounds in ulp without FMA, with FMA, for AVX-512.
FUNCTIONS = {
    "exp": ("%v = math.exp %x : T", np.exp, (1.3, 1.0, 1.0)),
    "exp_afn": ("%v = math.exp %x fastmath<afn> : T", np.exp, (1.3, 1.0, 70)),
    "expm1": ("%v = math.expm1 %x : T", np.expm1, (1.8, 1.5, 1.5)),
    "log": ("%v = math.log %x : T", np.log, (1.0, 1.0, 1.0)),
    "log1p": ("%v = math.log1p %x : T", np.log1p, (1.5, 1.5, 1.0)),
    "softplus": (EXP_NEGATIVE_ABS + """%l = math.log1p %e : T
    %z = arith.constant C0 : T
    %c = arith.cmpf olt, %x, %z : T
    %m = arith.select %c, %z, %x : SELECT
    %v = arith.addf %m, %l : T""", lambda x: np.logaddexp(0, x), (3.0, 2.5, 2.5)),
    "sigmoid": (ONE_PLUS_EXP + "%v = arith.divf %one, %s : T",
                lambda x: 1 / (1 + np.exp(-x)), (3.0, 3.0, 3.0)),
    "silu": (ONE_PLUS_EXP + "%v = arith.divf %x, %s : T",
             lambda x: x / (1 + np.exp(-x)), (3.0, 3.0, 3.0)),
    "reciprocal": ("""%one = arith.constant C1 : T
    %v = arith.divf %one, %x fastmath<arcp> : T""", lambda x: 1 / x, (0.51, 0.51, 0.6)),
    "tanh": ("%v = math.tanh %x : T", np.tanh, (2.0, 2.0, 2.1)),
    "erf": ("%v = math.erf %x : T", None, (2.5, 2.5, 2.5)),
}
# 1 / (1 + exp(-x)) is 0 where exp(-x) is infinite: errors up to these do not count.
FLOORS = {"sigmoid": 2.0**-128, "silu": 2.0**-121}

SCALAR = """
func.func @f_{name}(%in: memref<?xf32>, %out: memref<?xf32>, %times: index) attributes {{llvm.emit_c_interface}} {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %times step %c1 {{
  linalg.generic {{indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
                  iterator_types = ["parallel"]}}
      ins(%in : memref<?xf32>) outs(%out : memref<?xf32>) {{
  ^bb0(%x: f32, %0: f32):
    {body}
    linalg.yield %v : f32
  }}
  }}
  return
}}
"""
VECTOR = """
func.func @f_{name}(%in: memref<?xf32>, %out: memref<?xf32>, %times: index) attributes {{llvm.emit_c_interface}} {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %step = arith.constant {lanes} : index
  %size = memref.dim %in, %c0 : memref<?xf32>
  scf.for %i = %c0 to %times step %c1 {{
  scf.for %at = %c0 to %size step %step {{
    %x = vector.load %in[%at] : memref<?xf32>, {type}
    {body}
    vector.store %v, %out[%at] : memref<?xf32>, {type}
  }}
  }}
  return
}}
"""
PASSES = [
    "-convert-linalg-to-loops", "-convert-scf-to-cf", "-expand-strided-metadata",
    "-arith-expand=include-bf16=true", "-convert-math-to-llvm", "-convert-vector-to-llvm",
    "-finalize-memref-to-llvm", "-convert-func-to-llvm", "-convert-arith-to-llvm",
    "-convert-cf-to-llvm", "-convert-index-to-llvm", "-reconcile-unrealized-casts"]

# Name: lanes, the pass, LLVM's target, which bound.
FORMS = {
    "no-fma": (1, "-ssm-expand-math", "-mcpu=x86-64-v2", 0),
    "native": (1, "-ssm-expand-math", "-mcpu=native", 1),
    "vector": (16, "-ssm-expand-math", "-mcpu=native", 1),
    "avx512": (16, "-ssm-expand-math=avx512=true", "-mcpu=native", 2),
    "avx512-2": (32, "-ssm-expand-math=avx512=true", "-mcpu=native", 2),
}


def has_avx512():
    with open("/proc/cpuinfo") as file:
        return {"avx512f", "avx512dq"} <= set(file.read().split())


def has_fma():
    with open("/proc/cpuinfo") as file:
        return "fma" in file.read().split()


class Memref(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("data", ctypes.c_void_p), ("offset", ctypes.c_int64),
                ("size", ctypes.c_int64), ("stride", ctypes.c_int64)]

    def __init__(self, array):
        super().__init__(array.ctypes.data, array.ctypes.data, 0, array.size, 1)


def source_of(name, lanes):
    body = FUNCTIONS[name][0]
    kind = f"vector<{lanes}xf32>" if lanes > 1 else "f32"
    mask = kind.replace("f32", "i1")
    body = body.replace("SELECT", f"{mask}, {kind}" if lanes > 1 else kind)
    body = re.sub(r"\bT\b", kind, body)
    body = re.sub(r"\bC([01])\b", r"dense<\1.0>" if lanes > 1 else r"\1.0", body)
    return (VECTOR if lanes > 1 else SCALAR).format(name=name, body=body, lanes=lanes, type=kind)


def run(command, data=None):
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


def build(scratch, form):
    lanes, expand, cpu, _ = FORMS[form]
    base = f"{scratch}.{form}"
    with open(base + ".mlir", "w") as file:
        file.write("".join(source_of(name, lanes) for name in FUNCTIONS))
    ir = run(["mlir-translate", "--mlir-to-llvmir"],
             run(["ssm-opt", base + ".mlir", expand] + PASSES))
    # As the compiler does: vectors as wide as the target has them.
    ir = re.sub(rb"^(define .*\))( .*)?\{$", rb'\1\2 "prefer-vector-width"="512" {', ir, flags=re.M)
    ir = run(["opt", "-O3", "-mtriple=x86_64-unknown-linux-gnu", cpu, "-S"], ir)
    for kind, suffix in ("obj", ".o"), ("asm", ".s"):
        run(["llc", "-O3", cpu, "-relocation-model=pic", "-filetype=" + kind, "-o", base + suffix], ir)
    run(["ld.lld", "-shared", "--no-undefined", base + ".o", "-o", base + ".so"])
    return ctypes.CDLL(base + ".so")


def call(library, name, x, y, times=1):
    getattr(library, "_mlir_ciface_f_" + name)(
        ctypes.byref(Memref(x)), ctypes.byref(Memref(y)), ctypes.c_int64(times))


def exact(name, x):
    if name == "erf":
        return np.array([math.erf(v) for v in x.astype(np.float64)])
    return FUNCTIONS[name][1](x.astype(np.float64))


def error_of(name, x, y, reference):
    """Largest error in ulp, where it is, largest absolute error for x <= 0, wrong specials."""
    rounded = reference.astype(np.float32)
    special = ~np.isfinite(rounded)
    same = (rounded == y) | (np.isnan(rounded) & np.isnan(y))
    wrong = np.sum(special & ~same) + np.sum(~special & ~np.isfinite(y))
    wrong += np.sum((x == 0) & (rounded == 0) & (np.signbit(rounded) != np.signbit(y)))
    usual = ~special & np.isfinite(y)
    difference = np.abs(y[usual] - reference[usual])
    ulp = np.spacing(np.abs(rounded[usual])).astype(np.float64)
    ratio = difference / ulp
    if name in FLOORS:
        ratio[difference <= FLOORS[name]] = 0
    if not ratio.size:
        return -1.0, 0.0, 0.0, wrong
    worst = int(np.argmax(ratio))
    decay = difference[x[usual] <= 0]
    return ratio[worst], x[usual][worst], decay.max() if decay.size else 0.0, wrong


def samples(step):
    seed = int(os.environ.get("SSM_TEST_SEED", random.randrange(step)))
    print("seed", seed)
    yield np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, -np.nan] * 64, np.float32)
    count = 2**22
    for start in range(seed % step, 2**32, step * count):
        bits = np.arange(start, min(start + step * count, 2**32), step, dtype=np.uint64)
        x = bits.astype(np.uint32).view(np.float32)
        yield np.concatenate([x, np.full(-x.size % 32, 0.5, np.float32)])


def measure(libraries, step):
    results = {}
    for x in samples(step):
        y = np.empty_like(x)
        for name in FUNCTIONS:
            # Slow in double.
            part = x[::16].copy() if name == "erf" else x
            part = part[:part.size // 32 * 32]
            if not part.size:
                continue
            reference = exact(name, part)
            for form, library in libraries.items():
                call(library, name, part, y[:part.size])
                error, where, decay, wrong = error_of(name, part, y[:part.size], reference)
                old = results.get((name, form), (-1.0, 0.0, 0.0, 0))
                results[name, form] = (*max(old[:2], (float(error), float(where))),
                                       max(old[2], float(decay)), old[3] + int(wrong))
    failed = False
    for (name, form), (error, where, decay, wrong) in results.items():
        bound = FUNCTIONS[name][2][FORMS[form][3]]
        bad = bool(error > bound or wrong)
        print(f"{name:10} {form:9} {error:6.2f} ulp at {where:.9g}, {decay:.2g} for x <= 0, "
              f"{wrong} wrong special values{' FAILED' if bad else ''}")
        failed |= bad
    # What is stated of decays: exp of what is not positive.
    failed |= any(decay > 7e-8 for (name, _), (_, _, decay, _) in results.items()
                  if name == "exp_afn")
    return failed


def is_biased(libraries):
    """Whether the short exp errs near 0 by more than is stated, or to one side: the mean
    over any 64th of [-1, 1] and its mirror image. What has the sign of x, from rounding
    ln 2, is undone where exponents add up to little."""
    x = np.random.default_rng().uniform(-1, 1, 2**20).astype(np.float32)
    x.sort()
    y, wanted, failed = np.empty_like(x), np.exp(x.astype(np.float64)), False
    for form, library in libraries.items():
        call(library, "exp_afn", x, y)
        ulp = np.abs(y - wanted) / np.spacing(wanted.astype(np.float32))
        means = (y / wanted - 1).reshape(64, -1).mean(axis=1)
        bias = np.abs(means + means[::-1]).max() / 2
        bad = bool(ulp.max() > 1.5 or bias > 3e-9)
        print(f"exp_afn    {form:9} {ulp.max():6.2f} ulp for |x| <= 1, bias {bias:.1e}"
              f"{' FAILED' if bad else ''}")
        failed |= bad
    return failed


def instructions(scratch, form, name):
    """Vector instructions for each stored vector, in the block that stores most."""
    with open(f"{scratch}.{form}.s") as file:
        text = file.read().split(f"\nf_{name}:")[1].split(".Lfunc_end")[0]
    best = None
    for block in re.split(r"^\.L\w+:.*$", text, flags=re.M):
        lines = [line.split("#")[0].strip() for line in block.splitlines()]
        stores = sum(bool(re.match(r"vmov(up[sd]|dqu\d+)\s+%zmm\d+, [^%]*\(", line)) for line in lines)
        vectors = sum("%zmm" in line or "%k" in line for line in lines)
        if stores:
            best = max(best or (0, 0), (stores, vectors - stores))
    return best[1] / best[0] if best else float("nan")


def time_all(libraries, scratch):
    x = np.random.default_rng(0).uniform(-8, 0, 4096).astype(np.float32)
    positive = np.random.default_rng(0).uniform(0, 8, 4096).astype(np.float32)
    y, times = np.empty_like(x), 1000
    best = {}
    for _ in range(20):
        for name in FUNCTIONS:
            values = positive if name.startswith("log") else x
            for form, library in libraries.items():
                start = time.perf_counter()
                call(library, name, values, y, times)
                spent = (time.perf_counter() - start) / times / x.size * 1e9
                best[name, form] = min(best.get((name, form), spent), spent)
    for (name, form), spent in best.items():
        print(f"{name:10} {form:9} {spent:.3f} ns, {instructions(scratch, form, name):.1f} instructions")


def main(scratch, mode="2039"):
    scratch = os.path.abspath(scratch)
    np.seterr(all="ignore")
    forms = ["no-fma"]
    if has_fma():
        forms += ["native", "vector"] if mode == "time" else ["native"]
    if has_avx512():
        forms += ["avx512", "avx512-2"]
    libraries = {form: build(scratch, form) for form in forms}
    if mode == "time":
        time_all(libraries, scratch)
    else:
        failed = measure(libraries, int(mode))
        if is_biased(libraries) or failed:
            sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
