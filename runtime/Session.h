//===- Session.h - Running an entry of a module -----------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_SESSION_H
#define SSMRT_SESSION_H

#include "Device.h"
#include "Memory.h"
#include "Module.h"
#include "Segment.h"
#include "Status.h"
#include "Threads.h"
#include "Types.h"

namespace ssmrt {

/// What the table's functions get back as `context`.
struct CallContext {
  const ssm_entry *entry = nullptr;
  ssmrt_session *session = nullptr; // NULL: only a plan

  /// Keeps the first report: its text, with values and node, in `message`.
  int32_t report(int32_t site, const int64_t *values, int32_t count);
  /// The same for what the runtime itself has to say; the run then fails with it.
  int32_t refuse(ssmrt_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
  /// The same with the thread's last message, a device's.
  int32_t keep(ssmrt_status failure);

  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  bool reported = false;
  ssmrt_status status = SSMRT_OK; // of the first report
  char message[1024];
};

/// The table that a call of a module gets.
const ssm_table &tableOf(const CallContext &context);

/// What a module's plan or run returned, as a status with its message.
ssmrt_status statusOf(CallContext &context, int32_t returned, const char *step);

/// One value of a state. A state has two: the current one, and the one that a
/// run writes, which is the previous one between runs.
struct StateValue {
  Block block;
  bool set;
  int64_t dims[SSM_ABI_MAX_RANK];
};

struct State {
  StateValue values[2];
  Block host; // of a device's, for those who look
  int32_t current;

  StateValue &now() { return values[current]; }
  StateValue &other() { return values[1 - current]; }
  const StateValue &now() const { return values[current]; }
};

struct Input {
  const void *given; // by the caller
  int64_t bytes;
  bool isCopied; // to the device
  bool isOnHost;
  Block block;   // there
};

struct Output {
  Block block;                // if the session owns the memory
  Block host;                 // of a device's, for those who look
  const ssmrt_buffer *buffer; // the caller's, during a run
  void *data;                 // where this run put it
  void *target;               // the caller's memory for it, if any
  bool isTargetOnDevice;
  int64_t bytes; // of it
  bool placed;   // data is where a run with these dims will put it
  bool written;
};

} // namespace ssmrt

struct ssmrt_session_options {
  int32_t threads = 0;
  ssmrt_pool *pool = nullptr;
  ssmrt_parallel_for_fn parallelFor = nullptr;
  void *parallelForUser = nullptr;
  ssmrt_output_fn output = nullptr;
  void *outputUser = nullptr;
  ssmrt_kernel_fn kernelHook = nullptr;
  void *kernelHookUser = nullptr;
  ssmrt::Allocator allocator;
  bool hasAllocator = false;
  bool carryStates = false, foreignStates = false;
  void *stream = nullptr;
  bool hasStream = false, deviceOutputs = false, graphs = true;

  ~ssmrt_session_options() { ssmrt_pool_release(pool); }
};

struct ssmrt_session {
  ~ssmrt_session();
  ssmrt_status initialize(ssmrt_module *module, int32_t entryIndex,
                          const ssmrt_session_options *options);
  ssmrt_status reserve(const ssmrt_size *sizes, int32_t numSizes);
  ssmrt_status run(const ssmrt_input *given, int32_t numGiven, const ssmrt_buffer *buffers,
                   int32_t numBuffers, bool waits);
  /// Waits for runs that were queued; if one failed, their states are taken back.
  ssmrt_status synchronize();
  ssmrt_status viewOutput(int32_t index, DLTensor *tensor);
  ssmrt_status viewState(int32_t index, DLTensor *tensor, bool onHost);
  /// The table's output function.
  void *output(int32_t index, const int64_t *dims);
  /// Decides where outputs of these dims go, before a run that will write them.
  ssmrt_status prepareOutputs(const int64_t *dims);
  /// The entry's run, with what was bound.
  ssmrt_status callEntry(void *arenaData);

  /// Copies and clears where the session's memory is; a device's is queued.
  ssmrt_status copy(void *to, const void *from, size_t bytes);
  ssmrt_status clear(void *data, size_t bytes);
  /// Until copies are done.
  ssmrt_status wait() { return queue ? queue->wait() : SSMRT_OK; }
  ssmrt_status noMemory(const char *what, int64_t bytes) const;
  const ssmrt::Device *device() const { return queue ? &queue->device() : nullptr; }

  const ssm_value_info &stateInput(int32_t state) const {
    return entry->inputs[entry->states[state].input];
  }
  /// Number of carried states: 0 in a session that does not carry them.
  int32_t numCarried() const { return int32_t(states.size()); }
  /// Index of the carried state, or an error that lists what there is.
  ssmrt_status findState(const char *name, int32_t *index) const;
  int64_t *outputDims(int32_t index) { return dims.data() + layout->outputOffset[size_t(index)]; }

  ssmrt_module *module = nullptr;
  int32_t entryIndex = 0;
  const ssm_entry *entry = nullptr;
  const ssmrt::EntryLayout *layout = nullptr;

  ssmrt::Queue *queue = nullptr; // on a device
  ssmrt::Allocator allocator;
  ssmrt_pool *pool = nullptr;
  ssmrt_parallel_for_fn parallelFor = nullptr;
  void *parallelForUser = nullptr;
  ssmrt_output_fn outputFn = nullptr;
  void *outputUser = nullptr;
  ssmrt_kernel_fn kernelHook = nullptr;
  void *kernelHookUser = nullptr;

  double kernelBegin = 0;
  bool deviceOutputs = false;
  bool foreignStates = false; // are restored too

  ssmrt::Segment segment;
  ssmrt::Array<ssmrt::State> states;
  bool canRollBack = false;
  bool outputsValid = false;
  int32_t pending = 0; // runs that were queued and not waited for
  mutable std::atomic<bool> busy{false};

private:
  friend class ssmrt::Queue;

  ssmrt_status bindInputs(const ssmrt_input *given, int32_t count);
  ssmrt_status bindInput(int32_t index, const DLTensor &tensor);
  ssmrt_status bindDim(int32_t input, int32_t axis, int64_t size);
  ssmrt_status bindStates();
  ssmrt_status startState(int32_t index);
  ssmrt_status bindOutputs(const ssmrt_buffer *buffers, int32_t count);
  ssmrt_status bindBuffer(int32_t index, const ssmrt_buffer &buffer);
  ssmrt_status copyInputs();
  /// Where the caller's memory has what was copied to the device, or NULL if that is not on the
  /// host.
  const void *givenOnHost(const void *copied, int64_t bytes) const;
  ssmrt_status copyOutputs();
  const ssm_state_info *stateOf(int32_t input, int32_t output) const;
  bool isInPlace(int32_t input, int32_t output);
  const char *findOverlap(int32_t output, const char **why);
  void *place(int32_t index, const int64_t *shape);
  void *placeState(int32_t index, int64_t bytes);
  ssmrt_status execute();
  void loseRuns(int32_t runs);
  ssmrt_status viewMemory(void *data, int64_t bytes, ssmrt::Block &host, const ssm_value_info &info,
                          const int64_t *shape, bool onHost, DLTensor *tensor);
  ssmrt_status reserveState(ssmrt::State &state, const char *name, int64_t bytes);

  ssmrt::CallContext context;
  ssmrt::Block arena;
  ssmrt::Array<ssm_arg> args;
  ssmrt::Array<ssmrt::Input> inputs;
  ssmrt::Array<ssmrt::Output> outputs;
  ssmrt::Array<int64_t> dims;                    // true dims of outputs, flat
  ssmrt::Array<int64_t> planned;                 // the plan's
  ssmrt::Array<int32_t> inputState;              // state carried for an input, or -1
  ssmrt::Array<int32_t> outputState;             // the same for an output
  ssmrt::Array<int64_t> symbolSize;              // -1 as long as no input has told it
  ssmrt::Array<int32_t> symbolInput, symbolAxis; // which dim told it
};

namespace ssmrt {

/// A session's mark that it is in a call, with its device at hand.
class InCall {
public:
  explicit InCall(const ssmrt_session *session)
      : session(session), entered(!session->busy.exchange(true, std::memory_order_acquire)),
        current(session->device()) {}
  ~InCall() {
    if (entered)
      session->busy.store(false, std::memory_order_release);
  }
  InCall(const InCall &) = delete;
  InCall &operator=(const InCall &) = delete;
  ssmrt_status status() const {
    return entered ? SSMRT_OK : fail(SSMRT_BUSY, "the session is in another call");
  }

private:
  const ssmrt_session *session;
  bool entered;
  Current current;
};

/// Checks that memory lies on the host, or on `device` if that is not NULL; `kind` and
/// `name` are for the message.
ssmrt_status checkPlace(const char *kind, const char *name, DLDevice place, const Device *device,
                        bool *isOnHost);

/// Checks type, rank, layout and device of a tensor that is to be the value
/// `info`; its sizes are checked against static dims only. *data and *bytes are
/// where it lies. `kind` is "input" or "state", for messages.
ssmrt_status checkTensor(const char *kind, const ssm_value_info &info, const DLTensor &tensor,
                         const Device *device, const void **data, int64_t *bytes, bool *isOnHost);

/// A view of dense memory, of the host or a device, as a DLTensor.
DLTensor viewOf(const TypeInfo &type, void *data, const int64_t *dims, int32_t rank,
                const Device *device = nullptr);

/// Of a steady clock.
double secondsNow();

/// The dims of an input at given sizes; see ssmrt_module_resolve_input.
ssmrt_status resolveInput(const ssm_value_info &input, const ssmrt_size *sizes, int32_t numSizes,
                          int64_t *dims);

/// Asks the entry for its plan: `args` have dims, outputDims has room for all.
ssmrt_status planEntry(CallContext &context, const ssm_arg *args, int64_t *arenaBytes,
                       int64_t *outputDims);

} // namespace ssmrt

#endif // SSMRT_SESSION_H
