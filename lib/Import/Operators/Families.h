//===- Families.h - Registration of the operator families -------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_OPERATORS_FAMILIES_H
#define SSM_LIB_IMPORT_OPERATORS_FAMILIES_H

namespace ssm::onnx {
class OperatorTable;

void registerElementwiseOperators(OperatorTable &table); // arithmetic, logic, activations, Cast
void registerConstantOperators(OperatorTable &table);    // Constant, Shape, Range, ...
void registerLayoutOperators(OperatorTable &table);      // Reshape, Transpose, Concat, Slice, ...
void registerIndexingOperators(OperatorTable &table);    // Gather, Scatter, NonZero, OneHot, ...
void registerReductionOperators(OperatorTable &table);   // Reduce*, ArgMax, CumSum, Softmax, TopK
void registerNormalizationOperators(
    OperatorTable &table); // LayerNormalization, RMSNormalization, ...
void registerContractionOperators(OperatorTable &table); // MatMul, Gemm, Einsum, Conv
void registerControlFlowOperators(OperatorTable &table); // If, Loop, Scan
void registerSequenceModelOperators(
    OperatorTable &table); // LinearAttention, Attention, rotary, ...
} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_OPERATORS_FAMILIES_H
