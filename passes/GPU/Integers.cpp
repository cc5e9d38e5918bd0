//===- Integers.cpp - What integer operations compute --------------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/Integers.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace ssm;

std::optional<uint64_t> ssm::computeInteger(Operation *op, uint64_t x, uint64_t y) {
  using Result = std::optional<uint64_t>;
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case([&](arith::AddIOp) -> Result { return x + y; })
      .Case([&](arith::SubIOp) -> Result { return x - y; })
      .Case([&](arith::MulIOp) -> Result { return x * y; })
      .Case([&](arith::DivUIOp) -> Result { return y ? x / y : 0; })
      .Case([&](arith::RemUIOp) -> Result { return y ? x % y : 0; })
      .Case([&](arith::AndIOp) -> Result { return x & y; })
      .Case([&](arith::OrIOp) -> Result { return x | y; })
      .Case([&](arith::XOrIOp) -> Result { return x ^ y; })
      .Case([&](arith::ShLIOp) -> Result { return y < 64 ? x << y : 0; })
      .Case([&](arith::ShRUIOp) -> Result { return y < 64 ? x >> y : 0; })
      .Case([&](arith::MinUIOp) -> Result { return std::min(x, y); })
      .Case([&](arith::MaxUIOp) -> Result { return std::max(x, y); })
      .Case([&](arith::CmpIOp compare) -> Result {
        unsigned width = widthOf(compare.getLhs().getType());
        return arith::applyCmpPredicate(compare.getPredicate(), APInt(width, x, false, true),
                                        APInt(width, y, false, true));
      })
      .Default([](Operation *) -> Result { return std::nullopt; });
}

bool ssm::isIntegerOp(Operation *op) {
  return op->getNumOperands() == 2 && computeInteger(op, 1, 1).has_value();
}
