//===- EmitStagedRecurrence.cpp - Selective scans by warps with roles ----- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A block of threads has some channels. Time goes by tiles: while warps of one role step through
// a tile with the carries in registers, those of the other compute what the next tile's steps
// take and what comes after the sums of the tile before. They meet at one barrier for each tile.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/StagedEmitter.h"

#include "passes/GPU/DeviceModule.h"

#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

LaunchShape StagedEmitter::launch() {
  DeviceBuilder host{k.host};
  SmallVector<OpFoldResult> sizes = k.hostKernel.getLoopSizes(k.host);
  auto size = [&](unsigned loop) {
    return getValueOrCreateConstantIndexOp(k.host, k.host.getLoc(), sizes[loop]);
  };
  Value blocks = host.ceilDiv(size(r.channel), tile.allChannels());
  for (unsigned loop : r.outer)
    blocks = host.mul(blocks, size(loop));
  Value one = arith::ConstantIndexOp::create(k.host, 1);
  constexpr int64_t threads = kScanThreads + kElementThreads;
  Value all = arith::ConstantIndexOp::create(k.host, threads);
  // As many blocks as run at once share all tiles; each has a flag.
  blocks = host.min(blocks, arith::ConstantIndexOp::create(k.host, kFlagWords).getResult());
  auto function = k.hostKernel->getParentOfType<func::FuncOp>();
  auto pointer = LLVM::LLVMPointerType::get(b.getContext());
  Value fault = FaultOp::create(k.host, pointer, function.getArgument(0), function.getArgument(1));
  unsigned index = k.function.getNumArguments();
  (void)k.function.insertArgument(index, pointer, {}, k.function.getLoc());
  flags = k.function.getArgument(index);
  return {{blocks, one, one}, all, threads, memory.bytes, kPersistent, {fault}};
}

Value StagedEmitter::viewMemory(int64_t offset, ArrayRef<int64_t> shape, Type type) {
  auto space = IntegerAttr::get(b.getI64Type(), 3);
  auto memref = MemRefType::get(shape, type, MemRefLayoutAttrInterface(), space);
  return ArenaViewOp::create(b, memref, k.addDynamicShared(), e.index(offset), ValueRange());
}

LaunchShape StagedEmitter::emit() {
  LaunchShape shape = launch();
  k.function->setAttr("nvvm.minctasm", b.getI32IntegerAttr(static_cast<int32_t>(tile.blocks)));
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  Type f32 = b.getF32Type();
  auto count = [](auto &list) { return std::max<int64_t>(list.size(), 1); };
  int64_t apart = memory.planeValues == 1 ? count(r.planes) : 1;
  planes = viewMemory(memory.planes,
                      {2, apart, tile.steps, memory.planeChunks, memory.planeChunk}, f32);
  strips = viewMemory(memory.strips, {2, tile.steps, tile.lanes + 1, memory.stripWidth},
                      r.stripType);
  parts = viewMemory(memory.parts, {2, count(r.sums), tile.steps, memory.partsPitch}, f32);
  steps = e.size(r.time);
  channels = e.size(r.channel);
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    shareBetweenThreads(k.function, kernel.getOuts()[i]);
  runBlock();
  return shape;
}

/// A block has some tiles of time that follow each other, of all groups of channels. Where
/// there are more groups than blocks, a group may begin in one block and end in the next: the
/// carries then go through the buffer that is to hold the last ones. A block's last group comes
/// first, so that none waits for what has not begun; blocks begin in their order.
void StagedEmitter::runBlock() {
  Value zero = e.index(0), one = e.index(1);
  Value block = gpu::BlockIdOp::create(b, gpu::Dimension::x);
  Value blocks = gpu::GridDimOp::create(b, gpu::Dimension::x);
  Value tiles = d.ceilDiv(steps, tile.steps), groups = d.ceilDiv(channels, tile.allChannels());
  for (unsigned loop : r.outer)
    groups = e.mul(groups, e.size(loop));
  Value all = e.mul(groups, tiles);
  Value share = d.div(e.sub(e.add(all, blocks), one), blocks);
  share = d.select(d.compare(DeviceBuilder::Predicate::ule, groups, blocks), tiles, share);
  Value begin = e.min(e.mul(block, share), all), end = e.min(e.add(begin, share), all);
  Value first = d.div(begin, tiles), last = d.div(e.sub(e.add(end, tiles), one), tiles);
  Value isFirstThread = d.isEqual(thread, 0);
  d.loop(zero, e.sub(last, first), one, {}, [&](Value number, ValueRange) {
    PointEmitter::Scope scope(e);
    Value group = e.sub(e.sub(last, one), number);
    Value base = e.mul(group, tiles);
    firstTile = e.sub(b.createOrFold<arith::MaxUIOp>(begin, base), base);
    Value endTile = e.sub(e.min(end, e.add(base, tiles)), base);
    numTiles = e.sub(endTile, firstTile);
    isContinued = d.compare(DeviceBuilder::Predicate::ne, firstTile, zero);
    // The scan is one tile behind what it takes, and one before what takes its sums.
    rounds = e.add(numTiles, 2);
    setGroup(group);
    ownFlag = flagOf(block);
    d.branch(
        d.isLess(thread, kScanThreads), [&] { scan(); }, [&] { elements(); });
    // Carries are in memory, and all have seen the flag.
    gpu::BarrierOp::create(b);
    auto set = [&](Value flag, int64_t value) {
      LLVM::StoreOp::create(b, d.constant(value), flag, /*alignment=*/4, /*isVolatile=*/false,
                            /*isNonTemporal=*/false, /*isInvariantGroup=*/false,
                            LLVM::AtomicOrdering::release, "device");
    };
    Value isUnfinished = d.isLess(endTile, tiles);
    d.branch(d.make<arith::AndIOp>(isFirstThread, isUnfinished),
             [&] { set(flagOf(e.add(block, 1)), 1); });
    d.branch(d.make<arith::AndIOp>(isFirstThread, isContinued), [&] { set(ownFlag, 0); });
    return Values();
  });
}

Value StagedEmitter::flagOf(Value block) {
  return d.after(d.after(flags, kFaultWords * 8), d.toWide(e.mul(block, e.index(4))));
}

/// Until the block before has left the carries.
void StagedEmitter::waitForCarries() {
  auto wait = scf::WhileOp::create(b, TypeRange(), ValueRange());
  OpBuilder::InsertionGuard guard(b);
  b.createBlock(&wait.getBefore());
  Value seen = LLVM::LoadOp::create(b, b.getI32Type(), ownFlag, /*alignment=*/4,
                                    /*isVolatile=*/false, /*isNonTemporal=*/false,
                                    /*isInvariant=*/false, /*isInvariantGroup=*/false,
                                    LLVM::AtomicOrdering::acquire, "device");
  scf::ConditionOp::create(b, d.isEqual(seen, 0), ValueRange());
  b.createBlock(&wait.getAfter());
  scf::YieldOp::create(b);
}

/// The channels of one block.
void StagedEmitter::setGroup(Value group) {
  Value perOuter = d.ceilDiv(channels, tile.allChannels());
  Value rest = r.outer.empty() ? Value() : d.div(group, perOuter);
  firstChannel = e.mul(rest ? d.rem(group, perOuter) : group, e.index(tile.allChannels()));
  for (auto [i, loop] : llvm::enumerate(llvm::reverse(r.outer))) {
    bool isLast = i + 1 == r.outer.size();
    e.at[loop] = isLast ? rest : d.rem(rest, e.size(loop));
    if (!isLast)
      rest = d.div(rest, e.size(loop));
  }
}

StagedEmitter::Known StagedEmitter::fixedHere() {
  PointEmitter::Scope scope(e);
  LoopSet available = 0;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    if (loop != r.time && e.at[loop])
      available |= loopBit(loop);
  e.hoist(available);
  Known known;
  e.forEachKnown([&](Value value, Value emitted) { known[value] = emitted; });
  return known;
}

void StagedEmitter::give(const Known &known) {
  for (auto [value, emitted] : known)
    e.provide(value, emitted);
}

SmallVector<Value> StagedEmitter::unpack(Value vector) {
  auto type = cast<VectorType>(vector.getType());
  Type element = type.getElementType(), f32 = b.getF32Type();
  int64_t count = type.getNumElements();
  Values result;
  if (element.isBF16() && count % 2 == 0) {
    // An instruction each; extf of the odd ones takes two.
    auto words = VectorType::get({count / 2}, b.getI32Type());
    Value pairs = vector::BitCastOp::create(b, words, vector);
    Value half = d.constant(16), high = d.constant(-65536);
    for (int64_t i = 0; i < count; ++i) {
      Value word = vector::ExtractOp::create(b, pairs, i / 2);
      word = i % 2 == 0 ? arith::ShLIOp::create(b, word, half).getResult()
                        : arith::AndIOp::create(b, word, high).getResult();
      result.push_back(arith::BitcastOp::create(b, f32, word));
    }
    return result;
  }
  for (int64_t i = 0; i < count; ++i) {
    Value value = vector::ExtractOp::create(b, vector, i);
    result.push_back(element.isF32() ? value : arith::ExtFOp::create(b, f32, value).getResult());
  }
  return result;
}

LaunchShape ssm::emitStagedRecurrence(DeviceKernel &kernel, const StagedRecurrence &what,
                                      StagedTile tile) {
  return StagedEmitter(kernel, what, tile).emit();
}
