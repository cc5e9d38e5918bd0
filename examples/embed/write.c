/*===- write.c - A program that writes ----------------------------*- C -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===*/

/* Lets a byte-level language model go on from a prompt: its likeliest text. The
 * model is linked in (LINKED_IN, the build then needs nothing at run time but the C
 * library), or a file that the first argument names.
 * Run: write PROMPT    or: write model.so PROMPT */
#include "ssmrt/ssmrt.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef LINKED_IN
#include "lm.h"
#endif

static void check(ssmrt_status status) {
  if (status == SSMRT_OK)
    return;
  fprintf(stderr, "%s: %s\n", ssmrt_status_name(status), ssmrt_last_message());
  exit(1);
}

/* Runs so many ids, and returns the likeliest one to follow. */
static int64_t next(ssmrt_session *session, int32_t logits, int64_t *ids, int64_t count) {
  int64_t shape[2] = {1, count}, best = 0;
  DLTensor tensor = {ids, {kDLCPU, 0}, 2, {kDLInt, 64, 1}, shape, NULL, 0}, output;
  ssmrt_input input = {"ids", &tensor};
  check(ssmrt_session_run(session, &input, 1, NULL, 0));
  check(ssmrt_session_get_output(session, logits, &output));
  const float *last = (const float *)output.data + (count - 1) * output.shape[2];
  for (int64_t id = 1; id < output.shape[2]; ++id)
    if (last[id] > last[best])
      best = id;
  return best;
}

int main(int argc, char **argv) {
  ssmrt_module *module;
  ssmrt_session_options *options;
  ssmrt_session *session;
  int32_t logits;
#ifdef LINKED_IN
  const char *prompt = argc > 1 ? argv[1] : "In the beginning";
  check(ssmrt_module_create(&lm_module, NULL, &module));
#else
  const char *prompt = argc > 2 ? argv[2] : "In the beginning";
  check(ssmrt_module_load(argc > 1 ? argv[1] : "lm.so", NULL, &module));
#endif
  check(ssmrt_session_options_create(&options));
  check(ssmrt_session_options_set_carry_states(options, 1));
  check(ssmrt_session_create(module, NULL, options, &session));
  check(ssmrt_module_find_output(module, ssmrt_session_entry(session), "logits", &logits));
  size_t length = strlen(prompt);
  int64_t *ids = malloc((length + 1) * sizeof *ids);
  for (size_t i = 0; i < length; ++i)
    ids[i] = (unsigned char)prompt[i];
  ids[0] = next(session, logits, ids, (int64_t)length);
  for (int i = 0; i < 100; ++i) {
    putchar((int)ids[0]);
    ids[0] = next(session, logits, ids, 1);
  }
  putchar('\n');
  free(ids);
  ssmrt_session_destroy(session);
  ssmrt_session_options_destroy(options);
  ssmrt_module_release(module);
  return 0;
}
