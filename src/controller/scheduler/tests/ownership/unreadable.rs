//! Tests of the claims of objects that this version of the operator cannot read.

use super::*;

#[test]
fn unreadable_object_keeps_the_group_that_it_records() {
    for status in [created_status(), intent()] {
        let mut world = World::new(10);
        // After a restart, the group is known only from the status.
        world.scheduler.observe_unreadable(&key("old"), &unreadable("old", status.clone()), 0);
        world.observe(&object("young", 2, ready("Conflict")));
        assert_eq!(owner_of(&world, "young"), Some("ns/old".into()));
        assert!(!claims(&mut world, "young"));
        settle(&mut world);
        world.observe(&object("old", 1, status));
        assert_eq!(owner_of(&world, "young"), Some("ns/old".into()), "it can be read again");
        assert!(!world.served().contains(&"young".to_owned()), "the owner is the same");
    }
    let without_account = json!({"appId": "demo", "groupId": "one", "origin": "Created"});
    for status in [without_account, edited_status(json!({"groupId": "two"})), json!({})] {
        let mut world = World::new(10);
        world.scheduler.observe_unreadable(&key("old"), &unreadable("old", status), 0);
        world.observe(&object("young", 2, ready("Conflict")));
        assert_eq!(owner_of(&world, "young"), None);
    }
}

#[test]
fn released_unreadable_object_owns_nothing() {
    let mut world = World::new(10);
    let mut released = unreadable("old", created_status());
    released.metadata.deletion_timestamp = released.metadata.creation_timestamp.clone();
    released.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    world.scheduler.observe_unreadable(&key("old"), &released, 0);
    world.observe(&object("young", 2, ready("Conflict")));
    assert_eq!(owner_of(&world, "young"), Some("ns/old".into()));
    settle(&mut world);
    released.metadata.finalizers = Some(vec!["example.com/other".to_owned()]);
    world.scheduler.observe_unreadable(&key("old"), &released, 0);
    assert_eq!(owner_of(&world, "young"), None);
    assert!(world.served().contains(&"young".to_owned()));
}
