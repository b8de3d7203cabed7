//! Tests that the templates, `values.yaml` and `values.schema.json` contain the same values.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::{CHART, Context as _, Helm, Result, repository};

#[test]
fn every_value_is_used_and_every_used_value_listed() -> Result<()> {
    let values = values()?;
    let used = used_paths()?;
    assert!(used.len() > 20, "the scan finds too few values: {used:?}");
    for path in &used {
        assert!(at(&values, path).is_some(), "a template uses .Values.{path}, which values.yaml does not list");
    }
    for leaf in leaves(&values) {
        let whole_or_part = |path: &String| leaf == *path || leaf.starts_with(&format!("{path}."));
        assert!(used.iter().any(whole_or_part), "values.yaml lists {leaf}, which no template uses");
    }
    Ok(())
}

#[test]
fn schema_contains_exactly_the_values() -> Result<()> {
    let schema = fs::read_to_string(repository().join(CHART).join("values.schema.json"))?;
    let schema: Value = serde_json::from_str(&schema)?;
    compare("", &schema, &values()?);
    Ok(())
}

/// Compares the schema with the values, down to the Kubernetes types, whose properties the schema does not list.
fn compare(path: &str, schema: &Value, values: &Value) {
    let Some(properties) = schema["properties"].as_object() else { return };
    assert_eq!(schema["additionalProperties"], false, "the schema accepts unknown values at {path:?}");
    let known: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
    let listed: BTreeSet<&str> = values.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    // `global` belongs to parent charts. `claims` is part of a Kubernetes type and has no default.
    let unlisted: BTreeSet<&str> = [("", "global"), (".resources", "claims")]
        .into_iter()
        .filter_map(|(parent, key)| (parent == path).then_some(key))
        .collect();
    assert_eq!(&known - &unlisted, listed, "at {path:?}");
    for key in listed {
        compare(&format!("{path}.{key}"), &properties[key], &values[key]);
    }
}

/// Invalid values, and the field that the refusal names.
const REFUSED: [(&[&str], &str); 40] = [
    (&["--set", "rbac.secrets=all"], "secrets"),
    (&["--set", "rbac.secrets=namespaced"], "secrets"),
    (&["--set", "rbac.secrets=cluster", "--set", "watchNamespaces={a}"], "secrets"),
    (&["--set", "rbac.serviceAccountTokens=true"], "serviceAccountTokens"),
    (&["--set", "rbac.serviceAccountTokens=namespaced"], "serviceAccountTokens"),
    (&["--set", "rbac.serviceAccountTokens=cluster", "--set", "watchNamespaces={a}"], "serviceAccountTokens"),
    (&["--set", "alibabaCloud.credentialsFile.secret=file"], "existingSecret"),
    (
        &[
            "--values",
            "charts/live-message-operator/ci/rrsa-values.yaml",
            "--set",
            "alibabaCloud.credentialsFile.secret=a",
        ],
        "secret",
    ),
    (&["--set-json", "alibabaCloud.namespaces=[]"], "namespaces"),
    (&["--set", "liveAccounts.endpoints={https://a.example}"], "endpoints"),
    (&["--set", "replicaCount=0"], "replicaCount"),
    (&["--set", "replicaCount=6"], "replicaCount"),
    (&["--set", "leaderElection.leaseDuration=often"], "leaseDuration"),
    (&["--set", "updateStrategy.type=OnDelete"], "type"),
    (&["--set", "podDisruptionBudget.maxUnavailable=0"], "maxUnavailable"),
    (&["--set", "podDisruptionBudget.minAvailable=1"], "minAvailable"),
    (&["--set-json", "topologySpreadConstraints=[{}]"], "topologyKey"),
    (&["--set", "alibabaCloud.exsitingSecret=x"], "exsitingSecret"),
    (&["--set", "image.digest=sha256:abc"], "digest"),
    (&["--set", "image.repository="], "repository"),
    (&["--set", "image.pullPolicy=Sometimes"], "pullPolicy"),
    (&["--set", "requestsPerSecond=51"], "requestsPerSecond"),
    (&["--set", "requestsPerSecond=0"], "requestsPerSecond"),
    (&["--set", "requestsPerSecond=fast"], "requestsPerSecond"),
    (&["--set", "watchNamespaces={Team_A}"], "watchNamespaces"),
    (&["--set", "watchNamespaces={a,a}"], "watchNamespaces"),
    (&["--set", "alibabaCloud.endpoint=http://emulator:8080"], "allowHttp"),
    (&["--set", "alibabaCloud.endpoint=live.aliyuncs.com"], "endpoint"),
    (&["--set", "alibabaCloud.accountId=1234567890123456"], "accountId"),
    (&["--set-string", "crds.enabled=yes"], "enabled"),
    (&["--set", "alibabaCloud.rrsa.roleName=live"], "existingSecret"),
    (&["--set", "alibabaCloud.existingSecret=,alibabaCloud.rrsa.roleName=acs:ram::1:role/live"], "roleName"),
    (&["--set", "alibabaCloud.existingSecret=,alibabaCloud.rrsa.roleArn=acs:ram::1:role/live"], "oidcProviderArn"),
    (
        &["--set", "alibabaCloud.existingSecret=,alibabaCloud.rrsa.oidcProviderArn=acs:ram::1:oidc-provider/a"],
        "roleArn",
    ),
    (
        &["--values", "charts/live-message-operator/ci/rrsa-values.yaml", "--set", "alibabaCloud.rrsa.roleName=live"],
        "roleName",
    ),
    (&["--set", "alibabaCloud.rrsa.tokenExpirationSeconds=599"], "tokenExpirationSeconds"),
    (&["--set", "driftCheckInterval=often"], "driftCheckInterval"),
    (&["--set-string", "alibabaCloud.requestTimeout=10"], "requestTimeout"),
    (&["--set", "extraArgs={form-above=1}"], "extraArgs"),
    (&["--set", "metrics.serviceMonitor.interval=often"], "interval"),
];

#[test]
fn schema_refuses_invalid_values_and_names_the_field() -> Result<()> {
    let helm = Helm::new()?;
    for (flags, named) in REFUSED {
        let Err(error) = helm.template("chart", "default", flags) else {
            panic!("{flags:?} was not refused");
        };
        let error = error.to_string();
        // The first line repeats the command, and with it the field.
        let reason = error.split_once('\n').map_or("", |(_, reason)| reason);
        assert!(reason.contains(named) && reason.contains("the schema(s)"), "{flags:?}: {error}");
    }
    Ok(())
}

fn values() -> Result<Value> {
    let path = repository().join(CHART).join("values.yaml");
    serde_yaml::from_str(&fs::read_to_string(path)?).context("values.yaml")
}

/// The paths that follow `.Values.` in the templates.
fn used_paths() -> Result<BTreeSet<String>> {
    let mut used = BTreeSet::new();
    for entry in fs::read_dir(repository().join(CHART).join("templates"))? {
        let template = fs::read_to_string(entry?.path())?;
        for after in template.split(".Values.").skip(1) {
            let path = after.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').next().unwrap_or_default();
            used.insert(path.trim_end_matches('.').to_owned());
        }
    }
    Ok(used)
}

fn at<'a>(values: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(values, |value, key| value.get(key))
}

/// The paths of all values that are not maps.
fn leaves(values: &Value) -> Vec<String> {
    let mut leaves = Vec::new();
    for (key, value) in values.as_object().into_iter().flatten() {
        // A key with a dot is a label or an annotation, not a value.
        match value.as_object() {
            Some(map) if !map.is_empty() && !map.keys().any(|key| key.contains('.')) => {
                leaves.extend(self::leaves(value).into_iter().map(|leaf| format!("{key}.{leaf}")));
            }
            _ => leaves.push(key.clone()),
        }
    }
    leaves
}
