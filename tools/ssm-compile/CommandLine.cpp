//===- CommandLine.cpp - The command line of ssm-compile ------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ssm-compile/CommandLine.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Option/Arg.h"
#include "llvm/Option/ArgList.h"
#include "llvm/Option/OptTable.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace llvm::opt;
using namespace ssm;

// LLVM's option tables, not cl::opt: that one would list, and take, the hundreds
// of options which LLVM's own libraries register.
namespace {
enum ID {
  OPT_INVALID = 0,
#define OPTION(...) LLVM_MAKE_OPT_ID(__VA_ARGS__),
#include "tools/ssm-compile/Options.inc"
#undef OPTION
};

#define OPTTABLE_STR_TABLE_CODE
#include "tools/ssm-compile/Options.inc"
#undef OPTTABLE_STR_TABLE_CODE

#define OPTTABLE_PREFIXES_TABLE_CODE
#include "tools/ssm-compile/Options.inc"
#undef OPTTABLE_PREFIXES_TABLE_CODE

constexpr opt::OptTable::Info kInfos[] = {
#define OPTION(...) LLVM_CONSTRUCT_OPT_INFO(__VA_ARGS__),
#include "tools/ssm-compile/Options.inc"
#undef OPTION
};

class Options : public opt::GenericOptTable {
public:
  Options() : GenericOptTable(OptionStrTable, OptionPrefixesTable, kInfos) {}
};
} // namespace

/// Splits at the first '='; both sides must be there.
static Expected<std::pair<std::string, std::string>> splitPair(StringRef option, StringRef value) {
  auto [left, right] = value.split('=');
  if (left.empty() || right.empty())
    return createStringError(option + " " + value + ": expected two names with '=' between");
  return std::make_pair(left.str(), right.str());
}

/// What is between ',', of which a space may stand behind one.
static std::vector<std::string> splitNames(StringRef text) {
  std::vector<std::string> names;
  for (StringRef name : split(text, ','))
    names.push_back(name.trim().str());
  return names;
}

static Error parseLists(const opt::InputArgList &args, CompileOptions &options) {
  std::vector<std::string> models = args.getAllArgValues(OPT_INPUT);
  if (models.size() > 1)
    return createStringError("two models without a name, '" + models[0] + "' and '" + models[1] +
                             "'; name them by --entry NAME=FILE");
  if (!models.empty())
    options.entries.push_back({"main", models.front()});
  for (const std::string &value : args.getAllArgValues(OPT_entry)) {
    auto pair = splitPair("--entry", value);
    if (!pair)
      return pair.takeError();
    options.entries.push_back({pair->first, pair->second});
  }
  for (const std::string &value : args.getAllArgValues(OPT_state)) {
    auto pair = splitPair("--state", value);
    if (!pair)
      return pair.takeError();
    options.states.push_back({pair->first, pair->second});
  }
  for (const std::string &value : args.getAllArgValues(OPT_add_pass)) {
    auto pair = splitPair("--add-pass", value);
    if (!pair)
      return pair.takeError();
    options.addedPasses.push_back({pair->first, pair->second});
  }
  options.passPlugins = args.getAllArgValues(OPT_load_pass_plugin);
  return Error::success();
}

/// The script's own options, then those that it compiles with.
static Expected<std::vector<std::string>> parseBisection(const opt::InputArgList &args) {
  for (ID id : {OPT_output, OPT_emit, OPT_entry, OPT_check, OPT_save_temps})
    if (const opt::Arg *arg = args.getLastArg(id))
      return createStringError("--bisect takes one model and keeps nothing: leave out " +
                               arg->getOption().getPrefixedName());
  std::vector<std::string> words = args.getAllArgValues(OPT_INPUT);
  if (words.size() != 1)
    return createStringError("--bisect: expected one model");
  if (StringRef reference = args.getLastArgValue(OPT_bisect); reference != "O0")
    words.push_back("--reference=" + reference.str());
  if (const opt::Arg *arg = args.getLastArg(OPT_bisect_inputs))
    words.push_back(std::string("--inputs=") + arg->getValue());
  words.push_back("--");
  for (const opt::Arg *arg : args) {
    opt::Option option = arg->getOption().getUnaliasedOption();
    if (option.matches(OPT_INPUT) || option.matches(OPT_bisect) || option.matches(OPT_bisect_inputs))
      continue;
    // In one word, also where it was given as two.
    words.push_back(option.getPrefixedName().str() + (arg->getNumValues() ? arg->getValue() : ""));
  }
  return words;
}

/// Beside the output, in this folder if that is no file.
static std::string defaultReproducer(const std::string &output) {
  bool isFile = output != "-" && (!sys::fs::exists(output) || sys::fs::is_regular_file(output));
  return (isFile ? output : "ssm-compile") + ".repro.mlir";
}

Expected<CommandLine> ssm::parseCommandLine(ArrayRef<const char *> arguments) {
  Options table;
  unsigned missingIndex, missingCount;
  opt::InputArgList args = table.ParseArgs(arguments, missingIndex, missingCount);
  if (missingCount)
    return createStringError(Twine("option ") + args.getArgString(missingIndex) + " needs a value");
  for (const opt::Arg *arg : args.filtered(OPT_UNKNOWN)) {
    std::string nearest;
    std::string text = arg->getAsString(args);
    if (table.findNearest(text, nearest) > 2)
      return createStringError("unknown option '" + text + "'; see --help");
    return createStringError("unknown option '" + text + "', did you mean '" + nearest + "'?");
  }
  CommandLine line;
  line.help = args.hasArg(OPT_help);
  line.version = args.hasArg(OPT_version);
  line.check = args.hasArg(OPT_check);
  line.printTimings = args.hasArg(OPT_print_timings);
  if (args.hasArg(OPT_bisect)) {
    Expected<std::vector<std::string>> words = parseBisection(args);
    if (!words)
      return words.takeError();
    line.bisection = std::move(*words);
  } else if (args.hasArg(OPT_bisect_inputs)) {
    return createStringError("--bisect-inputs needs --bisect");
  }
  CompileOptions &options = line.options;
  if (Error error = parseLists(args, options))
    return error;
  options.emit = args.getLastArgValue(OPT_emit).str();
  // "obj" is not text that one would want on a terminal.
  bool isText = !options.emitsModule() && options.emit != "obj";
  options.output = args.getLastArgValue(OPT_output, isText ? "-" : "").str();
  options.target = join(splitNames(args.getLastArgValue(OPT_target, "cpu")), ",");
  for (auto [option, name] : {std::pair(OPT_cpu, "--cpu"), std::pair(OPT_target, "--target")})
    if (args.getAllArgValues(option).size() > 1)
      return createStringError(Twine(name) + " is given twice; several have ',' between");
  if (args.hasArg(OPT_cpu))
    options.cpus = splitNames(args.getLastArgValue(OPT_cpu));
  StringRef level = args.getLastArgValue(OPT_level, "3");
  if (level.size() != 1 || level[0] < '0' || level[0] > '3')
    return createStringError("unknown level '-O" + level + "', expected -O0 to -O3");
  options.optLevel = level[0] - '0';
  options.embedWeights = args.hasArg(OPT_embed_weights);
  options.profile = args.hasArg(OPT_profile);
  options.verifyEach = args.hasArg(OPT_verify_each);
  options.saveTemps = args.hasArg(OPT_save_temps);
  options.optimizeThrough = args.getLastArgValue(OPT_optimize_through).str();
  options.reproducer =
      args.getLastArgValue(OPT_reproducer, defaultReproducer(options.output)).str();
  options.remarks = args.getLastArgValue(OPT_remarks).str();
  options.linker = args.getLastArgValue(OPT_linker).str();
  options.ptxas = args.getLastArgValue(OPT_ptxas).str();
  StringRef budget = args.getLastArgValue(OPT_spill_budget);
  if (args.hasArg(OPT_spill_budget) &&
      (budget.getAsInteger(10, options.spillBudget) || options.spillBudget < 0))
    return createStringError("--spill-budget " + budget + ": expected a number of bytes");
  options.f32Products = args.getLastArgValue(OPT_f32_products, options.f32Products).str();
  options.weightsDir = args.getLastArgValue(OPT_weights_dir).str();
  StringRef limit = args.getLastArgValue(OPT_max_weights);
  if (args.hasArg(OPT_max_weights) &&
      (limit.getAsInteger(10, options.maxWeightBytes) || options.maxWeightBytes == 0))
    return createStringError("--max-weights " + limit + ": expected a number of bytes");
  return line;
}

void ssm::printHelp() {
  Options().printHelp(outs(), "ssm-compile [options] MODEL.onnx -o OUT.so",
                      "compiles ONNX models to native modules");
}
