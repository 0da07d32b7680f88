//! Packs a collection of image files into shards.
//!
//! Every image is decoded and resized so that its shorter side is as requested (with Pillow's
//! bilinear filter, bit-identical: see [`augment::Resizer`]; the 2012 source averaged areas
//! instead). The centre square or the whole image is encoded anew or stored as pixels. Training
//! images are written in a fixed shuffled order (Philox, seed 0), so that sequential readers get
//! mixed classes; test images in their own order.
//!
//! Threads process images; one thread writes the results in order. The number of results in between
//! is bounded. After each shard, the sums for the statistics are saved in `prepare.state`: an
//! interrupted run resumes from there and produces the same bytes.

mod encode;
mod ordered;
mod state;

use crate::collection::{Class, Collection, LabelledFile};
use crate::decode::{DECODER_VERSION, ExifMode};
use crate::parallel::thread_count;
use crate::shards::{
    Encoding, Keep, Manifest, ManifestFields, SetCounts, ShardWriter, first_decoder,
    is_first_decoder, write_durably, write_error,
};
use crate::{Error, Result, bad_limit};
use encode::{EncodedImage, Encoder};
use random::Permutation;
use serde::{Deserialize, Serialize};
use state::{BadFile, PrepareState};
use std::fs::{self, File, TryLockError};
use std::path::Path;

/// How a collection is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrepareOptions {
    /// Shorter side of every image, in pixels.
    pub side: usize,
    /// The centre square, or the whole image.
    pub keep: Keep,
    /// JPEG or pixels.
    pub encoding: Encoding,
    /// Images per shard; the last has fewer.
    pub images_per_shard: usize,
    /// Threads that decode and encode; 0: one per core.
    pub threads: usize,
    /// How the EXIF orientation of the files is handled.
    pub exif: ExifMode,
}

impl Default for PrepareOptions {
    /// Centre squares of 256 pixels, JPEG of quality 95, as in the 2012 source; 10,000 per shard,
    /// about 300 MB.
    fn default() -> PrepareOptions {
        let (keep, encoding) = (Keep::Centre, Encoding::Jpeg { quality: 95 });
        let exif = ExifMode::Ignore;
        PrepareOptions { side: 256, keep, encoding, images_per_shard: 10_000, threads: 0, exif }
    }
}

/// The progress of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrepareProgress {
    /// Images processed, training first, including those of earlier runs.
    pub done: usize,
    /// The number of images.
    pub total: usize,
    /// Bytes of images written by this run.
    pub bytes: u64,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct PrepareSummary {
    /// The manifest; `None` if the run was stopped, in which case the same call resumes it.
    pub manifest: Option<Manifest>,
    /// The numbers of training and test images stored so far.
    pub images: [usize; 2],
    /// The number of unreadable files so far; they are listed in `bad.jsonl`.
    pub bad: usize,
}

/// The settings that determine the written bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct PrepareSettings {
    side: usize,
    keep: Keep,
    #[serde(rename = "form")]
    encoding: Encoding,
    images_per_shard: usize,
    /// SHA-256 of the files' names, labels and lengths.
    collection: String,
    #[serde(default, skip_serializing_if = "ExifMode::is_ignore")]
    exif: ExifMode,
    /// The version that started the run; it may be resumed by another one.
    #[serde(default = "first_decoder", skip_serializing_if = "is_first_decoder")]
    decoder: u32,
}

const BAD_FILE: &str = "bad.jsonl";

/// Writes the shards of `collection` to `out_dir`, resuming an interrupted run.
///
/// Files that are not images are left out and listed in `bad.jsonl`. `progress` is called after
/// every image; `stop` is called before every image and ends the run early if it returns `true`.
///
/// # Errors
/// If an option is invalid, `out_dir` contains something else, another run is writing there, more
/// than [`bad_limit`] files of a set are not images, or writing fails.
pub fn prepare(
    collection: &Collection,
    out_dir: &Path,
    options: &PrepareOptions,
    progress: &mut dyn FnMut(PrepareProgress),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<PrepareSummary> {
    check_options(options, out_dir)?;
    check_collection(collection)?;
    fs::create_dir_all(out_dir).map_err(|error| write_error(out_dir, &error))?;
    let _locked = lock(out_dir)?;
    let settings = PrepareSettings {
        side: options.side,
        keep: options.keep,
        encoding: options.encoding,
        images_per_shard: options.images_per_shard,
        collection: state::digest(collection),
        exif: options.exif,
        decoder: DECODER_VERSION,
    };
    if let Some(done) = finished(out_dir, &settings, collection)? {
        return Ok(done);
    }
    let mut state = PrepareState::open(out_dir, &settings)?;
    state::remove_temporary_files(out_dir);
    let sets = [("train", &collection.train), ("val", &collection.test)];
    let mut total = PrepareProgress {
        total: sets.iter().map(|(_, set)| set.len()).sum(),
        ..PrepareProgress::default()
    };
    for (part, (name, files)) in sets.into_iter().enumerate() {
        let run = SetWriter { collection, files, name, part, options, out_dir, stop };
        if !run.write(&mut state, &mut total, progress)? {
            return Ok(summary(&state, None));
        }
    }
    let part = |part: usize| SetCounts {
        images: state.images[part],
        shards: state.shards[part],
        bad: state.bad.iter().filter(|bad| bad.set == sets[part].0).count(),
    };
    let manifest = Manifest::write(
        out_dir,
        &ManifestFields {
            side: options.side,
            keep: options.keep,
            encoding: options.encoding,
            images_per_shard: options.images_per_shard,
            train: part(0),
            val: part(1),
            collection: &settings.collection,
            classes: &collection.classes,
            decoder: state.decoder(),
            exif: options.exif,
            statistics: &state.sums.statistics(),
        },
    )?;
    PrepareState::remove(out_dir);
    Ok(summary(&state, Some(manifest)))
}

/// Whether an earlier run has started in `out_dir`.
pub fn has_begun(out_dir: impl AsRef<Path>) -> bool {
    let out_dir = out_dir.as_ref();
    PrepareState::is_at(out_dir) || Manifest::is_at(out_dir)
}

fn summary(state: &PrepareState, manifest: Option<Manifest>) -> PrepareSummary {
    PrepareSummary { manifest, images: state.images, bad: state.bad.len() }
}

fn check_options(options: &PrepareOptions, out_dir: &Path) -> Result<()> {
    let wrong = |problem: String, remedy| Err(Error::layout(out_dir, problem, remedy));
    match *options {
        PrepareOptions { side, .. } if !(1..=4096).contains(&side) => {
            wrong(format!("images of side {side}"), "choose a side of 1 to 4096 pixels")
        }
        PrepareOptions { encoding: Encoding::Jpeg { quality }, .. }
            if !(1..=100).contains(&quality) =>
        {
            wrong(format!("JPEG of quality {quality}"), "choose a quality of 1 to 100")
        }
        PrepareOptions { images_per_shard: 0, .. } => {
            wrong("shards without images".to_owned(), "choose at least one image per shard")
        }
        _ => Ok(()),
    }
}

fn check_collection(collection: &Collection) -> Result<()> {
    let wrong = |problem: String| {
        let remedy = "open a folder or archives with images of at least two classes";
        Err(Error::layout(Path::new(&collection.name), problem, remedy))
    };
    let classes = collection.classes.len();
    let mut files = collection.train.iter().chain(&collection.test);
    if collection.train.is_empty() || classes < 2 {
        let count = collection.train.len();
        return wrong(format!("{count} training images of {classes} classes"));
    }
    match files.find(|file| file.label as usize >= classes) {
        Some(LabelledFile { name, label, .. }) => {
            wrong(format!("{name}: class {label}, but there are {classes}"))
        }
        None => Ok(()),
    }
}

/// Locks the folder against other runs until the file is dropped or the process ends.
fn lock(out_dir: &Path) -> Result<File> {
    let dir = File::open(out_dir).map_err(|error| Error::io(out_dir, &error))?;
    match dir.try_lock() {
        Ok(()) => Ok(dir),
        Err(TryLockError::WouldBlock) => {
            let problem = "another process is preparing images in this folder";
            Err(Error::layout(out_dir, problem, "wait for it, or choose another folder"))
        }
        // Some network file systems have no locks.
        Err(TryLockError::Error(_)) => Ok(dir),
    }
}

/// The result of an earlier run that finished.
fn finished(
    out_dir: &Path,
    settings: &PrepareSettings,
    collection: &Collection,
) -> Result<Option<PrepareSummary>> {
    if !Manifest::is_at(out_dir) {
        return Ok(None);
    }
    let manifest = Manifest::read(out_dir)?;
    let there = PrepareSettings {
        side: manifest.side,
        keep: manifest.keep,
        encoding: manifest.encoding,
        images_per_shard: manifest.images_per_shard,
        collection: manifest.collection.clone(),
        exif: manifest.exif,
        decoder: manifest.decoder,
    };
    state::check_same(&out_dir.join("dataset.json"), &there, settings)?;
    if !same_classes(&manifest.classes, &collection.classes) {
        let path = out_dir.join("dataset.json");
        return Err(Error::layout(&path, "other classes", "choose another folder"));
    }
    state::remove_temporary_files(out_dir);
    PrepareState::remove(out_dir); // the earlier run may have been interrupted right before this
    let (images, bad) =
        ([manifest.train.images, manifest.val.images], manifest.train.bad + manifest.val.bad);
    Ok(Some(PrepareSummary { manifest: Some(manifest), images, bad }))
}

/// Whether classes are the same; their names in words may differ.
fn same_classes(a: &[Class], b: &[Class]) -> bool {
    let ids = |class: &Class| (class.id.clone(), class.devkit_id);
    a.iter().map(ids).eq(b.iter().map(ids))
}

/// Writes one of the two sets.
struct SetWriter<'a> {
    collection: &'a Collection,
    files: &'a [LabelledFile],
    name: &'static str,
    part: usize,
    options: &'a PrepareOptions,
    out_dir: &'a Path,
    stop: &'a (dyn Fn() -> bool + Sync),
}

impl SetWriter<'_> {
    /// Writes the missing shards; returns `false` if it was stopped.
    fn write(
        &self,
        state: &mut PrepareState,
        total: &mut PrepareProgress,
        progress: &mut dyn FnMut(PrepareProgress),
    ) -> Result<bool> {
        let per_shard = self.options.images_per_shard;
        let first = (state.shards[self.part] * per_shard).min(self.files.len());
        total.done += first;
        // The epoch `u32::MAX` differs from those of training.
        let order = Permutation::new(0, u32::MAX, self.files.len() as u64);
        let file = |position: usize| match self.part {
            0 if !self.collection.in_order => &self.files[order.at(position as u64) as usize],
            _ => &self.files[position],
        };
        let make = |encoder: &mut Encoder, position: usize, made: &mut EncodedImage| {
            encoder.make(self.collection, file(position), made);
        };
        let prepare = || Encoder::new(self.options);
        let threads = thread_count(self.options.threads);
        let mut writer: Option<ShardWriter> = None;
        let mut bad = Vec::new();
        let mut images = 0;
        ordered::for_each(threads, first..self.files.len(), self.stop, prepare, make, |at, made| {
            if writer.is_none() {
                writer = Some(ShardWriter::create(self.out_dir, self.name, at / per_shard)?);
            }
            let shard = writer.as_mut().expect("just made");
            match &made.failed {
                None => {
                    let ending = self.options.encoding.extension();
                    shard.add(at as u64, ending, &made.stored, file(at).label, made.size)?;
                    total.bytes += made.stored.len() as u64;
                    images += 1;
                    if self.part == 0 {
                        state.sums.add(&made.square);
                    }
                }
                Some(error) => {
                    bad.push(BadFile::new(self.name, at, &file(at).name, error));
                    self.check_bad(state, &bad)?;
                }
            }
            if (at + 1).is_multiple_of(per_shard) || at + 1 == self.files.len() {
                writer.take().expect("a shard is open").finish()?;
                state.shards[self.part] += 1;
                state.images[self.part] += std::mem::take(&mut images);
                state.bad.append(&mut bad);
                write_durably(&self.out_dir.join(BAD_FILE), &state.bad_lines(&[]))?;
                state.save(self.out_dir)?;
            }
            total.done += 1;
            progress(*total);
            Ok(())
        })
    }

    fn check_bad(&self, state: &PrepareState, new: &[BadFile]) -> Result<()> {
        let mut bad = state.bad.iter().filter(|bad| bad.set == self.name).chain(new);
        let (count, len) = (bad.clone().count(), self.files.len());
        let (limit, all) = (bad_limit(len), count == len);
        if count <= limit && !all {
            return Ok(());
        }
        write_durably(&self.out_dir.join(BAD_FILE), &state.bad_lines(new))?;
        let first = bad.next().expect("count is above the limit").error();
        if all {
            let problem = format!("none of {len} {} files is an image: {first}", self.name);
            return Err(Error::layout(self.out_dir, problem, "check the collection"));
        }
        Err(Error::TooManyBad { count, len, limit, first: Box::new(first) })
    }
}

#[cfg(test)]
mod tests;
