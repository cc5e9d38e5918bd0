//===- Describe.cpp - Printing what is in a module ------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One description as JSON; the text for people is written from it.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <iostream>

using namespace ssmrun;
using Json = nlohmann::ordered_json;

static Json describeValue(const ssmrt_value_info &info) {
  Json shape = Json::array();
  for (int32_t axis = 0; axis < info.rank; ++axis) {
    const ssmrt_dim &dim = info.dims[axis];
    if (dim.size >= 0)
      shape.push_back(dim.size);
    else if (dim.symbol)
      shape.push_back(dim.symbol);
    else
      shape.push_back(nullptr);
  }
  return {{"name", info.name}, {"type", typeName(info.type)}, {"shape", shape}};
}

/// A session's memory at sizes given by --dim, the others at a few of their own.
static Json describeMemory(const Options &options, const ssmrt_module *module, int32_t entry,
                          bool strict) {
  Json rows = Json::array();
  for (int64_t size : {1, 16, 128, 1024}) {
    Sizes sizes(options, module, entry, {}, strict);
    bool varies = !sizes.fill(size).empty();
    std::vector<ssmrt_size> list = sizes.view();
    Json row = {{"sizes", Json::object()}};
    for (const auto &[name, value] : sizes.all())
      row["sizes"][name] = value;
    ssmrt_memory memory;
    ssmrt_status status =
        ssmrt_module_plan_memory(module, entry, list.data(), int32_t(list.size()), &memory);
    if (status == SSMRT_OK) {
      row["arena_bytes"] = memory.arena_bytes;
      row["state_bytes"] = memory.state_bytes;
      row["output_bytes"] = memory.output_bytes;
      row["total_bytes"] = memory.total_bytes;
    } else {
      row["error"] = ssmrt_last_message();
    }
    rows.push_back(row);
    if (!varies)
      break;
  }
  return rows;
}

static Json describeEntry(const Options &options, const ssmrt_module *module, int32_t entry,
                          bool strict) {
  ssmrt_entry_info info;
  check(ssmrt_module_get_entry(module, entry, &info));
  Json result = {{"name", info.name},        {"inputs", Json::array()},
                 {"outputs", Json::array()}, {"states", Json::array()},
                 {"kernels", Json::array()}, {"checks", info.num_checks}};
  ssmrt_value_info value;
  for (int32_t i = 0; i < info.num_inputs; ++i) {
    check(ssmrt_module_get_input(module, entry, i, &value));
    result["inputs"].push_back(describeValue(value));
  }
  for (int32_t i = 0; i < info.num_outputs; ++i) {
    check(ssmrt_module_get_output(module, entry, i, &value));
    result["outputs"].push_back(describeValue(value));
  }
  for (int32_t i = 0; i < info.num_states; ++i) {
    ssmrt_state_info state;
    check(ssmrt_module_get_state(module, entry, i, &state));
    Json json = {{"input", state.name},
                 {"output", result["outputs"][size_t(state.output)]["name"]},
                 {"kind", state.kind == SSMRT_STATE_APPEND ? "append" : "fixed"}};
    if (state.kind == SSMRT_STATE_APPEND)
      json["axis"] = state.axis;
    json["in_place"] = state.in_place != 0;
    result["states"].push_back(json);
  }
  for (int32_t i = 0; i < info.num_kernels; ++i) {
    const char *kernel;
    check(ssmrt_module_get_kernel(module, entry, i, &kernel));
    result["kernels"].push_back(kernel);
  }
  result["memory"] = describeMemory(options, module, entry, strict);
  return result;
}

static Json describeModule(const Options &options, const ssmrt_module *module) {
  ssmrt_module_info info;
  check(ssmrt_module_get_info(module, &info));
  Json features = Json::array();
  std::string list = info.features;
  for (size_t at = 0; at < list.size();) {
    size_t end = std::min(list.find(',', at), list.size());
    features.push_back(list.substr(at, end - at));
    at = end + 1;
  }
  Json result = {{"module", info.path},   {"producer", info.producer}, {"options", info.options},
                 {"target", info.target}, {"cpu", info.cpu},           {"features", features},
                 {"device", info.device}, {"device_kernels", Json::array()}};
  for (int32_t i = 0; i < info.num_device_kernels; ++i) {
    ssmrt_device_kernel_info kernel;
    check(ssmrt_module_get_device_kernel(module, i, &kernel));
    result["device_kernels"].push_back({{"name", kernel.name},
                                        {"chip", kernel.chip},
                                        {"registers", kernel.registers},
                                        {"shared_bytes", kernel.shared_bytes},
                                        {"spill_bytes", kernel.spill_bytes}});
  }
  int32_t only = -1;
  if (!options.entry.empty())
    check(ssmrt_module_find_entry(module, options.entry.c_str(), &only));
  result["entries"] = Json::array();
  // Of several entries each takes the sizes it has.
  bool strict = only >= 0 || info.num_entries == 1;
  for (int32_t i = 0; i < info.num_entries; ++i)
    if (only < 0 || only == i)
      result["entries"].push_back(describeEntry(options, module, i, strict));
  Json weights = Json::array();
  for (int32_t i = 0; i < info.num_weights; ++i) {
    ssmrt_weight_info weight;
    check(ssmrt_module_get_weight(module, i, &weight));
    char hash[20];
    std::snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)weight.hash);
    weights.push_back({{"name", weight.name},
                       {"type", typeName(weight.type)},
                       {"shape", std::vector<int64_t>(weight.dims, weight.dims + weight.rank)},
                       {"bytes", weight.bytes},
                       {"hash", hash}});
  }
  result["weight_bytes"] = info.weight_bytes;
  result["weights_file"] = info.weights_path ? Json(info.weights_path) : Json(nullptr);
  result["weights"] = weights;
  return result;
}

static std::string textOf(const Json &shape) {
  std::string text;
  for (const Json &size : shape)
    text += (text.empty() ? "" : ", ") + (size.is_null()     ? "?"
                                          : size.is_string() ? size.get<std::string>()
                                                             : size.dump());
  return "[" + text + "]";
}

static void printValues(const char *title, const Json &values) {
  std::cout << "  " << title << ":\n";
  for (const Json &value : values)
    std::cout << "    " << value["name"].get<std::string>() << ": "
              << value["type"].get<std::string>() << " " << textOf(value["shape"]) << "\n";
}

/// Sizes of inputs that the export fixed, with a hint how not to. The last axis of
/// floats and all but the batch of states are the model's own, as for ssm-compile.
static void printFixed(const Json &entry) {
  std::string fixed;
  for (const Json &input : entry["inputs"]) {
    bool isState = false;
    for (const Json &state : entry["states"])
      isState |= state["input"] == input["name"];
    size_t end = input["shape"].size();
    bool isFloat = input["type"].get<std::string>().find("float") != std::string::npos;
    if (isState)
      end = std::min<size_t>(end, 1);
    else if (isFloat && end > 0)
      --end;
    for (size_t axis = 0; axis < end; ++axis)
      if (input["shape"][axis].is_number())
        fixed += (fixed.empty() ? "" : ", ") + input["name"].get<std::string>() + ":" +
                 std::to_string(axis) + "=" + input["shape"][axis].dump();
  }
  if (!fixed.empty())
    std::cout << "  baked in by the export: " << fixed
              << "\n    (to leave a size open, export with it dynamic: "
                 "dynamic_shapes of torch.onnx.export)\n";
}

static void printEntry(const Json &entry) {
  std::cout << "entry " << entry["name"].get<std::string>() << "\n";
  printValues("inputs", entry["inputs"]);
  printValues("outputs", entry["outputs"]);
  printFixed(entry);
  if (!entry["states"].empty())
    std::cout << "  states:\n";
  for (const Json &state : entry["states"]) {
    std::cout << "    " << state["input"].get<std::string>() << " -> "
              << state["output"].get<std::string>() << ", " << state["kind"].get<std::string>();
    if (state.contains("axis"))
      std::cout << " along axis " << state["axis"];
    if (state["in_place"])
      std::cout << ", in place";
    std::cout << "\n";
  }
  if (!entry["kernels"].empty())
    std::cout << "  kernels:\n";
  for (const Json &kernel : entry["kernels"])
    std::cout << "    " << kernel.get<std::string>() << "\n";
  std::cout << "  run-time checks: " << entry["checks"] << "\n  memory of a session, in bytes:\n";
  for (const Json &row : entry["memory"]) {
    std::string sizes;
    for (const auto &[name, size] : row["sizes"].items())
      sizes += (sizes.empty() ? "" : ", ") + name + "=" + size.dump();
    std::cout << "    " << (sizes.empty() ? "always" : sizes) << ": ";
    if (row.contains("total_bytes"))
      std::cout << row["total_bytes"] << " (arena " << row["arena_bytes"] << ", states "
                << row["state_bytes"] << ", outputs " << row["output_bytes"] << ")\n";
    else
      std::cout << "(" << row["error"].get<std::string>() << ")\n";
  }
}

static void printModule(const Json &module) {
  std::cout << "module " << module["module"].get<std::string>() << "\n"
            << "  producer: " << module["producer"].get<std::string>() << "\n"
            << "  options: " << module["options"].get<std::string>() << "\n"
            << "  target: " << module["target"].get<std::string>() << ", cpu "
            << module["cpu"].get<std::string>() << "\n  device: "
            << module["device"].get<std::string>() << "\n  features: ";
  std::string features;
  for (const Json &feature : module["features"])
    features += (features.empty() ? "" : ",") + feature.get<std::string>();
  std::cout << (features.empty() ? "none" : features) << "\n  weights: " << module["weights"].size()
            << " tensors, " << module["weight_bytes"] << " bytes";
  if (!module["weights_file"].is_null())
    std::cout << ", in " << module["weights_file"].get<std::string>();
  std::cout << "\n";
  for (const Json &weight : module["weights"])
    std::cout << "    " << weight["name"].get<std::string>() << ": "
              << weight["type"].get<std::string>() << " " << textOf(weight["shape"]) << "\n";
  std::string chip;
  for (const Json &kernel : module["device_kernels"]) {
    if (kernel["chip"] != chip) {
      chip = kernel["chip"].get<std::string>();
      std::cout << "  kernels for " << chip << ":\n";
    }
    std::cout << "    " << kernel["name"].get<std::string>() << ": ";
    // Of PTX alone nobody knows.
    if (kernel["registers"] == -1)
      std::cout << "compiled when it is loaded\n";
    else
      std::cout << kernel["registers"] << " registers, " << kernel["shared_bytes"]
                << " bytes shared, " << kernel["spill_bytes"] << " spilled\n";
  }
  for (const Json &entry : module["entries"])
    printEntry(entry);
}

void ssmrun::describe(const Options &options, const ssmrt_module *module) {
  Json description = describeModule(options, module);
  if (options.json)
    std::cout << description.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  else
    printModule(description);
}
