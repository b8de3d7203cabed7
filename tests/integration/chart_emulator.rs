//! The emulator in the chart: a trial of the operator without an account.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::chart::{assert_selects, of_kind, render};
use crate::support::{Context as _, Helm, Result, documents, repository};

const ENABLED: [&str; 2] = ["--set", "emulator.enabled=true"];

/// The two Deployments: the operator and the emulator.
fn deployments(objects: &[Value]) -> Result<[&Value; 2]> {
    let found = ["operator", "emulator"].map(|container| {
        let is_it = |deployment: &&Value| deployment["spec"]["template"]["spec"]["containers"][0]["name"] == container;
        of_kind(objects, "Deployment").into_iter().find(is_it)
    });
    let [operator, emulator] = found;
    Ok([operator.context("the operator")?, emulator.context("the emulator")?])
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

fn args(deployment: &Value) -> Vec<&str> {
    container(deployment)["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn emulator_is_deployed_only_if_enabled() -> Result<()> {
    let objects = render("chart", "default", &[])?;
    assert_eq!(of_kind(&objects, "Deployment").len(), 1);
    assert!(of_kind(&objects, "Secret").is_empty() && of_kind(&objects, "Service").is_empty());
    Ok(())
}

#[test]
fn operator_uses_the_emulator_and_its_access_key() -> Result<()> {
    let objects = render("chart", "trial", &ENABLED)?;
    let [operator, emulator] = deployments(&objects)?;
    let services = of_kind(&objects, "Service");
    let [service] = services[..] else { panic!("one Service, not {services:?}") };
    let (name, port) = (&service["metadata"]["name"], &service["spec"]["ports"][0]);
    let endpoint = format!("--endpoint=http://{}.trial.svc:{}", name.as_str().context("a name")?, port["port"]);
    assert!(args(operator).contains(&endpoint.as_str()) && args(operator).contains(&"--allow-http"), "{endpoint}");

    assert_selects(&service["spec"]["selector"], &emulator["spec"]["template"]["metadata"]["labels"]);
    assert_eq!(port["targetPort"], container(emulator)["ports"][0]["name"]);
    let listen = format!("--listen=0.0.0.0:{}", container(emulator)["ports"][0]["containerPort"]);
    assert!(args(emulator).contains(&listen.as_str()), "{listen}");

    let secret = of_kind(&objects, "Secret")[0];
    for deployment in [operator, emulator] {
        let references = container(deployment)["env"].as_array().into_iter().flatten();
        let references = references.map(|variable| &variable["valueFrom"]["secretKeyRef"]);
        let mut keys = BTreeSet::new();
        for reference in references.filter(|reference| !reference.is_null() && reference["optional"] != true) {
            assert_eq!(reference["name"], secret["metadata"]["name"]);
            keys.insert(reference["key"].as_str().context("a key")?);
        }
        let stored: BTreeSet<&str> = secret["stringData"].as_object().context("keys")?.keys().map(|k| &**k).collect();
        assert_eq!(keys, stored);
    }
    Ok(())
}

#[test]
fn no_selector_of_the_operator_matches_the_emulator() -> Result<()> {
    let objects =
        render("chart", "trial", &[&ENABLED[..], &["--set", "metrics.serviceMonitor.enabled=true"]].concat())?;
    let [operator, emulator] = deployments(&objects)?;
    let labels = |deployment: &Value| deployment["spec"]["template"]["metadata"]["labels"].clone();
    let matches = |selector: &Value, labels: &Value| {
        selector.as_object().is_some_and(|required| required.iter().all(|(key, value)| labels.get(key) == Some(value)))
    };
    let mut found = 0;
    for object in &objects {
        let selector = &object["spec"]["selector"];
        let selector = selector.get("matchLabels").unwrap_or(selector);
        if selector.is_object() && object["kind"] != "ServiceMonitor" {
            assert!(
                matches(selector, &labels(operator)) != matches(selector, &labels(emulator)),
                "{}",
                object["metadata"]
            );
            found += 1;
        }
    }
    assert_eq!(found, 5, "two Deployments, two Services and a PodDisruptionBudget");
    Ok(())
}

#[test]
fn two_renderings_of_the_emulator_are_equal() -> Result<()> {
    let helm = Helm::new()?;
    assert_eq!(helm.template("chart", "trial", &ENABLED)?, helm.template("chart", "trial", &ENABLED)?);
    Ok(())
}

#[test]
fn emulator_pod_has_no_access_to_the_cluster() -> Result<()> {
    let objects = render("chart", "trial", &ENABLED)?;
    let [operator, emulator] = deployments(&objects)?;
    let pod = &emulator["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert!(pod.get("serviceAccountName").is_none());
    assert_eq!(container(emulator)["image"], container(operator)["image"]);
    assert!(args(emulator).contains(&"--admin-listen=127.0.0.1:8788"), "the admin interface has no authentication");
    Ok(())
}

#[test]
fn emulator_serves_the_apps_groups_and_keys_of_the_examples() -> Result<()> {
    let objects = render("chart", "trial", &ENABLED)?;
    let [_, emulator] = deployments(&objects)?;
    let args = args(emulator);
    let mut secrets = 0;
    for entry in fs::read_dir(repository().join("examples"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        for object in documents(&fs::read_to_string(&path)?)? {
            if object["kind"] == "LiveMessageGroup" {
                let app = format!("--app={}", object["spec"]["appId"].as_str().context("appId")?);
                assert!(args.contains(&app.as_str()), "{}: {app}", path.display());
            }
            if object["kind"] == "Secret" {
                let key = |name: &str| object["stringData"][name].as_str().context("a key");
                let key = format!("--access-key={}:{}@", key("accessKeyId")?, key("accessKeySecret")?);
                assert!(args.iter().any(|arg| arg.starts_with(&key)), "{}: {key}", path.display());
                secrets += 1;
            }
        }
    }
    assert_eq!(secrets, 1);
    for group in ["--group=demo/lobby", "--group=demo/oldroom:deleted"] {
        assert!(args.contains(&group), "{group}");
    }
    Ok(())
}

#[test]
fn trial_needs_no_secret_of_the_user() -> Result<()> {
    let rendered = Helm::new()?.template("chart", "trial", &ENABLED)?;
    assert!(!rendered.contains("alibaba-cloud-credentials"));
    Ok(())
}
