//! Bounds on the size of networks, as specifications may come from untrusted files.
//!
//! Within these bounds no shape, parameter count, scratch size or number of multiply-accumulates
//! overflows 64 bits. Whether a device has enough memory is checked when the plan is reserved.

use crate::layer::Layer;
use crate::rows::{Conv, Linear, Lrn, Pad, Pool, Row, Tanh};
use tensor::Shape;

/// Maximum number of rows.
const ROWS: usize = 1024;
/// Maximum extent: pixels, channels, filters, units, windows, strides, padding, groups, towers.
const EXTENT: usize = 1 << 20;
/// Maximum side of a convolution's window, and its stride: planning takes time proportional to
/// their pixels.
const WINDOW: usize = 4096;
const STRIDE: usize = 1024;
/// Maximum elements of a row's padded input or output for all images, and of its parameters.
const ELEMENTS: u128 = 1 << 40;
/// Maximum products of a row for all images.
const PRODUCTS: u128 = 1 << 50;
/// Maximum bytes of a name.
const NAME: usize = 100;

/// Checks the size of the input for `images` images and the number of rows.
pub(super) fn check_input(
    [height, width, channels]: [usize; 3],
    images: usize,
    rows: usize,
) -> Result<(), String> {
    for (what, extent) in [("height", height), ("width", width), ("channels", channels)] {
        if extent == 0 {
            return Err(format!(
                "its input is {height} x {width} x {channels}; each must be at least 1"
            ));
        }
        check_extent(&format!("the {what} of its input"), extent)?;
    }
    check_elements("its input has", &[images, height, width, channels])?;
    if rows > ROWS {
        Err(format!("it has {rows} rows; at most {ROWS} can be planned"))
    } else {
        Ok(())
    }
}

/// Checks the bounds of a row on an input of this shape. Whether the row fits its input at all is
/// checked when its layer is built.
pub(super) fn check_row(row: &Row, input: Shape) -> Result<(), String> {
    match row {
        Row::Conv(conv) => {
            check_name(&conv.name)?;
            check_extent("towers", conv.towers)?;
            check_windows(conv, input, false)
        }
        Row::Local(local) => {
            check_name(&local.name)?;
            check_windows(&local.shared(), input, true)
        }
        Row::Linear(Linear { name, outputs, towers, .. }) => {
            check_name(name)?;
            check_extent("outputs", *outputs)?;
            check_extent("towers", *towers)?;
            let images = input.dims().first().copied().unwrap_or(1).max(1);
            check_elements("its output has", &[images, *outputs])?;
            check_elements("its weights are", &[input.len() / images, *outputs])?;
            check_products(&[input.len(), *outputs])
        }
        Row::Pool(pool) => check_pool(pool, input),
        Row::Lrn(lrn) => check_lrn(lrn, input),
        Row::LrnPool(both) => {
            check_lrn(&both.lrn, input)?;
            check_pool(&both.pool, input)
        }
        Row::Tanh(Tanh { outer, inner }) if !(outer.is_finite() && inner.is_finite()) => {
            Err(format!("outer {outer} and inner {inner} must be finite"))
        }
        Row::Custom(custom) => check_name(custom.kind()),
        _ => Ok(()), // its output has its input's shape
    }
}

/// Checks the bounds of what a layer declares: for a custom one, nothing else does.
pub(super) fn check_layer(layer: &dyn Layer) -> Result<(), String> {
    check_elements("its output has", layer.output().dims())?;
    let parameters = layer.parameters();
    parameters.iter().try_for_each(|entry| {
        check_elements(&format!("its {} has", entry.role.suffix()), entry.shape.dims())
    })
}

/// The bounds of a convolution; with `is_local`, of a locally connected layer with its sizes.
fn check_windows(conv: &Conv, input: Shape, is_local: bool) -> Result<(), String> {
    let &Conv { filters, window, stride, pad, groups, .. } = conv;
    check_pad(pad)?;
    check_extent("filters", filters)?;
    check_extent("groups", groups)?;
    check_at_most("window", window, WINDOW)?;
    check_at_most("stride", stride, STRIDE)?;
    let &[images, height, width, channels] = input.dims() else { return Ok(()) };
    let [top, bottom, left, right] = pad.sides();
    let padded = [height + top + bottom, width + left + right];
    check_elements("its padded input has", &[images, padded[0], padded[1], channels])?;
    let (Some(down), Some(across)) =
        (outputs(padded[0], window, stride), outputs(padded[1], window, stride))
    else {
        return Ok(());
    };
    check_elements("its output has", &[images, down, across, filters])?;
    let own = channels.checked_div(groups).unwrap_or(0);
    let places = if is_local { [down, across] } else { [1, 1] };
    let weights = [places[0], places[1], filters, window, window, own];
    check_elements("its weights are", &weights)?;
    check_products(&[images, down, across, filters, window, window, own])
}

/// Number of windows along an extent; `None` if the window does not fit.
fn outputs(extent: usize, window: usize, stride: usize) -> Option<usize> {
    Some(extent.checked_sub(window)?.checked_div(stride)? + 1)
}

fn check_pool(pool: &Pool, input: Shape) -> Result<(), String> {
    let &Pool { window, stride, pad, .. } = pool;
    for (what, extent) in [("window", window), ("stride", stride), ("pad", pad)] {
        check_extent(what, extent)?;
    }
    let &[images, height, width, channels] = input.dims() else { return Ok(()) };
    let padded = [height + 2 * pad, width + 2 * pad];
    check_elements("its padded input has", &[images, padded[0], padded[1], channels])?;
    let count = |extent| outputs(extent, window, stride).map(|n| n + 1); // ceil adds one
    let (Some(down), Some(across)) = (count(padded[0]), count(padded[1])) else { return Ok(()) };
    check_products(&[images, down, across, channels, window, window])
}

fn check_lrn(lrn: &Lrn, input: Shape) -> Result<(), String> {
    check_extent("size", lrn.size)?;
    check_extent("towers", lrn.towers)?;
    for (what, value) in [("alpha", lrn.alpha), ("beta", lrn.beta), ("k", lrn.k)] {
        if !value.is_finite() {
            return Err(format!("{what} is {value}; it must be finite"));
        }
    }
    check_products(&[input.len(), lrn.size, if lrn.within_channel { lrn.size } else { 1 }])
}

fn check_pad(pad: Pad) -> Result<(), String> {
    pad.sides().into_iter().try_for_each(|pad| check_extent("pad", pad))
}

fn check_extent(what: &str, extent: usize) -> Result<(), String> {
    check_at_most(what, extent, EXTENT)
}

fn check_at_most(what: &str, value: usize, most: usize) -> Result<(), String> {
    if value > most { Err(format!("{what} is {value}; it must be at most {most}")) } else { Ok(()) }
}

fn check_elements(what: &str, extents: &[usize]) -> Result<(), String> {
    check_product(what, "elements", extents, ELEMENTS)
}

fn check_products(extents: &[usize]) -> Result<(), String> {
    check_product("it computes", "products", extents, PRODUCTS)
}

/// Checks a product of extents. It cannot overflow: each factor is below 2^64 and the product
/// before it at most 2^50.
fn check_product(what: &str, unit: &str, extents: &[usize], most: u128) -> Result<(), String> {
    let mut product = 1u128;
    if extents.contains(&0) {
        return Ok(());
    }
    for &extent in extents {
        product *= extent as u128;
        if product > most {
            let all: Vec<String> = extents.iter().map(usize::to_string).collect();
            let all = all.join(" x ");
            return Err(format!("{what} {all} {unit}; at most {most} can be planned"));
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME || name.chars().any(char::is_control) {
        Err(format!("{name:?} is not a valid name: 1 to {NAME} bytes without control characters"))
    } else {
        Ok(())
    }
}
