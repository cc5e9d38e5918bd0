# ===- test_scan_spellings.py - One recurrence, however it is spelled ------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Steps spelled by products of matrices, views and repetitions become one kernel each, and
agree with NumPy in double precision."""

import sys

import pytest
from ssmtest import build
from ssmtest.case import bf16, f16, generator
from test_kernels_recurrence import HALF_BOUNDS, LEVELS, check, count_kernels, load

sys.path.insert(0, str(build.MODELS))
from spellings import SPELLINGS  # noqa: E402

SIZES = [(2, 17, 19), (1, 1, 16), (3, 9, 1), (1, 33, 17), (2, 0, 5), (0, 4, 3), (4, 16, 40)]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_raised(spelling, tmp_path):
    assert count_kernels(SPELLINGS[spelling].model(), tmp_path) == (1, 0)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_values(spelling, level):
    recurrence = SPELLINGS[spelling]
    session = load(recurrence.model(), level).session()
    rng = generator(f"spelling {spelling} {level}")
    for batch, length, channels in SIZES:
        check(session, recurrence, rng, dict(B=batch, D=channels, H=channels % 7), length)


@pytest.mark.parametrize("axes", [0, 2])
@pytest.mark.parametrize("spelling", ["matmul", "heads-both", "packed-split", "groups-expand",
                                      "flat-heads"])
def test_other_axes_of_time_backwards(spelling, axes, tmp_path):
    recurrence = SPELLINGS[spelling]
    ways = dict(backward=list(recurrence.inputs), outs_backward=list(recurrence.outs))
    model = recurrence.model(axes, **ways)
    assert count_kernels(model, tmp_path) == (1, 0)
    session = load(model).session()
    rng = generator(f"spelling {spelling} {axes}")
    for batch, length, channels in SIZES:
        check(session, recurrence, rng, dict(B=batch, D=channels, H=channels % 7), length, axes,
              **ways)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [f16, bf16], ids=["f16", "bf16"])
@pytest.mark.parametrize("spelling", ["matmul", "heads-both", "delta-outer", "groups-tile",
                                      "packed-softplus"])
def test_half(spelling, dtype, level):
    recurrence = SPELLINGS[spelling]
    session = load(recurrence.model(dtype=dtype), level).session()
    rng = generator(f"half spelling {spelling} {dtype.__name__} {level}")
    for batch, length, channels in SIZES[:6]:
        check(session, recurrence, rng, dict(B=batch, D=channels, H=channels % 7), length,
              dtype=dtype, bound=HALF_BOUNDS[dtype][level])
