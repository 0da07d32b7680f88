//! Recognises folders for training, validation and testing by their names.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// The split that a folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FolderSplit {
    Train,
    Val,
    Test,
}

const WORDS: [(&str, FolderSplit); 15] = [
    ("train", FolderSplit::Train),
    ("training", FolderSplit::Train),
    ("trainset", FolderSplit::Train),
    ("trainingset", FolderSplit::Train),
    ("val", FolderSplit::Val),
    ("valid", FolderSplit::Val),
    ("validate", FolderSplit::Val),
    ("validation", FolderSplit::Val),
    ("valset", FolderSplit::Val),
    ("validset", FolderSplit::Val),
    ("validationset", FolderSplit::Val),
    ("test", FolderSplit::Test),
    ("testing", FolderSplit::Test),
    ("testset", FolderSplit::Test),
    ("testingset", FolderSplit::Test),
];

/// Words that say nothing about the content of images.
const GENERIC: [&str; 19] = [
    "set", "data", "dataset", "image", "images", "img", "imgs", "jpg", "jpeg", "png", "picture",
    "pictures", "photo", "photos", "split", "folder", "seg", "raw", "resized",
];

/// Words for files that accompany images.
const BESIDE: [&str; 9] =
    ["label", "labels", "annotation", "annotations", "mask", "masks", "csv", "metadata", "meta"];

/// The words of a name in lower case: `Training_Set` and `trainingSet` are `training`, `set`.
/// Trailing digits of a word are dropped.
fn words(name: &OsStr) -> Vec<String> {
    let name = name.to_string_lossy();
    let mut words = vec![String::new()];
    let mut before = None;
    for c in name.chars() {
        let camel = c.is_uppercase() && before.is_some_and(char::is_lowercase);
        if !c.is_alphanumeric() || camel {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("one at least").extend(c.to_lowercase());
        }
        before = Some(c);
    }
    let trimmed = words.iter().map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()));
    trimmed.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn known(word: &str) -> Option<FolderSplit> {
    WORDS.iter().find(|(known, _)| *known == word).map(|&(_, split)| split)
}

/// The split of a folder with a plain split name: `train`, `Training_Set`, `valid`, `test1`.
pub(crate) fn split_of(name: &OsStr) -> Option<FolderSplit> {
    let words = words(name);
    let mut rest = words.iter().filter(|word| !GENERIC.contains(&word.as_str()));
    let split = known(rest.next()?)?;
    rest.next().is_none().then_some(split)
}

/// The split of a list of labels: `train_labels`, `trainLabels`, `Training_set`.
pub(crate) fn split_of_list(name: &OsStr) -> Option<FolderSplit> {
    let words = words(name);
    let besides =
        |word: &&String| !GENERIC.contains(&word.as_str()) && !BESIDE.contains(&word.as_str());
    let mut rest = words.iter().filter(besides);
    let split = known(rest.next()?)?;
    rest.next().is_none().then_some(split)
}

/// Whether a name says nothing about the content of images: `images`, `data`, `masks`.
pub(crate) fn is_generic(name: &OsStr) -> bool {
    let words = words(name);
    words.iter().all(|word| GENERIC.contains(&word.as_str()) || BESIDE.contains(&word.as_str()))
        && !words.is_empty()
}

/// Folders by their split.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Splits {
    pub(crate) train: Option<OsString>,
    pub(crate) val: Option<OsString>,
    pub(crate) test: Option<OsString>,
    pub(crate) others: Vec<OsString>,
}

impl Splits {
    /// Assigns names to splits.
    ///
    /// # Errors
    /// Two names for the same split.
    pub(crate) fn of(names: &[OsString]) -> Result<Splits, [OsString; 2]> {
        let exact: Vec<Option<FolderSplit>> = names.iter().map(|name| split_of(name)).collect();
        let found = if exact.iter().any(Option::is_some) { exact } else { paired(names) };
        let mut splits = Splits::default();
        for (name, split) in names.iter().zip(found) {
            let slot = match split {
                None => {
                    splits.others.push(name.clone());
                    continue;
                }
                Some(FolderSplit::Train) => &mut splits.train,
                Some(FolderSplit::Val) => &mut splits.val,
                Some(FolderSplit::Test) => &mut splits.test,
            };
            if let Some(first) = slot.replace(name.clone()) {
                return Err([first, name.clone()]);
            }
        }
        Ok(splits)
    }
}

/// Recognises names such as `asl_alphabet_train` and `asl_alphabet_test`: a split word at the start
/// or end, with the same rest.
fn paired(names: &[OsString]) -> Vec<Option<FolderSplit>> {
    let read = |name: &OsString| -> Option<(FolderSplit, Vec<String>)> {
        let mut words = words(name);
        if let Some(split) = known(words.first()?) {
            words.remove(0);
            return Some((split, words));
        }
        let split = known(words.last()?)?;
        words.pop();
        Some((split, words))
    };
    let read: Vec<_> = names.iter().map(read).collect();
    let mut groups: BTreeMap<&[String], Vec<FolderSplit>> = BTreeMap::new();
    for (split, rest) in read.iter().flatten() {
        groups.entry(rest).or_default().push(*split);
    }
    let is_whole = |group: &Vec<FolderSplit>| {
        group.contains(&FolderSplit::Train)
            && (group.contains(&FolderSplit::Val) || group.contains(&FolderSplit::Test))
    };
    let pick = |read: &Option<(FolderSplit, Vec<String>)>| {
        let (split, rest) = read.as_ref()?;
        groups.get(&rest[..]).is_some_and(is_whole).then_some(*split)
    };
    read.iter().map(pick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Option<FolderSplit> {
        split_of(OsStr::new(name))
    }

    #[test]
    fn common_split_names_are_recognised() {
        for name in [
            "train",
            "Train",
            "TRAIN",
            "training",
            "Training",
            "training_set",
            "Training Set",
            "train-set",
            "TrainingSet",
            "trainset",
            "train_images",
            "images_train",
            "seg_train",
            "Training_Data",
            "train2017",
        ] {
            assert_eq!(named(name), Some(FolderSplit::Train), "{name}");
        }
        for name in ["val", "valid", "Validation", "VAL", "val_set", "validation_set", "val2017"] {
            assert_eq!(named(name), Some(FolderSplit::Val), "{name}");
        }
        for name in ["test", "Testing", "test_set", "TEST", "test1", "test_images", "testset"] {
            assert_eq!(named(name), Some(FolderSplit::Test), "{name}");
        }
        for name in [
            "trainer",
            "bullet train",
            "latest",
            "contest",
            "interval",
            "value",
            "valley",
            "test tube",
            "train_test",
            "trainval",
            "protest",
            "images",
            "",
            "1",
        ] {
            assert_eq!(named(name), None, "{name}");
        }
        let lists = ["train.csv", "trainLabels", "train_labels", "Training_set", "train"];
        for list in lists.map(OsStr::new) {
            assert_eq!(split_of_list(list), Some(FolderSplit::Train), "{list:?}");
        }
    }

    #[test]
    fn names_form_pairs_or_are_rejected() {
        let sorted =
            |names: &[&str]| Splits::of(&names.iter().map(OsString::from).collect::<Vec<_>>());
        let splits = sorted(&["Test", "Training", "extra"]).unwrap();
        assert_eq!(splits.train.as_deref(), Some(OsStr::new("Training")));
        assert_eq!(splits.test.as_deref(), Some(OsStr::new("Test")));
        assert_eq!(splits.others, ["extra"]);
        let splits = sorted(&["asl_alphabet_test", "asl_alphabet_train"]).unwrap();
        assert_eq!(splits.train.as_deref(), Some(OsStr::new("asl_alphabet_train")));
        for two in [["bullet train", "test tube"], ["bullet train", "freight train"]] {
            assert_eq!(sorted(&two).unwrap().others, two);
        }
        for two in [["Training", "train"], ["val", "valid"], ["test", "test_set"]] {
            assert_eq!(sorted(&two), Err(two.map(OsString::from)), "{two:?}");
        }
    }
}
