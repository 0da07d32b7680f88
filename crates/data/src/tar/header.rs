//! A header block of 512 bytes.

use super::TarProblem;

/// The kind of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    Folder,
    Link,
    Special,
    /// GNU's old format; newer formats use PAX records.
    Sparse,
    /// GNU: the name of the next member.
    LongName,
    /// GNU: the link target of the next member.
    LongLink,
    /// PAX records for the next member.
    Pax,
    /// PAX records for all members.
    Global,
    Unknown,
}

/// The fields of a header that are needed.
#[derive(Debug)]
pub(super) struct TarHeader {
    pub(super) kind: MemberKind,
    /// The name with its prefix, without terminating zeros.
    pub(super) name: Vec<u8>,
    /// The length of the content in bytes.
    pub(super) size: u64,
    /// Whether another block of a sparse file's map follows.
    pub(super) sparse_continues: bool,
}

impl TarHeader {
    pub(super) fn parse(block: &[u8; 512]) -> Result<TarHeader, TarProblem> {
        check_sum(block)?;
        let kind = match block[156] {
            b'0' | 0 | b'7' => MemberKind::File,
            b'1' | b'2' => MemberKind::Link,
            b'3' | b'4' | b'6' => MemberKind::Special,
            b'5' => MemberKind::Folder,
            b'S' => MemberKind::Sparse,
            b'L' => MemberKind::LongName,
            b'K' => MemberKind::LongLink,
            b'x' => MemberKind::Pax,
            b'g' => MemberKind::Global,
            _ => MemberKind::Unknown,
        };
        let mut name = until_zero(&block[..100]).to_vec();
        // GNU's magic ends in a space, and its headers have times and holes in the prefix field.
        let prefix = until_zero(&block[345..500]);
        if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        let size = number(&block[124..136]).ok_or(TarProblem::Number("size"))?;
        let sparse_continues = kind == MemberKind::Sparse && block[482] != 0;
        Ok(TarHeader { kind, name, size, sparse_continues })
    }
}

/// Verifies the sum of all bytes, with spaces in place of the checksum. Some old programs summed
/// signed bytes.
fn check_sum(block: &[u8; 512]) -> Result<(), TarProblem> {
    let recorded = number(&block[148..156]).ok_or(TarProblem::Checksum)?;
    let counted =
        |position: usize, byte: u8| if (148..156).contains(&position) { b' ' } else { byte };
    let bytes = || block.iter().enumerate().map(|(position, &byte)| counted(position, byte));
    let unsigned: u64 = bytes().map(u64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte as i8)).sum();
    let right = recorded == unsigned || i64::try_from(recorded) == Ok(signed);
    right.then_some(()).ok_or(TarProblem::Checksum)
}

fn until_zero(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|&byte| byte == 0).unwrap_or(field.len())]
}

/// Parses octal digits between spaces and zeros; or base 256, if the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        // The first byte is 0x80: other values are negative or exceed 64 bits.
        let digits = (field[0] == 0x80).then_some(&field[1..])?;
        return digits.iter().try_fold(0u64, |value, &digit| {
            value.checked_mul(256).map(|value| value | u64::from(digit))
        });
    }
    let start = field.iter().position(|&byte| byte != b' ').unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(|&byte| byte == 0 || byte == b' ').unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if rest.iter().any(|&byte| byte != 0 && byte != b' ') {
        return None; // `12 34`: programs disagree on the value
    }
    digits.iter().try_fold(0u64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8).map(|value| value | u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, value) in [
            (&b"00000001750\0"[..], Some(1000)),
            (b"  17 \0\0\0\0\0\0\0", Some(15)),
            (b"777777777777", Some((1 << 36) - 1)),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Some(0)),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\x05", Some((2 << 32) + 5)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", Some(u64::MAX)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x81\0\0\0\0\0\0\0\0\0\0\0", None),
            (b"00000008\0\0\0\0", None),
            (b"-0000000001\0", None),
            (b"12 34\0\0\0\0\0\0\0", None),
            (b"12\x0034\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
