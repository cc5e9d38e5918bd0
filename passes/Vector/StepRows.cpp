//===- SingleStep.cpp - A recurrence of one step --------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/EmitKernels.h"

#include "dialects/SSM/UnitLoops.h"

using namespace mlir;
using namespace ssm;

bool ssm::emitStepAsRows(KernelOp kernel, ImplicitLocOpBuilder &b, unsigned lane, int64_t lanes) {
  auto rows = cast<KernelOp>(b.clone(*kernel));
  unsigned time = *rows.getTime();
  SmallVector<Value> inits(rows.getInits());
  rows.getInitsMutable().clear();
  rows.getInputsMutable().append(inits);
  rows.removeTimeAttr();
  rows.setMirrored({}); // the only step is the last one too
  SmallVector<bool> units(rows.getNumLoops());
  units[time] = true;
  IRRewriter rewriter(b);
  dropUnitLoops(rewriter, rows, units);
  rows.setConfigAttr(ConfigAttr::get(b.getContext(), Form::Rows, lane - (lane > time), lanes, {}));
  bool isEmitted = emitRows(rows, b).empty();
  rows.erase();
  return isEmitted;
}
