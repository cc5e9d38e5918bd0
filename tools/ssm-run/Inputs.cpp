//===- Inputs.cpp - Where inputs come from --------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <cstring>
#include <fstream>
#include <iostream>
#include <set>

using namespace ssmrun;

static void readSafetensors(const std::string &path, std::vector<HostTensor> &tensors) {
  ssmrt_tensors *file;
  check(ssmrt_tensors_open(path.c_str(), &file));
  std::unique_ptr<ssmrt_tensors, void (*)(ssmrt_tensors *)> owned(file, ssmrt_tensors_destroy);
  for (int32_t i = 0; i < ssmrt_tensors_count(file); ++i) {
    const char *name;
    DLTensor view;
    check(ssmrt_tensors_get(file, i, &name, &view));
    tensors.push_back(copyOf(name, view));
  }
}

static bool isNpy(const std::string &path) {
  char start[6] = {};
  std::ifstream(path, std::ios::binary).read(start, sizeof(start));
  return !std::memcmp(start, "\x93NUMPY", sizeof(start));
}

/// What the command line names.
static std::vector<HostTensor> readInputs(const Options &options, const ssmrt_module *module,
                                          int32_t entry) {
  std::vector<HostTensor> tensors;
  if (!options.inputs.empty() && isNpy(options.inputs)) {
    ssmrt_entry_info info;
    check(ssmrt_module_get_entry(module, entry, &info));
    ssmrt_value_info input;
    if (info.num_inputs != 1)
      throw Error("--inputs '" + options.inputs + "' is a .npy file, but entry '" + info.name +
                  "' has " + std::to_string(info.num_inputs) + " inputs: use --input NAME=FILE");
    check(ssmrt_module_get_input(module, entry, 0, &input));
    tensors.push_back(readNpy(input.name, options.inputs));
  } else if (!options.inputs.empty()) {
    readSafetensors(options.inputs, tensors);
  }
  for (const std::string &text : options.input) {
    // The file's name may hold a '=' too: the input's name decides.
    ssmrt_value_info input;
    ssmrt_entry_info info;
    check(ssmrt_module_get_entry(module, entry, &info));
    std::string name, file;
    for (int32_t i = 0; i < info.num_inputs && file.empty(); ++i) {
      check(ssmrt_module_get_input(module, entry, i, &input));
      size_t length = std::strlen(input.name);
      if (!text.compare(0, length, input.name) && text[length] == '=') {
        name = input.name;
        file = text.substr(length + 1);
      }
    }
    if (file.empty()) {
      int32_t index;
      name = splitPair(text, "--input").first;
      check(ssmrt_module_find_input(module, entry, name.c_str(), &index));
      throw Error("--input '" + text + "': expected NAME=FILE");
    }
    tensors.push_back(readNpy(name, file));
  }
  return tensors;
}

namespace {
/// SplitMix64: the same numbers on every machine.
struct Random {
  uint64_t state;

  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// A multiple of 2^-7 in [-1, 1): exact in every float type.
  double coarse() { return double(int64_t(next() >> 56) - 128) / 128; }
  double uniform() { return double(int64_t(next() >> 11)) / (1ll << 52) - 1; }
  int64_t between(int64_t lo, int64_t hi) {
    uint64_t span = uint64_t(hi) - uint64_t(lo) + 1;
    return int64_t(uint64_t(lo) + (span ? next() % span : next()));
  }
};

struct IntRange {
  int64_t lo = 0, hi = 1;
};
} // namespace

/// Bits of a multiple of 2^-7 in [-1, 1) as float16 or bfloat16.
static uint16_t halfBits(double value, bool brain) {
  auto single = float(value);
  uint32_t bits;
  std::memcpy(&bits, &single, sizeof(bits));
  if (brain || value == 0)
    return uint16_t(bits >> 16);
  uint32_t exponent = (bits >> 23 & 0xff) - 127 + 15;
  return uint16_t((bits >> 16 & 0x8000) | exponent << 10 | (bits >> 13 & 0x3ff));
}

template <typename T> static void put(std::vector<uint8_t> &bytes, size_t index, T value) {
  std::memcpy(&bytes[index * sizeof(T)], &value, sizeof(T));
}

static HostTensor makeRandom(const ssmrt_value_info &info, std::vector<int64_t> shape,
                             Random &random, IntRange range) {
  HostTensor tensor{info.name, info.type, std::move(shape), {}};
  auto count = size_t(countOf(tensor.shape));
  tensor.bytes.resize(count * (info.type.bits / 8));
  for (size_t i = 0; i < count; ++i) {
    bool isFloat = info.type.code == 2 || info.type.code == 4;
    int64_t number = isFloat               ? 0
                     : info.type.code == 6 ? random.between(0, 1)
                                           : random.between(range.lo, range.hi);
    if (isFloat && info.type.bits == 64)
      put(tensor.bytes, i, random.uniform());
    else if (isFloat && info.type.bits == 32)
      put(tensor.bytes, i, float(random.uniform()));
    else if (isFloat)
      put(tensor.bytes, i, halfBits(random.coarse(), info.type.code == 4));
    else if (info.type.bits == 64)
      put(tensor.bytes, i, number);
    else if (info.type.bits == 32)
      put(tensor.bytes, i, int32_t(number));
    else if (info.type.bits == 16)
      put(tensor.bytes, i, int16_t(number));
    else if (info.type.code == 10 || info.type.code == 12)
      // An 8-bit float of at most 1, whose bits these are.
      put(tensor.bytes, i, uint8_t(random.between(0, 1) << 7 |
                                   random.between(0, info.type.code == 10 ? 0x38 : 0x3c)));
    else
      put(tensor.bytes, i, int8_t(number));
  }
  return tensor;
}

/// --int-range, checked against the inputs there are and the types they have.
static std::map<std::string, IntRange> parseRanges(const Options &options,
                                                   const ssmrt_module *module, int32_t entry) {
  std::map<std::string, IntRange> ranges;
  for (const std::string &text : options.intRange) {
    auto [name, value] = splitPair(text, "--int-range");
    int32_t index;
    check(ssmrt_module_find_input(module, entry, name.c_str(), &index));
    ssmrt_value_info info;
    check(ssmrt_module_get_input(module, entry, index, &info));
    size_t colon = value.find(':');
    std::string what = "--int-range '" + text + "'";
    if (colon == std::string::npos)
      throw Error(what + ": expected NAME=LO:HI");
    IntRange range{toInteger(value.substr(0, colon), what),
                   toInteger(value.substr(colon + 1), what)};
    if (info.type.code > 1)
      throw Error(what + ": input '" + name + "' is " + typeName(info.type) + ", not an integer");
    int bits = info.type.bits - (info.type.code == 0);
    int64_t most = bits >= 63 ? INT64_MAX : (int64_t(1) << bits) - 1;
    int64_t least = info.type.code == 0 ? -most - 1 : 0;
    if (range.lo > range.hi || range.lo < least || range.hi > most)
      throw Error(what + ": expected LO <= HI within " + typeName(info.type));
    ranges[name] = range;
  }
  return ranges;
}

static std::vector<HostTensor> randomInputs(const Options &options, const ssmrt_module *module,
                                            int32_t entry, bool carryStates) {
  std::set<int32_t> states;
  if (carryStates)
    states = stateInputs(module, entry);
  Sizes sizes(options, module, entry, states, /*strict=*/true);
  std::map<std::string, IntRange> ranges = parseRanges(options, module, entry);
  ssmrt_entry_info info;
  check(ssmrt_module_get_entry(module, entry, &info));
  for (const std::string &name : sizes.fill(1))
    std::cerr << "note: no --dim " << name << "=SIZE, taking 1\n";
  std::vector<ssmrt_size> list = sizes.view();

  Random random{options.seed};
  std::vector<HostTensor> tensors;
  for (int32_t i = 0; i < info.num_inputs; ++i) {
    if (states.count(i))
      continue;
    ssmrt_value_info input;
    check(ssmrt_module_get_input(module, entry, i, &input));
    std::vector<int64_t> shape(size_t(input.rank));
    check(ssmrt_module_resolve_input(module, entry, i, list.data(), int32_t(list.size()),
                                     shape.data()));
    auto range = ranges.find(input.name);
    tensors.push_back(makeRandom(input, std::move(shape), random,
                                 range == ranges.end() ? IntRange() : range->second));
  }
  return tensors;
}

std::vector<HostTensor> ssmrun::makeInputs(const Options &options, const ssmrt_module *module,
                                           int32_t entry, bool carryStates) {
  if (options.inputs.empty() && options.input.empty())
    return randomInputs(options, module, entry, carryStates);
  if (!options.dim.empty() || !options.intRange.empty())
    throw Error("--dim and --int-range are for random inputs, but inputs are "
                "given");
  return readInputs(options, module, entry);
}
