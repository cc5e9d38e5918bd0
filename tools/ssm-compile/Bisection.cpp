//===- Bisection.cpp - ssm-compile --bisect -------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ssm-compile/Bisection.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

std::string ssm::runBisection(const std::vector<std::string> &arguments) {
  static char anchor;
  std::string self = llvm::sys::fs::getMainExecutable(nullptr, &anchor);
  std::string folder = llvm::sys::path::parent_path(self).str();
  const char *given = std::getenv("SSM_PYTHON");
  std::string installed = folder + "/../venv/bin/python";
  std::string python = given                               ? given
                       : llvm::sys::fs::exists(installed) ? installed
                                                           : "python3";
  std::string script = SSM_SCRIPTS "/bisect_model.py";
  if (!llvm::sys::fs::exists(script))
    return "--bisect needs the repository's '" + script + "'";
  std::vector<std::string> words = {python, script, "--bin=" + folder};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char *> pointers;
  for (std::string &word : words)
    pointers.push_back(word.data());
  pointers.push_back(nullptr);
  execvp(python.c_str(), pointers.data());
  return "--bisect: cannot run '" + python + "': " + std::strerror(errno) +
         "; another Python: SSM_PYTHON";
}
