//! A namespace with an emulator and an operator of its own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use live_message_operator::resources::{ConditionType, LiveMessageGroup};
use serde_json::{Value, json};

use crate::support::{
    ControlPlane, Emulator, EmulatorOptions, Error, Operator, OperatorOptions, Result, shared_control_plane,
};

/// The app every world has.
pub const APP: &str = "demo";

/// Everything a story needs.
pub struct World {
    pub control_plane: &'static ControlPlane,
    pub namespace: String,
    pub emulator: Emulator,
    pub operator: Option<Operator>,
    pub api: Api<LiveMessageGroup>,
    pub options: OperatorOptions,
}

impl World {
    /// A new namespace, an emulator with the app `demo` and these groups, no operator yet.
    pub async fn new(groups: &[&str]) -> Result<Self> {
        Self::with(EmulatorOptions { groups: groups.iter().map(|g| format!("{APP}/{g}")).collect(), ..app() }).await
    }

    /// The same with any emulator.
    pub async fn with(emulator: EmulatorOptions) -> Result<Self> {
        let control_plane = shared_control_plane()?;
        control_plane.apply_crds()?;
        let namespace = control_plane.namespace()?;
        let emulator = Emulator::start(&emulator)?;
        let kubeconfig: PathBuf = control_plane.operator_kubeconfig(&namespace, &[&namespace])?;
        let options = OperatorOptions {
            kubeconfig,
            endpoint: emulator.url().to_owned(),
            args: vec!["--namespace".into(), namespace.clone()],
            env: vec![("RUST_LOG".into(), "info,live_message_operator=debug".into())],
            ..OperatorOptions::default()
        };
        let api = Api::namespaced(control_plane.client().await?, &namespace);
        Ok(Self { control_plane, namespace, emulator, operator: None, api, options })
    }

    /// Starts the operator.
    pub fn start(&mut self) -> Result<()> {
        self.operator = Some(Operator::start(&self.options)?);
        Ok(())
    }

    /// Creates an object; `spec` is merged over an app id.
    pub async fn create(&self, name: &str, spec: Value) -> Result<LiveMessageGroup> {
        create_in(&self.api, name, spec).await
    }

    /// Merges into an object.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<LiveMessageGroup> {
        Ok(self.api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?)
    }

    /// Deletes an object and waits until it is gone.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.api.delete(name, &DeleteParams::default()).await?;
        self.until(&format!("{name} to be gone"), 20, async || Ok(self.api.get_opt(name).await?.is_none())).await
    }

    /// Waits until `holds` says so.
    pub async fn until(&self, what: &str, seconds: u64, holds: impl AsyncFn() -> Result<bool>) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(seconds);
        while !holds().await? {
            if Instant::now() > end {
                let tail = self.operator.as_ref().map(|operator| operator.process.log_tail()).unwrap_or_default();
                let objects = self.control_plane.kubectl(&["get", "lmg", "-n", &self.namespace, "-o", "wide"])?;
                let objects: Vec<&str> = objects.lines().take(20).collect();
                return Err(Error::new(format!(
                    "waited {seconds} s for {what}, in vain\n{}\n{tail}",
                    objects.join("\n")
                )));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Waits until the condition `Ready` of this object's newest generation is so, and returns the object.
    pub async fn ready(&self, name: &str, status: &str, reason: &str) -> Result<LiveMessageGroup> {
        self.until(&format!("{name} to be Ready={status}, {reason}"), 40, async || {
            let object = self.api.get(name).await?;
            let observed = object.status.as_ref().and_then(|status| status.observed_generation);
            Ok(observed == object.metadata.generation && condition(&object, ConditionType::Ready) == [status, reason])
        })
        .await?;
        Ok(self.api.get(name).await?)
    }

    /// How often the operation was called for this group.
    pub fn calls(&self, operation: &str, group: &str) -> Result<usize> {
        let requests = self.emulator.requests()?;
        Ok(requests.iter().filter(|r| r.operation == operation && r.param("GroupId") == Some(group)).count())
    }
}

/// An emulator with the app only.
pub fn app() -> EmulatorOptions {
    EmulatorOptions { apps: vec![APP.to_owned()], ..EmulatorOptions::default() }
}

/// Creates an object; `spec` is merged over an app id.
pub async fn create_in(api: &Api<LiveMessageGroup>, name: &str, spec: Value) -> Result<LiveMessageGroup> {
    let mut whole = json!({"appId": APP});
    if let (Some(whole), Some(spec)) = (whole.as_object_mut(), spec.as_object()) {
        whole.extend(spec.clone());
    }
    let object: LiveMessageGroup = serde_json::from_value(json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
        "metadata": {"name": name}, "spec": whole
    }))?;
    Ok(api.create(&PostParams::default(), &object).await?)
}

/// Status and reason of a condition; two empty words where it is absent.
pub fn condition(object: &LiveMessageGroup, kind: ConditionType) -> [&str; 2] {
    object.condition(kind).map_or(["", ""], |condition| [&condition.status, &condition.reason])
}
