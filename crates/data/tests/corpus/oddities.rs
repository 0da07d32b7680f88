//! Files that are right and seldom met, and files that are wrong in ways of their own.

use super::{Case, Change, chunk, jpeg, pixels, png, png_of};
use super::{Decodes, Either, Fails};
use flate2::{Compression, write::ZlibEncoder};
use jpeg_encoder::{ColorType, SamplingFactor};
use std::io::Write;

const HEIGHT: usize = 33;
const WIDTH: usize = 41;
const WHOLE: super::Outcome = Decodes(HEIGHT, WIDTH);

const DHT: u8 = 0xC4;
const DQT: u8 = 0xDB;
const DRI: u8 = 0xDD;
const SOF: u8 = 0xC0;
const SOS: u8 = 0xDA;

/// Every file of this kind.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, outcome| {
        cases.push(Case { name: format!("odd-{name}"), bytes, outcome });
    };
    processes(&mut add);
    markers(&mut add);
    restarts(&mut add);
    attachments(&mut add);
    exif(&mut add);
    chunks(&mut add);
    cases
}

type Add<'a> = &'a mut dyn FnMut(&str, Vec<u8>, super::Outcome);

/// A JPEG as its segments, from the start-of-image marker on; the last holds the coded pixels and
/// the end.
#[derive(Clone)]
pub struct Parts(Vec<Vec<u8>>);

impl Parts {
    pub fn of(bytes: &[u8]) -> Parts {
        let (mut parts, mut at) = (vec![bytes[..2].to_vec()], 2);
        loop {
            let len = 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            parts.push(bytes[at..at + len].to_vec());
            at += len;
            if parts.last().unwrap()[1] == SOS {
                parts.push(bytes[at..].to_vec());
                return Parts(parts);
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// Places of the segments with this marker.
    fn places(&self, marker: u8) -> Vec<usize> {
        let is_it = |&at: &usize| self.0[at][0] == 0xFF && self.0[at][1] == marker;
        (1..self.0.len() - 1).filter(is_it).collect()
    }

    fn without(&self, marker: u8) -> Parts {
        let places = self.places(marker);
        assert!(!places.is_empty(), "no {marker:x}");
        let kept = self.0.iter().enumerate().filter(|(at, _)| !places.contains(at));
        Parts(kept.map(|(_, part)| part.clone()).collect())
    }

    fn twice(&self, marker: u8) -> Parts {
        let mut parts = self.clone();
        let at = self.places(marker)[0];
        parts.0.insert(at, self.0[at].clone());
        parts
    }

    /// With segments put right behind the start.
    pub fn with(&self, segments: &[Vec<u8>]) -> Parts {
        let mut parts = self.clone();
        parts.0.splice(1..1, segments.iter().cloned());
        parts
    }

    fn scan(&mut self) -> &mut Vec<u8> {
        self.0.last_mut().unwrap()
    }
}

pub fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let len = (content.len() as u16 + 2).to_be_bytes();
    [&[0xFF, marker], &len[..], content].concat()
}

fn baseline(change: Change) -> Parts {
    Parts::of(&jpeg(HEIGHT as u16, WIDTH as u16, ColorType::Rgb, change))
}

fn full() -> Parts {
    baseline(|encoder| encoder.set_sampling_factor(SamplingFactor::F_1_1))
}

/// The frame header names the coding process: of fourteen, two are read besides the baseline.
fn processes(add: Add) {
    let of = |marker: u8, bits: u8| {
        let mut parts = full();
        let at = parts.places(SOF)[0];
        parts.0[at][1] = marker;
        parts.0[at][4] = bits;
        parts.bytes()
    };
    add("extended-8-bits.jpg", of(0xC1, 8), WHOLE);
    for (name, marker) in [
        ("lossless", 0xC3),
        ("hierarchical-sequential", 0xC5),
        ("hierarchical-progressive", 0xC6),
        ("hierarchical-lossless", 0xC7),
        ("reserved", 0xC8),
        ("arithmetic", 0xC9),
        ("arithmetic-progressive", 0xCA),
        ("arithmetic-lossless", 0xCB),
        ("arithmetic-hierarchical", 0xCD),
        ("arithmetic-hierarchical-progressive", 0xCE),
        ("arithmetic-hierarchical-lossless", 0xCF),
        ("jpeg-ls", 0xF7),
    ] {
        add(&format!("{name}.jpg"), of(marker, 8), Fails("JPEG"));
    }
    for bits in [0, 1, 2, 7, 9, 12, 16, 255] {
        add(&format!("baseline-{bits}-bits.jpg"), of(SOF, bits), Fails("JPEG"));
        add(&format!("extended-{bits}-bits.jpg"), of(0xC1, bits), Fails("JPEG"));
    }
    let arithmetic = full().with(&[segment(0xCC, &[0, 0x10, 0x10, 5])]);
    add("conditioning-of-arithmetic.jpg", arithmetic.bytes(), Either);
}

/// Segments that are missing, doubled, in another order, or cut otherwise.
fn markers(add: Add) {
    let plain = full();
    let [app0, sof, sos] = [0xE0, SOF, SOS].map(|marker| plain.places(marker)[0]);
    add("no-app0.jpg", plain.without(0xE0).bytes(), WHOLE);
    add("no-dqt.jpg", plain.without(DQT).bytes(), Fails("JPEG"));
    add("no-sof.jpg", plain.without(SOF).bytes(), Fails("JPEG"));
    add("no-sos.jpg", plain.without(SOS).bytes(), Fails("JPEG"));
    // The tables of the standard's appendix may be taken, as in motion JPEG.
    add("no-dht.jpg", plain.without(DHT).bytes(), Either);
    for (name, marker) in [("app0", 0xE0), ("dqt", DQT), ("dht", DHT)] {
        add(&format!("two-{name}.jpg"), plain.twice(marker).bytes(), WHOLE);
    }
    add("two-sof.jpg", plain.twice(SOF).bytes(), Fails("JPEG"));
    add("two-sos.jpg", plain.twice(SOS).bytes(), Either);
    add("two-starts.jpg", [vec![0xFF, 0xD8], plain.bytes()].concat(), Fails("JPEG"));

    let mut late = plain.clone();
    let app0 = late.0.remove(app0);
    late.0.insert(sos - 1, app0);
    add("app0-last.jpg", late.bytes(), WHOLE);
    let mut frame_first = plain.clone();
    let frame = frame_first.0.remove(sof);
    frame_first.0.insert(1, frame);
    add("sof-first.jpg", frame_first.bytes(), WHOLE);
    let mut tables_first = plain.clone();
    let frame = tables_first.0.remove(sof);
    tables_first.0.insert(sos - 1, frame);
    add("sof-last.jpg", tables_first.bytes(), WHOLE);
    let mut scan_first = plain.clone();
    scan_first.0.swap(sof, sos);
    add("sos-first.jpg", scan_first.bytes(), Fails("JPEG"));
    let mut backwards = plain.clone();
    backwards.0[1..sos].reverse();
    add("backwards.jpg", backwards.bytes(), WHOLE);

    // All tables in one segment; and quantizers of 16 bits.
    let joined = |marker| {
        let places = plain.places(marker);
        let content: Vec<u8> = places.iter().flat_map(|&at| &plain.0[at][4..]).copied().collect();
        let mut parts = plain.without(marker);
        parts.0.insert(1, segment(marker, &content));
        parts
    };
    add("joined-dht.jpg", joined(DHT).bytes(), WHOLE);
    add("joined-dqt.jpg", joined(DQT).bytes(), WHOLE);
    let mut wide = plain.clone();
    for at in plain.places(DQT) {
        let mut content = Vec::new();
        for table in plain.0[at][4..].chunks(65) {
            content.push(table[0] | 0x10);
            content.extend(table[1..].iter().flat_map(|&value| [0, value]));
        }
        wide.0[at] = segment(DQT, &content);
    }
    add("dqt-16-bits.jpg", wide.bytes(), WHOLE);

    let padded: Vec<u8> = plain
        .0
        .iter()
        .enumerate()
        .flat_map(|(at, part)| {
            let is_marker = at > 0 && at < plain.0.len() - 1;
            std::iter::repeat_n(0xFF, if is_marker { 5 } else { 0 }).chain(part.iter().copied())
        })
        .collect();
    add("padded.jpg", padded, WHOLE);
    for (name, marker) in [("dqt", DQT), ("dht", DHT), ("sof", SOF), ("sos", SOS)] {
        for len in [0u16, 1, 2, 3, 0xFFFF] {
            let mut parts = plain.clone();
            let at = parts.places(marker)[0];
            parts.0[at][2..4].copy_from_slice(&len.to_be_bytes());
            add(&format!("{name}-of-{len}-bytes.jpg"), parts.bytes(), Fails("JPEG"));
        }
    }
    add("behind-the-end.jpg", [plain.bytes(), vec![7; 5000]].concat(), WHOLE);
    add("comment.jpg", plain.with(&[segment(0xFE, &[b'x'; 65_533])]).bytes(), WHOLE);
}

/// Restart markers where they belong, and where they do not.
fn restarts(add: Add) {
    for interval in [1, 2, 6, 7, 30, 1000] {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 80);
        encoder.set_sampling_factor(SamplingFactor::F_1_1);
        encoder.set_restart_interval(interval);
        let content = pixels(HEIGHT, WIDTH, 3);
        encoder.encode(&content, WIDTH as u16, HEIGHT as u16, ColorType::Rgb).unwrap();
        add(&format!("restart-every-{interval}.jpg"), bytes, WHOLE);
    }
    let right = baseline(|encoder| {
        encoder.set_sampling_factor(SamplingFactor::F_1_1);
        encoder.set_restart_interval(6);
    });
    let is_restart = |pair: &[u8]| pair[0] == 0xFF && (0xD0..0xD8).contains(&pair[1]);
    let scan = right.0.last().unwrap();
    let places: Vec<usize> =
        (0..scan.len() - 1).filter(|&at| is_restart(&scan[at..at + 2])).collect();
    assert_eq!(places.len(), 4, "30 blocks in sixes");
    let mut changed = |name: &str, change: &dyn Fn(&mut Vec<u8>), outcome| {
        let mut parts = right.clone();
        change(parts.scan());
        add(&format!("restart-{name}.jpg"), parts.bytes(), outcome);
    };
    let second = places[1];
    // A decoder may find its way again or give up: never the wrong size, and never a panic.
    changed("out-of-order", &|scan| scan[second + 1] = 0xD5, Either);
    changed("missing", &|scan| _ = scan.drain(second..second + 2), Either);
    changed("twice", &|scan| _ = scan.splice(second..second, [0xFF, 0xD1]), Either);
    changed("too-early", &|scan| _ = scan.splice(second - 4..second - 4, [0xFF, 0xD1]), Either);
    changed("a-part-lost", &|scan| _ = scan.drain(places[1]..places[2]), Either);
    changed("padded", &|scan| _ = scan.splice(second..second, [0xFF; 3]), Either);
    add("restart-without-interval.jpg", right.without(DRI).bytes(), Either);
    let interval = |n: u16| full().with(&[segment(DRI, &n.to_be_bytes())]).bytes();
    add("restart-interval-0.jpg", interval(0), WHOLE);
    add("restart-interval-without-markers.jpg", interval(6), Either);
    add("restart-interval-never-reached.jpg", interval(u16::MAX), WHOLE);
}

/// What comes with the pixels and is none of our business, however large.
fn attachments(add: Add) {
    // An ICC profile of 16 MB, in as many segments as may be; and one that lacks most of them.
    let profile: Vec<Vec<u8>> = (1..=255)
        .map(|number| segment(0xE2, &[b"ICC_PROFILE\0", &[number, 255][..], &[7; 65_519]].concat()))
        .collect();
    let large = full().with(&profile).bytes();
    assert!(large.len() > 16_000_000);
    add("icc-16-mb.jpg", large, WHOLE);
    add(
        "icc-in-disorder.jpg",
        full().with(&[profile[9].clone(), profile[3].clone()]).bytes(),
        WHOLE,
    );
    let stub = segment(0xE2, b"ICC_PROFILE\0");
    add("icc-without-numbers.jpg", full().with(&[stub]).bytes(), WHOLE);

    // A multi-picture file: an index, and a second picture behind the first.
    let index = segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\0");
    let second = jpeg(9, 9, ColorType::Rgb, |_| ());
    add(
        "two-pictures-as-of-a-stereo-camera.jpg",
        [full().with(&[index]).bytes(), second].concat(),
        WHOLE,
    );

    for (name, content) in [
        ("short", &b"Adobe"[..]),
        ("transform-7", b"Adobe\0\x64\0\0\0\0\x07"),
        ("transform-255", b"Adobe\0\x64\0\0\0\0\xFF"),
    ] {
        let parts = full().with(&[segment(0xEE, content)]);
        add(&format!("adobe-{name}.jpg"), parts.bytes(), Either);
    }
    for marker in 0xE0..=0xEF {
        let noise = segment(marker, &pixels(1, 3000, 1));
        add(&format!("app{}-of-noise.jpg", marker - 0xE0), full().with(&[noise]).bytes(), WHOLE);
    }
}

/// A camera's notes, true and corrupt. They turn no picture.
fn exif(add: Add) {
    let notes = |tiff: &[u8]| segment(0xE1, &[b"Exif\0\0", tiff].concat());
    let orientation = |value: u8| {
        let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0];
        [&b"MM\0*\0\0\0\x08\0\x01"[..], &entry, &[0; 4]].concat()
    };
    for value in 0..=9 {
        let parts = full().with(&[notes(&orientation(value))]);
        add(&format!("orientation-{value}.jpg"), parts.bytes(), WHOLE);
    }
    for (name, tiff) in [
        ("empty", &b""[..]),
        ("order", b"XX\0*\0\0\0\x08"),
        ("far", b"MM\0*\xFF\xFF\xFF\xFF"),
        ("full", b"II*\0\x08\0\0\0\xFF\xFF"),
        ("loop", b"MM\0*\0\0\0\x08\0\0\0\0\0\x08"),
        ("noise", &[0x5A; 60_000]),
    ] {
        let bytes = full().with(&[notes(tiff)]).bytes();
        add(&format!("exif-{name}.jpg"), bytes, WHOLE);
        let mut with = png(19, 23, 8, 2, false);
        with.splice(33..33, chunk(b"eXIf", tiff));
        add(&format!("exif-{name}.png"), with, Decodes(19, 23));
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// PNG chunks that are rare, wrong, or much larger than they look.
fn chunks(add: Add) {
    let plain = png(19, 23, 8, 2, false);
    let with = |chunks: &[u8]| {
        let mut bytes = plain.clone();
        bytes.splice(33..33, chunks.iter().copied()); // behind the header
        bytes
    };
    // Two frames: the picture, and one that plays after it.
    let control = |sequence: u8| {
        let size = [0, 0, 0, 23, 0, 0, 0, 19];
        chunk(b"fcTL", &[&[0, 0, 0, sequence], &size[..], &[0; 8], &[0, 1, 0, 10, 0, 0]].concat())
    };
    let moving = with(&[chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]), control(0)].concat());
    let frame = packed(&vec![0; 19 * (1 + 23 * 3)]);
    let second = [control(1), chunk(b"fdAT", &[&[0, 0, 0, 2], &frame[..]].concat())].concat();
    let end = moving.len() - 12;
    let mut two = moving.clone();
    two.splice(end..end, second);
    add("moving.png", two, Decodes(19, 23));
    add("moving-without-its-second-frame.png", moving, Decodes(19, 23));

    // 64 MB of profile and of text in 64 KB.
    let bomb = packed(&vec![0; 64 << 20]);
    let profile = chunk(b"iCCP", &[&b"profile\0\0"[..], &bomb].concat());
    add("bomb-in-a-profile.png", with(&profile), Decodes(19, 23));
    let text = chunk(b"zTXt", &[&b"text\0\0"[..], &bomb].concat());
    add("bomb-in-a-text.png", with(&text), Decodes(19, 23));

    let start = plain.windows(4).position(|name| name == b"IDAT").unwrap() - 4;
    let (head, pixels) = (&plain[..start], &plain[start + 8..plain.len() - 16]);
    let dust: Vec<u8> = pixels.chunks(1).flat_map(|byte| chunk(b"IDAT", byte)).collect();
    let end = chunk(b"IEND", &[]);
    add("idat-by-bytes.png", [head, &dust, &end].concat(), Decodes(19, 23));
    let apart: Vec<u8> = [&pixels[..50], &pixels[50..]]
        .map(|part| [chunk(b"IDAT", part), chunk(b"tEXt", b"a\0b")].concat())
        .concat();
    add("idat-apart.png", [head, &apart, &end].concat(), Fails("PNG"));
    add("no-idat.png", [head, &end].concat(), Fails("PNG"));
    add("empty-idat.png", [head, &chunk(b"IDAT", &[]), &end].concat(), Fails("PNG"));
    add("unknown-chunk.png", with(&chunk(b"abCd", b"x")), Decodes(19, 23));
    add("unknown-chunk-that-matters.png", with(&chunk(b"ABCD", b"x")), Fails("PNG"));
    add("two-headers.png", with(&plain[8..33]), Fails("PNG"));
    let mut spoilt = with(&chunk(b"tEXt", b"key\0value"));
    spoilt[33 + 8] ^= 1;
    add("text-with-another-checksum.png", spoilt, Decodes(19, 23));

    let rows = vec![0; 19 * (1 + 23 * 3)];
    let of = |head: [u8; 5], rows: &[u8]| png_of(19, 23, head, false, rows);
    add("no-palette.png", of([8, 3, 0, 0, 0], &rows), Fails("PNG"));
    for (name, head) in [
        ("3-bits", [3, 2, 0, 0, 0]),
        ("4-bits-of-red", [4, 2, 0, 0, 0]),
        ("colour-1", [8, 1, 0, 0, 0]),
        ("colour-5", [8, 5, 0, 0, 0]),
        ("packing-1", [8, 2, 1, 0, 0]),
        ("filtering-1", [8, 2, 0, 1, 0]),
        ("interlacing-2", [8, 2, 0, 0, 2]),
    ] {
        add(&format!("{name}.png"), of(head, &rows), Fails("PNG"));
    }
    let mut filtered = rows.clone();
    filtered[0] = 5;
    add("filter-5.png", of([8, 2, 0, 0, 0], &filtered), Fails("PNG"));
    add("rows-missing.png", of([8, 2, 0, 0, 0], &rows[..600]), Fails("PNG"));
    let indices = [&[0][..], &[255; 23]].concat().repeat(19);
    let mut beyond = of([8, 3, 0, 0, 0], &indices);
    beyond.splice(33..33, chunk(b"PLTE", &[1; 30]));
    add("index-beyond-the-palette.png", beyond, Decodes(19, 23));
}

/// What changes no pixel must change none.
#[test]
fn unusual_files_decode_to_the_plain_picture() {
    let decoded = |bytes: &[u8]| {
        let mut image = augment::Image::default();
        alexnet_data::decode::decode(bytes, &mut image).map(|()| image)
    };
    let plain = decoded(&full().bytes()).unwrap();
    let (all, mut count) = (cases(), 0);
    for case in all.iter().filter(|case| case.outcome == WHOLE) {
        let image = decoded(&case.bytes).unwrap();
        assert!(image.pixels == plain.pixels, "{}", case.name);
        count += 1;
    }
    assert!(count > 50, "{count}");
}

/// Who says what the three or four channels are: markers, in an order of rank. The files hold one
/// colour, and what it is read as.
#[test]
fn colours_are_what_the_markers_say() {
    let flat = |channels: &[u8], color: ColorType| {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 100);
        encoder.set_sampling_factor(SamplingFactor::F_1_1);
        encoder.encode(&channels.repeat(256), 16, 16, color).unwrap();
        Parts::of(&bytes)
    };
    let adobe = |transform: u8| segment(0xEE, &[b"Adobe\0\x64\0\0\0\0", &[transform][..]].concat());
    let jfif = segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    let bare =
        |parts: Parts| if parts.places(0xE0).is_empty() { parts } else { parts.without(0xE0) };
    let named = |mut parts: Parts, names: [u8; 3]| {
        let (frame, scan) = (parts.places(SOF)[0], parts.places(SOS)[0]);
        for (at, name) in names.into_iter().enumerate() {
            parts.0[frame][10 + 3 * at] = name;
            parts.0[scan][5 + 2 * at] = name;
        }
        parts
    };
    // Luma and chroma of orange, as they are stored.
    let stored = bare(flat(&[165, 45, 180], ColorType::Ycbcr));
    let (orange, as_is) = ([238, 156, 18], [165, 45, 180]);
    let four = |transform: u8| {
        let inks = match transform {
            2 => ColorType::CmykAsYcck,
            _ => ColorType::Cmyk,
        };
        let parts = flat(&[30, 100, 200, 50], inks);
        let parts = if parts.places(0xEE).is_empty() { parts } else { parts.without(0xEE) };
        bare(parts).with(&[adobe(transform)])
    };
    for (name, parts, wanted) in [
        ("JFIF", stored.with(std::slice::from_ref(&jfif)), orange),
        ("no marker", stored.clone(), orange),
        ("Adobe, 1: luma and chroma", stored.with(&[adobe(1)]), orange),
        ("Adobe, 0: colours as they are", stored.with(&[adobe(0)]), as_is),
        ("components named R, G, B", named(stored.clone(), *b"RGB"), as_is),
        ("Adobe, 0, four inks", four(0), inked([30, 100, 200, 50])),
        ("Adobe, 2, luma, chroma and black", four(2), inked([30, 100, 200, 50])),
    ] {
        let mut image = augment::Image::default();
        alexnet_data::decode::decode(&parts.bytes(), &mut image)
            .unwrap_or_else(|reason| panic!("{name}: {reason}"));
        let got = &image.pixels[..3];
        let near = got.iter().zip(wanted).all(|(&got, wanted)| got.abs_diff(wanted) <= 4);
        assert!(near, "{name}: {got:?}, where {wanted:?} is meant");
    }
}

/// Inks as they come to light: stored inverted, multiplied by their black.
fn inked([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    [c, m, y].map(|ink| (u32::from(255 - ink) * u32::from(255 - k) / 255) as u8)
}
