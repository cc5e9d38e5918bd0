//===- GpuTarget.cpp - The GPU a version is compiled for ------------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Target/GpuTarget.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Triple.h"

using namespace llvm;
using namespace ssm;

namespace {
struct Chip {
  StringLiteral name;
  int version;
  StringLiteral features;
  int64_t sharedKilobytes;
};
} // namespace

/// The only table of chips. PTX versions: those that brought the chip (PTX ISA, release notes), or
/// newer where instructions that we use came later. Shared memory of a block: the table of compute
/// capabilities in CUDA's programming guide; of sm_88, which it leaves out, the smallest of 8.x.
static constexpr Chip chips[] = {
    {"sm_75", 75, "+ptx63", 64}, {"sm_80", 80, "+ptx70", 163},
    {"sm_86", 86, "+ptx71", 99}, {"sm_87", 87, "+ptx74", 163},
    {"sm_88", 88, "+ptx90", 99}, {"sm_89", 89, "+ptx78", 99},
    {"sm_90", 90, "+ptx78", 227}, {"sm_90a", 90, "+ptx84", 227},
    {"sm_100", 100, "+ptx86", 227}, {"sm_100a", 100, "+ptx86", 227},
    {"sm_103", 103, "+ptx88", 227}, {"sm_103a", 103, "+ptx88", 227},
    {"sm_110", 110, "+ptx90", 227}, {"sm_110a", 110, "+ptx90", 227},
    {"sm_120", 120, "+ptx87", 99}, {"sm_120a", 120, "+ptx87", 99},
    {"sm_121", 121, "+ptx88", 99}, {"sm_121a", 121, "+ptx88", 99},
};

/// What a name that is none may mean, "" if that is not clear: "90", "9.0", "sm90" and "SM_90A" are
/// "sm_90a", the chip with all it has.
static StringRef guess(StringRef name) {
  std::string digits = name.lower();
  llvm::erase_if(digits, [](char c) { return c == '.' || c == '_' || c == '-'; });
  StringRef rest = digits;
  if (!rest.consume_front("sm"))
    rest.consume_front("compute");
  rest.consume_back("a");
  StringRef found;
  for (const Chip &chip : chips)
    if (rest == std::to_string(chip.version))
      found = chip.name;
  return found;
}

Expected<GpuTarget> GpuTarget::resolve(StringRef name) {
  for (const Chip &chip : chips)
    if (chip.name == name)
      return GpuTarget{chip.name.str(), chip.features.str(), chip.version,
                       chip.sharedKilobytes * 1024, name.ends_with("a")};
  if (StringRef meant = guess(name); !meant.empty())
    return createStringError("unknown GPU '" + name + "', did you mean '" + meant + "'?");
  SmallVector<StringRef> known;
  for (const Chip &chip : chips)
    known.push_back(chip.name);
  return createStringError(
      (name.empty() ? Twine("no GPU is named behind 'cuda:'") : "unknown GPU '" + name + "'") +
      ", expected one of " + join(known, ", ") +
      "; 'nvidia-smi --query-gpu=compute_cap --format=csv,noheader' prints 9.0 for sm_90a");
}

Expected<std::unique_ptr<TargetMachine>> GpuTarget::createMachine(CodeGenOptLevel level) const {
  static const bool done = [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    return true;
  }();
  (void)done;
  Triple triple("nvptx64-nvidia-cuda");
  std::string problem;
  const Target *target = TargetRegistry::lookupTarget(triple, problem);
  if (!target)
    return createStringError("LLVM has no code generator for NVIDIA GPUs: " + problem);
  TargetOptions options;
  return std::unique_ptr<TargetMachine>(target->createTargetMachine(
      triple, chip, features, options, Reloc::PIC_, std::nullopt, level));
}
