//! Rows of parquet files, whose groups are decoded on demand.
//!
//! Single values of a parquet file cannot be read, because pages contain many of them and are
//! compressed. So a whole row group is decoded (a hundred images in Hugging Face's files), and the
//! last groups are cached for sequential reading.

use super::label::{MAX_ROWS, RowLabel};
use super::schema::LeafColumn;
use crate::bounded;
use crate::{Error, Result};
use bytes::Bytes;
use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, FileReader, Length};
use parquet::file::serialized_reader::SerializedFileReader;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// The limit of the images in a row group, in bytes.
const LONGEST_GROUP: i64 = 2 << 30;
/// The limits of cached groups: their number, and their bytes (except the last one's).
const KEPT_GROUPS: usize = 16;
const KEPT_BYTES: usize = 1 << 30;

/// An open parquet file.
pub(crate) struct ParquetFile {
    path: PathBuf,
    reader: SerializedFileReader<SharedFile>,
}

/// A file with positioned reads from any thread.
#[derive(Clone)]
struct SharedFile {
    file: Arc<File>,
    len: u64,
}

struct FileCursor {
    pieces: SharedFile,
    at: u64,
}

impl Read for FileCursor {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.pieces.file.read_at(bytes, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Length for SharedFile {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for SharedFile {
    type T = BufReader<FileCursor>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(BufReader::new(FileCursor { pieces: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        // The stated length is checked before memory is allocated.
        if start.checked_add(length as u64).is_none_or(|end| end > self.len) {
            let problem = format!("{length} bytes from byte {start} on, of {}", self.len);
            return Err(ParquetError::EOF(problem));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// Runs `read` and turns a panic of the decoder into an error.
fn guarded<T>(read: impl FnOnce() -> ParquetResult<T>) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the decoder of parquet files panicked".to_owned()),
    }
}

impl ParquetFile {
    pub(super) fn open(path: &Path) -> Result<ParquetFile> {
        let io = |error| Error::io(path, &error);
        let (file, len) = bounded::open(path).map_err(io)?;
        let pieces = SharedFile { file: Arc::new(file), len };
        let reader = guarded(|| SerializedFileReader::new(pieces));
        let reader = reader.map_err(|reason| damaged(path, &reason))?;
        Ok(ParquetFile { path: path.to_owned(), reader })
    }

    pub(super) fn metadata(&self) -> &ParquetMetaData {
        self.reader.metadata()
    }

    pub(super) fn groups(&self) -> usize {
        self.metadata().num_row_groups()
    }

    fn rows(&self, group: usize) -> usize {
        let rows = self.metadata().row_group(group).num_rows();
        usize::try_from(rows).unwrap_or(usize::MAX)
    }

    /// The length of a group's images according to the file.
    fn stated_bytes(&self, group: usize, leaf: usize) -> u64 {
        let column = self.metadata().row_group(group).column(leaf);
        u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX)
    }

    /// Rejects row groups that cannot be decoded.
    pub(super) fn check_group(&self, group: usize, image: &LeafColumn) -> Result<()> {
        let row_group = self.metadata().row_group(group);
        if self.rows(group) > MAX_ROWS || row_group.num_columns() <= image.leaf {
            return Err(damaged(&self.path, "a row group contradicts the metadata"));
        }
        let column = row_group.column(image.leaf);
        let len = column.uncompressed_size();
        if !(0..=LONGEST_GROUP).contains(&len) {
            let problem = format!("{len} bytes of images in one group of rows");
            let remedy = "write the file again with groups of 100 rows (row_group_size=100)";
            return Err(Error::layout(&self.path, problem, remedy));
        }
        let codec = column.compression().to_string();
        if !["UNCOMPRESSED", "SNAPPY", "GZIP"].iter().any(|known| codec.starts_with(known)) {
            let problem = format!("compressed with {codec}; supported: SNAPPY and GZIP");
            let remedy = "write the file again with compression='snappy'";
            return Err(Error::layout(&self.path, problem, remedy));
        }
        Ok(())
    }

    /// The label of every row of a group, if it has one.
    pub(super) fn labels(&self, group: usize, label: &LeafColumn) -> Result<Vec<Option<RowLabel>>> {
        let rows = self.rows(group);
        let read = || -> ParquetResult<Vec<Option<RowLabel>>> {
            let reader = self.reader.get_row_group(group)?.get_column_reader(label.leaf)?;
            let number = |value: i64| RowLabel::Number(value);
            Ok(match label.physical {
                Physical::INT64 => {
                    values::<Int64Type, _>(reader, rows, |value| Ok(number(*value)))?
                }
                Physical::INT32 => {
                    values::<Int32Type, _>(reader, rows, |value| Ok(number((*value).into())))?
                }
                _ => values::<ByteArrayType, _>(reader, rows, |value| {
                    Ok(RowLabel::Text(value.as_utf8()?.to_owned()))
                })?,
            })
        };
        let labels = guarded(read).map_err(|reason| damaged(&self.path, &reason))?;
        if labels.len() != rows {
            let reason = format!("{} labels in a group of {rows} rows", labels.len());
            return Err(damaged(&self.path, &reason));
        }
        Ok(labels)
    }

    /// The image files of a group.
    fn images(&self, group: usize, leaf: usize) -> std::result::Result<RowGroup, String> {
        guarded(|| {
            let reader = self.reader.get_row_group(group)?.get_column_reader(leaf)?;
            let take = |value: &ByteArray| Ok(Bytes::copy_from_slice(value.data()));
            Ok(RowGroup(values::<ByteArrayType, _>(reader, self.rows(group), take)?))
        })
    }
}

fn damaged(path: &Path, reason: &str) -> Error {
    Error::layout(path, format!("a damaged parquet file: {reason}"), "download it again")
}

/// The values of a column, `None` for rows without one.
fn values<T: DataType, V>(
    reader: ColumnReader,
    rows: usize,
    make: impl Fn(&T::T) -> ParquetResult<V>,
) -> ParquetResult<Vec<Option<V>>> {
    let mut reader = get_typed_column_reader::<T>(reader);
    let (mut levels, mut stored, mut made) = (Vec::new(), Vec::new(), Vec::new());
    while made.len() < rows {
        levels.clear();
        stored.clear();
        let wanted = (rows - made.len()).min(1024);
        let (count, ..) = reader.read_records(wanted, Some(&mut levels), None, &mut stored)?;
        if count == 0 {
            break;
        }
        if levels.is_empty() {
            let values: ParquetResult<Vec<V>> = stored.iter().map(&make).collect();
            made.extend(values?.into_iter().map(Some));
            continue;
        }
        // Only rows at the deepest definition level have a value.
        let deepest = levels.iter().copied().max().unwrap_or(0);
        let has_values = !stored.is_empty();
        let mut stored = stored.iter();
        for &level in &levels {
            let value = if has_values && level == deepest { stored.next() } else { None };
            made.push(value.map(&make).transpose()?);
        }
    }
    Ok(made)
}

/// The image files of a row group.
struct RowGroup(Vec<Option<Bytes>>);

type DecodedGroup = OnceLock<std::result::Result<RowGroup, String>>;
type CachedGroup = ((u32, u32), Arc<DecodedGroup>);

/// The parquet files of a data set.
pub(crate) struct ParquetRows {
    tables: Vec<ParquetFile>,
    leaf: usize,
    /// Cached groups, by file and group; the most recently used first.
    cache: Mutex<VecDeque<CachedGroup>>,
}

impl std::fmt::Debug for ParquetRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} parquet files", self.tables.len())
    }
}

impl ParquetRows {
    pub(super) fn new(tables: Vec<ParquetFile>, leaf: usize) -> ParquetRows {
        ParquetRows { tables, leaf, cache: Mutex::default() }
    }

    /// The length of all images according to the files.
    pub(crate) fn stated_bytes(&self) -> u64 {
        let groups = |table: &ParquetFile| -> u64 {
            let bytes = (0..table.groups()).map(|group| table.stated_bytes(group, self.leaf));
            bytes.fold(0, u64::saturating_add)
        };
        self.tables.iter().map(groups).fold(0, u64::saturating_add)
    }

    /// The image file in a row; it shares the memory of its group.
    pub(crate) fn read(
        &self,
        table: u32,
        group: u32,
        row: u32,
    ) -> std::result::Result<Bytes, String> {
        let decoded = self.group(table, group);
        let images =
            decoded.get_or_init(|| self.tables[table as usize].images(group as usize, self.leaf));
        self.shrink_cache();
        let RowGroup(images) = images.as_ref().map_err(Clone::clone)?;
        match images.get(row as usize) {
            Some(Some(bytes)) => Ok(bytes.clone()),
            Some(None) => Err("the row has no image; perhaps only its path".to_owned()),
            None => Err("the row group ends before this row".to_owned()),
        }
    }

    /// The cache entry of a group, decoded or not; moves it to the front.
    fn group(&self, table: u32, group: u32) -> Arc<DecodedGroup> {
        let mut cache = self.cache.lock().expect("not poisoned");
        let key = (table, group);
        let decoded = match cache.iter().position(|(known, _)| *known == key) {
            Some(position) => cache.remove(position).expect("found above").1,
            None => Arc::default(),
        };
        cache.push_front((key, Arc::clone(&decoded)));
        decoded
    }

    /// Frees the cached groups.
    pub(crate) fn forget(&self) {
        self.cache.lock().expect("not poisoned").clear();
    }

    /// Removes the least recently used groups.
    fn shrink_cache(&self) {
        let mut cache = self.cache.lock().expect("not poisoned");
        let len = |decoded: &DecodedGroup| match decoded.get() {
            Some(Ok(RowGroup(images))) => images.iter().flatten().map(Bytes::len).sum(),
            _ => 0,
        };
        let (mut count, mut bytes) = (0, 0);
        for (_, decoded) in cache.iter().take(KEPT_GROUPS) {
            bytes += len(decoded);
            if count > 0 && bytes > KEPT_BYTES {
                break;
            }
            count += 1;
        }
        cache.truncate(count);
    }
}
