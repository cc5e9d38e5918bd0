//===- dlpack.h - The tensor struct of the API ------------------*- C -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// DLTensor as DLPack 0.6 to 1.x lays it out. If DLPack's own header is there,
// it is used, so that both can be included in any order; otherwise the same
// names are defined here.
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_DLPACK_H
#define SSMRT_DLPACK_H

#include <stdint.h>

#if defined(DLPACK_VERSION) || defined(DLPACK_MAJOR_VERSION)
#define SSMRT_HAVE_DLPACK 1
#elif defined(__has_include)
#if __has_include(<dlpack/dlpack.h>)
#include <dlpack/dlpack.h>
#define SSMRT_HAVE_DLPACK 1
#endif
#endif

#ifndef SSMRT_HAVE_DLPACK

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { kDLCPU = 1, kDLCUDA = 2, kDLCUDAHost = 3 } DLDeviceType;

typedef struct {
  DLDeviceType device_type;
  int32_t device_id;
} DLDevice;

typedef enum {
  kDLInt = 0,
  kDLUInt = 1,
  kDLFloat = 2,
  kDLBfloat = 4,
  kDLBool = 6
} DLDataTypeCode;

typedef struct {
  uint8_t code; /* a DLDataTypeCode */
  uint8_t bits;
  uint16_t lanes; /* 1 */
} DLDataType;

typedef struct {
  void *data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape;   /* ndim sizes */
  int64_t *strides; /* in elements; NULL: row major without gaps */
  uint64_t byte_offset;
} DLTensor;

#ifdef __cplusplus
}
#endif

#endif /* SSMRT_HAVE_DLPACK */

#ifdef __cplusplus
static_assert(sizeof(DLTensor) == 48, "DLPack layout");
#endif

#endif /* SSMRT_DLPACK_H */
