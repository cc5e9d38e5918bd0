//===- WeightsInit.cpp - Weights computed from weights --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/WeightsInit.h"

#include "include/ssmrt/module_abi.h"
#include "lib/Package/BuildObject.h"
#include "lib/Package/Codegen.h"
#include "lib/Package/Linker.h"
#include "lib/Support/ScratchFolder.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/AlignOf.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"

#include <cstdlib>
#include <dlfcn.h>

using namespace mlir;
using namespace ssm;
using llvm::ArrayRef;
using llvm::createStringError;
using llvm::Error;
using llvm::Expected;
using llvm::MutableArrayRef;
using llvm::StringRef;

namespace {

/// Memory aligned as modules want it.
class Buffer {
public:
  static Expected<Buffer> allocate(int64_t bytes) {
    Buffer buffer;
    if (bytes < 0 || bytes > std::numeric_limits<int64_t>::max() - 64)
      return createStringError("a computed weight needs too much memory");
    buffer.size = bytes;
    buffer.data.reset(static_cast<uint8_t *>(
        std::aligned_alloc(64, llvm::alignTo(std::max<int64_t>(bytes, 1), 64))));
    if (!buffer.data)
      return createStringError("out of memory: a computed weight needs " + llvm::Twine(bytes) +
                               " bytes");
    return buffer;
  }
  MutableArrayRef<uint8_t> bytes() { return {data.get(), size}; }

private:
  struct Free {
    void operator()(uint8_t *data) const { std::free(data); }
  };
  std::unique_ptr<uint8_t, Free> data;
  size_t size = 0;
};

/// One call of an entry: what its table's functions get as their context.
struct Call {
  const ssm_entry &entry;
  MutableArrayRef<uint8_t> output;
  std::vector<Buffer> segments;
  std::string failure;

  static Call &get(void *context) { return *static_cast<Call *>(context); }

  static int32_t parallelFor(void *, ssm_range_fn fn, void *closure, int64_t n, int64_t) {
    return n > 0 ? fn(closure, 0, n) : 0;
  }
  static void *segmentAlloc(void *context, int64_t bytes) {
    Expected<Buffer> buffer = Buffer::allocate(bytes);
    if (!buffer) {
      llvm::consumeError(buffer.takeError());
      return nullptr;
    }
    get(context).segments.push_back(std::move(*buffer));
    return get(context).segments.back().bytes().data();
  }
  static int64_t segmentMark(void *context) { return get(context).segments.size(); }
  static void segmentRelease(void *context, int64_t mark) { get(context).segments.resize(mark); }
  static void *outputPlace(void *context, int32_t, const int64_t *dims) {
    Call &call = get(context);
    const ssm_value_info &info = call.entry.outputs[0];
    for (int32_t i = 0; i < info.rank; ++i)
      if (dims[i] != info.dims[i].value)
        return nullptr;
    // A region of no bytes has no address, and NULL would be a refusal.
    static uint8_t nothing;
    return call.output.empty() ? &nothing : call.output.data();
  }
  static int32_t report(void *context, int32_t site, const int64_t *values, int32_t count) {
    Call &call = get(context);
    if (site >= 0 && site < call.entry.num_checks) {
      const ssm_check_info &check = call.entry.checks[site];
      std::string text = check.text;
      for (int32_t i = 0; i < count; ++i) {
        std::string hole = "{" + std::to_string(i) + "}";
        for (size_t at; (at = text.find(hole)) != std::string::npos;)
          text.replace(at, hole.size(), std::to_string(values[i]));
      }
      call.failure = ("node " + llvm::Twine(check.node) + ": " + text).str();
    }
    return SSM_RUN_CHECK_FAILED;
  }
};

struct Derived {
  std::string entry;
  std::vector<std::string> inputs;
  std::string output;
};

class Computation {
public:
  Computation(ModuleOp init, ModuleSpec &spec, WeightSources &sources, WeightsFile &file)
      : sources(sources), file(file) {
    for (WeightOp op : init.getOps<WeightOp>())
      sourceOps.insert({op.getSymName(), op});
    for (WeightSpec &weight : spec.weights)
      placed.insert({weight.op.getSymName(), &weight});
  }

  Error run(ArrayRef<Derived> list, const ssm_module &module);

private:
  Error compute(const Derived &derived, const ssm_entry &entry);
  Error computeInto(const ssm_entry &entry, ArrayRef<ssm_arg> args, const Derived &derived,
                    MutableArrayRef<uint8_t> output);
  Expected<Buffer> readInput(StringRef name);

  WeightSources &sources;
  WeightsFile &file;
  llvm::StringMap<WeightOp> sourceOps;
  llvm::StringMap<WeightSpec *> placed;
  /// Results that only other results need.
  llvm::StringMap<Buffer> intermediates;
  llvm::StringSet<> computed;
};

} // namespace

static Expected<std::vector<Derived>> readInitEntries(ModuleOp init) {
  auto malformed = [] { return createStringError("the weights' module is malformed"); };
  auto list = init->getAttrOfType<ArrayAttr>(kInitEntriesAttr);
  if (!list)
    return malformed();
  std::vector<Derived> result;
  for (Attribute attr : list) {
    auto dict = dyn_cast<DictionaryAttr>(attr);
    auto entry = dict ? dict.getAs<StringAttr>("entry") : StringAttr();
    auto inputs = dict ? dict.getAs<ArrayAttr>("inputs") : ArrayAttr();
    auto output = dict ? dict.getAs<FlatSymbolRefAttr>("output") : FlatSymbolRefAttr();
    if (!entry || !inputs || !output)
      return malformed();
    Derived derived{entry.str(), {}, output.getValue().str()};
    for (Attribute input : inputs) {
      auto symbol = dyn_cast<FlatSymbolRefAttr>(input);
      if (!symbol)
        return malformed();
      derived.inputs.push_back(symbol.getValue().str());
    }
    result.push_back(std::move(derived));
  }
  return result;
}

static int64_t countBytes(const ssm_value_info &info, MLIRContext *context) {
  int64_t bytes = (getElementType(info.type, context).getIntOrFloatBitWidth() + 7) / 8;
  for (int32_t i = 0; i < info.rank; ++i)
    bytes *= info.dims[i].value;
  return bytes;
}

Expected<Buffer> Computation::readInput(StringRef name) {
  if (computed.contains(name)) {
    WeightSpec *weight = placed.lookup(name);
    Expected<Buffer> buffer = Buffer::allocate(weight->bytes);
    if (!buffer)
      return buffer;
    if (Error error = file.map(*weight, [&](ArrayRef<uint8_t> bytes) {
          llvm::copy(bytes, buffer->bytes().begin());
          return Error::success();
        }))
      return error;
    return buffer;
  }
  WeightOp op = sourceOps.lookup(name);
  if (!op || op.getInit())
    return createStringError("weight '" + name + "' has no source");
  Expected<Buffer> buffer = Buffer::allocate(op.getLength());
  if (!buffer)
    return buffer;
  MutableArrayRef<uint8_t> rest = buffer->bytes();
  if (Error error = sources.read(op, [&](ArrayRef<uint8_t> piece) -> Error {
        if (piece.size() > rest.size())
          return createStringError("weight '" + name + "' has more bytes than its type");
        llvm::copy(piece, rest.begin());
        rest = rest.drop_front(piece.size());
        return Error::success();
      }))
    return error;
  if (!rest.empty())
    return createStringError("weight '" + name + "' has fewer bytes than its type");
  return buffer;
}

Error Computation::computeInto(const ssm_entry &entry, ArrayRef<ssm_arg> args,
                               const Derived &derived, MutableArrayRef<uint8_t> output) {
  const ssm_table table = {SSM_MODULE_ABI_VERSION, sizeof(ssm_table), Call::parallelFor,
                           Call::segmentAlloc,     Call::segmentMark, Call::segmentRelease,
                           Call::outputPlace,      Call::report,      nullptr,
                           nullptr,                nullptr,           nullptr,
                           nullptr};
  Call call{entry, output, {}, {}};
  int64_t arenaBytes = 0;
  int64_t outputDims[SSM_ABI_MAX_RANK];
  int32_t status = entry.plan(&table, &call, args.data(), &arenaBytes, outputDims);
  if (status == SSM_RUN_OK) {
    Expected<Buffer> arena = Buffer::allocate(arenaBytes);
    if (!arena)
      return arena.takeError();
    status = entry.run(&table, &call, args.data(), arena->bytes().data(), nullptr);
  }
  if (status == SSM_RUN_OK)
    return Error::success();
  if (call.failure.empty())
    call.failure =
        status == SSM_RUN_OUT_OF_MEMORY ? "out of memory" : "status " + std::to_string(status);
  return createStringError("weight '" + derived.output + "' cannot be computed: " + call.failure);
}

Error Computation::compute(const Derived &derived, const ssm_entry &entry) {
  MLIRContext *context = sourceOps.begin()->second->getContext();
  if (entry.num_inputs != static_cast<int32_t>(derived.inputs.size()) || entry.num_outputs != 1)
    return createStringError("entry '" + derived.entry + "' does not fit the weights it is for");
  std::vector<Buffer> buffers;
  std::vector<ssm_arg> args;
  std::vector<std::vector<int64_t>> dims;
  for (auto [i, name] : llvm::enumerate(derived.inputs)) {
    const ssm_value_info &info = entry.inputs[i];
    auto intermediate = intermediates.find(name);
    MutableArrayRef<uint8_t> bytes;
    if (intermediate != intermediates.end()) {
      bytes = intermediate->second.bytes();
    } else {
      Expected<Buffer> buffer = readInput(name);
      if (!buffer)
        return buffer.takeError();
      bytes = buffer->bytes();
      buffers.push_back(std::move(*buffer));
    }
    if (countBytes(info, context) != static_cast<int64_t>(bytes.size()))
      return createStringError("weight '" + name + "' does not fit input " + llvm::Twine(i) +
                               " of '" + derived.entry + "'");
    dims.emplace_back();
    for (int32_t axis = 0; axis < info.rank; ++axis)
      dims.back().push_back(info.dims[axis].value);
    args.push_back({bytes.data(), nullptr});
  }
  for (auto [arg, sizes] : llvm::zip_equal(args, dims))
    arg.dims = sizes.data();

  int64_t outputBytes = countBytes(entry.outputs[0], context);
  WeightSpec *weight = placed.lookup(derived.output);
  if (!weight) {
    Expected<Buffer> buffer = Buffer::allocate(outputBytes);
    if (!buffer)
      return buffer.takeError();
    if (Error error = computeInto(entry, args, derived, buffer->bytes()))
      return error;
    intermediates.insert({derived.output, std::move(*buffer)});
    return Error::success();
  }
  if (weight->bytes != outputBytes)
    return createStringError("weight '" + derived.output + "' does not fit the output of '" +
                             derived.entry + "'");
  computed.insert(derived.output);
  return file.map(*weight, [&](MutableArrayRef<uint8_t> bytes) {
    return computeInto(entry, args, derived, bytes);
  });
}

Error Computation::run(ArrayRef<Derived> list, const ssm_module &module) {
  // Later passes may have removed what needed a weight.
  llvm::StringSet<> needed;
  std::vector<const Derived *> order;
  for (const Derived &derived : llvm::reverse(list)) {
    if (!placed.contains(derived.output) && !needed.contains(derived.output))
      continue;
    for (const std::string &input : derived.inputs)
      needed.insert(input);
    order.push_back(&derived);
  }
  for (const Derived *derived : llvm::reverse(order)) {
    ArrayRef<ssm_entry> entries(module.entries, module.num_entries);
    const ssm_entry *entry =
        llvm::find_if(entries, [&](const ssm_entry &e) { return derived->entry == e.name; });
    if (entry == entries.end())
      return createStringError("the weights' module has no entry '" + derived->entry + "'");
    if (Error error = compute(*derived, *entry))
      return error;
  }
  for (auto &[name, weight] : placed)
    if (weight->op.getInit() && !computed.contains(name))
      return createStringError("weight '" + name + "' has no entry that computes it");
  return Error::success();
}

Error ssm::runWeightsInit(ModuleOp init, ModuleSpec &spec, WeightSources &sources,
                          WeightsFile &file, int level, StringRef linker,
                          const StepInputs &inputs) {
  Expected<std::vector<Derived>> list = readInitEntries(init);
  if (!list)
    return list.takeError();
  // This machine's code, also where the module is for another one.
  Expected<CpuTarget> host = CpuTarget::resolve("native");
  if (!host)
    return host.takeError();
  Expected<ModuleSpec> initSpec = readModuleSpec(init);
  if (!initSpec)
    return initSpec.takeError();
  Computation computation(init, spec, sources, file);

  Expected<ScratchFolder> scratch = ScratchFolder::create("ssm-weights");
  if (!scratch)
    return scratch.takeError();
  // The operations of the sources are still needed when the code runs.
  OwningOpRef<ModuleOp> code = cast<ModuleOp>(init->clone());
  llvm::LLVMContext context;
  Expected<std::unique_ptr<llvm::Module>> module = translateModule(*code, context, *host, inputs);
  if (!module)
    return module.takeError();
  initSpec->weights.clear();
  addDescription(**module, *initSpec, WeightsPlace(), *host, {}, {SSM_MODULE_SYMBOL});
  if (Error error = optimizeModule(**module, *host, level, /*verifyEach=*/false, inputs))
    return error;
  std::string library = scratch->file("weights.so");
  if (Error error = buildModuleFile(CodePart{**module, *host}, level, linker, {}, *scratch, library,
                                    LinkForm::Shared, inputs))
    return error;

  void *handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    return createStringError(llvm::Twine("cannot load the weights' module: ") + dlerror());
  Error result = Error::success();
  auto *description = static_cast<const ssm_module *>(dlsym(handle, SSM_MODULE_SYMBOL));
  if (!description)
    result = createStringError("the weights' module has no description");
  else if (Error error = computation.run(*list, *description))
    result = std::move(error);
  dlclose(handle);
  return result;
}
