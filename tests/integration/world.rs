//! The environment of a test: a namespace with its own emulator and operator.

use std::num::ParseIntError;
use std::str::FromStr;
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

/// The timeout for one step of a test, in seconds. On an idle machine, a step takes one or two seconds.
pub const PATIENCE: u64 = 90;

/// Effectively disables drift checks, because the interval is much longer than any test.
const NO_DRIFT_CHECK: &str = "--drift-check-interval=168h";

/// The default app of the objects and the emulators.
pub const APP: &str = "demo";

/// A namespace with its emulator, its operator and a client for its objects.
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
    /// Creates a namespace and starts an emulator with the app `demo` and these groups. Does not start the operator.
    pub async fn new(groups: &[&str]) -> Result<Self> {
        Self::with(EmulatorOptions { groups: groups.iter().map(|g| format!("{APP}/{g}")).collect(), ..app() }).await
    }

    /// Like [`World::new`], but with these options for the emulator.
    pub async fn with(emulator: EmulatorOptions) -> Result<Self> {
        let control_plane = shared_control_plane()?;
        control_plane.apply_crds()?;
        World::on(control_plane, emulator, &[]).await
    }
}

impl<'c> World<'c> {
    /// Like [`World::with`], but uses this control plane and does not apply the CRDs. The operator also watches the
    /// namespaces in `more`.
    pub async fn on(control_plane: &'c ControlPlane, emulator: EmulatorOptions, more: &[&str]) -> Result<Self> {
        let namespace = control_plane.namespace()?;
        let emulator_options = emulator;
        let emulator = Emulator::start(&emulator_options)?;
        let watched: Vec<&str> = more.iter().copied().chain([namespace.as_str()]).collect();
        let options = OperatorOptions {
            kubeconfig: control_plane.operator_kubeconfig(&namespace, &watched)?,
            endpoint: emulator.url().to_owned(),
            args: watched.iter().map(|name| format!("--watch-namespace={name}")).collect(),
            env: vec![("RUST_LOG".into(), "info,live_message_operator=trace".into())],
            ..OperatorOptions::default()
        };
        let api = Api::namespaced(control_plane.client().await?, &namespace);
        Ok(Self { control_plane, namespace, emulator, emulator_options, operator: None, api, options })
    }

    /// Starts the operator. Drift checks are disabled unless the options set their interval.
    pub fn start(&mut self) -> Result<()> {
        let mut options = self.options.clone();
        if !options.args.iter().any(|arg| arg.starts_with("--drift-check-interval=")) {
            options.args.push(NO_DRIFT_CHECK.to_owned());
        }
        self.operator = Some(Operator::start(&options)?);
        Ok(())
    }

    /// Kills the operator with SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.operator.take().context("no operator runs")?.process.sigkill()
    }

    /// Stops the operator with SIGTERM and waits until it has exited.
    pub fn stop(&mut self) -> Result<()> {
        let mut operator = self.operator.take().context("no operator runs")?;
        operator.process.sigterm()?;
        operator.process.wait(Duration::from_secs(60)).map(drop)
    }

    /// Returns the log of the running operator, or an empty string if no operator is running.
    pub fn log(&self) -> String {
        self.operator.as_ref().map(|operator| operator.process.log()).unwrap_or_default()
    }

    /// Replaces the emulator with a new one at the same address. The new emulator does not have the state
    /// of the old one.
    pub fn replace_emulator(&mut self, options: EmulatorOptions) -> Result<()> {
        let listen = self.emulator.url().trim_start_matches("http://").to_owned();
        if self.emulator.process.exited()?.is_none() {
            self.emulator.process.sigkill()?;
        }
        self.emulator = Emulator::start(&EmulatorOptions { listen, ..options })?;
        Ok(())
    }

    /// Creates an object with this spec. `appId` defaults to [`APP`].
    pub async fn create(&self, name: &str, spec: Value) -> Result<LiveMessageGroup> {
        create_in(&self.api, name, spec).await
    }

    /// Creates `count` objects concurrently. Their names consist of `name` and a number with three digits.
    pub async fn create_many(&self, name: &str, count: usize) -> Result<()> {
        let all = futures::stream::iter((0..count).map(|i| format!("{name}{i:03}")));
        all.map(async |name| self.create(&name, json!({})).await.map(drop)).buffer_unordered(32).try_collect().await
    }

    /// Lists the objects in the namespace.
    pub async fn list(&self) -> Result<Vec<LiveMessageGroup>> {
        Ok(self.api.list(&ListParams::default()).await?.items)
    }

    /// Waits until at least `count` objects have this `Ready` reason for their latest generation. Returns all objects.
    pub async fn count_of(&self, reason: &str, count: usize, seconds: u64) -> Result<Vec<LiveMessageGroup>> {
        self.find(&format!("{count} objects to be {reason}"), seconds, async || {
            let objects = self.list().await?;
            let enough = objects.iter().filter(|object| is(object, reason)).count() >= count;
            Ok(enough.then_some(objects))
        })
        .await
    }

    /// Applies a merge patch to an object.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<LiveMessageGroup> {
        Ok(self.api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?)
    }

    /// Deletes an object and waits until it is gone.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.api.delete(name, &DeleteParams::default()).await?;
        self.until(&format!("{name} to be gone"), PATIENCE, async || Ok(self.api.get_opt(name).await?.is_none())).await
    }

    /// Waits until `holds` returns `true`.
    pub async fn until(&self, what: &str, seconds: u64, holds: impl AsyncFn() -> Result<bool>) -> Result<()> {
        self.find(what, seconds, async || Ok(holds().await?.then_some(()))).await
    }

    /// Waits until `look` returns a value, and returns that value.
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
                    "timed out after {seconds} s waiting for {what}\n{}\n{tail}",
                    objects.join("\n")
                )));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the object has this `Ready` status and reason for its latest generation, and returns the object.
    pub async fn ready(&self, name: &str, status: &str, reason: &str) -> Result<LiveMessageGroup> {
        self.find(&format!("{name} to be Ready={status}, {reason}"), PATIENCE, async || {
            let object = self.api.get(name).await?;
            let observed = object.status.as_ref().and_then(|status| status.observed_generation);
            let matches =
                observed == object.metadata.generation && condition(&object, ConditionType::Ready) == [status, reason];
            Ok(matches.then_some(object))
        })
        .await
    }

    /// Waits until the object has this `Ready` reason and a message that contains `says`. The message can change after
    /// the reason is set.
    pub async fn says(&self, name: &str, reason: &str, says: &str) -> Result<LiveMessageGroup> {
        self.find(&format!("{name} to be {reason}: {says}"), PATIENCE, async || {
            let object = self.api.get(name).await?;
            let ready = object.condition(ConditionType::Ready);
            let matches = is(&object, reason) && ready.is_some_and(|ready| ready.message.contains(says));
            Ok(matches.then_some(object))
        })
        .await
    }

    /// Returns the calls that the emulator has received so far, except for the calls that list groups.
    pub fn requests(&self) -> Result<Vec<Request>> {
        let requests = self.emulator.requests()?;
        Ok(requests.into_iter().filter(|request| request.operation != "ListLiveMessageGroupByPage").collect())
    }

    /// Counts the calls of an operation for this group.
    pub fn calls(&self, operation: &str, group: &str) -> Result<usize> {
        let requests = self.emulator.requests()?;
        Ok(requests.iter().filter(|r| r.operation == operation && r.param("GroupId") == Some(group)).count())
    }

    /// Counts how many calls of an operation the operator has sent, according to its log.
    pub fn sent(&self, operation: &str) -> usize {
        let of = format!("operation={operation}");
        self.log().lines().filter(|line| line.contains("call sent") && line.contains(&of)).count()
    }

    /// Counts the in-flight calls of an operation, according to the operator's log.
    pub fn in_flight(&self, operation: &str) -> usize {
        let log = self.log();
        let of = format!("operation={operation}");
        let lines = |words: &str| log.lines().filter(|line| line.contains(words) && line.contains(&of)).count();
        lines("call sent") - lines("call answered") - lines("call failed")
    }

    /// Returns all calls of an operation in the emulator's request log.
    pub fn called(&self, operation: &str) -> Result<Calls> {
        Calls::read(&self.emulator, operation)
    }
}

/// Returns the value of an environment variable that configures a test, or `default` if the variable is not set.
pub fn setting<T: FromStr<Err = ParseIntError>>(name: &str, default: T) -> Result<T> {
    std::env::var(name).map_or(Ok(default), |value| Ok(value.parse()?))
}

/// Returns the options for an emulator that has the app [`APP`].
pub fn app() -> EmulatorOptions {
    EmulatorOptions { apps: vec![APP.to_owned()], ..EmulatorOptions::default() }
}

/// Creates an object in the namespace of `api`. `appId` defaults to [`APP`].
pub async fn create_in(api: &Api<LiveMessageGroup>, name: &str, spec: Value) -> Result<LiveMessageGroup> {
    let mut merged = json!({"appId": APP});
    if let (Some(merged), Some(spec)) = (merged.as_object_mut(), spec.as_object()) {
        merged.extend(spec.clone());
    }
    let object: LiveMessageGroup = serde_json::from_value(json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
        "metadata": {"name": name}, "spec": merged
    }))?;
    Ok(api.create(&PostParams::default(), &object).await?)
}

/// Whether the object has this `Ready` reason for its latest generation.
pub fn is(object: &LiveMessageGroup, reason: &str) -> bool {
    let observed = object.status.as_ref().and_then(|status| status.observed_generation);
    observed == object.metadata.generation && condition(object, ConditionType::Ready)[1] == reason
}

/// Returns the status and reason of a condition, or two empty strings if the object does not have the condition.
pub fn condition(object: &LiveMessageGroup, kind: ConditionType) -> [&str; 2] {
    object.condition(kind).map_or(["", ""], |condition| [&condition.status, &condition.reason])
}
