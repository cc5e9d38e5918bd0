//===- FakeCudaTest.cpp - Devices where all can be seen and made fail -----===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FakeCuda.h"
#include "DeviceSupport.h"

#include <dlfcn.h>

/// The fake driver, which the runtime finds from here on.
static FakeCuda &fake() {
  static FakeCuda *found = [] {
    void *library = dlopen(TEST_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);
    auto *function =
        library ? reinterpret_cast<FakeCuda *(*)()>(dlsym(library, "fakeCuda")) : nullptr;
    return function ? function() : nullptr;
  }();
  return *found;
}

static const bool isSet = setenv("SSMRT_CUDA_DRIVER", TEST_FAKE_CUDA, 1) == 0;

namespace {
class Fake : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_TRUE(isSet);
    fake().reset();
  }
  /// Whatever the test does, all of it is given back.
  void TearDown() override {
    EXPECT_EQ(fake().used, 0);
    EXPECT_EQ(fake().pinned, 0);
    EXPECT_EQ(fake().contexts, 0);
    EXPECT_EQ(fake().streams, 0);
    EXPECT_EQ(fake().events, 0);
    EXPECT_EQ(fake().graphs, 0);
    EXPECT_EQ(fake().libraries, 0);
  }
  static int64_t calls(const char *name) { return fake().calls[name]; }

  std::mt19937 random = freshRandom();
};

/// Inputs of "main", and what comes of them.
struct MainCase {
  Tensor<float> x, y;

  MainCase(std::mt19937 &random, int64_t seq)
      : x({1, seq, 4}, randomFloats(random, size_t(4 * seq))),
        y({1, seq, 4}, randomFloats(random, size_t(4 * seq))) {}
  ssmrt_status on(const Session &session) { return run(session, {{"x", &x.view}, {"y", &y.view}}); }
  void expectGood(const Session &session) {
    ASSERT_EQ(on(session), SSMRT_OK) << ssmrt_last_message();
    std::vector<float> z(x.values.size());
    const float w[] = {0.5f, -1.25f, 3.0f, 100.0f};
    for (size_t i = 0; i < z.size(); ++i)
      z[i] = 2 * x.values[i] + y.values[i] + w[i % 4];
    EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), z);
  }
};
} // namespace

TEST_F(Fake, ReplaysGraphs) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "main");
  MainCase small(random, 3), large(random, 50);
  large.expectGood(session); // memory has its size
  auto expectRun = [&](MainCase &with, int64_t launches, int64_t captures, int64_t replays) {
    fake().calls.clear();
    with.expectGood(session);
    EXPECT_EQ(calls("cuLaunchKernelEx"), launches);
    EXPECT_EQ(calls("cuGraphInstantiateWithFlags"), captures);
    EXPECT_EQ(calls("cuGraphLaunch"), replays);
    EXPECT_EQ(calls("cuMemAlloc_v2"), 0);
  };
  expectRun(small, 2, 0, 0);
  expectRun(small, 2, 1, 1);
  for (int repeat = 0; repeat < 5; ++repeat) {
    small.x.values[0] += 1; // other values in the same place
    expectRun(small, 0, 0, 1);
  }
  EXPECT_EQ(fake().launched.size(), 2u * 8);
  // Other dims: seen once already.
  expectRun(large, 2, 1, 1);
  expectRun(large, 0, 0, 1);
  // And these are not forgotten.
  expectRun(small, 0, 0, 1);
  // Empty ones launch nothing.
  MainCase none(random, 0);
  expectRun(none, 0, 0, 0);
  expectRun(none, 0, 1, 1);
  expectRun(none, 0, 0, 1);
}

TEST_F(Fake, CapturesAgainWherePointersChange) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "main");
  TestDevice device;
  MainCase values(random, 3);
  DeviceMemory a(device, 48), b(device, 48), z(device, 96);
  a.write(values.x.values);
  b.write(values.x.values);
  DLTensor onA = a.like(values.x.view), onB = b.like(values.x.view);
  auto expectRun = [&](const DLTensor &x, size_t offset, int64_t launches, int64_t captures) {
    SCOPED_TRACE(offset);
    fake().calls.clear();
    ASSERT_EQ(
        run(session, {{"x", &x}, {"y", &values.y.view}}, {{"z", z.data(offset), 48, {kDLCUDA, 0}}}),
        SSMRT_OK)
        << ssmrt_last_message();
    EXPECT_EQ(calls("cuLaunchKernelEx"), launches);
    EXPECT_EQ(calls("cuGraphInstantiateWithFlags"), captures);
    EXPECT_EQ(z.read<float>(1, offset)[0], 2 * values.x.values[0] + values.y.values[0] + 0.5f);
  };
  auto expectThree = [&](const DLTensor &x, size_t offset) {
    expectRun(x, offset, 2, 0);
    expectRun(x, offset, 2, 1);
    expectRun(x, offset, 0, 0);
  };
  expectThree(onA, 0);
  expectThree(onB, 0);
  expectThree(onB, 48);
  expectThree(onA, 48);
  // Four are kept.
  for (auto &[x, offset] : {std::pair{onA, 0}, {onB, 0}, {onB, 48}, {onA, 48}})
    expectRun(x, size_t(offset), 0, 0);
  // For a fifth, whose y lies elsewhere, the longest unused one goes.
  DeviceMemory y(device, 48);
  y.write(values.y.values);
  DLTensor host = values.y.view;
  values.y.view = y.like(host);
  expectThree(onA, 0);
  values.y.view = host;
  expectRun(onB, 0, 0, 0);
  expectRun(onA, 0, 2, 0);
}

TEST_F(Fake, LaunchesOneByOneIfToldTo) {
  Module module = createOn("cuda");
  Session session = makeWith(
      module, "main", [](auto *o) { EXPECT_EQ(ssmrt_session_options_set_graphs(o, 0), SSMRT_OK); });
  MainCase values(random, 3);
  for (int repeat = 0; repeat < 4; ++repeat)
    values.expectGood(session);
  EXPECT_EQ(calls("cuLaunchKernelEx"), 8);
  EXPECT_EQ(calls("cuStreamBeginCapture_v2"), 0);
}

TEST_F(Fake, LaunchesOneByOneWhereValuesAreRead) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "pick");
  Tensor<int64_t> ids({3}, {1, 2, 3});
  Tensor<uint8_t> flags({3}, {1, 0, 1});
  for (int repeat = 0; repeat < 4; ++repeat) {
    flags.values[1] = uint8_t(repeat % 2);
    ASSERT_EQ(run(session, {{"ids", &ids.view}, {"flags", &flags.view}}), SSMRT_OK);
    EXPECT_EQ(shapeOf(outputOf(session, 0))[0], 2 + repeat % 2);
  }
  EXPECT_EQ(calls("cuStreamBeginCapture_v2"), 0);
}

TEST_F(Fake, DoesNothingBeforeItIsWaitedFor) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "main");
  MainCase values(random, 3);
  values.expectGood(session);
  fake().launched.clear();
  fake().calls.clear();
  for (int repeat = 0; repeat < 3; ++repeat)
    ASSERT_EQ(runAsync(session, {{"x", &values.x.view}, {"y", &values.y.view}}), SSMRT_OK);
  EXPECT_TRUE(fake().launched.empty());
  EXPECT_EQ(calls("cuStreamSynchronize"), 0);
  ASSERT_EQ(ssmrt_session_synchronize(session.get()), SSMRT_OK);
  EXPECT_EQ(fake().launched,
            (std::vector<std::string>{"twice", "add", "twice", "add", "twice", "add"}));
  EXPECT_EQ(calls("cuStreamSynchronize"), 1);
  // No check, nothing to look for.
  EXPECT_EQ(calls("cuMemcpyAsync"), 6);
}

TEST_F(Fake, UploadsWeightsOnce) {
  Module module = createOn("cuda");
  Session one = makeSession(module.get(), "main"), two = makeSession(module.get(), "main");
  MainCase values(random, 3);
  values.expectGood(one);
  values.expectGood(two);
  EXPECT_EQ(calls("cuMemcpy"), 1);
  EXPECT_EQ(calls("cuModuleLoadDataEx"), 1);
  Module other = createOn("cuda");
  EXPECT_EQ(calls("cuMemcpy"), 2);
  EXPECT_EQ(fake().contexts, 1);
  Module second = createOn("cuda:1");
  EXPECT_EQ(fake().contexts, 2);
}

TEST_F(Fake, ChoosesImages) {
  struct Case {
    int32_t major, minor;
    std::vector<const char *> images; // "cubin sm_90a"
    const char *taken;                // NULL: none
  };
  const Case cases[] = {
      {9, 0, {"cubin sm_90a", "ptx sm_80"}, "sm_90a"},
      {8, 0, {"cubin sm_90a", "ptx sm_80"}, "sm_80"},
      {10, 0, {"cubin sm_90a", "ptx sm_80"}, "sm_80"},
      {7, 5, {"cubin sm_90a", "ptx sm_80"}, nullptr},
      {8, 6, {"cubin sm_80"}, "sm_80"},
      {8, 0, {"cubin sm_86"}, nullptr},
      {9, 0, {"cubin sm_80"}, nullptr},
      {9, 0, {"ptx sm_90a"}, "sm_90a"},
      {10, 0, {"ptx sm_90a"}, nullptr},
      {12, 0, {"cubin sm_120"}, "sm_120"},
      {10, 3, {"cubin sm_100f"}, "sm_100f"},
      {11, 0, {"cubin sm_100f"}, nullptr},
      {9, 0, {"cubin sm_75", "cubin sm_90", "cubin sm_90a"}, "sm_90"},
  };
  for (const Case &test : cases) {
    fake().major = test.major;
    fake().minor = test.minor;
    std::vector<std::string> texts;
    std::vector<ssm_image> images;
    for (std::string image : test.images) {
      bool isPtx = image[0] == 'p';
      const char *chip = test.images[texts.size()] + image.find("sm_");
      texts.push_back((isPtx ? "\n.target " : "CUBIN ") + std::string(chip) + "\n");
      images.push_back({chip, nullptr, 0, isPtx ? SSM_IMAGE_PTX : SSM_IMAGE_CUBIN, 0});
    }
    for (size_t i = 0; i < images.size(); ++i) {
      images[i].data = texts[i].c_str();
      images[i].bytes = int64_t(texts[i].size() + 1);
    }
    ssm_module description = withWeights(deviceModule);
    description.images = images.data();
    description.num_images = int32_t(images.size());
    ssmrt_module *made = nullptr;
    ssmrt_status status = tryCreate(description, "cuda", &made);
    Module module(made, ssmrt_module_release);
    if (test.taken) {
      ASSERT_EQ(status, SSMRT_OK) << ssmrt_last_message();
      EXPECT_EQ(fake().loadedChip, test.taken);
      continue;
    }
    std::string chip = "sm_" + std::to_string(10 * test.major + test.minor);
    expectFailure(status, SSMRT_UNSUPPORTED,
                  {"cuda:0", "Fake GPU", chip.c_str(), images[0].chip,
                   images[0].kind == SSM_IMAGE_PTX ? "(PTX)" : "(cubin)"});
  }
}

TEST_F(Fake, GoesOnToAnotherVersion) {
  // The first of several versions whose images the device runs.
  ssm_module first = withWeights(deviceModule), second = first;
  const char text[] = "CUBIN sm_80";
  const ssm_image image = {"sm_80", text, sizeof(text), SSM_IMAGE_CUBIN, 0};
  second.images = &image;
  second.num_images = 1;
  const ssm_module *versions[] = {&second};
  first.versions = versions;
  first.num_versions = 1;
  for (auto [major, chip] : {std::pair{9, "sm_90"}, {8, "sm_80"}}) {
    fake().major = major;
    ssmrt_module *made = nullptr;
    ASSERT_EQ(tryCreate(first, "cuda", &made), SSMRT_OK) << ssmrt_last_message();
    EXPECT_EQ(fake().loadedChip, chip);
    ssmrt_module_release(made);
  }
  fake().major = 7;
  ssmrt_module *made = nullptr;
  expectFailure(tryCreate(first, "cuda", &made), SSMRT_UNSUPPORTED,
                {"sm_90 (PTX), sm_80 (cubin)", "sm_70"});
}

TEST_F(Fake, OverlapsWhatWaits) {
  MainCase values(random, 3);
  const char text[] = ".target sm_80\n";
  const ssm_image image = {"sm_80", text, sizeof(text), SSM_IMAGE_PTX, 0};
  for (bool isOld : {false, true}) {
    ssm_module description = deviceModule;
    if (isOld)
      description.images = &image;
    Module module = createOn("cuda", description);
    Session session = makeSession(module.get(), "main");
    for (int repeat = 0; repeat < 3; ++repeat) {
      values.expectGood(session);
      EXPECT_EQ(fake().launched.back(), "add");
      EXPECT_EQ(fake().lastLaunch.overlaps, !isOld);
    }
  }
}

TEST_F(Fake, InputsAreThereForWhoReadsThemEarly) {
  MainCase values(random, 3);
  std::vector<ssm_device_kernel> kernels(
      deviceModule.device_kernels, deviceModule.device_kernels + deviceModule.num_device_kernels);
  ssm_module description = deviceModule;
  description.device_kernels = kernels.data();
  for (ssm_device_kernel &kernel : kernels)
    kernel.flags |= SSM_KERNEL_OVERLAPS;
  for (bool readsEarly : {false, true}) {
    if (readsEarly)
      kernels[1].flags |= SSM_KERNEL_READS_EARLY;
    Module module = createOn("cuda", description);
    Session session = makeSession(module.get(), "main");
    // The third run is a recording.
    for (int repeat = 0; repeat < 4; ++repeat) {
      fake().overlapped.clear();
      values.expectGood(session);
      EXPECT_EQ(fake().overlapped, (std::vector<bool>{!readsEarly, true})) << repeat;
    }
  }
}

/// What an input on the host tells is no reason to wait; it's read anew in each run.
TEST_F(Fake, ReadsInputsWhereTheCallerHasThem) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "faulty");
  auto waitsOf = [&](DLTensor *which, ssmrt_status expected) {
    int64_t before = calls("cuStreamSynchronize");
    EXPECT_EQ(run(session, {{"fault", which}}), expected) << ssmrt_last_message();
    return calls("cuStreamSynchronize") - before;
  };
  Tensor<int32_t> which({}, {0});
  ssmrt_device_tensor *kept = nullptr;
  ASSERT_EQ(ssmrt_device_tensor_create(module.get(), &which.view, &kept), SSMRT_OK);
  DLTensor onDevice;
  ssmrt_device_tensor_view(kept, &onDevice);
  for (int repeat = 0; repeat < 4; ++repeat) {
    which.values[0] = 0;
    EXPECT_EQ(waitsOf(&which.view, SSMRT_OK) + 1, waitsOf(&onDevice, SSMRT_OK));
    which.values[0] = 1;
    (void)waitsOf(&which.view, SSMRT_INTERNAL);
  }
  ssmrt_device_tensor_destroy(kept);
}

TEST_F(Fake, BlocksAlongAxisOneAreClusters) {
  MainCase values(random, 3);
  std::vector<ssm_device_kernel> kernels(
      deviceModule.device_kernels, deviceModule.device_kernels + deviceModule.num_device_kernels);
  ssm_module description = deviceModule;
  description.device_kernels = kernels.data();
  for (ssm_device_kernel &kernel : kernels)
    kernel.flags |= SSM_KERNEL_CLUSTERS | SSM_KERNEL_OVERLAPS;
  Module module = createOn("cuda", description);
  Session session = makeSession(module.get(), "main");
  values.expectGood(session);
  // One block is none.
  EXPECT_EQ(fake().lastLaunch.hasClusters, fake().lastLaunch.grid[1] > 1);
  EXPECT_TRUE(fake().lastLaunch.overlaps);
}

TEST_F(Fake, BoundsPersistentGrids) {
  fake().multiprocessors = 5;
  fake().residentBlocks = 3;
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "tiles");
  for (int64_t n : {128 * 14, 128 * 15, 128 * 16, 128 * 1000}) {
    Tensor<float> x({n}, std::vector<float>(size_t(n)));
    ASSERT_EQ(run(session, {{"x", &x.view}}), SSMRT_OK) << ssmrt_last_message();
    EXPECT_EQ(valuesOf<int32_t>(outputOf(session, 1))[0], std::min<int64_t>(n / 128, 15));
  }
  EXPECT_EQ(calls("cuOccupancyMaxActiveBlocksPerMultiprocessor"), 1);
}

TEST_F(Fake, TellsWhatLoadingLacks) {
  ssmrt_module *made = nullptr;
  ssm_module description = withWeights(deviceModule);
  expectFailure(tryCreate(description, "cuda:2", &made), SSMRT_NO_DEVICE, {"cuda:2", "2 found"});
  expectFailure(tryCreate(description, "cuda:99", &made), SSMRT_NO_DEVICE, {"cuda:99"});
  fake().fails["cuModuleLoadDataEx"] = 209;
  expectFailure(tryCreate(description, "cuda", &made), SSMRT_DEVICE_FAILED,
                {"PTX", "sm_90", "CUDA_ERROR_NO_BINARY_FOR_GPU"});
  const char text[] = "no PTX at all", good[] = ".target sm_80\n";
  ssm_image images[] = {{"sm_90", text, sizeof(text), SSM_IMAGE_PTX, 0},
                        {"sm_80", good, sizeof(good), SSM_IMAGE_PTX, 0}};
  description.images = images;
  expectFailure(tryCreate(description, "cuda", &made), SSMRT_DEVICE_FAILED,
                {"sm_90", "line 1: no target", "CUDA_ERROR_INVALID_IMAGE"});
  // One that the driver does not take, and one that it does.
  description.num_images = 2;
  ASSERT_EQ(tryCreate(description, "cuda", &made), SSMRT_OK) << ssmrt_last_message();
  EXPECT_EQ(fake().loadedChip, "sm_80");
  ssmrt_module_release(made);
  made = nullptr;
  description = withWeights(deviceModule);
  fake().fails["cuModuleGetFunction"] = 500;
  expectFailure(tryCreate(description, "cuda", &made), SSMRT_DEVICE_FAILED,
                {"'twice'", "CUDA_ERROR_NOT_FOUND"});
  fake().fails["cuFuncSetAttribute"] = 1;
  expectFailure(tryCreate(description, "cuda", &made), SSMRT_DEVICE_FAILED,
                {"102400 bytes of shared memory", "'tiles'", "CUDA_ERROR_INVALID_VALUE"});
  fake().memory = 8;
  expectFailure(tryCreate(description, "cuda", &made), SSMRT_OUT_OF_MEMORY,
                {"16 bytes for weights on cuda:0", "8 of 8 are free", "CUDA_ERROR_OUT_OF_MEMORY"});
  fake().memory = 1 << 30;
  for (const char *name : {"cuDeviceGet", "cuDeviceGetName", "cuDevicePrimaryCtxRetain", "cuMemcpy",
                           "cuMemAlloc_v2"}) {
    fake().fails[name] = 1;
    expectFailure(tryCreate(description, "cuda", &made), SSMRT_DEVICE_FAILED,
                  {"cuda:0", "CUDA_ERROR_INVALID_VALUE"});
  }
  fake().fails["cuDeviceGetCount"] = 1;
  expectFailure(tryCreate(description, "cuda", &made), SSMRT_NO_DEVICE,
                {"cuda:0", "CUDA_ERROR_INVALID_VALUE"});
}

TEST_F(Fake, RunsOutOfMemory) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "main"), carrying = makeCarrying(module.get());
  MainCase small(random, 1), large(random, 1000);
  small.expectGood(session);
  auto leave = [&](int64_t bytes) { fake().memory = size_t(fake().used + bytes); };
  leave(100);
  expectFailure(large.on(session), SSMRT_OUT_OF_MEMORY,
                {"16000 bytes for the arena on cuda:0", "CUDA_ERROR_OUT_OF_MEMORY"});
  leave(20000);
  expectFailure(large.on(session), SSMRT_OUT_OF_MEMORY, {"16000 bytes for x on cuda:0"});
  leave(40000);
  expectFailure(large.on(session), SSMRT_OUT_OF_MEMORY, {"16000 bytes for z on cuda:0"});
  fake().memory = 1 << 30;
  small.expectGood(session);
  large.expectGood(session);
  Tensor<float> x({1, 4}, {1, 2, 3, 4});
  leave(20);
  expectFailure(run(carrying, {{"x", &x.view}}), SSMRT_OUT_OF_MEMORY, {"16 bytes for"});
  leave(0);
  expectFailure(ssmrt_session_set_state(carrying.get(), "h", &x.view), SSMRT_OUT_OF_MEMORY,
                {"16 bytes for h"});
  const ssmrt_size sizes[] = {{"batch", 1}, {"seq", 100000}};
  expectFailure(ssmrt_session_reserve(session.get(), sizes, 2), SSMRT_OUT_OF_MEMORY,
                {"1600000 bytes for the arena"});
  leave(0);
  ssmrt_session *late = nullptr;
  expectFailure(ssmrt_session_create(module.get(), "main", nullptr, &late), SSMRT_OUT_OF_MEMORY,
                {"cuda:0", "CUDA_ERROR_OUT_OF_MEMORY"});
  fake().memory = 1 << 30;
  ASSERT_EQ(run(carrying, {{"x", &x.view}}), SSMRT_OK) << ssmrt_last_message();
}

TEST_F(Fake, SurvivesEveryFailureOfTheDriver) {
  Module module = createOn("cuda");
  Tensor<float> x({1, 4}, {1, 2, 3, 4});
  const char *names[] = {"cuMemAlloc_v2",
                         "cuMemHostAlloc",
                         "cuMemcpyAsync",
                         "cuMemsetD8Async",
                         "cuLaunchKernelEx",
                         "cuStreamCreate",
                         "cuStreamBeginCapture_v2",
                         "cuStreamEndCapture",
                         "cuGraphInstantiateWithFlags",
                         "cuGraphLaunch"};
  for (const char *name : names)
    for (int when = 0; when < 4; ++when) {
      fake().fails.clear();
      Session session = makeSession(module.get(), "main"), steps = makeCarrying(module.get());
      MainCase values(random, 3);
      for (int repeat = 0; repeat < when; ++repeat) {
        values.expectGood(session);
        ASSERT_EQ(run(steps, {{"x", &x.view}}), SSMRT_OK);
      }
      for (auto *each : {&session, &steps}) {
        fake().fails[name] = 1;
        ssmrt_status status = each == &session ? values.on(session) : run(steps, {{"x", &x.view}});
        bool called = fake().fails.empty();
        fake().fails.clear();
        if (called)
          EXPECT_NE(status, SSMRT_OK) << name << " " << when;
        else
          EXPECT_EQ(status, SSMRT_OK) << name << " " << when << " " << ssmrt_last_message();
      }
      values.expectGood(session);
      values.expectGood(session);
      values.expectGood(session);
      ASSERT_EQ(run(steps, {{"x", &x.view}}), SSMRT_OK) << ssmrt_last_message();
    }
  for (const char *name :
       {"cuStreamCreate", "cuMemAlloc_v2", "cuMemHostAlloc", "cuMemsetD8Async"}) {
    fake().fails[name] = 1;
    ssmrt_session *made = nullptr;
    expectFailure(ssmrt_session_create(module.get(), "main", nullptr, &made), SSMRT_DEVICE_FAILED,
                  {"CUDA_ERROR_INVALID_VALUE"});
  }
}

TEST_F(Fake, NamesTheKernelThatDoesNotLaunch) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "main");
  MainCase values(random, 3);
  fake().fails["cuLaunchKernelEx"] = 701;
  expectFailure(values.on(session), SSMRT_DEVICE_FAILED,
                {"'main'", "'twice'", "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"});
  values.expectGood(session);
}

TEST_F(Fake, GivesUpAfterAFault) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "main");
  MainCase values(random, 3);
  values.expectGood(session);
  fake().fails["cuStreamSynchronize"] = 719;
  expectFailure(values.on(session), SSMRT_DEVICE_FAILED,
                {"CUDA_ERROR_LAUNCH_FAILED", "no session on cuda:0"});
  expectFailure(values.on(session), SSMRT_DEVICE_FAILED,
                {"cuda:0", "any more", "CUDA_ERROR_LAUNCH_FAILED"});
  // Nor are states to be had.
  size_t bytes = 0;
  expectFailure(ssmrt_session_save_states(session.get(), nullptr, &bytes), SSMRT_DEVICE_FAILED,
                {"cuda:0", "any more", "CUDA_ERROR_LAUNCH_FAILED"});
  ssmrt_module *made = nullptr;
  ssm_module description = withWeights(deviceModule);
  expectFailure(tryCreate(description, "cuda", &made), SSMRT_DEVICE_FAILED, {"cuda:0", "any more"});
  // The other one is not concerned.
  Module other = createOn("cuda:1");
  Session onOther = makeSession(other.get(), "main");
  values.expectGood(onOther);
}

TEST_F(Fake, TimesKernels) {
  // Each takes a millisecond.
  Module alone = createOn("cuda");
  ssmrt_load_options *options;
  ASSERT_EQ(ssmrt_load_options_create(&options), SSMRT_OK);
  ssmrt_module *loaded = nullptr;
  ASSERT_EQ(ssmrt_module_load(testFile("DeviceModule.so").c_str(), options, &loaded), SSMRT_OK)
      << ssmrt_last_message();
  ssmrt_load_options_destroy(options);
  Module telling(loaded, ssmrt_module_release);
  MainCase values(random, 5);
  for (bool tells : {false, true}) {
    std::vector<ssmrt_kernel_run> runs;
    Session session = makeWith(tells ? telling : alone, "main", [&](auto *o) {
      ssmrt_session_options_set_kernel_hook(
          o,
          [](void *user, const ssmrt_kernel_run *run) {
            static_cast<std::vector<ssmrt_kernel_run> *>(user)->push_back(*run);
          },
          &runs);
    });
    for (int repeat = 0; repeat < 4; ++repeat) {
      runs.clear();
      values.expectGood(session);
      ASSERT_EQ(runs.size(), tells ? 1u : 2u);
      EXPECT_STREQ(runs[0].kernel, tells ? "twice+add" : "twice");
      EXPECT_NEAR(runs[0].seconds, tells ? 2e-3 : 1e-3, 1e-9);
      EXPECT_EQ(runs[0].bytes, tells ? 240 : -1);
      EXPECT_EQ(runs[0].flops, tells ? 60 : -1);
      if (!tells)
        EXPECT_NEAR(runs[1].begin, runs[0].begin + 1e-3, 1e-6);
    }
    // Times of several runs come when they are waited for.
    runs.clear();
    for (int repeat = 0; repeat < 3; ++repeat)
      ASSERT_EQ(runAsync(session, {{"x", &values.x.view}, {"y", &values.y.view}}), SSMRT_OK);
    EXPECT_TRUE(runs.empty());
    ASSERT_EQ(ssmrt_session_synchronize(session.get()), SSMRT_OK);
    EXPECT_EQ(runs.size(), tells ? 3u : 6u);
  }
}

TEST_F(Fake, TellsOfTheDevice) {
  Module module = createOn("cuda:1");
  ssmrt_module_info info;
  ASSERT_EQ(ssmrt_module_get_info(module.get(), &info), SSMRT_OK);
  EXPECT_STREQ(info.device, "cuda:1");
  ssmrt_device_info device;
  ASSERT_EQ(ssmrt_module_get_device(module.get(), &device), SSMRT_OK);
  EXPECT_STREQ(device.name, "cuda:1");
  EXPECT_STREQ(device.product, "Fake GPU");
  EXPECT_EQ(device.major, 9);
  EXPECT_EQ(device.multiprocessors, 4);
  EXPECT_EQ(device.clock, 1e9);
  EXPECT_EQ(device.memory_bytes_per_second, 2 * 2e9 * 640);
  // A module of several versions does not take a device unasked.
  Module only = createOn(nullptr);
  ASSERT_EQ(ssmrt_module_get_info(only.get(), &info), SSMRT_OK);
  EXPECT_STREQ(info.device, "cuda:0");
}

TEST_F(Fake, KeepsTensorsAsLongAsTheyAreHeld) {
  Tensor<float> x({1, 4}, {1, 2, 3, 4});
  ssmrt_device_tensor *kept = nullptr;
  {
    Module module = createOn("cuda");
    fake().memory = size_t(fake().used) + 15;
    expectFailure(ssmrt_device_tensor_create(module.get(), &x.view, &kept), SSMRT_OUT_OF_MEMORY,
                  {"16 bytes for a tensor on cuda:0"});
    fake().memory = 1 << 30;
    fake().fails["cuMemcpy"] = 1;
    expectFailure(ssmrt_device_tensor_create(module.get(), &x.view, &kept), SSMRT_DEVICE_FAILED,
                  {"CUDA_ERROR_INVALID_VALUE"});
    ASSERT_EQ(ssmrt_device_tensor_create(module.get(), &x.view, &kept), SSMRT_OK);
  }
  EXPECT_GE(fake().used, 16);
  ssmrt_device_tensor_destroy(kept);
}

TEST_F(Fake, CopiesStatesBetweenDevices) {
  Module first = createOn("cuda:0"), second = createOn("cuda:1");
  Session one = makeCarrying(first.get()), two = makeCarrying(second.get());
  Tensor<float> x({1, 4}, {1, 2, 3, 4});
  ASSERT_EQ(runAsync(one, {{"x", &x.view}}), SSMRT_OK);
  ASSERT_EQ(ssmrt_session_copy_states(two.get(), one.get()), SSMRT_OK) << ssmrt_last_message();
  ASSERT_EQ(run(two, {{"x", &x.view}}), SSMRT_OK) << ssmrt_last_message();
  EXPECT_EQ(valuesOf<float>(outputOf(two, 0)), (std::vector<float>{4, 8, 12, 16}));
  ASSERT_EQ(ssmrt_session_copy_states(one.get(), two.get()), SSMRT_OK);
  ASSERT_EQ(run(one, {{"x", &x.view}}), SSMRT_OK);
  EXPECT_EQ(valuesOf<float>(outputOf(one, 0)), (std::vector<float>{6, 12, 18, 24}));
}

TEST_F(Fake, AsksTheCallersAllocators) {
  Module module = createOn("cuda");
  TestDevice device;
  // Memory of the session, of the device.
  struct Counter {
    TestDevice &device;
    int64_t held = 0, asked = 0;
  } counter{device};
  const ssmrt_allocator allocator = {&counter,
                                     [](void *user, size_t bytes, size_t) -> void * {
                                       auto *counter = static_cast<Counter *>(user);
                                       ssmrt::cuda::Address data;
                                       if (counter->device.driver->allocate(&data, bytes))
                                         return nullptr;
                                       ++counter->asked;
                                       counter->held += int64_t(bytes);
                                       return reinterpret_cast<void *>(data);
                                     },
                                     [](void *user, void *data, size_t bytes) {
                                       auto *counter = static_cast<Counter *>(user);
                                       counter->held -= int64_t(bytes);
                                       counter->device.driver->release(
                                           reinterpret_cast<ssmrt::cuda::Address>(data));
                                     }};
  MainCase values(random, 5);
  {
    Session session = makeWith(
        module, "main", [&](auto *o) { ssmrt_session_options_set_allocator(o, &allocator); });
    values.expectGood(session);
    EXPECT_EQ(counter.asked, 4); // x, y, the arena, z
    EXPECT_GE(counter.held, 4 * 80);
  }
  EXPECT_EQ(counter.held, 0);
  // Memory of outputs, of the host and of the device.
  for (bool onDevice : {false, true}) {
    DeviceMemory memory(device, 1024);
    std::vector<float> host(20);
    std::pair<void *, int> user = {onDevice ? memory.data() : host.data(), 0};
    Session session = makeWith(module, "main", [&](auto *o) {
      ssmrt_session_options_set_device_outputs(o, onDevice);
      ssmrt_session_options_set_output_allocator(
          o,
          [](void *given, int32_t, const int64_t *, int32_t, size_t) {
            auto *user = static_cast<std::pair<void *, int> *>(given);
            ++user->second;
            return user->first;
          },
          &user);
    });
    for (int repeat = 1; repeat < 5; ++repeat) {
      ASSERT_EQ(values.on(session), SSMRT_OK) << ssmrt_last_message();
      EXPECT_EQ(user.second, repeat); // once a run, also of a graph
      DLTensor view = outputOf(session, 0);
      EXPECT_EQ(view.data, user.first);
      EXPECT_EQ(view.device.device_type, onDevice ? kDLCUDA : kDLCPU);
      std::vector<float> z = onDevice ? memory.read<float>(20) : host;
      EXPECT_EQ(z[7], 2 * values.x.values[7] + values.y.values[7] + 100);
    }
    user.first = nullptr;
    expectFailure(values.on(session), SSMRT_OUTPUT_REFUSED, {"80 bytes", "'z'"});
  }
}
