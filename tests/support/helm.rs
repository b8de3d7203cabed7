//! The real helm on the repository's chart.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::error::{Context as _, Error, Result};
use super::kubectl::Kubectl;
use super::scratch::Scratch;
use super::{repository, tools};

/// The chart, relative to the root of the repository.
pub const CHART: &str = "charts/live-message-operator";

/// The kinds that say what the operator may do.
const RBAC_KINDS: [&str; 5] = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];

/// The helm program; it runs in the root of the repository, with its configuration and caches in a temporary folder.
pub struct Helm {
    program: PathBuf,
    home: Scratch,
}

impl Helm {
    /// Builds it if need be.
    pub fn new() -> Result<Self> {
        Ok(Self { program: tools::helm()?.join("helm"), home: Scratch::new("helm")? })
    }

    /// Runs it; its stdout, or everything it said as the error.
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

    /// `helm template` of the chart as this release, with further flags.
    pub fn template(&self, release: &str, namespace: &str, flags: &[&str]) -> Result<String> {
        let mut args = vec!["template", release, CHART, "--namespace", namespace];
        args.extend(flags);
        self.run(&args)
    }
}

/// The documents of a YAML stream, empty ones left out.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_yaml::from_multiple(yaml).context(format_args!("not YAML:\n{yaml}\n"))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Applies the ServiceAccount and the RBAC that the chart renders for this release, nothing else of it; a token of that
/// ServiceAccount. Its name is the release's: that is set here and not left to the chart's rules for names.
pub fn grant_chart_rbac(
    helm: &Helm,
    kubectl: &Kubectl,
    release: &str,
    namespace: &str,
    watch: &[&str],
) -> Result<String> {
    let watch = format!("watchNamespaces={{{}}}", watch.join(","));
    let name = format!("fullnameOverride={release}");
    let rendered = helm.template(release, namespace, &["--set", &watch, "--set", &name])?;
    let objects = documents(&rendered)?.into_iter().filter(|object| {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        RBAC_KINDS.contains(&kind)
    });
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects.collect::<Vec<_>>() });
    kubectl.run_with_input(&["apply", "-f", "-"], &list.to_string())?;
    let token = kubectl.run(&["create", "token", release, "--namespace", namespace, "--duration=24h"])?;
    Ok(token.trim().to_owned())
}
