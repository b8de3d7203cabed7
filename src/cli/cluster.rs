//! Finds the Kubernetes cluster for the command `run`.

use std::fmt;
use std::path::PathBuf;

use kube::Config;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};

/// The kubelet sets this variable in every container.
const IN_POD: &str = "KUBERNETES_SERVICE_HOST";

/// The file in a pod that contains the CA certificates of the apiserver.
const POD_CA_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// Reads the connection settings from the kubeconfig, or from the ServiceAccount of the pod.
///
/// # Errors
/// Returns an error if neither of them can be used. In a pod, the message explains why the ServiceAccount cannot be
/// used. Outside a pod, it explains why the kubeconfig cannot be used.
pub(super) async fn find() -> Result<Config, String> {
    let config = settings().await?;
    if config.root_cert.as_ref().is_some_and(Vec::is_empty) {
        let file = config.root_cert_file.clone().or_else(kubeconfig_ca_file);
        return Err(bad_ca_file(file, &"it contains no PEM certificate"));
    }
    Ok(config)
}

async fn settings() -> Result<Config, String> {
    if let Ok(config) = Config::infer().await {
        return Ok(config);
    }
    if std::env::var_os(IN_POD).is_some() {
        return Config::incluster().map_err(|error| explain_pod(&error));
    }
    Config::from_kubeconfig(&KubeConfigOptions::default()).await.map_err(|error| explain_kubeconfig(&error))
}

fn explain_pod(error: &InClusterError) -> String {
    match error {
        InClusterError::ReadCertificateBundle(cause) => bad_ca_file(Some(POD_CA_FILE.into()), cause),
        InClusterError::ParseCertificates(cause) => bad_ca_file(Some(POD_CA_FILE.into()), cause),
        other => format!(
            "no cluster found: {other}: mount the token of a ServiceAccount into the pod (automountServiceAccountToken)"
        ),
    }
}

fn explain_kubeconfig(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::LoadCertificateAuthority(cause) => bad_ca_file(kubeconfig_ca_file(), cause),
        KubeconfigError::ParseCertificates(cause) => bad_ca_file(kubeconfig_ca_file(), cause),
        other => {
            let other = other.to_string();
            // Only the first line is used, because the other lines quote the file, which may contain a key.
            let reason = other.lines().next().unwrap_or_default();
            format!("no cluster found: {reason}: set KUBECONFIG to a readable kubeconfig, or run in a pod")
        }
    }
}

/// Returns the message for CA certificates that cannot be used. `file` is `None` if the certificates are part of the
/// kubeconfig.
fn bad_ca_file(file: Option<PathBuf>, cause: &dyn fmt::Display) -> String {
    let what = match file {
        Some(file) => format!("the CA file {file:?} of the apiserver"),
        None => "certificate-authority-data in the kubeconfig".to_owned(),
    };
    format!("{what} cannot be used: {cause}: make sure that it contains the PEM certificates of the cluster's CA")
}

/// Returns the CA file of the current context in the kubeconfig, or `None` if the kubeconfig specifies no CA file or
/// contains the CA certificates itself.
fn kubeconfig_ca_file() -> Option<PathBuf> {
    let config = Kubeconfig::read().ok()?;
    let current = config.current_context?;
    let context = config.contexts.into_iter().find(|context| context.name == current)?.context?;
    let named = config.clusters.into_iter().find(|cluster| cluster.name == context.cluster)?;
    let cluster = named.cluster.filter(|cluster| cluster.certificate_authority_data.is_none())?;
    cluster.certificate_authority.map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_ca_of_a_pod_is_reported_with_its_path() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let text = explain_pod(&InClusterError::ReadCertificateBundle(missing));
        assert!(text.contains(POD_CA_FILE) && text.contains("not found"), "{text}");
    }
}
