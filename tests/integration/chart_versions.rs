//! Tests the chart with both supported major versions of Helm, and with every supported version of Kubernetes.

use std::collections::BTreeSet;
use std::process::Command;
use std::thread;

use serde_json::Value;

use crate::chart::matrix;
use crate::support::{CHART, Context as _, Helm, Result, Scratch, documents, kubeconform, kubernetes_schemas};

/// The minor versions of Kubernetes whose schemas the rendered chart must match.
const KUBERNETES: std::ops::RangeInclusive<u32> = 30..=37;

/// Kinds of other projects, for which Kubernetes has no schemas. The module `chart` validates them with CRDs instead.
const WITHOUT_SCHEMA: &str = "PodMonitor,PrometheusRule,ServiceMonitor";

#[test]
fn both_helm_versions_render_the_same_objects() -> Result<()> {
    let [helm4, helm3] = Helm::versions()?;
    for (name, values) in matrix()? {
        let flags = ["--values", &values];
        let rendered = helm4.template("chart", "default", &flags)?;
        let objects = documents(&rendered)?;
        assert!(!objects.is_empty() && objects == documents(&helm3.template("chart", "default", &flags)?)?, "{name}");
        helm3.run(&["lint", "--strict", CHART, "--values", &values])?;
    }
    for (helm, version) in [(helm4, "v4."), (helm3, "v3.")] {
        let found = helm.run(&["version", "--template", "{{.Version}}"])?;
        assert!(found.starts_with(version) || found.starts_with("v0.0.0"), "{found}");
    }
    Ok(())
}

/// Validates the files in a folder against the schemas of a minor version of Kubernetes. Returns the JSON report.
fn validate(minor: u32, folder: &Scratch) -> Result<Value> {
    let schemas = kubernetes_schemas()?.join("kubernetes-json-schema");
    let location = "{{.NormalizedKubernetesVersion}}{{.StrictSuffix}}/{{.ResourceKind}}{{.KindSuffix}}.json";
    let output = Command::new(kubeconform()?.join("kubeconform"))
        .args(["-strict", "-summary", "-output", "json", "-n", "1", "-skip", WITHOUT_SCHEMA])
        .args(["-kubernetes-version", &format!("1.{minor}.0")])
        .args(["-schema-location", &schemas.join(location).to_string_lossy()])
        .arg(folder.path())
        .output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&stdout).context(format_args!("{stdout}{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn rendering_matches_the_schemas_of_kubernetes() -> Result<()> {
    let helm = Helm::new()?;
    let rendered = Scratch::new("rendered")?;
    // An object that is the same for several values files is validated only once.
    let mut objects = BTreeSet::new();
    for (_, values) in matrix()? {
        for object in documents(&helm.template("chart", "default", &["--values", &values])?)? {
            objects.insert(object.to_string());
        }
    }
    for (number, object) in objects.iter().enumerate() {
        rendered.write(&format!("{number}.json"), object)?;
    }
    let check = |minors: Vec<u32>| -> Result<()> {
        for minor in minors {
            let report = validate(minor, &rendered)?;
            let summary = &report["summary"];
            assert!(summary["valid"].as_u64() > Some(20), "1.{minor}: {report}");
            assert_eq!((&summary["invalid"], &summary["errors"]), (&0.into(), &0.into()), "1.{minor}: {report}");
        }
        Ok(())
    };
    let (even, odd): (Vec<u32>, Vec<u32>) = KUBERNETES.partition(|minor| minor % 2 == 0);
    thread::scope(|scope| {
        let other = scope.spawn(|| check(odd));
        check(even)?;
        other.join().expect("the thread panicked")
    })
}

#[test]
fn schema_validation_detects_an_unknown_field() -> Result<()> {
    let folder = Scratch::new("unknown-field")?;
    let objects = documents(&Helm::new()?.template("chart", "default", &[])?)?;
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").context("a Deployment")?;
    folder.write("deployment.json", deployment.to_string().replace("\"replicas\"", "\"repliacs\""))?;
    let report = validate(*KUBERNETES.start(), &folder)?;
    assert!(report["summary"]["invalid"] == 1 && report.to_string().contains("repliacs"), "{report}");
    Ok(())
}

#[test]
fn old_kubernetes_is_refused_and_vendor_suffix_accepted() -> Result<()> {
    for helm in Helm::versions()? {
        // The CRDs contain the field `selectableFields`, which was added in Kubernetes 1.30.
        let error = helm.template("chart", "default", &["--kube-version", "1.29.9"]);
        let error = error.expect_err("Kubernetes 1.29 is too old").to_string();
        assert!(error.contains(">=1.30.0-0") && error.contains("1.29.9"), "{error}");
        for version in ["1.30.0", "1.30.1-aliyun.1", "1.37.0", "1.40.0"] {
            helm.template("chart", "default", &["--kube-version", version])?;
        }
    }
    Ok(())
}
