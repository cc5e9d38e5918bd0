//===- CpuTargetTest.cpp - Names of processors -----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Target/CpuTarget.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include "gtest/gtest.h"

using namespace ssm;

static bool isX86() { return llvm::Triple(llvm::sys::getProcessTriple()).isX86(); }

static std::string errorOf(llvm::StringRef cpu) {
  llvm::Expected<CpuTarget> target = CpuTarget::resolve(cpu);
  return target ? "" : llvm::toString(target.takeError());
}

TEST(CpuTarget, NativeIsThisMachine) {
  llvm::Expected<CpuTarget> target = CpuTarget::resolve("native");
  ASSERT_TRUE(bool(target)) << llvm::toString(target.takeError());
  EXPECT_EQ(target->cpu, llvm::sys::getHostCPUName());
  auto has = llvm::sys::getHostCPUFeatures();
  for (const std::string &feature : target->requiredFeatures)
    EXPECT_TRUE(has.lookup(feature)) << feature;
  auto machine = target->createMachine(llvm::CodeGenOptLevel::Default);
  ASSERT_TRUE(bool(machine));
  EXPECT_EQ((*machine)->getRelocationModel(), llvm::Reloc::PIC_);
}

TEST(CpuTarget, LevelsHaveTheirFeatures) {
  if (!isX86())
    GTEST_SKIP() << "the levels are those of x86-64";
  auto v2 = CpuTarget::resolve("x86-64-v2");
  auto v3 = CpuTarget::resolve("v3");
  auto v4 = CpuTarget::resolve("v4");
  ASSERT_TRUE(v2 && v3 && v4);
  EXPECT_EQ(v3->cpu, "x86-64-v3");
  auto has = [](const CpuTarget &target, const char *feature) {
    return llvm::is_contained(target.requiredFeatures, feature);
  };
  EXPECT_TRUE(has(*v2, "sse4.2"));
  EXPECT_FALSE(has(*v2, "avx"));
  for (const char *feature : {"avx2", "fma", "f16c", "bmi2"})
    EXPECT_TRUE(has(*v3, feature)) << feature;
  EXPECT_FALSE(has(*v3, "avx512f"));
  EXPECT_TRUE(has(*v4, "avx512f"));
  EXPECT_TRUE(llvm::is_sorted(v4->requiredFeatures));
}

TEST(CpuTarget, CachesAndBf16) {
  if (!isX86())
    GTEST_SKIP() << "of x86-64 processors";
  struct {
    const char *cpu;
    int64_t level1, level2;
    bool pairs;
  } cases[] = {{"x86-64-v2", 32, 256, false},    {"x86-64-v4", 32, 1024, false},
               {"znver3", 32, 512, false},       {"znver4", 32, 1024, true},
               {"znver5", 48, 1024, true},       {"cooperlake", 32, 1024, false},
               {"sapphirerapids", 48, 2048, false}, {"haswell", 32, 256, false}};
  for (const auto &expected : cases) {
    llvm::Expected<CpuTarget> target = CpuTarget::resolve(expected.cpu);
    ASSERT_TRUE(bool(target)) << llvm::toString(target.takeError());
    EXPECT_EQ(target->level1Bytes(), expected.level1 << 10) << expected.cpu;
    EXPECT_EQ(target->level2Bytes(), expected.level2 << 10) << expected.cpu;
    EXPECT_EQ(target->multipliesBf16(), expected.pairs) << expected.cpu;
  }
}

TEST(CpuTarget, UnknownNamesListTheKnownOnes) {
  std::string message = errorOf("z80");
  EXPECT_NE(message.find("unknown CPU 'z80', expected one of native, "), std::string::npos)
      << message;
  EXPECT_EQ(errorOf(""), "");
  if (!isX86())
    return;
  EXPECT_NE(message.find("x86-64-v3"), std::string::npos);
  // LLVM knows it, but it has no 64-bit mode.
  EXPECT_EQ(message.find("i386"), std::string::npos);
  EXPECT_NE(errorOf("i386"), "");
}

TEST(CpuTarget, BestComesFirst) {
  auto resolve = [](llvm::StringRef name, llvm::StringRef triple) {
    return llvm::cantFail(CpuTarget::resolve(name, triple));
  };
  std::string x86 = "x86_64-unknown-linux-gnu", arm = "aarch64-unknown-linux-gnu";
  std::vector<CpuTarget> targets = {resolve("v2", x86), resolve("skylake-avx512", x86),
                                    resolve("haswell", x86), resolve("v3", x86),
                                    resolve("generic", x86)};
  CpuTarget::sortBestFirst(targets);
  std::vector<std::string> order;
  for (const CpuTarget &target : targets)
    order.push_back(target.cpu);
  EXPECT_EQ(order, (std::vector<std::string>{"skylake-avx512", "x86-64-v3", "haswell", "x86-64-v2",
                                             "generic"}));
  targets = {resolve("generic", arm), resolve("neoverse-v1", arm), resolve("neoverse-n1", arm)};
  CpuTarget::sortBestFirst(targets);
  EXPECT_EQ(targets[0].cpu, "neoverse-v1");
  EXPECT_EQ(targets[2].cpu, "generic");
}

TEST(CpuTarget, Targets) {
  auto parse = [](llvm::StringRef text) {
    llvm::Expected<std::string> triple = parseTarget(text);
    return triple ? *triple : llvm::toString(triple.takeError());
  };
  EXPECT_EQ(parse("cpu"), llvm::sys::getProcessTriple());
  for (const char *name : {"cpu:aarch64-linux-gnu", "cpu:aarch64-unknown-linux-gnu",
                           "cpu:x86_64-linux-gnu"}) {
    llvm::Triple triple(parse(name)), host(llvm::sys::getProcessTriple());
    EXPECT_EQ(triple.getOS(), llvm::Triple::Linux) << name;
    // This machine by another name is this machine.
    if (triple.getArch() == host.getArch())
      EXPECT_EQ(triple.str(), host.str());
  }
  for (const char *name : {"", "gpu", "cpu:", "cpux", "cpu:riscv64-linux-gnu", "cpu:aarch64",
                           "cpu:aarch64-linux-musl", "cpu:aarch64-apple-darwin",
                           "cpu:x86_64-pc-windows-msvc", "gpu:x86_64-linux-gnu"})
    EXPECT_NE(parse(name).find("expected cpu (this machine), cpu:x86_64-linux-gnu, "
                               "cpu:aarch64-linux-gnu or cuda:CHIP"),
              std::string::npos)
        << name;
}

TEST(CpuTarget, OtherArchitectures) {
  std::string arm = "aarch64-unknown-linux-gnu";
  auto generic = CpuTarget::resolve("", arm);
  ASSERT_TRUE(bool(generic)) << llvm::toString(generic.takeError());
  if (isX86()) {
    EXPECT_EQ(generic->cpu, "generic");
    auto native = CpuTarget::resolve("native", arm);
    std::string message = native ? "" : llvm::toString(native.takeError());
    EXPECT_NE(message.find("unknown CPU 'native', expected one of "), std::string::npos);
    EXPECT_NE(message.find("neoverse-n1"), std::string::npos);
    EXPECT_EQ(message.find("of native"), std::string::npos);
  }
  EXPECT_TRUE(generic->requiredFeatures.empty());
  EXPECT_EQ(generic->vectorBits(), 128);
  EXPECT_EQ(generic->vectorRegisters(), 32);
  EXPECT_TRUE(generic->convertsHalf());
  auto newer = llvm::cantFail(CpuTarget::resolve("neoverse-n1", arm));
  EXPECT_TRUE(newer.has("dotprod"));
  EXPECT_TRUE(newer.has("fullfp16"));
  EXPECT_FALSE(newer.has("sve"));
  auto level = CpuTarget::resolve("v3", arm);
  EXPECT_NE(level ? "" : llvm::toString(level.takeError()), "");
}
