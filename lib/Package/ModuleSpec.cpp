//===- ModuleSpec.cpp - What a compiled module says of itself -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/ModuleSpec.h"

#include "include/ssmrt/module_abi.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace ssm;
using llvm::createStringError;
using llvm::Error;
using llvm::Expected;
using llvm::Twine;

std::optional<int32_t> ssm::getONNXType(Type type) {
  if (type.isF32())
    return SSM_TYPE_F32;
  if (type.isF64())
    return SSM_TYPE_F64;
  if (type.isF16())
    return SSM_TYPE_F16;
  if (type.isBF16())
    return SSM_TYPE_BF16;
  if (isa<Float8E4M3FNType>(type))
    return SSM_TYPE_F8E4M3FN;
  if (isa<Float8E5M2Type>(type))
    return SSM_TYPE_F8E5M2;
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer)
    return std::nullopt;
  bool isUnsigned = integer.isUnsigned();
  switch (integer.getWidth()) {
  case 1:
    return SSM_TYPE_BOOL;
  case 8:
    return isUnsigned ? SSM_TYPE_U8 : SSM_TYPE_I8;
  case 16:
    return isUnsigned ? SSM_TYPE_U16 : SSM_TYPE_I16;
  case 32:
    return isUnsigned ? SSM_TYPE_U32 : SSM_TYPE_I32;
  case 64:
    return isUnsigned ? SSM_TYPE_U64 : SSM_TYPE_I64;
  }
  return std::nullopt;
}

Type ssm::getElementType(int32_t type, MLIRContext *context) {
  Builder builder(context);
  switch (type) {
  case SSM_TYPE_F32:
    return builder.getF32Type();
  case SSM_TYPE_F64:
    return builder.getF64Type();
  case SSM_TYPE_F16:
    return builder.getF16Type();
  case SSM_TYPE_BF16:
    return builder.getBF16Type();
  case SSM_TYPE_F8E4M3FN:
    return builder.getType<Float8E4M3FNType>();
  case SSM_TYPE_F8E5M2:
    return builder.getType<Float8E5M2Type>();
  case SSM_TYPE_BOOL:
    return builder.getI1Type();
  case SSM_TYPE_I8:
    return builder.getIntegerType(8);
  case SSM_TYPE_I16:
    return builder.getIntegerType(16);
  case SSM_TYPE_I32:
    return builder.getIntegerType(32);
  case SSM_TYPE_I64:
    return builder.getIntegerType(64);
  case SSM_TYPE_U8:
    return builder.getIntegerType(8, /*isSigned=*/false);
  case SSM_TYPE_U16:
    return builder.getIntegerType(16, /*isSigned=*/false);
  case SSM_TYPE_U32:
    return builder.getIntegerType(32, /*isSigned=*/false);
  case SSM_TYPE_U64:
    return builder.getIntegerType(64, /*isSigned=*/false);
  }
  return {};
}

//===----------------------------------------------------------------------===//
// Entries
//===----------------------------------------------------------------------===//

static Error malformed(const Twine &what) {
  return createStringError("the compiled module is malformed: " + what);
}

/// A name of a module ends at its first NUL: one with a NUL inside would become
/// another name.
static Error checkName(StringRef name) {
  if (name.contains('\0'))
    return createStringError("the name '" + name +
                             "' contains a NUL, which a module cannot express");
  return Error::success();
}

static Expected<ValueSpec> readValue(Attribute attr) {
  auto dict = dyn_cast<DictionaryAttr>(attr);
  if (!dict)
    return malformed("a value is not a dictionary");
  auto name = dict.getAs<StringAttr>("name");
  auto type = dict.getAs<IntegerAttr>("type");
  auto dims = dict.getAs<ArrayAttr>("dims");
  if (!name || !type || !dims)
    return malformed("a value lacks its name, type or dims");
  if (Error error = checkName(name))
    return error;
  ValueSpec value;
  value.name = name.str();
  value.type = type.getInt();
  if (!getElementType(value.type, attr.getContext()))
    return malformed("'" + name.getValue() + "' has type " + Twine(value.type));
  if (dims.size() > SSM_ABI_MAX_RANK)
    return createStringError("'" + name.getValue() + "' has rank " + Twine(dims.size()) +
                             ", expected at most " + Twine(SSM_ABI_MAX_RANK));
  for (Attribute dim : dims) {
    DimSpec spec;
    if (auto size = dyn_cast<IntegerAttr>(dim))
      spec.size = size.getInt();
    else if (auto symbol = dyn_cast<StringAttr>(dim))
      spec.symbol = symbol.str();
    else if (!isa<UnitAttr>(dim))
      return malformed("'" + name.getValue() + "' has a dim of no known kind");
    if (spec.size < -1)
      return malformed("'" + name.getValue() + "' has a negative size");
    if (Error error = checkName(spec.symbol))
      return error;
    value.dims.push_back(std::move(spec));
  }
  return value;
}

static Error readValues(DictionaryAttr dict, StringRef key, std::vector<ValueSpec> &values) {
  auto list = dict.getAs<ArrayAttr>(key);
  if (!list)
    return malformed("an entry lacks " + key);
  for (Attribute attr : list) {
    Expected<ValueSpec> value = readValue(attr);
    if (!value)
      return value.takeError();
    values.push_back(std::move(*value));
  }
  return Error::success();
}

static Error readStates(DictionaryAttr dict, EntrySpec &entry) {
  auto list = dict.getAs<ArrayAttr>("states");
  if (!list)
    return Error::success();
  for (Attribute attr : list) {
    auto state = dyn_cast<DictionaryAttr>(attr);
    if (!state)
      return malformed("a state is not a dictionary");
    StateSpec spec;
    std::pair<StringRef, int32_t *> fields[] = {{"input", &spec.input},
                                                {"output", &spec.output},
                                                {"kind", &spec.kind},
                                                {"axis", &spec.axis}};
    for (auto [key, field] : fields) {
      auto value = state.getAs<IntegerAttr>(key);
      if (!value)
        return malformed("a state lacks " + key);
      *field = value.getInt();
    }
    spec.inPlace = state.contains("in_place") && spec.kind == SSM_STATE_FIXED;
    if (spec.input < 0 || spec.input >= int64_t(entry.inputs.size()) || spec.output < 0 ||
        spec.output >= int64_t(entry.outputs.size()) ||
        (spec.kind != SSM_STATE_FIXED && spec.kind != SSM_STATE_APPEND) || spec.axis < 0)
      return malformed("a state names no value of its entry");
    entry.states.push_back(spec);
  }
  return Error::success();
}

static Error readChecksAndKernels(ModuleOp module, EntrySpec &entry) {
  std::string checksName = (kChecksAttrPrefix + entry.name).str();
  if (auto checks = module->getAttrOfType<ArrayAttr>(checksName)) {
    for (Attribute attr : checks) {
      auto check = dyn_cast<DictionaryAttr>(attr);
      auto node = check ? check.getAs<StringAttr>("node") : StringAttr();
      auto text = check ? check.getAs<StringAttr>("text") : StringAttr();
      if (!node || !text)
        return malformed("a check of '" + Twine(entry.name) + "' lacks its node or text");
      // A NUL in the middle of a message only shortens it.
      entry.checks.push_back({node.str(), text.str()});
    }
  }
  std::string kernelsName = (kKernelsAttrPrefix + entry.name).str();
  if (auto kernels = module->getAttrOfType<ArrayAttr>(kernelsName)) {
    for (Attribute attr : kernels) {
      auto name = dyn_cast<StringAttr>(attr);
      if (!name)
        return malformed("a kernel's name is not a string");
      entry.kernels.push_back(name.str());
    }
  }
  return Error::success();
}

static Expected<EntrySpec> readEntry(ModuleOp module, Attribute attr) {
  auto dict = dyn_cast<DictionaryAttr>(attr);
  auto name = dict ? dict.getAs<StringAttr>("name") : StringAttr();
  if (!name)
    return malformed("an entry lacks its name");
  EntrySpec entry;
  entry.name = name.str();
  if (Error error = checkName(entry.name))
    return error;
  if (Error error = readValues(dict, "inputs", entry.inputs))
    return error;
  if (Error error = readValues(dict, "outputs", entry.outputs))
    return error;
  if (Error error = readStates(dict, entry))
    return error;
  if (Error error = readChecksAndKernels(module, entry))
    return error;
  std::pair<StringRef, unsigned> functions[] = {{".run", 5}, {".plan", 5}};
  for (auto [suffix, arguments] : functions) {
    auto function = module.lookupSymbol<LLVM::LLVMFuncOp>((entry.name + suffix).str());
    if (!function || function.isExternal() || function.getNumArguments() != arguments ||
        function.getFunctionType().getReturnType() != IntegerType::get(module.getContext(), 32))
      return malformed("entry '" + Twine(entry.name) + "' lacks its function @" + entry.name +
                       suffix);
  }
  return entry;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

static Error readWeights(ModuleOp module, std::vector<WeightSpec> &weights) {
  for (WeightOp op : module.getOps<WeightOp>()) {
    auto offset = op->getAttrOfType<IntegerAttr>(kOffsetAttr);
    if (!offset)
      continue;
    auto tensor = cast<RankedTensorType>(op.getType());
    Type element = tensor.getElementType();
    if (auto original = op->getAttrOfType<TypeAttr>(kElementTypeAttr))
      element = original.getValue();
    std::optional<int32_t> type = getONNXType(element);
    WeightSpec weight;
    weight.op = op;
    weight.name = op.getSymName().str();
    if (!type)
      return malformed("weight '" + Twine(weight.name) +
                       "' has an element type that modules do not have");
    if (Error error = checkName(weight.name))
      return error;
    weight.type = *type;
    weight.dims.assign(tensor.getShape().begin(), tensor.getShape().end());
    weight.offset = offset.getInt();
    weight.bytes = op.getLength();
    if (weight.offset < 0 || weight.offset % 64 != 0)
      return malformed("weight '" + Twine(weight.name) + "' lies at offset " +
                       Twine(weight.offset));
    weights.push_back(std::move(weight));
  }
  llvm::sort(weights, [](const WeightSpec &a, const WeightSpec &b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  // Weights share their place entirely or not at all.
  int64_t begin = 0, end = 0;
  for (const WeightSpec &weight : weights) {
    if (weight.bytes == 0)
      continue;
    bool shares = weight.offset == begin && weight.offset + weight.bytes == end;
    if (weight.offset < end && !shares)
      return malformed("weight '" + Twine(weight.name) + "' overlaps another one");
    begin = weight.offset;
    end = weight.offset + weight.bytes;
  }
  return Error::success();
}

Expected<ModuleSpec> ssm::readModuleSpec(ModuleOp module) {
  ModuleSpec spec;
  auto entries = module->getAttrOfType<ArrayAttr>(kEntriesAttr);
  if (!entries || entries.empty())
    return malformed("it has no entries");
  llvm::StringSet<> names;
  for (Attribute attr : entries) {
    Expected<EntrySpec> entry = readEntry(module, attr);
    if (!entry)
      return entry.takeError();
    if (!names.insert(entry->name).second)
      return malformed("two entries are named '" + Twine(entry->name) + "'");
    spec.entries.push_back(std::move(*entry));
  }
  if (Error error = readWeights(module, spec.weights))
    return error;
  return spec;
}
