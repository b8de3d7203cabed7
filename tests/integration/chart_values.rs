//! Tests that the templates, `values.yaml` and `values.schema.json` contain the same values.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::chart::of_kind;
use crate::support::{CHART, Context as _, Helm, Result, Scratch, documents, repository};

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

/// Asserts that the schema and the values contain the same keys at every level. Does not compare the content of
/// Kubernetes types, because the schema does not list their properties.
fn compare(path: &str, schema: &Value, values: &Value) {
    let Some(properties) = schema["properties"].as_object() else { return };
    assert_eq!(schema["additionalProperties"], false, "the schema accepts unknown values at {path:?}");
    let known: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
    let listed: BTreeSet<&str> = values.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    // `global` belongs to parent charts.
    let unlisted: BTreeSet<&str> = path.is_empty().then_some("global").into_iter().collect();
    assert_eq!(&known - &unlisted, listed, "at {path:?}");
    for key in listed {
        compare(&format!("{path}.{key}"), &properties[key], &values[key]);
    }
}

/// Invalid values, and the field that the error message must contain.
const REFUSED: [(&[&str], &str); 37] = [
    (&["--set", "rbac.secrets=all"], "secrets"),
    (&["--set", "rbac.serviceAccountTokens=true"], "serviceAccountTokens"),
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
    (&["--set", "image.pullPolicy=Sometimes"], "pullPolicy"),
    (&["--set", "requestsPerSecond=51"], "requestsPerSecond"),
    (&["--set", "requestsPerSecond=0"], "requestsPerSecond"),
    (&["--set", "requestsPerSecond=fast"], "requestsPerSecond"),
    (&["--set", "watchNamespaces={Team_A}"], "watchNamespaces"),
    (&["--set", "watchNamespaces={a,a}"], "watchNamespaces"),
    (&["--set", "alibabaCloud.endpoint=live.aliyuncs.com"], "endpoint"),
    (&["--set", "alibabaCloud.accountId=1234567890123456"], "accountId"),
    (&["--set-string", "crds.enabled=yes"], "enabled"),
    (&["--set", "alibabaCloud.existingSecret=,alibabaCloud.rrsa.roleName=acs:ram::1:role/live"], "roleName"),
    (&["--set", "alibabaCloud.rrsa.tokenExpirationSeconds=599"], "tokenExpirationSeconds"),
    (&["--set", "driftCheckInterval=often"], "driftCheckInterval"),
    (&["--set-string", "alibabaCloud.requestTimeout=10"], "requestTimeout"),
    (&["--set", "extraArgs={form-above=1}"], "extraArgs"),
    (&["--set", "metrics.serviceMonitor.interval=often"], "interval"),
    (&["--set", "fullnameOverride=prod.eu"], "fullnameOverride"),
    (&["--set", "fullnameOverride=1st"], "fullnameOverride"),
    (&["--set", "nameOverride=Live"], "nameOverride"),
    (&["--set", "namespaceOverride=prod.eu"], "namespaceOverride"),
    (&["--set", "image.registry=https://registry.example.com"], "registry"),
    (&["--set", "emulator.groups={lobby}"], "groups"),
    (&["--set", "emulator.accessKeys={testid}"], "accessKeys"),
    (&["--set", "commonLabels.tier=1"], "commonLabels"),
    (&["--set", "extraObjects={1}"], "extraObjects"),
];

#[test]
fn schema_refuses_invalid_values_and_names_the_field() -> Result<()> {
    let helm = Helm::new()?;
    for (flags, named) in REFUSED {
        let Err(error) = helm.template("chart", "default", flags) else {
            panic!("{flags:?} was not refused");
        };
        let error = error.to_string();
        // The first line repeats the command, which also contains the field.
        let reason = error.split_once('\n').map_or("", |(_, reason)| reason);
        assert!(reason.contains(named) && reason.contains("the schema(s)"), "{flags:?}: {error}");
    }
    Ok(())
}

/// Mutually exclusive values, and the texts that the error must contain.
const CONFLICTS: [(&str, &[&str]); 19] = [
    ("image.repository=", &["image.repository is empty", "docs/configuration.md"]),
    ("rbac.secrets=namespaced", &["rbac.secrets: namespaced requires watchNamespaces"]),
    ("rbac.secrets=cluster,watchNamespaces={a}", &["rbac.secrets: cluster requires an empty watchNamespaces"]),
    ("rbac.serviceAccountTokens=namespaced", &["rbac.serviceAccountTokens: namespaced requires watchNamespaces"]),
    ("rbac.serviceAccountTokens=cluster,watchNamespaces={a}", &["rbac.serviceAccountTokens: cluster requires"]),
    ("alibabaCloud.endpoint=http://emulator:8080", &["http://", "alibabaCloud.allowHttp: true"]),
    ("alibabaCloud.credentialsFile.secret=a", &["alibabaCloud.existingSecret and alibabaCloud.credentialsFile"]),
    ("alibabaCloud.rrsa.roleName=a", &["alibabaCloud.existingSecret and alibabaCloud.rrsa.roleName", "set it to \"\""]),
    (
        "alibabaCloud.rrsa.roleArn=acs:ram::1:role/a,alibabaCloud.rrsa.oidcProviderArn=acs:ram::1:oidc-provider/a",
        &["alibabaCloud.existingSecret and alibabaCloud.rrsa.roleArn"],
    ),
    (
        "alibabaCloud.existingSecret=,alibabaCloud.credentialsFile.secret=a,alibabaCloud.rrsa.roleName=a",
        &["alibabaCloud.credentialsFile.secret and alibabaCloud.rrsa.roleName are mutually exclusive"],
    ),
    ("alibabaCloud.existingSecret=,alibabaCloud.rrsa.roleArn=acs:ram::1:role/a", &["oidcProviderArn", "Set both"]),
    ("alibabaCloud.existingSecret=,alibabaCloud.rrsa.oidcProviderArn=acs:ram::1:oidc-provider/a", &["Set both"]),
    ("extraEnv[0].name=A,extraEnv[1].name=A", &["extraEnv contains A twice"]),
    ("extraArgs={--drift-check-interval=5m}", &["extraArgs contains --drift-check-interval"]),
    ("extraArgs={--leader-elect}", &["extraArgs contains --leader-elect"]),
    ("emulator.enabled=true,emulator.extraArgs={--app=other}", &["emulator.extraArgs contains --app"]),
    ("emulator.enabled=true,alibabaCloud.endpoint=https://a.example", &["emulator.enabled", "alibabaCloud.endpoint"]),
    (
        "emulator.enabled=true,alibabaCloud.credentialsFile.secret=a",
        &["emulator.enabled", "alibabaCloud.credentialsFile.secret"],
    ),
    ("emulator.enabled=true,alibabaCloud.rrsa.roleName=a", &["emulator.enabled", "alibabaCloud.rrsa.roleName"]),
];

#[test]
fn conflicting_values_are_refused_with_a_remedy() -> Result<()> {
    for helm in Helm::versions()? {
        for (values, says) in CONFLICTS {
            let Err(error) = helm.template("chart", "default", &["--set", values]) else {
                panic!("{values} was not refused");
            };
            let error = error.to_string();
            let reason = error.split_once('\n').map_or("", |(_, reason)| reason);
            assert!(says.iter().all(|part| reason.contains(part)), "{values}: {error}");
        }
    }
    Ok(())
}

#[test]
fn all_conflicts_are_reported_together() -> Result<()> {
    let values = "image.repository=,rbac.secrets=namespaced";
    let error = Helm::new()?.template("chart", "default", &["--set", values]).expect_err("two errors").to_string();
    assert!(error.contains("- image.repository") && error.contains("- rbac.secrets"), "{error}");
    Ok(())
}

/// The maps whose content Kubernetes defines. In these maps, null removes a key.
const OF_KUBERNETES: [&str; 8] = [
    "nodeSelector",
    "resources",
    "podSecurityContext",
    "securityContext",
    "rollingUpdate",
    "startupProbe",
    "livenessProbe",
    "readinessProbe",
];

/// Replaces the values at the nesting level `depth` for which `replacement` returns a new value. Returns the number of
/// replaced values. Does not change the content of the maps in `OF_KUBERNETES`.
fn replace(values: &mut Value, depth: usize, replacement: impl Copy + Fn(&Value) -> Option<Value>) -> usize {
    let mut replaced = 0;
    for (key, value) in values.as_object_mut().into_iter().flatten() {
        if depth > 0 && value.is_object() && !OF_KUBERNETES.contains(&&**key) {
            replaced += replace(value, depth - 1, replacement);
        } else if depth == 0
            && let Some(new) = replacement(value)
        {
            *value = new;
            replaced += 1;
        }
    }
    replaced
}

#[test]
fn empty_sections_and_keys_have_their_defaults() -> Result<()> {
    let scratch = Scratch::new("empty-values")?;
    for helm in Helm::versions()? {
        let default = helm.template("chart", "default", &[])?;
        let null: fn(&Value) -> Option<Value> = |_| Some(Value::Null);
        let empty: fn(&Value) -> Option<Value> = |value| value.is_object().then(|| json!({}));
        for (depth, replacement, at_least) in
            [(0, null, 40), (1, null, 50), (2, null, 15), (0, empty, 15), (1, empty, 8)]
        {
            let mut values = values()?;
            assert!(replace(&mut values, depth, replacement) >= at_least, "depth {depth}: {values}");
            // `image.repository` is the only required value. Set it here, because this file overrides the value in
            // ci/default-values.yaml.
            if values["image"].is_object() {
                values["image"]["repository"] = json!("live-message-operator");
            } else {
                values["image"] = json!({"repository": "live-message-operator"});
            }
            let file = scratch.write("values.yaml", values.to_string())?.display().to_string();
            assert_eq!(helm.template("chart", "default", &["--values", &file])?, default, "depth {depth}: {values}");
        }
    }
    Ok(())
}

#[test]
fn null_removes_a_key_of_a_kubernetes_type() -> Result<()> {
    let values = r#"{"nodeSelector":{"kubernetes.io/os":null},"resources":{"limits":null},
        "podSecurityContext":{"runAsUser":null},"livenessProbe":{"timeoutSeconds":null}}"#;
    let scratch = Scratch::new("null-values")?;
    let file = scratch.write("values.yaml", values)?.display().to_string();
    for helm in Helm::versions()? {
        let objects = documents(&helm.template("chart", "default", &["--values", &file])?)?;
        let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"];
        assert!(pod.get("nodeSelector").is_none());
        assert_eq!(pod["containers"][0]["resources"], json!({"requests": {"cpu": "20m", "memory": "64Mi"}}));
        assert!(pod["securityContext"].get("runAsUser").is_none() && pod["securityContext"]["runAsGroup"] == 65532);
        assert!(pod["containers"][0]["livenessProbe"].get("timeoutSeconds").is_none());
    }
    Ok(())
}

/// Each template must start with the init template, which restores the defaults. Otherwise, the template could use a
/// null value.
#[test]
fn every_template_restores_the_defaults_first() -> Result<()> {
    let chart = repository().join(CHART);
    let mut found = 0;
    for entry in fs::read_dir(chart.join("templates"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension != "tpl") {
            let template = fs::read_to_string(&path)?;
            assert!(
                template.starts_with("{{- include \"live-message-operator.init\" . -}}\n"),
                "{} must start with the init template",
                path.display()
            );
            found += 1;
        }
    }
    assert!(found > 8, "the search found only {found} templates");
    Ok(())
}

#[test]
fn copy_of_the_defaults_is_current() -> Result<()> {
    let chart = repository().join(CHART);
    let [values, copy] = ["values.yaml", "files/values.yaml"].map(|file| fs::read_to_string(chart.join(file)));
    assert!(values? == copy?, "files/values.yaml is outdated: run `make chart`");
    Ok(())
}

fn values() -> Result<Value> {
    let path = repository().join(CHART).join("values.yaml");
    serde_yaml::from_str(&fs::read_to_string(path)?).context("values.yaml")
}

/// Returns the paths that follow `.Values.` in the templates.
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

/// Returns the paths of all values that are not maps.
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
