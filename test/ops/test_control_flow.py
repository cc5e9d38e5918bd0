# ===- test_control_flow.py - If, Loop and Scan in whole models ------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Compares whole models with control flow with ONNX Runtime at several sizes,
zero and one among them."""

import sys

import numpy as np
import pytest
from ssmtest import build, compare, compiler, model, reference, runtime
from ssmtest.case import f32, generator, scalar

sys.path.insert(0, str(build.MODELS))
import control_flow  # noqa: E402
import mamba  # noqa: E402


def normal(rng, *shape):
    return rng.standard_normal(shape, f32)


def growing(rng, m, trips, limit):
    return {"x": rng.uniform(0.5, 1, m).astype(f32), "trips": scalar(trips),
            "limit": scalar(limit, f32)}


# Name -> (model, inputs of each call as functions of a generator).
MODELS = {
    "if_captured": (control_flow.if_captured, [
        lambda r, n=n, m=m, flag=flag: {"x": normal(r, n, m), "flag": scalar(flag, np.bool_)}
        for n, m in ((3, 5), (1, 1), (0, 4)) for flag in (True, False)]),
    "loop_growing": (control_flow.loop_growing, [
        lambda r, a=a: growing(r, *a)
        for a in ((5, 7, 1e9), (5, 7, 3.0), (1, 1, 1e9), (3, 0, 1e9), (4, 70, 1e9), (3, 5, -1))]),
    "loop_while": (control_flow.loop_while, [
        lambda r, x=x: {"x": scalar(x, f32)} for x in (37.0, 1.0, 0.3, 1e9)]),
    "loop_widening": (control_flow.loop_widening, [
        lambda r, m=m, t=t: {"x": normal(r, 1, m), "trips": scalar(t)}
        for m, t in ((3, 5), (1, 1), (4, 0), (0, 2))]),
    "nested": (control_flow.nested, [
        lambda r, t=t, m=m, n=n, flag=flag: {"x": normal(r, t, m), "turns": scalar(n),
                                             "flag": scalar(flag, np.bool_)}
        for t, m, n in ((5, 3, 4), (1, 1, 1), (7, 2, 0)) for flag in (True, False)]),
    "scan_axes": (control_flow.scan_axes, [
        lambda r, m=m, t=t: {"x": normal(r, m, t, 3), "z": normal(r, t, m),
                             "start": normal(r, m, 3)}
        for m, t in ((4, 7), (1, 1), (2, 65))]),
    "mamba_block": (mamba.block, [
        lambda r, b=b, n=n: {"hidden": normal(r, b, n, 32), "past_conv": normal(r, b, 64, 3),
                             "past_ssm": normal(r, b, 64, 8)}
        for b, n in ((2, 7), (1, 1), (3, 65))]),
    "mamba_bidirectional": (mamba.bidirectional, [
        lambda r, b=b, n=n: {"hidden": normal(r, b, n, 24)}
        for b, n in ((2, 7), (1, 1), (1, 65))]),
}
CALLS = [pytest.param(name, index, id=f"{name}-{index}")
         for name, (_, calls) in MODELS.items() for index in range(len(calls))]


def prepared(name, index):
    """-> (model, inputs, ONNX Runtime's outputs)."""
    proto = MODELS[name][0]()
    inputs = MODELS[name][1][index](generator(f"{name}#{index}"))
    wanted = reference.run_model(proto, inputs)
    # A loop without turns stacks nothing, of the shape of a turn's results; ONNX
    # Runtime gives zeros for sizes that the file does not fix.
    if inputs.get("turns") == 0:
        wanted["all"] = wanted["all"].reshape(0, *inputs["x"].shape)
    if inputs.get("trips") == 0 and "limit" in inputs:
        wanted["rows"] = wanted["rows"].reshape(0, *inputs["x"].shape)
    return proto, inputs, wanted


def check_outputs(results, wanted, bound=None):
    assert results.keys() == wanted.keys()
    for key, want in wanted.items():
        if want.shape[:1] == (0,):
            # A loop without a turn: ONNX Runtime gives 0 for every size of its stack
            # that the file does not state, also where the body tells it.
            assert results[key].shape[:1] == (0,) and results[key].ndim == want.ndim
            continue
        compare.check_close(key, results[key], want, want.dtype, bound)


@pytest.mark.parametrize("name,index", CALLS)
def test_model(name, index, reference_only):
    proto, inputs, wanted = prepared(name, index)
    if reference_only:
        return
    session = runtime.Module(compiler.compile_model(proto)).session()
    check_outputs(session.run(inputs), wanted)


@pytest.mark.parametrize("name", MODELS)
def test_model_with_fixed_sizes(name, reference_only):
    """The same with the sizes of the first call declared in the file."""
    proto, inputs, wanted = prepared(name, 0)
    for value in proto.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.dim_value = inputs[value.name].shape[axis]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    reference.run_model(proto, inputs)
    if reference_only:
        return
    session = runtime.Module(compiler.compile_model(proto)).session()
    check_outputs(session.run(inputs), wanted)


@pytest.mark.parametrize("name", MODELS)
def test_model_with_distinct_symbols(name, reference_only):
    """The same with every dimension symbolic under a name of its own."""
    proto, inputs, wanted = prepared(name, 0)
    if reference_only:
        return
    # The weights' sizes are fixed: the compiler finds out what must agree.
    session = runtime.Module(compiler.compile_model(model.with_symbolic_inputs(proto))).session()
    check_outputs(session.run(inputs), wanted)


def test_flips_equal_reverse_scan():
    proto, _, wanted = prepared("mamba_bidirectional", 0)
    del proto
    compare.check_close("flipped", wanted["flipped"], wanted["output"], f32, 1e-4)


@pytest.mark.parametrize("rows,steps", [(5, 0), (0, 3), (0, 0)])
def test_scan_of_nothing(rows, steps, reference_only):
    """ONNX Runtime dies of a floating point exception at these sizes."""
    if reference_only:
        pytest.skip("needs the compiler")
    rng = generator("scan_of_nothing")
    start = normal(rng, rows, 3)
    session = runtime.Module(compiler.compile_model(control_flow.scan_axes())).session()
    results = session.run({"x": normal(rng, rows, steps, 3), "z": normal(rng, steps, rows),
                           "start": start})
    np.testing.assert_array_equal(results["last"], start)
    assert results["steps"] == steps
    assert results["differences"].shape == (rows, 3, steps)
    assert results["sums"].shape == (rows, steps)


@pytest.mark.parametrize("batch,length", [(2, 0), (0, 5), (0, 0)])
def test_mamba_of_nothing(batch, length, reference_only):
    """As above, for a layer."""
    if reference_only:
        pytest.skip("needs the compiler")
    rng = generator("mamba_of_nothing")
    inputs = {"hidden": normal(rng, batch, length, 32), "past_conv": normal(rng, batch, 64, 3),
              "past_ssm": normal(rng, batch, 64, 8)}
    results = runtime.Module(compiler.compile_model(mamba.block())).session().run(inputs)
    assert results["output"].shape == (batch, length, 32)
    np.testing.assert_array_equal(results["present_conv"], inputs["past_conv"])
    np.testing.assert_array_equal(results["present_ssm"], inputs["past_ssm"])


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("name", ["mamba_block", "nested"])
def test_threads(name, threads, reference_only):
    """Right with any number of threads, and the same bits from run to run."""
    if reference_only:
        pytest.skip("needs the compiler")
    proto, inputs, wanted = prepared(name, 2)
    session = runtime.Module(compiler.compile_model(proto)).session(threads=threads)
    first = session.run(inputs)
    check_outputs(first, wanted)
    for _ in range(3):
        for key, value in session.run(inputs).items():
            np.testing.assert_array_equal(value, first[key])


@pytest.mark.parametrize("cuts", [(4,), (1, 2, 9), tuple(range(1, 13))],
                         ids=["two", "four", "steps"])
@pytest.mark.parametrize("carry", [False, True], ids=["passed", "carried"])
def test_mamba_in_pieces(carry, cuts, reference_only):
    """A prefill in pieces, and steps of one, equal the prefill at once, whether
    the states are passed or carried by the session."""
    if reference_only:
        pytest.skip("needs the compiler")
    rng = generator("mamba_in_pieces")
    hidden = normal(rng, 2, 13, 32)
    states = {"conv": np.zeros((2, 64, 3), f32), "ssm": np.zeros((2, 64, 8), f32)}
    module = runtime.Module(compiler.compile_model(mamba.block()))
    whole = module.session().run({"hidden": hidden, "past_conv": states["conv"],
                                  "past_ssm": states["ssm"]})
    session, parts = module.session(carry_states=carry), []
    for lo, hi in zip((0, *cuts), (*cuts, 13)):
        inputs = {"hidden": hidden[:, lo:hi]}
        if not carry:
            inputs.update({f"past_{k}": v for k, v in states.items()})
        results = session.run(inputs)
        states = {k: results[f"present_{k}"] for k in states}
        parts.append(results["output"])
    compare.check_close("output", np.concatenate(parts, 1), whole["output"], f32)
    for key, value in states.items():
        compare.check_close(key, value, whole[f"present_{key}"], f32)


def test_states_are_paired(reference_only):
    if reference_only:
        pytest.skip("needs the compiler")
    module = runtime.Module(compiler.compile_model(mamba.block()))
    assert sorted(s[:3] for s in module.states()) == [
        ("past_conv", "present_conv", "fixed"), ("past_ssm", "present_ssm", "fixed")]
