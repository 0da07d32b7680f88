//! The dependency arrows in ARCHITECTURE.md equal the dependencies in the manifests.

use super::Finding;
use super::tree::Tree;
use std::collections::BTreeMap;

const PAGE: &str = "ARCHITECTURE.md";

/// Compares the fenced block `arrows` with every crate's `[dependencies]`; dev-dependencies have no
/// arrow.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.file(PAGE) else {
        return vec![Finding::new(
            PAGE,
            1,
            "the file is missing; it lists the dependencies between the crates",
        )];
    };
    let (listed, mut findings) = listed(&page.text);
    let crates = tree.crates();
    for crate_name in &crates {
        let path = format!("crates/{crate_name}/Cargo.toml");
        let manifest = tree.file(&path).map_or("", |file| &file.text);
        let real = dependencies(manifest, &crates);
        let Some((line, arrows)) = listed.get(*crate_name) else {
            let message =
                format!("`{crate_name}` is not in the arrows: add `{}`", arrow(crate_name, &real));
            findings.push(Finding::new(PAGE, 1, message));
            continue;
        };
        if *arrows != real {
            let message = format!(
                "{path} has `{}`: correct the arrow, or the dependency if it points upward",
                arrow(crate_name, &real)
            );
            findings.push(Finding::new(PAGE, *line, message));
        }
    }
    for (crate_name, (line, _)) in &listed {
        if !crates.contains(&crate_name.as_str()) {
            let message = format!("there is no crates/{crate_name}: remove its line");
            findings.push(Finding::new(PAGE, *line, message));
        }
    }
    findings.extend(manifest_of_xtask(tree));
    findings
}

/// xtask must not have dependencies: it is compiled before everything else.
fn manifest_of_xtask(tree: &Tree) -> Option<Finding> {
    let manifest = tree.file("xtask/Cargo.toml")?;
    let (line, _) = manifest.lines().find(|(_, line)| line.contains("dependencies"))?;
    let message = "xtask must not have dependencies, so that it compiles in a second: remove them";
    Some(Finding::new("xtask/Cargo.toml", line, message))
}

type Arrows = BTreeMap<String, (usize, Vec<String>)>;

/// The lines `a -> b, c` of the block, each with its line number.
fn listed(page: &str) -> (Arrows, Vec<Finding>) {
    let (mut listed, mut findings) = (Arrows::new(), Vec::new());
    let block = page.lines().enumerate().skip_while(|(_, line)| line.trim() != "```arrows");
    let mut found = false;
    for (idx, line) in block.skip(1).take_while(|(_, line)| line.trim() != "```") {
        found = true;
        let (from, to) = line.split_once("->").unwrap_or((line, ""));
        let mut to: Vec<String> =
            to.split(',').map(|name| name.trim().to_string()).filter(|s| !s.is_empty()).collect();
        to.sort();
        listed.insert(from.trim().to_string(), (idx + 1, to));
    }
    if !found {
        let message = "there is no fenced block called `arrows`: add one with a line per crate";
        findings.push(Finding::new(PAGE, 1, message));
    }
    (listed, findings)
}

/// The workspace crates in a manifest's `[dependencies]`, of all targets.
fn dependencies(manifest: &str, crates: &[&str]) -> Vec<String> {
    let (mut section, mut names) = (String::new(), Vec::new());
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').to_string();
            // The header `[dependencies.tensor]` contains the name.
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
    names.retain(|name| crates.contains(&name.as_str()));
    names.sort();
    names.dedup();
    names
}

fn is_dependencies(section: &str) -> bool {
    section == "dependencies"
        || section.starts_with("target.") && section.ends_with(".dependencies")
}

fn arrow(crate_name: &str, to: &[String]) -> String {
    if to.is_empty() {
        crate_name.to_string()
    } else {
        format!("{crate_name} -> {}", to.join(", "))
    }
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
    fn matching_arrows_pass() {
        assert_eq!(findings(PAGE_TEXT, LAYERS), Vec::<String>::new());
        let target = "[target.'cfg(unix)'.dependencies]\nkernels.workspace = true\n\
                      [dependencies.tensor]\nworkspace = true\n";
        assert_eq!(findings(PAGE_TEXT, target), Vec::<String>::new());
    }

    #[test]
    fn a_missing_and_an_added_arrow_are_found() {
        let less = findings(PAGE_TEXT, "[dependencies]\nkernels.workspace = true\n");
        assert!(
            less[0]
                .starts_with("ARCHITECTURE.md:3: crates/layers/Cargo.toml has `layers -> kernels`")
        );
        let more = findings(&PAGE_TEXT.replace("kernels -> tensor", "kernels"), LAYERS);
        assert!(more[0].contains("has `kernels -> tensor`"), "{more:?}");
    }

    #[test]
    fn every_crate_has_a_line() {
        assert!(
            findings(&PAGE_TEXT.replace("tensor\n```", "```"), LAYERS)[0].contains("add `tensor`")
        );
        assert!(findings(&PAGE_TEXT.replace("# x", ""), LAYERS).is_empty());
        let removed = findings(&PAGE_TEXT.replace("\n```\n", "\ncomm -> tensor\n```\n"), LAYERS);
        assert_eq!(removed, ["ARCHITECTURE.md:6: there is no crates/comm: remove its line"]);
        assert!(findings("# x\n", LAYERS)[0].contains("no fenced block"));
    }

    #[test]
    fn xtask_depends_on_nothing() {
        let tree = Tree::of(&[("xtask/Cargo.toml", "[package]\n[dependencies]\nclap = \"4\"\n")]);
        assert_eq!(manifest_of_xtask(&tree).unwrap().line, 2);
    }
}
