//! Tests that a thousand objects become ready although the emulator injects faults.

use std::time::{Duration, Instant};

use live_message_operator::resources::{ConditionStatus, ConditionType, LiveMessageGroup};

use crate::support::{EmulatorOptions, Result};
use crate::world::{World, app};

#[tokio::test]
async fn create_1000_objects_despite_30_percent_faults() -> Result<()> {
    const OBJECTS: usize = 1_000;
    const SHARE: f64 = 0.3;
    let args = ["--fault", "*:mixed,share=30%", "--seed", "7", "--requests-per-second", "0"].map(str::to_owned);
    let mut world = World::with(EmulatorOptions { args: args.to_vec(), ..app() }).await?;
    // Do not limit the rate. Otherwise, the operator would lower its rate after each injected throttling error, and
    // the test would take minutes longer.
    world.options.args.push("--requests-per-second=unlimited".to_owned());
    world.create_many("g", OBJECTS).await?;
    let started = Instant::now();
    world.start()?;
    let mut unexpected_stalls = Vec::new();
    loop {
        let objects = world.list().await?;
        unexpected_stalls.extend(objects.iter().filter_map(unexpected_stall));
        if objects.iter().all(is_ready) {
            break;
        }
        let ready = objects.iter().filter(|object| is_ready(object)).count();
        assert!(started.elapsed() < Duration::from_secs(600), "only {ready} of {OBJECTS} are ready");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let creates = world.called("CreateLiveMessageGroup")?;
    let describes = world.called("DescribeLiveMessageGroup")?.len();
    let allowed = 1.1 * OBJECTS as f64 / (1.0 - SHARE);
    println!(
        "{OBJECTS} objects ready after {:.0} s with 30 % faults: {} creates (at most {allowed:.0}), {describes} describes",
        started.elapsed().as_secs_f64(),
        creates.len(),
    );
    assert!((creates.len() as f64) <= allowed);
    assert_eq!(creates.by_group().len(), OBJECTS);
    assert_eq!(unexpected_stalls, Vec::<String>::new());
    Ok(())
}

fn is_ready(object: &LiveMessageGroup) -> bool {
    object.condition(ConditionType::Ready).map(ConditionStatus::of) == Some(ConditionStatus::True)
}

/// The `Stalled` condition of an object, as text. Transient faults must not cause it, because they require no manual
/// intervention.
fn unexpected_stall(object: &LiveMessageGroup) -> Option<String> {
    let stalled = object.condition(ConditionType::Stalled)?;
    Some(format!("{}: {} {}", object.metadata.name.as_deref().unwrap_or_default(), stalled.reason, stalled.message))
}
