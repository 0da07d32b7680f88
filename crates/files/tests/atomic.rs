//! Files are replaced whole, whatever ends the process or fills the disk meanwhile.

use alexnet_files::Error;
use alexnet_files::atomic::{leftovers, write, write_on};
use alexnet_files::disk::RealDisk;
use std::fs;
use std::path::{Path, PathBuf};
use testkit::disk::FailingDisk;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("alexnet-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn replaces_and_leaves_nothing_behind() {
    let folder = folder("atomic");
    let path = folder.join("run.json");
    write(&path, b"old").unwrap();
    write(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn killed_at_any_operation_it_is_the_old_file_or_the_new() {
    let folder = folder("killed");
    let path = folder.join("run.json");
    for operations in 0..=5 {
        write(&path, b"old").unwrap();
        let disk = FailingDisk::after(operations);
        let done = write_on(&disk, &path, 3, |file| file.write_all(b"new"));
        // create, write, sync, rename; sync of the folder
        let expected: &[u8] = if operations < 4 { b"old" } else { b"new" };
        assert_eq!(fs::read(&path).unwrap(), expected, "after {operations}");
        assert_eq!(done.is_ok(), operations >= 5);
        let left = leftovers(&RealDisk, &folder).unwrap();
        assert_eq!(left.len(), usize::from((1..4).contains(&operations)));
        left.iter().for_each(|path| fs::remove_file(path).unwrap());
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_full_disk_says_how_full() {
    let folder = folder("full");
    for tells in [false, true] {
        let disk = FailingDisk::full_after(3, tells);
        let path = folder.join("run.json");
        let error = write_on(&disk, &path, 5, |file| file.write_all(b"hello")).unwrap_err();
        let free = tells.then_some(3);
        assert!(matches!(error, Error::NoRoom { needed: 5, free: f, .. } if f == free));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_missing_folder_is_named() {
    let error = write(Path::new("/no/such/folder/run.json"), b"").unwrap_err().to_string();
    assert!(error.contains("/no/such/folder/run.json"), "{error}");
}
