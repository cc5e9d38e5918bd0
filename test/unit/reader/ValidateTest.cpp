//===- ValidateTest.cpp - Versions, names, functions ----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ModelBuilder.h"
#include "lib/Import/Reader/FunctionMap.h"

using namespace ssm::onnx;
using namespace ssm::onnx::test;

static Bytes simple(const std::vector<Bytes> &nodes, const ModelSpec &spec = {}) {
  GraphSpec g;
  g.nodes = nodes;
  g.inputs = {valueInfo("x")};
  g.outputs = {valueInfo("y")};
  return model(graph(g), spec);
}

TEST(Validate, IRVersion) {
  Bytes relu = node("Relu", {"x"}, {"y"});
  for (int64_t version : {2, 15, -1, 1 << 20})
    EXPECT_ERROR(errorOf(simple({relu}, {version, {opset("", 17)}, {}})), "IR version",
                 "from 3 to 14");
  for (int64_t version : {3, 14})
    EXPECT_EQ(errorOf(simple({relu}, {version, {opset("", 17)}, {}})), "");
}

TEST(Validate, Opsets) {
  Bytes relu = node("Relu", {"x"}, {"y"});
  for (int64_t version : {6, 29, -3, 0})
    EXPECT_ERROR(errorOf(simple({relu}, {8, {opset("", version)}, {}})), "opset version",
                 "from 7 to 28");
  for (int64_t version : {7, 28})
    EXPECT_EQ(errorOf(simple({relu}, {8, {opset("", version)}, {}})), "");
  EXPECT_ERROR(errorOf(simple({relu}, {8, {}, {}})), "opset_import is missing");
  EXPECT_ERROR(errorOf(simple({relu}, {8, {opset("", 17), opset("", 18)}, {}})), "imported twice");
  EXPECT_ERROR(errorOf(simple({relu}, {8, {opset("other", 1)}, {}})), "node 'y' (Relu)",
               "'ai.onnx' is not imported");
  EXPECT_ERROR(errorOf(simple({node("Op", {"x"}, {"y"}, {}, "n", "my.domain")})),
               "node 'n' (my.domain::Op)", "'my.domain' is not imported");
  EXPECT_ERROR(errorOf(simple({relu}, {8, {opset("", 17), opset("my", 0)}, {}})), "version 0");
}

TEST(Validate, UndefinedInput) {
  EXPECT_ERROR(errorOf(simple({node("Add", {"x", "z"}, {"y"}, {}, "sum")})), "graph 'main'",
               "node 'sum' (Add)", "'z' is not defined");
}

TEST(Validate, OrderAndCycles) {
  EXPECT_ERROR(errorOf(simple({node("Add", {"x", "t"}, {"y"}, {}, "sum"),
                               node("Relu", {"x"}, {"t"}, {}, "late")})),
               "'t' is defined only later", "node 'late' (Relu)");
  EXPECT_ERROR(errorOf(simple({node("Add", {"x", "y"}, {"y"})})), "cycle");
}

TEST(Validate, NamesAreDefinedOnce) {
  Bytes relu = node("Relu", {"x"}, {"y"});
  EXPECT_ERROR(errorOf(simple({relu, node("Abs", {"x"}, {"y"}, {}, "again")})),
               "node 'again' (Abs)", "'y' is defined twice");
  EXPECT_ERROR(errorOf(simple({node("Abs", {"x"}, {"x"})})), "'x' is defined twice");
  EXPECT_ERROR(errorOf(simple({node("Split", {"x"}, {"y", "y"})})), "'y' is defined twice");

  GraphSpec g;
  g.nodes = {relu};
  g.inputs = {valueInfo("x"), valueInfo("x")};
  g.outputs = {valueInfo("y")};
  EXPECT_ERROR(errorOf(model(graph(g))), "input 'x' is defined twice");
  g.inputs = {valueInfo("x")};
  g.outputs = {valueInfo("y"), valueInfo("y")};
  EXPECT_ERROR(errorOf(model(graph(g))), "output 'y' is listed twice");
  g.outputs = {valueInfo("z")};
  EXPECT_ERROR(errorOf(model(graph(g))), "output 'z' is not defined");
  g.outputs = {valueInfo("y")};
  Bytes w = rawTensor("w", 1, {1}, Bytes(4, 0));
  g.initializers = {w, w};
  EXPECT_ERROR(errorOf(model(graph(g))), "initializer 'w' is defined twice");
  g.initializers = {rawTensor("y", 1, {1}, Bytes(4, 0))};
  EXPECT_ERROR(errorOf(model(graph(g))), "'y' is defined twice");
  g.initializers = {rawTensor("", 1, {1}, Bytes(4, 0))};
  EXPECT_ERROR(errorOf(model(graph(g))), "initializer has no name");
}

TEST(Validate, InitializersAndInputs) {
  GraphSpec g;
  g.nodes = {node("Add", {"x", "w"}, {"y"})};
  g.inputs = {valueInfo("x")};
  g.outputs = {valueInfo("y")};
  g.initializers = {rawTensor("w", 1, {1}, Bytes(4, 0))};
  EXPECT_EQ(errorOf(model(graph(g), {4, {opset("", 17)}, {}})), "");
  EXPECT_ERROR(errorOf(model(graph(g), {3, {opset("", 8)}, {}})), "initializer 'w' is not an input",
               "IR version 3");
  g.inputs.push_back(valueInfo("w", 1, {1}));
  EXPECT_EQ(errorOf(model(graph(g), {3, {opset("", 8)}, {}})), "");
  EXPECT_EQ(errorOf(model(graph(g), {4, {opset("", 17)}, {}})), "");
  g.initializers.push_back(g.initializers[0]);
  EXPECT_ERROR(errorOf(model(graph(g))), "initializer 'w' is defined twice");
}

TEST(Validate, NestedGraphs) {
  auto nested = [](const std::string &used, const std::string &made) {
    GraphSpec body;
    body.name = "body";
    body.nodes = {node("Relu", {used}, {made}, {}, "inner")};
    body.outputs = {valueInfo(made)};
    return node(
        "If", {"x"}, {"y"},
        {graphAttribute("then_branch", graph(body)), graphAttribute("else_branch", graph(body))},
        "branch");
  };
  // Captures, and equal names in graphs side by side.
  EXPECT_EQ(errorOf(simple({nested("x", "t")})), "");
  EXPECT_ERROR(errorOf(simple({nested("x", "x")})), "shadows a value of an outer graph", "'x'",
               "node 'inner' (Relu)", "node 'branch' (If)");
  EXPECT_ERROR(errorOf(simple({nested("y", "t")})), "'y' is defined only later",
               "node 'branch' (If)");
  EXPECT_ERROR(errorOf(simple({nested("gone", "t")})), "'gone' is not defined");
  // What is inside is not seen outside.
  EXPECT_ERROR(errorOf(simple({nested("x", "t"), node("Abs", {"t"}, {"z"})})), "'t'");
}

TEST(Validate, Functions) {
  ModelSpec spec;
  spec.opsets.push_back(opset("my", 1));
  Bytes call = node("F", {"x"}, {"y"}, {}, "call", "my");
  Bytes body = node("Relu", {"a"}, {"b"});
  spec.functions = {function("F", {"a"}, {"b"}, {body})};
  EXPECT_EQ(errorOf(simple({call}, spec)), "");
  Bytes bytes = simple({call}, spec);
  auto result = read(bytes);
  EXPECT_EQ(FunctionMap(*result).lookup(result->graph.nodes[0]), &result->functions[0]);

  spec.functions.push_back(spec.functions[0]);
  EXPECT_ERROR(errorOf(simple({call}, spec)), "function 'my::F' is defined twice");
  spec.functions = {function("F", {"a"}, {"b"}, {node("Relu", {"x"}, {"b"})})};
  EXPECT_ERROR(errorOf(simple({call}, spec)), "function 'my::F'", "'x' is not defined");
  spec.functions = {function("F", {"a"}, {"c"}, {body})};
  EXPECT_ERROR(errorOf(simple({call}, spec)), "output 'c' is not defined");
  spec.functions = {function("F", {"a"}, {"b"}, {body}, {}, {})};
  EXPECT_ERROR(errorOf(simple({call}, spec)), "function 'my::F'", "not imported");
}

TEST(Validate, RecursiveFunctions) {
  ModelSpec spec;
  spec.opsets.push_back(opset("my", 1));
  spec.functions = {function("F", {"a"}, {"b"}, {node("G", {"a"}, {"b"}, {}, "", "my")}),
                    function("G", {"a"}, {"b"}, {node("F", {"a"}, {"b"}, {}, "", "my")})};
  EXPECT_ERROR(errorOf(simple({node("Relu", {"x"}, {"y"})}, spec)), "function 'my::F'",
               "function 'my::G'", "recursive");
  // A long chain is fine, and walks no stack.
  spec.functions.clear();
  for (int i = 0; i < 20000; ++i)
    spec.functions.push_back(
        function("f" + std::to_string(i), {"a"}, {"b"},
                 {node("f" + std::to_string(i + 1), {"a"}, {"b"}, {}, "", "my")}));
  EXPECT_EQ(errorOf(simple({node("Relu", {"x"}, {"y"})}, spec)), "");
}

TEST(Validate, AttributeReferences) {
  Bytes ref = message([](auto &w) {
    w.add_string(1, "axis");
    w.add_int32(20, 2);
    w.add_string(21, "outer");
  });
  Bytes body = node("Softmax", {"a"}, {"b"}, {ref});
  ModelSpec spec;
  spec.opsets.push_back(opset("my", 1));
  Bytes call = node("F", {"x"}, {"y"}, {intAttribute("outer", 0)}, "call", "my");
  spec.functions = {function("F", {"a"}, {"b"}, {body}, {"outer"})};
  EXPECT_EQ(errorOf(simple({call}, spec)), "");
  spec.functions = {function("F", {"a"}, {"b"}, {body})};
  EXPECT_ERROR(errorOf(simple({call}, spec)), "'outer', which the function does not declare");
  EXPECT_ERROR(errorOf(simple({node("Softmax", {"x"}, {"y"}, {ref})})), "in no function");
  EXPECT_ERROR(errorOf(simple({node("Softmax", {"x"}, {"y"},
                                    {intAttribute("axis", 0), intAttribute("axis", 1)})})),
               "attribute 'axis' is given twice");
}

TEST(Validate, HostileNames) {
  EXPECT_ERROR(errorOf(simple({node("Relu", {"x"}, {std::string("y\0z", 3)})})),
               "'y\\x00z' has a control character");
  EXPECT_ERROR(errorOf(simple({node("Relu", {"evil\nline"}, {"y"})})), "'evil\\x0aline'");
  EXPECT_ERROR(errorOf(simple({node("Relu", {"x"}, {"\xff\xfe"})})), "not UTF-8");
  EXPECT_ERROR(errorOf(simple({node("", {"x"}, {"y"})})), "no operator");
}
