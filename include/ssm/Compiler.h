//===- Compiler.h - The compiler as a library -------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Needs no header of MLIR or LLVM. Keeps no state between calls but the plugins that
// were loaded; several threads may compile at once.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_COMPILER_H
#define SSM_COMPILER_H

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mlir {
class DialectRegistry;
}

namespace ssm {

struct EntryFile {
  std::string name; // letters, digits, '_', '-'
  std::string path; // of an ONNX file
};

/// An input and the output that replaces it in the next call.
struct StatePair {
  std::string input, output;
};

/// A pass, or a registered pipeline, at the end of a stage.
struct AddedPass {
  std::string stage;
  std::string pass; // "name" or "name{option=value ...}"
};

struct CompileOptions {
  /// The models, one for each entry of the module. Equal weights are stored once.
  std::vector<EntryFile> entries;
  /// Where the result goes; "-" is stdout (only for a stage that is text). The
  /// weights of OUT.so go to OUT.weights.safetensors beside it.
  std::string output;
  /// Empty: a module. Else the stage to stop after and print (see getStageNames),
  /// or "llvm", "asm", "obj", "ptx"; or "static": a module as an object, with a header, for
  /// programs that are linked with libssmrt.a.
  std::string emit;
  bool emitsModule() const { return emit.empty() || emit == "static"; }
  /// "cpu", this machine's architecture, or "cpu:TRIPLE": x86_64-linux-gnu or
  /// aarch64-linux-gnu; "cuda:CHIP", an NVIDIA GPU ("cuda:sm_90a"). Several with ',' between
  /// give a module with code for each, of which one is picked when it is loaded.
  std::string target = "cpu";
  /// "native", "v2" to "v4", "x86-64-v2" to "x86-64-v4", or LLVM's names of CPUs. Several
  /// give a module with code for each, of which the best is picked when it is loaded.
  /// None: native, or for another architecture what all of its processors run.
  std::vector<std::string> cpus;
  /// 0 skips the stages that raise, fuse and tile.
  int optLevel = 3;
  /// The last stage that runs at that level, the ones after it and LLVM at 0; empty:
  /// all do. To find the stage that goes wrong.
  std::string optimizeThrough;
  /// Beside the pairs that names tell.
  std::vector<StatePair> states;
  bool embedWeights = false;
  /// Calls of kernels tell the runtime when they begin and end (ssm-run --profile).
  bool profile = false;
  /// Shared objects with passes of others (mlir::PassPlugin).
  std::vector<std::string> passPlugins;
  /// Passes that run at the end of a stage of the model, at every level (not of what is computed from
  /// its weights at compile time), in order.
  std::vector<AddedPass> addedPasses;
  /// Verifies after each pass, not only after each stage.
  bool verifyEach = false;
  /// Writes what every stage gives to OUT.<stage>.mlir, OUT.ll.
  bool saveTemps = false;
  /// Where a pass that fails or crashes leaves a file for ssm-opt --run-reproducer;
  /// empty: nowhere. Signals of crashes then have handlers while passes run. A success removes
  /// OUTPUT.repro.mlir and its like.
  std::string reproducer;
  /// A regular expression of the categories whose remarks are wanted; empty: none.
  std::string remarks;
  /// A path, or a name to find on PATH; empty: ld.lld where it is usually found.
  std::string linker;
  /// NVIDIA's assembler, a path or a name to find on PATH; empty: where it is usually found.
  std::string ptxas;
  /// Bytes that a thread of a GPU's kernel may spill at most; -1: any number.
  int64_t spillBudget = -1;
  /// How a GPU computes products of f32 matrices: by multiply-adds ("ieee"), or on tensor cores
  /// with factors cut off to tf32 ("tf32") or split into two such numbers ("tf32x3").
  std::string f32Products = "ieee";
  /// Where external data lies, if not beside the model.
  std::string weightsDir;
  /// Bytes that the weights of a model may have at most; 0: the reader's limit.
  uint64_t maxWeightBytes = 0;
};

enum class Severity { Error, Warning, Remark };

/// Gets one error at most, and that last of all: after it nothing was written but a
/// reproducer, which the error names.
using MessageHandler = std::function<void(Severity, const std::string &)>;

struct StepTime {
  std::string name;
  double seconds;
};

/// Compiles. False after an error. `times`, if given, gets the time of each step.
bool compile(const CompileOptions &options, const MessageHandler &handler,
             std::vector<StepTime> *times = nullptr);

/// Looks at the models without compiling: fills `report` with signature, states,
/// sizes that are baked in, weights, unsupported operators. False, after an error,
/// if they could not be compiled.
bool check(const CompileOptions &options, const MessageHandler &handler, std::string &report);

/// The values of CompileOptions::emit, in order.
std::vector<std::string> getStageNames();

/// Registers the dialects that the stages' modules consist of.
void registerDialects(mlir::DialectRegistry &registry);

} // namespace ssm

#endif // SSM_COMPILER_H
