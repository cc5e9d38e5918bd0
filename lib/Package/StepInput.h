//===- StepInput.h - What a step that fails leaves --------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_STEPINPUT_H
#define SSM_LIB_PACKAGE_STEPINPUT_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"
#include <functional>
#include <string>

namespace ssm {

/// Where the input of a step behind the passes goes if the step fails: LLVM's, or another
/// program's. Its file begins with `base`; "": nothing is kept.
struct StepInputs {
  std::string base;
  /// Told of a crash at once: the process may not live long enough to say it later.
  std::function<void(const std::string &)> onCrash;

  /// Keeps text or bytes as <base>.<extension>, and adds to the error the command that
  /// shows it again; "{}" stands in it for the file.
  llvm::Error keep(llvm::Error error, llvm::StringRef extension, llvm::StringRef bytes,
                   llvm::StringRef command) const;

  /// The same for a program and its arguments: those that are files are kept.
  llvm::Error keep(llvm::Error error, llvm::StringRef program,
                   llvm::ArrayRef<std::string> arguments) const;

  /// Runs a step that LLVM does on a module. A crash is an error, and so is what LLVM
  /// tells as one.
  llvm::Error run(llvm::StringRef name, llvm::Module &module, llvm::StringRef command,
                  llvm::function_ref<llvm::Error()> step) const;
};

/// What a program said that failed, or else how it ended.
std::string reasonOf(llvm::StringRef said, int status);

} // namespace ssm

#endif // SSM_LIB_PACKAGE_STEPINPUT_H
