//! Tests that the operator reports a wrong access key secret, and that it does not leak secrets.

mod secrets;

use std::time::Duration;

use live_message_operator::resources::ConditionType;

use crate::support::{OperatorOptions, Result};
use crate::world::{PATIENCE, World, app, condition};

#[tokio::test]
async fn wrong_secret_is_reported_and_probed_once_per_minute() -> Result<()> {
    let (one, many) = tokio::join!(wrong_secret(1), wrong_secret(200));
    one.and(many)
}

async fn wrong_secret(objects: usize) -> Result<()> {
    const WRONG: &str = "a-secret-that-is-wrong";
    let mut world = World::with(app()).await?;
    let right = world.options.access_key.clone();
    world.create_many("g", objects).await?;
    world.options.access_key.1 = WRONG.to_owned();
    world.start()?;
    let rejected = world.count_of("CredentialsRejected", objects, PATIENCE).await?;
    for object in &rejected {
        assert_eq!(condition(object, ConditionType::Ready), ["False", "CredentialsRejected"]);
        assert_eq!(condition(object, ConditionType::Stalled), ["True", "CredentialsRejected"]);
        assert_eq!(condition(object, ConditionType::Reconciling), ["", ""]);
        let message = &object.condition(ConditionType::Stalled).unwrap().message;
        assert!(message.contains("SignatureDoesNotMatch") && message.contains("Renew"), "{message}");
        let shown = serde_json::to_string(object)?;
        assert!(!shown.contains(WRONG) && !shown.contains(&right.1), "{shown}");
    }
    let versions = |objects: &[_]| objects.iter().map(kube::ResourceExt::resource_version).collect::<Vec<_>>();
    let initial = world.emulator.requests()?.len();
    tokio::time::sleep(Duration::from_secs(65)).await;
    world.until("a probe", PATIENCE, async || Ok(world.emulator.requests()?.len() > initial)).await?;
    // Count all requests, because a probe can also be a list call, which is signed with the same secret.
    let times = world.emulator.requests()?.into_iter().map(|request| request.arrived());
    let times = times.collect::<Result<Vec<_>, _>>()?;
    let first = times[0];
    let probes = times[initial..].iter().map(|at| at.duration_since(first).as_secs_f64());
    let probes: Vec<f64> = probes.collect();
    println!("{objects} objects with a wrong secret: {initial} calls at first, then after {probes:.1?} s");
    // At most 50 calls are in flight when the first rejection arrives.
    assert!(initial <= 50.min(objects + 3), "{initial} calls");
    let gaps = std::iter::once(0.0).chain(probes.iter().copied()).zip(&probes).map(|(before, at)| at - before);
    assert!(gaps.into_iter().all(|gap| gap >= 59.0), "more than one call per minute: {probes:?}");
    assert_eq!(versions(&world.list().await?), versions(&rejected), "the same rejection does not change the status");
    assert!(!world.log().contains(WRONG), "the log contains the secret");

    world.stop()?;
    world.options = OperatorOptions { access_key: right, ..world.options.clone() };
    world.start()?;
    let objects = world.count_of("Created", objects, PATIENCE).await?;
    for object in objects {
        assert_eq!(condition(&object, ConditionType::Stalled), ["", ""]);
    }
    Ok(())
}
