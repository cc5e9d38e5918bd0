# ===- test_embed.py - Modules inside of programs --------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The runtime installed, examples/embed built against it both ways; two modules in one
program; the README's lines on states; sizes and load time."""

import re
import subprocess
import time

import numpy as np
import pytest
from ssmtest import build, compiler, runtime

MODEL = build.MODELS / "bible_lm" / "bible_lm.onnx"
SMALL = build.MODELS / "torch_scan_mamba.onnx"


def call(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def make_module(*arguments):
    done = compiler.run_compiler(list(arguments))
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The runtime, built alone and installed."""
    folder = tmp_path_factory.mktemp("runtime")
    call("cmake", "-S", build.ROOT / "runtime", "-B", folder / "build")
    call("cmake", "--build", folder / "build", "-j2")
    call("cmake", "--install", folder / "build", "--prefix", folder / "prefix")
    return folder / "prefix"


def test_example(installed, tmp_path):
    make_module(MODEL, "-o", tmp_path / "lm.so")
    make_module(MODEL, "--emit=static", "--embed-weights", "-o", tmp_path / "lm.o")
    call("cmake", "-S", build.ROOT / "examples" / "embed", "-B", tmp_path / "build",
         f"-DCMAKE_PREFIX_PATH={installed}", f"-DMODEL_DIR={tmp_path}")
    call("cmake", "--build", tmp_path / "build")
    prompt = "And God said"
    loaded = call(tmp_path / "build" / "write-loaded", tmp_path / "lm.so", prompt)
    linked = call(tmp_path / "build" / "write-linked", prompt, cwd="/")
    wanted = call(build.tool("ssm-run"), "generate", tmp_path / "lm.so", "--prompt", prompt,
                  "--max-new", 100, "--temperature", 0)
    assert loaded == linked == wanted and len(wanted) > 100
    # Model, weights and runtime, and no loading of code.
    assert (tmp_path / "build" / "write-linked").stat().st_size < \
        MODEL.stat().st_size * 1.1 + (500 << 10)
    needed = call("readelf", "-d", tmp_path / "build" / "write-linked")
    assert "libssmrt" not in needed and "libstdc++" not in needed


# Around the README's lines on states.
STATES = """
#include "ssmrt/ssmrt.h"
#include <stdio.h>
#include <stdlib.h>
static void check(ssmrt_status status) {
  if (status != SSMRT_OK) {
    printf("%s\\n", ssmrt_last_message());
    exit(1);
  }
}
static ssmrt_input ids(DLTensor *tensor, int64_t *shape, int64_t *data) {
  *tensor = (DLTensor){.data = data, .device = {1, 0}, .ndim = 2, .dtype = {0, 64, 1}, .shape = shape};
  return (ssmrt_input){"ids", tensor};
}
int main(int argc, char **argv) {
  ssmrt_module *module;
  ssmrt_session_options *options;
  ssmrt_session *prefill, *decode;
  int64_t many[] = {1, 4}, one[] = {1, 1}, text[] = {65, 110, 100, 32}, first = 71, second = 116;
  DLTensor tensors[3];
  ssmrt_input prompt = ids(&tensors[0], many, text), token = ids(&tensors[1], one, &first),
              other = ids(&tensors[2], one, &second);
  check(ssmrt_module_load(argv[argc - 1], NULL, &module));
  check(ssmrt_session_options_create(&options));
LINES
  check(ssmrt_session_save_states_file(decode, "again.safetensors"));
  return 0;
}
"""


def test_readme_on_states(installed, tmp_path):
    """The README's C lines, with each status checked; the states restored are those saved."""
    make_module("--entry", f"prefill={MODEL}", "--entry", f"decode={MODEL}", "-o",
                tmp_path / "lm.so")
    block, = re.findall(r"^```c\n(.*?)^```$", (build.ROOT / "README.md").read_text(encoding="utf-8"),
                        re.MULTILINE | re.DOTALL)
    lines = re.sub(r"^(ssmrt_.*);", r"check(\1);", block, flags=re.MULTILINE)
    assert lines.count("check(") == block.count("\n")
    (tmp_path / "main.c").write_text(STATES.replace("LINES", lines), encoding="utf-8")
    call("cc", "-std=c99", "-Wall", "-Werror", f"-I{installed}/include", tmp_path / "main.c",
         f"-L{installed}/lib", "-l:libssmrt.a", "-lpthread", "-lm", "-ldl", "-o", tmp_path / "main")
    call(tmp_path / "main", tmp_path / "lm.so", cwd=tmp_path)
    saved = (tmp_path / "after.safetensors").read_bytes()
    assert saved == (tmp_path / "again.safetensors").read_bytes() and len(saved) > 1000


TWO = """
#include "one.h"
#include "two.h"
#include <stdio.h>
int main(void) {
  ssmrt_load_options *options;
  ssmrt_module *one, *two;
  ssmrt_module_info a, b;
  if (ssmrt_load_options_create(&options) ||
      ssmrt_load_options_set_weights_file(options, WEIGHTS) ||
      ssmrt_module_create(&one_module, options, &one) ||
      ssmrt_module_create(&two_module, NULL, &two) || ssmrt_module_verify_weights(one) ||
      ssmrt_module_verify_weights(two) || ssmrt_module_get_info(one, &a) ||
      ssmrt_module_get_info(two, &b))
    return printf("%s\\n", ssmrt_last_message()), 1;
  printf("%d %d\\n", a.num_weights, b.num_weights);
  return 0;
}
"""


def test_two_modules_in_one_program(installed, tmp_path):
    """Weights beside the program, and embedded ones; nothing but the two descriptions is
    seen, also of code that brings conversions of f16 with it."""
    make_module(SMALL, "--emit=static", "--cpu=x86-64-v2", "-o", tmp_path / "one.o")
    make_module(SMALL, "--emit=static", "--cpu=x86-64-v2", "--embed-weights", "-o",
                tmp_path / "two.o")
    for name in ("one", "two"):
        symbols = call("nm", "--defined-only", "--extern-only", tmp_path / f"{name}.o").split()
        assert symbols[2::3] == [f"{name}_module"]
    (tmp_path / "main.c").write_text(TWO)
    call("cc", "-Wall", "-Werror", f'-DWEIGHTS="{tmp_path}/one.weights.safetensors"',
         f"-I{installed}/include", tmp_path / "main.c", tmp_path / "one.o", tmp_path / "two.o",
         f"-L{installed}/lib", "-l:libssmrt.a", "-lpthread", "-lm", "-o", tmp_path / "main")
    one, two = call(tmp_path / "main").split()
    assert one == two and int(one) > 3


def test_refused(tmp_path):
    for arguments, words in [([SMALL, "--emit=static", "-o", "-"], "no output given"),
                             ([SMALL, "--emit=statics", "-o", "x.o"], "unknown stage 'statics'")]:
        done = compiler.run_compiler(arguments)
        assert done.returncode != 0 and words in done.stderr


def test_names_of_symbols(tmp_path):
    make_module(SMALL, "--emit=static", "-o", tmp_path / "3-my model.o")
    assert "extern const struct ssm_module _3_my_model_module;" in \
        (tmp_path / "3-my model.h").read_text()


def test_runtime_is_small(installed, tmp_path):
    library = next(installed.glob("lib*/libssmrt.so.0.1.0"))
    call("strip", "-o", tmp_path / "stripped", library)
    assert (tmp_path / "stripped").stat().st_size < 200 << 10


def test_loads_at_once():
    """The bundled language model, in the best of ten."""
    path, times = compiler.compile_model(MODEL), []
    for _ in range(10):
        start = time.perf_counter()
        runtime.Module(path)
        times.append(time.perf_counter() - start)
    assert np.min(times) < 0.05
