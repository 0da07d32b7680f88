//! Explanations as pictures laid over an image, and a page of them.

use crate::document::document;
use crate::markup::escape;
use crate::picture::data_uri;
use augment::Image;
use std::fmt::Write;

/// Colours of a heat map from 0 to 1: anchors of Matplotlib's `inferno`.
const HEAT: [[f32; 3]; 5] = [
    [0.0, 0.0, 4.0],
    [87.0, 16.0, 110.0],
    [188.0, 55.0, 84.0],
    [249.0, 142.0, 9.0],
    [252.0, 255.0, 164.0],
];
/// Colours of values above and below zero.
const ABOVE: [f32; 3] = [203.0, 24.0, 29.0];
const BELOW: [f32; 3] = [33.0, 113.0, 181.0];
/// The share of the strongest gradients that are drawn with full contrast.
const CLIPPED: f64 = 0.005;
/// Narrower pictures are enlarged pixel by pixel.
const SMOOTH: usize = 128;

/// A map of values from 0 on over an image of the same size: black to yellow up to the largest
/// value, with the image showing through.
///
/// # Panics
/// If the number of values is not that of the pixels.
pub fn heat(image: &Image, values: &[f32]) -> Image {
    let largest = largest(values);
    over(image, values, |value| {
        let share = (value / largest).clamp(0.0, 1.0);
        let place = share * (HEAT.len() - 1) as f32;
        let low = (place as usize).min(HEAT.len() - 2);
        (mix(HEAT[low], HEAT[low + 1], place - low as f32), 0.65)
    })
}

/// A map of values of both signs over an image in grey: red above zero, blue below, as strong as
/// the value.
///
/// # Panics
/// As [`heat`].
pub fn signed(image: &Image, values: &[f32]) -> Image {
    let largest = largest(values);
    let mut grey = image.clone();
    for pixel in grey.pixels.as_chunks_mut::<3>().0 {
        let [r, g, b] = pixel.map(u32::from);
        *pixel = [((299 * r + 587 * g + 114 * b) / 1000) as u8; 3];
    }
    over(&grey, values, |value| {
        let color = if value > 0.0 { ABOVE } else { BELOW };
        (color, 0.85 * (value.abs() / largest).clamp(0.0, 1.0))
    })
}

/// A gradient with respect to red, green and blue as a picture of `height` x `width` pixels: grey
/// is zero, the strongest half percent has full contrast.
///
/// # Panics
/// If there are not three values a pixel.
pub fn gradient(values: &[f32], height: usize, width: usize) -> Image {
    assert_eq!(values.len(), height * width * 3, "three values a pixel");
    let mut sizes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
    let at = ((1.0 - CLIPPED) * sizes.len() as f64) as usize;
    let at = at.min(sizes.len().saturating_sub(1));
    let most =
        if sizes.is_empty() { 1.0 } else { *sizes.select_nth_unstable_by(at, f32::total_cmp).1 };
    let most = most.max(f32::MIN_POSITIVE);
    let shade = |value: &f32| (127.5 + 127.5 * (value / most).clamp(-1.0, 1.0)).round() as u8;
    Image { height, width, pixels: values.iter().map(shade).collect() }
}

/// An image with an explanation of a class.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The image's name.
    pub name: String,
    /// The explained class and its probability.
    pub class: (String, f32),
    /// Its true class, if known.
    pub truth: Option<String>,
    /// The network's input and what explains it, each with its title.
    pub pictures: Vec<(String, Image)>,
}

/// A self-contained page with a row of pictures for each image.
pub fn page(title: &str, notes: &[String], images: &[Explained]) -> String {
    let header: String = notes.iter().map(|note| format!("<p>{}</p>\n", escape(note))).collect();
    document(title, &header, &rows(images))
}

/// The rows of a page.
pub(crate) fn rows(images: &[Explained]) -> String {
    let mut html = String::from("<div class=\"explained\">");
    for image in images {
        let (class, probability) = &image.class;
        let truth = image.truth.as_ref().filter(|truth| *truth != class);
        let truth = truth.map_or_else(String::new, |truth| format!(", in fact {}", escape(truth)));
        let _ = write!(
            html,
            "<h3>{}: {} ({:.1} %){truth}</h3>\n<div class=\"row\">",
            escape(&image.name),
            escape(class),
            100.0 * probability,
        );
        for (title, picture) in &image.pictures {
            let title = escape(title);
            let pixels = if picture.width < SMOOTH { " class=\"pixels\"" } else { "" };
            let _ = write!(
                html,
                "<figure><img{pixels} width=\"{}\" height=\"{}\" alt=\"{title}\" src=\"{}\">\
                 <figcaption>{title}</figcaption></figure>",
                picture.width,
                picture.height,
                data_uri(picture),
            );
        }
        html += "</div>\n";
    }
    html + "</div>\n"
}

/// Mixes a colour into each pixel; `color` gives it and its share.
fn over(image: &Image, values: &[f32], color: impl Fn(f32) -> ([f32; 3], f32)) -> Image {
    assert_eq!(values.len(), image.height * image.width, "a value for each pixel");
    let mut mixed = image.clone();
    for (pixel, &value) in mixed.pixels.as_chunks_mut::<3>().0.iter_mut().zip(values) {
        let (color, share) = color(value);
        *pixel = mix(pixel.map(f32::from), color, share).map(|value| value.round() as u8);
    }
    mixed
}

fn mix(a: [f32; 3], b: [f32; 3], share: f32) -> [f32; 3] {
    std::array::from_fn(|at| a[at] * (1.0 - share) + b[at] * share)
}

/// The largest absolute value, above zero.
fn largest(values: &[f32]) -> f32 {
    values.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_laid_over_the_image() {
        let image = Image::filled(1, 2, [100, 200, 50]);
        let heat = heat(&image, &[0.0, 2.0]);
        assert_eq!((heat.pixel(0, 0), heat.pixel(0, 1)), ([35, 70, 20], [199, 236, 124]));
        let signed = signed(&image, &[0.0, -1.0]);
        assert_eq!(signed.pixel(0, 0), [153; 3], "grey where the class does not depend on it");
        assert_eq!(signed.pixel(0, 1), [51, 119, 177]);
        assert_eq!(super::heat(&image, &[0.0; 2]).pixel(0, 1), [35, 70, 20]);
    }

    #[test]
    fn gradients_are_grey_at_zero() {
        let mut values = vec![0.0; 300];
        (values[0], values[4]) = (1.0, -9.0);
        let picture = gradient(&values, 10, 10);
        assert_eq!((picture.pixel(0, 0), picture.pixel(0, 1)), ([255, 128, 128], [128, 0, 128]));
        assert_eq!(gradient(&[0.0; 3], 1, 1).pixel(0, 0), [128; 3]);
    }

    #[test]
    fn a_page_has_every_picture_and_escapes_names() {
        let pictures = vec![("Image".into(), Image::filled(2, 2, [1; 3])); 3];
        let truth = Some("<dog>".to_string());
        let one = Explained { name: "a&b".into(), class: ("cat".into(), 0.5), truth, pictures };
        let html = page("Explanations", &["A note.".into()], &[one]);
        assert_eq!(html.matches("<img ").count(), 3);
        assert!(html.contains("a&amp;b: cat (50.0 %), in fact &lt;dog&gt;"), "{html}");
    }
}
