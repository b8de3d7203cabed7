//! Groups that were made for an object that is gone, or that names another one by then: told, for nobody manages them.

use serde_json::json;

use crate::by_hand::ByHand;
use crate::metrics::scrape;
use crate::support::{EmulatorOptions, Result};
use crate::world::{APP, PATIENCE, World, app};

const CREATE: &str = "CreateLiveMessageGroup";
const RECOVER: &str = "RecoverLiveMessageDeletedGroup";

/// A call that is out for long enough.
const SLOW: &str = "slow=10000,times=1";

/// A world in which calls are answered so.
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

/// Waits until one orphan is counted, and looks whether its event names the group.
async fn told(world: &World<'_>, id: &str) -> Result<()> {
    world.until("the orphan to be counted", PATIENCE, async || Ok(orphaned(world).await? == 1.0)).await?;
    let note = format!(
        "Group {id} of app {APP} was created or changed, but the spec no longer names it; it is retained. Delete it if it \
         is not needed."
    );
    let of = ["get", "events", "-n", &world.namespace, "--field-selector", "reason=Orphaned,type=Warning"];
    let of = [&of[..], &["-o", "jsonpath={.items[*].message}"]].concat();
    let one = async || Ok(world.control_plane.kubectl(&of)? == note);
    world.until("the event of the orphan", PATIENCE, one).await
}

/// The object names another group while this call for the one before is out.
async fn is_edited_while(world: &World<'_>, operation: &str) -> Result<()> {
    world.until("the call to be sent", PATIENCE, async || Ok(world.in_flight(operation) == 1)).await?;
    world.patch("room", json!({"spec": {"groupId": "after"}})).await?;
    let room = world.ready("room", "True", "Created").await?;
    assert_eq!(room.status.and_then(|status| status.group_id).as_deref(), Some("after"));
    told(world, "before").await?;
    assert!(!ByHand::at(world)?.describe("before").await?.deleted, "it stays");
    Ok(())
}

#[tokio::test]
async fn a_group_that_is_created_for_an_object_that_was_deleted_meanwhile_is_counted() -> Result<()> {
    let world = world_with(&[], &[&format!("{CREATE}:{SLOW}")]).await?;
    world.create("room", json!({})).await?;
    world.until("the create to be sent", PATIENCE, async || Ok(world.in_flight(CREATE) == 1)).await?;
    assert_eq!(orphaned(&world).await?, 0.0);
    world.control_plane.kubectl(&["delete", "lmg", "room", "-n", &world.namespace, "--force", "--timeout=60s"])?;
    world.until("the orphan to be counted", PATIENCE, async || Ok(orphaned(&world).await? == 1.0)).await?;
    assert!(world.log().contains("a group was created or changed for an object that is gone"));
    assert!(!ByHand::at(&world)?.describe("room").await?.deleted, "it stays");
    Ok(())
}

#[tokio::test]
async fn a_group_that_is_created_for_an_identity_that_was_edited_meanwhile_is_told() -> Result<()> {
    // Refused at first, it may be edited; and it is while the next try is out.
    let world = world_with(&[], &[&format!("{CREATE}:error=400/InputInvalid,times=1")]).await?;
    world.create("room", json!({"groupId": "before"})).await?;
    world.ready("room", "False", "InvalidInput").await?;
    world.emulator.faults(&[&format!("{CREATE}:{SLOW}")])?;
    let asked = json!({"metadata": {"annotations": {"live.alibabacloud.com/reconcile-requested-at": "now"}}});
    world.patch("room", asked).await?;
    is_edited_while(&world, CREATE).await
}

#[tokio::test]
async fn a_group_that_is_recovered_for_an_identity_that_was_edited_meanwhile_is_told() -> Result<()> {
    let world = world_with(&["before:deleted"], &[&format!("{RECOVER}:{SLOW}")]).await?;
    world.create("room", json!({"groupId": "before"})).await?;
    world.ready("room", "False", "GroupDeleted").await?;
    world.patch("room", json!({"spec": {"deletedGroupPolicy": "Recover"}})).await?;
    is_edited_while(&world, RECOVER).await
}
