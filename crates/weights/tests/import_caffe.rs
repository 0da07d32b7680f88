//! Caffe's files, as `import/make_caffe.py` makes them; `import/caffe.json` says what they hold.

#[path = "import/expected.rs"]
mod fixtures;

use alexnet_weights::import::{self, ElementType, Format, read_mean};
use fixtures::{expected, fixture};

#[test]
fn all_forms_of_layers_are_read() {
    for file in ["v0.caffemodel", "v1.caffemodel", "v2.caffemodel", "layers.caffemodel"] {
        let mut model = import::open(fixture("caffe", file)).unwrap();
        assert_eq!(model.format(), Format::Caffe);
        let expected = expected("caffe", file);
        let names: Vec<_> = model.tensors().iter().map(|tensor| tensor.name.clone()).collect();
        let wanted: Vec<_> = expected.iter().map(|tensor| tensor.name.clone()).collect();
        assert_eq!(names, wanted, "{file}");
        for (index, tensor) in expected.iter().enumerate() {
            let (info, name) = (model.tensors()[index].clone(), &tensor.name);
            assert_eq!(info.shape, tensor.shape, "{file}: {name}");
            let element = if name == "double.weight" { ElementType::F64 } else { ElementType::F32 };
            assert_eq!(info.element, element, "{file}: {name}");
            assert_eq!(model.read(index).unwrap(), tensor.values, "{file}: {name}");
        }
    }
}

#[test]
fn means_are_read() {
    let files = [
        "mean.binaryproto",
        "mean3.binaryproto",
        "mean.npy",
        "mean-f64.npy",
        "mean-fortran.npy",
        "mean-v2.npy",
        "mean3.npy",
    ];
    for file in files {
        let mean = read_mean(fixture("caffe", file)).unwrap();
        let wanted = &expected("caffe", file)[0];
        assert_eq!((&mean.shape, &mean.values), (&wanted.shape, &wanted.values), "{file}");
    }
}

/// Writes a file and returns the error of opening it, without the path.
fn refusal(name: &str, bytes: &[u8]) -> String {
    let path = std::env::temp_dir().join(format!("alexnet-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let is_mean = name.ends_with(".npy") || name.ends_with(".binaryproto");
    let error = if is_mean {
        read_mean(&path).unwrap_err().to_string()
    } else {
        import::open(&path).map(|_| ()).unwrap_err().to_string()
    };
    std::fs::remove_file(&path).unwrap();
    error.split_once(": ").unwrap().1.to_string()
}

#[test]
fn what_cannot_be_used_is_refused_with_a_reason() {
    let v2 = std::fs::read(fixture("caffe", "v2.caffemodel")).unwrap();
    let cut = refusal("cut.caffemodel", &v2[..v2.len() / 2]);
    assert!(cut.contains("neither an intact Caffe model nor an intact ONNX model"), "{cut}");
    assert!(cut.ends_with("download or export it again"), "{cut}");

    // A layer without blobs: a definition, saved as binary.
    let definition = b"\x0a\x01n\xa2\x06\x07\x0a\x05conv1";
    let definition = refusal("definition.caffemodel", definition);
    assert!(definition.contains("without the weights"), "{definition}");

    // A blob of shape [3] with two values.
    let blob = b"\x3a\x03\x0a\x01\x03\x2a\x08\0\0\0\0\0\0\0\0";
    let layer = [b"\x0a\x01a\x3a".as_slice(), &[blob.len() as u8], blob].concat();
    let net = [b"\xa2\x06".as_slice(), &[layer.len() as u8], &layer].concat();
    let few = refusal("few.caffemodel", &net);
    assert!(few.starts_with("`a.weight` has shape [3] and 2 values"), "{few}");

    let two = refusal("two.caffemodel", &[v2.clone(), v2].concat());
    assert!(two.starts_with("two layers have parameters `conv1.weight`"), "{two}");

    let wide = std::fs::read(fixture("caffe", "mean.npy")).unwrap();
    let short = refusal("short.npy", &wide[..wide.len() - 1]);
    assert!(short.contains("bytes for an array of shape [3, 5, 4]"), "{short}");
    let flat = std::fs::read(fixture("caffe", "v2.caffemodel")).unwrap();
    let model = refusal("model.binaryproto", &flat);
    assert!(model.starts_with("this is neither a mean image"), "{model}");
}

#[test]
fn a_caffe_model_is_recognised_whatever_its_name() {
    let v1 = std::fs::read(fixture("caffe", "v1.caffemodel")).unwrap();
    let path = std::env::temp_dir().join(format!("alexnet-{}.onnx", std::process::id()));
    std::fs::write(&path, v1).unwrap();
    let format = import::open(&path).map(|file| file.format());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(format.unwrap(), Format::Caffe);
}
