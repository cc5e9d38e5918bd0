# ===- test_kernels_recurrence.py - Recurrences as kernels -----------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Recurrences of many kinds, sizes, layouts and directions against NumPy in double
precision; that those that can are one kernel; pieces, threads, starts."""

import dataclasses
import itertools
import sys

import numpy as np
import onnx
import pytest
from ssmtest import build, compare, compiler, runtime
from ssmtest.case import bf16, f16, f32, generator
from ssmtest.roundings import Roundings

sys.path.insert(0, str(build.MODELS))
import recurrences as r  # noqa: E402
from builder import Builder  # noqa: E402

LEVELS = ["-O0", "-O3"]
LENGTHS = [0, 1, 2, 7, 8, 9, 31, 33, 100]
CHANNELS = [1, 3, 15, 16, 17, 40]

# name -> (recurrence, whether all of it becomes one kernel)
KINDS = {
    **{f"diagonal{n}": (r.diagonal(n), True) for n in (1, 2, 5, 16, 17, 33, 64)},
    **{f"per_head{p}x{n}": (r.per_head(p, n), True)
       for p, n in ((1, 1), (4, 16), (7, 3), (16, 17), (33, 8), (17, 32), (3, 208))},
    **{f"selective{n}": (r.selective(n), True) for n in (7, 16, 48)},
    "guarded16": (r.guarded(16), True),
    "delta1x1": (r.delta(1, 1, False), None),
    **{f"delta{k}x{v}": (r.delta(k, v, False), True) for k, v in ((8, 16), (5, 17))},
    **{f"gated_delta{k}x{v}": (r.delta(k, v, True), True) for k, v in ((2, 3), (16, 8), (7, 33))},
    "total": (r.total(), True),
    "largest": (r.largest(), True),
    "nonlinear": (r.nonlinear(), True),
    "states": (r.states(), True),
    "stabilised": (r.stabilised(), True),
    "chained": (r.chained(), True),
    "crossed": (r.crossed(), True),
    "swapped": (r.swapped(), None),
    "delayed": (r.delayed(), None), "window": (r.window(), None),
    "centred": (r.centred(), None),
    "normalised": (r.normalised(), None),
    **{f"distribution{n}": (r.distribution(n), True) for n in (1, 17, 40, 200)},
    "frames3x33": (r.frames(3, 33), True),
    "dense": (r.dense(), False),
    **{f"segments_{spelling}{taps}": (r.segmented(spelling, 7, taps), True)
       for spelling, taps in (("where", 0), ("where", 3), ("decay", 0), ("product", 3), ("ids", 0),
                              ("ids", 3))},
}


def load(model, level="-O3"):
    return runtime.Module(compiler.compile_model(model, [level]))


def count_kernels(model, tmp_path):
    """-> (kernels with time, scans left) behind the tile stage."""
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path))
    done = compiler.run_compiler([path, "--emit=tile", "-o", tmp_path / "tile.mlir"])
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "tile.mlir").read_text()
    return (sum("ssm.kernel" in line and " time " in line for line in text.splitlines()),
            text.count("ssm.scan"))


def check_values(name, got, want, dtype, bound=None):
    """Relative to 1 where all is smaller: a state that the delta rule nearly cancels
    is as exact as the values near 1 that it is the difference of."""
    largest = np.abs(want.astype(np.float64)).max(initial=0)
    bound = compare.BOUNDS[np.dtype(dtype)] if bound is None else bound
    compare.check_close(name, got, want, np.dtype(dtype),
                        bound * max(1, 1 / largest) if largest > 0 else bound)


def check(session, recurrence, rng, sizes, length, axes=1, dtype=f32, bound=None, **options):
    given = recurrence.draw(rng, sizes, length, axes, dtype)
    got = session.run(given)
    wanted = recurrence.run(given, axes, **options)
    for name, want in wanted.items():
        check_values(f"{name} of {sizes} x {length}", got[name], want, dtype, bound)
    return given, got


@pytest.mark.parametrize("kind", KINDS)
def test_raised(kind, tmp_path):
    recurrence, wanted = KINDS[kind]
    if wanted is not None:
        assert count_kernels(recurrence.model(), tmp_path) == ((1, 0) if wanted else (0, 1))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
def test_sizes(kind, level):
    recurrence, _ = KINDS[kind]
    rng = generator(f"sizes {kind} {level}")
    session = load(recurrence.model(), level).session()
    # All lengths and channels with one batch, the other batches with some.
    for length, channels in itertools.product(LENGTHS, CHANNELS):
        check(session, recurrence, rng, dict(B=1, D=channels, H=channels % 7), length)
    for batch, length, channels in itertools.product((0, 3), (0, 1, 9, 33), (1, 16, 17)):
        check(session, recurrence, rng, dict(B=batch, D=channels, H=channels % 7), length)


@pytest.mark.parametrize("kind", ["diagonal", "per_head", "gated_delta"])
def test_state_of_any_size(kind, tmp_path):
    """A state whose size is open, or too large for registers and stack, stays in its
    buffer; the kernel is the same."""
    make = {"diagonal": r.diagonal, "per_head": lambda n: r.per_head(3, n),
            "gated_delta": lambda n: r.delta(n, 5, True, 701)}[kind]
    assert count_kernels(make("S").model(), tmp_path) == (1, 0)
    rng = generator(f"open state {kind}")
    session = load(make("S").model()).session()
    for states, batch, length, channels in [(1, 1, 9, 17), (0, 1, 5, 16), (5, 2, 33, 18),
                                            (16, 1, 8, 3), (67, 1, 1, 16), (600, 1, 10, 17),
                                            (7, 0, 4, 4), (6, 2, 0, 9)]:
        sizes = dict(B=batch, D=channels, H=channels % 7, S=states)
        check(session, make("S"), rng, sizes, length)
    large = make(701)
    session = load(large.model()).session()
    for batch, length, channels in [(1, 11, 17), (2, 1, 3), (1, 0, 16)]:
        check(session, large, rng, dict(B=batch, D=channels, H=channels % 7), length)


AXES_KINDS = ["diagonal5", "per_head4x16", "gated_delta2x3", "states", "chained", "dense"]


@pytest.mark.parametrize("axes", [0, 2])
@pytest.mark.parametrize("kind", AXES_KINDS)
def test_time_axis(kind, axes):
    recurrence, _ = KINDS[kind]
    rng = generator(f"axes {kind} {axes}")
    session = load(recurrence.model(axes)).session()
    for batch, length, channels in [(2, 9, 17), (1, 33, 16), (3, 1, 1), (1, 100, 40), (2, 0, 3)]:
        check(session, recurrence, rng, dict(B=batch, D=channels, H=channels % 7), length, axes)


DIRECTIONS = {
    "reverse": (lambda names: names, lambda names: names),
    "mixed": (lambda names: names[::2], lambda names: []),
    "out": (lambda names: [], lambda names: names),
}


@pytest.mark.parametrize("flips", [None, (-1, -2**63)], ids=["directions", "flips"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind,axes", [("diagonal16", 1), ("diagonal5", 0), ("per_head7x3", 1),
                                       ("selective16", 1), ("selective48", 2),
                                       ("delta5x17", 1), ("gated_delta16x8", 0),
                                       ("total", 1), ("stabilised", 0), ("nonlinear", 2),
                                       ("distribution40", 1), ("distribution200", 2)])
def test_directions(kind, axes, direction, flips, tmp_path):
    recurrence, _ = KINDS[kind]
    choose_inputs, choose_outs = DIRECTIONS[direction]
    ways = dict(backward=choose_inputs(list(recurrence.inputs)),
                outs_backward=choose_outs(list(recurrence.outs)))
    model = recurrence.model(axes, flips=flips, **ways)
    assert count_kernels(model, tmp_path) == (1, 0)
    rng = generator(f"directions {kind} {axes} {direction} {flips}")
    session = load(model).session()
    for batch, length, channels in [(2, 9, 17), (1, 33, 16), (3, 1, 1), (1, 8, 40), (2, 0, 3)]:
        check(session, recurrence, rng, dict(B=batch, D=channels, H=channels % 7), length, axes,
              **ways)


@pytest.mark.parametrize("length,flips", [
    ("length", (-1, -2**63 + 1)), ("length", (-1, -2**31)), (17, (-1, -2**63)), (16, (-1, -2**31)),
    (17, (-1, -18)), (17, (16, -18)), (17, (100, -1000)), (1, (-1, -2**63))], ids=str)
@pytest.mark.parametrize("kind", ["diagonal5", "per_head4x16", "gated_delta2x3", "total"])
def test_flips_of_any_spelling(kind, length, flips, tmp_path):
    recurrence, _ = KINDS[kind]
    ways = dict(backward=list(recurrence.inputs), outs_backward=list(recurrence.outs))
    model = recurrence.model(flips=flips, length=length, **ways)
    assert count_kernels(model, tmp_path) == (1, 0)
    assert "tensor.extract " not in (tmp_path / "tile.mlir").read_text()
    rng = generator(f"flips {kind} {length} {flips}")
    session = load(model).session()
    for batch, channels in [(2, 17), (1, 16), (3, 1), (0, 3)]:
        steps = rng.integers(0, 40) if length == "length" else length
        check(session, recurrence, rng, dict(B=batch, D=channels, H=channels % 7), steps, **ways)


# Above -O0 only what is stored is rounded; at -O0 each operation of the body rounds,
# the state in every step.
HALF_BOUNDS = {f16: {"-O0": 4e-3, "-O3": 1e-3}, bf16: {"-O0": 3e-2, "-O3": 8e-3}}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [f16, bf16], ids=["f16", "bf16"])
@pytest.mark.parametrize("way", ["forward", "backward", "flips"])
@pytest.mark.parametrize("kind", ["diagonal16", "selective16", "selective7", "guarded16",
                                  "per_head7x3", "per_head4x16", "gated_delta7x33", "nonlinear", "frames3x33"])
def test_half(kind, way, dtype, level):
    recurrence, _ = KINDS[kind]
    rng = generator(f"half {kind} {way} {np.dtype(dtype)} {level}")
    ways = {} if way == "forward" else dict(backward=list(recurrence.inputs),
                                            outs_backward=list(recurrence.outs))
    flips = (-1, -2**63) if way == "flips" else None
    session = load(recurrence.model(dtype=dtype, flips=flips, **ways), level).session()
    for batch, length, channels in [(2, 1, 19), (2, 9, 17), (1, 33, 18), (3, 17, 1), (1, 0, 5),
                                    (0, 4, 4), (1, 7, 0)]:
        sizes = dict(B=batch, D=channels, H=channels % 7)
        if level == "-O0" and kind.startswith("guarded") and dtype == f16:
            # Beyond that f16 has no exp, which only steps in f32 get over.
            ranges = {**recurrence.ranges, "dt": (-4, 9)}
            recurrence = dataclasses.replace(recurrence, ranges=ranges)
        if level == "-O0" and kind.startswith(("selective", "guarded")):
            check_roundings(session, recurrence, rng, sizes, length, dtype, **ways)
        else:
            check(session, recurrence, rng, sizes, length, dtype=dtype,
                  bound=HALF_BOUNDS[dtype][level], **ways)


def check_roundings(session, recurrence, rng, sizes, length, dtype, **ways):
    """Softplus of small numbers has few digits where each operation of a step rounds, more or
    fewer from element to element: each has its own bound."""
    given = recurrence.draw(rng, sizes, length, 1, dtype)
    got = session.run(given)
    rounding = Roundings(dtype)

    def step(**values):
        """With errors as imaginary parts."""
        pairs = {n: (np.real(v), np.imag(v)) for n, v in values.items()}
        return [[value + 1j * error for value, error in part]
                for part in recurrence.build(rounding, **pairs)]
    bounds = dataclasses.replace(recurrence, step=step).run(given, 1, **ways)
    for name, want in recurrence.run(given, 1, **ways).items():
        value, bound = np.real(bounds[name]), np.imag(bounds[name])
        assert got[name].shape == want.shape and got[name].dtype == dtype
        np.testing.assert_allclose(value, want, rtol=1e-7, atol=1e-8)
        off = np.abs(got[name].astype(np.float64) - want)
        assert (off <= bound).all(), f"{name}: error {off.max():.3g} above its bound"
        # A bound that says something: it is below the values themselves, in f16 far below.
        if want.size > 100:
            assert np.median(bound) < (0.1 if dtype == f16 else 0.5) * np.abs(want).max()


@pytest.mark.parametrize("dtype", [f16, bf16], ids=["f16", "bf16"])
def test_half_does_not_drift(dtype):
    """Steps too small for a state of the type itself: added to 1, they are rounded off."""
    recurrence = dataclasses.replace(r.diagonal(4), ranges={
        "h": (0.9, 1), "dt": (1e-3, 2e-3), "a": (-1e-2, 0), "u": (0.5, 1), "b": (0.5, 1)})
    rng = generator(f"drift {np.dtype(dtype)}")
    session = load(recurrence.model(dtype=dtype)).session()
    check(session, recurrence, rng, dict(B=2, D=17), 700, dtype=dtype,
          bound=HALF_BOUNDS[dtype]["-O3"])


@pytest.mark.parametrize("level", LEVELS)
def test_growing_factors(level):
    """Factors above and below 1 whose product stays near 1: errors of each add up."""
    recurrence = r.scaled()
    rng = generator(f"growing {level}")
    session = load(recurrence.model(), level).session()
    x, total = np.zeros((1, 1000, 33), f32), np.zeros(33)
    for step in x[0]:
        step[:] = rng.uniform(0.5, 1, 33) * np.where(total > 0, -1, 1)
        total += step
    given = {"h": np.ones((1, 33), f32), "x": x}
    got = session.run(given)
    for name, want in recurrence.run(given, 1).items():
        # A third of a rounding for each factor.
        compare.check_close(name, got[name], want, np.dtype(f32), 2e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_extreme_factors(level):
    """exp of what is very large, small, infinite or no number."""
    recurrence = r.scaled()
    session = load(recurrence.model(), level).session()
    x = np.array([0, -0.0, 88, 89, 104, 1e4, 1e10, 1e30, 3e38, np.inf, np.nan], f32)
    x = np.concatenate([x, -x])[None, None]
    given = {"h": np.ones((1, x.size), f32), "x": x}
    with np.errstate(over="ignore", invalid="ignore"):
        want = np.exp(x.astype(np.float64)).astype(f32)
    np.testing.assert_allclose(session.run(given)["y"], want, rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", ["diagonal5", "per_head4x16", "delta5x17", "stabilised"])
def test_zero_start(kind, level):
    """Carries that start at zeros made inside of the model."""
    recurrence, _ = KINDS[kind]
    rng = generator(f"zero {kind}")
    session = load(recurrence.model(zero=True), level).session()
    for batch, length, channels in [(2, 9, 17), (1, 33, 16), (3, 1, 1), (2, 0, 3)]:
        sizes = dict(B=batch, D=channels, H=channels % 7)
        given = recurrence.draw(rng, sizes, length, 1)
        for name in recurrence.carries:
            given[name][...] = 0
        got = session.run(given)
        for name, want in recurrence.run(given, 1).items():
            if kind == "stabilised" and length == 0:
                continue
            check_values(f"{name} of {sizes} x {length}", got[name], want, f32)


@pytest.mark.parametrize("kind", ["diagonal17", "per_head16x17", "gated_delta16x8", "crossed",
                                  "stabilised", "distribution40", "dense"])
def test_pieces(kind):
    recurrence, _ = KINDS[kind]
    rng = generator(f"pieces {kind}")
    session = load(recurrence.model()).session()
    given = recurrence.draw(rng, dict(B=2, D=19, H=3), 100, 1)
    whole = session.run(given)
    state, parts, at = {n: given[n] for n in recurrence.carries}, [], 0
    for length in (7, 1, 0, 31, 61):
        part = {n: given[n][:, at:at + length] for n in recurrence.inputs}
        got = session.run({**given, **part, **state})
        state = {n: got[f"last_{n}"] for n in recurrence.carries}
        parts.append(got)
        at += length
    for name in recurrence.outs:
        compare.check_close(name, np.concatenate([p[name] for p in parts], 1), whole[name],
                            np.dtype(f32))
    for name in recurrence.carries:
        compare.check_close(name, state[name], whole[f"last_{name}"], np.dtype(f32))


@pytest.mark.parametrize("kind", ["diagonal16", "per_head4x16", "gated_delta7x33", "stabilised",
                                  "nonlinear", "states", "distribution40"])
def test_threads(kind):
    """The same bits again with the same threads; the bound between numbers of them."""
    recurrence, _ = KINDS[kind]
    rng = generator(f"threads {kind}")
    module = load(recurrence.model())
    for sizes, length in ((dict(B=1, D=200, H=9), 40), (dict(B=5, D=17, H=1), 33)):
        for threads in (1, 2, 3):
            session = module.session(threads=threads)
            given, first = check(session, recurrence, rng, sizes, length)
            again = session.run(given)
            for name, value in first.items():
                assert value.tobytes() == again[name].tobytes(), (name, threads)


@pytest.mark.parametrize("cpu", ["v2", "v3", "v4"])
@pytest.mark.parametrize("kind", ["diagonal16", "gated_delta7x33", "selective48", "per_head3x208",
                                  "distribution40"])
def test_targets(kind, cpu):
    recurrence, _ = KINDS[kind]
    rng = generator(f"targets {kind} {cpu}")
    try:
        module = runtime.Module(compiler.compile_model(recurrence.model(), [f"--cpu={cpu}"]))
    except runtime.RuntimeFailure as failure:
        pytest.skip(str(failure))
    session = module.session()
    for batch, length, channels in [(2, 9, 17), (1, 33, 16), (1, 1, 1), (1, 20, 40)]:
        check(session, recurrence, rng, dict(B=batch, D=channels, H=channels % 7), length)


@pytest.mark.parametrize("cpu", ["native", "v3"])
@pytest.mark.parametrize("keys, width", [(25, 1), (30, 17), (64, 64), (128, 100)])
@pytest.mark.parametrize("gated", [False, True], ids=["delta", "gated"])
def test_single_step(keys, width, gated, cpu):
    """A step that reads its whole state twice is a kernel without time."""
    recurrence = r.delta(keys, width, gated)
    module = runtime.Module(
        compiler.compile_model(recurrence.model(length=1), [f"--cpu={cpu}"]))
    for threads in (1, 2):
        session = module.session(threads=threads)
        for batch in (0, 1, 5, 70):
            check(session, recurrence, generator(f"step {keys} {width}"), dict(B=batch), 1)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("centred", [False, True], ids=["raised", "not-raised"])
def test_fixed_length_behind_an_axis_of_1(centred, level):
    """A step drops one of two axes of size 1, and the sizes around them are open."""
    g, body = Builder(), Builder("step_")
    start, x = g.input("h", [1, "m", "n"]), g.input("x", [1, "m", 17, "n"])
    h, v = (body.input(f"step_{name}", [1, "m", "n"]) for name in "hv")
    new = body.add("Add", body.add("Mul", h, body.weight(np.float32(0.5))), v)
    out = body.add("Sub", new, body.add("ReduceMean", new, body.ints(1), keepdims=1)) \
        if centred else new
    for value in (new, out):
        body.output(body.add("Identity", value), [1, "m", "n"])
    last, y = g.add("Scan", start, x, count=2, num_scan_inputs=1, scan_input_axes=[2],
                    scan_output_axes=[2], body=body.graph("step"))
    g.output(last, [1, "m", "n"], name="last")
    g.output(y, [1, "m", 17, "n"], name="y")
    rng = generator("behind 1")
    session = load(g.model(), level).session()
    for m, n in ((5, 3), (1, 1), (3, 1), (1, 20)):
        given = {"h": rng.standard_normal((1, m, n), f32),
                 "x": rng.standard_normal((1, m, 17, n), f32)}
        got, state, steps = session.run(given), given["h"].astype(np.float64), []
        for t in range(17):
            state = state * 0.5 + given["x"][:, :, t]
            steps.append(state - state.mean(1, keepdims=True) if centred else state)
        compare.check_close("last", got["last"], state, np.dtype(f32))
        compare.check_close("y", got["y"], np.stack(steps, 2), np.dtype(f32))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("taps", [0, 3])
def test_nothing_reaches_over_a_boundary(taps, axes, level):
    """A sequence whose state is not a number does not harm the one behind it."""
    recurrence = r.segmented("where", taps=taps)
    session = load(recurrence.model(axes), level).session()
    rng = generator(f"boundary {taps} {axes} {level}")
    for batch, length, channels, start in ((2, 40, 17, 9), (1, 33, 8, 32), (1, 64, 32, 1)):
        given = recurrence.draw(rng, dict(B=batch, D=channels), length, axes)
        given["mark"][:] = -1
        given["mark"][:, start] = 1
        u = np.moveaxis(given["u"], axes, 0)
        u[start - 1, 0, ::2], u[start - 1, -1, 1::2] = np.inf, np.nan
        got = session.run(given)
        behind = {n: np.moveaxis(np.moveaxis(a, min(axes, a.ndim - 1), 0)[start:], 0,
                                 min(axes, a.ndim - 1)) if n in recurrence.inputs else a
                  for n, a in given.items()}
        wanted = recurrence.run(behind, axes)
        check_values("y", np.moveaxis(got["y"], axes, 0)[start:],
                     np.moveaxis(wanted["y"], axes, 0), f32)
        check_values("h", got["last_h"], wanted["last_h"], f32)
