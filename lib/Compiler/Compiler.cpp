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
#include "lib/Compiler/WeightPlaces.h"
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

/// The module for one of the processors or GPUs.
struct Version {
  /// Of host code too.
  CpuTarget target;
  std::optional<GpuTarget> gpu;
  /// Set from the first stage on that looks at the target.
  OwningOpRef<ModuleOp> module;
  /// What computes the derived weights, and the stage that it is at; null if there are none.
  OwningOpRef<ModuleOp> init;
  size_t initStage = 0;

  const std::string &name() const { return gpu ? gpu->chip : target.cpu; }
};

/// One compilation.
class Compilation {
public:
  Compilation(const CompileOptions &options, MLIRContext &context, Diagnostics &diagnostics,
              std::vector<StepTime> *times)
      : options(options), context(context), diagnostics(diagnostics), times(times) {}

  LogicalResult run();
  /// After a success: what an earlier failure left beside the output. Files in places that
  /// were chosen, or of a compilation without an output, may be those of other models.
  void removeOldReproducers() {
    if (options.reproducer == options.output + ".repro.mlir")
      removeReproducers(reproducerBase(),
                        [&](StringRef path) { return models.weights.isSource(path); });
  }

private:
  /// What the names of reproducers begin with.
  StringRef reproducerBase() const {
    StringRef base = options.reproducer;
    base.consume_back(".mlir");
    return base;
  }
  LogicalResult prepare();
  LogicalResult checkOutput();
  LogicalResult checkOverwrites();
  LogicalResult checkOverwrites(StringRef path);
  LogicalResult enableRemarks();
  /// Runs the stages that all versions share.
  LogicalResult runSharedStages();
  LogicalResult runStages(Version &version);
  /// Runs a stage of a version or, where that is null, of all of them.
  LogicalResult runStep(size_t stage, ModuleOp module, const Version *version, bool isInit);
  LogicalResult runStage(StringRef stage, ModuleOp module, const Version *version, bool isInit);
  int levelOf(StringRef stage);
  LogicalResult afterGraph(ModuleOp module);
  LogicalResult runInitStages(Version &version);
  /// Takes the module of derived weights out of its parent.
  void detachInit(size_t stage, Version &version);
  LogicalResult emitText(StringRef bytes);
  LogicalResult saveTemporary(StringRef extension, StringRef text);
  LogicalResult prepareDevice(DeviceOptions &device);
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

  Targets targets;
  /// Those of CPUs first, then those of GPUs, best first.
  std::vector<Version> versions;
  CpuTarget host;
  LoadedModels models;
  uint64_t modelHash = 0;
  WeightPlaces places;
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
  llvm::Expected<Targets> resolved = resolveTargets(options);
  if (!resolved)
    return fail(resolved.takeError());
  targets = std::move(*resolved);
  if (targets.usesCpus)
    for (const CpuTarget &target : targets.cpus)
      versions.push_back({target, std::nullopt, nullptr, nullptr});
  for (const GpuTarget &gpu : targets.gpus)
    versions.push_back({targets.hostOfGpus, gpu, nullptr, nullptr});
  llvm::Expected<CpuTarget> native = CpuTarget::resolve("native");
  if (!native)
    return fail(native.takeError());
  host = std::move(*native);
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

/// What cannot be written need not be compiled either.
LogicalResult Compilation::checkOutput() {
  if (options.output == "-")
    return success();
  if (options.emit == "static")
    if (llvm::Error error = checkHeaderPath(options.output))
      return fail(std::move(error));
  OutputFiles probe;
  llvm::Expected<std::string> temporary = probe.add(options.output);
  return temporary ? success() : fail(temporary.takeError());
}

/// A model, and its weights in files beside it, are not to be overwritten by what is
/// made of it.
LogicalResult Compilation::checkOverwrites() {
  std::vector<std::string> paths = {options.output, options.reproducer};
  if (options.emitsModule() && !options.embedWeights)
    paths.push_back(getWeightsPath(options.output));
  if (options.emit == "static")
    paths.push_back(getHeaderPath(options.output));
  for (const std::string &path : paths)
    if (failed(checkOverwrites(path)))
      return failure();
  return success();
}

LogicalResult Compilation::checkOverwrites(StringRef path) {
  if (path.empty() || path == "-" || !models.weights.isSource(path))
    return success();
  bool isModel = llvm::any_of(options.entries, [&](const EntryFile &entry) {
    return llvm::sys::fs::equivalent(path, entry.path);
  });
  return fail("the output '" + path + "' is " +
              (isModel ? "the model itself" : "a file with the model's weights"));
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
  if (failed(checkOverwrites(path)))
    return failure();
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

static bool hasAvx512(const CpuTarget &target) {
  return target.has("avx512f") && target.has("avx512dq");
}

LogicalResult Compilation::runStage(StringRef stage, ModuleOp module, const Version *version,
                                    bool isInit) {
  PassManager manager(&context, ModuleOp::getOperationName());
  manager.enableVerifier(options.verifyEach);
  PipelineOptions pipeline;
  pipeline.optLevel = levelOf(stage);
  pipeline.profile = options.profile && !isInit;
  if (version) {
    const CpuTarget &target = version->target;
    pipeline.vectorBits = target.vectorBits();
    pipeline.vectorRegisters = target.vectorRegisters();
    // Weights are computed by this machine, whatever the module is for.
    pipeline.avx512 = hasAvx512(target) && (!isInit || hasAvx512(host));
    pipeline.f16c = target.convertsHalf();
    pipeline.bf16Pairs = target.multipliesBf16();
    pipeline.level1Bytes = target.level1Bytes();
    pipeline.level2Bytes = target.level2Bytes();
    if (version->gpu && !isInit)
      pipeline.chip = version->gpu->chip;
    pipeline.f32Products = options.f32Products;
  }
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

void Compilation::detachInit(size_t stage, Version &version) {
  for (ModuleOp nested : version.module->getOps<ModuleOp>())
    if (nested->hasAttr(kInitEntriesAttr)) {
      nested->remove();
      version.init = nested;
      version.initStage = stage;
      return;
    }
}

LogicalResult Compilation::runStep(size_t number, ModuleOp module, const Version *version,
                                   bool isInit) {
  StringRef stage = getStages()[number];
  std::string name = (isInit ? "weights " : "") + stage.str();
  std::string extension = (isInit ? "weights." : "") + stage.str() + ".mlir";
  if (version && versions.size() > 1) {
    name += " " + version->name();
    extension = version->name() + "." + extension;
  }
  if (failed(timed(name, [&] { return runStage(stage, module, version, isInit); })))
    return failure();
  if (stage == "graph" && failed(afterGraph(module)))
    return failure();
  return options.saveTemps ? saveTemporary(extension, print(module)) : success();
}

LogicalResult Compilation::runSharedStages() {
  ModuleOp module = *models.module;
  std::string text = options.emitsModule() ? textOfModel(module) : "";
  for (size_t i = 0; getStages()[i] != getFirstTargetStage(); ++i) {
    StringRef stage = getStages()[i];
    if (stage == "tensor") {
      llvm::Error error =
          timed("hash weights", [&] { return mergeEqualWeights(module, models.weights); });
      if (error)
        return fail(std::move(error));
      modelHash = hashModel(text, module);
    }
    if (failed(runStep(i, module, nullptr, /*isInit=*/false)))
      return failure();
    if (options.emit == stage)
      return success();
  }
  for (Version &version : versions)
    version.module = &version == &versions.back() ? std::move(models.module) : module.clone();
  return success();
}

LogicalResult Compilation::runStages(Version &version) {
  size_t first = llvm::find(getStages(), getFirstTargetStage()) - getStages().begin();
  for (size_t i = first; i < getStages().size(); ++i) {
    StringRef stage = getStages()[i];
    if (!version.init)
      detachInit(i, version);
    bool laysOutWeights = stage == "buffer" && versions.size() > 1;
    ModuleOp init = version.init ? *version.init : ModuleOp();
    if (laysOutWeights)
      places.assign(*version.module, init);
    if (failed(runStep(i, *version.module, &version, /*isInit=*/false)))
      return failure();
    if (laysOutWeights)
      places.remember(*version.module, init);
    if (options.emit == stage)
      return success();
  }
  return options.emitsModule() ? runInitStages(version) : success();
}

LogicalResult Compilation::runInitStages(Version &version) {
  if (!version.init)
    return success();
  ModuleOp init = *version.init;
  // Functions get the sources as arguments, so that to a stage they are unused.
  SmallVector<OwningOpRef<WeightOp>> sources;
  for (WeightOp weight : init.getOps<WeightOp>())
    sources.push_back(cast<WeightOp>(weight->clone()));
  for (size_t i = version.initStage; i < getStages().size(); ++i)
    if (failed(runStep(i, init, &version, /*isInit=*/true)))
      return failure();
  for (OwningOpRef<WeightOp> &weight : sources)
    if (!init.lookupSymbol(weight->getSymName()))
      init.push_back(weight.release());
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

LogicalResult Compilation::prepareDevice(DeviceOptions &device) {
  if (targets.gpus.empty())
    return success();
  llvm::Expected<std::string> ptxas = findPtxas(options.ptxas, targets.gpus);
  if (!ptxas)
    return fail(ptxas.takeError());
  device.ptxas = *ptxas;
  if (options.spillBudget >= 0)
    device.spillBudget = options.spillBudget;
  if (ptxas->empty() && device.spillBudget)
    return fail(llvm::createStringError("--spill-budget needs ptxas, which was not found (install "
                                        "it, or give --ptxas=PATH)"));
  if (ptxas->empty())
    diagnostics.warning("ptxas was not found: the module has PTX only, which the driver compiles "
                        "when it is loaded (install it, or give --ptxas=PATH)");
  return success();
}

LogicalResult Compilation::package() {
  PackageOptions packaging;
  packaging.level = options.optimizeThrough.empty() ? options.optLevel : 0;
  packaging.linker = options.linker;
  std::vector<ModuleVersion> parts;
  for (Version &version : versions)
    parts.push_back({version.target, version.gpu, *version.module,
                     version.init ? *version.init : ModuleOp()});
  // The lowest chip's, of those whose code later ones run.
  ModuleVersion *lowest = nullptr;
  for (ModuleVersion &part : parts)
    if (part.gpu && !part.gpu->isSpecific &&
        (!lowest || part.gpu->version < lowest->gpu->version))
      lowest = &part;
  if (lowest)
    lowest->withPtx = true;
  packaging.inputs.base = reproducerBase().str();
  packaging.inputs.onCrash = [this](const std::string &text) { diagnostics.reportCrash(text); };
  packaging.device.inputs = packaging.inputs;
  if (failed(prepareDevice(packaging.device)))
    return failure();
  packaging.origin = {describeOptions(options, targets), modelHash};
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
    llvm::Error error = packageModule(parts, models.weights, packaging, options.output);
    return error ? fail(std::move(error)) : success();
  }
  TextForm form = options.emit == "llvm"  ? TextForm::LLVM
                  : options.emit == "asm" ? TextForm::Assembly
                  : options.emit == "ptx" ? TextForm::Ptx
                                          : TextForm::Object;
  auto bytes = emitModule(parts.front(), packaging, form);
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
  if (failed(checkOverwrites()))
    return failure();
  if (failed(runSharedStages()))
    return failure();
  if (models.module)
    return emitText(print(*models.module));
  for (Version &version : versions)
    if (failed(runStages(version)))
      return failure();
  if (llvm::is_contained(getStages(), options.emit))
    return emitText(print(*versions.front().module));
  // Layouts of weights differ between processors, and nobody would expect the sum.
  if (versions.size() > 1 && places.totalBytes() > 0)
    diagnostics.remark("weights of " + std::to_string(versions.size()) + " versions: " +
                       std::to_string(places.totalBytes()) + " bytes; of " +
                       versions.front().name() + " alone: " +
                       std::to_string(WeightPlaces::bytesOf(*versions.front().module)));
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
  names.insert(names.end(), {"llvm", "asm", "obj", "ptx", "static"});
  return names;
}

bool ssm::compile(const CompileOptions &options, const MessageHandler &handler,
                  std::vector<StepTime> *times) {
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry);
  Diagnostics diagnostics(context, handler);
  Compilation compilation(options, context, diagnostics, times);
  if (succeeded(compilation.run())) {
    compilation.removeOldReproducers();
    return true;
  }
  diagnostics.reportError("the model cannot be compiled");
  return false;
}
