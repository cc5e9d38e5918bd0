//===- States.cpp - States that a session carries -------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A state's two values take turns: a run, and everything that sets states,
// writes the other one, and then, if all went well, the two change places. So a
// failure leaves the states as they were, and the last step can be taken back.
//
//===----------------------------------------------------------------------===//

#include "File.h"
#include "Safetensors.h"
#include "Session.h"

using namespace ssmrt;

ssmrt_status ssmrt_session::findState(const char *name, int32_t *index) const {
  if (!name)
    return fail(SSMRT_INVALID_ARGUMENT, "the state's name is NULL");
  for (int32_t i = 0; i < numCarried(); ++i)
    if (!std::strcmp(stateInput(i).name, name)) {
      *index = i;
      return SSMRT_OK;
    }
  if (numCarried() == 0)
    return fail(SSMRT_NOT_FOUND, "there is no state '%s': the session carries none", name);
  return fail(SSMRT_NOT_FOUND, "there is no state '%s'; there are %d, the first is '%s'", name,
              numCarried(), stateInput(0).name);
}

/// Writes a value where the next swap will find it, by a copy of session `mover`.
static ssmrt_status stage(ssmrt_session &session, int32_t state, const void *data, int64_t bytes,
                          const int64_t *dims, ssmrt_session &mover) {
  const ssm_value_info &info = session.stateInput(state);
  StateValue &value = session.states[size_t(state)].other();
  session.canRollBack = false;
  session.outputsValid = false;
  if (!value.block.ensure(session.allocator, size_t(bytes)))
    return session.noMemory(info.name, bytes);
  SSMRT_TRY(mover.copy(value.block.data(), data, size_t(bytes)));
  if (info.rank)
    std::memcpy(value.dims, dims, size_t(info.rank) * sizeof(int64_t));
  value.set = true;
  return SSMRT_OK;
}

static void swapAll(ssmrt_session &session) {
  for (State &state : session.states)
    state.current = 1 - state.current;
}

ssmrt_status ssmrt_session::viewState(int32_t index, DLTensor *tensor, bool onHost) {
  const ssm_value_info &info = stateInput(index);
  State &state = states[size_t(index)];
  StateValue &value = state.now();
  if (!value.set)
    return fail(SSMRT_NOT_FOUND, "state '%s' has no value yet", info.name);
  int64_t bytes;
  if (!byteSize(value.dims, info.rank, findType(info.type)->bytes, &bytes))
    return fail(SSMRT_INTERNAL, "state '%s' has no size", info.name);
  return viewMemory(value.block.data(), bytes, state.host, info, value.dims, onHost, tensor);
}

ssmrt_status ssmrt_session_get_state(const ssmrt_session *session, const char *name,
                                     DLTensor *tensor) {
  if (!session || !tensor)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", session ? "tensor" : "session");
  InCall call(session);
  SSMRT_TRY(call.status());
  int32_t index;
  SSMRT_TRY(session->findState(name, &index));
  // To look changes copies for those who look alone.
  return const_cast<ssmrt_session *>(session)->viewState(index, tensor, !session->deviceOutputs);
}

ssmrt_status ssmrt_session_set_state(ssmrt_session *session, const char *name,
                                     const DLTensor *tensor) {
  if (!session || !tensor)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", session ? "tensor" : "session");
  InCall call(session);
  SSMRT_TRY(call.status());
  int32_t index;
  SSMRT_TRY(session->findState(name, &index));
  SSMRT_TRY(session->synchronize());
  const void *data;
  int64_t bytes;
  bool isOnHost;
  SSMRT_TRY(checkTensor("state", session->stateInput(index), *tensor, session->device(), &data,
                        &bytes, &isOnHost));
  SSMRT_TRY(stage(*session, index, data, bytes, tensor->shape, *session));
  SSMRT_TRY(session->wait());
  State &state = session->states[size_t(index)];
  state.current = 1 - state.current;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_reset_states(ssmrt_session *session) {
  if (!session)
    return fail(SSMRT_INVALID_ARGUMENT, "session is NULL");
  InCall call(session);
  SSMRT_TRY(call.status());
  SSMRT_TRY(session->synchronize());
  for (State &state : session->states)
    state.now().set = false;
  session->canRollBack = false;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_roll_back(ssmrt_session *session) {
  if (!session)
    return fail(SSMRT_INVALID_ARGUMENT, "session is NULL");
  InCall call(session);
  SSMRT_TRY(call.status());
  SSMRT_TRY(session->synchronize());
  if (!session->canRollBack)
    return fail(SSMRT_INVALID_ARGUMENT,
                "there is no step to take back: only the latest run can be, "
                "once, and if it succeeded");
  swapAll(*session);
  session->canRollBack = false;
  return SSMRT_OK;
}

/// The state of `from` that is to become state `index` of `to`.
static ssmrt_status matchState(const ssmrt_session &to, int32_t index, const ssmrt_session &from,
                               int32_t *found) {
  const ssm_value_info &info = to.stateInput(index);
  SSMRT_TRY(from.findState(info.name, found));
  const ssm_value_info &other = from.stateInput(*found);
  bool equal = other.type == info.type && other.rank == info.rank;
  const StateValue &value = from.states[size_t(*found)].now();
  for (int32_t axis = 0; equal && value.set && axis < info.rank; ++axis)
    equal = info.dims[axis].value < 0 || info.dims[axis].value == value.dims[axis];
  if (!equal)
    return fail(SSMRT_INVALID_ARGUMENT,
                "state '%s' %s does not take the value of the other session, %s", info.name,
                textOf(info).text, textOf(other).text);
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_copy_states(ssmrt_session *to, const ssmrt_session *from) {
  if (!to || !from)
    return fail(SSMRT_INVALID_ARGUMENT, "session is NULL");
  if (to == from)
    return SSMRT_OK;
  InCall second(from), first(to);
  SSMRT_TRY(first.status());
  SSMRT_TRY(second.status());
  SSMRT_TRY(to->synchronize());
  SSMRT_TRY(const_cast<ssmrt_session *>(from)->synchronize());
  // The one on a device; of two, with the value's at hand by its address.
  ssmrt_session &mover = to->queue ? *to : *const_cast<ssmrt_session *>(from);
  if (to->numCarried() != from->numCarried())
    return fail(SSMRT_INVALID_ARGUMENT, "one session carries %d states, the other %d",
                to->numCarried(), from->numCarried());
  int32_t found;
  for (int32_t i = 0; i < to->numCarried(); ++i)
    SSMRT_TRY(matchState(*to, i, *from, &found));
  for (int32_t i = 0; i < to->numCarried(); ++i) {
    SSMRT_TRY(matchState(*to, i, *from, &found));
    const StateValue &value = from->states[size_t(found)].now();
    const ssm_value_info &info = to->stateInput(i);
    int64_t bytes = 0;
    if (value.set && !byteSize(value.dims, info.rank, findType(info.type)->bytes, &bytes))
      return fail(SSMRT_INTERNAL, "state '%s' has no size", info.name);
    SSMRT_TRY(stage(*to, i, value.block.data(), bytes, value.dims, mover));
    to->states[size_t(i)].other().set = value.set;
  }
  SSMRT_TRY(mover.wait());
  swapAll(*to);
  return SSMRT_OK;
}

namespace {
/// The states of a session as tensors of the host to be written.
struct Listed {
  Array<DLTensor> views;
  Array<ssmrt_input> tensors;

  ssmrt_status list(const ssmrt_session &given) {
    auto &session = const_cast<ssmrt_session &>(given);
    // A lost device gives no memory either, which would be told.
    if (session.device())
      SSMRT_TRY(session.device()->usable());
    size_t count = session.states.size();
    if (!views.resize(count) || !tensors.resize(count))
      return outOfMemory("states", (long long)count);
    for (size_t i = 0; i < count; ++i) {
      SSMRT_TRY(session.viewState(int32_t(i), &views[i], true));
      tensors[i] = {session.stateInput(int32_t(i)).name, &views[i]};
    }
    return SSMRT_OK;
  }
};

/// Counts bytes, and keeps those that there is room for.
struct MemorySink {
  uint8_t *data;
  size_t room;
  size_t used;

  static ssmrt_status write(void *sink, const void *data, size_t bytes) {
    auto *self = static_cast<MemorySink *>(sink);
    if (self->used + bytes <= self->room)
      std::memcpy(self->data + self->used, data, bytes);
    self->used += bytes;
    return SSMRT_OK;
  }
};
} // namespace

ssmrt_status ssmrt_session_save_states(const ssmrt_session *session, void *data, size_t *bytes) {
  if (!session || !bytes)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", session ? "bytes" : "session");
  InCall call(session);
  SSMRT_TRY(call.status());
  Listed states;
  SSMRT_TRY(states.list(*session));
  const ssmrt_input *tensors = states.tensors.data();
  uint64_t model = session->module->description->model_hash;
  MemorySink sink{nullptr, 0, 0};
  SSMRT_TRY(writeSafetensors(tensors, session->numCarried(), model, sink.write, &sink));
  if (data && *bytes < sink.used)
    return fail(SSMRT_INVALID_ARGUMENT, "the states take %llu bytes, there is room for %llu",
                (unsigned long long)sink.used, (unsigned long long)*bytes);
  if (data) {
    sink = {static_cast<uint8_t *>(data), *bytes, 0};
    SSMRT_TRY(writeSafetensors(tensors, session->numCarried(), model, sink.write, &sink));
  }
  *bytes = sink.used;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_save_states_file(const ssmrt_session *session, const char *path) {
  if (!session || !path)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", session ? "path" : "session");
  InCall call(session);
  SSMRT_TRY(call.status());
  Listed states;
  SSMRT_TRY(states.list(*session));
  return writeSafetensorsFile(path, states.tensors.data(), session->numCarried(),
                              session->module->description->model_hash);
}

static ssmrt_status restore(ssmrt_session &session, const char *file, const uint8_t *data,
                            size_t bytes) {
  SSMRT_TRY(session.synchronize());
  SafetensorsHeader header;
  SSMRT_TRY(header.parse(file, data, bytes));
  SSMRT_TRY(header.verify(file, data));
  uint64_t model = session.module->description->model_hash;
  if (*header.model && model && std::strcmp(header.model, HashText(model).digits) &&
      !session.foreignStates)
    return fail(SSMRT_INVALID_ARGUMENT,
                "'%s' has states of another model, %s; that of module '%s' is %s", file,
                header.model, session.module->path, HashText(model).digits);
  for (const FileTensor &tensor : header.tensors) {
    int32_t index;
    SSMRT_TRY(session.findState(tensor.name, &index));
  }
  // Once to check, once to write: a bad file changes nothing.
  for (bool writes = false;; writes = true) {
    for (int32_t i = 0; i < session.numCarried(); ++i) {
      const ssm_value_info &info = session.stateInput(i);
      int32_t found = header.find(info.name);
      if (found < 0)
        return fail(SSMRT_INVALID_ARGUMENT, "'%s' lacks state '%s'", file, info.name);
      const FileTensor &tensor = header.tensors[size_t(found)];
      const uint8_t *from = data + header.dataStart + tensor.begin;
      if (writes) {
        SSMRT_TRY(stage(session, i, from, tensor.end - tensor.begin, tensor.dims, session));
        continue;
      }
      // Checked as if it lay aligned, since it is copied byte by byte. Bools
      // are looked at where they lie.
      bool isBool = tensor.type->type == SSM_TYPE_BOOL;
      int64_t size;
      bool isOnHost;
      const void *ignored;
      DLTensor view = viewOf(
          *tensor.type, isBool ? const_cast<uint8_t *>(from) : static_cast<uint8_t *>(emptyData()),
          tensor.dims, tensor.rank);
      SSMRT_TRY(checkTensor("state", info, view, nullptr, &ignored, &size, &isOnHost));
    }
    if (writes)
      break;
  }
  SSMRT_TRY(session.wait());
  swapAll(session);
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_restore_states(ssmrt_session *session, const void *data, size_t bytes) {
  if (!session || (bytes && !data))
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", session ? "data" : "session");
  InCall call(session);
  SSMRT_TRY(call.status());
  return restore(*session, "(in memory)", static_cast<const uint8_t *>(data), bytes);
}

ssmrt_status ssmrt_session_restore_states_file(ssmrt_session *session, const char *path) {
  if (!session || !path)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", session ? "path" : "session");
  InCall call(session);
  SSMRT_TRY(call.status());
  MappedFile file;
  SSMRT_TRY(file.open(path, "states file"));
  return restore(*session, path, file.data(), file.size());
}
