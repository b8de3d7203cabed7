//! Tests that the operator reports orphans, which are groups that no object manages. A group becomes an orphan if its
//! object is deleted or gets another group ID while the call that creates or recovers the group is in flight.

use serde_json::json;

use crate::by_hand::ByHand;
use crate::metrics::scrape;
use crate::support::{EmulatorOptions, Result};
use crate::world::{APP, PATIENCE, World, app};

const CREATE: &str = "CreateLiveMessageGroup";
const RECOVER: &str = "RecoverLiveMessageDeletedGroup";

/// A fault that keeps one call in flight while the test changes the object.
const SLOW: &str = "slow=10000,times=1";

/// Creates a world whose emulator has these groups and injects these faults.
async fn world_with(groups: &[&str], faults: &[&str]) -> Result<World<'static>> {
    let groups = groups.iter().map(|group| format!("{APP}/{group}")).collect();
    let mut world = World::with(EmulatorOptions { groups, ..app() }).await?;
    world.options.args.push("--request-timeout=60s".into());
    world.emulator.faults(faults)?;
    world.start()?;
    Ok(world)
}

async fn orphaned(world: &World<'_>) -> Result<f64> {
    Ok(scrape(world).await?.value("live_message_operator_groups_orphaned_total", &[]))
}

/// Waits until one orphan is counted and an event reports the group.
async fn assert_reported(world: &World<'_>, id: &str) -> Result<()> {
    world.until("the orphan to be counted", PATIENCE, async || Ok(orphaned(world).await? == 1.0)).await?;
    let note = format!(
        "Group {id} of app {APP} was created or changed, but no object manages it now. Delete it if it \
         is not needed."
    );
    let of = ["get", "events", "-n", &world.namespace, "--field-selector", "reason=Orphaned,type=Warning"];
    let of = [&of[..], &["-o", "jsonpath={.items[*].message}"]].concat();
    let one = async || Ok(world.control_plane.kubectl(&of)? == note);
    world.until("the event of the orphan", PATIENCE, one).await
}

/// Edits the group ID of the object while this call for the group `before` is in flight, and waits for the report.
async fn edit_during_call(world: &World<'_>, operation: &str) -> Result<()> {
    world.until("the call to be sent", PATIENCE, async || Ok(world.in_flight(operation) == 1)).await?;
    world.patch("room", json!({"spec": {"groupId": "after"}})).await?;
    let room = world.ready("room", "True", "Created").await?;
    assert_eq!(room.status.and_then(|status| status.group_id).as_deref(), Some("after"));
    assert_reported(world, "before").await?;
    assert!(!ByHand::at(world)?.describe("before").await?.deleted, "the group is retained");
    Ok(())
}

#[tokio::test]
async fn group_created_for_a_deleted_object_is_counted() -> Result<()> {
    let world = world_with(&[], &[&format!("{CREATE}:{SLOW}")]).await?;
    world.create("room", json!({})).await?;
    world.until("the create to be sent", PATIENCE, async || Ok(world.in_flight(CREATE) == 1)).await?;
    assert_eq!(orphaned(&world).await?, 0.0);
    world.control_plane.kubectl(&["delete", "lmg", "room", "-n", &world.namespace, "--force", "--timeout=60s"])?;
    world.until("the orphan to be counted", PATIENCE, async || Ok(orphaned(&world).await? == 1.0)).await?;
    assert!(world.log().contains("a group was created or changed, but its object was deleted"));
    assert!(!ByHand::at(&world)?.describe("room").await?.deleted, "the group is retained");
    Ok(())
}

#[tokio::test]
async fn group_created_for_an_edited_identity_is_reported() -> Result<()> {
    // The first create is refused, so the group ID can still be edited while the second create is in flight.
    let world = world_with(&[], &[&format!("{CREATE}:error=400/InputInvalid,times=1")]).await?;
    world.create("room", json!({"groupId": "before"})).await?;
    world.ready("room", "False", "InvalidInput").await?;
    world.emulator.faults(&[&format!("{CREATE}:{SLOW}")])?;
    let request = json!({"metadata": {"annotations": {"live.alibabacloud.com/reconcile-requested-at": "now"}}});
    world.patch("room", request).await?;
    edit_during_call(&world, CREATE).await
}

#[tokio::test]
async fn group_recovered_for_an_edited_identity_is_reported() -> Result<()> {
    let world = world_with(&["before:deleted"], &[&format!("{RECOVER}:{SLOW}")]).await?;
    world.create("room", json!({"groupId": "before"})).await?;
    world.ready("room", "False", "GroupDeleted").await?;
    world.patch("room", json!({"spec": {"deletedGroupPolicy": "Recover"}})).await?;
    edit_during_call(&world, RECOVER).await
}
