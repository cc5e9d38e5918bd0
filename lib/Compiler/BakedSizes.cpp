//===- BakedSizes.cpp - Sizes a model was exported with -------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Compiler/BakedSizes.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace ssm;

static bool isState(func::FuncOp function, unsigned input) {
  auto states = function->getAttrOfType<ArrayAttr>("onnx.states");
  return states && llvm::any_of(states.getAsRange<DictionaryAttr>(), [&](auto state) {
           return state.template getAs<IntegerAttr>("input").getInt() == input;
         });
}

/// A name to suggest. Axis 1 of four is mostly heads or channels, not the length.
static std::string nameOf(int64_t axis, int64_t rank) {
  if (axis == 0)
    return "batch";
  return axis == 1 && rank <= 3 ? "length" : "size" + std::to_string(axis);
}

std::vector<std::string> ssm::describeBakedSizes(func::FuncOp function) {
  std::vector<std::string> lines;
  for (auto [i, argument] : llvm::enumerate(function.getArguments())) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    auto name = function.getArgAttrOfType<StringAttr>(i, "onnx.name");
    if (!type || !name)
      continue;
    int64_t end = type.getRank();
    if (isState(function, i))
      end = std::min<int64_t>(end, 1);
    else if (isa<FloatType>(type.getElementType()))
      --end;
    for (int64_t axis = 0; axis < end; ++axis)
      if (!type.isDynamicDim(axis))
        lines.push_back(llvm::formatv(
            "input '{0}' has the fixed size {1} along axis {2}; to leave it open, "
            "export with dynamic_shapes={{\"{0}\": {{{2}: \"{3}\"}}",
            name.getValue(), type.getDimSize(axis), axis, nameOf(axis, type.getRank())));
  }
  return lines;
}
