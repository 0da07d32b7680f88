//! Labels from a table, or from file names.

mod index;

use super::classes::{Classes, check_count, check_names, why};
use super::dataset_root::{self, DatasetRoot};
use super::skipped::{SkipReason, SkippedFiles};
use super::splits::{FolderSplit, split_of_list};
use super::table::{self, ColumnNames, TableRow};
use super::tree::{FileTree, TreeEntry, TreeEntryKind, read_text};
use super::{Arranged, Labelling, hold_out};
use crate::formats::{NameKind, kind_of_name};
use crate::{Error, Result};
use index::ImageIndex;
use regex_lite::Regex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Images with their labels.
type LabelledPaths = BTreeMap<PathBuf, String>;

/// The images labelled as `labelling` requests.
pub(super) fn explicit(tree: &dyn FileTree, labelling: &Labelling) -> Result<Arranged> {
    let root = tree.full(Path::new(""));
    let wrong = |problem| Error::layout(&root, problem, "correct the labelling options");
    labelling.check().map_err(wrong)?;
    if let Some(pattern) = labelling.pattern().map_err(wrong)? {
        return by_names(tree, &pattern);
    }
    let named = labelling.file.as_deref().expect("labels come from a table");
    let beside = !named.exists() && tree.has_file(named);
    let path = &if beside { tree.full(named) } else { named.to_owned() };
    let wanted = ColumnNames {
        image: labelling.image_column.as_deref(),
        label: labelling.label_column.as_deref(),
    };
    let rows = table::read(&read_text(path)?, is_tsv(path), wanted);
    let rows = rows.map_err(|problem| unclear(path, problem))?;
    let table = LabelTable { path: path.to_owned(), split: None, rows };
    by_tables(tree, Path::new(""), vec![table], Vec::new())
}

fn is_tsv(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tsv"))
}

fn unclear(path: &Path, problem: String) -> Error {
    let remedy = "name the table, its column of images and its column of labels";
    Error::layout(path, problem, remedy)
}

struct LabelTable {
    path: PathBuf,
    /// The split that the table's file name indicates.
    split: Option<FolderSplit>,
    rows: Vec<TableRow>,
}

/// Images labelled by tables in the same folder; `None` if there are none.
pub(super) fn detected(
    tree: &dyn FileTree,
    base: &Path,
    notes: &[String],
) -> Result<Option<Arranged>> {
    let mut base = base.to_owned();
    let (mut tables, mut problems) = tables_in(tree, &base)?;
    let entries = tree.list(&base)?;
    let folders: Vec<&TreeEntry> = entries.iter().filter(|entry| entry.is_folder()).collect();
    if let ([], [], [only]) = (&tables[..], &problems[..], &folders[..]) {
        base.push(&only.name);
        (tables, problems) = tables_in(tree, &base)?;
    }
    let of = |split| tables.iter().filter(|table| table.split == split).count();
    match (
        of(None),
        of(Some(FolderSplit::Train)),
        of(Some(FolderSplit::Val)),
        of(Some(FolderSplit::Test)),
    ) {
        (1, 0, 0, 0) | (0, 1, 0..=1, 0..=1) => {}
        (0, 0, _, _) => return problems.into_iter().next().map_or(Ok(None), Err),
        _ => {
            let names: Vec<String> =
                tables.iter().take(3).map(|table| table.path.display().to_string()).collect();
            let problem = format!("several tables of labels: {}", names.join(", "));
            return Err(Error::layout(&tree.full(&base), problem, "name one of them"));
        }
    }
    by_tables(tree, &base, tables, notes.to_vec()).map(Some)
}

/// The tables of labels in a folder, and the errors of others.
fn tables_in(tree: &dyn FileTree, folder: &Path) -> Result<(Vec<LabelTable>, Vec<Error>)> {
    let (mut tables, mut problems) = (Vec::new(), Vec::new());
    for entry in tree.list(folder)? {
        let name = Path::new(&entry.name);
        let ending = name.extension().and_then(OsStr::to_str).unwrap_or_default();
        let is_table = ["csv", "tsv"].iter().any(|known| ending.eq_ignore_ascii_case(known));
        let stem = name.file_stem().unwrap_or_default();
        let lower = stem.to_string_lossy().to_lowercase();
        if entry.kind != TreeEntryKind::File || !is_table || lower.contains("submission") {
            continue;
        }
        let path = folder.join(name);
        let full = tree.full(&path);
        match table::read(&tree.read(&path)?, is_tsv(name), ColumnNames::default()) {
            Ok(rows) => tables.push(LabelTable { path: full, split: split_of_list(stem), rows }),
            Err(problem) if split_of_list(stem) != Some(FolderSplit::Test) => {
                problems.push(unclear(&full, problem));
            }
            Err(_) => {} // a list of test images without labels
        }
    }
    Ok((tables, problems))
}

/// All images below a folder, in the order of their paths. Links to folders are followed only at
/// the top level.
fn images_below(
    tree: &dyn FileTree,
    folder: &Path,
    skipped: &mut SkippedFiles,
) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in tree.list(&folder)? {
            let path = folder.join(&entry.name);
            match entry.kind {
                TreeEntryKind::Folder if depth < 64 => folders.push((path, depth + 1)),
                TreeEntryKind::FolderLink if depth == 0 => folders.push((path, 1)),
                _ if entry.is_image() && path.extension().is_some() => images.push(path),
                _ => match why(&entry) {
                    SkipReason::Name if kind_of_name(&path) == NameKind::Other => {} // readme
                    why => skipped.add(why, &tree.full(&path)),
                },
            }
        }
    }
    images.sort();
    Ok(images)
}

/// Labels by a regular expression on file names.
fn by_names(tree: &dyn FileTree, pattern: &Regex) -> Result<Arranged> {
    let DatasetRoot { base, splits, mut notes } = dataset_root::find(tree)?;
    let with_path = pattern.as_str().contains('/');
    let mut skipped = SkippedFiles::default();
    let mut labelled = |folder: &Path| -> Result<(LabelledPaths, SkippedFiles)> {
        let (mut found, mut without) = (LabelledPaths::new(), SkippedFiles::default());
        for path in images_below(tree, folder, &mut skipped)? {
            let below = path.strip_prefix(folder).unwrap_or(&path);
            let name =
                if with_path { below.as_os_str() } else { path.file_name().unwrap_or_default() };
            let name = name.to_string_lossy();
            let label = pattern.captures(&name).and_then(|found| found.get(1));
            match label.map(|label| label.as_str().trim()).filter(|label| !label.is_empty()) {
                Some(label) => drop(found.insert(path.clone(), label.to_owned())),
                None => without.add(SkipReason::Unlabelled, &tree.full(&path)),
            }
        }
        Ok((found, without))
    };
    let folder = match &splits.train {
        Some(name) => base.join(name),
        None => base.clone(),
    };
    let (train, without) = labelled(&folder)?;
    if train.is_empty() {
        let example = without
            .example()
            .map_or("there is no image".to_owned(), |path| format!("not {}", path.display()));
        let problem = format!("`{pattern}` matches no image's name ({example})");
        let remedy = "give a regular expression whose group is the label";
        return Err(Error::layout(&tree.full(&folder), problem, remedy));
    }
    let mut test = None;
    let mut all_without = without;
    for name in [&splits.val, &splits.test].into_iter().flatten() {
        let (found, without) = labelled(&base.join(name))?;
        all_without.merge(without);
        let full = tree.full(&base.join(name));
        match (&test, found.is_empty()) {
            (_, true) => notes.push(format!("{}: no image has a label: not used", full.display())),
            (None, false) => test = Some(found),
            (Some(_), false) => notes.push(format!("{}: not used", full.display())),
        }
    }
    skipped.merge(all_without);
    notes.extend(
        dataset_root::unused(tree, &base, &splits.others)
            .into_iter()
            .filter(|_| splits.train.is_some()),
    );
    finish(tree, &base, "images labelled by their names", train, test, notes, skipped)
}

/// Counts of rows that are not used, by reason, with the first.
#[derive(Default)]
struct UnusedRows(BTreeMap<&'static str, (usize, String)>);

impl UnusedRows {
    fn add(&mut self, what: &'static str, table: &LabelTable, row: &TableRow) {
        let first = || format!("{} line {}: {}", table.path.display(), row.line, row.image);
        self.0.entry(what).or_insert_with(|| (0, first())).0 += 1;
    }
}

fn by_tables(
    tree: &dyn FileTree,
    base: &Path,
    tables: Vec<LabelTable>,
    mut notes: Vec<String>,
) -> Result<Arranged> {
    let mut skipped = SkippedFiles::default();
    let paths = images_below(tree, base, &mut skipped)?;
    let index = ImageIndex::new(&paths, base);
    let mut sets: BTreeMap<FolderSplit, LabelledPaths> = BTreeMap::new();
    let mut unused = UnusedRows::default();
    let mut seen: HashMap<usize, (FolderSplit, &str)> = HashMap::new();
    let mut named = BTreeSet::new();
    let rows = tables.iter().flat_map(|table| table.rows.iter().map(move |row| (table, row)));
    for (table, row) in rows {
        let split = row.split.or(table.split);
        let at = index.find(&row.image, split);
        let wrong = |problem: String| {
            let problem = format!("line {}: `{}`: {problem}", row.line, row.image);
            Error::layout(&table.path, problem, "correct the table")
        };
        let Some(at) = at.map_err(wrong)? else {
            unused.add("name images that do not exist", table, row);
            continue;
        };
        named.insert(at);
        if row.label.is_empty() {
            unused.add("have no label", table, row);
            continue;
        }
        let split = split.unwrap_or(FolderSplit::Train);
        match seen.insert(at, (split, &row.label)) {
            Some(before) if before.1 != row.label => {
                let problem = format!("labelled `{}` here and `{}` before", row.label, before.1);
                return Err(wrong(problem));
            }
            Some(before) if before.0 != split => {
                return Err(wrong("both a training and a test image".to_owned()));
            }
            Some(_) => unused.add("repeat others", table, row),
            None => {
                let path = paths[at].clone();
                sets.entry(split).or_default().insert(path, row.label.clone());
            }
        }
    }
    let Some(train) = sets.remove(&FolderSplit::Train).filter(|train| !train.is_empty()) else {
        let (first, full) = (&tables[0], tree.full(base));
        let problem = match unused.0.values().next() {
            Some((_, example)) => {
                format!("none of its labelled images is below {} ({example})", full.display())
            }
            None => "it names no training image".to_owned(),
        };
        return Err(Error::layout(
            &first.path,
            problem,
            "name the table and the folder of its images",
        ));
    };
    for (at, path) in paths.iter().enumerate().filter(|(at, _)| !named.contains(at)) {
        let _ = at;
        skipped.add(SkipReason::Unlabelled, &tree.full(path));
    }
    for table in &tables {
        notes.push(format!("{}: labels are read from this table", table.path.display()));
    }
    for (what, (count, first)) in unused.0 {
        notes.push(format!("{count} rows {what}, such as {first}"));
    }
    let test = sets.remove(&FolderSplit::Val).or_else(|| sets.remove(&FolderSplit::Test));
    if sets.contains_key(&FolderSplit::Test) {
        notes.push("the validation images are the test set; the test images are not used".into());
    }
    finish(tree, base, "images labelled by a table", train, test, notes, skipped)
}

/// Assigns labels to the classes, and holds out test images if there are none.
fn finish(
    tree: &dyn FileTree,
    base: &Path,
    kind: &'static str,
    train: LabelledPaths,
    test: Option<LabelledPaths>,
    mut notes: Vec<String>,
    skipped: SkippedFiles,
) -> Result<Arranged> {
    let full = tree.full(base);
    let distinct: BTreeSet<&String> = train.values().collect();
    let mut names: Vec<String> = distinct.into_iter().cloned().collect();
    let numbers: Option<Vec<i64>> = names.iter().map(|name| name.parse().ok()).collect();
    if let Some(mut numbers) = numbers {
        names.sort_by_key(|name| name.parse::<i64>().expect("all are numbers"));
        numbers.sort_unstable();
        notes.extend(gap(&full, &numbers));
    }
    check_names(&full, &names)?;
    let remedy = "label images of other classes, too";
    match &names[..] {
        [one] => {
            let problem = format!("only one label, `{one}`; a network needs two or more classes");
            return Err(Error::layout(&full, problem, remedy));
        }
        _ => check_count(&full, &names)?,
    }
    let labels: HashMap<&String, u32> = names.iter().zip(0..).collect();
    let numbered = |set: LabelledPaths| -> Result<Vec<(u32, PathBuf)>> {
        let label = |(path, label): (PathBuf, String)| match labels.get(&label) {
            Some(&label) => Ok((label, path)),
            None => {
                let problem = format!("of class `{label}`, which has no training image");
                let remedy = "add training images of that class, or remove this one";
                Err(Error::layout(&tree.full(&path), problem, remedy))
            }
        };
        let mut files = set.into_iter().map(label).collect::<Result<Vec<_>>>()?;
        files.sort();
        Ok(files)
    };
    let train = Classes { files: numbered(train)?, names: names.clone() };
    let sets = match test.filter(|test| !test.is_empty()) {
        Some(test) => {
            let test = Classes { files: numbered(test)?, names: names.clone() };
            notes.extend(untested(&full, &test));
            [train, test]
        }
        None => {
            let (train, test, note) = hold_out(&full, "no labelled test images", train);
            notes.push(note);
            [train, test]
        }
    };
    notes.extend(skipped.notes(&tree.full(Path::new(""))));
    Ok(Arranged::of(tree, base, kind, sets, notes))
}

/// A note if labels are integers with a gap.
fn gap(full: &Path, numbers: &[i64]) -> Option<String> {
    let (first, last) = (*numbers.first()?, *numbers.last()?);
    let missing = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1)?[0] + 1;
    let full = full.display();
    Some(format!("{full}: labels are integers from {first} to {last}, but no image has {missing}"))
}

/// A note if a class has no test image.
fn untested(full: &Path, test: &Classes) -> Option<String> {
    let tested: BTreeSet<u32> = test.files.iter().map(|&(label, _)| label).collect();
    let (_, name) = (0..).zip(&test.names).find(|(label, _)| !tested.contains(label))?;
    let count = test.names.len() - tested.len();
    let full = full.display();
    Some(format!("{full}: {count} classes have no test image, such as `{name}`"))
}

#[cfg(test)]
mod tests;
