//! Suggestions for mistyped names.

/// The name most similar to `typed`, if its Levenshtein distance is at most a third of the length
/// of `typed`.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = typed.chars().count().div_ceil(3);
    let distances = names.into_iter().map(|name| (strsim::levenshtein(typed, name), name));
    distances.min().filter(|(distance, _)| *distance <= limit).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_names_for_small_typing_errors_only() {
        let names = ["alexnet", "caffe", "cifar-19pct"];
        assert_eq!(nearest("alxenet", names), Some("alexnet"));
        assert_eq!(nearest("cifar19pct", names), Some("cifar-19pct"));
        assert_eq!(nearest("resnet50", names), None);
        assert_eq!(nearest("", names), None);
    }
}
