/*===- TestEntries.h - What the hand-written modules share --------*- C -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Signatures and plans of the entries that TestModule.c has for CPUs and
// DeviceModule.c for GPUs, and their weight.
//
//===---------------------------------------------------------------------===*/

#ifndef SSM_TEST_UNIT_RUNTIME_TESTENTRIES_H
#define SSM_TEST_UNIT_RUNTIME_TESTENTRIES_H

#include "TestWeights.h" /* generated: sizes and hashes of the weights file */
#include "ssmrt/module_abi.h"

#include <stddef.h>

#define COUNT(array) ((int32_t)(sizeof(array) / sizeof(array[0])))

/*===--- main -------------------------------------------------------------===*/

static const ssm_dim bs4[] = {{-1, "batch"}, {-1, "seq"}, {4, NULL}};
static const ssm_value_info mainInputs[] = {{"x", SSM_TYPE_F32, 3, bs4},
                                            {"y", SSM_TYPE_F32, 3, bs4}};
static const ssm_value_info mainOutputs[] = {{"z", SSM_TYPE_F32, 3, bs4}};

static int32_t mainPlan(const ssm_table *table, void *context, const ssm_arg *args,
                        int64_t *arenaBytes, int64_t *outputDims) {
  (void)table, (void)context;
  *arenaBytes = 4 * 4 * args[0].dims[0] * args[0].dims[1];
  for (int axis = 0; axis < 3; ++axis)
    outputDims[axis] = args[0].dims[axis];
  return SSM_RUN_OK;
}

/*===--- step -------------------------------------------------------------===*/

static const ssm_dim b4[] = {{-1, "batch"}, {4, NULL}};
static const ssm_dim bp4[] = {{-1, "batch"}, {-1, "past"}, {4, NULL}};
static const ssm_dim bt4[] = {{-1, "batch"}, {-1, "total"}, {4, NULL}};
static const ssm_value_info stepInputs[] = {
    {"x", SSM_TYPE_F32, 2, b4}, {"h", SSM_TYPE_F32, 2, b4}, {"kv", SSM_TYPE_F32, 3, bp4}};
static const ssm_value_info stepOutputs[] = {
    {"y", SSM_TYPE_F32, 2, b4}, {"new_h", SSM_TYPE_F32, 2, b4}, {"new_kv", SSM_TYPE_F32, 3, bt4}};
static const ssm_state_info stepStates[] = {{1, 1, SSM_STATE_FIXED, 0},
                                            {2, 2, SSM_STATE_APPEND, 1}};
static const ssm_check_info stepChecks[] = {
    {"Limit_1 (If)", "x[0] is {0}, expected less than {1}"}};

static int32_t stepPlan(const ssm_table *table, void *context, const ssm_arg *args,
                        int64_t *arenaBytes, int64_t *outputDims) {
  (void)table, (void)context;
  *arenaBytes = 0;
  outputDims[0] = outputDims[2] = outputDims[4] = args[0].dims[0];
  outputDims[1] = outputDims[3] = outputDims[6] = 4;
  outputDims[5] = args[2].dims[1] + 1;
  return SSM_RUN_OK;
}

/*===--- pick -------------------------------------------------------------===*/

static const ssm_dim n1[] = {{-1, "n"}};
static const ssm_dim open1[] = {{-1, NULL}};
static const ssm_value_info pickInputs[] = {{"ids", SSM_TYPE_I64, 1, n1},
                                            {"flags", SSM_TYPE_BOOL, 1, n1}};
static const ssm_value_info pickOutputs[] = {{"values", SSM_TYPE_I64, 1, open1}};
static const ssm_check_info pickChecks[] = {
    {"Gather_7 (Gather)", "index {0} at {1} is not in [0, {2})"}};

static int32_t pickPlan(const ssm_table *table, void *context, const ssm_arg *args,
                        int64_t *arenaBytes, int64_t *outputDims) {
  (void)table, (void)context, (void)args;
  *arenaBytes = 0;
  outputDims[0] = -1;
  return SSM_RUN_OK;
}

/*===--- The module -------------------------------------------------------===*/

static const int64_t four[] = {4};
static const ssm_weight_info weights[] = {{"w", SSM_TYPE_F32, 1, four, 0, 16, TEST_WEIGHT_HASH}};

#if defined(__x86_64__)
#define TEST_HOST "x86_64"
#elif defined(__aarch64__)
#define TEST_HOST "aarch64"
#else
#define TEST_HOST "riscv64"
#endif

#endif /* SSM_TEST_UNIT_RUNTIME_TESTENTRIES_H */
