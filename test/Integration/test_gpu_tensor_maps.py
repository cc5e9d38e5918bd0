# ===- test_gpu_tensor_maps.py - Maps and tiles that host code chooses -------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The host's code of a version for a GPU, run against a device table that records its calls
(include/ssmrt/module_abi.h): which kernels are launched, and the tensor maps they get."""

import ctypes
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_uint32, c_uint64, c_void_p

import onnx
import pytest
from onnx import TensorProto, helper
from ssmtest import compiler

BF16, DEVICE_FAILED = 16, 4


class DeviceKernel(ctypes.Structure):
    _fields_ = [("name", c_char_p)] + [
        (n, c_int32) for n in ("max_threads", "dynamic_shared", "flags", "num_params")] + [
        ("param_bytes", POINTER(c_int32))] + [
        (n, c_int32) for n in ("registers", "shared_bytes", "spill_bytes", "reserved")]


class Entry(ctypes.Structure):
    _fields_ = [("name", c_char_p)] + [
        (n, c_int32) for n in ("inputs", "outputs", "states", "checks", "kernels", "reserved")] + [
        (n, c_void_p) for n in ("input", "output", "state", "check", "kernel", "plan", "run")]


class ModuleInfo(ctypes.Structure):
    _fields_ = [("magic", c_uint32), ("abi_version", c_uint32), ("struct_bytes", c_uint32),
                ("num_entries", c_int32), ("entries", POINTER(Entry))] + [
        (n, c_char_p) for n in ("producer", "options", "target", "cpu", "features")] + [
        ("num_weights", c_int32), ("num_versions", c_int32)] + [
        (n, c_void_p) for n in ("weights", "versions", "embedded", "weights_file")] + [
        ("file_bytes", c_int64), ("weights_base", c_int64), ("header_hash", c_uint64),
        ("device", c_char_p), ("device_kernels", POINTER(DeviceKernel)), ("images", c_void_p),
        ("num_device_kernels", c_int32), ("num_images", c_int32), ("model_hash", c_uint64)]


class Argument(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("dims", POINTER(c_int64))]


OUTPUT = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_int32, POINTER(c_int64))
LAUNCH = ctypes.CFUNCTYPE(c_int32, c_void_p, c_int32, POINTER(c_int64), c_int32,
                          POINTER(c_void_p))
TENSOR_MAP = ctypes.CFUNCTYPE(c_int32, c_void_p, c_void_p, c_int32, c_int32, c_void_p,
                              POINTER(c_int64), POINTER(c_int64), POINTER(c_int32), c_int32)


class Table(ctypes.Structure):
    _fields_ = [("abi_version", c_uint32), ("struct_bytes", c_uint32)] + [
        (n, c_void_p) for n in ("parallel_for", "alloc", "mark", "release")] + [
        ("output", OUTPUT), ("report", c_void_p), ("kernel", c_void_p), ("launch", LAUNCH),
        ("read", c_void_p), ("tensor_map", TENSOR_MAP), ("fault", c_void_p)]


def product(turned, batch=False):
    """Y = A B, or A B^T, in bf16."""
    outer = ["B"] if batch else []
    values = [helper.make_tensor_value_info(name, TensorProto.BFLOAT16, outer + dims)
              for name, dims in (("A", ["M", "K"]), ("B", ["N", "K"] if turned else ["K", "N"]),
                                 ("Y", ["M", "N"]))]
    nodes, right = [], "B"
    if turned:
        order = list(range(len(outer))) + [len(outer) + 1, len(outer)]
        nodes.append(helper.make_node("Transpose", ["B"], ["T"], perm=order))
        right = "T"
    nodes.append(helper.make_node("MatMul", ["A", right], ["Y"]))
    return helper.make_model(helper.make_graph(nodes, "g", values[:2], values[2:]),
                             opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


class Recorder:
    """Runs the only entry of a module; nothing it is given is memory of anybody."""

    def __init__(self, path):
        self.library = ctypes.CDLL(str(path))
        self.module = ModuleInfo.in_dll(self.library, "ssm_module")
        assert self.module.struct_bytes == ctypes.sizeof(ModuleInfo)
        assert self.module.device == b"cuda"
        self.fails = False

    def run(self, *arguments):
        """(address, dims) each -> status."""
        self.launches, self.maps = [], []

        def output(_context, _index, _dims):
            return 0x7000000

        def launch(_context, kernel, grid, threads, params):
            info = self.module.device_kernels[kernel]
            sizes = info.param_bytes[:info.num_params]
            self.launches.append((info.name.decode(), grid[:3], threads, [
                params[i] for i, size in enumerate(sizes) if size == 128]))
            return 0

        def tensor_map(_context, to, kind, rank, data, dims, strides, box, swizzle):
            assert to % 64 == 0 and kind == BF16
            self.maps.append((to, data, dims[:rank], strides[:rank - 1], box[:rank], swizzle))
            return DEVICE_FAILED if self.fails else 0

        table = Table(self.module.abi_version, ctypes.sizeof(Table), output=OUTPUT(output),
                      launch=LAUNCH(launch), tensor_map=TENSOR_MAP(tensor_map))
        shapes = [(c_int64 * len(dims))(*dims) for _, dims in arguments]
        given = (Argument * len(arguments))(*[
            Argument(data, ctypes.cast(shape, POINTER(c_int64)))
            for (data, _), shape in zip(arguments, shapes)])
        call = ctypes.CFUNCTYPE(c_int32, POINTER(Table), c_void_p, POINTER(Argument), c_void_p,
                                c_void_p)(self.module.entries[0].run)
        return call(ctypes.byref(table), None, given, 0x1000000, None)

    def chosen(self):
        (name, _, _, _), = self.launches
        return name.removeprefix("kernel_matmul").removeprefix("_")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("products"), {}

    def get(turned, batch=False):
        if (turned, batch) not in made:
            path = folder / f"product{turned:d}{batch:d}.so"
            onnx.save(product(turned, batch), path.with_suffix(".onnx"))
            # Machine code is of no use here.
            done = compiler.run_compiler([path.with_suffix(".onnx"), "--target=cuda:sm_90a", "-o",
                                          path], env={"PATH": "", "CUDA_HOME": ""})
            assert done.returncode == 0, done.stderr
            made[turned, batch] = Recorder(path)
        return made[turned, batch]
    return get


@pytest.mark.parametrize("turned", [True, False])
def test_maps(compiled, turned):
    """Dims from the innermost one, strides in bytes, boxes of lines of 128 bytes."""
    module = compiled(turned)
    m, n, k = 4096, 10496, 2560
    a, b = 0x2000000, 0x4000000
    assert module.run((a, [m, k]), (b, [n, k] if turned else [k, n])) == 0
    assert module.chosen() == "128x256"
    (_, grid, threads, params), = module.launches
    # As many tiles; the runtime bounds them by what runs at once.
    assert grid == [32 * 41, 1, 1] and threads == 384
    left, right = module.maps
    assert params == [left[0], right[0]]
    assert left[1:] == (a, [k, m], [2 * k], [64, 128], 3)
    assert right[1:] == ((b, [k, n], [2 * k], [64, 256], 3) if turned else
                         (b, [n, k], [2 * n], [64, 64], 3))


def test_batch(compiled):
    module = compiled(True, True)
    assert module.run((0x2000000, [3, 256, 64]), (0x4000000, [3, 64, 64])) == 0
    left, right = module.maps
    assert left[2:] == ([64, 256, 3], [128, 128 * 256], [64, 128, 1], 3)
    assert module.chosen() == "128x64" and module.launches[0][1] == [6, 1, 1]


def test_batch_of_some_rows(compiled):
    """The columns, which are what tensor cores have rows of, come first."""
    module = compiled(True, True)
    assert module.run((0x2000000, [3, 128, 64]), (0x4000000, [3, 64, 64])) == 0
    columns, rows = module.maps
    assert columns[2:] == ([64, 64, 3], [128, 128 * 64], [64, 64, 1], 3)
    assert rows[2:] == ([64, 128, 3], [128, 128 * 128], [64, 128, 1], 3)
    assert module.chosen() == "128_rows" and module.launches[0][1] == [3, 1, 1]


@pytest.mark.parametrize("sizes, tile", [
    ((8192, 8192), "128x224"), ((2048, 2048), "128x256"), ((4096, 2560), "256x160"),
    ((4096, 10576), "128x224"), ((512, 512), "128x64"), ((129, 8), "128x64"),
    ((2048, 1024), "128x128"), ((65, 8), "128_rows"),
])
def test_tile_follows_sizes(compiled, sizes, tile):
    module = compiled(True)
    m, n = sizes
    assert module.run((0x2000000, [m, 1024]), (0x4000000, [n, 1024])) == 0
    assert module.chosen() == tile


@pytest.mark.parametrize("a, b, k", [
    (0x2000002, 0x4000000, 64), (0x2000000, 0x4000008, 64), (0x2000000, 0x4000000, 65),
])
def test_rows_that_no_map_takes(compiled, a, b, k):
    """Pointers or rows that do not begin at multiples of 16 bytes: read by elements."""
    module = compiled(True)
    assert module.run((a, [100, k]), (b, [72, k])) == 0
    assert module.chosen() == "any" and module.maps == [] and module.launches[0][3] == []


def test_no_depth(compiled):
    """Maps of tensors without elements, and kernels that do not use them."""
    module = compiled(True)
    assert module.run((0x2000000, [100, 0]), (0x4000000, [72, 0])) == 0
    assert [made[2][0] for made in module.maps] == [0, 0]


def test_no_map(compiled):
    """A map that cannot be made ends the run before the launch."""
    module = compiled(True)
    module.fails = True
    assert module.run((0x2000000, [100, 64]), (0x4000000, [72, 64])) == DEVICE_FAILED
    assert len(module.maps) == 1 and module.launches == []
    module.fails = False
