//! Image files of all formats, their orientation and their limits, by way of the program.

mod program;

use program::{Scratch, alexnet, coloured, expect, last_line};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

/// A bitmap of 24 bits.
fn bitmap(height: u8, width: u8, color: [u8; 3]) -> Vec<u8> {
    let row = (usize::from(width) * 3).next_multiple_of(4);
    let mut bytes = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bytes.extend([width, 0, 0, 0, height, 0, 0, 0, 1, 0, 24, 0]);
    bytes.resize(54, 0);
    for _ in 0..height {
        let [red, green, blue] = color;
        let mut pixels = [blue, green, red].repeat(width.into());
        pixels.resize(row, 0);
        bytes.extend(pixels);
    }
    let len = (bytes.len() as u32).to_le_bytes();
    bytes[2..6].copy_from_slice(&len);
    bytes
}

/// A TIFF of 8 x 8 pixels, plain RGB, with an orientation.
fn tiff(orientation: u8, color: [u8; 3]) -> Vec<u8> {
    let entries: [(u16, u8, u32, u32); 10] = [
        (256, 4, 1, 8),
        (257, 4, 1, 8),
        (258, 3, 3, 134),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 140),
        (274, 3, 1, orientation.into()),
        (277, 3, 1, 3),
        (278, 4, 1, 8),
        (279, 4, 1, 192),
    ];
    let mut bytes = b"II*\0\x08\0\0\0\x0A\0".to_vec();
    for (tag, kind, count, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend([kind, 0]);
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes.extend([8, 0, 8, 0, 8, 0]);
    assert_eq!(bytes.len(), 140);
    bytes.extend(color.repeat(64));
    bytes
}

/// The pictures of a small data set, some of them as bitmaps and TIFFs.
fn mixed(data: &str) {
    for class in ["blue", "green", "red"] {
        let folder = Path::new(data).join("train").join(class);
        fs::write(folder.join("8.bmp"), bitmap(16, 20, [90; 3])).unwrap();
        fs::write(folder.join("9.tif"), tiff(6, [120; 3])).unwrap();
    }
}

#[test]
fn a_run_keeps_its_orientation_and_reports_it() {
    let scratch = Scratch::new("exif");
    let data = coloured(&scratch, &[]);
    mixed(&data);
    let (run, model) = (scratch.path("run"), scratch.path("tiny.toml"));
    let train = ["train", "--run", &run, "--data", &data, "--model", &model, "--recipe", "paper"];
    let more = ["--batch-size", "6", "--epochs", "1", "--set", "recipe.input.side=14"];
    let (_, stderr) = expect(0, &[&train[..], &more, &["--exif", "apply"]].concat());
    assert!(stderr.contains("3 images have an EXIF orientation, which is applied"), "{stderr}");
    let config = fs::read_to_string(Path::new(&run).join("config.toml")).unwrap();
    assert!(config.contains("exif = \"apply\""), "{config}");

    let turned = scratch.path("turned.tif");
    fs::write(&turned, tiff(8, [10, 200, 30])).unwrap();
    let (_, stderr) = expect(0, &["predict", &turned, "--run", &run]);
    assert!(stderr.contains("1 image has an EXIF orientation, which is applied"), "{stderr}");
    let weights = format!("{run}/weights.safetensors");
    let (_, stderr) = expect(0, &["predict", &turned, "--weights", &weights, "--exif", "ignore"]);
    assert!(stderr.contains("which is ignored"), "{stderr}");
    expect(0, &["eval", "--run", &run]);

    let resumed = ["train", "--resume", &run, "--epochs", "2"];
    let (_, stderr) = expect(2, &[&resumed[..], &["--exif", "ignore"]].concat());
    assert!(stderr.contains("recipe.input.exif: was \"apply\", now"), "{stderr}");
    expect(0, &resumed);

    // Without the flag nothing is written down, as before there was one.
    let plain = scratch.path("plain");
    let train = ["train", "--run", &plain, "--data", &data, "--model", &model, "--recipe", "paper"];
    expect(0, &[&train[..], &more].concat());
    let config = fs::read_to_string(Path::new(&plain).join("config.toml")).unwrap();
    assert!(!config.contains("exif ="), "{config}");
}

#[test]
fn large_sets_report_orientation_after_their_first_epoch() {
    let scratch = Scratch::new("exif-late");
    let data = coloured(&scratch, &[]);
    mixed(&data);
    let out = scratch.path("packed");
    let (stdout, _) = expect(0, &["data", "stats", &data, "--json"]);
    let notes = last_line(&stdout)["notes"].to_string();
    assert!(notes.contains("3 images have an EXIF orientation"), "{notes}");
    let (stdout, _) = expect(0, &["data", "verify", &data, "--json"]);
    assert_eq!(last_line(&stdout)["kinds"]["orientation"], 3, "{stdout}");
    let prepare = ["data", "prepare", "--from", &data, "--out", &out, "--side", "14"];
    expect(0, &[&prepare[..], &["--exif", "apply"]].concat());
    let (_, stderr) = expect(3, &["train", "--data", &out, "--run", &scratch.path("no")]);
    assert!(stderr.contains("use EXIF mode `apply`") && stderr.contains("(--exif)"), "{stderr}");
    expect(0, &["data", "verify", &out]);
    expect(0, &["data", "stats", &out]);
}

#[test]
fn what_is_no_regular_file_or_too_long_is_refused_at_once() {
    let scratch = Scratch::new("limits");
    let data = coloured(&scratch, &["run"]);
    let run = scratch.path("run");
    let sparse = Path::new(&data).join("train/red/sparse.png");
    File::create(&sparse).unwrap().set_len(6 << 30).unwrap();
    let pipe = scratch.path("pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let sparse = sparse.display().to_string();
    for (path, reason) in [("/dev/zero", "device"), (&*pipe, "pipe"), (&*sparse, "256 MiB")] {
        let began = Instant::now();
        let (_, stderr) = expect(3, &["predict", path, "--run", &run]);
        assert!(stderr.contains(path) && stderr.contains(reason), "{stderr}");
        assert!(began.elapsed() < Duration::from_secs(20), "{path}: {:?}", began.elapsed());
    }
    for flag in ["--weights", "--run"] {
        let output = alexnet(&["predict", &sparse, flag, "/dev/zero"]).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{output:?}");
    }
    let (stdout, _) = expect(3, &["data", "verify", &data, "--json"]);
    let told = last_line(&stdout);
    assert_eq!((&told["unusable"], &told["kinds"]["unreadable"]), (&1.into(), &1.into()), "{told}");
    // A run goes on without it.
    let (more, model) = (scratch.path("more"), scratch.path("tiny.toml"));
    let train = ["train", "--run", &more, "--data", &data, "--model", &model, "--recipe", "paper"];
    let few = ["--batch-size", "6", "--epochs", "1", "--set", "recipe.input.side=14"];
    let (_, stderr) = expect(0, &[&train[..], &few].concat());
    assert!(stderr.contains("1 of 25 images cannot be read"), "{stderr}");
    assert!(stderr.contains("256 MiB"), "{stderr}");
    let (_, stderr) = expect(2, &["train", "--config", "/dev/zero"]);
    assert!(stderr.contains("longer than 256 MiB"), "{stderr}");
}

#[test]
fn phones_formats_are_named_with_the_way_to_convert_them() {
    let scratch = Scratch::new("heic");
    coloured(&scratch, &["run"]);
    let path = scratch.path("photo.jpg");
    fs::write(&path, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap();
    let (_, stderr) = expect(3, &["predict", &path, "--run", &scratch.path("run")]);
    assert!(stderr.contains("HEIC cannot be decoded"), "{stderr}");
    assert!(stderr.contains("magick in.heic out.jpg"), "{stderr}");
}
