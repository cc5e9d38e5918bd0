//===- Package.cpp - From compiled functions to a module file -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/Package.h"

#include "include/ssmrt/module_abi.h"
#include "lib/Package/BuildObject.h"
#include "lib/Package/Codegen.h"
#include "lib/Package/Description.h"
#include "lib/Package/Hash.h"
#include "lib/Package/Linker.h"
#include "lib/Package/WeightsFile.h"
#include "lib/Support/OutputFiles.h"
#include "lib/Support/ScratchFolder.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>
#include <map>

using namespace mlir;
using namespace ssm;
using llvm::createStringError;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;

namespace {
/// Tells the time that a step took when it ends.
class Step {
public:
  Step(const PackageOptions &options, StringRef name)
      : options(options), name(name), start(Clock::now()) {}
  ~Step() {
    if (options.onStep)
      options.onStep(name, std::chrono::duration<double>(Clock::now() - start).count());
  }

private:
  using Clock = std::chrono::steady_clock;
  const PackageOptions &options;
  StringRef name;
  Clock::time_point start;
};
} // namespace

std::string ssm::getWeightsPath(StringRef modulePath) {
  llvm::SmallString<128> path(modulePath);
  llvm::sys::path::replace_extension(path, "weights.safetensors");
  return path.str().str();
}

std::string ssm::getHeaderPath(StringRef modulePath) {
  llvm::SmallString<128> path(modulePath);
  llvm::sys::path::replace_extension(path, "h");
  return path.str().str();
}

/// How each header of ours begins.
static constexpr llvm::StringLiteral kHeaderStart = "/* A module to be linked into a program: ";

Error ssm::checkHeaderPath(StringRef modulePath) {
  std::string path = getHeaderPath(modulePath);
  if (path == modulePath)
    return createStringError("the output '" + path +
                             "' would be the header, which is written beside the object; name "
                             "the object, as in -o model.o");
  auto present = llvm::MemoryBuffer::getFileSlice(path, kHeaderStart.size(), 0);
  if (present && (*present)->getBuffer() != kHeaderStart)
    return createStringError("the header '" + path +
                             "' of the output would replace a file that ssm-compile did not "
                             "write; choose another name for the output");
  return Error::success();
}

std::string ssm::getStaticSymbol(StringRef modulePath) {
  std::string name;
  for (char c : llvm::sys::path::stem(modulePath))
    name += llvm::isAlnum(c) ? c : '_';
  if (name.empty() || llvm::isDigit(name.front()))
    name = "_" + name;
  return name + "_module";
}

static std::string makeHeader(StringRef modulePath, const ModuleSpec &spec, bool embedded) {
  std::string symbol = getStaticSymbol(modulePath), text;
  llvm::raw_string_ostream os(text);
  os << kHeaderStart << llvm::sys::path::filename(modulePath)
     << " and libssmrt.a.\n *\n *   ssmrt_module *module;\n *   ssmrt_module_create(&" << symbol
     << ", " << (spec.weights.empty() || embedded ? "NULL" : "options") << ", &module);\n";
  if (!spec.weights.empty() && !embedded)
    os << " *\n * where the options tell where "
       << llvm::sys::path::filename(getWeightsPath(modulePath))
       << " lies (ssmrt_load_options_set_weights_file).\n";
  os << " */\n#pragma once\n\n#include \"ssmrt/module_abi.h\"\n#include \"ssmrt/ssmrt.h\"\n\n"
     << "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\nextern const struct ssm_module " << symbol
     << ";\n\n#ifdef __cplusplus\n}\n#endif\n";
  return text;
}

/// Fills the places of the weights of `spec` in the weights file, and their hashes.
static Error writeWeights(ModuleSpec &spec, ModuleOp init, WeightSources &sources,
                          WeightsFile &file, const PackageOptions &options, StringRef linker) {
  WeightSpec *previous = nullptr;
  bool anyDerived = false;
  for (WeightSpec &weight : spec.weights) {
    anyDerived |= weight.op.getInit().has_value();
    if (weight.op.getInit())
      continue;
    // Weights that share their place were told to be equal by their hash, which
    // is the one that the first was found to have.
    bool shares = previous && weight.bytes == previous->bytes &&
                  weight.offset == previous->offset &&
                  weight.op.getHash() == previous->op.getHash();
    if (shares)
      weight.hash = previous->hash;
    else if (Error error = file.write(weight, sources))
      return error;
    previous = &weight;
  }
  if (!anyDerived)
    return Error::success();
  if (!init)
    return createStringError("weights are to be computed, but nothing says how");
  return runWeightsInit(init, spec, sources, file, options.level, linker, options.inputs);
}

namespace {
/// The weights of all versions in one file.
class SharedWeights {
public:
  /// Gives weights of different places different names.
  SharedWeights(ArrayRef<ModuleVersion> versions, std::vector<ModuleSpec> &specs);

  /// What the file is to hold.
  ModuleSpec all;

  /// Writes what no version before had, and sets the hashes of all. Returns a digest of them.
  Expected<uint64_t> write(ArrayRef<ModuleVersion> versions, WeightSources &sources,
                           WeightsFile &file, const PackageOptions &options, StringRef linker);

private:
  using Place = std::pair<int64_t, int64_t>; // offset, bytes
  static Place placeOf(const WeightSpec &weight) { return {weight.offset, weight.bytes}; }
  std::vector<ModuleSpec> &specs;
};
} // namespace

SharedWeights::SharedWeights(ArrayRef<ModuleVersion> versions, std::vector<ModuleSpec> &specs)
    : specs(specs) {
  llvm::StringMap<Place> places;
  for (auto [version, spec] : llvm::zip_equal(versions, specs)) {
    for (WeightSpec &weight : spec.weights) {
      auto [it, inserted] = places.try_emplace(weight.name, placeOf(weight));
      while (!inserted && it->second != placeOf(weight)) {
        weight.name += "@" + version.name();
        std::tie(it, inserted) = places.try_emplace(weight.name, placeOf(weight));
      }
      if (inserted)
        all.weights.push_back(weight);
    }
  }
  llvm::sort(all.weights, [](const WeightSpec &a, const WeightSpec &b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
}

Expected<uint64_t> SharedWeights::write(ArrayRef<ModuleVersion> versions, WeightSources &sources,
                                        WeightsFile &file, const PackageOptions &options,
                                        StringRef linker) {
  std::map<Place, uint64_t> hashes;
  for (auto [version, spec] : llvm::zip_equal(versions, specs)) {
    ModuleSpec missing;
    for (const WeightSpec &weight : spec.weights)
      if (!hashes.count(placeOf(weight)))
        missing.weights.push_back(weight);
    if (Error error = writeWeights(missing, version.init, sources, file, options, linker))
      return error;
    for (const WeightSpec &weight : missing.weights)
      hashes[placeOf(weight)] = weight.hash;
    for (WeightSpec &weight : spec.weights)
      weight.hash = hashes[placeOf(weight)];
  }
  Hasher digest;
  for (auto [place, hash] : hashes) {
    std::string text = std::to_string(hash) + " ";
    digest.update(llvm::arrayRefFromStringRef(text));
  }
  return digest.finish();
}

/// Null if the version has no kernels of a GPU.
static Expected<std::unique_ptr<DeviceJob>> startDevice(const ModuleVersion &version,
                                                        const PackageOptions &options) {
  if (!version.gpu)
    return nullptr;
  Step step(options, "device");
  DeviceOptions own = options.device;
  own.withPtx = version.withPtx;
  return startDeviceCode(version.module, *version.gpu, own);
}

static Expected<std::unique_ptr<llvm::Module>>
makeLLVM(const ModuleVersion &version, const ModuleSpec &spec, const WeightsPlace &place,
         llvm::LLVMContext &context, const PackageOptions &options,
         const DescriptionSymbol &symbol, DeviceJob *job) {
  std::optional<DeviceCode> device;
  if (job) {
    Step step(options, "device");
    Expected<DeviceCode> built = job->finish();
    if (!built)
      return built.takeError();
    device = std::move(*built);
  }
  Step step(options, "llvm");
  Expected<std::unique_ptr<llvm::Module>> result =
      translateModule(version.module, context, version.target, options.inputs);
  if (!result)
    return result;
  addDescription(**result, spec, place, version.target, options.origin, symbol, device);
  if (Error error = optimizeModule(**result, version.target, options.level, options.verifyEach,
                                   options.inputs))
    return error;
  return result;
}

static std::string printModule(llvm::Module &module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream, nullptr);
  return text;
}

/// The names of the versions' descriptions; the first is the one that is seen.
static std::vector<DescriptionSymbol> nameDescriptions(size_t count, const std::string &first) {
  std::vector<DescriptionSymbol> symbols(1);
  symbols[0].name = first;
  for (size_t i = 1; i < count; ++i) {
    symbols.push_back({first + "." + std::to_string(i), /*isHidden=*/true, {}});
    symbols[0].versions.push_back(symbols.back().name);
  }
  return symbols;
}

Error ssm::packageModule(ArrayRef<ModuleVersion> versions, WeightSources &sources,
                         const PackageOptions &options, StringRef path) {
  Expected<std::string> linker = findLinker(options.linker);
  if (!linker)
    return linker.takeError();
  std::vector<ModuleSpec> specs;
  for (const ModuleVersion &version : versions) {
    Expected<ModuleSpec> spec = readModuleSpec(version.module);
    if (!spec)
      return spec.takeError();
    specs.push_back(std::move(*spec));
  }
  SharedWeights weights(versions, specs);
  Expected<ScratchFolder> scratch = ScratchFolder::create("ssm-module");
  if (!scratch)
    return scratch.takeError();

  // The weights come first: the module tells their hashes.
  OutputFiles outputs;
  WeightsPlace place;
  std::vector<std::string> objects;
  if (!weights.all.weights.empty()) {
    Step step(options, "weights");
    std::string weightsPath = getWeightsPath(path);
    Expected<std::string> temporary =
        options.embedWeights ? outputs.addScratch(path) : outputs.add(weightsPath);
    if (!temporary)
      return temporary.takeError();
    Expected<std::unique_ptr<WeightsFile>> file =
        options.embedWeights
            ? WeightsFile::createObject(*temporary, weights.all, versions.front().target.triple)
            : WeightsFile::createSafetensors(*temporary, weights.all);
    if (!file)
      return file.takeError();
    Expected<uint64_t> digest = weights.write(versions, sources, **file, options, *linker);
    if (!digest)
      return digest.takeError();
    Expected<WeightsPlace> finished = (*file)->finish(*digest);
    if (!finished)
      return finished.takeError();
    place = *finished;
    if (options.embedWeights)
      objects.push_back(*temporary);
    else
      place.fileName = llvm::sys::path::filename(weightsPath).str();
  }

  std::vector<std::unique_ptr<DeviceJob>> jobs(versions.size());
  for (auto [version, job] : llvm::zip_equal(versions, jobs))
    if (Error error = startDevice(version, options).moveInto(job))
      return error;
  llvm::LLVMContext context;
  std::vector<std::unique_ptr<llvm::Module>> modules;
  std::vector<CodePart> parts;
  std::vector<DescriptionSymbol> symbols = nameDescriptions(
      versions.size(), options.isStatic ? getStaticSymbol(path) : SSM_MODULE_SYMBOL);
  for (auto [version, spec, symbol, job] : llvm::zip_equal(versions, specs, symbols, jobs)) {
    Expected<std::unique_ptr<llvm::Module>> code =
        makeLLVM(version, spec, place, context, options, symbol, job.get());
    if (!code)
      return code.takeError();
    std::string extension = versions.size() > 1 ? version.name() + ".ll" : "ll";
    if (options.saveTemporary)
      if (Error error = options.saveTemporary(extension, printModule(**code)))
        return error;
    modules.push_back(std::move(*code));
    parts.push_back({*modules.back(), version.target});
  }
  Expected<std::string> temporary = outputs.add(path);
  if (!temporary)
    return temporary.takeError();
  {
    Step step(options, "object");
    if (Error error = buildModuleFile(parts, options.level, *linker, objects, *scratch, *temporary,
                                      options.isStatic ? LinkForm::Static : LinkForm::Shared,
                                      options.inputs))
      return error;
    if (!options.isStatic)
      if (Error error = appendTrailer(*temporary))
        return error;
  }
  if (options.isStatic) {
    Expected<std::string> header = outputs.add(getHeaderPath(path));
    if (!header)
      return header.takeError();
    if (Error error = writeWholeFile(*header, makeHeader(path, weights.all, options.embedWeights)))
      return error;
  }
  return outputs.commit();
}

Expected<llvm::SmallVector<char, 0>> ssm::emitModule(const ModuleVersion &version,
                                                     const PackageOptions &options, TextForm form) {
  Expected<ModuleSpec> spec = readModuleSpec(version.module);
  if (!spec)
    return spec.takeError();
  if (form == TextForm::Ptx) {
    if (!version.gpu)
      return createStringError("--emit=ptx needs a GPU, expected --target=cuda:CHIP");
    DeviceOptions textOnly;
    textOnly.inputs = options.inputs;
    Expected<std::unique_ptr<DeviceJob>> job =
        startDeviceCode(version.module, *version.gpu, textOnly);
    if (!job)
      return job.takeError();
    Expected<DeviceCode> device = (*job)->finish();
    if (!device)
      return device.takeError();
    StringRef text = device->images.empty() ? StringRef() : device->images.front().bytes;
    return llvm::SmallVector<char, 0>(text.begin(), text.end());
  }
  llvm::LLVMContext context;
  WeightsPlace place;
  place.embedded = options.embedWeights;
  Expected<std::unique_ptr<DeviceJob>> job = startDevice(version, options);
  if (!job)
    return job.takeError();
  Expected<std::unique_ptr<llvm::Module>> code =
      makeLLVM(version, *spec, place, context, options, {SSM_MODULE_SYMBOL}, job->get());
  if (!code)
    return code.takeError();
  if (form == TextForm::LLVM) {
    std::string text = printModule(**code);
    return llvm::SmallVector<char, 0>(text.begin(), text.end());
  }
  Step step(options, "object");
  return emitCode(**code, version.target, options.level,
                  form == TextForm::Object ? CodeForm::Object : CodeForm::Assembly, options.inputs);
}
