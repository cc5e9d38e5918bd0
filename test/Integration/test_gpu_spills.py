# ===- test_gpu_spills.py - Kernels keep what they have in registers --------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""All forms of many operators, of the chips that differ most: no kernel spills a register."""

import json
import subprocess

import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper
from ssmtest import build, compiler
from test_gpu_targets import needs_ptxas

F64, F32, F16, BF16 = (TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.FLOAT16,
                       TensorProto.BFLOAT16)
I8, U8, I32, U32, I64 = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.UINT32,
                         TensorProto.INT64)
BOOL = TensorProto.BOOL


class Graph:
    """Nodes that have nothing to do with each other, for one compilation."""

    def __init__(self):
        self.nodes, self.inputs, self.outs, self.weights = [], [], [], []

    def input(self, kind, *dims):
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def weight(self, kind, values):
        name = f"w{len(self.weights)}"
        self.weights.append(helper.make_tensor(name, kind, [len(values)], values))
        return name

    def node(self, op, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def out(self, kind, rank, name):
        dims = [f"{name}_{axis}" for axis in range(rank)]
        self.outs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def model(self):
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def softmax(g):
    for kind in (F64, F32, F16, BF16):
        g.out(kind, 2, g.node("Softmax", g.input(kind, "n", "m"), axis=-1))
        g.out(kind, 2, g.node("LogSoftmax", g.input(kind, "n", "m"), axis=-1))
    for kind in (F32, F64):
        g.out(kind, 3, g.node("Softmax", g.input(kind, "b", "n", "m"), axis=1))
        g.out(kind, 3, g.node("LogSoftmax", g.input(kind, "b", "n", "m"), axis=1))
    g.out(BF16, 2, g.node("Softmax", g.node("Tanh", g.input(BF16, "n", "m")), axis=-1))


def norms(g):
    for kind in (F32, BF16):
        x, scale, bias = (g.input(kind, *dims) for dims in (["n", "m"], ["m"], ["m"]))
        g.out(kind, 2, g.node("LayerNormalization", x, scale, bias))
        g.out(kind, 2, g.node("RMSNormalization", g.input(kind, "n", "m"), g.input(kind, "m")))
        x, scale, bias = (g.input(kind, *dims) for dims in (["n", 6, "l"], [6], [6]))
        g.out(kind, 3, g.node("GroupNormalization", x, scale, bias, num_groups=2))
        x, scale, bias = (g.input(kind, *dims) for dims in (["n", 6, "l"], [6], [6]))
        g.out(kind, 3, g.node("InstanceNormalization", x, scale, bias))
    g.out(F32, 2, g.node("LpNormalization", g.input(F32, "n", "m"), axis=1))


def reductions(g):
    for op in ("ReduceSum", "ReduceProd", "ReduceL2", "ReduceLogSumExp"):
        for kind, axes in ((F32, [1]), (F16, [0])):
            g.out(kind, 1, g.node(op, g.input(kind, "n", "m"), g.weight(I64, axes), keepdims=0))
    for op, last in (("ArgMax", 1), ("ArgMin", 0)):
        for kind in (I32, F16):
            g.out(I64, 2, g.node(op, g.input(kind, "n", "m"), axis=1, select_last_index=last))
    g.out(F32, 2, g.node("CumSum", g.input(F32, "n", "m"), g.weight(I64, [1])))
    g.out(I32, 2, g.node("CumSum", g.input(I32, "n", "m"), g.input(I64), exclusive=1))


def elementwise(g):
    for op in ("Pow", "Mul", "Div", "PRelu"):
        for kind in (F32, BF16):
            g.out(kind, 3, g.node(op, g.input(kind, "n", 1, "m"), g.input(kind, "k", 1)))
    for op in ("BitwiseOr", "Mod"):
        g.out(I64, 3, g.node(op, g.input(I64, "n", 1, "m"), g.input(I64, "k", 1)))
    for op in ("Erf", "Gelu", "Mish", "Tanh", "Elu"):
        g.out(F16, 2, g.node(op, g.input(F16, "n", "m")))
    g.out(F32, 3, g.node("Mod", g.input(F32, "n", 1, "m"), g.input(F32, "k", 1), fmod=1))
    g.out(F16, 2, g.node("Mean", g.input(F16, "n", 1), g.input(F16, "m"), g.input(F16, 1, "m")))


def moves(g):
    g.out(U8, 2, g.node("Pad", g.input(U8, "n", "m"), g.input(I64, 4), mode="reflect"))
    g.out(F32, 2, g.node("Pad", g.input(F32, "n", "m"), g.input(I64, 4), mode="edge"))
    g.out(F32, 2, g.node("GatherElements", g.input(F32, "n", "m"), g.input(I64, "k", "m"), axis=0))
    g.out(F32, 4, g.node("DepthToSpace", g.input(F32, "n", 8, "h", "w"), blocksize=2))
    g.out(F16, 3, g.node("Transpose", g.input(F16, "n", "m", "k"), perm=[2, 0, 1]))
    g.out(F16, 3, g.node("Slice", g.input(F16, "n", "m", "k"), *[g.input(I64, 2) for _ in range(4)]))
    g.out(F32, 4, g.node("RotaryEmbedding", g.input(F32, "b", "h", "s", 8),
                         g.input(F32, "b", "s", 4), g.input(F32, "b", "s", 4)))


def sorts(g):
    for kind, largest in ((F32, 0), (BF16, 1), (I32, 0), (I64, 1)):
        both = helper.make_node("TopK", [g.input(kind, "n", "m"), g.input(I64, 1)],
                                [f"t{kind}", f"i{kind}"], largest=largest)
        g.nodes.append(both)
        g.out(kind, 2, both.output[0])
        g.out(I64, 2, both.output[1])


def integers(g):
    g.out(I32, 4, g.node("ConvInteger", g.input(U8, "n", 3, "h", "w"), g.input(I8, 4, 3, 3, 3),
                         g.input(U8), pads=[1, 1, 1, 1]))
    g.out(I32, 4, g.node("ConvInteger", g.input(U8, "n", 6, "h", "w"), g.input(U8, 6, 1, 1, 4), group=6))
    g.out(I32, 2, g.node("MatMulInteger", g.input(U8, "m", "k"), g.input(I8, "k", "n")))
    g.out(U32, 2, g.node("MatMul", g.input(U32, "m", "k"), g.input(U32, "k", "n")))


def convolutions(g):
    for kind in (F32, BF16):
        g.out(kind, 4, g.node("Conv", g.input(kind, "n", 4, "h", "w"), g.input(kind, 6, 2, 2, 3),
                              g.input(kind, 6), group=2, strides=[2, 1]))
    g.out(F16, 4, g.node("Conv", g.input(F16, "n", 3, "h", "w"), g.input(F16, 33, 3, 4, 4),
                         strides=[4, 4]))


def attention(g):
    def inputs(kind):
        return [g.input(kind, "b", "h", f"{x}s", "d") for x in "qkk"]
    g.out(F32, 4, g.node("Attention", *inputs(F32), g.input(BOOL, "qs", "ks"), softcap=2.0))
    g.out(BF16, 4, g.node("Attention", *inputs(BF16), g.input(BF16, 1, 1, "qs", "ks"), is_causal=1))


def product(kind, dims=("m", "n")):
    """The product, and what makes inputs of its size or of one axis."""
    def make(g):
        def another(*axes, kind=kind):
            return g.input(kind, *[axis if axis in axes else 1 for axis in dims])
        return g.node("MatMul", g.input(kind, dims[0], "k"), g.input(kind, "k", dims[1])), another
    return make


def gemm(g):
    for kind in (F32, BF16):
        g.out(kind, 2, g.node("Gemm", g.input(kind, "m", "k"), g.input(kind, "k", "n"),
                              g.input(kind, "n"), alpha=0.5, beta=3.0))


def batches(g):
    """Of known sizes, with two axes for rows."""
    for kind, depth, columns in ((F16, 512, 776), (BF16, 1000, 64)):
        g.out(kind, 3, g.node("MatMul", g.input(kind, "b", "l", depth), g.input(kind, depth, columns)))


def gate(op):
    """Behind a product: bias, a function, a residual."""
    def make(g):
        y, another = product(BF16)(g)
        y = g.node(op, g.node("Add", y, another("n")))
        g.out(BF16, 2, g.node("Add", y, another("m", "n")))
    return make


def powers(g):
    y, another = product(BF16)(g)
    g.out(BF16, 2, g.node("Pow", y, another("n")))


def two_outs(g):
    y, another = product(BF16)(g)
    for op in ("Add", "Mul"):
        g.out(BF16, 2, g.node(op, y, another("m", "n")))


def long_residuals(g):
    y, another = product(BF16)(g)
    y = g.node("Cast", y, to=F32)
    for op in ("Add", "Mul"):
        y = g.node(op, y, another("m", "n", kind=F32))
    g.out(F32, 2, y)


ALL = ("sm_75", "sm_80", "sm_90a", "sm_120")
# Chips of a form's own, and those whose ptxas has the least room for it.
STEP = """
scan (T[D, N] h, T[D] d, T[D] u, T[N] b, T[N] c) => (T[D, N] new, T[D] y) {
  last = Constant<value_ints = [1]>()
  wide = Unsqueeze(d, last)
  rate = Mul(wide, RATES)
  decay = Exp(rate)
  kept = Mul(decay, h)
  drive = Mul(d, u)
  driven = Unsqueeze(drive, last)
  more = Mul(driven, b)
  new = Add(kept, more)
  seen = Mul(new, c)
  y = ReduceSum<keepdims = 0>(seen, last)
}
"""


def scans(g):
    for kind, name in ((F64, "double"), (F32, "float"), (F16, "float16")):
        for states in (8, 16, 256):
            step = STEP.replace("RATES", g.input(kind, "D", states))
            body = onnx.parser.parse_graph(step.replace("T[", f"{name}[").replace("N]", f"{states}]"))
            inputs = [g.input(kind, *dims) for dims in (
                ["D", states], ["L", "D"], ["L", "D"], ["L", states], ["L", states])]
            for backward in (0, 1):
                outs = [f"v{len(g.nodes)}_{i}" for i in range(2)]
                g.nodes.append(helper.make_node(
                    "Scan", inputs, outs, body=body, num_scan_inputs=4,
                    scan_input_directions=[backward] * 4, scan_output_directions=[backward]))
                for out in outs:
                    g.out(kind, 2, out)


CASES = {softmax: ALL, norms: ALL, reductions: ALL, elementwise: ALL, moves: ("sm_80", "sm_90a"),
         sorts: ("sm_80", "sm_90a"), integers: ("sm_80", "sm_90a"), convolutions: ("sm_75", "sm_80"),
         attention: ("sm_90a",), gemm: ("sm_75", "sm_80", "sm_90a"), batches: ("sm_80", "sm_90a"),
         scans: ("sm_80", "sm_90a")}
EPILOGUES = {"Tanh": gate("Tanh"), "Elu": gate("Elu"), "Mish": gate("Mish"), "powers": powers,
             "two outs": two_outs, "long residuals": long_residuals}
EACH = [pytest.param(make, chip, id=f"{make.__name__}-{chip}")
        for make, chips in CASES.items() for chip in chips] + \
       [pytest.param(make, "sm_90a", id=f"product, {name}") for name, make in EPILOGUES.items()]


def compile_whole(make, chip, tmp_path):
    graph = Graph()
    make(graph)
    onnx.save(graph.model(), tmp_path / "m.onnx")
    done = compiler.run_compiler([tmp_path / "m.onnx", "-o", tmp_path / "m.so",
                                  f"--target=cuda:{chip}", "--spill-budget=0"])
    assert done.returncode == 0, done.stderr


@needs_ptxas
@pytest.mark.parametrize("make, chip", EACH)
def test_no_spills(make, chip, tmp_path):
    compile_whole(make, chip, tmp_path)


def log_softmax(g):
    g.out(F16, 2, g.node("LogSoftmax", g.input(F16, "n", "m"), axis=-1))


@needs_ptxas
def test_fewer_blocks_rather_than_spills(tmp_path):
    """64 registers let four blocks be on a multiprocessor, which is what the form asks for; ptxas
    needs more of them for this chip. Where they suffice, it is four."""
    for make, chip, few in ((log_softmax, "sm_120", False), (log_softmax, "sm_90a", True)):
        compile_whole(make, chip, tmp_path)
        told = subprocess.run([build.tool("ssm-run"), str(tmp_path / "m.so"), "--device", "none",
                               "--describe", "--json"], capture_output=True, text=True, check=True)
        registers = {kernel["name"]: kernel["registers"]
                     for kernel in json.loads(told.stdout)["device_kernels"]}
        assert (registers["kernel_softmax_log_warp"] <= 64) == few
        assert registers["kernel_softmax_log_warp"] <= 128
