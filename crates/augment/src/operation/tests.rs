use super::*;
use crate::Policy;

/// The images of fixtures/operations.py.
fn image(kind: &str, height: usize, width: usize) -> Vec<u8> {
    let mut x = 12345u32;
    let mut pixels = Vec::new();
    for (i, j, c) in
        (0..height).flat_map(|i| (0..width).flat_map(move |j| (0..3).map(move |c| (i, j, c))))
    {
        x = x.wrapping_mul(1664525).wrapping_add(1013904223);
        let smooth = 20 + (i * 5 + j * 3 + c * 17) % 200;
        pixels.push(if kind == "noise" { (x >> 24) as u8 } else { smooth as u8 });
    }
    pixels
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf29ce484222325, |value, &byte| {
        (value ^ u64::from(byte)).wrapping_mul(0x100000001b3)
    })
}

fn operation(name: &str, strength: f64) -> Operation {
    match name {
        "Identity" => Operation::Identity,
        "ShearX" => Operation::ShearX(strength),
        "ShearY" => Operation::ShearY(strength),
        "TranslateX" => Operation::TranslateX(strength as i32),
        "TranslateY" => Operation::TranslateY(strength as i32),
        "Rotate" => Operation::Rotate(strength),
        "Brightness" => Operation::Brightness(strength),
        "Color" => Operation::Color(strength),
        "Contrast" => Operation::Contrast(strength),
        "Sharpness" => Operation::Sharpness(strength),
        "Posterize" => Operation::Posterize(strength as u32),
        "Solarize" => Operation::Solarize(strength as f32),
        "AutoContrast" => Operation::AutoContrast,
        "Equalize" => Operation::Equalize,
        "Invert" => Operation::Invert,
        "Grayscale" => Operation::Grayscale,
        "VerticalFlip" => Operation::VerticalFlip,
        _ => panic!("{name}"),
    }
}

fn lines(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(' ').collect()).collect()
}

/// Recorded by fixtures/operations.py with torchvision 0.29.2, on tensors of bytes.
#[test]
fn every_operation_is_equal_to_torchvision_byte_for_byte() {
    let recorded = lines(include_str!("../../fixtures/operations.txt"));
    assert_eq!(recorded.len(), 530);
    let mut canvas = Canvas::default();
    for line in recorded {
        let [name, strength, mode, fill, kind, height, width, hash] = line[..] else {
            panic!("{line:?}")
        };
        let size = (height.parse().unwrap(), width.parse().unwrap());
        let interpolation = match mode {
            "nearest" => Interpolation::Nearest,
            _ => Interpolation::Bilinear,
        };
        let fill = (fill != "none").then(|| {
            let bytes: Vec<u8> = fill.split('-').map(|byte| byte.parse().unwrap()).collect();
            <[u8; 3]>::try_from(bytes).unwrap()
        });
        let mut pixels = image(kind, size.0, size.1);
        let operation = operation(name, strength.parse().unwrap());
        operation.apply(&mut pixels, size, Sampling { interpolation, fill }, &mut canvas);
        assert_eq!(format!("{:016x}", fnv(&pixels)), hash, "{line:?}");
    }
}

/// Recorded likewise: the tables of `_augmentation_space`.
#[test]
fn magnitudes_are_torchvisions() {
    let recorded = lines(include_str!("../../fixtures/magnitudes.txt"));
    for (number, line) in recorded.iter().enumerate() {
        let [policy, height, width, bins, name, signs, values @ ..] = &line[..] else {
            panic!("{line:?}")
        };
        let size = (height.parse().unwrap(), width.parse().unwrap());
        let bins = bins.parse().unwrap();
        let policy = match *policy {
            "rand" => Policy::RandAugment { ops: 1, magnitude: 0, bins },
            _ => Policy::TrivialAugmentWide { bins },
        };
        let choice = (number % 14) as u32;
        assert!(values.is_empty() || values.len() == bins as usize);
        for (at, value) in values.iter().enumerate() {
            let value: f64 = value.parse().unwrap();
            for (negative, sign) in [(false, 1.0), (true, if *signs == "+-" { -1.0 } else { 1.0 })]
            {
                let factor = matches!(*name, "Brightness" | "Color" | "Contrast" | "Sharpness");
                let strength = if factor { 1.0 + sign * value } else { sign * value };
                let got = policy.operation(choice, at as u32, negative, size);
                assert_eq!(got, operation(name, strength), "{line:?}");
            }
        }
        if values.is_empty() {
            assert_eq!(policy.operation(choice, 0, true, size), operation(name, 0.0));
        }
    }
    assert_eq!(recorded.len(), 2 * 3 * 2 * 14);
}

#[test]
fn operations_and_signs_are_equally_likely() {
    let size = (100, 100);
    let draw = |policy: Policy, sample| {
        let mut drawn = Vec::new();
        policy.draw(1, 0, sample, size, |operation| drawn.push(operation));
        drawn
    };
    let wide = Policy::TrivialAugmentWide { bins: 31 };
    let rand = Policy::RandAugment { ops: 2, magnitude: 9, bins: 31 };
    for (policy, ops) in [(wide, 1), (rand, 2)] {
        let mut counts = std::collections::HashMap::new();
        let (mut left, mut shears) = (0u32, 0.0);
        for sample in 0..14_000 {
            let drawn = draw(policy, sample);
            assert_eq!(drawn.len(), ops);
            for operation in drawn {
                *counts.entry(std::mem::discriminant(&operation)).or_insert(0u32) += 1;
                if let Operation::ShearX(tangent) = operation {
                    left += u32::from(tangent.is_sign_negative());
                    shears += tangent.abs();
                }
            }
        }
        // Of 1000 or 2000: binomial standard deviations 30 and 43; five of them.
        let (expected, within) = (1000 * ops as u32, 220);
        assert_eq!(counts.len(), 14);
        assert!(counts.values().all(|n| n.abs_diff(expected) < within), "{counts:?}");
        let shear = counts[&std::mem::discriminant(&Operation::ShearX(0.0))];
        assert!(left.abs_diff(shear / 2) < 120, "{left} of {shear}");
        // RandAugment: always 0.09. TrivialAugment: uniform from 0 to 0.99, standard error 0.009.
        let mean = shears / f64::from(shear);
        let (want, close) = if ops == 1 { (0.495, 0.045) } else { (0.09, 1e-6) };
        assert!((mean - want).abs() < close, "{mean}");
    }
    assert_eq!(draw(rand, 3), draw(rand, 3));
    assert_ne!(draw(rand, 3), draw(rand, 4));
}

#[test]
fn a_row_and_a_column_of_pixels() {
    let mut pixels = vec![1, 2, 3, 4, 5, 6, 7, 8, 9];
    Operation::VerticalFlip.apply(&mut pixels, (3, 1), Sampling::default(), &mut Canvas::default());
    assert_eq!(pixels, [7, 8, 9, 4, 5, 6, 1, 2, 3]);
    Operation::TranslateY(1).apply(
        &mut pixels,
        (3, 1),
        Sampling::default(),
        &mut Canvas::default(),
    );
    assert_eq!(pixels, [0, 0, 0, 7, 8, 9, 4, 5, 6]);
    let left = Operation::TranslateX(-1);
    left.apply(&mut pixels, (1, 3), Sampling::default(), &mut Canvas::default());
    assert_eq!(pixels, [7, 8, 9, 4, 5, 6, 0, 0, 0]);
}
