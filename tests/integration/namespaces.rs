//! Namespaces that are deleted with everything in them, by the real namespace controller: it takes what is in them in any
//! order, credentials and permissions too, and nothing can be made in them any more.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::Role;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use live_message_operator::resources::{ConditionType, LiveAccount, LiveMessageGroup};
use serde_json::json;

use crate::accounts::{KEY, SECRET, account, create_many, emulator, message, secret};
use crate::by_hand::ByHand;
use crate::support::Result;
use crate::world::{PATIENCE, World, condition, create_in, is};

const OBJECTS: usize = 5;

/// Nobody waits this long in a test.
const NEVER: &str = "--finalizer-timeout=1h";

/// A namespace with a Secret, a LiveAccount and objects that have created their groups. The operator is at home in another
/// one and may work in all of them.
async fn team() -> Result<World<'static>> {
    let mut world = World::with(emulator(&[(KEY, SECRET)])).await?;
    let home = world.control_plane.namespace()?;
    let flags = ["--set", "rbac.secrets=cluster"];
    world.options.kubeconfig = world.control_plane.operator_kubeconfig_with(&home, &[], &flags)?;
    fill(&mut world).await?;
    Ok(world)
}

async fn fill(world: &mut World<'_>) -> Result<()> {
    secret(world, "team", (KEY, SECRET))?;
    account(world, "team", json!({}))?;
    create_many(world, "room", OBJECTS, "team", &json!({"deletionPolicy": "Delete"})).await?;
    world.start()?;
    world.count_of("Created", OBJECTS, PATIENCE).await.map(drop)
}

/// Starts the operator anew with one more argument, and waits until it has the credentials.
async fn restart(world: &mut World<'_>, argument: &str) -> Result<()> {
    world.stop()?;
    world.options.args.push(argument.to_owned());
    world.start()?;
    let known = async || Ok(world.log().contains("loaded provider=\"Secret\""));
    world.until("the credentials to be loaded", PATIENCE, known).await
}

fn delete_namespace(world: &World<'_>) -> Result<()> {
    world.control_plane.kubectl(&["delete", "namespace", &world.namespace, "--wait=false"]).map(drop)
}

async fn until_gone(world: &World<'_>, seconds: u64) -> Result<()> {
    let api: Api<Namespace> = Api::all(world.control_plane.client().await?);
    let gone = async || Ok(api.get_opt(&world.namespace).await?.is_none());
    world.until("the namespace to be gone", seconds, gone).await
}

/// Waits until the namespace controller has taken what it can: the objects are left, for their finalizer holds them.
async fn until_bare(world: &World<'_>) -> Result<()> {
    let client = world.control_plane.client().await?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &world.namespace);
    let roles: Api<Role> = Api::namespaced(client.clone(), &world.namespace);
    let accounts: Api<LiveAccount> = Api::namespaced(client, &world.namespace);
    let bare = async || {
        let deleted = world.list().await?.iter().all(|object| object.metadata.deletion_timestamp.is_some());
        let left = secrets.list(&ListParams::default()).await?.items.len()
            + accounts.list(&ListParams::default()).await?.items.len()
            + roles.list(&ListParams::default()).await?.items.len();
        Ok(deleted && left == 0)
    };
    world.until("everything else in the namespace to be gone", PATIENCE, bare).await?;
    assert_eq!(world.list().await?.len(), OBJECTS);
    Ok(())
}

/// How many of the groups are deleted.
async fn deleted_groups(world: &World<'_>) -> Result<usize> {
    let hand = ByHand::at(world)?;
    let mut deleted = 0;
    for number in 0..OBJECTS {
        deleted += usize::from(hand.describe(&format!("room{number:04}")).await?.deleted);
    }
    Ok(deleted)
}

/// The notes of the warnings with this reason about the namespace, which outlive it.
async fn warnings(world: &World<'_>, reason: &str) -> Result<Vec<String>> {
    let api: Api<Event> = Api::namespaced(world.control_plane.client().await?, "default");
    let mut events = api.list(&ListParams::default()).await?.items;
    let of_namespace = |event: &Event| {
        let about = event.regarding.as_ref().and_then(|object| object.name.as_deref());
        about == Some(&world.namespace) && event.type_.as_deref() == Some("Warning")
    };
    events.retain(|event| of_namespace(event) && event.reason.as_deref() == Some(reason));
    Ok(events.into_iter().filter_map(|event| event.note).collect())
}

/// Waits until each object has such a warning: of another one's than its own name nobody can tell.
async fn warned(world: &World<'_>, reason: &str, says: &str) -> Result<()> {
    let what = format!("a warning {reason} for each object");
    world.until(&what, PATIENCE, async || Ok(warnings(world, reason).await?.len() >= OBJECTS)).await?;
    let mut notes = warnings(world, reason).await?;
    notes.sort();
    assert_eq!(notes.len(), OBJECTS, "{notes:?}");
    for (number, note) in notes.iter().enumerate() {
        let name = format!("room{number:04}");
        assert!(note.starts_with(&format!("LiveMessageGroup {name}: ")), "{note}");
        assert!(note.contains(says), "{note}");
    }
    Ok(())
}

/// Waits until every object says this of its deletion.
async fn all_say(world: &World<'_>, reason: &str, progress: ConditionType) -> Result<String> {
    let say = async || {
        let objects = world.list().await?;
        let all = objects.iter().all(|object| condition(object, ConditionType::Ready)[1] == reason);
        Ok(all.then_some(objects))
    };
    let objects = world.find(&format!("all objects to be {reason}"), PATIENCE, say).await?;
    assert_eq!(objects.len(), OBJECTS, "some were let go before all had said so");
    for object in &objects {
        assert_eq!(condition(object, progress), ["True", reason], "{}", object.name_any());
    }
    Ok(message(&objects[0]))
}

#[tokio::test]
async fn a_namespace_deleted_in_one_go_takes_its_groups_with_it() -> Result<()> {
    let world = team().await?;
    let started = Instant::now();
    delete_namespace(&world)?;
    until_gone(&world, 120).await?;
    println!("{OBJECTS} objects, their Secret and LiveAccount gone with their namespace after {:?}", started.elapsed());
    assert_eq!(deleted_groups(&world).await?, OBJECTS);
    // What happened cannot be told in a namespace that goes away, and nobody tries for long.
    let refused = world.log().matches("an event was not taken").count();
    assert!(refused <= 2 * OBJECTS, "{refused} events were refused");
    Ok(())
}

#[tokio::test]
async fn credentials_lost_by_a_restart_are_waited_for_and_then_the_groups_stay() -> Result<()> {
    let mut world = team().await?;
    world.kill()?;
    delete_namespace(&world)?;
    until_bare(&world).await?;
    world.options.args.push("--finalizer-timeout=25s".into());
    let started = Instant::now();
    world.start()?;
    let told = all_say(&world, "CredentialsMissing", ConditionType::Reconciling).await?;
    let missing = format!("LiveAccount team does not exist in namespace {}. ", world.namespace);
    assert!(told.starts_with(&missing), "{told}");
    world.until("the objects to be let go", PATIENCE, async || Ok(world.list().await?.is_empty())).await?;
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(25), "after {took:?}");
    warned(
        &world,
        "Abandoned",
        "is retained: its namespace is terminating, and it could not be deleted for 25 s: LiveAccount team does",
    )
    .await?;
    until_gone(&world, 120).await?;
    assert_eq!(deleted_groups(&world).await?, 0);
    assert_eq!(world.called("DeleteLiveMessageGroup")?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn an_object_that_is_given_up_by_its_annotation_goes_at_once() -> Result<()> {
    let mut world = team().await?;
    world.kill()?;
    delete_namespace(&world)?;
    until_bare(&world).await?;
    world.options.args.push(NEVER.into());
    world.start()?;
    all_say(&world, "CredentialsMissing", ConditionType::Reconciling).await?;
    let abandon = json!({"metadata": {"annotations": {"live.alibabacloud.com/abandon": "true"}}});
    let started = Instant::now();
    for number in 0..OBJECTS {
        world.patch(&format!("room{number:04}"), abandon.clone()).await?;
    }
    world.until("the objects to be let go", PATIENCE, async || Ok(world.list().await?.is_empty())).await?;
    println!("let go {:?} after the annotation", started.elapsed());
    warned(&world, "Abandoned", "is retained: the annotation live.alibabacloud.com/abandon is \"true\"").await?;
    until_gone(&world, 120).await?;
    assert_eq!(deleted_groups(&world).await?, 0);
    Ok(())
}

/// Deletes the namespace while calls are answered so.
fn deleted_while(world: &World<'_>, faults: &[&str]) -> Result<()> {
    world.emulator.faults(faults)?;
    delete_namespace(world)
}

#[tokio::test]
async fn a_deletion_that_is_refused_for_a_while_is_carried_out_when_it_can_be() -> Result<()> {
    let mut world = team().await?;
    // Not even after a second: what passes by itself is waited for.
    restart(&mut world, "--finalizer-timeout=1s").await?;
    for (fault, reason) in [("error=Throttling.User", "Throttled"), ("error=ServerError", "ServiceError")] {
        deleted_while(&world, &[&format!("DeleteLiveMessageGroup:{fault}")])?;
        let told = all_say(&world, reason, ConditionType::Reconciling).await?;
        println!("{reason}: {told}");
        assert_eq!(deleted_groups(&world).await?, 0);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.list().await?.len(), OBJECTS);
    world.emulator.faults(&[])?;
    until_gone(&world, 150).await?;
    assert_eq!(deleted_groups(&world).await?, OBJECTS);
    assert_eq!(warnings(&world, "Abandoned").await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_deletion_that_may_not_be_made_is_not_waited_for_forever() -> Result<()> {
    // One finds out for all; that the others may look at their groups, and hear of it later, is no reason for a second try.
    let faults = [
        "DescribeLiveMessageGroup:pass,times=1",
        "DescribeLiveMessageGroup:slow=8000,times=4",
        "DeleteLiveMessageGroup:slow=2000",
        "DeleteLiveMessageGroup:error=403/NoAuth",
    ];
    let refused = let_go_though(&faults, "NotAuthorized").await?;
    // It is one call, unless the machine stands still until all have looked: then each finds out, and one may probe.
    println!("{refused:?}");
    assert!((1..=2 * OBJECTS).contains(&refused.iter().sum()), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_deletion_that_is_refused_for_good_is_not_waited_for_forever() -> Result<()> {
    let refused = let_go_though(&["DeleteLiveMessageGroup:error=400/InvalidParameter"], "InvalidInput").await?;
    assert_eq!(refused, [1; OBJECTS], "each once");
    Ok(())
}

/// Deletes the namespace while deletions are refused so, and waits until it is gone; how often each was called for
/// of those that were.
async fn let_go_though(faults: &[&str], reason: &str) -> Result<Vec<usize>> {
    let mut world = team().await?;
    restart(&mut world, "--finalizer-timeout=25s").await?;
    deleted_while(&world, faults)?;
    let told = all_say(&world, reason, ConditionType::Stalled).await?;
    println!("{reason}: {told}");
    world.until("the objects to be let go", PATIENCE, async || Ok(world.list().await?.is_empty())).await?;
    warned(&world, "Abandoned", &told).await?;
    until_gone(&world, 120).await?;
    assert_eq!(deleted_groups(&world).await?, 0);
    let calls: Vec<usize> = world.called("DeleteLiveMessageGroup")?.by_group().into_values().collect();
    if calls.iter().any(|calls| *calls > 1) {
        println!("{}", world.log());
    }
    Ok(calls)
}

/// The operator works in a list of namespaces; its permissions stand in each of them, and go with it.
async fn with_roles() -> Result<(World<'static>, Vec<String>)> {
    let mut world = World::with(emulator(&[(KEY, SECRET)])).await?;
    let watched = vec![world.control_plane.namespace()?, world.namespace.clone()];
    world.options.args = watched.iter().map(|name| format!("--watch-namespace={name}")).collect();
    Ok((world, watched))
}

/// Gives the operator the permissions of the chart with these flags, the first of the namespaces being its own.
fn grant(world: &mut World<'_>, watched: &[&str], more: &[&str]) -> Result<()> {
    let flags = [&["--set", "rbac.secrets=namespaced"], more].concat();
    world.options.kubeconfig = world.control_plane.operator_kubeconfig_with(watched[0], watched, &flags)?;
    Ok(())
}

/// Deletes the namespace and holds the operator until its Role is gone: the controller takes the kinds in any order, and the
/// operator might win.
async fn delete_with_permissions(world: &mut World<'_>) -> Result<()> {
    world.operator.as_mut().unwrap().process.sigstop()?;
    delete_namespace(world)?;
    until_bare(world).await?;
    world.operator.as_mut().unwrap().process.sigcont()
}

const CLUSTER_WIDE: [&str; 2] = ["--set", "rbac.groupsClusterWide=true"];

#[tokio::test]
async fn permissions_that_do_not_go_with_the_namespace_let_it_go() -> Result<()> {
    let (mut world, watched) = with_roles().await?;
    let watched: Vec<&str> = watched.iter().map(String::as_str).collect();
    grant(&mut world, &watched, &CLUSTER_WIDE)?;
    fill(&mut world).await?;
    delete_with_permissions(&mut world).await?;
    until_gone(&world, 120).await?;
    assert_eq!(deleted_groups(&world).await?, OBJECTS);
    Ok(())
}

#[tokio::test]
async fn permissions_that_go_with_the_namespace_stop_nobody_else_and_can_be_given_again() -> Result<()> {
    let (mut world, watched) = with_roles().await?;
    let watched: Vec<&str> = watched.iter().map(String::as_str).collect();
    grant(&mut world, &watched, &[])?;
    fill(&mut world).await?;
    delete_with_permissions(&mut world).await?;
    let told =
        async || Ok(world.log().contains("with watchNamespaces, deleting a namespace deletes the operator's Role"));
    world.until("the log to say what to do", PATIENCE, told).await?;

    // Even a restart, with nothing to be learned of that namespace, leaves the other one served.
    world.stop()?;
    world.options.args.push("--finalizer-timeout=5s".into());
    world.start()?;
    let client = world.control_plane.client().await?;
    let other: Api<LiveMessageGroup> = Api::namespaced(client, watched[0]);
    create_in(&other, "elsewhere", json!({})).await?;
    let created = async || Ok(is(&other.get("elsewhere").await?, "Created"));
    world.until("the other namespace to be served", PATIENCE, created).await?;
    let lists = world.log().matches("watch list error with 403").count();
    assert!(lists < 30, "{lists} lists were refused");

    // `helm upgrade` can still give what does not stand in the namespace: the other namespace's Role, and the ClusterRole.
    grant(&mut world, &watched[..1], &CLUSTER_WIDE)?;
    world.until("the objects to be let go", PATIENCE, async || Ok(world.list().await?.is_empty())).await?;
    until_gone(&world, 120).await?;
    assert_eq!(deleted_groups(&world).await?, 0, "the credentials were lost by the restart");
    Ok(())
}
