# ===- test_states_in_place.py - One buffer for a state's input and output -===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""States whose output is written where their input lies, against the same run with
buffers of their own and against NumPy; and those where that would be wrong."""

import subprocess
import sys

import numpy as np
import pytest
from ssmtest import build, compare, compiler, runtime
from ssmtest.case import bf16, f16, f32, generator

sys.path.insert(0, str(build.MODELS))
import mamba  # noqa: E402
import recurrences as r  # noqa: E402
from builder import Builder  # noqa: E402

pytestmark = pytest.mark.skipif(build.IS_EMULATED, reason="the C interface's own buffers")

RECURRENCES = {
    "diagonal16": r.diagonal(16), "diagonal5": r.diagonal(5), "selective16": r.selective(16),
    "per_head4x16": r.per_head(4, 16), "per_head3x208": r.per_head(3, 208),
    "delta16x16": r.delta(16, 16, False), "gated_delta7x33": r.delta(7, 33, True),
    "gated_delta64x64": r.delta(64, 64, True),
    "total": r.total(), "largest": r.largest(), "nonlinear": r.nonlinear(), "states": r.states(),
    "stabilised": r.stabilised(), "chained": r.chained(), "crossed": r.crossed(),
    "swapped": r.swapped(), "delayed": r.delayed(), "window": r.window(),
    "normalised": r.normalised(), "dense": r.dense(),
}


def load(proto, states, *options):
    pairs = [word for pair in states.items() for word in ("--state", "=".join(pair))]
    return runtime.Module(compiler.compile_model(proto, [*options, *pairs]))


def compare_runs(module, states, given, wanted=(), threads=1):
    """Runs with states in place if they may be; -> their names."""
    apart = module.session(threads=threads).run(given)
    safe = module.states_in_place()
    together = {name: array.copy() for name, array in given.items()}
    buffers = {states[name]: together[name] for name in safe}
    session = module.session(threads=threads)
    session.bind(together, buffers)()
    results = session_outputs(session, module)
    for name, want in apart.items():
        got = next((array for out, array in buffers.items() if out == name), results.get(name))
        np.testing.assert_array_equal(got, want, err_msg=name)
    for name, want in dict(wanted).items():
        compare.check_close(name, apart[name], want, apart[name].dtype, 2e-5)
    return safe


def session_outputs(session, module):
    from ctypes import byref
    found = {}
    for index, value in enumerate(module.values("output")):
        tensor = runtime.DLTensor()
        runtime.check(runtime.library().ssmrt_session_get_output(session.handle, index,
                                                                 byref(tensor)))
        found[value.name] = runtime.copy_tensor(tensor)
    return found


WAYS = [(kind, ()) for kind in RECURRENCES] + [
    (kind, (option,)) for option in ("--cpu=x86-64-v2", "--optimize-through=tile", "-O0")
    for kind in ("selective16", "gated_delta7x33", "per_head3x208", "crossed", "swapped", "window")]


@pytest.mark.parametrize("kind,options", WAYS, ids=lambda part: part if isinstance(part, str)
                         else " ".join(part) or "native")
def test_recurrences(kind, options):
    """Whatever the compiler says is safe must be: many sizes, one step among them."""
    recurrence = RECURRENCES[kind]
    states = {name: f"last_{name}" for name in recurrence.carries}
    rng = generator(f"in place {kind} {options}")
    module = load(recurrence.model(), states, *options)
    for batch, length, channels in [(1, 1, 16), (2, 1, 19), (1, 0, 5), (2, 9, 17), (1, 33, 40),
                                    (3, 100, 3), (0, 4, 4), (1, 7, 0), (2, 8, 130)]:
        given = recurrence.draw(rng, dict(B=batch, D=channels, H=channels % 7), length, 1)
        want = recurrence.run(given, 1) if options == () else {}
        compare_runs(module, states, given, want, threads=int(rng.integers(1, 3)))


@pytest.mark.parametrize("kind", RECURRENCES)
def test_one_step(kind):
    """A step of fixed length 1 is no recurrence any more."""
    length = 1
    recurrence = RECURRENCES[kind]
    states = {name: f"last_{name}" for name in recurrence.carries}
    rng = generator(f"in place one step {kind}")
    module = load(recurrence.model(length=length), states)
    for batch, channels in [(1, 16), (3, 19), (2, 130)]:
        given = recurrence.draw(rng, dict(B=batch, D=channels, H=channels % 7), length, 1)
        compare_runs(module, states, given, recurrence.run(given, 1))


@pytest.mark.parametrize("kind", ["diagonal16", "selective16", "per_head4x16", "gated_delta64x64",
                                  "total"])
def test_known(kind):
    """What a decoder lives from is in place."""
    recurrence = RECURRENCES[kind]
    states = {name: f"last_{name}" for name in recurrence.carries}
    assert load(recurrence.model(), states).states_in_place() == list(recurrence.carries)
    assert load(recurrence.model(length=1), states).states_in_place() == list(recurrence.carries)


@pytest.mark.parametrize("dtype", [f16, bf16], ids=["f16", "bf16"])
def test_halves(dtype):
    recurrence = r.diagonal(16)
    module = load(recurrence.model(dtype=dtype), {"h": "last_h"})
    rng = generator(f"in place {np.dtype(dtype)}")
    for length in (1, 20):
        given = recurrence.draw(rng, dict(B=2, D=21), length, 1, dtype)
        assert compare_runs(module, {"h": "last_h"}, given) == ["h"]


def test_block():
    states = {"past_conv": "present_conv", "past_ssm": "present_ssm"}
    module = runtime.Module(compiler.compile_model(mamba.block()))
    rng = generator("in place block")
    for length in (1, 2, 3, 70):
        given = mamba.block_inputs(rng, 2, length)
        assert compare_runs(module, states, given) == list(states)


def test_layers():
    """Equal layers are one function, to which both buffers are handed."""
    module = runtime.Module(compiler.compile_model(mamba.stack(6)))
    states = {i: o for i, o, _, _ in module.states()}
    rng = generator("in place layers")
    for length in (1, 9):
        given = {v.name: rng.standard_normal([d if isinstance(d, int) else
                                              {"batch": 2}.get(d, length) for d in v.dims])
                 .astype(f32) for v in module.values("input")}
        assert set(compare_runs(module, states, given)) == set(states)


def shifting(g, h, x):
    """The state moves on by one: elements change their places."""
    moved = g.add("Slice", h, g.ints(1), g.ints(8), g.ints(1))
    return g.add("Concat", moved, x, axis=1), g.add("Neg", x)


def backwards(g, h, x):
    flipped = g.add("Slice", h, g.ints(-1), g.ints(-2**63), g.ints(1), g.ints(-1))
    return g.add("Mul", flipped, x), g.add("Neg", x)


def read_later(g, h, x):
    """The old state is read again where the new one is known."""
    new = g.add("Tanh", g.add("MatMul", g.add("Mul", h, x), g.weight(np.eye(8, dtype=f32) * 2)))
    return new, g.add("Softmax", g.add("MatMul", new, g.add("Transpose", h, perm=[1, 0])))


@pytest.mark.parametrize("make,width", [(shifting, 1), (backwards, 8), (read_later, 8)])
def test_unsafe(make, width):
    g = Builder()
    h, x = g.input("past_h", ["n", 8]), g.input("x", ["n", width])
    new, y = make(g, h, x)
    g.output(new, ["n", 8], name="present_h")
    g.output(y, ["n", "m"], name="y")
    module = runtime.Module(compiler.compile_model(g.model()))
    assert module.states_in_place() == []
    rng = generator(f"unsafe {make.__name__}")
    given = {"past_h": rng.standard_normal((5, 8)).astype(f32),
             "x": rng.standard_normal((5, width)).astype(f32)}
    with pytest.raises(runtime.RuntimeFailure, match="'present_h' overlaps that of 'past_h': this "
                                                     "state is read after it is written"):
        module.session().bind(given, {"present_h": given["past_h"]})()


def test_described(tmp_path):
    path = compiler.compile_model(r.total().model(), ["--state", "h=last_h"])
    done = subprocess.run([str(build.tool("ssm-run")), str(path), "--describe"], text=True,
                          capture_output=True, check=True)
    assert "h -> last_h, fixed, in place" in done.stdout


def test_refused():
    """Of a state in place, all of it or nothing; and no other input."""
    recurrence = r.total()
    module = load(recurrence.model(), {"h": "last_h"})
    rng = generator("in place refused")
    memory = np.zeros((16, 16), f32)
    given = recurrence.draw(rng, dict(B=2, D=16), 3, 1)
    given["h"] = memory[:2]
    for buffer, message in [(memory[1:3], "all of it alone"), (given["x"], "overlaps that of 'x'")]:
        with pytest.raises(runtime.RuntimeFailure, match=message):
            module.session().bind(given, {"last_h": buffer})()
    with pytest.raises(runtime.RuntimeFailure, match="overlaps that of 'h'"):
        module.session().bind(given, {"y": memory})()
    module.session().bind(given, {"last_h": memory[:2]})()
