//===- Diagnostics.cpp - What went wrong, once ----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Compiler/Diagnostics.h"

#include "dialects/ONNX/ONNXOps.h"

using namespace mlir;
using namespace ssm;

Diagnostics::Diagnostics(MLIRContext &context, const MessageHandler &handler)
    : handler(handler), scope(&context, [this](Diagnostic &diagnostic) {
        take(diagnostic);
        return success();
      }) {}

/// Errors about an operation of ours or of MLIR say "'dialect.op' op ..." and not
/// which node of the model it came from; neither do passes' remarks.
static std::string describe(Diagnostic &diagnostic) {
  std::string text = diagnostic.str();
  bool ofOperation = StringRef(text).starts_with("'") && text.find("' op ") != std::string::npos;
  if (!ofOperation && diagnostic.getSeverity() != DiagnosticSeverity::Remark)
    return text;
  std::string node = onnx::getNodeName(diagnostic.getLocation());
  return node.empty() ? text : "node '" + node + "': " + text;
}

void Diagnostics::take(Diagnostic &diagnostic) {
  std::string text = describe(diagnostic);
  switch (diagnostic.getSeverity()) {
  case DiagnosticSeverity::Error:
    return error(text);
  case DiagnosticSeverity::Warning:
    return warning(text);
  case DiagnosticSeverity::Remark:
    return remark(text);
  case DiagnosticSeverity::Note:
    return;
  }
}

void Diagnostics::error(const std::string &message) {
  std::lock_guard<std::mutex> lock(mutex);
  if (!firstError)
    firstError = message;
}

void Diagnostics::warning(const std::string &message) {
  std::lock_guard<std::mutex> lock(mutex);
  handler(Severity::Warning, message);
}

void Diagnostics::remark(const std::string &message) {
  std::lock_guard<std::mutex> lock(mutex);
  handler(Severity::Remark, message);
}

void Diagnostics::addToError(llvm::StringRef fallback, llvm::StringRef text) {
  std::lock_guard<std::mutex> lock(mutex);
  if (!firstError)
    firstError = fallback.str();
  *firstError += text;
}

void Diagnostics::reportCrash(const std::string &message) {
  std::lock_guard<std::mutex> lock(mutex);
  handler(Severity::Error, message);
  reported = true;
}

void Diagnostics::reportError(llvm::StringRef fallback) {
  if (!reported)
    handler(Severity::Error, firstError.value_or(fallback.str()));
}
