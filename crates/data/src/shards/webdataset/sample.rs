//! Finds the image and the label among the members of a sample.

use super::labels::{LabelJson, read_cls, read_json, wrong};
use super::{Sample, TarScan};
use crate::formats::EXTENSIONS;
use crate::tar::{ReadAt, TarMember};
use crate::{Error, Result};
use std::collections::HashSet;
use std::path::Path;

/// The limit of members per sample.
const MAX_MEMBERS: usize = 1024;

/// Adjacent members with the same key.
#[derive(Debug, Default)]
pub(super) struct SampleMembers {
    key: String,
    fields: HashSet<String>,
    members: Vec<(String, TarMember)>,
}

impl SampleMembers {
    pub(super) fn of(key: &str) -> SampleMembers {
        SampleMembers { key: key.to_owned(), ..SampleMembers::default() }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Adds a member.
    ///
    /// # Errors
    /// If the field exists already.
    pub(super) fn add(&mut self, field: String, member: TarMember, path: &Path) -> Result<()> {
        if !self.fields.insert(field.clone()) {
            let problem = format!("{} occurs twice", member.name);
            return Err(Error::layout(path, problem, "each field of a sample must be unique"));
        }
        if self.members.len() >= MAX_MEMBERS {
            let problem = format!("more than {MAX_MEMBERS} members of the key `{}`", self.key);
            return Err(Error::layout(path, problem, "keys must not contain dots"));
        }
        self.members.push((field, member));
        Ok(())
    }

    /// Adds the sample to `scan`.
    ///
    /// # Errors
    /// If it has several images or conflicting labels, or an image without a label.
    pub(super) fn close<R: ReadAt + ?Sized>(
        self,
        file: &R,
        path: &Path,
        scan: &mut TarScan,
    ) -> Result<()> {
        let Some((_, first)) = self.members.first() else { return Ok(()) };
        let images = self.members.iter().filter(|(field, _)| EXTENSIONS.contains(&&**field));
        let images: Vec<&TarMember> = images.map(|(_, member)| member).collect();
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
                let remedy = "remove one, or give it another field, such as `seg.png`";
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

    /// The label, and other information in a `.json` member.
    fn label<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        path: &Path,
        image: &TarMember,
    ) -> Result<(u32, LabelJson)> {
        let find = |wanted: &str| self.members.iter().find(|(field, _)| field == wanted);
        let cls = find("cls").map(|(_, member)| read_cls(file, path, member)).transpose()?;
        let json = find("json").map(|(_, member)| Ok((member, read_json(file, path, member)?)));
        let json: Option<(&TarMember, LabelJson)> = json.transpose()?;
        let stated = json.as_ref().and_then(|(_, json)| json.label);
        match (cls, stated, json) {
            (Some(a), Some(b), Some((member, _))) if a != b => {
                let problem = format!("label {b}, but its `.cls` has {a}");
                let remedy = "correct or remove the wrong one";
                Err(Error::layout(path, format!("{}: {problem}", member.name), remedy))
            }
            (Some(label), _, json) | (None, Some(label), json) => {
                Ok((label, json.map(|(_, json)| json).unwrap_or_default()))
            }
            (None, None, Some((member, LabelJson { problem: Some(problem), .. }))) => {
                Err(wrong(path, member, &problem))
            }
            (None, None, _) => {
                let problem = format!("{} has no label", image.name);
                let remedy = "expected an adjacent `.cls` or `.json` member of the same name \
                              (`tar --sort=name` packs them so)";
                Err(Error::layout(path, problem, remedy))
            }
        }
    }

    /// Rejects samples whose key seems to contain a dot. Next to an image, fields such as `seg.png`
    /// are allowed, unless they have a label of their own.
    fn check_dots(&self, has_image: bool, path: &Path) -> Result<()> {
        let mut dotted = self.members.iter().filter_map(|(field, member)| {
            let (prefix, ending) = field.rsplit_once('.')?;
            Some((prefix, ending, member))
        });
        let is_labelled = |prefix: &str| {
            ["cls", "json"].iter().any(|label| self.fields.contains(&format!("{prefix}.{label}")))
        };
        let found = dotted.find(|(prefix, ending, _)| {
            EXTENSIONS.contains(ending) && (!has_image || is_labelled(prefix))
        });
        let Some((prefix, ending, member)) = found else { return Ok(()) };
        let problem = format!(
            "{}: a key with a dot: webdataset reads it as field `{prefix}.{ending}` of the key \
             `{}`",
            member.name, self.key
        );
        let remedy = "rename the members (`000_25.jpg` for `000.25.jpg`), so that the first dot \
                      is the one before `jpg` and `cls`";
        Err(Error::layout(path, problem, remedy))
    }
}

fn unused(field: &str, member: &TarMember, scan: &mut TarScan) {
    scan.unused.add(&format!("`.{field}`"), &member.name);
}
