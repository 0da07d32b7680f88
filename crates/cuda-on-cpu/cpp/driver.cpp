// libcuda.so for machines without a card: the part of the driver's interface that this project
// calls, over the kernels in this library. Streams are queues that run when a caller waits for
// them, as late as a card might: who forgets to wait sees old data. What tests ask for (schedules,
// faults) holds for the thread that asks.
#include "machine.h"
#include <sys/mman.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <ctime>
#include <set>

namespace {
using namespace cuda_on_cpu;
using Result = int;
enum : Result {
  Ok = 0, InvalidValue = 1, OutOfMemory = 2, NoDevice = 100, InvalidDevice = 101,
  InvalidImage = 200, InvalidContext = 201, NotFound = 500, NotReady = 600, LaunchFailed = 719,
  CaptureUnsupported = 900, CaptureIsolation = 905,
};
using Address = uint64_t;
using Work = std::function<Result()>;

/// What a test asks of the stand-in, as src/lib.rs has it. Counted from one; zero: never.
struct Behaviour {
  int order;
  unsigned seed;
  int devices, driver_version;
  uint64_t memory_bytes;
  uint64_t failing_allocation, failing_launch;
  uint64_t early_copies, late_reads;
  int major, minor;  // compute capability
};

/// The value of NAME=VALUE among words with spaces between them.
uint64_t word(const char* text, const std::string& name, uint64_t otherwise) {
  for (const char* at = text; at && (at = strstr(at, name.c_str())); at++) {
    const char* end = at + name.size();
    if ((at == text || at[-1] == ' ') && *end == '=') return strtoull(end + 1, nullptr, 10);
  }
  return otherwise;
}
/// The same from the environment variable CUDA_ON_CPU.
uint64_t told(const char* name, uint64_t otherwise) {
  return word(getenv("CUDA_ON_CPU"), name, otherwise);
}
/// As the driver does, an empty CUDA_VISIBLE_DEVICES hides every card.
uint64_t visible() {
  const char* shown = getenv("CUDA_VISIBLE_DEVICES");
  return shown && !*shown ? 0 : told("devices", 1);
}
thread_local Behaviour behaviour = {
    Forward, 0, int(visible()), int(told("driver_version", 13000)),
    told("memory_bytes", uint64_t(8) << 30), told("failing_allocation", 0),
    told("failing_launch", 0), told("early_copies", 0), told("late_reads", 0),
    int(told("major", 9)), int(told("minor", 0))};
thread_local uint64_t allocations_made, launches_made;
thread_local void* context;
thread_local Result broken;  // a kernel that failed takes its context with it
thread_local char last_failure[640];
thread_local int capturing;

/// A clock that work moves on, as tests say: NAME=N microseconds for a kernel, NAME/S=N for one whose
/// grid has S blocks along y; one that is not named takes `each`, or 1. Without a word events tell
/// the time. CUDA_ON_CPU="clock=1 ..." says the same to programs.
using Clock = std::chrono::steady_clock;
thread_local std::string pace = told("clock", 0) ? getenv("CUDA_ON_CPU") : "";
thread_local uint64_t microseconds;
void spend(const std::string& name, unsigned slices) {
  uint64_t plain = word(pace.c_str(), name, word(pace.c_str(), "each", 1));
  microseconds += word(pace.c_str(), name + "/" + std::to_string(slices), plain);
}
Clock::time_point now() {
  return pace.empty() ? Clock::now() : Clock::time_point(std::chrono::microseconds(microseconds));
}

struct Graph { std::vector<Work> work; };
struct Stream {
  std::deque<Work> queue;
  std::unique_ptr<Graph> capture;
};
struct Event {
  Stream* stream = nullptr;
  uint64_t recorded = 0, reached = 0;
  std::chrono::steady_clock::time_point when = {};
  bool captured = false;
};
struct Function {
  std::string name;
  bool loaded = false;  // drivers load a function when it is first launched, or by cuFuncLoad
  int dynamic_shared = 48 * 1024;
};
struct Module { std::map<std::string, std::unique_ptr<Function>> functions; };

std::mutex guard;
std::map<Address, size_t> device_allocations, pinned;
size_t device_bytes;
char the_context;

Stream& stream_of(void* handle) {
  static thread_local Stream null_stream;
  bool named = handle && handle != (void*)1 && handle != (void*)2;
  return named ? *static_cast<Stream*>(handle) : null_stream;
}

Result enqueue(void* stream, Work work) {
  if (broken) return broken;
  Stream& s = stream_of(stream);
  if (s.capture) s.capture->work.push_back(std::move(work));
  else s.queue.push_back(std::move(work));
  return Ok;
}

/// Runs a stream until `event`, if there is one, is reached that often, or some of its work waits
/// for others' (NotReady).
Result drain(Stream& s, const Event* event = nullptr, uint64_t wanted = 0) {
  while (!s.queue.empty() && !(event && event->reached >= wanted)) {
    Work work = std::move(s.queue.front());
    s.queue.pop_front();
    Result result = broken ? broken : work();
    if (result == NotReady) return s.queue.push_front(std::move(work)), NotReady;
    if (result) broken = result;
  }
  return broken;
}

/// The same to the end, however long others take.
Result finish(Stream& s, const Event* event = nullptr, uint64_t wanted = 0) {
  Result result;
  while ((result = drain(s, event, wanted)) == NotReady) {
    timespec nap = {0, 50'000};
    nanosleep(&nap, nullptr);
  }
  return result;
}

bool within(const std::map<Address, size_t>& ranges, Address at, size_t bytes) {
  std::lock_guard lock(guard);
  auto after = ranges.upper_bound(at);
  return after != ranges.begin() &&
         at + bytes <= std::prev(after)->first + std::prev(after)->second;
}
bool on_device(Address at, size_t bytes) { return within(device_allocations, at, bytes); }
bool is_pinned(const void* at, size_t bytes) { return within(pinned, Address(at), bytes); }

constexpr size_t page = 4096;
size_t whole_pages(size_t bytes) { return (bytes + page - 1) / page * page; }

/// Memory that is not a number until written and that ends at an unmapped page.
Address take(size_t bytes) {
  size_t pages = whole_pages(bytes);
  void* range = mmap(nullptr, pages + page, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) return 0;
  char* begin = static_cast<char*>(range);
  mprotect(begin + pages, page, PROT_NONE);
  begin += (pages - bytes) & ~size_t(255);  // aligned as the driver aligns
  std::memset(begin, 0xff, bytes);
  return Address(begin);
}
void give_back(Address at, size_t bytes) {
  munmap(reinterpret_cast<void*>(at & ~(page - 1)), whole_pages(bytes) + page);
}
bool forget(std::map<Address, size_t>& from, Address at) {
  std::lock_guard lock(guard);
  auto found = from.find(at);
  if (found == from.end()) return false;
  if (&from == &device_allocations) device_bytes -= found->second;
  give_back(at, found->second);
  from.erase(found);
  return true;
}

Result launch(const Function& f, dim3 grid, dim3 block, unsigned dynamic, void** arguments) {
  Schedule schedule = {behaviour.order, behaviour.seed};
  std::string failure = run_grid(f.name, grid, block, dynamic, arguments, schedule);
  spend(f.name, grid.y);
  if (failure.empty()) return Ok;
  snprintf(last_failure, sizeof last_failure, "%s", failure.c_str());
  return LaunchFailed;
}
}  // namespace

#define API extern "C" __attribute__((visibility("default"))) Result

// What tests ask.
extern "C" __attribute__((visibility("default"))) void cuda_on_cpu_behave(const Behaviour* wanted) {
  behaviour = *wanted;
  broken = Ok;
  allocations_made = launches_made = 0;
}
extern "C" __attribute__((visibility("default"))) const char* cuda_on_cpu_last_failure() {
  return last_failure;
}
extern "C" __attribute__((visibility("default"))) void cuda_on_cpu_counts(uint64_t counts[2]) {
  counts[0] = allocations_made;
  counts[1] = launches_made;
}
extern "C" __attribute__((visibility("default"))) void cuda_on_cpu_lend(
    const uint64_t* addresses, const uint64_t* bytes, size_t n) {
  lend_only(addresses, bytes, n);
}
extern "C" __attribute__((visibility("default"))) void cuda_on_cpu_pace(const char* words) {
  pace = words;
}

// For the stand-in for NCCL: work of another kind, which is asked again as long as it says NotReady.
API cuda_on_cpu_enqueue(void* stream, Work* work) {
  if (stream_of(stream).capture) return CaptureUnsupported;
  return enqueue(stream, *work);
}
// For the stand-ins for cuBLASLt and cuDNN: work that may be recorded, and whether it now is.
API cuda_on_cpu_record(void* stream, Work* work) { return enqueue(stream, *work); }
extern "C" __attribute__((visibility("default"))) uint64_t cuda_on_cpu_told(const char* name,
                                                                            uint64_t otherwise) {
  return told(name, otherwise);
}
API cuda_on_cpu_spend(const char* name) { return spend(name, 0), Ok; }
API cuda_on_cpu_recording() { return capturing; }
API cuda_on_cpu_owns(Address at, size_t bytes) { return on_device(at, bytes); }

// Devices and contexts.
API cuInit(unsigned) { return behaviour.devices ? Ok : NoDevice; }
API cuDriverGetVersion(int* version) { return *version = behaviour.driver_version, Ok; }
API cuDeviceGetCount(int* n) { return *n = behaviour.devices, Ok; }
API cuDeviceGet(int* device, int ordinal) {
  if (ordinal < 0 || ordinal >= behaviour.devices) return InvalidDevice;
  return *device = ordinal, Ok;
}
API cuDeviceGetName(char* name, int size, int) {
  return snprintf(name, size_t(size), "a stand-in on the CPU"), Ok;
}
API cuDeviceGetAttribute(int* value, int attribute, int) {
  const std::map<int, int> known = {
      {1, 1024}, {8, 49152}, {10, 32}, {16, 4}, {75, behaviour.major}, {76, behaviour.minor},
      {81, 49152}, {97, 227 * 1024}};
  auto found = known.find(attribute);
  return *value = found == known.end() ? 0 : found->second, Ok;
}
API cuDevicePrimaryCtxRetain(void** c, int) { return broken = Ok, *c = &the_context, Ok; }
API cuDevicePrimaryCtxRelease_v2(int) { return Ok; }
API cuCtxSetCurrent(void* c) { return context = c, Ok; }
API cuGetErrorName(Result code, const char** name) {
  static const std::map<Result, const char*> names = {
      {Ok, "CUDA_SUCCESS"}, {InvalidValue, "CUDA_ERROR_INVALID_VALUE"},
      {OutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"}, {NoDevice, "CUDA_ERROR_NO_DEVICE"},
      {InvalidDevice, "CUDA_ERROR_INVALID_DEVICE"}, {InvalidImage, "CUDA_ERROR_INVALID_IMAGE"},
      {InvalidContext, "CUDA_ERROR_INVALID_CONTEXT"}, {NotFound, "CUDA_ERROR_NOT_FOUND"},
      {NotReady, "CUDA_ERROR_NOT_READY"}, {LaunchFailed, "CUDA_ERROR_LAUNCH_FAILED"},
      {CaptureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
      {CaptureIsolation, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION"}};
  auto found = names.find(code);
  return *name = found == names.end() ? "CUDA_ERROR_UNKNOWN" : found->second, Ok;
}
API cuGetErrorString(Result code, const char** text) {
  if (code == LaunchFailed && last_failure[0]) return *text = last_failure, Ok;
  return cuGetErrorName(code, text);
}

// Memory.
API cuMemGetInfo_v2(size_t* free, size_t* total) {
  std::lock_guard lock(guard);
  *total = behaviour.memory_bytes;
  *free = *total > device_bytes ? *total - device_bytes : 0;
  return Ok;
}
API cuMemAlloc_v2(Address* at, size_t bytes) {
  if (broken) return broken;
  if (!context) return InvalidContext;
  if (capturing) return CaptureUnsupported;
  if (!bytes) return InvalidValue;
  std::lock_guard lock(guard);
  if (++allocations_made == behaviour.failing_allocation) return OutOfMemory;
  if (device_bytes + bytes > behaviour.memory_bytes || !(*at = take(bytes))) return OutOfMemory;
  device_allocations[*at] = bytes;
  device_bytes += bytes;
  device_memory_added(*at, bytes);
  return Ok;
}
API cuMemFree_v2(Address at) {
  if (!at) return Ok;
  device_memory_removed(at);
  return forget(device_allocations, at) ? Ok : InvalidValue;
}
API cuMemHostAlloc(void** at, size_t bytes, unsigned) {
  if (capturing) return CaptureUnsupported;
  if (++allocations_made == behaviour.failing_allocation) return OutOfMemory;
  Address taken = take(bytes);
  if (!taken) return OutOfMemory;
  std::lock_guard lock(guard);
  pinned[taken] = bytes;
  return *at = reinterpret_cast<void*>(taken), Ok;
}
API cuMemFreeHost(void* at) { return forget(pinned, Address(at)) ? Ok : InvalidValue; }
API cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void* stream) {
  if (!on_device(to, bytes)) return InvalidValue;
  auto copy = [=](const void* source) { return std::memcpy((void*)to, source, bytes), Ok; };
  Stream& s = stream_of(stream);
  if (behaviour.early_copies && !s.capture) {
    Result before = finish(s);
    return before ? before : copy(from);
  }
  if (is_pinned(from, bytes) || behaviour.late_reads)
    return enqueue(stream, [=] { return copy(from); });
  auto begin = static_cast<const char*>(from);  // pageable memory is read during the call
  auto kept = std::make_shared<std::vector<char>>(begin, begin + bytes);
  return enqueue(stream, [=] { return copy(kept->data()); });
}
API cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void* stream) {
  if (!on_device(from, bytes)) return InvalidValue;
  Work copy = [=] { return std::memcpy(to, (const void*)from, bytes), Ok; };
  if (is_pinned(to, bytes)) return enqueue(stream, std::move(copy));
  if (capturing) return CaptureUnsupported;
  Result result = enqueue(stream, std::move(copy));
  return result ? result : finish(stream_of(stream));
}
API cuMemsetD8Async(Address at, unsigned char value, size_t bytes, void* stream) {
  if (!on_device(at, bytes)) return InvalidValue;
  return enqueue(stream, [=] { return std::memset((void*)at, value, bytes), Ok; });
}

// Streams and events.
API cuStreamCreate(void** stream, unsigned) { return *stream = new Stream, Ok; }
API cuStreamDestroy_v2(void* stream) {
  finish(stream_of(stream));
  delete static_cast<Stream*>(stream);
  return Ok;
}
API cuStreamSynchronize(void* stream) {
  return stream_of(stream).capture ? CaptureUnsupported : finish(stream_of(stream));
}
API cuStreamQuery(void* stream) {
  return stream_of(stream).capture ? CaptureUnsupported : drain(stream_of(stream));
}
API cuStreamWaitEvent(void* stream, void* handle, unsigned) {
  auto* event = static_cast<Event*>(handle);
  if (stream_of(stream).capture && !event->captured) return CaptureIsolation;
  if (!event->stream) return Ok;
  uint64_t wanted = event->recorded;
  return enqueue(stream, [=] {
    return event->reached < wanted ? drain(*event->stream, event, wanted) : Ok;
  });
}
API cuEventCreate(void** event, unsigned) { return *event = new Event, Ok; }
API cuEventDestroy_v2(void* event) { return delete static_cast<Event*>(event), Ok; }
API cuEventRecord(void* handle, void* stream) {
  auto* event = static_cast<Event*>(handle);
  event->stream = &stream_of(stream);
  event->captured = event->stream->capture != nullptr;
  uint64_t number = ++event->recorded;
  return enqueue(stream, [=] {
    event->when = now();
    return event->reached = number, Ok;
  });
}
API cuEventElapsedTime(float* milliseconds, void* from, void* to) {
  auto *begin = static_cast<Event*>(from), *end = static_cast<Event*>(to);
  if (!begin->reached || !end->reached) return NotReady;
  return *milliseconds = std::chrono::duration<float, std::milli>(end->when - begin->when).count(),
         Ok;
}

// Of CUDA 12.8 and later.
API cuEventElapsedTime_v2(float* milliseconds, void* from, void* to) {
  return cuEventElapsedTime(milliseconds, from, to);
}
API cuEventSynchronize(void* handle) {
  auto* event = static_cast<Event*>(handle);
  // Once the context is broken nothing is reached any more, and the stream may be gone already.
  if (broken || event->reached == event->recorded || !event->stream) return broken;
  return capturing ? CaptureUnsupported : finish(*event->stream, event, event->recorded);
}
API cuEventQuery(void* handle) {
  auto* event = static_cast<Event*>(handle);
  if (broken || event->reached == event->recorded || !event->stream) return broken;
  return capturing ? CaptureUnsupported : drain(*event->stream, event, event->recorded);
}

// Graphs.
API cuStreamBeginCapture_v2(void* stream, int) {
  if (&stream_of(stream) == &stream_of(nullptr)) return CaptureUnsupported;
  capturing++;
  return stream_of(stream).capture.reset(new Graph), Ok;
}
API cuStreamEndCapture(void* stream, void** graph) {
  if (!stream_of(stream).capture) return InvalidValue;
  capturing--;
  return *graph = stream_of(stream).capture.release(), Ok;
}
API cuGraphInstantiateWithFlags(void** copy, void* graph, unsigned long long) {
  if (broken) return broken;
  if (++allocations_made == behaviour.failing_allocation) return OutOfMemory;
  return *copy = new Graph(*static_cast<Graph*>(graph)), Ok;
}
API cuGraphUpload(void*, void*) { return broken; }
API cuGraphLaunch(void* graph, void* stream) {
  if (++launches_made == behaviour.failing_launch) return broken = LaunchFailed;
  for (const Work& work : static_cast<Graph*>(graph)->work)
    if (Result result = enqueue(stream, work)) return result;
  return broken;
}
API cuGraphExecDestroy(void* graph) { return delete static_cast<Graph*>(graph), Ok; }
API cuGraphDestroy(void* graph) { return delete static_cast<Graph*>(graph), Ok; }

// Modules and launches. An image is only looked at: its kernels are those of this library.

/// What a driver of CUDA 12 says to a fatbin of CUDA 13: machine code has a new format since then,
/// and PTX a newer version. A fatbin's entries begin with their kind (2 bytes: 1 is PTX, 2 machine
/// code), two bytes, and the sizes of their header (4) and of what follows (8).
Result judge_of_cuda_12(const unsigned char* bytes) {
  auto number = [&](size_t at, size_t size) {
    uint64_t value = 0;
    return std::memcpy(&value, bytes + at, size), value;
  };
  size_t at = number(6, 2), end = at + number(8, 8);
  for (; at < end; at += number(at + 4, 4) + number(at + 8, 8))
    if (number(at, 2) != 1) return InvalidImage;
  return Ok;
}

API cuModuleLoadData(void** module, const void* image) {
  if (broken) return broken;
  if (capturing) return CaptureUnsupported;
  auto bytes = static_cast<const unsigned char*>(image);
  bool fatbin = !std::memcmp(bytes, "\x50\xed\x55\xba", 4);
  bool cubin = !std::memcmp(bytes, "\x7f" "ELF", 4);
  if (!fatbin && !cubin) return InvalidImage;
  if (fatbin && behaviour.driver_version < 13000)
    if (Result verdict = judge_of_cuda_12(bytes)) return verdict;
  return *module = new Module, Ok;
}
API cuModuleUnload(void* module) { return delete static_cast<Module*>(module), Ok; }
API cuModuleGetFunction(void** function, void* module, const char* name) {
  if (!kernels().count(name)) return NotFound;
  auto& slot = static_cast<Module*>(module)->functions[name];
  if (!slot) slot.reset(new Function{name, behaviour.driver_version < 12040});
  return *function = slot.get(), Ok;
}
API cuFuncLoad(void* function) {
  if (broken) return broken;
  if (capturing) return CaptureUnsupported;
  return static_cast<Function*>(function)->loaded = true, Ok;
}
API cuFuncSetAttribute(void* function, int attribute, int value) {
  constexpr int max_dynamic_shared = 8;
  if (attribute != max_dynamic_shared) return Ok;
  if (value > 227 * 1024) return InvalidValue;
  return static_cast<Function*>(function)->dynamic_shared = value, Ok;
}
API cuFuncGetParamInfo(void* function, size_t idx, size_t* offset, size_t* size) {
  const Kernel& kernel = kernels().at(static_cast<Function*>(function)->name);
  if (idx >= size_t(kernel.parameters)) return InvalidValue;
  *offset = 0;
  for (size_t i = 0;; i++) {  // parameters lie one after the other, each at a multiple of its size
    size_t bytes = size_t(kernel.sizes[i]), align = std::min<size_t>(std::bit_floor(bytes), 16);
    *offset = (*offset + align - 1) / align * align;
    if (i == idx) return *size = bytes, Ok;
    *offset += bytes;
  }
}
API cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned dynamic, void* stream, void** arguments, void**) {
  auto* f = static_cast<Function*>(function);
  const Kernel& kernel = kernels().at(f->name);
  if (broken) return broken;
  if (++launches_made == behaviour.failing_launch) return broken = LaunchFailed;
  unsigned long long threads = 1ull * bx * by * bz, blocks = 1ull * gx * gy * gz;
  bool fits = threads && threads <= 1024 && bz <= 64 && blocks && gx <= 0x7fffffffu &&
              gy <= 65535 && gz <= 65535 && int(dynamic) <= f->dynamic_shared;
  if (!fits) return InvalidValue;
  if (stream_of(stream).capture && !f->loaded) return CaptureUnsupported;
  f->loaded = true;
  // The driver copies the arguments during the call.
  auto kept = std::make_shared<std::vector<std::vector<uint64_t>>>();
  for (int i = 0; i < kernel.parameters; i++) {
    kept->emplace_back((size_t(kernel.sizes[i]) + 7) / 8);
    std::memcpy(kept->back().data(), arguments[i], size_t(kernel.sizes[i]));
  }
  return enqueue(stream, [=] {
    std::vector<void*> pointers;
    for (auto& value : *kept) pointers.push_back(value.data());
    return launch(*f, {gx, gy, gz}, {bx, by, bz}, dynamic, pointers.data());
  });
}
