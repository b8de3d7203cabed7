//! Tests that no edit of the spec is lost, even during calls and outages.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use live_message_operator::resources::{ConditionType, Origin};
use serde_json::json;

use crate::by_hand::ByHand;
use crate::support::{EmulatorOptions, Result};
use crate::world::{PATIENCE, World, app, condition};

const CREATE: &str = "CreateLiveMessageGroup";
const MODIFY: &str = "ModifyLiveMessageGroup";

#[tokio::test]
async fn edit_during_an_outage_makes_ready_unknown_until_applied() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("room", json!({"groupInfo": "old"})).await?;
    world.ready("room", "True", "Created").await?;

    world.emulator.process.sigstop()?;
    let (edited, at) = (Instant::now(), Timestamp::now());
    world.patch("room", json!({"spec": {"groupInfo": "new"}})).await?;
    let ready_unknown = async || {
        let room = world.api.get("room").await?;
        let ready = room.condition(ConditionType::Ready).filter(|ready| ready.status == "Unknown");
        let since = ready.map(|ready| ready.last_transition_time.0);
        Ok(since.filter(|_| condition(&room, ConditionType::Reconciling)[0] == "True"))
    };
    let since = world.find("Ready to become Unknown", PATIENCE, ready_unknown).await?;
    let log = world.log();
    let calls = log.lines().filter(|line| line.contains("call sent"));
    let mut calls = calls.filter_map(|line| line.split_whitespace().next()?.parse::<Timestamp>().ok());
    let sent = calls.find(|call| *call > at).unwrap();
    let after = since.duration_since(sent).as_secs_f64();
    println!("Ready becomes Unknown {after:.1} s after a call without a response");
    assert!(after < 10.0, "Ready became Unknown only after the call failed: {after} s");
    // The first call times out, and the operator sends a second one. Check the conditions until that call is in flight.
    while edited.elapsed() < Duration::from_secs(14) {
        let room = world.api.get("room").await?;
        assert_eq!(condition(&room, ConditionType::Ready)[0], "Unknown");
        assert_eq!(condition(&room, ConditionType::Reconciling)[0], "True");
        assert_eq!(condition(&room, ConditionType::Stalled), ["", ""]);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.ready("room", "Unknown", "Unreachable").await?;

    world.emulator.process.sigcont()?;
    world.ready("room", "True", "Created").await?;
    assert_eq!(ByHand::at(&world)?.describe("room").await?.group_info, "new");
    assert_eq!(world.called(MODIFY)?.last().and_then(|call| call.param("GroupInfo")), Some("new"));
    Ok(())
}

#[tokio::test]
async fn edit_during_an_in_flight_create_is_applied_after_it() -> Result<()> {
    let mut world = World::new(&[]).await?;
    // The create must not time out before the edit, even on a slow machine.
    world.options.args.push("--request-timeout=60s".into());
    world.start()?;
    // The first object of an app causes a list call that counts the groups of the app. Create such an object first, so
    // that the next object causes only a create.
    world.create("before", json!({})).await?;
    world.ready("before", "True", "Created").await?;
    world.emulator.process.sigstop()?;
    world.create("room", json!({"groupInfo": "first", "administrators": ["a"]})).await?;
    world.until("the create to be sent", PATIENCE, async || Ok(world.in_flight(CREATE) == 1)).await?;
    world.patch("room", json!({"spec": {"groupInfo": "second", "administrators": ["b"]}})).await?;
    world.emulator.process.sigcont()?;
    let room = world.ready("room", "True", "Created").await?;
    assert_eq!(room.origin(), Some(&Origin::Created), "the object created the group");
    let group = ByHand::at(&world)?.describe("room").await?;
    assert_eq!((group.group_info.as_str(), group.administrators), ("second", vec!["b".to_owned()]));
    assert_eq!(world.calls(CREATE, "room")?, 1);
    Ok(())
}

#[tokio::test]
async fn last_of_several_quick_edits_is_applied() -> Result<()> {
    let mut world = slow_world().await?;
    world.start()?;
    world.create("room", json!({"groupInfo": "0"})).await?;
    world.ready("room", "True", "Created").await?;
    for text in ["1", "2"] {
        world.patch("room", json!({"spec": {"groupInfo": text}})).await?;
    }
    // Edit a third time while the calls for the second edit are in flight.
    tokio::time::sleep(Duration::from_millis(1000)).await;
    world.patch("room", json!({"spec": {"groupInfo": "3"}})).await?;
    world.ready("room", "True", "Created").await?;
    assert_eq!(ByHand::at(&world)?.describe("room").await?.group_info, "3");
    assert_eq!(world.called(MODIFY)?.last().and_then(|call| call.param("GroupInfo")), Some("3"));
    Ok(())
}

#[tokio::test]
async fn only_differing_managed_fields_are_changed() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("room", json!({"groupInfo": "welcome", "administrators": ["a", "b", "c"]})).await?;
    world.ready("room", "True", "Created").await?;
    let by_hand = ByHand::at(&world)?;

    world.patch("room", json!({"spec": {"administrators": ["c", "a", "b"]}})).await?;
    world.ready("room", "True", "Created").await?;
    assert_eq!(world.called(MODIFY)?.len(), 0, "the order of administrators is irrelevant");

    world.patch("room", json!({"spec": {"administrators": []}})).await?;
    world.ready("room", "True", "Created").await?;
    let group = by_hand.describe("room").await?;
    assert_eq!((group.administrators.len(), group.group_info.as_str()), (0, "welcome"));
    assert_eq!(world.called(MODIFY)?.len(), 1);
    assert_eq!(
        world.called(MODIFY)?.last().and_then(|call| call.param("GroupInfo")),
        None,
        "an unchanged field is not sent"
    );

    world.patch("room", json!({"spec": {"groupInfo": null}})).await?;
    let room = world.ready("room", "True", "Created").await?;
    assert_eq!(room.spec.group_info, None);
    assert_eq!(by_hand.describe("room").await?.group_info, "welcome", "a removed field is unmanaged, not cleared");

    world.patch("room", json!({"spec": {"groupInfo": ""}})).await?;
    world.ready("room", "True", "Created").await?;
    assert_eq!(by_hand.describe("room").await?.group_info, "", "an empty string clears the field");
    assert_eq!(world.called(MODIFY)?.len(), 2);
    Ok(())
}

/// Creates a world with slow responses, so that a test can edit objects while calls are in flight.
async fn slow_world() -> Result<World<'static>> {
    World::with(EmulatorOptions { args: vec!["--latency-ms=1500".into()], ..app() }).await
}
