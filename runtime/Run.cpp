//===- Run.cpp - One run of a session -------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bind everything the call brings and check it; plan; compute; and only then,
// if all went well, let the new states take the place of the old ones. On a device
// computing is queueing, and whether all went well turns out when it was waited for.
//
//===----------------------------------------------------------------------===//

#include "Session.h"

using namespace ssmrt;

/// Kernels move 16 bytes at once.
static bool isAlignedForDevice(const void *data) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

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
  Input &input = inputs[size_t(index)];
  SSMRT_TRY(checkTensor("input", info, tensor, device(), &arg.data, &input.bytes, &input.isOnHost));
  // A kernel that is given a bad index reads at the front of an empty tensor, before the run fails.
  if (queue && !input.bytes)
    arg.data = queue->fault();
  input.given = arg.data;
  input.isCopied = queue && input.bytes && (input.isOnHost || !isAlignedForDevice(arg.data));
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
    return noMemory(input.name, bytes);
  return clear(value.block.data(), size_t(bytes));
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

ssmrt_status ssmrt_session::bindBuffer(int32_t index, const ssmrt_buffer &buffer) {
  const ssm_value_info &info = entry->outputs[index];
  Output &output = outputs[size_t(index)];
  if (outputState[size_t(index)] >= 0)
    return fail(SSMRT_INVALID_ARGUMENT,
                "output '%s' is a state that the session carries, it takes "
                "no buffer",
                info.name);
  if (output.buffer)
    return fail(SSMRT_INVALID_ARGUMENT, "output '%s' has two buffers", info.name);
  if (buffer.bytes && !buffer.data)
    return fail(SSMRT_INVALID_ARGUMENT, "output '%s': buffer is NULL", info.name);
  int32_t unit = findType(info.type)->bytes;
  if (reinterpret_cast<uintptr_t>(buffer.data) % uintptr_t(unit))
    return fail(SSMRT_INVALID_ARGUMENT, "output '%s': buffer is not aligned to the %d bytes of %s",
                info.name, unit, findType(info.type)->name);
  bool isOnHost = true;
  if (int32_t(buffer.device.device_type) != 0)
    SSMRT_TRY(checkPlace("output", info.name, buffer.device, device(), &isOnHost));
  output.isTargetOnDevice = !isOnHost;
  output.buffer = &buffer;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session::bindOutputs(const ssmrt_buffer *buffers, int32_t count) {
  if (count < 0 || (count && !buffers))
    return fail(SSMRT_INVALID_ARGUMENT, "output buffers are missing");
  for (Output &output : outputs) {
    output.buffer = nullptr;
    output.data = output.target = nullptr;
    output.bytes = 0;
    output.isTargetOnDevice = output.placed = output.written = false;
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
    SSMRT_TRY(bindBuffer(index, buffers[i]));
    hint = index + 1;
  }
  return SSMRT_OK;
}

/// The state of an input and an output, or NULL.
const ssm_state_info *ssmrt_session::stateOf(int32_t input, int32_t output) const {
  for (int32_t i = 0; i < entry->num_states; ++i)
    if (entry->states[i].input == input && entry->states[i].output == output)
      return &entry->states[i];
  return nullptr;
}

/// Whether the output lies where the input of its state does, all of it, and may.
bool ssmrt_session::isInPlace(int32_t input, int32_t index) {
  const Output &output = outputs[size_t(index)];
  const ssm_state_info *state = stateOf(input, index);
  size_t rank = size_t(entry->outputs[index].rank);
  return state && state->in_place && !queue && output.target == inputs[size_t(input)].given &&
         !std::memcmp(args[size_t(input)].dims, outputDims(index), rank * sizeof(int64_t));
}

/// The caller's input or the output that lies where this output has been put, or NULL.
const char *ssmrt_session::findOverlap(int32_t index, const char **why) {
  auto placeOf = [](const Output &output) { return output.target ? output.target : output.data; };
  const Output &output = outputs[size_t(index)];
  *why = "";
  if (output.bytes == 0)
    return nullptr;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputState[i] < 0 && !isInPlace(int32_t(i), index) &&
        overlap(placeOf(output), output.bytes, inputs[i].given, inputs[i].bytes)) {
      if (const ssm_state_info *state = stateOf(int32_t(i), index))
        *why = state->in_place && !queue ? ": it may take its state's place, all of it alone"
                                         : ": this state is read after it is written";
      return entry->inputs[i].name;
    }
  for (size_t i = 0; i < outputs.size(); ++i)
    if (int32_t(i) != index &&
        overlap(placeOf(output), output.bytes, placeOf(outputs[i]), outputs[i].bytes))
      return entry->outputs[i].name;
  return nullptr;
}

void *ssmrt_session::output(int32_t index, const int64_t *shape) {
  if (index < 0 || index >= entry->num_outputs)
    return context.refuse(SSMRT_INTERNAL, "entry '%s' wrote output %d, it has %d", entry->name,
                          index, entry->num_outputs),
           nullptr;
  const ssm_value_info &info = entry->outputs[index];
  Output &output = outputs[size_t(index)];
  if (output.written)
    return context.refuse(SSMRT_INTERNAL, "entry '%s' wrote output '%s' twice", entry->name,
                          info.name),
           nullptr;
  output.written = true;
  if (!output.placed)
    return place(index, shape);
  if (info.rank && std::memcmp(outputDims(index), shape, size_t(info.rank) * sizeof(int64_t)))
    return context.refuse(SSMRT_INTERNAL,
                          "entry '%s' gave output '%s' another shape, %s, for the same inputs",
                          entry->name, info.name, textOf(shape, info.rank).text),
           nullptr;
  return output.data;
}

/// Where an output that is a carried state goes: it will be the input of the next run.
void *ssmrt_session::placeState(int32_t index, int64_t bytes) {
  const ssm_value_info &info = entry->outputs[index];
  int32_t state = outputState[size_t(index)];
  StateValue &value = states[size_t(state)].other();
  const ssm_value_info &input = stateInput(state);
  const int64_t *shape = outputDims(index);
  for (int32_t axis = 0; axis < input.rank; ++axis)
    if (input.dims[axis].value >= 0 && input.dims[axis].value != shape[axis])
      return context.refuse(SSMRT_CHECK_FAILED,
                            "output '%s': dimension %d is %lld, but state '%s' takes "
                            "%lld there",
                            info.name, axis, (long long)shape[axis], input.name,
                            (long long)input.dims[axis].value),
             nullptr;
  if (!value.block.ensure(allocator, size_t(bytes)))
    return context.keep(noMemory(info.name, bytes)), nullptr;
  std::memcpy(value.dims, shape, size_t(info.rank) * sizeof(int64_t));
  return outputs[size_t(index)].data = value.block.data();
}

void *ssmrt_session::place(int32_t index, const int64_t *shape) {
  const ssm_value_info &info = entry->outputs[index];
  Output &output = outputs[size_t(index)];
  for (int32_t axis = 0; axis < info.rank; ++axis)
    if (info.dims[axis].value >= 0 && info.dims[axis].value != shape[axis])
      return context.refuse(SSMRT_INTERNAL,
                            "output '%s': dimension %d is %lld, the signature says %lld", info.name,
                            axis, (long long)shape[axis], (long long)info.dims[axis].value),
             nullptr;
  int64_t bytes;
  if (!byteSize(shape, info.rank, findType(info.type)->bytes, &bytes))
    return context.refuse(SSMRT_CHECK_FAILED, "output '%s': shape %s cannot be", info.name,
                          textOf(shape, info.rank).text),
           nullptr;
  if (info.rank)
    std::memmove(outputDims(index), shape, size_t(info.rank) * sizeof(int64_t));
  output.bytes = bytes;
  if (outputState[size_t(index)] >= 0)
    return placeState(index, bytes);
  if (const ssmrt_buffer *buffer = output.buffer) {
    if (uint64_t(bytes) > buffer->bytes)
      return context.refuse(SSMRT_OUTPUT_REFUSED,
                            "output '%s' of shape %s takes %lld bytes, its buffer has "
                            "%llu",
                            info.name, textOf(shape, info.rank).text, (long long)bytes,
                            (unsigned long long)buffer->bytes),
             nullptr;
    output.target = bytes ? buffer->data : emptyData();
  } else if (outputFn) {
    output.target = outputFn(outputUser, index, shape, info.rank, size_t(bytes));
    output.isTargetOnDevice = queue && deviceOutputs;
    if (!output.target)
      return context.refuse(SSMRT_OUTPUT_REFUSED,
                            "the allocator refused %lld bytes for output '%s'", (long long)bytes,
                            info.name),
             nullptr;
    if (reinterpret_cast<uintptr_t>(output.target) % uintptr_t(findType(info.type)->bytes))
      return context.refuse(SSMRT_INVALID_ARGUMENT,
                            "the allocator's memory for output '%s' is not aligned for "
                            "%s",
                            info.name, findType(info.type)->name),
             nullptr;
  }
  const char *why;
  if (output.target)
    if (const char *other = findOverlap(index, &why))
      return context.refuse(SSMRT_INVALID_ARGUMENT,
                            "the memory of output '%s' overlaps that of '%s'%s", info.name, other,
                            why),
             nullptr;
  // What kernels cannot write, they write to the session's memory first.
  if (output.target && (!queue || (output.isTargetOnDevice && isAlignedForDevice(output.target))))
    return output.data = output.target;
  if (!output.block.ensure(allocator, size_t(bytes)))
    return context.keep(noMemory(info.name, bytes)), nullptr;
  return output.data = output.block.data();
}

ssmrt_status ssmrt_session::prepareOutputs(const int64_t *shapes) {
  for (int32_t i = 0; i < entry->num_outputs; ++i) {
    if (!place(i, shapes + layout->outputOffset[size_t(i)]))
      return statusOf(context, SSM_RUN_OUTPUT_REFUSED, "run");
    outputs[size_t(i)].placed = true;
  }
  return SSMRT_OK;
}

ssmrt_status ssmrt_session::copyInputs() {
  for (size_t i = 0; i < inputs.size(); ++i) {
    Input &input = inputs[i];
    if (inputState[i] >= 0 || !input.isCopied)
      continue;
    if (!input.block.ensure(allocator, size_t(input.bytes)))
      return noMemory(entry->inputs[i].name, input.bytes);
    SSMRT_TRY(copy(input.block.data(), input.given, size_t(input.bytes)));
    args[i].data = input.block.data();
  }
  return SSMRT_OK;
}

const void *ssmrt_session::givenOnHost(const void *copied, int64_t bytes) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Input &input = inputs[i];
    if (inputState[i] >= 0 || !input.isCopied || !input.isOnHost)
      continue;
    int64_t offset = static_cast<const char *>(copied) - static_cast<const char *>(args[i].data);
    if (offset >= 0 && offset + bytes <= input.bytes)
      return static_cast<const char *>(input.given) + offset;
  }
  return nullptr;
}

ssmrt_status ssmrt_session::copyOutputs() {
  for (const Output &output : outputs)
    if (output.target && output.target != output.data)
      SSMRT_TRY(copy(output.target, output.data, size_t(output.bytes)));
  return SSMRT_OK;
}

ssmrt_status ssmrt_session::callEntry(void *arenaData) {
  int32_t returned = entry->run(&tableOf(context), &context, args.data(), arenaData,
                                queue ? queue->weights() : module->weights);
  SSMRT_TRY(statusOf(context, returned, "run"));
  for (int32_t i = 0; i < entry->num_outputs; ++i)
    if (!outputs[size_t(i)].written)
      return fail(SSMRT_INTERNAL, "entry '%s' did not write output '%s'", entry->name,
                  entry->outputs[i].name);
  return SSMRT_OK;
}

ssmrt_status ssmrt_session::execute() {
  int64_t arenaBytes;
  SSMRT_TRY(planEntry(context, args.data(), &arenaBytes, planned.data()));
  if (!arena.ensure(allocator, size_t(arenaBytes)))
    return noMemory("the arena", arenaBytes);
  // From here on a run may write over the previous states.
  canRollBack = false;
  SSMRT_TRY(copyInputs());
  ssmrt_status status = queue ? queue->run(*this, arena.data()) : callEntry(arena.data());
  segment.reset(allocator);
  return status == SSMRT_OK ? copyOutputs() : status;
}

/// The latest runs turn out to have failed.
void ssmrt_session::loseRuns(int32_t runs) {
  outputsValid = canRollBack = false;
  for (State &state : states)
    if (runs == 1)
      state.current = 1 - state.current;
    else
      state.now().set = false;
}

ssmrt_status ssmrt_session::synchronize() {
  if (!pending)
    return SSMRT_OK;
  int32_t runs = pending;
  pending = 0;
  context.reported = false;
  ssmrt_status status = queue->waitAndCheck(context);
  if (status != SSMRT_OK)
    loseRuns(runs);
  return status;
}

ssmrt_status ssmrt_session::run(const ssmrt_input *given, int32_t numGiven,
                                const ssmrt_buffer *buffers, int32_t numBuffers, bool waits) {
  if (queue)
    SSMRT_TRY(queue->device().usable());
  outputsValid = false;
  SSMRT_TRY(bindInputs(given, numGiven));
  SSMRT_TRY(bindStates());
  SSMRT_TRY(bindOutputs(buffers, numBuffers));
  ssmrt_status status = execute();
  if (queue && status != SSMRT_OK) {
    // A check that failed on the device may be one of a run before.
    if (pending && status == SSMRT_CHECK_FAILED) {
      loseRuns(2);
      pending = 0;
    }
    SSMRT_TRY(queue->abandon());
  }
  SSMRT_TRY(status);
  for (State &state : states) {
    state.other().set = true;
    state.current = 1 - state.current;
  }
  canRollBack = numCarried() > 0;
  outputsValid = true;
  if (!queue)
    return SSMRT_OK;
  ++pending;
  return waits ? synchronize() : SSMRT_OK;
}

/// A view of memory of the session; `onHost`, of a copy of a device's.
ssmrt_status ssmrt_session::viewMemory(void *data, int64_t bytes, Block &host,
                                       const ssm_value_info &info, const int64_t *shape,
                                       bool onHost, DLTensor *tensor) {
  bool isCopied = queue && onHost;
  if (isCopied) {
    SSMRT_TRY(synchronize());
    if (!host.ensure(queue->hostAllocator(), size_t(bytes)))
      return outOfMemory(info.name, bytes);
    SSMRT_TRY(copy(host.data(), data, size_t(bytes)));
    SSMRT_TRY(wait());
    data = host.data();
  }
  *tensor = viewOf(*findType(info.type), data, shape, info.rank, isCopied ? nullptr : device());
  return SSMRT_OK;
}

ssmrt_status ssmrt_session::viewOutput(int32_t index, DLTensor *tensor) {
  if (!outputsValid)
    return fail(SSMRT_INVALID_ARGUMENT,
                "there are no outputs: the session has not run since it was "
                "made, changed, or failed");
  const ssm_value_info &info = entry->outputs[index];
  Output &output = outputs[size_t(index)];
  if (!output.target)
    return viewMemory(output.data, output.bytes, output.host, info, outputDims(index),
                      !deviceOutputs, tensor);
  if (!output.isTargetOnDevice)
    SSMRT_TRY(synchronize());
  *tensor = viewOf(*findType(info.type), output.target, outputDims(index), info.rank,
                   output.isTargetOnDevice ? device() : nullptr);
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_run(ssmrt_session *session, const ssmrt_input *inputs, int32_t numInputs,
                               const ssmrt_buffer *outputs, int32_t numOutputs) {
  if (!session)
    return fail(SSMRT_INVALID_ARGUMENT, "session is NULL");
  InCall call(session);
  SSMRT_TRY(call.status());
  return session->run(inputs, numInputs, outputs, numOutputs, true);
}

ssmrt_status ssmrt_session_run_async(ssmrt_session *session, const ssmrt_input *inputs,
                                     int32_t numInputs, const ssmrt_buffer *outputs,
                                     int32_t numOutputs) {
  if (!session)
    return fail(SSMRT_INVALID_ARGUMENT, "session is NULL");
  InCall call(session);
  SSMRT_TRY(call.status());
  return session->run(inputs, numInputs, outputs, numOutputs, false);
}

ssmrt_status ssmrt_session_synchronize(ssmrt_session *session) {
  if (!session)
    return fail(SSMRT_INVALID_ARGUMENT, "session is NULL");
  InCall call(session);
  SSMRT_TRY(call.status());
  return session->synchronize();
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
  // To look changes copies for those who look alone.
  return const_cast<ssmrt_session *>(session)->viewOutput(index, tensor);
}
