//! Validates the manifests in `examples/gitops` against the CRDs of Flux, Argo CD and External Secrets, on a real
//! apiserver.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::objects::{Objects, install_all_crds};
use super::{example, manifests};
use crate::support::{Helm, Result, Scratch, repository, shared_control_plane};

/// The ends of the JSON pointers to free-form values. No schema defines the fields of these values.
const FREE_FORM: &[&str] = &["/spec/values", "/spec/target/template/data", "valuesObject", "labels", "annotations"];

/// The kinds in which the test misspells fields.
const KINDS: [&str; 6] =
    ["Kustomization", "HelmRelease", "OCIRepository", "Application", "ExternalSecret", "LiveMessageGroup"];

/// The files that Kustomize, SOPS or Helm reads. The apiserver does not read them.
const NOT_OBJECTS: &[&str] = &["kustomization.yaml", ".sops.yaml", "values.yaml"];

/// Returns the paths of all manifests in a directory and its subdirectories.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if name.ends_with(".yaml") && !NOT_OBJECTS.contains(&name.as_str()) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Returns every object of the examples. Namespaced objects get this namespace, which must exist.
fn objects(namespace: &str) -> Result<Vec<Value>> {
    let root = example("");
    let mut all = Vec::new();
    for file in files(&root)? {
        for mut object in manifests(&file.strip_prefix(&root)?.to_string_lossy())? {
            let kind = object["kind"].as_str().unwrap_or_default();
            if kind != "Namespace" && !kind.starts_with("Cluster") {
                object["metadata"]["namespace"] = json!(namespace);
            }
            all.push(object);
        }
    }
    Ok(all)
}

/// Collects the JSON pointers of all fields that a schema defines.
fn fields(value: &Value, pointer: &str, found: &mut Vec<String>) {
    if FREE_FORM.iter().any(|end| pointer.ends_with(end)) {
        return;
    }
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
        _ => return,
    };
    for (name, child) in children {
        let path = format!("{pointer}/{name}");
        if value.is_object() {
            found.push(path.clone());
        }
        fields(child, &path, found);
    }
}

/// Adds "x" to the name of a field.
fn misspell(object: &Value, pointer: &str) -> Option<Value> {
    let mut object = object.clone();
    let (parent, name) = pointer.rsplit_once('/')?;
    let parent: &mut Map<String, Value> = object.pointer_mut(parent)?.as_object_mut()?;
    let value = parent.remove(name)?;
    parent.insert(format!("{name}x"), value);
    Some(object)
}

#[tokio::test]
async fn manifests_match_the_schemas_of_their_tools() -> Result<()> {
    install_all_crds()?;
    let control_plane = shared_control_plane()?;
    control_plane.apply_crds()?;
    let namespace = control_plane.namespace()?;
    let client = Objects::new(control_plane).await?;
    let mut kinds = BTreeSet::new();
    let mut misspelled = 0;
    for object in objects(&namespace)? {
        client.validate(&object).await?;
        let Some(kind) = KINDS.iter().find(|kind| object["kind"] == **kind) else { continue };
        kinds.insert(*kind);
        let mut pointers = Vec::new();
        fields(&object["spec"], "/spec", &mut pointers);
        for pointer in pointers {
            let Some(wrong) = misspell(&object, &pointer) else { continue };
            let error = client.validate(&wrong).await.expect_err(&pointer).to_string();
            assert!(
                error.contains("field not declared in schema") || error.contains("unknown field"),
                "{pointer}: {error}"
            );
            misspelled += 1;
        }
    }
    assert_eq!(kinds, BTreeSet::from(KINDS), "the examples lack a kind");
    assert!(misspelled > 100, "only {misspelled} fields were misspelled");
    Ok(())
}

/// Returns the chart values in the example for each tool.
fn chart_values() -> Result<Vec<(&'static str, Value)>> {
    let of = |path, kind: &str, pointer: &str| -> Result<Value> {
        let found = manifests(path)?.into_iter().find(|object| object["kind"] == kind);
        Ok(found.and_then(|object| object.pointer(pointer).cloned()).unwrap_or_default())
    };
    Ok(vec![
        ("Flux", of("flux/operator/operator.yaml", "HelmRelease", "/spec/values")?),
        ("Argo CD", of("argocd/application.yaml", "Application", "/spec/sources/0/helm/valuesObject")?),
    ])
}

#[test]
fn examples_use_existing_chart_values_and_versions() -> Result<()> {
    let dir = Scratch::new("values")?;
    for (tool, values) in chart_values()? {
        assert!(values.is_object(), "{tool}: no values");
        let file = dir.write("values.yaml", values.to_string())?.display().to_string();
        let rendered = Helm::new()?.template("release", "default", &["--values", &file])?;
        assert!(
            rendered.contains("secretName: \"alibaba-cloud-credentials\""),
            "{tool}: the credentials are not mounted"
        );
    }
    let chart = std::fs::read_to_string(repository().join("charts/live-message-operator/Chart.yaml"))?;
    let version = chart.lines().find_map(|line| line.strip_prefix("version: ")).unwrap_or_default();
    let minor = version.rsplit_once('.').unwrap_or_default().0;
    for (path, range) in [("flux/operator/operator.yaml", ".x"), ("argocd/application.yaml", ".*")] {
        let text = std::fs::read_to_string(example(path))?;
        assert!(text.contains(&format!(": {minor}{range}\n")), "{path} does not use the range {minor}{range}");
    }
    Ok(())
}

#[test]
fn flux_manifests_name_existing_objects() -> Result<()> {
    let flux = manifests("flux/kustomizations.yaml")?;
    let first = &flux[1]["spec"]["dependsOn"][0]["name"];
    assert_eq!(&flux[0]["metadata"]["name"], first);
    assert_eq!(flux[0]["spec"]["wait"], true);
    let operator = manifests("flux/operator/operator.yaml")?;
    let by_kind = |kind: &str| operator.iter().find(|object| object["kind"] == kind).cloned().unwrap_or_default();
    let (chart, release, namespace) = (by_kind("OCIRepository"), by_kind("HelmRelease"), by_kind("Namespace"));
    assert_eq!(release["spec"]["chartRef"]["name"], chart["metadata"]["name"]);
    assert_eq!(release["metadata"]["namespace"], namespace["metadata"]["name"]);
    Ok(())
}
