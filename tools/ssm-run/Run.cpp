//===- Run.cpp - Running a module, and writing what it gives --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Profile.h"
#include "Support.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

using namespace ssmrun;

namespace {
struct NamedOutput {
  std::string name;
  DLTensor view;
};
} // namespace

static std::vector<NamedOutput> listOutputs(const ssmrt_module *module,
                                            const ssmrt_session *session) {
  int32_t entry = ssmrt_session_entry(session);
  ssmrt_entry_info info;
  check(ssmrt_module_get_entry(module, entry, &info));
  std::vector<NamedOutput> outputs(size_t(info.num_outputs));
  for (int32_t i = 0; i < info.num_outputs; ++i) {
    ssmrt_value_info value;
    check(ssmrt_module_get_output(module, entry, i, &value));
    outputs[size_t(i)].name = value.name;
    check(ssmrt_session_get_output(session, i, &outputs[size_t(i)].view));
  }
  return outputs;
}

/// A file name made of an output's name, one that no other output got.
static std::string fileName(const std::string &name, std::set<std::string> &taken) {
  std::string base;
  for (char c : name)
    base += std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' ||
                    (c == '.' && !base.empty())
                ? c
                : '_';
  base.resize(std::min(base.size(), size_t(200)));
  std::string result = base + ".npy";
  for (int number = 1; !taken.insert(result).second; ++number)
    result = base + "-" + std::to_string(number) + ".npy";
  return result;
}

/// Writes all files beside their names, then moves them there.
static void writeDirectory(const Module &module, const std::string &folder,
                           const std::vector<NamedOutput> &outputs) {
  if (mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST)
    throw Error("cannot create the folder '" + folder + "': " + std::strerror(errno));
  std::set<std::string> taken;
  std::vector<std::string> paths;
  bool complete = true;
  std::string failed;
  std::vector<Written> files;
  for (const NamedOutput &output : outputs)
    files.push_back({"--output-dir", folder + "/" + fileName(output.name, taken)});
  checkWritten(module, {}, files);
  for (const NamedOutput &output : outputs) {
    paths.push_back(files[paths.size()].path);
    std::string bytes = npyBytes(output.view);
    std::ofstream file(paths.back() + ".part", std::ios::binary);
    file << bytes;
    file.close();
    if (!file) {
      complete = false;
      failed = paths.back();
      break;
    }
  }
  for (const std::string &path : paths) {
    std::string part = path + ".part";
    if (!complete)
      unlink(part.c_str());
    else if (std::rename(part.c_str(), path.c_str()) != 0)
      throw Error("cannot write '" + path + "': " + std::strerror(errno));
  }
  if (!complete)
    throw Error("cannot write '" + failed + "'");
}

static void printOutputs(const std::vector<NamedOutput> &outputs) {
  for (const NamedOutput &output : outputs) {
    std::cout << output.name << ": " << typeName(output.view.dtype) << " [";
    for (int32_t axis = 0; axis < output.view.ndim; ++axis)
      std::cout << (axis ? ", " : "") << output.view.shape[axis];
    std::cout << "]\n";
  }
}

static void writeOutputs(const Options &options, const Module &module,
                         const ssmrt_session *session) {
  std::vector<NamedOutput> outputs = listOutputs(module.get(), session);
  if (!options.outputs.empty()) {
    std::vector<ssmrt_input> list;
    for (const NamedOutput &output : outputs)
      list.push_back({output.name.c_str(), &output.view});
    check(ssmrt_tensors_write(options.outputs.c_str(), list.data(), int32_t(list.size())));
  }
  if (!options.outputDir.empty())
    writeDirectory(module, options.outputDir, outputs);
  if (options.outputs.empty() && options.outputDir.empty())
    printOutputs(outputs);
}

static Session makeSession(const Options &options, const Module &module, bool carryStates,
                           Profile &profile) {
  ssmrt_session_options *settings;
  check(ssmrt_session_options_create(&settings));
  std::unique_ptr<ssmrt_session_options, void (*)(ssmrt_session_options *)> owned(
      settings, ssmrt_session_options_destroy);
  check(ssmrt_session_options_set_threads(settings, options.threads));
  check(ssmrt_session_options_set_carry_states(settings, carryStates));
  check(ssmrt_session_options_set_foreign_states(settings, options.foreignStates));
  if (options.profile || !options.trace.empty())
    check(ssmrt_session_options_set_kernel_hook(settings, Profile::hook, &profile));
  ssmrt_session *session = nullptr;
  check(ssmrt_session_create(module.get(), options.entry.empty() ? nullptr : options.entry.c_str(),
                             settings, &session));
  return {session, ssmrt_session_destroy};
}

/// States among the given tensors begin the session's, unless it has some; the rest are
/// inputs.
static std::vector<HostTensor> takeStates(std::vector<HostTensor> tensors, const char *begun,
                                          const ssmrt_module *module, ssmrt_session *session) {
  int32_t entry = ssmrt_session_entry(session);
  std::set<std::string> states;
  for (int32_t input : stateInputs(module, entry)) {
    ssmrt_value_info info;
    check(ssmrt_module_get_input(module, entry, input, &info));
    states.insert(info.name);
  }
  std::vector<HostTensor> rest;
  for (HostTensor &tensor : tensors) {
    if (!states.count(tensor.name)) {
      rest.push_back(std::move(tensor));
      continue;
    }
    if (begun)
      throw Error("state '" + tensor.name + "' is among the inputs, but " + begun +
                  " gives it already");
    DLTensor view = tensor.view();
    check(ssmrt_session_set_state(session, tensor.name.c_str(), &view));
  }
  return rest;
}

static void printTimes(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  size_t half = times.size() / 2;
  double median = times.size() % 2 ? times[half] : (times[half - 1] + times[half]) / 2;
  std::printf("min %.4f ms, median %.4f ms, max %.4f ms\n", times.front(), median, times.back());
}

using DeviceTensor = std::unique_ptr<ssmrt_device_tensor, void (*)(ssmrt_device_tensor *)>;

/// Copies inputs to the module's device, if it has one, and lets the views show these.
static std::vector<DeviceTensor> keepOnDevice(const Module &module, std::vector<DLTensor> &views) {
  std::vector<DeviceTensor> kept;
  ssmrt_device_info device;
  if (ssmrt_module_get_device(module.get(), &device) != SSMRT_OK)
    return kept;
  for (DLTensor &view : views) {
    ssmrt_device_tensor *tensor = nullptr;
    check(ssmrt_device_tensor_create(module.get(), &view, &tensor));
    kept.emplace_back(tensor, ssmrt_device_tensor_destroy);
    ssmrt_device_tensor_view(tensor, &view);
  }
  return kept;
}

namespace {
/// Inputs of a run.
struct Inputs {
  std::vector<HostTensor> tensors;
  std::vector<DLTensor> views;

  explicit Inputs(std::vector<HostTensor> given) : tensors(std::move(given)) {
    for (const HostTensor &tensor : tensors)
      views.push_back(tensor.view());
  }
  void run(ssmrt_session *session) const {
    std::vector<ssmrt_input> inputs;
    for (size_t i = 0; i < views.size(); ++i)
      inputs.push_back({tensors[i].name.c_str(), &views[i]});
    check(ssmrt_session_run(session, inputs.data(), int32_t(inputs.size()), nullptr, 0));
  }
};
} // namespace

/// Runs that --then gives, and steps back, in their order.
static void runSteps(const Options &options, const Module &module, ssmrt_session *session) {
  for (const std::optional<std::string> &file : options.steps) {
    if (!file) {
      check(ssmrt_session_roll_back(session));
      continue;
    }
    Options step;
    step.inputs = *file;
    Inputs(takeStates(makeInputs(step, module.get(), ssmrt_session_entry(session), true),
                      "the run before", module.get(), session))
        .run(session);
  }
}

void ssmrun::run(const Options &options, const Module &module) {
  bool profiles = options.profile || !options.trace.empty();
  if (profiles)
    Profile::checkTells(module);
  std::vector<std::string> used = {options.inputs};
  for (const std::string &text : options.input)
    used.push_back(text.substr(text.find('=') + 1));
  for (const std::optional<std::string> &file : options.steps)
    used.push_back(file.value_or(""));
  checkWritten(module, used,
               {{"--outputs", options.outputs},
                {"--save-states", options.saveStates},
                {"--trace", options.trace}});
  bool carryStates = options.carryStates || !options.loadStates.empty() ||
                     !options.saveStates.empty() || !options.steps.empty();
  Profile profile;
  Session session = makeSession(options, module, carryStates, profile);
  std::vector<HostTensor> tensors =
      makeInputs(options, module.get(), ssmrt_session_entry(session.get()), carryStates);
  if (!options.loadStates.empty())
    check(ssmrt_session_restore_states_file(session.get(), options.loadStates.c_str()));
  if (carryStates)
    tensors = takeStates(std::move(tensors),
                         options.loadStates.empty() ? nullptr : "--load-states", module.get(),
                         session.get());
  Inputs inputs(std::move(tensors));

  // The first run is not timed. Each timed one begins with the same states, and with
  // inputs that are where the kernels are.
  inputs.run(session.get());
  runSteps(options, module, session.get());
  ssmrt_entry_info info;
  check(ssmrt_module_get_entry(module.get(), ssmrt_session_entry(session.get()), &info));
  std::vector<double> times;
  profile.clear();
  int32_t repeat = options.repeat == 0 && profiles ? 1 : options.repeat;
  std::vector<DeviceTensor> kept;
  if (repeat)
    kept = keepOnDevice(module, inputs.views);
  for (int32_t i = 0; i < repeat; ++i) {
    if (carryStates && info.num_states)
      check(ssmrt_session_roll_back(session.get()));
    auto start = std::chrono::steady_clock::now();
    inputs.run(session.get());
    std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    times.push_back(took.count());
    profile.addRun(took.count() * 1e-3);
  }
  writeOutputs(options, module, session.get());
  if (!options.saveStates.empty())
    check(ssmrt_session_save_states_file(session.get(), options.saveStates.c_str()));
  if (options.repeat)
    printTimes(std::move(times));
  if (!profiles)
    return;
  std::unique_ptr<Roofline> roofline = makeRoofline(module, options.threads);
  if (options.profile)
    profile.print(*roofline, stdout);
  if (!options.trace.empty())
    profile.writeTrace(*roofline, options.trace);
}
