//===- LanguageModel.cpp - An entry that tells the next token -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LanguageModel.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>

using namespace ssmrun;

LanguageModel::LanguageModel(const Module &module, const std::string &entry,
                             const SessionSettings &settings) {
  if (!entry.empty())
    check(ssmrt_module_find_entry(module.get(), entry.c_str(), &number));
  check(ssmrt_module_get_entry(module.get(), number, &info));
  for (int32_t i = 0; i < info.num_states; ++i) {
    states.emplace_back();
    stateValues.emplace_back();
    check(ssmrt_module_get_state(module.get(), number, i, &states.back()));
    check(ssmrt_module_get_input(module.get(), number, states.back().input, &stateValues.back()));
  }
  findInputs(module);
  findOutput(module);
  makeSession(module, settings);
}

static bool haveOneSymbol(const ssmrt_dim &a, const ssmrt_dim &b) {
  return a.symbol && b.symbol && !std::strcmp(a.symbol, b.symbol);
}

bool LanguageModel::isAsLongAsIds(const Feed &mask) const {
  return haveOneSymbol(mask.info.dims[1], ids.dims[ids.rank - 1]);
}

/// Whether numbers can be written as it; see fill().
static bool isWritable(DLDataType type) {
  return (type.code == kDLInt && (type.bits == 64 || type.bits == 32)) ||
         (type.code == kDLFloat && type.bits == 32) || type.code == kDLBool;
}

void LanguageModel::findInputs(const Module &module) {
  std::set<int32_t> carried = stateInputs(module.get(), number);
  std::string others;
  int32_t found = 0;
  for (int32_t i = 0; i < info.num_inputs; ++i) {
    if (carried.count(i))
      continue;
    ssmrt_value_info value;
    check(ssmrt_module_get_input(module.get(), number, i, &value));
    std::string name = value.name;
    bool isInteger = value.type.code == kDLInt && isWritable(value.type);
    bool isRow = value.rank == 1 || value.rank == 2;
    std::optional<Role> role;
    if (name == "attention_mask" && value.rank == 2 && isWritable(value.type))
      role = Role::Mask;
    else if ((name == "position_ids" || name == "cache_position") && isRow && isInteger)
      role = Role::Positions;
    else if ((name == "num_logits_to_keep" || name == "logits_to_keep") && value.rank <= 1 &&
             isInteger)
      role = Role::Keep;
    else if (isRow && isInteger)
      role = Role::Ids;
    found += role == Role::Ids;
    if (role == Role::Ids)
      ids = value;
    // One that is not known counts as a second one of ids.
    found += role ? 0 : 2;
    others +=
        (others.empty() ? "" : ", ") + name + ": " + typeName(value.type) + " " + shapeText(value);
    if (role)
      feeds.push_back({value, *role});
  }
  if (found != 1)
    throw Error(where() + " takes " + (others.empty() ? "nothing" : others) +
                " beside its states, expected ids alone: int64 or int32 [batch, length] or "
                "[length], or with them attention_mask, position_ids, cache_position, "
                "num_logits_to_keep");
  for (const Feed &feed : feeds)
    if (feed.info.rank == 2)
      rows = std::max(rows, feed.info.dims[0].size);
}

void LanguageModel::findOutput(const Module &module) {
  std::set<int32_t> carried;
  for (const ssmrt_state_info &state : states)
    carried.insert(state.output);
  int32_t found = 0;
  for (int32_t i = 0; i < info.num_outputs; ++i) {
    ssmrt_value_info value;
    check(ssmrt_module_get_output(module.get(), number, i, &value));
    bool isFloat = value.type.code == kDLFloat || value.type.code == kDLBfloat;
    if (carried.count(i) || !isFloat || value.rank < 1 || value.rank > 3)
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
    throw Error(where() + " has " + std::to_string(found) +
                " outputs that may be logits, expected one, or one of the name 'logits'");
}

void LanguageModel::makeSession(const Module &module, const SessionSettings &given) {
  ssmrt_session_options *settings;
  check(ssmrt_session_options_create(&settings));
  std::unique_ptr<ssmrt_session_options, void (*)(ssmrt_session_options *)> owned(
      settings, ssmrt_session_options_destroy);
  check(ssmrt_session_options_set_threads(settings, given.threads));
  check(ssmrt_session_options_set_carry_states(settings, hasStates()));
  check(ssmrt_session_options_set_foreign_states(settings, given.foreignStates));
  if (given.profile)
    check(ssmrt_session_options_set_kernel_hook(settings, Profile::hook, given.profile));
  ssmrt_session *made;
  check(ssmrt_session_create(module.get(), info.name, settings, &made));
  session.reset(made);
  beginStates();
}

void LanguageModel::beginStates() {
  for (size_t i = 0; i < states.size(); ++i) {
    const ssmrt_value_info &value = stateValues[i];
    bool grows = states[i].kind == SSMRT_STATE_APPEND;
    if (value.rank == 0 || value.dims[0].size >= 0 || (grows && states[i].axis == 0))
      continue;
    bool isTold = std::any_of(feeds.begin(), feeds.end(), [&](const Feed &feed) {
      return feed.info.rank > 0 && haveOneSymbol(feed.info.dims[0], value.dims[0]);
    });
    HostTensor zeros{value.name, value.type, {}, {}};
    bool isOpen = false;
    for (int32_t axis = 0; axis < value.rank; ++axis) {
      int64_t size = value.dims[axis].size;
      if (axis == 0)
        size = rows;
      else if (grows && axis == states[i].axis)
        size = 0;
      isOpen |= size < 0;
      zeros.shape.push_back(size);
    }
    if (isTold || isOpen)
      continue; // the runtime begins it, or says what is not known
    zeros.bytes.resize(size_t(countOf(zeros.shape)) * (value.type.bits / 8));
    DLTensor view = zeros.view();
    check(ssmrt_session_set_state(session.get(), value.name, &view));
  }
}

void LanguageModel::reserve(int64_t capacity) {
  int64_t steps = std::max<int64_t>(length(), 1), past = std::max<int64_t>(capacity - steps, 0);
  std::vector<std::string> names;
  std::vector<int64_t> values;
  auto add = [&](const ssmrt_value_info &value, int32_t axis, int64_t size) {
    if (value.dims[axis].size >= 0)
      return;
    names.push_back(value.name + (":" + std::to_string(axis)));
    values.push_back(size);
  };
  for (const Feed &feed : feeds)
    for (int32_t axis = 0; axis < feed.info.rank; ++axis) {
      bool isBatch = axis + 1 < feed.info.rank || feed.role == Role::Keep;
      bool isTotal = feed.role == Role::Mask && !isAsLongAsIds(feed);
      add(feed.info, axis, isBatch ? rows : isTotal ? past + steps : steps);
    }
  for (size_t i = 0; i < states.size(); ++i)
    for (int32_t axis = 0; axis < stateValues[i].rank; ++axis) {
      bool grows = states[i].kind == SSMRT_STATE_APPEND && axis == states[i].axis;
      add(stateValues[i], axis, grows ? past : rows);
    }
  std::vector<ssmrt_size> sizes;
  for (size_t i = 0; i < names.size(); ++i)
    sizes.push_back({names[i].c_str(), values[i]});
  check(ssmrt_session_reserve(session.get(), sizes.data(), int32_t(sizes.size())));
}

void LanguageModel::takeStates(const LanguageModel &from) {
  check(ssmrt_session_copy_states(session.get(), from.session.get()));
  seen = from.seen;
}

void LanguageModel::loadStates(const std::string &path) {
  check(ssmrt_session_restore_states_file(session.get(), path.c_str()));
  for (size_t i = 0; i < states.size(); ++i)
    if (states[i].kind == SSMRT_STATE_APPEND) {
      DLTensor value;
      check(ssmrt_session_get_state(session.get(), states[i].name, &value));
      seen = value.shape[states[i].axis];
      return;
    }
  for (const Feed &feed : feeds)
    if (feed.role == Role::Positions || (feed.role == Role::Mask && !isAsLongAsIds(feed)))
      throw Error("input '" + std::string(feed.info.name) + "' of " + where() +
                  " needs the number of ids before, which the states of '" + path +
                  "' do not tell: none grows with them");
}

void LanguageModel::saveStates(const std::string &path) const {
  check(ssmrt_session_save_states_file(session.get(), path.c_str()));
}

HostTensor LanguageModel::fill(const Feed &feed, const std::vector<int64_t> &given) const {
  const ssmrt_value_info &value = feed.info;
  std::vector<int64_t> numbers = given;
  if (feed.role == Role::Positions) {
    std::iota(numbers.begin(), numbers.end(), seen);
  } else if (feed.role == Role::Keep) {
    numbers.assign(1, 1);
  } else if (feed.role == Role::Mask) {
    int64_t room = value.dims[1].size;
    int64_t total = int64_t(given.size()) + (isAsLongAsIds(feed) ? 0 : seen);
    if (room >= 0 && room < total)
      throw Error("input '" + std::string(value.name) + "' of " + where() + " has room for " +
                  std::to_string(room) + " ids, this would be the " + std::to_string(total) + "th");
    numbers.assign(size_t(total), 1);
    numbers.resize(size_t(std::max(room, total)), 0);
  }
  HostTensor tensor{value.name, value.type, {}, {}};
  int64_t times = 1;
  if (value.rank == 2)
    tensor.shape.push_back(times = value.dims[0].size >= 0 ? value.dims[0].size : rows);
  if (value.rank >= 1)
    tensor.shape.push_back(int64_t(numbers.size()));
  size_t length = numbers.size();
  for (int64_t row = 1; row < times; ++row)
    for (size_t i = 0; i < length; ++i)
      numbers.push_back(numbers[i]);
  auto write = [&](auto type) {
    for (int64_t number : numbers) {
      auto converted = static_cast<decltype(type)>(number);
      auto *bytes = reinterpret_cast<const uint8_t *>(&converted);
      tensor.bytes.insert(tensor.bytes.end(), bytes, bytes + sizeof converted);
    }
  };
  if (value.type.code == kDLBool)
    write(uint8_t());
  else if (value.type.code == kDLFloat)
    write(float());
  else if (value.type.bits == 32)
    write(int32_t());
  else
    write(int64_t());
  return tensor;
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

std::vector<double> LanguageModel::runPrompt(const std::vector<int64_t> &given) {
  if (!hasStates() || length() != 1 || given.size() == 1)
    return run(given);
  std::vector<double> last;
  for (int64_t id : given)
    last = run({id});
  return last;
}

std::vector<double> LanguageModel::run(const std::vector<int64_t> &given) {
  if (length() >= 0 && length() != int64_t(given.size()))
    throw Error(where() + " takes " + std::to_string(length()) + " ids at once, got " +
                std::to_string(given.size()));
  std::vector<HostTensor> tensors;
  std::vector<DLTensor> views;
  std::vector<ssmrt_input> inputs;
  for (const Feed &feed : feeds)
    tensors.push_back(fill(feed, given));
  for (const HostTensor &tensor : tensors)
    views.push_back(tensor.view());
  for (size_t i = 0; i < views.size(); ++i)
    inputs.push_back({tensors[i].name.c_str(), &views[i]});
  check(ssmrt_session_run(session.get(), inputs.data(), int32_t(inputs.size()), nullptr, 0));
  if (hasStates())
    seen += int64_t(given.size());
  DLTensor result;
  check(ssmrt_session_get_output(session.get(), output, &result));
  int64_t total = 1, size = result.ndim ? result.shape[result.ndim - 1] : 0;
  for (int32_t axis = 0; axis < result.ndim; ++axis)
    total *= result.shape[axis];
  if (total < size || size == 0)
    throw Error("output '" + std::string(logits.name) + "' of " + where() + " is empty");
  // The last ones of the first row.
  if (ids.rank == 2 && result.ndim > 1 && result.shape[0] > 0)
    total /= result.shape[0];
  std::vector<double> last;
  last.reserve(size_t(size));
  for (int64_t i = total - size; i < total; ++i)
    last.push_back(floatOf(result, i));
  return last;
}
