//! NumPy's array files.

/// The beginning of a `.npy` file, version 1 of NumPy's format: a header in Python's syntax, padded so
/// that the values, of type `kind` (`<f4`), begin at a multiple of 64 bytes.
pub fn npy_header(kind: &str, shape: &[usize]) -> Vec<u8> {
    let shape = match shape {
        [only] => format!("{only},"),
        _ => shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    };
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 11;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((padded as u16 + 1).to_le_bytes());
    bytes.extend(format!("{header:padded$}\n").as_bytes());
    bytes
}
