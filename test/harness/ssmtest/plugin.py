# ===- plugin.py - Pass plugins, built out of tree ------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Builds passes as examples/pass does, in a folder that processes may share."""

import fcntl
import subprocess

from . import build


def build_plugin(folder, source):
    """The passes in `source` -> the path of their library."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for words in (["cmake", "-S", build.ROOT / "examples" / "pass", "-B", folder,
                       f"-DSSM_SOURCE_DIR={build.ROOT}", f"-DSSM_BINARY_DIR={build.BUILD}",
                       f"-DPASS_SOURCE={source}"], ["cmake", "--build", folder]):
            done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, check=False)
            assert done.returncode == 0, done.stdout
    return folder / "pass.so"


def harmful_passes():
    """--load-pass-plugin with the passes of test/Integration/Inputs/plugin."""
    source = build.ROOT / "test" / "Integration" / "Inputs" / "plugin" / "TestPasses.cpp"
    return f"--load-pass-plugin={build_plugin(build.BUILD / 'test' / 'plugin', source)}"
