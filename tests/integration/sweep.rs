//! What changed behind the operator's back, and the places of an app.

use std::time::Duration;

use live_message_operator::live::Call;
use live_message_operator::resources::{ConditionType, LiveMessageGroup};
use serde_json::json;

use crate::by_hand::{ByHand, group};
use crate::support::Result;
use crate::world::{APP, World, app};

/// Short enough for a test; the default is ten minutes.
const INTERVAL: &str = "--sweep-interval=3s";

#[tokio::test]
async fn a_sweep_finds_what_was_changed_deleted_and_recovered_elsewhere() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.options.args.push(INTERVAL.into());
    world.start()?;
    for name in ["edited", "deleted", "recovered", "left", "unmanaged"] {
        let info = if name == "unmanaged" { json!({}) } else { json!({"groupInfo": "ours"}) };
        world.create(name, info).await?;
        world.ready(name, "True", "Created").await?;
    }
    let hand = ByHand::at(&world)?;
    hand.set_info("edited", "theirs").await?;
    hand.set_info("unmanaged", "theirs").await?;
    hand.call(Call::Delete(group("deleted"), None)).await?;
    world
        .until("the edit to be corrected", 20, async || Ok(hand.describe("edited").await?.group_info == "ours"))
        .await?;
    world.ready("deleted", "False", "GroupDeleted").await?;
    assert_eq!(hand.describe("unmanaged").await?.group_info, "theirs", "only fields of the spec are managed");
    // Alive again, by somebody's hand.
    hand.call(Call::Recover(group("deleted"))).await?;
    world.ready("deleted", "True", "AlreadyExists").await?;
    assert_eq!(world.calls("DescribeLiveMessageGroup", "left")?, 0, "a list that agrees is no reason to look");
    Ok(())
}

#[tokio::test]
async fn objects_that_do_not_fit_are_parked_before_any_call_and_take_the_places_that_get_free() -> Result<()> {
    let groups = (0..4_990).map(|n| format!("{APP}/there{n}")).collect();
    let mut world = World::with(crate::support::EmulatorOptions { groups, ..app() }).await?;
    world.options.args.push(INTERVAL.into());
    // Its group is there: it needs no place.
    world.create("adopted", json!({"groupId": "there7"})).await?;
    world.create_many("new", 50).await?;
    world.start()?;
    world.count_of("Created", 10, 60).await?;
    world.ready("adopted", "True", "AlreadyExists").await?;
    let parked = world.count_of("QuotaExceeded", 40, 60).await?;
    let (messages, calls) = told(&world, &parked)?;
    println!("parked with: {messages:?}");
    assert_eq!(messages.len(), 40);
    assert!(messages.iter().all(|message| message.contains("of 5000 groups")), "{messages:?}");
    assert_eq!(calls, (11, 0), "a create for each that fits and for the adopted one, none refused");
    let hand = ByHand::at(&world)?;
    for id in ["there1", "there2"] {
        hand.call(Call::Delete(group(id), None)).await?;
    }
    world.count_of("Created", 12, 30).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (messages, calls) = told(&world, &world.count_of("QuotaExceeded", 38, 5).await?)?;
    assert_eq!((messages.len(), calls), (38, (13, 0)));
    Ok(())
}

/// What the parked ones say, and how many creates were called for and refused.
fn told(world: &World<'_>, objects: &[LiveMessageGroup]) -> Result<(Vec<String>, (usize, usize))> {
    let ready = objects.iter().filter_map(|object| object.condition(ConditionType::Ready));
    let parked = ready.filter(|ready| ready.reason == "QuotaExceeded");
    let creates = world.called("CreateLiveMessageGroup")?;
    Ok((parked.map(|ready| ready.message.clone()).collect(), (creates.len(), creates.codes().len())))
}
