#map = affine_map<(d0, d1) -> (d0, d1)>
module attributes {onnx.producer = "ssm-mlir tests", ssm.entries = [{inputs = [{dims = ["n", 8], name = "x", type = 1 : i64}], name = "main", outputs = [{dims = ["n", 8], name = "y", type = 1 : i64}]}]} {
  func.func @main(%arg0: tensor<?x8xf32> {bufferization.writable = false}) -> tensor<?x8xf32> {
    %cst = arith.constant 3.000000e+00 : f32
    %cst_0 = arith.constant 2.000000e+00 : f32
    %c0 = arith.constant 0 : index
    %dim = tensor.dim %arg0, %c0 : tensor<?x8xf32>
    %0 = tensor.empty(%dim) : tensor<?x8xf32>
    %1 = ssm.kernel loops 2 ins(%arg0 : tensor<?x8xf32>) outs(%0 : tensor<?x8xf32>) maps [#map, #map] {
    ^bb0(%arg1: f32):
      %2 = arith.mulf %arg1, %cst_0 : f32
      %3 = arith.mulf %2, %cst : f32
      ssm.yield %3 : f32
    } -> tensor<?x8xf32>
    return %1 : tensor<?x8xf32>
  }
}

{-#
  external_resources: {
    mlir_reproducer: {
      pipeline: "any(my-fuse-scales)",
      disable_threading: true,
      verify_each: true
    }
  }
#-}
