# ===- conftest.py - The seed, and where the harness lies ------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Shared by all Python tests."""

import os
import secrets
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "harness"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools" / "scripts"))


def pytest_addoption(parser):
    parser.addoption("--reference-only", action="store_true",
                     help="compute references without a compiler")


def pytest_configure(config):
    # Workers inherit it; so all of them make the same inputs.
    os.environ.setdefault("SSM_TEST_SEED", str(secrets.randbelow(2**32)))
    if not hasattr(config, "workerinput") and not config.getoption("--reference-only"):
        from ssmtest import compiler

        compiler.forget_old_modules()


def pytest_report_header():
    return f"SSM_TEST_SEED={os.environ['SSM_TEST_SEED']}"


def pytest_terminal_summary(terminalreporter):
    if terminalreporter.stats.get("failed"):
        terminalreporter.write_line(f"seed: SSM_TEST_SEED={os.environ['SSM_TEST_SEED']}")


@pytest.fixture
def reference_only(request):
    return request.config.getoption("--reference-only")
