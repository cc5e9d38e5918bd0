//===- EmitTeamRows.cpp - Rows that are read once -------------------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sums over a row and outs along it (softmax, norms): a thread has a few vectors of the row,
// all asked for before the first is used. They, and what is computed of them, stay in registers
// from one sum to the next.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/TeamReduce.h"
#include "passes/GPU/Teams.h"

#include "lib/Analysis/MatmulShape.h"
#include "lib/Emit/RowDivision.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Elements of a thread, more of which would not stay in registers.
constexpr int64_t kElements = 32;
/// Rows that each have a multiprocessor for themselves: no thread waits for a second vector.
constexpr int64_t kFewRows = 128;
/// Single elements of a row from which on a warp's lanes have several.
constexpr int64_t kLeastSingles = 128;
/// Where rows begin: at 16 bytes; all operands' at the same place between two vectors, so that
/// single elements are in front of and behind these; or anywhere, so that all vectors are of one
/// element.
enum class RowStart { Aligned, Shifted, Any };
/// Vectors of a thread, and threads of a team at most: a warp, or a block.
struct RowTeam {
  StringLiteral name;
  int64_t vectors, threads;
  RowStart start = RowStart::Aligned;
  bool isShifted() const { return start == RowStart::Shifted; }
  bool isSingle() const { return start == RowStart::Any; }
  bool isWarp() const { return threads == kWarp; }
  bool isFew() const { return vectors == 1; }
};
constexpr RowTeam kTeams[] = {{"_warp", 4, kWarp},
                              {"_few", 1, kMaxBlock},
                              {"_row", 4, 512},
                              {"_long", 8, 512},
                              {"_shifted_warp", 4, kWarp, RowStart::Shifted},
                              {"_shifted_row", 4, 512, RowStart::Shifted},
                              {"_any_row", 8, 512, RowStart::Any}};

class RowEmitter : public TeamEmitter {
public:
  RowEmitter(DeviceKernel &k, const RowTeam &form, bool overlaps = false)
      : TeamEmitter(k, overlaps), form(form), d{b} {
    takesSingles = form.isSingle();
    takesRests = form.isShifted();
    analyze();
  }

  /// Whether all sums are over the row and all outs along it or one number of it.
  bool isRow();
  int64_t vectorLanes() const { return lanes; }
  /// -1: not fixed.
  int64_t fixedVectors() {
    int64_t size = e.fixedSize(*wideLoop);
    return size < 0 ? -1 : size / lanes;
  }
  /// Whether rows are not too long, and whole vectors.
  Value isFit();
  LaunchShape emit();

private:
  /// One of the thread's vectors, or its single element: whether and where it is, and what is known
  /// of it.
  struct Part {
    Value isInside, at;
    bool isVector = true;
    SmallVector<std::pair<Value, Value>> known = {};
  };
  void inPart(Part &part, llvm::function_ref<void()> body);
  LaunchShape launch();
  bool isScale(unsigned input, LaunchShape &shape);
  void prefetch(LaunchShape &shape);
  void emitRow(Value point, LaunchShape &shape);
  void reduce(ReduceOp op);
  void write();
  SmallVector<Value> operands() {
    SmallVector<Value> all(kernel.getInputs());
    llvm::append_range(all, kernel.getOuts());
    return all;
  }
  bool isOfRows(AffineMap map) { return loopsOf(map) == (points | loopBit(*wideLoop)); }
  bool liesAlike();
  Value beginsAligned();
  Value inFront();
  Value rowVectors() { return count(*wideLoop); }
  Value alsoExists(Value condition) {
    return exists ? d.make<arith::AndIOp>(exists, condition) : condition;
  }

  const RowTeam &form;
  DeviceBuilder d;
  Value member;
  /// Of warps, whether it has a row.
  Value exists;
  SmallVector<Part> parts;
  /// Of shifted rows: how operands of many rows are reached.
  AffineMap rows;
};

} // namespace

bool RowEmitter::isRow() {
  if (alone || !wideLoop || teamReduces.empty())
    return false;
  LoopSet row = loopBit(*wideLoop);
  for (Operation *op : teamReduces)
    if (loopsOf(cast<ReduceOp>(op).getLoops()) != row)
      return false;
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out)
    if (!isSubset(loopsOf(kernel.getOutMap(out)), points | row))
      return false;
  return !form.isShifted() || liesAlike();
}

/// Whether all operands of many rows lie alike, so that a row has as many elements in front of its
/// first vector in each.
bool RowEmitter::liesAlike() {
  for (Operation &op : kernel.getStep().without_terminator())
    if (getIndexedRead(&op) && contains(e.loops.of(op.getResult(0)), *wideLoop))
      return false;
  auto isPlain = [](AffineExpr expr) { return isa<AffineDimExpr>(expr); };
  for (auto [i, buffer] : llvm::enumerate(operands())) {
    AffineMap map = kernel.getMap(i);
    if (!map.isFunctionOfDim(*wideLoop) || loopsOf(map) == loopBit(*wideLoop))
      continue;
    if (!isOfRows(map) || !cast<MemRefType>(buffer.getType()).getLayout().isIdentity() ||
        !llvm::all_of(map.getResults(), isPlain) || map.getNumResults() != pointLoops.size() + 1 ||
        (rows && rows != map))
      return false;
    rows = map;
  }
  return rows && lanes > 1;
}

Value RowEmitter::beginsAligned() {
  Value all = arith::ConstantIntOp::create(b, b.getI1Type(), 1);
  for (auto [i, buffer] : llvm::enumerate(operands()))
    if (isOfRows(kernel.getMap(i)))
      all = d.make<arith::AndIOp>(all, ssm::beginsAligned(b, buffer, lanes));
  return all;
}

/// Elements of the row in front of its first vector.
Value RowEmitter::inFront() {
  Value row = constant(0);
  for (AffineExpr expr : rows.getResults().drop_back()) {
    unsigned loop = cast<AffineDimExpr>(expr).getPosition();
    row = d.add(d.mul(row, e.size(loop)), e.at[loop]);
  }
  return d.rem(d.sub(constant(0), d.mul(row, e.size(*wideLoop))), lanes);
}

Value RowEmitter::isFit() {
  Value aligned = form.isShifted() ? beginsAligned() : isAligned();
  isWide = true;
  Value length = rowVectors();
  Value fits = d.compare(arith::CmpIPredicate::ule, length, form.vectors * form.threads);
  if (form.isFew())
    fits = d.make<arith::AndIOp>(
        fits, d.compare(arith::CmpIPredicate::ule, product(pointLoops), kFewRows));
  Value isSome = d.compare(arith::CmpIPredicate::uge, length,
                           form.isSingle()    ? kLeastSingles
                           : form.isShifted() ? kLeastSingles / lanes
                                              : 1);
  return d.make<arith::AndIOp>(aligned, d.make<arith::AndIOp>(fits, isSome));
}

LaunchShape RowEmitter::launch() {
  ImplicitLocOpBuilder &h = k.host;
  DeviceBuilder host{h};
  Value one = arith::ConstantIndexOp::create(h, 1), total = hostProduct(pointLoops);
  if (form.isWarp())
    return {{host.ceilDiv(total, kBlock / kWarp), one, one},
            arith::ConstantIndexOp::create(h, kBlock),
            kBlock};
  Value warps = host.ceilDiv(hostProduct(*wideLoop), lanes * form.vectors * kWarp);
  warps = host.min(warps, form.threads / kWarp);
  return {{total, one, one}, host.mul(warps, kWarp), form.threads};
}

LaunchShape RowEmitter::emit() {
  isRow();
  LaunchShape shape = launch();
  begin();
  isWide = true;
  if (overlaps) {
    prefetch(shape);
    if (!form.isFew())
      waitForOthers(k, shape);
  }
  if (form.isWarp()) {
    // As many registers as let four blocks be on a multiprocessor, or three where single elements
    // need some too; ptxas takes fewer, and spills.
    k.function->setAttr("nvvm.minctasm", b.getI32IntegerAttr(form.isShifted() ? 3 : 4));
    Value warp = constant(kWarp);
    member = b.createOrFold<arith::RemUIOp>(thread, warp);
    Value point =
        e.add(e.mul(team, constant(kBlock / kWarp)), b.createOrFold<arith::DivUIOp>(thread, warp));
    // Warps past the end do the last row again, and write nothing.
    Value total = product(pointLoops);
    exists = d.isLess(point, total);
    emitRow(d.min(point, d.sub(total, 1)), shape);
  } else {
    // Left to itself, ptxas takes as few registers as let two such blocks run, and spills.
    k.function->setAttr("nvvm.minctasm", b.getI32IntegerAttr(1));
    member = thread;
    emitRow(team, shape);
  }
  // Of what all rows take, vectors begin anywhere where rows do.
  llvm::DenseSet<Value> aligned;
  for (auto [i, buffer] : llvm::enumerate(operands()))
    if (!form.isShifted() || isOfRows(kernel.getMap(i)))
      aligned.insert(buffer);
  alignAccesses(k.function.getBody(), [&](Value buffer) { return aligned.contains(buffer); });
  return shape;
}

/// Whether all rows take the input, a scale say, and may before there is a row.
bool RowEmitter::isScale(unsigned input, LaunchShape &shape) {
  Value buffer = kernel.getInputs()[input];
  auto type = dyn_cast<MemRefType>(buffer.getType());
  return type && type.getLayout().isIdentity() &&
         loopsOf(kernel.getInputMap(input)) == loopBit(*wideLoop) && canReadEarly(k, buffer, shape);
}

/// Scales come to the second-level cache before there is a row, those of few rows to registers.
void RowEmitter::prefetch(LaunchShape &shape) {
  constexpr int64_t line = 128;
  for (auto [i, buffer] : llvm::enumerate(kernel.getInputs())) {
    if (form.isFew() || !isScale(i, shape))
      continue;
    auto type = cast<MemRefType>(buffer.getType());
    Value bytes = e.mul(e.size(*wideLoop), constant(type.getElementTypeBitWidth() / 8));
    Value first = PointerOp::create(b, LLVM::LLVMPointerType::get(b.getContext()), buffer);
    d.loop(e.mul(thread, constant(line)), bytes, e.mul(threads, constant(line)), {},
           [&](Value at, ValueRange) {
             auto level =
                 NVVM::PrefetchCacheLevelAttr::get(b.getContext(), NVVM::PrefetchCacheLevel::L2);
             NVVM::PrefetchOp::create(b, level, /*evictPriority=*/nullptr,
                                      d.after(first, d.toWide(at)), /*predicate=*/Value(),
                                      /*tensormap=*/nullptr);
             return SmallVector<Value>();
           });
  }
}

void RowEmitter::emitRow(Value point, LaunchShape &shape) {
  setIndices(pointLoops, point);
  Value size = e.size(*wideLoop), front = form.isShifted() ? inFront() : constant(0);
  Value length = form.isShifted() ? d.div(d.sub(size, front), lanes) : rowVectors();
  Value last = d.sub(length, 1);
  Value step = form.isWarp() ? constant(kWarp) : threads;
  for (int64_t i = 0; i < form.vectors; ++i) {
    // Threads that have none read the last one, which is another's too.
    Value number = e.add(member, e.mul(step, constant(i)));
    Value at = e.add(front, e.mul(d.min(number, last), constant(lanes)));
    parts.push_back({d.isLess(number, length), at});
  }
  if (form.isShifted()) {
    // One for a thread: fewer than two vectors, whose threads are a warp at least.
    Value vectors = d.mul(length, lanes), isInFront = d.isLess(member, front);
    Value at = d.select(isInFront, member, d.add(member, vectors));
    parts.push_back({d.isLess(at, size), d.min(at, d.sub(size, 1)), /*isVector=*/false});
  }
  if (overlaps && form.isFew()) {
    inPart(parts.front(), [&] {
      for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
        if (isScale(i, shape))
          e.get(kernel.getInputArg(i));
    });
    waitForOthers(k, shape);
  }
  e.hoist(points);
  llvm::SmallSetVector<unsigned, 4> read;
  for (Operation *op : teamReduces)
    for (unsigned input : inputsOf(kernel, cast<ReduceOp>(op).getValue()))
      if (e.loops.of(kernel.getStep().getArgument(input)) & loopBit(*wideLoop))
        read.insert(input);
  for (Part &part : parts)
    inPart(part, [&] {
      for (unsigned input : read)
        e.get(kernel.getStep().getArgument(input));
    });
  for (Operation *op : teamReduces) {
    reduce(cast<ReduceOp>(op));
    e.hoist(points);
  }
  write();
}

/// What the body comes to know of the part is known there from then on.
void RowEmitter::inPart(Part &part, llvm::function_ref<void()> body) {
  PointEmitter::Scope scope(e);
  std::optional<Lanes> wide;
  if (part.isVector)
    wide.emplace(*this, *wideLoop);
  e.at[*wideLoop] = part.at;
  for (auto [value, emitted] : part.known)
    e.provide(value, emitted);
  body();
  part.known.clear();
  e.forEachKnown([&](Value value, Value emitted) {
    if (contains(e.loops.of(value), *wideLoop))
      part.known.push_back({value, emitted});
  });
}

void RowEmitter::reduce(ReduceOp op) {
  arith::AtomicRMWKind kind = op.getKind();
  // Of vectors, and of single elements.
  Value sums[2];
  for (Part &part : parts)
    inPart(part, [&] {
      Value value = part.isVector ? e.getVector(op.getValue()) : e.get(op.getValue());
      value = d.select(part.isInside, value, e.neutral(kind, value.getType()));
      Value &sum = sums[part.isVector ? 0 : 1];
      sum = sum ? e.combine(kind, sum, value) : value;
    });
  Value all = e.reduceLanes(kind, sums[0]);
  if (sums[1])
    all = e.combine(kind, all, sums[1]);
  e.provide(op, form.isWarp() ? reduceOverLanes(e, kind, all, kWarp)
                              : reduceOverBlock(k, e, kind, all));
}

void RowEmitter::write() {
  auto yielded = kernel.getYield().getValues();
  SmallVector<unsigned> along, single;
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out)
    (contains(loopsOf(kernel.getOutMap(out)), *wideLoop) ? along : single).push_back(out);
  auto store = [&](ArrayRef<unsigned> outs) {
    for (unsigned out : outs)
      e.get(yielded[out]);
    for (unsigned out : outs)
      e.storeOut(out, e.get(yielded[out]));
  };
  if (!along.empty())
    for (Part &part : parts)
      d.branch(alsoExists(part.isInside), [&] { inPart(part, [&] { store(along); }); });
  if (!single.empty())
    d.branch(alsoExists(d.isEqual(member, 0)), [&] {
      PointEmitter::Scope scope(e);
      store(single);
    });
}

void ssm::addRowForms(KernelOp kernel, bool overlaps, SmallVectorImpl<KernelForm> &forms) {
  ImplicitLocOpBuilder none(kernel.getLoc(), kernel);
  DeviceKernel alone{kernel, kernel, none, none, nullptr};
  for (const RowTeam &team : kTeams) {
    // For chips before sm_90 ptxas spills what single elements need.
    if (team.isSingle() && !overlaps)
      continue;
    RowEmitter found(alone, team);
    if (!found.isRow())
      continue;
    // Functions of f64 need many registers beside the row's.
    bool isLongDouble = team.vectors > 4 && llvm::any_of(kernel.getStep(), [](Operation &op) {
                          return isSlow(&op) && op.getResult(0).getType().isF64();
                        });
    if (isLongDouble)
      continue;
    int64_t fixed = found.fixedVectors(), most = team.vectors * team.threads;
    if (team.vectors * found.vectorLanes() > kElements || fixed > most)
      continue;
    forms.push_back({team.name,
                     [kernel, &team](ImplicitLocOpBuilder &h) {
                       DeviceKernel host{kernel, kernel, h, h, nullptr};
                       return RowEmitter(host, team).isFit();
                     },
                     [&team, overlaps](DeviceKernel &k) {
                       invertRowDivisors(k.kernel);
                       return RowEmitter(k, team, overlaps).emit();
                     }});
    // All rows fit, so no larger team is needed.
    if (fixed >= 0 && !team.isFew() && !team.isShifted())
      return;
  }
}
