//! Why an archive is rejected, and why a member is skipped.

/// A problem in an archive with its offset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}, at byte {at}")]
pub struct TarError {
    /// The offset in the reader.
    pub at: u64,
    /// The problem.
    pub problem: TarProblem,
}

/// A problem in an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TarProblem {
    /// The archive is truncated.
    #[error("the archive is truncated (its last member lacks up to {wanted} bytes)")]
    Truncated {
        /// The length that was read for; at least one of its bytes is missing.
        wanted: u64,
    },
    /// A wrong checksum.
    #[error("this is not a tar header: its checksum is wrong")]
    Checksum,
    /// An invalid number.
    #[error("a tar header's {0} is not a number")]
    Number(&'static str),
    /// Invalid PAX records.
    #[error("a PAX header's records are invalid")]
    Pax,
    /// Something that tar implementations read in different ways.
    #[error("{0}, which programs read in different ways")]
    Ambiguous(&'static str),
    /// An extended header above the limit.
    #[error("an extended header of {len} bytes exceeds the limit of {longest}")]
    LongExtension {
        /// The length in bytes.
        len: u64,
        /// The limit.
        longest: u64,
    },
    /// Too many extended headers for one member.
    #[error("too many consecutive extended headers")]
    TooManyExtensions,
    /// More headers than the limit.
    #[error("more than 16,777,216 headers in one archive")]
    TooManyHeaders,
    /// An extended header without a member after it.
    #[error("the archive ends after an extended header")]
    NothingExtended,
    /// The archive cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

impl TarProblem {
    pub(super) fn at(self, at: u64) -> TarError {
        TarError { at, problem: self }
    }
}

/// Why a member is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnusableKind {
    /// A hard or a symbolic link.
    Link,
    /// A device or a pipe.
    Special,
    /// A sparse file.
    Sparse,
    /// An absolute name, or one with `..`.
    Outside,
    /// A name that is empty, too long, or not printable.
    Name,
    /// A member of a nonstandard kind.
    Unknown,
    /// Data after the end of the archive.
    BeyondEnd,
}

impl UnusableKind {
    /// All kinds, in the order of messages.
    pub const ALL: [UnusableKind; 7] = [
        UnusableKind::Link,
        UnusableKind::Special,
        UnusableKind::Sparse,
        UnusableKind::Outside,
        UnusableKind::Name,
        UnusableKind::Unknown,
        UnusableKind::BeyondEnd,
    ];

    pub(crate) fn description(self) -> &'static str {
        match self {
            UnusableKind::Link => "links",
            UnusableKind::Special => "devices or pipes",
            UnusableKind::Sparse => "sparse files",
            UnusableKind::Outside => "absolute names or names with `..`",
            UnusableKind::Name => "unprintable names",
            UnusableKind::Unknown => "members of an unknown kind",
            UnusableKind::BeyondEnd => "data after the end",
        }
    }
}

/// Counts of skipped members by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SkippedMembers {
    counts: [u64; UnusableKind::ALL.len()],
}

impl SkippedMembers {
    /// The number of members of a kind.
    pub fn count(&self, reason: UnusableKind) -> u64 {
        self.counts[reason as usize]
    }

    /// The number of all skipped members.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn add(&mut self, reason: UnusableKind) {
        self.counts[reason as usize] += 1;
    }

    /// Adds the counts of another archive.
    pub fn merge(&mut self, other: &SkippedMembers) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
    }
}

impl std::fmt::Display for SkippedMembers {
    /// For example `2 links, 1 sparse files`; empty if nothing was skipped.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let found = UnusableKind::ALL.into_iter().filter(|&reason| self.count(reason) > 0);
        for (position, reason) in found.enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", self.count(reason), reason.description())?;
        }
        Ok(())
    }
}
