//! Tests of the drift check and of the quota of an app.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use live_message_operator::live::{Call, GroupFields};
use live_message_operator::resources::{ConditionType, LiveMessageGroup};
use serde_json::json;

use crate::by_hand::{ByHand, group};
use crate::support::{Request, Result};
use crate::world::{APP, PATIENCE, World, app, condition};

/// A short interval between drift checks. The default is 10 minutes.
const INTERVAL: &str = "--drift-check-interval=3s";

const LIST: &str = "ListLiveMessageGroupByPage";

#[tokio::test]
async fn drift_check_finds_external_changes_and_deletions() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.options.args.push(INTERVAL.into());
    world.start()?;
    for name in ["edited", "deleted", "recovered", "left", "unmanaged"] {
        let info = if name == "unmanaged" { json!({}) } else { json!({"groupInfo": "ours"}) };
        world.create(name, info).await?;
        world.ready(name, "True", "Created").await?;
    }
    let hand = ByHand::at(&world)?;
    hand.set_info("edited", "theirs").await?;
    hand.set_info("unmanaged", "theirs").await?;
    hand.call(Call::Delete(group("deleted"))).await?;
    world
        .until("the edit to be corrected", PATIENCE, async || Ok(hand.describe("edited").await?.group_info == "ours"))
        .await?;
    world.ready("deleted", "False", "GroupDeleted").await?;
    assert_eq!(hand.describe("unmanaged").await?.group_info, "theirs", "fields outside of the spec are not managed");
    hand.call(Call::Recover(group("deleted"))).await?;
    world.ready("deleted", "True", "AlreadyExists").await?;
    assert_eq!(world.calls("DescribeLiveMessageGroup", "left")?, 0, "a group without drift is not described");
    Ok(())
}

#[tokio::test]
async fn wrong_data_center_does_not_hide_other_drift() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.options.args.push(INTERVAL.into());
    world.start()?;
    world.create("right", json!({"groupInfo": "ours"})).await?;
    world.ready("right", "True", "Created").await?;
    for name in ["wrong1", "wrong2", "wrong3"] {
        world.create(name, json!({"dataCenter": "ap-southeast-1"})).await?;
        world.ready(name, "False", "AppNotFound").await?;
    }
    let hand = ByHand::at(&world)?;
    hand.set_info("right", "theirs").await?;
    world
        .until("the change to be corrected", PATIENCE, async || Ok(hand.describe("right").await?.group_info == "ours"))
        .await
}

#[tokio::test]
async fn ignored_update_makes_no_calls_until_the_group_changes() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.options.args.push(INTERVAL.into());
    world.start()?;
    world.create("room", json!({"groupInfo": "new"})).await?;
    let room = world.ready("room", "True", "Created").await?;
    // The emulator cannot ignore a change. The test therefore stops the operator and writes the status that an ignored
    // change would cause.
    world.stop()?;
    world.emulator.set(&format!("/groups/{APP}/room"), &json!({"info": "old"}))?;
    let mut conditions = room.status.unwrap_or_default().conditions;
    let sync = conditions.iter_mut().find(|condition| condition.type_ == "InSync").unwrap();
    (sync.status, sync.reason) = ("False".to_owned(), "UpdateIgnored".to_owned());
    sync.message = "the change of groupInfo was not taken".to_owned();
    let status = Patch::Merge(json!({"status": {
        "conditions": conditions,
        "lastFailure": {"operation": "ModifyLiveMessageGroup", "code": "UpdateIgnored", "fields": ["groupInfo"]},
    }}));
    world.api.patch_status("room", &PatchParams::default(), &status).await?;
    let (calls, lists) = (world.requests()?.len(), world.called(LIST)?.len());
    world.start()?;
    world.until("three drift checks", PATIENCE, async || Ok(world.called(LIST)?.len() >= lists + 3)).await?;
    assert_eq!(world.requests()?.len(), calls, "the list matches the recorded state");

    world.emulator.set(&format!("/groups/{APP}/room"), &json!({"info": "new"}))?;
    let in_sync = async || Ok(condition(&world.api.get("room").await?, ConditionType::InSync) == ["True", "InSync"]);
    world.until("InSync=True", PATIENCE, in_sync).await?;
    assert_eq!(world.requests()?.len(), calls + 1, "one Describe");
    Ok(())
}

#[tokio::test]
async fn recovered_groups_are_found_on_pages_that_are_not_listed() -> Result<()> {
    let groups = (0..170).map(|n| format!("{APP}/there{n}")).collect();
    let mut world = World::with(crate::support::EmulatorOptions { groups, ..app() }).await?;
    world.options.args.push(INTERVAL.into());
    world.start()?;
    world.create("watched", json!({"managementPolicy": "Observe"})).await?;
    world.create("deleted", json!({})).await?;
    world.ready("watched", "False", "GroupNotFound").await?;
    world.ready("deleted", "True", "Created").await?;
    let hand = ByHand::at(&world)?;
    hand.call(Call::Delete(group("deleted"))).await?;
    world.ready("deleted", "False", "GroupDeleted").await?;
    // Both groups are on the fourth page, but only the first page is listed.
    hand.call(Call::Create(group("watched"), GroupFields::default())).await?;
    hand.call(Call::Recover(group("deleted"))).await?;
    world.ready("watched", "True", "Observed").await?;
    world.ready("deleted", "True", "AlreadyExists").await?;
    let second = |request: &Request| request.param("PageNumber") == Some("2");
    assert!(!world.emulator.requests()?.iter().any(second), "each object is described instead");
    Ok(())
}

#[tokio::test]
async fn objects_above_the_quota_wait_without_calls() -> Result<()> {
    let groups = (0..4_990).map(|n| format!("{APP}/there{n}")).collect();
    let mut world = World::with(crate::support::EmulatorOptions { groups, ..app() }).await?;
    world.options.args.push(INTERVAL.into());
    // The group of this object already exists, so the quota does not block the object.
    world.create("adopted", json!({"groupId": "there7"})).await?;
    world.create_many("new", 50).await?;
    world.start()?;
    world.count_of("Created", 10, PATIENCE).await?;
    world.ready("adopted", "True", "AlreadyExists").await?;
    let blocked = world.count_of("QuotaExceeded", 40, PATIENCE).await?;
    let (messages, calls) = messages_and_creates(&world, &blocked)?;
    println!("blocked with: {messages:?}");
    assert_eq!(messages.len(), 40);
    assert!(messages.iter().all(|message| message.contains("of 5000 groups")), "{messages:?}");
    assert_eq!(calls, (11, 0), "creates for the free quota and the adopted object, none refused");
    let hand = ByHand::at(&world)?;
    for id in ["there1", "there2"] {
        hand.call(Call::Delete(group(id))).await?;
    }
    world.count_of("Created", 12, PATIENCE).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (messages, calls) = messages_and_creates(&world, &world.count_of("QuotaExceeded", 38, PATIENCE).await?)?;
    assert_eq!((messages.len(), calls), (38, (13, 0)));
    Ok(())
}

#[tokio::test]
async fn quota_freed_by_the_operator_is_used_immediately() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.options.args.extend(["--drift-check-interval=168h".to_owned(), "--max-groups-per-app=1".to_owned()]);
    world.start()?;
    world.create("first", json!({"deletionPolicy": "Delete"})).await?;
    world.ready("first", "True", "Created").await?;
    world.create("second", json!({})).await?;
    world.create("third", json!({})).await?;
    world.count_of("QuotaExceeded", 2, PATIENCE).await?;
    world.delete("first").await?;
    world.count_of("Created", 1, PATIENCE).await?;
    world.count_of("QuotaExceeded", 1, PATIENCE).await?;
    assert!(world.called("CreateLiveMessageGroup")?.codes().is_empty(), "no create is refused");
    Ok(())
}

#[tokio::test]
async fn forced_reconcile_counts_a_full_app_again() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.options.args.extend(["--drift-check-interval=168h".to_owned(), "--max-groups-per-app=2".to_owned()]);
    world.create_many("room", 3).await?;
    world.start()?;
    world.count_of("Created", 2, PATIENCE).await?;
    let objects = world.count_of("QuotaExceeded", 1, PATIENCE).await?;
    let of = |reason: &str| {
        let object = objects.iter().find(|object| crate::world::is(object, reason));
        object.and_then(|object| object.metadata.name.clone()).unwrap_or_default()
    };
    ByHand::at(&world)?.call(Call::Delete(group(&of("Created")))).await?;
    let blocked = of("QuotaExceeded");
    let request = json!({"metadata": {"annotations": {"live.alibabacloud.com/reconcile-requested-at": "now"}}});
    world.patch(&blocked, request).await?;
    let blocked = world.ready(&blocked, "True", "Created").await?;
    assert_eq!(blocked.status.and_then(|status| status.last_handled_reconcile_at).as_deref(), Some("now"));
    Ok(())
}

#[tokio::test]
async fn paused_object_loses_its_reservation() -> Result<()> {
    let mut world = World::new(&[]).await?;
    let args = ["--drift-check-interval=168h", "--max-groups-per-app=12", "--requests-per-second=1"];
    world.options.args.extend(args.map(str::to_owned));
    world.start()?;
    for number in 0..11 {
        world.create(&format!("room{number:02}"), json!({})).await?;
    }
    world.count_of("Created", 1, PATIENCE).await?;
    // This object reserves the last place in the quota. It then waits ten seconds for a permit, because ten other
    // objects are ahead of it in the queue.
    let waiting = "room11";
    world.create(waiting, json!({})).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pause = |pause: Option<&str>| json!({"metadata": {"annotations": {"live.alibabacloud.com/paused": pause}}});
    world.patch(waiting, pause(Some("true"))).await?;
    world.count_of("Created", 11, PATIENCE).await?;
    world.create("instead", json!({})).await?;
    world.ready("instead", "True", "Created").await?;
    world.patch(waiting, pause(None)).await?;
    world.ready(waiting, "False", "QuotaExceeded").await?;
    Ok(())
}

#[tokio::test]
async fn new_object_is_created_during_a_long_drift_check() -> Result<()> {
    let groups = (0..300).map(|n| format!("{APP}/there{n}")).collect();
    let mut world = World::with(crate::support::EmulatorOptions { groups, ..app() }).await?;
    // With this interval, the drift check lists seven pages and waits more than two seconds between them.
    world.options.args.push("--drift-check-interval=30s".into());
    world.start()?;
    // With fewer objects than pages, the drift check would list only one page and send a Describe call for each object.
    world.create_many("room", 8).await?;
    world.count_of("Created", 8, PATIENCE).await?;
    // After the restart, no object requests the usage of the app, so the first list call belongs to the drift check.
    world.stop()?;
    let earlier = world.emulator.requests()?.len();
    world.start()?;
    let later = || -> Result<Vec<Request>> { Ok(world.emulator.requests()?.split_off(earlier)) };
    let is_list = |request: &Request| request.operation == LIST;
    world.until("the drift check to begin", PATIENCE, async || Ok(later()?.iter().any(is_list))).await?;
    world.create("new", json!({})).await?;
    world.ready("new", "True", "Created").await?;
    let is_last = |request: &Request| is_list(request) && request.param("PageNumber") == Some("7");
    world.until("the drift check to end", PATIENCE, async || Ok(later()?.iter().any(is_last))).await?;
    let requests = later()?;
    let created = requests.iter().position(|request| request.operation == "CreateLiveMessageGroup");
    assert!(created < requests.iter().position(is_last), "created during the drift check: {requests:?}");
    Ok(())
}

/// Returns the messages of the objects that wait for quota, and the number of creates and of refused creates.
fn messages_and_creates(world: &World<'_>, objects: &[LiveMessageGroup]) -> Result<(Vec<String>, (usize, usize))> {
    let ready = objects.iter().filter_map(|object| object.condition(ConditionType::Ready));
    let blocked = ready.filter(|ready| ready.reason == "QuotaExceeded");
    let creates = world.called("CreateLiveMessageGroup")?;
    Ok((blocked.map(|ready| ready.message.clone()).collect(), (creates.len(), creates.codes().len())))
}
