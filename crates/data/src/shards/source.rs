//! Shards as a source.

use super::about::{About, Form, Keep, Part};
use super::held_out::hold_out;
use super::rows::Crop;
use super::{Entry, Index, file_names, webdataset};
use crate::bounded::{self, LONGEST_IMAGE};
use crate::decode::{ExifMode, Reason};
use crate::jpeg::Extent;
use crate::seen::Seen;
use crate::source::{copy_crops, part_of};
use crate::{Error, ReadBuffer, Result, Source};
use augment::{Image, Rectangle, Resizer, View, shorter_side_to};
use mapped::Mapped;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many tar files are kept open; more are opened for each read, as a process may hold no more
/// than a thousand files open unless told otherwise.
const KEPT_OPEN: usize = 256;

/// Images in tar files, each of them one positioned read away.
///
/// What is read is compared with its checksum, if the tar file has an index: a JPEG each time, raw
/// pixels the first time, after which crops are copied out of the mapped file without being looked
/// at. No lock is taken, and nothing is allocated but by the decoder for JPEGs that are not plain.
pub struct Shards {
    classes: Vec<String>,
    files: Arc<[Tar]>,
    images: Vec<Placed>,
    side: usize,
    form: Form,
    /// Crops may be taken anywhere in the stored images, which have this shorter side.
    whole: bool,
    /// Of raw images: a bit for each whose checksum has been compared.
    compared: Vec<AtomicU64>,
    exif: ExifMode,
    seen: Seen,
}

/// A training set, a test set, and what should be said about them.
pub(crate) struct Split {
    pub(crate) train: Shards,
    pub(crate) test: Shards,
    /// In words; empty where no class has a name.
    pub(crate) class_names: Vec<String>,
    pub(crate) notes: Vec<String>,
}

struct Tar {
    path: PathBuf,
    /// As it is called in messages.
    name: String,
    file: Option<File>,
    /// Of raw pixels: the whole file, if it could be mapped.
    map: Option<Mapped>,
    /// The members' names, if they are not those that [`Entry::number`] makes.
    members: Option<Vec<String>>,
}

#[derive(Clone, Copy)]
pub(super) struct Placed {
    pub(super) tar: u32,
    pub(super) entry: Entry,
}

impl Shards {
    /// Whether a folder has been prepared, or holds tar files in webdataset's layout.
    pub fn is_at(dir: &Path) -> bool {
        About::is_at(dir) || webdataset::is_at(dir)
    }

    /// The training and the test images of a prepared folder, as squares of `side` x `side`. Images
    /// that were kept whole, with `side` as their shorter side, may be cropped anywhere.
    ///
    /// # Errors
    /// If a file is missing, damaged, or of another length.
    pub fn open(dir: &Path, side: usize) -> Result<(Shards, Shards)> {
        let about = About::read(dir)?;
        let train = Shards::prepared(dir, &about, "train", about.train, side)?;
        Ok((train, Shards::prepared(dir, &about, "val", about.val, side)?))
    }

    fn prepared(dir: &Path, about: &About, name: &str, part: Part, side: usize) -> Result<Shards> {
        let (mut files, mut images) = (Vec::new(), Vec::new());
        for shard in 0..part.shards {
            let names = file_names(name, shard);
            let [path, index_path] = names.each_ref().map(|name| dir.join(name));
            let index = Index::read(&index_path)?;
            let is_raw = about.form == Form::Raw;
            let (tar, len) = Tar::open(path, names[0].clone(), None, files.len(), is_raw)?;
            check_shard(about, &tar.path, len, &index)?;
            images.extend(index.entries.iter().map(|&entry| Placed { tar: shard as u32, entry }));
            files.push(tar);
        }
        if images.len() != part.images {
            let (found, stated) = (images.len(), part.images);
            let problem = format!("{stated} {name} images are stated, the shards hold {found}");
            return Err(Error::layout(dir, problem, "prepare the folder again"));
        }
        let classes = about.classes.iter().map(|class| class.id.clone()).collect();
        let whole = about.keep == Keep::Whole && about.side == side;
        Ok(Shards::of(classes, files.into(), images, side, about.form, whole))
    }

    /// The tar files of a folder in webdataset's layout, named for what they are for (`train`,
    /// `val`, `test`); without test images, a tenth of each class is held out. Classes are called
    /// by their numbers.
    ///
    /// # Errors
    /// If a file cannot be read or is damaged, or what it holds is ambiguous.
    pub(crate) fn split_webdataset(dir: &Path, side: usize) -> Result<Split> {
        let survey = webdataset::survey(dir)?;
        let (first_test, classes, mut notes) = (survey.train, survey.classes, survey.notes);
        let is_named = survey.names.iter().any(|name| !name.is_empty());
        let names = if is_named { survey.names } else { Vec::new() };
        let (mut files, mut parts) = (Vec::new(), [Vec::new(), Vec::new()]);
        for (number, tar) in survey.tars.into_iter().enumerate() {
            let mut members = Vec::with_capacity(tar.samples.len());
            for sample in tar.samples {
                let entry = Entry {
                    number: members.len() as u64,
                    offset: sample.image.offset,
                    len: sample.image.len as u32, // longer ones have been refused
                    label: sample.label,
                    height: 0,
                    width: 0,
                    crc: 0,
                };
                members.push(sample.image.name);
                let placed = Placed { tar: number as u32, entry };
                parts[usize::from(number >= first_test)].push(placed);
            }
            files.push(Tar::open(tar.path, tar.name, Some(members), number, false)?.0);
        }
        let [train, test] = parts;
        let (train, test, said) = if !test.is_empty() {
            (train, test, Vec::new())
        } else {
            hold_out(dir, train, |image| image.entry.label)
        };
        notes.extend(said);
        let classes: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        let (files, form): (Arc<[Tar]>, _) = (files.into(), Form::Jpeg { quality: 0 });
        let of = |images| Shards::of(classes.clone(), files.clone(), images, side, form, false);
        Ok(Split { train: of(train), test: of(test), class_names: names, notes })
    }

    fn of(
        classes: Vec<String>,
        files: Arc<[Tar]>,
        images: Vec<Placed>,
        side: usize,
        form: Form,
        whole: bool,
    ) -> Shards {
        let words = if form == Form::Raw { images.len().div_ceil(64) } else { 0 };
        let compared = (0..words).map(|_| AtomicU64::new(0)).collect();
        let (exif, seen) = (ExifMode::Ignore, Seen::new(images.len()));
        Shards { classes, files, images, side, form, whole, compared, exif, seen }
    }

    /// The same images with what is done about their EXIF orientation; at first it is ignored.
    /// Those of prepared shards have none.
    pub(crate) fn with_exif(self, exif: ExifMode) -> Shards {
        Shards { exif, ..self }
    }

    /// Whether crops may be taken from more than the centre square.
    pub fn keeps_whole_images(&self) -> bool {
        self.whole
    }

    fn bad(&self, index: usize, reason: Reason) -> Error {
        Error::image(Path::new(&self.name(index)), reason)
    }

    /// Does `read` with the tar file of image `index`.
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

    /// Reads the bytes of image `index` and compares their checksum.
    fn load(&self, index: usize, bytes: &mut Vec<u8>) -> Result<()> {
        let Placed { tar, entry } = self.images[index];
        bytes.resize(entry.len as usize, 0);
        self.with_file(index, |file| file.read_exact_at(bytes, entry.offset))?;
        let has_checksum = self.files[tar as usize].members.is_none();
        if has_checksum && crc32c::crc32c(bytes) != entry.crc {
            return Err(
                self.bad(index, Reason::Damaged("damaged: its checksum is another".to_owned()))
            );
        }
        Ok(())
    }

    /// Reads image `index` as it is stored into `buffer.decoded`. Only a part may be needed: one of
    /// images of `size`, if that is what is stored, or else of the centre square.
    fn decode(
        &self,
        index: usize,
        (size, part): ((usize, usize), Rectangle),
        extent: Extent,
        buffer: &mut ReadBuffer,
    ) -> Result<()> {
        if self.form == Form::Raw {
            let Entry { height, width, .. } = self.images[index].entry;
            self.load(index, &mut buffer.decoded.pixels)?;
            (buffer.decoded.height, buffer.decoded.width) = (height as usize, width as usize);
            self.compared[index / 64].fetch_or(1 << (index % 64), Ordering::Relaxed);
        } else {
            self.load(index, &mut buffer.file)?;
            let part = |stored| {
                if stored == size || self.whole {
                    part
                } else {
                    Resizer::square_reach(stored, self.side, part)
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
            if height.min(width) < self.side {
                self.seen.enlarged(index);
            }
            if buffer.is_oriented() {
                self.seen.oriented(index);
            }
        }
        Ok(())
    }

    /// Whether crops can be copied from where raw image `index` lies.
    fn is_ready(&self, index: usize) -> bool {
        let Entry { height, width, .. } = self.images[index].entry;
        self.form == Form::Raw
            && (height as usize, width as usize) == self.size_of(index)
            && self.compared[index / 64].load(Ordering::Relaxed) >> (index % 64) & 1 == 1
    }
}

impl Tar {
    /// Opens the `number`th tar file, and maps it if it is of raw pixels; returns its length, too.
    fn open(
        path: PathBuf,
        name: String,
        members: Option<Vec<String>>,
        number: usize,
        is_raw: bool,
    ) -> Result<(Tar, u64)> {
        let (file, len) = bounded::open(&path).map_err(|error| Error::io(&path, &error))?;
        // Where a file cannot be mapped, or is growing, positioned reads are slower and do as well.
        let map = is_raw.then(|| Mapped::of(&file).ok()).flatten();
        let map = map.filter(|map| map.len() == len);
        let file = (number < KEPT_OPEN).then_some(file);
        Ok((Tar { path, name, file, map, members }, len))
    }
}

/// What the index says must fit the tar file and the description.
fn check_shard(about: &About, path: &Path, len: u64, index: &Index) -> Result<()> {
    let wrong = |problem: String| Error::layout(path, problem, "prepare the folder again");
    if len != index.tar_len {
        return Err(wrong(format!("{len} bytes, where its index says {}", index.tar_len)));
    }
    for entry in &index.entries {
        let [height, width] = [entry.height as usize, entry.width as usize];
        let fits = match about.keep {
            Keep::Centre => height == about.side && width == about.side,
            Keep::Whole => height.min(width) == about.side,
        };
        let pixels = height as u64 * width as u64 * 3;
        let filled = match about.form {
            Form::Raw => u64::from(entry.len) == pixels,
            Form::Jpeg { .. } => u64::from(entry.len) <= LONGEST_IMAGE,
        };
        if !fits || !filled || entry.label as usize >= about.classes.len() {
            let Entry { number, label, len, .. } = entry;
            return Err(wrong(format!(
                "image {number} ({width} x {height} pixels, {len} bytes, class {label}) is not as \
                 dataset.json says"
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
        (self.side, self.side)
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.images[index].entry.label
    }

    fn name(&self, index: usize) -> String {
        let Placed { tar, entry } = self.images[index];
        let tar = &self.files[tar as usize];
        match &tar.members {
            Some(members) => format!("{}/{}", tar.name, members[entry.number as usize]),
            None => format!("{}/{:09}.{}", tar.name, entry.number, self.form.ending()),
        }
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        self.decode(index, (self.size(), Rectangle::whole(self.size())), Extent::Whole, buffer)?;
        if (buffer.decoded.height, buffer.decoded.width) == self.size() {
            return Ok(&buffer.decoded.pixels);
        }
        buffer.resizer.square(&buffer.decoded, self.side, &mut buffer.image);
        Ok(&buffer.image.pixels)
    }

    fn size_of(&self, index: usize) -> (usize, usize) {
        let Entry { height, width, .. } = self.images[index].entry;
        if self.whole {
            shorter_side_to(self.side, (height as usize, width as usize))
        } else {
            self.size()
        }
    }

    fn read_crops(
        &self,
        index: usize,
        views: &[View],
        size: (usize, usize),
        into: &mut [u8],
        buffer: &mut ReadBuffer,
    ) -> Result<()> {
        let whole = self.size_of(index);
        if self.is_ready(index) {
            let Placed { tar, entry } = self.images[index];
            let map = self.files[tar as usize].map.as_ref();
            for (view, to) in views.iter().zip(into.chunks_exact_mut(size.0 * size.1 * 3)) {
                let crop = Crop::new(entry.offset, whole, (view.top, view.left), size);
                // A file that has changed under its mapping is read as far as it goes.
                if map.is_none_or(|map| crop.copy(map, to).is_err()) {
                    self.with_file(index, |file| crop.read(file, to, &mut buffer.file))?;
                }
            }
            return Ok(());
        }
        self.decode(index, (whole, part_of(views, size, whole)), Extent::Needed, buffer)?;
        if (buffer.decoded.height, buffer.decoded.width) == whole {
            copy_crops(&buffer.decoded.pixels, whole.1, views, size, into);
        } else {
            buffer.square_crops(self.side, views, size, into);
        }
        Ok(())
    }

    fn remarks(&self) -> Vec<String> {
        self.seen.remarks(self.side, self.exif, |index| self.name(index))
    }
}
