//! The members of a tar file, by a walk along its headers.

use crate::{Error, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const BLOCK: u64 = 512;
/// A long name or a list of attributes is not longer than this.
const LONGEST_EXTRA: u64 = 1 << 16;

/// A file inside a tar file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// Calls `each` with every regular file of a tar file, in order. USTAR, GNU's long names and sizes,
/// and PAX's `path` and `size` are understood; links, folders and devices are stepped over.
pub(super) fn walk(
    file: &File,
    path: &Path,
    each: &mut dyn FnMut(Member) -> Result<()>,
) -> Result<()> {
    let io = |error: std::io::Error| Error::io(path, &error);
    let wrong =
        |at: u64, what: &str| Error::layout(path, format!("byte {at}: {what}"), "fetch it again");
    let file_len = file.metadata().map_err(io)?.len();
    let (mut at, mut name, mut size) = (0, None::<String>, None::<u64>);
    let mut header = [0; BLOCK as usize];
    while at + BLOCK <= file_len {
        file.read_exact_at(&mut header, at).map_err(io)?;
        if header.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        if !checksum_agrees(&header) {
            return Err(wrong(at, "no tar header (a compressed archive?)"));
        }
        let kind = header[156];
        let stated = number(&header[124..136]).ok_or_else(|| wrong(at, "no size"))?;
        let is_extra = matches!(kind, b'L' | b'K' | b'x' | b'g');
        let len = size.filter(|_| !is_extra).unwrap_or(stated);
        let offset = at + BLOCK;
        let end = offset.checked_add(len).filter(|&end| end <= file_len);
        let end = end.ok_or_else(|| wrong(at, "the archive ends in the middle of a file"))?;
        if is_extra && len > LONGEST_EXTRA {
            return Err(wrong(at, "a name or attributes beyond all measure"));
        }
        match kind {
            b'L' | b'x' => {
                let mut extra = vec![0; len as usize];
                file.read_exact_at(&mut extra, offset).map_err(io)?;
                if kind == b'L' {
                    name = Some(text(&extra));
                } else {
                    attributes(&extra, &mut name, &mut size);
                }
            }
            b'K' | b'g' => {}
            _ => {
                let name = name.take().unwrap_or_else(|| ustar_name(&header));
                size = None;
                if matches!(kind, b'0' | 0 | b'7') && !name.ends_with('/') {
                    each(Member { name, offset, len })?;
                }
            }
        }
        at = end.next_multiple_of(BLOCK);
    }
    Ok(())
}

fn checksum_agrees(header: &[u8; BLOCK as usize]) -> bool {
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    let field: u64 = header[148..156].iter().map(|&byte| u64::from(byte)).sum();
    number(&header[148..156]) == Some(sum - field + 8 * u64::from(b' '))
}

/// Octal digits; or, if the first bit is set, GNU's binary number.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let first = u64::from(field[0] & 0x7F);
        return field[1..].iter().try_fold(first, |value, &byte| {
            (value < 1 << 55).then_some(value << 8 | u64::from(byte))
        });
    }
    let digits = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(digits, 8).ok()
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn ustar_name(header: &[u8]) -> String {
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    match &header[257..263] == b"ustar\0" && !prefix.is_empty() {
        true => format!("{prefix}/{name}"),
        false => name,
    }
}

/// PAX: lines of `length key=value`.
fn attributes(mut lines: &[u8], name: &mut Option<String>, size: &mut Option<u64>) {
    while let Some(space) = lines.iter().position(|&byte| byte == b' ') {
        let length =
            std::str::from_utf8(&lines[..space]).ok().and_then(|digits| digits.parse().ok());
        let Some(length) = length.filter(|length| (space + 2..=lines.len()).contains(length))
        else {
            return;
        };
        let line = String::from_utf8_lossy(&lines[space + 1..length - 1]).into_owned();
        match line.split_once('=') {
            Some(("path", value)) => *name = Some(value.to_owned()),
            Some(("size", value)) => *size = value.parse().ok().or(*size),
            _ => {}
        }
        lines = &lines[length..];
    }
}
