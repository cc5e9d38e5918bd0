//===- Profile.cpp - Time by kernel ---------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Profile.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>

using namespace ssmrun;

void Profile::hook(void *user, const ssmrt_kernel_run *run) {
  static_cast<Profile *>(user)->events.push_back(*run);
}

namespace {
struct Sum {
  size_t calls = 0;
  double seconds = 0;
  double bytes = 0, flops = 0, least = 0; // of those calls that tell
  bool isCounted = true;
};
} // namespace

static std::string format(const char *text, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer), text, value);
  return buffer;
}

void Profile::checkTells(const Module &module) {
  ssmrt_device_info device;
  ssmrt_module_info info;
  check(ssmrt_module_get_info(module.get(), &info));
  // On a device the runtime tells of them.
  if (ssmrt_module_get_device(module.get(), &device) != SSMRT_OK &&
      (std::string(info.options) + " ").find(" --profile ") == std::string::npos)
    throw Error("the module does not tell of its kernels: compile it with --profile");
}

void Profile::print(Roofline &roofline, FILE *to) const {
  std::map<std::string, Sum> byKernel;
  double total = 0, inKernels = 0;
  for (double run : runs)
    total += run;
  for (const ssmrt_kernel_run &event : events) {
    Sum &sum = byKernel[event.kernel];
    ++sum.calls;
    sum.seconds += event.seconds;
    inKernels += event.seconds;
    sum.isCounted &= event.bytes >= 0 && event.flops >= 0;
    if (!sum.isCounted)
      continue;
    sum.bytes += double(event.bytes);
    sum.flops += double(event.flops);
    sum.least += roofline.seconds(event.bytes, event.flops);
  }
  std::vector<std::pair<std::string, Sum>> rows(byKernel.begin(), byKernel.end());
  std::sort(rows.begin(), rows.end(),
            [](const auto &a, const auto &b) { return a.second.seconds > b.second.seconds; });
  double count = double(runs.size());
  auto row = [&](const std::string &name, const std::string &calls, double seconds,
                 const std::string &rates) {
    std::fprintf(to, "%-48s %8s %12.4f %7.1f %%%s\n", name.c_str(), calls.c_str(),
                 1e3 * seconds / count, total > 0 ? 100 * seconds / total : 0, rates.c_str());
  };
  std::fprintf(to, "%-48s %8s %12s %9s %12s %12s %10s %10s %11s\n", "kernel", "calls", "ms a run",
               "share", "bytes", "FLOPs", "GFLOP/s", "GB/s", "of roofline");
  for (const auto &[name, sum] : rows) {
    // Where time is too short for the clock there is no rate.
    bool hasRates = sum.isCounted && sum.seconds > 0;
    std::string work = sum.isCounted ? format(" %12.0f", sum.bytes / count) +
                                           format(" %12.0f", sum.flops / count)
                                     : "            -            -";
    row(name, std::to_string(sum.calls / runs.size()), sum.seconds,
        work + (hasRates ? format(" %10.1f", 1e-9 * sum.flops / sum.seconds) +
                               format(" %10.1f", 1e-9 * sum.bytes / sum.seconds) +
                               format(" %9.1f %%", 100 * sum.least / sum.seconds)
                         : "          -          -           -"));
  }
  row("between kernels", "", std::max(0.0, total - inKernels), "");
  row("a run", "", total, "");
  std::fprintf(to, "roofline of %s\n", roofline.text().c_str());
}

/// How many threads a session of that option has.
static int32_t countThreads(int32_t threads) {
  ssmrt_pool *pool;
  check(ssmrt_pool_create(threads, &pool));
  int32_t count = ssmrt_pool_threads(pool);
  ssmrt_pool_release(pool);
  return count;
}

std::unique_ptr<Roofline> ssmrun::makeRoofline(const Module &module, int32_t threads) {
  ssmrt_device_info device;
  if (ssmrt_module_get_device(module.get(), &device) == SSMRT_OK)
    return std::make_unique<DeviceRoofline>(device);
  return std::make_unique<CpuRoofline>(countThreads(threads));
}

void Profile::writeTrace(Roofline &roofline, const std::string &path) const {
  nlohmann::json list = nlohmann::json::array();
  for (const ssmrt_kernel_run &event : events) {
    list.push_back({{"name", event.kernel},
                    {"ph", "X"},
                    {"pid", 1},
                    {"tid", 1},
                    {"ts", 1e6 * (event.begin - events.front().begin)},
                    {"dur", 1e6 * event.seconds}});
    if (event.bytes >= 0 && event.flops >= 0)
      list.back()["args"] = {{"bytes", event.bytes}, {"flops", event.flops}};
    // Where time is too short for the clock there is no share.
    if (event.bytes >= 0 && event.flops >= 0 && event.seconds > 0)
      list.back()["args"]["of_roofline"] =
          roofline.seconds(event.bytes, event.flops) / event.seconds;
  }
  std::ofstream file(path);
  file << nlohmann::json({{"traceEvents", list}}).dump() << "\n";
  file.close();
  if (!file)
    throw Error("cannot write '" + path + "'");
}
