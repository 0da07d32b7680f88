//! Decodes every file and says what is wrong with it, or worth knowing.

mod files;
mod headers;

pub use headers::{Headers, headers};

use crate::collection::{Collection, Item, packed};
use crate::decode::{self, ExifMode, Reason};
use crate::inspect::{Color, Exif, Facts, Format, inspect, is_cut, stray_bytes};
use crate::{Error, ReadBuffer, Result, Source, parallel, shards};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What was found in a number of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files (or images) that were looked at.
    pub files: usize,
    /// In the order of the files; of one file, in the order of [`Kind`].
    pub findings: Vec<Finding>,
}

/// Something about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file: its path, or its place in an archive.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The same in words.
    pub detail: String,
}

/// What can be found; first what makes a file unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The folders or files do not make a data set, so training would not start.
    Layout,
    /// Its bytes cannot be had.
    Unreadable,
    /// Of no format that can be decoded.
    NotAnImage,
    /// A valid file of a kind that cannot be read; converted, it can.
    Unsupported,
    /// It ends too early.
    Truncated,
    /// It cannot be decoded, or not without guessing.
    Damaged,
    /// Too large, empty or too long a strip.
    UnusableSize,
    /// Its name ends as that of another format does; it is decoded by its content.
    WrongName,
    /// Bytes between the parts of its header, which are passed over.
    StrayBytes,
    /// Four inks; converted without colour management.
    Cmyk,
    /// Grey; spread over the three channels.
    Grey,
    /// Rounded to eight bits.
    SixteenBit,
    /// Transparency, which is dropped.
    Alpha,
    /// To be rotated or mirrored for display, which [`Options::exif`] decides on.
    Orientation,
    /// EXIF data that cannot be read; the pixels do not suffer.
    CorruptExif,
    /// The shorter side has fewer pixels than asked for.
    Small,
}

impl Kind {
    /// All, in their order.
    pub const ALL: [Kind; 16] = [
        Kind::Layout,
        Kind::Unreadable,
        Kind::NotAnImage,
        Kind::Unsupported,
        Kind::Truncated,
        Kind::Damaged,
        Kind::UnusableSize,
        Kind::WrongName,
        Kind::StrayBytes,
        Kind::Cmyk,
        Kind::Grey,
        Kind::SixteenBit,
        Kind::Alpha,
        Kind::Orientation,
        Kind::CorruptExif,
        Kind::Small,
    ];

    /// Whether a file with this finding cannot be trained on.
    pub fn is_unusable(self) -> bool {
        self <= Kind::UnusableSize
    }

    /// A word, the same in tables and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Layout => "layout",
            Kind::Unreadable => "unreadable",
            Kind::NotAnImage => "not-an-image",
            Kind::Unsupported => "unsupported",
            Kind::Truncated => "truncated",
            Kind::Damaged => "damaged",
            Kind::UnusableSize => "unusable-size",
            Kind::WrongName => "wrong-name",
            Kind::StrayBytes => "stray-bytes",
            Kind::Cmyk => "cmyk",
            Kind::Grey => "grey",
            Kind::SixteenBit => "16-bit",
            Kind::Alpha => "alpha",
            Kind::Orientation => "orientation",
            Kind::CorruptExif => "corrupt-exif",
            Kind::Small => "small",
        }
    }
}

impl Report {
    /// Adds why files do not make a data set, first of all.
    pub fn add_layout(&mut self, name: &str, error: &Error) {
        let (name, detail) = (name.to_owned(), error.to_string());
        self.findings.insert(0, Finding { name, kind: Kind::Layout, detail });
    }

    /// Files that cannot be trained on, each of which has exactly one finding that says why; and 1
    /// more if their layout is none.
    pub fn unusable(&self) -> usize {
        self.findings.iter().filter(|finding| finding.kind.is_unusable()).count()
    }

    /// Findings of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.findings.iter().filter(|finding| finding.kind == kind).count()
    }
}

/// What is looked for, and with how many threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Report images whose shorter side has fewer pixels; 0: none.
    pub smaller_than: usize,
    /// 0: one for each core.
    pub threads: usize,
    /// What is done about EXIF orientation.
    pub exif: ExifMode,
}

/// Looks at every file of a collection. `progress` hears how many of how many are done, from any
/// thread.
pub fn collection(
    collection: &Collection,
    options: Options,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Report {
    let items: Vec<&Item> = collection.train.iter().chain(&collection.test).collect();
    let examine = |desk: &mut ReadBuffer, index: usize| {
        let item: &Item = items[index];
        let found = match collection.read(item, &mut desk.file) {
            Ok(()) => examine(&item.name, options, desk),
            Err(error) => vec![kind_of(error)],
        };
        let name = |(kind, detail)| Finding { name: item.name.clone(), kind, detail };
        found.into_iter().map(name).collect()
    };
    in_order(items.len(), options.threads, progress, ReadBuffer::default, examine)
}

/// Looks at every file below a folder or in an archive: those that may be images by their names,
/// as [`Folder`](crate::Folder) takes them, in the order of their paths; and at those in parquet
/// files.
///
/// Of tar files in webdataset's layout every image is looked at, under names such as
/// `train-0.tar/000.jpg`. Hidden files and links to folders that contain them are passed over;
/// folders that cannot be read, links that lead nowhere, pipes and the like are findings.
///
/// # Errors
/// If the folder itself cannot be read, or its tar files cannot be trained on.
pub fn folder(
    root: &Path,
    options: Options,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Report> {
    if packed::is_packed(root) {
        return Ok(collection(&packed::images(root)?, options, progress));
    }
    fs::read_dir(root).map_err(|error| Error::io(root, &error))?;
    if shards::is_webdataset(root) {
        return Ok(collection(&shards::collection(root)?, options, progress));
    }
    let (files, mut findings) = files::below(root);
    let count = files.train.len() + findings.len();
    let report = collection(&files, options, progress);
    findings.extend(report.findings);
    findings.sort_by(|a, b| Path::new(&a.name).cmp(Path::new(&b.name))); // stable: kinds stay
    Ok(Report { files: count, findings })
}

/// Reads every image of a source.
pub fn source(
    source: &dyn Source,
    threads: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Report {
    let read = |buffer: &mut ReadBuffer, index: usize| match source.read(index, buffer) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let (kind, detail) = kind_of(error);
            vec![Finding { name: source.name(index), kind, detail }]
        }
    };
    in_order(source.len(), threads, progress, ReadBuffer::default, read)
}

/// Does `work` on 0..`count` and puts what it finds in their order.
fn in_order<S: Send>(
    count: usize,
    threads: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
    prepare: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Vec<Finding> + Sync,
) -> Report {
    let done = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    parallel::for_each(threads, 0..count, prepare, |state, index| {
        let findings = work(state, index);
        if !findings.is_empty() {
            found.lock().expect("no panic").push((index, findings));
        }
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, count);
    });
    let mut found = found.into_inner().expect("no panic");
    found.sort_by_key(|(index, _)| *index);
    Report { files: count, findings: found.into_iter().flat_map(|(_, f)| f).collect() }
}

/// What is to be said of the file in `buffer`.
fn examine(name: &str, options: Options, buffer: &mut ReadBuffer) -> Vec<(Kind, String)> {
    let facts = inspect(&buffer.file);
    // Decoders are other people's: one that panics is one more way for a file to be bad.
    let decoded = catch_unwind(AssertUnwindSafe(|| buffer.decode(options.exif)));
    let decoded = decoded.unwrap_or_else(|_| {
        let file = std::mem::take(&mut buffer.file);
        *buffer = ReadBuffer::default();
        buffer.file = file;
        Err(Reason::Damaged("the decoder panicked; please report this".to_owned()))
    });
    let mut found = Vec::new();
    let strays = match (&decoded, &facts) {
        (Ok(()), Ok(Facts { format: Format::Jpeg, .. })) => stray_bytes(&buffer.file),
        _ => 0,
    };
    if let Err(reason) = decoded {
        found.push((failure(&reason, &buffer.file, facts.as_ref().ok()), reason.into()));
    }
    if let Ok(facts) = facts {
        remark(name, &facts, strays, options, &mut found);
    }
    found
}

/// Why an image that is inside another file cannot be had.
fn kind_of(error: Error) -> (Kind, String) {
    let Error::Image { reason, .. } = error else {
        return (Kind::Unreadable, error.to_string());
    };
    let kind = match reason {
        Reason::Unreadable(_) => Kind::Unreadable,
        Reason::Empty => Kind::Truncated,
        Reason::NotAnImage(_) => Kind::NotAnImage,
        Reason::Unsupported(_) => Kind::Unsupported,
        Reason::Damaged(_) => Kind::Damaged,
        Reason::UnusableSize(_) => Kind::UnusableSize,
    };
    (kind, reason.into())
}

/// Why a file cannot be decoded.
fn failure(reason: &Reason, bytes: &[u8], facts: Option<&Facts>) -> Kind {
    if matches!(reason, Reason::Unsupported(_)) {
        return Kind::Unsupported;
    }
    let is_cut = match Format::of(bytes) {
        None if bytes.is_empty() => true,
        None => return Kind::NotAnImage,
        Some(Format::Jpeg) => !decode::has_end_of_image(bytes),
        Some(format) => is_cut(format, bytes),
    };
    if facts.is_some_and(|facts| !decode::is_usable(facts.height, facts.width)) {
        return Kind::UnusableSize;
    }
    if is_cut { Kind::Truncated } else { Kind::Damaged }
}

/// What is worth knowing about a file, usable or not.
fn remark(
    name: &str,
    facts: &Facts,
    strays: usize,
    options: Options,
    found: &mut Vec<(Kind, String)>,
) {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
    let ending = ending.unwrap_or_default().to_ascii_lowercase();
    let fits = ending.is_empty() || facts.format.endings().contains(&&*ending);
    if !fits {
        found.push((Kind::WrongName, format!("a {} whose name ends in .{ending}", facts.format)));
    }
    let mut say = |kind, detail: &str| found.push((kind, detail.to_owned()));
    if strays > 0 {
        say(Kind::StrayBytes, &format!("{strays} bytes between the parts of its header"));
    }
    match facts.color {
        Color::Cmyk => say(Kind::Cmyk, "four inks, converted without colour management"),
        Color::Grey | Color::GreyAlpha => say(Kind::Grey, "grey, spread over three channels"),
        Color::Rgb | Color::Rgba | Color::Palette => (),
    }
    if facts.bits > 8 {
        let bits = facts.bits;
        say(Kind::SixteenBit, &format!("{bits} bits a channel, rounded to 8"));
    }
    if matches!(facts.color, Color::Rgba | Color::GreyAlpha) {
        say(Kind::Alpha, "transparency, which is dropped");
    }
    match facts.exif {
        Exif::Orientation(value) if value > 1 => {
            let how = match options.exif {
                ExifMode::Ignore => "which is not applied, as torchvision does not",
                ExifMode::Apply => "which is applied",
            };
            say(Kind::Orientation, &format!("EXIF orientation {value}, {how}"));
        }
        Exif::Corrupt(reason) => say(Kind::CorruptExif, &format!("EXIF data: {reason}")),
        Exif::Orientation(_) | Exif::Absent => (),
    }
    if facts.height.min(facts.width) < options.smaller_than {
        let (height, width) = (facts.height, facts.width);
        say(Kind::Small, &format!("{width} x {height} pixels"));
    }
}

#[cfg(test)]
mod tests;
