//! Finds the shards of a folder, for training and for testing.

use super::split;
use crate::bounded;
use crate::formats::EXTENSIONS;
use crate::tar::{ForwardReader, TarMembers};
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::path::{Path, PathBuf};

/// The shards of a folder and of its subfolders.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ShardFiles {
    pub(super) train: Vec<PathBuf>,
    pub(super) test: Vec<PathBuf>,
    pub(super) notes: Vec<String>,
}

/// A compression format of tar files.
pub(super) struct Compression {
    endings: &'static [&'static str],
    pub(super) magic: &'static [u8],
    tool: &'static str,
}

pub(super) const COMPRESSIONS: [Compression; 4] = [
    Compression { endings: &[".tar.gz", ".tgz"], magic: &[0x1F, 0x8B, 8], tool: "gunzip" },
    Compression {
        endings: &[".tar.zst", ".tzst"],
        magic: &[0x28, 0xB5, 0x2F, 0xFD],
        tool: "unzstd",
    },
    Compression { endings: &[".tar.bz2", ".tbz2", ".tbz"], magic: b"BZh", tool: "bunzip2" },
    Compression { endings: &[".tar.xz", ".txz"], magic: b"\xFD7zXZ\0", tool: "unxz" },
];

/// The error for a compressed shard, with the tool to unpack it.
pub(super) fn compressed(path: &Path, how: &Compression) -> Error {
    let problem = "a compressed tar file, which has no random access";
    Error::layout(path, problem, format!("unpack it with `{}` first", how.tool))
}

/// The split that a word in a name indicates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ShardSplit {
    Train,
    Val,
    Test,
}

/// The tar files of a folder and its subfolders for training and for testing, according to whole
/// words in their names or their folders' names (`train`, `val`, `valid`, `validation`, `test`, in
/// any case). The contest's own archives, which are named `ILSVRC...`, are not shards.
///
/// # Errors
/// If a name is ambiguous, or a shard is compressed.
pub(super) fn find(dir: &Path) -> Result<ShardFiles> {
    let mut parts: [Vec<PathBuf>; 3] = Default::default();
    let mut unnamed = Vec::new();
    for path in candidates(dir)? {
        if let Some(how) = compression(&path) {
            return Err(compressed(&path, how));
        }
        match split_of(dir, &path)? {
            Some(part) => parts[part as usize].push(path),
            None => unnamed.push(path),
        }
    }
    let [mut train, val, test] = parts;
    let mut notes = Vec::new();
    if let (false, Some(first)) = (train.is_empty(), unnamed.first()) {
        notes.push(format!(
            "{} tar files have neither `train` nor `val` in their names and are used for training, \
             e.g. {}",
            unnamed.len(),
            first.display()
        ));
    }
    train.extend(unnamed);
    train.sort();
    let test = match (val.is_empty(), test.first()) {
        (false, Some(first)) => {
            notes.push(format!(
                "the shards named `val` are the test set; {} named `test` are not used, e.g. {}",
                test.len(),
                first.display()
            ));
            val
        }
        (false, None) => val,
        (true, _) => test,
    };
    Ok(ShardFiles { train, test, notes })
}

/// Whether there is any shard. Compressed files are shards only if they contain labels; unreadable
/// folders have none.
pub(in crate::shards) fn is_at(dir: &Path) -> bool {
    let found = match candidates(dir) {
        Ok(found) => found,
        Err(error) => return matches!(error, Error::Layout { .. }),
    };
    found.iter().any(|path| match compression(path) {
        None => true,
        Some(how) if how.tool == "gunzip" => has_labels(path),
        // Other formats are recognised by name only.
        Some(_) => !words(&path.file_name().unwrap_or_default().to_string_lossy()).is_empty(),
    })
}

/// Tar files, compressed or not, in the order of their paths.
fn candidates(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in crate::folder::sorted(dir)? {
        if !path.is_dir() {
            found.push(path);
        } else if !path.ends_with("__MACOSX") {
            found.extend(crate::folder::sorted(&path)?);
        }
    }
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_tar = name.to_ascii_lowercase().ends_with(".tar") || compression(path).is_some();
        is_tar && !name.starts_with("ILSVRC") && !path.is_dir()
    });
    // A dangling link is a missing shard, and opening a pipe would block.
    if let Some(path) = found.iter().find(|path| !path.is_file()) {
        let remedy = "put the tar file there, or remove it";
        return Err(Error::layout(path, "not a file, or a dangling link", remedy));
    }
    Ok(found)
}

fn compression(path: &Path) -> Option<&'static Compression> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    COMPRESSIONS.iter().find(|known| known.endings.iter().any(|ending| name.ends_with(ending)))
}

/// Whether the first members of a compressed file are an image and its `.cls` or `.json`.
fn has_labels(path: &Path) -> bool {
    const MEMBERS: usize = 16;
    const BYTES: u64 = 64 << 20;
    let Ok((file, _)) = bounded::open(path) else { return false };
    let stream = ForwardReader::new(MultiGzDecoder::new(std::io::BufReader::new(file)), BYTES);
    let members = TarMembers::new(&stream, 0..u64::MAX).map_while(std::result::Result::ok);
    let names: Vec<String> = members.take(MEMBERS).map(|member| member.name).collect();
    let fields: Vec<(&str, String)> = names.iter().filter_map(|name| split(name)).collect();
    let is_image = |key: &str| {
        fields.iter().any(|(other, field)| *other == key && EXTENSIONS.contains(&&**field))
    };
    fields.iter().any(|(key, field)| field == "cls" || (field == "json" && is_image(key)))
}

/// The split according to a shard's name, or else its folder's name.
fn split_of(dir: &Path, path: &Path) -> Result<Option<ShardSplit>> {
    let inside = path.strip_prefix(dir).unwrap_or(path);
    let splits_in = |name: Option<&std::ffi::OsStr>| {
        let name = name.unwrap_or_default().to_string_lossy().into_owned();
        let mut parts = words(&name);
        parts.dedup();
        parts
    };
    let file = splits_in(path.file_name());
    let folder = splits_in(inside.parent().map(Path::as_os_str));
    match (&file[..], &folder[..]) {
        ([], []) => Ok(None),
        ([part], []) | ([], [part]) => Ok(Some(*part)),
        ([a], [b]) if a == b => Ok(Some(*a)),
        _ => {
            let problem =
                "its name, with its folder's, has more than one of `train`, `val` and `test`";
            Err(Error::layout(path, problem, "rename it so that it has one"))
        }
    }
}

/// The splits that whole words of a name indicate; a capital after a small letter starts a word.
fn words(name: &str) -> Vec<ShardSplit> {
    let mut spaced = String::with_capacity(name.len() + 8);
    let mut after_small = false;
    for letter in name.chars() {
        if after_small && letter.is_uppercase() {
            spaced.push(' ');
        }
        after_small = letter.is_lowercase();
        spaced.push(letter);
    }
    let words = spaced.split(|letter: char| !letter.is_alphabetic()).map(str::to_lowercase);
    let parts = words.filter_map(|word| match &*word {
        "train" | "training" => Some(ShardSplit::Train),
        "val" | "valid" | "validation" => Some(ShardSplit::Val),
        "test" | "testing" => Some(ShardSplit::Test),
        _ => None,
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch_dir::ScratchDir;

    #[test]
    fn only_whole_words_indicate_a_split() {
        for (name, parts) in [
            ("train-1-latest.tar", &[ShardSplit::Train][..]),
            ("imagenet1k-validation-00.tar", &[ShardSplit::Val]),
            ("VAL0.TAR", &[ShardSplit::Val]),
            ("Valid_set-3", &[ShardSplit::Val]),
            ("test2017.tar", &[ShardSplit::Test]),
            ("testing-{00}.tar", &[ShardSplit::Test]),
            ("ImageNetVal-00.tar", &[ShardSplit::Val]),
            ("interval-contest-attested-retrain.tar", &[]),
            ("train-val-0.tar", &[ShardSplit::Train, ShardSplit::Val]),
        ] {
            assert_eq!(words(name), parts, "{name}");
        }
    }

    #[test]
    fn shards_are_assigned_by_their_names_and_their_folders() {
        let dir = ScratchDir::new();
        for name in [
            "train-1-latest.tar",
            "Validation/shard-0.tar",
            "TRAIN/shard-0.TAR",
            "extra-interval.tar",
            "test-0.tar",
            "._train-1-latest.tar",
            "__MACOSX/train-9.tar",
            "ILSVRC2012_img_val.tar",
        ] {
            dir.write(name, b"");
        }
        let found = find(dir.path()).unwrap();
        let inside = |paths: &[PathBuf]| -> Vec<String> {
            let names = paths.iter().map(|path| path.strip_prefix(dir.path()).unwrap());
            names.map(|name| name.display().to_string()).collect()
        };
        let train = ["TRAIN/shard-0.TAR", "extra-interval.tar", "train-1-latest.tar"];
        assert_eq!(inside(&found.train), train);
        assert_eq!(inside(&found.test), ["Validation/shard-0.tar"]);
        assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
        assert!(found.notes[0].contains("1 tar files") && found.notes[0].contains("interval"));
        assert!(found.notes[1].contains("1 named `test` are not used"), "{:?}", found.notes);

        dir.write("train/val-0.tar", b"");
        let said = find(dir.path()).unwrap_err().to_string();
        assert!(said.contains("train/val-0.tar") && said.contains("more than one"), "{said}");
        assert!(is_at(dir.path()));
    }

    #[test]
    fn a_missing_shard_is_an_error() {
        let dir = ScratchDir::new();
        dir.write("train-0.tar", b"");
        std::os::unix::fs::symlink("gone.tar", dir.path().join("train-1.tar")).unwrap();
        let said = find(dir.path()).unwrap_err().to_string();
        assert!(said.contains("train-1.tar: not a file, or a dangling link"), "{said}");
        assert!(is_at(dir.path()));
    }

    #[test]
    fn a_compressed_shard_is_an_error_that_names_the_tool() {
        for (name, tool) in
            [("val-0.tar.gz", "gunzip"), ("val-0.TGZ", "gunzip"), ("val-0.tar.zst", "unzstd")]
        {
            let dir = ScratchDir::new();
            dir.write("train-0.tar", b"");
            dir.write(name, b"");
            let said = find(dir.path()).unwrap_err().to_string();
            assert!(said.contains(name) && said.contains(tool), "{said}");
        }
    }
}
