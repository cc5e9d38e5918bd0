//===- TraceBlock.cpp - What threads of a block do to shared memory ------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/TraceBlock.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "passes/GPU/Integers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Steps of a loop whose end is not known: more than stages of any pipeline, but few where
/// another loop is inside.
constexpr int64_t kSteps = 9, kOuterSteps = 2;
/// Of a loop whose end is known.
constexpr int64_t kMaxSteps = 64;
constexpr unsigned kShared = 3, kCluster = 7;

int64_t bytesOf(Type type) {
  auto vector = dyn_cast<VectorType>(type);
  Type element = vector ? vector.getElementType() : type;
  if (!element.isIntOrFloat())
    return 8;
  return (vector ? vector.getNumElements() : 1) *
         llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
}

bool isIn(unsigned space, Value pointer) {
  auto type = dyn_cast<LLVM::LLVMPointerType>(pointer.getType());
  return type && type.getAddressSpace() == space;
}
bool isShared(Value pointer) { return isIn(kShared, pointer); }

/// The argument of the kernel, or whatever it is, whose memory an operation reads or writes; null
/// if it is shared memory or the operation does neither.
Value memoryOf(Operation *op) {
  Value at = llvm::TypeSwitch<Operation *, Value>(op)
                 .Case<memref::LoadOp, memref::StoreOp>(
                     [](auto access) { return access.getMemRef(); })
                 .Case([](memref::AtomicRMWOp access) { return access.getMemref(); })
                 .Case<vector::LoadOp, vector::StoreOp>([](auto access) { return access.getBase(); })
                 .Case<LLVM::LoadOp, LLVM::StoreOp>([](auto access) { return access.getAddr(); })
                 .Case([](LLVM::AtomicRMWOp access) { return access.getPtr(); })
                 .Case([](NVVM::CpAsyncOp copy) { return copy.getSrc(); })
                 .Default([](Operation *) { return Value(); });
  while (at) {
    Operation *made = at.getDefiningOp();
    if (auto view = dyn_cast_or_null<ArenaViewOp>(made))
      at = view.getArena();
    else if (auto view = dyn_cast_or_null<ViewLikeOpInterface>(made))
      at = view.getViewSource();
    else if (isa_and_nonnull<PointerOp, LLVM::GEPOp, LLVM::AddrSpaceCastOp>(made))
      at = made->getOperand(0);
    else
      break;
  }
  return at;
}

/// What a number that data tells is at least and at most.
struct Bounds {
  Known low, high;
  explicit operator bool() const { return bool(low); }
};

/// What is known of a value on its way through loops and branches.
struct Flow {
  Known number;
  Bounds between;
  /// Of sums: the product that makes them, or 0.
  int64_t product = 0;
};

class Tracer {
public:
  Tracer(gpu::GPUFuncOp function, int64_t first, int64_t count,
         llvm::function_ref<int64_t(Value)> boxBytes)
      : first(first), count(count), boxBytes(boxBytes), entry(&function.getBody().front()) {
    if (auto numbers = function->getAttrOfType<DenseI32ArrayAttr>(kConstants))
      constants = numbers.asArrayRef();
  }

  void run(Block &block, const llvm::BitVector &threads);
  std::vector<TraceEvent> events;

private:
  Known get(Value value) {
    auto found = known.find(value);
    return found == known.end() ? Known() : found->second;
  }
  Known map(ArrayRef<Value> values, unsigned width,
            llvm::function_ref<uint64_t(ArrayRef<uint64_t>)> compute);
  Known evaluate(Operation *op);
  Bounds boundsOf(Value value) {
    if (Known number = get(value))
      return {number, number};
    auto found = bounds.find(value);
    return found == bounds.end() ? Bounds() : found->second;
  }
  Known combine(const Known &x, const Known &y,
                llvm::function_ref<uint64_t(uint64_t, uint64_t)> compute);
  Bounds bound(Operation *op);
  Bounds unite(Value one, Value other);
  Flow flowOf(Value value) { return {get(value), boundsOf(value), products.lookup(value)}; }
  void set(Value value, Flow flow) {
    known[value] = std::move(flow.number);
    if (flow.between)
      bounds[value] = std::move(flow.between);
    else
      bounds.erase(value);
    if (flow.product)
      products[value] = flow.product;
    else
      products.erase(value);
  }
  void useProducts(Operation *op, const llvm::BitVector &threads);
  void runLoop(scf::ForOp loop, llvm::BitVector threads);
  void restrict(Value condition, llvm::BitVector &threads);
  void runBranch(scf::IfOp branch, const llvm::BitVector &threads);
  bool trace(Operation *op, const llvm::BitVector &threads);
  void traceProduct(NVVM::WgmmaMmaAsyncOp op, const llvm::BitVector &threads);
  TraceEvent &add(TraceEvent::Kind kind, Operation *op, const llvm::BitVector &threads,
                  int64_t number = 0) {
    return events.emplace_back(TraceEvent{kind, op, threads, {}, {}, 0, number});
  }
  void access(TraceEvent::Kind kind, Operation *op, const llvm::BitVector &threads, Value pointer,
              int64_t bytes);
  int64_t uniform(Value value, int64_t otherwise) {
    Known number = value ? get(value) : Known();
    return number ? number.of(0) : otherwise;
  }

  int64_t first, count;
  llvm::function_ref<int64_t(Value)> boxBytes;
  llvm::DenseMap<Value, Known> known;
  llvm::DenseMap<Value, Bounds> bounds;
  llvm::DenseMap<Value, int64_t> products;
  int64_t numProducts = 0;
  Block *entry;
  /// Where the kernel may begin before others are done.
  std::optional<ArrayRef<int32_t>> constants;
};

} // namespace

Known Tracer::map(ArrayRef<Value> values, unsigned width,
                  llvm::function_ref<uint64_t(ArrayRef<uint64_t>)> compute) {
  SmallVector<Known> given;
  bool isUniform = true;
  for (Value value : values) {
    given.push_back(get(value));
    if (!given.back())
      return {};
    isUniform &= given.back().isUniform();
  }
  SmallVector<uint64_t> results, operands(values.size());
  for (int64_t thread = 0; thread < (isUniform ? 1 : count); ++thread) {
    for (auto [operand, each] : llvm::zip_equal(operands, given))
      operand = each.of(thread);
    results.push_back(truncated(compute(operands), width));
  }
  return Known(std::move(results));
}

Known Tracer::evaluate(Operation *op) {
  using Numbers = ArrayRef<uint64_t>;
  APInt constant;
  if (matchPattern(op, m_ConstantInt(&constant)))
    return constant.getBitWidth() > 64 ? Known() : Known(constant.getZExtValue());
  if (auto id = dyn_cast<gpu::ThreadIdOp>(op)) {
    if (id.getDimension() != gpu::Dimension::x)
      return Known(uint64_t(0));
    SmallVector<uint64_t> each;
    for (int64_t thread = 0; thread < count; ++thread)
      each.push_back(first + thread);
    return Known(std::move(each));
  }
  // One variable: the memory whose size is told at launch.
  if (isa<LLVM::AddressOfOp>(op) && isShared(op->getResult(0)))
    return Known(uint64_t(0));
  if (op->getNumResults() != 1)
    return {};
  unsigned width = widthOf(op->getResult(0).getType());
  SmallVector<Value> operands(op->getOperands());
  if (auto gep = dyn_cast<LLVM::GEPOp>(op)) {
    if (!gep.getElemType().isInteger(8) || gep.getRawConstantIndices().size() != 1)
      return {};
    int32_t offset = gep.getRawConstantIndices().front();
    bool isFixed = gep.getDynamicIndices().empty();
    unsigned from = isFixed ? 64 : widthOf(gep.getDynamicIndices().front().getType());
    return map(operands, 64, [&](Numbers n) {
      return n[0] + (isFixed ? int64_t(offset) : extended(n[1], from));
    });
  }
  if (auto shuffle = dyn_cast<NVVM::ShflOp>(op)) {
    Known value = get(shuffle.getVal()), lane = get(shuffle.getOffset());
    if (shuffle.getKind() != NVVM::ShflKind::idx || !value || !lane)
      return {};
    SmallVector<uint64_t> each;
    for (int64_t thread = 0; thread < count; ++thread)
      each.push_back(value.of(thread / 32 * 32 + lane.of(thread) % 32));
    if (llvm::all_equal(each))
      return Known(each.front());
    return Known(std::move(each));
  }
  if (isa<NVVM::MapaOp>(op))
    return get(operands[0]);
  if (isIntegerOp(op))
    return map(operands, width,
               [&](Numbers n) -> uint64_t { return *computeInteger(op, n[0], n[1]); });
  if (isa<arith::SelectOp>(op))
    return map(operands, width, [](Numbers n) { return n[0] ? n[1] : n[2]; });
  if (isa<arith::ExtSIOp, arith::IndexCastOp>(op)) {
    unsigned from = widthOf(operands[0].getType());
    return map(operands, width, [&](Numbers n) { return extended(n[0], from); });
  }
  if (isa<arith::ExtUIOp, arith::IndexCastUIOp, arith::TruncIOp, LLVM::PtrToIntOp,
          LLVM::AddrSpaceCastOp>(op))
    return map(operands, width, [](Numbers n) { return n[0]; });
  return {};
}

Known Tracer::combine(const Known &x, const Known &y,
                      llvm::function_ref<uint64_t(uint64_t, uint64_t)> compute) {
  SmallVector<uint64_t> results;
  for (int64_t thread = 0; thread < (x.isUniform() && y.isUniform() ? 1 : count); ++thread)
    results.push_back(compute(x.of(thread), y.of(thread)));
  return Known(std::move(results));
}

Bounds Tracer::unite(Value one, Value other) {
  Bounds x = boundsOf(one), y = boundsOf(other);
  if (!x || !y)
    return {};
  return {combine(x.low, y.low, [](uint64_t a, uint64_t b) { return std::min(a, b); }),
          combine(x.high, y.high, [](uint64_t a, uint64_t b) { return std::max(a, b); })};
}

/// Numbers here are not negative and small: places in shared memory, and what they are made of.
Bounds Tracer::bound(Operation *op) {
  constexpr uint64_t most = 1u << 30;
  auto upTo = [](const Known &high) { return Bounds{Known(uint64_t(0)), high}; };
  auto ofBoth = [&](Bounds x, Bounds y,
                    llvm::function_ref<uint64_t(uint64_t, uint64_t)> compute) -> Bounds {
    if (!x || !y)
      return {};
    Known high = combine(x.high, y.high, compute);
    for (int64_t thread = 0; thread < (high.isUniform() ? 1 : count); ++thread)
      if (high.of(thread) > most)
        return {};
    return {combine(x.low, y.low, compute), high};
  };
  auto smaller = [](uint64_t a, uint64_t b) { return std::min(a, b); };
  if (op->getNumResults() != 1)
    return {};
  if (auto select = dyn_cast<arith::SelectOp>(op))
    return unite(select.getTrueValue(), select.getFalseValue());
  if (isa<arith::ExtUIOp, arith::IndexCastOp, arith::IndexCastUIOp, arith::ExtSIOp, arith::TruncIOp,
          LLVM::AddrSpaceCastOp, NVVM::MapaOp>(op))
    return boundsOf(op->getOperand(0));
  if (auto gep = dyn_cast<LLVM::GEPOp>(op)) {
    if (!gep.getElemType().isInteger(8) || gep.getRawConstantIndices().size() != 1)
      return {};
    Bounds base = boundsOf(gep.getBase());
    Known offset(uint64_t(std::max(gep.getRawConstantIndices().front(), 0)));
    return ofBoth(base, gep.getDynamicIndices().empty() ? Bounds{offset, offset}
                                                        : boundsOf(gep.getDynamicIndices().front()),
                  [](uint64_t a, uint64_t b) { return a + b; });
  }
  if (op->getNumOperands() != 2 || !isa<arith::ArithDialect>(op->getDialect()))
    return {};
  Bounds x = boundsOf(op->getOperand(0)), y = boundsOf(op->getOperand(1));
  if (isa<arith::AndIOp, arith::MinUIOp>(op)) {
    if (!x || !y)
      return x ? upTo(x.high) : y ? upTo(y.high) : Bounds();
    return upTo(combine(x.high, y.high, smaller));
  }
  Known by = get(op->getOperand(1));
  if (isa<arith::RemUIOp>(op) && by)
    return upTo(combine(by, by, [](uint64_t a, uint64_t) { return a ? a - 1 : 0; }));
  if (isa<arith::AddIOp, arith::MulIOp>(op) ||
      (isa<arith::ShLIOp, arith::ShRUIOp, arith::DivUIOp>(op) && by))
    return ofBoth(x, y, [&](uint64_t a, uint64_t b) { return *computeInteger(op, a, b); });
  return {};
}

void Tracer::access(TraceEvent::Kind kind, Operation *op, const llvm::BitVector &threads,
                    Value pointer, int64_t bytes) {
  if (!isShared(pointer) && !isIn(kCluster, pointer))
    return;
  // Of others' memory there are reads only.
  if (isIn(kCluster, pointer))
    kind = kind == TraceEvent::read ? TraceEvent::readRemote : TraceEvent::strayed;
  Bounds place = boundsOf(pointer);
  Operation *made = pointer.getDefiningOp();
  if (isa_and_nonnull<NVVM::MapaOp>(made))
    made = made->getOperand(0).getDefiningOp();
  auto within = made ? made->getAttrOfType<DenseI64ArrayAttr>(kWithin) : DenseI64ArrayAttr();
  if (!place && !within) {
    add(TraceEvent::strayed, op, threads);
    return;
  }
  TraceEvent &event = add(kind, op, threads);
  event.bytes = bytes;
  event.at = place.low;
  event.isOwnPart = made && made->hasAttr(kOwnPart);
  if (get(pointer))
    return;
  if (within) {
    event.at = Known(uint64_t(within[0]));
    event.end = Known(uint64_t(within[1]));
  } else {
    event.end = combine(place.high, place.high, [&](uint64_t high, uint64_t) { return high + bytes; });
  }
}

/// Other operations than products and what passes values on need the sums. Once for each: that it
/// is waited for then the next one can rely on.
void Tracer::useProducts(Operation *op, const llvm::BitVector &threads) {
  if (isa<NVVM::WgmmaMmaAsyncOp, scf::ForOp, scf::IfOp, scf::WhileOp>(op))
    return;
  for (Value operand : op->getOperands())
    if (auto found = products.find(operand); found != products.end()) {
      add(TraceEvent::useProduct, op, threads, found->second);
      products.erase(found);
    }
}

void Tracer::run(Block &block, const llvm::BitVector &threads) {
  if (threads.none())
    return;
  for (Operation &op : block.without_terminator()) {
    if (!products.empty())
      useProducts(&op, threads);
    if (auto loop = dyn_cast<scf::ForOp>(op))
      runLoop(loop, threads);
    else if (auto branch = dyn_cast<scf::IfOp>(op))
      runBranch(branch, threads);
    else if (auto loop = dyn_cast<scf::WhileOp>(op))
      for (int64_t step = 0; step < kOuterSteps; ++step)
        for (Region *region : loop.getLoopRegions())
          run(region->front(), threads);
    else if (!trace(&op, threads) && op.getNumResults() == 1) {
      Known number = evaluate(&op);
      Bounds between = number ? Bounds() : bound(&op);
      set(op.getResult(0), {std::move(number), std::move(between)});
    }
  }
}

/// Whether the loop, or another that stands where it does for other threads, has loops inside:
/// all of them take as many steps. One that goes from stage to stage itself is none.
static bool isOuter(scf::ForOp loop) {
  auto waits = loop.walk([&](NVVM::MBarrierTryWaitParityOp wait) {
    return wait->getParentOfType<scf::ForOp>() == loop ? WalkResult::interrupt()
                                                       : WalkResult::advance();
  });
  if (loop->getParentOfType<scf::ForOp>() || waits.wasInterrupted())
    return false;
  auto function = loop->getParentOfType<gpu::GPUFuncOp>();
  return function
      .walk([](scf::ForOp other) {
        return other->getParentOfType<scf::ForOp>() ? WalkResult::interrupt()
                                                    : WalkResult::advance();
      })
      .wasInterrupted();
}

void Tracer::runLoop(scf::ForOp loop, llvm::BitVector threads) {
  Known low = get(loop.getLowerBound()), high = get(loop.getUpperBound()),
        step = get(loop.getStep());
  bool hasEnd = low && high && step;
  int64_t steps = hasEnd ? kMaxSteps : isOuter(loop) ? kOuterSteps : kSteps;
  unsigned width = widthOf(loop.getInductionVar().getType());
  for (auto [argument, init] : llvm::zip_equal(loop.getRegionIterArgs(), loop.getInitArgs()))
    set(argument, flowOf(init));
  Known at = step ? low : Known();
  for (int64_t i = 0; i < steps && threads.any(); ++i) {
    if (hasEnd)
      for (unsigned thread : llvm::BitVector(threads).set_bits())
        if (extended(at.of(thread), width) >= extended(high.of(thread), width))
          threads.reset(thread);
    if (threads.none())
      break;
    known[loop.getInductionVar()] = at;
    run(*loop.getBody(), threads);
    SmallVector<Flow> next;
    for (Value value : loop.getBody()->getTerminator()->getOperands())
      next.push_back(flowOf(value));
    for (auto [argument, flow] : llvm::zip_equal(loop.getRegionIterArgs(), next))
      set(argument, flow);
    if (at) {
      SmallVector<uint64_t> each;
      for (int64_t thread = 0; thread < (at.isUniform() && step.isUniform() ? 1 : count); ++thread)
        each.push_back(truncated(at.of(thread) + step.of(thread), width));
      at = Known(std::move(each));
    }
  }
  for (auto [result, argument] : llvm::zip_equal(loop.getResults(), loop.getRegionIterArgs()))
    set(result, flowOf(argument));
}

/// Leaves threads out of which a part of the condition is known not to hold.
void Tracer::restrict(Value condition, llvm::BitVector &threads) {
  if (Known part = get(condition)) {
    for (unsigned thread : llvm::BitVector(threads).set_bits())
      if (!part.of(thread))
        threads.reset(thread);
  } else if (auto both = condition.getDefiningOp<arith::AndIOp>()) {
    restrict(both.getLhs(), threads);
    restrict(both.getRhs(), threads);
  }
}

void Tracer::runBranch(scf::IfOp branch, const llvm::BitVector &threads) {
  Known condition = get(branch.getCondition());
  llvm::BitVector taken = threads, rest = threads;
  if (condition)
    for (unsigned thread : threads.set_bits())
      (condition.of(thread) ? rest : taken).reset(thread);
  else
    restrict(branch.getCondition(), taken);
  run(*branch.thenBlock(), taken);
  if (branch.elseBlock())
    run(*branch.elseBlock(), rest);
  for (auto [number, result] : llvm::enumerate(branch.getResults())) {
    Value one = branch.thenYield().getOperand(number), other = branch.elseYield().getOperand(number);
    set(result, {{}, unite(one, other), std::max(products.lookup(one), products.lookup(other))});
  }
}

void Tracer::traceProduct(NVVM::WgmmaMmaAsyncOp op, const llvm::BitVector &threads) {
  // Lines as long as the swizzle, from the descriptor: rows, or a step of the depth of all boxes.
  auto shape = op.getShape();
  ++numProducts;
  for (Value result : op->getResults())
    products[result] = numProducts;
  auto side = [&](Value descriptor, int64_t rows, bool alongDepth) {
    Known value = get(descriptor);
    if (!value) {
      add(TraceEvent::strayed, op, threads);
      return;
    }
    uint64_t bits = value.of(threads.find_first());
    int64_t at = (bits & 0x3fff) * 16, boxBytes = (bits >> 16 & 0x3fff) * 16;
    int64_t line = bits >> 62 == 1 ? 128 : bits >> 62 == 2 ? 64 : 32;
    int64_t boxes = alongDepth ? 1 : llvm::divideCeil(rows, line / 2);
    for (int64_t box = 0; box < boxes; ++box) {
      TraceEvent &event = add(TraceEvent::multiply, op, threads, numProducts);
      // Along the depth, parts of whole lines.
      event.at = Known(at / line * line + box * boxBytes);
      event.bytes = (alongDepth ? rows : shape.getK()) * line;
    }
  };
  side(op.getDescriptorA(), shape.getM(), op.getLayoutA() == NVVM::MMALayout::row);
  side(op.getDescriptorB(), shape.getN(), op.getLayoutB() == NVVM::MMALayout::col);
}

bool Tracer::trace(Operation *op, const llvm::BitVector &threads) {
  if (constants)
    if (auto memory = dyn_cast_or_null<BlockArgument>(memoryOf(op));
        memory && memory.getOwner() == entry &&
        !llvm::is_contained(*constants, int32_t(memory.getArgNumber())))
      add(TraceEvent::global, op, threads);
  if (auto load = dyn_cast<LLVM::LoadOp>(op)) {
    access(TraceEvent::read, op, threads, load.getAddr(), bytesOf(load.getType()));
  } else if (auto store = dyn_cast<LLVM::StoreOp>(op)) {
    access(TraceEvent::write, op, threads, store.getAddr(), bytesOf(store.getValue().getType()));
  } else if (auto atomic = dyn_cast<LLVM::AtomicRMWOp>(op)) {
    access(TraceEvent::atomic, op, threads, atomic.getPtr(), bytesOf(atomic.getType()));
  } else if (auto atomic = dyn_cast<LLVM::AtomicCmpXchgOp>(op)) {
    access(TraceEvent::atomic, op, threads, atomic.getPtr(), bytesOf(atomic.getVal().getType()));
  } else if (auto load = dyn_cast<NVVM::LdMatrixOp>(op)) {
    // Eight threads tell the rows of each matrix.
    llvm::BitVector telling = threads;
    for (unsigned thread : threads.set_bits())
      if (thread % 32 >= 8 * load.getNum())
        telling.reset(thread);
    access(TraceEvent::read, op, telling, load.getPtr(), 16);
  } else if (auto copy = dyn_cast<NVVM::CpAsyncOp>(op)) {
    access(TraceEvent::copy, op, threads, copy.getDst(), copy.getSize());
  } else if (isa<NVVM::CpAsyncCommitGroupOp>(op)) {
    add(TraceEvent::commitCopies, op, threads);
  } else if (auto wait = dyn_cast<NVVM::CpAsyncWaitGroupOp>(op)) {
    add(TraceEvent::waitCopies, op, threads, wait.getN());
  } else if (isa<gpu::BarrierOp, NVVM::Barrier0Op>(op)) {
    add(TraceEvent::barrier, op, threads);
  } else if (auto barrier = dyn_cast<NVVM::BarrierOp>(op)) {
    add(TraceEvent::barrier, op, threads, uniform(barrier.getBarrierId(), 0)).bytes =
        uniform(barrier.getNumberOfThreads(), 0);
  } else if (auto init = dyn_cast<NVVM::MBarrierInitOp>(op)) {
    add(TraceEvent::init, op, threads, uniform(init.getCount(), 0)).at = get(init.getAddr());
  } else if (isa<NVVM::FenceMbarrierInitOp>(op)) {
    add(TraceEvent::fenceInit, op, threads);
  } else if (auto expect = dyn_cast<NVVM::MBarrierArriveExpectTxOp>(op)) {
    add(TraceEvent::expect, op, threads, uniform(expect.getTxcount(), 0)).at = get(expect.getAddr());
  } else if (auto arrive = dyn_cast<NVVM::MBarrierArriveOp>(op)) {
    add(TraceEvent::arrive, op, threads).at = get(arrive.getAddr());
  } else if (auto wait = dyn_cast<NVVM::MBarrierTryWaitParityOp>(op)) {
    add(TraceEvent::wait, op, threads, uniform(wait.getPhase(), 0)).at = get(wait.getAddr());
  } else if (auto copy = dyn_cast<NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp>(op)) {
    TraceEvent &event = add(TraceEvent::bulkCopy, op, threads);
    event.at = get(copy.getDstMem());
    event.to = get(copy.getMbar());
    event.bytes = boxBytes(copy.getTmaDescriptor());
  } else if (auto product = dyn_cast<NVVM::WgmmaMmaAsyncOp>(op)) {
    traceProduct(product, threads);
  } else if (isa<NVVM::WgmmaGroupSyncAlignedOp>(op)) {
    add(TraceEvent::commitProducts, op, threads);
  } else if (auto wait = dyn_cast<NVVM::WgmmaWaitGroupSyncOp>(op)) {
    add(TraceEvent::waitProducts, op, threads, wait.getGroup());
  } else if (isa<NVVM::WgmmaFenceAlignedOp>(op)) {
    add(TraceEvent::fenceProducts, op, threads);
  } else if (isa<NVVM::ClusterArriveOp>(op)) {
    add(TraceEvent::arriveCluster, op, threads);
  } else if (isa<NVVM::ClusterWaitOp>(op)) {
    add(TraceEvent::waitCluster, op, threads);
  } else if (auto control = dyn_cast<NVVM::GriddepcontrolOp>(op)) {
    if (control.getKind() == NVVM::GridDepActionKind::wait)
      add(TraceEvent::waitOthers, op, threads);
  } else if (isa<NVVM::FenceProxyOp>(op)) {
    add(TraceEvent::fenceProxy, op, threads);
  } else {
    return false;
  }
  return true;
}

std::vector<TraceEvent> ssm::traceThreads(gpu::GPUFuncOp function, int64_t first, int64_t count,
                                          llvm::function_ref<int64_t(Value)> boxBytes) {
  Tracer tracer(function, first, count, boxBytes);
  tracer.run(function.getBody().front(), llvm::BitVector(count, true));
  return std::move(tracer.events);
}
