//! A thousand settled objects cost nothing, whatever happens beside them: what is counted is every call that the emulator
//! received, and every write that the apiserver's audit log tells of.
//!
//! These take minutes and wait for most of them; they stand early in the alphabet, so that the others run meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt as _;
use live_message_operator::resources::{ConditionType, LiveMessageGroup};
use serde_json::{Value, json};

use crate::accounts::{KEY, SECRET, account, account_is, create_many, message, secret, world};
use crate::calls::Calls;
use crate::support::{Context as _, Error, Result};
use crate::world::{World, condition, is};

const SETTLED: usize = 1_000;

/// The sweep of the settled ones is not what is counted here.
const NO_SWEEP: &str = "--drift-check-interval=168h";

/// Waits until that many objects whose names begin so have this reason, looking now and then: a list is large.
async fn become_so(
    world: &World<'_>,
    prefix: &str,
    reason: &str,
    count: usize,
    seconds: u64,
) -> Result<Vec<LiveMessageGroup>> {
    let started = Instant::now();
    loop {
        let objects = named(world, prefix).await?;
        let so = objects.iter().filter(|object| is(object, reason)).count();
        if so == count {
            return Ok(objects);
        }
        let waited = started.elapsed();
        if waited > Duration::from_secs(seconds) {
            return Err(Error::new(format!("{so} of {count} objects are {reason} after {waited:?}")));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn named(world: &World<'_>, prefix: &str) -> Result<Vec<LiveMessageGroup>> {
    Ok(world.list().await?.into_iter().filter(|object| object.name_any().starts_with(prefix)).collect())
}

fn versions(objects: &[LiveMessageGroup]) -> BTreeMap<String, Option<String>> {
    objects.iter().map(|object| (object.name_any(), object.resource_version())).collect()
}

/// The operator's writes in the world's namespace after this moment: kind, and name of the object.
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

/// The writes to settled objects; the events of their creation are sent one by one, and may come late.
fn settled_ones(writes: &[(String, String)]) -> Vec<&(String, String)> {
    writes.iter().filter(|(kind, name)| kind == "livemessagegroups" && name.starts_with("settled")).collect()
}

#[tokio::test]
async fn a_restart_with_everything_in_sync_makes_no_call_and_no_write_for_two_minutes() -> Result<()> {
    const QUIET: Duration = Duration::from_secs(120);
    let mut world = world(&[]).await?;
    world.options.args.push(NO_SWEEP.into());
    let begun = Timestamp::now();
    world.create_many("settled", SETTLED).await?;
    world.start()?;
    let settled = become_so(&world, "settled", "Created", SETTLED, 180).await?;
    assert!(settled_ones(&writes(&world, begun)?).len() >= SETTLED, "the audit log tells of writes");
    world.stop()?;
    // What the operator has sent last the apiserver may read later.
    let mut heard = 0;
    while heard != writes(&world, begun)?.len() {
        heard = writes(&world, begun)?.len();
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    let (before, calls, stopped) = (versions(&settled), world.emulator.requests()?.len(), Timestamp::now());
    world.start()?;
    tokio::time::sleep(QUIET).await;
    assert_eq!(world.emulator.requests()?.len(), calls, "no call of any kind");
    assert_eq!(writes(&world, stopped)?, Vec::new(), "no write of any kind");
    assert!(versions(&named(&world, "settled").await?) == before, "an object has changed");
    // It was not asleep.
    world.create("new", json!({})).await?;
    world.ready("new", "True", "Created").await.map(drop)
}

#[tokio::test]
async fn a_revoked_key_is_told_by_those_with_work_only_and_one_success_heals_all() -> Result<()> {
    // More than can be on their way at once.
    const NEW: usize = 100;
    const WINDOW: usize = 50;
    let mut world = world(&[(KEY, SECRET)]).await?;
    world.options.args.push(NO_SWEEP.into());
    secret(&world, "team", (KEY, SECRET))?;
    account(&world, "team", json!({}))?;
    create_many(&world, "settled", SETTLED, "team", &json!({})).await?;
    world.start()?;
    let settled = become_so(&world, "settled", "Created", SETTLED, 180).await?;
    account_is(&world, "team", "Available", i64::try_from(SETTLED)?).await?;
    let before = versions(&settled);

    let revoked = Timestamp::now();
    world.emulator.delete(&format!("/keys/{KEY}"))?;
    create_many(&world, "new", NEW, "team", &json!({})).await?;
    world.create("own", json!({})).await?;
    for object in become_so(&world, "new", "CredentialsRejected", NEW, 120).await? {
        assert!(message(&object).contains("rejected the credentials of LiveAccount team"), "{}", message(&object));
        assert_eq!(condition(&object, ConditionType::Stalled), ["True", "CredentialsRejected"]);
    }
    world.ready("own", "True", "Created").await?;
    account_is(&world, "team", "CredentialsRejected", i64::try_from(SETTLED + NEW)?).await?;

    let two_probes = async || Ok(probes(&calls(&world, revoked)?).1.len() == 2);
    world.until("two probes", 200, two_probes).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (at_first, gaps) = probes(&calls(&world, revoked)?);
    println!("{NEW} new objects with a revoked key: {at_first} calls at first, then one after each of {gaps:.1?} s");
    // At first: those that were on their way before the first refusal came, few unless the machine is slow.
    assert!(at_first <= WINDOW, "{at_first} calls");
    assert!(gaps.len() == 2 && gaps.iter().all(|gap| *gap >= 59.0), "at most one call a minute: {gaps:?}");
    let written = writes(&world, revoked)?;
    assert_eq!(settled_ones(&written), Vec::<&(String, String)>::new());
    let told = written.iter().filter(|(kind, name)| kind == "livemessagegroups" && name.starts_with("new")).count();
    println!("{told} status writes of {NEW} objects, none of {SETTLED}");
    assert!((NEW..=2 * NEW).contains(&told), "{told} status writes");

    world.emulator.set(&format!("/keys/{KEY}"), &json!({"secret": SECRET}))?;
    let (restored, at) = (Instant::now(), Timestamp::now());
    become_so(&world, "new", "Created", NEW, 180).await?;
    println!("all Ready {:?} after the key was restored", restored.elapsed());
    // Not one a minute, nor each by a probe of its own.
    let healed = Calls::read(&world.emulator, "CreateLiveMessageGroup")?.of_key(KEY).after(at).span();
    assert!(healed < Duration::from_secs(30), "from the first to the last: {healed:?}");
    assert_eq!(settled_ones(&writes(&world, revoked)?), Vec::<&(String, String)>::new());
    assert!(versions(&named(&world, "settled").await?) == before, "a settled object has changed");
    account_is(&world, "team", "Available", i64::try_from(SETTLED + NEW)?).await.map(drop)
}

/// When calls with the team's key arrived, after this moment.
fn calls(world: &World<'_>, after: Timestamp) -> Result<Vec<Timestamp>> {
    let requests = world.emulator.requests()?;
    let of_team = requests.iter().filter(|request| request.access_key_id.as_deref() == Some(KEY));
    let times: Vec<Timestamp> =
        of_team.map(|request| request.time.parse().context(&request.time)).collect::<Result<_>>()?;
    Ok(times.into_iter().filter(|at| *at > after).collect())
}

/// How many calls came within seconds of the first one, and how many seconds after the one before it each of the others;
/// the second after the first of all.
fn probes(times: &[Timestamp]) -> (usize, Vec<f64>) {
    let at_first = times.iter().filter(|at| seconds(times[0], **at) < 30.0).count();
    let before = times.iter().take(1).chain(&times[at_first..]);
    (at_first, before.zip(&times[at_first..]).map(|(before, at)| seconds(*before, *at)).collect())
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}
