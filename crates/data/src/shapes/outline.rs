//! The ten outlines as signed distance functions.

/// An outline inside the unit circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outline {
    Disc,
    Ring,
    Square,
    Triangle,
    Star,
    Cross,
    Moon,
    Bars,
    Checker,
    Dots,
}

impl Outline {
    /// All outlines in the order of their labels.
    pub(super) const ALL: [Outline; 10] = [
        Outline::Disc,
        Outline::Ring,
        Outline::Square,
        Outline::Triangle,
        Outline::Star,
        Outline::Cross,
        Outline::Moon,
        Outline::Bars,
        Outline::Checker,
        Outline::Dots,
    ];

    /// The distance of (x, y) from the outline; negative inside. It is exact near straight edges
    /// and arcs, where it determines the coverage of a pixel.
    #[inline]
    pub(super) fn distance(self, x: f32, y: f32) -> f32 {
        match self {
            Outline::Disc => length(x, y) - 0.85,
            Outline::Ring => (length(x, y) - 0.72).abs() - 0.2,
            Outline::Square => x.abs().max(y.abs()) - 0.7,
            Outline::Triangle => {
                // Three sides, each at half the circumradius from the centre.
                let slanted = |sign: f32| sign * 0.866_025_4 * x + 0.5 * y;
                (-y).max(slanted(1.0)).max(slanted(-1.0)) - 0.5
            }
            Outline::Star => second_largest(PENTAGON.map(|(a, b)| a * x + b * y)) - 0.309_017,
            Outline::Cross => {
                let (long, short) = (x.abs().max(y.abs()), x.abs().min(y.abs()));
                (long - 0.95).max(short - 0.27)
            }
            Outline::Moon => (length(x, y) - 0.9).max(0.72 - length(x - 0.5, y)),
            Outline::Bars => {
                let to_a_bar = x.abs().min((x.abs() - 0.6).abs()) - 0.17;
                to_a_bar.max(y.abs() - 0.75)
            }
            Outline::Checker => {
                // Three by three cells of half a unit: the centre cell is filled, its neighbours
                // are not.
                let (across, down) = (x.abs() - 0.25, y.abs() - 0.25);
                let apart = across.abs().min(down.abs());
                let cell = if across * down > 0.0 { -apart } else { apart };
                cell.max(x.abs().max(y.abs()) - 0.75)
            }
            Outline::Dots => length(x.abs() - 0.55, y.abs() - 0.55) - 0.3,
        }
    }
}

/// The normals of a pentagon's sides. The star is the area inside at least four of the sides; its
/// tips on the unit circle are the intersections of extended sides.
const PENTAGON: [(f32, f32); 5] = [
    (0.0, 1.0),
    (0.951_056_5, 0.309_017),
    (0.587_785_25, -0.809_017),
    (-0.587_785_25, -0.809_017),
    (-0.951_056_5, 0.309_017),
];

#[inline]
fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

#[inline]
fn second_largest(values: [f32; 5]) -> f32 {
    let (mut first, mut second) = (f32::MIN, f32::MIN);
    for value in values {
        second = second.max(value.min(first));
        first = first.max(value);
    }
    second
}
