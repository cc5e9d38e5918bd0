# ===- machine.py - What the processor of this machine can run -------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""By what the kernel tells of it, not by our own table."""

import re

LEVELS = ["x86-64-v4", "x86-64-v3", "x86-64-v2"]


def flags():
    with open("/proc/cpuinfo", encoding="utf-8") as text:
        return set(re.search(r"^flags\s*: (.*)$", text.read(), re.M)[1].split())


def level():
    """The best level of x86-64 that it has."""
    has = flags()
    if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= has:
        return "x86-64-v4"
    if {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "abm"} <= has:
        return "x86-64-v3"
    return "x86-64-v2"


def runs(cpu):
    """Whether it runs code for that level, or "native"."""
    return cpu == "native" or LEVELS.index(cpu) >= LEVELS.index(level())
