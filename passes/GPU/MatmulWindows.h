//===- MatmulWindows.h - Windows as a side of a product ----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_MATMULWINDOWS_H
#define SSM_PASSES_GPU_MATMULWINDOWS_H

#include "lib/Analysis/ConvolutionShape.h"
#include "lib/Emit/PointEmitter.h"
#include "passes/GPU/DeviceBuilder.h"

namespace ssm {

/// Addresses of windows' elements: a part that is a row's (a place of the window), a part that is
/// the depth's (a place in the window). Threads keep the one and compute the other as they go.
class WindowReader {
public:
  /// Where a row's window begins: a pointer to global memory, and the index along each axis that
  /// has a bound (i32).
  struct Row {
    mlir::Value pointer;
    llvm::SmallVector<mlir::Value> at;
  };
  /// What a place of the depth adds to it: bytes (i64) and indices.
  struct Place {
    mlir::Value offset;
    llvm::SmallVector<mlir::Value> at;
  };

  WindowReader(DeviceBuilder d, PointEmitter &e, const ReadWindow &window,
               llvm::ArrayRef<unsigned> depth);

  /// Of the outer loops and columns where the emitter is.
  Row row();
  /// `k`: an index along all loops of the depth.
  Place place(mlir::Value k);
  /// Whether the element exists; null: always.
  mlir::Value isInside(const Row &row, const Place &place);
  mlir::Value address(const Row &row, const Place &place) {
    return d.after(row.pointer, place.offset);
  }

private:
  DeviceBuilder d;
  PointEmitter &e;
  const ReadWindow &window;
  llvm::SmallVector<unsigned> depth;
  mlir::Value base;
  /// Bytes from index to index of each axis (i64), and the bounds (i32).
  llvm::SmallVector<mlir::Value> strides, bounds;
};

} // namespace ssm

#endif // SSM_PASSES_GPU_MATMULWINDOWS_H
