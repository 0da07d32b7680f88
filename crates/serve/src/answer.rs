//! The results for an image as JSON.

use crate::index::Index;
use crate::replies::short;
use augment::Image;
use evaluate::predictions::top;
use inference::Model;
use inference::neighbours::class_of;
use report::maps::{GAP, Maps};
use report::picture::{data_uri, png_uri, thumbnail};
use serde_json::{Value, json};

/// The results for an image.
pub struct Inference {
    /// `JPEG`, `PNG` and so on.
    pub format: String,
    /// Height and width of the uploaded image.
    pub size: (usize, usize),
    /// The network's input.
    pub seen: Image,
    /// The probability of each class.
    pub probabilities: Vec<f32>,
    /// The layer in which distances are measured.
    pub layer: String,
    /// Its output; empty if the network has no such layer.
    pub vector: Vec<f32>,
    /// Outputs of the convolutions: name, `[height, width, channels]`, values.
    pub maps: Vec<(String, [usize; 3], Vec<f32>)>,
}

/// The results that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Number of classes.
    pub top: usize,
    /// Number of nearest training images.
    pub neighbours: usize,
    /// Feature maps of convolutions.
    pub maps: bool,
    /// Pictures of the network's input and of neighbours.
    pub pictures: bool,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted { top: 5, neighbours: 0, maps: false, pictures: false }
    }
}

/// Maximum number of neighbours.
const MAX_NEIGHBOURS: usize = 100;
/// Maximum side of neighbours' pictures in pixels.
const THUMBNAIL: usize = 128;

impl Wanted {
    /// Parses a query: `top=3&maps=yes`.
    ///
    /// # Errors
    /// A message about the first wrong parameter.
    pub fn read(query: &str) -> Result<Wanted, String> {
        let mut wanted = Wanted::default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let number = |max: usize| match value.parse::<usize>() {
                Ok(number) if number <= max => Ok(number),
                _ => Err(format!("{name}={value}: must be a number from 0 to {max}")),
            };
            let choice = || match value {
                "yes" => Ok(true),
                "no" => Ok(false),
                _ => Err(format!("{name}={value}: must be yes or no")),
            };
            match name {
                "top" => wanted.top = number(usize::MAX >> 1)?,
                "neighbours" => wanted.neighbours = number(MAX_NEIGHBOURS)?,
                "maps" => wanted.maps = choice()?,
                "pictures" => wanted.pictures = choice()?,
                _ => {
                    return Err(format!(
                        "{name}: unknown parameter; there are top, neighbours, maps and pictures"
                    ));
                }
            }
        }
        Ok(wanted)
    }
}

/// The response to a request.
pub fn answer(model: &Model, index: &Index, inference: &Inference, wanted: &Wanted) -> Value {
    let probabilities = &inference.probabilities;
    let top = most_probable(model, probabilities, wanted.top);
    let mut image = json!({
        "format": inference.format,
        "width": inference.size.1,
        "height": inference.size.0,
    });
    if wanted.pictures {
        image["seen"] = data_uri(&inference.seen).into();
    }
    let mut result = json!({ "image": image, "top": top });
    if wanted.neighbours > 0 {
        result["neighbours"] = neighbours(model, index, inference, wanted);
    }
    if wanted.maps {
        result["maps"] = inference.maps.iter().map(maps).collect();
    }
    result
}

/// The most probable classes: their ids, and their names if any.
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

/// The nearest of the training images indexed so far.
fn neighbours(model: &Model, index: &Index, inference: &Inference, wanted: &Wanted) -> Value {
    let mut result = index.status();
    let found = index.nearest(&inference.vector, wanted.neighbours);
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
    result["nearest"] = near.collect();
    result["layer"] = inference.layer.clone().into();
    result
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
    fn queries_are_parsed_and_wrong_parameters_refused() {
        assert_eq!(Wanted::read(""), Ok(Wanted::default()));
        let wanted = Wanted { top: 3, neighbours: 6, maps: true, pictures: false };
        assert_eq!(Wanted::read("top=3&neighbours=6&maps=yes&pictures=no"), Ok(wanted));
        for (query, expected) in [
            ("top=-1", "top=-1: must be a number"),
            ("top", "top=: must be a number"),
            ("neighbours=101", "from 0 to 100"),
            ("maps=1", "maps=1: must be yes or no"),
            ("colour=red", "colour: unknown parameter"),
        ] {
            let error = Wanted::read(query).unwrap_err();
            assert!(error.contains(expected), "{query}: {error}");
        }
    }
}
