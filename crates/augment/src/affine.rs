//! Rotations, shears and translations of an image: torchvision's `rotate` and `affine`.

use crate::Image;

/// The value of a pixel between pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// The nearest pixel; ties to the even index.
    #[default]
    Nearest,
    /// The weighted mean of the four pixels around it, rounded.
    Bilinear,
}

/// A map from output to input positions, in pixels from the image's centre:
/// `x' = m[0] x + m[1] y + m[2]`, `y' = m[3] x + m[4] y + m[5]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine(pub [f64; 6]);

impl Affine {
    /// Rotates the image about its centre by `degrees`, counter-clockwise.
    pub fn rotation(degrees: f64) -> Affine {
        Affine::inverse([0.0; 2], -degrees, [0.0; 2], [0.0; 2])
    }

    /// Shears an image of `size` (height, width) about its upper left corner; `tangents` are those
    /// of the angles along x and y.
    pub fn shear(size: (usize, usize), tangents: [f64; 2]) -> Affine {
        let corner = [-0.5 * size.1 as f64, -0.5 * size.0 as f64];
        // Through degrees, as torchvision's policies compute it.
        let degrees = tangents.map(|tangent| tangent.atan().to_degrees());
        Affine::inverse(corner, 0.0, [0.0; 2], degrees)
    }

    /// Moves the image by whole pixels to the right and down.
    pub fn translation(right: i32, down: i32) -> Affine {
        Affine::inverse([0.0; 2], 0.0, [f64::from(right), f64::from(down)], [0.0; 2])
    }

    /// The inverse of: shear along x and y, rotate (all in degrees, about `centre`), translate.
    /// The steps are those of torchvision's `_get_inverse_affine_matrix`, so that roundings agree.
    fn inverse(centre: [f64; 2], angle: f64, translate: [f64; 2], shear: [f64; 2]) -> Affine {
        let [angle, sx, sy] = [angle, shear[0], shear[1]].map(f64::to_radians);
        let [cx, cy] = centre;
        let (turned, across) = ((angle - sy).cos() / sy.cos(), (angle - sy).sin() / sy.cos());
        let a = turned;
        let b = -(angle - sy).cos() * sx.tan() / sy.cos() - angle.sin();
        let c = across;
        let d = -(angle - sy).sin() * sx.tan() / sy.cos() + angle.cos();
        let mut m = [d, -b, 0.0, -c, a, 0.0];
        let from = [-cx - translate[0], -cy - translate[1]];
        m[2] += m[0] * from[0] + m[1] * from[1];
        m[5] += m[3] * from[0] + m[4] * from[1];
        m[2] += cx;
        m[5] += cy;
        Affine(m)
    }

    /// Transforms `from` into `into`, which gets its size. Pixels from outside are black, or
    /// `fill`; at borders, the bilinear filter blends with them as torchvision does: black is
    /// blended in once without `fill`, and twice with it.
    ///
    /// Positions and means are computed in f32 as PyTorch computes them on CPUs with fused
    /// multiply-adds, so results are equal to torchvision's on tensors byte for byte.
    pub fn apply(
        &self,
        from: &Image,
        interpolation: Interpolation,
        fill: Option<[u8; 3]>,
        into: &mut Image,
    ) {
        into.reshape(from.height, from.width);
        let matrix = self.0.map(|value| value as f32);
        let half = [0.5 * from.width as f32, 0.5 * from.height as f32];
        let scaled = |at: usize, half: f32| [0, 1, 2].map(|k| matrix[at + k] / half);
        let (to_x, to_y) = (scaled(0, half[0]), scaled(3, half[1]));
        // In units of half the image, then in pixels.
        let position = |m: [f32; 3], [x, y]: [f32; 2], half: f32| {
            (((x * m[0] + y * m[1]) + m[2]) + 1.0).mul_add(half, -0.5)
        };
        let pixels = into.pixels.as_chunks_mut::<3>().0;
        for (row, out) in pixels.chunks_exact_mut(from.width.max(1)).enumerate() {
            let y = row as f32 - half[1] + 0.5;
            for (column, out) in out.iter_mut().enumerate() {
                let at = [column as f32 - half[0] + 0.5, y];
                let at = [position(to_x, at, half[0]), position(to_y, at, half[1])];
                *out = match interpolation {
                    Interpolation::Nearest => {
                        let [x, y] = at.map(f32::round_ties_even);
                        pixel(from, x, y).unwrap_or(fill.unwrap_or_default())
                    }
                    Interpolation::Bilinear => bilinear(from, at, fill),
                };
            }
        }
    }
}

/// The pixel at whole coordinates, `None` outside.
fn pixel(from: &Image, x: f32, y: f32) -> Option<[u8; 3]> {
    let inside = x >= 0.0 && y >= 0.0 && x < from.width as f32 && y < from.height as f32;
    inside.then(|| {
        let start = (y as usize * from.width + x as usize) * 3;
        [from.pixels[start], from.pixels[start + 1], from.pixels[start + 2]]
    })
}

fn bilinear(from: &Image, [x, y]: [f32; 2], fill: Option<[u8; 3]>) -> [u8; 3] {
    let [left, top] = [x.floor(), y.floor()];
    let [right, down] = [x - left, y - top];
    let [from_left, from_top] = [1.0 - right, 1.0 - down];
    let corners = [
        (left, top, from_top * from_left),
        (left + 1.0, top, from_top * right),
        (left, top + 1.0, down * from_left),
        (left + 1.0, top + 1.0, down * right),
    ];
    let (mut sums, mut inside) = ([0.0f32; 3], 0.0f32);
    for (x, y, weight) in corners {
        if let Some(color) = pixel(from, x, y) {
            inside += weight;
            (0..3).for_each(|c| sums[c] = f32::from(color[c]).mul_add(weight, sums[c]));
        }
    }
    if let Some(fill) = fill {
        (0..3).for_each(|c| sums[c] = sums[c] * inside + (1.0 - inside) * f32::from(fill[c]));
    }
    sums.map(|sum| sum.round_ties_even().clamp(0.0, 255.0) as u8)
}
