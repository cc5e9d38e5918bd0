# ===- lit.cfg.py - How the tests that are files are run ------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
# A test is a file with RUN lines. In these stand
#   ssm-opt, ssm-compile, ssm-run    the tools just built
#   FileCheck, not, split-file       LLVM's
#   %python                          the interpreter with numpy and onnx
#   %models                          test/models
#   %source                          the repository
# and lit's own %s, %t, %S, %T. Python finds the package ssmtest.

import os

import lit.formats

config.name = "ssm-mlir"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "models", "harness", "ops", "unit", "fuzz", "bench", "gpu"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.ssm_build_dir, "test")

folders = [config.ssm_tools_dir, config.llvm_tools_dir, config.environment.get("PATH", "")]
config.environment["PATH"] = os.pathsep.join(folders)
config.environment["PYTHONPATH"] = os.path.join(config.test_source_root, "harness")
# Compiled Python would be written into the source tree.
config.environment["PYTHONDONTWRITEBYTECODE"] = "1"
config.environment["SSM_BUILD_DIR"] = config.ssm_build_dir
for name in ("HOME", "TMPDIR", "SSM_TEST_SEED"):
    if name in os.environ:
        config.environment[name] = os.environ[name]

config.substitutions += [
    ("%models", os.path.join(config.test_source_root, "models")),
    ("%source", os.path.dirname(config.test_source_root)),
    ("%python", config.python_executable),
]
