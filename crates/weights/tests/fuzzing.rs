//! The fuzz targets of this crate without a fuzzer, and files that are cut at every length.

use alexnet_weights::fuzzing;
use std::path::Path;
use testkit::fuzz::run;

/// The fixtures whose names end so.
fn fixtures(ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/pytorch");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Calls `target` with starts of each file: of every length near both ends, and of some between.
fn cut(target: fn(&[u8]), files: &[Vec<u8>]) {
    assert!(!files.is_empty());
    for file in files {
        let near_an_end = |len: usize| len < 300 || file.len() - len < 300;
        for len in (0..file.len()).filter(|&len| near_an_end(len) || len.is_multiple_of(61)) {
            target(&file[..len]);
        }
    }
}

#[test]
fn pytorch() {
    let seeds = fixtures(".pt");
    cut(fuzzing::pytorch, &seeds);
    run("pytorch", fuzzing::pytorch, &seeds, 10_000);
}

#[test]
fn safetensors() {
    let seeds = fixtures(".safetensors");
    cut(fuzzing::safetensors, &seeds);
    run("safetensors", fuzzing::safetensors, &seeds, 10_000);
}
