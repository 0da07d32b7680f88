//! Webdataset's shards as a collection of files, for verifying or preparing.

use super::{Manifest, webdataset, with_test_set};
use crate::Result;
use crate::collection::{Class, Collection, FileLocation, LabelledFile};
use std::path::Path;

/// Whether a folder has tar files in webdataset's layout that were not written by this program.
pub(crate) fn is_webdataset(dir: &Path) -> bool {
    !Manifest::is_at(dir) && webdataset::is_at(dir)
}

/// The images in a folder's tar files, with names such as `train-0.tar/000.jpg`.
///
/// # Errors
/// As [`survey`](webdataset::survey).
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
    for (files_of, tars) in parts.iter_mut().zip(survey.parts()) {
        for tar in tars {
            let archive = files.add_archive(&tar.path)?;
            files_of.extend(tar.samples.iter().map(|sample| LabelledFile {
                name: format!("{}/{}", tar.name, sample.image.name),
                label: sample.label,
                location: FileLocation::ArchiveRange {
                    archive,
                    offset: sample.image.offset,
                    len: sample.image.len,
                },
            }));
        }
    }
    let mut notes = survey.notes;
    [files.train, files.test] = with_test_set(dir, parts, &mut notes, |file| file.label);
    files.describe("tar files in webdataset's layout", notes);
    Ok(files)
}
