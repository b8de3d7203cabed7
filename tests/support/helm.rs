//! Runs helm on the chart of the repository.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::error::{Context as _, Error, Result};
use super::scratch::Scratch;
use super::{repository, tools};

/// The path of the chart, relative to the repository root.
pub const CHART: &str = "charts/live-message-operator";

/// The helm program. It runs in the repository root. Its configuration and caches are in a temporary directory.
pub struct Helm {
    program: PathBuf,
    home: Scratch,
}

impl Helm {
    /// Finds helm in the cache, or builds it.
    pub fn new() -> Result<Self> {
        Ok(Self { program: tools::helm()?.join("helm"), home: Scratch::new("helm")? })
    }

    /// Finds or builds both Helm 4 and Helm 3.
    pub fn versions() -> Result<[Self; 2]> {
        Ok([Self::new()?, Self { program: tools::helm3()?.join("helm"), home: Scratch::new("helm3")? }])
    }

    /// Runs helm and returns its stdout. The error contains stdout and stderr.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(&self.program)
            .args(args)
            .current_dir(repository())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("HELM_CONFIG_HOME", self.home.join("config"))
            .env("HELM_CACHE_HOME", self.home.join("cache"))
            .env("HELM_DATA_HOME", self.home.join("data"))
            .stdin(Stdio::null())
            .output()
            .context(self.program.display())?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(Error::new(format!("helm {}: {}\n{stdout}{stderr}", args.join(" "), output.status)))
    }

    /// Runs `helm template` on the chart. A values file sets the image, which the chart requires.
    pub fn template(&self, release: &str, namespace: &str, flags: &[&str]) -> Result<String> {
        let image = format!("{CHART}/ci/default-values.yaml");
        let mut args = vec!["template", release, CHART, "--namespace", namespace, "--values", &image];
        args.extend(flags);
        self.run(&args)
    }
}

/// Parses the non-empty documents of a YAML stream.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_yaml::from_multiple(yaml).context(format_args!("not YAML:\n{yaml}\n"))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}
