# ===- runtime.py - libssmrt through ctypes --------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Loads modules and runs them with NumPy arrays, through the C API alone."""

import ctypes
import functools
from ctypes import (POINTER, Structure, byref, c_char_p, c_int, c_int32, c_int64, c_size_t,
                    c_uint8, c_uint16, c_uint32, c_uint64, c_void_p)

import ml_dtypes
import numpy as np

from . import build

API_VERSION = 5
MAX_RANK = 16


class DLDataType(Structure):
    _fields_ = [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]


class DLTensor(Structure):
    _fields_ = [("data", c_void_p), ("device_type", c_int32), ("device_id", c_int32),
                ("ndim", c_int32), ("dtype", DLDataType), ("shape", POINTER(c_int64)),
                ("strides", POINTER(c_int64)), ("byte_offset", c_uint64)]


class Dim(Structure):
    _fields_ = [("size", c_int64), ("symbol", c_char_p)]


class ValueInfo(Structure):
    _fields_ = [("name", c_char_p), ("type", DLDataType), ("rank", c_int32),
                ("dims", Dim * MAX_RANK)]


class EntryInfo(Structure):
    _fields_ = [("name", c_char_p)] + [
        (n, c_int32) for n in ("num_inputs", "num_outputs", "num_states", "num_checks",
                               "num_kernels")]


class StateInfo(Structure):
    _fields_ = [("name", c_char_p), ("input", c_int32), ("output", c_int32),
                ("kind", c_int32), ("axis", c_int32), ("in_place", c_int32)]


RANGE = ctypes.CFUNCTYPE(c_int32, c_void_p, c_int64, c_int64)
PARALLEL_FOR = ctypes.CFUNCTYPE(c_int32, c_void_p, RANGE, c_void_p, c_int64, c_int64)


class Input(Structure):
    _fields_ = [("name", c_char_p), ("tensor", POINTER(DLTensor))]


class Buffer(Structure):
    _fields_ = [("name", c_char_p), ("data", c_void_p), ("bytes", c_size_t),
                ("device_type", c_int32), ("device_id", c_int32)]


# DLPack's type codes.
TYPES = {
    (0, 8): np.int8, (0, 16): np.int16, (0, 32): np.int32, (0, 64): np.int64,
    (1, 8): np.uint8, (1, 16): np.uint16, (1, 32): np.uint32, (1, 64): np.uint64,
    (2, 16): np.float16, (2, 32): np.float32, (2, 64): np.float64,
    (4, 16): ml_dtypes.bfloat16, (6, 8): np.bool_,
    (10, 8): ml_dtypes.float8_e4m3fn, (12, 8): ml_dtypes.float8_e5m2,
}
CODES = {np.dtype(type_): key for key, type_ in TYPES.items()}


class RuntimeFailure(Exception):
    """A call of the runtime failed; `status` is its name."""

    def __init__(self, status, message):
        self.status, self.message = status, message
        super().__init__(f"{status}: {message}")


@functools.lru_cache(maxsize=None)
def library():
    lib = ctypes.CDLL(str(build.RUNTIME))
    lib.ssmrt_status_name.restype = c_char_p
    lib.ssmrt_last_message.restype = c_char_p
    lib.ssmrt_api_version.restype = c_uint32
    for name in ("ssmrt_module_release", "ssmrt_load_options_destroy", "ssmrt_session_destroy",
                 "ssmrt_session_options_destroy"):
        getattr(lib, name).restype = None
        getattr(lib, name).argtypes = [c_void_p]
    lib.ssmrt_load_options_set_device.argtypes = [c_void_p, c_char_p]
    lib.ssmrt_session_options_set_threads.argtypes = [c_void_p, c_int32]
    lib.ssmrt_session_options_set_carry_states.argtypes = [c_void_p, c_int]
    lib.ssmrt_session_options_set_graphs.argtypes = [c_void_p, c_int]
    lib.ssmrt_session_options_set_stream.argtypes = [c_void_p, c_void_p]
    for run in (lib.ssmrt_session_run, lib.ssmrt_session_run_async):
        run.argtypes = [c_void_p, POINTER(Input), c_int32, POINTER(Buffer), c_int32]
    if lib.ssmrt_api_version() != API_VERSION:
        raise RuntimeError(f"{build.RUNTIME} has another API version than this binding")
    if build.DEVICE == "cuda" and not build.IS_GPU_EMULATED:
        keep_context()
    return lib


def keep_context():
    """The first GPU's primary context would come and go with each module, which takes longer than
    a test; this process holds it."""
    driver, context = ctypes.CDLL("libcuda.so.1"), c_void_p()
    for call, arguments in ((driver.cuInit, (0,)),
                            (driver.cuDevicePrimaryCtxRetain, (byref(context), 0))):
        if status := call(*arguments):
            raise RuntimeError(f"{call.__name__}: error {status} of the driver")


def check(status):
    if status != 0:
        lib = library()
        raise RuntimeFailure(lib.ssmrt_status_name(status).decode(),
                             lib.ssmrt_last_message().decode("utf-8", "replace"))


def view_array(array):
    """NumPy array -> (DLTensor, what must live as long as it)."""
    code, bits = CODES[array.dtype]
    shape = (c_int64 * max(array.ndim, 1))(*array.shape)
    tensor = DLTensor(array.ctypes.data, 1, 0, array.ndim, DLDataType(code, bits, 1),
                      ctypes.cast(shape, POINTER(c_int64)), None, 0)
    return tensor, (array, shape)


def copy_tensor(tensor):
    """DLTensor -> NumPy array of its own."""
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    dtype = np.dtype(TYPES[tensor.dtype.code, tensor.dtype.bits])
    array = np.empty(shape, dtype)
    if array.size:
        ctypes.memmove(array.ctypes.data, tensor.data + tensor.byte_offset, array.nbytes)
    return array


class Value:
    """An input or output of an entry. dims: int, or str for a symbol, or None."""

    def __init__(self, info):
        self.name = info.name.decode()
        self.dtype = np.dtype(TYPES[info.type.code, info.type.bits])
        self.dims = [d.size if d.size >= 0 else (d.symbol.decode() if d.symbol else None)
                     for d in info.dims[:info.rank]]

    def __repr__(self):
        return f"{self.name}: {self.dtype}{self.dims}"


class Module:
    """A loaded module, on `device` (default: build.DEVICE, or where the runtime puts it)."""

    def __init__(self, path, device=None):
        lib = library()
        options, device = c_void_p(), device or build.DEVICE
        self._handle = c_void_p()
        check(lib.ssmrt_load_options_create(byref(options)))
        try:
            if device:
                check(lib.ssmrt_load_options_set_device(options, device.encode()))
            check(lib.ssmrt_module_load(str(path).encode(), options, byref(self._handle)))
        finally:
            lib.ssmrt_load_options_destroy(options)

    def __del__(self):
        if self._handle:
            library().ssmrt_module_release(self._handle)
            self._handle = None

    def entry_index(self, name=None):
        if name is None:
            return 0
        index = c_int32()
        check(library().ssmrt_module_find_entry(self._handle, name.encode(), byref(index)))
        return index.value

    def entry(self, name=None):
        info = EntryInfo()
        check(library().ssmrt_module_get_entry(self._handle, self.entry_index(name), byref(info)))
        return info

    def values(self, kind, name=None):
        """kind 'input' or 'output' -> list of Value."""
        get = getattr(library(), f"ssmrt_module_get_{kind}")
        result = []
        for index in range(getattr(self.entry(name), f"num_{kind}s")):
            info = ValueInfo()
            check(get(self._handle, self.entry_index(name), index, byref(info)))
            result.append(Value(info))
        return result

    def states(self, name=None):
        """-> list of (input name, output name, 'fixed' or 'append', axis)."""
        inputs, outputs = self.values("input", name), self.values("output", name)
        result = []
        for index in range(self.entry(name).num_states):
            info = StateInfo()
            check(library().ssmrt_module_get_state(self._handle, self.entry_index(name), index,
                                                   byref(info)))
            result.append((inputs[info.input].name, outputs[info.output].name,
                           ("fixed", "append")[info.kind], info.axis))
        return result

    def states_in_place(self, name=None):
        """Names of the inputs of states whose output may be written where they lie."""
        found = []
        for index in range(self.entry(name).num_states):
            info = StateInfo()
            check(library().ssmrt_module_get_state(self._handle, self.entry_index(name), index,
                                                   byref(info)))
            found += [info.name.decode()] if info.in_place else []
        return found

    def session(self, entry=None, threads=1, carry_states=False, stream=None,
                graphs=True, parallel_for=None):
        return Session(self, entry, threads, carry_states, stream, graphs, parallel_for)


class Session:
    """A session of one entry of a module; on a device on `stream`, an address,
    and without `graphs` of the runtime's own. `parallel_for`, a function of n, grain and one
    that runs a piece, takes the place of the runtime's threads."""

    def __init__(self, module, entry=None, threads=1, carry_states=False, stream=None,
                 graphs=True, parallel_for=None):
        lib = library()
        self._module = module
        self._outputs = [value.name for value in module.values("output", entry)]
        options = c_void_p()
        check(lib.ssmrt_session_options_create(byref(options)))
        self._handle = c_void_p()
        try:
            check(lib.ssmrt_session_options_set_threads(options, threads))
            check(lib.ssmrt_session_options_set_carry_states(options, int(carry_states)))
            if stream is not None:
                check(lib.ssmrt_session_options_set_stream(options, stream))
            check(lib.ssmrt_session_options_set_graphs(options, int(graphs)))
            if parallel_for:
                self._parallel_for = PARALLEL_FOR(
                    lambda user, fn, closure, n, grain:
                    parallel_for(n, grain, lambda low, high: fn(closure, low, high)))
                check(lib.ssmrt_session_options_set_parallel_for(options, self._parallel_for, None))
            check(lib.ssmrt_session_create(module._handle, entry.encode() if entry else None,
                                           options, byref(self._handle)))
        finally:
            lib.ssmrt_session_options_destroy(options)

    def __del__(self):
        if getattr(self, "_handle", None):
            library().ssmrt_session_destroy(self._handle)
            self._handle = None

    @property
    def handle(self):
        return self._handle

    def bind(self, inputs, buffers=None):
        """{name: array} -> a function that runs with them and copies nothing. buffers:
        {name: array} that outputs are written to."""
        alive, given = [], (Input * max(len(inputs), 1))()
        for slot, (name, array) in zip(given, inputs.items()):
            tensor, keep = view_array(np.ascontiguousarray(array).reshape(np.shape(array)))
            alive.append((tensor, keep))
            slot.name, slot.tensor = name.encode(), ctypes.pointer(tensor)

        taken = (Buffer * max(len(buffers or {}), 1))()
        for slot, (name, array) in zip(taken, (buffers or {}).items()):
            slot.name, slot.data, slot.bytes = name.encode(), array.ctypes.data, array.nbytes
            alive.append(array)

        def call(_alive=alive):
            check(library().ssmrt_session_run(self._handle, given, len(inputs), taken,
                                              len(buffers or {})))
        return call

    def run(self, inputs):
        """{name: array} -> {name: array} of all outputs."""
        lib = library()
        self.bind(inputs)()
        result = {}
        for index, name in enumerate(self._outputs):
            tensor = DLTensor()
            check(lib.ssmrt_session_get_output(self._handle, index, byref(tensor)))
            result[name] = copy_tensor(tensor)
        return result


# A test of another architecture is the same test with other classes.
if build.IS_EMULATED:
    from . import emulator

    Module, RuntimeFailure = emulator.Module, emulator.EmulatedFailure
