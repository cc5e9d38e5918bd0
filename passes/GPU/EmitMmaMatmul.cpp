//===- EmitMmaMatmul.cpp - Products on tensor cores by mma.sync ------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/StagedMatmul.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

namespace {

/// What shared memory is written and read by.
constexpr int64_t kChunkBytes = 16;
/// Rows of the left side, columns of the right one, and bytes of the depth, of one fragment.
constexpr int64_t kFragment = 16, kFragmentBytes = 32;

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
  int64_t count() const { return lines / step; }
};

class MmaEmitter : public AheadEmitter<Staging> {
public:
  MmaEmitter(DeviceKernel &kernel, const Matmul &what, MatmulSide left, MatmulSide right,
             MatmulTile tile, MmaKind kind, bool isDirect)
      : AheadEmitter(kernel, what, left, right, tile, tile.threads()), kind(kind),
        isDirect(isDirect), bytes(left.type().getIntOrFloatBitWidth() / 8),
        chunkElements(kChunkBytes / bytes) {}

  LaunchShape emit(bool overlaps) {
    return run((tile.m + tile.n) * tile.k * bytes, blocksM() * blocksN() * 8, /*isAsync=*/true,
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
  /// Sixteen rows from `row` of the warp's, 32 bytes of the depth from `k`, as mma.sync takes them.
  Values fragment(const Staging &s, Value slot, Value warpRow, int64_t row, int64_t k, bool isLeft);
  Values fragmentOfBytes(const Staging &s, Value slot, Value row, int64_t k, bool isLeft);
  Values fragmentOfWords(const Staging &s, Value slot, Value row, int64_t k, bool isLeft);
  Value placeOf(const Staging &s, Value slot, Value line, Value chunk);
  Values loadMatrices(Value from, bool turned);
  /// Bytes whose lines are places of the depth: fragments have their even rows, then odd ones.
  bool isInterleaved(bool alongDepth) const { return bytes == 1 && !alongDepth; }
  /// Of what is computed, threads that are neighbours take neighbours of the input's last axis.
  static bool isAlongDepth(const MatmulSide &side) { return !side.input || side.isDenseAlongDepth; }
  Value asOperand(Value word);
  /// Operands of which products are summed up, in their order: pairs of a left and a right one.
  SmallVector<Values, 2> operandsOf(ValueRange words);
  Value multiply(ValueRange left, ValueRange right, ValueRange sums);

  MmaKind kind;
  bool isDirect;
  /// Of an element; elements of a chunk.
  int64_t bytes, chunkElements;
  Value lane, warpM, warpN;
};

} // namespace

Staging MmaEmitter::stage(MatmulSide &side, int64_t rows, int64_t base) {
  Staging s;
  s.side = &side;
  s.rows = rows;
  s.base = base;
  s.isDirect = isDirect && side.input;
  s.alongDepth = isAlongDepth(side);
  s.chunks = (s.alongDepth ? tile.k : rows) / chunkElements;
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
    Value row = d.add(first, d.toIndex(d.mul(s.chunk, chunkElements)));
    s.exists.push_back(d.select(d.isLess(row, count), all, none));
  }
  Value perDepth = stride(side, what.k.front());
  s.lineBytes =
      s.alongDepth ? (side.row ? stride(side, *side.row) : d.toWide(e.index(0))) : perDepth;
  s.tileBytes = d.mul(perDepth, tile.k);
  return s;
}

Value MmaEmitter::swapped(const Staging &s, Value line, Value chunk) {
  if (s.chunks == 1)
    return chunk;
  // Lines that are read together get numbers in a row: of bytes across the depth each second pair
  // of lines, of words four lines of two chunks.
  if (isInterleaved(s.alongDepth))
    line = d.add(d.mul(d.div(line, 4), 2), d.rem(line, 2));
  else if (bytes == 4 && !s.alongDepth)
    line = d.mul(line, 2);
  // Lines that are shorter than all banks share them.
  int64_t linesOfBanks = std::max<int64_t>(8 / s.chunks, 1);
  Value turn = d.bitAnd(d.div(line, linesOfBanks), std::min<int64_t>(s.chunks, 8) - 1);
  return d.bitXor(chunk, turn);
}

Value MmaEmitter::placeOf(const Staging &s, Value slot, Value line, Value chunk) {
  Value at = d.mul(d.add(d.mul(line, s.chunks), swapped(s, line, chunk)), kChunkBytes);
  return d.after(shared, d.add(slot, d.add(at, s.base)));
}

/// Where the thread's i-th chunk goes.
Value MmaEmitter::target(const Staging &s, int64_t i, Value slot) {
  return placeOf(s, slot, d.add(s.line, i * s.step), s.chunk);
}

void MmaEmitter::copyAsync(const Staging &s, Value k, Value pointer, Value slot) {
  Value none = d.constant(0), deep;
  if (s.alongDepth) {
    // What lies behind the depth's end is not part of a row.
    Value first = d.min(d.add(k, d.toIndex(d.mul(s.chunk, chunkElements))), lastDepth);
    deep = d.toInt(d.mul(d.min(d.sub(lastDepth, first), chunkElements), bytes));
  }
  for (int64_t i = 0; i < s.count(); ++i) {
    Value bytes =
        s.alongDepth ? d.min(deep, s.exists[i])
                     : d.select(d.isLess(d.add(k, d.toIndex(d.add(s.line, i * s.step))), lastDepth),
                                s.exists[0], none);
    Value from = d.after(pointer, d.mul(s.lineBytes, i * s.step));
    NVVM::CpAsyncOp::create(b, target(s, i, slot), from, kChunkBytes,
                            NVVM::LoadCacheModifierKind::CG, bytes);
  }
}

SmallVector<Value> MmaEmitter::readTile(const Staging &s, Value k) {
  auto type = VectorType::get({chunkElements}, s.side->type());
  Values chunks;
  for (int64_t i = 0; i < s.count(); ++i) {
    Value line = d.toIndex(d.add(s.line, i * s.step));
    Value chunk = d.toIndex(d.mul(s.chunk, chunkElements));
    Values elements;
    for (int64_t j = 0; j < chunkElements; ++j) {
      Value within = d.add(chunk, j);
      Value row = d.add(firstRow(*s.side), s.alongDepth ? line : within);
      Value number = element(*s.side, row, d.add(k, s.alongDepth ? within : line));
      if (Type type = s.side->converted)
        number = arith::ExtFOp::create(b, type, number);
      elements.push_back(number);
    }
    chunks.push_back(vector::FromElementsOp::create(b, type, elements));
  }
  return chunks;
}

void MmaEmitter::writeTile(const Staging &s, ValueRange chunks, Value slot) {
  for (auto [i, chunk] : llvm::enumerate(chunks))
    d.store(chunk, target(s, i, slot), kChunkBytes);
}

SmallVector<Value> MmaEmitter::loadMatrices(Value from, bool turned) {
  Type word = b.getI32Type();
  auto four = LLVM::LLVMStructType::getLiteral(b.getContext(), {word, word, word, word});
  auto shape = NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8);
  Value loaded = NVVM::LdMatrixOp::create(b, four, from, 4,
                                          turned ? NVVM::MMALayout::col : NVVM::MMALayout::row,
                                          shape, NVVM::LdStMatrixEltType::B16);
  Values words;
  for (int64_t i = 0; i < 4; ++i)
    words.push_back(LLVM::ExtractValueOp::create(b, loaded, i));
  return words;
}

SmallVector<Value> MmaEmitter::fragment(const Staging &s, Value slot, Value warpRow, int64_t row,
                                        int64_t k, bool isLeft) {
  if (!s.alongDepth && bytes == 1)
    return fragmentOfBytes(s, slot, d.add(warpRow, row), k, isLeft);
  if (!s.alongDepth && bytes == 4)
    return fragmentOfWords(s, slot, d.add(warpRow, row), k, isLeft);
  // Four matrices of eight rows of 16 bytes; of the left side the second lies beside the first
  // along rows, of the right one along the depth.
  Value eighth = d.rem(lane, 8);
  Value second = d.rem(d.div(lane, 8), 2), third = d.div(lane, 16);
  Value alongRows = d.add(warpRow, d.add(d.mul(isLeft ? second : third, 8), row));
  Value alongDepth = d.add(d.mul(isLeft ? third : second, chunkElements), k);
  Value line = s.alongDepth ? d.add(alongRows, eighth) : d.add(alongDepth, eighth);
  Value chunk = d.div(s.alongDepth ? alongDepth : alongRows, chunkElements);
  return loadMatrices(placeOf(s, slot, line, chunk), /*turned=*/!s.alongDepth);
}

/// Turned matrices have pairs of rows at two places of the depth; each thread takes its four places
/// from two of them, and parts even rows from odd ones.
SmallVector<Value> MmaEmitter::fragmentOfBytes(const Staging &s, Value slot, Value row, int64_t k,
                                               bool isLeft) {
  Value matrix = d.div(lane, 8), eighth = d.rem(lane, 8);
  Value line = d.add(d.add(d.mul(d.div(eighth, 2), 4), d.rem(eighth, 2)),
                     d.add(d.mul(d.rem(matrix, 2), 2), d.mul(d.div(matrix, 2), 16)));
  Values pairs = loadMatrices(placeOf(s, slot, d.add(line, k), d.div(row, chunkElements)),
                              /*turned=*/true);
  Values words;
  for (int64_t i = 0; i < 4; ++i) {
    int64_t half = isLeft ? i / 2 : i % 2;
    bool isOdd = isLeft ? i % 2 : i / 2;
    words.push_back(NVVM::PermuteOp::create(b, b.getI32Type(), pairs[2 * half], pairs[2 * half + 1],
                                            d.constant(isOdd ? 0x7531 : 0x6420),
                                            NVVM::PermuteMode::DEFAULT));
  }
  return words;
}

SmallVector<Value> MmaEmitter::fragmentOfWords(const Staging &s, Value slot, Value row, int64_t k,
                                               bool isLeft) {
  Values words;
  for (int64_t i = 0; i < 4; ++i) {
    int64_t half = isLeft ? i / 2 : i % 2, second = isLeft ? i % 2 : i / 2;
    Value line = d.add(d.rem(lane, 4), k + 4 * half);
    Value own = d.add(d.add(row, d.div(lane, 4)), 8 * second);
    Value from = placeOf(s, slot, line, d.div(own, chunkElements));
    words.push_back(d.load(b.getI32Type(), d.after(from, d.mul(d.rem(own, chunkElements), 4)), 4));
  }
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
  return {stage(left, tile.m, 0), stage(right, tile.n, tile.m * tile.k * bytes)};
}

Value MmaEmitter::start(const Staging &s) {
  Value line = d.toIndex(s.line), chunk = d.toIndex(d.mul(s.chunk, chunkElements));
  Value row = d.add(firstRow(*s.side), s.alongDepth ? line : chunk);
  return address(*s.side, row, d.add(firstDepth, s.alongDepth ? chunk : line));
}

SmallVector<SmallVector<Value>, 2> MmaEmitter::operandsOf(ValueRange words) {
  Values first, rest;
  for (Value word : words) {
    if (kind != MmaKind::TF32x3) {
      // Of f32 tensor cores leave out what tf32 has not.
      first.push_back(asOperand(word));
      continue;
    }
    // To the nearest. A NaN that becomes a number is one still in what is left. (cvt.rna takes
    // four times as long.)
    first.push_back(d.bitAnd(d.add(word, 0x1000), ~int64_t(0x1fff)));
    Type f32 = b.getF32Type();
    Value left = arith::SubFOp::create(b, arith::BitcastOp::create(b, f32, word),
                                       arith::BitcastOp::create(b, f32, first.back()));
    rest.push_back(arith::BitcastOp::create(b, b.getI32Type(), left));
  }
  if (rest.empty())
    return {first};
  return {first, rest};
}

Value MmaEmitter::multiply(ValueRange left, ValueRange right, ValueRange sums) {
  SmallVector<Type> types(4, what.sum.getType());
  auto sumsType = LLVM::LLVMStructType::getLiteral(b.getContext(), types);
  auto typeOf = [&](const MatmulSide &side) {
    if (kind == MmaKind::Byte)
      return side.isSigned ? NVVM::MMATypes::s8 : NVVM::MMATypes::u8;
    if (kind != MmaKind::Half)
      return NVVM::MMATypes::tf32;
    return side.type().isF16() ? NVVM::MMATypes::f16 : NVVM::MMATypes::bf16;
  };
  std::optional<NVVM::MMAIntOverflow> overflow;
  if (kind == MmaKind::Byte)
    overflow = NVVM::MMAIntOverflow::wrapped;
  return NVVM::MmaOp::create(b, sumsType, left, right, sums, {16, 8, kFragmentBytes / bytes},
                             std::nullopt, overflow,
                             std::array{typeOf(this->left), typeOf(this->right)},
                             std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
}

void MmaEmitter::multiply(ArrayRef<Staging> sides, Value slot, MutableArrayRef<Value> sums) {
  for (int64_t k = 0; k < tile.k; k += kFragmentBytes / bytes) {
    SmallVector<SmallVector<Values, 2>> lefts, rights;
    for (int64_t i = 0; i < blocksM(); ++i)
      lefts.push_back(
          operandsOf(fragment(sides[0], slot, warpM, i * kFragment, k, /*isLeft=*/true)));
    for (int64_t i = 0; i < blocksN(); ++i)
      rights.push_back(
          operandsOf(fragment(sides[1], slot, warpN, i * kFragment, k, /*isLeft=*/false)));
    for (int64_t i = 0; i < blocksM(); ++i)
      for (int64_t j = 0; j < 2 * blocksN(); ++j) {
        MutableArrayRef<Value> sum = sums.slice((i * 2 * blocksN() + j) * 4, 4);
        auto add = [&](unsigned x, unsigned y, MutableArrayRef<Value> to) {
          Value all = multiply(lefts[i][x], ArrayRef(rights[j / 2][y]).slice(j % 2 * 2, 2), to);
          for (int64_t part = 0; part < 4; ++part)
            to[part] = LLVM::ExtractValueOp::create(b, all, part);
        };
        if (kind != MmaKind::TF32x3) {
          add(0, 0, sum);
          continue;
        }
        // Small ones first; what both leave out is too small for f32. Tensor cores cut sums off
        // where f32 rounds: theirs are of one step alone.
        Value none = arith::ConstantOp::create(b, b.getZeroAttr(b.getF32Type()));
        Values parts(4, none);
        add(1, 0, parts);
        add(0, 1, parts);
        add(0, 0, parts);
        for (auto [all, part] : llvm::zip_equal(sum, parts))
          all = arith::AddFOp::create(b, all, part);
      }
  }
}

void MmaEmitter::storeSums(ValueRange sums) {
  // Rows of a fragment are eight apart, or even ones and odd ones; so are columns.
  int64_t rowStep = isInterleaved(isAlongDepth(left)) ? 2 : 1, secondRow = rowStep == 2 ? 1 : 8;
  bool isWide = isInterleaved(isAlongDepth(right));
  Value row = d.add(warpM, d.mul(d.div(lane, 4), rowStep));
  Value column = d.add(warpN, d.mul(d.rem(lane, 4), isWide ? 4 : 2));
  Value first = d.after(shared, d.add(d.mul(row, sumsPitch()), d.mul(column, 4)));
  Type type = what.sum.getType();
  auto store = [&](ValueRange values, int64_t row, int64_t column) {
    auto vector = VectorType::get({static_cast<int64_t>(values.size())}, type);
    d.store(vector::FromElementsOp::create(b, vector, values),
            d.after(first, row * sumsPitch() + column * 4), values.size() * 4);
  };
  for (int64_t i = 0; i < blocksM(); ++i)
    for (int64_t j = 0; j < blocksN(); ++j)
      for (int64_t half = 0; half < 2; ++half) {
        auto at = [&](int64_t block, int64_t column) {
          return sums[((i * blocksN() + j) * 2 + block) * 4 + half * 2 + column];
        };
        int64_t inRow = i * kFragment + half * secondRow, inColumn = j * kFragment;
        if (isWide) {
          store({at(0, 0), at(1, 0), at(0, 1), at(1, 1)}, inRow, inColumn);
          continue;
        }
        store({at(0, 0), at(0, 1)}, inRow, inColumn);
        store({at(1, 0), at(1, 1)}, inRow, inColumn + 8);
      }
}

/// What a factor is converted from to the type of sums; null if it is not.
static Value narrowed(Value factor) {
  Operation *op = factor.getDefiningOp();
  return isa_and_nonnull<arith::ExtFOp, arith::ExtSIOp, arith::ExtUIOp>(op) ? op->getOperand(0)
                                                                            : Value();
}

static bool isHalf(Type type) { return type.isF16() || type.isBF16(); }
static bool isFloat8(Type type) { return isa<Float8E4M3FNType, Float8E5M2Type>(type); }

std::optional<MmaKind> ssm::getMmaKind(Matmul what, F32Products precision) {
  Type sum = what.sum.getType();
  Value left = narrowed(what.left), right = narrowed(what.right);
  if (left && right && sum.isF32() && left.getType() == right.getType() && isHalf(left.getType()))
    return MmaKind::Half;
  if (left && right && sum.isInteger(32) && left.getType().isInteger(8) &&
      right.getType().isInteger(8))
    return MmaKind::Byte;
  if (left && right && sum.isF32() && isFloat8(left.getType()) && isFloat8(right.getType()))
    return MmaKind::Float8;
  if (!sum.isF32() || precision == F32Products::IEEE)
    return std::nullopt;
  return precision == F32Products::TF32 ? MmaKind::TF32 : MmaKind::TF32x3;
}

SmallVector<MatmulSide> ssm::getMmaSides(KernelOp kernel, const Matmul &what, MmaKind kind) {
  SmallVector<MatmulSide> sides;
  for (bool isLeft : {true, false}) {
    Value factor = isLeft ? what.left : what.right;
    bool isConverted = kind != MmaKind::TF32 && kind != MmaKind::TF32x3;
    sides.push_back(describeSide(kernel, what, isConverted ? narrowed(factor) : factor, isLeft));
    MatmulSide &side = sides.back();
    side.isSigned = !factor.getDefiningOp<arith::ExtUIOp>();
    if (kind == MmaKind::Half && isFloat8(side.type())) {
      side.converted = Float16Type::get(kernel.getContext());
      side.input = std::nullopt;
    }
  }
  return sides;
}

LaunchShape ssm::emitMmaMatmul(DeviceKernel &kernel, const Matmul &what, MatmulTile tile,
                               MmaKind kind, bool isDirect, bool overlaps) {
  SmallVector<MatmulSide> sides = getMmaSides(kernel.kernel, what, kind);
  // Left to itself, ptxas spills some of the small tile for one more block. Deep stages leave room
  // for fewer, as do factors in two parts.
  int64_t lineBytes = tile.k * sides[0].type().getIntOrFloatBitWidth() / 8;
  int32_t blocks = (lineBytes > 64 ? 3 : 4) - (kind == MmaKind::TF32x3);
  if (isDirect && tile.warpM * tile.warpN <= 32 * 32)
    kernel.function->setAttr("nvvm.minctasm", kernel.device.getI32IntegerAttr(blocks));
  // Or reading by elements does so.
  if (!isDirect && lineBytes / tile.k == 1)
    kernel.function->setAttr("nvvm.minctasm", kernel.device.getI32IntegerAttr(2));
  return MmaEmitter(kernel, what, sides[0], sides[1], tile, kind, isDirect).emit(overlaps);
}
