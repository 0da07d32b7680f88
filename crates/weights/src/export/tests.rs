//! Exported files, read back.

use super::*;
use crate::import::ImportOptions;
use crate::{About, Input, Mean, Scale, Values};
use layers::{BatchNorm, LayerNorm, Lrn, Spec, window};
use random::{Purpose, Stream};
use std::fs;
use std::path::PathBuf;

const FILES: [(Format, &str); 4] = [
    (Format::PyTorch, "net.pth"),
    (Format::Safetensors, "net.safetensors"),
    (Format::Npz, "net.npz"),
    (Format::Onnx, "net.onnx"),
];

/// A folder that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let folder = format!("alexnet-export-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(folder);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Random weights of a network, on images of `side` pixels, less a mean image or colour.
fn weights(model: Spec, mean: Mean) -> Weights {
    let [height, width, _] = model.input;
    let side = height.max(width) + 3;
    let mut stream = Stream::new(3, Purpose::Test, 0, 0);
    let mut draw = |shape: &[usize], low, high| {
        let values = (0..shape.iter().product()).map(|_| stream.between(low, high)).collect();
        Values { shape: shape.to_vec(), values }
    };
    let parameter = |(name, shape): (String, tensor::Shape)| {
        let low = if name.ends_with("variance") { 0.5 } else { -0.3 };
        let values = draw(shape.dims(), low, 0.7);
        (name, values)
    };
    let parameters = model.parameter_shapes().unwrap().into_iter().map(parameter).collect();
    let of_mean = match mean {
        Mean::Color => vec![3],
        Mean::Image => vec![side, side, 3],
    };
    let classes = model.classes().unwrap();
    let scale = Scale::Channels([0.01, 0.02, 0.03]);
    let about = About {
        format: Weights::LATEST, // it has a scale per channel
        classes: (0..classes).map(|class| format!("class \"{class}\"")).collect(),
        class_names: vec!["a name, é".into(); classes],
        input: Input { side: Some(side), ..Input::new(mean, scale) },
        model,
    };
    let mean = draw(&of_mean, 80.0, 160.0);
    Weights { about, mean, parameters }
}

/// Every kind of row.
fn everything() -> Spec {
    let (even, within) = (
        Lrn { size: 4, divide_alpha: true, ..Lrn::default() },
        Lrn { size: 3, within_channel: true, ..Lrn::default() },
    );
    let mut spec = Spec::image("everything", 19, 17, 3)
        .conv("conv1", 8, window(5).stride(2).overhang(1))
        .lrn_with(Lrn { towers: 2, ..Lrn::default() })
        .relu()
        .pool(window(3).stride(2).ceil())
        .conv("conv2", 6, window(3).pad(1).groups(2))
        .batch_norm()
        .prelu()
        .lrn_with(even)
        .conv("conv3", 6, window(3).pad(1))
        .layer_norm()
        .gelu()
        .lrn_with(within)
        .average_pool(window(2).stride(2).ceil())
        .local("local4", 4, window(2).pad(1).groups(2))
        .leaky_relu(0.1)
        .dropout(0.5)
        .linear("fc5", 7)
        .tanh()
        .layer_norm()
        .linear("fc6", 6)
        .prelu()
        .dropout(0.25)
        .linear("fc7", 5)
        .logistic()
        .linear("fc8", 4);
    for row in &mut spec.rows {
        match row {
            layers::Row::Tanh(tanh) => (tanh.outer, tanh.inner) = (1.7159, 0.6667),
            layers::Row::BatchNorm(norm) => *norm = BatchNorm { epsilon: 1e-3, ..*norm },
            layers::Row::LayerNorm(norm) => *norm = LayerNorm { epsilon: 1e-4 },
            _ => {}
        }
    }
    spec
}

fn export(weights: &Weights, path: &Path, format: Format, names: Names) -> ExportSummary {
    let options = ExportOptions { names, threads: 1, ..ExportOptions::new(format) };
    write(weights, path, &options, &mut |_, _| true).unwrap().unwrap()
}

#[test]
fn every_format_keeps_every_kind_of_row_and_all_metadata() {
    let scratch = Scratch::new("rows");
    for mean in [Mean::Color, Mean::Image] {
        let weights = weights(everything(), mean);
        for (format, name) in FILES {
            let path = scratch.0.join(name);
            let summary = export(&weights, &path, format, Names::Layers);
            assert_eq!(summary.tensors, weights.parameters.len());
            assert_eq!(summary.bytes, fs::metadata(&path).unwrap().len(), "{name}");
            let factors = [("fc5".to_string(), 0.5), ("fc7".to_string(), 0.75)];
            assert_eq!(summary.folded, factors, "{name}");
            // No network is named: the file states its own.
            let read = Weights::open(&path, &ImportOptions::default()).unwrap();
            assert_eq!((&read.mean, read.about.input), (&weights.mean, weights.about.input));
            assert_eq!(read.about.classes, weights.about.classes);
            assert_eq!(read.about.class_names, weights.about.class_names);
            for ((own, before), (theirs, after)) in weights.parameters.iter().zip(&read.parameters)
            {
                let factor = match own.as_str() {
                    "fc5.weight" => 0.5,
                    "fc7.weight" => 0.75,
                    _ => 1.0,
                };
                let scaled: Vec<f32> = before.values.iter().map(|value| value * factor).collect();
                assert_eq!((own, &scaled), (theirs, &after.values), "{name}");
            }
        }
        let path = scratch.0.join("own.safetensors");
        export(&weights, &path, Format::Own, Names::Layers);
        let mut sorted = weights.clone();
        sorted.parameters.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(Weights::read(&path).unwrap(), sorted);
    }
}

#[test]
fn what_is_read_and_exported_again_is_the_same_file() {
    let scratch = Scratch::new("again");
    let weights = weights(everything(), Mean::Color);
    for (format, name) in FILES {
        let (first, second) = (scratch.0.join(name), scratch.0.join(format!("second-{name}")));
        export(&weights, &first, format, Names::Layers);
        let read = Weights::open(&first, &ImportOptions::default()).unwrap();
        let summary = export(&read, &second, format, Names::Layers);
        assert_eq!(summary.folded, [], "{name}");
        assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "{name}");
    }
}

#[test]
fn torchvisions_names_are_places_in_two_sequences() {
    let model = Spec::image("small", 12, 12, 3)
        .conv("conv1", 4, window(3))
        .batch_norm()
        .relu()
        .pool(window(2).stride(2))
        .conv("conv2", 4, window(3))
        .inverted_dropout(0.5)
        .linear("fc3", 5)
        .relu()
        .linear("fc4", 2);
    let (scratch, weights) = (Scratch::new("names"), weights(model, Mean::Color));
    for (format, name) in &FILES[..3] {
        let path = scratch.0.join(name);
        export(&weights, &path, *format, Names::Sequential);
        let mut file = crate::import::open(&path).unwrap();
        let tensors = file.tensors().iter().map(|tensor| tensor.name.as_str());
        let mut names: Vec<String> = tensors.map(str::to_string).collect();
        names.sort();
        let expected = [
            "classifier.1.bias",
            "classifier.1.weight",
            "classifier.3.bias",
            "classifier.3.weight",
            "features.0.bias",
            "features.0.weight",
            "features.1.bias",
            "features.1.running_mean",
            "features.1.running_var",
            "features.1.weight",
            "features.4.bias",
            "features.4.weight",
        ];
        assert_eq!(names, expected, "{name}");
        let at = |wanted: &str| file.tensors().iter().position(|it| it.name == wanted).unwrap();
        let filters = at("features.0.weight");
        assert_eq!(file.tensors()[filters].shape, [4, 3, 3, 3]);
        // [filter, channel, y, x] of the file is [filter, y, x, channel] here.
        let values = file.read(filters).unwrap();
        let own = &weights.parameters[0].1.values;
        assert_eq!(values[(3 + 1) * 9 + 3 + 2], own[27 + (3 + 2) * 3 + 1]);
    }
}

#[test]
fn a_factor_that_cannot_be_moved_stays_in_the_graph_or_is_refused() {
    let model = Spec::image("net", 8, 8, 3)
        .conv("conv1", 4, window(3))
        .dropout(0.5)
        .lrn()
        .linear("fc2", 3)
        .dropout(0.5)
        .linear("fc3", 2);
    let (scratch, weights) = (Scratch::new("stays"), weights(model, Mean::Color));
    let path = scratch.0.join("net.onnx");
    let summary = export(&weights, &path, Format::Onnx, Names::Layers);
    assert_eq!(summary.folded, [("fc3".to_string(), 0.5)]);
    let read = Weights::open(&path, &ImportOptions::default()).unwrap();
    let inverted = |spec: &Spec| -> Vec<bool> {
        let of = |row: &layers::Row| match row {
            layers::Row::Dropout(dropout) => Some(dropout.inverted),
            _ => None,
        };
        spec.rows.iter().filter_map(of).collect()
    };
    assert_eq!(inverted(&read.about.model), [false, true]);
    let options = ExportOptions::new(Format::PyTorch);
    let error = write(&weights, scratch.0.join("net.pth"), &options, &mut |_, _| true);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("its `dropout1` scales by 0.5 in tests, and `lrn1` comes"), "{error}");
    assert_eq!(scratch.names(), ["net.onnx"]);
}

#[test]
fn an_export_that_is_stopped_or_fails_leaves_nothing_behind() {
    let scratch = Scratch::new("stopped");
    let weights = weights(everything(), Mean::Color);
    for (format, name) in FILES.into_iter().chain([(Format::Own, "own.safetensors")]) {
        let (path, options) = (scratch.0.join(name), ExportOptions::new(format));
        fs::write(&path, b"before").unwrap();
        let mut calls = 0;
        let mut once = |_, _| {
            calls += 1;
            calls < 2 && format != Format::Own
        };
        assert_eq!(write(&weights, &path, &options, &mut once).unwrap(), None);
        assert_eq!(fs::read(&path).unwrap(), b"before");

        let mut broken = weights.clone();
        broken.parameters[0].1.values[0] = f32::NAN;
        let error = write(&broken, &path, &options, &mut |_, _| true).unwrap_err();
        let is_reported = matches!(&error, Error::NotFinite { path: named, tensor }
            if *named == path && tensor == "conv1.weight");
        assert!(is_reported, "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"before");
    }
    assert_eq!(scratch.names().len(), 5);
    let nowhere = scratch.0.join("no/such/net.onnx");
    let options = ExportOptions::new(Format::Onnx);
    let error = write(&weights, &nowhere, &options, &mut |_, _| true).unwrap_err();
    assert!(matches!(error, Error::File(_)), "{error}");
}

#[test]
fn a_file_that_computes_something_else_is_not_kept() {
    let scratch = Scratch::new("differs");
    let model = everything();
    let (mut weights, path) = (weights(model.clone(), Mean::Color), scratch.0.join("net.pth"));
    export(&weights, &path, Format::PyTorch, Names::Layers);
    let Folded { spec, factors, .. } = Folded::new(&model, false).unwrap();
    let about = About { model: spec, ..weights.about.clone() };
    let exported = Exported { about, mean: weights.mean.clone() };
    check::check(&path, &path, &weights, &factors, &exported, 1, &mut || true).unwrap();
    for at in 0..weights.parameters.len() {
        let before = weights.parameters[at].1.values.clone();
        weights.parameters[at].1.values.iter_mut().for_each(|value| *value = 1.0 - *value);
        let error = check::check(&path, &path, &weights, &factors, &exported, 1, &mut || true);
        let error = error.unwrap_err();
        let name = &weights.parameters[at].0;
        assert!(matches!(error, Error::ExportDiffers { .. }), "{name}: {error}");
        weights.parameters[at].1.values = before;
    }
    let mean = Values { values: vec![1.0; 3], ..weights.mean.clone() };
    let exported = Exported { mean, ..exported };
    let error = check::check(&path, &path, &weights, &factors, &exported, 1, &mut || true);
    let error = error.unwrap_err();
    assert!(matches!(error, Error::ExportDiffers { .. }), "{error}");
}

/// The paper's dropout halves in tests: without that the same bits compute other scores.
#[test]
fn equal_tensors_that_compute_other_scores_are_refused() {
    let scratch = Scratch::new("scores");
    let net = Spec::image("net", 6, 6, 3).conv("conv1", 4, window(3)).relu();
    let [halved, plain] = [net.clone().dropout(0.5), net.inverted_dropout(0.5)]
        .map(|net| weights(net.linear("fc2", 3), Mean::Color));
    assert_eq!(halved.parameters, plain.parameters);
    let path = scratch.0.join("net.pth");
    export(&plain, &path, Format::PyTorch, Names::Layers);
    let exported = Exported { about: plain.about.clone(), mean: plain.mean.clone() };
    let factors = std::collections::BTreeMap::new();
    let check = |of| check::check(&path, &path, of, &factors, &exported, 1, &mut || true);
    assert!(check(&plain).unwrap());
    let error = check(&halved).unwrap_err();
    assert!(matches!(error, Error::ExportDiffers { .. }), "{error}");
}

#[test]
fn an_export_can_be_stopped_at_every_report() {
    let scratch = Scratch::new("reports");
    let weights = weights(everything(), Mean::Color);
    for (format, name) in FILES.into_iter().chain([(Format::Own, "own.safetensors")]) {
        let (path, options) = (scratch.0.join(name), ExportOptions::new(format));
        let mut reported = Vec::new();
        let mut count = |done, _| {
            reported.push(done);
            true
        };
        let bytes = write(&weights, &path, &options, &mut count).unwrap().unwrap().bytes;
        let whole = reported.iter().filter(|done| **done == bytes).count();
        let reports = reported.len();
        let comparisons = if format == Format::Own { 1 } else { 4 };
        assert_eq!(whole, 1 + comparisons, "{name}: after the last byte, and of the comparison");
        for last in 1..=reports {
            fs::write(&path, b"before").unwrap();
            let mut calls = 0;
            let mut stopped = |_, _| {
                calls += 1;
                calls < last
            };
            let written = write(&weights, &path, &options, &mut stopped).unwrap();
            assert_eq!((written, calls), (None, last), "{name}");
            assert_eq!(fs::read(&path).unwrap(), b"before");
            assert_eq!(scratch.names(), [name]);
        }
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn layers_of_equal_shapes_keep_their_places() {
    let scratch = Scratch::new("equal");
    let named = |name: fn(usize) -> String| {
        let conv = |spec: Spec, at| spec.conv(&name(at), 3, window(1)).relu();
        (1..=10).fold(Spec::image("equal", 4, 4, 3), conv).linear("last", 2)
    };
    for model in [named(|at| format!("conv{at}")), named(|at| format!("c{}", 10 - at))] {
        let weights = weights(model, Mean::Color);
        for (format, name) in FILES {
            let path = scratch.0.join(name);
            export(&weights, &path, format, Names::Layers);
            let read = Weights::open(&path, &ImportOptions::default()).unwrap();
            assert_eq!(read.parameters, weights.parameters, "{name}");
        }
    }
}

#[test]
fn a_mean_of_another_shape_is_refused() {
    let scratch = Scratch::new("mean");
    let model = Spec::image("net", 6, 6, 3).conv("conv1", 4, window(3)).linear("fc2", 2);
    let mut weights = weights(model, Mean::Image);
    weights.mean = Values { shape: vec![3], values: vec![1.0; 3] };
    let short = Values { shape: vec![9, 9, 3], values: vec![1.0; 3] };
    for (mean, expected) in [(weights.mean.clone(), "is [3], but images"), (short, "has 3 values")]
    {
        weights.mean = mean;
        for (format, name) in FILES.into_iter().chain([(Format::Own, "own.safetensors")]) {
            let mut options = ExportOptions::new(format);
            options.preprocess = format == Format::Onnx;
            let error = write(&weights, scratch.0.join(name), &options, &mut |_, _| true);
            let error = error.unwrap_err();
            let is_refused = matches!(&error, Error::Export { reason, .. }
                if reason.contains(expected));
            assert!(is_refused, "{name}: {error}");
        }
    }
    assert!(scratch.names().is_empty());
}

/// The bytes of an exact number in a type of safetensors.
fn element(dtype: ::safetensors::Dtype, value: f32) -> Vec<u8> {
    use ::safetensors::Dtype;
    match dtype {
        Dtype::F64 => f64::from(value).to_le_bytes().to_vec(),
        Dtype::BF16 => value.to_le_bytes()[2..].to_vec(),
        Dtype::F16 => {
            let bits = value.to_bits();
            let exponent = (bits >> 23 & 0xFF).saturating_sub(127 - 15);
            let half = if value == 0.0 { 0 } else { exponent << 10 | bits >> 13 & 0x3FF };
            ((bits >> 16 & 0x8000 | half) as u16).to_le_bytes().to_vec()
        }
        _ => value.to_le_bytes().to_vec(),
    }
}

#[test]
fn tensors_of_other_programs_leave_as_they_came() {
    use ::safetensors::Dtype;
    use ::safetensors::tensor::{TensorView, serialize};
    let model = Spec::image("net", 6, 6, 3)
        .conv("conv1", 4, window(3))
        .relu()
        .inverted_dropout(0.5)
        .linear("fc2", 2);
    let shapes: [(&str, &[usize]); 4] = [
        ("conv1.weight", &[4, 3, 3, 3]),
        ("conv1.bias", &[4]),
        ("fc2.weight", &[2, 64]),
        ("fc2.bias", &[2]),
    ];
    let scratch = Scratch::new("types");
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64] {
        // Multiples of 1/64 below 2 are exact in all of them.
        let value = |at: usize, tensor: usize| ((at * 37 + tensor * 11) % 200) as f32 / 64.0 - 1.5;
        let values = |tensor: usize, len: usize| (0..len).map(move |at| value(at, tensor));
        let bytes: Vec<Vec<u8>> = shapes
            .iter()
            .enumerate()
            .map(|(at, (_, shape))| {
                values(at, shape.iter().product()).flat_map(|v| element(dtype, v)).collect()
            })
            .collect();
        let views = shapes.iter().zip(&bytes).map(|((name, shape), bytes)| {
            (*name, TensorView::new(dtype, shape.to_vec(), bytes).unwrap())
        });
        let path = scratch.0.join("source.safetensors");
        fs::write(&path, serialize(views, None).unwrap()).unwrap();
        let read = Weights::open(&path, &ImportOptions::new(vec![model.clone()])).unwrap();
        for (format, name) in FILES {
            let path = scratch.0.join(name);
            export(&read, &path, format, Names::Layers);
            let mut file = crate::import::open(&path).unwrap();
            for (at, (name, shape)) in shapes.iter().enumerate() {
                let found = file.tensors().iter().position(|tensor| tensor.name == *name).unwrap();
                assert_eq!(file.tensors()[found].shape, *shape);
                let expected: Vec<u32> =
                    values(at, shape.iter().product()).map(f32::to_bits).collect();
                let found = file.read(found).unwrap();
                let found: Vec<u32> = found.into_iter().map(f32::to_bits).collect();
                assert_eq!(found, expected, "{dtype:?}, {format:?}, {name}");
            }
        }
    }
}

/// The length of a header begins a file: 0x80 begins pickles, 0x1f 0x8b gzip files.
#[test]
fn safetensors_are_recognised_whatever_their_headers_length() {
    let scratch = Scratch::new("lengths");
    let path = scratch.0.join("net.safetensors");
    for length in [0x180usize, 0x8b1f, 0x108] {
        let mut header =
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}".to_string();
        header += &" ".repeat(length - header.len());
        let start = (length as u64).to_le_bytes();
        fs::write(&path, [&start[..], header.as_bytes(), &1f32.to_le_bytes()].concat()).unwrap();
        let mut file = crate::import::open(&path).unwrap();
        assert_eq!(file.read(0).unwrap(), [1.0], "{length:#x}");
    }
}
