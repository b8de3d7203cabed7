//! Five hundred objects at once: the limit of the API is used to the full and never broken, whatever happens meanwhile.
//!
//! A binary of its own: cargo runs one after the other, so these measure the operator and not the tests beside them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is to stop")]

#[path = "../integration/calls.rs"]
#[allow(dead_code, reason = "shared; this binary does not use all of it")]
mod calls;

#[path = "../integration/world.rs"]
#[allow(dead_code, reason = "shared; this binary does not use all of it")]
mod world;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared; this binary does not use all of it")]
mod support;

mod rotation;
mod weather;

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use live_message_operator::resources::{ConditionType, Origin};
use tokio::sync::Mutex;

use crate::support::Result;
use crate::world::{World, app, condition};

/// These tests measure: one at a time.
static MEASURING: Mutex<()> = Mutex::const_new(());

const CREATE: &str = "CreateLiveMessageGroup";

#[tokio::test]
async fn five_hundred_at_once_take_ten_seconds_and_fifty_a_second() -> Result<()> {
    let _alone = MEASURING.lock().await;
    let mut world = World::with(app()).await?;
    world.create_many("g", 500).await?;
    world.start()?;
    let objects = world.count_of("Created", 500, 120).await?;
    let creates = world.called(CREATE)?;
    let (span, busiest) = (creates.span(), creates.busiest_second());
    println!("500 creates: {busiest} in the busiest second, {:.2} s from the first to the last", span.as_secs_f64());
    assert!(busiest <= 50, "{busiest} creates arrived within one second");
    assert_eq!(creates.codes(), Vec::<&str>::new());
    // On a machine of its own it is 10.2 s; the pace itself is held in virtual time.
    assert!(span <= Duration::from_secs(30), "the creates took {span:?}");
    let groups = creates.by_group();
    assert_eq!((groups.len(), creates.len()), (500, 500), "every group is created, and once");
    assert_eq!(world.requests()?.len(), 500, "and nothing else is called");
    for object in objects {
        assert_eq!(condition(&object, ConditionType::Ready), ["True", "Created"]);
        assert_eq!(object.origin(), Some(&Origin::Created));
    }
    Ok(())
}

#[tokio::test]
async fn killed_in_the_middle_of_five_hundred_it_goes_on_where_it_was() -> Result<()> {
    let _alone = MEASURING.lock().await;
    let mut world = World::with(app()).await?;
    world.create_many("g", 500).await?;
    world.start()?;
    // Far from the end: a machine that stands still for seconds just here is not at it either.
    world.until("a fifth to be ready", 120, async || Ok(ready(&world).await?.len() >= 100)).await?;
    world.kill()?;
    let killed = Timestamp::now();
    let ready = ready(&world).await?;
    let before = world.called(CREATE)?.len();
    world.start()?;
    world.until("all to be ready", 120, async || Ok(self::ready(&world).await?.len() == 500)).await?;
    let all = world.called(CREATE)?;
    assert!(all.busiest_second() <= 50, "{} creates within one second", all.busiest_second());
    assert_eq!(all.codes(), Vec::<&str>::new());
    assert_eq!(all.by_group().len(), 500);
    let after = all.after(killed);
    println!("killed after {before} creates with {} ready; {} creates after it", ready.len(), after.len());
    assert!((100..500).contains(&ready.len()), "{} were ready", ready.len());
    let twice: Vec<&str> = after.by_group().into_keys().filter(|group| ready.contains(*group)).collect();
    assert_eq!(twice, Vec::<&str>::new(), "created again, though their status said that they are there");
    Ok(())
}

/// The names of the objects that are ready.
async fn ready(world: &World<'_>) -> Result<HashSet<String>> {
    let objects = world.list().await?.into_iter();
    let ready = objects.filter(|object| condition(object, ConditionType::Ready)[0] == "True");
    Ok(ready.filter_map(|object| object.metadata.name).collect())
}
