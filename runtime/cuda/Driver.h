//===- Driver.h - What is used of the CUDA driver ---------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The driver's library is looked up when a device is first asked for, so that
// neither building nor running on CPUs needs one. The few types and numbers of
// its binary interface that are used stand here under names of our own.
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_CUDA_DRIVER_H
#define SSMRT_CUDA_DRIVER_H

#include "ssmrt/ssmrt.h"

namespace ssmrt {
namespace cuda {

using Result = int32_t;
enum : Result {
  kSuccess = 0,
  kOutOfMemory = 2,
  kNoDevice = 100,
  kUncorrectableMemory = 214,
  kContained = 226,
  kNotFound = 500,
  kIllegalAddress = 700,
  kTimeout = 702,
  kAssertion = 710,
  kFirstFault = 714, // of the hardware and of kernels
  kLastFault = 719,
  kMemoryLeak = 721
};

using Address = unsigned long long; // of device memory
using Context = struct ContextObject *;
using Library = struct LibraryObject *;
using Function = struct FunctionObject *;
using Stream = struct StreamObject *;
using Event = struct EventObject *;
using Graph = struct GraphObject *;
using GraphExec = struct GraphExecObject *;

enum Attribute : int32_t {
  kClockRate = 13, // kHz
  kMultiprocessors = 16,
  kMemoryClockRate = 36, // kHz
  kMemoryBusWidth = 37,  // bits
  kMajor = 75,
  kMinor = 76
};
enum : int32_t { kMaxDynamicShared = 8 };             // of functions
enum : int32_t { kErrorLog = 5, kErrorLogBytes = 6 }; // of loading
enum : unsigned { kNonBlocking = 1 };                 // of streams
enum : int32_t { kRelaxedCapture = 2 };

struct LaunchAttribute {
  int32_t id;
  int32_t padding;
  union {
    int32_t allowed;
    unsigned dims[3];
    char bytes[64];
  } value;
};
enum : int32_t { kClusterDims = 4, kProgrammaticSerialization = 6 };

struct LaunchConfig {
  unsigned grid[3];
  unsigned block[3];
  unsigned dynamicShared;
  Stream stream;
  LaunchAttribute *attributes;
  unsigned numAttributes;
};
static_assert(sizeof(LaunchAttribute) == 72 && sizeof(LaunchConfig) == 56, "the driver's layout");

/// The functions used: our name, the driver's, parameters. All return a Result.
#define SSMRT_CUDA_FUNCTIONS(X)                                                                    \
  X(init, "cuInit", (unsigned flags))                                                              \
  X(driverVersion, "cuDriverGetVersion", (int32_t * version))                                      \
  X(errorName, "cuGetErrorName", (Result result, const char **name))                               \
  X(errorText, "cuGetErrorString", (Result result, const char **text))                             \
  X(deviceCount, "cuDeviceGetCount", (int32_t * count))                                            \
  X(deviceGet, "cuDeviceGet", (int32_t * device, int32_t ordinal))                                 \
  X(deviceName, "cuDeviceGetName", (char *name, int32_t bytes, int32_t device))                    \
  X(deviceAttribute, "cuDeviceGetAttribute", (int32_t * value, int32_t attribute, int32_t device)) \
  X(contextRetain, "cuDevicePrimaryCtxRetain", (Context * context, int32_t device))                \
  X(contextRelease, "cuDevicePrimaryCtxRelease_v2", (int32_t device))                              \
  X(contextPush, "cuCtxPushCurrent_v2", (Context context))                                         \
  X(contextPop, "cuCtxPopCurrent_v2", (Context * context))                                         \
  X(memoryInfo, "cuMemGetInfo_v2", (size_t * free, size_t * total))                                \
  X(allocate, "cuMemAlloc_v2", (Address * data, size_t bytes))                                     \
  X(release, "cuMemFree_v2", (Address data))                                                       \
  X(allocateHost, "cuMemHostAlloc", (void **data, size_t bytes, unsigned flags))                   \
  X(releaseHost, "cuMemFreeHost", (void *data))                                                    \
  X(copy, "cuMemcpy", (Address to, Address from, size_t bytes))                                    \
  X(copyAsync, "cuMemcpyAsync", (Address to, Address from, size_t bytes, Stream stream))           \
  X(fillAsync, "cuMemsetD8Async", (Address to, unsigned char value, size_t bytes, Stream stream))  \
  X(load, "cuModuleLoadDataEx",                                                                    \
    (Library * library, const void *image, unsigned count, const int32_t *options, void **values)) \
  X(unload, "cuModuleUnload", (Library library))                                                   \
  X(function, "cuModuleGetFunction", (Function * function, Library library, const char *name))     \
  X(setFunction, "cuFuncSetAttribute", (Function function, int32_t attribute, int32_t value))      \
  X(occupancy, "cuOccupancyMaxActiveBlocksPerMultiprocessor",                                      \
    (int32_t * blocks, Function function, int32_t threads, size_t dynamicShared))                  \
  X(launch, "cuLaunchKernelEx",                                                                    \
    (const LaunchConfig *config, Function function, void **params, void **extra))                  \
  X(streamCreate, "cuStreamCreate", (Stream * stream, unsigned flags))                             \
  X(streamDestroy, "cuStreamDestroy_v2", (Stream stream))                                          \
  X(streamWait, "cuStreamSynchronize", (Stream stream))                                            \
  X(captureBegin, "cuStreamBeginCapture_v2", (Stream stream, int32_t mode))                        \
  X(captureEnd, "cuStreamEndCapture", (Stream stream, Graph * graph))                              \
  X(graphInstantiate, "cuGraphInstantiateWithFlags",                                               \
    (GraphExec * exec, Graph graph, unsigned long long flags))                                     \
  X(graphLaunch, "cuGraphLaunch", (GraphExec exec, Stream stream))                                 \
  X(graphDestroy, "cuGraphDestroy", (Graph graph))                                                 \
  X(graphExecDestroy, "cuGraphExecDestroy", (GraphExec exec))                                      \
  X(eventCreate, "cuEventCreate", (Event * event, unsigned flags))                                 \
  X(eventRecord, "cuEventRecord", (Event event, Stream stream))                                    \
  X(eventElapsed, "cuEventElapsedTime", (float *milliseconds, Event from, Event to))               \
  X(eventDestroy, "cuEventDestroy_v2", (Event event))                                              \
  X(tensorMap, "cuTensorMapEncodeTiled",                                                           \
    (void *map, int32_t type, unsigned rank, void *data, const uint64_t *dims,                     \
     const uint64_t *strides, const unsigned *box, const unsigned *elementStrides,                 \
     int32_t interleave, int32_t swizzle, int32_t promotion, int32_t fill))

struct Driver {
#define SSMRT_CUDA_DECLARE(name, symbol, parameters) Result(*name) parameters;
  SSMRT_CUDA_FUNCTIONS(SSMRT_CUDA_DECLARE)
#undef SSMRT_CUDA_DECLARE
};

/// The initialized driver, or why there is none. It stays loaded; a failure is tried
/// again by the next call.
ssmrt_status openDriver(const Driver **driver);

/// "CUDA_ERROR_NO_DEVICE (no CUDA-capable device is detected)".
struct ResultText {
  char text[160];
};
ResultText textOf(const Driver &driver, Result result);

/// Whether the context, and with it all sessions on it, is lost after this.
bool isFault(Result result);

} // namespace cuda
} // namespace ssmrt

#endif // SSMRT_CUDA_DRIVER_H
