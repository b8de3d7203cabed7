//! Applies the examples with `kubectl apply -k`.

use super::example;
use crate::support::{Helm, Result, repository, shared_control_plane};

/// The first lines of the rendered chart.
const HEAD: &str = "# The rendered chart, without the CRDs. A test compares this file with the chart:\n\
                    # UPDATE_GOLDEN=1 make integration FILTER=rendered_chart\n";

#[test]
fn rendered_chart_of_the_kustomize_example_is_current() -> Result<()> {
    let flags = [
        "crds.enabled=false",
        "image.repository=registry.example.com/live-message-operator",
        "alibabaCloud.existingSecret=",
        "alibabaCloud.credentialsFile.secret=alibaba-cloud-credentials",
    ];
    let flags: Vec<&str> = flags.iter().flat_map(|flag| ["--set", flag]).collect();
    let rendered = Helm::new()?.template("live-message-operator", "live-message-operator", &flags)?;
    let expected = format!("{HEAD}{rendered}");
    let file = example("kustomize/operator.yaml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &expected)?;
    }
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(stored == expected, "{} is stale: UPDATE_GOLDEN=1 make integration FILTER=rendered_chart", file.display());
    Ok(())
}

#[test]
fn kubectl_apply_k_installs_the_operator() -> Result<()> {
    let control_plane = shared_control_plane()?;
    control_plane.apply_crds()?;
    let dir = example("kustomize").display().to_string();
    control_plane.kubectl(&["apply", "--server-side", "-k", &dir])?;
    control_plane.kubectl(&["diff", "-k", &dir])?;
    let namespace = "--namespace=live-message-operator";
    let image = "--output=jsonpath={.spec.template.spec.containers[*].image}";
    let image = control_plane.kubectl(&["get", "deployment", "live-message-operator", namespace, image])?;
    assert_eq!(image, "registry.example.com/live-message-operator:0.1.0");
    // The comment in the file must contain this command, and the directory in the command must exist.
    let text = std::fs::read_to_string(example("kustomize/kustomization.yaml"))?;
    assert!(text.contains("kubectl apply --server-side -k examples/gitops/kustomize"), "{text}");
    assert!(repository().join("examples/gitops/kustomize").is_dir());
    control_plane.kubectl(&["delete", "--wait=false", "-k", &dir]).map(drop)
}
