# ===- emulator.py - Modules on processors that this machine is not ---------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Runs modules by ssm-run under qemu-user: the same module on an older processor, or
code of another architecture with the runtime that tools/scripts/run_tests.py builds for
it. The classes have the interface of runtime.Module and runtime.Session, as far as tests
of values need it.

With `build.TARGET` aarch64-linux-gnu every test that goes through `compiler` and
`runtime` is one of that architecture."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors import deserialize
from safetensors.numpy import save_file

from . import build

TIMEOUT_S = 120
# The package's own reader has no 8-bit floats.
TYPES = {"BOOL": np.bool_, "F16": np.float16, "F32": np.float32, "F64": np.float64,
         "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
         "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64,
         "BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn,
         "F8_E5M2": ml_dtypes.float8_e5m2}


def load_file(path):
    """Path of a safetensors file -> {name: array}."""
    return {name: np.frombuffer(view["data"], TYPES[view["dtype"]]).reshape(view["shape"])
            for name, view in deserialize(path.read_bytes())}


def find_qemu(architecture):
    """The program, or None: Debian's qemu-user is missing."""
    return shutil.which(f"qemu-{architecture}")


def command_for_cpu(cpu):
    """ssm-run of this build on another x86-64 processor, by qemu's name of it."""
    return [find_qemu("x86_64"), "-cpu", cpu, str(build.tool("ssm-run"))]


def command_for_target(target):
    """ssm-run as built for that target."""
    architecture = target.split("-")[0]
    program = build.BUILD / f"runtime-{architecture}" / "bin" / "ssm-run"
    if not program.exists():
        raise FileNotFoundError(f"{program} is missing: run_tests.py {architecture}")
    return [find_qemu(architecture), "-L", f"/usr/{target}", str(program)]


class EmulatedFailure(Exception):
    """ssm-run failed; `message` is what it said."""

    def __init__(self, done):
        self.returncode, self.message = done.returncode, done.stderr.strip()
        super().__init__(f"ssm-run: exit code {done.returncode}\n{self.message}")


class Module:
    """A module that `command` runs; default: that of build.TARGET."""

    def __init__(self, path, command=None):
        self.path = Path(path)
        self.command = command or command_for_target(build.TARGET)

    def call(self, *arguments):
        words = [*self.command, str(self.path), *map(str, arguments)]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise EmulatedFailure(done)
        return done.stdout

    def describe(self):
        return json.loads(self.call("--json"))

    def session(self, entry=None, threads=1):
        return Session(self, entry, threads)


class Session:
    """Each run is a process of its own: nothing is carried."""

    def __init__(self, module, entry, threads):
        self._module = module
        self._options = ["--threads", threads] + (["--entry", entry] if entry else [])

    def run(self, inputs):
        """{name: array} -> {name: array} of all outputs."""
        with tempfile.TemporaryDirectory() as folder:
            given, wanted = Path(folder) / "in.safetensors", Path(folder) / "out.safetensors"
            arguments = [*self._options, "--outputs", wanted]
            if inputs:
                # ascontiguousarray makes vectors of scalars.
                save_file({name: np.ascontiguousarray(array).reshape(np.shape(array))
                           for name, array in inputs.items()}, given)
                arguments += ["--inputs", given]
            self._module.call(*arguments)
            return load_file(wanted)
