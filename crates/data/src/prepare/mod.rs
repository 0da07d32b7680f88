//! From a collection of image files to shards.
//!
//! Every image is read, decoded, and resized so that its shorter side is as asked (Pillow's
//! bilinear filter, bit for bit: see [`augment::Resizer`]; the 2012 source averaged areas instead);
//! its centre square is kept, or all of it; it is encoded anew, or stored as pixels. Training
//! images are written in an order shuffled once for all (Philox, seed 0), so that whoever reads
//! them one after another meets the classes mixed; test images in their own order.
//!
//! Threads do the work on single images; one writes what they made, in order. What lies between is
//! bounded. After each shard the sums for the statistics go to `prepare.state`: from there a run
//! that was cut off goes on, and ends with the same bytes.

mod encode;
mod line;
mod state;

use crate::collection::{Class, Collection, Item};
use crate::decode::{DECODER_VERSION, ExifMode};
use crate::parallel::thread_count;
use crate::shards::{
    About, Form, Keep, Part, Parts, ShardWriter, first_decoder, is_first_decoder, write_durably,
    write_error,
};
use crate::{Error, Result, bad_limit};
use encode::{Encoder, Made};
use random::Permutation;
use serde::{Deserialize, Serialize};
use state::{Bad, State};
use std::fs::{self, File, TryLockError};
use std::path::Path;

/// What is to be made of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrepareOptions {
    /// Shorter side of every image, in pixels.
    pub side: usize,
    /// The centre square, or the whole image.
    pub keep: Keep,
    /// JPEG or pixels.
    pub form: Form,
    /// Images in a shard; the last has fewer.
    pub images_per_shard: usize,
    /// Threads that decode and encode; 0: one for each core.
    pub threads: usize,
    /// What is done about the EXIF orientation of the files.
    pub exif: ExifMode,
}

impl Default for PrepareOptions {
    /// Centre squares of 256 pixels, JPEG of quality 95, as in the 2012 source; 10,000 in a shard,
    /// about 300 MB.
    fn default() -> PrepareOptions {
        let (keep, form) = (Keep::Centre, Form::Jpeg { quality: 95 });
        let exif = ExifMode::Ignore;
        PrepareOptions { side: 256, keep, form, images_per_shard: 10_000, threads: 0, exif }
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Images that have been dealt with, training first, those of earlier runs among them.
    pub done: usize,
    /// Images in all.
    pub total: usize,
    /// Bytes of stored images written by this run.
    pub bytes: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What `dataset.json` says; `None`: the run was stopped, and the same call goes on with it.
    pub about: Option<About>,
    /// Training and test images that are stored so far.
    pub images: [usize; 2],
    /// Files that could not be read so far; `bad.jsonl` names them.
    pub bad: usize,
}

/// What decides on the bytes that are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    side: usize,
    keep: Keep,
    form: Form,
    images_per_shard: usize,
    /// SHA-256 over the files' names, labels and lengths.
    collection: String,
    #[serde(default, skip_serializing_if = "ExifMode::is_ignore")]
    exif: ExifMode,
    /// Of the program that began: another may go on, and what it does not decode as well counts.
    #[serde(default = "first_decoder", skip_serializing_if = "is_first_decoder")]
    decoder: u32,
}

const BAD_FILE: &str = "bad.jsonl";

/// Writes the shards of `collection` into `out_dir`, going on where an earlier run stopped.
///
/// Files that are no images are left out and named in `bad.jsonl`. `progress` hears after every
/// image how far it is; `stop` is asked before every image whether to end early.
///
/// # Errors
/// If options make no sense, `out_dir` holds something else, another run is writing there, more
/// than [`bad_limit`] files of a set are no images, or the disk fails.
pub fn prepare(
    collection: &Collection,
    out_dir: &Path,
    options: &PrepareOptions,
    progress: &mut dyn FnMut(Progress),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Summary> {
    check_options(options, out_dir)?;
    check_collection(collection)?;
    fs::create_dir_all(out_dir).map_err(|error| write_error(out_dir, &error))?;
    let _locked = lock(out_dir)?;
    let task = Task {
        side: options.side,
        keep: options.keep,
        form: options.form,
        images_per_shard: options.images_per_shard,
        collection: state::digest(collection),
        exif: options.exif,
        decoder: DECODER_VERSION,
    };
    if let Some(done) = finished(out_dir, &task, collection)? {
        return Ok(done);
    }
    let mut state = State::open(out_dir, &task)?;
    state::sweep(out_dir);
    let sets = [("train", &collection.train), ("val", &collection.test)];
    let mut told =
        Progress { total: sets.iter().map(|(_, set)| set.len()).sum(), ..Progress::default() };
    for (part, (name, items)) in sets.into_iter().enumerate() {
        let run = Run { collection, items, name, part, options, out_dir, stop };
        if !run.write(&mut state, &mut told, progress)? {
            return Ok(summary(&state, None));
        }
    }
    let part = |part: usize| Part {
        images: state.images[part],
        shards: state.shards[part],
        bad: state.bad.iter().filter(|bad| bad.set == sets[part].0).count(),
    };
    let about = About::write(
        out_dir,
        &Parts {
            side: options.side,
            keep: options.keep,
            form: options.form,
            images_per_shard: options.images_per_shard,
            train: part(0),
            val: part(1),
            collection: &task.collection,
            classes: &collection.classes,
            decoder: state.decoder(),
            exif: options.exif,
            statistics: &state.sums.statistics(),
        },
    )?;
    State::remove(out_dir);
    Ok(summary(&state, Some(about)))
}

/// Whether an earlier run has finished a shard in `out_dir`.
pub fn has_begun(out_dir: &Path) -> bool {
    State::is_at(out_dir) || About::is_at(out_dir)
}

fn summary(state: &State, about: Option<About>) -> Summary {
    Summary { about, images: state.images, bad: state.bad.len() }
}

fn check_options(options: &PrepareOptions, out_dir: &Path) -> Result<()> {
    let wrong = |problem: String, remedy| Err(Error::layout(out_dir, problem, remedy));
    match *options {
        PrepareOptions { side, .. } if !(1..=4096).contains(&side) => {
            wrong(format!("images of side {side}"), "choose a side of 1 to 4096 pixels")
        }
        PrepareOptions { form: Form::Jpeg { quality }, .. } if !(1..=100).contains(&quality) => {
            wrong(format!("JPEG of quality {quality}"), "choose a quality of 1 to 100")
        }
        PrepareOptions { images_per_shard: 0, .. } => {
            wrong("shards without images".to_owned(), "choose one image in a shard at least")
        }
        _ => Ok(()),
    }
}

fn check_collection(collection: &Collection) -> Result<()> {
    let wrong = |problem: String| {
        let remedy = "name a folder or archives with images of two classes at least";
        Err(Error::layout(Path::new(&collection.name), problem, remedy))
    };
    let classes = collection.classes.len();
    let mut items = collection.train.iter().chain(&collection.test);
    if collection.train.is_empty() || classes < 2 {
        let count = collection.train.len();
        return wrong(format!("{count} training images of {classes} classes"));
    }
    match items.find(|item| item.label as usize >= classes) {
        Some(Item { name, label, .. }) => {
            wrong(format!("{name}: class {label}, and there are {classes}"))
        }
        None => Ok(()),
    }
}

/// Keeps other runs out of the folder until it is dropped, or the process ends in any way.
fn lock(out_dir: &Path) -> Result<File> {
    let dir = File::open(out_dir).map_err(|error| Error::io(out_dir, &error))?;
    match dir.try_lock() {
        Ok(()) => Ok(dir),
        Err(TryLockError::WouldBlock) => {
            let problem = "another process is preparing images in this folder";
            Err(Error::layout(out_dir, problem, "wait for it, or choose another folder"))
        }
        // Some network disks know no locks; then nobody is kept out.
        Err(TryLockError::Error(_)) => Ok(dir),
    }
}

/// What an earlier run brought to its end.
fn finished(out_dir: &Path, task: &Task, collection: &Collection) -> Result<Option<Summary>> {
    if !About::is_at(out_dir) {
        return Ok(None);
    }
    let about = About::read(out_dir)?;
    let there = Task {
        side: about.side,
        keep: about.keep,
        form: about.form,
        images_per_shard: about.images_per_shard,
        collection: about.collection.clone(),
        exif: about.exif,
        decoder: about.decoder,
    };
    state::agree(&out_dir.join("dataset.json"), &there, task)?;
    if !same_classes(&about.classes, &collection.classes) {
        let path = out_dir.join("dataset.json");
        return Err(Error::layout(&path, "other classes", "choose another folder"));
    }
    state::sweep(out_dir);
    State::remove(out_dir); // the earlier run may have been cut off right before this
    let (images, bad) = ([about.train.images, about.val.images], about.train.bad + about.val.bad);
    Ok(Some(Summary { about: Some(about), images, bad }))
}

/// Whether classes are the same; what they are called in words may have been found since.
fn same_classes(a: &[Class], b: &[Class]) -> bool {
    let ids = |class: &Class| (class.id.clone(), class.devkit_id);
    a.iter().map(ids).eq(b.iter().map(ids))
}

/// The work on one of the two sets.
struct Run<'a> {
    collection: &'a Collection,
    items: &'a [Item],
    name: &'static str,
    part: usize,
    options: &'a PrepareOptions,
    out_dir: &'a Path,
    stop: &'a (dyn Fn() -> bool + Sync),
}

impl Run<'_> {
    /// Writes the shards that are missing; `false`: it was told to stop.
    fn write(
        &self,
        state: &mut State,
        told: &mut Progress,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<bool> {
        let per_shard = self.options.images_per_shard;
        let first = (state.shards[self.part] * per_shard).min(self.items.len());
        told.done += first;
        // An order of its own, apart from those of the epochs.
        let order = Permutation::new(0, u32::MAX, self.items.len() as u64);
        let item = |position: usize| match self.part {
            0 if !self.collection.in_order => &self.items[order.at(position as u64) as usize],
            _ => &self.items[position],
        };
        let make = |encoder: &mut Encoder, position: usize, made: &mut Made| {
            encoder.make(self.collection, item(position), made);
        };
        let prepare = || Encoder::new(self.options);
        let threads = thread_count(self.options.threads);
        let mut writer: Option<ShardWriter> = None;
        let mut bad = Vec::new();
        let mut images = 0;
        line::in_order(threads, first..self.items.len(), self.stop, prepare, make, |at, made| {
            if writer.is_none() {
                writer = Some(ShardWriter::create(self.out_dir, self.name, at / per_shard)?);
            }
            let shard = writer.as_mut().expect("just made");
            match &made.failed {
                None => {
                    let number = (at as u64, self.options.form.ending());
                    shard.add(number, &made.stored, item(at).label, made.size)?;
                    told.bytes += made.stored.len() as u64;
                    images += 1;
                    if self.part == 0 {
                        state.sums.add(&made.square);
                    }
                }
                Some(error) => {
                    bad.push(Bad::new(self.name, at, &item(at).name, error));
                    self.check_bad(state, &bad)?;
                }
            }
            if (at + 1).is_multiple_of(per_shard) || at + 1 == self.items.len() {
                writer.take().expect("a shard is open").finish()?;
                state.shards[self.part] += 1;
                state.images[self.part] += std::mem::take(&mut images);
                state.bad.append(&mut bad);
                write_durably(&self.out_dir.join(BAD_FILE), &state.bad_lines(&[]))?;
                state.save(self.out_dir)?;
            }
            told.done += 1;
            progress(*told);
            Ok(())
        })
    }

    fn check_bad(&self, state: &State, new: &[Bad]) -> Result<()> {
        let mut bad = state.bad.iter().filter(|bad| bad.set == self.name).chain(new);
        let (count, len) = (bad.clone().count(), self.items.len());
        let (limit, all) = (bad_limit(len), count == len);
        if count <= limit && !all {
            return Ok(());
        }
        write_durably(&self.out_dir.join(BAD_FILE), &state.bad_lines(new))?;
        let first = bad.next().expect("one at least").error();
        if all {
            let problem = format!("none of {len} {} files is an image: {first}", self.name);
            return Err(Error::layout(self.out_dir, problem, "look at what was to be prepared"));
        }
        Err(Error::TooManyBad { count, len, limit, first: Box::new(first) })
    }
}

#[cfg(test)]
mod tests;
