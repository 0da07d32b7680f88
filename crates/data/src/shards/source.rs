//! Shards as a source of images.

use super::manifest::{Encoding, Keep, Manifest, SetCounts};
use super::rows::Crop;
use super::{IndexEntry, ShardIndex, file_names, webdataset, with_test_set};
use crate::bounded::{self, LONGEST_IMAGE};
use crate::decode::{ExifMode, Reason};
use crate::folder::TrainTest;
use crate::jpeg::Extent;
use crate::remarks::ImageRemarks;
use crate::{Crops, Error, ReadBuffer, Result, Source};
use augment::{CentreRounding, CentreSquare, Image, Rectangle, Resizer, shorter_side_to};
use mapped::Mapped;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// At most this many tar files are kept open; others are opened for each read. The default limit of
/// open files is 1024 per process.
const KEPT_OPEN: usize = 256;

/// Images in tar files, each read with one positioned read.
///
/// If the tar file has an index, checksums are verified: those of JPEGs at each read, those of raw
/// pixels at the first; after that, crops are copied from the mapped file without verification.
/// Reading takes no lock, and allocates nothing except in the decoder for unusual JPEGs.
pub struct Shards {
    classes: Vec<String>,
    files: Arc<[TarFile]>,
    images: Vec<ImageLocation>,
    square: CentreSquare,
    encoding: Encoding,
    /// Whether crops may be taken anywhere in the stored images, whose shorter side is that of
    /// the square.
    whole: bool,
    /// For raw images: one bit per image whose checksum has been verified.
    verified: Vec<AtomicU64>,
    exif: ExifMode,
    remarks: ImageRemarks,
}

struct TarFile {
    path: PathBuf,
    /// The name in messages.
    name: String,
    file: Option<File>,
    /// The mapped file, for raw pixels, if it could be mapped.
    map: Option<Mapped>,
    /// The members' names, unless they derive from [`IndexEntry::number`].
    members: Option<Vec<String>>,
}

#[derive(Clone, Copy)]
pub(super) struct ImageLocation {
    pub(super) tar: u32,
    pub(super) entry: IndexEntry,
}

impl Shards {
    /// Whether a folder is prepared, or has tar files in webdataset's layout.
    pub fn is_at(dir: impl AsRef<Path>) -> bool {
        let dir = dir.as_ref();
        Manifest::is_at(dir) || webdataset::is_at(dir)
    }

    /// The training and the test images of a prepared folder, as squares of `side` x `side`. Images
    /// stored whole, with `side` as their shorter side, may be cropped anywhere.
    ///
    /// # Errors
    /// If a file is missing, damaged, or of the wrong length.
    pub fn open(dir: impl AsRef<Path>, side: usize) -> Result<(Shards, Shards)> {
        let dir = dir.as_ref();
        let manifest = Manifest::read(dir)?;
        let train = Shards::prepared(dir, &manifest, "train", manifest.train, side)?;
        Ok((train, Shards::prepared(dir, &manifest, "val", manifest.val, side)?))
    }

    fn prepared(
        dir: &Path,
        manifest: &Manifest,
        name: &str,
        part: SetCounts,
        side: usize,
    ) -> Result<Shards> {
        let (mut files, mut images) = (Vec::new(), Vec::new());
        for shard in 0..part.shards {
            let names = file_names(name, shard);
            let [path, index_path] = names.each_ref().map(|name| dir.join(name));
            let index = ShardIndex::read(&index_path)?;
            let is_raw = manifest.encoding == Encoding::Raw;
            let (tar, len) = TarFile::open(path, names[0].clone(), None, files.len(), is_raw)?;
            check_shard(manifest, &tar.path, len, &index)?;
            images.extend(
                index.entries.iter().map(|&entry| ImageLocation { tar: shard as u32, entry }),
            );
            files.push(tar);
        }
        if images.len() != part.images {
            let (found, stated) = (images.len(), part.images);
            let problem =
                format!("{stated} {name} images expected, but the shards contain {found}");
            return Err(Error::layout(dir, problem, "prepare the folder again"));
        }
        let classes = manifest.classes.iter().map(|class| class.id.clone()).collect();
        let whole = manifest.keep == Keep::Whole && manifest.side == side;
        Ok(Shards::of(classes, files.into(), images, side, manifest.encoding, whole))
    }

    /// The tar files of a folder in webdataset's layout, assigned to training or testing by their
    /// names (`train`, `val`, `test`). Without test images, a tenth of each class is held out. The
    /// ids of the classes are their numbers.
    ///
    /// # Errors
    /// If a file cannot be read or is damaged, or its content is ambiguous.
    pub(crate) fn split_webdataset(dir: &Path, side: usize) -> Result<TrainTest<Shards>> {
        let survey = webdataset::survey(dir)?;
        let (first_test, classes, mut notes) = (survey.train, survey.classes, survey.notes);
        let is_named = survey.names.iter().any(|name| !name.is_empty());
        let names = if is_named { survey.names } else { Vec::new() };
        let (mut files, mut parts) = (Vec::new(), [Vec::new(), Vec::new()]);
        for (number, tar) in survey.tars.into_iter().enumerate() {
            let mut members = Vec::with_capacity(tar.samples.len());
            for sample in tar.samples {
                let entry = IndexEntry {
                    number: members.len() as u64,
                    offset: sample.image.offset,
                    len: sample.image.len as u32, // longer ones were rejected
                    label: sample.label,
                    height: 0,
                    width: 0,
                    crc: 0,
                };
                members.push(sample.image.name);
                let placed = ImageLocation { tar: number as u32, entry };
                parts[usize::from(number >= first_test)].push(placed);
            }
            files.push(TarFile::open(tar.path, tar.name, Some(members), number, false)?.0);
        }
        let [train, test] = with_test_set(dir, parts, &mut notes, |image| image.entry.label);
        let classes: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        let (files, encoding): (Arc<[TarFile]>, _) = (files.into(), Encoding::Jpeg { quality: 0 });
        let of = |images| Shards::of(classes.clone(), files.clone(), images, side, encoding, false);
        Ok(TrainTest { train: of(train), test: of(test), class_names: names, notes })
    }

    fn of(
        classes: Vec<String>,
        files: Arc<[TarFile]>,
        images: Vec<ImageLocation>,
        side: usize,
        encoding: Encoding,
        whole: bool,
    ) -> Shards {
        let words = if encoding == Encoding::Raw { images.len().div_ceil(64) } else { 0 };
        let verified = (0..words).map(|_| AtomicU64::new(0)).collect();
        let (exif, remarks) = (ExifMode::Ignore, ImageRemarks::new(images.len()));
        Shards {
            classes,
            files,
            images,
            square: side.into(),
            encoding,
            whole,
            verified,
            exif,
            remarks,
        }
    }

    /// Sets how EXIF orientation is handled; the default is to ignore it. Images in prepared shards
    /// have none.
    pub(crate) fn with_exif(self, exif: ExifMode) -> Shards {
        Shards { exif, ..self }
    }

    /// Sets how half a pixel is rounded in the position of the centre square; the default is down.
    pub(crate) fn with_centre(mut self, rounding: CentreRounding) -> Shards {
        self.square.rounding = rounding;
        self
    }

    /// Whether crops may be taken from more than the centre square.
    pub fn keeps_whole_images(&self) -> bool {
        self.whole
    }

    fn bad(&self, index: usize, reason: Reason) -> Error {
        Error::image(Path::new(&self.name(index)), reason)
    }

    /// Calls `read` with the tar file of image `index`.
    fn with_file<T>(
        &self,
        index: usize,
        read: impl FnOnce(&File) -> std::io::Result<T>,
    ) -> Result<T> {
        let tar = &self.files[self.images[index].tar as usize];
        let read = match &tar.file {
            Some(file) => read(file),
            None => bounded::open(&tar.path).and_then(|(file, _)| read(&file)),
        };
        read.map_err(|error| self.bad(index, Reason::Unreadable(error.to_string())))
    }

    /// Reads the bytes of image `index` and verifies their checksum.
    fn load(&self, index: usize, bytes: &mut Vec<u8>) -> Result<()> {
        let ImageLocation { tar, entry } = self.images[index];
        bytes.resize(entry.len as usize, 0);
        self.with_file(index, |file| file.read_exact_at(bytes, entry.offset))?;
        let has_checksum = self.files[tar as usize].members.is_none();
        if has_checksum && crc32c::crc32c(bytes) != entry.crc {
            return Err(self.bad(index, Reason::Damaged("damaged: wrong checksum".to_owned())));
        }
        Ok(())
    }

    /// Decodes image `index` into `buffer.decoded`; only `part` of it is needed. `part` refers to
    /// the stored image if that has size `size`, or else to the resized centre square.
    fn decode(
        &self,
        index: usize,
        size: (usize, usize),
        part: Rectangle,
        extent: Extent,
        buffer: &mut ReadBuffer,
    ) -> Result<()> {
        if self.encoding == Encoding::Raw {
            let IndexEntry { height, width, .. } = self.images[index].entry;
            self.load(index, &mut buffer.decoded.pixels)?;
            (buffer.decoded.height, buffer.decoded.width) = (height as usize, width as usize);
            self.verified[index / 64].fetch_or(1 << (index % 64), Ordering::Relaxed);
        } else {
            self.load(index, &mut buffer.file)?;
            let part = |stored| {
                if stored == size || self.whole {
                    part
                } else {
                    Resizer::square_reach(stored, self.square, part)
                }
            };
            buffer
                .decode_part(self.exif, part, extent)
                .map_err(|reason| self.bad(index, reason))?;
            let Image { height, width, .. } = buffer.decoded;
            if self.whole && (height, width) != self.size_of(index) {
                let reason = format!("its index is wrong: {width} x {height}");
                return Err(self.bad(index, Reason::Damaged(reason)));
            }
            let is_enlarged = height.min(width) < self.square.side;
            self.remarks.add(index, buffer.is_oriented(), is_enlarged);
        }
        Ok(())
    }

    /// Whether crops of image `index` can be copied from the file: raw pixels, already verified.
    fn is_ready(&self, index: usize) -> bool {
        let IndexEntry { height, width, .. } = self.images[index].entry;
        self.encoding == Encoding::Raw
            && (height as usize, width as usize) == self.size_of(index)
            && self.verified[index / 64].load(Ordering::Relaxed) >> (index % 64) & 1 == 1
    }
}

impl TarFile {
    /// Opens the `number`th tar file, and maps it if it has raw pixels; also returns its length.
    fn open(
        path: PathBuf,
        name: String,
        members: Option<Vec<String>>,
        number: usize,
        is_raw: bool,
    ) -> Result<(TarFile, u64)> {
        let (file, len) = bounded::open(&path).map_err(|error| Error::io(&path, &error))?;
        // A file that cannot be mapped, or is growing, is read with positioned reads, which are
        // slower.
        let map = is_raw.then(|| Mapped::of(&file).ok()).flatten();
        let map = map.filter(|map| map.len() == len);
        let file = (number < KEPT_OPEN).then_some(file);
        Ok((TarFile { path, name, file, map, members }, len))
    }
}

/// Checks the index against the tar file and the manifest.
fn check_shard(manifest: &Manifest, path: &Path, len: u64, index: &ShardIndex) -> Result<()> {
    let wrong = |problem: String| Error::layout(path, problem, "prepare the folder again");
    if len != index.tar_len {
        return Err(wrong(format!("{len} bytes; according to its index {}", index.tar_len)));
    }
    for entry in &index.entries {
        let [height, width] = [entry.height as usize, entry.width as usize];
        let fits = match manifest.keep {
            Keep::Centre => height == manifest.side && width == manifest.side,
            Keep::Whole => height.min(width) == manifest.side,
        };
        let pixels = height as u64 * width as u64 * 3;
        let filled = match manifest.encoding {
            Encoding::Raw => u64::from(entry.len) == pixels,
            Encoding::Jpeg { .. } => u64::from(entry.len) <= LONGEST_IMAGE,
        };
        if !fits || !filled || entry.label as usize >= manifest.classes.len() {
            let IndexEntry { number, label, len, .. } = entry;
            return Err(wrong(format!(
                "image {number} ({width} x {height} pixels, {len} bytes, class {label}) \
                 contradicts dataset.json"
            )));
        }
    }
    Ok(())
}

impl Source for Shards {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        (self.square.side, self.square.side)
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.images[index].entry.label
    }

    fn name(&self, index: usize) -> String {
        let ImageLocation { tar, entry } = self.images[index];
        let tar = &self.files[tar as usize];
        match &tar.members {
            Some(members) => format!("{}/{}", tar.name, members[entry.number as usize]),
            None => format!("{}/{:09}.{}", tar.name, entry.number, self.encoding.extension()),
        }
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        self.decode(index, self.size(), Rectangle::whole(self.size()), Extent::Whole, buffer)?;
        if (buffer.decoded.height, buffer.decoded.width) == self.size() {
            return Ok(&buffer.decoded.pixels);
        }
        buffer.resizer.square(&buffer.decoded, self.square, &mut buffer.image);
        Ok(&buffer.image.pixels)
    }

    fn size_of(&self, index: usize) -> (usize, usize) {
        let IndexEntry { height, width, .. } = self.images[index].entry;
        if self.whole {
            shorter_side_to(self.square.side, (height as usize, width as usize))
        } else {
            self.size()
        }
    }

    fn read_crops(
        &self,
        index: usize,
        mut crops: Crops<'_>,
        buffer: &mut ReadBuffer,
    ) -> Result<()> {
        let whole = self.size_of(index);
        if self.is_ready(index) {
            let ImageLocation { tar, entry } = self.images[index];
            let map = self.files[tar as usize].map.as_ref();
            let size = crops.size;
            for (view, to) in crops.each() {
                let crop = Crop::new(entry.offset, whole, (view.top, view.left), size);
                // Reading works even if the file has changed under its mapping.
                if map.is_none_or(|map| crop.copy(map, to).is_err()) {
                    self.with_file(index, |file| crop.read(file, to, &mut buffer.file))?;
                }
            }
            return Ok(());
        }
        self.decode(index, whole, crops.part(whole), Extent::Needed, buffer)?;
        if (buffer.decoded.height, buffer.decoded.width) == whole {
            crops.copy(&buffer.decoded.pixels, whole.1);
        } else {
            buffer.square_crops(self.square, crops);
        }
        Ok(())
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.messages(self.square.side, self.exif, |index| self.name(index))
    }
}
