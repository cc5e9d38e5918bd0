//===- DeviceTest.cpp - Modules on a device -------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs on a GPU (test/gpu/runtime) and on the fake driver alike.
//
//===----------------------------------------------------------------------===//

#include "DeviceSupport.h"

#include <thread>

static std::vector<float> expectedMain(const Tensor<float> &x, const Tensor<float> &y) {
  const float w[] = {0.5f, -1.25f, 3.0f, 100.0f};
  std::vector<float> z(x.values.size());
  for (size_t i = 0; i < z.size(); ++i)
    z[i] = 2 * x.values[i] + y.values[i] + w[i % 4];
  return z;
}

/// The entry "step" on numbers of the host.
namespace {
struct Steps {
  std::vector<float> h = std::vector<float>(4), kv;

  std::vector<float> step(const std::vector<float> &x) {
    kv.insert(kv.end(), x.begin(), x.end());
    std::vector<float> y(4);
    for (size_t c = 0; c < 4; ++c) {
      h[c] += x[c];
      float sum = 0;
      for (size_t t = 0; t < kv.size() / 4; ++t)
        sum += kv[t * 4 + c];
      y[c] = h[c] + sum;
    }
    return y;
  }
};
} // namespace

static void expectState(const Session &session, const char *name,
                        const std::vector<float> &values) {
  DLTensor state;
  ASSERT_EQ(ssmrt_session_get_state(session.get(), name, &state), SSMRT_OK) << ssmrt_last_message();
  EXPECT_EQ(state.device.device_type, kDLCPU);
  EXPECT_EQ(valuesOf<float>(state), values);
}

TEST(Device, ComputesAtAllSizes) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "main"),
          plain = makeWith(module, "main", [](auto *o) { ssmrt_session_options_set_graphs(o, 0); });
  std::mt19937 random = freshRandom();
  const int64_t sizes[][2] = {{1, 1}, {3, 7}, {0, 5}, {2, 0}, {64, 33}, {1, 2}, {5, 100003}};
  for (auto [batch, seq] : sizes)
    for (int repeat = 0; repeat < 4; ++repeat) {
      size_t count = size_t(batch * seq * 4);
      Tensor<float> x({batch, seq, 4}, randomFloats(random, count));
      Tensor<float> y({batch, seq, 4}, randomFloats(random, count));
      for (auto *each : {&session, &plain}) {
        ASSERT_EQ(run(*each, {{"y", &y.view}, {"x", &x.view}}), SSMRT_OK) << ssmrt_last_message();
        DLTensor z = outputOf(*each, 0);
        EXPECT_EQ(shapeOf(z), x.shape);
        EXPECT_EQ(valuesOf<float>(z), expectedMain(x, y));
      }
    }
}

TEST(Device, TakesAndGivesMemoryOfTheDevice) {
  Module module = createOn("cuda:0");
  Session session = makeSession(module.get(), "main");
  Session onDevice =
      makeWith(module, "main", [](auto *o) { ssmrt_session_options_set_device_outputs(o, 1); });
  TestDevice device;
  std::mt19937 random = freshRandom();
  // Aligned for kernels, and for floats only.
  for (size_t offset : {0, 16, 4, 20}) {
    Tensor<float> x({3, 5, 4}, randomFloats(random, 60)), y({3, 5, 4}, randomFloats(random, 60));
    DeviceMemory xs(device, 1024), zs(device, 1024);
    xs.write(x.values, offset);
    DLTensor xView = xs.like(x.view, offset);
    for (int repeat = 0; repeat < 4; ++repeat) {
      zs.write(std::vector<float>(256, -1));
      ssmrt_buffer buffer = {"z", zs.data(offset), 240, {kDLCUDA, 0}};
      ASSERT_EQ(run(session, {{"x", &xView}, {"y", &y.view}}, {buffer}), SSMRT_OK)
          << ssmrt_last_message();
      EXPECT_EQ(zs.read<float>(60, offset), expectedMain(x, y));
      EXPECT_EQ(zs.read<float>(1, offset + 240)[0], -1);
      DLTensor view = outputOf(session, 0);
      EXPECT_EQ(view.data, zs.data(offset));
      EXPECT_EQ(view.device.device_type, kDLCUDA);
    }
    ASSERT_EQ(run(onDevice, {{"x", &xView}, {"y", &y.view}}), SSMRT_OK);
    DLTensor view = outputOf(onDevice, 0);
    EXPECT_EQ(view.device.device_type, kDLCUDA);
    std::vector<float> z(60);
    ASSERT_EQ(device.driver->copy(reinterpret_cast<uint64_t>(z.data()),
                                  reinterpret_cast<uint64_t>(view.data), 240),
              0);
    EXPECT_EQ(z, expectedMain(x, y));
    // The session's own output is its next input, again and again.
    std::vector<float> last = z;
    for (int repeat = 0; repeat < 4; ++repeat) {
      DLTensor given = outputOf(onDevice, 0);
      ASSERT_EQ(run(onDevice, {{"x", &given}, {"y", &y.view}}), SSMRT_OK) << ssmrt_last_message();
      EXPECT_NE(outputOf(onDevice, 0).data, given.data);
      last = expectedMain(Tensor<float>({3, 5, 4}, last), y);
      std::vector<float> got(60);
      device.driver->copy(reinterpret_cast<uint64_t>(got.data()),
                          reinterpret_cast<uint64_t>(outputOf(onDevice, 0).data), 240);
      EXPECT_EQ(got, last);
    }
    ASSERT_EQ(run(onDevice, {{"x", &xView}, {"y", &y.view}}), SSMRT_OK);
    view = outputOf(onDevice, 0);
    // One session's output is the other's input.
    ASSERT_EQ(run(session, {{"x", &view}, {"y", &y.view}}), SSMRT_OK) << ssmrt_last_message();
    Tensor<float> again({3, 5, 4}, z);
    EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), expectedMain(again, y));
    std::vector<float> host(60);
    ASSERT_EQ(run(session, {{"x", &xView}, {"y", &y.view}}, {{"z", host.data(), 240, {}}}),
              SSMRT_OK);
    EXPECT_EQ(host, expectedMain(x, y));
  }
}

TEST(Device, KeepsTensors) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "main");
  std::mt19937 random = freshRandom();
  for (int64_t seq : {5, 0, 30000}) {
    Tensor<float> x({1, seq, 4}, randomFloats(random, size_t(4 * seq)));
    Tensor<float> y({1, seq, 4}, randomFloats(random, size_t(4 * seq)));
    ssmrt_device_tensor *kept = nullptr;
    ASSERT_EQ(ssmrt_device_tensor_create(module.get(), &x.view, &kept), SSMRT_OK)
        << ssmrt_last_message();
    DLTensor view;
    ssmrt_device_tensor_view(kept, &view);
    EXPECT_EQ(view.device.device_type, kDLCUDA);
    for (int repeat = 0; repeat < 4; ++repeat) {
      ASSERT_EQ(run(session, {{"x", &view}, {"y", &y.view}}), SSMRT_OK) << ssmrt_last_message();
      EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), expectedMain(x, y));
    }
    ssmrt_device_tensor_destroy(kept);
  }
  Tensor<float> x({1, 2}, {1, 2});
  ssmrt_device_tensor *none = nullptr;
  int64_t strides[] = {1, 2};
  x.view.strides = strides;
  expectFailure(ssmrt_device_tensor_create(module.get(), &x.view, &none), SSMRT_INVALID_ARGUMENT,
                {"strides"});
  x.view.ndim = 17;
  expectFailure(ssmrt_device_tensor_create(module.get(), &x.view, &none), SSMRT_INVALID_ARGUMENT,
                {"17"});
  Module host = createOn("cpu", linkedModule);
  expectFailure(ssmrt_device_tensor_create(host.get(), &x.view, &none), SSMRT_INVALID_ARGUMENT,
                {"device"});
}

TEST(Device, RefusesMemoryOfOthers) {
  Module module = createOn("cuda:0");
  Session session = makeSession(module.get(), "main");
  Tensor<float> x({1, 1, 4}, {1, 2, 3, 4}), y({1, 1, 4}, x.values);
  x.view.device = {kDLCUDA, 1};
  expectFailure(run(session, {{"x", &x.view}, {"y", &y.view}}), SSMRT_INVALID_ARGUMENT,
                {"'x'", "device 1", "cuda:0"});
  x.view.device = {DLDeviceType(8), 0};
  expectFailure(run(session, {{"x", &x.view}, {"y", &y.view}}), SSMRT_INVALID_ARGUMENT,
                {"'x'", "type 8", "cuda:0"});
  x.view.device = {kDLCPU, 0};
  float z[4];
  expectFailure(run(session, {{"x", &x.view}, {"y", &y.view}}, {{"z", z, 16, {kDLCUDA, 1}}}),
                SSMRT_INVALID_ARGUMENT, {"'z'", "device 1"});
  expectFailure(run(session, {{"x", &x.view}, {"y", &y.view}}, {{"z", x.values.data(), 16, {}}}),
                SSMRT_INVALID_ARGUMENT, {"'z' overlaps", "'x'"});
  expectFailure(run(session, {{"x", &x.view}, {"y", &y.view}}, {{"z", z, 12, {}}}),
                SSMRT_OUTPUT_REFUSED, {"'z'", "16 bytes", "12"});
  EXPECT_EQ(run(session, {{"x", &x.view}, {"y", &y.view}}, {{"z", z, 16, {}}}), SSMRT_OK);
  EXPECT_EQ(z[3], 112);
}

TEST(Device, CarriesStates) {
  Module module = createOn("cuda"), host = createOn("cpu", linkedModule);
  Session session = makeCarrying(module.get()), onHost = makeCarrying(host.get());
  std::mt19937 random = freshRandom();
  Steps expected;
  std::vector<uint8_t> saved;
  Steps savedSteps;
  for (int step = 0; step < 12; ++step) {
    Tensor<float> x({1, 4}, randomFloats(random, 4));
    ASSERT_EQ(run(session, {{"x", &x.view}}), SSMRT_OK) << ssmrt_last_message();
    Steps before = expected;
    EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), expected.step(x.values));
    expectState(session, "h", expected.h);
    expectState(session, "kv", expected.kv);
    if (step == 4) {
      size_t bytes = 0;
      ASSERT_EQ(ssmrt_session_save_states(session.get(), nullptr, &bytes), SSMRT_OK);
      saved.resize(bytes);
      ASSERT_EQ(ssmrt_session_save_states(session.get(), saved.data(), &bytes), SSMRT_OK);
      savedSteps = expected;
    }
    if (step == 7) {
      ASSERT_EQ(ssmrt_session_roll_back(session.get()), SSMRT_OK);
      expected = before;
      expectState(session, "h", expected.h);
      expectFailure(ssmrt_session_roll_back(session.get()), SSMRT_INVALID_ARGUMENT, {"take back"});
    }
    if (step == 9) {
      ASSERT_EQ(ssmrt_session_restore_states(session.get(), saved.data(), saved.size()), SSMRT_OK)
          << ssmrt_last_message();
      expected = savedSteps;
    }
  }
  // To the CPU and back, and to another on the device.
  Session other = makeCarrying(module.get());
  ASSERT_EQ(ssmrt_session_copy_states(onHost.get(), session.get()), SSMRT_OK)
      << ssmrt_last_message();
  expectState(onHost, "kv", expected.kv);
  ASSERT_EQ(ssmrt_session_copy_states(other.get(), onHost.get()), SSMRT_OK);
  ASSERT_EQ(ssmrt_session_reset_states(session.get()), SSMRT_OK);
  ASSERT_EQ(ssmrt_session_copy_states(session.get(), other.get()), SSMRT_OK);
  Tensor<float> x({1, 4}, randomFloats(random, 4));
  ASSERT_EQ(run(session, {{"x", &x.view}}), SSMRT_OK);
  EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), expected.step(x.values));
  // Set from the host and from the device.
  Tensor<float> h({1, 4}, {1, 2, 3, 4});
  ASSERT_EQ(ssmrt_session_set_state(session.get(), "h", &h.view), SSMRT_OK);
  expectState(session, "h", h.values);
  TestDevice device;
  DeviceMemory memory(device, 16);
  memory.write(std::vector<float>{5, 6, 7, 8});
  DLTensor view = memory.like(h.view);
  ASSERT_EQ(ssmrt_session_set_state(session.get(), "h", &view), SSMRT_OK) << ssmrt_last_message();
  expectState(session, "h", {5, 6, 7, 8});
  expectFailure(ssmrt_session_set_state(onHost.get(), "h", &view), SSMRT_INVALID_ARGUMENT,
                {"'h'", "device type 2"});
}

TEST(Device, ReportsFailedChecks) {
  Module module = createOn("cuda");
  Session session = makeCarrying(module.get());
  Tensor<float> x({1, 4}, {1, 2, 3, 4}), bad({1, 4}, {1234, 2, 3, 4});
  Steps expected;
  for (int step = 0; step < 6; ++step) {
    expectFailure(run(session, {{"x", &bad.view}}), SSMRT_CHECK_FAILED,
                  {"Limit_1 (If): x[0] is 1234, expected less than 1000"});
    DLTensor view;
    expectFailure(ssmrt_session_get_output(session.get(), 0, &view), SSMRT_INVALID_ARGUMENT,
                  {"no outputs"});
    ASSERT_EQ(run(session, {{"x", &x.view}}), SSMRT_OK) << ssmrt_last_message();
    EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), expected.step(x.values));
    expectState(session, "kv", expected.kv);
  }
}

TEST(Device, RunsWithoutWaiting) {
  Module module = createOn("cuda");
  Session session = makeCarrying(module.get());
  Tensor<float> x({1, 4}, {1, 2, 3, 4}), bad({1, 4}, {1e6f, 2, 3, 4});
  Steps expected;
  std::vector<float> y(4), last;
  for (int step = 0; step < 10; ++step) {
    ASSERT_EQ(runAsync(session, {{"x", &x.view}}, {{"y", y.data(), 16, {}}}), SSMRT_OK);
    last = expected.step(x.values);
  }
  ASSERT_EQ(ssmrt_session_synchronize(session.get()), SSMRT_OK);
  EXPECT_EQ(y, last);
  expectState(session, "h", expected.h);
  // One that fails is taken back.
  ASSERT_EQ(runAsync(session, {{"x", &bad.view}}), SSMRT_OK);
  expectFailure(ssmrt_session_synchronize(session.get()), SSMRT_CHECK_FAILED, {"1000000"});
  EXPECT_EQ(ssmrt_session_synchronize(session.get()), SSMRT_OK);
  expectState(session, "kv", expected.kv);
  // Looking waits too.
  ASSERT_EQ(runAsync(session, {{"x", &bad.view}}), SSMRT_OK);
  DLTensor state;
  expectFailure(ssmrt_session_get_state(session.get(), "h", &state), SSMRT_CHECK_FAILED,
                {"1000000"});
  expectState(session, "kv", expected.kv);
  // Of several nobody knows which.
  for (auto *each : {&x, &bad, &x})
    ASSERT_EQ(runAsync(session, {{"x", &each->view}}), SSMRT_OK);
  expectFailure(ssmrt_session_synchronize(session.get()), SSMRT_CHECK_FAILED, {"1000000"});
  expectFailure(ssmrt_session_get_state(session.get(), "h", &state), SSMRT_NOT_FOUND, {"no value"});
  Steps fresh;
  ASSERT_EQ(run(session, {{"x", &x.view}}), SSMRT_OK);
  EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), fresh.step(x.values));
}

TEST(Device, ReadsValues) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "pick");
  std::mt19937 random = freshRandom();
  for (int64_t n : {7, 7, 7, 7, 0, 1, 40000, 40000, 7}) {
    Tensor<int64_t> ids({n}, {});
    Tensor<uint8_t> flags({n}, {});
    std::vector<int64_t> expected;
    for (int64_t i = 0; i < n; ++i) {
      ids.values.push_back(int64_t(random() % 10));
      flags.values.push_back(random() % 2);
      if (flags.values.back())
        expected.push_back(10 * ids.values.back());
    }
    ids.view.data = ids.values.data();
    flags.view.data = flags.values.data();
    ASSERT_EQ(run(session, {{"ids", &ids.view}, {"flags", &flags.view}}), SSMRT_OK)
        << ssmrt_last_message();
    EXPECT_EQ(valuesOf<int64_t>(outputOf(session, 0)), expected);
  }
  Tensor<int64_t> ids({3}, {1, 2, 17});
  Tensor<uint8_t> flags({3}, {1, 0, 1});
  for (int repeat = 0; repeat < 2; ++repeat)
    expectFailure(run(session, {{"ids", &ids.view}, {"flags", &flags.view}}), SSMRT_CHECK_FAILED,
                  {"Gather_7 (Gather): index 17 at 2 is not in [0, 10)"});
  ids.values[2] = 3;
  ASSERT_EQ(run(session, {{"ids", &ids.view}, {"flags", &flags.view}}), SSMRT_OK);
  EXPECT_EQ(valuesOf<int64_t>(outputOf(session, 0)), (std::vector<int64_t>{10, 30}));
  flags.values[1] = 2;
  expectFailure(run(session, {{"ids", &ids.view}, {"flags", &flags.view}}), SSMRT_INVALID_ARGUMENT,
                {"bool is 0 or 1"});
}

TEST(Device, BoundsPersistentGrids) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "tiles");
  ssmrt_device_info device;
  ASSERT_EQ(ssmrt_module_get_device(module.get(), &device), SSMRT_OK);
  std::mt19937 random = freshRandom();
  for (int64_t n : {1, 128, 129, 300001}) {
    Tensor<float> x({n}, randomFloats(random, size_t(n)));
    ASSERT_EQ(run(session, {{"x", &x.view}}), SSMRT_OK) << ssmrt_last_message();
    std::vector<float> expected = x.values;
    for (float &value : expected)
      value += 1;
    EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), expected);
    // 100 KiB of shared memory: one or two blocks to a multiprocessor.
    int32_t blocks = valuesOf<int32_t>(outputOf(session, 1))[0];
    EXPECT_LE(blocks, (n + 127) / 128);
    EXPECT_LE(blocks, 2 * device.multiprocessors);
    if (n == 300001)
      EXPECT_GE(blocks, device.multiprocessors);
  }
}

TEST(Device, MovesByTensorMaps) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "moved");
  std::mt19937 random = freshRandom();
  for (int64_t n : {8, 1, 0, 13, 13, 13, 13, 4097}) {
    Tensor<float> x({n, 32}, randomFloats(random, size_t(32 * n)));
    ASSERT_EQ(run(session, {{"x", &x.view}}), SSMRT_OK) << ssmrt_last_message();
    EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), x.values);
  }
}

TEST(Device, GivesBackWhatNeverRan) {
  Module module = createOn("cuda");
  Tensor<float> x({1, 4}, {1, 2, 3, 4});
  {
    Session unused = makeSession(module.get(), "main");
    Session queued = makeCarrying(module.get());
    ASSERT_EQ(runAsync(queued, {{"x", &x.view}}), SSMRT_OK);
  }
  Session session = makeCarrying(module.get());
  Steps expected;
  ASSERT_EQ(run(session, {{"x", &x.view}}), SSMRT_OK) << ssmrt_last_message();
  EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), expected.step(x.values));
}

TEST(Device, UsesTheCallersStream) {
  Module module = createOn("cuda");
  TestDevice device;
  ssmrt::cuda::Stream stream;
  ASSERT_EQ(device.driver->streamCreate(&stream, 0), 0);
  for (void *each : {static_cast<void *>(stream), static_cast<void *>(nullptr)}) {
    Session session = makeWith(module, "main", [&](auto *o) {
      ssmrt_session_options_set_stream(o, each);
      ssmrt_session_options_set_device_outputs(o, 1);
    });
    Tensor<float> x({1, 1, 4}, {1, 2, 3, 4}), y({1, 1, 4}, {5, 6, 7, 8});
    DeviceMemory xs(device, 16), copy(device, 16);
    DLTensor xView = xs.like(x.view);
    for (int repeat = 0; repeat < 5; ++repeat) {
      xs.write(std::vector<float>(4, -9));
      // Behind what the caller has queued, and before what it queues next.
      x.values[0] = float(repeat);
      auto *on = static_cast<ssmrt::cuda::Stream>(each);
      ASSERT_EQ(
          device.driver->copyAsync(xs.address, reinterpret_cast<uint64_t>(x.values.data()), 16, on),
          0);
      ASSERT_EQ(runAsync(session, {{"x", &xView}, {"y", &y.view}}), SSMRT_OK)
          << ssmrt_last_message();
      DLTensor z = outputOf(session, 0);
      ASSERT_EQ(device.driver->copyAsync(copy.address, reinterpret_cast<uint64_t>(z.data), 16, on),
                0);
      ASSERT_EQ(device.driver->streamWait(on), 0);
      EXPECT_EQ(copy.read<float>(4), expectedMain(x, y));
    }
    ASSERT_EQ(ssmrt_session_synchronize(session.get()), SSMRT_OK);
  }
  device.driver->streamDestroy(stream);
}

TEST(Device, RunsInSeveralThreads) {
  Module module = createOn("cuda");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      Session session = makeCarrying(module.get());
      Steps expected;
      for (int step = 0; step < 50; ++step) {
        Tensor<float> x({1, 4}, {float(i), float(step), 1, 0.5f});
        ASSERT_EQ(run(session, {{"x", &x.view}}), SSMRT_OK) << ssmrt_last_message();
        ASSERT_EQ(valuesOf<float>(outputOf(session, 0)), expected.step(x.values));
      }
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST(Device, ReservesMemory) {
  Module module = createOn("cuda");
  Session session = makeCarrying(module.get());
  Steps expected;
  Tensor<float> x({1, 4}, {1, 2, 3, 4});
  ASSERT_EQ(run(session, {{"x", &x.view}}), SSMRT_OK);
  expected.step(x.values);
  const ssmrt_size sizes[] = {{"batch", 1}, {"past", 100}};
  ASSERT_EQ(ssmrt_session_reserve(session.get(), sizes, 2), SSMRT_OK) << ssmrt_last_message();
  expectState(session, "kv", expected.kv);
  ASSERT_EQ(run(session, {{"x", &x.view}}), SSMRT_OK);
  EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), expected.step(x.values));
}

TEST(Device, TellsWhatAModuleDoesWrong) {
  Module module = createOn("cuda");
  Session session = makeSession(module.get(), "faulty");
  auto runFault = [&](int32_t fault) {
    Tensor<int32_t> which({}, {fault});
    return run(session, {{"fault", &which.view}});
  };
  auto expectGood = [&](int32_t fault) {
    ASSERT_EQ(runFault(fault), SSMRT_OK) << ssmrt_last_message();
    EXPECT_EQ(valuesOf<int32_t>(outputOf(session, 0))[0], 42);
  };
  for (int repeat = 0; repeat < 2; ++repeat) {
    expectGood(0);
    expectGood(11);
    expectFailure(runFault(1), SSMRT_INTERNAL, {"kernel 99", "10"});
    expectFailure(runFault(2), SSMRT_INTERNAL, {"'store'", "33 threads", "1024"});
    expectFailure(runFault(3), SSMRT_INTERNAL, {"'store'", "-1 x 1 x 1"});
    expectFailure(runFault(4), SSMRT_INTERNAL, {"'store'", "1 x 70000 x 1"});
    expectFailure(runFault(6), SSMRT_INTERNAL, {"tensor map", "swizzle 9"});
    expectFailure(runFault(7), SSMRT_DEVICE_FAILED,
                  {"'faulty'", "tensor map", "[1]", "CUDA_ERROR_INVALID_VALUE"});
    expectFailure(runFault(8), SSMRT_CHECK_FAILED, {"Node (Op): 5 -6"});
    expectFailure(runFault(9), SSMRT_OUT_OF_MEMORY, {"'faulty'"});
    expectFailure(runFault(10), SSMRT_INTERNAL, {"returned 4"});
    expectGood(0);
  }
}

TEST(Device, TimesKernels) {
  Module module = createOn("cuda");
  std::vector<ssmrt_kernel_run> runs;
  Session session = makeWith(module, "main", [&](auto *o) {
    ssmrt_session_options_set_kernel_hook(
        o,
        [](void *user, const ssmrt_kernel_run *run) {
          static_cast<std::vector<ssmrt_kernel_run> *>(user)->push_back(*run);
        },
        &runs);
  });
  Tensor<float> x({1, 1000, 4}, std::vector<float>(4000, 1)), y({1, 1000, 4}, x.values);
  for (int repeat = 0; repeat < 3; ++repeat) {
    runs.clear();
    ASSERT_EQ(run(session, {{"x", &x.view}, {"y", &y.view}}), SSMRT_OK) << ssmrt_last_message();
    EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), expectedMain(x, y));
    ASSERT_EQ(runs.size(), 2u);
    EXPECT_STREQ(runs[0].kernel, "twice");
    EXPECT_STREQ(runs[1].kernel, "add");
    EXPECT_GT(runs[0].seconds, 0);
    EXPECT_LT(runs[1].seconds, 1);
    EXPECT_GE(runs[1].begin, runs[0].begin + runs[0].seconds - 1e-6);
    EXPECT_EQ(runs[0].bytes, -1);
  }
}

static void faultAndGoOn(int32_t fault) {
  Module module = createOn("cuda");
  Session other = makeSession(module.get(), "main");
  Session session = makeSession(module.get(), "faulty");
  Tensor<int32_t> which({}, {fault});
  for (int repeat = 0; repeat < 2; ++repeat) {
    expectFailure(run(session, {{"fault", &which.view}}), SSMRT_DEVICE_FAILED,
                  {"cuda:0", "CUDA_ERROR_ILLEGAL_ADDRESS", "any more"});
    Tensor<float> x({1, 1, 4}, {1, 2, 3, 4}), y({1, 1, 4}, x.values);
    expectFailure(run(other, {{"x", &x.view}, {"y", &y.view}}), SSMRT_DEVICE_FAILED,
                  {"cuda:0", "CUDA_ERROR_ILLEGAL_ADDRESS"});
  }
  ssmrt_session *late = nullptr;
  expectFailure(ssmrt_session_create(module.get(), "main", nullptr, &late), SSMRT_DEVICE_FAILED,
                {"cuda:0", "CUDA_ERROR_ILLEGAL_ADDRESS"});
}

/// The end of a process of its own: what is on the device is lost, and nobody asks for leaks.
static void faultAndExit(int32_t fault) {
  faultAndGoOn(fault);
  std::fprintf(stderr, testing::Test::HasFailure() ? "failed\n" : "alive\n");
  std::_Exit(0);
}

TEST(DeviceDeathTest, SurvivesAFaultOfAKernel) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (int32_t fault : {5, 12})
    EXPECT_EXIT(faultAndExit(fault), testing::ExitedWithCode(0), "alive");
}
