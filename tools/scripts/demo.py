# ===- demo.py - Compiles a trained model and runs it on text -------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The second half of `demo`: everything is built when it starts.

Compiles the language model of this repository and lets it write, on the CPU and, where
there is one that runs it, on the GPU, beside ONNX Runtime on the same file. Then fetches typeseg's
trained Mamba, compiles it, runs it on a text, which `demo` has looked at, and prints what
it found, beside ONNX Runtime's answer and time.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from safetensors.numpy import load_file, save_file

import gpu
import typeseg

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / "build" / "bin"
MODELS = ROOT / "build" / "models"
REPEAT = 5
LANGUAGE_MODEL = ROOT / "test" / "models" / "bible_lm" / "bible_lm.onnx"
PROMPT = "And it came to pass in those days, that"

SAMPLE = """\
<div class="card"><h1>Weekly report</h1><p>Numbers of the spring</p></div>

.card { color: #222; padding: 4px 8px; }
.card h1 { font-size: 20px; margin: 0; }

def mean(values):
    total = sum(values)
    return total / len(values)

We walked along the river until the evening, and nobody said very much.
The numbers below were collected in spring, and they look quite good.

SELECT name, COUNT(*) AS n FROM visits WHERE year = 2024 GROUP BY name;
UPDATE visits SET seen = 1 WHERE year < 2020;

#!/bin/bash
for f in *.log; do grep -c ERROR "$f" | sort -n; done
echo "done" > /tmp/report && chmod 644 /tmp/report

U29tZSBzZWNyZXQgdGV4dCB0aGF0IG5vYm9keSBzaG91bGQgcmVhZCBldmVyIGFnYWlu
"""


class Failed(Exception):
    """A program that did not do what it was called for."""


def say(text):
    print(f"\n==> {text}", flush=True)


def call(*command):
    """Runs a command, shows it, returns what it wrote to stdout."""
    words = [str(word) for word in command]
    print("  $ " + " ".join(w.replace(f"{ROOT}/", "") for w in words), flush=True)
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise Failed(f"{Path(words[0]).name} failed with exit code {done.returncode}")
    return done.stdout


def compile_and_run(model, inputs):
    """-> (outputs by name, median ms of a run) of the compiled model."""
    module = MODELS / (model.stem + ".so")
    start = time.perf_counter()
    call(BIN / "ssm-compile", model, "-o", module)
    weights = module.with_name(module.stem + ".weights.safetensors")
    size = module.stat().st_size + (weights.stat().st_size if weights.exists() else 0)
    print(f"  compiled in {time.perf_counter() - start:.1f} s, {size / 1e6:.1f} MB")
    given, gotten = MODELS / "demo_in.safetensors", MODELS / "demo_out.safetensors"
    save_file(inputs, given)
    told = call(BIN / "ssm-run", module, "--inputs", given, "--outputs", gotten,
                "--repeat", REPEAT)
    median = re.search(r"median ([0-9.]+) ms", told)
    return load_file(gotten), float(median.group(1)) if median else float("nan")


def reference(model, inputs):
    """-> the same from ONNX Runtime, with its default options."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    times = []
    for _ in range(REPEAT + 1):
        start = time.perf_counter()
        values = session.run(names, inputs)
        times.append(1e3 * (time.perf_counter() - start))
    return dict(zip(names, values)), float(np.median(times[1:]))


def compare(ours, theirs):
    """The largest difference over all outputs, relative to the largest value."""
    worst = 0.0
    for name, value in theirs.items():
        if ours[name].shape != value.shape:
            sys.exit(f"demo: {name} has shape {ours[name].shape}, ONNX Runtime {value.shape}")
        difference = np.abs(ours[name].astype(np.float64) - value).max(initial=0)
        worst = max(worst, difference / max(np.abs(value).max(initial=0), 1e-30))
    return worst


def report_times(ours, theirs, worst):
    print(f"\n  {'':14}{'median time':>14}")
    print(f"  {'ssm-mlir':14}{ours:11.3f} ms")
    print(f"  {'ONNX Runtime':14}{theirs:11.3f} ms")
    print(f"\n  largest difference of the outputs: {worst:.1e} of their largest value")


def demo_typeseg(model, manifest, text):
    names = typeseg.labels(manifest)
    inputs = {"ids": typeseg.encode(text)}
    say(f"Compiling {model.name} and running it on {len(inputs['ids'])} bytes of text")
    ours, our_time = compile_and_run(model, inputs)
    say("ONNX Runtime on the same")
    theirs, their_time = reference(model, inputs)
    worst = compare(ours, theirs)
    say("What it found")
    for part, label, chance in typeseg.runs(text, ours["logits"]):
        shown = part.strip().replace("\n", " ")
        shown = shown if len(shown) <= 56 else shown[:55] + "…"
        print(f"  {names[label]:<22} {100 * chance:3.0f} %  {shown}")
    same = (ours["logits"].argmax(1) == theirs["logits"].argmax(1)).sum()
    print(f"\n  ONNX Runtime finds the same class for {same} of {len(inputs['ids'])} bytes")
    report_times(our_time, their_time, worst)
    return same == len(inputs["ids"]) and worst < 1e-3


def write_with_onnxruntime(prompt, count):
    """-> (the likeliest bytes, tokens/s) of a loop that hands the states on."""
    session = onnxruntime.InferenceSession(str(LANGUAGE_MODEL), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feeds = {i.name: np.zeros([1, *i.shape[1:]], np.float32) for i in session.get_inputs()
             if i.name != "ids"}
    feeds["ids"] = np.frombuffer(prompt.encode(), np.uint8)[None].astype(np.int64)
    made, start = bytearray(), 0.0
    while len(made) <= count:
        results = dict(zip(names, session.run(names, feeds)))
        start = start or time.perf_counter()  # the prompt is not counted
        made.append(int(results["logits"][0, -1].argmax()))
        feeds = {n: results[n.replace("past", "present")] for n in feeds if n != "ids"}
        feeds["ids"] = np.array([[made[-1]]], np.int64)
    return bytes(made[:count]), count / (time.perf_counter() - start)


def write(module, *options):
    """Streams what the model writes. -> (text, new tokens/s)."""
    words = [str(w) for w in (BIN / "ssm-run", "generate", module, "--prompt", PROMPT, *options)]
    print("  $ " + " ".join(f'"{w}"' if " " in w else w.replace(f"{ROOT}/", "") for w in words),
          flush=True)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    text = bytearray()
    while chunk := process.stdout.read1():
        print("" if text else f"\n{PROMPT}", end="")
        text += chunk
        print(chunk.decode(errors="replace"), end="", flush=True)
    told = process.stderr.read().decode()
    if process.wait() != 0:
        last = told.strip().rpartition("\n")[2] or f"ssm-run ended with {process.returncode}"
        raise Failed(last.removeprefix("ssm-run: "))
    print("\n" + "\n".join(f"  {line}" for line in told.splitlines()))
    return bytes(text[:-1]), float(re.search(r"new: .* ([0-9]+) tokens/s", told).group(1))


def write_on_gpu(device, *options):
    """The same text from a module for the GPU, as `write`."""
    say(f"The same on the GPU, {device.product} ({device.chip})")
    module = MODELS / "bible_lm_gpu.so"
    call(BIN / "ssm-compile", LANGUAGE_MODEL, f"--target=cpu,cuda:{device.chip}", "-o", module)
    return write(module, "--device", "cuda", *options)


def compile_language_model():
    """-> its module."""
    say(f"Compiling {LANGUAGE_MODEL.name}, a byte-level Mamba of 1.8 M parameters, and letting it write")
    module = MODELS / "bible_lm.so"
    call(BIN / "ssm-compile", LANGUAGE_MODEL, "-o", module)
    return module


def demo_language_model(module):
    """Whether all that run it write the same."""
    write(module, "--max-new", 400, "--temperature", 0.7, "--top-p", 0.95, "--seed", 7)
    say("The likeliest text, beside ONNX Runtime on the same file")
    likeliest = ("--max-new", 200, "--temperature", 0)
    written = {"ssm-mlir": write(module, *likeliest)}
    device = gpu.find()
    if isinstance(device, gpu.Gpu):
        try:
            written["ssm-mlir, GPU"] = write_on_gpu(device, *likeliest)
        except Failed as reason:
            # A driver that is too old, a GPU that is full: the demonstration is not over.
            print(f"\n  Without the GPU, which cannot run it: {reason}")
    else:
        print(f"\n  On the CPU alone, for there is no NVIDIA GPU here: {device}.")
    written["ONNX Runtime"] = write_with_onnxruntime(PROMPT, 200)
    print(f"\n  {'':14}{'new text':>12}")
    for name, (_, rate) in written.items():
        print(f"  {name:14}{rate:8.0f} tokens/s")
    same = len({text for text, _ in written.values()}) == 1
    print(f"\n  {'All write the same.' if same else 'They write different texts!'}")
    return same


def main():
    text = Path(sys.argv[1]).read_text(encoding="utf-8") if len(sys.argv) > 1 else SAMPLE
    MODELS.mkdir(parents=True, exist_ok=True)
    right = demo_language_model(compile_language_model())
    say(f"Fetching the trained model of typeseg {typeseg.VERSION} (21 MB, once)")
    try:
        files = typeseg.fetch(MODELS)
    except OSError as error:
        print(f"  not to be had ({error}): left out")
    else:
        right = demo_typeseg(*files, text) and right
    if not right:
        sys.exit("demo: the answers differ")
    print("\n  The answers agree.")


if __name__ == "__main__":
    try:
        main()
    except Failed as reason:
        sys.exit(f"demo: {reason}")
