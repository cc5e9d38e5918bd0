# ===- planted.py - Modules whose machine code has a fault ------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Faults that tools which look for them must tell: planted in PTX, on its way to the assembler."""

import subprocess
import sys
from pathlib import Path

import onnx

from . import build

# Of a softmax of rows: what is replaced everywhere, and by what.
BARRIER_OF_SOME = (r"\tbar\.sync \t0;", "\t{ .reg .pred q; .reg .b32 i; mov.u32 i, %tid.x; "
                   "setp.ne.b32 q, i, 5; @q bar.sync 0; }")
NO_BARRIER = (r"\tbar\.sync \t0;", "")
OUTSIDE = (r"(st\.global\.\S+ \t\[%rd\d+)\]", r"\1+1073741824]")


def softmax():
    """Rows [M, N], whose sums threads leave each other in shared memory."""
    rows = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["M", "N"])
            for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Softmax", ["x"], ["y"])], "g",
                                   rows[:1], rows[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)],
                                  ir_version=9)


def compile_planted(module, target, fault, ptxas):
    """`module` is made of `softmax` with a fault (pattern, replacement), by way of `ptxas`.
    -> the finished process; it fails where there is nothing to plant the fault in."""
    module, (pattern, replacement) = Path(module), fault
    folder = module.parent
    onnx.save(softmax(), folder / "model.onnx")
    # An assembler that plants it.
    (folder / "ptxas").write_text(f"""#!{sys.executable}
import re, subprocess, sys
path = next((word for word in sys.argv if word.endswith(".ptx")), None)
if path:
    text, count = re.subn({pattern!r}, {replacement!r}, open(path).read())
    assert count, "there is nothing to plant the fault in"
    open(path, "w").write(text)
sys.exit(subprocess.call([{str(ptxas)!r}, *sys.argv[1:]]))
""", encoding="utf-8")
    (folder / "ptxas").chmod(0o755)
    return subprocess.run(
        [build.tool("ssm-compile"), folder / "model.onnx", f"--target={target}",
         f"--ptxas={folder / 'ptxas'}", "-o", module], capture_output=True, text=True, check=False)
