//! Data sets as they are downloaded, from the command line: an archive of a folder trains the
//! network that the folder trains, and parquet files are looked at, prepared and trained on.

mod program;

use program::{Scratch, coloured, expect, last_line};
use rawzip::{CompressionMethod, ZipArchiveWriter};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// All files below a folder.
fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, into) } else { into.push(path) }
    }
}

/// A zip file with a folder in it.
fn zip(folder: &Path, to: &Path) {
    let mut found = Vec::new();
    files(folder, &mut found);
    let mut archive = ZipArchiveWriter::new(fs::File::create(to).unwrap());
    for path in found {
        let name = path.strip_prefix(folder.parent().unwrap()).unwrap().to_str().unwrap();
        let builder = archive.new_file(name).compression_method(CompressionMethod::STORE);
        let (mut entry, config) = builder.start().unwrap();
        let mut writer = config.wrap(&mut entry);
        writer.write_all(&fs::read(&path).unwrap()).unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn a_zip_file_trains_the_network_that_its_folder_trains() {
    let scratch = Scratch::new("zip");
    let data = coloured(&scratch, &["folder"]);
    let archive = scratch.path("data.zip");
    zip(Path::new(&data), Path::new(&archive));

    let (stdout, _) = expect(0, &["data", "verify", &archive]);
    assert!(stdout.contains("36 files, 0 unusable"), "{stdout}");
    let [of_folder, of_zip] = [&data, &archive].map(|data| {
        let mut stats = last_line(&expect(0, &["data", "stats", data, "--json"]).0);
        let taken = ["name", "notes"].map(|key| stats[key].take());
        assert!(taken[0].is_string());
        stats
    });
    assert_eq!(of_zip["train"], 24);
    assert_eq!(of_folder, of_zip);

    let (run, model) = (scratch.path("run"), scratch.path("tiny.toml"));
    let few = ["--recipe", "paper", "--batch-size", "6", "--epochs", "3", "--seed", "0"];
    let set = ["--set", "recipe.input.side=14", "--progress", "none"];
    let train = ["train", "--run", &run, "--data", &archive, "--model", &model];
    expect(0, &[&train[..], &few, &set].concat());
    let [a, b] = ["folder", "run"].map(|run| {
        let text = fs::read_to_string(Path::new(&scratch.path(run)).join("metrics.csv")).unwrap();
        // The last columns are times.
        text.lines().map(|line| line.split(',').take(7).collect::<Vec<_>>().join(",")).collect()
    }) as [Vec<String>; 2];
    assert!(a.len() > 3);
    assert_eq!(a, b);
    expect(0, &["eval", "--run", &run, "--json", "--progress", "none"]);

    fs::write(&archive, &fs::read(&archive).unwrap()[..2000]).unwrap();
    let (stdout, stderr) = expect(3, &["train", "--data", &archive, "--model", &model]);
    assert!(stderr.contains("data.zip: a damaged zip file"), "{stdout}{stderr}");
    expect(3, &["data", "verify", &archive]);
}

#[test]
fn parquet_files_are_looked_at_prepared_and_trained_on() {
    let scratch = Scratch::new("parquet");
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/fixtures/huggingface");
    let (stdout, _) = expect(0, &["data", "verify", data]);
    assert!(stdout.contains("16 files, 0 unusable"), "{stdout}");
    let stats = last_line(&expect(0, &["data", "stats", data, "--json"]).0);
    assert_eq!((&stats["train"], &stats["test"]), (&12.into(), &4.into()));
    assert_eq!(stats["classes"][3]["name"], "crane (3)");
    let (out, model) = (scratch.path("out"), scratch.path("tiny.toml"));
    fs::write(
        &model,
        "name = \"tiny\"\ninput = [12, 12, 3]\n[[rows]]\nconv = { name = \"conv1\", filters = 8, \
         window = 3, pad = 1 }\n[[rows]]\nrelu = {}\n[[rows]]\nlinear = { name = \"fc2\", \
         outputs = 4 }\n",
    )
    .unwrap();
    let options = ["--from", data, "--out", &out, "--side", "14", "--raw", "--json"];
    let (stdout, _) = expect(0, &[&["data", "prepare"][..], &options].concat());
    assert_eq!(last_line(&stdout)["train"], 12);
    for (number, data) in [data, &out].into_iter().enumerate() {
        let run = scratch.path(&format!("run{number}"));
        let train = ["train", "--run", &run, "--data", data, "--model", &model];
        let few = ["--recipe", "paper", "--batch-size", "6", "--epochs", "1", "--json"];
        let set = ["--set", "recipe.input.side=14", "--progress", "none"];
        let result = last_line(&expect(0, &[&train[..], &few, &set].concat()).0);
        assert_eq!(result["steps"], 2, "{result}");
    }
}
