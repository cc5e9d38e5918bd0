//===- WeightsFileTest.cpp - The header of weights files -----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "test/unit/package/PackageTesting.h"
#include "test/unit/package/TestModules.h"

#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"

using namespace ssm;

/// Parses as the format's definition says: the tensors, by offset, cover the data
/// without gaps or overlaps.
TEST(WeightsFile, HeaderCoversTheData) {
  Context context;
  auto module = context.parse(kScaleModule);
  ModuleSpec spec = cantFail(readModuleSpec(*module));
  ScratchFolder folder = cantFail(ScratchFolder::create("ssm-test"));
  std::string path = folder.file("w");
  cantFail(cantFail(WeightsFile::createSafetensors(path, spec))->finish(0xab));

  std::string bytes = readFile(path);
  uint64_t length = llvm::support::endian::read64le(bytes.data());
  ASSERT_LE(8 + length, bytes.size());
  auto header = llvm::json::parse(llvm::StringRef(bytes).substr(8, length));
  ASSERT_TRUE(bool(header)) << toString(header.takeError());
  std::vector<std::tuple<int64_t, int64_t, std::string>> tensors;
  for (auto &[name, value] : *header->getAsObject()) {
    auto &object = *value.getAsObject();
    if (name == "__metadata__") {
      EXPECT_EQ(object.getString("alias:shared"), llvm::StringRef("scale"));
      EXPECT_EQ(object.getString("ssm-mlir.weights"), llvm::StringRef("00000000000000ab"));
      continue;
    }
    auto &range = *object.getArray("data_offsets");
    tensors.emplace_back(*range[0].getAsInteger(), *range[1].getAsInteger(), name.str());
  }
  llvm::sort(tensors);
  int64_t end = 0;
  std::vector<std::string> names;
  for (auto &[first, last, name] : tensors) {
    EXPECT_EQ(first, end) << name;
    end = last;
    names.push_back(name);
  }
  EXPECT_EQ(8 + length + end, bytes.size());
  EXPECT_EQ(names, (std::vector<std::string>{"scale", "__padding__16", "odd", "__padding__67",
                                             "empty", "table"}));
  auto &table = *header->getAsObject()->getObject("table");
  EXPECT_EQ(table.getString("dtype"), llvm::StringRef("U16"));
  EXPECT_EQ(*table.getArray("shape"), (llvm::json::Array{2, 3}));
}

TEST(WeightsFile, ReservedNamesAreRefused) {
  Context context;
  auto module = context.parse(kScaleModule);
  for (const char *name : {"__metadata__", "__padding__16", "alias"}) {
    ModuleSpec spec = cantFail(readModuleSpec(*module));
    spec.weights[0].name = name;
    ScratchFolder folder = cantFail(ScratchFolder::create("ssm-test"));
    std::string message = messageOf(WeightsFile::createSafetensors(folder.file("w"), spec));
    if (llvm::StringRef(name) == "alias")
      EXPECT_EQ(message, "");
    else
      EXPECT_EQ(message, std::string("a weight is named '") + name +
                             "', which the weights file needs for itself");
  }
}
