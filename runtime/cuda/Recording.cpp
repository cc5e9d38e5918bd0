//===- Recording.cpp - Runs as graphs, and their times --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What host code queues follows from dims and pointers, unless it reads values. So
// the second run with the same ones is captured as a graph, and the next are one
// launch of that: no host code runs. The first is not captured: most of sizes that
// come once would cost more than they save.
//
//===----------------------------------------------------------------------===//

#include "Session.h"

using namespace ssmrt;
using namespace ssmrt::cuda;

static bool equal(const Array<int64_t> &a, const Array<int64_t> &b) {
  return a.size() == b.size() &&
         (a.size() == 0 || !std::memcmp(a.data(), b.data(), a.size() * sizeof(int64_t)));
}

static int64_t numberOf(const void *data) { return int64_t(reinterpret_cast<uintptr_t>(data)); }

void Queue::forget(Recording &recording) {
  if (recording.exec)
    driver->graphExecDestroy(recording.exec);
  recording.exec = nullptr;
  recording.lastUse = 0;
}

ssmrt_status Queue::makeKey(const ssmrt_session &session, const void *arena) {
  (void)key.resize(0);
  bool complete = key.push(numberOf(arena)) && key.push(session.segment.generation());
  for (size_t i = 0; i < session.args.size(); ++i)
    complete = complete && key.push(numberOf(session.args[i].data)) &&
               key.append(session.args[i].dims, size_t(session.entry->inputs[i].rank));
  return complete ? SSMRT_OK : outOfMemory("pointers", (long long)key.size());
}

/// The recording of the key; with a session also of its outputs.
Queue::Recording *Queue::find(const ssmrt_session *session) {
  for (Recording &recording : recordings) {
    if (!recording.lastUse || !equal(recording.key, key))
      continue;
    bool same = true;
    for (size_t i = 0; session && same && i < session->outputs.size(); ++i)
      same = recording.outputs[i] == numberOf(session->outputs[i].data);
    if (same)
      return &recording;
  }
  return nullptr;
}

/// After a run with dims and pointers not seen before.
ssmrt_status Queue::remember(const ssmrt_session &session) {
  Recording *oldest = &recordings[0];
  for (Recording &recording : recordings)
    if (recording.lastUse < oldest->lastUse)
      oldest = &recording;
  forget(*oldest);
  (void)oldest->key.resize(0);
  (void)oldest->outputs.resize(0);
  (void)oldest->outputDims.resize(0);
  bool complete = oldest->key.append(key.data(), key.size()) &&
                  oldest->outputDims.append(session.dims.data(), session.dims.size());
  for (size_t i = 0; i < session.outputs.size(); ++i)
    complete = complete && oldest->outputs.push(numberOf(session.outputs[i].data));
  if (!complete)
    return outOfMemory("pointers", (long long)key.size());
  oldest->reads = hasRead;
  oldest->lastUse = ++uses;
  return SSMRT_OK;
}

ssmrt_status Queue::capture(ssmrt_session &session, void *arena, Recording &recording) {
  Result result = kSuccess;
  if (!captureStream)
    result = driver->streamCreate(&captureStream, kNonBlocking);
  if (!result)
    result = driver->captureBegin(captureStream, kRelaxedCapture);
  if (result)
    return device().failed(result, "capturing a run");
  target = captureStream;
  hasLaunched = false;
  ssmrt_status status = session.callEntry(arena);
  target = stream;
  Graph graph = nullptr;
  result = driver->captureEnd(captureStream, &graph);
  if (status == SSMRT_OK && !result)
    result = driver->graphInstantiate(&recording.exec, graph, 0);
  if (graph)
    driver->graphDestroy(graph);
  if (status == SSMRT_OK && !result)
    return SSMRT_OK;
  // What the stream is like now is not known.
  recording.exec = nullptr;
  driver->streamDestroy(captureStream);
  captureStream = nullptr;
  return status == SSMRT_OK ? device().failed(result, "capturing a run as a graph") : status;
}

ssmrt_status Queue::run(ssmrt_session &session, void *arena) {
  hasRead = false;
  hasLaunched = false;
  if (isTimed)
    SSMRT_TRY(beginTimes());
  if (!usesGraphs)
    return session.callEntry(arena);
  SSMRT_TRY(makeKey(session, arena));
  Recording *similar = find(nullptr);
  if (similar && similar->reads) {
    similar->lastUse = ++uses;
    return session.callEntry(arena);
  }
  if (similar)
    SSMRT_TRY(session.prepareOutputs(similar->outputDims.data()));
  Recording *same = similar ? find(&session) : nullptr;
  if (!same) {
    SSMRT_TRY(session.callEntry(arena));
    return remember(session);
  }
  same->lastUse = ++uses;
  if (!same->exec)
    SSMRT_TRY(capture(session, arena, *same));
  Result result = driver->graphLaunch(same->exec, stream);
  return result ? device().failed(result, "launching a run's graph") : SSMRT_OK;
}

ssmrt_status Queue::record(Event *event) {
  Result result = kSuccess;
  if (usedEvents == events.size()) {
    Event made = nullptr;
    result = driver->eventCreate(&made, 0);
    if (!result && !events.push(made)) {
      driver->eventDestroy(made);
      return outOfMemory("events", (long long)events.size());
    }
  }
  if (!result)
    result = driver->eventRecord(*event = events[usedEvents++], stream);
  return result ? device().failed(result, "timing a kernel") : SSMRT_OK;
}

ssmrt_status Queue::beginTimes() {
  if (timed.size())
    return SSMRT_OK;
  usedEvents = 0;
  inKernel = false;
  beginSeconds = secondsNow();
  return record(&beginEvent);
}

void Queue::kernel(const char *name, bool ends, int64_t bytes, int64_t flops) {
  // Times are for those who look; a run does not fail for want of them.
  if (ends && inKernel)
    (void)record(&timed[timed.size() - 1].end);
  else if (!ends && timed.push({name, bytes, flops, nullptr, nullptr}))
    (void)record(&timed[timed.size() - 1].begin);
  inKernel = !ends;
}

void Queue::tellTimes(const ssmrt_session &session) {
  for (const Timed &kernel : timed) {
    float begin = 0, took = 0;
    if (!kernel.begin || !kernel.end || driver->eventElapsed(&begin, beginEvent, kernel.begin) ||
        driver->eventElapsed(&took, kernel.begin, kernel.end))
      continue;
    ssmrt_kernel_run run = {kernel.name, beginSeconds + 1e-3 * double(begin), 1e-3 * double(took),
                            kernel.bytes, kernel.flops};
    session.kernelHook(session.kernelHookUser, &run);
  }
  (void)timed.resize(0);
}
