//! Damaged files: whatever libjpeg-turbo's djpeg complains of must be found, and nothing in sound
//! files.
//!
//! What djpeg says is kept in fixtures/jpeg-damage.txt, made by fixtures/jpeg_damage.py, which has
//! this test write its files to $ALEXNET_JPEG_DAMAGE.

use super::decoded;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use random::{Purpose, Stream};
use std::collections::BTreeMap;
use std::path::Path;

const KINDS: [&str; 5] = ["cut-and-closed", "cut", "zeroed", "removed", "more-rows"];
/// Of each source and kind.
const COPIES: usize = 32;
/// How many bytes are zeroed or removed.
const LOST: usize = 512;

/// Sound files: process, name, bytes.
fn sources() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut all = Vec::new();
    let factors = [SamplingFactor::F_1_1, SamplingFactor::F_2_2, SamplingFactor::F_2_1];
    for is_progressive in [false, true] {
        let process = if is_progressive { "progressive" } else { "baseline" };
        for (number, (color, restart)) in
            [(ColorType::Rgb, 0), (ColorType::Rgb, 0), (ColorType::Rgb, 9), (ColorType::Luma, 0)]
                .into_iter()
                .enumerate()
        {
            let (width, height) = (150 + 8 * number as u16, 130);
            let channels = if color == ColorType::Luma { 1 } else { 3 };
            let mut draws = Stream::new(19, Purpose::Test, 0, number as u32);
            let mut pixels = Vec::new();
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                for channel in 0..channels {
                    let wave = f32::from(y * 3 + x * 2 + channel * 80) * 0.05;
                    let soft = (wave.sin() * 100.0 + 128.0) as u8;
                    let is_rough = (x / 32 + y / 32) % 2 == 0;
                    let noise = draws.below(if is_rough { 60 } else { 6 }) as u8;
                    pixels.push(soft.saturating_add(noise));
                }
            }
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes, 85);
            encoder.set_progressive(is_progressive);
            encoder.set_sampling_factor(factors[number % 3]);
            if restart > 0 {
                encoder.set_restart_interval(restart);
            }
            encoder.encode(&pixels, width, height, color).unwrap();
            all.push((process, format!("{process}-{number}"), bytes));
        }
    }
    all
}

/// A damaged copy.
fn damaged(bytes: &[u8], kind: &str, draws: &mut Stream) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let scan = bytes.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap();
    let mut between = |from: usize, to: usize| from + draws.below((to - from) as u32) as usize;
    let cut = between(scan + 20, bytes.len() - 2);
    let lost = between(scan + 20, bytes.len() - 2 - LOST);
    match kind {
        "cut-and-closed" => {
            bytes.truncate(cut);
            bytes.extend([0xFF, 0xD9]);
        }
        "cut" => bytes.truncate(cut),
        "zeroed" => bytes[lost..lost + LOST].fill(0),
        "removed" => _ = bytes.drain(lost..lost + LOST),
        _ => {
            let is_frame = |pair: &[u8]| pair[0] == 0xFF && [0xC0, 0xC1, 0xC2].contains(&pair[1]);
            let frame = bytes.windows(2).position(is_frame).unwrap();
            let height = u16::from_be_bytes([bytes[frame + 5], bytes[frame + 6]]);
            let more = height + between(16, 200) as u16;
            bytes[frame + 5..frame + 7].copy_from_slice(&more.to_be_bytes());
        }
    }
    bytes
}

/// All damaged files: process and kind, name, bytes.
fn files() -> Vec<((&'static str, &'static str), String, Vec<u8>)> {
    let mut files = Vec::new();
    for (number, (process, name, bytes)) in sources().into_iter().enumerate() {
        for (at, kind) in KINDS.into_iter().enumerate() {
            let mut draws = Stream::new(20, Purpose::Test, at as u32, number as u32);
            for copy in 0..COPIES {
                let damaged = damaged(&bytes, kind, &mut draws);
                files.push(((process, kind), format!("{name}-{kind}-{copy}.jpg"), damaged));
            }
        }
    }
    files
}

fn fnv(bytes: &[u8], start: u64) -> u64 {
    bytes
        .iter()
        .fold(start, |value, &byte| (value ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Of a thousand damaged files at least 95 % of what djpeg complains of is found, of each kind, and
/// in sequential and progressive files alike.
#[test]
fn damage_that_djpeg_reports_is_found() {
    let files = files();
    assert!(files.len() >= 1000, "{}", files.len());
    let hash = files.iter().fold(0, |hash, (_, _, bytes)| fnv(bytes, hash));
    if let Some(folder) = std::env::var_os("ALEXNET_JPEG_DAMAGE") {
        for (number, (_, name, bytes)) in files.iter().enumerate() {
            std::fs::write(Path::new(&folder).join(format!("{number:04}-{name}")), bytes).unwrap();
        }
        std::fs::write(Path::new(&folder).join("hash"), format!("{hash:016x}")).unwrap();
        return;
    }
    let verdicts = include_str!("../../fixtures/jpeg-damage.txt");
    let (of, verdicts) = verdicts.split_once('\n').unwrap();
    let other = "the files are others than djpeg has seen: run fixtures/jpeg_damage.py";
    assert_eq!(of, format!("{hash:016x}"), "{other}");
    let verdicts: Vec<bool> =
        verdicts.chars().filter(|c| !c.is_whitespace()).map(|c| c == '1').collect();
    assert_eq!(verdicts.len(), files.len(), "{other}");

    let mut counts: BTreeMap<_, [usize; 3]> = BTreeMap::new();
    for ((group, _, bytes), complains) in files.iter().zip(verdicts) {
        let is_found = decoded(bytes).is_err();
        let [complaints, found, more] = counts.entry(*group).or_default();
        *complaints += usize::from(complains);
        *found += usize::from(complains && is_found);
        *more += usize::from(!complains && is_found);
    }
    for ((process, kind), [complaints, found, more]) in counts {
        println!("{process}, {kind}: djpeg {complaints}, found {found}, and {more} of its others");
        assert!(complaints > 0 && found * 100 >= complaints * 95, "{process}, {kind}: {found}");
    }
}

#[test]
fn intact_files_are_not_reported() {
    for (_, name, bytes) in sources() {
        assert!(decoded(&bytes).is_ok(), "{name}");
    }
}
