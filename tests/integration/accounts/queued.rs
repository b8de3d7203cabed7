//! Objects that wait for the rate limit report an expected time, and so does their LiveAccount. Tests that these times
//! are accurate.

use std::time::Duration;

use jiff::Timestamp;
use live_message_operator::resources::{AccountQueue, ConditionType};
use serde_json::json;

use super::{KEY, SECRET, account, create_many, get_account, secret, world};
use crate::support::{Context as _, Result};
use crate::world::is;

const OBJECTS: usize = 400;
const RATE: usize = 5;

/// The maximum wait until every object is ready, in seconds.
const LONGEST: u64 = 180;

/// The largest relative error of an expected time.
const TOLERANCE: f64 = 0.2;

/// Reads the expected time from a message. The message contains only the time of day, so `started` provides the date.
fn expected_in(message: &str, started: Timestamp) -> Result<Timestamp> {
    let (_, after) = message.split_once("expected at about ").context(message)?;
    let (time, _) = after.split_once("Z.").context(message)?;
    let today: Timestamp = format!("{}T{time}Z", started.strftime("%Y-%m-%d")).parse()?;
    Ok(if today < started { today + Duration::from_secs(86_400) } else { today })
}

#[tokio::test]
async fn queued_objects_report_when_they_are_processed() -> Result<()> {
    let mut world = world(&[(KEY, SECRET)]).await?;
    secret(&world, "team", (KEY, SECRET))?;
    account(&world, "team", json!({"requestsPerSecond": RATE}))?;
    create_many(&world, "g", OBJECTS, "team", &json!({})).await?;
    let started = Timestamp::now();
    world.start()?;
    let queued = world
        .find("the last objects to be queued", LONGEST, async || {
            let queued: Vec<_> = world.list().await?.into_iter().filter(|object| is(object, "Queued")).collect();
            Ok((queued.len() >= OBJECTS / 4).then_some(queued))
        })
        .await?;
    assert!(queued.len() < OBJECTS - 20 * RATE, "an object that waits for less than 30 s reports nothing");
    let queue: AccountQueue = world
        .find("the LiveAccount to report its queue", LONGEST, async || {
            Ok(get_account(&world, "team").await?.status.and_then(|status| status.queue))
        })
        .await?;
    let waiting = world.list().await?.iter().filter(|object| !is(object, "Created")).count();
    // The operator updates the reported number only every 30 s, so that number can be too high.
    let reported = usize::try_from(queue.waiting)?;
    assert!((waiting..waiting + 40 * RATE).contains(&(reported + RATE)), "{queue:?}, {waiting} wait");

    world.count_of("Created", OBJECTS, LONGEST).await?;
    let creates = world.called("CreateLiveMessageGroup")?;
    let last = creates.last().context("a create")?.arrived()?;
    let mut expectations = vec![(queue.expected_end.parse()?, last)];
    for object in &queued {
        let message = &object.condition(ConditionType::Reconciling).context("the condition")?.message;
        let actual = creates.first_of(object.group_id().context("a group ID")?).context("its create")?;
        expectations.push((expected_in(message, started)?, actual));
    }
    let mut largest_error = 0.0_f64;
    for (expected, actual) in expectations {
        let [expected, actual] = [expected, actual].map(|time: Timestamp| time.duration_since(started).as_secs_f64());
        largest_error = largest_error.max((expected / actual - 1.0).abs());
        assert!(largest_error < TOLERANCE, "expected after {expected:.1} s, in fact {actual:.1} s");
    }
    println!("the largest error of an expected time: {:.0} %", largest_error * 100.0);
    world
        .until("the LiveAccount to have no queue", 90, async || {
            Ok(get_account(&world, "team").await?.status.is_some_and(|status| status.queue.is_none()))
        })
        .await
}
