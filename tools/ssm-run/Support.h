//===- Support.h - What the parts of ssm-run share --------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_RUN_SUPPORT_H
#define SSM_RUN_SUPPORT_H

#include "ssmrt/ssmrt.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace ssmrun {

/// Whatever ends the program; its text is the message.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Throws the runtime's message unless the status is ok.
inline void check(ssmrt_status status) {
  if (status != SSMRT_OK)
    throw Error(ssmrt_last_message());
}

/// The command line.
struct Options {
  std::string module, weights, entry, device;
  std::string inputs, outputs, outputDir;
  std::vector<std::string> input;    // NAME=FILE
  std::vector<std::string> dim;      // NAME=SIZE
  std::vector<std::string> intRange; // NAME=LO:HI
  std::string loadStates, saveStates;
  std::vector<std::optional<std::string>> steps; // files of --then; none: a step back
  uint64_t seed = 0;
  int32_t threads = 0;
  int32_t repeat = 0;
  std::string trace;
  bool profile = false;
  bool carryStates = false, foreignStates = false, describe = false, json = false, verify = false;
};

/// A tensor with memory of its own.
struct HostTensor {
  std::string name;
  DLDataType type;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;

  /// Borrows; valid while this is neither moved nor changed.
  DLTensor view() const;
};

using Module = std::unique_ptr<ssmrt_module, void (*)(ssmrt_module *)>;
using Session = std::unique_ptr<ssmrt_session, void (*)(ssmrt_session *)>;

/// Loads a module; `weights` is the path of its weights file, `device` where it is to
/// run, "" for the usual ones.
Module load(const std::string &path, const std::string &weights, const std::string &device);
/// The same where it is only described: if its device is not here, for none.
Module loadToDescribe(const std::string &path, const std::string &weights,
                      const std::string &device);

/// A file that a flag names to be written.
struct Written {
  const char *flag;
  std::string path; // "" for none
};

/// Throws if a file to be written is one that is used, by whatever name: the module,
/// its weights, or one of `used`; or if two are the same.
void checkWritten(const Module &module, const std::vector<std::string> &used,
                  const std::vector<Written> &files);

/// Writes what is held back for stdout; throws if anything written there is lost.
void flushOutput();

/// "float32", ...
std::string typeName(DLDataType type);

/// Elements of a shape; throws if it is negative or too large.
int64_t countOf(const std::vector<int64_t> &shape);

/// Copies a view.
HostTensor copyOf(const std::string &name, const DLTensor &tensor);

/// "[batch, 4]", "[?]".
std::string shapeText(const ssmrt_value_info &info);

/// NAME=REST, split at the last '=' (names may hold one); `flag` is for the
/// message.
std::pair<std::string, std::string> splitPair(const std::string &text, const char *flag);

/// A whole number; `what` is for the message.
int64_t toInteger(const std::string &text, const std::string &what);

/// Indices of the inputs of an entry that are states.
std::set<int32_t> stateInputs(const ssmrt_module *module, int32_t entry);

/// --dim as the runtime takes it.
class Sizes {
public:
  /// The open sizes of an entry, the inputs in `without` left out. If `strict`,
  /// each --dim must name one of the entry's.
  Sizes(const Options &options, const ssmrt_module *module, int32_t entry,
        const std::set<int32_t> &without, bool strict);
  /// Gives `size` to all open sizes of the entry that have none. Returns their
  /// names.
  std::vector<std::string> fill(int64_t size);
  /// Valid until the next change.
  std::vector<ssmrt_size> view() const;
  const std::map<std::string, int64_t> &all() const { return sizes; }

private:
  std::vector<std::string> open; // symbols, and "INPUT:AXIS" without one
  std::map<std::string, int64_t> sizes;
};

/// All inputs that the command line names, or random ones.
std::vector<HostTensor> makeInputs(const Options &options, const ssmrt_module *module,
                                   int32_t entry, bool carryStates);

/// Reads a .npy file.
HostTensor readNpy(const std::string &name, const std::string &path);
/// The bytes of a .npy file.
std::string npyBytes(const DLTensor &tensor);

/// Prints what is in a module.
void describe(const Options &options, const ssmrt_module *module);

/// Runs the module as the command line says.
void run(const Options &options, const Module &module);

} // namespace ssmrun

#endif // SSM_RUN_SUPPORT_H
