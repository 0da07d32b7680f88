//! One process trains in a folder at a time.

use super::refuse;
use crate::Result;
use files::disk::open_regular;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;

/// Locks a folder for as long as the files are open, which no death of a process outlasts: the
/// folder itself, and the file `lock`, which says who it is and is what older programs look at.
/// Either alone would do; a file can be removed by hand, and some network file systems lock no
/// folders.
pub(super) fn lock(folder: &Path) -> Result<Vec<File>> {
    let path = folder.join("lock");
    let failed = |source| files::Error::Write { path: folder.join("lock"), source };
    let taken = || {
        let who = files::read_to_string(&path).unwrap_or_default();
        let who = match who.trim() {
            "" => String::new(),
            who => format!(" ({who})"),
        };
        refuse(folder, &format!("another process trains here{who}: wait for it, or stop it"))
    };
    let mut locks = Vec::new();
    if cfg!(unix) {
        let whole = File::open(folder).map_err(failed)?;
        match whole.try_lock() {
            Ok(()) => locks.push(whole),
            Err(TryLockError::WouldBlock) => return taken(),
            Err(TryLockError::Error(_)) => {} // the file has to do
        }
    }
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let mut file = open_regular(options, &path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return taken(),
        Err(TryLockError::Error(error)) => return Err(failed(error).into()),
    }
    file.set_len(0).map_err(failed)?;
    let host = files::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let who = format!("process {} {}", std::process::id(), host.trim());
    file.write_all(who.trim_end().as_bytes()).map_err(failed)?;
    locks.push(file);
    Ok(locks)
}
