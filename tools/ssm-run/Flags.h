//===- Flags.h - Checks of what flags say -----------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_RUN_FLAGS_H
#define SSM_RUN_FLAGS_H

#include <CLI/CLI.hpp>

#include <cerrno>
#include <cstdlib>
#include <string>

namespace ssmrun {

/// A number in [least, most]; CLI::Range lets nan pass.
inline CLI::Validator isBetween(double least, double most) {
  return CLI::Validator(
      [least, most](std::string &text) -> std::string {
        char *end = nullptr;
        double value = std::strtod(text.c_str(), &end);
        if (!text.empty() && !*end && value >= least && value <= most)
          return "";
        return "'" + text + "' is no number in [" + CLI::detail::to_string(least) + " - " +
               CLI::detail::to_string(most) + "]";
      },
      "FLOAT");
}

/// A whole number of 64 bits without a sign; CLI11 wraps others around.
inline const CLI::Validator isSeed(
    [](std::string &text) -> std::string {
      char *end = nullptr;
      errno = 0;
      (void)std::strtoull(text.c_str(), &end, 10);
      bool isNumber = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
      if (isNumber && !*end && !errno)
        return "";
      return "'" + text + "' is no whole number from 0 to 2^64 - 1";
    },
    "UINT");

} // namespace ssmrun

#endif // SSM_RUN_FLAGS_H
