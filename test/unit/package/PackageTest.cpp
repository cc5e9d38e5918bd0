//===- PackageTest.cpp - Module files ------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/Hash.h"
#include "test/unit/package/PackageTesting.h"
#include "test/unit/package/TestModules.h"
#include "llvm/ADT/StringExtras.h"

#include <cmath>

using namespace ssm;

namespace {
class Package : public ::testing::Test {
protected:
  void SetUp() override {
    sources.add<float>("scale", {1, 2, 3, 4});
    sources.add<float>("shared", {1, 2, 3, 4});
    sources.add<uint8_t>("odd", {5, 6, 7});
    sources.add<uint16_t>("table", {1, 2, 3, 4, 5, 65535});
    sources.add<uint8_t>("empty", {});
  }

  std::string package(llvm::StringRef text, const PackageOptions &options,
                      llvm::StringRef name = "m.so") {
    auto module = context.parse(text);
    return toString(packageModule(nativeVersion(*module), sources, options, folder.file(name)));
  }
  std::vector<std::string> files() { return listFolder(folder.path()); }

  static std::string replace(std::string text, llvm::StringRef from, llvm::StringRef to) {
    size_t at = text.find(from.str());
    EXPECT_NE(at, std::string::npos) << from.str();
    return text.replace(at, from.size(), to.str());
  }

  Context context;
  MemorySources sources;
  ScratchFolder folder = cantFail(ScratchFolder::create("ssm-test"));
};

/// One call of the entry of kScaleModule.
struct ScaleCall {
  std::vector<float> y;
  std::vector<int64_t> reported;

  static void *output(void *context, int32_t, const int64_t *dims) {
    auto &call = *static_cast<ScaleCall *>(context);
    call.y.resize(dims[0]);
    return call.y.data();
  }
  static int32_t report(void *context, int32_t site, const int64_t *values, int32_t count) {
    auto &call = *static_cast<ScaleCall *>(context);
    call.reported = {site};
    call.reported.insert(call.reported.end(), values, values + count);
    return SSM_RUN_CHECK_FAILED;
  }
  int32_t run(const ssm_entry &entry, const std::vector<float> &x, const void *weights) {
    ssm_table table = {};
    table.abi_version = SSM_MODULE_ABI_VERSION;
    table.output = output;
    table.report = report;
    int64_t n = x.size();
    ssm_arg args[2] = {{x.data(), &n}, {nullptr, nullptr}};
    return entry.run(&table, this, args, nullptr, weights);
  }
};
} // namespace

TEST_F(Package, DescribesAndRuns) {
  ASSERT_EQ(package(kScaleModule, nativeOptions()), "");
  EXPECT_EQ(files(), (std::vector<std::string>{"m.so", "m.weights.safetensors"}));
  Loaded module(folder.file("m.so"));
  EXPECT_EQ(module->magic, SSM_MODULE_MAGIC);
  EXPECT_EQ(module->abi_version, SSM_MODULE_ABI_VERSION);
  EXPECT_EQ(module->struct_bytes, sizeof(ssm_module));
  EXPECT_STREQ(module->options, "-O3 --cpu=native");
  EXPECT_EQ(module->model_hash, 0x1234u);
  EXPECT_EQ(nativeTarget().cpu, module->cpu);
  EXPECT_EQ(nativeTarget().triple, module->target);
  EXPECT_EQ(llvm::join(nativeTarget().requiredFeatures, ","), module->features);
  ASSERT_EQ(module->num_entries, 1);

  const ssm_entry &entry = module->entries[0];
  EXPECT_STREQ(entry.name, "main");
  ASSERT_EQ(entry.num_inputs, 2);
  ASSERT_EQ(entry.num_outputs, 2);
  EXPECT_STREQ(entry.inputs[0].name, "x");
  EXPECT_EQ(entry.inputs[0].type, SSM_TYPE_F32);
  ASSERT_EQ(entry.inputs[0].rank, 1);
  EXPECT_EQ(entry.inputs[0].dims[0].value, -1);
  EXPECT_STREQ(entry.inputs[0].dims[0].name, "n");
  EXPECT_EQ(entry.inputs[1].dims[0].value, 2);
  EXPECT_EQ(entry.inputs[1].dims[0].name, nullptr);
  EXPECT_EQ(entry.inputs[1].dims[1].value, -1);
  EXPECT_EQ(entry.inputs[1].dims[1].name, nullptr);
  ASSERT_EQ(entry.num_states, 1);
  EXPECT_EQ(entry.states[0].kind, SSM_STATE_APPEND);
  EXPECT_EQ(entry.states[0].axis, 1);
  ASSERT_EQ(entry.num_checks, 1);
  EXPECT_STREQ(entry.checks[0].node, "'limit' (Range)");
  EXPECT_EQ(entry.num_kernels, 0);

  ssm_arg args[2] = {};
  int64_t n = 7, arena = -1, dims[3] = {};
  args[0].dims = &n;
  EXPECT_EQ(entry.plan(nullptr, nullptr, args, &arena, dims), 0);
  EXPECT_EQ(arena, 0);
  EXPECT_EQ(dims[0], 7);

  // Odd lengths, and the lengths around those of vectors.
  const float weights[] = {1, 2, 3, 4};
  for (size_t length : {0, 1, 3, 8, 17, 1000}) {
    std::vector<float> x(length);
    for (size_t i = 0; i < length; ++i)
      x[i] = 0.01f * i;
    ScaleCall call;
    ASSERT_EQ(call.run(entry, x, weights), SSM_RUN_OK);
    for (size_t i = 0; i < length; ++i)
      EXPECT_FLOAT_EQ(call.y[i], std::exp(0.01f * i) * weights[i % 4]) << i;
  }
  ScaleCall call;
  EXPECT_EQ(call.run(entry, std::vector<float>(1001), weights), SSM_RUN_CHECK_FAILED);
  EXPECT_EQ(call.reported, (std::vector<int64_t>{0, 1001}));
}

TEST_F(Package, OnlyTheDescriptionIsVisible) {
  ASSERT_EQ(package(kScaleModule, nativeOptions()), "");
  Loaded module(folder.file("m.so"));
  for (const char *name : {"main.run", "main.plan", "ssm_embedded_weights"})
    EXPECT_EQ(module.symbol(name), nullptr) << name;
}

TEST_F(Package, DescribesItsWeights) {
  ASSERT_EQ(package(kScaleModule, nativeOptions()), "");
  Loaded module(folder.file("m.so"));
  std::string bytes = readFile(folder.file("m.weights.safetensors"));
  EXPECT_STREQ(module->weights_file, "m.weights.safetensors");
  EXPECT_EQ(module->embedded_weights, nullptr);
  EXPECT_EQ(module->weights_file_bytes, int64_t(bytes.size()));
  ASSERT_LE(module->weights_base, int64_t(bytes.size()));
  EXPECT_EQ(module->weights_base % 64, 0);
  Hasher header;
  header.update(llvm::arrayRefFromStringRef(bytes).take_front(module->weights_base));
  EXPECT_EQ(module->weights_header_hash, header.finish());

  ASSERT_EQ(module->num_weights, 5);
  for (int32_t i = 0; i < module->num_weights; ++i) {
    const ssm_weight_info &weight = module->weights[i];
    const std::string &expected = sources.weights[weight.name];
    ASSERT_EQ(weight.bytes, int64_t(expected.size())) << weight.name;
    EXPECT_EQ(bytes.substr(module->weights_base + weight.offset, weight.bytes), expected)
        << weight.name;
    Hasher hasher;
    hasher.update(llvm::arrayRefFromStringRef(expected));
    EXPECT_EQ(weight.hash, hasher.finish()) << weight.name;
  }
  const ssm_weight_info &table = module->weights[4];
  EXPECT_STREQ(table.name, "table");
  EXPECT_EQ(table.type, SSM_TYPE_U16);
  ASSERT_EQ(table.rank, 2);
  EXPECT_EQ(table.dims[1], 3);
}

TEST_F(Package, EmbeddedWeights) {
  PackageOptions options = nativeOptions();
  options.embedWeights = true;
  ASSERT_EQ(package(kScaleModule, options), "");
  EXPECT_EQ(files(), std::vector<std::string>{"m.so"});
  Loaded module(folder.file("m.so"));
  EXPECT_EQ(module->weights_file, nullptr);
  ASSERT_NE(module->embedded_weights, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(module->embedded_weights) % 64, 0u);
  auto *base = static_cast<const char *>(module->embedded_weights);
  for (int32_t i = 0; i < module->num_weights; ++i) {
    const ssm_weight_info &weight = module->weights[i];
    EXPECT_EQ(std::string(base + weight.offset, weight.bytes), sources.weights[weight.name]);
  }
  ScaleCall call;
  ASSERT_EQ(call.run(module->entries[0], {0, 0, 0}, base), SSM_RUN_OK);
  EXPECT_EQ(call.y, (std::vector<float>{1, 2, 3}));
}

TEST_F(Package, EndsInItsTrailer) {
  ASSERT_EQ(package(kScaleModule, nativeOptions()), "");
  std::string bytes = readFile(folder.file("m.so"));
  ssm_trailer trailer;
  ASSERT_GT(bytes.size(), sizeof(trailer));
  size_t content = bytes.size() - sizeof(trailer);
  memcpy(&trailer, bytes.data() + content, sizeof(trailer));
  EXPECT_EQ(std::string(trailer.magic), SSM_TRAILER_MAGIC);
  EXPECT_EQ(trailer.content_bytes, content);
  Hash128 hash = hash128(llvm::arrayRefFromStringRef(bytes).take_front(content));
  EXPECT_EQ(trailer.hash_low, hash.low);
  EXPECT_EQ(trailer.hash_high, hash.high);
}

TEST_F(Package, SameInputsGiveTheSameBytes) {
  for (bool embed : {false, true}) {
    PackageOptions options = nativeOptions();
    options.embedWeights = embed;
    ASSERT_EQ(package(kScaleModule, options), "");
    std::string module = readFile(folder.file("m.so"));
    // Not even the folder matters.
    ScratchFolder other = cantFail(ScratchFolder::create("ssm-elsewhere"));
    auto again = context.parse(kScaleModule);
    ASSERT_EQ(toString(packageModule(nativeVersion(*again), sources, options, other.file("m.so"))), "");
    EXPECT_EQ(module, readFile(other.file("m.so")));
    if (!embed)
      EXPECT_EQ(readFile(folder.file("m.weights.safetensors")),
                readFile(other.file("m.weights.safetensors")));
    EXPECT_EQ(module.find(folder.path().str()), std::string::npos);
  }
}

TEST_F(Package, RefusesForeignFunctions) {
  std::string text = replace(kScaleModule, "llvm.func @expf", "llvm.func @puts");
  text = replace(text, "llvm.call @expf", "llvm.call @puts");
  EXPECT_EQ(package(text, nativeOptions()),
            "the generated code calls 'puts'; a module may refer to the C library's "
            "memory and mathematics functions only");
  EXPECT_TRUE(files().empty());
}

TEST_F(Package, NothingIsLeftWhenAWeightCannotBeRead) {
  sources.weights.erase("table");
  EXPECT_EQ(package(kScaleModule, nativeOptions()), "no such weight");
  EXPECT_TRUE(files().empty());
  sources.add<uint16_t>("table", {1, 2, 3});
  EXPECT_EQ(package(kScaleModule, nativeOptions()), "weight 'table' has fewer bytes than its type");
  sources.add<uint16_t>("table", {1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(package(kScaleModule, nativeOptions()), "weight 'table' has more bytes than its type");
  EXPECT_TRUE(files().empty());
}

TEST_F(Package, NoticesAWeightThatChanged) {
  EXPECT_EQ(package(replace(kScaleModule, "index 3", "index 3 hash 12345"), nativeOptions()),
            "weight 'scale' changed while the model was compiled");
  EXPECT_TRUE(files().empty());
}

TEST_F(Package, NamesTheMissingLinker) {
  PackageOptions options = nativeOptions();
  options.linker = "no-such-linker";
  EXPECT_EQ(package(kScaleModule, options),
            "cannot find the linker 'no-such-linker' given by --linker");
  // A program that is no linker: its failure is told.
  options.linker = "false";
  EXPECT_NE(package(kScaleModule, options).find("failed"), std::string::npos);
  EXPECT_TRUE(files().empty());
}

TEST_F(Package, RefusesMalformedModules) {
  struct {
    const char *from, *to, *message;
  } cases[] = {
      {"name = \"main\"", "name = \"other\"", "entry 'other' lacks its function @other.run"},
      {"type = 1 : i64, dims = [\"n\"]", "type = 77 : i64, dims = [\"n\"]", "'x' has type 77"},
      {"dims = [\"n\"]", "dims = [-3 : i64]", "'x' has a negative size"},
      {"input = 1 : i64", "input = 9 : i64", "a state names no value of its entry"},
      {"ssm.offset = 64 : i64", "ssm.offset = 65 : i64", "weight 'odd' lies at offset 65"},
      {"ssm.offset = 64 : i64", "ssm.offset = 128 : i64", "weight 'table' overlaps another one"},
      {"node = ", "nodes = ", "a check of 'main' lacks its node or text"},
  };
  for (const auto &test : cases)
    EXPECT_EQ(package(replace(kScaleModule, test.from, test.to), nativeOptions()),
              std::string("the compiled module is malformed: ") + test.message);
  EXPECT_TRUE(files().empty());
}

TEST_F(Package, EmitsCode) {
  struct {
    TextForm form;
    const char *contains;
  } cases[] = {{TextForm::LLVM, "define internal"},
               {TextForm::Assembly, ".globl\tssm_module"},
               {TextForm::Object, "\177ELF"}};
  for (const auto &test : cases) {
    auto module = context.parse(kScaleModule);
    auto bytes = emitModule(nativeVersion(*module), nativeOptions(), test.form);
    ASSERT_TRUE(bool(bytes)) << toString(bytes.takeError());
    EXPECT_TRUE(llvm::StringRef(bytes->data(), bytes->size()).contains(test.contains));
  }
}
