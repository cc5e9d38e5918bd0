//===- LanguageModel.h - An entry that tells the next token -----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_RUN_LANGUAGE_MODEL_H
#define SSM_RUN_LANGUAGE_MODEL_H

#include "Profile.h"
#include "Support.h"

namespace ssmrun {

struct SessionSettings {
  int32_t threads = 0;
  bool foreignStates = false;
  Profile *profile = nullptr; // that is told of kernels
};

/// An entry with one input of ids and an output of logits. Its other inputs are
/// states, which the session carries, or those that exports of decoders usually have,
/// known by their names (see Role).
class LanguageModel {
public:
  /// `entry`: its name, "" for the first.
  LanguageModel(const Module &module, const std::string &entry, const SessionSettings &settings);

  /// Runs ids behind those run before, and returns the logits of the last one.
  std::vector<double> run(const std::vector<int64_t> &ids);
  /// The same for a prompt: one by one where the entry takes no more.
  std::vector<double> runPrompt(const std::vector<int64_t> &ids);

  /// Makes room for `capacity` ids in the states that grow with them, so that steps up
  /// to there allocate nothing. Behind it they grow as they would without.
  void reserve(int64_t capacity);
  /// Goes on from where another entry is.
  void takeStates(const LanguageModel &from);
  void loadStates(const std::string &path);
  void saveStates(const std::string &path) const;
  /// Rows that each run has, all of the same ids.
  int64_t batch() const { return rows; }
  bool hasStates() const { return info.num_states > 0; }

  /// The size of the last axis of the logits, -1 if open.
  int64_t vocabulary() const { return logits.dims[logits.rank - 1].size; }
  /// Ids that one run takes: so many, or -1: any number.
  int64_t length() const { return ids.dims[ids.rank - 1].size; }
  const char *name() const { return info.name; }

private:
  /// What an input is for. n ids come behind p others.
  enum class Role {
    Ids,       // [batch, n] or [n]
    Mask,      // attention_mask [batch, p + n] or [batch, n]: 1; longer ones end with 0
    Positions, // position_ids [batch, n] or cache_position [n]: p, p + 1, ...
    Keep       // num_logits_to_keep, logits_to_keep [] or [1]: 1
  };
  struct Feed {
    ssmrt_value_info info;
    Role role;
  };

  std::string where() const { return "entry '" + std::string(info.name) + "'"; }
  void findInputs(const Module &module);
  void findOutput(const Module &module);
  void makeSession(const Module &module, const SessionSettings &settings);
  /// Gives states whose batch no input tells that of the entry.
  void beginStates();
  /// A mask's length can be that of the ids, not of all that were seen.
  bool isAsLongAsIds(const Feed &mask) const;
  HostTensor fill(const Feed &feed, const std::vector<int64_t> &given) const;

  int32_t number = 0; // of the entry
  ssmrt_entry_info info;
  ssmrt_value_info ids, logits;
  std::vector<Feed> feeds;
  std::vector<ssmrt_state_info> states;
  std::vector<ssmrt_value_info> stateValues; // inputs of `states`
  int32_t output = -1;
  Session session{nullptr, ssmrt_session_destroy};
  int64_t seen = 0; // ids that the states hold
  int64_t rows = 1;
};

} // namespace ssmrun

#endif // SSM_RUN_LANGUAGE_MODEL_H
