//===- Instructions.h - Instructions of PTX in C++ --------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What ptx.py's rules call: numbers, memory, and what lanes of a warp do together.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_TEST_EMULATOR_INSTRUCTIONS_H
#define SSM_TEST_EMULATOR_INSTRUCTIONS_H

#include "Thread.h"

namespace ssm_emulator {

using u128 = unsigned __int128;
using s128 = __int128;
using f16 = _Float16;
using f32 = float;
using f64 = double;
struct bf16 {
  u16 bits;
};

#define INLINE static inline __attribute__((always_inline))

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

template <typename T, typename From> INLINE T as(From from) {
  return __builtin_bit_cast(T, from);
}
INLINE f32 f(u32 bits) { return as<f32>(bits); }
INLINE f64 d(u64 bits) { return as<f64>(bits); }
INLINE f32 h(u16 bits) { return as<f16>(bits); }
INLINE f32 b(u16 bits) { return as<f32>(u32(bits) << 16); }
INLINE u32 bits(f32 x) { return as<u32>(x); }
INLINE u64 bits(f64 x) { return as<u64>(x); }
INLINE u16 bitsOfF16(f32 x) { return as<u16>(f16(x)); }
/// To the nearest, ties to even.
INLINE u16 bitsOfBf16(f32 x) {
  u32 all = bits(x);
  if (x != x)
    return 0x7fff;
  return u16((all + 0x7fff + (all >> 16 & 1)) >> 16);
}
INLINE f32 flush(f32 x) { return __builtin_fabsf(x) < 0x1p-126f ? __builtin_copysignf(0, x) : x; }

template <typename T> INLINE T smaller(T x, T y) { return x < y ? x : y; }
template <typename T> INLINE T larger(T x, T y) { return x > y ? x : y; }
/// Of the two halves of a word.
template <typename T> INLINE u32 halves(T (*of)(T, T), u32 x, u32 y) {
  return u32(u16(of(T(x >> 16), T(y >> 16)))) << 16 | u16(of(T(x), T(y)));
}
/// Numbers before NaN.
template <typename T> INLINE T fmin(T x, T y) {
  return x != x ? y : y != y ? x : x < y || (x == y && __builtin_signbit(x)) ? x : y;
}
template <typename T> INLINE T fmax(T x, T y) {
  return x != x ? y : y != y ? x : x > y || (x == y && !__builtin_signbit(x)) ? x : y;
}
/// NaN before numbers.
template <typename T> INLINE T fminNaN(T x, T y) { return x != x ? x : y != y ? y : fmin(x, y); }
template <typename T> INLINE T fmaxNaN(T x, T y) { return x != x ? x : y != y ? y : fmax(x, y); }

template <typename T> INLINE T shl(T x, u32 by) { return by >= 8 * sizeof(T) ? 0 : T(x << by); }
template <typename T> INLINE T shr(T x, u32 by) {
  u32 most = 8 * sizeof(T);
  return by < most ? T(x >> by) : x < 0 ? T(-1) : T(0);
}
template <typename T> INLINE T quotient(T x, T y) {
  return y == 0 ? T(-1) : y == T(-1) && T(-1) < T(0) ? T(0 - as<T>(x)) : T(x / y);
}
template <typename T> INLINE T remainder(T x, T y) {
  return y == 0 ? x : y == T(-1) && T(-1) < T(0) ? T(0) : T(x % y);
}
template <typename T> INLINE T field(T x, u32 at, u32 count) {
  T part = shr<T>(x, at & 255);
  return (count & 255) >= 8 * sizeof(T) ? part : T(part & (shl<T>(1, count & 255) - 1));
}
/// The highest bit of the field goes on above it.
template <typename T> INLINE T signedField(T x, u32 at, u32 count) {
  constexpr u32 width = 8 * sizeof(T);
  at &= 255;
  count &= 255;
  if (!count)
    return 0;
  u32 end = smaller(at + count, width);
  return at >= width ? shr<T>(x, width - 1) : T(T(u64(x) << (width - end)) >> (width - end + at));
}
template <typename T> INLINE T setField(T from, T into, u32 at, u32 count) {
  T mask = (count & 255) >= 8 * sizeof(T) ? T(-1) : T(shl<T>(1, count & 255) - 1);
  return (into & ~shl<T>(mask, at & 255)) | (shl<T>(T(from & mask), at & 255));
}
INLINE u32 permute(u32 low, u32 high, u32 selector) {
  u64 both = u64(high) << 32 | low;
  u32 result = 0;
  for (u32 i = 0; i < 4; ++i, selector >>= 4) {
    u32 byte = u32(both >> 8 * (selector & 7)) & 255;
    if (selector & 8)
      byte = byte & 128 ? 255 : 0;
    result |= byte << 8 * i;
  }
  return result;
}

enum class Round { nearest, zero, down, up };
template <typename T> INLINE T roundTo(T x, Round how) {
  switch (how) {
  case Round::nearest:
    return __builtin_elementwise_roundeven(x);
  case Round::zero:
    return __builtin_elementwise_trunc(x);
  case Round::down:
    return __builtin_elementwise_floor(x);
  case Round::up:
    return __builtin_elementwise_ceil(x);
  }
}
/// What is too large becomes the largest, NaN 0.
template <typename To, typename From> INLINE To toInteger(From x, Round how) {
  f64 value = f64(roundTo(x, how));
  constexpr bool isSigned = To(-1) < To(0);
  constexpr u32 width = 8 * sizeof(To) - isSigned;
  constexpr To most = To(width == 64 ? u64(-1) : (u64(1) << width) - 1);
  constexpr f64 end = 2.0 * f64(u64(1) << (width - 1));
  if (value != value)
    return 0;
  if (value >= end)
    return most;
  if (value < (isSigned ? -end : 0.0))
    return isSigned ? To(-most - 1) : To(0);
  return To(value);
}
template <typename To, typename From> INLINE To clampTo(From x) {
  constexpr bool isSigned = To(-1) < To(0);
  constexpr u32 width = 8 * sizeof(To) - isSigned;
  constexpr s128 most = (s128(1) << width) - 1, least = isSigned ? -most - 1 : 0;
  return s128(x) > most ? To(most) : s128(x) < least ? To(least) : To(x);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

template <typename T> INLINE T get(const u8 *at, u32 index = 0) {
  T value;
  __builtin_memcpy(&value, at + index * sizeof(T), sizeof(T));
  return value;
}
template <typename T> INLINE void put(u8 *at, u32 index, T value) {
  __builtin_memcpy(at + index * sizeof(T), &value, sizeof(T));
}
INLINE void checkAligned(Thread &t, u32 line, u64 address, u32 bytes) {
  if (__builtin_expect(address & (bytes - 1), 0))
    t.fail(line, "an address is not a multiple of the access", address);
}
INLINE u8 *shared(Thread &t, u32 line, u64 at, u32 bytes) {
  checkAligned(t, line, at, bytes);
  if (__builtin_expect(at + bytes > t.sharedBytes || at + bytes < at, 0))
    t.fail(line, "outside of shared memory, at byte", at);
  return t.shared + at;
}
/// The address has the block of the cluster above its place there (mapa).
INLINE const u8 *sharedOfCluster(Thread &t, u32 line, u64 address, u32 bytes) {
  u64 at = address & 0xffffff;
  checkAligned(t, line, at, bytes);
  if (at == address || at + bytes > t.sharedBytes)
    t.fail(line, "outside of the cluster's shared memory, at", address);
  return t.sharedOf(line, u32(address >> 24) - 1) + at;
}
INLINE u8 *global(Thread &t, u32 line, u64 address, u32 bytes, Range &range) {
  checkAligned(t, line, address, bytes);
  if (__builtin_expect(address - range.begin + bytes <= range.bytes && address >= range.begin &&
                           range.launch == t.launch,
                       1))
    return hostOf(address);
  return t.global(line, address, bytes, range);
}
INLINE u8 *local(Thread &t, u32 line, u64 address, u32 bytes, Range &) {
  checkAligned(t, line, address, bytes);
  if (__builtin_expect(!t.isLocal(address, bytes), 0))
    t.fail(line, "outside of the thread's own memory", address);
  return (u8 *)address;
}
INLINE u8 *generic(Thread &t, u32 line, u64 address, u32 bytes, Range &range) {
  u64 inShared = address - u64(t.shared);
  if (inShared < t.sharedBytes)
    return shared(t, line, inShared, bytes);
  if (t.isLocal(address, bytes))
    return local(t, line, address, bytes, range);
  return global(t, line, address, bytes, range);
}

//===----------------------------------------------------------------------===//
// Lanes of a warp
//===----------------------------------------------------------------------===//

enum class Shuffle { up, down, bfly, idx };
struct Shuffled {
  u32 value, from;
  bool inRange;
};

/// Where a lane's value comes from.
INLINE Shuffled sourceOf(Shuffle mode, u32 lane, u32 by, u32 clamp) {
  u32 segment = clamp >> 8 & 31, most = (lane & segment) | (clamp & 31 & ~segment);
  u32 from = mode == Shuffle::up     ? lane - (by & 31)
             : mode == Shuffle::down ? lane + (by & 31)
             : mode == Shuffle::bfly ? lane ^ (by & 31)
                                     : (lane & segment) | (by & 31 & ~segment);
  bool inRange = mode == Shuffle::up ? s32(from) >= s32(most) : from <= most;
  return {0, inRange ? from : lane, inRange};
}
static void shuffleTogether(void *const *lanes, u64 mask) {
  u32 values[32];
  for (u32 i = 0; i < 32; ++i)
    values[i] = lanes[i] ? ((Shuffled *)lanes[i])->value : 0;
  for (u32 i = 0; i < 32; ++i) {
    if (!lanes[i])
      continue;
    auto *mine = (Shuffled *)lanes[i];
    mine->value = values[mine->from];
    if (!(mask >> mine->from & 1))
      mine->from = 255;
  }
}
INLINE Shuffled shuffle(Thread &t, u32 line, Shuffle mode, u32 value, u32 by, u32 clamp, u32 mask) {
  Shuffled mine = sourceOf(mode, t.index & 31, by, clamp);
  mine.value = value;
  t.meet(line, mask, &mine, shuffleTogether);
  if (mine.from == 255)
    t.fail(line, "a value comes from a lane that takes no part");
  return mine;
}

enum class Vote { all, any, uni, ballot };
struct Voted {
  Vote mode;
  u32 value;
};
static void voteTogether(void *const *lanes, u64 mask) {
  u32 yes = 0;
  for (u32 i = 0; i < 32; ++i)
    if (lanes[i] && ((Voted *)lanes[i])->value)
      yes |= 1u << i;
  for (u32 i = 0; i < 32; ++i)
    if (auto *mine = (Voted *)lanes[i])
      mine->value = mine->mode == Vote::all   ? yes == mask
                    : mine->mode == Vote::any ? yes != 0
                    : mine->mode == Vote::uni ? yes == 0 || yes == mask
                                              : yes;
}
INLINE u32 vote(Thread &t, u32 line, Vote mode, bool value, u32 mask) {
  Voted mine = {mode, value};
  t.meet(line, mask, &mine, voteTogether);
  return mine.value;
}
static void nothingTogether(void *const *, u64) {}

//===----------------------------------------------------------------------===//
// Tiles of a warp
//===----------------------------------------------------------------------===//

template <bool isBf16> INLINE void unpack(f32 *to, u32 pair) {
  to[0] = isBf16 ? b(u16(pair)) : h(u16(pair));
  to[1] = isBf16 ? b(u16(pair >> 16)) : h(u16(pair >> 16));
}

struct Mma {
  f32 d[4];
  u32 a[4], b[2];
};
template <bool isBf16> static void mmaTogether(void *const *lanes, u64) {
  f32 a[16][16], b[16][8];
  for (u32 i = 0; i < 32; ++i) {
    auto *mine = (const Mma *)lanes[i];
    u32 group = i / 4, column = i % 4 * 2;
    for (u32 r = 0; r < 4; ++r)
      unpack<isBf16>(&a[group + r % 2 * 8][column + r / 2 * 8], mine->a[r]);
    for (u32 r = 0; r < 2; ++r) {
      f32 pair[2];
      unpack<isBf16>(pair, mine->b[r]);
      b[column + r * 8][group] = pair[0];
      b[column + r * 8 + 1][group] = pair[1];
    }
  }
  f32 c[16][8] = {};
  for (u32 m = 0; m < 16; ++m)
    for (u32 k = 0; k < 16; ++k)
      for (u32 n = 0; n < 8; ++n)
        c[m][n] += a[m][k] * b[k][n];
  for (u32 i = 0; i < 32; ++i)
    for (u32 r = 0; r < 4; ++r)
      ((Mma *)lanes[i])->d[r] += c[i / 4 + r / 2 * 8][i % 4 * 2 + r % 2];
}
template <bool isBf16> INLINE void mma(Thread &t, u32 line, Mma &mine) {
  t.meet(line, -1u, &mine, mmaTogether<isBf16>);
}

/// Of factors in words: a lane's are side by side along the depth.
struct WordMma {
  u32 d[4], a[4], b[2];
};
template <class A, class B> struct Bytes {
  static u32 add(u32 sum, u32 a, u32 b) {
    for (u32 i = 0; i < 4; ++i)
      sum += u32(s32(A(a >> 8 * i)) * s32(B(b >> 8 * i)));
    return sum;
  }
};
struct Tf32 {
  static u32 add(u32 sum, u32 a, u32 b) {
    return bits(f(sum) + f(a & ~0x1fffu) * f(b & ~0x1fffu));
  }
};
template <class Kind> static void mmaOfWordsTogether(void *const *lanes, u64) {
  u32 a[16][8], b[8][8];
  for (u32 i = 0; i < 32; ++i) {
    auto *mine = (const WordMma *)lanes[i];
    for (u32 r = 0; r < 4; ++r)
      a[i / 4 + r % 2 * 8][i % 4 + r / 2 * 4] = mine->a[r];
    for (u32 r = 0; r < 2; ++r)
      b[i % 4 + r * 4][i / 4] = mine->b[r];
  }
  for (u32 i = 0; i < 32; ++i)
    for (u32 r = 0; r < 4; ++r)
      for (u32 k = 0; k < 8; ++k) {
        u32 &sum = ((WordMma *)lanes[i])->d[r];
        sum = Kind::add(sum, a[i / 4 + r / 2 * 8][k], b[k][i % 4 * 2 + r % 2]);
      }
}
template <class Kind> INLINE void mmaOfWords(Thread &t, u32 line, WordMma &mine) {
  t.meet(line, -1u, &mine, mmaOfWordsTogether<Kind>);
}

struct LoadMatrix {
  const u8 *row;
  u32 values[4];
};
template <u32 count, bool turned> static void loadTogether(void *const *lanes, u64) {
  for (u32 part = 0; part < count; ++part)
    for (u32 i = 0; i < 32; ++i) {
      u32 pair = 0;
      for (u32 which = 0; which < 2; ++which) {
        u32 row = i / 4, column = i % 4 * 2 + which;
        auto *from = ((const LoadMatrix *)lanes[part * 8 + (turned ? column : row)])->row;
        pair |= u32(get<u16>(from, turned ? row : column)) << 16 * which;
      }
      ((LoadMatrix *)lanes[i])->values[part] = pair;
    }
}
/// Addresses come from the first 8 * count lanes.
template <u32 count, bool turned> INLINE void loadMatrix(Thread &t, u32 line, u64 at, u32 *values) {
  LoadMatrix mine = {(t.index & 31) < 8 * count ? shared(t, line, at, 16) : nullptr, {}};
  t.meet(line, -1u, &mine, loadTogether<count, turned>);
  for (u32 i = 0; i < count; ++i)
    values[i] = mine.values[i];
}

INLINE void copyAsync(Thread &t, u32 line, u64 to, u64 from, u32 bytes, u32 given, Range &range) {
  if (given > bytes)
    t.fail(line, "a copy of more bytes than it has place for", given);
  checkAligned(t, line, from, bytes);
  const u8 *source = given ? t.global(line, from, given, range) : nullptr;
  t.copyLater(shared(t, line, to, bytes), source, bytes, given);
}

/// Moves nothing, but what it names has to be there.
INLINE void prefetch(Thread &t, u32 line, u64 from, u32 bytes, Range &range) {
  if (bytes == 0 || bytes % 16)
    t.fail(line, "a prefetch that is not of a multiple of 16 bytes", bytes);
  checkAligned(t, line, from, 16);
  t.global(line, from, bytes, range);
}

} // namespace ssm_emulator

#endif // SSM_TEST_EMULATOR_INSTRUCTIONS_H
