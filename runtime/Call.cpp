//===- Call.cpp - What a module sees of the runtime -----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The functions of the table, and what a module's return values mean.
//
//===----------------------------------------------------------------------===//

#include "Session.h"

#include <cstdarg>
#include <cstdio>
#include <ctime>

using namespace ssmrt;

static CallContext &contextOf(void *context) { return *static_cast<CallContext *>(context); }

static int32_t tableParallelFor(void *context, ssm_range_fn fn, void *closure, int64_t n,
                                int64_t grain) {
  ssmrt_session *session = contextOf(context).session;
  if (!session)
    return n > 0 ? fn(closure, 0, n) : 0;
  if (session->parallelFor)
    return runOn(session->parallelFor, session->parallelForUser, fn, closure, n, grain);
  return session->pool->parallelFor(fn, closure, n, grain);
}

static void *tableSegmentAlloc(void *context, int64_t bytes) {
  ssmrt_session *session = contextOf(context).session;
  return session ? session->segment.allocate(session->allocator, bytes) : nullptr;
}

static int64_t tableSegmentMark(void *context) {
  ssmrt_session *session = contextOf(context).session;
  return session ? session->segment.mark() : 0;
}

static void tableSegmentRelease(void *context, int64_t mark) {
  if (ssmrt_session *session = contextOf(context).session)
    session->segment.release(mark);
}

static void *tableOutput(void *context, int32_t index, const int64_t *dims) {
  ssmrt_session *session = contextOf(context).session;
  return session ? session->output(index, dims) : nullptr;
}

static int32_t tableReport(void *context, int32_t site, const int64_t *values, int32_t numValues) {
  return contextOf(context).report(site, values, numValues);
}

double ssmrt::secondsNow() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

static void tableKernel(void *context, const char *name, int32_t ends, int64_t bytes,
                        int64_t flops) {
  ssmrt_session *session = contextOf(context).session;
  if (!session || !session->kernelHook)
    return;
  if (session->queue)
    return session->queue->kernel(name, ends, bytes, flops);
  double now = secondsNow();
  if (!ends) {
    session->kernelBegin = now;
    return;
  }
  ssmrt_kernel_run run = {name, session->kernelBegin, now - session->kernelBegin, bytes, flops};
  session->kernelHook(session->kernelHookUser, &run);
}

static int32_t tableLaunch(void *context, int32_t kernel, const int64_t *grid, int32_t threads,
                           const void *const *params) {
  CallContext &call = contextOf(context);
  return call.session->queue->launch(call, kernel, grid, threads, params);
}

static int32_t tableRead(void *context, void *to, const void *from, int64_t bytes) {
  CallContext &call = contextOf(context);
  return call.session->queue->read(call, to, from, bytes);
}

static int32_t tableTensorMap(void *context, void *map, int32_t type, int32_t rank,
                              const void *data, const int64_t *dims, const int64_t *strides,
                              const int32_t *box, int32_t swizzle) {
  CallContext &call = contextOf(context);
  return call.session->queue->tensorMap(call, map, type, rank, data, dims, strides, box, swizzle);
}

static void *tableFault(void *context) { return contextOf(context).session->queue->fault(); }

static constexpr ssm_table makeTable(bool isDevice) {
  return {
      SSM_MODULE_ABI_VERSION,
      sizeof(ssm_table),
      tableParallelFor,
      tableSegmentAlloc,
      tableSegmentMark,
      tableSegmentRelease,
      tableOutput,
      tableReport,
      tableKernel,
      isDevice ? tableLaunch : nullptr,
      isDevice ? tableRead : nullptr,
      isDevice ? tableTensorMap : nullptr,
      isDevice ? tableFault : nullptr,
  };
}

static constexpr ssm_table cpuTable = makeTable(false);
static constexpr ssm_table deviceTable = makeTable(true);

const ssm_table &ssmrt::tableOf(const CallContext &context) {
  return context.session && context.session->queue ? deviceTable : cpuTable;
}

/// Copies `text` with "{0}", "{1}" replaced by values, as far as there is room.
static void formatCheck(char *to, size_t room, const char *text, const int64_t *values,
                        int32_t count) {
  size_t used = 0;
  while (*text && used + 1 < room) {
    const char *end = text + 1;
    int32_t index = 0;
    if (*text == '{') {
      while (*end >= '0' && *end <= '9' && index < 1000)
        index = index * 10 + (*end++ - '0');
      if (end > text + 1 && *end == '}' && index < count) {
        int wrote = std::snprintf(to + used, room - used, "%lld", (long long)values[index]);
        used += wrote > 0 ? size_t(wrote) : 0;
        text = end + 1;
        continue;
      }
    }
    to[used++] = *text++;
  }
  to[used < room ? used : room - 1] = 0;
}

int32_t CallContext::report(int32_t site, const int64_t *values, int32_t count) {
  Lock lock(mutex);
  if (reported)
    return SSM_RUN_CHECK_FAILED;
  reported = true;
  if (site < 0 || site >= entry->num_checks) {
    status = SSMRT_INTERNAL;
    std::snprintf(message, sizeof(message), "entry '%s' reported check %d, it has %d", entry->name,
                  site, entry->num_checks);
    return SSM_RUN_CHECK_FAILED;
  }
  status = SSMRT_CHECK_FAILED;
  const ssm_check_info &check = entry->checks[site];
  int used = std::snprintf(message, sizeof(message), "%s: ", check.node);
  size_t start = used < 0 ? 0 : size_t(used);
  if (start < sizeof(message))
    formatCheck(message + start, sizeof(message) - start, check.text, values, count);
  return SSM_RUN_CHECK_FAILED;
}

int32_t CallContext::refuse(ssmrt_status code, const char *format, ...) {
  Lock lock(mutex);
  if (!reported) {
    reported = true;
    status = code;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
  }
  return SSM_RUN_DEVICE_FAILED;
}

int32_t CallContext::keep(ssmrt_status failure) {
  return refuse(failure, "%s", ssmrt_last_message());
}

ssmrt_status ssmrt::statusOf(CallContext &context, int32_t returned, const char *step) {
  const char *name = context.entry->name;
  // Whatever it returns: what was reported has failed.
  if (context.reported)
    return fail(context.status, "%s", context.message);
  switch (returned) {
  case SSM_RUN_OK:
    return SSMRT_OK;
  case SSM_RUN_OUT_OF_MEMORY:
    return fail(SSMRT_OUT_OF_MEMORY, "out of memory in the %s of entry '%s'", step, name);
  default:
    return fail(SSMRT_INTERNAL, "the %s of entry '%s' returned %d without a report", step, name,
                returned);
  }
}

ssmrt_status ssmrt::planEntry(CallContext &context, const ssm_arg *args, int64_t *arenaBytes,
                              int64_t *outputDims) {
  const ssm_entry &entry = *context.entry;
  context.reported = false;
  *arenaBytes = 0;
  int32_t returned = entry.plan(&tableOf(context), &context, args, arenaBytes, outputDims);
  SSMRT_TRY(statusOf(context, returned, "plan"));
  if (*arenaBytes < 0)
    return fail(SSMRT_INTERNAL, "entry '%s' plans %lld bytes of arena", entry.name,
                (long long)*arenaBytes);
  for (int32_t i = 0, flat = 0; i < entry.num_outputs; ++i)
    for (int32_t axis = 0; axis < entry.outputs[i].rank; ++axis, ++flat)
      if (outputDims[flat] < -1)
        return fail(SSMRT_INTERNAL,
                    "entry '%s' plans size %lld for dimension %d of output "
                    "'%s'",
                    entry.name, (long long)outputDims[flat], axis, entry.outputs[i].name);
  return SSMRT_OK;
}
