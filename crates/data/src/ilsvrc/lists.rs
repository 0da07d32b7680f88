//! The text files that accompany the images.

use super::is_wnid;
use std::path::Path;

/// Parses the classes of the validation images: one number of the development kit per line.
///
/// # Errors
/// The first line that is not such a number.
pub(crate) fn ground_truth(text: &[u8]) -> Result<Vec<u32>, String> {
    let mut truth = Vec::new();
    for (line, words) in lines(text)? {
        let id = words.trim().parse().ok().filter(|&id| id > 0);
        truth.push(
            id.ok_or_else(|| format!("line {line} is not a class number: `{}`", shortened(words)))?,
        );
    }
    Ok(truth)
}

/// Parses Tiny-ImageNet's validation images: `name<tab>wnid<tab>box` per line.
///
/// # Errors
/// The first line that is different.
pub(crate) fn val_annotations(text: &[u8]) -> Result<Vec<(&str, &str)>, String> {
    let mut images = Vec::new();
    for (line, words) in lines(text)? {
        let mut parts = words.split('\t');
        let (Some(name), Some(wnid)) = (parts.next(), parts.next()) else {
            return Err(format!("line {line} has no tab: `{}`", shortened(words)));
        };
        // The name is joined to a folder and must not leave it.
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

/// The nonempty lines with their numbers from 1.
fn lines(text: &[u8]) -> Result<impl Iterator<Item = (usize, &str)>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "this is not text".to_owned())?;
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    Ok(lines.filter(|(_, line)| !line.trim().is_empty()))
}

/// The start of an untrusted line without control characters.
fn shortened(line: &str) -> String {
    line.chars().take(40).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ground_truth_has_a_number_per_line() {
        assert_eq!(ground_truth(b"490\n361\r\n 171 \n\n"), Ok(vec![490, 361, 171]));
        assert_eq!(ground_truth(b""), Ok(vec![]));
        for (text, said) in [
            (&b"1\n2 3\n"[..], "line 2 is not a class number: `2 3`"),
            (b"0\n", "line 1"),
            (b"-1", "line 1"),
            (b"\n\n4294967296\n", "line 3"),
            (b"\x1b[31m", "`?[31m`"),
            (b"\xff\n", "not text"),
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
