//===- Session.cpp - Making, reserving and describing sessions ------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Session.h"

using namespace ssmrt;

ssmrt_status ssmrt_session::initialize(ssmrt_module *owner, int32_t index,
                                       const ssmrt_session_options *options) {
  ssmrt_session_options defaults;
  if (!options)
    options = &defaults;
  ssmrt_module_retain(owner);
  module = owner;
  entryIndex = index;
  entry = &owner->entry(index);
  layout = &owner->layouts[index];
  context.entry = entry;
  context.session = this;
  if (owner->onDevice) {
    if (!(queue = make<Queue>()))
      return outOfMemory("a session", sizeof(Queue));
    SSMRT_TRY(queue->create(*owner->onDevice, *options));
    allocator = queue->allocator();
  } else if (owner->device.kind == DeviceChoice::None) {
    return fail(SSMRT_INVALID_ARGUMENT, "module '%s' was loaded for device 'none', to be described",
                owner->path);
  } else {
    allocator = options->allocator;
  }
  deviceOutputs = options->deviceOutputs;
  outputFn = options->output;
  outputUser = options->outputUser;
  kernelHook = options->kernelHook;
  kernelHookUser = options->kernelHookUser;
  parallelFor = options->parallelFor;
  parallelForUser = options->parallelForUser;
  if (options->pool) {
    pool = options->pool;
    ssmrt_pool_retain(pool);
  } else if (!parallelFor) {
    SSMRT_TRY(ssmrt_pool_create(options->threads, &pool));
  }

  size_t numInputs = size_t(entry->num_inputs);
  size_t numOutputs = size_t(entry->num_outputs);
  size_t symbols = size_t(layout->numSymbols);
  foreignStates = options->foreignStates;
  size_t carried = options->carryStates ? size_t(entry->num_states) : 0;
  if (!args.resize(numInputs) || !inputs.resize(numInputs) || !inputState.resize(numInputs) ||
      !outputs.resize(numOutputs) || !outputState.resize(numOutputs) || !states.resize(carried) ||
      !dims.resize(layout->outputDims()) || !planned.resize(layout->outputDims()) ||
      !symbolSize.resize(symbols) || !symbolInput.resize(symbols) || !symbolAxis.resize(symbols))
    return outOfMemory("a session", (long long)(numInputs + numOutputs));
  for (int32_t &state : inputState)
    state = -1;
  for (int32_t &state : outputState)
    state = -1;
  for (size_t i = 0; i < carried; ++i) {
    inputState[size_t(entry->states[i].input)] = int32_t(i);
    outputState[size_t(entry->states[i].output)] = int32_t(i);
  }
  return SSMRT_OK;
}

ssmrt_session::~ssmrt_session() {
  if (queue)
    queue->finish();
  arena.release(allocator);
  segment.destroy(allocator);
  for (Input &input : inputs)
    input.block.release(allocator);
  for (Output &output : outputs) {
    output.block.release(allocator);
    output.spare.release(allocator);
  }
  for (State &state : states)
    for (StateValue &value : state.values)
      value.block.release(allocator);
  if (queue) {
    for (Output &output : outputs)
      output.host.release(queue->hostAllocator());
    for (State &state : states)
      state.host.release(queue->hostAllocator());
    unmake(queue);
  }
  ssmrt_pool_release(pool);
  ssmrt_module_release(module);
}

ssmrt_status ssmrt_session::copy(void *to, const void *from, size_t bytes) {
  if (queue)
    return queue->copy(to, from, bytes);
  std::memmove(to, from, bytes);
  return SSMRT_OK;
}

ssmrt_status ssmrt_session::clear(void *data, size_t bytes) {
  if (queue)
    return queue->clear(data, bytes);
  std::memset(data, 0, bytes);
  return SSMRT_OK;
}

ssmrt_status ssmrt_session::noMemory(const char *what, int64_t bytes) const {
  return queue ? queue->device().noMemory(what, bytes) : outOfMemory(what, bytes);
}

/// Whether `name` is "INPUT:AXIS" of this dim.
static bool namesDim(const char *name, const ssm_value_info &input, int32_t axis) {
  size_t length = std::strlen(input.name);
  if (std::strncmp(name, input.name, length) || name[length] != ':')
    return false;
  char *end;
  const char *number = name + length + 1;
  return *number >= '0' && *number <= '9' && std::strtol(number, &end, 10) == axis && !*end;
}

ssmrt_status ssmrt::resolveInput(const ssm_value_info &input, const ssmrt_size *sizes,
                                 int32_t numSizes, int64_t *dims) {
  for (int32_t axis = 0; axis < input.rank; ++axis) {
    const ssm_dim &dim = input.dims[axis];
    dims[axis] = dim.value;
    for (int32_t i = 0; i < numSizes && dim.value < 0; ++i)
      if ((dim.name && !std::strcmp(dim.name, sizes[i].name)) ||
          namesDim(sizes[i].name, input, axis))
        dims[axis] = sizes[i].size;
    if (dims[axis] < 0 && dim.name)
      return fail(SSMRT_NOT_FOUND, "no size is given for '%s', dimension %d of input '%s'",
                  dim.name, axis, input.name);
    if (dims[axis] < 0)
      return fail(SSMRT_NOT_FOUND, "no size is given for dimension %d of input '%s' ('%s:%d')",
                  axis, input.name, input.name, axis);
  }
  return SSMRT_OK;
}

/// Dims of all inputs at the given sizes, flat; `args` point into them.
static ssmrt_status resolveInputs(const ssm_entry &entry, const EntryLayout &layout,
                                  const ssmrt_size *sizes, int32_t numSizes, Array<int64_t> &dims,
                                  Array<ssm_arg> &args) {
  if (numSizes < 0 || (numSizes && !sizes))
    return fail(SSMRT_INVALID_ARGUMENT, "sizes are missing");
  for (int32_t i = 0; i < numSizes; ++i)
    if (!sizes[i].name || sizes[i].size < 0)
      return fail(SSMRT_INVALID_ARGUMENT, "size %lld of '%s' is negative", (long long)sizes[i].size,
                  sizes[i].name ? sizes[i].name : "(NULL)");
  if (!dims.resize(layout.inputDims() + 1) || !args.resize(size_t(entry.num_inputs)))
    return outOfMemory("shapes", (long long)layout.inputDims());
  for (int32_t i = 0; i < entry.num_inputs; ++i) {
    int64_t *own = dims.data() + layout.inputOffset[size_t(i)];
    SSMRT_TRY(resolveInput(entry.inputs[i], sizes, numSizes, own));
    int64_t bytes;
    if (!byteSize(own, entry.inputs[i].rank, findType(entry.inputs[i].type)->bytes, &bytes))
      return fail(SSMRT_INVALID_ARGUMENT, "input '%s': shape %s is too large", entry.inputs[i].name,
                  textOf(own, entry.inputs[i].rank).text);
    args[size_t(i)] = {nullptr, own};
  }
  return SSMRT_OK;
}

/// Makes both values of a state large enough, and keeps the current one.
ssmrt_status ssmrt_session::reserveState(State &state, const char *name, int64_t bytes) {
  canRollBack = false;
  for (int pass = 0; pass < 2; ++pass) {
    StateValue &now = state.now(), &other = state.other();
    size_t held = now.block.capacity();
    size_t wanted = size_t(bytes) > held ? size_t(bytes) : held;
    if (!other.block.ensure(allocator, wanted))
      return noMemory(name, bytes);
    if (now.set) {
      SSMRT_TRY(copy(other.block.data(), now.block.data(), held));
      std::memcpy(other.dims, now.dims, sizeof(now.dims));
    }
    other.set = now.set;
    state.current = 1 - state.current;
  }
  return SSMRT_OK;
}

ssmrt_status ssmrt_session::reserve(const ssmrt_size *sizes, int32_t numSizes) {
  Array<int64_t> inputDims;
  Array<ssm_arg> shapes;
  SSMRT_TRY(synchronize());
  SSMRT_TRY(resolveInputs(*entry, *layout, sizes, numSizes, inputDims, shapes));
  int64_t arenaBytes;
  SSMRT_TRY(planEntry(context, shapes.data(), &arenaBytes, planned.data()));
  if (!arena.ensure(allocator, size_t(arenaBytes)))
    return noMemory("the arena", arenaBytes);
  for (size_t i = 0; queue && i < inputs.size(); ++i) {
    const ssm_value_info &info = entry->inputs[i];
    int64_t bytes;
    if (inputState[i] < 0 &&
        byteSize(shapes[i].dims, info.rank, findType(info.type)->bytes, &bytes) &&
        !inputs[i].block.ensure(allocator, size_t(bytes)))
      return noMemory(info.name, bytes);
  }
  outputsValid = false;
  for (int32_t i = 0; i < entry->num_outputs; ++i) {
    const ssm_value_info &info = entry->outputs[i];
    int64_t bytes;
    // What only a run can tell, and what others allocate, is left alone.
    int32_t state = outputState[size_t(i)];
    if ((outputFn && state < 0) || !byteSize(planned.data() + layout->outputOffset[size_t(i)],
                                             info.rank, findType(info.type)->bytes, &bytes))
      continue;
    if (state < 0) {
      if (!outputs[size_t(i)].block.ensure(allocator, size_t(bytes)))
        return noMemory(info.name, bytes);
      continue;
    }
    SSMRT_TRY(reserveState(states[size_t(state)], info.name, bytes));
  }
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_create(ssmrt_module *module, const char *entry,
                                  const ssmrt_session_options *options, ssmrt_session **session) {
  if (!module || !session)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", module ? "session" : "module");
  int32_t index = 0;
  if (entry)
    SSMRT_TRY(ssmrt_module_find_entry(module, entry, &index));
  auto *created = make<ssmrt_session>();
  if (!created)
    return outOfMemory("a session", sizeof(ssmrt_session));
  ssmrt_status status = created->initialize(module, index, options);
  if (status == SSMRT_OK)
    *session = created;
  else
    unmake(created);
  return status;
}

void ssmrt_session_destroy(ssmrt_session *session) { unmake(session); }

int32_t ssmrt_session_entry(const ssmrt_session *session) { return session->entryIndex; }

ssmrt_status ssmrt_session_reserve(ssmrt_session *session, const ssmrt_size *sizes,
                                   int32_t numSizes) {
  if (!session)
    return fail(SSMRT_INVALID_ARGUMENT, "session is NULL");
  InCall call(session);
  SSMRT_TRY(call.status());
  return session->reserve(sizes, numSizes);
}

ssmrt_status ssmrt_module_resolve_input(const ssmrt_module *module, int32_t entry, int32_t index,
                                        const ssmrt_size *sizes, int32_t numSizes, int64_t *dims) {
  ssmrt_value_info info;
  SSMRT_TRY(ssmrt_module_get_input(module, entry, index, &info));
  if ((!dims && info.rank > 0) || numSizes < 0 || (numSizes && !sizes))
    return fail(SSMRT_INVALID_ARGUMENT, "sizes or dims are missing");
  return resolveInput(module->entry(entry).inputs[index], sizes, numSizes, dims);
}

ssmrt_status ssmrt_module_plan(const ssmrt_module *module, int32_t entry, const ssmrt_size *sizes,
                               int32_t numSizes, int64_t *arenaBytes, int64_t *outputDims) {
  ssmrt_entry_info info;
  SSMRT_TRY(ssmrt_module_get_entry(module, entry, &info));
  if (!arenaBytes)
    return fail(SSMRT_INVALID_ARGUMENT, "arena_bytes is NULL");
  const EntryLayout &layout = module->layouts[entry];
  Array<int64_t> inputDims, planned;
  Array<ssm_arg> args;
  SSMRT_TRY(resolveInputs(module->entry(entry), layout, sizes, numSizes, inputDims, args));
  if (!planned.resize(layout.outputDims() + 1))
    return outOfMemory("shapes", (long long)layout.outputDims());
  CallContext context;
  context.entry = &module->entry(entry);
  int64_t bytes;
  SSMRT_TRY(planEntry(context, args.data(), &bytes, planned.data()));
  *arenaBytes = bytes;
  if (outputDims && layout.outputDims())
    std::memcpy(outputDims, planned.data(), layout.outputDims() * sizeof(int64_t));
  return SSMRT_OK;
}

ssmrt_status ssmrt_module_plan_memory(const ssmrt_module *module, int32_t entry,
                                      const ssmrt_size *sizes, int32_t numSizes,
                                      ssmrt_memory *memory) {
  ssmrt_module_info info;
  SSMRT_TRY(ssmrt_module_get_info(module, &info));
  if (!memory)
    return fail(SSMRT_INVALID_ARGUMENT, "memory is NULL");
  ssmrt_entry_info entryInfo;
  SSMRT_TRY(ssmrt_module_get_entry(module, entry, &entryInfo));
  const ssm_entry &e = module->entry(entry);
  const EntryLayout &layout = module->layouts[entry];
  Array<int64_t> dims;
  if (!dims.resize(layout.outputDims() + 1))
    return outOfMemory("shapes", (long long)layout.outputDims());
  ssmrt_memory planned = {};
  planned.weight_bytes = info.weight_bytes;
  SSMRT_TRY(ssmrt_module_plan(module, entry, sizes, numSizes, &planned.arena_bytes, dims.data()));
  planned.total_bytes = planned.arena_bytes;
  for (int32_t i = 0; i < e.num_outputs; ++i) {
    const ssm_value_info &output = e.outputs[i];
    const int64_t *shape = dims.data() + layout.outputOffset[size_t(i)];
    bool isKnown = true, isState = false;
    for (int32_t axis = 0; axis < output.rank; ++axis)
      isKnown &= shape[axis] >= 0;
    for (int32_t state = 0; state < e.num_states; ++state)
      isState |= e.states[state].output == i;
    int64_t bytes = 0;
    if (isKnown && !byteSize(shape, output.rank, findType(output.type)->bytes, &bytes))
      return fail(SSMRT_OUT_OF_MEMORY, "output '%s': shape %s is too large", output.name,
                  textOf(shape, output.rank).text);
    int64_t &sum = isState ? planned.state_bytes : planned.output_bytes;
    for (int32_t value = 0; value < (isState ? 2 : 1); ++value)
      if (__builtin_add_overflow(planned.total_bytes, bytes, &planned.total_bytes) ||
          __builtin_add_overflow(sum, bytes, &sum))
        return outOfMemory("a session", INT64_MAX);
  }
  *memory = planned;
  return SSMRT_OK;
}
