//===- Support.cpp - What the parts of ssm-run share ----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sys/stat.h>

using namespace ssmrun;

DLTensor HostTensor::view() const {
  DLTensor tensor;
  std::memset(&tensor, 0, sizeof(tensor));
  tensor.data = const_cast<uint8_t *>(bytes.data());
  tensor.device.device_type = kDLCPU;
  tensor.ndim = int32_t(shape.size());
  tensor.dtype = type;
  tensor.shape = const_cast<int64_t *>(shape.data());
  return tensor;
}

std::string ssmrun::typeName(DLDataType type) {
  switch (type.code) {
  case 0:
    return "int" + std::to_string(type.bits);
  case 1:
    return "uint" + std::to_string(type.bits);
  case 2:
    return "float" + std::to_string(type.bits);
  case 4:
    return "bfloat" + std::to_string(type.bits);
  case 10:
    return "float8_e4m3fn";
  case 12:
    return "float8_e5m2";
  default:
    return "bool";
  }
}

int64_t ssmrun::countOf(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(count, size, &count) || count > (int64_t(1) << 40))
      throw Error("a shape with the size " + std::to_string(size) + " is negative or too large");
  return count;
}

HostTensor ssmrun::copyOf(const std::string &name, const DLTensor &tensor) {
  HostTensor copy{name, tensor.dtype, {tensor.shape, tensor.shape + tensor.ndim}, {}};
  auto *from = static_cast<const uint8_t *>(tensor.data) + tensor.byte_offset;
  copy.bytes.assign(from, from + countOf(copy.shape) * (tensor.dtype.bits / 8));
  return copy;
}

std::string ssmrun::shapeText(const ssmrt_value_info &info) {
  std::string text = "[";
  for (int32_t axis = 0; axis < info.rank; ++axis) {
    const ssmrt_dim &dim = info.dims[axis];
    text += axis ? ", " : "";
    text += dim.size >= 0 ? std::to_string(dim.size) : dim.symbol ? dim.symbol : "?";
  }
  return text + "]";
}

std::pair<std::string, std::string> ssmrun::splitPair(const std::string &text, const char *flag) {
  size_t at = text.rfind('=');
  if (at == std::string::npos || at == 0 || at + 1 == text.size())
    throw Error(std::string(flag) + " '" + text + "': expected NAME=VALUE");
  return {text.substr(0, at), text.substr(at + 1)};
}

int64_t ssmrun::toInteger(const std::string &text, const std::string &what) {
  char *end = nullptr;
  errno = 0;
  long long value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end || errno)
    throw Error(what + ": '" + text + "' is not a whole number");
  return value;
}

std::set<int32_t> ssmrun::stateInputs(const ssmrt_module *module, int32_t entry) {
  ssmrt_entry_info info;
  check(ssmrt_module_get_entry(module, entry, &info));
  std::set<int32_t> inputs;
  for (int32_t i = 0; i < info.num_states; ++i) {
    ssmrt_state_info state;
    check(ssmrt_module_get_state(module, entry, i, &state));
    inputs.insert(state.input);
  }
  return inputs;
}

Sizes::Sizes(const Options &options, const ssmrt_module *module, int32_t entry,
             const std::set<int32_t> &without, bool strict) {
  ssmrt_entry_info info;
  check(ssmrt_module_get_entry(module, entry, &info));
  std::vector<std::string> known;
  auto has = [](const std::vector<std::string> &list, const std::string &name) {
    return std::find(list.begin(), list.end(), name) != list.end();
  };
  for (int32_t i = 0; i < info.num_inputs; ++i) {
    ssmrt_value_info input;
    check(ssmrt_module_get_input(module, entry, i, &input));
    for (int32_t axis = 0; axis < input.rank; ++axis) {
      const ssmrt_dim &dim = input.dims[axis];
      if (dim.size >= 0)
        continue;
      std::string own = std::string(input.name) + ":" + std::to_string(axis);
      std::string name = dim.symbol ? dim.symbol : own;
      if (!has(known, name))
        known.push_back(name);
      if (!without.count(i) && !has(open, name))
        open.push_back(name);
    }
  }
  for (const std::string &text : options.dim) {
    auto [name, value] = splitPair(text, "--dim");
    if (!has(known, name)) {
      if (!strict)
        continue;
      std::string list;
      for (const std::string &other : known)
        list += (list.empty() ? "" : ", ") + other;
      throw Error("--dim '" + text + "': entry '" + info.name +
                  "' has no open size of this name; there are: " + (list.empty() ? "none" : list));
    }
    int64_t size = toInteger(value, "--dim '" + text + "'");
    if (size < 0)
      throw Error("--dim '" + text + "': a size is not negative");
    sizes[name] = size;
  }
}

std::vector<std::string> Sizes::fill(int64_t size) {
  std::vector<std::string> filled;
  for (const std::string &name : open)
    if (sizes.emplace(name, size).second)
      filled.push_back(name);
  return filled;
}

std::vector<ssmrt_size> Sizes::view() const {
  std::vector<ssmrt_size> list;
  for (const auto &[name, size] : sizes)
    list.push_back({name.c_str(), size});
  return list;
}

/// Whether two paths name one file; those of files that are yet to be are compared as they are.
static bool areOneFile(const std::string &a, const std::string &b) {
  struct stat one, two;
  if (stat(a.c_str(), &one) == 0 && stat(b.c_str(), &two) == 0)
    return one.st_dev == two.st_dev && one.st_ino == two.st_ino && S_ISREG(one.st_mode);
  return a == b;
}

void ssmrun::checkWritten(const Module &module, const std::vector<std::string> &used,
                          const std::vector<Written> &files) {
  ssmrt_module_info info;
  check(ssmrt_module_get_info(module.get(), &info));
  std::vector<std::string> kept = used;
  kept.push_back(info.path);
  kept.push_back(info.weights_path ? info.weights_path : "");
  for (size_t i = 0; i < files.size(); ++i) {
    if (files[i].path.empty())
      continue;
    std::string what = std::string(files[i].flag) + " '" + files[i].path + "'";
    for (const std::string &other : kept)
      if (!other.empty() && areOneFile(files[i].path, other))
        throw Error(what + " would overwrite '" + other + "', which this command reads");
    for (size_t j = 0; j < i; ++j)
      if (areOneFile(files[i].path, files[j].path))
        throw Error(what + " would overwrite what " + files[j].flag + " writes");
  }
}

void ssmrun::flushOutput() {
  errno = 0;
  std::cout.flush();
  if (!std::cout || std::fflush(stdout) != 0 || std::ferror(stdout))
    throw Error(std::string("cannot write to the standard output") +
                (errno ? std::string(": ") + std::strerror(errno) : ""));
}

static ssmrt_status tryLoad(const std::string &path, const std::string &weights,
                            const std::string &device, ssmrt_module **module) {
  ssmrt_load_options *settings;
  check(ssmrt_load_options_create(&settings));
  std::unique_ptr<ssmrt_load_options, void (*)(ssmrt_load_options *)> owned(
      settings, ssmrt_load_options_destroy);
  if (!weights.empty())
    check(ssmrt_load_options_set_weights_file(settings, weights.c_str()));
  if (!device.empty())
    check(ssmrt_load_options_set_device(settings, device.c_str()));
  return ssmrt_module_load(path.c_str(), settings, module);
}

Module ssmrun::load(const std::string &path, const std::string &weights,
                    const std::string &device) {
  ssmrt_module *module = nullptr;
  check(tryLoad(path, weights, device, &module));
  return {module, ssmrt_module_release};
}

Module ssmrun::loadToDescribe(const std::string &path, const std::string &weights,
                              const std::string &device) {
  ssmrt_module *module = nullptr;
  ssmrt_status status = tryLoad(path, weights, device, &module);
  // What a module has can be told where its GPU is not: none, another chip, no memory. A CPU that
  // lacks something could not run its code at all; the status alone does not tell these apart.
  bool isOtherChip =
      status == SSMRT_UNSUPPORTED && std::strstr(ssmrt_last_message(), "has kernels for");
  bool isNotHere = status == SSMRT_NO_DEVICE || status == SSMRT_DEVICE_FAILED ||
                   status == SSMRT_OUT_OF_MEMORY;
  if (device.empty() && (isOtherChip || isNotHere))
    status = tryLoad(path, weights, "none", &module);
  check(status);
  return {module, ssmrt_module_release};
}
