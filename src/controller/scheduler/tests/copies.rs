//! Tests of the copies of objects with pending work.

use super::*;

/// The object at this resourceVersion.
fn at(version: &str) -> Box<LiveMessageGroup> {
    Box::new(edited(&single("room"), json!({"metadata": {"resourceVersion": version}})))
}

/// The version of the copy that a worker would take; `None` if it must read the object.
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
fn new_leader_reads_pending_objects() {
    let mut world = World::new(10);
    deliver(&mut world, "7");
    world.scheduler.start_leading();
    assert_eq!(copied(&mut world), None, "the former leader may have written the object since");
    assert_eq!(world.served(), ["room"]);
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
