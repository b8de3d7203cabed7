//! Tests of the emulator in the chart. With it, users can try the operator without an Alibaba Cloud account.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::chart::{assert_selects, of_kind, render};
use crate::support::{Context as _, EmulatorOptions, Helm, Result, documents, repository};
use crate::world::World;

const ENABLED: [&str; 2] = ["--set", "emulator.enabled=true"];

/// Returns the Deployments of the operator and of the emulator.
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
fn trial_needs_no_secret_of_the_user() -> Result<()> {
    let rendered = Helm::new()?.template("chart", "trial", &ENABLED)?;
    assert!(!rendered.contains("alibaba-cloud-credentials"));
    Ok(())
}

/// Returns the values of an argument that the chart passes to the emulator several times.
fn values_of(args: &[&str], option: &str) -> Vec<String> {
    args.iter().filter_map(|arg| arg.strip_prefix(option)?.strip_prefix('=')).map(str::to_owned).collect()
}

/// Reads the table of examples in examples/README.md. Returns the file, READY and REASON of each example.
fn documented_states() -> Result<Vec<[String; 3]>> {
    let readme = fs::read_to_string(repository().join("examples/README.md"))?;
    let rows = readme.lines().filter(|line| line.starts_with("| [") && line.matches('|').count() == 5);
    let cell = |row: &str, index: usize| row.split('|').nth(index).unwrap_or_default().trim().to_owned();
    let file = |row: &str| cell(row, 1).trim_start_matches('[').split(']').next().unwrap_or_default().to_owned();
    Ok(rows.map(|row| [file(row), cell(row, 3), cell(row, 4)]).collect())
}

#[tokio::test]
async fn every_example_gets_its_state_in_a_trial() -> Result<()> {
    let objects = render("chart", "trial", &ENABLED)?;
    let [_, emulator] = deployments(&objects)?;
    let keys = &of_kind(&objects, "Secret")[0]["stringData"];
    let key = |name: &str| keys[name].as_str().unwrap_or_default().to_owned();
    let own = (key("accessKeyId"), key("accessKeySecret"));
    let args = args(emulator);
    let access_keys = values_of(&args, "--access-key").into_iter().map(|pair| {
        let pair = pair.replace("$(ACCESS_KEY_ID)", &own.0).replace("$(ACCESS_KEY_SECRET)", &own.1);
        pair.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned())).context("a pair")
    });
    let emulator = EmulatorOptions {
        access_keys: access_keys.collect::<Result<_>>()?,
        apps: values_of(&args, "--app"),
        groups: values_of(&args, "--group"),
        ..EmulatorOptions::default()
    };
    let mut world = World::with(emulator).await?;
    world.options.access_key = own;
    let namespace = world.namespace.clone();
    let secrets = ["--set", "rbac.secrets=namespaced"];
    world.options.kubeconfig = world.control_plane.operator_kubeconfig_with(&namespace, &[&namespace], &secrets)?;
    world.start()?;

    let folder = repository().join("examples").display().to_string();
    world.control_plane.kubectl(&["apply", "--namespace", &namespace, "-f", &folder])?;
    let mut states = documented_states()?;
    assert_eq!(states.len(), 4, "{states:?}");
    states.push(["account.yaml", "True", "Created"].map(str::to_owned));
    for [file, ready, reason] in states {
        let manifests = documents(&fs::read_to_string(repository().join("examples").join(&file))?)?;
        let group = of_kind(&manifests, "LiveMessageGroup").first().context(&file)?["metadata"]["name"].clone();
        world.ready(group.as_str().context("a name")?, &ready, &reason).await?;
    }
    let wait = ["wait", "--for=condition=Ready", "--timeout=90s", "--namespace", &namespace, "liveaccount/team"];
    world.control_plane.kubectl(&wait)?;
    Ok(())
}
