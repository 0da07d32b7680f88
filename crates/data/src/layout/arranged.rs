//! A recognised layout.

use super::classes::Classes;
use super::names;
use super::tree::FileTree;
use crate::collection::Class;
use std::path::{Path, PathBuf};

/// Labelled images for training and testing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arranged {
    /// The layout, as named in notes.
    pub(crate) kind: &'static str,
    /// The classes in the order of their labels.
    pub(crate) classes: Vec<Class>,
    /// Labels and paths, sorted by label.
    pub(crate) train: Vec<(u32, PathBuf)>,
    pub(crate) test: Vec<(u32, PathBuf)>,
    /// Messages for the user, to be shown once.
    pub(crate) notes: Vec<String>,
}

impl Arranged {
    pub(super) fn of(
        tree: &dyn FileTree,
        base: &Path,
        kind: &'static str,
        [train, test]: [Classes; 2],
        notes: Vec<String>,
    ) -> Arranged {
        let words = names::detect(tree, base, &train.names);
        let classes = train.names.into_iter().zip(words);
        let classes = classes.map(|(id, words)| Class { id, words, devkit_id: None }).collect();
        Arranged { kind, classes, train: train.files, test: test.files, notes }
    }
}
