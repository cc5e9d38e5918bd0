//===- PassPlugins.cpp - Passes that a user adds to stages ----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Compiler/PassPlugins.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "passes/Pipelines/Pipelines.h"
#include "llvm/Support/FileSystem.h"

#include <mutex>

using namespace mlir;
using namespace ssm;
using llvm::Error;
using llvm::StringRef;

static Error addPass(const AddedPass &added, OpPassManager &manager) {
  auto error = [&](const llvm::Twine &problem) {
    return llvm::createStringError("--add-pass " + added.stage + "=" + added.pass + ": " + problem);
  };
  auto [name, options] = StringRef(added.pass).split('{');
  if (name.size() < added.pass.size() && !options.consume_back("}"))
    return error("expected '}' at the end of the options");
  const PassRegistryEntry *entry = PassInfo::lookup(name);
  if (!entry)
    entry = PassPipelineInfo::lookup(name);
  if (!entry)
    return error("no pass is named '" + name + "'; those of a plugin need --load-pass-plugin");
  std::string problem;
  LogicalResult result = entry->addToPipeline(manager, options, [&](const llvm::Twine &text) {
    problem = text.str();
    return failure();
  });
  return succeeded(result) ? Error::success() : error(StringRef(problem).trim());
}

Error ssm::addPasses(const CompileOptions &options, StringRef stage, OpPassManager &manager) {
  // A pass on functions runs on each of the module's.
  OpPassManager::Nesting nesting = manager.getNesting();
  manager.setNesting(OpPassManager::Nesting::Implicit);
  Error error = Error::success();
  for (const AddedPass &added : options.addedPasses)
    if (!error && added.stage == stage)
      error = addPass(added, manager);
  manager.setNesting(nesting);
  return error;
}

Error ssm::preparePasses(const CompileOptions &options) {
  if (options.passPlugins.empty() && options.addedPasses.empty())
    return Error::success();
  // The table of names is the process's.
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  static bool registered = (registerPassesAndStages(), true);
  (void)registered;
  for (const std::string &path : options.passPlugins) {
    // Without a folder the loader would look everywhere but here.
    bool isHere = !StringRef(path).contains('/') && llvm::sys::fs::exists(path);
    llvm::Expected<PassPlugin> plugin = PassPlugin::load(isHere ? "./" + path : path);
    if (!plugin)
      return llvm::createStringError("--load-pass-plugin: " + llvm::toString(plugin.takeError()));
    plugin->registerPassRegistryCallbacks();
  }
  for (StringRef stage : getStages()) {
    OpPassManager manager(ModuleOp::getOperationName());
    if (Error error = addPasses(options, stage, manager))
      return error;
  }
  return Error::success();
}
