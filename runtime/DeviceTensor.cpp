//===- DeviceTensor.cpp - Tensors kept on a device ------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Session.h"

using namespace ssmrt;

struct ssmrt_device_tensor {
  ~ssmrt_device_tensor();
  ssmrt_status initialize(ssmrt_module *owner, const DLTensor &from);

  ssmrt_module *module = nullptr;
  Array<int64_t> shape;
  DLTensor view = {};
};

ssmrt_device_tensor::~ssmrt_device_tensor() {
  if (view.data) {
    Device *device = module->onDevice->device;
    Current current(device);
    device->driver->release(reinterpret_cast<cuda::Address>(view.data));
  }
  ssmrt_module_release(module);
}

ssmrt_status ssmrt_device_tensor::initialize(ssmrt_module *owner, const DLTensor &from) {
  ssmrt_module_retain(owner);
  module = owner;
  Device *device = owner->onDevice->device;
  // As an input that may have any sizes.
  const TypeInfo *type = findType(from.dtype);
  const ssm_dim open = {-1, nullptr};
  ssm_dim dims[SSM_ABI_MAX_RANK];
  for (ssm_dim &dim : dims)
    dim = open;
  if (!type || from.ndim < 0 || from.ndim > SSM_ABI_MAX_RANK)
    return fail(SSMRT_INVALID_ARGUMENT, "the tensor's element type or rank %d is unknown",
                from.ndim);
  const ssm_value_info info = {"to be copied", type->type, from.ndim, dims};
  const void *data;
  int64_t bytes;
  bool isOnHost;
  SSMRT_TRY(checkTensor("tensor", info, from, nullptr, &data, &bytes, &isOnHost));
  if (!shape.append(from.shape, size_t(from.ndim)))
    return outOfMemory("a shape", from.ndim);
  view = viewOf(*type, nullptr, shape.data(), from.ndim, device);
  if (bytes == 0)
    return SSMRT_OK;
  SSMRT_TRY(device->usable());
  Current current(device);
  cuda::Address to;
  cuda::Result result = device->driver->allocate(&to, size_t(bytes));
  if (result == cuda::kOutOfMemory)
    return device->noMemory("a tensor", bytes);
  if (!result) {
    view.data = reinterpret_cast<void *>(to);
    result = device->upload(to, data, size_t(bytes));
  }
  return result ? device->failed(result, "copying a tensor") : SSMRT_OK;
}

ssmrt_status ssmrt_device_tensor_create(ssmrt_module *module, const DLTensor *tensor,
                                        ssmrt_device_tensor **result) {
  if (!module || !tensor || !result)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL",
                !module   ? "module"
                : !tensor ? "tensor"
                          : "result");
  if (!module->onDevice)
    return fail(SSMRT_INVALID_ARGUMENT, "module '%s' was not loaded for a device", module->path);
  auto *made = make<ssmrt_device_tensor>();
  if (!made)
    return outOfMemory("a tensor", sizeof(ssmrt_device_tensor));
  ssmrt_status status = made->initialize(module, *tensor);
  if (status == SSMRT_OK)
    *result = made;
  else
    unmake(made);
  return status;
}

void ssmrt_device_tensor_destroy(ssmrt_device_tensor *tensor) { unmake(tensor); }

void ssmrt_device_tensor_view(const ssmrt_device_tensor *tensor, DLTensor *view) {
  *view = tensor->view;
}
