use super::*;
use ndarray::{Array2, array};
use proptest::prelude::*;
use testkit::{Slots, cases, close, each_device, random_array, same_bits_for_threads};

type Op = fn(&mut Device, &Geometry, Slot, Slot) -> Result<()>;

fn run(device: &mut Device, op: Op, g: &Geometry, x: &Array2<f32>, y: &Array2<f32>) -> Vec<f32> {
    let mut slots = Slots::new();
    let (x, y) = (slots.array(x), slots.array(y));
    slots.load(device);
    op(device, g, x, y).unwrap();
    device.download(y).unwrap()
}

#[test]
fn two_halves_join() {
    let (a, b) = (array![[1.0, 2.0], [3.0, 4.0]], array![[5.0, 6.0], [7.0, 8.0]]);
    let place = |width, first| ColumnRange { width, first };
    let g = |first| Geometry { rows: 2, count: 2, x: place(2, 0), y: place(4, first) };
    each_device(|device| {
        let y = run(device, copy, &g(0), &a, &Array2::from_elem((2, 4), 0.5));
        assert_eq!(y, [1.0, 2.0, 0.5, 0.5, 3.0, 4.0, 0.5, 0.5]);
        let y = run(device, add, &g(2), &b, &Array2::from_shape_vec((2, 4), y).unwrap());
        assert_eq!(y, [1.0, 2.0, 5.5, 6.5, 3.0, 4.0, 7.5, 8.5]);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(64, 256)))]

    #[test]
    fn equal_the_reference(
        (rows, count) in (0usize..40, 0usize..40),
        [x_before, x_after, y_before, y_after] in [0usize..20, 0usize..20, 0usize..20, 0usize..20],
    ) {
        let place = |before, after| ColumnRange { width: before + count + after, first: before };
        let (x, y) = (place(x_before, x_after), place(y_before, y_after));
        let g = Geometry { rows, count, x, y };
        let (x, y) = (random_array(1, (rows, x.width)), random_array(2, (rows, y.width)));
        each_device(|device| {
            close(&run(device, copy, &g, &x, &y), &reference::copy(&g, &x, &y), 0.0);
            close(&run(device, add, &g, &x, &y), &reference::add(&g, &x, &y), 0.0);
        });
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let (x, y) = (ColumnRange { width: 130, first: 1 }, ColumnRange { width: 300, first: 170 });
    let g = Geometry { rows: 777, count: 129, x, y };
    let (x, y) = (random_array(1, (777, 130)), random_array(2, (777, 300)));
    same_bits_for_threads(|threads| run(&mut Device::cpu(threads), add, &g, &x, &y));
}
