//! Labels and class names, as `.cls` and `.json` members state them.

use super::LARGEST_LABEL;
use crate::tar::{Member, ReadAt};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// A label's file is not longer than this.
const LONGEST: u64 = 1 << 20;
/// Fields of a `.json` that may hold a label, or a class's name beside one.
const LABELS: [&str; 3] = ["label", "cls", "class"];
/// Fields that may hold a class's name; those of `LABELS` come after.
const NAMES: [&str; 5] = ["class_name", "classname", "label_name", "category", "name"];
/// Longer names name no class.
const LONGEST_NAME: usize = 256;

/// What a member says, or why it does not.
type Stated<T> = std::result::Result<T, String>;

/// The contents of a `.json` member.
#[derive(Debug, Default)]
pub(super) struct Json {
    pub(super) label: Option<u32>,
    /// Why there is no label, if it should have been one.
    pub(super) problem: Option<String>,
    /// Candidates: the field and the text.
    pub(super) names: Vec<(usize, String)>,
}

/// The label in a `.cls` member.
pub(super) fn read_cls<R: ReadAt + ?Sized>(file: &R, path: &Path, member: &Member) -> Result<u32> {
    let text = read(file, path, member)?;
    let text = text.as_deref().map_err(|problem| wrong(path, member, problem))?.trim();
    number(text).map_err(|problem| wrong(path, member, &problem))
}

/// What a `.json` member says; it may be about other things.
///
/// # Errors
/// If it cannot be read, or states two different labels.
pub(super) fn read_json<R: ReadAt + ?Sized>(
    file: &R,
    path: &Path,
    member: &Member,
) -> Result<Json> {
    let text = read(file, path, member)?;
    let value = text.and_then(|text| {
        serde_json::from_str::<serde_json::Value>(&text)
            .map_err(|error| format!("not valid JSON ({error})"))
    });
    let value = match value {
        Ok(value) => value,
        Err(problem) => return Ok(Json { problem: Some(problem), ..Json::default() }),
    };
    let mut json = Json::default();
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

/// The label that a field of a `.json` states.
fn stated(field: &str, value: Option<&serde_json::Value>) -> Stated<Option<u32>> {
    use serde_json::Value;
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(value)) => number(&value.to_string()).map(Some),
        Some(Value::String(text)) => match number(text.trim()) {
            Ok(label) => Ok(Some(label)),
            Err(problem) => Err(format!("`{field}`: {problem}")),
        },
        Some(_) => Err(format!("`{field}` is neither a number nor a text")),
    }
}

fn number(text: &str) -> Stated<u32> {
    let label = text.parse::<u64>().map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        format!("`{shown}` is no label")
    })?;
    match u32::try_from(label) {
        Ok(label) if label < LARGEST_LABEL => Ok(label),
        _ => Err(format!("{label} is beyond all classes")),
    }
}

pub(super) fn wrong(path: &Path, member: &Member, problem: &str) -> Error {
    let problem = format!("{}: {problem}", member.name);
    Error::layout(path, problem, "labels are whole numbers that count from 0")
}

/// A member's text; `Err` inside if it is too long for a label.
fn read<R: ReadAt + ?Sized>(file: &R, path: &Path, member: &Member) -> Result<Stated<String>> {
    if member.len > LONGEST {
        return Ok(Err("too long for a label".to_owned()));
    }
    let mut bytes = vec![0; member.len as usize];
    let read = file.read_whole_at(&mut bytes, member.offset);
    read.map_err(|error| Error::io(path, &error))?;
    Ok(Ok(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What `.json` members call the classes: per field, each label's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassNames {
    fields: BTreeMap<usize, BTreeMap<u32, String>>,
    /// Fields that differ between samples of one label name something else.
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

    /// The names of `classes` classes; empty for a class that has none, and all empty if no field
    /// is the same for all samples of each class.
    pub(crate) fn of(&self, classes: usize) -> Vec<String> {
        let mut names = vec![String::new(); classes];
        if let Some(known) = self.fields.values().next() {
            for (&label, name) in known {
                if let Some(place) = names.get_mut(label as usize) {
                    place.clone_from(name);
                }
            }
        }
        names
    }
}
