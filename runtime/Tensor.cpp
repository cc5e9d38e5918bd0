//===- Tensor.cpp - Tensors that come in and go out -----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Session.h"

using namespace ssmrt;

/// Whether strides, where given, are those of a row-major tensor without gaps.
static bool isDense(const DLTensor &tensor) {
  if (!tensor.strides)
    return true;
  int64_t expected = 1;
  for (int32_t axis = tensor.ndim - 1; axis >= 0; --axis) {
    if (tensor.shape[axis] != 1 && tensor.strides[axis] != expected)
      return false;
    expected *= tensor.shape[axis];
  }
  return true;
}

ssmrt_status ssmrt::checkPlace(const char *kind, const char *name, DLDevice place,
                               const Device *device, bool *isOnHost) {
  // Read as the number it is: it may be one that the enum does not have.
  int32_t type;
  static_assert(sizeof(place.device_type) == sizeof(type), "layout");
  std::memcpy(&type, &place.device_type, sizeof(type));
  *isOnHost = type == kDLCPU || type == kDLCUDAHost;
  if (*isOnHost || (device && type == kDLCUDA && place.device_id == device->ordinal))
    return SSMRT_OK;
  if (device)
    return fail(SSMRT_INVALID_ARGUMENT,
                "%s '%s': lies on device %d of type %d, expected the CPU (%d) or %s (%d of type %d)",
                kind, name, place.device_id, type, int(kDLCPU), device->name, device->ordinal,
                int(kDLCUDA));
  return fail(SSMRT_INVALID_ARGUMENT, "%s '%s': lies on device type %d, expected the CPU (%d)", kind,
              name, type, int(kDLCPU));
}

ssmrt_status ssmrt::checkTensor(const char *kind, const ssm_value_info &info,
                                const DLTensor &tensor, const Device *device, const void **data,
                                int64_t *bytes, bool *isOnHost) {
  const char *name = info.name;
  const TypeInfo &expected = *findType(info.type);
  const TypeInfo *type = findType(tensor.dtype);
  if (!type)
    return fail(SSMRT_INVALID_ARGUMENT,
                "%s '%s': unknown element type (code %d, %d bits, %d lanes), "
                "expected %s",
                kind, name, tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes,
                expected.name);
  if (type != &expected)
    return fail(SSMRT_INVALID_ARGUMENT, "%s '%s': element type is %s, expected %s", kind, name,
                type->name, expected.name);
  SSMRT_TRY(checkPlace(kind, name, tensor.device, device, isOnHost));
  if (tensor.ndim != info.rank)
    return fail(SSMRT_INVALID_ARGUMENT, "%s '%s': rank is %d, expected %d %s", kind, name,
                tensor.ndim, info.rank, textOf(info).text);
  if (tensor.ndim > 0 && !tensor.shape)
    return fail(SSMRT_INVALID_ARGUMENT, "%s '%s': shape is NULL", kind, name);
  for (int32_t axis = 0; axis < info.rank; ++axis) {
    int64_t size = tensor.shape[axis], fixed = info.dims[axis].value;
    if (size < 0)
      return fail(SSMRT_INVALID_ARGUMENT, "%s '%s': dimension %d is negative (%lld)", kind, name,
                  axis, (long long)size);
    if (fixed >= 0 && size != fixed)
      return fail(SSMRT_INVALID_ARGUMENT,
                  "%s '%s': dimension %d is %lld, expected %lld, which the "
                  "model fixes",
                  kind, name, axis, (long long)size, (long long)fixed);
  }
  if (!byteSize(tensor.shape, info.rank, type->bytes, bytes))
    return fail(SSMRT_INVALID_ARGUMENT, "%s '%s': shape %s is too large", kind, name,
                textOf(tensor.shape, info.rank).text);
  *data = emptyData();
  if (*bytes == 0)
    return SSMRT_OK;
  if (!isDense(tensor))
    return fail(SSMRT_INVALID_ARGUMENT,
                "%s '%s': strides %s are not those of a row-major tensor of "
                "shape %s",
                kind, name, textOf(tensor.strides, info.rank).text,
                textOf(tensor.shape, info.rank).text);
  if (!tensor.data)
    return fail(SSMRT_INVALID_ARGUMENT, "%s '%s': data is NULL", kind, name);
  auto address = reinterpret_cast<uintptr_t>(tensor.data) + tensor.byte_offset;
  if (address % uintptr_t(type->bytes))
    return fail(SSMRT_INVALID_ARGUMENT, "%s '%s': data is not aligned to the %d bytes of %s", kind,
                name, type->bytes, type->name);
  *data = static_cast<const uint8_t *>(tensor.data) + tensor.byte_offset;
  int64_t where;
  if (type->type == SSM_TYPE_BOOL && *isOnHost && !isBoolean(*data, *bytes, &where))
    return fail(SSMRT_INVALID_ARGUMENT, "%s '%s': element %lld is %d, a bool is 0 or 1", kind, name,
                (long long)where, static_cast<const uint8_t *>(*data)[where]);
  return SSMRT_OK;
}

DLTensor ssmrt::viewOf(const TypeInfo &type, void *data, const int64_t *dims, int32_t rank,
                       const Device *device) {
  DLTensor view;
  std::memset(&view, 0, sizeof(view));
  view.data = data;
  view.device.device_type = device ? kDLCUDA : kDLCPU;
  view.device.device_id = device ? device->ordinal : 0;
  view.ndim = rank;
  view.dtype = type.dl;
  view.shape = const_cast<int64_t *>(dims);
  return view;
}
