//===- Compiler.cpp - The driver ------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "include/ssm/Compiler.h"

#include "lib/Compiler/BakedSizes.h"
#include "lib/Compiler/LoadModels.h"
#include "lib/Compiler/Options.h"
#include "lib/Compiler/PassPlugins.h"
#include "lib/Compiler/Reproducer.h"
#include "lib/Compiler/States.h"
#include "lib/Package/BuildObject.h"
#include "lib/Package/Linker.h"
#include "lib/Package/Package.h"
#include "lib/Support/OutputFiles.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipelines/Pipelines.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>

using namespace mlir;
using namespace ssm;
using llvm::StringRef;

namespace {

/// One compilation.
class Compilation {
public:
  Compilation(const CompileOptions &options, MLIRContext &context, Diagnostics &diagnostics,
              std::vector<StepTime> *times)
      : options(options), context(context), diagnostics(diagnostics), times(times) {}

  LogicalResult run();

private:
  LogicalResult prepare();
  LogicalResult checkOutput();
  LogicalResult enableRemarks();
  /// Runs the stages from number `first` on; stops after the one to be emitted.
  LogicalResult runStages(size_t first, ModuleOp module, bool isInit);
  LogicalResult runStage(StringRef stage, ModuleOp module, bool isInit);
  int levelOf(StringRef stage);
  LogicalResult afterGraph(ModuleOp module);
  LogicalResult runInitStages();
  /// Takes the module of derived weights out of its parent.
  void detachInit(size_t stage, ModuleOp module);
  LogicalResult emitText(StringRef bytes);
  LogicalResult saveTemporary(StringRef extension, StringRef text);
  LogicalResult package();

  template <typename Function> auto timed(StringRef name, Function function) {
    auto start = std::chrono::steady_clock::now();
    auto result = function();
    std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    addTime(name, seconds.count());
    return result;
  }
  void addTime(StringRef name, double seconds) {
    if (times)
      times->push_back({name.str(), seconds});
  }
  LogicalResult fail(llvm::Error error) {
    diagnostics.error(std::move(error));
    return failure();
  }
  LogicalResult fail(const llvm::Twine &message) {
    diagnostics.error(message.str());
    return failure();
  }

  const CompileOptions &options;
  MLIRContext &context;
  Diagnostics &diagnostics;
  std::vector<StepTime> *times;

  CpuTarget target;
  LoadedModels models;
  OwningOpRef<ModuleOp> init;
  size_t initStage = 0;
};

} // namespace

static std::string print(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  return text;
}

LogicalResult Compilation::prepare() {
  if (std::string problem = checkOptions(options); !problem.empty())
    return fail(problem);
  llvm::Expected<CpuTarget> resolved = CpuTarget::resolve(options.cpu);
  if (!resolved)
    return fail(resolved.takeError());
  target = std::move(*resolved);
  // What cannot be linked need not be compiled.
  if (options.emitsModule()) {
    llvm::Expected<std::string> linker = findLinker(options.linker);
    if (!linker)
      return fail(linker.takeError());
  }
  if (failed(checkOutput()))
    return failure();
  if (llvm::Error error = preparePasses(options))
    return fail(std::move(error));
  return enableRemarks();
}

/// What cannot be written need not be compiled either, and a model is not to be
/// overwritten by what is made of it.
LogicalResult Compilation::checkOutput() {
  if (options.output == "-")
    return success();
  for (const std::string &path : {options.output, getWeightsPath(options.output)})
    for (const EntryFile &entry : options.entries)
      if (llvm::sys::fs::equivalent(path, entry.path))
        return fail("the output '" + path + "' is the model itself");
  OutputFiles probe;
  llvm::Expected<std::string> temporary = probe.add(options.output);
  return temporary ? success() : fail(temporary.takeError());
}

LogicalResult Compilation::enableRemarks() {
  if (options.remarks.empty())
    return success();
  // A kind without a filter of its own is off, whatever `all` says.
  remark::RemarkCategories categories{options.remarks, options.remarks, options.remarks,
                                      options.remarks, options.remarks};
  return remark::enableOptimizationRemarks(
      context, nullptr, std::make_unique<remark::RemarkEmittingPolicyAll>(), categories,
      /*printAsEmitRemarks=*/true);
}

LogicalResult Compilation::saveTemporary(StringRef extension, StringRef text) {
  if (!options.saveTemps)
    return success();
  llvm::SmallString<128> path(options.output);
  llvm::sys::path::replace_extension(path, extension);
  if (llvm::Error error = writeWholeFile(path, text))
    return fail(std::move(error));
  return success();
}

int Compilation::levelOf(StringRef stage) {
  auto numberOf = [](StringRef name) { return llvm::find(getStages(), name); };
  bool isAfter = !options.optimizeThrough.empty() &&
                 numberOf(stage) > numberOf(options.optimizeThrough);
  return isAfter ? 0 : options.optLevel;
}

LogicalResult Compilation::runStage(StringRef stage, ModuleOp module, bool isInit) {
  PassManager manager(&context, ModuleOp::getOperationName());
  manager.enableVerifier(options.verifyEach);
  PipelineOptions pipeline;
  pipeline.optLevel = levelOf(stage);
  pipeline.vectorBits = target.vectorBits();
  pipeline.vectorRegisters = target.vectorRegisters();
  pipeline.avx512 = target.has("avx512f") && target.has("avx512dq");
  pipeline.f16c = target.has("f16c");
  pipeline.profile = options.profile && !isInit;
  buildStage(stage, manager, pipeline);
  if (!isInit)
    if (llvm::Error error = addPasses(options, stage, manager))
      return fail(std::move(error));
  manager.addPass(createVerifyModule());
  if (!options.reproducer.empty())
    writeReproducerOnFailure(manager, stage, options.reproducer, diagnostics);
  return failed(manager.run(module)) ? fail("stage '" + stage + "' failed") : success();
}

LogicalResult Compilation::afterGraph(ModuleOp module) {
  if (failed(assignStates(module, options.states)))
    return failure();
  llvm::Regex wanted(options.remarks);
  for (auto function : module.getOps<func::FuncOp>())
    if (!options.remarks.empty() && wanted.match("shape"))
      for (const std::string &line : describeBakedSizes(function))
        diagnostics.remark(line);
  return success();
}

void Compilation::detachInit(size_t stage, ModuleOp module) {
  for (ModuleOp nested : module.getOps<ModuleOp>())
    if (nested->hasAttr(kInitEntriesAttr)) {
      nested->remove();
      init = nested;
      initStage = stage;
      return;
    }
}

LogicalResult Compilation::runStages(size_t first, ModuleOp module, bool isInit) {
  for (size_t i = first; i < getStages().size(); ++i) {
    StringRef stage = getStages()[i];
    if (stage == "tensor") {
      llvm::Error error =
          timed("hash weights", [&] { return mergeEqualWeights(module, models.weights); });
      if (error)
        return fail(std::move(error));
    }
    if (!isInit && !init)
      detachInit(i, module);
    std::string name = (isInit ? "weights " : "") + stage.str();
    if (failed(timed(name, [&] { return runStage(stage, module, isInit); })))
      return failure();
    if (stage == "graph" && failed(afterGraph(module)))
      return failure();
    if (options.saveTemps) {
      std::string extension = (isInit ? "weights." : "") + stage.str() + ".mlir";
      if (failed(saveTemporary(extension, print(module))))
        return failure();
    }
    if (!isInit && options.emit == stage)
      return success();
  }
  return success();
}

LogicalResult Compilation::runInitStages() {
  if (!init)
    return success();
  // Functions get the sources as arguments, so that to a stage they are unused.
  SmallVector<OwningOpRef<WeightOp>> sources;
  for (WeightOp weight : init->getOps<WeightOp>())
    sources.push_back(cast<WeightOp>(weight->clone()));
  if (failed(runStages(initStage, *init, /*isInit=*/true)))
    return failure();
  for (OwningOpRef<WeightOp> &weight : sources)
    if (!init->lookupSymbol(weight->getSymName()))
      init->push_back(weight.release());
  return success();
}

LogicalResult Compilation::emitText(StringRef bytes) {
  if (options.output == "-") {
    llvm::outs() << bytes;
    llvm::outs().flush();
    return success();
  }
  OutputFiles outputs;
  llvm::Expected<std::string> temporary = outputs.add(options.output);
  if (!temporary)
    return fail(temporary.takeError());
  if (llvm::Error error = writeWholeFile(*temporary, bytes))
    return fail(std::move(error));
  if (llvm::Error error = outputs.commit())
    return fail(std::move(error));
  return success();
}

LogicalResult Compilation::package() {
  PackageOptions packaging;
  packaging.target = target;
  packaging.level = options.optimizeThrough.empty() ? options.optLevel : 0;
  packaging.linker = options.linker;
  packaging.options = describeOptions(options, target);
  packaging.embedWeights = options.embedWeights;
  packaging.verifyEach = options.verifyEach;
  packaging.onStep = [this](StringRef name, double seconds) { addTime(name, seconds); };
  if (options.saveTemps)
    packaging.saveTemporary = [this](StringRef extension, StringRef text) -> llvm::Error {
      if (failed(saveTemporary(extension, text)))
        return llvm::createStringError("cannot save a temporary file");
      return llvm::Error::success();
    };
  packaging.isStatic = options.emit == "static";
  if (options.emitsModule()) {
    llvm::Error error = packageModule(*models.module, init ? *init : ModuleOp(), models.weights,
                                      packaging, options.output);
    return error ? fail(std::move(error)) : success();
  }
  TextForm form = options.emit == "llvm"  ? TextForm::LLVM
                  : options.emit == "asm" ? TextForm::Assembly
                                          : TextForm::Object;
  auto bytes = emitModule(*models.module, packaging, form);
  if (!bytes)
    return fail(bytes.takeError());
  return emitText(StringRef(bytes->data(), bytes->size()));
}

LogicalResult Compilation::run() {
  if (failed(prepare()))
    return failure();
  FailureOr<LoadedModels> loaded =
      timed("read", [&] { return loadModels(options, &context, diagnostics); });
  if (failed(loaded))
    return failure();
  models = std::move(*loaded);
  if (failed(runStages(0, *models.module, /*isInit=*/false)))
    return failure();
  if (llvm::is_contained(getStages(), options.emit))
    return emitText(print(*models.module));
  if (options.emitsModule() && failed(runInitStages()))
    return failure();
  return package();
}

//===----------------------------------------------------------------------===//
// The facade
//===----------------------------------------------------------------------===//

void ssm::registerDialects(DialectRegistry &registry) { registerPipelineDialects(registry); }

std::vector<std::string> ssm::getStageNames() {
  std::vector<std::string> names;
  for (StringRef stage : getStages())
    names.push_back(stage.str());
  names.insert(names.end(), {"llvm", "asm", "obj", "static"});
  return names;
}

bool ssm::compile(const CompileOptions &options, const MessageHandler &handler,
                  std::vector<StepTime> *times) {
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry);
  Diagnostics diagnostics(context, handler);
  if (succeeded(Compilation(options, context, diagnostics, times).run()))
    return true;
  diagnostics.reportError("the model cannot be compiled");
  return false;
}
