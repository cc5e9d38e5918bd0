//===- States.h - Recurrent states of a model -------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An input and an output are a state if their names say so, their element types
// and ranks are equal, and their sizes are equal (a fixed state) or differ along
// one axis only, where a size is told by the run (a state that grows, such as a
// key-value cache). Names, X being any text:
//
//   past_key_values.X     present.X, also for past_states.X
//   ...past...            the same with `present` for `past`
//   input.X               output.X, with or without that replacement, where X has
//                         one of the words past, cache, state
//   X with `state` in it  new_X, next_X
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_COMPILER_STATES_H
#define SSM_LIB_COMPILER_STATES_H

#include "lib/Compiler/Diagnostics.h"
#include "mlir/IR/BuiltinOps.h"

namespace ssm {

/// Names that the output of a state may have, by the name of its input, best first.
std::vector<std::string> getStateOutputNames(llvm::StringRef input);

/// Sets the attribute `onnx.states` of each graph function: an array of {input,
/// output, kind, axis} as ssm_state_info has them. `pairs` come before names.
/// Error: a pair that fits no entry, or that cannot be a state.
mlir::LogicalResult assignStates(mlir::ModuleOp module, const std::vector<StatePair> &pairs);

} // namespace ssm

#endif // SSM_LIB_COMPILER_STATES_H
