use super::{Mapped, Rows};
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

/// A temporary file, removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Scratch {
        let path = std::env::temp_dir().join(format!("mapped-{name}-{}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        Scratch(path)
    }

    fn map(&self) -> Mapped {
        Mapped::of(&File::open(&self.0).unwrap()).unwrap()
    }

    fn truncate(&self, len: u64) {
        OpenOptions::new().write(true).open(&self.0).unwrap().set_len(len).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[test]
fn rows_are_copied() {
    let content = bytes(100_000);
    let file = Scratch::new("rows", &content);
    let mapped = file.map();
    assert_eq!((mapped.len(), mapped.is_empty()), (100_000, false));
    for (first, step, len, count) in [
        (0, 1, 1, 100_000),
        (0, 0, 100_000, 1),
        (7, 768, 681, 130),
        (99_999, 5, 1, 1),
        (3, 2, 9, 50),
    ] {
        let mut got = vec![0; len * count];
        mapped.copy_rows(Rows { first: first as u64, step, len }, &mut got).unwrap();
        let wanted = (0..count).flat_map(|row| &content[first + row * step..][..len]);
        assert!(got.iter().eq(wanted), "{count} rows of {len}");
    }
    mapped.copy_rows(Rows { first: u64::MAX, step: 1, len: 1 }, &mut []).unwrap();
}

#[test]
fn rows_outside_the_file_panic() {
    let file = Scratch::new("outside", &bytes(5000));
    let mapped = file.map();
    for (first, step, len, count) in [
        (5000, 0, 1, 1),
        (0, 0, 5001, 1),
        (0, 2500, 2500, 3),
        (1, usize::MAX, 1, 2),
        (0, usize::MAX, 1, 3),
        (u64::MAX, 1, 1, 2),
    ] {
        let rows = Rows { first, step, len };
        let mut into = vec![0; len * count];
        let copy = std::panic::AssertUnwindSafe(|| mapped.copy_rows(rows, &mut into).is_ok());
        assert!(std::panic::catch_unwind(copy).is_err(), "{rows:?}");
    }
    let half = Rows { first: 0, step: 2, len: 2 };
    let copy = std::panic::AssertUnwindSafe(|| mapped.copy_rows(half, &mut [0; 3]).is_ok());
    assert!(std::panic::catch_unwind(copy).is_err(), "a row and a half");
}

#[test]
fn a_truncated_file_is_an_error_on_every_thread_from_then_on() {
    const LEN: usize = 1 << 20;
    let content = bytes(LEN);
    let file = Scratch::new("cut", &content);
    let (mapped, other) = (file.map(), file.map());
    let all = Rows { first: 0, step: LEN, len: LEN };
    let start = Rows { first: 0, step: 64, len: 64 };
    let mut into = vec![0; LEN];
    mapped.copy_rows(all, &mut into).unwrap();
    assert_eq!(into, content);
    file.truncate(10_000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let error = mapped.copy_rows(all, &mut vec![0; LEN]).unwrap_err();
                assert!(error.to_string().contains("cut short"), "{error}");
            });
        }
    });
    // Zeros have replaced unknown pages of the mapping, so every later copy from it fails.
    assert!(mapped.copy_rows(start, &mut [0; 128]).is_err());
    // Another mapping of the file works until a copy extends beyond the new end.
    let mut into = [0; 128];
    other.copy_rows(start, &mut into).unwrap();
    assert_eq!(into, content[..128]);
    assert!(other.copy_rows(all, &mut vec![0; LEN]).is_err());
    // Once the file has its content again, a new mapping works.
    fs::write(&file.0, &content).unwrap();
    let mut into = vec![0; LEN];
    file.map().copy_rows(all, &mut into).unwrap();
    assert_eq!(into, content);
}

#[test]
fn unmappable_files_are_errors() {
    let empty = Scratch::new("empty", b"");
    assert!(Mapped::of(&File::open(&empty.0).unwrap()).is_err());
    assert!(Mapped::of(&File::open(std::env::temp_dir()).unwrap()).is_err());
}

/// Runs in a separate process that ignores SIGBUS before it maps a file: a sent signal still has no
/// effect, and a truncated file is an error.
#[test]
fn an_ignored_signal_stays_ignored_and_faults_are_errors() {
    const CHILD: &str = "MAPPED_TEST_IGNORES";
    if std::env::var_os(CHILD).is_some() {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_IGN) };
        let file = Scratch::new("ignored", &bytes(100_000));
        let mapped = file.map();
        // SAFETY: a signal to this process itself.
        (0..3).for_each(|_| assert_eq!(unsafe { libc::raise(libc::SIGBUS) }, 0));
        file.truncate(0);
        let all = Rows { first: 0, step: 1, len: 100_000 };
        let error = mapped.copy_rows(all, &mut vec![0; 100_000]).unwrap_err();
        assert!(error.to_string().contains("cut short"), "{error}");
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let name = "tests::an_ignored_signal_stays_ignored_and_faults_are_errors";
    child.args(["--exact", name]).env(CHILD, "1");
    let ended = child.output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
}

/// Runs in a separate process in which SIGBUS has its default action: a sent signal still ends it.
#[test]
fn a_sent_signal_ends_the_process_as_before() {
    const CHILD: &str = "MAPPED_TEST_IS_SENT";
    if std::env::var_os(CHILD).is_some() {
        // Replaces the handler of Rust's runtime, which detects stack overflows.
        // SAFETY: the default action runs no code.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
        let file = Scratch::new("sent", &bytes(5000));
        let _mapped = file.map();
        drop(file);
        // SAFETY: a signal to this process itself.
        unsafe { libc::raise(libc::SIGBUS) };
        unreachable!("the signal was ignored");
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "tests::a_sent_signal_ends_the_process_as_before"]);
    let ended = child.env(CHILD, "1").output().unwrap().status;
    assert_eq!(ended.signal(), Some(libc::SIGBUS), "{ended}");
}

/// Runs in a separate process: a fault in a mapping that this crate did not make still ends it.
#[test]
fn a_fault_in_another_mapping_is_passed_on() {
    const CHILD: &str = "MAPPED_TEST_FAULTS";
    if std::env::var_os(CHILD).is_some() {
        let file = Scratch::new("signal", &bytes(5000));
        file.map().copy_rows(Rows { first: 0, step: 1, len: 1 }, &mut [0; 9]).unwrap();
        let opened = File::open(&file.0).unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&opened);
        let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
        // SAFETY: the system chooses the address.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), 5000, read, shared, fd, 0) };
        file.truncate(0);
        drop(file);
        // SAFETY: the byte is in the mapping; the read ends this process, as the test expects.
        let byte = unsafe { start.cast::<u8>().read_volatile() };
        unreachable!("the fault was ignored: {byte}");
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "tests::a_fault_in_another_mapping_is_passed_on"]).env(CHILD, "1");
    let ended = child.output().unwrap().status;
    assert_eq!(ended.signal(), Some(libc::SIGBUS), "{ended}");
}
