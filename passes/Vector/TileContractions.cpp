//===- TileContractions.cpp - Products of matrices in registers ----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace ssm {
#define GEN_PASS_DEF_TILECONTRACTIONS
#include "passes/Vector/Passes.h.inc"
} // namespace ssm

using namespace mlir;

namespace {

/// Sums taken before a result goes back to memory: a strip of the right side of
/// that depth and two vectors width stays in the first-level cache.
constexpr int64_t kDepth = 256;
/// Rows of a full tile; with two vectors of columns, 24 accumulators.
constexpr int64_t kRows = 12;
constexpr int64_t kFewRows = 4;

/// c[.., m, n] += a[.., m, k] * b[.., k, n] with n dense in b and c.
struct Contraction {
  linalg::GenericOp op;
  Value a, b, c;
  AffineMap aMap, bMap, cMap;
  unsigned m, n, k;
};

bool isDenseInLast(Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  return succeeded(type.getStridesAndOffset(strides, offset)) && !strides.empty() &&
         strides.back() == 1;
}

std::optional<unsigned> lastDim(AffineMap map) {
  if (map.getNumResults() == 0)
    return std::nullopt;
  return cast<AffineDimExpr>(map.getResults().back()).getPosition();
}

bool isMultiplyAdd(linalg::GenericOp op) {
  Block &body = *op.getBody();
  auto yield = body.getTerminator();
  auto add = yield->getOperand(0).getDefiningOp<arith::AddFOp>();
  if (!add || body.getOperations().size() != 3)
    return false;
  Value acc = body.getArgument(2);
  Value term = add.getLhs() == acc ? add.getRhs() : add.getLhs();
  auto mul = term.getDefiningOp<arith::MulFOp>();
  return mul && (add.getLhs() == acc || add.getRhs() == acc) &&
         ((mul.getLhs() == body.getArgument(0) && mul.getRhs() == body.getArgument(1)) ||
          (mul.getLhs() == body.getArgument(1) && mul.getRhs() == body.getArgument(0)));
}

std::optional<Contraction> match(linalg::GenericOp op) {
  if (!op.hasPureBufferSemantics() || op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1 ||
      op.getNumReductionLoops() != 1)
    return std::nullopt;
  for (Value operand : op->getOperands()) {
    auto type = dyn_cast<MemRefType>(operand.getType());
    if (!type || !type.getElementType().isF32())
      return std::nullopt;
  }
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  if (!llvm::all_of(maps, [](AffineMap map) { return map.isProjectedPermutation(); }) ||
      !isMultiplyAdd(op))
    return std::nullopt;
  std::optional<unsigned> n = lastDim(maps[2]);
  if (!n)
    return std::nullopt;
  unsigned right = lastDim(maps[1]) == n ? 1 : 0;
  Contraction found{op,
                    op.getDpsInputOperand(1 - right)->get(),
                    op.getDpsInputOperand(right)->get(),
                    op.getDpsInitOperand(0)->get(),
                    maps[1 - right],
                    maps[right],
                    maps[2],
                    0,
                    *n,
                    0};
  if (lastDim(found.bMap) != n || found.aMap.isFunctionOfDim(*n) || !isDenseInLast(found.b) ||
      !isDenseInLast(found.c))
    return std::nullopt;
  // The innermost loop of the result that the right side does not have.
  std::optional<unsigned> m;
  for (AffineExpr expr : found.cMap.getResults().drop_back()) {
    unsigned dim = cast<AffineDimExpr>(expr).getPosition();
    if (found.aMap.isFunctionOfDim(dim) && !found.bMap.isFunctionOfDim(dim))
      m = dim;
  }
  if (!m)
    return std::nullopt;
  found.m = *m;
  for (auto [loop, type] : llvm::enumerate(op.getIteratorTypesArray()))
    if (type == utils::IteratorType::reduction)
      found.k = loop;
  if (!found.aMap.isFunctionOfDim(found.k) || !found.bMap.isFunctionOfDim(found.k))
    return std::nullopt;
  return found;
}

class Tiler {
public:
  Tiler(Contraction &what, OpBuilder &builder, int64_t lanes)
      : what(what), b(what.op.getLoc(), builder), lanes(lanes),
        vector(VectorType::get({lanes}, builder.getF32Type())), at(what.op.getNumLoops()) {}

  /// Replaces the operation. Few rows stay as they are: there the plain loops
  /// read the right side in memory order, which is all that counts.
  void run() {
    Value rows = sizeOf(what.m), few = index(kFewRows);
    // Space for a strip of the right side, one after the other in memory.
    auto packType = MemRefType::get({kDepth, 2 * lanes}, b.getF32Type());
    pack = memref::AllocOp::create(b, packType);
    Value many = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::sge, rows, few);
    auto choice = scf::IfOp::create(b, many, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.elseBlock());
    b.clone(*what.op);
    b.setInsertionPointToStart(choice.thenBlock());
    SmallVector<unsigned> outer;
    for (unsigned loop = 0; loop < what.op.getNumLoops(); ++loop)
      if (loop != what.m && loop != what.n && loop != what.k)
        outer.push_back(loop);
    overOuter(outer);
    what.op.erase();
  }

private:
  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }

  Value sizeOf(unsigned loop) {
    for (auto [map, operand] : {std::make_pair(what.aMap, what.a), {what.bMap, what.b},
                                {what.cMap, what.c}})
      for (auto [axis, expr] : llvm::enumerate(map.getResults()))
        if (cast<AffineDimExpr>(expr).getPosition() == loop)
          return b.createOrFold<memref::DimOp>(operand, axis);
    llvm_unreachable("every loop indexes an operand");
  }

  SmallVector<Value> indices(AffineMap map) {
    return llvm::map_to_vector(map.getResults(), [&](AffineExpr expr) {
      return at[cast<AffineDimExpr>(expr).getPosition()];
    });
  }

  /// for i = low to high step `step`; the body runs with the builder inside.
  void loop(Value low, Value high, int64_t step, llvm::function_ref<void(Value)> body) {
    auto made = scf::ForOp::create(b, low, high, index(step));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(made.getBody());
    body(made.getInductionVar());
  }

  /// The largest multiple of `step` above `low` that does not pass `high`.
  Value wholeSteps(Value low, Value high, int64_t step) {
    Value length = b.createOrFold<arith::SubIOp>(high, low);
    Value rest = b.createOrFold<arith::RemUIOp>(length, index(step));
    return b.createOrFold<arith::SubIOp>(high, rest);
  }

  void overOuter(ArrayRef<unsigned> outer) {
    if (!outer.empty()) {
      loop(index(0), sizeOf(outer.front()), 1, [&](Value i) {
        at[outer.front()] = i;
        overOuter(outer.drop_front());
      });
      return;
    }
    Value zero = index(0), depth = sizeOf(what.k), width = sizeOf(what.n);
    loop(zero, depth, kDepth, [&](Value k0) {
      Value rest = b.createOrFold<arith::SubIOp>(depth, k0);
      Value count = b.createOrFold<arith::MinUIOp>(rest, index(kDepth));
      Value whole = wholeSteps(zero, width, 2 * lanes);
      loop(zero, whole, 2 * lanes, [&](Value n0) {
        packStrip(k0, count, n0);
        overRows(k0, count, n0, /*mask=*/{});
      });
      loop(whole, width, lanes, [&](Value n0) {
        Value left = b.createOrFold<arith::SubIOp>(width, n0);
        Value mask = vector::CreateMaskOp::create(
            b, VectorType::get({lanes}, b.getI1Type()), left);
        overRows(k0, count, n0, mask);
      });
    });
  }

  void packStrip(Value k0, Value count, Value n0) {
    loop(index(0), count, 1, [&](Value k) {
      at[what.k] = b.createOrFold<arith::AddIOp>(k0, k);
      for (int64_t v = 0; v < 2; ++v) {
        at[what.n] = b.createOrFold<arith::AddIOp>(n0, index(v * lanes));
        Value loaded = vector::LoadOp::create(b, vector, what.b, indices(what.bMap));
        vector::StoreOp::create(b, loaded, pack, ValueRange{k, index(v * lanes)});
      }
    });
  }

  void overRows(Value k0, Value count, Value n0, Value mask) {
    Value zero = index(0), rows = sizeOf(what.m);
    Value full = wholeSteps(zero, rows, kRows);
    Value some = wholeSteps(full, rows, kFewRows);
    loop(zero, full, kRows, [&](Value m0) { tile(k0, count, n0, m0, kRows, mask); });
    loop(full, some, kFewRows, [&](Value m0) { tile(k0, count, n0, m0, kFewRows, mask); });
    loop(some, rows, 1, [&](Value m0) { tile(k0, count, n0, m0, 1, mask); });
  }

  /// The tile of `rows` rows from m0 and two vectors (one, if masked) from n0.
  void tile(Value k0, Value count, Value n0, Value m0, int64_t rows, Value mask) {
    int64_t vectors = mask ? 1 : 2;
    SmallVector<Value> acc;
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(vector));
    auto place = [&](int64_t row, int64_t v) {
      at[what.m] = b.createOrFold<arith::AddIOp>(m0, index(row));
      at[what.n] = b.createOrFold<arith::AddIOp>(n0, index(v * lanes));
      return indices(what.cMap);
    };
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t v = 0; v < vectors; ++v)
        acc.push_back(mask ? Value(vector::MaskedLoadOp::create(b, vector, what.c, place(row, v),
                                                                mask, zero))
                           : Value(vector::LoadOp::create(b, vector, what.c, place(row, v))));
    auto sums = scf::ForOp::create(b, index(0), count, index(1), acc);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(sums.getBody());
      Value k = sums.getInductionVar();
      at[what.k] = b.createOrFold<arith::AddIOp>(k0, k);
      SmallVector<Value> right;
      for (int64_t v = 0; v < vectors; ++v) {
        at[what.n] = n0;
        right.push_back(
            mask ? Value(vector::MaskedLoadOp::create(b, vector, what.b, indices(what.bMap), mask,
                                                      zero))
                 : Value(vector::LoadOp::create(b, vector, pack,
                                                ValueRange{k, index(v * lanes)})));
      }
      SmallVector<Value> next;
      for (int64_t row = 0; row < rows; ++row) {
        at[what.m] = b.createOrFold<arith::AddIOp>(m0, index(row));
        Value left = memref::LoadOp::create(b, what.a, indices(what.aMap));
        Value spread = vector::BroadcastOp::create(b, vector, left);
        // Contracted where the target can: without, an fma would be a call of libm.
        auto contract =
            arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::contract);
        for (int64_t v = 0; v < vectors; ++v) {
          Value product = arith::MulFOp::create(b, spread, right[v], contract);
          next.push_back(arith::AddFOp::create(
              b, sums.getRegionIterArg(row * vectors + v), product, contract));
        }
      }
      scf::YieldOp::create(b, next);
    }
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t v = 0; v < vectors; ++v) {
        Value sum = sums.getResult(row * vectors + v);
        SmallVector<Value> where = place(row, v);
        if (mask)
          vector::MaskedStoreOp::create(b, what.c, where, mask, sum);
        else
          vector::StoreOp::create(b, sum, what.c, where);
      }
  }

  Contraction &what;
  ImplicitLocOpBuilder b;
  int64_t lanes;
  VectorType vector;
  SmallVector<Value> at; // the index of each loop
  Value pack;
};

struct TileContractions : ssm::impl::TileContractionsBase<TileContractions> {
  using TileContractionsBase::TileContractionsBase;

  void runOnOperation() override {
    SmallVector<linalg::GenericOp> generics;
    getOperation().walk([&](linalg::GenericOp op) { generics.push_back(op); });
    for (linalg::GenericOp op : generics)
      if (std::optional<Contraction> contraction = match(op)) {
        OpBuilder builder(op);
        Tiler(*contraction, builder, vectorBits / 32).run();
      }
  }
};
} // namespace
