//! Which cluster `run` works in.

use kube::Config;
use kube::config::KubeConfigOptions;

/// What every container of a pod has.
const IN_POD: &str = "KUBERNETES_SERVICE_HOST";

/// The cluster of the kubeconfig, or the one whose pod this is.
///
/// # Errors
/// Why there is none, and what to do: of the two ways only the one that the user is on.
pub(super) async fn find() -> Result<Config, String> {
    if let Ok(config) = Config::infer().await {
        return Ok(config);
    }
    if std::env::var_os(IN_POD).is_some() {
        return Config::incluster().map_err(|error| {
            format!("no cluster: {error}: the pod needs a ServiceAccount and its token (automountServiceAccountToken)")
        });
    }
    Config::from_kubeconfig(&KubeConfigOptions::default()).await.map_err(|error| {
        let error = error.to_string();
        // Further lines show what stands in the file, which may be a key.
        let reason = error.lines().next().unwrap_or_default();
        format!("no cluster: {reason}: name a readable kubeconfig in KUBECONFIG, or run in a pod")
    })
}
