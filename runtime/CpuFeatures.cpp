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

// Elsewhere only what every CPU of the architecture has can be told.
#if defined(__aarch64__)
static constexpr const char *hostArchitectures[] = {"aarch64", "arm64"};
static constexpr const char *knownFeatures[] = {"fp-armv8", "neon", "v8a", "ete",
                                                "outline-atomics"};
#elif defined(__riscv) && __riscv_xlen == 64
static constexpr const char *hostArchitectures[] = {"riscv64"};
static constexpr const char *knownFeatures[] = {"64bit", "i", "m", "a", "f", "d", "c"};
#else
#error "a 64-bit x86, Arm or RISC-V host"
#endif

#endif

enum class Lookup { Present, Missing, Unknown };

static Lookup lookUp(const char *name, size_t length) {
  for (const auto &feature : knownFeatures) {
#if defined(__x86_64__)
    if (std::strlen(feature.name) == length && std::memcmp(feature.name, name, length) == 0)
      return has(feature) ? Lookup::Present : Lookup::Missing;
#else
    if (std::strlen(feature) == length && std::memcmp(feature, name, length) == 0)
      return Lookup::Present;
#endif
  }
  return Lookup::Unknown;
}

ssmrt_status ssmrt::checkCpu(const char *target, const char *features, const char *path) {
  size_t length = std::strcspn(target, "-");
  bool known = false;
  for (const char *name : hostArchitectures)
    known |= std::strlen(name) == length && !std::memcmp(name, target, length);
  if (!known)
    return fail(SSMRT_UNSUPPORTED, "module '%s' was compiled for '%s', this machine is '%s'", path,
                target, hostArchitectures[0]);

  // All missing features in one message.
  char missing[512];
  size_t used = 0;
  missing[0] = 0;
  for (const char *name = features; *name;) {
    length = std::strcspn(name, ",");
    const char *next = name + length + (name[length] == ',');
    if (*name == '+') {
      ++name;
      --length;
    }
    if (length) {
      Lookup found = lookUp(name, length);
      if (found == Lookup::Unknown)
        return fail(SSMRT_UNSUPPORTED,
                    "module '%s' needs the CPU feature '%.*s', which this "
                    "runtime cannot check",
                    path, int(length), name);
      if (found == Lookup::Missing && used + length + 3 < sizeof(missing)) {
        if (used) {
          std::memcpy(missing + used, ", ", 2);
          used += 2;
        }
        std::memcpy(missing + used, name, length);
        used += length;
        missing[used] = 0;
      }
    }
    name = next;
  }
  if (used)
    return fail(SSMRT_UNSUPPORTED, "module '%s' needs CPU features that this machine lacks: %s",
                path, missing);
  return SSMRT_OK;
}
