//===- EmitWgmmaMatmul.cpp - Products by warpgroups and tensor maps -------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceModule.h"
#include "passes/GPU/WarpgroupMatmul.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

namespace {

/// One warpgroup asks for copies; two have half of the tile's rows each.
constexpr int64_t kConsumers = 2, kThreads = (1 + kConsumers) * WarpgroupEmitter::kWarpgroup;
constexpr int32_t kProducerRegisters = 40, kConsumerRegisters = 232;
/// Rows of the tiles that take turns with tiles of columns.
constexpr int64_t kRasterRows = 2048;

class WgmmaEmitter : public WarpgroupEmitter {
public:
  WgmmaEmitter(DeviceKernel &kernel, const Matmul &what, MatmulSide left, MatmulSide right,
               MatmulTile tile, MmaKind kind)
      : WarpgroupEmitter(kernel, what, left, right, tile, kind, kThreads) {}

  LaunchShape emit();

private:
  /// For each tile of this block.
  void forTiles(Stage first, llvm::function_ref<Stage(Stage)> body);
  void produce();
  void consume();
  void promote(Value part, Value &sums);
  void release(Value stage, Value condition);

  /// Sums go to shared memory in pieces of 64 rows and as many columns, one after another.
  int64_t pieceColumns() const { return tile.n % 64 == 0 ? 64 : 32; }
  /// Rows that lie a multiple of four apart are swapped alike: their places differ by a number, for
  /// which no thread needs a register.
  int64_t rowBytes() const { return pieceColumns() * 4; }
  int64_t pieceBytes() const { return kRows * rowBytes(); }
  int64_t piecesOfRows() const { return tile.n / pieceColumns(); }
  int64_t pieces() const { return blocks() * piecesOfRows(); }
  /// Products with 64 rows of a consumer.
  int64_t blocks() const { return tile.m / kConsumers / kRows; }
  /// Groups of kWide sums that a thread finishes of a piece, and rows from one to the next.
  int64_t items() const { return kRows / itemRows(); }
  int64_t itemRows() const { return kWarpgroup * kWide / pieceColumns(); }
  void placePiece(Value piece, Value &row, Value &column);
  /// Inputs of the epilogue for this thread's part of a piece: of the first item all, of the
  /// others what differs from row to row.
  SmallVector<Type> pieceTypes();
  /// Whether there are registers for those of the next piece.
  bool isAhead();
  Values loadPiece(Value piece);
  Values ofItem(ValueRange loaded, int64_t item);
  void storePiece(ValueRange sums, Value piece);
  void finishPieces(ValueRange sums, ValueRange loaded);
  void finishRagged(ValueRange sums);
  Value sumsAt(Value row, Value quarter);
  SumPointers eightSumsAt(Value row, Value column);
  void synchronize();

  Staging sides[2];
  int64_t staging = 0;
  Value tiles, group, threadOfGroup, consumerRow;
};

} // namespace

void WgmmaEmitter::forTiles(Stage first, llvm::function_ref<Stage(Stage)> body) {
  Value blocks = d.toInt(gpu::GridDimOp::create(b, gpu::Dimension::x));
  d.loop(d.block(), tiles, blocks, {first.number, first.phase}, [&](Value number, ValueRange now) {
    PointEmitter::Scope scope(e);
    place(number, kRasterRows / tile.m);
    Stage last = body({now[0], now[1]});
    return Values{last.number, last.phase};
  });
}

void WgmmaEmitter::produce() {
  NVVM::SetMaxRegisterOp::create(b, kProducerRegisters, NVVM::SetMaxRegisterAction::decrease);
  d.branch(d.isEqual(threadOfGroup, 0), [&] {
    forTiles({zero, zero}, [&](Stage first) {
      Values last = d.loop(zero, depthTiles, one, {first.number, first.phase},
                           [&](Value step, ValueRange carried) {
                             Stage now{carried[0], carried[1]};
                             wait(empty(now.number), d.bitXor(now.phase, 1));
                             expect(now.number);
                             for (const Staging &s : sides)
                               copy(s, now.number, d.mul(step, tile.k));
                             Stage after = next(now);
                             return Values{after.number, after.phase};
                           });
      return Stage{last[0], last[1]};
    });
  });
}

/// Adds the sums of a part of the depth, as f32 does.
void WgmmaEmitter::promote(Value part, Value &sums) {
  for (int64_t i = 0; i < tile.n / 2; ++i) {
    Value sum = arith::AddFOp::create(b, LLVM::ExtractValueOp::create(b, sums, i),
                                      LLVM::ExtractValueOp::create(b, part, i));
    sums = LLVM::InsertValueOp::create(b, sums, sum, i);
  }
}

/// Tells the producer that this warpgroup has read a stage.
void WgmmaEmitter::release(Value stage, Value condition) {
  d.branch(d.isEqual(threadOfGroup, 0), [&] {
    d.branch(condition,
             [&] { NVVM::MBarrierArriveOp::create(b, Type(), empty(stage), Value()); });
  });
}

void WgmmaEmitter::consume() {
  NVVM::SetMaxRegisterOp::create(b, kConsumerRegisters, NVVM::SetMaxRegisterAction::increase);
  consumerRow = d.mul(d.sub(group, 1), blocks() * kRows);
  Values left;
  for (int64_t i = 0; i < blocks(); ++i)
    left.push_back(describe(sides[0], d.mul(d.add(consumerRow, i * kRows), sides[0].depth * bytes)));
  Value right = describe(sides[1], zero);
  SmallVector<Type> numbers(tile.n / 2, what.sum.getType());
  auto sumsType = LLVM::LLVMStructType::getLiteral(b.getContext(), numbers);
  Value none = LLVM::ZeroOp::create(b, sumsType);
  Value isAlways = arith::ConstantIntOp::create(b, b.getI1Type(), 1);
  forTiles({zero, zero}, [&](Stage first) {
    // Most tiles are whole: what the rest of the region reads is asked for ahead of the sums.
    Value endM = d.add(m0, d.toIndex(d.add(consumerRow, blocks() * kRows)));
    Value isWhole = d.make<arith::AndIOp>(
        aligned,
        d.make<arith::AndIOp>(
            d.compare(arith::CmpIPredicate::ule, endM, height),
            d.compare(arith::CmpIPredicate::ule, d.add(n0, tile.n), width)));
    Values loaded;
    if (isAhead())
      loaded = d.choose(isWhole, pieceTypes(), [&] { return loadPiece(zero); });
    Values carried = {first.number, first.phase, zero};
    carried.append(blocks(), none);
    Values last = d.loop(zero, depthTiles, one, carried, [&](Value step, ValueRange carried) {
      Stage now{carried[0], carried[1]};
      Values sums(carried.drop_front(3));
      wait(full(now.number), now.phase);
      auto add = [&](Value sum, Value rows, int64_t step, bool isFirst) {
        return multiply(sides[0], atStage(sides[0], rows, now.number, step), sides[1],
                        atStage(sides[1], right, now.number, step), sum, isFirst);
      };
      if (kind == MmaKind::Float8) {
        // Tensor cores keep about 14 bits of such sums: only those of one step are theirs.
        for (auto [sum, rows] : llvm::zip_equal(sums, left)) {
          Value part = LLVM::PoisonOp::create(b, sumsType);
          NVVM::WgmmaFenceAlignedOp::create(b);
          for (int64_t step = 0; step < steps(); ++step)
            part = add(part, rows, step, /*isFirst=*/step == 0);
          NVVM::WgmmaGroupSyncAlignedOp::create(b);
          NVVM::WgmmaWaitGroupSyncOp::create(b, 0);
          if (rows == left.back())
            release(now.number, isAlways);
          promote(part, sum);
        }
      } else {
        NVVM::WgmmaFenceAlignedOp::create(b);
        for (int64_t step = 0; step < steps(); ++step)
          for (auto [sum, rows] : llvm::zip_equal(sums, left))
            sum = add(sum, rows, step, /*isFirst=*/false);
        NVVM::WgmmaGroupSyncAlignedOp::create(b);
        // What was read in the step before is read by now.
        NVVM::WgmmaWaitGroupSyncOp::create(b, 1);
        release(carried[2], d.compare(arith::CmpIPredicate::ne, step, 0));
      }
      Stage after = next(now);
      Values all = {after.number, after.phase, now.number};
      llvm::append_range(all, sums);
      return all;
    });
    if (kind != MmaKind::Float8) {
      NVVM::WgmmaWaitGroupSyncOp::create(b, 0);
      release(last[2], d.compare(arith::CmpIPredicate::ne, depthTiles, 0));
    }
    ValueRange sums = ArrayRef(last).drop_front(3);
    d.branch(isWhole, [&] { finishPieces(sums, loaded); }, [&] { finishRagged(sums); });
    return Stage{last[0], last[1]};
  });
}

//===----------------------------------------------------------------------===//
// The rest of the region
//===----------------------------------------------------------------------===//

/// All threads of the consumer.
void WgmmaEmitter::synchronize() {
  NVVM::BarrierOp::create(b, Type(), group, d.constant(kWarpgroup), nullptr, Value());
}

/// Where a piece begins in the tile.
void WgmmaEmitter::placePiece(Value piece, Value &row, Value &column) {
  Value block = d.div(piece, piecesOfRows());
  row = d.add(consumerRow, d.mul(block, kRows));
  column = d.mul(d.sub(piece, d.mul(block, piecesOfRows())), pieceColumns());
}

/// Where four sums are. Pieces of sixteen bytes are swapped so that neither rows that are
/// written nor pieces that are read together share banks.
Value WgmmaEmitter::sumsAt(Value row, Value quarter) {
  Value other = pieceColumns() == 64 ? d.div(quarter, 8) : d.rem(row, 2);
  Value turn = d.bitXor(d.mul(d.rem(row, 4), 2), other);
  Value at = d.add(d.mul(row, rowBytes()), d.mul(d.bitXor(quarter, turn), 16));
  return d.after(shared, d.add(at, d.add(d.mul(d.sub(group, 1), pieceBytes()), staging)));
}

TileEmitter::SumPointers WgmmaEmitter::eightSumsAt(Value row, Value column) {
  Value quarter = d.div(column, 4);
  return {sumsAt(row, quarter), sumsAt(row, d.add(quarter, 1))};
}

void WgmmaEmitter::storePiece(ValueRange sums, Value piece) {
  // Until the piece before is read.
  synchronize();
  Value lane = d.rem(threadOfGroup, 32), warp = d.div(threadOfGroup, 32);
  Value row = d.add(d.mul(warp, 16), d.div(lane, 4));
  auto two = VectorType::get({2}, what.sum.getType());
  for (int64_t i = 0; i < pieces(); ++i)
    d.branch(d.isEqual(piece, i), [&] {
      Value numbers = sums[i / piecesOfRows()];
      int64_t first = i % piecesOfRows() * pieceColumns() / 2;
      for (int64_t block = 0; block < pieceColumns() / 8; ++block) {
        Value quarter = d.add(d.div(d.rem(lane, 4), 2), block * 2);
        Value to = d.after(sumsAt(row, quarter), d.mul(d.rem(lane, 2), 8));
        for (int64_t half = 0; half < 2; ++half) {
          int64_t number = first + block * 4 + half * 2;
          Value pair = vector::FromElementsOp::create(
              b, two,
              ValueRange{LLVM::ExtractValueOp::create(b, numbers, number),
                         LLVM::ExtractValueOp::create(b, numbers, number + 1)});
          d.store(pair, d.after(to, half * 8 * rowBytes()), 8);
        }
      }
    });
  synchronize();
}

SmallVector<Type> WgmmaEmitter::pieceTypes() {
  SmallVector<Type> all;
  for (int64_t i = 0; i < items(); ++i)
    for (auto [type, isByRow] : llvm::zip_equal(wideTypes(), wideByRow()))
      if (i == 0 || isByRow)
        all.push_back(type);
  return all;
}

bool WgmmaEmitter::isAhead() {
  // What the rest takes was found with ptxas: sums and inputs of two pieces, what is written of an
  // item, and its place; a power has long polynomials.
  constexpr int64_t most = 212, perInput = 4, perOut = 8, perPower = 32;
  auto registersOf = [](Type type) {
    auto vector = cast<VectorType>(type);
    return vector.getNumElements() * vector.getElementTypeBitWidth() / 32;
  };
  int64_t count = blocks() * tile.n / 2 + perInput * wideTypes().size();
  for (Type type : pieceTypes())
    count += 2 * registersOf(type);
  for (Value out : kernel.getOuts())
    count += perOut + kWide * cast<MemRefType>(out.getType()).getElementTypeBitWidth() / 32;
  if (!kernel.getStep().getOps<math::PowFOp>().empty())
    count += perPower;
  return count <= most;
}

SmallVector<Value> WgmmaEmitter::ofItem(ValueRange loaded, int64_t item) {
  SmallVector<bool> isByRow = wideByRow();
  Values all(loaded.take_front(isByRow.size()));
  if (item == 0)
    return all;
  int64_t perItem = llvm::count(isByRow, true);
  auto next = loaded.begin() + isByRow.size() + (item - 1) * perItem;
  for (auto [value, differs] : llvm::zip_equal(all, isByRow))
    if (differs)
      value = *next++;
  return all;
}

SmallVector<Value> WgmmaEmitter::loadPiece(Value piece) {
  Value row, column;
  placePiece(piece, row, column);
  int64_t perRow = pieceColumns() / kWide;
  Value n = d.add(n0, d.toIndex(d.add(column, d.mul(d.rem(threadOfGroup, perRow), kWide))));
  Value m = d.add(m0, d.toIndex(d.add(row, d.div(threadOfGroup, perRow))));
  Values all;
  for (int64_t i = 0; i < items(); ++i) {
    Values loaded = loadWide(d.add(m, i * itemRows()), n);
    for (auto [value, isByRow] : llvm::zip_equal(loaded, wideByRow()))
      if (i == 0 || isByRow)
        all.push_back(value);
  }
  return all;
}

/// Of a tile whose rows and columns all exist: the next piece's inputs are on their way while
/// a piece is finished, if there is room.
void WgmmaEmitter::finishPieces(ValueRange sums, ValueRange loaded) {
  int64_t perRow = pieceColumns() / kWide;
  bool ahead = isAhead(), hasLong = llvm::any_of(kernel.getStep(), isLong);
  d.loop(zero, d.constant(pieces()), one, loaded, [&](Value piece, ValueRange carried) {
    storePiece(sums, piece);
    Values next;
    if (ahead)
      next = loadPiece(d.min(d.add(piece, 1), pieces() - 1));
    Value firstRow, firstColumn;
    placePiece(piece, firstRow, firstColumn);
    Value column = d.mul(d.rem(threadOfGroup, perRow), kWide);
    Value n = d.add(n0, d.toIndex(d.add(firstColumn, column)));
    Value row = d.div(threadOfGroup, perRow), m = d.add(m0, d.toIndex(d.add(firstRow, row)));
    auto [first, second] = eightSumsAt(row, column);
    for (int64_t i = 0; i < items(); ++i) {
      int64_t after = i * itemRows() * rowBytes();
      Value at = d.add(m, i * itemRows());
      finishWide(at, n, {d.after(first, after), d.after(second, after)},
                 ahead ? ofItem(carried, i) : loadWide(at, n));
      // Or ptxas has more items in registers than fit.
      if (!ahead || hasLong)
        NVVM::SyncWarpOp::create(b, d.constant(-1));
    }
    return next;
  });
}

void WgmmaEmitter::finishRagged(ValueRange sums) {
  d.loop(zero, d.constant(pieces()), one, {}, [&](Value piece, ValueRange) {
    Value row, column;
    placePiece(piece, row, column);
    Value isInside = d.make<arith::AndIOp>(d.isLess(d.add(m0, d.toIndex(row)), height),
                                           d.isLess(d.add(n0, d.toIndex(column)), width));
    d.branch(isInside, [&] {
      storePiece(sums, piece);
      finish({row, column, d.constant(kRows), pieceColumns(), threadOfGroup, kWarpgroup,
              [&](Value row, Value column) { return eightSumsAt(row, column); }});
    });
    return Values();
  });
}

LaunchShape WgmmaEmitter::emit() {
  LaunchShape shape = launch();
  prepare();
  stageBytes = (tile.m + tile.n) * tile.k * bytes;
  // As many as there is room for; tables of barriers need a little.
  stages = std::min(tile.stages, (getMaxShared(k.function) - kConsumers * pieceBytes() - 256) /
                                     stageBytes);
  staging = stageBytes * stages;
  barriers = staging + kConsumers * pieceBytes();
  shape.dynamicShared = barriers + 16 * stages;
  shape.flags = kPersistent;
  // Or the registers that a warpgroup gives back are none.
  k.function->setAttr("nvvm.minctasm", b.getI32IntegerAttr(1));
  sides[0] = stage(left, tile.m, 0);
  sides[1] = stage(right, tile.n, sides[0].bytes() * stages);
  zero = d.constant(0);
  one = d.constant(1);
  tiles = countTiles();
  depthTiles = d.toInt(d.ceilDiv(depth, tile.k));
  threadOfGroup = d.rem(thread, kWarpgroup);
  // A warp's threads have it alike, which ptxas sees only so.
  group = NVVM::ShflOp::create(b, b.getI32Type(), d.constant(-1), d.div(thread, kWarpgroup), zero,
                               d.constant(31), NVVM::ShflKind::idx, nullptr);
  initBarriers(kConsumers);
  d.branch(
      d.isEqual(group, 0), [&] { produce(); }, [&] { consume(); });
  return shape;
}

bool ssm::canUseWgmma(KernelOp kernel, const Matmul &what, ArrayRef<MatmulSide> sides) {
  return what.m && llvm::all_of(sides, [&](const MatmulSide &side) {
           // Of other than 16-bit numbers only lines along the depth can be read.
           bool isHalf = side.type().getIntOrFloatBitWidth() == 16;
           if (!side.input || !side.row || !(isHalf || side.isDenseAlongDepth))
             return false;
           AffineMap map = kernel.getInputMap(*side.input);
           auto type = cast<MemRefType>(kernel.getInputs()[*side.input].getType());
           // A tensor map has at most five dimensions.
           return isDenseInside(type) && map.getNumResults() <= 5 &&
                  contains(loopsOf(map), *side.row) && contains(loopsOf(map), what.k.front());
         });
}

LaunchShape ssm::emitWgmmaMatmul(DeviceKernel &kernel, const Matmul &what, MatmulTile tile,
                                 MmaKind kind) {
  SmallVector<MatmulSide> sides = getMmaSides(kernel.kernel, what, kind);
  return WgmmaEmitter(kernel, what, sides[0], sides[1], tile, kind).emit();
}
