//! Tests the deletion of namespaces by the real namespace controller. The controller deletes objects in any order,
//! including credentials and permissions. Nothing can be created in a terminating namespace.

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

/// A finalizer timeout that no test reaches.
const NEVER: &str = "--finalizer-timeout=1h";

/// Creates a namespace with a Secret, a LiveAccount and objects whose groups exist. The operator is installed in
/// another namespace and has permissions in all namespaces.
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

/// Restarts the operator with one more argument, and waits until it has loaded the credentials.
async fn restart(world: &mut World<'_>, argument: &str) -> Result<()> {
    world.stop()?;
    world.options.args.push(argument.to_owned());
    world.start()?;
    let are_loaded = async || Ok(world.log().contains("loaded provider=\"Secret\""));
    world.until("the credentials to be loaded", PATIENCE, are_loaded).await
}

fn delete_namespace(world: &World<'_>) -> Result<()> {
    world.control_plane.kubectl(&["delete", "namespace", &world.namespace, "--wait=false"]).map(drop)
}

async fn until_gone(world: &World<'_>, seconds: u64) -> Result<()> {
    let api: Api<Namespace> = Api::all(world.control_plane.client().await?);
    let gone = async || Ok(api.get_opt(&world.namespace).await?.is_none());
    world.until("the namespace to be gone", seconds, gone).await
}

/// Waits until the namespace controller has deleted everything except the objects, which have a finalizer.
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

async fn deleted_groups(world: &World<'_>) -> Result<usize> {
    let hand = ByHand::at(world)?;
    let mut deleted = 0;
    for number in 0..OBJECTS {
        deleted += usize::from(hand.describe(&format!("room{number:04}")).await?.deleted);
    }
    Ok(deleted)
}

/// Returns the notes of the warning events that are about the namespace and have this reason. These events are stored
/// in the namespace `default`, so they are not deleted together with the namespace of the test.
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

/// Waits for one warning event for each object. Every event is about the namespace, so its note starts with the kind
/// and name of the object.
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

/// Waits until every object reports this reason during its deletion, and returns the message of one object.
async fn all_report(world: &World<'_>, reason: &str, progress: ConditionType) -> Result<String> {
    let report = async || {
        let objects = world.list().await?;
        let all = objects.iter().all(|object| condition(object, ConditionType::Ready)[1] == reason);
        Ok(all.then_some(objects))
    };
    let objects = world.find(&format!("all objects to be {reason}"), PATIENCE, report).await?;
    assert_eq!(objects.len(), OBJECTS, "some finalizers were removed too early");
    for object in &objects {
        assert_eq!(condition(object, progress), ["True", reason], "{}", object.name_any());
    }
    Ok(message(&objects[0]))
}

#[tokio::test]
async fn namespace_deletion_deletes_its_groups() -> Result<()> {
    let world = team().await?;
    let started = Instant::now();
    delete_namespace(&world)?;
    until_gone(&world, 120).await?;
    println!("{OBJECTS} objects, their Secret and LiveAccount gone with their namespace after {:?}", started.elapsed());
    assert_eq!(deleted_groups(&world).await?, OBJECTS);
    // A terminating namespace accepts no events. The operator must not retry them often.
    let refused = crate::metrics::scrape(&world)
        .await?
        .sum_where("rest_client_requests_total", &[("method", "POST"), ("code", "403")]);
    assert!(refused <= 2.0 * OBJECTS as f64, "{refused} events were refused");
    Ok(())
}

#[tokio::test]
async fn groups_are_retained_if_credentials_stay_missing() -> Result<()> {
    let mut world = team().await?;
    world.kill()?;
    delete_namespace(&world)?;
    until_bare(&world).await?;
    world.options.args.push("--finalizer-timeout=25s".into());
    let started = Instant::now();
    world.start()?;
    let reported = all_report(&world, "CredentialsMissing", ConditionType::Reconciling).await?;
    let missing = format!("LiveAccount team does not exist in namespace {}. ", world.namespace);
    assert!(reported.starts_with(&missing), "{reported}");
    world.until("the finalizers to be removed", PATIENCE, async || Ok(world.list().await?.is_empty())).await?;
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(25), "after {took:?}");
    warned(
        &world,
        "Abandoned",
        "is retained: the namespace is terminating, and the group could not be deleted for 25 s: LiveAccount team",
    )
    .await?;
    until_gone(&world, 120).await?;
    assert_eq!(deleted_groups(&world).await?, 0);
    assert_eq!(world.called("DeleteLiveMessageGroup")?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn abandon_annotation_releases_the_finalizer_immediately() -> Result<()> {
    let mut world = team().await?;
    world.kill()?;
    delete_namespace(&world)?;
    until_bare(&world).await?;
    world.options.args.push(NEVER.into());
    world.start()?;
    all_report(&world, "CredentialsMissing", ConditionType::Reconciling).await?;
    let abandon = json!({"metadata": {"annotations": {"live.alibabacloud.com/abandon": "true"}}});
    let started = Instant::now();
    for number in 0..OBJECTS {
        world.patch(&format!("room{number:04}"), abandon.clone()).await?;
    }
    world.until("the finalizers to be removed", PATIENCE, async || Ok(world.list().await?.is_empty())).await?;
    println!("finalizers removed {:?} after the annotation", started.elapsed());
    warned(&world, "Abandoned", "is retained: the annotation live.alibabacloud.com/abandon is \"true\"").await?;
    until_gone(&world, 120).await?;
    assert_eq!(deleted_groups(&world).await?, 0);
    Ok(())
}

/// Deletes the namespace while the emulator injects these faults.
fn delete_namespace_with_faults(world: &World<'_>, faults: &[&str]) -> Result<()> {
    world.emulator.faults(faults)?;
    delete_namespace(world)
}

#[tokio::test]
async fn deletions_wait_for_the_end_of_transient_failures() -> Result<()> {
    let mut world = team().await?;
    // The operator retries transient failures even after the timeout of one second.
    restart(&mut world, "--finalizer-timeout=1s").await?;
    for (fault, reason) in [("error=Throttling.User", "Throttled"), ("error=ServerError", "ServiceError")] {
        delete_namespace_with_faults(&world, &[&format!("DeleteLiveMessageGroup:{fault}")])?;
        let reported = all_report(&world, reason, ConditionType::Reconciling).await?;
        println!("{reason}: {reported}");
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
async fn deletion_without_permission_ends_after_the_timeout() -> Result<()> {
    // The Delete call for one object is refused after 2 seconds. This refusal blocks all deletions. The Describe calls
    // for the other objects take 8 seconds, so that these objects are blocked before a Delete call is sent for them.
    let faults = [
        "DescribeLiveMessageGroup:pass,times=1",
        "DescribeLiveMessageGroup:slow=8000,times=4",
        "DeleteLiveMessageGroup:slow=2000",
        "DeleteLiveMessageGroup:error=403/NoAuth",
    ];
    let refused = delete_calls_with_faults(&faults, "NotAuthorized").await?;
    // Usually, the operator sends one Delete call. If the machine stalls until every Describe call is answered, the
    // operator sends a Delete call for each object, and probes follow.
    println!("{refused:?}");
    assert!((1..=2 * OBJECTS).contains(&refused.iter().sum()), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn permanently_refused_deletion_ends_after_the_timeout() -> Result<()> {
    let refused =
        delete_calls_with_faults(&["DeleteLiveMessageGroup:error=400/InvalidParameter"], "InvalidInput").await?;
    assert_eq!(refused, [1; OBJECTS], "one call for each object");
    Ok(())
}

/// Deletes the namespace while the emulator injects these faults, and waits until the namespace is gone. Returns the
/// number of Delete calls for each group.
async fn delete_calls_with_faults(faults: &[&str], reason: &str) -> Result<Vec<usize>> {
    let mut world = team().await?;
    restart(&mut world, "--finalizer-timeout=25s").await?;
    delete_namespace_with_faults(&world, faults)?;
    let reported = all_report(&world, reason, ConditionType::Stalled).await?;
    println!("{reason}: {reported}");
    world.until("the finalizers to be removed", PATIENCE, async || Ok(world.list().await?.is_empty())).await?;
    warned(&world, "Abandoned", &reported).await?;
    until_gone(&world, 120).await?;
    assert_eq!(deleted_groups(&world).await?, 0);
    let calls: Vec<usize> = world.called("DeleteLiveMessageGroup")?.by_group().into_values().collect();
    if calls.iter().any(|calls| *calls > 1) {
        println!("{}", world.log());
    }
    Ok(calls)
}

/// Creates a world whose operator watches a list of namespaces. The operator's permissions in a namespace are deleted
/// with that namespace.
async fn with_roles() -> Result<(World<'static>, Vec<String>)> {
    let mut world = World::with(emulator(&[(KEY, SECRET)])).await?;
    let watched = vec![world.control_plane.namespace()?, world.namespace.clone()];
    world.options.args = watched.iter().map(|name| format!("--watch-namespace={name}")).collect();
    Ok((world, watched))
}

/// Grants the operator the permissions that the chart renders with these flags. The operator is installed in the first
/// namespace.
fn grant(world: &mut World<'_>, watched: &[&str], more: &[&str]) -> Result<()> {
    let flags = [&["--set", "rbac.secrets=namespaced"], more].concat();
    world.options.kubeconfig = world.control_plane.operator_kubeconfig_with(watched[0], watched, &flags)?;
    Ok(())
}

/// Deletes the namespace, and suspends the operator until its Role is gone. Otherwise, the operator could delete the
/// groups before the controller deletes the Role.
async fn delete_with_permissions(world: &mut World<'_>) -> Result<()> {
    world.operator.as_mut().unwrap().process.sigstop()?;
    delete_namespace(world)?;
    until_bare(world).await?;
    world.operator.as_mut().unwrap().process.sigcont()
}

const CLUSTER_WIDE: [&str; 2] = ["--set", "rbac.groupsClusterWide=true"];

#[tokio::test]
async fn cluster_wide_permissions_complete_the_deletion() -> Result<()> {
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
async fn deleted_role_affects_only_its_namespace() -> Result<()> {
    let (mut world, watched) = with_roles().await?;
    let watched: Vec<&str> = watched.iter().map(String::as_str).collect();
    grant(&mut world, &watched, &[])?;
    fill(&mut world).await?;
    delete_with_permissions(&mut world).await?;
    let is_logged =
        async || Ok(world.log().contains("with watchNamespaces, deleting a namespace deletes the operator's Role"));
    world.until("the log to name the remedy", PATIENCE, is_logged).await?;

    // After a restart, the operator still reconciles the other namespace although it cannot read this one.
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

    // `helm upgrade` cannot create a Role in the terminating namespace. However, it can still apply the Role in the
    // other namespace and the ClusterRole.
    grant(&mut world, &watched[..1], &CLUSTER_WIDE)?;
    world.until("the finalizers to be removed", PATIENCE, async || Ok(world.list().await?.is_empty())).await?;
    until_gone(&world, 120).await?;
    assert_eq!(deleted_groups(&world).await?, 0, "the credentials are lost after the restart");
    Ok(())
}
