//===- ReplayBlock.cpp - Whether threads of a block race ------------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/ReplayBlock.h"

#include "passes/GPU/TraceBlock.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"
#include <deque>
#include <map>

using namespace mlir;
using namespace ssm;

namespace {

/// Bytes that are followed together.
constexpr int64_t kCell = 2;

constexpr llvm::StringLiteral
    kMayHaveWritten = "reads shared memory that another thread may have written, and no barrier is "
                      "between",
    kMayHaveToWrite = "writes shared memory that another thread may have written, and no barrier "
                      "is between",
    kMayHaveToRead = "writes shared memory that another thread may have to read yet, and no "
                     "barrier is between",
    kNothingWritten = "reads shared memory that nothing was written to yet";

using Time = uint32_t;
/// What a thread knows of: the latest time of each thread that it is ordered behind.
using Clock = std::vector<Time>;

struct Touch {
  int32_t thread = -1;
  Time time = 0;
  Operation *op = nullptr;
};

struct Cell {
  Touch writer, readers[2];
  /// Written by a cp.async that no one waited for; by a store that no proxy fence followed.
  bool isCopying = false, isUnfenced = false;
  /// Written by a bulk copy: the mbarrier and its phase.
  int32_t barrier = -1;
  int64_t phase = 0;
  /// Groups of threads whose products may read it yet, a bit each.
  uint32_t products = 0;
};

struct Mbarrier {
  Touch init;
  bool isFenced = false;
  int64_t count = 0, pending = 0, bytes = 0, phase = 0;
  /// Of those that arrived in this phase, and in the last.
  Clock arrived, passed;
  /// Of each thread, the phases that it saw end.
  std::vector<int64_t> seen;
};

struct Range {
  int64_t at, bytes;
  int32_t thread;
};

/// Of each thread, the latest of its accesses of a kind; and of all of them.
struct Latest {
  std::vector<Time> times;
  std::vector<Operation *> ops;
  Time latest = 0;

  void note(int64_t threads, int32_t thread, Time time, Operation *op) {
    times.resize(threads);
    ops.resize(threads);
    times[thread] = latest = time;
    ops[thread] = op;
  }
};

/// Bytes somewhere in which threads reach those that data tells. Of such accesses two stores are
/// taken to go to different places. The others lie where they are known to: it is enough for them
/// to touch these bytes.
struct Region {
  int64_t begin, end;
  Latest reads, writes, atomics, knownReads, knownWrites;
  /// How often its last writers, and its last readers of another block, had arrived at the
  /// cluster's barrier then, plus 1. The second ones reach parts of their own.
  int64_t written[2] = {0, 0}, readRemotely[2] = {0, 0};
  Operation *writer = nullptr, *reader = nullptr;
};

/// A group of threads on its way through its events.
struct Follower {
  std::vector<TraceEvent> events;
  size_t next = 0;
  int64_t first = 0;
  bool isAtBarrier = false;
  std::vector<Range> copies, products;
  std::deque<std::vector<Range>> copyGroups, productGroups;
  /// The last product of each of the groups, of those done, and at all; and whether a fence is in
  /// front of the next one.
  std::deque<int64_t> lastProducts;
  int64_t doneProduct = 0, lastProduct = 0;
  bool isFenced = false;
};

/// A round of the cluster's barrier: what those know who arrived, of this block, which does as all
/// others do.
struct Round {
  Clock arrived;
  int64_t count = 0;
  Time first = 0;
};

class Replay {
public:
  Replay(gpu::GPUFuncOp function, int64_t threads, int64_t sharedBytes)
      : function(function), threads(threads), sharedBytes(sharedBytes),
        cells(llvm::divideCeil(sharedBytes, kCell)), clocks(threads, Clock(threads, 0)),
        floors(threads), arrivals(threads), waits(threads) {}

  LogicalResult run(llvm::function_ref<int64_t(Value)> boxBytes);

private:
  void error(Operation *op, const llvm::Twine &message, Operation *other = nullptr,
             StringRef note = "the other access");
  /// Whether it got on.
  bool step(Follower &follower);
  bool meet(Follower &follower, const TraceEvent &event);
  void forCells(Operation *op, int64_t at, int64_t bytes, llvm::function_ref<void(Cell &)> visit);
  bool isOrdered(const Touch &earlier, int32_t thread) const {
    return earlier.thread < 0 || earlier.thread == thread ||
           clocks[thread][earlier.thread] >= earlier.time;
  }
  bool isSeen(const Cell &cell, int32_t thread) {
    return cell.barrier < 0 || mbarriers[cell.barrier].seen[thread] > cell.phase;
  }
  bool isBehind(const Latest &earlier, int32_t thread, Operation *&other) const;
  void findRegions();
  void touchRegion(const TraceEvent &event, int32_t thread);
  void touchRegions(const TraceEvent &event, int64_t at, int32_t thread, bool isWrite);
  /// At a place that data tells.
  bool mayBeWritten(int64_t at, int64_t bytes) const {
    return llvm::any_of(regions, [&](const Region &region) {
      return region.begin < at + bytes && at < region.end &&
             (region.writes.latest || region.atomics.latest);
    });
  }
  void noteWrite(Region &region, const TraceEvent &event, int32_t thread);
  void readRemote(const TraceEvent &event, int32_t thread);
  void arriveCluster(const TraceEvent &event, int32_t thread);
  bool waitCluster(const Follower &follower, const TraceEvent &event);
  void checkWaited(const TraceEvent &event, int32_t thread);
  void checkEnd();
  void read(const TraceEvent &event, int32_t thread);
  void write(const TraceEvent &event, int32_t thread, bool isCopy, int32_t barrier = -1);
  void multiply(Follower &follower, const TraceEvent &event);
  void endProducts(Follower &follower, size_t left);
  void endCopies(Follower &follower, size_t left);
  Mbarrier *find(const TraceEvent &event, const Known &at, int32_t thread);
  void endPhase(Mbarrier &barrier);
  static void join(Clock &clock, const Clock &other) {
    for (size_t i = 0; i < clock.size(); ++i)
      clock[i] = std::max(clock[i], other[i]);
  }

  gpu::GPUFuncOp function;
  int64_t threads, sharedBytes;
  std::vector<Cell> cells;
  std::vector<Clock> clocks;
  std::vector<Follower> followers;
  /// Of each thread, a time that it knows all threads up to.
  std::vector<Time> floors;
  std::vector<Region> regions;
  llvm::DenseMap<std::pair<int64_t, int64_t>, int32_t> regionOf;
  /// Of each thread, how often it arrived at the cluster's barrier, and waited there.
  std::vector<int64_t> arrivals, waits;
  std::vector<Round> rounds;
  /// Who waited for the kernels in front.
  Latest waited;
  std::vector<Mbarrier> mbarriers;
  std::map<int64_t, int32_t> mbarrierAt;
  /// By number: who waits there.
  std::map<int64_t, llvm::BitVector> barriers;
  Time now = 1;
  bool failed = false;
  llvm::DenseSet<Operation *> reported;
};

} // namespace

void Replay::error(Operation *op, const llvm::Twine &message, Operation *other, StringRef note) {
  if (!reported.insert(op).second)
    return;
  failed = true;
  InFlightDiagnostic diagnostic = op->emitOpError(message);
  if (other)
    diagnostic.attachNote(other->getLoc()) << note;
}

void Replay::forCells(Operation *op, int64_t at, int64_t bytes,
                      llvm::function_ref<void(Cell &)> visit) {
  if (at < 0 || at + bytes > sharedBytes) {
    error(op, "reaches byte " + llvm::Twine(at + bytes - 1) + " of dynamic shared memory, whose "
                  "size is " + llvm::Twine(sharedBytes));
    return;
  }
  for (int64_t cell = at / kCell; cell < int64_t(llvm::divideCeil(at + bytes, kCell)); ++cell)
    visit(cells[cell]);
}

void Replay::findRegions() {
  for (Follower &follower : followers)
    for (TraceEvent &event : follower.events) {
      // Threads that count, or read others' memory, at known places do it somewhere among these. One
      // region for all: as many as threads would take long.
      bool isKnown = !event.end;
      if (isKnown && event.kind != TraceEvent::atomic && event.kind != TraceEvent::readRemote)
        continue;
      int64_t begin = std::numeric_limits<int64_t>::max(), end = 0;
      for (unsigned thread : event.threads.set_bits()) {
        int64_t at = event.at.of(thread);
        begin = std::min(begin, at);
        end = std::max<int64_t>(end, isKnown ? at + event.bytes : event.end.of(thread));
      }
      event.at = Known(uint64_t(begin));
      event.end = Known(uint64_t(end));
      if (regionOf.try_emplace({begin, end}, regions.size()).second)
        regions.push_back({begin, end});
    }
}

/// Whether the thread is behind all of those of others.
bool Replay::isBehind(const Latest &earlier, int32_t thread, Operation *&other) const {
  if (earlier.latest <= floors[thread])
    return true;
  // Without a branch, for it is done often: a thread knows its own time.
  const Time *times = earlier.times.data(), *known = clocks[thread].data();
  Time later = 0;
  for (size_t i = 0, end = earlier.times.size(); i < end; ++i)
    later |= Time(times[i] > known[i]);
  if (!later)
    return true;
  for (size_t i = 0; !other; ++i)
    if (times[i] > known[i])
      other = earlier.ops[i];
  return false;
}

/// An access at a place that data tells.
void Replay::touchRegion(const TraceEvent &event, int32_t thread) {
  clocks[thread][thread] = now;
  int64_t begin = event.at.of(thread % kTraced), end = event.end.of(thread % kTraced);
  if (begin < 0 || end > sharedBytes)
    return error(event.op, "may reach byte " + llvm::Twine(end - 1) + " of dynamic shared memory, "
                           "whose size is " + llvm::Twine(sharedBytes));
  bool isRead = event.kind == TraceEvent::read, isAtomic = event.kind == TraceEvent::atomic;
  Operation *other = nullptr;
  auto check = [&](const Latest &earlier, StringRef message) {
    if (!isBehind(earlier, thread, other))
      error(event.op, message, other);
  };
  Region &own = regions[regionOf.at({begin, end})];
  for (Region &region : regions) {
    if (region.begin >= end || begin >= region.end)
      continue;
    if (!isRead)
      noteWrite(region, event, thread);
    if (isRead || isAtomic)
      check(region.writes, kMayHaveWritten);
    if (!isRead)
      check(region.reads, kMayHaveToRead);
    if (!isAtomic)
      check(region.atomics, isRead ? kMayHaveWritten : kMayHaveToWrite);
  }
  check(own.knownWrites, isRead ? kMayHaveWritten : kMayHaveToWrite);
  if (!isRead)
    check(own.knownReads, kMayHaveToRead);
  (isRead ? own.reads : isAtomic ? own.atomics : own.writes).note(threads, thread, now, event.op);
}

/// An access at a known place, against those whose place data tells.
void Replay::touchRegions(const TraceEvent &event, int64_t at, int32_t thread, bool isWrite) {
  if (!regions.empty())
    clocks[thread][thread] = now;
  for (Region &region : regions) {
    if (region.begin >= at + event.bytes || at >= region.end)
      continue;
    Operation *other = nullptr;
    for (Latest *earlier : {&region.writes, &region.atomics})
      if (!isBehind(*earlier, thread, other))
        error(event.op, isWrite ? kMayHaveToWrite : kMayHaveWritten, other);
    if (isWrite && !isBehind(region.reads, thread, other))
      error(event.op, kMayHaveToRead, other);
    if (isWrite)
      noteWrite(region, event, thread);
    (isWrite ? region.knownWrites : region.knownReads).note(threads, thread, now, event.op);
  }
}

void Replay::noteWrite(Region &region, const TraceEvent &event, int32_t thread) {
  if (waits[thread] < region.readRemotely[0] ||
      (!event.isOwnPart && waits[thread] < region.readRemotely[1]))
    error(event.op, "writes shared memory that another block may have to read yet, and no barrier "
                    "of the cluster is between", region.reader);
  int64_t &last = region.written[event.isOwnPart];
  last = std::max(last, arrivals[thread] + 1);
  region.writer = event.op;
}

/// All blocks of a cluster do the same: what this thread reads there another block's reads here.
void Replay::readRemote(const TraceEvent &event, int32_t thread) {
  Region &own = regions[regionOf.at({event.at.of(thread % kTraced), event.end.of(thread % kTraced)})];
  if (own.written[0] == 0)
    error(event.op, "reads shared memory of another block that nothing was written to yet");
  else if (waits[thread] < own.written[0] ||
           (!event.isOwnPart && waits[thread] < own.written[1]))
    error(event.op, "reads shared memory that another block may have to write yet, and no barrier "
                    "of the cluster is between", own.writer);
  for (Region &region : regions)
    if (region.begin < own.end && own.begin < region.end) {
      int64_t &last = region.readRemotely[event.isOwnPart];
      last = std::max(last, arrivals[thread] + 1);
      region.reader = event.op;
    }
}

void Replay::arriveCluster(const TraceEvent &event, int32_t thread) {
  if (arrivals[thread] != waits[thread])
    return error(event.op, "arrives at the cluster's barrier again, and did not wait there");
  if (arrivals[thread] == int64_t(rounds.size()))
    rounds.push_back({Clock(threads, 0), 0, now});
  Round &round = rounds[arrivals[thread]++];
  clocks[thread][thread] = now;
  join(round.arrived, clocks[thread]);
  ++round.count;
}

/// Whether all have come.
bool Replay::waitCluster(const Follower &follower, const TraceEvent &event) {
  for (unsigned i : event.threads.set_bits()) {
    int32_t thread = follower.first + i;
    if (arrivals[thread] == waits[thread]) {
      error(event.op, "waits at the cluster's barrier, and did not arrive there");
      return true;
    }
    if (rounds[waits[thread]].count < threads)
      return false;
  }
  for (unsigned i : event.threads.set_bits()) {
    int32_t thread = follower.first + i;
    const Round &round = rounds[waits[thread]++];
    join(clocks[thread], round.arrived);
    floors[thread] = std::max(floors[thread], round.first);
  }
  return true;
}

/// Or another thread, which this one is behind.
void Replay::checkWaited(const TraceEvent &event, int32_t thread) {
  if (!waited.times.empty() && waited.times[thread])
    return;
  for (size_t i = 0; i < waited.times.size(); ++i)
    if (waited.times[i] && clocks[thread][i] >= waited.times[i]) {
      waited.note(threads, thread, now, event.op);
      return;
    }
  error(event.op, "reaches memory that kernels in front may use yet, and no nvvm.griddepcontrol "
                  "wait is before");
}

void Replay::checkEnd() {
  int64_t most = 0;
  for (int32_t thread = 0; thread < threads; ++thread)
    most = std::max(most, waits[thread]);
  if (most < int64_t(rounds.size()))
    error(function, "ends, and threads that arrived at the cluster's barrier did not wait there");
  for (const Region &region : regions)
    if (most < std::max(region.readRemotely[0], region.readRemotely[1]))
      error(region.reader, "reads shared memory of another block, which may have ended: no barrier "
                           "of the cluster is behind");
  if (function->hasAttr(kConstants) && waited.times.empty())
    error(function, "may begin before the kernels in front are done, and has no "
                    "nvvm.griddepcontrol wait");
}

void Replay::read(const TraceEvent &event, int32_t thread) {
  if (event.end)
    return touchRegion(event, thread);
  int64_t at = event.at.of(thread % kTraced);
  touchRegions(event, at, thread, /*isWrite=*/false);
  forCells(event.op, at, event.bytes, [&](Cell &cell) {
    if (cell.isCopying || !isSeen(cell, thread))
      error(event.op, "reads shared memory that a copy may write yet", cell.writer.op, "the copy");
    else if (cell.barrier < 0 && !isOrdered(cell.writer, thread))
      error(event.op, kMayHaveWritten, cell.writer.op);
    else if (cell.writer.thread < 0 && !mayBeWritten(at, event.bytes))
      error(event.op, kNothingWritten);
    Touch touch{thread, now, event.op};
    bool isSecond = cell.readers[0].thread >= 0 && cell.readers[0].thread != thread;
    cell.readers[isSecond] = touch;
  });
}

void Replay::write(const TraceEvent &event, int32_t thread, bool isCopy, int32_t barrier) {
  if (event.end)
    return touchRegion(event, thread);
  int64_t phase = barrier < 0 ? 0 : mbarriers[barrier].phase;
  int64_t at = event.at.of(event.kind == TraceEvent::bulkCopy ? 0 : thread % kTraced);
  touchRegions(event, at, thread, /*isWrite=*/true);
  forCells(event.op, at, event.bytes, [&](Cell &cell) {
    if (cell.products)
      error(event.op, "writes shared memory that a product may have to read yet",
            cell.readers[0].op, "the product");
    else if (cell.isCopying ||
             (cell.barrier >= 0 && mbarriers[cell.barrier].phase <= cell.phase))
      error(event.op, "writes shared memory that a copy may write yet", cell.writer.op, "the copy");
    else if (cell.barrier < 0 && !isOrdered(cell.writer, thread))
      error(event.op, kMayHaveToWrite, cell.writer.op);
    else if (barrier >= 0 && cell.barrier >= 0 && cell.readers[0].thread < 0)
      error(event.op, "writes shared memory that was copied there and not read yet",
            cell.writer.op, "the copy");
    else if (barrier >= 0 && cell.isUnfenced)
      error(event.op, "writes shared memory past the threads, and no proxy fence follows a store",
            cell.writer.op, "the store");
    for (const Touch &reader : cell.readers)
      if (!isOrdered(reader, thread))
        error(event.op, kMayHaveToRead, reader.op);
    cell = Cell();
    cell.writer = {thread, now, event.op};
    cell.isCopying = isCopy && barrier < 0;
    cell.isUnfenced = !isCopy;
    cell.barrier = barrier;
    cell.phase = phase;
  });
}

void Replay::multiply(Follower &follower, const TraceEvent &event) {
  int32_t thread = follower.first + event.threads.find_first();
  uint32_t bit = 1u << (follower.first / kTraced);
  follower.products.push_back({int64_t(event.at.of(0)), event.bytes, thread});
  touchRegions(event, event.at.of(0), thread, /*isWrite=*/false);
  if (event.number != follower.lastProduct && follower.products.size() == 1 && !follower.isFenced)
    error(event.op, "begins products, and no nvvm.wgmma.fence is in front");
  follower.lastProduct = event.number;
  forCells(event.op, event.at.of(0), event.bytes, [&](Cell &cell) {
    if (cell.writer.thread < 0)
      error(event.op, kNothingWritten);
    else if (cell.isCopying || !isSeen(cell, thread))
      error(event.op, "reads shared memory that a copy may write yet", cell.writer.op, "the copy");
    else if (cell.barrier < 0 && !isOrdered(cell.writer, thread))
      error(event.op, kMayHaveWritten, cell.writer.op);
    else if (cell.isUnfenced)
      error(event.op, "reads shared memory past the threads, and no proxy fence follows a store",
            cell.writer.op, "the store");
    cell.products |= bit;
    bool isSecond = cell.readers[0].thread >= 0 && cell.readers[0].thread != thread;
    cell.readers[isSecond] = {thread, now, event.op};
  });
}

void Replay::endProducts(Follower &follower, size_t left) {
  uint32_t bit = 1u << (follower.first / kTraced);
  for (; follower.productGroups.size() > left; follower.productGroups.pop_front()) {
    follower.doneProduct = follower.lastProducts.front();
    follower.lastProducts.pop_front();
    for (const Range &range : follower.productGroups.front())
      for (int64_t cell = range.at / kCell; cell < (range.at + range.bytes) / kCell; ++cell)
        if (cell < int64_t(cells.size()))
          cells[cell].products &= ~bit;
  }
  // A later group may read the same.
  for (const auto &group : follower.productGroups)
    for (const Range &range : group)
      for (int64_t cell = range.at / kCell; cell < (range.at + range.bytes) / kCell; ++cell)
        if (cell < int64_t(cells.size()))
          cells[cell].products |= bit;
}

void Replay::endCopies(Follower &follower, size_t left) {
  for (; follower.copyGroups.size() > left; follower.copyGroups.pop_front())
    for (const Range &range : follower.copyGroups.front())
      for (int64_t cell = range.at / kCell; cell < (range.at + range.bytes) / kCell; ++cell)
        if (cell < int64_t(cells.size())) {
          cells[cell].isCopying = false;
          cells[cell].writer.time = now;
        }
}

Mbarrier *Replay::find(const TraceEvent &event, const Known &at, int32_t thread) {
  if (!at)
    return nullptr;
  auto found = mbarrierAt.find(at.of(thread % kTraced));
  if (found == mbarrierAt.end()) {
    error(event.op, "uses a mbarrier that was not made");
    return nullptr;
  }
  Mbarrier &barrier = mbarriers[found->second];
  if (!isOrdered(barrier.init, thread))
    error(event.op, "uses a mbarrier that another thread makes, and no barrier is between",
          barrier.init.op, "where it is made");
  else if (!barrier.isFenced)
    error(event.op, "uses a mbarrier, and no nvvm.fence.mbarrier.init follows where it is made",
          barrier.init.op, "where it is made");
  return &barrier;
}

void Replay::endPhase(Mbarrier &barrier) {
  if (barrier.pending != 0 || barrier.bytes != 0)
    return;
  ++barrier.phase;
  barrier.pending = barrier.count;
  barrier.passed = barrier.arrived;
}

/// A barrier of threads: whether all have come.
bool Replay::meet(Follower &follower, const TraceEvent &event) {
  llvm::BitVector &waiting = barriers[event.number];
  waiting.resize(threads);
  for (unsigned thread : event.threads.set_bits())
    waiting.set(follower.first + thread);
  follower.isAtBarrier = true;
  if (int64_t(waiting.count()) < (event.bytes ? event.bytes : threads))
    return false;
  Clock all(threads, 0);
  for (unsigned thread : waiting.set_bits()) {
    clocks[thread][thread] = now;
    join(all, clocks[thread]);
  }
  for (unsigned thread : waiting.set_bits())
    clocks[thread] = all;
  if (waiting.all())
    floors.assign(threads, now);
  for (Follower &other : followers)
    if (other.isAtBarrier && other.events[other.next].number == event.number) {
      other.isAtBarrier = false;
      ++other.next;
    }
  waiting.reset();
  return true;
}

bool Replay::step(Follower &follower) {
  if (follower.next == follower.events.size() || follower.isAtBarrier)
    return false;
  const TraceEvent &event = follower.events[follower.next];
  ++now;
  auto each = [&](llvm::function_ref<void(int32_t)> visit) {
    for (unsigned thread : event.threads.set_bits())
      visit(follower.first + thread);
  };
  int32_t one = follower.first + std::max(event.threads.find_first(), 0);
  switch (event.kind) {
  case TraceEvent::read:
    each([&](int32_t thread) { read(event, thread); });
    break;
  case TraceEvent::write:
    each([&](int32_t thread) { write(event, thread, /*isCopy=*/false); });
    break;
  case TraceEvent::atomic:
    each([&](int32_t thread) { touchRegion(event, thread); });
    break;
  case TraceEvent::strayed:
    error(event.op, "reaches shared memory at a place of which nothing is known");
    break;
  case TraceEvent::copy:
    if (event.end) {
      error(event.op, "copies to shared memory at a place of which nothing is known");
      break;
    }
    each([&](int32_t thread) {
      write(event, thread, /*isCopy=*/true);
      follower.copies.push_back({int64_t(event.at.of(thread % kTraced)), event.bytes, thread});
    });
    break;
  case TraceEvent::commitCopies:
    follower.copyGroups.push_back(std::move(follower.copies));
    follower.copies.clear();
    break;
  case TraceEvent::waitCopies:
    endCopies(follower, event.number);
    break;
  case TraceEvent::barrier:
    return meet(follower, event);
  case TraceEvent::init:
    if (event.at)
      each([&](int32_t thread) {
        mbarrierAt[event.at.of(thread % kTraced)] = mbarriers.size();
        Mbarrier &made = mbarriers.emplace_back();
        made.init = {thread, now, event.op};
        made.count = made.pending = event.number;
        made.arrived = made.passed = Clock(threads, 0);
        made.seen.resize(threads);
      });
    break;
  case TraceEvent::fenceInit:
    for (Mbarrier &barrier : mbarriers)
      barrier.isFenced |= event.threads.test(barrier.init.thread - follower.first);
    break;
  case TraceEvent::expect:
  case TraceEvent::arrive: {
    Mbarrier *last = nullptr;
    int64_t phase = 0;
    each([&](int32_t thread) {
      Mbarrier *barrier = find(event, event.at, thread);
      if (!barrier)
        return;
      if (barrier == last && barrier->phase != phase)
        error(event.op, "arrives at a mbarrier more often than it counts (" +
                            llvm::Twine(barrier->count) + ")",
              barrier->init.op, "where it is made");
      last = barrier;
      phase = barrier->phase;
      barrier->bytes += event.number;
      --barrier->pending;
      clocks[thread][thread] = now;
      join(barrier->arrived, clocks[thread]);
      endPhase(*barrier);
    });
    break;
  }
  case TraceEvent::wait: {
    Mbarrier *barrier = find(event, event.at, one);
    if (!barrier)
      break;
    // The phase of this parity is not over.
    if ((barrier->phase & 1) == event.number)
      return false;
    each([&](int32_t thread) {
      join(clocks[thread], barrier->passed);
      barrier->seen[thread] = barrier->phase;
    });
    break;
  }
  case TraceEvent::bulkCopy: {
    Mbarrier *barrier = find(event, event.to, one);
    if (!barrier || !event.at)
      break;
    each([&](int32_t thread) {
      write(event, thread, /*isCopy=*/true, barrier - mbarriers.data());
      barrier->bytes -= event.bytes;
      endPhase(*barrier);
    });
    break;
  }
  case TraceEvent::multiply:
    multiply(follower, event);
    break;
  case TraceEvent::commitProducts:
    follower.productGroups.push_back(std::move(follower.products));
    follower.products.clear();
    follower.lastProducts.push_back(follower.lastProduct);
    follower.isFenced = false;
    break;
  case TraceEvent::fenceProducts:
    follower.isFenced = true;
    break;
  case TraceEvent::useProduct:
    if (event.number > follower.doneProduct)
      error(event.op, "reads sums of products that may not be done: no nvvm.wgmma.wait_group is "
                      "between");
    break;
  case TraceEvent::readRemote:
    each([&](int32_t thread) { readRemote(event, thread); });
    break;
  case TraceEvent::arriveCluster:
    each([&](int32_t thread) { arriveCluster(event, thread); });
    break;
  case TraceEvent::waitCluster:
    if (!waitCluster(follower, event))
      return false;
    break;
  case TraceEvent::waitOthers:
    each([&](int32_t thread) {
      clocks[thread][thread] = now;
      waited.note(threads, thread, now, event.op);
    });
    break;
  case TraceEvent::global:
    each([&](int32_t thread) { checkWaited(event, thread); });
    break;
  case TraceEvent::waitProducts:
    endProducts(follower, event.number);
    break;
  case TraceEvent::fenceProxy:
    for (Cell &cell : cells)
      if (cell.writer.thread >= follower.first && cell.writer.thread < follower.first + kTraced &&
          event.threads.test(cell.writer.thread - follower.first))
        cell.isUnfenced = false;
    break;
  }
  ++follower.next;
  return true;
}

LogicalResult Replay::run(llvm::function_ref<int64_t(Value)> boxBytes) {
  bool usesPointers = false;
  for (int64_t first = 0; first < threads; first += kTraced) {
    Follower &follower = followers.emplace_back();
    follower.first = first;
    follower.events =
        traceThreads(function, first, std::min(kTraced, threads - first), boxBytes);
    usesPointers |= llvm::any_of(follower.events, [](const TraceEvent &event) {
      return event.kind != TraceEvent::barrier && event.kind != TraceEvent::fenceProxy &&
             event.kind != TraceEvent::waitOthers && event.kind != TraceEvent::global;
    });
  }
  if (!usesPointers && !function->hasAttr(kConstants))
    return success();
  // Of others nothing but what begins early is looked at here.
  if (!usesPointers)
    for (Follower &follower : followers)
      llvm::erase_if(follower.events, [](const TraceEvent &event) {
        return event.kind == TraceEvent::barrier || event.kind == TraceEvent::fenceProxy;
      });
  findRegions();
  for (bool isMoving = true; isMoving && !failed;) {
    isMoving = false;
    for (Follower &follower : followers)
      while (!failed && step(follower))
        isMoving = true;
  }
  if (failed)
    return failure();
  for (Follower &follower : followers)
    if (follower.next < follower.events.size()) {
      const TraceEvent &event = follower.events[follower.next];
      error(event.op, event.kind == TraceEvent::barrier
                          ? "waits at a barrier that other threads never reach"
                      : event.kind == TraceEvent::waitCluster
                          ? "waits at the cluster's barrier, which other threads never reach"
                          : "waits for a mbarrier whose arrivals or bytes never are complete");
      return failure();
    }
  checkEnd();
  return failure(failed);
}

LogicalResult ssm::replayBlock(gpu::GPUFuncOp function, int64_t threads, int64_t sharedBytes,
                               llvm::function_ref<int64_t(Value)> boxBytes) {
  return Replay(function, threads, sharedBytes).run(boxBytes);
}
