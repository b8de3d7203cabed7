//! LiveAccounts: credentials and request budgets for the objects of a namespace.

mod budgets;
mod endpoints;
mod hostile;
mod oidc;
mod queued;

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use live_message_operator::resources::{ConditionType, LiveAccount, LiveMessageGroup};
use serde_json::{Value, json};

use crate::support::{ACCESS_KEY, Emulator, EmulatorOptions, Result};
use crate::world::{APP, PATIENCE, World, app, condition};

pub const KEY: &str = "LTAIteamKey0001";
pub const SECRET: &str = "hush-team/secret+1=";

const LIST: &str = "ListLiveMessageGroupByPage";

/// Chart values that grant the operator the permissions that LiveAccounts require.
const FLAGS: [&str; 4] = ["--set", "rbac.secrets=namespaced", "--set", "rbac.serviceAccountTokens=namespaced"];

/// Arguments that permit LiveAccounts to use any endpoint on loopback.
const LOOPBACK: [&str; 2] = ["--account-endpoints=127.0.0.1", "--account-allow-http"];

/// Creates a world whose emulator accepts these keys in addition to the operator's own key.
pub async fn world(keys: &[(&str, &str)]) -> Result<World<'static>> {
    world_over(emulator(keys)).await
}

async fn world_over(emulator: EmulatorOptions) -> Result<World<'static>> {
    let mut world = World::with(emulator).await?;
    let namespace = world.namespace.clone();
    world.options.kubeconfig = world.control_plane.operator_kubeconfig_with(&namespace, &[&namespace], &FLAGS)?;
    Ok(world)
}

pub fn emulator(keys: &[(&str, &str)]) -> EmulatorOptions {
    let access_keys = [ACCESS_KEY].iter().chain(keys).map(|(id, secret)| ((*id).to_owned(), (*secret).to_owned()));
    EmulatorOptions { access_keys: access_keys.collect(), ..app() }
}

/// Replaces the emulator with a new one that accepts these keys and has the same groups.
fn rekey(world: &mut World<'_>, keys: &[(&str, &str)]) -> Result<()> {
    let state = world.emulator.get("/state")?;
    world.replace_emulator(emulator(keys))?;
    world.emulator.set("/state", &state)
}

fn apply(world: &World<'_>, object: &Value) -> Result<()> {
    let apply = ["apply", "--server-side", "--validate=false", "-n", &world.namespace, "-f", "-"];
    world.control_plane.kubectl_with_input(&apply, &object.to_string()).map(drop)
}

pub fn secret(world: &World<'_>, name: &str, (id, secret): (&str, &str)) -> Result<()> {
    let values = json!({"accessKeyId": id, "accessKeySecret": secret});
    apply(world, &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}))
}

/// Applies a LiveAccount that uses the Secret of the same name. `more` is merged into the spec of the LiveAccount.
pub fn account(world: &World<'_>, name: &str, more: Value) -> Result<()> {
    let mut spec = json!({"credentials": {"secretRef": {"name": name}}, "endpoint": world.emulator.url()});
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    apply(
        world,
        &json!({
            "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveAccount",
            "metadata": {"name": name}, "spec": spec
        }),
    )
}

async fn get_account(world: &World<'_>, name: &str) -> Result<LiveAccount> {
    let api: Api<LiveAccount> = Api::namespaced(world.control_plane.client().await?, &world.namespace);
    Ok(api.get(name).await?)
}

/// Waits until a LiveAccount reports this reason in its `Ready` condition and this number of groups in its status.
pub async fn account_is(world: &World<'_>, name: &str, reason: &str, groups: i64) -> Result<LiveAccount> {
    world
        .find(&format!("LiveAccount {name} to be {reason} with {groups} groups"), PATIENCE, async || {
            let account = get_account(world, name).await?;
            let status = account.status.clone().unwrap_or_default();
            let ready = status.condition(ConditionType::Ready).map(|ready| ready.reason.clone());
            let matches = ready.as_deref() == Some(reason)
                && status.groups == Some(groups)
                && status.observed_generation == account.metadata.generation;
            Ok(matches.then_some(account))
        })
        .await
}

pub fn of(name: &str) -> Value {
    json!({"accountRef": {"name": name}})
}

/// Creates objects that use a LiveAccount, 32 at a time. `more` is merged into their specs.
pub async fn create_many(world: &World<'_>, prefix: &str, count: usize, account: &str, more: &Value) -> Result<()> {
    let all = futures::stream::iter((0..count).map(|number| format!("{prefix}{number:04}")));
    all.map(async |name| {
        let mut spec = of(account);
        if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
            spec.extend(more.clone());
        }
        world.create(&name, spec).await.map(drop)
    })
    .buffer_unordered(32)
    .try_collect()
    .await
}

pub fn message(object: &LiveMessageGroup) -> String {
    object.condition(ConditionType::Ready).map(|ready| ready.message.clone()).unwrap_or_default()
}

/// Counts the calls that were signed with this key.
pub fn calls_with(world: &World<'_>, key: &str) -> Result<usize> {
    Ok(world.emulator.requests()?.iter().filter(|request| request.access_key_id.as_deref() == Some(key)).count())
}

/// Returns the access key ID of the last call for this group, or `None` if there is no such call.
fn last_key(world: &World<'_>, group: &str) -> Result<Option<String>> {
    let requests = world.requests()?;
    Ok(requests.iter().rfind(|request| request.param("GroupId") == Some(group)).and_then(|r| r.access_key_id.clone()))
}

#[tokio::test]
async fn missing_and_rotated_credentials_recover_without_restart() -> Result<()> {
    let mut world = world(&[(KEY, SECRET)]).await?;
    world.options.env = vec![("RUST_LOG".into(), "trace".into())];
    world.start()?;
    world.create("room", of("team")).await?;
    let room = world.says("room", "CredentialsMissing", "LiveAccount team does not exist").await?;
    assert_eq!(condition(&room, ConditionType::Ready)[0], "False");
    let advice = "Create it, or correct spec.accountRef.";
    assert_eq!(message(&room), format!("LiveAccount team does not exist in namespace {}. {advice}", world.namespace));
    assert_eq!(condition(&room, ConditionType::Reconciling), ["True", "CredentialsMissing"]);
    assert_eq!(condition(&room, ConditionType::Stalled), ["", ""], "the same apply may create the LiveAccount");
    account(&world, "team", json!({}))?;
    let missing = "LiveAccount team has no credentials: Secret team does not exist in this namespace: create it";
    world
        .until("the Secret to be reported as missing", PATIENCE, async || {
            Ok(message(&world.api.get("room").await?) == missing)
        })
        .await?;
    account_is(&world, "team", "CredentialsMissing", 1).await?;
    assert!(world.emulator.requests()?.is_empty(), "no call without credentials");
    secret(&world, "team", (KEY, SECRET))?;
    let created = Instant::now();
    world.ready("room", "True", "Created").await?;
    println!("ready {:?} after the Secret was created", created.elapsed());
    assert_eq!(last_key(&world, "room")?.as_deref(), Some(KEY));
    let available = account_is(&world, "team", "Available", 1).await?;

    // Rotate the key in the emulator and in the Secret. The LiveAccount does not change.
    rekey(&mut world, &[("LTAIteamKey0002", "renewed")])?;
    secret(&world, "team", ("LTAIteamKey0002", "renewed"))?;
    world.patch("room", json!({"spec": {"groupInfo": "new"}})).await?;
    world.ready("room", "True", "Created").await?;
    assert_eq!(last_key(&world, "room")?.as_deref(), Some("LTAIteamKey0002"));
    assert_eq!(get_account(&world, "team").await?.resource_version(), available.resource_version());

    // After accountRef is removed, the next call uses the operator's own key. According to the status, the group was
    // created with the key of the LiveAccount. It therefore counts as adopted.
    world.patch("room", json!({"spec": {"accountRef": null}})).await?;
    let room = world.ready("room", "True", "AlreadyExists").await?;
    let account = room.status.and_then(|status| status.account).unwrap_or_default();
    assert_eq!((account.name.as_str(), account.service.starts_with("127.0.0.1:")), ("", true));
    assert_eq!(last_key(&world, "room")?.as_deref(), Some(ACCESS_KEY.0));
    account_is(&world, "team", "Available", 0).await?;
    for hidden in [SECRET, "renewed", "aHVzaC10ZWFt", "cmVuZXdlZA"] {
        let log = world.log();
        let leak = log.lines().find(|line| line.contains(hidden) && !line.contains("credentials renewed"));
        assert!(leak.is_none(), "the log contains {hidden}: {leak:?}");
    }
    Ok(())
}

#[tokio::test]
async fn account_created_after_its_object_is_not_reported_missing() -> Result<()> {
    let mut world = world(&[(KEY, SECRET)]).await?;
    world.start()?;
    world.create("own", json!({})).await?;
    world.ready("own", "True", "Created").await?;
    let client = world.control_plane.client().await?;
    let (secrets, accounts) = (
        Api::<Secret>::namespaced(client.clone(), &world.namespace),
        Api::<LiveAccount>::namespaced(client, &world.namespace),
    );
    let credentials = json!({"secretRef": {"name": "team"}});
    let secret = json!({
        "metadata": {"name": "team"}, "stringData": {"accessKeyId": KEY, "accessKeySecret": SECRET}
    });
    let account = json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveAccount", "metadata": {"name": "team"},
        "spec": {"credentials": credentials, "endpoint": world.emulator.url()}
    });
    let began = Timestamp::now();
    world.create("room", of("team")).await?;
    // Give the operator time to process the object before the LiveAccount exists.
    tokio::time::sleep(Duration::from_millis(300)).await;
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    accounts.create(&PostParams::default(), &serde_json::from_value(account)?).await?;
    world.ready("room", "True", "Created").await?;
    account_is(&world, "team", "Available", 1).await?;
    let log = world.log();
    // On a slow machine, the grace period of 2 s may end before the LiveAccount exists. Ignore later reports.
    let is_within_grace = |line: &&str| {
        let at = line.split_whitespace().next().and_then(|at| at.parse::<Timestamp>().ok());
        at.is_none_or(|at| at.duration_since(began).as_secs_f64() < 2.0)
    };
    let reported: Vec<&str> =
        log.lines().filter(|line| line.contains("CredentialsMissing")).filter(is_within_grace).collect();
    assert!(reported.is_empty(), "{reported:#?}");
    Ok(())
}

#[tokio::test]
async fn deleted_account_with_rejected_key_is_reported_missing() -> Result<()> {
    let mut world = world(&[]).await?;
    world.start()?;
    secret(&world, "team", (KEY, SECRET))?;
    account(&world, "team", json!({}))?;
    create_many(&world, "room", 5, "team", &json!({})).await?;
    world.count_of("CredentialsRejected", 5, PATIENCE).await?;
    world.control_plane.kubectl(&["delete", "lacc", "team", "-n", &world.namespace])?;
    // The timeout is shorter than the probe interval of one minute, so a probe cannot change the reason.
    let rooms = world.count_of("CredentialsMissing", 5, 40).await?;
    assert!(message(&rooms[0]).starts_with("LiveAccount team does not exist"), "{}", message(&rooms[0]));
    account(&world, "team", json!({}))?;
    world.count_of("CredentialsRejected", 5, PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn account_with_invalid_endpoint_reports_the_reason() -> Result<()> {
    let mut world = world(&[]).await?;
    world.start()?;
    account(&world, "team", json!({"endpoint": "https://127.0.0.1:99999"}))?;
    world.create("room", of("team")).await?;
    world.create("own", json!({})).await?;
    let room = world.says("room", "CredentialsMissing", "LiveAccount team cannot be used: endpoint").await?;
    assert_eq!(condition(&room, ConditionType::Ready)[0], "False");
    let status = account_is(&world, "team", "InvalidInput", 1).await?.status.unwrap_or_default();
    assert!(status.condition(ConditionType::Stalled).is_some(), "{status:?}");
    world.ready("own", "True", "Created").await?;
    account(&world, "team", json!({}))?;
    secret(&world, "team", ACCESS_KEY)?;
    world.ready("room", "True", "Created").await?;
    let account_events = |reason: &str| -> Result<usize> {
        let events = world.control_plane.kubectl(&["get", "events", "-n", &world.namespace, "-o", "json"])?;
        let events: Value = serde_json::from_str(&events)?;
        let items = events["items"].as_array().into_iter().flatten();
        Ok(items.filter(|e| e["involvedObject"]["kind"] == "LiveAccount" && e["reason"] == reason).count())
    };
    // Events are sent in order, so all earlier events arrive before this one.
    account_is(&world, "team", "Available", 1).await?;
    world.until("the last event of the account", PATIENCE, async || Ok(account_events("Available")? > 0)).await?;
    assert_eq!(account_events("InvalidInput")?, 1, "one event per transition");
    Ok(())
}

#[tokio::test]
async fn group_has_one_owner_across_accounts() -> Result<()> {
    let mut world = world(&[(KEY, SECRET)]).await?;
    secret(&world, "team", (KEY, SECRET))?;
    account(&world, "team", json!({}))?;
    world.start()?;
    world.create("first", json!({"groupId": "shared"})).await?;
    world.ready("first", "True", "Created").await?;
    world.create("second", json!({"groupId": "shared", "accountRef": {"name": "team"}})).await?;
    world.ready("second", "False", "Conflict").await?;
    assert_eq!(calls_with(&world, KEY)?, 0);
    world.delete("first").await?;
    world.ready("second", "True", "AlreadyExists").await?;
    assert_eq!(last_key(&world, "shared")?.as_deref(), Some(KEY));
    Ok(())
}

#[tokio::test]
async fn changed_account_endpoint_recounts_the_usage() -> Result<()> {
    let mut world = world(&[(KEY, SECRET)]).await?;
    world.options.args.extend(LOOPBACK.map(str::to_owned));
    world.options.args.extend(["--drift-check-interval=168h".to_owned(), "--max-groups-per-app=1".to_owned()]);
    let other = Emulator::start(&emulator(&[(KEY, SECRET)]))?;
    world.start()?;
    secret(&world, "team", (KEY, SECRET))?;
    account(&world, "team", json!({}))?;
    for (name, reason) in [("first", "Created"), ("second", "QuotaExceeded")] {
        world.create(name, of("team")).await?;
        world.count_of(reason, 1, PATIENCE).await?;
    }
    // Pause the first object, because it could use up the quota in the other emulator.
    world.patch("first", json!({"metadata": {"annotations": {"live.alibabacloud.com/paused": "true"}}})).await?;
    let paused = async || Ok(condition(&world.api.get("first").await?, ConditionType::Paused)[0] == "True");
    world.until("the pause to be reported", PATIENCE, paused).await?;
    account(&world, "team", json!({"endpoint": other.url()}))?;
    world.ready("second", "True", "Created").await?;
    Ok(())
}

#[tokio::test]
async fn in_flight_usage_count_is_repeated_after_endpoint_change() -> Result<()> {
    let full = EmulatorOptions { groups: [format!("{APP}/there")].into(), ..emulator(&[(KEY, SECRET)]) };
    let mut world = world_over(full).await?;
    world.options.args.extend(LOOPBACK.map(str::to_owned));
    world
        .options
        .args
        .extend(["--drift-check-interval=168h", "--max-groups-per-app=1", "--request-timeout=60s"].map(str::to_owned));
    world.emulator.faults(&[&format!("{LIST}:slow=10000,times=1")])?;
    let other = Emulator::start(&emulator(&[(KEY, SECRET)]))?;
    world.start()?;
    secret(&world, "team", (KEY, SECRET))?;
    account(&world, "team", json!({}))?;
    world.create("room", of("team")).await?;
    world.until("the count to be sent", PATIENCE, async || Ok(world.in_flight(LIST) == 1)).await?;
    account(&world, "team", json!({"endpoint": other.url()}))?;
    world.ready("room", "True", "Created").await?;
    Ok(())
}

#[tokio::test]
async fn access_key_with_line_break_is_reported_and_not_sent() -> Result<()> {
    let mut world = world(&[]).await?;
    world.start()?;
    secret(&world, "team", (&format!("{KEY}\n{KEY}"), SECRET))?;
    account(&world, "team", json!({}))?;
    world.create("room", of("team")).await?;
    let room = world.ready("room", "False", "CredentialsMissing").await?;
    let expected = "LiveAccount team has no credentials: Secret team: the access key ID contains a line break or \
                    another control character";
    assert_eq!(message(&room), expected);
    account_is(&world, "team", "CredentialsMissing", 1).await?;
    assert!(world.emulator.requests()?.is_empty());
    Ok(())
}
