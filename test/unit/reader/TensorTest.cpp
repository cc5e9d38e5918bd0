//===- TensorTest.cpp - Elements, sizes, sparse tensors -------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ModelBuilder.h"
#include "llvm/ADT/bit.h"

using namespace ssm::onnx;
using namespace ssm::onnx::test;

using Integers = llvm::SmallVector<int64_t>;
using Doubles = llvm::SmallVector<double>;

static Integers integersOf(const Bytes &tensor) {
  Bytes bytes = reluModel({tensor});
  auto model = read(bytes);
  auto values = WeightSource(model->graph.initializers.at(0)).readIntegers();
  if (!values) {
    ADD_FAILURE() << llvm::toString(values.takeError());
    return {};
  }
  return *values;
}

static Doubles doublesOf(const Bytes &tensor) {
  Bytes bytes = reluModel({tensor});
  auto model = read(bytes);
  auto values = WeightSource(model->graph.initializers.at(0)).readDoubles();
  if (!values) {
    ADD_FAILURE() << llvm::toString(values.takeError());
    return {};
  }
  return *values;
}

static std::string decodeErrorOf(const Bytes &tensor) {
  Bytes bytes = reluModel({tensor});
  auto model = read(bytes);
  auto values = WeightSource(model->graph.initializers.at(0)).readBits();
  return values ? "" : llvm::toString(values.takeError());
}

static Bytes int32Tensor(int32_t type, const Dims &dims, const std::vector<int32_t> &data) {
  return tensor("w", type, dims, [&](auto &w) { w.add_packed_int32(5, data.begin(), data.end()); });
}

TEST(Tensor, RawData) {
  EXPECT_EQ(integersOf(rawTensor("w", 7, {1}, Bytes("\xfe\xff\xff\xff\xff\xff\xff\xff", 8))),
            Integers({-2}));
  EXPECT_EQ(integersOf(rawTensor("w", 2, {2}, "\xff\x01")), Integers({255, 1}));
  EXPECT_EQ(integersOf(rawTensor("w", 3, {2}, "\xff\x01")), Integers({-1, 1}));
  EXPECT_EQ(integersOf(rawTensor("w", 9, {3}, Bytes("\0\1\7", 3))), Integers({0, 1, 1}));
  EXPECT_EQ(doublesOf(rawTensor("w", 16, {}, Bytes("\x80\x3f", 2))), Doubles({1.0}));
  EXPECT_EQ(doublesOf(rawTensor("w", 10, {}, Bytes("\x00\xc0", 2))), Doubles({-2.0}));
  EXPECT_EQ(integersOf(rawTensor("w", 7, {0, 5}, "")), Integers());
}

TEST(Tensor, SubByteRawData) {
  EXPECT_EQ(integersOf(rawTensor("w", 22, {3}, Bytes("\x8f\x07", 2))), Integers({-1, -8, 7}));
  EXPECT_EQ(integersOf(rawTensor("w", 21, {3}, Bytes("\x8f\x07", 2))), Integers({15, 8, 7}));
  EXPECT_EQ(integersOf(rawTensor("w", 26, {4}, "\xe4")), Integers({0, 1, -2, -1}));
  EXPECT_EQ(integersOf(rawTensor("w", 25, {5}, Bytes("\xe4\x02", 2))), Integers({0, 1, 2, 3, 2}));
  // E2M3: 8 is 1.0, 40 is -1.0, 31 is 7.5, 1 is 0.125; then one more group.
  unsigned stream = 8 | 40 << 6 | 31 << 12 | 1 << 18;
  Bytes raw = {char(stream), char(stream >> 8), char(stream >> 16), 8};
  EXPECT_EQ(doublesOf(rawTensor("w", 27, {5}, raw)), Doubles({1.0, -1.0, 7.5, 0.125, 1.0}));
}

TEST(Tensor, TypedDataPackedAndNot) {
  std::vector<int64_t> data = {1, -1, int64_t(1) << 50};
  Integers expected(data.begin(), data.end());
  EXPECT_EQ(integersOf(tensor("w", 7, {3},
                              [&](auto &w) { w.add_packed_int64(7, data.begin(), data.end()); })),
            expected);
  EXPECT_EQ(integersOf(tensor("w", 7, {3},
                              [&](auto &w) {
                                w.add_int64(7, data[0]);
                                // Some of it packed: parsers must take both.
                                w.add_packed_int64(7, data.begin() + 1, data.end());
                              })),
            expected);
  EXPECT_EQ(doublesOf(tensor("w", 1, {2},
                             [&](auto &w) {
                               w.add_float(4, 0.5f);
                               w.add_float(4, -3.0f);
                             })),
            Doubles({0.5, -3.0}));
  std::vector<double> doubles = {0.1, 1e300};
  EXPECT_EQ(
      doublesOf(tensor("w", 11, {2},
                       [&](auto &w) { w.add_packed_double(10, doubles.begin(), doubles.end()); })),
      Doubles({0.1, 1e300}));
  std::vector<uint64_t> words = {7, 0xffffffffu};
  EXPECT_EQ(
      integersOf(tensor("w", 12, {2},
                        [&](auto &w) { w.add_packed_uint64(11, words.begin(), words.end()); })),
      Integers({7, 0xffffffff}));
}

TEST(Tensor, Int32DataCarriesSmallTypes) {
  EXPECT_EQ(integersOf(int32Tensor(6, {2}, {-5, 5})), Integers({-5, 5}));
  EXPECT_EQ(integersOf(int32Tensor(3, {2}, {-128, 127})), Integers({-128, 127}));
  EXPECT_EQ(integersOf(int32Tensor(2, {2}, {0, 255})), Integers({0, 255}));
  EXPECT_EQ(integersOf(int32Tensor(5, {1}, {-32768})), Integers({-32768}));
  EXPECT_EQ(integersOf(int32Tensor(4, {1}, {65535})), Integers({65535}));
  EXPECT_EQ(integersOf(int32Tensor(9, {2}, {0, 1})), Integers({0, 1}));
  EXPECT_EQ(doublesOf(int32Tensor(10, {2}, {0x3c00, 0xc000})), Doubles({1.0, -2.0}));
  EXPECT_EQ(doublesOf(int32Tensor(16, {1}, {0x3f80})), Doubles({1.0}));
  EXPECT_EQ(doublesOf(int32Tensor(17, {1}, {0x38})), Doubles({1.0}));
  EXPECT_EQ(doublesOf(int32Tensor(24, {1}, {128})), Doubles({2.0}));
  EXPECT_EQ(integersOf(int32Tensor(22, {3}, {0x8f, 0x07})), Integers({-1, -8, 7}));
  EXPECT_EQ(integersOf(int32Tensor(25, {5}, {0xe4, 2})), Integers({0, 1, 2, 3, 2}));
  EXPECT_EQ(doublesOf(int32Tensor(27, {5}, {8, 40, 31, 1, 8})),
            Doubles({1.0, -1.0, 7.5, 0.125, 1.0}));

  EXPECT_ERROR(decodeErrorOf(int32Tensor(3, {1}, {128})), "tensor 'w'", "128", "does not fit INT8");
  EXPECT_ERROR(decodeErrorOf(int32Tensor(2, {1}, {-1})), "does not fit UINT8");
  EXPECT_ERROR(decodeErrorOf(int32Tensor(9, {1}, {2})), "does not fit BOOL");
  EXPECT_ERROR(decodeErrorOf(int32Tensor(10, {1}, {65536})), "does not fit FLOAT16");
}

TEST(Tensor, ReadIntoGivesRawData) {
  std::vector<float> data = {1.0f, -2.0f};
  Bytes bytes = reluModel(
      {tensor("w", 1, {2}, [&](auto &w) { w.add_packed_float(4, data.begin(), data.end()); })});
  auto result = read(bytes);
  WeightSource weight(result->graph.initializers.at(0));
  EXPECT_FALSE(weight.getRange().has_value());
  ASSERT_EQ(weight.getNumBytes(), 8u);
  std::vector<float> out(2);
  EXPECT_FALSE(bool(weight.readInto({reinterpret_cast<char *>(out.data()), 8})));
  EXPECT_EQ(out, data);
  EXPECT_ERROR(llvm::toString(weight.readInto({})), "0 bytes");
}

TEST(Tensor, HostileDims) {
  auto withDims = [](const Dims &dims, int32_t type = 1) {
    return errorOf(reluModel({rawTensor("w", type, dims, Bytes(4, 0))}));
  };
  EXPECT_ERROR(withDims({-1}), "tensor 'w'", "-1");
  EXPECT_ERROR(withDims({int64_t(1) << 32, int64_t(1) << 32}), "overflow");
  EXPECT_ERROR(withDims({int64_t(1) << 62, int64_t(1) << 62, int64_t(1) << 62}), "overflow");
  EXPECT_ERROR(withDims({INT64_MAX}), "overflow");
  EXPECT_ERROR(withDims(Dims(65, 1)), "rank");
  EXPECT_ERROR(withDims({int64_t(1) << 40}), "more than", "--max-weights");
  ReaderOptions options;
  options.maxWeightBytes = 3;
  EXPECT_ERROR(errorOf(reluModel({rawTensor("w", 1, {1}, Bytes(4, 0))}), options), "more than 3");
  EXPECT_ERROR(withDims({1}, 0), "element type 0");
  EXPECT_ERROR(withDims({1}, 29), "element type 29");
}

TEST(Tensor, StringTensors) {
  auto strings = [](const Dims &dims, int count) {
    return tensor("w", 8, dims, [&](auto &w) {
      for (int i = 0; i < count; ++i)
        w.add_string(6, "s" + std::to_string(i));
    });
  };
  Bytes bytes = reluModel({strings({2}, 2)});
  auto result = read(bytes);
  WeightSource weight(result->graph.initializers.at(0));
  auto values = weight.readStrings();
  ASSERT_TRUE(bool(values));
  EXPECT_EQ(*values, std::vector<llvm::StringRef>({"s0", "s1"}));
  EXPECT_ERROR(llvm::toString(weight.readInto({})), "cannot be read");
  // Dims that claim more strings than there are.
  EXPECT_ERROR(errorOf(reluModel({strings({int64_t(1) << 40}, 1)})), "tensor 'w'", "expected");
  EXPECT_ERROR(errorOf(reluModel({rawTensor("w", 8, {1}, "abc")})), "string_data");
}

TEST(Tensor, WrongAmountOfData) {
  EXPECT_ERROR(errorOf(reluModel({rawTensor("w", 1, {2}, Bytes(7, 0))})), "tensor 'w'", "7 bytes",
               "expected 8");
  EXPECT_ERROR(errorOf(reluModel({rawTensor("w", 22, {3}, Bytes(3, 0))})), "expected 2");
  EXPECT_ERROR(errorOf(reluModel({tensor("w", 1, {2}, [](auto &) {})})), "0 entries", "expected 2");
  EXPECT_ERROR(errorOf(reluModel({int32Tensor(6, {3}, {1, 2})})), "2 entries", "expected 3");
  EXPECT_ERROR(errorOf(reluModel({int32Tensor(1, {1}, {1})})), "field 5", "field 4", "FLOAT");
  EXPECT_ERROR(errorOf(reluModel({tensor("w", 6, {1},
                                         [](auto &w) {
                                           w.add_int32(5, 1);
                                           w.add_bytes(9, Bytes(4, 0));
                                         })})),
               "raw data and also typed data");
  EXPECT_ERROR(errorOf(reluModel({tensor("w", 6, {1},
                                         [](auto &w) {
                                           w.add_int32(5, 1);
                                           w.add_int64(7, 1);
                                         })})),
               "given twice");
  EXPECT_ERROR(errorOf(reluModel({tensor("w", 7, {1}, [](auto &w) { w.add_bytes(7, "\x80"); })})),
               "cut off");
}

TEST(Tensor, SparseTensors) {
  auto build = [](const Dims &indexDims, const std::vector<int64_t> &indices, const Dims &dims) {
    Bytes values = tensor("w", 1, {2}, [](auto &w) {
      w.add_float(4, 1.0f);
      w.add_float(4, 2.0f);
    });
    Bytes places = tensor("", 7, indexDims,
                          [&](auto &w) { w.add_packed_int64(7, indices.begin(), indices.end()); });
    GraphSpec spec;
    spec.sparseInitializers = {sparseTensor(values, places, dims)};
    spec.outputs = {valueInfo("w")};
    return model(graph(spec));
  };
  auto decode = [](const Bytes &bytes) -> std::string {
    auto result = read(bytes);
    auto values = WeightSource(result->graph.sparseInitializers.at(0)).readDoubles();
    if (!values)
      return llvm::toString(values.takeError());
    std::string text;
    for (double value : *values)
      text += std::to_string(int(value));
    return text;
  };
  EXPECT_EQ(decode(build({2}, {1, 5}, {2, 3})), "010002");
  EXPECT_EQ(decode(build({2, 2}, {0, 1, 1, 0}, {2, 3})), "010200");
  EXPECT_ERROR(decode(build({2}, {1, 6}, {2, 3})), "tensor 'w'", "index 6", "[0, 6)");
  EXPECT_ERROR(decode(build({2, 2}, {0, 1, 2, 0}, {2, 3})), "index 2", "[0, 2)");
  EXPECT_ERROR(decode(build({2}, {5, 1}, {2, 3})), "ascending");
  EXPECT_ERROR(decode(build({2}, {0, 0}, {int64_t(1) << 30, 4, 0})), "outside");
  EXPECT_ERROR(errorOf(build({1}, {1}, {2, 3})), "sparse tensor 'w'", "indices must be");
  // Two values that would become a terabyte.
  EXPECT_ERROR(errorOf(build({2}, {0, 1}, {int64_t(1) << 38})), "when dense", "more than");
  EXPECT_ERROR(errorOf(build({2}, {0, 1}, {int64_t(1) << 38, int64_t(1) << 38})), "overflow");
}
