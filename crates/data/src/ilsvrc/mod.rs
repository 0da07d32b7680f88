//! ImageNet's data sets as distributed, without unpacking.
//!
//! * [`Contest`]: the archives of ILSVRC-2012 and 2010; [`verify_md5`]: verifies their checksums
//! * `tiny_imagenet`: 200 of the classes at 64 x 64 pixels
//!
//! For ILSVRC-2012 it reads `ILSVRC2012_img_train.tar`, a tar with one tar per class;
//! `ILSVRC2012_img_val.tar`; and the files `data/meta.mat` and
//! `data/ILSVRC2012_validation_ground_truth.txt` of `ILSVRC2012_devkit_t12.tar.gz`.
//!
//! For 2010 it assumes the file names in its readme and in Fuel's converter:
//! `ILSVRC2010_images_train.tar` and `ILSVRC2010_images_val.tar`, with the same structure except
//! for folders in the members' names; `ILSVRC2010_devkit-1.0.tar.gz`; and optionally
//! `patch_images.tar` with `train/` and `val/`, whose images replace those of the same name.
//!
//! The classes are the synsets without children. They must be those of the training archive, with
//! the numbers of images in `meta.mat`. The test archives are not read: the labels of 2012 were
//! never published.
//!
//! Labels follow the order of the WordNet ids, as in torchvision and Caffe. The order of the
//! development kit, which is cuda-convnet's plus one, is available as
//! [`Class::devkit_id`](crate::collection::Class::devkit_id).

mod contest;
mod devkit;
pub(crate) mod lists;
mod md5_sum;
mod scan;
pub(crate) mod tiny_imagenet;

pub use contest::Contest;
pub use md5_sum::{Md5, has_published_md5, verify_md5};

/// Whether `id` is a WordNet id of a noun: `n` and eight digits.
pub(crate) fn is_wnid(id: &str) -> bool {
    let digits = id.strip_prefix('n');
    digits.is_some_and(|d| d.len() == 8 && d.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
