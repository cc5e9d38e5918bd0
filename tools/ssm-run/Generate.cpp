//===- Generate.cpp - A language model writes -----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The prompt in one call, then an id at a time, its text written at once. Without
// states, all ids are run again for each new one.
//
//===----------------------------------------------------------------------===//

#include "Generate.h"

#include "LanguageModel.h"
#include "Sampler.h"
#include "Support.h"
#include "Tokenizer.h"

#include "Flags.h"

#include <chrono>
#include <climits>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <unistd.h>

using namespace ssmrun;

namespace {

struct GenerateOptions {
  std::string module, weights, entry, device, prompt, promptFile, loadStates, saveStates;
  std::string tokenizer, python;
  bool ids = false, profile = false;
  int64_t maxNew = 200, capacity = 0, fork = 1;
  std::vector<int64_t> stopIds;
  SessionSettings session;
  SamplerOptions sampler;
};

/// Writes bytes as they come, but no part of a character of UTF-8. What is none is
/// shown as one that says so.
class Writer {
public:
  void add(uint8_t byte);
  /// Whole characters.
  void show(const std::string &text);
  void finish();

private:
  void replace();
  std::string held;
  int missing = 0; // bytes of the character that `held` begins
};

} // namespace

void Writer::replace() {
  if (!held.empty())
    show("\xEF\xBF\xBD");
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
    show(held);
    held.clear();
  }
}

void Writer::show(const std::string &text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  flushOutput();
}

void Writer::finish() {
  replace();
  show("\n");
}

static std::string readText(const GenerateOptions &options) {
  if (options.promptFile.empty())
    return options.prompt;
  std::ifstream file(options.promptFile, std::ios::binary);
  // A folder opens, too.
  if (!file || std::filesystem::is_directory(options.promptFile))
    throw Error("cannot read '" + options.promptFile + "'");
  return {std::istreambuf_iterator<char>(file), {}};
}

static std::vector<int64_t> readIds(const std::string &text, int64_t vocabulary) {
  std::vector<int64_t> ids;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    ids.push_back(toInteger(word, "an id of the prompt"));
    if (ids.back() < 0 || (vocabulary >= 0 && ids.back() >= vocabulary))
      throw Error("id " + word + " is outside of the vocabulary, which has " +
                  std::to_string(vocabulary));
  }
  return ids;
}

/// The file that tells what ids mean; "" where they are bytes or remain numbers.
static std::string findTokenizer(const GenerateOptions &options) {
  if (options.ids || options.tokenizer == "bytes")
    return "";
  if (!options.tokenizer.empty())
    return options.tokenizer;
  size_t slash = options.module.rfind('/');
  std::string file =
      (slash == std::string::npos ? "" : options.module.substr(0, slash + 1)) + "tokenizer.json";
  return std::ifstream(file) ? file : "";
}

/// That of the build, if this program lies in its folder: set-up put the package there.
static std::string findPython(const GenerateOptions &options) {
  if (!options.python.empty())
    return options.python;
  char path[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  std::string self(path, length > 0 ? size_t(length) : 0);
  size_t folder = self.rfind("/bin/");
  std::string found = self.substr(0, folder == std::string::npos ? 0 : folder) + "/venv/bin/python";
  return access(found.c_str(), X_OK) == 0 ? found : "python3";
}

/// The model may have more ids than the tokenizer: many are padded to a round number.
static void checkVocabulary(const std::string &file, const Tokenizer &tokenizer,
                            int64_t vocabulary) {
  if (vocabulary >= 0 && tokenizer.size() > vocabulary)
    throw Error("'" + file + "' has " + std::to_string(tokenizer.size()) + " ids, the model only " +
                std::to_string(vocabulary) +
                ": it belongs to another model; give the model's with --tokenizer FILE, or "
                "--tokenizer bytes");
  if (vocabulary > tokenizer.size())
    std::fprintf(stderr, "ssm-run: note: the model has %lld ids, '%s' %lld\n",
                 static_cast<long long>(vocabulary), file.c_str(),
                 static_cast<long long>(tokenizer.size()));
}

static std::vector<int64_t> readPrompt(const GenerateOptions &options, Tokenizer *tokenizer,
                                       int64_t vocabulary) {
  std::string text = readText(options);
  std::vector<int64_t> ids;
  if (options.ids)
    ids = readIds(text, vocabulary);
  else if (tokenizer)
    ids = tokenizer->encode(text, /*begins=*/options.loadStates.empty());
  else if (vocabulary == 256)
    for (char c : text)
      ids.push_back(uint8_t(c));
  else
    throw Error("the model has " +
                (vocabulary < 0 ? "an open number of" : std::to_string(vocabulary)) +
                " ids, and text is written as bytes, of which there are 256, where no "
                "tokenizer.json lies beside the module: give one with --tokenizer, or --ids and "
                "the prompt as numbers");
  if (ids.empty())
    throw Error("the prompt is empty: give some with --prompt or --prompt-file");
  return ids;
}

static double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

namespace {
/// The entries of a module that write: one reads the prompt, one makes the steps.
class Writing {
public:
  Writing(const GenerateOptions &options, const Module &module);
  void run();

private:
  void readPrompt();
  /// Writes from where the prompt ended; returns the number of ids.
  int64_t write(uint64_t seed);
  void show(Writer &writer, int64_t id, bool isFirst);
  void tellTime(const char *what, int64_t count, double begin, double end);

  const GenerateOptions &options;
  const Module &module;
  Profile profile;
  std::unique_ptr<LanguageModel> first, second;
  LanguageModel *step; // one of them
  std::unique_ptr<Tokenizer> tokenizer;
  std::set<int64_t> stops;
  std::vector<int64_t> prompt;
  std::vector<double> logits; // behind the prompt
};
} // namespace

Writing::Writing(const GenerateOptions &options, const Module &module)
    : options(options), module(module) {
  if (options.profile)
    Profile::checkTells(module);
  SessionSettings settings = options.session;
  settings.profile = options.profile ? &profile : nullptr;
  int32_t ignored;
  bool both = options.entry.empty() &&
              ssmrt_module_find_entry(module.get(), "prefill", &ignored) == SSMRT_OK &&
              ssmrt_module_find_entry(module.get(), "decode", &ignored) == SSMRT_OK;
  first = std::make_unique<LanguageModel>(module, both ? "prefill" : options.entry, settings);
  // A fork goes on from the first one's states, which stay.
  if (both || (options.fork > 1 && first->hasStates()))
    second = std::make_unique<LanguageModel>(module, both ? "decode" : options.entry, settings);
  step = second ? second.get() : first.get();
  if (both && !step->hasStates())
    throw Error("entry 'decode' has no states: what it is to go on with is lost");
  if (step->hasStates() && step->length() > 1)
    throw Error("entry '" + std::string(step->name()) + "' takes " +
                std::to_string(step->length()) + " ids at once, expected one, or any number");
  if (first->batch() > 1)
    std::fprintf(stderr,
                 "ssm-run: note: the model has a batch of %lld: all rows are the same text\n",
                 static_cast<long long>(first->batch()));
  for (int64_t id : options.stopIds)
    if (id < 0 || (first->vocabulary() >= 0 && id >= first->vocabulary()))
      throw Error("--stop-id " + std::to_string(id) + " is outside of the vocabulary, which has " +
                  std::to_string(first->vocabulary()));
  stops.insert(options.stopIds.begin(), options.stopIds.end());
}

void Writing::readPrompt() {
  std::string file = findTokenizer(options);
  checkWritten(module, {file, options.promptFile}, {{"--save-states", options.saveStates}});
  if (!file.empty()) {
    tokenizer = std::make_unique<Tokenizer>(file, findPython(options));
    checkVocabulary(file, *tokenizer, first->vocabulary());
    stops.insert(tokenizer->ends().begin(), tokenizer->ends().end());
  }
  prompt = ::readPrompt(options, tokenizer.get(), first->vocabulary());
}

void Writing::show(Writer &writer, int64_t id, bool isFirst) {
  if (options.ids)
    writer.show((isFirst ? "" : " ") + std::to_string(id));
  else if (tokenizer)
    writer.show(tokenizer->add(id));
  else
    writer.add(uint8_t(id));
}

int64_t Writing::write(uint64_t seed) {
  SamplerOptions settings = options.sampler;
  settings.seed = seed;
  Sampler sampler(settings);
  Writer writer;
  std::vector<int64_t> ids = prompt;
  std::vector<double> last = logits;
  int64_t made = 0;
  while (made < options.maxNew) {
    int64_t next = sampler.next(last);
    if (stops.count(next))
      break;
    ++made;
    show(writer, next, made == 1);
    if (step->hasStates())
      ids.assign(1, next);
    else
      ids.push_back(next);
    double begin = seconds();
    last = step->run(ids);
    profile.addRun(seconds() - begin);
  }
  if (tokenizer)
    writer.show(tokenizer->finish());
  writer.finish();
  return made;
}

void Writing::tellTime(const char *what, int64_t count, double begin, double end) {
  if (count > 0)
    std::fprintf(stderr, "%s %lld tokens, %.1f ms, %.0f tokens/s\n", what,
                 static_cast<long long>(count), 1e3 * (end - begin), double(count) / (end - begin));
}

void Writing::run() {
  readPrompt();
  if (!options.loadStates.empty())
    first->loadStates(options.loadStates);
  if (options.capacity > 0)
    step->reserve(options.capacity);
  double begin = seconds();
  logits = first->runPrompt(prompt);
  double prompted = seconds();
  profile.addRun(prompted - begin);
  Profile ofPrompt = profile;
  profile.clear();

  int64_t made = 0;
  for (int64_t i = 0; i < options.fork; ++i) {
    if (options.fork > 1) {
      Writer().show("--- seed " + std::to_string(options.sampler.seed + uint64_t(i)) + "\n");
      if (i > 0 && tokenizer)
        ::readPrompt(options, tokenizer.get(), first->vocabulary()); // it begins again
    }
    if (second)
      step->takeStates(*first);
    made += write(options.sampler.seed + uint64_t(i));
  }
  double end = seconds();
  if (!options.saveStates.empty())
    step->saveStates(options.saveStates);
  tellTime("prompt:", int64_t(prompt.size()), begin, prompted);
  tellTime("new:   ", made, prompted, end);
  if (!options.profile)
    return;
  std::unique_ptr<Roofline> roofline = makeRoofline(module, options.session.threads);
  std::fprintf(stderr, "\nThe prompt:\n");
  ofPrompt.print(*roofline, stderr);
  if (made == 0)
    return;
  std::fprintf(stderr, "\nThe steps, a mean:\n");
  profile.print(*roofline, stderr);
}

static void generate(const GenerateOptions &options) {
  Module module = load(options.module, options.weights, options.device);
  Writing(options, module).run();
}

void ssmrun::addGenerate(CLI::App &app) {
  auto options = std::make_shared<GenerateOptions>();
  app.add_option("module", options->module, "A language model, as ssm-compile wrote it")
      ->required();
  app.add_option("--weights", options->weights, "Its weights file, if elsewhere");
  app.add_option("--entry", options->entry,
                 "The entry (prefill and decode if there are both, else the first)");
  app.add_option("--device", options->device,
                 "cpu, cuda or cuda:N (cpu if the module has code for it, else cuda)");
  auto *prompt = app.add_option("--prompt", options->prompt, "What to go on from");
  app.add_option("--prompt-file", options->promptFile, "The same from a file")->excludes(prompt);
  auto *ids =
      app.add_flag("--ids", options->ids, "Prompt and answer are numbers of tokens, not text");
  app.add_option("--tokenizer", options->tokenizer,
                 "What ids mean: a tokenizer.json (the one beside the module), or 'bytes'")
      ->excludes(ids);
  app.add_option("--python", options->python,
                 "A Python with the package tokenizers, which reads tokenizer.json (of the build, "
                 "or python3)")
      ->envname("SSM_PYTHON");
  app.add_option("--max-new", options->maxNew, "Tokens to write (200)")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 40));
  app.add_option("--temperature", options->sampler.temperature, "0: always the likeliest (1)")
      ->check(isBetween(0, 100));
  app.add_option("--top-p", options->sampler.topP, "Only the likeliest of that chance in all (1)")
      ->check(isBetween(0, 1));
  app.add_option("--top-k", options->sampler.topK, "Only so many likeliest (all)")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 40));
  app.add_option("--seed", options->sampler.seed, "The same seed, the same text (0)")
      ->check(isSeed);
  app.add_option("--stop-id", options->stopIds,
                 "Stop before this token, beside those that end a text by the tokenizer's files")
      ->allow_extra_args(false);
  app.add_option("--threads", options->session.threads, "0: all cores")->check(CLI::Range(0, 4096));
  app.add_option("--capacity", options->capacity,
                 "Ids that caches have room for at once (as many as there are; they grow)")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 40));
  app.add_option("--load-states", options->loadStates, "Begin with these states");
  app.add_flag("--foreign-states", options->session.foreignStates,
               "Also with states that another model saved");
  auto *save = app.add_option("--save-states", options->saveStates, "Write the states after");
  app.add_option("--fork", options->fork,
                 "So many texts from the one prompt, by the seed and those behind it (1)")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 20))
      ->excludes(save);
  app.add_flag("--profile", options->profile,
               "Print time, bytes and FLOPs of each kernel after the text "
               "(of a module compiled with --profile)");
  app.final_callback([options] { generate(*options); });
}
