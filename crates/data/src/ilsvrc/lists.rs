//! The small text files that come with the images.

use super::is_wnid;
use std::path::Path;

/// A class for each validation image, by its number in the development kit: a number a line.
///
/// # Errors
/// The line that is no such number.
pub(crate) fn ground_truth(text: &[u8]) -> Result<Vec<u32>, String> {
    let mut truth = Vec::new();
    for (line, words) in lines(text)? {
        let id = words.trim().parse().ok().filter(|&id| id > 0);
        truth.push(
            id.ok_or_else(|| format!("line {line} is no class number: `{}`", shortened(words)))?,
        );
    }
    Ok(truth)
}

/// File names and classes of Tiny-ImageNet's validation images: `name<tab>wnid<tab>box`, a line
/// each.
///
/// # Errors
/// The line that is not such.
pub(crate) fn val_annotations(text: &[u8]) -> Result<Vec<(&str, &str)>, String> {
    let mut images = Vec::new();
    for (line, words) in lines(text)? {
        let mut parts = words.split('\t');
        let (Some(name), Some(wnid)) = (parts.next(), parts.next()) else {
            return Err(format!("line {line} has no tab: `{}`", shortened(words)));
        };
        // The name is joined to a folder, and must not lead out of it.
        let plain = Path::new(name).file_name() == Some(name.as_ref()) && !name.contains('\\');
        if !plain || name.chars().any(char::is_control) {
            return Err(format!("line {line} has no plain file name: `{}`", shortened(name)));
        }
        if !is_wnid(wnid.trim()) {
            return Err(format!("line {line} has no WordNet id: `{}`", shortened(wnid)));
        }
        images.push((name, wnid.trim()));
    }
    Ok(images)
}

/// The lines that are not empty, with their numbers from one.
fn lines(text: &[u8]) -> Result<impl Iterator<Item = (usize, &str)>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "this is no text".to_owned())?;
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    Ok(lines.filter(|(_, line)| !line.trim().is_empty()))
}

/// Enough of a stranger's line to find it by, and nothing that a terminal obeys.
fn shortened(line: &str) -> String {
    line.chars().take(40).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truth_is_a_number_a_line() {
        assert_eq!(ground_truth(b"490\n361\r\n 171 \n\n"), Ok(vec![490, 361, 171]));
        assert_eq!(ground_truth(b""), Ok(vec![]));
        for (text, said) in [
            (&b"1\n2 3\n"[..], "line 2 is no class number: `2 3`"),
            (b"0\n", "line 1"),
            (b"-1", "line 1"),
            (b"\n\n4294967296\n", "line 3"),
            (b"\x1b[31m", "`?[31m`"),
            (b"\xff\n", "no text"),
        ] {
            let error = ground_truth(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn annotations_are_plain_names_and_wnids() {
        let text = b"val_0.JPEG\tn03444034\t0\t32\t44\t62\nval_1.JPEG\tn04067472\n";
        let wanted = vec![("val_0.JPEG", "n03444034"), ("val_1.JPEG", "n04067472")];
        assert_eq!(val_annotations(text), Ok(wanted));
        for text in [
            "val_0.JPEG n03444034",
            "../x.JPEG\tn03444034",
            "/etc/passwd\tn03444034",
            "a/b.JPEG\tn03444034",
            "a\\b.JPEG\tn03444034",
            "..\tn03444034",
            ".\tn03444034",
            "\tn03444034",
            "a/\tn03444034",
            "a\x1b\tn03444034",
            "a\tn0344403",
            "a\tx03444034",
        ] {
            let error = val_annotations(text.as_bytes()).unwrap_err();
            assert!(error.starts_with("line 1 has no "), "{error}");
        }
    }
}
