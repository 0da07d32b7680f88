//! What the fuzz targets in `fuzz/` call, and the tests with them: one function for each reader of
//! other programs' files. Each takes any bytes, must return, and checks what holds for any answer.

use crate::import::exported::Exported;
use crate::import::fit::Fitted;
use crate::import::{mean_of_bytes, of_bytes};
use std::path::Path;

/// Reads every tensor of a file of `torch.save`, of either form; a zip file also without its
/// checksums, as a change would not get past them.
pub fn pytorch(bytes: &[u8]) {
    with_and_without_checksums(bytes, "weights.pt");
}

/// Reads every tensor of an archive of NumPy, with and without its checksums.
pub fn npz(bytes: &[u8]) {
    with_and_without_checksums(bytes, "weights.npz");
}

fn with_and_without_checksums(bytes: &[u8], name: &str) {
    read_all(bytes, name);
    const CENTRAL_HEADER: &[u8] = b"PK\x01\x02";
    let mut unchecked = bytes.to_vec();
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(CENTRAL_HEADER)
            && let Some(checksum) = unchecked.get_mut(at + 16..at + 20)
        {
            checksum.fill(0);
        }
    }
    if unchecked != bytes {
        read_all(&unchecked, name);
    }
}

/// Reads every tensor of a safetensors file.
pub fn safetensors(bytes: &[u8]) {
    read_all(bytes, "weights.safetensors");
}

/// Reads every tensor of a Caffe model, and the bytes as a mean.
pub fn caffe(bytes: &[u8]) {
    read_all(bytes, "weights.caffemodel");
    mean(bytes);
}

/// Reads a mean image, Caffe's or NumPy's.
pub fn mean(bytes: &[u8]) {
    if let Ok(mean) = mean_of_bytes(bytes) {
        assert_eq!(mean.values.len(), mean.shape.iter().product::<usize>(), "{:?}", mean.shape);
    }
}

/// Reads every tensor of an ONNX model in a folder that does not exist, so without other files.
pub fn onnx(bytes: &[u8]) {
    read_all(bytes, "nowhere/weights.onnx");
}

fn read_all(bytes: &[u8], name: &str) {
    let Ok(mut file) = of_bytes(bytes, Path::new(name)) else { return };
    // The metadata of this program's exports, and the network in it.
    if let Ok(Some(exported)) = Exported::of(&*file) {
        let _ = Fitted::new(&*file, &exported.about.model);
    }
    for index in 0..file.tensors().len() {
        let Ok(values) = file.read(index) else { continue };
        let tensor = &file.tensors()[index];
        assert_eq!(values.len(), tensor.shape.iter().product::<usize>(), "{tensor:?}");
        assert!(
            values.len() <= bytes.len(),
            "{tensor:?} has more elements than the file has bytes"
        );
    }
}
