//! The annotations that pause an object or force a reconcile pass.

use std::time::Duration;

use kube::api::DeleteParams;
use live_message_operator::resources::ConditionType;
use serde_json::{Value, json};

use crate::by_hand::ByHand;
use crate::support::Result;
use crate::world::{PATIENCE, World, condition};

fn annotate(name: &str, value: Value) -> Value {
    json!({"metadata": {"annotations": {format!("live.alibabacloud.com/{name}"): value}}})
}

#[tokio::test]
async fn paused_object_makes_no_calls_and_applies_its_edit_later() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("room", json!({"groupInfo": "old"})).await?;
    let before = world.ready("room", "True", "Created").await?;
    let calls = world.requests()?.len();

    world.patch("room", annotate("paused", json!("true"))).await?;
    let paused = async || Ok(condition(&world.api.get("room").await?, ConditionType::Paused) == ["True", "Paused"]);
    world.until("the pause to be reported", PATIENCE, paused).await?;
    world.patch("room", json!({"spec": {"groupInfo": "new"}})).await?;
    world.create("new", json!({})).await?;
    world.ready("new", "True", "Created").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let room = world.api.get("room").await?;
    assert_eq!(room.condition(ConditionType::Ready), before.condition(ConditionType::Ready), "Ready is unchanged");
    let observed = |object: &live_message_operator::resources::LiveMessageGroup| {
        object.status.as_ref().and_then(|status| status.observed_generation)
    };
    assert_eq!(observed(&room), observed(&before));
    assert_eq!(condition(&room, ConditionType::Reconciling), ["", ""]);
    assert_eq!(world.requests()?.len(), calls + 1, "only the create of the other object");

    world.patch("room", annotate("paused", Value::Null)).await?;
    let room = world.ready("room", "True", "Created").await?;
    assert_eq!(condition(&room, ConditionType::Paused), ["", ""]);
    assert_eq!(ByHand::at(&world)?.describe("room").await?.group_info, "new");

    Ok(())
}

#[tokio::test]
async fn resumed_object_is_described_once_and_drift_is_corrected() -> Result<()> {
    let mut world = World::new(&["seen"]).await?;
    world.options.args.push("--drift-check-interval=168h".into());
    world.start()?;
    world.create("room", json!({"groupInfo": "mine"})).await?;
    world.ready("room", "True", "Created").await?;
    world.create("seen", json!({"managementPolicy": "Observe"})).await?;
    world.ready("seen", "True", "Observed").await?;
    let pause_and_resume = async |name: &str, drift: Option<&str>, expected: &[&str]| {
        world.patch(name, annotate("paused", json!("true"))).await?;
        let paused = async || Ok(condition(&world.api.get(name).await?, ConditionType::Paused) == ["True", "Paused"]);
        world.until("the pause to be reported", PATIENCE, paused).await?;
        if let Some(info) = drift {
            ByHand::at(&world)?.set_info(name, info).await?;
        }
        let calls = world.requests()?.len();
        world.patch(name, annotate("paused", json!("false"))).await?;
        let resumed = async || Ok(condition(&world.api.get(name).await?, ConditionType::Paused) == ["", ""]);
        world.until("the pause to end", PATIENCE, resumed).await?;
        let new = || -> Result<Vec<String>> {
            Ok(world.requests()?.split_off(calls).into_iter().map(|request| request.operation).collect())
        };
        world.until("the calls after the pause", PATIENCE, async || Ok(new()?.len() >= expected.len())).await?;
        // Give unexpected calls time to arrive.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(new()?, expected, "{name}");
        Result::<()>::Ok(())
    };
    pause_and_resume("room", None, &["DescribeLiveMessageGroup"]).await?;
    let corrected = ["DescribeLiveMessageGroup", "ModifyLiveMessageGroup", "DescribeLiveMessageGroup"];
    pause_and_resume("room", Some("theirs"), &corrected).await?;
    assert_eq!(ByHand::at(&world)?.describe("room").await?.group_info, "mine");
    world.ready("room", "True", "Created").await?;
    // With the policy Observe, the operator never corrects drift, so it makes no calls after the pause.
    pause_and_resume("seen", Some("theirs"), &[]).await
}

#[tokio::test]
async fn object_that_is_created_paused_starts_when_resumed() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    let mut object = serde_json::to_value(live_message_operator::resources::LiveMessageGroup::new(
        "room",
        serde_json::from_value(json!({"appId": "demo"}))?,
    ))?;
    object["metadata"] = json!({"name": "room", "annotations": {"live.alibabacloud.com/paused": "true"}});
    world.api.create(&kube::api::PostParams::default(), &serde_json::from_value(object)?).await?;
    let paused = async || Ok(condition(&world.api.get("room").await?, ConditionType::Paused) == ["True", "Paused"]);
    world.until("the pause to be reported", PATIENCE, paused).await?;
    let room = world.api.get("room").await?;
    assert_eq!(condition(&room, ConditionType::Ready), ["Unknown", "Pending"]);
    assert_eq!(room.status.and_then(|status| status.observed_generation), Some(-1));
    assert_eq!(world.requests()?.len(), 0);
    world.patch("room", annotate("paused", Value::Null)).await?;
    world.ready("room", "True", "Created").await?;
    Ok(())
}

#[tokio::test]
async fn forced_reconcile_describes_once_and_corrects_drift() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("room", json!({"groupInfo": "mine"})).await?;
    world.ready("room", "True", "Created").await?;
    let handled = async |value: &str| {
        world.patch("room", annotate("reconcile-requested-at", json!(value))).await?;
        world
            .until("the request to be acknowledged", PATIENCE, async || {
                let room = world.api.get("room").await?;
                Ok(room.status.and_then(|status| status.last_handled_reconcile_at).as_deref() == Some(value))
            })
            .await
    };

    let calls = world.requests()?.len();
    handled("one").await?;
    let new: Vec<String> = world.requests()?.split_off(calls).into_iter().map(|r| r.operation).collect();
    assert_eq!(new, ["DescribeLiveMessageGroup"]);

    let by_hand = ByHand::at(&world)?;
    by_hand.set_info("room", "theirs").await?;
    handled("two").await?;
    assert_eq!(by_hand.describe("room").await?.group_info, "mine");
    let room = world.ready("room", "True", "Created").await?;
    assert_eq!(condition(&room, ConditionType::InSync), ["True", "InSync"]);

    // A changed label and a restart do not repeat the forced reconcile.
    let calls = world.requests()?.len();
    world.patch("room", json!({"metadata": {"labels": {"a": "b"}}})).await?;
    world.stop()?;
    world.start()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.requests()?.len(), calls);
    Ok(())
}

#[tokio::test]
async fn forced_reconcile_during_an_outage_respects_backoff() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    for (name, policy) in [("room", "Retain"), ("going", "Delete")] {
        world.create(name, json!({"deletionPolicy": policy})).await?;
        world.ready(name, "True", "Created").await?;
    }
    // Alternate between two errors, so that each failure changes the status. Each status write causes a watch event,
    // which must not shorten the backoff.
    let faults = ["ServerError", "ServiceUnavailable"].iter().cycle().take(60);
    let faults: Vec<String> = faults.map(|code| format!("DescribeLiveMessageGroup:error={code},times=1")).collect();
    world.emulator.faults(&faults.iter().map(String::as_str).collect::<Vec<_>>())?;
    world.api.delete("going", &DeleteParams::default()).await?;
    for name in ["room", "going"] {
        world.patch(name, annotate("reconcile-requested-at", json!("now"))).await?;
    }
    let tries = |name: &str| world.calls("DescribeLiveMessageGroup", name);
    let twice = async || Ok(tries("room")? >= 2 && tries("going")? >= 2);
    world.until("both to be tried again", PATIENCE, twice).await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    for name in ["room", "going"] {
        let tries = tries(name)?;
        println!("{name}: {tries} tries");
        assert!(tries <= 6, "{name}: {tries} calls, but backoff and request allow 6");
    }

    // Without faults, a reconcile pass succeeds and acknowledges the new request.
    world.emulator.faults(&[])?;
    world.patch("room", annotate("reconcile-requested-at", json!("again"))).await?;
    let acknowledged = async || {
        let status = world.api.get("room").await?.status;
        Ok(status.and_then(|status| status.last_handled_reconcile_at).as_deref() == Some("again"))
    };
    world.until("the request to be acknowledged", PATIENCE, acknowledged).await
}
