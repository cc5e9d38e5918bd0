# ===- device.py - Modules on a GPU with torch's memory ---------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Runs a module on torch's stream, with torch's tensors as inputs and outputs: nothing is
copied, nobody waits."""

import ctypes
from ctypes import POINTER, c_int64

import torch
from ssmtest import runtime

CUDA = 2  # DLPack's kDLCUDA
CODES = {torch.bfloat16: (4, 16), torch.float16: (2, 16), torch.float32: (2, 32),
         torch.int64: (0, 64), torch.int32: (0, 32), torch.int8: (0, 8),
         torch.float8_e4m3fn: (10, 8)}


def view(tensor):
    """torch tensor -> (DLTensor, what must live as long as it)."""
    if not tensor.is_contiguous():
        raise ValueError("the runtime takes dense tensors")
    shape = (c_int64 * max(tensor.dim(), 1))(*tensor.shape)
    code, bits = CODES[tensor.dtype]
    return runtime.DLTensor(tensor.data_ptr(), CUDA, tensor.device.index, tensor.dim(),
                            runtime.DLDataType(code, bits, 1),
                            ctypes.cast(shape, POINTER(c_int64)), None, 0), (tensor, shape)


class Model:
    """A module on the current GPU and stream."""

    def __init__(self, path):
        device = torch.cuda.current_device()
        self.module = runtime.Module(path, f"cuda:{device}")
        # Without graphs of its own: its runs are captured into torch's.
        self.session = self.module.session(stream=torch.cuda.current_stream().cuda_stream,
                                           graphs=False)

    def bind(self, inputs, outputs):
        """{name: tensor} each -> a function that queues a run."""
        alive = []
        given = (runtime.Input * len(inputs))()
        for slot, (name, tensor) in zip(given, inputs.items()):
            viewed, keep = view(tensor)
            alive.append((viewed, keep))
            slot.name, slot.tensor = name.encode(), ctypes.pointer(viewed)
        buffers = (runtime.Buffer * len(outputs))()
        for slot, (name, tensor) in zip(buffers, outputs.items()):
            slot.name, slot.data = name.encode(), tensor.data_ptr()
            slot.bytes = tensor.numel() * tensor.element_size()
            slot.device_type, slot.device_id = CUDA, tensor.device.index
            alive.append(tensor)
        library = runtime.library()

        def call(_alive=alive):
            runtime.check(library.ssmrt_session_run_async(self.session.handle, given, len(inputs),
                                                          buffers, len(outputs)))
        return call
