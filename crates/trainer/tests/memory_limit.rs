//! A control group's memory limit: `doctor` names it, and a run that would exceed it is refused
//! before its first step.
#![cfg(target_os = "linux")]

mod program;

use program::Scratch;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A control group of the system's own, removed with the test.
struct Group(PathBuf);

impl Group {
    /// A group limited to so many bytes, or why there can be none here.
    fn limited(bytes: usize) -> Result<Group, String> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (root, limit) = if v1.join("memory.limit_in_bytes").exists() {
            (v1, "memory.limit_in_bytes")
        } else {
            (Path::new("/sys/fs/cgroup"), "memory.max")
        };
        let group = Group(root.join(format!("alexnet-test-{}", std::process::id())));
        let told = |what: &str, error| format!("{what}: {error}");
        fs::create_dir(&group.0).map_err(|error| told("no group can be made", error))?;
        let limited = fs::write(group.0.join(limit), bytes.to_string());
        limited.map_err(|error| told("no limit can be set", error))?;
        Ok(group)
    }

    /// The program with these arguments, started inside the group.
    fn run(&self, arguments: &[&str]) -> Output {
        let enter = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;
        let program = env!("CARGO_BIN_EXE_alexnet");
        let mut shell = Command::new("sh");
        shell.args(["-c", enter]).arg(&self.0).arg(program).args(arguments);
        shell.output().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_run_beyond_its_groups_limit_is_refused_before_it_begins() {
    let group = match Group::limited(600 << 20) {
        Ok(group) => group,
        Err(why) => {
            eprintln!("SKIPPED: {why}: control groups can be tested by root alone");
            return;
        }
    };
    let name = group.0.display().to_string();
    let doctor = group.run(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).to_string();
    let memory = said.lines().find(|line| line.contains(" memory ")).unwrap_or(&said);
    assert!(memory.contains(&format!("by the limit of control group {name}")), "{said}");

    let scratch = Scratch::new("memory-limit");
    let run = scratch.path("run");
    let model = ["train", "--model", "alexnet", "--fake-data", "64", "--device", "cpu", "--run"];
    let refused = group.run(&[&model[..], &[&run, "--progress", "none"]].concat());
    let said = String::from_utf8_lossy(&refused.stderr).to_string();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("MiB are free (the limit of control group"), "{said}");
    assert!(said.contains(&name) && said.contains("use a smaller batch"), "{said}");

    let model = ["train", "--model", "alexnet-64", "--fake-data", "8", "--batch-size", "4"];
    let run = scratch.path("small");
    let rest = ["--max-steps", "1", "--device", "cpu", "--threads", "1", "--run", &run];
    let small = group.run(&[&model[..], &rest, &["--progress", "none"]].concat());
    let said = String::from_utf8_lossy(&small.stderr).to_string();
    assert_eq!(small.status.code(), Some(0), "{said}");
}
