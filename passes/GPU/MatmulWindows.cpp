//===- MatmulWindows.cpp - Windows as a side of a product ------------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/MatmulWindows.h"

#include "passes/GPU/MatmulTiles.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace ssm;

WindowReader::WindowReader(DeviceBuilder d, PointEmitter &e, const ReadWindow &window,
                           ArrayRef<unsigned> depth)
    : d(d), e(e), window(window), depth(depth) {
  BufferLayout layout = layoutOf(d, window.source);
  auto global = LLVM::LLVMPointerType::get(d.b.getContext(), /*global*/ 1);
  base = LLVM::AddrSpaceCastOp::create(d.b, global, layout.pointer);
  int64_t bytes = cast<MemRefType>(window.source.getType()).getElementTypeBitWidth() / 8;
  for (auto [axis, stride] : llvm::zip_equal(window.axes, layout.strides)) {
    strides.push_back(d.toWide(d.mul(stride, bytes)));
    bounds.push_back(axis.bound ? d.toInt(e.get(axis.bound)) : Value());
  }
}

WindowReader::Row WindowReader::row() {
  Row row = {base, {}};
  for (auto [axis, stride] : llvm::zip_equal(window.axes, strides)) {
    Value at = e.index(axis.constant);
    for (auto [loop, factor] : axis.terms)
      if (!llvm::is_contained(depth, loop))
        at = e.add(at, e.mul(e.at[loop], e.index(factor)));
    if (axis.shift)
      at = e.sub(at, axis.shift);
    row.pointer = d.after(row.pointer, d.mul(d.toWide(at), stride));
    if (axis.bound)
      row.at.push_back(d.toInt(at));
  }
  return row;
}

WindowReader::Place WindowReader::place(Value k) {
  llvm::SmallDenseMap<unsigned, Value> at;
  // A matrix of weights has such a depth, so that 32 bits are enough.
  Value rest = d.toInt(k);
  for (unsigned loop : llvm::reverse(depth)) {
    bool isLast = loop == depth.front();
    Value size = d.toInt(e.size(loop));
    at[loop] = isLast ? rest : d.rem(rest, size);
    if (!isLast)
      rest = d.div(rest, size);
  }
  Place place;
  for (auto [axis, stride] : llvm::zip_equal(window.axes, strides)) {
    Value own;
    for (auto [loop, factor] : axis.terms)
      if (auto found = at.find(loop); found != at.end()) {
        Value part = d.mul(found->second, factor);
        own = own ? d.add(own, part) : part;
      }
    if (axis.bound)
      place.at.push_back(own);
    if (!own)
      continue;
    Value bytes = d.mul(d.toWide(d.toIndex(own)), stride);
    place.offset = place.offset ? d.add(place.offset, bytes) : bytes;
  }
  if (!place.offset)
    place.offset = d.toWide(e.index(0));
  return place;
}

Value WindowReader::isInside(const Row &row, const Place &place) {
  Value all;
  const Value *at = row.at.begin(), *more = place.at.begin();
  for (Value bound : bounds) {
    if (!bound)
      continue;
    Value index = *at++;
    if (Value added = *more++)
      index = d.add(index, added);
    Value isInside = d.isLess(index, bound);
    all = all ? d.make<arith::AndIOp>(all, isInside) : isInside;
  }
  return all;
}
