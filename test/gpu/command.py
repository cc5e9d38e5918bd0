# ===- command.py - The command line of the programs of kernels --------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""`build` and `run` of matmul.py, convolutions.py, memory.py, moves.py and sorts.py."""

import argparse
import sys
from pathlib import Path


def main(text, names, build, run, most):
    """Ends the process, with 1 where something failed. text: the program's docstring; names: what
    --only may choose; build(folder, chip, only) and run(folder, timed, only, most) tell whether
    they failed; most: what --most bounds."""
    parser = argparse.ArgumentParser(description=text,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("build", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--only", default=",".join(names))
    parser.add_argument("--chip", default="sm_90a")
    parser.add_argument("--most", type=float, help=most)
    options = parser.parse_args()
    only = options.only.split(",")
    if unknown := [name for name in only if name not in names]:
        parser.error(f"no {', '.join(unknown)}; there are {', '.join(names)}")
    failed = build(options.folder, options.chip, only) if options.what == "build" else \
        run(options.folder, options.time, only, options.most)
    sys.exit(1 if failed else 0)
