#!/usr/bin/env python3
# ===- recurrences.py - Kernels with time on a GPU -------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Recurrences of all kinds on a GPU against NumPy in float64.

usage: recurrences.py pack FOLDER [--chip sm_90a] [--only NAME,..]  compiles the modules
       recurrences.py run FOLDER [--every N] [--only NAME,..]       runs them where the GPU is;
                                                                    with SSM_BUILD_DIR where
                                                                    libssmrt is
`--every`: of the sizes each n-th only, others for each kind, and no very long run.
"""

import argparse
import functools
import itertools
import sys
import traceback
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test" / "harness"), str(ROOT / "test" / "models")]
import recurrences as r  # noqa: E402
from ssmtest import compare, runtime  # noqa: E402



def mixed(size):
    """A full matrix and a softmax in each step, which stays a loop around kernels."""
    def build(g, h, x, w):
        scores = g.add("Softmax", g.add("Add", g.add("MatMul", h, w), x), axis=-1)
        new = g.add("Sub", g.add("Mul", h, x), scores)
        return [new], [scores, r.reduce_sum(g, new, -1)]

    def step(h, x, w):
        scores = np.exp(h @ w + x)
        scores /= scores.sum(-1, keepdims=True)
        new = h * x - scores
        return [new], [scores, new.sum(-1)]
    return r.Recurrence({"h": ("B", size)}, {"x": ("B", size)}, {"s": ("B", size), "t": ("B",)},
                        build, step, {"w": (size, size)})


# name -> (recurrence, options of Recurrence.model)
KINDS = {
    **{f"diagonal{n}": (r.diagonal(n), {}) for n in (1, 4, 5, 8, 16, 17, 33, 64, 256)},
    **{f"per_head{p}x{n}": (r.per_head(p, n), {}) for p, n in ((1, 1), (7, 3), (4, 128))},
    **{f"delta{k}x{v}": (r.delta(k, v, False), {}) for k, v in ((1, 1), (5, 17), (8, 16))},
    **{f"gated_delta{k}x{v}": (r.delta(k, v, True), {}) for k, v in ((2, 3), (64, 33))},
    "total": (r.total(), {}), "largest": (r.largest(), {}), "nonlinear": (r.nonlinear(), {}),
    "states": (r.states(), {}), "stabilised": (r.stabilised(), {}),
    "chained": (r.chained(), {}), "crossed": (r.crossed(), {}), "swapped": (r.swapped(), {}),
    "delayed": (r.delayed(), {}), "window": (r.window(), {}),
    "window_backward": (r.window(), {"backward": ("x",), "outs_backward": ("y",)}),
    "window_from_zero": (r.window(), {"zero": True}),
    "window16": (r.window(), {"dtype": np.float16}),
    **{f"along_time_{name}": (recurrence((3, 37)), {"axes": 2, **options})
       for name, recurrence, options in (
        ("window", r.window, {}), ("window16", r.window, {"dtype": np.float16}),
        ("window_backward", r.window, {"backward": ("x",), "outs_backward": ("y",)}),
        ("window_half_backward", r.window, {"outs_backward": ("y",), "dtype": np.float16}),
        ("window_from_zero", r.window, {"zero": True}),
        ("delayed_float64", r.delayed, {"dtype": np.float64}),
        ("taps2", functools.partial(r.delay_line, 2), {}),
        ("taps5", functools.partial(r.delay_line, 5), {"dtype": ml_dtypes.bfloat16}),
        ("taps16", functools.partial(r.delay_line, 16), {"dtype": np.float16}),
        ("taps16_backward", functools.partial(r.delay_line, 16),
         {"backward": ("x",), "outs_backward": ("y",)}))},
    "centred": (r.centred(), {}),
    "normalised": (r.normalised(), {}), "dense": (r.dense(), {}),
    **{f"mixed{n}": (mixed(n), {}) for n in (1, 7, 600)},
    "open_diagonal": (r.diagonal("S"), {}),
    "open_per_head": (r.per_head(3, "S"), {}),
    "open_gated_delta": (r.delta("S", 5, True, 701), {}),
    "time_first": (r.diagonal(16), {"axes": 0}),
    "backward": (r.diagonal(16), {"backward": ("dt", "u", "b", "c"), "outs_backward": ("y",)}),
    "half_backward": (r.delta(8, 16, True), {"backward": ("k",), "outs_backward": ("y",)}),
    "flips": (r.diagonal(8), {"backward": ("dt", "u", "b", "c"), "outs_backward": ("y",),
                              "flips": (-1, -(2**63))}),
    "from_zero": (r.diagonal(16), {"zero": True}),
    "float64": (r.delta(8, 16, True), {"dtype": np.float64}),
    "float16": (r.diagonal(16), {"dtype": np.float16}),
    **{f"selective{n}": (r.selective(n), {}) for n in (5, 16, 64)},
    **{f"selective{n}_bfloat16": (r.selective(n), {"dtype": ml_dtypes.bfloat16})
       for n in (8, 16, 33, 256)},
    **{f"selective{n}": (r.selective(n), {}) for n in (160, 224)},
    "selective255_bfloat16": (r.selective(255), {"dtype": ml_dtypes.bfloat16}),
    "channels_first160": (r.selective(160), {"axes": 2}),
    "channels_first224": (r.selective(224), {"axes": 2, "dtype": np.float16}),
    "channels_first256": (r.selective(256), {"axes": 2, "dtype": ml_dtypes.bfloat16}),
    "selective16_float16": (r.selective(16), {"dtype": np.float16}),
    "selective_backward": (r.selective(16), {"backward": ("dt", "u", "z", "b", "c"),
                                             "outs_backward": ("y",)}),
    "selective_half_backward": (r.selective(16), {"backward": ("u", "c")}),
    "channels_first": (r.selective(16), {"axes": 2, "dtype": ml_dtypes.bfloat16}),
    "channels_first_backward": (r.selective(5), {"axes": 2, "backward": ("dt", "z", "b"),
                                                 "outs_backward": ("y",)}),
    "channels_first_half_backward": (r.selective(16), {"axes": 2, "backward": ("u", "c")}),
    **{f"segments_{spelling}{taps}": (r.segmented(spelling, taps=taps), {})
       for spelling in ("where", "decay", "product", "ids") for taps in (0, 3)},
    **{f"segments_first_{spelling}": (r.segmented(spelling, taps=0), {"axes": 2})
       for spelling in ("where", "decay")},
    "segments_bfloat16": (r.segmented("where", taps=0), {"dtype": ml_dtypes.bfloat16}),
    "segments_ids_bfloat16": (r.segmented("ids", taps=4), {"dtype": ml_dtypes.bfloat16}),
    "segments_first_ids": (r.segmented("ids", taps=2), {"axes": 2}),
    "segments_ids_half_backward": (r.segmented("ids", taps=3),
                                   {"backward": ("u", "c", "mark"), "outs_backward": ("y",)}),
}
# Kinds with a form for many steps of many channels, and its sizes: whole and broken tiles of
# time and channels, fewer and more blocks than run at once.
SELECTIVE = [name for name in KINDS if name.startswith(("selective", "channels", "diagonal",
                                                        "segments"))]
SELECTIVE_SIZES = [(2, 16, 8, 0), (1, 24, 24, 0), (3, 63, 40, 0), (2, 64, 32, 0), (2, 65, 72, 0),
                   (1, 128, 136, 0), (5, 200, 1000, 0), (1, 104, 5128, 0), (2, 70, 8200, 0)]
# Of a fixed number of rows: whole runs of steps, and rows that do not begin at 16 bytes.
ALONG_TIME = [name for name in KINDS if name.startswith("along_time")]
ALONG_TIME_SIZES = [(3, length, 37, 0) for length in (8, 16, 24, 72, 20, 17, 2048, 2050)]
# One run of very many steps; of its outs every STRIDEth is compared.
LONG, LONG_STEPS, STRIDE = "selective16", 1_000_000, 1000
LONG_SIZES = dict(B=1, D=8)
SIZES = [(batch, length, channels, states)
         for batch, length, channels, states in itertools.chain(
             itertools.product((1,), (0, 1, 2, 3, 7, 8, 9, 33), (1, 3, 17), (5,)),
             itertools.product((0, 3), (0, 1, 9, 100), (1, 16, 65), (0, 1, 67)),
             [(2, 257, 300, 600), (1, 40, 1500, 33), (1, 3000, 2, 16)])]


def pack(folder, chip, only):
    from ssmtest import compiler
    folder.mkdir(parents=True, exist_ok=True)

    def build(name):
        recurrence, options = KINDS[name]
        import onnx
        onnx.save(recurrence.model(**options), str(folder / f"{name}.onnx"))
        done = compiler.run_compiler([folder / f"{name}.onnx", f"--target=cuda:{chip}", "-o",
                                      folder / f"{name}.so"])
        return None if done.returncode == 0 else f"{name}: {done.stderr}"
    with ThreadPoolExecutor(2) as pool:
        failures = [f for f in pool.map(build, only) if f]
    print("\n".join(failures))
    if LONG not in only:
        return bool(failures)
    wanted = KINDS[LONG][0].run(draw(LONG, LONG_SIZES, LONG_STEPS), 1)
    np.savez(folder / "long.npz", h=wanted["last_h"], y=wanted["y"][:, ::STRIDE])
    return bool(failures)


def draw(name, sizes, length):
    recurrence, options = KINDS[name]
    rng = np.random.default_rng(zlib.crc32(repr((name, length, sizes)).encode()))
    return recurrence.draw(rng, sizes, length, options.get("axes", 1),
                           options.get("dtype", np.float32))


def check_long(folder):
    got = runtime.Module(folder / f"{LONG}.so").session().run(draw(LONG, LONG_SIZES, LONG_STEPS))
    with np.load(folder / "long.npz") as wanted:
        for out, value in (("last_h", got["last_h"]), ("y", got["y"][:, ::STRIDE])):
            compare.check_close(f"{out} after {LONG_STEPS} steps", value,
                                wanted[out.removeprefix("last_")], np.dtype(np.float32), 1e-5)


def check(name, session, sizes, length):
    recurrence, options = KINDS[name]
    dtype = options.get("dtype", np.float32)
    axes = options.get("axes", 1)
    given = draw(name, sizes, length)
    got = session.run(given)
    if options.get("zero"):
        given = {n: np.zeros_like(a) if n in recurrence.carries else a for n, a in given.items()}
    wanted = recurrence.run(given, axes, options.get("backward", ()),
                            options.get("outs_backward", ()))
    bound = compare.BOUNDS[np.dtype(dtype)] * max(1, length / 50)
    for out, want in wanted.items():
        most = np.abs(want).max(initial=0)
        compare.check_close(f"{out} of {sizes} x {length}", got[out], want, np.dtype(dtype),
                            bound * max(1, 1 / most) if most > 0 else bound)


def run(folder, every, only):
    passed = failed = 0
    for number, name in enumerate(only):
        try:
            module = runtime.Module(folder / f"{name}.so")
            session = module.session()
        except Exception as error:  # told, and counted
            print(f"{name}: {error}")
            failed += 1
            continue
        sizes_of_kind = SIZES + SELECTIVE_SIZES * (name in SELECTIVE) + \
            ALONG_TIME_SIZES * (name in ALONG_TIME)
        for batch, length, channels, states in sizes_of_kind[number % every::every]:
            sizes = dict(B=batch, D=channels, H=channels % 7, S=states)
            try:
                check(name, session, sizes, length)
                passed += 1
            except Exception as error:
                failed += 1
                text = str(error) or traceback.format_exc()
                print(f"{name} {sizes} x {length}: {text.splitlines()[-1][:200]}")
    if LONG in only and every == 1:
        try:
            check_long(folder)
            passed += 1
        except Exception as error:
            failed += 1
            print(f"{LONG} x {LONG_STEPS}: {error}")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pack", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chip", default="sm_90a")
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    only = options.only.split(",")
    sys.exit(pack(options.folder, options.chip, only) if options.what == "pack"
             else run(options.folder, options.every, only))


if __name__ == "__main__":
    main()
