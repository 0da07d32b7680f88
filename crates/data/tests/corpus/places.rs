//! Files that are wrong not by what is in them but by where and how they lie.

use alexnet_data::{Folder, ReadBuffer, Source, verify};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("alexnet-{name}-{}", std::process::id()));
        for class in ["a", "b"] {
            fs::create_dir_all(path.join(class)).unwrap();
            (0..3).for_each(|n| picture(&path.join(class).join(format!("{n}.png"))));
        }
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn picture(path: &Path) {
    fs::write(path, super::png(19, 23, 8, 2, false)).unwrap();
}

/// Fails where `work` would wait for ever, as who opens a pipe without a writer does.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = channel();
    std::thread::spawn(move || done.send(work()));
    wait.recv_timeout(Duration::from_secs(30)).expect("neither a hang nor a panic")
}

#[test]
fn folders_pipes_and_broken_links_are_skipped() {
    let scratch = Scratch::new("no-files");
    let a = scratch.0.join("a");
    fs::create_dir(a.join("folder.jpg")).unwrap();
    symlink("loop.jpg", a.join("loop.jpg")).unwrap();
    symlink("nowhere.jpg", a.join("dangling.jpg")).unwrap();
    symlink("..", a.join("up")).unwrap();
    let pipe = Command::new("mkfifo").arg(a.join("pipe.jpg")).status().unwrap();
    assert!(pipe.success());
    let root = scratch.0.clone();
    let (images, report) = in_time(move || {
        let images = Folder::open(&root, 16).unwrap().len();
        (images, verify::folder(&root, verify::VerifyOptions::default(), &|_, _| ()).unwrap())
    });
    assert_eq!(images, 6);
    let unusable = report.findings.iter().filter(|finding| finding.kind.is_unusable());
    let mut names: Vec<&str> =
        unusable.map(|finding| finding.name.rsplit('/').next().unwrap()).collect();
    names.sort_unstable();
    // A check tells what a run passes over.
    assert_eq!(names, ["dangling.jpg", "loop.jpg", "pipe.jpg"], "{:?}", report.findings);
}

#[test]
fn links_and_names_that_are_not_utf8_are_read() {
    let scratch = Scratch::new("names");
    let (a, strange) = (scratch.0.join("a"), OsStr::from_bytes(b"\xFF\xFE \n\x1B[2J.png"));
    picture(&a.join(strange));
    symlink("0.png", a.join("link.png")).unwrap();
    let folder = Folder::open(&scratch.0, 16).unwrap();
    assert_eq!(folder.len(), 8);
    let mut buffer = ReadBuffer::default();
    for index in 0..8 {
        assert_eq!(folder.read(index, &mut buffer).unwrap().len(), 16 * 16 * 3);
    }
}

#[test]
fn the_error_names_a_file_that_vanished_or_may_not_be_read() {
    let scratch = Scratch::new("vanishing");
    let folder = Folder::open(&scratch.0, 16).unwrap();
    let (gone, closed) = (scratch.0.join("a/1.png"), scratch.0.join("b/1.png"));
    fs::remove_file(&gone).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    // Whoever is almighty may read it all the same.
    let almighty = fs::read(&closed).is_ok();
    let mut buffer = ReadBuffer::default();
    for index in 0..folder.len() {
        let name = folder.name(index);
        let read = folder.read(index, &mut buffer).map(<[u8]>::len);
        let is_bad = name.ends_with("a/1.png") || name.ends_with("b/1.png") && !almighty;
        match read {
            Ok(len) => assert!(len == 16 * 16 * 3 && !is_bad, "{name}"),
            Err(error) => assert!(is_bad && error.to_string().starts_with(&name), "{error}"),
        }
    }
}
