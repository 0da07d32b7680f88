//! What pages point at is there.

use super::Finding;
use super::tree::{File, Tree};

/// Follows every link between the repository's own pages: to a file, a folder, or a heading.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let pages = tree.files.iter().filter(|file| file.path.ends_with(".md"));
    pages
        .flat_map(|page| links(page).filter_map(|(line, to)| missing(tree, page, line, to)))
        .collect()
}

/// Where the page points outside of its examples, line by line, but for other sites.
fn links(page: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut is_example = false;
    page.lines().flat_map(move |(line, text)| {
        is_example ^= text.trim_start().starts_with("```");
        let text = if is_example { "" } else { text };
        let ends = text.match_indices("](").map(|(at, mark)| &text[at + mark.len()..]);
        let targets = ends.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        targets.filter(|target| !target.contains("://")).map(move |target| (line, target))
    })
}

fn missing(tree: &Tree, page: &File, line: usize, target: &str) -> Option<Finding> {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { page.path.clone() } else { resolve(&page.path, path) };
    if !tree.paths.contains(&path) {
        let sentence = format!("the link to {target} leads nowhere: there is no {path}");
        return Some(Finding::new(&page.path, line, sentence));
    }
    let has_heading = |file: &File| headings(file).any(|name| name == heading);
    if heading.is_empty() || tree.file(&path).is_some_and(has_heading) {
        return None;
    }
    let sentence = format!("the link to {target} leads nowhere: {path} has no such heading");
    Some(Finding::new(&page.path, line, sentence))
}

/// The path from the root of what `link` means on the page at `from`.
fn resolve(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The names by which browsers know a page's headings, as GitHub makes them.
fn headings(page: &File) -> impl Iterator<Item = String> {
    let lines = page.lines().filter(|(_, text)| text.starts_with('#'));
    lines.map(|(_, text)| {
        let words = text.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(page: &str) -> Vec<String> {
        let other = ("docs/b.md", "# The paper's `x`, 2 of them\n");
        let tree = Tree::of(&[("docs/a.md", page), other, ("c.png", "")]);
        check(&tree).into_iter().map(|finding| finding.sentence).collect()
    }

    #[test]
    fn what_is_there_is_found() {
        for link in [
            "[a](b.md)",
            "![a](../c.png) and [b](./b.md#the-papers-x-2-of-them)",
            "[a](https://example.org/none)",
            "# One\n[a](#one)",
            "```text\n[a](none)\n```",
        ] {
            assert_eq!(sentences(link), Vec::<String>::new(), "{link}");
        }
    }

    #[test]
    fn what_is_not_there_is_told() {
        for (link, why) in [
            ("[a](none.md)", "there is no docs/none.md"),
            ("[a](b.md) [a](../none/)", "there is no none"),
            ("[a](b.md#two)", "docs/b.md has no such heading"),
            ("[a](#two)", "docs/a.md has no such heading"),
            ("```text\n```\n[a](none)", "there is no docs/none"),
        ] {
            let told = sentences(link);
            assert!(told.len() == 1 && told[0].contains(why), "{link}: {told:?}");
        }
    }
}
