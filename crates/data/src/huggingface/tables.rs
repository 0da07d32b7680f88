//! Labelled images in parquet files.

use super::find::{ParquetFiles, TableSplit};
use super::label::{MAX_ROWS, RowLabel};
use super::rows::{ParquetFile, ParquetRows};
use super::schema::{self, Labels, Schema};
use crate::archive::MAX_IN_MEMORY;
use crate::collection::{Class, Collection, FileLocation, LabelledFile};
use crate::held_out::HELD_OUT;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A row with its label, before labels are mapped to classes.
struct LabelledRow {
    split: TableSplit,
    table: u32,
    group: u32,
    row: u32,
    label: Option<RowLabel>,
}

/// Opens the parquet files at `path`. `progress` receives the number of files opened and the total,
/// then the number of images read and the total.
///
/// # Errors
/// If the files cannot be read, do not match, or have ambiguous columns.
pub(crate) fn open(path: &Path, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Collection> {
    let tables = ParquetFiles::find(path)?;
    let mut notes = tables.notes.clone();
    let (opened, schema, rows) = read_labels(path, &tables, progress)?;
    let (classes, labels) = name_classes(path, &schema, &rows)?;
    let mut collection = Collection::with_classes(path, classes);
    let archive = collection.add_rows(ParquetRows::new(opened, schema.image.leaf));
    let file = |row: &LabelledRow, label: u32| {
        let file = &tables.files[row.table as usize].1;
        let file = file.strip_prefix(path).unwrap_or(file);
        let name = if file.as_os_str().is_empty() {
            format!("{}/{}/{}", path.display(), row.group, row.row)
        } else {
            format!("{}/{}/{}/{}", path.display(), file.display(), row.group, row.row)
        };
        let location =
            FileLocation::ParquetRow { archive, table: row.table, group: row.group, row: row.row };
        LabelledFile { name, label, location }
    };
    let mut sets: BTreeMap<TableSplit, Vec<LabelledFile>> = BTreeMap::new();
    let mut unlabelled: BTreeMap<TableSplit, usize> = BTreeMap::new();
    for row in &rows {
        match row.label.as_ref().and_then(|label| labels.get(label)) {
            Some(&label) => sets.entry(row.split).or_default().push(file(row, label)),
            None => *unlabelled.entry(row.split).or_default() += 1,
        }
    }
    for (split, count) in unlabelled {
        let name = split.name();
        notes.push(format!("{}: {count} rows of {name} have no label: not used", path.display()));
    }
    let mut take = |split| sets.remove(&split).unwrap_or_default();
    let train = take(TableSplit::Train);
    let (validation, test) = (take(TableSplit::Validation), take(TableSplit::Test));
    if !validation.is_empty() && !test.is_empty() {
        let shown = path.display();
        notes.push(format!("{shown}: the validation images are the test set; test is not used"));
    }
    collection.test = if validation.is_empty() { test } else { validation };
    collection.train = train;
    finish(path, &mut collection, notes, progress)?;
    Ok(collection)
}

/// Opens the files and reads their columns of labels.
fn read_labels(
    path: &Path,
    tables: &ParquetFiles,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(Vec<ParquetFile>, Schema, Vec<LabelledRow>)> {
    let (mut opened, mut rows) = (Vec::new(), Vec::new());
    let mut known: Option<Schema> = None;
    for (split, file) in &tables.files {
        let table = ParquetFile::open(file)?;
        let found = schema::find(file, table.metadata())?;
        if known.as_ref().is_some_and(|first| *first != found) {
            let first = tables.files[0].1.display();
            let problem = format!("its columns or classes differ from those of {first}");
            return Err(Error::layout(file, problem, "open a folder with one data set"));
        }
        let number = opened.len() as u32;
        for group in 0..table.groups() {
            table.check_group(group, &found.image)?;
            let labels = table.labels(group, &found.label)?;
            if rows.len() + labels.len() > MAX_ROWS {
                let problem = format!("more than {MAX_ROWS} rows");
                return Err(Error::layout(path, problem, "open fewer files"));
            }
            let row = |(row, label)| LabelledRow {
                split: *split,
                table: number,
                group: group as u32,
                row: row as u32,
                label,
            };
            rows.extend(labels.into_iter().enumerate().map(row));
        }
        opened.push(table);
        known = Some(found);
        progress(opened.len() as u64, tables.files.len() as u64);
    }
    Ok((opened, known.expect("at least one file"), rows))
}

/// Checks the splits, holds out test images if there are none, and loads small sets.
fn finish(
    path: &Path,
    collection: &mut Collection,
    mut notes: Vec<String>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<()> {
    if collection.train.is_empty() {
        let remedy = "download the files whose names start with `train`, too";
        return Err(Error::layout(path, "no labelled training images", remedy));
    }
    let mut trained = vec![false; collection.classes.len()];
    collection.train.iter().for_each(|file| trained[file.label as usize] = true);
    if let Some(file) = collection.test.iter().find(|file| !trained[file.label as usize]) {
        let class = collection.classes[file.label as usize].id.escape_debug().to_string();
        let problem = format!("class `{class}` has test images but no training images");
        return Err(Error::layout(path, problem, "download all files of `train`"));
    }
    if let Some(empty) = trained.iter().position(|&trained| !trained) {
        let (class, shown) = (collection.classes[empty].id.escape_debug(), path.display());
        let count = trained.iter().filter(|&&trained| !trained).count();
        notes.push(format!("{shown}: {count} classes have no training image (such as {class})"));
    }
    if collection.test.is_empty() {
        let note = hold_out(collection);
        notes.push(format!("{}: no labelled test images: {note}", path.display()));
    }
    collection.describe("parquet files of images", notes);
    if collection.rows_bytes() <= MAX_IN_MEMORY {
        collection.load_rows(progress);
    } else {
        collection.in_order = true;
        let shown = path.display();
        collection.notes.push(format!(
            "{shown}: single images are slow to read from such large files: before training, run \
             `alexnet data prepare --from {shown} --out FOLDER`"
        ));
    }
    Ok(())
}

/// Holds out the last of every ten images of a class.
fn hold_out(collection: &mut Collection) -> String {
    let mut counts = vec![0u32; collection.classes.len()];
    let all = std::mem::take(&mut collection.train);
    let count = all.len();
    for file in all {
        let seen = &mut counts[file.label as usize];
        *seen += 1;
        let held = seen.is_multiple_of(HELD_OUT as u32);
        if held { collection.test.push(file) } else { collection.train.push(file) }
    }
    if collection.test.is_empty() {
        collection.test = collection.train.clone();
        return "the test images are the training images".to_owned();
    }
    let held = collection.test.len();
    format!("{held} of {count} images are held out for testing, one in {HELD_OUT} of each class")
}

/// The classes, and the class of each label.
fn name_classes(
    path: &Path,
    schema: &Schema,
    rows: &[LabelledRow],
) -> Result<(Vec<Class>, BTreeMap<RowLabel, u32>)> {
    let wrong = |problem: String, remedy: &str| Err(Error::layout(path, problem, remedy));
    let labels: BTreeSet<&RowLabel> = rows.iter().filter_map(|row| row.label.as_ref()).collect();
    let class = |id: String| Class { id, ..Class::default() };
    let mut indices = BTreeMap::new();
    let classes: Vec<Class> = match &schema.names {
        Labels::Named(names) => {
            for label in labels {
                match *label {
                    RowLabel::Number(-1) => {}
                    RowLabel::Number(n) if (0..names.len() as i64).contains(&n) => {
                        indices.insert(label.clone(), n as u32);
                    }
                    _ => {
                        let (label, count) = (label.text(), names.len());
                        let problem = format!("label {label}, but there are {count} names");
                        return wrong(problem, "download the files again");
                    }
                }
            }
            distinct(names).into_iter().map(class).collect()
        }
        Labels::Unnamed => {
            let known = labels.into_iter().filter(|label| **label != RowLabel::Number(-1));
            let known: Vec<&RowLabel> = known.collect();
            if let Some(RowLabel::Number(negative @ ..0)) = known.first() {
                return wrong(
                    format!("the label {negative} is negative"),
                    "number the classes from 0",
                );
            }
            for (class, label) in (0..).zip(&known) {
                indices.insert((*label).clone(), class);
            }
            known.iter().map(|label| class(label.text())).collect()
        }
    };
    if classes.len() < 2 {
        let problem = format!("{} classes; a network needs two or more", classes.len());
        return wrong(problem, "open a data set of labelled images");
    }
    Ok((classes, indices))
}

/// Unique names: a name of several classes gets the label as a suffix.
fn distinct(names: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    names.iter().for_each(|name| *counts.entry(name).or_default() += 1);
    let name = |(label, name): (usize, &String)| match counts[name.as_str()] {
        1 => name.clone(),
        _ => format!("{name} ({label})"),
    };
    names.iter().enumerate().map(name).collect()
}
