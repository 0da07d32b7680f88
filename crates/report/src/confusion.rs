//! The confusion matrix.

mod raster;

use crate::markup::{escape, standalone};
use evaluate::predictions::Predictions;
use files::CsvRow;
use files::numbers::percent;
use serde_json::{Value, json};
use std::fmt::Write;

/// Counts of images by true and predicted class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Confusion {
    /// The classes' names.
    pub classes: Vec<String>,
    /// classes x classes: images of class `row` predicted as class `column`.
    pub counts: Vec<u32>,
}

/// Maximum number of classes with legible names and counts in the figure.
const MAX_NAMED: usize = 30;
/// Maximum number of classes drawn as shapes; larger matrices are drawn as pixels.
const MAX_SHAPES: usize = 100;
const CELL: f64 = 34.0;

impl Confusion {
    /// The confusion matrix of predictions.
    pub fn of(classes: &[String], predictions: &Predictions) -> Confusion {
        Confusion { classes: classes.to_vec(), counts: predictions.confusion() }
    }

    fn row(&self, class: usize) -> &[u32] {
        &self.counts[class * self.classes.len()..][..self.classes.len()]
    }

    /// The share of a class's images that was predicted as another class.
    fn share(&self, class: usize, predicted: usize) -> f64 {
        let images: u32 = self.row(class).iter().sum();
        f64::from(self.row(class)[predicted]) / f64::from(images.max(1))
    }

    /// Whether a figure with names and counts is legible.
    pub fn is_small(&self) -> bool {
        self.classes.len() <= MAX_NAMED
    }

    /// The most confused pairs, those with the most images first: true class, predicted class,
    /// images.
    pub fn worst_pairs(&self, count: usize) -> Vec<(&str, &str, u32)> {
        let n = self.classes.len();
        let cells = (0..n).flat_map(|class| (0..n).map(move |predicted| (class, predicted)));
        let mut pairs: Vec<_> = cells
            .filter(|&(class, predicted)| class != predicted && self.row(class)[predicted] > 0)
            .map(|(class, predicted)| (self.row(class)[predicted], class, predicted))
            .collect();
        pairs.sort_by_key(|&(images, class, predicted)| (u32::MAX - images, class, predicted));
        pairs.truncate(count);
        let named = |&(images, class, predicted): &(u32, usize, usize)| {
            (self.classes[class].as_str(), self.classes[predicted].as_str(), images)
        };
        pairs.iter().map(named).collect()
    }

    /// The matrix as SVG; rows are true classes. Up to 100 classes have their names at the sides
    /// and counts in the cells; for more, pixels are embedded.
    pub fn to_svg(&self, id: &str) -> String {
        let n = self.classes.len();
        if n > MAX_SHAPES {
            return self.to_raster_svg(id);
        }
        let longest = self.classes.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let names = 7.0 * longest.min(18) as f64 + 12.0;
        let side = CELL * n as f64;
        let (width, height) = (names + side + 8.0, 0.8 * names + side + 30.0);
        let top = 0.8 * names + 16.0;
        let mut svg = format!(
            "<svg class=\"matrix\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
             aria-labelledby=\"{id}-t\" style=\"max-width:{:.0}px\" \
             xmlns=\"http://www.w3.org/2000/svg\"><title id=\"{id}-t\">Confusion matrix: rows are \
             true classes, columns predicted classes</title>",
            1.35 * width
        );
        for (class, name) in self.classes.iter().enumerate() {
            let name = escape(&name.chars().take(18).collect::<String>());
            let middle = CELL * (class as f64 + 0.5);
            label(&name, middle, (names, top), &mut svg);
            for predicted in 0..n {
                self.cell(class, predicted, (names, top), &mut svg);
            }
        }
        svg + "</svg>"
    }

    /// The matrix as a standalone SVG file.
    pub fn to_svg_file(&self) -> String {
        standalone(&self.to_svg("confusion"), "</title>", include_str!("matrix.css"))
    }

    fn cell(&self, class: usize, predicted: usize, origin: (f64, f64), svg: &mut String) {
        let (images, share) = (self.row(class)[predicted], self.share(class, predicted));
        let (x, y) = (origin.0 + CELL * predicted as f64, origin.1 + CELL * class as f64);
        // The square root makes rare confusions visible.
        let kind = if class == predicted { "hit" } else { "miss" };
        let _ = write!(
            svg,
            "<g><title>{} predicted as {}: {images} ({})</title><rect class=\"cell\" \
             x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            escape(&self.classes[class]),
            escape(&self.classes[predicted]),
            percent(share),
            CELL - 2.0,
            CELL - 2.0,
        );
        if images > 0 {
            let strong = if share.sqrt() > 0.6 { " strong" } else { "" };
            let _ = write!(
                svg,
                "<rect class=\"{kind}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
                 fill-opacity=\"{:.3}\"/><text class=\"count{strong}\" x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{images}</text>",
                CELL - 2.0,
                CELL - 2.0,
                (0.12 + 0.88 * share.sqrt()).min(1.0),
                x + CELL / 2.0 - 1.0,
                y + CELL / 2.0 + 3.0,
            );
        }
        svg.push_str("</g>");
    }

    /// The matrix as a table of text: a row a class, numbered columns.
    pub fn to_text(&self) -> String {
        let widest = self.classes.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let digits = self.counts.iter().map(|n| n.to_string().len()).max().unwrap_or(1);
        let cell = digits.max(self.classes.len().to_string().len()) + 1;
        let mut text = " ".repeat(widest + 4);
        (1..=self.classes.len()).for_each(|number| text += &format!("{number:>cell$}"));
        text += "\n";
        for (class, name) in self.classes.iter().enumerate() {
            text += &format!("{name:widest$} {:>3}", class + 1);
            for &images in self.row(class) {
                let images = if images == 0 { ".".to_string() } else { images.to_string() };
                text += &format!("{images:>cell$}");
            }
            text += "\n";
        }
        text
    }

    /// The matrix as JSON: `classes`, and `counts` with one list per class.
    pub fn to_json(&self) -> Value {
        let rows: Vec<&[u32]> = (0..self.classes.len()).map(|class| self.row(class)).collect();
        json!({ "classes": self.classes, "counts": rows })
    }

    /// The matrix as comma-separated values with names in the first row and column.
    pub fn to_csv(&self) -> String {
        let mut text = CsvRow::new().text("class").texts(&self.classes).line();
        for (class, name) in self.classes.iter().enumerate() {
            text += &CsvRow::new().text(name).numbers(self.row(class)).line();
        }
        text
    }
}

/// Writes a class's name, escaped, left of its row and above its column: both are `middle` from the
/// matrix's left top corner.
fn label(name: &str, middle: f64, (left, top): (f64, f64), svg: &mut String) {
    let _ = write!(
        svg,
        "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\
         <text class=\"name\" transform=\"translate({:.1} {:.1}) rotate(-50)\">{name}</text>",
        left - 6.0,
        top + middle + 4.0,
        left + middle,
        top - 6.0,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    fn three() -> Confusion {
        let classes = ["cat", "dog, large", "<x>"].map(String::from).to_vec();
        Confusion { classes, counts: vec![8, 2, 0, 5, 5, 0, 0, 1, 0] }
    }

    #[test]
    fn the_worst_pairs_come_first() {
        let confusion = three();
        let pairs = confusion.worst_pairs(2);
        assert_eq!(pairs, [("dog, large", "cat", 5), ("cat", "dog, large", 2)]);
    }

    #[test]
    fn every_form_holds_the_counts() {
        let confusion = three();
        assert_eq!(
            confusion.to_csv(),
            "class,cat,\"dog, large\",<x>\ncat,8,2,0\n\"dog, large\",5,5,0\n<x>,0,1,0\n"
        );
        assert_eq!(confusion.to_json()["counts"], json!([[8, 2, 0], [5, 5, 0], [0, 1, 0]]));
        let text = confusion.to_text();
        assert!(text.lines().nth(2).unwrap().ends_with("2 5 5 ."), "{text}");
        let svg = confusion.to_svg("c");
        assert!(svg.contains("dog, large predicted as cat: 5 (50.00 %)"));
        assert!(svg.contains("&lt;x&gt;"));
        assert_eq!(svg.matches("class=\"hit\"").count(), 2);
        let picture = confusion.draw();
        assert_eq!(picture.width, 318);
        assert_eq!(picture.pixel(300, 300), [255; 3]);
        assert!(picture.pixel(0, 0) < [80; 3], "mostly right");
    }

    /// Of 1,000 classes with 50 images each, as ILSVRC's validation set has: most are right, the
    /// others are spread over some classes, or over all.
    fn thousand(spread: usize) -> Confusion {
        let n = 1000;
        let mut counts = vec![0; n * n];
        let mut draws = SmallRng::seed_from_u64(1);
        for image in 0..50 * n {
            let class = image / 50;
            let is_right = draws.random_ratio(1, 5);
            let mut wrong = || (class + draws.random_range(0..spread)) % n;
            let predicted = if is_right { class } else { wrong() };
            counts[class * n + predicted] += 1;
        }
        Confusion { classes: (0..n).map(|class| format!("n{class:08}, <name>")).collect(), counts }
    }

    #[test]
    fn a_matrix_of_a_thousand_classes_is_a_small_file() {
        for (spread, most) in [(20, 600_000), (1000, 600_000)] {
            let svg = thousand(spread).to_svg_file();
            assert!(svg.len() < most, "{} bytes", svg.len());
            assert!(svg.contains("data:image/png;base64,") && svg.contains("<style>"));
            assert!(svg.contains("40 n00000040, &lt;name&gt;") && svg.contains("predicted as"));
        }
        // Shapes up to a hundred classes, a picture beyond.
        let of = |n: usize| Confusion {
            classes: (0..n).map(|class| class.to_string()).collect(),
            counts: vec![1; n * n],
        };
        assert!(!of(100).to_svg("c").contains("<image"));
        assert!(of(101).to_svg("c").contains("<image"));
    }

    #[test]
    fn a_picture_of_very_many_classes_stays_small() {
        let n = 4100;
        let mut counts = vec![0; n * n];
        (0..n).for_each(|class| counts[class * n + class] = 1);
        counts[4099] = 9;
        let picture = Confusion { classes: vec![String::new(); n], counts }.draw();
        assert_eq!((picture.height, picture.width), (1367, 1367)); // three classes a pixel
        assert_eq!(picture.pixel(1366, 1366), [31, 95, 168]);
        assert!(picture.pixel(0, 1366)[2] < 60, "nine of ten are predicted as the last");
        assert_eq!(picture.pixel(5, 9), [255; 3]);
    }
}
