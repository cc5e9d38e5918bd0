//===- WindowShape.h - Sums over windows among kernels ----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_ANALYSIS_WINDOWSHAPE_H
#define SSM_LIB_ANALYSIS_WINDOWSHAPE_H

#include "dialects/SSM/KernelLoops.h"
#include <optional>

namespace ssm {

/// An axis of the input that is read at position * stride + tap * dilation + begin.
struct WindowAxis {
  unsigned axis;
  unsigned position;           ///< A loop of the outs.
  std::optional<unsigned> tap; ///< A loop of the reduction; none: a window of one element.
  int64_t stride = 1, dilation = 1;
  int64_t begin = 0; ///< 0, or less in a padded kernel.
};

/// outs[outer, row, lane] = epilogue(reduction over windows of one input)
struct Window {
  ReduceOp reduce;
  /// The number of the input that windows move over; all else that is reduced lacks `lane`.
  unsigned input;
  /// Its axes that are read so, last that of the lanes, which is its last axis.
  llvm::SmallVector<WindowAxis> axes;
  unsigned lane;
  /// The loop of the outs' axis before that of the lanes, if windows move along it and its taps
  /// are few enough to be written out.
  std::optional<unsigned> row;
  /// All other loops of the outs, in the order of the first out.
  llvm::SmallVector<unsigned> outer;

  const WindowAxis &laneAxis() const { return axes.back(); }
  /// The axis whose position is a loop of the outs; null if there is none.
  const WindowAxis *axisOf(unsigned position) const;
};

/// Nothing if the kernel has no such sum, strides or taps along the lanes are too many, or its
/// input is not dense along them.
std::optional<Window> matchWindow(KernelOp kernel, int64_t lanes);

} // namespace ssm

#endif // SSM_LIB_ANALYSIS_WINDOWSHAPE_H
