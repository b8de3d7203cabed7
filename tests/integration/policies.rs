//! Tests of the policies Observe, CreateOnly, Delete and Recover.

use live_message_operator::resources::{ConditionType, FINALIZER, LiveMessageGroup, Origin};
use serde_json::json;

use crate::by_hand::ByHand;
use crate::support::Result;
use crate::world::{PATIENCE, World, condition};

fn has_finalizer(object: &LiveMessageGroup) -> bool {
    object.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)
}

#[tokio::test]
async fn delete_policy_deletes_a_created_group() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("mine", json!({"deletionPolicy": "Delete", "groupInfo": "x"})).await?;
    let object = world.ready("mine", "True", "Created").await?;
    assert!(has_finalizer(&object));
    let status = object.status.unwrap();
    assert!(status.create_intent.is_some_and(|intent| !intent.is_open()) || status.create_time.is_some());
    world.delete("mine").await?;
    assert!(ByHand::at(&world)?.describe("mine").await?.deleted);
    assert_eq!(world.calls("DeleteLiveMessageGroup", "mine")?, 1);
    Ok(())
}

#[tokio::test]
async fn delete_policy_retains_an_adopted_group() -> Result<()> {
    let mut world = World::new(&["theirs"]).await?;
    world.start()?;
    world.create("theirs", json!({"deletionPolicy": "Delete"})).await?;
    world.ready("theirs", "True", "AlreadyExists").await?;
    world
        .until("the finalizer to be removed", PATIENCE, async || Ok(!has_finalizer(&world.api.get("theirs").await?)))
        .await?;
    let object = world.api.get("theirs").await?;
    assert_eq!(object.status.as_ref().unwrap().create_intent, None);
    world.delete("theirs").await?;
    assert!(!ByHand::at(&world)?.describe("theirs").await?.deleted);
    assert_eq!(world.calls("DeleteLiveMessageGroup", "theirs")?, 0);
    Ok(())
}

#[tokio::test]
async fn deletion_policy_can_change_and_controls_the_finalizer() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("room", json!({})).await?;
    assert!(!has_finalizer(&world.ready("room", "True", "Created").await?));
    world.patch("room", json!({"spec": {"deletionPolicy": "Delete"}})).await?;
    world
        .until("the finalizer to be added", PATIENCE, async || Ok(has_finalizer(&world.api.get("room").await?)))
        .await?;
    let object = world.ready("room", "True", "Created").await?;
    assert!(object.status.unwrap().create_time.is_some(), "recorded by one Describe");
    world.patch("room", json!({"spec": {"deletionPolicy": "Retain"}})).await?;
    world
        .until("the finalizer to be removed", PATIENCE, async || Ok(!has_finalizer(&world.api.get("room").await?)))
        .await?;
    world.patch("room", json!({"spec": {"deletionPolicy": "Delete"}})).await?;
    world
        .until("the finalizer to be added", PATIENCE, async || Ok(has_finalizer(&world.api.get("room").await?)))
        .await?;
    world.delete("room").await?;
    assert!(ByHand::at(&world)?.describe("room").await?.deleted);
    Ok(())
}

#[tokio::test]
async fn externally_recreated_group_is_not_deleted() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("room", json!({"deletionPolicy": "Delete"})).await?;
    world.ready("room", "True", "Created").await?;
    let hand = ByHand::at(&world)?;
    // The test changes the create time in the status, so that the group looks recreated.
    world.operator.as_mut().unwrap().process.sigkill()?;
    let patch =
        kube::api::Patch::Merge(json!({"status": {"createTime": "2020-01-01T00:00:00Z", "createIntent": null}}));
    world.api.patch_status("room", &kube::api::PatchParams::default(), &patch).await?;
    world.start()?;
    world.delete("room").await?;
    assert!(!hand.describe("room").await?.deleted);
    assert_eq!(world.calls("DeleteLiveMessageGroup", "room")?, 0);
    Ok(())
}

#[tokio::test]
async fn group_of_a_deleted_object_is_handed_over() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("first", json!({"groupId": "shared", "deletionPolicy": "Delete"})).await?;
    world.ready("first", "True", "Created").await?;
    world.create("second", json!({"groupId": "shared"})).await?;
    world.ready("second", "False", "Conflict").await?;
    world.delete("first").await?;
    world.ready("second", "True", "AlreadyExists").await?;
    assert!(!ByHand::at(&world)?.describe("shared").await?.deleted);
    Ok(())
}

#[tokio::test]
async fn observe_never_writes() -> Result<()> {
    let mut world = World::new(&["seen", "gone:deleted"]).await?;
    world.start()?;
    let spec = json!({"managementPolicy": "Observe", "groupInfo": "different", "deletionPolicy": "Delete"});
    for name in ["seen", "gone", "nothing"] {
        world.create(name, spec.clone()).await?;
    }
    world.ready("seen", "True", "Observed").await?;
    world.ready("gone", "False", "GroupDeleted").await?;
    let nothing = world.ready("nothing", "False", "GroupNotFound").await?;
    assert_eq!(condition(&nothing, ConditionType::Stalled), ["True", "GroupNotFound"]);
    for name in ["seen", "gone", "nothing"] {
        world.delete(name).await?;
    }
    let requests = world.requests()?;
    assert!(requests.iter().all(|request| request.operation == "DescribeLiveMessageGroup"), "{requests:?}");
    Ok(())
}

#[tokio::test]
async fn create_only_never_modifies() -> Result<()> {
    let mut world = World::new(&["there"]).await?;
    world.start()?;
    world.create("there", json!({"managementPolicy": "CreateOnly", "groupInfo": "mine"})).await?;
    world.ready("there", "True", "AlreadyExists").await?;
    world.create("fresh", json!({"managementPolicy": "CreateOnly", "groupInfo": "mine"})).await?;
    world.ready("fresh", "True", "Created").await?;
    world.patch("fresh", json!({"spec": {"groupInfo": "edited"}})).await?;
    world.ready("fresh", "True", "Created").await?;
    assert_eq!(ByHand::at(&world)?.describe("fresh").await?.group_info, "mine");
    assert_eq!(world.calls("ModifyLiveMessageGroup", "fresh")? + world.calls("ModifyLiveMessageGroup", "there")?, 0);
    Ok(())
}

#[tokio::test]
async fn recover_policy_recovers_and_updates_a_deleted_group() -> Result<()> {
    let mut world = World::new(&["old:deleted", "older:deleted"]).await?;
    world.start()?;
    world.create("old", json!({"deletedGroupPolicy": "Recover", "groupInfo": "new"})).await?;
    let object = world.ready("old", "True", "Recovered").await?;
    assert_eq!(object.status.as_ref().unwrap().origin, Some(Origin::Recovered));
    assert_eq!(ByHand::at(&world)?.describe("old").await?.group_info, "new");
    // The object first reports that its group is deleted. After the policy changes, the operator recovers the group.
    world.create("older", json!({})).await?;
    world.ready("older", "False", "GroupDeleted").await?;
    world.patch("older", json!({"spec": {"deletedGroupPolicy": "Recover"}})).await?;
    world.ready("older", "True", "Recovered").await?;
    Ok(())
}

#[tokio::test]
async fn create_with_a_lost_response_is_recognized() -> Result<()> {
    let mut world = World::new(&[]).await?;
    // The operator is killed after the group is created and before the response arrives.
    world.options.args.push("--request-timeout=60s".into());
    world.start()?;
    world.emulator.faults(&["CreateLiveMessageGroup:slow=60000,times=1"])?;
    world.create("lost", json!({"deletionPolicy": "Delete", "groupInfo": "text"})).await?;
    world
        .until("the create to arrive", PATIENCE, async || {
            Ok(world.emulator.get("/state")?["apps"][0]["groups"].as_array().is_some_and(|groups| !groups.is_empty()))
        })
        .await?;
    let recorded = world.api.get("lost").await?.status.and_then(|status| status.create_intent);
    assert!(recorded.is_some_and(|intent| intent.is_open()), "the intent is recorded before the call, and open");
    world.kill()?;
    world.start()?;
    let object = world.ready("lost", "True", "Created").await?;
    assert_eq!(object.status.as_ref().unwrap().origin, Some(Origin::Created));
    assert!(object.status.as_ref().unwrap().create_time.is_some());
    world.delete("lost").await?;
    assert!(ByHand::at(&world)?.describe("lost").await?.deleted);
    Ok(())
}
