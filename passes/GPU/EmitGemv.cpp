//===- EmitGemv.cpp - Products of few rows, at the speed of memory --------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each element of the right side is used a few times only: it goes from global memory to
// registers, 16 bytes a thread, all of a burst asked for before the first is used. The warps
// of a block share out the depth of a few columns; their sums meet in shared memory.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceModule.h"
#include "passes/GPU/MatmulTiles.h"
#include "passes/GPU/TeamReduce.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

namespace {

constexpr int64_t kMaxRows = 8, kAccessBytes = 16;
/// Warps of a block. Long sums for few columns, which so few blocks have, have more.
constexpr int64_t kWarps = 8, kManyWarps = 16, kFewBlocks = 66;
/// The same where the depth is known, the first of those whose bursts ask for least beyond it.
constexpr int64_t kSomeWarps[] = {kWarps, 10, 12, 4};
/// Lanes of a warp that lie along the line of memory (64 bytes), and lines of a warp.
constexpr int64_t kAlong = 4, kLines = 8;
/// Lines along the depth: lines of a thread, and chunks of each in a burst, of eight warps and of
/// more. (An H100's memory is fastest where a warp's lie together, and slower with more blocks.)
constexpr int64_t kPerThread = 2, kBurst = 4, kNarrowBurst = 6;
/// The same where several rows are multiplied without tensor cores: an element of theirs that was
/// read is for more lines, and is many.
constexpr int64_t kRowsAlong = 8, kRowsLines = 4, kRowsPerThread = 4, kRowsBurst = 1;
static_assert(kRowsLines * kRowsPerThread == kLines * kPerThread);
// A thread for each element of a tile.
static_assert(4 * kWarp >= kMaxRows * kLines * kPerThread);
/// What all blocks together ask for while they wait, behind their first burst. More would be in the
/// way of the kernels that they wait for.
constexpr int64_t kAheadBytes = 8 << 20;

/// Elements of the right side in one access.
int64_t lanesOf(const MatmulSide &right) {
  return kAccessBytes * 8 / right.type().getIntOrFloatBitWidth();
}

class GemvEmitter : public TileEmitter {
public:
  GemvEmitter(DeviceKernel &kernel, const Matmul &what, MatmulSide left, MatmulSide right,
              int64_t rows, int64_t warps, bool isMma, bool overlaps)
      : TileEmitter(kernel, what, left, right, tileFor(right, rows), warps * kWarp), warps(warps),
        isMma(isMma), overlaps(overlaps), lanes(lanesOf(right)) {
    if (right.isDenseAlongDepth && !isMma && rows > 1) {
      lanesAlong = kRowsAlong;
      linesOfWarp = kRowsLines;
      perThread = kRowsPerThread;
      burst = kRowsBurst;
    }
    if (warps == kManyWarps)
      burst = kNarrowBurst;
  }

  LaunchShape emit();

private:
  static MatmulTile tileFor(const MatmulSide &right, int64_t rows) {
    int64_t n = right.isDenseAlongDepth ? kLines * kPerThread : kAlong * lanesOf(right);
    return {rows, n, 0, 0, 0, 0};
  }
  /// Where the thread's chunks of a burst begin along the depth, all of which exist or do not.
  struct Place {
    Value k, exists;
  };
  Place placeOf(Value base, int64_t chunk);
  /// Loads of a burst: of each chunk those of the right side, or of all rows of the left one.
  Values weights(Value base);
  /// Elements of the left side's row, as many as the right side's of one access.
  Value row(const Place &place, Value m);
  Values rowsOf(Value base);
  /// Zeros of chunks that do not exist; waits for both sides.
  void mask(Value base, Values &weights, Values &rows);
  void prefetch(Value step, int64_t stepDepth);
  Values multiply(ValueRange weights, ValueRange rows, ValueRange sums);
  void multiplyMma(Value first, Value second, Value row, MutableArrayRef<Value> sums);
  Value multiplyAdd(Value x, Value y, Value sum);
  Value widened(Value vector);
  void shareOut(ValueRange sums);
  void finishRows();
  int64_t chunks() const { return right.isDenseAlongDepth ? burst : 1; }
  int64_t chunkDepth() const {
    return (right.isDenseAlongDepth ? lanesAlong : linesOfWarp) * lanes;
  }
  /// Sums along the depth are of one number for each row where there are several.
  bool hasScalarSums() const { return right.isDenseAlongDepth && !isMma && tile.m > 1; }

  /// Sums of a thread that go to shared memory, and threads of a warp that have some.
  int64_t slots() const {
    return isMma ? 4 : tile.m * (right.isDenseAlongDepth ? perThread : lanes);
  }
  int64_t places() const {
    return isMma ? kWarp : right.isDenseAlongDepth ? linesOfWarp : lanesAlong;
  }

  int64_t warps;
  bool isMma, overlaps;
  int64_t lanes;
  int64_t lanesAlong = kAlong, linesOfWarp = kLines, perThread = kPerThread, burst = kBurst;
  Value lane, warp, line, along, first, parts;
  /// The right side's lines at depth 0.
  Values lines;
};

} // namespace

GemvEmitter::Place GemvEmitter::placeOf(Value base, int64_t chunk) {
  Value k = d.add(d.add(base, first), chunk * chunkDepth());
  Value exists = d.isLess(k, depth);
  return {d.select(exists, k, d.sub(depth, lanes)), exists};
}

void GemvEmitter::mask(Value base, Values &weights, Values &rows) {
  Values both(weights);
  llvm::append_range(both, rows);
  Value isThere = areLoaded(b, both);
  for (int64_t chunk = 0; chunk < chunks(); ++chunk) {
    Value exists = d.make<arith::AndIOp>(isThere, placeOf(base, chunk).exists);
    for (Values *side : {&weights, &rows}) {
      size_t count = side->size() / chunks();
      for (Value &vector : MutableArrayRef(*side).slice(chunk * count, count))
        vector = d.select(exists, vector,
                          arith::ConstantOp::create(b, b.getZeroAttr(vector.getType())));
    }
  }
}

SmallVector<Value> GemvEmitter::weights(Value base) {
  auto type = VectorType::get({lanes}, right.type());
  int64_t bytes = right.type().getIntOrFloatBitWidth() / 8;
  Values loaded;
  for (int64_t chunk = 0; chunk < chunks(); ++chunk) {
    Place place = placeOf(base, chunk);
    Value k = d.toWide(place.k);
    if (right.isDenseAlongDepth) {
      for (Value line : lines)
        loaded.push_back(d.load(type, d.after(line, d.mul(k, bytes)), kAccessBytes));
      continue;
    }
    Value perDepth = stride(right, what.k.front());
    Value at = d.after(lines.front(), d.mul(k, perDepth));
    for (int64_t i = 0; i < lanes; ++i)
      loaded.push_back(d.load(type, d.after(at, d.mul(perDepth, i)), kAccessBytes));
  }
  return loaded;
}

/// Bursts behind the first come to the second-level cache, a line of the weights by one thread.
void GemvEmitter::prefetch(Value step, int64_t stepDepth) {
  if (!right.isDenseAlongDepth)
    return;
  int64_t size = right.type().getIntOrFloatBitWidth() / 8;
  Value blocks = d.toInt(gpu::GridDimOp::create(b, gpu::Dimension::x));
  Value bursts = d.div(d.constant(kAheadBytes / (tile.n * stepDepth * size)), blocks);
  Value end = d.min(d.mul(d.toIndex(d.add(bursts, 1)), stepDepth), depth);
  Value isOne = d.make<arith::AndIOp>(d.isLess(thread, tile.n), d.isLess(step, end));
  d.branch(isOne, [&] {
    Value line = d.min(d.add(n0, d.toIndex(thread)), d.sub(width, 1));
    NVVM::CpAsyncBulkPrefetchOp::create(b, address(right, line, step),
                                        d.toInt(d.mul(d.sub(end, step), size)), Value());
  });
}

Value GemvEmitter::row(const Place &place, Value m) {
  PointEmitter::Scope scope(e);
  if (what.m)
    e.at[*what.m] = d.min(d.add(m0, m), d.sub(height, 1));
  e.at[what.k.front()] = place.k;
  e.laneLoop = what.k.front();
  e.lanes = lanes;
  Value loaded = e.getVector(left.value);
  e.laneLoop = std::nullopt;
  e.lanes = 1;
  return loaded;
}

/// For tensor cores each thread has one row.
SmallVector<Value> GemvEmitter::rowsOf(Value base) {
  Values all;
  for (int64_t chunk = 0; chunk < chunks(); ++chunk) {
    Place place = placeOf(base, chunk);
    if (isMma) {
      all.push_back(row(place, d.toIndex(line)));
      continue;
    }
    for (int64_t m = 0; m < tile.m; ++m)
      all.push_back(row(place, e.index(m)));
  }
  return all;
}

Value GemvEmitter::widened(Value vector) {
  auto type = cast<VectorType>(vector.getType());
  Type sum = what.sum.getType();
  if (type.getElementType() == sum)
    return vector;
  return arith::ExtFOp::create(b, type.clone(sum), vector);
}

Value GemvEmitter::multiplyAdd(Value x, Value y, Value sum) {
  if (!isa<FloatType>(getElementTypeOrSelf(sum.getType())))
    return arith::AddIOp::create(b, sum, arith::MulIOp::create(b, x, y));
  auto contract = arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::contract);
  return arith::AddFOp::create(b, sum, arith::MulFOp::create(b, x, y, contract), contract);
}

/// Lines of the right side are rows of the fragment, rows of the left one its columns. Which
/// place of the depth is which does not matter as long as it is the same for both.
void GemvEmitter::multiplyMma(Value first, Value second, Value row, MutableArrayRef<Value> sums) {
  auto words = [&](Value vector) {
    auto type = cast<VectorType>(vector.getType());
    bool isHalf = type.getElementType().isF16();
    Values result;
    auto four = LLVM::BitcastOp::create(b, VectorType::get({4}, b.getI32Type()), vector);
    for (int64_t i = 0; i < 4; ++i) {
      Value word = vector::ExtractOp::create(b, four, i);
      // f16 comes in pairs, bf16 in words.
      if (isHalf)
        word = LLVM::BitcastOp::create(b, VectorType::get({2}, b.getF16Type()), word);
      result.push_back(word);
    }
    return result;
  };
  Values x = words(first), y = words(second), z = words(row);
  Type f32 = b.getF32Type();
  auto sumsType = LLVM::LLVMStructType::getLiteral(b.getContext(), {f32, f32, f32, f32});
  auto ptxType = right.type().isF16() ? NVVM::MMATypes::f16 : NVVM::MMATypes::bf16;
  for (int64_t i = 0; i < 4; i += 2) {
    Value all = NVVM::MmaOp::create(b, sumsType, ValueRange{x[i], y[i], x[i + 1], y[i + 1]},
                                    ValueRange{z[i], z[i + 1]}, sums, {16, 8, 16}, std::nullopt,
                                    std::nullopt, std::array{ptxType, ptxType},
                                    std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
    for (int64_t part = 0; part < 4; ++part)
      sums[part] = LLVM::ExtractValueOp::create(b, all, part);
  }
}

SmallVector<Value> GemvEmitter::multiply(ValueRange weights, ValueRange rows, ValueRange now) {
  Values sums(now);
  if (isMma) {
    for (int64_t chunk = 0; chunk < chunks(); ++chunk)
      // Two sums, so that one need not wait for the other.
      multiplyMma(weights[2 * chunk], weights[2 * chunk + 1], rows[chunk],
                  MutableArrayRef(sums).slice(chunk % 2 * 4, 4));
    return sums;
  }
  if (right.isDenseAlongDepth) {
    for (int64_t chunk = 0; chunk < chunks(); ++chunk)
      for (int64_t i = 0; i < perThread; ++i) {
        Value weight = widened(weights[chunk * perThread + i]);
        for (int64_t m = 0; m < tile.m; ++m) {
          Value &sum = sums[i * tile.m + m], row = widened(rows[chunk * tile.m + m]);
          if (!hasScalarSums()) {
            sum = multiplyAdd(row, weight, sum);
            continue;
          }
          for (int64_t lane = 0; lane < lanes; ++lane)
            sum = multiplyAdd(vector::ExtractOp::create(b, row, lane),
                              vector::ExtractOp::create(b, weight, lane), sum);
        }
      }
    return sums;
  }
  for (int64_t i = 0; i < lanes; ++i) {
    Value weight = widened(weights[i]);
    for (int64_t m = 0; m < tile.m; ++m) {
      Value x = vector::ExtractOp::create(b, widened(rows[m]), i);
      Value spread = vector::BroadcastOp::create(b, weight.getType(), x);
      sums[m] = multiplyAdd(spread, weight, sums[m]);
    }
  }
  return sums;
}

/// A line of shared memory for each sum of a thread.
void GemvEmitter::shareOut(ValueRange sums) {
  auto store = [&](ValueRange all, Value at) {
    for (auto [slot, sum] : llvm::enumerate(all))
      memref::StoreOp::create(b, sum, parts, ValueRange{e.index(slot), d.toIndex(at)});
  };
  auto kind = what.sum.getKind();
  if (isMma) {
    Values all;
    for (int64_t i = 0; i < 4; ++i)
      all.push_back(e.combine(kind, sums[i], sums[4 + i]));
    return store(all, thread);
  }
  // Threads that stand for others: one of each line, or one of each place along it.
  auto over = [&](Value sum, int64_t low, int64_t high) {
    for (int64_t distance = high / 2; distance >= low; distance /= 2)
      sum = e.combine(kind, sum, shuffleXor(b, sum, distance));
    return sum;
  };
  bool isDeep = right.isDenseAlongDepth;
  Values all;
  for (Value sum : sums) {
    if (isDeep)
      all.push_back(over(hasScalarSums() ? sum : e.reduceLanes(kind, sum), 1, lanesAlong));
    for (int64_t i = 0; !isDeep && i < lanes; ++i)
      all.push_back(over(vector::ExtractOp::create(b, sum, i), lanesAlong, kWarp));
  }
  d.branch(d.isEqual(isDeep ? along : line, 0),
           [&] { store(all, d.add(d.mul(warp, places()), isDeep ? line : along)); });
}

/// A thread for each element of the out.
void GemvEmitter::finishRows() {
  Value row = d.div(thread, tile.n), column = d.rem(thread, tile.n);
  Value m = d.add(m0, d.toIndex(row)), n = d.add(n0, d.toIndex(column));
  Value isInside = d.make<arith::AndIOp>(d.isLess(row, tile.m), d.isLess(m, height));
  isInside = d.make<arith::AndIOp>(isInside, d.isLess(n, width));
  d.branch(isInside, [&] {
    PointEmitter::Scope scope(e);
    if (what.m)
      e.at[*what.m] = m;
    e.at[what.n] = n;
    Value slot, place;
    if (isMma) {
      slot = d.add(d.mul(d.div(column, kLines), 2), d.rem(row, 2));
      place = d.add(d.mul(d.rem(column, kLines), kAlong), d.rem(d.div(row, 2), kAlong));
    } else if (right.isDenseAlongDepth) {
      slot = d.add(d.mul(d.div(column, linesOfWarp), tile.m), row);
      place = d.rem(column, linesOfWarp);
    } else {
      slot = d.add(d.mul(row, lanes), d.rem(column, lanes));
      place = d.div(column, lanes);
    }
    // As the check of shared memory can tell.
    slot = d.rem(slot, slots());
    Value sum;
    for (int64_t i = 0; i < warps; ++i) {
      Value at = d.add(place, i * places());
      Value part =
          memref::LoadOp::create(b, parts, ValueRange{d.toIndex(slot), d.toIndex(at)});
      sum = i == 0 ? part : e.combine(what.sum.getKind(), sum, part);
    }
    e.provide(what.sum, sum);
    Values results = llvm::map_to_vector(kernel.getYield().getValues(),
                                         [&](Value value) { return e.get(value); });
    for (auto [out, value] : llvm::enumerate(results))
      e.storeOut(out, value);
  });
}

LaunchShape GemvEmitter::emit() {
  LaunchShape shape = launch();
  bool isEarly = overlaps && canReadEarly(k, kernel.getInputs()[*right.input], shape);
  if (overlaps && !isEarly)
    waitForOthers(k, shape);
  prepare();
  place(d.block(), kRaster);
  parts = k.addShared({slots(), warps * places()}, what.sum.getType());
  lane = d.rem(thread, kWarp);
  warp = d.div(thread, kWarp);
  line = d.div(lane, lanesAlong);
  along = d.rem(lane, lanesAlong);
  first = d.toIndex(d.add(d.mul(warp, chunks() * chunkDepth()),
                          d.mul(right.isDenseAlongDepth ? along : line, lanes)));
  Value zero = e.index(0), last = d.sub(width, 1);
  if (right.isDenseAlongDepth) {
    for (int64_t i = 0; i < perThread; ++i)
      lines.push_back(address(
          right, d.min(d.add(n0, d.toIndex(d.add(line, i * linesOfWarp))), last), zero));
  } else {
    Value column = d.add(n0, d.toIndex(d.mul(along, lanes)));
    lines.push_back(address(right, d.min(column, d.sub(width, lanes)), zero));
  }

  Type sum = what.sum.getType();
  auto wide = VectorType::get({lanes}, sum);
  bool isScalar = isMma || hasScalarSums();
  Value noSum = arith::ConstantOp::create(b, b.getZeroAttr(isScalar ? sum : Type(wide)));
  Values sums(isMma ? 8 : tile.m * (right.isDenseAlongDepth ? perThread : 1), noSum);
  // Left to itself, ptxas has registers for one block.
  if (hasScalarSums())
    k.function->setAttr("nvvm.minctasm", b.getI32IntegerAttr(2));
  int64_t stepDepth = chunks() * warps * chunkDepth();
  Value step = e.index(stepDepth);
  Values ahead = weights(zero);
  if (isEarly) {
    prefetch(step, stepDepth);
    waitForOthers(k, shape);
  }
  Values aheadRows = rowsOf(zero);
  mask(zero, ahead, aheadRows);
  sums = multiply(ahead, aheadRows, sums);
  sums = d.loop(step, depth, step, sums, [&](Value base, ValueRange now) {
    Values loaded = weights(base), rows = rowsOf(base);
    mask(base, loaded, rows);
    return multiply(loaded, rows, now);
  });
  shareOut(sums);
  gpu::BarrierOp::create(b);
  finishRows();
  // What rows are loaded by: whole, as the host made sure of.
  k.function.walk([&](vector::LoadOp load) {
    VectorType type = load.getVectorType();
    load.setAlignment(std::min(kAccessBytes, type.getNumElements() *
                                                 type.getElementTypeBitWidth() / 8));
  });
  return shape;
}

//===----------------------------------------------------------------------===//
// Forms
//===----------------------------------------------------------------------===//

static Value narrowed(Value factor) {
  auto extended = factor.getDefiningOp<arith::ExtFOp>();
  return extended ? extended.getIn() : factor;
}

/// Whether elements of a row lie side by side in all that it is computed from.
static bool isWideAlongDepth(KernelOp kernel, const Matmul &what, Value side, int64_t lanes) {
  unsigned depth = what.k.front();
  if (!canBeLaneLoop(kernel, depth, lanes))
    return false;
  for (Operation &op : kernel.getStep().without_terminator())
    if (getIndexedRead(&op))
      return false;
  return llvm::all_of(inputsOf(kernel, side), [&](unsigned input) {
    AffineMap map = kernel.getInputMap(input);
    if (!map.isFunctionOfDim(depth))
      return true;
    auto type = cast<MemRefType>(kernel.getInputs()[input].getType());
    unsigned bits = type.getElementTypeBitWidth();
    return isDenseAlong(map, depth) && isDenseInside(type) && bits >= 8 &&
           llvm::isPowerOf2_32(bits) && !kernel.isInputMirrored(input);
  });
}

static Value canRun(DeviceBuilder d, KernelOp kernel, const Matmul &what, const MatmulSide &left,
                    const MatmulSide &right, int64_t rows) {
  SmallVector<OpFoldResult> sizes = kernel.getLoopSizes(d.b);
  auto size = [&](unsigned loop) {
    return getValueOrCreateConstantIndexOp(d.b, d.b.getLoc(), sizes[loop]);
  };
  auto both = [&](Value x, Value y) { return d.make<arith::AndIOp>(x, y); };
  unsigned depth = what.k.front();
  Value fits = d.compare(arith::CmpIPredicate::ugt, size(depth), 0);
  int64_t lanes = lanesOf(right);
  for (unsigned loop : {depth, what.n})
    if (loop == depth || !right.isDenseAlongDepth)
      fits = both(fits, d.isEqual(d.rem(size(loop), lanes), 0));
  if (what.m)
    fits = both(fits, d.compare(arith::CmpIPredicate::ule, size(*what.m), rows));
  llvm::SmallSetVector<unsigned, 4> wide;
  wide.insert(*right.input);
  for (unsigned input : inputsOf(kernel, left.value))
    if (kernel.getInputMap(input).isFunctionOfDim(depth))
      wide.insert(input);
  for (unsigned input : wide)
    fits = both(fits, hasAlignedRows(d, kernel.getInputs()[input]));
  return fits;
}

/// Whether tensor cores' blocks would be few, each with many bursts one after the other.
static Value isNarrow(DeviceBuilder d, KernelOp kernel, const Matmul &what) {
  SmallVector<OpFoldResult> sizes = kernel.getLoopSizes(d.b);
  auto size = [&](unsigned loop) {
    return getValueOrCreateConstantIndexOp(d.b, d.b.getLoc(), sizes[loop]);
  };
  Value blocks = d.ceilDiv(size(what.n), kLines * kPerThread);
  for (unsigned loop : what.outer)
    blocks = d.mul(blocks, size(loop));
  Value isDeep = d.compare(arith::CmpIPredicate::ugt, size(what.k.front()),
                           kBurst * kWarps * kAlong * kAccessBytes / 2);
  return d.make<arith::AndIOp>(isDeep, d.compare(arith::CmpIPredicate::ule, blocks, kFewBlocks));
}

static int64_t chooseWarps(KernelOp kernel, const Matmul &what) {
  auto [operand, axis] = kernel.getSizeSource(what.k.front());
  int64_t depth = cast<ShapedType>(operand.getType()).getDimSize(axis);
  if (ShapedType::isDynamic(depth))
    return kWarps;
  int64_t best = kWarps, least = INT64_MAX;
  for (int64_t warps : kSomeWarps) {
    int64_t taken = llvm::alignTo(depth, warps * kBurst * kAlong * kAccessBytes / 2);
    if (taken < least)
      best = warps, least = taken;
  }
  return best;
}

void ssm::addGemvForms(KernelOp kernel, Matmul what, int chip,
                       SmallVectorImpl<KernelForm> &forms) {
  Type sum = what.sum.getType();
  if (what.k.size() != 1 || !(sum.isF32() || sum.isInteger(32)))
    return;
  MatmulSide left = describeSide(kernel, what, narrowed(what.left), /*isLeft=*/true);
  MatmulSide right = describeSide(kernel, what, narrowed(what.right), /*isLeft=*/false);
  // 8-bit floats have no form here.
  if (isa<FloatType>(right.type()) && right.type().getIntOrFloatBitWidth() < 16)
    return;
  if (!right.input || !isWideAlongDepth(kernel, what, left.value, lanesOf(right)))
    return;
  // Tensor cores for 16-bit numbers alone.
  bool isHalf = chip >= 80 && getMmaKind(what, F32Products::IEEE) == MmaKind::Half;
  bool isMma = right.isDenseAlongDepth && isHalf;
  auto add = [&](StringRef name, int64_t rows, int64_t warps) {
    forms.push_back({name,
                     [=](ImplicitLocOpBuilder &h) {
                       DeviceBuilder d{h};
                       Value fits = canRun(d, kernel, what, left, right, rows);
                       return warps == kManyWarps
                                  ? d.make<arith::AndIOp>(fits, isNarrow(d, kernel, what))
                                  : fits;
                     },
                     [=](DeviceKernel &k) {
                       Matmul inside = *matchMatmul(k.kernel);
                       return GemvEmitter(
                                  k, inside,
                                  describeSide(k.kernel, inside, narrowed(inside.left), true),
                                  describeSide(k.kernel, inside, narrowed(inside.right), false),
                                  rows, warps, isMma, chip >= 90)
                           .emit();
                     }});
  };
  if (isMma)
    add("_narrow", kMaxRows, kManyWarps);
  // Tensor cores have eight columns, used or not.
  if (!isMma)
    add("_row", 1, kWarps);
  // More rows across the depth are for tensor cores' small tiles.
  if (isMma || (what.m && !isHalf))
    add("_rows", kMaxRows, isMma ? chooseWarps(kernel, what) : kWarps);
}
