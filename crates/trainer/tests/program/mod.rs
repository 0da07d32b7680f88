//! Running the program and reading what it says.
#![allow(dead_code)] // each test binary uses its part

pub mod server;

use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that goes away with the test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("alexnet-cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A folder with `net.toml` and libraries, each in a folder of its own: the stand-in for the driver
/// in `driver`, and others by folder, name and file; `None`, said loudly, without g++.
pub fn with_libraries<const N: usize>(
    name: &str,
    model: &str,
    others: impl FnOnce() -> Result<[(&'static str, &'static str, PathBuf); N], String>,
) -> Option<Scratch> {
    let scratch = Scratch::new(name);
    fs::write(scratch.0.join("net.toml"), model).unwrap();
    let driver = cuda_on_cpu::Sources::of_the_project().and_then(|it| it.build());
    let (driver, others) = match driver.and_then(|driver| Ok((driver, others()?))) {
        Ok(libraries) => libraries,
        Err(why) => {
            assert!(why.contains("g++ did not start"), "{why}");
            eprintln!("SKIPPED: {why}");
            return None;
        }
    };
    for (folder, name, library) in [("driver", "libcuda.so", driver)].into_iter().chain(others) {
        fs::create_dir_all(scratch.path(folder)).unwrap();
        symlink(library, scratch.0.join(folder).join(name)).unwrap();
    }
    Some(scratch)
}

/// The program, about to be started.
pub fn alexnet(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alexnet"));
    command.args(arguments);
    command
}

/// Runs, expects an exit code, and gives stdout and stderr.
pub fn expect(code: i32, arguments: &[&str]) -> (String, String) {
    let output = alexnet(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_string();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

/// The line of JSON at the end.
pub fn last_line(stdout: &str) -> Value {
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

/// A file of JSON.
pub fn read_json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A network of two towers, to be shared in every way.
const TWO_TOWERS: &str = r#"
name = "two-towers"
input = [16, 16, 3]
rows = [
  { conv = { name = "conv1", filters = 32, window = 5, pad = 2, stride = 2 } },
  { relu = {} },
  { lrn = { towers = 2 } },
  { conv = { name = "conv2", filters = 32, window = 3, pad = 1, groups = 2 } },
  { relu = {} },
  { linear = { name = "fc3", outputs = 32 } },
  { relu = {} },
  { dropout = { drop = 0.5 } },
  { linear = { name = "fc4", outputs = 10 } },
]
"#;

/// A folder with that network in `net.toml`.
pub fn two_towers(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    fs::write(scratch.0.join("net.toml"), TWO_TOWERS).unwrap();
    scratch
}

/// A small network on 24 images of three colours, some steps; and the folder of the images.
pub fn coloured(scratch: &Scratch, runs: &[&str]) -> String {
    let data = scratch.path("data");
    for (class, color) in
        [("blue", [20, 40, 220]), ("green", [30, 200, 40]), ("red", [210, 30, 30])]
    {
        for (part, count) in [("train", 8u8), ("val", 4)] {
            let folder = Path::new(&data).join(part).join(class);
            fs::create_dir_all(&folder).unwrap();
            for number in 0..count {
                let color = color.map(|value: u8| value.saturating_add(3 * number));
                write_png(&folder.join(format!("{number}.png")), color);
            }
        }
    }
    let model = scratch.path("tiny.toml");
    fs::write(
        &model,
        "name = \"tiny\"\ninput = [12, 12, 3]\n[[rows]]\nconv = { name = \"conv1\", filters = 8, \
         window = 3, pad = 1 }\n[[rows]]\nrelu = {}\n[[rows]]\npool = { window = 2, stride = 2 }\n\
         [[rows]]\nlinear = { name = \"fc2\", outputs = 6 }\n[[rows]]\nrelu = {}\n[[rows]]\n\
         dropout = { drop = 0.5 }\n[[rows]]\nlinear = { name = \"fc3\", outputs = 3 }\n",
    )
    .unwrap();
    for (seed, run) in runs.iter().enumerate() {
        let (run, seed) = (scratch.path(run), seed.to_string());
        let mut arguments = vec!["train", "--run", &run, "--data", &data, "--model", &model];
        arguments.extend([
            "--recipe",
            "paper",
            "--batch-size",
            "6",
            "--epochs",
            "3",
            "--seed",
            &seed,
        ]);
        arguments.extend(["--set", "recipe.input.side=14", "--progress", "none"]);
        expect(0, &arguments);
    }
    data
}

/// A PNG file of one colour.
pub fn write_png(path: &Path, color: [u8; 3]) {
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), 20, 16);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&color.repeat(20 * 16)).unwrap();
}
