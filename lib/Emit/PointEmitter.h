//===- PointEmitter.h - A kernel's region at a point of its loops -*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What all forms of kernels share: given indices for the loops, and one loop that
// lies across the lanes of a vector, computes values of the region on buffers.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_EMIT_POINTEMITTER_H
#define SSM_LIB_EMIT_POINTEMITTER_H

#include "dialects/SSM/KernelLoops.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <optional>

namespace ssm {

/// Whole rows of few columns, one behind the other across the lanes: the lane loop runs
/// over the columns, of which there are so few that a vector takes several rows.
struct PackedRows {
  unsigned rows;        // the loop of the rows; `at` has the first of a block
  mlir::Value columns;  // how many there are
  mlir::Value count;    // rows in a block
  mlir::Value column;   // of each lane (vector of i64)
  mlir::Value row;      // the same, from the block's first
  mlir::Value existing; // the mask of the first vector's first row
  int64_t offset;       // of the first lane in its block
  bool isRagged = false;
};

class PointEmitter {
public:
  /// Without a lane loop everything is scalar.
  PointEmitter(KernelOp kernel, mlir::ImplicitLocOpBuilder &b, std::optional<unsigned> laneLoop,
               int64_t lanes);

  KernelOp kernel;
  mlir::ImplicitLocOpBuilder &b;
  KernelLoops loops;
  std::optional<unsigned> laneLoop;
  int64_t lanes;

  /// The index of each loop; of the lane loop, that of the first lane, which must be
  /// a multiple of `lanes`. May be null for loops that nothing computed depends on.
  llvm::SmallVector<mlir::Value> at;
  /// For mirrored operands: length - 1 - time.
  mlir::Value mirroredTime;
  /// The lanes that exist (vector of i1), or null: all.
  mlir::Value mask;
  /// Where lanes lie along rows and columns both; `at` of the lane loop is then the offset.
  std::optional<PackedRows> packed;

  /// What is emitted while a scope lives is forgotten with it: for values computed
  /// inside a loop. Indices and mask are restored too.
  class Scope {
  public:
    explicit Scope(PointEmitter &emitter)
        : emitter(emitter), known(emitter.known), at(emitter.at),
          mirroredTime(emitter.mirroredTime), mask(emitter.mask) {}
    ~Scope() {
      emitter.known = std::move(known);
      emitter.at = std::move(at);
      emitter.mirroredTime = mirroredTime;
      emitter.mask = mask;
    }

  private:
    PointEmitter &emitter;
    llvm::DenseMap<mlir::Value, mlir::Value> known;
    llvm::SmallVector<mlir::Value> at;
    mlir::Value mirroredTime, mask;
  };

  bool isLaneDependent(mlir::Value value) const {
    return laneLoop && (contains(loops.of(value), *laneLoop) ||
                        (packed && contains(loops.of(value), packed->rows)));
  }
  mlir::VectorType vectorOf(mlir::Type element) const {
    return mlir::VectorType::get({lanes}, element);
  }

  /// States what a value of the region (a reduce, a carry) is at this point.
  void provide(mlir::Value value, mlir::Value emitted) { known[value] = emitted; }
  bool isProvided(mlir::Value value) const { return known.contains(value); }

  /// Forgets what depends on the loop, so that it can go on to another index.
  void forget(unsigned loop) {
    for (auto [value, emitted] : llvm::to_vector(known))
      if (contains(loops.of(value), loop))
        known.erase(value);
  }

  void forEachKnown(llvm::function_ref<void(mlir::Value, mlir::Value)> visit) const {
    for (auto [value, emitted] : known)
      visit(value, emitted);
  }

  /// The value at this point: a vector if it depends on the lane loop, else a
  /// scalar. Carries and reduces must have been provided. Products are contracted
  /// into sums where the target can.
  mlir::Value get(mlir::Value value);
  /// The same, spread over the lanes if it is a scalar.
  mlir::Value getVector(mlir::Value value);
  mlir::Value spread(mlir::Value scalar);

  /// Whether `get` needs nothing but loads and what is provided, and only loops of
  /// `available`.
  bool canEmit(mlir::Value value, LoopSet available);
  /// Emits now what depends on `available` loops alone and can be emitted, so that
  /// inner loops find it computed.
  void hoist(LoopSet available);

  /// The indices of the input's (the out's) element at this point, in the first lane.
  llvm::SmallVector<mlir::Value> indicesOf(unsigned input);
  llvm::SmallVector<mlir::Value> indicesOfOut(unsigned out);
  mlir::Value load(mlir::Value buffer, mlir::AffineMap map, bool mirrored);
  /// Asks for the cache line of an element that is read later, if lanes lie dense.
  void prefetch(mlir::Value buffer, mlir::AffineMap map, bool mirrored);
  void store(mlir::Value value, mlir::Value buffer, mlir::AffineMap map, bool mirrored);
  /// Has the memory `ahead` elements behind the input's element at this point brought
  /// to the second-level cache. It may lie outside of the buffer.
  void prefetch(unsigned input, mlir::Value ahead);
  void storeOut(unsigned out, mlir::Value value) {
    store(value, kernel.getOuts()[out], kernel.getOutMap(out), kernel.isOutMirrored(out));
  }

  //===--------------------------------------------------------------------===//
  // Loops and indices
  //===--------------------------------------------------------------------===//
  mlir::Value index(int64_t value);
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value add(mlir::Value a, int64_t offset) { return offset ? add(a, index(offset)) : a; }
  mlir::Value sub(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, mlir::Value b);
  mlir::Value min(mlir::Value a, mlir::Value b);
  mlir::Value ceilDiv(mlir::Value a, int64_t divisor);
  /// The size of a loop of the kernel.
  mlir::Value size(unsigned loop);
  /// Its size if it is fixed, else -1.
  int64_t fixedSize(unsigned loop);
  /// for i = low to high step `step`, the body with the builder inside. Loop-carried
  /// values go in and come out.
  llvm::SmallVector<mlir::Value>
  loop(mlir::Value low, mlir::Value high, int64_t step, mlir::ValueRange carried,
       llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body);
  void loop(mlir::Value low, mlir::Value high, int64_t step,
            llvm::function_ref<void(mlir::Value)> body);
  /// A mask of the first `count` lanes.
  mlir::Value firstLanes(mlir::Value count);

  /// Reduction of two values, and the neutral element.
  mlir::Value combine(mlir::arith::AtomicRMWKind kind, mlir::Value a, mlir::Value b);
  mlir::Value neutral(mlir::arith::AtomicRMWKind kind, mlir::Type type);
  /// Reduction of several values, a power of two of them, by halves.
  mlir::Value combineAll(mlir::arith::AtomicRMWKind kind, llvm::SmallVector<mlir::Value> values) {
    for (; values.size() > 1; values.resize(values.size() / 2))
      for (size_t i = 0; i < values.size() / 2; ++i)
        values[i] = combine(kind, values[i], values[i + values.size() / 2]);
    return values[0];
  }
  /// All lanes of a vector reduced to a scalar.
  mlir::Value reduceLanes(mlir::arith::AtomicRMWKind kind, mlir::Value vector);

private:
  /// Whether the map is that of something with one element a column, and lanes are packed.
  bool isOfColumns(mlir::AffineMap map) const {
    return packed && map.isFunctionOfDim(*laneLoop) && !map.isFunctionOfDim(packed->rows);
  }
  /// Where it has one element a row.
  bool isOfRows(mlir::AffineMap map) const {
    return packed && map.isFunctionOfDim(packed->rows) && !map.isFunctionOfDim(*laneLoop);
  }
  mlir::Value loadOfColumns(mlir::Value buffer, mlir::AffineMap map);
  mlir::Value loadOfRows(mlir::Value buffer, mlir::AffineMap map);
  mlir::Value evaluate(mlir::AffineExpr expr, bool mirrored);
  llvm::SmallVector<mlir::Value> evaluate(mlir::AffineMap map, bool mirrored);
  /// How the lane loop runs through a buffer: indices of the first lane, and the
  /// distance of lanes in elements (1: dense; null: all lanes the same element).
  struct Access {
    llvm::SmallVector<mlir::Value> indices;
    bool isUniform = true, isDense = false;
    mlir::Value stride;
  };
  Access access(mlir::Value buffer, mlir::AffineMap map, bool mirrored);
  Access access(mlir::Value buffer, llvm::ArrayRef<mlir::Value> indices,
                llvm::ArrayRef<int64_t> steps);
  mlir::Value load(mlir::Value buffer, Access where);
  mlir::Value loadEvery(mlir::Value buffer, llvm::ArrayRef<mlir::Value> indices, int64_t stride);
  mlir::Value gather(mlir::Value buffer, const Access &where, mlir::Value offsets);
  /// The elements of those numbers (vector of i64) along what `where` runs through.
  mlir::Value loadNumbered(mlir::Value buffer, Access where, mlir::Value numbers);
  mlir::Value readByIndex(mlir::Value buffer, mlir::ValueRange indices);
  /// The value in the first lane, of one with a lane step.
  mlir::Value firstLane(mlir::Value value);
  mlir::Value flatten(mlir::Value buffer, Access &where);
  mlir::Value laneOffsets(mlir::Value stride);
  mlir::Value fullMask();

  llvm::DenseMap<mlir::Value, mlir::Value> known;
};

} // namespace ssm

#endif // SSM_LIB_EMIT_POINTEMITTER_H
