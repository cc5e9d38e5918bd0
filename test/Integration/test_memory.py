# ===- test_memory.py - How much memory a session takes ---------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The memory that ssm-run --describe tells, against what a Mamba block has to keep."""

import json
import subprocess
import sys

import numpy as np
import pytest
from ssmtest import build, compiler, exact
from ssmtest.case import bf16, f16, f32

sys.path.insert(0, str(build.MODELS))
import mamba  # noqa: E402
import recurrences  # noqa: E402
from builder import Builder  # noqa: E402

WIDTH, INNER, RANK, KERNEL = 96, 192, 6, 4
FLOAT = 4


def block(state, dtype=f32):
    model = mamba.block(width=WIDTH, inner=INNER, state=state, rank=RANK, kernel=KERNEL)
    return compiler.compile_model(exact.retype(model, np.dtype(dtype)), ["-O3"])


def memory(module, batch, length, **sizes):
    sizes = {"batch": batch, "length": length, **sizes}
    text = subprocess.run([str(build.tool("ssm-run")), str(module), "--describe", "--json",
                           *(f"--dim={name}={size}" for name, size in sizes.items())],
                          check=True, capture_output=True, text=True).stdout
    row, = json.loads(text)["entries"][0]["memory"]
    return row


# The block is widest at its scan. For each token these are still needed or being
# made there, in floats:
#   2 inner   x and gate, one product that is split by views; gate is read last
#   1 inner   u, the convolved x
#   1 inner   dt
#   1 inner   y
#   rank + 2 state   dt before its projection, B and C: one product again
# Before the scan there are fewer: x and gate, the padded x, its convolution, and
# one on the way between layouts. After it y and gate give one more, when u and dt
# are dead. Fused kernels keep less of this, never more.
#
# What does not grow with the length: two copies of the window of the convolution (to read
# one and write the other), the same of a state of 16 for each channel, which is turned
# where that is one vector or less, none of a larger one, which stays where it is, and tiles
# that are packed for products, 256 KiB at most.
#
# Of half types all is half as large, but for the state, which is kept in f32 from the first
# step to the last, wherever it lies. Left sides of products in f16 are brought to f32 before,
# at most 2 inner of these: their place is later that of dt, which is half as large.
@pytest.mark.parametrize("dtype", [f32, f16, bf16], ids=["f32", "f16", "bf16"])
@pytest.mark.parametrize("state", [16, 32])
@pytest.mark.parametrize("batch,length", [(1, 1), (64, 1), (1, 17), (3, 130), (1, 1024), (2, 4096)])
def test_block_needs_what_lives_at_its_scan(state, batch, length, dtype):
    row = memory(block(state, dtype), batch, length)
    size = np.dtype(dtype).itemsize
    per_token = (6 if dtype is f16 else 5) * INNER + RANK + 2 * state
    turned = state == 16 or dtype is not f32
    fixed = 2 * INNER * (KERNEL + (state if turned else 0))
    assert row["arena_bytes"] <= batch * (size * length * per_token + FLOAT * fixed) + 256 * 1024
    states = INNER * (state + KERNEL - 1)
    assert row["state_bytes"] == 2 * size * batch * states
    assert row["output_bytes"] == size * batch * length * WIDTH
    assert row["total_bytes"] == (row["arena_bytes"] + row["state_bytes"] + row["output_bytes"])


def test_block_of_nothing_needs_no_activations():
    assert memory(block(16), 0, 1024)["arena_bytes"] <= 256 * 1024


def test_states_are_not_copied():
    """Of Mamba-2 and of a delta rule: the state is read where it came in, and written where
    it goes out."""
    for recurrence, sizes in ((recurrences.per_head(64, 128), {"heads": 24}),
                              (recurrences.delta(64, 64, True), {})):
        module = compiler.compile_model(recurrence.model(), ["-O3"])
        assert memory(module, 8, 16, **sizes)["arena_bytes"] < 16 * 1024


TAKEN = """
import sys
sys.path[:0] = [{harness!r}, {models!r}]
import mamba
from ssmtest import runtime
from ssmtest.case import generator


def tell(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


session = runtime.Module({module!r}).session()
inputs = [mamba.block_inputs(generator("memory"), 2, length, 768, 1536, 16)
          for length in (1, 1024)]
session.run(inputs[0])  # reads all weights
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the most so far is what it is now
before = tell("VmRSS")
session.run(inputs[1])
print(tell("VmHWM") - before)
"""


@pytest.mark.skipif(build.IS_EMULATED or build.DEVICE != "", reason="memory of this process")
def test_a_run_takes_what_is_told():
    module = compiler.compile_model(mamba.block(768, 1536, 16, 48), ["-O3"])
    told = memory(module, 2, 1024)["total_bytes"] - memory(module, 2, 1)["total_bytes"]
    script = TAKEN.format(harness=str(build.ROOT / "test" / "harness"), models=str(build.MODELS),
                          module=str(module))
    taken = int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True,
                               text=True).stdout)
    assert told > 40 << 20
    # What the first run left in its arena is used again.
    assert 0.85 * told < taken < 1.05 * told + (4 << 20)


def test_reshaped_results_are_not_copied():
    """What makes a result whose last node reshapes it writes to the output at once."""
    g = Builder()
    x = g.input("x", ["batch", "length", 64])
    w = g.weight(np.zeros((64, 1), np.float32))
    y = g.add("Squeeze", g.add("MatMul", x, w), g.ints(2))
    joined = g.add("Reshape", g.add("Softmax", x), g.ints(0, -1))
    g.output(y, ["batch", "length"], name="y")
    g.output(joined, ["batch", "joined"], name="joined")
    module = compiler.compile_model(g.model(), ["-O3"])
    assert memory(module, 8, 128)["arena_bytes"] < 1024
