//===- ModelBuilder.h - Writes small ONNX files -----------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_TEST_UNIT_READER_MODELBUILDER_H
#define SSM_TEST_UNIT_READER_MODELBUILDER_H

#include "lib/Import/Reader/ModelReader.h"
#include "lib/Import/Reader/WeightSource.h"
#include <gtest/gtest.h>
#include <protozero/pbf_writer.hpp>

namespace ssm::onnx::test {

using Bytes = std::string;
using Names = std::vector<std::string>;
using Dims = std::vector<int64_t>;

inline Bytes message(const std::function<void(protozero::pbf_writer &)> &fill) {
  Bytes bytes;
  protozero::pbf_writer writer(bytes);
  fill(writer);
  return bytes;
}

inline Bytes valueInfo(const std::string &name, int32_t type = 1, const Dims &dims = {2}) {
  Bytes shape = message([&](auto &w) {
    for (int64_t dim : dims)
      w.add_message(1, message([&](auto &d) { d.add_int64(1, dim); }));
  });
  Bytes tensor = message([&](auto &w) {
    w.add_int32(1, type);
    w.add_message(2, shape);
  });
  return message([&](auto &w) {
    w.add_string(1, name);
    w.add_message(2, message([&](auto &t) { t.add_message(1, tensor); }));
  });
}

inline Bytes graphAttribute(const std::string &name, const Bytes &graph) {
  return message([&](auto &w) {
    w.add_string(1, name);
    w.add_int32(20, 5);
    w.add_message(6, graph);
  });
}

inline Bytes intAttribute(const std::string &name, int64_t value) {
  return message([&](auto &w) {
    w.add_string(1, name);
    w.add_int32(20, 2);
    w.add_int64(3, value);
  });
}

inline Bytes node(const std::string &op, const Names &inputs, const Names &outputs,
                  const std::vector<Bytes> &attributes = {}, const std::string &name = "",
                  const std::string &domain = "") {
  return message([&](auto &w) {
    for (const std::string &input : inputs)
      w.add_string(1, input);
    for (const std::string &output : outputs)
      w.add_string(2, output);
    w.add_string(3, name);
    w.add_string(4, op);
    for (const Bytes &attribute : attributes)
      w.add_message(5, attribute);
    w.add_string(7, domain);
  });
}

/// A TensorProto without data; `fill` adds it.
inline Bytes tensor(const std::string &name, int32_t type, const Dims &dims,
                    const std::function<void(protozero::pbf_writer &)> &fill) {
  return message([&](auto &w) {
    for (int64_t dim : dims)
      w.add_int64(1, dim);
    w.add_int32(2, type);
    w.add_string(8, name);
    fill(w);
  });
}

inline Bytes rawTensor(const std::string &name, int32_t type, const Dims &dims, const Bytes &raw) {
  return tensor(name, type, dims, [&](auto &w) { w.add_bytes(9, raw); });
}

inline Bytes externalTensor(const std::string &name, const Dims &dims,
                            const std::vector<std::pair<std::string, std::string>> &entries) {
  return tensor(name, 1, dims, [&](auto &w) {
    w.add_int32(14, 1);
    for (auto &[key, value] : entries)
      w.add_message(13, message([&, k = key, v = value](auto &e) {
                      e.add_string(1, k);
                      e.add_string(2, v);
                    }));
  });
}

inline Bytes sparseTensor(const Bytes &values, const Bytes &indices, const Dims &dims) {
  return message([&](auto &w) {
    w.add_message(1, values);
    w.add_message(2, indices);
    w.add_packed_int64(3, dims.begin(), dims.end());
  });
}

struct GraphSpec {
  std::vector<Bytes> nodes;
  std::vector<Bytes> inputs;
  std::vector<Bytes> outputs;
  std::vector<Bytes> initializers;
  std::vector<Bytes> sparseInitializers;
  std::string name = "main";
};

inline Bytes graph(const GraphSpec &spec) {
  return message([&](auto &w) {
    w.add_string(2, spec.name);
    for (const Bytes &part : spec.nodes)
      w.add_message(1, part);
    for (const Bytes &part : spec.initializers)
      w.add_message(5, part);
    for (const Bytes &part : spec.sparseInitializers)
      w.add_message(15, part);
    for (const Bytes &part : spec.inputs)
      w.add_message(11, part);
    for (const Bytes &part : spec.outputs)
      w.add_message(12, part);
  });
}

inline Bytes opset(const std::string &domain, int64_t version) {
  return message([&](auto &w) {
    w.add_string(1, domain);
    w.add_int64(2, version);
  });
}

struct ModelSpec {
  int64_t irVersion = 8;
  std::vector<Bytes> opsets = {opset("", 17)};
  std::vector<Bytes> functions;
};

inline Bytes model(const Bytes &graph, const ModelSpec &spec = {}) {
  return message([&](auto &w) {
    w.add_int64(1, spec.irVersion);
    for (const Bytes &part : spec.opsets)
      w.add_message(8, part);
    for (const Bytes &part : spec.functions)
      w.add_message(25, part);
    w.add_message(7, graph);
  });
}

inline Bytes function(const std::string &name, const Names &inputs, const Names &outputs,
                      const std::vector<Bytes> &nodes, const Names &attributes = {},
                      const std::vector<Bytes> &opsets = {opset("", 17), opset("my", 1)}) {
  return message([&](auto &w) {
    w.add_string(1, name);
    for (const std::string &input : inputs)
      w.add_string(4, input);
    for (const std::string &output : outputs)
      w.add_string(5, output);
    for (const std::string &attribute : attributes)
      w.add_string(6, attribute);
    for (const Bytes &part : nodes)
      w.add_message(7, part);
    for (const Bytes &part : opsets)
      w.add_message(9, part);
    w.add_string(10, "my");
  });
}

/// x -> Relu -> y with the given initializers.
inline Bytes reluModel(const std::vector<Bytes> &initializers) {
  GraphSpec spec;
  spec.nodes = {node("Relu", {"x"}, {"y"}, {}, "act")};
  spec.inputs = {valueInfo("x")};
  spec.outputs = {valueInfo("y")};
  spec.initializers = initializers;
  return model(graph(spec));
}

/// The message of the error of reading, or "" if there is none.
inline std::string errorOf(const Bytes &bytes, const ReaderOptions &options = {}) {
  auto result = readModelFromMemory(bytes, "test.onnx", options);
  return result ? "" : llvm::toString(result.takeError());
}

/// Reads a model that must be right.
inline std::unique_ptr<Model> read(const Bytes &bytes) {
  auto result = readModelFromMemory(bytes, "test.onnx");
  if (!result) {
    ADD_FAILURE() << llvm::toString(result.takeError());
    return std::make_unique<Model>();
  }
  return std::move(*result);
}

} // namespace ssm::onnx::test

/// The error must have all the words.
#define EXPECT_ERROR(error, ...)                                                                   \
  do {                                                                                             \
    std::string text = (error);                                                                    \
    for (const char *word : {__VA_ARGS__})                                                         \
      EXPECT_NE(text.find(word), std::string::npos) << "expected '" << word << "' in: " << text;   \
  } while (false)

#endif // SSM_TEST_UNIT_READER_MODELBUILDER_H
