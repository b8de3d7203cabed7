//! Tests of the time from an edit until it is applied.

use super::*;

/// Returns the object at this generation. The status reports `observed` as the observed generation, and `Ready` has the
/// status `ready`.
fn at(generation: i64, observed: i64, ready: &str) -> LiveMessageGroup {
    let condition = json!({"type": "Ready", "status": ready, "reason": "Created", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"observedGeneration": observed, "conditions": [condition]});
    edited(&single("room"), json!({"metadata": {"generation": generation}, "status": status}))
}

fn deliver(world: &mut World, seconds: u64, object: &LiveMessageGroup) {
    world.now += Duration::from_secs(seconds);
    world.scheduler.set_time(world.now);
    world.observe(object);
}

/// Writes the status of `object` after `seconds`. If the status reports the edit as applied, returns the number of
/// seconds since the edit.
fn written(world: &mut World, seconds: u64, object: &LiveMessageGroup) -> Option<u64> {
    world.now += Duration::from_secs(seconds);
    world.scheduler.set_time(world.now);
    world.scheduler.take_edit(&key("room"), object).map(|took| took.as_secs())
}

#[test]
fn edit_is_measured_once_from_its_delivery() {
    let mut world = World::new(10);
    deliver(&mut world, 0, &at(1, -1, "Unknown"));
    assert_eq!(written(&mut world, 5, &at(1, 1, "True")), Some(5), "a new object");
    assert_eq!(written(&mut world, 5, &at(1, 1, "True")), None);
    deliver(&mut world, 60, &at(2, 1, "True"));
    deliver(&mut world, 3, &at(2, 1, "Unknown"));
    assert_eq!(written(&mut world, 4, &at(2, 2, "True")), Some(7), "progress in the status is no edit");
}

#[test]
fn newer_edit_replaces_the_former_one() {
    let mut world = World::new(10);
    deliver(&mut world, 0, &at(2, 1, "True"));
    deliver(&mut world, 3, &at(3, 1, "True"));
    assert_eq!(written(&mut world, 2, &at(3, 3, "True")), Some(2));
}

#[test]
fn failed_change_is_not_applied() {
    let mut world = World::new(10);
    deliver(&mut world, 0, &at(2, 1, "True"));
    assert_eq!(written(&mut world, 1, &at(2, 2, "Unknown")), None);
    deliver(&mut world, 1, &at(2, 2, "Unknown"));
    assert_eq!(written(&mut world, 10, &at(2, 2, "True")), Some(12));
}

#[test]
fn standby_forgets_what_the_leader_applies() {
    let mut world = World::new(10);
    deliver(&mut world, 0, &at(2, 1, "True"));
    deliver(&mut world, 1, &at(2, 2, "True"));
    assert_eq!(written(&mut world, 600, &at(2, 2, "True")), None, "the drift check of a later leader");
}

#[test]
fn own_write_may_be_delivered_before_its_response() {
    let mut world = World::new(10);
    deliver(&mut world, 0, &at(2, 1, "True"));
    assert_eq!(world.served(), ["room"]);
    deliver(&mut world, 1, &at(2, 2, "True"));
    assert_eq!(written(&mut world, 1, &at(2, 2, "True")), Some(2));
}
