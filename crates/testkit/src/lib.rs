//! For tests only: every device, comparisons, gradient checks, a counting allocator.
//!
//! An op's test lays out its operands, runs on every available device, and compares:
//!
//! * [`OpCase`]: one description of a test case, compared with the reference on every device
//! * [`each_device`], [`same_bits_for_threads`], [`same_bits_on_gpus`]: one test body for every
//!   device, thread count and order; [`own_gpu`]: a GPU for one test
//! * [`Slots`], [`device_with`]: plan and upload a set of arrays
//! * [`random_array`], [`distinct_array`]: reproducible inputs; [`wide`]: conversion to f64
//! * [`close`], [`bits_equal`]: comparisons that name the worst element
//! * [`gradient`]: central differences, and the adjoint test for linear maps
//! * [`CountingAllocator`], [`allocations_during`]: test that a step allocates nothing
//! * [`is_long`], [`cases`]: a sample in ordinary runs, everything in `cargo xtask test --long`
//! * [`geometry`]: proptest strategies for sizes at which errors show
//! * [`fuzz`]: fuzz targets without a fuzzer
//! * [`python`]: the interpreter with the programs that exported files are tested in
//! * [`disk`]: disks that fail, fill up or lose power
//! * [`Miniature`]: ILSVRC's archives with a few small images; [`mat`]: MATLAB files
//!
//! ```
//! use alexnet_testkit::{Slots, close, each_device, random_array};
//!
//! let x = random_array(1, (2, 3));
//! each_device(|device| {
//!     let mut slots = Slots::new();
//!     let x_slot = slots.array(&x);
//!     slots.load(device);
//!     close(&device.download::<f32>(x_slot).unwrap(), &x, 0.0);
//! });
//! ```

mod allocations;
mod arrays;
mod compare;
mod devices;
pub mod disk;
pub mod fuzz;
pub mod geometry;
pub mod gradient;
mod long;
pub mod mat;
mod miniature;
mod op_case;
mod python;
mod slots;

pub use allocations::{CountingAllocator, allocations_during};
pub use arrays::{distinct_array, random_array, wide};
pub use compare::{Values, bits_equal, close, close_beside_one};
pub use devices::{
    each_cpu, each_device, each_gpu, own_gpu, same_bits_for_threads, same_bits_on_gpus,
    stand_in_in_use,
};
pub use long::{cases, is_long};
pub use miniature::{Miniature, Synset};
pub use op_case::{Expected, OpCase, compare};
pub use python::{has_modules, python, python_is_missing};
pub use slots::{Slots, device_with};
