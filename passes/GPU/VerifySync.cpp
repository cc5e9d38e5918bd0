//===- VerifySync.cpp - Threads of a block do not race --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/Passes.h"

#include "passes/GPU/DeviceModule.h"
#include "passes/GPU/ReplayBlock.h"
#include "passes/GPU/ThreadNumbers.h"

#include "dialects/SSM/SSMOps.h"
#include "dialects/SSM/TensorMapOp.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace ssm {
#define GEN_PASS_DEF_VERIFYSYNC
#include "passes/GPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

constexpr unsigned kSharedSpace = 3;

bool isShared(Type type) {
  auto memref = dyn_cast<MemRefType>(type);
  if (!memref || !memref.getMemorySpace())
    return false;
  if (auto space = dyn_cast<gpu::AddressSpaceAttr>(memref.getMemorySpace()))
    return space.getValue() == gpu::AddressSpace::Workgroup;
  auto number = dyn_cast<IntegerAttr>(memref.getMemorySpace());
  return number && number.getInt() == kSharedSpace;
}

/// One access to shared memory.
struct Access {
  Operation *op;
  Value root;
  SmallVector<Value> indices;
  /// Elements along the last axis.
  int64_t width;
  bool isWrite;
  /// Reads and writes at once: any number of threads may, without a barrier.
  bool isAtomic = false;
};

std::optional<Access> accessOf(Operation *op) {
  Access access{op, {}, {}, 1, false};
  Value memref;
  auto take = [&](Value buffer, ValueRange indices, bool isWrite, Type moved) {
    memref = buffer;
    access.indices = llvm::to_vector(indices);
    access.isWrite = isWrite;
    if (auto vector = dyn_cast<VectorType>(moved))
      access.width = vector.getNumElements();
  };
  if (auto load = dyn_cast<memref::LoadOp>(op))
    take(load.getMemRef(), load.getIndices(), false, load.getType());
  else if (auto store = dyn_cast<memref::StoreOp>(op))
    take(store.getMemRef(), store.getIndices(), true, store.getValue().getType());
  else if (auto load = dyn_cast<vector::LoadOp>(op))
    take(load.getBase(), load.getIndices(), false, load.getType());
  else if (auto store = dyn_cast<vector::StoreOp>(op))
    take(store.getBase(), store.getIndices(), true, store.getValueToStore().getType());
  else if (auto atomic = dyn_cast<memref::AtomicRMWOp>(op))
    take(atomic.getMemref(), atomic.getIndices(), true, atomic.getType());
  else
    return std::nullopt;
  if (!isShared(memref.getType()))
    return std::nullopt;
  // Views of dynamic shared memory are apart (checkViews).
  while (auto view = memref.getDefiningOp<ViewLikeOpInterface>()) {
    if (isa<ssm::ArenaViewOp>(view))
      break;
    memref = view.getViewSource();
  }
  access.root = memref;
  access.isAtomic = isa<memref::AtomicRMWOp>(op);
  return access;
}

/// Whether it does with shared memory what is followed here, or nothing.
bool isFollowed(Operation *op) {
  if (accessOf(op) || isa<memref::DimOp, memref::CastOp, memref::MemorySpaceCastOp>(op))
    return true;
  return llvm::none_of(op->getOperandTypes(), isShared) &&
         llvm::none_of(op->getResultTypes(),
                       [&](Type type) { return isShared(type) && !isa<ArenaViewOp>(op); });
}

/// Stores with which a thread tells other blocks that they may read what this one wrote.
bool isRelease(Operation *op) {
  auto store = dyn_cast<LLVM::StoreOp>(op);
  return store && store.getOrdering() == LLVM::AtomicOrdering::release;
}

bool isGlobalWrite(Operation *op) {
  if (auto store = dyn_cast<memref::StoreOp>(op))
    return !isShared(store.getMemRefType());
  auto store = dyn_cast<vector::StoreOp>(op);
  return store && !isShared(store.getBase().getType());
}

/// Reads shared memory past the threads: tensor copies out of it, products of warpgroups.
bool isAsyncReader(Operation *op) {
  return isa<NVVM::CpAsyncBulkTensorSharedCTAToGlobalOp, NVVM::CpAsyncBulkSharedCTAToGlobalOp,
             NVVM::WgmmaMmaAsyncOp>(op);
}

/// What happened since the last barrier.
struct State {
  llvm::MapVector<Value, SmallVector<Access>> writes, reads;
  /// A store that no proxy fence follows yet.
  Operation *unfenced = nullptr;
  /// Writes to memory that others have too, one for each block of code.
  llvm::MapVector<Block *, Operation *> global;

  void merge(const State &other) {
    for (auto [from, to] : {std::pair(&other.writes, &writes), std::pair(&other.reads, &reads)})
      for (auto &[root, accesses] : *from)
        for (const Access &access : accesses)
          if (llvm::none_of((*to)[root], [&](const Access &a) { return a.op == access.op; }))
            (*to)[root].push_back(access);
    if (!unfenced)
      unfenced = other.unfenced;
    for (auto [block, write] : other.global)
      global.insert({block, write});
  }
  void synchronize() {
    writes.clear();
    reads.clear();
    global.clear();
  }
};

class Verifier {
public:
  /// `boxBytes`: what a copy by a tensor map moves.
  Verifier(gpu::GPUFuncOp function, llvm::function_ref<int64_t(Value)> boxBytes)
      : function(function), boxBytes(boxBytes) {
    auto threads = function->getAttrOfType<IntegerAttr>("ssm.max_threads");
    maxThreads = threads ? threads.getInt() : 1024;
    numbers.emplace(maxThreads, divergent);
  }

  LogicalResult verify() {
    findDivergent();
    State state;
    run(function.getBody().front(), state);
    function.walk([&](Operation *op) { checkBounds(op); });
    checkViews();
    checkWritten();
    checkSize();
    if (failed)
      return failure();
    auto shared = function->getAttrOfType<IntegerAttr>("ssm.dynamic_shared");
    return replayBlock(function, maxThreads, shared ? shared.getInt() : 0, boxBytes);
  }

private:
  void error(Operation *op, const llvm::Twine &message, Operation *other = nullptr,
             StringRef note = "") {
    if (!reported.insert(op).second)
      return;
    failed = true;
    InFlightDiagnostic diagnostic = op->emitOpError(message);
    if (other)
      diagnostic.attachNote(other->getLoc()) << note;
  }

  //===--------------------------------------------------------------------===//
  // Which values differ between the threads of a block
  //===--------------------------------------------------------------------===//

  void findDivergent() {
    SmallVector<Value> left;
    auto mark = [&](Value value) {
      if (divergent.insert(value).second)
        left.push_back(value);
    };
    function.walk([&](Operation *op) {
      if (isa<gpu::ThreadIdOp, gpu::LaneIdOp, gpu::SubgroupIdOp, gpu::ShuffleOp,
              NVVM::ThreadIdXOp, NVVM::ThreadIdYOp, NVVM::ThreadIdZOp, NVVM::LaneIdOp,
              memref::AtomicRMWOp>(op))
        llvm::for_each(op->getResults(), mark);
    });
    while (!left.empty()) {
      Value value = left.pop_back_val();
      for (OpOperand &use : value.getUses()) {
        Operation *user = use.getOwner();
        // A start makes what is carried differ.
        if (auto loop = dyn_cast<scf::WhileOp>(user)) {
          mark(loop.getBeforeArguments()[use.getOperandNumber()]);
          continue;
        }
        if (auto loop = dyn_cast<scf::ForOp>(user);
            loop && use.getOperandNumber() >= loop.getNumControlOperands()) {
          mark(loop.getTiedLoopRegionIterArg(&use));
          mark(loop.getTiedLoopResult(&use));
          continue;
        }
        llvm::for_each(user->getResults(), mark);
        if (auto loop = dyn_cast<scf::ForOp>(user))
          mark(loop.getInductionVar());
        if (auto condition = dyn_cast<scf::ConditionOp>(user)) {
          auto loop = cast<scf::WhileOp>(condition->getParentOp());
          if (unsigned number = use.getOperandNumber()) {
            mark(loop.getAfterArguments()[number - 1]);
            mark(loop.getResult(number - 1));
          } else {
            llvm::for_each(loop.getResults(), mark);
          }
        }
        if (auto yield = dyn_cast<scf::YieldOp>(user)) {
          Operation *parent = yield->getParentOp();
          if (auto loop = dyn_cast<scf::ForOp>(parent))
            mark(loop.getRegionIterArg(use.getOperandNumber()));
          if (auto loop = dyn_cast<scf::WhileOp>(parent)) {
            mark(loop.getBeforeArguments()[use.getOperandNumber()]);
            continue;
          }
          if (use.getOperandNumber() < parent->getNumResults())
            mark(parent->getResult(use.getOperandNumber()));
        }
      }
    }
  }

  bool isDivergent(ValueRange values) const {
    return llvm::any_of(values, [&](Value value) { return divergent.contains(value); });
  }

  //===--------------------------------------------------------------------===//
  // Barriers
  //===--------------------------------------------------------------------===//

  static bool isBarrier(Operation *op) { return isa<gpu::BarrierOp, NVVM::Barrier0Op>(op); }

  /// The barriers of a block in order, loops by their bounds: equal for the arms of a branch
  /// that all threads leave together.
  static std::string signature(Region &region) {
    std::string text;
    if (region.empty())
      return text;
    llvm::raw_string_ostream os(text);
    for (Operation &op : region.front()) {
      if (isBarrier(&op)) {
        os << "b";
        continue;
      }
      for (Region &inner : op.getRegions()) {
        std::string part = signature(inner);
        if (part.empty())
          continue;
        os << op.getName() << "(";
        if (auto loop = dyn_cast<scf::ForOp>(op))
          for (Value bound : {loop.getLowerBound(), loop.getUpperBound(), loop.getStep()})
            os << bound.getAsOpaquePointer() << ",";
        os << part << ")";
      }
    }
    return text;
  }

  void checkControl(Operation &op) {
    bool hasBarrier = llvm::any_of(op.getRegions(), [](Region &r) { return !signature(r).empty(); });
    if (!hasBarrier)
      return;
    if (auto branch = dyn_cast<scf::IfOp>(op)) {
      if (!isDivergent(branch.getCondition()))
        return;
      if (signature(branch.getThenRegion()) != signature(branch.getElseRegion()))
        error(&op, "has a barrier that not all threads of the block reach");
    } else if (auto loop = dyn_cast<scf::ForOp>(op)) {
      if (isDivergent({loop.getLowerBound(), loop.getUpperBound(), loop.getStep()}))
        error(&op, "has a barrier, and a number of steps that differs between threads");
    } else if (auto loop = dyn_cast<scf::WhileOp>(op)) {
      if (isDivergent(loop.getConditionOp().getCondition()))
        error(&op, "has a barrier, and an end that differs between threads");
    } else {
      error(&op, "has a barrier, and control flow of which is not known whether all threads "
                 "take it");
    }
  }

  //===--------------------------------------------------------------------===//
  // Accesses
  //===--------------------------------------------------------------------===//

  void run(Block &block, State &state) {
    for (Operation &op : block) {
      if (isBarrier(&op)) {
        state.synchronize();
        continue;
      }
      if (auto fence = dyn_cast<NVVM::FenceProxyOp>(op)) {
        state.unfenced = nullptr;
        continue;
      }
      if (isAsyncReader(&op) && state.unfenced)
        error(&op, "reads shared memory past the threads, and no proxy fence follows a store",
              state.unfenced, "the store");
      if (std::optional<Access> access = accessOf(&op))
        take(*access, state);
      else if (!isFollowed(&op))
        error(&op, "reaches shared memory in a way that is not followed");
      if (isGlobalWrite(&op))
        state.global.insert({&block, &op});
      if (isRelease(&op))
        checkRelease(&op, state);
      if (op.getNumRegions() == 0)
        continue;
      checkControl(op);
      // A branch may be passed by; a loop's steps follow each other.
      State before = state;
      bool isLoop = isa<LoopLikeOpInterface>(op);
      for (Region &region : op.getRegions()) {
        if (region.empty())
          continue;
        State inside = before;
        run(region.front(), inside);
        if (isLoop)
          run(region.front(), inside);
        state.merge(inside);
      }
      // Arms with barriers: whatever was before them is over.
      if (isa<scf::IfOp>(op) && !signature(op.getRegion(0)).empty() &&
          signature(op.getRegion(0)) == signature(op.getRegion(1)))
        dropOlder(state, before);
    }
  }

  /// Writes of threads that the one telling does not speak for.
  void checkRelease(Operation *op, State &state) {
    for (auto [block, write] : state.global) {
      // Those that ran the write run this too.
      Operation *branch = write->getParentOp();
      while (branch && !isa<scf::IfOp, gpu::GPUFuncOp>(branch))
        branch = branch->getParentOp();
      if (isa<gpu::GPUFuncOp>(branch) || !branch->isProperAncestor(op))
        error(op, "tells others of what threads wrote, and no barrier is between", write,
              "the write");
    }
  }

  /// Reads of shared memory that nothing was written to: neither in front, nor in a loop around.
  void checkWritten() {
    llvm::DenseSet<Value> written;
    function.walk<WalkOrder::PreOrder>([&](Operation *op) {
      std::optional<Access> access = accessOf(op);
      if (!access)
        return;
      if (access->isWrite && !access->isAtomic) {
        written.insert(access->root);
      } else if (!written.contains(access->root) && !isWrittenAround(op, access->root)) {
        error(op, "reads shared memory that nothing was written to");
      }
    });
  }
  static bool isWrittenAround(Operation *op, Value root) {
    for (Operation *loop = op->getParentOp(); loop; loop = loop->getParentOp())
      if (isa<LoopLikeOpInterface>(loop) &&
          loop->walk([&](Operation *other) {
                std::optional<Access> access = accessOf(other);
                return access && access->root == root && access->isWrite && !access->isAtomic
                           ? WalkResult::interrupt()
                           : WalkResult::advance();
              }).wasInterrupted())
        return true;
    return false;
  }

  static void dropOlder(State &state, const State &before) {
    for (auto [map, old] : {std::pair(&state.writes, &before.writes),
                            std::pair(&state.reads, &before.reads)})
      for (auto &[root, accesses] : *map) {
        auto it = old->find(root);
        if (it != old->end())
          llvm::erase_if(accesses, [&, &list = it->second](const Access &access) {
            return llvm::any_of(list, [&](const Access &a) { return a.op == access.op; });
          });
      }
  }

  void take(const Access &access, State &state) {
    auto against = [&](llvm::MapVector<Value, SmallVector<Access>> &earlier, StringRef what) {
      for (const Access &other : earlier[access.root])
        if (!(other.isAtomic && access.isAtomic) && !isSameByDesign(other, access) &&
            canMeet(other, access))
          error(access.op,
                (access.isWrite ? "writes" : "reads") +
                    llvm::Twine(" shared memory that another thread may have ") + what +
                    ", and no barrier is between",
                other.op, "the other access");
    };
    SmallVector<Access> &list = (access.isWrite ? state.writes : state.reads)[access.root];
    if (llvm::none_of(list, [&](const Access &a) { return a.op == access.op; }))
      list.push_back(access);
    against(state.writes, "written");
    if (access.isWrite) {
      against(state.reads, "to read yet");
      state.unfenced = access.op;
    }
  }

  /// One value that all threads store; one place of the thread that data chooses, of which it is
  /// not known that it is one alone.
  bool isSameByDesign(const Access &one, const Access &other) {
    if (one.indices != other.indices)
      return false;
    bool isStore = isa<memref::StoreOp, vector::StoreOp>(one.op);
    if (one.op == other.op && isStore && !isDivergent(one.op->getOperand(0)))
      return true;
    Region *arm = numbers->armChosenByData(one.op), *otherArm = numbers->armChosenByData(other.op);
    return arm && otherArm && (arm == otherArm || (one.isWrite && other.isWrite));
  }

  //===--------------------------------------------------------------------===//
  // Which elements
  //===--------------------------------------------------------------------===//

  /// Whether two threads may reach the same element by the two accesses: by what is known of
  /// indices, or else by trying them out.
  bool canMeet(const Access &one, const Access &other) {
    auto [found, isNew] = meetings.try_emplace(std::pair(one.op, other.op), false);
    if (isNew) {
      bool meets = areNear(one, other) && numbers->canMeet({one.op, one.indices, one.width},
                                                          {other.op, other.indices, other.width});
      return meetings[std::pair(one.op, other.op)] = meets;
    }
    return found->second;
  }

  bool areNear(const Access &one, const Access &other) {
    at = one.op;
    size_t axes = one.indices.size();
    for (size_t axis = 0; axis < axes && axes == other.indices.size(); ++axis) {
      Value x = one.indices[axis], y = other.indices[axis];
      bool isLast = axis + 1 == axes;
      int64_t wide = isLast ? std::max(one.width, other.width) : 1;
      if (areApart(x, isLast ? one.width : 1, y) || areApart(y, isLast ? other.width : 1, x))
        return false;
      if (areInterleaved(x, isLast ? one.width : 1, y, isLast ? other.width : 1))
        return false;
      if (wide == 1 && areCounted(x, y))
        return false;
      // The same place, and another one in every thread.
      if (x == y && growth(x).value_or(0) >= wide)
        return false;
    }
    return true;
  }

  /// Whether threads got both numbers by counting the same one on.
  static bool areCounted(Value x, Value y) {
    auto countOf = [](Value value) {
      while (value.getDefiningOp<arith::IndexCastUIOp>())
        value = value.getDefiningOp()->getOperand(0);
      return value.getDefiningOp<memref::AtomicRMWOp>();
    };
    memref::AtomicRMWOp one = countOf(x), other = countOf(y);
    auto grows = [](memref::AtomicRMWOp op) {
      APInt by;
      return op.getKind() == arith::AtomicRMWKind::addi &&
             matchPattern(op.getValue(), m_ConstantInt(&by)) && by.isStrictlyPositive();
    };
    return one && other && one.getMemref() == other.getMemref() &&
           one.getIndices() == other.getIndices() && grows(one) && grows(other);
  }

  /// Whether x and what follows it lie in front of y.
  bool areApart(Value x, int64_t width, Value y) {
    int64_t last = largest(x);
    return last >= 0 && last + width - 1 < smallest(y);
  }

  /// Whether x and y lie in different parts of each row of elements of some length.
  bool areInterleaved(Value x, int64_t xWidth, Value y, int64_t yWidth) {
    return llvm::any_of(ArrayRef<int64_t>{2, 4, 8, 16}, [&](int64_t period) {
      std::optional<int64_t> xPhase = phase(x, period), yPhase = phase(y, period);
      if (!xPhase || !yPhase)
        return false;
      return *xPhase < *yPhase
                 ? *xPhase + xWidth <= *yPhase && *yPhase + yWidth <= period + *xPhase
                 : *yPhase + yWidth <= *xPhase && *xPhase + xWidth <= period + *yPhase;
    });
  }

  /// A value modulo a power of two.
  std::optional<int64_t> phase(Value value, int64_t period) {
    APInt constant;
    if (matchPattern(value, m_ConstantInt(&constant)))
      return constant.getSExtValue() & (period - 1);
    Operation *op = value.getDefiningOp();
    if (isa_and_nonnull<arith::MulIOp>(op) &&
        matchPattern(op->getOperand(1), m_ConstantInt(&constant)) &&
        constant.getSExtValue() % period == 0)
      return 0;
    if (!isa_and_nonnull<arith::AddIOp>(op))
      return std::nullopt;
    std::optional<int64_t> left = phase(op->getOperand(0), period);
    std::optional<int64_t> right = phase(op->getOperand(1), period);
    return left && right ? std::optional((*left + *right) & (period - 1)) : std::nullopt;
  }

  /// What a value grows by at least from a thread to the next; nothing if it may shrink.
  std::optional<int64_t> growth(Value value) {
    if (!divergent.contains(value))
      return 0;
    Operation *op = value.getDefiningOp();
    if (!op)
      return std::nullopt;
    if (isa<gpu::ThreadIdOp>(op))
      return cast<gpu::ThreadIdOp>(op).getDimension() == gpu::Dimension::x ? 1 : 0;
    if (isa<arith::IndexCastOp, arith::IndexCastUIOp, arith::ExtUIOp>(op))
      return growth(op->getOperand(0));
    if (!isa<arith::AddIOp, arith::MulIOp, arith::DivUIOp>(op))
      return std::nullopt;
    std::optional<int64_t> x = growth(op->getOperand(0)), y = growth(op->getOperand(1));
    if (!x || !y)
      return std::nullopt;
    if (isa<arith::AddIOp>(op))
      return *x + *y;
    APInt factor;
    if (!matchPattern(op->getOperand(1), m_ConstantInt(&factor)) || !factor.isStrictlyPositive())
      return std::nullopt;
    return isa<arith::MulIOp>(op) ? *x * factor.getSExtValue() : 0;
  }

  /// The divisor of a remainder whose dividend stays between two multiples of it.
  std::optional<int64_t> periodOf(Operation *op) {
    APInt divisor;
    if (!isa<arith::RemUIOp>(op) || !matchPattern(op->getOperand(1), m_ConstantInt(&divisor)) ||
        !divisor.isStrictlyPositive())
      return std::nullopt;
    int64_t period = divisor.getSExtValue(), most = largest(op->getOperand(0));
    bool isOne = most >= 0 && smallest(op->getOperand(0)) / period == most / period;
    return isOne ? std::optional(period) : std::nullopt;
  }

  /// The smallest that an index can be.
  int64_t smallest(Value value) {
    APInt constant;
    if (matchPattern(value, m_ConstantInt(&constant)))
      return std::max<int64_t>(constant.getSExtValue(), 0);
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      auto loop = dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp());
      return loop && argument == loop.getInductionVar() ? smallest(loop.getLowerBound()) : 0;
    }
    Operation *op = value.getDefiningOp();
    if (isa<arith::IndexCastOp, arith::IndexCastUIOp, arith::ExtUIOp>(op))
      return smallest(op->getOperand(0));
    if (isa<arith::MinUIOp>(op))
      return std::min(smallest(op->getOperand(0)), smallest(op->getOperand(1)));
    if (isa<arith::RemUIOp>(op)) {
      std::optional<int64_t> period = periodOf(op);
      return period ? smallest(op->getOperand(0)) % *period : 0;
    }
    // Nothing wraps whose largest value is known.
    if (!isa<arith::AddIOp, arith::MulIOp, arith::DivUIOp>(op) || largest(value) < 0)
      return 0;
    int64_t x = smallest(op->getOperand(0)), y = smallest(op->getOperand(1));
    if (isa<arith::AddIOp>(op))
      return x + y;
    return isa<arith::MulIOp>(op) ? x * y : x / std::max<int64_t>(y, 1);
  }

  //===--------------------------------------------------------------------===//
  // Sizes
  //===--------------------------------------------------------------------===//

  /// The largest that an index can be, or -1: not known.
  int64_t largest(Value value) {
    APInt constant;
    if (matchPattern(value, m_ConstantInt(&constant)))
      return constant.isNegative() ? -1 : constant.getSExtValue();
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      auto loop = dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp());
      if (!loop || argument != loop.getInductionVar())
        return -1;
      int64_t bound = largest(loop.getUpperBound());
      APInt first, step;
      if (bound > 0 && matchPattern(loop.getLowerBound(), m_ConstantInt(&first)) &&
          matchPattern(loop.getStep(), m_ConstantInt(&step)) && first.slt(bound))
        return bound - 1 - (bound - 1 - first.getSExtValue()) % step.getSExtValue();
      return bound < 0 ? -1 : std::max<int64_t>(bound - 1, 0);
    }
    Operation *op = value.getDefiningOp();
    if (isa<gpu::ThreadIdOp>(op))
      return std::min(maxThreads - 1, largestInRole(value));
    if (isa<gpu::BlockDimOp>(op))
      return maxThreads;
    if (isa<gpu::LaneIdOp>(op))
      return 31;
    if (isa<arith::IndexCastOp, arith::IndexCastUIOp, arith::ExtUIOp>(op))
      return largest(op->getOperand(0));
    if (op->getNumOperands() != 2)
      return -1;
    int64_t x = largest(op->getOperand(0)), y = largest(op->getOperand(1));
    if (std::optional<int64_t> period = periodOf(op))
      return x % *period;
    if (isa<arith::RemUIOp>(op) && y > 0)
      return x < 0 ? y - 1 : std::min(x, y - 1);
    if (isa<arith::AndIOp>(op))
      return x < 0 || y < 0 ? std::max(x, y) : std::min(x, y);
    if (isa<arith::MinUIOp>(op))
      return x < 0 || y < 0 ? std::max(x, y) : std::min(x, y);
    if (x < 0 || y < 0)
      return -1;
    bool isConstant = matchPattern(op->getOperand(1), m_Constant());
    if (isa<arith::AddIOp>(op))
      return x + y;
    if (isa<arith::MulIOp>(op))
      return x * y;
    if (isa<arith::DivUIOp>(op) && isConstant && y > 0)
      return x / y;
    return -1;
  }

  /// In the arm of a branch that only threads below a number take.
  int64_t largestInRole(Value thread) {
    int64_t most = std::numeric_limits<int64_t>::max();
    for (Operation *op = at; op && op != function; op = op->getParentOp()) {
      auto branch = dyn_cast<scf::IfOp>(op->getParentOp());
      auto compare = branch ? branch.getCondition().getDefiningOp<arith::CmpIOp>() : nullptr;
      APInt bound;
      if (compare && op->getParentRegion() == &branch.getThenRegion() &&
          compare.getPredicate() == arith::CmpIPredicate::ult && compare.getLhs() == thread &&
          matchPattern(compare.getRhs(), m_ConstantInt(&bound)))
        most = std::min(most, bound.getSExtValue() - 1);
    }
    return most;
  }

  void checkBounds(Operation *op) {
    std::optional<Access> access = accessOf(op);
    if (!access)
      return;
    at = op;
    auto type = cast<MemRefType>(isa<memref::LoadOp, vector::LoadOp>(op)
                                     ? op->getOperand(0).getType()
                                     : op->getOperand(1).getType());
    for (auto [axis, index] : llvm::enumerate(access->indices)) {
      int64_t size = type.getDimSize(axis), last = largest(index);
      if (axis + 1 == access->indices.size())
        last += last < 0 ? 0 : access->width - 1;
      if (!ShapedType::isDynamic(size) && last >= size)
        error(op, "may reach element " + llvm::Twine(last) + " of axis " + llvm::Twine(axis) +
                      " of shared memory, whose size is " + llvm::Twine(size));
    }
  }

  /// Views of dynamic shared memory, whose elements are compared within a view only.
  void checkViews() {
    struct Range {
      int64_t begin, end;
      Operation *view;
    };
    SmallVector<Range> seen;
    auto dynamic = function->getAttrOfType<IntegerAttr>("ssm.dynamic_shared");
    function.walk([&](ssm::ArenaViewOp view) {
      auto type = cast<MemRefType>(view.getType());
      APInt offset;
      if (!isShared(type))
        return;
      if (!matchPattern(view.getOffset(), m_ConstantInt(&offset)) || !type.hasStaticShape())
        return error(view, "is shared memory whose place is not fixed");
      Range range{offset.getSExtValue(), 0, view};
      range.end = range.begin +
                  llvm::divideCeil(type.getNumElements() * type.getElementTypeBitWidth(), 8);
      if (dynamic && range.end > dynamic.getInt())
        error(view, "reaches byte " + llvm::Twine(range.end) + " of dynamic shared memory, whose "
                    "size is " + llvm::Twine(dynamic.getInt()));
      for (const Range &other : seen)
        if (range.begin < other.end && other.begin < range.end)
          error(view, "is shared memory that another view has too", other.view, "the other view");
      seen.push_back(range);
    });
  }

  void checkSize() {
    int64_t bytes = 0;
    for (BlockArgument shared : function.getWorkgroupAttributions()) {
      auto type = cast<MemRefType>(shared.getType());
      bytes += llvm::alignTo(
          llvm::divideCeil(type.getNumElements() * type.getElementTypeBitWidth(), 8), 16);
    }
    // The limit of static memory on every chip.
    if (bytes > 49152)
      error(function, "has " + llvm::Twine(bytes) + " bytes of static shared memory, expected at "
                      "most 49152");
    auto dynamic = function->getAttrOfType<IntegerAttr>("ssm.dynamic_shared");
    int64_t most = getMaxShared(function);
    if (dynamic && bytes + dynamic.getInt() > most)
      error(function, "has " + llvm::Twine(bytes + dynamic.getInt()) +
                          " bytes of shared memory, expected at most " + llvm::Twine(most));
  }

  gpu::GPUFuncOp function;
  llvm::function_ref<int64_t(Value)> boxBytes;
  int64_t maxThreads;
  bool failed = false;
  /// Where the question is asked.
  Operation *at = nullptr;
  llvm::DenseSet<Value> divergent;
  std::optional<ThreadNumbers> numbers;
  llvm::DenseMap<std::pair<Operation *, Operation *>, bool> meetings;
  llvm::DenseSet<Operation *> reported;
};

/// Bytes of the boxes of a kernel's tensor map, which the host made; 0: it is none.
int64_t boxOf(LaunchOp launch, Value map) {
  auto argument = dyn_cast<BlockArgument>(map);
  if (!argument || argument.getArgNumber() >= launch.getArgs().size())
    return 0;
  auto made = launch.getArgs()[argument.getArgNumber()].getDefiningOp<TensorMapOp>();
  if (!made)
    return 0;
  int64_t bytes = cast<MemRefType>(made.getMemref().getType()).getElementTypeBitWidth() / 8;
  for (int32_t size : made.getBox())
    bytes *= size;
  return bytes;
}

struct VerifySync : ssm::impl::VerifySyncBase<VerifySync> {
  void runOnOperation() override {
    bool failed = false;
    llvm::StringMap<LaunchOp> launches;
    getOperation()->walk([&](LaunchOp launch) {
      launches[launch.getKernelAttr().getLeafReference().getValue()] = launch;
    });
    getOperation()->walk([&](gpu::GPUFuncOp function) {
      LaunchOp launch = launches.lookup(function.getName());
      auto boxBytes = [&](Value map) { return launch ? boxOf(launch, map) : 0; };
      failed |= mlir::failed(Verifier(function, boxBytes).verify());
    });
    if (failed)
      signalPassFailure();
  }
};
} // namespace
