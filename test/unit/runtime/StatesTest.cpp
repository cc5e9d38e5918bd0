//===- StatesTest.cpp - States that a session carries ---------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <csignal>
#include <dirent.h>
#include <functional>
#include <sys/resource.h>
#include <sys/wait.h>

namespace {

/// The step entry of the test module, in plain C++.
struct Reference {
  size_t batch;
  std::vector<float> h, past; // past: the sum of all x so far

  explicit Reference(size_t batch) : batch(batch), h(batch * 4, 0), past(batch * 4, 0) {}
  std::vector<float> step(const std::vector<float> &x) {
    std::vector<float> y(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      h[i] += x[i];
      past[i] += x[i];
      y[i] = h[i] + past[i];
    }
    return y;
  }
};

} // namespace

static ssmrt_status step(const Session &session, const DLTensor &x) {
  ssmrt_input input = {"x", &x};
  return ssmrt_session_run(session.get(), &input, 1, nullptr, 0);
}

static ssmrt_status step(const Session &session, std::vector<float> values) {
  auto batch = int64_t(values.size() / 4);
  Tensor<float> x({batch, 4}, std::move(values));
  return step(session, x.view);
}

static DLTensor stateOf(const Session &session, const char *name) {
  DLTensor tensor = {};
  EXPECT_EQ(ssmrt_session_get_state(session.get(), name, &tensor), SSMRT_OK)
      << ssmrt_last_message();
  return tensor;
}

static std::string saved(const Session &session) {
  size_t bytes = 0;
  EXPECT_EQ(ssmrt_session_save_states(session.get(), nullptr, &bytes), SSMRT_OK)
      << ssmrt_last_message();
  std::string data(bytes, 0);
  EXPECT_EQ(ssmrt_session_save_states(session.get(), &data[0], &bytes), SSMRT_OK);
  EXPECT_EQ(bytes, data.size());
  return data;
}

static void expectNear(const std::vector<float> &got, const std::vector<float> &expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], expected[i], 1e-4) << "at " << i;
}

TEST(States, AreCarried) {
  Module module = loadModule();
  std::mt19937 random = freshRandom();
  for (size_t batch : {1u, 3u, 0u}) {
    Session session = makeCarrying(module.get());
    Reference reference(batch);
    DLTensor none;
    expectFailure(ssmrt_session_get_state(session.get(), "h", &none), SSMRT_NOT_FOUND,
                  {"'h'", "no value yet"});
    for (int64_t i = 0; i < 20; ++i) {
      std::vector<float> x = randomFloats(random, batch * 4);
      Tensor<float> input({int64_t(batch), 4}, x);
      ASSERT_EQ(step(session, input.view), SSMRT_OK) << ssmrt_last_message();
      expectNear(valuesOf<float>(outputOf(session, 0)), reference.step(x));
      EXPECT_EQ(stateOf(session, "kv").shape[1], i + 1);
      EXPECT_EQ(outputOf(session, 2).data, stateOf(session, "kv").data);
      EXPECT_EQ(valuesOf<float>(stateOf(session, "h")), reference.h);
    }
  }
}

TEST(States, AreOrdinaryInputsOtherwise) {
  Module module = loadModule();
  Session session = makeSession(module.get(), "step");
  Tensor<float> x({1, 4}, {1, 2, 3, 4}), h({1, 4}, {10, 10, 10, 10});
  Tensor<float> kv({1, 2, 4}, {1, 1, 1, 1, 2, 2, 2, 2});
  const ssmrt_input inputs[] = {{"x", &x.view}, {"h", &h.view}, {"kv", &kv.view}};
  ASSERT_EQ(ssmrt_session_run(session.get(), inputs, 3, nullptr, 0), SSMRT_OK);
  EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), (std::vector<float>{15, 17, 19, 21}));
  EXPECT_EQ(outputOf(session, 2).shape[1], 3);
  expectFailure(step(session, x.view), SSMRT_INVALID_ARGUMENT, {"'h'", "missing"});
  expectFailure(ssmrt_session_roll_back(session.get()), SSMRT_INVALID_ARGUMENT, {"no step"});
  DLTensor view;
  expectFailure(ssmrt_session_get_state(session.get(), "h", &view), SSMRT_NOT_FOUND,
                {"carries none"});

  Session carrying = makeCarrying(module.get());
  expectFailure(ssmrt_session_run(carrying.get(), inputs, 3, nullptr, 0), SSMRT_INVALID_ARGUMENT,
                {"'h'", "carries"});
  float memory[4];
  const ssmrt_buffer buffer = {"new_h", memory, sizeof(memory)};
  expectFailure(ssmrt_session_run(carrying.get(), inputs, 1, &buffer, 1), SSMRT_INVALID_ARGUMENT,
                {"'new_h'", "carries"});
}

TEST(States, StayWhenARunFails) {
  Module module = loadModule();
  Session session = makeCarrying(module.get());
  expectFailure(step(session, {2000, 0, 0, 0}), SSMRT_CHECK_FAILED,
                {"Limit_1 (If)", "x[0] is 2000, expected less than 1000"});
  DLTensor view;
  EXPECT_EQ(ssmrt_session_get_state(session.get(), "h", &view), SSMRT_NOT_FOUND);
  ASSERT_EQ(step(session, {1, 2, 3, 4}), SSMRT_OK);
  std::string before = saved(session);
  EXPECT_EQ(step(session, {5000, 0, 0, 0}), SSMRT_CHECK_FAILED);
  EXPECT_EQ(saved(session), before);
  // Another batch than the states have.
  expectFailure(step(session, {1, 2, 3, 4, 5, 6, 7, 8}), SSMRT_INVALID_ARGUMENT,
                {"'batch' is 2", "'x'", "'h'"});
  EXPECT_EQ(saved(session), before);
  ASSERT_EQ(step(session, {1, 1, 1, 1}), SSMRT_OK);
  EXPECT_EQ(valuesOf<float>(stateOf(session, "h")), (std::vector<float>{2, 3, 4, 5}));
}

TEST(States, RollBackOneStep) {
  Module module = loadModule();
  Session session = makeCarrying(module.get());
  expectFailure(ssmrt_session_roll_back(session.get()), SSMRT_INVALID_ARGUMENT, {"no step"});
  ASSERT_EQ(step(session, {1, 2, 3, 4}), SSMRT_OK);
  ASSERT_EQ(ssmrt_session_roll_back(session.get()), SSMRT_OK);
  DLTensor view;
  EXPECT_EQ(ssmrt_session_get_state(session.get(), "kv", &view), SSMRT_NOT_FOUND);
  // Another batch is fine again.
  ASSERT_EQ(step(session, {1, 2, 3, 4, 5, 6, 7, 8}), SSMRT_OK);
  std::string first = saved(session);
  ASSERT_EQ(step(session, {8, 7, 6, 5, 4, 3, 2, 1}), SSMRT_OK);
  std::vector<float> y = valuesOf<float>(outputOf(session, 0));
  ASSERT_EQ(ssmrt_session_roll_back(session.get()), SSMRT_OK);
  EXPECT_EQ(saved(session), first);
  EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), y);
  EXPECT_EQ(ssmrt_session_roll_back(session.get()), SSMRT_INVALID_ARGUMENT);
  ASSERT_EQ(step(session, {8, 7, 6, 5, 4, 3, 2, 1}), SSMRT_OK);
  EXPECT_EQ(valuesOf<float>(outputOf(session, 0)), y);
  EXPECT_EQ(step(session, {5000, 0, 0, 0, 0, 0, 0, 0}), SSMRT_CHECK_FAILED);
  EXPECT_EQ(ssmrt_session_roll_back(session.get()), SSMRT_INVALID_ARGUMENT);
}

TEST(States, SetAndReset) {
  Module module = loadModule();
  Session session = makeCarrying(module.get());
  Tensor<float> h({1, 4}, {10, 20, 30, 40});
  ASSERT_EQ(ssmrt_session_set_state(session.get(), "h", &h.view), SSMRT_OK);
  ASSERT_EQ(step(session, {1, 1, 1, 1}), SSMRT_OK);
  EXPECT_EQ(valuesOf<float>(stateOf(session, "h")), (std::vector<float>{11, 21, 31, 41}));
  ASSERT_EQ(ssmrt_session_reset_states(session.get()), SSMRT_OK);
  ASSERT_EQ(step(session, {1, 1, 1, 1}), SSMRT_OK);
  EXPECT_EQ(valuesOf<float>(stateOf(session, "h")), (std::vector<float>{1, 1, 1, 1}));
  // Its own value may be set.
  DLTensor own = stateOf(session, "kv");
  EXPECT_EQ(ssmrt_session_set_state(session.get(), "kv", &own), SSMRT_OK);
  EXPECT_EQ(stateOf(session, "kv").shape[1], 1);
  Tensor<double> wrong({1, 4}, {1, 2, 3, 4});
  expectFailure(ssmrt_session_set_state(session.get(), "h", &wrong.view), SSMRT_INVALID_ARGUMENT,
                {"state 'h'", "float64", "float32"});
  expectFailure(ssmrt_session_set_state(session.get(), "x", &h.view), SSMRT_NOT_FOUND, {"'x'"});
}

TEST(States, CopyForksASession) {
  Module module = loadModule();
  Session one = makeCarrying(module.get()), two = makeCarrying(module.get());
  ASSERT_EQ(step(one, {1, 2, 3, 4}), SSMRT_OK);
  ASSERT_EQ(ssmrt_session_copy_states(two.get(), one.get()), SSMRT_OK) << ssmrt_last_message();
  EXPECT_EQ(saved(one), saved(two));
  ASSERT_EQ(step(one, {5, 5, 5, 5}), SSMRT_OK);
  ASSERT_EQ(step(two, {6, 6, 6, 6}), SSMRT_OK);
  EXPECT_EQ(valuesOf<float>(stateOf(one, "h"))[0], 6);
  EXPECT_EQ(valuesOf<float>(stateOf(two, "h"))[0], 7);
  Session fresh = makeCarrying(module.get());
  ASSERT_EQ(ssmrt_session_copy_states(one.get(), fresh.get()), SSMRT_OK);
  DLTensor view;
  EXPECT_EQ(ssmrt_session_get_state(one.get(), "h", &view), SSMRT_NOT_FOUND);
  Session without = makeSession(module.get(), "step");
  EXPECT_EQ(ssmrt_session_copy_states(without.get(), two.get()), SSMRT_INVALID_ARGUMENT);
  EXPECT_EQ(ssmrt_session_copy_states(two.get(), two.get()), SSMRT_OK);
}

TEST(States, SaveAndRestore) {
  Module module = loadModule();
  Session session = makeCarrying(module.get());
  size_t bytes = 0;
  expectFailure(ssmrt_session_save_states(session.get(), nullptr, &bytes), SSMRT_NOT_FOUND,
                {"'h'", "no value yet"});
  for (int i = 0; i < 5; ++i)
    ASSERT_EQ(step(session, {1, 2, 3, 4}), SSMRT_OK);
  std::string data = saved(session);
  bytes = data.size() - 1;
  std::string small(bytes, 'x');
  expectFailure(ssmrt_session_save_states(session.get(), &small[0], &bytes), SSMRT_INVALID_ARGUMENT,
                {"room"});
  EXPECT_EQ(small, std::string(bytes, 'x'));

  Session other = makeCarrying(module.get());
  ASSERT_EQ(ssmrt_session_restore_states(other.get(), data.data(), data.size()), SSMRT_OK)
      << ssmrt_last_message();
  EXPECT_EQ(saved(other), data);
  TemporaryFile file;
  ASSERT_EQ(ssmrt_session_save_states_file(session.get(), file.path.c_str()), SSMRT_OK);
  EXPECT_EQ(readAll(file.path), data);
  Session third = makeCarrying(module.get());
  ASSERT_EQ(ssmrt_session_restore_states_file(third.get(), file.path.c_str()), SSMRT_OK);
  ASSERT_EQ(step(session, {1, 0, 0, 0}), SSMRT_OK);
  ASSERT_EQ(step(third, {1, 0, 0, 0}), SSMRT_OK);
  EXPECT_EQ(saved(third), saved(session));
  // Bytes that lie at an odd address.
  std::string shifted = "x" + data;
  EXPECT_EQ(ssmrt_session_restore_states(third.get(), shifted.data() + 1, data.size()), SSMRT_OK);
}

TEST(States, BelongToAModel) {
  Module module = loadModule(), other = loadModule(testFile("TestModuleOtherModel.so")),
         unknown = loadModule(testFile("TestModuleUnknownModel.so"));
  Session session = makeCarrying(module.get()), foreign = makeCarrying(other.get()),
          anyone = makeCarrying(unknown.get());
  ASSERT_EQ(step(session, {1, 2, 3, 4}), SSMRT_OK);
  ASSERT_EQ(step(foreign, {5, 6, 7, 8}), SSMRT_OK);
  std::string data = saved(session), before = saved(foreign);
  EXPECT_NE(data.find("\"ssmrt.model\":\"0123456789abcdef\""), std::string::npos);
  expectFailure(ssmrt_session_restore_states(foreign.get(), data.data(), data.size()),
                SSMRT_INVALID_ARGUMENT,
                {"states of another model, 0123456789abcdef", "0000000fedcba987"});
  EXPECT_EQ(saved(foreign), before);
  // A module that does not know its model takes all, and its states are taken by all.
  ASSERT_EQ(ssmrt_session_restore_states(anyone.get(), data.data(), data.size()), SSMRT_OK);
  data = saved(anyone);
  EXPECT_EQ(data.find("ssmrt.model"), std::string::npos);
  EXPECT_EQ(ssmrt_session_restore_states(foreign.get(), data.data(), data.size()), SSMRT_OK);
  // On demand those of others too.
  SessionOptions options = makeOptions();
  ASSERT_EQ(ssmrt_session_options_set_carry_states(options.get(), 1), SSMRT_OK);
  ASSERT_EQ(ssmrt_session_options_set_foreign_states(options.get(), 1), SSMRT_OK);
  Session open = makeSession(other.get(), "step", options.get());
  data = saved(session);
  EXPECT_EQ(ssmrt_session_restore_states(open.get(), data.data(), data.size()), SSMRT_OK);
}

TEST(States, RefuseHostileFiles) {
  Module module = loadModule();
  Session session = makeCarrying(module.get());
  ASSERT_EQ(step(session, {1, 2, 3, 4}), SSMRT_OK);
  std::string good = saved(session);
  auto restore = [&](const std::string &data) {
    std::vector<char> exact(data.begin(), data.end());
    return ssmrt_session_restore_states(session.get(), exact.data(), exact.size());
  };
  // Files of others have no hash.
  size_t hash = good.find("ssmrt.xxh3");
  ASSERT_NE(hash, std::string::npos);
  auto replaced = [&](const std::string &from, const std::string &to) {
    std::string data = good;
    data[hash] = 'x';
    size_t at = data.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return data.replace(at, from.size(), to);
  };
  expectFailure(restore(replaced("\"h\"", "\"q\"")), SSMRT_NOT_FOUND, {"'q'"});
  expectFailure(restore(replaced("\"h\":{\"dtype\":\"F32\"", "\"h\":{\"dtype\":\"I32\"")),
                SSMRT_INVALID_ARGUMENT, {"'h'", "int32"});
  expectFailure(restore(replaced("[1,4]", "[4,1]")), SSMRT_INVALID_ARGUMENT,
                {"'h'", "dimension 1"});
  expectFailure(restore(std::string("\2\0\0\0\0\0\0\0{}", 10)), SSMRT_INVALID_ARGUMENT,
                {"lacks state 'h'"});
  EXPECT_EQ(saved(session), good);

  std::mt19937 random = freshRandom();
  for (int i = 0; i < 5000; ++i) {
    std::string data = good;
    data[hash] = i % 2 ? 'x' : data[hash];
    for (unsigned flips = 1 + random() % 3; flips; --flips)
      data[random() % data.size()] = char(random());
    if (random() % 4 == 0)
      data.resize(random() % data.size());
    if (restore(data) != SSMRT_OK)
      continue;
    step(session, {1, 2, 3, 4});
  }
}

TEST(States, RefuseEveryTruncation) {
  Module module = loadModule();
  Session session = makeCarrying(module.get());
  ASSERT_EQ(step(session, {1, 2, 3, 4}), SSMRT_OK);
  std::string good = saved(session);
  ASSERT_EQ(step(session, {5, 6, 7, 8}), SSMRT_OK);
  std::string before = saved(session);
  TemporaryFile file;
  for (size_t length = 0; length < good.size(); ++length) {
    file.write(good.substr(0, length));
    expectFailure(ssmrt_session_restore_states_file(session.get(), file.path.c_str()),
                  SSMRT_BAD_FILE, {file.path.c_str()});
  }
  file.write(good + std::string(1, 0));
  expectFailure(ssmrt_session_restore_states_file(session.get(), file.path.c_str()), SSMRT_BAD_FILE,
                {file.path.c_str()});
  EXPECT_EQ(saved(session), before);
}

// But for one in the key of the hash, after which the file is one without a hash.
TEST(States, RefuseEveryFlippedByte) {
  Module module = loadModule();
  Session session = makeCarrying(module.get());
  ASSERT_EQ(step(session, {1, 2, 3, 4}), SSMRT_OK);
  std::string good = saved(session);
  ASSERT_EQ(step(session, {5, 6, 7, 8}), SSMRT_OK);
  std::string before = saved(session);
  const std::string key = "ssmrt.xxh3";
  size_t hash = good.find(key);
  ASSERT_NE(hash, std::string::npos);
  std::mt19937 random = freshRandom();
  for (int round = 0; round < 20; ++round)
    for (size_t at = 0; at < good.size(); ++at) {
      std::string bad = good;
      bad[at] = char(bad[at] ^ (1 + random() % 255));
      ssmrt_status status = ssmrt_session_restore_states(session.get(), bad.data(), bad.size());
      if (status == SSMRT_OK && at >= hash && at < hash + key.size()) {
        EXPECT_EQ(saved(session), good);
        ASSERT_EQ(ssmrt_session_restore_states(session.get(), before.data(), before.size()),
                  SSMRT_OK);
        continue;
      }
      EXPECT_NE(status, SSMRT_OK) << "byte " << at << " is " << int(bad[at]);
      EXPECT_STRNE(ssmrt_last_message(), "");
    }
  EXPECT_EQ(saved(session), before);
  std::string bad = good;
  bad.back() ^= 1;
  expectFailure(ssmrt_session_restore_states(session.get(), bad.data(), bad.size()), SSMRT_BAD_FILE,
                {"damaged", "hash", "expected"});
}

/// Files of unfinished writes in the folder of `path`, removed.
static int removeUnfinished(const std::string &path) {
  size_t slash = path.rfind('/');
  std::string folder = path.substr(0, slash), name = path.substr(slash + 1) + ".";
  int count = 0;
  DIR *directory = opendir(folder.c_str());
  EXPECT_NE(directory, nullptr);
  while (const dirent *entry = readdir(directory))
    if (std::string(entry->d_name).rfind(name, 0) == 0) {
      unlink((folder + "/" + entry->d_name).c_str());
      ++count;
    }
  closedir(directory);
  return count;
}

/// Runs in another process -> its pid.
static pid_t inChild(const std::function<int()> &run) {
  pid_t child = fork();
  if (child == 0)
    _exit(run());
  EXPECT_GT(child, 0);
  return child;
}

static int waitFor(pid_t child) {
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

namespace {
/// Two sessions whose files are large enough to be interrupted.
struct TwoStates {
  Module module = loadModule();
  Session one = makeCarrying(module.get()), two = makeCarrying(module.get());
  std::string first, second;

  TwoStates() {
    std::mt19937 random = freshRandom();
    EXPECT_EQ(step(one, randomFloats(random, 4 * 30000)), SSMRT_OK);
    EXPECT_EQ(step(two, randomFloats(random, 4 * 30000)), SSMRT_OK);
    EXPECT_EQ(step(two, randomFloats(random, 4 * 30000)), SSMRT_OK);
    first = saved(one);
    second = saved(two);
    EXPECT_NE(first.size(), second.size());
  }
};
} // namespace

TEST(States, AreWholeInTheFileOfAKilledProcess) {
  TwoStates states;
  std::mt19937 random = freshRandom();
  TemporaryFile file;
  int unfinished = 0, numFirst = 0;
  for (int i = 0; i < 60; ++i) {
    ASSERT_EQ(ssmrt_session_save_states_file(states.one.get(), file.path.c_str()), SSMRT_OK);
    pid_t child = inChild([&] {
      for (;;)
        if (ssmrt_session_save_states_file(states.two.get(), file.path.c_str()) ||
            ssmrt_session_save_states_file(states.one.get(), file.path.c_str()))
          return 1;
    });
    usleep(random() % 12000);
    kill(child, SIGKILL);
    int status = waitFor(child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    std::string found = readAll(file.path);
    numFirst += found == states.first;
    ASSERT_TRUE(found == states.first || found == states.second)
        << "a mixture of " << found.size() << " bytes";
    unfinished += removeUnfinished(file.path);
  }
  // It was killed in the middle of writing, and after more than one.
  EXPECT_GT(unfinished, 0);
  EXPECT_LT(numFirst, 60);
}

TEST(States, KeepTheOldFileWhenTheDiskIsFull) {
  TwoStates states;
  TemporaryFile file;
  ASSERT_EQ(ssmrt_session_save_states_file(states.one.get(), file.path.c_str()), SSMRT_OK);
  // A limit on the size of files, anywhere in this one; the signal is fatal or ignored.
  std::mt19937 random = freshRandom();
  for (int i = 0; i < 20; ++i) {
    bool fatal = i % 2;
    rlim_t limit = random() % states.second.size();
    int status = waitFor(inChild([&] {
      signal(SIGXFSZ, fatal ? SIG_DFL : SIG_IGN);
      const rlimit size = {limit, limit}, core = {0, 0};
      if (setrlimit(RLIMIT_FSIZE, &size) || setrlimit(RLIMIT_CORE, &core))
        return 2;
      if (ssmrt_session_save_states_file(states.two.get(), file.path.c_str()) != SSMRT_IO_ERROR)
        return 3;
      std::string message = ssmrt_last_message();
      return message.find("cannot write '" + file.path) == std::string::npos ? 4 : 0;
    }));
    if (fatal)
      EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ) << status;
    else
      EXPECT_EQ(status, 0) << "exit code " << WEXITSTATUS(status);
    EXPECT_TRUE(readAll(file.path) == states.first);
    // A failure leaves nothing behind; who is killed cannot tidy up.
    EXPECT_EQ(removeUnfinished(file.path), fatal ? 1 : 0);
  }
  expectFailure(ssmrt_session_save_states_file(states.two.get(), "/dev/full"), SSMRT_IO_ERROR,
                {"cannot write '/dev/full'", "No space left"});
}

TEST(States, ReserveKeepsThem) {
  Module module = loadModule();
  Session session = makeCarrying(module.get());
  ASSERT_EQ(step(session, {1, 2, 3, 4}), SSMRT_OK);
  std::string before = saved(session);
  const ssmrt_size sizes[] = {{"batch", 4}, {"past", 100}};
  ASSERT_EQ(ssmrt_session_reserve(session.get(), sizes, 2), SSMRT_OK) << ssmrt_last_message();
  EXPECT_EQ(saved(session), before);
}
