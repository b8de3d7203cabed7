//! Tests that each transition causes one event, and that a reconcile pass without changes causes none.

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use live_message_operator::live::Call;
use live_message_operator::resources::{ConditionType, LiveMessageGroup};
use serde_json::{Value, json};

use crate::by_hand::{ByHand, group};
use crate::support::Result;
use crate::world::{PATIENCE, World, condition, is};

/// Returns the events of an object in chronological order. Each event is a pair of `Type Reason` and the note.
async fn events(world: &World<'_>, name: &str) -> Result<Vec<(String, String)>> {
    let api: Api<Event> = Api::namespaced(world.control_plane.client().await?, &world.namespace);
    let mut events = api.list(&ListParams::default()).await?.items;
    events.retain(|event| event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(name));
    events.sort_by(|a, b| a.event_time.cmp(&b.event_time));
    let shown = |event: Event| {
        let kind = event.type_.unwrap_or_default();
        (format!("{kind} {}", event.reason.unwrap_or_default()), event.note.unwrap_or_default())
    };
    Ok(events.into_iter().map(shown).collect())
}

/// Waits until an object has as many events as expected. Asserts 500 ms later that it has exactly the expected events,
/// and returns their notes.
async fn expect_events(world: &World<'_>, name: &str, expected: &[&str]) -> Result<Vec<String>> {
    let what = format!("{name} to have {expected:?}");
    world.until(&what, PATIENCE, async || Ok(events(world, name).await?.len() >= expected.len())).await?;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let (titles, notes): (Vec<String>, Vec<String>) = events(world, name).await?.into_iter().unzip();
    assert_eq!(titles, expected, "{name}: {notes:?}");
    Ok(notes)
}

async fn force(world: &World<'_>, name: &str, value: &str) -> Result<()> {
    let annotations = json!({"live.alibabacloud.com/reconcile-requested-at": value});
    world.patch(name, json!({"metadata": {"annotations": annotations}})).await?;
    let handled = async || {
        let status = world.api.get(name).await?.status;
        Ok(status.and_then(|status| status.last_handled_reconcile_at).as_deref() == Some(value))
    };
    world.until("the request to be acknowledged", PATIENCE, handled).await
}

#[tokio::test]
async fn every_change_of_a_group_has_one_event() -> Result<()> {
    let mut world = World::new(&["hall", "lost:deleted"]).await?;
    world.start()?;
    world.create("room", json!({"groupInfo": "v1", "deletionPolicy": "Delete"})).await?;
    world.ready("room", "True", "Created").await?;
    force(&world, "room", "nothing to do").await?;
    world.patch("room", json!({"spec": {"groupInfo": "v2"}})).await?;
    world.ready("room", "True", "Created").await?;
    ByHand::at(&world)?.set_info("room", "theirs").await?;
    force(&world, "room", "drift").await?;
    let mut all = vec!["Normal Created", "Normal Modified", "Normal DriftCorrected"];
    let notes = expect_events(&world, "room", &all).await?;
    let modifies: Vec<String> =
        world.requests()?.into_iter().filter(|r| r.operation.starts_with("Modify")).map(|r| r.request_id).collect();
    assert!(notes[1].contains(&modifies[0]) && notes[2].contains(&modifies[2]), "{notes:?} {modifies:?}");
    world.delete("room").await?;
    all.push("Normal Deleted");
    expect_events(&world, "room", &all).await?;

    world.create("hall", json!({"groupName": "Hall", "groupInfo": "ours", "deletionPolicy": "Delete"})).await?;
    world.ready("hall", "True", "AlreadyExists").await?;
    let mut all = vec!["Normal AlreadyExists", "Warning ImmutableFieldsDiffer"];
    expect_events(&world, "hall", &all).await?;
    world.delete("hall").await?;
    all.push("Warning Retained");
    expect_events(&world, "hall", &all).await?;

    world.create("lost", json!({"deletedGroupPolicy": "Recover"})).await?;
    world.ready("lost", "True", "Recovered").await?;
    expect_events(&world, "lost", &["Normal Recovered"]).await?;
    world.create("holder", json!({"groupId": "shared", "deletionPolicy": "Delete"})).await?;
    world.ready("holder", "True", "Created").await?;
    world.create("heir", json!({"groupId": "shared"})).await?;
    world.ready("heir", "False", "Conflict").await?;
    world.delete("holder").await?;
    world.ready("heir", "True", "AlreadyExists").await?;
    expect_events(&world, "holder", &["Normal Created", "Normal HandedOver"]).await?;
    expect_events(&world, "heir", &["Warning Conflict", "Normal AlreadyExists"]).await?;
    Ok(())
}

#[tokio::test]
async fn fault_is_reported_once_and_again_after_a_success() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.emulator.faults(&["CreateLiveMessageGroup:error=ServerError,times=3"])?;
    world.create("room", json!({"groupInfo": "v1"})).await?;
    world.ready("room", "True", "Created").await?;
    let mut all = vec!["Warning ServiceError", "Normal Created"];
    expect_events(&world, "room", &all).await?;
    for value in ["one", "two"] {
        world.emulator.faults(&["DescribeLiveMessageGroup:error=ServerError,times=2"])?;
        force(&world, "room", value).await?;
        all.extend(["Warning ServiceError", "Normal Ready"]);
        expect_events(&world, "room", &all).await?;
    }
    world.emulator.faults(&["ModifyLiveMessageGroup:error=ServerError,times=1"])?;
    world.patch("room", json!({"spec": {"groupInfo": "v2"}})).await?;
    world.ready("room", "True", "Created").await?;
    all.extend(["Warning ServiceError", "Normal Modified"]);
    expect_events(&world, "room", &all).await?;

    ByHand::at(&world)?.call(Call::Delete(group("room"))).await?;
    for value in ["gone", "still gone"] {
        force(&world, "room", value).await?;
    }
    let gone = |object: &LiveMessageGroup| is(object, "GroupDeleted");
    assert!(gone(&world.api.get("room").await?));
    all.push("Warning GroupDeleted");
    expect_events(&world, "room", &all).await?;
    // A pause of the object and a restart of the operator do not cause events.
    let pause = |value: Value| json!({"metadata": {"annotations": {"live.alibabacloud.com/paused": value}}});
    for (value, status) in [(json!("true"), "True"), (Value::Null, "")] {
        world.patch("room", pause(value)).await?;
        let reported = async || Ok(condition(&world.api.get("room").await?, ConditionType::Paused)[0] == status);
        world.until("the pause to be reported", PATIENCE, reported).await?;
    }
    world.stop()?;
    world.start()?;
    expect_events(&world, "room", &all).await?;
    Ok(())
}

#[tokio::test]
async fn object_with_the_longest_name_has_events() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    let name = "a".repeat(253);
    world.create(&name, json!({"groupId": "room"})).await?;
    world.ready(&name, "True", "Created").await?;
    expect_events(&world, &name, &["Normal Created"]).await.map(drop)
}

#[tokio::test]
async fn recreated_group_has_the_same_event_for_every_policy() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    for policy in ["Retain", "Delete"] {
        let name = policy.to_lowercase();
        world.create(&name, json!({"deletionPolicy": policy})).await?;
        world.ready(&name, "True", "Created").await?;
        world.emulator.delete(&format!("/groups/demo/{name}"))?;
        force(&world, &name, "now").await?;
        expect_events(&world, &name, &["Normal Created", "Normal DriftCorrected"]).await?;
    }
    Ok(())
}
