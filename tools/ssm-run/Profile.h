//===- Profile.h - Time by kernel -------------------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_RUN_PROFILE_H
#define SSM_RUN_PROFILE_H

#include "Roofline.h"
#include "Support.h"

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace ssmrun {

/// The kernels of some runs, with when each began and how long it took.
class Profile {
public:
  /// As ssmrt_session_options_set_kernel_hook takes it; `user` is a Profile.
  static void hook(void *user, const ssmrt_kernel_run *run);

  /// Throws if the module's code does not tell of its kernels.
  static void checkTells(const Module &module);

  /// What was seen so far does not count.
  void clear() {
    events.clear();
    runs.clear();
  }
  void addRun(double seconds) { runs.push_back(seconds); }

  /// A table by kernel, the longest first: calls and time of a run, share of the time
  /// in all, bytes and operations of a run, rates, and the share that the roofline has of
  /// the kernel's time.
  void print(Roofline &roofline, FILE *to) const;
  /// All calls with the same, in the format of Chrome's about:tracing and of Perfetto.
  void writeTrace(Roofline &roofline, const std::string &path) const;

private:
  std::vector<ssmrt_kernel_run> events; // their names are the module's
  std::vector<double> runs;
};

/// What the module's device can do, or `threads` threads of this machine (0: all).
std::unique_ptr<Roofline> makeRoofline(const Module &module, int32_t threads);

} // namespace ssmrun

#endif // SSM_RUN_PROFILE_H
