//! The records of a PAX header: `LENGTH KEY=VALUE\n`.

use super::TarProblem;

/// The records that are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    /// The full name of the member.
    pub(super) path: Option<Vec<u8>>,
    /// The length of the member in bytes.
    pub(super) size: Option<u64>,
    /// Whether it is a sparse file in one of GNU's PAX formats.
    pub(super) sparse: bool,
}

impl Records {
    /// Adds the records of another header for the same member; duplicates are rejected.
    pub(super) fn add(&mut self, other: Records) -> Result<(), TarProblem> {
        let twice = (self.path.is_some() && other.path.is_some())
            || (self.size.is_some() && other.size.is_some());
        if twice {
            return Err(TWICE);
        }
        self.path = self.path.take().or(other.path);
        self.size = self.size.or(other.size);
        self.sparse |= other.sparse;
        Ok(())
    }
}

const TWICE: TarProblem = TarProblem::Ambiguous("a name or size given twice");

/// Parses all records of a header.
pub(super) fn parse(mut rest: &[u8]) -> Result<Records, TarProblem> {
    let mut records = Records::default();
    // Some writers pad the header with zeros.
    while rest.first().is_some_and(|&byte| byte != 0) {
        let (key, value);
        (key, value, rest) = record(rest).ok_or(TarProblem::Pax)?;
        let mut one = Records::default();
        match key {
            b"path" => one.path = Some(value.to_vec()),
            b"size" => one.size = Some(decimal(value).ok_or(TarProblem::Number("size"))?),
            _ => one.sparse = key.starts_with(b"GNU.sparse."),
        }
        records.add(one)?;
    }
    if rest.iter().all(|&byte| byte == 0) { Ok(records) } else { Err(TarProblem::Pax) }
}

/// The key and value of the first record, and the rest.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
    let len = usize::try_from(decimal(&bytes[..space])?).ok()?;
    // The length includes itself and the newline at the end.
    let body = bytes.get(space + 1..len)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    Some((&body[..equals], &body[equals + 1..], &bytes[len..]))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None; // `parse` accepts a plus sign
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_records_are_read_and_others_ignored() {
        let text = b"13 path=a/\xff\n\n30 mtime=1350244992.023960108\n12 size=345\n\0\0\0";
        let records = parse(text).unwrap();
        let wanted = Records { path: Some(b"a/\xff\n".to_vec()), size: Some(345), sparse: false };
        assert_eq!(records, wanted);
        assert!(parse(b"22 GNU.sparse.major=1\n").unwrap().sparse);
        assert_eq!(parse(b"").unwrap(), Records::default());
    }

    #[test]
    fn invalid_records_are_rejected() {
        for text in [
            &b"12 size=34\n"[..],
            b"999999999999999999999 a=b\n",
            b"18446744073709551615 a=b\n",
            b"5 a=b\n",
            b"0 a=b\n",
            b"6 a\xffb\n",
            b"+9 path=a\n",
            b" 9 path=a\n",
            b"9 path=a\n\0x",
        ] {
            assert_eq!(parse(text), Err(TarProblem::Pax), "{text:?}");
        }
        for text in [&b"9 size=-1\n"[..], b"10 size=+1\n", b"9 size= 1\n", b"8 size=\n"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(parse(b"10 size=1\n10 size=2\n"), Err(TWICE));
    }
}
