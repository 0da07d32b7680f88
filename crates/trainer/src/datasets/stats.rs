//! `alexnet data stats`: how many images of each class, how large, in which colours.

use super::exif_of;
use crate::cli::StatsArgs;
use crate::console;
use crate::fault::Result;
use data::{Dataset, Options, Source, Statistics};
use report::grouped;
use serde_json::{Value, json};
use std::path::Path;
use terminal::progress::Reading;

/// Side of the squares whose colours are measured, where the images have none of their own: the
/// paper's.
const SIDE: usize = 256;

/// What is told.
struct Numbers {
    set: Dataset,
    side: usize,
    /// Images of each class, to train and to test on.
    counts: Vec<[usize; 2]>,
    /// Least, median and greatest of heights and of widths.
    heights: [usize; 3],
    widths: [usize; 3],
    colors: Statistics,
}

/// Runs the command.
///
/// # Errors
/// Exit code 3 if the data cannot be opened or no image can be read.
pub fn stats(args: &StatsArgs) -> Result<()> {
    let reading = Reading::new(args.output.progress);
    let (own, threads) = (data::stored_side(&args.data)?, args.workers.unwrap_or(0));
    let side = args.side.map(|side| side as usize).or(own).unwrap_or(SIDE);
    let exif = exif_of(&args.data, args.exif)?;
    let labelling = args.labelling.to_labelling()?;
    let options = Options { threads, memory_limit: 0, exif, labelling, ..Options::with_side(side) };
    let mut set = data::open(&args.data, &options, &|_, _| ())?;
    let sizes = match own {
        Some(side) => vec![(side, side)],
        None => {
            let tell = |done, of| reading.say("headers read", done, of);
            let headers = data::verify::headers(Path::new(&args.data), threads, &tell)?;
            set.notes.extend(headers.oriented.map(|(count, first)| exif.note(count, &first)));
            headers.sizes
        }
    };
    let colors = reading.measure("images measured", &set.train, threads, set.train.len())?;
    let counts = counts(&set);
    let heights = spread(sizes.iter().map(|size| size.0).collect());
    let widths = spread(sizes.iter().map(|size| size.1).collect());
    let numbers = Numbers { set, side, counts, heights, widths, colors };
    if args.output.json {
        console::println(as_json(&numbers))?;
    } else {
        console::print(as_text(&numbers))?;
    }
    Ok(())
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

/// Least, median (of two in the middle, the greater) and greatest; zeros if there are none.
fn spread(mut values: Vec<usize>) -> [usize; 3] {
    values.sort_unstable();
    match &values[..] {
        [] => [0; 3],
        all => [all[0], all[all.len() / 2], all[all.len() - 1]],
    }
}

fn as_json(n: &Numbers) -> Value {
    let classes = n.set.train.classes().iter().zip(&n.counts);
    let classes: Vec<_> = classes
        .map(|(name, [train, test])| json!({ "name": name, "train": train, "test": test }))
        .collect();
    let spread =
        |[min, median, max]: [usize; 3]| json!({ "min": min, "median": median, "max": max });
    json!({
        "name": n.set.name,
        "train": n.set.train.len(),
        "test": n.set.test.len(),
        "classes": classes,
        "heights": spread(n.heights),
        "widths": spread(n.widths),
        "side": n.side,
        "measured": n.colors.images,
        "mean": n.colors.color,
        "pca": { "eigenvalues": n.colors.variances, "eigenvectors": n.colors.components },
        "notes": n.set.notes,
    })
}

fn as_text(n: &Numbers) -> String {
    let (train, test): (&dyn Source, &dyn Source) = (&*n.set.train, &*n.set.test);
    let mut text = format!(
        "{}: {} training and {} test images in {} classes\n",
        n.set.name,
        grouped(train.len()),
        grouped(test.len()),
        train.classes().len(),
    );
    n.set.notes.iter().for_each(|note| text += &format!("{note}\n"));
    let names = train.classes().iter().map(|name| name.chars().count()).max().unwrap_or(0).max(6);
    text += &format!("\n{:names$}  {:>9}  {:>9}\n", "class", "train", "test");
    for (name, &[train, test]) in train.classes().iter().zip(&n.counts) {
        text += &format!("{name:names$}  {:>9}  {:>9}\n", grouped(train), grouped(test));
    }
    text += &format!("\n{:8}  {:>6}  {:>6}  {:>6}\n", "pixels", "min", "median", "max");
    for (what, [min, median, max]) in [("height", n.heights), ("width", n.widths)] {
        text += &format!("{what:8}  {min:>6}  {median:>6}  {max:>6}\n");
    }
    let colors = &n.colors;
    let [red, green, blue] = colors.color;
    text += &format!(
        "\ncolours of the centre squares, {side} x {side}, of {} training images\n",
        grouped(colors.images),
        side = n.side,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_of_few_values() {
        assert_eq!(spread(vec![]), [0, 0, 0]);
        assert_eq!(spread(vec![7]), [7, 7, 7]);
        assert_eq!(spread(vec![9, 1, 4, 4]), [1, 4, 9]);
    }
}
