use super::*;

/// Recorded by fixtures/operations.py with torchvision 0.29.2: `get_params` for given draws.
#[test]
fn sides_are_torchvisions() {
    let recorded = include_str!("../../fixtures/erasing.txt");
    let mut count = 0;
    for line in recorded.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let size = (words[0].parse().unwrap(), words[1].parse().unwrap());
        let at = [words[2], words[3]].map(|word| word.parse().unwrap());
        let (height, width) = Erasing::default().sides(size, at);
        if words[4] == "does" {
            assert!(height >= size.0 || width >= size.1, "{line}");
        } else {
            assert_eq!((height.to_string(), width.to_string()), (words[4].into(), words[5].into()));
        }
        count += 1;
    }
    assert_eq!(count, 24);
}

#[test]
fn rectangles_are_distributed_as_specified() {
    let erasing = Erasing { probability: 0.25, ..Erasing::default() };
    let (n, size) = (40_000, (200, 100));
    let (mut erased, mut area, mut below) = (0.0, 0.0, 0.0);
    for sample in 0..n {
        let Some(hole) = erasing.draw(3, 1, sample, size) else { continue };
        assert!(hole.top + hole.height <= 200 && hole.left + hole.width <= 100, "{hole:?}");
        erased += 1.0;
        area += (hole.height * hole.width) as f64 / 20_000.0;
        below += f64::from(u8::from(2 * hole.top + hole.height > 200));
    }
    // Binomial standard error 0.0022; five of them.
    assert!((erased / f64::from(n) - 0.25f64).abs() < 0.011, "{erased}");
    // Without rejection the mean is 0.175; wide ones that do not fit are large. Standard error of
    // the mean 0.09 / 100.
    let mean: f64 = area / erased;
    assert!((0.15..0.18).contains(&mean), "{mean}");
    assert!((below / erased - 0.5f64).abs() < 0.03, "{below}");
    let always = Erasing { probability: 1.0, ..erasing };
    assert!((0..1000).all(|sample| always.draw(3, 1, sample, (224, 224)).is_some()));
    assert!((0..1000).all(|sample| {
        always.draw(3, 1, sample, (1, 1)).is_none_or(|hole| hole.height * hole.width == 0)
    }));
}

#[test]
fn the_fill_replaces_the_rectangle_only() {
    let hole = Rectangle { top: 1, left: 2, height: 2, width: 1 };
    let filled = |fill| {
        let mut pixels = [9; 3 * 4 * 3];
        Erasing { fill, ..Erasing::default() }.fill(&mut pixels, 4, hole, (1, 2, 3));
        pixels
    };
    assert_eq!(filled(EraseFill::Mean), [9; 36]);
    let mut expected = [9; 36];
    expected[18..21].copy_from_slice(&[1, 2, 3]);
    expected[30..33].copy_from_slice(&[1, 2, 3]);
    assert_eq!(filled(EraseFill::Color([1, 2, 3])), expected);
    let noise = filled(EraseFill::Noise);
    assert_eq!(noise, filled(EraseFill::Noise));
    for at in (0..36).filter(|at| !(18..21).contains(at) && !(30..33).contains(at)) {
        assert_eq!(noise[at], 9);
    }
    assert_ne!(noise[18..21], noise[30..33]);
}
