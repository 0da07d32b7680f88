//! The diagram in ARCHITECTURE.md says what the manifests say.

use super::Finding;
use super::tree::Tree;
use std::collections::BTreeMap;

const PAGE: &str = "ARCHITECTURE.md";

/// Compares the fenced block called `arrows` with every crate's `[dependencies]`; what only tests
/// depend on draws no arrow.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.file(PAGE) else {
        return vec![Finding::new(PAGE, 1, "there is no such file; it holds the crates' arrows")];
    };
    let (drawn, mut findings) = drawn(&page.text);
    let rooms = tree.crates();
    for room in &rooms {
        let path = format!("crates/{room}/Cargo.toml");
        let manifest = tree.file(&path).map_or("", |file| &file.text);
        let real = dependencies(manifest, &rooms);
        let Some((line, shown)) = drawn.get(*room) else {
            let sentence = format!("`{room}` is not in the arrows: add `{}`", arrow(room, &real));
            findings.push(Finding::new(PAGE, 1, sentence));
            continue;
        };
        if *shown != real {
            let sentence = format!(
                "{path} says `{}`: correct the drawing, or the dependency if it points up",
                arrow(room, &real)
            );
            findings.push(Finding::new(PAGE, *line, sentence));
        }
    }
    for (room, (line, _)) in &drawn {
        if !rooms.contains(&room.as_str()) {
            let sentence = format!("there is no crates/{room}: take its line out");
            findings.push(Finding::new(PAGE, *line, sentence));
        }
    }
    findings.extend(manifest_of_xtask(tree));
    findings
}

/// The only arrow that xtask may have is none: it is compiled before everything else.
fn manifest_of_xtask(tree: &Tree) -> Option<Finding> {
    let manifest = tree.file("xtask/Cargo.toml")?;
    let (line, _) = manifest.lines().find(|(_, line)| line.contains("dependencies"))?;
    let sentence = "xtask has no dependencies, so that it compiles in a second: take them out";
    Some(Finding::new("xtask/Cargo.toml", line, sentence))
}

type Drawn = BTreeMap<String, (usize, Vec<String>)>;

/// The lines `a -> b, c` of the block, each with its line number.
fn drawn(page: &str) -> (Drawn, Vec<Finding>) {
    let (mut drawn, mut findings) = (Drawn::new(), Vec::new());
    let block = page.lines().enumerate().skip_while(|(_, line)| line.trim() != "```arrows");
    let mut found = false;
    for (idx, line) in block.skip(1).take_while(|(_, line)| line.trim() != "```") {
        found = true;
        let (from, to) = line.split_once("->").unwrap_or((line, ""));
        let mut to: Vec<String> =
            to.split(',').map(|name| name.trim().to_string()).filter(|s| !s.is_empty()).collect();
        to.sort();
        drawn.insert(from.trim().to_string(), (idx + 1, to));
    }
    if !found {
        let sentence = "there is no fenced block called `arrows`: add one, a line a crate";
        findings.push(Finding::new(PAGE, 1, sentence));
    }
    (drawn, findings)
}

/// The rooms that a manifest's `[dependencies]` name, for whatever target.
fn dependencies(manifest: &str, rooms: &[&str]) -> Vec<String> {
    let (mut section, mut names) = (String::new(), Vec::new());
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').to_string();
            // `[dependencies.tensor]` is a header and a name at once.
            if let Some((table, name)) = section.rsplit_once('.')
                && is_dependencies(table)
            {
                names.push(name.to_string());
            }
        } else if is_dependencies(&section) {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            names.push(name.trim_matches('"').to_string());
        }
    }
    names.retain(|name| rooms.contains(&name.as_str()));
    names.sort();
    names.dedup();
    names
}

fn is_dependencies(section: &str) -> bool {
    section == "dependencies"
        || section.starts_with("target.") && section.ends_with(".dependencies")
}

fn arrow(room: &str, to: &[String]) -> String {
    if to.is_empty() { room.to_string() } else { format!("{room} -> {}", to.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_TEXT: &str =
        "# x\n```arrows\nlayers -> tensor, kernels\nkernels -> tensor\ntensor\n```\n";

    fn findings(page: &str, layers: &str) -> Vec<String> {
        let tree = Tree::of(&[
            (PAGE, page),
            ("crates/layers/Cargo.toml", layers),
            ("crates/kernels/Cargo.toml", "[dependencies]\ntensor = { path = \"../tensor\" }\n"),
            ("crates/tensor/Cargo.toml", "[dependencies]\nrayon.workspace = true\n"),
        ]);
        check(&tree).iter().map(Finding::to_string).collect()
    }

    const LAYERS: &str = "[dependencies]\nkernels.workspace = true\ntensor.workspace = true\n\
                          [dev-dependencies]\nmodels.workspace = true\n";

    #[test]
    fn a_true_drawing_passes() {
        assert_eq!(findings(PAGE_TEXT, LAYERS), Vec::<String>::new());
        let target = "[target.'cfg(unix)'.dependencies]\nkernels.workspace = true\n\
                      [dependencies.tensor]\nworkspace = true\n";
        assert_eq!(findings(PAGE_TEXT, target), Vec::<String>::new());
    }

    #[test]
    fn a_missing_and_an_added_arrow_are_found() {
        let less = findings(PAGE_TEXT, "[dependencies]\nkernels.workspace = true\n");
        assert!(
            less[0].starts_with(
                "ARCHITECTURE.md:3: crates/layers/Cargo.toml says `layers -> kernels`"
            )
        );
        let more = findings(&PAGE_TEXT.replace("kernels -> tensor", "kernels"), LAYERS);
        assert!(more[0].contains("says `kernels -> tensor`"), "{more:?}");
    }

    #[test]
    fn crates_and_lines_must_pair() {
        assert!(
            findings(&PAGE_TEXT.replace("tensor\n```", "```"), LAYERS)[0].contains("add `tensor`")
        );
        assert!(findings(&PAGE_TEXT.replace("# x", ""), LAYERS).is_empty());
        let gone = findings(&PAGE_TEXT.replace("\n```\n", "\ncomm -> tensor\n```\n"), LAYERS);
        assert_eq!(gone, ["ARCHITECTURE.md:6: there is no crates/comm: take its line out"]);
        assert!(findings("# x\n", LAYERS)[0].contains("no fenced block"));
    }

    #[test]
    fn xtask_depends_on_nothing() {
        let tree = Tree::of(&[("xtask/Cargo.toml", "[package]\n[dependencies]\nclap = \"4\"\n")]);
        assert_eq!(manifest_of_xtask(&tree).unwrap().line, 2);
    }
}
