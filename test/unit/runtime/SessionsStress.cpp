//===- SessionsStress.cpp - Many threads with a session each --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Threads run scripts of calls, drawn from a seed, in sessions of one module that
// carry their states: runs at sizes that change, and between them states taken back,
// forked, saved, restored and set. Every script must give the bits that it gave when
// it ran alone. Meant for builds with a sanitizer; what a compiled module computes is
// not instrumented, so half of the sessions have memory that ends at a page which
// nobody may touch.
//
//===----------------------------------------------------------------------===//

#include "Hash.h"
#include "ssmrt/ssmrt.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>

using Clock = std::chrono::steady_clock;
using Session = std::unique_ptr<ssmrt_session, void (*)(ssmrt_session *)>;

static constexpr uint64_t numScripts = 12;
static std::atomic<long> numRuns{0};

[[noreturn]] static void die(const std::string &message) {
  std::fprintf(stderr, "sessions_stress: %s\n", message.c_str());
  std::_Exit(1);
}

static void check(ssmrt_status status) {
  if (status != SSMRT_OK)
    die(ssmrt_last_message());
}

static void require(bool holds, const char *what) {
  if (!holds)
    die(what);
}

//===----------------------------------------------------------------------===//
// Sessions of several kinds
//===----------------------------------------------------------------------===//

/// Blocks that end, but for alignment, where a page begins that cannot be accessed.
static size_t guardedBytes(size_t bytes) {
  size_t page = size_t(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page + page;
}

static void *allocateGuarded(void *, size_t bytes, size_t alignment) {
  size_t page = size_t(sysconf(_SC_PAGESIZE)), total = guardedBytes(bytes);
  void *base =
      mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED)
    return nullptr;
  char *end = static_cast<char *>(base) + total - page;
  require(mprotect(end, page, PROT_NONE) == 0, "mprotect failed");
  return end - (bytes + alignment - 1) / alignment * alignment;
}

static void releaseGuarded(void *, void *data, size_t bytes) {
  size_t page = size_t(sysconf(_SC_PAGESIZE));
  munmap(reinterpret_cast<void *>(uintptr_t(data) / page * page), guardedBytes(bytes));
}

/// The caller's own pool: another thread for half of each loop.
static int32_t runHalves(void *, ssmrt_range_fn fn, void *closure, int64_t n, int64_t grain) {
  int64_t half = n / 2 > grain ? n / 2 : n;
  int32_t status[2] = {0, 0};
  if (half == n)
    return fn(closure, 0, n);
  std::thread other([&] { status[0] = fn(closure, 0, half); });
  status[1] = fn(closure, half, n);
  other.join();
  return status[0] ? status[0] : status[1];
}

enum Kind { OneThread, OwnPool, SharedPool, CallersPool, numKinds };

static Session makeSession(ssmrt_module *module, int kind, bool guarded, ssmrt_pool *shared) {
  ssmrt_session_options *options;
  check(ssmrt_session_options_create(&options));
  check(ssmrt_session_options_set_carry_states(options, 1));
  if (kind == SharedPool)
    check(ssmrt_session_options_set_pool(options, shared));
  else if (kind == CallersPool)
    check(ssmrt_session_options_set_parallel_for(options, runHalves, nullptr));
  else
    check(ssmrt_session_options_set_threads(options, kind == OwnPool ? 2 : 1));
  const ssmrt_allocator allocator = {nullptr, allocateGuarded, releaseGuarded};
  if (guarded)
    check(ssmrt_session_options_set_allocator(options, &allocator));
  ssmrt_session *session;
  check(ssmrt_session_create(module, nullptr, options, &session));
  ssmrt_session_options_destroy(options);
  return {session, ssmrt_session_destroy};
}

//===----------------------------------------------------------------------===//
// Scripts
//===----------------------------------------------------------------------===//

namespace {

/// What calls of the module's first entry have to give.
struct Signature {
  struct Input {
    int32_t index;
    ssmrt_value_info info;
  };
  ssmrt_module *module;
  std::vector<Input> inputs; // but the states
  std::vector<std::string> states;
  std::set<std::string> kept, free; // sizes, those that states have and others
  int32_t numOutputs = 0;

  explicit Signature(ssmrt_module *module) : module(module) {
    ssmrt_entry_info entry;
    check(ssmrt_module_get_entry(module, 0, &entry));
    numOutputs = entry.num_outputs;
    std::set<int32_t> carried;
    for (int32_t i = 0; i < entry.num_states; ++i) {
      ssmrt_state_info state;
      check(ssmrt_module_get_state(module, 0, i, &state));
      carried.insert(state.input);
      states.push_back(state.name);
      require(state.kind == SSMRT_STATE_FIXED, "expected states of fixed size");
      ssmrt_value_info info;
      check(ssmrt_module_get_input(module, 0, state.input, &info));
      addSizes(info, kept);
    }
    require(!states.empty(), "expected a module with states");
    for (int32_t i = 0; i < entry.num_inputs; ++i) {
      Input input = {i, {}};
      check(ssmrt_module_get_input(module, 0, i, &input.info));
      if (carried.count(i))
        continue;
      addSizes(input.info, free);
      inputs.push_back(input);
    }
    for (const std::string &name : kept)
      free.erase(name);
  }

  static void addSizes(const ssmrt_value_info &info, std::set<std::string> &to) {
    for (int32_t axis = 0; axis < info.rank; ++axis)
      if (info.dims[axis].size < 0) {
        require(info.dims[axis].symbol, "expected a symbol for each size that varies");
        to.insert(info.dims[axis].symbol);
      }
  }
};

/// One call's inputs.
struct Inputs {
  std::vector<std::vector<int64_t>> dims;
  std::vector<std::vector<uint64_t>> data;
  std::vector<DLTensor> tensors;
  std::vector<ssmrt_input> inputs;

  Inputs(const Signature &signature, const std::vector<ssmrt_size> &sizes, std::mt19937 &random) {
    size_t count = signature.inputs.size();
    dims.resize(count);
    data.resize(count);
    tensors.resize(count);
    for (size_t i = 0; i < count; ++i) {
      const ssmrt_value_info &info = signature.inputs[i].info;
      dims[i].resize(SSMRT_MAX_RANK);
      check(ssmrt_module_resolve_input(signature.module, 0, signature.inputs[i].index,
                                       sizes.data(), int32_t(sizes.size()), dims[i].data()));
      size_t elements = 1;
      for (int32_t axis = 0; axis < info.rank; ++axis)
        elements *= size_t(dims[i][size_t(axis)]);
      data[i].resize(elements + 1);
      fill(info.type, elements, data[i].data(), random);
      DLTensor tensor = {};
      tensor.data = data[i].data();
      tensor.device.device_type = kDLCPU;
      tensor.ndim = info.rank;
      tensor.dtype = info.type;
      tensor.shape = dims[i].data();
      tensors[i] = tensor;
      inputs.push_back({info.name, &tensors[i]});
    }
  }

  static void fill(DLDataType type, size_t count, void *data, std::mt19937 &random) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (size_t i = 0; i < count; ++i)
      if (type.code == kDLFloat && type.bits == 32)
        static_cast<float *>(data)[i] = uniform(random);
      else if (type.code == kDLInt && type.bits == 64)
        static_cast<int64_t *>(data)[i] = int64_t(random() % 256);
      else
        die("expected inputs of float32 and int64");
  }
};

class Script {
public:
  Script(const Signature &signature, ssmrt_session *session, ssmrt_session *other, std::string file)
      : signature(signature), session(session), other(other), file(std::move(file)) {}

  /// -> a hash of all that came out.
  uint64_t run(uint64_t seed);

private:
  static uint64_t mix(uint64_t hash, const DLTensor &tensor);
  uint64_t call(ssmrt_session *where, const Inputs &inputs) const;
  uint64_t hashStates(ssmrt_session *where) const;
  std::string save(ssmrt_session *from) const;
  void between(unsigned action, const Inputs &inputs, uint64_t output, std::mt19937 &random);

  const Signature &signature;
  ssmrt_session *session, *other;
  std::string file;
};

} // namespace

uint64_t Script::mix(uint64_t hash, const DLTensor &tensor) {
  size_t bytes = tensor.dtype.bits / 8;
  for (int32_t axis = 0; axis < tensor.ndim; ++axis)
    bytes *= size_t(tensor.shape[axis]);
  return hash * 0x9e3779b97f4a7c15 +
         ssmrt::hash64(static_cast<char *>(tensor.data) + tensor.byte_offset, bytes);
}

uint64_t Script::call(ssmrt_session *where, const Inputs &inputs) const {
  check(ssmrt_session_run(where, inputs.inputs.data(), int32_t(inputs.inputs.size()), nullptr, 0));
  ++numRuns;
  uint64_t hash = 0;
  for (int32_t i = 0; i < signature.numOutputs; ++i) {
    DLTensor output;
    check(ssmrt_session_get_output(where, i, &output));
    hash = mix(hash, output);
  }
  return hash;
}

uint64_t Script::hashStates(ssmrt_session *where) const {
  uint64_t hash = 0;
  for (const std::string &name : signature.states) {
    DLTensor state;
    check(ssmrt_session_get_state(where, name.c_str(), &state));
    hash = mix(hash, state);
  }
  return hash;
}

std::string Script::save(ssmrt_session *from) const {
  size_t bytes = 0;
  check(ssmrt_session_save_states(from, nullptr, &bytes));
  std::string data(bytes, 0);
  check(ssmrt_session_save_states(from, &data[0], &bytes));
  return data;
}

/// What is done after a run; afterwards the states are as before.
void Script::between(unsigned action, const Inputs &inputs, uint64_t output, std::mt19937 &random) {
  uint64_t before = hashStates(session);
  switch (action) {
  case 0:
    check(ssmrt_session_roll_back(session));
    require(call(session, inputs) == output, "a step taken back and run again gives other values");
    break;
  case 1: // a fork, and a step there
    check(ssmrt_session_copy_states(other, session));
    require(hashStates(other) == before, "a fork has other states");
    call(other, inputs);
    break;
  case 2: {
    std::string data = save(session);
    size_t cut = random() % data.size();
    check(ssmrt_session_copy_states(other, session));
    require(ssmrt_session_restore_states(other, data.data(), cut) != SSMRT_OK,
            "states that were cut off are taken");
    require(hashStates(other) == before, "refused states changed something");
    check(ssmrt_session_reset_states(other));
    check(ssmrt_session_restore_states(other, data.data(), data.size()));
    std::swap(session, other);
    break;
  }
  case 3:
    check(ssmrt_session_save_states_file(session, file.c_str()));
    check(ssmrt_session_reset_states(other));
    check(ssmrt_session_restore_states_file(other, file.c_str()));
    std::swap(session, other);
    break;
  case 4:
    for (const std::string &name : signature.states) {
      DLTensor state;
      check(ssmrt_session_get_state(session, name.c_str(), &state));
      check(ssmrt_session_set_state(session, name.c_str(), &state));
    }
    break;
  default:
    break;
  }
  require(hashStates(session) == before, "states changed that must not");
}

uint64_t Script::run(uint64_t seed) {
  std::mt19937 random(seed);
  static const int64_t some[] = {1, 1, 2, 3, 5, 7, 16, 17, 33};
  check(ssmrt_session_reset_states(session));
  check(ssmrt_session_reset_states(other));
  std::vector<ssmrt_size> sizes;
  for (const std::string &name : signature.kept)
    sizes.push_back({name.c_str(), 1 + int64_t(random() % 3)});
  size_t numKept = sizes.size();
  uint64_t hash = 0;
  for (size_t step = 0, steps = 2 + random() % 5; step < steps; ++step) {
    sizes.resize(numKept);
    for (const std::string &name : signature.free)
      sizes.push_back({name.c_str(), some[random() % (sizeof(some) / sizeof(*some))]});
    Inputs inputs(signature, sizes, random);
    uint64_t output = call(session, inputs);
    hash = hash * 31 + output;
    between(unsigned(random() % 6), inputs, output, random);
  }
  return hash * 31 + hashStates(session);
}

//===----------------------------------------------------------------------===//
// The program
//===----------------------------------------------------------------------===//

static ssmrt_module *load(const char *path) {
  ssmrt_module *module;
  check(ssmrt_module_load(path, nullptr, &module));
  return module;
}

int main(int argc, char **argv) {
  if (argc < 2 || argc > 4) {
    std::fprintf(stderr, "usage: ssmrt_sessions_stress MODULE.so [SECONDS [THREADS]]\n");
    return 2;
  }
  const char *path = argv[1];
  double seconds = argc > 2 ? std::atof(argv[2]) : 5;
  int numThreads = argc > 3 ? std::atoi(argv[3]) : 8;

  char folder[] = "/tmp/ssmrt-stress-XXXXXX";
  require(mkdtemp(folder), "cannot make a folder for states");
  ssmrt_module *module = load(path);
  Signature signature(module);
  ssmrt_pool *pool;
  check(ssmrt_pool_create(3, &pool));

  std::vector<uint64_t> alone(numKinds * numScripts);
  for (int kind = 0; kind < numKinds; ++kind) {
    Session session = makeSession(module, kind, false, pool);
    Session other = makeSession(module, kind, false, pool);
    for (uint64_t seed = 0; seed < numScripts; ++seed)
      alone[size_t(kind) * numScripts + seed] =
          Script(signature, session.get(), other.get(), std::string(folder) + "/alone").run(seed);
  }
  numRuns = 0;

  std::atomic<long> numRan{0};
  auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                std::chrono::duration<double>(seconds));
  std::vector<std::thread> threads;
  for (int thread = 0; thread < numThreads; ++thread)
    threads.emplace_back([&, thread] {
      std::mt19937 random = std::mt19937(unsigned(thread));
      std::string file = std::string(folder) + "/" + std::to_string(thread);
      int kind = thread % numKinds;
      bool guarded = thread / numKinds % 2;
      while (Clock::now() < end) {
        // Mostly of the shared module; and modules come and go.
        ssmrt_module *own = random() % 4 ? module : load(path);
        if (own == module)
          ssmrt_module_retain(own);
        else
          check(ssmrt_module_verify_weights(own));
        Session session = makeSession(own, kind, guarded, pool);
        Session other = makeSession(own, kind, guarded, pool);
        ssmrt_module_release(own);
        for (int i = 0; i < 20 && Clock::now() < end; ++i, ++numRan) {
          uint64_t seed = random() % numScripts;
          uint64_t got = Script(signature, session.get(), other.get(), file).run(seed);
          if (got != alone[size_t(kind) * numScripts + seed])
            die("script " + std::to_string(seed) + " of thread " + std::to_string(thread) +
                " gives other values than alone");
        }
      }
      unlink(file.c_str());
    });
  for (std::thread &thread : threads)
    thread.join();
  ssmrt_pool_release(pool);
  ssmrt_module_release(module);
  unlink((std::string(folder) + "/alone").c_str());
  rmdir(folder);
  std::printf("%d threads, %g s: %ld scripts of %ld runs, all as alone\n", numThreads, seconds,
              numRan.load(), numRuns.load());
  return 0;
}
