//! CIFAR-10 and CIFAR-100 in their binary forms.

use crate::error::grouped;
use crate::{Error, ReadBuffer, Result, Source};
use augment::Image;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Height and width of an image.
const SIDE: usize = 32;
/// A plane each of red, green and blue.
const PIXELS: usize = 3 * SIDE * SIDE;

/// The images of CIFAR-10 or CIFAR-100 (by their fine labels), 32 x 32 pixels unless another size
/// is asked for.
pub struct Cifar {
    classes: Vec<String>,
    images: Vec<Image>,
    labels: Vec<u8>,
    name: String,
    side: usize,
}

/// What the two sets differ in.
struct Form {
    name: &'static str,
    /// Each file and how many images it holds.
    train: &'static [&'static str],
    train_images: usize,
    test: &'static str,
    /// Bytes before the pixels; the last of them is the label.
    labels: usize,
    /// Which file names the classes.
    names: &'static str,
    /// What they are called should it be missing, in the order of their labels.
    classes: &'static str,
}

const TEN: Form = Form {
    name: "CIFAR-10",
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    train_images: 10_000,
    test: "test_batch.bin",
    labels: 1,
    names: "batches.meta.txt",
    classes: "\
        airplane automobile bird cat deer dog frog horse ship truck",
};

/// A record starts with the coarse label and then has the fine one.
const HUNDRED: Form = Form {
    name: "CIFAR-100",
    train: &["train.bin"],
    train_images: 50_000,
    test: "test.bin",
    labels: 2,
    names: "fine_label_names.txt",
    classes: "\
        apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus \
        butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach \
        couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster \
        house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree \
        motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear \
        pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road \
        rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel \
        streetcar sunflower sweet_pepper table tank telephone television tiger tractor train \
        trout tulip turtle wardrobe whale willow_tree wolf woman worm",
};

const TEST_IMAGES: usize = 10_000;

impl Cifar {
    /// Height and width of the images as they are stored.
    pub const SIDE: usize = SIDE;

    /// Whether a folder looks like the binary form of CIFAR-10 or CIFAR-100.
    pub fn is_at(root: &Path) -> bool {
        Form::at(root).is_some()
    }

    /// The 50,000 training and the 10,000 test images.
    ///
    /// # Errors
    /// If a file is missing, is not exactly as long as its records, or has a label that there is
    /// not.
    pub fn open(root: &Path, side: usize) -> Result<(Cifar, Cifar)> {
        let form = Form::at(root).unwrap_or(&TEN);
        let classes = form.read_classes(root)?;
        let set = |files: &[&str], count, name: &str| {
            let (mut images, mut labels) = (Vec::new(), Vec::new());
            for file in files {
                form.read_records(&root.join(file), count, &mut images, &mut labels)?;
            }
            let name = format!("{} {name}", form.name);
            Ok(Cifar { classes: classes.clone(), images, labels, name, side })
        };
        let train = set(form.train, form.train_images, "training")?;
        Ok((train, set(&[form.test], TEST_IMAGES, "test")?))
    }
}

impl Form {
    /// The form that a folder has.
    fn at(root: &Path) -> Option<&'static Form> {
        [&TEN, &HUNDRED].into_iter().find(|form| {
            let mut files = form.train.iter().chain([&form.test]);
            files.any(|file| root.join(file).is_file())
        })
    }

    fn read_classes(&self, root: &Path) -> Result<Vec<String>> {
        let path = root.join(self.names);
        if !path.exists() {
            return Ok(self.class_names().map(str::to_owned).collect());
        }
        let bytes = read_at_most(&path, 1 << 20)?;
        let text = String::from_utf8_lossy(&bytes);
        let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let classes: Vec<String> = names.map(String::from).collect();
        if classes.len() != self.class_names().count() {
            let (found, wanted) = (classes.len(), self.class_names().count());
            let problem = format!("{found} class names where {} has {wanted}", self.name);
            return Err(Error::layout(&path, problem, self.remedy()));
        }
        Ok(classes)
    }

    fn read_records(
        &self,
        path: &Path,
        count: usize,
        images: &mut Vec<Image>,
        labels: &mut Vec<u8>,
    ) -> Result<()> {
        let wrong = |problem: String| Error::layout(path, problem, self.remedy());
        let record = self.labels + PIXELS;
        let (len, wanted) = (file_len(path)?, (count * record) as u64);
        if len != wanted {
            let count = grouped(count);
            return Err(wrong(format!("{len} bytes where {count} images take {wanted}")));
        }
        let bytes = read_at_most(path, wanted)?;
        if bytes.len() as u64 != wanted {
            return Err(wrong("the file changes while it is read".to_owned()));
        }
        self.parse(&bytes, images, labels).map_err(wrong)
    }

    /// Adds the images of whole records, and says what is wrong with one.
    fn parse(
        &self,
        bytes: &[u8],
        images: &mut Vec<Image>,
        labels: &mut Vec<u8>,
    ) -> std::result::Result<(), String> {
        let last = self.class_names().count() - 1;
        for (number, record) in bytes.chunks_exact(self.labels + PIXELS).enumerate() {
            let (label, planes) = (record[self.labels - 1], &record[self.labels..]);
            if usize::from(label) > last {
                return Err(format!("image {number} is of class {label}, and the last is {last}"));
            }
            let mut image = Image::filled(SIDE, SIDE, [0; 3]);
            for (at, pixel) in image.pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                *pixel = [0, 1, 2].map(|plane| planes[plane * SIDE * SIDE + at]);
            }
            images.push(image);
            labels.push(label);
        }
        Ok(())
    }

    fn class_names(&self) -> impl Iterator<Item = &'static str> {
        self.classes.split_whitespace()
    }

    fn remedy(&self) -> String {
        format!("download the binary version of {} again", self.name)
    }
}

/// What either form makes of some bytes: labels, or what is wrong. For fuzzing.
pub(crate) fn labels_of_records(bytes: &[u8]) -> [std::result::Result<Vec<u8>, String>; 2] {
    [&TEN, &HUNDRED].map(|form| {
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        form.parse(bytes, &mut images, &mut labels)?;
        assert_eq!(images.len(), labels.len());
        Ok(labels)
    })
}

/// The length of a file, before it is read.
fn file_len(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).map_err(|error| Error::io(path, &error))?.len())
}

fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| Error::io(path, &error))?;
    Ok(bytes)
}

impl Source for Cifar {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        (self.side, self.side)
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn label(&self, index: usize) -> u32 {
        u32::from(self.labels[index])
    }

    fn name(&self, index: usize) -> String {
        format!("{} image {index}", self.name)
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        let image = &self.images[index];
        if self.side == SIDE {
            return Ok(&image.pixels);
        }
        buffer.resizer.square(image, self.side, &mut buffer.image);
        Ok(&buffer.image.pixels)
    }

    fn remarks(&self) -> Vec<String> {
        match self.side {
            SIDE => Vec::new(),
            side => vec![format!("CIFAR's images are resized from {SIDE} to {side} pixels")],
        }
    }
}

#[cfg(test)]
mod tests;
