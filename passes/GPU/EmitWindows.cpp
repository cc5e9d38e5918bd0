//===- EmitWindows.cpp - Short memories along dense time ------------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Recurrences that forget what is a few steps old, such as causal convolutions, on sequences
// that are dense along time. A thread has a run of steps, 16 bytes of each sequence, and takes
// the steps in front of it for the carries alone: its neighbour reads the same memory. Runs
// begin at 16 bytes whatever rows begin at: the first and the last ones of such a row are broken.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/DeviceKernel.h"

#include "lib/Analysis/RecurrenceShape.h"
#include "lib/Emit/PointEmitter.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace ssm;

namespace {

constexpr int64_t kBlock = 256;
/// Bytes of an access, and steps of a run at most.
constexpr int64_t kAccessBytes = 16, kMaxRun = 8;
/// Runs that a row must have for the broken ones among them to be few.
constexpr int64_t kLeastRuns = 4;

/// Where runs begin: at the rows' beginning, or where memory says; a run of one step anywhere.
enum class Runs { Whole, Peeled, Single };

/// A recurrence of this form.
struct Window {
  int64_t memory = 0;
  /// Steps of a run that is 16 bytes of the shortest elements.
  int64_t run = kMaxRun;
  /// Inputs that change with time.
  SmallVector<unsigned> timed;
  SmallVector<unsigned> outer;
  /// Whether runs can be peeled if rows of all operands begin alike.
  bool canPeel = true;
};

class WindowEmitter {
public:
  WindowEmitter(DeviceKernel &k, Window what, Runs runs)
      : k(k), kernel(k.kernel), what(std::move(what)), runs(runs),
        run(runs == Runs::Single ? 1 : this->what.run), b(k.device), d{b},
        e(kernel, b, std::nullopt, 1), time(*kernel.getTime()) {}

  LaunchShape emit();

private:
  using Values = SmallVector<Value>;
  /// The elements of each timed input, in the order of steps.
  using Elements = SmallVector<Values>;

  LaunchShape launch();
  Value countRuns(DeviceBuilder d, Value steps);
  void emitRun(Value number);
  Values runPeeled(Value begin, Value skipped);
  Values runBroken(Value begin, Value skipped);
  Value skippedOfRow();
  /// Carries, from one of two arms.
  Values either(Value condition, llvm::function_ref<Values()> ifTrue,
                llvm::function_ref<Values()> ifFalse);
  Values begin();
  Values runSteps(Value first);
  Values runSteps(Value first, const Elements &elements, Values carries);
  Values stepsBefore(Value first);
  Values stepsFromAnywhere(Value first);
  Values stepsFromBegin(Value first);
  /// What the carries are after a step.
  Values advance(ValueRange carries);
  void setRun(Value first, int64_t count);
  Elements load(Value first, int64_t count);
  Elements loadBefore(Value first);
  void setStep(Value at, const Elements &elements, int64_t element, ValueRange carries);
  void storeRun(unsigned out, Value first, Values values);

  DeviceKernel &k;
  KernelOp kernel;
  Window what;
  Runs runs;
  int64_t run;
  ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  PointEmitter e;
  unsigned time;
  Value steps;
};

} // namespace

static int64_t bytesOf(Value buffer) {
  return cast<MemRefType>(buffer.getType()).getElementTypeBitWidth() / 8;
}

static int64_t alignmentOf(Value buffer, int64_t count) {
  return std::min(kAccessBytes, count * bytesOf(buffer));
}

/// Whether a run of the loop is one piece of memory.
static bool isRun(Value buffer, AffineMap map, unsigned loop) {
  auto type = cast<MemRefType>(buffer.getType());
  if (!type.getElementType().isIntOrFloat() || !type.isLastDimUnitStride() ||
      type.getElementTypeBitWidth() < 8 || !llvm::isPowerOf2_32(type.getElementTypeBitWidth()))
    return false;
  auto last = dyn_cast<AffineDimExpr>(map.getResults().back());
  return last && last.getPosition() == loop &&
         llvm::none_of(map.getResults().drop_back(),
                       [&](AffineExpr expr) { return expr.isFunctionOfDim(loop); });
}

static std::optional<Window> matchWindow(KernelOp kernel) {
  std::optional<int64_t> memory = findMemory(kernel);
  if (!memory || *memory > kMaxMemory || !kernel.getStep().getOps<ReduceOp>().empty())
    return std::nullopt;
  Window what;
  what.memory = *memory;
  unsigned time = *kernel.getTime();
  LoopSet all = 0;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    all |= loopBit(loop);
  what.outer = listLoops(all & ~loopBit(time));
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out) {
    LoopSet own = out < kernel.getNumCarries() ? all & ~loopBit(time) : all;
    if (loopsOf(kernel.getOutMap(out)) != own)
      return std::nullopt;
  }
  auto take = [&](Value buffer, AffineMap map) {
    if (!isRun(buffer, map, time))
      return false;
    what.run = std::min(what.run, kAccessBytes / bytesOf(buffer));
    return true;
  };
  auto runsOn = [&](AffineMap map, bool isMirrored) {
    return !isMirrored && llvm::all_of(map.getResults(), [](AffineExpr expr) {
      return isa<AffineDimExpr, AffineConstantExpr>(expr);
    });
  };
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
    if (!kernel.getInputMap(i).isFunctionOfDim(time))
      continue;
    if (!take(kernel.getInputs()[i], kernel.getInputMap(i)))
      return std::nullopt;
    what.timed.push_back(i);
    what.canPeel &= runsOn(kernel.getInputMap(i), kernel.isInputMirrored(i));
  }
  for (unsigned out = kernel.getNumCarries(); out < kernel.getOuts().size(); ++out) {
    if (!take(kernel.getOuts()[out], kernel.getOutMap(out)))
      return std::nullopt;
    what.canPeel &= runsOn(kernel.getOutMap(out), kernel.isOutMirrored(out));
  }
  return what;
}

/// Of a row. Without a step carries still come out.
Value WindowEmitter::countRuns(DeviceBuilder d, Value steps) {
  // A row may begin anywhere in its first run.
  if (runs == Runs::Peeled)
    return d.ceilDiv(d.add(steps, run - 1), run);
  return d.make<arith::MaxUIOp>(d.ceilDiv(steps, run), 1);
}

LaunchShape WindowEmitter::launch() {
  ImplicitLocOpBuilder &h = k.host;
  DeviceBuilder host{h};
  SmallVector<OpFoldResult> sizes = k.hostKernel.getLoopSizes(h);
  auto size = [&](unsigned loop) {
    return getValueOrCreateConstantIndexOp(h, h.getLoc(), sizes[loop]);
  };
  Value one = arith::ConstantIndexOp::create(h, 1);
  Value total = countRuns(host, size(time));
  for (unsigned loop : what.outer)
    total = host.mul(total, size(loop));
  return {
      {host.ceilDiv(total, kBlock), one, one}, arith::ConstantIndexOp::create(h, kBlock), kBlock};
}

LaunchShape WindowEmitter::emit() {
  LaunchShape shape = launch();
  steps = e.size(time);
  Value count = countRuns(d, steps), total = count;
  for (unsigned loop : what.outer)
    total = e.mul(total, e.size(loop));
  Value number = e.add(e.mul(gpu::BlockIdOp::create(b, gpu::Dimension::x), e.index(kBlock)),
                       gpu::ThreadIdOp::create(b, gpu::Dimension::x));
  d.branch(d.isLess(number, total), [&] {
    Value row = d.div(number, count), inRow = d.rem(number, count);
    for (size_t i = what.outer.size(); i-- > 0;) {
      unsigned loop = what.outer[i];
      e.at[loop] = i == 0 ? row : d.rem(row, e.size(loop));
      row = i == 0 ? row : d.div(row, e.size(loop));
    }
    emitRun(inRow);
  });
  return shape;
}

void WindowEmitter::emitRun(Value number) {
  LoopSet outerSet = 0;
  for (unsigned loop : what.outer)
    outerSet |= loopBit(loop);
  e.hoist(outerSet);
  Value first = e.mul(number, e.index(run)), end = steps;
  Values last;
  if (runs == Runs::Peeled) {
    Value skipped = skippedOfRow();
    end = e.add(steps, skipped);
    last = runPeeled(first, skipped);
  } else if (runs == Runs::Whole) {
    last = runSteps(first);
  } else {
    last = either(
        d.isLess(first, steps), [&] { return runSteps(first); }, [&] { return begin(); });
  }
  Value isLast = d.compare(arith::CmpIPredicate::uge, e.add(first, run), end);
  // Behind the last run there may be one without a step.
  if (runs == Runs::Peeled)
    isLast = d.make<arith::AndIOp>(isLast, d.isLess(first, end));
  d.branch(isLast, [&] {
    for (auto [i, carry] : llvm::enumerate(last))
      e.storeOut(i, carry);
  });
}

/// Where the carries begin.
SmallVector<Value> WindowEmitter::begin() {
  return llvm::map_to_vector(llvm::seq(kernel.getNumCarries()), [&](unsigned i) {
    Value init = kernel.getInits()[i];
    return isa<MemRefType>(init.getType()) ? e.load(init, kernel.getInitMap(i), false) : init;
  });
}

SmallVector<Value> WindowEmitter::either(Value condition, llvm::function_ref<Values()> ifTrue,
                                         llvm::function_ref<Values()> ifFalse) {
  SmallVector<Type> types;
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    types.push_back(kernel.getCarryArg(i).getType());
  return d.choose(condition, types, ifTrue, ifFalse);
}

/// Where time is for `indicesOf` to give the place in memory of the first of `count` steps.
void WindowEmitter::setRun(Value first, int64_t count) {
  e.at[time] = first;
  e.mirroredTime = e.sub(e.sub(steps, first), e.index(count));
}

WindowEmitter::Elements WindowEmitter::load(Value first, int64_t count) {
  PointEmitter::Scope scope(e);
  setRun(first, count);
  Elements result;
  for (unsigned input : what.timed) {
    Value buffer = kernel.getInputs()[input];
    Values &elements = result.emplace_back();
    if (count == 1) {
      elements.push_back(memref::LoadOp::create(b, buffer, e.indicesOf(input)));
      continue;
    }
    auto type = VectorType::get({count}, cast<MemRefType>(buffer.getType()).getElementType());
    Value vector =
        vector::LoadOp::create(b, type, buffer, e.indicesOf(input),
                               /*nontemporal=*/false, llvm::MaybeAlign(alignmentOf(buffer, count)));
    for (int64_t i = 0; i < count; ++i)
      elements.push_back(vector::ExtractOp::create(b, vector, i));
    if (kernel.isInputMirrored(input))
      std::reverse(elements.begin(), elements.end());
  }
  return result;
}

/// The elements of the steps in front of the run that are remembered; of those that do not
/// exist, any others.
WindowEmitter::Elements WindowEmitter::loadBefore(Value first) {
  // Not more than needed, and aligned as the run is.
  int64_t piece = std::min<int64_t>(run, llvm::PowerOf2Ceil(what.memory));
  int64_t count = llvm::alignTo(what.memory, piece);
  Elements result(what.timed.size());
  for (int64_t at = 0; at < count; at += piece) {
    Value begin = e.sub(d.make<arith::MaxUIOp>(e.add(first, at), count), e.index(count));
    for (auto [all, part] : llvm::zip_equal(result, load(begin, piece)))
      llvm::append_range(all, part);
  }
  for (Values &all : result)
    all.erase(all.begin(), all.begin() + (count - what.memory));
  return result;
}

void WindowEmitter::setStep(Value at, const Elements &elements, int64_t element,
                            ValueRange carries) {
  setRun(at, 1);
  for (auto [input, values] : llvm::zip_equal(what.timed, elements))
    e.provide(kernel.getInputArg(input), values[element]);
  for (auto [i, carry] : llvm::enumerate(carries))
    e.provide(kernel.getCarryArg(i), carry);
}

SmallVector<Value> WindowEmitter::advance(ValueRange carries) {
  return llvm::map_to_vector(kernel.getYield().getValues().take_front(carries.size()),
                             [&](Value value) { return e.get(value); });
}

/// All steps that the carries remember exist, so that they may begin as anything.
SmallVector<Value> WindowEmitter::stepsFromAnywhere(Value first) {
  Elements elements = loadBefore(first);
  Values carries;
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    carries.push_back(arith::ConstantOp::create(b, b.getZeroAttr(kernel.getCarryArg(i).getType())));
  for (int64_t step = 0; step < what.memory; ++step) {
    PointEmitter::Scope scope(e);
    setStep(e.sub(e.add(first, step), e.index(what.memory)), elements, step, carries);
    carries = advance(carries);
  }
  return carries;
}

/// The steps up to the run, from the first one.
SmallVector<Value> WindowEmitter::stepsFromBegin(Value first) {
  Values carries = begin();
  // Then the run is the first.
  if (run >= what.memory)
    return carries;
  Elements elements = loadBefore(first);
  Value memory = e.index(what.memory);
  for (int64_t step = 0; step < what.memory; ++step) {
    PointEmitter::Scope scope(e);
    Value at = e.add(first, step);
    Value exists = d.compare(arith::CmpIPredicate::uge, at, memory);
    setStep(e.sub(d.make<arith::MaxUIOp>(at, memory), memory), elements, step, carries);
    for (auto [carry, next] : llvm::zip_equal(carries, advance(carries)))
      carry = d.select(exists, next, carry);
  }
  return carries;
}

SmallVector<Value> WindowEmitter::stepsBefore(Value first) {
  Value isLate = d.compare(arith::CmpIPredicate::uge, first, what.memory);
  return either(
      isLate, [&] { return stepsFromAnywhere(first); }, [&] { return stepsFromBegin(first); });
}

SmallVector<Value> WindowEmitter::runSteps(Value first) {
  // Asked for before the steps in front, which are those of neighbours.
  Elements elements = load(first, run);
  return runSteps(first, elements, stepsBefore(first));
}

SmallVector<Value> WindowEmitter::runSteps(Value first, const Elements &elements, Values carries) {
  auto yielded = kernel.getYield().getValues();
  // Rounded two at a time, as a vector.
  auto isRounded = [&](unsigned out) {
    auto round = yielded[out].getDefiningOp<arith::TruncFOp>();
    return run > 1 && round && round->getBlock() == &kernel.getStep();
  };
  SmallVector<Values> results(kernel.getOuts().size());
  for (int64_t step = 0; step < run; ++step) {
    PointEmitter::Scope scope(e);
    setStep(e.add(first, step), elements, step, carries);
    for (unsigned out = carries.size(); out < results.size(); ++out)
      results[out].push_back(
          e.get(isRounded(out) ? yielded[out].getDefiningOp()->getOperand(0) : yielded[out]));
    carries = advance(carries);
  }
  for (unsigned out = carries.size(); out < results.size(); ++out)
    storeRun(out, first, results[out]);
  return carries;
}

/// Steps of a row's first run that are another row's.
Value WindowEmitter::skippedOfRow() {
  unsigned out = kernel.getNumCarries();
  auto parts = memref::ExtractStridedMetadataOp::create(b, kernel.getOuts()[out]);
  Value begin = e.index(0);
  for (auto [expr, stride] :
       llvm::zip_equal(kernel.getOutMap(out).getResults(), parts.getStrides()))
    if (auto dim = dyn_cast<AffineDimExpr>(expr); dim && dim.getPosition() != time)
      begin = e.add(begin, e.mul(e.at[dim.getPosition()], stride));
  return d.bitAnd(begin, run - 1);
}

/// A run that begins at `begin` - `skipped`, if all steps that it needs exist.
SmallVector<Value> WindowEmitter::runPeeled(Value begin, Value skipped) {
  int64_t piece = std::min<int64_t>(run, llvm::PowerOf2Ceil(what.memory));
  Value isLate = d.compare(arith::CmpIPredicate::uge, begin,
                           e.add(skipped, llvm::alignTo(what.memory, piece)));
  Value isInside = d.compare(arith::CmpIPredicate::ule, e.add(begin, run), e.add(steps, skipped));
  return either(
      d.make<arith::AndIOp>(isLate, isInside),
      [&] {
        Value first = e.sub(begin, skipped);
        Elements elements = load(first, run);
        return runSteps(first, elements, stepsFromAnywhere(first));
      },
      [&] { return runBroken(begin, skipped); });
}

/// Steps one by one, those that exist.
SmallVector<Value> WindowEmitter::runBroken(Value begin, Value skipped) {
  PointEmitter::Scope scope(e);
  int64_t count = what.memory + run;
  Value low = e.add(skipped, what.memory), last = e.sub(steps, e.index(1));
  Elements elements(what.timed.size());
  Values places, exist;
  for (int64_t step = 0; step < count; ++step) {
    // Behind the first step by as much as the carries remember.
    Value at = e.add(begin, step), place = e.sub(d.make<arith::MaxUIOp>(at, low), low);
    Value isBehind = d.compare(arith::CmpIPredicate::uge, at, low);
    exist.push_back(d.make<arith::AndIOp>(isBehind, d.isLess(place, steps)));
    places.push_back(e.min(place, last));
    for (auto [all, one] : llvm::zip_equal(elements, load(places.back(), 1)))
      llvm::append_range(all, one);
  }
  Values carries = this->begin();
  for (int64_t step = 0; step < count; ++step) {
    PointEmitter::Scope scope(e);
    setStep(places[step], elements, step, carries);
    if (step >= what.memory)
      d.branch(exist[step], [&] {
        PointEmitter::Scope scope(e);
        for (unsigned out = carries.size(); out < kernel.getOuts().size(); ++out)
          e.storeOut(out, e.get(kernel.getYield().getValues()[out]));
      });
    for (auto [carry, next] : llvm::zip_equal(carries, advance(carries)))
      carry = d.select(exist[step], next, carry);
  }
  return carries;
}

void WindowEmitter::storeRun(unsigned out, Value first, Values values) {
  PointEmitter::Scope scope(e);
  setRun(first, run);
  if (run == 1)
    return e.storeOut(out, values.front());
  Value buffer = kernel.getOuts()[out];
  if (kernel.isOutMirrored(out))
    std::reverse(values.begin(), values.end());
  auto type = VectorType::get({run}, cast<MemRefType>(buffer.getType()).getElementType());
  auto computed = VectorType::get({run}, values.front().getType());
  Value vector = vector::FromElementsOp::create(b, computed, values);
  if (computed != type)
    vector = arith::TruncFOp::create(b, type, vector);
  vector::StoreOp::create(b, vector, buffer, e.indicesOfOut(out), /*nontemporal=*/false,
                          llvm::MaybeAlign(alignmentOf(buffer, run)));
}

static Value isFit(ImplicitLocOpBuilder &h, KernelOp kernel, const Window &what) {
  DeviceBuilder d{h};
  unsigned time = *kernel.getTime();
  Value steps = getValueOrCreateConstantIndexOp(h, h.getLoc(), kernel.getLoopSizes(h)[time]);
  Value fits = d.compare(arith::CmpIPredicate::ugt, steps, 0);
  auto require = [&](Value condition) { fits = d.make<arith::AndIOp>(fits, condition); };
  require(d.isEqual(d.rem(steps, what.run), 0));
  llvm::DenseSet<Value> seen;
  auto align = [&](Value buffer) {
    if (seen.insert(buffer).second)
      require(d.isAligned(buffer, alignmentOf(buffer, what.run)));
  };
  for (unsigned input : what.timed)
    align(kernel.getInputs()[input]);
  for (Value out : kernel.getOuts().drop_front(kernel.getNumCarries()))
    align(out);
  return fits;
}

/// Whether the same steps of all operands begin at 16 bytes.
static Value beginsAlike(ImplicitLocOpBuilder &h, KernelOp kernel, const Window &what) {
  DeviceBuilder d{h};
  unsigned time = *kernel.getTime(), numCarries = kernel.getNumCarries();
  Value steps = getValueOrCreateConstantIndexOp(h, h.getLoc(), kernel.getLoopSizes(h)[time]);
  Value fits = d.compare(arith::CmpIPredicate::uge, steps, kLeastRuns * what.run);
  auto require = [&](Value condition) { fits = d.make<arith::AndIOp>(fits, condition); };
  Value zero = arith::ConstantIndexOp::create(h, 0);
  // What a step of each loop goes on by.
  auto stridesOf = [&](Value buffer, AffineMap map) {
    auto parts = memref::ExtractStridedMetadataOp::create(h, buffer);
    Value begin = h.createOrFold<memref::ExtractAlignedPointerAsIndexOp>(buffer);
    begin = d.add(begin, d.mul(parts.getOffset(), bytesOf(buffer)));
    require(d.isEqual(d.bitAnd(begin, alignmentOf(buffer, what.run) - 1), 0));
    SmallVector<Value> strides(kernel.getNumLoops(), zero);
    for (auto [expr, stride] : llvm::zip_equal(map.getResults(), parts.getStrides()))
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        strides[dim.getPosition()] = d.bitAnd(stride, what.run - 1);
    return strides;
  };
  SmallVector<Value> wanted = stridesOf(kernel.getOuts()[numCarries], kernel.getOutMap(numCarries));
  auto compare = [&](Value buffer, AffineMap map) {
    for (auto [have, want] : llvm::zip_equal(stridesOf(buffer, map), wanted))
      if (have != want)
        require(d.isEqual(have, want));
  };
  for (unsigned input : what.timed)
    compare(kernel.getInputs()[input], kernel.getInputMap(input));
  for (unsigned out = numCarries + 1; out < kernel.getOuts().size(); ++out)
    compare(kernel.getOuts()[out], kernel.getOutMap(out));
  return fits;
}

SmallVector<KernelForm> ssm::getWindowForms(KernelOp kernel) {
  std::optional<Window> found = matchWindow(kernel);
  if (!found)
    return {};
  Window what = *found;
  SmallVector<KernelForm> forms;
  if (what.run > 1)
    forms.push_back({"_runs", [=](ImplicitLocOpBuilder &h) { return isFit(h, kernel, what); },
                     [=](DeviceKernel &k) { return WindowEmitter(k, what, Runs::Whole).emit(); }});
  if (what.run > 1 && what.canPeel && kernel.getOuts().size() > kernel.getNumCarries())
    forms.push_back({"_peeled",
                     [=](ImplicitLocOpBuilder &h) { return beginsAlike(h, kernel, what); },
                     [=](DeviceKernel &k) { return WindowEmitter(k, what, Runs::Peeled).emit(); }});
  // Neighbours have neighbouring steps, whatever these begin at.
  forms.push_back(
      {"", nullptr, [=](DeviceKernel &k) { return WindowEmitter(k, what, Runs::Single).emit(); }});
  return forms;
}
