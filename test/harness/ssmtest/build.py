# ===- build.py - Where the tools and the runtime lie ----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Paths of the repository and of what was built."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("SSM_BUILD_DIR", ROOT / "build"))
MODELS = ROOT / "test" / "models"
DOWNLOADS = BUILD / "models"
RUNTIME = BUILD / "lib" / "libssmrt.so"
# Whether this is what test/gpu/check took along ("modules" or "compiler"), where other packages are
# installed and, in the first case, there is no compiler.
PACKED = os.environ.get("SSM_TEST_PACKED", "")
HAS_COMPILER = PACKED != "modules"

# SSM_TEST_TARGET: an architecture to be emulated (aarch64-linux-gnu), or what --target
# takes (cpu,cuda:sm_90a). SSM_TEST_DEVICE: where modules run (cuda), or the chip of an emulated
# GPU (emulated:sm_80).
TARGET = os.environ.get("SSM_TEST_TARGET", "")
DEVICE = os.environ.get("SSM_TEST_DEVICE", "")
GPU_EMULATOR = ROOT / "test" / "gpu" / "emulator"
IS_GPU_EMULATED = DEVICE.startswith("emulated:")
if IS_GPU_EMULATED:
    CHIP = DEVICE.removeprefix("emulated:")
    TARGET, DEVICE = TARGET or f"cuda:{CHIP}", "cuda"
    # The compiler finds this ptxas, which is a script for our Python, and the runtime this driver.
    os.environ |= {"PATH": os.pathsep.join([str(GPU_EMULATOR), os.path.dirname(sys.executable),
                                            os.environ["PATH"]]),
                   "SSMRT_CUDA_DRIVER": str(BUILD / "lib" / "libFakeCuda.so"),
                   "SSM_FAKE_CUDA_CHIP": CHIP}
IS_EMULATED = bool(TARGET) and not TARGET.startswith(("cpu", "cuda"))


def tool(name):
    """The path of a built executable; FileNotFoundError says what to build."""
    path = BUILD / "bin" / name
    if not path.exists():
        if PACKED:
            import pytest

            pytest.skip(f"needs {name}")
        raise FileNotFoundError(f"{path} is missing: build the target {name}")
    return path
