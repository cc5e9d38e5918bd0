//===- Diagnostics.h - What went wrong, once --------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_COMPILER_DIAGNOSTICS_H
#define SSM_LIB_COMPILER_DIAGNOSTICS_H

#include "include/ssm/Compiler.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/Error.h"
#include <mutex>
#include <optional>

namespace ssm {

/// Takes the diagnostics of a context while it lives: warnings and remarks go on
/// to the handler, of errors the first is kept. What comes after it is mostly its
/// consequence.
class Diagnostics {
public:
  Diagnostics(mlir::MLIRContext &context, const MessageHandler &handler);

  /// Keeps an error unless there is one.
  void error(const std::string &message);
  void error(llvm::Error error) { this->error(llvm::toString(std::move(error))); }
  void warning(const std::string &message);
  void remark(const std::string &message);

  /// Appends to the error, to `fallback` if there is none.
  void addToError(llvm::StringRef fallback, llvm::StringRef text);
  /// Hands an error to the handler at once.
  void reportCrash(const std::string &message);

  /// Hands the error to the handler, `fallback` if a step failed without one.
  void reportError(llvm::StringRef fallback);

private:
  void take(mlir::Diagnostic &diagnostic);

  const MessageHandler &handler;
  std::mutex mutex;
  std::optional<std::string> firstError;
  bool reported = false;
  mlir::ScopedDiagnosticHandler scope;
};

} // namespace ssm

#endif // SSM_LIB_COMPILER_DIAGNOSTICS_H
