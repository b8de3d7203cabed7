//! Objects that come back without their status, and statuses that somebody has wiped: the group is taken over as it is,
//! and nobody can tell any more who created it.

use kube::api::DeleteParams;
use live_message_operator::live::GroupSnapshot;
use live_message_operator::resources::{FINALIZER, LiveMessageGroup, Origin};
use serde_json::{Value, json};

use crate::by_hand::ByHand;
use crate::support::Result;
use crate::world::{PATIENCE, World};

const NOT_RECORDED: &str = "is retained: its status does not record that this object created it (status.origin)";

/// A group that an object created and is to delete, and how it looks; the operator runs.
async fn created() -> Result<(World<'static>, LiveMessageGroup, GroupSnapshot)> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    let spec = json!({"deletionPolicy": "Delete", "groupInfo": "welcome", "administrators": ["a", "b"]});
    world.create("room", spec).await?;
    world.ready("room", "True", "Created").await?;
    let asked = json!({"live.alibabacloud.com/reconcile-requested-at": "before the backup", "team": "video"});
    world.patch("room", json!({"metadata": {"annotations": asked}})).await?;
    let handled = async || Ok(world.api.get("room").await?.status.unwrap().last_handled_reconcile_at.is_some());
    world.until("the request to be handled", PATIENCE, handled).await?;
    let room = world.api.get("room").await?;
    assert_eq!(room.metadata.finalizers.as_deref(), Some(&[FINALIZER.to_owned()][..]));
    let group = ByHand::at(&world)?.describe("room").await?;
    Ok((world, room, group))
}

/// What a backup tool brings back: name, annotations, finalizers and spec.
fn backup(room: &LiveMessageGroup) -> Value {
    let of = &room.metadata;
    json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup", "spec": room.spec,
        "metadata": {"name": "room", "annotations": of.annotations, "finalizers": of.finalizers},
    })
}

/// The cluster is lost with the operator and its objects, and the objects come back.
async fn lost_and_restored(world: &mut World<'_>, room: &LiveMessageGroup) -> Result<()> {
    world.stop()?;
    world.patch("room", json!({"metadata": {"finalizers": null}})).await?;
    world.api.delete("room", &DeleteParams::default()).await?;
    let create = ["create", "-n", &world.namespace, "-f", "-"];
    world.control_plane.kubectl_with_input(&create, &backup(room).to_string()).map(drop)
}

/// Wipes the status, or writes this one.
fn write_status(world: &World<'_>, status: &Value) -> Result<()> {
    let patch = json!({"status": status}).to_string();
    let patch = ["patch", "lmg", "room", "--subresource=status", "--type=merge", "--patch", &patch];
    world.control_plane.kubectl(&[&patch[..], &["-n", &world.namespace]].concat()).map(drop)
}

/// How often a group was changed, in whatever way.
fn changes(world: &World<'_>) -> Result<usize> {
    let quiet = ["CreateLiveMessageGroup", "DescribeLiveMessageGroup"];
    Ok(world.requests()?.iter().filter(|request| !quiet.contains(&request.operation.as_str())).count())
}

/// The object took its group over as it was; deleted, it leaves the group and says why.
async fn adopted_and_retained(world: &World<'_>, group: &GroupSnapshot) -> Result<()> {
    let room = world.ready("room", "True", "AlreadyExists").await?;
    assert_eq!(room.origin(), Some(&Origin::Adopted));
    let released = async || Ok(world.api.get("room").await?.metadata.finalizers.is_none());
    world.until("the finalizer to go", PATIENCE, released).await?;
    let annotations = world.api.get("room").await?.metadata.annotations.unwrap_or_default();
    assert_eq!(annotations.get("team").map(String::as_str), Some("video"));
    assert_eq!(changes(world)?, 0, "taken over without a change");
    world.delete("room").await?;
    retained(world, group).await
}

/// The group is as it was, and the event of the deletion says why it stays.
async fn retained(world: &World<'_>, group: &GroupSnapshot) -> Result<()> {
    let of = ["get", "events", "-n", &world.namespace, "--field-selector", "reason=Retained"];
    let of = [&of[..], &["-o", "jsonpath={.items[*].message}"]].concat();
    let told = async || Ok(world.control_plane.kubectl(&of)?.ends_with(NOT_RECORDED));
    world.until("the event of the deletion", PATIENCE, told).await?;
    assert_eq!(&ByHand::at(world)?.describe("room").await?, group);
    assert_eq!(changes(world)?, 0);
    Ok(())
}

#[tokio::test]
async fn restored_without_its_status_an_object_adopts_its_group_as_it_is() -> Result<()> {
    let (mut world, room, group) = created().await?;
    lost_and_restored(&mut world, &room).await?;
    world.start()?;
    adopted_and_retained(&world, &group).await
}

#[tokio::test]
async fn an_object_whose_status_was_wiped_adopts_its_group_as_it_is() -> Result<()> {
    let (world, _, group) = created().await?;
    write_status(&world, &Value::Null)?;
    adopted_and_retained(&world, &group).await
}

#[tokio::test]
async fn an_object_whose_status_was_wiped_before_its_deletion_goes_and_leaves_its_group() -> Result<()> {
    let (mut world, _, group) = created().await?;
    world.stop()?;
    write_status(&world, &Value::Null)?;
    world.api.delete("room", &DeleteParams::default()).await?;
    world.start()?;
    world.until("the object to go", PATIENCE, async || Ok(world.api.get_opt("room").await?.is_none())).await?;
    retained(&world, &group).await
}

#[tokio::test]
async fn restored_with_its_status_an_object_still_deletes_the_group_that_it_created() -> Result<()> {
    let (mut world, room, _) = created().await?;
    lost_and_restored(&mut world, &room).await?;
    write_status(&world, &serde_json::to_value(&room.status)?)?;
    world.start()?;
    assert_eq!(world.ready("room", "True", "Created").await?.origin(), Some(&Origin::Created));
    assert_eq!(changes(&world)?, 0);
    world.delete("room").await?;
    assert!(ByHand::at(&world)?.describe("room").await?.deleted);
    Ok(())
}
