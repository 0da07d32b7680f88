// A stand-in for libcublasLt.so.13 on machines without a GPU: the functions that this project
// calls. Plain loops compute a product from its descriptors, with strides and transposes. Products
// overwrite their workspace, and operands must be aligned as the preference says. Work runs in the
// streams of the stand-in for libcuda, recorded work too.
#include <dlfcn.h>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>

namespace {
using Status = int;
enum : Status { Ok = 0, InvalidValue = 7, InternalError = 14, NotSupported = 15 };
constexpr int Float = 0, ComputeF32 = 68, ComputeBf16 = 75, ComputeTf32 = 77, Transposed = 1;
constexpr uint32_t InPlace = 1;
constexpr size_t Workspace = 4096;
using Work = std::function<int()>;

// Set by a test, for the calling thread.
struct Behaviour {
  uint64_t version;
  uint64_t failing_call;  // counted from 1; 0: none
  uint64_t unsupported;
  uint64_t algorithms;  // found, if as many are requested
  uint64_t failing_algorithm, wrong_algorithm;  // counted from 1; 0: none
};
thread_local Behaviour behaviour = {130100, 0, 0, 0, 0, 0};
thread_local uint64_t calls_made, products_made;
thread_local int64_t alive;

bool fails() { return ++calls_made == behaviour.failing_call; }

struct Product { int compute, transposed[2]; };
struct Layout { uint64_t rows, columns; int64_t leading; };
struct Preference {
  uint64_t workspace;
  uint32_t reduction = 7, alignment[4] = {256, 256, 256, 256};
};
struct Algorithm {
  int compute, transposed[2];
  uint32_t alignment[4];
  uint32_t number;
  uint32_t rows, columns, depth, workspace;
};
static_assert(sizeof(Algorithm) <= 64);
struct Found {
  uint64_t algorithm[8];
  size_t workspace;
  Status state;
  float waves;
  int reserved[4];
};

template <typename F>
F driver(const char* name) {
  void* library = dlopen("libcuda.so", RTLD_NOW | RTLD_NOLOAD);
  void* found = library ? dlsym(library, name) : nullptr;
  if (!found) abort();  // streams need the stand-in for libcuda
  return reinterpret_cast<F>(found);
}
/// The value set by a test; if it is 0, that of NAME=VALUE in CUDA_ON_CPU.
uint64_t setting(uint64_t set, const char* name, uint64_t otherwise) {
  static auto variable = driver<uint64_t (*)(const char*, uint64_t)>("cuda_on_cpu_told");
  return set ? set : variable(name, otherwise);
}
bool owned(const void* at, size_t bytes) {
  static auto owns = driver<int (*)(uint64_t, size_t)>("cuda_on_cpu_owns");
  return owns(uint64_t(at), bytes);
}

template <typename T>
Status create(void** made, T value) {
  if (fails()) return InternalError;
  return *made = new T(value), alive++, Ok;
}
template <typename T>
Status destroy(void* made) {
  return delete static_cast<T*>(made), alive--, Ok;
}

/// The floats from a matrix's first element to its last.
size_t extent(const Layout& m) { return (m.columns - 1) * m.leading + m.rows; }

float rounded(int compute, float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if (!std::isfinite(value) || compute == ComputeF32) return value;
  if (compute == ComputeTf32) bits = (bits + 0x1000) & ~0x1fffu;
  else bits = (bits + 0x7fff + (bits >> 16 & 1)) & ~0xffffu;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/// Whether the sizes fit; sets the algorithm for them.
bool fit(const Product& p, const Layout& a, const Layout& b, const Layout& c, Algorithm& it) {
  auto rows = [](const Layout& m, bool t) { return t ? m.columns : m.rows; };
  it.compute = p.compute;
  for (int i = 0; i < 2; i++) it.transposed[i] = p.transposed[i];
  it.rows = uint32_t(c.rows), it.columns = uint32_t(c.columns);
  it.depth = uint32_t(rows(a, !p.transposed[0]));
  bool strides = true;
  for (auto* m : {&a, &b, &c}) strides &= m->rows && m->columns && m->leading >= int64_t(m->rows);
  return strides && rows(a, p.transposed[0]) == c.rows && rows(b, p.transposed[1]) == it.depth &&
         rows(b, !p.transposed[1]) == c.columns;
}
}  // namespace

#define API extern "C" __attribute__((visibility("default")))

API void cublaslt_on_cpu_behave(const Behaviour* wanted) {
  behaviour = *wanted;
  calls_made = products_made = 0;
}
API void cublaslt_on_cpu_counts(uint64_t counts[3]) {
  counts[0] = calls_made, counts[1] = products_made, counts[2] = uint64_t(alive);
}

API size_t cublasLtGetVersion() { return behaviour.version; }
API const char* cublasLtGetStatusName(Status status) {
  switch (status) {
    case InvalidValue: return "CUBLAS_STATUS_INVALID_VALUE";
    case InternalError: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case NotSupported: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return "CUBLAS_STATUS_SUCCESS";
  }
}
API Status cublasLtCreate(void** handle) { return create(handle, char(0)); }
API Status cublasLtDestroy(void* handle) { return destroy<char>(handle); }

API Status cublasLtMatmulDescCreate(void** made, int compute, int scale) {
  bool known = compute == ComputeF32 || compute == ComputeTf32 || compute == ComputeBf16;
  if (!known || scale != Float) return InvalidValue;
  return create(made, Product{compute, {0, 0}});
}
API Status cublasLtMatmulDescSetAttribute(void* product, int attribute, const int* value,
                                          size_t bytes) {
  if (fails()) return InternalError;
  if ((attribute != 3 && attribute != 4) || bytes != 4 || (*value != 0 && *value != Transposed))
    return InvalidValue;
  return static_cast<Product*>(product)->transposed[attribute - 3] = *value, Ok;
}
API Status cublasLtMatmulDescDestroy(void* made) { return destroy<Product>(made); }

API Status cublasLtMatrixLayoutCreate(void** made, int type, uint64_t rows, uint64_t columns,
                                      int64_t leading) {
  return type == Float ? create(made, Layout{rows, columns, leading}) : InvalidValue;
}
API Status cublasLtMatrixLayoutDestroy(void* made) { return destroy<Layout>(made); }

API Status cublasLtMatmulPreferenceCreate(void** made) { return create(made, Preference{}); }
API Status cublasLtMatmulPreferenceSetAttribute(void* made, int attribute, const void* value,
                                                size_t bytes) {
  if (fails()) return InternalError;
  auto* preference = static_cast<Preference*>(made);
  void* to = attribute == 1   ? (void*)&preference->workspace
             : attribute == 3 ? (void*)&preference->reduction
             : attribute >= 5 && attribute <= 8 ? (void*)&preference->alignment[attribute - 5]
                                                : nullptr;
  if (!to || bytes != (attribute == 1 ? 8u : 4u)) return InvalidValue;
  return memcpy(to, value, bytes), Ok;
}
API Status cublasLtMatmulPreferenceDestroy(void* made) { return destroy<Preference>(made); }

API Status cublasLtMatmulAlgoGetHeuristic(void*, const Product* product, const Layout* a,
                                          const Layout* b, const Layout* c, const Layout* d,
                                          const Preference* preference, int wanted, Found* found,
                                          int* count) {
  *count = 0;
  if (fails()) return InternalError;
  if (behaviour.unsupported == 1) return NotSupported;
  if (behaviour.unsupported == 2) return Ok;
  Algorithm it = {};
  // A sum reduced in place has no guaranteed order.
  bool ordered = !(preference->reduction & InPlace);
  if (wanted < 1 || c != d || !ordered || !fit(*product, *a, *b, *c, it)) return InvalidValue;
  memcpy(it.alignment, preference->alignment, sizeof it.alignment);
  it.workspace = preference->workspace < Workspace ? 0 : Workspace;
  *count = std::min(wanted, int(setting(behaviour.algorithms, "cublaslt_ways", 1)));
  for (it.number = 0; it.number < uint32_t(*count); it.number++) {
    found[it.number] = {};
    memcpy(found[it.number].algorithm, &it, sizeof it);
    found[it.number].workspace = it.workspace, found[it.number].state = Ok;
  }
  return Ok;
}

API Status cublasLtMatmul(void* handle, const Product* product, const float* alpha, const float* a,
                          const Layout* as, const float* b, const Layout* bs, const float* beta,
                          const float* c, const Layout* cs, float* d, const Layout* ds,
                          const Algorithm* algorithm, void* workspace, size_t bytes, void* stream) {
  if (fails()) return InternalError;
  Algorithm it = *algorithm, own = {};
  bool right = handle && *alpha == 1 && *beta == 0 && c == d && cs == ds;
  right &= fit(*product, *as, *bs, *ds, own) && own.rows == it.rows && own.columns == it.columns &&
           own.depth == it.depth && own.compute == it.compute;
  for (int i = 0; i < 2; i++) right &= own.transposed[i] == it.transposed[i];
  const void* operands[] = {a, b, c, d};
  for (int i = 0; i < 4; i++) right &= uint64_t(operands[i]) % it.alignment[i] == 0;
  right &= owned(a, extent(*as) * 4) && owned(b, extent(*bs) * 4) && owned(d, extent(*ds) * 4);
  right &= bytes >= it.workspace;
  if (it.workspace) right &= uint64_t(workspace) % 256 == 0 && owned(workspace, it.workspace);
  if (!right) return InvalidValue;
  if (behaviour.unsupported == 3) return NotSupported;
  if (it.number + 1 == setting(behaviour.failing_algorithm, "cublaslt_failing_way", 0))
    return NotSupported;
  bool wrong = it.number + 1 == setting(behaviour.wrong_algorithm, "cublaslt_wrong_way", 0);
  products_made++;
  size_t lead[] = {size_t(as->leading), size_t(bs->leading), size_t(ds->leading)};
  Work work = [=, lead_a = lead[0], lead_b = lead[1], lead_d = lead[2]] {
    if (it.workspace) memset(workspace, 0xff, it.workspace);
    static auto spend = driver<int (*)(const char*)>("cuda_on_cpu_spend");
    spend(("cublaslt" + std::to_string(it.number)).c_str());
    for (size_t column = 0; column < it.columns; column++) {
      for (size_t row = 0; row < it.rows; row++) {
        double sum = 0;
        for (size_t k = 0; k < it.depth; k++) {
          float left = it.transposed[0] ? a[row * lead_a + k] : a[k * lead_a + row];
          float right = it.transposed[1] ? b[k * lead_b + column] : b[column * lead_b + k];
          sum += double(rounded(it.compute, left)) * double(rounded(it.compute, right));
          if (it.number) sum = float(sum);  // results of other algorithms differ in some bits
        }
        d[column * lead_d + row] = wrong ? float(-sum) : float(sum);
      }
    }
    return 0;
  };
  static auto record = driver<int (*)(void*, Work*)>("cuda_on_cpu_record");
  return record(stream, &work) ? InternalError : Ok;
}
