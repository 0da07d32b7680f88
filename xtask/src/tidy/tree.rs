//! The repository's text files.

use super::code;
use std::path::Path;
use std::{fs, io};

/// All text files, sorted by path.
pub struct Tree {
    pub files: Vec<File>,
}

/// A text file.
pub struct File {
    /// Relative to the root, with forward slashes.
    pub path: String,
    pub text: String,
    /// For Rust: the text with comments and literals blanked out, with the same lines.
    pub code: String,
}

/// The folders that are read, in addition to the files in the root.
const FOLDERS: [&str; 7] = ["crates", "xtask", "benches", "docs", "fuzz", ".ci", ".cargo"];
const EXTENSIONS: [&str; 9] = ["rs", "toml", "md", "py", "json", "cu", "cuh", "lock", "sh"];

impl Tree {
    /// Reads the repository at `root`.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Tree { files: Vec::new() };
        tree.visit(root, "", false)?;
        for folder in FOLDERS {
            if root.join(folder).is_dir() {
                tree.visit(root, folder, true)?;
            }
        }
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    /// A tree for tests.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let file = |&(path, text): &(&str, &str)| File::new(path.to_string(), text.to_string());
        Tree { files: files.iter().map(file).collect() }
    }

    /// The file at `path`.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// The folders below `crates/`.
    pub fn crates(&self) -> Vec<&str> {
        let manifest = |file: &'_ File| file.path.ends_with("/Cargo.toml");
        let manifests = self.files.iter().filter(|file| manifest(file));
        manifests.filter_map(File::crate_name).collect()
    }

    /// Reads the files of a folder, and of its subfolders if `is_deep`.
    fn visit(&mut self, root: &Path, folder: &str, is_deep: bool) -> io::Result<()> {
        for entry in fs::read_dir(root.join(folder))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let ending = Path::new(&name).extension().map(|end| end.to_string_lossy().into_owned());
            let built = ["target", "runs", "__pycache__"].contains(&name.as_str());
            let is_git = name == ".git"; // a file in other worktrees
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() && is_deep && !built {
                self.visit(root, &path, true)?;
            } else if (kind.is_file() || kind.is_symlink() && entry.path().is_file())
                && !is_git
                && ending.is_none_or(|ending| EXTENSIONS.contains(&ending.as_str()))
            {
                let text = fs::read(entry.path()).map_err(|error| named(&path, &error))?;
                let text = String::from_utf8_lossy(&text).into_owned();
                self.files.push(File::new(path, text));
            }
        }
        Ok(())
    }
}

impl File {
    fn new(path: String, text: String) -> Self {
        let code = if path.ends_with(".rs") { code::of(&text) } else { text.clone() };
        File { path, text, code }
    }

    /// The folder of the file's crate, if it is below `crates/`.
    pub fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Lines of code with their numbers from one.
    pub fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(idx, line)| (idx + 1, line))
    }

    /// Lines of text with their numbers from one.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(idx, line)| (idx + 1, line))
    }

    /// Lines of code before the tests at the file's end.
    pub fn code_lines_without_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code_lines().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
    }

    /// Whether the whole file is a test, a benchmark or an example.
    pub fn is_test(&self) -> bool {
        ["/tests/", "/benches/", "/examples/"].iter().any(|folder| self.path.contains(folder))
            || self.path.ends_with("tests.rs")
    }
}

/// Whether `line` contains `word` as a whole word.
pub fn has_word(line: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(inside)
            && !line[at + word.len()..].chars().next().is_some_and(inside)
    })
}

fn named(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole() {
        assert!(has_word("let d: Device;", "Device"));
        assert!(!has_word("let d: Devices; DeviceKind", "Device"));
        assert!(!has_word("unsafe_code", "unsafe"));
    }

    #[test]
    fn crates_are_the_folders_below_crates() {
        let tree = Tree::of(&[("crates/data/Cargo.toml", ""), ("xtask/Cargo.toml", "")]);
        assert_eq!(tree.crates(), ["data"]);
    }
}
