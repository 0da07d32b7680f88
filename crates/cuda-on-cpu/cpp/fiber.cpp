// Fibers: one stack for every CUDA thread that has had to wait, and the switch between them.
#include "machine.h"
#include <sys/mman.h>

namespace cuda_on_cpu {
namespace {
constexpr size_t stack_bytes = 128 * 1024, guard_bytes = 4096;
constexpr size_t pitch = stack_bytes + guard_bytes;
}  // namespace
static thread_local char* stacks STATIC_TLS;

Fiber* new_fiber(int idx) {
  if (!stacks) {  // address space only: pages come when they are touched
    void* range = mmap(nullptr, pitch * (most_threads + 1), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) abort();
    stacks = static_cast<char*>(range);
  }
  char* stack = stacks + size_t(idx) * pitch;
  mprotect(stack, guard_bytes, PROT_NONE);
  // Stacks that began at equal places of their pages would fight for the same cache lines.
  size_t shift = size_t(idx) * 192 % 4096;
  return new Fiber{nullptr, stack + pitch - shift};
}

bool on_a_stack(const void* address) {
  auto at = static_cast<const char*>(address);
  return stacks && at >= stacks && at < stacks + pitch * (most_threads + 1);
}

#if defined(__x86_64__)
asm(R"(
.text
.globl cuda_on_cpu_switch
.type cuda_on_cpu_switch,@function
cuda_on_cpu_switch:
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
.size cuda_on_cpu_switch, .-cuda_on_cpu_switch
)");

void begin_at(Fiber* fiber, void (*entry)()) {
  auto top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(fiber->stack) & ~uintptr_t(15));
  *--top = nullptr;  // the stack is 8 off a multiple of 16, as after a call
  *--top = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; saved++) *--top = nullptr;
  fiber->stack_pointer = top;
}
#elif defined(__aarch64__)
asm(R"(
.text
.globl cuda_on_cpu_switch
.type cuda_on_cpu_switch,%function
cuda_on_cpu_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");

void begin_at(Fiber* fiber, void (*entry)()) {
  char* top = reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(fiber->stack) & ~uintptr_t(15));
  top -= 160;
  std::memset(top, 0, 160);
  *reinterpret_cast<void**>(top + 88) = reinterpret_cast<void*>(entry);  // x30: where ret goes
  fiber->stack_pointer = top;
}
#else
#error "fibers need a switch for this processor"
#endif
}  // namespace cuda_on_cpu
