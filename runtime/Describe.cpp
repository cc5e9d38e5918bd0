//===- Describe.cpp - What is in a module ---------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Module.h"
#include "Status.h"
#include "Types.h"
#include "Version.h"

using namespace ssmrt;

static ssmrt_status need(const void *module, const void *result) {
  if (module && result)
    return SSMRT_OK;
  return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", module ? "result" : "module");
}

static ssmrt_status inRange(const char *what, int32_t index, int32_t count) {
  if (index >= 0 && index < count)
    return SSMRT_OK;
  return fail(SSMRT_INVALID_ARGUMENT, "there is no %s %d, the module has %d", what, index, count);
}

static ssmrt_status needEntry(const ssmrt_module *module, int32_t entry, const void *result) {
  SSMRT_TRY(need(module, result));
  return inRange("entry", entry, module->description->num_entries);
}

static int32_t countDeviceKernels(const ssmrt_module &module) {
  int32_t count = 0;
  for (int32_t i = 0; i <= module.all->num_versions; ++i)
    count += versionOf(*module.all, i).num_device_kernels;
  return count;
}

ssmrt_status ssmrt_module_get_info(const ssmrt_module *module, ssmrt_module_info *info) {
  SSMRT_TRY(need(module, info));
  const ssm_module &description = *module->description;
  int64_t bytes = 0;
  for (int32_t i = 0; i < description.num_weights; ++i)
    if (__builtin_add_overflow(bytes, description.weights[i].bytes, &bytes))
      bytes = INT64_MAX;
  *info = {module->path,
           description.producer,
           description.options,
           description.target,
           description.cpu,
           description.features,
           description.num_entries,
           description.num_weights,
           module->weightsPath,
           bytes,
           module->onDevice                            ? module->onDevice->device->name
           : module->device.kind == DeviceChoice::None ? "none"
                                                       : "cpu",
           countDeviceKernels(*module)};
  return SSMRT_OK;
}

ssmrt_status ssmrt_module_get_entry(const ssmrt_module *module, int32_t entry,
                                    ssmrt_entry_info *info) {
  SSMRT_TRY(needEntry(module, entry, info));
  const ssm_entry &e = module->entry(entry);
  *info = {e.name, e.num_inputs, e.num_outputs, e.num_states, e.num_checks, e.num_kernels};
  return SSMRT_OK;
}

static void describe(const ssm_value_info &value, ssmrt_value_info *info) {
  info->name = value.name;
  info->type = findType(value.type)->dl;
  info->rank = value.rank;
  for (int32_t axis = 0; axis < value.rank; ++axis) {
    const ssm_dim &dim = value.dims[axis];
    info->dims[axis] = {dim.value, dim.name && *dim.name ? dim.name : nullptr};
  }
}

ssmrt_status ssmrt_module_get_input(const ssmrt_module *module, int32_t entry, int32_t index,
                                    ssmrt_value_info *info) {
  SSMRT_TRY(needEntry(module, entry, info));
  const ssm_entry &e = module->entry(entry);
  SSMRT_TRY(inRange("input", index, e.num_inputs));
  describe(e.inputs[index], info);
  return SSMRT_OK;
}

ssmrt_status ssmrt_module_get_output(const ssmrt_module *module, int32_t entry, int32_t index,
                                     ssmrt_value_info *info) {
  SSMRT_TRY(needEntry(module, entry, info));
  const ssm_entry &e = module->entry(entry);
  SSMRT_TRY(inRange("output", index, e.num_outputs));
  describe(e.outputs[index], info);
  return SSMRT_OK;
}

ssmrt_status ssmrt_module_get_state(const ssmrt_module *module, int32_t entry, int32_t index,
                                    ssmrt_state_info *info) {
  SSMRT_TRY(needEntry(module, entry, info));
  const ssm_entry &e = module->entry(entry);
  SSMRT_TRY(inRange("state", index, e.num_states));
  const ssm_state_info &state = e.states[index];
  *info = {e.inputs[state.input].name, state.input, state.output, ssmrt_state_kind(state.kind),
           state.axis, state.in_place};
  return SSMRT_OK;
}

ssmrt_status ssmrt_module_get_check(const ssmrt_module *module, int32_t entry, int32_t index,
                                    ssmrt_check_info *info) {
  SSMRT_TRY(needEntry(module, entry, info));
  const ssm_entry &e = module->entry(entry);
  SSMRT_TRY(inRange("check", index, e.num_checks));
  *info = {e.checks[index].node, e.checks[index].text};
  return SSMRT_OK;
}

ssmrt_status ssmrt_module_get_kernel(const ssmrt_module *module, int32_t entry, int32_t index,
                                     const char **name) {
  SSMRT_TRY(needEntry(module, entry, name));
  const ssm_entry &e = module->entry(entry);
  SSMRT_TRY(inRange("kernel", index, e.num_kernels));
  *name = e.kernels[index].name;
  return SSMRT_OK;
}

ssmrt_status ssmrt_module_get_device_kernel(const ssmrt_module *module, int32_t index,
                                            ssmrt_device_kernel_info *info) {
  SSMRT_TRY(need(module, info));
  SSMRT_TRY(inRange("device kernel", index, countDeviceKernels(*module)));
  int32_t number = 0;
  while (index >= versionOf(*module->all, number).num_device_kernels)
    index -= versionOf(*module->all, number++).num_device_kernels;
  const ssm_module &version = versionOf(*module->all, number);
  const ssm_device_kernel &kernel = version.device_kernels[index];
  *info = {kernel.name,      version.images[0].chip, kernel.max_threads,
           kernel.registers, kernel.shared_bytes,    kernel.spill_bytes};
  return SSMRT_OK;
}

ssmrt_status ssmrt_module_get_device(const ssmrt_module *module, ssmrt_device_info *info) {
  SSMRT_TRY(need(module, info));
  if (!module->onDevice)
    return fail(SSMRT_NOT_FOUND, "module '%s' was not loaded for a device", module->path);
  const Device &device = *module->onDevice->device;
  // Memory transfers twice a clock.
  *info = {device.name,
           device.product,
           device.major,
           device.minor,
           device.multiprocessors,
           1e3 * device.attribute(cuda::kClockRate),
           2e3 * device.attribute(cuda::kMemoryClockRate) *
               (device.attribute(cuda::kMemoryBusWidth) / 8)};
  return SSMRT_OK;
}

ssmrt_status ssmrt_module_get_weight(const ssmrt_module *module, int32_t index,
                                     ssmrt_weight_info *info) {
  SSMRT_TRY(need(module, info));
  SSMRT_TRY(inRange("weight", index, module->description->num_weights));
  const ssm_weight_info &weight = module->description->weights[index];
  *info = {weight.name, findType(weight.type)->dl,      weight.rank, weight.dims, weight.bytes,
           weight.hash, module->weights + weight.offset};
  return SSMRT_OK;
}

/// An error that lists the names there are, as far as there is room.
template <typename T>
static ssmrt_status unknown(const char *what, const char *name, const T *elements, int32_t count) {
  char list[1024] = "none";
  size_t used = 0;
  for (int32_t i = 0; i < count; ++i) {
    size_t length = std::strlen(elements[i].name);
    if (used + length + 8 > sizeof(list)) {
      std::memcpy(list + used, ", ...", 6);
      break;
    }
    if (used) {
      std::memcpy(list + used, ", ", 2);
      used += 2;
    }
    std::memcpy(list + used, elements[i].name, length + 1);
    used += length;
  }
  return fail(SSMRT_NOT_FOUND, "there is no %s '%s'; there are: %s", what, name, list);
}

ssmrt_status ssmrt_module_find_entry(const ssmrt_module *module, const char *name, int32_t *entry) {
  SSMRT_TRY(need(module, entry && name ? entry : nullptr));
  const ssm_module &description = *module->description;
  for (int32_t i = 0; i < description.num_entries; ++i)
    if (!std::strcmp(description.entries[i].name, name)) {
      *entry = i;
      return SSMRT_OK;
    }
  return unknown("entry", name, description.entries, description.num_entries);
}

ssmrt_status ssmrt_module_find_input(const ssmrt_module *module, int32_t entry, const char *name,
                                     int32_t *index) {
  SSMRT_TRY(needEntry(module, entry, index && name ? index : nullptr));
  const ssm_entry &e = module->entry(entry);
  int32_t found = findValue(e.inputs, e.num_inputs, name);
  if (found < 0)
    return unknown("input", name, e.inputs, e.num_inputs);
  *index = found;
  return SSMRT_OK;
}

ssmrt_status ssmrt_module_find_output(const ssmrt_module *module, int32_t entry, const char *name,
                                      int32_t *index) {
  SSMRT_TRY(needEntry(module, entry, index && name ? index : nullptr));
  const ssm_entry &e = module->entry(entry);
  int32_t found = findValue(e.outputs, e.num_outputs, name);
  if (found < 0)
    return unknown("output", name, e.outputs, e.num_outputs);
  *index = found;
  return SSMRT_OK;
}
