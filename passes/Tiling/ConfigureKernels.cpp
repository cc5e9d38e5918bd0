//===- ConfigureKernels.cpp - Form, lanes and tiles of every kernel -------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Tiling/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "lib/Analysis/KernelShape.h"
#include "lib/Analysis/MatmulShape.h"

namespace ssm {
#define GEN_PASS_DEF_CONFIGUREKERNELS
#include "passes/Tiling/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// Steps of time that are taken for one tile of channels before the next: what
/// comes before and after the recurrence runs in loops of its own over them, and
/// few rows of memory are open at a time.
constexpr int64_t kTimeBlock = 8;

struct ConfigureKernels : ssm::impl::ConfigureKernelsBase<ConfigureKernels> {
  using ConfigureKernelsBase::ConfigureKernelsBase;

  void runOnOperation() override {
    getOperation()->walk([&](KernelOp kernel) {
      if (!kernel.getConfig())
        kernel.setConfigAttr(choose(kernel));
    });
  }

  ConfigAttr choose(KernelOp kernel) {
    int64_t lanes = lanesOf(kernel);
    std::optional<unsigned> lane = isVectorizable(kernel) ? laneLoopOf(kernel, lanes) : std::nullopt;
    if (!lane)
      return ConfigAttr::get(&getContext(), Form::Loops, 0, 1, {});
    if (std::optional<Matmul> matmul = matchMatmul(kernel))
      return ConfigAttr::get(&getContext(), Form::Matmul, matmul->n, lanes,
                             {registers >= 32 ? 12 : 6, 2});
    if (kernel.getTime())
      return ConfigAttr::get(&getContext(), Form::Recurrence, *lane, lanes, {kTimeBlock});
    return ConfigAttr::get(&getContext(), Form::Rows, *lane, lanes, {});
  }

  /// As many as the widest numbers of the region allow, 16 to a vector of 512 bits
  /// at most: narrow types are computed with in 32 bits.
  int64_t lanesOf(KernelOp kernel) {
    unsigned width = 32;
    auto look = [&](Type type) {
      if (type.isIntOrFloat())
        width = std::max(width, type.getIntOrFloatBitWidth());
    };
    for (Value arg : kernel.getStep().getArguments())
      look(arg.getType());
    for (Operation &op : kernel.getStep())
      for (Value result : op.getResults())
        look(result.getType());
    return std::max<int64_t>(vectorBits / width, 2);
  }

  static std::optional<unsigned> laneLoopOf(KernelOp kernel, int64_t lanes) {
    // A recurrence keeps its lanes apart: no sum over the lane loop, and every carry
    // has it.
    LoopSet excluded = 0;
    LoopSet needed = ~LoopSet(0);
    if (kernel.getTime()) {
      for (auto reduce : kernel.getStep().getOps<ReduceOp>())
        excluded |= loopsOf(reduce.getLoops());
      for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
        needed &= loopsOf(kernel.getOutMap(i));
    }
    std::optional<unsigned> best;
    int64_t bestScore = 0;
    for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop) {
      if (contains(excluded, loop) || !contains(needed, loop) ||
          !canBeLaneLoop(kernel, loop, lanes))
        continue;
      int64_t score = scoreLaneLoop(kernel, loop);
      if (!best || score >= bestScore) {
        best = loop;
        bestScore = score;
      }
    }
    return best;
  }
};
} // namespace
