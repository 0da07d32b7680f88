//! Trained weights and their file.

use crate::device::Placement;
use crate::predictor::Predictor;
use crate::{Error, Result};
use augment::{CentreSquare, ColorShift, Image, Resizer, View, nine_crop, ten_crop};
use data::{Batch, ExifMode, IGNORED, ReadBuffer, Source};
use files::escape::on_one_line;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use weights::Weights;
use weights::import::ImportOptions;

/// The crops of an image that the network classifies; their probabilities are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Views {
    /// The centre crop.
    #[default]
    Centre,
    /// Four corners and the centre, and their mirror images (section 4.1 of the paper).
    Ten,
    /// A grid of three by three, as in the 2012 source's test for CIFAR.
    Nine,
}

impl Views {
    /// The crops' positions; `image` and `crop` are height and width.
    ///
    /// # Panics
    /// If the crop is larger than the image.
    pub fn of(self, image: (usize, usize), crop: (usize, usize)) -> Vec<View> {
        match self {
            Views::Centre => vec![View::centre(image, crop)],
            Views::Ten => ten_crop(image, crop).to_vec(),
            Views::Nine => nine_crop(image, crop).to_vec(),
        }
    }

    /// Batches of `images` images; a batch has one row per image and view.
    pub fn plan(self, images: usize, crop: (usize, usize)) -> data::LoaderPlan {
        let of_rows = match self {
            Views::Centre => data::LoaderPlan::testing,
            Views::Ten => data::LoaderPlan::ten_views,
            Views::Nine => data::LoaderPlan::nine_views,
        };
        let views = of_rows(1, crop).views_per_image();
        of_rows(images.max(1) * views, crop)
    }
}

/// Trained weights and their file.
#[derive(Clone, Debug)]
pub struct Model {
    /// The weights.
    pub weights: Weights,
    /// Their file.
    pub path: PathBuf,
}

impl Model {
    /// Opens a run's folder, a weights file or a checkpoint; or a file of another program
    /// ([`weights::import`]) with the parameters of one of the built-in models. For a run without
    /// weights the newest intact checkpoint is used, which is reported to `log`.
    ///
    /// # Errors
    /// [`Error::Weights`] if none can be read.
    pub fn open(path: impl AsRef<Path>, log: &mut dyn FnMut(&str)) -> Result<Model> {
        let path = path.as_ref();
        Model::open_with(path, &ImportOptions::new(models::specs()), log)
    }

    /// As [`open`](Self::open); `options` state what a file of another program leaves open.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(
        path: impl AsRef<Path>,
        options: &ImportOptions,
        log: &mut dyn FnMut(&str),
    ) -> Result<Model> {
        let path = path.as_ref();
        let (path, weights) = if path.is_dir() {
            weights::run::newest_weights(path, log)?
        } else {
            (path.to_path_buf(), Weights::open(path, options)?)
        };
        Ok(Model { weights, path })
    }

    /// Whether the EXIF orientation of images is applied, as in training.
    pub fn exif(&self) -> ExifMode {
        self.weights.about.input.exif
    }

    /// The classes' unique ids.
    pub fn classes(&self) -> &[String] {
        &self.weights.about.classes
    }

    /// The readable name of a class, if the weights have one.
    pub fn name_of(&self, class: u32) -> Option<&str> {
        let name = self.weights.about.class_names.get(class as usize)?;
        Some(name.as_str()).filter(|name| !name.is_empty())
    }

    /// The classes' titles for display (see [`titles`]).
    pub fn titles(&self) -> Vec<String> {
        titles(&self.weights.about.classes, &self.weights.about.class_names)
    }

    /// Height and width of the network's input.
    pub fn crop(&self) -> (usize, usize) {
        let [height, width, _] = self.weights.about.model.input;
        (height, width)
    }

    /// Side of the square images from which crops are taken.
    pub fn side(&self) -> usize {
        let (height, width) = self.crop();
        self.weights.about.input.side.unwrap_or(height.max(width))
    }

    /// The square that is cut from an image.
    pub fn centre_square(&self) -> CentreSquare {
        CentreSquare { side: self.side(), rounding: self.weights.about.input.centre }
    }

    /// The square from which crops are taken: the shorter side resized, the centre cropped.
    ///
    /// # Errors
    /// [`Error::Pixels`] if the image is empty, or the number of pixels does not match its size.
    pub fn square(&self, image: &Image) -> Result<Image> {
        let &Image { height, width, ref pixels } = image;
        let bytes = pixels.len();
        if bytes == 0 || height.checked_mul(width).and_then(|n| n.checked_mul(3)) != Some(bytes) {
            return Err(Error::Pixels { height, width, bytes });
        }
        let mut square = Image::default();
        Resizer::default().square(image, self.centre_square(), &mut square);
        Ok(square)
    }

    /// Reads an image and returns its centre crop.
    ///
    /// # Errors
    /// If the image cannot be read.
    pub fn read_centre(&self, source: &dyn Source, sample: usize) -> data::Result<Image> {
        let mut buffer = ReadBuffer::default();
        let pixels = source.read(sample, &mut buffer)?;
        Ok(self.centre(pixels, source.size()))
    }

    /// The centre crop of `pixels`, an image of `size` (height and width), stored by rows with
    /// three bytes per pixel.
    pub fn centre(&self, pixels: &[u8], size: (usize, usize)) -> Image {
        let (height, width) = self.crop();
        let View { top, left, .. } = View::centre(size, (height, width));
        let mut seen = Image::filled(height, width, [0; 3]);
        augment::crop(pixels, size.1, top, left, (height, width), &mut seen.pixels);
        seen
    }

    /// A batch of `rows` rows with the views of images, given as [`square`](Self::square)s; rows
    /// without an image are [ignored](IGNORED).
    ///
    /// # Panics
    /// If there are more views than rows.
    pub fn batch(&self, squares: &[&Image], views: Views, rows: usize) -> Batch {
        let (side, (height, width)) = (self.side(), self.crop());
        let bytes = height * width * 3;
        let mut batch = Batch {
            pixels: vec![0; rows * bytes].into(),
            views: vec![[0; 3]; rows],
            tints: vec![ColorShift::NONE; rows],
            labels: vec![IGNORED; rows],
            samples: vec![IGNORED; rows],
            images: squares.len(),
            ..Batch::default()
        };
        let views = views.of((side, side), (height, width));
        let seen = squares.iter().enumerate();
        let seen = seen.flat_map(|image| views.iter().map(move |view| (image, view)));
        for (row, ((sample, square), view)) in seen.enumerate() {
            let pixels = &mut batch.pixels[row * bytes..(row + 1) * bytes];
            augment::crop(&square.pixels, side, view.top, view.left, (height, width), pixels);
            if view.mirror {
                augment::mirror(pixels, width);
            }
            batch.views[row] = [view.top as u32, view.left as u32, u32::from(view.mirror)];
            (batch.labels[row], batch.samples[row]) = (0, sample as u32);
        }
        batch
    }

    /// Opens the network on a device, for batches of `rows` rows; `log` receives the reason for a
    /// fallback to the CPU.
    ///
    /// # Errors
    /// [`Error::Device`] if the device is not available or lacks memory.
    pub fn predictor(
        &self,
        rows: usize,
        placement: Placement,
        log: &mut dyn FnMut(&str),
    ) -> Result<Predictor> {
        self.predictor_for_layers(rows, placement, &[], log)
    }
}

/// The classes' titles for display, each on one line: names, with ids where several classes have
/// the same name; ids where there are no names.
pub fn titles(ids: &[String], names: &[String]) -> Vec<String> {
    let mut counts = BTreeMap::new();
    names.iter().for_each(|name| *counts.entry(name).or_insert(0) += 1);
    let title = |(at, id): (usize, &String)| match names.get(at).filter(|name| !name.is_empty()) {
        None => id.clone(),
        Some(name) if counts[name] > 1 => format!("{name} ({id})"),
        Some(name) => name.clone(),
    };
    ids.iter().enumerate().map(|class| on_one_line(&title(class)).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_are_shown_with_their_ids() {
        let text = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let ids = text(&["n1", "n2", "n3", "n4"]);
        assert_eq!(titles(&text(&["a\nb"]), &[]), ["a\\u000ab"]);
        let shown = titles(&ids, &text(&["tench", "crane", "crane", ""]));
        assert_eq!(shown, ["tench", "crane (n2)", "crane (n3)", "n4"]);
        assert_eq!(titles(&ids, &[]), ids);
    }
}
