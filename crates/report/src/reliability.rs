//! The reliability diagram: accuracy by confidence.

use crate::markup::standalone;
use crate::percent;
use evaluate::predictions::{BINS, Calibration};
use std::fmt::Write;

/// Width and height of the drawing area.
const SIDE: f64 = 280.0;
/// Height of the bars of image counts, below.
const COUNTS: f64 = 44.0;
const LEFT: f64 = 46.0;
const TOP: f64 = 22.0;

/// The diagram as SVG: a bar of accuracy for each bin, the difference from its mean confidence, the
/// diagonal of a calibrated network, and below the share of images in each bin. `id` must be unique
/// on the page.
pub fn to_svg(calibration: &Calibration, id: &str) -> String {
    let (width, height) = (LEFT + SIDE + 14.0, TOP + SIDE + COUNTS + 56.0);
    let mut svg = format!(
        "<svg class=\"plot reliability\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-labelledby=\"{id}-t {id}-d\" style=\"max-width:{:.0}px\" \
         xmlns=\"http://www.w3.org/2000/svg\"><title id=\"{id}-t\">Reliability diagram</title>\
         <desc id=\"{id}-d\">Accuracy by confidence; expected calibration error {}.</desc>",
        1.3 * width,
        percent(calibration.error),
    );
    axes(&mut svg);
    let images: u64 = calibration.bins.iter().map(|bin| bin.images).sum();
    let most = calibration.bins.iter().map(|bin| bin.images).max().unwrap_or(0).max(1);
    for (number, bin) in calibration.bins.iter().enumerate().filter(|(_, bin)| bin.images > 0) {
        let [left, right] = edges(number).map(x);
        let (low, high) = (bin.accuracy.min(bin.confidence), bin.accuracy.max(bin.confidence));
        let count = COUNTS * bin.images as f64 / most as f64;
        let _ = write!(
            svg,
            "<g><title>Confidence {} to {}: accuracy {}, mean confidence {}, {} of {images} \
             images</title>{}{}{}</g>",
            percent(edges(number)[0]),
            percent(edges(number)[1]),
            percent(bin.accuracy),
            percent(bin.confidence),
            bin.images,
            bar("accuracy", (left, right), (y(bin.accuracy), y(0.0))),
            bar("gap", (left, right), (y(high), y(low))),
            bar("images", (left, right), (counts_base() - count, counts_base())),
        );
    }
    let _ = write!(
        svg,
        "<line class=\"mark\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/></svg>",
        x(0.0),
        y(0.0),
        x(1.0),
        y(1.0)
    );
    svg
}

/// The diagram as a standalone SVG file.
pub fn to_svg_file(calibration: &Calibration) -> String {
    standalone(&to_svg(calibration, "reliability"), "</desc>", include_str!("plot.css"))
}

/// The lower and the upper edge of a bin.
pub(crate) fn edges(bin: usize) -> [f64; 2] {
    [bin, bin + 1].map(|edge| edge as f64 / BINS as f64)
}

fn x(share: f64) -> f64 {
    LEFT + SIDE * share
}

fn y(share: f64) -> f64 {
    TOP + SIDE * (1.0 - share)
}

/// The lower end of the bars of image counts.
fn counts_base() -> f64 {
    y(0.0) + COUNTS + 10.0
}

fn bar(class: &str, (left, right): (f64, f64), (top, bottom): (f64, f64)) -> String {
    format!(
        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
         height=\"{:.1}\"/>",
        right - left - 1.0,
        bottom - top
    )
}

fn axes(svg: &mut String) {
    let (left, right, base) = (x(0.0), x(1.0), counts_base());
    for share in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
        let class = if share == 0.0 { "axis" } else { "grid" };
        let (at, along) = (y(share), x(share));
        let _ = write!(
            svg,
            "<line class=\"{class}\" x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} %</text>\
             <text class=\"tick\" x=\"{along:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0} %\
             </text>",
            left - 6.0,
            at + 4.0,
            100.0 * share,
            base + 16.0,
            100.0 * share,
        );
    }
    let _ = write!(
        svg,
        "<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{base}\" y2=\"{base}\"/>\
         <text class=\"label\" x=\"{:.1}\" y=\"14\">accuracy</text>\
         <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">images</text>\
         <text class=\"label\" x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">confidence</text>",
        left - 40.0,
        left - 6.0,
        base - 2.0,
        base + 34.0,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use evaluate::predictions::ReliabilityBin;

    #[test]
    fn a_bin_without_images_has_no_bar() {
        let mut bins = vec![ReliabilityBin::default(); BINS];
        bins[14] = ReliabilityBin { images: 3, confidence: 0.95, accuracy: 0.5 };
        let svg = to_svg_file(&Calibration { error: 0.45, bins });
        assert_eq!(svg.matches("<rect ").count(), 3);
        assert!(svg.contains("calibration error 45.00 %"), "{svg}");
        assert!(svg.contains("93.33 % to 100.00 %: accuracy 50.00 %"), "{svg}");
        assert!(!svg.contains("--"), "{svg}");
    }
}
