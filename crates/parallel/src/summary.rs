//! How several devices share a step: what each has, and what crosses between them. Text for people,
//! JSON for programs.

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
    /// Tables, and a sentence on a step's bytes. Begins with an empty line.
    pub text: String,
    /// `devices`: of each its `parameters`, `macs` of an image and `train_bytes` of memory; and the
    /// bytes of a step that cross.
    pub json: Value,
}

#[cfg(test)]
mod tests {
    use layers::Spec;
    use train::recipe::Recipe;
    use train::run::Blueprint;

    /// A run on images of the recipe's size.
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
