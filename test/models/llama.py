# ===- llama.py - A Llama's step, with caches that grow ---------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Small decoders with random weights, with the inputs and outputs that exports of
decoders have: input_ids, attention_mask, position_ids and past_key_values.N.key/value ->
logits and present.N.key/value. One graph for the prompt and for each step.

usage: llama.py OUT.onnx
"""

import sys

import numpy as np
import onnx
from builder import FLOAT, INT64, Builder


class Sizes:
    """What a model is to have. `mask`: the ONNX type of attention_mask."""

    def __init__(self, vocabulary=97, layers=2, width=24, heads=4, kv_heads=2,
                 cache_position=False, keep=None, mask=INT64):
        self.vocabulary, self.layers, self.width = vocabulary, layers, width
        self.heads, self.kv_heads = heads, kv_heads
        self.head = width // heads
        self.cache_position = cache_position  # beside position_ids, for the causal mask
        self.keep = keep  # the name of an input: how many last rows of logits are wanted
        self.mask = mask


class Llama:
    """The graph under construction."""

    def __init__(self, sizes, seed):
        self.sizes, self.g = sizes, Builder()
        self.rng = np.random.default_rng(seed)
        g, s = self.g, sizes
        self.ids = g.input("input_ids", ["batch", "sequence"], INT64)
        self.mask = g.input("attention_mask", ["batch", "past + sequence"], s.mask)
        self.positions = g.input("position_ids", ["batch", "sequence"], INT64)
        if s.cache_position:
            self.rows = g.input("cache_position", ["sequence"], INT64)
        if s.keep:
            self.kept = g.input(s.keep, [], INT64)
        self.zero, self.one = (g.weight(np.array(n)) for n in (0, 1))

    def random(self, *shape, scale=1.0):
        values = self.rng.standard_normal(shape) * scale / np.sqrt(shape[0])
        return self.g.weight(values.astype(np.float32))

    def norm(self, x):
        g = self.g
        mean = g.add("ReduceMean", g.add("Mul", x, x), g.ints(-1))
        root = g.add("Sqrt", g.add("Add", mean, g.weight(np.array([1e-5], np.float32))))
        scale = self.rng.uniform(0.5, 1.5, self.sizes.width).astype(np.float32)
        return g.add("Mul", g.add("Div", x, root), g.weight(scale))

    def rotations(self):
        """cos and sin [batch, 1, sequence, head] of the positions."""
        g, half = self.g, self.sizes.head // 2
        steps = 100.0 ** (-np.arange(half) / half)
        steps = g.weight(np.concatenate([steps, steps]).astype(np.float32))
        where = g.add("Unsqueeze", g.add("Cast", self.positions, to=FLOAT), g.ints(1, 3))
        angles = g.add("Mul", where, steps)
        return g.add("Cos", angles), g.add("Sin", angles)

    def rotate(self, x, cos, sin):
        g, half = self.g, self.sizes.head // 2
        first, second = g.add("Split", x, g.ints(half, half), count=2, axis=-1)
        turned = g.add("Concat", g.add("Neg", second), first, axis=-1)
        return g.add("Add", g.add("Mul", x, cos), g.add("Mul", turned, sin))

    def bias(self):
        """[batch, 1, sequence, total]: 0 where a row sees a column, else very low."""
        g = self.g
        total = g.add("Gather", g.add("Shape", self.mask), self.one)
        columns = g.add("Range", self.zero, total, self.one)
        if self.sizes.cache_position:
            rows = self.rows
        else:
            length = g.add("Gather", g.add("Shape", self.ids), self.one)
            rows = g.add("Range", g.add("Sub", total, length), total, self.one)
        sees = g.add("LessOrEqual", columns, g.add("Unsqueeze", rows, g.ints(1)))
        given = g.add("Unsqueeze", g.add("Cast", self.mask, to=onnx.TensorProto.BOOL),
                      g.ints(1, 2))
        return g.add("Where", g.add("And", sees, given), g.weight(np.float32(0)),
                     g.weight(np.float32(-1e9)))

    def heads(self, x, count):
        """[batch, sequence, count * head] -> [batch, count, sequence, head]"""
        g = self.g
        split = g.add("Reshape", x, g.ints(0, 0, count, self.sizes.head))
        return g.add("Transpose", split, perm=[0, 2, 1, 3])

    def append(self, x, layer, what):
        g, s = self.g, self.sizes
        dims = ["batch", s.kv_heads, "past", s.head]
        past = g.input(f"past_key_values.{layer}.{what}", dims)
        dims[2] = "past + sequence"
        g.output(g.add("Concat", past, x, axis=2), dims, name=f"present.{layer}.{what}")
        present = g.outputs[-1].name
        shared = s.heads // s.kv_heads
        wide = g.add("Expand", g.add("Unsqueeze", present, g.ints(2)),
                     g.ints(1, 1, shared, 1, 1))
        return g.add("Reshape", wide, g.ints(0, s.heads, -1, s.head))

    def attention(self, x, layer, cos, sin, bias):
        g, s = self.g, self.sizes
        def project(heads):
            return self.heads(g.add("MatMul", x, self.random(s.width, heads * s.head, scale=2)),
                              heads)
        query = self.rotate(project(s.heads), cos, sin)
        key = self.append(self.rotate(project(s.kv_heads), cos, sin), layer, "key")
        value = self.append(project(s.kv_heads), layer, "value")
        scores = g.add("MatMul", query, g.add("Transpose", key, perm=[0, 1, 3, 2]))
        scores = g.add("Mul", scores, g.weight(np.float32(s.head ** -0.5)))
        chances = g.add("Softmax", g.add("Add", scores, bias), axis=-1)
        mixed = g.add("Transpose", g.add("MatMul", chances, value), perm=[0, 2, 1, 3])
        joined = g.add("Reshape", mixed, g.ints(0, 0, s.width))
        return g.add("MatMul", joined, self.random(s.width, s.width))

    def feed_forward(self, x):
        g, width = self.g, self.sizes.width
        gate = g.add("MatMul", x, self.random(width, 2 * width))
        gate = g.add("Mul", gate, g.add("Sigmoid", gate))
        wide = g.add("Mul", gate, g.add("MatMul", x, self.random(width, 2 * width)))
        return g.add("MatMul", wide, self.random(2 * width, width))

    def model(self):
        g, s = self.g, self.sizes
        table = self.rng.standard_normal((s.vocabulary, s.width)).astype(np.float32)
        x = g.add("Gather", g.weight(table), self.ids)
        cos, sin = self.rotations()
        bias = self.bias()
        for layer in range(s.layers):
            x = g.add("Add", x, self.attention(self.norm(x), layer, cos, sin, bias))
            x = g.add("Add", x, self.feed_forward(self.norm(x)))
        length = "sequence"
        if s.keep:
            start = g.add("Unsqueeze", g.add("Neg", self.kept), g.ints(0))
            x = g.add("Slice", x, start, g.ints(2 ** 31 - 1), g.ints(1))
            length = "kept"
        logits = g.add("MatMul", self.norm(x), self.random(s.width, s.vocabulary, scale=4))
        g.output(logits, ["batch", length, s.vocabulary], name="logits")
        return g.model()


def llama(seed=0, **sizes):
    """-> ModelProto; `sizes` as of Sizes."""
    return Llama(Sizes(**sizes), seed).model()


if __name__ == "__main__":
    onnx.save(llama(), sys.argv[1])
