//! What a crate needs to be published.

use super::Finding;
use super::tree::Tree;

/// Every crate in `crates/` that is published has metadata for crates.io and docs.rs, both licences
/// and a README whose examples are tested; CHANGELOG.md has a section for the workspace's version.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in tree.crates() {
        let path = format!("crates/{name}/Cargo.toml");
        let manifest = tree.file(&path).map_or("", |file| &file.text);
        if manifest.contains("publish = false") {
            continue;
        }
        let keys = ["description = ", "keywords = ", "categories = ", "[package.metadata.docs.rs]"];
        let inherited = ["version", "rust-version", "license", "repository"];
        let inherited = inherited.map(|key| format!("{key}.workspace = true"));
        let wanted = keys.into_iter().chain(inherited.iter().map(String::as_str));
        for key in wanted.filter(|key| !manifest.lines().any(|line| line.starts_with(key))) {
            findings.push(Finding::new(&path, 1, format!("a published crate needs `{key}`")));
        }
        for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            let file = format!("crates/{name}/{file}");
            if tree.file(&file).is_none() {
                let message = "a published crate needs this file; licences are symbolic links to \
                               those of the repository";
                findings.push(Finding::new(&file, 1, message));
            }
        }
        let lib = format!("crates/{name}/src/lib.rs");
        if tree.file(&lib).is_some_and(|lib| !lib.text.contains("include_str!(\"../README.md\")")) {
            let message = "the examples in README.md are not tested: include it under \
                           `cfg(doctest)`, as other crates do";
            findings.push(Finding::new(&lib, 1, message));
        }
    }
    findings.extend(changelog(tree));
    findings
}

fn changelog(tree: &Tree) -> Option<Finding> {
    let manifest = tree.file("Cargo.toml")?;
    let version = manifest.text.lines().find_map(|line| line.strip_prefix("version = "))?;
    let heading = format!("## {}", version.trim_matches('"'));
    let changes = tree.file("CHANGELOG.md");
    let is_listed = changes.is_some_and(|file| file.text.contains(&heading));
    (!is_listed).then(|| Finding::new("CHANGELOG.md", 1, format!("it has no section `{heading}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[package]\ndescription = \"x\"\nkeywords = []\ncategories = []\n\
                            version.workspace = true\nrust-version.workspace = true\n\
                            license.workspace = true\nrepository.workspace = true\n\
                            [package.metadata.docs.rs]\n";

    fn messages(manifest: &str, lib: &str, files: &[&str]) -> Vec<String> {
        let mut tree = vec![("crates/a/Cargo.toml", manifest), ("crates/a/src/lib.rs", lib)];
        tree.extend(files.iter().map(|&file| (file, "## 0.1.0")));
        check(&Tree::of(&tree)).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn a_published_crate_has_everything() {
        let files = ["crates/a/README.md", "crates/a/LICENSE-MIT", "crates/a/LICENSE-APACHE"];
        let lib = "#[doc = include_str!(\"../README.md\")]";
        assert_eq!(messages(MANIFEST, lib, &files), [""; 0]);
        let found = messages(&MANIFEST.replace("keywords = []\n", ""), "", &files[1..]);
        assert!(found[0].contains("`keywords = `"), "{found:?}");
        assert!(found[1].starts_with("crates/a/README.md:1: "), "{found:?}");
        assert!(found[2].starts_with("crates/a/src/lib.rs:1: "), "{found:?}");
        assert_eq!(found.len(), 3);
        assert_eq!(messages("publish = false", "", &[]), [""; 0]);
    }

    #[test]
    fn the_version_is_in_the_changelog() {
        let manifest = ("Cargo.toml", "version = \"0.2.0\"\n");
        for (text, count) in [("## 0.2.0", 0), ("## 0.1.0", 1)] {
            let tree = Tree::of(&[manifest, ("CHANGELOG.md", text)]);
            assert_eq!(check(&tree).len(), count);
        }
    }
}
