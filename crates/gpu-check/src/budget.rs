//! Time: how much is left, and programs that are ended when theirs is over.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A time to be done by.
pub struct Budget {
    began: Instant,
    whole: Duration,
}

impl Budget {
    /// From now on so many seconds.
    pub fn new(seconds: f64) -> Budget {
        let whole = Duration::from_secs_f64(seconds.clamp(0.0, 1e6));
        Budget { began: Instant::now(), whole }
    }

    /// What is left.
    pub fn left(&self) -> Duration {
        self.whole.saturating_sub(self.began.elapsed())
    }

    /// Whether there is no time for something that takes so many seconds.
    pub fn lacks(&self, seconds: f64) -> bool {
        self.left().as_secs_f64() < seconds
    }

    /// Tells how far it is.
    pub fn say(&self, text: &str) {
        eprintln!("[{:5.1} s] {text}", self.began.elapsed().as_secs_f64());
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    With(i32),
    BySignal,
    OutOfTime,
}

/// Runs a program for at most so long: how it ended, after how many seconds, and what it printed.
/// With it end the programs that it has started.
///
/// # Errors
/// If it does not start.
pub fn run(mut program: Command, bound: Duration) -> Result<(Ended, f64, String), String> {
    let began = Instant::now();
    let name = program.get_program().to_string_lossy().into_owned();
    let child = program.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn();
    let mut child = child.map_err(|error| format!("{name}: {error}"))?;
    let mut stdout = child.stdout.take().expect("piped");
    let text = Arc::new(Mutex::new(Vec::new()));
    let into = text.clone();
    let reader = thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = stdout.read(&mut piece) {
            into.lock().expect("nobody panics with it").extend(&piece[..read]);
        }
    });
    let ended = loop {
        match child.try_wait().map_err(|error| format!("{name}: {error}"))? {
            Some(status) => break status.code().map_or(Ended::BySignal, Ended::With),
            None if began.elapsed() > bound => {
                end_group(child.id());
                let _ = child.kill();
                let _ = child.wait();
                break Ended::OutOfTime;
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    // Whoever has inherited the pipe may hold it open: what there is by then must do.
    let patience = Instant::now();
    while !reader.is_finished() && patience.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(1));
    }
    let text = String::from_utf8_lossy(&text.lock().expect("nobody panics with it")).into_owned();
    Ok((ended, began.elapsed().as_secs_f64(), text))
}

/// Ends a program and those that it has started.
fn end_group(leader: u32) {
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
    fn a_program_has_its_time_and_no_more() {
        let second = Duration::from_secs(10);
        let (ended, _, text) = run(shell("echo hello; exit 3"), second).unwrap();
        assert_eq!((ended, text.as_str()), (Ended::With(3), "hello\n"));
        let (ended, _, _) = run(shell("kill -9 $$"), second).unwrap();
        assert_eq!(ended, Ended::BySignal);
        let bound = Duration::from_millis(200);
        let (ended, seconds, text) = run(shell("echo early; sleep 20; echo late"), bound).unwrap();
        assert_eq!((ended, text.as_str()), (Ended::OutOfTime, "early\n"));
        assert!(seconds < 1.9, "{seconds}: what it has started ends with it");
        assert!(run(Command::new("no/such/program"), bound).unwrap_err().contains("no/such"));
    }

    #[test]
    fn time_runs_out() {
        assert!(Budget::new(0.0).lacks(0.1) && !Budget::new(60.0).lacks(1.0));
    }
}
