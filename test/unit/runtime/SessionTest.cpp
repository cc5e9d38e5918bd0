//===- SessionTest.cpp - Runs, their checks, and their outputs ------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <array>
#include <cstdlib>

static std::vector<float> expectedMain(const Tensor<float> &x, const Tensor<float> &y) {
  const float w[] = {0.5f, -1.25f, 3.0f, 100.0f};
  std::vector<float> z(x.values.size());
  for (size_t i = 0; i < z.size(); ++i)
    z[i] = 2 * x.values[i] + y.values[i] + w[i % 4];
  return z;
}

static ssmrt_status run(const Session &session, std::initializer_list<ssmrt_input> inputs,
                        std::initializer_list<ssmrt_buffer> outputs = {}) {
  return ssmrt_session_run(session.get(), inputs.begin(), int32_t(inputs.size()), outputs.begin(),
                           int32_t(outputs.size()));
}

TEST(Session, ComputesAtAllSizes) {
  Module module = loadModule();
  Session session = makeSession(module.get(), "main");
  std::mt19937 random = freshRandom();
  const int64_t sizes[][2] = {{1, 1}, {3, 7}, {0, 5}, {2, 0}, {64, 33}, {1, 2}};
  for (auto [batch, seq] : sizes) {
    size_t count = size_t(batch * seq * 4);
    Tensor<float> x({batch, seq, 4}, randomFloats(random, count));
    Tensor<float> y({batch, seq, 4}, randomFloats(random, count));
    ASSERT_EQ(run(session, {{"y", &y.view}, {"x", &x.view}}), SSMRT_OK) << ssmrt_last_message();
    DLTensor z = outputOf(session, 0);
    EXPECT_EQ(shapeOf(z), x.shape);
    EXPECT_EQ(valuesOf<float>(z), expectedMain(x, y));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(z.data) % 64, 0u);
    // By position.
    ASSERT_EQ(run(session, {{nullptr, &x.view}, {nullptr, &y.view}}), SSMRT_OK);
    EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), expectedMain(x, y));
  }
}

TEST(Session, RefusesWrongInputs) {
  Module module = loadModule();
  Session session = makeSession(module.get(), "main");
  Tensor<float> x({2, 3, 4}, std::vector<float>(24, 1)), y({2, 3, 4}, x.values);
  auto expectBad = [&](std::initializer_list<const char *> parts,
                       ssmrt_status status = SSMRT_INVALID_ARGUMENT) {
    expectFailure(run(session, {{"x", &x.view}, {"y", &y.view}}), status, parts);
  };
  DLTensor good = x.view;
  int64_t shape[4] = {2, 3, 4, 1};
  auto reset = [&] {
    x.view = good;
    x.view.shape = shape;
    std::memcpy(shape, std::array<int64_t, 4>{2, 3, 4, 1}.data(), sizeof(shape));
  };
  reset();
  x.view.dtype = {0, 32, 1};
  expectBad({"'x'", "int32", "float32"});
  reset();
  x.view.dtype = {2, 32, 4};
  expectBad({"'x'", "unknown element type", "4 lanes"});
  reset();
  x.view.device.device_type = DLDeviceType(2);
  expectBad({"'x'", "device type 2"});
  reset();
  x.view.ndim = 4;
  expectBad({"'x'", "rank is 4", "3 [batch, seq, 4]"});
  reset();
  x.view.ndim = -1;
  expectBad({"'x'", "rank is -1"});
  reset();
  x.view.shape = nullptr;
  expectBad({"'x'", "shape is NULL"});
  reset();
  shape[2] = 5;
  expectBad({"'x'", "dimension 2 is 5", "expected 4"});
  reset();
  shape[1] = -3;
  expectBad({"'x'", "dimension 1", "-3"});
  reset();
  shape[0] = shape[1] = int64_t(1) << 40;
  expectBad({"'x'", "too large"});
  reset();
  shape[0] = 1;
  expectBad({"'y'", "dimension 0 is 2", "'batch' is 1", "input 'x'"});
  reset();
  x.view.data = nullptr;
  expectBad({"'x'", "data is NULL"});
  reset();
  x.view.byte_offset = 2;
  expectBad({"'x'", "aligned"});
  reset();
  int64_t strides[3] = {12, 4, 1};
  x.view.strides = strides;
  EXPECT_EQ(run(session, {{"x", &x.view}, {"y", &y.view}}), SSMRT_OK);
  strides[0] = 24;
  expectBad({"'x'", "strides [24, 4, 1]"});
  reset();
  expectFailure(run(session, {{"x", &x.view}}), SSMRT_INVALID_ARGUMENT, {"'y'", "missing"});
  expectFailure(run(session, {{"x", &x.view}, {"x", &x.view}}), SSMRT_INVALID_ARGUMENT,
                {"'x'", "twice"});
  expectFailure(run(session, {{"nope", &x.view}}), SSMRT_NOT_FOUND, {"nope", "x, y"});
  expectFailure(run(session, {{"x", nullptr}}), SSMRT_INVALID_ARGUMENT, {"'x'", "NULL"});
  expectFailure(run(session, {{nullptr, &x.view}, {nullptr, &x.view}, {nullptr, &x.view}}),
                SSMRT_INVALID_ARGUMENT, {"3 inputs", "has 2"});
  expectFailure(ssmrt_session_run(session.get(), nullptr, 2, nullptr, 0), SSMRT_INVALID_ARGUMENT,
                {"missing"});
  DLTensor output;
  expectFailure(ssmrt_session_get_output(session.get(), 0, &output), SSMRT_INVALID_ARGUMENT,
                {"no outputs"});
  // After all that it still works.
  ASSERT_EQ(run(session, {{"x", &x.view}, {"y", &y.view}}), SSMRT_OK);
  EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), expectedMain(x, y));
}

TEST(Session, TakesByteOffsets) {
  Module module = loadModule();
  Session session = makeSession(module.get(), "main");
  Tensor<float> x({1, 1, 4}, {9, 9, 1, 2, 3, 4}), y({1, 1, 4}, {0, 0, 0, 0});
  x.view.byte_offset = 8;
  ASSERT_EQ(run(session, {{"x", &x.view}, {"y", &y.view}}), SSMRT_OK);
  EXPECT_EQ(valuesOf<float>(outputOf(session, 0))[0], 2.5f);
}

TEST(Session, WritesToTheCallersBuffers) {
  Module module = loadModule();
  Session session = makeSession(module.get(), "main");
  Tensor<float> x({2, 3, 4}, std::vector<float>(24, 1)), y({2, 3, 4}, x.values);
  std::vector<float> memory(30);
  float *data = memory.data();
  ASSERT_EQ(run(session, {{"x", &x.view}, {"y", &y.view}}, {{"z", data, memory.size() * 4}}),
            SSMRT_OK);
  EXPECT_EQ(outputOf(session, 0).data, data);
  EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), expectedMain(x, y));
  auto tryBuffer = [&](ssmrt_buffer buffer) {
    return run(session, {{"x", &x.view}, {"y", &y.view}}, {buffer});
  };
  expectFailure(tryBuffer({"z", data, 95}), SSMRT_OUTPUT_REFUSED,
                {"'z'", "[2, 3, 4]", "96 bytes", "95"});
  expectFailure(tryBuffer({"z", nullptr, 96}), SSMRT_INVALID_ARGUMENT, {"'z'", "NULL"});
  expectFailure(tryBuffer({"z", reinterpret_cast<char *>(data) + 1, 96}), SSMRT_INVALID_ARGUMENT,
                {"'z'", "aligned"});
  expectFailure(tryBuffer({"w", data, 96}), SSMRT_NOT_FOUND, {"'w'", "z"});
  expectFailure(tryBuffer({"z", x.values.data() + 2, 96}), SSMRT_INVALID_ARGUMENT,
                {"'z'", "overlaps that of 'x'"});
  ASSERT_EQ(run(session, {{"x", &x.view}, {"y", &y.view}}), SSMRT_OK);
  EXPECT_NE(outputOf(session, 0).data, data);
}

namespace {
/// Counts what it gives out; gives nothing once `left` are given.
struct Counting {
  int left = 1 << 30;
  int live = 0;
  size_t bytes = 0;

  ssmrt_allocator allocator() {
    return {this,
            [](void *user, size_t bytes, size_t alignment) -> void * {
              auto *self = static_cast<Counting *>(user);
              if (self->left-- <= 0)
                return nullptr;
              ++self->live;
              self->bytes += bytes;
              return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
            },
            [](void *user, void *data, size_t bytes) {
              auto *self = static_cast<Counting *>(user);
              --self->live;
              self->bytes -= bytes;
              std::free(data);
            }};
  }
};
} // namespace

TEST(Session, SurvivesEveryRefusedAllocation) {
  Module module = loadModule();
  Counting counting;
  {
    ssmrt_allocator allocator = counting.allocator();
    SessionOptions options = makeOptions();
    ssmrt_session_options_set_allocator(options.get(), &allocator);
    ssmrt_session_options_set_carry_states(options.get(), 1);
    Session main = makeSession(module.get(), "main", options.get());
    Session step = makeSession(module.get(), "step", options.get());
    Session pick = makeSession(module.get(), "pick", options.get());
    Tensor<float> x({2, 3, 4}, std::vector<float>(24, 1)), h({2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
    Tensor<int64_t> ids({3}, {1, 2, 3});
    Tensor<uint8_t> flags({3}, {1, 0, 1});
    auto runAll = [&] {
      ssmrt_status status = run(main, {{"x", &x.view}, {"y", &x.view}});
      if (!status)
        status = run(step, {{"x", &h.view}});
      return status ? status : run(pick, {{"ids", &ids.view}, {"flags", &flags.view}});
    };
    int allowed = 0;
    for (;; ++allowed) {
      counting.left = allowed ? 1 : 0;
      ssmrt_status status = runAll();
      if (status == SSMRT_OK)
        break;
      expectFailure(status, SSMRT_OUT_OF_MEMORY, {"out of memory"});
      ASSERT_LT(allowed, 30);
    }
    EXPECT_GT(allowed, 3);
    EXPECT_GT(counting.live, 3);
    EXPECT_EQ(valuesOf<float>(outputOf(main, 0)), expectedMain(x, x));
    EXPECT_EQ(valuesOf<int64_t>(outputOf(pick, 0)), (std::vector<int64_t>{10, 30}));
  }
  EXPECT_EQ(counting.live, 0);
  EXPECT_EQ(counting.bytes, 0u);
}

TEST(Session, AsksTheOutputAllocator) {
  Module module = loadModule();
  struct Asked {
    std::vector<int64_t> memory = std::vector<int64_t>(8);
    std::vector<int64_t> dims;
    size_t bytes = 0;
    bool refuse = false;
  } asked;
  SessionOptions options = makeOptions();
  ssmrt_session_options_set_output_allocator(
      options.get(),
      [](void *user, int32_t index, const int64_t *dims, int32_t rank, size_t bytes) -> void * {
        auto *self = static_cast<Asked *>(user);
        EXPECT_EQ(index, 0);
        self->dims.assign(dims, dims + rank);
        self->bytes = bytes;
        return self->refuse ? nullptr : self->memory.data();
      },
      &asked);
  Session session = makeSession(module.get(), "pick", options.get());
  Tensor<int64_t> ids({4}, {1, 2, 3, 4});
  Tensor<uint8_t> flags({4}, {1, 0, 1, 1});
  ASSERT_EQ(run(session, {{"ids", &ids.view}, {"flags", &flags.view}}), SSMRT_OK);
  EXPECT_EQ(asked.dims, std::vector<int64_t>{3});
  EXPECT_EQ(asked.bytes, 24u);
  EXPECT_EQ(asked.memory[2], 40);
  asked.refuse = true;
  expectFailure(run(session, {{"ids", &ids.view}, {"flags", &flags.view}}), SSMRT_OUTPUT_REFUSED,
                {"'values'", "24 bytes"});
}

TEST(Session, TakesItsLastOutputAsAnInput) {
  Module module = loadModule();
  Session session = makeSession(module.get(), "main");
  std::mt19937 random = freshRandom();
  Tensor<float> x({1, 3, 4}, randomFloats(random, 12)), y({1, 3, 4}, randomFloats(random, 12));
  ASSERT_EQ(run(session, {{"x", &x.view}, {"y", &y.view}}), SSMRT_OK);
  DLTensor first = outputOf(session, 0);
  ASSERT_EQ(run(session, {{"x", &first}, {"y", &y.view}}), SSMRT_OK) << ssmrt_last_message();
  DLTensor second = outputOf(session, 0);
  EXPECT_NE(second.data, first.data);
  std::vector<float> expected = expectedMain(Tensor<float>({1, 3, 4}, expectedMain(x, y)), y);
  EXPECT_EQ(valuesOf<float>(second), expected);
  // The one before it is where the next goes.
  DLTensor kept = second;
  int64_t shape[] = {1, 3, 4};
  kept.shape = first.shape = shape;
  expectFailure(run(session, {{"x", &first}, {"y", &kept}}), SSMRT_INVALID_ARGUMENT,
                {"before the last one", "'z'"});
  ASSERT_EQ(run(session, {{"x", &kept}, {"y", &y.view}}), SSMRT_OK) << ssmrt_last_message();
  EXPECT_EQ(valuesOf<float>(outputOf(session, 0)),
            expectedMain(Tensor<float>({1, 3, 4}, expected), y));
}

TEST(Session, RefusesOutputsOnTopOfEachOther) {
  Module module = loadModule();
  Session session = makeSession(module.get(), "faulty");
  Tensor<int32_t> fault({}, {0});
  int32_t memory[8];
  expectFailure(
      run(session, {{"fault", &fault.view}}, {{"out", memory + 1, 4}, {"four", memory, SIZE_MAX}}),
      SSMRT_INVALID_ARGUMENT, {"'four'", "'out'", "overlaps"});
  EXPECT_EQ(
      run(session, {{"fault", &fault.view}}, {{"out", memory + 4, 4}, {"four", memory, SIZE_MAX}}),
      SSMRT_OK)
      << ssmrt_last_message();
  EXPECT_EQ(memory[4], 42);
}

TEST(Session, ReportsChecksOnData) {
  Module module = loadModule();
  Session session = makeSession(module.get(), "pick");
  Tensor<int64_t> ids({4}, {1, 2, 12, 4});
  Tensor<uint8_t> flags({4}, {1, 0, 1, 1});
  expectFailure(run(session, {{"ids", &ids.view}, {"flags", &flags.view}}), SSMRT_CHECK_FAILED,
                {"Gather_7 (Gather): index 12 at 2 is not in [0, 10)"});
  ids.values[2] = -1;
  expectFailure(run(session, {{"ids", &ids.view}, {"flags", &flags.view}}), SSMRT_CHECK_FAILED,
                {"index -1 at 2"});
  ids.values[2] = 9;
  flags.values[3] = 7;
  expectFailure(run(session, {{"ids", &ids.view}, {"flags", &flags.view}}), SSMRT_INVALID_ARGUMENT,
                {"'flags'", "element 3 is 7"});
  flags.values[3] = 0;
  ASSERT_EQ(run(session, {{"ids", &ids.view}, {"flags", &flags.view}}), SSMRT_OK);
  EXPECT_EQ(valuesOf<int64_t>(outputOf(session, 0)), (std::vector<int64_t>{10, 90}));
}

TEST(Session, SurvivesFaultyModules) {
  Module module = loadModule();
  Session session = makeSession(module.get(), "faulty");
  struct Case {
    int32_t fault;
    ssmrt_status status;
    const char *part;
  };
  const Case cases[] = {
      {1, SSMRT_INTERNAL, "did not write output 'out'"},
      {2, SSMRT_INTERNAL, "'out' twice"},
      {3, SSMRT_INTERNAL, "returned 99"},
      {4, SSMRT_INTERNAL, "check 55"},
      {5, SSMRT_INTERNAL, "output 7"},
      {6, SSMRT_CHECK_FAILED, "[-1]"},
      {7, SSMRT_INTERNAL, "'four': dimension 0 is 1, the signature says 4"},
      {8, SSMRT_OUT_OF_MEMORY, "out of memory"},
      {9, SSMRT_CHECK_FAILED, "Node (Op): 5 -6 {x} {"},
      {10, SSMRT_CHECK_FAILED, "Node (Op): 5 {1} {x} {"},
      {11, SSMRT_INTERNAL, "returned 77"},
      {12, SSMRT_INTERNAL, "without a report"},
      {13, SSMRT_CHECK_FAILED, "cannot be"},
  };
  for (const Case &test : cases) {
    Tensor<int32_t> fault({}, {test.fault});
    expectFailure(run(session, {{"fault", &fault.view}}), test.status, {test.part});
    fault.values[0] = 0;
    ASSERT_EQ(run(session, {{"fault", &fault.view}}), SSMRT_OK)
        << "after fault " << test.fault << ": " << ssmrt_last_message();
    EXPECT_EQ(valuesOf<int32_t>(outputOf(session, 0))[0], 42);
  }
  Tensor<int32_t> segment({}, {14});
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(run(session, {{"fault", &segment.view}}), SSMRT_OK) << ssmrt_last_message();
}

TEST(Session, TellsItsMemory) {
  Module module = loadModule();
  const ssmrt_size sizes[] = {{"batch", 2}, {"seq", 5}};
  ssmrt_memory memory;
  ASSERT_EQ(ssmrt_module_plan_memory(module.get(), 0, sizes, 2, &memory), SSMRT_OK);
  EXPECT_EQ(memory.arena_bytes, 160);
  EXPECT_EQ(memory.state_bytes, 0);
  EXPECT_EQ(memory.output_bytes, 160);
  EXPECT_EQ(memory.total_bytes, 320);
  EXPECT_EQ(memory.weight_bytes, 16);
  // h and kv twice, kv after the step.
  const ssmrt_size step[] = {{"batch", 2}, {"past", 3}};
  ASSERT_EQ(ssmrt_module_plan_memory(module.get(), 1, step, 2, &memory), SSMRT_OK);
  EXPECT_EQ(memory.arena_bytes, 0);
  EXPECT_EQ(memory.state_bytes, 2 * (2 * 4 + 2 * 4 * 4) * 4);
  EXPECT_EQ(memory.output_bytes, 2 * 4 * 4);
  EXPECT_EQ(memory.total_bytes, memory.state_bytes + memory.output_bytes);
  // Only a run knows the size of the output.
  const ssmrt_size ids[] = {{"n", 3}};
  ASSERT_EQ(ssmrt_module_plan_memory(module.get(), 2, ids, 1, &memory), SSMRT_OK);
  EXPECT_EQ(memory.total_bytes, 0);

  expectFailure(ssmrt_module_plan_memory(module.get(), 0, sizes, 1, &memory), SSMRT_NOT_FOUND,
                {"'seq'"});
  expectFailure(ssmrt_module_plan_memory(module.get(), 9, sizes, 2, &memory),
                SSMRT_INVALID_ARGUMENT, {"entry 9"});
  expectFailure(ssmrt_module_plan_memory(module.get(), 0, sizes, 2, nullptr),
                SSMRT_INVALID_ARGUMENT, {"memory"});
  expectFailure(ssmrt_module_plan_memory(nullptr, 0, sizes, 2, &memory), SSMRT_INVALID_ARGUMENT,
                {"module"});
}

TEST(Session, PlansAndReserves) {
  Module module = loadModule();
  const ssmrt_size sizes[] = {{"batch", 2}, {"seq", 5}};
  int64_t bytes, dims[3];
  ASSERT_EQ(ssmrt_module_plan(module.get(), 0, sizes, 2, &bytes, dims), SSMRT_OK);
  EXPECT_EQ(bytes, 2 * 5 * 4 * 4);
  EXPECT_EQ(dims[0], 2);
  EXPECT_EQ(dims[1], 5);
  EXPECT_EQ(dims[2], 4);
  expectFailure(ssmrt_module_plan(module.get(), 0, sizes, 1, &bytes, dims), SSMRT_NOT_FOUND,
                {"'seq'", "dimension 1", "'x'"});
  const ssmrt_size single[] = {{"batch", 2}, {"x:1", 5}, {"y:1", 5}};
  EXPECT_EQ(ssmrt_module_plan(module.get(), 0, single, 3, &bytes, nullptr), SSMRT_OK);
  const ssmrt_size negative[] = {{"batch", -2}, {"seq", 5}};
  expectFailure(ssmrt_module_plan(module.get(), 0, negative, 2, &bytes, dims),
                SSMRT_INVALID_ARGUMENT, {"batch", "-2"});
  const ssmrt_size huge[] = {{"batch", INT64_MAX}, {"seq", INT64_MAX}};
  expectFailure(ssmrt_module_plan(module.get(), 0, huge, 2, &bytes, dims), SSMRT_INVALID_ARGUMENT,
                {"too large"});
  ASSERT_EQ(ssmrt_module_resolve_input(module.get(), 0, 1, sizes, 2, dims), SSMRT_OK);
  EXPECT_EQ(dims[1], 5);

  Counting counting;
  ssmrt_allocator allocator = counting.allocator();
  SessionOptions options = makeOptions();
  ssmrt_session_options_set_allocator(options.get(), &allocator);
  Session session = makeSession(module.get(), "main", options.get());
  ASSERT_EQ(ssmrt_session_reserve(session.get(), sizes, 2), SSMRT_OK);
  counting.left = 0;
  for (int64_t seq = 0; seq <= 5; ++seq) {
    Tensor<float> x({2, seq, 4}, std::vector<float>(size_t(seq) * 8, 1));
    EXPECT_EQ(run(session, {{"x", &x.view}, {"y", &x.view}}), SSMRT_OK) << ssmrt_last_message();
  }
  Tensor<float> x({2, 6, 4}, std::vector<float>(48, 1));
  EXPECT_EQ(run(session, {{"x", &x.view}, {"y", &x.view}}), SSMRT_OUT_OF_MEMORY);
}

TEST(Session, RefusesUnknownEntriesAndOptions) {
  Module module = loadModule();
  ssmrt_session *session = nullptr;
  expectFailure(ssmrt_session_create(module.get(), "nope", nullptr, &session), SSMRT_NOT_FOUND,
                {"nope", "main"});
  Session first = makeSession(module.get(), nullptr);
  EXPECT_EQ(ssmrt_session_entry(first.get()), 0);
  SessionOptions options = makeOptions();
  expectFailure(ssmrt_session_options_set_threads(options.get(), -1), SSMRT_INVALID_ARGUMENT,
                {"-1"});
  ssmrt_allocator half = {nullptr, nullptr, nullptr};
  expectFailure(ssmrt_session_options_set_allocator(options.get(), &half), SSMRT_INVALID_ARGUMENT,
                {"allocator"});
  // A session keeps its module.
  Session kept = makeSession(module.get(), "pick");
  module.reset();
  Tensor<int64_t> ids({1}, {1});
  Tensor<uint8_t> flags({1}, {1});
  EXPECT_EQ(run(kept, {{"ids", &ids.view}, {"flags", &flags.view}}), SSMRT_OK);
}

TEST(Session, IsBusyDuringACall) {
  Module module = loadModule();
  static ssmrt_session *running;
  static ssmrt_status inner;
  SessionOptions options = makeOptions();
  ssmrt_session_options_set_output_allocator(
      options.get(),
      [](void *, int32_t, const int64_t *, int32_t, size_t) -> void * {
        inner = ssmrt_session_run(running, nullptr, 0, nullptr, 0);
        return nullptr;
      },
      nullptr);
  Session session = makeSession(module.get(), "faulty", options.get());
  running = session.get();
  Tensor<int32_t> fault({}, {0});
  EXPECT_EQ(run(session, {{"fault", &fault.view}}), SSMRT_OUTPUT_REFUSED);
  EXPECT_EQ(inner, SSMRT_BUSY);
}
