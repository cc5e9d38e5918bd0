//===- Pipelines.h - The stages of the compiler --------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_PIPELINES_PIPELINES_H
#define SSM_PASSES_PIPELINES_PIPELINES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <memory>
#include <string>

namespace mlir {
class DialectRegistry;
class OpPassManager;
class Pass;
} // namespace mlir

namespace ssm {

struct PipelineOptions {
  /// 0 skips raise, fuse, tile: each operation's decomposition, loops only.
  int optLevel = 3;
  /// Width of the target's vectors.
  int vectorBits = 256;
  /// Number of the target's vector registers.
  int vectorRegisters = 16;
  /// The target has AVX-512 F and DQ; conversions of f16.
  bool avx512 = false, f16c = false;
  /// Caches of a core of the target; 0: unknown.
  int64_t level1Bytes = 0, level2Bytes = 0;
  /// Sums of products of two bf16 by one instruction pay.
  bool bf16Pairs = false;
  /// The chip of a version for a GPU ("sm_90a"); empty: a CPU, as the rest tells.
  std::string chip;
  /// How a GPU computes products of f32: "ieee", "tf32" or "tf32x3".
  std::string f32Products = "ieee";
  /// Calls of kernels tell the runtime when they begin and end.
  bool profile = false;
};

/// The stages that passes make up, in the order a model goes through them.
llvm::ArrayRef<llvm::StringLiteral> getStages();

/// The first stage whose passes look at the target: before it all versions of a module
/// are one.
llvm::StringRef getFirstTargetStage();

/// Adds the passes of one stage to a pass manager of builtin.module. False if
/// there is no stage of that name.
bool buildStage(llvm::StringRef stage, mlir::OpPassManager &pm, const PipelineOptions &options);

/// The pass that ends every stage in the driver: fails if the module is invalid.
std::unique_ptr<mlir::Pass> createVerifyModule();
void registerVerifyModule();

/// Whether an error of the pass of that name tells of the model, not of the compiler.
bool reportsOnModel(llvm::StringRef pass);

/// Registers the dialects and interfaces that the stages need.
void registerPipelineDialects(mlir::DialectRegistry &registry);

/// Registers our passes, the upstream ones of our stages, and each stage as a pass
/// pipeline `ssm-stage-NAME`. Once a process.
void registerPassesAndStages();

} // namespace ssm

#endif // SSM_PASSES_PIPELINES_PIPELINES_H
