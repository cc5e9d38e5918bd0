#!/usr/bin/env python3
# ===- moves.py - What moves data on a GPU ---------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Gathers, scatters, transposes, running sums and their like on a GPU: values against NumPy, time
beside torch and a copy of the same bytes by torch.

usage: moves.py build FOLDER [--chip sm_90a] [--only NAME,..]  compiles the modules
       moves.py run FOLDER [--time] [--only NAME,..]           runs them where the GPU is; with
                                                               SSM_BUILD_DIR where libssmrt is
Bytes are those of all outs and of what is read of the inputs, indices included.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test" / "harness"), str(ROOT / "test" / "models"),
                str(Path(__file__).resolve().parent)]
import command  # noqa: E402
from memory import Runner, copy_rate, median, to_torch  # noqa: E402
from ssmtest import runtime  # noqa: E402

F16, F32, I8, I64 = (np.dtype(t) for t in ("float16", "float32", "int8", "int64"))
BOOL = np.dtype(bool)


@dataclass
class Move:
    """Inputs by name: element type, dims, and for indices the dim that they are below (negated:
    different ones). `build` makes the nodes; `torch` is given torch and the inputs."""

    inputs: dict
    build: Callable
    reference: Callable
    torch: Callable
    large: dict
    out: tuple = (F32, ())
    bound: float = 0
    # Inputs of which as much is read as the out has, rows that are named again included.
    partly: tuple = ()
    # Sizes that a form of this one alone is for.
    more: tuple = ()

    def small(self):
        """Sizes: odd ones, 0, 1, vectors that fit, many of them in rows that no warp fits."""
        for values in ((5, 7, 3, 4), (1, 1, 1, 1), (64, 32, 8, 16), (0, 3, 5, 2), (3, 0, 2, 6),
                       (130, 33, 9, 65), (2, 1000, 4, 7), (3, 4096, 2, 64), (1, 9000, 1, 3),
                       (2, 1032, 1, 4104), (1, 1020, 4136, 1)) + self.more:
            yield dict(zip("NMCK", values))


def taken(x, axis, index):
    return np.take(x, index, axis) if x.shape[axis] else x[(slice(None),) * axis + (index,)]


def scattered(x, i, u):
    y = x.astype(np.float64)
    for row in range(x.shape[0]):
        np.add.at(y[row], i[row], u[row].astype(np.float64))
    return y


def put(x, i, u):
    y = x.copy()
    np.put_along_axis(y, i, u, 1)
    return y


def put_last(x, i, u):
    y = x.copy()
    for at in np.ndindex(i.shape):
        y[at[0], i[at]] = u[at]
    return y


def add_rows(x, i, u):
    y = x.astype(np.float64)
    np.add.at(y, i[:, 0], u.astype(np.float64))
    return y


def put_rows(x, i, u):
    y = x.copy()
    y[i[:, 0]] = u
    return y


def layer_norm(x, scale):
    x = x.astype(np.float64)
    if not x.size:
        return x
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5) * scale


def transpose(dtype, dims, perm, large, more=()):
    return Move({"x": (dtype, dims)}, lambda g: g.add("Transpose", "x", perm=perm),
                lambda x: x.transpose(perm), lambda t, x: x.permute(perm).contiguous(), large,
                (dtype, tuple(dims[i] for i in perm)), more=more)


def cumulative(dims, axis, large, dtype=F32, more=()):
    wide = np.int64 if dtype == I64 else np.float64
    return Move({"x": (dtype, dims)}, lambda g: g.add("CumSum", "x", g.weight(np.array(axis))),
                lambda x: x.astype(wide).cumsum(axis), lambda t, x: x.cumsum(axis), large,
                (dtype, dims), 0 if dtype == I64 else 2e-4, more=more)


def cumulative_backward(dtype, bound):
    """Of what comes behind each element."""
    return Move({"x": (dtype, "NM")}, lambda g: g.add("CumSum", "x", g.weight(np.array(1)),
                                                      exclusive=1, reverse=1),
                lambda x: x.astype(np.int64 if dtype == I64 else np.float64)[:, ::-1].cumsum(1)
                [:, ::-1] - x, lambda t, x: x.flip(1).cumsum(1).flip(1) - x,
                dict(N=64, M=1 << 18), (dtype, "NM"), bound)


def normalised(large, dtype=F16):
    return Move({"x": (dtype, "NM"), "scale": (dtype, "M")},
                lambda g: g.add("LayerNormalization", "x", "scale", axis=-1), layer_norm,
                lambda t, x, scale: t.nn.functional.layer_norm(x, x.shape[-1:], scale), large,
                (dtype, "NM"), 1e-2)


# Many rows that fit into shared memory, whose ends fit vectors, or do not.
# N, M, C, K: images of few channels, several parts to each, the last one shorter.
IMAGES = ((2, 64, 3, 136), (1, 100, 15, 52), (3, 67, 2, 131), (1, 260, 5, 256))
# N, M: columns that are many, few, less than a warp has, and long ones.
COLUMNS = ((260, 8500, 1, 1), (300, 40, 1, 1), (256, 8, 1, 1), (9000, 33, 1, 1), (500, 7, 1, 1))
PICKS = ((300, 4100, 1, 3600), (1100, 777, 1, 1001), (300, 8192, 1, 4001), (270, 8193, 1, 4001))

# Rows of several parts, whose elements are many or few: most points meet.
ROWS = ((17, 5000, 1, 129), (20, 3, 1, 300), (2, 1, 1, 2100), (3, 9000, 1, 2500))

MOVES = {
    "embedding": Move({"x": (F16, "NM"), "i": (I64, "K", "N")},
                      lambda g: g.add("Gather", "x", "i", axis=0), lambda x, i: taken(x, 0, i),
                      lambda t, x, i: x[i], dict(N=50257, M=1024, K=131072), (F16, "KM"),
                      partly=("x",)),
    "gather_inner": Move({"x": (F32, "NM"), "i": (I64, "K", "M")},
                         lambda g: g.add("Gather", "x", "i", axis=1),
                         lambda x, i: taken(x, 1, i), lambda t, x, i: x.index_select(1, i),
                         dict(N=16384, M=4096, K=4096), (F32, "NK"), more=PICKS),
    "gather_elements": Move({"x": (F32, "NM"), "i": (I64, "NK", "M")},
                            lambda g: g.add("GatherElements", "x", "i", axis=1),
                            lambda x, i: np.take_along_axis(x, i, 1) if x.size
                            else np.zeros(i.shape, x.dtype),
                            lambda t, x, i: x.gather(1, i), dict(N=8192, M=4096, K=4096),
                            (F32, "NK"), more=PICKS),
    "gather_nd": Move({"x": (F32, "NMC"), "i": (I64, "K1", "N")},
                      lambda g: g.add("GatherND", "x", "i"), lambda x, i: taken(x, 0, i[:, 0]),
                      lambda t, x, i: x[i[:, 0]], dict(N=4096, M=64, C=128, K=8192),
                      (F32, "KMC"), partly=("x",)),
    "scatter_elements": Move({"x": (F32, "NM"), "i": (I64, "NK", "-M"), "u": (F32, "NK")},
                             lambda g: g.add("ScatterElements", "x", "i", "u", axis=1), put,
                             lambda t, x, i, u: x.scatter(1, i, u), dict(N=8192, M=4096, K=2048),
                             (F32, "NM")),
    "scatter_add": Move({"x": (F32, "NM"), "i": (I64, "NK", "M"), "u": (F32, "NK")},
                        lambda g: g.add("ScatterElements", "x", "i", "u", axis=1,
                                        reduction="add"), scattered,
                        lambda t, x, i, u: x.scatter_add(1, i, u), dict(N=8192, M=4096, K=2048),
                        (F32, "NM"), 1e-4, more=ROWS),
    "scatter_rows": Move({"x": (F32, "NM"), "i": (I64, "K1", "-N"), "u": (F32, "KM")},
                         lambda g: g.add("ScatterND", "x", "i", "u"), put_rows,
                         lambda t, x, i, u: x.index_copy(0, i[:, 0], u),
                         dict(N=32768, M=2048, K=16384), (F32, "NM")),
    "scatter_again": Move({"x": (F32, "NM"), "i": (I64, "NK", "M"), "u": (F32, "NK")},
                          lambda g: g.add("ScatterElements", "x", "i", "u", axis=1), put_last,
                          lambda t, x, i, u: x.scatter(1, i, u), dict(N=64, M=4096, K=2048),
                          (F32, "NM"), more=ROWS),
    "add_rows": Move({"x": (F32, "NM"), "i": (I64, "K1", "N"), "u": (F32, "KM")},
                     lambda g: g.add("ScatterND", "x", "i", "u", reduction="add"), add_rows,
                     lambda t, x, i, u: x.index_add(0, i[:, 0], u),
                     dict(N=32768, M=2048, K=16384), (F32, "NM"), 1e-4),
    "add_few": Move({"x": (F32, "N"), "i": (I64, "K1", "N"), "u": (F32, "K")},
                    lambda g: g.add("ScatterND", "x", "i", "u", reduction="add"), add_rows,
                    lambda t, x, i, u: x.index_add(0, i[:, 0], u), dict(N=1024, K=1 << 20),
                    (F32, "N"), 1e-3, more=((1000, 1, 1, 50000), (70000, 1, 1, 90000))),
    "largest_rows": Move({"x": (I8, "NM"), "i": (I64, "K1", "N"), "u": (I8, "KM")},
                         lambda g: g.add("ScatterND", "x", "i", "u", reduction="max"),
                         lambda x, i, u: (np.maximum.at(y := x.copy(), i[:, 0], u), y)[1],
                         lambda t, x, i, u: x.index_reduce(0, i[:, 0], u, "amax"),
                         dict(N=32768, M=2048, K=16384), (I8, "NM")),
    "concat": Move({"x": (F16, "NM"), "z": (F16, "NK")},
                   lambda g: g.add("Concat", "x", "z", axis=1),
                   lambda x, z: np.concatenate([x, z], 1), lambda t, x, z: t.cat([x, z], 1),
                   dict(N=32768, M=2048, K=2048), (F16, ("N", "M+K"))),
    "slice_even": Move({"x": (F32, "NM")},
                       lambda g: g.add("Slice", "x", g.ints(0), g.ints(2**62), g.ints(1),
                                       g.ints(2)),
                       lambda x: x[:, ::2], lambda t, x: x[:, ::2].contiguous(),
                       dict(N=16384, M=8192), (F32, ("N", "M/2"))),
    "reversed": Move({"x": (F32, "NM")},
                     lambda g: g.add("Slice", "x", g.ints(-1), g.ints(-2**62), g.ints(1),
                                     g.ints(-1)),
                     lambda x: x[:, ::-1], lambda t, x: x.flip(1), dict(N=16384, M=4096),
                     (F32, "NM")),
    "expand": Move({"x": (F32, "N1C"), "s": (I64, "3", "NMC")}, lambda g: g.add("Expand", "x", "s"),
                   lambda x, s: np.broadcast_to(x, s), lambda t, x, s: x.expand(*s).contiguous(),
                   dict(N=512, M=256, C=1024), (F32, "NMC")),
    "where": Move({"c": (BOOL, "NM"), "x": (F32, "NM"), "z": (F32, "1")},
                  lambda g: g.add("Where", "c", "x", "z"),
                  lambda c, x, z: np.where(c, x, z),
                  lambda t, c, x, z: t.where(c, x, z), dict(N=16384, M=4096), (F32, "NM")),
    "heads": transpose(F16, "NMCK", (0, 2, 1, 3), dict(N=4, M=4096, C=32, K=128)),
    "channels_last": transpose(F32, "NCMK", (0, 2, 3, 1), dict(N=256, C=3, M=256, K=256),
                               IMAGES),
    "channels_first": transpose(F32, "NMKC", (0, 3, 1, 2), dict(N=256, C=3, M=256, K=256),
                               IMAGES),
    "channels_last_f16": transpose(F16, "NCMK", (0, 2, 3, 1), dict(N=256, C=3, M=256, K=256),
                               IMAGES),
    "images": Move({"x": (I8, "NMKC"), "f": (F32, "C11")},
                   lambda g: g.add("Mul", g.add("Cast", g.add("Transpose", "x", perm=(0, 3, 1, 2)),
                                                to=1), "f"),
                   lambda x, f: x.transpose(0, 3, 1, 2) * f,
                   lambda t, x, f: x.permute(0, 3, 1, 2).float() * f,
                   dict(N=256, C=3, M=256, K=256), (F32, "NCMK"), more=IMAGES),
    "images_back": Move({"x": (F32, "NCMK"), "f": (F32, "C"), "z": (F16, "NMKC")},
                        lambda g: g.add("Add", g.add("Cast", g.add("Add", g.add(
                            "Transpose", "x", perm=(0, 2, 3, 1)), "f"), to=10), "z"),
                        lambda x, f, z: (x.transpose(0, 2, 3, 1) + f).astype(F16) + z,
                        lambda t, x, f, z: (x.permute(0, 2, 3, 1) + f).half() + z,
                        dict(N=256, C=3, M=256, K=256), (F16, "NMKC"), more=IMAGES),
    "cumsum": cumulative("NM", 1, dict(N=16384, M=4096)),
    "cumsum_few": cumulative("NM", 1, dict(N=64, M=1 << 19)),
    "cumsum_one": cumulative("NM", 1, dict(N=1, M=1 << 22), more=((1, 1100000, 1, 1),)),
    "cumsum_columns": cumulative("NM", 0, dict(N=4096, M=16384), more=COLUMNS),
    "cumsum_few_columns": cumulative("NM", 0, dict(N=1 << 20, M=64), more=COLUMNS),
    "cumsum_middle_i64": cumulative("CNM", 1, dict(C=16, N=8192, M=256), I64, COLUMNS),
    "cumsum_backward_f16": cumulative_backward(F16, 4e-3),
    "cumsum_backward_i64": cumulative_backward(I64, 0),
    "argmax": Move({"x": (F32, "NM")}, lambda g: g.add("ArgMax", "x", axis=1, keepdims=0),
                   lambda x: x.argmax(1), lambda t, x: x.argmax(1), dict(N=16384, M=4096),
                   (I64, "N")),
    "middle": Move({"x": (F32, "NMC")}, lambda g: g.add("ReduceSum", "x", g.ints(1), keepdims=0),
                   lambda x: x.astype(np.float64).sum(1), lambda t, x: x.sum(1),
                   dict(N=64, M=1024, C=1024), (F32, "NC"), 2e-5),
    "layer_norm_4095": normalised(dict(N=32768, M=4095)),
    "layer_norm_777": normalised(dict(N=131072, M=777)),
    "add_i8": Move({"x": (I8, "NM"), "z": (I8, "NM")}, lambda g: g.add("Add", "x", "z"),
                   lambda x, z: x + z, lambda t, x, z: x + z, dict(N=32768, M=8192), (I8, "NM")),
    "xor": Move({"x": (BOOL, "NM"), "z": (BOOL, "NM")}, lambda g: g.add("Xor", "x", "z"),
                lambda x, z: x ^ z, lambda t, x, z: t.logical_xor(x, z), dict(N=32768, M=8192),
                (BOOL, "NM")),
    "one_hot": Move({"i": (I64, "N", "M"), "d": (I64, "", "=M")},
                    lambda g: g.add("OneHot", "i", "d", g.weight(np.array([0, 1], F32)), axis=-1),
                    lambda i, d: (i[:, None] == np.arange(d)).astype(F32),
                    lambda t, i, d: t.nn.functional.one_hot(i, int(d)).float(),
                    dict(N=32768, M=2048), (F32, "NM")),
    "split": Move({"x": (F16, "NMC")}, lambda g: g.add(
        "Concat", *g.add("Split", "x", axis=2, num_outputs=2, count=2)[::-1], axis=2),
                  lambda x: np.concatenate([x[..., (x.shape[2] + 1) // 2:],
                                            x[..., :(x.shape[2] + 1) // 2]], 2),
                  lambda t, x: t.cat(t.split(x, (x.shape[2] + 1) // 2, 2)[::-1], 2),
                  dict(N=64, M=1024, C=2048), (F16, "NMC")),
    "tile": Move({"x": (F32, "NM")}, lambda g: g.add("Tile", "x", g.ints(1, 4)),
                 lambda x: np.tile(x, (1, 4)), lambda t, x: x.repeat(1, 4), dict(N=16384, M=1024),
                 (F32, ("N", "4*M"))),
    "nonzero": Move({"x": (I8, "NM")}, lambda g: g.add("NonZero", "x"),
                    lambda x: np.stack(np.nonzero(x)), lambda t, x: x.nonzero(), dict(N=4096, M=4096),
                    (I64, ("2", None))),
    "compress": Move({"x": (F32, "NM"), "c": (BOOL, "N")},
                     lambda g: g.add("Compress", "x", "c", axis=0), lambda x, c: x[c],
                     lambda t, x, c: x[c], dict(N=1 << 20, M=64), (F32, (None, "M")),
                     partly=("x",)),
}


def onnx_type(onnx, dtype):
    return onnx.helper.np_dtype_to_tensor_dtype(dtype)


def build(folder, chip, only):
    import onnx
    from builder import Builder
    from ssmtest import compiler

    def symbols(dims):
        return [int(d) if d.isdigit() else d for d in dims]

    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in only:
        move, g = MOVES[name], Builder()
        for given, (dtype, dims, *_) in move.inputs.items():
            g.input(given, symbols(dims), onnx_type(onnx, dtype))
        dtype, dims = move.out
        out = [d if d is None or len(d) == 1 and not d.isdigit() else None for d in dims]
        g.output(move.build(g), out, onnx_type(onnx, dtype), name="y")
        onnx.save(g.model(), folder / f"{name}.onnx")
        done = compiler.run_compiler([folder / f"{name}.onnx", f"--target=cuda:{chip}",
                                      "--spill-budget=0", "-o", folder / f"{name}.so"])
        if done.returncode:
            failed += 1
            print(f"{name}: {done.stderr}", flush=True)
    return failed > 0


def make_inputs(random, move, sizes):
    """-> arrays by name, or nothing: sizes that the indices do not allow."""
    inputs = {}
    for name, (dtype, dims, *limit) in move.inputs.items():
        shape = tuple(int(d) if d.isdigit() else sizes[d] for d in dims)
        limit = limit[0] if limit else ""
        if limit.startswith("="):
            value = np.array(sizes[limit[1:]], dtype)
        elif len(limit) > 1 and "-" not in limit:
            value = np.array([sizes[d] for d in limit], dtype)
        elif limit:
            below = sizes[limit.lstrip("-")]
            if below == 0 and np.prod(shape):
                return None
            if limit.startswith("-"):
                along = 0 if dims[-1] == "1" else len(shape) - 1
                if shape[along] > below:
                    return None
                many = shape[:along] + (below,)
                value = random.permuted(np.broadcast_to(np.arange(below), many), axis=along)
                value = value[..., :shape[along]].reshape(shape).astype(dtype)
            else:
                value = random.integers(0, max(below, 1), shape, dtype)
        elif dtype == BOOL:
            value = random.random(shape) < 0.5
        elif dtype.kind == "i":
            value = random.integers(-1, 2, shape, dtype)
        else:
            value = random.standard_normal(shape, np.float32).astype(dtype)
        inputs[name] = value
    return inputs


def check(session, move, inputs):
    """-> what is wrong, or nothing."""
    expected, got = np.asarray(move.reference(**inputs)), session.run(inputs)["y"]
    if got.shape != expected.shape:
        return f"shape {got.shape}, expected {expected.shape}"
    if not move.bound:
        return None if np.array_equal(got, expected) else "values differ"
    expected = expected.astype(np.float64)
    error = np.abs(got.astype(np.float64) - expected).max(initial=0)
    most = move.bound * max(1, np.abs(expected).max(initial=0))
    return None if error <= most else f"error {error}"


def run(folder, timed, only, most):
    seed = int(os.environ.get("SSM_TEST_SEED", int.from_bytes(os.urandom(4), "little")))
    random = np.random.default_rng(seed)
    passed = failed = 0
    for name in only:
        session = runtime.Module(folder / f"{name}.so", "cuda").session()
        for sizes in MOVES[name].small():
            inputs = make_inputs(random, MOVES[name], sizes)
            if inputs is None or (name == "argmax" and sizes["M"] == 0) or \
                    (most and sum(x.size for x in inputs.values()) > most):
                continue
            try:
                wrong = check(session, MOVES[name], inputs)
            except Exception as error:  # told, and counted
                wrong = f"{type(error).__name__}: {error}"[:300]
            passed, failed = passed + (not wrong), failed + bool(wrong)
            if wrong:
                print(f"FAILED {name} {sizes}: {wrong}", flush=True)
    print(f"{passed} passed, {failed} failed (seed {seed})", flush=True)
    if timed:
        import torch

        time_moves(torch, folder, only)
    return failed > 0


def time_moves(torch, folder, only):
    rate = copy_rate(torch, 1 << 30)
    print(f"copy of 2^29 bytes: {rate / 1e12:.3f} TB/s", flush=True)
    random = np.random.default_rng()
    for name in only:
        move = MOVES[name]
        inputs = to_torch(torch, make_inputs(random, move, move.large))
        if "s" in inputs or "d" in inputs:  # shapes are read on the host
            inputs = {n: v.cpu() if n in "sd" else v for n, v in inputs.items()}
        runner, times, others = Runner(folder / f"{name}.so"), [], []
        for _ in range(8):
            runner.run(inputs)
            times.append(sum(seconds for _, seconds in runner.times))
        for _ in range(8):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            out = move.torch(torch, **inputs)
            end.record()
            torch.cuda.synchronize()
            others.append(start.elapsed_time(end) * 1e-3)
        out_bytes = out.numel() * move.out[0].itemsize
        size = out_bytes + sum(out_bytes if n in move.partly else v.nbytes
                               for n, v in inputs.items())
        took, other = median(times[2:]), median(others[2:])
        names = "+".join(kernel.removeprefix("kernel_") for kernel, _ in runner.times[:8])
        print(f"{name}: {took * 1e6:.0f} us, {size / took / rate:.2f} of copy; torch "
              f"{other * 1e6:.0f} us, {size / other / rate:.2f}  ({names})", flush=True)
        del runner, inputs, out
        torch.cuda.empty_cache()


if __name__ == "__main__":
    command.main(__doc__, MOVES, build, run, "no inputs of more elements than this")
