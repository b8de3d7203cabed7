//! A namespace with an emulator and an operator of its own.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use live_message_operator::resources::{ConditionType, LiveMessageGroup};
use serde_json::{Value, json};

use crate::calls::Calls;
use crate::support::{
    Context as _, ControlPlane, Emulator, EmulatorOptions, Error, Operator, OperatorOptions, Request, Result,
    shared_control_plane,
};

/// How many seconds something is waited for that takes one or two: a machine with other work takes its time.
pub const PATIENCE: u64 = 90;

const NO_SWEEP: &str = "--drift-check-interval=168h";

/// The app every world has.
pub const APP: &str = "demo";

/// Everything a story needs.
pub struct World<'c> {
    pub control_plane: &'c ControlPlane,
    pub namespace: String,
    pub emulator: Emulator,
    pub emulator_options: EmulatorOptions,
    pub operator: Option<Operator>,
    pub api: Api<LiveMessageGroup>,
    pub options: OperatorOptions,
}

impl World<'static> {
    /// A new namespace, an emulator with the app `demo` and these groups, no operator yet.
    pub async fn new(groups: &[&str]) -> Result<Self> {
        Self::with(EmulatorOptions { groups: groups.iter().map(|g| format!("{APP}/{g}")).collect(), ..app() }).await
    }

    /// The same with any emulator.
    pub async fn with(emulator: EmulatorOptions) -> Result<Self> {
        let control_plane = shared_control_plane()?;
        control_plane.apply_crds()?;
        World::on(control_plane, emulator, &[]).await
    }
}

impl<'c> World<'c> {
    /// The same on any control plane, whatever is installed there; the operator watches these namespaces as well.
    pub async fn on(control_plane: &'c ControlPlane, emulator: EmulatorOptions, more: &[&str]) -> Result<Self> {
        let namespace = control_plane.namespace()?;
        let emulator_options = emulator;
        let emulator = Emulator::start(&emulator_options)?;
        let watched: Vec<&str> = more.iter().copied().chain([namespace.as_str()]).collect();
        let options = OperatorOptions {
            kubeconfig: control_plane.operator_kubeconfig(&namespace, &watched)?,
            endpoint: emulator.url().to_owned(),
            args: watched.iter().map(|name| format!("--watch-namespace={name}")).collect(),
            env: vec![("RUST_LOG".into(), "info,live_message_operator=debug".into())],
            ..OperatorOptions::default()
        };
        let api = Api::namespaced(control_plane.client().await?, &namespace);
        Ok(Self { control_plane, namespace, emulator, emulator_options, operator: None, api, options })
    }

    /// Starts the operator. It sweeps at its own time: not in a test, unless the test says when.
    pub fn start(&mut self) -> Result<()> {
        let mut options = self.options.clone();
        if !options.args.iter().any(|arg| arg.starts_with("--drift-check-interval=")) {
            options.args.push(NO_SWEEP.to_owned());
        }
        self.operator = Some(Operator::start(&options)?);
        Ok(())
    }

    /// Kills the operator (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        self.operator.take().context("no operator runs")?.process.sigkill()
    }

    /// Asks the operator to end, and waits until it has.
    pub fn stop(&mut self) -> Result<()> {
        let mut operator = self.operator.take().context("no operator runs")?;
        operator.process.sigterm()?;
        operator.process.wait(Duration::from_secs(60)).map(drop)
    }

    /// What the operator has logged.
    pub fn log(&self) -> String {
        self.operator.as_ref().map(|operator| operator.process.log()).unwrap_or_default()
    }

    /// Puts another emulator, with nothing of the old one's state, in the place of this one.
    pub fn replace_emulator(&mut self, options: EmulatorOptions) -> Result<()> {
        let listen = self.emulator.url().trim_start_matches("http://").to_owned();
        if self.emulator.process.exited()?.is_none() {
            self.emulator.process.sigkill()?;
        }
        self.emulator = Emulator::start(&EmulatorOptions { listen, ..options })?;
        Ok(())
    }

    /// Creates an object; `spec` is merged over an app id.
    pub async fn create(&self, name: &str, spec: Value) -> Result<LiveMessageGroup> {
        create_in(&self.api, name, spec).await
    }

    /// Creates `count` objects at once, of these names with a number.
    pub async fn create_many(&self, name: &str, count: usize) -> Result<()> {
        let all = futures::stream::iter((0..count).map(|i| format!("{name}{i:03}")));
        all.map(async |name| self.create(&name, json!({})).await.map(drop)).buffer_unordered(32).try_collect().await
    }

    /// All objects.
    pub async fn list(&self) -> Result<Vec<LiveMessageGroup>> {
        Ok(self.api.list(&ListParams::default()).await?.items)
    }

    /// Waits until that many objects have this reason at `Ready`, for their newest generation; returns all objects.
    pub async fn count_of(&self, reason: &str, count: usize, seconds: u64) -> Result<Vec<LiveMessageGroup>> {
        self.find(&format!("{count} objects to be {reason}"), seconds, async || {
            let objects = self.list().await?;
            let enough = objects.iter().filter(|object| is(object, reason)).count() >= count;
            Ok(enough.then_some(objects))
        })
        .await
    }

    /// Merges into an object.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<LiveMessageGroup> {
        Ok(self.api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?)
    }

    /// Deletes an object and waits until it is gone.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.api.delete(name, &DeleteParams::default()).await?;
        self.until(&format!("{name} to be gone"), PATIENCE, async || Ok(self.api.get_opt(name).await?.is_none())).await
    }

    /// Waits until `holds` says so.
    pub async fn until(&self, what: &str, seconds: u64, holds: impl AsyncFn() -> Result<bool>) -> Result<()> {
        self.find(what, seconds, async || Ok(holds().await?.then_some(()))).await
    }

    /// Waits until there is such a thing, and returns it as it was seen: a moment later it may be another one.
    pub async fn find<T>(&self, what: &str, seconds: u64, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
        let end = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            if Instant::now() > end {
                let tail = self.operator.as_ref().map(|operator| operator.process.log_tail()).unwrap_or_default();
                let objects = self.control_plane.kubectl(&["get", "lmg", "-n", &self.namespace, "-o", "wide"]);
                let objects = objects.unwrap_or_else(|error| error.to_string());
                let objects: Vec<&str> = objects.lines().take(20).collect();
                return Err(Error::new(format!(
                    "waited {seconds} s for {what}, in vain\n{}\n{tail}",
                    objects.join("\n")
                )));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the condition `Ready` of this object's newest generation is so, and returns the object.
    pub async fn ready(&self, name: &str, status: &str, reason: &str) -> Result<LiveMessageGroup> {
        self.find(&format!("{name} to be Ready={status}, {reason}"), PATIENCE, async || {
            let object = self.api.get(name).await?;
            let observed = object.status.as_ref().and_then(|status| status.observed_generation);
            let so =
                observed == object.metadata.generation && condition(&object, ConditionType::Ready) == [status, reason];
            Ok(so.then_some(object))
        })
        .await
    }

    /// The same, once it also says this: the first message that comes with a reason need not be the last one.
    pub async fn says(&self, name: &str, reason: &str, says: &str) -> Result<LiveMessageGroup> {
        self.find(&format!("{name} to be {reason}: {says}"), PATIENCE, async || {
            let object = self.api.get(name).await?;
            let ready = object.condition(ConditionType::Ready);
            let so = is(&object, reason) && ready.is_some_and(|ready| ready.message.contains(says));
            Ok(so.then_some(object))
        })
        .await
    }

    /// The calls made for objects: all but those that count or list a whole app.
    pub fn requests(&self) -> Result<Vec<Request>> {
        let requests = self.emulator.requests()?;
        Ok(requests.into_iter().filter(|request| request.operation != "ListLiveMessageGroupByPage").collect())
    }

    /// How often the operation was called for this group.
    pub fn calls(&self, operation: &str, group: &str) -> Result<usize> {
        let requests = self.emulator.requests()?;
        Ok(requests.iter().filter(|r| r.operation == operation && r.param("GroupId") == Some(group)).count())
    }

    /// How many calls of an operation the operator has sent, as its log tells it.
    pub fn sent(&self, operation: &str) -> usize {
        let of = format!("operation={operation}");
        self.log().lines().filter(|line| line.contains("call sent") && line.contains(&of)).count()
    }

    /// How many calls of an operation the operator has sent that are not answered yet, as its log tells it.
    pub fn in_flight(&self, operation: &str) -> usize {
        let log = self.log();
        let of = format!("operation={operation}");
        let lines = |words: &str| log.lines().filter(|line| line.contains(words) && line.contains(&of)).count();
        lines("call sent") - lines("call answered") - lines("call failed")
    }

    /// The calls of an operation so far.
    pub fn called(&self, operation: &str) -> Result<Calls> {
        Calls::read(&self.emulator, operation)
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

/// Whether the newest generation of an object has this reason at `Ready`.
pub fn is(object: &LiveMessageGroup, reason: &str) -> bool {
    let observed = object.status.as_ref().and_then(|status| status.observed_generation);
    observed == object.metadata.generation && condition(object, ConditionType::Ready)[1] == reason
}

/// Status and reason of a condition; two empty words where it is absent.
pub fn condition(object: &LiveMessageGroup, kind: ConditionType) -> [&str; 2] {
    object.condition(kind).map_or(["", ""], |condition| [&condition.status, &condition.reason])
}
