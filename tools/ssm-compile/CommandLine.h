//===- CommandLine.h - The command line of ssm-compile ----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_TOOLS_SSM_COMPILE_COMMANDLINE_H
#define SSM_TOOLS_SSM_COMPILE_COMMANDLINE_H

#include "include/ssm/Compiler.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

namespace ssm {

struct CommandLine {
  CompileOptions options;
  bool check = false;
  bool printTimings = false;
  bool help = false;
  bool version = false;
  /// What to call bisect_model.py with; empty: not asked for.
  std::vector<std::string> bisection;
};

/// Error: an unknown option, one without its value, a value of the wrong form.
llvm::Expected<CommandLine> parseCommandLine(llvm::ArrayRef<const char *> arguments);

void printHelp();

} // namespace ssm

#endif // SSM_TOOLS_SSM_COMPILE_COMMANDLINE_H
