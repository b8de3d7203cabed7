//! The situations of LiveAccounts.

use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use live_message_operator::decide::{AccountCondition, AccountNumbers, account_status};
use live_message_operator::resources::{ConditionType, LiveAccount, Reason};
use serde_json::{Value, json};

use super::live::FRESH;
use super::table::{ACCOUNT, Situation};
use crate::support::{ACCESS_KEY, Context as _, ControlPlane, EmulatorOptions, Result};
use crate::world::{PATIENCE, World, app};

/// The role that the emulator's STS accepts.
const ROLE: &str = "acs:ram::42:role/live";

struct Scene<'a> {
    world: World<'static>,
    api: Api<LiveAccount>,
    situations: &'a mut Vec<Situation>,
}

impl<'a> Scene<'a> {
    async fn on(world: World<'static>, situations: &'a mut Vec<Situation>) -> Result<Self> {
        let api = Api::namespaced(world.control_plane.client().await?, &world.namespace);
        Ok(Self { world, api, situations })
    }

    /// Creates the account of a situation and returns the name of the account. The endpoint defaults to the emulator.
    async fn add(&mut self, title: &str, spec: Value, metadata: Value) -> Result<String> {
        let situation = Situation::of(ACCOUNT, title, &self.world.namespace);
        let mut object = json!({
            "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveAccount",
            "metadata": {"name": situation.name()}, "spec": {"endpoint": self.world.emulator.url()},
        });
        for (field, more) in [("spec", spec), ("metadata", metadata)] {
            let (fields, more) = (object[field].as_object_mut().context(field)?, more.as_object().context(field)?);
            fields.extend(more.clone());
        }
        self.api.create(&PostParams::default(), &serde_json::from_value(object)?).await.context(title)?;
        let name = situation.name().to_owned();
        self.situations.push(situation);
        Ok(name)
    }

    /// Creates an account like [`Scene::add`], and waits until its `Ready` condition has this reason.
    async fn settle(&mut self, title: &str, spec: Value, reason: Reason) -> Result<String> {
        let name = self.add(title, spec, json!({})).await?;
        self.is(&name, reason).await?;
        Ok(name)
    }

    async fn is(&self, name: &str, reason: Reason) -> Result<()> {
        let is_reported = async || {
            let account = self.api.get(name).await?;
            let status = account.status.unwrap_or_default();
            let ready = status.condition(ConditionType::Ready);
            Ok(ready.is_some_and(|ready| ready.reason == reason.as_str())
                && status.observed_generation == account.metadata.generation)
        };
        self.world.until(&format!("LiveAccount {name} to be {reason}"), PATIENCE, is_reported).await
    }

    async fn edit(&self, name: &str) -> Result<()> {
        let edit = json!({"spec": {"requestsPerSecond": 7}});
        self.api.patch(name, &PatchParams::default(), &Patch::Merge(&edit)).await?;
        Ok(())
    }

    /// Creates an account, and writes the status that it has after two minutes without credentials. The operator's own
    /// code computes that status.
    async fn late(&mut self, title: &str, spec: Value, message: &str) -> Result<()> {
        let name = self.add(title, spec, json!({})).await?;
        let missing = AccountCondition { reason: Reason::CredentialsMissing, message: message.to_owned() };
        let none = AccountNumbers { groups: 0, queue: None };
        let start = Timestamp::now();
        for second in [0, 60, 120] {
            let account = self.api.get(&name).await?;
            let generation = account.metadata.generation.context("a generation")?;
            let now = start + SignedDuration::from_secs(second);
            let before = account.status.unwrap_or_default();
            let Some(status) = account_status(&before, generation, &missing, Some(&none), now) else { continue };
            let operations = serde_json::from_value(json!([{"op": "add", "path": "/status", "value": status}]))?;
            self.api.patch_status(&name, &PatchParams::default(), &Patch::Json::<()>(operations)).await?;
        }
        Ok(())
    }

    fn apply(&self, object: &Value) -> Result<()> {
        let apply = ["apply", "--server-side", "--validate=false", "-n", &self.world.namespace, "-f", "-"];
        self.world.control_plane.kubectl_with_input(&apply, &object.to_string()).map(drop)
    }

    fn secret(&self, name: &str, values: Value) -> Result<()> {
        self.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}))
    }
}

fn key(name: &str) -> Value {
    json!({"credentials": {"secretRef": {"name": name}}})
}

fn role(arn: &str, service_account: &str) -> Value {
    json!({"credentials": {"oidc": {
        "roleArn": arn, "oidcProviderArn": "acs:ram::42:oidc-provider/ack",
        "serviceAccountRef": {"name": service_account},
    }}})
}

fn good_key() -> Value {
    json!({"accessKeyId": ACCESS_KEY.0, "accessKeySecret": ACCESS_KEY.1})
}

/// Adds the situations in which the operator has the permissions to read Secrets and to request tokens.
pub async fn main_scene(situations: &mut Vec<Situation>) -> Result<&'static ControlPlane> {
    use Reason::{Available, CredentialsMissing, CredentialsRejected, InvalidInput};
    let mut world = World::with(EmulatorOptions { args: vec![format!("--oidc-role={ROLE}")], ..app() }).await?;
    let flags = ["--set", "rbac.secrets=namespaced", "--set", "rbac.serviceAccountTokens=namespaced"];
    let namespace = world.namespace.clone();
    world.options.kubeconfig = world.control_plane.operator_kubeconfig_with(&namespace, &[&namespace], &flags)?;
    world.options.env.push(("ALIBABA_CLOUD_STS_ENDPOINT".to_owned(), world.emulator.url().to_owned()));
    let mut scene = Scene::on(world, situations).await?;
    scene.secret("good", good_key())?;
    scene.secret("half", json!({"accessKeyId": ACCESS_KEY.0}))?;
    scene.secret("wrong", json!({"accessKeyId": ACCESS_KEY.0, "accessKeySecret": "another-secret"}))?;
    scene.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "team"}}))?;
    scene.world.start()?;

    scene.settle("the access key exists", key("good"), Available).await?;
    scene.settle("the role is assumed", role(ROLE, "team"), Available).await?;
    let port = json!({"endpoint": "https://127.0.0.1:99999", "credentials": key("good")["credentials"]});
    scene.settle("the endpoint is invalid", port, InvalidInput).await?;

    // The operator detects a wrong key only when it sends a call, so the test also creates a LiveMessageGroup.
    let rejected = scene.settle("the access key is rejected", key("wrong"), Available).await?;
    scene.world.create("room", json!({"accountRef": {"name": rejected}})).await?;
    scene.is(&rejected, CredentialsRejected).await?;
    let edited =
        scene.settle("the access key was rejected, then edited, the operator has not seen it", key("wrong"), Available);
    let edited = edited.await?;
    scene.world.create("hall", json!({"accountRef": {"name": edited}})).await?;
    scene.is(&edited, CredentialsRejected).await?;

    let held = json!({"finalizers": ["example.com/hold"]});
    let deleted = scene.add("being deleted, another controller's finalizer remains", key("good"), held).await?;
    scene.is(&deleted, Available).await?;
    scene.api.delete(&deleted, &DeleteParams::default()).await?;
    // The deletion increments the generation, which the operator must observe.
    scene.is(&deleted, Available).await?;

    let away = scene.settle("the Live API is unreachable", key("good"), Available).await?;
    let used = scene.settle("edited, the operator has not seen it", key("good"), Available).await?;
    // These situations last for two minutes, and the other steps can take that long on a busy machine. The accounts are
    // therefore created shortly before the operator stops.
    let refused = role("acs:ram::42:role/another", "team");
    let before = scene.situations.len();
    for (title, spec) in [
        ("the Secret does not exist, first 2 minutes", key("none")),
        ("the Secret lacks accessKeySecret, first 2 minutes", key("half")),
        ("the ServiceAccount does not exist, first 2 minutes", role(ROLE, "none")),
        ("STS refuses the role, first 2 minutes", refused),
    ] {
        scene.settle(title, spec, CredentialsMissing).await?;
    }
    // In the table, list the new situations after the first two situations.
    let early = scene.situations.split_off(before);
    scene.situations.splice(2..2, early);
    scene.world.emulator.process.sigkill()?;
    scene.world.create("away", json!({"accountRef": {"name": away}})).await?;
    scene.world.ready("away", "Unknown", "Unreachable").await?;
    scene.is(&away, Available).await?;
    scene.world.stop()?;
    for name in [&used, &edited] {
        scene.edit(name).await?;
    }
    scene.add(FRESH, key("good"), json!({})).await?;
    scene.late("the Secret does not exist, later", key("none"), "Secret none does not exist in this namespace").await?;
    let refused = role("acs:ram::42:role/another", "team");
    scene.late("STS refuses the role, later", refused, "STS refused the role").await?;
    Ok(scene.world.control_plane)
}

/// Adds the situations in which the operator runs without `--allow-http` and without permission to read Secrets.
pub async fn strict_scene(situations: &mut Vec<Situation>) -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.options.allow_http = false;
    world.options.endpoint = "https://127.0.0.1:9".to_owned();
    let mut scene = Scene::on(world, situations).await?;
    scene.secret("good", good_key())?;
    scene.world.start()?;
    scene.settle("the endpoint is not permitted", key("good"), Reason::InvalidInput).await?;
    let own = json!({"endpoint": "https://127.0.0.1:9", "credentials": key("good")["credentials"]});
    let title = "the operator lacks permission to read Secrets, first 2 minutes";
    scene.settle(title, own, Reason::CredentialsMissing).await?;
    scene.world.stop()
}
