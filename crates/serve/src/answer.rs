//! What is said of an image, as JSON.

use crate::index::Index;
use crate::replies::short;
use augment::Image;
use evaluate::predictions::top;
use inference::Model;
use inference::neighbours::class_of;
use report::maps::{GAP, Maps};
use report::picture::{data_uri, png_uri, thumbnail};
use serde_json::{Value, json};

/// What a network made of an image.
pub struct Looked {
    /// `JPEG`, `PNG` and so on.
    pub format: String,
    /// Height and width of the image as it came.
    pub size: (usize, usize),
    /// What the network saw of it.
    pub seen: Image,
    /// Of each class.
    pub probabilities: Vec<f32>,
    /// The layer in which distances are measured, and its output.
    pub layer: String,
    /// That output; empty where the network has no such layer.
    pub vector: Vec<f32>,
    /// Outputs of the convolutions: name, height, width and channels, numbers.
    pub maps: Vec<(String, [usize; 3], Vec<f32>)>,
}

/// What a request asks to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// So many classes.
    pub top: usize,
    /// So many training images.
    pub neighbours: usize,
    /// What convolutions make of it.
    pub maps: bool,
    /// Pictures of what is seen and of neighbours.
    pub pictures: bool,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted { top: 5, neighbours: 0, maps: false, pictures: false }
    }
}

/// More neighbours than anyone looks at.
const MOST_NEIGHBOURS: usize = 100;
/// Pictures of neighbours have at most so many pixels a side.
const THUMBNAIL: usize = 128;

impl Wanted {
    /// From an address: `top=3&maps=yes`.
    ///
    /// # Errors
    /// A sentence on the first word that is wrong.
    pub fn read(query: &str) -> Result<Wanted, String> {
        let mut wanted = Wanted::default();
        for word in query.split('&').filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let number = |most: usize| match value.parse::<usize>() {
                Ok(number) if number <= most => Ok(number),
                _ => Err(format!("{name}={value}: say a number from 0 to {most}")),
            };
            let choice = || match value {
                "yes" => Ok(true),
                "no" => Ok(false),
                _ => Err(format!("{name}={value}: say yes or no")),
            };
            match name {
                "top" => wanted.top = number(usize::MAX >> 1)?,
                "neighbours" => wanted.neighbours = number(MOST_NEIGHBOURS)?,
                "maps" => wanted.maps = choice()?,
                "pictures" => wanted.pictures = choice()?,
                _ => {
                    return Err(format!(
                        "{name}: there is no such word, only top, neighbours, maps and pictures"
                    ));
                }
            }
        }
        Ok(wanted)
    }
}

/// The answer.
pub fn answer(model: &Model, index: &Index, looked: &Looked, wanted: &Wanted) -> Value {
    let probabilities = &looked.probabilities;
    let top = most_probable(model, probabilities, wanted.top);
    let mut image = json!({
        "format": looked.format,
        "width": looked.size.1,
        "height": looked.size.0,
    });
    if wanted.pictures {
        image["seen"] = data_uri(&looked.seen).into();
    }
    let mut said = json!({ "image": image, "top": top });
    if wanted.neighbours > 0 {
        said["neighbours"] = neighbours(model, index, looked, wanted);
    }
    if wanted.maps {
        said["maps"] = looked.maps.iter().map(maps).collect();
    }
    said
}

/// The most probable classes: their ids, and their names where there are any.
fn most_probable(model: &Model, row: &[f32], count: usize) -> Value {
    let rows = top(row, count).into_iter().map(|(class, p)| {
        let mut row = json!({ "class": model.classes()[class as usize], "probability": p });
        if let Some(name) = model.name_of(class) {
            row["name"] = name.into();
        }
        row
    });
    rows.collect()
}

/// The nearest of the training images that have been looked at by now.
fn neighbours(model: &Model, index: &Index, looked: &Looked, wanted: &Wanted) -> Value {
    let mut said = index.standing();
    let found = index.nearest(&looked.vector, wanted.neighbours);
    let near = found.iter().map(|(source, near)| {
        let mut one = json!({
            "name": short(&source.name(near.sample)),
            "class": class_of(&**source, near.sample),
            "distance": near.distance,
        });
        if wanted.pictures
            && let Ok(image) = model.read_centre(&**source, near.sample)
        {
            one["picture"] = data_uri(&thumbnail(&image, THUMBNAIL)).into();
        }
        one
    });
    said["nearest"] = near.collect();
    said["layer"] = looked.layer.clone().into();
    said
}

fn maps((layer, [height, width, channels], values): &(String, [usize; 3], Vec<f32>)) -> Value {
    let (height, width, channels) = (*height, *width, *channels);
    let maps = Maps { values, height, width, channels };
    let grid = maps.draw();
    json!({
        "layer": layer,
        "height": height,
        "width": width,
        "channels": channels,
        "columns": grid.columns,
        "gap": GAP,
        "largest": maps.largest(),
        "picture": png_uri(&grid.to_png()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_wrong_ones_told() {
        assert_eq!(Wanted::read(""), Ok(Wanted::default()));
        let wanted = Wanted { top: 3, neighbours: 6, maps: true, pictures: false };
        assert_eq!(Wanted::read("top=3&neighbours=6&maps=yes&pictures=no"), Ok(wanted));
        for (query, told) in [
            ("top=-1", "top=-1: say a number"),
            ("top", "top=: say a number"),
            ("neighbours=101", "from 0 to 100"),
            ("maps=1", "maps=1: say yes or no"),
            ("colour=red", "colour: there is no such word"),
        ] {
            let said = Wanted::read(query).unwrap_err();
            assert!(said.contains(told), "{query}: {said}");
        }
    }
}
