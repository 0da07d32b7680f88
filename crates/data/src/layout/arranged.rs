//! What a tree is found to be.

use super::classes::Classes;
use super::names;
use super::tree::Tree;
use crate::collection::Class;
use std::path::{Path, PathBuf};

/// Labelled images, to train and to test on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arranged {
    /// What the tree was taken for.
    pub(crate) kind: &'static str,
    /// In the order of their labels.
    pub(crate) classes: Vec<Class>,
    /// Label and path, by label.
    pub(crate) train: Vec<(u32, PathBuf)>,
    pub(crate) test: Vec<(u32, PathBuf)>,
    /// What the user should be told, once.
    pub(crate) notes: Vec<String>,
}

impl Arranged {
    pub(super) fn of(
        tree: &dyn Tree,
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
