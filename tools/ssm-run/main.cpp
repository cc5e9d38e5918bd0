//===- main.cpp - ssm-run: runs a compiled module -------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Generate.h"
#include "Support.h"

#include "Flags.h"

#include <cstring>
#include <iostream>
#include <new>

using namespace ssmrun;

static void addOptions(CLI::App &app, Options &options) {
  app.add_option("module", options.module, "The module, as ssm-compile wrote it")->required();
  app.add_option("--weights", options.weights, "Its weights file, if elsewhere");
  app.add_option("--entry", options.entry, "The entry to run (the first)");
  app.add_option("--device", options.device,
                 "cpu, cuda or cuda:N (cpu if the module has code for it, else cuda); none for "
                 "--describe, which needs none and takes that where the module cannot run");
  app.add_option("--inputs", options.inputs, "Safetensors file, keyed by input name");
  app.add_option("--input", options.input, "NAME=FILE.npy, for one input")->allow_extra_args(false);
  app.add_option("--outputs", options.outputs, "Safetensors file to write");
  app.add_option("--output-dir", options.outputDir, "Folder for a .npy file of each output");
  app.add_option("--seed", options.seed, "Of the random inputs, taken if none are given")
      ->check(isSeed);
  app.add_option("--dim", options.dim, "NAME=SIZE of random inputs; NAME is a symbol or INPUT:AXIS")
      ->allow_extra_args(false);
  app.add_option("--int-range", options.intRange, "NAME=LO:HI of random integers (0:1)")
      ->allow_extra_args(false);
  app.add_option("--threads", options.threads, "0: all cores")->check(CLI::Range(0, 4096));
  app.add_option("--repeat", options.repeat,
                 "Time N runs after a first one; print min, median, max")
      ->check(CLI::Range(0, 1000000000));
  app.add_flag("--profile", options.profile,
               "Print time, bytes and FLOPs of each kernel against the measured roofline "
               "(of a module compiled with --profile)");
  app.add_option("--trace", options.trace, "The same as a file for chrome://tracing or Perfetto");
  app.add_flag("--carry-states", options.carryStates, "States begin as zeros and are no inputs");
  auto *then = app.add_option_function<std::string>(
      "--then", [&](const std::string &file) { options.steps.push_back(file); },
      "A further run with the inputs of this safetensors file, and the states that are carried");
  then->trigger_on_parse()->allow_extra_args(false);
  auto *back = app.add_flag_callback(
      "--roll-back", [&] { options.steps.push_back(std::nullopt); },
      "Take the run before back: states are what they were, before the next --then");
  back->trigger_on_parse();
  for (auto *option : {then, back})
    option->excludes("--repeat")->excludes("--profile")->excludes("--trace");
  app.add_option("--load-states", options.loadStates, "Begin with these states");
  app.add_flag("--foreign-states", options.foreignStates,
               "Also with states that another model saved");
  app.add_option("--save-states", options.saveStates, "Write the states after");
  app.add_flag("--describe", options.describe, "Print what is in the module");
  app.add_flag("--json", options.json, "The same as JSON")
      ->excludes("--profile")
      ->excludes("--trace");
  app.add_flag("--verify", options.verify, "Check all bytes of the weights");
}

static void execute(const Options &options) {
  bool describes = options.describe || options.json;
  Module module = describes ? loadToDescribe(options.module, options.weights, options.device)
                            : load(options.module, options.weights, options.device);
  if (options.verify) {
    check(ssmrt_module_verify_weights(module.get()));
    ssmrt_module_info info;
    check(ssmrt_module_get_info(module.get(), &info));
    // JSON stands alone.
    std::ostream &to = options.json ? std::cerr : std::cout;
    to << "weights are whole: " << info.num_weights << " tensors, " << info.weight_bytes
       << " bytes\n";
  }
  if (describes)
    return describe(options, module.get());
  bool asked = !options.inputs.empty() || !options.input.empty() || !options.outputs.empty() ||
               !options.outputDir.empty() || !options.saveStates.empty() || options.repeat ||
               options.profile || !options.trace.empty() || !options.steps.empty();
  if (asked || !options.verify)
    run(options, module);
}

int main(int argc, char **argv) {
  Options options;
  // A command of its own, for `ssm-run MODULE` has a module where others have commands.
  bool writes = argc > 1 && std::strcmp(argv[1], "generate") == 0;
  CLI::App app(writes ? "Lets a language model write."
                      : "Runs a compiled module. `ssm-run generate` lets a language model write.",
               writes ? "ssm-run generate" : "ssm-run");
  if (writes)
    addGenerate(app);
  else
    addOptions(app, options);
  try {
    app.parse(argc - writes, argv + writes);
    if (!writes)
      execute(options);
    flushOutput();
  } catch (const CLI::Success &success) {
    return app.exit(success);
  } catch (const std::bad_alloc &) {
    std::cerr << "ssm-run: not enough memory for the inputs and outputs of these sizes\n";
    return 1;
  } catch (const std::exception &error) {
    std::cout.flush();
    std::cerr << "ssm-run: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
