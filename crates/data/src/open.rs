//! From what a user names to a training and a test set.

use crate::collection::packed;
use crate::decode::ExifMode;
use crate::folder::{Folder, Split, class_names};
use crate::items::Items;
use crate::layout::{Labelling, names};
use crate::located::Known;
use crate::shards::About;
use crate::{
    Cifar, Dataset, Error, Idx, Memory, Patience, ReadBuffer, Result, Shapes, Shards, Source,
    Stalled, WatchOfMany, bad_limit,
};
use std::path::Path;
use std::sync::Arc;

/// How a data set is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Height and width that every image gets.
    pub side: usize,
    /// Threads to read with at the start; 0: one for each core.
    pub threads: usize,
    /// Sets whose pixels take no more bytes than this, training and test together, are read once
    /// and kept.
    pub memory_limit: usize,
    /// Numbers of training and test images where they are generated.
    pub shapes: (u32, u32),
    /// Where labels and the names of classes come from, if not from folders.
    pub labelling: Labelling,
    /// What is done about the EXIF orientation of image files.
    pub exif: ExifMode,
}

impl Options {
    /// Images of `side` x `side` pixels; up to a gigabyte of them in memory.
    pub fn with_side(side: usize) -> Options {
        let shapes = (Shapes::TRAIN, Shapes::TEST);
        let (labelling, exif) = (Labelling::default(), ExifMode::Ignore);
        Options { side, threads: 0, memory_limit: 1 << 30, shapes, labelling, exif }
    }
}

/// Opens `shapes`, a folder of images, CIFAR-10 or CIFAR-100 (see [`Cifar`]), a folder with MNIST's
/// files, one that has been prepared, or one of tar files in webdataset's layout (see
/// [`shards`](crate::shards)).
///
/// Folders of images are `train/<class>/` with `val/<class>/` or `test/<class>/`; or `<class>/`
/// alone, of which a tenth is then held out; or images with a table of labels. `docs/data.md` shows
/// all layouts. `progress` hears how many of how many images have been
/// read into memory.
///
/// # Errors
/// If there is no such thing, its files do not make a data set, or too few of them are images.
pub fn open(
    what: &str,
    options: &Options,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Dataset> {
    let (mut set, memory_limit) = found(what, options)?;
    let opened = set.settle(Path::new(what), memory_limit, &mut |source, before, images| {
        let tell = |done: usize| progress(before + done, images);
        Ok(Some(Memory::read_all(Arc::clone(source), options.threads, &tell)))
    });
    Ok(opened?.map(|()| set).expect("nobody stops it"))
}

/// Reads a part of a set into memory, of which so many images were read before, of so many in all.
type Reader<'a> = dyn FnMut(&Arc<dyn Source>, usize, usize) -> Result<Option<Memory>> + 'a;

/// [`open`], which reads into memory by threads of their own. While they are waited for, `watch`
/// hears some times a second how many of how many images have been read, and of one that takes
/// long, and says whether to go on; if it says `false`, there is `None`.
///
/// # Errors
/// As there; [`Error::Stalled`] if an image takes longer than the patience's limit.
pub fn open_watched(
    what: &str,
    options: &Options,
    patience: Patience,
    watch: &mut WatchOfMany,
) -> Result<Option<Dataset>> {
    let (mut set, memory_limit) = found(what, options)?;
    let opened = set.settle(Path::new(what), memory_limit, &mut |source, before, images| {
        let mut watch = |done, stalled: Option<&Stalled>| watch((before + done, images), stalled);
        Memory::read_watched(source, options.threads, patience, &mut watch)
    });
    Ok(opened?.map(|()| set))
}

/// What has this name, as it lies there; and how many bytes of it may be kept in memory.
fn found(what: &str, options: &Options) -> Result<(Dataset, usize)> {
    let (mut set, memory_limit) = of_kind(what, options)?;
    if let Some(file) = &options.labelling.class_names {
        set.class_names = names::named(file, set.train.classes())?;
    }
    Ok((set, memory_limit))
}

fn of_kind(what: &str, options: &Options) -> Result<(Dataset, usize)> {
    let path = Path::new(what);
    let (mut notes, mut statistics, mut names) = (Vec::new(), None, Vec::new());
    let mut memory_limit = options.memory_limit;
    let given = options.labelling.gives_labels();
    let (train, test): (Arc<dyn Source>, Arc<dyn Source>) = if what == "shapes" && !given {
        let (train, test) = options.shapes;
        (
            Arc::new(Shapes::train(Shapes::SEED, options.side, train)),
            Arc::new(Shapes::test(Shapes::SEED, options.side, test)),
        )
    } else if About::is_at(path) && !given {
        let about = About::read(path)?;
        about.check_exif(path, options.exif)?;
        notes.extend(about.decoder_note(path));
        if about.side == options.side {
            statistics = Some(about.statistics(path)?);
        }
        names = class_names(&about.classes);
        let (train, test) = Shards::open(path, options.side)?;
        if train.keeps_whole_images() {
            memory_limit = 0; // memory keeps squares, and would lose what lies outside
        }
        (Arc::new(train), Arc::new(test))
    } else if let Some(known) = Known::find(path)?.filter(|_| !given) {
        if known.folder() != path {
            notes.push(format!("{}: this folder is used", known.folder().display()));
        }
        known_files(&known, options.side)?
    } else if packed::is_packed(path) {
        let collection = packed::open(path, &options.labelling, &|_, _| ())?;
        (names, notes) = (class_names(&collection.classes), collection.notes.clone());
        let (train, test) = Items::of(collection, (options.side, options.exif));
        (Arc::new(train), Arc::new(test))
    } else if Shards::is_at(path) && !given {
        let split = Shards::split_webdataset(path, options.side)?;
        (names, notes) = (split.class_names, split.notes);
        let (train, test) = (split.train, split.test);
        (Arc::new(train.with_exif(options.exif)), Arc::new(test.with_exif(options.exif)))
    } else {
        check_folder(path)?;
        let split = Folder::split(path, &options.labelling, options.side)?;
        let Split { train, test, class_names, notes: said } = split;
        (names, notes) = (class_names, said);
        (Arc::new(train.with_exif(options.exif)), Arc::new(test.with_exif(options.exif)))
    };
    let set = Dataset::new(what.to_owned(), train, test);
    Ok((Dataset { class_names: names, notes, statistics, ..set }, memory_limit))
}

/// The images of CIFAR or MNIST.
fn known_files(known: &Known, side: usize) -> Result<(Arc<dyn Source>, Arc<dyn Source>)> {
    Ok(match known {
        Known::Cifar(folder) => {
            let (train, test) = Cifar::open(folder, side)?;
            (Arc::new(train), Arc::new(test))
        }
        Known::Idx(folder) => {
            let (train, test) = Idx::open(folder, side)?;
            (Arc::new(train), Arc::new(test))
        }
    })
}

/// The side that a set's images have of themselves, before they are resized: CIFAR's and MNIST's,
/// a prepared folder's, and 64 pixels for `shapes`; `None` for files in folders, each of which has
/// its own.
///
/// # Errors
/// If MNIST's files have no readable header, or a prepared folder no readable description.
pub fn stored_side(what: &str) -> Result<Option<usize>> {
    let path = Path::new(what);
    Ok(match what {
        "shapes" => Some(64),
        _ if About::is_at(path) => Some(About::read(path)?.side),
        _ => match Known::find(path)? {
            Some(Known::Cifar(_)) => Some(Cifar::SIDE),
            Some(Known::Idx(folder)) => Some(Idx::stored_size(&folder).map(|(h, w)| h.min(w))?),
            None => None,
        },
    })
}

/// What was done about EXIF orientation when a folder was prepared; `None` for all else.
///
/// # Errors
/// If the prepared folder has no readable description.
pub fn stored_exif(what: &str) -> Result<Option<ExifMode>> {
    let path = Path::new(what);
    About::is_at(path).then(|| About::read(path).map(|about| about.exif)).transpose()
}

/// Refuses what cannot be a folder of images, and says what was looked for.
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
    /// Reads small sets into memory by `read`, which is told what was read before and how many
    /// there are in all, and makes sure of large ones that they can be read at all. `None` if
    /// `read` was stopped.
    fn settle(
        &mut self,
        path: &Path,
        memory_limit: usize,
        read: &mut Reader,
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
                    self.notes.push(remark); // where the test images are the training images
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

/// Reads one image, and a few others if that fails.
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
    Error::layout(path, problem, "point --data to a folder of images")
}

#[cfg(test)]
mod tests;
