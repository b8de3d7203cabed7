//! Tests that a thousand settled objects cause no calls and no writes while other objects change. The tests count calls
//! in the request log of the emulator and writes in the audit log of the apiserver.

mod faults;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt as _;
use live_message_operator::resources::{ConditionType, LiveMessageGroup};
use serde_json::{Value, json};

use crate::accounts::{KEY, SECRET, account, account_is, create_many, message, secret, world};
use crate::calls::Calls;
use crate::support::{Error, Result};
use crate::world::{World, condition, is};

const SETTLED: usize = 1_000;

/// Disables drift checks during the test, because they call the Live API.
const NO_DRIFT_CHECK: &str = "--drift-check-interval=168h";

/// Waits until exactly `count` objects with this name prefix have this reason. Polls once per second, because the list
/// is large.
async fn wait_for_all(
    world: &World<'_>,
    prefix: &str,
    reason: &str,
    count: usize,
    seconds: u64,
) -> Result<Vec<LiveMessageGroup>> {
    let started = Instant::now();
    loop {
        let objects = with_prefix(world, prefix).await?;
        let matching = objects.iter().filter(|object| is(object, reason)).count();
        if matching == count {
            return Ok(objects);
        }
        let waited = started.elapsed();
        if waited > Duration::from_secs(seconds) {
            return Err(Error::new(format!("{matching} of {count} objects are {reason} after {waited:?}")));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn with_prefix(world: &World<'_>, prefix: &str) -> Result<Vec<LiveMessageGroup>> {
    Ok(world.list().await?.into_iter().filter(|object| object.name_any().starts_with(prefix)).collect())
}

fn versions(objects: &[LiveMessageGroup]) -> BTreeMap<String, Option<String>> {
    objects.iter().map(|object| (object.name_any(), object.resource_version())).collect()
}

/// Returns the resource and the name of each write that a ServiceAccount made in the world's namespace after this time.
fn writes(world: &World<'_>, after: Timestamp) -> Result<Vec<(String, String)>> {
    let text =
        |line: &Value, pointer: &str| line.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut writes = Vec::new();
    for line in world.control_plane.audit_log_of(&world.namespace)? {
        let at: Timestamp = text(&line, "/requestReceivedTimestamp").parse()?;
        if at > after && text(&line, "/user/username").starts_with("system:serviceaccount:") {
            writes.push((text(&line, "/objectRef/resource"), text(&line, "/objectRef/name")));
        }
    }
    Ok(writes)
}

/// Selects the writes to settled objects. Events are excluded, because creation events may arrive late.
fn writes_to_settled(writes: &[(String, String)]) -> Vec<&(String, String)> {
    writes.iter().filter(|(kind, name)| kind == "livemessagegroups" && name.starts_with("settled")).collect()
}

#[tokio::test]
async fn restart_in_sync_makes_no_calls_and_no_writes() -> Result<()> {
    const QUIET: Duration = Duration::from_secs(120);
    let mut world = world(&[]).await?;
    world.options.args.push(NO_DRIFT_CHECK.into());
    let begun = Timestamp::now();
    world.create_many("settled", SETTLED).await?;
    world.start()?;
    let settled = wait_for_all(&world, "settled", "Created", SETTLED, 180).await?;
    assert!(writes_to_settled(&writes(&world, begun)?).len() >= SETTLED, "the audit log records the writes");
    world.stop()?;
    // The apiserver may still process requests of the operator after the operator has exited. Wait until it records no
    // further writes.
    let mut recorded = 0;
    while recorded != writes(&world, begun)?.len() {
        recorded = writes(&world, begun)?.len();
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    let (before, calls, stopped) = (versions(&settled), world.emulator.requests()?.len(), Timestamp::now());
    world.start()?;
    tokio::time::sleep(QUIET).await;
    assert_eq!(world.emulator.requests()?.len(), calls, "no call of any kind");
    assert_eq!(writes(&world, stopped)?, Vec::new(), "no write of any kind");
    assert!(versions(&with_prefix(&world, "settled").await?) == before, "an object has changed");
    // Check that the operator still reconciles objects.
    world.create("new", json!({})).await?;
    world.ready("new", "True", "Created").await.map(drop)
}

#[tokio::test]
async fn revoked_key_affects_only_objects_with_pending_work() -> Result<()> {
    // The number of new objects exceeds `WINDOW`, the maximum number of in-flight calls.
    const NEW: usize = 100;
    const WINDOW: usize = 50;
    let mut world = world(&[(KEY, SECRET)]).await?;
    world.options.args.push(NO_DRIFT_CHECK.into());
    secret(&world, "team", (KEY, SECRET))?;
    account(&world, "team", json!({}))?;
    create_many(&world, "settled", SETTLED, "team", &json!({})).await?;
    world.start()?;
    let settled = wait_for_all(&world, "settled", "Created", SETTLED, 180).await?;
    account_is(&world, "team", "Available", i64::try_from(SETTLED)?).await?;
    let before = versions(&settled);

    let revoked = Timestamp::now();
    world.emulator.delete(&format!("/keys/{KEY}"))?;
    create_many(&world, "new", NEW, "team", &json!({})).await?;
    world.create("own", json!({})).await?;
    for object in wait_for_all(&world, "new", "CredentialsRejected", NEW, 120).await? {
        assert!(message(&object).contains("rejected the credentials of LiveAccount team"), "{}", message(&object));
        assert_eq!(condition(&object, ConditionType::Stalled), ["True", "CredentialsRejected"]);
    }
    world.ready("own", "True", "Created").await?;
    account_is(&world, "team", "CredentialsRejected", i64::try_from(SETTLED + NEW)?).await?;

    let two_probes = async || Ok(probes(&call_times(&world, revoked)?).1.len() == 2);
    world.until("two probes", 200, two_probes).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (initial, gaps) = probes(&call_times(&world, revoked)?);
    println!("{NEW} new objects with a revoked key: {initial} calls at first, then one after each of {gaps:.1?} s");
    // The initial calls were in flight when the first rejection arrived. Usually, there are only a few such calls, but
    // on a slow machine there can be more.
    assert!(initial <= WINDOW, "{initial} calls");
    assert!(gaps.len() == 2 && gaps.iter().all(|gap| *gap >= 59.0), "at most one call per minute: {gaps:?}");
    let written = writes(&world, revoked)?;
    assert_eq!(writes_to_settled(&written), Vec::<&(String, String)>::new());
    let status_writes =
        written.iter().filter(|(kind, name)| kind == "livemessagegroups" && name.starts_with("new")).count();
    println!("{status_writes} status writes of {NEW} objects, none of {SETTLED}");
    assert!((NEW..=2 * NEW).contains(&status_writes), "{status_writes} status writes");

    world.emulator.set(&format!("/keys/{KEY}"), &json!({"secret": SECRET}))?;
    let (restored, at) = (Instant::now(), Timestamp::now());
    wait_for_all(&world, "new", "Created", NEW, 180).await?;
    println!("all Ready {:?} after the key was restored", restored.elapsed());
    // The first success unblocks all objects.
    let healed = Calls::read(&world.emulator, "CreateLiveMessageGroup")?.of_key(KEY).after(at).span();
    assert!(healed < Duration::from_secs(30), "the creates took {healed:?}");
    assert_eq!(writes_to_settled(&writes(&world, revoked)?), Vec::<&(String, String)>::new());
    assert!(versions(&with_prefix(&world, "settled").await?) == before, "a settled object has changed");
    account_is(&world, "team", "Available", i64::try_from(SETTLED + NEW)?).await.map(drop)
}

/// Returns the arrival times of all calls that were signed with the LiveAccount's key and arrived after this time.
fn call_times(world: &World<'_>, after: Timestamp) -> Result<Vec<Timestamp>> {
    let requests = world.emulator.requests()?;
    let of_team = requests.iter().filter(|request| request.access_key_id.as_deref() == Some(KEY));
    let times: Vec<Timestamp> = of_team.map(|request| request.arrived()).collect::<Result<_>>()?;
    Ok(times.into_iter().filter(|at| *at > after).collect())
}

/// Returns the number of calls within 30 s of the first call, and the intervals, in seconds, between the later calls.
/// The first interval starts at the first call.
fn probes(times: &[Timestamp]) -> (usize, Vec<f64>) {
    let initial = times.iter().filter(|at| seconds(times[0], **at) < 30.0).count();
    let before = times.iter().take(1).chain(&times[initial..]);
    (initial, before.zip(&times[initial..]).map(|(before, at)| seconds(*before, *at)).collect())
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}
