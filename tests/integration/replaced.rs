//! Tests of objects that are deleted and recreated with the same name.

use std::time::Duration;

use kube::api::DeleteParams;
use live_message_operator::resources::{ConditionType, Origin};
use serde_json::json;

use crate::support::Result;
use crate::world::{PATIENCE, World, condition};

const CREATE: &str = "CreateLiveMessageGroup";

#[tokio::test]
async fn object_recreated_during_its_create_inherits_nothing() -> Result<()> {
    let mut world = World::new(&[]).await?;
    // With this long timeout, the create is still in flight when the object is recreated.
    world.options.args.push("--request-timeout=60s".into());
    world.start()?;
    // The operator lists the groups of an app before the first create. Create another object first, so that no list
    // call is sent for `room`.
    world.create("before", json!({})).await?;
    world.ready("before", "True", "Created").await?;
    world.emulator.process.sigstop()?;
    let old = world.create("room", json!({"groupInfo": "same"})).await?;
    world.until("the create to be sent", PATIENCE, async || Ok(world.in_flight(CREATE) == 1)).await?;
    world.delete("room").await?;
    let new = world.create("room", json!({"groupInfo": "same"})).await?;
    assert_ne!(old.metadata.uid, new.metadata.uid);
    world.emulator.process.sigcont()?;

    let room = world.ready("room", "True", "AlreadyExists").await?;
    assert_eq!(room.metadata.uid, new.metadata.uid);
    let status = room.status.as_ref().unwrap();
    assert_eq!(status.origin, Some(Origin::Adopted));
    assert_eq!(status.last_request_id, None, "no call for the new object changed the group");
    assert_eq!(condition(&room, ConditionType::InSync), ["True", "InSync"]);
    let log = world.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(!log.contains("could not be written"), "a write to a deleted object is reported as a failure\n{log}");
    assert_eq!(world.calls(CREATE, "room")?, 2);
    // The group is not an orphan, because the new object manages it.
    let events = world.control_plane.kubectl(&["get", "events", "-n", &world.namespace, "-o", "wide"])?;
    assert!(!events.contains("Orphaned"), "{events}");
    Ok(())
}

#[tokio::test]
async fn retaining_deletion_is_immediate_and_makes_no_calls() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("kept", json!({})).await?;
    let kept = world.ready("kept", "True", "Created").await?;
    assert_eq!(kept.metadata.finalizers, None);
    let calls = world.requests()?.len();
    world.control_plane.kubectl(&["delete", "lmg", "kept", "-n", &world.namespace, "--timeout=60s"])?;

    // The deletion needs neither the operator nor the Live API.
    world.create("alone", json!({})).await?;
    world.ready("alone", "True", "Created").await?;
    world.kill()?;
    world.api.delete("alone", &DeleteParams::default()).await?;
    assert!(world.api.get_opt("alone").await?.is_none());
    world.start()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.requests()?.len(), calls + 1, "one create for the second object");
    Ok(())
}
