//===- Device.h - Modules and sessions on a device --------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the rest of the runtime sees of devices. Sessions on CPUs have no Queue.
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_DEVICE_H
#define SSMRT_DEVICE_H

#include "Memory.h"
#include "cuda/Driver.h"
#include "ssmrt/module_abi.h"
#include "ssmrt/ssmrt.h"

#include <atomic>

namespace ssmrt {

struct CallContext;

/// What a caller asked for: "cpu", "cuda", "cuda:1", "none", or nothing.
struct DeviceChoice {
  enum Kind { Default, Cpu, Cuda, None } kind = Default;
  int32_t ordinal = 0;

  ssmrt_status parse(const char *text);
};

/// One device, shared by all modules on it, and its driver's primary context.
class Device {
public:
  /// Retains it. Fails without a driver, without such a device, or when it is lost.
  static ssmrt_status open(int32_t ordinal, Device **device);
  void release();

  /// Whether it can run the image.
  bool runs(const ssm_image &image) const;
  /// Message and status of a failure of the driver in `step`. A fault means that the
  /// context is lost, and all sessions on it.
  ssmrt_status failed(cuda::Result result, const char *step);
  /// The same where `bytes` for `what` could not be had.
  ssmrt_status noMemory(const char *what, int64_t bytes) const;
  /// Not ok once the context is lost.
  ssmrt_status usable() const;
  int32_t attribute(cuda::Attribute attribute) const;
  /// Copies to the device, and has arrived there.
  cuda::Result upload(cuda::Address to, const void *from, size_t bytes) const;

  const cuda::Driver *driver;
  cuda::Context context;
  int32_t handle, ordinal, major, minor, multiprocessors;
  char name[24];     // "cuda:1"
  char product[128]; // as the driver calls it

private:
  ssmrt_status initialize(int32_t index);

  int32_t references;
  std::atomic<cuda::Result> lost;
};

/// Makes a device's context the thread's while it lives; without device nothing.
class Current {
public:
  explicit Current(const Device *device) : device(device) {
    if (device)
      device->driver->contextPush(device->context);
  }
  ~Current() {
    cuda::Context popped;
    if (device)
      device->driver->contextPop(&popped);
  }
  Current(const Current &) = delete;
  Current &operator=(const Current &) = delete;

private:
  const Device *device;
};

/// A module on a device: its kernels and its weights.
class DeviceModule {
public:
  ~DeviceModule();
  /// Takes over the reference to the device, whatever it returns.
  ssmrt_status load(Device *on, const ssm_module &version, const char *path);
  ssmrt_status upload(const uint8_t *weights);

  Device *device = nullptr;
  const ssm_module *version = nullptr;
  const void *weights = nullptr; // on the device: where the file's first byte would be

private:
  friend class Queue;
  struct Kernel {
    cuda::Function function;
    uint64_t resident; // threads << 32 | blocks at once on the device, of the last asked
  };
  ssmrt_status loadImage(const ssm_image &image, const char *path);
  ssmrt_status findKernels(const char *path);
  ssmrt_status residentBlocks(int32_t kernel, int32_t threads, int64_t *blocks);

  cuda::Library library = nullptr;
  cuda::Address weightsMemory = 0;
  Array<Kernel> kernels;
  bool overlaps = false; // what may begin early waits for what was before
  bool readsEarly = false; // some kernel reads inputs before it waits
};

/// A session's work on a device, in order: on a stream of the caller or its own.
class Queue {
public:
  ~Queue();
  ssmrt_status create(DeviceModule &of, const ssmrt_session_options &options);

  Device &device() const { return *module->device; }
  const void *weights() const { return module->weights; }
  /// Memory of the device, the caller's if it has an allocator; given back when all that
  /// was queued is done.
  Allocator allocator();
  /// Memory of the host that copies reach fastest.
  Allocator hostAllocator();

  // Queued. The runtime never reads or writes memory of the device otherwise.
  ssmrt_status copy(void *to, const void *from, size_t bytes);
  ssmrt_status clear(void *data, size_t bytes);
  /// Until all that was queued is done.
  ssmrt_status wait();
  /// The same in a stream of its own, before what it uses is given back.
  void finish();
  /// The same, and looks whether a check has failed on the device.
  ssmrt_status waitAndCheck(CallContext &context);
  /// The same after a run that failed: what the device has found does not count.
  ssmrt_status abandon();

  /// Queues a run of the entry: by a graph where that of an earlier run will do.
  ssmrt_status run(ssmrt_session &session, void *arena);

  // The table's.
  int32_t launch(CallContext &context, int32_t kernel, const int64_t *grid, int32_t threads,
                 const void *const *params);
  int32_t read(CallContext &context, void *to, const void *from, int64_t bytes);
  int32_t tensorMap(CallContext &context, void *map, int32_t type, int32_t rank, const void *data,
                    const int64_t *dims, const int64_t *strides, const int32_t *box,
                    int32_t swizzle);
  void *fault() { return faultWords; }
  void kernel(const char *name, bool ends, int64_t bytes, int64_t flops);

private:
  /// The launches of a run with certain dims and pointers.
  struct Recording {
    Array<int64_t> key;        // dims and pointers of inputs, ...
    Array<int64_t> outputDims; // of all outputs, flat
    Array<int64_t> outputs;    // pointers
    cuda::GraphExec exec;      // NULL: seen once
    uint64_t lastUse;          // 0: free
    bool reads;                // host code depends on values
  };
  /// A kernel of a run that is timed.
  struct Timed {
    const char *name;
    int64_t bytes, flops;
    cuda::Event begin, end;
  };

  ssmrt_status report(CallContext &context, const int64_t *words);
  ssmrt_status makeKey(const ssmrt_session &session, const void *arena);
  Recording *find(const ssmrt_session *session);
  ssmrt_status remember(const ssmrt_session &session);
  ssmrt_status capture(ssmrt_session &session, void *arena, Recording &recording);
  void forget(Recording &recording);
  ssmrt_status record(cuda::Event *event);
  ssmrt_status beginTimes();
  void tellTimes(const ssmrt_session &session);

  static void *allocateGiven(void *user, size_t bytes, size_t);
  static void releaseGiven(void *user, void *data, size_t bytes);

  DeviceModule *module = nullptr;
  const cuda::Driver *driver = nullptr;
  cuda::Stream stream = nullptr;
  cuda::Stream captureStream = nullptr; // while a run is captured, and kept for the next
  cuda::Stream target = nullptr;        // that launches go to
  bool ownsStream = false;
  Allocator given; // the caller's
  bool hasGiven = false;
  void *faultWords = nullptr; // on the device
  uint8_t *pinned = nullptr;  // on the host, for fault words and small reads
  bool usesGraphs = true;
  bool hasRead = false;                 // the run has read values
  bool hasLaunched = false;             // the run has launched a kernel
  Array<int64_t> key;                   // of the run
  static constexpr int kRecordings = 4; // states take turns, and a few sizes
  Recording recordings[kRecordings] = {};
  uint64_t uses = 0;

  bool isTimed = false;
  Array<Timed> timed;
  Array<cuda::Event> events; // made so far
  size_t usedEvents = 0;
  cuda::Event beginEvent = nullptr;
  double beginSeconds = 0; // when the host recorded it
  bool inKernel = false;   // one has begun that has not ended
};

} // namespace ssmrt

#endif // SSMRT_DEVICE_H
