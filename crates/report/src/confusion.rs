//! Which classes are taken for which.

mod raster;

use crate::markup::{escape, standalone};
use evaluate::predictions::Predictions;
use files::CsvRow;
use files::numbers::percent;
use serde_json::{Value, json};
use std::fmt::Write;

/// Counts of images by their class and by what they were taken for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Confusion {
    /// The classes' names.
    pub classes: Vec<String>,
    /// classes x classes: images of class `row` taken for class `column`.
    pub counts: Vec<u32>,
}

/// Up to so many classes have names and numbers in the picture.
const MOST_NAMED: usize = 30;
/// Matrices of more classes are pictures of pixels: each of their cells would be some shapes.
const MOST_SHAPES: usize = 100;
const CELL: f64 = 34.0;

impl Confusion {
    /// Which classes were taken for which.
    pub fn of(classes: &[String], said: &Predictions) -> Confusion {
        Confusion { classes: classes.to_vec(), counts: said.confusion() }
    }

    fn row(&self, class: usize) -> &[u32] {
        &self.counts[class * self.classes.len()..][..self.classes.len()]
    }

    /// The share of a class's images that was taken for another.
    fn share(&self, class: usize, said: usize) -> f64 {
        let images: u32 = self.row(class).iter().sum();
        f64::from(self.row(class)[said]) / f64::from(images.max(1))
    }

    /// Whether a picture with names and numbers is legible.
    pub fn is_small(&self) -> bool {
        self.classes.len() <= MOST_NAMED
    }

    /// Pairs of classes taken for each other, the most images first: class, said, images.
    pub fn worst_pairs(&self, count: usize) -> Vec<(&str, &str, u32)> {
        let n = self.classes.len();
        let cells = (0..n).flat_map(|class| (0..n).map(move |said| (class, said)));
        let mut pairs: Vec<_> = cells
            .filter(|&(class, said)| class != said && self.row(class)[said] > 0)
            .map(|(class, said)| (self.row(class)[said], class, said))
            .collect();
        pairs.sort_by_key(|&(images, class, said)| (u32::MAX - images, class, said));
        pairs.truncate(count);
        let named = |&(images, class, said): &(u32, usize, usize)| {
            (self.classes[class].as_str(), self.classes[said].as_str(), images)
        };
        pairs.iter().map(named).collect()
    }

    /// The matrix as SVG; rows are the images' classes. Up to 100 classes have their names at the
    /// sides and counts in the cells; of more, a picture of pixels is embedded.
    pub fn to_svg(&self, id: &str) -> String {
        let n = self.classes.len();
        if n > MOST_SHAPES {
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
             xmlns=\"http://www.w3.org/2000/svg\"><title id=\"{id}-t\">Confusion matrix: a row for \
             each class, a column for what its images were taken for</title>",
            1.35 * width
        );
        for (class, name) in self.classes.iter().enumerate() {
            let name = escape(&name.chars().take(18).collect::<String>());
            let middle = CELL * (class as f64 + 0.5);
            let (x, y) = (names + middle, top + middle);
            let _ = write!(
                svg,
                "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\
                 <text class=\"name\" transform=\"translate({:.1} {:.1}) rotate(-50)\">{name}\
                 </text>",
                names - 6.0,
                y + 4.0,
                x,
                top - 6.0,
            );
            for said in 0..n {
                self.cell((class, said), (names, top), &mut svg);
            }
        }
        svg + "</svg>"
    }

    /// The matrix as an SVG file of its own.
    pub fn to_svg_file(&self) -> String {
        standalone(&self.to_svg("confusion"), "</title>", include_str!("matrix.css"))
    }

    fn cell(&self, (class, said): (usize, usize), (left, top): (f64, f64), svg: &mut String) {
        let (images, share) = (self.row(class)[said], self.share(class, said));
        let (x, y) = (left + CELL * said as f64, top + CELL * class as f64);
        // Rare confusions should show: the square root raises them.
        let kind = if class == said { "hit" } else { "miss" };
        let _ = write!(
            svg,
            "<g><title>{} taken for {}: {images} ({})</title><rect class=\"cell\" x=\"{x:.1}\" \
             y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            escape(&self.classes[class]),
            escape(&self.classes[said]),
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

    /// The matrix for programs: `classes`, and `counts` with a list for each of them.
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
        assert!(svg.contains("dog, large taken for cat: 5 (50.00 %)") && svg.contains("&lt;x&gt;"));
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
            let said = if is_right { class } else { (class + draws.random_range(0..spread)) % n };
            counts[class * n + said] += 1;
        }
        Confusion { classes: (0..n).map(|class| format!("n{class:08}, <name>")).collect(), counts }
    }

    #[test]
    fn a_matrix_of_a_thousand_classes_is_a_small_file() {
        for (spread, most) in [(20, 600_000), (1000, 600_000)] {
            let svg = thousand(spread).to_svg_file();
            assert!(svg.len() < most, "{} bytes", svg.len());
            assert!(svg.contains("data:image/png;base64,") && svg.contains("<style>"));
            assert!(svg.contains("40 n00000040, &lt;name&gt;") && svg.contains("taken for"));
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
        assert!(picture.pixel(0, 1366)[2] < 60, "nine of ten are taken for the last");
        assert_eq!(picture.pixel(5, 9), [255; 3]);
    }
}
