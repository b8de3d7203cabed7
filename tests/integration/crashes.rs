//! Killed at random moments, again and again.

use std::time::Duration;

use live_message_operator::resources::ConditionType;

use crate::support::{EmulatorOptions, Result};
use crate::world::{World, app, condition};

#[tokio::test]
async fn killed_at_random_moments_every_group_is_made_once() -> Result<()> {
    const OBJECTS: usize = 30;
    // Slow answers: a kill hits calls in flight.
    let mut world = World::with(EmulatorOptions { args: vec!["--latency-ms=150".into()], ..app() }).await?;
    world.create_many("g", OBJECTS).await?;
    let mut kills = 0;
    for _ in 0..6 {
        world.start()?;
        let before = world.requests()?.len();
        world.until("it to work", 20, async || Ok(world.requests()?.len() > before)).await?;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..250))).await;
        world.kill()?;
        kills += 1;
        if world.list().await?.iter().all(|object| condition(object, ConditionType::Ready)[0] == "True") {
            break;
        }
    }
    world.start()?;
    world
        .until("all to be ready", 30, async || {
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
