use super::*;

const APP: &str = "demo";

fn app() -> AppKey {
    AppKey::new(&AccountKey::Operator, APP)
}

fn ids(ids: &[&str]) -> Option<std::collections::HashSet<Box<str>>> {
    Some(ids.iter().map(|id| (*id).into()).collect())
}

/// Creates a scheduler in which these objects are active. Each object has its own group, and their app has this limit.
fn world_of(limit: u64, names: &[&str]) -> (World, Vec<LiveMessageGroup>) {
    let mut world = World::new(limit);
    let objects: Vec<LiveMessageGroup> = names.iter().map(|name| single(name)).collect();
    objects.iter().for_each(|object| world.observe(object));
    assert_eq!(world.served().len(), names.len());
    (world, objects)
}

/// Runs the preflight of an object's create. Blocks the object if there is no free place.
fn reserve(world: &mut World, object: &LiveMessageGroup) -> Result<(), Option<Reason>> {
    let name = object.metadata.name.clone().unwrap();
    match world.preflight(object, &create(object), false) {
        Preflight::Blocked(Blocked { on, explanation }) => {
            assert_eq!(on, Cause::Quota(app()));
            world.finish(&name, Requeue::blocked(on));
            Err(explanation.map(|explanation| explanation.reason))
        }
        _ => Ok(()),
    }
}

const FULL: Result<(), Option<Reason>> = Err(Some(Reason::QuotaExceeded));
const UNKNOWN: Result<(), Option<Reason>> = Err(None);

#[test]
fn first_object_that_needs_a_create_requests_the_count() {
    let mut world = World::new(2);
    let settled = json!({"observedGeneration": 1, "appId": "demo", "groupId": "one", "origin": "Created",
        "conditions": [{"type": "Ready", "status": "True", "reason": "Created", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    world.observe_in(&object("settled", 1, settled), Seen { list: 1, is_initial: true });
    world.observe(&edited(&single("observer"), json!({"spec": {"managementPolicy": "Observe"}})));
    assert!(world.scheduler.usage_requests().is_empty(), "a restart with everything in sync makes no call");
    world.observe(&single("new"));
    assert_eq!(world.scheduler.usage_requests(), [(app(), UsageQuery::Count)]);
    assert!(world.scheduler.take_wakeups().usage);
}

#[test]
fn no_object_creates_before_the_count() {
    let (mut world, objects) = world_of(2, &["a"]);
    assert_eq!(reserve(&mut world, &objects[0]), UNKNOWN);
    world.scheduler.usage_known(&app(), 0, None);
    assert_eq!(world.served(), ["a"]);
    assert_eq!(reserve(&mut world, &objects[0]), Ok(()));
    assert!(world.scheduler.usage_requests().is_empty());
}

#[test]
fn reservations_count_and_excess_objects_wait() {
    let (mut world, objects) = world_of(2, &["a", "b", "there"]);
    world.scheduler.usage_known(&app(), 1, ids(&["there"]));
    assert_eq!(reserve(&mut world, &objects[0]), Ok(()));
    assert_eq!(reserve(&mut world, &objects[0]), Ok(()), "it keeps its reservation");
    assert_eq!(reserve(&mut world, &objects[1]), FULL);
    assert_eq!(reserve(&mut world, &objects[2]), Ok(()), "its group exists and needs no place");
    world.answered(&objects[0], &create(&objects[0]), &created());
    world.scheduler.usage_known(&app(), 2, ids(&["there", "a"]));
    assert_eq!(world.served(), Vec::<String>::new());
    world.scheduler.usage_known(&app(), 1, ids(&["a"]));
    assert_eq!(world.served(), ["b"]);
    assert_eq!(reserve(&mut world, &objects[1]), Ok(()));
}

/// The pages of a list are read one after the other, while objects create groups.
#[test]
fn group_created_during_a_list_is_counted_once() {
    for (listed, is_answered_first) in [(&[][..], true), (&["a"], true), (&["a"], false)] {
        let (mut world, objects) = world_of(2, &["a", "b", "c"]);
        world.scheduler.usage_known(&app(), 0, ids(&[]));
        assert_eq!(reserve(&mut world, &objects[0]), Ok(()));
        world.scheduler.usage_query_begins(&app());
        if is_answered_first {
            world.answered(&objects[0], &create(&objects[0]), &created());
        }
        world.scheduler.usage_known(&app(), listed.len() as u64, ids(listed));
        if !is_answered_first {
            world.answered(&objects[0], &create(&objects[0]), &created());
        }
        assert_eq!(reserve(&mut world, &objects[1]), Ok(()), "{listed:?}");
        assert_eq!(reserve(&mut world, &objects[2]), FULL, "{listed:?}");
    }
}

#[test]
fn place_of_a_created_and_deleted_group_is_free() {
    let (mut world, objects) = world_of(1, &["a", "b"]);
    world.scheduler.usage_known(&app(), 0, ids(&[]));
    assert_eq!(reserve(&mut world, &objects[0]), Ok(()));
    world.answered(&objects[0], &create(&objects[0]), &created());
    assert_eq!(reserve(&mut world, &objects[1]), FULL);
    world.answered(&objects[0], &Call::Delete(group_of(&objects[0])), &answer(Reply::Done));
    assert_eq!(world.served(), ["b"]);
    assert_eq!(reserve(&mut world, &objects[1]), Ok(()));
}

#[test]
fn counted_create_in_flight_does_not_raise_the_quota() {
    let (mut world, objects) = world_of(2, &["a", "b", "c"]);
    world.scheduler.usage_known(&app(), 0, None);
    assert_eq!(reserve(&mut world, &objects[0]), Ok(()));
    assert_eq!(reserve(&mut world, &objects[1]), Ok(()));
    world.scheduler.usage_known(&app(), 2, None);
    for object in &objects[..2] {
        world.answered(object, &create(object), &created());
    }
    assert_eq!(reserve(&mut world, &objects[2]), UNKNOWN, "it waits for a list");
}

#[test]
fn answers_of_overlapping_lists_do_not_hide_a_create() {
    let (mut world, objects) = world_of(1, &["a", "b"]);
    world.scheduler.usage_known(&app(), 0, ids(&[]));
    assert_eq!(reserve(&mut world, &objects[0]), Ok(()));
    world.scheduler.usage_query_begins(&app());
    world.scheduler.usage_query_begins(&app());
    world.scheduler.usage_known(&app(), 0, None);
    world.scheduler.usage_query_ends(&app());
    world.answered(&objects[0], &create(&objects[0]), &created());
    world.scheduler.usage_known(&app(), 0, None);
    world.scheduler.usage_query_ends(&app());
    assert_eq!(reserve(&mut world, &objects[1]), FULL);
}

#[test]
fn place_of_a_deleted_group_goes_to_the_longest_waiting() {
    let (mut world, objects) = world_of(2, &["a", "b", "c", "d"]);
    world.scheduler.usage_known(&app(), 2, ids(&["a", "b"]));
    assert_eq!(reserve(&mut world, &objects[2]), FULL);
    assert_eq!(reserve(&mut world, &objects[3]), FULL);
    let delete = Call::Delete(group_of(&objects[0]));
    world.answered(&objects[0], &delete, &answer(Reply::Done));
    assert_eq!(world.served(), ["c"], "one place, one object");
    assert_eq!(reserve(&mut world, &objects[0]), FULL, "the place is reserved for another object");
    assert_eq!(reserve(&mut world, &objects[2]), Ok(()));
}

#[test]
fn full_app_is_listed_before_an_object_is_refused() {
    let (mut world, objects) = world_of(1, &["there", "new"]);
    world.scheduler.usage_known(&app(), 1, None);
    assert_eq!(reserve(&mut world, &objects[0]), UNKNOWN);
    assert_eq!(reserve(&mut world, &objects[1]), UNKNOWN);
    assert_eq!(world.scheduler.usage_requests(), [(app(), UsageQuery::List)]);
    world.scheduler.usage_known(&app(), 1, None);
    assert_eq!(world.served(), Vec::<String>::new(), "they wait for the list");
    world.scheduler.usage_known(&app(), 1, ids(&["there"]));
    assert_eq!(world.served(), ["there", "new"]);
    assert_eq!((reserve(&mut world, &objects[0]), reserve(&mut world, &objects[1])), (Ok(()), FULL));
}

#[test]
fn app_above_its_limit_counts_as_unlimited() {
    let (mut world, objects) = world_of(1, &["a"]);
    world.scheduler.usage_known(&app(), 1, ids(&["x"]));
    assert_eq!(reserve(&mut world, &objects[0]), FULL);
    world.scheduler.usage_known(&app(), 2, ids(&["x", "y"]));
    assert_eq!(world.served(), ["a"], "its quota was raised");
    assert_eq!(reserve(&mut world, &objects[0]), Ok(()));
}

#[test]
fn app_that_cannot_be_counted_blocks_nothing() {
    let (mut world, objects) = world_of(1, &["a"]);
    assert_eq!(reserve(&mut world, &objects[0]), UNKNOWN);
    world.scheduler.usage_unavailable(&app());
    assert_eq!(world.served(), ["a"]);
    assert_eq!(reserve(&mut world, &objects[0]), Ok(()));
    assert_eq!(world.scheduler.apps[&app()].usage(), None, "the service returned no number");
}

#[test]
fn failed_create_and_removed_object_free_their_places() {
    let (mut world, objects) = world_of(1, &["a", "b", "c"]);
    world.scheduler.usage_known(&app(), 0, ids(&[]));
    assert_eq!(reserve(&mut world, &objects[0]), Ok(()));
    assert_eq!(reserve(&mut world, &objects[1]), FULL);
    world.answered(&objects[0], &create(&objects[0]), &lost());
    assert_eq!(world.served(), ["b"]);
    assert_eq!((reserve(&mut world, &objects[1]), reserve(&mut world, &objects[2])), (Ok(()), FULL));
    world.scheduler.remove(&key("b"), world.now);
    assert_eq!(world.served(), ["c"]);
    assert_eq!(reserve(&mut world, &objects[2]), Ok(()));
}

#[test]
fn blocked_object_has_no_reservation() {
    let (mut world, objects) = world_of(1, &["a", "b"]);
    world.scheduler.usage_known(&app(), 0, ids(&[]));
    assert_eq!(reserve(&mut world, &objects[0]), Ok(()));
    assert_eq!(reserve(&mut world, &objects[1]), FULL);
    let breaker = BreakerKey::Permission(app(), Operation::Create);
    world.trip("a", &breaker, Reason::NotAuthorized);
    assert_eq!(world.served(), ["b"]);
}

#[test]
fn forced_reconcile_counts_a_full_app_again() {
    let (mut world, objects) = world_of(1, &["a"]);
    world.scheduler.usage_known(&app(), 1, ids(&["x"]));
    assert_eq!(reserve(&mut world, &objects[0]), FULL);
    assert!(world.scheduler.usage_requests().is_empty());
    let annotations = json!({"metadata": {"annotations": {"live.alibabacloud.com/reconcile-requested-at": "now"}}});
    let forced = edited(&objects[0], annotations);
    world.observe(&forced);
    assert_eq!(world.served(), ["a"]);
    assert_eq!(reserve(&mut world, &forced), FULL);
    assert_eq!(world.scheduler.usage_requests(), [(app(), UsageQuery::Count)]);
}

#[test]
fn changed_account_is_counted_again() {
    let (mut world, objects) = world_of(1, &["a"]);
    world.scheduler.usage_known(&app(), 1, ids(&["x"]));
    assert_eq!(reserve(&mut world, &objects[0]), FULL);
    world.account_changed(&AccountKey::Operator);
    assert_eq!(world.served(), ["a"]);
    assert_eq!(reserve(&mut world, &objects[0]), UNKNOWN);
}

#[test]
fn app_without_objects_is_removed() {
    let (mut world, objects) = world_of(1, &["a"]);
    world.scheduler.usage_known(&app(), 1, ids(&["x"]));
    world.scheduler.retain_apps(std::time::SystemTime::now());
    assert_eq!(reserve(&mut world, &objects[0]), FULL);
    world.scheduler.remove(&key("a"), world.now);
    world.scheduler.retain_apps(std::time::SystemTime::now());
    assert!(world.scheduler.apps.is_empty());
}
