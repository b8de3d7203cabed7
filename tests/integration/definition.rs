//! Tests that delete the CustomResourceDefinition and its objects while the operator runs. Each test starts its own
//! control plane.

use std::time::Duration;

use live_message_operator::resources::{ConditionType, LiveMessageGroup};
use serde_json::json;

use crate::by_hand::ByHand;
use crate::metrics::{GROUPS, scrape};
use crate::support::{ControlPlane, Result};
use crate::world::{PATIENCE, World, app, condition};

const CRD: &str = "livemessagegroups.live.alibabacloud.com";

/// Requests `/readyz` and returns the status code and the body.
async fn readyz(world: &World<'_>) -> Result<(u16, String)> {
    let operator = world.operator.as_ref().unwrap();
    let answer = reqwest::get(format!("{}/readyz", operator.probes()?)).await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Deletes the CRD with its objects, and waits until the operator reports that the CRD is missing.
async fn delete_definition(world: &World<'_>) -> Result<()> {
    world.control_plane.kubectl(&["delete", "crd", CRD, "--timeout=120s"])?;
    let reported = async || {
        let (status, text) = readyz(world).await?;
        Ok(status == 503 && text.contains(CRD))
    };
    world.until("/readyz to name the definition", PATIENCE, reported).await?;
    assert!(world.log().contains(&format!("waiting for the CustomResourceDefinition {CRD}")), "{}", world.log());
    Ok(())
}

/// Installs the CRD again and waits until the operator is ready.
async fn reinstall_definition(world: &World<'_>) -> Result<()> {
    crate::support::apply_crds(world.control_plane.kubectl_program())?;
    world.until("/readyz to succeed", PATIENCE, async || Ok(readyz(world).await?.0 == 200)).await
}

#[tokio::test]
async fn deleted_definition_makes_no_calls_for_retained_groups() -> Result<()> {
    let control_plane = ControlPlane::start()?;
    control_plane.apply_crds()?;
    let mut world = World::on(&control_plane, app(), &[]).await?;
    world.start()?;
    world.create_many("room", 20).await?;
    world.count_of("Created", 20, PATIENCE).await?;
    let calls = world.emulator.requests()?.len();

    delete_definition(&world).await?;
    let reported = async || {
        let shown = scrape(&world).await?;
        Ok(shown.value("live_message_operator_ready", &[]) == 0.0
            && shown.sum(GROUPS) == 0.0
            && shown.value("live_message_operator_watch_errors_total", &[("resource", "livemessagegroups")]) >= 1.0)
    };
    world.until("the metrics to report the missing definition", PATIENCE, reported).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = world.emulator.requests()?.split_off(calls);
    assert!(after.is_empty(), "{after:?}");

    reinstall_definition(&world).await?;
    assert_eq!(world.list().await?.len(), 0);
    world.create("room000", json!({"groupInfo": "again"})).await?;
    let again = world.ready("room000", "True", "AlreadyExists").await?;
    assert_eq!(condition(&again, ConditionType::InSync), ["True", "InSync"]);
    world.create("fresh", json!({})).await?;
    world.ready("fresh", "True", "Created").await?;
    Ok(())
}

#[tokio::test]
async fn deleted_definition_deletes_groups_with_policy_delete() -> Result<()> {
    let control_plane = ControlPlane::start()?;
    control_plane.apply_crds()?;
    let mut world = World::on(&control_plane, app(), &[]).await?;
    world.start()?;
    for (name, policy) in [("one", "Delete"), ("two", "Delete"), ("kept", "Retain")] {
        world.create(name, json!({"deletionPolicy": policy})).await?;
        world.ready(name, "True", "Created").await?;
    }
    world
        .until("the finalizers", PATIENCE, async || Ok(world.list().await?.iter().filter(has_finalizer).count() == 2))
        .await?;

    delete_definition(&world).await?;
    let hand = ByHand::at(&world)?;
    for (name, deleted) in [("one", true), ("two", true), ("kept", false)] {
        assert_eq!(hand.describe(name).await?.deleted, deleted, "{name}");
    }
    assert_eq!(world.called("DeleteLiveMessageGroup")?.len(), 2);

    reinstall_definition(&world).await?;
    world.create("kept", json!({})).await?;
    world.ready("kept", "True", "AlreadyExists").await?;
    Ok(())
}

fn has_finalizer(object: &&LiveMessageGroup) -> bool {
    object.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty())
}
