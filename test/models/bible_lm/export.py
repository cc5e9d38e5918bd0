# ===- export.py - The bundled language model as ONNX ----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Writes the weights that train.py saved as an ONNX model, one Scan a layer.

ids [batch, length], past_conv_i [batch, inner, kernel - 1], past_ssm_i
[batch, inner, state] -> logits [batch, length, 256], present_conv_i, present_ssm_i

usage: export.py WEIGHTS.safetensors OUT.onnx
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import mamba  # noqa: E402
from builder import INT64, Builder  # noqa: E402


def read_safetensors(path):
    """-> {name: float32 array}."""
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise ValueError(f"{name} is {entry['dtype']}, expected F32")
        first, last = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[start + first:start + last],
                                      "<f4").reshape(entry["shape"])
    return tensors


def layer_weights(tensors, index):
    """As mamba.Layer wants them: matrices [in, out], the convolution [inner, 1, kernel]."""
    def get(name):
        return tensors[f"layers.{index}.{name}"]
    weights = {name: get(name) for name in ("norm", "conv_bias", "a_log", "skip")}
    for name in ("in_proj", "x_proj", "dt_proj", "out_proj"):
        weights[name] = np.ascontiguousarray(get(f"{name}.weight").T)
    weights["dt_bias"] = get("dt_proj.bias")
    weights["conv"] = get("conv")[:, None, :]
    return weights


def build(tensors):
    g = Builder()
    ids = g.input("ids", ["batch", "length"], INT64)
    embedding = g.weight(tensors["embedding"], "embedding")
    hidden = g.add("Gather", embedding, ids, axis=0)
    layers = len({name.split(".")[1] for name in tensors if name.startswith("layers.")})
    presents = []
    for index in range(layers):
        layer = mamba.Layer(g, layer_weights(tensors, index))
        sizes = {"conv": ["batch", layer.inner, layer.kernel - 1],
                 "ssm": ["batch", layer.inner, layer.state]}
        past = {kind: g.input(f"past_{kind}_{index}", dims) for kind, dims in sizes.items()}
        x, gate = layer.project_in(layer.norm(hidden))
        x, conv = layer.convolve(x, past["conv"])
        ssm, y = layer.scan(x, past["ssm"])
        hidden = g.add("Add", hidden, layer.project_out(y, gate))
        presents += [(f"present_conv_{index}", conv, sizes["conv"]),
                     (f"present_ssm_{index}", ssm, sizes["ssm"])]
    hidden = mamba.rms_norm(g, hidden, g.weight(tensors["norm"], "norm"))
    logits = g.add("MatMul", hidden, g.add("Transpose", embedding, perm=[1, 0]))
    g.output(logits, ["batch", "length", len(tensors["embedding"])], name="logits")
    for name, value, dims in presents:
        g.output(value, dims, name=name)
    return g.model()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    onnx.save(build(read_safetensors(sys.argv[1])), sys.argv[2])
