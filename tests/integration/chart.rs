//! Tests the objects that the Helm chart renders and the permissions that it grants. Many tests use a real apiserver.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::chart_metrics::prometheus_crds;
use crate::support::{CHART, Context as _, Helm, Result, documents, may, repository, shared_control_plane, wait_for};

/// The name and path of each values file in `ci/` of the chart.
pub fn matrix() -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(repository().join(CHART).join("ci"))? {
        let path = entry?.path();
        let name = path.file_stem().context("a file without a name")?.to_string_lossy().into_owned();
        files.push((name, path.to_string_lossy().into_owned()));
    }
    files.sort();
    assert!(files.len() >= 8, "values files are missing: {files:?}");
    Ok(files)
}

pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

pub fn render(release: &str, namespace: &str, flags: &[&str]) -> Result<Vec<Value>> {
    documents(&Helm::new()?.template(release, namespace, flags)?)
}

#[test]
fn lint_passes_with_every_values_file() -> Result<()> {
    let helm = Helm::new()?;
    for (_, values) in matrix()? {
        helm.run(&["lint", "--strict", CHART, "--values", &values])?;
    }
    Ok(())
}

#[test]
fn apiserver_accepts_every_rendering() -> Result<()> {
    let control_plane = shared_control_plane()?;
    // A dry run of a RoleBinding fails if its namespace does not exist.
    for namespace in ["team-a", "team-b", "monitoring"] {
        control_plane.kubectl(&["create", "namespace", namespace])?;
    }
    for crd in prometheus_crds() {
        control_plane.kubectl_with_input(&["apply", "-f", "-"], &crd.to_string())?;
        let name = format!("crd/{}", crd["metadata"]["name"].as_str().unwrap_or_default());
        control_plane.kubectl(&["wait", "--for=condition=Established", "--timeout=90s", &name])?;
    }
    let helm = Helm::new()?;
    for (name, values) in matrix()? {
        let namespace = control_plane.namespace()?;
        // If a template does not quote the release name, `123` is parsed as a number, and the apiserver rejects it.
        for release in ["chart", "123"] {
            let rendered = helm.template(release, &namespace, &["--values", &values])?;
            let accepted = control_plane.kubectl_with_input(&["apply", "--dry-run=server", "-f", "-"], &rendered);
            let accepted = accepted.context(format_args!("{name} as release {release}"))?;
            assert!(accepted.contains("deployment.apps/"), "{name}: {accepted}");
        }
    }
    Ok(())
}

/// Asserts that a selector is not empty and matches these labels.
pub fn assert_selects(selector: &Value, labels: &Value) {
    let required = selector.as_object().into_iter().flatten();
    assert!(required.clone().count() > 0, "the selector is empty");
    for (name, value) in required {
        assert_eq!(labels.get(name), Some(value), "{name}");
    }
}

#[test]
fn pod_meets_the_restricted_pod_security_standard() -> Result<()> {
    let control_plane = shared_control_plane()?;
    let namespace = control_plane.namespace()?;
    control_plane.kubectl(&["label", "namespace", &namespace, "pod-security.kubernetes.io/enforce=restricted"])?;
    let create = ["create", "--dry-run=server", "--namespace", &namespace, "-f", "-"];
    for (name, values) in matrix()? {
        let objects = render("chart", &namespace, &["--values", &values])?;
        for account in of_kind(&objects, "ServiceAccount") {
            control_plane.kubectl_with_input(&["apply", "-n", &namespace, "-f", "-"], &account.to_string())?;
        }
        let deployments = of_kind(&objects, "Deployment");
        assert!(!deployments.is_empty(), "{name}");
        for deployment in deployments {
            let mut pod = json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": { "name": "pod" },
                "spec": deployment["spec"]["template"]["spec"],
            });
            control_plane.kubectl_with_input(&create, &pod.to_string()).context(&name)?;

            pod["spec"]["containers"][0]["securityContext"] = json!({});
            let refusal = control_plane.kubectl_program().refused(&create, &pod.to_string())?;
            assert!(refusal.contains("restricted"), "{refusal}");
        }
    }
    Ok(())
}

#[test]
fn listed_namespaces_grant_no_cluster_wide_permissions() -> Result<()> {
    let control_plane = shared_control_plane()?;
    let (home, watched, other) = (control_plane.namespace()?, control_plane.namespace()?, control_plane.namespace()?);
    let objects = render("chart", &home, &["--set", &format!("watchNamespaces={{{watched}}}")])?;
    assert!(of_kind(&objects, "ClusterRoleBinding").is_empty());
    for role in of_kind(&objects, "ClusterRole") {
        // The chart does not bind this ClusterRole. It is aggregated into the cluster's roles `view`, `edit` and
        // `admin`.
        assert_eq!(role["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"], "true", "{role}");
    }

    control_plane.apply_crds()?;
    let operator = control_plane.operator_kubeconfig(&home, &[&watched])?;
    let operator = control_plane.kubectl_program().with_kubeconfig(operator);
    let list = |namespace: &str| may(&operator, "list", "live.alibabacloud.com/livemessagegroups", namespace);
    assert!(list(&watched)?);
    assert!(!list(&other)?);
    assert!(!list(&home)?, "the operator's namespace is watched only if it is listed");
    assert!(!list("")?);

    // With rbac.groupsClusterWide, the operator may read and patch LiveMessageGroups and read namespaces in the whole
    // cluster. It has no other cluster-wide permissions.
    let groups = ["--set", "rbac.groupsClusterWide=true"];
    let operator = control_plane.operator_kubeconfig_with(&home, &[&watched], &groups)?;
    let operator = control_plane.kubectl_program().with_kubeconfig(operator);
    wait_for("the ClusterRole to have an effect", Duration::from_secs(90), || {
        Ok(may(&operator, "patch", "live.alibabacloud.com/livemessagegroups", "")?.then_some(()))
    })?;
    for forbidden in ["list live.alibabacloud.com/liveaccounts", "create events.k8s.io/events", "get /secrets"] {
        let (verb, resource) = forbidden.split_once(' ').context(forbidden)?;
        assert!(!may(&operator, verb, resource, &other)?, "{forbidden}");
    }
    Ok(())
}

#[test]
fn operator_has_only_the_permissions_that_it_needs() -> Result<()> {
    let control_plane = shared_control_plane()?;
    control_plane.apply_crds()?;
    let namespace = control_plane.namespace()?;
    let operator = control_plane.operator_kubeconfig(&namespace, &[])?;
    let operator = control_plane.kubectl_program().with_kubeconfig(operator);
    for allowed in [
        "get live.alibabacloud.com/livemessagegroups",
        "list live.alibabacloud.com/livemessagegroups",
        "watch live.alibabacloud.com/livemessagegroups",
        "patch live.alibabacloud.com/livemessagegroups",
        "patch live.alibabacloud.com/livemessagegroups/status",
        "get live.alibabacloud.com/liveaccounts",
        "list live.alibabacloud.com/liveaccounts",
        "watch live.alibabacloud.com/liveaccounts",
        "patch live.alibabacloud.com/liveaccounts/status",
        "get /namespaces",
        "create events.k8s.io/events",
    ] {
        let (verb, resource) = allowed.split_once(' ').context(allowed)?;
        assert!(may(&operator, verb, resource, "")?, "{allowed}");
    }
    for forbidden in [
        "create live.alibabacloud.com/livemessagegroups",
        "update live.alibabacloud.com/livemessagegroups",
        "delete live.alibabacloud.com/livemessagegroups",
        "get apiextensions.k8s.io/customresourcedefinitions",
        "create live.alibabacloud.com/liveaccounts",
        "patch live.alibabacloud.com/liveaccounts",
        "get /secrets",
        "list /secrets",
        "create /serviceaccounts/token",
        "list /namespaces",
        "create /events",
        "patch events.k8s.io/events",
    ] {
        let (verb, resource) = forbidden.split_once(' ').context(forbidden)?;
        assert!(!may(&operator, verb, resource, "")?, "{forbidden}");
    }
    Ok(())
}

#[test]
fn secrets_and_tokens_are_granted_only_where_configured() -> Result<()> {
    let control_plane = shared_control_plane()?;
    control_plane.apply_crds()?;
    let (home, watched, other) = (control_plane.namespace()?, control_plane.namespace()?, control_plane.namespace()?);
    for (watch, mode, elsewhere) in [(vec![watched.as_str()], "namespaced", false), (vec![], "cluster", true)] {
        let values = format!("rbac.secrets={mode},rbac.serviceAccountTokens={mode}");
        let flags = ["--set", &values];
        let operator = control_plane.operator_kubeconfig_with(&home, &watch, &flags)?;
        let operator = control_plane.kubectl_program().with_kubeconfig(operator);
        for (verb, resource) in [("get", "/secrets"), ("create", "/serviceaccounts/token")] {
            assert!(may(&operator, verb, resource, &watched)?, "{verb} {resource}");
            assert_eq!(may(&operator, verb, resource, &other)?, elsewhere, "{verb} {resource}");
        }
        for verb in ["list", "watch", "update", "patch", "create", "delete"] {
            assert!(!may(&operator, verb, "/secrets", &watched)?, "{verb} secrets");
        }
    }
    Ok(())
}

#[test]
fn chart_contains_the_crds_and_renders_them_unchanged() -> Result<()> {
    let files = |folder: PathBuf| -> Result<Vec<(String, String)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).context(folder.display())? {
            let entry = entry?;
            files.push((entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path())?));
        }
        files.sort();
        Ok(files)
    };
    let (source, copy) = (files(repository().join("crds"))?, files(repository().join(CHART).join("files/crds"))?);
    assert!(!source.is_empty() && source == copy, "the chart's copy of crds/ is outdated: run `make crds`");

    let rendered = render("chart", "default", &[])?;
    let mut rendered: Vec<Value> = of_kind(&rendered, "CustomResourceDefinition").into_iter().cloned().collect();
    assert_eq!(rendered.len(), source.len());
    for crd in &mut rendered {
        let metadata = &mut crd["metadata"];
        assert_eq!(metadata["annotations"]["helm.sh/resource-policy"], "keep");
        *metadata = json!({ "name": metadata["name"] });
        as_floats(crd);
        let mut same = false;
        for (_, yaml) in &source {
            let mut source = documents(yaml)?;
            source.iter_mut().for_each(as_floats);
            same |= source.first() == Some(crd);
        }
        assert!(same, "the template changes {}", crd["metadata"]["name"]);
    }

    let not_kept = render("chart", "default", &["--set", "crds.keep=false"])?;
    assert!(of_kind(&not_kept, "CustomResourceDefinition")[0]["metadata"].get("annotations").is_none());
    let annotated = render("chart", "default", &["--set", "crds.annotations.reviewed=yes"])?;
    let annotations = &of_kind(&annotated, "CustomResourceDefinition")[0]["metadata"]["annotations"];
    assert_eq!(annotations, &json!({"helm.sh/resource-policy": "keep", "reviewed": "yes"}));
    let without = render("chart", "default", &["--set", "crds.enabled=false"])?;
    assert!(of_kind(&without, "CustomResourceDefinition").is_empty());
    Ok(())
}

/// Converts all numbers to floats, because a template renders 0.0 as 0.
fn as_floats(value: &mut Value) {
    match value {
        Value::Number(number) => *value = json!(number.as_f64()),
        Value::Array(items) => items.iter_mut().for_each(as_floats),
        Value::Object(fields) => fields.values_mut().for_each(as_floats),
        _ => {}
    }
}

#[test]
fn chart_app_version_and_image_match_the_crate() -> Result<()> {
    let chart = fs::read_to_string(repository().join(CHART).join("Chart.yaml"))?;
    let chart: Value = serde_yaml::from_str(&chart)?;
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let rendered = render("chart", "default", &[])?;
    let image = &of_kind(&rendered, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["image"];
    assert!(image.as_str().is_some_and(|image| image.ends_with(concat!(":", env!("CARGO_PKG_VERSION")))), "{image}");
    Ok(())
}
