//===- UnrollGroups.cpp - Several readers of one state --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Tiling/Passes.h"

#include "dialects/SSM/KernelLoops.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/TypeUtilities.h"

namespace ssm {
#define GEN_PASS_DEF_UNROLLGROUPS
#include "passes/Tiling/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

/// Members of a group that one pass over the state serves: each has sums of its own
/// in registers.
static constexpr int64_t kMaxMembers = 8;

namespace {

class GroupUnroller {
public:
  GroupUnroller(KernelOp kernel, IRRewriter &rewriter)
      : kernel(kernel), rewriter(rewriter), loops(kernel) {}

  bool match();
  void unroll();

private:
  AffineMap fix(AffineMap map, int64_t member) {
    SmallVector<AffineExpr> dims;
    for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
      dims.push_back(loop == group ? rewriter.getAffineConstantExpr(member)
                                   : rewriter.getAffineDimExpr(loop - (loop > group)));
    return map.replaceDimsAndSymbols(dims, {}, kernel.getNumLoops() - 1, 0);
  }
  int64_t renumber(int64_t loop) { return loop - (loop > static_cast<int64_t>(group)); }
  /// The kernel for members [first, last): the results of the carries, then the
  /// others, in the order of `outs`.
  KernelOp build(int64_t first, int64_t last);
  void cloneRegion(KernelOp made, int64_t first, int64_t last);

  KernelOp kernel;
  IRRewriter &rewriter;
  KernelLoops loops;
  unsigned group = 0;
  int64_t size = 0;
  /// For each old input, and member: the new one. For each old out that is no carry,
  /// and member: the new out. Of the kernel that is being built.
  SmallVector<SmallVector<unsigned>> inputNumbers, outNumbers;
};

} // namespace

bool GroupUnroller::match() {
  if (!kernel.getTime() || kernel.hasBuffers() || kernel.getNumCarries() == 0)
    return false;
  LoopSet ofCarries = 0, ofOuts = 0;
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i)
    (i < kernel.getNumCarries() ? ofCarries : ofOuts) |= loopsOf(kernel.getOutMap(i));
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    ofOuts &= ~loopsOf(reduce.getLoops());
  SmallVector<unsigned> lacking = listLoops(ofOuts & ~ofCarries & ~loopBit(*kernel.getTime()));
  if (lacking.size() != 1)
    return false;
  group = lacking.front();
  auto [operand, axis] = kernel.getSizeSource(group);
  size = cast<ShapedType>(operand.getType()).getDimSize(axis);
  return !ShapedType::isDynamic(size) && size >= 1;
}

KernelOp GroupUnroller::build(int64_t first, int64_t last) {
  Location loc = kernel.getLoc();
  unsigned numCarries = kernel.getNumCarries();
  SmallVector<Value> inputs, outs;
  SmallVector<AffineMap> maps, outMaps;
  SmallVector<bool> mirrored;
  inputNumbers.clear();
  outNumbers.clear();
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
    AffineMap map = kernel.getInputMap(i);
    inputNumbers.emplace_back();
    for (int64_t member = first; member < last; ++member) {
      if (member == first || map.isFunctionOfDim(group)) {
        inputs.push_back(kernel.getInputs()[i]);
        maps.push_back(fix(map, member));
        mirrored.push_back(kernel.isInputMirrored(i));
      }
      inputNumbers.back().push_back(inputs.size() - 1);
    }
  }
  for (unsigned i = 0; i < numCarries; ++i)
    maps.push_back(fix(kernel.getInitMap(i), 0));
  auto emptyLike = [&](Value tensor, std::optional<unsigned> single) -> Value {
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(rewriter, loc, tensor);
    if (single)
      sizes[*single] = rewriter.getIndexAttr(1);
    return tensor::EmptyOp::create(rewriter, loc, sizes,
                                   cast<RankedTensorType>(tensor.getType()).getElementType());
  };
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i) {
    Value out = kernel.getOuts()[i];
    AffineMap map = kernel.getOutMap(i);
    std::optional<unsigned> axis;
    for (auto [at, expr] : llvm::enumerate(map.getResults()))
      if (expr.isFunctionOfDim(group))
        axis = at;
    SmallVector<unsigned> numbers;
    for (int64_t member = first; member < last; ++member) {
      if (member == first || axis) {
        outs.push_back(axis ? emptyLike(out, axis) : first == 0 ? out : emptyLike(out, axis));
        outMaps.push_back(fix(map, 0));
        if (i >= numCarries)
          mirrored.push_back(kernel.isOutMirrored(i));
      }
      numbers.push_back(outs.size() - 1);
    }
    outNumbers.push_back(numbers);
  }
  llvm::append_range(maps, outMaps);
  if (kernel.getMirrored().empty())
    mirrored.clear();
  auto made = KernelOp::create(
      rewriter, loc, ValueRange(outs).getTypes(),
      rewriter.getI64IntegerAttr(kernel.getNumLoops() - 1),
      rewriter.getI64IntegerAttr(renumber(*kernel.getTime())), inputs, kernel.getInits(), outs,
      rewriter.getAffineMapArrayAttr(maps), rewriter.getDenseBoolArrayAttr(mirrored),
      kernel.getTransitionAttr(), ConfigAttr());
  cloneRegion(made, first, last);
  return made;
}

void GroupUnroller::cloneRegion(KernelOp made, int64_t first, int64_t last) {
  OpBuilder::InsertionGuard guard(rewriter);
  Location loc = kernel.getLoc();
  Block *body = rewriter.createBlock(&made.getBody());
  for (Value input : made.getInputs())
    body->addArgument(getElementTypeOrSelf(input.getType()), loc);
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    body->addArgument(kernel.getCarryArg(i).getType(), loc);
  // One mapping for each member; what is the same for all is cloned once.
  SmallVector<IRMapping> members(last - first);
  for (auto [m, mapping] : llvm::enumerate(members)) {
    for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
      mapping.map(kernel.getInputArg(i), body->getArgument(inputNumbers[i][m]));
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
      mapping.map(kernel.getCarryArg(i), body->getArgument(made.getInputs().size() + i));
  }
  for (Operation &op : kernel.getStep().without_terminator()) {
    bool isShared = !contains(loops.of(op.getResult(0)), group);
    for (auto [m, mapping] : llvm::enumerate(members)) {
      if (isShared && m > 0) {
        mapping.map(op.getResult(0), members[0].lookup(op.getResult(0)));
        continue;
      }
      if (auto index = dyn_cast<IndexOp>(op)) {
        Value value;
        if (index.getLoop() == group)
          value = arith::ConstantIndexOp::create(rewriter, loc, first + m);
        else
          value = IndexOp::create(rewriter, loc, rewriter.getIndexType(),
                                  renumber(index.getLoop()));
        mapping.map(index.getResult(), value);
        continue;
      }
      Operation *clone = rewriter.clone(op, mapping);
      if (auto reduce = dyn_cast<ReduceOp>(clone)) {
        SmallVector<int64_t> renumbered(reduce.getLoops());
        for (int64_t &loop : renumbered)
          loop = renumber(loop);
        reduce.setLoops(renumbered);
      }
    }
  }
  SmallVector<Value> yields(made.getOuts().size());
  for (auto [value, numbers] : llvm::zip_equal(kernel.getYield().getValues(), outNumbers))
    for (auto [m, number] : llvm::enumerate(numbers))
      if (!yields[number])
        yields[number] = members[m].lookupOrDefault(value);
  YieldOp::create(rewriter, loc, yields);
}

void GroupUnroller::unroll() {
  rewriter.setInsertionPoint(kernel);
  Location loc = kernel.getLoc();
  SmallVector<Value> results(kernel.getOuts());
  for (int64_t first = 0; first < size; first += kMaxMembers) {
    int64_t last = std::min(first + kMaxMembers, size);
    KernelOp made = build(first, last);
    for (auto [i, numbers] : llvm::enumerate(outNumbers)) {
      AffineMap map = kernel.getOutMap(i);
      if (!map.isFunctionOfDim(group)) {
        if (first == 0)
          results[i] = made.getResult(numbers[0]);
        continue;
      }
      for (auto [m, number] : llvm::enumerate(numbers)) {
        Value part = made.getResult(number);
        SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(rewriter, loc, part);
        SmallVector<OpFoldResult> offsets(sizes.size(), rewriter.getIndexAttr(0));
        SmallVector<OpFoldResult> strides(sizes.size(), rewriter.getIndexAttr(1));
        for (auto [axis, expr] : llvm::enumerate(map.getResults()))
          if (expr.isFunctionOfDim(group))
            offsets[axis] = rewriter.getIndexAttr(first + m);
        results[i] = tensor::InsertSliceOp::create(rewriter, loc, part, results[i], offsets, sizes,
                                                   strides);
      }
    }
  }
  rewriter.replaceOp(kernel, results);
}

namespace {
struct UnrollGroups : ssm::impl::UnrollGroupsBase<UnrollGroups> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<KernelOp> kernels;
    getOperation()->walk([&](KernelOp kernel) { kernels.push_back(kernel); });
    for (KernelOp kernel : kernels)
      if (GroupUnroller unroller(kernel, rewriter); unroller.match())
        unroller.unroll();
  }
};
} // namespace
