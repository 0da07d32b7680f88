//! The development kit: the classes, and the labels of the validation images.

use super::{Contest, is_wnid, lists};
use crate::bounded;
use crate::mat::{self, MatValue};
use crate::tar::{ForwardReader, ReadAt, TarMember, TarMembers};
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::collections::BTreeSet;
use std::io::{BufReader, Read};
use std::path::Path;

/// The limit of an unpacked kit; those of 2010 and 2012 take less than a tenth.
const LONGEST: u64 = 1 << 30;
/// The limit of a file in it.
const LONGEST_FILE: u64 = 64 << 20;

/// The content of a development kit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Devkit {
    /// The classes, without the synsets above them.
    pub(super) synsets: Vec<DevkitClass>,
    /// The class id of each validation image.
    pub(super) truth: Vec<u32>,
}

/// A class.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DevkitClass {
    /// The number in this kit, from 1.
    pub(super) id: u32,
    pub(super) wnid: String,
    pub(super) words: String,
    /// The number of training images.
    pub(super) images: usize,
}

const REMEDY: &str = "download the development kit again";

impl Devkit {
    /// Reads the kit of `contest` at `path`.
    pub(super) fn read(path: &Path, contest: Contest) -> Result<Devkit> {
        let truth_name = format!("data/ILSVRC{contest}_validation_ground_truth.txt");
        let [meta, truth] = unpack(path, ["data/meta.mat", &truth_name])?;
        let lacks = |name: &str| {
            let problem = format!("this development kit of ILSVRC-{contest} has no {name}");
            Error::layout(path, problem, contest.remedy())
        };
        let meta = meta.ok_or_else(|| lacks("data/meta.mat"))?;
        let truth = truth.ok_or_else(|| lacks(&truth_name))?;
        let synsets = synsets(&path.join("data/meta.mat"), &meta, contest)?;
        let truth = lists::ground_truth(&truth);
        let truth =
            truth.map_err(|problem| Error::layout(&path.join(&truth_name), problem, REMEDY))?;
        Ok(Devkit { synsets, truth })
    }
}

/// The contents of the members whose paths end with `names`.
fn unpack(path: &Path, names: [&str; 2]) -> Result<[Option<Vec<u8>>; 2]> {
    let (file, _) = bounded::open(path).map_err(|error| Error::io(path, &error))?;
    let stream = ForwardReader::new(MultiGzDecoder::new(BufReader::new(file)), LONGEST);
    let mut members = TarMembers::new(&stream, 0..u64::MAX);
    let mut found = [None, None];
    while let Some(member) = members.next_member().map_err(|broken| Error::archive(path, broken))? {
        let is = |name: &&str| {
            member
                .name
                .strip_suffix(name)
                .is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
        };
        if let Some(position) = names.iter().position(is) {
            found[position] = Some(contents(path, &stream, &member)?);
        }
    }
    // The compressed stream has a checksum at its end.
    stream.finish().map_err(|error| Error::io(path, &error))?;
    Ok(found)
}

fn contents(path: &Path, stream: &ForwardReader<impl Read>, member: &TarMember) -> Result<Vec<u8>> {
    let path = path.join(&member.name);
    if member.len > LONGEST_FILE {
        let problem = format!("{} bytes exceed the limit of {LONGEST_FILE}", member.len);
        return Err(Error::layout(&path, problem, REMEDY));
    }
    let mut bytes = vec![0; member.len as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        let read = stream.read_at(&mut bytes[filled..], member.offset + filled as u64);
        match read.map_err(|error| Error::io(&path, &error))? {
            0 => return Err(Error::layout(&path, "the file is truncated", REMEDY)),
            count => filled += count,
        }
    }
    Ok(bytes)
}

/// The rows of `meta.mat` without children, which are the classes.
fn synsets(path: &Path, meta: &[u8], contest: Contest) -> Result<Vec<DevkitClass>> {
    let wrong = |problem: String| Error::layout(path, problem, contest.remedy());
    let value = mat::variable(meta, "synsets").map_err(|broken| wrong(broken.to_string()))?;
    let Some(MatValue::Struct(table)) = value else {
        return Err(wrong("it has no struct array `synsets`".to_owned()));
    };
    let column = |name: &str| {
        let missing = || match Contest::ALL.iter().find(|c| table.field(&c.id_field()).is_some()) {
            Some(other) if *other != contest => {
                wrong(format!("it is of ILSVRC-{other}, among archives of ILSVRC-{contest}"))
            }
            _ => wrong(format!("its synsets have no field {name}")),
        };
        table.field(name).ok_or_else(missing)
    };
    let id = column(&contest.id_field())?;
    let [wnid, words, children, images] =
        ["WNID", "words", "num_children", "num_train_images"].map(column);
    let (wnid, words, children, images) = (wnid?, words?, children?, images?);

    let (mut classes, mut ids, mut wnids) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (number, row) in table.rows().enumerate() {
        let bad = |field: &str| wrong(format!("row {} has no usable {field}", number + 1));
        let count = |column: usize, field: &str| whole(&row[column]).ok_or_else(|| bad(field));
        if count(children, "num_children")? > 0 {
            continue;
        }
        let synset = DevkitClass {
            id: count(id, "id")?,
            wnid: row[wnid].text().filter(|id| is_wnid(id)).ok_or_else(|| bad("WNID"))?.to_owned(),
            words: row[words].text().unwrap_or_default().replace(char::is_control, " "),
            images: count(images, "num_train_images")? as usize,
        };
        if synset.id == 0 || !ids.insert(synset.id) || !wnids.insert(synset.wnid.clone()) {
            return Err(wrong(format!("row {} has a duplicate id", number + 1)));
        }
        classes.push(synset);
    }
    match classes.len() {
        0 | 1 => Err(wrong(format!("{} classes; at least two are required", classes.len()))),
        _ => Ok(classes),
    }
}

/// A value that is a nonnegative integer.
fn whole(value: &MatValue) -> Option<u32> {
    let number = value.number()?;
    let fits = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    fits.then_some(number as u32)
}
