//===- EmitMmaMatmul.cpp - Products on tensor cores by mma.sync ------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/MatmulWindows.h"
#include "passes/GPU/StagedMatmul.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Elements of 16 bytes, which is what shared memory is written and read by.
constexpr int64_t kChunk = 8, kChunkBytes = 16;
/// Rows of the left side, columns of the right one and depth of one fragment.
constexpr int64_t kFragment = 16;

/// A side's part of a stage: lines of chunks in shared memory as they lie in global memory, along
/// the depth or along rows. Chunks of a line are swapped so that eight in a column never share a
/// bank.
struct Staging {
  MatmulSide *side;
  /// Its rows in a tile, where it begins in a stage, chunks of a line and lines.
  int64_t rows, base, chunks, lines;
  bool isDirect, alongDepth;
  /// This thread's first line and its chunk there; `step` lines on comes the next.
  Value line, chunk;
  int64_t step;
  /// Of each of the thread's chunks whether its row exists (if lines are rows), else of all.
  SmallVector<Value> exists;
  /// Bytes from line to line (i64), and from one tile of the depth to the next.
  Value lineBytes, tileBytes;
  /// Of windows: where those of the thread's lines begin.
  SmallVector<WindowReader::Row> windows;
  int64_t count() const { return lines / step; }
};

class MmaEmitter : public AheadEmitter<Staging> {
public:
  MmaEmitter(DeviceKernel &kernel, const Matmul &what, MatmulSide left, MatmulSide right,
             MatmulTile tile, bool isDirect)
      : AheadEmitter(kernel, what, left, right, tile, tile.threads()), isDirect(isDirect) {}

  LaunchShape emit(bool overlaps) {
    return run((tile.m + tile.n) * tile.k * 2, blocksM() * blocksN() * 8, /*isAsync=*/true,
               overlaps);
  }

private:
  int64_t blocksM() const { return tile.warpM / kFragment; }
  int64_t blocksN() const { return tile.warpN / kFragment; }

  std::array<Staging, 2> begin() override;
  Value start(const Staging &s) override;
  void copyAsync(const Staging &s, Value k, Value pointer, Value slot) override;
  Values readTile(const Staging &s, Value k) override;
  void writeTile(const Staging &s, ValueRange chunks, Value slot) override;
  void multiply(ArrayRef<Staging> sides, Value slot, MutableArrayRef<Value> sums) override;
  void storeSums(ValueRange sums) override;

  Staging stage(MatmulSide &side, int64_t rows, int64_t base);
  Value swapped(const Staging &s, Value line, Value chunk);
  Value target(const Staging &s, int64_t i, Value slot);
  Values fragment(const Staging &s, Value slot, Value warpRow, int64_t row, int64_t k, bool isLeft);
  Value asOperand(Value word);

  bool isDirect;
  Value lane, warpM, warpN;
  std::optional<WindowReader> reader;
};

} // namespace

Staging MmaEmitter::stage(MatmulSide &side, int64_t rows, int64_t base) {
  Staging s;
  s.side = &side;
  s.rows = rows;
  s.base = base;
  s.isDirect = isDirect && (side.input || side.window);
  // Of what is computed, threads that are neighbours take neighbours of the input's last axis.
  s.alongDepth = !side.input || side.isDenseAlongDepth;
  s.chunks = (s.alongDepth ? tile.k : rows) / kChunk;
  s.lines = s.alongDepth ? rows : tile.k;
  s.step = std::max<int64_t>(threads / s.chunks, 1);
  s.chunk = d.rem(thread, s.chunks);
  s.line = d.div(thread, s.chunks);
  if (!s.isDirect)
    return s;
  Value none = d.constant(0), all = d.constant(kChunkBytes);
  Value count = this->rows(side), first = firstRow(side);
  if (s.alongDepth) {
    for (int64_t i = 0; i < s.count(); ++i) {
      Value row = d.add(first, d.toIndex(d.add(s.line, i * s.step)));
      s.exists.push_back(d.select(d.isLess(row, count), all, none));
    }
  } else {
    Value row = d.add(first, d.toIndex(d.mul(s.chunk, kChunk)));
    s.exists.push_back(d.select(d.isLess(row, count), all, none));
  }
  if (side.window) {
    reader.emplace(d, e, *side.window, what.k);
    for (int64_t i = 0; i < s.count(); ++i) {
      PointEmitter::Scope scope(e);
      setColumn(d.add(first, d.toIndex(d.add(s.line, i * s.step))));
      s.windows.push_back(reader->row());
    }
    s.tileBytes = d.toWide(e.index(0));
    return s;
  }
  Value perDepth = stride(side, what.k.back());
  s.lineBytes = s.alongDepth ? (side.row ? stride(side, *side.row) : d.toWide(e.index(0)))
                             : perDepth;
  s.tileBytes = d.mul(perDepth, tile.k);
  return s;
}

Value MmaEmitter::swapped(const Staging &s, Value line, Value chunk) {
  if (s.chunks == 1)
    return chunk;
  // Lines that are shorter than all banks share them.
  int64_t linesOfBanks = std::max<int64_t>(8 / s.chunks, 1);
  Value turn = d.bitAnd(d.div(line, linesOfBanks), std::min<int64_t>(s.chunks, 8) - 1);
  return d.bitXor(chunk, turn);
}

/// Where the thread's i-th chunk goes. Lines a multiple of eight apart swap alike.
Value MmaEmitter::target(const Staging &s, int64_t i, Value slot) {
  Value line = d.add(s.line, i * s.step);
  Value at = d.mul(d.add(d.mul(line, s.chunks), swapped(s, line, s.chunk)), kChunkBytes);
  return d.after(shared, d.add(slot, d.add(at, s.base)));
}

void MmaEmitter::copyAsync(const Staging &s, Value k, Value pointer, Value slot) {
  Value none = d.constant(0);
  Value isDeep = s.alongDepth
                     ? d.isLess(d.add(k, d.toIndex(d.mul(s.chunk, kChunk))), lastDepth)
                     : Value();
  if (!s.windows.empty()) {
    // A chunk is a part of the innermost loop.
    WindowReader::Place place = reader->place(d.add(k, d.toIndex(d.mul(s.chunk, kChunk))));
    for (auto [i, row] : llvm::enumerate(s.windows)) {
      Value exists = reader->isInside(row, place);
      exists = exists ? d.make<arith::AndIOp>(exists, isDeep) : isDeep;
      NVVM::CpAsyncOp::create(b, target(s, i, slot), reader->address(row, place), kChunkBytes,
                              NVVM::LoadCacheModifierKind::CG,
                              d.select(exists, s.exists[i], none));
    }
    return;
  }
  for (int64_t i = 0; i < s.count(); ++i) {
    Value inside = s.alongDepth ? isDeep
                                : d.isLess(d.add(k, d.toIndex(d.add(s.line, i * s.step))), lastDepth);
    Value bytes = d.select(inside, s.exists[s.alongDepth ? i : 0], none);
    Value from = d.after(pointer, d.mul(s.lineBytes, i * s.step));
    NVVM::CpAsyncOp::create(b, target(s, i, slot), from, kChunkBytes,
                            NVVM::LoadCacheModifierKind::CG, bytes);
  }
}

SmallVector<Value> MmaEmitter::readTile(const Staging &s, Value k) {
  auto type = VectorType::get({kChunk}, s.side->type());
  Values chunks;
  for (int64_t i = 0; i < s.count(); ++i) {
    Value line = d.toIndex(d.add(s.line, i * s.step));
    Value chunk = d.toIndex(d.mul(s.chunk, kChunk));
    Values elements;
    for (int64_t j = 0; j < kChunk; ++j) {
      Value within = d.add(chunk, j);
      Value row = d.add(firstRow(*s.side), s.alongDepth ? line : within);
      elements.push_back(element(*s.side, row, d.add(k, s.alongDepth ? within : line)));
    }
    chunks.push_back(vector::FromElementsOp::create(b, type, elements));
  }
  return chunks;
}

void MmaEmitter::writeTile(const Staging &s, ValueRange chunks, Value slot) {
  for (auto [i, chunk] : llvm::enumerate(chunks))
    d.store(chunk, target(s, i, slot), kChunkBytes);
}

/// Sixteen rows from `row` of the warp's, sixteen of the depth from `k`, as mma.sync takes them.
SmallVector<Value> MmaEmitter::fragment(const Staging &s, Value slot, Value warpRow, int64_t row,
                                        int64_t k, bool isLeft) {
  // Four matrices of eight by eight; of the left side the second lies beside the first along
  // rows, of the right one along the depth.
  Value eighth = d.rem(lane, 8);
  Value second = d.mul(d.rem(d.div(lane, 8), 2), 8), third = d.mul(d.div(lane, 16), 8);
  Value alongRows = d.add(warpRow, d.add(isLeft ? second : third, row));
  Value alongDepth = d.add(isLeft ? third : second, k);
  Value line = s.alongDepth ? d.add(alongRows, eighth) : d.add(alongDepth, eighth);
  Value chunk = d.div(s.alongDepth ? alongDepth : alongRows, kChunk);
  Value at = d.mul(d.add(d.mul(line, s.chunks), swapped(s, line, chunk)), kChunkBytes);
  Value from = d.after(shared, d.add(slot, d.add(at, s.base)));
  Type word = b.getI32Type();
  auto four = LLVM::LLVMStructType::getLiteral(b.getContext(), {word, word, word, word});
  auto layout = s.alongDepth ? NVVM::MMALayout::row : NVVM::MMALayout::col;
  auto shape = NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8);
  Value loaded = NVVM::LdMatrixOp::create(b, four, from, 4, layout, shape,
                                          NVVM::LdStMatrixEltType::B16);
  Values words;
  for (int64_t i = 0; i < 4; ++i)
    words.push_back(asOperand(LLVM::ExtractValueOp::create(b, loaded, i)));
  return words;
}

/// f16 comes in pairs, bf16 in words.
Value MmaEmitter::asOperand(Value word) {
  if (!left.type().isF16())
    return word;
  return LLVM::BitcastOp::create(b, VectorType::get({2}, b.getF16Type()), word);
}

std::array<Staging, 2> MmaEmitter::begin() {
  lane = d.rem(thread, 32);
  Value warp = d.div(thread, 32);
  int64_t warpsN = tile.n / tile.warpN;
  warpM = d.mul(d.div(warp, warpsN), tile.warpM);
  warpN = d.mul(d.rem(warp, warpsN), tile.warpN);
  return {stage(left, tile.m, 0), stage(right, tile.n, tile.m * tile.k * 2)};
}

Value MmaEmitter::start(const Staging &s) {
  if (!s.windows.empty())
    return s.windows.front().pointer;
  Value line = d.toIndex(s.line), chunk = d.toIndex(d.mul(s.chunk, kChunk));
  Value row = d.add(firstRow(*s.side), s.alongDepth ? line : chunk);
  return address(*s.side, row, d.add(firstDepth, s.alongDepth ? chunk : line));
}

void MmaEmitter::multiply(ArrayRef<Staging> sides, Value slot, MutableArrayRef<Value> sums) {
  Type f32 = b.getF32Type();
  auto sumsType = LLVM::LLVMStructType::getLiteral(b.getContext(), {f32, f32, f32, f32});
  auto ptxType = left.type().isF16() ? NVVM::MMATypes::f16 : NVVM::MMATypes::bf16;
  for (int64_t k = 0; k < tile.k; k += kFragment) {
    SmallVector<Values> lefts, rights;
    for (int64_t i = 0; i < blocksM(); ++i)
      lefts.push_back(fragment(sides[0], slot, warpM, i * kFragment, k, /*isLeft=*/true));
    for (int64_t i = 0; i < blocksN(); ++i)
      rights.push_back(fragment(sides[1], slot, warpN, i * kFragment, k, /*isLeft=*/false));
    for (int64_t i = 0; i < blocksM(); ++i)
      for (int64_t j = 0; j < 2 * blocksN(); ++j) {
        MutableArrayRef<Value> sum = sums.slice((i * 2 * blocksN() + j) * 4, 4);
        Value all = NVVM::MmaOp::create(
            b, sumsType, lefts[i], ArrayRef(rights[j / 2]).slice(j % 2 * 2, 2), sum, {16, 8, 16},
            std::nullopt, std::nullopt, std::array{ptxType, ptxType},
            std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
        for (int64_t part = 0; part < 4; ++part)
          sum[part] = LLVM::ExtractValueOp::create(b, all, part);
      }
  }
}

void MmaEmitter::storeSums(ValueRange sums) {
  Value row = d.add(warpM, d.div(lane, 4)), column = d.add(warpN, d.mul(d.rem(lane, 4), 2));
  Value first = d.after(shared, d.add(d.mul(row, sumsPitch()), d.mul(column, 4)));
  auto two = VectorType::get({2}, b.getF32Type());
  auto sum = sums.begin();
  for (int64_t i = 0; i < tile.warpM; i += kFragment)
    for (int64_t j = 0; j < tile.warpN; j += 8)
      for (int64_t half = 0; half < kFragment; half += 8) {
        Value x = *sum++, y = *sum++;
        d.store(vector::FromElementsOp::create(b, two, ValueRange{x, y}),
                d.after(first, (i + half) * sumsPitch() + j * 4), 8);
      }
}

static Value narrowed(Value factor) {
  auto extended = factor.getDefiningOp<arith::ExtFOp>();
  return extended ? extended.getIn() : Value();
}

bool ssm::canUseTensorCores(Matmul what) {
  Value left = narrowed(what.left), right = narrowed(what.right);
  return left && right && what.sum.getType().isF32() && left.getType() == right.getType() &&
         (left.getType().isF16() || left.getType().isBF16());
}

SmallVector<MatmulSide> ssm::getMmaSides(KernelOp kernel, const Matmul &what) {
  return {describeSide(kernel, what, narrowed(what.left), /*isLeft=*/true),
          describeSide(kernel, what, narrowed(what.right), /*isLeft=*/false)};
}

LaunchShape ssm::emitMmaMatmul(DeviceKernel &kernel, const Matmul &what, MatmulTile tile,
                               bool isDirect, bool overlaps) {
  SmallVector<MatmulSide> sides = getMmaSides(kernel.kernel, what);
  // Left to itself, ptxas spills some of the small tile for one more block. Deep stages leave room
  // for fewer.
  if (isDirect && tile.warpM * tile.warpN <= 32 * 32)
    kernel.function->setAttr("nvvm.minctasm",
                             kernel.device.getI32IntegerAttr(tile.k > 32 ? 3 : 4));
  return MmaEmitter(kernel, what, sides[0], sides[1], tile, isDirect).emit(overlaps);
}

LaunchShape ssm::emitMmaConvolution(DeviceKernel &kernel, const Convolution &what, MatmulTile tile,
                                    bool isDirect) {
  SmallVector<MatmulSide> sides = describeSides(kernel.kernel, what, narrowed(what.product.left),
                                                narrowed(what.product.right));
  return MmaEmitter(kernel, what.product, sides[0], sides[1], tile, isDirect)
      .emit(/*overlaps=*/false);
}
