//! Files of PyTorch and safetensors, written by `import/make_pytorch.py`, against the values that
//! PyTorch had in them.

use alexnet_weights::import::{ElementType, Format, TensorInfo, TensorReader, open};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::id;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/pytorch").join(name)
}

fn expected() -> HashMap<String, Value> {
    let text = std::fs::read(fixture("../pytorch.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("alexnet-import-{name}-{}", id()));
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

/// Compares a tensor with what PyTorch had.
fn check(file: &mut dyn TensorReader, index: usize, expected: &Value, what: &str) {
    let TensorInfo { name, shape, element, .. } = file.tensors()[index].clone();
    assert_eq!(name, expected["name"].as_str().unwrap(), "{what}");
    let what = format!("{what}: {name}");
    assert_eq!(serde_json::json!(shape), expected["shape"], "{what}");
    assert_eq!(element.to_string(), expected["element"].as_str().unwrap(), "{what}");
    if !element.is_float() {
        let error = file.read(index).unwrap_err();
        assert!(error.contains(&format!("`{name}` holds elements of type {element}")), "{error}");
        return;
    }
    let values = file.read(index).unwrap();
    assert_eq!(values.len(), shape.iter().product::<usize>(), "{what}");
    let number = |key: &str| expected[key].as_f64().unwrap();
    let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
    let magnitude: f64 = values.iter().map(|&value| f64::from(value).abs()).sum();
    let tolerance = 1e-12 * (1.0 + number("magnitude")); // another order of summation
    assert!((sum - number("sum")).abs() < tolerance, "{what}: {sum}");
    assert!((magnitude - number("magnitude")).abs() < tolerance, "{what}: {magnitude}");
    for (at, value) in expected["values"].as_object().unwrap() {
        let at: usize = at.parse().unwrap();
        assert_eq!(f64::from(values[at]), value.as_f64().unwrap(), "{what}, element {at}");
    }
}

#[test]
fn every_tensor_is_what_pytorch_saved() {
    let files = expected();
    assert!(files.len() > 25, "{}", files.len());
    for (name, tensors) in files {
        let mut file = open(fixture(&name)).unwrap_or_else(|error| panic!("{error}"));
        let format = match () {
            () if name.contains("safetensors") => Format::Safetensors,
            () if name.ends_with("-legacy.pt") => Format::PyTorchLegacy,
            () => Format::PyTorch,
        };
        assert_eq!(file.format(), format);
        let tensors = tensors.as_array().unwrap();
        assert_eq!(file.tensors().len(), tensors.len(), "{name}");
        for (at, tensor) in tensors.iter().enumerate() {
            // Safetensors files are in the order of their data, others in that of the state dict.
            let index = if format == Format::Safetensors {
                let names = file.tensors().iter();
                names.map(|tensor| &*tensor.name).position(|name| tensor["name"] == name).unwrap()
            } else {
                at
            };
            check(&mut *file, index, tensor, &name);
        }
    }
}

#[test]
fn what_is_no_state_dict_is_refused_with_a_remedy() {
    for (name, reason) in [
        ("module.pt", "a pickled module (`torch.nn.modules.linear.Identity`)"),
        ("module-legacy.pt", "a pickled module (`torch.nn.modules.linear.Identity`)"),
        ("script.pt", "a TorchScript program"),
        ("path.pt", "refers to `pathlib.PurePosixPath`"),
        ("one-parameter.pt", "one tensor without a name"),
        ("no-tensors.pt", "(it has `epoch`, `state_dict`)"),
        ("expanded.pt", "save `tensor.contiguous()`"),
    ] {
        let error = open(fixture(name)).err().expect(name).to_string();
        assert!(error.contains(reason) && error.contains("save"), "{error}");
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn a_changed_byte_of_an_archive_is_noticed() {
    let bytes = std::fs::read(fixture("alexnet-f32.pt")).unwrap();
    let mut file = open(fixture("alexnet-f32.pt")).unwrap();
    let value = file.read(0).unwrap()[7].to_le_bytes();
    let at = bytes.windows(4).position(|window| window == value).unwrap();
    let folder = Folder::new("changed");
    let mut changed = bytes.clone();
    changed[at] ^= 1;
    let mut file = open(folder.write("data.pt", &changed)).unwrap();
    assert!(file.read(0).unwrap_err().contains("their checksum is wrong"));
    assert!(file.read(1).is_ok(), "another storage");
    let at = bytes.windows(17).position(|window| window == b"features.0.weight").unwrap();
    let mut changed = bytes.clone();
    changed[at] = b'g';
    let error = open(folder.write("pickle.pt", &changed)).err().unwrap().to_string();
    assert!(error.contains("checksum of its data.pkl"), "{error}");
}

#[test]
fn other_files_and_cut_ones_are_refused() {
    let folder = Folder::new("other");
    let bytes = |name: &str| std::fs::read(fixture(name)).unwrap();
    let replaced = |name: &str, old: &[u8], new: &[u8]| {
        let mut bytes = bytes(name);
        let places = (0..=bytes.len() - old.len()).filter(|&at| bytes[at..].starts_with(old));
        let places: Vec<usize> = places.collect();
        assert!(!places.is_empty(), "{}", old.escape_ascii());
        for at in places {
            bytes[at..at + old.len()].copy_from_slice(new);
        }
        bytes
    };
    let cut = |name: &str, less: usize| {
        let mut bytes = bytes(name);
        bytes.truncate(bytes.len() - less);
        bytes
    };
    // Without a checksum, `unchecked.pt` can be changed.
    for (bytes, reason) in [
        (cut("alexnet-f32.pt", 1), "a damaged zip file"),
        (cut("alexnet-f32-legacy.pt", 1), "it is cut off"),
        (cut("alexnet-f32-legacy.pt", 2000), "it is cut off"),
        (cut("alexnet.safetensors", 1), "it is cut off or damaged"),
        (cut("alexnet.safetensors", 1500), "it is cut off"),
        (replaced("unchecked.pt", b"little", b"biggie"), "a big-endian computer"),
        (
            replaced("unchecked.pt", b"features.0.bias", b"features.3.bias"),
            "`features.3.bias` twice",
        ),
        (replaced("unchecked.pt", b"FloatStorage", b"FlootStorage"), "`torch.FlootStorage`"),
        (replaced("unchecked.pt", b"(K\x04K\x03", b"(K\x05K\x03"), "beyond the 432 bytes"),
        (replaced("unchecked.pt", b"(K\x04K\x03", b"(K\x04K\x04"), "share a place"),
        (replaced("unchecked.pt", b"/data/0", b"/data/x"), "in storage 0, which the file lacks"),
        (replaced("unchecked.pt", b"data.pkl", b"data.pki"), "no data.pkl"),
        (replaced("alexnet-f32-legacy.pt", b"\x80\x02M\xe9\x03", b"\x80\x02M\xe8\x03"), "version"),
    ] {
        let error = open(folder.write("a.pt", &bytes)).err().expect(reason).to_string();
        assert!(error.contains(reason), "{error} is not {reason}");
    }
    let error = open(&folder.0).err().unwrap().to_string();
    assert!(error.contains("a folder"), "{error}");
}

#[test]
fn headers_of_safetensors_are_checked() {
    let folder = Folder::new("headers");
    let error = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        bytes.extend(vec![0; data]);
        open(folder.write("a.safetensors", &bytes)).err().map(|error| error.to_string())
    };
    let one = |shape: &str, end: usize| {
        format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
    };
    assert_eq!(error(&one("[2]", 8), 8), None);
    let twice = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":
                   {"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    for (header, data, reason) in [
        (one("[2]", 8), 7, "take 8 bytes, and the file has 7"),
        (one("[2]", 8), 9, "take 8 bytes, and the file has 9"),
        (one("[3]", 8), 8, "no intact safetensors file"),
        (one("[-2]", 8), 8, "no intact safetensors file"),
        (one("[4611686018427387904,4611686018427387904]", 8), 8, "no intact safetensors file"),
        (twice.to_owned(), 4, "names `a` twice"),
        ("{".to_owned(), 4, "no intact safetensors file"),
    ] {
        let error = error(&header, data).expect(reason);
        assert!(error.contains(reason), "{error} is not {reason}");
    }
    let mut long = (1u64 << 40).to_le_bytes().to_vec();
    long.extend(b"{}");
    let error = open(folder.write("long.safetensors", &long)).err().unwrap().to_string();
    assert!(error.contains("not known") || error.contains("MiB are read at most"), "{error}");
}

#[test]
fn an_index_names_files_beside_it() {
    let folder = Folder::new("index");
    let part = std::fs::read(fixture("model-00001-of-00002.safetensors")).unwrap();
    folder.write("part.safetensors", &part);
    let error = |map: &str| {
        let text = format!(r#"{{"metadata": {{}}, "weight_map": {map}}}"#);
        let path = folder.write("model.safetensors.index.json", text.as_bytes());
        open(&path).map(|file| file.tensors().len()).map_err(|error| error.to_string())
    };
    assert_eq!(error(r#"{"features.0.bias": "part.safetensors"}"#), Ok(1), "no others");
    for (map, reason) in [
        (r#"{"a": "none.safetensors"}"#, "its part `none.safetensors` cannot be read"),
        (r#"{"a": "../part.safetensors"}"#, "no safetensors file beside it"),
        (r#"{"a": "/tmp/part.safetensors"}"#, "no safetensors file beside it"),
        (r#"{"a": "..\\part.safetensors"}"#, "no safetensors file beside it"),
        (r#"{"a": ".."}"#, "no safetensors file beside it"),
        (r#"{"a": "pytorch_model.bin"}"#, "no safetensors file beside it"),
        (r#"{"a": "part.safetensors"}"#, "`part.safetensors`: it has no tensor `a`"),
        (r#"{"a": "part.safetensors", "a": "part.safetensors"}"#, "names `a` twice"),
        ("[]", "no index of safetensors files"),
    ] {
        let error = error(map).unwrap_err();
        assert!(error.contains(reason), "{error} is not {reason}");
    }
    assert!(!ElementType::Other("u16").is_float());
}
