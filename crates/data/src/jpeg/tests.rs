use super::*;
use crate::decode;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::*;
use random::{Purpose, Stream};

/// Made by fixtures/plain.py, with FNV-1a of the pixels that Pillow 13.0.0 (libjpeg-turbo 3.1)
/// decodes.
const OF_PILLOW: [(&str, &[u8], u64); 5] = [
    ("444", include_bytes!("../../fixtures/plain-444.jpg"), 0x9847_5928_838c_7ad1),
    ("422", include_bytes!("../../fixtures/plain-422.jpg"), 0xd95e_3852_7b98_98fc),
    ("420", include_bytes!("../../fixtures/plain-420.jpg"), 0x5065_ec4e_4d5d_e480),
    ("grey", include_bytes!("../../fixtures/plain-grey.jpg"), 0xf41b_0dc9_3f54_3949),
    ("coarse", include_bytes!("../../fixtures/coarse-420.jpg"), 0xc596_47c4_e045_eea5),
];

fn whole(bytes: &[u8]) -> Option<Image> {
    let mut image = Image::default();
    let part = |height, width| Some(Rectangle::whole((height, width)));
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
        let image = whole(bytes).unwrap_or_else(|| panic!("{name} is plain"));
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
        let color = if self.sampling == 0 { ColorType::Luma } else { ColorType::Rgb };
        encoder.encode(&pixels, width, height, color).unwrap();
        bytes
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    let quality = prop_oneof![1u8..=100, Just(95), Just(100)];
    let restart = prop_oneof![Just(0u16), 1u16..12];
    (1u16..70, NARROWEST as u16..90, quality, 0usize..5, restart, any::<u8>()).prop_map(
        |(height, width, quality, sampling, restart, noise)| {
            let size = (height, width);
            Plain { size, quality, sampling, restart, noise }
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

/// The largest and the mean difference of all pixels but the last two rows and columns.
fn difference(a: &Image, b: &Image) -> (u8, f64) {
    assert_eq!((a.height, a.width), (b.height, b.width));
    let (height, width) = (a.height.saturating_sub(2), a.width - 2);
    let (mut most, mut sum) = (0, 0.0);
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for (one, other) in a.pixel(y, x).into_iter().zip(b.pixel(y, x)) {
            most = most.max(one.abs_diff(other));
            sum += f64::from(one.abs_diff(other));
        }
    }
    (most, sum / (height * width * 3).max(1) as f64)
}

proptest! {
    /// Another decoder rounds otherwise, and blends chroma at the far edges with what the encoder
    /// filled up the last units with. A wrong coefficient or a shift by a pixel is another matter.
    #[test]
    fn close_to_another_decoder(plain in plain()) {
        let bytes = plain.encoded();
        let ours = whole(&bytes);
        prop_assert!(ours.is_some(), "{plain:?} is refused");
        let mut theirs = Image::default();
        decode::decode_any_jpeg(&bytes, &mut theirs).unwrap();
        let (most, mean) = difference(&ours.unwrap(), &theirs);
        prop_assert!(most <= 5 && mean < 1.0, "{plain:?}: {most}, {mean}");
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
            let chosen = |height, width| Some(part_in(draws, height, width));
            prop_assert!(jpeg.decode(&bytes, chosen, extent, &mut image).is_some());
            if (image.height, image.width) == (all.height, all.width) && bytes == plain.encoded() {
                prop_assert_eq!(window(&image, part), window(&all, part));
            }
            image.pixels.fill(draws[0]);
        }
    }

    /// What this decoder takes, the one that it stands in for takes, too.
    #[test]
    fn damage_is_left_to_the_other_decoder(
        plain in plain(),
        places in prop::collection::vec((any::<u16>(), any::<u8>()), 1..4),
        draws in parts(),
    ) {
        let mut bytes = plain.encoded();
        for (place, byte) in places {
            let place = usize::from(place) % bytes.len();
            bytes[place] = byte;
        }
        if let Some(ours) = whole(&bytes) {
            let mut theirs = Image::default();
            let outcome = decode::decode_any_jpeg(&bytes, &mut theirs);
            prop_assert_eq!(outcome, Ok(()), "{:?}", plain);
            prop_assert_eq!((ours.height, ours.width), (theirs.height, theirs.width));
        }
        let part = |height, width| Some(part_in(draws, height, width));
        let _ = Jpeg::default().decode(&bytes, part, Extent::Needed, &mut Image::default());
    }

    /// The transform is within a level of the formula (ITU T.81, A.3.3).
    #[test]
    fn the_transform_is_the_formulas(
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
fn what_is_cut_off_is_refused() {
    for (name, bytes, _) in OF_PILLOW {
        for length in 0..bytes.len() {
            assert!(whole(&bytes[..length]).is_none(), "{name}: {length} of {}", bytes.len());
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
    let greys =
        |bytes: &[u8]| whole(&by_hand(bytes)).map(|image| [0, 8, 16].map(|x| image.pixel(0, x)[0]));
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
