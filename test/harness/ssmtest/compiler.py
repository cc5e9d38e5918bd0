# ===- compiler.py - ssm-compile with a cache by content -------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Compiles models to modules. A module is kept under build/test/modules and is
made anew when the model, the options or the compiler change."""

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import onnx

from . import build

# SSM_TEST_MODULES: a folder of its own, where refusals are kept too.
KEPT = os.environ.get("SSM_TEST_MODULES")
CACHE = Path(KEPT or build.BUILD / "test" / "modules")
# What other compilers made is thrown away once it was not used for this long.
KEEP_S = 3600
TIMEOUT_S = 300
REFUSAL = "refused.json"


class CompileError(Exception):
    """ssm-compile refused a model. `message` is its last line on stderr, `reason`
    the first that tells of an error."""

    def __init__(self, returncode, stderr):
        lines = stderr.strip().splitlines() or [""]
        self.returncode = returncode
        self.stderr = stderr
        self.message = lines[-1]
        self.reason = next((line for line in lines if "error" in line), lines[0])
        super().__init__(f"ssm-compile: exit code {returncode}\n{stderr.strip()}")

    @property
    def unsupported(self):
        """Whether it says that operators are not supported at all."""
        return re.search(r"\d+ operators? (is|are) not supported: ", self.stderr) is not None


def run_compiler(arguments, **options):
    """ssm-compile with these arguments -> CompletedProcess, text captured."""
    command = [str(build.tool("ssm-compile"))] + [str(a) for a in arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=TIMEOUT_S, check=False, **options)


@functools.lru_cache(maxsize=None)
def compiler_identity():
    """Changes with the compiler: a hash over the executable. All of it but LLVM
    is linked in. For an emulated GPU it changes with the emulator too."""
    identity = hashlib.sha256(build.tool("ssm-compile").read_bytes())
    if build.IS_GPU_EMULATED:
        for path in sorted(build.GPU_EMULATOR.glob("[!.]*")):
            if path.is_file():
                identity.update(path.read_bytes())
    return identity.hexdigest()


def compile_model(model, options=()):
    """ModelProto, bytes or a path -> path of the module. Raises CompileError."""
    path = None
    if isinstance(model, onnx.ModelProto):
        data = model.SerializeToString(deterministic=True)
    elif isinstance(model, bytes):
        data = model
    else:
        path = Path(model)
        data = path.read_bytes()
    options = [str(option) for option in options]
    if build.TARGET:
        target = f"cpu:{build.TARGET}" if build.IS_EMULATED else build.TARGET
        options.append(f"--target={target}")
    key = hashlib.sha256()
    for part in [repr(options).encode(), data]:
        key.update(len(part).to_bytes(8, "little") + part)
    cache = CACHE / (compiler_identity()[:16] if build.HAS_COMPILER else "packed")
    folder = cache / key.hexdigest()[:32]
    if not build.HAS_COMPILER and not folder.is_dir():
        import pytest

        pytest.skip("its module was not packed")
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        # Made aside and moved in whole: other processes may want the same.
        made = Path(tempfile.mkdtemp(prefix="making-", dir=cache))
        try:
            if path is None:
                path = made / "model.onnx"
                path.write_bytes(data)
            done = run_compiler([path, "-o", made / "module.so", *options])
            if done.returncode != 0:
                if (made / "module.so").exists():
                    raise AssertionError("ssm-compile failed and left a module behind")
                if not KEPT or done.returncode != 1:
                    raise CompileError(done.returncode, done.stderr)
                (made / REFUSAL).write_text(json.dumps(done.stderr), encoding="utf-8")
            try:
                os.rename(made, folder)
            except OSError:
                if not folder.is_dir():
                    raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    if (folder / REFUSAL).exists():
        raise CompileError(1, json.loads((folder / REFUSAL).read_text(encoding="utf-8")))
    return folder / "module.so"


def forget_old_modules():
    """Throws away what other compilers made, unless it is in use."""
    if KEPT or not CACHE.is_dir() or not (build.BUILD / "bin" / "ssm-compile").exists():
        return
    for folder in CACHE.iterdir():
        if folder.name != compiler_identity()[:16] and \
                time.time() - folder.stat().st_mtime > KEEP_S:
            shutil.rmtree(folder, ignore_errors=True)
