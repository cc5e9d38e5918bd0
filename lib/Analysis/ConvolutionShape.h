//===- ConvolutionShape.h - Windows that kernels read of a tensor ---*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_ANALYSIS_CONVOLUTIONSHAPE_H
#define SSM_LIB_ANALYSIS_CONVOLUTIONSHAPE_H

#include "lib/Analysis/MatmulShape.h"

namespace ssm {

/// An index of a window along one axis: a sum of loops, each times a number, less a shift.
struct ReadWindowAxis {
  struct Term {
    unsigned loop;
    int64_t factor;
  };
  llvm::SmallVector<Term> terms;
  int64_t constant = 0;
  /// What is subtracted besides; null: nothing.
  mlir::Value shift;
  /// The size of the axis, where the index may lie outside of it and the element is then zero;
  /// null: it never does.
  mlir::Value bound;

  int64_t factorOf(unsigned loop) const;
  /// Whether the index is the loop alone.
  bool isLoop(unsigned loop) const {
    return terms.size() == 1 && terms[0].loop == loop && terms[0].factor == 1 && constant == 0 &&
           !shift && !bound;
  }
};

/// An element of a tensor or buffer at indices that are sums of loops; with padding as
/// `ssm-read-padding` leaves it.
struct ReadWindow {
  mlir::Value source;
  llvm::SmallVector<ReadWindowAxis> axes;
  /// The input that the source is, or the operation of the region that reads it.
  std::optional<unsigned> input;
  mlir::Operation *read = nullptr;

  /// Whether some axis is more than a loop or a constant.
  bool isMoving() const;
  /// The axis that a loop indexes alone, if no other has it.
  std::optional<unsigned> axisOf(unsigned loop) const;
};

/// Nothing if the value of the kernel's region is none.
std::optional<ReadWindow> matchReadWindow(KernelOp kernel, mlir::Value value);

/// A product of a matrix (weights) with windows of a tensor, whose columns are all places of the
/// windows.
struct Convolution {
  Matmul product;
  ReadWindow window;
};

/// Nothing if the kernel is none, or has too few rows for a product of matrices.
std::optional<Convolution> matchConvolution(KernelOp kernel);

} // namespace ssm

#endif // SSM_LIB_ANALYSIS_CONVOLUTIONSHAPE_H
