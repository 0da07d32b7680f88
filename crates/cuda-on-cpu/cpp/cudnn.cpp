// A stand-in for libcudnn.so.9 on machines without a GPU: the functions that this project calls.
// Plain loops compute a convolution from its descriptors. Convolutions overwrite their workspace,
// and operands must be aligned. The algorithms that it finds include some that must not be used:
// they are not deterministic, need too much memory or turn out to be unsupported. Like cuDNN it
// loads an algorithm on its first use, which fails while a stream is being recorded. Work runs in
// the streams of the stand-in for libcuda, recorded work too.
#include <dlfcn.h>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace {
using Status = int;
enum : Status {
  Ok = 0, BadParam = 2000, NotSupported = 3000, InternalError = 4000, ExecutionFailed = 5000
};
constexpr int Nhwc = 1, Float = 0, CrossCorrelation = 1, Tf32 = 0, Fma = 3, Deterministic = 1;
constexpr size_t Workspace = 4096, Alignment = 16;
using Work = std::function<int()>;

template <typename F>
F driver(const char* name) {
  void* library = dlopen("libcuda.so", RTLD_NOW | RTLD_NOLOAD);
  void* found = library ? dlsym(library, name) : nullptr;
  if (!found) abort();  // streams need the stand-in for libcuda
  return reinterpret_cast<F>(found);
}
/// The value of NAME=VALUE in CUDA_ON_CPU, for programs.
uint64_t setting(const char* name, uint64_t otherwise) {
  const char* text = getenv("CUDA_ON_CPU");
  const char* found = text ? strstr(text, name) : nullptr;
  return found && found[strlen(name)] == '=' ? strtoull(found + strlen(name) + 1, nullptr, 10)
                                             : otherwise;
}

// Set by a test, for the calling thread.
struct Behaviour {
  uint64_t version;
  uint64_t failing_call;  // counted from 1; 0: none
  uint64_t unsupported;
};
thread_local Behaviour behaviour = {
    setting("cudnn_version", 91900), setting("cudnn_failing_call", 0), 0};
thread_local uint64_t calls_made, convolutions_made;
thread_local int64_t alive;

bool fails() { return ++calls_made == behaviour.failing_call; }

enum Pass { Forward, Input, Filter };
struct Four { int extents[4]; };  // images or filters, channels, rows, columns
struct Convolution { int pad[2], stride[2], groups, math; };
/// A convolution: x, w and y, padding, strides, groups, precision.
struct Shape {
  Four x, w, y;
  Convolution by;
};
struct Handle {
  void* stream = nullptr;
  std::set<std::array<int, 20>> loaded;  // passes, algorithms and shapes
};
struct Found {
  int algorithm;
  Status status;
  float ms;
  size_t memory;
  int determinism, math, reserved[3];
};

bool owned(const void* at, size_t bytes) {
  static auto owns = driver<int (*)(uint64_t, size_t)>("cuda_on_cpu_owns");
  return owns(uint64_t(at), bytes);
}
bool recording() {
  static auto is_recording = driver<int (*)()>("cuda_on_cpu_recording");
  return is_recording();
}

template <typename T>
Status create(T** made) {
  if (fails() || recording()) return InternalError;
  return *made = new T(), alive++, Ok;
}
template <typename T>
Status destroy(T* made) {
  return delete made, alive--, Ok;
}
Status describe(Four* it, int format, int type, int n, int c, int h, int w) {
  if (fails()) return InternalError;
  if (format != Nhwc || type != Float || std::min({n, c, h, w}) < 1) return BadParam;
  return *it = {{n, c, h, w}}, Ok;
}

size_t count(const Four& it) {
  auto& e = it.extents;
  return size_t(e[0]) * size_t(e[1]) * size_t(e[2]) * size_t(e[3]);
}
/// Which of x, w and y a pass computes.
int output_of(Pass pass) { return pass == Forward ? 2 : pass == Input ? 0 : 1; }

bool fit(const Shape& s) {
  auto &x = s.x.extents, &w = s.w.extents, &y = s.y.extents;
  bool right = y[0] == x[0] && y[1] == w[0];
  right &= w[1] * s.by.groups == x[1] && w[0] % s.by.groups == 0;
  for (int side = 0; side < 2; side++) {
    int spare = x[2 + side] + 2 * s.by.pad[side] - w[2 + side];
    right &= spare >= 0 && s.by.stride[side] > 0 && y[2 + side] == spare / s.by.stride[side] + 1;
  }
  return right && (s.by.math == Fma || s.by.math == Tf32);
}

constexpr int Usable[] = {1, 1, 1};  // the usable algorithm of each pass
/// The algorithms found, the best first: before the usable one come a transform, one that is not
/// supported, one that is not deterministic, and one that needs more memory than any GPU has.
std::vector<Found> algorithms(Pass pass) {
  auto make = [](int algorithm, Status status, int determinism) {
    return Found{algorithm, status, -1, 0, determinism, Fma, {}};
  };
  std::vector<Found> found;
  if (pass == Forward)
    found = {make(7, Ok, 1), make(3, NotSupported, 1), make(2, Ok, 1), make(0, Ok, 1)};
  else
    found = {make(5, Ok, 1), make(0, Ok, 0), make(pass == Filter ? 3 : 0, Ok, 0)};
  if (behaviour.unsupported != 2) found.push_back(make(Usable[pass], Ok, Deterministic));
  return found;
}
constexpr int Huge = 2, Vain = 0;  // algorithms of the forward pass

Status find(Pass pass, const Shape& shape, int wanted, int* n, Found* found) {
  *n = 0;
  if (fails() || recording()) return InternalError;
  if (!fit(shape) || wanted < 1) return BadParam;
  if (behaviour.unsupported == 1) return NotSupported + 4;
  for (const Found& algorithm : algorithms(pass))
    if (*n < wanted) found[(*n)++] = algorithm;
  return Ok;
}

Status workspace(Pass pass, const Shape& shape, int algorithm, size_t* bytes) {
  if (fails()) return InternalError;
  if (!fit(shape)) return BadParam;
  *bytes = pass == Forward && algorithm == Huge ? size_t(1) << 40 : Workspace;
  return pass == Forward && algorithm == 3 ? NotSupported : Ok;
}

/// Calls `visit` with the indices (x, w, y) of every product outside the padding.
template <typename F>
void each_product(const Shape& s, F visit) {
  auto &x = s.x.extents, &w = s.w.extents, &y = s.y.extents;
  int filters = w[0] / s.by.groups;
  for (int n = 0; n < y[0]; n++)
    for (int i = 0; i < y[2]; i++)
      for (int j = 0; j < y[3]; j++)
        for (int f = 0; f < y[1]; f++)
          for (int kh = 0; kh < w[2]; kh++)
            for (int kw = 0; kw < w[3]; kw++) {
              int row = i * s.by.stride[0] + kh - s.by.pad[0];
              int column = j * s.by.stride[1] + kw - s.by.pad[1];
              if (row < 0 || row >= x[2] || column < 0 || column >= x[3]) continue;
              size_t at_x = ((size_t(n) * x[2] + row) * x[3] + column) * x[1] + f / filters * w[1];
              size_t at_w = ((size_t(f) * w[2] + kh) * w[3] + kw) * w[1];
              size_t at_y = ((size_t(n) * y[2] + i) * y[3] + j) * y[1] + f;
              for (int c = 0; c < w[1]; c++) visit(at_x + c, at_w + c, at_y);
            }
}

/// A tensor, rounded to the precision of its products.
std::vector<float> rounded(const float* from, size_t n, int math) {
  std::vector<float> to(from, from + n);
  for (float& value : to) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (math == Fma || !std::isfinite(value)) continue;
    bits = (bits + 0x1000) & ~0x1fffu;
    memcpy(&value, &bits, sizeof bits);
  }
  return to;
}

void convolve(Pass pass, const Shape& s, const float* a, const float* b, float* c) {
  size_t sizes[] = {count(s.x), count(s.w), count(s.y)};
  size_t first = pass == Input ? 1 : 0, second = pass == Forward ? 1 : 2;
  auto left = rounded(a, sizes[first], s.by.math), right = rounded(b, sizes[second], s.by.math);
  std::vector<double> sums(sizes[output_of(pass)]);
  switch (pass) {
    case Forward:
      each_product(s, [&](size_t x, size_t w, size_t y) { sums[y] += double(left[x]) * right[w]; });
      break;
    case Input:
      each_product(s, [&](size_t x, size_t w, size_t y) { sums[x] += double(left[w]) * right[y]; });
      break;
    case Filter:
      each_product(s, [&](size_t x, size_t w, size_t y) { sums[w] += double(left[x]) * right[y]; });
  }
  for (size_t i = 0; i < sums.size(); i++) c[i] = float(sums[i]);
}

Status start(Pass pass, Handle* handle, const float* one, const Shape& s, const float* a,
             const float* b, int algorithm, void* at, size_t bytes, const float* zero, float* c) {
  if (fails()) return InternalError;
  if (pass == Forward && algorithm == Vain) return NotSupported;
  size_t sizes[] = {count(s.x), count(s.w), count(s.y)};
  size_t first = pass == Input ? 1 : 0, second = pass == Forward ? 1 : 2;
  bool right = handle->stream && *one == 1 && *zero == 0 && fit(s) && algorithm == Usable[pass];
  for (const void* operand : {(const void*)a, (const void*)b, (const void*)c})
    right &= uint64_t(operand) % Alignment == 0;
  right &= owned(a, sizes[first] * 4) && owned(b, sizes[second] * 4);
  right &= owned(c, sizes[output_of(pass)] * 4) && bytes >= Workspace && owned(at, bytes);
  if (!right) return BadParam;
  if (behaviour.unsupported == 3) return NotSupported;
  std::array<int, 20> key = {pass, algorithm};
  static_assert(sizeof(Shape) == 18 * sizeof(int));
  memcpy(&key[2], &s, sizeof s);
  if (handle->loaded.insert(key).second && recording()) return ExecutionFailed;
  convolutions_made++;
  Work work = [=] {
    static auto spend = driver<int (*)(const char*)>("cuda_on_cpu_spend");
    spend(("cudnn" + std::to_string(algorithm)).c_str());
    memset(at, 0xff, bytes);
    return convolve(pass, s, a, b, c), 0;
  };
  static auto record = driver<int (*)(void*, Work*)>("cuda_on_cpu_record");
  return record(handle->stream, &work) ? InternalError : Ok;
}
}  // namespace

#define API extern "C" __attribute__((visibility("default")))

API void cudnn_on_cpu_behave(const Behaviour* wanted) {
  behaviour = *wanted;
  calls_made = convolutions_made = 0;
}
API void cudnn_on_cpu_counts(uint64_t counts[3]) {
  counts[0] = calls_made, counts[1] = convolutions_made, counts[2] = uint64_t(alive);
}

API size_t cudnnGetVersion() { return behaviour.version; }
API const char* cudnnGetErrorString(Status status) {
  switch (status) {
    case BadParam: return "CUDNN_STATUS_BAD_PARAM";
    case NotSupported: return "CUDNN_STATUS_NOT_SUPPORTED";
    case InternalError: return "CUDNN_STATUS_INTERNAL_ERROR";
    case ExecutionFailed: return "CUDNN_STATUS_EXECUTION_FAILED";
    default: return "CUDNN_STATUS_SUCCESS";
  }
}
API Status cudnnCreate(Handle** handle) { return create(handle); }
API Status cudnnDestroy(Handle* handle) { return destroy(handle); }
API Status cudnnSetStream(Handle* handle, void* stream) {
  return fails() ? InternalError : (handle->stream = stream, Ok);
}

API Status cudnnCreateTensorDescriptor(Four** made) { return create(made); }
API Status cudnnDestroyTensorDescriptor(Four* it) { return destroy(it); }
API Status cudnnSetTensor4dDescriptor(Four* it, int format, int type, int n, int c, int h, int w) {
  return describe(it, format, type, n, c, h, w);
}
API Status cudnnCreateFilterDescriptor(Four** made) { return create(made); }
API Status cudnnDestroyFilterDescriptor(Four* it) { return destroy(it); }
API Status cudnnSetFilter4dDescriptor(Four* it, int type, int format, int k, int c, int h, int w) {
  return describe(it, format, type, k, c, h, w);
}

API Status cudnnCreateConvolutionDescriptor(Convolution** made) { return create(made); }
API Status cudnnDestroyConvolutionDescriptor(Convolution* it) { return destroy(it); }
API Status cudnnSetConvolution2dDescriptor(Convolution* it, int pad_h, int pad_w, int u, int v,
                                           int dilation_h, int dilation_w, int mode, int type) {
  if (fails()) return InternalError;
  bool plain = dilation_h == 1 && dilation_w == 1 && mode == CrossCorrelation && type == Float;
  if (!plain || pad_h < 0 || pad_w < 0 || u < 1 || v < 1) return BadParam;
  return *it = {{pad_h, pad_w}, {u, v}, 1, Tf32}, Ok;
}
API Status cudnnSetConvolutionGroupCount(Convolution* it, int groups) {
  if (fails()) return InternalError;
  return groups < 1 ? BadParam : (it->groups = groups, Ok);
}
API Status cudnnSetConvolutionMathType(Convolution* it, int math) {
  if (fails()) return InternalError;
  return math != Fma && math != Tf32 ? BadParam : (it->math = math, Ok);
}

// The three passes, whose tensors come in different orders.
API Status cudnnGetConvolutionForwardAlgorithm_v7(Handle*, const Four* x, const Four* w,
                                                  const Convolution* by, const Four* y, int wanted,
                                                  int* n, Found* found) {
  return find(Forward, {*x, *w, *y, *by}, wanted, n, found);
}
API Status cudnnGetConvolutionBackwardDataAlgorithm_v7(Handle*, const Four* w, const Four* y,
                                                       const Convolution* by, const Four* x,
                                                       int wanted, int* n, Found* found) {
  return find(Input, {*x, *w, *y, *by}, wanted, n, found);
}
API Status cudnnGetConvolutionBackwardFilterAlgorithm_v7(Handle*, const Four* x, const Four* y,
                                                         const Convolution* by, const Four* w,
                                                         int wanted, int* n, Found* found) {
  return find(Filter, {*x, *w, *y, *by}, wanted, n, found);
}
API Status cudnnGetConvolutionForwardWorkspaceSize(Handle*, const Four* x, const Four* w,
                                                   const Convolution* by, const Four* y,
                                                   int algorithm, size_t* bytes) {
  return workspace(Forward, {*x, *w, *y, *by}, algorithm, bytes);
}
API Status cudnnGetConvolutionBackwardDataWorkspaceSize(Handle*, const Four* w, const Four* y,
                                                        const Convolution* by, const Four* x,
                                                        int algorithm, size_t* bytes) {
  return workspace(Input, {*x, *w, *y, *by}, algorithm, bytes);
}
API Status cudnnGetConvolutionBackwardFilterWorkspaceSize(Handle*, const Four* x, const Four* y,
                                                          const Convolution* by, const Four* w,
                                                          int algorithm, size_t* bytes) {
  return workspace(Filter, {*x, *w, *y, *by}, algorithm, bytes);
}
API Status cudnnConvolutionForward(Handle* handle, const float* one, const Four* x, const float* a,
                                   const Four* w, const float* b, const Convolution* by,
                                   int algorithm, void* at, size_t bytes, const float* zero,
                                   const Four* y, float* c) {
  return start(Forward, handle, one, {*x, *w, *y, *by}, a, b, algorithm, at, bytes, zero, c);
}
API Status cudnnConvolutionBackwardData(Handle* handle, const float* one, const Four* w,
                                        const float* a, const Four* y, const float* b,
                                        const Convolution* by, int algorithm, void* at,
                                        size_t bytes, const float* zero, const Four* x, float* c) {
  return start(Input, handle, one, {*x, *w, *y, *by}, a, b, algorithm, at, bytes, zero, c);
}
API Status cudnnConvolutionBackwardFilter(Handle* handle, const float* one, const Four* x,
                                          const float* a, const Four* y, const float* b,
                                          const Convolution* by, int algorithm, void* at,
                                          size_t bytes, const float* zero, const Four* w,
                                          float* c) {
  return start(Filter, handle, one, {*x, *w, *y, *by}, a, b, algorithm, at, bytes, zero, c);
}
