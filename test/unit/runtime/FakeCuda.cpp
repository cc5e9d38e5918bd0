//===- FakeCuda.cpp - A CUDA driver for tests -----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FakeCuda.h"

#include "../../gpu/emulator/Emulator.h"
#include "cuda/Driver.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>

using namespace ssmrt::cuda;
using Work = std::function<Result()>;

namespace ssmrt::cuda {
struct ContextObject {
  int32_t ordinal;
};
struct FunctionObject {
  const FakeKernel *kernel;
  int32_t maxDynamicShared = 48 << 10;
};
struct LibraryObject {
  std::vector<std::unique_ptr<FunctionObject>> functions;
  std::unique_ptr<ssm_emulator::Image> emulated;
  std::deque<FakeKernel> kernels; // of that
};
struct StreamObject {
  std::deque<Work> queue;
  struct GraphObject *capture = nullptr;
};
struct EventObject {
  double time = -1;
};
struct GraphObject {
  std::vector<Work> work;
};
struct GraphExecObject {
  std::vector<Work> work;
};
} // namespace ssmrt::cuda

static std::recursive_mutex mutex;
static FakeCuda fake = [] {
  FakeCuda made;
  if (const char *chip = std::getenv("SSM_FAKE_CUDA_CHIP"))
    if (std::sscanf(chip, "sm_%d", &made.major) == 1) {
      made.minor = made.major % 10;
      made.major /= 10;
    }
  return made;
}();
static Result fault = kSuccess; // stays
static double virtualTime = 0;  // milliseconds; each kernel takes one
static std::map<uint64_t, std::pair<size_t, int32_t>> allocations; // bytes, device
static std::map<uint64_t, size_t> pinnedBlocks;
static StreamObject defaultStream;
static thread_local std::vector<Context> current;

static constexpr Result kInvalidValue = 1, kInvalidImage = 200, kInvalidContext = 201,
                        kNoBinary = 209, kCaptureUnsupported = 900;

extern "C" FakeCuda *fakeCuda() {
  fake.reset = [] {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    FakeCuda fresh;
    fresh.reset = fake.reset;
    // What still lives is counted on.
    fresh.used = fake.used;
    fresh.pinned = fake.pinned;
    fresh.contexts = fake.contexts;
    fresh.streams = fake.streams;
    fresh.events = fake.events;
    fresh.graphs = fake.graphs;
    fresh.libraries = fake.libraries;
    fake = fresh;
    fault = kSuccess;
  };
  return &fake;
}

/// The beginning of each function: counts, and fails if it is to.
#define ENTER(name)                                                                                \
  std::lock_guard<std::recursive_mutex> lock(mutex);                                               \
  ++fake.calls[name];                                                                              \
  if (auto found = fake.fails.find(name); found != fake.fails.end()) {                             \
    Result result = found->second;                                                                 \
    fake.fails.erase(found);                                                                       \
    return result;                                                                                 \
  }
#define ENTER_IN_CONTEXT(name)                                                                     \
  ENTER(name)                                                                                      \
  if (current.empty())                                                                             \
    return kInvalidContext;                                                                        \
  if (fault)                                                                                       \
    return fault;

static bool isDevice(Address address) { return address & fakeDeviceBit; }

/// Whether the bytes lie in memory of the device that was not given back.
static bool isAllocated(Address address, size_t bytes) {
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin())
    return false;
  auto &[start, block] = *std::prev(next);
  return address + bytes <= start + block.first;
}

static bool isPinned(Address address) {
  auto next = pinnedBlocks.upper_bound(address);
  if (next == pinnedBlocks.begin())
    return false;
  auto &[start, bytes] = *std::prev(next);
  return address < start + bytes;
}

static StreamObject &of(Stream stream) { return stream ? *stream : defaultStream; }

static Result add(Stream stream, Work work) {
  if (of(stream).capture)
    of(stream).capture->work.push_back(std::move(work));
  else
    of(stream).queue.push_back(std::move(work));
  return kSuccess;
}

static Result flush(Stream stream) {
  if (of(stream).capture)
    return kCaptureUnsupported;
  auto &queue = of(stream).queue;
  while (!queue.empty() && !fault) {
    Work work = std::move(queue.front());
    queue.pop_front();
    fault = work();
  }
  if (fault)
    queue.clear();
  return fault;
}

#define EXPORT extern "C" __attribute__((visibility("default"))) Result

EXPORT cuInit(unsigned) {
  ENTER("cuInit")
  return fake.devices ? kSuccess : kNoDevice;
}

EXPORT cuDriverGetVersion(int32_t *version) {
  *version = 13000;
  return kSuccess;
}

EXPORT cuGetErrorName(Result result, const char **name) {
  static const std::map<Result, const char *> names = {
      {kInvalidValue, "CUDA_ERROR_INVALID_VALUE"},
      {kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"},
      {kNoDevice, "CUDA_ERROR_NO_DEVICE"},
      {kInvalidImage, "CUDA_ERROR_INVALID_IMAGE"},
      {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT"},
      {kNoBinary, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
      {kNotFound, "CUDA_ERROR_NOT_FOUND"},
      {kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
      {719, "CUDA_ERROR_LAUNCH_FAILED"},
      {kCaptureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"}};
  auto found = names.find(result);
  *name = found == names.end() ? nullptr : found->second;
  return found == names.end() ? kInvalidValue : kSuccess;
}

EXPORT cuGetErrorString(Result, const char **text) {
  *text = "as the driver says it";
  return kSuccess;
}

EXPORT cuDeviceGetCount(int32_t *count) {
  ENTER("cuDeviceGetCount")
  *count = fake.devices;
  return kSuccess;
}

EXPORT cuDeviceGet(int32_t *device, int32_t ordinal) {
  ENTER("cuDeviceGet")
  *device = 100 + ordinal;
  return kSuccess;
}

EXPORT cuDeviceGetName(char *name, int32_t bytes, int32_t) {
  ENTER("cuDeviceGetName")
  std::strncpy(name, "Fake GPU", size_t(bytes));
  return kSuccess;
}

EXPORT cuDeviceGetAttribute(int32_t *value, int32_t attribute, int32_t) {
  ENTER("cuDeviceGetAttribute")
  switch (attribute) {
  case kMajor:
    *value = fake.major;
    return kSuccess;
  case kMinor:
    *value = fake.minor;
    return kSuccess;
  case kMultiprocessors:
    *value = fake.multiprocessors;
    return kSuccess;
  case kClockRate:
    *value = 1000000;
    return kSuccess;
  case kMemoryClockRate:
    *value = 2000000;
    return kSuccess;
  case kMemoryBusWidth:
    *value = 5120;
    return kSuccess;
  }
  return kInvalidValue;
}

EXPORT cuDevicePrimaryCtxRetain(Context *context, int32_t device) {
  ENTER("cuDevicePrimaryCtxRetain")
  static ContextObject contexts[64];
  contexts[device - 100].ordinal = device - 100;
  *context = &contexts[device - 100];
  ++fake.contexts;
  return kSuccess;
}

EXPORT cuDevicePrimaryCtxRelease_v2(int32_t) {
  ENTER("cuDevicePrimaryCtxRelease_v2")
  --fake.contexts;
  return kSuccess;
}

EXPORT cuCtxPushCurrent_v2(Context context) {
  current.push_back(context);
  return kSuccess;
}

EXPORT cuCtxPopCurrent_v2(Context *context) {
  if (current.empty())
    return kInvalidContext;
  *context = current.back();
  current.pop_back();
  return kSuccess;
}

EXPORT cuMemGetInfo_v2(size_t *free, size_t *total) {
  ENTER_IN_CONTEXT("cuMemGetInfo_v2")
  *total = fake.memory;
  *free = fake.memory - size_t(fake.used);
  return kSuccess;
}

EXPORT cuMemAlloc_v2(Address *data, size_t bytes) {
  ENTER_IN_CONTEXT("cuMemAlloc_v2")
  if (!bytes)
    return kInvalidValue;
  if (size_t(fake.used) + bytes > fake.memory)
    return kOutOfMemory;
  void *memory = nullptr;
  if (posix_memalign(&memory, 256, bytes))
    return kOutOfMemory;
  std::memset(memory, 0xff, bytes); // not a number in any type of floats
  *data = reinterpret_cast<Address>(memory) | fakeDeviceBit;
  allocations[*data] = {bytes, current.back()->ordinal};
  fake.used += int64_t(bytes);
  return kSuccess;
}

EXPORT cuMemFree_v2(Address data) {
  ENTER("cuMemFree_v2")
  auto found = allocations.find(data);
  if (current.empty() || found == allocations.end())
    return kInvalidValue;
  fake.used -= int64_t(found->second.first);
  allocations.erase(found);
  std::free(fakeHost<void>(data));
  return fault;
}

EXPORT cuMemHostAlloc(void **data, size_t bytes, unsigned) {
  ENTER_IN_CONTEXT("cuMemHostAlloc")
  if (posix_memalign(data, 4096, bytes))
    return kOutOfMemory;
  pinnedBlocks[reinterpret_cast<uint64_t>(*data)] = bytes;
  fake.pinned += int64_t(bytes);
  return kSuccess;
}

EXPORT cuMemFreeHost(void *data) {
  ENTER("cuMemFreeHost")
  auto found = pinnedBlocks.find(reinterpret_cast<uint64_t>(data));
  if (found == pinnedBlocks.end())
    return kInvalidValue;
  fake.pinned -= int64_t(found->second);
  pinnedBlocks.erase(found);
  std::free(data);
  return fault;
}

static Result copyNow(Address to, Address from, size_t bytes) {
  if ((isDevice(to) && !isAllocated(to, bytes)) || (isDevice(from) && !isAllocated(from, bytes)))
    return kIllegalAddress;
  std::memmove(fakeHost<void>(to), fakeHost<void>(from), bytes);
  return kSuccess;
}

EXPORT cuMemcpy(Address to, Address from, size_t bytes) {
  ENTER_IN_CONTEXT("cuMemcpy")
  return copyNow(to, from, bytes);
}

EXPORT cuMemcpyAsync(Address to, Address from, size_t bytes, Stream stream) {
  ENTER_IN_CONTEXT("cuMemcpyAsync")
  bool pageableFrom = !isDevice(from) && !isPinned(from);
  bool pageableTo = !isDevice(to) && !isPinned(to);
  if (pageableFrom) {
    auto *bytesFrom = fakeHost<uint8_t>(from);
    std::vector<uint8_t> staged(bytesFrom, bytesFrom + bytes);
    return add(stream, [=] {
      if (isDevice(to) && !isAllocated(to, bytes))
        return kIllegalAddress;
      std::memcpy(fakeHost<void>(to), staged.data(), bytes);
      return kSuccess;
    });
  }
  add(stream, [=] { return copyNow(to, from, bytes); });
  return pageableTo ? flush(stream) : kSuccess;
}

EXPORT cuMemsetD8Async(Address to, unsigned char value, size_t bytes, Stream stream) {
  ENTER_IN_CONTEXT("cuMemsetD8Async")
  return add(stream, [=] {
    if (!isAllocated(to, bytes))
      return kIllegalAddress;
    std::memset(fakeHost<void>(to), value, bytes);
    return kSuccess;
  });
}

/// Where launches of compiled kernels are written down; null: there are none but those of
/// FakeKernels.cpp. What they would have computed stays as it is.
static FILE *recordFile() {
  static FILE *file = [] {
    const char *path = std::getenv("SSM_FAKE_CUDA_RECORD");
    return path ? std::fopen(path, "a") : nullptr;
  }();
  return file;
}

/// Runs a kernel that was compiled for the emulator.
static Result emulate(const ssm_emulator::Kernel &kernel, const FakeLaunch &launch) {
  ssm_emulator::Launch given = {};
  given.kernel = &kernel;
  std::copy(launch.grid, launch.grid + 3, given.grid);
  given.threads = unsigned(launch.threads);
  given.dynamicShared = launch.dynamicShared;
  given.hasClusters = launch.hasClusters;
  std::vector<const uint8_t *> params;
  for (const std::vector<uint8_t> &param : launch.params)
    params.push_back(param.data());
  given.params = params.data();
  given.residentBlocks = unsigned(fake.multiprocessors * fake.residentBlocks);
  given.allocationOf = [](uint64_t address) -> std::pair<uint64_t, uint64_t> {
    auto next = allocations.upper_bound(address);
    if (next == allocations.begin())
      return {};
    auto &[start, block] = *std::prev(next);
    return address < start + block.first ? std::pair{start, block.first} : std::pair{0ul, 0ul};
  };
  std::string problem = ssm_emulator::run(given);
  if (problem.empty())
    return kSuccess;
  std::fprintf(stderr, "emulated GPU: %s\n", problem.c_str());
  return 719;
}

static const FakeKernel *findKernel(LibraryObject &library, const char *name) {
  if (library.emulated) {
    const ssm_emulator::Kernel *kernel = library.emulated->find(name);
    if (!kernel)
      return nullptr;
    return &library.kernels.emplace_back(FakeKernel{
        kernel->name, {kernel->paramBytes, kernel->paramBytes + kernel->numParams}, nullptr, kernel});
  }
  for (const FakeKernel &kernel : fakeKernels)
    if (!std::strcmp(kernel.name, name))
      return &kernel;
  if (!recordFile())
    return nullptr;
  static std::deque<std::string> names;
  names.push_back(name);
  return &library.kernels.emplace_back(
      FakeKernel{names.back().c_str(), {}, [](const FakeLaunch &) -> int32_t { return kSuccess; }});
}

static void record(const char *name, const FakeLaunch &launch) {
  FILE *file = recordFile();
  if (!file)
    return;
  std::fprintf(file, "%s %lld %lld %lld %d %u\n", name, (long long)launch.grid[0],
               (long long)launch.grid[1], (long long)launch.grid[2], launch.threads,
               launch.dynamicShared);
  std::fflush(file);
}

/// An image is "CUBIN sm_90a", or PTX, of which ".target sm_90" is looked at, or one of the
/// emulator. One for a GPU is taken where launches are recorded.
EXPORT cuModuleLoadDataEx(Library *library, const void *image, unsigned count,
                          const int32_t *options, void **values) {
  ENTER_IN_CONTEXT("cuModuleLoadDataEx")
  if (auto emulated = ssm_emulator::Image::load(image)) {
    *library = new LibraryObject{{}, std::move(emulated), {}};
    ++fake.libraries;
    return kSuccess;
  }
  std::string text = static_cast<const char *>(image);
  if (recordFile() && text.rfind("\x7f" "ELF", 0) == 0) {
    *library = new LibraryObject;
    ++fake.libraries;
    return kSuccess;
  }
  size_t target = text.find(".target ");
  size_t at = text.rfind("CUBIN ", 0) == 0 ? 6 : target == std::string::npos ? target : target + 8;
  if (at == std::string::npos) {
    for (unsigned i = 0; i < count; ++i)
      if (options[i] == kErrorLog)
        std::strcpy(static_cast<char *>(values[i]), "line 1: no target");
    return kInvalidImage;
  }
  std::string chip = text.substr(at, text.find_first_of(" \n", at) - at);
  std::string own = "sm_" + std::to_string(10 * fake.major + fake.minor);
  if (chip.back() == 'a' && chip != own + "a")
    return kNoBinary;
  *library = new LibraryObject;
  fake.loadedChip = chip;
  ++fake.libraries;
  return kSuccess;
}

EXPORT cuModuleUnload(Library library) {
  ENTER("cuModuleUnload")
  delete library;
  --fake.libraries;
  return kSuccess;
}

EXPORT cuModuleGetFunction(Function *function, Library library, const char *name) {
  ENTER_IN_CONTEXT("cuModuleGetFunction")
  if (!library)
    return kInvalidValue;
  const FakeKernel *kernel = findKernel(*library, name);
  if (!kernel)
    return kNotFound;
  library->functions.push_back(std::make_unique<FunctionObject>(FunctionObject{kernel}));
  *function = library->functions.back().get();
  return kSuccess;
}

EXPORT cuFuncSetAttribute(Function function, int32_t attribute, int32_t value) {
  ENTER_IN_CONTEXT("cuFuncSetAttribute")
  if (attribute != kMaxDynamicShared || value > 227 << 10)
    return kInvalidValue;
  function->maxDynamicShared = value;
  return kSuccess;
}

EXPORT cuOccupancyMaxActiveBlocksPerMultiprocessor(int32_t *blocks, Function, int32_t, size_t) {
  ENTER_IN_CONTEXT("cuOccupancyMaxActiveBlocksPerMultiprocessor")
  *blocks = fake.residentBlocks;
  return kSuccess;
}

EXPORT cuLaunchKernelEx(const LaunchConfig *config, Function function, void **params, void **) {
  ENTER_IN_CONTEXT("cuLaunchKernelEx")
  if (config->dynamicShared > unsigned(function->maxDynamicShared) || !config->grid[0] ||
      !config->grid[1] || !config->grid[2])
    return kInvalidValue;
  FakeLaunch launch = {{config->grid[0], config->grid[1], config->grid[2]},
                       int32_t(config->block[0]),
                       config->dynamicShared,
                       false,
                       false,
                       {}};
  for (unsigned i = 0; i < config->numAttributes; ++i) {
    const LaunchAttribute &attribute = config->attributes[i];
    if (attribute.id == kProgrammaticSerialization)
      launch.overlaps = attribute.value.allowed == 1;
    else if (attribute.id == kClusterDims && attribute.value.dims[0] == 1 &&
             attribute.value.dims[1] == config->grid[1] && attribute.value.dims[1] <= 8 &&
             attribute.value.dims[2] == 1)
      launch.hasClusters = true;
    else
      return kInvalidValue;
  }
  const FakeKernel *kernel = function->kernel;
  for (size_t i = 0; i < kernel->paramBytes.size(); ++i) {
    auto *bytes = static_cast<const uint8_t *>(params[i]);
    launch.params.emplace_back(bytes, bytes + kernel->paramBytes[i]);
  }
  return add(config->stream, [=] {
    fake.launched.push_back(kernel->name);
    fake.overlapped.push_back(launch.overlaps);
    fake.lastLaunch = launch;
    record(kernel->name, launch);
    virtualTime += 1;
    return kernel->emulated ? emulate(*kernel->emulated, launch) : Result(kernel->run(launch));
  });
}

EXPORT cuStreamCreate(Stream *stream, unsigned) {
  ENTER_IN_CONTEXT("cuStreamCreate")
  *stream = new StreamObject;
  ++fake.streams;
  return kSuccess;
}

EXPORT cuStreamDestroy_v2(Stream stream) {
  ENTER("cuStreamDestroy_v2")
  if (stream->capture) {
    delete stream->capture;
    stream->capture = nullptr;
    --fake.graphs;
  }
  flush(stream);
  delete stream;
  --fake.streams;
  return kSuccess;
}

EXPORT cuStreamSynchronize(Stream stream) {
  ENTER_IN_CONTEXT("cuStreamSynchronize")
  return flush(stream);
}

EXPORT cuStreamBeginCapture_v2(Stream stream, int32_t) {
  ENTER_IN_CONTEXT("cuStreamBeginCapture_v2")
  if (!stream || stream->capture)
    return kCaptureUnsupported;
  stream->capture = new GraphObject;
  ++fake.graphs;
  return kSuccess;
}

EXPORT cuStreamEndCapture(Stream stream, Graph *graph) {
  ENTER_IN_CONTEXT("cuStreamEndCapture")
  *graph = stream->capture;
  stream->capture = nullptr;
  return kSuccess;
}

EXPORT cuGraphInstantiateWithFlags(GraphExec *exec, Graph graph, unsigned long long) {
  ENTER_IN_CONTEXT("cuGraphInstantiateWithFlags")
  *exec = new GraphExecObject{graph->work};
  ++fake.graphs;
  return kSuccess;
}

EXPORT cuGraphLaunch(GraphExec exec, Stream stream) {
  ENTER_IN_CONTEXT("cuGraphLaunch")
  for (const Work &work : exec->work)
    add(stream, work);
  return kSuccess;
}

EXPORT cuGraphDestroy(Graph graph) {
  ENTER("cuGraphDestroy")
  delete graph;
  --fake.graphs;
  return kSuccess;
}

EXPORT cuGraphExecDestroy(GraphExec exec) {
  ENTER("cuGraphExecDestroy")
  delete exec;
  --fake.graphs;
  return kSuccess;
}

EXPORT cuEventCreate(Event *event, unsigned) {
  ENTER_IN_CONTEXT("cuEventCreate")
  *event = new EventObject;
  ++fake.events;
  return kSuccess;
}

EXPORT cuEventRecord(Event event, Stream stream) {
  ENTER_IN_CONTEXT("cuEventRecord")
  return add(stream, [=] {
    event->time = virtualTime;
    return kSuccess;
  });
}

EXPORT cuEventElapsedTime(float *milliseconds, Event from, Event to) {
  ENTER_IN_CONTEXT("cuEventElapsedTime")
  if (from->time < 0 || to->time < 0)
    return kInvalidValue;
  *milliseconds = float(to->time - from->time);
  return kSuccess;
}

EXPORT cuEventDestroy_v2(Event event) {
  ENTER("cuEventDestroy_v2")
  delete event;
  --fake.events;
  return kSuccess;
}

/// A map is its address, dims, strides and box, for the kernels of FakeKernels.cpp.
EXPORT cuTensorMapEncodeTiled(void *map, int32_t type, unsigned rank, void *data,
                              const uint64_t *dims, const uint64_t *strides, const unsigned *box,
                              const unsigned *elementStrides, int32_t interleave, int32_t swizzle,
                              int32_t promotion, int32_t fill) {
  ENTER("cuTensorMapEncodeTiled")
  auto address = reinterpret_cast<uint64_t>(data);
  bool isGood = reinterpret_cast<uintptr_t>(map) % 64 == 0 && address % 16 == 0 && !interleave &&
                !fill && type >= 0 && promotion >= 0 && swizzle >= 0;
  for (unsigned axis = 0; axis < rank; ++axis)
    isGood &= dims[axis] > 0 && box[axis] > 0 && box[axis] <= 256 && elementStrides[axis] == 1 &&
              (axis + 1 == rank || strides[axis] % 16 == 0);
  if (!isGood)
    return kInvalidValue;
  uint64_t words[16] = {address, rank, uint64_t(type), uint64_t(swizzle)};
  for (unsigned axis = 0; axis < rank && axis < 4; ++axis) {
    words[4 + axis] = dims[axis];
    words[8 + axis] = axis + 1 < rank ? strides[axis] : 0;
    words[12 + axis] = box[axis];
  }
  std::memcpy(map, words, sizeof(words));
  return kSuccess;
}
