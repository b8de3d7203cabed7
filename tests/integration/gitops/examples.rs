//! Tests of the manifests and the health check scripts in `examples/gitops/`.

use live_message_operator::resources::{API_GROUP, crds};
use serde_json::{Value, json};

use super::{example, manifests};
use crate::support::{Result, Scratch, argo_cd, repository, shared_control_plane};

const WAITING: &str = "Waiting for the operator";

/// The kinds of all CRDs. Each kind has the conditions of the status contract.
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
    let mut expected = json!({"resource.customizations.health.argoproj.io_Application":
        std::fs::read_to_string(example("argocd/application-health.lua"))?});
    for kind in kinds() {
        expected[format!("resource.customizations.health.{API_GROUP}_{kind}")] = json!(health);
    }
    let values = manifests("argocd/values.yaml")?;
    assert_eq!(values[0]["configs"]["cm"], expected, "values.yaml differs from the scripts");
    for (key, script) in expected.as_object().into_iter().flatten() {
        assert_eq!(&stored["data"][key], script, "{key} of argocd-cm.yaml differs from its script");
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
        // The object was edited while it was paused, or has been paused since its creation.
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
fn application_health_is_that_of_the_application() -> Result<()> {
    let script = example("argocd/application-health.lua");
    let application = |status: Value| json!({"metadata": {"name": "a"}, "status": status});
    let objects = [
        application(Value::Null),
        application(json!({"health": {"status": "Degraded", "message": "one group"}})),
        application(json!({"health": {"status": "Healthy"}})),
    ];
    let results = argo_cd(&script, &objects)?;
    let results: Vec<_> = results.iter().map(|health| (health.status.as_str(), health.message.as_str())).collect();
    assert_eq!(results, [("Progressing", ""), ("Degraded", "one group"), ("Healthy", "")]);
    Ok(())
}

#[test]
fn yaml_of_the_gitops_page_is_that_of_an_example() -> Result<()> {
    let page = std::fs::read_to_string(repository().join("docs/gitops.md"))?;
    let snippets: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!snippets.is_empty(), "the page has no YAML");
    let files = ["groups/groups.yaml", "flux/kustomizations.yaml"];
    let files = files.iter().map(|path| std::fs::read_to_string(example(path))).collect::<Result<Vec<_>, _>>()?;
    for snippet in snippets {
        assert!(files.iter().any(|file| file.contains(snippet)), "no example contains\n{snippet}");
    }
    Ok(())
}
