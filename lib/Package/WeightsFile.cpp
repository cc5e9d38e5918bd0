//===- WeightsFile.cpp - The weights of a module, on disk -----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/WeightsFile.h"

#include "include/ssmrt/module_abi.h"
#include "lib/Package/ElfObject.h"
#include "lib/Package/Hash.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/Errno.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Process.h"

#include <cerrno>
#include <unistd.h>

using namespace llvm;
using namespace ssm;

Error ssm::hashWeight(WeightOp weight, WeightSources &sources) {
  if (weight.getHash() || weight.getInit())
    return Error::success();
  Hasher hasher;
  if (Error error = sources.read(weight, [&](ArrayRef<uint8_t> piece) {
        hasher.update(piece);
        return Error::success();
      }))
    return error;
  weight.setHash(static_cast<int64_t>(hasher.finish()));
  return Error::success();
}

//===----------------------------------------------------------------------===//
// The header
//===----------------------------------------------------------------------===//

static StringRef safetensorsType(int32_t type) {
  switch (type) {
  case SSM_TYPE_F32:
    return "F32";
  case SSM_TYPE_F64:
    return "F64";
  case SSM_TYPE_F16:
    return "F16";
  case SSM_TYPE_BF16:
    return "BF16";
  case SSM_TYPE_F8E4M3FN:
    return "F8_E4M3";
  case SSM_TYPE_F8E5M2:
    return "F8_E5M2";
  case SSM_TYPE_BOOL:
    return "BOOL";
  case SSM_TYPE_I8:
    return "I8";
  case SSM_TYPE_I16:
    return "I16";
  case SSM_TYPE_I32:
    return "I32";
  case SSM_TYPE_I64:
    return "I64";
  case SSM_TYPE_U16:
    return "U16";
  case SSM_TYPE_U32:
    return "U32";
  case SSM_TYPE_U64:
    return "U64";
  }
  return "U8";
}

static uint64_t dataBytes(const ModuleSpec &spec) {
  uint64_t end = 0;
  for (const WeightSpec &weight : spec.weights)
    end = std::max<uint64_t>(end, weight.offset + weight.bytes);
  return end;
}

/// The key of the digest of all weights among the metadata.
static constexpr StringLiteral kDigestKey = "ssm-mlir.weights";
static constexpr StringLiteral kNoDigest = "0000000000000000";

static std::string safetensorsHeader(const ModuleSpec &spec) {
  std::string text;
  raw_string_ostream stream(text);
  json::OStream writer(stream);
  auto tensor = [&](StringRef name, StringRef type, ArrayRef<int64_t> dims, int64_t begin,
                    int64_t end) {
    writer.attributeObject(name, [&] {
      writer.attribute("dtype", type);
      writer.attributeArray("shape", [&] {
        for (int64_t dim : dims)
          writer.value(dim);
      });
      writer.attributeArray("data_offsets", [&] {
        writer.value(begin);
        writer.value(end);
      });
    });
  };
  // Weights come by offset: one that begins where the last one did shares it.
  auto sharesWithPrevious = [&](size_t i) {
    return i > 0 && spec.weights[i].bytes != 0 &&
           spec.weights[i].bytes == spec.weights[i - 1].bytes &&
           spec.weights[i].offset == spec.weights[i - 1].offset;
  };
  // The library for Python takes only UTF-8, and so do we: fixUTF8 keeps names
  // that already are.
  std::vector<std::string> names;
  for (const WeightSpec &weight : spec.weights)
    names.push_back(json::fixUTF8(weight.name));
  writer.object([&] {
    writer.attributeObject("__metadata__", [&] {
      writer.attribute("format", "ssm-mlir");
      writer.attribute(kDigestKey, kNoDigest);
      for (size_t i = 0, owner = 0; i < names.size(); ++i) {
        if (sharesWithPrevious(i))
          writer.attribute("alias:" + names[i], names[owner]);
        else
          owner = i;
      }
    });
    int64_t end = 0;
    for (auto [i, weight] : enumerate(spec.weights)) {
      if (sharesWithPrevious(i))
        continue;
      if (weight.offset > end)
        tensor("__padding__" + std::to_string(end), "U8", {weight.offset - end}, end,
               weight.offset);
      // One of no bytes may have been given a place inside another.
      int64_t begin = weight.bytes == 0 ? std::max(end, weight.offset) : weight.offset;
      end = begin + weight.bytes;
      tensor(names[i], safetensorsType(weight.type), weight.dims, begin, end);
    }
  });
  stream.flush();
  text.resize(alignTo(8 + text.size(), 64) - 8, ' ');
  std::string length(8, '\0');
  support::endian::write64le(length.data(), text.size());
  return length + text;
}

//===----------------------------------------------------------------------===//
// The file
//===----------------------------------------------------------------------===//

Error WeightsFile::fail(const Twine &what) const {
  return createStringError("cannot write '" + path + "': " + what);
}

static Error writeAt(int fd, ArrayRef<uint8_t> bytes, uint64_t offset,
                     function_ref<Error(const Twine &)> fail) {
  while (!bytes.empty()) {
    ssize_t count = ::pwrite(fd, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return fail(count == 0 ? "no space" : sys::StrError(errno));
    bytes = bytes.drop_front(count);
    offset += count;
  }
  return Error::success();
}

Expected<std::unique_ptr<WeightsFile>> WeightsFile::create(StringRef path, StringRef head,
                                                           uint64_t dataBytes, StringRef tail) {
  int fd = -1;
  if (std::error_code code =
          sys::fs::openFileForReadWrite(path, fd, sys::fs::CD_CreateAlways, sys::fs::OF_None))
    return createStringError("cannot write '" + path + "': " + code.message());
  std::unique_ptr<WeightsFile> file(new WeightsFile(path, fd));
  file->base = head.size();
  file->fileBytes = head.size() + dataBytes + tail.size();
  auto fail = [&](const Twine &what) { return file->fail(what); };
  if (std::error_code code = sys::fs::resize_file(fd, file->fileBytes))
    return fail(code.message());
  if (Error error = writeAt(fd, arrayRefFromStringRef(head), 0, fail))
    return error;
  if (Error error = writeAt(fd, arrayRefFromStringRef(tail), head.size() + dataBytes, fail))
    return error;
  return file;
}

Expected<std::unique_ptr<WeightsFile>> WeightsFile::createSafetensors(StringRef path,
                                                                      const ModuleSpec &spec) {
  for (const WeightSpec &weight : spec.weights)
    if (weight.name == "__metadata__" || StringRef(weight.name).starts_with("__padding__"))
      return createStringError("a weight is named '" + weight.name +
                               "', which the weights file needs for itself");
  std::string header = safetensorsHeader(spec);
  auto file = create(path, header, ::dataBytes(spec), "");
  if (file)
    (*file)->header = std::move(header);
  return file;
}

Expected<std::unique_ptr<WeightsFile>>
WeightsFile::createObject(StringRef path, const ModuleSpec &spec, StringRef triple) {
  uint64_t bytes = ::dataBytes(spec);
  Expected<ElfObject> object = makeElfObject(triple, kEmbeddedWeightsSymbol, bytes);
  if (!object)
    return object.takeError();
  auto file = create(path, object->head, bytes, object->tail);
  return file;
}

WeightsFile::~WeightsFile() {
  if (fd >= 0)
    ::close(fd);
}

/// Where the compiler looked at the bytes before, they must be the same now.
static Error checkHash(WeightSpec &weight) {
  std::optional<uint64_t> expected = weight.op.getHash();
  if (!expected || *expected == weight.hash)
    return Error::success();
  return createStringError("weight '" + weight.name + "' changed while the model was compiled");
}

Error WeightsFile::write(WeightSpec &weight, WeightSources &sources) {
  Hasher hasher;
  uint64_t offset = base + weight.offset;
  uint64_t end = offset + weight.bytes;
  auto fail = [&](const Twine &what) { return this->fail(what); };
  if (Error error = sources.read(weight.op, [&](ArrayRef<uint8_t> piece) -> Error {
        if (piece.size() > end - offset)
          return createStringError("weight '" + weight.name + "' has more bytes than its type");
        hasher.update(piece);
        if (Error error = writeAt(fd, piece, offset, fail))
          return error;
        offset += piece.size();
        return Error::success();
      }))
    return error;
  if (offset != end)
    return createStringError("weight '" + weight.name + "' has fewer bytes than its type");
  weight.hash = hasher.finish();
  return checkHash(weight);
}

Error WeightsFile::map(WeightSpec &weight, function_ref<Error(MutableArrayRef<uint8_t>)> callback) {
  uint64_t begin = base + weight.offset;
  uint64_t shift = begin % sys::Process::getPageSizeEstimate();
  std::error_code code;
  Hasher hasher;
  if (weight.bytes == 0) {
    if (Error error = callback({}))
      return error;
  } else {
    sys::fs::mapped_file_region region(sys::fs::convertFDToNativeFile(fd),
                                       sys::fs::mapped_file_region::readwrite, weight.bytes + shift,
                                       begin - shift, code);
    if (code)
      return fail(code.message());
    MutableArrayRef<uint8_t> bytes(reinterpret_cast<uint8_t *>(region.data()) + shift,
                                   weight.bytes);
    if (Error error = callback(bytes))
      return error;
    hasher.update(bytes);
  }
  weight.hash = hasher.finish();
  return Error::success();
}

Expected<WeightsPlace> WeightsFile::finish(uint64_t digest) {
  WeightsPlace place;
  place.embedded = header.empty();
  auto fail = [&](const Twine &what) { return this->fail(what); };
  if (!place.embedded) {
    // The first hit: no name of the model comes before it.
    size_t at = header.find(kNoDigest, header.find(kDigestKey));
    header.replace(at, kNoDigest.size(), utohexstr(digest, /*LowerCase=*/true, kNoDigest.size()));
    if (Error error = writeAt(fd, arrayRefFromStringRef(header), 0, fail))
      return error;
    Hasher hasher;
    hasher.update(arrayRefFromStringRef(header));
    place.fileBytes = fileBytes;
    place.base = base;
    place.headerHash = hasher.finish();
  }
  int open = fd;
  fd = -1;
  if (::close(open) != 0)
    return fail(sys::StrError(errno));
  return place;
}
