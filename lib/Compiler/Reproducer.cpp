//===- Reproducer.cpp - A failure of a pass as a file ---------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Compiler/Reproducer.h"

#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "passes/Pipelines/Pipelines.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <csignal>
#include <set>
#include <unistd.h>

using namespace mlir;
using namespace ssm;
using llvm::StringRef;

namespace {

/// The passes of a stage that run, and the one that failed.
struct Progress {
  std::mutex mutex;
  std::multiset<std::string> running;
  std::string failed;
};

class WatchPasses : public PassInstrumentation {
public:
  explicit WatchPasses(std::shared_ptr<Progress> progress) : progress(std::move(progress)) {}

  void runBeforePass(Pass *pass, Operation *) override {
    std::lock_guard<std::mutex> lock(progress->mutex);
    if (!pass->getArgument().empty())
      progress->running.insert(pass->getArgument().str());
  }
  void runAfterPass(Pass *pass, Operation *) override {
    std::lock_guard<std::mutex> lock(progress->mutex);
    remove(pass);
  }
  void runAfterPassFailed(Pass *pass, Operation *) override {
    std::lock_guard<std::mutex> lock(progress->mutex);
    // The passes that only hold others fail after these.
    if (progress->failed.empty())
      progress->failed = pass->getArgument().str();
    remove(pass);
  }

private:
  void remove(Pass *pass) {
    auto found = progress->running.find(pass->getArgument().str());
    if (found != progress->running.end())
      progress->running.erase(found);
  }

  std::shared_ptr<Progress> progress;
};

/// A file, or nothing.
class Stream : public ReproducerStream {
public:
  explicit Stream(std::unique_ptr<llvm::raw_ostream> stream) : stream(std::move(stream)) {}
  StringRef description() override { return ""; }
  llvm::raw_ostream &os() override { return *stream; }

private:
  std::unique_ptr<llvm::raw_ostream> stream;
};

} // namespace

/// Seconds after which a crash is no longer looked into.
static constexpr unsigned kMostSeconds = 20;

/// What a crash left of the heap may keep its handler waiting for ever.
static void endSoon() {
  std::signal(SIGALRM, [](int) {
    constexpr char text[] = "error: a pass crashed, and left no memory to tell which\n";
    (void)!::write(STDERR_FILENO, text, sizeof(text) - 1);
    ::_exit(1);
  });
  ::alarm(kMostSeconds);
}

void ssm::writeReproducerOnFailure(PassManager &manager, StringRef stage, const std::string &path,
                                   Diagnostics &diagnostics) {
  auto progress = std::make_shared<Progress>();
  std::string suffix = " of stage '" + stage.str() + "'";
  // Called after a pass failed, and in the handler of a signal.
  manager.enableCrashReproducerGeneration(
      [progress, suffix, path, &diagnostics](std::string &) -> std::unique_ptr<ReproducerStream> {
        if (progress->failed.empty())
          endSoon();
        if (reportsOnModel(progress->failed))
          return std::make_unique<Stream>(std::make_unique<llvm::raw_null_ostream>());
        std::error_code problem;
        std::unique_ptr<llvm::raw_ostream> file =
            std::make_unique<llvm::raw_fd_ostream>(path, problem);
        if (problem)
          file = std::make_unique<llvm::raw_null_ostream>();
        std::string hint =
            problem ? "; '" + path + "' cannot be written: " + problem.message()
                    : "; '" + path + "' shows it: ssm-opt --run-reproducer " + path;
        if (!progress->failed.empty())
          diagnostics.addToError("pass '" + progress->failed + "'" + suffix + " failed", hint);
        else
          // The process may not live long enough to say it later.
          diagnostics.reportCrash((progress->running.empty()
                                       ? "a pass"
                                       : "pass '" + *progress->running.rbegin() + "'") +
                                  suffix + " crashed" + hint);
        return std::make_unique<Stream>(std::move(file));
      });
  // After upstream's own, so that it is asked before it.
  manager.addInstrumentation(std::make_unique<WatchPasses>(progress));
}

void ssm::removeReproducers(StringRef base, llvm::function_ref<bool(StringRef)> isOfModel) {
  auto remove = [&](const llvm::Twine &extension) {
    std::string path = (base + "." + extension).str();
    if (!llvm::sys::fs::is_regular_file(path) || isOfModel(path))
      return false;
    return !llvm::sys::fs::remove(path);
  };
  for (StringRef extension : {"mlir", "llvm.mlir", "bc", "ptx"})
    remove(extension);
  for (int i = 0; remove(llvm::Twine(i) + ".o"); ++i)
    ;
}
