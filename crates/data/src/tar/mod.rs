//! Where the files of a tar archive lie, for archives that come from strangers; nothing is ever
//! unpacked.
//!
//! [`Members`] walks from header to header and steps over what lies between, so that a tar of
//! 138 GB costs one small read a file. Read are ustar, GNU's long names, PAX headers (`path` and
//! `size`) and sizes in base 256; every checksum is compared. Only plain files are members: links,
//! devices, sparse files and names that leave the folder are counted in [`Skipped`] and never
//! followed.
//!
//! Where readers of tar are known to disagree about what comes next, the archive is refused: what
//! one program sees in it must be what all see.
//!
//! ```
//! use alexnet_data::tar::{Members, Skip};
//!
//! let mut header = [0; 512];
//! header[..5].copy_from_slice(b"a.txt");
//! header[124..135].copy_from_slice(b"00000000003");
//! header[156] = b'0';
//! header[148..156].fill(b' '); // the checksum is taken with spaces in its place
//! let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
//! header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
//! let archive = [&header[..], b"abc", &[0; 509 + 1024]].concat();
//!
//! let mut members = Members::new(&archive[..], 0..archive.len() as u64);
//! let member = members.next_member()?.expect("one member");
//! assert_eq!((member.name.as_str(), member.offset, member.len), ("a.txt", 512, 3));
//! assert!(members.next_member()?.is_none());
//! assert_eq!(members.skipped().count(Skip::Link), 0);
//! # Ok::<(), alexnet_data::tar::Broken>(())
//! ```

mod broken;
mod forward;
mod header;
mod pax;
mod read_at;

pub use broken::{Broken, Fault, Skip, Skipped};
pub use forward::Forward;
pub use read_at::ReadAt;

use header::{Header, Kind};
use std::ops::Range;

/// Everything in a tar begins at a multiple of this.
const BLOCK: u64 = 512;
/// Names longer than this are longer than any system opens.
const LONGEST_NAME: u64 = 4096;
/// Extended headers longer than this are refused: ours hold a name and a size.
const LONGEST_PAX: u64 = 64 << 10;
/// Extended headers in a row before one member.
const MOST_EXTENSIONS: usize = 8;
/// Blocks that say where the holes of a sparse file are.
const MOST_SPARSE_BLOCKS: usize = 4096;
/// Headers in one archive, links and folders among them.
const MOST_HEADERS: u64 = 1 << 24;
/// GNU tar writes whole records of so many bytes; the last is filled up with zeros.
const RECORD: u64 = 20 * BLOCK;

/// A plain file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path: relative, of printable characters, and without `..`.
    pub name: String,
    /// Its first byte, counted as the reader counts.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

/// The plain files of an archive, in its order.
#[derive(Debug)]
pub struct Members<'a, R: ReadAt + ?Sized> {
    reader: &'a R,
    /// Where the next header is expected.
    at: u64,
    end: u64,
    headers: u64,
    skipped: Skipped,
    first_skipped: Option<String>,
    done: bool,
}

/// What extended headers say about the member after them.
#[derive(Debug, Default)]
struct Extension {
    /// GNU's long name.
    gnu_name: Option<Vec<u8>>,
    pax: pax::Records,
}

impl<'a, R: ReadAt + ?Sized> Members<'a, R> {
    /// The members of the archive that takes up `range` of `reader`: all of a file, or a member of
    /// another archive. Where the end is not known, `u64::MAX` will do.
    pub fn new(reader: &'a R, range: Range<u64>) -> Self {
        let skipped = Skipped::default();
        let (at, end) = (range.start, range.end);
        Members { reader, at, end, headers: 0, skipped, first_skipped: None, done: false }
    }

    /// The next plain file, or nothing at the archive's end.
    ///
    /// # Errors
    /// If the archive is broken or cut off; there are no members after that.
    pub fn next_member(&mut self) -> Result<Option<Member>, Broken> {
        if self.done {
            return Ok(None);
        }
        let next = self.advance();
        self.done = !matches!(next, Ok(Some(_)));
        next
    }

    /// What has been passed over so far.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// The name of the first member that was passed over; its bytes may be anything.
    pub fn first_skipped(&self) -> Option<&str> {
        self.first_skipped.as_deref()
    }

    /// Where the next header is expected: how far the walk has come.
    pub fn position(&self) -> u64 {
        self.at
    }

    fn advance(&mut self) -> Result<Option<Member>, Broken> {
        let mut extension = Extension::default();
        let mut extensions = 0;
        loop {
            let at = self.at;
            let Some(header) = self.header()? else {
                if extensions > 0 {
                    return Err(Fault::NothingExtended.at(at));
                }
                self.look_beyond()?;
                return Ok(None);
            };
            if matches!(header.kind, Kind::LongName | Kind::LongLink | Kind::Pax | Kind::Global) {
                extensions += 1;
                if extensions > MOST_EXTENSIONS {
                    return Err(Fault::TooManyExtensions.at(at));
                }
                self.extend(&header, at, &mut extension)?;
            } else if let Some(member) = self.member(&header, at, &mut extension)? {
                return Ok(Some(member));
            } else {
                // What was said, was said about the one that has been passed over.
                (extension, extensions) = (Extension::default(), 0);
            }
        }
    }

    /// The header at the present place; nothing at the archive's end.
    fn header(&mut self) -> Result<Option<Header>, Broken> {
        let at = self.at;
        let mut block = [0; BLOCK as usize];
        self.read(&mut block)?;
        if block == [0; BLOCK as usize] {
            return Ok(None);
        }
        self.headers += 1;
        if self.headers > MOST_HEADERS {
            return Err(Fault::TooManyHeaders.at(at));
        }
        Header::parse(&block).map(Some).map_err(|fault| fault.at(at))
    }

    /// Reads the contents of an extended header. A PAX size is for the member, never for these.
    fn extend(&mut self, header: &Header, at: u64, known: &mut Extension) -> Result<(), Broken> {
        let longest = match header.kind {
            Kind::LongName | Kind::LongLink => LONGEST_NAME + 1,
            _ => LONGEST_PAX,
        };
        if header.size > longest {
            return Err(Fault::LongExtension { len: header.size, longest }.at(at));
        }
        let mut contents = vec![0; header.size as usize];
        let start = self.at;
        self.read(&mut contents)?;
        self.at = start.saturating_add(header.size.next_multiple_of(BLOCK));
        match header.kind {
            Kind::LongName => {
                let end = contents.iter().position(|&byte| byte == 0).unwrap_or(contents.len());
                contents.truncate(end);
                if known.gnu_name.replace(contents).is_some() {
                    return Err(Fault::Ambiguous("two long names for one member").at(at));
                }
            }
            Kind::Pax => {
                let records = pax::parse(&contents).map_err(|fault| fault.at(at))?;
                known.pax.add(records).map_err(|fault| fault.at(at))?;
            }
            Kind::Global => {
                // A comment, such as git's, may stand here; a name or a size for all is a trick.
                let records = pax::parse(&contents).map_err(|fault| fault.at(at))?;
                if records != pax::Records::default() {
                    return Err(Fault::Ambiguous("a name or size for all members").at(at));
                }
            }
            _ => {} // where a link leads is nothing to us
        }
        Ok(())
    }

    /// Steps over a member's contents. Returns it, if it is a plain file of a usable name.
    fn member(
        &mut self,
        header: &Header,
        at: u64,
        known: &mut Extension,
    ) -> Result<Option<Member>, Broken> {
        let size = known.pax.size.unwrap_or(header.size);
        // Programs that know nothing of PAX would go by the header's size, which is zero or the
        // same if an honest program wrote it.
        if header.size != 0 && header.size != size {
            return Err(Fault::Ambiguous("two different sizes").at(at));
        }
        if known.pax.path.is_some() && known.gnu_name.is_some() {
            return Err(Fault::Ambiguous("a GNU and a PAX name").at(at));
        }
        let name = known.pax.path.take().or(known.gnu_name.take());
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| header.name.clone());
        // Old archives mark a folder by its name alone.
        let folder =
            header.kind == Kind::Folder || (header.kind == Kind::File && name.ends_with(b"/"));
        if size != 0 && (folder || matches!(header.kind, Kind::Link | Kind::Special)) {
            // Some programs step over so many bytes, others take them for the next header.
            return Err(Fault::Ambiguous("a link, device or folder with contents").at(at));
        }
        if header.sparse_continues {
            self.pass_sparse_map()?;
        }
        let offset = self.at;
        let padded = size.checked_next_multiple_of(BLOCK).and_then(|len| offset.checked_add(len));
        let after = padded.filter(|_| offset + size <= self.end);
        self.at = after.ok_or_else(|| Fault::Truncated { wanted: size }.at(self.end))?;
        if folder {
            return Ok(None);
        }
        let unusable = match header.kind {
            _ if known.pax.sparse => Some(Skip::Sparse),
            Kind::File => None,
            Kind::Link => Some(Skip::Link),
            Kind::Special => Some(Skip::Special),
            Kind::Sparse => Some(Skip::Sparse),
            _ => Some(Skip::Unknown),
        };
        match unusable.map_or_else(|| usable_name(&name), Err) {
            Ok(name) => Ok(Some(Member { name, offset, len: size })),
            Err(reason) => {
                self.skipped.add(reason);
                let shown = || String::from_utf8_lossy(&name).chars().take(200).collect();
                self.first_skipped.get_or_insert_with(shown);
                Ok(None)
            }
        }
    }

    /// GNU's old sparse files have more blocks between header and contents.
    fn pass_sparse_map(&mut self) -> Result<(), Broken> {
        for _ in 0..MOST_SPARSE_BLOCKS {
            let mut block = [0; BLOCK as usize];
            self.read(&mut block)?;
            if block[504] == 0 {
                return Ok(());
            }
        }
        Err(Fault::TooManyExtensions.at(self.at))
    }

    /// What follows the end within its record should be zeros; if it is another archive, somebody
    /// will miss what is in it.
    fn look_beyond(&mut self) -> Result<(), Broken> {
        let record_end = self.at.next_multiple_of(BLOCK).saturating_add(RECORD).min(self.end);
        while self.at < record_end {
            let mut block = [0; BLOCK as usize];
            match self.read(&mut block) {
                Ok(()) if block == [0; BLOCK as usize] => {}
                Ok(()) => {
                    self.skipped.add(Skip::BeyondEnd);
                    break;
                }
                // The end has been seen: what lacks here is padding.
                Err(Broken { fault: Fault::Truncated { .. }, .. }) => break,
                Err(broken) => return Err(broken),
            }
        }
        Ok(())
    }

    /// Fills `bytes` from the present place, and moves on.
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), Broken> {
        let mut filled = 0;
        while filled < bytes.len() {
            let at = self.at.saturating_add(filled as u64);
            let left = self.end.saturating_sub(at).min((bytes.len() - filled) as u64) as usize;
            let wanted = (bytes.len() - filled) as u64;
            if left == 0 {
                // Even the padding before this place may be lacking.
                return Err(Fault::Truncated { wanted }.at(at.min(self.end)));
            }
            match self.reader.read_at(&mut bytes[filled..filled + left], at) {
                Ok(0) => return Err(Fault::Truncated { wanted }.at(at)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::Unreadable(error.to_string()).at(at)),
            }
        }
        self.at += filled as u64;
        Ok(())
    }
}

impl<R: ReadAt + ?Sized> Iterator for Members<'_, R> {
    type Item = Result<Member, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_member().transpose()
    }
}

/// A name that can be shown, and that stays below the folder it is put in.
fn usable_name(name: &[u8]) -> Result<String, Skip> {
    let name = std::str::from_utf8(name).map_err(|_| Skip::Name)?;
    let unprintable = name.is_empty() || name.chars().any(char::is_control);
    if unprintable || name.len() as u64 > LONGEST_NAME {
        return Err(Skip::Name);
    }
    if name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return Err(Skip::Outside);
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests;
