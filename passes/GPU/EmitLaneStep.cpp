//===- EmitLaneStep.cpp - A single step of a recurrence -------------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lanes as for many steps, but no loop over time: all that a step needs is asked for at once, 16
// bytes at a time.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceModule.h"
#include "passes/GPU/LaneRecurrence.h"
#include "passes/GPU/MatmulTiles.h"

#include "lib/Analysis/KernelShape.h"
#include "lib/Analysis/MatmulShape.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace ssm;

/// Elements of a vector, and vectors of a lane: with two, half as many lanes compute what they all
/// need.
static constexpr int64_t kWidth = 4, kGroups = 2, kMaxGroups = 8;
/// Points of the summed loop that a lane has, and its lanes, where neighbours have other points:
/// eight of them read a sector.
static constexpr int64_t kMaxAcross = 32, kMaxAcrossLanes = 4;

/// Whether a vector of the summed loop is one access, if rows are aligned.
bool LaneRecurrence::isWide(Value buffer, AffineMap map) {
  auto type = dyn_cast<MemRefType>(buffer.getType());
  if (!type || !map.isFunctionOfDim(*inner))
    return true;
  unsigned bits = type.getElementTypeBitWidth();
  return isDenseInside(type) && isDenseAlong(map, *inner) && (bits == 16 || bits == 32);
}

bool LaneRecurrence::analyzeStep() {
  if (!analyze() || !inner)
    return false;
  for (Operation &op : kernel.getStep().without_terminator())
    if (getIndexedRead(&op))
      return false;
  isAtOnce = analyzeWide() || analyzeAcross();
  memory = 0;
  return isAtOnce;
}

bool LaneRecurrence::analyzeWide() {
  if (innerSize % kWidth != 0 || !canBeLaneLoop(kernel, *inner, kWidth))
    return false;
  for (auto [i, buffer] : llvm::enumerate(kernel.getInputs()))
    if (!isWide(buffer, kernel.getInputMap(i)))
      return false;
  for (auto [i, buffer] : llvm::enumerate(kernel.getInits()))
    if (!isWide(buffer, kernel.getInitMap(i)))
      return false;
  for (auto [i, buffer] : llvm::enumerate(kernel.getOuts()))
    if (!isWide(buffer, kernel.getOutMap(i)))
      return false;
  int64_t groups = innerSize / kWidth, wideLanes = std::min<int64_t>(
      llvm::PowerOf2Ceil(llvm::divideCeil(groups, kGroups)), kWarp);
  if (groups % wideLanes != 0 || groups / wideLanes > kMaxGroups)
    return false;
  lanes = wideLanes;
  perLane = groups / lanes * kWidth;
  width = kWidth;
  return true;
}

/// The state of a delta rule, [.., key, value], is summed over keys. Lanes of neighbouring keys
/// would read 4 bytes of a sector each.
bool LaneRecurrence::analyzeAcross() {
  std::optional<unsigned> points;
  for (unsigned loop : listLoops(outerSet))
    if (!points || scoreLaneLoop(kernel, loop) >= scoreLaneLoop(kernel, *points))
      points = loop;
  bool isAcross = false;
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i) {
    if (!isInnerOut(i))
      continue;
    if (!points || !isDenseAlong(kernel.getOutMap(i), *points))
      return false;
    isAcross = true;
  }
  int64_t acrossLanes = llvm::PowerOf2Ceil(llvm::divideCeil(innerSize, kMaxAcross));
  if (!isAcross || acrossLanes > kMaxAcrossLanes || innerSize % acrossLanes != 0)
    return false;
  lanes = acrossLanes;
  perLane = innerSize / lanes;
  stride = kWarp / lanes;
  return true;
}

Value LaneRecurrence::isSingle() { return DeviceBuilder{b}.isEqual(e.size(time), 1); }

Value LaneRecurrence::isStep() {
  DeviceBuilder d{b};
  Value fits = isSingle();
  if (width == 1)
    return fits;
  auto require = [&](Value buffer, AffineMap map) {
    if (isa<MemRefType>(buffer.getType()) && map.isFunctionOfDim(*inner))
      fits = d.make<arith::AndIOp>(fits, hasAlignedRows(d, buffer));
  };
  for (auto [i, buffer] : llvm::enumerate(kernel.getInputs()))
    require(buffer, kernel.getInputMap(i));
  for (auto [i, buffer] : llvm::enumerate(kernel.getInits()))
    require(buffer, kernel.getInitMap(i));
  for (auto [i, buffer] : llvm::enumerate(kernel.getOuts()))
    require(buffer, kernel.getOutMap(i));
  return fits;
}

/// All points of a lane, a vector at a time.
SmallVector<Value> LaneRecurrence::loadGroups(Value buffer, AffineMap map, bool mirrored) {
  Values points;
  if (width == 1) {
    for (int64_t point = 0; point < perLane; ++point) {
      PointEmitter::Scope scope(e);
      setInner(point);
      points.push_back(e.load(buffer, map, mirrored));
    }
    return points;
  }
  e.laneLoop = inner;
  e.lanes = width;
  for (int64_t point = 0; point < perLane; point += width) {
    PointEmitter::Scope scope(e);
    setInner(point);
    Value group = e.load(buffer, map, mirrored);
    for (int64_t i = 0; i < width; ++i)
      points.push_back(vector::ExtractOp::create(b, group, i));
  }
  e.laneLoop = std::nullopt;
  e.lanes = 1;
  return points;
}

void LaneRecurrence::storeGroups(unsigned out, ValueRange values) {
  if (width == 1) {
    for (int64_t point = 0; point < perLane; ++point)
      storePoint(out, point, values[point]);
    return;
  }
  e.laneLoop = inner;
  e.lanes = width;
  for (int64_t point = 0; point < perLane; point += width) {
    PointEmitter::Scope scope(e);
    setInner(point);
    auto type = VectorType::get({width}, values.front().getType());
    storeOut(out, vector::FromElementsOp::create(b, type, values.slice(point, width)),
             owners[out]);
  }
  e.laneLoop = std::nullopt;
  e.lanes = 1;
}

void LaneRecurrence::runOnce() {
  DeviceBuilder d{b};
  steps = e.index(1);
  setTime(e.index(0));
  findOwners();
  Points points(perLane);
  Values loaded, scalars;
  auto addGroups = [&](ArrayRef<Value> each) {
    for (int64_t point = 0; point < perLane; point += width)
      loaded.push_back(each[point]);
  };
  SmallVector<Values> carried(kernel.getNumCarries());
  auto load = [&](auto isWanted) {
    for (auto [i, buffer] : llvm::enumerate(kernel.getInputs())) {
      Value arg = kernel.getInputArg(i);
      if (!isa<MemRefType>(buffer.getType()) || arg.use_empty() || !isWanted(buffer))
        continue;
      if (!isInner(arg)) {
        scalars.push_back(arg);
        loaded.push_back(e.get(arg));
        continue;
      }
      Values each = loadGroups(buffer, kernel.getInputMap(i), kernel.isInputMirrored(i));
      for (auto [point, value] : llvm::enumerate(each))
        points[point][arg] = value;
      addGroups(each);
    }
    for (auto [i, init] : llvm::enumerate(kernel.getInits())) {
      AffineMap map = kernel.getInitMap(i);
      if (!isWanted(init))
        continue;
      if (isa<MemRefType>(init.getType()) && inner && map.isFunctionOfDim(*inner)) {
        carried[i] = loadGroups(init, map, false);
        addGroups(carried[i]);
        continue;
      }
      Value value = isa<MemRefType>(init.getType()) ? e.load(init, map, false) : init;
      loaded.push_back(value);
      carried[i].assign(pointsOf(isInnerOut(i)), value);
    }
  };
  auto isEarly = [&](Value buffer) {
    return overlaps && isa<MemRefType>(buffer.getType()) && canReadEarly(k, buffer, shape);
  };
  load(isEarly);
  if (overlaps)
    waitForOthers(k, shape);
  load([&](Value buffer) { return !isEarly(buffer); });
  Values now;
  for (const Values &values : carried) {
    begin.push_back(now.size());
    llvm::append_range(now, values);
  }
  // Whatever is computed waits for all of it, as it takes one of these.
  Value isThere = areLoaded(b, loaded);
  auto gated = [&](Value value) {
    Value none = arith::ConstantOp::create(b, b.getZeroAttr(value.getType()));
    return d.select(isThere, value, none);
  };
  for (Value arg : scalars)
    e.provide(arg, gated(e.get(arg)));
  if (scalars.empty())
    for (Value &value : now)
      value = gated(value);
  Values next = runStep(points, now, /*isBlock=*/false);
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i) {
    ValueRange values = ValueRange(next).slice(begin[i], pointsOf(isInnerOut(i)));
    if (isInnerOut(i))
      storeGroups(i, values);
    else
      storeOut(i, values.front(), both(owners[i], isZero(lane)));
  }
  k.function.walk([&](Operation *op) {
    auto align = [](auto access) {
      VectorType type = access.getVectorType();
      access.setAlignment(
          std::min<int64_t>(16, type.getNumElements() * type.getElementTypeBitWidth() / 8));
    };
    if (auto load = dyn_cast<vector::LoadOp>(op))
      align(load);
    else if (auto store = dyn_cast<vector::StoreOp>(op))
      align(store);
  });
}

void ssm::addStepForm(KernelOp kernel, bool overlaps, SmallVectorImpl<KernelForm> &forms) {
  ImplicitLocOpBuilder none(kernel.getLoc(), kernel);
  DeviceKernel only{kernel, kernel, none, none, nullptr};
  if (!LaneRecurrence(only).analyzeStep()) {
    // The form of many steps, but of few points: it had better begin early.
    if (overlaps && LaneRecurrence(only).analyze())
      forms.push_back({"_step",
                       [kernel](ImplicitLocOpBuilder &h) {
                         DeviceKernel host{kernel, kernel, h, h, nullptr};
                         return LaneRecurrence(host).isSingle();
                       },
                       [](DeviceKernel &k) {
                         LaneRecurrence recurrence(k, /*overlaps=*/true);
                         (void)recurrence.analyze();
                         return recurrence.emit();
                       }});
    return;
  }
  forms.push_back({"_step",
                   [kernel](ImplicitLocOpBuilder &h) {
                     DeviceKernel host{kernel, kernel, h, h, nullptr};
                     LaneRecurrence recurrence(host);
                     (void)recurrence.analyzeStep();
                     return recurrence.isStep();
                   },
                   [overlaps](DeviceKernel &k) {
                     LaneRecurrence recurrence(k, overlaps);
                     (void)recurrence.analyzeStep();
                     return recurrence.emit();
                   }});
}
