//===- Module.cpp - A loaded module ---------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Module.h"

#include "Hash.h"
#include "Status.h"
#include "Validate.h"
#include "Version.h"

#include <dlfcn.h>

using namespace ssmrt;

namespace {
/// A symbolic dim, to be sorted by its name.
struct NamedDim {
  const char *name;
  int32_t index;
};
} // namespace

static int compareDims(const void *left, const void *right) {
  return std::strcmp(static_cast<const NamedDim *>(left)->name,
                     static_cast<const NamedDim *>(right)->name);
}

bool EntryLayout::create(const ssm_entry &entry) {
  Array<NamedDim> named;
  int32_t total = 0;
  for (int32_t i = 0; i < entry.num_inputs; ++i) {
    const ssm_value_info &input = entry.inputs[i];
    if (!inputOffset.push(total))
      return false;
    for (int32_t axis = 0; axis < input.rank; ++axis, ++total) {
      const ssm_dim &dim = input.dims[axis];
      if (!symbols.push(-1))
        return false;
      if (dim.value < 0 && dim.name && *dim.name && !named.push({dim.name, total}))
        return false;
    }
  }
  if (!inputOffset.push(total))
    return false;
  if (named.size())
    std::qsort(named.data(), named.size(), sizeof(NamedDim), compareDims);
  for (size_t i = 0; i < named.size(); ++i) {
    if (i == 0 || std::strcmp(named[i - 1].name, named[i].name))
      ++numSymbols;
    symbols[size_t(named[i].index)] = numSymbols - 1;
  }

  total = 0;
  for (int32_t i = 0; i < entry.num_outputs; ++i) {
    if (!outputOffset.push(total))
      return false;
    total += entry.outputs[i].rank;
  }
  return outputOffset.push(total);
}

int32_t ssmrt::findValue(const ssm_value_info *values, int32_t count, const char *name,
                         int32_t hint) {
  for (int32_t step = 0; step < count; ++step) {
    int32_t index = hint + step < count ? hint + step : hint + step - count;
    if (!std::strcmp(values[index].name, name))
      return index;
  }
  return -1;
}

ssmrt_module::~ssmrt_module() {
  unmake(onDevice);
  if (layouts)
    for (int32_t i = 0; i < description->num_entries; ++i)
      layouts[i].~EntryLayout();
  std::free(layouts);
  std::free(path);
  std::free(weightsPath);
  if (library)
    dlclose(library);
}

ssmrt_status ssmrt_module::initialize(const ssmrt_load_options *options) {
  SSMRT_TRY(validateModule(*description, path));
  all = description;
  if (options)
    device = options->device;
  Device *opened;
  SSMRT_TRY(selectVersion(*all, path, device, &description, &opened));
  if (opened) {
    if (!(onDevice = make<DeviceModule>())) {
      opened->release();
      return outOfMemory("the module", sizeof(DeviceModule));
    }
    SSMRT_TRY(onDevice->load(opened, *description, path));
  }
  size_t count = size_t(description->num_entries);
  layouts = static_cast<EntryLayout *>(std::malloc(count * sizeof(EntryLayout)));
  if (!layouts)
    return outOfMemory("the module", (long long)(count * sizeof(EntryLayout)));
  bool complete = true;
  for (size_t i = 0; i < count; ++i)
    complete &= (new (&layouts[i]) EntryLayout)->create(description->entries[i]);
  if (!complete)
    return outOfMemory("the module's entries", (long long)count);
  SSMRT_TRY(mapWeights(options));
  return onDevice ? onDevice->upload(weights) : SSMRT_OK;
}

/// Checks that `data` is the weights file that `module` was compiled with.
static ssmrt_status checkWeights(const ssm_module &module, const char *path, const char *name,
                                 const uint8_t *data, size_t bytes) {
  if (bytes != uint64_t(module.weights_file_bytes))
    return fail(SSMRT_BAD_FILE, "weights file '%s' has %llu bytes, module '%s' expects %lld", name,
                (unsigned long long)bytes, path, (long long)module.weights_file_bytes);
  uint64_t hash = hash64(data, size_t(module.weights_base));
  if (hash != module.weights_header_hash)
    return fail(SSMRT_BAD_FILE,
                "weights file '%s' does not belong to module '%s': its header "
                "has hash %016llx, expected %016llx",
                name, path, (unsigned long long)hash,
                (unsigned long long)module.weights_header_hash);
  return SSMRT_OK;
}

ssmrt_status ssmrt_module::mapWeights(const ssmrt_load_options *options) {
  const ssm_module &module = *description;
  if (module.num_weights == 0)
    return SSMRT_OK;
  if (module.embedded_weights) {
    weights = static_cast<const uint8_t *>(module.embedded_weights);
  } else if (options && options->weightsMemory) {
    const auto *data = static_cast<const uint8_t *>(options->weightsMemory);
    SSMRT_TRY(checkWeights(module, path, "(in memory)", data, options->weightsMemoryBytes));
    weights = data + module.weights_base;
  } else {
    const char *given = options ? options->weightsFile : nullptr;
    if (given) {
      weightsPath = copyString(given);
    } else {
      const char *slash = std::strrchr(path, '/');
      size_t folder = slash ? size_t(slash - path) + 1 : 0;
      size_t name = std::strlen(module.weights_file) + 1;
      weightsPath = static_cast<char *>(std::malloc(folder + name));
      if (weightsPath) {
        std::memcpy(weightsPath, path, folder);
        std::memcpy(weightsPath + folder, module.weights_file, name);
      }
    }
    if (!weightsPath)
      return outOfMemory("a file name", 0);
    SSMRT_TRY(weightsFile.open(weightsPath, "weights file"));
    SSMRT_TRY(checkWeights(module, path, weightsPath, weightsFile.data(), weightsFile.size()));
    weights = weightsFile.data() + module.weights_base;
  }
  if (reinterpret_cast<uintptr_t>(weights) % 64)
    return fail(SSMRT_INVALID_ARGUMENT,
                "module '%s': its weights are not aligned to 64 bytes in "
                "memory",
                path);
  return SSMRT_OK;
}

void ssmrt_module_retain(ssmrt_module *module) {
  module->references.fetch_add(1, std::memory_order_relaxed);
}

void ssmrt_module_release(ssmrt_module *module) {
  if (module && module->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    unmake(module);
}

ssmrt_status ssmrt_module_verify_weights(const ssmrt_module *module) {
  if (!module)
    return fail(SSMRT_INVALID_ARGUMENT, "module is NULL");
  const ssm_module &description = *module->description;
  for (int32_t i = 0; i < description.num_weights; ++i) {
    const ssm_weight_info &weight = description.weights[i];
    uint64_t hash = hash64(module->weights + weight.offset, size_t(weight.bytes));
    if (hash != weight.hash)
      return fail(SSMRT_BAD_FILE,
                  "weight '%s' of '%s' is damaged: its %lld bytes have hash "
                  "%016llx, expected %016llx",
                  weight.name, module->weightsPath ? module->weightsPath : module->path,
                  (long long)weight.bytes, (unsigned long long)hash,
                  (unsigned long long)weight.hash);
  }
  return SSMRT_OK;
}
