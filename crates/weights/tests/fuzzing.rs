//! The fuzz targets of this crate without a fuzzer, and files that are cut at every length.

use alexnet_weights::fuzzing;
use std::path::Path;
use testkit::fuzz::run;

/// The fixtures of a program whose names end so.
fn fixtures(program: &str, ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(program);
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
    let seeds = fixtures("pytorch", ".pt");
    cut(fuzzing::pytorch, &seeds);
    run("pytorch", fuzzing::pytorch, &seeds, 10_000);
}

#[test]
fn safetensors() {
    let seeds = fixtures("pytorch", ".safetensors");
    cut(fuzzing::safetensors, &seeds);
    run("safetensors", fuzzing::safetensors, &seeds, 10_000);
}

#[test]
fn caffe() {
    let seeds = fixtures("caffe", ".caffemodel");
    cut(fuzzing::caffe, &seeds);
    run("caffe", fuzzing::caffe, &seeds, 10_000);
}

#[test]
fn mean() {
    let seeds = [fixtures("caffe", ".binaryproto"), fixtures("caffe", ".npy")].concat();
    cut(fuzzing::mean, &seeds);
    run("mean", fuzzing::mean, &seeds, 20_000);
}

#[test]
fn onnx() {
    let seeds = fixtures("onnx", ".onnx");
    cut(fuzzing::onnx, &seeds);
    run("onnx", fuzzing::onnx, &seeds, 10_000);
}
