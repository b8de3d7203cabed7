//! Tests several objects that specify the same group. One object is the owner of the group. The other objects report a
//! conflict and make no calls.

use std::time::Duration;

use kube::Api;
use kube::api::DeleteParams;
use live_message_operator::live::Call;
use live_message_operator::resources::{ConditionType, LiveMessageGroup, Origin};
use serde_json::json;

use crate::by_hand::{ByHand, group};
use crate::support::{Result, shared_control_plane};
use crate::world::{PATIENCE, World, app, condition, create_in, is};

/// The minimum delay between two creations. Creation timestamps have a resolution of one second.
const AGE_DIFFERENCE: Duration = Duration::from_millis(1100);

#[tokio::test]
async fn younger_object_waits_for_the_owner_in_any_namespace() -> Result<()> {
    let control_plane = shared_control_plane()?;
    control_plane.apply_crds()?;
    let elsewhere = control_plane.namespace()?;
    let mut world = World::on(control_plane, app(), &[&elsewhere]).await?;
    let there: Api<LiveMessageGroup> = Api::namespaced(control_plane.client().await?, &elsewhere);
    world.start()?;
    world.create("first", json!({"groupId": "shared"})).await?;
    world.ready("first", "True", "Created").await?;

    create_in(&there, "second", json!({"groupId": "shared"})).await?;
    world
        .until("the conflict to be reported", PATIENCE, async || Ok(is(&there.get("second").await?, "Conflict")))
        .await?;
    tokio::time::sleep(AGE_DIFFERENCE).await;
    world.create("third", json!({"groupId": "shared"})).await?;
    let third = world.ready("third", "False", "Conflict").await?;
    let owner = format!("LiveMessageGroup {}/first", world.namespace);
    for (object, owner) in [(&there.get("second").await?, "an object of another namespace"), (&third, &owner)] {
        assert_eq!(condition(object, ConditionType::Stalled), ["True", "Conflict"]);
        assert_eq!(condition(object, ConditionType::Reconciling), ["", ""]);
        let message = &object.condition(ConditionType::Ready).unwrap().message;
        assert!(message.contains(&format!("is owned by {owner}.")), "{message}");
        assert_eq!(object.origin(), None);
    }
    assert_eq!(world.requests()?.len(), 1, "only the owner makes calls");

    world.delete("first").await?;
    world
        .until("the second object to be the owner", PATIENCE, async || {
            Ok(is(&there.get("second").await?, "AlreadyExists"))
        })
        .await?;
    let second = there.get("second").await?;
    assert_eq!(second.origin(), Some(&Origin::Adopted));
    assert_eq!(condition(&second, ConditionType::Stalled), ["", ""]);
    world
        .until("the third object to name the new owner", PATIENCE, async || {
            let third = world.api.get("third").await?;
            Ok(third
                .condition(ConditionType::Ready)
                .is_some_and(|c| c.message.contains("is owned by an object of another namespace.")))
        })
        .await?;

    world.patch("third", json!({"spec": {"groupId": "another"}})).await?;
    let third = world.ready("third", "True", "Created").await?;
    assert_eq!(condition(&third, ConditionType::Stalled), ["", ""]);
    assert_eq!(world.called("CreateLiveMessageGroup")?.by_group(), [("another", 1), ("shared", 2)].into());
    Ok(())
}

#[tokio::test]
async fn released_object_with_another_finalizer_owns_no_group() -> Result<()> {
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
async fn object_with_group_deleted_does_not_reserve_its_group() -> Result<()> {
    let mut world = World::new(&["gone:deleted"]).await?;
    world.start()?;
    world.create("older", json!({"groupId": "gone"})).await?;
    world.ready("older", "False", "GroupDeleted").await?;
    tokio::time::sleep(AGE_DIFFERENCE).await;

    // Recover the group externally. The operator does not detect this change for the older object.
    ByHand::at(&world)?.call(Call::Recover(group("gone"))).await?;
    world.create("younger", json!({"groupId": "gone"})).await?;
    let younger = world.ready("younger", "True", "AlreadyExists").await?;
    assert_eq!(younger.origin(), Some(&Origin::Adopted));

    // A forced reconcile of the older object detects the new owner.
    let force = json!({"metadata": {"annotations": {"live.alibabacloud.com/reconcile-requested-at": "now"}}});
    world.patch("older", force).await?;
    let older = world.ready("older", "False", "Conflict").await?;
    assert!(older.condition(ConditionType::Ready).unwrap().message.contains("/younger"));
    assert_eq!(condition(&older, ConditionType::Degraded), ["", ""]);
    Ok(())
}
