//! Tests of the comparison that a drift check makes, of the counts for metrics, and of late-arrival fences.

use rstest::rstest;

use super::*;
use crate::live::GroupSnapshot;
use crate::resources::ConditionStatus;

fn app(account: &AccountKey) -> AppKey {
    AppKey::new(account, "demo")
}

fn live(name: &str, change: Value) -> LiveMessageGroup {
    let status = json!({"observedGeneration": 1, "appId": "demo", "groupId": "one", "conditions": [{
        "type": "Ready", "status": "True", "reason": "Created", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    edited(&object(name, 1, status), change)
}

fn listed(id: &str, deleted: bool) -> GroupSnapshot {
    GroupSnapshot { group_id: id.into(), deleted, ..GroupSnapshot::default() }
}

#[test]
fn listed_group_contradicts_settled_objects_of_its_app() {
    let mut world = World::new(10);
    let deleting = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}});
    world.observe(&live("own", json!({"spec": {"dataCenter": "cn-shanghai"}})));
    world.observe(&live("going", deleting));
    world.observe(&live("team", json!({"spec": {"accountRef": {"name": "team"}}})));
    world.observe(&live("working", json!({"spec": {"groupId": "two"}})));
    let (own, team) = (app(&AccountKey::Operator), AccountKey::LiveAccount(key("team")));
    let contradicted = |id, deleted| world.scheduler.contradicted_by(&own, &listed(id, deleted));
    assert_eq!(contradicted("one", true), [(key("own"), RecordedState::Live)]);
    assert!(contradicted("one", false).is_empty() && contradicted("other", true).is_empty());
    let recorded = world.scheduler.recorded_in(&own);
    assert_eq!(recorded.iter().map(|recorded| recorded.object.name()).collect::<Vec<_>>(), ["own"]);
    assert!(world.scheduler.is_worth_checking(&own));
    assert!(!world.scheduler.is_worth_checking(&AppKey::new(&AccountKey::Operator, "other")));
    assert_eq!(world.scheduler.data_center_of(&own), Some("cn-shanghai"));
    assert_eq!(world.scheduler.data_center_of(&app(&team)), None);
    assert_eq!(world.scheduler.objects_by_account(), HashMap::from([(key("team"), 1)]));
}

#[test]
fn data_center_is_that_of_a_live_group() {
    let mut world = World::new(10);
    let mut observe = |name: &str, center: Option<&str>, status: &str| {
        let mut object = live(name, json!({"spec": {"groupId": name}, "status": {"groupId": name}}));
        object.spec.data_center = center.map(|center| serde_json::from_value(json!(center)).unwrap());
        status.clone_into(&mut object.status.as_mut().unwrap().conditions[0].status);
        world.observe(&object);
        world.scheduler.data_center_of(&app(&AccountKey::Operator))
    };
    assert_eq!(observe("wrong", Some("ap-southeast-1"), "False"), Some("ap-southeast-1"));
    assert_eq!(observe("plain", None, "True"), None);
    assert_eq!(observe("wrong2", Some("ap-southeast-1"), "False"), None);
    assert_eq!(observe("right", Some("cn-shanghai"), "True"), Some("cn-shanghai"));
}

#[test]
fn drift_candidate_is_queued_with_the_lowest_priority() {
    let mut world = World::new(10);
    let own = live("own", json!({}));
    world.observe(&own);
    world.scheduler.mark_drift(&key("own"), RecordedState::Live);
    world.scheduler.mark_drift(&key("gone"), RecordedState::Live);
    assert_eq!(world.scheduler.drift_candidates(), 1);
    let work = world.scheduler.next().unwrap();
    assert_eq!((work.key.clone(), work.priority), (key("own"), Priority::Resync));
    assert_eq!(world.scheduler.loaded(&work.key, &own), Some(true));
    assert_eq!(world.scheduler.loaded(&work.key, &own), Some(false), "the first read clears the mark");
    world.scheduler.mark_drift(&key("own"), RecordedState::Gone);
    assert_eq!(world.scheduler.loaded(&work.key, &own), Some(false), "the list is older than the status");
    assert_eq!(world.scheduler.drift_candidates(), 0);
}

#[test]
fn app_is_known_while_an_object_names_it() {
    let mut world = World::new(10);
    let apps = |world: &World| {
        let mut apps: Vec<String> = world.scheduler.apps().map(|(app, _)| app.to_string()).collect();
        apps.sort();
        apps
    };
    world.observe(&object("first", 1, json!({})));
    world.observe(&object("second", 2, json!({})));
    assert_eq!(apps(&world), ["demo"]);
    world.observe(&edited(&object("first", 1, json!({})), json!({"spec": {"accountRef": {"name": "team"}}})));
    assert_eq!(apps(&world), ["demo", "ns/team/demo"]);
    world.observe(&edited(&object("second", 2, json!({})), json!({"spec": {"appId": "other"}})));
    assert_eq!(apps(&world), ["ns/team/demo", "other"]);
    world.scheduler.observe_unreadable(&key("second"), &unreadable("second", json!({})), 0);
    world.scheduler.remove(&key("first"), world.now);
    assert_eq!(apps(&world), Vec::<String>::new());
}

#[test]
fn each_object_counts_once_in_the_summaries() {
    let mut world = World::new(10);
    let count = |world: &World, status: ConditionStatus, reason: Option<Reason>| -> usize {
        let summaries = world.scheduler.summaries().iter();
        summaries.filter(|(of, _)| (of.ready, of.reason) == (status, reason)).map(|(_, count)| count).sum()
    };
    world.observe(&object("old", 1, json!({})));
    world.observe(&object("young", 2, ready("Conflict")));
    assert_eq!(count(&world, ConditionStatus::Unknown, Some(Reason::Pending)), 1);
    assert_eq!(count(&world, ConditionStatus::False, Some(Reason::Conflict)), 1);
    let deleted = object("old", 1, ready("GroupDeleted"));
    world.scheduler.refresh(&key("old"), &deleted);
    world.observe(&deleted);
    assert_eq!(count(&world, ConditionStatus::False, Some(Reason::GroupDeleted)), 1);
    world.observe(&object("old", 1, ready("OfAnotherVersion")));
    assert_eq!(count(&world, ConditionStatus::False, None), 1);
    world.scheduler.observe_unreadable(&key("old"), &unreadable("old", json!({})), 1);
    assert_eq!(count(&world, ConditionStatus::False, Some(Reason::InvalidSpec)), 1);
    assert_eq!(world.scheduler.summaries().values().sum::<usize>(), 2);
    world.scheduler.remove(&key("old"), world.now);
    world.scheduler.remove(&key("young"), world.now);
    assert!(world.scheduler.summaries().is_empty());
}

#[rstest]
#[case::lost(lost())]
#[case::bad_gateway(failed(502, true))]
#[case::unavailable(failed(503, true))]
#[case::gateway_timeout(failed(504, true))]
#[case::truncated(failed(200, false))]
fn late_arrival_delays_the_next_call_for_the_group(#[case] result: Result<Response<Reply>, CallError>) {
    let mut world = World::new(10);
    let new = edited(&single("a"), json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}));
    world.observe(&new);
    world.scheduler.usage_known(&app(&AccountKey::Operator), 0, None);
    let describe = Call::Describe(group_of(&new));
    world.answered(&new, &describe, &result);
    assert!(world.is_cleared(&new, &describe), "a late describe changes nothing");
    world.answered(&new, &create(&new), &result);
    let wait = LATE_ARRIVAL;
    assert_eq!(world.preflight(&new, &describe, false), Preflight::Delayed(wait));
    world.later(wait);
    assert!(world.is_cleared(&new, &describe));
}

#[test]
fn refused_write_delays_no_other_call() {
    let mut world = World::new(10);
    let new = edited(&single("a"), json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}));
    world.observe(&new);
    world.answered(&new, &create(&new), &refused("InputInvalid"));
    assert!(world.is_cleared(&new, &Call::Describe(group_of(&new))));
}

#[test]
fn calls_of_an_earlier_process_are_not_overtaken() {
    // The clock of the apiserver may be behind or ahead of the local clock.
    for created in ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"] {
        let mut world = World::just_started();
        let new = edited(&single("a"), json!({"metadata": {"creationTimestamp": created}}));
        world.observe(&new);
        let (change, describe) = (modify(&new), Call::Describe(group_of(&new)));
        assert!(world.is_cleared(&new, &change), "every change of generation 1 is the same");
        let edited_before = edited(&new, json!({"metadata": {"generation": 2}}));
        assert_eq!(world.preflight(&edited_before, &change, false), Preflight::Delayed(LATE_ARRIVAL));
        assert!(world.is_cleared(&edited_before, &describe), "a describe changes nothing");
        let deleting = edited(&new, json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        let delayed = Preflight::Delayed(LATE_ARRIVAL);
        assert_eq!(world.preflight(&deleting, &describe, false), delayed, "a create may arrive after the delete");
        world.later(LATE_ARRIVAL);
        assert!(world.is_cleared(&edited_before, &change) && world.is_cleared(&deleting, &describe));
    }
}
