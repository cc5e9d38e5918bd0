//===- ssm-compile.cpp - Compiles ONNX models to native modules -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Support/Version.h"
#include "tools/ssm-compile/Bisection.h"
#include "tools/ssm-compile/CommandLine.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace ssm;

static void printMessage(Severity severity, const std::string &message) {
  llvm::outs().flush();
  llvm::StringRef kind = severity == Severity::Error     ? "error: "
                         : severity == Severity::Warning ? "warning: "
                                                         : "remark: ";
  // Names come from the model, whatever bytes they hold. One piece, lest a crash cut it.
  llvm::errs() << kind.str() + llvm::json::fixUTF8(message) + "\n";
}

static void printTimes(const std::vector<StepTime> &times) {
  double total = 0;
  for (const StepTime &time : times) {
    llvm::errs() << llvm::format("%9.4f s  ", time.seconds) << time.name << "\n";
    total += time.seconds;
  }
  llvm::errs() << llvm::format("%9.4f s  ", total) << "total\n";
}

int main(int argc, char **argv) {
  auto line = parseCommandLine(llvm::ArrayRef(argv + 1, argc - 1));
  if (!line) {
    printMessage(Severity::Error, llvm::toString(line.takeError()));
    return 1;
  }
  if (line->help) {
    printHelp();
    return 0;
  }
  if (line->version) {
    llvm::outs() << kProducer << "\n";
    return 0;
  }
  if (!line->bisection.empty()) {
    printMessage(Severity::Error, runBisection(line->bisection));
    return 2;
  }
  if (line->check) {
    // An error is to be the last line.
    std::string report;
    std::vector<std::pair<Severity, std::string>> messages;
    bool good = check(
        line->options,
        [&](Severity severity, const std::string &text) { messages.push_back({severity, text}); },
        report);
    // Names come from the model, whatever bytes they hold.
    llvm::outs() << llvm::json::fixUTF8(report);
    for (const auto &[severity, text] : messages)
      printMessage(severity, text);
    return good ? 0 : 1;
  }
  // Times come before an error, for the same reason.
  std::vector<StepTime> times;
  bool good = compile(
      line->options,
      [&](Severity severity, const std::string &text) {
        if (severity == Severity::Error && line->printTimings)
          printTimes(times);
        printMessage(severity, text);
      },
      &times);
  if (good && line->printTimings)
    printTimes(times);
  return good ? 0 : 1;
}
