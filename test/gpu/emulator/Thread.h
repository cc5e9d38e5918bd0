//===- Thread.h - What a kernel sees of the GPU it runs on ------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The interface between kernels, which were translated from PTX, and Emulator.cpp,
// which runs them. Includes nothing, for each kernel is compiled with it.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_TEST_EMULATOR_THREAD_H
#define SSM_TEST_EMULATOR_THREAD_H

namespace ssm_emulator {

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long;
using s8 = signed char;
using s16 = short;
using s32 = int;
using s64 = long;

/// Addresses of the device have a bit that none of the host has.
constexpr u64 deviceBit = u64(1) << 52;
inline u8 *hostOf(u64 address) { return (u8 *)(address & ~deviceBit); }

/// A stretch of the device's memory that one instruction was seen to touch.
struct Range {
  u64 begin = 1, bytes = 0, launch = 0;
};

/// What lanes do together once all of them are there: `lanes` has what each of them brought,
/// null for lanes that take no part.
using Together = void (*)(void *const *lanes, u64 mask);

/// A box on its way to shared memory. `map` is as the driver encoded it.
struct Move {
  u8 *to;
  const u8 *map;
  u32 rank;
  s32 at[5];
  u8 *barrier;
  u32 line;
};

/// A thread of a block. `line` is the line of an instruction in the kernel's PTX.
struct Thread {
  u32 index, threads;
  u32 block[3], blocks[3];
  u8 *shared;
  u32 sharedBytes;
  u64 launch; // a number of its own for each launch

  /// Ends the launch.
  [[noreturn]] virtual void fail(u32 line, const char *what, u64 number = 0) = 0;
  /// Waits for `count` threads at barrier `id`; 0: all of the block.
  virtual void barrier(u32 line, u32 id, u32 count) = 0;
  /// Waits for the lanes of this warp that are in `mask`.
  virtual void meet(u32 line, u32 mask, void *mine, Together together) = 0;
  /// Waits for the four warps of this warpgroup.
  virtual void meetGroup(u32 line, void *mine, Together together) = 0;
  /// Was about to look for what another thread has to do.
  virtual void spin() = 0;
  /// The barrier of all threads of a cluster.
  virtual void arriveAtCluster() = 0;
  virtual void waitForCluster() = 0;
  /// Shared memory of the cluster's block `rank`, which must be there.
  virtual u8 *sharedOf(u32 line, u32 rank) = 0;
  /// Memory of the device on the host; fails if it is none.
  virtual u8 *global(u32 line, u64 address, u32 bytes, Range &range) = 0;
  /// Whether memory of the host is this thread's own.
  virtual bool isLocal(u64 address, u32 bytes) const = 0;
  /// cp.async, which is done as late as it may be.
  virtual void copyLater(u8 *to, const u8 *from, u32 bytes, u32 given) = 0;
  virtual void commitCopies() = 0;
  virtual void waitCopies(u32 groupsLeft) = 0;
  /// The same by tensor maps, of all threads of a block.
  virtual void moveLater(const Move &move) = 0;

protected:
  ~Thread() = default;
};

struct Kernel {
  const char *name;
  void (*run)(Thread &thread, const u8 *const *params);
  u32 numParams;
  const s32 *paramBytes;
  u32 sharedBytes; // in front of the dynamic ones
  u32 localBytes;
  u32 maxThreads; // 0: any
  const u8 *constants; // memory of the device that comes with the image
  u64 constantBytes;
};

} // namespace ssm_emulator

/// What an image exports; ends with one that has no name.
extern "C" const ssm_emulator::Kernel ssmEmulatedKernels[];

#endif // SSM_TEST_EMULATOR_THREAD_H
