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

TEST(CpuTarget, UnknownNamesListTheKnownOnes) {
  std::string message = errorOf("z80");
  EXPECT_NE(message.find("unknown CPU 'z80', expected one of native, "), std::string::npos)
      << message;
  EXPECT_NE(errorOf(""), "");
  if (!isX86())
    return;
  EXPECT_NE(message.find("x86-64-v3"), std::string::npos);
  // LLVM knows it, but it has no 64-bit mode.
  EXPECT_EQ(message.find("i386"), std::string::npos);
  EXPECT_NE(errorOf("i386"), "");
}
