//===- Warpgroups.h - Instructions that sm_90 brought -----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Barriers in shared memory, copies by tensor maps, products by four warps.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_TEST_EMULATOR_WARPGROUPS_H
#define SSM_TEST_EMULATOR_WARPGROUPS_H

#include "Instructions.h"
#include "SharedBarrier.h"

namespace ssm_emulator {

//===----------------------------------------------------------------------===//
// mbarrier
//===----------------------------------------------------------------------===//

INLINE SharedBarrier *sharedBarrier(Thread &t, u32 line, u64 at) {
  auto *barrier = (SharedBarrier *)shared(t, line, at, 8);
  if (!barrier->isMade())
    t.fail(line, "a barrier that was not initialised, at byte", at);
  return barrier;
}
INLINE void makeBarrier(Thread &t, u32 line, u64 at, u32 count) {
  *(SharedBarrier *)shared(t, line, at, 8) = {u16(count), u16(count), 0};
}
INLINE u64 arrive(Thread &t, u32 line, u64 at, u32 bytes) {
  SharedBarrier *barrier = sharedBarrier(t, line, at);
  u64 before = as<u64>(*barrier);
  if (!barrier->pending)
    t.fail(line, "a thread more arrives than the barrier is for, at byte", at);
  barrier->expectBytes(s32(bytes));
  --barrier->pending;
  barrier->completeIfDone();
  return before;
}
/// Whether the phase of this parity is over.
INLINE bool isOver(Thread &t, u32 line, u64 at, u32 parity) {
  if (sharedBarrier(t, line, at)->phase() == (parity & 1))
    t.spin();
  return sharedBarrier(t, line, at)->phase() != (parity & 1);
}

//===----------------------------------------------------------------------===//
// Tensor maps
//===----------------------------------------------------------------------===//

template <u32 rank>
INLINE void moveBox(Thread &t, u32 line, u64 to, u64 map, const s32 (&at)[rank], u64 barrier) {
  Move move = {shared(t, line, to, 128), (const u8 *)map, rank, {}, nullptr, line};
  for (u32 i = 0; i < rank; ++i)
    move.at[i] = at[i];
  move.barrier = (u8 *)sharedBarrier(t, line, barrier);
  t.moveLater(move);
}

//===----------------------------------------------------------------------===//
// wgmma
//===----------------------------------------------------------------------===//

/// A factor in shared memory. Of a descriptor only swizzled ones are known.
struct Factor {
  const u8 *shared;
  u64 begin;
  u32 between, groups, mode; // bytes between atoms along the rows, between groups of 8

  Factor(Thread &t, u32 line, u64 descriptor)
      : shared(t.shared), begin((descriptor & 0x3fff) << 4),
        between(u32(descriptor >> 16 & 0x3fff) << 4), groups(u32(descriptor >> 32 & 0x3fff) << 4),
        mode(4 - u32(descriptor >> 62)) {
    if (mode == 4 || (descriptor >> 49 & 7))
      t.fail(line, "wgmma of a layout that is not emulated, descriptor", descriptor);
  }
  /// Element (row, k) of so many bytes, where `alongRows` says which axis lies dense.
  u64 at(u32 row, u32 k, bool alongRows, u32 bytes) const {
    u32 width = 16u << mode, dense = width / bytes;
    return swizzle(alongRows ? begin + row / dense * between + k / 8 * groups + k % 8 * width +
                                   row % dense * bytes
                             : begin + row / 8 * groups + row % 8 * width + k * bytes,
                   mode);
  }
};

/// What elements are stored as, and their numbers.
struct F16 {
  using Bits = u16;
  static f32 number(u16 x) { return h(x); }
};
struct Bf16 {
  using Bits = u16;
  static f32 number(u16 x) { return b(x); }
};
struct E5m2 {
  using Bits = u8;
  static f32 number(u8 x) { return h(u16(x << 8)); }
};
/// f16 has the same with 8 for 7 as the exponent's base, but for NaN.
struct E4m3 {
  using Bits = u8;
  static f32 number(u8 x) {
    return (x & 0x7f) == 0x7f ? __builtin_nanf("")
                              : h(u16((x & 0x80) << 8 | (x & 0x7f) << 7)) * 256;
  }
};
struct S8 {
  using Bits = u8;
  static u32 number(u8 x) { return u32(s32(s8(x))); }
};
struct Tf32Word {
  using Bits = u32;
  static f32 number(u32 x) { return f(x & ~0x1fffu); }
};
struct U8 {
  using Bits = u8;
  static u32 number(u8 x) { return x; }
};

template <class Sum> struct Wgmma {
  Sum *d;
  const Factor *a, *b;
  u32 sharedBytes;
  bool isGood;
};
template <class Sum, u32 n, class A, class B, bool turnedA, bool turnedB>
static void wgmmaTogether(void *const *lanes, u64) {
  constexpr u32 depth = 32 / sizeof(typename A::Bits);
  auto *first = (Wgmma<Sum> *)lanes[0];
  static Sum a[64][depth], b[depth][n], d[64][n];
  auto read = [&](const Factor &factor, u32 row, u32 k, bool turned, auto kind) {
    using Bits = typename decltype(kind)::Bits;
    u64 at = factor.at(row, k, turned, sizeof(Bits));
    first->isGood &= at + sizeof(Bits) <= first->sharedBytes;
    return kind.number(first->isGood ? get<Bits>(factor.shared + at) : Bits(0));
  };
  first->isGood = true;
  for (u32 k = 0; k < depth; ++k) {
    for (u32 row = 0; row < 64; ++row)
      a[row][k] = read(*first->a, row, k, turnedA, A());
    for (u32 row = 0; row < n; ++row)
      b[k][row] = read(*first->b, row, k, turnedB, B());
  }
  __builtin_memset(d, 0, sizeof(d));
  for (u32 m = 0; m < 64; ++m)
    for (u32 k = 0; k < depth; ++k)
      for (u32 column = 0; column < n; ++column)
        d[m][column] += a[m][k] * b[k][column];
  for (u32 i = 0; i < 128; ++i) {
    auto *mine = (Wgmma<Sum> *)lanes[i];
    for (u32 r = 0; r < n / 2; ++r)
      mine->d[r] += d[i / 32 * 16 + i % 32 / 4 + r / 2 % 2 * 8][r / 4 * 8 + i % 4 * 2 + r % 2];
    mine->isGood = first->isGood;
  }
}
/// Sums are there at once; on a GPU they may come as late as what waits for them.
template <u32 n, class A, class B, bool turnedA, bool turnedB, class Sum>
INLINE void wgmma(Thread &t, u32 line, Sum *d, u64 a, u64 b) {
  Factor left(t, line, a), right(t, line, b);
  Wgmma<Sum> mine = {d, &left, &right, t.sharedBytes, true};
  t.meetGroup(line, &mine, wgmmaTogether<Sum, n, A, B, turnedA, turnedB>);
  if (!mine.isGood)
    t.fail(line, "a factor lies outside of shared memory, descriptors", a);
}

} // namespace ssm_emulator

#endif // SSM_TEST_EMULATOR_WARPGROUPS_H
