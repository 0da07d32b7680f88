//! Compares downloads with their published checksums.

use crate::bounded;
use crate::{Error, Result};
use md5::Digest;
use std::io::Read;
use std::path::Path;

/// The published checksums of 2012, as in torchvision. None are known reliably for 2010.
const KNOWN: [(&str, &str); 3] = [
    ("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e"),
    ("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622"),
    ("ILSVRC2012_devkit_t12.tar.gz", "fa75699e90414af021442c21a62c3abf"),
];

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Md5 {
    /// The file is the published one.
    AsPublished,
    /// No checksum is known for a file of this name; this is the file's.
    Unknown(String),
}

/// Compares a file's MD5 with the published one for its name. Reads the whole file, which takes
/// minutes per hundred gigabytes. `progress` receives the number of bytes read and the total.
///
/// # Errors
/// If it cannot be read, or differs from the published file.
pub fn verify_md5(path: impl AsRef<Path>, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Md5> {
    let path = path.as_ref();
    compare(path, published(path), md5_of(path, progress)?)
}

/// Whether a checksum was published for a file of this name.
pub fn has_published_md5(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    published(path).is_some()
}

fn published(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?;
    KNOWN.iter().find(|known| name == known.0).map(|known| known.1)
}

fn compare(path: &Path, published: Option<&str>, found: String) -> Result<Md5> {
    match published {
        None => Ok(Md5::Unknown(found)),
        Some(published) if published == found => Ok(Md5::AsPublished),
        Some(published) => {
            let problem =
                format!("its MD5 is {found}, but that of the published file is {published}");
            Err(Error::layout(path, problem, "download it again"))
        }
    }
}

fn md5_of(path: &Path, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<String> {
    let failed = |error| Error::io(path, &error);
    let (mut file, all) = bounded::open(path).map_err(failed)?;
    let mut sum = md5::Md5::new();
    let mut bytes = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let count = match file.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        sum.update(&bytes[..count]);
        done += count as u64;
        progress(done, all);
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch_dir::ScratchDir;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Checksums of RFC 1321.
    #[test]
    fn checksums_of_the_standard() {
        let dir = ScratchDir::new();
        for (text, sum) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ] {
            let path = dir.write("file", text.as_bytes());
            assert_eq!(verify_md5(&path, &|_, _| ()), Ok(Md5::Unknown(sum.to_owned())));
        }
        assert!(verify_md5(dir.path().join("none"), &|_, _| ()).is_err());
    }

    #[test]
    fn a_published_name_must_have_the_published_checksum() {
        let dir = ScratchDir::new();
        let path = dir.write("ILSVRC2012_img_val.tar", &vec![0; 3 << 20]);
        let furthest = AtomicU64::new(0);
        let tell = |done, all| {
            assert_eq!(all, 3 << 20);
            furthest.fetch_max(done, Ordering::Relaxed);
        };
        let error = verify_md5(&path, &tell).unwrap_err().to_string();
        assert_eq!(furthest.into_inner(), 3 << 20);
        assert!(error.contains("29b22e2961454d5413ddabcf34fc5622; download it again"), "{error}");
        let known = compare(&path, Some("ab"), "ab".to_owned());
        assert_eq!(known, Ok(Md5::AsPublished));
    }
}
