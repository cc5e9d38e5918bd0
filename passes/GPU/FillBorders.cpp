//===- FillBorders.cpp - Padding fills no more than it adds --------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"

namespace ssm {
#define GEN_PASS_DEF_FILLBORDERS
#include "passes/GPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// Elements from which on several short kernels take less time than one that writes all.
constexpr int64_t kLarge = 1 << 20;

/// One part of a buffer, the rest of which was filled before.
struct Part {
  KernelOp fill, writer;
  memref::SubViewOp view;
};

} // namespace

/// Writes one constant to all of a buffer.
static bool isFill(KernelOp kernel) {
  return kernel.getInputs().empty() && kernel.getOuts().size() == 1 && !kernel.getTime() &&
         kernel.getNumCarries() == 0 && kernel.getOutMap(0).isPermutation() &&
         matchPattern(kernel.getYield().getValues().front(), m_Constant()) &&
         cast<MemRefType>(kernel.getOuts().front().getType()).getLayout().isIdentity();
}

/// What writes a part of what `fill` wrote, in the next step after it.
static std::optional<Part> findPart(KernelOp fill) {
  Operation *next = fill->getNextNode();
  while (next && isMemoryEffectFree(next))
    next = next->getNextNode();
  auto writer = dyn_cast_if_present<KernelOp>(next);
  if (!writer || writer.getOuts().size() != 1 || writer.getTime() || writer.getNumCarries() != 0 ||
      !writer.getOutMap(0).isPermutation())
    return std::nullopt;
  auto view = writer.getOuts().front().getDefiningOp<memref::SubViewOp>();
  Value buffer = fill.getOuts().front();
  if (!view || view.getSource() != buffer || !view.hasUnitStride() ||
      view.getType().getRank() != view.getSourceType().getRank() || isFill(writer))
    return std::nullopt;
  return Part{fill, writer, view};
}

/// Known sizes as what they were made with, so that equal ones are the same value.
static Value sizeOf(ImplicitLocOpBuilder &b, Value buffer, int64_t axis) {
  auto type = cast<MemRefType>(buffer.getType());
  ValueRange sizes;
  if (auto output = buffer.getDefiningOp<OutputOp>())
    sizes = output.getSizes();
  else if (auto view = buffer.getDefiningOp<ArenaViewOp>())
    sizes = view.getSizes();
  if (sizes.empty() || !type.isDynamicDim(axis))
    return b.createOrFold<memref::DimOp>(buffer, axis);
  return sizes[type.getDynamicDimIndex(axis)];
}

static void fillBorders(Part part) {
  KernelOp writer = part.writer;
  ImplicitLocOpBuilder b(part.fill.getLoc(), writer);
  memref::SubViewOp view = part.view;
  Value buffer = view.getSource();
  int64_t rank = view.getType().getRank();
  auto valueOf = [&](OpFoldResult size) {
    return getValueOrCreateConstantIndexOp(b, b.getLoc(), size);
  };
  SmallVector<Value> begins, sizes, all;
  Value zero = arith::ConstantIndexOp::create(b, 0),
        elements = arith::ConstantIndexOp::create(b, 1);
  for (int64_t axis = 0; axis < rank; ++axis) {
    begins.push_back(valueOf(view.getMixedOffsets()[axis]));
    sizes.push_back(valueOf(view.getMixedSizes()[axis]));
    all.push_back(sizeOf(b, buffer, axis));
    elements = b.createOrFold<arith::MulIOp>(elements, all.back());
  }
  Value isLarge = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, elements,
                                        arith::ConstantIndexOp::create(b, kLarge));
  auto branch = scf::IfOp::create(b, isLarge, /*withElseRegion=*/true);
  b.setInsertionPointToStart(branch.elseBlock());
  b.clone(*part.fill);
  b.setInsertionPointToStart(branch.thenBlock());
  // Along an axis, what lies in front and behind; of the axes before it no more than the part has.
  SmallVector<Value> from(rank, zero), count = all;
  for (int64_t axis = 0; axis < rank; ++axis) {
    Value end = b.createOrFold<arith::AddIOp>(begins[axis], sizes[axis]);
    Value behind = b.createOrFold<arith::SubIOp>(all[axis], end);
    for (auto [first, number] : {std::pair(zero, begins[axis]), std::pair(end, behind)}) {
      if (isConstantIntValue(number, 0) || (first != zero && all[axis] == sizes[axis]))
        continue;
      from[axis] = first;
      count[axis] = number;
      SmallVector<OpFoldResult> steps(rank, b.getIndexAttr(1));
      Value border = memref::SubViewOp::create(b, buffer, getAsOpFoldResult(from),
                                               getAsOpFoldResult(count), steps);
      cast<KernelOp>(b.clone(*part.fill)).getOutsMutable().assign(border);
    }
    from[axis] = begins[axis];
    count[axis] = sizes[axis];
  }
  part.fill->erase();
}

namespace {
struct FillBorders : ssm::impl::FillBordersBase<FillBorders> {
  void runOnOperation() override {
    SmallVector<Part> parts;
    getOperation()->walk([&](KernelOp kernel) {
      if (isFill(kernel))
        if (std::optional<Part> part = findPart(kernel))
          parts.push_back(*part);
    });
    llvm::for_each(parts, fillBorders);
  }
};
} // namespace
