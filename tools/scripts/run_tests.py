# ===- run_tests.py - Runs every test and counts ---------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The second half of `check`: everything is built when it starts.

Suites: unit tests and fuzzers (ctest), the runtime built alone, plain and under
sanitizers, files with RUN lines (lit), Python tests (pytest), every fourth of ONNX's node
tests again in code for AArch64, and some of them with small models on an emulated GPU; all
of them are suites that have to be named. The last line is
`N passed, N failed`, with `, N skipped` if any were; exit code 1 if any failed.

usage: run_tests.py [SUITE]...    names as printed, aarch64-all and gpu-all
"""

import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
RESULTS = BUILD / "test" / "results"
JOBS = os.environ.get("SSM_JOBS") or str(len(os.sched_getaffinity(0)))
# A suite that hangs is ended: its seconds at most.
LIMIT_S = 3600
# What each build of the runtime alone is compiled with.
RUNTIMES = {"runtime-alone": "", "runtime-address": "address,undefined",
            "runtime-thread": "thread"}
# What threads with a session each run there.
STRESS_MODELS = {"bible_lm": "test/models/bible_lm/bible_lm.onnx"}
# Emulation is slow: of the node tests each n-th only.
AARCH64_EVERY = 4
GPU_EVERY = 40
# And a Mamba block, bodies of scans, a language model.
GPU_TESTS = ["test/ops/test_node_cases.py", "test/Integration/test_recurrence.py",
             "test/Integration/test_scan_bodies.py", "test/Integration/test_bible_lm.py"]


class Counts:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def call(command, **environment):
    """Runs with the output shown as it comes -> exit code; 124 after LIMIT_S."""
    words = [str(word) for word in command]
    print("  $ " + " ".join(words).replace(f"{ROOT}/", ""), flush=True)
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    try:
        return subprocess.run(words, cwd=ROOT, env=variables, timeout=LIMIT_S,
                              check=False).returncode
    except subprocess.TimeoutExpired:
        print(f"  stopped after {LIMIT_S} s")
        return 124


def count_junit(path):
    """Tests of a JUnit file, or None if there is none that can be read."""
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return None
    counts = Counts()
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None or \
                case.get("status") == "fail":
            counts.failed += 1
        elif case.find("skipped") is not None or case.get("result") == "skipped" or \
                case.get("status") in ("notrun", "disabled"):
            counts.skipped += 1
        else:
            counts.passed += 1
    return counts


def settled(counts, code):
    """A suite that failed without a failing test counts as one failure."""
    counts = counts or Counts()
    if code != 0 and counts.failed == 0:
        counts.failed = 1
    elif code == 0 and counts.passed + counts.failed + counts.skipped == 0:
        print("  no tests were found")
        counts.failed = 1
    return counts


def run_ctest(name, build):
    """ctest; the tests within a GoogleTest program count one by one."""
    folder = RESULTS / name
    folder.mkdir(parents=True, exist_ok=True)
    listing = subprocess.run(["ctest", "--show-only=json-v1", "--test-dir", build],
                             stdout=subprocess.PIPE, check=False)
    code = call(["ctest", "--test-dir", build, "--output-on-failure", "--output-junit",
                 folder / "ctest.xml", "-j", JOBS, "--no-tests=error"],
                GTEST_OUTPUT=f"xml:{folder}/gtest/")
    if listing.returncode != 0 or count_junit(folder / "ctest.xml") is None:
        return settled(None, code or 1)
    programs = {test["name"]: Path(test["command"][0]).name
                for test in json.loads(listing.stdout)["tests"] if test.get("command")}
    counts = Counts()
    for case in ElementTree.parse(folder / "ctest.xml").getroot().iter("testcase"):
        inner = count_junit(folder / "gtest" / f"{programs.get(case.get('name'))}.xml")
        # A program that crashed leaves no file, or one without the failure.
        if case.get("status") == "fail" and (inner is None or inner.failed == 0):
            counts.failed += 1
        else:
            counts.add(inner or Counts(passed=1))
    return settled(counts, code)


def run_unit(name):
    return run_ctest(name, BUILD)


def run_runtime(name):
    """Builds the runtime by itself, where no LLVM is to be found, and tests it."""
    build = BUILD / name
    modules = [RESULTS / name / f"{model}.so" for model in STRESS_MODELS]
    modules[0].parent.mkdir(parents=True)
    for model, module in zip(STRESS_MODELS.values(), modules):
        if call([BUILD / "bin" / "ssm-compile", model, "-o", module]) != 0:
            return Counts(failed=1)
    configure = ["cmake", "-S", "runtime", "-B", build, "-G", "Ninja", "-DSSMRT_TESTS=ON",
                 f"-DSSMRT_STRESS_MODULES={';'.join(map(str, modules))}",
                 "-DCMAKE_C_COMPILER=clang-22", "-DCMAKE_CXX_COMPILER=clang++-22",
                 "-DCMAKE_C_COMPILER_LAUNCHER=ccache", "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache",
                 f"-DSSMRT_SANITIZE={RUNTIMES[name]}", "-DCMAKE_DISABLE_FIND_PACKAGE_LLVM=ON",
                 "-DCMAKE_DISABLE_FIND_PACKAGE_MLIR=ON", "--log-level=WARNING"]
    if call(configure) != 0 or call(["cmake", "--build", build, "-j", JOBS, "--", "--quiet"]) != 0:
        return Counts(failed=1)
    return run_ctest(name, build)


def run_aarch64(name, every=AARCH64_EVERY):
    """ONNX's node tests in code for AArch64, under qemu-user, with a runtime built for it."""
    missing = [package for program, package in (("aarch64-linux-gnu-g++",
                                                 "g++-aarch64-linux-gnu"),
                                                ("qemu-aarch64", "qemu-user"))
               if shutil.which(program) is None]
    if missing:
        print(f"  needs Debian's packages {' '.join(missing)}")
        return Counts(skipped=1)
    build = BUILD / "runtime-aarch64"
    configure = ["cmake", "-S", "runtime", "-B", build, "-G", "Ninja", "-DSSMRT_TOOL=ON",
                 f"-DCMAKE_TOOLCHAIN_FILE={ROOT}/cmake/aarch64-linux-gnu.cmake",
                 "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache", "--log-level=WARNING"]
    if call(configure) != 0 or call(["cmake", "--build", build, "-j", JOBS, "--", "--quiet"]) != 0:
        return Counts(failed=1)
    return run_python(name, "test/ops/test_node_cases.py", SSM_TEST_TARGET="aarch64-linux-gnu",
                      SSM_TEST_EVERY=str(every))


def run_gpu(name, every=GPU_EVERY):
    """Tests of values in kernels for GPUs, on an emulated one."""
    return run_python(name, *GPU_TESTS, SSM_TEST_DEVICE="emulated:sm_80",
                      SSM_TEST_EVERY=str(every))


def run_lit(name):
    report = RESULTS / f"{name}.xml"
    code = call([Path(sys.executable).parent / "lit", "-v", "-j", JOBS, "--xunit-xml-output", report,
                 BUILD / "test"])
    return settled(count_junit(report), code)


def run_python(name, *tests, **environment):
    report = RESULTS / f"{name}.xml"
    code = call([sys.executable, "-m", "pytest", "-c", "test/pytest.ini", *(tests or ["test"]), "-n", JOBS,
                 "--junitxml", report, "-rs"], **environment)
    return settled(count_junit(report), code)


SUITES = {"unit": run_unit, **{name: run_runtime for name in RUNTIMES}, "lit": run_lit,
          "python": run_python, "aarch64": run_aarch64, "gpu": run_gpu}
NAMED_ONLY = {"aarch64-all": lambda name: run_aarch64(name, every=1),
              "gpu-all": lambda name: run_gpu(name, every=1)}


def main():
    suites = {**SUITES, **NAMED_ONLY}
    unknown = [name for name in sys.argv[1:] if name not in suites]
    if unknown:
        sys.exit(f"run_tests.py: no suite {unknown[0]}; there are {', '.join(suites)}")
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    results = {}
    for name in sys.argv[1:] or SUITES:
        print(f"\n==> [{time.strftime('%H:%M:%S')}] {name}", flush=True)
        start = time.monotonic()
        results[name] = suites[name](name)
        print(f"  {name}: {results[name]} in {time.monotonic() - start:.0f} s", flush=True)
    total = Counts()
    print()
    for name, counts in results.items():
        print(f"  {name:<16} {counts}")
        total.add(counts)
    print(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
