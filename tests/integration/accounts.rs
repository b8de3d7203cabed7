//! LiveAccounts: the credentials and the budget of a namespace.

mod budgets;
mod oidc;

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

/// What an operator may do that serves LiveAccounts.
const FLAGS: [&str; 4] = ["--set", "rbac.secrets=namespaced", "--set", "rbac.serviceAccountTokens=true"];

/// A world whose emulator knows these keys besides the operator's own.
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

/// Another emulator with these keys and the same groups.
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

/// A LiveAccount whose Secret has the same name; `more` is merged into its spec.
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

/// Waits until a LiveAccount has this reason at `Ready` and this many groups.
pub async fn account_is(world: &World<'_>, name: &str, reason: &str, groups: i64) -> Result<LiveAccount> {
    world
        .find(&format!("LiveAccount {name} to be {reason} with {groups} groups"), PATIENCE, async || {
            let account = get_account(world, name).await?;
            let status = account.status.clone().unwrap_or_default();
            let ready = status.condition(ConditionType::Ready).map(|ready| ready.reason.clone());
            let so = ready.as_deref() == Some(reason)
                && status.groups == Some(groups)
                && status.observed_generation == account.metadata.generation;
            Ok(so.then_some(account))
        })
        .await
}

pub fn of(name: &str) -> Value {
    json!({"accountRef": {"name": name}})
}

/// Creates this many objects at once that name a LiveAccount.
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

/// How many calls were signed with this key.
pub fn calls_with(world: &World<'_>, key: &str) -> Result<usize> {
    Ok(world.emulator.requests()?.iter().filter(|request| request.access_key_id.as_deref() == Some(key)).count())
}

/// Who signed the last call for this group.
fn last_key(world: &World<'_>, group: &str) -> Result<Option<String>> {
    let requests = world.requests()?;
    Ok(requests.iter().rfind(|request| request.param("GroupId") == Some(group)).and_then(|r| r.access_key_id.clone()))
}

#[tokio::test]
async fn what_is_missing_is_told_and_heals_when_it_comes_and_when_it_is_rotated() -> Result<()> {
    let mut world = world(&[(KEY, SECRET)]).await?;
    world.options.env = vec![("RUST_LOG".into(), "trace".into())];
    world.start()?;
    world.create("room", of("team")).await?;
    let room = world.says("room", "CredentialsMissing", "LiveAccount team does not exist").await?;
    assert_eq!(condition(&room, ConditionType::Ready)[0], "False");
    let what = "Create it, or correct spec.accountRef.";
    assert_eq!(message(&room), format!("LiveAccount team does not exist in namespace {}. {what}", world.namespace));
    assert_eq!(condition(&room, ConditionType::Reconciling), ["True", "CredentialsMissing"]);
    assert_eq!(condition(&room, ConditionType::Stalled), ["", ""], "one apply may bring both");
    account(&world, "team", json!({}))?;
    let told = "LiveAccount team has no credentials: there is no Secret team in this namespace";
    world
        .until("the Secret to be missed", PATIENCE, async || Ok(message(&world.api.get("room").await?) == told))
        .await?;
    account_is(&world, "team", "CredentialsMissing", 1).await?;
    assert!(world.emulator.requests()?.is_empty(), "nothing is sent without credentials");
    secret(&world, "team", (KEY, SECRET))?;
    let came = Instant::now();
    world.ready("room", "True", "Created").await?;
    println!("ready {:?} after the Secret came", came.elapsed());
    assert_eq!(last_key(&world, "room")?.as_deref(), Some(KEY));
    let available = account_is(&world, "team", "Available", 1).await?;

    // The key is renewed on both sides, and nobody is told.
    rekey(&mut world, &[("LTAIteamKey0002", "renewed")])?;
    secret(&world, "team", ("LTAIteamKey0002", "renewed"))?;
    world.patch("room", json!({"spec": {"groupInfo": "new"}})).await?;
    world.ready("room", "True", "Created").await?;
    assert_eq!(last_key(&world, "room")?.as_deref(), Some("LTAIteamKey0002"));
    assert_eq!(get_account(&world, "team").await?.resource_version(), available.resource_version());

    // From one account to another: the next look is made with it.
    world.patch("room", json!({"spec": {"accountRef": null}})).await?;
    world.ready("room", "True", "Created").await?;
    assert_eq!(last_key(&world, "room")?.as_deref(), Some(ACCESS_KEY.0));
    account_is(&world, "team", "Available", 0).await?;
    for hush in [SECRET, "renewed", "aHVzaC10ZWFt", "cmVuZXdlZA"] {
        let log = world.log();
        let shown = log.lines().find(|line| line.contains(hush) && !line.contains("credentials renewed"));
        assert!(shown.is_none(), "the log shows {hush}: {shown:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_one_apply_brings_a_moment_later_was_never_missing() -> Result<()> {
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
    // The operator has seen it, and nothing else yet.
    tokio::time::sleep(Duration::from_millis(300)).await;
    accounts.create(&PostParams::default(), &serde_json::from_value(account)?).await?;
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    world.ready("room", "True", "Created").await?;
    account_is(&world, "team", "Available", 1).await?;
    let log = world.log();
    // On a machine that stood still meanwhile it may have been missing for long.
    let soon = |line: &&str| {
        let at = line.split_whitespace().next().and_then(|at| at.parse::<Timestamp>().ok());
        at.is_none_or(|at| at.duration_since(began).as_secs_f64() < 2.0)
    };
    let missed: Vec<&str> = log.lines().filter(|line| line.contains("CredentialsMissing")).filter(soon).collect();
    assert!(missed.is_empty(), "{missed:#?}");
    Ok(())
}

#[tokio::test]
async fn objects_behind_a_rejected_key_say_so_when_its_account_is_deleted() -> Result<()> {
    let mut world = world(&[]).await?;
    world.start()?;
    secret(&world, "team", (KEY, SECRET))?;
    account(&world, "team", json!({}))?;
    create_many(&world, "room", 5, "team", &json!({})).await?;
    world.count_of("CredentialsRejected", 5, PATIENCE).await?;
    world.control_plane.kubectl(&["delete", "lacc", "team", "-n", &world.namespace])?;
    // Sooner than the next probe, a minute after the first.
    let rooms = world.count_of("CredentialsMissing", 5, 40).await?;
    assert!(message(&rooms[0]).starts_with("LiveAccount team does not exist"), "{}", message(&rooms[0]));
    account(&world, "team", json!({}))?;
    world.count_of("CredentialsRejected", 5, PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn an_account_that_cannot_be_used_says_why() -> Result<()> {
    let mut world = world(&[]).await?;
    world.start()?;
    account(&world, "team", json!({"endpoint": "https://127.0.0.1:99999"}))?;
    world.create("room", of("team")).await?;
    world.create("own", json!({})).await?;
    let room = world.says("room", "CredentialsMissing", "LiveAccount team cannot be used: endpoint").await?;
    assert_eq!(condition(&room, ConditionType::Ready)[0], "False");
    let told = account_is(&world, "team", "InvalidInput", 1).await?.status.unwrap_or_default();
    assert!(told.condition(ConditionType::Stalled).is_some(), "{told:?}");
    world.ready("own", "True", "Created").await?;
    account(&world, "team", json!({}))?;
    secret(&world, "team", ACCESS_KEY)?;
    world.ready("room", "True", "Created").await?;
    let of_account = |reason: &str| -> Result<usize> {
        let events = world.control_plane.kubectl(&["get", "events", "-n", &world.namespace, "-o", "json"])?;
        let events: Value = serde_json::from_str(&events)?;
        let items = events["items"].as_array().into_iter().flatten();
        Ok(items.filter(|e| e["involvedObject"]["kind"] == "LiveAccount" && e["reason"] == reason).count())
    };
    // They are sent in their order: with this one all those before it have come.
    account_is(&world, "team", "Available", 1).await?;
    world.until("the account's last event", PATIENCE, async || Ok(of_account("Available")? > 0)).await?;
    assert_eq!(of_account("InvalidInput")?, 1, "one event a transition");
    Ok(())
}

#[tokio::test]
async fn an_endpoint_of_plain_http_is_refused_where_the_operator_does_not_allow_it() -> Result<()> {
    let mut world = world(&[(KEY, SECRET)]).await?;
    world.options.allow_http = false;
    // Its own must be https then; nobody listens there.
    world.options.endpoint = "https://127.0.0.1:9".into();
    secret(&world, "team", (KEY, SECRET))?;
    account(&world, "team", json!({}))?;
    world.create("room", of("team")).await?;
    world.start()?;
    let told = account_is(&world, "team", "InvalidInput", 1).await?.status.unwrap_or_default();
    let stalled = told.condition(ConditionType::Stalled).map(|stalled| stalled.message.clone()).unwrap_or_default();
    assert!(stalled.contains("is plain http: use https, or allow it with --allow-http"), "{stalled}");
    let room = world.says("room", "CredentialsMissing", "LiveAccount team cannot be used: endpoint \"http://").await?;
    assert_eq!(condition(&room, ConditionType::Ready)[0], "False");
    assert!(world.emulator.requests()?.is_empty(), "nothing was sent in the clear");

    // The operator's own: it does not start.
    world.stop()?;
    world.options.endpoint = world.emulator.url().to_owned();
    world.start()?;
    let operator = world.operator.as_mut().unwrap();
    assert!(!operator.process.wait(Duration::from_secs(60))?.success());
    assert!(operator.process.log().contains("is plain http"), "{}", operator.process.log());

    // Allowed, the same LiveAccount is used.
    world.options.allow_http = true;
    world.start()?;
    world.ready("room", "True", "Created").await?;
    account_is(&world, "team", "Available", 1).await.map(drop)
}

#[tokio::test]
async fn a_group_has_one_holder_whatever_the_account() -> Result<()> {
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
async fn the_places_of_an_account_are_counted_anew_when_it_becomes_another_one() -> Result<()> {
    let mut world = world(&[(KEY, SECRET)]).await?;
    world.options.args.extend(["--drift-check-interval=168h".to_owned(), "--max-groups-per-app=1".to_owned()]);
    let other = Emulator::start(&emulator(&[(KEY, SECRET)]))?;
    world.start()?;
    secret(&world, "team", (KEY, SECRET))?;
    account(&world, "team", json!({}))?;
    for (name, reason) in [("first", "Created"), ("second", "QuotaExceeded")] {
        world.create(name, of("team")).await?;
        world.count_of(reason, 1, PATIENCE).await?;
    }
    // Or it might be the first to make its group in the other app.
    world.patch("first", json!({"metadata": {"annotations": {"live.alibabacloud.com/paused": "true"}}})).await?;
    let paused = async || Ok(condition(&world.api.get("first").await?, ConditionType::Paused)[0] == "True");
    world.until("the pause to be told", PATIENCE, paused).await?;
    account(&world, "team", json!({"endpoint": other.url()}))?;
    world.ready("second", "True", "Created").await?;
    Ok(())
}

#[tokio::test]
async fn a_count_that_was_under_way_when_its_account_became_another_one_is_made_again() -> Result<()> {
    let full = EmulatorOptions { groups: [format!("{APP}/there")].into(), ..emulator(&[(KEY, SECRET)]) };
    let mut world = world_over(full).await?;
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
async fn a_key_of_two_lines_is_told_and_not_sent() -> Result<()> {
    let mut world = world(&[]).await?;
    world.start()?;
    secret(&world, "team", (&format!("{KEY}\n{KEY}"), SECRET))?;
    account(&world, "team", json!({}))?;
    world.create("room", of("team")).await?;
    let room = world.ready("room", "False", "CredentialsMissing").await?;
    let expected = "LiveAccount team has no credentials: Secret team: the access key id holds a line break or another \
                    control character";
    assert_eq!(message(&room), expected);
    account_is(&world, "team", "CredentialsMissing", 1).await?;
    assert!(world.emulator.requests()?.is_empty());
    Ok(())
}
