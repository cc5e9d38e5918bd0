# ===- sweep.py - Cost per element over sizes 1 to 300 ----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Looks for cliffs: sizes that are much slower than their neighbours.

usage: build/venv/bin/python test/bench/sweep.py [--upto N] [--loss PERCENT] [--list]
       [--markdown] [--onnxruntime] [NAME]...

A kernel is compiled once with an open size, or, where its name says "fixed", for each
size; all run on one thread. A pair of neighbours loses if the time per element grows by
more than the loss from one to the next, or if the larger takes that much less time in
all. Such pairs are measured again, in turns and longer, before they count. With
--onnxruntime the last column is what ONNX Runtime loses between the same two sizes as the
worst pairs of each kind.

Losses of two kinds are inherent to a form, and printed apart from the others:
- padding: a vector is computed whole, so 17 columns may cost two vectors of 16, 88 % more
  for each column. A loss that is none by the vectors that are computed.
- alignment: where the size is the length of an argument's rows, these begin on a cache line,
  or halfway, at each 8th size only; elsewhere a vector is read from two lines. A loss next
  to such a size.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
from onnx import helper

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test" / "harness"), str(ROOT / "test" / "models")]
import mamba  # noqa: E402
from builder import Builder  # noqa: E402
from ssmtest import compiler, runtime  # noqa: E402

try:
    import onnxruntime
except ImportError:  # needed for --onnxruntime alone
    onnxruntime = None

f32, f16 = np.float32, np.float16
FIXED = 128
LANES = 16  # of the widest vector; 16-bit types are computed in 32 bits


@dataclass
class Kernel:
    make: Callable    # a size, or a name for an open one -> model
    inputs: Callable  # size -> {name: array}
    fixed: bool = False
    lanes: int = 1    # elements that the swept axis is padded to
    line: int = 0     # elements of a cache line, where the swept axis is a matrix's last one

    def sizes(self, upto):
        if not self.fixed:
            return list(range(upto + 1))
        # Each takes a compilation: small ones, and those around whole vectors.
        return [size for size in range(upto + 1)
                if size <= 40 or size % LANES in (0, 1, LANES - 1)]

    def padded(self, size):
        return -(-size // self.lanes) * self.lanes


def ones(shape, dtype=f32, value=1):
    """An array that begins with a cache line: otherwise its place, which the allocator
    chooses by its size, counts."""
    count = int(np.prod(shape))
    room = np.empty(count * np.dtype(dtype).itemsize + 64, np.uint8)
    begin = -room.ctypes.data % 64
    array = room[begin:begin + count * np.dtype(dtype).itemsize].view(dtype).reshape(shape)
    array[...] = value
    return array


def product(axis, m=FIXED, k=FIXED, n=FIXED, batch=(), weight=False, transposed=False,
            dtype=f32, fixed=False):
    """A product of matrices with one size swept; the right side is an argument or a
    weight."""
    sizes = {"m": m, "k": k, "n": n}
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def dims(size):
        m, k, n = {**sizes, axis: size}.values()
        return [*batch, m, k], [*batch, *([n, k] if transposed else [k, n])], [*batch, m, n]

    def make(size):
        left, right, out = dims(size)
        g = Builder()
        x = g.input("x", left, kind)
        w = g.weight(np.ones(right, dtype)) if weight else g.input("w", right, kind)
        y = g.add("Gemm", x, w, transB=1) if transposed else g.add("MatMul", x, w)
        g.output(y, out, kind, name="y")
        return g.model()

    def inputs(size):
        left, right, _ = dims(size)
        return {"x": ones(left, dtype), **({} if weight else {"w": ones(right, dtype)})}
    is_row = not weight and axis == ("k" if transposed else "n")
    return Kernel(make, inputs, fixed, LANES if axis == "n" else 1,
                  64 // np.dtype(dtype).itemsize if is_row else 0)


def products():
    """By name: each size in turn."""
    forms = {"": {}, "1 row ": {"m": 1, "k": 512, "n": 512}, "8 rows ": {"m": 8},
             "transposed ": {"transposed": True},
             "transposed 1 row ": {"transposed": True, "m": 1, "k": 512, "n": 512},
             "transposed 8 rows ": {"transposed": True, "m": 8},
             "f16 ": {"dtype": f16}, "batch ": {"batch": [16], "m": 32, "k": 32, "n": 32}}
    found = {f"matmul {form}{axis}": product(axis, **sizes) for form, sizes in forms.items()
             for axis in ("kn" if "m" in sizes and "batch" not in sizes else "mkn")}
    for form, sizes in forms.items():
        if "batch" in sizes:
            continue
        if "m" not in sizes:
            found[f"matmul weight {form}m"] = product("m", weight=True, **sizes)
        if "transposed" not in sizes: # the same once it is packed
            for axis in "kn":
                found[f"matmul weight {form}{axis} fixed"] = \
                    product(axis, weight=True, fixed=True, **sizes)
    found["matmul n fixed"] = product("n", fixed=True)
    found["matmul transposed m fixed"] = product("m", transposed=True, fixed=True)
    return found


def rows(op, **attributes):
    def make(size):
        g = Builder()
        x = g.input("x", [FIXED, size])
        g.output(g.add(op, x, **attributes), [FIXED, size], name="y")
        return g.model()
    return Kernel(make, lambda size: {"x": ones((FIXED, size))}, lanes=LANES, line=16)


def channels():
    """A Mamba-1 scan of 64 steps with an open number of channels."""
    def make(size):
        g = Builder()
        state = g.input("state", [1, size, 16])
        names = [g.input(n, [64, 1, size]) for n in ("dt", "u")]
        names += [g.input(n, [64, 1, 16]) for n in ("b", "c")]
        a, skip = g.input("a", [size, 16]), g.input("skip", [size])
        last, y = g.add("Scan", state, *names, count=2, num_scan_inputs=4,
                        body=mamba.scan_step(a, skip))
        g.output(y, [64, 1, size], name="y")
        g.output(last, [1, size, 16], name="last")
        return g.model()

    def inputs(size):
        return {"state": ones((1, size, 16), value=0), "dt": ones((64, 1, size), value=0.1),
                "u": ones((64, 1, size)), "b": ones((64, 1, 16)), "c": ones((64, 1, 16)),
                "a": ones((size, 16), value=-1), "skip": ones(size)}
    return Kernel(make, inputs, lanes=LANES)


KERNELS = {**products(), "softmax": rows("Softmax", axis=-1), "sigmoid": rows("Sigmoid"),
           "scan channels": channels()}


def best(calls, seconds):
    """The least time of each call, in turns."""
    times = [float("inf")] * len(calls)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for i, call in enumerate(calls):
            begin = time.perf_counter()
            call()
            times[i] = min(times[i], time.perf_counter() - begin)
    return times


@dataclass
class Pair:
    """Neighbours and their times, what any call costs taken off."""
    kernel: Kernel
    small: int
    large: int
    before: float
    after: float

    def growth(self, count):
        return (self.after / count(self.large)) / (self.before / count(self.small)) - 1

    def loss(self):
        """Of the larger by the element, or of the smaller in all."""
        return max(self.growth(lambda size: size), self.before / self.after - 1)

    def kind(self, allowed):
        grows = self.growth(self.kernel.padded) > allowed
        falls = self.before / self.after - 1 > allowed
        if not grows and not falls:
            return "padding"
        line = self.kernel.line
        if line and any(slow % (line // 2) and fast % (line // 2) == 0 for slow, fast in
                        [(self.large, self.small)] * grows + [(self.small, self.large)] * falls):
            return "alignment"
        return "other"


def losses(kernel, upto, allowed):
    """How many pairs there are, and those that lose."""
    sizes = kernel.sizes(upto)
    if not kernel.fixed:
        session = runtime.Module(compiler.compile_model(kernel.make("size"))).session()

    def bind(size):
        own = runtime.Module(compiler.compile_model(kernel.make(size))).session() \
            if kernel.fixed else session
        return own.bind(kernel.inputs(size))
    calls = [bind(size) for size in sizes]
    times = [float("inf")] * len(calls)
    for _ in range(3):  # far apart: what disturbs one round is gone in the next
        times = [min(t, best([call], 0.003)[0]) for t, call in zip(times, calls)]

    def pair(i, before, after):
        return Pair(kernel, sizes[i - 1], sizes[i], max(before - times[0], 1e-9),
                    max(after - times[0], 1e-9))
    count, found = 0, []
    for i in range(2, len(sizes)):
        if sizes[i] != sizes[i - 1] + 1:
            continue
        count += 1
        # What takes less than a call does cannot be told.
        if times[i - 1] < 2 * times[0] or pair(i, *times[i - 1:i + 1]).loss() <= allowed:
            continue
        # Again, and then with other memory: which pages it has counts too.
        again = pair(i, *best(calls[i - 1:i + 1], 0.1))
        if again.loss() > allowed:
            again = min(again, pair(i, *best([bind(sizes[i - 1]), bind(sizes[i])], 0.1)),
                        key=Pair.loss)
        if again.loss() > allowed:
            found.append(again)
    return count, found


def peer_call(kernel, size):
    """A call of ONNX Runtime at that size, with inputs and outputs bound."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        kernel.make(size if kernel.fixed else "size").SerializeToString(), options,
        providers=["CPUExecutionProvider"])
    binding, kept = session.io_binding(), kernel.inputs(size)
    for name, array in kept.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return lambda: kept and session.run_with_iobinding(binding)


def peer_loss(pair):
    """What ONNX Runtime loses between the same sizes."""
    if onnxruntime is None:
        return "-"
    calls = [peer_call(pair.kernel, size) for size in (pair.small, pair.large)]
    empty, before, after = best([peer_call(pair.kernel, pair.kernel.sizes(1)[-1]), *calls], 0.3)
    peer = Pair(pair.kernel, pair.small, pair.large, max(before - empty, 1e-9),
                max(after - empty, 1e-9))
    return f"{peer.loss():.0%}"


def worst(pairs):
    return max(pairs, key=Pair.loss) if pairs else None


def told(pair):
    return f"{pair.loss():.0%} at {pair.small} -> {pair.large}" if pair else "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upto", type=int, default=300)
    parser.add_argument("--loss", type=float, default=15)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--onnxruntime", action="store_true")
    parser.add_argument("--list", action="store_true", help="print each pair that loses")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()

    def row(cells):
        if arguments.markdown:
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        else:
            print(f"{cells[0]:32}" + "".join(f"{cell:>11}" for cell in cells[1:5]) +
                  "".join(f"{cell:>21}" for cell in cells[5:]), flush=True)
    kinds = ["padding", "alignment", "other"]
    head = ["", "neighbours", *kinds, *[f"worst {kind}" for kind in kinds],
            *["ONNX Runtime's"] * arguments.onnxruntime]
    row(head)
    if arguments.markdown:
        print("|---" * len(head) + "|")
    allowed = arguments.loss / 100
    for name, kernel in KERNELS.items():
        if arguments.names and not any(word in name for word in arguments.names):
            continue
        count, found = losses(kernel, arguments.upto, allowed)
        by_kind = [[pair for pair in found if pair.kind(allowed) == kind] for kind in kinds]
        most = [worst(pairs) for pairs in by_kind]
        peer = [", ".join(peer_loss(pair) for pair in most if pair) or "-"] \
            if arguments.onnxruntime else []
        row([name, count, *map(len, by_kind), *map(told, most), *peer])
        for pair in found if arguments.list else []:
            print(f"    {pair.small:4} -> {pair.large:4}: {pair.before * 1e6:9.2f} -> "
                  f"{pair.after * 1e6:9.2f} us, {pair.loss():+.0%} {pair.kind(allowed)}",
                  flush=True)


if __name__ == "__main__":
    main()
