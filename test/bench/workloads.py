# ===- workloads.py - What is timed ----------------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Models and inputs by group, with the arithmetic and the traffic that each needs at
least."""

from dataclasses import dataclass
from typing import Callable

import mamba
import ml_dtypes
import numpy as np
import onnx
import recurrences
import typeseg
from builder import Builder
from onnx import TensorProto, helper, numpy_helper
from ssmtest import build

f32 = np.float32
TYPES = {"f32": (f32, TensorProto.FLOAT), "f16": (np.float16, TensorProto.FLOAT16),
         "bf16": (ml_dtypes.bfloat16, TensorProto.BFLOAT16)}
D, N, WIDTH, RANK = 1536, 16, 768, 48


@dataclass
class Workload:
    name: str
    group: str
    make: Callable  # -> (ModelProto or path, {name: array})
    flops: float = 0
    moved: float = 0  # bytes read and written
    bf16: bool = False  # the arithmetic is that of products of bf16


ALL = []


def workload(name, group, flops=0, moved=0, bf16=False):
    """Adds the decorated function, which makes the model and its inputs."""
    def add(make):
        ALL.append(Workload(name, group, make, flops, moved, bf16))
        return make
    return add


def rng():
    return np.random.default_rng(2)


def normal(*shape, dtype=f32, scale=1.0):
    return (rng().standard_normal(shape) * scale).astype(f32).astype(dtype)


def model(nodes, inputs, outputs, weights=(), opset=23, domains=()):
    """A graph of [(op, inputs, outputs, attributes, domain)]; inputs and outputs as
    {name: (ONNX type, dims)}, weights as {name: array}."""
    def values(described):
        return [helper.make_tensor_value_info(n, t, d) for n, (t, d) in described.items()]
    graph = helper.make_graph(
        [helper.make_node(op, ins, outs, domain=domain, **attributes)
         for op, ins, outs, attributes, domain in nodes], "g", values(inputs), values(outputs),
        [numpy_helper.from_array(array, name) for name, array in dict(weights).items()])
    return helper.make_model(graph, ir_version=10, opset_imports=[
        helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in domains])


def one(op, arrays, out_dims, attributes=None, weights=None, opset=23, domain=""):
    """One node: `arrays` are its inputs, then come its weights."""
    dtype = helper.np_dtype_to_tensor_dtype(next(iter(arrays.values())).dtype)
    weights = weights or {}
    inputs = {n: (helper.np_dtype_to_tensor_dtype(a.dtype), list(a.shape))
              for n, a in arrays.items()}
    return model([(op, [*arrays, *weights], ["y"], attributes or {}, domain)], inputs,
                 {"y": (dtype, out_dims)}, weights, opset,
                 [domain] if domain else []), arrays


# ===----------------------------------------------------------------------===#
# Products of matrices
# ===----------------------------------------------------------------------===#

def product(m, k, n, kind):
    dtype, _ = TYPES[kind]
    w = normal(k, n, scale=k ** -0.5, dtype=dtype)
    return one("MatMul", {"x": normal(m, k, dtype=dtype)}, [m, n], weights={"w": w})


for _kind in TYPES:
    _bytes = np.dtype(TYPES[_kind][0]).itemsize
    workload(f"matmul 768 {_kind}", "matmul", 2 * 768**3, bf16=_kind == "bf16")(
        lambda kind=_kind: product(768, 768, 768, kind))
    for _rows in (1, 8):
        workload(f"gemv {_rows}x4096 {_kind}", "gemv", 2 * _rows * 4096**2, 4096**2 * _bytes,
                 _kind == "bf16")(
            lambda rows=_rows, kind=_kind: product(rows, 4096, 4096, kind))
workload("matmul 128x4096", "matmul", 2 * 128 * 4096**2)(
    lambda: product(128, 4096, 4096, "f32"))


# ===----------------------------------------------------------------------===#
# Loops over elements, rows, axes
# ===----------------------------------------------------------------------===#

ROWS, COLUMNS = 1024, 1536
PASS = 2 * 4 * ROWS * COLUMNS  # read once, written once


@workload("silu(x * a + b)", "elementwise", moved=PASS)
def _elementwise():
    f = (TensorProto.FLOAT, [ROWS, COLUMNS])
    nodes = [("Mul", ["x", "a"], ["m"], {}, ""), ("Add", ["m", "b"], ["s"], {}, ""),
             ("Sigmoid", ["s"], ["g"], {}, ""), ("Mul", ["s", "g"], ["y"], {}, "")]
    return model(nodes, {"x": f}, {"y": f},
                 {"a": normal(COLUMNS), "b": normal(COLUMNS)}), {"x": normal(ROWS, COLUMNS)}


for _op in ("Elu", "Sin", "Atan", "Acos"):
    @workload(_op.lower(), "elementwise", moved=PASS)
    def _function(op=_op):
        x = normal(ROWS, COLUMNS)
        return one(op, {"x": np.clip(x, -1, 1) if op == "Acos" else x}, [ROWS, COLUMNS])


for _op, _type, _attributes in (("Mod", f32, {"fmod": 1}), ("Mod", np.int32, {}),
                                ("Div", np.int32, {}), ("Div", np.int64, {})):
    @workload(f"{_op.lower()} {np.dtype(_type).name}", "elementwise",
              moved=3 * 512 * 768 * np.dtype(_type).itemsize)
    def _division(op=_op, dtype=_type, attributes=_attributes):
        x = (normal(512, 768) * 100).astype(dtype)
        y = rng().uniform(1, 20, (512, 768)).astype(dtype)
        return one(op, {"x": x, "z": y}, [512, 768], attributes)


@workload("softmax rows", "rows", moved=PASS)
def _softmax():
    return one("Softmax", {"x": normal(ROWS, COLUMNS)}, [ROWS, COLUMNS], {"axis": -1})


@workload("layernorm", "rows", moved=PASS)
def _layernorm():
    return one("LayerNormalization", {"x": normal(ROWS, COLUMNS)}, [ROWS, COLUMNS],
               weights={"s": normal(COLUMNS), "b": normal(COLUMNS)})


@workload("rmsnorm", "rows", moved=PASS)
def _rmsnorm():
    return one("RMSNormalization", {"x": normal(ROWS, COLUMNS)}, [ROWS, COLUMNS],
               weights={"s": normal(COLUMNS)})


@workload("softmax of columns", "rows", moved=PASS)
def _softmax_of_columns():
    return one("Softmax", {"x": normal(ROWS, COLUMNS)}, [ROWS, COLUMNS], {"axis": 0})


for _columns, _dim in ((8, 8), (1, "m"), (12, "m")):
    @workload(f"softmax of {_columns} columns{', open' if _dim == 'm' else ''}", "rows",
              moved=2 * 4 * 8 * 4096 * _columns)
    def _softmax_of_few(columns=_columns, dim=_dim):
        dims = (TensorProto.FLOAT, ["b", "n", dim])
        return model([("Softmax", ["x"], ["y"], {"axis": 1}, "")], {"x": dims}, {"y": dims}), \
            {"x": normal(8, 4096, columns)}


@workload("softmax of one long row", "rows", moved=PASS)
def _softmax_of_one():
    return one("Softmax", {"x": normal(1, ROWS * COLUMNS)}, [1, ROWS * COLUMNS], {"axis": -1})


@workload("sum of everything", "rows", moved=PASS / 2)
def _sum():
    return one("ReduceSum", {"x": normal(ROWS, COLUMNS)}, [], {"keepdims": 0})


def built(g, y, out_dims, **arrays):
    """A graph of a Builder whose inputs are the arrays."""
    for name, array in arrays.items():
        g.input(name, list(array.shape))
    g.output(y, out_dims, name="y")
    return g.model(), arrays


@workload("gated norm of 8 groups", "rows", moved=PASS * 1.5)
def _gated_norm():
    g, groups = Builder(), 8
    y = g.add("Mul", "x", g.add("Mul", "z", g.add("Sigmoid", "z")))
    y = g.add("Reshape", y, g.ints(ROWS, groups, COLUMNS // groups))
    mean = g.add("ReduceMean", g.add("Mul", y, y), g.ints(-1), keepdims=1)
    y = g.add("Div", y, g.add("Sqrt", g.add("Add", mean, g.weight(np.array(1e-5, f32)))))
    y = g.add("Mul", g.add("Reshape", y, g.ints(ROWS, COLUMNS)), g.weight(normal(COLUMNS)))
    return built(g, y, [ROWS, COLUMNS], x=normal(ROWS, COLUMNS), z=normal(ROWS, COLUMNS))


@workload("rotary embedding, by halves", "layout", moved=4 * (2 * 8 + 2) * ROWS * 64)
def _rotary():
    g = Builder()
    low = g.add("Slice", "x", g.ints(0), g.ints(32), g.ints(-1))
    high = g.add("Slice", "x", g.ints(32), g.ints(64), g.ints(-1))
    turned = g.add("Concat", g.add("Neg", high), low, axis=-1)
    y = g.add("Add", g.add("Mul", "x", "cos"), g.add("Mul", turned, "sin"))
    return built(g, y, [1, 8, ROWS, 64], x=normal(1, 8, ROWS, 64), cos=normal(ROWS, 64),
                 sin=normal(ROWS, 64))


@workload("token shift", "layout", moved=2 * 4 * ROWS * WIDTH)
def _token_shift():
    g = Builder()
    before = g.add("Pad", "x", g.ints(0, 1, 0, 0, -1, 0))
    mixed = g.add("Mul", g.add("Sub", before, "x"), g.weight(normal(WIDTH)))
    return built(g, g.add("Add", "x", mixed), [1, ROWS, WIDTH], x=normal(1, ROWS, WIDTH))


@workload("causal conv, width 4", "conv", 8 * ROWS * D, 2 * 4 * ROWS * D)
def _conv():
    return one("Conv", {"x": normal(1, D, ROWS)}, [1, D, ROWS],
               {"group": D, "pads": [3, 0]}, {"w": normal(D, 1, 4), "b": normal(D)})


# Channels, rows and columns of the image, taps a side, stride.
IMAGES = [(64, 56, 3, 1), (64, 56, 3, 2), (96, 112, 3, 2), (240, 28, 5, 1), (96, 56, 7, 1),
          (960, 7, 3, 1)]


def depthwise(channels, size, taps, stride):
    out = (size - 1) // stride + 1
    return one("Conv", {"x": normal(1, channels, size, size)}, [1, channels, out, out],
               {"group": channels, "pads": [taps // 2] * 4, "strides": [stride] * 2},
               {"w": normal(channels, 1, taps, taps), "b": normal(channels)})


for _channels, _size, _taps, _stride in IMAGES:
    _out = ((_size - 1) // _stride + 1)**2
    workload(f"depthwise {_channels}x{_size}x{_size}, {_taps}x{_taps}, stride {_stride}", "conv",
             2 * _channels * _out * _taps**2, 4 * _channels * (_size**2 + _out))(
        lambda form=(_channels, _size, _taps, _stride): depthwise(*form))


@workload("depthwise 256x1024, 4, stride 2", "conv", 2 * 256 * 511 * 4, 4 * 256 * (1024 + 511))
def _strided():
    return one("Conv", {"x": normal(1, 256, 1024)}, [1, 256, 511],
               {"group": 256, "strides": [2]}, {"w": normal(256, 1, 4), "b": normal(256)})


@workload("gather rows", "layout", moved=2 * 4 * 512 * WIDTH)
def _gather():
    ids = rng().integers(0, 32000, 512)
    nodes = [("Gather", ["w", "ids"], ["y"], {}, "")]
    return model(nodes, {"ids": (TensorProto.INT64, [512])},
                 {"y": (TensorProto.FLOAT, [512, WIDTH])},
                 {"w": normal(32000, WIDTH)}), {"ids": ids}


@workload("transpose matrix", "layout", moved=PASS)
def _transpose():
    return one("Transpose", {"x": normal(ROWS, COLUMNS)}, [COLUMNS, ROWS], {"perm": [1, 0]})


@workload("transpose heads", "layout", moved=PASS)
def _heads():
    return one("Transpose", {"x": normal(1, ROWS, 24, 64)}, [1, 24, ROWS, 64],
               {"perm": [0, 2, 1, 3]})


for _mode in ("constant", "reflect", "edge", "wrap"):
    @workload(f"pad {_mode} 16x224x224", "layout", moved=4 * 16 * (224**2 + 230**2))
    def _pad(mode=_mode):
        return one("Pad", {"x": normal(1, 16, 224, 224)}, [1, 16, 230, 230], {"mode": mode},
                   {"pads": np.array([0, 0, 3, 3, 0, 0, 3, 3])})


for _rows, _columns, _places in ((512, 64, 8), (16, 4096, 32), (1, 50280, 50)):
    @workload(f"topk {_places} of {_rows}x{_columns}", "layout", moved=4 * _rows * _columns)
    def _topk(rows=_rows, columns=_columns, places=_places):
        nodes = [("TopK", ["x", "k"], ["y", "i"], {}, "")]
        shape = [rows, places]
        return model(nodes, {"x": (TensorProto.FLOAT, [rows, columns])},
                     {"y": (TensorProto.FLOAT, shape), "i": (TensorProto.INT64, shape)},
                     {"k": np.array([places])}), {"x": normal(rows, columns)}


# ===----------------------------------------------------------------------===#
# Recurrences
# ===----------------------------------------------------------------------===#

# A state update is about 12 vector operations, as 6 multiply-adds.
UPDATE = 12


@workload("scan L=1024", "scan", UPDATE * 1024 * D * N)
def _scan():
    """The recurrence of a Mamba-1 block alone, everything in the Scan's body."""
    g, length, r = Builder(), 1024, rng()
    state = g.input("state", ["batch", D, N])
    names = [g.input(n, ["length", "batch", D]) for n in ("dt", "u")]
    names += [g.input(n, ["length", "batch", N]) for n in ("b", "c")]
    a = g.weight(-np.tile(np.arange(1, N + 1, dtype=f32), (D, 1)))
    last, y = g.add("Scan", state, *names, count=2, num_scan_inputs=4,
                    body=mamba.scan_step(a, g.weight(np.ones(D, f32))))
    g.output(y, ["length", "batch", D], name="y")
    g.output(last, ["batch", D, N], name="last")
    return g.model(), {"state": np.zeros((1, D, N), f32),
                       "dt": r.uniform(0.001, 0.1, (length, 1, D)).astype(f32),
                       **{n: r.standard_normal((length, 1, size), f32)
                          for n, size in (("u", D), ("b", N), ("c", N))}}


# An update of a gated state and its product with the query are 3 multiply-adds, with the
# delta rule's own product 4.
@workload("linear attention L=512", "scan", 2 * 3 * 512 * 8 * 64 * 64)
def _gated():
    return linear_attention("gated", 512, 8, 64)


@workload("delta rule L=512", "scan", 2 * 3 * 512 * 8 * 64 * 64)
def _delta():
    return linear_attention("delta", 512, 8, 64)


@workload("gated delta rule L=512", "scan", 2 * 4 * 512 * 8 * 64 * 64)
def _gated_delta():
    return linear_attention("gated_delta", 512, 8, 64)


@workload("gated delta rule of 128 L=256", "scan", 2 * 4 * 256 * 16 * 128 * 128)
def _gated_delta_large():
    return linear_attention("gated_delta", 256, 16, 128)


@workload("gated delta rule of 128 L=1", "scan", 2 * 4 * 16 * 128 * 128, 2 * 4 * 16 * 128 * 128)
def _gated_delta_step():
    return linear_attention("gated_delta", 1, 16, 128)


@workload("mamba-2 scan L=1", "scan", 2 * 3 * 24 * 64 * 128, 2 * 4 * 24 * 64 * 128)
def _mamba2_step():
    return mamba2_scan(1)


@workload("mamba-2 scan L=512", "scan", 2 * 3 * 512 * 24 * 64 * 128)
def _mamba2():
    return mamba2_scan(512)


def steps(body, states, width, length=128, weights=()):
    """A Scan of a body with inputs "h0", .. and "x", states of those shapes, one row of that width
    in each step, and weights of the graph around it."""
    g = Builder()
    names = [g.input(f"h{i}", list(shape)) for i, shape in enumerate(states)]
    for name, array in weights:
        g.weights.append(numpy_helper.from_array(array, name))
    *lasts, ys = g.add("Scan", *names, g.input("x", [length, *states[0][:-1], width]),
                       count=len(states) + 1, num_scan_inputs=1, body=body.graph("step"))
    for i, last in enumerate(lasts):
        g.output(last, list(states[i]), name=f"last{i}")
    g.output(ys, [length, *states[0]], name="y")
    return g.model(), {**{n: np.zeros(s, f32) for n, s in zip(names, states)},
                       "x": normal(length, *states[0][:-1], width)}


def distribution(batch, width):
    """Each step a softmax of the state: it waits for sums over all channels."""
    body = Builder("step_")
    h, x = body.input("h", [batch, width]), body.input("s", [batch, width])
    new = body.add("Softmax", body.add("Add", h, x), axis=-1)
    body.output(new, [batch, width])
    body.output(body.add("Identity", new), [batch, width])
    return steps(body, [(batch, width)], width)


def lstm(batch, width):
    """The state times a matrix, as exported loops have it."""
    body = Builder("step_")
    h, c, x = (body.input(n, [batch, w]) for n, w in (("h", width), ("c", width), ("s", 4 * width)))
    gates = body.add("Split", body.add("Add", body.add("MatMul", h, "recurrent"), x), count=4,
                     axis=1, num_outputs=4)
    i, f, o = (body.add("Sigmoid", gate) for gate in gates[:3])
    cell = body.add("Add", body.add("Mul", f, c), body.add("Mul", i, body.add("Tanh", gates[3])))
    new = body.add("Mul", o, body.add("Tanh", cell))
    for value in (new, cell, body.add("Identity", new)):
        body.output(value, [batch, width])
    return steps(body, [(batch, width)] * 2, 4 * width,
                 weights=[("recurrent", normal(width, 4 * width, scale=width ** -0.5))])


for _batch, _width in ((1, 64), (1, 1536), (4, 256)):
    workload(f"recurrence of {_batch}x{_width} softmax", "scan", 128 * 2 * 12 * _batch * _width)(
        lambda form=(_batch, _width): distribution(*form))
    if _width <= 256:
        workload(f"recurrence of {_batch}x{_width} lstm", "scan", 128 * 8 * _batch * _width**2)(
            lambda form=(_batch, _width): lstm(*form))


def linear_attention(rule, length, heads, size):
    """Heads of size x size states, as ONNX Runtime's own operator."""
    width = heads * size
    arrays = {n: normal(1, length, width, scale=0.1) for n in "qkv"}
    arrays["past"] = np.zeros((1, heads, size, size), f32)
    inputs = list(arrays)
    for name, used in (("decay", "gated" in rule), ("beta", "delta" in rule)):
        inputs.append(name if used else "")
    if "gated" in rule:
        arrays["decay"] = -np.abs(normal(1, length, heads))
    if "delta" in rule:
        arrays["beta"] = np.abs(normal(1, length, heads, scale=0.2))
    nodes = [("LinearAttention", inputs, ["y", "present"],
              {"q_num_heads": heads, "kv_num_heads": heads, "update_rule": rule}, "com.microsoft")]
    f = TensorProto.FLOAT
    return model(nodes, {n: (f, list(a.shape)) for n, a in arrays.items()},
                 {"y": (f, [1, length, width]), "present": (f, [1, heads, size, size])},
                 domains=["com.microsoft"]), arrays


def mamba2_scan(length):
    recurrence = recurrences.per_head(64, 128)
    return recurrence.model(1), recurrence.draw(rng(), dict(B=1, H=24), length, 1)


# ===----------------------------------------------------------------------===#
# Blocks and models
# ===----------------------------------------------------------------------===#

BLOCK_WEIGHTS = WIDTH * 2 * D + D * (RANK + 2 * N) + RANK * D + D * WIDTH


def block(length, kind):
    """A Mamba-1 block; other types than f32 by casts around f32 norms and scan are
    left to the exporter: all is of one type."""
    proto = mamba.block(width=WIDTH, inner=D, state=N, rank=RANK, kernel=4)
    dtype, number = TYPES[kind]
    if kind != "f32":
        convert(proto.graph, number, dtype)
    r = rng()
    return proto, {"hidden": r.standard_normal((1, length, WIDTH)).astype(dtype),
                   "past_conv": np.zeros((1, D, 3), dtype), "past_ssm": np.zeros((1, D, N), dtype)}


def convert(graph, number, dtype):
    """Makes every float tensor of a graph one of another type."""
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = number
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t] if attribute.type == onnx.AttributeProto.TENSOR else []
            if attribute.type == onnx.AttributeProto.GRAPH:
                convert(attribute.g, number, dtype)
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(
                numpy_helper.to_array(tensor).astype(dtype), tensor.name))


for _kind in TYPES:
    _bytes = np.dtype(TYPES[_kind][0]).itemsize
    workload(f"block L=1 {_kind}", "block", 2 * BLOCK_WEIGHTS, BLOCK_WEIGHTS * _bytes)(
        lambda kind=_kind: block(1, kind))
    workload(f"block L=1024 {_kind}", "block", 1024 * (2 * BLOCK_WEIGHTS + UPDATE * D * N))(
        lambda kind=_kind: block(1024, kind))


# 2.8 MFLOP of matrices and 49k exponentials a token.
@workload("typeseg T=512", "model", 512 * (2.8e6 + 12 * 49152))
def _typeseg():
    return typeseg.fetch(build.DOWNLOADS)[0], {"ids": rng().integers(0, 130, 512)}
