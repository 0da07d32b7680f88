//! CIFAR-10 and CIFAR-100 in the binary and the Python version: the unpacked folder, its parent
//! folder, or the `.tar.gz` as downloaded.

mod files;
mod python;

use crate::{Error, ReadBuffer, Result, Source};
use ::files::numbers::grouped;
use augment::Image;
use files::CifarFiles;
use std::path::Path;

/// Height and width of an image.
const SIDE: usize = 32;
/// The bytes of an image: a plane of red, one of green, one of blue.
const PIXELS: usize = 3 * SIDE * SIDE;

/// The images of CIFAR-10 or CIFAR-100 (with its fine labels), resized from 32 x 32 pixels if
/// another size is requested.
pub struct Cifar {
    classes: Vec<String>,
    images: Vec<Image>,
    labels: Vec<u8>,
    name: String,
    side: usize,
}

/// The properties of CIFAR-10 or CIFAR-100.
#[derive(Debug)]
struct Variant {
    name: &'static str,
    train_images: usize,
    classes: &'static str,
    /// Bytes before the pixels of a binary record; the last one is the label.
    labels: usize,
    binary: Version,
    python: Version,
    /// The keys of the labels and of the class names in a Python file.
    keys: [&'static str; 2],
}

/// The file names of a version.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    name: &'static str,
    /// The folder in the archive.
    folder: &'static str,
    archive: &'static str,
    /// The training files, with equal numbers of images.
    train: &'static [&'static str],
    test: &'static str,
    /// The file with the class names.
    classes: &'static str,
    /// The size limit of a file in bytes.
    longest: u64,
}

const TEN: Variant = Variant {
    name: "CIFAR-10",
    train_images: 10_000,
    classes: "airplane automobile bird cat deer dog frog horse ship truck",
    labels: 1,
    binary: Version {
        name: "binary",
        folder: "cifar-10-batches-bin",
        archive: "cifar-10-binary.tar.gz",
        train: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        test: "test_batch.bin",
        classes: "batches.meta.txt",
        longest: 10_000 * 3073,
    },
    python: Version {
        name: "Python",
        folder: "cifar-10-batches-py",
        archive: "cifar-10-python.tar.gz",
        train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        test: "test_batch",
        classes: "batches.meta",
        longest: 64 << 20,
    },
    keys: ["labels", "label_names"],
};

/// A binary record starts with the coarse label, followed by the fine one.
const HUNDRED: Variant = Variant {
    name: "CIFAR-100",
    train_images: 50_000,
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
    labels: 2,
    binary: Version {
        name: "binary",
        folder: "cifar-100-binary",
        archive: "cifar-100-binary.tar.gz",
        train: &["train.bin"],
        test: "test.bin",
        classes: "fine_label_names.txt",
        longest: 50_000 * 3074,
    },
    python: Version {
        name: "Python",
        folder: "cifar-100-python",
        archive: "cifar-100-python.tar.gz",
        train: &["train"],
        test: "test",
        classes: "meta",
        longest: 256 << 20,
    },
    keys: ["fine_labels", "fine_label_names"],
};

const TEST_IMAGES: usize = 10_000;

impl Cifar {
    /// Height and width of the stored images.
    pub const SIDE: usize = SIDE;

    /// Whether `path` is CIFAR-10 or CIFAR-100: a folder with a version's files, its parent folder,
    /// or the published archive.
    pub fn is_at(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        !matches!(files::find(path), Ok(None))
    }

    /// The 50,000 training and the 10,000 test images, as `side` x `side` pixels.
    ///
    /// # Errors
    /// If a file is missing, has the wrong number of images or an invalid label, or if a folder
    /// contains both CIFAR-10 and CIFAR-100.
    pub fn open(path: impl AsRef<Path>, side: usize) -> Result<(Cifar, Cifar)> {
        let path = path.as_ref();
        let mut files = files::find(path)?.unwrap_or_else(|| CifarFiles::none(path));
        let (variant, version) = (files.variant, files.version);
        let classes = variant.read_classes(&mut files)?;
        let mut set = |names: &[&str], count, name: &str| {
            let (mut images, mut labels) = (Vec::new(), Vec::new());
            for file in names {
                variant.read_images(&mut files, file, count, &mut images, &mut labels)?;
            }
            let name = format!("{} {name}", variant.name);
            Ok(Cifar { classes: classes.clone(), images, labels, name, side })
        };
        let train = set(version.train, variant.train_images, "training")?;
        Ok((train, set(&[version.test], TEST_IMAGES, "test")?))
    }
}

impl Variant {
    /// The names of the classes in the order of their labels.
    fn read_classes(&self, files: &mut CifarFiles) -> Result<Vec<String>> {
        let name = files.version.classes;
        let Some(bytes) = files.read(name)? else {
            return Ok(self.class_names().map(str::to_owned).collect());
        };
        let wrong = |problem: String| Error::layout(&files.path(name), problem, files.remedy());
        let classes: Vec<String> = if files.version == &self.python {
            python::class_names(&bytes, self.keys[1]).map_err(wrong)?
        } else {
            let text = String::from_utf8_lossy(&bytes);
            let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
            names.map(String::from).collect()
        };
        if classes.len() != self.class_names().count() {
            let (found, wanted) = (classes.len(), self.class_names().count());
            return Err(wrong(format!("{found} class names where {} has {wanted}", self.name)));
        }
        Ok(classes)
    }

    /// Adds the images of a file; in the binary version, it must have `count` of them.
    fn read_images(
        &self,
        files: &mut CifarFiles,
        name: &str,
        count: usize,
        images: &mut Vec<Image>,
        labels: &mut Vec<u8>,
    ) -> Result<()> {
        let bytes = files.read_existing(name)?;
        let wrong = |problem: String| Error::layout(&files.path(name), problem, files.remedy());
        if files.version == &self.python {
            return python::PythonBatch::read(&bytes, self.keys[0], |batch| {
                if batch.labels.is_empty() {
                    return Err("it has no image".to_owned());
                }
                let mut records = batch.records().enumerate();
                records.try_for_each(|(number, (label, planes))| {
                    self.add(number, label, planes, images, labels)
                })
            })
            .map_err(wrong);
        }
        let (len, wanted) = (bytes.len(), count * (self.labels + PIXELS));
        if len != wanted {
            let count = grouped(count);
            return Err(wrong(format!("{len} bytes where {count} images take {wanted}")));
        }
        self.parse(&bytes, images, labels).map_err(wrong)
    }

    /// Adds the images of complete binary records.
    fn parse(
        &self,
        bytes: &[u8],
        images: &mut Vec<Image>,
        labels: &mut Vec<u8>,
    ) -> std::result::Result<(), String> {
        for (number, record) in bytes.chunks_exact(self.labels + PIXELS).enumerate() {
            let (label, planes) = (record[self.labels - 1], &record[self.labels..]);
            self.add(number, i64::from(label), planes, images, labels)?;
        }
        Ok(())
    }

    /// Adds an image that is stored as three colour planes.
    fn add(
        &self,
        number: usize,
        label: i64,
        planes: &[u8],
        images: &mut Vec<Image>,
        labels: &mut Vec<u8>,
    ) -> std::result::Result<(), String> {
        let last = self.class_names().count() - 1;
        let Some(label) = u8::try_from(label).ok().filter(|&label| usize::from(label) <= last)
        else {
            return Err(format!("image {number} is of class {label}, and the last is {last}"));
        };
        let mut image = Image::filled(SIDE, SIDE, [0; 3]);
        for (at, pixel) in image.pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *pixel = [0, 1, 2].map(|plane| planes[plane * SIDE * SIDE + at]);
        }
        images.push(image);
        labels.push(label);
        Ok(())
    }

    fn class_names(&self) -> impl Iterator<Item = &'static str> {
        self.classes.split_whitespace()
    }
}

/// For fuzzing: parses bytes as records of either variant; returns the labels.
pub(crate) fn labels_of_records(bytes: &[u8]) -> [std::result::Result<Vec<u8>, String>; 2] {
    [&TEN, &HUNDRED].map(|variant| {
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        variant.parse(bytes, &mut images, &mut labels)?;
        assert_eq!(images.len(), labels.len());
        Ok(labels)
    })
}

/// For fuzzing: parses a pickle as either variant.
pub(crate) fn labels_of_pickle(bytes: &[u8]) {
    for variant in [&TEN, &HUNDRED] {
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        let _ = python::PythonBatch::read(bytes, variant.keys[0], |batch| {
            batch.records().enumerate().try_for_each(|(number, (label, planes))| {
                variant.add(number, label, planes, &mut images, &mut labels)
            })
        });
        assert!(labels.iter().all(|&label| usize::from(label) < variant.class_names().count()));
        let _ = python::class_names(bytes, variant.keys[1]);
    }
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
