#!/usr/bin/env python3
# ===- bench.py - Speed on a GPU beside PyTorch and the GPU's limits --------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Times modules and PyTorch on the same tensors, turn by turn in one process, and the
limits of the GPU in the same run.

  bench.py pack FOLDER [--chip sm_90a]       here: compiles the models, with the runtime
  bench.py run FOLDER [--markdown] [NAME]..  where the GPU is: PyTorch, Triton, NumPy, ml_dtypes

A side is rested before each burst of calls; `--hot` times without pauses. Between two calls
the second-level cache is overwritten. Peers run as CUDA graphs where they can be captured, so
that none pays for launches; `eager` pays.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(ROOT / "test" / "harness"), str(ROOT / "test" / "models")]


def pack(options):
    import models
    import onnx
    from ssmtest import build, compiler

    folder = options.folder
    (folder / "lib").mkdir(parents=True, exist_ok=True)
    shutil.copy(build.RUNTIME, folder / "lib" / build.RUNTIME.name)
    for name, source in models.SOURCES.items():
        model = source.make(*source.arguments).model(models.OPSET)
        onnx.save(model, str(folder / f"{name}.onnx"))
        done = compiler.run_compiler([folder / f"{name}.onnx", f"--target=cuda:{options.chip}",
                                      "-o", folder / f"{name}.so"])
        print(f"{name}: {'compiled' if done.returncode == 0 else done.stderr}", flush=True)
        (folder / f"{name}.onnx").unlink()


def run(options):
    os.environ["SSM_BUILD_DIR"] = str(options.folder)
    import measure
    import rows

    table = measure.Table(options.markdown)
    bench = measure.Bench(options.folder, options.hot)
    bench.tell_limits()
    for row in rows.ALL:
        if not options.names or any(word in row.name for word in options.names):
            table.add(row, bench.measure(row))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pack", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--chip", default="sm_90a")
    parser.add_argument("--hot", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_intermixed_args()
    (pack if options.what == "pack" else run)(options)


if __name__ == "__main__":
    main()
