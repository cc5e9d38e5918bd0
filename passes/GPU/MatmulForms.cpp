//===- MatmulForms.cpp - Which form of a product, and its tiles ------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/MatmulTiles.h"

#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace ssm;

/// Large tiles reuse most, two blocks of them keep a multiprocessor busy; small ones are for
/// products with too few large ones for all multiprocessors.
static constexpr MatmulTile kLargeMma = {128, 128, 32, 4, 64, 64};
static constexpr MatmulTile kSmallMma = {64, 64, 32, 4, 32, 32};
static constexpr MatmulTile kLargeFma = {128, 128, 16, 3, 0, 0};
static constexpr MatmulTile kSmallFma = {64, 64, 16, 3, 0, 0};
struct NamedTile {
  StringLiteral suffix;
  MatmulTile tile;
};
/// Of few rows, past which weights stream from memory. So many blocks have enough bytes on the way;
/// where tiles are fewer, blocks share out the depth, each with a few of its tiles at least.
static constexpr NamedTile kFewMma[] = {{"_16_rows", {16, 64, 64, 4, 16, 16}},
                                        {"_64_rows", {64, 64, 64, 4, 32, 32}}};
static constexpr int64_t kMmaBlocks = 264, kFmaBlocks = 512, kLeastDepth = 4;
/// Of warpgroups.
static constexpr NamedTile kWarpgroupTiles[] = {
    {"_128x256", {128, 256, 64, 8, 0, 0}}, {"_256x128", {256, 128, 64, 8, 0, 0}},
    {"_256x160", {256, 160, 64, 8, 0, 0}}, {"_128x224", {128, 224, 64, 8, 0, 0}},
    {"_128x192", {128, 192, 64, 8, 0, 0}}, {"_128x128", {128, 128, 64, 8, 0, 0}},
    {"_128x64", {128, 64, 64, 8, 0, 0}},
};
/// Of the largest GPU with warpgroups.
static constexpr int64_t kMultiprocessors = 132;
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

static Value sizeOf(DeviceBuilder d, KernelOp kernel, unsigned loop) {
  return getValueOrCreateConstantIndexOp(d.b, d.b.getLoc(), kernel.getLoopSizes(d.b)[loop]);
}

static Value countTiles(DeviceBuilder d, KernelOp kernel, const Matmul &what, MatmulTile tile) {
  Value columns = sizeOf(d, kernel, what.n);
  for (unsigned loop : ArrayRef(what.columns).drop_back())
    columns = d.mul(columns, sizeOf(d, kernel, loop));
  Value count = d.ceilDiv(columns, tile.n);
  if (what.m)
    count = d.mul(count, d.ceilDiv(sizeOf(d, kernel, *what.m), tile.m));
  for (unsigned loop : what.outer)
    count = d.mul(count, sizeOf(d, kernel, loop));
  return count;
}

static KernelForm::Split splitDepth(DeviceBuilder d, KernelOp kernel, const Matmul &what,
                                    MatmulTile tile, int64_t blocks) {
  Value tiles = countTiles(d, kernel, what, tile), one = d.constant(tiles, 1), depth = one;
  for (unsigned loop : what.k)
    depth = d.mul(depth, sizeOf(d, kernel, loop));
  auto atLeastOne = [&](Value count) { return d.make<arith::MaxUIOp>(count, one); };
  Value wanted = d.div(d.constant(tiles, blocks), atLeastOne(tiles));
  Value numParts = atLeastOne(d.min(wanted, d.div(depth, kLeastDepth * tile.k)));
  Value isSplit = d.compare(arith::CmpIPredicate::ugt, numParts, 1);
  Value sums = d.mul(d.mul(tiles, numParts), tile.m * tile.n / 2);
  return {numParts, d.select(isSplit, sums, one)};
}

static Value hasEnough(DeviceBuilder d, KernelOp kernel, const Matmul &what, MatmulTile tile) {
  return d.compare(arith::CmpIPredicate::uge, countTiles(d, kernel, what, tile), kEnough);
}

/// Short lines of boxes (WgmmaEmitter's sides) are slow where they are most of what is copied.
static bool isUseful(const NamedTile &tile, ArrayRef<MatmulSide> sides) {
  return tile.tile.n % 64 == 0 || sides[1].isDenseAlongDepth || tile.tile.m > tile.tile.n;
}

/// Whether no other tile takes less time: multiprocessors have one at a time, and the last ones are
/// as slow as the rest. Sixteen steps of the depth take what products do, 2048 multiply-adds 
/// clock cycle, or copies from the second-level cache, 56 bytes; lines that lie across two of
/// the cache's cost twice. (Measured on an H100.)
static Value isFastest(DeviceBuilder d, KernelOp kernel, const Matmul &what,
                       ArrayRef<MatmulSide> sides, const NamedTile &tile) {
  auto lineCost = [&](const MatmulSide &side) {
    Value memref = kernel.getInputs()[*side.input];
    int64_t last = cast<MemRefType>(memref.getType()).getRank() - 1;
    Value size = d.b.createOrFold<memref::DimOp>(memref, last);
    return d.select(d.isEqual(d.rem(size, 64), 0), d.constant(size, 1), d.constant(size, 2));
  };
  Value left = lineCost(sides[0]), right = lineCost(sides[1]);
  auto time = [&](const MatmulTile &t) {
    Value waves = d.ceilDiv(countTiles(d, kernel, what, t), kMultiprocessors);
    Value copies = d.div(d.mul(d.add(d.mul(left, t.m), d.mul(right, t.n)), 32), 56);
    return d.mul(waves, d.make<arith::MaxUIOp>(copies, t.m * t.n / 128));
  };
  Value all = arith::ConstantIntOp::create(d.b, d.b.getI1Type(), 1), own = time(tile.tile);
  for (const NamedTile &other : kWarpgroupTiles)
    if (&other > &tile && isUseful(other, sides))
      all = d.make<arith::AndIOp>(
          all, d.compare(arith::CmpIPredicate::ule, own, time(other.tile)));
  return all;
}

static Value areAligned(DeviceBuilder d, KernelOp kernel, ArrayRef<MatmulSide> sides) {
  Value all = arith::ConstantIntOp::create(d.b, d.b.getI1Type(), 1);
  for (const MatmulSide &side : sides)
    if (side.input)
      all = d.make<arith::AndIOp>(all, hasAlignedRows(d, kernel.getInputs()[*side.input]));
  return all;
}

/// Whether tensor maps can have the sides: 31 bits are a coordinate, 40 a stride.
static Value areMappable(DeviceBuilder d, KernelOp kernel, ArrayRef<MatmulSide> sides) {
  Value all = areAligned(d, kernel, sides);
  for (const MatmulSide &side : sides) {
    Value memref = kernel.getInputs()[*side.input];
    Value stride = arith::ConstantIndexOp::create(d.b, side.type().getIntOrFloatBitWidth() / 8);
    for (int64_t axis = cast<MemRefType>(memref.getType()).getRank() - 1; axis >= 0; --axis) {
      Value size = d.b.createOrFold<memref::DimOp>(memref, axis);
      all = d.make<arith::AndIOp>(all, d.isLess(size, int64_t(1) << 31));
      if (axis == 0)
        all = d.make<arith::AndIOp>(all, d.isLess(stride, int64_t(1) << 40));
      stride = d.mul(stride, size);
    }
  }
  return all;
}

/// Of convolutions, with what a sum of theirs costs in percent: parts of warps that are not square
/// or small read more of shared memory for it. (Estimated.)
struct ConvolutionTile {
  NamedTile tile;
  int64_t cost;
};
static constexpr ConvolutionTile kConvolutionMma[] = {
    {{"_128x128", {128, 128, 32, 4, 64, 64}}, 100}, {{"_128x128_8", {128, 128, 32, 4, 64, 32}}, 112},
    {{"_64x256", {64, 256, 32, 4, 64, 64}}, 100},
    {{"_64x128", {64, 128, 32, 4, 32, 64}}, 115},   {{"_64x64", {64, 64, 32, 4, 32, 32}}, 140},
    {{"_32x128", {32, 128, 32, 4, 32, 32}}, 140},
};

/// Whether threads can copy the sides of a convolution in pieces of so many bytes.
static Value canCopy(DeviceBuilder d, KernelOp kernel, const Convolution &what,
                     ArrayRef<MatmulSide> sides, int64_t bytes) {
  Value no = arith::ConstantIntOp::create(d.b, d.b.getI1Type(), 0);
  const MatmulSide &windows = sides[1];
  // Of other types they are converted on the way.
  if (!windows.window || windows.type() != cast<MemRefType>(windows.window->source.getType()).getElementType())
    return no;
  const ReadWindow &window = *windows.window;
  Value all = arith::ConstantIntOp::create(d.b, d.b.getI1Type(), 1);
  auto require = [&](Value condition) { all = d.make<arith::AndIOp>(all, condition); };
  // Indices along such an axis have 32 bits.
  for (auto [axis, index] : llvm::enumerate(window.axes))
    if (index.bound)
      require(d.isLess(d.b.createOrFold<memref::DimOp>(window.source, axis), int64_t(1) << 30));
  if (bytes == windows.type().getIntOrFloatBitWidth() / 8)
    return all;
  unsigned last = what.product.k.back();
  auto type = cast<MemRefType>(window.source.getType());
  if (!isDenseInside(type) || window.axisOf(last) != type.getRank() - 1)
    return no;
  int64_t elements = bytes / (windows.type().getIntOrFloatBitWidth() / 8);
  require(d.isEqual(d.rem(sizeOf(d, kernel, last), elements), 0));
  require(hasAlignedRows(d, window.source));
  if (sides[0].input)
    require(hasAlignedRows(d, kernel.getInputs()[*sides[0].input]));
  return all;
}

/// Whether no other tile takes less time. Two at a time hide each other's waits; where each
/// multiprocessor has one, eight warps do.
static Value isFastest(DeviceBuilder d, KernelOp kernel, const Matmul &what,
                       const ConvolutionTile &tile) {
  auto time = [&](const ConvolutionTile &t) {
    const MatmulTile &form = t.tile.tile;
    Value tiles = countTiles(d, kernel, what, form);
    Value cost = d.constant(tiles, t.cost * form.m * form.n / 64);
    if (form.threads() < 256)
      cost = d.select(d.compare(arith::CmpIPredicate::ule, tiles, kMultiprocessors),
                      d.mul(d.div(cost, 2), 3), cost);
    return d.mul(d.ceilDiv(tiles, kMultiprocessors), cost);
  };
  Value all = arith::ConstantIntOp::create(d.b, d.b.getI1Type(), 1), own = time(tile);
  for (const ConvolutionTile &other : kConvolutionMma)
    if (&other > &tile)
      all = d.make<arith::AndIOp>(all,
                                  d.compare(arith::CmpIPredicate::ule, own, time(other)));
  return all;
}

SmallVector<KernelForm> ssm::getConvolutionForms(KernelOp kernel, const Convolution &what,
                                                 const GpuTarget &target) {
  SmallVector<KernelForm> forms;
  bool hasAsync = target.version >= 80;
  Matmul product = what.product;
  if (hasAsync && canUseTensorCores(product)) {
    auto narrow = [](Value value) { return value.getDefiningOp()->getOperand(0); };
    SmallVector<MatmulSide> sides =
        describeSides(kernel, what, narrow(product.left), narrow(product.right));
    auto add = [&](StringRef name, MatmulTile tile, bool isDirect, auto isFit) {
      forms.push_back({name, isFit, [=](DeviceKernel &k) {
                         return emitMmaConvolution(k, *matchConvolution(k.kernel), tile, isDirect);
                       }});
    };
    auto canCopyAll = [=](DeviceBuilder d) { return canCopy(d, kernel, what, sides, 16); };
    // Too few tiles for a GPU share out the depth.
    static constexpr MatmulTile few = kFewMma[1].tile;
    add("_split", few, true, [=](ImplicitLocOpBuilder &h) {
      DeviceBuilder d{h};
      Value isFew = d.isLess(countTiles(d, kernel, product, few), kEnough);
      return d.make<arith::AndIOp>(isFew, canCopyAll(d));
    });
    forms.back().split = [=](ImplicitLocOpBuilder &h) {
      return splitDepth(DeviceBuilder{h}, kernel, product, few, kMmaBlocks);
    };
    forms.back().emitSecond = [](DeviceKernel &k) {
      return emitMatmulSums(k, matchConvolution(k.kernel)->product, few, /*overlaps=*/false);
    };
    for (const ConvolutionTile &tile : kConvolutionMma)
      add(tile.tile.suffix, tile.tile.tile, true, [=, &tile](ImplicitLocOpBuilder &h) {
        DeviceBuilder d{h};
        return d.make<arith::AndIOp>(canCopyAll(d), isFastest(d, kernel, product, tile));
      });
    add("_any", kSmallMma, false, nullptr);
    return forms;
  }
  if (!canUseFma(product))
    return {};
  SmallVector<MatmulSide> sides = describeSides(kernel, what, product.left, product.right);
  auto add = [&](StringRef name, MatmulTile tile, bool isDirect, auto isFit) {
    forms.push_back({name, isFit, [=](DeviceKernel &k) {
                       return emitFmaConvolution(k, *matchConvolution(k.kernel), tile, isDirect);
                     }});
  };
  if (hasAsync) {
    auto canCopyAll = [=](DeviceBuilder d) { return canCopy(d, kernel, what, sides, 4); };
    add("_large", kLargeFma, true, [=](ImplicitLocOpBuilder &h) {
      DeviceBuilder d{h};
      return d.make<arith::AndIOp>(canCopyAll(d), hasEnough(d, kernel, product, kLargeFma));
    });
    add("_small", kSmallFma, true,
        [=](ImplicitLocOpBuilder &h) { return canCopyAll(DeviceBuilder{h}); });
  }
  add("", kSmallFma, false, nullptr);
  return forms;
}

SmallVector<KernelForm> ssm::getMatmulForms(KernelOp kernel, const GpuTarget &target) {
  SmallVector<KernelForm> forms;
  if (std::optional<Convolution> convolution = matchConvolution(kernel))
    return getConvolutionForms(kernel, *convolution, target);
  std::optional<Matmul> found = matchMatmul(kernel);
  if (!found || isShallow(kernel, *found))
    return forms;
  Matmul what = *found;
  addGemvForms(kernel, what, target.version, forms);
  bool hasAsync = target.version >= 80, overlaps = target.version >= 90;
  auto addFew = [&](StringRef name, MatmulTile tile, int64_t above, int64_t blocks, auto isFit,
                    auto emit) {
    if (!what.m)
      return;
    forms.push_back({name,
                     [=](ImplicitLocOpBuilder &h) {
                       DeviceBuilder d{h};
                       Value rows = sizeOf(d, kernel, *what.m);
                       Value isFew = d.make<arith::AndIOp>(
                           d.compare(arith::CmpIPredicate::ugt, rows, above),
                           d.compare(arith::CmpIPredicate::ule, rows, tile.m));
                       return d.make<arith::AndIOp>(isFew, isFit(d));
                     },
                     emit,
                     [=](ImplicitLocOpBuilder &h) {
                       return splitDepth(DeviceBuilder{h}, kernel, what, tile, blocks);
                     },
                     [=](DeviceKernel &k) {
                       return emitMatmulSums(k, *matchMatmul(k.kernel), tile, overlaps);
                     }});
  };
  if (hasAsync && canUseTensorCores(what)) {
    SmallVector<MatmulSide> sides = getMmaSides(kernel, what);
    auto add = [&](StringRef name, MatmulTile tile, bool isDirect, auto isFit) {
      forms.push_back({name, isFit, [=](DeviceKernel &k) {
                         return emitMmaMatmul(k, *matchMatmul(k.kernel), tile, isDirect);
                       }});
    };
    int64_t above = 0;
    for (const auto &[name, tile] : kFewMma) {
      if (sides[1].input)
        addFew(name, tile, above, kMmaBlocks,
               [=](DeviceBuilder d) { return areAligned(d, kernel, sides); },
               [=, tile = tile](DeviceKernel &k) {
                 return emitMmaMatmul(k, *matchMatmul(k.kernel), tile, /*isDirect=*/true,
                                      overlaps);
               });
      above = tile.m;
    }
    if (target.hasWgmma() && canUseWgmma(kernel, what, sides)) {
      for (const NamedTile &tile : kWarpgroupTiles)
        if (isUseful(tile, sides))
          forms.push_back({tile.suffix,
                         [=, &tile](ImplicitLocOpBuilder &h) {
                           DeviceBuilder d{h};
                           return d.make<arith::AndIOp>(areMappable(d, kernel, sides),
                                                        isFastest(d, kernel, what, sides, tile));
                         },
                         [&tile](DeviceKernel &k) {
                           return emitWgmmaMatmul(k, *matchMatmul(k.kernel), tile.tile);
                         }});
    } else if (sides[0].input || sides[1].input) {
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
  addFew("_64_rows", kSmallFma, /*above=*/0, kFmaBlocks,
         [](DeviceBuilder d) { return arith::ConstantIntOp::create(d.b, d.b.getI1Type(), 1); },
         [=](DeviceKernel &k) {
           return emitFmaMatmul(k, *matchMatmul(k.kernel), kSmallFma, hasAsync, overlaps);
         });
  // Its stages are more shared memory than a block of an older chip can have (64 KiB).
  if (hasAsync)
    add("_large", kLargeFma, [=](ImplicitLocOpBuilder &h) {
      return hasEnough(DeviceBuilder{h}, kernel, what, kLargeFma);
    });
  add("", kSmallFma, nullptr);
  return forms;
}
