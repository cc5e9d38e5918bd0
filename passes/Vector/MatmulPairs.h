//===- MatmulPairs.h - Products of bf16, two at a time ----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// vdpbf16ps adds to each of 16 lanes of f32 the products of two pairs of bf16. Both
// products are exact, sums are rounded to nearest even; denormals, of operands and of
// sums, are zero.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_VECTOR_MATMULPAIRS_H
#define SSM_PASSES_VECTOR_MATMULPAIRS_H

#include "lib/Analysis/MatmulShape.h"
#include "lib/Emit/PointEmitter.h"

namespace ssm {

/// Factors of a product for which `canSumPairs` holds, at the point where the emitter is
/// but for the depth: pair `i` is its elements 2i and 2i + 1, or, if it is `single`, 2i
/// and 0.
class MatmulPairs {
public:
  MatmulPairs(PointEmitter &e, const Matmul &what);

  /// A pair of the left side in each lane.
  mlir::Value left(mlir::Value pair, bool single);
  /// A pair of the right side for each column of a vector.
  mlir::Value right(mlir::Value pair, bool single);
  /// sum + left * right, of both elements.
  mlir::Value add(mlir::Value left, mlir::Value right, mlir::Value sum);

private:
  /// The two elements of a value of the region.
  std::pair<mlir::Value, mlir::Value> elements(mlir::Value of, mlir::Value pair, bool single);

  PointEmitter &e;
  mlir::ImplicitLocOpBuilder &b;
  unsigned k;
  /// Arguments of the region.
  mlir::BlockArgument leftArg, rightArg;
  bool isLeftDense, isRightPacked;
};

} // namespace ssm

#endif // SSM_PASSES_VECTOR_MATMULPAIRS_H
