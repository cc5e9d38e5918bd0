//===- ModuleFuzzer.cpp - Damaged module files and descriptions -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The bytes are taken twice. First as a module file: the loader must refuse it,
// unless it is whole. Then as changes to a copy of a description: what is
// accepted must be safe to ask about. Pointers are only ever set to NULL, since
// a wrong one is not for the runtime to notice: the file's hash is what guards
// them.
//
//===----------------------------------------------------------------------===//

#include "ssmrt/module_abi.h"
#include "ssmrt/ssmrt.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

extern const ssm_module linkedModule __asm__(SSM_MODULE_SYMBOL);

static void loadAsFile(const uint8_t *data, size_t size) {
  static int file = memfd_create("module", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (file < 0 || ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != ssize_t(size))
    std::abort();
  ssmrt_module *module = nullptr;
  if (ssmrt_module_load(path.c_str(), nullptr, &module) == SSMRT_OK)
    ssmrt_module_release(module);
}

namespace {

/// A copy of the linked description, all of whose fields can be changed.
class Description {
public:
  ssm_module module = linkedModule;

  Description() {
    entries.assign(module.entries, module.entries + module.num_entries);
    module.entries = entries.data();
    weights.assign(module.weights, module.weights + module.num_weights);
    module.weights = weights.data();
    // Nothing moves from here on: the lists are as long as they will be.
    values.reserve(64);
    dims.reserve(256);
    for (ssm_entry &entry : entries)
      add(entry);
    length(module.num_entries);
    length(module.num_weights);
    wide.insert(wide.end(), {&module.weights_base, &module.weights_file_bytes});
    pointer(module.entries);
    pointer(module.weights);
    pointer(module.weights_file);
    pointer(module.producer);
    pointer(module.target);
    pointer(module.features);
    for (ssm_weight_info &weight : weights) {
      numbers.push_back(&weight.type);
      length(weight.rank, SSM_ABI_MAX_RANK);
      wide.insert(wide.end(), {&weight.offset, &weight.bytes});
      pointer(weight.name);
      pointer(weight.dims);
    }
  }

  /// One change: which field, and what it becomes.
  void change(unsigned which, int64_t value) {
    which %= lengths.size() + numbers.size() + wide.size() + pointers.size();
    if (which < lengths.size()) {
      const Length &length = lengths[which];
      auto number = int32_t(value);
      bool lies = number > length.real && number <= length.largest;
      *length.field = lies ? length.real : number;
      return;
    }
    which -= unsigned(lengths.size());
    if (which < numbers.size()) {
      *numbers[which] = int32_t(value);
      return;
    }
    which -= unsigned(numbers.size());
    if (which < wide.size())
      *wide[which] = value;
    else
      std::memset(pointers[which - wide.size()], 0, sizeof(void *));
  }

private:
  template <typename T> void pointer(T *&field) { pointers.push_back(&field); }

  /// The length of a list: one that says more than there is would be for the
  /// file's hash to notice, up to the length that is refused for itself.
  struct Length {
    int32_t *field, real, largest;
  };
  void length(int32_t &field, int32_t largest = 1 << 20) {
    lengths.push_back({&field, field, largest});
  }

  const ssm_value_info *copy(const ssm_value_info *from, int32_t count) {
    size_t first = values.size();
    for (int32_t i = 0; i < count; ++i) {
      values.push_back(from[i]);
      ssm_value_info &value = values.back();
      size_t at = dims.size();
      dims.insert(dims.end(), value.dims, value.dims + value.rank);
      for (int32_t axis = 0; axis < value.rank; ++axis) {
        wide.push_back(&dims[at + size_t(axis)].value);
        pointer(dims[at + size_t(axis)].name);
      }
      if (value.rank)
        value.dims = &dims[at];
      numbers.push_back(&value.type);
      length(value.rank, SSM_ABI_MAX_RANK);
      pointer(value.name);
      pointer(value.dims);
    }
    return count ? &values[first] : nullptr;
  }

  void add(ssm_entry &entry) {
    entry.inputs = copy(entry.inputs, entry.num_inputs);
    entry.outputs = copy(entry.outputs, entry.num_outputs);
    states.reserve(16);
    size_t first = states.size();
    for (int32_t i = 0; i < entry.num_states; ++i) {
      states.push_back(entry.states[i]);
      ssm_state_info &state = states.back();
      numbers.insert(numbers.end(), {&state.input, &state.output, &state.kind, &state.axis,
                                     &state.in_place});
    }
    if (entry.num_states)
      entry.states = &states[first];
    for (int32_t *count : {&entry.num_inputs, &entry.num_outputs, &entry.num_states,
                           &entry.num_checks, &entry.num_kernels})
      length(*count);
    pointer(entry.name);
    pointer(entry.inputs);
    pointer(entry.outputs);
    pointer(entry.states);
    pointer(entry.checks);
    pointer(entry.kernels);
    pointer(entry.plan);
    pointer(entry.run);
  }

  std::vector<ssm_entry> entries;
  std::vector<ssm_value_info> values;
  std::vector<ssm_dim> dims;
  std::vector<ssm_state_info> states;
  std::vector<ssm_weight_info> weights;
  std::vector<Length> lengths;
  std::vector<int32_t *> numbers;
  std::vector<int64_t *> wide;
  std::vector<void *> pointers;
};

} // namespace

/// Everything that can be asked without running the module's code.
static void askAll(ssmrt_module *module) {
  ssmrt_module_info info;
  if (ssmrt_module_get_info(module, &info))
    std::abort();
  for (int32_t e = 0; e < info.num_entries; ++e) {
    ssmrt_entry_info entry;
    ssmrt_value_info value;
    ssmrt_state_info state;
    if (ssmrt_module_get_entry(module, e, &entry))
      std::abort();
    for (int32_t i = 0; i < entry.num_inputs; ++i)
      if (ssmrt_module_get_input(module, e, i, &value) || !value.name)
        std::abort();
    for (int32_t i = 0; i < entry.num_outputs; ++i)
      if (ssmrt_module_get_output(module, e, i, &value) || !value.name)
        std::abort();
    for (int32_t i = 0; i < entry.num_states; ++i)
      if (ssmrt_module_get_state(module, e, i, &state) || !state.name)
        std::abort();
    ssmrt_session_options *options = nullptr;
    ssmrt_session *session = nullptr;
    if (ssmrt_session_options_create(&options) ||
        ssmrt_session_options_set_carry_states(options, 1) ||
        ssmrt_session_create(module, entry.name, options, &session))
      std::abort();
    // An input of no such name: the module's code, which is not what its
    // description says any more, does not run.
    ssmrt_input unknown = {"\1", nullptr};
    if (ssmrt_session_run(session, &unknown, 1, nullptr, 0) == SSMRT_OK)
      std::abort();
    ssmrt_session_options_destroy(options);
    ssmrt_session_destroy(session);
  }
}

static void changeDescription(const uint8_t *data, size_t size) {
  alignas(64) static uint8_t weights[256];
  Description description;
  for (; size >= 4; data += 4, size -= 4) {
    static const int64_t marked[] = {-1, 0,  1,         2,         3,         16,
                                     17, 64, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    size_t mark = data[3] % 16;
    int64_t value = mark < sizeof(marked) / sizeof(*marked) ? marked[mark] : int8_t(data[2]);
    description.change(data[0] | unsigned(data[1]) << 8, value);
  }
  description.module.embedded_weights = weights;
  ssmrt_module *module = nullptr;
  if (ssmrt_module_create(&description.module, nullptr, &module) == SSMRT_OK) {
    askAll(module);
    ssmrt_module_release(module);
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  loadAsFile(data, size);
  // A few changes: with many, something is always refused early.
  changeDescription(data, size < 32 ? size : 32);
  return 0;
}
