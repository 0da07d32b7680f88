//! The members of one sample: which is the image, which the label.

use super::labels::{Json, read_cls, read_json, wrong};
use super::{Sample, Scan};
use crate::formats::ENDINGS;
use crate::tar::{Member, ReadAt};
use crate::{Error, Result};
use std::collections::HashSet;
use std::path::Path;

/// More members than any sample has.
const MOST_MEMBERS: usize = 1024;

/// Members of one key that lie side by side.
#[derive(Debug, Default)]
pub(super) struct Group {
    key: String,
    fields: HashSet<String>,
    members: Vec<(String, Member)>,
}

impl Group {
    pub(super) fn of(key: &str) -> Group {
        Group { key: key.to_owned(), ..Group::default() }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Adds a member.
    ///
    /// # Errors
    /// If the field is there already.
    pub(super) fn add(&mut self, field: String, member: Member, path: &Path) -> Result<()> {
        if !self.fields.insert(field.clone()) {
            let problem = format!("{} is there twice", member.name);
            return Err(Error::layout(path, problem, "each field of a sample may occur once"));
        }
        if self.members.len() >= MOST_MEMBERS {
            let problem = format!("more than {MOST_MEMBERS} members of the key `{}`", self.key);
            return Err(Error::layout(path, problem, "a key may have no dot in it"));
        }
        self.members.push((field, member));
        Ok(())
    }

    /// Adds what the members make to `scan`.
    ///
    /// # Errors
    /// If more than one of them may be the image or its label, or there is an image without a
    /// label.
    pub(super) fn close<R: ReadAt + ?Sized>(
        self,
        file: &R,
        path: &Path,
        scan: &mut Scan,
    ) -> Result<()> {
        let Some((_, first)) = self.members.first() else { return Ok(()) };
        let images = self.members.iter().filter(|(field, _)| ENDINGS.contains(&&**field));
        let images: Vec<&Member> = images.map(|(_, member)| member).collect();
        self.check_dots(!images.is_empty(), path)?;
        let image = match images[..] {
            [] => {
                scan.unused.add_without_image(&first.name);
                self.members.iter().for_each(|(field, member)| unused(field, member, scan));
                return Ok(());
            }
            [image] => image.clone(),
            [one, other, ..] => {
                let problem = format!("{} and {} are images of one sample", one.name, other.name);
                let remedy = "leave one, or give the other a field of its own, such as `seg.png`";
                return Err(Error::layout(path, problem, remedy));
            }
        };
        let (label, json) = self.label(file, path, &image)?;
        let uses_json = json.label.is_some() || !json.names.is_empty();
        scan.names.add(label, json.names);
        for (field, member) in &self.members {
            let used = *member == image || field == "cls" || (field == "json" && uses_json);
            if !used {
                unused(field, member, scan);
            }
        }
        scan.samples.push(Sample { image, label });
        Ok(())
    }

    /// The label, and what a `.json` says besides.
    fn label<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        path: &Path,
        image: &Member,
    ) -> Result<(u32, Json)> {
        let find = |wanted: &str| self.members.iter().find(|(field, _)| field == wanted);
        let cls = find("cls").map(|(_, member)| read_cls(file, path, member)).transpose()?;
        let json = find("json").map(|(_, member)| Ok((member, read_json(file, path, member)?)));
        let json: Option<(&Member, Json)> = json.transpose()?;
        let stated = json.as_ref().and_then(|(_, json)| json.label);
        match (cls, stated, json) {
            (Some(a), Some(b), Some((member, _))) if a != b => {
                let problem = format!("label {b}, where the `.cls` beside it has {a}");
                let remedy = "correct the one that is wrong, or remove it";
                Err(Error::layout(path, format!("{}: {problem}", member.name), remedy))
            }
            (Some(label), _, json) | (None, Some(label), json) => {
                Ok((label, json.map(|(_, json)| json).unwrap_or_default()))
            }
            (None, None, Some((member, Json { problem: Some(problem), .. }))) => {
                Err(wrong(path, member, &problem))
            }
            (None, None, _) => {
                let problem = format!("{} has no label", image.name);
                let remedy = "expected a `.cls` or `.json` member of the same name right beside it \
                              (`tar --sort=name` packs them so)";
                Err(Error::layout(path, problem, remedy))
            }
        }
    }

    /// Refuses samples whose key seems to have a dot. Beside an image, fields such as `seg.png` are
    /// something else, unless they have a label of their own.
    fn check_dots(&self, has_image: bool, path: &Path) -> Result<()> {
        let mut dotted = self.members.iter().filter_map(|(field, member)| {
            let (prefix, ending) = field.rsplit_once('.')?;
            Some((prefix, ending, member))
        });
        let is_labelled = |prefix: &str| {
            ["cls", "json"].iter().any(|label| self.fields.contains(&format!("{prefix}.{label}")))
        };
        let found = dotted.find(|(prefix, ending, _)| {
            ENDINGS.contains(ending) && (!has_image || is_labelled(prefix))
        });
        let Some((prefix, ending, member)) = found else { return Ok(()) };
        let problem = format!(
            "{}: a key with a dot: webdataset reads it as field `{prefix}.{ending}` of the key \
             `{}`",
            member.name, self.key
        );
        let remedy = "rename the members (`000_25.jpg` for `000.25.jpg`), so that the first dot \
                      comes before `jpg` and `cls`";
        Err(Error::layout(path, problem, remedy))
    }
}

fn unused(field: &str, member: &Member, scan: &mut Scan) {
    scan.unused.add(&format!("`.{field}`"), &member.name);
}
