//! Two objects that name one group: one holds it, the other says so and calls nothing.

use std::time::Duration;

use kube::Api;
use kube::api::DeleteParams;
use live_message_operator::live::Call;
use live_message_operator::resources::{ConditionType, LiveMessageGroup, Origin};
use serde_json::json;

use crate::by_hand::{ByHand, group};
use crate::support::{Result, shared_control_plane};
use crate::world::{PATIENCE, World, app, condition, create_in, is};

/// Creation times are whole seconds.
const OLDER: Duration = Duration::from_millis(1100);

#[tokio::test]
async fn the_younger_one_waits_until_the_holder_goes_in_any_namespace() -> Result<()> {
    let control_plane = shared_control_plane()?;
    control_plane.apply_crds()?;
    let elsewhere = control_plane.namespace()?;
    let mut world = World::on(control_plane, app(), &[&elsewhere]).await?;
    let there: Api<LiveMessageGroup> = Api::namespaced(control_plane.client().await?, &elsewhere);
    world.start()?;
    world.create("first", json!({"groupId": "shared"})).await?;
    world.ready("first", "True", "Created").await?;

    create_in(&there, "second", json!({"groupId": "shared"})).await?;
    world.until("the conflict to be told", PATIENCE, async || Ok(is(&there.get("second").await?, "Conflict"))).await?;
    tokio::time::sleep(OLDER).await;
    world.create("third", json!({"groupId": "shared"})).await?;
    let third = world.ready("third", "False", "Conflict").await?;
    for object in [&there.get("second").await?, &third] {
        assert_eq!(condition(object, ConditionType::Stalled), ["True", "Conflict"]);
        assert_eq!(condition(object, ConditionType::Reconciling), ["", ""]);
        let message = &object.condition(ConditionType::Ready).unwrap().message;
        assert!(message.contains(&format!("{}/first", world.namespace)), "{message}");
        assert_eq!(object.origin(), None);
    }
    assert_eq!(world.requests()?.len(), 1, "only the holder calls");

    world.delete("first").await?;
    world
        .until("the next one to take over", PATIENCE, async || Ok(is(&there.get("second").await?, "AlreadyExists")))
        .await?;
    let second = there.get("second").await?;
    assert_eq!(second.origin(), Some(&Origin::Adopted));
    assert_eq!(condition(&second, ConditionType::Stalled), ["", ""]);
    world
        .until("the third to name the new holder", PATIENCE, async || {
            let third = world.api.get("third").await?;
            Ok(third
                .condition(ConditionType::Ready)
                .is_some_and(|c| c.message.contains(&format!("{elsewhere}/second"))))
        })
        .await?;

    world.patch("third", json!({"spec": {"groupId": "another"}})).await?;
    let third = world.ready("third", "True", "Created").await?;
    assert_eq!(condition(&third, ConditionType::Stalled), ["", ""]);
    assert_eq!(world.called("CreateLiveMessageGroup")?.by_group(), [("another", 1), ("shared", 2)].into());
    Ok(())
}

#[tokio::test]
async fn one_that_was_let_go_holds_nothing_while_somebody_elses_finalizer_keeps_it() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    for policy in ["Retain", "Delete"] {
        let names = ["first", "second"].map(|name| format!("{name}{}", policy.to_lowercase()));
        let [first, second] = names.each_ref().map(String::as_str);
        world.create(first, json!({"groupId": policy, "deletionPolicy": policy})).await?;
        let object = world.ready(first, "True", "Created").await?;
        let own = object.metadata.finalizers.unwrap_or_default();
        let kept: Vec<&str> = own.iter().map(String::as_str).chain(["example.com/slow"]).collect();
        world.patch(first, json!({"metadata": {"finalizers": kept}})).await?;
        world.create(second, json!({"groupId": policy})).await?;
        world.ready(second, "False", "Conflict").await?;
        world.api.delete(first, &DeleteParams::default()).await?;
        world.ready(second, "True", "AlreadyExists").await?;
        let first = world.api.get(first).await?;
        assert_eq!(first.metadata.finalizers, Some(vec!["example.com/slow".to_owned()]));
    }
    assert_eq!(world.called("DeleteLiveMessageGroup")?.by_group(), [].into(), "both groups were handed over");
    Ok(())
}

#[tokio::test]
async fn one_that_was_refused_does_not_squat_on_the_id() -> Result<()> {
    let mut world = World::new(&["gone:deleted"]).await?;
    world.start()?;
    world.create("older", json!({"groupId": "gone"})).await?;
    world.ready("older", "False", "GroupDeleted").await?;
    tokio::time::sleep(OLDER).await;

    // Brought back by a person; the older object does not know, and need not be asked.
    ByHand::at(&world)?.call(Call::Recover(group("gone"))).await?;
    world.create("younger", json!({"groupId": "gone"})).await?;
    let younger = world.ready("younger", "True", "AlreadyExists").await?;
    assert_eq!(younger.origin(), Some(&Origin::Adopted));

    // Asked to look again, the older one finds that the group is held.
    let again = json!({"metadata": {"annotations": {"live.alibabacloud.com/reconcile-requested-at": "now"}}});
    world.patch("older", again).await?;
    let older = world.ready("older", "False", "Conflict").await?;
    assert!(older.condition(ConditionType::Ready).unwrap().message.contains("/younger"));
    assert_eq!(condition(&older, ConditionType::Degraded), ["", ""]);
    Ok(())
}
