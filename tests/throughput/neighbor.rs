//! Tests the throughput of the operator while another client uses the same account.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use live_message_operator::live::{Call, Client, ClientOptions, Credentials, Endpoint, GroupFields, GroupRef};

use crate::support::Result;
use crate::world::{APP, World, app};
use crate::{CREATE, MEASURING};

#[tokio::test]
async fn rate_adapts_to_a_client_with_half_of_the_limit() -> Result<()> {
    const DURATION: Duration = Duration::from_secs(20);
    let _guard = MEASURING.acquire().await?;
    let mut world = World::with(app()).await?;
    world.create_many("g", 1_400).await?;
    world.start()?;
    world.until("the operator to be at full speed", 120, async || Ok(world.called(CREATE)?.len() >= 150)).await?;

    let from = Timestamp::now();
    let other_calls = create_as_another_client(&world, DURATION).await?;
    let until = Timestamp::now();
    world.until("all the others", 240, async || Ok(world.called(CREATE)?.len() >= 1_400 + other_calls)).await?;

    let ours: Vec<(f64, bool)> = world
        .requests()?
        .into_iter()
        .filter(|request| request.operation == CREATE && request.param("GroupId").is_some_and(|id| id.starts_with('g')))
        .map(|request| Ok((request.arrived()?.duration_since(from).as_secs_f64(), request.code.is_some())))
        .collect::<Result<_>>()?;
    let end = until.duration_since(from).as_secs_f64();
    let beside: Vec<&(f64, bool)> = ours.iter().filter(|(at, _)| (0.0..end).contains(at)).collect();
    let throttled_share = beside.iter().filter(|(_, throttled)| *throttled).count() as f64 / beside.len() as f64;
    let steady =
        ours.iter().filter(|(at, throttled)| (5.0..end).contains(at) && !throttled).count() as f64 / (end - 5.0);
    let after: Vec<f64> =
        ours.iter().filter(|(at, throttled)| *at >= end && !throttled).map(|(at, _)| at - end).collect();
    let back = (0..after.len().saturating_sub(39)).find(|i| after[i + 39] - after[*i] <= 1.0).map(|i| after[i + 39]);
    println!(
        "with a neighbor at 25/s for {end:.0} s: {:.2} % of our calls throttled, {steady:.1}/s; back to 40/s after {:.1} s",
        throttled_share * 100.0,
        back.unwrap_or(f64::NAN)
    );
    // The bounds are loose, because the machine may be busy. `tests/adaptive.rs` tests strict bounds in virtual time.
    assert!(throttled_share < 0.15, "{throttled_share}");
    assert!(steady > 10.0, "{steady}");
    assert!(back.is_some_and(|back| back <= 30.0), "{back:?}");
    Ok(())
}

/// Simulates another client, which creates 25 groups per second. Returns the number of its calls.
async fn create_as_another_client(world: &World<'_>, how_long: Duration) -> Result<usize> {
    let client = Client::new(Endpoint::parse(world.emulator.url(), true)?, ClientOptions::default())?;
    let (id, secret) = &world.emulator_options.access_keys[0];
    let credentials = Credentials::new(id, secret, None);
    let mut tick = tokio::time::interval(Duration::from_millis(40));
    let end = Instant::now() + how_long;
    let mut calls = 0;
    while Instant::now() < end {
        tick.tick().await;
        let group = GroupRef { app_id: APP.into(), group_id: format!("n{calls}"), data_center: None };
        // The other client ignores throttling.
        let _ = client.send(&Call::Create(group, GroupFields::default()), &credentials).await;
        calls += 1;
    }
    Ok(calls)
}
