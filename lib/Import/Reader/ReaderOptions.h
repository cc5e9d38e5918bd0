//===- ReaderOptions.h - Options of the ONNX reader -------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_READER_READEROPTIONS_H
#define SSM_LIB_IMPORT_READER_READEROPTIONS_H

#include <cstdint>
#include <functional>
#include <string>

namespace ssm::onnx {

struct ReaderOptions {
  /// Where external data lies, if not beside the model. Links are allowed there:
  /// model hubs keep their caches that way, and the user named the folder.
  std::string weightsFolder;

  /// Allows symbolic and hard links beside the model too.
  bool allowLinks = false;

  /// Largest sum of the bytes of all tensors. Tensors may overlap in external
  /// data, so a small model can claim any size.
  uint64_t maxWeightBytes = uint64_t(256) << 30;

  /// Largest size of one sparse tensor once it is dense.
  uint64_t maxSparseBytes = uint64_t(256) << 20;

  /// Told what was ignored.
  std::function<void(const std::string &)> warn;
};

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_READER_READEROPTIONS_H
