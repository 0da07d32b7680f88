//! The saved state of an interrupted run: `prepare.state`.
//!
//! It contains a line of JSON, the sums of the training images as little-endian 64-bit integers,
//! and the CRC-32C of everything before. It is replaced after each shard.

use super::PrepareSettings;
use crate::bounded;
use crate::collection::Collection;
use crate::decode::Reason;
use crate::shards::{ShardIndex, file_names, hex, write_durably};
use crate::statistics::Sums;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

const FILE: &str = "prepare.state";
/// The size limit of the file: eight bytes per sum, and a line per bad file.
const LONGEST: u64 = 4 << 30;

/// The finished shards of a folder.
pub(super) struct PrepareState {
    settings: PrepareSettings,
    /// The numbers of finished shards, and of images in them: training, test.
    pub(super) shards: [usize; 2],
    pub(super) images: [usize; 2],
    pub(super) bad: Vec<BadFile>,
    pub(super) sums: Sums,
}

/// A file that is not an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BadFile {
    /// `train` or `val`.
    pub(super) set: String,
    number: usize,
    name: String,
    reason: String,
}

#[derive(Serialize, Deserialize)]
struct StateHeader {
    #[serde(rename = "task")]
    settings: PrepareSettings,
    shards: [usize; 2],
    images: [usize; 2],
    bad: Vec<BadFile>,
}

impl BadFile {
    pub(super) fn new(set: &str, number: usize, name: &str, error: &Error) -> BadFile {
        let reason = match error {
            Error::Image { reason, .. } => reason.to_string(),
            other => other.to_string(),
        };
        BadFile { set: set.to_owned(), number, name: name.to_owned(), reason }
    }

    pub(super) fn error(&self) -> Error {
        Error::image(Path::new(&self.name), Reason::Damaged(self.reason.clone()))
    }
}

impl PrepareState {
    /// Whether a folder has a saved state.
    pub(super) fn is_at(out_dir: &Path) -> bool {
        bounded::is_there(&out_dir.join(FILE))
    }

    /// The saved state of an earlier run, or an initial one.
    pub(super) fn open(out_dir: &Path, settings: &PrepareSettings) -> Result<PrepareState> {
        let path = out_dir.join(FILE);
        let sums = Sums::zero(settings.side * settings.side);
        let initial = PrepareState {
            settings: settings.clone(),
            shards: [0; 2],
            images: [0; 2],
            bad: Vec::new(),
            sums,
        };
        let bytes = match bounded::read(&path, LONGEST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                check_empty(out_dir)?;
                initial.save(out_dir)?;
                return Ok(initial);
            }
            Err(error) => return Err(Error::io(&path, &error)),
        };
        let state = PrepareState::from_bytes(&bytes).ok_or_else(|| {
            let remedy = "empty the folder, and prepare it again";
            Error::layout(&path, "the saved state of an earlier run is damaged", remedy)
        })?;
        check_same(&path, &state.settings, settings)?;
        for (part, shards) in ["train", "val"].into_iter().zip(state.shards) {
            (0..shards).try_for_each(|shard| check_shard(out_dir, part, shard))?;
        }
        Ok(state)
    }

    /// The decoder version of the program that started the run.
    pub(super) fn decoder(&self) -> u32 {
        self.settings.decoder
    }

    /// Saves the state, after which its shards count as finished.
    pub(super) fn save(&self, out_dir: &Path) -> Result<()> {
        let (settings, bad) = (self.settings.clone(), self.bad.clone());
        let line = StateHeader { settings, shards: self.shards, images: self.images, bad };
        let mut bytes = serde_json::to_vec(&line).expect("plain data");
        bytes.push(b'\n');
        self.sums.values().for_each(|sum| bytes.extend(sum.to_le_bytes()));
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        write_durably(&out_dir.join(FILE), &bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Option<PrepareState> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let end = body.iter().position(|&byte| byte == b'\n')?;
        let StateHeader { settings, shards, images, bad } =
            serde_json::from_slice(&body[..end]).ok()?;
        let (words, rest) = body[end + 1..].as_chunks::<8>();
        let words = words.iter().map(|&word| u64::from_le_bytes(word));
        let sums = Sums::from_values(settings.side * settings.side, words)?;
        rest.is_empty().then_some(PrepareState { settings, shards, images, bad, sums })
    }

    /// Removes the saved state of a finished run.
    pub(super) fn remove(out_dir: &Path) {
        let _ = fs::remove_file(out_dir.join(FILE));
    }

    /// The lines of `bad.jsonl` for the saved bad files and `more`.
    pub(super) fn bad_lines(&self, more: &[BadFile]) -> Vec<u8> {
        let lines = self.bad.iter().chain(more);
        let lines = lines.map(|bad| serde_json::to_string(bad).expect("plain data") + "\n");
        lines.collect::<String>().into_bytes()
    }
}

/// Removes temporary files of a killed run.
pub(super) fn remove_temporary_files(out_dir: &Path) {
    let known = ["train-", "val-", "prepare.", "dataset.", "mean.", "bad."];
    for entry in fs::read_dir(out_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".tmp") && known.iter().any(|start| name.starts_with(start)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Checks that a finished shard exists.
fn check_shard(out_dir: &Path, part: &str, shard: usize) -> Result<()> {
    let [tar, index] = file_names(part, shard).map(|name| out_dir.join(name));
    let len = fs::metadata(&tar).map_err(|error| Error::io(&tar, &error))?.len();
    let stated = ShardIndex::read(&index)?.tar_len;
    if len != stated {
        let problem = format!("{len} bytes; according to its index {stated}");
        return Err(Error::layout(&tar, problem, "empty the folder, and prepare it again"));
    }
    Ok(())
}

/// Checks that a folder without a state is empty: other files are not overwritten.
fn check_empty(out_dir: &Path) -> Result<()> {
    let mut entries = fs::read_dir(out_dir).map_err(|error| Error::io(out_dir, &error))?;
    let other = entries.find_map(|entry| match entry {
        Err(error) => Some(Err(Error::io(out_dir, &error))),
        Ok(entry) => {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Left by a run that was killed before it saved a state.
            (name != format!("{FILE}.tmp")).then_some(Ok(name))
        }
    });
    match other.transpose()? {
        None => Ok(()),
        Some(name) => {
            let problem = format!("the folder is not empty: it contains `{name}`");
            Err(Error::layout(out_dir, problem, "choose an empty folder, or a new one"))
        }
    }
}

/// Checks that a folder was prepared with the same settings.
pub(super) fn check_same(
    path: &Path,
    there: &PrepareSettings,
    wanted: &PrepareSettings,
) -> Result<()> {
    let (a, b) = (there, wanted);
    let differences = [
        (a.side != b.side).then(|| format!("images of side {}, not {}", a.side, b.side)),
        (a.keep != b.keep).then(|| format!("{:?} images, not {:?}", a.keep, b.keep)),
        (a.encoding != b.encoding).then(|| format!("{:?}, not {:?}", a.encoding, b.encoding)),
        (a.images_per_shard != b.images_per_shard).then(|| {
            format!("{} images per shard, not {}", a.images_per_shard, b.images_per_shard)
        }),
        (a.exif != b.exif).then(|| format!("images of EXIF mode {}, not {}", a.exif, b.exif)),
        (a.collection != b.collection).then(|| "of another collection of files".to_owned()),
    ];
    let differences: Vec<String> = differences.into_iter().flatten().collect();
    if differences.is_empty() {
        return Ok(());
    }
    let problem = format!("the folder contains {}", differences.join(", "));
    Err(Error::layout(path, problem, "use the same options as before, or choose another folder"))
}

/// SHA-256 of the names, labels and lengths of a collection's files. Lengths that are not known
/// without opening a file count as zero. It does not depend on the collection's location.
pub(super) fn digest(collection: &Collection) -> String {
    let mut hash = Sha256::new();
    for set in [&collection.train, &collection.test] {
        hash.update((set.len() as u64).to_le_bytes());
        for file in set {
            let name = file.name.rsplit('/').next().unwrap_or_default();
            let len = file.location.known_len().unwrap_or(0);
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update(file.label.to_le_bytes());
            hash.update(len.to_le_bytes());
        }
    }
    hex(&hash.finalize())
}
