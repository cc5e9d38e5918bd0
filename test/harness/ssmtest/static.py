# ===- static.py - Programs with a module linked in -------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What ssm-compile --emit=static makes, in a program that looks at it."""

import subprocess

MAIN = """
#include "m.h"
#include <stdio.h>
int main(void) {
  ssmrt_module *module;
  ssmrt_module_info info;
  if (ssmrt_module_create(&m_module, NULL, &module) || ssmrt_module_verify_weights(module) ||
      ssmrt_module_get_info(module, &info))
    return printf("%s\\n", ssmrt_last_message()), 1;
  printf("%s", info.FIELD);
  return 0;
}
"""


def link(folder, field, include, library, compiler=("cc",)):
    """m.o and m.h of the folder with libssmrt.a -> a program that checks the weights and
    prints this field of ssmrt_module_info."""
    (folder / "main.c").write_text(MAIN.replace("FIELD", field), encoding="utf-8")
    program = folder / "main"
    words = [*compiler, "-Wall", "-Werror", f"-I{include}", folder / "main.c", folder / "m.o",
             library, "-lpthread", "-lm", "-o", program]
    subprocess.run([str(word) for word in words], check=True)
    return program
