//! A release of the chart on a real apiserver, from its installation to its removal.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{CHART, Context as _, ControlPlane, Helm, Result, Scratch, repository};

const GROUP: &str = "apiVersion: live.alibabacloud.com/v1alpha1\nkind: LiveMessageGroup\nmetadata:\n  name: room\nspec:\n  \
    appId: demo\n";

/// The short names in the CRD. The CRD in the previous version of the chart does not have them.
const SHORT_NAMES: &str = "    shortNames:\n    - lmg\n";

/// Simulates the previous version of the chart. Copies the chart, lowers its version, removes the section
/// `networkPolicy` from values.yaml, and removes the short names from the CRD.
fn previous_chart(to: &Path) -> Result<()> {
    copy(&repository().join(CHART), to)?;
    let replace = |file: &str, from: &str, with: &str| -> Result<()> {
        let text = fs::read_to_string(to.join(file)).context(file)?;
        assert!(text.contains(from), "{file} does not contain {from:?}");
        Ok(fs::write(to.join(file), text.replace(from, with))?)
    };
    replace("Chart.yaml", "\nversion: ", "\nversion: 0.0.1-")?;
    let values = fs::read_to_string(to.join("values.yaml"))?;
    let section = values.split_once("\nnetworkPolicy:").and_then(|(_, rest)| rest.split_once("\ncrds:"));
    replace("values.yaml", &format!("networkPolicy:{}\n", section.context("a section")?.0), "")?;
    replace("files/crds/livemessagegroups.live.alibabacloud.com.yaml", SHORT_NAMES, "")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).context(to.display())?;
    for entry in fs::read_dir(from).context(from.display())? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target).context(path.display())?;
        }
    }
    Ok(())
}

struct Cluster<'a> {
    helm: &'a Helm,
    control_plane: &'a ControlPlane,
    namespace: String,
}

impl Cluster<'_> {
    fn helm(&self, args: &[&str]) -> Result<String> {
        let kubeconfig = self.control_plane.kubeconfig().display().to_string();
        self.helm.run(&[args, &["--namespace", &self.namespace, "--kubeconfig", &kubeconfig]].concat())
    }

    /// Runs `helm install` or `helm upgrade` with the emulator enabled.
    fn apply(&self, command: &str, release: &str, chart: &str, flags: &[&str]) -> Result<String> {
        let image = format!("{CHART}/ci/default-values.yaml");
        let values = ["--values", &image, "--set", "emulator.enabled=true"];
        self.helm(&[&[command, release, chart][..], &values, flags].concat())
    }

    fn get(&self, object: &str) -> Result<Value> {
        let get = ["get", object, "--namespace", &self.namespace, "--output=json", "--ignore-not-found"];
        let found = self.control_plane.kubectl(&get)?;
        if found.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&found).context(found) }
    }

    fn has_current_crd(&self) -> Result<bool> {
        let crd = self.get("crd/livemessagegroups.live.alibabacloud.com")?;
        assert!(crd.is_object(), "the CRD was deleted");
        Ok(crd["spec"]["names"].get("shortNames").is_some())
    }

    /// Asserts that the CRD and its objects exist, and that the operator and the emulator exist only if `is_installed`.
    fn assert_state(&self, is_installed: bool, step: &str) -> Result<()> {
        let group = self.get("livemessagegroups.live.alibabacloud.com/room")?;
        assert_eq!(group["spec"]["appId"], "demo", "{step}");
        for name in ["lmo-live-message-operator", "lmo-live-message-operator-emulator"] {
            assert_eq!(self.get(&format!("deployment/{name}"))?.is_object(), is_installed, "{step}: {name}");
        }
        Ok(())
    }
}

#[test]
fn crds_and_objects_survive_every_step_of_a_release() -> Result<()> {
    let control_plane = ControlPlane::start()?;
    let previous = Scratch::new("previous-chart")?;
    previous_chart(&previous.join("chart"))?;
    let previous = previous.join("chart").display().to_string();
    for helm in &Helm::versions()? {
        let cluster = Cluster { helm, control_plane: &control_plane, namespace: control_plane.namespace()? };
        cluster.apply("install", "lmo", &previous, &[])?;
        assert!(!cluster.has_current_crd()?);
        let established = ["wait", "--for=condition=Established", "--timeout=90s", "crd", "--all"];
        control_plane.kubectl(&established)?;
        control_plane.kubectl_with_input(&["apply", "--namespace", &cluster.namespace, "-f", "-"], GROUP)?;
        cluster.assert_state(true, "install")?;

        cluster.apply("upgrade", "lmo", CHART, &[])?;
        assert!(cluster.has_current_crd()?, "the upgrade did not change the CRD");
        let deployment = cluster.get("deployment/lmo-live-message-operator")?;
        assert_eq!(deployment["metadata"]["generation"], 1, "a new chart version restarts the pods");
        cluster.helm(&["rollback", "lmo", "1"])?;
        assert!(!cluster.has_current_crd()?);
        cluster.assert_state(true, "rollback")?;
        // With --reuse-values, Helm uses the default values of the previous chart, which do not contain networkPolicy.
        cluster.helm(&["upgrade", "lmo", CHART, "--reuse-values"])?;

        cluster.helm(&["uninstall", "lmo"])?;
        assert!(cluster.has_current_crd()?);
        cluster.assert_state(false, "uninstall")?;
        cluster.apply("install", "lmo", CHART, &[])?;
        cluster.assert_state(true, "reinstall")?;
        cluster.helm(&["uninstall", "lmo"])?;

        // The CRDs still belong to the uninstalled release lmo.
        let error = cluster.apply("install", "other", CHART, &[]).expect_err("the CRDs are of lmo").to_string();
        assert!(error.contains("ownership") && error.contains("lmo"), "{error}");
        cluster.apply("install", "other", CHART, &["--take-ownership"])?;
        cluster.assert_state(false, "another release")?;
        cluster.helm(&["uninstall", "other"])?;
        control_plane.kubectl(&["delete", "crd", "--all", "--timeout=90s"])?;
    }
    Ok(())
}

#[test]
fn notes_describe_the_next_step_and_warn() -> Result<()> {
    let notes = |flags: &[&str]| -> Result<String> {
        let image = format!("{CHART}/ci/default-values.yaml");
        let args = ["install", "chart", CHART, "--dry-run=client", "--namespace", "home", "--values", &image];
        let output = Helm::new()?.run(&[&args[..], flags].concat())?;
        Ok(output.split_once("NOTES:").context("no notes")?.1.to_owned())
    };
    let default = notes(&[])?;
    assert!(default.contains("kubectl --namespace home create secret generic alibaba-cloud-credentials"), "{default}");
    assert!(!default.contains("WARNING"), "{default}");
    for (values, says) in [
        ("emulator.enabled=true", "nothing reaches Alibaba Cloud"),
        ("namespaceOverride=away", "kubectl --namespace away create secret"),
        ("alibabaCloud.existingSecret=,alibabaCloud.rrsa.roleName=live", "system:serviceaccount:home:chart-live"),
        ("alibabaCloud.existingSecret=,alibabaCloud.credentialsFile.secret=file", "--from-file=credentials.ini"),
        ("alibabaCloud.existingSecret=", "reference a LiveAccount"),
        ("alibabaCloud.allowHttp=true", "WARNING: allowHttp"),
        ("crds.enabled=false", "WARNING: The release does not contain the CustomResourceDefinitions"),
        ("crds.keep=false", "WARNING: helm uninstall deletes the CustomResourceDefinitions"),
        ("rbac.create=false", "WARNING: The release grants no permissions"),
        ("watchNamespaces={a}", "WARNING: If a watched namespace is deleted"),
        ("replicaCount=1", "WARNING: There is no standby"),
    ] {
        let notes = notes(&["--set", values])?;
        assert!(notes.contains(says), "{values}: {notes}");
    }
    let trial = notes(&["--set", "emulator.enabled=true"])?;
    assert!(!trial.contains("create secret") && !trial.contains("WARNING"), "{trial}");
    Ok(())
}
