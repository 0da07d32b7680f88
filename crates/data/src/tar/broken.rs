//! Why an archive is refused, and why a member is passed over.

/// An archive that cannot be read on, and the byte where that shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}, at byte {at}")]
pub struct Broken {
    /// Where, counted as the reader counts.
    pub at: u64,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The archive ends early.
    #[error("the archive is cut off (its last member lacks up to {wanted} bytes)")]
    Truncated {
        /// Bytes that were wanted and of which at least one is missing.
        wanted: u64,
    },
    /// A header's bytes do not add up.
    #[error("this is no tar header: its checksum is wrong")]
    Checksum,
    /// A number that is none.
    #[error("a tar header's {0} is no number")]
    Number(&'static str),
    /// Records of a PAX header that are none.
    #[error("a PAX header's records are broken")]
    Pax,
    /// Something that readers of tar understand in different ways.
    #[error("{0}, which programs read in different ways")]
    Ambiguous(&'static str),
    /// An extended header of unreasonable length.
    #[error("an extended header of {len} bytes, and {longest} are read at most")]
    LongExtension {
        /// Its length in bytes.
        len: u64,
        /// What is read at most.
        longest: u64,
    },
    /// Extended headers upon extended headers.
    #[error("more extended headers in a row than any program writes")]
    TooManyExtensions,
    /// More members than any data set has.
    #[error("more than 16,777,216 headers in one archive")]
    TooManyHeaders,
    /// An extended header with no member after it.
    #[error("the archive ends after an extended header")]
    NothingExtended,
    /// The system could not read it.
    #[error("{0}")]
    Unreadable(String),
}

impl Fault {
    pub(super) fn at(self, at: u64) -> Broken {
        Broken { at, fault: self }
    }
}

/// Why a member was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skip {
    /// A hard or a symbolic link.
    Link,
    /// A device or a pipe.
    Special,
    /// A file with holes.
    Sparse,
    /// An absolute name, or one with `..` in it.
    Outside,
    /// A name that is empty, too long, or of bytes that cannot be shown.
    Name,
    /// A kind that no standard knows.
    Unknown,
    /// Something after the archive's end.
    BeyondEnd,
}

impl Skip {
    /// All reasons, in the order they are told.
    pub const ALL: [Skip; 7] = [
        Skip::Link,
        Skip::Special,
        Skip::Sparse,
        Skip::Outside,
        Skip::Name,
        Skip::Unknown,
        Skip::BeyondEnd,
    ];

    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Skip::Link => "links",
            Skip::Special => "devices or pipes",
            Skip::Sparse => "sparse files",
            Skip::Outside => "names that are absolute or have `..`",
            Skip::Name => "names that cannot be shown",
            Skip::Unknown => "members of an unknown kind",
            Skip::BeyondEnd => "something after the end",
        }
    }
}

/// How many members were passed over, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    counts: [u64; Skip::ALL.len()],
}

impl Skipped {
    /// How many for one reason.
    pub fn count(&self, reason: Skip) -> u64 {
        self.counts[reason as usize]
    }

    /// How many altogether.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn add(&mut self, reason: Skip) {
        self.counts[reason as usize] += 1;
    }

    /// Adds what another archive's walk passed over.
    pub fn merge(&mut self, other: &Skipped) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
    }
}

impl std::fmt::Display for Skipped {
    /// `2 links, 1 sparse files`; empty if nothing was passed over.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let found = Skip::ALL.into_iter().filter(|&reason| self.count(reason) > 0);
        for (position, reason) in found.enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", self.count(reason), reason.in_words())?;
        }
        Ok(())
    }
}
