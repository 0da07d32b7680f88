//! What is known about a prepared folder: `dataset.json`.

use super::writer::write_durably;
use super::{Index, file_names};
use crate::bounded::{self, LONGEST_TEXT};
use crate::collection::Class;
use crate::decode::{DECODER_VERSION, ExifMode};
use crate::{Error, Result, Statistics};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
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
    /// Which decoder made the pixels: [`DECODER_VERSION`](crate::decode::DECODER_VERSION) of the
    /// program that began the folder. Absent: 1.
    #[serde(default = "first_decoder", skip_serializing_if = "is_first_decoder")]
    pub decoder: u32,
    /// What was done about the EXIF orientation of the files.
    #[serde(default, skip_serializing_if = "ExifMode::is_ignore")]
    pub exif: ExifMode,
    statistics: Measured,
}

pub(crate) fn first_decoder() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn is_first_decoder(version: &u32) -> bool {
    *version == first_decoder()
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
    pub(crate) decoder: u32,
    pub(crate) exif: ExifMode,
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
        bounded::is_there(&dir.join(FILE))
    }

    /// Reads a folder's.
    ///
    /// # Errors
    /// If there is none, or it is no `dataset.json` of this version.
    pub fn read(dir: &Path) -> Result<About> {
        let path = dir.join(FILE);
        let text = bounded::read(&path, LONGEST_TEXT).map_err(|error| Error::io(&path, &error))?;
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

    /// The development kit's number of each class, if the folder is one that was prepared from the
    /// contest's archives.
    pub fn devkit_ids(dir: &Path) -> Option<Vec<u32>> {
        let about = About::is_at(dir).then(|| About::read(dir).ok()).flatten()?;
        about.classes.iter().map(|class| class.devkit_id).collect()
    }

    /// Makes sure that orientations were treated as they are to be: what was not applied when a
    /// folder was prepared is lost.
    ///
    /// # Errors
    /// If they were not.
    pub fn check_exif(&self, dir: &Path, wanted: ExifMode) -> Result<()> {
        if self.exif == wanted {
            return Ok(());
        }
        let was = self.exif;
        let problem = format!("prepared with --exif {was}, and --exif {wanted} is asked for");
        let remedy = format!("give --exif {was}, or prepare the folder again with --exif {wanted}");
        Err(Error::layout(dir, problem, remedy))
    }

    /// A warning if the folder was prepared by a program whose decoder made wrong pixels of some
    /// files.
    pub fn decoder_note(&self, dir: &Path) -> Option<String> {
        let (was, now) = (self.decoder, DECODER_VERSION);
        (was < now).then(|| {
            format!(
                "WARNING: {}: prepared with decoder version {was}, which made wrong pixels of some \
                 unusual JPEGs (this is version {now}): prepare the folder again. If the new \
                 dataset.json has the same fingerprint, the old folder was not affected",
                dir.display()
            )
        })
    }

    /// The mean image and the colours of the training images, as they were before JPEG encoding.
    ///
    /// # Errors
    /// If `mean.f32` cannot be read, or is not the one that was written.
    pub fn statistics(&self, dir: &Path) -> Result<Statistics> {
        let path = dir.join(MEAN_FILE);
        let bytes = bounded::read(&path, LONGEST_TEXT).map_err(|error| Error::io(&path, &error))?;
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
            decoder: parts.decoder,
            exif: parts.exif,
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
