//! The CustomResourceDefinition is deleted while the operator runs, with objects in it. On control planes of their own.

use std::time::Duration;

use live_message_operator::resources::{ConditionType, LiveMessageGroup};
use serde_json::json;

use crate::by_hand::ByHand;
use crate::metrics::{GROUPS, scrape};
use crate::support::{ControlPlane, Result};
use crate::world::{PATIENCE, World, app, condition};

const CRD: &str = "livemessagegroups.live.alibabacloud.com";

/// What /readyz says.
async fn ready(world: &World<'_>) -> Result<(u16, String)> {
    let operator = world.operator.as_ref().unwrap();
    let answer = reqwest::get(format!("{}/readyz", operator.probes()?)).await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Deletes the definition, waits until it is gone with all its objects and until the operator tells that it is missing.
async fn delete_definition(world: &World<'_>) -> Result<()> {
    world.control_plane.kubectl(&["delete", "crd", CRD, "--timeout=120s"])?;
    let told = async || {
        let (status, text) = ready(world).await?;
        Ok(status == 503 && text.contains(CRD))
    };
    world.until("/readyz to name the definition", PATIENCE, told).await?;
    assert!(world.log().contains(&format!("waiting for the CustomResourceDefinition {CRD}")), "{}", world.log());
    Ok(())
}

/// Installs it again, and waits until the operator works with it.
async fn install_again(world: &World<'_>) -> Result<()> {
    crate::support::apply_crds(world.control_plane.kubectl_program())?;
    world.until("/readyz to be content", PATIENCE, async || Ok(ready(world).await?.0 == 200)).await
}

#[tokio::test]
async fn deleted_with_objects_to_be_retained_no_call_is_made() -> Result<()> {
    let control_plane = ControlPlane::start()?;
    control_plane.apply_crds()?;
    let mut world = World::on(&control_plane, app(), &[]).await?;
    world.start()?;
    world.create_many("room", 20).await?;
    world.count_of("Created", 20, PATIENCE).await?;
    let calls = world.emulator.requests()?.len();

    delete_definition(&world).await?;
    let told = async || {
        let shown = scrape(&world).await?;
        Ok(shown.value("live_message_operator_ready", &[]) == 0.0
            && shown.sum(GROUPS) == 0.0
            && shown.value("live_message_operator_watch_errors_total", &[("resource", "livemessagegroups")]) >= 1.0)
    };
    world.until("the metrics to tell of it", PATIENCE, told).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = world.emulator.requests()?.split_off(calls);
    assert!(after.is_empty(), "{after:?}");

    install_again(&world).await?;
    assert_eq!(world.list().await?.len(), 0);
    world.create("room000", json!({"groupInfo": "again"})).await?;
    let again = world.ready("room000", "True", "AlreadyExists").await?;
    assert_eq!(condition(&again, ConditionType::InSync), ["True", "InSync"]);
    world.create("fresh", json!({})).await?;
    world.ready("fresh", "True", "Created").await?;
    Ok(())
}

#[tokio::test]
async fn deleted_with_objects_to_be_deleted_their_groups_are_and_nothing_hangs() -> Result<()> {
    let control_plane = ControlPlane::start()?;
    control_plane.apply_crds()?;
    let mut world = World::on(&control_plane, app(), &[]).await?;
    world.start()?;
    for (name, policy) in [("one", "Delete"), ("two", "Delete"), ("kept", "Retain")] {
        world.create(name, json!({"deletionPolicy": policy})).await?;
        world.ready(name, "True", "Created").await?;
    }
    world.until("the finalizers", PATIENCE, async || Ok(world.list().await?.iter().filter(holds).count() == 2)).await?;

    delete_definition(&world).await?;
    let hand = ByHand::at(&world)?;
    for (name, deleted) in [("one", true), ("two", true), ("kept", false)] {
        assert_eq!(hand.describe(name).await?.deleted, deleted, "{name}");
    }
    assert_eq!(world.called("DeleteLiveMessageGroup")?.len(), 2);

    install_again(&world).await?;
    world.create("kept", json!({})).await?;
    world.ready("kept", "True", "AlreadyExists").await?;
    Ok(())
}

fn holds(object: &&LiveMessageGroup) -> bool {
    object.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty())
}
