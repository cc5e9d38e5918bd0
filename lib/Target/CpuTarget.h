//===- CpuTarget.h - The processor a module is compiled for -----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_TARGET_CPUTARGET_H
#define SSM_LIB_TARGET_CPUTARGET_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/CodeGen.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>
#include <vector>

namespace llvm {
class TargetMachine;
}

namespace ssm {

/// LLVM's name of the processor that has what all of its architecture have.
inline constexpr llvm::StringLiteral kBaselineCpu = "generic";

/// The triple of `--target`: "cpu" is this machine's, "cpu:TRIPLE" another one. Error:
/// anything but Linux with glibc on x86-64 or AArch64.
llvm::Expected<std::string> parseTarget(llvm::StringRef target);

struct CpuTarget {
  std::string triple;
  /// LLVM's name of the processor, never "native".
  std::string cpu;
  /// What the processor has or lacks beyond what its name says, in LLVM's form
  /// "+avx2,-sse4a"; sorted, maybe empty.
  std::string features;
  /// Instruction set extensions the generated code may use, by LLVM's names,
  /// sorted. The runtime compares these with the machine before it runs any code.
  std::vector<std::string> requiredFeatures;

  /// The target by the name a user gives: "native" (this machine), "v2" to "v4"
  /// or "x86-64-v2" to "x86-64-v4", or LLVM's name of a processor. Empty: native, or
  /// for another machine than this one what any processor of its kind runs
  /// (x86-64-v2, generic). Error: an unknown name, with the known ones listed.
  static llvm::Expected<CpuTarget> resolve(llvm::StringRef name, llvm::StringRef triple);
  /// The same for this machine's triple.
  static llvm::Expected<CpuTarget> resolve(llvm::StringRef name);

  /// What any processor of the triple's kind runs: x86-64-v2, generic.
  static llvm::Expected<CpuTarget> resolveBaseline(llvm::StringRef triple);

  /// Sorts by what code can make of them, best first: width of vectors, then number of
  /// extensions.
  static void sortBestFirst(std::vector<CpuTarget> &targets);

  /// Whether generated code may use that extension.
  bool has(llvm::StringRef extension) const;
  /// Whether it converts f16 by instructions.
  bool convertsHalf() const;

  /// Width of the vectors that generated code should use, in bits.
  int vectorBits() const;
  /// How many of them there are.
  int vectorRegisters() const;
  /// Bytes of a core's caches for data: by the processor's name, of those without one what
  /// such processors have at least.
  int64_t level1Bytes() const;
  int64_t level2Bytes() const;
  /// Whether sums of products of two bf16 by one instruction are faster than in f32.
  bool multipliesBf16() const;

  /// Position independent code at that level of LLVM's code generator.
  llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
  createMachine(llvm::CodeGenOptLevel level) const;
};

} // namespace ssm

#endif // SSM_LIB_TARGET_CPUTARGET_H
