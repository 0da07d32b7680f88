//! The ILSVRC archives of one year.

use super::devkit::{Devkit, DevkitClass};
use super::scan::{ArchiveScan, Patch, file_name, length};
use crate::collection::{Class, Collection};
use crate::formats::may_be_image;
use crate::tar::TarMember;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// A year's ImageNet Large Scale Visual Recognition Challenge (classification).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contest {
    /// 2012, whose data was used in later years, too.
    Ilsvrc2012,
    /// 2010.
    Ilsvrc2010,
}

impl fmt::Display for Contest {
    /// The year.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Contest::Ilsvrc2012 => "2012",
            Contest::Ilsvrc2010 => "2010",
        })
    }
}

impl Contest {
    /// The supported years.
    pub const ALL: [Contest; 2] = [Contest::Ilsvrc2012, Contest::Ilsvrc2010];

    /// The file names of the training images, the validation images and the development kit.
    pub fn archives(self) -> [&'static str; 3] {
        match self {
            Contest::Ilsvrc2012 => [
                "ILSVRC2012_img_train.tar",
                "ILSVRC2012_img_val.tar",
                "ILSVRC2012_devkit_t12.tar.gz",
            ],
            Contest::Ilsvrc2010 => [
                "ILSVRC2010_images_train.tar",
                "ILSVRC2010_images_val.tar",
                "ILSVRC2010_devkit-1.0.tar.gz",
            ],
        }
    }

    /// The optional archive with replacement images.
    fn patch(self) -> Option<&'static str> {
        (self == Contest::Ilsvrc2010).then_some("patch_images.tar")
    }

    /// The field of `meta.mat` with a class's number.
    pub(super) fn id_field(self) -> String {
        format!("ILSVRC{self}_ID")
    }

    pub(super) fn remedy(self) -> String {
        format!("put the original {} next to the other archives", self.archives()[2])
    }

    /// Whether any of the archives is in `root`.
    pub(crate) fn has_archive_at(self, root: &Path) -> bool {
        self.archives().iter().any(|name| root.join(name).is_file())
    }

    /// Finds all images in the archives in `root`, and their labels.
    pub(crate) fn open(
        self,
        root: &Path,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Collection> {
        let paths = self.archives().map(|name| root.join(name));
        let missing: Vec<&str> =
            self.archives().into_iter().filter(|name| !root.join(name).is_file()).collect();
        if !missing.is_empty() {
            let found = format!("{} is missing", missing.join(" and "));
            let expected = format!("all of {}", self.archives().join(", "));
            return Err(Error::NotFound { path: root.to_owned(), found, expected });
        }
        let [train, val, devkit] = &paths;
        let kit = Devkit::read(devkit, self)?;
        let mut collection = Collection::with_classes(root, classes(&kit.synsets));
        let patch = self.patch().map(|name| root.join(name));
        let patch_there = patch.as_ref().filter(|path| path.is_file());
        let total = length(train)? + length(val)? + patch_there.map_or(Ok(0), |p| length(p))?;
        let mut scan = ArchiveScan::new(progress, total);
        let replaced = match patch_there {
            Some(path) => Patch::open(path, &mut collection, &mut scan)?,
            None => Patch::default(),
        };
        if let (Some(path), None) = (&patch, patch_there) {
            let path = path.display();
            scan.notes.other.push(format!("{path}: is missing, so no image is replaced"));
        }
        scan.train(train, devkit, &kit.synsets, &replaced, &mut collection)?;
        scan.validation(self, val, &kit, &replaced, &mut collection)?;
        collection.describe(&format!("the archives of ILSVRC-{self}"), scan.notes.messages());
        Ok(collection)
    }
}

/// The classes in the order of their WordNet ids.
fn classes(synsets: &[DevkitClass]) -> Vec<Class> {
    let class = |synset: &DevkitClass| Class {
        id: synset.wnid.clone(),
        words: synset.words.clone(),
        devkit_id: Some(synset.id),
    };
    let mut classes: Vec<Class> = synsets.iter().map(class).collect();
    classes.sort_by(|a, b| a.id.cmp(&b.id));
    classes
}

impl ArchiveScan<'_> {
    /// Scans a tar with one tar per class, named after it.
    fn train(
        &mut self,
        path: &Path,
        devkit: &Path,
        synsets: &[DevkitClass],
        patch: &Patch,
        into: &mut Collection,
    ) -> Result<()> {
        let archive = into.add_archive(path)?;
        let len = length(path)?;
        // This reads only 1,000 headers: each class's archive is one member.
        let outer = self.members(path, path, 0..len, false)?;
        let mut tars = BTreeMap::new();
        for member in &outer {
            let file_name = member.name.rsplit('/').next().unwrap_or_default();
            let Some(wnid) = file_name.strip_suffix(".tar").filter(|wnid| super::is_wnid(wnid))
            else {
                *self.notes.unexpected.entry(path.to_owned()).or_default() += 1;
                continue;
            };
            if tars.insert(wnid, member).is_some() {
                let problem = format!("it contains {wnid}.tar twice");
                return Err(Error::layout(path, problem, "download it again"));
            }
        }
        let wnids: Vec<&str> = into.classes.iter().map(|class| class.id.as_str()).collect();
        same_classes(path, devkit, &tars.keys().copied().collect(), &wnids)?;
        let counts: BTreeMap<&str, usize> =
            synsets.iter().map(|synset| (synset.wnid.as_str(), synset.images)).collect();
        // In the order of offsets, for sequential reading; sorted by label below.
        let mut tars: Vec<(u32, &str, &TarMember)> =
            (0..).zip(tars).map(|(label, (wnid, tar))| (label, wnid, tar)).collect();
        tars.sort_by_key(|(_, _, tar)| tar.offset);
        let mut files = Vec::new();
        for (label, wnid, tar) in tars {
            let name = path.join(format!("{wnid}.tar"));
            let members = self.members(path, &name, tar.offset..tar.offset + tar.len, true)?;
            let images = self.images(path, archive, members, |name| may_be_image(name.as_ref()));
            let (found, wanted) = (images.len(), counts[wnid]);
            if found != wanted {
                let problem = format!(
                    "it has {found} images, but meta.mat of the development kit has {wanted}"
                );
                let remedy = "download the archive again, or use the development kit of its year";
                return Err(Error::layout(&name, problem, remedy));
            }
            let folder = format!("{}/{wnid}.tar", file_name(path));
            let file = |found| patch.apply("train", &folder, label, found);
            files.extend(images.into_iter().map(file));
        }
        files.sort_by_key(|file| file.label);
        into.train = files;
        self.pass(len);
        Ok(())
    }

    /// Scans a tar of numbered images, whose classes are in the development kit.
    fn validation(
        &mut self,
        contest: Contest,
        path: &Path,
        kit: &Devkit,
        patch: &Patch,
        into: &mut Collection,
    ) -> Result<()> {
        let archive = into.add_archive(path)?;
        let len = length(path)?;
        let members = self.members(path, path, 0..len, true)?;
        let number = |name: &str| number(contest, name);
        let images = self.images(path, archive, members, |name| number(name).is_some());
        let wrong = |problem: String| {
            let remedy = "download it again, or use the development kit of its year";
            Error::layout(path, problem, remedy)
        };
        if images.len() != kit.truth.len() {
            let (found, wanted) = (images.len(), kit.truth.len());
            return Err(wrong(format!(
                "it has {found} validation images, but the development kit has classes for {wanted}"
            )));
        }
        let labels: BTreeMap<u32, u32> =
            into.classes.iter().filter_map(|class| class.devkit_id).zip(0..).collect();
        let mut files = Vec::new();
        for (position, found) in images.into_iter().enumerate() {
            // Sorted, distinct and complete: each number must be its position.
            if number(&found.file_name) != Some(position + 1) {
                return Err(wrong(format!("validation image {} is missing", position + 1)));
            }
            let id = kit.truth[position];
            let label = labels.get(&id).ok_or_else(|| {
                wrong(format!("the development kit has no class {id}, that of {}", found.file_name))
            })?;
            files.push(patch.apply("val", &file_name(path), *label, found));
        }
        into.test = files;
        self.pass(len);
        Ok(())
    }
}

/// The number in `ILSVRC2012_val_00000001.JPEG`.
fn number(contest: Contest, name: &str) -> Option<usize> {
    let rest = name.strip_prefix(&format!("ILSVRC{contest}_val_"))?;
    let digits = rest.strip_suffix(".JPEG")?;
    let plain = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// Checks that the classes of `meta.mat` are those of the training archive.
fn same_classes(
    train: &Path,
    devkit: &Path,
    tars: &BTreeSet<&str>,
    classes: &[&str],
) -> Result<()> {
    let without_tar: Vec<_> = classes.iter().filter(|wnid| !tars.contains(*wnid)).collect();
    let without_class: Vec<_> = tars.iter().filter(|wnid| !classes.contains(wnid)).collect();
    let first =
        |wnids: &[&&str]| wnids.first().map_or(String::new(), |wnid| format!(" (such as {wnid})"));
    if without_tar.is_empty() && without_class.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "its meta.mat does not match these archives: {} of its {} classes are not in {}{}, and {} \
         of the {} classes there are not in meta.mat{}",
        without_tar.len(),
        classes.len(),
        file_name(train),
        first(&without_tar),
        without_class.len(),
        tars.len(),
        first(&without_class),
    );
    let remedy = "use the development kit of the same year, or download both again";
    Err(Error::layout(devkit, problem, remedy))
}
