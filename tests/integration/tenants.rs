//! Tests of namespaces that are not permitted to use the operator's own credentials.

use live_message_operator::resources::ConditionType;
use serde_json::{Value, json};

use crate::support::Result;
use crate::world::{PATIENCE, World, condition};

#[tokio::test]
async fn excluded_namespace_makes_no_call_and_retains_its_groups() -> Result<()> {
    let mut world = World::new(&[]).await?;
    let excluding = || ["--operator-credentials-namespaces=team-*".to_owned(), "--drift-check-interval=1s".to_owned()];
    let args = world.options.args.clone();
    world.options.args.extend(excluding());
    world.create("room", json!({"deletionPolicy": "Delete"})).await?;
    world.start()?;
    let room = world.says("room", "CredentialsMissing", "may not use the operator's own credentials").await?;
    assert_eq!(condition(&room, ConditionType::Reconciling), ["True", "CredentialsMissing"]);
    let text = room.condition(ConditionType::Ready).map(|ready| ready.message.clone()).unwrap_or_default();
    assert!(text.contains("Create a LiveAccount") && text.contains("--operator-credentials-namespaces"), "{text}");
    // Wait longer than the drift check interval of 1 s. A drift check would list the groups of the app.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(world.emulator.requests()?.len(), 0, "neither a create nor a list");

    world.stop()?;
    world.options.args =
        [&args[..], &[format!("--operator-credentials-namespaces=other,{}", world.namespace)]].concat();
    world.start()?;
    world.ready("room", "True", "Created").await?;

    world.stop()?;
    world.options.args = [&args[..], &excluding()].concat();
    let before = world.emulator.requests()?.len();
    world.start()?;
    world.delete("room").await?;
    assert_eq!(world.emulator.requests()?.len(), before);
    assert_eq!(world.calls("DeleteLiveMessageGroup", "room")?, 0);
    let warned = async || {
        let events = world.control_plane.kubectl(&["get", "events", "-n", &world.namespace, "-o", "json"])?;
        let events: Value = serde_json::from_str(&events)?;
        let is_warning = |event: &Value| {
            event["type"] == "Warning"
                && event["reason"] == "Abandoned"
                && event["message"].as_str().is_some_and(|note| note.contains("--operator-credentials-namespaces"))
        };
        Ok(events["items"].as_array().into_iter().flatten().any(is_warning))
    };
    world.until("the event", PATIENCE, warned).await
}
