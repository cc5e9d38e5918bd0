//===- Turns.h - What is written along another axis than read ----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_TURNS_H
#define SSM_PASSES_GPU_TURNS_H

#include "passes/GPU/Teams.h"

namespace ssm {

/// Axes shorter than this do not fill a side of a tile.
constexpr int64_t kShortAxis = 16;

/// A kernel without sums, whose outs lie along the loop `to`, and some inputs along `from`.
struct Turn {
  unsigned from = 0, to = 0;
  /// Inputs along `from`.
  llvm::SmallVector<unsigned> turned;
  /// All other loops, and all other operands that have `to`.
  llvm::SmallVector<unsigned> outer;
  llvm::SmallVector<mlir::Value> dense;
};
std::optional<Turn> findTurn(KernelOp kernel);

/// What one access takes of such a buffer.
inline int64_t vectorLanes(mlir::Value buffer) {
  return kAccessBytes * 8 / mlir::cast<mlir::MemRefType>(buffer.getType()).getElementTypeBitWidth();
}
/// Computes what the kernel yields at a point, or at `lanes` of them along a loop, and stores it.
void storePoints(PointEmitter &e, KernelOp kernel, unsigned loop, int64_t lanes);

/// A form, if the emitter finds that the kernel is one; `arguments` are the emitter's own.
template <class Emitter, class... Arguments>
void addTurnForm(KernelOp kernel, llvm::SmallVectorImpl<KernelForm> &forms, llvm::StringRef name,
                 Arguments... arguments) {
  mlir::ImplicitLocOpBuilder none(kernel.getLoc(), kernel);
  DeviceKernel only{kernel, kernel, none, none, nullptr};
  if (!Emitter(only, arguments...).find())
    return;
  forms.push_back({name,
                   [=](mlir::ImplicitLocOpBuilder &h) {
                     DeviceKernel host{kernel, kernel, h, h, nullptr};
                     Emitter emitter(host, arguments...);
                     emitter.find();
                     return emitter.isFit();
                   },
                   [=](DeviceKernel &k) { return Emitter(k, arguments...).emit(); }});
}

/// Turns where one of both axes is short; the kernel is one.
void addThinTurnForms(KernelOp kernel, llvm::SmallVectorImpl<KernelForm> &forms);

} // namespace ssm

#endif // SSM_PASSES_GPU_TURNS_H
