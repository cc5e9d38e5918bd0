# ===- expand_math_f64.py - The same in f64 --------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Measures ssm-expand-math-f64 against NumPy: f64 against its 80-bit floats, f32 against f64.

usage: expand_math_f64.py SCRATCH [COUNT]

COUNT fresh random bit patterns (200000) each over all floats and as many over a range of everyday
numbers, infinities, zeros, denormals and NaN included; f32 also as vectors. Errors must stay below
what stands here, in units in the last place. The code is linked without libm.
"""
import os
import random
import sys

import numpy as np

import expand_math as base

LONG = np.longdouble
# Name: operation, reference, bound of f64 in ulp.
UNARY = {
    "exp": ("math.exp", np.exp, 1.0),
    "exp2": ("math.exp2", np.exp2, 1.5),
    "expm1": ("math.expm1", np.expm1, 3.0),
    "log": ("math.log", np.log, 1.0),
    "log2": ("math.log2", np.log2, 2.5),
    "log10": ("math.log10", np.log10, 2.5),
    "log1p": ("math.log1p", np.log1p, 2.0),
    "cbrt": ("math.cbrt", np.cbrt, 2.0),
    "sin": ("math.sin", np.sin, 2.6),
    "cos": ("math.cos", np.cos, 2.6),
    "tan": ("math.tan", np.tan, 4.0),
    "atan": ("math.atan", np.arctan, 2.5),
    "asin": ("math.asin", np.arcsin, 4.0),
    "acos": ("math.acos", np.arccos, 4.0),
    "sinh": ("math.sinh", np.sinh, 4.0),
    "cosh": ("math.cosh", np.cosh, 4.0),
    "tanh": ("math.tanh", np.tanh, 4.0),
    "asinh": ("math.asinh", np.arcsinh, 4.0),
    "acosh": ("math.acosh", np.arccosh, 4.0),
    "atanh": ("math.atanh", np.arctanh, 4.0),
    "erf": ("math.erf", None, 2.0),
    "erfc": ("math.erfc", None, 8.0),
    "round": ("math.round", lambda x: np.copysign(np.trunc(x + np.copysign(LONG(0.5), x)), x), 0.0),
}
BINARY = {
    "powf": ("math.powf", np.power, 2.0),
    "atan2": ("math.atan2", np.arctan2, 2.5),
    "remf": ("arith.remf", np.fmod, 0.0),
}
# Only of f64: ssm-expand-math has them for f32.
SINGLE = {"exp", "expm1", "log", "log1p", "tanh", "erf"}
TYPES = {"f32": np.float32, "f64": np.float64, "vectors": np.float32}

FUNCTION = """
func.func @{name}_{type}(%x: memref<?x{type}>, %y: memref<?x{type}>, %out: memref<?x{type}>)
    attributes {{llvm.emit_c_interface}} {{
  linalg.generic {{indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
                  iterator_types = ["parallel"]}}
      ins(%x, %y : memref<?x{type}>, memref<?x{type}>) outs(%out : memref<?x{type}>) {{
  ^bb0(%a: {type}, %b: {type}, %0: {type}):
    %v = {op} %a{second} : {type}
    linalg.yield %v : {type}
  }}
  return
}}
"""


# Vectors of f32, with only-vectors; arrays are whole vectors long.
LANES = 16
VECTORS = """
func.func @{name}_vectors(%x: memref<?xf32>, %y: memref<?xf32>, %out: memref<?xf32>)
    attributes {{llvm.emit_c_interface}} {{
  %c0 = arith.constant 0 : index
  %step = arith.constant 16 : index
  %size = memref.dim %x, %c0 : memref<?xf32>
  scf.for %at = %c0 to %size step %step {{
    %a = vector.load %x[%at] : memref<?xf32>, vector<16xf32>
    %b = vector.load %y[%at] : memref<?xf32>, vector<16xf32>
    %v = {op} %a{second} : vector<16xf32>
    vector.store %v, %out[%at] : memref<?xf32>, vector<16xf32>
  }}
  return
}}
"""
# Left to the library.
SCALAR_ONLY = {"remf", "round"}


def build(scratch, kinds):
    only_vectors = kinds == ["vectors"]
    with open(scratch + ".mlir", "w") as file:
        for name, (op, *_) in (UNARY | BINARY).items():
            for kind in kinds:
                if is_measured(name, kind):
                    text = VECTORS if only_vectors else FUNCTION
                    file.write(text.format(name=name, type=kind, op=op,
                                           second=", %b" if name in BINARY else ""))
    expand = "-ssm-expand-math-f64" + ("=only-vectors" if only_vectors else "")
    ir = base.run(["mlir-translate", "--mlir-to-llvmir"],
                  base.run(["ssm-opt", scratch + ".mlir", expand] + base.PASSES))
    cpu = "-mcpu=native" if base.has_fma() else "-mcpu=x86-64-v2"
    ir = base.run(["opt", "-O3", "-mtriple=x86_64-unknown-linux-gnu", cpu, "-S"], ir)
    base.run(["llc", "-O3", cpu, "-relocation-model=pic", "-filetype=obj", "-o", scratch + ".o"], ir)
    libraries = [] if base.has_fma() else ["-lm"]
    base.run(["ld.lld", "-shared", *(["--no-undefined"] if base.has_fma() else []),
              scratch + ".o", "-o", scratch + ".so", *libraries])
    return base.ctypes.CDLL(scratch + ".so")


def is_measured(name, kind):
    return kind == "f64" or name not in SINGLE | (SCALAR_ONLY if kind == "vectors" else set())


def series_erf(x, complement):
    """In 80 bits: erf by its series of positive terms, erfc from 3 on by a continued fraction."""
    a = np.minimum(np.abs(x), LONG(120))
    near = np.minimum(a, LONG(3))
    term = near * 1
    total = term.copy()
    for n in range(1, 120):
        term = term * 2 * near * near / (2 * n + 1)
        total += term
    root = np.sqrt(np.arctan(LONG(1)) * 4)
    erf = 2 / root * np.exp(-near * near) * total
    far = np.maximum(a, LONG(3))
    fraction = np.zeros_like(far)
    for k in range(200, 0, -1):
        fraction = LONG(k) / 2 / (far + fraction)
    erfc = np.exp(-far * far) / (root * (far + fraction))
    if not complement:
        return np.copysign(np.where(a < 3, erf, 1 - erfc), x) + 0 * x
    # Between, 1 - erf loses digits: the fraction, with more terms, serves from 0.6 on.
    middle = np.clip(a, LONG(0.6), LONG(3))
    fraction = np.zeros_like(middle)
    for k in range(4000, 0, -1):
        fraction = LONG(k) / 2 / (middle + fraction)
    between = np.exp(-middle * middle) / (root * (middle + fraction))
    positive = np.where(a >= 3, erfc, np.where(a >= 0.6, between, 1 - erf))
    return np.where(x < 0, 2 - positive, positive) + 0 * x


def reference(name, x, y):
    if name in ("erf", "erfc"):
        # Infinities have no products with 0.
        bounded = np.where(np.isinf(x), np.copysign(LONG(1000), x), x)
        return series_erf(bounded, name == "erfc")
    return UNARY[name][1](x) if name in UNARY else BINARY[name][1](x, y)


def samples(kind, count, generator):
    dtype = TYPES[kind]
    size = np.dtype(dtype).itemsize
    word = np.uint32 if size == 4 else np.uint64
    special = np.array([0, -0.0, 1, -1, 0.5, -0.5, 2, 3, -3, 1e300, np.inf, -np.inf, np.nan,
                        np.finfo(dtype).tiny, 5e-324, np.finfo(dtype).max, np.pi / 2, 700.5, 0.499999,
                        0.625, 2.0**20], dtype)
    bits = generator.integers(0, 2**(8 * size), count, dtype=word).view(dtype)
    usual = generator.uniform(-1, 1, count) * 2.0**generator.integers(-8, 10, count)
    x = np.concatenate([np.repeat(special, special.size), bits, usual.astype(dtype)])
    y = np.concatenate([np.tile(special, special.size), bits[::-1], generator.permutation(usual)])
    # Powers of whole numbers, remainders of close ones.
    y[-count // 4:] = np.round(y[-count // 4:])
    return x, y.astype(dtype)


def main(scratch, count="200000"):
    scratch = os.path.abspath(scratch)
    np.seterr(all="ignore")
    seed = int(os.environ.get("SSM_TEST_SEED", random.randrange(2**31)))
    print("seed", seed)
    generator = np.random.default_rng(seed)
    scalars, vectors = build(scratch, ["f32", "f64"]), build(scratch + ".vectors", ["vectors"])
    failed = False
    for kind, dtype in TYPES.items():
        library = vectors if kind == "vectors" else scalars
        wide = LONG if kind == "f64" else np.float64
        for name in UNARY | BINARY:
            if not is_measured(name, kind):
                continue
            number = int(count) // 100 if name == "erfc" else int(count)
            x, y = samples(kind, number, generator)
            if kind == "vectors":
                x, y = (np.resize(v, v.size // LANES * LANES) for v in (x, y))
            got = np.empty_like(x)
            getattr(library, f"_mlir_ciface_{name}_{kind}")(
                *(base.ctypes.byref(base.Memref(v)) for v in (x, y, got)))
            exact = reference(name, x.astype(LONG), y.astype(LONG))
            want = exact.astype(dtype)
            special = ~np.isfinite(want) | ~np.isfinite(got)
            same = (want == got) | (np.isnan(want) & np.isnan(got))
            # At the edge of overflow either is right.
            edge = np.isinf(got) & (np.abs(want) > np.finfo(dtype).max * (1 - 1e-15))
            wrong = special & ~same & ~edge
            wrong |= ~special & (want == 0) & (got == 0) & (np.signbit(want) != np.signbit(got))
            ulp = np.spacing(np.abs(np.where(special, 1, want))).astype(wide)
            error = np.abs(got.astype(LONG) - np.where(special, 0, exact)) / ulp
            error[special] = 0
            worst = int(np.argmax(error))
            bound = (UNARY | BINARY)[name][2] if kind == "f64" else 0.5001
            bad = bool(error[worst] > bound or wrong.any())
            print(f"{name:6} {kind} {float(error[worst]):7.4f} ulp at {x[worst]!r}, {y[worst]!r}; "
                  f"{int(wrong.sum())} wrong special values{' FAILED' if bad else ''}")
            if wrong.any():
                first = int(np.argmax(wrong))
                print(f"  {x[first]!r}, {y[first]!r}: {got[first]!r}, expected {want[first]!r}")
            failed |= bad
    sys.exit(failed)


if __name__ == "__main__":
    main(*sys.argv[1:])
