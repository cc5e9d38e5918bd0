//===- Run.cpp - One run of a session -------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bind everything the call brings and check it; plan; compute; and only then,
// if all went well, let the new states take the place of the old ones.
//
//===----------------------------------------------------------------------===//

#include "Session.h"

#include <cstdio>

using namespace ssmrt;

/// Tells the size of one input dim; those of one symbol must be equal.
ssmrt_status ssmrt_session::bindDim(int32_t input, int32_t axis, int64_t size) {
  int32_t symbol = layout->symbols[size_t(layout->inputOffset[size_t(input)] + axis)];
  if (symbol < 0)
    return SSMRT_OK;
  size_t s = size_t(symbol);
  if (symbolSize[s] < 0) {
    symbolSize[s] = size;
    symbolInput[s] = input;
    symbolAxis[s] = axis;
    return SSMRT_OK;
  }
  if (symbolSize[s] == size)
    return SSMRT_OK;
  return fail(SSMRT_INVALID_ARGUMENT,
              "input '%s': dimension %d is %lld, but '%s' is %lld in dimension "
              "%d of input '%s'",
              entry->inputs[input].name, axis, (long long)size,
              entry->inputs[input].dims[axis].name, (long long)symbolSize[s], symbolAxis[s],
              entry->inputs[symbolInput[s]].name);
}

ssmrt_status ssmrt_session::bindInput(int32_t index, const DLTensor &tensor) {
  const ssm_value_info &info = entry->inputs[index];
  ssm_arg &arg = args[size_t(index)];
  if (inputState[size_t(index)] >= 0)
    return fail(SSMRT_INVALID_ARGUMENT,
                "input '%s' is a state that the session carries: set the state "
                "instead",
                info.name);
  if (arg.data)
    return fail(SSMRT_INVALID_ARGUMENT, "input '%s' is given twice", info.name);
  SSMRT_TRY(checkTensor("input", info, tensor, &arg.data, &argBytes[size_t(index)]));
  arg.dims = tensor.shape;
  for (int32_t axis = 0; axis < info.rank; ++axis)
    SSMRT_TRY(bindDim(index, axis, tensor.shape[axis]));
  return SSMRT_OK;
}

ssmrt_status ssmrt_session::bindInputs(const ssmrt_input *given, int32_t count) {
  if (count < 0 || (count && !given))
    return fail(SSMRT_INVALID_ARGUMENT, "inputs are missing");
  for (ssm_arg &arg : args)
    arg = {nullptr, nullptr};
  for (int64_t &size : symbolSize)
    size = -1;
  int32_t hint = 0;
  for (int32_t i = 0; i < count; ++i) {
    int32_t index = i;
    if (given[i].name)
      index = findValue(entry->inputs, entry->num_inputs, given[i].name,
                        hint < entry->num_inputs ? hint : 0);
    if (index < 0) // its message lists the inputs there are
      return ssmrt_module_find_input(module, entryIndex, given[i].name, &index);
    if (index >= entry->num_inputs)
      return fail(SSMRT_INVALID_ARGUMENT, "%d inputs are given, entry '%s' has %d", count,
                  entry->name, entry->num_inputs);
    if (!given[i].tensor)
      return fail(SSMRT_INVALID_ARGUMENT, "input '%s': tensor is NULL", entry->inputs[index].name);
    SSMRT_TRY(bindInput(index, *given[i].tensor));
    hint = index + 1;
  }
  for (int32_t i = 0; i < entry->num_inputs; ++i)
    if (!args[size_t(i)].data && inputState[size_t(i)] < 0)
      return fail(SSMRT_INVALID_ARGUMENT, "input '%s' %s is missing", entry->inputs[i].name,
                  textOf(entry->inputs[i]).text);
  return SSMRT_OK;
}

/// Gives a state that has no value its zeros, as large as the call's other
/// inputs demand.
ssmrt_status ssmrt_session::startState(int32_t index) {
  const ssm_state_info &info = entry->states[index];
  const ssm_value_info &input = entry->inputs[info.input];
  StateValue &value = states[size_t(index)].now();
  int32_t flat = layout->inputOffset[size_t(info.input)];
  for (int32_t axis = 0; axis < input.rank; ++axis) {
    int64_t size = input.dims[axis].value;
    int32_t symbol = layout->symbols[size_t(flat + axis)];
    if (size < 0 && info.kind == SSM_STATE_APPEND && axis == info.axis)
      size = 0;
    if (size < 0 && symbol >= 0)
      size = symbolSize[size_t(symbol)];
    if (size < 0)
      return fail(SSMRT_INVALID_ARGUMENT,
                  "state '%s' %s has no value yet, and the size of its "
                  "dimension %d does not follow from the inputs: set the state",
                  input.name, textOf(input).text, axis);
    value.dims[axis] = size;
  }
  int64_t bytes;
  if (!byteSize(value.dims, input.rank, findType(input.type)->bytes, &bytes))
    return fail(SSMRT_INVALID_ARGUMENT, "state '%s': shape %s is too large", input.name,
                textOf(value.dims, input.rank).text);
  if (!value.block.ensure(allocator, size_t(bytes)))
    return outOfMemory(input.name, bytes);
  std::memset(value.block.data(), 0, size_t(bytes));
  return SSMRT_OK;
}

ssmrt_status ssmrt_session::bindStates() {
  // Those that have a value first: they tell sizes that the others follow.
  for (int pass = 0; pass < 2; ++pass)
    for (int32_t i = 0; i < numCarried(); ++i) {
      StateValue &value = states[size_t(i)].now();
      if (value.set != (pass == 0))
        continue;
      if (!value.set)
        SSMRT_TRY(startState(i));
      int32_t index = entry->states[i].input;
      const ssm_value_info &info = entry->inputs[index];
      for (int32_t axis = 0; axis < info.rank; ++axis)
        SSMRT_TRY(bindDim(index, axis, value.dims[axis]));
      args[size_t(index)] = {value.block.data(), value.dims};
    }
  return SSMRT_OK;
}

static bool overlap(const void *a, int64_t aBytes, const void *b, int64_t bBytes) {
  auto first = reinterpret_cast<uintptr_t>(a);
  auto second = reinterpret_cast<uintptr_t>(b);
  return first < second + uintptr_t(bBytes) && second < first + uintptr_t(aBytes);
}

ssmrt_status ssmrt_session::bindOutputs(const ssmrt_buffer *buffers, int32_t count) {
  if (count < 0 || (count && !buffers))
    return fail(SSMRT_INVALID_ARGUMENT, "output buffers are missing");
  for (Output &output : outputs) {
    output.buffer = nullptr;
    output.data = nullptr;
    output.bytes = 0;
    output.written = false;
  }
  int32_t hint = 0;
  for (int32_t i = 0; i < count; ++i) {
    int32_t index = i;
    if (buffers[i].name)
      index = findValue(entry->outputs, entry->num_outputs, buffers[i].name,
                        hint < entry->num_outputs ? hint : 0);
    if (index < 0)
      return ssmrt_module_find_output(module, entryIndex, buffers[i].name, &index);
    if (index >= entry->num_outputs)
      return fail(SSMRT_INVALID_ARGUMENT, "%d output buffers are given, entry '%s' has %d outputs",
                  count, entry->name, entry->num_outputs);
    const ssm_value_info &info = entry->outputs[index];
    if (outputState[size_t(index)] >= 0)
      return fail(SSMRT_INVALID_ARGUMENT,
                  "output '%s' is a state that the session carries, it takes "
                  "no buffer",
                  info.name);
    if (outputs[size_t(index)].buffer)
      return fail(SSMRT_INVALID_ARGUMENT, "output '%s' has two buffers", info.name);
    if (buffers[i].bytes && !buffers[i].data)
      return fail(SSMRT_INVALID_ARGUMENT, "output '%s': buffer is NULL", info.name);
    int32_t unit = findType(info.type)->bytes;
    if (reinterpret_cast<uintptr_t>(buffers[i].data) % uintptr_t(unit))
      return fail(SSMRT_INVALID_ARGUMENT,
                  "output '%s': buffer is not aligned to the %d bytes of %s", info.name, unit,
                  findType(info.type)->name);
    outputs[size_t(index)].buffer = &buffers[i];
    hint = index + 1;
  }
  return SSMRT_OK;
}

/// The input or output that lies where this output has been put, or NULL.
const char *ssmrt_session::findOverlap(int32_t index) const {
  const Output &output = outputs[size_t(index)];
  if (output.bytes == 0)
    return nullptr;
  for (size_t i = 0; i < args.size(); ++i)
    if (inputState[i] < 0 && overlap(output.data, output.bytes, args[i].data, argBytes[i]))
      return entry->inputs[i].name;
  for (size_t i = 0; i < outputs.size(); ++i)
    if (int32_t(i) != index &&
        overlap(output.data, output.bytes, outputs[i].data, outputs[i].bytes))
      return entry->outputs[i].name;
  return nullptr;
}

/// Sets the context's message; the run then fails with it.
#define SSMRT_REFUSE(code, ...)                                                                    \
  do {                                                                                             \
    Lock lock(context.mutex);                                                                      \
    if (!context.reported) {                                                                       \
      context.reported = true;                                                                     \
      context.status = code;                                                                       \
      std::snprintf(context.message, sizeof(context.message), __VA_ARGS__);                        \
    }                                                                                              \
    return nullptr;                                                                                \
  } while (0)

void *ssmrt_session::output(int32_t index, const int64_t *shape) {
  if (index < 0 || index >= entry->num_outputs)
    SSMRT_REFUSE(SSMRT_INTERNAL, "entry '%s' wrote output %d, it has %d", entry->name, index,
                 entry->num_outputs);
  const ssm_value_info &info = entry->outputs[index];
  Output &output = outputs[size_t(index)];
  if (output.written)
    SSMRT_REFUSE(SSMRT_INTERNAL, "entry '%s' wrote output '%s' twice", entry->name, info.name);
  for (int32_t axis = 0; axis < info.rank; ++axis)
    if (info.dims[axis].value >= 0 && info.dims[axis].value != shape[axis])
      SSMRT_REFUSE(SSMRT_INTERNAL, "output '%s': dimension %d is %lld, the signature says %lld",
                   info.name, axis, (long long)shape[axis], (long long)info.dims[axis].value);
  int64_t bytes;
  if (!byteSize(shape, info.rank, findType(info.type)->bytes, &bytes))
    SSMRT_REFUSE(SSMRT_CHECK_FAILED, "output '%s': shape %s cannot be", info.name,
                 textOf(shape, info.rank).text);
  if (info.rank)
    std::memcpy(outputDims(index), shape, size_t(info.rank) * sizeof(int64_t));
  output.written = true;

  if (int32_t state = outputState[size_t(index)]; state >= 0) {
    StateValue &value = states[size_t(state)].other();
    // It will be the input of the next run.
    const ssm_value_info &input = stateInput(state);
    for (int32_t axis = 0; axis < input.rank; ++axis)
      if (input.dims[axis].value >= 0 && input.dims[axis].value != shape[axis])
        SSMRT_REFUSE(SSMRT_CHECK_FAILED,
                     "output '%s': dimension %d is %lld, but state '%s' takes "
                     "%lld there",
                     info.name, axis, (long long)shape[axis], input.name,
                     (long long)input.dims[axis].value);
    if (!value.block.ensure(allocator, size_t(bytes)))
      SSMRT_REFUSE(SSMRT_OUT_OF_MEMORY, "out of memory: %lld bytes for output '%s'",
                   (long long)bytes, info.name);
    std::memcpy(value.dims, outputDims(index), size_t(info.rank) * sizeof(int64_t));
    return output.data = value.block.data();
  }
  if (const ssmrt_buffer *buffer = output.buffer) {
    if (uint64_t(bytes) > buffer->bytes)
      SSMRT_REFUSE(SSMRT_OUTPUT_REFUSED,
                   "output '%s' of shape %s takes %lld bytes, its buffer has "
                   "%llu",
                   info.name, textOf(shape, info.rank).text, (long long)bytes,
                   (unsigned long long)buffer->bytes);
    output.data = bytes ? buffer->data : emptyData();
  } else if (outputFn) {
    output.data = outputFn(outputUser, index, shape, info.rank, size_t(bytes));
    if (!output.data)
      SSMRT_REFUSE(SSMRT_OUTPUT_REFUSED, "the allocator refused %lld bytes for output '%s'",
                   (long long)bytes, info.name);
    if (reinterpret_cast<uintptr_t>(output.data) % uintptr_t(findType(info.type)->bytes))
      SSMRT_REFUSE(SSMRT_INVALID_ARGUMENT,
                   "the allocator's memory for output '%s' is not aligned for "
                   "%s",
                   info.name, findType(info.type)->name);
  }
  if (output.data) {
    output.bytes = bytes;
    if (const char *other = findOverlap(index))
      SSMRT_REFUSE(SSMRT_INVALID_ARGUMENT, "the memory of output '%s' overlaps that of '%s'",
                   info.name, other);
    return output.data;
  }
  if (!output.block.ensure(allocator, size_t(bytes)))
    SSMRT_REFUSE(SSMRT_OUT_OF_MEMORY, "out of memory: %lld bytes for output '%s'", (long long)bytes,
                 info.name);
  return output.data = output.block.data();
}

ssmrt_status ssmrt_session::execute() {
  int64_t arenaBytes;
  SSMRT_TRY(planEntry(context, args.data(), &arenaBytes, planned.data()));
  if (!arena.ensure(allocator, size_t(arenaBytes)))
    return outOfMemory("the arena", arenaBytes);
  // From here on a run may write over the previous states.
  canRollBack = false;
  int32_t returned = entry->run(&callTable, &context, args.data(), arena.data(), module->weights);
  segment.reset(allocator);
  SSMRT_TRY(statusOf(context, returned, "run"));
  for (int32_t i = 0; i < entry->num_outputs; ++i)
    if (!outputs[size_t(i)].written)
      return fail(SSMRT_INTERNAL, "entry '%s' did not write output '%s'", entry->name,
                  entry->outputs[i].name);
  return SSMRT_OK;
}

ssmrt_status ssmrt_session::run(const ssmrt_input *given, int32_t numGiven,
                                const ssmrt_buffer *buffers, int32_t numBuffers) {
  outputsValid = false;
  SSMRT_TRY(bindInputs(given, numGiven));
  SSMRT_TRY(bindStates());
  SSMRT_TRY(bindOutputs(buffers, numBuffers));
  SSMRT_TRY(execute());
  for (State &state : states) {
    state.other().set = true;
    state.current = 1 - state.current;
  }
  canRollBack = numCarried() > 0;
  outputsValid = true;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session::viewOutput(int32_t index, DLTensor *tensor) const {
  if (!outputsValid)
    return fail(SSMRT_INVALID_ARGUMENT,
                "there are no outputs: the session has not run since it was "
                "made, changed, or failed");
  const ssm_value_info &info = entry->outputs[index];
  *tensor = viewOf(*findType(info.type), outputs[size_t(index)].data,
                   dims.data() + layout->outputOffset[size_t(index)], info.rank);
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_run(ssmrt_session *session, const ssmrt_input *inputs, int32_t numInputs,
                               const ssmrt_buffer *outputs, int32_t numOutputs) {
  if (!session)
    return fail(SSMRT_INVALID_ARGUMENT, "session is NULL");
  InCall call(session);
  SSMRT_TRY(call.status());
  return session->run(inputs, numInputs, outputs, numOutputs);
}

ssmrt_status ssmrt_session_get_output(const ssmrt_session *session, int32_t index,
                                      DLTensor *tensor) {
  if (!session || !tensor)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", session ? "tensor" : "session");
  InCall call(session);
  SSMRT_TRY(call.status());
  if (index < 0 || index >= session->entry->num_outputs)
    return fail(SSMRT_INVALID_ARGUMENT, "there is no output %d, there are %d", index,
                session->entry->num_outputs);
  return session->viewOutput(index, tensor);
}
