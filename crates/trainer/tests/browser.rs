//! The program's pages in a real browser, without a window: Chromium, if there is one.
//!
//! Debian's package `chromium` is enough. Without a browser the tests say so and pass, unless
//! `ALEXNET_REQUIRE_BROWSER=1`.
#![cfg(unix)]

mod program;

use program::server::Server;
use program::{Scratch, coloured, expect};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// Width and height: a phone's and a desk's.
const WINDOWS: [(u32, u32); 2] = [(390, 844), (1280, 900)];

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let all = folders.iter().flat_map(|folder| NAMES.iter().map(move |name| folder.join(name)));
    let found = all.into_iter().find(|program| program.is_file());
    if found.is_none() {
        let required = std::env::var("ALEXNET_REQUIRE_BROWSER").is_ok_and(|value| value == "1");
        assert!(!required, "ALEXNET_REQUIRE_BROWSER=1, and none of {NAMES:?} is on the path");
        eprintln!("SKIPPED: none of {NAMES:?} is on the path; pages were not tried in a browser");
    }
    found
}

/// What a browser made of a page.
struct Visit {
    /// The page as it stands after its script has run.
    page: String,
    /// What its console said: errors of scripts, and what its own rules forbade.
    console: Vec<String>,
    /// Requests that would have left this machine.
    outside: Vec<String>,
}

fn visit(browser: &Path, scratch: &Scratch, address: &str, window: (u32, u32)) -> Visit {
    let (proxy, asked) = trap();
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"])
        .args(["--disable-background-networking", "--disable-component-update"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=20000"])
        .arg(format!("--proxy-server={proxy}")) // not for loopback addresses
        .arg(format!("--user-data-dir={}", scratch.path("browser")))
        .arg(format!("--window-size={},{}", window.0, window.1))
        .arg(address)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_string();
    let (page, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && page.contains("<body"), "{address}: {page}\n{told}");
    let console = told.lines().filter(|line| line.contains("CONSOLE")).map(String::from);
    let asked = asked.lock().unwrap().clone().into_iter();
    let outside = asked.filter(|line| !OWN.iter().any(|host| line.contains(host)));
    Visit { page, console: console.collect(), outside: outside.collect() }
}

/// Hosts that the browser asks of its own accord.
const OWN: [&str; 3] = [".google.com", ".googleapis.com", ".gvt1.com"];

/// A proxy that leads nowhere, and the first lines of what it was asked.
fn trap() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let lines = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let mut line = String::new();
            let _ = BufReader::new(stream).take(4096).read_line(&mut line);
            // Browsers also open connections that they then do not use.
            if !line.is_empty() {
                lines.lock().unwrap().push(line.trim_end().to_string());
            }
        }
    });
    (address, asked)
}

#[test]
fn errors_and_requests_are_seen() {
    let Some(browser) = browser() else { return };
    let scratch = Scratch::new("browser-seen");
    let bad = scratch.path("bad.html");
    let html = "<body><img src=\"http://example.com/a.png\"><script>nothing()</script>";
    std::fs::write(&bad, html).unwrap();
    let visit = visit(&browser, &scratch, &format!("file://{bad}"), WINDOWS[0]);
    let console = visit.console;
    assert!(console.iter().any(|line| line.contains("ReferenceError")), "{console:?}");
    assert_eq!(visit.outside, ["GET http://example.com/a.png HTTP/1.1"]);
}

#[test]
fn the_served_page_shows_all_of_an_image() {
    let Some(browser) = browser() else { return };
    let scratch = Scratch::new("browser-serve");
    coloured(&scratch, &["a"]);
    let server = Server::start(&[&scratch.path("a")]);
    server.wait_for_neighbours();
    let address = format!("http://{}/#test-image-8", server.address);
    for window in WINDOWS {
        let Visit { page, console, outside } = visit(&browser, &scratch, &address, window);
        assert!(console.is_empty() && outside.is_empty(), "{console:?} {outside:?}");
        assert_eq!(page.matches("<li class=\"true\"").count(), 1, "{page}");
        assert_eq!(page.matches("alt=\"Training image: ").count(), 6, "{page}");
        assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 1 + 6 + 1, "{page}");
        assert!(page.contains("Among 24 training images, by Euclidean distance"), "{page}");
        assert!(page.contains("conv1</strong> · 8 maps of 12 × 12"), "{page}");
        assert!(page.contains("id=\"error\" role=\"alert\" hidden"), "no complaint: {page}");
    }
    // Explanations come on request.
    let explained = format!("{address}&explain");
    let Visit { page, console, outside } = visit(&browser, &scratch, &explained, WINDOWS[1]);
    assert!(console.is_empty() && outside.is_empty(), "{console:?} {outside:?}");
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 1 + 6 + 1 + 3, "{page}");
    assert!(page.contains("<figcaption>Grad-CAM of relu1</figcaption>"), "{page}");
    // What the server refuses stands on the page.
    let address = format!("{address}00");
    let Visit { page, .. } = visit(&browser, &scratch, &address, WINDOWS[0]);
    assert!(page.contains("there are 12 test images, the first is number 0."), "{page}");
}

#[test]
fn the_report_loads_nothing_and_has_no_error() {
    let Some(browser) = browser() else { return };
    let scratch = Scratch::new("browser-report");
    coloured(&scratch, &["a"]);
    let report = scratch.path("report.html");
    expect(0, &["report", &scratch.path("a"), "-o", &report, "--progress", "none"]);
    for window in WINDOWS {
        let address = format!("file://{report}");
        let Visit { page, console, outside } = visit(&browser, &scratch, &address, window);
        assert!(console.is_empty() && outside.is_empty(), "{console:?} {outside:?}");
        assert!(page.contains("Nearest training images"), "{page}");
    }
}
