//! The results for an image as JSON.

use crate::explain::Method;
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
    /// What explains a class.
    pub explained: Option<Explained>,
}

/// What explains a class of an image.
pub struct Explained {
    /// The class.
    pub class: usize,
    /// The layer of Grad-CAM.
    pub layer: Option<String>,
    /// The kinds of explanations that the network has, with their pictures.
    pub pictures: Vec<(Method, Image)>,
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
    /// Explanations of a class.
    pub explain: bool,
    /// The explained class, by its id or its title; `None` for the most probable one.
    pub class: Option<String>,
}

impl Default for Wanted {
    fn default() -> Wanted {
        let (maps, pictures, explain, class) = (false, false, false, None);
        Wanted { top: 5, neighbours: 0, maps, pictures, explain, class }
    }
}

/// The explanation that a request asks for as a PNG file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedPicture {
    /// Its kind.
    pub method: Method,
    /// As in [`Wanted`].
    pub class: Option<String>,
}

impl WantedPicture {
    /// Parses a query: `method=saliency&class=dog`.
    ///
    /// # Errors
    /// A message about the first wrong parameter.
    pub fn read(query: &str) -> Result<WantedPicture, String> {
        let mut wanted = WantedPicture { method: Method::GradCam, class: None };
        for (name, value) in parameters(query) {
            match name {
                "method" => wanted.method = Method::find(value)?,
                "class" => wanted.class = Some(decoded(value)),
                _ => return Err(format!("{name}: unknown parameter; there are method and class")),
            }
        }
        Ok(wanted)
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
        for (name, value) in parameters(query) {
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
                "explain" => wanted.explain = choice()?,
                "class" => wanted.class = Some(decoded(value)),
                _ => {
                    return Err(format!(
                        "{name}: unknown parameter; there are top, neighbours, maps, pictures, \
                         explain and class"
                    ));
                }
            }
        }
        match wanted {
            Wanted { explain: false, class: Some(_), .. } => {
                Err("class: is explained with explain=yes only".to_string())
            }
            wanted => Ok(wanted),
        }
    }
}

/// The names and values of a query.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let all = query.split('&').filter(|parameter| !parameter.is_empty());
    all.map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
}

/// A value of a query without its percent-encoding (RFC 3986) and with spaces for `+`, as forms
/// send them. What is not UTF-8, or not encoded so, is replaced or stays.
fn decoded(value: &str) -> String {
    let (bytes, mut at, mut plain) = (value.as_bytes(), 0, Vec::new());
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|two| str::from_utf8(two).ok());
        let encoded = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match (byte, encoded) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                at += 2;
            }
            (b'+', _) => plain.push(b' '),
            _ => plain.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// The class of an id or a title.
///
/// # Errors
/// A message, if there is none.
pub fn find_class(model: &Model, name: &str) -> Result<usize, String> {
    let by_id = model.classes().iter().position(|id| id == name);
    let class = by_id.or_else(|| model.titles().iter().position(|title| title == name));
    class.ok_or_else(|| format!("class={name}: the network has no such class; /about lists them"))
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
    if let Some(explained) = &inference.explained {
        result["explained"] = explanation(model, probabilities, explained);
    }
    result
}

/// The explained class with its pictures.
fn explanation(model: &Model, probabilities: &[f32], explained: &Explained) -> Value {
    let class = explained.class;
    let pictures = explained.pictures.iter().map(|(method, picture)| {
        json!({
            "method": method.name(),
            "title": method.title(),
            "picture": data_uri(picture),
        })
    });
    json!({
        "class": model.classes()[class],
        "probability": probabilities[class],
        "layer": explained.layer,
        "pictures": pictures.collect::<Vec<_>>(),
    })
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
        let wanted = Wanted { top: 3, neighbours: 6, maps: true, ..Wanted::default() };
        assert_eq!(Wanted::read("top=3&neighbours=6&maps=yes&pictures=no"), Ok(wanted));
        for (query, expected) in [
            ("top=-1", "top=-1: must be a number"),
            ("top", "top=: must be a number"),
            ("neighbours=101", "from 0 to 100"),
            ("maps=1", "maps=1: must be yes or no"),
            ("colour=red", "colour: unknown parameter"),
            ("class=dog", "class: is explained with explain=yes only"),
        ] {
            let error = Wanted::read(query).unwrap_err();
            assert!(error.contains(expected), "{query}: {error}");
        }
    }

    #[test]
    fn classes_may_be_encoded() {
        let explain = |query: &str| Wanted::read(query).unwrap().class;
        let class = explain("explain=yes&class=golden%20retriever");
        assert_eq!(class.as_deref(), Some("golden retriever"));
        assert_eq!(decoded("a+b%2Bc%C3%A4%4"), "a b+cä%4");
        assert_eq!(decoded("%ff%zz"), "\u{fffd}%zz");
        let wanted = WantedPicture { method: Method::Occlusion, class: Some("1".into()) };
        assert_eq!(WantedPicture::read("class=1&method=occlusion"), Ok(wanted));
        let error = WantedPicture::read("method=cam").unwrap_err();
        assert_eq!(error, "method=cam: must be one of grad-cam, saliency, occlusion");
        assert!(WantedPicture::read("top=3").unwrap_err().contains("unknown parameter"));
    }
}
