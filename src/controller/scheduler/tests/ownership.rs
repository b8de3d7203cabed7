mod unreadable;

use super::*;
use crate::resources::FINALIZER;

fn owner_of(world: &World, name: &str) -> Option<String> {
    world.scheduler.other_claimant(&key(name)).map(|holder| holder.name)
}

fn claims(world: &mut World, name: &str) -> bool {
    world.scheduler.claim(&key(name))
}

/// Creates an older and a younger object with these statuses. Both reference the same group and have already been
/// processed.
fn rivals(old: Value, young: Value) -> (World, [LiveMessageGroup; 2]) {
    let mut world = World::new(10);
    let both = [object("old", 1, old), object("young", 2, young)];
    both.iter().for_each(|object| world.observe(object));
    settle(&mut world);
    (world, both)
}

/// Processes the ready objects until each object is idle or blocked by a conflict.
fn settle(world: &mut World) {
    while let Some(work) = world.scheduler.next() {
        let record = world.scheduler.record(&work.key).cloned();
        let in_conflict = record.as_ref().is_some_and(|record| record.is_conflict);
        let group = record.and_then(|record| record.group).filter(|_| in_conflict);
        let requeue = group.map_or(Requeue::Done, |group| Requeue::blocked(Cause::Owner(group)));
        if in_conflict && world.scheduler.other_claimant(&work.key).is_none() {
            world.scheduler.finish(&work.key, work.priority, Requeue::Done, None, world.now);
        } else {
            world.scheduler.finish(&work.key, work.priority, requeue, None, world.now);
        }
    }
}

fn created_status() -> Value {
    json!({"appId": "demo", "groupId": "one", "origin": "Created", "account": {"service": "live.aliyuncs.com"}})
}

fn edited_status(change: Value) -> Value {
    let mut status = created_status();
    json_patch::merge(&mut status, &change);
    status
}

fn intent() -> Value {
    let intent = json!({"startedAt": "2026-01-01T00:00:00Z", "sent": ["a"]});
    json!({"appId": "demo", "groupId": "one", "createIntent": intent, "account": {"service": "live.aliyuncs.com"}})
}

#[test]
fn older_object_owns_a_group_without_a_record() {
    let (mut world, _) = rivals(json!({}), json!({}));
    assert_eq!((owner_of(&world, "old"), owner_of(&world, "young")), (None, Some("ns/old".into())));
    assert!(!claims(&mut world, "young") && claims(&mut world, "old"));
}

#[test]
fn waiting_object_is_decided_again_when_its_owner_changes() {
    let (mut world, _) = rivals(json!({}), ready("Conflict"));
    world.scheduler.refresh(&key("old"), &object("old", 1, ready("GroupDeleted")));
    assert_eq!(world.served(), ["young"], "the owner was refused");
    assert_eq!(owner_of(&world, "young"), None);
    let (mut world, _) = rivals(json!({}), ready("Conflict"));
    world.scheduler.remove(&key("old"), world.now);
    assert_eq!(world.served(), ["young"], "the owner is gone");
    let (mut world, _) = rivals(json!({}), ready("Conflict"));
    world.scheduler.observe_unreadable(&key("old"), &unreadable("old", json!({})), 0);
    assert!(world.served().contains(&"young".to_owned()), "the owner cannot be read");
    let (mut world, [old, _]) = rivals(json!({}), ready("Conflict"));
    world.scheduler.refresh(&key("old"), &edited(&old, json!({"spec": {"groupId": "two"}})));
    assert_eq!(world.served(), ["young"], "the owner names another group");
}

#[test]
fn patches_of_the_owner_wake_no_waiting_object() {
    let (mut world, [old, _]) = rivals(json!({}), ready("Conflict"));
    let finalizer = edited(&old, json!({"metadata": {"finalizers": [FINALIZER]}}));
    for patched in [finalizer, object("old", 1, intent()), object("old", 1, ready("ServiceError"))] {
        world.scheduler.refresh(&key("old"), &patched);
        assert_eq!(world.served(), Vec::<String>::new());
    }
    assert!(claims(&mut world, "old"));
    world.scheduler.set_in_flight(&key("old"), false);
    assert_eq!(world.served(), Vec::<String>::new());
}

#[test]
fn refused_object_does_not_wake_for_an_intent() {
    let (mut world, _) = rivals(ready("GroupDeleted"), ready("Conflict"));
    world.scheduler.refresh(&key("young"), &object("young", 2, intent()));
    assert_eq!(world.served(), Vec::<String>::new(), "an intent does not wake a refused object");
    world.scheduler.refresh(&key("young"), &object("young", 2, ready("GroupDeleted")));
    assert_eq!(world.served(), Vec::<String>::new(), "both objects are idle");
    let created = object("young", 2, created_status());
    world.scheduler.refresh(&key("young"), &created);
    assert_eq!(world.served(), ["old"], "its status must report the new owner");
}

#[test]
fn call_in_flight_keeps_the_claim_through_events() {
    let mut world = World::new(10);
    world.observe(&object("young", 2, json!({})));
    assert!(claims(&mut world, "young"));
    world.observe(&object("old", 1, ready("Conflict")));
    for status in [json!({}), ready("Unreachable")] {
        world.observe(&object("young", 2, status));
        assert_eq!(owner_of(&world, "old"), Some("ns/young".into()));
    }
    world.served();
    let group = world.scheduler.record(&key("old")).and_then(|record| record.group.clone()).unwrap();
    world.finish("old", Requeue::blocked(Cause::Owner(group)));
    world.scheduler.set_in_flight(&key("young"), false);
    assert_eq!(world.served(), ["old"]);
    assert!(claims(&mut world, "old"));
}

#[test]
fn claim_belongs_to_one_group_and_one_object() {
    let (mut world, [old, _]) = rivals(json!({}), json!({}));
    assert!(claims(&mut world, "old"));
    let theirs = json!({"spec": {"groupId": "two"}, "status": edited_status(json!({"groupId": "two"}))});
    world.observe(&edited(&object("young", 2, json!({})), theirs));
    world.observe(&edited(&old, json!({"spec": {"groupId": "two"}})));
    assert_eq!((owner_of(&world, "young"), owner_of(&world, "old")), (None, Some("ns/young".into())));
    let (mut world, _) = rivals(created_status(), ready("Conflict"));
    let again = edited(&object("old", 3, json!({})), json!({"metadata": {"uid": "again"}}));
    world.observe(&again);
    assert!(world.served().contains(&"young".to_owned()));
    assert_eq!(owner_of(&world, "young"), None, "a recreated object inherits nothing");
}

#[test]
fn conflict_does_not_end_a_refusal() {
    let (mut world, _) = rivals(ready("QuotaExceeded"), ready("ServiceError"));
    assert_eq!(owner_of(&world, "old"), Some("ns/young".into()));
    world.observe(&object("old", 1, ready("Conflict")));
    assert_eq!((owner_of(&world, "old"), owner_of(&world, "young")), (Some("ns/young".into()), None));
    settle(&mut world);
    world.observe(&object("young", 2, ready("AppNotFound")));
    assert!(world.served().contains(&"old".to_owned()), "it may try again when the other object is refused too");
    assert_eq!(owner_of(&world, "old"), None);
}

#[test]
fn stale_read_does_not_restore_a_claim() {
    let (mut world, [old, _]) = rivals(created_status(), ready("Conflict"));
    assert!(world.scheduler.refresh(&key("old"), &old));
    world.scheduler.remove(&key("old"), world.now);
    assert!(!world.scheduler.refresh(&key("old"), &old));
    world.observe(&edited(&object("old", 3, json!({})), json!({"metadata": {"uid": "again"}})));
    assert!(!world.scheduler.refresh(&key("old"), &old));
    assert!(claims(&mut world, "young"));
}

#[test]
fn objects_missing_from_a_list_are_removed() {
    let mut world = World::new(10);
    let in_list = |list| Seen { list, is_initial: true };
    world.observe_in(&object("old", 1, json!({})), in_list(1));
    world.observe_in(&object("young", 2, ready("Conflict")), in_list(2));
    settle(&mut world);
    assert!(world.scheduler.remove_unseen(Some("other"), 2, world.now).is_empty());
    let gone = world.scheduler.remove_unseen(Some("ns"), 2, world.now);
    assert_eq!(gone.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [key("old")]);
    assert_eq!((world.served(), world.scheduler.len()), (vec!["young".to_owned()], 1));
    world.scheduler.remove_unseen(None, 3, world.now);
    assert!(world.scheduler.objects.is_empty() && world.scheduler.groups.is_empty());
    assert!(world.scheduler.summaries.is_empty());
}

#[test]
fn observer_neither_owns_nor_conflicts() {
    let observes = json!({"spec": {"managementPolicy": "Observe"}});
    let (mut world, [_, young]) = rivals(created_status(), json!({}));
    world.observe(&edited(&young, observes.clone()));
    assert_eq!((owner_of(&world, "young"), owner_of(&world, "old")), (None, None));
    assert!(claims(&mut world, "young") && claims(&mut world, "old"), "an observer claims nothing");
    let (mut world, [old, _]) = rivals(json!({}), ready("Conflict"));
    assert!(claims(&mut world, "old"));
    world.observe(&edited(&old, observes));
    assert_eq!(owner_of(&world, "young"), Some("ns/old".into()), "its call is still in flight");
    world.scheduler.set_in_flight(&key("old"), false);
    assert!(claims(&mut world, "young"));
}

#[test]
fn owner_that_loses_to_an_older_record_is_woken() {
    let observes = json!({"spec": {"managementPolicy": "Observe"}});
    let (mut world, [old, young]) = rivals(created_status(), created_status());
    world.observe(&edited(&old, observes));
    settle(&mut world);
    assert!(!world.scheduler.has_lost_group(&key("young")));
    world.observe(&old);
    assert!(world.served().contains(&"young".to_owned()));
    assert!(world.scheduler.has_lost_group(&key("young")) && !world.scheduler.has_lost_group(&key("old")));
    world.observe(&edited(&young, json!({"status": ready("Conflict")})));
    assert!(!world.scheduler.has_lost_group(&key("young")), "its status reports the loss");
}

#[test]
fn released_object_owns_nothing() {
    let (mut world, [old, _]) = rivals(created_status(), ready("Conflict"));
    let deleting = |finalizers: &[&str]| {
        let metadata = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers});
        edited(&old, json!({"metadata": metadata}))
    };
    world.observe(&deleting(&["example.com/other", FINALIZER]));
    assert_eq!(owner_of(&world, "young").as_deref(), Some("ns/old"), "it may delete the group");
    world.observe(&deleting(&["example.com/other"]));
    assert!(world.served().contains(&"young".to_owned()));
    assert_eq!(owner_of(&world, "young"), None);
}

#[test]
fn deleted_object_hands_over_to_the_next_owner() {
    let mut world = World::new(10);
    let metadata = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]});
    world.observe(&edited(&object("old", 1, created_status()), json!({"metadata": metadata.clone()})));
    assert_eq!(owner_of(&world, "old"), None, "no other object names the group");
    world.observe(&edited(&object("observer", 2, json!({})), json!({"spec": {"managementPolicy": "Observe"}})));
    world.observe(&edited(&object("going", 2, json!({})), json!({"metadata": metadata})));
    assert_eq!(owner_of(&world, "old"), None, "neither can take the group over");
    world.observe(&object("refused", 3, ready("InvalidInput")));
    assert_eq!(owner_of(&world, "old"), None, "it cannot call");
    for (name, created) in [("young", 9), ("middle", 4), ("late", 7)] {
        world.observe(&object(name, created, ready("Conflict")));
    }
    assert_eq!(owner_of(&world, "old").as_deref(), Some("ns/middle"));
    assert!(!world.scheduler.has_lost_group(&key("old")));
}

#[test]
fn object_edited_since_it_was_read_is_read_again() {
    let (mut world, [old, _]) = rivals(json!({}), json!({}));
    let observes = json!({"spec": {"managementPolicy": "Observe"}, "metadata": {"generation": 2}});
    world.observe(&edited(&old, observes));
    settle(&mut world);
    assert!(claims(&mut world, "young"));
    let stale = world.preflight(&old, &create(&old), true);
    assert_eq!(stale, Preflight::Delayed(Duration::ZERO), "its create would race that of the owner");
    world.observe(&edited(&old, json!({"metadata": {"uid": "again"}})));
    assert_eq!(world.preflight(&old, &create(&old), true), Preflight::Delayed(Duration::ZERO), "another object");
}

#[test]
fn observer_keeps_no_claim_between_attempts() {
    let mut world = World::new(10);
    let observer = edited(&object("observer", 1, json!({})), json!({"spec": {"managementPolicy": "Observe"}}));
    world.observe(&observer);
    world.observe(&object("young", 2, json!({})));
    world.served();
    assert!(claims(&mut world, "observer"));
    let pass = Some(Box::new(Pass::with_claim()));
    world.scheduler.finish(&key("observer"), Priority::Retry, Requeue::After(Duration::ZERO), pass, world.now);
    assert_eq!(owner_of(&world, "young"), None);
}

/// Returns `object` in namespace `namespace`, with a reference to the LiveAccount `team`.
fn with_account(object: &LiveMessageGroup, namespace: &str) -> LiveMessageGroup {
    edited(object, json!({"metadata": {"namespace": namespace}, "spec": {"accountRef": {"name": "team"}}}))
}

fn team(namespace: &str) -> AccountKey {
    AccountKey::LiveAccount(ObjectKey::new(namespace, "team"))
}

fn account(service: &str, is_usable: bool) -> Option<AccountState> {
    Some(AccountState { service: service.into(), is_usable, namespaces: None })
}

fn owner_in(world: &World, namespace: &str, name: &str) -> Option<String> {
    world.scheduler.other_claimant(&ObjectKey::new(namespace, name)).map(|holder| holder.name)
}

#[test]
fn objects_that_cannot_call_do_not_own_the_group() {
    let paused = json!({"metadata": {"annotations": {"live.alibabacloud.com/paused": "true"}}});
    let squatters = [
        with_account(&object("old", 1, json!({})), "ns"),
        edited(&object("old", 1, json!({})), paused),
        object("old", 1, ready("CredentialsMissing")),
        object("old", 1, ready("CredentialsRejected")),
        object("old", 1, ready("NotAuthorized")),
    ];
    for squatter in squatters {
        let mut world = World::new(10);
        world.observe(&squatter);
        world.observe(&object("young", 2, json!({})));
        assert_eq!(owner_of(&world, "young"), None, "{squatter:?}");
        assert!(claims(&mut world, "young"));
    }
}

#[test]
fn objects_at_different_services_do_not_conflict() {
    let mut world = World::new(10);
    world.scheduler.account_changed(&team("ns"), account("live.example.com", true));
    let recorded = json!({"appId": "demo", "groupId": "one", "origin": "Created",
        "account": {"service": "live.example.com", "name": "team"}});
    world.observe(&with_account(&object("old", 1, recorded), "ns"));
    world.observe(&object("young", 2, json!({})));
    assert_eq!((owner_of(&world, "old"), owner_of(&world, "young")), (None, None));
    // An origin that was recorded for a different service does not entitle the object to own the group at this service.
    assert!(claims(&mut world, "young"));
    world.scheduler.account_changed(&team("ns"), account("live.aliyuncs.com", true));
    assert_eq!((owner_of(&world, "old"), owner_of(&world, "young")), (Some("ns/young".into()), None));
    let young = object(
        "young",
        2,
        json!({"appId": "demo", "groupId": "one", "origin": "Created",
        "account": {"service": "live.aliyuncs.com"}}),
    );
    world.observe(&young);
    world.scheduler.set_in_flight(&key("young"), false);
    assert_eq!((owner_of(&world, "old"), owner_of(&world, "young")), (Some("ns/young".into()), None));
    world.scheduler.account_changed(&team("ns"), account("live.example.com", true));
    assert_eq!((owner_of(&world, "old"), owner_of(&world, "young")), (None, None));
}

#[test]
fn object_whose_account_is_deleted_keeps_its_group() {
    let mut world = World::new(10);
    let created = json!({"appId": "demo", "groupId": "one", "origin": "Created",
        "account": {"service": "live.aliyuncs.com", "name": "team"}});
    // After a restart, the LiveAccount no longer exists, so the service is known only from the status.
    world.observe(&with_account(&object("owner", 2, created), "ns"));
    world.observe(&object("rival", 1, json!({})));
    assert_eq!(owner_of(&world, "rival"), Some("ns/owner".into()));
    world.scheduler.account_changed(&team("ns"), account("live.aliyuncs.com", true));
    world.scheduler.account_changed(&team("ns"), None);
    assert_eq!(owner_of(&world, "rival"), Some("ns/owner".into()));
}

#[test]
fn only_an_object_that_can_call_inherits_a_group() {
    let deletion = json!({"metadata": {"finalizers": [FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let owner = edited(&object("owner", 1, created_status()), deletion);
    let heir_of = |prepare: &dyn Fn(&mut World), heir: &LiveMessageGroup| {
        let mut world = World::new(10);
        world.observe(&owner);
        prepare(&mut world);
        world.observe(heir);
        owner_in(&world, "ns", "owner")
    };
    let conflict = object("heir", 2, ready("Conflict"));
    assert_eq!(heir_of(&|_| {}, &conflict), Some("ns/heir".into()));
    let (near, far) = (with_account(&conflict, "ns"), with_account(&conflict, "other"));
    assert_eq!(heir_of(&|_| {}, &near), None, "the account does not exist");
    let add = |namespace: &'static str, is_usable| {
        move |world: &mut World| {
            world.scheduler.account_changed(&team(namespace), account("live.aliyuncs.com", is_usable))
        }
    };
    assert_eq!(heir_of(&add("ns", true), &near), Some("ns/heir".into()));
    assert_eq!(heir_of(&add("ns", false), &near), None, "it has no credentials");
    assert_eq!(heir_of(&add("other", true), &far), None, "the service has never accepted them");
    let proven = |world: &mut World| {
        add("other", true)(world);
        world.scheduler.breakers.remove_account(&team("other"));
    };
    assert_eq!(heir_of(&proven, &far), Some("other/heir".into()));
    let paused = json!({"metadata": {"annotations": {"live.alibabacloud.com/paused": "true"}}});
    assert_eq!(heir_of(&|_| {}, &edited(&conflict, paused)), None);
}
