//! Finds the Kubernetes cluster for the command `run`.

use kube::Config;
use kube::config::KubeConfigOptions;

/// The kubelet sets this variable in every container.
const IN_POD: &str = "KUBERNETES_SERVICE_HOST";

/// The connection settings from the kubeconfig, or from the ServiceAccount of the pod.
///
/// # Errors
/// If neither exists. In a pod, the message is about the ServiceAccount, otherwise about the kubeconfig.
pub(super) async fn find() -> Result<Config, String> {
    if let Ok(config) = Config::infer().await {
        return Ok(config);
    }
    if std::env::var_os(IN_POD).is_some() {
        return Config::incluster().map_err(|error| {
            format!(
                "no cluster found: {error}: mount the token of a ServiceAccount into the pod \
                 (automountServiceAccountToken)"
            )
        });
    }
    Config::from_kubeconfig(&KubeConfigOptions::default()).await.map_err(|error| {
        let error = error.to_string();
        // Only the first line is shown. The others quote the kubeconfig, which may contain a key.
        let reason = error.lines().next().unwrap_or_default();
        format!("no cluster found: {reason}: set KUBECONFIG to a readable kubeconfig, or run in a pod")
    })
}
