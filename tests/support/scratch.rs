//! Temporary directories that are removed even if the test run is killed.

use std::path::{Path, PathBuf};

use super::error::{Context as _, Result};
use super::guardian;

/// A temporary directory that is removed when this value is dropped or when the process ends.
#[derive(Debug)]
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// Creates an empty directory whose name starts with `lmo-` and `what`.
    pub fn new(what: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(&format!("lmo-{what}-")).tempdir();
        let dir = dir.context("cannot create a temporary directory")?;
        guardian::folder(dir.path())?;
        Ok(Self(dir))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of a file in the directory.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file to the directory.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.join(name);
        std::fs::write(&path, content).context(path.display())?;
        Ok(path)
    }
}
