//===- Pipelines.cpp - The stages of the compiler ------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Pipelines/Pipelines.h"

#include "lib/Target/GpuTarget.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "passes/CPU/Passes.h"
#include "passes/Fusion/Passes.h"
#include "passes/GPU/Passes.h"
#include "passes/Graph/Passes.h"
#include "passes/Lowering/Passes.h"
#include "passes/Memory/Passes.h"
#include "passes/Raising/Passes.h"
#include "passes/Tiling/Passes.h"
#include "passes/Vector/Passes.h"

using namespace mlir;
using namespace ssm;

static void cleanUp(OpPassManager &pm) {
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

static void buildImport(OpPassManager &pm, const PipelineOptions &) {
  pm.addPass(createInferShapes());
}

static void buildGraph(OpPassManager &pm, const PipelineOptions &) {
  pm.addPass(createFoldConstants());
  pm.addPass(createCSEPass());
}

static void buildTensor(OpPassManager &pm, const PipelineOptions &options) {
  pm.addPass(createConvertONNXToTensor());
  cleanUp(pm);
  // Sizes of results in terms of the arguments' sizes.
  pm.addPass(memref::createResolveRankedShapeTypeResultDimsPass());
  cleanUp(pm);
  pm.addNestedPass<func::FuncOp>(createMergeChecks());
  pm.addNestedPass<func::FuncOp>(createHoistSizes());
  if (options.optLevel > 0) {
    pm.addPass(createOutlineRepeats());
    cleanUp(pm);
  }
  pm.addPass(createCheckTensorStage());
}

static void buildRaise(OpPassManager &pm, const PipelineOptions &options) {
  if (options.optLevel == 0)
    return;
  pm.addNestedPass<func::FuncOp>(createRaiseKernels());
  cleanUp(pm);
  pm.addNestedPass<func::FuncOp>(createRaiseConvs());
  pm.addNestedPass<func::FuncOp>(createTurnPadding());
  pm.addNestedPass<func::FuncOp>(createFoldFlips());
  cleanUp(pm);
  pm.addNestedPass<func::FuncOp>(createRaiseScans());
  cleanUp(pm);
}

static void buildFuse(OpPassManager &pm, const PipelineOptions &options) {
  if (options.optLevel == 0)
    return;
  FuseKernelsOptions fuse;
  fuse.device = !options.chip.empty();
  if (fuse.device) {
    pm.addNestedPass<func::FuncOp>(createCheckInKernels());
    cleanUp(pm);
  }
  pm.addPass(createFuseKernels(fuse));
  pm.addNestedPass<func::FuncOp>(createWidenHalves());
  cleanUp(pm);
}

static ConfigureKernelsOptions configuration(const PipelineOptions &options) {
  ConfigureKernelsOptions tiles;
  tiles.vectorBits = options.vectorBits;
  tiles.registers = options.vectorRegisters;
  tiles.bf16Pairs = options.bf16Pairs;
  tiles.level1Bytes = options.level1Bytes;
  tiles.level2Bytes = options.level2Bytes;
  return tiles;
}

/// A window of more is rarely short, and more carries than these take registers of a GPU.
static constexpr int64_t kMaxDeviceTaps = 16;
/// Chips from this one on run products of 16-bit numbers on tensor cores, and scans by roles.
static constexpr int kTensorCoresVersion = 80;

static GpuTarget findTarget(StringRef chip) {
  llvm::Expected<GpuTarget> target = GpuTarget::resolve(chip);
  if (target)
    return *target;
  llvm::consumeError(target.takeError()); // ssm-emit-device-kernels tells
  return {};
}

static void buildTile(OpPassManager &pm, const PipelineOptions &options) {
  if (options.optLevel > 0 && !options.chip.empty()) {
    // What a CPU computes better as sums.
    RaiseConvsOptions convs;
    convs.maxTaps = kMaxDeviceTaps;
    convs.denseTime = true;
    pm.addNestedPass<func::FuncOp>(createRaiseConvs(convs));
    GpuTarget target = findTarget(options.chip);
    if (target.version >= kTensorCoresVersion) {
      LayoutFactorsOptions factors;
      factors.bytes = target.hasWgmma();
      factors.f32 = options.f32Products != "ieee";
      pm.addPass(createLayoutFactors(factors));
    }
    cleanUp(pm);
    pm.addNestedPass<func::FuncOp>(createReadPadding());
    cleanUp(pm);
    pm.addPass(createLayoutWindows());
    cleanUp(pm);
    if (target.version >= kTensorCoresVersion)
      pm.addNestedPass<func::FuncOp>(createSplitCarries());
    cleanUp(pm);
  }
  if (options.optLevel > 0 && options.chip.empty()) {
    pm.addPass(createUnrollGroups());
    pm.addPass(createConfigureKernels(configuration(options)));
    pm.addPass(createFoldPadding());
    pm.addPass(createLayoutOperands());
    pm.addPass(createPackOperands());
    // What the layouts brought.
    pm.addPass(createConfigureKernels(configuration(options)));
    cleanUp(pm);
  }
  pm.addPass(createHoistWeightsInit());
  cleanUp(pm);
}

static void buildBuffer(OpPassManager &pm, const PipelineOptions &pipeline) {
  pm.addNestedPass<func::FuncOp>(createDecomposeScan());
  cleanUp(pm);
  pm.addNestedPass<func::FuncOp>(createPlaceCarries());
  pm.addNestedPass<func::FuncOp>(createPlacePieces());
  pm.addNestedPass<func::FuncOp>(createSeparateTemporaries());
  pm.addPass(bufferization::createEmptyTensorEliminationPass());
  bufferization::OneShotBufferizePassOptions options;
  options.bufferizeFunctionBoundaries = true;
  options.allowReturnAllocsFromLoops = true;
  options.functionBoundaryTypeConversion = bufferization::LayoutMapOption::IdentityLayoutMap;
  pm.addPass(bufferization::createOneShotBufferizePass(options));
  // Copies onto themselves go away only in this order.
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createEntryABI());
  pm.addPass(memref::createResolveRankedShapeTypeResultDimsPass());
  cleanUp(pm);
  pm.addNestedPass<func::FuncOp>(createForwardCopies());
  if (!pipeline.chip.empty())
    pm.addNestedPass<func::FuncOp>(createPlaceConstants());
  pm.addPass(createPlanArena());
  pm.addPass(createLayoutWeights());
  cleanUp(pm);
  // Kernels of a device read ahead of those before them.
  if (pipeline.chip.empty())
    pm.addPass(createFindStatesInPlace());
  if (pipeline.optLevel > 0) {
    pm.addPass(createRollCalls());
    cleanUp(pm);
  }
}

/// The stage vector for a GPU.
static void buildDeviceVector(OpPassManager &pm, const PipelineOptions &options) {
  pm.addNestedPass<func::FuncOp>(createResolveSubview());
  pm.addNestedPass<func::FuncOp>(createCopyToKernel());
  if (options.optLevel > 0)
    pm.addNestedPass<func::FuncOp>(createFillBorders());
  ConfigureKernelsOptions plain;
  plain.vectorBits = 0;
  pm.addPass(createConfigureKernels(plain));
  pm.addPass(createLinalgGeneralizeNamedOpsPass());
  pm.addNestedPass<func::FuncOp>(createOrderLoops());
  // Temporaries of a loop's steps to its front, so that the loop is one kernel.
  pm.addNestedPass<func::FuncOp>(createLoopInvariantCodeMotionPass());
  OutlineKernelsOptions outline;
  outline.device = true;
  pm.addPass(createOutlineKernels(outline));
  pm.addPass(createPlaceHostCode());
  EmitDeviceKernelsOptions emit;
  emit.chip = options.chip;
  emit.f32Products = options.f32Products;
  pm.addPass(createEmitDeviceKernels(emit));
  pm.addPass(createRelaxSums());
  cleanUp(pm);
  pm.addPass(createVerifySync());
}

static void buildVector(OpPassManager &pm, const PipelineOptions &options) {
  if (!options.chip.empty())
    return buildDeviceVector(pm, options);
  DecomposeTopKOptions topk;
  topk.vectors = options.optLevel > 0;
  pm.addNestedPass<func::FuncOp>(createDecomposeTopK(topk));
  pm.addNestedPass<func::FuncOp>(createResolveSubview());
  pm.addNestedPass<func::FuncOp>(createCopyToKernel());
  if (options.optLevel > 0)
    pm.addPass(createConfigureKernels(configuration(options)));
  pm.addPass(createLinalgGeneralizeNamedOpsPass());
  pm.addNestedPass<func::FuncOp>(createOrderLoops());
  pm.addPass(createOutlineKernels());
  if (options.profile)
    pm.addPass(createCountWork());
  if (options.optLevel > 0)
    pm.addNestedPass<func::FuncOp>(createEmitKernels());
  // Without vectors the forms that an optimised stage before chose mean the same.
  LowerKernelsOptions lower;
  lower.allForms = options.optLevel == 0;
  pm.addNestedPass<func::FuncOp>(createLowerKernels(lower));
  if (options.optLevel == 0)
    return;
  cleanUp(pm);
  pm.addPass(createLoopInvariantCodeMotionPass());
  pm.addPass(createExpandDivision());
  pm.addPass(createExpandArcs());
  ExpandMathF64Options wide;
  wide.onlyVectors = true;
  pm.addPass(createExpandMathF64(wide));
  ExpandMathOptions math;
  math.avx512 = options.avx512;
  pm.addPass(createExpandMath(math));
  FitVectorsOptions fit;
  fit.avx512 = options.avx512;
  pm.addPass(createFitVectors(fit));
  pm.addPass(createRelaxSums());
  cleanUp(pm);
}

/// Kernels for a GPU to the LLVM dialect, before host code: conversions of the whole
/// module then find nothing in them.
static void buildDeviceTarget(OpPassManager &pm, const PipelineOptions &options) {
  OpPassManager &device = pm.nest<gpu::GPUModuleOp>();
  device.addPass(createLowerKernels());
  device.addPass(createConvertLinalgToLoopsPass());
  device.addPass(createGuardIndices());
  device.addPass(createLowerIndexChecks());
  device.addPass(createResolveExpandShape());
  device.addPass(memref::createExpandStridedMetadataPass());
  device.addPass(createLowerAffinePass());
  device.addPass(createLoopInvariantCodeMotionPass());
  cleanUp(device);
  device.addPass(createExpandMathF64());
  ExpandMathOptions math;
  math.gpu = true;
  device.addPass(createExpandMath(math));
  cleanUp(device);
  device.addPass(createExpandFloat8());
  device.addPass(createLowerDeviceViews());
  // Before gpu-to-nvvm, which would call NVIDIA's library for them.
  device.addPass(createLowerDeviceMath());
  device.addPass(createConvertVectorToLLVMPass());
  device.addPass(createSCFToControlFlowPass());
  ConvertGpuOpsToNVVMOpsOptions nvvm;
  nvvm.indexBitwidth = 64;
  device.addPass(createConvertGpuOpsToNVVMOps(nvvm));
  device.addPass(createArithToLLVMConversionPass());
  device.addPass(createConvertIndexToLLVMPass());
  device.addPass(createUBToLLVMConversionPass());
  device.addPass(createConvertNVVMToLLVMPass());
  device.addPass(createReconcileUnrealizedCastsPass());
  cleanUp(device);
}

static void buildTarget(OpPassManager &pm, const PipelineOptions &options) {
  if (!options.chip.empty())
    buildDeviceTarget(pm, options);
  pm.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());
  pm.addNestedPass<func::FuncOp>(createResolveExpandShape());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createLoopInvariantCodeMotionPass());
  cleanUp(pm);
  pm.addPass(createOutlineParallel());
  if (options.profile)
    pm.addPass(createProfileKernels());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createLowerModuleOps());
  pm.addPass(createExpandFloat8());
  ExpandHalfOptions half;
  half.f16 = !options.f16c;
  pm.addPass(createExpandHalf(half));
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true;
  pm.addPass(arith::createArithExpandOpsPass(expand));
  pm.addPass(createConvertMathToLibm());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createFinalizeMemRefToLLVMConversionPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createConvertIndexToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  cleanUp(pm);
}

/// The stage has no pass yet; it keeps its place in the order.
static void buildNothing(OpPassManager &, const PipelineOptions &) {}

namespace {
struct Stage {
  StringLiteral name;
  void (*build)(OpPassManager &, const PipelineOptions &);
  StringLiteral summary;
};
} // namespace

static constexpr Stage stages[] = {
    {"import", buildImport, "types and sizes of the graph as read"},
    {"graph", buildGraph, "folding and simplification of the graph"},
    {"tensor", buildTensor, "linalg, tensor, arith, scf and ssm on tensors"},
    {"raise", buildRaise, "recognition by arithmetic"},
    {"quantize", buildNothing, "quantisation on demand"},
    {"fuse", buildFuse, "kernels"},
    {"tile", buildTile, "form and tiles of every kernel, layouts, weights computed once"},
    {"buffer", buildBuffer, "buffers, arena, the module's borders"},
    {"vector", buildVector, "kernels as functions of loops and vectors"},
    {"target", buildTarget, "the LLVM dialect"},
};

llvm::ArrayRef<StringLiteral> ssm::getStages() {
  static const SmallVector<StringLiteral> names = [] {
    SmallVector<StringLiteral> made;
    for (const Stage &stage : stages)
      made.push_back(stage.name);
    return made;
  }();
  return names;
}

llvm::StringRef ssm::getFirstTargetStage() { return "fuse"; }

bool ssm::buildStage(StringRef name, OpPassManager &pm, const PipelineOptions &options) {
  for (const Stage &stage : stages)
    if (stage.name == name) {
      stage.build(pm, options);
      return true;
    }
  return false;
}

bool ssm::reportsOnModel(StringRef pass) {
  static constexpr StringLiteral names[] = {"onnx-infer-shapes", "onnx-fold-constants",
                                            "convert-onnx-to-tensor"};
  return llvm::is_contained(names, pass);
}

void ssm::registerPassesAndStages() {
  registerSSMGraphPasses();
  registerSSMLoweringPasses();
  registerSSMMemoryPasses();
  registerSSMRaisingPasses();
  registerSSMFusionPasses();
  registerSSMGPUPasses();
  registerSSMTilingPasses();
  registerSSMVectorPasses();
  registerSSMCPUPasses();
  registerVerifyModule();
  registerTransformsPasses();
  registerConversionPasses();
  registerLinalgPasses();
  arith::registerArithPasses();
  bufferization::registerBufferizationPasses();
  memref::registerMemRefPasses();
  static SmallVector<std::string> names;
  for (const Stage &stage : stages) {
    names.push_back("ssm-stage-" + stage.name.str());
    PassPipelineRegistration<>(names.back(), stage.summary,
                               [&stage](OpPassManager &pm) { stage.build(pm, PipelineOptions()); });
  }
}
