//===- KernelShape.h - What a kernel's loops allow --------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_ANALYSIS_KERNELSHAPE_H
#define SSM_LIB_ANALYSIS_KERNELSHAPE_H

#include "dialects/SSM/KernelLoops.h"
#include "llvm/ADT/DenseSet.h"
#include <optional>

namespace ssm {

/// Whether an operation of a region takes more than a few cycles: calls of
/// mathematics and divisions.
bool isSlow(mlir::Operation *op);

/// Whether it takes many registers at once: functions of several polynomials.
bool isLong(mlir::Operation &op);

/// Values of a step that carries or sums go into, both included.
llvm::DenseSet<mlir::Value> findVarying(KernelOp kernel);

/// What values of the region are made of, themselves included, without what lies behind those
/// where `stops`.
llvm::DenseSet<mlir::Value> findParts(KernelOp kernel, llvm::SmallVector<mlir::Value> values,
                                      llvm::function_ref<bool(mlir::Value)> stops);

/// Whether every operation of the region has a form on vectors.
bool isVectorizable(KernelOp kernel);

/// What an index grows by from lane to lane where `lane` is the loop across the
/// lanes and the first lane's index a multiple of `lanes`; nothing if it does not
/// grow evenly.
std::optional<int64_t> getLaneStep(mlir::AffineExpr expr, unsigned lane, int64_t lanes);

/// A read of a tensor or buffer from outside of the region, at indices computed in it.
struct IndexedRead {
  mlir::Value source;
  mlir::ValueRange indices;
};
std::optional<IndexedRead> getIndexedRead(mlir::Operation *op);

/// What a value of the region grows by from lane to lane; nothing if it does not grow
/// evenly, or by what is not known.
std::optional<int64_t> getLaneStep(const KernelLoops &loops, mlir::Value value, unsigned lane);

/// How a read by index lies across the lanes.
enum class LaneAccess {
  Uniform, ///< All lanes read the same element.
  Dense,   ///< Lanes read neighbours along the last axis.
  Gather,  ///< Anything else.
};
LaneAccess getLaneAccess(const KernelLoops &loops, const IndexedRead &read, unsigned lane);

/// Whether an input or an out of a recurrence (by number of its map) is dense along time, and
/// no carry: squares of it, lanes by steps, can be turned on the way from and to memory.
bool isDenseAlongTime(KernelOp kernel, unsigned operand, unsigned lane, int64_t lanes);
/// The same for the kernel's configuration, whose blocks of time must be of whole squares.
bool isTurnedInSquares(KernelOp kernel, unsigned operand);

/// Whether all operands are reached evenly with the loop across the lanes.
bool canBeLaneLoop(KernelOp kernel, unsigned loop, int64_t lanes);

/// The size of a loop, or ShapedType::kDynamic.
int64_t fixedSize(KernelOp kernel, unsigned loop);

/// The loop that lies best across lanes. Of a recurrence, one that no step sums over and
/// all carries have.
std::optional<unsigned> findLaneLoop(KernelOp kernel, int64_t lanes);

/// How well a loop lies across lanes: operands dense along it count most, strided
/// ones against it.
int64_t scoreLaneLoop(KernelOp kernel, unsigned loop);

} // namespace ssm

#endif // SSM_LIB_ANALYSIS_KERNELSHAPE_H
