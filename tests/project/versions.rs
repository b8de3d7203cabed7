//! Tests that the documents state the current version of the operator and the minimum version of Kubernetes.

use serde_json::Value;

use super::read;

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn compatibility_table_has_the_version_and_its_kubernetes() {
    let chart: Value = serde_yaml::from_str(&read("charts/live-message-operator/Chart.yaml")).unwrap();
    let kubernetes = chart["kubeVersion"].as_str().unwrap();
    let minor = kubernetes.trim_start_matches(">=").split('.').take(2).collect::<Vec<_>>().join(".");
    let upgrade = read("docs/upgrade.md");
    let row = upgrade.lines().find(|line| line.starts_with(&format!("| {VERSION}")));
    let row = row.unwrap_or_else(|| panic!("docs/upgrade.md has no row for {VERSION}"));
    assert!(row.contains(&format!("| {minor} or newer")), "the chart requires Kubernetes {kubernetes}: {row}");
    for document in ["README.md", "README.zh-CN.md", "docs/getting-started.md"] {
        assert!(read(document).contains(&format!("Kubernetes {minor}")), "{document}: Kubernetes {minor}");
    }
}

#[test]
fn image_in_the_first_installation_has_the_version() {
    let text = read("docs/getting-started.md");
    let tags = text.split("live-message-operator:").skip(1).chain(text.split("image.tag=").skip(1));
    let tags: Vec<&str> = tags.filter_map(|rest| rest.split(['`', '\n']).next()).collect();
    assert!(tags.len() > 2 && tags.iter().all(|tag| *tag == VERSION), "{tags:?}, expected {VERSION}");
}
