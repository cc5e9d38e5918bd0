//===- SafetensorsTest.cpp - Reading and writing tensor files -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

using Tensors = std::unique_ptr<ssmrt_tensors, void (*)(ssmrt_tensors *)>;

static std::string fileOf(const std::string &header, size_t dataBytes) {
  uint64_t length = header.size();
  return std::string(reinterpret_cast<char *>(&length), 8) + header + std::string(dataBytes, '\1');
}

static ssmrt_status parse(const std::string &bytes, Tensors *result = nullptr) {
  // A copy of exact size, so that a sanitizer sees any read beyond it.
  std::vector<char> exact(bytes.begin(), bytes.end());
  ssmrt_tensors *tensors = nullptr;
  ssmrt_status status = ssmrt_tensors_parse(exact.data(), exact.size(), &tensors);
  EXPECT_EQ(status == SSMRT_OK, tensors != nullptr);
  Tensors owned(tensors, ssmrt_tensors_destroy);
  if (result)
    *result = std::move(owned);
  return status;
}

TEST(Safetensors, RoundTrip) {
  std::mt19937 random = freshRandom();
  Tensor<float> a({2, 3}, randomFloats(random, 6));
  Tensor<int64_t> b({1}, {-7});
  Tensor<uint8_t> c({3}, {1, 0, 1});
  Tensor<double> empty({0, 5}, {});
  Tensor<int32_t> scalar({}, {5});
  const char *odd = "\"q\\ \n \xc3\xa9 \xf0\x9f\x98\x80 /";
  const ssmrt_input list[] = {{odd, &a.view},
                              {"b", &b.view},
                              {"c", &c.view},
                              {"empty", &empty.view},
                              {"scalar", &scalar.view}};
  TemporaryFile file;
  ASSERT_EQ(ssmrt_tensors_write(file.path.c_str(), list, 5), SSMRT_OK) << ssmrt_last_message();
  ssmrt_tensors *tensors;
  ASSERT_EQ(ssmrt_tensors_open(file.path.c_str(), &tensors), SSMRT_OK) << ssmrt_last_message();
  ASSERT_EQ(ssmrt_tensors_count(tensors), 5);
  int seen = 0;
  for (int32_t i = 0; i < 5; ++i) {
    const char *name;
    DLTensor tensor;
    ASSERT_EQ(ssmrt_tensors_get(tensors, i, &name, &tensor), SSMRT_OK);
    uintptr_t address = reinterpret_cast<uintptr_t>(tensor.data);
    EXPECT_EQ(address % (tensor.dtype.bits / 8), 0u);
    if (!std::strcmp(name, odd)) {
      ++seen;
      EXPECT_EQ(shapeOf(tensor), a.shape);
      EXPECT_EQ(valuesOf<float>(tensor), a.values);
    } else if (!std::strcmp(name, "b")) {
      ++seen;
      EXPECT_EQ(valuesOf<int64_t>(tensor), b.values);
    } else if (!std::strcmp(name, "c")) {
      ++seen;
      EXPECT_EQ(tensor.dtype.code, 6);
      EXPECT_EQ(valuesOf<uint8_t>(tensor), c.values);
    } else if (!std::strcmp(name, "empty")) {
      ++seen;
      EXPECT_EQ(shapeOf(tensor), empty.shape);
    } else if (!std::strcmp(name, "scalar")) {
      ++seen;
      EXPECT_EQ(valuesOf<int32_t>(tensor), scalar.values);
    }
  }
  EXPECT_EQ(seen, 5);
  expectFailure(ssmrt_tensors_get(tensors, 5, nullptr, nullptr), SSMRT_INVALID_ARGUMENT, {"5"});
  ssmrt_tensors_destroy(tensors);
}

TEST(Safetensors, Accepts) {
  const std::string good[] = {
      fileOf("{}", 0),
      fileOf(" { } ", 0),
      fileOf(R"({"__metadata__":{},"a":{"dtype":"U8","shape":[],)"
             R"("data_offsets":[0,1]}})",
             1),
      fileOf(R"({"__metadata__":{"k":"v","l":"w"}})", 0),
      fileOf(R"({"a\u00e9\ud83d\ude00":{"shape":[2,0],"data_offsets":[0,0],)"
             R"("dtype":"F64"}})",
             0),
      fileOf(R"({"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},)"
             R"( "a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   )",
             3),
  };
  for (const std::string &bytes : good)
    EXPECT_EQ(parse(bytes), SSMRT_OK) << ssmrt_last_message();
}

TEST(Safetensors, RefusesBadHeaders) {
  const std::string one = R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  auto tensor = [](const std::string &body) { return "{\"a\":{" + body + "}}"; };
  const std::pair<std::string, size_t> bad[] = {
      {"", 0},
      {"{", 0},
      {"[]", 0},
      {"{}x", 0},
      {"{}", 1},
      {"{" + one + ",}", 1},
      {"{" + one + "," + one + "}", 1},
      {"{" + one + "}", 0},
      {"{" + one + "}", 2},
      {"{\"a\" 1}", 0},
      {"{\"a\":1}", 0},
      {"{\"a\":{}}", 0},
      {"{a:{}}", 0},
      {R"({"__metadata__":{"k":1}})", 0},
      {R"({"__metadata__":[]})", 0},
      {R"({"__metadata__":{"ssmrt.xxh3":"12"}})", 0},
      {R"({"__metadata__":{"ssmrt.xxh3":"\u00e912345678901"}})", 0},
      {R"({"__metadata__":{"ssmrt.xxh3":"1234567890123456","ssmrt.xxh3":"1234567890123456"}})", 0},
      {tensor(R"("dtype":"U9","shape":[1],"data_offsets":[0,1])"), 1},
      {tensor(R"("dtype":"U8","shape":[2],"data_offsets":[0,1])"), 1},
      {tensor(R"("dtype":"U8","shape":[1],"data_offsets":[1,0])"), 1},
      {tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0,1,2])"), 1},
      {tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0])"), 1},
      {tensor(R"("dtype":"U8","shape":[1],"data_offsets":[1,2])"), 2},
      {tensor(R"("dtype":"U8","shape":[-1],"data_offsets":[0,1])"), 1},
      {tensor(R"("dtype":"U8","shape":[1.0],"data_offsets":[0,1])"), 1},
      {tensor(R"("dtype":"U8","shape":[1e0],"data_offsets":[0,1])"), 1},
      {tensor(R"("dtype":"U8","shape":[01],"data_offsets":[0,1])"), 1},
      {tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1)"), 1},
      {tensor(R"("dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1])"), 1},
      {tensor(R"("dtype":"U8","data_offsets":[0,1])"), 1},
      {tensor(R"("dtype":"F64","shape":[9223372036854775807,)"
              R"(9223372036854775807],"data_offsets":[0,8])"),
       8},
      {tensor(R"("dtype":"U8","shape":[99999999999999999999],)"
              R"("data_offsets":[0,1])"),
       1},
      {tensor(R"("dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],)"
              R"("data_offsets":[0,1])"),
       1},
      {"{\"\\ud83d\":{}}", 0},
      {"{\"\\udc00\":{}}", 0},
      {"{\"\\u0000\":{}}", 0},
      {"{\"\\u12g4\":{}}", 0},
      {"{\"\\q\":{}}", 0},
      {"{\"\\", 0},
      {"{\"\xff\":{}}", 0},
      {"{\"\xc3", 0},
      {"{\"\xe0\x80\x80\":{}}", 0},
      {"{\"\xed\xa0\x80\":{}}", 0},
      {"{\"\n\":{}}", 0},
      {"{\"unterminated", 0},
  };
  for (const auto &[header, bytes] : bad) {
    ssmrt_status status = parse(fileOf(header, bytes));
    EXPECT_TRUE(status == SSMRT_BAD_FILE || status == SSMRT_UNSUPPORTED)
        << header << ": " << status;
  }
  EXPECT_EQ(parse(""), SSMRT_BAD_FILE);
  EXPECT_EQ(parse("1234567"), SSMRT_BAD_FILE);
  EXPECT_EQ(parse(std::string(8, '\xff') + "{}"), SSMRT_BAD_FILE);
  EXPECT_EQ(parse(std::string("\x03\0\0\0\0\0\0\0{}", 10)), SSMRT_BAD_FILE);
}

TEST(Safetensors, NeverCrashesOnMutations) {
  std::mt19937 random = freshRandom();
  const std::string good = fileOf(R"({"b":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
                                  R"("\u00e9":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}})",
                                  9);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = good;
    for (unsigned flips = 1 + random() % 3; flips; --flips)
      bytes[random() % bytes.size()] = char(random());
    if (random() % 4 == 0)
      bytes.resize(random() % bytes.size());
    parse(bytes);
  }
}

TEST(Safetensors, WritesAllOrNothing) {
  Tensor<float> a({2}, {1, 2});
  a.view.dtype.bits = 24;
  TemporaryFile file("before");
  const ssmrt_input list[] = {{"a", &a.view}};
  expectFailure(ssmrt_tensors_write(file.path.c_str(), list, 1), SSMRT_INVALID_ARGUMENT, {"'a'"});
  EXPECT_EQ(readAll(file.path), "before");
  a.view.dtype.bits = 32;
  expectFailure(ssmrt_tensors_write("/no/such/folder/file", list, 1), SSMRT_IO_ERROR,
                {"/no/such/folder/file"});
  EXPECT_EQ(ssmrt_tensors_write("/dev/null", list, 1), SSMRT_OK);
}
