//! The largest networks: a specification may come from anywhere and say anything.
//!
//! Whatever lies within these bounds can be planned without a number that does not fit 64 bits:
//! shapes, parameters, scratch memory, multiply-accumulates. Whether a device has room for it is
//! the plan's affair.

use crate::rows::{Conv, Linear, Local, Lrn, Pad, Pool, Row, Tanh};
use tensor::Shape;

/// Rows of a network.
const ROWS: usize = 1024;
/// An extent: pixels, channels, filters, units, windows, strides, padding, groups, towers.
const EXTENT: usize = 1 << 20;
/// The side of a convolution's window, and its stride: how it is computed is found by walking
/// through the pixels of a window and of a stride.
const WINDOW: usize = 4096;
const STRIDE: usize = 1024;
/// Elements of a row's input, with padding, or output for all images, and of its parameters.
const ELEMENTS: u128 = 1 << 40;
/// Products of a row for all images.
const PRODUCTS: u128 = 1 << 50;
/// Letters of a name.
const NAME: usize = 100;

/// Whether a network of so many rows, on so many images, can be looked at at all.
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

/// Whether a row on an input of this shape lies within the bounds. What does not fit together at
/// all is left to the row's own check.
pub(super) fn check_row(row: &Row, input: Shape) -> Result<(), String> {
    match row {
        Row::Conv(conv) => {
            let &Conv { filters, window, stride, groups, towers, .. } = conv;
            let windows = Windows { filters, window, stride, pad: conv.pad.sides(), groups };
            check_name(&conv.name)?;
            check_extent("towers", towers)?;
            check_pad(conv.pad)?;
            windows.check(input, false)
        }
        Row::Local(local) => {
            let &Local { filters, window, stride, groups, .. } = local;
            let windows = Windows { filters, window, stride, pad: local.pad.sides(), groups };
            check_name(&local.name)?;
            check_pad(local.pad)?;
            windows.check(input, true)
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
        _ => Ok(()), // its output has its input's shape
    }
}

/// What slides over maps.
struct Windows {
    filters: usize,
    window: usize,
    stride: usize,
    pad: [usize; 4],
    groups: usize,
}

impl Windows {
    fn check(&self, input: Shape, is_local: bool) -> Result<(), String> {
        let &Windows { filters, window, stride, pad, groups } = self;
        check_extent("filters", filters)?;
        check_extent("groups", groups)?;
        check_at_most("window", window, WINDOW)?;
        check_at_most("stride", stride, STRIDE)?;
        let &[images, height, width, channels] = input.dims() else { return Ok(()) };
        let [top, bottom, left, right] = pad;
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
}

/// How many windows there are along an extent, if there are any.
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
    let count = |extent| outputs(extent, window, stride).map(|n| n + 1); // the last may hang over
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
    check_product(what, "numbers", extents, ELEMENTS)
}

fn check_products(extents: &[usize]) -> Result<(), String> {
    check_product("it computes", "products", extents, PRODUCTS)
}

/// No overflow: each extent that is multiplied is less than 2^64, and what came before it no more
/// than 2^50.
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
        Err(format!("{name:?} is no name: 1 to {NAME} letters, none of them a control"))
    } else {
        Ok(())
    }
}
