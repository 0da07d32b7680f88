//! Finds the columns of images and labels in a parquet file.

use crate::{Error, Result};
use parquet::basic::Type as Physical;
use parquet::file::metadata::{FileMetaData, ParquetMetaData};
use serde_json::Value;
use std::path::Path;

/// Longer metadata is ignored; ImageNet's names take 40 kB.
const LONGEST_METADATA: usize = 16 << 20;

/// The needed columns, and the class names.
#[derive(Debug, PartialEq)]
pub(super) struct Schema {
    pub(super) image: LeafColumn,
    pub(super) label: LeafColumn,
    pub(super) names: Labels,
}

/// A column of values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LeafColumn {
    pub(super) name: String,
    /// The index among the file's leaf columns.
    pub(super) leaf: usize,
    pub(super) physical: Physical,
}

/// The class names.
#[derive(Debug, PartialEq)]
pub(super) enum Labels {
    /// Names in the file's metadata, in the order of the labels.
    Named(Vec<String>),
    /// No names but the labels.
    Unnamed,
}

/// Finds the columns of a file.
///
/// # Errors
/// If there is no column of images or of labels, or if there are several without a usual name.
pub(super) fn find(path: &Path, metadata: &ParquetMetaData) -> Result<Schema> {
    let file = metadata.file_metadata();
    let features = features(file);
    let leaves = leaves(file);
    let images = candidates(&leaves, &features, "Image", |column, parts| {
        let is_bytes = column.physical == Physical::BYTE_ARRAY;
        is_bytes
            && (parts == [column.name.as_str(), "bytes"] || parts.len() == 1 && is_image(column))
    });
    let image =
        choose(path, "images", images, &["image", "img", "images", "picture", "jpg", "png"])?;
    let labels = candidates(&leaves, &features, "ClassLabel", |column, parts| {
        let kinds = [Physical::INT64, Physical::INT32, Physical::BYTE_ARRAY];
        parts.len() == 1
            && kinds.contains(&column.physical)
            && column.name != image.name
            && LABELS.iter().any(|known| column.name.eq_ignore_ascii_case(known))
    });
    let label = choose(path, "labels", labels, &LABELS)?;
    let names = match features.as_ref().and_then(|features| features.get(&label.name)) {
        Some(feature) => match class_names(feature) {
            Some(names) => Labels::Named(names),
            None => Labels::Unnamed,
        },
        None => Labels::Unnamed,
    };
    if matches!(names, Labels::Named(_)) && label.physical == Physical::BYTE_ARRAY {
        let problem = format!("column `{}` has class names, but contains text", label.name);
        return Err(Error::layout(path, problem, "download the file again"));
    }
    Ok(Schema { image, label, names })
}

/// Usual names of label columns by decreasing priority.
const LABELS: [&str; 9] =
    ["label", "labels", "fine_label", "fine_labels", "class", "category", "target", "cls", "y"];

fn is_image(column: &LeafColumn) -> bool {
    ["image", "img", "images", "bytes", "image_bytes", "jpg", "png", "jpeg"]
        .iter()
        .any(|known| column.name.eq_ignore_ascii_case(known))
}

/// `info.features` in the metadata written by the library `datasets`.
fn features(file: &FileMetaData) -> Option<Value> {
    let pairs = file.key_value_metadata()?;
    let text = pairs.iter().find(|pair| pair.key == "huggingface")?.value.as_ref()?;
    if text.len() > LONGEST_METADATA {
        return None;
    }
    let mut value: Value = serde_json::from_str(text).ok()?;
    Some(value.get_mut("info")?.get_mut("features")?.take())
}

/// The names of a class label: a list, or an object with numbers as keys.
fn class_names(feature: &Value) -> Option<Vec<String>> {
    let names = feature.get("names")?;
    let text = |name: &Value| name.as_str().map(str::to_owned);
    match names {
        Value::Array(names) => names.iter().map(text).collect(),
        Value::Object(by_number) => {
            (0..by_number.len()).map(|number| text(by_number.get(&number.to_string())?)).collect()
        }
        _ => None,
    }
}

/// All leaf columns outside of lists, with their paths.
fn leaves(file: &FileMetaData) -> Vec<(LeafColumn, Vec<String>)> {
    let columns = file.schema_descr().columns().iter().enumerate();
    let plain = columns.filter(|(_, column)| column.max_rep_level() == 0);
    plain
        .map(|(leaf, column)| {
            let parts = column.path().parts().to_vec();
            let name = parts.first().cloned().unwrap_or_default();
            (LeafColumn { name, leaf, physical: column.physical_type() }, parts)
        })
        .collect()
}

/// The columns of a kind, according to the metadata or else to their types.
fn candidates(
    leaves: &[(LeafColumn, Vec<String>)],
    features: &Option<Value>,
    kind: &str,
    fits: impl Fn(&LeafColumn, &[String]) -> bool,
) -> Vec<LeafColumn> {
    let is_of_kind = |column: &LeafColumn| {
        let feature = features.as_ref().and_then(|features| features.get(&column.name));
        feature.and_then(|feature| feature.get("_type")).and_then(Value::as_str) == Some(kind)
    };
    let holds = |column: &LeafColumn, parts: &[String]| match kind {
        "Image" => {
            fits(column, parts) || parts.len() == 1 && column.physical == Physical::BYTE_ARRAY
        }
        _ => parts.len() == 1 && matches!(column.physical, Physical::INT64 | Physical::INT32),
    };
    let named = leaves.iter().filter(|(column, parts)| is_of_kind(column) && holds(column, parts));
    let named: Vec<LeafColumn> = named.map(|(column, _)| column.clone()).collect();
    if !named.is_empty() {
        return named;
    }
    let other = leaves.iter().filter(|(column, parts)| fits(column, parts));
    other.map(|(column, _)| column.clone()).collect()
}

/// The only candidate, or the one with a usual name.
fn choose(path: &Path, what: &str, found: Vec<LeafColumn>, usual: &[&str]) -> Result<LeafColumn> {
    let names: Vec<&str> = found.iter().map(|column| column.name.as_str()).collect();
    let by_name = usual.iter().find_map(|&known| {
        let mut same = found.iter().filter(|column| column.name.eq_ignore_ascii_case(known));
        same.next().filter(|_| same.next().is_none())
    });
    match (&found[..], by_name) {
        ([one], _) => Ok(one.clone()),
        (_, Some(column)) => Ok(column.clone()),
        ([], _) => {
            let problem = format!("no column of {what}");
            let remedy = "expected the columns `image` {bytes, path} and `label`";
            Err(Error::layout(path, problem, remedy))
        }
        (_, None) => {
            let problem = format!("several columns of {what}: {}", names.join(", "));
            Err(Error::layout(path, problem, "keep only one of them"))
        }
    }
}
