//! JPEGs of all kinds against libjpeg-turbo: the pixels of sound ones, and which are damaged.

#[path = "jpeg/damage.rs"]
mod damage;

use alexnet_data::decode::{Reason, decode};
use augment::Image;
use flate2::read::ZlibDecoder;
use sha2::{Digest, Sha256};
use std::io::Read;

/// A file of fixtures/jpeg_matrix.py.
struct Case {
    name: String,
    size: (usize, usize),
    bytes: Vec<u8>,
    hash: [u8; 8],
}

fn matrix() -> Vec<Case> {
    let mut bytes = Vec::new();
    let packed = &include_bytes!("../fixtures/jpeg-matrix.bin")[..];
    ZlibDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    let mut rest = &bytes[..];
    let mut take = |len: usize| {
        let (taken, after) = rest.split_at(len);
        rest = after;
        (taken, !after.is_empty())
    };
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    let mut cases = Vec::new();
    loop {
        let len = number(take(2).0);
        let name = String::from_utf8(take(len).0.to_vec()).unwrap();
        let size = (number(take(2).0), number(take(2).0));
        let len = number(take(4).0);
        let bytes = take(len).0.to_vec();
        let (hash, is_more) = take(8);
        cases.push(Case { name, size, bytes, hash: hash.try_into().unwrap() });
        if !is_more {
            return cases;
        }
    }
}

fn decoded(bytes: &[u8]) -> Result<Image, Reason> {
    let mut image = Image::default();
    decode(bytes, &mut image).map(|()| image)
}

/// Scan scripts x sampling x restart intervals x sizes x sequential and progressive, with colours
/// stored in five ways, and all that markers may say.
#[test]
fn pixels_are_those_of_libjpeg_turbo_bit_for_bit() {
    let cases = matrix();
    assert!(cases.len() >= 600, "{}", cases.len());
    let mut wrong = Vec::new();
    for Case { name, size, bytes, hash } in &cases {
        match decoded(bytes) {
            Err(reason) => wrong.push(format!("{name}: {reason}")),
            Ok(image) => {
                let is_size = (image.height, image.width) == *size;
                if !is_size || Sha256::digest(&image.pixels)[..8] != hash[..] {
                    wrong.push(format!("{name}: {} x {}", image.width, image.height));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Files that were once read wrong, and what Pillow 13.0.0 reads: FNV-1a of the pixels.
#[test]
fn cases_that_failed_before() {
    let fnv = |bytes: &[u8]| {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |value: u64, &byte| {
            (value ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    for (name, bytes, hash) in [
        (
            "each",
            &include_bytes!("../fixtures/jpeg-cases/noninterleaved-420.jpg")[..],
            0x2589_749f_b976_538e,
        ),
        (
            "small luma",
            include_bytes!("../fixtures/jpeg-cases/luma-smaller-than-chroma.jpg"),
            0x7785_133a_3bc5_ff51,
        ),
        (
            "JFIF first",
            include_bytes!("../fixtures/jpeg-cases/jfif-and-adobe0.jpg"),
            0x2589_749f_b976_538e,
        ),
        (
            "strays",
            include_bytes!("../fixtures/jpeg-cases/bytes-between-segments.jpg"),
            0x2589_749f_b976_538e,
        ),
    ] {
        let image = decoded(bytes).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert_eq!(fnv(&image.pixels), hash, "{name}: {:#x}", fnv(&image.pixels));
    }
    let reason = decoded(include_bytes!("../fixtures/jpeg-cases/arithmetic.jpg")).unwrap_err();
    assert!(matches!(reason, Reason::Unsupported(_)), "{reason:?}");
    assert!(reason.to_string().contains("arithmetic coding is not supported"), "{reason}");
    let reason = decoded(include_bytes!("../fixtures/jpeg-cases/cut-with-eoi.jpg")).unwrap_err();
    assert!(matches!(reason, Reason::Damaged(_)), "{reason:?}");
}
