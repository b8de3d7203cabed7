//! Tests of restarts after the operator is killed.

use std::time::Duration;

use live_message_operator::resources::ConditionType;
use serde_json::json;

use crate::by_hand::ByHand;
use crate::support::{EmulatorOptions, Result};
use crate::world::{PATIENCE, World, app, condition};

#[tokio::test]
async fn random_kills_leave_one_group_per_object() -> Result<()> {
    const OBJECTS: usize = 30;
    // Responses are slow, so that each kill interrupts in-flight calls.
    let mut world = World::with(EmulatorOptions { args: vec!["--latency-ms=150".into()], ..app() }).await?;
    world.create_many("g", OBJECTS).await?;
    let mut kills = 0;
    for _ in 0..6 {
        world.start()?;
        let before = world.requests()?.len();
        world.until("the operator to send calls", PATIENCE, async || Ok(world.requests()?.len() > before)).await?;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..250))).await;
        world.kill()?;
        kills += 1;
        if world.list().await?.iter().all(|object| condition(object, ConditionType::Ready)[0] == "True") {
            break;
        }
    }
    world.start()?;
    world
        .until("all objects to be ready", PATIENCE, async || {
            Ok(world.list().await?.iter().all(|object| condition(object, ConditionType::Ready)[0] == "True"))
        })
        .await?;
    let creates = world.called("CreateLiveMessageGroup")?;
    println!("killed {kills} times: {} creates for {OBJECTS} groups", creates.len());
    assert!(creates.busiest_second() <= 50);
    assert_eq!(creates.by_group().len(), OBJECTS);
    let state = world.emulator.get("/state")?;
    let groups = state["apps"][0]["groups"].as_array().unwrap();
    assert_eq!(groups.len(), OBJECTS, "{state}");
    assert!(groups.iter().all(|group| group["deleted"].is_null()), "{state}");
    Ok(())
}

#[tokio::test]
async fn late_change_of_a_killed_process_is_overwritten() -> Result<()> {
    const MODIFY: &str = "ModifyLiveMessageGroup";
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("room", json!({"groupInfo": "1"})).await?;
    world.ready("room", "True", "Created").await?;

    world.emulator.faults(&["ModifyLiveMessageGroup:late=2500,times=1"])?;
    world.patch("room", json!({"spec": {"groupInfo": "2"}})).await?;
    world.until("the change to be sent", PATIENCE, async || Ok(world.sent(MODIFY) == 1)).await?;
    // The operator logs a call shortly before it sends the request.
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.kill()?;
    world.patch("room", json!({"spec": {"groupInfo": "3"}})).await?;
    world.start()?;
    world.ready("room", "True", "Created").await?;
    // The emulator logs a request after it takes effect, so both changes have taken effect.
    assert_eq!(world.called(MODIFY)?.len(), 2);
    assert_eq!(ByHand::at(&world)?.describe("room").await?.group_info, "3");
    Ok(())
}
