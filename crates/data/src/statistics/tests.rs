use super::*;
use crate::faulty::Faulty;
use crate::{Shapes, Subset};
use proptest::prelude::*;
use std::sync::Arc;
use testkit::close;

type Matrix = [[f64; 3]; 3];

fn of(source: &dyn Source, threads: usize) -> Statistics {
    Statistics::of_sample(source, threads, None, &|_| ()).unwrap()
}

/// The covariance that eigenvalues and eigenvectors stand for.
fn composed(values: [f64; 3], vectors: Matrix) -> Matrix {
    let part = |i: usize, j: usize, k: usize| values[k] * vectors[k][i] * vectors[k][j];
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| part(i, j, k)).sum()))
}

fn is_orthonormal(vectors: Matrix) -> bool {
    let product = |i: usize, j: usize| (0..3).map(|k| vectors[i][k] * vectors[j][k]).sum::<f64>();
    let wanted = |i: usize, j: usize| if i == j { 1.0 } else { 0.0 };
    (0..9).all(|at| (product(at / 3, at % 3) - wanted(at / 3, at % 3)).abs() < 1e-12)
}

/// Means first and then the covariance, all in f64: what [`Statistics`] does in one pass.
#[test]
fn means_and_covariance_are_those_of_two_passes() {
    let source = Faulty::new(50, (6, 5));
    let got = of(&source, 2);
    let (images, area) = (source.len(), 6 * 5);
    let mean: Vec<f64> = (0..area * 3)
        .map(|at| source.images.iter().map(|image| f64::from(image[at])).sum::<f64>())
        .map(|sum| sum / images as f64)
        .collect();
    let pixels: Vec<[f64; 3]> = source
        .images
        .iter()
        .flat_map(|image| image.as_chunks::<3>().0)
        .map(|pixel| pixel.map(f64::from))
        .collect();
    let average = |term: &dyn Fn(&[f64; 3]) -> f64| {
        pixels.iter().map(term).sum::<f64>() / (images * area) as f64
    };
    let color: [f64; 3] = std::array::from_fn(|c| average(&|pixel| pixel[c]));
    let covariance: [f64; 9] = std::array::from_fn(|at| {
        let (i, j) = (at / 3, at % 3);
        average(&|pixel| (pixel[i] - color[i]) * (pixel[j] - color[j]))
    });
    assert_eq!(got.images, 50);
    close(&got.mean, &mean, 1e-7);
    close(&got.color, &color, 1e-7);
    let components = got.components.map(|row| row.map(f64::from));
    let composed = composed(got.variances.map(f64::from), components);
    close(composed.as_flattened(), &covariance, 1e-6);
    // The noise is made so: the first component is red with half as much green.
    assert!(got.variances[0] > 4.0 * got.variances[1], "{got:?}");
    let [red, green, blue] = got.components[0];
    assert!((green / red - 0.5).abs() < 0.05 && blue.abs() < 0.05, "{got:?}");
}

/// More pixels than 32-bit sums of products have room for at once, all at their largest.
#[test]
fn large_white_images_do_not_overflow() {
    let mut source = Faulty::new(2, (300, 300));
    source.images.iter_mut().for_each(|image| image.fill(255));
    let got = of(&source, 1);
    assert_eq!((got.color, got.variances), ([255.0; 3], [0.0; 3]));
    assert!(got.mean.iter().all(|&mean| mean == 255.0));
    assert!(is_orthonormal(got.components.map(|row| row.map(f64::from))));
}

#[test]
fn results_are_bit_identical_for_any_number_of_threads() {
    let source = Shapes::train(5, 16, 200);
    let alone = of(&source, 1);
    for threads in [2, 3, 8, 0] {
        assert_eq!(of(&source, threads), alone, "{threads} threads");
    }
}

#[test]
fn a_sample_is_spread_evenly() {
    let source = Arc::new(Faulty::new(23, (4, 4)));
    for count in [1, 5, 22] {
        let got = Statistics::of_sample(&*source, 2, Some(count), &|_| ()).unwrap();
        assert_eq!(got.images, count);
        assert_eq!(got, of(&Subset::spread(source.clone(), count), 1));
    }
    assert_eq!(Statistics::of_sample(&*source, 2, Some(1000), &|_| ()).unwrap(), of(&*source, 1));
}

#[test]
fn images_that_cannot_be_read_are_left_out() {
    let spoilt = of(&Faulty::new(12, (4, 4)).with_bad([0, 5, 11]), 3);
    let mut sound = Faulty::new(12, (4, 4));
    for index in [11, 5, 0] {
        sound.images.remove(index);
    }
    assert_eq!(spoilt.images, 9);
    assert_eq!(spoilt, of(&sound, 1));
}

#[test]
fn without_a_readable_image_the_error_names_the_first() {
    let source = Faulty::new(40, (4, 4)).with_bad(0..40);
    for threads in [1, 2, 8] {
        let error = Statistics::of_sample(&source, threads, None, &|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("noise 0: spoilt"), "{error}");
    }
}

#[test]
fn progress_counts_all_images_read_or_not() {
    let source = Faulty::new(600, (1, 1)).with_bad([7]);
    for threads in [1, 3] {
        let heard = Mutex::new(Vec::new());
        Statistics::of_sample(&source, threads, None, &|done| heard.lock().unwrap().push(done))
            .unwrap();
        let mut heard = heard.into_inner().unwrap();
        heard.sort_unstable();
        assert_eq!(heard, [256, 512, 600]);
    }
}

#[test]
fn a_stalled_read_is_reported_and_can_be_stopped() {
    crate::watch::tests::check(
        |source, timeouts, watch| {
            let mut watch = |_: usize, stalled: Option<&StalledRead>| watch(stalled);
            Statistics::of_watched(source, 3, None, timeouts, &mut watch)
        },
        |source| of(&**source, 1),
    );
    let none: Arc<dyn Source> = Arc::new(Faulty::new(40, (4, 4)).with_bad(0..40));
    let told = Statistics::of_watched(&none, 2, None, ReadTimeouts::default(), &mut |_, _| true);
    assert!(told.unwrap_err().to_string().starts_with("noise 0: spoilt"));
}

#[test]
fn a_color_shift_has_the_measured_components() {
    let measured = of(&Faulty::new(9, (4, 4)), 1);
    let shift = measured.color_shift(0.25);
    assert_eq!((shift.formula, shift.noise), (ColorFormula::Source, 0.25));
    assert_eq!((shift.variances, shift.components), (measured.variances, measured.components));
}

#[test]
fn eigenvectors_of_a_diagonal_are_the_axes() {
    let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let diagonal = |values: [f64; 3]| composed(values, axes);
    let (values, vectors) = eigen::decompose(diagonal([1.0, 3.0, 2.0]));
    assert_eq!((values, vectors), ([3.0, 2.0, 1.0], [axes[1], axes[2], axes[0]]));
    for value in [0.0, 4.0] {
        assert_eq!(eigen::decompose(diagonal([value; 3])), ([value; 3], axes));
    }
    // Just beside a diagonal: the rotation's angle overflows on its way to zero.
    let mut beside = diagonal([3.0, 2.0, 1.0]);
    (beside[0][2], beside[2][0]) = (1e-300, 1e-300);
    assert_eq!(eigen::decompose(beside), ([3.0, 2.0, 1.0], axes));
}

/// Whole numbers whose squares make 81 in each row, so that a ninth of each row has unit length.
/// The largest part of each is positive.
const TURNED: Matrix = [[1.0, 4.0, 8.0], [4.0, 7.0, -4.0], [8.0, -4.0, 1.0]];

#[test]
fn eigenvectors_of_a_rotated_matrix_are_rotated() {
    let axes = TURNED.map(|row| row.map(|part| part / 9.0));
    assert!(is_orthonormal(axes));
    // The last is no covariance, but symmetric all the same.
    for wanted in [[9.0, 5.0, 1.0], [14830.4, 1375.96, 388.911], [2.0, -1.0, -3.0]] {
        let (values, vectors) = eigen::decompose(composed(wanted, axes));
        close(&values, &wanted, 1e-14);
        close(vectors.as_flattened(), axes.as_flattened(), 1e-13);
    }
}

#[test]
fn equal_eigenvalues_have_orthogonal_eigenvectors() {
    let axes = TURNED.map(|row| row.map(|part| part / 9.0));
    for wanted in [[7.0, 2.0, 2.0], [81.0, 0.0, 0.0], [5.0, 5.0, 1.0]] {
        let matrix = composed(wanted, axes);
        let (values, vectors) = eigen::decompose(matrix);
        close(&values, &wanted, 1e-14);
        assert!(is_orthonormal(vectors), "{vectors:?}");
        close(composed(values, vectors).as_flattened(), matrix.as_flattened(), 1e-13);
        // The one that stands alone is known, the others are any two across it.
        let alone = if wanted[0] == wanted[1] { 2 } else { 0 };
        close(&vectors[alone], &axes[alone], 1e-13);
    }
}

proptest! {
    #[test]
    fn a_matrix_stretches_its_eigenvectors(parts: [i16; 6], shift in -30i32..5) {
        let [a, b, c, d, e, f] = parts.map(|part| f64::from(part) * f64::from(shift).exp2());
        let matrix = [[a, b, c], [b, d, e], [c, e, f]];
        let (values, vectors) = eigen::decompose(matrix);
        prop_assert!(is_orthonormal(vectors), "{:?}", vectors);
        prop_assert!(values.is_sorted_by(|a, b| a >= b), "{:?}", values);
        let size = matrix.as_flattened().iter().fold(0.0f64, |size, part| size.max(part.abs()));
        for (value, v) in values.into_iter().zip(vectors) {
            for (row, part) in matrix.into_iter().zip(v) {
                let stretched: f64 = row.into_iter().zip(v).map(|(a, b)| a * b).sum();
                prop_assert!((stretched - value * part).abs() <= 1e-13 * size);
            }
            let largest = v.into_iter().fold(0.0f64, |a, b| if b.abs() > a.abs() { b } else { a });
            prop_assert!(largest > 0.0, "{:?}", v);
        }
    }
}
