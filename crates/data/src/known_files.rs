//! Finds CIFAR's and MNIST's files in a folder or its subfolders.

use crate::{Cifar, Error, Idx, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder with more subfolders than this is not searched.
const MAX_FOLDERS: usize = 64;

/// A data set recognised by its file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KnownFiles {
    Cifar(PathBuf),
    Idx(PathBuf),
}

impl KnownFiles {
    pub(crate) fn folder(&self) -> &Path {
        match self {
            KnownFiles::Cifar(folder) | KnownFiles::Idx(folder) => folder,
        }
    }

    /// The data set in `root`: CIFAR's files as [`Cifar::is_at`] finds them; MNIST's files in
    /// `root`, in `root/raw` (as torchvision's `MNIST/raw`), or in either place of a subfolder of
    /// `root`.
    ///
    /// # Errors
    /// If there are several.
    pub(crate) fn find(root: &Path) -> Result<Option<KnownFiles>> {
        let cifar = Cifar::is_at(root).then(|| KnownFiles::Cifar(root.to_owned()));
        let mut found = cifar.into_iter().chain(idx_below(root).into_iter().map(KnownFiles::Idx));
        match (found.next(), found.next()) {
            (Some(first), Some(second)) => {
                let remedy = format!(
                    "give one: {} or {}",
                    second.folder().display(),
                    match first {
                        KnownFiles::Cifar(_) => "the folder of CIFAR's files".to_owned(),
                        KnownFiles::Idx(folder) => folder.display().to_string(),
                    }
                );
                Err(Error::layout(root, "several data sets lie here", remedy))
            }
            (found, _) => Ok(found),
        }
    }
}

/// The folders with MNIST's files in `root` or its subfolders.
fn idx_below(root: &Path) -> Vec<PathBuf> {
    let at_or_raw = |folder: &Path| {
        [folder.to_owned(), folder.join("raw")].into_iter().find(|folder| Idx::is_at(folder))
    };
    if let Some(folder) = at_or_raw(root) {
        return vec![folder];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
    let mut folders: Vec<PathBuf> = folders.take(MAX_FOLDERS + 1).collect();
    if folders.len() > MAX_FOLDERS {
        return Vec::new();
    }
    folders.sort();
    folders.iter().filter_map(|folder| at_or_raw(folder)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch_dir::ScratchDir;

    #[test]
    fn subfolders_are_searched() {
        let dir = ScratchDir::new();
        assert_eq!(KnownFiles::find(dir.path()), Ok(None));
        assert_eq!(KnownFiles::find(&dir.path().join("nowhere")), Ok(None));
        dir.write("torch/MNIST/raw/train-images-idx3-ubyte.gz", b"");
        let raw = KnownFiles::Idx(dir.path().join("torch/MNIST/raw"));
        for above in ["torch", "torch/MNIST", "torch/MNIST/raw"] {
            assert_eq!(KnownFiles::find(&dir.path().join(above)), Ok(Some(raw.clone())), "{above}");
        }
        dir.write("down/cifar-10-batches-bin/data_batch_1.bin", b"");
        for down in ["down", "down/cifar-10-batches-bin"] {
            let down = dir.path().join(down);
            assert_eq!(KnownFiles::find(&down), Ok(Some(KnownFiles::Cifar(down.clone()))));
        }
        dir.write("down/MNIST/raw/train-images-idx3-ubyte", b"");
        let said = KnownFiles::find(&dir.path().join("down")).unwrap_err().to_string();
        assert!(said.contains("several data sets") && said.contains("MNIST/raw"), "{said}");

        dir.write("torch/FashionMNIST/raw/t10k-labels-idx1-ubyte", b"");
        dir.write("torch/FashionMNIST/raw/train-images-idx3-ubyte", b"");
        let said = KnownFiles::find(&dir.path().join("torch")).unwrap_err().to_string();
        assert!(said.contains("FashionMNIST/raw") && said.contains("/MNIST/raw"), "{said}");
    }
}
