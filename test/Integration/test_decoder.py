# ===- test_decoder.py - A Llama's step with caches that grow ---------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""test/models/llama.py by ssm-run generate and through the C API, beside ONNX Runtime:
masks, positions, and key-value caches with and without room."""

import ctypes
import functools
import sys
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int64, c_size_t, c_void_p

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from ssmtest import build, compiler, runtime
from ssmtest.case import f32, generator
from ssmtest.generate import likeliest, run

sys.path.insert(0, str(build.MODELS))
from builder import INT64, Builder  # noqa: E402
from llama import llama  # noqa: E402

PROMPT = [5, 9, 20, 3, 96, 0, 11]
VARIANTS = {
    "plain": {},
    "cache_position": {"cache_position": True, "keep": "num_logits_to_keep",
                       "mask": TensorProto.FLOAT},
    "bool mask": {"layers": 1, "kv_heads": 1, "mask": TensorProto.BOOL},
}


@functools.lru_cache(maxsize=None)
def decoder(variant="plain"):
    """-> (ModelProto, path of the module)."""
    model = llama(seed=3, **VARIANTS[variant])
    return model, compiler.compile_model(model)


def write(module, prompt, count, *options):
    """Ids that ssm-run writes."""
    out, _ = run(module, "--ids", "--prompt", " ".join(map(str, prompt)), "--temperature", 0,
                 "--max-new", count, *options)
    return [int(word) for word in out.split()]


@pytest.mark.parametrize("variant", VARIANTS)
def test_likeliest_ids(variant):
    model, module = decoder(variant)
    expected = likeliest(model.SerializeToString(), PROMPT, 60)
    assert len(set(expected)) > 5, "the text is too dull to tell anything"
    assert write(module, PROMPT, 60) == expected
    assert write(module, PROMPT[:1], 9) == likeliest(model.SerializeToString(), PROMPT[:1], 9)


def test_capacity():
    """As much room as is wanted, too little, and more than there can be."""
    _, module = decoder()
    expected = write(module, PROMPT, 60)
    assert write(module, PROMPT, 60, "--capacity", 67) == expected
    assert write(module, PROMPT, 60, "--capacity", 1) == expected
    _, error = run(module, "--ids", "--prompt", "1", "--capacity", 1 << 40, fails=True)
    assert "out of memory" in error or "too large" in error


def test_prefill_and_decode(tmp_path):
    """Two entries: the caches and the number of ids go from one to the other."""
    model, module = decoder()
    onnx.save(model, str(tmp_path / "step.onnx"))
    two = tmp_path / "two.so"
    done = compiler.run_compiler(["--entry", f"prefill={tmp_path / 'step.onnx'}", "--entry",
                                  f"decode={tmp_path / 'step.onnx'}", "-o", two])
    assert done.returncode == 0, done.stderr
    assert write(two, PROMPT, 30) == write(module, PROMPT, 30)
    assert write(two, PROMPT, 30, "--capacity", 99) == write(module, PROMPT, 30)


def test_states_on_disk(tmp_path):
    """Positions go on behind the caches of a file."""
    _, module = decoder()
    states = tmp_path / "states.safetensors"
    whole = write(module, PROMPT, 41)
    assert write(module, PROMPT, 20, "--save-states", states) == whole[:20]
    assert write(module, whole[20:21], 20, "--load-states", states) == whole[21:]


def counting_model(mask_length, states=True, positions=False):
    """Its likeliest id is how many places of attention_mask are 1."""
    g = Builder()
    g.input("input_ids", ["batch", "sequence"], INT64)
    mask = g.input("attention_mask", ["batch", mask_length], INT64)
    count = g.add("Reshape", g.add("ReduceSum", mask, g.ints(1), keepdims=0), g.ints(1, 1, 1))
    if positions:
        where = g.input("position_ids", ["batch", "sequence"], INT64)
        count = g.add("Add", count, g.add("ReduceMin", where, keepdims=1))
    row = g.add("Equal", count, g.weight(np.arange(32)[None, None]))
    g.output(g.add("Cast", row, to=TensorProto.FLOAT), [1, 1, 32], name="logits")
    if states:
        past = g.input("past_one", ["other batch", 2])
        g.output(g.add("Add", past, g.weight(np.float32(1))), ["other batch", 2],
                 name="present_one")
    return g.model()


@pytest.mark.parametrize("length,expected", [("total", [3, 4, 5, 6]), ("sequence", [3, 1, 1, 1]),
                                             (9, [3, 4, 5, 6])])
def test_masks(length, expected):
    """A mask as long as the ids, as all ids, or of a length of its own."""
    module = compiler.compile_model(counting_model(length))
    assert write(module, [7, 7, 7], 4) == expected


def test_mask_without_states():
    module = compiler.compile_model(counting_model("total", states=False))
    assert write(module, [7, 7, 7], 4) == [3, 4, 5, 6]


def test_mask_is_full():
    module = compiler.compile_model(counting_model(5))
    assert write(module, [7, 7, 7], 2) == [3, 4]
    _, error = run(module, "--ids", "--prompt", "1 1 1 1 1 1", fails=True)
    assert "'attention_mask' of entry" in error and "room for 5 ids" in error


def test_positions_that_states_do_not_tell(tmp_path):
    states = tmp_path / "states.safetensors"
    module = compiler.compile_model(counting_model("sequence", positions=True))
    assert write(module, [7, 7, 7], 2, "--save-states", states) == [3, 4]
    _, error = run(module, "--ids", "--prompt", "1", "--load-states", states, fails=True)
    assert "'position_ids' of entry" in error and "none grows with them" in error


def test_unknown_inputs():
    g = Builder()
    ids = g.input("input_ids", ["batch", "sequence"], INT64)
    mask = g.input("attention_mask", ["batch", 1, "sequence", "sequence"])
    zero = g.add("Mul", g.add("Cast", ids, to=TensorProto.FLOAT), g.add("ReduceSum", mask, keepdims=0))
    g.output(zero, ["batch", "sequence"], name="logits")
    _, error = run(compiler.compile_model(g.model()), "--ids", "--prompt", "1", fails=True)
    assert "attention_mask: float32 [batch, 1, sequence, sequence]" in error
    assert "position_ids, cache_position" in error


# ===--- Through the C API -------------------------------------------------===#


class Size(Structure):
    _fields_ = [("name", c_char_p), ("size", c_int64)]


ALLOCATE = CFUNCTYPE(c_void_p, c_void_p, c_size_t, c_size_t)
RELEASE = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t)


class Allocator(Structure):
    _fields_ = [("user", c_void_p), ("allocate", ALLOCATE), ("release", RELEASE)]


class Carrying:
    """A session that carries states, with an allocator that counts and can refuse; on a device
    without: its memory would have to be the device's."""

    def __init__(self, module):
        self.module, self.held, self.allocations, self.refuses = module, {}, 0, False
        self.allocator = Allocator(None, ALLOCATE(self.allocate), RELEASE(self.release))
        self.lib = runtime.library()
        options, self.handle = c_void_p(), c_void_p()
        self.call("ssmrt_session_options_create", byref(options))
        self.call("ssmrt_session_options_set_carry_states", options, 1)
        self.call("ssmrt_session_options_set_threads", options, 1)
        if not build.DEVICE.startswith("cuda"):
            self.call("ssmrt_session_options_set_allocator", options, byref(self.allocator))
        self.call("ssmrt_session_create", module._handle, None, options, byref(self.handle))
        self.lib.ssmrt_session_options_destroy(options)
        self.seen = 0

    def close(self):
        self.lib.ssmrt_session_destroy(self.handle)
        assert not self.held, "memory was not given back"

    def call(self, name, *arguments):
        runtime.check(getattr(self.lib, name)(*arguments))

    def allocate(self, _, size, alignment):
        if self.refuses:
            return None
        memory = ctypes.create_string_buffer(size + alignment)
        address = -(-ctypes.addressof(memory) // alignment) * alignment
        self.held[address] = memory
        self.allocations += 1
        return address

    def release(self, _, data, __):
        del self.held[data]

    def reserve(self, past):
        sizes = (Size * 4)((b"batch", 1), (b"sequence", 1), (b"past", past),
                           (b"past + sequence", past + 1))
        self.call("ssmrt_session_reserve", self.handle, sizes, 4)

    def run(self, ids):
        """-> logits"""
        total = self.seen + len(ids)
        inputs = {"input_ids": np.array([ids]), "attention_mask": np.ones([1, total], np.int64),
                  "position_ids": np.arange(self.seen, total)[None]}
        given, alive = (runtime.Input * len(inputs))(), []
        for slot, (name, array) in zip(given, inputs.items()):
            tensor, keep = runtime.view_array(array)
            alive.append((tensor, keep))
            slot.name, slot.tensor = name.encode(), ctypes.pointer(tensor)
        self.call("ssmrt_session_run", self.handle, given, len(inputs), None, 0)
        self.seen = total
        tensor = runtime.DLTensor()
        self.call("ssmrt_session_get_output", self.handle,
                  [v.name for v in self.module.values("output")].index("logits"), byref(tensor))
        return runtime.copy_tensor(tensor)

    def state(self, name):
        tensor = runtime.DLTensor()
        self.call("ssmrt_session_get_state", self.handle, name.encode(), byref(tensor))
        return runtime.copy_tensor(tensor)

    def save(self):
        size = c_size_t()
        self.call("ssmrt_session_save_states", self.handle, None, byref(size))
        data = ctypes.create_string_buffer(size.value)
        self.call("ssmrt_session_save_states", self.handle, data, byref(size))
        return data

    def restore(self, data, seen):
        self.call("ssmrt_session_restore_states", self.handle, data, c_size_t(len(data)))
        self.seen = seen

    def fork(self):
        other = Carrying(self.module)
        self.call("ssmrt_session_copy_states", other.handle, self.handle)
        other.seen = self.seen
        return other

    def roll_back(self, ids):
        self.call("ssmrt_session_roll_back", self.handle)
        self.seen -= ids


# Memory of a device is no business of this test's allocator.
on_host = pytest.mark.skipif(build.DEVICE.startswith("cuda"), reason="the allocator gives host memory")


@pytest.fixture(name="session")
def make_session():
    session = Carrying(runtime.Module(decoder()[1]))
    yield session
    session.close()


def peer_logits(ids):
    """Of all ids in one run, by ONNX Runtime: no cache."""
    model = decoder()[0]
    peer = onnxruntime.InferenceSession(model.SerializeToString(),
                                        providers=["CPUExecutionProvider"])
    feeds = {value.name: np.zeros([1, *value.shape[1:2], 0, *value.shape[3:]], f32)
             for value in peer.get_inputs() if value.name.startswith("past")}
    feeds.update(input_ids=np.array([ids]), attention_mask=np.ones([1, len(ids)], np.int64),
                 position_ids=np.arange(len(ids))[None])
    return peer.run(["logits"], feeds)[0]


def random_ids(test, count):
    return [int(n) for n in generator(test).integers(97, size=count)]


def check_logits(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-4)


def test_states_grow(session):
    ids = random_ids("states grow", 50)
    expected = peer_logits(ids)
    check_logits(session.run(ids[:3]), expected[:, :3])
    check_logits(session.run(ids[3:10]), expected[:, 3:10])
    for i in range(10, 50):
        check_logits(session.run(ids[i:i + 1]), expected[:, i:i + 1])
        assert session.state("past_key_values.1.value").shape == (1, 2, i + 1, 6)


@on_host
def test_steps_up_to_the_capacity_allocate_nothing(session):
    ids = random_ids("capacity", 90)
    expected = peer_logits(ids)
    session.reserve(59)
    # What only a run can size is there after the first one.
    check_logits(session.run(ids[:1]), expected[:, :1])
    before = session.allocations
    for i in range(1, 60):
        check_logits(session.run(ids[i:i + 1]), expected[:, i:i + 1])
    assert session.allocations == before
    # Beyond it all grow, by half at least: seldom.
    for i in range(60, 90):
        check_logits(session.run(ids[i:i + 1]), expected[:, i:i + 1])
    assert before < session.allocations <= before + 2 * (2 * 4 + 2)


@on_host
def test_no_memory_beyond_the_capacity(session):
    """The step that there is no room for fails; the caches stay, and it can be repeated."""
    ids = random_ids("no memory", 40)
    expected = peer_logits(ids)
    session.reserve(9)
    check_logits(session.run(ids[:1]), expected[:, :1])
    session.refuses = True
    done = 1
    with pytest.raises(runtime.RuntimeFailure) as failure:
        while done < 40:
            check_logits(session.run(ids[done:done + 1]), expected[:, done:done + 1])
            done += 1
    assert failure.value.status == "out of memory" and "out of memory" in failure.value.message
    assert 10 <= done < 40
    session.refuses = False
    for i in range(done, 40):
        check_logits(session.run(ids[i:i + 1]), expected[:, i:i + 1])


def test_save_fork_and_roll_back(session):
    ids = random_ids("save", 24)
    expected = peer_logits(ids)
    session.run(ids[:20])
    saved = session.save()
    other = session.fork()
    session.run([1, 2])
    session.roll_back(2)
    assert session.state("past_key_values.0.key").shape[2] == 20
    for carrying in (session, other):
        check_logits(carrying.run(ids[20:]), expected[:, 20:])
    other.restore(saved, 20)
    check_logits(other.run(ids[20:22]), expected[:, 20:22])
    other.close()
