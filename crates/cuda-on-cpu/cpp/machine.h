// The machine that runs kernels: fibers, a block, what is caught, and the table of kernels.
#pragma once
#include "cuda_on_cpu.h"
#undef __noinline__
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim
#include <cstdarg>
#include <map>
#include <string>
#include <vector>

namespace cuda_on_cpu {

struct Kernel {
  void* function;
  Call call;
  int parameters;
  const int* sizes;
};
/// Every kernel that is linked into this library, by name.
std::map<std::string, Kernel>& kernels();

/// The order in which the threads of a block and the blocks of a grid take their turns.
enum Order : int { Forward, Reverse, Shuffled };
struct Schedule {
  int order = Forward;
  unsigned seed = 0;
};

/// Runs a whole grid. Empty if all went well, else one sentence.
std::string run_grid(const std::string& name, dim3 grid, dim3 block, unsigned dynamic_shared,
                     void** arguments, Schedule schedule);

// fiber.cpp: a stack and a place in it.
struct Fiber {
  void* stack_pointer;
  char* stack;
};
/// Leaves `from` and goes on in `to`.
extern "C" void cuda_on_cpu_switch(void** from, void* to);
/// All fibers' stacks lie in one range, each with a guard page below.
Fiber* new_fiber(int idx);
void begin_at(Fiber* fiber, void (*entry)());
bool on_a_stack(const void* address);
constexpr int most_threads = 1024;

// block.cpp: what check_access must know of the running block.
bool is_thread_record(const void* address);  // where threadIdx and its kin are kept
bool in_shared_memory(const void* address, size_t bytes, bool* outside);
void watch_shared(const void* address, size_t bytes, bool writes);

// checks.cpp: device memory, as the driver gives it out.
void device_memory_added(uint64_t address, size_t bytes);
void device_memory_removed(uint64_t address);
/// From now on kernels may touch only these parts of the allocation that holds them.
void lend_only(const uint64_t* addresses, const uint64_t* bytes, size_t n);
}  // namespace cuda_on_cpu
