//! From parquet files to labelled images.

use super::find::{Split, Tables};
use super::label::{Label, MOST_ROWS};
use super::rows::{Rows, Table};
use super::schema::{self, Labels, Schema};
use crate::collection::{Class, Collection, Item, Place};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Sets whose images take no more bytes are read into memory.
const MOST_HELD: u64 = 4 << 30;
/// One image in this many is held out where there are no labelled test images.
const HELD_OUT: u32 = 10;

/// A row before it is known what its label is called.
struct Row {
    split: Split,
    table: u32,
    group: u32,
    row: u32,
    label: Option<Label>,
}

/// Opens the parquet files at `path`. `progress` receives how many files of how many have been
/// opened, and then how many of the images have been read.
///
/// # Errors
/// If the files cannot be read, do not belong together, or it is not clear what their columns are.
pub(crate) fn open(path: &Path, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Collection> {
    let tables = Tables::find(path)?;
    let mut notes = tables.notes.clone();
    let (opened, schema, rows) = read_labels(path, &tables, progress)?;
    let (classes, labels) = name_classes(path, &schema, &rows)?;
    let mut collection = Collection::with_classes(path, classes);
    let archive = collection.add_rows(Rows::new(opened, schema.image.leaf));
    let item = |row: &Row, label: u32| {
        let file = &tables.files[row.table as usize].1;
        let file = file.strip_prefix(path).unwrap_or(file);
        let name = if file.as_os_str().is_empty() {
            format!("{}/{}/{}", path.display(), row.group, row.row)
        } else {
            format!("{}/{}/{}/{}", path.display(), file.display(), row.group, row.row)
        };
        let place = Place::Row { archive, table: row.table, group: row.group, row: row.row };
        Item { name, label, place }
    };
    let mut sets: BTreeMap<Split, Vec<Item>> = BTreeMap::new();
    let mut unlabelled: BTreeMap<Split, usize> = BTreeMap::new();
    for row in &rows {
        match row.label.as_ref().and_then(|label| labels.get(label)) {
            Some(&label) => sets.entry(row.split).or_default().push(item(row, label)),
            None => *unlabelled.entry(row.split).or_default() += 1,
        }
    }
    for (split, count) in unlabelled {
        let word = split.word();
        notes.push(format!("{}: {count} rows of {word} have no label: ignored", path.display()));
    }
    let mut take = |split| sets.remove(&split).unwrap_or_default();
    let train = take(Split::Train);
    let (validation, test) = (take(Split::Validation), take(Split::Test));
    if !validation.is_empty() && !test.is_empty() {
        let shown = path.display();
        notes.push(format!("{shown}: validation is used to test on, and test is not used"));
    }
    collection.test = if validation.is_empty() { test } else { validation };
    collection.train = train;
    finish(path, &mut collection, notes, progress)?;
    Ok(collection)
}

/// Opens the files, and reads their columns of labels.
fn read_labels(
    path: &Path,
    tables: &Tables,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(Vec<Table>, Schema, Vec<Row>)> {
    let (mut opened, mut rows) = (Vec::new(), Vec::new());
    let mut known: Option<Schema> = None;
    for (split, file) in &tables.files {
        let table = Table::open(file)?;
        let found = schema::find(file, table.metadata())?;
        if known.as_ref().is_some_and(|first| *first != found) {
            let first = tables.files[0].1.display();
            let problem = format!("other columns or classes than {first}");
            return Err(Error::layout(file, problem, "give a folder with one data set"));
        }
        let number = opened.len() as u32;
        for group in 0..table.groups() {
            table.check_group(group, &found.image)?;
            let labels = table.labels(group, &found.label)?;
            if rows.len() + labels.len() > MOST_ROWS {
                let problem = format!("more than {MOST_ROWS} rows");
                return Err(Error::layout(path, problem, "give fewer files"));
            }
            let row = |(row, label)| Row {
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
    Ok((opened, known.expect("a file at least"), rows))
}

/// Checks the sets, holds out images if there are none to test on, and reads small sets.
fn finish(
    path: &Path,
    collection: &mut Collection,
    mut notes: Vec<String>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<()> {
    if collection.train.is_empty() {
        let remedy = "download the files whose names begin with `train`, too";
        return Err(Error::layout(path, "no labelled images to train on", remedy));
    }
    let mut trained = vec![false; collection.classes.len()];
    collection.train.iter().for_each(|item| trained[item.label as usize] = true);
    if let Some(item) = collection.test.iter().find(|item| !trained[item.label as usize]) {
        let class = collection.classes[item.label as usize].id.escape_debug().to_string();
        let problem = format!("class `{class}` is tested and never trained");
        return Err(Error::layout(path, problem, "download all files of `train`"));
    }
    if let Some(empty) = trained.iter().position(|&trained| !trained) {
        let (class, shown) = (collection.classes[empty].id.escape_debug(), path.display());
        let count = trained.iter().filter(|&&trained| !trained).count();
        notes.push(format!("{shown}: {count} classes have no image to train on (such as {class})"));
    }
    if collection.test.is_empty() {
        let note = hold_out(collection);
        notes.push(format!("{}: no labelled images to test on: {note}", path.display()));
    }
    collection.describe("parquet files of images", notes);
    if collection.rows_bytes() <= MOST_HELD {
        collection.hold_rows(progress);
    } else {
        collection.in_order = true;
        let shown = path.display();
        collection.notes.push(format!(
            "{shown}: single images are slow to read from such large files: for training run \
             `alexnet data prepare --from {shown} --out FOLDER` first"
        ));
    }
    Ok(())
}

/// Sets apart the last of every ten images of a class.
fn hold_out(collection: &mut Collection) -> String {
    let mut counts = vec![0u32; collection.classes.len()];
    let all = std::mem::take(&mut collection.train);
    let count = all.len();
    for item in all {
        let seen = &mut counts[item.label as usize];
        *seen += 1;
        let held = seen.is_multiple_of(HELD_OUT);
        if held { collection.test.push(item) } else { collection.train.push(item) }
    }
    if collection.test.is_empty() {
        collection.test = collection.train.clone();
        return "the test images are the training images".to_owned();
    }
    let held = collection.test.len();
    format!("{held} of {count} images are held out to test on, one in {HELD_OUT} of each class")
}

/// The classes, and the place of each label among them.
fn name_classes(
    path: &Path,
    schema: &Schema,
    rows: &[Row],
) -> Result<(Vec<Class>, BTreeMap<Label, u32>)> {
    let wrong = |problem: String, remedy: &str| Err(Error::layout(path, problem, remedy));
    let labels: BTreeSet<&Label> = rows.iter().filter_map(|row| row.label.as_ref()).collect();
    let class = |id: String| Class { id, ..Class::default() };
    let mut places = BTreeMap::new();
    let classes: Vec<Class> = match &schema.names {
        Labels::Named(names) => {
            for label in labels {
                match *label {
                    Label::Number(-1) => {}
                    Label::Number(n) if (0..names.len() as i64).contains(&n) => {
                        places.insert(label.clone(), n as u32);
                    }
                    _ => {
                        let (label, count) = (label.shown(), names.len());
                        let problem = format!("label {label}, and there are {count} names");
                        return wrong(problem, "download the files again");
                    }
                }
            }
            distinct(names).into_iter().map(class).collect()
        }
        Labels::Unnamed => {
            let known = labels.into_iter().filter(|label| **label != Label::Number(-1));
            let known: Vec<&Label> = known.collect();
            if let Some(Label::Number(negative @ ..0)) = known.first() {
                return wrong(format!("a label of {negative}"), "labels count from 0");
            }
            for (place, label) in (0..).zip(&known) {
                places.insert((*label).clone(), place);
            }
            known.iter().map(|label| class(label.shown())).collect()
        }
    };
    if classes.len() < 2 {
        let problem = format!("{} classes, and a network must choose between two", classes.len());
        return wrong(problem, "give a data set of labelled images");
    }
    Ok((classes, places))
}

/// Names that tell classes apart: one that several classes have gets the label behind it.
fn distinct(names: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    names.iter().for_each(|name| *counts.entry(name).or_default() += 1);
    let name = |(label, name): (usize, &String)| match counts[name.as_str()] {
        1 => name.clone(),
        _ => format!("{name} ({label})"),
    };
    names.iter().enumerate().map(name).collect()
}
