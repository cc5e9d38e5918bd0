//===- ImportTypes.h - Types and constants of the graph stage ----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_IMPORTTYPES_H
#define SSM_LIB_IMPORT_IMPORTTYPES_H

#include "lib/Import/Reader/WeightSource.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace ssm::onnx {

/// The element type of the graph stage: signless for ONNX's signed integers, i1
/// for bool. Null for strings and Undefined.
mlir::Type importElementType(ElementType type, mlir::MLIRContext *context);

/// The elements of a tensor that is not large. Error: it is of a type that has no
/// element type, or cannot be read.
llvm::Expected<mlir::DenseElementsAttr> importElements(const WeightSource &source,
                                                       mlir::MLIRContext *context);

/// An attribute as onnx.node holds it. Error: graphs, types, sparse tensors,
/// lists of tensors.
llvm::Expected<mlir::Attribute> importAttribute(const NodeAttribute &attribute,
                                                mlir::MLIRContext *context);

/// The dims as `onnx.dims` holds them: integers, strings, units.
mlir::ArrayAttr importDims(llvm::ArrayRef<Dimension> dims, mlir::MLIRContext *context);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_IMPORTTYPES_H
