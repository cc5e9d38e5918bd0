//===- ExternalDataTest.cpp - Weights in files beside the model -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ModelBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <sys/stat.h>
#include <unistd.h>

using namespace ssm::onnx;
using namespace ssm::onnx::test;

namespace {
/// A fresh folder with inside/ for the model and a secret beside it.
class ExternalDataTest : public testing::Test {
protected:
  void SetUp() override {
    llvm::SmallString<128> path;
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("ssm-reader", path));
    root = std::string(path);
    ASSERT_FALSE(llvm::sys::fs::create_directory(root + "/inside"));
    ASSERT_FALSE(llvm::sys::fs::create_directory(root + "/inside/sub"));
    write("secret", Bytes(64, 's'));
    write("inside/w.data", Bytes(64, 'w'));
    write("inside/sub/w.data", Bytes(64, 'v'));
  }

  void TearDown() override { llvm::sys::fs::remove_directories(root); }

  void write(const std::string &name, const Bytes &bytes) {
    std::error_code code;
    llvm::raw_fd_ostream out(root + "/" + name, code);
    ASSERT_FALSE(code);
    out << bytes;
  }

  llvm::Expected<std::unique_ptr<Model>>
  load(const std::vector<std::pair<std::string, std::string>> &entries,
       const ReaderOptions &options = {}, const Dims &dims = {4}) {
    write("inside/m.onnx", reluModel({externalTensor("w", dims, entries)}));
    return readModel(root + "/inside/m.onnx", options);
  }

  std::string errorOf(const std::vector<std::pair<std::string, std::string>> &entries,
                      const ReaderOptions &options = {}, const Dims &dims = {4}) {
    auto result = load(entries, options, dims);
    return result ? "" : llvm::toString(result.takeError());
  }

  std::string root;
};
} // namespace

TEST_F(ExternalDataTest, ReadsARange) {
  write("inside/w.data", "0123456789abcdefghij");
  auto result = load({{"location", "w.data"}, {"offset", "2"}, {"length", "16"}});
  ASSERT_TRUE(bool(result)) << llvm::toString(result.takeError());
  WeightSource weight((*result)->graph.initializers.at(0));
  ASSERT_TRUE(weight.getRange().has_value());
  EXPECT_EQ(weight.getRange()->offset, 2u);
  EXPECT_EQ((*result)->files[weight.getRange()->file]->getPath(), root + "/inside/w.data");
  EXPECT_EQ(*weight.getBytes(), "23456789abcdefgh");

  // Parts that stay where they are, and no length.
  result = load({{"location", "./sub//./w.data"}});
  ASSERT_TRUE(bool(result)) << llvm::toString(result.takeError());
  EXPECT_EQ(*WeightSource((*result)->graph.initializers.at(0)).getBytes(), Bytes(16, 'v'));
}

TEST_F(ExternalDataTest, OneMapForOneFile) {
  write("inside/m.onnx",
        reluModel({externalTensor("a", {4}, {{"location", "w.data"}}),
                   externalTensor("b", {4}, {{"location", "./w.data"}, {"offset", "16"}})}));
  auto result = readModel(root + "/inside/m.onnx");
  ASSERT_TRUE(bool(result)) << llvm::toString(result.takeError());
  EXPECT_EQ((*result)->files.size(), 2u);
}

TEST_F(ExternalDataTest, LocationStaysInside) {
  EXPECT_ERROR(errorOf({{"location", "../secret"}}), "tensor 'w'", "leads out");
  EXPECT_ERROR(errorOf({{"location", "sub/../../secret"}}), "leads out");
  EXPECT_ERROR(errorOf({{"location", "sub\\..\\..\\secret"}}), "leads out");
  EXPECT_ERROR(errorOf({{"location", root + "/secret"}}), "not relative");
  EXPECT_ERROR(errorOf({{"location", "C:\\secret"}}), "not relative");
  EXPECT_ERROR(errorOf({{"location", "\\\\host\\secret"}}), "not relative");
  EXPECT_ERROR(errorOf({{"location", ""}}), "no location");
  EXPECT_ERROR(errorOf({{"offset", "0"}}), "no location");
  EXPECT_ERROR(errorOf({{"location", "."}}), "names no file");
  EXPECT_ERROR(errorOf({{"location", std::string("w.data\0/../../secret", 20)}}), "NUL");
}

TEST_F(ExternalDataTest, NoLinks) {
  ASSERT_EQ(::symlink("../secret", (root + "/inside/link").c_str()), 0);
  ASSERT_EQ(::symlink("..", (root + "/inside/up").c_str()), 0);
  ASSERT_EQ(::link((root + "/secret").c_str(), (root + "/inside/hard").c_str()), 0);
  EXPECT_ERROR(errorOf({{"location", "link"}}), "goes through a link");
  EXPECT_ERROR(errorOf({{"location", "up/secret"}}), "goes through a link");
  EXPECT_ERROR(errorOf({{"location", "hard"}}), "2 hard links");
  ReaderOptions options;
  options.allowLinks = true;
  EXPECT_EQ(errorOf({{"location", "link"}}, options), "");
  EXPECT_EQ(errorOf({{"location", "hard"}}, options), "");
  EXPECT_ERROR(errorOf({{"location", "../secret"}}, options), "leads out");
}

TEST_F(ExternalDataTest, RegularFilesOnly) {
  ASSERT_EQ(::mkfifo((root + "/inside/pipe").c_str(), 0600), 0);
  EXPECT_ERROR(errorOf({{"location", "pipe"}}), "not a regular file");
  EXPECT_ERROR(errorOf({{"location", "sub"}}), "not a regular file");
  EXPECT_ERROR(errorOf({{"location", "none.data"}}), "none.data", "No such file");
}

TEST_F(ExternalDataTest, WeightsFolder) {
  ASSERT_FALSE(llvm::sys::fs::create_directory(root + "/cache"));
  ASSERT_EQ(::symlink("../secret", (root + "/cache/w.data").c_str()), 0);
  ReaderOptions options;
  options.weightsFolder = root + "/cache";
  auto result = load({{"location", "w.data"}}, options);
  ASSERT_TRUE(bool(result)) << llvm::toString(result.takeError());
  EXPECT_EQ(*WeightSource((*result)->graph.initializers.at(0)).getBytes(), Bytes(16, 's'));
}

TEST_F(ExternalDataTest, OffsetAndLength) {
  EXPECT_EQ(errorOf({{"location", "w.data"}, {"offset", "48"}}), "");
  EXPECT_ERROR(errorOf({{"location", "w.data"}, {"offset", "49"}}), "offset 49", "needs 16 bytes",
               "has 64");
  EXPECT_ERROR(errorOf({{"location", "w.data"}, {"offset", "18446744073709551615"}}), "has 64");
  EXPECT_ERROR(errorOf({{"location", "w.data"}, {"offset", "99999999999999999999"}}),
               "not a number");
  EXPECT_ERROR(errorOf({{"location", "w.data"}, {"offset", "-1"}}), "not a number");
  EXPECT_ERROR(errorOf({{"location", "w.data"}, {"length", "15"}}), "15 bytes", "expected 16");
  EXPECT_ERROR(errorOf({{"location", "w.data"}, {"length", "1e3"}}), "not a number");
  EXPECT_ERROR(errorOf({{"location", "w.data"}}, {}, {int64_t(1) << 30}), "has 64");
}

TEST_F(ExternalDataTest, Keys) {
  std::vector<std::string> warnings;
  ReaderOptions options;
  options.warn = [&](const std::string &text) { warnings.push_back(text); };
  EXPECT_EQ(errorOf({{"location", "w.data"}, {"checksum", "0"}, {"basepath", "/"}}, options), "");
  EXPECT_TRUE(warnings.empty());
  EXPECT_EQ(errorOf({{"location", "w.data"}, {"__class__", "x"}}, options), "");
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_ERROR(warnings[0], "tensor 'w'", "'__class__'");
  EXPECT_ERROR(errorOf({{"location", "w.data"}, {"location", "../secret"}}), "twice");
}

TEST_F(ExternalDataTest, DataInTwoPlaces) {
  write("inside/m.onnx", reluModel({tensor("w", 1, {1}, [](auto &w) {
          w.add_int32(14, 1);
          w.add_bytes(9, Bytes(4, 0));
        })}));
  auto result = readModel(root + "/inside/m.onnx");
  ASSERT_FALSE(bool(result));
  EXPECT_ERROR(llvm::toString(result.takeError()), "external data and also data in the file");
}

TEST_F(ExternalDataTest, NoFolder) {
  EXPECT_ERROR(test::errorOf(reluModel({externalTensor("w", {1}, {{"location", "w.data"}})})),
               "no folder");
}

TEST_F(ExternalDataTest, LargeFile) {
  // A sparse file of 5 GiB: offsets and sizes above 32 bits.
  uint64_t size = uint64_t(5) << 30;
  write("inside/big.data", "");
  ASSERT_EQ(::truncate((root + "/inside/big.data").c_str(), size), 0);
  auto result = load({{"location", "big.data"}, {"offset", "1073741824"}}, {}, {int64_t(1) << 30});
  ASSERT_TRUE(bool(result)) << llvm::toString(result.takeError());
  WeightSource weight((*result)->graph.initializers.at(0));
  EXPECT_EQ(weight.getNumBytes(), uint64_t(4) << 30);
  EXPECT_EQ(weight.getBytes()->back(), '\0');
}

TEST_F(ExternalDataTest, LargeModel) {
  // One initializer of 4.5 GiB inline: the length of the graph needs 33 bits.
  uint64_t size = uint64_t(9) << 29;
  auto varint = [](uint64_t value) {
    Bytes bytes;
    protozero::write_varint(std::back_inserter(bytes), value);
    return bytes;
  };
  Bytes tensorHead = tensor("w", 2, {int64_t(size)}, [](auto &) {}) + "\x4a" + varint(size);
  GraphSpec spec;
  spec.outputs = {valueInfo("w", 2, {int64_t(size)})};
  Bytes graphHead = graph(spec) + "\x2a" + varint(tensorHead.size() + size) + tensorHead;
  Bytes modelHead = message([](auto &w) {
    w.add_int64(1, 8);
    w.add_message(8, opset("", 17));
  });
  modelHead += "\x3a" + varint(graphHead.size() + size) + graphHead;
  write("inside/m.onnx", modelHead);
  ASSERT_EQ(::truncate((root + "/inside/m.onnx").c_str(), modelHead.size() + size), 0);
  auto result = readModel(root + "/inside/m.onnx");
  ASSERT_TRUE(bool(result)) << llvm::toString(result.takeError());
  WeightSource weight((*result)->graph.initializers.at(0));
  EXPECT_EQ(weight.getRange()->offset, modelHead.size());
  EXPECT_EQ(weight.getRange()->length, size);
}
