//===- WarpgroupMatmul.cpp - What products by warpgroups share ------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/WarpgroupMatmul.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace ssm;

/// Nanoseconds that a wait may sleep.
static constexpr int64_t kTicks = 10000000;

WarpgroupEmitter::Staging WarpgroupEmitter::stage(MatmulSide &side, int64_t rows, int64_t base) {
  Staging s{&side, base, rows, tile.k, bytes, {}};
  AffineMap map = kernel.getInputMap(*side.input);
  auto box = llvm::map_to_vector(map.getResults(), [&](AffineExpr expr) -> int32_t {
    unsigned loop = cast<AffineDimExpr>(expr).getPosition();
    if (loop == what.k.front())
      return s.boxDepth();
    return loop == side.row ? s.boxRows() : 1;
  });
  s.map = k.addTensorMap(*side.input, box, s.lineBytes());
  return s;
}

void WarpgroupEmitter::wait(Value barrier, Value phase) {
  NVVM::MBarrierTryWaitParityOp::create(b, barrier, phase, d.constant(kTicks));
}

WarpgroupEmitter::Stage WarpgroupEmitter::next(Stage now) {
  Value more = d.add(now.number, 1);
  Value isLast = d.isEqual(more, stages);
  return {d.select(isLast, zero, more), d.select(isLast, d.bitXor(now.phase, 1), now.phase)};
}

void WarpgroupEmitter::initBarriers(int64_t arrivals) {
  d.branch(d.isEqual(thread, 0), [&] {
    for (int64_t i = 0; i < stages; ++i) {
      NVVM::MBarrierInitOp::create(b, full(d.constant(i)), one, Value());
      NVVM::MBarrierInitOp::create(b, empty(d.constant(i)), d.constant(arrivals), Value());
    }
    NVVM::FenceMbarrierInitOp::create(b);
  });
  gpu::BarrierOp::create(b);
}

void WarpgroupEmitter::expect(Value stage) {
  NVVM::MBarrierArriveExpectTxOp::create(b, Type(), full(stage), d.constant(stageBytes),
                                         NVVM::MemScopeKind::CTA, false, Value());
}

Value WarpgroupEmitter::atStage(const Staging &s, Value first, Value stage, int64_t step) {
  Value at = arith::ExtUIOp::create(b, b.getI64Type(), d.mul(stage, s.bytes() / 16));
  return d.add(d.add(first, at), s.after(step) / 16);
}

void WarpgroupEmitter::copy(const Staging &s, Value stage, Value k) {
  AffineMap map = kernel.getInputMap(*s.side->input);
  auto cluster = LLVM::LLVMPointerType::get(b.getContext(), /*shared memory of a cluster*/ 7);
  Value row = d.toInt(firstRow(*s.side));
  for (int64_t i = 0; i < s.boxes(); ++i) {
    Values at;
    for (AffineExpr expr : llvm::reverse(map.getResults())) {
      unsigned loop = cast<AffineDimExpr>(expr).getPosition();
      if (loop == what.k.front())
        at.push_back(s.alongDepth() ? d.add(k, i * s.boxDepth()) : k);
      else if (loop == s.side->row)
        at.push_back(s.alongDepth() ? row : d.add(row, i * s.boxRows()));
      else
        at.push_back(d.toInt(e.at[loop]));
    }
    Value to = d.after(shared, d.add(d.mul(stage, s.bytes()), s.base + i * s.boxBytes()));
    NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp::create(
        b, LLVM::AddrSpaceCastOp::create(b, cluster, to), s.map, at, full(stage), ValueRange(),
        Value(), Value(), NVVM::TMALoadMode::TILE, /*isCTAOnly=*/false, nullptr, Value());
  }
}

Value WarpgroupEmitter::describe(const Staging &s, Value offset) {
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

Value WarpgroupEmitter::multiply(const Staging &x, Value atX, const Staging &y, Value atY,
                                 Value sums, bool isFirst) {
  MLIRContext *context = b.getContext();
  auto typeOf = [&](const Staging &s) {
    return NVVM::WGMMATypesAttr::get(context, ::typeOf(*s.side));
  };
  auto in = NVVM::WGMMAScaleInAttr::get(context, NVVM::WGMMAScaleIn::one);
  auto layout = [&](const Staging &s, NVVM::MMALayout dense, NVVM::MMALayout other) {
    return NVVM::MMALayoutAttr::get(context, s.alongDepth() ? dense : other);
  };
  return NVVM::WgmmaMmaAsyncOp::create(
      b, sums.getType(), sums, atX, atY,
      NVVM::MMAShapeAttr::get(context, kRows, y.rows, kStepBytes / bytes), typeOf(x),
      typeOf(y),
      NVVM::WGMMATypesAttr::get(context, kind == MmaKind::Byte ? NVVM::WGMMATypes::s32
                                                               : NVVM::WGMMATypes::f32),
      NVVM::WGMMAScaleOutAttr::get(context, isFirst ? NVVM::WGMMAScaleOut::zero
                                                    : NVVM::WGMMAScaleOut::one),
      in, in,
      layout(x, NVVM::MMALayout::row, NVVM::MMALayout::col),
      layout(y, NVVM::MMALayout::col, NVVM::MMALayout::row), nullptr);
}
