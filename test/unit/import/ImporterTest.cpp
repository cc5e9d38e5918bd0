//===- ImporterTest.cpp - Graphs out of models ----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Importer.h"

#include "dialects/ONNX/ONNXOps.h"
#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "test/unit/reader/ModelBuilder.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;
using namespace ssm::onnx::test;

namespace {
/// Imports models and keeps what was said about them.
class ImporterTest : public testing::Test {
protected:
  ImporterTest() : context(MLIRContext::Threading::DISABLED) {
    context.getDiagEngine().registerHandler([&](Diagnostic &diagnostic) {
      errors += diagnostic.str() + "\n";
      return success();
    });
    start();
  }

  /// Begins a new module.
  void start() { importer = std::make_unique<Importer>(&context); }

  /// The function of the entry, or null after errors. `bytes` must live on.
  func::FuncOp import(const Bytes &bytes, StringRef entry = "main") {
    errors.clear();
    auto model = readModelFromMemory(bytes, "test.onnx");
    if (!model) {
      errors = llvm::toString(model.takeError());
      return {};
    }
    if (failed(importer->addEntry(entry, std::move(*model))))
      return {};
    EXPECT_TRUE(succeeded(verify(importer->getModule())));
    return importer->getModule().lookupSymbol<func::FuncOp>(entry);
  }

  /// The one line of the error of importing.
  std::string errorOf(const Bytes &bytes) {
    start();
    EXPECT_FALSE(import(bytes));
    EXPECT_EQ(llvm::count(errors, '\n'), 1) << errors;
    return errors;
  }

  std::string read(int64_t index) {
    std::string bytes;
    llvm::Error error = importer->getWeights().read(index, [&](ArrayRef<uint8_t> piece) {
      bytes += llvm::toStringRef(piece);
      return llvm::Error::success();
    });
    if (error)
      return llvm::toString(std::move(error));
    return bytes;
  }

  MLIRContext context;
  std::unique_ptr<Importer> importer;
  std::string errors;
};
} // namespace

static SmallVector<std::string> namesOf(func::FuncOp function) {
  SmallVector<std::string> names;
  function.walk([&](NodeOp node) { names.push_back(node.getNodeName()); });
  return names;
}

static Bytes dimParam(const std::string &name, const std::vector<std::string> &dims) {
  Bytes shape = message([&](auto &w) {
    for (const std::string &dim : dims)
      w.add_message(1, message([&](auto &d) { d.add_string(2, dim); }));
  });
  Bytes tensor = message([&](auto &w) {
    w.add_int32(1, 1);
    w.add_message(2, shape);
  });
  return message([&](auto &w) {
    w.add_string(1, name);
    w.add_message(2, message([&](auto &t) { t.add_message(1, tensor); }));
  });
}

TEST_F(ImporterTest, Signature) {
  GraphSpec spec;
  spec.nodes = {node("Add", {"x", "k"}, {"y"}, {}, "sum"), node("Relu", {"y"}, {"z"})};
  spec.inputs = {dimParam("x", {"batch", "96"}), valueInfo("k", 1, {})};
  spec.outputs = {valueInfo("z", 1, {-1, -1})};
  spec.initializers = {rawTensor("k", 1, {}, Bytes("\0\0\x80\x3f", 4))};
  Bytes bytes = model(graph(spec));
  func::FuncOp function = import(bytes);
  ASSERT_TRUE(function) << errors;
  EXPECT_TRUE(function.isPublic());
  // The initializer is no argument, though it is listed as an input.
  ASSERT_EQ(function.getNumArguments(), 1u);
  Builder b(&context);
  EXPECT_EQ(function.getArgAttr(0, "onnx.name"), b.getStringAttr("x"));
  EXPECT_EQ(function.getArgAttr(0, "onnx.dims"), b.getStrArrayAttr({"batch", "96"}));
  EXPECT_EQ(function.getResultAttr(0, "onnx.name"), b.getStringAttr("z"));
  EXPECT_EQ(function.getResultAttr(0, "onnx.dims"),
            b.getArrayAttr({b.getUnitAttr(), b.getUnitAttr()}));
  EXPECT_EQ(namesOf(function), (SmallVector<std::string>{"'sum' (Add)", "'Relu:z' (Relu)"}));
  EXPECT_EQ(function.getResultTypes()[0],
            RankedTensorType::get({ShapedType::kDynamic, ShapedType::kDynamic}, b.getF32Type()));
}

TEST_F(ImporterTest, WeightsAndConstants) {
  // Floats of more than 64 bytes are weights, integers of more than 1 KiB.
  Bytes small(64, 'a'), large(68, 'b'), integers(1024, 'c');
  GraphSpec spec;
  Bytes value = message([&](auto &w) {
    w.add_string(1, "value");
    w.add_int32(20, 4);
    w.add_message(5, rawTensor("", 1, {17}, large));
  });
  spec.nodes = {node("Constant", {}, {"c"}, {value})};
  spec.outputs = {valueInfo("small", 1, {16}), valueInfo("large", 1, {17}),
                  valueInfo("c", 1, {17}), valueInfo("flags", 9, {1100}),
                  valueInfo("integers", 6, {256})};
  spec.initializers = {rawTensor("small", 1, {16}, small), rawTensor("large", 1, {17}, large),
                       rawTensor("flags", 9, {1100}, Bytes(1100, '\7')),
                       rawTensor("integers", 6, {256}, integers)};
  Bytes bytes = model(graph(spec));
  func::FuncOp function = import(bytes);
  ASSERT_TRUE(function) << errors;
  auto result = [&](unsigned i) {
    return function.front().getTerminator()->getOperand(i).getDefiningOp();
  };
  EXPECT_TRUE(isa<ConstantOp>(result(0)));
  EXPECT_TRUE(isa<ConstantOp>(result(4)));
  auto weightOf = [&](unsigned i) {
    auto load = cast<LoadWeightOp>(result(i));
    return importer->getModule().lookupSymbol<WeightOp>(load.getWeight());
  };
  WeightOp weight = weightOf(1);
  EXPECT_EQ(weight.getSymName(), "large");
  EXPECT_EQ(weight.getLength(), 68u);
  EXPECT_EQ(weight.getFile(), "test.onnx");
  EXPECT_EQ(bytes.substr(*weight.getOffset(), 68), large);
  EXPECT_EQ(read(*weight.getIndex()), large);
  EXPECT_EQ(weightOf(2).getSymName(), "c");
  EXPECT_EQ(read(*weightOf(2).getIndex()), large);
  // Bools of a file can be any byte, those of a weight cannot.
  EXPECT_FALSE(weightOf(3).getFile().has_value());
  EXPECT_EQ(read(*weightOf(3).getIndex()), Bytes(1100, '\1'));
  EXPECT_NE(read(99).find("no weight"), std::string::npos);
}

TEST_F(ImporterTest, PackedWeights) {
  GraphSpec spec;
  spec.outputs = {valueInfo("w", 22, {4001})};
  Bytes raw(2001, '\x7f');
  raw.back() = '\x08';
  spec.initializers = {rawTensor("w", 22, {4001}, raw)};
  Bytes bytes = model(graph(spec));
  ASSERT_TRUE(import(bytes)) << errors;
  auto weight = importer->getModule().lookupSymbol<WeightOp>("w");
  ASSERT_TRUE(weight);
  EXPECT_EQ(weight.getLength(), 4001u);
  EXPECT_FALSE(weight.getFile().has_value());
  Bytes unpacked = read(*weight.getIndex());
  ASSERT_EQ(unpacked.size(), 4001u);
  EXPECT_EQ(unpacked.substr(0, 2), "\xff\x07");
  EXPECT_EQ(unpacked.back(), '\xf8');
}

TEST_F(ImporterTest, RegionsCaptureValues) {
  GraphSpec body;
  body.nodes = {node("Add", {"x", "w"}, {"t"}, {}, "inner")};
  body.outputs = {valueInfo("t")};
  body.initializers = {rawTensor("w", 1, {2}, Bytes(8, 0))};
  GraphSpec other;
  other.nodes = {node("Neg", {"x"}, {"t"})};
  other.outputs = {valueInfo("t")};
  GraphSpec spec;
  spec.nodes = {node(
      "If", {"c"}, {"y"},
      {graphAttribute("then_branch", graph(body)), graphAttribute("else_branch", graph(other))},
      "branch")};
  spec.inputs = {valueInfo("c", 9, {}), valueInfo("x")};
  spec.outputs = {valueInfo("y")};
  Bytes bytes = model(graph(spec));
  func::FuncOp function = import(bytes);
  ASSERT_TRUE(function) << errors;
  NodeOp branch;
  function.walk([&](NodeOp node) {
    if (node.getOpType() == "If")
      branch = node;
  });
  ASSERT_TRUE(branch);
  Region *region = branch.getONNXRegion("then_branch");
  ASSERT_TRUE(region);
  auto inner = cast<NodeOp>(
      cast<onnx::YieldOp>(region->front().getTerminator()).getOutputs()[0].getDefiningOp());
  EXPECT_EQ(inner.getInputs()[0], function.getArgument(1));
  EXPECT_EQ(inner.getInputs()[1].getDefiningOp()->getParentRegion(), region);
}

TEST_F(ImporterTest, InputsAndOutputsLeftOut) {
  GraphSpec spec;
  spec.nodes = {node("Clip", {"x", "", "k"}, {"t"}), node("Clip", {"t", "", "k"}, {"y"})};
  spec.inputs = {valueInfo("x")};
  spec.outputs = {valueInfo("y")};
  spec.initializers = {rawTensor("k", 1, {}, Bytes(4, 0))};
  Bytes bytes = model(graph(spec));
  func::FuncOp function = import(bytes);
  ASSERT_TRUE(function) << errors;
  unsigned absents = 0;
  function.walk([&](AbsentOp) { ++absents; });
  EXPECT_EQ(absents, 1u);
  function.walk(
      [](NodeOp node) { EXPECT_TRUE(isa<onnx::NoneType>(node.getInputs()[1].getType())); });
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

static Bytes floatRef(const std::string &name, const std::string &outer) {
  return message([&](auto &w) {
    w.add_string(1, name);
    w.add_int32(20, 1);
    w.add_string(21, outer);
  });
}

static Bytes floatAttribute(const std::string &name, float value) {
  return message([&](auto &w) {
    w.add_string(1, name);
    w.add_int32(20, 1);
    w.add_float(2, value);
  });
}

static Bytes calls(const std::vector<Bytes> &functions, const std::vector<Bytes> &nodes) {
  GraphSpec spec;
  spec.nodes = nodes;
  spec.inputs = {valueInfo("x")};
  spec.outputs = {valueInfo("y")};
  return model(graph(spec), {9, {opset("", 17), opset("my", 1)}, functions});
}

TEST_F(ImporterTest, FunctionsAreInlined) {
  // G hands its own attribute on; the second call leaves it to Elu's default.
  Bytes f = function("F", {"a", "b"}, {"r"},
                     {node("Elu", {"a"}, {"r"}, {floatRef("alpha", "slope")}, "elu")}, {"slope"});
  Bytes g = function("G", {"a"}, {"r"},
                     {node("F", {"a"}, {"t"}, {floatRef("slope", "s")}, "one", "my"),
                      node("F", {"t", ""}, {"r"}, {}, "two", "my")},
                     {"s"});
  Bytes bytes = calls({f, g}, {node("G", {"x"}, {"y"}, {floatAttribute("s", 0.5f)}, "call", "my")});
  func::FuncOp function = import(bytes);
  ASSERT_TRUE(function) << errors;
  EXPECT_EQ(namesOf(function),
            (SmallVector<std::string>{"'call/one/elu' (Elu)", "'call/two/elu' (Elu)"}));
  SmallVector<Attribute> alphas;
  function.walk([&](NodeOp node) { alphas.push_back(node.getONNXAttr("alpha")); });
  EXPECT_EQ(alphas[0], Attribute(FloatAttr::get(Float32Type::get(&context), 0.5)));
  EXPECT_EQ(alphas[1], Attribute());
}

TEST_F(ImporterTest, KnownOperatorsAreNotInlined) {
  Bytes bytes = message([](auto &w) {
    w.add_string(1, "Relu");
    w.add_string(4, "a");
    w.add_string(5, "r");
    w.add_message(7, node("Abs", {"a"}, {"r"}));
    w.add_message(9, opset("", 17));
  });
  bytes = calls({bytes}, {node("Relu", {"x"}, {"y"})});
  func::FuncOp function = import(bytes);
  ASSERT_TRUE(function) << errors;
  EXPECT_EQ(namesOf(function), SmallVector<std::string>{"'Relu:y' (Relu)"});
}

TEST_F(ImporterTest, FunctionsThatExplode) {
  // 2^40 nodes out of 40 functions.
  std::vector<Bytes> functions = {function("f0", {"a"}, {"r"}, {node("Abs", {"a"}, {"r"})})};
  for (int i = 1; i < 40; ++i) {
    std::string inner = "f" + std::to_string(i - 1);
    functions.push_back(function(
        "f" + std::to_string(i), {"a"}, {"r"},
        {node(inner, {"a"}, {"t"}, {}, "", "my"), node(inner, {"t"}, {"r"}, {}, "", "my")}));
  }
  EXPECT_ERROR(errorOf(calls(functions, {node("f39", {"x"}, {"y"}, {}, "", "my")})),
               "expand to more than");
  // A chain of 1000 calls.
  functions.resize(1);
  for (int i = 1; i < 1000; ++i)
    functions.push_back(function("f" + std::to_string(i), {"a"}, {"r"},
                                 {node("f" + std::to_string(i - 1), {"a"}, {"r"}, {}, "", "my")}));
  EXPECT_ERROR(errorOf(calls(functions, {node("f999", {"x"}, {"y"}, {}, "", "my")})),
               "nested more than");
}

TEST_F(ImporterTest, WrongCalls) {
  Bytes f = function("F", {"a"}, {"r"}, {node("Abs", {"a"}, {"r"})});
  EXPECT_ERROR(errorOf(calls({f}, {node("F", {"x", "x"}, {"y"}, {}, "call", "my")})),
               "node 'call' (my::F)", "2 inputs", "expected at most 1");
}

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

TEST_F(ImporterTest, UnsupportedOperatorsAllAtOnce) {
  Bytes f = function("F", {"a"}, {"r"}, {node("Mystery", {"a"}, {"r"}, {}, "deep")});
  EXPECT_ERROR(errorOf(calls({f}, {node("Odd", {"x"}, {"a"}, {}, "first", "my"),
                                   node("Odd", {"a"}, {"b"}, {}, "second", "my"),
                                   node("F", {"b"}, {"y"}, {}, "", "my")})),
               "2 operators are not supported", "2 x my::Odd (opset 1, first node 'first')",
               "1 x Mystery (opset 17, first node 'deep')");
}

TEST_F(ImporterTest, Contradictions) {
  auto declared = [&](const Bytes &output) {
    GraphSpec spec;
    spec.nodes = {node("Relu", {"x"}, {"y"})};
    spec.inputs = {valueInfo("x", 1, {3, -1})};
    spec.outputs = {output};
    return errorOf(model(graph(spec)));
  };
  EXPECT_ERROR(declared(valueInfo("y", 7, {3, -1})), "output 'y'", "INT64", "f32");
  EXPECT_ERROR(declared(valueInfo("y", 1, {3})), "output 'y'", "rank 1", "rank 2");
  EXPECT_ERROR(declared(valueInfo("y", 1, {4, -1})), "output 'y'", "axis 0", "size 4", "size 3");
}

TEST_F(ImporterTest, Inputs) {
  auto withInput = [](const Bytes &input) {
    GraphSpec spec;
    spec.inputs = {input};
    spec.outputs = {message([](auto &w) { w.add_string(1, "x"); })};
    return model(graph(spec));
  };
  EXPECT_ERROR(errorOf(withInput(valueInfo("x", 8))), "input 'x'", "STRING");
  EXPECT_ERROR(errorOf(withInput(message([](auto &w) { w.add_string(1, "x"); }))), "input 'x'",
               "expected a tensor");
  EXPECT_ERROR(errorOf(withInput(message([](auto &w) {
                 w.add_string(1, "x");
                 w.add_message(2, message([](auto &t) {
                                 t.add_message(1, message([](auto &e) { e.add_int32(1, 1); }));
                               }));
               }))),
               "input 'x'", "no shape");
}

TEST_F(ImporterTest, SeveralEntries) {
  auto build = [](char fill) {
    GraphSpec spec;
    spec.outputs = {valueInfo("decode", 1, {300})};
    spec.initializers = {rawTensor("decode", 1, {300}, Bytes(1200, fill))};
    return model(graph(spec));
  };
  Bytes a = build('a'), b = build('b');
  ASSERT_TRUE(import(a, "prefill")) << errors;
  // The entry takes the name from the weight.
  ASSERT_TRUE(import(b, "decode")) << errors;
  SmallVector<WeightOp> found(importer->getModule().getOps<WeightOp>());
  ASSERT_EQ(found.size(), 2u);
  EXPECT_NE(found[0].getSymName(), found[1].getSymName());
  EXPECT_NE(read(*found[0].getIndex()), read(*found[1].getIndex()));
  EXPECT_FALSE(import(a, "decode"));
  EXPECT_ERROR(errors, "two entries 'decode'");
}
