//===- LoaderTest.cpp - Loading modules and their weights -----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "TestWeights.h"

#include <chrono>
#include <sys/stat.h>

static ssmrt_status tryLoad(const std::string &path, const ssmrt_load_options *options = nullptr) {
  ssmrt_module *module = nullptr;
  ssmrt_status status = ssmrt_module_load(path.c_str(), options, &module);
  EXPECT_EQ(status == SSMRT_OK, module != nullptr);
  ssmrt_module_release(module);
  return status;
}

namespace {
struct LoadOptions {
  ssmrt_load_options *options = nullptr;
  LoadOptions() { EXPECT_EQ(ssmrt_load_options_create(&options), SSMRT_OK); }
  ~LoadOptions() { ssmrt_load_options_destroy(options); }
  void weights(const std::string &path) {
    EXPECT_EQ(ssmrt_load_options_set_weights_file(options, path.c_str()), SSMRT_OK);
  }
};
} // namespace

TEST(Loader, Describes) {
  Module module = loadModule();
  ssmrt_module_info info;
  ASSERT_EQ(ssmrt_module_get_info(module.get(), &info), SSMRT_OK);
  EXPECT_STREQ(info.producer, "by hand");
  EXPECT_STREQ(info.options, "-O0");
  EXPECT_STREQ(info.cpu, "generic");
  EXPECT_EQ(info.num_entries, 4);
  EXPECT_EQ(info.num_weights, 1);
  EXPECT_EQ(info.weight_bytes, 16);
  EXPECT_EQ(std::string(info.weights_path), testFile("TestModule.weights.safetensors"));

  ssmrt_entry_info entry;
  ASSERT_EQ(ssmrt_module_get_entry(module.get(), 1, &entry), SSMRT_OK);
  EXPECT_STREQ(entry.name, "step");
  EXPECT_EQ(entry.num_inputs, 3);
  EXPECT_EQ(entry.num_outputs, 3);
  EXPECT_EQ(entry.num_states, 2);
  EXPECT_EQ(entry.num_checks, 1);

  ssmrt_value_info value;
  ASSERT_EQ(ssmrt_module_get_input(module.get(), 1, 2, &value), SSMRT_OK);
  EXPECT_STREQ(value.name, "kv");
  EXPECT_EQ(value.rank, 3);
  EXPECT_EQ(value.dims[0].size, -1);
  EXPECT_STREQ(value.dims[1].symbol, "past");
  EXPECT_EQ(value.dims[2].size, 4);
  EXPECT_EQ(value.dims[2].symbol, nullptr);
  EXPECT_EQ(value.type.bits, 32);
  ASSERT_EQ(ssmrt_module_get_output(module.get(), 1, 2, &value), SSMRT_OK);
  EXPECT_STREQ(value.name, "new_kv");

  ssmrt_state_info state;
  ASSERT_EQ(ssmrt_module_get_state(module.get(), 1, 1, &state), SSMRT_OK);
  EXPECT_STREQ(state.name, "kv");
  EXPECT_EQ(state.output, 2);
  EXPECT_EQ(state.kind, SSMRT_STATE_APPEND);
  EXPECT_EQ(state.axis, 1);

  ssmrt_weight_info weight;
  ASSERT_EQ(ssmrt_module_get_weight(module.get(), 0, &weight), SSMRT_OK);
  EXPECT_STREQ(weight.name, "w");
  EXPECT_EQ(weight.dims[0], 4);
  EXPECT_EQ(static_cast<const float *>(weight.data)[3], 100.0f);

  ssmrt_check_info check;
  ASSERT_EQ(ssmrt_module_get_check(module.get(), 2, 0, &check), SSMRT_OK);
  EXPECT_STREQ(check.node, "Gather_7 (Gather)");
  const char *kernel;
  ASSERT_EQ(ssmrt_module_get_kernel(module.get(), 0, 1, &kernel), SSMRT_OK);
  EXPECT_STREQ(kernel, "scale");

  int32_t index;
  ASSERT_EQ(ssmrt_module_find_entry(module.get(), "pick", &index), SSMRT_OK);
  EXPECT_EQ(index, 2);
  expectFailure(ssmrt_module_find_entry(module.get(), "nope", &index), SSMRT_NOT_FOUND,
                {"nope", "main, step, pick, faulty"});
  ASSERT_EQ(ssmrt_module_find_output(module.get(), 1, "new_h", &index), SSMRT_OK);
  EXPECT_EQ(index, 1);
  expectFailure(ssmrt_module_get_entry(module.get(), 4, &entry), SSMRT_INVALID_ARGUMENT, {"4"});
  expectFailure(ssmrt_module_get_input(module.get(), 0, -1, &value), SSMRT_INVALID_ARGUMENT,
                {"-1"});
}

TEST(Loader, LoadsFast) {
  loadModule();
  auto start = std::chrono::steady_clock::now();
  loadModule();
  std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  EXPECT_LT(took.count(), 50);
}

TEST(Loader, RefusesEveryTruncation) {
  std::string whole = readAll(testFile("TestModule.so"));
  TemporaryFile file;
  std::mt19937 random = freshRandom();
  std::vector<size_t> lengths = {0, 1, 31, 32, 33, whole.size() - 1, whole.size() - 32};
  for (int i = 0; i < 50; ++i)
    lengths.push_back(random() % whole.size());
  for (size_t length : lengths) {
    file.write(whole.substr(0, length));
    expectFailure(tryLoad(file.path), SSMRT_BAD_FILE, {file.path.c_str()});
  }
}

TEST(Loader, RefusesEveryFlippedBit) {
  std::string whole = readAll(testFile("TestModule.so"));
  TemporaryFile file;
  std::mt19937 random = freshRandom();
  for (int i = 0; i < 200; ++i) {
    // Half of them in the trailer and just before it.
    size_t at = i % 2 ? whole.size() - 1 - random() % 64 : random() % whole.size();
    std::string damaged = whole;
    damaged[at] = char(damaged[at] ^ (1 << random() % 8));
    file.write(damaged);
    expectFailure(tryLoad(file.path), SSMRT_BAD_FILE, {file.path.c_str()});
  }
  file.write(whole + "x");
  EXPECT_EQ(tryLoad(file.path), SSMRT_BAD_FILE);
}

TEST(Loader, RefusesWhatIsNoFile) {
  expectFailure(tryLoad("/no/such/module.so"), SSMRT_IO_ERROR,
                {"/no/such/module.so", "No such file"});
  expectFailure(tryLoad("/tmp"), SSMRT_IO_ERROR, {"not a regular file"});
  TemporaryFile pipe;
  unlink(pipe.path.c_str());
  ASSERT_EQ(mkfifo(pipe.path.c_str(), 0600), 0);
  expectFailure(tryLoad(pipe.path), SSMRT_IO_ERROR, {"not a regular file"});
  EXPECT_EQ(ssmrt_module_load(nullptr, nullptr, nullptr), SSMRT_INVALID_ARGUMENT);
}

TEST(Loader, RefusesWhatCannotRunHere) {
  expectFailure(tryLoad(testFile("TestModuleOtherVersion.so")), SSMRT_UNSUPPORTED,
                {"ABI version 77", "compile"});
  expectFailure(tryLoad(testFile("TestModuleOtherTarget.so")), SSMRT_UNSUPPORTED,
                {"mips64-unknown-linux"});
#if defined(__x86_64__)
  expectFailure(tryLoad(testFile("TestModuleOtherCpu.so")), SSMRT_UNSUPPORTED,
                {"avx512madeup", "cannot check"});
#endif
}

// Of several versions the first that this machine can run, whatever the order of what it
// cannot.
TEST(Loader, PicksAVersion) {
  LoadOptions options;
  options.weights(testFile("TestModule.weights.safetensors").c_str());
  auto pick = [&](std::vector<const char *> features) {
    std::vector<ssm_module> modules(features.size(), linkedModule);
    std::vector<std::string> names;
    for (size_t i = 0; i < features.size(); ++i)
      names.push_back("cpu" + std::to_string(i));
    std::vector<const ssm_module *> others;
    for (size_t i = 0; i < features.size(); ++i) {
      modules[i].features = features[i];
      modules[i].cpu = names[i].c_str();
      if (i > 0)
        others.push_back(&modules[i]);
    }
    modules[0].versions = others.data();
    modules[0].num_versions = int32_t(others.size());
    ssmrt_module *module = nullptr;
    if (ssmrt_module_create(modules.data(), options.options, &module) != SSMRT_OK)
      return std::string(ssmrt_last_message());
    ssmrt_module_info info;
    EXPECT_EQ(ssmrt_module_get_info(module, &info), SSMRT_OK);
    std::string cpu = info.cpu;
    ssmrt_module_release(module);
    return cpu;
  };
  EXPECT_EQ(pick({""}), "cpu0");
  EXPECT_EQ(pick({"", ""}), "cpu0");
  EXPECT_EQ(pick({"madeup", ""}), "cpu1");
  EXPECT_EQ(pick({"madeup", "other", "", ""}), "cpu2");
  std::string none = pick({"madeup", "+other,,more"});
  EXPECT_NE(none.find("lacks, for cpu0: madeup (which this runtime cannot check); for cpu1: other "
                      "(which this runtime cannot check), more"),
            std::string::npos)
      << none;
  // However long the list is.
  std::string longList(5000, 'x');
  EXPECT_NE(pick({longList.c_str(), longList.c_str()}).find("cpu0: xxx"), std::string::npos);
}

// The dynamic loader knows files by name, and the name is made of a descriptor
// that is used again: modules must not be taken for one another.
TEST(Loader, TellsModulesApart) {
  Module first = loadModule();
  Module again = loadModule();
  first.reset();
  for (int i = 0; i < 40; ++i)
    expectFailure(tryLoad(testFile("TestModuleOtherVersion.so")), SSMRT_UNSUPPORTED, {"77"});
  ssmrt_module_info info;
  ASSERT_EQ(ssmrt_module_get_info(again.get(), &info), SSMRT_OK);
  EXPECT_STREQ(info.producer, "by hand");
}

TEST(Loader, NeedsItsWeights) {
  LoadOptions options;
  options.weights("/no/such/weights");
  expectFailure(tryLoad(testFile("TestModule.so"), options.options), SSMRT_IO_ERROR,
                {"weights file", "/no/such/weights"});

  std::string weights = readAll(testFile("TestModule.weights.safetensors"));
  TemporaryFile file(weights.substr(0, weights.size() - 1));
  options.weights(file.path);
  expectFailure(tryLoad(testFile("TestModule.so"), options.options), SSMRT_BAD_FILE,
                {file.path.c_str(), "bytes", "expects"});
  file.write(weights + "x");
  EXPECT_EQ(tryLoad(testFile("TestModule.so"), options.options), SSMRT_BAD_FILE);
  std::string damaged = weights;
  damaged[10] ^= 1;
  file.write(damaged);
  expectFailure(tryLoad(testFile("TestModule.so"), options.options), SSMRT_BAD_FILE,
                {"does not belong", "hash"});
  file.write(weights);
  EXPECT_EQ(tryLoad(testFile("TestModule.so"), options.options), SSMRT_OK);
}

TEST(Loader, VerifiesAllBytesOfWeights) {
  EXPECT_EQ(ssmrt_module_verify_weights(loadModule().get()), SSMRT_OK);
  std::string weights = readAll(testFile("TestModule.weights.safetensors"));
  weights.back() ^= 1;
  TemporaryFile file(weights);
  LoadOptions options;
  options.weights(file.path);
  ssmrt_module *module = nullptr;
  ASSERT_EQ(ssmrt_module_load(testFile("TestModule.so").c_str(), options.options, &module),
            SSMRT_OK);
  expectFailure(ssmrt_module_verify_weights(module), SSMRT_BAD_FILE,
                {"'w'", file.path.c_str(), "damaged"});
  ssmrt_module_release(module);
}

TEST(Loader, RefusesEveryTruncationOfWeights) {
  std::string weights = readAll(testFile("TestModule.weights.safetensors"));
  TemporaryFile file;
  LoadOptions options;
  options.weights(file.path);
  for (size_t length = 0; length < weights.size(); ++length) {
    file.write(weights.substr(0, length));
    expectFailure(tryLoad(testFile("TestModule.so"), options.options), SSMRT_BAD_FILE,
                  {"weights file", file.path.c_str(), "bytes", "expects"});
  }
}

// Those of the header when it is loaded, the others by looking at all bytes.
TEST(Loader, RefusesEveryFlippedByteOfWeights) {
  std::string weights = readAll(testFile("TestModule.weights.safetensors"));
  TemporaryFile file;
  LoadOptions options;
  options.weights(file.path);
  std::mt19937 random = freshRandom();
  for (size_t at = 0; at < weights.size(); ++at) {
    std::string bad = weights;
    bad[at] = char(bad[at] ^ (1 + random() % 255));
    file.write(bad);
    ssmrt_module *module = nullptr;
    ssmrt_status status =
        ssmrt_module_load(testFile("TestModule.so").c_str(), options.options, &module);
    if (at < TEST_WEIGHTS_BASE) {
      expectFailure(status, SSMRT_BAD_FILE, {"weights file", file.path.c_str(), "hash"});
      continue;
    }
    ASSERT_EQ(status, SSMRT_OK) << ssmrt_last_message();
    expectFailure(ssmrt_module_verify_weights(module), SSMRT_BAD_FILE,
                  {file.path.c_str(), "damaged", "hash"});
    ssmrt_module_release(module);
  }
}

TEST(Loader, TakesWeightsFromMemory) {
  std::string weights = readAll(testFile("TestModule.weights.safetensors"));
  alignas(64) static char memory[TEST_WEIGHTS_FILE_BYTES + 64];
  std::memcpy(memory, weights.data(), weights.size());
  LoadOptions options;
  ssmrt_load_options_set_weights_memory(options.options, memory, weights.size());
  ssmrt_module *module = nullptr;
  ASSERT_EQ(ssmrt_module_create(&linkedModule, options.options, &module), SSMRT_OK)
      << ssmrt_last_message();
  EXPECT_EQ(ssmrt_module_verify_weights(module), SSMRT_OK);
  ssmrt_module_release(module);

  ssmrt_load_options_set_weights_memory(options.options, memory, weights.size() - 1);
  EXPECT_EQ(ssmrt_module_create(&linkedModule, options.options, &module), SSMRT_BAD_FILE);
  std::memcpy(memory + 4, weights.data(), weights.size());
  ssmrt_load_options_set_weights_memory(options.options, memory + 4, weights.size());
  expectFailure(ssmrt_module_create(&linkedModule, options.options, &module),
                SSMRT_INVALID_ARGUMENT, {"aligned"});
}

#ifndef TEST_SANITIZED
TEST(Library, IsSmall) {
  TemporaryFile stripped;
  std::string command = std::string(TEST_STRIP " -o ") + stripped.path + " " + TEST_LIBRARY;
  ASSERT_EQ(std::system(command.c_str()), 0);
  struct stat facts;
  ASSERT_EQ(stat(stripped.path.c_str(), &facts), 0);
  EXPECT_GT(facts.st_size, 10 << 10);
  EXPECT_LT(facts.st_size, 200 << 10);
}
#endif
