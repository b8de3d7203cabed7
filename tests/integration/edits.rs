//! No edit is ever lost in silence, whenever it comes.

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
async fn an_edit_that_cannot_be_sent_takes_back_ready_until_it_is_applied() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("room", json!({"groupInfo": "old"})).await?;
    world.ready("room", "True", "Created").await?;

    world.emulator.process.sigstop()?;
    let (edited, at) = (Instant::now(), Timestamp::now());
    world.patch("room", json!({"spec": {"groupInfo": "new"}})).await?;
    let taken_back = async || {
        let room = world.api.get("room").await?;
        let ready = room.condition(ConditionType::Ready).filter(|ready| ready.status == "Unknown");
        let since = ready.map(|ready| ready.last_transition_time.0);
        Ok(since.filter(|_| condition(&room, ConditionType::Reconciling)[0] == "True"))
    };
    let since = world.find("Ready to be taken back", PATIENCE, taken_back).await?;
    let log = world.log();
    let calls = log.lines().filter(|line| line.contains("call sent"));
    let mut calls = calls.filter_map(|line| line.split_whitespace().next()?.parse::<Timestamp>().ok());
    let sent = calls.find(|call| *call > at).unwrap();
    let after = since.duration_since(sent).as_secs_f64();
    println!("a call without an answer takes back Ready after {after:.1} s");
    assert!(after < 10.0, "not before the call has failed: {after} s");
    // Past the first time-out and into the next try.
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
async fn an_edit_while_the_create_is_in_flight_is_applied_after_it() -> Result<()> {
    let mut world = World::new(&[]).await?;
    // Nothing is answered before the edit is there, however long that takes.
    world.options.args.push("--request-timeout=60s".into());
    world.start()?;
    // The app's groups are counted with the first one.
    world.create("before", json!({})).await?;
    world.ready("before", "True", "Created").await?;
    world.emulator.process.sigstop()?;
    world.create("room", json!({"groupInfo": "first", "administrators": ["a"]})).await?;
    world.until("the create to be sent", PATIENCE, async || Ok(world.in_flight(CREATE) == 1)).await?;
    world.patch("room", json!({"spec": {"groupInfo": "second", "administrators": ["b"]}})).await?;
    world.emulator.process.sigcont()?;
    let room = world.ready("room", "True", "Created").await?;
    assert_eq!(room.origin(), Some(&Origin::Created), "it created the group, whatever came after");
    let group = ByHand::at(&world)?.describe("room").await?;
    assert_eq!((group.group_info.as_str(), group.administrators), ("second", vec!["b".to_owned()]));
    assert_eq!(world.calls(CREATE, "room")?, 1);
    Ok(())
}

#[tokio::test]
async fn of_two_quick_edits_the_last_one_stays() -> Result<()> {
    let mut world = slow().await?;
    world.start()?;
    world.create("room", json!({"groupInfo": "0"})).await?;
    world.ready("room", "True", "Created").await?;
    for text in ["1", "2"] {
        world.patch("room", json!({"spec": {"groupInfo": text}})).await?;
    }
    // A third one while the calls for the second are out.
    tokio::time::sleep(Duration::from_millis(1000)).await;
    world.patch("room", json!({"spec": {"groupInfo": "3"}})).await?;
    world.ready("room", "True", "Created").await?;
    assert_eq!(ByHand::at(&world)?.describe("room").await?.group_info, "3");
    assert_eq!(world.called(MODIFY)?.last().and_then(|call| call.param("GroupInfo")), Some("3"));
    Ok(())
}

#[tokio::test]
async fn only_what_the_spec_names_and_means_is_changed() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("room", json!({"groupInfo": "welcome", "administrators": ["a", "b", "c"]})).await?;
    world.ready("room", "True", "Created").await?;
    let by_hand = ByHand::at(&world)?;

    world.patch("room", json!({"spec": {"administrators": ["c", "a", "b"]}})).await?;
    world.ready("room", "True", "Created").await?;
    assert_eq!(world.called(MODIFY)?.len(), 0, "another order is the same set");

    world.patch("room", json!({"spec": {"administrators": []}})).await?;
    world.ready("room", "True", "Created").await?;
    let group = by_hand.describe("room").await?;
    assert_eq!((group.administrators.len(), group.group_info.as_str()), (0, "welcome"));
    assert_eq!(world.called(MODIFY)?.len(), 1);
    assert_eq!(world.called(MODIFY)?.last().and_then(|call| call.param("GroupInfo")), None, "unchanged, so not sent");

    world.patch("room", json!({"spec": {"groupInfo": null}})).await?;
    let room = world.ready("room", "True", "Created").await?;
    assert_eq!(room.spec.group_info, None);
    assert_eq!(by_hand.describe("room").await?.group_info, "welcome", "not managed any more is not emptied");

    world.patch("room", json!({"spec": {"groupInfo": ""}})).await?;
    world.ready("room", "True", "Created").await?;
    assert_eq!(by_hand.describe("room").await?.group_info, "", "the empty text empties it");
    assert_eq!(world.called(MODIFY)?.len(), 2);
    Ok(())
}

/// Every answer takes its time, so that something can happen before it.
async fn slow() -> Result<World<'static>> {
    World::with(EmulatorOptions { args: vec!["--latency-ms=1500".into()], ..app() }).await
}
