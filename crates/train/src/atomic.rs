//! Files that are either the old one or the new one, whatever happens in between.

use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a file under a temporary name beside it, makes it durable, and only then gives it its
/// name.
///
/// # Errors
/// [`Error::Write`]; the old file, if there was one, is then still there.
pub fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let failed = |source| Error::Write { path: path.to_path_buf(), source };
    let mut name = path.file_name().expect("a file has a name").to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    write_durably(&temporary, contents).and_then(|()| fs::rename(&temporary, path)).map_err(
        |error| {
            let _ = fs::remove_file(&temporary); // the first error is the one to tell
            failed(error)
        },
    )?;
    sync_folder(path).map_err(failed)
}

fn write_durably(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

/// A rename lasts through a power cut once the folder that holds the name has been synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) && !folder.as_os_str().is_empty() => {
            File::open(folder)?.sync_all()
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("alexnet-atomic-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("run.json");
        write(&path, b"old").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = write(Path::new("/no/such/folder/run.json"), b"").unwrap_err().to_string();
        assert!(error.contains("/no/such/folder/run.json"), "{error}");
    }
}
