//! Trained weights and where they came from: what a network needs beside its rows.

use crate::device::{self, Placement};
use crate::predictor::{InferencePlan, Predictor};
use crate::{Error, Result};
use augment::{ColorShift, Image, Resizer, View, nine_crop, ten_crop};
use data::{Batch, ExifMode, IGNORED, ReadBuffer, Source};
use files::escape::on_one_line;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tensor::Device;
use weights::Weights;

/// How an image is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Views {
    /// Its centre.
    #[default]
    Centre,
    /// Four corners and the centre, and their mirror images, whose probabilities are averaged
    /// (section 4.1 of the paper).
    Ten,
    /// A grid of three by three, as the 2012 source has it for CIFAR.
    Nine,
}

impl Views {
    /// The places of a crop in an image, both as height and width.
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

    /// Batches of so many images, each seen so; a batch's rows are as many times the views.
    pub fn plan(self, images: usize, crop: (usize, usize)) -> data::Plan {
        let of_rows = match self {
            Views::Centre => data::Plan::testing,
            Views::Ten => data::Plan::ten_views,
            Views::Nine => data::Plan::nine_views,
        };
        let views = of_rows(1, crop).views_per_image();
        of_rows(images.max(1) * views, crop)
    }
}

/// Trained weights and where they came from.
#[derive(Clone, Debug)]
pub struct Model {
    /// What was learned.
    pub weights: Weights,
    /// The file.
    pub path: PathBuf,
}

impl Model {
    /// A run's network, from its folder, or one in a file. Of a run that has written no weights
    /// yet, its newest checkpoint that is intact, and `say` gets a line about it.
    ///
    /// # Errors
    /// [`Error::Weights`] if there is none that can be read.
    pub fn open(path: &Path, say: &mut dyn FnMut(&str)) -> Result<Model> {
        let (path, weights) = if path.is_dir() {
            weights::run::newest_weights(path, say)?
        } else {
            (path.to_path_buf(), Weights::read(path)?)
        };
        Ok(Model { weights, path })
    }

    /// What is done about the EXIF orientation of images: as when the network was trained.
    pub fn exif(&self) -> ExifMode {
        self.weights.about.input.exif
    }

    /// What each class is called: ids that tell them apart.
    pub fn classes(&self) -> &[String] {
        &self.weights.about.classes
    }

    /// What a class is called in words, if the weights know.
    pub fn name_of(&self, class: u32) -> Option<&str> {
        let name = self.weights.about.class_names.get(class as usize)?;
        Some(name.as_str()).filter(|name| !name.is_empty())
    }

    /// What each class is called for people (see [`titles`]).
    pub fn titles(&self) -> Vec<String> {
        titles(&self.weights.about.classes, &self.weights.about.class_names)
    }

    /// Height and width of what the network sees.
    pub fn crop(&self) -> (usize, usize) {
        let [height, width, _] = self.weights.about.model.input;
        (height, width)
    }

    /// Height and width of the images that crops are taken from.
    pub fn side(&self) -> usize {
        let (height, width) = self.crop();
        self.weights.about.input.side.unwrap_or(height.max(width))
    }

    /// The square that crops are taken from: the shorter side resized, the centre cut out.
    ///
    /// # Errors
    /// [`Error::Pixels`] if the image is empty, or its pixels are not as many as its size says.
    pub fn square(&self, image: &Image) -> Result<Image> {
        let &Image { height, width, ref pixels } = image;
        let bytes = pixels.len();
        if bytes == 0 || height.checked_mul(width).and_then(|n| n.checked_mul(3)) != Some(bytes) {
            return Err(Error::Pixels { height, width, bytes });
        }
        let mut square = Image::default();
        Resizer::default().square(image, self.side(), &mut square);
        Ok(square)
    }

    /// What the network sees of an image, unless it looks at several views: its centre.
    ///
    /// # Errors
    /// If the image cannot be read.
    pub fn seen(&self, source: &dyn Source, sample: usize) -> data::Result<Image> {
        let mut buffer = ReadBuffer::default();
        let pixels = source.read(sample, &mut buffer)?;
        Ok(self.centre(pixels, source.size()))
    }

    /// The centre that the network sees of `pixels`, an image of `size` (height and width), stored
    /// by rows with three bytes a pixel.
    pub fn centre(&self, pixels: &[u8], size: (usize, usize)) -> Image {
        let (height, width) = self.crop();
        let View { top, left, .. } = View::centre(size, (height, width));
        let mut seen = Image::filled(height, width, [0; 3]);
        augment::crop(pixels, size.1, top, left, (height, width), &mut seen.pixels);
        seen
    }

    /// A batch of `rows` rows with the views of images, each given as the
    /// [`square`](Self::square) that crops are taken from; rows without an image are
    /// [ignored](IGNORED).
    ///
    /// # Panics
    /// If there are more views than rows.
    pub fn batch(&self, squares: &[&Image], views: Views, rows: usize) -> Batch {
        let (side, (height, width)) = (self.side(), self.crop());
        let bytes = height * width * 3;
        let mut batch = Batch {
            pixels: vec![0; rows * bytes],
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

    /// The network on a device, for batches of so many rows; `say` gets the reason if the CPU
    /// computes where it was not asked for.
    ///
    /// # Errors
    /// [`Error::Device`] if the device cannot be had, or lacks memory.
    pub fn predictor(
        &self,
        rows: usize,
        placement: Placement,
        say: &mut dyn FnMut(&str),
    ) -> Result<Predictor> {
        let about = &self.weights.about;
        let mean = (about.input.mean, [self.side(); 2]);
        let plan = |device: &Device| InferencePlan::new(&about.model, rows, mean, device.target());
        let (device, plan) = device::open(placement, plan, InferencePlan::check, say)?;
        plan.open(device, &self.weights, &self.path)
    }
}

/// What classes are called for people: their names in words, with their ids where several have one
/// name; their ids where there are no names. Each is on one line.
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
    fn names_that_repeat_are_shown_with_their_ids() {
        let text = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let ids = text(&["n1", "n2", "n3", "n4"]);
        assert_eq!(titles(&text(&["a\nb"]), &[]), ["a\\u000ab"]);
        let shown = titles(&ids, &text(&["tench", "crane", "crane", ""]));
        assert_eq!(shown, ["tench", "crane (n2)", "crane (n3)", "n4"]);
        assert_eq!(titles(&ids, &[]), ids);
    }
}
