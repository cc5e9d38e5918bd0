//===- Queue.cpp - A session's work on a device ---------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Session.h"

#include <cstdio>

using namespace ssmrt;
using namespace ssmrt::cuda;

static constexpr size_t faultBytes = SSM_FAULT_WORDS * sizeof(int64_t);
static constexpr size_t flagBytes = SSM_FLAG_WORDS * sizeof(int32_t);
static constexpr size_t pinnedBytes = 4096;

static Address addressOf(const void *data) { return reinterpret_cast<Address>(data); }

ssmrt_status Queue::create(DeviceModule &of, const ssmrt_session_options &options) {
  module = &of;
  driver = of.device->driver;
  isTimed = options.kernelHook;
  given = options.allocator;
  hasGiven = options.hasAllocator;
  usesGraphs = options.graphs && !isTimed;
  SSMRT_TRY(device().usable());
  Current current(&device());
  Result result = kSuccess;
  if (options.hasStream) {
    stream = static_cast<Stream>(options.stream);
  } else {
    result = driver->streamCreate(&stream, kNonBlocking);
    ownsStream = !result;
  }
  target = stream;
  Address words = 0;
  if (!result)
    result = driver->allocate(&words, faultBytes + flagBytes);
  faultWords = reinterpret_cast<void *>(words);
  void *host = nullptr;
  if (!result)
    result = driver->allocateHost(&host, pinnedBytes, 0);
  pinned = static_cast<uint8_t *>(host);
  if (result)
    return device().failed(result, "making a session");
  SSMRT_TRY(clear(faultWords, faultBytes + flagBytes));
  // A session may never run, and be destroyed after the caller's stream.
  return wait();
}

void Queue::finish() {
  if (!ownsStream)
    return;
  Current current(&device());
  driver->streamWait(stream);
}

Queue::~Queue() {
  if (!module)
    return;
  Current current(&device());
  for (Recording &recording : recordings)
    forget(recording);
  for (Event event : events)
    driver->eventDestroy(event);
  if (faultWords)
    driver->release(addressOf(faultWords));
  if (pinned)
    driver->releaseHost(pinned);
  if (captureStream)
    driver->streamDestroy(captureStream);
  if (ownsStream)
    driver->streamDestroy(stream);
}

/// Callbacks of allocators; `user` is the queue.
static void *allocateOnDevice(void *user, size_t bytes, size_t) {
  const Device &device = static_cast<Queue *>(user)->device();
  Current current(&device);
  Address data;
  return device.driver->allocate(&data, bytes) ? nullptr : reinterpret_cast<void *>(data);
}

static void releaseOnDevice(void *user, void *data, size_t) {
  auto *queue = static_cast<Queue *>(user);
  (void)queue->wait();
  Current current(&queue->device());
  queue->device().driver->release(addressOf(data));
}

static void *allocatePinned(void *user, size_t bytes, size_t) {
  const Device &device = static_cast<Queue *>(user)->device();
  Current current(&device);
  void *data;
  return device.driver->allocateHost(&data, bytes, 0) ? nullptr : data;
}

static void releasePinned(void *user, void *data, size_t) {
  auto *queue = static_cast<Queue *>(user);
  (void)queue->wait();
  Current current(&queue->device());
  queue->device().driver->releaseHost(data);
}

void *Queue::allocateGiven(void *user, size_t bytes, size_t) {
  return static_cast<Queue *>(user)->given.allocate(bytes);
}

void Queue::releaseGiven(void *user, void *data, size_t bytes) {
  auto *queue = static_cast<Queue *>(user);
  (void)queue->wait();
  queue->given.release(data, bytes);
}

Allocator Queue::allocator() {
  if (hasGiven)
    return Allocator({this, allocateGiven, releaseGiven});
  return Allocator({this, allocateOnDevice, releaseOnDevice});
}

Allocator Queue::hostAllocator() { return Allocator({this, allocatePinned, releasePinned}); }

ssmrt_status Queue::copy(void *to, const void *from, size_t bytes) {
  if (bytes == 0)
    return SSMRT_OK;
  Result result = driver->copyAsync(addressOf(to), addressOf(from), bytes, stream);
  return result ? device().failed(result, "copying") : SSMRT_OK;
}

ssmrt_status Queue::clear(void *data, size_t bytes) {
  if (bytes == 0)
    return SSMRT_OK;
  Result result = driver->fillAsync(addressOf(data), 0, bytes, stream);
  return result ? device().failed(result, "clearing memory") : SSMRT_OK;
}

ssmrt_status Queue::wait() {
  Current current(&device());
  Result result = driver->streamWait(stream);
  return result ? device().failed(result, "a kernel or copy of the session") : SSMRT_OK;
}

/// Reports the check that the device found failed, if any, and forgets it.
ssmrt_status Queue::report(CallContext &context, const int64_t *words) {
  if (words[0] == 0)
    return SSMRT_OK;
  int64_t count = words[1];
  if (count < 0 || count > SSM_FAULT_WORDS - 2)
    count = SSM_FAULT_WORDS - 2;
  int64_t site = words[0] - 1;
  context.report(site > INT32_MAX ? INT32_MAX : int32_t(site), words + 2, int32_t(count));
  return clear(faultWords, faultBytes);
}

ssmrt_status Queue::waitAndCheck(CallContext &context) {
  bool checks = context.entry->num_checks > 0;
  if (checks)
    SSMRT_TRY(copy(pinned, faultWords, faultBytes));
  SSMRT_TRY(wait());
  if (isTimed)
    tellTimes(*context.session);
  if (!checks)
    return SSMRT_OK;
  SSMRT_TRY(report(context, reinterpret_cast<int64_t *>(pinned)));
  return statusOf(context, SSM_RUN_OK, "run");
}

ssmrt_status Queue::abandon() {
  SSMRT_TRY(wait());
  (void)timed.resize(0);
  return clear(faultWords, faultBytes + flagBytes);
}

int32_t Queue::launch(CallContext &context, int32_t index, const int64_t *grid, int32_t threads,
                      const void *const *params) {
  const char *entry = context.entry->name;
  if (index < 0 || index >= module->version->num_device_kernels)
    return context.refuse(SSMRT_INTERNAL, "entry '%s' launched device kernel %d, there are %d",
                          entry, index, module->version->num_device_kernels);
  const ssm_device_kernel &kernel = module->version->device_kernels[index];
  if (threads <= 0 || threads > kernel.max_threads || threads % 32)
    return context.refuse(SSMRT_INTERNAL,
                          "entry '%s' launched kernel '%s' with %d threads, it takes up to %d in "
                          "steps of 32",
                          entry, kernel.name, threads, kernel.max_threads);
  static constexpr int64_t limits[] = {INT32_MAX, 65535, 65535};
  LaunchConfig config = {};
  bool isEmpty = false;
  for (int axis = 0; axis < 3; ++axis) {
    if (grid[axis] < 0 || grid[axis] > limits[axis])
      return context.refuse(
          SSMRT_INTERNAL, "entry '%s' launched kernel '%s' on a grid of %lld x %lld x %lld", entry,
          kernel.name, (long long)grid[0], (long long)grid[1], (long long)grid[2]);
    isEmpty |= grid[axis] == 0;
    config.grid[axis] = unsigned(grid[axis]);
  }
  if (isEmpty)
    return SSM_RUN_OK;
  if (kernel.flags & SSM_KERNEL_PERSISTENT) {
    int64_t blocks;
    if (ssmrt_status status = module->residentBlocks(index, threads, &blocks))
      return context.keep(status);
    if (blocks >= 1 && grid[0] > blocks)
      config.grid[0] = unsigned(blocks);
  }
  config.block[0] = unsigned(threads);
  config.block[1] = config.block[2] = 1;
  config.dynamicShared = unsigned(kernel.dynamic_shared);
  config.stream = target;
  LaunchAttribute attributes[2] = {};
  config.attributes = attributes;
  // With all done that was queued before the run, its inputs are there for every kernel.
  bool mustFollow = !hasLaunched && module->readsEarly;
  hasLaunched = true;
  if ((kernel.flags & SSM_KERNEL_OVERLAPS) && module->overlaps && !mustFollow) {
    LaunchAttribute &overlaps = attributes[config.numAttributes++];
    overlaps.id = kProgrammaticSerialization;
    overlaps.value.allowed = 1;
  }
  if ((kernel.flags & SSM_KERNEL_CLUSTERS) && config.grid[1] > 1) {
    LaunchAttribute &cluster = attributes[config.numAttributes++];
    cluster.id = kClusterDims;
    cluster.value.dims[0] = cluster.value.dims[2] = 1;
    cluster.value.dims[1] = config.grid[1];
  }
  bool isOwn = isTimed && !inKernel;
  if (isOwn)
    this->kernel(kernel.name, false, -1, -1);
  Result result = driver->launch(&config, module->kernels[size_t(index)].function,
                                 const_cast<void **>(params), nullptr);
  if (isOwn)
    this->kernel(kernel.name, true, -1, -1);
  if (!result)
    return SSM_RUN_OK;
  char step[400];
  std::snprintf(step, sizeof(step), "entry '%s': launching kernel '%s'", entry, kernel.name);
  return context.keep(device().failed(result, step));
}

int32_t Queue::read(CallContext &context, void *to, const void *from, int64_t bytes) {
  // At the same dims and pointers it has not read before: captured launches have
  // not run.
  if (target != stream)
    return context.refuse(SSMRT_INTERNAL, "entry '%s' read values where it did not before",
                          context.entry->name);
  hasRead = true;
  if (const void *given = context.session->givenOnHost(from, bytes)) {
    std::memcpy(to, given, size_t(bytes));
    return SSM_RUN_OK;
  }
  bool fits = size_t(bytes) <= pinnedBytes - faultBytes;
  void *through = fits ? pinned + faultBytes : to;
  ssmrt_status status = copy(pinned, faultWords, faultBytes);
  if (status == SSMRT_OK)
    status = copy(through, from, size_t(bytes));
  if (status == SSMRT_OK)
    status = wait();
  if (status != SSMRT_OK)
    return context.keep(status);
  if (fits)
    std::memcpy(to, through, size_t(bytes));
  if ((status = report(context, reinterpret_cast<int64_t *>(pinned))))
    return context.keep(status);
  return context.reported ? SSM_RUN_CHECK_FAILED : SSM_RUN_OK;
}

/// The driver's number of a type whose elements a tensor map can move.
static int32_t mapType(int32_t type) {
  switch (type) {
  case SSM_TYPE_U8:
  case SSM_TYPE_I8:
  case SSM_TYPE_BOOL:
  case SSM_TYPE_F8E4M3FN:
  case SSM_TYPE_F8E5M2:
    return 0;
  case SSM_TYPE_U16:
  case SSM_TYPE_I16:
    return 1;
  case SSM_TYPE_U32:
    return 2;
  case SSM_TYPE_I32:
    return 3;
  case SSM_TYPE_U64:
    return 4;
  case SSM_TYPE_I64:
    return 5;
  case SSM_TYPE_F16:
    return 6;
  case SSM_TYPE_F32:
    return 7;
  case SSM_TYPE_F64:
    return 8;
  case SSM_TYPE_BF16:
    return 9;
  default:
    return -1;
  }
}

int32_t Queue::tensorMap(CallContext &context, void *map, int32_t type, int32_t rank,
                         const void *data, const int64_t *dims, const int64_t *strides,
                         const int32_t *box, int32_t swizzle) {
  static constexpr int32_t maxRank = 5;
  static constexpr int32_t promoteTo128 = 2;
  const char *entry = context.entry->name;
  if (mapType(type) < 0 || rank < 1 || rank > maxRank || swizzle < 0 || swizzle > SSM_SWIZZLE_128)
    return context.refuse(SSMRT_INTERNAL,
                          "entry '%s' asked for a tensor map of type %d, rank %d, swizzle %d",
                          entry, type, rank, swizzle);
  uint64_t sizes[maxRank], steps[maxRank];
  unsigned boxes[maxRank], ones[maxRank];
  for (int32_t axis = 0; axis < rank; ++axis) {
    // Nothing is there to be moved, and the driver knows no such map.
    if (dims[axis] == 0) {
      std::memset(map, 0, 128);
      return SSM_RUN_OK;
    }
    sizes[axis] = uint64_t(dims[axis]);
    steps[axis] = axis + 1 < rank ? uint64_t(strides[axis]) : 0;
    boxes[axis] = unsigned(box[axis]);
    ones[axis] = 1;
  }
  Result result = driver->tensorMap(map, mapType(type), unsigned(rank), const_cast<void *>(data),
                                    sizes, steps, boxes, ones, 0, swizzle, promoteTo128, 0);
  if (!result)
    return SSM_RUN_OK;
  char step[400];
  std::snprintf(step, sizeof(step),
                "entry '%s': a tensor map of %s at %p with swizzle %d, whose innermost box is %d",
                entry, ssmrt::textOf(dims, rank).text, data, swizzle, box[0]);
  return context.keep(device().failed(result, step));
}
