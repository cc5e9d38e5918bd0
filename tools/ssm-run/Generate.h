//===- Generate.h - A language model writes ---------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_RUN_GENERATE_H
#define SSM_RUN_GENERATE_H

namespace CLI {
class App;
}

namespace ssmrun {

/// Makes `app` the command `ssm-run generate`, which runs when it is parsed.
void addGenerate(CLI::App &app);

} // namespace ssmrun

#endif // SSM_RUN_GENERATE_H
