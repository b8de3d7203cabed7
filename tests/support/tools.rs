//! Where etcd, kube-apiserver, kubectl, kube-controller-manager, helm and the judges of health come from:
//! `tests/tools/build`, which builds them once per machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::error::{Context as _, Error, Result};
use super::repository;

/// The folder with `etcd`, `kube-apiserver` and `kubectl`.
pub fn control_plane() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "control-plane")
}

/// The folder with `kube-controller-manager`.
pub fn controller_manager() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "controller-manager")
}

/// The folder with `helm`.
pub fn helm() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "helm")
}

/// The folder with `kstatus`: our program around the library by which Flux and Helm 4 judge.
pub fn kstatus() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "kstatus")
}

/// The folder with `glua`: Argo CD's Lua.
pub fn lua() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "lua")
}

// A failure is kept as well: a hundred tests should say what is missing, not try a hundred times to compile it.
fn once(folder: &OnceLock<Result<PathBuf, String>>, family: &str) -> Result<PathBuf> {
    let found = folder.get_or_init(|| build(family).map_err(|error| error.to_string()));
    found.clone().map_err(Error::new)
}

fn build(family: &str) -> Result<PathBuf> {
    let script = repository().join("tests/tools/build");
    // stderr is the terminal's: the progress of a first build must be seen, not kept until the test ends.
    let output = Command::new(&script).arg(family).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context(script.display())?;
    if !output.status.success() {
        return Err(Error::new(format!("tests/tools/build {family} failed; what is missing is said above, on stderr")));
    }
    let folder = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(folder.trim_end()))
}
