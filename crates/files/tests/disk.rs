//! What is read and written through a disk: regular files only, folders that last.

use alexnet_files::disk::{Disk, FileKind, RealDisk, make_folders, open_regular};
use std::io::ErrorKind;
use std::path::Path;
use testkit::disk::power::PowerLossDisk;

#[cfg(unix)]
#[test]
fn only_regular_files_are_opened_and_nothing_is_waited_for() {
    let folder = std::env::temp_dir().join(format!("alexnet-disk-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let pipe = folder.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink(&pipe, folder.join("link")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
    for path in [&pipe, &folder.join("link"), &folder.join("socket"), Path::new("/dev/zero")] {
        assert_eq!(RealDisk.kind(path).unwrap(), Some(FileKind::Other), "{}", path.display());
        let error = alexnet_files::read(path).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{}: {error}", path.display());
        let append = open_regular(std::fs::OpenOptions::new().append(true), path);
        let error = append.unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{}: {error}", path.display());
    }
    drop(socket);
    assert_eq!(RealDisk.kind(&folder).unwrap(), Some(FileKind::Folder));
    assert!(alexnet_files::read(&folder).unwrap_err().to_string().contains("not a regular file"));
    assert_eq!(RealDisk.kind(&folder.join("nothing")).unwrap(), None);
    assert_eq!(
        alexnet_files::read(folder.join("nothing")).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(alexnet_files::read_optional(folder.join("nothing")).unwrap(), None);
    assert!(alexnet_files::read_optional(&folder).is_err());
    std::fs::write(folder.join("file"), "four").unwrap();
    let text = alexnet_files::read_optional(folder.join("file")).unwrap();
    assert_eq!(text.as_deref(), Some("four"));
    assert_eq!(RealDisk.kind(&folder.join("file")).unwrap(), Some(FileKind::File(4)));
    assert_eq!(RealDisk.kind(&folder.join("file/below")).unwrap(), None);
    assert_eq!(alexnet_files::read_to_string(folder.join("file")).unwrap(), "four");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A folder whose own folders were missing is durable only if each of their names is.
#[test]
fn every_folder_that_is_made_is_made_durable_in_the_one_that_holds_it() {
    let disk = PowerLossDisk::new();
    make_folders(&disk, Path::new("/a/b/c")).unwrap();
    assert_eq!(
        disk.names(),
        ["make /a", "sync /", "make /a/b", "sync /a", "make /a/b/c", "sync /a/b"]
    );
    make_folders(&disk, Path::new("/a/b/c")).unwrap();
    assert_eq!(disk.names().len(), 6);
}
