//! ImageNet's data sets as they are handed out: nothing needs to be unpacked first.
//!
//! * [`Contest`]: the archives of ILSVRC-2012 and 2010; [`verify_md5`]: whether they are whole
//! * `tiny_imagenet`: 200 of the classes at 64 x 64 pixels
//!
//! Of ILSVRC-2012 are read `ILSVRC2012_img_train.tar`, a tar of one tar a class;
//! `ILSVRC2012_img_val.tar`; and of `ILSVRC2012_devkit_t12.tar.gz` the files `data/meta.mat` and
//! `data/ILSVRC2012_validation_ground_truth.txt`.
//!
//! Of 2010 the names are assumed that its readme and Fuel's converter give:
//! `ILSVRC2010_images_train.tar` and `ILSVRC2010_images_val.tar`, built alike up to folders in the
//! members' names; `ILSVRC2010_devkit-1.0.tar.gz`; and `patch_images.tar` with `train/` and `val/`,
//! whose images replace those of the same name, if it is there.
//!
//! The classes are the synsets without children. Those of the training archive must be the same,
//! with as many images as `meta.mat` says. The test archives are not read: the labels of 2012 were
//! never published.
//!
//! Labels count the classes in the order of their WordNet ids, as torchvision and Caffe do. The
//! development kit's own order, which is cuda-convnet's plus one, is kept as
//! [`Class::devkit_id`](crate::collection::Class::devkit_id).

mod contest;
mod devkit;
pub(crate) mod lists;
mod md5_sum;
mod survey;
pub(crate) mod tiny_imagenet;

pub use contest::Contest;
pub use md5_sum::{Md5, has_published_md5, verify_md5};

/// Whether `id` is a noun of WordNet: `n` and eight digits.
pub(crate) fn is_wnid(id: &str) -> bool {
    let digits = id.strip_prefix('n');
    digits.is_some_and(|d| d.len() == 8 && d.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
