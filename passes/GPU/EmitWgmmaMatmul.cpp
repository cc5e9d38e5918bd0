//===- EmitWgmmaMatmul.cpp - Products by warpgroups and tensor maps -------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceModule.h"
#include "passes/GPU/MatmulTiles.h"

#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

namespace {

constexpr int64_t kWarpgroup = 128;
/// One warpgroup asks for copies; two have half of the tile's rows each.
constexpr int64_t kConsumers = 2, kThreads = (1 + kConsumers) * kWarpgroup;
constexpr int32_t kProducerRegisters = 24, kConsumerRegisters = 240;
/// Rows, and bytes of the depth, of one wgmma.
constexpr int64_t kRows = 64, kStepBytes = 32;
/// Rows of the tiles that take turns with tiles of columns.
constexpr int64_t kRasterRows = 2048;
/// Shared memory of a block.
constexpr int64_t kMaxShared = 232448;
/// Nanoseconds that a wait may sleep.
constexpr int64_t kTicks = 10000000;

class WgmmaEmitter : public TileEmitter {
public:
  WgmmaEmitter(DeviceKernel &kernel, const Matmul &what, MatmulSide left, MatmulSide right,
               MatmulTile tile, MmaKind kind)
      : TileEmitter(kernel, what, left, right, tile, kThreads), kind(kind),
        bytes(left.type().getIntOrFloatBitWidth() / 8) {}

  LaunchShape emit();

private:
  /// A side's stages in shared memory. Lines of 128 bytes are rows; where rows lie dense, lines
  /// are places of the depth, a box has the rows of a line, and a tile several boxes.
  struct Staging {
    MatmulSide *side;
    int64_t base, rows, depth, size; // size: bytes of an element
    Value map;
    bool alongDepth() const { return side->isDenseAlongDepth; }
    int64_t lineBytes() const { return alongDepth() || rows % 64 == 0 ? 128 : 64; }
    int64_t boxRows() const { return alongDepth() ? rows : lineBytes() / size; }
    int64_t boxBytes() const { return boxRows() * depth * size; }
    int64_t boxes() const { return rows / boxRows(); }
    int64_t bytes() const { return rows * depth * size; }
    /// What the descriptor's address grows by for each step of the depth.
    int64_t stepBytes() const { return alongDepth() ? kStepBytes : kStepBytes / size * lineBytes(); }
  };
  struct Stage {
    Value number, phase;
  };

  Staging stage(MatmulSide &side, int64_t rows, int64_t base);
  Value barrier(int64_t base, Value stage) { return d.after(shared, d.add(d.mul(stage, 8), base)); }
  Value full(Value stage) { return barrier(barriers, stage); }
  Value empty(Value stage) { return barrier(barriers + 8 * stages, stage); }
  void wait(Value barrier, Value phase);
  Stage next(Stage now);
  void copy(const Staging &s, Value stage, Value k);
  /// For each tile of this block.
  void forTiles(Stage first, llvm::function_ref<Stage(Stage)> body);
  void produce();
  void consume();
  /// wgmma's view of a side, the first stage.
  Value describe(const Staging &s, Value offset);
  Value multiply(Value left, Value right, Value sums, bool isFirst);
  void promote(Value part, Value &sums);
  void release(Value stage, Value condition);

  /// Sums go to shared memory in pieces of 64 rows and as many columns, one after another.
  int64_t pieceColumns() const { return tile.n % 64 == 0 ? 64 : 32; }
  int64_t pieceBytes() const { return kRows * pieceColumns() * 4; }
  int64_t piecesOfRows() const { return tile.n / pieceColumns(); }
  int64_t pieces() const { return blocks() * piecesOfRows(); }
  /// Products with 64 rows of a consumer.
  int64_t blocks() const { return tile.m / kConsumers / kRows; }
  /// Groups of kWide sums that a thread finishes of a piece.
  int64_t items() const { return kRows * pieceColumns() / kWide / kWarpgroup; }
  void placePiece(Value piece, Value &row, Value &column);
  /// Inputs of the epilogue for this thread's part of a piece: of the first item all, of the
  /// others what differs from row to row.
  SmallVector<Type> pieceTypes();
  Values loadPiece(Value piece);
  Values ofItem(ValueRange loaded, int64_t item);
  void storePiece(ValueRange sums, Value piece);
  void finishPieces(ValueRange sums, ValueRange loaded);
  void finishRagged(ValueRange sums);
  Value sumsAt(Value row, Value quarter);
  SumPointers eightSumsAt(Value row, Value column);
  void synchronize();

  MmaKind kind;
  int64_t bytes;
  Staging sides[2];
  int64_t stages = 0, stageBytes = 0, staging = 0, barriers = 0;
  Value zero, one, tiles, depthTiles, group, threadOfGroup, consumerRow;
};

} // namespace

WgmmaEmitter::Staging WgmmaEmitter::stage(MatmulSide &side, int64_t rows, int64_t base) {
  Staging s{&side, base, rows, tile.k, bytes, {}};
  AffineMap map = kernel.getInputMap(*side.input);
  auto box = llvm::map_to_vector(map.getResults(), [&](AffineExpr expr) -> int32_t {
    unsigned loop = cast<AffineDimExpr>(expr).getPosition();
    if (loop == what.k.front())
      return tile.k;
    return loop == side.row ? s.boxRows() : 1;
  });
  s.map = k.addTensorMap(*side.input, box, s.lineBytes());
  return s;
}

void WgmmaEmitter::wait(Value barrier, Value phase) {
  NVVM::MBarrierTryWaitParityOp::create(b, barrier, phase, d.constant(kTicks));
}

WgmmaEmitter::Stage WgmmaEmitter::next(Stage now) {
  Value more = d.add(now.number, 1);
  Value isLast = d.isEqual(more, stages);
  return {d.select(isLast, zero, more), d.select(isLast, d.bitXor(now.phase, 1), now.phase)};
}

void WgmmaEmitter::copy(const Staging &s, Value stage, Value k) {
  AffineMap map = kernel.getInputMap(*s.side->input);
  auto cluster = LLVM::LLVMPointerType::get(b.getContext(), /*shared memory of a cluster*/ 7);
  Value row = d.toInt(firstRow(*s.side));
  for (int64_t i = 0; i < s.boxes(); ++i) {
    Values at;
    for (AffineExpr expr : llvm::reverse(map.getResults())) {
      unsigned loop = cast<AffineDimExpr>(expr).getPosition();
      if (loop == what.k.front())
        at.push_back(k);
      else
        at.push_back(loop == s.side->row ? d.add(row, i * s.boxRows()) : d.toInt(e.at[loop]));
    }
    Value to = d.after(shared, d.add(d.mul(stage, s.bytes()), s.base + i * s.boxBytes()));
    NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp::create(
        b, LLVM::AddrSpaceCastOp::create(b, cluster, to), s.map, at, full(stage), ValueRange(),
        Value(), Value(), NVVM::TMALoadMode::TILE, /*isCTAOnly=*/false, nullptr, Value());
  }
}

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
                             NVVM::MBarrierArriveExpectTxOp::create(
                                 b, Type(), full(now.number), d.constant(stageBytes),
                                 NVVM::MemScopeKind::CTA, false, Value());
                             for (const Staging &s : sides)
                               copy(s, now.number, d.mul(step, tile.k));
                             Stage after = next(now);
                             return Values{after.number, after.phase};
                           });
      return Stage{last[0], last[1]};
    });
  });
}

Value WgmmaEmitter::describe(const Staging &s, Value offset) {
  // Sixteen bytes are one: the distance of boxes, of eight lines, and the swizzle's number.
  int64_t boxes = s.alongDepth() ? 1 : s.boxBytes() / 16;
  int64_t swizzle = s.lineBytes() == 128 ? 1 : 2;
  int64_t layout = boxes << 16 | (8 * s.lineBytes() / 16) << 32 | swizzle << 62;
  Value at = LLVM::PtrToIntOp::create(b, b.getI32Type(), d.after(shared, d.add(offset, s.base)));
  return d.add(arith::ExtUIOp::create(b, b.getI64Type(), d.div(at, 16)), layout);
}

static NVVM::WGMMATypes typeOf(const MatmulSide &side) {
  Type type = side.type();
  if (type.isInteger())
    return side.isSigned ? NVVM::WGMMATypes::s8 : NVVM::WGMMATypes::u8;
  if (isa<Float8E4M3FNType>(type))
    return NVVM::WGMMATypes::e4m3;
  if (isa<Float8E5M2Type>(type))
    return NVVM::WGMMATypes::e5m2;
  if (type.isF32())
    return NVVM::WGMMATypes::tf32;
  return type.isF16() ? NVVM::WGMMATypes::f16 : NVVM::WGMMATypes::bf16;
}

/// `isFirst`: what `sums` are does not count.
Value WgmmaEmitter::multiply(Value left, Value right, Value sums, bool isFirst) {
  MLIRContext *context = b.getContext();
  auto typeOf = [&](const MatmulSide &side) {
    return NVVM::WGMMATypesAttr::get(context, ::typeOf(side));
  };
  auto in = NVVM::WGMMAScaleInAttr::get(context, NVVM::WGMMAScaleIn::one);
  auto layout = [&](const Staging &s, NVVM::MMALayout dense, NVVM::MMALayout other) {
    return NVVM::MMALayoutAttr::get(context, s.alongDepth() ? dense : other);
  };
  return NVVM::WgmmaMmaAsyncOp::create(
      b, sums.getType(), sums, left, right,
      NVVM::MMAShapeAttr::get(context, kRows, tile.n, kStepBytes / bytes), typeOf(this->left),
      typeOf(this->right),
      NVVM::WGMMATypesAttr::get(context, kind == MmaKind::Byte ? NVVM::WGMMATypes::s32
                                                               : NVVM::WGMMATypes::f32),
      NVVM::WGMMAScaleOutAttr::get(context, isFirst ? NVVM::WGMMAScaleOut::zero
                                                    : NVVM::WGMMAScaleOut::one),
      in, in,
      layout(sides[0], NVVM::MMALayout::row, NVVM::MMALayout::col),
      layout(sides[1], NVVM::MMALayout::col, NVVM::MMALayout::row), nullptr);
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
    Values loaded = d.choose(isWhole, pieceTypes(), [&] { return loadPiece(zero); });
    Values carried = {first.number, first.phase, zero};
    carried.append(blocks(), none);
    Values last = d.loop(zero, depthTiles, one, carried, [&](Value step, ValueRange carried) {
      Stage now{carried[0], carried[1]};
      Values sums(carried.drop_front(3));
      wait(full(now.number), now.phase);
      auto at = [&](const Staging &s, Value first, int64_t depth) {
        Value stage = arith::ExtUIOp::create(b, b.getI64Type(),
                                             d.mul(now.number, s.bytes() / 16));
        return d.add(d.add(first, stage), depth * s.stepBytes() / 16);
      };
      int64_t steps = tile.k * bytes / kStepBytes;
      if (kind == MmaKind::Float8) {
        // Tensor cores keep about 14 bits of such sums: only those of one step are theirs.
        for (auto [sum, rows] : llvm::zip_equal(sums, left)) {
          Value part = LLVM::PoisonOp::create(b, sumsType);
          NVVM::WgmmaFenceAlignedOp::create(b);
          for (int64_t depth = 0; depth < steps; ++depth)
            part = multiply(at(sides[0], rows, depth), at(sides[1], right, depth), part,
                            /*isFirst=*/depth == 0);
          NVVM::WgmmaGroupSyncAlignedOp::create(b);
          NVVM::WgmmaWaitGroupSyncOp::create(b, 0);
          if (rows == left.back())
            release(now.number, isAlways);
          promote(part, sum);
        }
      } else {
        NVVM::WgmmaFenceAlignedOp::create(b);
        for (int64_t depth = 0; depth < steps; ++depth)
          for (auto [sum, rows] : llvm::zip_equal(sums, left))
            sum = multiply(at(sides[0], rows, depth), at(sides[1], right, depth), sum,
                           /*isFirst=*/false);
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
  Value at = d.add(d.mul(row, pieceColumns() * 4), d.mul(d.bitXor(quarter, turn), 16));
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
      for (int64_t half = 0; half < 2; ++half)
        for (int64_t block = 0; block < pieceColumns() / 8; ++block) {
          int64_t number = first + block * 4 + half * 2;
          Value pair = vector::FromElementsOp::create(
              b, two,
              ValueRange{LLVM::ExtractValueOp::create(b, numbers, number),
                         LLVM::ExtractValueOp::create(b, numbers, number + 1)});
          Value quarter = d.add(d.div(d.rem(lane, 4), 2), block * 2);
          Value within = d.mul(d.rem(lane, 2), 8);
          d.store(pair, d.after(sumsAt(d.add(row, half * 8), quarter), within), 8);
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
  Values all;
  for (int64_t i = 0; i < items(); ++i) {
    Value within = d.add(d.div(threadOfGroup, perRow), i * kWarpgroup / perRow);
    Values loaded = loadWide(d.add(m0, d.toIndex(d.add(row, within))), n);
    for (auto [value, isByRow] : llvm::zip_equal(loaded, wideByRow()))
      if (i == 0 || isByRow)
        all.push_back(value);
  }
  return all;
}

/// Of a tile whose rows and columns all exist: the next piece's inputs are on their way while
/// a piece is finished.
void WgmmaEmitter::finishPieces(ValueRange sums, ValueRange loaded) {
  int64_t perRow = pieceColumns() / kWide;
  d.loop(zero, d.constant(pieces()), one, loaded, [&](Value piece, ValueRange now) {
    storePiece(sums, piece);
    Values next = loadPiece(d.min(d.add(piece, 1), pieces() - 1));
    Value firstRow, firstColumn;
    placePiece(piece, firstRow, firstColumn);
    Value column = d.mul(d.rem(threadOfGroup, perRow), kWide);
    Value n = d.add(n0, d.toIndex(d.add(firstColumn, column)));
    for (int64_t i = 0; i < items(); ++i) {
      Value row = d.add(d.div(threadOfGroup, perRow), i * kWarpgroup / perRow);
      finishWide(d.add(m0, d.toIndex(d.add(firstRow, row))), n, eightSumsAt(row, column),
                 ofItem(now, i));
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
      finish({row, column, kRows, pieceColumns(), threadOfGroup, kWarpgroup,
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
  stages = std::min(tile.stages,
                    (kMaxShared - kConsumers * pieceBytes() - 256) / stageBytes);
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
  d.branch(d.isEqual(thread, 0), [&] {
    for (int64_t i = 0; i < stages; ++i) {
      NVVM::MBarrierInitOp::create(b, full(d.constant(i)), one, Value());
      NVVM::MBarrierInitOp::create(b, empty(d.constant(i)), d.constant(kConsumers), Value());
    }
    NVVM::FenceMbarrierInitOp::create(b);
  });
  gpu::BarrierOp::create(b);
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
           // A tensor map has at most five dimensions, here of a plain buffer.
           return type.getLayout().isIdentity() && map.getNumResults() <= 5 && contains(loopsOf(map), *side.row) &&
                  contains(loopsOf(map), what.k.front());
         });
}

LaunchShape ssm::emitWgmmaMatmul(DeviceKernel &kernel, const Matmul &what, MatmulTile tile,
                                 MmaKind kind) {
  SmallVector<MatmulSide> sides = getMmaSides(kernel.kernel, what, kind);
  return WgmmaEmitter(kernel, what, sides[0], sides[1], tile, kind).emit();
}
