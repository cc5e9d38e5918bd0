# ===- export_hf_mamba2.py - A tiny HuggingFace Mamba-2 --------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Exports a tiny HuggingFace Mamba-2 (random weights) with torch.onnx.export.

Needs torch, transformers, onnx and onnxscript; its output, hf_mamba2_tiny.onnx,
is kept in the repository because those are too large to install for a test.

usage: export_hf_mamba2.py OUT.onnx
"""
import sys

import torch
from transformers import Mamba2Config, Mamba2ForCausalLM


class Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        return self.model(input_ids, use_cache=False).logits


def main(path):
    torch.manual_seed(7)
    config = Mamba2Config(
        vocab_size=128, hidden_size=64, num_hidden_layers=2, num_heads=8,
        head_dim=16, state_size=16, n_groups=2, chunk_size=16, expand=2)
    model = Logits(Mamba2ForCausalLM(config).eval())
    ids = torch.randint(0, 128, (2, 37))
    dims = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("sequence", min=1)}
    try:
        program = torch.onnx.export(
            model, (ids,), dynamo=True, opset_version=20,
            input_names=["input_ids"], output_names=["logits"],
            dynamic_shapes=({0: "batch", 1: "sequence"},), external_data=False)
    except Exception as error:
        print("names as dynamic shapes failed:", str(error)[:300])
        program = torch.onnx.export(
            model, (ids,), dynamo=True, opset_version=20,
            input_names=["input_ids"], output_names=["logits"],
            dynamic_shapes=(dims,), external_data=False)
    program.save(path)


if __name__ == "__main__":
    main(sys.argv[1])
