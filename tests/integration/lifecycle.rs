//! Tests the lifecycle of an object. The operator creates or adopts its group, and changes the group after an edit.

use live_message_operator::resources::{ConditionType, Origin};
use serde_json::json;

use crate::support::Result;
use crate::world::{APP, World, condition};

#[tokio::test]
async fn new_group_is_created_once() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("fresh", json!({"groupName": "Fresh", "administrators": ["u1", "u2"]})).await?;
    let object = world.ready("fresh", "True", "Created").await?;
    let status = object.status.as_ref().unwrap();
    assert_eq!(status.origin, Some(Origin::Created));
    assert_eq!(status.group_id.as_deref(), Some("fresh"));
    assert!(status.last_request_id.is_some());
    assert_eq!(condition(&object, ConditionType::Reconciling), ["", ""]);
    assert_eq!(world.requests()?.len(), 1, "one create and no other call");
    Ok(())
}

#[tokio::test]
async fn existing_group_is_adopted_and_updated_to_the_spec() -> Result<()> {
    let mut world = World::new(&["lobby"]).await?;
    world.start()?;
    world.create("lobby", json!({"groupInfo": "welcome", "groupName": "Lobby"})).await?;
    let object = world.ready("lobby", "True", "AlreadyExists").await?;
    let status = object.status.as_ref().unwrap();
    assert_eq!(status.origin, Some(Origin::Adopted));
    assert!(status.create_time.is_some(), "recorded without an additional call");
    assert_eq!(condition(&object, ConditionType::InSync), ["False", "ImmutableFieldsDiffer"]);
    assert_eq!(world.calls("ModifyLiveMessageGroup", "lobby")?, 1);
    Ok(())
}

#[tokio::test]
async fn deleted_group_degrades_the_object_until_its_spec_changes() -> Result<()> {
    let mut world = World::new(&["gone:deleted"]).await?;
    world.start()?;
    world.create("object", json!({"groupId": "gone"})).await?;
    let object = world.ready("object", "False", "GroupDeleted").await?;
    assert_eq!(condition(&object, ConditionType::Degraded), ["True", "GroupDeleted"]);
    assert_eq!(condition(&object, ConditionType::Stalled), ["True", "GroupDeleted"]);
    world.patch("object", json!({"spec": {"groupId": "another", "groupName": "Another"}})).await?;
    let object = world.ready("object", "True", "Created").await?;
    assert_eq!(object.status.as_ref().unwrap().group_id.as_deref(), Some("another"));
    assert_eq!(condition(&object, ConditionType::Degraded), ["", ""]);
    Ok(())
}

#[tokio::test]
async fn purged_group_is_created_after_a_request_or_an_edit() -> Result<()> {
    let mut world = World::new(&["asked:deleted", "edited:deleted"]).await?;
    world.start()?;
    for name in ["asked", "edited"] {
        world.create(name, json!({})).await?;
        world.ready(name, "False", "GroupDeleted").await?;
        world.emulator.delete(&format!("/groups/{APP}/{name}"))?;
    }
    let request = json!({"metadata": {"annotations": {"live.alibabacloud.com/reconcile-requested-at": "now"}}});
    world.patch("asked", request).await?;
    world.patch("edited", json!({"spec": {"deletedGroupPolicy": "Recover"}})).await?;
    for name in ["asked", "edited"] {
        world.ready(name, "True", "Created").await?;
    }
    Ok(())
}

#[tokio::test]
async fn edit_is_applied_and_settled_objects_make_no_calls() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("room", json!({"groupInfo": "one"})).await?;
    world.ready("room", "True", "Created").await?;
    world.patch("room", json!({"spec": {"groupInfo": "zwei 群 \"&+\n", "administrators": ["a", "b"]}})).await?;
    let object = world.ready("room", "True", "Created").await?;
    assert_eq!(condition(&object, ConditionType::InSync), ["True", "InSync"]);
    let modify = world.requests()?.into_iter().find(|r| r.operation == "ModifyLiveMessageGroup").unwrap();
    assert_eq!(modify.param("GroupInfo"), Some("zwei 群 \"&+\n"));
    let calls = world.requests()?.len();
    // Neither a new label nor a restart of the operator changes the spec, so the operator makes no calls.
    world.patch("room", json!({"metadata": {"labels": {"a": "b"}}})).await?;
    world.operator.as_mut().unwrap().process.sigterm()?;
    world.operator.as_mut().unwrap().process.wait(std::time::Duration::from_secs(60))?;
    let before = world.api.get("room").await?.metadata.resource_version;
    world.start()?;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(world.requests()?.len(), calls);
    assert_eq!(world.api.get("room").await?.metadata.resource_version, before, "no status is written");
    Ok(())
}
