//===- SharedBarrier.h - Barriers in shared memory --------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What kernels and copies by tensor maps have in common.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_TEST_EMULATOR_SHAREDBARRIER_H
#define SSM_TEST_EMULATOR_SHAREDBARRIER_H

#include "Thread.h"

namespace ssm_emulator {

/// The eight bytes of an mbarrier, as we lay them out.
struct SharedBarrier {
  u16 expected, pending;
  s32 bytesAndPhase; // bytes that are still to come, twice; the lowest bit is the phase

  bool isMade() const { return expected && expected != 0xffff; }
  u32 phase() const { return bytesAndPhase & 1; }
  void completeIfDone() {
    if (pending || bytesAndPhase >> 1)
      return;
    pending = expected;
    bytesAndPhase ^= 1;
  }
  /// Negative where they came.
  void expectBytes(s32 count) { bytesAndPhase += 2 * count; }
};

/// What a swizzle of 32 << (mode - 1) bytes makes of an address.
inline u64 swizzle(u64 at, u32 mode) { return at ^ ((at >> 3) & (((1u << mode) - 1) << 4)); }

} // namespace ssm_emulator

#endif // SSM_TEST_EMULATOR_SHAREDBARRIER_H
