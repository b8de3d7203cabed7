//! Names, namespaces, labels and annotations of the objects in the chart.

use serde_json::{Value, json};

use crate::chart::{of_kind, render};
use crate::support::{CHART, Helm, Result, documents, shared_control_plane};

/// Enables the Services, because their names must follow the strictest rules.
const SERVICES: [&str; 2] = ["--set", "emulator.enabled=true,metrics.serviceMonitor.enabled=true"];

#[test]
fn every_release_name_gives_valid_names() -> Result<()> {
    let longest = "a".repeat(53);
    let dashes = format!("{}-b", "a".repeat(50) + "-");
    for (release, name) in [
        ("prod", "prod-live-message-operator"),
        ("prod.eu", "prod-eu-live-message-operator"),
        ("123", "live-message-operator-123"),
        ("1live-message-operator", "live-message-operator-1live-message-operator"),
        ("live-message-operator", "live-message-operator"),
        (&*longest, &*longest),
        (&dashes, format!("{dashes}-live-message-operator")[..53].trim_end_matches('-')),
    ] {
        let objects = render(release, "default", &SERVICES)?;
        assert_eq!(of_kind(&objects, "Deployment")[0]["metadata"]["name"], name, "{release}");
        for service in of_kind(&objects, "Service") {
            let name = service["metadata"]["name"].as_str().unwrap_or_default();
            let letters = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            let starts_with_letter = name.starts_with(|c: char| c.is_ascii_lowercase());
            assert!(letters && starts_with_letter && !name.ends_with('-') && name.len() <= 63, "{release}: {name}");
        }
    }
    Ok(())
}

#[test]
fn apiserver_accepts_the_names_of_odd_releases() -> Result<()> {
    let control_plane = shared_control_plane()?;
    let namespace = control_plane.namespace()?;
    let helm = Helm::new()?;
    for release in ["prod.eu", "1live-message-operator", &"a".repeat(53)] {
        let flags = [&SERVICES[..], &["--set", "crds.enabled=false,metrics.serviceMonitor.enabled=false"]].concat();
        let flags = [&flags[..], &["--set", "metrics.service.enabled=true"]].concat();
        let rendered = helm.template(release, &namespace, &flags)?;
        control_plane.kubectl_with_input(&["apply", "--dry-run=server", "-f", "-"], &rendered)?;
    }
    Ok(())
}

#[test]
fn namespace_override_moves_every_object() -> Result<()> {
    let flags = [&SERVICES[..], &["--set", "namespaceOverride=live-system,networkPolicy.enabled=true"]].concat();
    let rendered = Helm::new()?.template("chart", "elsewhere", &flags)?;
    assert!(!rendered.contains("elsewhere"), "a template uses the namespace of the release");
    let moved = documents(&rendered)?.into_iter().filter(|object| object["metadata"]["namespace"] == "live-system");
    assert!(moved.count() > 8);
    Ok(())
}

/// Returns every object that the chart renders with these values, except the `extraObjects`.
fn objects_with(values: &[&str]) -> Result<Vec<Value>> {
    let full = format!("{CHART}/ci/full-values.yaml");
    let full = ["--values", &full, "--set-json", "extraObjects=[]"];
    render("chart", "default", &[&full[..], &SERVICES, &["--set", "alibabaCloud.endpoint="], values].concat())
}

#[test]
fn common_labels_and_annotations_are_on_every_object() -> Result<()> {
    let common = ["--set", "commonLabels.team=live,commonAnnotations.contact=live@example\\.com"];
    let (objects, plain) = (objects_with(&common)?, objects_with(&[])?);
    assert!(objects.len() > 18 && objects.len() == plain.len(), "{}", objects.len());
    for (object, plain) in objects.iter().zip(&plain) {
        let mut metadata = vec![&object["metadata"]];
        if object["kind"] == "Deployment" {
            metadata.push(&object["spec"]["template"]["metadata"]);
        }
        for metadata in metadata {
            assert_eq!(metadata["labels"]["team"], "live", "{metadata}");
            assert_eq!(metadata["annotations"]["contact"], "live@example.com", "{metadata}");
        }
        // Common labels must not change a selector, because the selector of a Deployment is immutable.
        assert_eq!(object["spec"]["selector"], plain["spec"]["selector"]);
    }
    Ok(())
}

#[test]
fn labels_of_the_chart_take_precedence() -> Result<()> {
    let name = "app\\.kubernetes\\.io/name=other";
    let flags = ["--set", &format!("commonLabels.{name},podLabels.{name}")];
    for object in render("chart", "default", &flags)? {
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/name"], "live-message-operator");
    }
    Ok(())
}

#[test]
fn new_chart_version_does_not_restart_the_pods() -> Result<()> {
    for deployment in of_kind(&render("chart", "default", &SERVICES)?, "Deployment") {
        let labels = deployment["spec"]["template"]["metadata"]["labels"].clone();
        let selector = &deployment["spec"]["selector"]["matchLabels"];
        assert_eq!(&labels, selector, "a label of the pods changes with the chart");
        assert!(deployment["metadata"]["labels"]["helm.sh/chart"].is_string());
    }
    Ok(())
}

#[test]
fn image_is_built_from_registry_repository_tag_and_digest() -> Result<()> {
    let digest = format!("sha256:{}", "0".repeat(64));
    for (values, image) in [
        ("image.tag=1", "live-message-operator:1".to_owned()),
        (
            "image.registry=registry.example.com:5000",
            concat!("registry.example.com:5000/live-message-operator:", env!("CARGO_PKG_VERSION")).to_owned(),
        ),
        (&format!("image.repository=a.example/b,image.tag=1,image.digest={digest}"), format!("a.example/b@{digest}")),
    ] {
        let objects = render("chart", "default", &["--set-string", values])?;
        assert_eq!(
            of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["image"],
            json!(image)
        );
    }
    Ok(())
}
