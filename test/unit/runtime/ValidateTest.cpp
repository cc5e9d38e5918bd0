//===- ValidateTest.cpp - Descriptions that do not hold together ----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each field of a description is spoiled in a copy; all of them must be refused
// without a crash, and what is accepted must be safe to query.
//
//===----------------------------------------------------------------------===//

#include "Validate.h"
#include "DeviceSupport.h"

#include <functional>

namespace {

/// A copy of the linked module that can be changed all over.
struct Copy {
  ssm_module module = linkedModule;
  std::vector<ssm_entry> entries;
  std::vector<std::vector<ssm_value_info>> inputs, outputs;
  std::vector<std::vector<ssm_state_info>> states;
  std::vector<std::vector<ssm_check_info>> checks;
  std::vector<std::vector<ssm_kernel_info>> kernels;
  std::vector<std::vector<ssm_dim>> dims;
  std::vector<ssm_weight_info> weights;
  std::vector<int64_t> weightDims = {4};
  ssm_module other = linkedModule;
  const ssm_module *versions[1];
  std::vector<ssm_device_kernel> deviceKernels;
  std::vector<ssm_image> images;
  std::vector<int32_t> paramBytes = {8, 4};

  explicit Copy(const ssm_module &device) : Copy() {
    module.device = device.device;
    deviceKernels.assign(device.device_kernels, device.device_kernels + device.num_device_kernels);
    images.assign(device.images, device.images + device.num_images);
    deviceKernels[6].param_bytes = paramBytes.data();
    module.device_kernels = deviceKernels.data();
    module.num_device_kernels = int32_t(deviceKernels.size());
    module.images = images.data();
    module.num_images = int32_t(images.size());
  }

  ssm_module *addVersion(ssm_module *version) {
    versions[0] = version;
    module.versions = versions;
    module.num_versions = 1;
    return version;
  }
  template <typename T>
  const T *keep(std::vector<std::vector<T>> &where, const T *from, int count) {
    where.emplace_back(from, from + count);
    return where.back().data();
  }
  Copy() {
    entries.assign(module.entries, module.entries + module.num_entries);
    for (ssm_entry &entry : entries) {
      entry.inputs = keep(inputs, entry.inputs, entry.num_inputs);
      entry.outputs = keep(outputs, entry.outputs, entry.num_outputs);
      entry.states = keep(states, entry.states, entry.num_states);
      entry.checks = keep(checks, entry.checks, entry.num_checks);
      entry.kernels = keep(kernels, entry.kernels, entry.num_kernels);
    }
    for (auto *lists : {&inputs, &outputs})
      for (auto &list : *lists)
        for (ssm_value_info &value : list)
          value.dims = keep(dims, value.dims, value.rank);
    weights.assign(module.weights, module.weights + module.num_weights);
    weights[0].dims = weightDims.data();
    module.entries = entries.data();
    module.weights = weights.data();
  }
};

} // namespace

static ssmrt_status validate(const Copy &copy) {
  ssmrt_status status = ssmrt::validateVersion(copy.module, "m.so");
  return status ? status : ssmrt::validateModule(copy.module, "m.so");
}

static void expectRefused(const Copy &copy, const char *part, int number) {
  ASSERT_NE(validate(copy), SSMRT_OK) << "case " << number;
  EXPECT_NE(std::string(ssmrt_last_message()).find(part), std::string::npos)
      << "case " << number << ": " << ssmrt_last_message();
}

TEST(Validate, AcceptsTheOriginal) {
  EXPECT_EQ(validate(Copy()), SSMRT_OK) << ssmrt_last_message();
}

TEST(Validate, RefusesEachSpoiledField) {
  using Spoil = std::function<void(Copy &)>;
  struct Case {
    const char *part; // of the message
    Spoil spoil;
  };
  const Case cases[] = {
      {"begins with", [](Copy &c) { c.module.magic ^= 1; }},
      {"ABI version", [](Copy &c) { c.module.abi_version += 1; }},
      {"bytes, expected", [](Copy &c) { c.module.struct_bytes -= 8; }},
      {"producer", [](Copy &c) { c.module.producer = nullptr; }},
      {"features", [](Copy &c) { c.module.features = nullptr; }},
      {"entries", [](Copy &c) { c.module.num_entries = 0; }},
      {"entries", [](Copy &c) { c.module.num_entries = -1; }},
      {"entries", [](Copy &c) { c.module.num_entries = INT32_MAX; }},
      {"entries", [](Copy &c) { c.module.entries = nullptr; }},
      {"no name", [](Copy &c) { c.entries[1].name = nullptr; }},
      {"used twice", [](Copy &c) { c.entries[1].name = "main"; }},
      {"plan", [](Copy &c) { c.entries[1].plan = nullptr; }},
      {"run", [](Copy &c) { c.entries[1].run = nullptr; }},
      {"input", [](Copy &c) { c.entries[0].num_inputs = -3; }},
      {"input", [](Copy &c) { c.entries[0].num_inputs = 1 << 30; }},
      {"missing", [](Copy &c) { c.entries[0].inputs = nullptr; }},
      {"missing", [](Copy &c) { c.entries[0].outputs = nullptr; }},
      {"missing", [](Copy &c) { c.entries[1].states = nullptr; }},
      {"missing", [](Copy &c) { c.entries[1].checks = nullptr; }},
      {"missing", [](Copy &c) { c.entries[0].kernels = nullptr; }},
      {"no name", [](Copy &c) { c.inputs[0][0].name = nullptr; }},
      {"used twice", [](Copy &c) { c.inputs[0][0].name = "y"; }},
      {"element type", [](Copy &c) { c.inputs[0][1].type = 8; }},
      {"element type", [](Copy &c) { c.outputs[0][0].type = 0; }},
      {"rank", [](Copy &c) { c.inputs[0][1].rank = -1; }},
      {"rank", [](Copy &c) { c.inputs[0][1].rank = 17; }},
      {"missing", [](Copy &c) { c.inputs[0][1].dims = nullptr; }},
      {"dimension", [](Copy &c) { c.dims[0][0].value = -2; }},
      {"input out of range", [](Copy &c) { c.states[1][0].input = 3; }},
      {"input out of range", [](Copy &c) { c.states[1][0].input = -1; }},
      {"output out of range", [](Copy &c) { c.states[1][0].output = 3; }},
      {"in two states", [](Copy &c) { c.states[1][1] = c.states[1][0]; }},
      {"another rank", [](Copy &c) { c.states[1][0].output = 2; }},
      {"another type", [](Copy &c) { c.outputs[1][1].type = SSM_TYPE_I32; }},
      {"kind", [](Copy &c) { c.states[1][0].kind = 2; }},
      {"axis", [](Copy &c) { c.states[1][1].axis = 3; }},
      {"axis", [](Copy &c) { c.states[1][1].axis = -1; }},
      {"in place", [](Copy &c) { c.states[1][0].in_place = 2; }},
      {"in place", [](Copy &c) { c.states[1][1].in_place = 1; }},
      {"no text", [](Copy &c) { c.checks[1][0].text = nullptr; }},
      {"no text", [](Copy &c) { c.checks[1][0].node = nullptr; }},
      {"no name", [](Copy &c) { c.kernels[0][0].name = nullptr; }},
      {"weights", [](Copy &c) { c.module.num_weights = -1; }},
      {"weights", [](Copy &c) { c.module.weights = nullptr; }},
      {"file name", [](Copy &c) { c.module.weights_file = nullptr; }},
      {"plain file", [](Copy &c) { c.module.weights_file = "../x"; }},
      {"base", [](Copy &c) { c.module.weights_base = -64; }},
      {"base", [](Copy &c) { c.module.weights_base += 1; }},
      {"base", [](Copy &c) { c.module.weights_base = int64_t(1) << 40; }},
      {"base", [](Copy &c) { c.module.weights_file_bytes = 0; }},
      {"no name", [](Copy &c) { c.weights[0].name = nullptr; }},
      {"element type", [](Copy &c) { c.weights[0].type = 14; }},
      {"rank", [](Copy &c) { c.weights[0].rank = 99; }},
      {"missing", [](Copy &c) { c.weights[0].dims = nullptr; }},
      {"shape", [](Copy &c) { c.weightDims[0] = -4; }},
      {"shape", [](Copy &c) { c.weightDims[0] = INT64_MAX; }},
      {"shape", [](Copy &c) { c.weights[0].bytes = 15; }},
      {"multiple of 64", [](Copy &c) { c.weights[0].offset = -64; }},
      {"multiple of 64", [](Copy &c) { c.weights[0].offset = 8; }},
      {"beyond", [](Copy &c) { c.weights[0].offset = 64; }},
      {"beyond", [](Copy &c) { c.weights[0].offset = INT64_MAX - 63; }},
      {"versions", [](Copy &c) { c.module.num_versions = -1; }},
      {"missing", [](Copy &c) { c.module.num_versions = 2; }},
      {"none at", [](Copy &c) { c.addVersion(nullptr); }},
      {"ABI version", [](Copy &c) { c.addVersion(&c.other)->abi_version = 1; }},
      {"features", [](Copy &c) { c.addVersion(&c.other)->features = nullptr; }},
      {"of its own", [](Copy &c) { c.addVersion(&c.other)->num_versions = 1; }},
  };
  int number = 0;
  for (const Case &test : cases) {
    Copy copy;
    test.spoil(copy);
    expectRefused(copy, test.part, number++);
  }
}

TEST(Validate, RefusesEachSpoiledFieldOfADevice) {
  using Spoil = std::function<void(Copy &)>;
  struct Case {
    const char *part; // of the message
    Spoil spoil;
  };
  static const char text[] = "PTX";
  const Case cases[] = {
      {"device is empty", [](Copy &c) { c.module.device = ""; }},
      {"for no device", [](Copy &c) { c.module.device = nullptr; }},
      {"device kernels", [](Copy &c) { c.module.num_device_kernels = -1; }},
      {"device kernels", [](Copy &c) { c.module.num_device_kernels = INT32_MAX; }},
      {"missing", [](Copy &c) { c.module.device_kernels = nullptr; }},
      {"images", [](Copy &c) { c.module.num_images = -1; }},
      {"missing", [](Copy &c) { c.module.images = nullptr; }},
      {"none has", [](Copy &c) { c.module.num_images = 0; }},
      {"no name", [](Copy &c) { c.deviceKernels[1].name = nullptr; }},
      {"no name", [](Copy &c) { c.deviceKernels[1].name = ""; }},
      {"used twice", [](Copy &c) { c.deviceKernels[1].name = "twice"; }},
      {"threads", [](Copy &c) { c.deviceKernels[0].max_threads = 0; }},
      {"threads", [](Copy &c) { c.deviceKernels[0].max_threads = 1025; }},
      {"shared", [](Copy &c) { c.deviceKernels[0].dynamic_shared = -1; }},
      {"shared", [](Copy &c) { c.deviceKernels[0].dynamic_shared = INT32_MAX; }},
      {"flags", [](Copy &c) { c.deviceKernels[0].flags = 16; }},
      {"parameters", [](Copy &c) { c.deviceKernels[6].num_params = -1; }},
      {"parameters", [](Copy &c) { c.deviceKernels[6].num_params = INT32_MAX; }},
      {"missing", [](Copy &c) { c.deviceKernels[6].param_bytes = nullptr; }},
      {"a parameter", [](Copy &c) { c.paramBytes[1] = 0; }},
      {"a parameter", [](Copy &c) { c.paramBytes[1] = INT32_MAX; }},
      {"too large", [](Copy &c) { c.paramBytes = {32000, 1000}; }},
      {"no chip", [](Copy &c) { c.images[0].chip = nullptr; }},
      {"no chip", [](Copy &c) { c.images[0].chip = "gfx90a"; }},
      {"kind of chip", [](Copy &c) { c.images[0].chip = "sm_9"; }},
      {"kind of chip", [](Copy &c) { c.images[0].chip = "sm_90ab"; }},
      {"kind of chip", [](Copy &c) { c.images[0].chip = "sm_90x"; }},
      {"kind of chip", [](Copy &c) { c.images[0].chip = "sm_12345"; }},
      {"unknown kind", [](Copy &c) { c.images[0].kind = 0; }},
      {"unknown kind", [](Copy &c) { c.images[0].kind = 3; }},
      {"empty", [](Copy &c) { c.images[0].bytes = 0; }},
      {"empty", [](Copy &c) { c.images[0].data = nullptr; }},
      {"NUL", [](Copy &c) { c.images[0].data = text, c.images[0].bytes = 3; }},
  };
  int number = 0;
  for (const Case &test : cases) {
    Copy copy(deviceModule);
    ASSERT_EQ(validate(copy), SSMRT_OK) << ssmrt_last_message();
    test.spoil(copy);
    expectRefused(copy, test.part, number++);
  }
}

TEST(Validate, AcceptsVersions) {
  Copy copy;
  copy.addVersion(&copy.other);
  EXPECT_EQ(validate(copy), SSMRT_OK) << ssmrt_last_message();
}

TEST(Validate, StateOutputOfAnotherFixedSize) {
  Copy copy;
  ssm_dim other[2] = {{-1, "batch"}, {5, nullptr}};
  copy.outputs[1][1].dims = other;
  EXPECT_EQ(validate(copy), SSMRT_BAD_FILE);
}
