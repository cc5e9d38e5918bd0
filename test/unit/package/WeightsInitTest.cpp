//===- WeightsInitTest.cpp - Weights computed from weights ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "test/unit/package/PackageTesting.h"
#include "test/unit/package/TestModules.h"

using namespace ssm;

namespace {
class Init : public ::testing::Test {
protected:
  std::string package(std::vector<int32_t> w) {
    sources.add("w", w);
    auto module = context.parse(kDerivedModule);
    auto init = context.parse(kInitModule);
    return toString(packageModule(nativeVersion(*module, *init), sources, nativeOptions(), folder.file("m.so")));
  }

  Context context;
  MemorySources sources;
  ScratchFolder folder = cantFail(ScratchFolder::create("ssm-test"));
};
} // namespace

TEST_F(Init, ComputesInOrder) {
  ASSERT_EQ(package({1, 20, 300}), "");
  Loaded module(folder.file("m.so"));
  std::string bytes = readFile(folder.file("m.weights.safetensors"));
  ASSERT_EQ(module->num_weights, 3);
  for (int i = 0; i < 3; ++i) {
    // w, then d = 4 w by way of `inner`, then dd = 2 d.
    int factor = std::vector<int>{1, 4, 8}[i];
    const ssm_weight_info &weight = module->weights[i];
    std::vector<int32_t> values(3);
    memcpy(values.data(), bytes.data() + module->weights_base + weight.offset, 12);
    EXPECT_EQ(values, (std::vector<int32_t>{factor, 20 * factor, 300 * factor}));
  }
}

TEST_F(Init, AFailingCheckNamesWeightAndNode) {
  EXPECT_EQ(package({1, -2, 3}), "weight 'inner' cannot be computed: node 'twice' (Mul): "
                                 "element 1 of 3 is negative");
  EXPECT_TRUE(listFolder(folder.path()).empty());
}

TEST_F(Init, NeedsItsModule) {
  sources.add<int32_t>("w", {1, 2, 3});
  auto module = context.parse(kDerivedModule);
  EXPECT_EQ(
      toString(packageModule(nativeVersion(*module), sources, nativeOptions(), folder.file("m.so"))),
      "weights are to be computed, but nothing says how");
}
