//===- KernelLoops.h - Which loops a kernel's values depend on --*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_KERNELLOOPS_H
#define SSM_DIALECTS_SSM_KERNELLOOPS_H

#include "dialects/SSM/SSMOps.h"
#include "llvm/ADT/DenseMap.h"

namespace ssm {

/// A set of loops of a kernel, one bit each.
using LoopSet = uint64_t;
constexpr unsigned kMaxLoops = 64;

inline bool contains(LoopSet set, unsigned loop) { return set >> loop & 1; }
inline LoopSet loopBit(unsigned loop) { return LoopSet(1) << loop; }
inline bool isSubset(LoopSet inner, LoopSet outer) { return (inner & ~outer) == 0; }

/// The loops that occur in a map.
LoopSet loopsOf(mlir::AffineMap map);
/// The loops of a list, of ssm.reduce for instance.
LoopSet loopsOf(llvm::ArrayRef<int64_t> loops);
llvm::SmallVector<unsigned> listLoops(LoopSet set);
/// Whether an input of a padded kernel under this map may be read outside of it: a loop by
/// itself has its size.
bool mayLeadOutside(mlir::AffineMap map);

/// The loops that each value of a kernel's region depends on. Values from outside
/// depend on none and need not be asked for.
class KernelLoops {
public:
  explicit KernelLoops(KernelOp kernel);

  LoopSet of(mlir::Value value) const {
    auto it = sets.find(value);
    return it == sets.end() ? 0 : it->second;
  }

private:
  llvm::DenseMap<mlir::Value, LoopSet> sets;
};

/// Carries that are updated together, and the order of the loops for it, outermost
/// first.
struct CarryUpdate {
  llvm::SmallVector<unsigned> carries;
  llvm::SmallVector<unsigned> loops;
};

/// An order in which a step can write the next carries over the old ones, with each
/// value computed in the outermost loops that give what it depends on. None if some
/// element would be overwritten before it has been read for the last time.
std::optional<llvm::SmallVector<CarryUpdate>> orderCarryUpdates(KernelOp kernel);

} // namespace ssm

#endif // SSM_DIALECTS_SSM_KERNELLOOPS_H
