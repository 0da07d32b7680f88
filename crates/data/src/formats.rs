//! The known image formats and their file name extensions.
//!
//! The first bytes of a file decide its format ([`Format::of`], [`Unsupported::of`]). Its extension
//! only decides whether the file is opened at all ([`EXTENSIONS`], [`kind_of_name`]).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A format that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Baseline, progressive or any other process.
    Jpeg,
    /// Interlaced or not.
    Png,
    /// Only the first frame of an animation.
    Gif,
    /// Bitmaps of Windows and OS/2.
    Bmp,
    /// Lossy or lossless; only the first frame of an animation.
    WebP,
    /// Only the first page.
    Tiff,
}

/// A format that is recognised but cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Unsupported {
    /// AV1 images.
    Avif,
    /// HEIC and HEIF, the format of many phones.
    Heic,
    /// JPEG XL.
    JpegXl,
    /// JPEG 2000.
    Jpeg2000,
    /// Camera raw data.
    Raw,
    /// Photoshop documents.
    Photoshop,
    /// Windows icons.
    Icon,
    /// The Netpbm formats.
    Netpbm,
    /// Truevision TGA.
    Targa,
    /// OpenEXR and Radiance HDR.
    HighRange,
    /// Vector graphics.
    Svg,
}

/// File name extensions of the formats that can be decoded, in lower case. Folders, archives and
/// shards all use this list.
pub const EXTENSIONS: [&str; 13] = [
    "jpg", "jpeg", "jfif", "jpe", "jif", "png", "gif", "bmp", "dib", "webp", "tif", "tiff", "apng",
];

/// The kind of a file according to its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// Possibly an image that can be decoded; or there is no extension.
    Image,
    /// An image that cannot be decoded.
    Unsupported(Unsupported),
    /// Not an image.
    Other,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 6] =
        [Format::Jpeg, Format::Png, Format::Gif, Format::Bmp, Format::WebP, Format::Tiff];

    /// The format of a file that starts with `bytes`.
    pub fn of(bytes: &[u8]) -> Option<Format> {
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Some(Format::Jpeg),
            [0x89, b'P', b'N', b'G', ..] => Some(Format::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Format::WebP),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(Format::Tiff),
            [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..] => Some(Format::Tiff), // BigTIFF
            // Two letters are a weak signature: the length of the second header must be valid, too.
            [b'B', b'M', ..] => match bytes.get(14..18)? {
                [12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0] => Some(Format::Bmp),
                _ => None,
            },
            _ => None,
        }
    }

    /// The file name extensions of this format.
    pub fn endings(self) -> &'static [&'static str] {
        match self {
            Format::Jpeg => &["jpg", "jpeg", "jfif", "jpe", "jif"],
            Format::Png => &["png", "apng"],
            Format::Gif => &["gif"],
            Format::Bmp => &["bmp", "dib"],
            Format::WebP => &["webp"],
            Format::Tiff => &["tif", "tiff"],
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Jpeg => "JPEG",
            Format::Png => "PNG",
            Format::Gif => "GIF",
            Format::Bmp => "BMP",
            Format::WebP => "WebP",
            Format::Tiff => "TIFF",
        })
    }
}

impl Unsupported {
    /// Every format that file names identify.
    const ALL: [Unsupported; 11] = [
        Unsupported::Avif,
        Unsupported::Heic,
        Unsupported::JpegXl,
        Unsupported::Jpeg2000,
        Unsupported::Raw,
        Unsupported::Photoshop,
        Unsupported::Icon,
        Unsupported::Netpbm,
        Unsupported::Targa,
        Unsupported::HighRange,
        Unsupported::Svg,
    ];

    /// Its name, and the endings of its files.
    fn facts(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Unsupported::Avif => ("AVIF", &["avif", "avifs"]),
            Unsupported::Heic => ("HEIC", &["heic", "heif", "heics", "heifs", "hif"]),
            Unsupported::JpegXl => ("JPEG XL", &["jxl"]),
            Unsupported::Jpeg2000 => ("JPEG 2000", &["jp2", "j2k", "jpf", "jpx", "j2c"]),
            Unsupported::Raw => {
                ("camera raw", &["dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf", "pef"])
            }
            Unsupported::Photoshop => ("Photoshop", &["psd", "psb"]),
            Unsupported::Icon => ("icon", &["ico", "cur"]),
            Unsupported::Netpbm => ("Netpbm", &["pbm", "pgm", "ppm", "pnm", "pam"]),
            Unsupported::Targa => ("TGA", &["tga"]),
            Unsupported::HighRange => ("high dynamic range", &["exr", "hdr"]),
            Unsupported::Svg => ("SVG", &["svg", "svgz"]),
        }
    }

    /// The format of a file that starts with `bytes`.
    pub fn of(bytes: &[u8]) -> Option<Unsupported> {
        match bytes {
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => brand(bytes),
            [0xFF, 0x0A, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => {
                Some(Unsupported::JpegXl)
            }
            [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xFF, 0x4F, 0xFF, 0x51, ..] => {
                Some(Unsupported::Jpeg2000)
            }
            [b'8', b'B', b'P', b'S', ..] => Some(Unsupported::Photoshop),
            [0, 0, 1 | 2, 0, 1..=64, 0, ..] => Some(Unsupported::Icon),
            [b'P', b'1'..=b'7', b' ' | b'\n' | b'\r' | b'\t', ..] => Some(Unsupported::Netpbm),
            [0x76, 0x2F, 0x31, 0x01, ..] => Some(Unsupported::HighRange),
            _ if bytes.starts_with(b"#?RADIANCE") => Some(Unsupported::HighRange),
            _ if bytes.trim_ascii_start().starts_with(b"<svg") => Some(Unsupported::Svg),
            _ => None,
        }
    }

    /// The format of files with this extension.
    fn of_extension(ending: &str) -> Option<Unsupported> {
        Unsupported::ALL.into_iter().find(|format| format.facts().1.contains(&ending))
    }

    /// How to convert such a file.
    pub fn remedy(self) -> &'static str {
        match self {
            Unsupported::Avif => "convert to JPEG or PNG, e.g. `magick in.avif out.jpg`",
            Unsupported::Heic => "convert to JPEG or PNG, e.g. `magick in.heic out.jpg`",
            Unsupported::JpegXl => "convert to JPEG or PNG, e.g. `djxl in.jxl out.jpg`",
            _ => "convert to JPEG or PNG, e.g. with ImageMagick's `magick`",
        }
    }
}

/// The format according to the brands in the first box of an ISO media file (ISO/IEC 14496-12).
fn brand(bytes: &[u8]) -> Option<Unsupported> {
    let len = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    let (major, rest) = bytes.get(8..)?.split_first_chunk::<4>()?;
    let compatible = rest.get(4..len.saturating_sub(12).min(rest.len())).unwrap_or_default();
    let of = |brand: &[u8; 4]| match brand {
        b"avif" | b"avis" => Some(Unsupported::Avif),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs" => {
            Some(Unsupported::Heic)
        }
        b"jxl " => Some(Unsupported::JpegXl),
        b"crx " => Some(Unsupported::Raw),
        _ => None,
    };
    let others = compatible.as_chunks::<4>().0;
    let found = of(major).or_else(|| others.iter().find_map(of));
    // The general brands do not determine the codec.
    found.or_else(|| matches!(major, b"mif1" | b"msf1").then_some(Unsupported::Heic))
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().0)
    }
}

/// Whether a file name extension is that of a format that can be decoded, in any case.
pub fn is_image_extension(ending: &str) -> bool {
    EXTENSIONS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// The kind of a file according to its extension. A file without an extension may be an image.
pub fn kind_of_name(path: &Path) -> NameKind {
    let Some(ending) = path.extension() else { return NameKind::Image };
    let ending = ending.to_str().unwrap_or_default().to_ascii_lowercase();
    match Unsupported::of_extension(&ending) {
        _ if is_image_extension(&ending) => NameKind::Image,
        Some(format) => NameKind::Unsupported(format),
        None => NameKind::Other,
    }
}

/// Whether a file's extension is that of a decodable format or absent.
pub(crate) fn may_be_image(path: &Path) -> bool {
    kind_of_name(path) == NameKind::Image
}

/// Counts files that are skipped because of their extensions, with an example of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkippedFormats {
    unsupported: BTreeMap<Unsupported, (usize, PathBuf)>,
    other: Option<(usize, PathBuf)>,
}

impl SkippedFormats {
    /// Counts a file.
    pub fn add(&mut self, path: &Path) {
        let first = || (0, path.to_owned());
        let (count, _) = match kind_of_name(path) {
            NameKind::Unsupported(format) => self.unsupported.entry(format).or_insert_with(first),
            NameKind::Image | NameKind::Other => self.other.get_or_insert_with(first),
        };
        *count += 1;
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: SkippedFormats) {
        for (format, (count, path)) in other.unsupported {
            self.unsupported.entry(format).or_insert((0, path)).0 += count;
        }
        if let Some((count, path)) = other.other {
            self.other.get_or_insert((0, path)).0 += count;
        }
    }

    /// The number of files.
    pub fn len(&self) -> usize {
        let counts = self.unsupported.values().chain(&self.other);
        counts.map(|(count, _)| count).sum()
    }

    /// Whether no file was skipped.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The formats that cannot be decoded: the number of files of each, and its first file.
    pub fn unsupported(&self) -> impl Iterator<Item = (Unsupported, usize, &Path)> {
        let files = self.unsupported.iter();
        files.map(|(&format, (count, path))| (format, *count, path.as_path()))
    }

    /// A sentence for each kind, with an example and a remedy.
    pub fn notes(&self) -> Vec<String> {
        let plural = |count: usize| if count == 1 { ("file", "was") } else { ("files", "were") };
        let mut notes: Vec<String> = Vec::new();
        for (format, count, path) in self.unsupported() {
            let ((files, were), path) = (plural(count), path.display());
            let remedy = format.remedy();
            notes.push(format!(
                "{count} {format} {files} {were} skipped, as {format} cannot be decoded, e.g. \
                 {path}: {remedy}"
            ));
        }
        if let Some((count, path)) = &self.other {
            let ((files, were), path) = (plural(*count), path.display());
            let that = if *count == 1 { "that is not an image" } else { "that are not images" };
            notes.push(format!("{count} {files} {that} {were} skipped, e.g. {path}"));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_cannot_be_decoded_are_recognised_by_name_and_content() {
        let ftyp = |brands: &[&[u8; 4]]| {
            let len = (12 + 4 * brands.len()) as u32;
            let (major, others) = brands.split_first().unwrap();
            let others = others.iter().flat_map(|brand| **brand);
            let head = [&len.to_be_bytes()[..], b"ftyp", &major[..], &[0; 4]].concat();
            head.into_iter().chain(others).collect::<Vec<u8>>()
        };
        for (bytes, format) in [
            (ftyp(&[b"avif", b"mif1"]), Some(Unsupported::Avif)),
            (ftyp(&[b"avis"]), Some(Unsupported::Avif)),
            (ftyp(&[b"mif1", b"miaf", b"avif"]), Some(Unsupported::Avif)),
            (ftyp(&[b"heic", b"mif1"]), Some(Unsupported::Heic)),
            (ftyp(&[b"heix"]), Some(Unsupported::Heic)),
            (ftyp(&[b"mif1"]), Some(Unsupported::Heic)),
            (ftyp(&[b"msf1", b"hevc"]), Some(Unsupported::Heic)),
            (ftyp(&[b"isom", b"mp42"]), None), // a film
            (ftyp(&[b"jxl "]), Some(Unsupported::JpegXl)),
            (vec![0xFF, 0x0A, 1, 2], Some(Unsupported::JpegXl)),
            (b"\0\0\0\x0CJXL \r\n\x87\n".to_vec(), Some(Unsupported::JpegXl)),
            (b"\0\0\0\x0CjP  \r\n\x87\n".to_vec(), Some(Unsupported::Jpeg2000)),
            (b"P6\n2 2\n255\n".to_vec(), Some(Unsupported::Netpbm)),
            (b"<svg xmlns=".to_vec(), Some(Unsupported::Svg)),
            (b"hello".to_vec(), None),
            (Vec::new(), None),
        ] {
            assert_eq!(Unsupported::of(&bytes), format, "{bytes:?}");
            for len in 0..bytes.len() {
                let _ = Unsupported::of(&bytes[..len]); // may not panic
            }
        }
        for (name, kind) in [
            ("a.HEIC", NameKind::Unsupported(Unsupported::Heic)),
            ("a.avif", NameKind::Unsupported(Unsupported::Avif)),
            ("a.jxl", NameKind::Unsupported(Unsupported::JpegXl)),
            ("a.CR2", NameKind::Unsupported(Unsupported::Raw)),
            ("a.Webp", NameKind::Image),
            ("n01440764_18", NameKind::Image),
            ("a.txt", NameKind::Other),
        ] {
            assert_eq!(kind_of_name(Path::new(name)), kind, "{name}");
        }
        for format in Format::ALL {
            assert!(format.endings().iter().all(|ending| is_image_extension(ending)), "{format}");
        }
        assert_eq!(Format::ALL.iter().map(|format| format.endings().len()).sum::<usize>(), 13);
    }

    #[test]
    fn two_letters_do_not_make_a_bitmap() {
        let mut bitmap = [0; 54];
        (bitmap[0], bitmap[1], bitmap[14]) = (b'B', b'M', 40);
        assert_eq!(Format::of(&bitmap), Some(Format::Bmp));
        assert_eq!(Format::of(b"BMW is no bitmap, but a text."), None);
        assert_eq!(Format::of(b"BM"), None);
    }

    #[test]
    fn skipped_files_are_counted_with_an_example() {
        let mut skipped = SkippedFormats::default();
        assert!(skipped.is_empty() && skipped.notes().is_empty());
        for name in ["cat/1.heic", "cat/2.heic", "cat/notes.txt", "dog/3.avif"] {
            skipped.add(Path::new(name));
        }
        let mut more = SkippedFormats::default();
        ["x/4.heic", "x/a.csv"].iter().for_each(|name| more.add(Path::new(name)));
        skipped.merge(more);
        assert_eq!(skipped.len(), 6);
        assert_eq!(
            skipped.notes(),
            [
                "1 AVIF file was skipped, as AVIF cannot be decoded, e.g. dog/3.avif: convert to \
                 JPEG or PNG, e.g. `magick in.avif out.jpg`",
                "3 HEIC files were skipped, as HEIC cannot be decoded, e.g. cat/1.heic: convert \
                 to JPEG or PNG, e.g. `magick in.heic out.jpg`",
                "2 files that are not images were skipped, e.g. cat/notes.txt",
            ]
        );
    }
}
