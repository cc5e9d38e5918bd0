//===- SafetensorsFuzzer.cpp - Bytes as a tensor file, and as states ------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ssmrt/module_abi.h"
#include "ssmrt/ssmrt.h"

#include <cstdlib>
#include <cstring>

extern const ssm_module linkedModule __asm__(SSM_MODULE_SYMBOL);

/// A session that carries states, of the module of the unit tests.
static ssmrt_session *makeSession() {
  static ssm_module module = linkedModule;
  module.num_weights = 0; // needs no file then
  ssmrt_module *loaded = nullptr;
  ssmrt_session_options *options = nullptr;
  ssmrt_session *session = nullptr;
  if (ssmrt_module_create(&module, nullptr, &loaded) || ssmrt_session_options_create(&options) ||
      ssmrt_session_options_set_carry_states(options, 1) ||
      ssmrt_session_create(loaded, "step", options, &session))
    std::abort();
  ssmrt_session_options_destroy(options);
  ssmrt_module_release(loaded);
  return session;
}

/// Reads all that a view shows.
static void readAll(const DLTensor &view) {
  size_t bytes = view.dtype.bits / 8;
  for (int32_t axis = 0; axis < view.ndim; ++axis)
    bytes *= size_t(view.shape[axis]);
  volatile uint8_t last = 0;
  for (size_t i = 0; i < bytes; ++i)
    last = static_cast<const uint8_t *>(view.data)[i];
  (void)last;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static ssmrt_session *session = makeSession();
  ssmrt_tensors *tensors = nullptr;
  if (ssmrt_tensors_parse(data, size, &tensors) == SSMRT_OK) {
    for (int32_t i = 0; i < ssmrt_tensors_count(tensors); ++i) {
      const char *name;
      DLTensor view;
      if (ssmrt_tensors_get(tensors, i, &name, &view) || std::strlen(name) > size)
        std::abort();
      readAll(view);
    }
    ssmrt_tensors_destroy(tensors);
  }
  if (ssmrt_session_restore_states(session, data, size) == SSMRT_OK) {
    float values[4] = {};
    int64_t shape[2] = {1, 4};
    DLTensor x;
    std::memset(&x, 0, sizeof(x));
    x.data = values;
    x.device.device_type = kDLCPU;
    x.ndim = 2;
    x.dtype = {2, 32, 1};
    x.shape = shape;
    ssmrt_input input = {"x", &x};
    ssmrt_session_run(session, &input, 1, nullptr, 0);
  }
  return 0;
}
