//===- TraceBlock.cpp - What threads of a block do to shared memory ------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/TraceBlock.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "passes/GPU/Integers.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Steps of a loop whose end is not known: more than stages of any pipeline, but few where
/// another loop is inside.
constexpr int64_t kSteps = 9, kOuterSteps = 2;
/// Of a loop whose end is known.
constexpr int64_t kMaxSteps = 64;
constexpr unsigned kShared = 3;

int64_t bytesOf(Type type) {
  auto vector = dyn_cast<VectorType>(type);
  Type element = vector ? vector.getElementType() : type;
  if (!element.isIntOrFloat())
    return 8;
  return (vector ? vector.getNumElements() : 1) *
         llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
}

bool isShared(Value pointer) {
  auto type = dyn_cast<LLVM::LLVMPointerType>(pointer.getType());
  return type && type.getAddressSpace() == kShared;
}

class Tracer {
public:
  Tracer(int64_t first, int64_t count, llvm::function_ref<int64_t(Value)> boxBytes)
      : first(first), count(count), boxBytes(boxBytes) {}

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
              int64_t bytes) {
    if (Known at = get(pointer); at && isShared(pointer)) {
      TraceEvent &event = add(kind, op, threads);
      event.at = at;
      event.bytes = bytes;
    }
  }
  int64_t uniform(Value value, int64_t otherwise) {
    Known number = value ? get(value) : Known();
    return number ? number.of(0) : otherwise;
  }

  int64_t first, count;
  llvm::function_ref<int64_t(Value)> boxBytes;
  llvm::DenseMap<Value, Known> known;
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

void Tracer::run(Block &block, const llvm::BitVector &threads) {
  if (threads.none())
    return;
  for (Operation &op : block.without_terminator()) {
    if (auto loop = dyn_cast<scf::ForOp>(op))
      runLoop(loop, threads);
    else if (auto branch = dyn_cast<scf::IfOp>(op))
      runBranch(branch, threads);
    else if (!trace(&op, threads) && op.getNumResults() == 1)
      known[op.getResult(0)] = evaluate(&op);
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
    known[argument] = get(init);
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
    SmallVector<Known> next;
    for (Value value : loop.getBody()->getTerminator()->getOperands())
      next.push_back(get(value));
    for (auto [argument, value] : llvm::zip_equal(loop.getRegionIterArgs(), next))
      known[argument] = value;
    if (at) {
      SmallVector<uint64_t> each;
      for (int64_t thread = 0; thread < (at.isUniform() && step.isUniform() ? 1 : count); ++thread)
        each.push_back(truncated(at.of(thread) + step.of(thread), width));
      at = Known(std::move(each));
    }
  }
  for (auto [result, argument] : llvm::zip_equal(loop.getResults(), loop.getRegionIterArgs()))
    known[result] = get(argument);
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
  for (Value result : branch.getResults())
    known[result] = {};
}

void Tracer::traceProduct(NVVM::WgmmaMmaAsyncOp op, const llvm::BitVector &threads) {
  // Lines as long as the swizzle, from the descriptor: rows, or a step of the depth of all boxes.
  auto shape = op.getShape();
  auto side = [&](Value descriptor, int64_t rows, bool alongDepth) {
    Known value = get(descriptor);
    if (!value)
      return;
    uint64_t bits = value.of(threads.find_first());
    int64_t at = (bits & 0x3fff) * 16, boxBytes = (bits >> 16 & 0x3fff) * 16;
    int64_t line = bits >> 62 == 1 ? 128 : bits >> 62 == 2 ? 64 : 32;
    int64_t boxes = alongDepth ? 1 : llvm::divideCeil(rows, line / 2);
    for (int64_t box = 0; box < boxes; ++box) {
      TraceEvent &event = add(TraceEvent::multiply, op, threads);
      // Along the depth, parts of whole lines.
      event.at = Known(at / line * line + box * boxBytes);
      event.bytes = (alongDepth ? rows : shape.getK()) * line;
    }
  };
  side(op.getDescriptorA(), shape.getM(), op.getLayoutA() == NVVM::MMALayout::row);
  side(op.getDescriptorB(), shape.getN(), op.getLayoutB() == NVVM::MMALayout::col);
}

bool Tracer::trace(Operation *op, const llvm::BitVector &threads) {
  if (auto load = dyn_cast<LLVM::LoadOp>(op)) {
    access(TraceEvent::read, op, threads, load.getAddr(), bytesOf(load.getType()));
  } else if (auto store = dyn_cast<LLVM::StoreOp>(op)) {
    access(TraceEvent::write, op, threads, store.getAddr(), bytesOf(store.getValue().getType()));
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
  } else if (isa<NVVM::FenceProxyOp>(op)) {
    add(TraceEvent::fenceProxy, op, threads);
  } else {
    return false;
  }
  return true;
}

std::vector<TraceEvent> ssm::traceThreads(gpu::GPUFuncOp function, int64_t first, int64_t count,
                                          llvm::function_ref<int64_t(Value)> boxBytes) {
  Tracer tracer(first, count, boxBytes);
  tracer.run(function.getBody().front(), llvm::BitVector(count, true));
  return std::move(tracer.events);
}
