//! Tables of labels in CSV, with commas, tabs or semicolons.

use super::splits::{FolderSplit, split_of};
use crate::formats::may_be_image;
use std::ffi::OsStr;
use std::path::Path;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableRow {
    /// The line number from 1, including the header.
    pub(super) line: u64,
    /// A file name, a path, or a file stem.
    pub(super) image: String,
    /// Empty if there is none.
    pub(super) label: String,
    pub(super) split: Option<FolderSplit>,
}

/// The columns requested by the user, by name or by number from 1.
#[derive(Clone, Copy, Default)]
pub(super) struct ColumnNames<'a> {
    pub(super) image: Option<&'a str>,
    pub(super) label: Option<&'a str>,
}

/// Indices of columns.
#[derive(Debug)]
struct TableColumns {
    image: usize,
    label: usize,
    split: Option<usize>,
    /// Whether the first row has column names.
    header: bool,
}

/// Known column names by decreasing priority; only letters and digits, in lower case.
const IMAGE: [&str; 26] = [
    "filename",
    "filenames",
    "filepath",
    "filepaths",
    "imagepath",
    "imgpath",
    "path",
    "paths",
    "imagefile",
    "imagefilename",
    "imagename",
    "imgname",
    "file",
    "files",
    "image",
    "images",
    "img",
    "imageid",
    "imgid",
    "photo",
    "picture",
    "photoid",
    "uuid",
    "fname",
    "id",
    "name",
];
const LABEL: [&str; 24] = [
    "label",
    "labels",
    "class",
    "classes",
    "classname",
    "classlabel",
    "classid",
    "labelname",
    "labelid",
    "category",
    "categories",
    "categoryname",
    "categoryid",
    "target",
    "targets",
    "species",
    "breed",
    "diagnosis",
    "variety",
    "level",
    "grade",
    "tag",
    "type",
    "y",
];
const SPLIT: [&str; 8] =
    ["split", "set", "subset", "dataset", "datasplit", "partition", "usage", "phase"];

/// Parses a table; `wanted` are the columns that the user named.
///
/// # Errors
/// A message: not a table, missing or ambiguous columns, or rows of different lengths.
pub(super) fn read(
    text: &[u8],
    is_tsv: bool,
    wanted: ColumnNames<'_>,
) -> Result<Vec<TableRow>, String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let records = records(text, separator(text, is_tsv))?;
    let Some((_, first)) = records.first() else { return Err("it is empty".into()) };
    let mut columns = columns(first, wanted)?;
    let body = &records[usize::from(columns.header)..];
    if let Some((line, fields)) = body.iter().find(|(_, fields)| fields.len() != first.len()) {
        return Err(format!(
            "line {line} has {} fields, but the first has {}",
            fields.len(),
            first.len()
        ));
    }
    let split = |fields: &[String], column: usize| split_of(OsStr::new(&fields[column]));
    let is_split = |column: &usize| {
        body.iter()
            .all(|(_, fields)| fields[*column].is_empty() || split(fields, *column).is_some())
    };
    columns.split = columns.split.filter(is_split);
    let row = |(line, fields): &(u64, Vec<String>)| TableRow {
        line: *line,
        image: fields[columns.image].clone(),
        label: fields[columns.label].clone(),
        split: columns.split.and_then(|column| split(fields, column)),
    };
    if body.is_empty() {
        Err("it has column names, but no rows".into())
    } else {
        Ok(body.iter().map(row).collect())
    }
}

/// The field separator, according to the first line.
fn separator(text: &[u8], is_tsv: bool) -> u8 {
    let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let has = |byte: u8| first.contains(&byte);
    match (is_tsv || !has(b',') && has(b'\t'), !has(b',') && has(b';')) {
        (true, _) => b'\t',
        (_, true) => b';',
        _ => b',',
    }
}

fn records(text: &[u8], separator: u8) -> Result<Vec<(u64, Vec<String>)>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .trim(csv::Trim::All)
        .from_reader(text);
    let mut records = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().any(|field| !field.is_empty()) {
            records.push((line, record.iter().map(str::to_owned).collect()));
        }
    }
    Ok(records)
}

/// A column name in lower case without blanks and punctuation.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn columns(first: &[String], wanted: ColumnNames<'_>) -> Result<TableColumns, String> {
    let names: Vec<String> = first.iter().map(|name| plain(name)).collect();
    let of = |known: &[&str]| -> Vec<usize> {
        known.iter().filter_map(|word| names.iter().position(|name| name == word)).collect()
    };
    let all = || first.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let named = |wanted: &str| -> Result<(usize, bool), String> {
        let exact = first.iter().position(|name| name == wanted);
        let near = || names.iter().position(|name| *name == plain(wanted));
        if let Some(column) = exact.or_else(near) {
            return Ok((column, true));
        }
        match wanted.parse::<usize>() {
            Ok(number) if (1..=first.len()).contains(&number) => Ok((number - 1, false)),
            _ => Err(format!("there is no column `{wanted}`, only {}", all())),
        }
    };
    let split = of(&SPLIT).first().copied();
    let is_file =
        |name: &String| Path::new(name).extension().is_some() && may_be_image(Path::new(name));
    let known_image = of(&IMAGE).first().copied();
    let image = match wanted.image {
        Some(wanted) => named(wanted)?,
        None => match (known_image, first.iter().position(is_file)) {
            (Some(column), _) => (column, true),
            (None, Some(column)) => (column, false), // no header: the first row is an image
            (None, None) => {
                return Err(format!("none of its columns ({}) has a known name for images", all()));
            }
        },
    };
    let label = match wanted.label {
        Some(wanted) => named(wanted)?,
        None => {
            let header = image.1;
            let known: Vec<usize> =
                of(&LABEL).into_iter().filter(|&column| header && column != image.0).collect();
            let others = (0..first.len()).filter(|&c| c != image.0 && Some(c) != split);
            let others: Vec<usize> = others.collect();
            match (&known[..], &others[..]) {
                ([one], _) | ([], [one]) => (*one, header),
                ([], _) => {
                    return Err(format!(
                        "none of its columns ({}) has a known name for labels",
                        all()
                    ));
                }
                ([a, b, ..], _) => {
                    let (a, b) = (&first[*a], &first[*b]);
                    return Err(format!("columns `{a}` and `{b}` may both be the label"));
                }
            }
        }
    };
    if image.0 == label.0 {
        return Err(format!("column `{}` cannot be both image and label", first[image.0]));
    }
    let header = image.1 || label.1 || !first.iter().any(is_file);
    Ok(TableColumns { image: image.0, label: label.0, split: split.filter(|_| header), header })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let rows = read(text.as_bytes(), false, ColumnNames::default()).unwrap();
        rows.into_iter().map(|row| (row.image, row.label)).collect()
    }

    #[test]
    fn columns_are_found_by_known_names() {
        for text in [
            "id,breed\na,x\nb,y\n",
            "filename,label\r\na,x\r\nb,y\r\n",
            "\u{feff}Image_ID,Label\na,x\nb,y",
            "label,File Name\nx,a\ny,b\n",
            "image;class\na;x\nb;y\n",
            "path\tcategory\na\tx\nb\ty\n",
            "id,width,species,height\na,1,x,2\nb,3,y,4\n",
            "image,diabetic\n\"a\",\"x\"\n b , y \n\n",
        ] {
            assert_eq!(pairs(text), [("a".into(), "x".into()), ("b".into(), "y".into())], "{text}");
        }
        assert_eq!(pairs("a.jpg,x\nb.jpg,y\n")[0], ("a.jpg".into(), "x".into()));
        assert_eq!(pairs("file,label\n\"a,1.jpg\",\"b \"\"c\"\"\"\n")[0].1, "b \"c\"");
    }

    #[test]
    fn columns_can_be_chosen() {
        let text = b"id,healthy,rust\na,1,0\n";
        let read = |image, label| read(text, false, ColumnNames { image, label });
        assert_eq!(read(None, Some("rust")).unwrap()[0].label, "0");
        assert_eq!(read(None, Some("2")).unwrap()[0].label, "1");
        for (image, label, said) in [
            (
                None,
                None,
                "none of its columns (`id`, `healthy`, `rust`) has a known name for labels",
            ),
            (None, Some("scab"), "there is no column `scab`, only `id`"),
            (Some("4"), None, "there is no column `4`"),
            (Some("id"), Some("id"), "both image and label"),
        ] {
            let error = read(image, label).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn invalid_tables_are_rejected() {
        for (text, said) in [
            ("", "empty"),
            ("id,label\n", "no row"),
            ("id,label\na,b,c\n", "line 2 has 3 fields"),
            ("id,label,class\na,b,c\n", "`label` and `class` may both"),
            ("x,y,z\n1,2,3\n", "known name for images"),
        ] {
            let error = read(text.as_bytes(), false, ColumnNames::default()).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(read(b"id,label\n\xff\xfe,b\n", false, ColumnNames::default()).is_err());
    }

    #[test]
    fn a_column_may_assign_images_to_splits() {
        let text = b"file,label,data set\na,x,train\nb,x,valid\nc,x,test\nd,x,\n";
        let rows = read(text, false, ColumnNames::default()).unwrap();
        let splits: Vec<_> = rows.iter().map(|row| row.split).collect();
        assert_eq!(
            splits,
            [Some(FolderSplit::Train), Some(FolderSplit::Val), Some(FolderSplit::Test), None]
        );
        let text = b"file,label,set\na,x,red\nb,x,train\n";
        let rows = read(text, false, ColumnNames::default()).unwrap();
        assert!(rows.iter().all(|row| row.split.is_none()));
    }
}
