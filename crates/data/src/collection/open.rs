//! Opens a collection in any of the known layouts.

use super::{Collection, FileLocation, LabelledFile, packed};
use crate::ilsvrc::Contest;
use crate::layout::tree::DiskTree;
use crate::layout::{Arranged, Labelling, arrange, names};
use crate::{Error, Result, shards};
use std::path::{Path, PathBuf};

const EXPECTED: &str = "a folder with ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and \
    ILSVRC2012_devkit_t12.tar.gz; with ILSVRC2010_images_train.tar, ILSVRC2010_images_val.tar and \
    ILSVRC2010_devkit-1.0.tar.gz; Kaggle's ILSVRC/Data/CLS-LOC; Tiny-ImageNet's \
    train/<wnid>/images/ and val/val_annotations.txt; webdataset's tar files; images in \
    train/<class>/ and val/<class>/, in <class>/, or with a table of labels; a .zip, .tar or \
    .tar.gz of those; or parquet files of images";

impl Collection {
    /// Opens what is in the folder `path`: the archives of ILSVRC-2012 or 2010 as downloaded,
    /// Tiny-ImageNet, tar files in webdataset's layout, Hugging Face's parquet files, or a folder
    /// of images in folders named after their classes. `path` may also be an archive of such a
    /// folder.
    ///
    /// Labels follow the order of the classes' ids. The first note names the layout that was
    /// recognised. `progress` receives the number of bytes scanned and the total; only archives
    /// take long.
    ///
    /// # Errors
    /// If none of these is there, a part is missing or damaged, or the parts do not match.
    pub fn open(
        path: impl AsRef<Path>,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Collection> {
        let path = path.as_ref();
        Collection::open_labelled(path, &Labelling::default(), progress)
    }

    /// As [`open`](Self::open), with labels or class names from the files of `labelling`.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if labels are given for a set that has its own.
    pub fn open_labelled(
        path: &Path,
        labelling: &Labelling,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Collection> {
        let mut collection = Collection::open_as(path, labelling, progress)?;
        if let Some(file) = &labelling.class_names {
            let ids: Vec<String> = collection.classes.iter().map(|c| c.id.clone()).collect();
            let named = names::named(file, &ids)?;
            collection.classes.iter_mut().zip(named).for_each(|(class, name)| class.words = name);
        }
        Ok(collection)
    }

    fn open_as(
        path: &Path,
        labelling: &Labelling,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Collection> {
        let not_found = |found: &str| {
            let (found, expected) = (found.to_owned(), EXPECTED.to_owned());
            Err(Error::NotFound { path: path.to_owned(), found, expected })
        };
        if !path.exists() {
            return not_found("there is nothing of this name");
        }
        if packed::is_packed(path) {
            return packed::open(path, labelling, progress);
        }
        if !path.is_dir() {
            return not_found("this is not a folder");
        }
        let here = Contest::ALL.into_iter().filter(|contest| contest.has_archive_at(path));
        match here.collect::<Vec<_>>()[..] {
            [] => {}
            [_] if labelling.gives_labels() => {
                return Err(Error::layout(path, "these archives have labels", "give no others"));
            }
            [contest] => return contest.open(path, progress),
            _ => {
                let problem = "archives of more than one year's ILSVRC";
                return Err(Error::layout(path, problem, "give each year a folder of its own"));
            }
        }
        if shards::is_webdataset(path) && !labelling.gives_labels() {
            return shards::collection(path);
        }
        let entries = std::fs::read_dir(path).map_err(|error| Error::io(path, &error))?;
        let mut entries = entries.flatten().map(|entry| entry.path());
        if !labelling.gives_labels() && !entries.any(|path| path.is_dir() || is_table(&path)) {
            return not_found("this folder has none of the expected files");
        }
        Ok(Collection::arranged(path, arrange(&DiskTree::new(path), labelling)?))
    }

    fn arranged(path: &Path, arranged: Arranged) -> Collection {
        let mut collection = Collection::with_classes(path, arranged.classes);
        let files = |files: Vec<(u32, PathBuf)>| -> Vec<LabelledFile> {
            let file = |(label, file)| LabelledFile::from_path(label, path.join(file));
            files.into_iter().map(file).collect()
        };
        (collection.train, collection.test) = (files(arranged.train), files(arranged.test));
        collection.describe(arranged.kind, arranged.notes);
        collection
    }

    /// Sets the notes: the recognised layout with its counts, then `notes`.
    pub(crate) fn describe(&mut self, kind: &str, notes: Vec<String>) {
        let first = format!(
            "{}: taken for {kind}: {} classes, {} images to train on and {} to test on",
            self.name,
            self.classes.len(),
            self.train.len(),
            self.test.len()
        );
        self.notes = vec![first];
        self.notes.extend(notes);
    }
}

fn is_table(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ["csv", "tsv"].iter().any(|e| ending.eq_ignore_ascii_case(e)))
}

impl LabelledFile {
    /// The file `path` with its label.
    pub(crate) fn from_path(label: u32, path: PathBuf) -> LabelledFile {
        LabelledFile { name: path.display().to_string(), label, location: FileLocation::File(path) }
    }
}
