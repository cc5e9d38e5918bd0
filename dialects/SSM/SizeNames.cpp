//===- SizeNames.cpp - Sizes of inputs that have one name -----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/SizeNames.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace ssm;

StringAttr ssm::getSizeName(Value input, int64_t axis) {
  FunctionOpInterface function;
  StringAttr entry;
  unsigned number = 0;
  if (auto arg = dyn_cast<BlockArgument>(input)) {
    function = dyn_cast<FunctionOpInterface>(arg.getOwner()->getParentOp());
    if (!function || !arg.getOwner()->isEntryBlock())
      return {};
    entry = SymbolTable::getSymbolName(function);
    number = arg.getArgNumber();
  } else if (auto arg = input.getDefiningOp<ArgOp>()) {
    function = arg->getParentOfType<FunctionOpInterface>();
    entry = function->getAttrOfType<StringAttr>("ssm.entry");
    number = arg.getIndex();
  }
  auto module = function ? function->getParentOfType<ModuleOp>() : ModuleOp();
  auto entries = module ? module->getAttrOfType<ArrayAttr>("ssm.entries") : ArrayAttr();
  if (!entries)
    return {};
  for (auto described : entries.getAsRange<DictionaryAttr>())
    if (described.get("name") == entry) {
      auto inputs = described.getAs<ArrayAttr>("inputs");
      return dyn_cast<StringAttr>(
          cast<DictionaryAttr>(inputs[number]).getAs<ArrayAttr>("dims")[axis]);
    }
  return {};
}
