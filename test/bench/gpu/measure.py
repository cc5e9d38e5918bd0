# ===- measure.py - Times on a GPU and its limits --------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Sides of a row as CUDA graphs of some calls each, timed turn by turn."""

import functools
import statistics
import sys
import time

import device
import peers
import torch
import triton
import triton.language as tl

CACHE = 256 << 20   # bytes that are written between two measurements: more than the cache
REST = 0.5          # seconds before a burst
BURST = 0.02        # seconds of a burst
ROUNDS = 3
ENOUGH = 1e-3       # a graph has as many calls as take this long: its own launch is no part of one
MOST_CALLS = 16
# Larger of error and largest value; bf16 has 8 bits.
BOUND = 2e-2


@triton.jit
def exponentials(out, count, block: tl.constexpr):
    """count times block of ex2 for each program: the rate of special functions."""
    x = tl.program_id(0) * 1e-9 + tl.arange(0, block).to(tl.float32) * -1e-3
    for _ in range(count):
        x = tl.exp2(x) - 1.0
    tl.store(out + tl.arange(0, block), x, mask=x == 1e30)


def seconds_of(call, repeat=5):
    """The median time of a call on the GPU."""
    times = []
    for _ in range(repeat):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) * 1e-3)
    return statistics.median(times)


class Limits:
    """What the GPU can do, in units a second, from torch's own kernels."""

    def __init__(self):
        source, to = (torch.empty(1 << 31, dtype=torch.uint8, device="cuda") for _ in range(2))
        self.copied = 2 * (1 << 31) / seconds_of(lambda: to.copy_(source))
        self.read = (1 << 31) / seconds_of(lambda: source.view(torch.float32).sum())
        self.written = (1 << 31) / seconds_of(lambda: to.fill_(1))
        del source, to
        a, b = (torch.randn(8192, 8192, device="cuda").bfloat16() for _ in range(2))
        c = torch.empty_like(a)
        time.sleep(REST)
        self.flops = 2 * 8192**3 / seconds_of(lambda: torch.matmul(a, b.t(), out=c))
        out, count, block = torch.empty(1024, device="cuda"), 4096, 1024
        programs = 8 * torch.cuda.get_device_properties(0).multi_processor_count
        run = functools.partial(exponentials[programs,], out, count, block)
        run()
        self.exps = programs * count * block / seconds_of(run)

    def seconds(self, row):
        return max(row.moved / self.copied, row.flops / self.flops, row.exps / self.exps)


def captured(calls):
    """A function that replays a graph of all calls; what they need is allocated before."""
    stream = torch.cuda.current_stream()
    for _ in range(2):
        for call in calls:
            call()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for call in calls:
            call()

    def replay(_alive=calls):
        graph.replay()
    return replay


class Bench:
    def __init__(self, folder, hot):
        self.folder, self.hot = folder, hot
        torch.cuda.set_stream(torch.cuda.Stream())
        torch.set_grad_enabled(False)
        torch.manual_seed(1)
        self.cache = torch.empty(CACHE, dtype=torch.uint8, device="cuda")
        self.limits = Limits()

    def tell_limits(self):
        limits, properties = self.limits, torch.cuda.get_device_properties(0)
        launch = seconds_of(captured([lambda: self.cache[:1].fill_(1)] * 100)) / 100
        print(f"{properties.name}, PyTorch {torch.__version__}; limits: copy "
              f"{limits.copied / 1e12:.2f} TB/s, read {limits.read / 1e12:.2f}, write "
              f"{limits.written / 1e12:.2f}, bf16 8192 cubed {limits.flops / 1e12:.0f} TFLOP/s, "
              f"ex2 {limits.exps / 1e12:.2f} T/s, a node of a graph {launch * 1e6:.2f} us; "
              f"{'hot' if self.hot else 'rested'}", flush=True)

    def ours(self, row, inputs):
        """-> (call, {name: tensor} it writes)."""
        model = device.Model(self.folder / f"{row.model}.so")
        outputs = {name: torch.empty_like(value) for name, value in row.results(inputs).items()}
        return model.bind(inputs, outputs), outputs

    def sides(self, row):
        """-> {side: seconds of one call, by a function that times it}"""
        inputs = row.inputs()
        call, outputs = self.ours(row, inputs)
        call()
        torch.cuda.synchronize()
        if row.peer:
            warn_if_different(row, outputs, row.peer(**inputs))
        copies = max(1, min(MOST_CALLS, int(ENOUGH / seconds_of(call, 3))))
        sets = [inputs] + [row.inputs() for _ in range(copies - 1)]
        made = {"ours": lambda given: self.ours(row, given)[0]}
        if row.peer:
            eager = functools.partial(row.peer)
            if row.loop:
                whole = functools.partial(row.peer, step=torch.compile(peers.selective_step))
            else:
                whole = torch.compile(row.peer, dynamic=False)
            made["graph"] = lambda given: functools.partial(eager, **given)
            made["compiled"] = lambda given: functools.partial(whole, **given)
        sides = {}
        for name, make in made.items():
            try:
                sides[name] = captured([make(given) for given in sets]), copies
            except Exception as error:  # what torch refuses with is its own affair
                if name == "ours":
                    raise
                print(f"    {row.name}, {name}: {str(error).splitlines()[0][:140]}", file=sys.stderr)
        if row.peer:
            sides["eager"] = functools.partial(row.peer, **inputs), 1
        return sides

    def burst(self, call, copies, count):
        times = []
        for _ in range(count):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self.cache.fill_(1)
            start.record()
            call()
            end.record()
            times.append((start, end))
        torch.cuda.synchronize()
        return [start.elapsed_time(end) * 1e-3 / copies for start, end in times]

    def measure(self, row):
        """-> {side: median seconds}, with the limit."""
        sides = self.sides(row)
        times = {name: [] for name in sides}
        counts = {name: max(1, min(50, int(BURST / seconds_of(call, 2))))
                  for name, (call, _) in sides.items()}
        for _ in range(ROUNDS):
            for name, (call, copies) in sides.items():
                if not self.hot:
                    time.sleep(REST)
                times[name] += self.burst(call, copies, counts[name])
        del sides
        torch.cuda.empty_cache()
        return {**{name: statistics.median(t) for name, t in times.items()},
                "limit": self.limits.seconds(row)}


def warn_if_different(row, ours, wanted):
    """A fast wrong answer is none."""
    for (name, got), want in zip(ours.items(), wanted):
        gap = (got.double() - want.double()).abs().max() / want.double().abs().max().clamp(min=1e-30)
        if not gap <= BOUND:
            print(f"    {row.name}: {name} differs from PyTorch's by {gap:.1e}", file=sys.stderr)


class Table:
    PEERS = ["eager", "graph", "compiled"]

    def __init__(self, markdown):
        self.markdown, self.begun = markdown, False

    def row(self, cells):
        if self.markdown:
            print("| " + " | ".join(cells) + " |", flush=True)
        else:
            print(f"{cells[0]:32}" + "".join(f"{cell:>10}" for cell in cells[1:]), flush=True)

    def add(self, row, times):
        if not self.begun:
            self.begun = True
            self.row(["ms", "ours", *self.PEERS, "ratio", "limit", "share", "target"])
            if self.markdown:
                print("|---" * (6 + len(self.PEERS)) + "|")

        def ms(seconds):
            return f"{seconds * 1e3:.4g}"
        best = min((times[p] for p in self.PEERS if p in times), default=None)
        self.row([row.name, ms(times["ours"]), *[ms(times[p]) if p in times else "-" for p in self.PEERS],
                  f"{best / times['ours']:.2f}" if best else "-", ms(times["limit"]),
                  f"{times['limit'] / times['ours']:.0%}",
                  ms(row.target * 1e-3) if row.target else "-"])
