//===- TurnedSequences.cpp - Sequences that are dense along time ----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/TurnedSequences.h"

#include "lib/Analysis/KernelShape.h"
#include "lib/Emit/TransposeSquare.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

TurnedSequences::TurnedSequences(PointEmitter &e, int64_t block)
    : e(e), kernel(e.kernel), b(e.b), time(*kernel.getTime()), lane(*e.laneLoop), lanes(e.lanes),
      block(block) {
  unsigned numInputs = kernel.getInputs().size(), numCarries = kernel.getNumCarries();
  for (unsigned operand = 0; operand < kernel.getMaps().size(); ++operand) {
    AffineMap map = kernel.getMap(operand);
    if (!isTurnedInSquares(kernel, operand))
      isAll &= !map.isFunctionOfDim(time) || !map.isFunctionOfDim(lane);
    else if (operand < numInputs)
      inputs[operand];
    else
      outs[operand - numInputs - numCarries];
  }
}

void TurnedSequences::makeBuffers() {
  auto make = [&](Value sequence) -> Value {
    Type element = cast<MemRefType>(sequence.getType()).getElementType();
    return memref::AllocaOp::create(b, MemRefType::get({block, lanes}, element),
                                    b.getI64IntegerAttr(64));
  };
  for (auto &[input, buffer] : inputs)
    buffer = make(kernel.getInputs()[input]);
  for (auto &[out, buffer] : outs)
    buffer = make(kernel.getOuts()[out]);
}

void TurnedSequences::split(Value count, llvm::function_ref<void()> squares,
                            llvm::function_ref<void(Value)> step) {
  Value isWhole =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, count, e.index(block));
  auto branch = scf::IfOp::create(b, isWhole, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  squares();
  b.setInsertionPointToStart(branch.elseBlock());
  e.loop(e.index(0), count, 1, [&](Value number) {
    PointEmitter::Scope scope(e);
    step(number);
  });
}

void TurnedSequences::overSquares(Value first, Value steps, bool mirrored,
                                  llvm::function_ref<void(int64_t)> body) {
  for (int64_t square = 0; square < block; square += lanes) {
    PointEmitter::Scope scope(e);
    Value begin = e.add(first, square);
    e.at[time] = e.mirroredTime = mirrored ? e.sub(steps, e.add(begin, lanes)) : begin;
    body(square);
  }
}

Value TurnedSequences::loadRow(Value buffer, int64_t row) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  return vector::LoadOp::create(b, e.vectorOf(element), buffer,
                                ValueRange{e.index(row), e.index(0)});
}

void TurnedSequences::storeRow(Value value, Value buffer, Value row) {
  vector::StoreOp::create(b, e.spread(value), buffer, ValueRange{row, e.index(0)});
}

void TurnedSequences::read(Value first, Value count, Value steps, At at) {
  if (inputs.empty())
    return;
  auto squares = [&] {
    for (const auto &sequence : inputs) {
      unsigned input = sequence.first;
      bool mirrored = kernel.isInputMirrored(input);
      overSquares(first, steps, mirrored, [&](int64_t square) {
        Value memory = kernel.getInputs()[input];
        Type element = cast<MemRefType>(memory.getType()).getElementType();
        Value begin = e.at[lane], last = e.sub(e.size(lane), e.index(1));
        SmallVector<Value> rows;
        for (int64_t row = 0; row < lanes; ++row) {
          // For channels that do not exist, the last one.
          e.at[lane] = e.mask ? e.min(e.add(begin, row), last) : e.add(begin, row);
          rows.push_back(
              vector::LoadOp::create(b, e.vectorOf(element), memory, e.indicesOf(input)));
        }
        for (auto [i, row] : llvm::enumerate(transposeSquare(b, std::move(rows))))
          storeRow(row, inputs[input], e.index(square + (mirrored ? lanes - 1 - i : i)));
      });
    }
  };
  split(count, squares, [&](Value step) {
    at(first, step);
    for (auto [input, buffer] : inputs)
      storeRow(e.load(kernel.getInputs()[input], kernel.getInputMap(input),
                      kernel.isInputMirrored(input)),
               buffer, step);
  });
}

void TurnedSequences::write(ArrayRef<unsigned> which, Value first, Value count, Value steps,
                            At at) {
  SmallVector<unsigned> written;
  for (auto [out, buffer] : outs)
    if (llvm::is_contained(which, out))
      written.push_back(out);
  if (written.empty())
    return;
  auto squares = [&] {
    for (unsigned out : written) {
      bool mirrored = kernel.isOutMirrored(out);
      overSquares(first, steps, mirrored, [&](int64_t square) {
        SmallVector<Value> rows;
        for (int64_t i = 0; i < lanes; ++i)
          rows.push_back(loadRow(outs[out], square + (mirrored ? lanes - 1 - i : i)));
        Value begin = e.at[lane];
        for (auto [i, row] : llvm::enumerate(transposeSquare(b, std::move(rows)))) {
          e.at[lane] = e.add(begin, i);
          OpBuilder::InsertionGuard guard(b);
          if (e.mask && i > 0) {
            Value exists = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, e.at[lane],
                                                 e.size(lane));
            b.setInsertionPointToStart(scf::IfOp::create(b, exists).thenBlock());
          }
          vector::StoreOp::create(b, row, kernel.getOuts()[out], e.indicesOfOut(out));
        }
      });
    }
  };
  split(count, squares, [&](Value step) {
    at(first, step);
    for (unsigned out : written)
      e.storeOut(out, vector::LoadOp::create(
                          b, e.vectorOf(kernel.getYield().getValues()[out].getType()), outs[out],
                          ValueRange{step, e.index(0)}));
  });
}

void TurnedSequences::provide(Value step) {
  for (auto [input, buffer] : inputs) {
    Value argument = kernel.getInputArg(input);
    e.provide(argument, vector::LoadOp::create(b, e.vectorOf(argument.getType()), buffer,
                                               ValueRange{step, e.index(0)}));
  }
}

void TurnedSequences::keep(unsigned out, Value value, Value step) {
  storeRow(value, outs[out], step);
}

void TurnedSequences::prefetchNext(Value first, Value step, Value steps) {
  PointEmitter::Scope scope(e);
  e.at[lane] = e.min(e.add(e.at[lane], step), e.sub(e.size(lane), e.index(1)));
  for (const auto &sequence : inputs) {
    unsigned input = sequence.first;
    Value next = e.add(first, block);
    e.at[time] = next;
    e.mirroredTime = e.sub(steps, e.add(next, block));
    e.prefetch(input, e.index(0));
  }
}
