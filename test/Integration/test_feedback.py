# ===- test_feedback.py - Outputs as the next run's inputs ------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What a run left is given to the next one as it is, memory and shape the session's own."""

import ctypes
import sys

import numpy as np
import pytest
from ssmtest import build, compiler, runtime

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402


@pytest.fixture(scope="module")
def module():
    g = Builder()
    g.output(g.add("Transpose", g.input("x", ["M", "N"])), ["N", "M"], name="y")
    return runtime.Module(compiler.compile_model(g.model()))


def output(session):
    view = runtime.DLTensor()
    runtime.check(runtime.library().ssmrt_session_get_output(session.handle, 0,
                                                             ctypes.byref(view)))
    return view


def feed(session, view):
    given = (runtime.Input * 1)()
    given[0].name, given[0].tensor = b"x", ctypes.pointer(view)
    runtime.check(runtime.library().ssmrt_session_run(session.handle, given, 1, None, 0))


@pytest.mark.parametrize("rows,columns", [(100, 100), (37, 500), (1, 9)])
def test_output_is_the_next_input(module, rows, columns):
    session = module.session()
    x = np.random.default_rng().standard_normal((rows, columns), np.float32)
    session.bind({"x": x})()
    for step in range(1, 6):
        wanted = x if step % 2 == 0 else x.T
        np.testing.assert_array_equal(runtime.copy_tensor(output(session)), wanted)
        feed(session, output(session))
