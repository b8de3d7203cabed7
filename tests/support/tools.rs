//! Locates the external programs and schemas that the tests and the benchmark use, such as etcd, kubectl and helm.
//! `tests/tools/build` builds each of them once per machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::error::{Context as _, Error, Result};
use super::repository;

/// The directory with `etcd`, `kube-apiserver` and `kubectl`.
pub fn control_plane() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "control-plane")
}

/// The directory with `kube-controller-manager`.
pub fn controller_manager() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "controller-manager")
}

/// The directory with `helm`.
pub fn helm() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "helm")
}

/// The directory with version 3 of `helm`.
pub fn helm3() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "helm3")
}

/// The directory with `helm-docs`.
pub fn helm_docs() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "helm-docs")
}

/// The directory with `kubeconform`.
pub fn kubeconform() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "kubeconform")
}

/// The directory with `kubernetes-json-schema`, the schemas of several Kubernetes versions.
pub fn kubernetes_schemas() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "kubernetes-schemas")
}

/// The directory with `kstatus`, a program that uses the same kstatus library as Flux and Helm 4.
pub fn kstatus() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "kstatus")
}

/// The directory with `glua`, the Lua interpreter of Argo CD.
pub fn lua() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "lua")
}

/// The directory with `kustomize-controller`, `flux-health`, `sops` and `age-keygen`.
pub fn flux() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "flux")
}

/// The directory with `flux.yaml`, `argo-cd.yaml` and `external-secrets.yaml`, the CRDs of these projects.
pub fn gitops_crds() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "gitops-crds")
}

/// The directory with `setup-envtest`. The demo uses this program to download a control plane.
pub fn envtest() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "envtest")
}

/// The directory with `promtool`.
pub fn promtool() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "promtool")
}

/// The directory with `yardstick`, the program that the benchmark compares the operator with.
pub fn yardstick() -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&FOLDER, "yardstick")
}

// Locates or builds a family of tools, at most once in this process. A failure is cached too, so that only the first
// test starts a build that fails.
fn once(folder: &OnceLock<Result<PathBuf, String>>, family: &str) -> Result<PathBuf> {
    let found = folder.get_or_init(|| build(family).map_err(|error| error.to_string()));
    found.clone().map_err(Error::new)
}

fn build(family: &str) -> Result<PathBuf> {
    let script = repository().join("tests/tools/build");
    // stderr is inherited, so that the progress of a build is visible.
    let output = Command::new(&script).arg(family).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context(script.display())?;
    if !output.status.success() {
        return Err(Error::new(format!("tests/tools/build {family} failed: see the output above")));
    }
    let folder = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(folder.trim_end()))
}
