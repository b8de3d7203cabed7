//! Tests of objects that were restored without their status, or whose status was removed. Such an object adopts its
//! group without changing it, because `status.origin` no longer records that the object created the group.

use kube::api::DeleteParams;
use live_message_operator::live::GroupSnapshot;
use live_message_operator::resources::{FINALIZER, LiveMessageGroup, Origin};
use serde_json::{Value, json};

use crate::by_hand::ByHand;
use crate::support::Result;
use crate::world::{PATIENCE, World};

const NOT_RECORDED: &str = "is retained: status.origin does not record that this object created the group";

/// Creates a world with a running operator, an object with the deletion policy `Delete`, and its group.
async fn created() -> Result<(World<'static>, LiveMessageGroup, GroupSnapshot)> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    let spec = json!({"deletionPolicy": "Delete", "groupInfo": "welcome", "administrators": ["a", "b"]});
    world.create("room", spec).await?;
    world.ready("room", "True", "Created").await?;
    let annotations = json!({"live.alibabacloud.com/reconcile-requested-at": "before the backup", "team": "video"});
    world.patch("room", json!({"metadata": {"annotations": annotations}})).await?;
    let handled = async || Ok(world.api.get("room").await?.status.unwrap().last_handled_reconcile_at.is_some());
    world.until("the request to be handled", PATIENCE, handled).await?;
    let room = world.api.get("room").await?;
    assert_eq!(room.metadata.finalizers.as_deref(), Some(&[FINALIZER.to_owned()][..]));
    let group = ByHand::at(&world)?.describe("room").await?;
    Ok((world, room, group))
}

/// The manifest that a backup tool restores: name, annotations, finalizers and spec.
fn backup(room: &LiveMessageGroup) -> Value {
    let metadata = &room.metadata;
    json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup", "spec": room.spec,
        "metadata": {"name": "room", "annotations": metadata.annotations, "finalizers": metadata.finalizers},
    })
}

/// Simulates the loss of a cluster: stops the operator, removes the finalizer, deletes the object, and restores the
/// object from a backup.
async fn lose_and_restore(world: &mut World<'_>, room: &LiveMessageGroup) -> Result<()> {
    world.stop()?;
    world.patch("room", json!({"metadata": {"finalizers": null}})).await?;
    world.api.delete("room", &DeleteParams::default()).await?;
    let create = ["create", "-n", &world.namespace, "-f", "-"];
    world.control_plane.kubectl_with_input(&create, &backup(room).to_string()).map(drop)
}

/// Merges `status` into the status of the object. Null removes the status.
fn write_status(world: &World<'_>, status: &Value) -> Result<()> {
    let patch = json!({"status": status}).to_string();
    let patch = ["patch", "lmg", "room", "--subresource=status", "--type=merge", "--patch", &patch];
    world.control_plane.kubectl(&[&patch[..], &["-n", &world.namespace]].concat()).map(drop)
}

/// Counts the calls that change or delete a group after its creation.
fn changes(world: &World<'_>) -> Result<usize> {
    let excluded = ["CreateLiveMessageGroup", "DescribeLiveMessageGroup"];
    Ok(world.requests()?.iter().filter(|request| !excluded.contains(&request.operation.as_str())).count())
}

/// Expects that the object adopts its group without changing it. Then deletes the object, and expects that the group is
/// retained.
async fn expect_adopted_and_retained(world: &World<'_>, group: &GroupSnapshot) -> Result<()> {
    let room = world.ready("room", "True", "AlreadyExists").await?;
    assert_eq!(room.origin(), Some(&Origin::Adopted));
    let released = async || Ok(world.api.get("room").await?.metadata.finalizers.is_none());
    world.until("the finalizer to be removed", PATIENCE, released).await?;
    let annotations = world.api.get("room").await?.metadata.annotations.unwrap_or_default();
    assert_eq!(annotations.get("team").map(String::as_str), Some("video"));
    assert_eq!(changes(world)?, 0, "adopted without a change");
    world.delete("room").await?;
    expect_retained(world, group).await
}

/// Expects that the group is unchanged, and that an event reports why the group is retained.
async fn expect_retained(world: &World<'_>, group: &GroupSnapshot) -> Result<()> {
    let args = ["get", "events", "-n", &world.namespace, "--field-selector", "reason=Retained"];
    let args = [&args[..], &["-o", "jsonpath={.items[*].message}"]].concat();
    let reported = async || Ok(world.control_plane.kubectl(&args)?.ends_with(NOT_RECORDED));
    world.until("the event of the deletion", PATIENCE, reported).await?;
    assert_eq!(&ByHand::at(world)?.describe("room").await?, group);
    assert_eq!(changes(world)?, 0);
    Ok(())
}

#[tokio::test]
async fn object_restored_without_status_adopts_its_group() -> Result<()> {
    let (mut world, room, group) = created().await?;
    lose_and_restore(&mut world, &room).await?;
    world.start()?;
    expect_adopted_and_retained(&world, &group).await
}

#[tokio::test]
async fn object_with_wiped_status_adopts_its_group() -> Result<()> {
    let (world, _, group) = created().await?;
    write_status(&world, &Value::Null)?;
    expect_adopted_and_retained(&world, &group).await
}

#[tokio::test]
async fn object_deleted_with_wiped_status_retains_its_group() -> Result<()> {
    let (mut world, _, group) = created().await?;
    world.stop()?;
    write_status(&world, &Value::Null)?;
    world.api.delete("room", &DeleteParams::default()).await?;
    world.start()?;
    world.until("the object to be gone", PATIENCE, async || Ok(world.api.get_opt("room").await?.is_none())).await?;
    expect_retained(&world, &group).await
}

#[tokio::test]
async fn object_restored_with_status_deletes_its_group() -> Result<()> {
    let (mut world, room, _) = created().await?;
    lose_and_restore(&mut world, &room).await?;
    write_status(&world, &serde_json::to_value(&room.status)?)?;
    world.start()?;
    assert_eq!(world.ready("room", "True", "Created").await?.origin(), Some(&Origin::Created));
    assert_eq!(changes(&world)?, 0);
    world.delete("room").await?;
    assert!(ByHand::at(&world)?.describe("room").await?.deleted);
    Ok(())
}
