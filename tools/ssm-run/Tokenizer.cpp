//===- Tokenizer.cpp - Text as ids, by a tokenizer.json -------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tokenizer.h"

#include "Support.h"
#include "TokenizerScript.h"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace ssmrun;
using nlohmann::json;

Tokenizer::Tokenizer(const std::string &file, const std::string &python)
    : file(file), python(python) {
  // Known without any package.
  int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    throw Error("cannot read '" + file + "': " + std::strerror(errno));
  close(descriptor);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw Error(std::string("cannot make a socket: ") + std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  const char *arguments[] = {python.c_str(), "-c", tokenizerScript, file.c_str(), nullptr};
  int failed = posix_spawnp(&process, python.c_str(), &actions, nullptr,
                            const_cast<char **>(arguments), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  channel = ends[0];
  try {
    if (failed) {
      process = -1;
      throw Error("cannot run '" + python + "', which is to read '" + file +
                  "': " + std::strerror(failed) + "; another Python: --python or SSM_PYTHON");
    }
    json told = readAnswer();
    count = told.at("size").get<int64_t>();
    endIds = told.at("ends").get<std::set<int64_t>>();
  } catch (...) {
    stop();
    throw;
  }
}

Tokenizer::~Tokenizer() { stop(); }

void Tokenizer::stop() {
  close(channel); // the process ends there
  if (process >= 0)
    waitpid(process, nullptr, 0);
}

void Tokenizer::failGone() {
  throw Error("'" + python + "', which reads '" + file + "', has ended unexpectedly");
}

json Tokenizer::readAnswer() {
  size_t end;
  while ((end = buffer.find('\n')) == std::string::npos) {
    char bytes[4096];
    ssize_t size = read(channel, bytes, sizeof bytes);
    if (size < 0 && errno == EINTR)
      continue;
    if (size <= 0)
      failGone();
    buffer.append(bytes, size_t(size));
  }
  json answer = json::parse(buffer.substr(0, end), nullptr, /*allow_exceptions=*/false);
  buffer.erase(0, end + 1);
  if (!answer.is_object())
    failGone();
  if (answer.contains("error"))
    throw Error(answer["error"].get<std::string>());
  return answer;
}

json Tokenizer::ask(const json &request) {
  std::string line = request.dump(-1, ' ', /*ensure_ascii=*/true) + "\n";
  for (size_t sent = 0; sent < line.size();) {
    ssize_t size = send(channel, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (size < 0 && errno == EINTR)
      continue;
    if (size <= 0)
      failGone();
    sent += size_t(size);
  }
  return readAnswer();
}

std::vector<int64_t> Tokenizer::encode(const std::string &text, bool begins) {
  try {
    return ask({{"encode", text}, {"begins", begins}}).at("ids").get<std::vector<int64_t>>();
  } catch (const json::type_error &) { // of dump
    throw Error("the prompt is not text in UTF-8");
  }
}

std::string Tokenizer::add(int64_t id) { return ask({{"add", id}}).at("text").get<std::string>(); }

std::string Tokenizer::finish() { return ask({{"finish", true}}).at("text").get<std::string>(); }
