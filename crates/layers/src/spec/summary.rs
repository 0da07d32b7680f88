//! Short descriptions of rows, for `alexnet describe`.

use crate::rows::{Conv, Exchange, LeakyRelu, Pad, Row, Tanh};

/// A short description of a row: `96 of 11 x 11, stride 4`.
pub(super) fn summary(row: &Row) -> String {
    match row {
        Row::Conv(conv) => windows(conv),
        Row::Local(local) => windows(&local.shared()) + ", untied",
        Row::Linear(linear) => format!("{} units", linear.outputs),
        Row::Relu(_) => "max(0, x)".to_string(),
        Row::Tanh(Tanh { outer, inner }) if (*outer, *inner) == (1.0, 1.0) => "tanh x".to_string(),
        Row::Tanh(Tanh { outer, inner }) => format!("{outer} tanh({inner} x)"),
        Row::Logistic(_) => "1 / (1 + exp -x)".to_string(),
        Row::LeakyRelu(LeakyRelu { slope }) => format!("max(x, {slope} x)"),
        Row::Prelu(_) => "max(0, x) + a min(0, x), a learned".to_string(),
        Row::Gelu(_) => "x F(x), F normal".to_string(),
        Row::LrnPool(both) => {
            let [lrn, pool] = [Row::Lrn(both.lrn), Row::Pool(both.pool.clone())];
            format!("{}, then {}", summary(&lrn), summary(&pool))
        }
        Row::Lrn(lrn) => {
            let (size, alpha) = (lrn.size, lrn.alpha);
            let terms =
                if lrn.within_channel { format!("{size} x {size}") } else { size.to_string() };
            let over = if lrn.divide_alpha { " / n" } else { "" };
            let towers =
                if lrn.towers > 1 { format!(", {} towers", lrn.towers) } else { String::new() };
            format!("n {terms}, alpha {alpha:e}{over}, beta {}, k {}{towers}", lrn.beta, lrn.k)
        }
        Row::BatchNorm(_) => "over the batch, channel by channel".to_string(),
        Row::LayerNorm(_) => "over the channels of a pixel, or all units".to_string(),
        Row::Pool(pool) => {
            let kind = if pool.average { "average" } else { "max" };
            format!("{kind} of {} x {}, stride {}", pool.window, pool.window, pool.stride)
        }
        Row::Custom(custom) => custom.layer().summary(),
        Row::Dropout(dropout) => format!("{} dropped", dropout.drop),
        Row::Exchange(Exchange { tower, to_first }) => {
            let to = if *to_first { "the first" } else { "all" };
            format!("tower {} of {}, to {to}", tower.index + 1, tower.count)
        }
    }
}

/// Filters and their windows: `96 of 11 x 11, stride 4`.
fn windows(&Conv { filters, window, stride, pad, groups, .. }: &Conv) -> String {
    let mut text = format!("{filters} of {window} x {window}");
    if stride != 1 {
        text += &format!(", stride {stride}");
    }
    match pad {
        Pad::Same(0) => {}
        Pad::Same(pad) => text += &format!(", pad {pad}"),
        Pad::Sides([t, b, l, r]) => text += &format!(", pad {t} {b} {l} {r}"),
    }
    if groups != 1 {
        text += &format!(", {groups} groups");
    }
    text
}
