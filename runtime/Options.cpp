//===- Options.cpp - Options of sessions ----------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Session.h"

using namespace ssmrt;

ssmrt_status ssmrt_session_options_create(ssmrt_session_options **options) {
  if (!options)
    return fail(SSMRT_INVALID_ARGUMENT, "options is NULL");
  *options = make<ssmrt_session_options>();
  return *options ? SSMRT_OK : outOfMemory("options", sizeof(ssmrt_session_options));
}

void ssmrt_session_options_destroy(ssmrt_session_options *options) { unmake(options); }

static ssmrt_status need(const void *options) {
  return options ? SSMRT_OK : fail(SSMRT_INVALID_ARGUMENT, "options is NULL");
}

ssmrt_status ssmrt_session_options_set_threads(ssmrt_session_options *options, int32_t threads) {
  SSMRT_TRY(need(options));
  if (threads < 0 || threads > 4096)
    return fail(SSMRT_INVALID_ARGUMENT, "number of threads is %d, expected 0 to 4096", threads);
  options->threads = threads;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_options_set_pool(ssmrt_session_options *options, ssmrt_pool *pool) {
  SSMRT_TRY(need(options));
  if (pool)
    ssmrt_pool_retain(pool);
  ssmrt_pool_release(options->pool);
  options->pool = pool;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_options_set_parallel_for(ssmrt_session_options *options,
                                                    ssmrt_parallel_for_fn parallelFor, void *user) {
  SSMRT_TRY(need(options));
  options->parallelFor = parallelFor;
  options->parallelForUser = user;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_options_set_allocator(ssmrt_session_options *options,
                                                 const ssmrt_allocator *allocator) {
  SSMRT_TRY(need(options));
  if (allocator && (!allocator->allocate || !allocator->release))
    return fail(SSMRT_INVALID_ARGUMENT, "the allocator lacks a function");
  options->hasAllocator = allocator;
  options->allocator = allocator ? Allocator(*allocator) : Allocator();
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_options_set_output_allocator(ssmrt_session_options *options,
                                                        ssmrt_output_fn output, void *user) {
  SSMRT_TRY(need(options));
  options->output = output;
  options->outputUser = user;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_options_set_kernel_hook(ssmrt_session_options *options,
                                                   ssmrt_kernel_fn hook, void *user) {
  SSMRT_TRY(need(options));
  options->kernelHook = hook;
  options->kernelHookUser = user;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_options_set_stream(ssmrt_session_options *options, void *stream) {
  SSMRT_TRY(need(options));
  options->stream = stream;
  options->hasStream = true;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_options_set_device_outputs(ssmrt_session_options *options,
                                                      int onDevice) {
  SSMRT_TRY(need(options));
  options->deviceOutputs = onDevice != 0;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_options_set_graphs(ssmrt_session_options *options, int graphs) {
  SSMRT_TRY(need(options));
  options->graphs = graphs != 0;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_options_set_foreign_states(ssmrt_session_options *options, int allow) {
  SSMRT_TRY(need(options));
  options->foreignStates = allow != 0;
  return SSMRT_OK;
}

ssmrt_status ssmrt_session_options_set_carry_states(ssmrt_session_options *options, int carry) {
  SSMRT_TRY(need(options));
  options->carryStates = carry != 0;
  return SSMRT_OK;
}
