//===- Tokenizer.h - Text as ids, by a tokenizer.json -----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The package `tokenizers` of Python, which defines what a tokenizer.json means, in
// a process of its own. Libraries in C++ read some kinds of it only.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_RUN_TOKENIZER_H
#define SSM_RUN_TOKENIZER_H

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <set>
#include <string>
#include <sys/types.h>
#include <vector>

namespace ssmrun {

class Tokenizer {
public:
  /// Starts `python`. Throws if that, its package or the file are not to be had.
  Tokenizer(const std::string &file, const std::string &python);
  ~Tokenizer();
  Tokenizer(const Tokenizer &) = delete;
  Tokenizer &operator=(const Tokenizer &) = delete;

  /// One more than the largest id.
  int64_t size() const { return count; }
  /// Ids that end a text.
  const std::set<int64_t> &ends() const { return endIds; }

  /// Ids of a prompt; with those that begin a text, if it begins one.
  std::vector<int64_t> encode(const std::string &text, bool begins);
  /// The text that one more id behind the prompt makes complete; "" if none.
  std::string add(int64_t id);
  /// The text that was held back.
  std::string finish();

private:
  nlohmann::json ask(const nlohmann::json &request);
  nlohmann::json readAnswer();
  void stop();
  [[noreturn]] void failGone();

  std::string file, python;
  int channel = -1;
  pid_t process = -1;
  std::string buffer; // what was read behind the last answer
  int64_t count = 0;
  std::set<int64_t> endIds;
};

} // namespace ssmrun

#endif // SSM_RUN_TOKENIZER_H
