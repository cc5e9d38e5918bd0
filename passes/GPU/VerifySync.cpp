//===- VerifySync.cpp - Threads of a block do not race --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
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
  bool isWrite, isAsync;
};

std::optional<Access> accessOf(Operation *op) {
  Access access{op, {}, {}, false, false};
  Value memref;
  auto take = [&](Value buffer, ValueRange indices, bool isWrite) {
    memref = buffer;
    access.indices = llvm::to_vector(indices);
    access.isWrite = isWrite;
  };
  if (auto load = dyn_cast<memref::LoadOp>(op))
    take(load.getMemRef(), load.getIndices(), false);
  else if (auto store = dyn_cast<memref::StoreOp>(op))
    take(store.getMemRef(), store.getIndices(), true);
  else if (auto load = dyn_cast<vector::LoadOp>(op))
    take(load.getBase(), load.getIndices(), false);
  else if (auto store = dyn_cast<vector::StoreOp>(op))
    take(store.getBase(), store.getIndices(), true);
  else
    return std::nullopt;
  if (!isShared(memref.getType()))
    return std::nullopt;
  while (auto view = memref.getDefiningOp<ViewLikeOpInterface>())
    memref = view.getViewSource();
  access.root = memref;
  return access;
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

  void merge(const State &other) {
    for (auto [from, to] : {std::pair(&other.writes, &writes), std::pair(&other.reads, &reads)})
      for (auto &[root, accesses] : *from)
        for (const Access &access : accesses)
          if (llvm::none_of((*to)[root], [&](const Access &a) { return a.op == access.op; }))
            (*to)[root].push_back(access);
    if (!unfenced)
      unfenced = other.unfenced;
  }
  void synchronize() {
    writes.clear();
    reads.clear();
  }
};

class Verifier {
public:
  explicit Verifier(gpu::GPUFuncOp function) : function(function) {
    auto threads = function->getAttrOfType<IntegerAttr>("ssm.max_threads");
    maxThreads = threads ? threads.getInt() : 1024;
  }

  LogicalResult verify() {
    findDivergent();
    State state;
    run(function.getBody().front(), state);
    function.walk([&](Operation *op) { checkBounds(op); });
    checkSize();
    return failure(failed);
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
              NVVM::ThreadIdXOp, NVVM::ThreadIdYOp, NVVM::ThreadIdZOp, NVVM::LaneIdOp>(op))
        llvm::for_each(op->getResults(), mark);
    });
    while (!left.empty()) {
      Value value = left.pop_back_val();
      for (OpOperand &use : value.getUses()) {
        Operation *user = use.getOwner();
        llvm::for_each(user->getResults(), mark);
        if (auto loop = dyn_cast<scf::ForOp>(user)) {
          // Bounds make the index differ, a start what is carried.
          if (use.getOperandNumber() < loop.getNumControlOperands())
            mark(loop.getInductionVar());
          else
            mark(loop.getTiedLoopRegionIterArg(&use));
        }
        if (auto yield = dyn_cast<scf::YieldOp>(user)) {
          Operation *parent = yield->getParentOp();
          if (auto loop = dyn_cast<scf::ForOp>(parent))
            mark(loop.getRegionIterArg(use.getOperandNumber()));
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

  /// Whether no element is one of both, whichever threads they are of: numbers of an axis differ.
  /// Not of the last one, along which vectors reach further.
  static bool areApart(const Access &one, const Access &other) {
    if (one.indices.size() < 2)
      return false;
    auto outer = [](const Access &access) { return ArrayRef(access.indices).drop_back(); };
    return llvm::any_of(llvm::zip_equal(outer(one), outer(other)), [](auto pair) {
      APInt x, y;
      return matchPattern(std::get<0>(pair), m_ConstantInt(&x)) &&
             matchPattern(std::get<1>(pair), m_ConstantInt(&y)) && x != y;
    });
  }

  void take(const Access &access, State &state) {
    auto against = [&](llvm::MapVector<Value, SmallVector<Access>> &earlier, StringRef what) {
      for (const Access &other : earlier[access.root])
        if (other.indices != access.indices && !areApart(other, access))
          error(access.op,
                (access.isWrite ? "writes" : "reads") +
                    llvm::Twine(" shared memory that another thread may have ") + what +
                    ", and no barrier is between",
                other.op, "the other access");
    };
    against(state.writes, "written");
    if (access.isWrite) {
      against(state.reads, "to read yet");
      state.unfenced = access.op;
    }
    SmallVector<Access> &list = (access.isWrite ? state.writes : state.reads)[access.root];
    if (llvm::none_of(list, [&](const Access &a) { return a.op == access.op; }))
      list.push_back(access);
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
      return bound < 0 ? -1 : std::max<int64_t>(bound - 1, 0);
    }
    Operation *op = value.getDefiningOp();
    if (isa<gpu::ThreadIdOp>(op))
      return maxThreads - 1;
    if (isa<gpu::BlockDimOp>(op))
      return maxThreads;
    if (isa<gpu::LaneIdOp>(op))
      return 31;
    if (isa<arith::IndexCastOp, arith::IndexCastUIOp, arith::ExtUIOp>(op))
      return largest(op->getOperand(0));
    if (op->getNumOperands() != 2)
      return -1;
    int64_t x = largest(op->getOperand(0)), y = largest(op->getOperand(1));
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

  void checkBounds(Operation *op) {
    std::optional<Access> access = accessOf(op);
    if (!access)
      return;
    auto type = cast<MemRefType>(isa<memref::LoadOp, vector::LoadOp>(op)
                                     ? op->getOperand(0).getType()
                                     : op->getOperand(1).getType());
    int64_t width = 1;
    if (isa<vector::LoadOp>(op))
      width = cast<VectorType>(op->getResult(0).getType()).getNumElements();
    if (isa<vector::StoreOp>(op))
      width = cast<VectorType>(op->getOperand(0).getType()).getNumElements();
    for (auto [axis, index] : llvm::enumerate(access->indices)) {
      int64_t size = type.getDimSize(axis), last = largest(index);
      if (axis + 1 == access->indices.size())
        last += last < 0 ? 0 : width - 1;
      if (!ShapedType::isDynamic(size) && last >= size)
        error(op, "may reach element " + llvm::Twine(last) + " of axis " + llvm::Twine(axis) +
                      " of shared memory, whose size is " + llvm::Twine(size));
    }
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
    if (dynamic && bytes + dynamic.getInt() > 232448)
      error(function, "has " + llvm::Twine(bytes + dynamic.getInt()) +
                          " bytes of shared memory, expected at most 232448");
  }

  gpu::GPUFuncOp function;
  int64_t maxThreads;
  bool failed = false;
  llvm::DenseSet<Value> divergent;
  llvm::DenseSet<Operation *> reported;
};

struct VerifySync : ssm::impl::VerifySyncBase<VerifySync> {
  void runOnOperation() override {
    bool failed = false;
    getOperation()->walk([&](gpu::GPUFuncOp function) {
      failed |= mlir::failed(Verifier(function).verify());
    });
    if (failed)
      signalPassFailure();
  }
};
} // namespace
