//! Tests of the deletion of an object and its group.

use rstest::rstest;
use serde_json::json;

use super::ownership::{deleting_policy, end, found, in_deletion, take, with_intent, without_description};
use super::*;
use crate::decide::ownership::digest_of_fields;
use crate::decide::{DeletionOutcome, record_before, retained_at_once};
use crate::live::GroupFields;

/// An object with deletionPolicy Delete whose group has the create time 100.
fn owner() -> LiveMessageGroup {
    let mut facts = Facts::default();
    let object = with_intent(deleting_policy(json!({})), &facts, 100);
    take(&mut facts, &object, 101, &Answer::Created);
    take(&mut facts, &object, 102, &found("v1", 100));
    let status = end(&object, &facts);
    assert_eq!((status.created_at(), &status.create_intent), (Some(at(100)), &None));
    with(LiveMessageGroup { status: Some(status), ..object }, edited(json!({})))
}

fn deleting() -> LiveMessageGroup {
    let owner = owner();
    let status = owner.status.clone().unwrap();
    in_deletion(owner, status)
}

/// Runs a deletion, which must use every answer. Returns the outcome and the calls of the deletion.
fn finish_deletion(
    object: &LiveMessageGroup,
    facts: &mut Facts,
    successor: Option<&Holder>,
    answers: &[Answer],
) -> (DeletionOutcome, Vec<Call>) {
    let mut calls = Vec::new();
    for answer in answers {
        calls.push(take(facts, object, 300, answer));
    }
    let Action::FinishDeletion(outcome) = decide(object, facts, successor) else {
        panic!("expected the end of the deletion after {calls:?}")
    };
    (outcome, calls)
}

fn not_found() -> Answer {
    Answer::Refused(404, "ResourceNotExist")
}

#[rstest]
#[case::deleted(&[found("v1", 100), Answer::Done], DeletionOutcome::Deleted)]
#[case::absent(&[not_found()], DeletionOutcome::Gone)]
#[case::deleted_elsewhere(&[Answer::Group(GroupSnapshot { deleted: true, ..snapshot() })], DeletionOutcome::Gone)]
#[case::deleted_meanwhile(&[found("v1", 100), not_found()], DeletionOutcome::Gone)]
fn deletion_reports_what_happened_to_the_group(#[case] answers: &[Answer], #[case] expected: DeletionOutcome) {
    let (outcome, calls) = finish_deletion(&deleting(), &mut Facts::default(), None, answers);
    assert_eq!(outcome, expected);
    let expected_calls = [Operation::Describe, Operation::Delete];
    assert_eq!(operations(&calls), expected_calls[..answers.len()]);
}

#[test]
fn deletion_identifies_its_group_by_create_time() {
    for (second, own) in [(99, false), (100, true), (101, false)] {
        let (deleting, mut facts) = (deleting(), Facts::default());
        take(&mut facts, &deleting, 300, &found("v1", second));
        match decide(&deleting, &facts, None) {
            Action::Call(Call::Delete(_)) => assert!(own, "{second}"),
            Action::FinishDeletion(DeletionOutcome::Retained(why)) => {
                assert!(!own && why.contains("create time differs"), "{second}: {why}")
            }
            other => panic!("{other:?}"),
        }
    }
    let without_create_time = Answer::Group(GroupSnapshot { create_time: None, ..snapshot() });
    let (outcome, _) = finish_deletion(&deleting(), &mut Facts::default(), None, &[without_create_time]);
    assert!(matches!(outcome, DeletionOutcome::Retained(_)), "{outcome:?}");
}

#[test]
fn group_with_another_create_time_is_adopted() {
    for (second, origin) in [(99, "Adopted"), (100, "Created"), (101, "Adopted")] {
        let edited = with(owner(), json!({"metadata": {"generation": 3}}));
        let mut facts = Facts::default();
        take(&mut facts, &edited, 300, &found("v1", second));
        assert_eq!(end(&edited, &facts).origin.unwrap().as_str(), origin, "{second}");
    }
}

#[test]
fn failed_deletion_describes_again() {
    let (deleting, mut facts) = (deleting(), Facts::default());
    take(&mut facts, &deleting, 300, &found("v1", 100));
    let Action::Call(delete) = decide(&deleting, &facts, None) else { panic!("expected a deletion") };
    let lost = answer(&delete, &Answer::Lost).unwrap_err();
    facts.record(&delete, 2, Err(&lost), None).unwrap_err();
    assert!(matches!(decide(&deleting, &facts, None), Action::Call(Call::Describe(_))));
}

#[test]
fn deletion_with_an_open_intent_deletes_only_its_own_group() {
    for (info, own) in [("v1", true), ("theirs", false)] {
        let object = with_intent(deleting_policy(json!({})), &Facts::default(), 100);
        let status = object.status.clone().unwrap();
        let (deleting, mut facts) = (in_deletion(object, status), Facts::default());
        take(&mut facts, &deleting, 200, &found(info, 150));
        let deleted = matches!(decide(&deleting, &facts, None), Action::Call(Call::Delete(_)));
        assert_eq!(deleted, own, "{info}");
    }
}

#[test]
fn group_recreated_by_another_client_is_retained() {
    let (object, mut facts) = (with_intent(deleting_policy(json!({})), &Facts::default(), 100), Facts::default());
    facts.mark_sent(Some(at(100)));
    take(&mut facts, &object, 101, &Answer::Created);
    // The status could not be written. Then the spec is edited, and the group no longer exists when the change is sent.
    let edited = with(object, edited(json!({"groupInfo": "v2"})));
    take(&mut facts, &edited, 102, &found("v1", 100));
    take(&mut facts, &edited, 103, &not_found());
    let status = edited.status.clone().unwrap();
    let deleting = with(in_deletion(edited, status), json!({"metadata": {"generation": 3}}));
    take(&mut facts, &deleting, 300, &found("theirs", 101));
    assert!(matches!(decide(&deleting, &facts, None), Action::FinishDeletion(DeletionOutcome::Retained(_))));
}

#[test]
fn answered_deletion_counts_as_an_effect() {
    let (deleting, mut facts) = (deleting(), Facts::default());
    take(&mut facts, &deleting, 300, &found("v1", 100));
    assert!(!facts.has_effect());
    take(&mut facts, &deleting, 301, &Answer::Done);
    assert!(facts.has_effect());
}

#[test]
fn intent_is_recorded_only_if_a_deletion_may_need_it() {
    let before = |object: &LiveMessageGroup| {
        let Action::Call(create) = decide(object, &Facts::default(), None) else { panic!("expected a create") };
        record_before(object, &Facts::default(), &create, at(500), at(500)).map(|(status, _)| status)
    };
    assert_eq!(before(&object(json!({}))), None, "deletionPolicy is Retain");
    let object_with_intent = with_intent(deleting_policy(json!({})), &Facts::default(), 100);
    let moved = with(object_with_intent, edited(json!({"groupId": "room2"})));
    let intent = before(&moved).unwrap().create_intent.unwrap();
    assert_eq!((intent.started_at, intent.sent.len()), (at(500).to_string(), 1));
    // The first pass for the new group removes the intent for the old group, even if the pass fails.
    let failed = pass(&moved, vec![Answer::Refused(500, "ServerError")]).unwrap();
    assert_eq!((failed.create_intent, failed.group_id.as_deref()), (None, Some("room2")));
}

#[test]
fn intent_is_kept_until_the_create_time_is_known() {
    let mut facts = Facts::default();
    let object = with_intent(deleting_policy(json!({})), &facts, 100);
    take(&mut facts, &object, 101, &Answer::Created);
    let created = LiveMessageGroup { status: Some(without_description(&object, &facts)), ..object };
    assert!(created.create_intent().is_some());
    let (requested, mut facts) = (with(created.clone(), forced()), Facts::default());
    take(&mut facts, &requested, 200, &Answer::Group(GroupSnapshot { create_time: None, ..snapshot() }));
    assert_eq!(end(&requested, &facts).create_intent.as_ref(), created.create_intent());
}

#[test]
fn create_time_is_removed_with_its_group() {
    let created_at = |object: &LiveMessageGroup, answers| pass(object, answers).unwrap().created_at();
    let edited = with(owner(), json!({"metadata": {"generation": 3}}));
    let without_create_time = Answer::Group(GroupSnapshot { create_time: None, ..snapshot() });
    assert_eq!(created_at(&edited, vec![without_create_time]), Some(at(100)), "an unknown create time changes nothing");
    let retains = with(edited, json!({"spec": {"deletionPolicy": "Retain"}}));
    assert_eq!(
        created_at(&retains, vec![not_found(), Answer::Created]),
        None,
        "the create time of the new group is not known"
    );
    let lost = pass(&retains, vec![not_found(), Answer::Lost]).unwrap();
    assert_eq!((lost.created_at(), lost.create_intent, lost.origin), (None, None, None));
    let moved = with(owner(), json!({"metadata": {"generation": 3}, "spec": {"groupId": "room2"}}));
    assert_eq!(created_at(&moved, vec![Answer::Lost]), None, "the create time of the old group");
}

#[test]
fn hand_over_and_abandon_make_no_call() {
    let successor = Holder { name: "ns/heir".into(), has_origin: true };
    let handed_over = DeletionOutcome::HandedOver("LiveMessageGroup ns/heir".into());
    assert_eq!(finish_deletion(&deleting(), &mut Facts::default(), Some(&successor), &[]), (handed_over, vec![]));
    let annotation = json!({"metadata": {"annotations": {"live.alibabacloud.com/abandon": "true"}}});
    let abandoned = (DeletionOutcome::Abandoned, vec![]);
    assert_eq!(finish_deletion(&with(deleting(), annotation), &mut Facts::default(), None, &[]), abandoned);
    let mut facts = Facts::default();
    facts.abandon();
    assert_eq!(finish_deletion(&deleting(), &mut facts, None, &[]), abandoned);
}

#[test]
fn deletion_without_permission_retains_without_a_call() {
    let mut facts = Facts::default();
    facts.forbid_credentials();
    assert_eq!(finish_deletion(&deleting(), &mut facts, None, &[]), (DeletionOutcome::NotPermitted, vec![]));
}

#[test]
fn deletion_describes_the_recorded_group_in_its_data_center() {
    let described = |object: &LiveMessageGroup| match decide(object, &Facts::default(), None) {
        Action::Call(Call::Describe(group)) => (group.group_id, group.data_center),
        other => panic!("{other:?}"),
    };
    let recorded = with(deleting(), json!({"status": {"dataCenter": "cn-shanghai"}}));
    let same = with(recorded.clone(), json!({"spec": {"dataCenter": "ap-southeast-1"}}));
    assert_eq!(described(&same), ("room1".into(), Some("ap-southeast-1".into())), "the spec names the same group");
    let moved = with(recorded, json!({"spec": {"groupId": "room2", "dataCenter": "ap-southeast-1"}}));
    assert_eq!(described(&moved), ("room1".into(), Some("cn-shanghai".into())));
}

#[test]
fn retained_group_is_reported_once() {
    let adopted = with(owner(), json!({"status": {"origin": "Adopted"}}));
    assert!(retained_at_once(&adopted).unwrap().contains("not record that this object created the group"));
    let deleted = json!({"metadata": {"deletionTimestamp": "2027-01-01T00:00:00Z"}});
    assert_eq!(retained_at_once(&with(adopted, deleted)), None);
}

#[test]
fn retained_group_is_reported_with_the_reason() {
    let why = |object: &LiveMessageGroup| match decide(object, &Facts::default(), None) {
        Action::FinishDeletion(DeletionOutcome::Retained(why)) => why,
        other => panic!("{other:?}"),
    };
    let deleting = json!({"metadata": {"generation": 2, "deletionTimestamp": "2027-01-01T00:00:00Z"}});
    let waiting = with(deleting_policy(json!({})), deleting.clone());
    assert!(why(&waiting).contains("does not record that this object created the group"), "not reconciled yet");
    let answers = vec![Answer::Created, found("v1", 100)];
    let status = pass(&with_intent(deleting_policy(json!({})), &Facts::default(), 100), answers);
    let created = LiveMessageGroup { status, ..deleting_policy(json!({})) };
    let observing = json!({"spec": {"managementPolicy": "Observe"}});
    assert!(why(&with(with(created.clone(), observing.clone()), deleting.clone())).contains("Observe"));
    let retained = with(with(created.clone(), json!({"spec": {"deletionPolicy": "Retain"}})), deleting);
    assert!(why(&retained).contains("deletionPolicy"));
    // An object that has no finalizer is removed immediately.
    assert!(retained_at_once(&with(created.clone(), observing)).unwrap().contains("Observe"));
    assert_eq!(retained_at_once(&with(created.clone(), json!({"spec": {"deletionPolicy": "Retain"}}))), None);
    assert_eq!(retained_at_once(&created), None);
    assert_eq!(
        retained_at_once(&object(json!({"spec": {"deletionPolicy": "Delete", "managementPolicy": "Observe"}}))),
        None
    );
}

#[test]
fn digest_covers_every_field_and_ignores_administrator_order() {
    let fields = |name: &str, info: &str, admins: &[&str]| GroupFields {
        group_name: Some(name.into()),
        group_info: Some(info.into()),
        creator_id: None,
        administrators: Some(admins.iter().map(|id| (*id).to_owned()).collect()),
    };
    let digest = |name, info, admins| digest_of_fields(&fields(name, info, admins));
    assert_eq!(digest("a", "b", &["x", "y"]), digest("a", "b", &["y", "x", "y"]));
    assert_eq!(digest_of_fields(&GroupFields::default()), digest("", "", &[]), "an absent field equals an empty one");
    let different = [digest("ab", "", &[]), digest("a", "b", &[]), digest("", "ab", &[]), digest("", "a", &["b"])];
    let count = std::collections::HashSet::from(different.clone()).len();
    assert_eq!(count, different.len(), "the boundaries of the fields count");
}
