//! What makes a run the run it is, as names and values.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use toml::{Table, Value};

/// Everything that decides a run's bits, by its name in `config.toml` or `model.toml`: a run that
/// is resumed must have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity(BTreeMap<String, String>);

/// An entry that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `recipe.batch`.
    pub name: String,
    /// What it was when the run began.
    pub was: Option<String>,
    /// What it would be now.
    pub now: Option<String>,
}

impl Identity {
    /// Adds an entry.
    pub fn insert(&mut self, name: &str, value: impl fmt::Display) {
        self.0.insert(name.to_string(), value.to_string());
    }

    /// Adds every entry of a table, named with its place in it.
    pub fn insert_table(&mut self, name: &str, table: Table) {
        self.insert_value(name, Value::Table(table));
    }

    fn insert_value(&mut self, name: &str, value: Value) {
        match value {
            Value::Table(table) => {
                let entries = table.into_iter();
                entries.for_each(|(key, value)| self.insert_value(&format!("{name}.{key}"), value));
            }
            Value::Array(values) if values.iter().any(Value::is_table) => {
                let values = values.into_iter().enumerate();
                values.for_each(|(idx, value)| self.insert_value(&format!("{name}[{idx}]"), value));
            }
            value => self.insert(name, value),
        }
    }

    /// Takes an entry over from another, if it has it.
    pub(crate) fn take_over(&mut self, name: &str, from: &Identity) {
        if let Some(value) = from.get(name) {
            self.insert(name, value);
        }
    }

    /// An entry.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// What would not be the same, by name; `may_change` says of which entries that does not
    /// matter.
    pub fn differences(
        &self,
        now: &Identity,
        may_change: impl Fn(&str) -> bool,
    ) -> Vec<Difference> {
        let mut names: Vec<&String> = self.0.keys().chain(now.0.keys()).collect();
        names.sort();
        names.dedup();
        names.retain(|name| self.0.get(*name) != now.0.get(*name) && !may_change(name));
        let difference = |name: &String| Difference {
            name: name.clone(),
            was: self.0.get(name).cloned(),
            now: now.0.get(name).cloned(),
        };
        names.into_iter().map(difference).collect()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_nothing = |value: &Option<String>| value.clone().unwrap_or("nothing".to_string());
        let (was, now) = (or_nothing(&self.was), or_nothing(&self.now));
        write!(f, "{}: was {was}, now {now}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_to_the_leaf() {
        let identity = |text: &str| {
            let mut identity = Identity::default();
            identity.insert_table("recipe", text.parse().unwrap());
            identity
        };
        let old = identity("rate = 0.1\nepochs = 2\n[[rows]]\na = 1\n[[rows]]\na = 2\nb = [1, 2]");
        let new = identity("rate = 0.2\nepochs = 3\n[[rows]]\na = 1\n[[rows]]\na = 3\nb = [1, 2]");
        let found = old.differences(&new, |name| name == "recipe.epochs");
        let lines: Vec<String> = found.iter().map(Difference::to_string).collect();
        assert_eq!(lines, ["recipe.rate: was 0.1, now 0.2", "recipe.rows[1].a: was 2, now 3"]);
        let less = identity("rate = 0.1");
        let found = less.differences(&old, |name| name.starts_with("recipe.rows"));
        assert_eq!(found[0].to_string(), "recipe.epochs: was nothing, now 2");
        assert_eq!(old.differences(&old, |_| false), []);
    }
}
