//! Tests that the operator uses the full rate limit of the API and never exceeds it. Each test creates hundreds of
//! objects at once.
//!
//! These tests have their own binary. Cargo runs test binaries one at a time, so other tests cannot distort the
//! measurements.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed precondition fails the test")]

#[path = "../integration/calls.rs"]
#[allow(dead_code, reason = "shared; this binary does not use all of it")]
mod calls;

#[path = "../integration/world.rs"]
#[allow(dead_code, reason = "shared; this binary does not use all of it")]
mod world;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared; this binary does not use all of it")]
mod support;

mod neighbor;
mod rotation;

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use live_message_operator::resources::{ConditionType, Origin};
use tokio::sync::Semaphore;

use crate::support::Result;
use crate::world::{World, app, condition};

/// Limits the number of parallel tests. The tests mostly wait for the rate limit, but more than three tests at a time
/// would distort the measurements.
static MEASURING: Semaphore = Semaphore::const_new(3);

const CREATE: &str = "CreateLiveMessageGroup";

#[tokio::test]
async fn create_500_objects_at_50_per_second() -> Result<()> {
    let _guard = MEASURING.acquire().await?;
    let mut world = World::with(app()).await?;
    world.create_many("g", 500).await?;
    world.start()?;
    let objects = world.count_of("Created", 500, 120).await?;
    let creates = world.called(CREATE)?;
    let (span, busiest) = (creates.span(), creates.busiest_second());
    println!("500 creates in {:.2} s, at most {busiest} in one second", span.as_secs_f64());
    assert!(busiest <= 50, "{busiest} creates arrived within one second");
    assert_eq!(creates.codes(), Vec::<&str>::new());
    // The creates take 10.2 s on an idle machine. Tests in virtual time check the exact rate.
    assert!(span <= Duration::from_secs(30), "the creates took {span:?}");
    let groups = creates.by_group();
    assert_eq!((groups.len(), creates.len()), (500, 500), "every group is created exactly once");
    assert_eq!(world.requests()?.len(), 500, "no other operation is called");
    for object in objects {
        assert_eq!(condition(&object, ConditionType::Ready), ["True", "Created"]);
        assert_eq!(object.origin(), Some(&Origin::Created));
    }
    Ok(())
}

#[tokio::test]
async fn restart_amid_500_creates_resumes_without_repeats() -> Result<()> {
    let _guard = MEASURING.acquire().await?;
    let mut world = World::with(app()).await?;
    world.create_many("g", 500).await?;
    world.start()?;
    // Kill the operator early, so that it cannot finish before the kill even if the test stalls for seconds.
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
    println!(
        "killed after {before} creates with {} objects ready; {} creates after the restart",
        ready.len(),
        after.len()
    );
    assert!((100..500).contains(&ready.len()), "{} were ready", ready.len());
    let twice: Vec<&str> = after.by_group().into_keys().filter(|group| ready.contains(*group)).collect();
    assert_eq!(twice, Vec::<&str>::new(), "created again although their status was ready");
    Ok(())
}

/// Returns the names of the ready objects.
async fn ready(world: &World<'_>) -> Result<HashSet<String>> {
    let objects = world.list().await?.into_iter();
    let ready = objects.filter(|object| condition(object, ConditionType::Ready)[0] == "True");
    Ok(ready.filter_map(|object| object.metadata.name).collect())
}
