//===- Roofline.h - What this machine can do --------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_RUN_ROOFLINE_H
#define SSM_RUN_ROOFLINE_H

#include "ssmrt/ssmrt.h"

#include <cstdint>
#include <map>
#include <string>

namespace ssmrun {

class Roofline {
public:
  virtual ~Roofline() = default;
  /// The least time for so much arithmetic and traffic.
  virtual double seconds(int64_t bytes, int64_t flops) = 0;
  /// For people: of what, and its rates.
  virtual std::string text() = 0;
};

/// What a GPU's clocks and widths come to.
class DeviceRoofline : public Roofline {
public:
  explicit DeviceRoofline(const ssmrt_device_info &info) : info(info) {}
  double seconds(int64_t bytes, int64_t flops) override;
  std::string text() override;

private:
  double flopsPerSecond() const;
  ssmrt_device_info info;
};

/// The rates of some threads at once, each with the widest vectors of this machine.
/// Measures at the first need, and every block size once.
class CpuRoofline : public Roofline {
public:
  explicit CpuRoofline(int32_t threads) : threads(threads) {}

  /// f32 multiply-adds a second, each as two operations.
  double flopsPerSecond();
  /// The rate at which so many bytes are read that were read just before: from the
  /// cache that holds them, or from memory.
  double bytesPerSecond(int64_t bytes);
  double seconds(int64_t bytes, int64_t flops) override;
  std::string text() override;

private:
  int32_t threads;
  double flopRate = 0;
  std::map<int64_t, double> byteRates; // by block size
};

} // namespace ssmrun

#endif // SSM_RUN_ROOFLINE_H
