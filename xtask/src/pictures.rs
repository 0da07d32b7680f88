//! `cargo xtask pictures`: writes the pictures of the documentation again.

use crate::cargo;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const HELP: &str = "\
cargo xtask pictures [RUN]

  Writes docs/*.svg and docs/*.png again, from RUN, or from the README's first run, which it trains
  in target/pictures/run unless that exists: some minutes.
  Pictures of pages are screenshots by Chromium (chromium, chromium-browser, google-chrome or chrome
  on the path); without it they are left as they are, which is printed. Chromium also writes
  target/pictures/screenshots: the report and the page at three widths, light and dark, to look at.
";

/// The figures of a report that the documentation shows.
const FIGURES: [&str; 4] = ["kernels.png", "predictions.png", "loss.svg", "error.svg"];

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Widths of the pages that are looked at: a phone's, a tablet's, a desk's.
const WIDTHS: [u32; 3] = [480, 900, 1400];

/// How long the server may take to index the training images.
const PATIENCE: Duration = Duration::from_secs(900);

type Result<T> = std::result::Result<T, String>;

/// Runs the command.
pub fn run(rest: &[OsString]) -> std::result::Result<(), ExitCode> {
    let run = match rest {
        [flag] if flag == "help" || flag == "--help" => {
            print!("{HELP}");
            return Ok(());
        }
        [] => None,
        [run] => Some(PathBuf::from(run)),
        _ => return Err(cargo::failed("pictures", "it takes one run at most")),
    };
    cargo::build_release("alexnet-trainer")?;
    write(run).map_err(|message| cargo::failed("pictures", message))
}

fn write(run: Option<PathBuf>) -> Result<()> {
    let (docs, folder) = (cargo::root().join("docs"), cargo::target().join("pictures"));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let run = match run {
        Some(run) => run,
        None => trained(&folder.join("run"))?,
    };
    let figure = docs.join("alexnet.svg");
    call(alexnet("describe").args(["--model", "alexnet", "--picture"]).arg(&figure))?;
    let (report, figures) = (folder.join("report.html"), folder.join("figures"));
    let (page, into) =
        (["-o".as_ref(), report.as_os_str()], ["--pictures".as_ref(), figures.as_os_str()]);
    call(alexnet("report").arg(&run).args(page).args(into))?;
    for name in FIGURES {
        let (from, to) = (figures.join(name), docs.join(name));
        fs::copy(&from, &to).map_err(|error| format!("{}: {error}", from.display()))?;
    }
    let out = docs.join("neighbours.png");
    let neighbours = ["--queries", "3", "--out"];
    call(alexnet("neighbours").arg("--run").arg(&run).args(neighbours).arg(out))?;
    let Some(browser) = browser() else {
        println!("SKIPPED: none of {BROWSERS:?} is on the path: docs/serve.png is left as it is");
        return Ok(());
    };
    let server = Server::start(&run)?;
    let screen = |address: &str, (width, height), is_dark, to: &Path| {
        screenshot(&browser, &folder.join("browser"), address, (width, height), is_dark, to)
    };
    server.wait_for_neighbours()?;
    let page = format!("{}#test-image-0&explain", server.address);
    screen(&page, (900, 1430), false, &docs.join("serve.png"))?;
    let screenshots = folder.join("screenshots");
    fs::create_dir_all(&screenshots).map_err(|error| error.to_string())?;
    let report = format!("file://{}", report.display());
    for (name, address, height) in [("serve", &page, 2600), ("report", &report, 7000)] {
        for width in WIDTHS {
            for (theme, is_dark) in [("light", false), ("dark", true)] {
                let to = screenshots.join(format!("{name}-{width}-{theme}.png"));
                screen(address, (width, height), is_dark, &to)?;
            }
        }
    }
    println!("written: docs/*.svg, docs/*.png; to look at: {}", screenshots.display());
    Ok(())
}

/// The README's first run, trained unless its weights exist.
fn trained(run: &Path) -> Result<PathBuf> {
    if !run.join("weights.safetensors").exists() {
        let is_begun = run.join("run.json").exists();
        let how = if is_begun { "--resume" } else { "--run" };
        call(alexnet("train").arg(how).arg(run))?;
    }
    Ok(run.to_path_buf())
}

fn alexnet(command: &str) -> Command {
    let mut alexnet = Command::new(cargo::target().join("release").join("alexnet"));
    alexnet.arg(command);
    alexnet
}

fn call(command: &mut Command) -> Result<()> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?} did not start: {error}")),
    }
}

/// The first browser on the path.
fn browser() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let all = folders.iter().flat_map(|folder| BROWSERS.iter().map(move |name| folder.join(name)));
    all.into_iter().find(|program| program.is_file())
}

/// Writes a picture of a page once its script and its requests have ended.
fn screenshot(
    browser: &Path,
    profile: &Path,
    address: &str,
    (width, height): (u32, u32),
    is_dark: bool,
    to: &Path,
) -> Result<()> {
    let mut command = Command::new(browser);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update"]);
    command.args(["--hide-scrollbars", "--virtual-time-budget=60000"]);
    command.arg(format!("--user-data-dir={}", profile.display()));
    command.arg(format!("--window-size={width},{height}"));
    if is_dark {
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    command.arg(format!("--screenshot={}", to.display())).arg(address);
    let _ = fs::remove_file(to);
    call(command.stderr(Stdio::null()))?;
    if to.exists() { Ok(()) } else { Err(format!("{}: the browser wrote nothing", to.display())) }
}

/// `alexnet serve`, which ends with this value.
struct Server {
    child: Child,
    /// `http://127.0.0.1:40123/`.
    address: String,
}

impl Server {
    fn start(run: &Path) -> Result<Server> {
        let mut serve = alexnet("serve");
        serve.arg(run).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
        let mut child = serve.spawn().map_err(|error| format!("serve did not start: {error}"))?;
        let output = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(output).lines().map_while(std::result::Result::ok);
        let address = lines.find_map(|line| {
            let address = line.split_whitespace().find(|word| word.starts_with("http://"));
            address.map(str::to_string)
        });
        // Its later lines are not read; it continues if they cannot be written.
        address.map(|address| Server { child, address }).ok_or("serve gave no address".to_string())
    }

    /// Waits until neighbours are found among all training images.
    fn wait_for_neighbours(&self) -> Result<()> {
        let host = self.address.trim_start_matches("http://").trim_end_matches('/');
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let failed = |error: std::io::Error| format!("{host}: {error}");
            let mut stream = TcpStream::connect(host).map_err(failed)?;
            let request =
                format!("GET /about HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).map_err(failed)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map_err(failed)?;
            if answer.contains(r#""state":"ready""#) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(500));
        }
        Err(format!("{host}: no neighbours after {} s", PATIENCE.as_secs()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
