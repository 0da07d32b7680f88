// One block: its threads take turns until all are done. A thread that never waits runs on its
// predecessor's stack, so that kernels without barriers are a plain loop.
#include "machine.h"
#include <cstdio>
#include <numeric>
#include <random>

namespace cuda_on_cpu {
thread_local Thread* current STATIC_TLS;

std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> table;
  return table;
}
Registration::Registration(const char* name, void* kernel, Call call, int n, const int* sizes) {
  kernels()[name] = {kernel, call, n, sizes};
}

namespace {
constexpr size_t shared_limit = 48 * 1024;        // of arrays that are declared
constexpr size_t dynamic_limit = 227 * 1024;      // of what a launch asks for
constexpr char poison = char(0xff);               // as a float: NaN

enum class State : uint8_t { Fresh, Ready, AtBlock, AtWarp, Done };

struct Copy { void* to; const void* from; size_t bytes, zeros; int group; };

struct Running : Thread {
  Fiber* fiber;
  State state;
  int line;            // of the barrier where it waits
  unsigned mask;       // lanes it waits for
  int verdict;         // what the block's barrier found
  unsigned warp_waits; // how often its warp has met
  int groups;          // of asynchronous copies
  std::vector<Copy> copies;
};

/// Who touched a word of shared memory last, and in which phase between two barriers.
struct Touched {
  int writer = -1, reader = -1;            // threads; -2: several readers
  unsigned write_phase = 0, read_phase = 0;
  unsigned write_warp = 0, read_warp = 0;  // how often the thread's warp had met
  int reader_warp = -1;                    // -2: several
  int copier = -1;                         // a thread whose copy into it has not been waited for
  unsigned copy_block = 0;                 // the block of that copy
};

struct Block {
  std::vector<Fiber*> fibers, idle;
  void* scheduler = nullptr;  // where to go on when every fiber waits
  Fiber* fiber = nullptr;     // that runs now
  std::vector<Running> threads;
  std::vector<int> order, ready;
  size_t next = 0, head = 0;  // the next of `order` to begin, of `ready` to go on
  int live = 0, arrived = 0, line = 0, tally = 0;
  Vote vote = Vote::Any;
  unsigned phase = 1;  // counted from one over all blocks, so that old marks never match
  std::vector<uint64_t> slots;
  std::vector<Words> words;
  struct Array { unsigned block = 0; size_t offset = 0, bytes = 0; };
  std::vector<Array> arrays;
  unsigned block = 0;
  size_t declared = 0, dynamic = 0;
  alignas(128) char shared[shared_limit + dynamic_limit];
  std::vector<Touched> touched = std::vector<Touched>(sizeof shared / 4);
  const Kernel* kernel = nullptr;
  void** arguments = nullptr;
  std::string failure;

  Running& now() { return *static_cast<Running*>(current); }
  void leave() { cuda_on_cpu_switch(&fiber->stack_pointer, scheduler); }
  void resume(Fiber* to) {
    fiber = to;
    cuda_on_cpu_switch(&scheduler, to->stack_pointer);
  }
  void wait(Running& me) {
    leave();
    current = &me;
  }
  void release_block() {
    for (int idx : order) {
      Running& thread = threads[idx];
      if (thread.state != State::AtBlock) continue;
      thread.state = State::Ready;
      thread.verdict = tally;
      ready.push_back(idx);
    }
    arrived = 0;
    phase++;
  }
  void begin(uint3 at, dim3 grid, dim3 dim, Schedule schedule);
  void run();
};
thread_local Block* machine STATIC_TLS;

/// What every fiber does: begin one thread after the other, until one waits.
void live_fiber() {
  for (;;) {
    Block& m = *machine;
    while (m.next < m.order.size()) {
      Running& thread = m.threads[m.order[m.next++]];
      thread.fiber = m.fiber;
      thread.state = State::Ready;
      current = &thread;
      m.kernel->call(m.kernel->function, m.arguments);
      m.now().state = State::Done;  // perhaps on another thread's stack, but `current` is right
      m.live--;
      if (m.arrived && m.arrived == m.live) m.release_block();
      if (m.head < m.ready.size()) break;  // some thread can continue: the scheduler chooses
    }
    m.idle.push_back(m.fiber);
    m.leave();
  }
}

void Block::begin(uint3 at, dim3 grid, dim3 dim, Schedule schedule) {
  int n = int(dim.x * dim.y * dim.z);
  live = n;
  arrived = 0;
  next = head = declared = 0;
  block++;
  phase++;
  ready.clear();
  failure.clear();
  if (int(threads.size()) != n) {
    threads.assign(n, Running{});
    order.resize(n);
    slots.assign(size_t((n + 31) / 32) * 64, 0);
    words.assign(slots.size(), {});
  }
  for (int i = 0; i < n; i++) {
    Running& t = threads[i];
    static_cast<Thread&>(t) = {{i % dim.x, i / dim.x % dim.y, i / (dim.x * dim.y)},
                               at, dim, grid, i, i % 32, i / 32, 0};
    t.state = State::Fresh;
    t.groups = 0;
    t.warp_waits = 0;
    t.copies.clear();
  }
  std::iota(order.begin(), order.end(), 0);
  if (schedule.order == Reverse) std::reverse(order.begin(), order.end());
  if (schedule.order == Shuffled) {
    std::mt19937 random(schedule.seed + at.x * 7919u + at.y * 104729u + at.z);
    std::shuffle(order.begin(), order.end(), random);
  }
  std::memset(shared + shared_limit, poison, dynamic);
}

void Block::run() {
  while (live > 0 && failure.empty()) {
    if (head < ready.size()) {
      int idx = ready[head++];
      if (head == ready.size()) ready.clear(), head = 0;
      resume(threads[idx].fiber);
    } else if (next < order.size()) {
      if (idle.empty()) {
        fibers.push_back(new_fiber(int(fibers.size())));
        idle.push_back(fibers.back());
      }
      Fiber* fresh = idle.back();
      idle.pop_back();
      begin_at(fresh, live_fiber);
      resume(fresh);
    } else {
      for (Running& t : threads)
        if (t.state == State::AtBlock || t.state == State::AtWarp)
          failure = "thread " + std::to_string(t.linear) + " waits for ever at line " +
                    std::to_string(t.line) + ": others will not come to that barrier";
    }
  }
  if (!failure.empty()) idle = fibers;  // no thread continues after a failure
}

std::string place(const Thread& t) {
  char text[128];
  snprintf(text, sizeof text, "block (%u,%u,%u) thread (%u,%u,%u)", t.block.x, t.block.y,
           t.block.z, t.index.x, t.index.y, t.index.z);
  return text;
}
}  // namespace

void fail(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (machine->failure.empty()) machine->failure = place(*current) + " " + text;
  machine->leave();
  abort();  // never resumed
}

int wait_for_block(int line, Vote vote, int predicate) {
  Block& m = *machine;
  Running& me = m.now();
  if (m.arrived == 0) {
    m.line = line;
    m.vote = vote;
    m.tally = vote == Vote::All;
  } else if (m.line != line) {
    fail("waits at the barrier of line %d while others wait at line %d", line, m.line);
  }
  bool yes = predicate != 0;
  m.tally = vote == Vote::Count ? m.tally + yes : vote == Vote::All ? m.tally && yes : m.tally || yes;
  m.arrived++;
  me.state = State::AtBlock;
  me.line = line;
  if (m.arrived == m.live) m.release_block();
  m.wait(me);
  return me.verdict;
}

void wait_for_warp(unsigned mask, int line) {
  Block& m = *machine;
  Running& me = m.now();
  int first = me.warp * 32, n = int(m.threads.size());
  // Lanes beyond the block's last thread count as absent, as on a GPU.
  auto waited_for = [&](int lane) { return (mask >> lane & 1) && first + lane < n; };
  if (!(mask >> me.lane & 1)) fail("line %d: lane %d is not in its own mask %08x", line, me.lane, mask);
  me.state = State::AtWarp;
  me.mask = mask;
  me.line = line;
  bool all = true;
  for (int lane = 0; lane < 32; lane++) {
    if (!waited_for(lane)) continue;
    Running& other = m.threads[first + lane];
    if (other.state == State::Done) fail("line %d: lane %d of mask %08x has ended", line, lane, mask);
    if (other.state != State::AtWarp || other.mask != mask) all = false;
    else if (other.line != line)
      fail("line %d: lane %d waits at line %d", line, lane, other.line);
  }
  if (all)
    for (int lane = 0; lane < 32; lane++) {
      if (!waited_for(lane)) continue;
      Running& other = m.threads[first + lane];
      other.state = State::Ready;
      other.warp_waits++;
      m.ready.push_back(first + lane);
    }
  m.wait(me);
}

uint64_t* warp_slots(unsigned turn) { return &machine->slots[(current->warp * 2 + turn) * 32]; }
Words* warp_words(unsigned turn) { return &machine->words[(current->warp * 2 + turn) * 32]; }

int new_shared_array() {
  static int count;
  return count++;
}

void* shared_array(int id, size_t bytes) {
  Block& m = *machine;
  if (size_t(id) >= m.arrays.size()) m.arrays.resize(size_t(id) + 1);
  Block::Array& array = m.arrays[size_t(id)];
  if (array.block != m.block) {
    array = {m.block, (m.declared + 127) & ~size_t(127), bytes};
    m.declared = array.offset + bytes;
    if (m.declared > shared_limit)
      fail("declares %zu bytes of shared memory; %zu are the most", m.declared, shared_limit);
    std::memset(m.shared + array.offset, poison, bytes);
  }
  return m.shared + array.offset;
}

void* dynamic_shared() { return machine->shared + shared_limit; }

bool is_thread_record(const void* address) {
  const auto& threads = machine->threads;
  auto at = static_cast<const Running*>(address);
  return at >= threads.data() && at < threads.data() + threads.size();
}

bool in_shared_memory(const void* address, size_t bytes, bool* outside) {
  Block& m = *machine;
  auto at = static_cast<const char*>(address);
  if (at < m.shared || at >= m.shared + sizeof m.shared) return false;
  size_t from = size_t(at - m.shared);
  bool inside = from >= shared_limit && from + bytes <= shared_limit + m.dynamic;
  for (size_t i = 0; i < m.arrays.size() && !inside; i++) {
    const Block::Array& array = m.arrays[i];
    inside = array.block == m.block && from >= array.offset &&
             from + bytes <= array.offset + array.bytes;
  }
  *outside = !inside;
  return true;
}

/// A word that one thread writes and another touches, with no barrier of both in between, is a
/// race, in whatever order they came this time.
void watch_shared(const void* address, size_t bytes, bool writes) {
  Block& m = *machine;
  Running& me = m.now();
  size_t first = size_t(static_cast<const char*>(address) - m.shared);
  for (size_t word = first / 4; word <= (first + bytes - 1) / 4; word++) {
    Touched& t = m.touched[word];
    if (t.copier != -1 && t.copy_block == m.block)
      fail("%s shared memory into which thread %d copies, and has not waited for it",
           writes ? "overwrites" : "reads", t.copier);
    auto unordered = [&](int thread, unsigned phase, int warp, unsigned meeting) {
      return thread != -1 && thread != me.linear && phase == m.phase &&
             !(warp == me.warp && meeting < me.warp_waits);
    };
    if (bytes >= 4 && unordered(t.writer, t.write_phase, t.writer / 32, t.write_warp))
      fail("%s shared memory that thread %d wrote, and no barrier lies between",
           writes ? "overwrites" : "reads", t.writer);
    if (bytes >= 4 && writes && unordered(t.reader, t.read_phase, t.reader_warp, t.read_warp))
      fail("overwrites shared memory that others read, and no barrier lies between");
    if (writes) {
      t.writer = me.linear, t.write_phase = m.phase, t.write_warp = me.warp_waits;
    } else {
      bool fresh = t.read_phase != m.phase || t.reader == -1;
      t.reader = fresh || t.reader == me.linear ? me.linear : -2;
      t.reader_warp = fresh || t.reader_warp == me.warp ? me.warp : -2;
      t.read_phase = m.phase, t.read_warp = me.warp_waits;
    }
  }
}

/// The words of shared memory that a copy fills.
void mark_copied(const void* to, size_t bytes, int copier) {
  Block& m = *machine;
  size_t first = size_t(static_cast<const char*>(to) - m.shared) / 4;
  for (size_t word = first; word < first + bytes / 4; word++)
    m.touched[word].copier = copier, m.touched[word].copy_block = m.block;
}
void copy_later(void* to, const void* from, size_t bytes, size_t zeros, int line) {
  if (bytes != 4 && bytes != 8 && bytes != 16)
    fail("line %d: copies %zu bytes at once; 4, 8 and 16 are possible", line, bytes);
  for (const void* address : {const_cast<const void*>(to), from})
    if (reinterpret_cast<uint64_t>(address) % bytes)
      fail("line %d: copies %zu bytes %s %p, which is not a multiple of %zu", line, bytes,
           address == to ? "to" : "from", address, bytes);
  if (zeros > bytes) fail("line %d: fills %zu bytes of %zu with zeros", line, zeros, bytes);
  bool outside = false;
  if (!in_shared_memory(to, bytes, &outside)) fail("line %d: copies to no shared memory", line);
  if (zeros < bytes) check_access(from, bytes - zeros, false);
  check_access(to, bytes, true);
  Running& me = machine->now();
  mark_copied(to, bytes, me.linear);
  me.copies.push_back({to, from, bytes, zeros, me.groups});
}
void commit_copies() { machine->now().groups++; }
void wait_for_copies(int groups_left) {
  Running& me = machine->now();
  auto pending = [&](const Copy& copy) {
    if (copy.group >= me.groups - groups_left) return true;
    const size_t read = copy.bytes - copy.zeros;
    std::memcpy(copy.to, copy.from, read);
    std::memset(static_cast<char*>(copy.to) + read, 0, copy.zeros);
    mark_copied(copy.to, copy.bytes, -1);
    watch_shared(copy.to, copy.bytes, true);  // written now: others need a barrier from here on
    return false;
  };
  me.copies.erase(std::stable_partition(me.copies.begin(), me.copies.end(), pending),
                  me.copies.end());
}

std::string run_grid(const std::string& name, dim3 grid, dim3 dim, unsigned dynamic,
                     void** arguments, Schedule schedule) {
  if (!machine) machine = new Block;  // for as long as this thread lives
  Block& m = *machine;
  m.kernel = &kernels().at(name);
  m.arguments = arguments;
  m.dynamic = dynamic;
  uint64_t total = uint64_t(grid.x) * grid.y * grid.z;
  uint64_t step = 1;  // shuffled: a stride that meets every block once
  if (schedule.order == Shuffled)
    for (step = total / 3 * 2 + 1 + schedule.seed % 5; std::gcd(step, total) != 1; step++) {
    }
  for (uint64_t i = 0; i < total; i++) {
    uint64_t idx = schedule.order == Reverse ? total - 1 - i : i * step % total;
    uint3 at = {unsigned(idx % grid.x), unsigned(idx / grid.x % grid.y),
                unsigned(idx / (uint64_t(grid.x) * grid.y))};
    m.begin(at, grid, dim, schedule);
    m.run();
    if (!m.failure.empty()) break;
  }
  current = nullptr;
  return m.failure.empty() ? "" : name + ": " + m.failure;
}
}  // namespace cuda_on_cpu
