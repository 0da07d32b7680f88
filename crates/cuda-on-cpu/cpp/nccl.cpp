// A stand-in for libnccl.so.2 on machines without a GPU: the functions that this project calls,
// among ranks that are threads or processes of one host. The ranks share a file of shared memory
// named by the id, with one buffer for each pair and direction, through which bytes pass in pieces.
// Work runs in the streams of the stand-in for libcuda, as late as it may, and never blocks: work
// that cannot continue returns NotReady and is retried. Sums start at the last rank and end at the
// first; NCCL guarantees that all ranks have the same sum, but not its order.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace {
using Status = int;
enum : Status { Ok = 0, InternalError = 3, InvalidArgument = 4, InvalidUsage = 5, InProgress = 7 };
constexpr int NotReady = 600;  // CUDA_ERROR_NOT_READY
constexpr int Float = 7, Sum = 0;
using Work = std::function<int()>;

// Set by a test, for the calling thread.
struct Behaviour {
  uint64_t version;
  uint64_t failing_call, failing_query;  // counted from 1; 0: never
};
thread_local Behaviour behaviour = {22809, 0, 0};
thread_local uint64_t calls_made, queries_made;
thread_local char last_failure[96];

Status fail(Status status, const char* why) {
  return snprintf(last_failure, sizeof last_failure, "%s", why), status;
}
bool fails() {
  return ++calls_made == behaviour.failing_call && fail(InternalError, "a planned failure");
}

constexpr size_t BOX = 64 << 10, NAME = 64;
struct Box {
  std::atomic<uint64_t> filled;  // bytes that the receiver has not read yet
  char bytes[BOX];
};
struct Region {
  std::atomic<uint64_t> arrived, gone;
  Box boxes[];
};

struct Comm {
  int rank, world;
  std::string name;
  Region* region;
  bool aborted = false;
  Status wrong = Ok;

  size_t bytes() const { return sizeof(Region) + size_t(world) * world * sizeof(Box); }
  Box& box(int from, int to) { return region->boxes[from * world + to]; }
  ~Comm() { munmap(region, bytes()); }
};
using Shared = std::shared_ptr<Comm>;

/// Bytes to or from another rank.
struct Transfer {
  bool out;
  int peer;
  char* at;
  size_t left;

  /// Moves as many bytes as possible; false if they do not match the request.
  bool go_on(Comm& comm) {
    while (left) {
      Box& box = out ? comm.box(comm.rank, peer) : comm.box(peer, comm.rank);
      uint64_t filled = box.filled.load(std::memory_order_acquire);
      if (out == (filled > 0)) return true;  // not read or not written yet
      size_t bytes = out ? std::min(left, BOX) : size_t(filled);
      if (bytes > left) return false;
      if (out) memcpy(box.bytes, at, bytes);
      else memcpy(at, box.bytes, bytes);
      box.filled.store(out ? bytes : 0, std::memory_order_release);
      at += bytes, left -= bytes;
    }
    return true;
  }
};

/// One operation: its transfers, and the work after all of them.
struct Operation {
  Shared comm;
  std::vector<Transfer> transfers;
  std::vector<float> kept;  // other ranks' terms of a sum
  std::function<void(Operation&)> begin, end;
};

struct Group {
  std::vector<std::shared_ptr<Operation>> operations;
  void* stream;
  bool begun = false;

  int step() {
    bool waits = false;
    // Bytes from one rank to another keep their order.
    std::vector<std::pair<bool, int>> busy;
    for (auto& operation : operations) {
      Comm& comm = *operation->comm;
      if (comm.aborted || comm.wrong) continue;
      if (!begun) operation->begin(*operation);
      for (Transfer& transfer : operation->transfers) {
        std::pair<bool, int> way = {transfer.out, transfer.peer};
        bool is_next = true;
        for (auto& other : busy) is_next &= other != way;
        if (is_next && !transfer.go_on(comm)) comm.wrong = InternalError;
        if (transfer.left) busy.push_back(way), waits = true;
      }
    }
    begun = true;
    bool over = true;
    for (auto& operation : operations) over &= operation->comm->aborted || operation->comm->wrong;
    if (waits && !over) return NotReady;
    for (auto& operation : operations)
      if (!operation->comm->aborted && !operation->comm->wrong) operation->end(*operation);
    return 0;
  }
};
thread_local int depth;
thread_local std::shared_ptr<Group> group;

template <typename F>
F driver(const char* name) {
  void* library = dlopen("libcuda.so", RTLD_NOW | RTLD_NOLOAD);
  void* found = library ? dlsym(library, name) : nullptr;
  if (!found) abort();  // streams need the stand-in for libcuda
  return reinterpret_cast<F>(found);
}

Status end_group() {
  auto ended = std::move(group);
  if (!ended) return Ok;
  static auto enqueue = driver<int (*)(void*, Work*)>("cuda_on_cpu_enqueue");
  Work work = [ended] { return ended->step(); };
  return enqueue(ended->stream, &work) ? fail(InvalidUsage, "the stream cannot be used") : Ok;
}

bool owned(const void* at, size_t floats) {
  static auto owns = driver<int (*)(uint64_t, size_t)>("cuda_on_cpu_owns");
  return owns(uint64_t(at), floats * sizeof(float));
}

void nothing(Operation&) {}

/// Adds an operation to the group, or makes a group of only this one.
Status add(Shared* comm, void* stream, std::function<void(Operation&)> begin,
           std::function<void(Operation&)> end) {
  if (!comm || !*comm) return fail(InvalidArgument, "no communicator");
  if ((*comm)->aborted) return fail(InvalidUsage, "the communicator was aborted");
  if (!group) group = std::make_shared<Group>();
  group->stream = stream;
  auto operation = std::make_shared<Operation>();
  operation->comm = *comm, operation->begin = begin, operation->end = end;
  group->operations.push_back(operation);
  return depth ? Ok : end_group();
}

template <typename Each>
void each_other(const Comm& comm, Each each) {
  for (int rank = 0; rank < comm.world; rank++)
    if (rank != comm.rank) each(rank);
}

/// `to` = the sum of the ranks' blocks; this rank's is at `own`, the others send theirs.
void sum(Operation& operation, const float* own, float* to, size_t floats) {
  const Comm& comm = *operation.comm;
  for (size_t i = 0; i < floats; i++) {
    float total = 0;
    for (int rank = comm.world - 1; rank >= 0; rank--) {
      float part = rank == comm.rank ? own[i] : operation.kept[rank * floats + i];
      total = rank == comm.world - 1 ? part : total + part;
    }
    to[i] = total;
  }
}
}  // namespace

#define API extern "C" __attribute__((visibility("default")))

API void nccl_on_cpu_behave(const Behaviour* wanted) {
  behaviour = *wanted;
  calls_made = queries_made = 0;
  last_failure[0] = 0;
}
API void nccl_on_cpu_counts(uint64_t counts[2]) { counts[0] = calls_made, counts[1] = queries_made; }

API Status ncclGetVersion(int* version) { return *version = behaviour.version, Ok; }
API const char* ncclGetErrorString(Status status) {
  switch (status) {
    case Ok: return "no error";
    case InternalError: return "internal error - please report this issue to the NCCL developers";
    case InvalidArgument: return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case InvalidUsage: return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case InProgress: return "NCCL operation in progress";
    default: return "unknown result code";
  }
}
API const char* ncclGetLastError(Shared*) { return last_failure; }

struct Id { char name[128]; };
API Status ncclGetUniqueId(Id* id) {
  if (fails()) return InternalError;
  static std::atomic<unsigned> made;
  *id = {};
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  snprintf(id->name, NAME, "/alexnet-nccl-%d-%u-%lx", getpid(), made++, now.tv_nsec);
  return Ok;
}

struct Config { size_t size; unsigned magic, version; int blocking; };
API Status ncclCommInitRankConfig(Shared** made, int world, Id id, int rank, Config* config) {
  *made = nullptr;
  if (fails()) return InternalError;
  if (config->magic != 0xcafebeef || config->blocking != 0 || config->size < sizeof(Config))
    return fail(InvalidArgument, "a configuration that this stand-in does not know");
  if (world < 1 || rank < 0 || rank >= world) return fail(InvalidArgument, "no such rank");
  auto comm = std::make_shared<Comm>();
  comm->rank = rank, comm->world = world, comm->name = id.name;
  int file = shm_open(id.name, O_RDWR | O_CREAT, 0600);
  void* at = MAP_FAILED;
  if (file >= 0 && !ftruncate(file, off_t(comm->bytes())))
    at = mmap(nullptr, comm->bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (file >= 0) close(file);
  if (at == MAP_FAILED) abort();
  comm->region = static_cast<Region*>(at);
  if (comm->region->arrived.fetch_add(1) + 1 == uint64_t(world)) shm_unlink(id.name);
  return *made = new Shared(comm), InProgress;
}
API Status ncclCommGetAsyncError(Shared* comm, Status* status) {
  if (++queries_made == behaviour.failing_query)
    return *status = InternalError, fail(InternalError, "a planned failure"), Ok;
  bool all = (*comm)->region->arrived.load() >= uint64_t((*comm)->world);
  return *status = (*comm)->wrong ? (*comm)->wrong : all ? Ok : InProgress, Ok;
}
API Status ncclCommFinalize(Shared*) { return fails() ? InternalError : InProgress; }
Status forget(Shared* comm, bool abort) {
  (*comm)->aborted = abort;
  shm_unlink((*comm)->name.c_str());  // if some rank never joined
  return delete comm, Ok;
}
API Status ncclCommDestroy(Shared* comm) { return forget(comm, false); }
API Status ncclCommAbort(Shared* comm) { return forget(comm, true); }

API Status ncclGroupStart() { return fails() ? InternalError : (depth++, Ok); }
API Status ncclGroupEnd() {
  if (depth == 0) return fail(InvalidUsage, "no group has begun");
  bool planned = fails();
  if (--depth) return Ok;
  if (planned) return group.reset(), InternalError;
  return end_group();
}

API Status ncclAllReduce(const float* from, float* to, size_t n, int type, int op, Shared* comm,
                         void* stream) {
  if (fails()) return InternalError;
  if (type != Float || op != Sum || !owned(from, n) || !owned(to, n))
    return fail(InvalidArgument, "all_reduce of something else");
  auto begin = [=](Operation& o) {
    o.kept.resize(size_t(o.comm->world) * n);
    each_other(*o.comm, [&](int r) {
      o.transfers.push_back({true, r, (char*)from, n * sizeof(float)});
      o.transfers.push_back({false, r, (char*)&o.kept[r * n], n * sizeof(float)});
    });
  };
  return add(comm, stream, begin, [=](Operation& o) { sum(o, from, to, n); });
}
API Status ncclReduceScatter(const float* from, float* to, size_t n, int type, int op, Shared* comm,
                             void* stream) {
  if (fails()) return InternalError;
  if (type != Float || op != Sum || !owned(from, n * (*comm)->world) || !owned(to, n))
    return fail(InvalidArgument, "reduce_scatter of something else");
  auto begin = [=](Operation& o) {
    o.kept.resize(size_t(o.comm->world) * n);
    each_other(*o.comm, [&](int r) {
      o.transfers.push_back({true, r, (char*)(from + r * n), n * sizeof(float)});
      o.transfers.push_back({false, r, (char*)&o.kept[r * n], n * sizeof(float)});
    });
  };
  return add(comm, stream, begin, [=](Operation& o) { sum(o, from + o.comm->rank * n, to, n); });
}
API Status ncclAllGather(const float* from, float* to, size_t n, int type, Shared* comm,
                         void* stream) {
  if (fails()) return InternalError;
  if (type != Float || !owned(from, n) || !owned(to, n * (*comm)->world))
    return fail(InvalidArgument, "all_gather of something else");
  auto begin = [=](Operation& o) {
    each_other(*o.comm, [&](int r) {
      o.transfers.push_back({true, r, (char*)from, n * sizeof(float)});
      o.transfers.push_back({false, r, (char*)(to + r * n), n * sizeof(float)});
    });
  };
  return add(comm, stream, begin, [=](Operation& o) {
    memmove(to + o.comm->rank * n, from, n * sizeof(float));
  });
}
API Status ncclBroadcast(const float* from, float* to, size_t n, int type, int root, Shared* comm,
                         void* stream) {
  if (fails()) return InternalError;
  if (type != Float || !owned(from, n) || !owned(to, n) || root < 0 || root >= (*comm)->world)
    return fail(InvalidArgument, "broadcast of something else");
  auto begin = [=](Operation& o) {
    if (o.comm->rank != root) o.transfers.push_back({false, root, (char*)to, n * sizeof(float)});
    else each_other(*o.comm, [&](int r) {
      o.transfers.push_back({true, r, (char*)from, n * sizeof(float)});
    });
  };
  return add(comm, stream, begin, nothing);
}
Status point_to_point(bool out, char* at, size_t n, int type, int peer, Shared* comm, void* stream) {
  if (fails()) return InternalError;
  if (type != Float || !owned(at, n) || peer < 0 || peer >= (*comm)->world || peer == (*comm)->rank)
    return fail(InvalidArgument, "a message of something else");
  auto begin = [=](Operation& o) { o.transfers.push_back({out, peer, at, n * sizeof(float)}); };
  return add(comm, stream, begin, nothing);
}
API Status ncclSend(const void* at, size_t n, int type, int peer, Shared* comm, void* stream) {
  return point_to_point(true, (char*)at, n, type, peer, comm, stream);
}
API Status ncclRecv(void* at, size_t n, int type, int peer, Shared* comm, void* stream) {
  return point_to_point(false, (char*)at, n, type, peer, comm, stream);
}
