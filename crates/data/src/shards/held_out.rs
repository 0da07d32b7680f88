//! Holds out test images if a folder of shards has none.

use crate::held_out::{HELD_OUT, hold_out as split};
use std::path::Path;

/// Returns `train` and `test`; if `test` is empty, a tenth of each class of `train` instead, and a
/// note about it.
pub(super) fn hold_out<T: Clone>(
    dir: &Path,
    train: Vec<T>,
    test: Vec<T>,
    label_of: impl Fn(&T) -> u32,
) -> (Vec<T>, Vec<T>, Option<String>) {
    if !test.is_empty() {
        return (train, test, None);
    }
    let all = train.len();
    let (train, test) = split(&train, label_of);
    let dir = dir.display();
    if test.is_empty() {
        let note =
            "no class has a second image to hold out: the test images are the training images";
        return (train.clone(), train, Some(format!("{dir}: {note}")));
    }
    let count = test.len();
    let note = format!(
        "{dir}: no tar file is named `val` or `test`: {count} of {all} images are held out for \
         testing, one in {HELD_OUT} of each class"
    );
    (train, test, Some(note))
}
