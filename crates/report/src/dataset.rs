//! Statistics of a data set: its classes, sizes and colours, as a table or as JSON.

use crate::grouped;
use data::{Dataset, Source, Statistics};
use serde_json::{Value, json};

/// Statistics of a data set.
#[derive(Debug)]
pub struct DatasetSummary {
    set: Dataset,
    /// Side in pixels of the centre squares whose colours were measured.
    side: usize,
    /// Training and test images of each class.
    counts: Vec<[usize; 2]>,
    /// Minimum, median and maximum.
    heights: [usize; 3],
    widths: [usize; 3],
    colors: Statistics,
}

impl DatasetSummary {
    /// Counts the images of each class. `sizes` are heights and widths in pixels: one pair for each
    /// image, or one pair if all have the same size. `colors` were measured on squares of `side`
    /// pixels.
    pub fn new(set: Dataset, sizes: &[(usize, usize)], side: usize, colors: Statistics) -> Self {
        let counts = counts(&set);
        let heights = min_median_max(sizes.iter().map(|size| size.0).collect());
        let widths = min_median_max(sizes.iter().map(|size| size.1).collect());
        DatasetSummary { set, side, counts, heights, widths, colors }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        let classes = self.set.train.classes().iter().zip(&self.counts);
        let classes: Vec<_> = classes
            .map(|(name, [train, test])| json!({ "name": name, "train": train, "test": test }))
            .collect();
        let spread =
            |[min, median, max]: [usize; 3]| json!({ "min": min, "median": median, "max": max });
        json!({
            "name": self.set.name,
            "train": self.set.train.len(),
            "test": self.set.test.len(),
            "classes": classes,
            "heights": spread(self.heights),
            "widths": spread(self.widths),
            "side": self.side,
            "measured": self.colors.images,
            "mean": self.colors.color,
            "pca": { "eigenvalues": self.colors.variances, "eigenvectors": self.colors.components },
            "notes": self.set.notes,
        })
    }

    /// As text tables.
    pub fn to_text(&self) -> String {
        let (train, test): (&dyn Source, &dyn Source) = (&*self.set.train, &*self.set.test);
        let mut text = format!(
            "{}: {} training and {} test images in {} classes\n",
            self.set.name,
            grouped(train.len()),
            grouped(test.len()),
            train.classes().len(),
        );
        self.set.notes.iter().for_each(|note| text += &format!("{note}\n"));
        let names =
            train.classes().iter().map(|name| name.chars().count()).max().unwrap_or(0).max(6);
        text += &format!("\n{:names$}  {:>9}  {:>9}\n", "class", "train", "test");
        for (name, &[train, test]) in train.classes().iter().zip(&self.counts) {
            text += &format!("{name:names$}  {:>9}  {:>9}\n", grouped(train), grouped(test));
        }
        text += &format!("\n{:8}  {:>6}  {:>6}  {:>6}\n", "pixels", "min", "median", "max");
        for (what, [min, median, max]) in [("height", self.heights), ("width", self.widths)] {
            text += &format!("{what:8}  {min:>6}  {median:>6}  {max:>6}\n");
        }
        let colors = &self.colors;
        let [red, green, blue] = colors.color;
        text += &format!(
            "\ncolours of the centre squares, {side} x {side}, of {} training images\n",
            grouped(colors.images),
            side = self.side,
        );
        if colors.images < train.len() {
            let bad = train.len() - colors.images;
            text += &format!("{} cannot be read: see `alexnet data verify`\n", grouped(bad));
        }
        text += &format!("{:22}  {:>8}  {:>8}  {:>8}\n", "", "red", "green", "blue");
        text += &format!("{:22}  {red:>8.2}  {green:>8.2}  {blue:>8.2}\n", "mean");
        let components = colors.variances.iter().zip(colors.components).enumerate();
        for (at, (variance, [red, green, blue])) in components {
            let what = format!("PCA {}: {variance:.1}", at + 1);
            text += &format!("{what:22}  {red:>8.4}  {green:>8.4}  {blue:>8.4}\n");
        }
        text
    }
}

fn counts(set: &Dataset) -> Vec<[usize; 2]> {
    let mut counts = vec![[0; 2]; set.train.classes().len()];
    for (which, source) in [&set.train, &set.test].into_iter().enumerate() {
        for index in 0..source.len() {
            counts[source.label(index) as usize][which] += 1;
        }
    }
    counts
}

/// Minimum, median (the upper one of an even number) and maximum; zeros if there are no values.
fn min_median_max(mut values: Vec<usize>) -> [usize; 3] {
    values.sort_unstable();
    match &values[..] {
        [] => [0; 3],
        all => [all[0], all[all.len() / 2], all[all.len() - 1]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn min_median_and_max_of_few_values() {
        assert_eq!(min_median_max(vec![]), [0, 0, 0]);
        assert_eq!(min_median_max(vec![7]), [7, 7, 7]);
        assert_eq!(min_median_max(vec![9, 1, 4, 4]), [1, 4, 9]);
    }
}
