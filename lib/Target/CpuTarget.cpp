//===- CpuTarget.cpp - The processor a module is compiled for -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Target/CpuTarget.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

using namespace llvm;
using namespace ssm;

/// Extensions that code without intrinsics can come to use. Others (AES, AMX,
/// transactional memory, ...) never occur in a module: to require them would only
/// keep it from machines it runs on.
static constexpr StringLiteral kX86Extensions[] = {
    "avx",        "avx2",        "avx512bf16", "avx512bitalg", "avx512bw",
    "avx512cd",   "avx512dq",    "avx512f",    "avx512fp16",   "avx512ifma",
    "avx512vbmi", "avx512vbmi2", "avx512vl",   "avx512vnni",   "avx512vpopcntdq",
    "avxvnni",    "bmi",         "bmi2",       "f16c",         "fma",
    "gfni",       "lzcnt",       "movbe",      "popcnt",       "sse3",
    "sse4.1",     "sse4.2",      "ssse3"};

static constexpr StringLiteral kAArch64Extensions[] = {
    "bf16",     "complxnum", "cssc",   "dotprod", "faminmax", "fp16fml", "fptoint",
    "fullfp16", "i8mm",      "jsconv", "mops",    "rdm",      "sme",     "sve",
    "sve2",     "sve2p1"};

static ArrayRef<StringLiteral> extensionsOf(const Triple &triple) {
  if (triple.isX86())
    return kX86Extensions;
  if (triple.isAArch64())
    return kAArch64Extensions;
  return {};
}

static void initializeTargets() {
  static const bool done = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
    return true;
  }();
  (void)done;
}

/// Whether code for the triple runs in this process.
static bool isHost(const Triple &triple) {
  Triple host(sys::getProcessTriple());
  return triple.getArch() == host.getArch() && triple.getOS() == host.getOS() &&
         triple.getEnvironment() == host.getEnvironment();
}

Expected<std::string> ssm::parseTarget(StringRef target) {
  auto [kind, name] = target.split(':');
  if (target == "cpu")
    return sys::getProcessTriple();
  Triple triple(Triple::normalize(name));
  bool isKnown = (triple.getArch() == Triple::x86_64 || triple.getArch() == Triple::aarch64) &&
                 triple.isOSLinux() && triple.getEnvironment() == Triple::GNU &&
                 triple.isOSBinFormatELF();
  if (kind != "cpu" || !isKnown)
    return createStringError("unknown target '" + target +
                             "', expected cpu (this machine), cpu:x86_64-linux-gnu, "
                             "cpu:aarch64-linux-gnu or cuda:CHIP, such as cuda:sm_90a");
  // The same target by another name gives the same bytes.
  return isHost(triple) ? sys::getProcessTriple() : triple.str();
}

static Expected<const Target *> lookupTarget(const Triple &triple) {
  initializeTargets();
  std::string message;
  if (const Target *target = TargetRegistry::lookupTarget(triple, message))
    return target;
  return createStringError("LLVM cannot generate code for '%s': %s", triple.str().c_str(),
                           message.c_str());
}

static std::unique_ptr<MCSubtargetInfo> createSubtarget(const Target &target, const Triple &triple,
                                                        StringRef cpu, StringRef features) {
  return std::unique_ptr<MCSubtargetInfo>(target.createMCSubtargetInfo(triple, cpu, features));
}

/// Whether the processor of that name runs code for the triple: LLVM's list for
/// x86 also has the ones of 32 bits.
static bool serves(const Target &target, const Triple &triple, StringRef cpu) {
  auto subtarget = createSubtarget(target, triple, cpu, "");
  return subtarget && (!triple.isX86() || subtarget->checkFeatures("+64bit"));
}

static Error unknownCpu(const Target &target, const Triple &triple, StringRef name) {
  std::vector<std::string> known;
  if (isHost(triple))
    known.push_back("native");
  auto all = createSubtarget(target, triple, "", "");
  for (const SubtargetSubTypeKV &entry : all->getAllProcessorDescriptions())
    if (serves(target, triple, entry.Key))
      known.push_back(entry.Key);
  return createStringError("unknown CPU '" + name + "', expected one of " + join(known, ", "));
}

static StringRef baselineOf(const Triple &triple) {
  return triple.isX86() ? StringRef("v2") : StringRef(kBaselineCpu);
}

Expected<CpuTarget> CpuTarget::resolveBaseline(StringRef triple) {
  return resolve(baselineOf(Triple(triple)), triple);
}

Expected<CpuTarget> CpuTarget::resolve(StringRef name) {
  return resolve(name, sys::getProcessTriple());
}

Expected<CpuTarget> CpuTarget::resolve(StringRef name, StringRef tripleName) {
  Triple triple(tripleName);
  if (name.empty())
    name = isHost(triple) ? StringRef("native") : baselineOf(triple);
  Expected<const Target *> target = lookupTarget(triple);
  if (!target)
    return target.takeError();

  CpuTarget result;
  result.triple = triple.str();
  if (name == "native" && isHost(triple)) {
    result.cpu = sys::getHostCPUName().str();
    std::vector<std::string> features;
    for (const auto &feature : sys::getHostCPUFeatures())
      features.push_back((feature.second ? "+" : "-") + feature.first().str());
    llvm::sort(features);
    result.features = join(features, ",");
  } else if (triple.isX86() && (name == "v2" || name == "v3" || name == "v4")) {
    result.cpu = ("x86-64-" + name).str();
  } else {
    result.cpu = name.str();
  }

  // Asked of an empty subtarget: LLVM warns on stderr when it is given a name it
  // does not know.
  auto all = createSubtarget(**target, triple, "", "");
  if (!all)
    return createStringError("LLVM cannot describe '%s'", triple.str().c_str());
  if (result.cpu.empty() || !all->isCPUStringValid(result.cpu) ||
      !serves(**target, triple, result.cpu))
    return unknownCpu(**target, triple, name);

  auto subtarget = createSubtarget(**target, triple, result.cpu, result.features);
  StringSet<> extensions;
  for (StringLiteral extension : extensionsOf(triple))
    extensions.insert(extension);
  for (const SubtargetFeatureKV &feature : subtarget->getEnabledProcessorFeatures())
    if (extensions.contains(feature.Key))
      result.requiredFeatures.push_back(feature.Key);
  llvm::sort(result.requiredFeatures);
  return result;
}

Expected<std::unique_ptr<TargetMachine>> CpuTarget::createMachine(CodeGenOptLevel level) const {
  Triple parsed(triple);
  Expected<const Target *> target = lookupTarget(parsed);
  if (!target)
    return target.takeError();
  TargetOptions options;
  options.FunctionSections = true;
  options.DataSections = true;
  std::unique_ptr<TargetMachine> machine((*target)->createTargetMachine(
      parsed, cpu, features, options, Reloc::PIC_, std::nullopt, level));
  if (!machine)
    return createStringError("LLVM cannot generate code for '%s'", triple.c_str());
  return machine;
}

void CpuTarget::sortBestFirst(std::vector<CpuTarget> &targets) {
  auto rank = [](const CpuTarget &target) {
    return std::make_tuple(target.vectorBits(), target.requiredFeatures.size(),
                           StringRef(target.cpu));
  };
  llvm::sort(targets, [&](const CpuTarget &a, const CpuTarget &b) { return rank(a) > rank(b); });
}

bool CpuTarget::convertsHalf() const { return has("f16c") || Triple(triple).isAArch64(); }

bool CpuTarget::has(StringRef extension) const {
  return llvm::is_contained(requiredFeatures, extension);
}

int CpuTarget::vectorBits() const {
  if (has("avx512f"))
    return 512;
  return has("avx") ? 256 : 128;
}

namespace {
struct Caches {
  StringLiteral cpu;
  int64_t level1, level2; // KiB
};
} // namespace

/// By LLVM's names, or how they begin.
static constexpr Caches kCaches[] = {
    {"znver5", 48, 1024},         {"znver4", 32, 1024},         {"znver", 32, 512},
    {"sapphirerapids", 48, 2048}, {"emeraldrapids", 48, 2048},  {"graniterapids", 48, 2048},
    {"diamondrapids", 48, 2048},  {"icelake-server", 48, 1280}, {"icelake", 48, 512},
    {"skylake-avx512", 32, 1024}, {"cascadelake", 32, 1024},    {"cooperlake", 32, 1024},
    {"x86-64-v4", 32, 1024},      {"alderlake", 48, 1280},      {"raptorlake", 48, 2048},
    {"meteorlake", 48, 2048},     {"arrowlake", 48, 2048},      {"lunarlake", 48, 2560},
    {"neoverse", 64, 512},        {"apple", 64, 4096},
};

static Caches cachesOf(StringRef cpu) {
  for (const Caches &entry : kCaches)
    if (cpu.starts_with(entry.cpu))
      return entry;
  return {"", 32, 256};
}

int64_t CpuTarget::level1Bytes() const { return cachesOf(cpu).level1 << 10; }
int64_t CpuTarget::level2Bytes() const { return cachesOf(cpu).level2 << 10; }

/// AMD's processors take twice as many products as in f32. Intel's, measured on Emerald
/// Rapids, half as many: there the instruction saves no time.
bool CpuTarget::multipliesBf16() const {
  return has("avx512bf16") && StringRef(cpu).starts_with("znver");
}

int CpuTarget::vectorRegisters() const {
  return vectorBits() == 512 || Triple(triple).isAArch64() ? 32 : 16;
}
