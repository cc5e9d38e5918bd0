//===- Validate.cpp - Whether a module's description holds together -------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Validate.h"

#include "Memory.h"
#include "Status.h"
#include "Types.h"

#include <cstring>

using namespace ssmrt;

// Far above any model, and low enough that no sum of them overflows.
static constexpr int32_t maxCount = 1 << 20;

namespace {

/// Where a check stands, for its message.
struct Checker {
  const char *path;
  const char *entry = "";

  ssmrt_status bad(const char *what, const char *name, const char *problem, long long value) const {
    return fail(SSMRT_BAD_FILE, "module '%s': %s%s%s%s '%s': %s (%lld)", path,
                *entry ? "entry '" : "", entry, *entry ? "', " : "", what, name, problem, value);
  }

  ssmrt_status list(const char *what, int32_t count, const void *elements) {
    if (count < 0 || count > maxCount)
      return bad("list", what, "number of elements out of range", count);
    if (count > 0 && !elements)
      return bad("list", what, "is missing, number of elements", count);
    return SSMRT_OK;
  }

  ssmrt_status uniqueNames(const char *what, Array<const char *> &names);
  ssmrt_status value(const char *what, const ssm_value_info &info);
  ssmrt_status values(const char *what, int32_t count, const ssm_value_info *infos);
  ssmrt_status state(const ssm_entry &e, const ssm_state_info &info);
  ssmrt_status states(const ssm_entry &e);
  ssmrt_status entryOf(const ssm_entry &e);
  ssmrt_status weights(const ssm_module &module);
  ssmrt_status versions(const ssm_module &module);
  ssmrt_status deviceKernel(const ssm_device_kernel &kernel);
  ssmrt_status image(const ssm_image &image, int32_t index);
  ssmrt_status device(const ssm_module &module);
};

} // namespace

static int compareNames(const void *left, const void *right) {
  return std::strcmp(*static_cast<const char *const *>(left),
                     *static_cast<const char *const *>(right));
}

ssmrt_status Checker::uniqueNames(const char *what, Array<const char *> &names) {
  if (names.size())
    std::qsort(names.data(), names.size(), sizeof(char *), compareNames);
  for (size_t i = 1; i < names.size(); ++i)
    if (!std::strcmp(names[i - 1], names[i]))
      return bad(what, names[i], "name is used twice", 2);
  return SSMRT_OK;
}

ssmrt_status Checker::value(const char *what, const ssm_value_info &info) {
  if (!info.name || !*info.name)
    return bad(what, "", "has no name", 0);
  if (!findType(info.type))
    return bad(what, info.name, "unknown element type", info.type);
  if (info.rank < 0 || info.rank > SSM_ABI_MAX_RANK)
    return bad(what, info.name, "rank out of range", info.rank);
  if (info.rank > 0 && !info.dims)
    return bad(what, info.name, "dimensions are missing, rank", info.rank);
  for (int32_t axis = 0; axis < info.rank; ++axis)
    if (info.dims[axis].value < -1)
      return bad(what, info.name, "dimension out of range", info.dims[axis].value);
  return SSMRT_OK;
}

ssmrt_status Checker::values(const char *what, int32_t count, const ssm_value_info *infos) {
  SSMRT_TRY(list(what, count, infos));
  Array<const char *> names;
  for (int32_t i = 0; i < count; ++i) {
    SSMRT_TRY(value(what, infos[i]));
    if (!names.push(infos[i].name))
      return outOfMemory("names", count);
  }
  return uniqueNames(what, names);
}

ssmrt_status Checker::state(const ssm_entry &e, const ssm_state_info &info) {
  if (info.input < 0 || info.input >= e.num_inputs)
    return bad("list", "states", "input out of range", info.input);
  const ssm_value_info &in = e.inputs[info.input];
  if (info.output < 0 || info.output >= e.num_outputs)
    return bad("state", in.name, "output out of range", info.output);
  const ssm_value_info &out = e.outputs[info.output];
  if (in.type != out.type)
    return bad("state", in.name, "its output has another type", out.type);
  if (in.rank != out.rank)
    return bad("state", in.name, "its output has another rank", out.rank);
  if (info.kind != SSM_STATE_FIXED && info.kind != SSM_STATE_APPEND)
    return bad("state", in.name, "unknown kind", info.kind);
  bool appends = info.kind == SSM_STATE_APPEND;
  if (info.in_place < 0 || info.in_place > (appends ? 0 : 1))
    return bad("state", in.name, "cannot be in place", info.in_place);
  if (appends && (info.axis < 0 || info.axis >= in.rank))
    return bad("state", in.name, "axis out of range", info.axis);
  for (int32_t axis = 0; axis < in.rank; ++axis) {
    int64_t before = in.dims[axis].value, after = out.dims[axis].value;
    if (before >= 0 && after >= 0 && before != after)
      return bad("state", in.name, "its output has another size on axis", axis);
  }
  return SSMRT_OK;
}

ssmrt_status Checker::states(const ssm_entry &e) {
  SSMRT_TRY(list("states", e.num_states, e.states));
  Array<bool> inputs, outputs;
  if (!inputs.resize(size_t(e.num_inputs)) || !outputs.resize(size_t(e.num_outputs)))
    return outOfMemory("states", e.num_states);
  for (int32_t i = 0; i < e.num_states; ++i) {
    const ssm_state_info &info = e.states[i];
    SSMRT_TRY(state(e, info));
    const char *name = e.inputs[info.input].name;
    if (inputs[size_t(info.input)] || outputs[size_t(info.output)])
      return bad("state", name, "input or output is in two states", i);
    inputs[size_t(info.input)] = outputs[size_t(info.output)] = true;
  }
  return SSMRT_OK;
}

ssmrt_status Checker::entryOf(const ssm_entry &e) {
  SSMRT_TRY(values("input", e.num_inputs, e.inputs));
  SSMRT_TRY(values("output", e.num_outputs, e.outputs));
  SSMRT_TRY(states(e));
  SSMRT_TRY(list("checks", e.num_checks, e.checks));
  for (int32_t i = 0; i < e.num_checks; ++i)
    if (!e.checks[i].node || !e.checks[i].text)
      return bad("list", "checks", "no text at", i);
  SSMRT_TRY(list("kernels", e.num_kernels, e.kernels));
  for (int32_t i = 0; i < e.num_kernels; ++i)
    if (!e.kernels[i].name)
      return bad("list", "kernels", "no name at", i);
  if (!e.plan || !e.run)
    return bad("function", e.plan ? "run" : "plan", "is missing", 0);
  return SSMRT_OK;
}

ssmrt_status Checker::weights(const ssm_module &module) {
  SSMRT_TRY(list("weights", module.num_weights, module.weights));
  if (module.num_weights && !module.embedded_weights) {
    const char *file = module.weights_file;
    if (!file || !*file)
      return bad("list", "weights", "no file name", 0);
    if (std::strchr(file, '/') || std::strchr(file, '\\'))
      return bad("weights file", file, "is not a plain file name", 0);
    if (module.weights_base < 0 || module.weights_base % 64 ||
        module.weights_base > module.weights_file_bytes)
      return bad("weights file", file, "base out of range", module.weights_base);
  }
  int64_t room =
      module.embedded_weights ? INT64_MAX : module.weights_file_bytes - module.weights_base;
  for (int32_t i = 0; i < module.num_weights; ++i) {
    const ssm_weight_info &info = module.weights[i];
    if (!info.name)
      return bad("list", "weights", "no name at", i);
    const TypeInfo *type = findType(info.type);
    if (!type)
      return bad("weight", info.name, "unknown element type", info.type);
    if (info.rank < 0 || info.rank > SSM_ABI_MAX_RANK)
      return bad("weight", info.name, "rank out of range", info.rank);
    if (info.rank > 0 && !info.dims)
      return bad("weight", info.name, "dimensions are missing, rank", info.rank);
    int64_t bytes;
    if (!byteSize(info.dims, info.rank, type->bytes, &bytes) || bytes != info.bytes)
      return bad("weight", info.name, "bytes do not fit its shape", info.bytes);
    if (info.offset < 0 || info.offset % 64)
      return bad("weight", info.name, "offset is not a multiple of 64", info.offset);
    if (bytes > room || info.offset > room - bytes)
      return bad("weight", info.name, "ends beyond the file, offset", info.offset);
  }
  return SSMRT_OK;
}

ssmrt_status Checker::deviceKernel(const ssm_device_kernel &kernel) {
  if (kernel.max_threads < 1 || kernel.max_threads > 1024)
    return bad("device kernel", kernel.name, "threads out of range", kernel.max_threads);
  if (kernel.dynamic_shared < 0 || kernel.dynamic_shared > maxCount)
    return bad("device kernel", kernel.name, "shared memory out of range", kernel.dynamic_shared);
  if (kernel.flags & ~(SSM_KERNEL_OVERLAPS | SSM_KERNEL_PERSISTENT | SSM_KERNEL_READS_EARLY |
                       SSM_KERNEL_CLUSTERS))
    return bad("device kernel", kernel.name, "unknown flags", kernel.flags);
  // What the hardware has room for.
  constexpr int32_t most = 32764;
  if (kernel.num_params < 0 || kernel.num_params > most)
    return bad("device kernel", kernel.name, "number of parameters out of range",
               kernel.num_params);
  if (kernel.num_params && !kernel.param_bytes)
    return bad("device kernel", kernel.name, "sizes of parameters are missing",
               kernel.num_params);
  int32_t total = 0;
  for (int32_t i = 0; i < kernel.num_params; ++i) {
    if (kernel.param_bytes[i] < 1 || kernel.param_bytes[i] > most)
      return bad("device kernel", kernel.name, "size of a parameter out of range",
                 kernel.param_bytes[i]);
    total += kernel.param_bytes[i];
    if (total > most)
      return bad("device kernel", kernel.name, "parameters are too large", total);
  }
  return SSMRT_OK;
}

ssmrt_status Checker::image(const ssm_image &image, int32_t index) {
  if (!image.chip || std::strncmp(image.chip, "sm_", 3))
    return bad("list", "images", "no chip at", index);
  // "sm_90", "sm_120a"
  size_t digits = std::strspn(image.chip + 3, "0123456789");
  const char *suffix = image.chip + 3 + digits;
  if (digits < 2 || digits > 3 || (*suffix && (!std::strchr("af", *suffix) || suffix[1])))
    return bad("image", image.chip, "is for no known kind of chip", index);
  if (image.kind != SSM_IMAGE_CUBIN && image.kind != SSM_IMAGE_PTX)
    return bad("image", image.chip, "unknown kind", image.kind);
  if (image.bytes < 1 || !image.data)
    return bad("image", image.chip, "is empty", image.bytes);
  if (image.kind == SSM_IMAGE_PTX && static_cast<const char *>(image.data)[image.bytes - 1])
    return bad("image", image.chip, "does not end in NUL", image.bytes);
  return SSMRT_OK;
}

ssmrt_status Checker::device(const ssm_module &module) {
  if (module.device && !*module.device)
    return bad("list", "texts", "device is empty", 0);
  SSMRT_TRY(list("device kernels", module.num_device_kernels, module.device_kernels));
  SSMRT_TRY(list("images", module.num_images, module.images));
  if (!module.device && (module.num_device_kernels || module.num_images))
    return bad("list", "device kernels", "there are some for no device", module.num_device_kernels);
  if (module.num_device_kernels && !module.num_images)
    return bad("list", "images", "none has the kernels", module.num_device_kernels);
  Array<const char *> names;
  for (int32_t i = 0; i < module.num_device_kernels; ++i) {
    const ssm_device_kernel &kernel = module.device_kernels[i];
    if (!kernel.name || !*kernel.name)
      return bad("list", "device kernels", "no name at", i);
    if (!names.push(kernel.name))
      return outOfMemory("names", module.num_device_kernels);
    SSMRT_TRY(deviceKernel(kernel));
  }
  SSMRT_TRY(uniqueNames("device kernel", names));
  for (int32_t i = 0; i < module.num_images; ++i)
    SSMRT_TRY(image(module.images[i], i));
  return SSMRT_OK;
}

ssmrt_status Checker::versions(const ssm_module &module) {
  SSMRT_TRY(list("versions", module.num_versions, module.versions));
  for (int32_t i = 0; i < module.num_versions; ++i) {
    if (!module.versions[i])
      return bad("list", "versions", "none at", i);
    SSMRT_TRY(validateVersion(*module.versions[i], path));
    if (module.versions[i]->num_versions)
      return bad("list", "versions", "one has versions of its own, number", i);
    SSMRT_TRY(validateModule(*module.versions[i], path));
  }
  return SSMRT_OK;
}

ssmrt_status ssmrt::validateVersion(const ssm_module &module, const char *path) {
  if (module.magic != SSM_MODULE_MAGIC)
    return fail(SSMRT_BAD_FILE, "module '%s': its description begins with %08x, expected %08x",
                path, module.magic, SSM_MODULE_MAGIC);
  if (module.abi_version != SSM_MODULE_ABI_VERSION)
    return fail(SSMRT_UNSUPPORTED,
                "module '%s' has ABI version %u, this runtime has %u: compile "
                "the model again",
                path, module.abi_version, SSM_MODULE_ABI_VERSION);
  if (module.struct_bytes != sizeof(ssm_module))
    return fail(SSMRT_BAD_FILE, "module '%s': its description has %u bytes, expected %u", path,
                module.struct_bytes, unsigned(sizeof(ssm_module)));
  return SSMRT_OK;
}

ssmrt_status ssmrt::validateModule(const ssm_module &module, const char *path) {
  Checker check{path};
  const char *texts[] = {module.producer, module.options, module.target, module.cpu,
                         module.features};
  for (const char *text : texts)
    if (!text)
      return check.bad("list", "texts",
                       "producer, options, target, cpu or "
                       "features is missing",
                       0);
  if (module.num_entries < 1)
    return check.bad("list", "entries", "number of elements out of range", module.num_entries);
  SSMRT_TRY(check.list("entries", module.num_entries, module.entries));
  Array<const char *> names;
  for (int32_t i = 0; i < module.num_entries; ++i) {
    const ssm_entry &entry = module.entries[i];
    if (!entry.name || !*entry.name)
      return check.bad("list", "entries", "no name at", i);
    if (!names.push(entry.name))
      return outOfMemory("names", module.num_entries);
    check.entry = entry.name;
    SSMRT_TRY(check.entryOf(entry));
    check.entry = "";
  }
  SSMRT_TRY(check.uniqueNames("entry", names));
  SSMRT_TRY(check.weights(module));
  SSMRT_TRY(check.device(module));
  return check.versions(module);
}
