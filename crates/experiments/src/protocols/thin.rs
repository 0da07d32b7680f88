//! The same experiments with a sixteenth of the filters, to test in seconds that every part works.

use crate::protocol::Protocol;
use layers::{Row, Spec};

/// Divisor of the number of filters.
const TIMES: usize = 16;

/// A protocol that takes seconds: thin networks, small batches, at most two seeds. The results are
/// meaningless.
pub(crate) fn rehearsal(mut page: Protocol) -> Protocol {
    page.seeds = page.seeds.min(2);
    for stage in page.arms.iter_mut().flat_map(|arm| &mut arm.stages) {
        stage.spec = thin(stage.spec.clone());
        stage.recipe.batch = 8;
    }
    page
}

/// The same network with thinner layers, except the last, whose units are classes.
fn thin(mut spec: Spec) -> Spec {
    let last = spec.rows.len().saturating_sub(1);
    for (at, row) in spec.rows.iter_mut().enumerate() {
        match row {
            Row::Conv(conv) => conv.filters = fewer(conv.filters, TIMES, conv.groups),
            Row::Local(local) => local.filters = fewer(local.filters, TIMES, local.groups),
            Row::Linear(linear) if at != last => linear.outputs = fewer(linear.outputs, TIMES, 1),
            _ => {}
        }
    }
    spec
}

/// `filters / times`, rounded to a multiple of twice the groups so that the next layer can have as
/// many groups.
pub(crate) fn fewer(filters: usize, times: usize, groups: usize) -> usize {
    (filters / times).max(2 * groups).next_multiple_of(2 * groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thin_networks_can_be_planned() {
        for page in crate::all() {
            let whole: Vec<usize> = counts(&page);
            let thin: Vec<usize> = counts(&rehearsal(page));
            for (thin, whole) in thin.iter().zip(whole) {
                assert!(*thin > 0 && thin * 10 < whole, "{thin} of {whole}");
            }
        }
    }

    fn counts(page: &Protocol) -> Vec<usize> {
        let stages = page.arms.iter().flat_map(|arm| &arm.stages);
        stages.map(|stage| stage.spec.parameters().unwrap()).collect()
    }
}
