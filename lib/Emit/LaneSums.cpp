//===- LaneSums.cpp - Sums over the lanes of several vectors --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Emit/LaneSums.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

/// A register's quarter, within which shuffles are cheap.
static constexpr int64_t kGroup = 4;

Value ssm::reduceLanesOf(PointEmitter &e, arith::AtomicRMWKind kind, ArrayRef<Value> vectors) {
  int64_t lanes = e.lanes, count = vectors.size();
  auto combine = [&](Value x, Value y, ArrayRef<int64_t> first, ArrayRef<int64_t> second) {
    return e.combine(kind, vector::ShuffleOp::create(e.b, x, y, first),
                     vector::ShuffleOp::create(e.b, x, y, second));
  };
  // The lanes `order` of both vectors, repeated for each group, with those `distance` behind.
  auto combineGroups = [&](Value x, Value y, ArrayRef<int64_t> order, int64_t distance) {
    SmallVector<int64_t> first, second;
    for (int64_t group = 0; group < lanes; group += kGroup)
      for (int64_t lane : order) {
        first.push_back(group + lane);
        second.push_back(group + lane + distance);
      }
    return combine(x, y, first, second);
  };
  // Within groups: of each vector two sums, then one.
  SmallVector<Value> sums;
  for (; !vectors.empty(); vectors = vectors.drop_front(kGroup)) {
    Value low = combineGroups(vectors[0], vectors[1], {0, lanes, 1, lanes + 1}, 2);
    Value high = combineGroups(vectors[2], vectors[3], {0, lanes, 1, lanes + 1}, 2);
    sums.push_back(combineGroups(low, high, {0, 1, lanes, lanes + 1}, 2));
  }
  // Neighbouring groups of two vectors, until there is one of each.
  while (sums.size() > 1) {
    SmallVector<int64_t> even, odd;
    for (int64_t lane = 0; lane < 2 * lanes; ++lane)
      (lane / kGroup % 2 ? odd : even).push_back(lane);
    for (size_t i = 0; i < sums.size() / 2; ++i)
      sums[i] = combine(sums[2 * i], sums[2 * i + 1], even, odd);
    sums.resize(sums.size() / 2);
  }
  // Of four vectors, all groups.
  Value sum = sums.front();
  for (int64_t half = lanes / 2; count < lanes && half >= kGroup; half /= 2)
    sum = combine(sum, sum, llvm::to_vector(llvm::seq<int64_t>(0, half)),
                  llvm::to_vector(llvm::seq<int64_t>(half, 2 * half)));
  return sum;
}
