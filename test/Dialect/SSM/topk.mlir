// RUN: ssm-opt %s -split-input-file -verify-diagnostics | ssm-opt -split-input-file | FileCheck %s

// CHECK-LABEL: func.func @both
// CHECK: ssm.topk axis 1 ins(%{{.*}} : tensor<?x9xf16>) outs(%{{.*}} : tensor<?x4xi64>) -> tensor<?x4xi64>
// CHECK: ssm.topk axis 0 least unsigned ins(%{{.*}} : memref<9xi8>) outs(%{{.*}} : memref<?xi64>)
func.func @both(%x: tensor<?x9xf16>, %e: tensor<?x4xi64>, %y: memref<9xi8>, %i: memref<?xi64>) -> tensor<?x4xi64> {
  %0 = ssm.topk axis 1 ins(%x : tensor<?x9xf16>) outs(%e : tensor<?x4xi64>) -> tensor<?x4xi64>
  ssm.topk axis 0 least unsigned ins(%y : memref<9xi8>) outs(%i : memref<?xi64>)
  return %0 : tensor<?x4xi64>
}

// -----

func.func @axis(%x: memref<9xf32>, %i: memref<2xi64>) {
  // expected-error @+1 {{has axis 1, there are 1}}
  ssm.topk axis 1 ins(%x : memref<9xf32>) outs(%i : memref<2xi64>)
  return
}

// -----

func.func @ranks(%x: memref<9xf32>, %i: memref<2x1xi64>) {
  // expected-error @+1 {{expected as many axes}}
  ssm.topk axis 0 ins(%x : memref<9xf32>) outs(%i : memref<2x1xi64>)
  return
}

// -----

func.func @places(%x: memref<2x9xf32>, %i: memref<2x10xi64>) {
  // expected-error @+1 {{has 10 places along axis 1 for 9 elements}}
  ssm.topk axis 1 ins(%x : memref<2x9xf32>) outs(%i : memref<2x10xi64>)
  return
}

// -----

func.func @types(%x: memref<9xf32>, %i: memref<2xi32>) {
  // expected-error @+1 {{has an out of 'i32', expected i64}}
  ssm.topk axis 0 ins(%x : memref<9xf32>) outs(%i : memref<2xi32>)
  return
}

// -----

func.func @elements(%x: memref<9xf8E5M2>, %i: memref<2xi64>) {
  // expected-error @+1 {{sorts 'f8E5M2'}}
  ssm.topk axis 0 ins(%x : memref<9xf8E5M2>) outs(%i : memref<2xi64>)
  return
}

// -----

func.func @kinds(%x: tensor<9xf32>, %i: memref<2xi64>) {
  // expected-error @+1 {{has a tensor and a buffer}}
  ssm.topk axis 0 ins(%x : tensor<9xf32>) outs(%i : memref<2xi64>)
  return
}

// -----

func.func @result(%x: tensor<9xf32>, %i: tensor<2xi64>) {
  // expected-error @+1 {{expected the result to be the out's tensor}}
  ssm.topk axis 0 ins(%x : tensor<9xf32>) outs(%i : tensor<2xi64>)
  return
}
