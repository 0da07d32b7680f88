//! ILSVRC's archives in their original layout, with a few small images each.

use crate::mat::{self, MatFormat, Value};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

const CMYK: &[u8] = include_bytes!("../../data/fixtures/cmyk.jpg");

/// The contents of the archives. Images are generated from their names, so that the bytes of a
/// miniature are the same everywhere.
///
/// As in the real data, the training images include a CMYK JPEG (`n01739381_1309.JPEG`) and a PNG
/// with a JPEG's name (`n02105855_2933.JPEG`); also a grey JPEG.
#[derive(Clone, Debug)]
pub struct Miniature {
    /// 2010 or 2012.
    pub year: u32,
    /// The rows of `meta.mat`; the leaves are the classes.
    pub synsets: Vec<Synset>,
    /// Training images per class, at least three.
    pub train: usize,
    /// Validation images in total, of the classes in turn.
    pub validation: usize,
    /// Height and width of the smallest image, in pixels.
    pub side: u32,
    /// The format of `meta.mat`.
    pub format: MatFormat,
}

/// A row of `meta.mat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synset {
    /// The number in the development kit, starting with 1.
    pub id: u32,
    /// The WordNet id.
    pub wnid: String,
    /// The name.
    pub words: String,
    /// Ids of the direct hyponyms; empty for a class.
    pub children: Vec<u32>,
}

impl Miniature {
    /// Four classes with four training images each, and ten validation images. The order of ids
    /// differs from that of names.
    pub fn new(year: u32) -> Miniature {
        let synset = |id, wnid: &str, words: &str, children: &[u32]| {
            let (wnid, words) = (wnid.to_owned(), words.to_owned());
            Synset { id, wnid, words, children: children.to_vec() }
        };
        let synsets = vec![
            synset(1, "n02119789", "kit fox, Vulpes macrotis", &[]),
            synset(2, "n01739381", "vine snake", &[]),
            synset(3, "n02105855", "Shetland sheepdog, Shetland sheep dog, Shetland", &[]),
            synset(4, "n01440764", "tench, Tinca tinca", &[]),
            synset(5, "n00001740", "entity", &[1, 2, 3, 4]),
        ];
        let format = MatFormat { compressed: true, ..MatFormat::default() };
        Miniature { year, synsets, train: 4, validation: 10, side: 40, format }
    }

    /// The rows that are classes, in the order of their ids.
    pub fn classes(&self) -> impl Iterator<Item = &Synset> {
        self.synsets.iter().filter(|synset| synset.children.is_empty())
    }

    /// Writes all archives into `dir`, which is created if necessary.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn write(&self, dir: &Path) {
        fs::create_dir_all(dir).expect("a folder");
        let [train, val, devkit] = self.names();
        let write = |name: &str, bytes: Vec<u8>| fs::write(dir.join(name), bytes).expect("a file");
        write(&train, self.train_archive());
        write(&val, self.validation_archive());
        write(&devkit, self.devkit_archive());
        if self.year == 2010 {
            write("patch_images.tar", self.patch_archive());
        }
    }

    /// File names of the training, validation and development-kit archives.
    pub fn names(&self) -> [String; 3] {
        match self.year {
            2010 => ["images_train.tar", "images_val.tar", "devkit-1.0.tar.gz"],
            _ => ["img_train.tar", "img_val.tar", "devkit_t12.tar.gz"],
        }
        .map(|name| format!("ILSVRC{}_{name}", self.year))
    }

    /// A tar of one tar per class.
    pub fn train_archive(&self) -> Vec<u8> {
        let class = |class: &Synset| {
            let images = self.train_names(class).into_iter();
            let images: Vec<_> = images.map(|name| (name.clone(), self.image(&name))).collect();
            (format!("{}.tar", class.wnid), archive(&images))
        };
        archive(&self.classes().map(class).collect::<Vec<_>>())
    }

    /// The training images of a class.
    pub fn train_names(&self, class: &Synset) -> Vec<String> {
        let special = match class.wnid.as_str() {
            "n01739381" => 1309,
            "n02105855" => 2933,
            _ => 7,
        };
        let numbers = (1..self.train as u32).map(|number| number * 10).chain([special]);
        numbers.map(|number| format!("{}_{number}.JPEG", class.wnid)).collect()
    }

    /// The validation images; in 2010 they are in a folder.
    pub fn validation_archive(&self) -> Vec<u8> {
        let folder = if self.year == 2010 { "val/" } else { "" };
        let images = (1..=self.validation).map(|number| {
            let name = self.validation_name(number);
            (format!("{folder}{name}"), self.image(&name))
        });
        archive(&images.collect::<Vec<_>>())
    }

    /// The name of validation image `number`, starting with 1.
    pub fn validation_name(&self, number: usize) -> String {
        format!("ILSVRC{}_val_{number:08}.JPEG", self.year)
    }

    /// The class id of validation image `number`, starting with 1.
    pub fn truth(&self, number: usize) -> u32 {
        let classes: Vec<u32> = self.classes().map(|class| class.id).collect();
        classes[(number - 1) * 3 % classes.len()]
    }

    /// `meta.mat` and the validation images' ids, compressed.
    pub fn devkit_archive(&self) -> Vec<u8> {
        let year = self.year;
        let root = match year {
            2010 => "devkit-1.0".to_owned(),
            _ => format!("ILSVRC{year}_devkit_t12"),
        };
        let truth = (1..=self.validation).map(|number| format!("{}\n", self.truth(number)));
        let files = [
            (format!("{root}/readme.txt"), b"A miniature.\n".to_vec()),
            (format!("{root}/data/meta.mat"), self.meta()),
            (
                format!("{root}/data/ILSVRC{year}_validation_ground_truth.txt"),
                truth.collect::<String>().into_bytes(),
            ),
        ];
        zipped(&archive(&files))
    }

    /// The struct array `synsets`.
    pub fn meta(&self) -> Vec<u8> {
        let id = format!("ILSVRC{}_ID", self.year);
        let fields = [
            &id,
            "WNID",
            "words",
            "gloss",
            "num_children",
            "children",
            "wordnet_height",
            "num_train_images",
        ];
        let fields = fields.map(str::to_owned).to_vec();
        let row = |synset: &Synset| {
            let leaf = synset.children.is_empty();
            let number = |number: usize| Value::Numbers(vec![number as f64]);
            vec![
                number(synset.id as usize),
                Value::Text(synset.wnid.clone()),
                Value::Text(synset.words.clone()),
                Value::Text(format!("what is meant by {}", synset.words)),
                number(synset.children.len()),
                Value::Numbers(synset.children.iter().map(|&id| f64::from(id)).collect()),
                number(usize::from(!leaf)),
                number(if leaf { self.train } else { 0 }),
            ]
        };
        let rows = self.synsets.iter().map(row).collect();
        let cost = Value::Numbers((0..9).map(f64::from).collect());
        mat::file(&[("cost_matrix", cost), ("synsets", Value::Struct(fields, rows))], self.format)
    }

    /// In 2010 a few images were replaced after the contest had begun; here, the first validation
    /// image, by [`Miniature::patched`].
    pub fn patch_archive(&self) -> Vec<u8> {
        archive(&[(format!("patch_images/val/{}", self.validation_name(1)), self.patched())])
    }

    /// The replacement for the first validation image.
    pub fn patched(&self) -> Vec<u8> {
        self.image("patched")
    }

    /// The bytes of the image called `name`.
    pub fn image(&self, name: &str) -> Vec<u8> {
        if name == "n01739381_1309.JPEG" {
            return CMYK.to_vec();
        }
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let [a, b, c, d, ..] = hash.to_le_bytes();
        let (width, height) = (self.side + u32::from(a % 24), self.side + u32::from(b % 24));
        let image = RgbImage::from_fn(width, height, |x, y| {
            Rgb([(x * 5) as u8 ^ a, c.wrapping_add((y * 3) as u8), d.wrapping_sub((x + y) as u8)])
        });
        let image = DynamicImage::from(image);
        match name {
            "n02105855_2933.JPEG" => encoded(&image, ImageFormat::Png),
            _ if name.ends_with("_7.JPEG") => {
                encoded(&DynamicImage::from(image.into_luma8()), ImageFormat::Jpeg)
            }
            _ => encoded(&image, ImageFormat::Jpeg),
        }
    }
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("memory");
    bytes.into_inner()
}

/// A tar of files, in GNU format.
fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, contents) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &contents[..]).expect("memory");
    }
    builder.into_inner().expect("memory")
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}
