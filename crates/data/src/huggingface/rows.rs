//! Rows of parquet files: groups of them are decoded when one of their images is asked for.
//!
//! Single values of a parquet file cannot be read: pages hold many, and are compressed. So a whole
//! group of rows is decoded (a hundred images, as Hugging Face writes them), and the last few
//! groups are kept for reading images in order.

use super::label::{Label, MOST_ROWS};
use super::schema::Column;
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

/// Groups of rows whose images are longer altogether are not decoded.
const LONGEST_GROUP: i64 = 2 << 30;
/// How many groups are kept, and how many bytes of them, the last one apart.
const KEPT_GROUPS: usize = 16;
const KEPT_BYTES: usize = 1 << 30;

/// An open parquet file.
pub(crate) struct Table {
    path: PathBuf,
    reader: SerializedFileReader<Pieces>,
}

/// A file of which any part can be read by any thread.
#[derive(Clone)]
struct Pieces {
    file: Arc<File>,
    len: u64,
}

struct From {
    pieces: Pieces,
    at: u64,
}

impl Read for From {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.pieces.file.read_at(bytes, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Length for Pieces {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Pieces {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(BufReader::new(From { pieces: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        // What a file states of itself is compared with its length before memory is taken.
        if start.checked_add(length as u64).is_none_or(|end| end > self.len) {
            let problem = format!("{length} bytes from byte {start} on, of {}", self.len);
            return Err(ParquetError::EOF(problem));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// What `read` answers. The decoder is made by others, and a panic of it is one more error.
fn guarded<T>(read: impl FnOnce() -> ParquetResult<T>) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the decoder of parquet files panicked".to_owned()),
    }
}

impl Table {
    pub(super) fn open(path: &Path) -> Result<Table> {
        let io = |error| Error::io(path, &error);
        let (file, len) = bounded::open(path).map_err(io)?;
        let pieces = Pieces { file: Arc::new(file), len };
        let reader = guarded(|| SerializedFileReader::new(pieces));
        let reader = reader.map_err(|reason| damaged(path, &reason))?;
        Ok(Table { path: path.to_owned(), reader })
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

    /// How long the images of a group are, as the file states it.
    fn stated_bytes(&self, group: usize, leaf: usize) -> u64 {
        let column = self.metadata().row_group(group).column(leaf);
        u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX)
    }

    /// Refuses groups of rows that cannot be decoded.
    pub(super) fn check_group(&self, group: usize, image: &Column) -> Result<()> {
        let row_group = self.metadata().row_group(group);
        if self.rows(group) > MOST_ROWS || row_group.num_columns() <= image.leaf {
            return Err(damaged(&self.path, "a group of rows is not what the file states"));
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
            let problem = format!("compressed by {codec}, and SNAPPY and GZIP are read");
            let remedy = "write the file again with compression='snappy'";
            return Err(Error::layout(&self.path, problem, remedy));
        }
        Ok(())
    }

    /// The label of every row of a group; `None` where it has none.
    pub(super) fn labels(&self, group: usize, label: &Column) -> Result<Vec<Option<Label>>> {
        let rows = self.rows(group);
        let read = || -> ParquetResult<Vec<Option<Label>>> {
            let reader = self.reader.get_row_group(group)?.get_column_reader(label.leaf)?;
            let number = |value: i64| Label::Number(value);
            Ok(match label.physical {
                Physical::INT64 => {
                    values::<Int64Type, _>(reader, rows, |value| Ok(number(*value)))?
                }
                Physical::INT32 => {
                    values::<Int32Type, _>(reader, rows, |value| Ok(number((*value).into())))?
                }
                _ => values::<ByteArrayType, _>(reader, rows, |value| {
                    Ok(Label::Text(value.as_utf8()?.to_owned()))
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

    /// The image files of a group's rows.
    fn images(&self, group: usize, leaf: usize) -> std::result::Result<Group, String> {
        guarded(|| {
            let reader = self.reader.get_row_group(group)?.get_column_reader(leaf)?;
            let take = |value: &ByteArray| Ok(Bytes::copy_from_slice(value.data()));
            Ok(Group(values::<ByteArrayType, _>(reader, self.rows(group), take)?))
        })
    }
}

fn damaged(path: &Path, reason: &str) -> Error {
    Error::layout(path, format!("a damaged parquet file: {reason}"), "download it again")
}

/// The values of a column's rows, and `None` for rows without one.
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
        // Of the levels only the deepest has a value.
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

/// The image files of a group of rows.
struct Group(Vec<Option<Bytes>>);

type Decoded = OnceLock<std::result::Result<Group, String>>;
type Kept = ((u32, u32), Arc<Decoded>);

/// A data set's parquet files.
pub(crate) struct Rows {
    tables: Vec<Table>,
    leaf: usize,
    /// By table and group.
    kept: Mutex<VecDeque<Kept>>,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} parquet files", self.tables.len())
    }
}

impl Rows {
    pub(super) fn new(tables: Vec<Table>, leaf: usize) -> Rows {
        Rows { tables, leaf, kept: Mutex::default() }
    }

    /// How long all images are, as the files state it.
    pub(crate) fn stated_bytes(&self) -> u64 {
        let groups = |table: &Table| -> u64 {
            let bytes = (0..table.groups()).map(|group| table.stated_bytes(group, self.leaf));
            bytes.fold(0, u64::saturating_add)
        };
        self.tables.iter().map(groups).fold(0, u64::saturating_add)
    }

    /// The image file in a row; shared with the others of its group.
    pub(crate) fn read(
        &self,
        table: u32,
        group: u32,
        row: u32,
    ) -> std::result::Result<Bytes, String> {
        let decoded = self.group(table, group);
        let images =
            decoded.get_or_init(|| self.tables[table as usize].images(group as usize, self.leaf));
        self.forget_most();
        let Group(images) = images.as_ref().map_err(Clone::clone)?;
        match images.get(row as usize) {
            Some(Some(bytes)) => Ok(bytes.clone()),
            Some(None) => Err("the row has no image; perhaps only its path".to_owned()),
            None => Err("the group of rows ends before this one".to_owned()),
        }
    }

    /// The place for a group's images, decoded or not, which becomes the last to be forgotten.
    fn group(&self, table: u32, group: u32) -> Arc<Decoded> {
        let mut kept = self.kept.lock().expect("nobody panics with it");
        let key = (table, group);
        let decoded = match kept.iter().position(|(known, _)| *known == key) {
            Some(place) => kept.remove(place).expect("it was found there").1,
            None => Arc::default(),
        };
        kept.push_front((key, Arc::clone(&decoded)));
        decoded
    }

    /// Gives back the memory of the groups that are kept.
    pub(crate) fn forget(&self) {
        self.kept.lock().expect("nobody panics with it").clear();
    }

    /// Keeps the last few groups only.
    fn forget_most(&self) {
        let mut kept = self.kept.lock().expect("nobody panics with it");
        let len = |decoded: &Decoded| match decoded.get() {
            Some(Ok(Group(images))) => images.iter().flatten().map(Bytes::len).sum(),
            _ => 0,
        };
        let (mut count, mut bytes) = (0, 0);
        for (_, decoded) in kept.iter().take(KEPT_GROUPS) {
            bytes += len(decoded);
            if count > 0 && bytes > KEPT_BYTES {
                break;
            }
            count += 1;
        }
        kept.truncate(count);
    }
}
