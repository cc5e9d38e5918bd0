# ===- export_torch_scan.py - A Mamba-1 mixer with torch's scan ------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Exports a Mamba-1 mixer written with torch's `scan` operator.

The first state is a graph input, so batch and length both stay dynamic. Needs
torch, onnx and onnxscript; its output, torch_scan_mamba.onnx, is kept in the
repository because those are too large to install for a test.

usage: export_torch_scan.py OUT.onnx
"""
import sys

import torch
import torch.nn.functional as F
from torch._higher_order_ops.scan import scan


class Mixer(torch.nn.Module):
    """hidden [B, L, width], state [B, inner, N] -> output [B, L, width], state."""

    def __init__(self, width=32, inner=64, state=8, rank=4, kernel=4):
        super().__init__()
        self.inner, self.state, self.rank = inner, state, rank
        self.in_proj = torch.nn.Linear(width, 2 * inner, bias=False)
        self.conv = torch.nn.Conv1d(inner, inner, kernel, groups=inner, padding=kernel - 1)
        self.x_proj = torch.nn.Linear(inner, rank + 2 * state, bias=False)
        self.dt_proj = torch.nn.Linear(rank, inner)
        self.a_log = torch.nn.Parameter(torch.log(torch.arange(1, state + 1.0)).repeat(inner, 1))
        self.skip = torch.nn.Parameter(torch.ones(inner))
        self.out_proj = torch.nn.Linear(inner, width, bias=False)

    def forward(self, hidden, state):
        length = hidden.shape[1]
        x, gate = self.in_proj(hidden).chunk(2, dim=-1)
        x = F.silu(self.conv(x.transpose(1, 2))[..., :length].transpose(1, 2))
        dt, b, c = self.x_proj(x).split([self.rank, self.state, self.state], dim=-1)
        dt = F.softplus(self.dt_proj(dt))
        a = -torch.exp(self.a_log)

        def step(h, xs):
            dt_t, u_t, b_t, c_t = xs
            h = torch.exp(dt_t.unsqueeze(-1) * a) * h + (dt_t * u_t).unsqueeze(-1) * b_t.unsqueeze(1)
            return h, (h * c_t.unsqueeze(1)).sum(-1)

        time_first = [t.transpose(0, 1) for t in (dt, x, b, c)]
        last, y = scan(step, state, time_first)
        y = y.transpose(0, 1) + self.skip * x
        return self.out_proj(y * F.silu(gate)), last


def main(path):
    torch.manual_seed(7)
    model = Mixer().eval()
    args = (torch.randn(2, 11, 32), torch.randn(2, 64, 8))
    program = torch.onnx.export(
        model, args, dynamo=True, opset_version=20,
        input_names=["hidden", "past_ssm"], output_names=["output", "present_ssm"],
        dynamic_shapes=({0: "batch", 1: "length"}, {0: "batch"}), external_data=False)
    program.save(path)


if __name__ == "__main__":
    main(sys.argv[1])
