//===- Generate.cpp - A language model writes -----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Works for any entry with one input of ids and an output of logits, whose other
// inputs are states that the session carries. Without states, all ids are run again
// for each new one.
//
//===----------------------------------------------------------------------===//

#include "Generate.h"

#include "Sampler.h"
#include "Support.h"

#include <CLI/CLI.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

using namespace ssmrun;

namespace {

struct GenerateOptions {
  std::string module, weights, entry, device, prompt, promptFile, loadStates, saveStates;
  bool ids = false;
  int64_t maxNew = 200, stopId = -1;
  int32_t threads = 0;
  SamplerOptions sampler;
};

/// An entry as a language model.
class Model {
public:
  Model(const Module &module, const std::string &entry, int32_t threads);

  /// Runs ids and returns the logits of the last one.
  std::vector<double> run(const std::vector<int64_t> &ids);
  /// The size of the last axis of the logits, -1 if open.
  int64_t vocabulary() const { return logits.dims[logits.rank - 1].size; }
  bool hasStates() const { return info.num_states > 0; }
  /// Ids that one run takes: so many, or -1: any number.
  int64_t length() const { return ids.dims[ids.rank - 1].size; }
  const char *name() const { return info.name; }
  ssmrt_session *getSession() const { return session.get(); }

private:
  void findInput(const Module &module, int32_t number);
  void findOutput(const Module &module, int32_t number);

  ssmrt_entry_info info;
  ssmrt_value_info ids, logits;
  int32_t output = -1;
  Session session{nullptr, ssmrt_session_destroy};
  std::vector<int64_t> wide;
  std::vector<int32_t> narrow;
};

/// Writes bytes as they come, but no part of a character of UTF-8. What is none is
/// shown as one that says so.
class Writer {
public:
  void add(uint8_t byte);
  void finish();

private:
  void replace();
  std::string held;
  int missing = 0; // bytes of the character that `held` begins
};

} // namespace

static std::string where(const ssmrt_entry_info &info) {
  return "entry '" + std::string(info.name) + "'";
}

Model::Model(const Module &module, const std::string &entry, int32_t threads) {
  int32_t number = 0;
  if (!entry.empty())
    check(ssmrt_module_find_entry(module.get(), entry.c_str(), &number));
  check(ssmrt_module_get_entry(module.get(), number, &info));
  findInput(module, number);
  findOutput(module, number);
  ssmrt_session_options *settings;
  check(ssmrt_session_options_create(&settings));
  std::unique_ptr<ssmrt_session_options, void (*)(ssmrt_session_options *)> owned(
      settings, ssmrt_session_options_destroy);
  check(ssmrt_session_options_set_threads(settings, threads));
  check(ssmrt_session_options_set_carry_states(settings, hasStates()));
  ssmrt_session *made;
  check(ssmrt_session_create(module.get(), info.name, settings, &made));
  session.reset(made);
}

void Model::findInput(const Module &module, int32_t number) {
  std::set<int32_t> states = stateInputs(module.get(), number);
  std::string others;
  int32_t found = 0;
  for (int32_t i = 0; i < info.num_inputs; ++i) {
    if (states.count(i))
      continue;
    ssmrt_value_info value;
    check(ssmrt_module_get_input(module.get(), number, i, &value));
    bool isIds = value.type.code == kDLInt && (value.type.bits == 64 || value.type.bits == 32) &&
                 value.rank >= 1 && value.rank <= 2;
    if (isIds)
      ids = value;
    found += isIds;
    others += (others.empty() ? "" : ", ") + std::string(value.name) + ": " +
              typeName(value.type) + " " + shapeText(value);
  }
  if (found != 1 || int32_t(states.size()) + 1 != info.num_inputs)
    throw Error(where(info) + " takes " + (others.empty() ? "nothing" : others) +
                " beside its states, expected ids alone: int64 or int32 [batch, length] or [length]");
  if (ids.rank == 2 && ids.dims[0].size > 1)
    throw Error("input '" + std::string(ids.name) + "' of " + where(info) + " has a batch of " +
                std::to_string(ids.dims[0].size) + ", expected 1");
}

void Model::findOutput(const Module &module, int32_t number) {
  std::set<int32_t> states;
  for (int32_t i = 0; i < info.num_states; ++i) {
    ssmrt_state_info state;
    check(ssmrt_module_get_state(module.get(), number, i, &state));
    states.insert(state.output);
  }
  int32_t found = 0;
  for (int32_t i = 0; i < info.num_outputs; ++i) {
    ssmrt_value_info value;
    check(ssmrt_module_get_output(module.get(), number, i, &value));
    bool isFloat = value.type.code == kDLFloat || value.type.code == kDLBfloat;
    if (states.count(i) || !isFloat || value.rank < 1 || value.rank > 3)
      continue;
    bool isNamed = std::strcmp(value.name, "logits") == 0;
    if (isNamed || found == 0) {
      logits = value;
      output = i;
    }
    if (isNamed) {
      found = 1;
      break;
    }
    ++found;
  }
  if (found != 1)
    throw Error(where(info) + " has " + std::to_string(found) +
                " outputs that may be logits, expected one, or one of the name 'logits'");
}

static double floatOf(const DLTensor &tensor, int64_t index) {
  const auto *bytes = static_cast<const uint8_t *>(tensor.data) + tensor.byte_offset;
  if (tensor.dtype.bits == 64)
    return reinterpret_cast<const double *>(bytes)[index];
  if (tensor.dtype.bits == 32)
    return double(reinterpret_cast<const float *>(bytes)[index]);
  uint16_t half = reinterpret_cast<const uint16_t *>(bytes)[index];
  if (tensor.dtype.code == kDLBfloat) {
    uint32_t wide = uint32_t(half) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return double(value);
  }
  int exponent = half >> 10 & 31, fraction = half & 1023;
  double value = exponent == 0    ? std::ldexp(fraction, -24)
                 : exponent == 31 ? (fraction ? NAN : INFINITY)
                                  : std::ldexp(1024 + fraction, exponent - 25);
  return half >> 15 ? -value : value;
}

std::vector<double> Model::run(const std::vector<int64_t> &given) {
  if (length() >= 0 && length() != int64_t(given.size()))
    throw Error(where(info) + " takes " + std::to_string(length()) + " ids at once, got " +
                std::to_string(given.size()));
  int64_t shape[2] = {1, int64_t(given.size())};
  DLTensor tensor = {};
  tensor.device = {kDLCPU, 0};
  tensor.ndim = ids.rank;
  tensor.shape = shape + (2 - ids.rank);
  tensor.dtype = ids.type;
  wide = given;
  tensor.data = wide.data();
  if (ids.type.bits == 32) {
    narrow.assign(given.begin(), given.end());
    tensor.data = narrow.data();
  }
  ssmrt_input input = {ids.name, &tensor};
  check(ssmrt_session_run(session.get(), &input, 1, nullptr, 0));
  DLTensor result;
  check(ssmrt_session_get_output(session.get(), output, &result));
  int64_t total = 1, size = result.ndim ? result.shape[result.ndim - 1] : 0;
  for (int32_t axis = 0; axis < result.ndim; ++axis)
    total *= result.shape[axis];
  if (total < size || size == 0)
    throw Error("output '" + std::string(logits.name) + "' of " + where(info) + " is empty");
  std::vector<double> last;
  for (int64_t i = total - size; i < total; ++i)
    last.push_back(floatOf(result, i));
  return last;
}

void Writer::replace() {
  if (!held.empty())
    std::fputs("\xEF\xBF\xBD", stdout);
  held.clear();
  missing = 0;
}

void Writer::add(uint8_t byte) {
  bool follows = (byte & 0xC0) == 0x80;
  if (missing > 0 && follows) {
    held += char(byte);
    --missing;
  } else {
    replace();
    held = char(byte);
    missing = byte < 0x80             ? 0
              : (byte & 0xE0) == 0xC0 ? 1
              : (byte & 0xF0) == 0xE0 ? 2
              : (byte & 0xF8) == 0xF0 ? 3
                                      : -1;
  }
  if (missing < 0)
    replace();
  else if (missing == 0) {
    std::fwrite(held.data(), 1, held.size(), stdout);
    held.clear();
  }
  std::fflush(stdout);
}

void Writer::finish() {
  replace();
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

static std::vector<int64_t> readPrompt(const GenerateOptions &options, int64_t vocabulary) {
  std::string text = options.prompt;
  if (!options.promptFile.empty()) {
    std::ifstream file(options.promptFile, std::ios::binary);
    if (!file)
      throw Error("cannot read '" + options.promptFile + "'");
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
  std::vector<int64_t> ids;
  if (options.ids) {
    std::istringstream words(text);
    for (std::string word; words >> word;) {
      ids.push_back(toInteger(word, "an id of the prompt"));
      if (ids.back() < 0 || (vocabulary >= 0 && ids.back() >= vocabulary))
        throw Error("id " + word + " is outside of the vocabulary, which has " +
                    std::to_string(vocabulary));
    }
  } else {
    if (vocabulary != 256)
      throw Error("the model has " +
                  (vocabulary < 0 ? "an open number of" : std::to_string(vocabulary)) +
                  " ids, and text is written as bytes, of which there are 256: give --ids, and "
                  "the prompt as numbers");
    for (char c : text)
      ids.push_back(uint8_t(c));
  }
  if (ids.empty())
    throw Error("the prompt is empty: give some with --prompt or --prompt-file");
  return ids;
}

static double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static void generate(const GenerateOptions &options) {
  Module module = load(options.module, options.weights, options.device);
  int32_t ignored;
  bool both = options.entry.empty() &&
              ssmrt_module_find_entry(module.get(), "prefill", &ignored) == SSMRT_OK &&
              ssmrt_module_find_entry(module.get(), "decode", &ignored) == SSMRT_OK;
  Model first(module, both ? "prefill" : options.entry, options.threads);
  std::unique_ptr<Model> second;
  if (both)
    second = std::make_unique<Model>(module, "decode", options.threads);
  Model &step = both ? *second : first;
  if (both && !step.hasStates())
    throw Error("entry 'decode' has no states: what it is to go on with is lost");
  if (step.hasStates() && step.length() > 1)
    throw Error("entry '" + std::string(step.name()) + "' takes " + std::to_string(step.length()) +
                " ids at once, expected one, or any number");

  std::vector<int64_t> ids = readPrompt(options, first.vocabulary());
  if (!options.loadStates.empty())
    check(ssmrt_session_restore_states_file(first.getSession(), options.loadStates.c_str()));
  double begin = seconds();
  std::vector<double> logits = first.run(ids);
  double prompted = seconds();
  size_t prompt = ids.size();
  if (both)
    check(ssmrt_session_copy_states(step.getSession(), first.getSession()));

  Sampler sampler(options.sampler);
  Writer writer;
  int64_t made = 0;
  while (made < options.maxNew) {
    int64_t next = sampler.next(logits);
    if (next == options.stopId)
      break;
    ++made;
    if (options.ids) {
      std::printf("%s%lld", made > 1 ? " " : "", static_cast<long long>(next));
      std::fflush(stdout);
    } else {
      writer.add(uint8_t(next));
    }
    if (step.hasStates())
      ids.assign(1, next);
    else
      ids.push_back(next);
    logits = step.run(ids);
  }
  writer.finish();
  double end = seconds();
  if (!options.saveStates.empty())
    check(ssmrt_session_save_states_file(step.getSession(), options.saveStates.c_str()));
  std::fprintf(stderr, "prompt: %zu tokens, %.1f ms, %.0f tokens/s\n", prompt,
               1e3 * (prompted - begin), double(prompt) / (prompted - begin));
  if (made > 0)
    std::fprintf(stderr, "new:    %lld tokens, %.1f ms, %.0f tokens/s\n",
                 static_cast<long long>(made), 1e3 * (end - prompted),
                 double(made) / (end - prompted));
}

void ssmrun::addGenerate(CLI::App &app) {
  auto options = std::make_shared<GenerateOptions>();
  app.add_option("module", options->module, "A language model, as ssm-compile wrote it")->required();
  app.add_option("--weights", options->weights, "Its weights file, if elsewhere");
  app.add_option("--entry", options->entry,
                 "The entry (prefill and decode if there are both, else the first)");
  app.add_option("--device", options->device,
                 "cpu, cuda or cuda:N (cpu if the module has code for it, else cuda)");
  auto *prompt = app.add_option("--prompt", options->prompt, "What to go on from");
  app.add_option("--prompt-file", options->promptFile, "The same from a file")->excludes(prompt);
  app.add_flag("--ids", options->ids, "Prompt and answer are numbers of tokens, not text");
  app.add_option("--max-new", options->maxNew, "Tokens to write (200)")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 40));
  app.add_option("--temperature", options->sampler.temperature, "0: always the likeliest (1)")
      ->check(CLI::Range(0.0, 100.0));
  app.add_option("--top-p", options->sampler.topP, "Only the likeliest of that chance in all (1)")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--top-k", options->sampler.topK, "Only so many likeliest (all)")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 40));
  app.add_option("--seed", options->sampler.seed, "The same seed, the same text (0)");
  app.add_option("--stop-id", options->stopId, "Stop before this token");
  app.add_option("--threads", options->threads, "0: all cores")->check(CLI::Range(0, 4096));
  app.add_option("--load-states", options->loadStates, "Begin with these states");
  app.add_option("--save-states", options->saveStates, "Write the states after");
  app.final_callback([options] { generate(*options); });
}
