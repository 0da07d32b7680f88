//! Which folders are for training, validation and testing, by their names.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// What a folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Split {
    Train,
    Val,
    Test,
}

const WORDS: [(&str, Split); 15] = [
    ("train", Split::Train),
    ("training", Split::Train),
    ("trainset", Split::Train),
    ("trainingset", Split::Train),
    ("val", Split::Val),
    ("valid", Split::Val),
    ("validate", Split::Val),
    ("validation", Split::Val),
    ("valset", Split::Val),
    ("validset", Split::Val),
    ("validationset", Split::Val),
    ("test", Split::Test),
    ("testing", Split::Test),
    ("testset", Split::Test),
    ("testingset", Split::Test),
];

/// Words that say nothing of what images show.
const GENERIC: [&str; 19] = [
    "set", "data", "dataset", "image", "images", "img", "imgs", "jpg", "jpeg", "png", "picture",
    "pictures", "photo", "photos", "split", "folder", "seg", "raw", "resized",
];

/// Words for what comes with images.
const BESIDE: [&str; 9] =
    ["label", "labels", "annotation", "annotations", "mask", "masks", "csv", "metadata", "meta"];

/// The words of a name, in lower case: `Training_Set` and `trainingSet` are `training`, `set`.
/// Digits at the end of a word are left out.
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

fn known(word: &str) -> Option<Split> {
    WORDS.iter().find(|(known, _)| *known == word).map(|&(_, split)| split)
}

/// What a folder is for, if its name says nothing else: `train`, `Training_Set`, `valid`, `test1`.
pub(crate) fn split_of(name: &OsStr) -> Option<Split> {
    let words = words(name);
    let mut rest = words.iter().filter(|word| !GENERIC.contains(&word.as_str()));
    let split = known(rest.next()?)?;
    rest.next().is_none().then_some(split)
}

/// The same of a list of labels: `train_labels`, `trainLabels`, `Training_set`.
pub(crate) fn split_of_list(name: &OsStr) -> Option<Split> {
    let words = words(name);
    let besides =
        |word: &&String| !GENERIC.contains(&word.as_str()) && !BESIDE.contains(&word.as_str());
    let mut rest = words.iter().filter(besides);
    let split = known(rest.next()?)?;
    rest.next().is_none().then_some(split)
}

/// Whether a name says nothing of what images show: `images`, `data`, `masks`.
pub(crate) fn is_generic(name: &OsStr) -> bool {
    let words = words(name);
    words.iter().all(|word| GENERIC.contains(&word.as_str()) || BESIDE.contains(&word.as_str()))
        && !words.is_empty()
}

/// Folders by what they are for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Splits {
    pub(crate) train: Option<OsString>,
    pub(crate) val: Option<OsString>,
    pub(crate) test: Option<OsString>,
    pub(crate) others: Vec<OsString>,
}

impl Splits {
    /// Sorts names.
    ///
    /// # Errors
    /// Two that are for the same.
    pub(crate) fn of(names: &[OsString]) -> Result<Splits, [OsString; 2]> {
        let exact: Vec<Option<Split>> = names.iter().map(|name| split_of(name)).collect();
        let found = if exact.iter().any(Option::is_some) { exact } else { paired(names) };
        let mut splits = Splits::default();
        for (name, split) in names.iter().zip(found) {
            let place = match split {
                None => {
                    splits.others.push(name.clone());
                    continue;
                }
                Some(Split::Train) => &mut splits.train,
                Some(Split::Val) => &mut splits.val,
                Some(Split::Test) => &mut splits.test,
            };
            if let Some(first) = place.replace(name.clone()) {
                return Err([first, name.clone()]);
            }
        }
        Ok(splits)
    }
}

/// `asl_alphabet_train` goes with `asl_alphabet_test`: a word for a split at either end, and the
/// rest alike.
fn paired(names: &[OsString]) -> Vec<Option<Split>> {
    let read = |name: &OsString| -> Option<(Split, Vec<String>)> {
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
    let mut groups: BTreeMap<&[String], Vec<Split>> = BTreeMap::new();
    for (split, rest) in read.iter().flatten() {
        groups.entry(rest).or_default().push(*split);
    }
    let is_whole = |group: &Vec<Split>| {
        group.contains(&Split::Train)
            && (group.contains(&Split::Val) || group.contains(&Split::Test))
    };
    let pick = |read: &Option<(Split, Vec<String>)>| {
        let (split, rest) = read.as_ref()?;
        groups.get(&rest[..]).is_some_and(is_whole).then_some(*split)
    };
    read.iter().map(pick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Option<Split> {
        split_of(OsStr::new(name))
    }

    #[test]
    fn usual_names_of_splits() {
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
            assert_eq!(named(name), Some(Split::Train), "{name}");
        }
        for name in ["val", "valid", "Validation", "VAL", "val_set", "validation_set", "val2017"] {
            assert_eq!(named(name), Some(Split::Val), "{name}");
        }
        for name in ["test", "Testing", "test_set", "TEST", "test1", "test_images", "testset"] {
            assert_eq!(named(name), Some(Split::Test), "{name}");
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
            assert_eq!(split_of_list(list), Some(Split::Train), "{list:?}");
        }
    }

    #[test]
    fn names_go_together_or_are_refused() {
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
