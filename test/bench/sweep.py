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

Losses of two kinds are inherent to a form, and printed apart from the others, with their
bound, which is what is lost where nothing else takes time:
- padding: a vector is computed whole, so 17 columns may cost two vectors of 16, 88 % more
  for each column. A loss that is none by the vectors that are computed.
- alignment: where the size is the length of an argument's rows, these begin on a cache line,
  or halfway, at each 8th size only; elsewhere a vector is read from two lines. A loss next
  to such a size; the bound counts the lines that vectors are read from.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test" / "harness")]
from ssmtest import compiler, runtime  # noqa: E402
import sweep_kernels  # noqa: E402
from sweep_kernels import KERNELS, Kernel  # noqa: E402

try:
    import onnxruntime
except ImportError:  # needed for --onnxruntime alone
    onnxruntime = None


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

    def bound(self, allowed):
        """What is lost if time goes with vectors, or with the lines that they are read from."""
        kind = self.kind(allowed)
        if kind == "other":
            return None
        count = self.kernel.padded if kind == "padding" else self.kernel.lines
        small, large = count(self.small), count(self.large)
        return max(large / self.large / (small / self.small), small / large) - 1

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
        # Again, and then with inputs in other places: a load that follows a store to the
        # same place of another page takes it for the same one, and waits.
        again = best(calls[i - 1:i + 1], 0.1)
        if pair(i, *again).loss() > allowed:
            both = []
            for sweep_kernels.place in range(0, sweep_kernels.PAGE, 1024):
                both += [bind(sizes[i - 1]), bind(sizes[i])]
            times_of_both = best(both, 0.4)
            again = [min(times_of_both[side::2]) for side in (0, 1)]
        if pair(i, *again).loss() > allowed:
            found.append(pair(i, *again))
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
    try:
        calls = [peer_call(pair.kernel, size) for size in (1, pair.small, pair.large)]
    except Exception:  # of ONNX Runtime's own classes: it refuses bf16
        return "-"
    empty, before, after = best(calls, 0.3)
    peer = Pair(pair.kernel, pair.small, pair.large, max(before - empty, 1e-9),
                max(after - empty, 1e-9))
    return f"{peer.loss():.0%}"


def worst(pairs):
    return max(pairs, key=Pair.loss) if pairs else None


def loss_of_bound(pair, allowed):
    bound = pair.bound(allowed)
    return f"{pair.loss():.0%}" + (f" ({bound:.0%})" if bound is not None else "")


def told(pair, allowed):
    return f"{loss_of_bound(pair, allowed)} at {pair.small} -> {pair.large}" if pair else "-"


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
                  "".join(f"{cell:>26}" for cell in cells[5:]), flush=True)
    kinds = ["padding", "alignment", "other"]
    head = ["", "neighbours", *kinds, "worst padding (bound)", "worst alignment (bound)", "worst other",
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
        row([name, count, *map(len, by_kind), *[told(pair, allowed) for pair in most], *peer])
        for pair in found if arguments.list else []:
            print(f"    {pair.small:4} -> {pair.large:4}: {pair.before * 1e6:9.2f} -> "
                  f"{pair.after * 1e6:9.2f} us, {loss_of_bound(pair, allowed)} "
                  f"{pair.kind(allowed)}", flush=True)


if __name__ == "__main__":
    main()
