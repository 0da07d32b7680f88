//! ONNX's files, as `import/make_onnx.py` makes them; `import/onnx.json` says what they hold.

#[path = "import/expected.rs"]
mod fixtures;

use alexnet_weights::import::{self, ElementType, Format, TensorReader};
use fixtures::{expected, fixture};
use std::path::{Path, PathBuf};

const FILES: [&str; 7] = [
    "legacy.onnx",
    "dynamo.onnx",
    "external.onnx",
    "matmul-legacy.onnx",
    "matmul-dynamo.onnx",
    "old.onnx",
    "types.onnx",
];

#[test]
fn the_layers_tensors_come_first_and_in_order() {
    for file in FILES {
        let mut model = import::open(fixture("onnx", file)).unwrap();
        assert_eq!(model.format(), Format::Onnx);
        let expected = expected("onnx", file);
        for (index, tensor) in expected.iter().enumerate() {
            let info = model.tensors()[index].clone();
            assert_eq!((&info.name, &info.shape), (&tensor.name, &tensor.shape), "{file}");
            assert_eq!(model.read(index).unwrap(), tensor.values, "{file}: {}", tensor.name);
        }
        // Such as the shape that a Reshape takes.
        for index in expected.len()..model.tensors().len() {
            let TensorFields { name, element } = fields(&*model, index);
            assert!(!element.is_float(), "{file}: {name}");
            let error = model.read(index).unwrap_err();
            assert!(error.starts_with(&format!("`{name}` holds elements of type")), "{error}");
        }
    }
}

struct TensorFields {
    name: String,
    element: ElementType,
}

fn fields(model: &dyn TensorReader, index: usize) -> TensorFields {
    let info = &model.tensors()[index];
    TensorFields { name: info.name.clone(), element: info.element }
}

#[test]
fn elements_keep_their_type() {
    let model = import::open(fixture("onnx", "types.onnx")).unwrap();
    let find = |name: &str| model.tensors().iter().find(|tensor| tensor.name == name).unwrap();
    assert_eq!(find("conv").element, ElementType::F64);
    assert_eq!(find("half").element, ElementType::F16);
    assert_eq!(find("half_bias").element, ElementType::F16);
    assert_eq!(find("brain").element, ElementType::Bf16);
    assert_eq!(find("bias").element, ElementType::F32);
}

/// A folder of its own for a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("alexnet-onnx-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The error of opening a file, without the path.
fn refusal(path: &Path) -> String {
    let error = import::open(path).map(|_| ()).unwrap_err().to_string();
    error.strip_prefix(&format!("{}: ", path.display())).unwrap().into()
}

#[test]
fn data_in_another_file_must_be_beside_the_model_and_whole() {
    let folder = Folder::new("external");
    let model = std::fs::read(fixture("onnx", "external.onnx")).unwrap();
    let data = std::fs::read(fixture("onnx", "external.onnx.data")).unwrap();
    let path = folder.write("external.onnx", &model);
    let missing = refusal(&path);
    assert!(
        missing.contains("`external.onnx.data` beside the model, which cannot be"),
        "{missing}"
    );
    folder.write("external.onnx.data", &data[..data.len() - 1]);
    let short = refusal(&path);
    assert!(short.contains("which is too short: put the file there"), "{short}");
    folder.write("external.onnx.data", &data);
    import::open(&path).unwrap();

    // Names of the same length that lead out of the folder.
    let name = b"external.onnx.data";
    for outside in [&b"../../../etc/passwd"[1..], b"/tmp/external.data", b"..\\ernal.onnx.data"] {
        let at = |from: usize| model[from..].windows(name.len()).position(|part| part == name);
        let mut changed = model.clone();
        let mut from = 0;
        while let Some(found) = at(from) {
            changed[from + found..][..name.len()].copy_from_slice(outside);
            from += found + name.len();
        }
        let refused = refusal(&folder.write("outside.onnx", &changed));
        assert!(refused.contains("which is not in the model's own folder"), "{refused}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_a_reason() {
    let folder = Folder::new("refused");
    let legacy = std::fs::read(fixture("onnx", "legacy.onnx")).unwrap();
    let cut = refusal(&folder.write("cut.onnx", &legacy[..legacy.len() / 2]));
    assert!(cut.contains("neither an intact Caffe model nor an intact ONNX model"), "{cut}");

    // ModelProto { ir_version: 8 }
    let none = refusal(&folder.write("none.onnx", b"\x08\x08"));
    assert!(none.contains("without the weights of a Caffe or ONNX model"), "{none}");

    // An initializer `w` of shape [2] with one float.
    let tensor = b"\x08\x02\x10\x01\x42\x01w\x4a\x04\0\0\0\0";
    let graph = [b"\x2a".as_slice(), &[tensor.len() as u8], tensor].concat();
    let model = [b"\x08\x08\x3a".as_slice(), &[graph.len() as u8], &graph].concat();
    let few = refusal(&folder.write("few.onnx", &model));
    assert!(few.starts_with("`w` does not have as many values as [2]"), "{few}");
}

#[test]
fn an_onnx_model_is_recognised_whatever_its_name() {
    let folder = Folder::new("names");
    let legacy = std::fs::read(fixture("onnx", "legacy.onnx")).unwrap();
    for name in ["model", "model.caffemodel", "model.pt"] {
        assert_eq!(import::open(folder.write(name, &legacy)).unwrap().format(), Format::Onnx);
    }
}
