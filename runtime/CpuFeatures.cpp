//===- CpuFeatures.cpp - What code may ask of this CPU --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A table from LLVM's feature names to CPUID bits. A vector extension counts
// only if the operating system saves its registers (XCR0).
//
//===----------------------------------------------------------------------===//

#include "CpuFeatures.h"

#include "Status.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

using namespace ssmrt;

#if defined(__x86_64__)

static constexpr const char *hostArchitectures[] = {"x86_64", "amd64"};

namespace {
enum Register : uint8_t { A, B, C, D };

/// Which of the register sets the operating system must save.
enum Saved : uint8_t { None, Avx, Avx512, Amx };

struct Feature {
  const char *name;
  uint32_t leaf, subleaf;
  Register reg;
  uint8_t bit;
  Saved saved;
};
} // namespace

static constexpr uint32_t ext1 = 0x80000001, ext8 = 0x80000008;

static const Feature knownFeatures[] = {
    {"x87", 1, 0, D, 0, None},
    {"cx8", 1, 0, D, 8, None},
    {"cmov", 1, 0, D, 15, None},
    {"mmx", 1, 0, D, 23, None},
    {"fxsr", 1, 0, D, 24, None},
    {"sse", 1, 0, D, 25, None},
    {"sse2", 1, 0, D, 26, None},
    {"sse3", 1, 0, C, 0, None},
    {"pclmul", 1, 0, C, 1, None},
    {"ssse3", 1, 0, C, 9, None},
    {"fma", 1, 0, C, 12, Avx},
    {"cx16", 1, 0, C, 13, None},
    {"sse4.1", 1, 0, C, 19, None},
    {"sse4.2", 1, 0, C, 20, None},
    {"crc32", 1, 0, C, 20, None},
    {"movbe", 1, 0, C, 22, None},
    {"popcnt", 1, 0, C, 23, None},
    {"aes", 1, 0, C, 25, None},
    {"xsave", 1, 0, C, 27, None},
    {"avx", 1, 0, C, 28, Avx},
    {"f16c", 1, 0, C, 29, Avx},
    {"rdrnd", 1, 0, C, 30, None},
    {"fsgsbase", 7, 0, B, 0, None},
    {"sgx", 7, 0, B, 2, None},
    {"bmi", 7, 0, B, 3, None},
    {"avx2", 7, 0, B, 5, Avx},
    {"bmi2", 7, 0, B, 8, None},
    {"invpcid", 7, 0, B, 10, None},
    {"rtm", 7, 0, B, 11, None},
    {"avx512f", 7, 0, B, 16, Avx512},
    {"evex512", 7, 0, B, 16, Avx512},
    {"avx512dq", 7, 0, B, 17, Avx512},
    {"rdseed", 7, 0, B, 18, None},
    {"adx", 7, 0, B, 19, None},
    {"avx512ifma", 7, 0, B, 21, Avx512},
    {"clflushopt", 7, 0, B, 23, None},
    {"clwb", 7, 0, B, 24, None},
    {"avx512cd", 7, 0, B, 28, Avx512},
    {"sha", 7, 0, B, 29, None},
    {"avx512bw", 7, 0, B, 30, Avx512},
    {"avx512vl", 7, 0, B, 31, Avx512},
    {"avx512vbmi", 7, 0, C, 1, Avx512},
    {"pku", 7, 0, C, 4, None},
    {"waitpkg", 7, 0, C, 5, None},
    {"avx512vbmi2", 7, 0, C, 6, Avx512},
    {"shstk", 7, 0, C, 7, None},
    {"gfni", 7, 0, C, 8, None},
    {"vaes", 7, 0, C, 9, Avx},
    {"vpclmulqdq", 7, 0, C, 10, Avx},
    {"avx512vnni", 7, 0, C, 11, Avx512},
    {"avx512bitalg", 7, 0, C, 12, Avx512},
    {"avx512vpopcntdq", 7, 0, C, 14, Avx512},
    {"rdpid", 7, 0, C, 22, None},
    {"kl", 7, 0, C, 23, None},
    {"cldemote", 7, 0, C, 25, None},
    {"movdiri", 7, 0, C, 27, None},
    {"movdir64b", 7, 0, C, 28, None},
    {"enqcmd", 7, 0, C, 29, None},
    {"uintr", 7, 0, D, 5, None},
    {"avx512vp2intersect", 7, 0, D, 8, Avx512},
    {"serialize", 7, 0, D, 14, None},
    {"tsxldtrk", 7, 0, D, 16, None},
    {"pconfig", 7, 0, D, 18, None},
    {"amx-bf16", 7, 0, D, 22, Amx},
    {"avx512fp16", 7, 0, D, 23, Avx512},
    {"amx-tile", 7, 0, D, 24, Amx},
    {"amx-int8", 7, 0, D, 25, Amx},
    {"sha512", 7, 1, A, 0, Avx},
    {"sm3", 7, 1, A, 1, Avx},
    {"sm4", 7, 1, A, 2, Avx},
    {"raoint", 7, 1, A, 3, None},
    {"avxvnni", 7, 1, A, 4, Avx},
    {"avx512bf16", 7, 1, A, 5, Avx512},
    {"cmpccxadd", 7, 1, A, 7, None},
    {"amx-fp16", 7, 1, A, 21, Amx},
    {"hreset", 7, 1, A, 22, None},
    {"avxifma", 7, 1, A, 23, Avx},
    {"avxvnniint8", 7, 1, D, 4, Avx},
    {"avxneconvert", 7, 1, D, 5, Avx},
    {"amx-complex", 7, 1, D, 8, Amx},
    {"avxvnniint16", 7, 1, D, 10, Avx},
    {"prefetchi", 7, 1, D, 14, None},
    {"usermsr", 7, 1, D, 15, None},
    {"xsaveopt", 13, 1, A, 0, None},
    {"xsavec", 13, 1, A, 1, None},
    {"xsaves", 13, 1, A, 3, None},
    {"ptwrite", 20, 0, B, 4, None},
    {"widekl", 25, 0, B, 2, None},
    {"sahf", ext1, 0, C, 0, None},
    {"lzcnt", ext1, 0, C, 5, None},
    {"sse4a", ext1, 0, C, 6, None},
    {"prfchw", ext1, 0, C, 8, None},
    {"xop", ext1, 0, C, 11, Avx},
    {"lwp", ext1, 0, C, 15, None},
    {"fma4", ext1, 0, C, 16, Avx},
    {"tbm", ext1, 0, C, 21, None},
    {"mwaitx", ext1, 0, C, 29, None},
    {"64bit", ext1, 0, D, 29, None},
    {"clzero", ext8, 0, B, 0, None},
    {"rdpru", ext8, 0, B, 4, None},
    {"wbnoinvd", ext8, 0, B, 9, None},
};

static bool savesRegisters(Saved saved) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27)))
    return false;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  unsigned needed = saved == Avx ? 0x6u : saved == Avx512 ? 0xe6u : 0x60000u;
  return (low & needed) == needed;
}

static bool has(const Feature &feature) {
  unsigned registers[4] = {};
  if (!__get_cpuid_count(feature.leaf, feature.subleaf, &registers[A], &registers[B], &registers[C],
                         &registers[D]))
    return false;
  return (registers[feature.reg] >> feature.bit & 1) &&
         (feature.saved == None || savesRegisters(feature.saved));
}

#else

#if defined(__aarch64__)
static constexpr const char *hostArchitectures[] = {"aarch64", "arm64"};

namespace {
struct Feature {
  const char *name;
  uint64_t hwcap, hwcap2; // Linux's bits, all of which must be set
};
} // namespace

static const Feature knownFeatures[] = {
    {"fp-armv8", 1u << 0, 0},
    {"neon", 1u << 1, 0},
    {"fullfp16", 1u << 9 | 1u << 10, 0},
    {"rdm", 1u << 12, 0},
    {"jsconv", 1u << 13, 0},
    {"complxnum", 1u << 14, 0},
    {"dotprod", 1u << 20, 0},
    {"sve", 1u << 22, 0},
    {"fp16fml", 1u << 23, 0},
    {"sve2", 0, uint64_t(1) << 1},
    {"fptoint", 0, uint64_t(1) << 8},
    {"i8mm", 0, uint64_t(1) << 13},
    {"bf16", 0, uint64_t(1) << 14},
    {"sme", 0, uint64_t(1) << 23},
    {"cssc", 0, uint64_t(1) << 34},
    {"sve2p1", 0, uint64_t(1) << 36},
    {"mops", 0, uint64_t(1) << 43},
};

static bool has(const Feature &feature) {
  return (getauxval(AT_HWCAP) & feature.hwcap) == feature.hwcap &&
         (getauxval(AT_HWCAP2) & feature.hwcap2) == feature.hwcap2;
}
#elif defined(__riscv) && __riscv_xlen == 64
static constexpr const char *hostArchitectures[] = {"riscv64"};

namespace {
struct Feature {
  const char *name;
};
} // namespace

// What every processor of the architecture has.
static constexpr Feature knownFeatures[] = {{"64bit"}, {"i"}, {"m"}, {"a"}, {"f"}, {"d"}, {"c"}};

static bool has(const Feature &) { return true; }
#else
#error "a 64-bit x86, Arm or RISC-V host"
#endif

#endif

enum class Lookup { Present, Missing, Unknown };

static Lookup lookUp(const char *name, size_t length) {
  for (const Feature &feature : knownFeatures)
    if (std::strlen(feature.name) == length && std::memcmp(feature.name, name, length) == 0)
      return has(feature) ? Lookup::Present : Lookup::Missing;
  return Lookup::Unknown;
}

bool ssmrt::hasArchitecture(const char *target) {
  size_t length = std::strcspn(target, "-");
  for (const char *name : hostArchitectures)
    if (std::strlen(name) == length && !std::memcmp(name, target, length))
      return true;
  return false;
}

const char *ssmrt::hostArchitecture() { return hostArchitectures[0]; }

bool ssmrt::tellMissing(const char *features, Text &text) {
  bool any = false;
  for (const char *name = features; *name;) {
    size_t length = std::strcspn(name, ",");
    const char *next = name + length + (name[length] == ',');
    if (*name == '+') {
      ++name;
      --length;
    }
    Lookup found = length ? lookUp(name, length) : Lookup::Present;
    if (found != Lookup::Present) {
      if (any)
        text.add(", ");
      text.add(name, length);
      if (found == Lookup::Unknown)
        text.add(" (which this runtime cannot check)");
      any = true;
    }
    name = next;
  }
  return any;
}
