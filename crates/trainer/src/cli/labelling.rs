//! Sources of labels and class names.

use crate::fault::{Fault, Result};
use clap::Args;
use data::Labelling;
use std::path::PathBuf;

/// Sources of labels and class names other than folders.
#[derive(Clone, Debug, Default, Args)]
pub struct LabellingArgs {
    /// Table of labels (.csv or .tsv), one row per image [default: one beside the images, if they
    /// are not in folders of classes]
    #[arg(long, value_name = "FILE", conflicts_with = "label_from")]
    pub labels: Option<PathBuf>,
    /// Its column with file names, paths or ids; a name, or a number from 1 [default: by its name]
    #[arg(long, value_name = "COLUMN")]
    pub image_column: Option<String>,
    /// Its column with labels [default: by its name]
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    /// Take labels from the names of files: a regular expression with one group, such as
    /// '^([a-z]+)\.' for cat.0.jpg. With a / in it, it is matched with paths below the folder
    #[arg(long, value_name = "REGEX")]
    pub label_from: Option<String>,
    /// Readable class names: lines with a name or `id name`, or JSON
    #[arg(long, value_name = "FILE")]
    pub class_names: Option<PathBuf>,
}

impl LabellingArgs {
    /// Converts to the library's type.
    ///
    /// # Errors
    /// Exit code 2 for an invalid combination.
    pub fn to_labelling(&self) -> Result<Labelling> {
        let labelling = Labelling {
            file: self.labels.clone(),
            image_column: self.image_column.clone(),
            label_column: self.label_column.clone(),
            from: self.label_from.clone(),
            class_names: self.class_names.clone(),
        };
        check(&labelling)?;
        Ok(labelling)
    }
}

/// Refuses invalid combinations.
///
/// # Errors
/// Exit code 2.
pub fn check(labelling: &Labelling) -> Result<()> {
    let flags = "labelling (--labels, --image-column, --label-column, --label-from)";
    labelling.check().map_err(|problem| Fault::usage(format!("{flags}: {problem}")))
}
