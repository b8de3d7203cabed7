//! Tests of the manifests and the health check script in `examples/gitops/`.

use std::path::PathBuf;

use live_message_operator::resources::{API_GROUP, crds};
use serde_json::{Value, json};

use crate::support::{Context as _, Result, Scratch, argo_cd, documents, repository, shared_control_plane};

const WAITING: &str = "Waiting for the operator";

fn example(path: &str) -> PathBuf {
    repository().join("examples/gitops").join(path)
}

fn manifests(path: &str) -> Result<Vec<Value>> {
    documents(&std::fs::read_to_string(example(path)).context(path)?)
}

/// The kinds of all CRDs, which all have the conditions of the status contract.
fn kinds() -> Vec<String> {
    crds().into_iter().map(|crd| crd.spec.names.kind).collect()
}

#[test]
fn argocd_cm_has_the_health_check_for_every_kind() -> Result<()> {
    let control_plane = shared_control_plane()?;
    control_plane.kubectl(&["create", "namespace", "argocd"])?;
    control_plane.kubectl(&[
        "create",
        "configmap",
        "argocd-cm",
        "--namespace=argocd",
        "--from-literal=url=https://cd",
    ])?;
    let patch = format!("--patch-file={}", example("argocd/argocd-cm.yaml").display());
    control_plane.kubectl(&["patch", "configmap", "argocd-cm", "--namespace=argocd", "--type=merge", &patch])?;

    let stored = control_plane.kubectl(&["get", "configmap", "argocd-cm", "--namespace=argocd", "--output=json"])?;
    let stored: Value = serde_json::from_str(&stored)?;
    let health = std::fs::read_to_string(example("argocd/health.lua"))?;
    for kind in kinds() {
        let key = format!("resource.customizations.health.{API_GROUP}_{kind}");
        assert_eq!(stored["data"][&key], health, "{key} of argocd-cm.yaml differs from health.lua");
    }
    assert_eq!(stored["data"]["url"], "https://cd", "other settings are kept");
    Ok(())
}

#[test]
fn health_check_depends_on_conditions_not_on_the_kind() -> Result<()> {
    let status = |conditions: Value| json!({"observedGeneration": 1, "conditions": conditions});
    let condition =
        |kind: &str, status: &str| json!({"type": kind, "status": status, "message": format!("{kind} 群 \"\n")});
    let ready = condition("Ready", "True");
    let not_ready = condition("Ready", "False");
    let cases = [
        (Value::Null, "Progressing", WAITING),
        (json!({}), "Progressing", WAITING),
        (json!({"observedGeneration": 1}), "Progressing", WAITING),
        (json!({"observedGeneration": 0, "conditions": [ready]}), "Progressing", WAITING),
        (status(json!([])), "Progressing", WAITING),
        (status(json!([ready])), "Healthy", "Ready 群 \""),
        (status(json!([not_ready])), "Progressing", "Ready 群 \""),
        // The order of the conditions is irrelevant.
        (status(json!([not_ready, condition("Stalled", "True")])), "Degraded", "Stalled 群 \""),
        (status(json!([condition("Stalled", "True"), not_ready])), "Degraded", "Stalled 群 \""),
        (status(json!([not_ready, condition("Stalled", "False")])), "Progressing", "Ready 群 \""),
        (status(json!([not_ready, condition("Reconciling", "True")])), "Progressing", "Reconciling 群 \""),
        (status(json!([ready, condition("Paused", "True")])), "Suspended", "Paused 群 \""),
        // The object was edited while paused, or is paused since its creation.
        (
            json!({"observedGeneration": 0, "conditions": [ready, condition("Paused", "True")]}),
            "Suspended",
            "Paused 群 \"",
        ),
        (json!({"conditions": [condition("Paused", "True")]}), "Suspended", "Paused 群 \""),
        (json!({"observedGeneration": 0, "conditions": [condition("Paused", "False")]}), "Progressing", WAITING),
    ];
    for kind in kinds().into_iter().chain(["AnotherKind".to_owned()]) {
        let object =
            |status: &Value| json!({"kind": kind, "metadata": {"name": "a", "generation": 1}, "status": status});
        let objects: Vec<Value> = cases.iter().map(|(status, ..)| object(status)).collect();
        for (result, (status, health, message)) in argo_cd(&example("argocd/health.lua"), &objects)?.iter().zip(&cases)
        {
            assert_eq!((result.status.as_str(), result.message.as_str()), (*health, *message), "{kind} {status}");
        }
    }
    Ok(())
}

#[test]
fn lua_sandbox_has_no_libraries() -> Result<()> {
    let dir = Scratch::new("lua")?;
    for call in ["string.format('a')", "('a'):upper()", "os.time()", "require('os')", "table.concat({})"] {
        let script = dir.write("health.lua", format!("{call} return {{status = 'Healthy'}}"))?;
        let error = argo_cd(&script, &[json!({"metadata": {}})]).expect_err(call).to_string();
        assert!(error.contains("attempt to"), "{call}: {error}");
    }
    Ok(())
}

#[test]
fn flux_and_argo_cd_manifests_name_existing_objects() -> Result<()> {
    let flux = manifests("flux/kustomizations.yaml")?;
    let groups =
        flux.iter().find(|object| object["spec"]["dependsOn"].is_array()).context("no Kustomization has dependsOn")?;
    let first = &groups["spec"]["dependsOn"][0]["name"];
    assert!(flux.iter().any(|object| &object["metadata"]["name"] == first && object["spec"]["wait"] == true));
    let checks: Vec<&Value> = groups["spec"]["healthCheckExprs"].as_array().into_iter().flatten().collect();
    for crd in crds() {
        let version = format!("{API_GROUP}/{}", crd.spec.versions[0].name);
        let kind = json!(crd.spec.names.kind);
        assert!(
            checks.iter().any(|e| e["apiVersion"] == version && e["kind"] == kind),
            "{kind} has no healthCheckExprs"
        );
    }
    let operator = manifests("flux/operator.yaml")?;
    assert_eq!(operator[1]["spec"]["chartRef"]["name"], operator[0]["metadata"]["name"]);
    let applications = manifests("argocd/application.yaml")?;
    let chart = applications[0]["spec"]["source"]["path"].as_str().context("the Application has no path")?;
    assert!(repository().join(chart).join("Chart.yaml").is_file(), "{chart}");
    Ok(())
}
