//! The order of a tensor's elements.

use std::borrow::Cow;

/// The order of extents in a file's filters and flattened maps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    /// `[filters, channels, height, width]`.
    ChannelsFirst,
    /// `[filters, height, width, channels]`, this program's.
    ChannelsLast,
}

/// How a tensor's elements are brought into this program's order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Layout {
    /// They are in that order.
    Same,
    /// `[outer, channels, area]` becomes `[outer, area, channels]`; with `reversed` channels in the
    /// opposite order: blue, green, red become red, green, blue.
    ChannelsFirst { outer: usize, channels: usize, area: usize, reversed: bool },
    /// The last extent, the channels, in the opposite order.
    Reversed { channels: usize },
}

impl Layout {
    pub(crate) fn of(order: Order, [outer, channels, area]: [usize; 3], reversed: bool) -> Layout {
        match order {
            _ if channels == 1 || !reversed && area == 1 => Layout::Same,
            Order::ChannelsFirst => Layout::ChannelsFirst { outer, channels, area, reversed },
            Order::ChannelsLast if reversed => Layout::Reversed { channels },
            Order::ChannelsLast => Layout::Same,
        }
    }

    pub(crate) fn apply(self, mut values: Vec<f32>) -> Vec<f32> {
        let Layout::ChannelsFirst { outer, channels, area, reversed } = self else {
            if let Layout::Reversed { channels } = self {
                values.chunks_exact_mut(channels).for_each(<[f32]>::reverse);
            }
            return values;
        };
        assert_eq!(
            values.len(),
            outer * channels * area,
            "a tensor of another size than its shape"
        );
        let mut out = Vec::with_capacity(values.len());
        for block in values.chunks_exact(channels * area) {
            for at in 0..area {
                let channel =
                    |c: usize| block[if reversed { channels - 1 - c } else { c } * area + at];
                out.extend((0..channels).map(channel));
            }
        }
        out
    }
    /// The inverse of [`apply`](Self::apply).
    pub(crate) fn invert(self, values: &[f32]) -> Cow<'_, [f32]> {
        match self {
            Layout::Same => values.into(),
            Layout::Reversed { .. } => self.apply(values.to_vec()).into(),
            Layout::ChannelsFirst { channels, area, reversed, .. } => {
                let mut out = Vec::with_capacity(values.len());
                for block in values.chunks_exact(channels * area) {
                    for c in 0..channels {
                        let channel = if reversed { channels - 1 - c } else { c };
                        out.extend((0..area).map(|at| block[at * channels + channel]));
                    }
                }
                out.into()
            }
        }
    }
}
