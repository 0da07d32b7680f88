//! Holds out test images where a data set has none.

use random::Permutation;
use std::path::Path;

/// One image in this many of each class is held out.
pub(crate) const HELD_OUT: usize = 10;

/// Splits `images` into training images and a held-out tenth of each class, always the same. Both
/// keep their order. A class of one image has none held out; if no class has a second image, all
/// images are the test images, too. The note says what was done in `root`, and `why`.
pub(crate) fn hold_out<T: Clone>(
    root: &Path,
    why: &str,
    images: &[T],
    label_of: impl Fn(&T) -> u32,
) -> (Vec<T>, Vec<T>, String) {
    let (train, test) = split(images, label_of);
    let root = root.display();
    if test.is_empty() {
        let note = format!(
            "{root}: {why}, and no class has a second image to hold out: the test images are the \
             training images"
        );
        return (train.clone(), train, note);
    }
    let note = format!(
        "{root}: {why}: {} of {} images are held out for testing, one in {HELD_OUT} of each class",
        test.len(),
        images.len()
    );
    (train, test, note)
}

fn split<T: Clone>(images: &[T], label_of: impl Fn(&T) -> u32) -> (Vec<T>, Vec<T>) {
    let label = |image: usize| label_of(&images[image]);
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.sort_by_key(|&image| label(image));
    let mut held = vec![false; images.len()];
    for class in order.chunk_by(|&a, &b| label(a) == label(b)) {
        let shuffled = Permutation::new(0, label(class[0]), class.len() as u64);
        let count = if class.len() == 1 { 0 } else { (class.len() / HELD_OUT).max(1) };
        (0..count as u64).for_each(|at| held[class[shuffled.at(at) as usize]] = true);
    }
    let pick = |wanted: bool| -> Vec<T> {
        let images = images.iter().zip(&held).filter(|&(_, &held)| held == wanted);
        images.map(|(image, _)| image.clone()).collect()
    };
    (pick(false), pick(true))
}
