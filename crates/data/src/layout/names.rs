//! The names of classes in words. They are separate from the ids, because ImageNet's names are not
//! unique: there are two cranes and two maillots.

use super::tree::{FileTree, read_text};
use crate::ilsvrc::is_wnid;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Files that come with data sets; the first that names a class is used.
const KNOWN: [&str; 4] =
    ["LOC_synset_mapping.txt", "words.txt", "synset_words.txt", "imagenet_class_index.json"];

/// Names for `ids` from a file in `base` or in a folder above it; empty strings if there is none.
pub(crate) fn detect(tree: &dyn FileTree, base: &Path, ids: &[String]) -> Vec<String> {
    let inside = base.ancestors().flat_map(|folder| KNOWN.map(|name| folder.join(name)));
    let inside = inside.filter(|path| tree.has_file(path));
    let is_wordnet = ids.iter().all(|id| is_wnid(id));
    let above = KNOWN.iter().filter(|_| is_wordnet).filter_map(|name| tree.find_above(name));
    let found = inside.chain(above).find_map(|path| {
        let text = tree.read(&path).ok()?;
        let pairs = match read(&text).ok()? {
            Names::ById(pairs) => pairs,
            Names::InOrder(_) | Names::ByNumber(_) => return None,
            Names::Lines(lines) => lines.into_iter().filter_map(pair).collect(),
        };
        let names = ids.iter().map(|id| pairs.get(id).cloned().unwrap_or_default());
        let names: Vec<String> = names.collect();
        names.iter().any(|name| !name.is_empty()).then_some(names)
    });
    found.unwrap_or_else(|| vec![String::new(); ids.len()])
}

/// The names of the classes `ids` in a file, which must have all of them.
///
/// # Errors
/// If it cannot be read, or a class is missing.
pub(crate) fn named(path: &Path, ids: &[String]) -> Result<Vec<String>> {
    let text = read_text(path)?;
    let remedy = "expected one name per line, `id name` per line, or JSON: a list, \
                  {\"0\": [\"n01440764\", \"tench\"]} or {\"id\": \"name\"}";
    let names = read(&text).and_then(|names| names.of(ids));
    names.map_err(|problem| Error::layout(path, problem, remedy))
}

/// For fuzzing: parses a file of names.
pub(super) fn parse(text: &[u8], ids: &[String]) {
    if let Ok(names) = read(text).and_then(|names| names.of(ids)) {
        assert_eq!(names.len(), ids.len(), "a name for each class");
    }
}

/// The content of a file of names.
#[derive(Debug, PartialEq, Eq)]
enum Names {
    ById(BTreeMap<String, String>),
    ByNumber(BTreeMap<usize, String>),
    InOrder(Vec<String>),
    /// Names in order, or lines of an id and a name.
    Lines(Vec<String>),
}

fn read(text: &[u8]) -> std::result::Result<Names, String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = std::str::from_utf8(text).map_err(|_| "this is not UTF-8 text".to_owned())?;
    if text.trim_start().starts_with(['[', '{']) {
        let value = serde_json::from_str(text).map_err(|error| format!("invalid JSON: {error}"))?;
        return json(value);
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(Names::Lines(lines.map(str::to_owned).collect()))
}

/// `["tench", ...]`, `{"0": "tench"}`, `{"0": ["n01440764", "tench"]}`, `{"n01440764": "tench"}`.
fn json(value: Value) -> std::result::Result<Names, String> {
    let wrong = || "JSON, but not class names".to_owned();
    let entries: Vec<(Option<String>, Value)> = match value {
        Value::Array(values) => values.into_iter().map(|value| (None, value)).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (Some(key), value)).collect(),
        _ => return Err(wrong()),
    };
    let (mut keyed, mut in_order) = (BTreeMap::new(), Vec::new());
    for (key, value) in entries {
        let (id, name) = match value {
            Value::String(name) => (key, name),
            Value::Array(pair) => match &pair[..] {
                [Value::String(id), Value::String(name)] => (Some(id.clone()), name.clone()),
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        match id {
            Some(id) => drop(keyed.insert(id, name)),
            None => in_order.push(name),
        }
    }
    if keyed.is_empty() {
        return Ok(Names::InOrder(in_order));
    }
    let numbers: Option<BTreeMap<usize, String>> =
        keyed.iter().map(|(key, name)| Some((key.parse().ok()?, name.clone()))).collect();
    Ok(numbers.map_or(Names::ById(keyed), Names::ByNumber))
}

/// Splits `n01440764 tench, Tinca tinca`; the separator may be a tab or a comma, too.
fn pair(line: String) -> Option<(String, String)> {
    let separator = if line.contains('\t') {
        line.find('\t')
    } else {
        line.find(|c: char| c.is_whitespace() || c == ',')
    };
    let at = separator?;
    let name = line[at..].trim_start_matches(|c: char| c.is_whitespace() || c == ',' || c == ':');
    let id = line[..at].trim_end_matches(':');
    (!name.is_empty()).then(|| (id.to_owned(), name.to_owned()))
}

impl Names {
    fn of(self, ids: &[String]) -> std::result::Result<Vec<String>, String> {
        match self {
            Names::ById(pairs) => by_id(&pairs, ids),
            Names::ByNumber(pairs) => {
                let all = (0..ids.len()).map(|number| pairs.get(&number).cloned());
                let by_number: Option<Vec<String>> = all.collect();
                let pairs = pairs.into_iter().map(|(number, name)| (number.to_string(), name));
                let pairs: BTreeMap<String, String> = pairs.collect();
                let as_ids = by_id(&pairs, ids);
                match by_number.filter(|_| pairs.len() == ids.len()) {
                    Some(names) => Ok(as_ids.unwrap_or(names)),
                    None => as_ids,
                }
            }
            Names::InOrder(names) => in_order(names, ids),
            Names::Lines(lines) => {
                let pairs: BTreeMap<_, _> = lines.iter().cloned().filter_map(pair).collect();
                by_id(&pairs, ids).or_else(|missing| {
                    if lines.len() == ids.len() {
                        Ok(lines)
                    } else if ids.iter().any(|id| pairs.contains_key(id)) {
                        Err(missing)
                    } else {
                        in_order(lines, ids)
                    }
                })
            }
        }
    }
}

fn by_id(
    pairs: &BTreeMap<String, String>,
    ids: &[String],
) -> std::result::Result<Vec<String>, String> {
    let name =
        |id: &String| pairs.get(id).cloned().ok_or(format!("class `{id}` has no name in it"));
    ids.iter().map(name).collect()
}

fn in_order(names: Vec<String>, ids: &[String]) -> std::result::Result<Vec<String>, String> {
    if names.len() == ids.len() {
        Ok(names)
    } else {
        Err(format!("{} names for {} classes", names.len(), ids.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 3] = ["n01440764", "n02012849", "n03126707"];

    fn of(text: &str, ids: &[&str]) -> std::result::Result<Vec<String>, String> {
        let ids: Vec<String> = ids.iter().map(|id| id.to_string()).collect();
        read(text.as_bytes()).and_then(|names| names.of(&ids))
    }

    #[test]
    fn every_format_gives_the_same_names() {
        let wanted = Ok(["tench", "crane", "crane"].map(str::to_owned).to_vec());
        for text in [
            "tench\ncrane\ncrane\n",
            "\u{feff}tench\r\ncrane\r\n\r\ncrane",
            "n03126707 crane\nn01440764 tench\nn02012849 crane\n",
            "n03126707\tcrane\nn01440764\ttench\nn02012849\tcrane\nn00000001\tmore\n",
            "n01440764,tench\nn02012849,crane\nn03126707,crane\n",
            "[\"tench\", \"crane\", \"crane\"]",
            "{\"0\": \"tench\", \"1\": \"crane\", \"2\": \"crane\"}",
            "{\"7\": [\"n02012849\", \"crane\"], \"0\": [\"n01440764\", \"tench\"], \
             \"9\": [\"n03126707\", \"crane\"]}",
            "[[\"n02012849\", \"crane\"], [\"n01440764\", \"tench\"], [\"n03126707\", \"crane\"]]",
            "{\"n02012849\": \"crane\", \"n01440764\": \"tench\", \"n03126707\": \"crane\"}",
        ] {
            assert_eq!(of(text, &IDS), wanted, "{text}");
        }
        let long = "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane";
        assert_eq!(of(long, &IDS).unwrap()[0], "tench, Tinca tinca");
        assert_eq!(of("0 zero\n1 one\n10 ten", &["0", "1", "10"]).unwrap()[2], "ten");
        assert_eq!(
            of("{\"0\":\"zero\",\"1\":\"one\",\"10\":\"ten\"}", &["0", "1", "10"]).unwrap()[2],
            "ten"
        );
        assert_eq!(of("hot dog\nice cream", &["a", "b"]).unwrap(), ["hot dog", "ice cream"]);
    }

    #[test]
    fn a_class_without_a_name_is_an_error() {
        for (text, said) in [
            ("tench\ncrane", "2 names for 3 classes"),
            ("n01440764 tench\nn02012849 crane", "class `n03126707` has no name"),
            ("{\"n01440764\": \"tench\"}", "class `n02012849` has no name"),
            ("{\"0\": \"tench\"}", "class `n01440764` has no name"),
            ("[\"tench\"]", "1 names"),
            ("[1, 2, 3]", "not class names"),
            ("{\"0\": 1}", "not class names"),
            ("{\"0\": ", "invalid JSON"),
        ] {
            let error = of(text, &IDS).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(read(b"\xff\xfe").is_err());
    }
}
