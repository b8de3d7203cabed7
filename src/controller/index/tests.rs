use super::*;
use crate::resources::FINALIZER;
use serde_json::json;

fn object(name: &str, created: i64, status: serde_json::Value) -> (Key, LiveMessageGroup) {
    let time = jiff::Timestamp::from_second(created).unwrap().to_string();
    let object: LiveMessageGroup = serde_json::from_value(json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
        "metadata": {"namespace": "ns", "name": name, "uid": name, "generation": 1, "creationTimestamp": time},
        "spec": {"appId": "demo", "groupId": "one"}, "status": status
    }))
    .unwrap();
    (Key::of(&object.metadata).unwrap(), object)
}

/// An index that knows an older object and a younger one, of one group and with these statuses.
fn rivals(old: serde_json::Value, young: serde_json::Value) -> (Index, [(Key, LiveMessageGroup); 2]) {
    let (mut index, both) = (Index::default(), [object("old", 1, old), object("young", 2, young)]);
    for (key, object) in &both {
        index.observe(key, object, 0);
    }
    (index, both)
}

fn ready(reason: &str) -> serde_json::Value {
    let time = "2026-01-01T00:00:00Z";
    json!({"appId": "demo", "groupId": "one", "conditions": [
        {"type": "Ready", "status": "False", "reason": reason, "message": "", "lastTransitionTime": time}]})
}

#[test]
fn the_older_one_holds_until_the_younger_has_a_call_out() {
    let (mut index, [(old, _), (young, _)]) = rivals(json!({}), json!({}));
    assert_eq!(index.other_of(&old), None);
    assert_eq!(index.claim(&young), Err(Holder { name: "ns/old".into() }));
    assert_eq!(index.claim(&old), Ok(()));
}

#[test]
fn the_one_in_conflict_is_looked_at_again_when_the_holder_goes_or_is_refused() {
    let (mut index, [(old, _), (young, _)]) = rivals(json!({}), ready("Conflict"));
    let (_, refused) = object("old", 1, ready("GroupDeleted"));
    assert_eq!(index.observe(&old, &refused, 0), std::slice::from_ref(&young));
    assert_eq!(index.other_of(&young), None);
    assert_eq!(index.remove(&old), [young]);
}

#[test]
fn one_that_cannot_be_read_any_more_holds_nothing_and_who_waited_for_it_is_told() {
    let (mut index, [(old, _), (young, _)]) = rivals(json!({}), ready("Conflict"));
    assert_eq!(index.observe_unreadable(&old, "old", 2, 0), (true, vec![young.clone()]));
    assert_eq!(index.observe_unreadable(&old, "old", 2, 0), (false, vec![]));
    assert_eq!(index.other_of(&young), None);
}

#[test]
fn what_a_new_list_does_not_show_is_gone() {
    let mut index = Index::default();
    let (old, old_object) = object("old", 1, json!({}));
    let (young, young_object) = object("young", 2, ready("Conflict"));
    index.observe(&old, &old_object, 1);
    index.observe(&young, &young_object, 2);
    assert_eq!(index.sweep_unseen(Some("other"), 2), (vec![], vec![]));
    assert_eq!(index.sweep_unseen(Some("ns"), 2), (vec![old], vec![young]));
    assert_eq!(index.len(), 1);
}

#[test]
fn an_app_is_known_while_an_object_names_it_with_that_account() {
    let apps = |index: &Index| {
        let mut scopes: Vec<String> = index.apps().map(App::scope).collect();
        scopes.sort();
        scopes
    };
    let mut index = Index::default();
    let (first, object_of_first) = object("first", 1, json!({}));
    let (second, object_of_second) = object("second", 2, json!({}));
    index.observe(&first, &object_of_first, 0);
    index.observe(&second, &object_of_second, 0);
    index.observe(&second, &object_of_second, 0);
    assert_eq!(apps(&index), ["demo"]);
    // The claim is the same, the account is not.
    index.observe(&first, &edited(&object_of_first, json!({"spec": {"accountRef": {"name": "team"}}})), 0);
    assert_eq!(apps(&index), ["demo", "ns/team|demo"]);
    index.observe(&second, &edited(&object_of_second, json!({"spec": {"appId": "other"}})), 0);
    assert_eq!(apps(&index), ["ns/team|demo", "other"]);
    index.observe_unreadable(&second, "second", 2, 0);
    index.remove(&first);
    assert_eq!(apps(&index), Vec::<String>::new());
}

fn edited(object: &LiveMessageGroup, change: serde_json::Value) -> LiveMessageGroup {
    let mut value = serde_json::to_value(object).unwrap();
    json_patch::merge(&mut value, &change);
    serde_json::from_value(value).unwrap()
}

fn origin() -> serde_json::Value {
    json!({"appId": "demo", "groupId": "one", "origin": "Created"})
}

#[test]
fn a_call_under_way_survives_the_events_of_its_object_and_ends_once() {
    let mut index = Index::default();
    let (young, young_object) = object("young", 2, json!({}));
    index.observe(&young, &young_object, 0);
    assert_eq!(index.claim(&young), Ok(()));
    let (old, old_object) = object("old", 1, ready("Conflict"));
    index.observe(&old, &old_object, 0);
    for status in [json!({}), ready("Unreachable")] {
        index.observe(&young, &object("young", 2, status).1, 0);
        assert_eq!(index.claim(&old), Err(Holder { name: "ns/young".into() }));
    }
    assert_eq!(index.release(&young), std::slice::from_ref(&old));
    assert_eq!(index.release(&young), []);
    assert_eq!(index.claim(&old), Ok(()));
}

#[test]
fn a_call_for_one_group_proves_nothing_for_another() {
    let mut index = Index::default();
    let (old, old_object) = object("old", 1, json!({}));
    index.observe(&old, &old_object, 0);
    assert_eq!(index.claim(&old), Ok(()));
    let (young, young_object) = object("young", 2, json!({}));
    let theirs = edited(
        &young_object,
        json!({"spec": {"groupId": "two"}, "status": {"groupId": "two", "appId": "demo", "origin": "Created"}}),
    );
    index.observe(&young, &theirs, 0);
    // The older one is edited to name the younger one's group while its own call is out.
    index.observe(&old, &edited(&old_object, json!({"spec": {"groupId": "two"}})), 0);
    assert_eq!(index.other_of(&young), None);
    assert_eq!(index.claim(&old), Err(Holder { name: "ns/young".into() }));
}

#[test]
fn a_call_of_a_predecessor_proves_nothing_for_its_successor() {
    let mut index = Index::default();
    let (key, first) = object("one", 1, origin());
    index.observe(&key, &first, 0);
    assert_eq!(index.claim(&key), Ok(()));
    let (other, waiting) = object("other", 2, ready("Conflict"));
    index.observe(&other, &waiting, 0);
    let again = edited(&object("one", 3, json!({})).1, json!({"metadata": {"uid": "again"}}));
    assert_eq!(index.observe(&key, &again, 0), std::slice::from_ref(&other));
    assert_eq!(index.other_of(&other), None, "the older one of two that have nothing");
}

#[test]
fn one_that_was_told_to_leave_a_group_does_not_take_it_by_that() {
    let (mut index, [(old, _), (young, trying)]) = rivals(ready("QuotaExceeded"), ready("ServiceError"));
    assert_eq!(index.other_of(&old), Some(Holder { name: "ns/young".into() }));
    // The older one is told so; the younger one still holds.
    let (_, told) = object("old", 1, ready("Conflict"));
    index.observe(&old, &told, 0);
    assert_eq!(index.other_of(&old), Some(Holder { name: "ns/young".into() }));
    assert_eq!(index.other_of(&young), None);
    // When the younger one is refused too, the older one may try again; an edit to another group starts anew.
    assert_eq!(index.observe(&young, &object("young", 2, ready("AppNotFound")).1, 0), std::slice::from_ref(&old));
    assert_eq!(index.other_of(&old), None);
    index.observe(&young, &trying, 0);
    index.observe(&old, &edited(&told, json!({"spec": {"groupId": "two"}})), 0);
    index.observe(&old, &told, 0);
    assert_eq!(index.other_of(&old), None);
}

#[test]
fn an_edit_of_the_identity_moves_the_claim_and_tells_those_who_waited() {
    let (mut index, [(old, old_object), (young, _)]) = rivals(json!({}), ready("Conflict"));
    let moved = edited(&old_object, json!({"spec": {"groupId": "two"}}));
    assert_eq!(index.observe(&old, &moved, 0), std::slice::from_ref(&young));
    assert_eq!((index.other_of(&young), index.other_of(&old)), (None, None));
    // And back: the one that waited there meanwhile has nothing yet.
    index.observe(&old, &old_object, 0);
    assert_eq!(index.other_of(&young), Some(Holder { name: "ns/old".into() }));
    // An origin of the old group counts for nothing in the new one.
    index.observe(&young, &object("young", 2, origin()).1, 0);
    assert_eq!(index.other_of(&old), Some(Holder { name: "ns/young".into() }));
    let elsewhere = edited(&object("young", 2, origin()).1, json!({"spec": {"groupId": "two"}}));
    index.observe(&young, &elsewhere, 0);
    let (third, third_object) = object("third", 1, json!({}));
    index.observe(&third, &edited(&third_object, json!({"spec": {"groupId": "two"}})), 0);
    assert_eq!(index.other_of(&young), Some(Holder { name: "ns/third".into() }));
}

#[test]
fn a_read_that_is_older_than_the_end_of_its_object_brings_no_claim_back() {
    let (mut index, [(one, read), (two, _)]) = rivals(origin(), ready("Conflict"));
    assert_eq!(index.refresh(&one, &read), Some(vec![]));
    assert_eq!(index.remove(&one), std::slice::from_ref(&two));
    assert_eq!(index.refresh(&one, &read), None);
    // Nor does one of the predecessor, or of a successor that the watch has not shown yet.
    let again = edited(&object("old", 3, json!({})).1, json!({"metadata": {"uid": "again"}}));
    index.observe(&one, &again, 0);
    assert_eq!(index.refresh(&one, &read), None);
    assert_eq!(index.claim(&two), Ok(()));
}

#[test]
fn a_list_that_is_repeated_shows_everybody_again() {
    let mut index = Index::default();
    let (one, one_object) = object("one", 1, origin());
    let (two, two_object) = object("two", 2, ready("Conflict"));
    for list in 1..4 {
        assert_eq!(index.observe(&one, &one_object, list), []);
        index.observe(&two, &two_object, list);
        assert_eq!(index.sweep_unseen(None, list), (vec![], vec![]));
    }
    // What is read between two lists is not seen in an older one for that.
    index.observe(&one, &one_object, 0);
    assert_eq!(index.sweep_unseen(None, 3), (vec![], vec![]));
    assert_eq!(index.sweep_unseen(None, 4).0.len(), 2);
    assert_eq!((index.len(), index.groups.len()), (0, 0));
}

#[test]
fn how_objects_stand_is_counted_once_each_whatever_happened_to_them() {
    use crate::resources::ConditionStatus;
    let mut index = Index::default();
    let (old, fresh) = object("old", 1, json!({}));
    let (young, conflict) = object("young", 2, ready("Conflict"));
    let count = |index: &Index, ready: ConditionStatus, reason: Option<Reason>| -> usize {
        let standings = index.standings();
        standings.iter().filter(|(s, _)| (s.ready, s.reason) == (ready, reason)).map(|(_, count)| count).sum()
    };
    index.observe(&old, &fresh, 1);
    index.observe(&young, &conflict, 1);
    assert_eq!(count(&index, ConditionStatus::Unknown, Some(Reason::Pending)), 1);
    assert_eq!(count(&index, ConditionStatus::False, Some(Reason::Conflict)), 1);
    // Seen again, by a write and by the watch; with a reason of another version; unreadable; gone.
    let (_, deleted) = object("old", 1, ready("GroupDeleted"));
    index.refresh(&old, &deleted);
    index.observe(&old, &deleted, 1);
    assert_eq!(count(&index, ConditionStatus::False, Some(Reason::GroupDeleted)), 1);
    let (_, unknown) = object("old", 1, ready("OfTheFuture"));
    index.observe(&old, &unknown, 1);
    assert_eq!(count(&index, ConditionStatus::False, None), 1);
    index.observe_unreadable(&old, "old", 2, 1);
    assert_eq!(count(&index, ConditionStatus::False, Some(Reason::InvalidSpec)), 1);
    assert_eq!(index.standings().values().sum::<usize>(), 2);
    index.remove(&old);
    index.sweep_unseen(None, 2);
    assert!(index.standings().is_empty());
}

#[test]
fn a_call_that_is_out_holds_the_group_though_its_object_only_observes_by_now() {
    let (mut index, [(one, one_object), (two, _)]) = rivals(json!({}), ready("Conflict"));
    assert_eq!(index.claim(&one), Ok(()));
    let observer = edited(&one_object, json!({"spec": {"managementPolicy": "Observe"}}));
    assert_eq!(index.observe(&one, &observer, 0), std::slice::from_ref(&two));
    assert_eq!(index.claim(&two), Err(Holder { name: "ns/old".into() }));
    assert_eq!(index.release(&one), std::slice::from_ref(&two));
    assert_eq!(index.claim(&two), Ok(()));
}

#[test]
fn who_loses_the_group_to_an_older_record_that_comes_back_is_told() {
    let mut index = Index::default();
    let (old, manager) = object("old", 1, origin());
    let (young, young_object) = object("young", 2, origin());
    let observer = edited(&manager, json!({"spec": {"managementPolicy": "Observe"}}));
    index.observe(&old, &observer, 0);
    index.observe(&young, &young_object, 0);
    assert!(!index.has_lost(&young));
    assert_eq!(index.observe(&old, &manager, 0), std::slice::from_ref(&young));
    assert!(index.has_lost(&young) && !index.has_lost(&old));
    let told = edited(&young_object, ready_patch("Conflict"));
    index.observe(&young, &told, 0);
    assert!(!index.has_lost(&young), "its status says so");
}

fn ready_patch(reason: &str) -> serde_json::Value {
    json!({"status": ready(reason)})
}

#[test]
fn one_that_was_let_go_holds_nothing_though_somebody_else_still_keeps_it() {
    let mut index = Index::default();
    let created = json!({"appId": "demo", "groupId": "one", "origin": "Created"});
    let (old, mut old_object) = object("old", 1, created);
    let (young, young_object) = object("young", 2, ready("Conflict"));
    index.observe(&young, &young_object, 0);
    old_object.metadata.deletion_timestamp = old_object.metadata.creation_timestamp.clone();
    old_object.metadata.finalizers = Some(vec!["example.com/other".into(), FINALIZER.into()]);
    index.observe(&old, &old_object, 0);
    assert_eq!(index.other_of(&young).map(|holder| holder.name).as_deref(), Some("ns/old"), "it may delete the group");
    old_object.metadata.finalizers = Some(vec!["example.com/other".into()]);
    assert_eq!(index.observe(&old, &old_object, 0), std::slice::from_ref(&young));
    assert_eq!(index.other_of(&young), None);
}

#[test]
fn a_group_is_handed_over_to_the_one_that_will_hold_it() {
    let mut index = Index::default();
    let (old, mut old_object) = object("old", 1, json!({"appId": "demo", "groupId": "one", "origin": "Created"}));
    old_object.metadata.deletion_timestamp = old_object.metadata.creation_timestamp.clone();
    old_object.metadata.finalizers = Some(vec![FINALIZER.into()]);
    index.observe(&old, &old_object, 0);
    let heir = |index: &Index| index.other_of(&old).map(|heir| heir.name);
    let (refused, refused_object) = object("refused", 2, ready("InvalidInput"));
    index.observe(&refused, &refused_object, 0);
    assert_eq!(heir(&index).as_deref(), Some("ns/refused"), "its spec names the group all the same");
    for (name, created) in [("young", 9), ("middle", 3), ("late", 7)] {
        let (key, object) = object(name, created, ready("Conflict"));
        index.observe(&key, &object, 0);
    }
    assert_eq!(heir(&index).as_deref(), Some("ns/middle"));
}

#[test]
fn the_data_center_of_an_app_is_the_one_of_an_object_that_is_live() {
    let mut index = Index::default();
    let mut observe = |name: &str, center: Option<&str>, status: &str| {
        let (key, mut object) = object(name, 1, ready("Created"));
        object.spec.group_id = Some(name.to_owned());
        object.spec.data_center = center.map(|center| serde_json::from_value(json!(center)).unwrap());
        let recorded = object.status.as_mut().unwrap();
        recorded.group_id = Some(name.to_owned());
        status.clone_into(&mut recorded.conditions[0].status);
        index.observe(&key, &object, 0);
        index.data_center_of(&App::new(&AccountKey::Own, "demo"))
    };
    assert_eq!(observe("wrong", Some("ap-southeast-1"), "False"), Some("ap-southeast-1"));
    assert_eq!(observe("plain", None, "True"), None);
    for number in 0..8 {
        assert_eq!(observe(&format!("wrong{number}"), Some("ap-southeast-1"), "False"), None);
    }
    assert_eq!(observe("right", Some("cn-shanghai"), "True"), Some("cn-shanghai"));
}

#[test]
fn an_heir_is_another_one_that_manages_the_group_and_stays() {
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}});
    let observes = json!({"spec": {"managementPolicy": "Observe"}});
    for (change, heir) in [(json!({}), true), (observes, false), (going.clone(), false)] {
        let mut index = Index::default();
        let (first, object_of_first) = object("first", 1, origin());
        let (second, object_of_second) = object("second", 2, ready("Conflict"));
        index.observe(&first, &edited(&object_of_first, going.clone()), 0);
        assert_eq!(index.other_of(&first), None, "it is alone");
        index.observe(&second, &edited(&object_of_second, change), 0);
        assert_eq!(index.other_of(&first), heir.then(|| Holder { name: "ns/second".into() }));
        assert!(!index.has_lost(&first), "it is not to be told of a conflict");
    }
}

#[test]
fn who_only_observes_is_in_no_conflict_and_claims_nothing() {
    let mut index = Index::default();
    let (old, manager) = object("old", 1, origin());
    let (young, young_object) = object("young", 2, json!({}));
    let observer = edited(&young_object, json!({"spec": {"managementPolicy": "Observe"}}));
    index.observe(&old, &manager, 0);
    index.observe(&young, &observer, 0);
    assert_eq!((index.other_of(&young), index.other_of(&old)), (None, None));
    assert_eq!(index.claim(&young), Ok(()));
    assert_eq!(index.claim(&old), Ok(()), "a look holds nothing");
}

#[test]
fn one_with_a_recorded_attempt_holds_and_one_that_is_being_deleted_without_a_record_does_not() {
    let mut index = Index::default();
    let (old, old_object) = object("old", 1, json!({}));
    let attempt = json!({"appId": "demo", "groupId": "one", "attempt": {
        "startedAt": "2026-01-01T00:00:00Z", "sent": ["a"]}});
    let (young, young_object) = object("young", 2, attempt);
    index.observe(&old, &old_object, 0);
    index.observe(&young, &young_object, 0);
    assert_eq!(index.other_of(&old), Some(Holder { name: "ns/young".into() }));
    index.remove(&young);
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}});
    index.observe(&old, &edited(&old_object, going), 0);
    index.observe(&young, &object("young", 2, json!({})).1, 0);
    assert_eq!(index.other_of(&young), None);
}

#[test]
fn a_list_contradicts_the_objects_of_its_account_that_name_the_group_and_stay() {
    let live = json!({"status": {"appId": "demo", "groupId": "one", "conditions": [{
        "type": "Ready", "status": "True", "reason": "Created", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let of = |name: &str, change: serde_json::Value| {
        let (key, object) = object(name, 1, json!({}));
        (key, edited(&edited(&object, live.clone()), change))
    };
    let mut index = Index::default();
    let (own, own_object) = of("own", json!({"spec": {"dataCenter": "cn-shanghai"}}));
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}});
    let team = json!({"spec": {"accountRef": {"name": "team"}}});
    let working = json!({"spec": {"groupId": "two"}});
    for (key, object) in [(own.clone(), own_object), of("going", going), of("team", team), of("working", working)] {
        index.observe(&key, &object, 0);
    }
    let app = App::new(&AccountKey::Own, "demo");
    let listed = |id: &str, deleted| GroupSnapshot { group_id: id.into(), deleted, ..GroupSnapshot::default() };
    assert_eq!(index.contradicted_by(&app, &listed("one", true)), [(own.clone(), Expected::Live)]);
    assert_eq!(index.contradicted_by(&app, &listed("one", false)), []);
    assert_eq!(index.contradicted_by(&app, &listed("other", true)), []);
    let other = App::new(&AccountKey::Own, "other");
    assert_eq!(index.contradicted_by(&other, &listed("one", true)), []);
    // What is known of an app, and of an account.
    let recorded = |app: &App| {
        let mut recorded = index.recorded_in(app);
        recorded.sort_by(|a, b| a.1.cmp(&b.1));
        recorded.into_iter().map(|(id, key, expected)| (id, key.to_string(), expected)).collect::<Vec<_>>()
    };
    let row = |key: &str| ("one".to_owned(), key.to_owned(), Expected::Live);
    assert_eq!(recorded(&app), [row("ns/own")], "not one at work, whose record is of another group, nor one that goes");
    assert_eq!((recorded(&other), index.has_recorded(&app), index.has_recorded(&other)), (vec![], true, false));
    assert_eq!((index.data_center_of(&app), index.data_center_of(&other)), (Some("cn-shanghai"), None));
    let expects = |name: &str| index.expects(&Key::new("ns", name));
    assert_eq!(
        (expects("own"), expects("working"), expects("none")),
        (Expected::Live, Expected::Nothing, Expected::Nothing)
    );
    assert_eq!(index.by_account(), HashMap::from([(Key::new("ns", "team"), 1)]));
}

#[test]
fn one_that_comes_with_an_older_record_tells_who_held_the_group_and_nobody_else() {
    let mut index = Index::default();
    let (young, young_object) = object("young", 2, json!({}));
    assert_eq!(index.observe(&young, &young_object, 0), []);
    let (younger, younger_object) = object("younger", 3, ready("Conflict"));
    assert_eq!(index.observe(&younger, &younger_object, 0), [], "who holds the group still does");
    let (old, old_object) = object("old", 1, origin());
    assert_eq!(index.observe(&old, &old_object, 0), [young, younger], "each may have to tell of another holder");
    let app = App::new(&AccountKey::Own, "demo");
    assert!(!index.has_recorded(&app), "none of them has told how its group is");
}
