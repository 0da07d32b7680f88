//! Parses labels and class names in `.cls` and `.json` members.

use super::LARGEST_LABEL;
use crate::tar::{ReadAt, TarMember};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// The size limit of a label member.
const LONGEST: u64 = 1 << 20;
/// Fields of a `.json` that may contain a label, or a class name.
const LABELS: [&str; 3] = ["label", "cls", "class"];
/// Fields that may contain a class name, preferred to those of `LABELS`.
const NAMES: [&str; 5] = ["class_name", "classname", "label_name", "category", "name"];
/// Longer texts are not class names.
const LONGEST_NAME: usize = 256;

/// A parsed value, or a problem.
type Stated<T> = std::result::Result<T, String>;

/// The content of a `.json` member.
#[derive(Debug, Default)]
pub(super) struct LabelJson {
    pub(super) label: Option<u32>,
    /// Why there is no label, although a label field exists.
    pub(super) problem: Option<String>,
    /// Candidates for the class name: the field's index and the text.
    pub(super) names: Vec<(usize, String)>,
}

/// Reads the label in a `.cls` member.
pub(super) fn read_cls<R: ReadAt + ?Sized>(
    file: &R,
    path: &Path,
    member: &TarMember,
) -> Result<u32> {
    let text = read(file, path, member)?;
    let text = text.as_deref().map_err(|problem| wrong(path, member, problem))?.trim();
    number(text).map_err(|problem| wrong(path, member, &problem))
}

/// Reads a `.json` member, which need not contain a label.
///
/// # Errors
/// If it cannot be read, or contains conflicting labels.
pub(super) fn read_json<R: ReadAt + ?Sized>(
    file: &R,
    path: &Path,
    member: &TarMember,
) -> Result<LabelJson> {
    let text = read(file, path, member)?;
    let value = text.and_then(|text| {
        serde_json::from_str::<serde_json::Value>(&text)
            .map_err(|error| format!("not valid JSON ({error})"))
    });
    let value = match value {
        Ok(value) => value,
        Err(problem) => return Ok(LabelJson { problem: Some(problem), ..LabelJson::default() }),
    };
    let mut json = LabelJson::default();
    for field in LABELS {
        match stated(field, value.get(field)) {
            Ok(None) => {}
            Ok(Some(label)) if json.label.is_none_or(|other| other == label) => {
                json.label = Some(label);
            }
            Ok(Some(label)) => {
                let other = json.label.unwrap_or_default();
                let problem = format!("two labels, {other} and {label}");
                return Err(wrong(path, member, &problem));
            }
            Err(problem) => json.problem = json.problem.or(Some(problem)),
        }
    }
    let texts = NAMES.iter().chain(&LABELS).enumerate();
    json.names = texts
        .filter_map(|(at, field)| Some((at, value.get(field)?.as_str()?.trim().to_owned())))
        .filter(|(_, name)| !name.is_empty() && name.len() <= LONGEST_NAME && number(name).is_err())
        .collect();
    Ok(json)
}

/// The label in a field of a `.json` member.
fn stated(field: &str, value: Option<&serde_json::Value>) -> Stated<Option<u32>> {
    use serde_json::Value;
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(value)) => number(&value.to_string()).map(Some),
        Some(Value::String(text)) => match number(text.trim()) {
            Ok(label) => Ok(Some(label)),
            Err(problem) => Err(format!("`{field}`: {problem}")),
        },
        Some(_) => Err(format!("`{field}` is neither a number nor text")),
    }
}

fn number(text: &str) -> Stated<u32> {
    let label = text.parse::<u64>().map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        format!("`{shown}` is not a label")
    })?;
    match u32::try_from(label) {
        Ok(label) if label < LARGEST_LABEL => Ok(label),
        _ => Err(format!("{label} is too large")),
    }
}

pub(super) fn wrong(path: &Path, member: &TarMember, problem: &str) -> Error {
    let problem = format!("{}: {problem}", member.name);
    Error::layout(path, problem, "labels are integers from 0")
}

/// The text of a member; the inner `Err` if it is too long for a label.
fn read<R: ReadAt + ?Sized>(file: &R, path: &Path, member: &TarMember) -> Result<Stated<String>> {
    if member.len > LONGEST {
        return Ok(Err("too long for a label".to_owned()));
    }
    let mut bytes = vec![0; member.len as usize];
    let read = file.read_whole_at(&mut bytes, member.offset);
    read.map_err(|error| Error::io(path, &error))?;
    Ok(Ok(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Class names in `.json` members: for each field, the name of each label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassNames {
    fields: BTreeMap<usize, BTreeMap<u32, String>>,
    /// Fields that differ between samples of a label, and so are not class names.
    differing: std::collections::BTreeSet<usize>,
}

impl ClassNames {
    pub(super) fn add(&mut self, label: u32, names: Vec<(usize, String)>) {
        for (field, name) in names {
            if self.differing.contains(&field) {
                continue;
            }
            let known = self.fields.entry(field).or_default();
            let first = known.entry(label).or_insert_with(|| name.clone());
            if *first != name {
                self.fields.remove(&field);
                self.differing.insert(field);
            }
        }
    }

    pub(super) fn merge(&mut self, other: ClassNames) {
        for field in other.differing {
            self.fields.remove(&field);
            self.differing.insert(field);
        }
        for (field, names) in other.fields {
            names.into_iter().for_each(|(label, name)| self.add(label, vec![(field, name)]));
        }
    }

    /// The names of `classes` classes: empty for a class without one, and all empty if no field is
    /// the same for all samples of each class.
    pub(crate) fn of(&self, classes: usize) -> Vec<String> {
        let mut names = vec![String::new(); classes];
        if let Some(known) = self.fields.values().next() {
            for (&label, name) in known {
                if let Some(slot) = names.get_mut(label as usize) {
                    slot.clone_from(name);
                }
            }
        }
        names
    }
}
