//===- PlanArena.cpp - Offsets for temporaries, functions of the sizes ---===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Memory/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "dialects/SSM/SizeNames.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"
#include <cmath>
#include <map>

namespace ssm {
#define GEN_PASS_DEF_PLANARENA
#include "passes/Memory/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

constexpr int64_t kAlignment = 64;
/// Sizes above this cannot be had and would overflow on the way.
constexpr double kMaxBytes = 4611686018427387904.0; // 2^62

/// What a dynamic size is taken for where only a run knows it.
constexpr double kTypicalSize = 128;

/// A temporary in the arena: its buffer, when it is live, how large it is.
struct Temporary {
  memref::AllocOp alloc;
  int64_t first, last; // positions in the function, inclusive
  /// The size is constant bytes times the dynamic sizes.
  int64_t constantBytes;
  SmallVector<Value> dynamicSizes;
  /// At sizes that a run often has.
  double typicalBytes;

  /// Whether it is known to be at least as large.
  bool holds(const Temporary &other) const {
    return constantBytes >= other.constantBytes && dynamicSizes == other.dynamicSizes;
  }
  bool meets(const Temporary &other) const { return first <= other.last && other.first <= last; }
};

/// Temporaries that share space one after the other.
using Slot = SmallVector<unsigned>;

/// A size that a repeated function gets, or a size of a buffer that it gets.
bool isParameter(Value value) {
  auto arg = dyn_cast<BlockArgument>(value);
  return arg && isa<func::FuncOp>(arg.getOwner()->getParentOp());
}

/// Clones what a size is computed from to another place, or another function.
class SliceCloner {
public:
  /// To an entry or its plan.
  SliceCloner(OpBuilder &builder, Value args) : builder(builder), args(args) {}
  /// To a repeated function, or to a call of it.
  SliceCloner(OpBuilder &builder, ValueRange parameters, ValueRange operands) : builder(builder) {
    mapping.map(parameters, operands);
  }

  /// Whether the value follows from the sizes of the arguments alone.
  static bool isPlannable(Value value, llvm::DenseMap<Value, bool> &known) {
    auto it = known.find(value);
    if (it != known.end())
      return it->second;
    Operation *op = value.getDefiningOp();
    bool ok = false;
    if (!op) {
      ok = isParameter(value) && value.getType().isIndex();
    } else if (op->hasTrait<OpTrait::ConstantLike>()) {
      ok = true;
    } else if (auto dim = dyn_cast<memref::DimOp>(op)) {
      ok = (dim.getSource().getDefiningOp<ArgOp>() || isParameter(dim.getSource())) &&
           dim.getConstantIndex().has_value();
    } else if (isa<arith::ArithDialect>(op->getDialect()) && isPure(op) &&
               value.getType().isIntOrIndexOrFloat()) {
      ok = llvm::all_of(op->getOperands(),
                        [&](Value operand) { return isPlannable(operand, known); });
    }
    return known[value] = ok;
  }

  /// The parameters, and sizes of parameters, that a size is computed from.
  static void collectLeaves(Value value, llvm::SetVector<Value> &leaves) {
    Operation *op = value.getDefiningOp();
    if (!op || isa<memref::DimOp>(op))
      leaves.insert(value);
    else
      for (Value operand : op->getOperands())
        collectLeaves(operand, leaves);
  }

  Value clone(Value value) {
    if (Value done = mapping.lookupOrNull(value))
      return done;
    Operation *op = value.getDefiningOp();
    if (auto dim = dyn_cast<memref::DimOp>(op)) {
      if (Value source = mapping.lookupOrNull(dim.getSource())) {
        Value size = builder.createOrFold<memref::DimOp>(dim.getLoc(), source,
                                                         *dim.getConstantIndex());
        mapping.map(value, size);
        return size;
      }
      auto arg = dim.getSource().getDefiningOp<ArgOp>();
      Value &source = argViews[arg.getIndex()];
      if (!source)
        source = ArgOp::create(builder, arg.getLoc(), arg.getType(), args, arg.getIndex());
      Value size = memref::DimOp::create(builder, dim.getLoc(), source, *dim.getConstantIndex());
      mapping.map(value, size);
      return size;
    }
    for (Value operand : op->getOperands())
      clone(operand);
    builder.clone(*op, mapping);
    return mapping.lookup(value);
  }

private:
  OpBuilder &builder;
  Value args;
  IRMapping mapping;
  llvm::DenseMap<uint64_t, Value> argViews;
};

struct PlanArena : ssm::impl::PlanArenaBase<PlanArena> {
  void runOnOperation() override {
    // Callees first: a call takes its arena from the caller's.
    auto functions = getOperation().getOps<func::FuncOp>();
    for (func::FuncOp function : llvm::make_early_inc_range(functions))
      if (function.isPrivate() && !function.isDeclaration() && failed(planRepeated(function)))
        return signalPassFailure();
    for (func::FuncOp function : llvm::make_early_inc_range(functions))
      if (function->hasAttr("ssm.entry") && failed(planEntry(function)))
        return signalPassFailure();
  }

  LogicalResult planEntry(func::FuncOp run) {
    SmallVector<Temporary> temporaries;
    if (failed(findTemporaries(run, temporaries)))
      return failure();
    SmallVector<Slot> slots = assignSlots(temporaries);
    makePlan(run, temporaries, slots);
    Block &entry = run.getBody().front();
    OpBuilder builder = OpBuilder::atBlockBegin(&entry);
    SliceCloner cloner(builder, entry.getArgument(2));
    placeInArena(ImplicitLocOpBuilder(run.getLoc(), builder), cloner, temporaries, slots,
                 entry.getArgument(3));
    return success();
  }

  /// A size of what a call gets, one value for all inputs' sizes of one name.
  Value sizeOf(OpBuilder &builder, Value operand, int64_t axis) {
    Location loc = operand.getLoc();
    auto arg = operand.getDefiningOp<ArgOp>();
    StringAttr name = arg ? getSizeName(arg, axis) : StringAttr();
    if (!name)
      return builder.createOrFold<memref::DimOp>(loc, operand, axis);
    Value &size = namedSizes[{arg->getParentOp(), name}];
    if (!size) {
      for (auto first : arg->getBlock()->getOps<ArgOp>())
        for (int64_t i = 0; i < cast<MemRefType>(first.getType()).getRank() && !size; ++i)
          if (getSizeName(first, i) == name) {
            OpBuilder b(first);
            b.setInsertionPointAfter(first);
            size = b.createOrFold<memref::DimOp>(loc, first.getResult(), i);
          }
    }
    return size;
  }

  /// The temporaries of a repeated function lie in a buffer of bytes that the caller
  /// gives: to the caller it is a temporary like others, live during the call.
  LogicalResult planRepeated(func::FuncOp function) {
    SmallVector<Temporary> temporaries;
    if (failed(findTemporaries(function, temporaries)))
      return failure();
    if (temporaries.empty())
      return success();
    SmallVector<Slot> slots = assignSlots(temporaries);
    double typicalBytes = 0;
    for (const Slot &slot : slots)
      typicalBytes += temporaries[slot.front()].typicalBytes;
    Block &entry = function.getBody().front();
    SmallVector<Value> parameters(entry.getArguments());
    Location loc = function.getLoc();

    llvm::SetVector<Value> leaves;
    for (const Temporary &temporary : temporaries)
      for (Value size : temporary.dynamicSizes)
        SliceCloner::collectLeaves(size, leaves);
    std::optional<SymbolTable::UseRange> uses =
        SymbolTable::getSymbolUses(function, getOperation());
    std::map<std::vector<void *>, Value> known;
    auto bytesType = MemRefType::get(ShapedType::kDynamic, IntegerType::get(&getContext(), 8));
    for (SymbolTable::SymbolUse use : *uses) {
      auto call = cast<func::CallOp>(use.getUser());
      OpBuilder builder(call);
      // Calls with equal sizes share the computation, and so the space.
      std::vector<void *> key = {call->getBlock()};
      SmallVector<Value> sizes;
      for (Value leaf : leaves) {
        auto dim = leaf.getDefiningOp<memref::DimOp>();
        auto parameter = cast<BlockArgument>(dim ? dim.getSource() : leaf);
        Value operand = call.getOperand(parameter.getArgNumber());
        sizes.push_back(dim ? sizeOf(builder, operand, *dim.getConstantIndex()) : operand);
        key.push_back(sizes.back().getAsOpaquePointer());
      }
      Value &bytes = known[key];
      if (!bytes) {
        SliceCloner cloner(builder, leaves.getArrayRef(), sizes);
        bytes = frameBytes(ImplicitLocOpBuilder(loc, builder), cloner, temporaries, slots);
      }
      Value frame = memref::AllocOp::create(builder, call.getLoc(), bytesType, bytes);
      typicalFrames[frame] = typicalBytes;
      call->insertOperands(call->getNumOperands(), frame);
    }

    Value frame = entry.addArgument(bytesType, loc);
    OpBuilder builder = OpBuilder::atBlockBegin(&entry);
    SliceCloner cloner(builder, parameters, parameters);
    Value arena = PointerOp::create(builder, loc, LLVM::LLVMPointerType::get(&getContext()), frame);
    placeInArena(ImplicitLocOpBuilder(loc, builder), cloner, temporaries, slots, arena);
    function.setType(
        builder.getFunctionType(entry.getArgumentTypes(), function.getResultTypes()));
    return success();
  }

  /// Buffers that go to the arena; the others are made segment memory.
  LogicalResult findTemporaries(func::FuncOp run, SmallVectorImpl<Temporary> &temporaries) {
    plannable.clear();
    number(run);
    SmallVector<memref::AllocOp> segment;
    BufferViewFlowAnalysis aliases(run);
    WalkResult found = run.walk([&](memref::AllocOp alloc) {
      if (alloc->getParentOfType<ParallelForOp>()) {
        // One place for all pieces would be written by several at once.
        alloc.emitError("a buffer inside a parallel loop must be on the stack");
        return WalkResult::interrupt();
      }
      Temporary temporary;
      if (isArenaTemporary(alloc, aliases, temporary))
        temporaries.push_back(temporary);
      else
        segment.push_back(alloc);
      return WalkResult::advance();
    });
    if (found.wasInterrupted())
      return failure();
    llvm::stable_sort(temporaries,
                      [](const Temporary &a, const Temporary &b) { return a.first < b.first; });
    Block &entry = run.getBody().front();
    OpBuilder builder(run);
    Value table = entry.getArgument(0), context = entry.getArgument(1);
    releaseInLoops(segment, aliases, table, context);
    for (memref::AllocOp alloc : segment) {
      builder.setInsertionPoint(alloc);
      auto memory = SegmentAllocOp::create(builder, alloc.getLoc(), alloc.getType(), table, context,
                                           alloc.getDynamicSizes());
      alloc.replaceAllUsesWith(memory.getResult());
      alloc.erase();
    }
    return success();
  }

  void placeInArena(ImplicitLocOpBuilder b, SliceCloner &cloner,
                    MutableArrayRef<Temporary> temporaries, ArrayRef<Slot> slots, Value arena) {
    Value offset = arith::ConstantIndexOp::create(b, 0);
    for (const Slot &slot : slots) {
      for (unsigned member : slot) {
        memref::AllocOp alloc = temporaries[member].alloc;
        OpBuilder at(alloc);
        auto view = ArenaViewOp::create(at, alloc.getLoc(), alloc.getType(), arena, offset,
                                        alloc.getDynamicSizes());
        alloc.replaceAllUsesWith(view.getResult());
      }
      Value bytes = slotBytes(b, cloner, temporaries, slot);
      offset = b.createOrFold<arith::AddIOp>(offset, bytes);
    }
    for (Temporary &temporary : temporaries)
      temporary.alloc.erase();
  }

  //===--------------------------------------------------------------------===//
  // Liveness
  //===--------------------------------------------------------------------===//

  /// Numbers operations in order; an operation with regions ends after them.
  void number(func::FuncOp run) {
    begin.clear();
    end.clear();
    int64_t next = 0;
    run.walk([&](Operation *op, const WalkStage &stage) {
      if (stage.isBeforeAllRegions())
        begin[op] = next++;
      if (stage.isAfterAllRegions())
        end[op] = next++;
    });
  }

  /// The ancestors of both in the nearest block that holds them.
  static std::pair<Operation *, Operation *> commonBlock(Operation *holder, Operation *user) {
    Operation *ancestor = nullptr;
    while (!(ancestor = holder->getBlock()->findAncestorOpInBlock(*user)))
      holder = holder->getParentOp();
    return {holder, ancestor};
  }

  /// Whether a step of a loop hands the buffer on, to the next step or out.
  static bool outlivesStep(memref::AllocOp alloc, BufferViewFlowAnalysis &aliases) {
    for (Value alias : aliases.resolve(alloc.getResult()))
      for (Operation *user : alias.getUsers()) {
        Operation *holder = commonBlock(alloc, user).first;
        for (Operation *op = alloc; op != holder; op = op->getParentOp())
          if (isa<LoopLikeOpInterface>(op->getParentOp()))
            return true;
        if (user->hasTrait<OpTrait::IsTerminator>() &&
            isa<LoopLikeOpInterface>(user->getParentOp()) && user->getParentOp()->isAncestor(alloc))
          return true;
      }
    return false;
  }

  /// Loops whose steps take from the segment give it back at the end of each,
  /// unless a step hands a buffer on.
  static void releaseInLoops(ArrayRef<memref::AllocOp> segment, BufferViewFlowAnalysis &aliases,
                             Value table, Value context) {
    llvm::SetVector<Block *> bodies;
    llvm::DenseSet<Block *> keeps;
    for (memref::AllocOp alloc : segment) {
      bool outlives = outlivesStep(alloc, aliases);
      for (Block *block = alloc->getBlock(); block; block = block->getParentOp()->getBlock()) {
        if (!isa<LoopLikeOpInterface>(block->getParentOp()))
          continue;
        if (outlives)
          keeps.insert(block);
        bodies.insert(block);
      }
    }
    for (Block *body : bodies) {
      if (keeps.contains(body))
        continue;
      Location loc = body->getParentOp()->getLoc();
      OpBuilder builder = OpBuilder::atBlockBegin(body);
      Value mark = SegmentMarkOp::create(builder, loc, table, context);
      builder.setInsertionPoint(body->getTerminator());
      SegmentReleaseOp::create(builder, loc, table, context, mark);
    }
  }

  /// Arguments first, then what operations give.
  int64_t place(Value value) {
    if (auto arg = dyn_cast<BlockArgument>(value))
      return int64_t(arg.getArgNumber()) - arg.getOwner()->getNumArguments();
    return begin[value.getDefiningOp()];
  }

  bool isArenaTemporary(memref::AllocOp alloc, BufferViewFlowAnalysis &aliases,
                        Temporary &temporary) {
    if (!alloc.getSymbolOperands().empty() || !alloc.getType().getLayout().isIdentity())
      return false;
    if (!llvm::all_of(alloc.getDynamicSizes(),
                      [&](Value size) { return SliceCloner::isPlannable(size, plannable); }))
      return false;
    temporary.alloc = alloc;
    temporary.first = begin[alloc];
    temporary.last = end[alloc];
    if (outlivesStep(alloc, aliases))
      return false;
    for (Value alias : aliases.resolve(alloc.getResult()))
      for (Operation *user : alias.getUsers()) {
        auto [holder, ancestor] = commonBlock(alloc, user);
        temporary.first = std::min(temporary.first, begin[holder]);
        temporary.last = std::max(temporary.last, end[ancestor]);
      }
    temporary.constantBytes = llvm::divideCeil(alloc.getType().getElementTypeBitWidth(), 8);
    for (int64_t size : alloc.getType().getShape())
      if (!ShapedType::isDynamic(size))
        temporary.constantBytes *= size;
    temporary.dynamicSizes.assign(alloc.getDynamicSizes().begin(), alloc.getDynamicSizes().end());
    // In a fixed order, so that equal sizes compare equal and every build of a
    // module gives the same code.
    llvm::sort(temporary.dynamicSizes, [&](Value a, Value b) { return place(a) < place(b); });
    auto frame = typicalFrames.find(alloc);
    temporary.typicalBytes = frame != typicalFrames.end()
                                 ? frame->second
                                 : static_cast<double>(temporary.constantBytes) *
                                       std::pow(kTypicalSize, temporary.dynamicSizes.size());
    return true;
  }

  /// Temporaries take slots in the order of their sizes, the largest first: each the
  /// smallest that is free while it lives, so that a slot is as large as its first
  /// member. Dynamic sizes are taken as typical ones; at others a later member may be
  /// the larger, and the slot is as large as that.
  static SmallVector<Slot> assignSlots(ArrayRef<Temporary> temporaries) {
    SmallVector<unsigned> order = llvm::to_vector(llvm::seq<unsigned>(0, temporaries.size()));
    llvm::stable_sort(order, [&](unsigned a, unsigned b) {
      return temporaries[a].typicalBytes > temporaries[b].typicalBytes;
    });
    SmallVector<Slot> slots;
    for (unsigned i : order) {
      // Slots are made in the same order, so the last one that is free is the smallest.
      auto free = llvm::find_if(llvm::reverse(slots), [&](const Slot &slot) {
        return llvm::none_of(
            slot, [&](unsigned member) { return temporaries[member].meets(temporaries[i]); });
      });
      if (free != slots.rend())
        free->push_back(i);
      else
        slots.push_back({i});
    }
    return slots;
  }

  //===--------------------------------------------------------------------===//
  // Sizes
  //===--------------------------------------------------------------------===//

  /// Bytes of a slot, a multiple of the alignment.
  static Value slotBytes(ImplicitLocOpBuilder &b, SliceCloner &cloner,
                         ArrayRef<Temporary> temporaries, const Slot &slot) {
    Value bytes;
    SmallVector<const Temporary *> seen;
    for (unsigned member : slot) {
      const Temporary &temporary = temporaries[member];
      if (llvm::any_of(seen, [&](const Temporary *other) { return other->holds(temporary); }))
        continue;
      seen.push_back(&temporary);
      Value own = arith::ConstantIndexOp::create(b, temporary.constantBytes);
      for (Value size : temporary.dynamicSizes)
        own = b.createOrFold<arith::MulIOp>(own, cloner.clone(size));
      bytes = bytes ? b.createOrFold<arith::MaxUIOp>(bytes, own) : own;
    }
    Value mask = arith::ConstantIndexOp::create(b, -kAlignment);
    Value more = arith::ConstantIndexOp::create(b, kAlignment - 1);
    return b.createOrFold<arith::AndIOp>(b.createOrFold<arith::AddIOp>(bytes, more), mask);
  }

  /// An upper bound of the slot's bytes in floating point, which cannot overflow.
  static Value slotBound(ImplicitLocOpBuilder &b, SliceCloner &cloner,
                         ArrayRef<Temporary> temporaries, const Slot &slot) {
    Value bound;
    Type f64 = b.getF64Type();
    for (unsigned member : slot) {
      const Temporary &temporary = temporaries[member];
      Value own = arith::ConstantOp::create(
          b, b.getF64FloatAttr(static_cast<double>(temporary.constantBytes) + kAlignment));
      for (Value size : temporary.dynamicSizes) {
        Value wide = arith::IndexCastOp::create(b, b.getI64Type(), cloner.clone(size));
        own = arith::MulFOp::create(b, own, arith::UIToFPOp::create(b, f64, wide));
      }
      bound = bound ? Value(arith::AddFOp::create(b, bound, own)) : own;
    }
    return bound;
  }

  /// Bytes of all slots; far too many where that overflows, which the caller's plan
  /// then reports.
  static Value frameBytes(ImplicitLocOpBuilder b, SliceCloner &cloner,
                          ArrayRef<Temporary> temporaries, ArrayRef<Slot> slots) {
    Value total = arith::ConstantIndexOp::create(b, 0);
    Value bound = arith::ConstantOp::create(b, b.getF64FloatAttr(0));
    for (const Slot &slot : slots) {
      total = b.createOrFold<arith::AddIOp>(total, slotBytes(b, cloner, temporaries, slot));
      bound = b.createOrFold<arith::AddFOp>(bound, slotBound(b, cloner, temporaries, slot));
    }
    Value limit = arith::ConstantOp::create(b, b.getF64FloatAttr(kMaxBytes));
    Value fits = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, bound, limit);
    Value tooMany = arith::ConstantIndexOp::create(b, static_cast<int64_t>(kMaxBytes));
    return arith::SelectOp::create(b, fits, total, tooMany);
  }

  /// Stores the values one after the other. What repeats at least `kMinRepeats` times,
  /// the states of equal layers say, is a loop.
  static void storeAll(ImplicitLocOpBuilder &b, ArrayRef<Value> values, Value place) {
    constexpr size_t kMinRepeats = 4, kMaxPeriod = 32;
    auto isEqual = [](Value a, Value b) {
      Operation *x = a.getDefiningOp(), *y = b.getDefiningOp();
      return a == b || OperationEquivalence::isEquivalentTo(x, y, OperationEquivalence::exactValueMatch,
                                                            nullptr, OperationEquivalence::IgnoreLocations);
    };
    auto storeAt = [&](OpBuilder &at, Value position, Value value) {
      Value number = at.createOrFold<arith::IndexCastOp>(b.getLoc(), b.getI64Type(), position);
      Value address = LLVM::GEPOp::create(at, b.getLoc(), place.getType(), b.getI64Type(), place,
                                          ValueRange{number});
      LLVM::StoreOp::create(at, b.getLoc(), value, address);
    };
    for (size_t i = 0; i < values.size();) {
      size_t period = 1, repeats = 1;
      for (size_t p = 1; p <= kMaxPeriod; ++p) {
        size_t equal = 0;
        while (i + equal + p < values.size() && isEqual(values[i + equal], values[i + equal + p]))
          ++equal;
        size_t found = equal / p + 1;
        if (found >= kMinRepeats && found * p > repeats * period)
          std::tie(period, repeats) = std::make_pair(p, found);
      }
      Value start = arith::ConstantIndexOp::create(b, i);
      if (repeats == 1) {
        storeAt(b, start, values[i++]);
        continue;
      }
      Value end = arith::ConstantIndexOp::create(b, i + repeats * period);
      Value step = arith::ConstantIndexOp::create(b, period);
      auto loop = scf::ForOp::create(b, start, end, step);
      OpBuilder body = OpBuilder::atBlockBegin(loop.getBody());
      for (size_t q = 0; q < period; ++q) {
        Value offset = arith::ConstantIndexOp::create(body, b.getLoc(), q);
        storeAt(body, arith::AddIOp::create(body, b.getLoc(), loop.getInductionVar(), offset),
                values[i + q]);
      }
      i += repeats * period;
    }
  }

  /// plan(table, context, args, arena_bytes, output_dims) -> status
  void makePlan(func::FuncOp run, ArrayRef<Temporary> temporaries, ArrayRef<Slot> slots) {
    OpBuilder builder(run);
    std::string name = (run->getAttrOfType<StringAttr>("ssm.entry").getValue() + ".plan").str();
    auto function = func::FuncOp::create(builder, run.getLoc(), name, run.getFunctionType());
    Block *block = function.addEntryBlock();
    ImplicitLocOpBuilder b(run.getLoc(), builder);
    b.setInsertionPointToStart(block);
    SliceCloner cloner(b, block->getArgument(2));
    Value total = arith::ConstantIndexOp::create(b, 0);
    Value bound = arith::ConstantOp::create(b, b.getF64FloatAttr(0));
    for (const Slot &slot : slots) {
      total = b.createOrFold<arith::AddIOp>(total, slotBytes(b, cloner, temporaries, slot));
      bound = arith::AddFOp::create(b, bound, slotBound(b, cloner, temporaries, slot));
    }
    Type i64 = b.getI64Type();
    LLVM::StoreOp::create(b, arith::IndexCastOp::create(b, i64, total), block->getArgument(3));

    SmallVector<OutputOp> outputs;
    run.walk([&](OutputOp output) { outputs.push_back(output); });
    llvm::sort(outputs, [](OutputOp a, OutputOp b) { return a.getIndex() < b.getIndex(); });
    SmallVector<Value> dims;
    for (OutputOp output : outputs) {
      auto sizes = output.getSizes().begin();
      for (int64_t size : cast<MemRefType>(output.getType()).getShape()) {
        int64_t known = ShapedType::isDynamic(size) ? -1 : size;
        Value dynamic = ShapedType::isDynamic(size) ? *sizes++ : Value();
        if (dynamic && SliceCloner::isPlannable(dynamic, plannable))
          dims.push_back(arith::IndexCastOp::create(b, i64, cloner.clone(dynamic)));
        else
          dims.push_back(arith::ConstantOp::create(b, b.getI64IntegerAttr(known)));
      }
    }
    storeAll(b, dims, block->getArgument(4));
    // SSM_RUN_OUT_OF_MEMORY is 2.
    Value limit = arith::ConstantOp::create(b, b.getF64FloatAttr(kMaxBytes));
    Value fits = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, bound, limit);
    Value ok = arith::ConstantIntOp::create(b, b.getI32Type(), 0);
    Value tooLarge = arith::ConstantIntOp::create(b, b.getI32Type(), 2);
    func::ReturnOp::create(b, Value(arith::SelectOp::create(b, fits, ok, tooLarge)));
  }

  llvm::DenseMap<Operation *, int64_t> begin, end;
  llvm::DenseMap<Value, bool> plannable;
  llvm::DenseMap<std::pair<Operation *, Attribute>, Value> namedSizes;
  /// Of the buffers of bytes that calls get.
  llvm::DenseMap<Value, double> typicalFrames;
};
} // namespace
