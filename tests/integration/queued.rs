//! The expected time that a queued object reports.

use std::time::Duration;

use jiff::Timestamp;
use live_message_operator::resources::ConditionType;

use crate::support::{Context as _, Result};
use crate::world::{World, is};

const OBJECTS: usize = 100;
const RATE: usize = 2;

/// The longest time until every object is ready.
const LONGEST: u64 = 150;

#[tokio::test]
async fn queued_object_reports_when_it_is_processed() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.options.args.push(format!("--requests-per-second={RATE}"));
    world.create_many("g", OBJECTS).await?;
    let started = Timestamp::now();
    world.start()?;
    let queued = world
        .find("the last objects to be queued", LONGEST, async || {
            let queued: Vec<_> = world.list().await?.into_iter().filter(|object| is(object, "Queued")).collect();
            Ok((queued.len() >= OBJECTS - 30 * RATE - 10).then_some(queued))
        })
        .await?;
    assert!(
        queued.len() < OBJECTS - 20 * RATE,
        "an object that waits for less than 30 s reports nothing: {}",
        queued.len()
    );
    world.count_of("Created", OBJECTS, LONGEST).await?;
    let creates = world.emulator.requests()?;
    for object in &queued {
        let message = &object.condition(ConditionType::Ready).context("the condition")?.message;
        let (_, after) = message.split_once("expected at about ").context(message)?;
        let (time, _) = after.split_once("Z.").context(message)?;
        let today: Timestamp = format!("{}T{time}Z", started.strftime("%Y-%m-%d")).parse()?;
        let expected = if today < started { today + Duration::from_secs(86_400) } else { today };
        let create = creates.iter().find(|request| request.param("GroupId") == object.group_id());
        let actual: Timestamp = create.context("the create of a queued object")?.time.parse()?;
        let [expected, actual] = [expected, actual].map(|time| time.duration_since(started).as_secs_f64());
        assert!((expected / actual - 1.0).abs() < 0.2, "{message}: {expected} s, and {actual} s in fact");
    }
    Ok(())
}
