//! Weights, networks and settings that come from elsewhere and say what cannot be: one message, the
//! right exit code, and soon.

mod program;

use program::{Scratch, alexnet, coloured, expect};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// A safetensors file: its header and what follows.
struct Weights {
    header: Value,
    data: Vec<u8>,
}

impl Weights {
    fn read(path: &str) -> Weights {
        let bytes = fs::read(path).unwrap();
        let (len, rest) = bytes.split_at(8);
        let len = u64::from_le_bytes(len.try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&rest[..len]).unwrap();
        Weights { header, data: rest[len..].to_vec() }
    }

    fn write(&self, path: &str) {
        let mut header = serde_json::to_vec(&self.header).unwrap();
        header.resize(header.len().next_multiple_of(8), b' ');
        let len = (header.len() as u64).to_le_bytes();
        fs::write(path, [&len[..], &header, &self.data].concat()).unwrap();
    }

    /// With another number in the middle of a tensor.
    fn with_number(mut self, tensor: &str, number: f32) -> Weights {
        let offsets = &self.header[tensor]["data_offsets"];
        let [start, end] = [0, 1].map(|at| offsets[at].as_u64().unwrap() as usize);
        let at = (start + end) / 2 / 4 * 4;
        self.data[at..at + 4].copy_from_slice(&number.to_le_bytes());
        self
    }

    /// With something else in the TOML of its metadata.
    fn with_text(mut self, from: &str, to: &str) -> Weights {
        let text = self.header["__metadata__"]["alexnet"].as_str().unwrap().to_string();
        assert!(text.contains(from), "{from}: {text}");
        self.header["__metadata__"]["alexnet"] = text.replacen(from, to, 1).into();
        self
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused_by_every_verb() {
    let scratch = Scratch::new("hostile-nan");
    let data = coloured(&scratch, &["run", "old"]);
    let run = scratch.path("run");
    let file = format!("{run}/weights.safetensors");
    let (image, out) = (format!("{data}/val/red/0.png"), scratch.path("out"));
    let model = scratch.path("tiny.toml");
    for (tensor, number) in
        [("fc2.weight", f32::NAN), ("conv1.bias", f32::INFINITY), ("input.mean", f32::NAN)]
    {
        Weights::read(&format!("{}/weights.safetensors", scratch.path("old")))
            .with_number(tensor, number)
            .write(&file);
        let vectors = format!("{out}.npy");
        let [page, picture] = ["html", "png"].map(|end| format!("{out}.{end}"));
        let verbs: [&[&str]; 7] = [
            &["eval", "--run", &run],
            &["eval", "--weights", &file, "--data", &data],
            &["predict", &image, "--run", &run],
            &["features", &image, "--run", &run, "--out", &vectors],
            &["neighbours", &image, "--run", &run, "--out", &picture],
            &["serve", &run, "--listen", "127.0.0.1:0"],
            &["train", "--init", &run, "--data", &data, "--model", &model, "--run", &out],
        ];
        for verb in verbs {
            let (_, stderr) = expect(5, verb);
            let told = format!("weights.safetensors: {tensor} has a value that is not finite");
            assert!(stderr.contains(&told), "{verb:?}: {stderr}");
        }
        // A report shows what there is, such as the curves, and names what cannot be shown.
        let (_, stderr) = expect(0, &["report", &run, "--out", &page]);
        assert!(stderr.contains(&format!("{tensor} has a value that is not finite")), "{stderr}");
    }
}

/// Runs, expects an exit code and a text, soon and without a panic.
fn refused(code: i32, arguments: &[&str], told: &str) {
    let began = Instant::now();
    let output = alexnet(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).to_string();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert!(stderr.contains(told), "{told}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(began.elapsed() < Duration::from_secs(20), "{arguments:?}: {:?}", began.elapsed());
}

#[test]
fn weights_with_absurd_metadata_are_refused() {
    let scratch = Scratch::new("hostile-metadata");
    let data = coloured(&scratch, &["run"]);
    let run = scratch.path("run");
    let (good, bad) = (format!("{run}/weights.safetensors"), scratch.path("bad.safetensors"));
    let image = format!("{data}/val/red/0.png");
    for (from, to, told) in [
        ("side = 14", "side = 1000000000", "input.side is 1000000000; it must be at least 1 and"),
        ("side = 14", "side = 16", "images of side 16 need [16, 16, 3]"),
        ("side = 14", "side = 11", "which is not a crop of images of 11 x 11 x 3"),
        ("outputs = 3", "outputs = 2", "it names 3 classes, but its network has 2 outputs"),
        ("\"red\"", "\"red\", \"cow\"", "it names 4 classes, but its network has 3 outputs"),
        ("outputs = 6", "outputs = 281474976710656", "row `fc2`: outputs is 281474976710656"),
        ("pad = 1", "pad = 72057594037927936", "row `conv1`: pad is 72057594037927936"),
        ("filters = 8", "filters = 2000000", "row `conv1`: filters is 2000000; it must be at most"),
        ("window = 2", "window = 0", "window and stride must be at least 1"),
        ("drop = 0.5", "drop = nan", "drop is NaN"),
        ("filters = 8", "filters = 16", "`conv1.weight` is [8, 3, 3, 3]; the network needs [16, "),
        ("scale = 1.0", "scale = 0.0", "input.scale is 0; it must be above 0"),
        ("format = 1", "format = 3", "its format is version 3; this program reads versions 1 to 2"),
    ] {
        Weights::read(&good).with_text(from, to).write(&bad);
        refused(4, &["predict", &image, "--weights", &bad], told);
    }
}

#[test]
fn absurd_networks_and_settings_are_refused() {
    let scratch = Scratch::new("hostile-models");
    let model = scratch.path("net.toml");
    let run = scratch.path("run");
    for (rows, told) in [
        ("conv = { name = \"c\", filters = 4, window = 3, pad = 72057594037927936 }", "pad is 720"),
        ("conv = { name = \"c\", filters = 4, window = 3, stride = 0 }", "must be at least 1"),
        (
            "local = { name = \"c\", filters = 2000000, window = 3 }",
            "filters is 2000000; it must be",
        ),
        ("pool = { window = 3, pad = 4611686018427387904 }", "pad is 4611686018427387904"),
        ("lrn = { size = 9223372036854775807 }", "size is 9223372036854775807"),
        ("linear = { name = \"f\", outputs = 281474976710656 }", "outputs is 281474976710656"),
    ] {
        let text = format!(
            "name = \"net\"\ninput = [16, 16, 3]\n[[rows]]\n{rows}\n\
             [[rows]]\nlinear = {{ name = \"last\", outputs = 10 }}\n"
        );
        fs::write(&model, text).unwrap();
        refused(2, &["describe", "--model", &model], told);
        refused(2, &["train", "--model", &model, "--fake-data", "8", "--run", &run], told);
    }
    for (input, told) in [
        ("[1000000000, 16, 3]", "the height of its input is 1000000000; it must be at most"),
        ("[16, 16, 4]", "images are height x width x 3"),
        ("[0, 16, 3]", "each must be at least 1"),
        ("[16, 16, 0]", "each must be at least 1"),
    ] {
        let text = format!(
            "name = \"net\"\ninput = {input}\n[[rows]]\nlinear = {{ name = \"f\", outputs = 2 }}\n"
        );
        fs::write(&model, text).unwrap();
        refused(2, &["describe", "--model", &model], told);
        refused(2, &["train", "--model", &model, "--fake-data", "8", "--run", &run], told);
    }
    for (flags, told) in [
        (&["--batch-size", "281474976710656"][..], "recipe.batch is 28147497671065"),
        (&["--batch-size", "0"], "it must be at least 1"),
        (&["--epochs", "0"], "it must be at least 1"),
        (&["--lr", "-1"], "recipe.rate is -1; it must be at least 0"),
        (&["--lr", "nan"], "recipe.rate is NaN"),
        (&["--set", "recipe.momentum=2"], "it must be at least 0 and below 1"),
        (&["--set", "recipe.input.scale=0"], "it must be above 0"),
        (&["--set", "recipe.input.side=1000000000"], "at most 16384"),
        (&["--set", "recipe.augment.color=nan"], "recipe.augment.color is NaN"),
        (&["--threads", "100000"], "it must be at most"),
        (&["--workers", "100000"], "it must be at most"),
        (&["--micro-shards", "1099511627776"], "recipe.shards is 1099511627776"),
        (&["--seed", "18446744073709551615"], "--seed"),
    ] {
        let train = ["train", "--fake-data", "8", "--run", &run];
        refused(2, &[&train[..], flags].concat(), told);
    }
    for (flag, value) in
        [("--batch-size", "0"), ("--epochs", "0"), ("--lr", "-1"), ("--micro-shards", "0")]
    {
        let train = ["train", "--fake-data", "8", "--run", &run, flag, value];
        refused(2, &train, &format!("({flag})"));
    }
    refused(2, &["eval", "--run", &run, "--batch-size", "0"], "it must be at least 1");
    assert!(!fs::exists(&run).unwrap(), "nothing was begun");
}

/// Any input path may be a pipe without a writer: no reader waits for it.
#[test]
fn pipes_in_place_of_data_are_refused_at_once() {
    let scratch = Scratch::new("hostile-pipes");
    let pipe = |path: &str| {
        let path = scratch.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    };
    let alone =
        ["set.tar", "set.tar.gz", "set.tgz", "set.zip", "set.parquet", "cifar-10-binary.tar.gz"];
    for name in alone {
        pipe(name);
        refused(3, &["train", "--data", &scratch.path(name), "--run", &scratch.path("r")], "pipe");
    }
    for (folder, name) in [
        ("shards", "train-0.tar"),
        ("packed-shards", "train-0.tar.gz"),
        ("parquet", "train-00000-of-00001.parquet"),
        ("older", "train_images_0.tar.gz"),
        ("mnist", "train-images-idx3-ubyte"),
        ("cifar", "data_batch_1.bin"),
        ("cifar-above", "cifar-10-python.tar.gz"),
        ("prepared", "dataset.json"),
        ("listed", "labels.csv"),
    ] {
        pipe(&format!("{folder}/{name}"));
        let data = scratch.path(folder);
        refused(3, &["train", "--data", &data, "--run", &scratch.path("r")], folder);
        let began = Instant::now();
        let verified = alexnet(&["data", "verify", &data]).output().unwrap();
        assert_ne!(verified.status.code(), Some(0), "{folder}");
        assert!(began.elapsed() < Duration::from_secs(20), "{folder}");
    }
}
