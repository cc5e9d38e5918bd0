#!/bin/sh
# For ssm-reduce: 1 as long as the fault is in the file $1.
build/bin/ssm-opt "$1" --pass-pipeline='builtin.module(func.func(ssm-lower-kernels))' 2>&1 |
  grep -q 'is not on buffers' && exit 1
exit 0
