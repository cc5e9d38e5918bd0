// Each stage takes what the one before leaves.
// RUN: ssm-opt %s -ssm-stage-import | FileCheck %s --check-prefix=IMPORT
// RUN: ssm-opt %s -ssm-stage-import -ssm-stage-graph -ssm-stage-tensor | FileCheck %s --check-prefix=TENSOR
// RUN: ssm-opt %s -ssm-stage-import -ssm-stage-graph -ssm-stage-tensor -ssm-stage-raise -ssm-stage-quantize \
// RUN:   -ssm-stage-fuse -ssm-stage-tile -ssm-stage-buffer | FileCheck %s --check-prefix=BUFFER
// RUN: ssm-opt %s -ssm-stage-import -ssm-stage-graph -ssm-stage-tensor -ssm-stage-buffer -ssm-stage-vector \
// RUN:   -ssm-stage-target | FileCheck %s --check-prefix=TARGET

// IMPORT: onnx.node "Scan"{{.*}}
// TENSOR: ssm.scan length
// TENSOR-NOT: onnx.
// BUFFER: func.func @main.plan
// BUFFER: func.func @main.run
// BUFFER-NOT: tensor<
// BUFFER: ssm.kernel loops 2 time 0
// TARGET: llvm.func @main.plan
// TARGET: llvm.func @main.run
// TARGET-NOT: unrealized_conversion_cast
func.func @main(%h0: tensor<4xf32> {onnx.name = "h0"},
                %x: tensor<?x4xf32> {onnx.name = "x", onnx.dims = ["n", 4]})
    -> (!onnx.unknown {onnx.name = "h"}, !onnx.unknown {onnx.name = "y"}) {
  %0:2 = onnx.node "Scan"(%h0, %x) version 11 attributes {num_scan_inputs = 1 : i64} regions ["body"] {
  ^bb0(%h: !onnx.unknown, %xt: !onnx.unknown):
    %1 = onnx.node "Add"(%h, %xt) version 14 : (!onnx.unknown, !onnx.unknown) -> !onnx.unknown
    onnx.yield %1, %1 : !onnx.unknown, !onnx.unknown
  } : (tensor<4xf32>, tensor<?x4xf32>) -> (!onnx.unknown, !onnx.unknown)
  return %0#0, %0#1 : !onnx.unknown, !onnx.unknown
}
