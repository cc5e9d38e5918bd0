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

import pytest
from ssmtest import build, compiler

sys.path.insert(0, str(build.MODELS))
import mamba  # noqa: E402

WIDTH, INNER, STATE, RANK, KERNEL = 96, 192, 16, 6, 4
FLOAT = 4


@pytest.fixture(scope="module")
def module():
    return compiler.compile_model(
        mamba.block(width=WIDTH, inner=INNER, state=STATE, rank=RANK, kernel=KERNEL), ["-O3"])


def memory(module, batch, length):
    text = subprocess.run([str(build.tool("ssm-run")), str(module), "--describe", "--json",
                           "--dim", f"batch={batch}", "--dim", f"length={length}"],
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
# What does not grow with the length: two copies of the state and of the window of
# the convolution (to read one and write the other, or in another layout), and
# tiles that are packed for products, 256 KiB at most.
@pytest.mark.parametrize("batch,length", [(1, 1), (1, 17), (3, 130), (1, 1024), (2, 4096)])
def test_block_needs_what_lives_at_its_scan(module, batch, length):
    row = memory(module, batch, length)
    per_token = 5 * INNER + RANK + 2 * STATE
    fixed = 2 * INNER * (STATE + KERNEL)
    assert row["arena_bytes"] <= FLOAT * batch * (length * per_token + fixed) + 256 * 1024
    states = INNER * (STATE + KERNEL - 1)
    assert row["state_bytes"] == 2 * FLOAT * batch * states
    assert row["output_bytes"] == FLOAT * batch * length * WIDTH
    assert row["total_bytes"] == (row["arena_bytes"] + row["state_bytes"] + row["output_bytes"])


def test_block_of_nothing_needs_no_activations(module):
    assert memory(module, 0, 1024)["arena_bytes"] <= 256 * 1024
