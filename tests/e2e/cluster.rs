//! The installation under test. This module runs kubectl and helm, creates groups, and reads the emulator's log.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::{
    CHART, Context as _, Error, Helm, Kubectl, Result, Scratch, control_plane_tools, helm_tools, wait_for,
};

/// The release name.
pub const NAME: &str = "live-message-operator";
/// The namespace of the release.
pub const NAMESPACE: &str = "production";
/// The namespace of the groups.
pub const GROUPS: &str = "rooms";
/// The namespace of the emulator.
const LIVE_API: &str = "live-api";
/// The number of groups in a burst. At 50 calls per second, the operator creates them in three seconds.
pub const BURST: usize = 150;
/// The timeout for a burst. It includes the 15 s until a Lease expires.
const SETTLE: Duration = Duration::from_secs(120);

/// The operator images, as NAME:TAG. Both images contain the same version of the operator.
pub struct Images {
    pub first: String,
    pub second: String,
}

/// The cluster with the installation.
pub struct Cluster {
    pub kubectl: Kubectl,
    kubeconfig: PathBuf,
    helm: Helm,
    home: Scratch,
    pub images: Images,
}

impl Cluster {
    pub fn new(kubeconfig: PathBuf, images: Images) -> Result<Self> {
        let kubectl = Kubectl::new(control_plane_tools()?.join("kubectl"), kubeconfig.clone());
        Ok(Self { kubectl, kubeconfig, helm: Helm::new()?, home: Scratch::new("e2e")?, images })
    }

    /// Runs kubectl in the namespace of the release.
    pub fn operator(&self, args: &[&str]) -> Result<String> {
        self.kubectl.run(&[&["--namespace", NAMESPACE], args].concat())
    }

    /// Runs kubectl in the namespace of the groups.
    pub fn groups(&self, args: &[&str]) -> Result<String> {
        self.kubectl.run(&[&["--namespace", GROUPS], args].concat())
    }

    /// Runs helm in the namespace of the release.
    pub fn helm(&self, args: &[&str]) -> Result<()> {
        let kubeconfig = self.kubeconfig.to_string_lossy();
        self.helm.run(&[args, &["--namespace", NAMESPACE, "--kubeconfig", &*kubeconfig]].concat()).map(drop)
    }

    pub fn create_namespaces(&self) -> Result<()> {
        for namespace in [NAMESPACE, GROUPS, LIVE_API] {
            self.kubectl.run(&["create", "namespace", namespace])?;
            let standard = "pod-security.kubernetes.io/enforce=restricted";
            self.kubectl.run(&["label", "namespace", namespace, standard])?;
        }
        Ok(())
    }

    /// Returns the environment variables that a user's kubectl and helm need to access the cluster.
    pub fn user_environment(&self) -> Result<[(&'static str, OsString); 3]> {
        let programs = [control_plane_tools()?, helm_tools()?].map(|folder| folder.into_os_string());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = programs.into_iter().chain([path]).collect::<Vec<_>>().join(OsStr::new(":"));
        Ok([("PATH", path), ("KUBECONFIG", self.kubeconfig.clone().into()), ("HOME", self.home.path().into())])
    }

    /// Deploys an emulator that is not part of the release, so that its groups survive an upgrade of the release.
    pub fn deploy_live_api(&self) -> Result<()> {
        let image = image_values(&self.images.first)?;
        let values = format!("{image},emulator.enabled=true,fullnameOverride=live-api");
        let log = "emulator.extraArgs={--request-log=/dev/stdout}";
        let flags = ["--set", &values, "--set", log, "--show-only", "templates/emulator.yaml"];
        let manifests = self.helm.template("live-api", LIVE_API, &flags)?;
        self.kubectl.run_with_input(&["apply", "-f", "-"], &manifests)?;
        let deployment =
            ["--namespace", LIVE_API, "rollout", "status", "deployment/live-api-emulator", "--timeout=60s"];
        self.kubectl.run(&deployment)?;
        let secret =
            ["--from-literal=accessKeyId=testAccessKeyId", "--from-literal=accessKeySecret=testAccessKeySecret"];
        self.operator(&[&["create", "secret", "generic", "alibaba-cloud-credentials"], &secret[..]].concat())?;
        Ok(())
    }

    /// Runs `helm install` or `helm upgrade` with an image, and waits until all pods are ready. The operator uses the
    /// emulator that [`deploy_live_api`](Self::deploy_live_api) deploys.
    pub fn deploy_operator(&self, command: &str, image: &str, flags: &[&str]) -> Result<()> {
        let endpoint =
            format!("alibabaCloud.endpoint=http://live-api-emulator.{LIVE_API}.svc:8787,alibabaCloud.allowHttp=true");
        let image = image_values(image)?;
        let fixed = [command, NAME, CHART, "--wait", "--timeout", "90s", "--set", &*image, "--set", &*endpoint];
        self.helm(&[&fixed[..], flags].concat())
    }

    /// The emulator's log: one line for each call.
    pub fn call_log(&self) -> Result<String> {
        self.kubectl.run(&["--namespace", LIVE_API, "logs", "deployment/live-api-emulator", "--tail=-1"])
    }

    /// Checks that the namespace of the release rejects a pod that violates the Pod Security Standard. The pods of the
    /// release run in the same namespace, so they meet the standard.
    pub fn rejects_unrestricted_pods(&self) -> Result<()> {
        let plain = ["--namespace", NAMESPACE, "run", "plain", "--image", "localhost/sandbox:1", "--restart", "Never"];
        let refusal = self.kubectl.refused(&plain, "")?;
        if refusal.contains("violates PodSecurity") { Ok(()) } else { Err(Error::new(refusal)) }
    }

    /// Creates a burst of groups and waits until they are ready.
    pub fn create_groups(&self, burst: &str) -> Result<()> {
        self.apply_groups(burst, "")?;
        self.wait_until_ready(burst)
    }

    /// Creates the objects of a burst. If the burst is `calm`, deleting an object also deletes its group.
    pub fn apply_groups(&self, burst: &str, info: &str) -> Result<()> {
        let policy = if burst == "calm" { "Delete" } else { "Retain" };
        let mut manifests = String::new();
        for number in 0..BURST {
            writeln!(
                manifests,
                "---\napiVersion: live.alibabacloud.com/v1alpha1\nkind: LiveMessageGroup\n\
                 metadata: {{name: {burst}{number}, labels: {{burst: {burst}}}}}\n\
                 spec: {{appId: demo, groupName: e2e, creatorId: teacher1, deletionPolicy: {policy}, groupInfo: \"{info}\"}}"
            )?;
        }
        self.kubectl.run_with_input(&["--namespace", GROUPS, "create", "-f", "-"], &manifests)?;
        Ok(())
    }

    pub fn wait_until_ready(&self, burst: &str) -> Result<()> {
        let selector = format!("burst={burst}");
        let mut ready = 0;
        let outcome = wait_for("all groups to be ready", SETTLE, || {
            let listed: Value = serde_json::from_str(&self.groups(&["get", "lmg", "-o", "json", "-l", &selector])?)?;
            ready = listed["items"].as_array().into_iter().flatten().filter(|object| is_ready(object)).count();
            Ok((ready == BURST).then_some(()))
        });
        outcome.context(format_args!("burst {burst}: {ready} of {BURST} ready"))
    }

    /// Deletes the objects of a burst, and waits until the operator has removed their finalizers.
    pub fn delete_groups(&self, burst: &str) -> Result<()> {
        let selector = format!("burst={burst}");
        // Without --wait=false, kubectl would wait for the objects one after another.
        self.groups(&["delete", "lmg", "-l", &selector, "--wait=false"])?;
        wait_for("all objects to be deleted", SETTLE, || {
            Ok(self.groups(&["get", "lmg", "-l", &selector, "-o", "name"])?.is_empty().then_some(()))
        })
    }

    /// The pod that holds the Lease.
    pub fn leader(&self) -> Result<Pod> {
        wait_for("a leader", Duration::from_secs(60), || {
            let holder = self.operator(&["get", "lease", NAME, "-o", "jsonpath={.spec.holderIdentity}"])?;
            let pods = self.pods()?;
            Ok(pods.into_iter().find(|pod| holder.starts_with(pod.name.as_str())))
        })
    }

    /// The operator's pods.
    pub fn pods(&self) -> Result<Vec<Pod>> {
        let selector = format!("app.kubernetes.io/name={NAME}");
        let listed: Value = serde_json::from_str(&self.operator(&["get", "pods", "-o", "json", "-l", &selector])?)?;
        listed["items"].as_array().into_iter().flatten().map(Pod::parse).collect()
    }

    /// Waits until two pods of the operator are ready and no other pod remains.
    pub fn wait_until_complete(&self) -> Result<()> {
        wait_for("two ready replicas", Duration::from_secs(90), || {
            let pods = self.pods()?;
            Ok((pods.len() == 2 && pods.iter().all(|pod| pod.is_ready)).then_some(()))
        })
    }

    /// Describes the state of the installation. The description becomes part of the error message after a failure.
    pub fn diagnosis(&self) -> String {
        let mut text = String::new();
        for args in [
            &["get", "pods,leases,deployments", "-o", "wide"][..],
            &["events", "--types=Warning"],
            &["logs", "--tail=40", "--prefix", "-l", "app.kubernetes.io/name=live-message-operator"],
        ] {
            let output = self.operator(args).unwrap_or_else(|error| error.to_string());
            let _ = writeln!(text, "\n$ kubectl {}\n{output}", args.join(" "));
        }
        text
    }
}

/// The chart values that select an image.
fn image_values(image: &str) -> Result<String> {
    let (repository, tag) = image.rsplit_once(':').context("an image with a tag")?;
    Ok(format!("image.repository={repository},image.tag={tag}"))
}

fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// An operator pod.
pub struct Pod {
    pub name: String,
    pub uid: String,
    /// Whether the pod is ready and not terminating.
    pub is_ready: bool,
    pub is_pending: bool,
    /// The reason for the last termination of the pod's container, such as `OOMKilled`.
    pub last_end: Option<String>,
}

impl Pod {
    fn parse(pod: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let end = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"];
        Ok(Self {
            name: text(&pod["metadata"]["name"]).context("a pod without a name")?,
            uid: text(&pod["metadata"]["uid"]).context("a pod without a UID")?,
            is_ready: is_ready(pod) && pod["metadata"]["deletionTimestamp"].is_null(),
            is_pending: pod["status"]["phase"] == "Pending",
            last_end: text(end),
        })
    }
}
