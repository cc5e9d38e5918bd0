//===- TensorFile.cpp - Tensor files of the API ---------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "File.h"
#include "Safetensors.h"
#include "Session.h"
#include "Status.h"

using namespace ssmrt;

struct ssmrt_tensors {
  MappedFile file;
  SafetensorsHeader header;
  const uint8_t *data = nullptr;
};

static ssmrt_status parse(ssmrt_tensors &tensors, const char *name, const uint8_t *data,
                          size_t bytes) {
  SSMRT_TRY(tensors.header.parse(name, data, bytes));
  tensors.data = data + tensors.header.dataStart;
  return SSMRT_OK;
}

static ssmrt_status finish(ssmrt_status status, ssmrt_tensors *created, ssmrt_tensors **result) {
  if (status == SSMRT_OK)
    *result = created;
  else
    unmake(created);
  return status;
}

ssmrt_status ssmrt_tensors_open(const char *path, ssmrt_tensors **tensors) {
  if (!path || !tensors)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", path ? "tensors" : "path");
  auto *created = make<ssmrt_tensors>();
  if (!created)
    return outOfMemory("a file", sizeof(ssmrt_tensors));
  ssmrt_status status = created->file.open(path, "file");
  if (status == SSMRT_OK)
    status = parse(*created, path, created->file.data(), created->file.size());
  return finish(status, created, tensors);
}

ssmrt_status ssmrt_tensors_parse(const void *data, size_t bytes, ssmrt_tensors **tensors) {
  if ((bytes && !data) || !tensors)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", tensors ? "data" : "tensors");
  auto *created = make<ssmrt_tensors>();
  if (!created)
    return outOfMemory("a file", sizeof(ssmrt_tensors));
  return finish(parse(*created, "(in memory)", static_cast<const uint8_t *>(data), bytes), created,
                tensors);
}

void ssmrt_tensors_destroy(ssmrt_tensors *tensors) { unmake(tensors); }

int32_t ssmrt_tensors_count(const ssmrt_tensors *tensors) {
  return int32_t(tensors->header.tensors.size());
}

ssmrt_status ssmrt_tensors_get(const ssmrt_tensors *tensors, int32_t index, const char **name,
                               DLTensor *tensor) {
  if (!tensors || index < 0 || index >= ssmrt_tensors_count(tensors))
    return fail(SSMRT_INVALID_ARGUMENT, "there is no tensor %d", index);
  const FileTensor &found = tensors->header.tensors[size_t(index)];
  if (name)
    *name = found.name;
  if (tensor)
    *tensor = viewOf(*found.type, const_cast<uint8_t *>(tensors->data + found.begin), found.dims,
                     found.rank);
  return SSMRT_OK;
}

static ssmrt_status writeToFile(void *sink, const void *data, size_t bytes) {
  return static_cast<NewFile *>(sink)->write(data, bytes);
}

ssmrt_status ssmrt::writeSafetensorsFile(const char *path, const ssmrt_input *tensors,
                                         int32_t count, uint64_t model) {
  NewFile file;
  SSMRT_TRY(file.create(path));
  SSMRT_TRY(writeSafetensors(tensors, count, model, writeToFile, &file));
  return file.commit();
}

ssmrt_status ssmrt_tensors_write(const char *path, const ssmrt_input *tensors, int32_t count) {
  if (!path || count < 0 || (count && !tensors))
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", path ? "tensors" : "path");
  for (int32_t i = 0; i < count; ++i)
    if (!tensors[i].name || !tensors[i].tensor)
      return fail(SSMRT_INVALID_ARGUMENT, "tensor %d has no name or is NULL", i);
  return writeSafetensorsFile(path, tensors, count, 0);
}
