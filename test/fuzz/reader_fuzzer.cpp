//===- reader_fuzzer.cpp - Fuzzes the ONNX reader -------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//
// Reads the input as a model and every tensor of it: no input may crash, leak or
// allocate much. Corpus: the models of test/models.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Reader/ModelReader.h"
#include "lib/Import/Reader/WeightSource.h"

using namespace ssm::onnx;

static void readWeight(const WeightSource &weight) {
  if (auto bits = weight.readBits(); !bits)
    llvm::consumeError(bits.takeError());
  if (auto doubles = weight.readDoubles(); !doubles)
    llvm::consumeError(doubles.takeError());
  if (auto strings = weight.readStrings(); !strings)
    llvm::consumeError(strings.takeError());
}

static void readNodes(const std::vector<Node> &nodes);

static void readGraph(const Graph &graph) {
  for (const TensorData &tensor : graph.initializers)
    readWeight(tensor);
  for (const SparseTensorData &sparse : graph.sparseInitializers)
    readWeight(sparse);
  readNodes(graph.nodes);
}

static void readNodes(const std::vector<Node> &nodes) {
  for (const Node &node : nodes)
    for (const NodeAttribute &attribute : node.attributes) {
      for (const TensorData &tensor : attribute.tensors)
        readWeight(tensor);
      for (const SparseTensorData &sparse : attribute.sparseTensors)
        readWeight(sparse);
      for (const Graph &graph : attribute.graphs)
        readGraph(graph);
    }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  ReaderOptions options;
  // Sparse tensors and elements by the million would only slow it down.
  options.maxWeightBytes = 1 << 22;
  options.maxSparseBytes = 1 << 16;
  auto model = readModelFromMemory({reinterpret_cast<const char *>(data), size}, "input", options);
  if (!model) {
    llvm::consumeError(model.takeError());
    return 0;
  }
  readGraph((*model)->graph);
  for (const Function &function : (*model)->functions)
    readNodes(function.nodes);
  return 0;
}
