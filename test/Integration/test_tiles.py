# ===- test_tiles.py - Products at every edge of a tile --------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Matrix products around the sizes of register tiles, strips and vectors, for
vectors of each width, against NumPy in double precision."""

import sys

import numpy as np
import pytest
from ssmtest import build, compare, compiler, runtime
from ssmtest.case import f32, generator

sys.path.insert(0, str(build.MODELS))
from builder import Builder  # noqa: E402

ROWS = [0, 1, 3, 4, 5, 11, 12, 13, 16, 25, 40]
COLUMNS = [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65]
DEPTHS = [0, 1, 2, 255, 256, 257, 530]
CPUS = ["x86-64-v2", "x86-64-v3", "native"]


def product(x_dims, w_dims):
    g = Builder()
    x, w = g.input("x", x_dims), g.input("w", w_dims)
    g.output(g.add("MatMul", x, w), x_dims[:-1] + w_dims[-1:], name="y")
    return g.model()


def check(session, rng, x_shape, w_shape):
    x, w = rng.standard_normal(x_shape, f32), rng.standard_normal(w_shape, f32)
    got = session.run({"x": x, "w": w})["y"]
    wanted = np.matmul(x.astype(np.float64), w.astype(np.float64))
    compare.check_close(f"y of {x_shape} x {w_shape}", got, wanted, np.dtype(f32), 1e-5)


@pytest.mark.parametrize("cpu", CPUS)
def test_all_edges(cpu):
    rng = generator(f"edges#{cpu}")
    module = runtime.Module(compiler.compile_model(product(["m", "k"], ["k", "n"]),
                                                   [f"--cpu={cpu}"]))
    session = module.session()
    for rows in ROWS:
        for columns in COLUMNS:
            check(session, rng, (rows, 19), (19, columns))
    for depth in DEPTHS:
        check(session, rng, (13, depth), (depth, 33))


@pytest.mark.parametrize("cpu", CPUS)
def test_batches(cpu):
    rng = generator(f"batches#{cpu}")
    for x_dims, w_dims in ((["b", "m", "k"], ["b", "k", "n"]), (["b", "m", "k"], ["k", "n"]),
                           (["b", "h", "m", "k"], ["b", "h", "k", "n"])):
        module = runtime.Module(compiler.compile_model(product(x_dims, w_dims), [f"--cpu={cpu}"]))
        session = module.session()
        for sizes in (dict(b=3, h=2, m=14, k=21, n=37), dict(b=1, h=1, m=1, k=5, n=3),
                      dict(b=2, h=3, m=4, k=300, n=16), dict(b=0, h=1, m=5, k=5, n=5)):
            check(session, rng, [sizes[d] for d in x_dims], [sizes[d] for d in w_dims])
