//===- StepInput.cpp - What a step that fails leaves ----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/StepInput.h"

#include "lib/Package/BuildObject.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <mutex>

using namespace llvm;
using namespace ssm;

std::string ssm::reasonOf(StringRef said, int status) {
  if (!said.trim().empty())
    return said.trim().str();
  return "it ended with status " + std::to_string(status) + " and said nothing";
}

static Error addShown(Error error, StringRef shown) {
  return createStringError(StringRef(toString(std::move(error))).rtrim(".\n") + "; " + shown);
}

Error StepInputs::keep(Error error, StringRef extension, StringRef bytes, StringRef command) const {
  if (base.empty())
    return error;
  std::string path = (base + "." + extension).str();
  if (Error problem = writeWholeFile(path, bytes))
    return addShown(std::move(error), toString(std::move(problem)));
  auto [before, after] = command.split("{}");
  return addShown(std::move(error), ("'" + path + "' shows it: " + before + path + after).str());
}

Error StepInputs::keep(Error error, StringRef program, ArrayRef<std::string> arguments) const {
  if (base.empty())
    return error;
  std::string command = program.str(), kept;
  int count = 0;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string argument = arguments[i];
    if (i > 0 && arguments[i - 1] == "-o") {
      argument = base + ".out";
    } else if (sys::fs::is_regular_file(argument)) {
      std::string path = base + "." + std::to_string(count++) + ".o";
      (void)sys::fs::remove(path);
      // Weights that are embedded may be large, and lie in the same folder.
      if (sys::fs::create_hard_link(argument, path) && sys::fs::copy_file(argument, path))
        return addShown(std::move(error), "its input cannot be kept as '" + path + "'");
      kept += (kept.empty() ? "'" : "', '") + path;
      argument = path;
    }
    command += " " + argument;
  }
  return addShown(std::move(error), kept + (count > 1 ? "' show it: " : "' shows it: ") + command);
}

namespace {
/// What LLVM would print before it ends the process.
struct FirstError : DiagnosticHandler {
  explicit FirstError(std::string &told) : told(told) {}
  bool handleDiagnostics(const DiagnosticInfo &info) override {
    if (info.getSeverity() == DS_Error && told.empty()) {
      raw_string_ostream stream(told);
      DiagnosticPrinterRawOStream printer(stream);
      info.print(printer);
    }
    return true;
  }
  std::string &told;
};
} // namespace

namespace {
/// Crashes are caught as long as a thread has one of these.
class CatchCrashes {
public:
  CatchCrashes() {
    std::lock_guard<std::mutex> lock(mutex);
    if (users++ == 0)
      CrashRecoveryContext::Enable();
  }
  ~CatchCrashes() {
    std::lock_guard<std::mutex> lock(mutex);
    if (--users == 0)
      CrashRecoveryContext::Disable();
  }

private:
  static std::mutex mutex;
  static int users;
};
std::mutex CatchCrashes::mutex;
int CatchCrashes::users = 0;
} // namespace

Error StepInputs::run(StringRef name, Module &module, StringRef command,
                      function_ref<Error()> step) const {
  SmallVector<char, 0> before;
  if (!base.empty()) {
    raw_svector_ostream stream(before);
    WriteBitcodeToFile(module, stream);
  }
  std::string told;
  LLVMContext &context = module.getContext();
  std::unique_ptr<DiagnosticHandler> handler = context.getDiagnosticHandler();
  context.setDiagnosticHandler(std::make_unique<FirstError>(told));
  Error result = Error::success();
  CatchCrashes scope;
  CrashRecoveryContext recovery;
  bool isCrash = !recovery.RunSafely([&] { result = joinErrors(std::move(result), step()); });
  context.setDiagnosticHandler(std::move(handler));
  if (!isCrash && told.empty() && !result)
    return Error::success();
  if (isCrash || !told.empty()) {
    consumeError(std::move(result));
    std::string line = told.substr(0, told.find('\n'));
    result = createStringError(name + (isCrash ? " crashed" : ": " + line));
  }
  result = keep(std::move(result), "bc", StringRef(before.data(), before.size()), command);
  if (isCrash && onCrash) {
    std::string text = toString(std::move(result));
    onCrash(text);
    result = createStringError(text);
  }
  return result;
}
