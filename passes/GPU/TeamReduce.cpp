//===- TeamReduce.cpp - Sums over threads ---------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/TeamReduce.h"

#include "passes/GPU/DeviceBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

static Value shuffle(ImplicitLocOpBuilder &b, Value value, Value where, gpu::ShuffleMode mode) {
  Type type = value.getType();
  unsigned bits = type.getIntOrFloatBitWidth();
  Type word = b.getIntegerType(bits <= 32 ? 32 : 64), same = b.getIntegerType(bits);
  Value raw = value;
  if (!type.isInteger())
    raw = b.createOrFold<arith::BitcastOp>(same, raw);
  if (same != word)
    raw = arith::ExtUIOp::create(b, word, raw);
  Value width = arith::ConstantIntOp::create(b, b.getI32Type(), kWarp);
  Value other = gpu::ShuffleOp::create(b, raw, where, width, mode).getShuffleResult();
  if (same != word)
    other = arith::TruncIOp::create(b, same, other);
  return type.isInteger() ? other : b.createOrFold<arith::BitcastOp>(type, other);
}

Value ssm::shuffleXor(ImplicitLocOpBuilder &b, Value value, int64_t distance) {
  Value where = arith::ConstantIntOp::create(b, b.getI32Type(), distance);
  return shuffle(b, value, where, gpu::ShuffleMode::XOR);
}

Value ssm::shuffleUp(ImplicitLocOpBuilder &b, Value value, int64_t distance) {
  Value where = arith::ConstantIntOp::create(b, b.getI32Type(), distance);
  return shuffle(b, value, where, gpu::ShuffleMode::UP);
}

/// Some of the bits of a number or vector.
static Value someBits(ImplicitLocOpBuilder &b, Value value) {
  Type word = b.getI32Type();
  if (value.getType().isIndex())
    return DeviceBuilder{b}.toInt(value);
  if (auto type = dyn_cast<VectorType>(value.getType())) {
    int64_t bits = type.getNumElements() * type.getElementTypeBitWidth();
    int64_t width = std::min<int64_t>(bits, 32);
    auto words = VectorType::get({bits / width}, b.getIntegerType(width));
    value = vector::ExtractOp::create(b, vector::BitCastOp::create(b, words, value), 0);
  }
  if (isa<FloatType>(value.getType()))
    value = b.createOrFold<arith::BitcastOp>(
        b.getIntegerType(value.getType().getIntOrFloatBitWidth()), value);
  unsigned bits = value.getType().getIntOrFloatBitWidth();
  if (bits > 32)
    return arith::TruncIOp::create(b, word, value);
  return bits < 32 ? arith::ExtUIOp::create(b, word, value).getResult() : value;
}

Value ssm::areLoaded(ImplicitLocOpBuilder &b, ValueRange loaded) {
  DeviceBuilder d{b};
  Value bits;
  for (Value value : loaded) {
    Value more = someBits(b, value);
    bits = bits ? d.bitXor(bits, more) : more;
  }
  // The second bit of a square is never set.
  auto code = b.getStringAttr(
      "{ .reg .b32 square; mul.lo.u32 square, $1, $1; and.b32 $0, square, 2; }");
  auto noTail = LLVM::TailCallKindAttr::get(b.getContext(), LLVM::TailCallKind::None);
  Value bit = LLVM::InlineAsmOp::create(b, b.getI32Type(), bits, code, b.getStringAttr("=r,r"),
                                        UnitAttr(), UnitAttr(), noTail, LLVM::AsmDialectAttr(),
                                        ArrayAttr())
                  .getRes();
  return d.isEqual(bit, 0);
}

Value ssm::shuffleFrom(ImplicitLocOpBuilder &b, Value value, int64_t lanes, int64_t from) {
  Value thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  Value inWarp = arith::AndIOp::create(b, thread, arith::ConstantIndexOp::create(b, kWarp - lanes));
  Value where = arith::AddIOp::create(b, inWarp, arith::ConstantIndexOp::create(b, from));
  return shuffle(b, value, arith::IndexCastOp::create(b, b.getI32Type(), where),
                 gpu::ShuffleMode::IDX);
}

Value ssm::shuffleFrom(ImplicitLocOpBuilder &b, Value value, Value lane) {
  return shuffle(b, value, lane, gpu::ShuffleMode::IDX);
}

Value ssm::reduceOverLanes(PointEmitter &e, arith::AtomicRMWKind kind, Value value,
                           int64_t lanes, int64_t stride) {
  for (int64_t distance = lanes / 2; distance > 0; distance /= 2)
    value = e.combine(kind, value, shuffleXor(e.b, value, distance * stride));
  return value;
}

/// Parts of warps are put together by each warp, the same way.
Value ssm::reduceOverBlock(DeviceKernel &kernel, PointEmitter &e, arith::AtomicRMWKind kind,
                           Value value) {
  ImplicitLocOpBuilder &b = e.b;
  value = reduceOverLanes(e, kind, value, kWarp);
  Type type = value.getType();
  Value shared = kernel.addShared(kMaxBlock / kWarp, type);
  Value thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  Value threads = gpu::BlockDimOp::create(b, gpu::Dimension::x);
  Value warpSize = e.index(kWarp), zero = e.index(0);
  Value isMore = arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, threads, warpSize);
  auto branch = scf::IfOp::create(b, type, isMore, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(branch.elseBlock());
  scf::YieldOp::create(b, value);
  b.setInsertionPointToEnd(branch.thenBlock());
  Value lane = arith::RemUIOp::create(b, thread, warpSize);
  Value warp = arith::DivUIOp::create(b, thread, warpSize);
  Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, lane, zero);
  {
    auto writes = scf::IfOp::create(b, isFirst);
    OpBuilder::InsertionGuard inner(b);
    b.setInsertionPointToStart(writes.thenBlock());
    memref::StoreOp::create(b, value, shared, warp);
  }
  gpu::BarrierOp::create(b);
  Value warps = arith::DivUIOp::create(b, threads, warpSize);
  Value exists = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, lane, warps);
  Value place = arith::SelectOp::create(b, exists, lane, zero);
  Value part = memref::LoadOp::create(b, shared, place);
  part = arith::SelectOp::create(b, exists, part, e.neutral(kind, type));
  scf::YieldOp::create(b, reduceOverLanes(e, kind, part, kWarp));
  return branch.getResult(0);
}
