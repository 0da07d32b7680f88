// What the compiler calls around a kernel's memory accesses and doubtful operations: the names are
// those of the kernel address sanitizer and of the undefined behaviour sanitizer. A finding ends
// the kernel with a sentence, not the process.
#include "machine.h"
#include <link.h>
#include <atomic>
#include <cstdio>
#include <mutex>

namespace cuda_on_cpu {
namespace {
struct Allocation {
  uint64_t end = 0;
  bool whole = true;                      // all of it may be touched
  std::map<uint64_t, uint64_t> lent;      // else only these ranges: begin -> end
};
std::map<uint64_t, Allocation> allocations;  // by their beginning
std::mutex guard;
std::atomic<unsigned> changes;  // of the map above: what a thread remembers is old after one

/// The ranges that this thread found last: most accesses lie in one of them.
struct Recent {
  unsigned changes = ~0u, next = 0;
  struct { uint64_t begin, end; } ranges[8] = {};
  bool holds(uint64_t at, size_t bytes) const {
    if (changes != cuda_on_cpu::changes) return false;
    for (auto& range : ranges)
      if (at >= range.begin && at + bytes <= range.end) return true;
    return false;
  }
  void remember(uint64_t begin, uint64_t end) {
    if (changes != cuda_on_cpu::changes) *this = {cuda_on_cpu::changes};
    ranges[next++ % 8] = {begin, end};
  }
};
thread_local Recent recent STATIC_TLS;

/// The program's own constants and variables: tables of the math library, `__constant__` arrays.
bool in_a_program(const void* address) {
  auto holds = [](dl_phdr_info* info, size_t, void* wanted) {
    auto at = reinterpret_cast<uint64_t>(wanted);
    for (int i = 0; i < info->dlpi_phnum; i++) {
      auto& part = info->dlpi_phdr[i];
      uint64_t begin = info->dlpi_addr + part.p_vaddr;
      if (part.p_type == PT_LOAD && at >= begin && at < begin + part.p_memsz) return 1;
    }
    return 0;
  };
  return dl_iterate_phdr(holds, const_cast<void*>(address)) != 0;
}

/// Whether device memory that a kernel may touch holds [at, at + bytes); if not, what is wrong.
bool may_touch(uint64_t at, size_t bytes, std::string* wrong) {
  std::lock_guard lock(guard);
  auto after = allocations.upper_bound(at);
  if (after == allocations.begin() || at >= std::prev(after)->second.end) {
    if (in_a_program(reinterpret_cast<void*>(at))) return true;
    *wrong = "outside all device memory";
    return false;
  }
  auto& [begin, allocation] = *std::prev(after);
  if (allocation.whole && at + bytes <= allocation.end) {
    recent.remember(begin, allocation.end);
    return true;
  }
  auto beyond = allocation.lent.upper_bound(at);
  if (beyond == allocation.lent.begin()) {
    *wrong = allocation.whole ? "past the end of device memory" : "before the first operand";
    return false;
  }
  auto [operand, end] = *std::prev(beyond);
  if (at + bytes <= end) {
    recent.remember(operand, end);
    return true;
  }
  *wrong = std::to_string(at + bytes - end) + " bytes past the end of an operand";
  return false;
}
}  // namespace

void device_memory_added(uint64_t address, size_t bytes) {
  std::lock_guard lock(guard);
  allocations[address] = {address + bytes, true, {}};
  changes++;
}
void device_memory_removed(uint64_t address) {
  std::lock_guard lock(guard);
  allocations.erase(address);
  changes++;
}
void lend_only(const uint64_t* addresses, const uint64_t* bytes, size_t n) {
  std::lock_guard lock(guard);
  changes++;
  for (size_t i = 0; i < n; i++) {
    auto after = allocations.upper_bound(addresses[i]);
    if (after == allocations.begin()) continue;
    Allocation& allocation = std::prev(after)->second;
    allocation.whole = false;
    allocation.lent[addresses[i]] = addresses[i] + bytes[i];
  }
}

void check_access(const void* address, size_t bytes, bool writes) {
  if (!current || on_a_stack(address) || is_thread_record(address)) return;
  bool outside = false;
  if (in_shared_memory(address, bytes, &outside)) {
    if (outside) fail("touches shared memory outside every array");
    return watch_shared(address, bytes, writes);
  }
  auto at = reinterpret_cast<uint64_t>(address);
  std::string wrong;
  if (recent.holds(at, bytes) || may_touch(at, bytes, &wrong)) return;
  char sentence[128];  // on this stack: what fail() leaves behind is never destroyed
  snprintf(sentence, sizeof sentence, "%s %s", writes ? "writes" : "reads", wrong.c_str());
  std::string().swap(wrong);
  fail("%s", sentence);
}
}  // namespace cuda_on_cpu

using cuda_on_cpu::check_access;
using cuda_on_cpu::fail;

// The address sanitizer's calls.
#define CHECKED(n)                                                                         \
  extern "C" void __asan_load##n##_noabort(void* at) { check_access(at, n, false); }       \
  extern "C" void __asan_store##n##_noabort(void* at) { check_access(at, n, true); }
CHECKED(1)
CHECKED(2)
CHECKED(4)
CHECKED(8)
CHECKED(16)
extern "C" void __asan_loadN_noabort(void* at, size_t bytes) { check_access(at, bytes, false); }
extern "C" void __asan_storeN_noabort(void* at, size_t bytes) { check_access(at, bytes, true); }
extern "C" void __asan_handle_no_return() {}
extern "C" void __asan_before_dynamic_init(const char*) {}
extern "C" void __asan_after_dynamic_init() {}

// The undefined behaviour sanitizer's calls: each record begins with the place in the source.
struct Place {
  const char* file;
  unsigned line, column;
  const char* name() const {
    const char* slash = strrchr(file, '/');
    return slash ? slash + 1 : file;
  }
};
struct Mismatch {
  Place place;
  void* type;
  unsigned char log_alignment, kind;
};
extern "C" void __ubsan_handle_out_of_bounds(Place* place, uint64_t index) {
  fail("%s:%u: index %lld is outside its array", place->name(), place->line, (long long)index);
}
extern "C" void __ubsan_handle_type_mismatch_v1(Mismatch* data, uint64_t address) {
  if (!cuda_on_cpu::current) return;
  fail("%s:%u: the address %#llx is not a multiple of %d", data->place.name(), data->place.line,
       (unsigned long long)address, 1 << data->log_alignment);
}
extern "C" void __ubsan_handle_shift_out_of_bounds(Place* place, uint64_t, uint64_t bits) {
  fail("%s:%u: a shift by %lld bits", place->name(), place->line, (long long)bits);
}
extern "C" void __ubsan_handle_divrem_overflow(Place* place, uint64_t, uint64_t) {
  fail("%s:%u: a division by zero", place->name(), place->line);
}
#define OVERFLOW(operation)                                                                 \
  extern "C" void __ubsan_handle_##operation##_overflow(Place* place, uint64_t, uint64_t) { \
    fail("%s:%u: a signed " #operation " overflows", place->name(), place->line);           \
  }
OVERFLOW(add)
OVERFLOW(sub)
OVERFLOW(mul)
OVERFLOW(negate)
