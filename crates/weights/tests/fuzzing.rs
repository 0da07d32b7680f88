//! The fuzz targets of this crate without a fuzzer, and files that are cut at every length.

use alexnet_weights::export::{self, ExportOptions, Format};
use alexnet_weights::{About, Input, Mean, Values, Weights, fuzzing};
use layers::{Spec, window};
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

/// An export of a small network.
fn exported(format: Format, name: &str) -> Vec<u8> {
    let model = Spec::image("tiny", 4, 4, 3).conv("conv1", 2, window(3)).relu().linear("fc2", 2);
    let shapes = model.parameter_shapes().unwrap().into_iter();
    let parameters = shapes.map(|(name, shape)| {
        let (shape, values) = (shape.dims().to_vec(), vec![0.5; shape.len()]);
        (name, Values { shape, values })
    });
    let (classes, class_names) = (vec!["a".into(), "b".into()], Vec::new());
    let input = Input::new(Mean::Color, 1.0);
    let weights = Weights {
        parameters: parameters.collect(),
        about: About { format: Weights::FORMAT, classes, class_names, input, model },
        mean: Values { shape: vec![3], values: vec![1.0, 2.0, 3.0] },
    };
    let path = std::env::temp_dir().join(format!("alexnet-fuzzing-{}-{name}", std::process::id()));
    let options = ExportOptions::new(format);
    export::write(&weights, &path, &options, &mut |_, _| true).unwrap().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    bytes
}

#[test]
fn pytorch() {
    let mut seeds = fixtures("pytorch", ".pt");
    seeds.push(exported(Format::PyTorch, "net.pt"));
    cut(fuzzing::pytorch, &seeds);
    run("pytorch", fuzzing::pytorch, &seeds, 10_000);
}

#[test]
fn safetensors() {
    let mut seeds = fixtures("pytorch", ".safetensors");
    seeds.push(exported(Format::Safetensors, "net.safetensors"));
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
    let mut seeds = fixtures("onnx", ".onnx");
    seeds.push(exported(Format::Onnx, "net.onnx"));
    cut(fuzzing::onnx, &seeds);
    run("onnx", fuzzing::onnx, &seeds, 10_000);
}

#[test]
fn npz() {
    let mut seeds = fixtures("numpy", ".npz");
    seeds.push(exported(Format::Npz, "net.npz"));
    cut(fuzzing::npz, &seeds);
    run("npz", fuzzing::npz, &seeds, 10_000);
}
