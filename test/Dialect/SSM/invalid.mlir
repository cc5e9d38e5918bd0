// RUN: ssm-opt %s -split-input-file -verify-diagnostics

// expected-error @+1 {{has type 'tensor<?xf32>', expected a static shape}}
ssm.weight @w : tensor<?xf32> length 4

// -----

// expected-error @+1 {{has length 5, expected 12 bytes for 'tensor<3xf32>'}}
ssm.weight @w : tensor<3xf32> length 5

// -----

// expected-error @+1 {{needs a file and an offset, or neither}}
"ssm.weight"() {sym_name = "w", type = tensor<3xf32>, length = 12 : i64, file = "f"} : () -> ()

// -----

func.func @no_weight() -> tensor<3xf32> {
  // expected-error @+1 {{names @nothing, expected an ssm.weight}}
  %0 = ssm.load_weight @nothing : tensor<3xf32>
  return %0 : tensor<3xf32>
}

// -----

ssm.weight @w : tensor<3xf32> length 12
func.func @other_type() -> tensor<4xf32> {
  // expected-error @+1 {{has type 'tensor<4xf32>' but the weight has type 'tensor<3xf32>'}}
  %0 = ssm.load_weight @w : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

func.func @check_values(%c: i1, %n: index) {
  // expected-error @+1 {{has 1 values, but its text has places for 2}}
  ssm.check %c, "'a' (Add)", "{0} and {1}" values(%n : index)
  return
}

// -----

func.func @sizes(%p: !llvm.ptr, %n: index) {
  // expected-error @+1 {{has 1 sizes for 2 dynamic dimensions}}
  %0 = ssm.output %p, %p[0] (%n) : !llvm.ptr, !llvm.ptr -> memref<?x?xf32>
  return
}

// -----

func.func @layout(%p: !llvm.ptr, %n: index) {
  // expected-error @+1 {{expected the identity layout}}
  %0 = ssm.arena_view %p[%n] () : !llvm.ptr -> memref<4xf32, strided<[2]>>
  return
}

// -----

func.func @axes(%n: index, %x: tensor<?x8xf32>) {
  // expected-error @+1 {{has 1 inputs, expected as many axes and directions}}
  ssm.scan length(%n) ins(%x : tensor<?x8xf32>) input_axes [] output_axes []
      input_reversed [false] output_reversed [] {
  ^bb0(%xt: tensor<8xf32>):
    ssm.yield
  }
  return
}

// -----

func.func @out_axes(%n: index, %e: tensor<?xf32>, %v: tensor<f32>) -> tensor<?xf32> {
  // expected-error @+1 {{has 1 outs, expected as many axes and directions}}
  %0 = ssm.scan length(%n) outs(%e : tensor<?xf32>) input_axes [] output_axes [0]
      input_reversed [] output_reversed [] {
    ssm.yield %v : tensor<f32>
  } -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// -----

func.func @axis_range(%n: index, %x: tensor<?x8xf32>) {
  // expected-error @+1 {{input axis 2 is out of range for 'tensor<?x8xf32>'}}
  ssm.scan length(%n) ins(%x : tensor<?x8xf32>) input_axes [2] output_axes []
      input_reversed [false] output_reversed [] {
  ^bb0(%xt: tensor<8xf32>):
    ssm.yield
  }
  return
}

// -----

func.func @num_results(%n: index, %h: tensor<8xf32>) {
  // expected-error @+1 {{has 0 results, expected 1, one for each carry and out}}
  ssm.scan length(%n) carries(%h : tensor<8xf32>) input_axes [] output_axes []
      input_reversed [] output_reversed [] {
  ^bb0(%a: tensor<8xf32>):
    ssm.yield %a : tensor<8xf32>
  }
  return
}

// -----

func.func @arguments(%n: index, %x: tensor<?x8xf32>) {
  // expected-error @+1 {{body arguments must be the carries, then the input slices}}
  ssm.scan length(%n) ins(%x : tensor<?x8xf32>) input_axes [0] output_axes []
      input_reversed [false] output_reversed [] {
  ^bb0(%xt: tensor<?xf32>):
    ssm.yield
  }
  return
}

// -----

func.func @yields(%n: index, %h: tensor<8xf32>, %g: tensor<?xf32>) -> tensor<8xf32> {
  // expected-error @+1 {{body must yield the carries, then the output slices}}
  %0 = ssm.scan length(%n) carries(%h : tensor<8xf32>) input_axes [] output_axes []
      input_reversed [] output_reversed [] {
  ^bb0(%a: tensor<8xf32>):
    ssm.yield %g : tensor<?xf32>
  } -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// -----

func.func @result_types(%n: index, %h: tensor<8xf32>) -> tensor<?xf32> {
  // expected-error @+1 {{results must have the types of the carries, then of the outs}}
  %0 = ssm.scan length(%n) carries(%h : tensor<8xf32>) input_axes [] output_axes []
      input_reversed [] output_reversed [] {
  ^bb0(%a: tensor<8xf32>):
    ssm.yield %a : tensor<8xf32>
  } -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// -----

func.func @piece(%n: index) {
  // expected-error @+1 {{body arguments must be the two ends of a piece, of type index}}
  ssm.parallel_for %n grain %n {
  ^bb0(%lo: index):
    ssm.yield
  }
  return
}

// -----

func.func @piece_of_integers(%n: index) {
  // expected-error @+1 {{body arguments must be the two ends of a piece, of type index}}
  ssm.parallel_for %n grain %n {
  ^bb0(%lo: i64, %hi: i64):
    ssm.yield
  }
  return
}

// -----

func.func @pieces_yield_nothing(%n: index) {
  // expected-error @+1 {{body must yield nothing}}
  ssm.parallel_for %n grain %n {
  ^bb0(%lo: index, %hi: index):
    ssm.yield %lo : index
  }
  return
}

// -----

func.func @map_of_six_axes(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<2x2x2x2x2x8xf32>) {
  // expected-error @+1 {{expected up to five axes, the innermost one dense}}
  %map = ssm.tensor_map %table, %context %x box [2, 2, 2, 2, 2, 8] swizzle 0 : !llvm.ptr, !llvm.ptr, memref<2x2x2x2x2x8xf32> -> !llvm.ptr
  return
}

// -----

func.func @map_of_strides(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<8x8xf32, strided<[8, ?]>>) {
  // expected-error @+1 {{expected up to five axes, the innermost one dense}}
  %map = ssm.tensor_map %table, %context %x box [8, 8] swizzle 0 : !llvm.ptr, !llvm.ptr, memref<8x8xf32, strided<[8, ?]>> -> !llvm.ptr
  return
}

// -----

func.func @map_of_bits(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<128xi1>) {
  // expected-error @+1 {{expected whole bytes}}
  %map = ssm.tensor_map %table, %context %x box [128] swizzle 0 : !llvm.ptr, !llvm.ptr, memref<128xi1> -> !llvm.ptr
  return
}

// -----

func.func @box_of_other_rank(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<8x8xf32>) {
  // expected-error @+1 {{has a box of 1 axes, expected 2}}
  %map = ssm.tensor_map %table, %context %x box [8] swizzle 0 : !llvm.ptr, !llvm.ptr, memref<8x8xf32> -> !llvm.ptr
  return
}

// -----

func.func @large_box(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<8x8xf32>) {
  // expected-error @+1 {{has a box of 257 elements, expected 1 to 256}}
  %map = ssm.tensor_map %table, %context %x box [257, 8] swizzle 0 : !llvm.ptr, !llvm.ptr, memref<8x8xf32> -> !llvm.ptr
  return
}

// -----

func.func @swizzle(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<8x8xf32>) {
  // expected-error @+1 {{swizzles over 48 bytes, expected 0, 32, 64 or 128}}
  %map = ssm.tensor_map %table, %context %x box [8, 8] swizzle 48 : !llvm.ptr, !llvm.ptr, memref<8x8xf32> -> !llvm.ptr
  return
}

// -----

func.func @short_lines(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<8x8xf32>) {
  // expected-error @+1 {{has boxes with lines of 12 bytes, expected pieces of 16}}
  %map = ssm.tensor_map %table, %context %x box [8, 3] swizzle 0 : !llvm.ptr, !llvm.ptr, memref<8x8xf32> -> !llvm.ptr
  return
}

// -----

func.func @long_lines(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<8x64xf32>) {
  // expected-error @+1 {{has boxes with lines of 256 bytes, expected pieces of 16}}
  %map = ssm.tensor_map %table, %context %x box [8, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<8x64xf32> -> !llvm.ptr
  return
}

// -----

func.func @map_in_a_call(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<8x8xf32>) {
  // expected-error @+1 {{is used by 'func.call', expected ssm.launch}}
  %map = ssm.tensor_map %table, %context %x box [8, 8] swizzle 0 : !llvm.ptr, !llvm.ptr, memref<8x8xf32> -> !llvm.ptr
  call @take(%map) : (!llvm.ptr) -> ()
  return
}
func.func private @take(!llvm.ptr)

// -----

func.func @map_where_none_is(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<8x8xf32>, %n: index) {
  // expected-error @+1 {{is argument 0 of @device::@kernel, which takes no tensor map there}}
  %map = ssm.tensor_map %table, %context %x box [8, 8] swizzle 0 : !llvm.ptr, !llvm.ptr, memref<8x8xf32> -> !llvm.ptr
  ssm.launch %table, %context @device::@kernel grid(%n, %n, %n) threads %n args(%map : !llvm.ptr) : !llvm.ptr, !llvm.ptr
  return
}
gpu.module @device {
  gpu.func @kernel(%map: !llvm.ptr) kernel {
    gpu.return
  }
}
