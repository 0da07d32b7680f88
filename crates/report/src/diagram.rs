//! The diagram of a network, like the paper's Figure 2.
//!
//! Feature maps are boxes in perspective; height, depth and thickness follow the square roots of
//! height, width and channels, so that small maps remain visible. A linear layer is a bar. A window
//! is drawn on the map that it slides over, with lines to the output it computes.

use crate::markup::{escape, standalone};
use std::fmt::Write;

/// A network to draw.
#[derive(Clone, Debug, Default)]
pub struct Diagram {
    /// Its name.
    pub name: String,
    /// Height, width and channels of an image.
    pub input: [usize; 3],
    /// The layers with weights, the last a single bar.
    pub stages: Vec<DiagramLayer>,
    /// Number of towers; each has an equal share of every layer but the last.
    pub towers: usize,
}

/// A layer with weights, with notes on the rows up to the next one.
#[derive(Clone, Debug, Default)]
pub struct DiagramLayer {
    /// `conv1`.
    pub name: String,
    /// Height, width and channels of its output; units are channels.
    pub size: [usize; 3],
    /// The side of its window as a share of its input's side; `None`: fully connected.
    pub window: Option<f64>,
    /// Whether each tower reads all towers of the previous layer.
    pub crosses: bool,
    /// Notes, one line each: `11 x 11, stride 4`, `ReLU`.
    pub notes: Vec<String>,
}

/// Units of the picture per root of pixels, of channels, and per log2 of units.
const SIDE: f64 = 10.0;
const THICK: f64 = 1.4;
const BAR: f64 = 8.0;
/// Projection of depth to the right and upwards.
const DEPTH: (f64, f64) = (0.42, 0.3);
const GAP: f64 = 34.0;
const COLUMN: f64 = 84.0;
const LETTER: f64 = 6.1;
const LINE: f64 = 14.0;

/// A box or bar, positioned by the lower left corner of its front.
#[derive(Clone, Copy)]
struct Solid {
    x: f64,
    y: f64,
    thick: f64,
    height: f64,
    depth: f64,
}

impl Solid {
    /// A box or bar of this size, without a position.
    fn of([height, width, channels]: [usize; 3], is_bar: bool) -> Solid {
        let root = |n: usize| (n as f64).sqrt();
        let (thick, height, depth) = if is_bar {
            (9.0, BAR * (channels.max(2) as f64).log2(), 0.0)
        } else {
            (3.0 + THICK * root(channels), SIDE * root(height), SIDE * root(width))
        };
        Solid { x: 0.0, y: 0.0, thick, height, depth }
    }

    fn width(&self) -> f64 {
        self.thick + DEPTH.0 * self.depth
    }

    fn tall(&self) -> f64 {
        self.height + DEPTH.1 * self.depth
    }

    /// Moves its left edge to `x` and its middle to `y`.
    fn at(self, x: f64, y: f64) -> Solid {
        Solid { x, y: y + self.tall() / 2.0, ..self }
    }

    /// A point on its right face: `up` and `into` are shares of its sides.
    fn map(&self, up: f64, into: f64) -> (f64, f64) {
        let (right, rise) = (DEPTH.0 * self.depth * into, DEPTH.1 * self.depth * into);
        (self.x + self.thick + right, self.y - self.height * up - rise)
    }

    fn draw(&self, svg: &mut String) {
        let (left, top) = (self.x, self.y - self.height);
        let (right, rise) = (DEPTH.0 * self.depth, DEPTH.1 * self.depth);
        let map = [self.map(0.0, 0.0), self.map(1.0, 0.0), self.map(1.0, 1.0), self.map(0.0, 1.0)];
        let lid = [
            (left, top),
            (left + right, top - rise),
            (left + self.thick + right, top - rise),
            (left + self.thick, top),
        ];
        polygon("side", &lid, svg);
        polygon("map", &map, svg);
        let _ = write!(
            svg,
            "<rect class=\"front\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
             height=\"{:.1}\"/>",
            self.thick, self.height
        );
    }
}

fn polygon(class: &str, points: &[(f64, f64)], svg: &mut String) {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = write!(svg, "<polygon class=\"{class}\" points=\"{}\"/>", points.join(" "));
}

impl Diagram {
    /// The diagram as a standalone SVG file.
    pub fn to_svg_file(&self) -> String {
        standalone(&self.to_svg("diagram"), "</desc>", include_str!("diagram.css"))
    }

    /// The diagram as SVG for embedding; `id` must be unique on the page.
    pub fn to_svg(&self, id: &str) -> String {
        let towers = self.towers.max(1);
        let input = Solid::of(self.input, false);
        let shapes = self.stages.iter().enumerate().map(|(idx, stage)| {
            let [height, width, channels] = stage.size;
            Solid::of([height, width, channels / self.towers_of(idx)], stage.window.is_none())
        });
        let shapes: Vec<Solid> = shapes.collect();
        let tallest = shapes.iter().map(Solid::tall).fold(0.0, f64::max);
        let floor = 24.0 + f64::max(input.tall(), (tallest + 26.0) * towers as f64);
        let notes = self.stages.iter().map(|stage| stage.notes.len()).max().unwrap_or(0);
        let height = floor + LINE * (notes as f64 + 3.0);
        let middle = (24.0 + floor) / 2.0;
        let row = |tower: usize, of: usize| {
            middle + (tallest + 26.0) * (tower as f64 - (of as f64 - 1.0) / 2.0)
        };

        let (mut body, mut x) = (String::new(), 10.0);
        let mut before = vec![input.at(x + 8.0, middle)];
        before[0].draw(&mut body);
        let [high, wide, channels] = self.input;
        let texts = ["image".to_string(), format!("{high} x {wide} x {channels}")];
        x += label(&texts, input.width() + 8.0, (x, floor), &mut body);
        for (idx, (stage, shape)) in self.stages.iter().zip(shapes).enumerate() {
            let of = self.towers_of(idx);
            let texts = [stage.name.clone(), dims(stage, of)];
            let texts: Vec<String> = texts.into_iter().chain(stage.notes.clone()).collect();
            let mut columns = String::new();
            let width = label(&texts, shape.width(), (x, floor), &mut columns);
            let here: Vec<Solid> = (0..of).map(|tower| shape.at(x, row(tower, of))).collect();
            for (from, source) in before.iter().enumerate() {
                for (to, target) in here.iter().enumerate() {
                    let own = from == to || before.len() == 1 || of == 1;
                    if own || stage.crosses {
                        connect(stage.window, source, target, own, &mut body);
                    }
                }
            }
            here.iter().for_each(|shape| shape.draw(&mut body));
            body += &columns;
            (before, x) = (here, x + width);
        }
        format!(
            "<svg class=\"diagram\" viewBox=\"0 0 {x:.0} {height:.0}\" role=\"img\" \
             aria-labelledby=\"{id}-t {id}-d\" xmlns=\"http://www.w3.org/2000/svg\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>{body}</svg>",
            escape(&self.name),
            escape(&self.description()),
        )
    }

    /// A text description, for accessibility.
    fn description(&self) -> String {
        let [height, width, channels] = self.input;
        let mut text = format!("An image of {height} x {width} x {channels}");
        for (idx, stage) in self.stages.iter().enumerate() {
            let _ = write!(text, "; {}: {}", stage.name, dims(stage, self.towers_of(idx)));
        }
        text + "."
    }

    /// Number of towers of a layer: the last has one.
    fn towers_of(&self, stage: usize) -> usize {
        if stage + 1 == self.stages.len() { 1 } else { self.towers.max(1) }
    }
}

/// Writes the lines of text below a shape; returns the width of its column.
fn label(texts: &[String], shape: f64, (x, floor): (f64, f64), svg: &mut String) -> f64 {
    let letters = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    for (line, text) in texts.iter().enumerate() {
        let class = if line == 0 { "name" } else { "note" };
        let y = floor + LINE * (line as f64 + 1.0);
        let text = escape(text);
        let _ = write!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
    }
    f64::max(shape + GAP, LETTER * letters as f64 + 14.0).max(COLUMN)
}

/// `55 x 55 x 48 + 48`, or units.
fn dims(stage: &DiagramLayer, towers: usize) -> String {
    let [height, width, channels] = stage.size;
    let shares = vec![(channels / towers).to_string(); towers].join(" + ");
    match stage.window {
        Some(_) => format!("{height} x {width} x {shares}"),
        None => shares,
    }
}

/// Draws a window with lines from its corners to the output; or, for a bar, lines from end to end.
fn connect(window: Option<f64>, from: &Solid, to: &Solid, own: bool, svg: &mut String) {
    let class = if own { "ray" } else { "ray across" };
    let mut line = |(x1, y1): (f64, f64), (x2, y2): (f64, f64)| {
        let _ = write!(
            svg,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    };
    let Some(share) = window else {
        line(from.map(1.0, 1.0), (to.x, to.y - to.height));
        line(from.map(0.0, 1.0), (to.x, to.y));
        return;
    };
    // The window's corners, centred on the map, or the whole map if the window is larger.
    let share = share.min(1.0);
    let (low, high) = (0.5 - share / 2.0, 0.5 + share / 2.0);
    let corners = [(low, low), (high, low), (high, high), (low, high)];
    let corners = corners.map(|(up, into)| from.map(up, into));
    let meet = (to.x, to.y - to.height / 2.0);
    corners.iter().for_each(|&corner| line(corner, meet));
    polygon("window", &corners, svg);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, size: [usize; 3], window: Option<f64>, crosses: bool) -> DiagramLayer {
        DiagramLayer { name: name.into(), size, window, crosses, notes: vec!["a < b".into()] }
    }

    fn two_towers() -> Diagram {
        let stages = vec![
            stage("conv1", [55, 55, 96], Some(0.05), false),
            stage("conv2", [27, 27, 256], Some(0.1), false),
            stage("conv3", [13, 13, 384], Some(0.2), true),
            stage("fc", [1, 1, 10], None, true),
        ];
        Diagram { name: "net".into(), input: [227, 227, 3], stages, towers: 2 }
    }

    #[test]
    fn every_tower_is_drawn_with_its_connections() {
        let svg = two_towers().to_svg("d");
        let count = |text: &str| svg.matches(text).count();
        // The image, three layers in two towers, and a bar.
        assert_eq!(count("class=\"front\""), 1 + 3 * 2 + 1);
        // Windows: of both towers on the image, each on its own, and each on both.
        assert_eq!(count("class=\"window\""), 2 + 2 + 4);
        assert_eq!(count("class=\"ray across\""), 2 * 4);
        assert_eq!(count("class=\"ray\""), 4 * (2 + 2 + 2) + 2 * 2);
        for text in ["27 x 27 x 128 + 128", "a &lt; b", "227 x 227 x 3", "conv1: 55 x 55 x 48 + 48"]
        {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(!svg.contains("5 + 5"), "the classifier is one");
        assert!(svg.contains(&format!("height=\"{:.1}\"", BAR * 10f64.log2())), "{svg}");
    }

    /// Numbers in the attributes of this name.
    fn numbers(svg: &str, name: &str) -> Vec<f64> {
        let begin = format!(" {name}=\"");
        let attributes = svg.split(&begin).skip(1);
        attributes.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn everything_is_inside_the_view_box() {
        for towers in [1, 2] {
            let svg = Diagram { towers, ..two_towers() }.to_svg("d");
            let frame = svg.split("viewBox=\"0 0 ").nth(1).unwrap().split('"').next().unwrap();
            let frame: Vec<f64> = frame.split(' ').map(|n| n.parse().unwrap()).collect();
            let points = svg.split(" points=\"").skip(1).flat_map(|rest| {
                rest.split('"').next().unwrap().split(' ').map(|point| {
                    let (x, y) = point.split_once(',').unwrap();
                    (x.parse::<f64>().unwrap(), y.parse::<f64>().unwrap())
                })
            });
            let texts = numbers(&svg, "x").into_iter().zip(numbers(&svg, "y"));
            for (x, y) in points.chain(texts) {
                assert!((0.0..=frame[0]).contains(&x) && (0.0..=frame[1]).contains(&y), "{x} {y}");
            }
        }
    }
}
