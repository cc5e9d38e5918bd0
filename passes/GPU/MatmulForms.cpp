//===- MatmulForms.cpp - Which form of a product, and its tiles ------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceModule.h"
#include "passes/GPU/MatmulTiles.h"

#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace ssm;

/// Large tiles reuse most, two blocks of them keep a multiprocessor busy; small ones are for
/// products with too few large ones for all multiprocessors.
/// Depths of tiles are those of 16-bit numbers.
static constexpr MatmulTile kLargeMma = {128, 128, 32, 4, 64, 64};
/// Of factors in two parts, which take more registers.
static constexpr MatmulTile kLargeSplitMma = {128, 128, 32, 4, 64, 32};
static constexpr MatmulTile kSmallMma = {64, 64, 32, 4, 32, 32};
static constexpr MatmulTile kLargeFma = {128, 128, 16, 3, 0, 0};
static constexpr MatmulTile kSmallFma = {64, 64, 16, 3, 0, 0};
struct NamedTile {
  StringLiteral suffix;
  MatmulTile tile;
};
/// Of few rows, past which weights stream from memory. So many blocks have enough bytes on the way;
/// where tiles are fewer, blocks share out the depth, each with a few of its tiles at least.
static constexpr NamedTile kFewMma[] = {{"_16_rows", {16, 64, 64, 8, 16, 16}},
                                        {"_64_rows", {64, 64, 64, 6, 32, 32}}};
/// By warpgroups; two blocks have room on a multiprocessor (those that have not were slower).
static constexpr NamedTile kStreamTiles[] = {{"_16_rows", {16, 64, 64, 8, 0, 0}},
                                             {"_16_rows_wide", {16, 128, 64, 6, 0, 0}},
                                             {"_32_rows", {32, 64, 64, 8, 0, 0}},
                                             {"_64_rows", {64, 64, 64, 6, 0, 0}},
                                             {"_128_rows", {128, 64, 64, 4, 0, 0}}};
/// Past which tiles of so many rows are for the next form, as the second-level cache is what is slow.
static constexpr int64_t kManyRows = 128, kFewTiles = 16;
/// Of more rows, a few tiles of such a depth are faster than without clusters.
static constexpr int64_t kFewLongTiles = 12, kLong = 4096;
/// Groups that clusters lie within, and multiprocessors of one at least.
static constexpr int64_t kGroups = 8, kOfGroup = 16;
static constexpr int64_t kMmaBlocks = 264, kFmaBlocks = 512, kLeastDepth = 4, kLeastStream = 256;
/// Of warpgroups.
static constexpr NamedTile kWarpgroupTiles[] = {
    {"_128x256", {128, 256, 64, 8, 0, 0}}, {"_256x128", {256, 128, 64, 8, 0, 0}},
    {"_256x160", {256, 160, 64, 8, 0, 0}}, {"_128x224", {128, 224, 64, 8, 0, 0}},
    {"_128x192", {128, 192, 64, 8, 0, 0}}, {"_128x128", {128, 128, 64, 8, 0, 0}},
    {"_128x64", {128, 64, 64, 8, 0, 0}},
};
/// Whose sums are in registers twice.
static constexpr NamedTile kFloat8Tiles[] = {
    {"_256x128", {256, 128, 64, 8, 0, 0}},
    {"_128x192", {128, 192, 64, 8, 0, 0}},
    {"_128x128", {128, 128, 64, 8, 0, 0}},
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

static Value countDepth(DeviceBuilder d, KernelOp kernel, const Matmul &what) {
  Value depth = sizeOf(d, kernel, what.k.front());
  for (unsigned loop : ArrayRef(what.k).drop_front())
    depth = d.mul(depth, sizeOf(d, kernel, loop));
  return depth;
}

static KernelForm::Split splitDepth(DeviceBuilder d, KernelOp kernel, const Matmul &what,
                                    MatmulTile tile, int64_t blocks) {
  Value tiles = countTiles(d, kernel, what, tile), one = d.constant(tiles, 1);
  Value depth = countDepth(d, kernel, what);
  auto atLeastOne = [&](Value count) { return d.make<arith::MaxUIOp>(count, one); };
  Value wanted = d.div(d.constant(tiles, blocks), atLeastOne(tiles));
  Value numParts = atLeastOne(d.min(wanted, d.div(depth, kLeastDepth * tile.k)));
  Value isSplit = d.compare(arith::CmpIPredicate::ugt, numParts, 1);
  Value sums = d.mul(d.mul(tiles, numParts), tile.m * tile.n / 2);
  return {numParts, d.select(isSplit, sums, one)};
}

/// Blocks of a cluster: as many as let all clusters run at once.
static Value countStreamParts(DeviceBuilder d, KernelOp kernel, const Matmul &what,
                              MatmulTile tile) {
  Value tiles = countTiles(d, kernel, what, tile), one = d.constant(tiles, 1);
  auto atLeastOne = [&](Value count) { return d.make<arith::MaxUIOp>(count, one); };
  Value parts = d.div(d.constant(tiles, kOfGroup), atLeastOne(d.ceilDiv(tiles, kGroups)));
  Value most = d.min(d.div(countDepth(d, kernel, what), kLeastStream), kMaxCluster);
  return atLeastOne(d.min(parts, most));
}

/// What a multiprocessor reads, which is what takes time.
static Value streamCost(DeviceBuilder d, KernelOp kernel, const Matmul &what, MatmulTile tile) {
  Value parts = countStreamParts(d, kernel, what, tile);
  Value blocks = d.mul(countTiles(d, kernel, what, tile), parts);
  Value steps = d.ceilDiv(countDepth(d, kernel, what), tile.k);
  steps = d.div(d.add(steps, d.sub(parts, 1)), parts);
  return d.mul(d.mul(d.ceilDiv(blocks, kMultiprocessors), steps), tile.m + tile.n);
}

/// More rows than `above`, and up to `most`.
static Value isFew(DeviceBuilder d, KernelOp kernel, const Matmul &what, int64_t above,
                   int64_t most) {
  Value rows = sizeOf(d, kernel, *what.m);
  return d.make<arith::AndIOp>(d.compare(arith::CmpIPredicate::ugt, rows, above),
                               d.compare(arith::CmpIPredicate::ule, rows, most));
}

static Value hasEnough(DeviceBuilder d, KernelOp kernel, const Matmul &what, MatmulTile tile) {
  return d.compare(arith::CmpIPredicate::uge, countTiles(d, kernel, what, tile), kEnough);
}

/// Short lines of boxes (WgmmaEmitter's sides) are slow where they are most of what is copied.
static bool isUseful(const NamedTile &tile, ArrayRef<MatmulSide> sides) {
  return tile.tile.n % 64 == 0 || sides[1].isDenseAlongDepth || tile.tile.m > tile.tile.n;
}

/// Whether no other tile takes less time: multiprocessors have one at a time, and the last ones are
/// as slow as the rest. 32 bytes of the depth take what products do, 2048 multiply-adds of 16 bits
/// clock cycle, or copies from the second-level cache, 56 bytes; lines that lie across two of
/// the cache's cost twice. (Measured on an H100.)
static Value isFastest(DeviceBuilder d, KernelOp kernel, const Matmul &what,
                       ArrayRef<MatmulSide> sides, ArrayRef<NamedTile> tiles,
                       const NamedTile &tile) {
  auto lineCost = [&](const MatmulSide &side) {
    Value memref = kernel.getInputs()[*side.input];
    int64_t last = cast<MemRefType>(memref.getType()).getRank() - 1;
    Value size = d.b.createOrFold<memref::DimOp>(memref, last);
    int64_t perLine = 128 * 8 / side.type().getIntOrFloatBitWidth();
    return d.select(d.isEqual(d.rem(size, perLine), 0), d.constant(size, 1), d.constant(size, 2));
  };
  Value left = lineCost(sides[0]), right = lineCost(sides[1]);
  auto time = [&](const MatmulTile &t) {
    Value waves = d.ceilDiv(countTiles(d, kernel, what, t), kMultiprocessors);
    Value copies = d.div(d.mul(d.add(d.mul(left, t.m), d.mul(right, t.n)), 32), 56);
    return d.mul(waves, d.make<arith::MaxUIOp>(copies, t.m * t.n / 128));
  };
  Value all = arith::ConstantIntOp::create(d.b, d.b.getI1Type(), 1), own = time(tile.tile);
  for (const NamedTile &other : tiles)
    if (&other > &tile && isUseful(other, sides))
      all = d.make<arith::AndIOp>(all, d.compare(arith::CmpIPredicate::ule, own, time(other.tile)));
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
    int64_t bytes = side.type().getIntOrFloatBitWidth() / 8;
    for (auto [axis, stride] : llvm::enumerate(layoutOf(d, memref).strides)) {
      Value size = d.b.createOrFold<memref::DimOp>(memref, axis);
      all = d.make<arith::AndIOp>(all, d.isLess(size, int64_t(1) << 31));
      all = d.make<arith::AndIOp>(all, d.isLess(d.mul(stride, bytes), int64_t(1) << 40));
    }
  }
  return all;
}

static MatmulTile ofBytes(MatmulTile tile, int64_t bytes) {
  tile.k = tile.k * 2 / bytes;
  return tile;
}

namespace {
/// The forms of one product, in the order in which they are tried.
class MatmulForms {
public:
  MatmulForms(KernelOp kernel, const Matmul &what, const GpuTarget &target)
      : kernel(kernel), what(what), target(target) {
    addGemvForms(kernel, what, target.version, forms);
  }

  void addMma(MmaKind kind);
  void addFma();

  SmallVector<KernelForm> forms;

private:
  bool hasAsync() const { return target.version >= 80; }
  bool overlaps() const { return target.version >= 90; }

  using IsFit = std::function<Value(DeviceBuilder)>;
  using Emit = std::function<LaunchShape(DeviceKernel &)>;
  void add(StringRef name, const IsFit &isFit, const Emit &emit);
  /// Of more rows than `above`, up to a tile's: blocks share out the depth.
  void addFew(StringRef name, MatmulTile tile, int64_t above, int64_t blocks, const IsFit &isFit,
              const Emit &emit);
  /// The same by warpgroups.
  void addStream(ArrayRef<MatmulSide> sides);
  void addMma(StringRef name, MatmulTile tile, MmaKind kind, bool isDirect, const IsFit &isFit);
  void addFma(StringRef name, MatmulTile tile, const IsFit &isFit);

  KernelOp kernel;
  Matmul what;
  GpuTarget target;
};
} // namespace

void MatmulForms::add(StringRef name, const IsFit &isFit, const Emit &emit) {
  KernelForm form = {name, nullptr, emit};
  if (isFit)
    form.isFit = [=](ImplicitLocOpBuilder &h) { return isFit(DeviceBuilder{h}); };
  forms.push_back(form);
}

void MatmulForms::addFew(StringRef name, MatmulTile tile, int64_t above, int64_t blocks,
                         const IsFit &isFit, const Emit &emit) {
  if (!what.m)
    return;
  KernelOp kernel = this->kernel;
  Matmul what = this->what;
  bool overlaps = this->overlaps();
  add(
      name,
      [=](DeviceBuilder d) {
        Value isFew = ::isFew(d, kernel, what, above, tile.m);
        return isFit ? d.make<arith::AndIOp>(isFew, isFit(d)) : isFew;
      },
      emit);
  forms.back().split = [=](ImplicitLocOpBuilder &h) {
    return splitDepth(DeviceBuilder{h}, kernel, what, tile, blocks);
  };
  forms.back().emitSecond = [=](DeviceKernel &k) {
    return emitMatmulSums(k, *matchMatmul(k.kernel), tile, overlaps);
  };
}

void MatmulForms::addStream(ArrayRef<MatmulSide> sides) {
  KernelOp kernel = this->kernel;
  Matmul what = this->what;
  SmallVector<MatmulSide> both(sides);
  auto isUpTo = [](DeviceBuilder d, Value size, int64_t most) {
    return d.compare(arith::CmpIPredicate::ule, size, most);
  };
  int64_t above = 0;
  for (auto [i, each] : llvm::enumerate(kStreamTiles)) {
    MatmulTile tile = each.tile;
    // The same rows, other columns.
    std::optional<MatmulTile> other;
    if (i + 1 < std::size(kStreamTiles) && kStreamTiles[i + 1].tile.m == tile.m)
      other = kStreamTiles[i + 1].tile;
    add(
        each.suffix,
        [=](DeviceBuilder d) {
          Value fits = areMappable(d, kernel, both);
          auto require = [&](Value condition) { fits = d.make<arith::AndIOp>(fits, condition); };
          // Without depth there are no sums to pass on.
          require(d.compare(arith::CmpIPredicate::uge, countDepth(d, kernel, what), 1));
          Value isFew = ::isFew(d, kernel, what, above, tile.m);
          if (tile.m == kManyRows) {
            Value tiles = countTiles(d, kernel, what, tile);
            Value isLong = d.make<arith::AndIOp>(
                d.compare(arith::CmpIPredicate::ugt, sizeOf(d, kernel, *what.m), tile.m),
                d.compare(arith::CmpIPredicate::uge, countDepth(d, kernel, what), kLong));
            isLong = d.make<arith::AndIOp>(isLong, isUpTo(d, tiles, kFewLongTiles));
            require(d.select(isFew, isUpTo(d, tiles, kFewTiles), isLong));
            return fits;
          }
          require(isFew);
          if (other)
            require(d.compare(arith::CmpIPredicate::ule, streamCost(d, kernel, what, tile),
                              streamCost(d, kernel, what, *other)));
          return fits;
        },
        [=](DeviceKernel &k) { return emitStreamMatmul(k, *matchMatmul(k.kernel), tile); });
    forms.back().split = [=](ImplicitLocOpBuilder &h) -> KernelForm::Split {
      return {countStreamParts(DeviceBuilder{h}, kernel, what, tile)};
    };
    if (!other)
      above = tile.m;
  }
}

void MatmulForms::addMma(StringRef name, MatmulTile tile, MmaKind kind, bool isDirect,
                         const IsFit &isFit) {
  add(name, isFit, [=](DeviceKernel &k) {
    return emitMmaMatmul(k, *matchMatmul(k.kernel), tile, kind, isDirect);
  });
}

void MatmulForms::addMma(MmaKind kind) {
  KernelOp kernel = this->kernel;
  Matmul what = this->what;
  bool overlaps = this->overlaps();
  SmallVector<MatmulSide> sides = getMmaSides(kernel, what, kind);
  int64_t bytes = sides[0].type().getIntOrFloatBitWidth() / 8;
  auto areAligned = [=](DeviceBuilder d) { return ::areAligned(d, kernel, sides); };
  bool isFloat8 = kind == MmaKind::Float8;
  int64_t above = 0;
  bool streams = target.hasWgmma() && canStream(kernel, what, kind, sides);
  if (streams)
    addStream(sides);
  for (const auto &[name, wide] : kFewMma) {
    MatmulTile tile = ofBytes(wide, bytes);
    if (sides[1].input && !isFloat8 && !streams)
      addFew(name, tile, above, kMmaBlocks, areAligned, [=](DeviceKernel &k) {
        return emitMmaMatmul(k, *matchMatmul(k.kernel), tile, kind, /*isDirect=*/true, overlaps);
      });
    above = tile.m;
  }
  MatmulTile large = ofBytes(kind == MmaKind::TF32x3 ? kLargeSplitMma : kLargeMma, bytes),
             small = ofBytes(kSmallMma, bytes);
  if (target.hasWgmma() && kind != MmaKind::TF32x3 && canUseWgmma(kernel, what, sides)) {
    ArrayRef<NamedTile> tiles = isFloat8 ? ArrayRef(kFloat8Tiles) : ArrayRef(kWarpgroupTiles);
    for (const NamedTile &tile : tiles)
      if (isUseful(tile, sides))
        add(
            tile.suffix,
            [=, &tile](DeviceBuilder d) {
              return d.make<arith::AndIOp>(areMappable(d, kernel, sides),
                                           isFastest(d, kernel, what, sides, tiles, tile));
            },
            [=, &tile](DeviceKernel &k) {
              return emitWgmmaMatmul(k, *matchMatmul(k.kernel), ofBytes(tile.tile, bytes), kind);
            });
  } else if (!isFloat8 && (sides[0].input || sides[1].input)) {
    addMma("_large", large, kind, /*isDirect=*/true, [=](DeviceBuilder d) {
      return d.make<arith::AndIOp>(areAligned(d), hasEnough(d, kernel, what, large));
    });
    addMma("", small, kind, /*isDirect=*/true, areAligned);
  }
  // By mma.sync 8-bit floats are f16.
  addMma("_any", isFloat8 ? kSmallMma : small, isFloat8 ? MmaKind::Half : kind,
         /*isDirect=*/false, nullptr);
}

void MatmulForms::addFma(StringRef name, MatmulTile tile, const IsFit &isFit) {
  bool hasAsync = this->hasAsync();
  add(name, isFit,
      [=](DeviceKernel &k) { return emitFmaMatmul(k, *matchMatmul(k.kernel), tile, hasAsync); });
}

void MatmulForms::addFma() {
  KernelOp kernel = this->kernel;
  Matmul what = this->what;
  bool hasAsync = this->hasAsync(), overlaps = this->overlaps();
  addFew("_64_rows", kSmallFma, /*above=*/0, kFmaBlocks, nullptr, [=](DeviceKernel &k) {
    return emitFmaMatmul(k, *matchMatmul(k.kernel), kSmallFma, hasAsync, overlaps);
  });
  // Its stages are more shared memory than a block of an older chip can have (64 KiB).
  if (hasAsync)
    addFma("_large", kLargeFma,
           [=](DeviceBuilder d) { return hasEnough(d, kernel, what, kLargeFma); });
  addFma("", kSmallFma, nullptr);
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
  if (hasAsync && getMmaKind(product, F32Products::IEEE) == MmaKind::Half) {
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

SmallVector<KernelForm> ssm::getMatmulForms(KernelOp kernel, const GpuTarget &target,
                                            F32Products precision) {
  if (std::optional<Convolution> convolution = matchConvolution(kernel))
    return getConvolutionForms(kernel, *convolution, target);
  std::optional<Matmul> what = matchMatmul(kernel);
  if (!what || isShallow(kernel, *what))
    return {};
  MatmulForms all(kernel, *what, target);
  std::optional<MmaKind> kind = getMmaKind(*what, precision);
  if (target.version >= 80 && kind)
    all.addMma(*kind);
  else if (canUseFma(*what))
    all.addFma();
  else
    return {}; // those of few rows do not take all sizes
  return std::move(all.forms);
}
