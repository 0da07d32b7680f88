//! The images of shards as files, to be verified, measured or prepared.

use super::held_out::hold_out;
use super::{About, webdataset};
use crate::Result;
use crate::collection::{Class, Collection, Item, Place};
use std::path::Path;

/// Whether a folder holds tar files in webdataset's layout, and was not made by this program.
pub(crate) fn is_webdataset(dir: &Path) -> bool {
    !About::is_at(dir) && webdataset::is_at(dir)
}

/// The images in a folder's tar files, called `train-0.tar/000.jpg`.
///
/// # Errors
/// As [`survey`](webdataset::survey), which training goes by, too.
pub(crate) fn collection(dir: &Path) -> Result<Collection> {
    let survey = webdataset::survey(dir)?;
    let classes = survey.names.iter().enumerate();
    let classes = classes.map(|(label, name)| Class {
        id: label.to_string(),
        words: name.clone(),
        devkit_id: None,
    });
    let mut files = Collection::with_classes(dir, classes.collect());
    let mut parts = [Vec::new(), Vec::new()];
    for (items, tars) in parts.iter_mut().zip(survey.parts()) {
        for tar in tars {
            let archive = files.add_archive(&tar.path)?;
            items.extend(tar.samples.iter().map(|sample| Item {
                name: format!("{}/{}", tar.name, sample.image.name),
                label: sample.label,
                place: Place::Within {
                    archive,
                    offset: sample.image.offset,
                    len: sample.image.len,
                },
            }));
        }
    }
    let mut notes = survey.notes;
    let [train, test] = parts;
    let (train, test, said) = if !test.is_empty() {
        (train, test, Vec::new())
    } else {
        hold_out(dir, train, |item| item.label)
    };
    notes.extend(said);
    (files.train, files.test) = (train, test);
    files.describe("tar files in webdataset's layout", notes);
    Ok(files)
}
