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

/// A group of threads on its way through its events.
struct Follower {
  std::vector<TraceEvent> events;
  size_t next = 0;
  int64_t first = 0;
  bool isAtBarrier = false;
  std::vector<Range> copies, products;
  std::deque<std::vector<Range>> copyGroups, productGroups;
};

class Replay {
public:
  Replay(gpu::GPUFuncOp function, int64_t threads, int64_t sharedBytes)
      : function(function), threads(threads), sharedBytes(sharedBytes),
        cells(llvm::divideCeil(sharedBytes, kCell)), clocks(threads, Clock(threads, 0)) {}

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

void Replay::read(const TraceEvent &event, int32_t thread) {
  forCells(event.op, event.at.of(thread % kTraced), event.bytes, [&](Cell &cell) {
    if (cell.isCopying || !isSeen(cell, thread))
      error(event.op, "reads shared memory that a copy may write yet", cell.writer.op, "the copy");
    else if (cell.barrier < 0 && !isOrdered(cell.writer, thread))
      error(event.op, "reads shared memory that another thread may have written, and no barrier "
                      "is between", cell.writer.op);
    Touch touch{thread, now, event.op};
    bool isSecond = cell.readers[0].thread >= 0 && cell.readers[0].thread != thread;
    cell.readers[isSecond] = touch;
  });
}

void Replay::write(const TraceEvent &event, int32_t thread, bool isCopy, int32_t barrier) {
  int64_t phase = barrier < 0 ? 0 : mbarriers[barrier].phase;
  int64_t at = event.at.of(event.kind == TraceEvent::bulkCopy ? 0 : thread % kTraced);
  forCells(event.op, at, event.bytes, [&](Cell &cell) {
    if (cell.products)
      error(event.op, "writes shared memory that a product may have to read yet",
            cell.readers[0].op, "the product");
    else if (cell.isCopying ||
             (cell.barrier >= 0 && mbarriers[cell.barrier].phase <= cell.phase))
      error(event.op, "writes shared memory that a copy may write yet", cell.writer.op, "the copy");
    else if (cell.barrier < 0 && !isOrdered(cell.writer, thread))
      error(event.op, "writes shared memory that another thread may have written, and no barrier "
                      "is between", cell.writer.op);
    else if (barrier >= 0 && cell.barrier >= 0 && cell.readers[0].thread < 0)
      error(event.op, "writes shared memory that was copied there and not read yet",
            cell.writer.op, "the copy");
    else if (barrier >= 0 && cell.isUnfenced)
      error(event.op, "writes shared memory past the threads, and no proxy fence follows a store",
            cell.writer.op, "the store");
    for (const Touch &reader : cell.readers)
      if (!isOrdered(reader, thread))
        error(event.op, "writes shared memory that another thread may have to read yet, and no "
                        "barrier is between", reader.op);
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
  forCells(event.op, event.at.of(0), event.bytes, [&](Cell &cell) {
    if (cell.writer.thread < 0)
      error(event.op, "reads shared memory that nothing was written to yet");
    else if (cell.isCopying || !isSeen(cell, thread))
      error(event.op, "reads shared memory that a copy may write yet", cell.writer.op, "the copy");
    else if (cell.barrier < 0 && !isOrdered(cell.writer, thread))
      error(event.op, "reads shared memory that another thread may have written, and no barrier "
                      "is between", cell.writer.op);
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
  for (; follower.productGroups.size() > left; follower.productGroups.pop_front())
    for (const Range &range : follower.productGroups.front())
      for (int64_t cell = range.at / kCell; cell < (range.at + range.bytes) / kCell; ++cell)
        if (cell < int64_t(cells.size()))
          cells[cell].products &= ~bit;
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
  case TraceEvent::copy:
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
      return event.kind != TraceEvent::barrier && event.kind != TraceEvent::fenceProxy;
    });
  }
  if (!usesPointers)
    return success();
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
                          : "waits for a mbarrier whose arrivals or bytes never are complete");
      break;
    }
  return failure(failed);
}

LogicalResult ssm::replayBlock(gpu::GPUFuncOp function, int64_t threads, int64_t sharedBytes,
                               llvm::function_ref<int64_t(Value)> boxBytes) {
  return Replay(function, threads, sharedBytes).run(boxBytes);
}
