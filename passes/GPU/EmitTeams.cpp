//===- EmitTeams.cpp - Kernels without time, by teams of threads ----------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/TeamReduce.h"
#include "passes/GPU/Teams.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Sums of so few are taken by one thread.
constexpr int64_t kShortSum = 16;
/// Elements of a sum that a thread of a team should have.
constexpr int64_t kPerThread = 8;
/// The most lanes of a vector.
constexpr int64_t kMaxLanes = 8;

} // namespace

/// Loops in the order of their numbers, or the one along which memory lies densest last.
SmallVector<unsigned> TeamEmitter::order(LoopSet set, bool byScore) {
  SmallVector<unsigned> loops = listLoops(set);
  if (byScore && !loops.empty()) {
    auto best = std::max_element(loops.begin(), loops.end(), [&](unsigned x, unsigned y) {
      return scoreLaneLoop(kernel, x) < scoreLaneLoop(kernel, y);
    });
    std::rotate(best, best + 1, loops.end());
  }
  return loops;
}

void TeamEmitter::choosePoints() {
  points = ~LoopSet(0);
  LoopSet all = 0;
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out) {
    points &= loopsOf(kernel.getOutMap(out));
    all |= loopsOf(kernel.getOutMap(out));
  }
  bool isShort = true, isAcross = false;
  LoopSet shared = points;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>()) {
    LoopSet over = loopsOf(reduce.getLoops());
    shared &= e.loops.of(reduce) | ~all;
    int64_t number = 1;
    for (int64_t loop : reduce.getLoops()) {
      int64_t size = e.fixedSize(loop);
      number = size < 0 || number < 0 ? -1 : number * size;
    }
    isShort &= number >= 0 && number <= kShortSum;
    // Neighbours of another loop than the ones summed over lie together.
    for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
      AffineMap map = kernel.getInputMap(i);
      if (map.getNumResults() == 0 || (loopsOf(map) & over) == 0)
        continue;
      auto last = dyn_cast<AffineDimExpr>(map.getResults().back());
      isAcross |= last && contains(points, last.getPosition());
    }
  }
  // A column's sum is one thread's, the columns are neighbours.
  bool sumsAtPoints = llvm::all_of(kernel.getStep().getOps<ReduceOp>(), [&](ReduceOp reduce) {
    return isSubset(points, e.loops.of(reduce));
  });
  alone = isShort || (isAcross && sumsAtPoints);
  if (!sumsAtPoints)
    points = shared;
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out)
    alone &= isSubset(loopsOf(kernel.getOutMap(out)), points) || isShort;
  if (!alone)
    for (auto reduce : kernel.getStep().getOps<ReduceOp>())
      if (isSubset(e.loops.of(reduce), points))
        teamReduces.insert(reduce);
  pointLoops = order(points, /*byScore=*/true);
}

/// Notes the bytes of the elements along the wide loop; nothing if vectors cannot be taken.
std::optional<int64_t> TeamEmitter::bytesAlong(Value buffer, bool isDense) {
  auto type = cast<MemRefType>(buffer.getType());
  unsigned bits = type.getElementType().isIntOrFloat() ? type.getElementTypeBitWidth() : 0;
  if (!isDense || bits < 8 || !llvm::isPowerOf2_32(bits) || !type.isLastDimUnitStride())
    return std::nullopt;
  wideBuffers.insert(buffer);
  return bits / 8;
}

/// Of a read whose last index alone runs along the loop, as a multiple: the factor, if it is from
/// outside of the kernel.
Value TeamEmitter::stepAlong(const IndexedRead &read, unsigned loop) {
  auto along = [&](Value index) { return contains(e.loops.of(index), loop); };
  auto product = read.indices.back().getDefiningOp<arith::MulIOp>();
  if (!product || llvm::any_of(read.indices.drop_back(), along))
    return nullptr;
  auto index = product.getLhs().getDefiningOp<ssm::IndexOp>();
  Value step = product.getRhs();
  bool isOutside = !kernel->isAncestor(step.getParentBlock()->getParentOp());
  return index && along(index) && isOutside ? step : nullptr;
}

void TeamEmitter::chooseWideLoop(bool ownSums) {
  LoopSet all = 0;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>()) {
    if (!teamReduces.contains(reduce) && !(alone && ownSums))
      return;
    all |= loopsOf(reduce.getLoops());
  }
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out)
    all |= loopsOf(kernel.getOutMap(out)) & (alone ? ~LoopSet(0) : ~points);
  SmallVector<unsigned> candidates = alone ? pointLoops : order(all, /*byScore=*/true);
  if (!candidates.empty())
    widen(candidates.back());
}

void TeamEmitter::widen(unsigned loop) {
  if (!isVectorizable(kernel) || !canBeLaneLoop(kernel, loop, kMaxLanes))
    return;
  int64_t least = kAccessBytes;
  auto take = [&](Value buffer, bool isDense) {
    std::optional<int64_t> bytes = bytesAlong(buffer, isDense);
    least = std::min(least, bytes.value_or(least));
    return bytes.has_value();
  };
  SmallVector<Value> operands(kernel.getInputs());
  llvm::append_range(operands, kernel.getOuts());
  for (auto [i, operand] : llvm::enumerate(operands)) {
    AffineMap map = kernel.getMap(i);
    if (!map.isFunctionOfDim(loop))
      continue;
    bool isDense = llvm::none_of(map.getResults().drop_back(),
                                 [&](AffineExpr expr) { return expr.isFunctionOfDim(loop); });
    if (!take(operand, isDense && isa<AffineDimExpr>(map.getResults().back())))
      return;
  }
  for (Operation &op : kernel.getStep().without_terminator()) {
    auto read = getIndexedRead(&op);
    if (!read || llvm::none_of(read->indices,
                               [&](Value index) { return contains(e.loops.of(index), loop); }))
      continue;
    // Other addresses than neighbours' would be as many accesses.
    bool isDense = getLaneAccess(e.loops, *read, loop) == LaneAccess::Dense;
    if (Value step = takesSteps ? stepAlong(*read, loop) : nullptr) {
      steps.insert(step);
      if (!take(read->source, true))
        return;
      continue;
    }
    if (!take(read->source, isDense && read->indices.back().getDefiningOp<ssm::IndexOp>()))
      return;
  }
  lanes = std::min(kAccessBytes / least, kMaxLanes);
  if (takesSingles && !wideBuffers.empty()) {
    lanes = 1;
    wideLoop = loop;
    return;
  }
  int64_t size = e.fixedSize(loop);
  bool isWhole = size < 0 || (size >= lanes && size % lanes == 0);
  if (lanes > 1 && !wideBuffers.empty() && (isWhole || takesRests))
    wideLoop = loop;
  else
    lanes = 1;
}

Value TeamEmitter::isAligned() {
  zero = constant(0);
  Value all;
  auto require = [&](Value number, int64_t factor) {
    if (std::optional<int64_t> fixed = getConstantIntValue(number); fixed && *fixed % factor == 0)
      return;
    Value rest = b.createOrFold<arith::RemUIOp>(number, constant(factor));
    Value holds = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, rest, zero);
    all = all ? b.createOrFold<arith::AndIOp>(all, holds) : holds;
  };
  require(e.size(*wideLoop), lanes);
  for (Value buffer : wideBuffers) {
    auto type = cast<MemRefType>(buffer.getType());
    int64_t bytes = std::min(kAccessBytes, lanes * type.getElementTypeBitWidth() / 8);
    require(memref::ExtractAlignedPointerAsIndexOp::create(b, buffer), bytes);
    if (type.getRank() < 2 && type.getLayout().isIdentity())
      continue;
    // Rows begin at multiples of the lanes.
    auto parts = memref::ExtractStridedMetadataOp::create(b, buffer);
    require(parts.getConstifiedMixedOffset().dyn_cast<Value>()
                ? parts.getOffset()
                : constant(*getConstantIntValue(parts.getConstifiedMixedOffset())),
            lanes);
    SmallVector<OpFoldResult> strides = parts.getConstifiedMixedStrides();
    for (auto [open, mixed] :
         llvm::zip_equal(parts.getStrides().drop_back(), ArrayRef(strides).drop_back()))
      require(isa<Value>(mixed) ? Value(open) : constant(*getConstantIntValue(mixed)), lanes);
  }
  return all ? all : arith::ConstantIntOp::create(b, b.getI1Type(), 1).getResult();
}

Value ssm::beginsAligned(ImplicitLocOpBuilder &b, Value buffer, int64_t lanes) {
  DeviceBuilder d{b};
  auto type = cast<MemRefType>(buffer.getType());
  int64_t bytes = std::min(kAccessBytes, lanes * type.getElementTypeBitWidth() / 8);
  Value pointer = memref::ExtractAlignedPointerAsIndexOp::create(b, buffer);
  return d.isEqual(d.rem(pointer, bytes), 0);
}

Value TeamEmitter::count(unsigned loop) {
  Value size = e.size(loop);
  if (isWide && loop == *wideLoop)
    return b.createOrFold<arith::DivUIOp>(size, constant(lanes));
  return size;
}

Value TeamEmitter::product(ArrayRef<unsigned> loops) {
  Value result = constant(1);
  for (unsigned loop : loops)
    result = e.mul(result, count(loop));
  return result;
}

Value TeamEmitter::hostProduct(ArrayRef<unsigned> loops) {
  ImplicitLocOpBuilder &h = k.host;
  SmallVector<OpFoldResult> sizes = k.hostKernel.getLoopSizes(h);
  Value result = arith::ConstantIndexOp::create(h, 1);
  for (unsigned loop : loops)
    result = h.createOrFold<arith::MulIOp>(
        result, getValueOrCreateConstantIndexOp(h, h.getLoc(), sizes[loop]));
  return result;
}

/// A multiprocessor has 64 registers for each of kMaxBlock threads: enough for what softmax and
/// norms compute of a vector, not for longer functions.
int64_t TeamEmitter::maxThreads() {
  return llvm::any_of(kernel.getStep(), isLong) ? kMaxBlock / 2 : kMaxBlock;
}

LaunchShape TeamEmitter::launch() {
  ImplicitLocOpBuilder &h = k.host;
  auto constant = [&](int64_t value) { return arith::ConstantIndexOp::create(h, value); };
  auto divide = [&](Value value, int64_t by) {
    return h.createOrFold<arith::CeilDivUIOp>(value, constant(by));
  };
  Value one = constant(1), total = hostProduct(pointLoops);
  if (alone)
    return {{divide(total, kBlock * lanes), one, one}, constant(kBlock), kBlock};
  Value longest = one;
  auto lengthen = [&](Value length) { longest = h.createOrFold<arith::MaxUIOp>(longest, length); };
  for (Operation *reduce : teamReduces)
    lengthen(hostProduct(llvm::to_vector_of<unsigned>(cast<ReduceOp>(reduce).getLoops())));
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out)
    lengthen(hostProduct(listLoops(loopsOf(kernel.getOutMap(out)) & ~points)));
  Value warps = divide(longest, kPerThread * kWarp);
  warps = h.createOrFold<arith::MaxUIOp>(warps, one);
  int64_t most = maxThreads();
  warps = h.createOrFold<arith::MinUIOp>(warps, constant(most / kWarp));
  return {{total, one, one}, h.createOrFold<arith::MulIOp>(warps, constant(kWarp)), most};
}

void TeamEmitter::alignAccesses(Region &region, llvm::function_ref<bool(Value)> isAligned) {
  auto align = [&](auto access) {
    if (isAligned && !isAligned(access.getBase()))
      return;
    VectorType type = access.getVectorType();
    int64_t bytes = type.getNumElements() * type.getElementTypeBitWidth() / 8;
    access.setAlignment(std::min(kAccessBytes, bytes));
  };
  region.walk([&](Operation *op) {
    if (auto load = dyn_cast<vector::LoadOp>(op))
      align(load);
    else if (auto store = dyn_cast<vector::StoreOp>(op))
      align(store);
  });
}

void TeamEmitter::begin() {
  zero = constant(0);
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  threads = gpu::BlockDimOp::create(b, gpu::Dimension::x);
  team = gpu::BlockIdOp::create(b, gpu::Dimension::x);
}

LaunchShape TeamEmitter::emit() {
  analyze();
  LaunchShape shape = launch();
  // Loops of the others would have their loads behind their stores.
  if (overlaps && alone)
    waitForOthers(k, shape);
  begin();
  if (!wideLoop) {
    emitBody();
    return shape;
  }
  auto branch = scf::IfOp::create(b, isAligned(), /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  for (bool wide : {true, false}) {
    PointEmitter::Scope scope(e);
    isWide = wide;
    b.setInsertionPointToStart(wide ? branch.thenBlock() : branch.elseBlock());
    emitBody();
  }
  alignAccesses(branch.getThenRegion());
  return shape;
}

void TeamEmitter::emitBody() {
  if (alone)
    return emitPoints();
  setIndices(pointLoops, team);
  emitPoint();
}

void TeamEmitter::emitPoints() {
  Value first = e.add(e.mul(team, threads), thread);
  Value step = e.mul(gpu::GridDimOp::create(b, gpu::Dimension::x), threads);
  auto loop = scf::ForOp::create(b, first, product(pointLoops), step);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  PointEmitter::Scope scope(e);
  Lanes wide(*this, pointLoops);
  setIndices(pointLoops, loop.getInductionVar());
  emitPoint();
}

void TeamEmitter::setIndices(ArrayRef<unsigned> loops, Value number) {
  for (size_t i = loops.size(); i-- > 0;) {
    Value index = number;
    if (i > 0) {
      Value size = count(loops[i]);
      index = b.createOrFold<arith::RemUIOp>(number, size);
      number = b.createOrFold<arith::DivUIOp>(number, size);
    }
    bool isVector = isWide && loops[i] == *wideLoop;
    e.at[loops[i]] = isVector ? e.mul(index, constant(lanes)) : index;
  }
}

void TeamEmitter::emitPoint() {
  e.hoist(points);
  for (Operation *reduce : teamReduces)
    emitTeamReduce(cast<ReduceOp>(reduce));
  emitOuts();
}

SmallVector<Value>
TeamEmitter::strided(Value count, ValueRange carried,
                     llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  Value low = alone ? zero : thread, step = alone ? constant(1) : threads;
  auto loop = scf::ForOp::create(b, low, count, step, carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  if (!carried.empty()) {
    b.setInsertionPointToEnd(loop.getBody());
    scf::YieldOp::create(b, next);
  }
  return llvm::to_vector_of<Value>(loop.getResults());
}

void TeamEmitter::emitTeamReduce(ReduceOp reduce) {
  SmallVector<unsigned> loops = order(loopsOf(reduce.getLoops()), /*byScore=*/true);
  bool isVector = isWide && llvm::is_contained(loops, *wideLoop);
  Type type = isVector ? VectorType::get({lanes}, reduce.getType()) : reduce.getType();
  Value start = e.neutral(reduce.getKind(), type);
  Value part = strided(product(loops), start, [&](Value number, ValueRange sums) {
    PointEmitter::Scope scope(e);
    Lanes wide(*this, loops);
    setIndices(loops, number);
    need(reduce.getValue());
    Value value = isVector ? e.getVector(reduce.getValue()) : e.get(reduce.getValue());
    return SmallVector<Value>{e.combine(reduce.getKind(), sums[0], value)};
  })[0];
  if (isVector)
    part = e.reduceLanes(reduce.getKind(), part);
  e.provide(reduce, reduceOverBlock(k, e, reduce.getKind(), part));
}

void TeamEmitter::emitOuts() {
  auto yielded = kernel.getYield().getValues();
  SmallVector<bool> done(kernel.getOuts().size());
  for (unsigned first = 0; first < done.size(); ++first) {
    if (done[first])
      continue;
    LoopSet set = loopsOf(kernel.getOutMap(first));
    SmallVector<unsigned> outs;
    for (unsigned out = first; out < done.size(); ++out)
      if (loopsOf(kernel.getOutMap(out)) == set) {
        outs.push_back(out);
        done[out] = true;
      }
    auto store = [&] {
      for (unsigned out : outs)
        need(yielded[out]);
      for (unsigned out : outs)
        e.get(yielded[out]);
      for (unsigned out : outs)
        e.storeOut(out, e.get(yielded[out]));
    };
    SmallVector<unsigned> rest = order(set & ~points, /*byScore=*/true);
    if (!rest.empty()) {
      strided(product(rest), {}, [&](Value number, ValueRange) {
        PointEmitter::Scope scope(e);
        Lanes wide(*this, rest);
        setIndices(rest, number);
        store();
        return SmallVector<Value>();
      });
      continue;
    }
    if (alone) {
      PointEmitter::Scope scope(e);
      store();
      continue;
    }
    Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, thread, zero);
    auto branch = scf::IfOp::create(b, isFirst);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    PointEmitter::Scope scope(e);
    store();
  }
}

void TeamEmitter::need(Value value) {
  SmallVector<Value> left = {value};
  llvm::DenseSet<Value> seen;
  llvm::DenseSet<Operation *> found;
  while (!left.empty()) {
    Value part = left.pop_back_val();
    Operation *op = part.getDefiningOp();
    if (!op || op->getBlock() != &kernel.getStep() || e.isProvided(part) ||
        !seen.insert(part).second)
      continue;
    if (isa<ReduceOp>(op))
      found.insert(op);
    else
      llvm::append_range(left, op->getOperands());
  }
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    if (found.contains(reduce)) {
      Value sum = e.neutral(reduce.getKind(), reduce.getType());
      reduceAlone(reduce, reduce.getLoops(), sum);
      e.provide(reduce, sum);
    }
}

void TeamEmitter::reduceAlone(ReduceOp reduce, ArrayRef<int64_t> left, Value &sum) {
  if (left.empty()) {
    need(reduce.getValue());
    sum = e.combine(reduce.getKind(), sum, e.get(reduce.getValue()));
    return;
  }
  sum = e.loop(zero, e.size(left.front()), 1, sum, [&](Value i, ValueRange sums) {
    PointEmitter::Scope scope(e);
    e.at[left.front()] = i;
    Value next = sums[0];
    reduceAlone(reduce, left.drop_front(), next);
    return SmallVector<Value>{next};
  })[0];
}

SmallVector<KernelForm> ssm::getTeamForms(KernelOp kernel, bool overlaps) {
  SmallVector<KernelForm> forms;
  addTurnForms(kernel, forms);
  addRowForms(kernel, overlaps, forms);
  addSplitForms(kernel, forms);
  addVectorRowForms(kernel, overlaps, forms);
  addPickForms(kernel, overlaps, forms);
  addColumnForms(kernel, overlaps, forms);
  if (!forms.empty() && !forms.back().isFit)
    return forms;
  addPieceForms(kernel, overlaps, forms);
  forms.push_back(
      {"", nullptr, [overlaps](DeviceKernel &both) { return TeamEmitter(both, overlaps).emit(); }});
  return forms;
}
