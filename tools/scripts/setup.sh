#!/usr/bin/env bash
#===- setup.sh - Installs what is missing and builds ---------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Run by `demo` and `check`; can be run alone. Does only what is still to do:
#   1. Debian packages (as root, Debian 12),
#   2. a Python environment in build/venv, for tests and the demonstration; ptxas there,
#   3. configure and build everything into build/.
# Environment: SSM_JOBS, parallel compile jobs (default: all cores).
#
#===----------------------------------------------------------------------===#
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

PACKAGES=(
  build-essential cmake ninja-build ccache git
  clang-22 lld-22 libclang-rt-22-dev llvm-22-dev llvm-22-tools
  libmlir-22-dev mlir-22-tools
  libprotozero-dev nlohmann-json3-dev libcli11-dev libxxhash-dev libgtest-dev
  python3 python3-venv
  qemu-user g++-aarch64-linux-gnu
)

step() { printf '\n==> [%s] %s\n' "$(date +%H:%M:%S)" "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

missing_packages() {
  local name
  for name in "${PACKAGES[@]}"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' ||
      printf '%s\n' "$name"
  done
}

install_packages() {
  local missing
  command -v dpkg-query >/dev/null || fail "needs Debian 12: dpkg-query not found"
  mapfile -t missing < <(missing_packages)
  if [ ${#missing[@]} -eq 0 ]; then
    step "Debian packages: all ${#PACKAGES[@]} present"
    return
  fi
  [ "$(id -u)" -eq 0 ] ||
    fail "run as root, or install first: ${missing[*]}"
  step "Installing ${#missing[@]} Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # An interrupted installation is finished first; with nothing to finish this
  # does nothing.
  dpkg --configure -a
  # A source that cannot be reached need not matter, if the others suffice.
  apt-get update || printf 'setup: some package lists could not be updated\n' >&2
  apt-get install -y --no-install-recommends "${missing[@]}" ||
    fail "apt-get could not install the packages; LLVM 22 comes from Debian 12's own updates (bookworm-security)"
}

install_python() {
  local venv=build/venv want
  want=$(cat tools/scripts/requirements*.txt | sha256sum)
  if [ -x $venv/bin/python ] && $venv/bin/python -c '' 2>/dev/null &&
     [ "$(cat $venv/requirements.sha256 2>/dev/null)" = "$want" ]; then
    step "Python environment: present"
    return
  fi
  step "Making the Python environment build/venv"
  mkdir -p build
  python3 -m venv --clear $venv
  $venv/bin/python -m pip install --disable-pip-version-check --no-input \
      -r tools/scripts/requirements.txt ||
    fail "pip could not install tools/scripts/requirements.txt"
  # ptxas and a disassembler alone: what they name as dependencies is for nvcc. Without
  # them modules carry PTX, and tests of device code are skipped.
  $venv/bin/python -m pip install --disable-pip-version-check --no-input --no-deps \
      -r tools/scripts/requirements-cuda.txt ||
    printf 'setup: no ptxas: pip could not install tools/scripts/requirements-cuda.txt\n' >&2
  # Written last: an interrupted installation begins anew.
  printf '%s\n' "$want" > $venv/requirements.sha256
}

build_all() {
  step "Configuring"
  cmake --preset default -DSSM_PYTHON="$root/build/venv/bin/python"
  step "Building (first time: some minutes)"
  # The environment variable gives one line a step also where the output is
  # not a terminal.
  NINJA_STATUS='[%f/%t %es] ' cmake --build build -j "${SSM_JOBS:-$(nproc)}"
  step "Built: $(cd build/bin && ls -d ssm-* | tr '\n' ' ')"
}

install_packages
install_python
build_all
