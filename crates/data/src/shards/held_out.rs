//! Images to test on, where nobody has set any apart.

use random::Permutation;
use std::path::Path;

/// One image in this many is held out where nobody set test images apart.
const HELD_OUT: usize = 10;

/// Holds out a tenth of each class, always the same.
pub(super) fn hold_out<T: Clone>(
    dir: &Path,
    images: Vec<T>,
    label_of: impl Fn(&T) -> u32,
) -> (Vec<T>, Vec<T>, Vec<String>) {
    let label = |image: usize| label_of(&images[image]);
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.sort_by_key(|&image| label(image));
    let mut held = vec![false; images.len()];
    for class in order.chunk_by(|&a, &b| label(a) == label(b)) {
        let places = Permutation::new(0, label(class[0]), class.len() as u64);
        let count = if class.len() == 1 { 0 } else { (class.len() / HELD_OUT).max(1) };
        (0..count as u64).for_each(|place| held[class[places.at(place) as usize]] = true);
    }
    let pick = |wanted: bool| -> Vec<T> {
        let images = images.iter().zip(&held).filter(|&(_, &held)| held == wanted);
        images.map(|(image, _)| image.clone()).collect()
    };
    let (train, test) = (pick(false), pick(true));
    if test.is_empty() {
        let note =
            "no class has a second image to hold out: the test images are the training images";
        return (train.clone(), train, vec![format!("{}: {note}", dir.display())]);
    }
    let (count, all) = (test.len(), images.len());
    let note = format!(
        "{}: no tar file is named `val` or `test`: {count} of {all} images are held out to test \
         on, one in {HELD_OUT} of each class",
        dir.display()
    );
    (train, test, vec![note])
}
