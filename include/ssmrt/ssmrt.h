//===- ssmrt.h - The runtime's C API ----------------------------*- C -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loads compiled modules and runs them. Pure C99.
//
// - A function that can fail returns ssmrt_status; SSMRT_OK is 0. After a
//   failure ssmrt_last_message() says what was wrong, in the calling thread.
//   A failing call changes nothing: module and session stay usable.
// - Ownership is in the verb: what was created is destroyed, what was retained
//   is released. Creating or loading a counted handle retains it once.
// - Strings and arrays given in are copied unless said otherwise. Those given
//   out belong to the handle they came from and live as long.
// - Modules and pools may be used by several threads at once. A session serves
//   one call at a time; a second one gets SSMRT_BUSY.
// - Tensors are DLPack's, row major without gaps, on the CPU; of modules loaded
//   for a device also on that. "entry" is an index below
//   ssmrt_module_info.num_entries.
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_SSMRT_H
#define SSMRT_SSMRT_H

#include "ssmrt/dlpack.h"

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SSMRT_API __attribute__((visibility("default")))
#else
#define SSMRT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever a struct or function of this file changes its meaning. */
#define SSMRT_API_VERSION 5u

/* The version the library was built with; compare with SSMRT_API_VERSION. */
SSMRT_API uint32_t ssmrt_api_version(void);

/*===--- Status -----------------------------------------------------------===*/

typedef enum ssmrt_status {
  SSMRT_OK = 0,
  SSMRT_INVALID_ARGUMENT = 1, /* the call's arguments are wrong */
  SSMRT_NOT_FOUND = 2,        /* no entry, input, output or state of that name */
  SSMRT_IO_ERROR = 3,         /* a file cannot be opened, read or written */
  SSMRT_BAD_FILE = 4,         /* a file is damaged or not what it should be */
  SSMRT_UNSUPPORTED = 5,      /* other ABI version, missing CPU feature */
  SSMRT_OUT_OF_MEMORY = 6,
  SSMRT_CHECK_FAILED = 7,   /* a check of the model on the data it was given */
  SSMRT_OUTPUT_REFUSED = 8, /* a buffer is too small, an allocator said no */
  SSMRT_BUSY = 9,           /* the session is in another call */
  SSMRT_INTERNAL = 10,      /* the module broke its contract */
  SSMRT_NO_DEVICE = 11,     /* no driver, or no such device */
  SSMRT_DEVICE_FAILED = 12  /* the driver refused, or a kernel faulted: after that no
                             * session on the device can be used any more */
} ssmrt_status;

/* "ok", "invalid argument", ... */
SSMRT_API const char *ssmrt_status_name(ssmrt_status status);

/* What the latest failing call of this thread had to say. Valid until the
 * thread's next failing call. */
SSMRT_API const char *ssmrt_last_message(void);

/*===--- Modules ----------------------------------------------------------===*/

typedef struct ssmrt_module ssmrt_module;
typedef struct ssmrt_load_options ssmrt_load_options;
struct ssm_module; /* module_abi.h */

SSMRT_API ssmrt_status ssmrt_load_options_create(ssmrt_load_options **options);
SSMRT_API void ssmrt_load_options_destroy(ssmrt_load_options *options);

/* Where the weights file lies; default: beside the module, by the name that the
 * module tells. */
SSMRT_API ssmrt_status ssmrt_load_options_set_weights_file(ssmrt_load_options *options,
                                                           const char *path);

/* The whole weights file in memory. It is not copied: it must outlive the
 * module, and be aligned to 64 bytes. */
SSMRT_API ssmrt_status ssmrt_load_options_set_weights_memory(ssmrt_load_options *options,
                                                             const void *data, size_t bytes);

/* Where the module is to run: "cpu"; "cuda" or "cuda:0", an NVIDIA GPU, "cuda:1"
 * another; "none": nowhere, it can be described alone. Default: on the CPU, or on
 * "cuda" where the module has no version for CPUs. */
SSMRT_API ssmrt_status ssmrt_load_options_set_device(ssmrt_load_options *options,
                                                     const char *device);

/* Loads the module file `path`; of a module for several processors, the best
 * version that this machine can run. For a GPU, weights and kernels are copied there
 * now. Refused before any of its code runs: a file
 * that is not whole, another ABI version, a description that does not hold
 * together, CPU features this machine lacks, weights that do not belong to it.
 * `options` may be NULL. */
SSMRT_API ssmrt_status ssmrt_module_load(const char *path, const ssmrt_load_options *options,
                                         ssmrt_module **module);

/* The same for a module that is linked into the program. `description` must
 * outlive the module; weights that are not embedded come from the options. */
SSMRT_API ssmrt_status ssmrt_module_create(const struct ssm_module *description,
                                           const ssmrt_load_options *options,
                                           ssmrt_module **module);

SSMRT_API void ssmrt_module_retain(ssmrt_module *module);
SSMRT_API void ssmrt_module_release(ssmrt_module *module);

/* Compares the hash of every weight: reads all bytes. */
SSMRT_API ssmrt_status ssmrt_module_verify_weights(const ssmrt_module *module);

/*===--- What is in a module ----------------------------------------------===*/

typedef struct ssmrt_module_info {
  const char *path; /* as given to load; "" for a linked-in module */
  const char *producer;
  const char *options;
  const char *target;
  const char *cpu;      /* of several versions, the one that runs here */
  const char *features; /* comma separated; of that version */
  int32_t num_entries;
  int32_t num_weights;
  const char *weights_path; /* NULL: embedded, from memory, or none */
  int64_t weight_bytes;     /* of all weights */
  const char *device;       /* "cpu", "cuda:0", "none" */
  int32_t num_device_kernels; /* of all versions */
} ssmrt_module_info;

/* A kernel for a GPU, as it is for the chip it was compiled for. */
typedef struct ssmrt_device_kernel_info {
  const char *name;
  const char *chip;     /* "sm_90a" */
  int32_t max_threads;  /* of a block */
  int32_t registers;    /* of a thread; -1, as the next two: known by the driver alone */
  int32_t shared_bytes; /* of a block */
  int32_t spill_bytes;  /* of a thread */
} ssmrt_device_kernel_info;

/* The GPU that a module was loaded for. */
typedef struct ssmrt_device_info {
  const char *name;    /* "cuda:0" */
  const char *product; /* as its driver calls it */
  int32_t major, minor; /* 9, 0 of sm_90 */
  int32_t multiprocessors;
  double clock;                   /* Hz, of multiprocessors, at most */
  double memory_bytes_per_second; /* at most */
} ssmrt_device_info;

typedef struct ssmrt_entry_info {
  const char *name;
  int32_t num_inputs, num_outputs, num_states, num_checks, num_kernels;
} ssmrt_entry_info;

typedef struct ssmrt_dim {
  int64_t size;       /* or -1: told at run time */
  const char *symbol; /* equal symbols are equal sizes; NULL: none */
} ssmrt_dim;

#define SSMRT_MAX_RANK 16

typedef struct ssmrt_value_info {
  const char *name;
  DLDataType type;
  int32_t rank;
  ssmrt_dim dims[SSMRT_MAX_RANK];
} ssmrt_value_info;

typedef enum ssmrt_state_kind {
  SSMRT_STATE_FIXED = 0, /* the output has the input's shape */
  SSMRT_STATE_APPEND = 1 /* the output is longer along `axis` */
} ssmrt_state_kind;

typedef struct ssmrt_state_info {
  const char *name; /* of its input; states go by this name */
  int32_t input, output;
  ssmrt_state_kind kind;
  int32_t axis;
  int32_t in_place; /* 1: a run may be given one buffer for both, see ssmrt_session_run */
} ssmrt_state_info;

typedef struct ssmrt_weight_info {
  const char *name;
  DLDataType type;
  int32_t rank;
  const int64_t *dims;
  int64_t bytes;
  uint64_t hash;    /* XXH3, 64 bits */
  const void *data; /* read only */
} ssmrt_weight_info;

/* A run-time check: "{0}", "{1}" stand for the values of a failing run. */
typedef struct ssmrt_check_info {
  const char *node;
  const char *text;
} ssmrt_check_info;

SSMRT_API ssmrt_status ssmrt_module_get_info(const ssmrt_module *module, ssmrt_module_info *info);
SSMRT_API ssmrt_status ssmrt_module_get_entry(const ssmrt_module *module, int32_t entry,
                                              ssmrt_entry_info *info);
SSMRT_API ssmrt_status ssmrt_module_get_input(const ssmrt_module *module, int32_t entry,
                                              int32_t index, ssmrt_value_info *info);
SSMRT_API ssmrt_status ssmrt_module_get_output(const ssmrt_module *module, int32_t entry,
                                               int32_t index, ssmrt_value_info *info);
SSMRT_API ssmrt_status ssmrt_module_get_state(const ssmrt_module *module, int32_t entry,
                                              int32_t index, ssmrt_state_info *info);
SSMRT_API ssmrt_status ssmrt_module_get_check(const ssmrt_module *module, int32_t entry,
                                              int32_t index, ssmrt_check_info *info);
SSMRT_API ssmrt_status ssmrt_module_get_kernel(const ssmrt_module *module, int32_t entry,
                                               int32_t index, const char **name);
SSMRT_API ssmrt_status ssmrt_module_get_device_kernel(const ssmrt_module *module, int32_t index,
                                                      ssmrt_device_kernel_info *info);
/* SSMRT_NOT_FOUND: it was loaded for the CPU. */
SSMRT_API ssmrt_status ssmrt_module_get_device(const ssmrt_module *module,
                                               ssmrt_device_info *info);
SSMRT_API ssmrt_status ssmrt_module_get_weight(const ssmrt_module *module, int32_t index,
                                               ssmrt_weight_info *info);

/* Indices by name. */
SSMRT_API ssmrt_status ssmrt_module_find_entry(const ssmrt_module *module, const char *name,
                                               int32_t *entry);
SSMRT_API ssmrt_status ssmrt_module_find_input(const ssmrt_module *module, int32_t entry,
                                               const char *name, int32_t *index);
SSMRT_API ssmrt_status ssmrt_module_find_output(const ssmrt_module *module, int32_t entry,
                                                const char *name, int32_t *index);

/* A size for the dims of one symbol, or for one dim, "INPUT:AXIS". */
typedef struct ssmrt_size {
  const char *name;
  int64_t size;
} ssmrt_size;

/* The shape that input `index` has at the given sizes: `rank` numbers go to
 * dims, which may be NULL if that is 0. SSMRT_NOT_FOUND names a dim for which no size is given. */
SSMRT_API ssmrt_status ssmrt_module_resolve_input(const ssmrt_module *module, int32_t entry,
                                                  int32_t index, const ssmrt_size *sizes,
                                                  int32_t num_sizes, int64_t *dims);

/* Plans a run at the given sizes: how many bytes of arena it takes, and each
 * output's dims, one output after the other (-1 where only a run can tell, an
 * upper bound where the size depends on data). output_dims may be NULL. */
SSMRT_API ssmrt_status ssmrt_module_plan(const ssmrt_module *module, int32_t entry,
                                         const ssmrt_size *sizes, int32_t num_sizes,
                                         int64_t *arena_bytes, int64_t *output_dims);

/* The memory of a session that runs at some sizes. What only a run can size is
 * not in it. */
typedef struct ssmrt_memory {
  int64_t arena_bytes;  /* temporaries */
  int64_t state_bytes;  /* two values of each state, if the session carries them */
  int64_t output_bytes; /* outputs that are no states, if the caller has no buffers */
  int64_t total_bytes;  /* the three together */
  int64_t weight_bytes; /* mapped once for all sessions of the module */
} ssmrt_memory;

SSMRT_API ssmrt_status ssmrt_module_plan_memory(const ssmrt_module *module, int32_t entry,
                                                const ssmrt_size *sizes, int32_t num_sizes,
                                                ssmrt_memory *memory);

/*===--- Threads ----------------------------------------------------------===*/

typedef struct ssmrt_pool ssmrt_pool;

/* A pool of `threads` threads, the calling one among them; 0: as many as this
 * process may use. Workers start at first need and sleep when idle. */
SSMRT_API ssmrt_status ssmrt_pool_create(int32_t threads, ssmrt_pool **pool);
SSMRT_API void ssmrt_pool_retain(ssmrt_pool *pool);
SSMRT_API void ssmrt_pool_release(ssmrt_pool *pool);
SSMRT_API int32_t ssmrt_pool_threads(const ssmrt_pool *pool);

/* One piece [lo, hi) of a loop; non-zero stops the loop. */
typedef int32_t (*ssmrt_range_fn)(void *closure, int64_t lo, int64_t hi);

/* Runs fn over [0, n) in pieces of at least `grain`, in any order and on any
 * threads, and returns when all are done: 0, or what a failing piece gave. */
typedef int32_t (*ssmrt_parallel_for_fn)(void *user, ssmrt_range_fn fn, void *closure, int64_t n,
                                         int64_t grain);

/*===--- Sessions ---------------------------------------------------------===*/

typedef struct ssmrt_session ssmrt_session;
typedef struct ssmrt_session_options ssmrt_session_options;

/* Where a session's large blocks come from: arena, outputs, states; on a device
 * its memory. NULL from `allocate` is SSMRT_OUT_OF_MEMORY. Alignment is a power of two
 * up to 64. */
typedef struct ssmrt_allocator {
  void *user;
  void *(*allocate)(void *user, size_t bytes, size_t alignment);
  void (*release)(void *user, void *data, size_t bytes);
} ssmrt_allocator;

/* Asked for the memory of output `index` once its true shape is known. NULL
 * refuses it. Called during the run, by the thread that runs. */
typedef void *(*ssmrt_output_fn)(void *user, int32_t index, const int64_t *dims, int32_t rank,
                                 size_t bytes);

SSMRT_API ssmrt_status ssmrt_session_options_create(ssmrt_session_options **options);
SSMRT_API void ssmrt_session_options_destroy(ssmrt_session_options *options);

/* Threads of the session's own pool; 0 (default): all the process may use. */
SSMRT_API ssmrt_status ssmrt_session_options_set_threads(ssmrt_session_options *options,
                                                         int32_t threads);
/* A pool shared with others. Retained. */
SSMRT_API ssmrt_status ssmrt_session_options_set_pool(ssmrt_session_options *options,
                                                      ssmrt_pool *pool);
/* The caller's own pool. */
SSMRT_API ssmrt_status ssmrt_session_options_set_parallel_for(ssmrt_session_options *options,
                                                              ssmrt_parallel_for_fn parallel_for,
                                                              void *user);
SSMRT_API ssmrt_status ssmrt_session_options_set_allocator(ssmrt_session_options *options,
                                                           const ssmrt_allocator *allocator);
/* Memory for outputs that the call gives no buffer for. */
SSMRT_API ssmrt_status ssmrt_session_options_set_output_allocator(ssmrt_session_options *options,
                                                                  ssmrt_output_fn output,
                                                                  void *user);
/* A kernel that was run. */
typedef struct ssmrt_kernel_run {
  const char *kernel;
  double begin, seconds; /* of a steady clock, and how long it took */
  int64_t bytes; /* it must move at least, each of its buffers once; -1: not known */
  int64_t flops; /* its floating point operations at the sizes of the call, or -1 */
} ssmrt_kernel_run;

/* Called for each kernel that a run has run, by the thread that runs, in their
 * order: on the CPU as soon as it is done, on a device (which measures the times)
 * when the run is. On the CPU only modules compiled with --profile tell of kernels;
 * others tell on a device of each launch, without bytes and operations. */
typedef void (*ssmrt_kernel_fn)(void *user, const ssmrt_kernel_run *run);
SSMRT_API ssmrt_status ssmrt_session_options_set_kernel_hook(ssmrt_session_options *options,
                                                             ssmrt_kernel_fn hook, void *user);

/* Non-zero: the session keeps the states from one run to the next; they are
 * no longer inputs of the call. Default 0. */
SSMRT_API ssmrt_status ssmrt_session_options_set_carry_states(ssmrt_session_options *options,
                                                              int carry);

/* Non-zero: states saved by sessions of other models are restored too, if their names,
 * types and shapes fit. Default 0. */
SSMRT_API ssmrt_status ssmrt_session_options_set_foreign_states(ssmrt_session_options *options,
                                                                int allow);

/* For sessions on a device; others ignore them. */

/* The stream (a CUstream of the device's primary context, as runtime API and
 * frameworks use it) on which all work is queued, behind what the caller has queued
 * there. Default: a stream of the session's own. It must outlive the session. */
SSMRT_API ssmrt_status ssmrt_session_options_set_stream(ssmrt_session_options *options,
                                                        void *stream);
/* Non-zero: ssmrt_session_get_output and ssmrt_session_get_state view memory of the
 * device, and so does the output allocator give. Default 0: of the host, copied there
 * when it is asked for. */
SSMRT_API ssmrt_status ssmrt_session_options_set_device_outputs(ssmrt_session_options *options,
                                                                int on_device);
/* Zero: each kernel is launched by itself. Default 1: where dims and pointers are
 * those of two earlier runs, the run is one launch of a CUDA graph. */
SSMRT_API ssmrt_status ssmrt_session_options_set_graphs(ssmrt_session_options *options, int graphs);

/* A session of the entry named `entry`, or of the first one (NULL). Retains the
 * module. `options` may be NULL. */
SSMRT_API ssmrt_status ssmrt_session_create(ssmrt_module *module, const char *entry,
                                            const ssmrt_session_options *options,
                                            ssmrt_session **session);
/* Waits for what is queued in the session's own stream; on the caller's stream nothing of it may
 * be left. */
SSMRT_API void ssmrt_session_destroy(ssmrt_session *session);

/* The index of the session's entry. */
SSMRT_API int32_t ssmrt_session_entry(const ssmrt_session *session);

/* Allocates now what runs at these sizes need, so that runs up to them allocate
 * nothing (memory that only a run can size: once such a run was had). */
SSMRT_API ssmrt_status ssmrt_session_reserve(ssmrt_session *session, const ssmrt_size *sizes,
                                             int32_t num_sizes);

/* An input of a call. name NULL: the input at this position. On a device those of the
 * host are copied there, those of its memory (kDLCUDA) are used where they lie if
 * aligned to 16 bytes; that its bools are 0 or 1 is then for the caller to see to. */
typedef struct ssmrt_input {
  const char *name;
  const DLTensor *tensor;
} ssmrt_input;

/* The caller's memory for an output. name NULL: the output at this position. */
typedef struct ssmrt_buffer {
  const char *name;
  void *data;      /* aligned for the element type */
  size_t bytes;    /* its capacity */
  DLDevice device; /* where it lies; 0: on the host */
} ssmrt_buffer;

/* Runs the entry. Every input is needed, but not the states that the session
 * carries. Outputs without a buffer come from the output allocator, or from
 * memory of the session. Inputs must not change during the call: buffers overlap neither each
 * other nor inputs, but that of a state that is `in_place` (ssmrt_state_info) may be the memory of
 * its input, in the same shape. Where such a run fails the state is lost. States that the session
 * carries have two buffers, so that a failure loses none and a step can be taken back. */
SSMRT_API ssmrt_status ssmrt_session_run(ssmrt_session *session, const ssmrt_input *inputs,
                                         int32_t num_inputs, const ssmrt_buffer *outputs,
                                         int32_t num_outputs);

/* The same, without waiting for a device: what can be checked on the host is, the rest
 * is queued. Inputs must not change, and buffers not be read, before what the stream
 * tells, or ssmrt_session_synchronize. On the CPU it is ssmrt_session_run. */
SSMRT_API ssmrt_status ssmrt_session_run_async(ssmrt_session *session, const ssmrt_input *inputs,
                                               int32_t num_inputs, const ssmrt_buffer *outputs,
                                               int32_t num_outputs);

/* Waits for all runs so far, and tells of the first check on the device that failed
 * in one. The states are then as before, if one run was waited for, and without a
 * value, if several were. All calls but runs do the same first. */
SSMRT_API ssmrt_status ssmrt_session_synchronize(ssmrt_session *session);

/* Output `index` of the last run, if that succeeded; valid until the next, of which it may be
 * an input: that leaves its output in other memory then. On a device
 * without waiting for it, where device outputs are on. */
SSMRT_API ssmrt_status ssmrt_session_get_output(const ssmrt_session *session, int32_t index,
                                                DLTensor *tensor);

/*===--- Tensors on a device ----------------------------------------------===*/

/* A tensor in memory of the device that its module was loaded for: an input that is
 * copied there once. */
typedef struct ssmrt_device_tensor ssmrt_device_tensor;

/* Copies `tensor`, of the host. Retains the module. */
SSMRT_API ssmrt_status ssmrt_device_tensor_create(ssmrt_module *module, const DLTensor *tensor,
                                                  ssmrt_device_tensor **result);
/* No run that uses it may be under way. */
SSMRT_API void ssmrt_device_tensor_destroy(ssmrt_device_tensor *tensor);
/* Valid as long as the tensor. */
SSMRT_API void ssmrt_device_tensor_view(const ssmrt_device_tensor *tensor, DLTensor *view);

/*===--- States of a session that carries them ----------------------------===*/

/* A state without a value begins as zeros; its sizes follow from the signature
 * and the other inputs of the call, and are 0 along the axis it grows. */

/* Views the value; SSMRT_NOT_FOUND if it has none yet. Valid until the next
 * call with this session. */
SSMRT_API ssmrt_status ssmrt_session_get_state(const ssmrt_session *session, const char *name,
                                               DLTensor *tensor);
/* Copies a value in. */
SSMRT_API ssmrt_status ssmrt_session_set_state(ssmrt_session *session, const char *name,
                                               const DLTensor *tensor);
/* All states are without a value again. */
SSMRT_API ssmrt_status ssmrt_session_reset_states(ssmrt_session *session);

/* Takes back the states' last step: one step, once, and only if the latest run
 * succeeded and no state was changed since. */
SSMRT_API ssmrt_status ssmrt_session_roll_back(ssmrt_session *session);

/* Copies all states of `from`, which may be a session of another entry with the
 * same states: a fork, or the step from prefill to decode. */
SSMRT_API ssmrt_status ssmrt_session_copy_states(ssmrt_session *to, const ssmrt_session *from);

/* The states as a safetensors file, keyed by name, with a hash of all its bytes and
 * one of the model among the metadata. All must have a value. With data NULL only *bytes is told;
 * else *bytes is the capacity and becomes what was written. */
SSMRT_API ssmrt_status ssmrt_session_save_states(const ssmrt_session *session, void *data,
                                                 size_t *bytes);
SSMRT_API ssmrt_status ssmrt_session_save_states_file(const ssmrt_session *session,
                                                      const char *path);

/* Sets all states from such bytes, from wherever they come: checked in full, and
 * against the hashes if there are any: those of another model are refused, but not those
 * of this one compiled in another way. */
SSMRT_API ssmrt_status ssmrt_session_restore_states(ssmrt_session *session, const void *data,
                                                    size_t bytes);
SSMRT_API ssmrt_status ssmrt_session_restore_states_file(ssmrt_session *session, const char *path);

/*===--- Tensor files -----------------------------------------------------===*/

/* A safetensors file, mapped. */
typedef struct ssmrt_tensors ssmrt_tensors;

SSMRT_API ssmrt_status ssmrt_tensors_open(const char *path, ssmrt_tensors **tensors);
/* The same over memory, which must outlive the handle. */
SSMRT_API ssmrt_status ssmrt_tensors_parse(const void *data, size_t bytes, ssmrt_tensors **tensors);
SSMRT_API void ssmrt_tensors_destroy(ssmrt_tensors *tensors);
SSMRT_API int32_t ssmrt_tensors_count(const ssmrt_tensors *tensors);

/* Tensor `index`, in the order of the file: a read-only view. Its data need not
 * be aligned for its type. */
SSMRT_API ssmrt_status ssmrt_tensors_get(const ssmrt_tensors *tensors, int32_t index,
                                         const char **name, DLTensor *tensor);

/* Writes tensors under their names, to a new file that replaces `path` when it
 * is whole. */
SSMRT_API ssmrt_status ssmrt_tensors_write(const char *path, const ssmrt_input *tensors,
                                           int32_t num_tensors);

#ifdef __cplusplus
}
#endif

#endif /* SSMRT_SSMRT_H */
