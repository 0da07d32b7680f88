//! Pure functions on 8-bit RGB pixels: crops, resizing, colour changes. No files, threads or
//! device.
//!
//! Pixels are stored as height x width x 3 bytes, row by row.
//!
//! * [`Image`]: pixels with height and width, in a reusable buffer
//! * [`Resizer`]: antialiased resizing, bit-identical to Pillow's bilinear filter
//! * [`crop`], [`mirror`]: a window of an image, and its reflection
//! * [`View`]: the position of a crop: random for training, in the centre, or ten or nine of them
//!   for testing
//! * [`ColorShift`]: the PCA colour shift of the paper's section 4.1, as its source computes it
//! * [`ExifMode`]: whether a camera's orientation is applied
//! * [`ResizedCrop`], [`Jitter`], [`Policy`], [`Erasing`], [`Mixing`]: later methods, for
//!   comparison: torchvision's random resized crop, colour jitter, RandAugment and TrivialAugment,
//!   random erasing, mixup and CutMix
//! * [`Operation`]: rotation, shear, posterize, equalize and others, one at a time
//!
//! Features, off by default: `image` and `ndarray` convert an [`Image`] from and to the types of
//! these crates; `rand` adds `View::sample`, for any of its generators.
//!
//! ```
//! use alexnet_augment::{Image, Resizer, View};
//!
//! let photo = Image::filled(30, 40, [200, 100, 50]); // 30 rows of 40 pixels
//! let mut square = Image::default();
//! Resizer::default().square(&photo, 16, &mut square); // shorter side to 16, then the centre
//!
//! let view = View::draw(7, 3, 41, (16, 16), (12, 12)); // seed 7, epoch 3, sample 41
//! let mut crop = vec![0; 12 * 12 * 3];
//! alexnet_augment::crop(&square.pixels, 16, view.top, view.left, (12, 12), &mut crop);
//! if view.mirror {
//!     alexnet_augment::mirror(&mut crop, 12);
//! }
//! assert_eq!(crop[..3], [200, 100, 50]);
//! ```
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod affine;
mod color_shift;
#[cfg(any(feature = "image", feature = "ndarray"))]
mod convert;
mod erase;
mod exif;
mod image;
mod jitter;
mod mix;
mod operation;
mod policy;
mod resize;
mod resized_crop;
mod tone;
mod view;

pub use affine::{Affine, Interpolation};
pub use color_shift::{ColorFormula, ColorShift};
pub use erase::{EraseFill, Erasing};
pub use exif::ExifMode;
pub use image::{Image, crop, mirror};
pub use jitter::{Adjustment, Jitter, adjust};
pub use mix::{Mix, Mixing};
pub use operation::{Canvas, Operation, Sampling};
pub use policy::Policy;
pub use resize::{CentreRounding, CentreSquare, Resizer, shorter_side_to};
pub use resized_crop::{Rectangle, ResizedCrop};
pub use view::{View, nine_crop, ten_crop};
