//===- MatmulForms.cpp - Which form of a product, and its tiles ------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/MatmulTiles.h"

#include "mlir/Dialect/Arith/Utils/Utils.h"

using namespace mlir;
using namespace ssm;

/// Large tiles reuse most, two blocks of them keep a multiprocessor busy; small ones are for
/// products with too few large ones for all multiprocessors.
static constexpr MatmulTile kLargeMma = {128, 128, 32, 4, 64, 64};
static constexpr MatmulTile kSmallMma = {64, 64, 32, 4, 32, 32};
static constexpr MatmulTile kLargeFma = {128, 128, 16, 3, 0, 0};
static constexpr MatmulTile kSmallFma = {64, 64, 16, 3, 0, 0};
/// Large tiles that are enough for a GPU.
static constexpr int64_t kEnough = 96;
/// Without rows that share a factor, as in a convolution of single channels, shallower sums are
/// no work for tiles: a step of theirs would be mostly empty.
static constexpr int64_t kShallow = 16;

static bool isShallow(KernelOp kernel, const Matmul &what) {
  if (what.m)
    return false;
  int64_t depth = 1;
  for (unsigned loop : what.k) {
    auto [operand, axis] = kernel.getSizeSource(loop);
    int64_t size = cast<ShapedType>(operand.getType()).getDimSize(axis);
    if (ShapedType::isDynamic(size))
      return false;
    depth *= size;
  }
  return depth < kShallow;
}

static Value hasEnough(DeviceBuilder d, KernelOp kernel, const Matmul &what, MatmulTile tile) {
  SmallVector<OpFoldResult> sizes = kernel.getLoopSizes(d.b);
  auto size = [&](unsigned loop) {
    return getValueOrCreateConstantIndexOp(d.b, d.b.getLoc(), sizes[loop]);
  };
  Value count = d.ceilDiv(size(what.n), tile.n);
  if (what.m)
    count = d.mul(count, d.ceilDiv(size(*what.m), tile.m));
  for (unsigned loop : what.outer)
    count = d.mul(count, size(loop));
  return d.compare(arith::CmpIPredicate::uge, count, kEnough);
}

static Value areAligned(DeviceBuilder d, KernelOp kernel, ArrayRef<MatmulSide> sides) {
  Value all = arith::ConstantIntOp::create(d.b, d.b.getI1Type(), 1);
  for (const MatmulSide &side : sides)
    if (side.input)
      all = d.make<arith::AndIOp>(all, hasAlignedRows(d, kernel.getInputs()[*side.input]));
  return all;
}

SmallVector<KernelForm> ssm::getMatmulForms(KernelOp kernel, int chip) {
  SmallVector<KernelForm> forms;
  std::optional<Matmul> found = matchMatmul(kernel);
  if (!found || isShallow(kernel, *found))
    return forms;
  Matmul what = *found;
  addGemvForms(kernel, what, chip, forms);
  bool hasAsync = chip >= 80;
  if (hasAsync && canUseTensorCores(what)) {
    SmallVector<MatmulSide> sides = getMmaSides(kernel, what);
    auto add = [&](StringRef name, MatmulTile tile, bool isDirect, auto isFit) {
      forms.push_back({name, isFit, [=](DeviceKernel &k) {
                         return emitMmaMatmul(k, *matchMatmul(k.kernel), tile, isDirect);
                       }});
    };
    if (sides[0].input || sides[1].input) {
      add("_large", kLargeMma, true, [=](ImplicitLocOpBuilder &h) {
        DeviceBuilder d{h};
        return d.make<arith::AndIOp>(areAligned(d, kernel, sides),
                                     hasEnough(d, kernel, what, kLargeMma));
      });
      add("", kSmallMma, true,
          [=](ImplicitLocOpBuilder &h) { return areAligned(DeviceBuilder{h}, kernel, sides); });
    }
    add("_any", kSmallMma, false, nullptr);
    return forms;
  }
  // The forms of few rows do not take all sizes.
  if (!canUseFma(what))
    return {};
  auto add = [&](StringRef name, MatmulTile tile, auto isFit) {
    forms.push_back({name, isFit, [=](DeviceKernel &k) {
                       return emitFmaMatmul(k, *matchMatmul(k.kernel), tile, hasAsync);
                     }});
  };
  // Its stages are more shared memory than a block of an older chip can have (64 KiB).
  if (hasAsync)
    add("_large", kLargeFma, [=](ImplicitLocOpBuilder &h) {
      return hasEnough(DeviceBuilder{h}, kernel, what, kLargeFma);
    });
  add("", kSmallFma, nullptr);
  return forms;
}
