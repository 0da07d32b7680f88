//! Scans all shards of a folder and checks them for consistency.

use super::shard_files::{ShardFiles, find};
use super::{ClassNames, Sample, UnusedMembers, scan};
use crate::bounded;
use crate::{Error, Result};
use files::numbers::grouped;
use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// At most this many images with equal names, labels and lengths in two shards are compared.
const COMPARED: usize = 16;
/// The size limit of an image.
const LONGEST_IMAGE: u64 = 256 << 20;

/// The scanned shards of a folder.
pub(crate) struct WebdatasetSurvey {
    /// Training shards first, then test shards.
    pub(crate) tars: Vec<ScannedTar>,
    /// The number of training shards.
    pub(crate) train: usize,
    /// The largest label plus one.
    pub(crate) classes: usize,
    /// Class names from `.json` members; empty where there is none.
    pub(crate) names: Vec<String>,
    pub(crate) notes: Vec<String>,
}

/// A shard.
pub(crate) struct ScannedTar {
    pub(crate) path: PathBuf,
    /// The name in messages: the path inside the folder.
    pub(crate) name: String,
    pub(crate) samples: Vec<Sample>,
}

impl WebdatasetSurvey {
    /// The training and the test shards.
    pub(crate) fn parts(&self) -> [&[ScannedTar]; 2] {
        let (train, test) = self.tars.split_at(self.train);
        [train, test]
    }
}

/// Scans all shards of a folder.
///
/// # Errors
/// If one cannot be read or a sample is ambiguous; if samples are duplicated, there are fewer than
/// two classes, or most labels below the largest do not occur.
pub(crate) fn survey(dir: &Path) -> Result<WebdatasetSurvey> {
    let ShardFiles { train, test, mut notes } = find(dir)?;
    let (mut names, mut unused) = (ClassNames::default(), UnusedMembers::default());
    let (count, mut tars, mut empty) = (train.len(), Vec::new(), Vec::new());
    for path in train.into_iter().chain(test) {
        let (file, _) = bounded::open(&path).map_err(|error| Error::io(&path, &error))?;
        let found = scan(&file, &path)?;
        let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
        if let Some(long) = found.samples.iter().find(|sample| sample.image.len > LONGEST_IMAGE) {
            let problem = format!("{}: {} bytes", long.image.name, long.image.len);
            return Err(Error::layout(&path, problem, "this is not an image"));
        }
        if found.samples.is_empty() {
            empty.push(name.clone());
        }
        names.merge(found.names);
        unused.merge(found.unused, &name);
        tars.push(ScannedTar { path, name, samples: found.samples });
    }
    notes.extend(unused.notes());
    if let Some(first) = empty.first() {
        notes.push(format!("{} tar files contain no sample, e.g. {first}", empty.len()));
    }
    let mut survey = WebdatasetSurvey { tars, train: count, classes: 0, names: Vec::new(), notes };
    survey.check_labels(dir)?;
    survey.check_keys()?;
    survey.names = names.of(survey.classes);
    let dir = dir.display();
    survey.notes.iter_mut().for_each(|note| *note = format!("{dir}: {note}"));
    Ok(survey)
}

impl WebdatasetSurvey {
    /// Counts the classes, and checks that labels are numbers without large gaps.
    fn check_labels(&mut self, dir: &Path) -> Result<()> {
        let mut counts: HashMap<u32, [usize; 2]> = HashMap::new();
        for (part, tars) in self.parts().into_iter().enumerate() {
            for sample in tars.iter().flat_map(|tar| &tar.samples) {
                counts.entry(sample.label).or_default()[part] += 1;
            }
        }
        let train: usize = counts.values().map(|count| count[0]).sum();
        self.classes = counts.keys().max().map_or(0, |&last| last as usize + 1);
        let classes = self.classes;
        if train == 0 || counts.len() < 2 {
            let mut problem = format!("{train} training images of {} classes", counts.len());
            self.notes.iter().for_each(|note| problem += &format!("; {note}"));
            let remedy = "expected tar files with members such as `000.jpg` and `000.cls`";
            return Err(Error::layout(dir, problem, remedy));
        }
        let missing: Vec<u32> =
            (0..classes as u32).filter(|label| !counts.contains_key(label)).collect();
        if missing.len() > counts.len() {
            let last = classes as u32 - 1;
            let problem = format!(
                "{} has label {last}, but {} of the {} classes up to it have no image, for \
                 example class {}",
                self.example_of(last),
                grouped(missing.len()),
                grouped(classes),
                missing[0]
            );
            return Err(Error::layout(dir, problem, "number the classes from 0 without gaps"));
        }
        if let [first, ..] = missing[..] {
            let one = if missing == [0] { "; are the labels counted from 1?" } else { "" };
            let missing = missing.len();
            self.notes.push(format!(
                "{missing} of {classes} classes have no image, for example class {first}{one}"
            ));
        }
        let untrained = counts.iter().filter(|(_, count)| count[0] == 0);
        let untrained: Vec<(u32, usize)> = untrained.map(|(&label, c)| (label, c[1])).collect();
        if let Some((label, images)) = untrained.iter().min() {
            self.notes.push(format!(
                "{} of {classes} classes have test images but no training images, for example \
                 class {label} with {images}",
                untrained.len()
            ));
        }
        Ok(())
    }

    /// The name of an image with this label.
    fn example_of(&self, label: u32) -> String {
        let samples = self.tars.iter().flat_map(|tar| tar.samples.iter().map(move |s| (tar, s)));
        let found = samples.into_iter().find(|(_, sample)| sample.label == label);
        found.map_or_else(String::new, |(tar, s)| format!("{}/{}", tar.name, s.image.name))
    }

    /// Keys may restart in each shard, but an image must not occur twice.
    fn check_keys(&mut self) -> Result<()> {
        let (mut twice, mut alike) = (Vec::new(), Vec::new());
        for (first, tars) in [(0, self.parts()[0]), (self.train, self.parts()[1])] {
            let (mut names, mut images) = (HashMap::new(), HashMap::new());
            for position in positions(tars, first) {
                let Sample { image, label } = &self.tars[position.0].samples[position.1];
                let before = *names.entry(&*image.name).or_insert(position);
                let same = *images.entry((&*image.name, image.len, label)).or_insert(position);
                if before != position {
                    twice.push((before, position));
                }
                if same != position {
                    alike.push((same, position));
                }
            }
        }
        for &(a, b) in alike.iter().take(COMPARED) {
            if self.same_image(a, b)? {
                let name = &self.tars[b.0].samples[b.1].image.name;
                let problem = format!("{name} is the same image in {}, too", self.tars[a.0].name);
                let remedy = "remove the duplicate shard";
                return Err(Error::layout(&self.tars[b.0].path, problem, remedy));
            }
        }
        if let Some(&(a, b)) = twice.first() {
            let name = &self.tars[b.0].samples[b.1].image.name;
            self.notes.push(format!(
                "{} names occur in more than one tar file with different images: for example \
                 {name} in {} and {}",
                grouped(twice.len()),
                self.tars[a.0].name,
                self.tars[b.0].name
            ));
        }
        Ok(())
    }

    fn same_image(&self, a: (usize, usize), b: (usize, usize)) -> Result<bool> {
        let read = |(tar, at): (usize, usize)| {
            let (path, image) = (&self.tars[tar].path, &self.tars[tar].samples[at].image);
            let mut bytes = vec![0; image.len as usize];
            let file = bounded::open(path);
            let read = file.and_then(|(file, _)| file.read_exact_at(&mut bytes, image.offset));
            read.map(|()| bytes).map_err(|error| Error::io(path, &error))
        };
        Ok(read(a)? == read(b)?)
    }
}

/// The index of the tar file (counted from `first`) and in the tar file, of each sample.
fn positions(tars: &[ScannedTar], first: usize) -> impl Iterator<Item = (usize, usize)> {
    let tars = tars.iter().enumerate();
    tars.flat_map(move |(at, tar)| (0..tar.samples.len()).map(move |sample| (first + at, sample)))
}
