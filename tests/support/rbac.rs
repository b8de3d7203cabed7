//! What the operator may do: as the chart says, and nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::error::{Context as _, Result};
use super::helm::{Helm, documents};
use super::kubeconfig::{Access, Cluster};
use super::kubectl::Kubectl;
use super::process::wait_for;

/// The kinds that say what the operator may do.
const RBAC_KINDS: [&str; 5] = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];

/// Where an operator belongs, and where it works.
#[derive(Clone, Copy, Debug)]
pub struct Installation<'a> {
    /// The name of the release, and so of the ServiceAccount and of its roles.
    pub release: &'a str,
    /// The namespace of the release.
    pub namespace: &'a str,
    /// The chart's `watchNamespaces`; empty means the whole cluster.
    pub watch: &'a [&'a str],
    /// Further flags of helm, for more permissions.
    pub flags: &'a [&'a str],
}

impl Installation<'_> {
    /// Of everything the chart renders for this installation, the ServiceAccount and its permissions.
    pub fn rbac(&self, helm: &Helm) -> Result<String> {
        let watch = format!("watchNamespaces={}", json!(self.watch));
        // The name is set here and not left to the chart's rules for names.
        let name = format!("fullnameOverride={}", self.release);
        let rendered = helm.template(
            self.release,
            self.namespace,
            &[&["--set-json", &watch, "--set-string", &name], self.flags].concat(),
        )?;
        let objects = documents(&rendered)?.into_iter().filter(|object| {
            let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
            RBAC_KINDS.contains(&kind)
        });
        Ok(json!({ "apiVersion": "v1", "kind": "List", "items": objects.collect::<Vec<_>>() }).to_string())
    }

    /// Applies [`rbac`](Self::rbac), writes a kubeconfig with a token of the ServiceAccount into `folder`, and waits until
    /// the apiserver knows the permissions.
    pub fn kubeconfig(&self, helm: &Helm, admin: &Kubectl, cluster: &Cluster, folder: &Path) -> Result<PathBuf> {
        // Without the description of all the kinds there are, which takes long to read on a busy machine.
        admin.run_with_input(&["apply", "--validate=false", "-f", "-"], &self.rbac(helm)?)?;
        let token = admin.run(&["create", "token", self.release, "--namespace", self.namespace, "--duration=24h"])?;
        let path = folder.join(format!("{}.kubeconfig", self.release));
        let config = cluster.kubeconfig(Access::Token(token.trim()), self.namespace)?;
        std::fs::write(&path, config).context(path.display())?;
        let operator = admin.with_kubeconfig(path.clone());
        for namespace in self.watch.iter().copied().chain(self.watch.is_empty().then_some("")) {
            // The server's authorizer learns of new roles by a watch, a moment after they are applied.
            let status = "live.alibabacloud.com/livemessagegroups/status";
            let more = self.flags.iter().any(|flag| flag.starts_with("rbac.secrets="));
            wait_for("the operator's permissions to hold", Duration::from_secs(90), || {
                let holds = may(&operator, "patch", status, namespace)?
                    && (!more || may(&operator, "get", "/secrets", namespace)?);
                Ok(holds.then_some(()))
            })?;
        }
        Ok(path)
    }
}

/// Whether who this kubectl acts for may do this. `resource` is `GROUP/RESOURCE` or `GROUP/RESOURCE/SUBRESOURCE`, the
/// core group being empty; no namespace means in all of them. Asks the server, which need not know the resource yet.
pub fn may(kubectl: &Kubectl, verb: &str, resource: &str, namespace: &str) -> Result<bool> {
    let mut parts = resource.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    let attributes = json!({
        "group": part(), "resource": part(), "subresource": part(), "verb": verb, "namespace": namespace,
    });
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": attributes },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = kubectl.run_with_input(&["create", "--raw", path, "-f", "-"], &review.to_string())?;
    let answer: Value = serde_json::from_str(&answer)?;
    answer["status"]["allowed"].as_bool().context(format_args!("not an answer to a review: {answer}"))
}
