//===- Description.cpp - The constant a module exports --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/Description.h"

#include "include/ssmrt/module_abi.h"
#include "lib/Support/Version.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/DerivedTypes.h"
#include "llvm/IR/GlobalVariable.h"
#include "llvm/IR/Module.h"

using namespace ssm;
using llvm::ArrayRef;
using llvm::Constant;
using llvm::StringRef;

namespace {

/// Makes constants laid out as the C structs are: members of a struct are given
/// in order, and their natural alignment gives C's padding.
class Builder {
public:
  explicit Builder(llvm::Module &module) : module(module), context(module.getContext()) {}

  Constant *i32(int64_t value) {
    return llvm::ConstantInt::getSigned(llvm::Type::getInt32Ty(context), value);
  }
  Constant *u32(uint32_t value) {
    return llvm::ConstantInt::get(llvm::Type::getInt32Ty(context), value);
  }
  Constant *i64(int64_t value) {
    return llvm::ConstantInt::getSigned(llvm::Type::getInt64Ty(context), value);
  }
  Constant *u64(uint64_t value) {
    return llvm::ConstantInt::get(llvm::Type::getInt64Ty(context), value);
  }
  Constant *null() { return llvm::ConstantPointerNull::get(llvm::PointerType::get(context, 0)); }

  /// A NUL-terminated string; equal ones are one.
  Constant *string(StringRef text) {
    Constant *&known = strings[text];
    if (!known)
      known = global(llvm::ConstantDataArray::getString(context, text), "ssm.s");
    return known;
  }

  /// Bytes aligned to 64, with a NUL behind them if asked.
  Constant *bytes(StringRef data, bool withNul) {
    llvm::GlobalVariable *variable =
        global(llvm::ConstantDataArray::getString(context, data, withNul), "ssm.image");
    variable->setAlignment(llvm::Align(64));
    return variable;
  }

  /// A struct that must have the size of the C one.
  Constant *record(size_t size, ArrayRef<Constant *> members) {
    Constant *value = llvm::ConstantStruct::getAnon(context, members);
    assert(module.getDataLayout().getTypeAllocSize(value->getType()) == size &&
           "layout differs from module_abi.h");
    (void)size;
    return value;
  }

  /// A pointer to the elements, null for none.
  Constant *array(ArrayRef<Constant *> elements) {
    if (elements.empty())
      return null();
    auto *type = llvm::ArrayType::get(elements.front()->getType(), elements.size());
    return global(llvm::ConstantArray::get(type, elements), "ssm.a");
  }

  Constant *function(llvm::Twine name) { return module.getFunction(name.str()); }

  /// Data of another object of the same module.
  Constant *hidden(StringRef name) {
    auto *symbol = new llvm::GlobalVariable(module, llvm::Type::getInt8Ty(context),
                                            /*isConstant=*/true,
                                            llvm::GlobalValue::ExternalLinkage, nullptr, name);
    symbol->setVisibility(llvm::GlobalValue::HiddenVisibility);
    return symbol;
  }

private:
  llvm::GlobalVariable *global(Constant *value, StringRef name) {
    auto *variable = new llvm::GlobalVariable(module, value->getType(), /*isConstant=*/true,
                                              llvm::GlobalValue::PrivateLinkage, value, name);
    variable->setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::Global);
    return variable;
  }

  llvm::Module &module;
  llvm::LLVMContext &context;
  llvm::StringMap<Constant *> strings;
};

} // namespace

static Constant *buildValues(Builder &b, const std::vector<ValueSpec> &values) {
  std::vector<Constant *> elements;
  for (const ValueSpec &value : values) {
    std::vector<Constant *> dims;
    for (const DimSpec &dim : value.dims)
      dims.push_back(
          b.record(sizeof(ssm_dim),
                   {b.i64(dim.size), dim.symbol.empty() ? b.null() : b.string(dim.symbol)}));
    elements.push_back(b.record(sizeof(ssm_value_info), {b.string(value.name), b.i32(value.type),
                                                         b.i32(value.dims.size()), b.array(dims)}));
  }
  return b.array(elements);
}

static Constant *buildEntry(Builder &b, const EntrySpec &entry) {
  std::vector<Constant *> states, checks, kernels;
  for (const StateSpec &state : entry.states)
    states.push_back(b.record(sizeof(ssm_state_info), {b.i32(state.input), b.i32(state.output),
                                                       b.i32(state.kind), b.i32(state.axis),
                                                       b.i32(state.inPlace)}));
  for (const CheckSpec &check : entry.checks)
    checks.push_back(
        b.record(sizeof(ssm_check_info), {b.string(check.node), b.string(check.text)}));
  for (const std::string &kernel : entry.kernels)
    kernels.push_back(b.record(sizeof(ssm_kernel_info), {b.string(kernel)}));
  return b.record(sizeof(ssm_entry),
                  {b.string(entry.name), b.i32(entry.inputs.size()), b.i32(entry.outputs.size()),
                   b.i32(states.size()), b.i32(checks.size()), b.i32(kernels.size()), b.i32(0),
                   buildValues(b, entry.inputs), buildValues(b, entry.outputs), b.array(states),
                   b.array(checks), b.array(kernels), b.function(entry.name + ".plan"),
                   b.function(entry.name + ".run")});
}

static Constant *buildWeights(Builder &b, const std::vector<WeightSpec> &weights) {
  std::vector<Constant *> elements;
  for (const WeightSpec &weight : weights) {
    std::vector<Constant *> dims;
    for (int64_t dim : weight.dims)
      dims.push_back(b.i64(dim));
    elements.push_back(
        b.record(sizeof(ssm_weight_info),
                 {b.string(weight.name), b.i32(weight.type), b.i32(weight.dims.size()),
                  b.array(dims), b.i64(weight.offset), b.i64(weight.bytes), b.u64(weight.hash)}));
  }
  return b.array(elements);
}

static Constant *buildDeviceKernels(Builder &b, const DeviceCode &device) {
  std::vector<Constant *> elements;
  for (const DeviceKernel &kernel : device.kernels) {
    std::vector<Constant *> params;
    for (int32_t bytes : kernel.paramBytes)
      params.push_back(b.i32(bytes));
    elements.push_back(
        b.record(sizeof(ssm_device_kernel),
                 {b.string(kernel.name), b.i32(kernel.maxThreads), b.i32(kernel.dynamicShared),
                  b.i32(kernel.flags), b.i32(params.size()), b.array(params),
                  b.i32(kernel.registers), b.i32(kernel.sharedBytes), b.i32(kernel.spillBytes),
                  b.i32(0)}));
  }
  return b.array(elements);
}

static Constant *buildImages(Builder &b, const DeviceCode &device) {
  std::vector<Constant *> elements;
  for (const DeviceImage &image : device.images)
    elements.push_back(
        b.record(sizeof(ssm_image), {b.string(image.chip), b.bytes(image.bytes, image.isPtx),
                                     b.i64(image.bytes.size() + image.isPtx),
                                     b.i32(image.isPtx ? SSM_IMAGE_PTX : SSM_IMAGE_CUBIN),
                                     b.i32(0)}));
  return b.array(elements);
}

void ssm::addDescription(llvm::Module &module, const ModuleSpec &spec, const WeightsPlace &place,
                         const CpuTarget &target, const ModelOrigin &origin,
                         const DescriptionSymbol &symbol, const std::optional<DeviceCode> &device) {
  const DeviceCode none, &code = device ? *device : none;
  // Only the description is seen from outside.
  for (llvm::GlobalValue &value : module.global_values())
    if (!value.isDeclaration())
      value.setLinkage(llvm::GlobalValue::InternalLinkage);

  Builder b(module);
  Constant *embedded = b.null();
  if (place.embedded && !spec.weights.empty())
    embedded = b.hidden(kEmbeddedWeightsSymbol);
  std::vector<Constant *> versions;
  for (const std::string &version : symbol.versions)
    versions.push_back(b.hidden(version));
  std::vector<Constant *> entries;
  for (const EntrySpec &entry : spec.entries)
    entries.push_back(buildEntry(b, entry));

  Constant *description = b.record(
      sizeof(ssm_module), {b.u32(SSM_MODULE_MAGIC), b.u32(SSM_MODULE_ABI_VERSION),
                           b.u32(sizeof(ssm_module)), b.i32(entries.size()), b.array(entries),
                           b.string(kProducer), b.string(origin.options), b.string(target.triple),
                           b.string(target.cpu), b.string(llvm::join(target.requiredFeatures, ",")),
                           b.i32(spec.weights.size()), b.i32(versions.size()),
                           buildWeights(b, spec.weights), b.array(versions), embedded,
                           place.fileName.empty() ? b.null() : b.string(place.fileName),
                           b.i64(place.fileBytes), b.i64(place.base), b.u64(place.headerHash),
                           device ? b.string("cuda") : b.null(), buildDeviceKernels(b, code),
                           buildImages(b, code), b.i32(code.kernels.size()),
                           b.i32(code.images.size()),
                           b.u64(origin.modelHash)});
  auto *global = new llvm::GlobalVariable(module, description->getType(), /*isConstant=*/true,
                                          llvm::GlobalValue::ExternalLinkage, description,
                                          symbol.name);
  if (symbol.isHidden)
    global->setVisibility(llvm::GlobalValue::HiddenVisibility);
}
