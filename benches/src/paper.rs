//! Computed lower bounds of a step on a GPU, from its bytes and operations.

use crate::expected;
use crate::ledger::Table;
use crate::peaks::Peaks;
use crate::split_step::parts_of;
use crate::step_part::StepPart;
use layers::Spec;

/// An NVIDIA H200: achievable rates of dense bf16 products on tensor cores and of device copies.
pub const H200: Peaks = Peaks { flops: 790e12, bytes: 4.3e12 };

/// Operations, bytes and lower bounds of every part of a training step, for each batch size.
///
/// Every operand is read or written once, in f32. The time is the larger of operations and bytes at
/// the peak rates; only operations of products count.
///
/// # Panics
/// If the network does not fit together.
pub fn floor(spec: &Spec, batches: &[usize], peaks: &Peaks) -> Table {
    let values = |images: &usize| {
        ["GFLOP", "MB", "floor us", "expected us", "waves"]
            .map(|value| format!("{value} at {images}"))
    };
    let values: Vec<String> = batches.iter().flat_map(values).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let mut table = Table::new(&["row", "pass"], &values).whole();
    let counted: Vec<Vec<StepPart>> =
        batches.iter().map(|&images| parts_of(spec, images)).collect();
    let mut sums = vec![[0.0; 4]; batches.len()];
    let parts = counted.first().map_or(0, Vec::len);
    for idx in 0..parts {
        let part = &counted[0][idx];
        let mut row = vec![part.name.clone(), part.pass.name().to_string()];
        for (parts, sum) in counted.iter().zip(&mut sums) {
            let StepPart { flops, bytes, .. } = parts[idx];
            let expected = expected::seconds(&parts[idx], peaks) * 1e6;
            let numbers = [flops / 1e9, bytes / 1e6, seconds(&parts[idx], peaks) * 1e6, expected];
            sum.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
            row.extend(cells(numbers));
            row.push(expected::waves(&parts[idx]));
        }
        table.push(row);
    }
    let sums = sums.into_iter().flat_map(|sums| cells(sums).into_iter().chain([String::new()]));
    table.push(["sum".to_string(), String::new()].into_iter().chain(sums));
    table
}

/// The launches of a training step, for each batch size: `52 launches a step at 128, 48 at 1024`.
///
/// # Panics
/// If the network does not fit together.
pub fn launches(spec: &Spec, batches: &[usize]) -> String {
    let count = |&images: &usize| parts_of(spec, images).iter().map(expected::launches).sum();
    let counts: Vec<usize> = batches.iter().map(count).collect();
    let counts = counts.iter().zip(batches).enumerate().map(|(idx, (count, images))| {
        let what = if idx == 0 { " launches a step" } else { "" };
        format!("{count}{what} at {images}")
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// The lower bound of a part in seconds.
fn seconds(part: &StepPart, peaks: &Peaks) -> f64 {
    (part.flops / peaks.flops).max(part.bytes / peaks.bytes)
}

/// The cells of a part; the first is empty if it has no operations.
fn cells([gflops, megabytes, floor, expected]: [f64; 4]) -> [String; 4] {
    let gflops = if gflops > 0.0 { format!("{gflops:.1}") } else { String::new() };
    [gflops, format!("{megabytes:.1}"), format!("{floor:.1}"), format!("{expected:.0}")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step_part::Work;
    use layers::window;

    #[test]
    fn the_larger_time_is_the_floor() {
        let spec = Spec::image("tiny", 8, 8, 3).conv("conv1", 4, window(3)).linear("fc2", 10);
        let table = floor(&spec, &[1, 2], &Peaks { flops: 1e9, bytes: 1e9 }).render();
        let head = "| row | pass | GFLOP at 1 | MB at 1 | floor us at 1 | expected us at 1 | waves at 1 | G";
        assert!(table.starts_with(head), "{table}");
        // 36 positions, 4 filters of 27 weights: 7776 operations an image, and 1.9 KB.
        assert!(table.contains("| conv1 | forward | 0.0 | 0.0 | 7.8 | "), "{table}");
        // fc2: 144 values in, 10 out, 1450 parameters: 6.4 KB, more than its 2880 operations.
        assert!(table.contains("| fc2 | forward | 0.0 | 0.0 | 6.4 |"), "{table}");
        assert!(table.lines().last().unwrap().starts_with("| sum |  | 0.0 |"), "{table}");
    }

    /// Three products per layer except conv1's input gradient, 724,406,816 multiplications per
    /// image.
    #[test]
    fn the_papers_step_on_an_h200() {
        let table = floor(&models::find("alexnet").unwrap(), &[128, 1024], &H200).render();
        let operations = |images: f64| 2.0 * images * (3.0 * 724_406_816.0 - 105_415_200.0) / 1e9;
        let sum = table.lines().last().unwrap();
        assert!(sum.contains(&format!("| {:.1} |", operations(128.0))), "{sum}");
        assert!(sum.contains(&format!("| {:.1} |", operations(1024.0))), "{sum}");
    }

    #[test]
    fn launches_are_listed_by_batch_size() {
        let spec = Spec::image("tiny", 8, 8, 3).conv("conv1", 4, window(3)).linear("fc2", 10);
        // Forward: preprocess, two rows, the loss in two. Backward: two products and one, update.
        assert_eq!(launches(&spec, &[1, 2]), "9 launches a step at 1, 9 at 2");
    }

    #[test]
    fn the_table_has_every_product() {
        for network in ["alexnet", "torchvision"] {
            let parts = parts_of(&models::find(network).unwrap(), 128);
            assert!(parts.iter().all(|part| expected::seconds(part, &H200) > 0.0));
            let products = |part: &StepPart| matches!(&part.work, Work::Products(_));
            assert_eq!(parts.iter().filter(|part| products(part)).count(), 16, "{network}");
        }
    }

    #[test]
    fn no_product_is_faster_than_its_floor() {
        for images in [128, 1024] {
            for part in parts_of(&models::find("alexnet").unwrap(), images) {
                let floor = part.flops / H200.flops;
                assert!(expected::seconds(&part, &H200) > floor, "{} {:?}", part.name, part.pass);
            }
        }
    }
}
