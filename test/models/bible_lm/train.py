# ===- train.py - Trains the bundled language model ------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Trains a byte-level Mamba-1 on a text, for a given time. Needs torch and
safetensors; uses Triton if it is there.

Writes OUT/bible_lm.safetensors, OUT/bible_lm.json (the figures) and OUT/sample.txt.
The weights are those with the lowest loss on the 64 KiB before the held-out text,
which is neither trained on nor chosen by.

usage: train.py --text TEXT --held-out HELD_OUT --out OUT [--minutes M] [options]
"""

import argparse
import hashlib
import json
import math
import sys
import time
from pathlib import Path

import scan
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

VALIDATION_BYTES = 64 * 1024
# Bytes that are run at once when the loss is measured.
PIECE = 4096


# ===----------------------------------------------------------------------===#
# Model
# ===----------------------------------------------------------------------===#


def rms_norm(x, scale):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * scale


class Layer(nn.Module):
    """An RMSNorm, a Mamba-1 mixer and a residual."""

    def __init__(self, width, inner, state, rank, kernel, dropout):
        super().__init__()
        self.inner, self.state, self.rank, self.kernel = inner, state, rank, kernel
        self.dropout = dropout
        self.norm = nn.Parameter(torch.ones(width))
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv = nn.Parameter(torch.empty(inner, kernel).uniform_(-1, 1) / kernel**0.5)
        self.conv_bias = nn.Parameter(torch.zeros(inner))
        self.x_proj = nn.Linear(inner, rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.a_log = nn.Parameter(torch.log(torch.arange(1, state + 1.0)).repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)

    def initialize(self, layers):
        """Steps of 1e-3 to 0.1 at first; outputs small enough for `layers` residuals."""
        nn.init.uniform_(self.dt_proj.weight, -self.rank**-0.5, self.rank**-0.5)
        dt = torch.exp(torch.empty(self.inner).uniform_(math.log(1e-3), math.log(0.1)))
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
            self.out_proj.weight /= layers**0.5

    def forward(self, hidden, past_conv, past_ssm):
        """hidden [B, L, width], past_conv [B, kernel - 1, inner], past_ssm
        [B, inner, state] -> hidden, present_conv, present_ssm."""
        length = hidden.shape[1]
        x, gate = self.in_proj(rms_norm(hidden, self.norm)).chunk(2, -1)
        padded = torch.cat([past_conv, x.float()], 1)
        x = self.conv_bias
        for k in range(self.kernel):
            x = x + padded[:, k:k + length] * self.conv[:, k]
        x = F.silu(x)
        dt, b, c = self.x_proj(x).split([self.rank, self.state, self.state], -1)
        dt = F.softplus(self.dt_proj(dt).float())
        y, states = scan.selective_scan(dt, x, b.float(), c.float(), -torch.exp(self.a_log),
                                        past_ssm)
        out = self.out_proj((y + self.skip * x) * F.silu(gate))
        hidden = hidden + F.dropout(out.float(), self.dropout, self.training)
        # Copies: a view would keep all states of the sequence.
        return hidden, padded[:, length:].detach().clone(), states[:, -1].detach().clone()


class Model(nn.Module):
    """ids [B, L] -> logits [B, L, 256]; the embedding is the output layer too."""

    def __init__(self, layers, width, inner, state, rank, kernel, dropout):
        super().__init__()
        self.dropout = dropout
        self.embedding = nn.Parameter(torch.randn(256, width) * 0.02)
        self.layers = nn.ModuleList(Layer(width, inner, state, rank, kernel, dropout)
                                    for _ in range(layers))
        self.norm = nn.Parameter(torch.ones(width))
        for layer in self.layers:
            layer.initialize(layers)

    def begin(self, batch):
        """The states before the first byte."""
        zeros = self.embedding.new_zeros
        return [(zeros(batch, l.kernel - 1, l.inner), zeros(batch, l.inner, l.state))
                for l in self.layers]

    def forward(self, ids, states, layers=None):
        """layers: what to run in place of the model's own, the same ones compiled."""
        hidden = F.dropout(F.embedding(ids, self.embedding), self.dropout, self.training)
        news = []
        for layer, state in zip(layers or self.layers, states):
            hidden, *new = layer(hidden, *state)
            news.append(new)
        # Logits of 8 bits would be too coarse for the loss.
        with torch.autocast(ids.device.type, enabled=False):
            return F.linear(rms_norm(hidden, self.norm), self.embedding), news


@torch.no_grad()
def bits_per_byte(model, data):
    """The mean over all bytes of `data` but the first, each after all before it."""
    model.eval()
    states, total = model.begin(1), 0.0
    for start in range(0, len(data) - 1, PIECE):
        piece = data[start:start + PIECE + 1]
        logits, states = model(piece[None, :-1], states)
        total += F.cross_entropy(logits[0], piece[1:], reduction="sum").double().item()
    model.train()
    return total / (len(data) - 1) / math.log(2)


@torch.no_grad()
def sample(model, prompt, length, temperature, seed):
    model.eval()
    device = model.embedding.device
    generator = torch.Generator().manual_seed(seed)
    written = list(prompt.encode())
    logits, states = model(torch.tensor([written], device=device), model.begin(1))
    for _ in range(length):
        chances = torch.softmax(logits[0, -1].double().cpu() / temperature, -1)
        written.append(torch.multinomial(chances, 1, generator=generator).item())
        logits, states = model(torch.tensor([written[-1:]], device=device), states)
    model.train()
    return bytes(written).decode(errors="replace")


# ===----------------------------------------------------------------------===#
# Data
# ===----------------------------------------------------------------------===#


class Streams:
    """A batch of places in the text. Each goes on where it stopped, so that states
    are carried, and jumps to a random place once in `stay` steps on average."""

    def __init__(self, data, batch, length, stay):
        self.data, self.length, self.stay = data, length, stay
        self.last = len(data) - length - 1
        self.at = torch.randint(0, self.last + 1, (batch,), device=data.device)
        self.offsets = torch.arange(length + 1, device=data.device)

    def next(self):
        """-> ids, targets [B, L], and which rows go on [B]."""
        jump = (torch.rand(self.at.shape, device=self.at.device) < 1 / self.stay) \
            | (self.at > self.last)
        self.at = torch.where(jump, torch.randint_like(self.at, self.last + 1), self.at)
        window = self.data[self.at[:, None] + self.offsets]
        self.at = self.at + self.length
        return window[:, :-1], window[:, 1:], ~jump


def keep_rows(states, goes_on):
    keep = goes_on[:, None, None]
    return [tuple(torch.where(keep, x, 0.0) for x in pair) for pair in states]


# ===----------------------------------------------------------------------===#
# Training
# ===----------------------------------------------------------------------===#


def make_optimizer(model, options, device):
    matrices = [p for n, p in model.named_parameters() if p.ndim > 1 and not n.endswith("a_log")]
    others = [p for n, p in model.named_parameters() if p.ndim == 1 or n.endswith("a_log")]
    return torch.optim.AdamW([{"params": matrices, "weight_decay": options.weight_decay},
                              {"params": others, "weight_decay": 0.0}],
                             lr=options.rate, betas=(0.9, 0.98), fused=device.type == "cuda")


def compute_loss(model, layers, ids, targets, states):
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda):
        logits, states = model(ids, states, layers)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten()), states


def compile_layers(model, batch):
    """The layers compiled, or None (with the reason printed) if that fails, differs
    from the layers as they are, or is not faster."""
    ids, targets, _ = batch
    states = model.begin(len(ids))

    def measure(layers):
        """-> loss, norm of the gradient, seconds: of five steps after a first one."""
        for repeat in range(6):
            if repeat < 2:
                model.zero_grad()
                started = time.monotonic()
            loss, _ = compute_loss(model, layers, ids, targets, states)
            loss.backward()
            loss.item()
        # Dropout differs from step to step: gradients are summed over the five.
        norm = math.sqrt(sum(p.grad.double().square().sum().item() for p in model.parameters()))
        return loss.item(), norm / 5, (time.monotonic() - started) / 5
    wanted = measure(None)
    try:
        began = time.monotonic()
        layers = [torch.compile(layer, dynamic=False) for layer in model.layers]
        found = measure(layers)
        took = time.monotonic() - began
    except Exception as failure:  # pylint: disable=broad-except
        # Whatever the compiler throws: training can go on without.
        print(f"torch.compile failed: {type(failure).__name__}: {failure}", flush=True)
        return None
    finally:
        model.zero_grad()
    print(f"torch.compile took {took:.0f} s; loss {found[0]:.4f} ({wanted[0]:.4f} without), "
          f"gradient {found[1]:.4f} ({wanted[1]:.4f}), step {found[2] * 1e3:.1f} ms "
          f"({wanted[2] * 1e3:.1f})", flush=True)
    close = all(abs(f - w) < 0.1 * w for f, w in zip(found[:2], wanted[:2]))
    return layers if close and found[2] < wanted[2] else None


class Best:
    """Keeps the weights with the lowest validation loss, in a file at once: what was
    reached stays if the time runs out."""

    def __init__(self, model, validation, path):
        self.model, self.validation, self.path = model, validation, path
        self.bits = math.inf

    def update(self):
        bits = bits_per_byte(self.model, self.validation)
        if bits < self.bits:
            self.bits = bits
            save_file({n: p.detach().contiguous() for n, p in self.model.named_parameters()},
                      self.path)
        return bits


def train(model, layers, streams, options, device, best, until):
    """-> steps made. The rate goes from its peak to zero as the time goes."""
    optimizer = make_optimizer(model, options, device)
    states = model.begin(options.batch)
    began = reported = time.monotonic()
    step, total, count = 0, torch.zeros((), device=device), 0
    while True:
        now = time.monotonic()
        progress = (now - began) / (until - began)
        if progress >= 1 or step == options.steps:
            return step
        rate = options.rate * min(1, (step + 1) / options.warmup) \
            * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids, targets, goes_on = streams.next()
        loss, states = compute_loss(model, layers, ids, targets, keep_rows(states, goes_on))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        total += loss.detach()
        count += 1
        # Waits for the device now and then, so the time is that of steps done.
        if step % 10 == 0:
            mean = total.item() / count / math.log(2)
        if step % 10 == 0 and (time.monotonic() - reported > options.report or step == 10):
            bits = best.update()
            reported = time.monotonic()
            print(f"{reported - began:6.1f} s  step {step}  training {mean:.4f}  "
                  f"validation {bits:.4f}  rate {rate:.2e}", flush=True)
            if not math.isfinite(mean):
                sys.exit("train.py: the loss is not finite")
            total.zero_()
            count = 0


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, required=True, help="the end of the text")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0, help="of the whole run")
    parser.add_argument("--reserve", type=float, default=30.0,
                        help="seconds of it for the last measurements and samples")
    parser.add_argument("--steps", type=int, default=-1, help="at most; -1: as time permits")
    parser.add_argument("--report", type=float, default=15.0, help="seconds between reports")
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--state", type=int, default=16)
    parser.add_argument("--kernel", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--stay", type=float, default=24.0,
                        help="steps that a stream goes on for, on average")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--warmup", type=int, default=500, help="steps")
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-compile", action="store_true")
    return parser.parse_args()


def main():
    started = time.monotonic()
    options = parse_options()
    text, held_out = options.text.read_bytes(), options.held_out.read_bytes()
    if not text.endswith(held_out):
        sys.exit(f"train.py: {options.text} does not end with {options.held_out}")
    options.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(options.seed)

    def tensor(part):
        return torch.frombuffer(bytearray(part), dtype=torch.uint8).to(device, torch.int64)
    known = text[:-len(held_out)]
    training, validation = tensor(known[:-VALIDATION_BYTES]), tensor(known[-VALIDATION_BYTES:])
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    scan_used = scan.choose(device)
    print(f"{name}, torch {torch.__version__}; scan: {scan_used}", flush=True)

    shape = {"layers": options.layers, "width": options.width, "inner": 2 * options.width,
             "state": options.state, "rank": math.ceil(options.width / 16),
             "kernel": options.kernel}
    model = Model(**shape, dropout=options.dropout).to(device)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters; {len(training)} bytes to train on", flush=True)
    streams = Streams(training, options.batch, options.length, options.stay)
    layers = None
    if device.type == "cuda" and not options.no_compile:
        layers = compile_layers(model, streams.next())
    weights_path = options.out / "bible_lm.safetensors"
    best = Best(model, validation, weights_path)
    training_began = time.monotonic()
    steps = train(model, layers, streams, options, device, best,
                  started + options.minutes * 60 - options.reserve)
    training_took = time.monotonic() - training_began
    print(f"last: validation {best.update():.4f}, best {best.bits:.4f}", flush=True)

    model.load_state_dict(load_file(weights_path))
    model.to(device)
    figures = {
        "held_out_bits_per_byte": bits_per_byte(model, tensor(held_out)),
        "validation_bits_per_byte": best.bits,
        "parameters": parameters,
        "shape": shape,
        "steps": steps,
        "bytes_seen": steps * options.batch * options.length,
        "training_bytes": len(training),
        "training_seconds": round(training_took, 1),
        "device": name,
        "torch": torch.__version__,
        "scan": scan_used,
        "compiled": layers is not None,
        "text_sha256": hashlib.sha256(text).hexdigest(),
        "options": {n: getattr(options, n) for n in (
            "batch", "length", "stay", "rate", "warmup", "weight_decay", "dropout", "seed")},
    }
    if device.type == "cuda":
        figures["peak_memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    (options.out / "bible_lm.json").write_text(json.dumps(figures, indent=2) + "\n",
                                               encoding="utf-8")
    print(json.dumps(figures, indent=2), flush=True)
    samples = [sample(model, prompt, 500, temperature, seed) for seed, (prompt, temperature) in
               enumerate((("In the beginning ", 0.8), ("And the king said unto ", 0.8),
                          ("Blessed ", 0.5)))]
    written = "\n\n---\n\n".join(samples) + "\n"
    (options.out / "sample.txt").write_text(written, encoding="utf-8")
    print(written, f"whole run: {time.monotonic() - started:.0f} s", sep="\n", flush=True)


if __name__ == "__main__":
    main()
