//===- MatmulPairs.cpp - Products of bf16, two at a time ------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/MatmulPairs.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

MatmulPairs::MatmulPairs(PointEmitter &e, const Matmul &what)
    : e(e), b(e.b), k(what.k.back()), leftArg(getFactorArg(what.left)), rightArg(getFactorArg(what.right)) {
  unsigned left = leftArg.getArgNumber();
  isLeftDense = isDenseAlong(e.kernel.getInputMap(left), k) &&
                cast<MemRefType>(e.kernel.getInputs()[left].getType()).isLastDimUnitStride();
  isRightPacked = isPackedInPairs(e.kernel, what, rightArg.getArgNumber(), e.lanes);
}

std::pair<Value, Value> MatmulPairs::elements(Value of, Value pair, bool single) {
  Value first = e.mul(pair, e.index(2));
  auto at = [&](Value depth) {
    PointEmitter::Scope scope(e);
    e.at[k] = depth;
    return e.get(of);
  };
  Value low = at(first);
  Value high = single ? arith::ConstantOp::create(b, b.getZeroAttr(low.getType())).getResult()
                      : at(e.add(first, 1));
  return {low, high};
}

Value MatmulPairs::left(Value pair, bool single) {
  auto type = VectorType::get({2}, b.getBF16Type());
  Value both;
  if (isLeftDense && !single) {
    PointEmitter::Scope scope(e);
    e.at[k] = e.mul(pair, e.index(2));
    unsigned input = leftArg.getArgNumber();
    both = vector::LoadOp::create(b, type, e.kernel.getInputs()[input], e.indicesOf(input));
  } else {
    auto [low, high] = elements(leftArg, pair, single);
    both = vector::FromElementsOp::create(b, type, ValueRange{low, high});
  }
  // As one number of 32 bits, which the instruction spreads on its way from memory.
  both = vector::BitCastOp::create(b, VectorType::get({1}, b.getI32Type()), both);
  both = e.spread(vector::ExtractOp::create(b, both, 0));
  return vector::BitCastOp::create(b, VectorType::get({2 * e.lanes}, b.getBF16Type()), both);
}

Value MatmulPairs::right(Value pair, bool single) {
  auto type = VectorType::get({2 * e.lanes}, b.getBF16Type());
  if (isRightPacked) {
    PointEmitter::Scope scope(e);
    e.at[k] = e.index(0);
    unsigned input = rightArg.getArgNumber();
    SmallVector<Value> indices = e.indicesOf(input);
    *std::prev(indices.end(), 2) = pair;
    return vector::LoadOp::create(b, type, e.kernel.getInputs()[input], indices);
  }
  // Woven as integers: LLVM takes vectors of bf16 to pieces.
  auto [low, high] = elements(rightArg, pair, single);
  auto asIntegers = [&](Value half) {
    return vector::BitCastOp::create(b, e.vectorOf(b.getI16Type()), half).getResult();
  };
  Value woven = vector::InterleaveOp::create(b, asIntegers(low), asIntegers(high));
  return vector::BitCastOp::create(b, type, woven);
}

Value MatmulPairs::rightElement() {
  unsigned input = rightArg.getArgNumber();
  Value element = memref::LoadOp::create(b, e.kernel.getInputs()[input], e.indicesOf(input));
  return arith::ExtFOp::create(b, b.getF32Type(), element);
}

Value MatmulPairs::add(Value left, Value right, Value sum) {
  return LLVM::CallIntrinsicOp::create(b, sum.getType(),
                                       b.getStringAttr("llvm.x86.avx512bf16.dpbf16ps.512"),
                                       {sum, left, right})
      .getResult(0);
}
