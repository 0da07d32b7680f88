//! What a run must know to go on after it was cut off: `prepare.state`.
//!
//! A line of JSON, then the sums of the training images in little-endian words, then the CRC-32C
//! of all before. It is replaced after each shard, which is thereby done.

use super::Task;
use crate::bounded;
use crate::collection::Collection;
use crate::decode::Reason;
use crate::shards::{Index, file_names, hex, write_durably};
use crate::statistics::Sums;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

const FILE: &str = "prepare.state";
/// Its bytes at most: eight for each of the sums, and a line for each file that is no image.
const LONGEST: u64 = 4 << 30;

/// How far a folder is prepared.
pub(super) struct State {
    task: Task,
    /// Shards that are done, and images in them: training, test.
    pub(super) shards: [usize; 2],
    pub(super) images: [usize; 2],
    pub(super) bad: Vec<Bad>,
    pub(super) sums: Sums,
}

/// A file that is no image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bad {
    /// `train` or `val`.
    pub(super) set: String,
    number: usize,
    name: String,
    reason: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    task: Task,
    shards: [usize; 2],
    images: [usize; 2],
    bad: Vec<Bad>,
}

impl Bad {
    pub(super) fn new(set: &str, number: usize, name: &str, error: &Error) -> Bad {
        let reason = match error {
            Error::Image { reason, .. } => reason.to_string(),
            other => other.to_string(),
        };
        Bad { set: set.to_owned(), number, name: name.to_owned(), reason }
    }

    pub(super) fn error(&self) -> Error {
        Error::image(Path::new(&self.name), Reason::Damaged(self.reason.clone()))
    }
}

impl State {
    /// Whether a run has left one.
    pub(super) fn is_at(out_dir: &Path) -> bool {
        bounded::is_there(&out_dir.join(FILE))
    }

    /// Where an earlier run stopped, or the beginning.
    pub(super) fn open(out_dir: &Path, task: &Task) -> Result<State> {
        let path = out_dir.join(FILE);
        let sums = Sums::zero(task.side * task.side);
        let beginning =
            State { task: task.clone(), shards: [0; 2], images: [0; 2], bad: Vec::new(), sums };
        let bytes = match bounded::read(&path, LONGEST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                check_empty(out_dir)?;
                beginning.save(out_dir)?;
                return Ok(beginning);
            }
            Err(error) => return Err(Error::io(&path, &error)),
        };
        let state = State::from_bytes(&bytes).ok_or_else(|| {
            let remedy = "remove what is in the folder, and prepare it again";
            Error::layout(&path, "the state of an earlier run, damaged", remedy)
        })?;
        agree(&path, &state.task, task)?;
        for (part, shards) in ["train", "val"].into_iter().zip(state.shards) {
            (0..shards).try_for_each(|shard| check_shard(out_dir, part, shard))?;
        }
        Ok(state)
    }

    /// The decoder of the program that began.
    pub(super) fn decoder(&self) -> u32 {
        self.task.decoder
    }

    /// Writes it: what it says is then done.
    pub(super) fn save(&self, out_dir: &Path) -> Result<()> {
        let (task, bad) = (self.task.clone(), self.bad.clone());
        let line = Line { task, shards: self.shards, images: self.images, bad };
        let mut bytes = serde_json::to_vec(&line).expect("plain data");
        bytes.push(b'\n');
        self.sums.words().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        write_durably(&out_dir.join(FILE), &bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Option<State> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let end = body.iter().position(|&byte| byte == b'\n')?;
        let Line { task, shards, images, bad } = serde_json::from_slice(&body[..end]).ok()?;
        let (words, rest) = body[end + 1..].as_chunks::<8>();
        let words = words.iter().map(|&word| u64::from_le_bytes(word));
        let sums = Sums::from_words(task.side * task.side, words)?;
        rest.is_empty().then_some(State { task, shards, images, bad, sums })
    }

    /// Forgets it, once there is nothing left to do.
    pub(super) fn remove(out_dir: &Path) {
        let _ = fs::remove_file(out_dir.join(FILE));
    }

    /// The lines of `bad.jsonl`, these and some more.
    pub(super) fn bad_lines(&self, more: &[Bad]) -> Vec<u8> {
        let lines = self.bad.iter().chain(more);
        let lines = lines.map(|bad| serde_json::to_string(bad).expect("plain data") + "\n");
        lines.collect::<String>().into_bytes()
    }
}

/// Removes what a run that was killed left under temporary names.
pub(super) fn sweep(out_dir: &Path) {
    let known = ["train-", "val-", "prepare.", "dataset.", "mean.", "bad."];
    for entry in fs::read_dir(out_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".tmp") && known.iter().any(|start| name.starts_with(start)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// What is said to be done must be there.
fn check_shard(out_dir: &Path, part: &str, shard: usize) -> Result<()> {
    let [tar, index] = file_names(part, shard).map(|name| out_dir.join(name));
    let len = fs::metadata(&tar).map_err(|error| Error::io(&tar, &error))?.len();
    let stated = Index::read(&index)?.tar_len;
    if len != stated {
        let problem = format!("{len} bytes, where its index says {stated}");
        return Err(Error::layout(&tar, problem, "empty the folder, and prepare it again"));
    }
    Ok(())
}

/// A folder that nobody has begun to prepare must not hold files: they might be anything.
fn check_empty(out_dir: &Path) -> Result<()> {
    let mut entries = fs::read_dir(out_dir).map_err(|error| Error::io(out_dir, &error))?;
    let strange = entries.find_map(|entry| match entry {
        Err(error) => Some(Err(Error::io(out_dir, &error))),
        Ok(entry) => {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Left by a run that was killed before it had begun.
            (name != format!("{FILE}.tmp")).then_some(Ok(name))
        }
    });
    match strange.transpose()? {
        None => Ok(()),
        Some(name) => {
            let problem = format!("the folder is not empty: it holds `{name}`");
            Err(Error::layout(out_dir, problem, "choose an empty folder, or a new one"))
        }
    }
}

/// Refuses to mix two kinds of images in a folder.
pub(super) fn agree(path: &Path, there: &Task, wanted: &Task) -> Result<()> {
    let (a, b) = (there, wanted);
    let differences = [
        (a.side != b.side).then(|| format!("images of side {}, not {}", a.side, b.side)),
        (a.keep != b.keep).then(|| format!("{:?} images, not {:?}", a.keep, b.keep)),
        (a.form != b.form).then(|| format!("{:?}, not {:?}", a.form, b.form)),
        (a.images_per_shard != b.images_per_shard).then(|| {
            format!("{} images in a shard, not {}", a.images_per_shard, b.images_per_shard)
        }),
        (a.exif != b.exif).then(|| format!("images of --exif {}, not {}", a.exif, b.exif)),
        (a.collection != b.collection).then(|| "of another collection of files".to_owned()),
    ];
    let differences: Vec<String> = differences.into_iter().flatten().collect();
    if differences.is_empty() {
        return Ok(());
    }
    let problem = format!("the folder holds {}", differences.join(", "));
    Err(Error::layout(path, problem, "give the same options as before, or choose another folder"))
}

/// SHA-256 over the names, labels and lengths of a collection's files, as far as these are known
/// without looking at every file. Where the collection lies does not matter.
pub(super) fn digest(collection: &Collection) -> String {
    let mut hash = Sha256::new();
    for set in [&collection.train, &collection.test] {
        hash.update((set.len() as u64).to_le_bytes());
        for item in set {
            let name = item.name.rsplit('/').next().unwrap_or_default();
            let len = item.place.known_len().unwrap_or(0);
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update(item.label.to_le_bytes());
            hash.update(len.to_le_bytes());
        }
    }
    hex(&hash.finalize())
}
