//! Grants the operator exactly the permissions that the chart grants.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::error::{Context as _, Result};
use super::helm::{Helm, documents};
use super::kubeconfig::{Access, Cluster};
use super::kubectl::Kubectl;
use super::process::wait_for;
use super::repository;

/// The release of the demo on its own control plane. The operator watches all namespaces.
pub const DEMO: Recorded = Recorded {
    installation: Installation { release: "live-message-operator", namespace: "default", watch: &[], flags: &[] },
    file: "tests/demo/rbac-cluster.yaml",
};

/// The release of the demo in a namespace of an existing cluster. The operator watches only that namespace, so that it
/// does not process other objects of the cluster.
pub const DEMO_IN_A_NAMESPACE: Recorded = Recorded {
    installation: Installation { release: DEMO_NAME, namespace: DEMO_NAME, watch: &[DEMO_NAME], flags: &[] },
    file: "tests/demo/rbac-namespace.yaml",
};

const DEMO_NAME: &str = "live-message-operator-demo";

/// A release whose permissions are in a file, so that the demo does not need Helm. A test compares the file with the
/// chart.
pub struct Recorded {
    /// The release.
    pub installation: Installation<'static>,
    /// The path of the file, relative to the repository root.
    pub file: &'static str,
}

impl Recorded {
    /// Reads the permissions.
    pub fn rbac(&self) -> Result<String> {
        std::fs::read_to_string(repository().join(self.file)).context(self.file)
    }
}

/// The kinds that grant permissions.
const RBAC_KINDS: [&str; 5] = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];

/// A release of the chart.
#[derive(Clone, Copy, Debug)]
pub struct Installation<'a> {
    /// The name of the release, its ServiceAccount and its roles.
    pub release: &'a str,
    /// The namespace of the release.
    pub namespace: &'a str,
    /// The chart's `watchNamespaces`. An empty list selects the whole cluster.
    pub watch: &'a [&'a str],
    /// Additional Helm flags, which can grant more permissions.
    pub flags: &'a [&'a str],
}

impl Installation<'_> {
    /// Renders the ServiceAccount and its permissions.
    pub fn rbac(&self, helm: &Helm) -> Result<String> {
        let watch = format!("watchNamespaces={}", json!(self.watch));
        // Set the name explicitly, so that it does not depend on the naming rules of the chart.
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

    /// Applies the manifests in `rbac`, writes a kubeconfig with a token of the ServiceAccount to `folder`, and waits
    /// until the permissions take effect.
    pub fn kubeconfig(&self, rbac: &str, admin: &Kubectl, cluster: &Cluster, folder: &Path) -> Result<PathBuf> {
        // Validation would download the OpenAPI schema, which is slow on a busy machine.
        admin.run_with_input(&["apply", "--validate=false", "-f", "-"], rbac)?;
        let token = admin.run(&["create", "token", self.release, "--namespace", self.namespace, "--duration=24h"])?;
        let path = folder.join(format!("{}.kubeconfig", self.release));
        let config = cluster.kubeconfig(Access::Token(token.trim()), self.namespace)?;
        std::fs::write(&path, config).context(path.display())?;
        let operator = admin.with_kubeconfig(path.clone());
        for namespace in self.watch.iter().copied().chain(self.watch.is_empty().then_some("")) {
            // New roles take effect after a delay, because the apiserver's authorizer learns about them from a watch.
            let status = "live.alibabacloud.com/livemessagegroups/status";
            let more = self.flags.iter().any(|flag| flag.starts_with("rbac.secrets="));
            wait_for("the permissions of the operator", Duration::from_secs(90), || {
                let holds = may(&operator, "patch", status, namespace)?
                    && (!more || may(&operator, "get", "/secrets", namespace)?);
                Ok(holds.then_some(()))
            })?;
        }
        Ok(path)
    }
}

/// Whether the user of this kubectl has a permission. `resource` is `GROUP/RESOURCE` or `GROUP/RESOURCE/SUBRESOURCE`,
/// with an empty group for the core group. An empty namespace selects all namespaces. The resource does not have to
/// exist.
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
    answer["status"]["allowed"].as_bool().context(format_args!("not a SelfSubjectAccessReview: {answer}"))
}
