//! From folders and files, on disk or in an archive, to labelled images.
//!
//! * [`tree`]: what is looked at, and what is junk
//! * [`splits`]: names such as `Training_Set`, `valid`, `test1`
//! * [`ground`]: in which folder the data set lies
//! * [`classes`]: folders named for their classes
//! * [`labelled`]: labels from a table, or from the names of files; [`table`]: reading the table
//! * [`kaggle`]: ImageNet as Kaggle hands it out
//! * [`names`]: what classes are called in words
//! * [`skipped`]: what lies there and is not used
//!
//! `docs/data.md` shows every layout as a tree.

pub(crate) mod arranged;
pub(crate) mod classes;
mod ground;
mod kaggle;
mod labelled;
mod labelling;
pub(crate) mod names;
pub(crate) mod skipped;
mod splits;
mod table;
pub(crate) mod tree;

pub(crate) use arranged::Arranged;
pub use labelling::Labelling;

use crate::ilsvrc::tiny_imagenet;
use crate::{Error, Result};
use classes::{Classes, check_count, fold};
use ground::{Ground, Holds};
use random::Permutation;
use skipped::Skipped;
use splits::is_generic;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use tree::Tree;

/// One image in this many is held out where a folder has no test images of its own.
const HELD_OUT: usize = 10;

/// Finds out what a tree's images are and what labels they have.
///
/// # Errors
/// If nothing that is known lies there, something of it is missing, or it can be read in several
/// ways.
pub(crate) fn arrange(tree: &dyn Tree, labelling: &Labelling) -> Result<Arranged> {
    if labelling.gives_labels() {
        return labelled::explicit(tree, labelling);
    }
    if let Some(kaggle) = kaggle::arrange(tree)? {
        return Ok(kaggle);
    }
    let ground = ground::find(tree)?;
    if tiny_imagenet::is_at(tree, &ground.base) {
        return tiny_imagenet::arrange(tree, &ground.base, ground.notes);
    }
    match ground.splits.train {
        Some(_) => split(tree, ground),
        None => whole(tree, ground),
    }
}

/// Folders of classes, or images for which there is a table, without a test set.
fn whole(tree: &dyn Tree, ground: Ground) -> Result<Arranged> {
    let Ground { base, mut notes, .. } = ground;
    let entries = tree.list(&base)?;
    let folders: Vec<&OsStr> =
        entries.iter().filter(|entry| entry.is_folder()).map(|entry| &*entry.name).collect();
    if folders.iter().filter(|name| !is_generic(name)).count() < 2
        && let Some(arranged) = labelled::detected(tree, &base, &notes)?
    {
        return Ok(arranged);
    }
    let images = entries.iter().filter(|entry| entry.is_image()).count();
    if folders.is_empty() && images > 0 {
        return Err(flat(&tree.full(&base), images));
    }
    let mut skipped = Skipped::default();
    let train = classes::scan(tree, &base, &mut skipped)?;
    check_count(&tree.full(&base), &train.names)?;
    let (train, test, note) = hold_out(&tree.full(&base), "no `train` folder", train);
    notes.push(note);
    notes.extend(skipped.notes(&tree.full(Path::new(""))));
    Ok(Arranged::of(tree, &base, "a folder of images", [train, test], notes))
}

/// Images where there should be folders of them.
fn flat(path: &Path, images: usize) -> Error {
    let problem = format!("{images} images and no folders of classes");
    let remedy = "sort them into a folder for each class, or state their labels: --labels FILE.csv \
                  for a table, --label-from REGEX for names such as `cat.0.jpg`";
    Error::layout(path, problem, remedy)
}

/// A folder to train on, and perhaps others to test on.
fn split(tree: &dyn Tree, ground: Ground) -> Result<Arranged> {
    let base = ground.base.clone();
    let path = |name: &OsStr| base.join(name);
    let name = ground.splits.train.clone().expect("as the caller found it");
    let folder = ground::unwrap(tree, &path(&name))?;
    match Holds::of(tree, &folder)? {
        Holds::Folders => {}
        Holds::Images(_) if is_class(tree, &ground)? => {
            let problem = format!(
                "{}: `{}` holds images and no folders, as its siblings do: it is taken for a class",
                tree.full(&base).display(),
                name.to_string_lossy()
            );
            let notes = [ground.notes, vec![problem]].concat();
            return whole(tree, Ground { notes, base, ..Ground::default() });
        }
        Holds::Images(count) => {
            return match labelled::detected(tree, &base, &ground.notes)? {
                Some(arranged) => Ok(arranged),
                None => Err(flat(&tree.full(&folder), count)),
            };
        }
        Holds::Nothing => {
            let remedy = "put a folder for each class there, with its images inside";
            return Err(Error::layout(&tree.full(&folder), "no image to train on", remedy));
        }
    }
    let mut skipped = Skipped::default();
    let train = classes::scan(tree, &folder, &mut skipped)?;
    check_count(&tree.full(&folder), &train.names)?;
    let (test, mut notes, unlabelled) = find_test(tree, &ground, &mut skipped)?;
    let train_root = tree.full(&folder);
    let sets = match test {
        Some((test, test_root)) => {
            agree((&train_root, &train.names), (&tree.full(&test_root), &test.names))?;
            let test = matched(&train, test);
            [train, test]
        }
        None => {
            let why = if unlabelled.is_empty() {
                "no `val` or `test` folder beside `train`".to_owned()
            } else {
                format!("no labelled images in {unlabelled}")
            };
            let (train, test, note) = hold_out(&train_root, &why, train);
            notes.push(note);
            [train, test]
        }
    };
    let notes = [ground.notes, notes, ground::unused(tree, &base, &ground.splits.others)];
    let mut notes = notes.concat();
    notes.extend(skipped.notes(&tree.full(Path::new(""))));
    Ok(Arranged::of(tree, &base, "a folder of images", sets, notes))
}

/// Whether a folder called `train` is one of several classes: it holds images, as others do.
fn is_class(tree: &dyn Tree, ground: &Ground) -> Result<bool> {
    let mut alike = 0;
    for name in ground.splits.others.iter().filter(|name| !is_generic(name)) {
        alike += usize::from(matches!(Holds::of(tree, &ground.base.join(name))?, Holds::Images(_)));
    }
    Ok(alike >= 2 && ground.splits.val.is_none() && ground.splits.test.is_none())
}

/// A test set and its folder, notes, and the names of folders whose images have no labels.
type FoundTest = (Option<(Classes, PathBuf)>, Vec<String>, String);

/// The first of `val` and `test` that has folders of classes.
fn find_test(tree: &dyn Tree, ground: &Ground, skipped: &mut Skipped) -> Result<FoundTest> {
    let (mut found, mut notes, mut unlabelled) = (None, Vec::new(), Vec::new());
    let named = [&ground.splits.val, &ground.splits.test].into_iter().flatten();
    for name in named {
        let path = ground.base.join(name);
        let folder = ground::unwrap(tree, &path)?;
        let full = tree.full(&path);
        match Holds::of(tree, &folder)? {
            Holds::Images(count) => {
                unlabelled.push(format!("`{}`", name.to_string_lossy()));
                notes.push(format!(
                    "{}: {count} images without folders of classes, so without labels: not used",
                    full.display()
                ));
            }
            Holds::Nothing => {
                let remedy = "put a folder for each class there, or remove the folder";
                return Err(Error::layout(&full, "no image to test on", remedy));
            }
            Holds::Folders => match &found {
                None => found = Some((classes::scan(tree, &folder, skipped)?, folder)),
                Some((_, used)) => notes.push(format!(
                    "{}: not used, as {} is tested on",
                    full.display(),
                    tree.full(used).display()
                )),
            },
        }
    }
    Ok((found, notes, unlabelled.join(" or ")))
}

/// The test images with the labels of the training set, whose classes have the same names.
fn matched(train: &Classes, mut test: Classes) -> Classes {
    let label = |name| train.names.iter().position(|other| other == name).expect("they agree");
    let labels: Vec<u32> = test.names.iter().map(|name| label(name) as u32).collect();
    test.files.iter_mut().for_each(|file| file.0 = labels[file.0 as usize]);
    test.files.sort_by_key(|file| file.0); // stable: paths stay in their order
    Classes { names: train.names.clone(), files: test.files }
}

/// Both sets must have the same classes, or labels would mean different things.
fn agree(train: (&Path, &[String]), test: (&Path, &[String])) -> Result<()> {
    let missing = |(root, names): (&Path, &[String]), (other, wanted): (&Path, &[String])| {
        let class = wanted.iter().find(|class| !names.contains(class))?;
        let near = names.iter().find(|name| fold(name) == fold(class));
        let near = near.map_or(String::new(), |name| format!(" (here it is written `{name}`)"));
        Some(Error::layout(
            root,
            format!("class `{class}` is missing{near}, which {} has", other.display()),
            "add the folder with some images, or remove the other",
        ))
    };
    missing(test, train).or_else(|| missing(train, test)).map_or(Ok(()), Err)
}

/// Splits off one image in ten of each class, always the same. `files` are in the order of labels.
fn hold_out(root: &Path, why: &str, classes: Classes) -> (Classes, Classes, String) {
    let Classes { names, files } = classes;
    let mut held = vec![false; files.len()];
    let mut first = 0;
    for class in files.chunk_by(|a, b| a.0 == b.0) {
        let order = Permutation::new(0, class[0].0, class.len() as u64);
        let part = if class.len() == 1 { 0 } else { (class.len() / HELD_OUT).max(1) };
        for position in 0..part {
            held[first + order.at(position as u64) as usize] = true;
        }
        first += class.len();
    }
    let pick = |wanted: bool| -> Vec<(u32, PathBuf)> {
        let files = files.iter().zip(&held);
        files.filter(|&(_, &held)| held == wanted).map(|(file, _)| file.clone()).collect()
    };
    let (train, test, root) = (pick(false), pick(true), root.display());
    let (test, note) = if test.is_empty() {
        let note = format!(
            "{root}: {why}, and no class has a second image to hold out: the test images are the \
             training images"
        );
        (train.clone(), note)
    } else {
        let (count, all) = (test.len(), files.len());
        let note = format!(
            "{root}: {why}: {count} of {all} images are held out to test on, one in {HELD_OUT} of \
             each class"
        );
        (test, note)
    };
    let of = |files| Classes { names: names.clone(), files };
    (of(train), of(test), note)
}

/// Reads a stranger's list in every way. For fuzzing.
pub(crate) fn parse_lists(bytes: &[u8]) {
    for is_tsv in [false, true] {
        let rows = table::read(bytes, is_tsv, (None, None)).unwrap_or_default();
        assert!(rows.len() <= bytes.len(), "more rows than bytes");
        let _ = table::read(bytes, is_tsv, (Some("1"), Some("2")));
    }
    let _ = kaggle::read(bytes);
    names::parse(bytes, &["n01440764".to_owned(), "2".to_owned()]);
}

#[cfg(test)]
mod tests;
