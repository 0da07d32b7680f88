//! The manifest of a prepared folder: `dataset.json`.

use super::writer::write_durably;
use super::{ShardIndex, file_names};
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

/// The content of `dataset.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    version: u32,
    /// SHA-256, in hexadecimal, of the SHA-256s of all tar files, training first: two folders with
    /// the same fingerprint have identical tar files.
    pub fingerprint: String,
    /// The shorter side of every image, in pixels.
    pub side: usize,
    /// The stored part of each image.
    pub keep: Keep,
    /// The encoding of the images.
    #[serde(rename = "form")]
    pub encoding: Encoding,
    /// Images per full shard.
    pub images_per_shard: usize,
    /// The training images, in shuffled order.
    pub train: SetCounts,
    /// The test images, in the collection's order.
    pub val: SetCounts,
    /// SHA-256, in hexadecimal, of the names, labels and lengths of the original files.
    pub collection: String,
    /// The classes in the order of their labels.
    pub classes: Vec<Class>,
    /// The decoder of the original files: [`DECODER_VERSION`](crate::decode::DECODER_VERSION) of
    /// the program that started to prepare the folder. Absent for version 1.
    #[serde(default = "first_decoder", skip_serializing_if = "is_first_decoder")]
    pub decoder: u32,
    /// How the EXIF orientation of the original files was handled.
    #[serde(default, skip_serializing_if = "ExifMode::is_ignore")]
    pub exif: ExifMode,
    statistics: StoredStatistics,
}

pub(crate) fn first_decoder() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn is_first_decoder(version: &u32) -> bool {
    *version == first_decoder()
}

/// The stored part of an image after its shorter side was resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The centre square (section 2 of the paper).
    Centre,
    /// The whole image, so that crops may be taken anywhere (Howard, arXiv 1312.5402).
    Whole,
}

/// The encoding of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// JPEG with 4:2:0 chroma subsampling.
    Jpeg {
        /// From 1 to 100; 95 in the 2012 source.
        quality: u8,
    },
    /// Pixels: height x width x 3 bytes.
    Raw,
}

/// The counts of a training or a test set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetCounts {
    /// Stored images.
    pub images: usize,
    /// Tar files.
    pub shards: usize,
    /// Images that could not be read; they are listed in `bad.jsonl`.
    pub bad: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredStatistics {
    images: usize,
    color_mean: [f32; 3],
    color_variances: [f32; 3],
    color_components: [[f32; 3]; 3],
    mean_file: String,
    mean_sha256: String,
}

/// The contents of a new manifest, for [`Manifest::write`].
pub(crate) struct ManifestFields<'a> {
    pub(crate) side: usize,
    pub(crate) keep: Keep,
    pub(crate) encoding: Encoding,
    pub(crate) images_per_shard: usize,
    pub(crate) train: SetCounts,
    pub(crate) val: SetCounts,
    pub(crate) collection: &'a str,
    pub(crate) classes: &'a [Class],
    pub(crate) decoder: u32,
    pub(crate) exif: ExifMode,
    pub(crate) statistics: &'a Statistics,
}

impl Encoding {
    /// The extension of members with this encoding.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Encoding::Jpeg { .. } => "jpg",
            Encoding::Raw => "rgb",
        }
    }
}

impl Manifest {
    /// Whether a folder is completely prepared.
    pub fn is_at(dir: impl AsRef<Path>) -> bool {
        let dir = dir.as_ref();
        bounded::is_there(&dir.join(FILE))
    }

    /// Reads the manifest of a folder.
    ///
    /// # Errors
    /// If there is none, or it is not a `dataset.json` of this version.
    pub fn read(dir: impl AsRef<Path>) -> Result<Manifest> {
        let dir = dir.as_ref();
        let path = dir.join(FILE);
        let text = bounded::read(&path, LONGEST_TEXT).map_err(|error| Error::io(&path, &error))?;
        Manifest::from_bytes(&text, &path)
    }

    /// Parses a manifest; `path` is for messages.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_bytes(text: &[u8], path: &Path) -> Result<Manifest> {
        let wrong = |problem| Error::layout(path, problem, "prepare the folder again");
        let manifest: Manifest = serde_json::from_slice(text)
            .map_err(|error| wrong(format!("not a description of shards ({error})")))?;
        if manifest.format != FORMAT || manifest.version != VERSION {
            let (format, version) = (&manifest.format, manifest.version);
            return Err(wrong(format!(
                "`{format}` of version {version}; expected `{FORMAT}` of version {VERSION}"
            )));
        }
        let sizes = [
            manifest.side,
            manifest.images_per_shard,
            manifest.classes.len(),
            manifest.train.images,
        ];
        if sizes.contains(&0) {
            return Err(wrong("a size or a count is zero".to_owned()));
        }
        Ok(manifest)
    }

    /// The number of each class in the development kit, if the folder was prepared from the
    /// contest's archives.
    pub fn devkit_ids(dir: &Path) -> Option<Vec<u32>> {
        let manifest = Manifest::is_at(dir).then(|| Manifest::read(dir).ok()).flatten()?;
        manifest.classes.iter().map(|class| class.devkit_id).collect()
    }

    /// Checks that EXIF orientation was handled as requested: an orientation that was ignored when
    /// the folder was prepared is lost.
    ///
    /// # Errors
    /// If it was handled differently.
    pub fn check_exif(&self, dir: &Path, wanted: ExifMode) -> Result<()> {
        if self.exif == wanted {
            return Ok(());
        }
        let was = self.exif;
        let problem = format!("prepared with EXIF mode `{was}`, but `{wanted}` is requested");
        let remedy = format!("use EXIF mode `{was}`, or prepare the folder again with `{wanted}`");
        Err(Error::layout(dir, problem, remedy))
    }

    /// A warning if the folder was prepared by an older decoder, which produced wrong pixels for
    /// some files.
    pub fn decoder_note(&self, dir: &Path) -> Option<String> {
        let (was, now) = (self.decoder, DECODER_VERSION);
        (was < now).then(|| {
            format!(
                "WARNING: {}: prepared with decoder version {was}, which produced wrong pixels \
                 for some unusual JPEGs (the current version is {now}): prepare the folder again. \
                 If the new dataset.json has the same fingerprint, the old folder was not \
                 affected",
                dir.display()
            )
        })
    }

    /// The mean image and the colour statistics of the training images before JPEG encoding.
    ///
    /// # Errors
    /// If `mean.f32` cannot be read, or does not match the manifest.
    pub fn statistics(&self, dir: &Path) -> Result<Statistics> {
        let path = dir.join(MEAN_FILE);
        let bytes = bounded::read(&path, LONGEST_TEXT).map_err(|error| Error::io(&path, &error))?;
        let StoredStatistics { images, color_mean, color_variances, color_components, .. } =
            self.statistics;
        if bytes.len() != self.side * self.side * 12
            || hex(&Sha256::digest(&bytes)) != self.statistics.mean_sha256
        {
            return Err(Error::layout(
                &path,
                "not the mean image of this manifest",
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

    /// Writes the manifest of the shards in a folder, as the last file.
    pub(crate) fn write(dir: &Path, parts: &ManifestFields) -> Result<Manifest> {
        let Statistics { mean, color, variances, components, images } = parts.statistics;
        let mean: Vec<u8> = mean.iter().flat_map(|value| value.to_le_bytes()).collect();
        write_durably(&dir.join(MEAN_FILE), &mean)?;
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            version: VERSION,
            fingerprint: fingerprint(dir, parts.train.shards, parts.val.shards)?,
            side: parts.side,
            keep: parts.keep,
            encoding: parts.encoding,
            images_per_shard: parts.images_per_shard,
            train: parts.train,
            val: parts.val,
            collection: parts.collection.to_owned(),
            classes: parts.classes.to_vec(),
            decoder: parts.decoder,
            exif: parts.exif,
            statistics: StoredStatistics {
                images: *images,
                color_mean: *color,
                color_variances: *variances,
                color_components: *components,
                mean_file: MEAN_FILE.to_owned(),
                mean_sha256: hex(&Sha256::digest(&mean)),
            },
        };
        let text = serde_json::to_string_pretty(&manifest).expect("plain data") + "\n";
        write_durably(&dir.join(FILE), text.as_bytes())?;
        Ok(manifest)
    }
}

fn fingerprint(dir: &Path, train: usize, val: usize) -> Result<String> {
    let mut hash = Sha256::new();
    for (part, shards) in [("train", train), ("val", val)] {
        for shard in 0..shards {
            let [_, index] = file_names(part, shard);
            hash.update(ShardIndex::read(dir.join(index))?.tar_sha256);
        }
    }
    Ok(hex(&hash.finalize()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
