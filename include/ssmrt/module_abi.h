//===- module_abi.h - What a compiled module exports ------------*- C -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The binary contract between a compiled module and the runtime that loads it.
// A module is a shared object that exports one data symbol, SSM_MODULE_SYMBOL,
// of type ssm_module. Everything in it is constant: it can be read, and the CPU
// checked against it, before any code of the module runs.
//
// All tensors are dense, row major, 64-byte aligned where the runtime allocates
// them. Sizes count elements unless a name says bytes. Strings are UTF-8 and
// NUL-terminated. bool is one byte, 0 or 1.
//
// A file written by the compiler ends in an ssm_trailer, so that a damaged file
// is refused before the dynamic loader sees it.
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_MODULE_ABI_H
#define SSMRT_MODULE_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever a struct of this file changes; loader and module must agree. */
#define SSM_MODULE_ABI_VERSION 8u
#define SSM_MODULE_MAGIC 0x314d5353u /* "SSM1" */
#define SSM_MODULE_SYMBOL "ssm_module"
#define SSM_TRAILER_MAGIC "SSMMOD1" /* eight bytes with its NUL */
#define SSM_ABI_MAX_RANK 16

/* Element types carry the numbers of ONNX's TensorProto.DataType. */
typedef enum ssm_type {
  SSM_TYPE_F32 = 1,
  SSM_TYPE_U8 = 2,
  SSM_TYPE_I8 = 3,
  SSM_TYPE_U16 = 4,
  SSM_TYPE_I16 = 5,
  SSM_TYPE_I32 = 6,
  SSM_TYPE_I64 = 7,
  SSM_TYPE_BOOL = 9,
  SSM_TYPE_F16 = 10,
  SSM_TYPE_F64 = 11,
  SSM_TYPE_U32 = 12,
  SSM_TYPE_U64 = 13,
  SSM_TYPE_BF16 = 16,
  SSM_TYPE_F8E4M3FN = 17,
  SSM_TYPE_F8E5M2 = 19
} ssm_type;

/* What run and plan return. */
enum {
  SSM_RUN_OK = 0,
  SSM_RUN_CHECK_FAILED = 1,   /* reported through table->report */
  SSM_RUN_OUT_OF_MEMORY = 2,  /* a table function returned NULL */
  SSM_RUN_OUTPUT_REFUSED = 3, /* table->output returned NULL */
  SSM_RUN_DEVICE_FAILED = 4   /* launch, read or tensor_map returned this */
};

/* One input of a call. */
typedef struct ssm_arg {
  const void *data;    /* NULL in plan */
  const int64_t *dims; /* rank of them */
} ssm_arg;

/* A piece of a parallel loop over [lo, hi). Non-zero return stops the loop. */
typedef int32_t (*ssm_range_fn)(void *closure, int64_t lo, int64_t hi);

/* The functions a module may call back. `context` is the pointer given to run. */
typedef struct ssm_table {
  uint32_t abi_version;
  uint32_t struct_bytes;

  /* Runs fn over [0, n) in pieces of `grain` or more, where n allows it, returns
   * when all are done: 0, or the non-zero value of one piece. */
  int32_t (*parallel_for)(void *context, ssm_range_fn fn, void *closure, int64_t n, int64_t grain);

  /* Memory whose size is known only inside a run, 64-byte aligned, valid until
   * the run ends or an earlier mark is released. NULL: out of memory. */
  void *(*segment_alloc)(void *context, int64_t bytes);
  int64_t (*segment_mark)(void *context);
  void (*segment_release)(void *context, int64_t mark);

  /* Tells the true shape of output `index` and gets where to write it: the
   * caller's buffer, or memory of an allocator. NULL: it does not fit or cannot
   * be had. Called exactly once for each output of a successful run. */
  void *(*output)(void *context, int32_t index, const int64_t *dims);

  /* Reports that check `site` of the running entry failed, with the values its
   * text refers to. Returns the status that run is to return. */
  int32_t (*report)(void *context, int32_t site, const int64_t *values, int32_t num_values);

  /* Tells that a kernel of the entry begins (ends is 0) or is done (1), the bytes
   * it moves at least and its floating point operations; -1: not known. Called by
   * modules that were compiled for it alone. */
  void (*kernel)(void *context, const char *name, int32_t ends, int64_t bytes, int64_t flops);

  /* The rest is for versions with device kernels, NULL otherwise. There, arena,
   * segment, weights, inputs and outputs are memory of the device, which only
   * kernels read and write; all of it is aligned to 16 bytes at least. A tensor without
   * elements may be anywhere.
   *
   * What a run queues follows from dims and pointers alone until it reads values: the
   * runtime may queue the same again (a graph) and not call `run`. */

  /* Queues device kernel `kernel` of the version behind all that were queued
   * before: grid[0] x grid[1] x grid[2] blocks of `threads` threads (a multiple of 32,
   * at most max_threads of the kernel). params[i] points to parameter i, of the
   * size that the kernel tells. A grid with a 0 runs nothing. Returns 0 or
   * SSM_RUN_DEVICE_FAILED. */
  int32_t (*launch)(void *context, int32_t kernel, const int64_t *grid, int32_t threads,
                    const void *const *params);

  /* Waits for all that was queued, then copies bytes of the device to the host.
   * Where a device check has failed (see fault) it is reported, and
   * SSM_RUN_CHECK_FAILED returned. */
  int32_t (*read)(void *context, void *to, const void *from, int64_t bytes);

  /* Makes a tensor map of 128 bytes (64-byte aligned) for bulk copies between device memory and shared
   * memory: `rank` dims, innermost first, strides in bytes of all but the
   * innermost, the box that one copy moves, and how it lies in shared memory
   * (SSM_SWIZZLE_...). With a dim of 0 the map is
   * nothing that a kernel may use. Returns 0 or SSM_RUN_DEVICE_FAILED. */
  int32_t (*tensor_map)(void *context, void *map, int32_t type, int32_t rank, const void *data,
                        const int64_t *dims, const int64_t *strides, const int32_t *box,
                        int32_t swizzle);

  /* Device memory of SSM_FAULT_WORDS int64, all 0 when a run begins. A kernel that
   * finds a check failed sets word 0 from 0 to 1 + site (atomically), and if that
   * was its doing, word 1 to the number of values and the rest to the values that
   * `report` would get. Kernels queued after it run and must be safe all the same. The runtime
   * looks at the end of the run and in `read`. Behind these words lie SSM_FLAG_WORDS int32, all 0
   * when a kernel of the session begins: with them blocks of a persistent kernel tell each
   * other that something is done. Who waited for a flag sets it to 0 again. */
  void *(*fault)(void *context);
} ssm_table;

#define SSM_FAULT_WORDS 16
#define SSM_FLAG_WORDS 1024

enum { SSM_SWIZZLE_NONE = 0, SSM_SWIZZLE_32 = 1, SSM_SWIZZLE_64 = 2, SSM_SWIZZLE_128 = 3 };

/* Flags of a device kernel. */
enum {
  /* May begin before the kernels in front of it end: it waits for them itself
   * (programmatic dependent launch). Without effect where the image taken is for
   * chips before sm_90. */
  SSM_KERNEL_OVERLAPS = 1,
  /* grid[0] is bounded by what runs at once on the device. */
  SSM_KERNEL_PERSISTENT = 2,
  /* Reads inputs of the run before it waits: what was queued before the run has to be done
   * before its first kernel begins. */
  SSM_KERNEL_READS_EARLY = 4,
  /* Blocks that differ along axis 1 alone, up to 8, are a cluster; one block is none. */
  SSM_KERNEL_CLUSTERS = 8
};

/* A kernel of a version's images. Numbers are those of the image for the
 * version's own chip, -1 where it has none. */
typedef struct ssm_device_kernel {
  const char *name;       /* its symbol */
  int32_t max_threads;    /* of a block */
  int32_t dynamic_shared; /* bytes that the launch asks for */
  int32_t flags;
  int32_t num_params;
  const int32_t *param_bytes;
  int32_t registers;    /* of a thread */
  int32_t shared_bytes; /* static and dynamic */
  int32_t spill_bytes;  /* of a thread */
  int32_t reserved;
} ssm_device_kernel;

enum { SSM_IMAGE_CUBIN = 1, SSM_IMAGE_PTX = 2 };

/* All device kernels of a version in one form. */
typedef struct ssm_image {
  const char *chip; /* "sm_90a": that chip alone; "sm_90": also later minor versions; of PTX:
                     * that chip and all later ones, unless it ends in "a" */
  const void *data; /* PTX ends in NUL, which counts */
  int64_t bytes;
  int32_t kind; /* SSM_IMAGE_... */
  int32_t reserved;
} ssm_image;

/* One dimension of a signature. */
typedef struct ssm_dim {
  int64_t value;    /* size, or -1 if symbolic */
  const char *name; /* symbol: equal names are equal sizes; NULL if unnamed */
} ssm_dim;

typedef struct ssm_value_info {
  const char *name; /* the ONNX name */
  int32_t type;     /* ssm_type */
  int32_t rank;
  const ssm_dim *dims;
} ssm_value_info;

typedef enum ssm_state_kind {
  SSM_STATE_FIXED = 0, /* same shape in and out */
  SSM_STATE_APPEND = 1 /* output grows along `axis` (a key-value cache) */
} ssm_state_kind;

/* A recurrent state: an input and the output that replaces it. */
typedef struct ssm_state_info {
  int32_t input;
  int32_t output;
  int32_t kind;
  int32_t axis; /* for SSM_STATE_APPEND */
  /* 1: the output may be written where the input is, if it has the same shape: no element is
   * read after it was written. Of a state that appends 0. */
  int32_t in_place;
} ssm_state_info;

/* A run-time check: "{0}", "{1}" in the text stand for the reported values. */
typedef struct ssm_check_info {
  const char *node; /* name and operator of the ONNX node */
  const char *text;
} ssm_check_info;

typedef struct ssm_kernel_info {
  const char *name;
} ssm_kernel_info;

/* Fills *arena_bytes, and for each output in turn its dims into output_dims
 * (flattened; -1 where only a run can tell). Reads args[i].dims only. */
typedef int32_t (*ssm_plan_fn)(const ssm_table *table, void *context, const ssm_arg *args,
                               int64_t *arena_bytes, int64_t *output_dims);

/* Computes all outputs. `arena` has the bytes plan told; `weights` is the base
 * that weight offsets count from. Both 64-byte aligned, NULL if not needed. */
typedef int32_t (*ssm_run_fn)(const ssm_table *table, void *context, const ssm_arg *args,
                              void *arena, const void *weights);

typedef struct ssm_entry {
  const char *name;
  int32_t num_inputs, num_outputs, num_states, num_checks, num_kernels;
  int32_t reserved;
  const ssm_value_info *inputs;
  const ssm_value_info *outputs;
  const ssm_state_info *states;
  const ssm_check_info *checks;
  const ssm_kernel_info *kernels;
  ssm_plan_fn plan;
  ssm_run_fn run;
} ssm_entry;

typedef struct ssm_weight_info {
  const char *name;
  int32_t type; /* ssm_type */
  int32_t rank;
  const int64_t *dims;
  int64_t offset; /* from the weights base, 64-byte aligned */
  int64_t bytes;
  uint64_t hash; /* XXH3_64bits of the bytes */
} ssm_weight_info;

typedef struct ssm_module {
  uint32_t magic;
  uint32_t abi_version;
  uint32_t struct_bytes;
  int32_t num_entries;
  const ssm_entry *entries;
  const char *producer; /* compiler and version */
  const char *options;  /* the command line that made it, paths left out */
  const char *target;   /* LLVM triple */
  const char *cpu;
  const char *features; /* comma-separated LLVM names the code needs */

  int32_t num_weights;
  int32_t num_versions;
  const ssm_weight_info *weights;
  /* The same model for other processors and devices, best first and all behind this one; they
   * have no versions themselves. The first that the machine can run is taken, of those
   * for the device asked for. All of them use one weights file. */
  const struct ssm_module *const *versions;
  /* Embedded weights, or NULL: then a safetensors file of weights_file_bytes
   * bytes is mapped; its first weights_base bytes (length word and header) hash
   * to weights_header_hash (XXH3_64bits) and weight offsets count from there. */
  const void *embedded_weights;
  const char *weights_file; /* file name beside the module */
  int64_t weights_file_bytes;
  int64_t weights_base;
  uint64_t weights_header_hash;

  /* A version for a device: "cuda"; NULL: for CPUs. Its host code needs the features
   * above. Images best first: the first that the device can run is taken. */
  const char *device;
  const ssm_device_kernel *device_kernels;
  const ssm_image *images;
  int32_t num_device_kernels, num_images;

  /* Of the model and its weights, the same however it was compiled: states that were
   * saved tell by it whose they are. 0: not known. */
  uint64_t model_hash;
} ssm_module;

/* The last bytes of a module file. */
typedef struct ssm_trailer {
  char magic[8];          /* SSM_TRAILER_MAGIC */
  uint64_t content_bytes; /* length of the file before the trailer */
  uint64_t hash_low;      /* XXH3_128bits of these bytes */
  uint64_t hash_high;
} ssm_trailer;

#ifdef __cplusplus
}
static_assert(sizeof(ssm_arg) == 16, "ABI layout");
static_assert(sizeof(ssm_table) == 96, "ABI layout");
static_assert(sizeof(ssm_dim) == 16, "ABI layout");
static_assert(sizeof(ssm_value_info) == 24, "ABI layout");
static_assert(sizeof(ssm_state_info) == 20, "ABI layout");
static_assert(sizeof(ssm_entry) == 88, "ABI layout");
static_assert(sizeof(ssm_weight_info) == 48, "ABI layout");
static_assert(sizeof(ssm_device_kernel) == 48, "ABI layout");
static_assert(sizeof(ssm_image) == 32, "ABI layout");
static_assert(sizeof(ssm_module) == 168, "ABI layout");
static_assert(sizeof(ssm_trailer) == 32, "ABI layout");
#endif

#endif /* SSMRT_MODULE_ABI_H */
