/*===- DeviceModule.c - A module for GPUs written by hand ----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the compiler would emit for a GPU, in C; the kernels are in DeviceKernels.c.
// - main, step, pick: those of TestModule.c
// - tiles:  y = x + 1, by a persistent kernel with much shared memory; the blocks
//           that ran
// - moved:  y = x, by tensor maps
// - faulty: breaks the contract in the way that its input names
//
//===---------------------------------------------------------------------===*/

#include "TestEntries.h"

/*===--- Kernels ----------------------------------------------------------===*/

enum { TWICE, ADD, ACCUMULATE, APPEND, SELECT, COPY64, STORE, CRASH, TILES, MOVE };

static const int32_t eights[] = {8, 8, 8, 8, 8, 8, 8};
static const int32_t storeBytes[] = {8, 4};
static const int32_t moveBytes[] = {128, 128};
static const ssm_device_kernel kernels[] = {
    {"twice", 1024, 0, 0, 3, eights, 10, 0, 0, 0},
    {"add", 1024, 0, SSM_KERNEL_OVERLAPS, 5, eights, 12, 0, 0, 0},
    {"accumulate", 1024, 0, 0, 5, eights, 16, 0, 0, 0},
    {"append", 1024, 0, 0, 7, eights, 31, 0, 0, 0},
    {"select", 1024, 0, 0, 6, eights, 16, 0, 0, 0},
    {"copy64", 1024, 0, 0, 3, eights, 8, 0, 0, 0},
    {"store", 1024, 0, 0, 2, storeBytes, 8, 0, 0, 0},
    {"crash", 1024, 0, 0, 1, eights, 8, 0, 0, 0},
    {"tiles", 128, 100 << 10, SSM_KERNEL_PERSISTENT, 4, eights, 22, 100 << 10, 4, 0},
    {"move", 32, 1024, 0, 2, moveBytes, 31, 1032, 0, 0},
};

#ifdef TEST_PTX
#include "DevicePtx.h" /* generated: devicePtx, of DeviceKernels.c */
#else
static const char devicePtx[] = "// what FakeKernels.cpp has\n.target sm_90\n";
#endif
static const ssm_image images[] = {{"sm_90", devicePtx, sizeof(devicePtx), SSM_IMAGE_PTX, 0}};

static int32_t launch(const ssm_table *table, void *context, int32_t kernel, int64_t n,
                      const void *const *params) {
  int64_t grid[] = {(n + 127) / 128, 1, 1};
  return table->launch(context, kernel, grid, 128, params);
}

/*===--- main -------------------------------------------------------------===*/

static const ssm_kernel_info mainKernels[] = {{"twice+add"}};

static int32_t mainRun(const ssm_table *table, void *context, const ssm_arg *args, void *arena,
                       const void *weights) {
  int64_t n = 4 * args[0].dims[0] * args[0].dims[1];
  float *z = table->output(context, 0, args[0].dims);
  if (!z)
    return SSM_RUN_OUTPUT_REFUSED;
  const void *twice[] = {&args[0].data, &arena, &n};
  const void *add[] = {&arena, &args[1].data, &weights, &z, &n};
#ifdef TEST_PROFILE
  table->kernel(context, mainKernels[0].name, 0, 12 * n, 3 * n);
#endif
  int32_t status = launch(table, context, TWICE, n, twice);
  if (!status)
    status = launch(table, context, ADD, n, add);
#ifdef TEST_PROFILE
  table->kernel(context, mainKernels[0].name, 1, 12 * n, 3 * n);
#endif
  return status;
}

/*===--- step -------------------------------------------------------------===*/

static int32_t stepRun(const ssm_table *table, void *context, const ssm_arg *args, void *arena,
                       const void *weights) {
  (void)arena, (void)weights;
  int64_t batch = args[0].dims[0], past = args[2].dims[1], n = 4 * batch;
  int64_t grown[] = {batch, past + 1, 4};
  float *y = table->output(context, 0, args[0].dims);
  float *newH = y ? table->output(context, 1, args[1].dims) : NULL;
  float *newKv = newH ? table->output(context, 2, grown) : NULL;
  if (!newKv)
    return SSM_RUN_OUTPUT_REFUSED;
  void *fault = table->fault(context);
  const void *accumulate[] = {&args[0].data, &args[1].data, &newH, &n, &fault};
  const void *append[] = {&args[0].data, &args[2].data, &newH, &newKv, &y, &batch, &past};
  int32_t status = launch(table, context, ACCUMULATE, n, accumulate);
  return status ? status : launch(table, context, APPEND, n, append);
}

/*===--- pick -------------------------------------------------------------===*/

static int32_t pickRun(const ssm_table *table, void *context, const ssm_arg *args, void *arena,
                       const void *weights) {
  (void)arena, (void)weights;
  int64_t n = args[0].dims[0], count;
  int64_t *found = table->segment_alloc(context, n * 8);
  int64_t *counted = table->segment_alloc(context, 8);
  if (!found || !counted)
    return SSM_RUN_OUT_OF_MEMORY;
  void *fault = table->fault(context);
  const void *select[] = {&args[0].data, &args[1].data, &n, &found, &counted, &fault};
  int64_t one[] = {1, 1, 1};
  int32_t status = table->launch(context, SELECT, one, 32, select);
  if (!status)
    status = table->read(context, &count, counted, 8);
  if (status)
    return status;
  int64_t *result = table->output(context, 0, &count);
  if (!result)
    return SSM_RUN_OUTPUT_REFUSED;
  const void *copy[] = {&found, &result, &count};
  return launch(table, context, COPY64, count, copy);
}

/*===--- tiles ------------------------------------------------------------===*/

static const ssm_value_info tilesInputs[] = {{"x", SSM_TYPE_F32, 1, n1}};
static const ssm_dim none[] = {{1, NULL}};
static const ssm_value_info tilesOutputs[] = {{"y", SSM_TYPE_F32, 1, n1},
                                              {"blocks", SSM_TYPE_I32, 1, none}};

static int32_t tilesPlan(const ssm_table *table, void *context, const ssm_arg *args,
                         int64_t *arenaBytes, int64_t *outputDims) {
  (void)table, (void)context;
  *arenaBytes = 0;
  outputDims[0] = args[0].dims[0];
  outputDims[1] = 1;
  return SSM_RUN_OK;
}

static int32_t tilesRun(const ssm_table *table, void *context, const ssm_arg *args, void *arena,
                        const void *weights) {
  (void)arena, (void)weights;
  int64_t n = args[0].dims[0], one = 1;
  float *y = table->output(context, 0, &n);
  int32_t *blocks = y ? table->output(context, 1, &one) : NULL;
  if (!blocks)
    return SSM_RUN_OUTPUT_REFUSED;
  const void *params[] = {&args[0].data, &y, &n, &blocks};
  return launch(table, context, TILES, n, params);
}

/*===--- moved ------------------------------------------------------------===*/

static const ssm_dim n32[] = {{-1, "n"}, {32, NULL}};
static const ssm_value_info movedInputs[] = {{"x", SSM_TYPE_F32, 2, n32}};
static const ssm_value_info movedOutputs[] = {{"y", SSM_TYPE_F32, 2, n32}};

static int32_t movedPlan(const ssm_table *table, void *context, const ssm_arg *args,
                         int64_t *arenaBytes, int64_t *outputDims) {
  (void)table, (void)context;
  *arenaBytes = 0;
  outputDims[0] = args[0].dims[0];
  outputDims[1] = 32;
  return SSM_RUN_OK;
}

static int32_t movedRun(const ssm_table *table, void *context, const ssm_arg *args, void *arena,
                        const void *weights) {
  (void)arena, (void)weights;
  float *y = table->output(context, 0, args[0].dims);
  if (!y)
    return SSM_RUN_OUTPUT_REFUSED;
  struct {
    __attribute__((aligned(64))) char bytes[128];
  } from, to;
  int64_t dims[] = {32, args[0].dims[0]}, strides[] = {128};
  int32_t box[] = {32, 8};
  int32_t status = table->tensor_map(context, &from, SSM_TYPE_F32, 2, args[0].data, dims, strides,
                                     box, SSM_SWIZZLE_NONE);
  if (!status)
    status = table->tensor_map(context, &to, SSM_TYPE_F32, 2, y, dims, strides, box,
                               SSM_SWIZZLE_NONE);
  if (status)
    return status;
  const void *params[] = {&from, &to};
  int64_t grid[] = {(dims[1] + 7) / 8, 1, 1};
  return table->launch(context, MOVE, grid, 32, params);
}

/*===--- faulty -----------------------------------------------------------===*/

static const ssm_value_info faultyInputs[] = {{"fault", SSM_TYPE_I32, 0, NULL}};
static const ssm_value_info faultyOutputs[] = {{"out", SSM_TYPE_I32, 1, open1}};
static const ssm_check_info faultyChecks[] = {{"Node (Op)", "{0} {1}"}};

static int32_t faultyRun(const ssm_table *table, void *context, const ssm_arg *args, void *arena,
                         const void *weights) {
  (void)arena, (void)weights;
  int64_t one = 1, values[] = {5, -6};
  int64_t grid[] = {1, 1, 1}, negative[] = {-1, 1, 1}, high[] = {1, 70000, 1}, empty[] = {5, 0, 1};
  int32_t which, box[] = {3}, answer = 42;
  int32_t status = table->read(context, &which, args[0].data, 4);
  if (status)
    return status;
  int32_t *out = table->output(context, 0, &one);
  if (!out)
    return SSM_RUN_OUTPUT_REFUSED;
  const void *store[] = {&out, &answer};
  status = table->launch(context, STORE, grid, 32, store);
  if (status)
    return status;
  const void *zero = NULL;
  const void *crash[] = {&zero};
  __attribute__((aligned(64))) char map[128];
  switch (which) {
  case 1:
    return table->launch(context, 99, grid, 32, store);
  case 2:
    return table->launch(context, STORE, grid, 33, store);
  case 3:
    return table->launch(context, STORE, negative, 32, store);
  case 4: /* and goes on as if nothing were */
    table->launch(context, STORE, high, 32, store);
    return SSM_RUN_OK;
  case 5:
    return table->launch(context, CRASH, grid, 32, crash);
  case 6:
    return table->tensor_map(context, map, SSM_TYPE_F32, 1, out, &one, NULL, box, 9);
  case 7:
    return table->tensor_map(context, map, SSM_TYPE_F32, 1, (char *)out + 4, &one, NULL, box, 0);
  case 8:
    return table->report(context, 0, values, 2);
  case 9:
    return table->segment_alloc(context, (int64_t)1 << 50) ? 99 : SSM_RUN_OUT_OF_MEMORY;
  case 10:
    return SSM_RUN_DEVICE_FAILED; /* which no function has returned */
  case 11:
    return table->launch(context, STORE, empty, 32, store);
  case 12: /* found only when all is done */
    table->launch(context, CRASH, grid, 32, crash);
    return table->read(context, &which, out, 4);
  }
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
    {"tiles", COUNT(tilesInputs), COUNT(tilesOutputs), 0, 0, 0, 0, tilesInputs, tilesOutputs, NULL,
     NULL, NULL, tilesPlan, tilesRun},
    {"moved", COUNT(movedInputs), COUNT(movedOutputs), 0, 0, 0, 0, movedInputs, movedOutputs, NULL,
     NULL, NULL, movedPlan, movedRun},
    {"faulty", COUNT(faultyInputs), COUNT(faultyOutputs), 0, COUNT(faultyChecks), 0, 0,
     faultyInputs, faultyOutputs, NULL, faultyChecks, NULL, pickPlan, faultyRun},
};

#ifndef TEST_SYMBOL
#define TEST_SYMBOL SSM_MODULE_SYMBOL
#endif
extern const struct ssm_module deviceModule __asm__(TEST_SYMBOL);
__attribute__((visibility("default"))) const struct ssm_module deviceModule = {
    SSM_MODULE_MAGIC,
    SSM_MODULE_ABI_VERSION,
    sizeof(struct ssm_module),
    COUNT(entries),
    entries,
    "by hand",
    "-O0",
    TEST_HOST "-unknown-linux-gnu",
    "generic",
    "",
    COUNT(weights),
    0,
    weights,
    NULL,
    NULL,
    "TestModule.weights.safetensors",
    TEST_WEIGHTS_FILE_BYTES,
    TEST_WEIGHTS_BASE,
    TEST_WEIGHTS_HEADER_HASH,
    "cuda",
    kernels,
    images,
    COUNT(kernels),
    COUNT(images),
};
