//! Did you mean?

/// The name most like `typed`, if any is like it: at most a third of its letters differ.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let within = typed.chars().count().div_ceil(3);
    let near = names.into_iter().map(|name| (distance(typed, name), name)).min()?;
    (near.0 <= within).then_some(near.1)
}

/// Letters to insert, drop or change to make one word of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let change = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_of_the_finger_only() {
        let names = ["alexnet", "caffe", "cifar-19pct"];
        assert_eq!(nearest("alxenet", names), Some("alexnet"));
        assert_eq!(nearest("cifar19pct", names), Some("cifar-19pct"));
        assert_eq!(nearest("resnet50", names), None);
        assert_eq!(nearest("", names), None);
    }

    #[test]
    fn counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
