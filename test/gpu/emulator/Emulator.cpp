//===- Emulator.cpp - Kernels of a GPU on the host ------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emulator.h"

#include "SharedBarrier.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <tuple>
#include <vector>

#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace ssm_emulator;

//===----------------------------------------------------------------------===//
// Images
//===----------------------------------------------------------------------===//

std::unique_ptr<Image> Image::load(const void *image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image, 4);
  if (std::memcmp(&header, ELFMAG, SELFMAG) != 0)
    return nullptr;
  std::memcpy(&header, image, sizeof(header));
  if (header.e_machine != EM_X86_64)
    return nullptr;
  // The linker puts the table of sections last.
  size_t bytes = header.e_shoff + size_t(header.e_shnum) * header.e_shentsize;
  auto loaded = std::make_unique<Image>();
  loaded->file = memfd_create("kernels", MFD_CLOEXEC);
  std::string path = "/proc/self/fd/" + std::to_string(loaded->file);
  if (loaded->file < 0 || write(loaded->file, image, bytes) != ssize_t(bytes))
    return nullptr;
  loaded->library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!loaded->library) {
    std::fprintf(stderr, "emulated GPU: %s\n", dlerror());
    return nullptr;
  }
  loaded->kernels =
      static_cast<const Kernel *>(dlsym(loaded->library, "ssmEmulatedKernels"));
  return loaded->kernels ? std::move(loaded) : nullptr;
}

Image::~Image() {
  if (library)
    dlclose(library);
  // Not earlier: the loader knows libraries by their paths.
  if (file >= 0)
    close(file);
}

const Kernel *Image::find(const char *name) const {
  for (const Kernel *kernel = kernels; kernel->name; ++kernel)
    if (!std::strcmp(kernel->name, name))
      return kernel;
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Fibres
//===----------------------------------------------------------------------===//

/// Keeps the registers that a call keeps on this stack, and goes on with another.
extern "C" void ssmEmulatorSwitch(void **from, void *to);
asm(R"(
  .text
  .type ssmEmulatorSwitch, @function
ssmEmulatorSwitch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size ssmEmulatorSwitch, . - ssmEmulatorSwitch
)");

namespace {
constexpr size_t kStackBytes = 64 << 10;
constexpr u32 kBarriers = 16;

enum class State { ready, spinning, waiting, done };

struct Block;
class Grid;

struct Fiber final : Thread {
  struct Copy {
    u8 *to;
    const u8 *from;
    u32 bytes, given, group;
  };
  Grid *grid = nullptr;
  Block *owner = nullptr;
  u8 *stack = nullptr;
  size_t stackBytes = 0;
  void *top = nullptr;
  State state = State::done;
  u32 waitsAt = 0; // a line
  std::deque<Copy> copies;
  u32 copyGroup = 0;
  u64 clusterPhase = 0; // of its next wait

  void fail(u32 line, const char *what, u64 number = 0) override;
  void barrier(u32 line, u32 id, u32 count) override;
  void meet(u32 line, u32 mask, void *mine, Together together) override;
  void meetGroup(u32 line, void *mine, Together together) override;
  void spin() override { leave(State::spinning); }
  void arriveAtCluster() override;
  void waitForCluster() override;
  u8 *sharedOf(u32 line, u32 rank) override;
  u8 *global(u32 line, u64 address, u32 bytes, Range &range) override;
  bool isLocal(u64 address, u32 bytes) const override {
    return address >= u64(stack) && address + bytes <= u64(stack) + stackBytes;
  }
  void copyLater(u8 *to, const u8 *from, u32 bytes, u32 given) override {
    copies.push_back({to, from, bytes, given, copyGroup});
  }
  void commitCopies() override { ++copyGroup; }
  void waitCopies(u32 groupsLeft) override;
  void moveLater(const Move &move) override;

  void prepare(size_t bytes);
  void leave(State as);
};

/// Lanes that are on their way to do something together.
struct Meeting {
  u64 mask = 0, arrived = 0;
  u32 line = 0;
  Together together = nullptr;
  void *lanes[128];
};

struct BlockBarrier {
  u32 arrived = 0, count = 0;
  std::vector<Fiber *> waiting;
};

struct Block {
  std::deque<Fiber> fibers; // only grows
  std::vector<u8> sharedMemory;
  std::deque<Fiber *> queue;
  std::vector<std::vector<Meeting>> meetings; // of each warp
  std::vector<Meeting> groupMeetings;         // of each warpgroup
  BlockBarrier barriers[kBarriers];
  std::deque<Move> moves;
  u32 live = 0;
  bool isOpen = false;
};

/// Threads that came to the barrier of a cluster, and how often all have.
struct ClusterBarrier {
  u64 arrived = 0, phase = 0;
};

/// A launch.
class Grid {
public:
  explicit Grid(const Launch &launch);
  std::string run();

  const Launch &launch;
  void *main = nullptr; // the stack of who runs the fibres
  Fiber *running = nullptr;
  std::string error;
  u64 progress = 0; // counts all but spinning
  std::map<std::pair<u32, u32>, ClusterBarrier> clusters; // by axes 0 and 2

  void wake(Block &block, std::vector<Fiber *> &fibers);
  void say(const Fiber &fiber, u32 line, const std::string &what);
  void doMove(const Block &block, const Move &move);

private:
  void open(Block &block, u64 index);
  /// Until all threads are done, or wait for other blocks.
  void runBlock(Block &block);
  void sayWhoWaits(const Block &block);
};

/// Blocks are used again and again.
std::deque<Block> pool;
Grid *current = nullptr;
std::mt19937 &randomNumbers() {
  static std::mt19937 numbers([] {
    const char *seed = std::getenv("SSM_TEST_SEED");
    return seed ? u32(std::strtoul(seed, nullptr, 10)) : std::random_device()();
  }());
  return numbers;
}
u64 launches = 0;
} // namespace

static void enter() {
  Fiber &fiber = *current->running;
  fiber.grid->launch.kernel->run(fiber, fiber.grid->launch.params);
  fiber.waitCopies(0);
  fiber.leave(State::done);
}

void Fiber::prepare(size_t bytes) {
  if (stackBytes < bytes) {
    if (stack)
      munmap(stack, stackBytes);
    void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
      std::abort();
    // What overruns the stack dies there.
    mprotect(memory, 4096, PROT_NONE);
    stack = static_cast<u8 *>(memory);
    stackBytes = bytes;
  }
  // Six registers and where to go; as if that had been called.
  auto **words = reinterpret_cast<void **>(stack + stackBytes) - 8;
  std::memset(words, 0, 8 * sizeof(void *));
  words[6] = reinterpret_cast<void *>(enter);
  top = words;
  state = State::ready;
  copies.clear();
  copyGroup = 0;
  clusterPhase = 0;
}

void Fiber::leave(State as) {
  state = as;
  ssmEmulatorSwitch(&top, grid->main);
}

void Fiber::fail(u32 line, const char *what, u64 number) {
  std::string text = what;
  if (number)
    text += " " + std::to_string(number);
  grid->say(*this, line, text);
  leave(State::waiting);
  std::abort(); // nobody runs it again
}

u8 *Fiber::global(u32 line, u64 address, u32 bytes, Range &range) {
  const Kernel &kernel = *grid->launch.kernel;
  auto [begin, size] = grid->launch.allocationOf(address);
  if (u64 constants = u64(kernel.constants) | deviceBit; address - constants < kernel.constantBytes)
    std::tie(begin, size) = std::pair(constants, kernel.constantBytes);
  if (!size || address + bytes > begin + size)
    fail(line, "outside of the device's memory, address", address);
  range = {begin, size, launch};
  return hostOf(address);
}

void Fiber::waitCopies(u32 groupsLeft) {
  while (!copies.empty() && copyGroup - copies.front().group > groupsLeft) {
    const Copy &copy = copies.front();
    if (copy.given)
      std::memcpy(copy.to, copy.from, copy.given);
    std::memset(copy.to + copy.given, 0, copy.bytes - copy.given);
    copies.pop_front();
  }
}

void Fiber::arriveAtCluster() {
  ClusterBarrier &at = grid->clusters[{block[0], block[2]}];
  ++grid->progress;
  if (++at.arrived < u64(threads) * (grid->launch.hasClusters ? blocks[1] : 1))
    return;
  at.arrived = 0;
  ++at.phase;
}

void Fiber::waitForCluster() {
  while (grid->clusters[{block[0], block[2]}].phase <= clusterPhase)
    spin();
  ++clusterPhase;
}

u8 *Fiber::sharedOf(u32 line, u32 rank) {
  if (rank >= (grid->launch.hasClusters ? blocks[1] : 1))
    fail(line, "the cluster has no block", rank);
  if (!grid->launch.hasClusters || rank == block[1])
    return shared;
  for (Block &other : pool) {
    if (!other.isOpen)
      continue;
    const Fiber &one = other.fibers[0];
    if (one.block[0] == block[0] && one.block[1] == rank && one.block[2] == block[2])
      return one.shared;
  }
  fail(line, "reads shared memory of a block that is done or has not begun");
}

void Fiber::moveLater(const Move &move) { owner->moves.push_back(move); }

void Fiber::barrier(u32 line, u32 id, u32 count) {
  if (id >= kBarriers || count % 32 || count > threads)
    fail(line, "a barrier that there is not", id);
  BlockBarrier &at = owner->barriers[id];
  u32 expected = count ? count : threads;
  if (at.arrived && at.count != expected)
    fail(line, "threads wait for different numbers of them at barrier", id);
  at.count = expected;
  waitsAt = line;
  ++grid->progress;
  if (++at.arrived < expected) {
    at.waiting.push_back(this);
    return leave(State::waiting);
  }
  // All lanes of a warp come by the same way.
  std::vector<u32> lines(threads / 32 + 1);
  at.waiting.push_back(this);
  for (Fiber *other : at.waiting) {
    u32 &of = lines[other->index / 32];
    if (of && of != other->waitsAt)
      fail(line, "lanes of a warp are at different barriers");
    of = other->waitsAt;
  }
  at.waiting.pop_back();
  at.arrived = 0;
  grid->wake(*owner, at.waiting);
}

/// The last one who comes does it for all. -> whether this was it.
static bool come(Meeting &meeting, u32 lane, void *mine, Together together) {
  meeting.lanes[lane] = mine;
  meeting.arrived |= u64(1) << (lane & 63);
  if (meeting.arrived != meeting.mask)
    return false;
  together(meeting.lanes, meeting.mask);
  return true;
}

void Fiber::meet(u32 line, u32 mask, void *mine, Together together) {
  auto &meetings = owner->meetings[index / 32];
  u32 lane = index & 31;
  if (!(mask >> lane & 1))
    fail(line, "a lane that is not in its own mask", mask);
  Meeting *found = nullptr;
  for (Meeting &meeting : meetings) {
    if (!(meeting.mask & mask))
      continue;
    if (meeting.mask != mask || meeting.line != line)
      fail(line, "lanes of a warp do different things; another is at line", meeting.line);
    found = &meeting;
  }
  if (!found) {
    // Lanes that are done never come.
    u32 first = index & ~31u;
    for (u32 i = 0; i < 32; ++i)
      if ((mask >> i & 1) && (first + i >= threads || owner->fibers[first + i].state == State::done))
        fail(line, "waits for a lane that is done or is none", i);
    found = &meetings.emplace_back();
    *found = Meeting{mask, 0, line, together, {}};
  }
  waitsAt = line;
  ++grid->progress;
  if (!come(*found, lane, mine, together))
    return leave(State::waiting);
  std::vector<Fiber *> others;
  for (u32 i = 0; i < 32; ++i)
    if ((mask >> i & 1) && i != lane)
      others.push_back(&owner->fibers[(index & ~31u) + i]);
  meetings.erase(meetings.begin() + (found - meetings.data()));
  grid->wake(*owner, others);
}

void Fiber::meetGroup(u32 line, void *mine, Together together) {
  u32 first = index & ~127u;
  if (first + 128 > threads)
    fail(line, "a warpgroup of less than four warps");
  Meeting &meeting = owner->groupMeetings[index / 128];
  // `arrived` counts here.
  if (meeting.arrived && meeting.line != line)
    fail(line, "warps of a group do different things; another is at line", meeting.line);
  meeting.line = line;
  meeting.lanes[index & 127] = mine;
  waitsAt = line;
  ++grid->progress;
  if (++meeting.arrived < 128)
    return leave(State::waiting);
  together(meeting.lanes, 0);
  meeting.arrived = 0;
  std::vector<Fiber *> others;
  for (u32 i = 0; i < 128; ++i)
    if (first + i != index)
      others.push_back(&owner->fibers[first + i]);
  grid->wake(*owner, others);
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

Grid::Grid(const Launch &launch) : launch(launch) { current = this; }

void Grid::wake(Block &block, std::vector<Fiber *> &fibers) {
  if (randomNumbers()() & 1)
    block.queue.insert(block.queue.end(), fibers.rbegin(), fibers.rend());
  else
    block.queue.insert(block.queue.end(), fibers.begin(), fibers.end());
  for (Fiber *fiber : fibers)
    fiber->state = State::ready;
  fibers.clear();
}

void Grid::say(const Fiber &fiber, u32 line, const std::string &what) {
  if (!error.empty())
    return;
  const u32 *block = fiber.block;
  error = std::string(launch.kernel->name) + ", block (" + std::to_string(block[0]) + ", " +
          std::to_string(block[1]) + ", " + std::to_string(block[2]) + "), thread " +
          std::to_string(fiber.index) + ", line " + std::to_string(line) + " of the PTX: " + what;
}

/// The words that cuTensorMapEncodeTiled of the fake driver writes.
void Grid::doMove(const Block &block, const Move &move) {
  u64 words[16];
  std::memcpy(words, move.map, sizeof(words));
  static const u32 widths[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2};
  u32 width = words[2] < 10 ? widths[words[2]] : 0;
  u64 elements = 1;
  for (u32 axis = 0; axis < move.rank; ++axis)
    elements *= words[12 + axis];
  const u8 *shared = block.fibers[0].shared;
  u64 to = u64(move.to - shared);
  const Fiber &teller = block.fibers[0];
  if (words[1] != move.rank || move.rank > 4 || !width)
    return say(teller, move.line, "a tensor map of another kind");
  if (to % 128 || to + elements * width > teller.sharedBytes)
    return say(teller, move.line, "a box does not lie in shared memory, at byte " + std::to_string(to));
  auto swizzling = u32(words[3]);
  for (u64 i = 0; i < elements; ++i) {
    u64 rest = i, from = words[0];
    bool isInside = true;
    for (u32 axis = 0; axis < move.rank; ++axis) {
      s64 at = move.at[axis] + s64(rest % words[12 + axis]);
      rest /= words[12 + axis];
      isInside &= at >= 0 && at < s64(words[4 + axis]);
      from += u64(at) * (axis ? words[7 + axis] : width);
    }
    u8 *place = const_cast<u8 *>(shared) + swizzle(to + i * width, swizzling);
    if (!isInside) {
      std::memset(place, 0, width);
      continue;
    }
    auto [begin, size] = launch.allocationOf(from);
    if (!size || from + width > begin + size)
      return say(teller, move.line, "a tensor map leaves the device's memory");
    std::memcpy(place, hostOf(from), width);
  }
  auto *barrier = reinterpret_cast<SharedBarrier *>(move.barrier);
  barrier->expectBytes(-s32(elements * width));
  barrier->completeIfDone();
}

void Grid::open(Block &block, u64 index) {
  const Kernel &kernel = *launch.kernel;
  u64 sharedBytes = u64(kernel.sharedBytes) + launch.dynamicShared;
  block.sharedMemory.resize(sharedBytes + 1024);
  // Not a number in any type of floats, so what nobody wrote is seen.
  std::memset(block.sharedMemory.data(), 0xff, block.sharedMemory.size());
  auto *shared = reinterpret_cast<u8 *>((u64(block.sharedMemory.data()) + 1023) & ~u64(1023));
  if (block.fibers.size() < launch.threads)
    block.fibers.resize(launch.threads);
  block.queue.clear();
  block.moves.clear();
  block.meetings.assign((launch.threads + 31) / 32, {});
  block.groupMeetings.assign(launch.threads / 128 + 1, {});
  for (BlockBarrier &barrier : block.barriers)
    barrier = {};
  block.live = launch.threads;
  block.isOpen = true;
  std::vector<Fiber *> all;
  for (u32 i = 0; i < launch.threads; ++i) {
    Fiber &fiber = block.fibers[i];
    fiber.prepare((kStackBytes + kernel.localBytes + 4095) / 4096 * 4096);
    fiber.grid = this;
    fiber.owner = &block;
    fiber.index = i;
    fiber.threads = launch.threads;
    // Blocks of a cluster begin together.
    int second = launch.hasClusters ? 0 : 1;
    fiber.block[1 - second] = u32(index % launch.grid[1 - second]);
    fiber.block[second] = u32(index / launch.grid[1 - second] % launch.grid[second]);
    fiber.block[2] = u32(index / launch.grid[0] / launch.grid[1]);
    std::copy(launch.grid, launch.grid + 3, fiber.blocks);
    fiber.shared = shared;
    fiber.sharedBytes = u32(sharedBytes);
    fiber.launch = launches;
    all.push_back(&fiber);
  }
  wake(block, all);
}

void Grid::runBlock(Block &block) {
  size_t spins = 0;
  while (block.live && error.empty()) {
    if (block.queue.empty() || spins > 2 * block.queue.size()) {
      // Nobody goes on without what was asked for.
      if (!block.moves.empty()) {
        Move move = block.moves.front();
        block.moves.pop_front();
        doMove(block, move);
        ++progress;
        spins = 0;
        continue;
      }
      if (block.queue.empty())
        return sayWhoWaits(block);
      return;
    }
    Fiber &fiber = *block.queue.front();
    block.queue.pop_front();
    u64 before = progress;
    running = &fiber;
    ssmEmulatorSwitch(&main, fiber.top);
    if (fiber.state == State::spinning)
      block.queue.push_back(&fiber);
    if (fiber.state == State::done) {
      --block.live;
      ++progress;
    }
    spins = progress == before ? spins + 1 : 0;
  }
  if (!block.live)
    block.isOpen = false;
}

void Grid::sayWhoWaits(const Block &block) {
  std::string text = "all threads that are left wait for others: ";
  const Fiber *first = nullptr;
  u32 number = 0, line = 0;
  auto tell = [&] {
    if (number)
      text += std::to_string(number) + " at line " + std::to_string(line) + ", ";
    number = 0;
  };
  for (u32 i = 0; i < launch.threads; ++i) {
    const Fiber &fiber = block.fibers[i];
    if (fiber.state != State::waiting)
      continue;
    first = first ? first : &fiber;
    if (fiber.waitsAt != line)
      tell();
    line = fiber.waitsAt;
    ++number;
  }
  tell();
  say(*first, first->waitsAt, text + std::to_string(launch.threads - block.live) + " are done");
}

std::string Grid::run() {
  ++launches;
  const Kernel &kernel = *launch.kernel;
  if (kernel.maxThreads && launch.threads > kernel.maxThreads)
    return std::string(kernel.name) + ": more threads than it is for";
  u64 total = u64(launch.grid[0]) * launch.grid[1] * launch.grid[2], next = 0;
  u32 stuck = 0;
  while (error.empty()) {
    u64 before = progress;
    bool anyOpen = false;
    size_t numOpen = 0;
    for (Block &block : pool) {
      if (!block.isOpen)
        continue;
      runBlock(block);
      if (!error.empty())
        break;
      anyOpen |= block.isOpen;
      numOpen += block.isOpen;
    }
    if (!error.empty())
      break;
    if (anyOpen && progress != before) {
      stuck = 0;
      continue;
    }
    // All that is open waits for what is not.
    if (next < total && numOpen < launch.residentBlocks) {
      auto free = pool.begin();
      while (free != pool.end() && free->isOpen)
        ++free;
      if (free == pool.end())
        free = pool.emplace(pool.end());
      open(*free, next++);
      stuck = 0;
      continue;
    }
    if (!anyOpen)
      break;
    if (++stuck > 1000)
      error = std::string(kernel.name) + ": blocks wait for each other, " + std::to_string(next) +
              " of " + std::to_string(total) + " have begun";
  }
  for (Block &block : pool)
    block.isOpen = false;
  return error;
}

std::string ssm_emulator::run(const Launch &launch) { return Grid(launch).run(); }
