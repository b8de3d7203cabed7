//! Temporary folders that also a killed test run leaves not behind.

use std::path::{Path, PathBuf};

use super::error::{Context as _, Result};
use super::guardian;

/// A temporary folder; gone when dropped, or at the end of the process.
#[derive(Debug)]
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// A new, empty folder whose name starts with `lmo-` and this.
    pub fn new(what: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(&format!("lmo-{what}-")).tempdir();
        let dir = dir.context("cannot make a temporary folder")?;
        guardian::folder(dir.path())?;
        Ok(Self(dir))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of this name in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.join(name);
        std::fs::write(&path, content).context(path.display())?;
        Ok(path)
    }
}
