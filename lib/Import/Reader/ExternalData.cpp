//===- ExternalData.cpp - Files that hold the weights of a model ----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Reader/ExternalData.h"
#include "lib/Import/Reader/ReaderError.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Errno.h"

#include <fcntl.h>
#include <unistd.h>

using namespace ssm::onnx;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;

/// Splits a location into its parts. Backslashes count as separators, so that a
/// file means the same on every system.
static Expected<llvm::SmallVector<StringRef, 4>> splitLocation(StringRef location) {
  if (location.empty())
    return readerError("the external data has no location");
  if (location.contains('\0'))
    return readerError("the external data location has a NUL character");
  if (location.starts_with("/") || location.starts_with("\\") ||
      (location.size() > 1 && location[1] == ':'))
    return readerError("the external data location '" + location +
                       "' is not relative to the model's folder");
  llvm::SmallVector<StringRef, 4> parts;
  StringRef rest = location;
  while (!rest.empty()) {
    size_t end = std::min(rest.find_first_of("/\\"), rest.size());
    StringRef part = rest.take_front(end);
    rest = rest.drop_front(std::min(end + 1, rest.size()));
    if (part == "..")
      return readerError("the external data location '" + location +
                         "' leads out of the model's folder");
    if (!part.empty() && part != ".")
      parts.push_back(part);
  }
  if (parts.empty())
    return readerError("the external data location '" + location + "' names no file");
  return parts;
}

ExternalData::ExternalData(Model &model, std::string folder, const ReaderOptions &options)
    : model(model), folder(std::move(folder)), options(options) {}

ExternalData::~ExternalData() {
  if (folderDescriptor >= 0)
    ::close(folderDescriptor);
}

Expected<int> ExternalData::openInside(llvm::ArrayRef<StringRef> parts, bool followLinks) {
  if (folderDescriptor < 0) {
    folderDescriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folderDescriptor < 0)
      return readerError("the folder '" + folder + "' cannot be opened: " + llvm::sys::StrError());
  }
  // Part by part: O_NOFOLLOW looks at the last part of a path only.
  int links = followLinks ? 0 : O_NOFOLLOW;
  int current = folderDescriptor;
  for (auto [i, part] : llvm::enumerate(parts)) {
    bool last = i + 1 == parts.size();
    int flags = O_RDONLY | O_CLOEXEC | links | (last ? O_NONBLOCK : O_DIRECTORY);
    int inner = ::openat(current, part.str().c_str(), flags);
    int code = errno;
    if (current != folderDescriptor)
      ::close(current);
    if (inner < 0) {
      std::string path = folder + "/" + llvm::join(parts, "/");
      if (code == ELOOP || (code == ENOTDIR && !last))
        return readerError("'" + path + "' goes through a link or a file ('" + part +
                           "') (name the folder of the weights to allow links)");
      return readerError("the external data file '" + path +
                         "' cannot be opened: " + llvm::sys::StrError(code));
    }
    current = inner;
  }
  return current;
}

Expected<unsigned> ExternalData::getFile(StringRef location) {
  auto parts = splitLocation(location);
  if (!parts)
    return parts.takeError();
  if (folder.empty())
    return readerError("the external data '" + location +
                       "' has no folder: the model was not read from a file");
  std::string key = llvm::join(*parts, "/");
  if (auto it = files.find(key); it != files.end())
    return it->second;
  bool links = options.allowLinks || !options.weightsFolder.empty();
  Expected<int> descriptor = openInside(*parts, links);
  if (!descriptor)
    return descriptor.takeError();
  auto file = WeightFile::map(*descriptor, folder + "/" + key, /*refuseHardLinks=*/!links);
  if (!file)
    return file.takeError();
  unsigned index = model.files.size();
  model.files.push_back(std::move(*file));
  files[key] = index;
  return index;
}

Error ExternalData::resolve(TensorData &tensor, llvm::ArrayRef<Entry> entries) {
  std::optional<StringRef> location, offset, length;
  for (auto [key, value] : entries) {
    std::optional<StringRef> *slot = llvm::StringSwitch<std::optional<StringRef> *>(key)
                                         .Case("location", &location)
                                         .Case("offset", &offset)
                                         .Case("length", &length)
                                         .Default(nullptr);
    if (slot) {
      if (*slot)
        return readerError("the external data gives '" + key + "' twice");
      *slot = value;
    } else if (key != "checksum" && key != "basepath" && options.warn) {
      options.warn(
          ("tensor '" + tensor.name + "': external data key '" + key + "' is unknown and ignored")
              .str());
    }
  }
  uint64_t start = 0, size = tensor.numBytes();
  if (offset && offset->getAsInteger(10, start))
    return readerError("the external data offset '" + *offset + "' is not a number of bytes");
  if (length) {
    uint64_t stated = 0;
    if (length->getAsInteger(10, stated))
      return readerError("the external data length '" + *length + "' is not a number of bytes");
    if (stated != size)
      return readerError("the external data has " + llvm::Twine(stated) + " bytes, expected " +
                         llvm::Twine(size) + " from type and dims");
  }
  auto file = getFile(location.value_or(StringRef()));
  if (!file)
    return file.takeError();
  uint64_t available = model.files[*file]->getBytes().size();
  if (start > available || size > available - start)
    return readerError("the external data at offset " + llvm::Twine(start) + " needs " +
                       llvm::Twine(size) + " bytes, but '" + model.files[*file]->getPath() +
                       "' has " + llvm::Twine(available) + " in all");
  tensor.storage = TensorData::Storage::External;
  tensor.file = *file;
  tensor.fileOffset = start;
  tensor.bytes = model.files[*file]->getBytes().substr(start, size);
  return Error::success();
}
