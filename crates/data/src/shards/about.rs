//! What is known about a prepared folder: `dataset.json`.

use super::writer::write_durably;
use super::{Index, file_names};
use crate::collection::Class;
use crate::{Error, Result, Statistics};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

const FORMAT: &str = "alexnet shards";
const VERSION: u32 = 1;
pub(super) const FILE: &str = "dataset.json";
const MEAN_FILE: &str = "mean.f32";

/// The contents of `dataset.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    format: String,
    version: u32,
    /// SHA-256, in hexadecimal, of the SHA-256s of all tar files, training first: two folders with
    /// the same fingerprint hold the same bytes.
    pub fingerprint: String,
    /// Shorter side of every image, in pixels.
    pub side: usize,
    /// What was kept of each.
    pub keep: Keep,
    /// How images are stored.
    pub form: Form,
    /// Images in a full shard.
    pub images_per_shard: usize,
    /// Images to train on, in shuffled order.
    pub train: Part,
    /// Images to test on, in their own order.
    pub val: Part,
    /// SHA-256, in hexadecimal, over the names, labels and lengths of the files it was made from.
    pub collection: String,
    /// In the order of their labels.
    pub classes: Vec<Class>,
    statistics: Measured,
}

/// What is kept of an image whose shorter side has been resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The square in its centre (the paper's section 2).
    Centre,
    /// All of it, so that crops may be taken anywhere (Howard, arXiv 1312.5402).
    Whole,
}

/// How an image is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// JPEG of a quality of 1 to 100, chroma halved both ways (4:2:0).
    Jpeg {
        /// 95 in the 2012 source.
        quality: u8,
    },
    /// Pixels: height x width x 3 bytes.
    Raw,
}

/// Counts of a training or a test set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Images that are stored.
    pub images: usize,
    /// Tar files.
    pub shards: usize,
    /// Images that could not be read; `bad.jsonl` names them.
    pub bad: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    images: usize,
    color_mean: [f32; 3],
    color_variances: [f32; 3],
    color_components: [[f32; 3]; 3],
    mean_file: String,
    mean_sha256: String,
}

/// The same data, as [`About::write`] takes it.
pub(crate) struct Parts<'a> {
    pub(crate) side: usize,
    pub(crate) keep: Keep,
    pub(crate) form: Form,
    pub(crate) images_per_shard: usize,
    pub(crate) train: Part,
    pub(crate) val: Part,
    pub(crate) collection: &'a str,
    pub(crate) classes: &'a [Class],
    pub(crate) statistics: &'a Statistics,
}

impl Form {
    /// What its members' names end in.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Form::Jpeg { .. } => "jpg",
            Form::Raw => "rgb",
        }
    }
}

impl About {
    /// Whether a folder has been prepared, to the end.
    pub fn is_at(dir: &Path) -> bool {
        dir.join(FILE).is_file()
    }

    /// Reads a folder's.
    ///
    /// # Errors
    /// If there is none, or it is no `dataset.json` of this version.
    pub fn read(dir: &Path) -> Result<About> {
        let path = dir.join(FILE);
        let text = fs::read(&path).map_err(|error| Error::io(&path, &error))?;
        About::from_bytes(&text, &path)
    }

    /// Reads a file's bytes; `path` is for messages.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_bytes(text: &[u8], path: &Path) -> Result<About> {
        let wrong = |problem| Error::layout(path, problem, "prepare the folder again");
        let about: About = serde_json::from_slice(text)
            .map_err(|error| wrong(format!("no description of shards ({error})")))?;
        if about.format != FORMAT || about.version != VERSION {
            let (format, version) = (&about.format, about.version);
            return Err(wrong(format!(
                "`{format}` of version {version}, and `{FORMAT}` of version {VERSION} is known"
            )));
        }
        let sizes = [about.side, about.images_per_shard, about.classes.len(), about.train.images];
        if sizes.contains(&0) {
            return Err(wrong("a size or a count is zero".to_owned()));
        }
        Ok(about)
    }

    /// The mean image and the colours of the training images, as they were before JPEG encoding.
    ///
    /// # Errors
    /// If `mean.f32` cannot be read, or is not the one that was written.
    pub fn statistics(&self, dir: &Path) -> Result<Statistics> {
        let path = dir.join(MEAN_FILE);
        let bytes = fs::read(&path).map_err(|error| Error::io(&path, &error))?;
        let Measured { images, color_mean, color_variances, color_components, .. } =
            self.statistics;
        if bytes.len() != self.side * self.side * 12
            || hex(&Sha256::digest(&bytes)) != self.statistics.mean_sha256
        {
            return Err(Error::layout(
                &path,
                "not the mean image that was prepared",
                "prepare again",
            ));
        }
        let mean = bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
        Ok(Statistics {
            mean,
            color: color_mean,
            variances: color_variances,
            components: color_components,
            images,
        })
    }

    /// Describes the shards that lie in a folder: the last thing to be written.
    pub(crate) fn write(dir: &Path, parts: &Parts) -> Result<About> {
        let Statistics { mean, color, variances, components, images } = parts.statistics;
        let mean: Vec<u8> = mean.iter().flat_map(|value| value.to_le_bytes()).collect();
        write_durably(&dir.join(MEAN_FILE), &mean)?;
        let about = About {
            format: FORMAT.to_owned(),
            version: VERSION,
            fingerprint: fingerprint(dir, parts.train.shards, parts.val.shards)?,
            side: parts.side,
            keep: parts.keep,
            form: parts.form,
            images_per_shard: parts.images_per_shard,
            train: parts.train,
            val: parts.val,
            collection: parts.collection.to_owned(),
            classes: parts.classes.to_vec(),
            statistics: Measured {
                images: *images,
                color_mean: *color,
                color_variances: *variances,
                color_components: *components,
                mean_file: MEAN_FILE.to_owned(),
                mean_sha256: hex(&Sha256::digest(&mean)),
            },
        };
        let text = serde_json::to_string_pretty(&about).expect("plain data") + "\n";
        write_durably(&dir.join(FILE), text.as_bytes())?;
        Ok(about)
    }
}

fn fingerprint(dir: &Path, train: usize, val: usize) -> Result<String> {
    let mut hash = Sha256::new();
    for (part, shards) in [("train", train), ("val", val)] {
        for shard in 0..shards {
            let [_, index] = file_names(part, shard);
            hash.update(Index::read(&dir.join(index))?.tar_sha256);
        }
    }
    Ok(hex(&hash.finalize()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
