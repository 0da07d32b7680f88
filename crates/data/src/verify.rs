//! Decodes every file of a data set and reports problems and notable properties.

mod files;
mod headers;

pub use headers::{Headers, headers};

use crate::collection::{Collection, LabelledFile, packed};
use crate::decode::{self, ExifMode, Reason};
use crate::inspect::{Color, Exif, Format, ImageHeader, inspect, is_cut, stray_bytes};
use crate::{Error, ReadBuffer, Result, Source, parallel, shards};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The findings about a number of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files (or images) examined.
    pub files: usize,
    /// In the order of the files; for one file, in the order of [`FindingKind`].
    pub findings: Vec<Finding>,
}

/// A finding about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The path of the file, or its name in an archive.
    pub name: String,
    /// The kind of finding.
    pub kind: FindingKind,
    /// A description.
    pub detail: String,
}

/// The kinds of findings; those that make a file unusable come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// The folders or files do not form a data set, so that training cannot start.
    Layout,
    /// The bytes cannot be read.
    Unreadable,
    /// The format cannot be decoded.
    NotAnImage,
    /// A valid file of an unsupported kind; it can be used after conversion.
    Unsupported,
    /// The file is incomplete.
    Truncated,
    /// The file cannot be decoded without guessing.
    Damaged,
    /// Too large, empty, or too elongated.
    UnusableSize,
    /// The extension is that of another format; the content decides.
    WrongName,
    /// Bytes between the segments of the header, which are skipped.
    StrayBytes,
    /// CMYK, which is converted without colour management.
    Cmyk,
    /// Grey, which is copied to three channels.
    Grey,
    /// 16 bits per channel, which are rounded to 8.
    SixteenBit,
    /// Transparency, which is dropped.
    Alpha,
    /// An EXIF orientation; [`VerifyOptions::exif`] decides whether it is applied.
    Orientation,
    /// EXIF data that cannot be read; the pixels are unaffected.
    CorruptExif,
    /// The shorter side has fewer pixels than requested.
    Small,
}

impl FindingKind {
    /// All kinds in order.
    pub const ALL: [FindingKind; 16] = [
        FindingKind::Layout,
        FindingKind::Unreadable,
        FindingKind::NotAnImage,
        FindingKind::Unsupported,
        FindingKind::Truncated,
        FindingKind::Damaged,
        FindingKind::UnusableSize,
        FindingKind::WrongName,
        FindingKind::StrayBytes,
        FindingKind::Cmyk,
        FindingKind::Grey,
        FindingKind::SixteenBit,
        FindingKind::Alpha,
        FindingKind::Orientation,
        FindingKind::CorruptExif,
        FindingKind::Small,
    ];

    /// Whether a file with this finding is unusable for training.
    pub fn is_unusable(self) -> bool {
        self <= FindingKind::UnusableSize
    }

    /// The identifier in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            FindingKind::Layout => "layout",
            FindingKind::Unreadable => "unreadable",
            FindingKind::NotAnImage => "not-an-image",
            FindingKind::Unsupported => "unsupported",
            FindingKind::Truncated => "truncated",
            FindingKind::Damaged => "damaged",
            FindingKind::UnusableSize => "unusable-size",
            FindingKind::WrongName => "wrong-name",
            FindingKind::StrayBytes => "stray-bytes",
            FindingKind::Cmyk => "cmyk",
            FindingKind::Grey => "grey",
            FindingKind::SixteenBit => "16-bit",
            FindingKind::Alpha => "alpha",
            FindingKind::Orientation => "orientation",
            FindingKind::CorruptExif => "corrupt-exif",
            FindingKind::Small => "small",
        }
    }
}

impl VerifyReport {
    /// Prepends the error that prevents the files from forming a data set.
    pub fn add_layout(&mut self, name: &str, error: &Error) {
        let (name, detail) = (name.to_owned(), error.to_string());
        self.findings.insert(0, Finding { name, kind: FindingKind::Layout, detail });
    }

    /// The number of unusable files, each of which has exactly one such finding; plus one for an
    /// invalid layout.
    pub fn unusable(&self) -> usize {
        self.findings.iter().filter(|finding| finding.kind.is_unusable()).count()
    }

    /// The number of findings of a kind.
    pub fn count(&self, kind: FindingKind) -> usize {
        self.findings.iter().filter(|finding| finding.kind == kind).count()
    }
}

/// Options of a verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Report images whose shorter side has fewer pixels; 0: report none.
    pub smaller_than: usize,
    /// Threads; 0: one per core.
    pub threads: usize,
    /// How EXIF orientation is handled.
    pub exif: ExifMode,
}

/// Verifies every file of a collection. `progress` receives the number of files done and the total,
/// from any thread.
pub fn collection(
    collection: &Collection,
    options: VerifyOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> VerifyReport {
    let files: Vec<&LabelledFile> = collection.train.iter().chain(&collection.test).collect();
    let examine = |buffer: &mut ReadBuffer, index: usize| {
        let file: &LabelledFile = files[index];
        let found = match collection.read(file, &mut buffer.file) {
            Ok(()) => examine(&file.name, options, buffer),
            Err(error) => vec![kind_of(error)],
        };
        let name = |(kind, detail)| Finding { name: file.name.clone(), kind, detail };
        found.into_iter().map(name).collect()
    };
    in_order(files.len(), options.threads, progress, ReadBuffer::default, examine)
}

/// Verifies every file below a folder or in an archive whose extension may be an image's, in the
/// order of paths (as [`Folder`](crate::Folder)), and the images in parquet files.
///
/// In tar files of webdataset's layout, images have names such as `train-0.tar/000.jpg`. Hidden
/// files and links to an enclosing folder are skipped; unreadable folders, dangling links, pipes
/// and the like are findings.
///
/// # Errors
/// If the folder itself cannot be read, or its tar files cannot be used for training.
pub fn folder(
    root: &Path,
    options: VerifyOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<VerifyReport> {
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
    Ok(VerifyReport { files: count, findings })
}

/// Reads every image of a source.
pub fn source(
    source: &dyn Source,
    threads: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> VerifyReport {
    let read = |buffer: &mut ReadBuffer, index: usize| match source.read(index, buffer) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let (kind, detail) = kind_of(error);
            vec![Finding { name: source.name(index), kind, detail }]
        }
    };
    in_order(source.len(), threads, progress, ReadBuffer::default, read)
}

/// Runs `work` on 0..`count` and collects the findings in order.
fn in_order<S: Send>(
    count: usize,
    threads: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
    prepare: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Vec<Finding> + Sync,
) -> VerifyReport {
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
    VerifyReport { files: count, findings: found.into_iter().flat_map(|(_, f)| f).collect() }
}

/// The findings about the file in `buffer`.
fn examine(
    name: &str,
    options: VerifyOptions,
    buffer: &mut ReadBuffer,
) -> Vec<(FindingKind, String)> {
    let facts = inspect(&buffer.file);
    // The other crates' decoders may panic; this is an error of the file.
    let decoded = catch_unwind(AssertUnwindSafe(|| buffer.decode(options.exif)));
    let decoded = decoded.unwrap_or_else(|_| {
        let file = std::mem::take(&mut buffer.file);
        *buffer = ReadBuffer::default();
        buffer.file = file;
        Err(Reason::Damaged("the decoder panicked; please report this".to_owned()))
    });
    let mut found = Vec::new();
    let strays = match (&decoded, &facts) {
        (Ok(()), Ok(ImageHeader { format: Format::Jpeg, .. })) => stray_bytes(&buffer.file),
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

/// The kind of an error of an image in a container.
fn kind_of(error: Error) -> (FindingKind, String) {
    let Error::Image { reason, .. } = error else {
        return (FindingKind::Unreadable, error.to_string());
    };
    let kind = match reason {
        Reason::Unreadable(_) => FindingKind::Unreadable,
        Reason::Empty => FindingKind::Truncated,
        Reason::NotAnImage(_) => FindingKind::NotAnImage,
        Reason::Unsupported(_) => FindingKind::Unsupported,
        Reason::Damaged(_) => FindingKind::Damaged,
        Reason::UnusableSize(_) => FindingKind::UnusableSize,
    };
    (kind, reason.into())
}

/// The kind of a decoding failure.
fn failure(reason: &Reason, bytes: &[u8], facts: Option<&ImageHeader>) -> FindingKind {
    if matches!(reason, Reason::Unsupported(_)) {
        return FindingKind::Unsupported;
    }
    let is_cut = match Format::of(bytes) {
        None if bytes.is_empty() => true,
        None => return FindingKind::NotAnImage,
        Some(Format::Jpeg) => !decode::has_end_of_image(bytes),
        Some(format) => is_cut(format, bytes),
    };
    if facts.is_some_and(|facts| !decode::is_usable(facts.height, facts.width)) {
        return FindingKind::UnusableSize;
    }
    if is_cut { FindingKind::Truncated } else { FindingKind::Damaged }
}

/// Adds notable properties of a file, usable or not.
fn remark(
    name: &str,
    facts: &ImageHeader,
    strays: usize,
    options: VerifyOptions,
    findings: &mut Vec<(FindingKind, String)>,
) {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
    let ending = ending.unwrap_or_default().to_ascii_lowercase();
    let fits = ending.is_empty() || facts.format.endings().contains(&&*ending);
    if !fits {
        findings.push((
            FindingKind::WrongName,
            format!("a {} whose name ends in .{ending}", facts.format),
        ));
    }
    let mut add = |kind, detail: &str| findings.push((kind, detail.to_owned()));
    if strays > 0 {
        add(FindingKind::StrayBytes, &format!("{strays} bytes between the segments of its header"));
    }
    match facts.color {
        Color::Cmyk => add(FindingKind::Cmyk, "CMYK, converted without colour management"),
        Color::Grey | Color::GreyAlpha => add(FindingKind::Grey, "grey, copied to three channels"),
        Color::Rgb | Color::Rgba | Color::Palette => (),
    }
    if facts.bits > 8 {
        let bits = facts.bits;
        add(FindingKind::SixteenBit, &format!("{bits} bits per channel, rounded to 8"));
    }
    if matches!(facts.color, Color::Rgba | Color::GreyAlpha) {
        add(FindingKind::Alpha, "transparency, which is dropped");
    }
    match facts.exif {
        Exif::Orientation(value) if value > 1 => {
            let how = match options.exif {
                ExifMode::Ignore => "which is not applied, as torchvision does not",
                ExifMode::Apply => "which is applied",
            };
            add(FindingKind::Orientation, &format!("EXIF orientation {value}, {how}"));
        }
        Exif::Corrupt(reason) => add(FindingKind::CorruptExif, &format!("EXIF data: {reason}")),
        Exif::Orientation(_) | Exif::Absent => (),
    }
    if facts.height.min(facts.width) < options.smaller_than {
        let (height, width) = (facts.height, facts.width);
        add(FindingKind::Small, &format!("{width} x {height} pixels"));
    }
}

#[cfg(test)]
mod tests;
