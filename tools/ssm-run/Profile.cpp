//===- Profile.cpp - Time by kernel ---------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Profile.h"

#include "Support.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>

using namespace ssmrun;

void Profile::hook(void *user, const char *kernel, int ends) {
  auto &events = static_cast<Profile *>(user)->events;
  if (!ends) {
    events.push_back({kernel, Clock::now(), 0});
    return;
  }
  std::chrono::duration<double> took = Clock::now() - events.back().begin;
  events.back().seconds = took.count();
}

void Profile::print() const {
  if (events.empty())
    throw Error("the module does not tell of its kernels: compile it with --profile");
  struct Sum {
    size_t calls = 0;
    double seconds = 0;
  };
  std::map<std::string, Sum> byKernel;
  double total = 0, inKernels = 0;
  for (double run : runs)
    total += run;
  for (const Event &event : events) {
    Sum &sum = byKernel[event.kernel];
    ++sum.calls;
    sum.seconds += event.seconds;
    inKernels += event.seconds;
  }
  std::vector<std::pair<std::string, Sum>> rows(byKernel.begin(), byKernel.end());
  std::sort(rows.begin(), rows.end(), [](const auto &a, const auto &b) {
    return a.second.seconds > b.second.seconds;
  });
  double count = double(runs.size());
  auto row = [&](const std::string &name, const std::string &calls, double seconds) {
    std::printf("%-48s %8s %12.4f %7.1f %%\n", name.c_str(), calls.c_str(),
                1e3 * seconds / count, total > 0 ? 100 * seconds / total : 0);
  };
  std::printf("%-48s %8s %12s %9s\n", "kernel", "calls", "ms a run", "share");
  for (const auto &[name, sum] : rows)
    row(name, std::to_string(sum.calls / runs.size()), sum.seconds);
  row("between kernels", "", std::max(0.0, total - inKernels));
  row("a run", "", total);
}

void Profile::writeTrace(const std::string &path) const {
  nlohmann::json list = nlohmann::json::array();
  for (const Event &event : events) {
    std::chrono::duration<double, std::micro> begin = event.begin - events.front().begin;
    list.push_back({{"name", event.kernel}, {"ph", "X"}, {"pid", 1}, {"tid", 1},
                    {"ts", begin.count()}, {"dur", 1e6 * event.seconds}});
  }
  std::ofstream file(path);
  file << nlohmann::json({{"traceEvents", list}}).dump() << "\n";
  file.close();
  if (!file)
    throw Error("cannot write '" + path + "'");
}
