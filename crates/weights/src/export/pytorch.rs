//! Files of `torch.save` since PyTorch 1.6: a zip archive of a pickle and a file for each storage.
//!
//! The pickle is an `OrderedDict` of tensors, made of what `torch.load(weights_only=True)` accepts.

use super::archive::{self, Entry};
use super::out::{Out, Written};
use super::tensors::ExportTensor;

/// The folder in the archive, as PyTorch calls that of a file without a name.
const FOLDER: &str = "archive";

/// The version of the archive's form.
const VERSION: &str = "3\n";

/// Writes a state dict. The metadata are files beside its pickle, which PyTorch does not read.
pub(super) fn write(
    tensors: &[ExportTensor<'_>],
    metadata: &[(&'static str, String)],
    out: &mut Out<'_>,
) -> Written {
    let name = |name: &str| format!("{FOLDER}/{name}");
    let mut entries = vec![
        Entry::plain(name("data.pkl"), pickle(tensors)),
        Entry::plain(name("byteorder"), "little"),
    ];
    entries.extend(tensors.iter().enumerate().map(|(at, tensor)| {
        let name = name(&format!("data/{at}"));
        Entry { name, start: Vec::new(), tensor: Some(tensor) }
    }));
    entries.push(Entry::plain(name("version"), VERSION));
    let metadata = metadata.iter().map(|(key, text)| Entry::plain(name(key), text.as_bytes()));
    entries.extend(metadata);
    archive::write(&entries, out)
}

/// The pickle, of protocol 2: what `torch.save` makes of a state dict, without its memo.
fn pickle(tensors: &[ExportTensor<'_>]) -> Vec<u8> {
    let mut pickle = Pickle(b"\x80\x02".to_vec());
    pickle.global("collections", "OrderedDict");
    pickle.op(b")R(");
    for (at, tensor) in tensors.iter().enumerate() {
        pickle.text(&tensor.name);
        pickle.global("torch._utils", "_rebuild_tensor_v2");
        // The storage, an object outside the pickle.
        pickle.op(b"((");
        pickle.text("storage");
        pickle.global("torch", "FloatStorage");
        pickle.text(&at.to_string());
        pickle.text("cpu");
        pickle.int(tensor.len());
        pickle.op(b"tQ");
        pickle.int(0); // its first element
        pickle.ints(&tensor.shape);
        pickle.ints(&strides(&tensor.shape));
        pickle.op(b"\x89"); // no gradient, and no hooks
        pickle.global("collections", "OrderedDict");
        pickle.op(b")RtR");
    }
    pickle.op(b"u.");
    pickle.0
}

/// The strides of a tensor without gaps.
fn strides(shape: &[usize]) -> Vec<usize> {
    let inner = |at: usize| shape[at + 1..].iter().product();
    (0..shape.len()).map(inner).collect()
}

struct Pickle(Vec<u8>);

impl Pickle {
    fn op(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    fn global(&mut self, module: &str, name: &str) {
        self.op(format!("c{module}\n{name}\n").as_bytes());
    }

    fn text(&mut self, text: &str) {
        self.op(b"X");
        self.op(&(text.len() as u32).to_le_bytes());
        self.op(text.as_bytes());
    }

    fn int(&mut self, value: usize) {
        match (u8::try_from(value), i32::try_from(value)) {
            (Ok(byte), _) => self.op(&[b'K', byte]),
            (_, Ok(word)) => self.op(&[&b"J"[..], &word.to_le_bytes()].concat()),
            _ => {
                // LONG1 of nine bytes, the last of which keeps it positive.
                self.op(b"\x8a\x09");
                self.op(&(value as u64).to_le_bytes());
                self.op(&[0]);
            }
        }
    }

    fn ints(&mut self, values: &[usize]) {
        self.op(b"(");
        values.iter().for_each(|&value| self.int(value));
        self.op(b"t");
    }
}
