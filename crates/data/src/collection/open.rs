//! From a folder, as somebody has it, to a collection.

use super::{Class, Collection, Item, Place};
use crate::folder::{Folder, Split};
use crate::ilsvrc::{Contest, tiny_imagenet};
use crate::{Error, Result, shards};
use std::path::Path;

const EXPECTED: &str = "a folder with ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and \
    ILSVRC2012_devkit_t12.tar.gz; with ILSVRC2010_images_train.tar, ILSVRC2010_images_val.tar and \
    ILSVRC2010_devkit-1.0.tar.gz; with Tiny-ImageNet's train/<wnid>/images/ and \
    val/val_annotations.txt; with webdataset's tar files; or with images in train/<class>/ and val/<class>/, or in <class>/";

impl Collection {
    /// Opens ILSVRC-2012's or 2010's archives as they were downloaded, Tiny-ImageNet, tar files in
    /// webdataset's layout, or a folder of images in folders named for their classes, whichever lies
    /// in the folder `path`.
    ///
    /// Labels are the order of the classes' ids. The first note says what the folder was taken for.
    /// `progress` hears how many bytes of how many have been walked through; only archives take
    /// long.
    ///
    /// # Errors
    /// If nothing of this lies there, something of it is missing or broken, or the parts do not
    /// belong together.
    pub fn open(path: &Path, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Collection> {
        let not_found = |found: &str| {
            let (found, expected) = (found.to_owned(), EXPECTED.to_owned());
            Err(Error::NotFound { path: path.to_owned(), found, expected })
        };
        if !path.exists() {
            return not_found("there is nothing of this name");
        }
        if !path.is_dir() {
            return not_found("this is not a folder");
        }
        let here = Contest::ALL.into_iter().filter(|contest| contest.has_archive_at(path));
        match here.collect::<Vec<_>>()[..] {
            [] => {}
            [contest] => return contest.open(path, progress),
            _ => {
                let problem = "archives of more than one year's ILSVRC";
                return Err(Error::layout(path, problem, "give each year a folder of its own"));
            }
        }
        if tiny_imagenet::is_at(path) {
            return tiny_imagenet::open(path);
        }
        if shards::is_webdataset(path) {
            return shards::collection(path);
        }
        let entries = std::fs::read_dir(path).map_err(|error| Error::io(path, &error))?;
        if !entries.flatten().any(|entry| entry.path().is_dir()) {
            return not_found("none of what is looked for is in this folder");
        }
        Ok(Collection::of_folders(path, Folder::split(path, 1)?))
    }

    fn of_folders(path: &Path, split: Split) -> Collection {
        let (classes, train) = split.train.into_files();
        let (_, test) = split.test.into_files();
        let items = |files: Vec<_>| files.into_iter().map(Item::of_file).collect();
        let class = |id| Class { id, ..Class::default() };
        let classes = classes.into_iter().map(class).collect();
        let mut collection = Collection::with_classes(path, classes);
        (collection.train, collection.test) = (items(train), items(test));
        collection.describe("a folder of images", split.notes);
        collection
    }

    /// Says what the folder was taken for, and then what else there is to say.
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

impl Item {
    /// A file of its own, and its label.
    pub(crate) fn of_file((label, path): (u32, std::path::PathBuf)) -> Item {
        Item { name: path.display().to_string(), label, place: Place::File(path) }
    }
}
