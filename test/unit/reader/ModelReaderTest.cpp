//===- ModelReaderTest.cpp - Structure and encodings ----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ModelBuilder.h"

using namespace ssm::onnx;
using namespace ssm::onnx::test;

TEST(ModelReader, ReadsAModel) {
  Bytes raw("\0\0\x80\x3f\0\0\0\x40", 8);
  GraphSpec spec;
  spec.nodes = {node("Add", {"x", "w"}, {"s"}, {}, "sum"),
                node("Softmax", {"s"}, {"y"}, {intAttribute("axis", -1)})};
  spec.inputs = {valueInfo("x", 1, {3, 2})};
  spec.outputs = {valueInfo("y", 1, {3, 2})};
  spec.initializers = {rawTensor("w", 1, {2}, raw)};
  Bytes bytes = model(graph(spec), {9, {opset("", 18), opset("com.microsoft", 1)}, {}});
  auto result = read(bytes);
  EXPECT_EQ(result->irVersion, 9);
  EXPECT_EQ(getOpsetVersion(result->opsetImports, ""), 18);
  EXPECT_EQ(getOpsetVersion(result->opsetImports, "com.microsoft"), 1);
  EXPECT_EQ(getOpsetVersion(result->opsetImports, "other"), std::nullopt);
  const Graph &g = result->graph;
  ASSERT_EQ(g.nodes.size(), 2u);
  EXPECT_EQ(g.nodes[0].describe(), "node 'sum' (Add)");
  EXPECT_EQ(g.nodes[1].describe(), "node 'y' (Softmax)");
  ASSERT_NE(g.nodes[1].getAttribute("axis"), nullptr);
  EXPECT_EQ(g.nodes[1].getAttribute("axis")->i, -1);
  ASSERT_TRUE(g.inputs[0].type.shape.has_value());
  EXPECT_EQ((*g.inputs[0].type.shape)[0].value, 3);
  // No copy: the weight is a view of the bytes given.
  WeightSource weight(g.initializers[0]);
  ASSERT_TRUE(weight.getRange().has_value());
  EXPECT_EQ(bytes.substr(weight.getRange()->offset, weight.getRange()->length), raw);
  EXPECT_EQ(weight.getBytes()->data(), bytes.data() + weight.getRange()->offset);
}

TEST(ModelReader, DefaultDomainHasTwoNames) {
  GraphSpec spec;
  spec.nodes = {node("Relu", {"x"}, {"y"}, {}, "", "ai.onnx")};
  spec.inputs = {valueInfo("x")};
  spec.outputs = {valueInfo("y")};
  EXPECT_EQ(read(model(graph(spec)))->graph.nodes[0].domain, "");
  EXPECT_ERROR(errorOf(model(graph(spec), {8, {opset("", 17), opset("ai.onnx", 17)}, {}})),
               "imported twice");
}

TEST(ModelReader, ListsPackedAndUnpacked) {
  for (bool packed : {false, true}) {
    std::vector<int64_t> ints = {1, -2, int64_t(1) << 40};
    std::vector<float> floats = {0.5f, -1.0f};
    Bytes a = message([&](auto &w) {
      w.add_string(1, "ints");
      w.add_int32(20, 7);
      if (packed)
        w.add_packed_int64(8, ints.begin(), ints.end());
      else
        for (int64_t value : ints)
          w.add_int64(8, value);
    });
    Bytes b = message([&](auto &w) {
      w.add_string(1, "floats");
      w.add_int32(20, 6);
      if (packed)
        w.add_packed_float(7, floats.begin(), floats.end());
      else
        for (float value : floats)
          w.add_float(7, value);
    });
    GraphSpec spec;
    spec.nodes = {node("Op", {"x"}, {"y"}, {a, b})};
    spec.inputs = {valueInfo("x")};
    spec.outputs = {valueInfo("y")};
    auto result = read(model(graph(spec)));
    EXPECT_EQ(result->graph.nodes[0].getAttribute("ints")->ints, ints);
    EXPECT_EQ(result->graph.nodes[0].getAttribute("floats")->floats, floats);
  }
}

TEST(ModelReader, AttributesWithoutTypeTakeItFromTheValue) {
  auto build = [](auto fill) {
    GraphSpec spec;
    spec.nodes = {node("Op", {"x"}, {"y"}, {message([&](auto &w) {
                         w.add_string(1, "a");
                         fill(w);
                       })})};
    spec.inputs = {valueInfo("x")};
    spec.outputs = {valueInfo("y")};
    return model(graph(spec));
  };
  Bytes bytes = build([](auto &w) { w.add_float(2, 1.5f); });
  EXPECT_EQ(read(bytes)->graph.nodes[0].attributes[0].kind, NodeAttribute::Kind::Float);
  EXPECT_ERROR(errorOf(build([](auto &w) {
                 w.add_float(2, 1.5f);
                 w.add_int64(3, 1);
               })),
               "several values", "attribute 'a'");
  EXPECT_ERROR(errorOf(build([](auto &w) {
                 w.add_int32(20, 2);
                 w.add_float(2, 1.5f);
               })),
               "not of its type");
  EXPECT_ERROR(errorOf(build([](auto &w) { w.add_int32(20, 4); })), "has no value");
  EXPECT_ERROR(errorOf(build([](auto &w) { w.add_int32(20, 99); })), "unknown type 99");
  // A zero may be left out.
  bytes = build([](auto &w) { w.add_int32(20, 2); });
  EXPECT_EQ(read(bytes)->graph.nodes[0].attributes[0].i, 0);
}

TEST(ModelReader, Types) {
  Bytes dims = message([&](auto &w) {
    w.add_message(1, message([&](auto &d) { d.add_string(2, "batch"); }));
    w.add_message(1, message([&](auto &d) { d.add_int64(1, 0); }));
    w.add_message(1, message([&](auto &d) { d.add_int64(1, -1); }));
    w.add_message(1, Bytes());
  });
  Bytes tensorType = message([&](auto &w) {
    w.add_message(1, message([&](auto &t) {
                    t.add_int32(1, 10);
                    t.add_message(2, dims);
                  }));
  });
  Bytes sequence = message(
      [&](auto &w) { w.add_message(4, message([&](auto &t) { t.add_message(1, tensorType); })); });
  Bytes optional = message(
      [&](auto &w) { w.add_message(9, message([&](auto &t) { t.add_message(1, sequence); })); });
  GraphSpec spec;
  spec.inputs = {message([&](auto &w) {
    w.add_string(1, "x");
    w.add_message(2, optional);
  })};
  spec.outputs = {message([&](auto &w) { w.add_string(1, "x"); })};
  Bytes bytes = model(graph(spec));
  auto result = read(bytes);
  const TypeInfo &type = result->graph.inputs[0].type;
  EXPECT_EQ(type.kind, TypeInfo::Kind::Optional);
  EXPECT_EQ(type.inner->kind, TypeInfo::Kind::Sequence);
  const TypeInfo &inner = *type.inner->inner;
  EXPECT_EQ(inner.elementType, ElementType::Float16);
  ASSERT_EQ(inner.shape->size(), 4u);
  EXPECT_EQ((*inner.shape)[0].param, "batch");
  EXPECT_EQ((*inner.shape)[1].kind, Dimension::Kind::Value);
  EXPECT_EQ((*inner.shape)[2].kind, Dimension::Kind::Unknown);
  EXPECT_EQ((*inner.shape)[3].kind, Dimension::Kind::Unknown);
  EXPECT_EQ(result->graph.outputs[0].type.kind, TypeInfo::Kind::Missing);

  GraphSpec bad;
  bad.inputs = {valueInfo("x", 1, {-7})};
  EXPECT_ERROR(errorOf(model(graph(bad))), "value 'x'", "-7");
  bad.inputs = {valueInfo("x", 77)};
  EXPECT_ERROR(errorOf(model(graph(bad))), "value 'x'", "element type 77");
  bad.inputs = {valueInfo("x", 1, Dims(65, 1))};
  EXPECT_ERROR(errorOf(model(graph(bad))), "rank");
}

TEST(ModelReader, DepthIsLimited) {
  Bytes inner = graph({});
  for (int i = 0; i < 70; ++i) {
    GraphSpec spec;
    spec.nodes = {node("If", {}, {}, {graphAttribute("then_branch", inner)})};
    inner = graph(spec);
  }
  EXPECT_ERROR(errorOf(model(inner)), "nested more than 64");

  Bytes type;
  for (int i = 0; i < 70; ++i)
    type = message(
        [&](auto &w) { w.add_message(4, message([&](auto &t) { t.add_message(1, type); })); });
  GraphSpec spec;
  spec.inputs = {message([&](auto &w) {
    w.add_string(1, "x");
    w.add_message(2, type);
  })};
  EXPECT_ERROR(errorOf(model(graph(spec))), "nested more than 64");
}

TEST(ModelReader, UnknownFieldsAreSkipped) {
  Bytes bytes = reluModel({});
  protozero::pbf_writer writer(bytes);
  writer.add_bytes(1000, Bytes(100, 'x'));
  writer.add_fixed64(1001, 5);
  writer.add_fixed32(1002, 5);
  writer.add_int64(1003, -5);
  EXPECT_EQ(read(bytes)->graph.nodes.size(), 1u);
}

TEST(ModelReader, DamagedFiles) {
  EXPECT_ERROR(errorOf(""), "test.onnx", "empty");
  EXPECT_ERROR(errorOf("<html>"), "test.onnx");
  EXPECT_ERROR(errorOf("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer");
  EXPECT_ERROR(errorOf(Bytes("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10)), "damaged");
  EXPECT_ERROR(errorOf(Bytes(12, '\xff')), "ten bytes");
  EXPECT_ERROR(errorOf(Bytes("\x00\x01", 2)), "impossible number");
  EXPECT_ERROR(errorOf(Bytes("\x0b\x01", 2)), "unknown encoding");
  // The IR version as a string.
  EXPECT_ERROR(errorOf(Bytes("\x0a\x01\x01", 3)), "wrong encoding");

  Bytes bytes = reluModel({rawTensor("w", 1, {1}, Bytes(4, 0))});
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_NE(errorOf(bytes.substr(0, size)), "") << "cut at " << size;
}

TEST(ModelReader, TwoGraphsAreNotMerged) {
  Bytes bytes = reluModel({});
  protozero::pbf_writer(bytes).add_message(7, graph({}));
  EXPECT_ERROR(errorOf(bytes), "two graphs");
  EXPECT_ERROR(errorOf(message([](auto &w) { w.add_int64(1, 8); })), "no graph");
}

TEST(ModelReader, MissingFile) {
  auto result = readModel("/no/such/folder/model.onnx");
  ASSERT_FALSE(bool(result));
  EXPECT_ERROR(llvm::toString(result.takeError()), "/no/such/folder/model.onnx", "No such file");
  result = readModel("/");
  ASSERT_FALSE(bool(result));
  EXPECT_ERROR(llvm::toString(result.takeError()), "not a regular file");
}
