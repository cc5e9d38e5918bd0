# ===- run.py - Speed beside other runtimes and the machine's limits ---------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Times compiled modules, ONNX Runtime and, if wanted, OpenVINO on the same models,
turn by turn in one process, and the limits of the machine in the same run.

usage: build/venv/bin/python test/bench/run.py [--threads N]... [--group G]...
       [--openvino] [--markdown] [NAME]...

Each row: best times, the ratio to the best peer (above 1: ours is faster), the time
that the limit allows, and our share of it. Trust ratios to about 15 % on a machine
with other work.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test" / "harness"), str(ROOT / "test" / "models"),
                str(ROOT / "tools" / "scripts")]
import workloads  # noqa: E402
from limits import Limits  # noqa: E402
from ssmtest import compare, compiler, runtime  # noqa: E402

PAUSE = 0.1
CALLS = 8
LOAD = "load of a block"
SECONDS = 2.0  # at least that long for each row and side


def onnxruntime_call(model, inputs, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)


def openvino_call(model, inputs, threads):
    import openvino
    core = openvino.Core()
    read = core.read_model(str(model)) if isinstance(model, Path) else \
        core.read_model(model.SerializeToString(), b"")
    compiled = core.compile_model(read, "CPU", {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    return lambda: request.infer(inputs, share_inputs=True)


def install_openvino():
    """Into the environment that runs this. False if there is none to be had."""
    try:
        import openvino  # noqa: F401
    except ImportError:
        done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "openvino"],
                              check=False)
        return done.returncode == 0
    return True


def best_times(calls):
    """Turn by turn, so that all meet the same neighbours, and with a pause between:
    threads of some peers spin for a while after their work. A turn is several calls, as
    a server or a decoder makes them: the first finds threads asleep. Seconds."""
    best = [float("inf")] * len(calls)
    start = time.perf_counter()
    while time.perf_counter() - start < SECONDS * len(calls):
        for side, call in enumerate(calls):
            time.sleep(PAUSE)
            for _ in range(CALLS):
                begin = time.perf_counter()
                call()
                best[side] = min(best[side], time.perf_counter() - begin)
    return best


def prepare(name, make, *arguments):
    """A call that has run once, or None: the reason is told once."""
    try:
        call = make(*arguments)
        call()
        return call
    except Exception as error:  # what a runtime refuses with is its own affair
        first = str(error).strip().splitlines() or [type(error).__name__]
        print(f"    {name}: {first[0][:140]}", file=sys.stderr)
        return None


def warn_if_different(name, ours, peers):
    """A fast wrong answer is none. Rough, for peers round half types after each operator."""
    for (output, got), wanted in zip(ours.items(), peers):
        error = compare.relative_error(got, wanted)
        if error > (1e-3 if got.dtype.itemsize >= 4 else 5e-2):
            print(f"    {name}: {output} differs from ONNX Runtime's by {error:.1e}",
                  file=sys.stderr)


def measure(workload, threads, limits, peers):
    """-> {"ours": seconds, peer: seconds, ..., "limit": seconds}, or None."""
    model, inputs = workload.make()
    session = runtime.Module(compiler.compile_model(model)).session(threads=threads)
    calls = {"ours": prepare("ours", lambda: session.bind(inputs))}
    for name, make in peers.items():
        calls[name] = prepare(name, make, model, inputs, threads)
    if calls["ours"] and calls["ORT"]:
        warn_if_different(workload.name, session.run(inputs), calls["ORT"]())
    running = {name: call for name, call in calls.items() if call}
    times = dict(zip(running, best_times(list(running.values()))))
    return {**times, "limit": limits.seconds(workload.flops, workload.moved, workload.bf16)}


def measure_load(peers):
    """Of a Mamba-1 block, from its file to a session that can run."""
    model, inputs = workloads.block(1, "f32")
    path = compiler.compile_model(model)
    calls = {"ours": lambda: runtime.Module(path).session()}
    # A peer's session is made anew and does not run.
    for name, make in peers.items():
        calls[name] = lambda make=make: make(model, inputs, 1)
    return dict(zip(calls, best_times(list(calls.values()))))


class Table:
    def __init__(self, peers, markdown):
        self.peers, self.markdown = list(peers), markdown
        self.row(["", "threads", "ours ms", *[f"{p} ms" for p in peers], "ratio", "limit ms",
                  "share"])
        if markdown:
            print("|---" * (6 + len(self.peers)) + "|")

    def row(self, cells):
        if self.markdown:
            print("| " + " | ".join(cells) + " |", flush=True)
        else:
            print(f"{cells[0]:24}" + "".join(f"{cell:>12}" for cell in cells[1:]), flush=True)

    def add(self, name, threads, times):
        def ms(key):
            return f"{times[key] * 1e3:.3f}" if key in times else "-"
        ours = times.get("ours", float("nan"))
        best = min((times[p] for p in self.peers if p in times), default=float("nan"))
        share = f"{times['limit'] / ours:.0%}" if "limit" in times else "-"
        self.row([name, str(threads), ms("ours"), *[ms(p) for p in self.peers],
                  f"{best / ours:.2f}", ms("limit"), share])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, action="append")
    parser.add_argument("--group", action="append",
                        choices=sorted({w.group for w in workloads.ALL}))
    parser.add_argument("--openvino", action="store_true",
                        help="time OpenVINO too; installs it beside ONNX Runtime if needed")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    peers = {"ORT": onnxruntime_call}
    if arguments.openvino and install_openvino():
        peers["OpenVINO"] = openvino_call
    limits = {threads: Limits(threads) for threads in arguments.threads or [1, 2]}
    for threads, limit in limits.items():
        print(f"limits of {threads} threads: {limit.gflops:.0f} GFLOP/s, "
              f"{limit.bf16_gflops:.0f} of bf16, "
              f"{limit.read_gbs(16 << 20):.0f} GB/s of 16 MB, "
              f"{limit.read_gbs(256 << 20):.0f} GB/s of 256 MB")
    table = Table(peers, arguments.markdown)
    for workload in workloads.ALL:
        if arguments.names and not any(word in workload.name for word in arguments.names):
            continue
        if arguments.group and workload.group not in arguments.group:
            continue
        for threads, limit in limits.items():
            try:
                table.add(workload.name, threads, measure(workload, threads, limit, peers))
            except (OSError, compiler.CompileError) as error:
                print(f"{workload.name} is left out: {error}")
                break
    if not arguments.group and (not arguments.names or LOAD in arguments.names):
        # OpenVINO refuses the block.
        table.add(LOAD, 1, measure_load({"ORT": onnxruntime_call}))


if __name__ == "__main__":
    main()
