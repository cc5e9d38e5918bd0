//===- Support.h - What the runtime's tests share ---------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_TEST_SUPPORT_H
#define SSMRT_TEST_SUPPORT_H

#include "ssmrt/module_abi.h"
#include "ssmrt/ssmrt.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <unistd.h>
#include <vector>

/// The module that is linked into the test.
extern const ssm_module linkedModule __asm__(SSM_MODULE_SYMBOL);

template <typename T> DLDataType typeOf();
template <> inline DLDataType typeOf<float>() { return {2, 32, 1}; }
template <> inline DLDataType typeOf<double>() { return {2, 64, 1}; }
template <> inline DLDataType typeOf<int32_t>() { return {0, 32, 1}; }
template <> inline DLDataType typeOf<int64_t>() { return {0, 64, 1}; }
template <> inline DLDataType typeOf<uint8_t>() { return {6, 8, 1}; } // bool

/// A tensor that owns its memory.
template <typename T> struct Tensor {
  std::vector<int64_t> shape;
  std::vector<T> values;
  DLTensor view;

  Tensor(std::vector<int64_t> dims, std::vector<T> data)
      : shape(std::move(dims)), values(std::move(data)) {
    std::memset(&view, 0, sizeof(view));
    view.data = values.data();
    view.device.device_type = kDLCPU;
    view.ndim = int32_t(shape.size());
    view.dtype = typeOf<T>();
    view.shape = shape.data();
  }
  Tensor(const Tensor &) = delete;
};

template <typename T> std::vector<T> valuesOf(const DLTensor &tensor) {
  int64_t count = 1;
  for (int32_t i = 0; i < tensor.ndim; ++i)
    count *= tensor.shape[i];
  auto *data =
      reinterpret_cast<const T *>(static_cast<const char *>(tensor.data) + tensor.byte_offset);
  return std::vector<T>(data, data + count);
}

inline std::vector<int64_t> shapeOf(const DLTensor &tensor) {
  return {tensor.shape, tensor.shape + tensor.ndim};
}

inline std::vector<float> randomFloats(std::mt19937 &random, size_t count) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float &value : values)
    value = uniform(random);
  return values;
}

/// A generator seeded anew in each run; the seed goes to the test's output.
inline std::mt19937 freshRandom() {
  unsigned seed = std::random_device()();
  std::cout << "seed " << seed << "\n";
  return std::mt19937(seed);
}

inline std::string testFile(const char *name) { return std::string(TEST_FILES "/") + name; }

inline std::string readAll(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// A file of its own in the temporary folder, removed at the end.
struct TemporaryFile {
  std::string path;

  explicit TemporaryFile(const std::string &bytes = "") {
    static int counter = 0;
    path = testing::TempDir() + "ssmrt-test-" + std::to_string(getpid()) + "-" +
           std::to_string(counter++);
    write(bytes);
  }
  ~TemporaryFile() { unlink(path.c_str()); }
  void write(const std::string &bytes) const { std::ofstream(path, std::ios::binary) << bytes; }
};

using Module = std::unique_ptr<ssmrt_module, void (*)(ssmrt_module *)>;
using Session = std::unique_ptr<ssmrt_session, void (*)(ssmrt_session *)>;
using SessionOptions = std::unique_ptr<ssmrt_session_options, void (*)(ssmrt_session_options *)>;

inline Module loadModule(const std::string &path = testFile("TestModule.so")) {
  ssmrt_module *module = nullptr;
  EXPECT_EQ(ssmrt_module_load(path.c_str(), nullptr, &module), SSMRT_OK) << ssmrt_last_message();
  return {module, ssmrt_module_release};
}

inline SessionOptions makeOptions() {
  ssmrt_session_options *options = nullptr;
  EXPECT_EQ(ssmrt_session_options_create(&options), SSMRT_OK);
  return {options, ssmrt_session_options_destroy};
}

inline Session makeSession(ssmrt_module *module, const char *entry,
                           const ssmrt_session_options *options = nullptr) {
  ssmrt_session *session = nullptr;
  EXPECT_EQ(ssmrt_session_create(module, entry, options, &session), SSMRT_OK)
      << ssmrt_last_message();
  return {session, ssmrt_session_destroy};
}

/// A session that carries its states.
inline Session makeCarrying(ssmrt_module *module, const char *entry = "step") {
  SessionOptions options = makeOptions();
  EXPECT_EQ(ssmrt_session_options_set_carry_states(options.get(), 1), SSMRT_OK);
  return makeSession(module, entry, options.get());
}

inline DLTensor outputOf(const Session &session, int32_t index) {
  DLTensor tensor = {};
  EXPECT_EQ(ssmrt_session_get_output(session.get(), index, &tensor), SSMRT_OK)
      << ssmrt_last_message();
  return tensor;
}

/// Expects a status and that the message has all of these parts.
inline void expectFailure(ssmrt_status status, ssmrt_status expected,
                          std::initializer_list<const char *> parts) {
  EXPECT_EQ(status, expected) << ssmrt_last_message();
  if (status == SSMRT_OK)
    return;
  std::string message = ssmrt_last_message();
  for (const char *part : parts)
    EXPECT_NE(message.find(part), std::string::npos) << "no \"" << part << "\" in: " << message;
}

#endif // SSMRT_TEST_SUPPORT_H
