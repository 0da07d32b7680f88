//! Reads untrusted tar archives without unpacking them: the names, offsets and lengths of files.
//!
//! [`TarMembers`] reads the headers and skips the contents, so that a tar of 138 GB costs one small
//! read per file. It supports ustar, GNU's long names, PAX headers (`path` and `size`) and base-256
//! sizes, and verifies every checksum. Only plain files are members: links, devices, sparse files
//! and names that leave the folder are counted in [`SkippedMembers`] and never followed.
//!
//! An archive is rejected where tar implementations are known to disagree, so that all programs
//! see the same content.
//!
//! ```
//! use alexnet_data::tar::{TarMembers, UnusableKind};
//!
//! let mut header = [0; 512];
//! header[..5].copy_from_slice(b"a.txt");
//! header[124..135].copy_from_slice(b"00000000003");
//! header[156] = b'0';
//! header[148..156].fill(b' '); // the checksum is computed with spaces in its place
//! let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
//! header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
//! let archive = [&header[..], b"abc", &[0; 509 + 1024]].concat();
//!
//! let mut members = TarMembers::new(&archive[..], 0..archive.len() as u64);
//! let member = members.next_member()?.expect("one member");
//! assert_eq!((member.name.as_str(), member.offset, member.len), ("a.txt", 512, 3));
//! assert!(members.next_member()?.is_none());
//! assert_eq!(members.skipped().count(UnusableKind::Link), 0);
//! # Ok::<(), alexnet_data::tar::TarError>(())
//! ```

mod error;
mod forward;
mod header;
mod pax;
mod read_at;

pub use error::{SkippedMembers, TarError, TarProblem, UnusableKind};
pub use forward::ForwardReader;
pub use read_at::ReadAt;

use header::{MemberKind, TarHeader};
use std::ops::Range;

/// The block size of tar.
const BLOCK: u64 = 512;
/// The limit of names in bytes; no system opens longer ones.
const LONGEST_NAME: u64 = 4096;
/// The limit of an extended header in bytes; usual ones contain a name and a size.
const LONGEST_PAX: u64 = 64 << 10;
/// The limit of consecutive extended headers.
const MAX_EXTENSIONS: usize = 8;
/// The limit of blocks in the map of a sparse file.
const MAX_SPARSE_BLOCKS: usize = 4096;
/// The limit of headers in an archive, including links and folders.
const MAX_HEADERS: u64 = 1 << 24;
/// GNU tar writes records of this size; the last is padded with zeros.
const RECORD: u64 = 20 * BLOCK;

/// A plain file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarMember {
    /// The path: relative, of printable characters, and without `..`.
    pub name: String,
    /// The offset of the content in the reader.
    pub offset: u64,
    /// The length in bytes.
    pub len: u64,
}

/// An iterator over the plain files of an archive, in its order.
#[derive(Debug)]
pub struct TarMembers<'a, R: ReadAt + ?Sized> {
    reader: &'a R,
    /// The offset of the next header.
    at: u64,
    end: u64,
    headers: u64,
    skipped: SkippedMembers,
    first_skipped: Option<String>,
    done: bool,
}

/// The content of the extended headers before a member.
#[derive(Debug, Default)]
struct Extension {
    /// GNU's long name.
    gnu_name: Option<Vec<u8>>,
    pax: pax::Records,
}

impl<'a, R: ReadAt + ?Sized> TarMembers<'a, R> {
    /// The members of the archive in `range` of `reader`: a whole file, or a member of another
    /// archive. If the length is unknown, the range may end at `u64::MAX`.
    pub fn new(reader: &'a R, range: Range<u64>) -> Self {
        let skipped = SkippedMembers::default();
        let (at, end) = (range.start, range.end);
        TarMembers { reader, at, end, headers: 0, skipped, first_skipped: None, done: false }
    }

    /// The next plain file, or `None` at the end of the archive.
    ///
    /// # Errors
    /// If the archive is damaged or truncated; then there are no further members.
    pub fn next_member(&mut self) -> Result<Option<TarMember>, TarError> {
        if self.done {
            return Ok(None);
        }
        let next = self.advance();
        self.done = !matches!(next, Ok(Some(_)));
        next
    }

    /// The counts of skipped members so far.
    pub fn skipped(&self) -> &SkippedMembers {
        &self.skipped
    }

    /// The unchecked name of the first skipped member.
    pub fn first_skipped(&self) -> Option<&str> {
        self.first_skipped.as_deref()
    }

    /// The offset of the next header, for progress reports.
    pub fn position(&self) -> u64 {
        self.at
    }

    fn advance(&mut self) -> Result<Option<TarMember>, TarError> {
        let mut extension = Extension::default();
        let mut extensions = 0;
        loop {
            let at = self.at;
            let Some(header) = self.header()? else {
                if extensions > 0 {
                    return Err(TarProblem::NothingExtended.at(at));
                }
                self.check_padding()?;
                return Ok(None);
            };
            if matches!(
                header.kind,
                MemberKind::LongName | MemberKind::LongLink | MemberKind::Pax | MemberKind::Global
            ) {
                extensions += 1;
                if extensions > MAX_EXTENSIONS {
                    return Err(TarProblem::TooManyExtensions.at(at));
                }
                self.extend(&header, at, &mut extension)?;
            } else if let Some(member) = self.member(&header, at, &mut extension)? {
                return Ok(Some(member));
            } else {
                // Extended headers of a skipped member do not apply to the next one.
                (extension, extensions) = (Extension::default(), 0);
            }
        }
    }

    /// Reads the next header; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<TarHeader>, TarError> {
        let at = self.at;
        let mut block = [0; BLOCK as usize];
        self.read(&mut block)?;
        if block == [0; BLOCK as usize] {
            return Ok(None);
        }
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            return Err(TarProblem::TooManyHeaders.at(at));
        }
        TarHeader::parse(&block).map(Some).map_err(|problem| problem.at(at))
    }

    /// Reads an extended header. A PAX size applies to the member, not to further headers.
    fn extend(
        &mut self,
        header: &TarHeader,
        at: u64,
        known: &mut Extension,
    ) -> Result<(), TarError> {
        let longest = match header.kind {
            MemberKind::LongName | MemberKind::LongLink => LONGEST_NAME + 1,
            _ => LONGEST_PAX,
        };
        if header.size > longest {
            return Err(TarProblem::LongExtension { len: header.size, longest }.at(at));
        }
        let mut contents = vec![0; header.size as usize];
        let start = self.at;
        self.read(&mut contents)?;
        self.at = start.saturating_add(header.size.next_multiple_of(BLOCK));
        match header.kind {
            MemberKind::LongName => {
                let end = contents.iter().position(|&byte| byte == 0).unwrap_or(contents.len());
                contents.truncate(end);
                if known.gnu_name.replace(contents).is_some() {
                    return Err(TarProblem::Ambiguous("two long names for one member").at(at));
                }
            }
            MemberKind::Pax => {
                let records = pax::parse(&contents).map_err(|problem| problem.at(at))?;
                known.pax.add(records).map_err(|problem| problem.at(at))?;
            }
            MemberKind::Global => {
                // A comment, such as git's, is allowed; a name or size for all members is an
                // attack.
                let records = pax::parse(&contents).map_err(|problem| problem.at(at))?;
                if records != pax::Records::default() {
                    return Err(TarProblem::Ambiguous("a name or size for all members").at(at));
                }
            }
            _ => {} // link targets are not needed
        }
        Ok(())
    }

    /// Skips a member's content. Returns the member if it is a plain file with a usable name.
    fn member(
        &mut self,
        header: &TarHeader,
        at: u64,
        known: &mut Extension,
    ) -> Result<Option<TarMember>, TarError> {
        let size = known.pax.size.unwrap_or(header.size);
        // Programs without PAX support use the header's size, which is zero or equal in archives of
        // well-behaved programs.
        if header.size != 0 && header.size != size {
            return Err(TarProblem::Ambiguous("two different sizes").at(at));
        }
        if known.pax.path.is_some() && known.gnu_name.is_some() {
            return Err(TarProblem::Ambiguous("a GNU and a PAX name").at(at));
        }
        let name = known.pax.path.take().or(known.gnu_name.take());
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| header.name.clone());
        // Old archives mark folders only by a trailing slash.
        let folder = header.kind == MemberKind::Folder
            || (header.kind == MemberKind::File && name.ends_with(b"/"));
        if size != 0 && (folder || matches!(header.kind, MemberKind::Link | MemberKind::Special)) {
            // Some programs skip the content, others parse it as the next header.
            return Err(TarProblem::Ambiguous("a link, device or folder with contents").at(at));
        }
        if header.sparse_continues {
            self.skip_sparse_map()?;
        }
        let offset = self.at;
        let padded = size.checked_next_multiple_of(BLOCK).and_then(|len| offset.checked_add(len));
        let after = padded.filter(|_| offset + size <= self.end);
        self.at = after.ok_or_else(|| TarProblem::Truncated { wanted: size }.at(self.end))?;
        if folder {
            return Ok(None);
        }
        let unusable = match header.kind {
            _ if known.pax.sparse => Some(UnusableKind::Sparse),
            MemberKind::File => None,
            MemberKind::Link => Some(UnusableKind::Link),
            MemberKind::Special => Some(UnusableKind::Special),
            MemberKind::Sparse => Some(UnusableKind::Sparse),
            _ => Some(UnusableKind::Unknown),
        };
        match unusable.map_or_else(|| usable_name(&name), Err) {
            Ok(name) => Ok(Some(TarMember { name, offset, len: size })),
            Err(reason) => {
                self.skipped.add(reason);
                let shown = || String::from_utf8_lossy(&name).chars().take(200).collect();
                self.first_skipped.get_or_insert_with(shown);
                Ok(None)
            }
        }
    }

    /// Skips the additional header blocks of GNU's old sparse format.
    fn skip_sparse_map(&mut self) -> Result<(), TarError> {
        for _ in 0..MAX_SPARSE_BLOCKS {
            let mut block = [0; BLOCK as usize];
            self.read(&mut block)?;
            if block[504] == 0 {
                return Ok(());
            }
        }
        Err(TarProblem::TooManyExtensions.at(self.at))
    }

    /// Checks that the rest of the last record is zero; another archive there would be missed.
    fn check_padding(&mut self) -> Result<(), TarError> {
        let record_end = self.at.next_multiple_of(BLOCK).saturating_add(RECORD).min(self.end);
        while self.at < record_end {
            let mut block = [0; BLOCK as usize];
            match self.read(&mut block) {
                Ok(()) if block == [0; BLOCK as usize] => {}
                Ok(()) => {
                    self.skipped.add(UnusableKind::BeyondEnd);
                    break;
                }
                // The end marker was read: only padding is missing.
                Err(TarError { problem: TarProblem::Truncated { .. }, .. }) => break,
                Err(broken) => return Err(broken),
            }
        }
        Ok(())
    }

    /// Fills `bytes` from the current offset, and advances.
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), TarError> {
        let mut filled = 0;
        while filled < bytes.len() {
            let at = self.at.saturating_add(filled as u64);
            let left = self.end.saturating_sub(at).min((bytes.len() - filled) as u64) as usize;
            let wanted = (bytes.len() - filled) as u64;
            if left == 0 {
                // Padding before this offset may be missing, too.
                return Err(TarProblem::Truncated { wanted }.at(at.min(self.end)));
            }
            match self.reader.read_at(&mut bytes[filled..filled + left], at) {
                Ok(0) => return Err(TarProblem::Truncated { wanted }.at(at)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarProblem::Unreadable(error.to_string()).at(at)),
            }
        }
        self.at += filled as u64;
        Ok(())
    }
}

impl<R: ReadAt + ?Sized> Iterator for TarMembers<'_, R> {
    type Item = Result<TarMember, TarError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_member().transpose()
    }
}

/// Checks that a name is printable and stays below its folder.
fn usable_name(name: &[u8]) -> Result<String, UnusableKind> {
    let name = std::str::from_utf8(name).map_err(|_| UnusableKind::Name)?;
    let unprintable = name.is_empty() || name.chars().any(char::is_control);
    if unprintable || name.len() as u64 > LONGEST_NAME {
        return Err(UnusableKind::Name);
    }
    if name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return Err(UnusableKind::Outside);
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests;
