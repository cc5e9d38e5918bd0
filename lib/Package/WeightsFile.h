//===- WeightsFile.h - The weights of a module, on disk ---------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A safetensors file holds the weights at the offsets that the code uses. The
// format wants tensors without gaps, the code wants them aligned to 64 bytes: a
// gap is a tensor of bytes named "__padding__<offset>". The header is filled with
// spaces, so that the data begins aligned. Of weights that share their bytes one
// is a tensor; the others are named in the header's __metadata__, as
// "alias:<name>" = "<name of the tensor>". There is a digest of all values too: the
// module knows its file by the header's hash.
//
// Weights that are embedded are the same bytes in an object file instead.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_WEIGHTSFILE_H
#define SSM_LIB_PACKAGE_WEIGHTSFILE_H

#include "lib/Package/Description.h"
#include "lib/Package/ModuleSpec.h"
#include "lib/Package/WeightSources.h"
#include <memory>

namespace ssm {

/// Writes weights in any order, file to file, with a bounded part in memory.
class WeightsFile {
public:
  /// Begins a safetensors file at `path` for the weights of `spec`.
  static llvm::Expected<std::unique_ptr<WeightsFile>> createSafetensors(llvm::StringRef path,
                                                                        const ModuleSpec &spec);
  /// Begins an object file with them, under kEmbeddedWeightsSymbol.
  static llvm::Expected<std::unique_ptr<WeightsFile>>
  createObject(llvm::StringRef path, const ModuleSpec &spec, llvm::StringRef triple);
  ~WeightsFile();

  /// Copies the bytes of a weight to its place; sets its hash. Error: a source
  /// that has changed since its `hash` was taken.
  llvm::Error write(WeightSpec &weight, WeightSources &sources);

  /// Maps the place of a weight and calls back to fill or read it; sets the hash.
  llvm::Error map(WeightSpec &weight,
                  llvm::function_ref<llvm::Error(llvm::MutableArrayRef<uint8_t>)> callback);

  /// Closes the file, the last call: writes a digest of all weights into the header,
  /// so that its hash tells the file from one of other values. Returns where the
  /// weights are, but for the file's final name.
  llvm::Expected<WeightsPlace> finish(uint64_t digest);

private:
  WeightsFile(llvm::StringRef path, int fd) : path(path), fd(fd) {}
  static llvm::Expected<std::unique_ptr<WeightsFile>>
  create(llvm::StringRef path, llvm::StringRef head, uint64_t dataBytes, llvm::StringRef tail);
  llvm::Error fail(const llvm::Twine &what) const;

  std::string path;
  int fd;
  std::string header; // of a safetensors file
  uint64_t base = 0;
  uint64_t fileBytes = 0;
};

} // namespace ssm

#endif // SSM_LIB_PACKAGE_WEIGHTSFILE_H
