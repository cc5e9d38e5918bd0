//===- Options.cpp - What options may say ---------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Compiler/Options.h"

#include "passes/Pipelines/Pipelines.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Regex.h"

using namespace ssm;
using llvm::StringRef;

/// Categories of remarks of our own passes.
static constexpr StringRef kRemarkCategories[] = {"shape", "raise", "fuse", "vector", "placement"};

/// Names become symbols of the module, joined with those of their functions.
static bool isEntryName(StringRef name) {
  return !name.empty() &&
         llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_' || c == '-'; });
}

std::string ssm::checkOptions(const CompileOptions &options) {
  if (options.entries.empty())
    return "no model given";
  llvm::StringSet<> names;
  for (const EntryFile &entry : options.entries) {
    if (!isEntryName(entry.name))
      return "'" + entry.name + "' cannot name an entry, expected letters, digits, '_' and '-'";
    if (!names.insert(entry.name).second)
      return "two entries are named '" + entry.name + "'";
  }
  if ((options.cpus.size() > 1 || StringRef(options.target).contains(',')) &&
      !options.emitsModule())
    return "--emit=" + options.emit +
           " shows one version of the code, expected one --cpu and one --target";
  if (options.optLevel < 0 || options.optLevel > 3)
    return "unknown level -O" + std::to_string(options.optLevel) + ", expected -O0 to -O3";
  std::vector<std::string> stages = getStageNames();
  if (!options.emit.empty() && !llvm::is_contained(stages, options.emit))
    return "unknown stage '" + options.emit + "', expected one of " + llvm::join(stages, ", ");
  if (options.output.empty() || (options.output == "-" && options.emitsModule()))
    return "no output given, expected -o FILE";
  if (options.output == "-" && options.saveTemps)
    return "--save-temps needs an output file";
  for (const AddedPass &added : options.addedPasses)
    if (!llvm::is_contained(getStages(), added.stage))
      return "--add-pass: unknown stage '" + added.stage + "', expected one of " +
             llvm::join(getStages(), ", ");
  if (!options.optimizeThrough.empty() &&
      !llvm::is_contained(getStages(), options.optimizeThrough))
    return "--optimize-through: unknown stage '" + options.optimizeThrough +
           "', expected one of " + llvm::join(getStages(), ", ");
  constexpr StringRef kF32Products[] = {"ieee", "tf32x3", "tf32"};
  if (!llvm::is_contained(kF32Products, options.f32Products))
    return "--f32-products=" + options.f32Products + ": expected one of " +
           llvm::join(llvm::ArrayRef(kF32Products), ", ");
  std::string problem;
  if (!options.remarks.empty() && !llvm::Regex(options.remarks).isValid(problem))
    return "--remarks=" + options.remarks + ": " + problem;
  // Passes of a plugin may have others.
  if (!options.remarks.empty() && options.addedPasses.empty() && options.passPlugins.empty() &&
      llvm::none_of(kRemarkCategories, [&](llvm::StringRef category) {
        return llvm::Regex(options.remarks).match(category);
      }))
    return "--remarks=" + options.remarks + ": matches none of " +
           llvm::join(llvm::ArrayRef(kRemarkCategories), ", ");
  return "";
}

/// Splits --target: the part for CPUs, empty if there is none, and the GPUs.
static llvm::Error splitTarget(StringRef text, std::string &cpu, std::vector<GpuTarget> &gpus) {
  llvm::SmallVector<StringRef> parts;
  text.split(parts, ',');
  for (StringRef part : parts) {
    if (part == "cuda")
      part = "cuda:";
    if (!part.consume_front("cuda:")) {
      if (!cpu.empty())
        return llvm::createStringError("--target: '" + cpu + "' and '" + part +
                                       "', expected one target of CPUs");
      cpu = part.str();
      if (part.empty())
        return llvm::createStringError("--target: expected targets with ',' between");
      continue;
    }
    llvm::Expected<GpuTarget> gpu = GpuTarget::resolve(part);
    if (!gpu)
      return gpu.takeError();
    for (const GpuTarget &other : gpus)
      if (other.chip == gpu->chip)
        return llvm::createStringError("--target: 'cuda:" + part + "' is given twice");
    gpus.push_back(std::move(*gpu));
  }
  llvm::stable_sort(gpus, [](const GpuTarget &a, const GpuTarget &b) {
    return std::tie(a.version, a.isSpecific) > std::tie(b.version, b.isSpecific);
  });
  return llvm::Error::success();
}

/// Options of GPUs that a compilation without one would not heed.
static StringRef findUnheeded(const CompileOptions &options) {
  return !options.ptxas.empty()          ? "--ptxas"
         : options.spillBudget >= 0      ? "--spill-budget"
         : options.f32Products != "ieee" ? "--f32-products"
                                         : "";
}

llvm::Expected<Targets> ssm::resolveTargets(const CompileOptions &options) {
  Targets targets;
  std::string cpu;
  if (llvm::Error error = splitTarget(options.target, cpu, targets.gpus))
    return error;
  if (StringRef name = findUnheeded(options); targets.gpus.empty() && !name.empty())
    return llvm::createStringError(name + " is for GPUs, and --target=" + options.target +
                                   " has none, expected cuda:CHIP, such as cuda:sm_90a");
  targets.usesCpus = !cpu.empty();
  llvm::Expected<std::string> triple = parseTarget(targets.usesCpus ? cpu : "cpu");
  if (!triple)
    return triple.takeError();
  std::vector<std::string> names = options.cpus;
  // Host code beside kernels only counts and launches: any processor will do.
  llvm::Expected<CpuTarget> least = CpuTarget::resolveBaseline(*triple);
  if (!least)
    return least.takeError();
  if (names.empty())
    names.push_back(targets.usesCpus ? "" : least->cpu);
  for (const std::string &name : names) {
    // Nothing between two commas is no name.
    if (name.empty() && !options.cpus.empty())
      return llvm::createStringError("--cpu: expected names of CPUs with ',' between");
    llvm::Expected<CpuTarget> target = CpuTarget::resolve(name, *triple);
    if (!target)
      return target.takeError();
    for (const CpuTarget &other : targets.cpus)
      if (other.cpu == target->cpu)
        return llvm::createStringError("--cpu: '" + target->cpu + "' is given twice");
    targets.cpus.push_back(std::move(*target));
  }
  CpuTarget::sortBestFirst(targets.cpus);
  targets.hostOfGpus = options.cpus.empty() ? *least : targets.cpus.back();
  return targets;
}

std::string ssm::describeOptions(const CompileOptions &options,
                                 const Targets &targets) {
  std::string text = "-O" + std::to_string(options.optLevel) + " --target=" + options.target +
                     " --cpu=";
  for (const CpuTarget &target : targets.cpus)
    text += (&target == targets.cpus.data() ? "" : ",") + target.cpu;
  if (!options.optimizeThrough.empty())
    text += " --optimize-through=" + options.optimizeThrough;
  if (options.entries.size() > 1 || options.entries.front().name != "main")
    for (const EntryFile &entry : options.entries)
      text += " --entry " + entry.name;
  for (const StatePair &pair : options.states)
    text += " --state " + pair.input + "=" + pair.output;
  for (const AddedPass &added : options.addedPasses)
    text += " --add-pass=" + added.stage + "=" + added.pass;
  if (options.f32Products != "ieee")
    text += " --f32-products=" + options.f32Products;
  if (options.embedWeights)
    text += " --embed-weights";
  if (options.profile)
    text += " --profile";
  return text;
}
