# ===- __init__.py - Differential tests of compiled models -----------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Compiles ONNX models, runs them in this process and compares them with
independent references.

  build      where the tools and the runtime lie
  compiler   ssm-compile, with a cache by content
  runtime    libssmrt through ctypes
  model      one-operator models in their variants
  reference  ONNX Runtime, in double precision where it can
  compare    shapes, types, values, with the bounds of each type
  plugin     pass plugins, built out of tree
  case       a test of an operator as data
"""
