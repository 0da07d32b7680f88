//! The headers of NumPy's `.npy` files.

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// What a header says of an array.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NpyHeader {
    /// The type of the elements: `<f4`.
    pub descr: String,
    /// Whether the first dimension is the fastest.
    pub fortran: bool,
    /// The extents, outermost first.
    pub shape: Vec<usize>,
    /// Bytes before the elements.
    pub bytes: usize,
}

impl NpyHeader {
    /// The header that begins a file: magic, version, the header's length, a header in Python's
    /// syntax. `None` if there is none, or of a version after 3.
    pub fn parse(file: &[u8]) -> Option<NpyHeader> {
        let (before, length) = match file.strip_prefix(MAGIC)? {
            [1, _, low, high, ..] => (10, usize::from(u16::from_le_bytes([*low, *high]))),
            [2 | 3, _, a, b, c, d, ..] => (12, u32::from_le_bytes([*a, *b, *c, *d]) as usize),
            _ => return None,
        };
        let bytes = before + length;
        let text = std::str::from_utf8(file.get(before..bytes)?).ok()?;
        let (descr, _) = after(text, "'descr':")?.strip_prefix('\'')?.split_once('\'')?;
        let fortran = after(text, "'fortran_order':")?.starts_with("True");
        let (extents, _) = after(text, "'shape':")?.strip_prefix('(')?.split_once(')')?;
        let extents = extents.split(',').map(str::trim).filter(|extent| !extent.is_empty());
        let shape = extents.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(NpyHeader { descr: descr.to_string(), fortran, shape, bytes })
    }
}

/// What follows a key of the header.
fn after<'h>(header: &'h str, key: &str) -> Option<&'h str> {
    Some(header.split_once(key)?.1.trim_start())
}
