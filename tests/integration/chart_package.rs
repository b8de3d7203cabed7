//! The files that describe the chart: its README and its metadata for Artifact Hub.

use std::fs;
use std::process::Command;

use live_message_operator::resources::crds;
use serde_json::{Value, json};

use crate::support::{CHART, Context as _, Helm, Result, documents, helm_docs, repository};

#[test]
fn readme_matches_the_values_and_describes_each() -> Result<()> {
    let output = Command::new(helm_docs()?.join("helm-docs"))
        .args(["--chart-search-root", CHART, "--sort-values-order", "file", "--dry-run"])
        .current_dir(repository())
        .output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let readme = fs::read_to_string(repository().join(CHART).join("README.md"))?;
    assert!(readme.trim() == String::from_utf8(output.stdout)?.trim(), "README.md is outdated: run `make chart`");
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| ")).collect();
    assert!(rows.len() > 70, "{} values", rows.len());
    for row in rows {
        assert!(
            !row.ends_with("|  |"),
            "values.yaml has no description for {row}: add a comment that starts with # --"
        );
    }
    Ok(())
}

#[test]
fn helm_shows_the_readme_and_packages_no_test_values() -> Result<()> {
    for helm in Helm::versions()? {
        assert!(helm.run(&["show", "readme", CHART])?.contains("| image.repository |"));
        let folder = crate::support::Scratch::new("package")?;
        helm.run(&["package", CHART, "--destination", &folder.path().display().to_string()])?;
        let archive = folder.join(format!("live-message-operator-{}.tgz", env!("CARGO_PKG_VERSION")));
        let listed = Command::new("tar").arg("-tzf").arg(&archive).output()?;
        let listed = String::from_utf8(listed.stdout)?;
        for (file, packaged) in [("files/values.yaml", true), ("README.md", true), ("ci/", false), (".gotmpl", false)] {
            assert_eq!(listed.contains(file), packaged, "{file}: {listed}");
        }
    }
    Ok(())
}

/// Reads the Artifact Hub annotation with this name from Chart.yaml, and parses its value as YAML.
fn annotation(name: &str) -> Result<Value> {
    let chart = fs::read_to_string(repository().join(CHART).join("Chart.yaml"))?;
    let chart: Value = serde_yaml::from_str(&chart)?;
    let text = chart["annotations"][&format!("artifacthub.io/{name}")].as_str().context(name)?.to_owned();
    serde_yaml::from_str(&text).context(name)
}

#[test]
fn artifact_hub_lists_every_crd() -> Result<()> {
    let listed = annotation("crds")?;
    let mut expected = Vec::new();
    for crd in crds() {
        let version = crd.spec.versions.first().context("a version")?;
        let schema =
            version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()).context("a schema")?;
        expected.push(json!({
            "kind": crd.spec.names.kind, "version": version.name, "name": crd.metadata.name,
            "description": schema.description,
        }));
    }
    let mut listed: Vec<Value> = listed.as_array().context("a list")?.clone();
    for crd in &mut listed {
        let name = crd.as_object_mut().and_then(|crd| crd.remove("displayName"));
        assert!(name.is_some_and(|name| name.as_str().is_some_and(|name| name.contains(' '))), "displayName: {crd}");
    }
    listed.sort_by_key(|crd| crd["name"].to_string());
    expected.sort_by_key(|crd| crd["name"].to_string());
    assert_eq!(listed, expected, "artifacthub.io/crds in Chart.yaml is outdated");
    Ok(())
}

#[test]
fn artifact_hub_shows_an_example_of_every_kind() -> Result<()> {
    let mut examples = Vec::new();
    for file in ["new-group.yaml", "account.yaml"] {
        examples.extend(documents(&fs::read_to_string(repository().join("examples").join(file))?)?);
    }
    let shown = annotation("crdsExamples")?;
    let shown = shown.as_array().context("a list")?;
    for example in shown {
        assert!(
            examples.contains(example),
            "artifacthub.io/crdsExamples in Chart.yaml differs from examples/: {example}"
        );
    }
    for crd in crds() {
        assert!(shown.iter().any(|example| example["kind"] == *crd.spec.names.kind), "{}", crd.spec.names.kind);
    }
    Ok(())
}

#[test]
fn artifact_hub_metadata_has_valid_values() -> Result<()> {
    let levels = ["Basic Install", "Seamless Upgrades", "Full Lifecycle", "Deep Insights", "Auto Pilot"];
    assert!(levels.contains(&annotation("operatorCapabilities")?.as_str().unwrap_or_default()));
    assert_eq!(annotation("operator")?, true);
    assert_eq!(annotation("category")?, "streaming-messaging");
    assert_eq!(annotation("license")?, env!("CARGO_PKG_LICENSE"));
    let kinds = ["added", "changed", "deprecated", "removed", "fixed", "security"];
    for change in annotation("changes")?.as_array().context("a list")? {
        assert!(change["kind"].as_str().is_some_and(|kind| kinds.contains(&kind)), "{change}");
        assert!(change["description"].as_str().is_some_and(|text| !text.is_empty()), "{change}");
    }
    for link in annotation("links")?.as_array().context("a list")? {
        assert!(
            link["name"].is_string() && link["url"].as_str().is_some_and(|url| url.starts_with("https://")),
            "{link}"
        );
    }
    Ok(())
}
