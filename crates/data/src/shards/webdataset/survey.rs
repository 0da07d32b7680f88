//! All samples of a folder's shards, checked against each other.

use super::shard_files::{ShardFiles, find};
use super::{ClassNames, Sample, Unused, scan};
use crate::bounded;
use crate::{Error, Result};
use files::numbers::grouped;
use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Of names that occur in two shards with equal labels and lengths, so many images are compared.
const COMPARED: usize = 16;
/// Longer than any image.
const LONGEST_IMAGE: u64 = 256 << 20;

/// The shards of a folder.
pub(crate) struct Survey {
    /// To train on, then to test on.
    pub(crate) tars: Vec<Tar>,
    /// So many of them are to train on.
    pub(crate) train: usize,
    /// One more than the greatest label.
    pub(crate) classes: usize,
    /// What the `.json` members call the classes; empty where they do not.
    pub(crate) names: Vec<String>,
    pub(crate) notes: Vec<String>,
}

/// A shard.
pub(crate) struct Tar {
    pub(crate) path: PathBuf,
    /// As it is called in messages: its path inside the folder.
    pub(crate) name: String,
    pub(crate) samples: Vec<Sample>,
}

impl Survey {
    /// The shards to train on, and those to test on.
    pub(crate) fn parts(&self) -> [&[Tar]; 2] {
        let (train, test) = self.tars.split_at(self.train);
        [train, test]
    }
}

/// Walks through all shards of a folder.
///
/// # Errors
/// If one cannot be read or a sample is ambiguous; if samples are there twice, there are fewer than
/// two classes, or most labels below the greatest do not occur.
pub(crate) fn survey(dir: &Path) -> Result<Survey> {
    let ShardFiles { train, test, mut notes } = find(dir)?;
    let (mut names, mut unused) = (ClassNames::default(), Unused::default());
    let (count, mut tars, mut empty) = (train.len(), Vec::new(), Vec::new());
    for path in train.into_iter().chain(test) {
        let (file, _) = bounded::open(&path).map_err(|error| Error::io(&path, &error))?;
        let found = scan(&file, &path)?;
        let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
        if let Some(long) = found.samples.iter().find(|sample| sample.image.len > LONGEST_IMAGE) {
            let problem = format!("{}: {} bytes", long.image.name, long.image.len);
            return Err(Error::layout(&path, problem, "this is no image"));
        }
        if found.samples.is_empty() {
            empty.push(name.clone());
        }
        names.merge(found.names);
        unused.merge(found.unused, &name);
        tars.push(Tar { path, name, samples: found.samples });
    }
    notes.extend(unused.notes());
    if let Some(first) = empty.first() {
        notes.push(format!("{} tar files hold no sample, e.g. {first}", empty.len()));
    }
    let mut survey = Survey { tars, train: count, classes: 0, names: Vec::new(), notes };
    survey.check_labels(dir)?;
    survey.check_keys()?;
    survey.names = names.of(survey.classes);
    let dir = dir.display();
    survey.notes.iter_mut().for_each(|note| *note = format!("{dir}: {note}"));
    Ok(survey)
}

impl Survey {
    /// Counts the classes, and makes sure that labels are places in a list of them.
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
                "{} has label {last}, and {} of the {} classes up to it have no image, class {} \
                 among them",
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
                "{missing} of {classes} classes have no image, class {first} among them{one}"
            ));
        }
        let untrained = counts.iter().filter(|(_, count)| count[0] == 0);
        let untrained: Vec<(u32, usize)> = untrained.map(|(&label, c)| (label, c[1])).collect();
        if let Some((label, images)) = untrained.iter().min() {
            self.notes.push(format!(
                "{} of {classes} classes are tested on, but never trained on: class {label} with \
                 {images} test images among them",
                untrained.len()
            ));
        }
        Ok(())
    }

    /// An image with this label.
    fn example_of(&self, label: u32) -> String {
        let samples = self.tars.iter().flat_map(|tar| tar.samples.iter().map(move |s| (tar, s)));
        let found = samples.into_iter().find(|(_, sample)| sample.label == label);
        found.map_or_else(String::new, |(tar, s)| format!("{}/{}", tar.name, s.image.name))
    }

    /// Keys may begin anew in each shard, but the same image must not be there twice.
    fn check_keys(&mut self) -> Result<()> {
        let (mut twice, mut alike) = (Vec::new(), Vec::new());
        for (first, tars) in [(0, self.parts()[0]), (self.train, self.parts()[1])] {
            let (mut names, mut images) = (HashMap::new(), HashMap::new());
            for place in places(tars, first) {
                let Sample { image, label } = &self.tars[place.0].samples[place.1];
                let before = *names.entry(&*image.name).or_insert(place);
                let same = *images.entry((&*image.name, image.len, label)).or_insert(place);
                if before != place {
                    twice.push((before, place));
                }
                if same != place {
                    alike.push((same, place));
                }
            }
        }
        for &(a, b) in alike.iter().take(COMPARED) {
            if self.same_image(a, b)? {
                let name = &self.tars[b.0].samples[b.1].image.name;
                let problem = format!("{name} is the same image in {} too", self.tars[a.0].name);
                let remedy = "remove the shard that is there twice";
                return Err(Error::layout(&self.tars[b.0].path, problem, remedy));
            }
        }
        if let Some(&(a, b)) = twice.first() {
            let name = &self.tars[b.0].samples[b.1].image.name;
            self.notes.push(format!(
                "{} names occur in more than one tar file, for different images: {name} in {} and \
                 {}, for one",
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

/// Each sample's tar file, counted from `first`, and its place in it.
fn places(tars: &[Tar], first: usize) -> impl Iterator<Item = (usize, usize)> {
    let tars = tars.iter().enumerate();
    tars.flat_map(move |(at, tar)| (0..tar.samples.len()).map(move |sample| (first + at, sample)))
}
