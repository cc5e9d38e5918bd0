//===- StepCuts.h - Where a step's tensors are cut ---------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_RAISING_STEPCUTS_H
#define SSM_PASSES_RAISING_STEPCUTS_H

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SmallBitVector.h"
#include <limits>
#include <set>

namespace ssm {

/// The places at which the axes of a step's tensors are cut: where a slice begins or ends,
/// and wherever that makes another tensor's be cut too.
class Cuts {
public:
  explicit Cuts(ScanOp scan) : scan(scan) {}

  /// False if there are none, or some cannot be followed.
  bool find();
  /// The axis of the tensor that is cut, or -1.
  int64_t axisOf(mlir::Value tensor) const {
    auto it = places.find(tensor);
    return it == places.end() ? -1 : it->second.axis;
  }
  /// Begin and size of each part.
  llvm::SmallVector<std::pair<int64_t, int64_t>> partsOf(mlir::Value tensor) const;
  /// The loop of the kernel that is cut, and a tensor that is cut where the loop is.
  std::optional<std::pair<unsigned, mlir::Value>> loopOf(KernelOp kernel) const;
  /// The axis of size 1 of a carry that is a part by itself, or -1.
  int64_t unitAxisOf(mlir::BlockArgument carry) const;

private:
  struct Place {
    int64_t axis;
    std::set<int64_t> at;
  };
  mlir::Block &step() const { return ScanOp(scan).getBody().front(); }
  void add(mlir::Value tensor, int64_t axis, int64_t at);
  void relate(mlir::Value a, int64_t axisA, mlir::Value b, int64_t axisB, int64_t offset = 0,
              int64_t low = 0, int64_t high = std::numeric_limits<int64_t>::max());
  template <typename SliceOp> void visitSlice(SliceOp op, mlir::Value whole, mlir::Value part);
  void visitKernel(KernelOp kernel);
  void visit(mlir::Operation &op);
  std::set<int64_t> placesIn(mlir::Value tensor) const;
  bool isAll(mlir::OpFoldResult size, mlir::Value tensor, int64_t axis);
  template <typename SliceOp> bool canFollowSlice(SliceOp op, mlir::Value whole, mlir::Value part);
  bool canFollowKernel(KernelOp kernel);
  bool canFollow(mlir::Operation &op);

  ScanOp scan;
  llvm::MapVector<mlir::Value, Place> places;
  bool changed = false, failed = false;
};

/// What a slice takes of an axis, if that is known and without gaps.
struct Span {
  int64_t low, high;
};

template <typename SliceOp> std::optional<Span> spanOf(SliceOp op, int64_t axis) {
  auto low = mlir::getConstantIntValue(op.getMixedOffsets()[axis]);
  auto size = mlir::getConstantIntValue(op.getMixedSizes()[axis]);
  if (!low || !size || mlir::getConstantIntValue(op.getMixedStrides()[axis]) != 1)
    return std::nullopt;
  return Span{*low, *low + *size};
}

/// The axis of the part that is `axis` of the whole.
template <typename SliceOp> int64_t axisInPart(SliceOp op, int64_t axis) {
  llvm::SmallBitVector dropped = op.getDroppedDims();
  if (dropped.test(axis))
    return -1;
  for (int64_t i = axis; i-- > 0;)
    axis -= dropped.test(i);
  return axis;
}

} // namespace ssm

#endif // SSM_PASSES_RAISING_STEPCUTS_H
