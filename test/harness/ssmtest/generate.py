# ===- generate.py - ssm-run generate, and ONNX Runtime's answer -----------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Lets language models write: by ssm-run, and by a loop over ONNX Runtime."""

import os
import subprocess
import sys

import numpy as np
import onnxruntime

from . import build

TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float)": np.float32,
         "tensor(bool)": np.bool_}


def run(module, *arguments, fails=False, **environment):
    """-> (stdout as bytes, stderr). Text goes through the tokenizers of this Python."""
    done = subprocess.run([str(build.tool("ssm-run")), "generate", str(module),
                           *map(str, arguments)], capture_output=True,
                          env={**os.environ, "SSM_PYTHON": sys.executable, **environment})
    error = done.stderr.decode()
    if fails:
        assert done.returncode != 0 and done.stdout == b"", done
        assert error.startswith("ssm-run: ") and error.count("\n") == 1, error
    else:
        assert done.returncode == 0, error
    return done.stdout, error


def likeliest(model, prompt, count, stops=()):
    """The likeliest ids behind those of the prompt, as ONNX Runtime tells them. model:
    bytes; its states begin with past."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    inputs = {value.name: value for value in session.get_inputs()}
    states = {}
    for name, value in inputs.items():
        if name.startswith("past"):
            # What is open is the batch, or else a cache that is empty.
            shape = [1 if axis == 0 else size if isinstance(size, int) else 0
                     for axis, size in enumerate(value.shape)]
            states[name] = np.zeros(shape, TYPES[value.type])
    seen, ids, made = 0, list(prompt), []
    while True:
        known = {"ids": [ids], "input_ids": [ids], "attention_mask": np.ones([1, seen + len(ids)]),
                 "position_ids": np.arange(seen, seen + len(ids))[None],
                 "cache_position": np.arange(seen, seen + len(ids)), "num_logits_to_keep": 1}
        feeds = {name: np.asarray(known[name], TYPES[value.type])
                 for name, value in inputs.items() if name not in states}
        results = dict(zip(names, session.run(names, {**feeds, **states})))
        seen += len(ids)
        states = {name: results[name.replace("past_key_values", "past").replace("past", "present")]
                  for name in states}
        ids = [int(results["logits"][0, -1].argmax())]
        if len(made) == count or ids[0] in stops:
            return made
        made += ids
