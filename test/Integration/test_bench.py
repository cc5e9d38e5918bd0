# ===- test_bench.py - The programs that measure speed ----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""test/bench runs and prints its tables; how fast anything is is not asked."""

import re
import subprocess
import sys

import pytest
from ssmtest import build

pytestmark = pytest.mark.skipif(build.TARGET != "" or build.DEVICE != "", reason="times this machine")
NUMBER = r"\s*\d+\.\d+\s*"


def run(program, *options):
    done = subprocess.run([sys.executable, str(build.ROOT / "test" / "bench" / program), *options],
                          capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_workload_beside_its_peer():
    code, out, error = run("run.py", "--threads", "1", "--markdown", "rmsnorm", "gather")
    assert code == 0, error
    assert re.search(r"limits of 1 threads: \d+ GFLOP/s", out)
    for name in ("rmsnorm", "gather rows"):
        assert re.search(rf"\| {name} \| 1 \|{NUMBER}\|{NUMBER}\|{NUMBER}\|{NUMBER}\| \d+% \|", out), out


def test_sweep():
    code, out, error = run("sweep.py", "--upto", "5", "--markdown", "elu")
    assert code == 0, error
    assert re.search(r"\| elu \| 4 \| 0 \| 0 \| \d \|", out), out


@pytest.mark.parametrize("program,option", [("run.py", "--group=none"), ("sweep.py", "--upto=x")])
def test_refused(program, option):
    code, _, error = run(program, option)
    assert code == 2 and "usage" in error
