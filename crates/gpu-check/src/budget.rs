//! Time limits of the whole check and of child processes.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A time limit.
pub struct Budget {
    began: Instant,
    limit: Duration,
}

impl Budget {
    /// This many seconds from now.
    pub fn new(seconds: f64) -> Budget {
        let limit = Duration::from_secs_f64(seconds.clamp(0.0, 1e6));
        Budget { began: Instant::now(), limit }
    }

    /// The time left.
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(self.began.elapsed())
    }

    /// Whether fewer than this many seconds are left.
    pub fn lacks(&self, seconds: f64) -> bool {
        self.left().as_secs_f64() < seconds
    }

    /// Prints progress to standard error.
    pub fn log(&self, text: &str) {
        eprintln!("[{:5.1} s] {text}", self.began.elapsed().as_secs_f64());
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    Code(i32),
    Signal,
    Timeout,
}

/// Runs a program with a time limit: how it ended, after how many seconds, and its output. At the
/// limit, the program's own child processes are killed, too. `so_far` gets the output whenever it
/// has grown, at most once a second.
///
/// # Errors
/// If the program does not start.
pub fn run(
    mut program: Command,
    limit: Duration,
    mut so_far: impl FnMut(&str),
) -> Result<(ExitReason, f64, String), String> {
    let began = Instant::now();
    let name = program.get_program().to_string_lossy().into_owned();
    let child = program.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn();
    let mut child = child.map_err(|error| format!("{name}: {error}"))?;
    let mut stdout = child.stdout.take().expect("piped");
    let text = Arc::new(Mutex::new(Vec::new()));
    let into = text.clone();
    let reader = thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = stdout.read(&mut chunk) {
            into.lock().expect("no panic while locked").extend(&chunk[..read]);
        }
    });
    let (mut reported, mut bytes) = (Instant::now(), 0);
    let exit = loop {
        if reported.elapsed() > Duration::from_secs(1) {
            reported = Instant::now();
            let text = text.lock().expect("no panic while locked").clone();
            if text.len() > bytes {
                bytes = text.len();
                so_far(&String::from_utf8_lossy(&text));
            }
        }
        match child.try_wait().map_err(|error| format!("{name}: {error}"))? {
            Some(status) => break status.code().map_or(ExitReason::Signal, ExitReason::Code),
            None if began.elapsed() > limit => {
                kill_group(child.id());
                let _ = child.kill();
                let _ = child.wait();
                break ExitReason::Timeout;
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    // Another process may have inherited the pipe and hold it open, so do not wait for its end.
    let exited = Instant::now();
    while !reader.is_finished() && exited.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(1));
    }
    let text = String::from_utf8_lossy(&text.lock().expect("no panic while locked")).into_owned();
    Ok((exit, began.elapsed().as_secs_f64(), text))
}

/// Kills a process group.
fn kill_group(leader: u32) {
    let script = format!("kill -s KILL -- -{leader}");
    let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn a_program_is_killed_at_its_limit() {
        let enough = Duration::from_secs(10);
        let run = |program, limit| super::run(program, limit, |_| {});
        let (exit, _, text) = run(shell("echo hello; exit 3"), enough).unwrap();
        assert_eq!((exit, text.as_str()), (ExitReason::Code(3), "hello\n"));
        let (exit, _, _) = run(shell("kill -9 $$"), enough).unwrap();
        assert_eq!(exit, ExitReason::Signal);
        let limit = Duration::from_millis(200);
        let (exit, seconds, text) = run(shell("echo early; sleep 20; echo late"), limit).unwrap();
        assert_eq!((exit, text.as_str()), (ExitReason::Timeout, "early\n"));
        assert!(seconds < 1.9, "{seconds}: its child processes are killed");
        assert!(run(Command::new("no/such/program"), limit).unwrap_err().contains("no/such"));
    }

    #[test]
    fn output_is_reported_while_a_program_runs() {
        let mut reports = Vec::new();
        let script = shell("echo early; sleep 2; echo late");
        let (_, _, text) =
            run(script, Duration::from_secs(10), |text| reports.push(text.to_string())).unwrap();
        assert_eq!((reports[0].as_str(), text.as_str()), ("early\n", "early\nlate\n"));
    }

    #[test]
    fn time_runs_out() {
        assert!(Budget::new(0.0).lacks(0.1) && !Budget::new(60.0).lacks(1.0));
    }
}
