//! Limits of archives: the number of entries, and their names.

/// The limit of entries; ImageNet has 1,331,167 images.
pub(super) const MAX_ENTRIES: usize = 1 << 22;
/// The limit of nested folders.
const DEEPEST: usize = 64;
/// The limit of a name in bytes.
const LONGEST_NAME: usize = 4096;

/// Normalises a relative path: `/` between components, none of them empty or `.`. The error is the
/// reason to skip the entry.
pub(super) fn usable_name(name: &str) -> std::result::Result<String, &'static str> {
    if name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err("unprintable names");
    }
    let is_drive = name.as_bytes().get(1) == Some(&b':');
    if name.starts_with('/') || is_drive || name.split('/').any(|part| part == "..") {
        return Err("absolute names or names with `..`");
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.len() > DEEPEST {
        return Err("files in too many nested folders");
    }
    if parts.is_empty() { Err("unprintable names") } else { Ok(parts.join("/")) }
}
