//===- Profile.h - Time by kernel -------------------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_RUN_PROFILE_H
#define SSM_RUN_PROFILE_H

#include "Roofline.h"
#include "ssmrt/ssmrt.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ssmrun {

/// The kernels of some runs, with when each began and how long it took.
class Profile {
public:
  /// As ssmrt_session_options_set_kernel_hook takes it; `user` is a Profile.
  static void hook(void *user, const ssmrt_kernel_run *run);

  /// What was seen so far does not count.
  void clear() { events.clear(); }
  void addRun(double seconds) { runs.push_back(seconds); }

  /// A table by kernel, the longest first: calls and time of a run, share of the time
  /// in all, rates, and the share that the roofline has of the kernel's time. Throws if
  /// the module told of no kernel.
  void print(Roofline &roofline) const;
  /// All calls, in the format of Chrome's about:tracing and of Perfetto.
  void writeTrace(const std::string &path) const;

private:
  std::vector<ssmrt_kernel_run> events; // their names are the module's
  std::vector<double> runs;
};

} // namespace ssmrun

#endif // SSM_RUN_PROFILE_H
