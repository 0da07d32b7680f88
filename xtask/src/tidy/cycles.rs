//! The files of a crate have no dependency cycle.
//!
//! A file depends on the modules in its `crate::`, `super::` and `self::` paths, except its own
//! submodules. Tests do not count.

use super::Finding;
use super::tree::{File, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// A module's path in its crate: `jpeg::header`.
type Module = Vec<String>;

/// Looks for cycles in every crate.
pub fn check(tree: &Tree) -> Vec<Finding> {
    tree.crates().into_iter().flat_map(|crate_name| cycles(tree, crate_name)).collect()
}

fn cycles(tree: &Tree, crate_name: &str) -> Vec<Finding> {
    let files: BTreeMap<Module, &File> = tree
        .files
        .iter()
        .filter(|file| file.crate_name() == Some(crate_name))
        .filter_map(|file| Some((module_of(&file.path, crate_name)?, file)))
        .collect();
    let edges: BTreeMap<&Module, BTreeSet<&Module>> =
        files.iter().map(|(module, file)| (module, needs(module, file, &files))).collect();
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        files.keys().map(|module| (module, reachable(module, &edges))).collect();
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for module in files.keys().filter(|module| reached[module].contains(module)) {
        let cycle = reached[module].iter().filter(|other| reached[*other].contains(module));
        let names: Vec<String> = cycle.map(|module| module.join("::")).collect();
        if seen.insert(names.clone()) {
            let message = format!("dependency cycle of files: {}", names.join(", "));
            findings.push(Finding::new(&files[module].path, 1, message));
        }
    }
    findings
}

/// The module of a file; `None` for tests and the crate's root.
fn module_of(path: &str, crate_name: &str) -> Option<Module> {
    let inside = path.strip_prefix(&format!("crates/{crate_name}/src/"))?.strip_suffix(".rs")?;
    let mut parts: Module = inside.split('/').map(str::to_string).collect();
    if parts.iter().any(|part| part == "tests") {
        return None;
    }
    parts.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
    (!parts.is_empty()).then_some(parts)
}

/// The modules in a file's paths, except itself and its submodules.
fn needs<'a>(
    module: &Module,
    file: &File,
    files: &'a BTreeMap<Module, &File>,
) -> BTreeSet<&'a Module> {
    let target = |path: Module| {
        let mut path = absolute(module, path);
        while !path.is_empty() && !files.contains_key(&path) {
            path.pop();
        }
        files.get_key_value(&path).map(|(module, _)| module)
    };
    paths(without_tests(&file.code))
        .into_iter()
        .filter_map(target)
        .filter(|to| !to.starts_with(module))
        .collect()
}

/// The path from the crate's root.
fn absolute(module: &Module, path: Module) -> Module {
    let mut from = module.clone();
    let mut rest = path.into_iter().peekable();
    match rest.next().as_deref() {
        Some("crate") => from.clear(),
        Some("super") => drop(from.pop()),
        _ => {}
    }
    while rest.next_if(|part| part == "super").is_some() {
        from.pop();
    }
    from.extend(rest);
    from
}

/// Everything before the tests at the end of a file.
fn without_tests(code: &str) -> &str {
    let end = code.match_indices("#[cfg(test)]").find(|(at, found)| {
        let next = code[at + found.len()..].trim_start();
        let opens = next.find(['{', ';']).is_some_and(|at| next[at..].starts_with('{'));
        next.starts_with("mod ") && opens
    });
    end.map_or(code, |(at, _)| &code[..at])
}

/// The paths that begin with `crate::`, `super::` or `self::`; of `a::{b, c}` both.
fn paths(code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                use_tree(&code[at..], &Module::new(), &mut found);
            }
        }
    }
    found
}

/// Parses the `use` tree at the start of `code`; returns the text after it.
fn use_tree<'a>(code: &'a str, above: &Module, found: &mut Vec<Module>) -> &'a str {
    let mut path = above.clone();
    let mut rest = code.trim_start();
    loop {
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside.trim_start();
            while !rest.is_empty() && !rest.starts_with('}') {
                let after = use_tree(rest, &path, found);
                if after.len() == rest.len() {
                    return ""; // not a path
                }
                let after = after.trim_start();
                rest = after.strip_prefix(',').unwrap_or(after).trim_start();
            }
            return rest.strip_prefix('}').unwrap_or(rest);
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        path.push(rest[..end].to_string());
        let after = &rest[end..];
        let Some(next) = after.strip_prefix("::") else {
            found.push(path);
            let renamed = after.trim_start().strip_prefix("as ").map(str::trim_start);
            let after = after.strip_prefix('*').unwrap_or(after);
            return renamed.map_or(after, |name| {
                name.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
            });
        };
        rest = next;
    }
}

fn reachable<'a>(
    from: &Module,
    edges: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Module> = edges[from].iter().copied().collect();
    while let Some(module) = next.pop() {
        if let Some((module, edges)) = edges.get_key_value(module)
            && reached.insert(*module)
        {
            next.extend(edges.iter().copied());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<(String, &str)> =
            files.iter().map(|(name, text)| (format!("crates/a/src/{name}.rs"), *text)).collect();
        let mut all: Vec<(&str, &str)> =
            files.iter().map(|(name, text)| (&**name, *text)).collect();
        all.push(("crates/a/Cargo.toml", ""));
        check(&Tree::of(&all)).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn cycles_are_found_in_every_form_of_path() {
        let cycle = ["crates/a/src/b.rs:1: dependency cycle of files: b, c::d"];
        for (b, d) in [
            ("use crate::c::d::D;", "use crate::b::B;"),
            ("use crate::{x, c::{self, d::{D, E as F}}};", "use super::super::b::{self};"),
            ("fn f() { crate::c::d::f() }", "pub use crate::b::*;"),
        ] {
            assert_eq!(findings(&[("lib", ""), ("b", b), ("c/mod", "mod d;"), ("c/d", d)]), cycle);
        }
    }

    #[test]
    fn files_without_a_cycle_pass() {
        let none = Vec::<String>::new();
        // A parent names its child, and the child its parent.
        assert_eq!(findings(&[("b", "mod c; use self::c::C;"), ("b/c", "use super::B;")]), none);
        // Paths through the crate's root, in tests, in a comment.
        assert_eq!(findings(&[("lib", "pub use b::B;"), ("b", "use crate::{B, Error};")]), none);
        let tests = "use crate::c::C;\n#[cfg(test)]\nmod tests { use crate::b::B; }";
        assert_eq!(findings(&[("b", tests), ("c", "// crate::b::B\n")]), none);
        assert_eq!(findings(&[("b", "use crate::c::C;"), ("c/tests", "use crate::b::B;")]), none);
    }
}
