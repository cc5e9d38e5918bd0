//===- Profile.h - Time by kernel -------------------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_RUN_PROFILE_H
#define SSM_RUN_PROFILE_H

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace ssmrun {

/// The kernels of some runs, with when each began and how long it took.
class Profile {
public:
  /// As ssmrt_session_options_set_kernel_hook takes it; `user` is a Profile.
  static void hook(void *user, const char *kernel, int ends, int64_t bytes, int64_t flops);

  /// What was seen so far does not count.
  void clear() { events.clear(); }
  void addRun(double seconds) { runs.push_back(seconds); }

  /// A table by kernel, the longest first: calls and time of a run, share of the time
  /// in all, rates, and the share that the roofline of `threads` threads, measured here
  /// and now, has of the kernel's time. Throws if the module told of no kernel.
  void print(int32_t threads) const;
  /// All calls, in the format of Chrome's about:tracing and of Perfetto.
  void writeTrace(const std::string &path) const;

private:
  using Clock = std::chrono::steady_clock;
  struct Event {
    const char *kernel; // of the module
    Clock::time_point begin;
    double seconds;
    int64_t bytes, flops; // -1: not known
  };
  std::vector<Event> events;
  std::vector<double> runs;
};

} // namespace ssmrun

#endif // SSM_RUN_PROFILE_H
