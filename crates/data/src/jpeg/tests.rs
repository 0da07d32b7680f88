use super::*;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::*;
use random::{Purpose, Stream};

#[path = "../../tests/fuzzing/another.rs"]
mod another;

/// Made by fixtures/plain.py, with FNV-1a of the pixels that Pillow 13.0.0 (libjpeg-turbo 3.1)
/// decodes.
const OF_PILLOW: [(&str, &[u8], u64); 5] = [
    ("444", include_bytes!("../../fixtures/plain-444.jpg"), 0x9847_5928_838c_7ad1),
    ("422", include_bytes!("../../fixtures/plain-422.jpg"), 0xd95e_3852_7b98_98fc),
    ("420", include_bytes!("../../fixtures/plain-420.jpg"), 0x5065_ec4e_4d5d_e480),
    ("grey", include_bytes!("../../fixtures/plain-grey.jpg"), 0xf41b_0dc9_3f54_3949),
    ("coarse", include_bytes!("../../fixtures/coarse-420.jpg"), 0xc596_47c4_e045_eea5),
];

fn whole(bytes: &[u8]) -> Result<Image, Reason> {
    let mut image = Image::default();
    let part = |height, width| Ok(Rectangle::whole((height, width)));
    Jpeg::default().decode(bytes, part, Extent::Whole, &mut image).map(|()| image)
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |value, &byte| {
        (value ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn pixels_are_those_of_libjpeg_bit_for_bit() {
    for (name, bytes, hash) in OF_PILLOW {
        let image = whole(bytes).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert_eq!((image.height, image.width), (43, 61), "{name}");
        assert_eq!(fnv(&image.pixels), hash, "{name}: {:#x}", fnv(&image.pixels));
    }
}

/// An image by an encoder of its own.
#[derive(Clone, Debug)]
struct Plain {
    size: (u16, u16),
    quality: u8,
    /// 0: grey.
    sampling: usize,
    restart: u16,
    is_progressive: bool,
    /// Of the noise that is added to soft colours: 0 is none, 255 is nothing else.
    noise: u8,
}

impl Plain {
    fn encoded(&self) -> Vec<u8> {
        let (height, width) = self.size;
        let mut draws = Stream::new(7, Purpose::Test, 0, 0);
        let mut pixels = Vec::new();
        let channels = if self.sampling == 0 { 1 } else { 3 };
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            for channel in 0..channels {
                let soft = f32::from(y * 3 + x * 2 + channel * 80) * 0.05;
                let soft = (soft.sin() * 120.0 + 128.0) as u8;
                pixels.push(soft.wrapping_add(draws.below(1 + u32::from(self.noise)) as u8));
            }
        }
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, self.quality);
        let factors = [
            SamplingFactor::F_1_1,
            SamplingFactor::F_1_1,
            SamplingFactor::F_2_1,
            SamplingFactor::F_1_2,
            SamplingFactor::F_2_2,
        ];
        encoder.set_sampling_factor(factors[self.sampling]);
        if self.restart > 0 {
            encoder.set_restart_interval(self.restart);
        }
        encoder.set_progressive(self.is_progressive);
        let color = if self.sampling == 0 { ColorType::Luma } else { ColorType::Rgb };
        encoder.encode(&pixels, width, height, color).unwrap();
        bytes
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    let quality = prop_oneof![1u8..=100, Just(95), Just(100)];
    let restart = prop_oneof![Just(0u16), 1u16..12];
    let size = (1u16..70, 1u16..90);
    (size, quality, 0usize..5, restart, any::<bool>(), any::<u8>()).prop_map(
        |(size, quality, sampling, restart, is_progressive, noise)| Plain {
            size,
            quality,
            sampling,
            restart,
            is_progressive,
            noise,
        },
    )
}

fn parts() -> impl Strategy<Value = [u8; 4]> {
    any::<[u8; 4]>()
}

/// A part that is not empty.
fn part_in(draws: [u8; 4], height: usize, width: usize) -> Rectangle {
    let [top, left, rows, columns] = draws.map(usize::from);
    let (top, left) = (top % height, left % width);
    let (height, width) = (1 + rows % (height - top), 1 + columns % (width - left));
    Rectangle { top, left, height, width }
}

fn window(image: &Image, part: Rectangle) -> Vec<u8> {
    let size = (part.height, part.width);
    let mut pixels = vec![0; size.0 * size.1 * 3];
    augment::crop(&image.pixels, image.width, part.top, part.left, size, &mut pixels);
    pixels
}

proptest! {
    /// What the fuzz target checks: another decoder's pixels to two levels, the same in parts and
    /// with all coefficients kept.
    #[test]
    fn close_to_another_decoder(plain in plain()) {
        let bytes = plain.encoded();
        prop_assert!(whole(&bytes).is_ok(), "{plain:?} is refused");
        crate::fuzzing::jpeg(&bytes, another::decode);
    }

    /// The pixels of a part are those of the whole, however much of the file is read; and nothing
    /// stays behind from the image before.
    #[test]
    fn a_part_is_a_part_of_the_whole(before in plain(), plain in plain(), draws in parts()) {
        let (bytes, mut jpeg, mut image) = (plain.encoded(), Jpeg::default(), Image::default());
        let all = whole(&bytes).unwrap();
        let part = part_in(draws, all.height, all.width);
        for (extent, bytes) in [
            (Extent::Whole, before.encoded()),
            (Extent::Needed, bytes.clone()),
            (Extent::Whole, bytes),
        ] {
            let chosen = |height, width| Ok(part_in(draws, height, width));
            prop_assert!(jpeg.decode(&bytes, chosen, extent, &mut image).is_ok());
            if (image.height, image.width) == (all.height, all.width) && bytes == plain.encoded() {
                prop_assert_eq!(window(&image, part), window(&all, part));
            }
            image.pixels.fill(draws[0]);
        }
    }

    /// The transform is within a level of the formula (ITU T.81, A.3.3).
    #[test]
    fn the_transform_agrees_with_its_formula(
        coefficients in prop::collection::vec((0usize..64, -300i16..300), 0..20),
        last in prop_oneof![Just(9usize), Just(63)],
    ) {
        let (mut block, mut formula) = ([0i16; 64], [[0.0f64; 8]; 8]);
        for (place, value) in coefficients {
            block[usize::from(header::ZIGZAG[place.min(last)])] = value;
        }
        let scale = |k: usize| if k == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
        let angle = |at: usize, k: usize| ((2 * at + 1) * k) as f64 * std::f64::consts::PI / 16.0;
        let wave = |at: usize, k: usize| angle(at, k).cos();
        for (y, row) in formula.iter_mut().enumerate() {
            for (x, sample) in row.iter_mut().enumerate() {
                for (place, &value) in block.iter().enumerate() {
                    let (v, u) = (place / 8, place % 8);
                    let share = scale(u) * scale(v) * wave(y, v) * wave(x, u) / 4.0;
                    *sample += f64::from(value) * 2.0 * share;
                }
                *sample = (*sample + 128.0).clamp(0.0, 255.0);
            }
        }
        let mut samples = [0; 64];
        idct::block(&block, &[2; 64], last, &mut samples, 8);
        for (&sample, formula) in samples.iter().zip(formula.as_flattened()) {
            prop_assert!((f64::from(sample) - formula).abs() < 1.0, "{sample}, not {formula}");
        }
    }
}

#[test]
fn truncated_files_are_rejected() {
    for (name, bytes, _) in OF_PILLOW {
        for length in 0..bytes.len() {
            assert!(whole(&bytes[..length]).is_err(), "{name}: {length} of {}", bytes.len());
        }
    }
}

/// A grey image of three blocks, coded by hand: 1 bit a mean, 2 bits an end of block.
fn by_hand(coded: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0];
    bytes.extend([8; 64]);
    bytes.extend([0xFF, 0xC0, 0, 11, 8, 0, 8, 0, 24, 1, 1, 0x11, 0]);
    // Codes for means: 0 is no difference, 10 has one bit more.
    bytes.extend([0xFF, 0xC4, 0, 21, 0x00, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    // For others: 00 ends, 01 is one bit, 10 is sixteen zeros, 110 is ten bits after 14 zeros.
    bytes.extend([0xFF, 0xC4, 0, 23, 0x10, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([0x00, 0x01, 0xF0, 0xEA]);
    bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0]);
    bytes.extend(coded);
    bytes.extend([0xFF, 0xD9]);
    bytes
}

/// Each of these is decoded, or not, for a reason that the bits show.
#[test]
fn blocks_by_hand() {
    let greys = |bytes: &[u8]| {
        whole(&by_hand(bytes)).ok().map(|image| [0, 8, 16].map(|x| image.pixel(0, x)[0]))
    };
    // 0 00, 10 1 00, 10 0 00, filled up with ones: same, one step up (8 / 8), one step down.
    assert_eq!(greys(&[0b0001_0100, 0b1000_0111]), Some([128, 129, 128]));
    // Seven bits are left over at most.
    assert_eq!(greys(&[0b0001_0100, 0b1000_0111, 0xFE]), None);
    assert_eq!(greys(&[0b0001_0100]), None);
    // 111 begins no code.
    assert_eq!(greys(&[0b0111_0100, 0b1000_0111]), None);
    // Three times sixteen zeros, and fourteen before a coefficient: its place is the last, 63.
    let to_place_63 = [0b0101_0101, 0b1010_0000, 0b0000_0000, 0b0011_1111];
    assert!(greys(&to_place_63).is_some());
    // The same after another coefficient, and there is no such place.
    assert_eq!(greys(&[0b0101_0100, 0b1111_0100, 0b0000_0000, 0b0000_0111]), None);
}

/// Whole zero bytes before the marker are padding, if there are few.
#[test]
fn few_zeros_are_padding() {
    let coded = |zeros: usize| [&[0b0001_0100, 0b1000_0111][..], &vec![0; zeros]].concat();
    assert!(whole(&by_hand(&coded(7))).is_ok());
    let reason = whole(&by_hand(&coded(8))).unwrap_err().to_string();
    assert!(reason.contains("more coded pixels"), "{reason}");
}

/// A small file may claim scans without end, or more coefficients than are kept.
#[test]
fn bombs_of_scans_are_refused() {
    let mut plain = Plain {
        size: (16, 16),
        quality: 80,
        sampling: 0,
        restart: 0,
        is_progressive: true,
        noise: 0,
    };
    let bytes = plain.encoded();
    let scan = bytes.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap();
    let last = &bytes[scan..bytes.len() - 2];
    let bomb = [&bytes[..scan], &last.repeat(1000), &[0xFF, 0xD9]].concat();
    let reason = whole(&bomb).unwrap_err().to_string();
    assert!(reason.contains("out of order"), "{reason}");
    plain.sampling = 1;
    let mut bytes = plain.encoded();
    let frame = bytes.windows(2).position(|pair| pair == [0xFF, 0xC2]).unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[0x20, 0, 0x20, 0]); // 8192 x 8192
    let mut jpeg = Jpeg::default();
    let all = |height, width| Ok(Rectangle::whole((height, width)));
    let mut image = Image::default();
    let refused = jpeg.decode(&bytes, all, Extent::Whole, &mut image).unwrap_err();
    assert!(matches!(refused, Reason::UnusableSize(_)), "{refused}");
    assert_eq!(image.pixels.capacity(), 0);
}
