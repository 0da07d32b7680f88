//! How several devices share a step: the share of each, and the bytes that they exchange. As text
//! for people and as JSON for programs.

mod data;
mod hybrid;
mod table;
mod towers;

use crate::Mode;
use serde_json::Value;

/// How several devices share the work of a step; made by [`of_towers`](Self::of_towers),
/// [`of_data`](Self::of_data) and [`of_hybrid`](Self::of_hybrid).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// The mode.
    pub mode: Mode,
    /// Tables, and a line with the bytes of a step. Begins with an empty line.
    pub text: String,
    /// `devices`, each with its `parameters`, `macs` per image and `train_bytes` of memory; and the
    /// bytes that a step exchanges.
    pub json: Value,
}

#[cfg(test)]
mod tests {
    use layers::Spec;
    use train::recipe::Recipe;
    use train::run::Blueprint;

    /// A job on images of the recipe's size.
    pub(super) fn job<'a>(spec: &'a Spec, recipe: &'a Recipe) -> Blueprint<'a> {
        let [height, width, _] = spec.input;
        Blueprint { spec, recipe, stored: [recipe.side(height, width); 2] }
    }

    /// The words of the line that begins with `start`.
    pub(super) fn words<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
        let found = text.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("{start}: {text}")).split_whitespace().collect()
    }
}
