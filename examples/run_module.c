/*===- run_module.c - Runs a module on a file of tensors ----------*- C -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===*/

/* Runs the first entry of a module on the tensors of a safetensors file, which
 * are named like its inputs, and prints the shapes of the outputs.
 * Build: cc run_module.c -lssmrt    Run: ./a.out model.so inputs.safetensors */
#include "ssmrt/ssmrt.h"
#include <stdio.h>
#include <stdlib.h>

static void check(ssmrt_status status) {
  if (status == SSMRT_OK)
    return;
  fprintf(stderr, "%s: %s\n", ssmrt_status_name(status), ssmrt_last_message());
  exit(1);
}

int main(int argc, char **argv) {
  ssmrt_module *module;
  ssmrt_session *session;
  ssmrt_tensors *file;
  DLTensor tensors[64], output;
  ssmrt_input inputs[64];
  check(ssmrt_module_load(argc > 2 ? argv[1] : "", NULL, &module));
  check(ssmrt_tensors_open(argc > 2 ? argv[2] : "", &file));
  check(ssmrt_session_create(module, NULL, NULL, &session));
  int count = ssmrt_tensors_count(file) < 64 ? ssmrt_tensors_count(file) : 64;
  for (int i = 0; i < count; ++i) {
    check(ssmrt_tensors_get(file, i, &inputs[i].name, &tensors[i]));
    inputs[i].tensor = &tensors[i];
  }
  check(ssmrt_session_run(session, inputs, count, NULL, 0));
  for (int i = 0; ssmrt_session_get_output(session, i, &output) == 0; ++i) {
    printf("output %d:", i);
    for (int axis = 0; axis < output.ndim; ++axis)
      printf(" %lld", (long long)output.shape[axis]);
    printf("\n");
  }
  ssmrt_session_destroy(session);
  ssmrt_tensors_destroy(file);
  ssmrt_module_release(module);
  return 0;
}
