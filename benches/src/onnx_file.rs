//! A network exported as ONNX for other programs.

use crate::step::drawn;
use layers::Spec;
use std::fs;
use std::path::{Path, PathBuf};
use train::recipe::Recipe;
use weights::export::{self, ExportOptions, Format};

/// A temporary file with a network and its initial weights; removed when it is dropped.
#[derive(Debug)]
pub struct OnnxFile {
    folder: PathBuf,
    path: PathBuf,
}

impl OnnxFile {
    /// Exports `spec` with the initial weights of `recipe`. The export is read back and compared,
    /// as any is.
    ///
    /// # Errors
    /// If ONNX cannot have this network, or the file cannot be written.
    pub fn new(spec: &Spec, recipe: &Recipe) -> Result<OnnxFile, String> {
        let name = format!("alexnet-bench-onnx-{}-{}", std::process::id(), spec.name);
        let folder = std::env::temp_dir().join(name);
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(failed)?;
        let file = OnnxFile { path: folder.join("net.onnx"), folder };
        let weights = drawn(spec, recipe).map_err(|error| error.to_string())?;
        let options = ExportOptions::new(Format::Onnx);
        let written = export::write(&weights, &file.path, &options, &mut |_, _| true);
        written.map_err(|error| error.to_string())?;
        Ok(file)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OnnxFile {
    fn drop(&mut self) {
        // It is in the folder of temporary files, which the system empties.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use layers::window;

    #[test]
    fn a_file_is_written_and_removed() {
        let spec = Spec::image("tiny-onnx", 12, 12, 3)
            .conv("conv1", 8, window(3).pad(1))
            .relu()
            .pool(window(2).stride(2))
            .linear("fc2", 10);
        let file = OnnxFile::new(&spec, &train::recipes::paper()).unwrap();
        let path = file.path().to_path_buf();
        assert!(fs::metadata(&path).unwrap().len() > 1440 * 4);
        drop(file);
        assert!(!path.exists());
    }
}
