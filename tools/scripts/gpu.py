# ===- gpu.py - The NVIDIA GPU of this machine ------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Asks the driver, if there is one, for the first GPU."""

import ctypes
from dataclasses import dataclass

# Of CUdevice_attribute.
MAJOR, MINOR = 75, 76
# Chips that ssm-compile knows, by compute capability.
KNOWN = {75: "sm_75", 80: "sm_80", 86: "sm_86", 87: "sm_87", 88: "sm_88", 89: "sm_89",
         90: "sm_90a", 100: "sm_100a", 103: "sm_103a", 110: "sm_110a", 120: "sm_120a",
         121: "sm_121a"}


@dataclass
class Gpu:
    product: str  # as its driver calls it
    chip: str     # as ssm-compile's --target=cuda:CHIP takes it


def target_of(capability):
    """The best target for a compute capability (10 * major + minor); None if it is too old.
    What only one chip has (`a`), others cannot run."""
    if capability in KNOWN:
        return KNOWN[capability]
    older = [known for known in KNOWN if known < capability]
    return KNOWN[max(older)].rstrip("a") if older else None


def find(library="libcuda.so.1"):
    """-> Gpu, or why there is none, as a str."""
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return "no driver"
    count, device = ctypes.c_int(), ctypes.c_int()
    major, minor, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or \
            count.value == 0:
        return "the driver finds none"
    if driver.cuDeviceGet(ctypes.byref(device), 0) != 0 or \
            driver.cuDeviceGetName(name, len(name), device) != 0 or any(
                driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device) != 0
                for value, attribute in ((major, MAJOR), (minor, MINOR))):
        return "the driver does not tell of it"
    product, capability = name.value.decode(errors="replace"), 10 * major.value + minor.value
    chip = target_of(capability)
    return Gpu(product, chip) if chip else f"{product} is older than {KNOWN[min(KNOWN)]}"
