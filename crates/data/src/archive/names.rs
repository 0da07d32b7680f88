//! What an archive may hold: how many entries, and under which names.

/// Entries of an archive: ImageNet has 1,331,167 images.
pub(super) const MOST_ENTRIES: usize = 1 << 22;
/// Folders inside each other; deeper ones are taken for an attack.
const DEEPEST: usize = 64;
/// Longer names are no paths that a system opens.
const LONGEST_NAME: usize = 4096;

/// A path that stays below the folder it is put in, with `/` between its parts and without empty
/// or `.` parts; or why it is passed over.
pub(super) fn usable_name(name: &str) -> std::result::Result<String, &'static str> {
    if name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err("names that cannot be shown");
    }
    let is_drive = name.as_bytes().get(1) == Some(&b':');
    if name.starts_with('/') || is_drive || name.split('/').any(|part| part == "..") {
        return Err("names that are absolute or have `..`");
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.len() > DEEPEST {
        return Err("files too deep in folders");
    }
    if parts.is_empty() { Err("names that cannot be shown") } else { Ok(parts.join("/")) }
}
