//===- BuiltinsTest.cpp - Conversions to and from f16 and bf16 -------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/BuildObject.h"
#include "lib/Package/Linker.h"

#include "test/unit/package/PackageTesting.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/Support/SourceMgr.h"
#include "gtest/gtest.h"

#include <cmath>
#include <random>

using namespace ssm;
using llvm::APFloat;
using llvm::APInt;

namespace {
/// Every conversion, compiled for a processor that has no instruction for it.
class Builtins : public ::testing::Test {
protected:
  void SetUp() override {
    llvm::Expected<CpuTarget> target = CpuTarget::resolve("x86-64-v2");
    if (!target) {
      llvm::consumeError(target.takeError());
      GTEST_SKIP() << "not an x86-64 machine";
    }
    llvm::LLVMContext context;
    llvm::SMDiagnostic diagnostic;
    auto module = llvm::parseAssemblyString(R"(
define i16 @f32_f16(float %x) { %y = fptrunc float %x to half
  %z = bitcast half %y to i16
  ret i16 %z }
define i16 @f64_f16(double %x) { %y = fptrunc double %x to half
  %z = bitcast half %y to i16
  ret i16 %z }
define i16 @f32_bf16(float %x) { %y = fptrunc float %x to bfloat
  %z = bitcast bfloat %y to i16
  ret i16 %z }
define i16 @f64_bf16(double %x) { %y = fptrunc double %x to bfloat
  %z = bitcast bfloat %y to i16
  ret i16 %z }
define float @f16_f32(i16 %x) { %y = bitcast i16 %x to half
  %z = fpext half %y to float
  ret float %z }
define double @f16_f64(i16 %x) { %y = bitcast i16 %x to half
  %z = fpext half %y to double
  ret double %z }
)",
                                            diagnostic, context);
    ASSERT_TRUE(module) << diagnostic.getMessage().str();
    module->setTargetTriple(llvm::Triple(target->triple));
    std::string path = folder.file("builtins.so");
    cantFail(buildModuleFile(CodePart{*module, *target}, 2, cantFail(findLinker("")), {}, folder, path));
    handle = dlopen(path.c_str(), RTLD_NOW);
    ASSERT_TRUE(handle) << dlerror();
  }
  void TearDown() override {
    if (handle)
      dlclose(handle);
  }

  template <typename Function> Function *get(const char *name) {
    return reinterpret_cast<Function *>(dlsym(handle, name));
  }

  static uint16_t convert(APFloat value, const llvm::fltSemantics &semantics) {
    bool loses;
    value.convert(semantics, APFloat::rmNearestTiesToEven, &loses);
    return value.bitcastToAPInt().getZExtValue();
  }

  ScratchFolder folder = cantFail(ScratchFolder::create("ssm-test"));
  void *handle = nullptr;
};
} // namespace

TEST_F(Builtins, WidenEveryF16) {
  auto *single = get<float(uint16_t)>("f16_f32");
  auto *wide = get<double(uint16_t)>("f16_f64");
  for (unsigned bits = 0; bits < 65536; ++bits) {
    APFloat expected(APFloat::IEEEhalf(), APInt(16, bits));
    if (expected.isNaN()) {
      EXPECT_NE(single(bits), single(bits));
      continue;
    }
    EXPECT_EQ(single(bits), expected.convertToFloat()) << bits;
    EXPECT_EQ(std::signbit(single(bits)), expected.isNegative()) << bits;
    EXPECT_EQ(wide(bits), expected.convertToDouble()) << bits;
  }
}

TEST_F(Builtins, NarrowLikeAPFloat) {
  auto *f32ToF16 = get<uint16_t(float)>("f32_f16");
  auto *f64ToF16 = get<uint16_t(double)>("f64_f16");
  auto *f32ToBf16 = get<uint16_t(float)>("f32_bf16");
  auto *f64ToBf16 = get<uint16_t(double)>("f64_bf16");
  unsigned seed = std::random_device()();
  std::mt19937_64 random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));

  auto check = [&](double value) {
    APFloat wide(value), single(static_cast<float>(value));
    EXPECT_EQ(f32ToF16(value), convert(single, APFloat::IEEEhalf())) << value;
    EXPECT_EQ(f64ToF16(value), convert(wide, APFloat::IEEEhalf())) << value;
    EXPECT_EQ(f32ToBf16(value), convert(single, APFloat::BFloat())) << value;
    EXPECT_EQ(f64ToBf16(value), convert(wide, APFloat::BFloat())) << value;
  };
  // All f16 and bf16 values, the ties between neighbours, and just beside them.
  for (const llvm::fltSemantics *format : {&APFloat::IEEEhalf(), &APFloat::BFloat()})
    for (unsigned bits = 0; bits < 65535; ++bits) {
      APFloat low(*format, APInt(16, bits)), high(*format, APInt(16, bits + 1));
      if (!low.isFinite() || !high.isFinite())
        continue;
      double a = low.convertToDouble(), b = high.convertToDouble();
      double tie = a + (b - a) / 2;
      for (double value : {a, tie, std::nextafter(tie, a), std::nextafter(tie, b)})
        check(value);
    }
  for (double edge : {0.0, -0.0, 65519.999, 65520.0, 1e300, -1e300, 1e-300, 5e-324,
                      std::numeric_limits<double>::infinity()})
    check(edge);
  for (int i = 0; i < 100000; ++i) {
    double value;
    uint64_t bits = random();
    memcpy(&value, &bits, sizeof(value));
    if (!std::isnan(value))
      check(value);
    check(std::ldexp(1.0 + double(random()) * 0x1p-64, int(random() % 60) - 40));
  }
  double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(APFloat(APFloat::IEEEhalf(), APInt(16, f32ToF16(nan))).isNaN());
  EXPECT_TRUE(APFloat(APFloat::IEEEhalf(), APInt(16, f64ToF16(nan))).isNaN());
  EXPECT_TRUE(APFloat(APFloat::BFloat(), APInt(16, f32ToBf16(nan))).isNaN());
  EXPECT_TRUE(APFloat(APFloat::BFloat(), APInt(16, f64ToBf16(nan))).isNaN());
}
