//! Tests of the copies of objects with pending work.

use super::*;

/// Returns the object at this resourceVersion.
fn at(version: &str) -> Box<LiveMessageGroup> {
    Box::new(edited(&single("room"), json!({"metadata": {"resourceVersion": version}})))
}

/// Returns the object at this resourceVersion. The object has no pending work.
fn settled(version: &str) -> LiveMessageGroup {
    let time = "2026-01-01T00:00:00Z";
    let ready =
        json!({"type": "Ready", "status": "True", "reason": "Created", "message": "", "lastTransitionTime": time});
    let status = json!({"observedGeneration": 1, "appId": "demo", "groupId": "room", "origin": "Created",
        "conditions": [ready]});
    edited(&at(version), json!({"status": status}))
}

/// Returns the version of the copy that a worker would take; `None` if the worker must read the object.
fn copied(world: &mut World) -> Option<String> {
    world.scheduler.take_copy(&key("room")).and_then(|(object, _)| object.metadata.resource_version)
}

fn deliver(world: &mut World, version: &str) {
    world.observe(&at(version));
    world.scheduler.keep_copy(&key("room"), at(version));
}

#[test]
fn copy_is_kept_while_an_object_has_pending_work() {
    let mut world = World::new(10);
    deliver(&mut world, "7");
    assert_eq!(world.served(), ["room"]);
    assert_eq!(copied(&mut world).as_deref(), Some("7"));
    world.scheduler.keep_copy(&key("room"), at("8"));
    world.finish("room", Requeue::Done);
    assert!(world.scheduler.copies.is_empty());
    world.scheduler.keep_copy(&key("room"), at("9"));
    assert!(world.scheduler.copies.is_empty(), "the object has no pending work");
    deliver(&mut world, "9");
    world.scheduler.remove(&key("room"), world.now);
    assert!(world.scheduler.copies.is_empty());
}

#[test]
fn copy_older_than_a_write_or_a_read_is_not_taken() {
    let mut world = World::new(10);
    deliver(&mut world, "7");
    world.scheduler.refresh(&key("room"), &at("9"));
    assert_eq!(copied(&mut world), None);
    deliver(&mut world, "8");
    assert_eq!(copied(&mut world), None, "the watch delivers an older version late");
    deliver(&mut world, "10");
    assert_eq!(copied(&mut world).as_deref(), Some("10"));
    deliver(&mut world, "not a number");
    assert_eq!(copied(&mut world), None);
}

#[test]
fn failed_watch_outdates_the_copies_of_its_namespace() {
    let mut world = World::new(10);
    deliver(&mut world, "7");
    world.scheduler.watch_changed(Some("other"), false);
    world.scheduler.keep_copy(&key("room"), at("8"));
    world.scheduler.watch_changed(Some("ns"), false);
    world.scheduler.keep_copy(&key("room"), at("9"));
    assert_eq!(copied(&mut world), None);
    world.scheduler.watch_changed(Some("ns"), true);
    deliver(&mut world, "10");
    assert_eq!(copied(&mut world).as_deref(), Some("10"));
}

#[test]
fn unreadable_version_outdates_the_copy() {
    let mut world = World::new(10);
    deliver(&mut world, "7");
    world.scheduler.observe_unreadable(&key("room"), &unreadable("room", json!({})), 0);
    assert_eq!(copied(&mut world), None);
}

#[test]
fn new_leader_uses_no_copy_older_than_its_first_write() {
    let mut world = World::new(10);
    world.observe(&single("other"));
    let deliver = |world: &mut World, version| {
        world.observe(&at(version));
        world.scheduler.keep_delivered(&key("room"), at(version));
    };
    deliver(&mut world, "7");
    assert_eq!(copied(&mut world), None, "the former leader may have written the object since");
    let own = edited(&single("other"), json!({"metadata": {"resourceVersion": "20"}}));
    world.scheduler.written(&key("other"), &own);
    deliver(&mut world, "9");
    assert_eq!(copied(&mut world), None, "the watch delivers an old version late");
    deliver(&mut world, "21");
    assert_eq!(copied(&mut world).as_deref(), Some("21"));
    world.scheduler.loaded(&key("room"), &at("22"));
    world.scheduler.keep_copy(&key("room"), at("22"));
    deliver(&mut world, "21");
    assert_eq!(copied(&mut world).as_deref(), Some("22"), "this process has read it");
}

#[test]
fn write_without_effect_does_not_permit_copies() {
    let mut world = World::new(10);
    deliver(&mut world, "7");
    world.scheduler.written(&key("room"), &at("7"));
    world.observe(&at("8"));
    world.scheduler.keep_delivered(&key("room"), at("8"));
    assert_eq!(
        copied(&mut world),
        None,
        "the version in the response can be older than the former leader's last write"
    );
}

#[test]
fn own_write_is_not_processed_again() {
    let mut world = World::new(10);
    deliver(&mut world, "7");
    assert_eq!(world.served(), ["room"]);
    world.scheduler.written(&key("room"), &at("9"));
    deliver(&mut world, "9");
    world.scheduler.written(&key("room"), &settled("11"));
    world.finish("room", Requeue::Done);
    deliver(&mut world, "11");
    assert!(world.served().is_empty(), "the watch shows the operator's own writes");
    world.scheduler.written(&key("room"), &at("13"));
    world.observe_in(&at("13"), Seen { list: 1, is_initial: true });
    assert_eq!(world.served(), ["room"], "a list shows it");
}

#[test]
fn work_that_a_write_left_is_queued_at_the_end_of_the_step() {
    let budget = || BudgetKey { account: AccountKey::Operator, operation: Operation::Create };
    for (requeue, is_queued) in [
        (Requeue::Done, true),
        (Requeue::After(MINUTE), true),
        (Requeue::blocked(Cause::Account(AccountKey::Operator)), true),
        (Requeue::Permit(budget()), false),
    ] {
        let mut world = World::new(10);
        deliver(&mut world, "7");
        world.served();
        world.scheduler.written(&key("room"), &at("9"));
        world.finish("room", requeue.clone());
        assert_eq!(!world.served().is_empty(), is_queued, "{requeue:?}");
    }
}

#[test]
fn write_that_changes_nothing_leaves_no_work() {
    let mut world = World::new(10);
    deliver(&mut world, "7");
    world.served();
    // The apiserver dropped the change, for example because the installed CRD is older than the operator.
    world.scheduler.written(&key("room"), &at("7"));
    world.finish("room", Requeue::Done);
    assert!(world.served().is_empty(), "the write would be repeated without end");
}

#[test]
fn every_other_version_is_processed() {
    for (is_written, shown) in [(true, "8"), (true, "10"), (true, "not a number"), (false, "9")] {
        let mut world = World::new(10);
        deliver(&mut world, "7");
        world.served();
        if is_written {
            world.scheduler.written(&key("room"), &at("9"));
        } else {
            world.scheduler.loaded(&key("room"), &at("9"));
        }
        world.finish("room", Requeue::Done);
        world.served();
        world.finish("room", Requeue::Done);
        deliver(&mut world, shown);
        assert_eq!(world.served(), ["room"], "{shown}");
    }
    let mut world = World::new(10);
    deliver(&mut world, "7");
    world.served();
    world.scheduler.written(&key("room"), &at("9"));
    world.scheduler.loaded(&key("room"), &at("10"));
    world.finish("room", Requeue::Done);
    world.served();
    world.finish("room", Requeue::Done);
    deliver(&mut world, "10");
    assert_eq!(world.served(), ["room"], "the operator has read the version, but not written it");
}

#[test]
fn late_response_does_not_replace_a_newer_record() {
    let mut world = World::new(10);
    deliver(&mut world, "7");
    let edited = edited(&at("11"), json!({"metadata": {"generation": 2}}));
    world.observe(&edited);
    world.scheduler.keep_copy(&key("room"), Box::new(edited));
    assert!(world.scheduler.refresh(&key("room"), &at("10")));
    assert_eq!(world.scheduler.record(&key("room")).map(|record| record.generation), Some(2));
    assert_eq!(copied(&mut world).as_deref(), Some("11"));
}
