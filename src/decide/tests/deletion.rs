//! What becomes of the group of an object that is deleted.

use rstest::rstest;
use serde_json::json;

use super::ownership::{attempted, deleting_policy, end, found, in_deletion, take};
use super::*;
use crate::decide::ownership::digest_of_fields;
use crate::decide::{DeletionOutcome, record_before, retained_at_once};
use crate::live::GroupFields;

/// An object whose group was made at second 100 and described since; its policy asks for a deletion.
fn own() -> LiveMessageGroup {
    let mut facts = Facts::default();
    let object = attempted(deleting_policy(json!({})), &facts, 100);
    take(&mut facts, &object, 101, &Answer::Created);
    let edited = with(object, edited(json!({"groupInfo": "v1"})));
    let status = end(&edited, &facts);
    let known = LiveMessageGroup { status: Some(status), ..edited };
    let asked = with(known, forced());
    let mut facts = Facts::default();
    take(&mut facts, &asked, 102, &found("v1", 100));
    let status = end(&asked, &facts);
    assert_eq!(status.created_at(), Some(at(100)));
    LiveMessageGroup { status: Some(status), ..asked }
}

fn going() -> LiveMessageGroup {
    let own = own();
    let status = own.status.clone().unwrap();
    in_deletion(own, status)
}

/// Lets the object go; every answer must be asked for. Also the calls it made.
fn let_go(
    object: &LiveMessageGroup,
    facts: &mut Facts,
    heir: Option<&Holder>,
    answers: &[Answer],
) -> (DeletionOutcome, Vec<Call>) {
    let mut calls = Vec::new();
    for told in answers {
        calls.push(take(facts, object, 300, told));
    }
    let Action::FinishDeletion(release) = decide(object, facts, heir) else { panic!("it stays after {calls:?}") };
    (release, calls)
}

fn none() -> Answer {
    Answer::Refused(404, "ResourceNotExist")
}

#[rstest]
#[case::deleted(&[found("v1", 100), Answer::Done], DeletionOutcome::Deleted)]
#[case::absent(&[none()], DeletionOutcome::Gone)]
#[case::deleted_by_somebody(&[Answer::Group(GroupSnapshot { deleted: true, ..snapshot() })], DeletionOutcome::Gone)]
#[case::deleted_meanwhile(&[found("v1", 100), none()], DeletionOutcome::Gone)]
fn what_became_of_an_own_group_is_told(#[case] answers: &[Answer], #[case] expected: DeletionOutcome) {
    let (release, calls) = let_go(&going(), &mut Facts::default(), None, answers);
    assert_eq!(release, expected);
    let made = [Operation::Describe, Operation::Delete];
    assert_eq!(operations(&calls), made[..answers.len()]);
}

#[test]
fn an_own_group_is_known_by_its_create_time_to_the_second() {
    for (second, own) in [(98, false), (99, true), (100, true), (101, true), (102, false)] {
        let (going, mut facts) = (going(), Facts::default());
        take(&mut facts, &going, 300, &found("v1", second));
        match decide(&going, &facts, None) {
            Action::Call(Call::Delete(_)) => assert!(own, "{second}"),
            Action::FinishDeletion(DeletionOutcome::Retained(why)) => {
                assert!(!own && why.contains("create time differs"), "{second}: {why}")
            }
            other => panic!("{other:?}"),
        }
    }
    let untold = Answer::Group(GroupSnapshot { create_time: None, ..snapshot() });
    let (release, _) = let_go(&going(), &mut Facts::default(), None, &[untold]);
    assert!(matches!(release, DeletionOutcome::Retained(_)), "{release:?}");
}

#[test]
fn a_group_is_of_the_recorded_life_where_its_create_time_is_the_same_to_the_second() {
    for (second, origin) in [(98, "Adopted"), (99, "Created"), (101, "Created"), (102, "Adopted")] {
        let asked = with(own(), json!({"metadata": {"generation": 3}}));
        let mut facts = Facts::default();
        take(&mut facts, &asked, 300, &found("v1", second));
        assert_eq!(end(&asked, &facts).origin.unwrap().as_str(), origin, "{second}");
    }
}

#[test]
fn a_deletion_that_failed_looks_again() {
    let (going, mut facts) = (going(), Facts::default());
    take(&mut facts, &going, 300, &found("v1", 100));
    let Action::Call(delete) = decide(&going, &facts, None) else { panic!("it is deleted") };
    let lost = answer(&delete, &Answer::Lost).unwrap_err();
    facts.record(&delete, 2, Err(&lost), None).unwrap_err();
    assert!(matches!(decide(&going, &facts, None), Action::Call(Call::Describe(_))));
}

#[test]
fn an_open_attempt_is_looked_into_and_its_own_group_deleted() {
    for (info, own) in [("v1", true), ("theirs", false)] {
        let object = attempted(deleting_policy(json!({})), &Facts::default(), 100);
        let status = object.status.clone().unwrap();
        let (going, mut facts) = (in_deletion(object, status), Facts::default());
        take(&mut facts, &going, 200, &found(info, 150));
        let deleted = matches!(decide(&going, &facts, None), Action::Call(Call::Delete(_)));
        assert_eq!(deleted, own, "{info}");
    }
}

#[test]
fn a_group_made_anew_after_ones_own_was_seen_gone_is_another_one() {
    let (object, mut facts) = (attempted(deleting_policy(json!({})), &Facts::default(), 100), Facts::default());
    facts.mark_sent(at(100));
    take(&mut facts, &object, 101, &Answer::Created);
    // The status could not be written; the edit finds no group.
    let edited = with(object, edited(json!({"groupInfo": "v2"})));
    take(&mut facts, &edited, 102, &none());
    let status = edited.status.clone().unwrap();
    let going = with(in_deletion(edited, status), json!({"metadata": {"generation": 3}}));
    take(&mut facts, &going, 300, &found("theirs", 101));
    assert!(matches!(decide(&going, &facts, None), Action::FinishDeletion(DeletionOutcome::Retained(_))));
}

#[test]
fn a_deletion_that_was_answered_is_an_effect_to_be_kept() {
    let (going, mut facts) = (going(), Facts::default());
    take(&mut facts, &going, 300, &found("v1", 100));
    assert!(!facts.has_effect());
    take(&mut facts, &going, 301, &Answer::Done);
    assert!(facts.has_effect());
}

#[test]
fn an_attempt_is_recorded_of_the_group_that_the_spec_names_and_only_where_a_deletion_may_rest_on_it() {
    let before = |object: &LiveMessageGroup| {
        let Action::Call(create) = decide(object, &Facts::default(), None) else { panic!("it is created") };
        record_before(object, &Facts::default(), &create, at(500), at(500)).map(|(status, _)| status)
    };
    assert_eq!(before(&object(json!({}))), None, "its group is never deleted");
    let attempted = attempted(deleting_policy(json!({})), &Facts::default(), 100);
    let moved = with(attempted.clone(), edited(json!({"groupId": "room2"})));
    let attempt = before(&moved).unwrap().create_intent.unwrap();
    assert_eq!((attempt.started_at, attempt.sent.len()), (at(500).to_string(), 1));
    // What the first pass over the other group comes to is no attempt for it.
    let failed = pass(&moved, vec![Answer::Refused(500, "ServerError")]).unwrap();
    assert_eq!((failed.create_intent, failed.group_id.as_deref()), (None, Some("room2")));
}

#[test]
fn the_moments_of_a_create_are_kept_until_a_create_time_is_told() {
    let mut facts = Facts::default();
    let object = attempted(deleting_policy(json!({})), &facts, 100);
    take(&mut facts, &object, 101, &Answer::Created);
    let made = LiveMessageGroup { status: Some(end(&object, &facts)), ..object };
    assert!(made.create_intent().is_some());
    let (asked, mut facts) = (with(made.clone(), forced()), Facts::default());
    take(&mut facts, &asked, 200, &Answer::Group(GroupSnapshot { create_time: None, ..snapshot() }));
    assert_eq!(end(&asked, &facts).create_intent.as_ref(), made.create_intent());
}

#[test]
fn a_recorded_create_time_is_that_of_the_groups_life() {
    let created_at = |object: &LiveMessageGroup, answers| pass(object, answers).unwrap().created_at();
    let asked = with(own(), json!({"metadata": {"generation": 3}}));
    let untold = Answer::Group(GroupSnapshot { create_time: None, ..snapshot() });
    assert_eq!(created_at(&asked, vec![untold]), Some(at(100)), "what is not told changes nothing");
    let retains = with(asked, json!({"spec": {"deletionPolicy": "Retain"}}));
    assert_eq!(created_at(&retains, vec![none(), Answer::Created]), None, "the new group's is not known");
    let left = pass(&retains, vec![none(), Answer::Lost]).unwrap();
    assert_eq!((left.created_at(), left.create_intent, left.origin), (None, None, None));
    let moved = with(own(), json!({"metadata": {"generation": 3}, "spec": {"groupId": "room2"}}));
    assert_eq!(created_at(&moved, vec![Answer::Lost]), None, "that of another group");
}

#[test]
fn an_heir_and_a_group_that_is_given_up_cost_no_call() {
    let heir = Holder { name: "ns/heir".into() };
    let handed = DeletionOutcome::HandedOver("ns/heir".into());
    assert_eq!(let_go(&going(), &mut Facts::default(), Some(&heir), &[]), (handed, vec![]));
    let annotation = json!({"metadata": {"annotations": {"live.alibabacloud.com/abandon": "true"}}});
    let abandoned = (DeletionOutcome::Abandoned, vec![]);
    assert_eq!(let_go(&with(going(), annotation), &mut Facts::default(), None, &[]), abandoned);
    let mut facts = Facts::default();
    facts.abandon();
    assert_eq!(let_go(&going(), &mut facts, None, &[]), abandoned);
}

#[test]
fn it_is_the_recorded_group_that_is_looked_at_in_its_data_center() {
    let looked_at = |object: &LiveMessageGroup| match decide(object, &Facts::default(), None) {
        Action::Call(Call::Describe(group)) => (group.group_id, group.data_center),
        other => panic!("{other:?}"),
    };
    let recorded = with(going(), json!({"status": {"dataCenter": "cn-shanghai"}}));
    let here = with(recorded.clone(), json!({"spec": {"dataCenter": "ap-southeast-1"}}));
    assert_eq!(looked_at(&here), ("room1".into(), Some("ap-southeast-1".into())), "its spec tells of this very group");
    let moved = with(recorded, json!({"spec": {"groupId": "room2", "dataCenter": "ap-southeast-1"}}));
    assert_eq!(looked_at(&moved), ("room1".into(), Some("cn-shanghai".into())));
}

#[test]
fn only_what_was_not_told_before_is_told_of_an_object_that_went_at_once() {
    let adopted = with(own(), json!({"status": {"origin": "Adopted"}}));
    assert!(retained_at_once(&adopted).unwrap().contains("not record that this object created it"));
    let told = json!({"metadata": {"deletionTimestamp": "2027-01-01T00:00:00Z"}});
    assert_eq!(retained_at_once(&with(adopted, told)), None);
}

#[test]
fn a_body_is_known_by_its_fields_and_administrators_in_any_order() {
    let fields = |name: &str, info: &str, admins: &[&str]| GroupFields {
        group_name: Some(name.into()),
        group_info: Some(info.into()),
        creator_id: None,
        administrators: Some(admins.iter().map(|id| (*id).to_owned()).collect()),
    };
    let digest = |name, info, admins| digest_of_fields(&fields(name, info, admins));
    assert_eq!(digest("a", "b", &["x", "y"]), digest("a", "b", &["y", "x", "y"]));
    assert_eq!(digest_of_fields(&GroupFields::default()), digest("", "", &[]), "absent is empty");
    let different = [digest("ab", "", &[]), digest("a", "b", &[]), digest("", "ab", &[]), digest("", "a", &["b"])];
    let count = std::collections::HashSet::from(different.clone()).len();
    assert_eq!(count, different.len(), "where one field ends is part of it");
}
