//! Opens the data set that a user names.

use crate::collection::{CollectionSource, packed};
use crate::decode::ExifMode;
use crate::folder::{Folder, class_names};
use crate::known_files::KnownFiles;
use crate::layout::{Labelling, names};
use crate::shards::Manifest;
use crate::{
    Cifar, Dataset, Error, Idx, Memory, ProgressWatch, ReadBuffer, ReadTimeouts, Result, Shapes,
    Shards, Source, StalledRead, bad_limit,
};
use augment::{CentreRounding, CentreSquare};
use std::path::Path;
use std::sync::Arc;

/// How a data set is opened.
#[derive(Clone, Debug)]
pub struct DatasetOptions {
    /// Height and width of every delivered image, in pixels.
    pub side: usize,
    /// Threads for the initial reading; 0: one per core.
    pub threads: usize,
    /// A set whose pixels (training and test) take at most this many bytes is read into memory
    /// once.
    pub memory_limit: usize,
    /// Numbers of generated training and test images, for `shapes`.
    pub shapes: (u32, u32),
    /// Where labels and class names come from, if not from folder names.
    pub labelling: Labelling,
    /// How the EXIF orientation of image files is handled.
    pub exif: ExifMode,
    /// How half a pixel is rounded where image files are cut to their centre square. The images of
    /// prepared folders have been cut, rounded down.
    pub centre: CentreRounding,
}

impl DatasetOptions {
    /// Images of `side` x `side` pixels; sets of up to 1 GiB are kept in memory.
    pub fn with_side(side: usize) -> DatasetOptions {
        let shapes = (Shapes::TRAIN, Shapes::TEST);
        let (labelling, exif) = (Labelling::default(), ExifMode::Ignore);
        let centre = CentreRounding::Down;
        DatasetOptions { side, threads: 0, memory_limit: 1 << 30, shapes, labelling, exif, centre }
    }
}

/// Opens `shapes`, a folder of images, CIFAR-10 or CIFAR-100 (see [`Cifar`]), a folder with MNIST's
/// files, a prepared folder, or a folder of tar files in webdataset's layout (see
/// [`shards`](crate::shards)).
///
/// A folder of images has `train/<class>/` with `val/<class>/` or `test/<class>/`; or only
/// `<class>/`, of which a tenth is then held out; or images with a table of labels. `docs/data.md`
/// lists all layouts. `progress` receives the number of images read into memory and the total.
///
/// # Errors
/// If nothing has this name, if its files are not a data set, or if too few of them are images.
pub fn open(
    what: impl AsRef<Path>,
    options: &DatasetOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Dataset> {
    let what = what.as_ref();
    let (mut set, memory_limit) = find(what, options)?;
    let opened = set.load(what, memory_limit, &mut |source, before, images| {
        let report = |done: usize| progress(before + done, images);
        Ok(Some(Memory::read_all(Arc::clone(source), options.threads, &report)))
    });
    Ok(opened?.map(|()| set).expect("this read has no stop"))
}

/// Reads a source into memory. Its arguments: the source, the number of images read before it, and
/// the total.
type ReadIntoMemory<'a> = dyn FnMut(&Arc<dyn Source>, usize, usize) -> Result<Option<Memory>> + 'a;

/// [`open`], with separate reader threads. While they read, `watch` is called several times a
/// second with the number of images read and any stalled read. If it returns `false`, the result is
/// `None`.
///
/// # Errors
/// As [`open`]; [`Error::Stalled`] if an image takes longer than the limit.
pub fn open_watched(
    what: impl AsRef<Path>,
    options: &DatasetOptions,
    timeouts: ReadTimeouts,
    watch: &mut ProgressWatch,
) -> Result<Option<Dataset>> {
    let what = what.as_ref();
    let (mut set, memory_limit) = find(what, options)?;
    let opened = set.load(what, memory_limit, &mut |source, before, images| {
        let mut watch =
            |done, stalled: Option<&StalledRead>| watch((before + done, images), stalled);
        Memory::read_watched(source, options.threads, timeouts, &mut watch)
    });
    Ok(opened?.map(|()| set))
}

/// Opens the named set without reading its images; also returns how many bytes of it may be kept
/// in memory.
fn find(what: &Path, options: &DatasetOptions) -> Result<(Dataset, usize)> {
    let (mut set, memory_limit) = find_any(what, options)?;
    if let Some(file) = &options.labelling.class_names {
        set.class_names = names::named(file, set.train.classes())?;
    }
    Ok((set, memory_limit))
}

fn find_any(path: &Path, options: &DatasetOptions) -> Result<(Dataset, usize)> {
    let (mut notes, mut statistics, mut names) = (Vec::new(), None, Vec::new());
    let mut memory_limit = options.memory_limit;
    let square = CentreSquare { side: options.side, rounding: options.centre };
    let given = options.labelling.gives_labels();
    let (train, test) = if is_shapes(path) && !given {
        let (train, test) = options.shapes;
        let train = Shapes::train(Shapes::SEED, options.side, train);
        shared((train, Shapes::test(Shapes::SEED, options.side, test)))
    } else if Manifest::is_at(path) && !given {
        let manifest = Manifest::read(path)?;
        manifest.check_exif(path, options.exif)?;
        notes.extend(manifest.decoder_note(path));
        if options.centre != CentreRounding::Down {
            notes.push(format!(
                "{}: prepared images are cut to their centre with half a pixel rounded down; \
                 the weights were trained with it rounded to even",
                path.display()
            ));
        }
        if manifest.side == options.side {
            statistics = Some(manifest.statistics(path)?);
        }
        names = class_names(&manifest.classes);
        let (train, test) = Shards::open(path, options.side)?;
        if train.keeps_whole_images() {
            memory_limit = 0; // `Memory` keeps only the centre squares
        }
        shared((train, test))
    } else if let Some(known) = KnownFiles::find(path)?.filter(|_| !given) {
        if known.folder() != path {
            notes.push(format!("{}: this folder is used", known.folder().display()));
        }
        match &known {
            KnownFiles::Cifar(folder) => shared(Cifar::open(folder, options.side)?),
            KnownFiles::Idx(folder) => shared(Idx::open(folder, options.side)?),
        }
    } else if packed::is_packed(path) {
        let collection = packed::open(path, &options.labelling, &|_, _| ())?;
        (names, notes) = (class_names(&collection.classes), collection.notes.clone());
        shared(CollectionSource::split(collection, square, options.exif))
    } else if Shards::is_at(path) && !given {
        let split = Shards::split_webdataset(path, options.side)?;
        (names, notes) = (split.class_names, split.notes);
        let (train, test) = (split.train, split.test);
        let set = |shards: Shards| shards.with_exif(options.exif).with_centre(options.centre);
        shared((set(train), set(test)))
    } else {
        check_folder(path)?;
        let split = Folder::split(path, &options.labelling, options.side)?;
        (names, notes) = (split.class_names, split.notes);
        let (train, test) = (split.train, split.test);
        let set = |folder: Folder| folder.with_exif(options.exif).with_centre(options.centre);
        shared((set(train), set(test)))
    };
    let set = Dataset::new(path.display().to_string(), train, test);
    Ok((Dataset { class_names: names, notes, statistics, ..set }, memory_limit))
}

/// Whether this names the generated set, not a path.
fn is_shapes(what: &Path) -> bool {
    what == Path::new("shapes")
}

/// A training and a test set of one kind, behind the trait.
fn shared<S: Source + 'static>((train, test): (S, S)) -> (Arc<dyn Source>, Arc<dyn Source>) {
    (Arc::new(train), Arc::new(test))
}

/// The side of a set's stored images, before they are resized: that of CIFAR's and MNIST's images,
/// that of a prepared folder, and 64 pixels for `shapes`. `None` for folders of image files, whose
/// sizes differ.
///
/// # Errors
/// If MNIST's files have no readable header, or a prepared folder no readable description.
pub fn stored_side(what: impl AsRef<Path>) -> Result<Option<usize>> {
    let path = what.as_ref();
    if is_shapes(path) {
        return Ok(Some(64));
    }
    if Manifest::is_at(path) {
        return Ok(Some(Manifest::read(path)?.side));
    }
    Ok(match KnownFiles::find(path)? {
        Some(KnownFiles::Cifar(_)) => Some(Cifar::SIDE),
        Some(KnownFiles::Idx(folder)) => Some(Idx::stored_size(&folder).map(|(h, w)| h.min(w))?),
        None => None,
    })
}

/// How EXIF orientation was handled when a folder was prepared; `None` for all other sets.
///
/// # Errors
/// If the prepared folder has no readable description.
pub fn stored_exif(what: impl AsRef<Path>) -> Result<Option<ExifMode>> {
    let path = what.as_ref();
    Manifest::is_at(path).then(|| Manifest::read(path).map(|manifest| manifest.exif)).transpose()
}

/// Checks that `path` is a folder; the error lists what can be opened.
fn check_folder(path: &Path) -> Result<()> {
    let expected = "`shapes` (generated images), a folder with `train/<class>/` and \
                    `val/<class>/`, a folder with `<class>/`, or a folder with CIFAR-10's \
                    `data_batch_1.bin` or `data_batch_1`, CIFAR-100's `train.bin` or `train`, \
                    one of their `.tar.gz` files, a folder with MNIST's \
                    `train-images-idx3-ubyte`, a prepared folder with `dataset.json`, one with \
                    webdataset's tar files or with parquet files of images, or a .zip, .tar or \
                    .tar.gz of a folder of images";
    let found = if !path.exists() {
        "there is nothing of this name"
    } else if !path.is_dir() {
        "this is not a folder"
    } else {
        return Ok(());
    };
    let (found, expected) = (found.to_owned(), expected.to_owned());
    Err(Error::NotFound { path: path.to_owned(), found, expected })
}

impl Dataset {
    /// Reads a small set into memory with `read`. Of a large set, only checks that images can be
    /// read. `None` if `read` was stopped.
    fn load(
        &mut self,
        path: &Path,
        memory_limit: usize,
        read: &mut ReadIntoMemory,
    ) -> Result<Option<()>> {
        let images = self.train.len() + self.test.len();
        let (height, width) = self.train.size();
        if images.saturating_mul(height * width * 3) > memory_limit {
            try_some(path, &*self.train)?;
            try_some(path, &*self.test)?;
            return Ok(Some(()));
        }
        let mut before = 0;
        for set in [&mut self.train, &mut self.test] {
            let Some(read) = read(set, before, images)? else { return Ok(None) };
            before += set.len();
            check_bad(path, &read)?;
            if let Some((_, first)) = read.bad().first_key_value() {
                let (count, len) = (read.bad().len(), read.len());
                self.notes
                    .push(format!("{count} of {len} images cannot be read; the first: {first}"));
            }
            for remark in read.remarks_of_reading() {
                if !self.notes.contains(&remark) {
                    self.notes.push(remark); // training and test images may be the same
                }
            }
            *set = Arc::new(read);
        }
        Ok(Some(()))
    }
}

fn check_bad(path: &Path, set: &Memory) -> Result<()> {
    let (count, len) = (set.bad().len(), set.len());
    let Some((_, first)) = set.bad().first_key_value() else {
        return Ok(());
    };
    if count == len {
        return Err(none_readable(path, len, first));
    }
    if count > bad_limit(len) {
        let (limit, first) = (bad_limit(len), Box::new(first.clone()));
        return Err(Error::TooManyBad { count, len, limit, first });
    }
    Ok(())
}

/// Checks that at least one of a few images can be read.
fn try_some(path: &Path, set: &dyn Source) -> Result<()> {
    const TRIES: usize = 64;
    let mut buffer = ReadBuffer::default();
    let mut first = None;
    let tries = TRIES.min(set.len());
    for attempt in 0..tries {
        match set.read(attempt * set.len() / tries, &mut buffer) {
            Ok(_) => return Ok(()),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(()), |first| Err(none_readable(path, tries, &first)))
}

fn none_readable(path: &Path, tries: usize, first: &Error) -> Error {
    let problem = format!("none of {tries} images can be read (the first: {first})");
    Error::layout(path, problem, "open a folder of images")
}

#[cfg(test)]
mod tests;
