//! What a file of features holds, and in which format.

use crate::{Error, Result};
use data::Source;
use std::path::Path;

/// The format of a file of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VectorFormat {
    /// F32 tensors `[images, ...]`: of one layer `features`, of several each by its layer's name;
    /// `labels` U32 `[images]`, if there are classes. The metadata has `names` (a JSON list, in the
    /// order of the images), `layers` (a JSON list), `layout` and `model`.
    Safetensors,
    /// NumPy's, one layer: the array, with labels, if there are classes, in `NAME.labels.npy` and
    /// the names of the images, one a line, in `NAME.names.txt`.
    Npy,
    /// NumPy's archive: an array by the name of each layer, `labels`, if there are classes, and
    /// `names`.
    Npz,
    /// A line per image: index, name, class, the values.
    Csv,
}

/// The order of the values of feature maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Height, width, channel.
    #[default]
    Nhwc,
    /// Channel, height, width.
    Nchw,
}

/// What a file of features holds.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The images.
    pub source: &'a dyn Source,
    /// Whether the images have classes.
    pub labelled: bool,
    /// Names of images are stored relative to this folder, if they lie in it.
    pub folder: Option<&'a Path>,
    /// The name of each layer and the shape of its output for one image: height, width and
    /// channels, or units.
    pub layers: Vec<(String, Vec<usize>)>,
    /// The order of the values of feature maps.
    pub layout: Layout,
    /// The network's name.
    pub model: &'a str,
}

impl VectorFormat {
    /// Checks that a file of this format can hold these layers.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn check(self, path: &Path, layers: &[&str]) -> Result<()> {
        let refused = |reason: String| Err(Error::Format { path: path.into(), reason });
        let is_taken = |layer: &&&str| matches!(**layer, "labels" | "names");
        match self {
            VectorFormat::Npy if layers.len() > 1 => refused(format!(
                "an .npy file holds one array, not {} layers: write .npz or .safetensors",
                layers.len()
            )),
            VectorFormat::Npz | VectorFormat::Safetensors => match layers.iter().find(is_taken) {
                Some(layer) if self == VectorFormat::Npz || layers.len() > 1 => refused(format!(
                    "the layer `{layer}` has the name of another array: write .csv, or this layer \
                     alone as .npy"
                )),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl Layout {
    /// `nhwc` or `nchw`.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Nhwc => "nhwc",
            Layout::Nchw => "nchw",
        }
    }

    /// The shape in this layout of an output of shape `[height, width, channels]`; other shapes
    /// stay as they are.
    pub fn shape(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Layout::Nchw, &[height, width, channels]) => vec![channels, height, width],
            _ => shape.to_vec(),
        }
    }

    /// Brings an image's values, in the order height, width, channel, into this layout.
    pub(super) fn arrange(self, values: &[f32], shape: &[usize], into: &mut Vec<f32>) {
        into.clear();
        match (self, shape) {
            (Layout::Nchw, &[_, _, channels]) => {
                let of_channel = |channel| values.iter().skip(channel).step_by(channels);
                into.extend((0..channels).flat_map(of_channel));
            }
            _ => into.extend_from_slice(values),
        }
    }
}

impl Contents<'_> {
    /// The name of an image: its path, relative to the folder.
    pub(super) fn name(&self, sample: usize) -> String {
        let name = self.source.name(sample);
        let inside = self.folder.and_then(|folder| Path::new(&name).strip_prefix(folder).ok());
        inside.map_or_else(|| name.clone(), |inside| inside.display().to_string())
    }

    /// The shape of a layer's output for all images.
    pub(super) fn shape(&self, layer: usize) -> Vec<usize> {
        let of_image = self.layout.shape(&self.layers[layer].1);
        std::iter::once(self.source.len()).chain(of_image).collect()
    }
}
