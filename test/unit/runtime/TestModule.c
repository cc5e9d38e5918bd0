/*===- TestModule.c - A module written by hand ---------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the compiler would emit for four small entries over one weight, in C:
// - main:   z[b, s, 4] = 2 x + y + w, over a parallel loop
// - step:   h' = h + x (fixed), kv' = kv with x appended, y = h' + sum of kv'
// - pick:   the table values 10 * id of those ids whose flag is set; size known
//           only at run time, worked out in the segment
// - faulty: breaks the contract in the way that its input names
//
//===---------------------------------------------------------------------===*/

#include "TestEntries.h"

/*===--- main -------------------------------------------------------------===*/

static const ssm_kernel_info mainKernels[] = {{"add"}, {"scale"}};

struct MainLoop {
  const float *x, *y, *w;
  float *twice, *z;
};

static int32_t mainPiece(void *closure, int64_t lo, int64_t hi) {
  struct MainLoop *loop = closure;
  for (int64_t i = lo; i < hi; ++i) {
    loop->twice[i] = 2 * loop->x[i];
    loop->z[i] = loop->twice[i] + loop->y[i] + loop->w[i % 4];
  }
  return 0;
}

static int32_t mainRun(const ssm_table *table, void *context, const ssm_arg *args, void *arena,
                       const void *weights) {
  float *z = table->output(context, 0, args[0].dims);
  if (!z)
    return SSM_RUN_OUTPUT_REFUSED;
  struct MainLoop loop = {args[0].data, args[1].data, weights, arena, z};
  return table->parallel_for(context, mainPiece, &loop, 4 * args[0].dims[0] * args[0].dims[1], 8);
}

/*===--- step -------------------------------------------------------------===*/

static int32_t stepRun(const ssm_table *table, void *context, const ssm_arg *args, void *arena,
                       const void *weights) {
  (void)arena, (void)weights;
  const float *x = args[0].data, *h = args[1].data, *kv = args[2].data;
  int64_t batch = args[0].dims[0], past = args[2].dims[1];
  int64_t grown[] = {batch, past + 1, 4};
  float *y = table->output(context, 0, args[0].dims);
  float *newH = y ? table->output(context, 1, args[1].dims) : NULL;
  float *newKv = newH ? table->output(context, 2, grown) : NULL;
  if (!newKv)
    return SSM_RUN_OUTPUT_REFUSED;
  for (int64_t i = 0; i < batch * 4; ++i)
    newH[i] = h[i] + x[i];
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t c = 0; c < 4; ++c) {
      float sum = 0;
      for (int64_t t = 0; t <= past; ++t) {
        float value = t < past ? kv[(b * past + t) * 4 + c] : x[b * 4 + c];
        newKv[(b * (past + 1) + t) * 4 + c] = value;
        sum += value;
      }
      y[b * 4 + c] = newH[b * 4 + c] + sum;
    }
  /* Only now, with everything written: a late failure. */
  if (batch && x[0] >= 1000) {
    int64_t values[] = {(int64_t)x[0], 1000};
    return table->report(context, 0, values, 2);
  }
  return SSM_RUN_OK;
}

/*===--- pick -------------------------------------------------------------===*/

static int32_t pickRun(const ssm_table *table, void *context, const ssm_arg *args, void *arena,
                       const void *weights) {
  (void)arena, (void)weights;
  const int64_t *ids = args[0].data;
  const uint8_t *flags = args[1].data;
  int64_t n = args[0].dims[0], count = 0;
  int64_t mark = table->segment_mark(context);
  if (!table->segment_alloc(context, 100))
    return SSM_RUN_OUT_OF_MEMORY;
  table->segment_release(context, mark);
  int64_t *found = table->segment_alloc(context, n * 8);
  if (!found)
    return SSM_RUN_OUT_OF_MEMORY;
  for (int64_t i = 0; i < n; ++i) {
    int64_t values[] = {ids[i], i, 10};
    if (ids[i] < 0 || ids[i] >= 10)
      return table->report(context, 0, values, 3);
    if (flags[i])
      found[count++] = 10 * ids[i];
  }
  int64_t *result = table->output(context, 0, &count);
  if (!result)
    return SSM_RUN_OUTPUT_REFUSED;
  for (int64_t i = 0; i < count; ++i)
    result[i] = found[i];
  return SSM_RUN_OK;
}

/*===--- faulty -----------------------------------------------------------===*/

static const ssm_value_info faultyInputs[] = {{"fault", SSM_TYPE_I32, 0, NULL}};
static const ssm_value_info faultyOutputs[] = {{"out", SSM_TYPE_I32, 1, open1},
                                               {"four", SSM_TYPE_I32, 1, bs4 + 2}};
static const ssm_check_info faultyChecks[] = {{"Node (Op)", "{0} {1} {x} {"}};

static int32_t faultyPlan(const ssm_table *table, void *context, const ssm_arg *args,
                          int64_t *arenaBytes, int64_t *outputDims) {
  (void)table, (void)context, (void)args;
  *arenaBytes = 0;
  outputDims[0] = -1;
  outputDims[1] = 4;
  return SSM_RUN_OK;
}

static int32_t failingPiece(void *closure, int64_t lo, int64_t hi) {
  (void)hi;
  return lo <= *(int64_t *)closure ? 77 : 0;
}

static int32_t faultyRun(const ssm_table *table, void *context, const ssm_arg *args, void *arena,
                         const void *weights) {
  (void)arena, (void)weights;
  int64_t one = 1, four = 4, minus = -1, values[] = {5, -6};
  int64_t huge = (int64_t)1 << 61;
  switch (*(const int32_t *)args[0].data) {
  case 0: /* none */
    break;
  case 1: /* writes nothing */
    return SSM_RUN_OK;
  case 2:
    table->output(context, 0, &one);
    table->output(context, 0, &one);
    break;
  case 3:
    return 99;
  case 4:
    return table->report(context, 55, values, 2);
  case 5:
    table->output(context, 7, &one);
    break;
  case 6:
    table->output(context, 0, &minus);
    break;
  case 7: /* not what the signature says */
    table->output(context, 1, &one);
    break;
  case 8:
    if (!table->segment_alloc(context, huge))
      return SSM_RUN_OUT_OF_MEMORY;
    break;
  case 9:
    return table->report(context, 0, values, 2);
  case 10: /* reports and goes on as if nothing were */
    table->report(context, 0, values, 1);
    break;
  case 11:
    return table->parallel_for(context, failingPiece, &one, 1000, 1);
  case 12:
    return SSM_RUN_CHECK_FAILED; /* without a report */
  case 13:
    table->output(context, 0, &huge);
    break;
  case 14: /* uses much of the segment, and gives it back in odd ways */
    for (int i = 0; i < 100; ++i) {
      int64_t mark = table->segment_mark(context);
      char *data = table->segment_alloc(context, 1 + i * 5000);
      if (!data || (uintptr_t)data % 64)
        return SSM_RUN_OUT_OF_MEMORY;
      for (int at = 0; at <= i * 5000; ++at)
        data[at] = 1;
      if (i % 3 == 0)
        table->segment_release(context, mark);
    }
    table->segment_release(context, -5);
    table->segment_release(context, huge);
    break;
  }
  int32_t *out = table->output(context, 0, &one);
  int32_t *other = table->output(context, 1, &four);
  if (!out || !other)
    return SSM_RUN_OUTPUT_REFUSED;
  out[0] = 42;
  for (int i = 0; i < 4; ++i)
    other[i] = i;
  return SSM_RUN_OK;
}

/*===--- The module -------------------------------------------------------===*/

static const ssm_entry entries[] = {
    {"main", COUNT(mainInputs), COUNT(mainOutputs), 0, 0, COUNT(mainKernels), 0, mainInputs,
     mainOutputs, NULL, NULL, mainKernels, mainPlan, mainRun},
    {"step", COUNT(stepInputs), COUNT(stepOutputs), COUNT(stepStates), COUNT(stepChecks), 0, 0,
     stepInputs, stepOutputs, stepStates, stepChecks, NULL, stepPlan, stepRun},
    {"pick", COUNT(pickInputs), COUNT(pickOutputs), 0, COUNT(pickChecks), 0, 0, pickInputs,
     pickOutputs, NULL, pickChecks, NULL, pickPlan, pickRun},
    {"faulty", COUNT(faultyInputs), COUNT(faultyOutputs), 0, COUNT(faultyChecks), 0, 0,
     faultyInputs, faultyOutputs, NULL, faultyChecks, NULL, faultyPlan, faultyRun},
};

#ifndef TEST_TARGET
#define TEST_TARGET TEST_HOST "-unknown-linux-gnu"
#endif
#ifndef TEST_FEATURES
#define TEST_FEATURES ""
#endif
#ifndef TEST_MODEL_HASH
#define TEST_MODEL_HASH 0x123456789abcdef
#endif
#ifndef TEST_ABI_VERSION
#define TEST_ABI_VERSION SSM_MODULE_ABI_VERSION
#endif

/* C has one name space for the type and the variable: the label keeps them
 * apart. */
extern const struct ssm_module testModule __asm__(SSM_MODULE_SYMBOL);
__attribute__((visibility("default"))) const struct ssm_module testModule = {
    SSM_MODULE_MAGIC,
    TEST_ABI_VERSION,
    sizeof(struct ssm_module),
    COUNT(entries),
    entries,
    "by hand",
    "-O0",
    TEST_TARGET,
    "generic",
    TEST_FEATURES,
    COUNT(weights),
    0,
    weights,
    NULL,
    NULL,
    "TestModule.weights.safetensors",
    TEST_WEIGHTS_FILE_BYTES,
    TEST_WEIGHTS_BASE,
    TEST_WEIGHTS_HEADER_HASH,
    NULL,
    NULL,
    NULL,
    0,
    0,
    TEST_MODEL_HASH,
};
