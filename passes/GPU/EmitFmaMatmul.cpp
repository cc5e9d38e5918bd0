//===- EmitFmaMatmul.cpp - Products of 32-bit numbers ---------------------- ===//
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

/// A thread has blocks of four by four sums, as many as 16 by 16 threads leave it.
constexpr int64_t kSide = 16, kBlock = 4, kBytes = 4;
/// Elements between lines of shared memory: lines begin four banks apart.
constexpr int64_t kGap = 4;

/// A side's part of a stage: a line of rows for each place of the depth.
struct Staging {
  MatmulSide *side;
  int64_t rows, base;
  bool isDirect, alongDepth;
  /// This thread's first row and place of the depth, and how far the next are.
  Value row, k;
  int64_t rowStep, kStep, count;
  /// Of each of its elements, or of all, whether the row exists.
  SmallVector<Value> exists;
  Value elementBytes, tileBytes;
  /// Of windows: where the thread's begin.
  SmallVector<WindowReader::Row> windows;
  int64_t pitch() const { return (rows + kGap) * kBytes; }
};

class FmaEmitter : public AheadEmitter<Staging> {
public:
  FmaEmitter(DeviceKernel &kernel, const Matmul &what, MatmulSide left, MatmulSide right,
             MatmulTile tile, bool isAsync)
      : AheadEmitter(kernel, what, left, right, tile, kSide * kSide), isAsync(isAsync) {}

  LaunchShape emit(bool overlaps) {
    return run(leftBytes() + tile.k * (tile.n + kGap) * kBytes, perM() * perN(), isAsync,
               overlaps);
  }

private:
  int64_t leftBytes() const { return tile.k * (tile.m + kGap) * kBytes; }
  int64_t perM() const { return tile.m / kSide; }
  int64_t perN() const { return tile.n / kSide; }

  std::array<Staging, 2> begin() override;
  Value start(const Staging &s) override {
    if (!s.windows.empty())
      return s.windows.front().pointer;
    return address(*s.side, d.add(firstRow(*s.side), d.toIndex(s.row)),
                   d.add(firstDepth, d.toIndex(s.k)));
  }
  void copyAsync(const Staging &s, Value k, Value pointer, Value slot) override;
  Values readTile(const Staging &s, Value k) override;
  void writeTile(const Staging &s, ValueRange elements, Value slot) override;
  void multiply(ArrayRef<Staging> sides, Value slot, MutableArrayRef<Value> sums) override;
  void storeSums(ValueRange sums) override;

  Staging stage(MatmulSide &side, int64_t rows, int64_t base);
  Value target(const Staging &s, int64_t i, Value slot);
  Values line(const Staging &s, Value slot, Value first, int64_t k);
  Value multiplyAdd(Value x, Value y, Value sum);

  bool isAsync;
  Value threadM, threadN;
  std::optional<WindowReader> reader;
};

} // namespace

Staging FmaEmitter::stage(MatmulSide &side, int64_t rows, int64_t base) {
  Staging s;
  s.side = &side;
  s.rows = rows;
  s.base = base;
  s.isDirect = isAsync && (side.input || side.window);
  s.alongDepth = side.window ? side.window->axes.back().factorOf(what.n) == 0
                             : !side.input || side.isDenseAlongDepth;
  s.count = rows * tile.k / threads;
  // Neighbours in memory are neighbouring threads'.
  if (s.alongDepth) {
    s.k = d.rem(thread, tile.k);
    s.row = d.div(thread, tile.k);
    s.rowStep = threads / tile.k;
    s.kStep = 0;
  } else {
    s.row = d.rem(thread, rows);
    s.k = d.div(thread, rows);
    s.rowStep = 0;
    s.kStep = threads / rows;
  }
  if (!s.isDirect)
    return s;
  Value none = d.constant(0), all = d.constant(kBytes);
  for (int64_t i = 0; i < (s.alongDepth ? s.count : 1); ++i) {
    Value row = d.add(firstRow(side), d.toIndex(d.add(s.row, i * s.rowStep)));
    s.exists.push_back(d.select(d.isLess(row, this->rows(side)), all, none));
    if (!side.window)
      continue;
    if (!reader)
      reader.emplace(d, e, *side.window, what.k);
    PointEmitter::Scope scope(e);
    setColumn(row);
    s.windows.push_back(reader->row());
  }
  if (side.window) {
    s.tileBytes = d.toWide(e.index(0));
    return s;
  }
  Value perDepth = stride(side, what.k.back());
  Value perRow = side.row ? stride(side, *side.row) : d.toWide(e.index(0));
  s.elementBytes = s.alongDepth ? d.mul(perRow, s.rowStep) : d.mul(perDepth, s.kStep);
  s.tileBytes = d.mul(perDepth, tile.k);
  return s;
}

Value FmaEmitter::target(const Staging &s, int64_t i, Value slot) {
  Value at = d.add(d.mul(s.k, s.pitch()), d.mul(s.row, kBytes));
  int64_t more = i * (s.kStep * s.pitch() + s.rowStep * kBytes);
  return d.after(d.after(shared, d.add(slot, at)), s.base + more);
}

void FmaEmitter::copyAsync(const Staging &s, Value k, Value pointer, Value slot) {
  Value none = d.constant(0);
  if (!s.windows.empty()) {
    for (int64_t i = 0; i < s.count; ++i) {
      const WindowReader::Row &row = s.windows[s.alongDepth ? i : 0];
      Value at = d.add(k, d.toIndex(d.add(s.k, i * s.kStep)));
      WindowReader::Place place = reader->place(at);
      Value exists = d.isLess(at, lastDepth);
      if (Value isInside = reader->isInside(row, place))
        exists = d.make<arith::AndIOp>(exists, isInside);
      NVVM::CpAsyncOp::create(b, target(s, i, slot), reader->address(row, place), kBytes,
                              NVVM::LoadCacheModifierKind::CA,
                              d.select(exists, s.exists[s.alongDepth ? i : 0], none));
    }
    return;
  }
  for (int64_t i = 0; i < s.count; ++i) {
    Value at = d.add(k, d.toIndex(d.add(s.k, i * s.kStep)));
    Value bytes = d.select(d.isLess(at, lastDepth), s.exists[s.alongDepth ? i : 0], none);
    NVVM::CpAsyncOp::create(b, target(s, i, slot), pointer, kBytes,
                            NVVM::LoadCacheModifierKind::CA, bytes);
    pointer = d.after(pointer, s.elementBytes);
  }
}

SmallVector<Value> FmaEmitter::readTile(const Staging &s, Value k) {
  Values elements;
  for (int64_t i = 0; i < s.count; ++i) {
    Value row = d.add(firstRow(*s.side), d.toIndex(d.add(s.row, i * s.rowStep)));
    elements.push_back(
        element(*s.side, row, d.add(k, d.toIndex(d.add(s.k, i * s.kStep)))));
  }
  return elements;
}

/// The thread's rows of a side at one place of the depth.
SmallVector<Value> FmaEmitter::line(const Staging &s, Value slot, Value first, int64_t k) {
  auto type = VectorType::get({kBlock}, what.sum.getType());
  Value from = d.after(shared, d.add(slot, d.mul(first, kBytes)));
  Values elements;
  for (int64_t row = 0; row < s.rows; row += kSide * kBlock) {
    Value block = d.load(type, d.after(from, s.base + k * s.pitch() + row * kBytes), 16);
    for (int64_t i = 0; i < kBlock; ++i)
      elements.push_back(vector::ExtractOp::create(b, block, i));
  }
  return elements;
}

Value FmaEmitter::multiplyAdd(Value x, Value y, Value sum) {
  if (!isa<FloatType>(sum.getType()))
    return arith::AddIOp::create(b, sum, arith::MulIOp::create(b, x, y));
  auto contract = arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::contract);
  return arith::AddFOp::create(b, sum, arith::MulFOp::create(b, x, y, contract), contract);
}

std::array<Staging, 2> FmaEmitter::begin() {
  threadM = d.mul(d.div(thread, kSide), kBlock);
  threadN = d.mul(d.rem(thread, kSide), kBlock);
  return {stage(left, tile.m, 0), stage(right, tile.n, leftBytes())};
}

void FmaEmitter::writeTile(const Staging &s, ValueRange elements, Value slot) {
  for (auto [i, element] : llvm::enumerate(elements))
    d.store(element, target(s, i, slot), kBytes);
}

void FmaEmitter::multiply(ArrayRef<Staging> sides, Value slot, MutableArrayRef<Value> sums) {
  for (int64_t k = 0; k < tile.k; ++k) {
    Values lefts = line(sides[0], slot, threadM, k), rights = line(sides[1], slot, threadN, k);
    for (int64_t i = 0; i < perM(); ++i)
      for (int64_t j = 0; j < perN(); ++j)
        sums[i * perN() + j] = multiplyAdd(lefts[i], rights[j], sums[i * perN() + j]);
  }
}

void FmaEmitter::storeSums(ValueRange sums) {
  auto type = VectorType::get({kBlock}, what.sum.getType());
  Value first = d.after(shared, d.add(d.mul(threadM, sumsPitch()), d.mul(threadN, kBytes)));
  for (int64_t i = 0; i < perM(); ++i)
    for (int64_t j = 0; j < perN(); j += kBlock) {
      int64_t row = i / kBlock * kSide * kBlock + i % kBlock, column = j * kSide;
      Value block = vector::FromElementsOp::create(b, type, sums.slice(i * perN() + j, kBlock));
      d.store(block, d.after(first, row * sumsPitch() + column * kBytes), 16);
    }
}

bool ssm::canUseFma(Matmul what) {
  return what.sum.getType().isF32() || what.sum.getType().isInteger(32);
}

LaunchShape ssm::emitFmaMatmul(DeviceKernel &kernel, const Matmul &what, MatmulTile tile,
                               bool isAsync, bool overlaps) {
  MatmulSide left = describeSide(kernel.kernel, what, what.left, true);
  MatmulSide right = describeSide(kernel.kernel, what, what.right, false);
  // Left to itself, ptxas spills some for one more block.
  if (kernel.parts)
    kernel.function->setAttr("nvvm.minctasm", kernel.device.getI32IntegerAttr(2));
  return FmaEmitter(kernel, what, left, right, tile, isAsync).emit(overlaps);
}

LaunchShape ssm::emitFmaConvolution(DeviceKernel &kernel, const Convolution &what, MatmulTile tile,
                                    bool isDirect) {
  SmallVector<MatmulSide> sides =
      describeSides(kernel.kernel, what, what.product.left, what.product.right);
  return FmaEmitter(kernel, what.product, sides[0], sides[1], tile, isDirect)
      .emit(/*overlaps=*/false);
}
